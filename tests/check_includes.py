#!/usr/bin/env python3
"""Rejects an #include that goes against the direction of the rooms (see docs/architecture.md)."""
import pathlib
import re
import sys

ALLOWED = {
    "include": {"include"},
    "base": {"base", "include"},
    "graph": {"graph", "base", "include"},
    "onnx": {"onnx", "graph", "base", "include"},
    "runtime": {"runtime", "graph", "base", "include"},
    "rules": {"rules", "runtime", "graph", "base", "include"},
    "tiba.c": {"rules", "runtime", "onnx", "graph", "base", "include", "tiba_internal.h"},
    "tiba_inspect.c": {"rules", "runtime", "onnx", "graph", "base", "include", "tiba_internal.h"},
    "tiba_internal.h": {"rules", "runtime", "onnx", "graph", "base", "include"},
    "io": {"io", "base", "include"},
    "tools": {"tools", "io", "base", "include"},
}

root = pathlib.Path(sys.argv[1])
bad = seen = 0
for room, allowed in ALLOWED.items():
    place = root / room
    files = [place] if place.is_file() else sorted(place.glob("**/*.[ch]")) + sorted(place.glob("**/*.def"))
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found:
                continue
            seen += 1
            name = found.group(1)
            target = "include" if name == "tiba.h" else name.split("/")[0]
            if target not in allowed and target != "onnx.pb-c.h":
                print(f"{path.relative_to(root)}:{number}: {room} must not include {name}")
                bad += 1
            if target == "onnx.pb-c.h" and room != "onnx":
                print(f"{path.relative_to(root)}:{number}: only onnx/ sees protobuf")
                bad += 1
print(f"{seen} includes checked, {bad} against the direction")
sys.exit(bad != 0 or seen == 0)
