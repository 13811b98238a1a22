#!/usr/bin/env python3
"""Installs the built project into an empty prefix and uses it as others would: the example from C by
pkg-config and by find_package(tiba), and the installed program. The library exports tiba_* only.

    install.py SOURCE BUILD CMAKE CC [FLAGS OF THE COMPILER...]
"""
import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from checks import check, close

source, build, cmake, cc = (os.path.abspath(p) if i < 2 else p for i, p in enumerate(sys.argv[1:5]))
flags = sys.argv[5:]
case = pathlib.Path(source) / "tests/data/zoo/vit_hf-ts14"


def run(*command, **options):
    r = subprocess.run([str(c) for c in command], capture_output=True, timeout=300, **options)
    check(r.returncode == 0, *command, r.stdout.decode(), r.stderr.decode())
    return r.stdout.decode(errors="replace")


def floats_of(path):
    raw = path.read_bytes()
    length = int.from_bytes(raw[8:10], "little")
    shape = ast.literal_eval(raw[10:10 + length].decode())["shape"]
    return ",".join(map(str, shape)), raw[10 + length:]


with tempfile.TemporaryDirectory() as name:
    work = pathlib.Path(name)
    prefix = work / "prefix"
    run(cmake, "--install", build, "--prefix", prefix)
    library = next(prefix.rglob("libtiba.so"))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent),
                   "PKG_CONFIG_PATH": str(next(prefix.rglob("tiba.pc")).parent)}

    symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    check("tiba_explain" in symbols, "no tiba_explain among", symbols[:9])
    foreign = [s for s in symbols if not s.startswith("tiba_")]
    if not flags:  # sanitizers add their own
        check(not foreign, "exported as well:", foreign[:9])

    example = pathlib.Path(source) / "examples/c/explain.c"
    options = run("pkg-config", "--cflags", "--libs", "tiba", env=environment).split()
    run(cc, *flags, "-std=c11", "-Wall", "-Werror", example, *options, "-o", work / "by_pkg_config")

    project = work / "project"
    project.mkdir()
    shutil.copy(example, project)
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(user LANGUAGES C)\nfind_package(tiba 0.1 REQUIRED)\n"
        "add_executable(by_find_package explain.c)\ntarget_link_libraries(by_find_package PRIVATE tiba::tiba)\n")
    run(cmake, "-S", project, "-B", work / "out", f"-DCMAKE_C_COMPILER={cc}", f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DCMAKE_C_FLAGS={' '.join(flags)}")
    run(cmake, "--build", work / "out")

    shape, data = floats_of(case / "input.pixel_values.npy")
    printed = [run(program, case / "model.onnx", "pixel_values", shape, input=data, env=environment)
               for program in (work / "by_pkg_config", work / "out" / "by_find_package")]
    check(len(printed[0].splitlines()) > 2, "printed", printed[0])
    check(printed[0] == printed[1], "differ:", *printed)
    run(prefix / "bin" / "tiba-onnx", case / "model.onnx", f"pixel_values={case}/input.pixel_values.npy",
        "--json", work / "out.json")
    check((work / "out.json").stat().st_size > 100, "no JSON")
close()
