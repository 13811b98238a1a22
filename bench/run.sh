#!/usr/bin/env bash
# Measures everything that docs/performance.md states: builds the program, makes a virtual environment
# with onnxruntime and the skeleton models (in build/bench, 3 GB, once), runs all rows and prints the
# table. Arguments go to bench/run.py; --help lists them.
#
#     bench/run.sh                     everything, about a quarter of an hour
#     bench/run.sh --only forward      one row (or more: repeat it); the others keep what they had
#     bench/run.sh --quick             fewer pairs
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${BENCH_FOLDER:-$here/build/bench}
mkdir -p "$out"
"$here/scripts/setup.sh" build
cmake -S "$here" -B "$out/tree" -DCMAKE_BUILD_TYPE=Release -DTIBA_BENCH=ON -DTIBA_TESTS=OFF >"$out/build.log" 2>&1 &&
  cmake --build "$out/tree" -j"$(nproc)" >>"$out/build.log" 2>&1 || { tail -30 "$out/build.log" >&2; exit 1; }
if [ ! -x "$out/venv/bin/python" ] || ! cmp -s "$here/bench/requirements.txt" "$out/venv/requirements.txt"; then
  python3 -m venv "$out/venv"
  "$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/bench/requirements.txt"
  cp "$here/bench/requirements.txt" "$out/venv/"
fi
exec "$out/venv/bin/python" "$here/bench/run.py" --build "$out/tree" --work "$out" "$@"
