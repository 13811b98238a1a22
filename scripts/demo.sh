#!/usr/bin/env bash
# Installs what is missing, builds, and explains a bundled picture: which part of it speaks for
# each of its two garments. Leaves demo.png in the current folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh" build
cmake -S "$here" -B "$here/build/release" -DCMAKE_BUILD_TYPE=Release -DTIBA_TESTS=OFF >/dev/null
cmake --build "$here/build/release" -j"$(nproc)" >/dev/null
"$here/build/release/tiba-onnx" "$here/examples/fashion-vit" \
  "$here/examples/fashion-vit/pictures/2-pullover-and-sneaker.png" --top 2 -o demo.png
