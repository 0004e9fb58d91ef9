#!/usr/bin/env bash
# The commands of the README run: every line "$ simulate ..." or "$ printf ..." of its console blocks, in order, in one temporary folder.
# usage: check.sh SIMULATE README
set -euo pipefail
simulate=$(realpath "$1")
readme=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir bin
ln -s "$simulate" bin/simulate
export PATH="$folder/bin:$PATH"
count=0
while IFS= read -r line; do
  echo "\$ $line"
  if ! bash -c "$line" >output.txt 2>&1; then
    cat output.txt
    echo "this command of the README fails"
    exit 1
  fi
  count=$((count + 1))
done < <(sed -n '/^```console$/,/^```$/s/^\$ \(\(simulate\|printf\) .*\)$/\1/p' "$readme")
[ "$count" -ge 1 ] || { echo "no command found in the README"; exit 1; }
echo "$count commands of the README run"
