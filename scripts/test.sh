#!/usr/bin/env bash
# Installs what is missing, builds and passes the tests: optimised with gcc, and with
# AddressSanitizer and UndefinedBehaviorSanitizer with clang.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh" test
jobs=$(nproc)

configure_and_build() { # folder, options of cmake
  local folder=$1
  shift
  cmake -S "$here" -B "$folder" -DPython3_EXECUTABLE=/usr/bin/python3 -DTIBA_TESTS=ON \
    -DTIBA_WERROR=ON "$@" >/dev/null
  cmake --build "$folder" -j"$jobs" >/dev/null
}

configure_and_build "$here/build/test-asan" -DCMAKE_C_COMPILER=clang \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTIBA_SANITIZE=address,undefined
configure_and_build "$here/build/test-release" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release
echo "under AddressSanitizer and UndefinedBehaviorSanitizer:"
ctest --test-dir "$here/build/test-asan" -j"$jobs" --output-on-failure
echo "optimised:"
ctest --test-dir "$here/build/test-release" -j"$jobs" --output-on-failure
