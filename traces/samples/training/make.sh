#!/usr/bin/env bash
# Trains every run again and makes the samples of this folder from it (about 45 minutes of one core):
#   traces/samples/training/make.sh FOLDER_FOR_LOGS [SIMULATE]
# Needs Debian's python3-torch, python3-numpy and the texts (README.md); a run that is done is kept.
set -euo pipefail
logs=${1:?usage: make.sh FOLDER_FOR_LOGS [SIMULATE]}
here=$(cd "$(dirname "$0")" && pwd)
simulate=${2:-$here/../../../build/release/simulate}

runs() {  # SIZE-kTOPK TERM... , a seed each
  local shape=$1 term
  shift
  for term in "$@"; do echo "$shape-$term"; done
}
all=$(
  runs small-k2 {none,switch0.001,switch0.003,switch0.01,switch0.03,switch0.1,bias0.001}-s{1,2}
  runs small-k2 {none,switch0.01,bias0.001}-s3
  runs small-k1 {none,switch0.01,bias0.001}-s1
  runs large-k2 {none,switch0.01}-s{1,2} bias0.001-s1
  runs large-k1 {none,switch0.01}-s1
  runs wide-k2 switch0.01-s1
)
for run in $all; do
  if [ ! -f "$logs/$run/reading.moelog" ]; then
    rm -rf "$logs/partial"
    /usr/bin/python3 "$here/train.py" "$run" --steps 400 --out "$logs/partial"
    mv "$logs/partial/$run" "$logs/$run"
  fi
  # Counts of every step; of some runs also whole tokens: of every 50th step, and of the reading.
  "$simulate" trace import "$logs/$run/training.moelog" --counts -o "$here/$run.counts.moetrace"
done
for run in small-k2-{none,switch0.01,bias0.001}-s1 large-k2-{none,switch0.01}-s1 large-k1-switch0.01-s1 \
  wide-k2-switch0.01-s1; do
  "$simulate" trace import "$logs/$run/reading.moelog" --without-token-ids -o "$here/$run.reading.moetrace"
done
for run in small-k2-switch0.01-s1 large-k2-switch0.01-s1; do
  "$simulate" trace import "$logs/$run/training.moelog" --steps 0:400:50 --without-token-ids -o "$here/$run.steps.moetrace"
done
