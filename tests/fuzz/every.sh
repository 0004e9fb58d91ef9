#!/usr/bin/env bash
# every.sh FUZZ OPTION...: libFuzzer on every target of the program FUZZ with its options (-max_total_time=600, or -runs=2000
# -seed=1), from the seeds and past crashes. What it finds on the way is kept in $CORPUS/TARGET (build/corpus unless set), an
# input that fails in $CORPUS/TARGET-crash-.... Ends with the first failure.
set -euo pipefail
fuzz=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
for target in $("$fuzz" --list); do
  corpus=${CORPUS:-build/corpus}/$target
  mkdir -p "$corpus"
  known=(tests/fuzz/seeds/"$target")
  if [ -d tests/fuzz/crashes/"$target" ]; then known+=(tests/fuzz/crashes/"$target"); fi
  echo "== $target"
  "$fuzz" --target="$target" -timeout=10 -rss_limit_mb=2048 -verbosity=0 "$@" \
    -artifact_prefix="$corpus-" "$corpus" "${known[@]}"
done
