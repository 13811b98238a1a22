#!/usr/bin/env python3
"""The command lines of README.md run as they stand, in an empty folder with the examples.

    readme.py TOOL SOURCE_FOLDER
"""
import os
import re
import subprocess
import sys
import tempfile

from checks import check, close

tool, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
text = open(os.path.join(source, "README.md")).read()
lines = re.findall(r"^    ((?:tiba-onnx|picture=|pair=).*)$", text[text.index("The lines below"):], re.M)
check(sum(line.startswith("tiba-onnx") for line in lines) > 8, "the lines are found", lines)
with tempfile.TemporaryDirectory() as folder:
    os.symlink(os.path.join(source, "examples"), os.path.join(folder, "examples"))
    environment = {**os.environ, "PATH": os.path.dirname(tool) + os.pathsep + os.environ["PATH"]}
    for line in lines:
        settings = [one for one in lines if "=" in one.split()[0]]
        r = subprocess.run(["bash", "-ec", "\n".join([*settings, line])], cwd=folder, env=environment,
                           capture_output=True, text=True, timeout=300)
        check(r.returncode == 0, line, r.stderr)
    left = set(os.listdir(folder))
    named = set(re.findall(r" (?:-o|-O|--html|--overlay|--json|--npy) (\S+)", "\n".join(lines)))
    check(named | {"4-bag-and-ankle-boot.tiba.png"} <= left, "what they write", left)
    pictures = re.findall(r"\((docs/[^)]*)\)", text)
    check(pictures and all(os.path.exists(os.path.join(source, p)) for p in pictures), "what it shows is there", pictures)
close()
