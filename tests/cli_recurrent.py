#!/usr/bin/env python3
"""Tokens that went through a recurrence are still the input's: attention over its states makes a tower, without a residual sum too.

    cli_recurrent.py TOOL
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
TOKENS, FEATURES = 6, 8
NOTE = "tokens act on each other without attention too, at 1 node "


def layer(op, direction="forward", first=False):
    """One of ONNX' recurrent layers. `first`: the steps are x's first axis already."""
    directions, gates = 1 + (direction == "bidirectional"), {"RNN": 1, "GRU": 3, "LSTM": 4}[op]

    def build(graph, x):
        hidden = FEATURES // directions
        graph.weight("w", [directions, gates * hidden, FEATURES])
        graph.weight("r", [directions, gates * hidden, hidden])
        if not first:
            graph.node("Transpose", [x], "by_step", perm=[1, 0, 2])
        graph.node(op, [x if first else "by_step", "w", "r"], "states", hidden_size=hidden, direction=direction)
        graph.node("Transpose", ["states"], "batch_in_front", perm=[2, 0, 1, 3])  # [steps, directions, batch, hidden]
        graph.ints("wide", [1, TOKENS, FEATURES])
        graph.node("Reshape", ["batch_in_front", "wide"], "h")
    return build


def steps(order):
    """Written out: each state is made of half of the one before and a token."""
    def build(graph, x):
        graph.constant("half", 0.5)
        graph.ints("axis", [1])
        for i in range(TOKENS + 1):
            graph.ints(f"at{i}", [i])
        before = None
        for i in order:
            graph.node("Slice", [x, f"at{i}", f"at{i + 1}", "axis"], f"x{i}")
            if before:
                graph.node("Mul", [before, "half"], f"m{i}")
                graph.node("Add", [f"m{i}", f"x{i}"], f"d{i}")
            graph.node("Tanh", [f"d{i}" if before else f"x{i}"], f"h{i}")
            before = f"h{i}"
        graph.node("Concat", [f"h{i}" for i in range(TOKENS)], "h", axis=1)
    return build


def model(path, build, first=False, below=False, read="mean"):
    """`below`: an attention in front of the recurrence. `read`: what is made of the last tokens."""
    graph = Graph()
    graph.input("x", [TOKENS, 1, FEATURES] if first else [1, TOKENS, FEATURES])
    if below:
        graph.attention("x", "front", FEATURES, TOKENS)
    build(graph, "front" if below else "x")
    top = "h"
    if read == "mean":
        graph.attention("h", "a", FEATURES, TOKENS)
        top = "a"
        graph.node("ReduceMean", [top], "pooled", axes=[1], keepdims=0)
    else:
        graph.ints("last", [-1])
        graph.node("Gather", [top, "last"], "one", axis=1)
        graph.ints("flat", [1, FEATURES])
        graph.node("Reshape", ["one", "flat"], "pooled")
    graph.weight("head", [FEATURES, 3])
    graph.node("MatMul", ["pooled", "head"], "y")
    graph.output("y")
    graph.save(path, opset=14)


def inspect(path, x):
    r = subprocess.run([tool, "inspect", path, "x=" + x, "--json"], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, path, r.stderr)
    return json.loads(r.stdout)["towers"]


with tempfile.TemporaryDirectory() as folder:
    path, x, turned = (os.path.join(folder, n) for n in ("model.onnx", "x.npy", "turned.npy"))
    numbers = np.random.RandomState(5).randn(1, TOKENS, FEATURES).astype("f4")
    np.save(x, numbers)
    np.save(turned, numbers.transpose(1, 0, 2))
    found = {}
    cases = [(op, d, layer(op, d), False) for op in ("RNN", "GRU", "LSTM") for d in ("forward", "reverse", "bidirectional")]
    cases += [("LSTM", "steps first", layer("LSTM", first=True), True)]
    cases += [("written out", "forward", steps(range(TOKENS)), False), ("written out", "backward", steps(range(TOKENS - 1, -1, -1)), False)]
    for op, how, build, first in cases:
        model(path, build, first)
        towers = inspect(path, turned if first else x)
        said = [(t["input"], t["tokens"]) for t in towers]
        check(said == [("x", TOKENS)], op, how, towers)
        check((towers[0].get("note") or "").startswith(NOTE), op, how, towers)
        r = subprocess.run([tool, path, "x=" + (turned if first else x), "--target", "0,1", "--npy", folder], capture_output=True, text=True, timeout=60)
        check(r.returncode == 0, op, how, r.stderr)
        block = np.load(os.path.join(folder, "block.0.x.npy"))
        check(block.shape[-2:] == (TOKENS, TOKENS), op, how, block.shape)  # a tower of the plain kind
        found[op, how] = np.load(os.path.join(folder, "tokens.x.npy")).ravel()
    off = np.abs(found["LSTM", "forward"] - found["LSTM", "steps first"]).max()
    check(off < 1e-6, "batch or steps in front", off)

    # above an attention a recurrence belongs to the readout: what it reads of all tokens is told, not which state was taken
    model(path, layer("GRU"), below=True, read="last")
    r = subprocess.run([tool, path, "x=" + x, "--target", "0,1", "--npy", folder], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, r.stderr)
    w = np.load(os.path.join(folder, "readout.x.npy")).ravel()
    check((w > 0).sum() > 1, "read of the tokens", w)
    # and so does one below another attention: two towers, and no row vector through the steps
    model(path, layer("GRU"), below=True)
    check([t["tokens"] for t in inspect(path, x)] == [TOKENS, TOKENS], inspect(path, x))
close()
