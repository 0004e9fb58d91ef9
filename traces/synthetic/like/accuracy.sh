#!/bin/sh
# Makes accuracy.md. Usage: accuracy.sh SIMULATE SHARED, with SHARED the folder of reference data.
set -eu
simulate=$1
shared=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$simulate" trace import "$shared/data/routing/gpt-oss-20b-fingerprinting/decode_topk.csv.gz" -o "$work/gpt-oss-20b.moetrace" >/dev/null
"$simulate" trace import "$shared/data/routing/flame-moe-290m-dynande/topk.csv.gz" -o "$work/flame-moe-290m.moetrace" >/dev/null
{
  echo "# How well fitted synthesis behaves like the trace"
  echo
  echo "Made by \`traces/synthetic/like/accuracy.sh build/release/simulate ../shared\`. Every figure that is missed is shown."
  echo "Definitions of the figures: [traces/metrics](../../metrics/README.md). Traces named \`reading\` and \`steps\` are captures of"
  echo "our own trained models ([samples](../../samples/training/README.md)); the zipf sample is synthetic itself (repeated tokens)."
  echo "Their sections are held by tests. Traces of counts alone (OLMoE's) have no tokens to follow and are refused, so none is here."
  echo
  # A file that is missing ends the script: a page with a section less says less than it seems to.
  for trace in \
    "$work/gpt-oss-20b.moetrace" \
    "$work/flame-moe-290m.moetrace" \
    "$root/traces/samples/training/small-k2-switch0.01-s1.reading.moetrace" \
    "$root/traces/samples/training/large-k2-switch0.01-s1.reading.moetrace" \
    "$root/traces/samples/training/large-k2-switch0.01-s1.steps.moetrace" \
    "$root/traces/samples/zipf-24x32-top4.moetrace"; do
    "$simulate" trace synth --like "$trace" --report
  done
} > "$work/accuracy.md"
cp "$work/accuracy.md" "$here/accuracy.md"
