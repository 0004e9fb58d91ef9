#!/usr/bin/env bash
# check_seeds.sh FUZZ_REPLAY SEEDS: a target without seeds would be a test that cannot fail.
set -euo pipefail
diff <("$1" --list | sort) <(ls "$2" | sort) || { echo "targets (<) and folders of seeds (>) differ"; exit 1; }
