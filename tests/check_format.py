#!/usr/bin/env python3
"""Every C file is as clang-format leaves it. Skipped (77) where there is no clang-format.

    check_format.py SOURCE
"""
import pathlib
import shutil
import subprocess
import sys

ROOMS = ("base", "bench", "examples", "graph", "include", "io", "onnx", "rules", "runtime", "tests", "tools")

root = pathlib.Path(sys.argv[1])
program = shutil.which("clang-format-14") or shutil.which("clang-format")
if not program:
    print("no clang-format: skipped")
    sys.exit(77)
files = sorted(p for room in ROOMS for p in (root / room).rglob("*.[ch]")) + sorted(root.glob("*.c"))
r = subprocess.run([program, "--dry-run", "--Werror", *files], capture_output=True, text=True, cwd=root)
bad = sorted({line.split(":")[0] for line in r.stderr.splitlines() if "[-Wclang-format-violations]" in line})
for path in bad:
    print(f"{pathlib.Path(path).relative_to(root)}: not as clang-format leaves it")
print(f"{len(files)} files, {len(bad)} to format")
sys.exit(r.returncode != 0 or not files)
