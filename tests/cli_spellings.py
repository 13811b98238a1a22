#!/usr/bin/env python3
"""One model in many spellings of its attention, one explanation: what fused operators of onnxruntime and of ONNX are
lowered to is what was written out.

    cli_spellings.py TOOL
"""
import itertools
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, INT64, Graph, block

tool = os.path.abspath(sys.argv[1])
folder = tempfile.TemporaryDirectory()
MS = "com.microsoft"
BATCH, TOKENS, HEADS, SIZE, BLOCKS = 1, 6, 2, 4, 2
FEATURES = HEADS * SIZE
random = np.random.RandomState(3)
weights = [(random.randn(FEATURES, 3 * FEATURES).astype(np.float32) * 0.6, random.randn(3 * FEATURES).astype(np.float32)) for _ in range(BLOCKS)]
head, x = random.randn(FEATURES, 5).astype(np.float32), random.randn(BATCH, TOKENS, FEATURES).astype(np.float32)
INT32, BOOL = 6, 9


def floats(graph, name, value):
    graph.tensor(name, value.shape, FLOAT, block(9, np.ascontiguousarray(value, np.float32).tobytes()))


def int32s(graph, name, value):
    value = np.ascontiguousarray(value, np.int32)
    graph.tensor(name, value.shape, INT32, block(9, value.tobytes()))


def flag(graph, name, value):
    graph.tensor(name, [], BOOL, block(9, bytes([value])))


def projected(graph, x, b, heads=False):
    """q, k, v of block b from tokens x [batch, tokens, features] or [tokens, features]."""
    w, bias = weights[b]
    names = []
    for i, part in enumerate("qkv"):
        name = f"{part}{b}"
        floats(graph, name + "w", w[:, i * FEATURES:][:, :FEATURES])
        floats(graph, name + "b", bias[i * FEATURES:][:FEATURES])
        graph.node("MatMul", [x, name + "w"], name + "p")
        graph.node("Add", [name + "p", name + "b"], name)
        if heads:
            graph.ints(name + "s", [BATCH, TOKENS, HEADS, SIZE])
            graph.node("Reshape", [name, name + "s"], name + "r")
            graph.node("Transpose", [name + "r"], name + "t", perm=[0, 2, 1, 3])
            name += "t"
        names.append(name)
    return names


def merged(graph, o, b):
    graph.ints(f"o{b}s", [BATCH, TOKENS, FEATURES])
    graph.node("Transpose", [o], f"o{b}t", perm=[0, 2, 1, 3])
    graph.node("Reshape", [f"o{b}t", f"o{b}s"], f"o{b}")
    return f"o{b}"


def together(graph, b):
    floats(graph, f"w{b}", weights[b][0])
    floats(graph, f"b{b}", weights[b][1])
    return [f"w{b}", f"b{b}"]


def attended(graph, x, b, op, operand):
    """Softmax of the scores, changed by one operator, times the values."""
    q, k, v = projected(graph, x, b, heads=True)
    graph.node("Transpose", [k], k + "t", perm=[0, 1, 3, 2])
    graph.node("MatMul", [q, k + "t"], f"raw{b}")
    graph.node(op, [f"raw{b}", operand], f"s{b}")
    graph.node("Softmax", [f"s{b}"], f"p{b}", axis=-1)
    graph.node("MatMul", [f"p{b}", v], f"h{b}")
    return merged(graph, f"h{b}", b)


def written_out(graph, x, b):
    if b == 0:
        graph.constant("scale", SIZE ** -0.5)
    return attended(graph, x, b, "Mul", "scale")


def int64s(graph, name, value):
    value = np.ascontiguousarray(value, np.int64)
    graph.tensor(name, value.shape, INT64, block(9, value.tobytes()))


def band_masked(graph, x, b):
    """Each token sees its neighbours, by a mask."""
    if b == 0:
        at = np.arange(TOKENS)
        floats(graph, "mask", np.where(np.abs(at[:, None] - at) <= 1, 0, -1e9))
    return attended(graph, x, b, "Add", "mask")


