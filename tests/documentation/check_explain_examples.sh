#!/bin/sh
# check_explain_examples.sh SIMULATE: sim/app/explain_examples.md begins with what its script prints today.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
now=$(mktemp)
page=$(mktemp)
trap 'rm -f "$now" "$page"' EXIT
sh "$root/sim/app/explain_examples.sh" "$1" --quick > "$now"
head -n "$(wc -l < "$now")" "$root/sim/app/explain_examples.md" > "$page"
diff "$page" "$now" || {
  echo "sim/app/explain_examples.md is stale: make it again with its script, and say why in the commit" >&2
  exit 1
}
