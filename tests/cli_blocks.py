#!/usr/bin/env python3
"""However a block is written, the row vector behind it is r + Eᵀ r, whether tokens move between blocks or not: what an attention's result is
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
KINDS = "plain", "heads", "own", "one, joined", "one, added", "pooled"  # how the attention is written


class Block:
    """One block of a graph: what it is made of, and the words for it."""

    def __init__(self, graph, x, key, random):
        self.graph, self.x, self.key, self.random, self.made, self.result, self.ps = graph, x, key, random, 0, None, []
        # one query for all tokens; on top of a tower it would be a part of the readout
        self.kind = KINDS[random.randint(len(KINDS) - (key == "2"))]

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

    def ints(self, *values):
        name = self.name()
        self.graph.ints(name, values)
        return name

    def softmax(self, q, k):
        """P of queries and keys [..., tokens, features], an output of the graph"""
        turned = [0, 1, 3, 2] if self.kind in ("heads", "one, joined", "one, added") else [0, 2, 1]
        p = f"p{self.key}.{self.made}"
        self.graph.node("Softmax", [self.node("MatMul", [q, self.node("Transpose", [k], perm=turned)])], p, axis=-1)
        self.graph.output(p)
        self.ps.append(p)
        return p

    def attention(self):
        """its result, always the same one"""
        if self.result is None:
            self.result = self.of_kind()
        return self.result

    def of_kind(self):
        qkv = [self.linear(self.x) for _ in range(3)]
        if self.kind in ("plain", "pooled"):
            if self.kind == "pooled":
                qkv[0] = self.node("ReduceMean", qkv[:1], axes=[1], keepdims=1)
            return self.node("MatMul", [self.softmax(*qkv[:2]), qkv[2]])
        half, all_ = FEATURES // 2, [1, TOKENS, FEATURES]
        if self.kind == "own":  # a softmax for each head
            more = [self.linear(self.x) for _ in range(3)]
            return self.joined([self.node("MatMul", [self.softmax(*h[:2]), h[2]]) for h in (qkv, more)])
        q, k, v = (self.node("Transpose", [self.node("Reshape", [y, self.ints(1, TOKENS, 2, half)])], perm=[0, 2, 1, 3]) for y in qkv)
        p = self.softmax(q, k)
        if self.kind == "heads":
            return self.node("Reshape", [self.node("Transpose", [self.node("MatMul", [p, v])], perm=[0, 2, 1, 3]), self.ints(*all_)])
        # one softmax whose heads are taken apart
        o = [self.node("MatMul", [self.node("Gather", [y, self.ints(h)], axis=1) for y in (p, v)]) for h in range(2)]
        o = [self.node("Reshape", [y, self.ints(1, TOKENS, half)]) for y in o]
        return self.joined(o, half) if self.kind == "one, joined" else self.node("Add", [self.linear(y, half) for y in o])

    def joined(self, parts, each=FEATURES):
        return self.linear(self.node("Concat", parts, axis=2), each * len(parts))

    def beside(self, a, b):
        if self.kind == "pooled":
            a, b = (self.node("Expand", [x, self.ints(1, TOKENS, FEATURES)]) for x in (a, b))
        return self.joined([a, b])

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

    def three():
        (f, left), (a, right) = free(b, depth), asked(b, depth)
        return b.node("Sum", [b.x, f, a]), f"Sum(x, {left}, {right})"

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
    return (residual, three, gate, highway, modulated, beside, recurrent, plain_sum)[b.random.randint(8)]()


def rolled_out(load, blocks, moved, rows_divided):
    """wᵀ (I + P2) moved (I + P1), P: the mean over heads"""
    r = load("readout.x").ravel().astype("f8")
    for b, place in zip(blocks, (MOVED if moved else range(TOKENS), range(TOKENS))):
        e = np.mean([load("output." + p).astype("f8").reshape(-1, *load("output." + p).shape[-2:]).mean(0) for p in b.ps], 0)
        asked = r if len(e) == TOKENS else [r.sum()]
        r, back = (r + e.T @ asked) / (2 if rows_divided else 1), np.zeros(TOKENS)
        back[list(place)] = r
        r = back
    return r


def run(seed, folder):
    random, graph = np.random.RandomState(seed), Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    blocks = [Block(graph, "x", "1", random)]
    lower, first = whole(blocks[0])
    feeds = {"x": random.randn(1, TOKENS, FEATURES)}
    if seed % 4 == 1:  # a branch without attention, which an input of numbers masks: the row vector passes it by
        graph.input("m", [1, 1, FEATURES])
        feeds["m"] = random.rand(1, 1, FEATURES)
        graph.ints("turned", MOVED[::-1])
        graph.node("Gather", [lower, "turned"], "beside", axis=1)
        graph.node("Mul", ["beside", "m"], "masked")
        graph.node("Add", [lower, "masked"], "lower")
        lower = "lower"
    moved = seed % 3 > 0
    if moved:
        graph.ints("moved", MOVED)
        graph.node("Gather", [lower, "moved"], "there", axis=1)
    else:
        graph.node("Identity", [lower], "there")
    blocks.insert(0, Block(graph, "there", "2", random))
    upper, second = whole(blocks[0])
    graph.node("ReduceMean", [upper], "mean", axes=[1], keepdims=0)
    graph.tensor("w", [FEATURES, 3], FLOAT, block(9, random.randn(FEATURES, 3).astype("f4").tobytes()))
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model = os.path.join(folder, f"{seed}.onnx")
    graph.save(model)
    for name, value in feeds.items():
        np.save(os.path.join(folder, name + ".npy"), value.astype("f4"))
    given = [f"{name}={folder}/{name}.npy" for name in feeds]
    found = []
    for rows in ("raw", "normalized"):
        out = os.path.join(folder, f"{seed}{rows}")
        r = subprocess.run([tool, model, *given, "--output", "y", "--method", "rollout", "--target", "0,1", "--npy", out,
                            "--rollout", rows], capture_output=True, text=True, timeout=60)
        if r.returncode:
            found.append((None, r.stderr))
            continue
        load = lambda n: np.load(os.path.join(out, n + ".npy"))
        got, want = load("tokens.x").ravel(), rolled_out(load, blocks, moved, rows == "normalized")
        found.append((np.abs(got - want).max() / np.abs(want).max(), ""))
    return f"{blocks[1].kind}: {first}", f"{blocks[0].kind}: {second}", found


if __name__ == "__main__":
    seeds = range(*map(int, sys.argv[2:4])) if len(sys.argv) > 3 else range(100)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            first, second, ((raw, why), (divided, why_not)) = run(seed, folder)
            if len(sys.argv) > 3:
                print(seed, raw, divided, first, "|", second, why or why_not)
            check(raw is not None and raw <= 1e-5, seed, first, second, raw, why)
            check(divided <= 1e-5 if divided is not None else
                  "the normalized rollout is not defined" in why_not and why_not.count("\n") == 1, seed, first, second, divided, why_not)
    close()
