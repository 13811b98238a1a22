#!/usr/bin/env python3
"""Towers that the target at hand does not read, though the output does: no map, and a note.

    cli_unread.py TOOL
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import Graph

tool = os.path.abspath(sys.argv[1])
TOKENS, FEATURES = 5, 8
NOTE = "the target's gradient reaches none of these tokens"

with tempfile.TemporaryDirectory() as folder:
    graph = Graph()
    for name in "ab":
        graph.input(name, [1, TOKENS, FEATURES])
        graph.attention(name, name + "x", FEATURES, TOKENS)
        graph.node("ReduceMean", [name + "x"], name + "mean", axes=[1], keepdims=0)
        graph.weight(name + "w", [FEATURES, 2])
        graph.node("MatMul", [name + "mean", name + "w"], name + "y")
    graph.node("Concat", ["ay", "by"], "y", axis=1)
    graph.output("y")
    path = os.path.join(folder, "model.onnx")
    graph.save(path)
    feeds = []
    for i, name in enumerate("ab"):
        file = os.path.join(folder, name + ".npy")
        np.save(file, np.random.RandomState(i).randn(1, TOKENS, FEATURES).astype("f4"))
        feeds.append(f"{name}={file}")
    for target, read, unread in ((1, "a", "b"), (2, "b", "a")):
        for method in ("tiba", "rollout"):
            numbers = os.path.join(folder, "numbers.json")
            r = subprocess.run([tool, path, *feeds, "--target", f"0,{target}", "--method", method, "--npy", folder, "--json", numbers],
                               capture_output=True, text=True, timeout=60)
            check(r.returncode == 0, target, method, r.stderr)
            of = {kind + name: np.load(os.path.join(folder, f"{kind}.{name}.npy")).ravel() for kind in ("tokens", "readout") for name in "ab"}
            check(not of["tokens" + unread].any() and not of["readout" + unread].any(), target, method, of)
            check(of["tokens" + read].any() and abs(of["readout" + read].sum() - 1) < 1e-5, target, method, of)
            check(NOTE in json.load(open(numbers))["notes"], target, method, json.load(open(numbers))["notes"])
            check("note: " + NOTE in r.stdout, target, method, r.stdout)
close()
