#!/usr/bin/env bash
# `simulate flows` beside SimGrid on the same scenario files in one go: a Markdown table on standard output.
#
# usage: compare.sh BUILD_FOLDER [DRIVER] [CASE...]
#   BUILD_FOLDER  holds simulate and tests/speed/write_scenario (build/release)
#   DRIVER        a program "DRIVER SCENARIO TIMES_OUT [name:value]" that runs the file in SimGrid and prints sim_cpu_s=SECONDS;
#                 "-" or absent: the driver of ../shared/bench/simgrid_alltoall is built when it and SimGrid are there, else the
#                 columns for SimGrid stay empty
#   CASE          PATTERN:GPUS (write_scenario names the patterns); default: the ones that take SimGrid minutes, not hours
#
# CPU seconds of one thread. For `simulate` the whole process, files included, the best of three; for SimGrid the simulation
# alone, the better of its default and network/optim:Full, one run each. The last column is the largest relative difference of
# a completion time. Ratios are good to a factor of about 1.5: CPU time depends on what else the machine does.
set -euo pipefail
build=$(realpath "$1")
driver=${2:--}
shift $(($# < 2 ? $# : 2))
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(uniform:16 uniform:64 uniform:128 skew:16 skew:32 skew:64 tokens:64 staggered:64 slow-nic:64 skew:128)
repository=$(realpath "$(dirname "$0")/../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

bench=${MOE_SHARED_DIR:-$repository/../shared}/bench
if [ "$driver" = - ]; then
  driver=
  if [ -e "$bench/simgrid_alltoall/simgrid_alltoall.cpp" ] && pkg-config --exists simgrid; then
    cp -r "$bench" "$folder/bench"
    make -s -C "$folder/bench/simgrid_alltoall" simgrid_alltoall >&2
    driver=$folder/bench/simgrid_alltoall/simgrid_alltoall
  fi
fi

# Seconds of user and system time of a command whose output is dropped.
cpu_of() {
  local TIMEFORMAT='%U %S'
  { time "$@" >/dev/null 2>&1; } 2>&1 | awk '{printf "%.4f\n", $1 + $2}'
}
smallest() { sort -g | head -1; }

echo "| case | GPUs | flows | level changes | simulate, CPU s | peak MiB | SimGrid, CPU s | ratio | worst difference |"
echo "|---|---|---|---|---|---|---|---|---|"
for case in "${cases[@]}"; do
  pattern=${case%%:*} gpus=${case##*:}
  "$build/tests/speed/write_scenario" "$pattern" "$gpus" "$folder/s.txt"
  ours=$(for _ in 1 2 3; do cpu_of "$build/simulate" flows "$folder/s.txt" "$folder/ours"; done | smallest)
  json=$("$build/simulate" flows "$folder/s.txt" "$folder/ours" --json)
  field() { sed -n "s/.*\"$1\": \([0-9.e+-]*\).*/\1/p" <<<"$json"; }
  theirs= ratio= worst=
  if [ -n "$driver" ]; then
    theirs=$(for option in "" network/optim:Full; do
      "$driver" "$folder/s.txt" "$folder/theirs" $option 2>/dev/null | sed -n 's/.*sim_cpu_s=\([0-9.e+-]*\).*/\1/p'
    done | smallest)
    ratio=$(awk -v a="$theirs" -v b="$ours" 'BEGIN { printf "%.0f", (b > 0 ? a / b : 0) }')
    worst=$(paste -d ' ' "$folder/ours" "$folder/theirs" |
      awk '{ d = ($2 - $4) / $4; if (d < 0) d = -d; if (d > w) w = d } END { printf "%.1e", w }')
  fi
  echo "| $pattern | $gpus | $(field flows) | $(field level_changes) | $ours | $(awk -v b="$(field peak_memory_bytes)" \
    'BEGIN { printf "%.1f", b / 1048576 }') | $theirs | $ratio | $worst |"
done
