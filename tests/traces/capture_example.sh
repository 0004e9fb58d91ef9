#!/usr/bin/env bash
# The example host of traces/capture, through import and statistics: capture_example.sh HOST SIMULATE
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
host=$1
simulate=$2

expect() {  # what it is, what was seen, a part of what it should be
  [[ "$2" == *"$3"* ]] || { printf '%s: expected "%s" in:\n%s\n' "$1" "$3" "$2"; exit 1; }
}

"$host" "$folder/run.log"
seen=$("$host" "$folder/run.log" 2>&1) && { echo "a log was overwritten"; exit 1; }
expect "a second log" "$seen" "there is such a file; MOE_CAPTURE_OVERWRITE replaces it"
imported=$("$simulate" trace import "$folder/run.log" -o "$folder/run.moetrace")
expect import "$imported" "1280 rows of tiny-host read as capture-log"
counted=$("$simulate" trace import "$folder/run.log" -o "$folder/counts.moetrace" --counts --steps 5:15)
expect counts "$counted" "30 rows of tiny-host read as capture-log"
info=$("$simulate" trace info "$folder/run.moetrace")
expect info "$info" "the example of traces/capture"
"$simulate" trace stats "$folder/run.moetrace" > "$folder/stats" || { echo "no statistics"; exit 1; }
cp "$folder/run.log" "$folder/again.log"
seen=$("$simulate" trace import "$folder/run.log" "$folder/again.log" -o "$folder/x" 2>&1) && exit 1
expect "the same log twice" "$seen" "step 0 of source rank 0 is in two of the logs, with the same layer"
seen=$("$simulate" trace import "$folder/run.log" -o "$folder/x" --steps 9 2>&1) && exit 1
expect "wrong steps" "$seen" "'9' is no range of steps"
echo "the example host is recorded, imported and counted"
