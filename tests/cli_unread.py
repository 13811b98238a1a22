#!/usr/bin/env python3
"""Towers that the target at hand does not read, though the output does: no map, and a note. A tower that goes on beside
readers of its tokens: what the target reads of it by way of a reader is the same as in a file without the rest.

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

def head(graph, x, name):
    graph.node("ReduceMean", [x], name + "mean", axes=[1], keepdims=0)
    graph.weight(name + "w", [FEATURES, 2])
    graph.node("MatMul", [name + "mean", name + "w"], name)


def branches(file, *parts):
    """Two blocks whose first one's last tokens are turned and read by a block of their own; the heads in `parts`."""
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    graph.attention("x", "below", FEATURES, TOKENS)
    graph.attention("below", "whole", FEATURES, TOKENS)
    for name, value in (("from", -1), ("to", 0), ("axis", 1), ("step", -1)):
        graph.ints(name, [value])
    graph.node("Slice", ["below", "from", "to", "axis", "step"], "part")
    graph.attention("part", "branch", FEATURES, TOKENS - 1)
    for part in ("whole", "branch", "below"):
        head(graph, part, part + "y")
    graph.node("Concat", [part + "y" for part in parts], "y", axis=1)
    graph.output("y")
    graph.save(file)


def explain(folder, file, target, *options):
    out = tempfile.mkdtemp(dir=folder)
    x = os.path.join(folder, "x.npy")
    np.save(x, np.random.RandomState(3).randn(1, TOKENS, FEATURES).astype("f4"))
    r = subprocess.run([tool, file, "x=" + x, "--target", f"0,{target}", "--npy", out, *options], capture_output=True, text=True, timeout=60)
    return r, {f[len("tokens."):-len(".npy")]: np.load(os.path.join(out, f)).ravel() for f in os.listdir(out) if f.startswith("tokens")}


with tempfile.TemporaryDirectory() as folder:
    file = {parts: os.path.join(folder, "-".join(parts) + ".onnx") for parts in (("whole", "branch"), ("whole",), ("branch",), ("whole", "below"))}
    for parts in file:
        branches(file[parts], *parts)
    alone = explain(folder, file["whole",], 1)[1]["x"], explain(folder, file["branch",], 1)[1]["x"]
    r, of = explain(folder, file["whole", "branch"], 1)
    check(r.returncode == 0 and np.allclose(of["x"], alone[0], atol=1e-6) and not of["x.2"].any(), r.stderr, of, alone)
    r, of = explain(folder, file["whole", "branch"], 3)
    check(r.returncode == 0 and np.allclose(of["x.2"], alone[1], atol=1e-6) and not of["x"].any(), r.stderr, of, alone)
    r, _ = explain(folder, file["whole", "below"], 3)
    check(r.returncode == 1 and "below the last of their attentions" in r.stderr and NOTE not in r.stdout, r.stderr)
    check(explain(folder, file["whole", "below"], 1)[0].returncode == 0)
    r, of = explain(folder, file["whole", "branch"], 3)
    check(NOTE in r.stdout and (alone[1] > 0).sum() == TOKENS, r.stdout, alone)

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
