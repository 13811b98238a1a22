#!/usr/bin/env bash
# Installs the Debian packages that are missing. Arguments: "build" (default) or "test".
set -euo pipefail

build="gcc libc6-dev cmake make pkg-config protobuf-c-compiler protobuf-compiler libprotobuf-c-dev
       libonnx-dev libopenblas-pthread-dev libcjson-dev libstb-dev libutf8proc-dev nettle-dev libpcre2-dev
       libdeflate-dev"
tests="clang clang-format libclang-rt-14-dev libonnx-testdata python3 python3-numpy python3-h5py
       chromium graphviz"

wanted=$build
[ "${1:-build}" = test ] && wanted="$build $tests"
missing=""
for package in $wanted; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' ||
    missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
as_root=""
[ "$(id -u)" -eq 0 ] || as_root=sudo
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
