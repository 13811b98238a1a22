#!/usr/bin/env python3
"""However a block is written, the row vector behind it is r + Eᵀ r, in towers whose tokens move too: what an attention's result is
multiplied by, stands beside or is added to takes nothing of what the attention adds, and an attention that reaches the block's
end by several ways is asked once. Blocks drawn at random from a grammar, against the products of I + P.

    cli_blocks.py TOOL [FIRST LAST]
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


class Block:
    """One block of a graph: what it is made of, and the words for it."""

    def __init__(self, graph, x, key, random):
        self.graph, self.x, self.key, self.random, self.made, self.result = graph, x, key, random, 0, None
        # one query for all tokens; on top of a tower it would be a part of the readout
        self.queries = 1 if key == "1" and random.randint(4) == 0 else TOKENS

    def name(self):
        self.made += 1
        return f"{self.key}.{self.made}"

    def node(self, op, inputs, **attributes):
        out = self.name()
        self.graph.node(op, inputs, out, **attributes)
        return out

    def put(self, value):
        name = self.name()
        value = np.asarray(value, "f4")
        self.graph.tensor(name, value.shape, FLOAT, block(9, value.tobytes()))
        return name

    def linear(self, x, n_in=FEATURES, n_out=FEATURES):
        return self.node("MatMul", [x, self.put(self.random.randn(n_in, n_out) * 0.6)])

    def attention(self):
        """its result, always the same one; its P is an output"""
        if self.result is None:
            q, k, v = (self.linear(self.x) for _ in range(3))
            if self.queries == 1:
                q = self.node("ReduceMean", [q], axes=[1], keepdims=1)
            s = self.node("MatMul", [q, self.node("Transpose", [k], perm=[0, 2, 1])])
            self.graph.node("Softmax", [s], "p" + self.key, axis=-1)
            self.graph.output("p" + self.key)
            self.result = self.node("MatMul", ["p" + self.key, v])
        return self.result

    def beside(self, a, b):
        if self.queries == 1: # features of all tokens
            every = self.name()
            self.graph.ints(every, [1, TOKENS, FEATURES])
            a, b = (self.node("Expand", [x, every]) for x in (a, b))
        return self.linear(self.node("Concat", [a, b], axis=2), 2 * FEATURES)

    def minus(self, x):
        return self.node("Sub", [self.put(np.ones(1)), x])


def pick(b, depth, first, others):
    """(value, words) of one of the ways to write it; the first one where there is no depth left"""
    ways = [first] if depth == 0 else [first] + others
    return ways[b.random.randint(len(ways))]()


def free(b, depth):
    """made of the block's tokens, each by itself"""
    def one(op):
        x, words = free(b, depth - 1)
        return b.node(op, [x]), f"{op}({words})"

    def two(op):
        (x, left), (y, right) = free(b, depth - 1), free(b, depth - 1)
        return b.node(op, [x, y]), f"({left} {op} {right})"

    def linear():
        x, words = free(b, depth - 1)
        return b.linear(x), f"W{words}"
    return pick(b, depth, lambda: (b.linear(b.x), "Wx"),
                [lambda: one("Sigmoid"), lambda: one("Tanh"), linear, lambda: two("Mul"), lambda: two("Add")])


def asked(b, depth):
    """made of the attention's result, perhaps with tokens of the block"""
    def one(op):
        x, words = asked(b, depth - 1)
        return b.node(op, [x]), f"{op}({words})"

    def linear():
        x, words = asked(b, depth - 1)
        return b.linear(x), f"W{words}"

    def two(op, with_):
        (x, left), (y, right) = asked(b, depth - 1), with_(b, depth - 1)
        if b.random.randint(2):
            x, left, y, right = y, right, x, left
        return b.node(op, [x, y]), f"({left} {op} {right})"

    def beside():
        (x, left), (y, right) = asked(b, depth - 1), free(b, depth - 1)
        return b.beside(x, y), f"W[{left}, {right}]"
    return pick(b, depth, lambda: (b.attention(), "A"),
                [lambda: one("Sigmoid"), lambda: one("Tanh"), linear, lambda: two("Mul", free), lambda: two("Add", free),
                 lambda: two("Mul", asked), lambda: two("Add", asked), beside])