def band_skewed(graph, x, b):
    """The same in blocks of two tokens: probabilities of three keys each are skewed to multiply windows of four values."""
    q, k, v = projected(graph, x, b, heads=True)
    half = TOKENS // 2
    if b == 0:
        at = np.arange(TOKENS)[:, None] + np.arange(3)  # in tokens with one more at either end
        floats(graph, "mask", np.where((at >= 1) & (at <= TOKENS), 0, -1e9)[:, None])
        int64s(graph, "near", at)
        int64s(graph, "windows", 2 * np.arange(half)[:, None] + np.arange(4))
        graph.ints("ends", [0, 0, 1, 0, 0, 0, 1, 0])
        graph.ints("two", [0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
        graph.ints("third", [3])
        for name, shape in (("blocks", [BATCH, HEADS, half, 2, 3]), ("flat", [BATCH, HEADS, half, 10]), ("skew", [BATCH, HEADS, half, 2, 4]), ("rows", [BATCH, HEADS, TOKENS, SIZE])):
            graph.ints(name, shape)
        for name, value in (("from", 0), ("to", 8)):
            graph.ints(name, [value])
    for name, index in ((k, "near"), (v, "windows")):
        graph.node("Pad", [name, "ends"], name + "e")
        graph.node("Gather", [name + "e", index], name + "w", axis=2)
    graph.node("Unsqueeze", [q, "third"], q + "u")
    graph.node("Transpose", [k + "w"], k + "t", perm=[0, 1, 2, 4, 3])
    graph.node("MatMul", [q + "u", k + "t"], f"raw{b}")
    graph.node("Add", [f"raw{b}", "mask"], f"s{b}")
    graph.node("Softmax", [f"s{b}"], f"p{b}", axis=-1)
    graph.node("Reshape", [f"p{b}", "blocks"], f"p{b}b")
    graph.node("Pad", [f"p{b}b", "two"], f"p{b}p")
    graph.node("Reshape", [f"p{b}p", "flat"], f"p{b}f")
    graph.node("Slice", [f"p{b}f", "from", "to", "third"], f"p{b}c")
    graph.node("Reshape", [f"p{b}c", "skew"], f"p{b}s")
    graph.node("MatMul", [f"p{b}s", v + "w"], f"h{b}w")
    graph.node("Reshape", [f"h{b}w", "rows"], f"h{b}")
    return merged(graph, f"h{b}", b)


def onnx_attention(graph, x, b):
    graph.node("Attention", projected(graph, x, b), f"o{b}", q_num_heads=HEADS, kv_num_heads=HEADS)
    return f"o{b}"


def attention(graph, x, b):
    graph.node("Attention", [x, *together(graph, b)], f"o{b}", MS, num_heads=HEADS)
    return f"o{b}"


def multi_head(graph, x, b):
    graph.node("MultiHeadAttention", projected(graph, x, b), f"o{b}", MS, num_heads=HEADS)
    return f"o{b}"


def grouped(graph, x, b):
    """Causal by definition: it has a reference of its own."""
    if b == 0:
        int32s(graph, "last", [TOKENS - 1] * BATCH)
        int32s(graph, "total", [TOKENS])
    graph.node("GroupQueryAttention", [*projected(graph, x, b), "", "", "last", "total"], f"o{b}", MS, num_heads=HEADS, kv_num_heads=HEADS)
    return f"o{b}"


def sparse(graph, x, b):
    if b == 0:
        int32s(graph, "rows", [[0, 1]])
        int32s(graph, "columns", [[0]])
        int32s(graph, "total", [TOKENS])
        int32s(graph, "each", [TOKENS] * BATCH)
        floats(graph, "empty", np.zeros((BATCH, HEADS, TOKENS, SIZE)))
    graph.node("SparseAttention", [*projected(graph, x, b), "empty", "empty", "rows", "columns", "total", "each"], [f"o{b}", f"k{b}x", f"v{b}x"], MS,
               num_heads=HEADS, kv_num_heads=HEADS, sparse_block_size=16)
    return f"o{b}"


def longformer(graph, x, b):
    if b == 0:
        floats(graph, "mask", np.zeros((BATCH, TOKENS)))
        int32s(graph, "global", np.zeros((BATCH, TOKENS)))
    names = together(graph, b)
    graph.node("LongformerAttention", [x, *names, "mask", *names, "global"], f"o{b}", MS, num_heads=HEADS, window=TOKENS)
    return f"o{b}"


def decoder(graph, x, b):
    """Tokens in front of the batch."""
    w, bias = weights[b]
    if b == 0:
        flag(graph, "no", 0)
    floats(graph, f"qw{b}", w[:, :FEATURES])
    floats(graph, f"kvw{b}", w[:, FEATURES:])
    floats(graph, f"b{b}", bias)
    graph.node("Transpose", [x], f"x{b}t", perm=[1, 0, 2])
    graph.node("DecoderAttention", [f"x{b}t", f"x{b}t", f"qw{b}", f"kvw{b}", f"b{b}", "", "", "", "no", "no", "no", "no"], f"o{b}f", MS, num_heads=HEADS)
    graph.node("Transpose", [f"o{b}f"], f"o{b}", perm=[1, 0, 2])
    return f"o{b}"


def packing(graph, x, b):
    if b == 0:
        int32s(graph, "counts", [TOKENS] * BATCH)
    graph.node("RemovePadding", [x, "counts"], [f"x{b}p", f"at{b}", f"sums{b}", f"most{b}"], MS)
    return f"x{b}p"


def packed(graph, x, b):
    x = packing(graph, x, b)
    graph.node("PackedAttention", [x, *together(graph, b), f"at{b}", f"sums{b}"], f"o{b}p", MS, num_heads=HEADS)
    graph.node("RestorePadding", [f"o{b}p", f"at{b}"], f"o{b}", MS)
    return f"o{b}"


def packed_heads(graph, x, b):
    q, k, v = projected(graph, packing(graph, x, b), b)
    graph.node("PackedMultiHeadAttention", [q, k, v, "", f"at{b}", f"sums{b}"], f"o{b}p", MS, num_heads=HEADS)
    graph.node("RestorePadding", [f"o{b}p", f"at{b}"], f"o{b}", MS)
    return f"o{b}"


def run(spelling):
    """The tool's result for blocks of the attention and the folder it writes to."""
    graph = Graph()
    graph.input("x", [BATCH, TOKENS, FEATURES])
    value = "x"
    for b in range(BLOCKS):
        graph.node("Add", [value, spelling(graph, value, b)], f"sum{b}")
        value = f"sum{b}"
    graph.ints("first", [0])
    floats(graph, "head", head)
    graph.node("Gather", [value, "first"], "class", axis=1)
    graph.node("MatMul", ["class", "head"], "y")
    graph.output("y")
    model, out = (os.path.join(folder.name, spelling.__name__ + end) for end in (".onnx", ""))
    graph.save(model, 23)
    np.save(os.path.join(folder.name, "x.npy"), x)
    return subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,2", "--npy", out], capture_output=True, text=True, timeout=60), out


def explained(spelling):
    r, out = run(spelling)
    check(r.returncode == 0, spelling.__name__, r.stderr)
    return {name: np.load(os.path.join(out, name)) for name in sorted(os.listdir(out))} if r.returncode == 0 else {}


def refused(spelling, reason):
    r, out = run(spelling)
    check(r.returncode not in (0, -6, -11) and reason in r.stderr and not os.path.exists(out), spelling.__name__, r.stderr)


def compare(spelling, want):
    got = explained(spelling)
    check(sorted(got) == sorted(want), spelling.__name__, sorted(got))
    for name in set(got) & set(want):
        same = got[name].shape == want[name].shape and np.abs(got[name] - want[name]).max() <= 1e-5 * np.abs(want[name]).max()
        check(same, spelling.__name__, name, got[name], want[name])


def gated(spread):
    """Pairs of tokens merge between two attentions; what is added is scaled by one number a token, of which the choice of the best
    score is one. That number is spread over the features before it is squashed, or not."""
    graph, name = Graph(), "gated" + str(spread)
    graph.input("x", [BATCH, TOKENS, FEATURES])
    graph.node("Add", ["x", written_out(graph, "x", 0)], "attended")
    graph.ints("pairs", [BATCH, TOKENS // 2, 2, FEATURES])
    graph.node("Reshape", ["attended", "pairs"], "paired")
    graph.node("ReduceMean", ["paired"], "merged", axes=[2], keepdims=0)
    graph.ints("one", [1])
    graph.ints("whole", [BATCH, TOKENS // 2, FEATURES])
    floats(graph, "mlp", weights[1][0][:, :FEATURES])
    graph.node("TopK", ["merged", "one"], ["best", "which"], axis=-1)
    graph.node("Expand", ["best", "whole"], "wide")
    graph.node("Sigmoid", ["wide" if spread else "best"], "gate")
    graph.attention("merged", "joined", FEATURES, TOKENS // 2)
    graph.node("MatMul", ["joined", "mlp"], "more")
    graph.node("Mul", ["more", "gate"], "scaled")
    graph.node("Add", ["merged", "scaled"], "last")
    floats(graph, "head", head)
    graph.node("ReduceMean", ["last"], "pooled", axes=[1], keepdims=0)
    graph.node("MatMul", ["pooled", "head"], "y")
    graph.output("y")
    model = os.path.join(folder.name, name + ".onnx")
    graph.save(model, 13)
    np.save(os.path.join(folder.name, "x.npy"), x)
    r = subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,2", "--rollout", "normalized", "--npy", model[:-5]], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, name, r.stderr)
    return np.load(os.path.join(model[:-5], "tokens.x.npy")) if r.returncode == 0 else np.zeros(TOKENS)


want = explained(written_out)
check(len(want) == 3 + BLOCKS, sorted(want))
for spelling in (onnx_attention, attention, multi_head, longformer, decoder, packed, packed_heads):
    compare(spelling, want)
compare(sparse, explained(grouped))
plain = gated(False)
check(np.abs(gated(True) - plain).max() <= 1e-5 * np.abs(plain).max() > 0, plain, gated(True))
# tokens in blocks that overlap: no square blocks are written
compare(band_skewed, {name: value for name, value in explained(band_masked).items() if not name.startswith("block")})


def softmax(s):
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def test_learned_keys():
    """Two windows of three tokens, each with two learned keys and values beside its own: what their probabilities multiply are
    no tokens, and no weight goes through them."""
    draw = lambda *shape: random.randn(*shape).astype(np.float32)
    maps = [[draw(FEATURES, FEATURES) for _ in "qkv"] for _ in range(BLOCKS)]
    learned = [(draw(1, 2, FEATURES), draw(1, 2, FEATURES)) for _ in range(BLOCKS)]
    graph = Graph()
    graph.input("x", [BATCH, TOKENS, FEATURES])
    for name, shape in (("windows", [2, 3, FEATURES]), ("whole", [BATCH, TOKENS, FEATURES])):
        graph.ints(name, shape)
    for name, value in (("zero", 0), ("two", 2), ("five", 5), ("last", 2)):
        graph.ints(name, [value])
    value, now, want = "x", x.astype(np.float64).reshape(2, 3, FEATURES), np.full((1, TOKENS), 1 / TOKENS)
    blocks = []
    for b in range(BLOCKS):
        graph.node("Reshape", [value, "windows"], f"w{b}")
        for part, w in zip("qkv", maps[b]):
            floats(graph, f"{part}{b}w", w)
            graph.node("MatMul", [f"w{b}", f"{part}{b}w"], f"{part}{b}")
        for part, given in zip("kv", learned[b]):
            floats(graph, f"{part}{b}c", given)
        floats(graph, f"kt{b}c", learned[b][0].transpose(0, 2, 1))
        graph.node("Transpose", [f"k{b}"], f"kt{b}", perm=[0, 2, 1])
        graph.node("MatMul", [f"q{b}", f"kt{b}c"], f"s{b}c")
        graph.node("MatMul", [f"q{b}", f"kt{b}"], f"s{b}x")
        graph.node("Concat", [f"s{b}c", f"s{b}x"], f"s{b}", axis=-1)
        graph.node("Softmax", [f"s{b}"], f"p{b}", axis=-1)
        graph.node("Slice", [f"p{b}", "zero", "two", "last"], f"p{b}c")
        graph.node("Slice", [f"p{b}", "two", "five", "last"], f"p{b}x")
        graph.node("MatMul", [f"p{b}c", f"v{b}c"], f"o{b}c")
        graph.node("MatMul", [f"p{b}x", f"v{b}"], f"o{b}x")
        graph.node("Add", [f"o{b}c", f"o{b}x"], f"o{b}")
        graph.node("Reshape", [f"o{b}", "whole"], f"o{b}w")
        graph.node("Add", [value, f"o{b}w"], f"sum{b}")
        value = f"sum{b}"
        q, k, v = (now @ w for w in maps[b])
        given = [np.repeat(part, 2, 0) for part in learned[b]]
        p = softmax(q @ np.concatenate([given[0], k], 1).transpose(0, 2, 1))
        now = now + p @ np.concatenate([given[1], v], 1)
        blocks.append(np.kron(np.diag([1, 0]), p[0][:, 2:]) + np.kron(np.diag([0, 1]), p[1][:, 2:]))
    for e in reversed(blocks):
        want = want + want @ e
    graph.node("ReduceMean", [value], "mean", axes=[1], keepdims=0)
    floats(graph, "head", head)
    graph.node("MatMul", ["mean", "head"], "y")
    graph.output("y")
    model, out = os.path.join(folder.name, "learned.onnx"), os.path.join(folder.name, "learned")
    graph.save(model)
    r = subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,2", "--method", "rollout", "--rollout", "raw", "--npy", out],
                       capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, r.stderr)
    got = np.load(os.path.join(out, "tokens.x.npy")) if r.returncode == 0 else want[0] * 0
    check(np.abs(got - want[0]).max() <= 1e-5, got, want)


def test_classes():
    """Probabilities of classes, without the last one, times masks and summed over queries, are no attention."""
    graph = Graph()
    graph.input("x", [BATCH, TOKENS, FEATURES])
    graph.attention("x", "a", FEATURES, TOKENS)
    floats(graph, "head", head)
    for name, value in (("from", 0), ("to", 4), ("last", 2)):
        graph.ints(name, [value])
    graph.weight("w", [FEATURES, 3])
    graph.node("MatMul", ["a", "head"], "logits")
    graph.node("Softmax", ["logits"], "p", axis=-1)
    graph.node("Slice", ["p", "from", "to", "last"], "cut")
    graph.node("Transpose", ["cut"], "turned", perm=[0, 2, 1])
    graph.node("MatMul", ["a", "w"], "masks")
    graph.node("MatMul", ["turned", "masks"], "y")
    graph.output("y")
    model = os.path.join(folder.name, "classes.onnx")
    graph.save(model)
    r = subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,2,1"], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, r.stderr)


def sunk(name, form, sink):
    """An attention whose probabilities `form` makes from the scores; `sink` is the score of a key without a value."""
    def spelling(graph, x, b):
        if b == 0:
            graph.constant("scale", SIZE ** -0.5)
            for constant, value in (("zero", 0), ("minus", -1), ("sink", sink), ("n", np.exp(sink)), ("uneven", np.arange(1, TOKENS + 1)),
                                    ("column", np.broadcast_to(sink, (BATCH, HEADS, TOKENS, 1)))):
                floats(graph, constant, np.asarray(value))
            for constant, value in (("last", -1), ("from", 0), ("to", TOKENS)):
                graph.ints(constant, [value])

        def node(op, *inputs, **attributes):
            made = f"sunk{len(graph.nodes)}"
            graph.node(op, inputs, made, **attributes)
            return made

        q, k, v = projected(graph, x, b, heads=True)
        s = node("Mul", node("MatMul", q, node("Transpose", k, perm=[0, 1, 3, 2])), "scale")
        return merged(graph, form(node, s, v), b)
    spelling.__name__ = name
    return spelling


def test_pooling():
    """Tokens that a softmax over them weighs: Mul and ReduceSum say what MatMul says, above other attentions or alone."""
    def product(graph, w, v):
        graph.node("Transpose", [w], "turned", perm=[0, 2, 1])
        graph.node("MatMul", ["turned", v], "pooled3")
        graph.ints("flat", [BATCH, FEATURES])
        graph.node("Reshape", ["pooled3", "flat"], "pooled")

    def summed(graph, w, v):
        graph.node("Mul", [w, v], "weighed")
        graph.ints("axis", [1])
        graph.node("ReduceSum", ["weighed", "axis"], "pooled", keepdims=0)

    def kept(graph, w, v):
        graph.node("Mul", [v, w], "weighed")
        graph.ints("axis", [-2])
        graph.node("ReduceSum", ["weighed", "axis"], "pooled3", keepdims=1)
        graph.ints("flat", [BATCH, FEATURES])
        graph.node("Reshape", ["pooled3", "flat"], "pooled")

    def widened(graph, w, v):
        graph.ints("whole", [BATCH, TOKENS, FEATURES])
        graph.node("Expand", [w, "whole"], "wide")
        summed(graph, "wide", v)

    def repeated(graph, w, v):  # as Keras' RepeatVector and Permute
        graph.node("Transpose", [w], "turned", perm=[0, 2, 1])
        graph.ints("copies", [1, FEATURES, 1])
        graph.node("Tile", ["turned", "copies"], "rows")
        graph.node("Transpose", ["rows"], "wide", perm=[0, 2, 1])
        summed(graph, "wide", v)

    def features_first(graph, w, v):
        graph.node("Transpose", [w], "turned", perm=[0, 2, 1])
        graph.node("Transpose", [v], "channels", perm=[0, 2, 1])
        graph.node("Mul", ["channels", "turned"], "weighed")
        graph.ints("axis", [2])
        graph.node("ReduceSum", ["weighed", "axis"], "pooled", keepdims=0)

    def features_outside(graph, w, v):
        graph.node("Transpose", [w], "turned", perm=[2, 0, 1])
        graph.node("Transpose", [v], "channels", perm=[2, 0, 1])
        graph.node("Mul", ["turned", "channels"], "weighed")
        graph.ints("axis", [2])
        graph.node("ReduceSum", ["weighed", "axis"], "features", keepdims=0)
        graph.node("Transpose", ["features"], "pooled", perm=[1, 0])

    def over_features(graph, w, v):  # what is summed up is another axis
        graph.node("Mul", [w, v], "weighed")
        graph.ints("axis", [2])
        graph.node("ReduceSum", ["weighed", "axis"], "numbers", keepdims=0)
        floats(graph, "more", weights[0][0][:TOKENS, :FEATURES])
        graph.node("MatMul", ["numbers", "more"], "pooled")

    def run(name, pool, alone, flat):
        graph = Graph()
        graph.input("x", [BATCH, TOKENS, FEATURES])
        floats(graph, "first", weights[1][0][:, :FEATURES])
        floats(graph, "score", weights[1][0][:, -1:])
        if alone:
            graph.node("MatMul", ["x", "first"], "linear")
            graph.node("Tanh", ["linear"], "v")
        else:
            graph.node("Add", ["x", written_out(graph, "x", 0)], "v")
        graph.node("MatMul", ["v", "score"], "scores")
        if flat:
            graph.ints("last", [-1])
            graph.node("Squeeze", ["scores", "last"], "numbers_only")
            if flat == "sink":  # as many Keras layers write it, with a small number in the sum
                floats(graph, "small", np.array([0.25]))
                graph.node("Exp", ["numbers_only"], "e")
                graph.node("ReduceSum", ["e", "last"], "sum", keepdims=1)
                graph.node("Add", ["sum", "small"], "all")
                graph.node("Div", ["e", "all"], "p")
            else:
                graph.node("Softmax", ["numbers_only"], "p", axis=-1)
            graph.node("Unsqueeze", ["p", "last"], "w")
        else:
            graph.node("Softmax", ["scores"], "w", axis=1)
        pool(graph, "w", "v")
        floats(graph, "head", head)
        graph.node("MatMul", ["pooled", "head"], "y")
        graph.output("y")
        model = os.path.join(folder.name, name + ".onnx")
        graph.save(model, 13)
        r = subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,2", "--npy", model[:-5]], capture_output=True, text=True, timeout=60)
        return r, {n: np.load(os.path.join(model[:-5], n)) for n in sorted(os.listdir(model[:-5]))} if r.returncode == 0 else {}

    np.save(os.path.join(folder.name, "x.npy"), x)
    for alone in (False, True):
        for flat, form in itertools.product((False, True, "sink"), (product, summed, kept, widened, repeated, features_first, features_outside)):
            if form is product and flat is not True:
                r, usual = run(f"pool{alone}{flat}", product, alone, flat)
                check(r.returncode == 0 and len(usual) >= 3, alone, flat, r.stderr)
            else:
                r, got = run(f"{form.__name__}{alone}{flat}", form, alone, flat)
                check(sorted(got) == sorted(usual), form.__name__, alone, flat, r.stderr, sorted(got))
                for n in set(got) & set(usual):
                    same = got[n].shape == usual[n].shape and np.abs(got[n] - usual[n]).max() <= 1e-5 * np.abs(usual[n]).max()
                    check(same, form.__name__, alone, flat, n, got[n], usual[n])
    r, _ = run("over_features", over_features, True, False)
    check(r.returncode == 1 and "no product with values takes the probabilities of this softmax" in r.stderr, r.stderr)


def test_sinks():
    """A constant in a softmax's sum is a key without a value: what it says is what the longer row that is cut off says."""
    largest = lambda node, s: node("ReduceMax", s, "last", keepdims=1)

    def joined(node, s, v):
        return node("MatMul", node("Slice", node("Softmax", node("Concat", s, "column", axis=-1), axis=-1), "from", "to", "last"), v)

    def plain(node, s, v):
        e = node("Exp", s)
        return node("MatMul", node("Div", e, node("Add", "n", node("ReduceSum", e, "last"))), v)

    def lowered(form):
        """The largest score is taken off before, and the constant stays."""
        return lambda node, s, v: form(node, node("Sub", s, largest(node, s)), v)

    def shifted(shift, constant, inverse=False, after=False):
        def form(node, s, v):
            m = shift(node, s)
            e = node("Exp", node("Sub", s, m))
            total = node("Add", node("ReduceSum", e, "last"), constant(node, m))
            first = node("MatMul", e, v) if after else e
            p = node("Mul", node("Reciprocal", total), first) if inverse else node("Div", first, total)
            return p if after else node("MatMul", p, v)
        return form

    negative = lambda node, m: node("Exp", node("Neg", m))
    times = lambda node, m: node("Mul", negative(node, m), "n")
    product = lambda node, m: node("Mul", "n", node("Exp", node("Mul", m, "minus")))
    ratio = lambda node, m: node("Div", "n", node("Exp", m))
    learned = lambda node, m: node("Exp", node("Sub", "sink", m))
    from_zero = lambda node, m: node("Exp", node("Sub", "zero", m))
    relu = lambda node, s: node("Relu", largest(node, s))
    clip = lambda node, s: node("Clip", largest(node, s), "zero")
    both = lambda node, s: node("Max", "zero", largest(node, s))
    kept = lambda node, s: node("Unsqueeze", node("ReduceMax", s, "last", keepdims=0), "last")
    of_both = lambda node, s: node("Max", largest(node, s), "sink")
    after = lambda node, s, v: node("Div", node("MatMul", node("Exp", s), v), node("Add", node("ReduceSum", node("Exp", s), "last"), "n"))
    forms = {"plain": plain, "after": after, "times": shifted(largest, times), "product": shifted(relu, product, inverse=True),
             "ratio": shifted(clip, ratio, after=True), "learned": shifted(both, learned), "kept": shifted(kept, learned, inverse=True, after=True)}
    for at, sink in enumerate((np.float32(0), np.float32(np.log(3)), np.float32([[[0.4]], [[-0.8]]]))):
        more = {"one": shifted(largest, negative), "from_zero": shifted(relu, from_zero)} if at == 0 else {"of_both": shifted(of_both, learned)}
        want = explained(sunk(f"joined{at}", joined, sink))
        for name, form in (forms | more).items():
            compare(sunk(f"{name}{at}", form, sink), want)
        compare(sunk(f"lowered{at}", lowered(plain), sink), explained(sunk(f"joined_lowered{at}", lowered(joined), sink)))

    # what is none
    def read_twice(node, s, v):
        m = largest(node, s)
        e = node("Exp", node("Sub", s, m))
        p = node("Div", e, node("Add", negative(node, m), node("ReduceSum", e, "last")))
        return node("Add", node("MatMul", p, v), node("MatMul", e, v))

    by_mean = lambda node, m: node("Exp", node("Sub", node("Mul", m, "scale"), m))
    uneven = lambda node, s, v: node("MatMul", node("Div", node("Exp", s), node("Add", "uneven", node("ReduceSum", node("Exp", s), "last"))), v)
    for name, form in (("read_twice", read_twice), ("by_mean", shifted(largest, by_mean)), ("uneven", uneven)):
        refused(sunk(name, form, np.float32(0)), "softmax")


def test_signed():
    """The sign of each score on the softmax of their magnitudes: P is what multiplies V. Scores of more than 0 have the sign 1, and
    their magnitudes are they themselves: there it is the attention that is written without."""
    def form(parts):
        def spelling(node, s, v):
            s = node("Exp", s)
            return node("MatMul", parts(node, s), v)
        return spelling

    usual = lambda node, s: node("Softmax", s, axis=-1)
    signed = lambda node, s: node("Mul", node("Softmax", node("Abs", s), axis=-1), node("Sign", s))
    compare(sunk("signed", form(signed), np.float32(0)), explained(sunk("usual", form(usual), np.float32(0))) | {})
    # a factor of other scores is none
    foreign = lambda node, s, v: node("MatMul", node("Mul", node("Softmax", s, axis=-1), node("MatMul", v, node("Transpose", v, perm=[0, 1, 3, 2]))), v)
    refused(sunk("foreign", foreign, np.float32(0)), "no attention found")


test_learned_keys()
test_signed()
test_classes()
test_pooling()
test_sinks()
close()
