#!/usr/bin/env python3
"""Gates in towers whose tokens move: what an attention's result is multiplied by takes nothing of what the branch is asked for,
and an attention whose result opens tokens' gates is asked for what it adds. Against the products of I + P.

    cli_gates.py TOOL
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, Graph, block

tool = os.path.abspath(sys.argv[1])
TOKENS, FEATURES = 6, 8
MOVED = [3, 0, 5, 1, 4, 2]
random = np.random.RandomState(1)
X = random.randn(1, TOKENS, FEATURES).astype("f4")


def put(graph, name, value):
    graph.tensor(name, value.shape, FLOAT, block(9, value.astype("f4").tobytes()))
    return name


def linear(graph, x, name, n_out=FEATURES):
    graph.node("MatMul", [x, put(graph, "w" + name, random.randn(FEATURES, n_out) * 0.6)], name)
    return name


def attention(graph, x, k, queries=None):
    """its result; its P is an output"""
    scores = linear(graph, x, "score" + k, 1) if queries == 1 else None
    value = linear(graph, x, "v" + k)
    if scores:
        graph.node("Transpose", [scores], "s" + k, perm=[0, 2, 1])
    else:
        graph.node("Transpose", [linear(graph, x, "k" + k)], "kt" + k, perm=[0, 2, 1])
        graph.node("MatMul", [linear(graph, x, "q" + k), "kt" + k], "s" + k)
    graph.node("Softmax", ["s" + k], "p" + k, axis=-1)
    graph.node("MatMul", ["p" + k, value], "o" + k)
    graph.output("p" + k)
    return "o" + k


def gated(graph, x, k, queries=None):
    """x + W (σ(U x) ⊙ attention)"""
    graph.node("Sigmoid", [linear(graph, x, "u" + k)], "g" + k)
    graph.node("Mul", ["g" + k, attention(graph, x, k, queries)], "go" + k)
    graph.node("Add", [x, linear(graph, "go" + k, "oo" + k)], "x" + k)
    return "x" + k


def opened(graph, x, k, queries=None):
    """x ⊙ σ(W attention), no residual"""
    graph.node("Sigmoid", [linear(graph, attention(graph, x, k, queries), "w_" + k)], "g" + k)
    graph.node("Mul", [x, "g" + k], "x" + k)
    return "x" + k


def beside(graph, x, k, queries=None):
    """x + W [attention, MLP]"""
    graph.node("Relu", [linear(graph, x, "u" + k)], "g" + k)
    graph.node("Concat", [attention(graph, x, k, queries), "g" + k], "go" + k, axis=2)
    graph.node("MatMul", ["go" + k, put(graph, "wo" + k, random.randn(2 * FEATURES, FEATURES) * 0.6)], "oo" + k)
    graph.node("Add", [x, "oo" + k], "x" + k)
    return "x" + k


def highway(graph, x, k, queries=None):
    """(1 - σ(U x)) ⊙ x + σ(U x) ⊙ W attention"""
    graph.node("Sigmoid", [linear(graph, x, "u" + k)], "g" + k)
    graph.node("Sub", [put(graph, "one" + k, np.ones(1)), "g" + k], "rest" + k)
    graph.node("Mul", ["rest" + k, x], "kept" + k)
    graph.node("Mul", ["g" + k, linear(graph, attention(graph, x, k, queries), "oo" + k)], "new" + k)
    graph.node("Add", ["kept" + k, "new" + k], "x" + k)
    return "x" + k


def halves(graph, x, k, queries=None):
    """x + [attention, MLP], half of the features each"""
    half = FEATURES // 2
    graph.node("MatMul", [attention(graph, x, k, queries), put(graph, "wa" + k, random.randn(FEATURES, half) * 0.6)], "a" + k)
    graph.node("MatMul", [x, put(graph, "wb" + k, random.randn(FEATURES, half) * 0.6)], "b" + k)
    graph.node("Concat", ["a" + k, "b" + k], "oo" + k, axis=2)
    graph.node("Add", [x, "oo" + k], "x" + k)
    return "x" + k


def run(name, lower, queries, options):
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    first = lower(graph, "x", "1", queries)
    graph.ints("moved", MOVED)
    graph.node("Gather", [first, "moved"], "there", axis=1)
    top = gated(graph, "there", "2")
    graph.node("ReduceMean", [top], "mean", axes=[1], keepdims=0)
    graph.output("y")
    linear(graph, "mean", "y", 3)
    model, out = os.path.join(folder, name + ".onnx"), os.path.join(folder, name)
    graph.save(model)
    r = subprocess.run([tool, model, f"x={folder}/x.npy", "--output", "y", "--method", "rollout", "--target", "0,1", "--npy", out, *options],
                       capture_output=True, text=True, timeout=60)
    if r.returncode:
        return r.stderr, None
    return r.stdout, lambda n: np.load(os.path.join(out, n + ".npy"))


def rolled_out(load, rows_divided):
    """wᵀ (I + P2) moved (I + P1)"""
    r = load("readout.x").ravel().astype("f8")
    for p, place in (("p2", MOVED), ("p1", range(TOKENS))):
        e = load("output." + p)[0].astype("f8")
        shares = e.T @ (r if len(e) > 1 else [r.sum()])
        r, back = (r + shares) / (2 if rows_divided else 1), np.zeros(TOKENS)
        back[list(place)] = r
        r = back
    return r


with tempfile.TemporaryDirectory() as folder:
    np.save(os.path.join(folder, "x.npy"), X)
    for block_, queries in ((gated, None), (gated, 1), (beside, None), (highway, None), (halves, None)):
        for rows in ("raw", "normalized"):
            said, load = run(f"{block_.__name__}{queries}{rows}", block_, queries, ["--rollout", rows])
            check(load, queries, rows, said)
            got, want = load("tokens.x").ravel(), rolled_out(load, rows == "normalized")
            check(np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), queries, rows, got, want)
    said, load = run("opened", opened, 1, ["--rollout", "raw"])
    got, want = load("tokens.x").ravel(), rolled_out(load, False)
    check(np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), got, want)
    said, load = run("opened", opened, 1, ["--rollout", "normalized"])
    check(load is None and "the normalized rollout is not defined" in said and said.count("\n") == 1, said)
close()
