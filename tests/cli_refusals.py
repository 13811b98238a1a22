#!/usr/bin/env python3
"""Graphs that no rollout fits: the message names the first node that does not fit and lists the methods that apply, and
these work there: checked against numpy.

    cli_refusals.py TOOL
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import INT64, Graph

tool = os.path.abspath(sys.argv[1])
APPLY = ["lrp", "full-tiba-lrp", "grad-x-input"]
REFUSED = ["tiba", "rollout", "raw-attention", "attention-gradcam", "partial-lrp", "last-tiba-lrp", "lrp-rollout", "generic"]
folder = tempfile.TemporaryDirectory()
random = np.random.RandomState(5)


def run(model, feeds, *options, status=0):
    out = os.path.join(folder.name, "out")
    names = []
    for name, value in feeds.items():
        np.save(os.path.join(folder.name, name), value)
        names.append(f"{name}={folder.name}/{name}.npy")
    r = subprocess.run([tool, model, *names, "--target", "0,1", "--npy", out, *options], capture_output=True, text=True,
                       timeout=60)
    check(r.returncode == status, options, r.returncode, r.stderr)
    return r.stderr, lambda name: np.load(os.path.join(out, name + ".npy"))


def refused(model, feeds, begin):
    """All other methods say the same, in one line."""
    for method in REFUSED:
        said, _ = run(model, feeds, "--method", method, status=1)
        check(said.startswith("tiba-onnx: " + begin) and said.count("\n") == 1, said)
        check(said.endswith("; methods that apply: " + ", ".join(APPLY) + "\n"), method, said)
    r = subprocess.run([tool, "inspect", model], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0 and "\ncannot be explained: " + begin in r.stdout and "\ntower" not in r.stdout, r.stdout)


def made(graph, name):
    path = os.path.join(folder.name, name + ".onnx")
    graph.save(path)
    return path


def weights(graph, name, value):
    graph.tensor(name, list(value.shape), 1, b"\x4a" + varint(value.nbytes) + value.tobytes())


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def lrp(x, w, k, both):
    """Relevance of the input of x w from output k: lrp's rule divides the products of each sign apart, TiBA's together."""
    positive, negative = np.maximum(x, 0) * np.maximum(w[:, k], 0), np.minimum(x, 0) * np.minimum(w[:, k], 0)
    if both:
        return (positive + negative) / (positive.sum() + negative.sum())
    return positive / positive.sum() + negative / negative.sum()


def near(got, want, what):
    check(got.shape == want.shape and np.allclose(got, want, rtol=1e-4, atol=1e-6), what, got, want)


def test_picture():
    w = random.randn(48, 3).astype("f4")
    graph = Graph()
    graph.input("pixels", ["batch", 3, 4, 4])
    weights(graph, "w", w)
    graph.node("Flatten", ["pixels"], "flat")
    graph.node("MatMul", ["flat", "w"], "y")
    graph.output("y")
    model, x = made(graph, "picture"), random.randn(1, 3, 4, 4).astype("f4")
    refused(model, {"pixels": x}, "no attention found")
    sums = lambda r: r.reshape(3, 4, 4).sum(0)
    for method, want in (("grad-x-input", x.ravel() * w[:, 1]), ("lrp", lrp(x.ravel(), w, 1, False)),
                         ("full-tiba-lrp", lrp(x.ravel(), w, 1, True))):
        _, array = run(model, {"pixels": x}, "--method", method)
        near(array("map.pixels"), sums(want), method)
        near(array("tokens.pixels"), sums(want).ravel(), method)
    two = np.concatenate([x, -2 * x])  # the sample that the target reads
    _, array = run(model, {"pixels": two}, "--method", "grad-x-input", "--target", "1,1")
    near(array("map.pixels"), sums(-2 * x.ravel() * w[:, 1]), "the second sample")


def test_words():
    table, w = random.randn(9, 4).astype("f4"), random.randn(4, 3).astype("f4")
    graph = Graph()
    graph.input("ids", [1, 5], INT64)
    weights(graph, "table", table)
    weights(graph, "positions", random.randn(5, 4).astype("f4"))
    weights(graph, "w", w)
    graph.node("Gather", ["table", "ids"], "words")
    graph.node("Add", ["words", "positions"], "x")
    graph.node("ReduceMean", ["x"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model, ids = made(graph, "words"), np.array([[3, 1, 4, 1, 8]])
    refused(model, {"ids": ids}, "no attention found")
    _, array = run(model, {"ids": ids}, "--method", "grad-x-input")
    near(array("tokens.ids"), table[ids[0]] @ w[:, 1] / 5, "words")
    for method in APPLY:
        check(run(model, {"ids": ids}, "--method", method)[1]("tokens.ids").shape == (5,), method)


def test_features():
    """Attention between features, not tokens: its own node is named."""
    graph = Graph()
    graph.input("x", [1, 5, 4])
    weights(graph, "w", random.randn(4, 3).astype("f4"))
    weights(graph, "v", random.randn(4, 4).astype("f4"))
    graph.node("MatMul", ["x", "v"], "features")
    graph.node("Transpose", ["features"], "turned", perm=[0, 2, 1])
    graph.node("MatMul", ["turned", "features"], "scores")
    graph.node("Softmax", ["scores"], "p", axis=-1)
    graph.node("MatMul", ["p", "turned"], "mixed")
    graph.node("Transpose", ["mixed"], "back", perm=[0, 2, 1])
    graph.node("ReduceMean", ["back"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model, x = made(graph, "features"), random.randn(1, 5, 4).astype("f4")
    refused(model, {"x": x}, "node 'node_mixed' (MatMul): ")
    for method in APPLY:
        check(run(model, {"x": x}, "--method", method)[1]("tokens.x").shape == (5,), method)


def test_mixed_samples():
    """A mean over the samples: no method applies, and none is named."""
    graph = Graph()
    graph.input("x", [5, 4])
    weights(graph, "w", random.randn(4, 3).astype("f4"))
    graph.node("MatMul", ["x", "w"], "scores")
    graph.node("ReduceMean", ["scores"], "y", axes=[0], keepdims=1)
    graph.output("y")
    model, x = made(graph, "mixed_samples"), random.randn(5, 4).astype("f4")
    reason = "the target reads 5 samples of input 'x' at once"
    for method in REFUSED:
        said, _ = run(model, {"x": x}, "--method", method, status=1)
        check(said.startswith("tiba-onnx: no attention found") and f"; no method applies: {reason}" in said and "methods that" not in said and said.count("\n") == 1, said)
    for method in APPLY:
        said, _ = run(model, {"x": x}, "--method", method, status=1)
        check(said.startswith("tiba-onnx: " + reason), said)


def test_gate():
    """A softmax that nothing is summed by is named: it is what was taken for attention."""
    graph = Graph()
    graph.input("x", [1, 5, 4])
    weights(graph, "v", random.randn(4, 4).astype("f4"))
    weights(graph, "w", random.randn(4, 3).astype("f4"))
    graph.node("MatMul", ["x", "v"], "scores")
    graph.node("Softmax", ["scores"], "gate", axis=-1)
    graph.node("Mul", ["x", "gate"], "gated")
    graph.node("ReduceMean", ["gated"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    refused(made(graph, "gate"), {"x": random.randn(1, 5, 4).astype("f4")}, "node 'node_gate' (Softmax): no attention found")


def test_nothing():
    """Where no method applies the message says so."""
    graph = Graph()
    graph.input("clip", [1, 3, 2, 4, 4])
    weights(graph, "w", random.randn(96, 3).astype("f4"))
    graph.node("Flatten", ["clip"], "flat")
    graph.node("MatMul", ["flat", "w"], "y")
    graph.output("y")
    model, x = made(graph, "nothing"), random.randn(1, 3, 2, 4, 4).astype("f4")
    for method in APPLY + REFUSED:
        said, _ = run(model, {"clip": x}, "--method", method, status=1)
        check(re.search("no attention found.*; no method applies: no input is a picture or has tokens\n", said), said)


def attend(graph, name, x, y):
    """One head: x attends to y and gets what it sees added."""
    for part, of in (("q", x), ("k", y), ("v", y)):
        weights(graph, name + "w" + part, random.randn(16, 16).astype("f4"))
        graph.node("MatMul", [of, name + "w" + part], name + part)
    graph.node("Transpose", [name + "k"], name + "kt", perm=[0, 2, 1])
    graph.node("MatMul", [name + "q", name + "kt"], name + "s")
    graph.node("Softmax", [name + "s"], name + "p", axis=-1)
    graph.node("MatMul", [name + "p", name + "v"], name + "o")
    graph.node("Add", [x, name + "o"], name)


def test_decoder():
    """No single value holds all that a decoder reads, but its own words are one: what arrives at these and at the encoder's
    is all that there is."""
    graph = Graph()
    weights(graph, "table", random.randn(9, 16).astype("f4"))
    weights(graph, "w", random.randn(16, 3).astype("f4"))
    for ids, words, n in (("ids", "x", 5), ("decoder_ids", "z", 3)):
        graph.input(ids, [1, n], INT64)
        graph.node("Gather", ["table", ids], words)
    attend(graph, "encoder", "x", "x")
    attend(graph, "self", "z", "z")
    attend(graph, "cross", "self", "encoder")
    graph.node("ReduceMean", ["cross"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model = made(graph, "decoder")
    feeds = {"ids": np.array([[3, 1, 4, 1, 8]]), "decoder_ids": np.array([[2, 7, 5]])}
    for method in APPLY:
        _, array = run(model, feeds, "--method", method)
        words, own = array("tokens.ids"), array("tokens.decoder_ids")
        check(words.shape == (5,) and own.shape == (3,) and np.any(words) and np.any(own), method, words, own)
        if method == "full-tiba-lrp":
            near(words.sum() + own.sum(), np.float64(1), "all relevance arrives")
    r = subprocess.run([tool, model, *(f"{name}={folder.name}/{name}.npy" for name in feeds), "--target", "0,1"],
                       capture_output=True, text=True, timeout=60)
    check("\ntrust: relevance is conserved" in r.stdout, "what the decoder reads of the encoder counts once", r.stdout)


def test_no_tokens():
    """Attention over features alone, and linear attention, have no softmax over tokens that is multiplied by values."""
    for name, steps, why in (
            ("covariance", (("Transpose", ["k"], "kt"), ("MatMul", ["kt", "q"], "s"), ("Softmax", ["s"], "p"), ("Transpose", ["v"], "vt"), ("MatMul", ["p", "vt"], "ot"), ("Transpose", ["ot"], "o")),
             "node 'node_ot' (MatMul): this attention (16 queries, 16 keys) fits no tower: its queries and keys are features, so no tokens attend to others"),
            ("linear", (("Relu", ["k"], "kr"), ("Transpose", ["kr"], "kt"), ("MatMul", ["kt", "v"], "kv"), ("Softmax", ["q"], "p"), ("MatMul", ["p", "kv"], "o")),
             "node 'node_kv' (MatMul): the rollout cannot follow tokens through it, a product of two activations of which none is a softmax over tokens"),
            ("factorised", (("Transpose", ["k"], "kt"), ("Softmax", ["kt"], "p"), ("MatMul", ["p", "v"], "kv"), ("MatMul", ["q", "kv"], "o")),
             "node 'node_o' (MatMul): the rollout cannot follow tokens through it, a product of two activations of which none is a softmax over tokens")):
        graph = Graph()
        graph.input("clip", [1, 7, 16])
        for part in "qkv":
            weights(graph, "w" + part, random.randn(16, 16).astype("f4"))
            graph.node("MatMul", ["clip", "w" + part], part)
        for op, inputs, out in steps:
            graph.node(op, inputs, out, **({"perm": [0, 2, 1]} if op == "Transpose" else {"axis": -1} if op == "Softmax" else {}))
        graph.node("Add", ["clip", "o"], "sum")
        graph.node("ReduceMean", ["sum"], "mean", axes=[1], keepdims=0)
        graph.output("mean")
        model = made(graph, name)
        said, _ = run(model, {"clip": random.randn(1, 7, 16).astype("f4")}, status=1)
        check(why in said, said)
        check("; methods that apply: lrp" in said and said.count("\n") == 1, said)


# Features of x attend to each other over all tokens. P is [features that ask, features that are asked] or its transpose, on either side.
SPELLINGS = {
    "left": (("Transpose", "k", "kt"), ("MatMul", "kt q", "s"), ("Softmax", "s", "p"), ("Transpose", "v", "vt"), ("MatMul", "p vt", "ot"), ("Transpose", "ot", "")),
    "turned": (("Transpose", "k", "kt"), ("MatMul", "kt q", "s"), ("Softmax", "s", "p"), ("Transpose", "p", "pt"), ("MatMul", "v pt", "")),
    "other_axis": (("Transpose", "q", "qt"), ("MatMul", "qt k", "s"), ("Softmax", "s", "p", -2), ("MatMul", "v p", "")),
    "left_other_axis": (("Transpose", "q", "qt"), ("MatMul", "qt k", "s"), ("Softmax", "s", "pt", 1), ("Transpose", "pt", "p"), ("Transpose", "v", "vt"), ("MatMul", "p vt", "ot"), ("Transpose", "ot", "")),
    "turned_twice": (("Transpose", "k", "kt"), ("MatMul", "kt q", "s"), ("Softmax", "s", "p"), ("Mul", "p scale", "ps"), ("Transpose", "ps", "a"), ("Transpose", "a", "b"), ("Reshape", "b grown", "c"), ("Transpose", "c", "d", [0, 1, 3, 2]),
                     ("Reshape", "d shrunk", "pt"), ("MatMul", "v pt", "")),
    "einsum": (("Einsum", "k q", "s", "bni,bnj->bij"), ("Softmax", "s", "p"), ("Einsum", "v p", "", "bnj,bij->bni")),
    "einsum_left": (("Einsum", "q k", "s", "bni,bnj->bij"), ("Softmax", "s", "p", -2), ("Einsum", "p v", "", "bij,bni->bnj")),
}


def over_features(graph, name, x, spelling="left"):
    for part in "qkv":
        weights(graph, name + "w" + part, random.randn(16, 16).astype("f4"))
        graph.node("MatMul", [x, name + "w" + part], name + part)
    weights(graph, name + "scale", np.array([0.5], "f4"))
    graph.ints(name + "grown", [1, 1, 16, 16])
    graph.ints(name + "shrunk", [1, 16, 16])
    for op, inputs, out, *more in SPELLINGS[spelling]:
        options = {"Transpose": ("perm", [0, 2, 1]), "Softmax": ("axis", -1), "Einsum": ("equation", None)}.get(op)
        graph.node(op, [name + i for i in inputs.split()], name + out, **({options[0]: more[0] if more else options[1]} if options else {}))


def test_tokens_beside_features():
    """An attention over features beside one over tokens is no part of the tower: the row vector passes down its skip connection, if
    there is one on its way."""
    for spelling in SPELLINGS:
        tokens_beside_features(spelling)


def tokens_beside_features(spelling):
    last = SPELLINGS[spelling][-1][0]
    product = "node_f" + ("ot" if last == "Transpose" else "")
    other = product.replace("_f", "_g")
    clip = {"clip": random.randn(1, 7, 16).astype("f4")}
    def begun(skip, *more):
        graph = Graph()
        for name in ("clip", *more):
            graph.input(name, [1, 7, 16])
        weights(graph, "w", random.randn(16, 3).astype("f4"))
        over_features(graph, "f", "clip", spelling)
        graph.node("Add", ["clip", "f"], "x")
        attend(graph, "a", "x" if skip else "f", "x" if skip else "f")
        return graph
    def ended(graph, name, x):
        graph.node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
        graph.node("MatMul", ["mean", "w"], "y")
        graph.output("y")
        return made(graph, name)

    graph = begun(True)
    over_features(graph, "g", "a", spelling)
    graph.node("Add", ["g", "a"], "z")
    model = ended(graph, "skipped", "z")
    note = "2 attentions over features (the first: node '%s') let tokens act on each other too: the row vector passes down their skip connections" % product
    _, array = run(model, clip, "--rollout", "raw")
    w, e = array("readout.clip").astype("f8"), array("block.0.clip").astype("f8")
    near(array("tokens.clip"), w + w @ e, "the one block of the attention over tokens")
    for options, noted in (([], True), (["--method", "raw-attention"], True), (["--method", "lrp"], False)):
        r = subprocess.run([tool, model, f"clip={folder.name}/clip.npy", "--target", "0,1", "--json", "-", *options], capture_output=True, text=True, timeout=60)
        check((note in json.loads(r.stdout)["notes"]) == noted, options, r.stdout[-500:], r.stderr)
    r = subprocess.run([tool, "inspect", model], capture_output=True, text=True, timeout=60)
    check("\nnote      " + note + "\n" in r.stdout, r.stdout)

    refused(ended(begun(False), "below", "a"), clip, f"node '{product}' (MatMul): this attention over features (16 queries, 16 keys) lies on no skip connection")
    graph = begun(True)
    over_features(graph, "g", "a", spelling)
    attend(graph, "b", "g", "g")
    refused(ended(graph, "between", "b"), clip, f"node '{other}' (MatMul): this attention over features (16 queries, 16 keys) lies on no skip connection")

    graph = begun(True)  # half of the features go through it, the other half through nothing
    over_features(graph, "g", "a", spelling)
    graph.node("Concat", ["g", "a"], "both", axis=2)
    weights(graph, "narrow", random.randn(32, 16).astype("f4"))
    graph.node("MatMul", ["both", "narrow"], "halves")
    attend(graph, "b", "halves", "halves")
    refused(ended(graph, "beside", "b"), clip, f"node '{other}' (MatMul): the rollout cannot follow tokens through it")

    graph = begun(True, "other")  # and one of an input whose tokens never attend
    over_features(graph, "g", "other", spelling)
    graph.node("ReduceMean", ["g"], "pooled", axes=[1], keepdims=1)
    graph.node("ReduceMean", ["a"], "own", axes=[1], keepdims=1)
    graph.node("Add", ["own", "pooled"], "z")
    refused(ended(graph, "elsewhere", "z"), {**clip, "other": clip["clip"]}, f"node '{other}' (MatMul): this attention over features (16 queries, 16 keys) lies on no tower's way to the target")


def test_states():
    """The encoder's states are an input: both are read out where the decoder's tokens end, and what arrives there counts once."""
    graph = Graph()
    weights(graph, "table", random.randn(9, 16).astype("f4"))
    weights(graph, "w", random.randn(16, 3).astype("f4"))
    graph.input("states", [1, 5, 16])
    graph.input("decoder_ids", [1, 3], INT64)
    graph.node("Gather", ["table", "decoder_ids"], "z")
    attend(graph, "self", "z", "z")
    attend(graph, "cross", "self", "states")
    graph.node("ReduceMean", ["cross"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    model = made(graph, "states")
    _, array = run(model, {"states": random.randn(1, 5, 16).astype("f4"), "decoder_ids": np.array([[2, 7, 5]])})
    check(np.any(array("tokens.states")) and np.any(array("tokens.decoder_ids")), "both towers have a result")
    r = subprocess.run([tool, model, *(f"{name}={folder.name}/{name}.npy" for name in ("states", "decoder_ids")), "--target", "0,1"],
                       capture_output=True, text=True, timeout=60)
    check("\ntrust: relevance is conserved" in r.stdout, r.stdout)


def test_no_product():
    """A softmax over single elements, and probabilities that another activation gates."""
    for gated in (False, True):
        graph = Graph()
        graph.input("x", [1, 5, 6])
        graph.weight("w", [6, 5 if gated else 1])
        graph.weight("g", [6, 5])
        graph.weight("head", [6, 3])
        graph.node("MatMul", ["x", "w"], "scores")
        graph.node("Softmax", ["scores"], "p", axis=-1)
        if gated:
            graph.node("MatMul", ["x", "g"], "gates")
            graph.node("Sigmoid", ["gates"], "open")
            graph.node("Mul", ["p", "open"], "gated")
            graph.node("MatMul", ["gated", "x"], "z")
        else:
            graph.node("Mul", ["p", "x"], "z")
        graph.node("ReduceMean", ["z"], "mean", axes=[1], keepdims=0)
        graph.node("MatMul", ["mean", "head"], "y")
        graph.output("y")
        why = "no product with values takes the probabilities of this softmax, the last one, as they are (no gates of other activations) and sums along its axis" \
            if gated else "this softmax, the last one, has one element in each row, which is always 1"
        refused(made(graph, "gated" if gated else "single"), {"x": random.randn(1, 5, 6).astype("f4")}, f"node 'node_p' (Softmax): no attention found: {why}")


for name, test in sorted(globals().items()):
    if name.startswith("test_"):
        test()
close()
