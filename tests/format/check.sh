#!/usr/bin/env bash
# Every source file is formatted as .clang-format says. To fix: clang-format -i FILE.
set -euo pipefail
cd "$(dirname "$0")/../.."
find sim topologies traces models analysis tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 clang-format --dry-run --Werror
echo "all files are formatted"
