#!/bin/sh
# The page explain_examples.md: what `simulate explain` says of runs whose cause is known.
#   sim/app/explain_examples.sh path/to/simulate > sim/app/explain_examples.md
# With --quick: without the 2,048-GPU iteration, which takes minutes. A test compares the rest with the page.
set -eu
simulate=$1
quick=${2:-}

example() {  # title, arguments of explain
  title=$1
  shift
  printf '\n## %s\n\n```sh\nsimulate explain' "$title"
  for argument in "$@"; do
    case $argument in
      *[\ \[\{]*) printf " '%s'" "$argument" ;;
      *) printf ' %s' "$argument" ;;
    esac
  done
  printf '\n```\n\n```text\n'
  "$simulate" explain "$@" 2> /dev/null
  printf '```\n'
}

cat <<'EOF'
# What `simulate explain` says

Made by `sim/app/explain_examples.sh build/release/simulate`; a test makes all but the last again. [explain.md](explain.md)
says what the rows mean. In the three disturbed runs the cause was put there; the verdict has to find it in the records.
EOF
example "First light" first-light
example "A slow device" first-light --set 'disturbances=[{device: 5, slowdown: 1.5, from: 20 ms, until: 120 ms}]'
example "A slow NIC in training" mixtral-training-64 --set 'disturbances=[{device: 19, nic: {capacity: 0.1}}]'
example "A hot rank" deepseek-v3-prefill-ep32 --set 'routing={workload: hot-rank, intensity: 4}' --set placement.redundant_experts=0 --set placement.policy=contiguous
[ "$quick" = --quick ] || example "A DeepSeek-V3 iteration on 2,048 H800" deepseek-v3-training-2048