def whole(b):
    """a block: x has a way past the attention"""
    depth = b.random.randint(4)

    def residual():
        a, words = asked(b, depth)
        return b.node("Add", [b.x, a]), f"x + {words}"

    def gate():
        a, words = asked(b, depth)
        return b.node("Mul", [b.x, b.node("Sigmoid", [a])]), f"x * s({words})"

    def highway():
        (g, gate_), (a, words) = (asked, free)[b.random.randint(2)](b, depth), asked(b, depth)
        g = b.node("Sigmoid", [g])
        return (b.node("Add", [b.node("Mul", [b.minus(g), b.x]), b.node("Mul", [g, a])]), f"lerp(x, {words}; {gate_})")

    def modulated():
        (g, gate_), (a, words) = asked(b, depth), asked(b, depth)
        return b.node("Add", [b.node("Mul", [b.x, g]), a]), f"x * {gate_} + {words}"

    def beside():
        a, words = asked(b, depth)
        return b.beside(b.x, a), f"W[x, {words}]"

    def recurrent():
        y = asked(b, depth)[0]
        r, z = (b.node("Sigmoid", [b.node("Add", [b.linear(y), b.linear(b.x)])]) for _ in range(2))
        h = b.node("Tanh", [b.node("Add", [b.linear(y), b.linear(b.node("Mul", [r, b.x]))])])
        return b.node("Add", [b.node("Mul", [b.minus(z), b.x]), b.node("Mul", [z, h])]), "gru(x, A)"

    def plain_sum():
        (f, left), (a, right) = free(b, depth), asked(b, depth)
        return b.node("Add", [f, a]), f"{left} + {right}"
    return (residual, gate, highway, modulated, beside, recurrent, plain_sum)[b.random.randint(7)]()


def rolled_out(load, rows_divided):
    """wᵀ (I + P2) moved (I + P1)"""
    r = load("readout.x").ravel().astype("f8")
    for p, place in (("p2", MOVED), ("p1", range(TOKENS))):
        e = load("output." + p)[0].astype("f8")
        asked = r if len(e) == TOKENS else [r.sum()]
        r, back = (r + e.T @ asked) / (2 if rows_divided else 1), np.zeros(TOKENS)
        back[list(place)] = r
        r = back
    return r


def run(seed, folder):
    random, graph = np.random.RandomState(seed), Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    lower, first = whole(Block(graph, "x", "1", random))
    graph.ints("moved", MOVED)
    graph.node("Gather", [lower, "moved"], "there", axis=1)
    upper, second = whole(Block(graph, "there", "2", random))
    graph.node("ReduceMean", [upper], "mean", axes=[1], keepdims=0)
    graph.tensor("w", [FEATURES, 3], FLOAT, block(9, random.randn(FEATURES, 3).astype("f4").tobytes()))
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model = os.path.join(folder, f"{seed}.onnx")
    graph.save(model)
    np.save(os.path.join(folder, "x.npy"), random.randn(1, TOKENS, FEATURES).astype("f4"))
    found = []
    for rows in ("raw", "normalized"):
        out = os.path.join(folder, f"{seed}{rows}")
        r = subprocess.run([tool, model, f"x={folder}/x.npy", "--output", "y", "--method", "rollout", "--target", "0,1", "--npy", out,
                            "--rollout", rows], capture_output=True, text=True, timeout=60)
        if r.returncode:
            found.append((None, r.stderr))
            continue
        load = lambda n: np.load(os.path.join(out, n + ".npy"))
        got, want = load("tokens.x").ravel(), rolled_out(load, rows == "normalized")
        found.append((np.abs(got - want).max() / np.abs(want).max(), ""))
    return first, second, found


if __name__ == "__main__":
    seeds = range(*map(int, sys.argv[2:4])) if len(sys.argv) > 3 else range(60)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            first, second, ((raw, why), (divided, why_not)) = run(seed, folder)
            if len(sys.argv) > 3:
                print(seed, raw, divided, first, "|", second, why or why_not)
            check(raw is not None and raw <= 1e-5, seed, first, second, raw, why)
            check(divided <= 1e-5 if divided is not None else
                  "the normalized rollout is not defined" in why_not and why_not.count("\n") == 1, seed, first, second, divided, why_not)
    close()
