#!/usr/bin/env bash
# Installs what is missing, builds and passes the tests: optimised with gcc, and with
# AddressSanitizer and UndefinedBehaviorSanitizer with clang.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh" test
jobs=$(nproc)

build() { # folder, options of cmake
  local folder=$1
  shift
  cmake -S "$here" -B "$folder" -DPython3_EXECUTABLE=/usr/bin/python3 -DTIBA_TESTS=ON \
    -DTIBA_WERROR=ON "$@" >/dev/null
  cmake --build "$folder" -j"$jobs" >/dev/null
}

# Says nothing but ctest's closing lines where all is well.
pass() { # folder
  local log=$1/ctest.log
  if ctest --test-dir "$1" -j"$jobs" --output-on-failure >"$log" 2>&1; then
    grep -E "tests passed|Total Test time" "$log"
  else
    cat "$log"
    exit 1
  fi
}

echo "with clang under AddressSanitizer and UndefinedBehaviorSanitizer:"
build "$here/build/test-asan" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DTIBA_SANITIZE=address,undefined
pass "$here/build/test-asan"
echo "with gcc, optimised:"
build "$here/build/test-release" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release
pass "$here/build/test-release"
