#!/usr/bin/env python3
"""Tokens that act on each other without attention: a note of the tower says where, and is not there where none do.

    cli_mixing.py TOOL SOURCE_FOLDER
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import Graph

tool, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TOKENS, FEATURES = 6, 8
NOTE = "tokens act on each other without attention too, at "


def turned(graph, name, x, *steps):
    """x as [batch, features, tokens], through the steps, and back."""
    graph.node("Transpose", [x], name + "t", perm=[0, 2, 1])
    x = name + "t"
    for i, (op, inputs, options) in enumerate(steps):
        graph.node(op, [x, *inputs], f"{name}{i}", **options)
        x = f"{name}{i}"
    graph.node("Transpose", [x], name, perm=[0, 2, 1])


def convolution(graph, name, x):
    graph.weight(name + "w", [FEATURES, FEATURES, 3])
    turned(graph, name, x, ("Conv", [name + "w"], {"pads": [1, 1]}))


def causal(graph, name, x):
    graph.weight(name + "w", [FEATURES, 1, 4])
    graph.ints(name + "from", [0])
    graph.ints(name + "to", [TOKENS])
    graph.ints(name + "axis", [2])
    turned(graph, name, x, ("Conv", [name + "w"], {"pads": [3, 3], "group": FEATURES}), ("Slice", [name + "from", name + "to", name + "axis"], {}))


def pointwise(graph, name, x):
    graph.weight(name + "w", [FEATURES, FEATURES, 1])
    turned(graph, name, x, ("Conv", [name + "w"], {}))


def along_features(graph, name, x):
    """Tokens are its channels, each by itself."""
    graph.weight(name + "w", [TOKENS, 1, 3])
    graph.node("Conv", [x, name + "w"], name, pads=[1, 1], group=TOKENS)


def pooled(graph, name, x):
    turned(graph, name, x, ("AveragePool", [], {"kernel_shape": [3], "pads": [1, 1]}))


def by_place(graph, name, x):
    graph.weight(name + "w", [TOKENS, TOKENS])
    turned(graph, name, x, ("MatMul", [name + "w"], {}), ("Relu", [], {}))


def token_wise(graph, name, x):
    graph.weight(name + "w", [FEATURES, 2 * FEATURES])
    graph.weight(name + "v", [2 * FEATURES, FEATURES])
    graph.node("MatMul", [x, name + "w"], name + "h")
    graph.node("Relu", [name + "h"], name + "r")
    graph.node("MatMul", [name + "r", name + "v"], name)


def gated(graph, name, x):
    """Features are weighed by a softmax of their own token."""
    graph.node("Softmax", [x], name + "p", axis=-1)
    graph.node("Mul", [x, name + "p"], name)


def running(axis):
    def make(graph, name, x):
        graph.ints(name + "axis", [axis])
        graph.node("CumSum", [x, name + "axis"], name)
    return make


def transformed(graph, name, x):
    graph.ints(name + "last", [-1])
    for i in (0, 1):
        graph.ints(f"{name}{i}", [i])
    graph.node("Unsqueeze", [x, name + "last"], name + "u")
    graph.node("DFT", [name + "u"], name + "f", axis=1)
    graph.node("Slice", [name + "f", name + "0", name + "1", name + "last"], name + "real")
    graph.node("Squeeze", [name + "real", name + "last"], name)


def squeezed(graph, name, x):
    """Every feature has a gate that the mean over all tokens opens."""
    graph.weight(name + "w", [FEATURES, FEATURES])
    graph.node("ReduceMean", [x], name + "m", axes=[1], keepdims=1)
    graph.node("MatMul", [name + "m", name + "w"], name + "g")
    graph.node("Sigmoid", [name + "g"], name + "s")
    graph.node("Mul", [x, name + "s"], name)


def linear_attention(graph, name, x):
    for part in "qkv":
        graph.weight(name + "w" + part, [FEATURES, FEATURES])
        graph.node("MatMul", [x, name + "w" + part], name + part)
    graph.node("Sigmoid", [name + "k"], name + "ks")
    graph.node("Transpose", [name + "ks"], name + "kt", perm=[0, 2, 1])
    graph.node("MatMul", [name + "kt", name + "v"], name + "kv")
    graph.node("MatMul", [name + "q", name + "kv"], name)


def recurrent(graph, name, x):
    for part, dims in (("w", [1, 4 * FEATURES, FEATURES]), ("r", [1, 4 * FEATURES, FEATURES])):
        graph.weight(name + part, dims)
    graph.ints(name + "one", [1])
    graph.node("Transpose", [x], name + "x", perm=[1, 0, 2])
    graph.node("LSTM", [name + "x", name + "w", name + "r"], name + "y", hidden_size=FEATURES)
    graph.node("Squeeze", [name + "y", name + "one"], name + "s")
    graph.node("Transpose", [name + "s"], name, perm=[1, 0, 2])


def unrolled(graph, name, x):
    """h of a token is half of the one before and the token."""
    graph.constant(name + "half", 0.5)
    graph.ints(name + "axis", [1])
    for i in range(TOKENS + 1):
        graph.ints(f"{name}at{i}", [i])
    for i in range(TOKENS):
        graph.node("Slice", [x, f"{name}at{i}", f"{name}at{i + 1}", name + "axis"], f"{name}x{i}")
        if i:
            graph.node("Mul", [f"{name}h{i - 1}", name + "half"], f"{name}d{i}")
            graph.node("Add", [f"{name}x{i}", f"{name}d{i}"], f"{name}h{i}")
        else:
            graph.node("Identity", [f"{name}x0"], f"{name}h0")
    graph.node("Concat", [f"{name}h{i}" for i in range(TOKENS)], name, axis=1)


def shifted(graph, name, x):
    """Half of each token is the one before it."""
    graph.constant(name + "half", 0.5)
    graph.ints(name + "pads", [0, 1, 0, 0, -1, 0])
    graph.node("Pad", [x, name + "pads"], name + "p")
    graph.node("Sub", [name + "p", x], name + "d")
    graph.node("Mul", [name + "d", name + "half"], name)


def normalised(graph, name, x):
    """Over tokens and features: a norm is no mixing of tokens."""
    graph.node("ReduceMean", [x], name + "m", axes=[1, 2], keepdims=1)
    graph.node("Sub", [x, name + "m"], name + "c")
    graph.node("Mul", [name + "c", name + "c"], name + "q")
    graph.node("ReduceMean", [name + "q"], name + "v", axes=[1, 2], keepdims=1)
    graph.node("Sqrt", [name + "v"], name + "d")
    graph.node("Div", [name + "c", name + "d"], name)


MIXED = (convolution, causal, pooled, by_place, running(1), transformed, squeezed, linear_attention, recurrent, unrolled, shifted)
APART = (pointwise, along_features, token_wise, gated, running(2), normalised)


def model(path, block, where):
    """Two attentions and the block on a residual branch: in front of them, between them, or behind the value that the target reads."""
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    x = "x"
    for at in ("front", "a", "between", "b", "behind"):
        if at in "ab":
            graph.attention(x, at, FEATURES, TOKENS)
            x = at
        elif at == where:
            block(graph, "mix", x)
            graph.node("Add", [x, "mix"], at)
            x = at
    graph.node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
    graph.weight("w", [FEATURES, 3])
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    graph.save(path)


def notes(path, feeds):
    """What `inspect` and a report say of each tower."""
    with tempfile.TemporaryDirectory() as out:
        numbers = os.path.join(out, "numbers.json")
        r = subprocess.run([tool, path, *feeds, "--target", "0,1", "--json", numbers], capture_output=True, text=True, timeout=60)
        check(r.returncode == 0, path, r.stderr)
        report = json.load(open(numbers))["notes"]
        check(all("note: " + n in r.stdout for n in report), r.stdout, report)
    r = subprocess.run([tool, "inspect", path, *feeds, "--json"], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, path, r.stderr)
    said = [t.get("note") or "" for t in json.loads(r.stdout)["towers"]]
    return [n for n in report if NOTE in n], said


with tempfile.TemporaryDirectory() as folder:
    path, x = os.path.join(folder, "model.onnx"), os.path.join(folder, "x.npy")
    np.save(x, np.random.RandomState(5).randn(1, TOKENS, FEATURES).astype("f4"))
    for block in MIXED + APART:
        for where in ("front", "between", "behind"):
            model(path, block, where)
            report, (said,) = notes(path, ["x=" + x])
            name = (block.__qualname__, where)
            if block in MIXED:
                check(said.startswith(NOTE) and "'node_mix" in said, name, said)
            else:
                check(NOTE not in said, name, said)
            check(report == [said] if said else not report, name, report, said)

families = os.path.join(source, "tests", "data", "families")
found = set()
for folder in sorted(glob.glob(families + "/*/")):
    feeds = [os.path.basename(p)[6:-4] + "=" + p for p in sorted(glob.glob(folder + "input.*.npy"))]
    r = subprocess.run([tool, "inspect", sorted(glob.glob(folder + "*.onnx"))[-1], *feeds], capture_output=True, text=True, timeout=60)
    if NOTE in r.stdout:
        found.add(os.path.basename(folder[:-1]))
# a Fourier transform; a gate of all tokens; convolutions in the MLP; a convolution and a gate beside attention
check(found == {"fourier", "lattices", "overlapping_merges", "pooling_blocks"}, found)
close()
