#!/usr/bin/env python3
"""Tokens that a product or windows put back in their places move as by Reshape and Transpose: the row vector goes by the weights
that are not 0. One tower, its windows put back in several ways: one explanation.

    cli_moves.py TOOL
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, Graph, block

tool = os.path.abspath(sys.argv[1])
SIDE, FEATURES, WINDOW = 4, 8, 2
TOKENS, TAPS, PLACES = SIDE * SIDE, WINDOW * WINDOW, (SIDE // WINDOW) ** 2
random = np.random.RandomState(1)
X = random.randn(1, TOKENS, FEATURES).astype("f4")


class Made:
    def __init__(self):
        self.graph, self.made, self.random = Graph(), 0, np.random.RandomState(2)

    def node(self, op, *inputs, **attributes):
        self.made += 1
        inputs = [self.constant(i) if isinstance(i, (list, np.ndarray)) else i for i in inputs]
        self.graph.node(op, inputs, f"v{self.made}", **attributes)
        return f"v{self.made}"

    def constant(self, value):
        self.made += 1
        if isinstance(value, list):
            self.graph.ints(f"c{self.made}", value)
        else:
            value = value.astype("f4")
            self.graph.tensor(f"c{self.made}", value.shape, FLOAT, block(9, value.tobytes()))
        return f"c{self.made}"

    def linear(self, x, n_out=FEATURES):
        return self.node("MatMul", x, self.random.randn(FEATURES, n_out) * 0.6)

    def attention(self, x, rank):
        """of x [..., tokens, features]"""
        q, k, v = (self.linear(x) for _ in range(3))
        turned = self.node("Transpose", k, perm=[*range(rank - 2), rank - 1, rank - 2])
        return self.node("MatMul", self.node("Softmax", self.node("MatMul", q, turned), axis=-1), v)


def columns(m, x):
    """[1, tokens, features] to [1, features, taps, places], a window's taps beside each other"""
    half = SIDE // WINDOW
    grid = m.node("Reshape", m.node("Transpose", x, perm=[0, 2, 1]), [1, FEATURES, half, WINDOW, half, WINDOW])
    return m.node("Reshape", m.node("Transpose", grid, perm=[0, 1, 3, 5, 2, 4]), [1, FEATURES, TAPS, PLACES])


def tokens(m, picture):
    return m.node("Transpose", m.node("Reshape", picture, [1, FEATURES, TOKENS]), perm=[0, 2, 1])


def by_moves(m, y):
    half = SIDE // WINDOW
    y = m.node("Reshape", y, [1, FEATURES, WINDOW, WINDOW, half, half])
    return tokens(m, m.node("Transpose", y, perm=[0, 1, 4, 2, 5, 3]))


def by_col2im(m, y):
    y = m.node("Reshape", y, [1, FEATURES * TAPS, PLACES])
    return tokens(m, m.node("Col2Im", y, [SIDE, SIDE], [WINDOW, WINDOW], strides=[WINDOW, WINDOW]))


def by_convolution(m, y):
    half = SIDE // WINDOW
    y = m.node("Reshape", y, [FEATURES, TAPS, half, half])
    ones = np.eye(TAPS).reshape(TAPS, 1, WINDOW, WINDOW)
    return tokens(m, m.node("ConvTranspose", y, ones, strides=[WINDOW, WINDOW]))


def places_of_windows():
    """[tokens]: which token each of [taps, places] is"""
    half = SIDE // WINDOW
    grid = np.arange(TOKENS).reshape(half, WINDOW, half, WINDOW)
    return grid.transpose(1, 3, 0, 2).ravel()


def by_product(m, y):
    y = m.node("Reshape", m.node("Transpose", y, perm=[0, 2, 3, 1]), [1, TOKENS, FEATURES])
    back = np.zeros((TOKENS, TOKENS))
    back[places_of_windows(), range(TOKENS)] = 1
    return m.node("MatMul", back, y)


def explain(folder, name, back):
    m = Made()
    m.graph.input("x", [1, TOKENS, FEATURES])
    x = m.node("Add", "x", m.attention("x", 3))
    y = m.attention(m.node("Transpose", columns(m, x), perm=[0, 2, 3, 1]), 4)
    x = m.node("Add", x, back(m, m.node("Transpose", y, perm=[0, 3, 1, 2])))
    x = m.node("Add", x, m.attention(x, 3))
    first = m.node("Squeeze", m.node("Slice", x, [1], [2], [1]), [1])
    m.graph.node("MatMul", [first, m.constant(m.random.randn(FEATURES, 3))], "y")
    m.graph.output("y")
    model, out = os.path.join(folder, name + ".onnx"), os.path.join(folder, name)
    m.graph.save(model)
    r = subprocess.run([tool, model, f"x={folder}/x.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, name, r.stderr)
    return r.returncode == 0 and np.load(os.path.join(out, "tokens.x.npy")).ravel()


with tempfile.TemporaryDirectory() as folder:
    np.save(os.path.join(folder, "x.npy"), X)
    want = explain(folder, "moves", by_moves)
    check(len(np.unique(want.round(5))) > TOKENS // 2, want)
    for name, back in (("col2im", by_col2im), ("convolution", by_convolution), ("product", by_product)):
        got = explain(folder, name, back)
        check(got is not False and np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), name, got, want)
close()
