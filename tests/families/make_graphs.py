#!/usr/bin/env python3
"""One small transformer for texts and one for pictures, written by hand with onnx.helper in every opset from 7 to 24 and in forms that
exporters seldom write: layers as a Loop or a Scan over stacked weights,
as functions with attributes, tokens through sequences and optionals, rotary positions written out and fused, pictures as bytes with their
preprocessing in the graph, scores with what follows them, decoders with caches. The same folder layout as make_families.py.

    make_graphs.py OUT [FAMILY...]
    make_graphs.py --regression TIBA_ONNX tests/data/families [CASE...]     those that were once not understood

Needs numpy, onnx and onnxruntime.
"""
import glob, json, os, shutil, subprocess, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper, numpy_helper

ort.set_default_logger_severity(4)
D, H, N, VOCAB, LAYERS, CLASSES, HIDDEN = 8, 2, 8, 20, 2, 4, 12
SIZE, PATCH = 16, 4
RANDOM = np.random.default_rng(13)


def noise(*shape, by=None):
    return (RANDOM.standard_normal(shape) * (by if by is not None else 1.1 / np.sqrt(shape[0]))).astype(np.float32)


def layer():
    return {"g1": 1 + noise(D, by=0.1), "b1": noise(D, by=0.1), "qkv": noise(D, 3 * D), "qkv_b": noise(3 * D, by=0.1), "o": noise(D, D), "o_b": noise(D, by=0.1),
            "g2": 1 + noise(D, by=0.1), "b2": noise(D, by=0.1), "up": noise(D, HIDDEN), "up_b": noise(HIDDEN, by=0.1), "down": noise(HIDDEN, D), "down_b": noise(D, by=0.1)}


STACK = [layer() for _ in range(LAYERS)]
ENDS = {"words": noise(VOCAB, D, by=0.5), "places": noise(1, N, D, by=0.3), "head": noise(D, CLASSES), "head_b": noise(CLASSES, by=0.1),
        "patch": noise(D, 3, PATCH, PATCH, by=0.2), "cls": noise(1, 1, D, by=0.5), "places17": noise(1, 17, D, by=0.3)}


class Graph:
    """Nodes as they are spelled in one opset."""
    def __init__(self, opset, prefix=""):
        self.opset, self.prefix = opset, prefix
        self.nodes, self.init, self.count = [], [], 0

    def name(self, tag="v"):
        self.count += 1
        return f"{self.prefix}{tag}{self.count}"

    def const(self, value, name=None):
        name = name or self.name("c")
        self.init.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, *inputs, out=None, domain="", **attributes):
        outs = [out or self.name()] if not isinstance(out, list) else out
        names = [i if isinstance(i, str) else self.const(i) for i in inputs]
        self.nodes.append(helper.make_node(kind, names, outs, domain=domain, **attributes))
        return outs[0] if not isinstance(out, list) else outs

    def axes(self, kind, x, axes, since=13, **kw):
        """axes are an attribute before opset `since` and an input from it on"""
        return self.op(kind, x, axes=axes, **kw) if self.opset < since else self.op(kind, x, np.array(axes, np.int64), **kw)

    def ints(self, *v):
        return np.array(v, np.int64)

    def take(self, x, axis, start, end):
        if self.opset < 10:
            return self.op("Slice", x, axes=[axis], starts=[start], ends=[end])
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis))

    def thirds(self, x):
        outs = [self.name() for _ in range(3)]
        if self.opset < 13:
            return self.op("Split", x, out=outs, axis=-1 if self.opset >= 11 else 2, split=[D] * 3)
        if self.opset < 18:
            return self.op("Split", x, self.ints(D, D, D), out=outs, axis=-1)
        return self.op("Split", x, out=outs, axis=-1, num_outputs=3)

    def norm(self, x, g, b):
        if self.opset >= 17:
            return self.op("LayerNormalization", x, g, b, epsilon=1e-5)
        c = self.op("Sub", x, self.axes("ReduceMean", x, [-1] if self.opset >= 11 else [2], 18))
        v = self.axes("ReduceMean", self.op("Mul", c, c), [-1] if self.opset >= 11 else [2], 18)
        return self.op("Add", self.op("Mul", self.op("Div", c, self.op("Sqrt", self.op("Add", v, np.float32(1e-5)))), g), b)

    def gelu(self, x):
        if self.opset >= 20:
            return self.op("Gelu", x)
        if self.opset >= 9:
            return self.op("Mul", self.op("Mul", x, self.op("Add", self.op("Erf", self.op("Div", x, np.float32(2 ** 0.5))), np.float32(1))), np.float32(0.5))
        raise ValueError("no Erf before opset 9")

    def heads(self, x):
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, -1, H, D // H)), perm=[0, 2, 1, 3])

    def block(self, x, w, mask=None, out=None):
        q, k, v = self.thirds(self.op("Add", self.op("MatMul", self.norm(x, w["g1"], w["b1"]), w["qkv"]), w["qkv_b"]))
        q, k, v = [self.heads(t) for t in (q, k, v)]
        s = self.op("Div", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), np.float32((D // H) ** 0.5))
        if mask:
            s = self.op("Add", s, mask)
        p = self.op("Softmax", s, axis=3)
        y = self.op("Reshape", self.op("Transpose", self.op("MatMul", p, v), perm=[0, 2, 1, 3]), self.ints(0, -1, D))
        x = self.op("Add", x, self.op("Add", self.op("MatMul", y, w["o"]), w["o_b"]))
        h = self.op("Add", self.op("MatMul", self.norm(x, w["g2"], w["b2"]), w["up"]), w["up_b"])
        h = self.op("Relu", h)
        return self.op("Add", x, self.op("Add", self.op("MatMul", h, w["down"]), w["down_b"]), out=out)

    def tokens(self, ids):
        return self.op("Add", self.op("Gather", self.const(ENDS["words"]), ids), ENDS["places"])

    def patches(self, image):
        x = self.op("Conv", image, ENDS["patch"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
        x = self.op("Transpose", self.op("Reshape", x, self.ints(0, D, 16)), perm=[0, 2, 1])
        return self.op("Add", self.op("Concat", self.const(ENDS["cls"]), x, axis=1), ENDS["places17"])

    def scores(self, x, out="logits"):
        """of the first token"""
        x = self.axes("Squeeze", self.take(x, 1, 0, 1), [1])
        return self.op("Gemm", x, ENDS["head"], ENDS["head_b"], out=out)

    def mask_of(self, attention_mask):
        m = self.axes("Unsqueeze", self.op("Cast", attention_mask, to=T.FLOAT), [1, 2])
        return self.op("Mul", self.op("Sub", np.float32(1), m), np.float32(-10000))

    def model(self, inputs, outputs=(("logits", T.FLOAT),), functions=(), domains=()):
        ins = [helper.make_tensor_value_info(*i) for i in inputs]
        outs = [o if not isinstance(o, tuple) else helper.make_tensor_value_info(o[0], o[1], None) for o in outputs]
        ir = 3 if self.opset < 9 else 8 if self.opset < 19 else 10
        if ir < 4:
            ins += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.init]
        imports = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(*d) for d in domains]
        return helper.make_model(helper.make_graph(self.nodes, "g", ins, outs, self.init), opset_imports=imports, ir_version=ir, functions=list(functions))


IDS, MASK = ("ids", T.INT64, ["batch", N]), ("mask", T.INT64, ["batch", N])
IMAGE = ("image", T.FLOAT, ["batch", 3, SIZE, SIZE])
FORMS = {"text": {}, "picture": {}}
OPSETS = [o for o in range(7, 25)]


def form(family, name):
    def wrap(f):
        FORMS[family][name] = f
        return f
    return wrap


# ------------------------------------------------------------------ every opset
def text_of(opset):
    g = Graph(opset)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    for w in STACK:
        x = g.block(x, w, mask)
    g.scores(x)
    return g.model([IDS, MASK])


def picture_of(opset):
    g = Graph(opset)
    x = g.patches("image")
    for w in STACK:
        x = g.block(x, w)
    g.scores(x)
    return g.model([IMAGE])


for o in OPSETS:
    FORMS["text"][f"opset{o}"] = lambda o=o: text_of(o)
    FORMS["picture"][f"opset{o}"] = lambda o=o: picture_of(o)


# ------------------------------------------------------------------ layers as the body of something
def stacked(key):
    return np.stack([w[key] for w in STACK])


def body_graph(opset, w_of, before, x="x_in"):
    """A sub-graph of one layer; w_of(g, key) names its weights."""
    g = Graph(opset, "b_")
    before(g)
    g.block(x, {k: w_of(g, k) for k in STACK[0]}, "outer_mask", out="x_out")
    return g


def loop(opset, conditioned=False):
    g = Graph(opset)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    g.op("Identity", mask, out="outer_mask")
    for k in STACK[0]:
        g.const(stacked(k), "all_" + k)
    b = body_graph(opset, lambda b, k: b.op("Gather", "all_" + k, "i"), lambda b: None)
    if conditioned:
        b.op("Less", "i", np.int64(LAYERS - 1), out="go")
    else:
        b.op("Identity", "go_in", out="go")
    body = helper.make_graph(b.nodes, "body", [helper.make_tensor_value_info("i", T.INT64, []), helper.make_tensor_value_info("go_in", T.BOOL, []), helper.make_tensor_value_info("x_in", T.FLOAT, None)],
                             [helper.make_tensor_value_info("go", T.BOOL, []), helper.make_tensor_value_info("x_out", T.FLOAT, None)], b.init)
    trips = "" if conditioned else g.const(np.int64(LAYERS))
    y = g.op("Loop", trips, g.const(np.array(True)), x, body=body)
    g.scores(y)
    return g.model([IDS, MASK])


def scan(opset, collect=False):
    g = Graph(opset)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    g.op("Identity", mask, out="outer_mask")
    b = body_graph(opset, lambda b, k: "w_" + k, lambda b: None)
    ins = [helper.make_tensor_value_info("x_in", T.FLOAT, None)] + [helper.make_tensor_value_info("w_" + k, T.FLOAT, v.shape) for k, v in STACK[0].items()]
    outs = [helper.make_tensor_value_info("x_out", T.FLOAT, None)]
    if collect:  # every layer's first token, of which the last is read
        b.op("Identity", "x_out", out="kept")
        outs.append(helper.make_tensor_value_info("kept", T.FLOAT, None))
    body = helper.make_graph(b.nodes, "body", ins, outs, b.init)
    names = [g.name() for _ in outs]
    g.op("Scan", x, *[stacked(k) for k in STACK[0]], out=names, body=body, num_scan_inputs=len(STACK[0]))
    y = names[0]
    if collect:
        y = g.op("Gather", names[1], np.int64(LAYERS - 1), axis=0)
    g.scores(y)
    return g.model([IDS, MASK])


def functions(opset, attribute=False):
    """each layer a call of one function; with `attribute` the epsilon of its norms is the call's"""
    f = Graph(opset, "f_")
    if attribute:
        def norm(x, g, b):
            out = f.name()
            n = helper.make_node("LayerNormalization", [x, g, b], [out])
            a = n.attribute.add()
            a.name, a.ref_attr_name, a.type = "epsilon", "eps", onnx.AttributeProto.FLOAT
            f.nodes.append(n)
            return out
        f.norm = norm
    keys = list(STACK[0])
    f.block("x", {k: "w_" + k for k in keys}, "m", out="y")
    consts = [helper.make_node("Constant", [], [t.name], value=t) for t in f.init]
    fn = helper.make_function("own.layers", "Layer", ["x", "m"] + ["w_" + k for k in keys], ["y"], consts + f.nodes, [helper.make_opsetid("", opset)], ["eps"] if attribute else [])
    g = Graph(opset)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    for w in STACK:
        x = g.op("Layer", x, mask, *[w[k] for k in keys], domain="own.layers", **({"eps": 1e-5} if attribute else {}))
    g.scores(x)
    return g.model([IDS, MASK], functions=[fn], domains=[("own.layers", 1)])


def branches(opset, by_mask=False):
    """If around the layers: on a constant, or on whether anything is padded"""
    g = Graph(opset)
    g.op("Identity", g.tokens("ids"), out="x_start")
    g.op("Identity", g.mask_of("mask"), out="outer_mask")
    parts = []
    for tag, mask in (("t", "outer_mask"), ("e", None)):
        b = Graph(opset, tag + "_")
        x = "x_start"
        for w in STACK:
            x = b.block(x, w, mask)
        parts.append(helper.make_graph(b.nodes, tag, [], [helper.make_tensor_value_info(x, T.FLOAT, None)], b.init))
    least = g.op("ReduceMin", "mask", keepdims=0) if by_mask else None
    cond = g.op("Equal", least, np.int64(0)) if by_mask else g.const(np.array([True]))
    g.scores(g.op("If", cond, then_branch=parts[0], else_branch=parts[1]))
    return g.model([IDS, MASK])


FORMS["text"].update({"loop13": lambda: loop(13), "loop17": lambda: loop(17), "loop_while17": lambda: loop(17, True), "loop11": lambda: loop(11), "scan11": lambda: scan(11), "scan17": lambda: scan(17), "scan21": lambda: scan(21),
                      "scan_collect17": lambda: scan(17, True), "functions17": lambda: functions(17), "functions_attribute17": lambda: functions(17, True), "functions18": lambda: functions(18),
                      "if17": lambda: branches(17), "if_padded17": lambda: branches(17, True), "if13": lambda: branches(13)})


# ------------------------------------------------------------------ sequences and optionals
@form("text", "sequence17")
def through_sequence():
    g = Graph(17)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    kept = g.op("SequenceConstruct", x)
    for w in STACK:
        x = g.block(x, w, mask)
        kept = g.op("SequenceInsert", kept, x)
    g.scores(g.op("SequenceAt", kept, np.int64(-1)))
    return g.model([IDS, MASK])


@form("text", "sequence_tokens17")
def tokens_one_by_one():
    """the embeddings split into a sequence of tokens and joined again"""
    g = Graph(17)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    x = g.op("ConcatFromSequence", g.op("SplitToSequence", x, np.int64(1), axis=1), axis=1)
    for w in STACK:
        x = g.block(x, w, mask)
    g.scores(x)
    return g.model([IDS, MASK])


@form("text", "optional18")
def through_optional():
    g = Graph(18)
    x, mask = g.tokens("ids"), g.mask_of("mask")
    x = g.op("OptionalGetElement", g.op("Optional", x))
    for w in STACK:
        x = g.block(x, w, mask)
    g.scores(x)
    return g.model([IDS, MASK])


@form("text", "optional_if18")
def optional_with_branch():
    """a mask that may be there, as scripted modules have them"""
    g = Graph(18)
    x = g.tokens("ids")
    there = g.op("Optional", g.mask_of("mask"))
    g.op("Identity", there, out="maybe")
    yes = Graph(18, "y_")
    yes.op("OptionalGetElement", "maybe", out="got")
    no = Graph(18, "n_")
    no.op("Constant", out="none", value=numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32)))
    has = g.op("OptionalHasElement", there)
    m = g.op("If", has, then_branch=helper.make_graph(yes.nodes, "y", [], [helper.make_tensor_value_info("got", T.FLOAT, None)], yes.init),
             else_branch=helper.make_graph(no.nodes, "n", [], [helper.make_tensor_value_info("none", T.FLOAT, None)], no.init))
    for w in STACK:
        x = g.block(x, w, m)
    g.scores(x)
    return g.model([IDS, MASK])


# ------------------------------------------------------------------ what the ids come from
def with_ids(opset, f, ids, mask=MASK):
    g = Graph(opset)
    got = f(g)
    x, m = g.tokens(got[0]), g.mask_of(got[1])
    for w in STACK:
        x = g.block(x, w, m)
    g.scores(x)
    return g.model([i for i in (ids, mask) if i])


FORMS["text"].update({
    "ids32": lambda: with_ids(17, lambda g: (g.op("Cast", "ids32", to=T.INT64), "mask"), ("ids32", T.INT32, ["batch", N])),
    "ids_float": lambda: with_ids(17, lambda g: (g.op("Cast", "ids_float", to=T.INT64), "mask"), ("ids_float", T.FLOAT, ["batch", N])),
    "ids_fixed": lambda: with_ids(17, lambda g: ("ids", "mask"), ("ids", T.INT64, [1, N]), ("mask", T.INT64, [1, N])),
    "ids_flat": lambda: with_ids(17, lambda g: (g.axes("Unsqueeze", "ids_flat", [0]), g.axes("Unsqueeze", "mask_flat", [0])), ("ids_flat", T.INT64, [N]), ("mask_flat", T.INT64, [N])),
    "mask_of_ids": lambda: with_ids(17, lambda g: ("ids", g.op("Cast", g.op("Not", g.op("Equal", "ids", np.int64(0))), to=T.INT64)), IDS, None),
    "mask_bool": lambda: with_ids(17, lambda g: ("ids", "mask_bool"), IDS, ("mask_bool", T.BOOL, ["batch", N])),
    "mask_float": lambda: with_ids(17, lambda g: ("ids", "mask_float"), IDS, ("mask_float", T.FLOAT, ["batch", N])),
    "ids_tokens_first": lambda: with_ids(17, lambda g: (g.op("Transpose", "ids_tokens_first", perm=[1, 0]), "mask"), ("ids_tokens_first", T.INT64, [N, "batch"])),
})


# ------------------------------------------------------------------ what pictures come as
MEAN, STD = np.array([.485, .456, .406], np.float32).reshape(1, 3, 1, 1), np.array([.229, .224, .225], np.float32).reshape(1, 3, 1, 1)


def with_picture(f, image, opset=17, fixed=False):
    g = Graph(opset)
    x = g.patches(f(g))
    for w in STACK:
        x = g.block(x, w)
    g.scores(x)
    return g.model([image])


def scaled(g, x):
    return g.op("Div", g.op("Sub", g.op("Div", x, np.float32(255)), MEAN), STD)


def rescaled(g, x):
    return g.op("Mul", g.op("Add", g.op("Mul", x, np.float32(1 / 255)), -MEAN), 1 / STD)


def swapped(g, x):
    return g.op("Gather", x, np.array([2, 1, 0], np.int64), axis=1)


def first(g, x):
    return g.op("Transpose", x, perm=[0, 3, 1, 2])


def floats(g, x):
    return g.op("Cast", x, to=T.FLOAT)


U8, U8_LAST = ("bytes", T.UINT8, ["batch", 3, SIZE, SIZE]), ("bytes_last", T.UINT8, ["batch", SIZE, SIZE, 3])
FORMS["picture"].update({
    "raw": lambda: with_picture(lambda g: scaled(g, "raw"), ("raw", T.FLOAT, ["batch", 3, SIZE, SIZE])), "raw_multiplied": lambda: with_picture(lambda g: rescaled(g, "raw"), ("raw", T.FLOAT, ["batch", 3, SIZE, SIZE])),
    "bytes": lambda: with_picture(lambda g: scaled(g, floats(g, "bytes")), U8), "bytes_last": lambda: with_picture(lambda g: scaled(g, first(g, floats(g, "bytes_last"))), U8_LAST),
    "bytes_dequantised": lambda: with_picture(lambda g: g.op("Div", g.op("Sub", g.op("DequantizeLinear", "bytes", np.float32(1 / 255)), MEAN), STD), U8),
    "bytes_fixed": lambda: with_picture(lambda g: scaled(g, floats(g, "bytes")), ("bytes", T.UINT8, [1, 3, SIZE, SIZE])), "fixed": lambda: with_picture(lambda g: "image", ("image", T.FLOAT, [1, 3, SIZE, SIZE])),
    "fp16_picture": lambda: with_picture(lambda g: floats(g, "half"), ("half", T.FLOAT16, ["batch", 3, SIZE, SIZE])), "double": lambda: with_picture(lambda g: floats(g, "image"), ("image", T.DOUBLE, ["batch", 3, SIZE, SIZE])),
    "last": lambda: with_picture(lambda g: first(g, "last"), ("last", T.FLOAT, ["batch", SIZE, SIZE, 3])), "bgr": lambda: with_picture(lambda g: swapped(g, "bgr"), ("bgr", T.FLOAT, ["batch", 3, SIZE, SIZE])),
    "resized": lambda: with_picture(lambda g: g.op("Resize", "twice", "", "", g.ints(1, 3, SIZE, SIZE), mode="linear"), ("twice", T.FLOAT, [1, 3, 2 * SIZE, 2 * SIZE])),
    "resized_nearest": lambda: with_picture(lambda g: g.op("Resize", "twice", "", np.array([1, 1, .5, .5], np.float32), mode="nearest"), ("twice", T.FLOAT, ["batch", 3, 2 * SIZE, 2 * SIZE])),
    "resized_bytes": lambda: with_picture(lambda g: scaled(g, g.op("Resize", floats(g, first(g, "twice_bytes")), "", "", g.ints(1, 3, SIZE, SIZE), mode="linear", coordinate_transformation_mode="half_pixel")), ("twice_bytes", T.UINT8, [1, 2 * SIZE, 2 * SIZE, 3])),
    "cropped": lambda: with_picture(lambda g: g.op("Slice", "framed", g.ints(4, 4), g.ints(SIZE + 4, SIZE + 4), g.ints(2, 3)), ("framed", T.FLOAT, ["batch", 3, SIZE + 8, SIZE + 8])),
    "padded": lambda: with_picture(lambda g: g.op("Pad", g.op("Slice", "framed", g.ints(4, 4), g.ints(SIZE + 4, SIZE + 4), g.ints(2, 3)), g.ints(0, 0, 0, 0, 0, 0, 0, 0)), ("framed", T.FLOAT, ["batch", 3, SIZE + 8, SIZE + 8])),
    "one_picture": lambda: with_picture(lambda g: g.axes("Unsqueeze", "one", [0]), ("one", T.FLOAT, [3, SIZE, SIZE])),
    "bytes_64": lambda: with_picture(lambda g: scaled(g, floats(g, "bytes")), ("bytes", T.INT64, ["batch", 3, SIZE, SIZE])), "bytes_last_32": lambda: with_picture(lambda g: scaled(g, floats(g, first(g, "bytes_last"))), ("bytes_last", T.INT32, ["batch", SIZE, SIZE, 3])),
    "one_picture_bytes": lambda: with_picture(lambda g: scaled(g, first(g, floats(g, g.axes("Unsqueeze", "one_bytes", [0])))), ("one_bytes", T.UINT8, [SIZE, SIZE, 3])),
    "clipped": lambda: with_picture(lambda g: g.op("Clip", "image", np.float32(-9), np.float32(9)), IMAGE),
})


# ------------------------------------------------------------------ what follows the scores
def with_scores(f, outputs, opset=17, domains=()):
    g = Graph(opset)
    x = g.patches("image")
    for w in STACK:
        x = g.block(x, w)
    g.scores(x)
    f(g)
    return g.model([IMAGE], outputs, domains=domains)


LOGITS, BEST = ("logits", T.FLOAT), ("best", T.INT64)
FORMS["picture"].update({
    "scores_softmax": lambda: with_scores(lambda g: g.op("Softmax", "logits", axis=-1, out="probs"), [("probs", T.FLOAT)]), "scores_log": lambda: with_scores(lambda g: g.op("LogSoftmax", "logits", axis=-1, out="probs"), [("probs", T.FLOAT)]),
    "scores_sigmoid": lambda: with_scores(lambda g: g.op("Sigmoid", "logits", out="probs"), [("probs", T.FLOAT)]),
    "scores_argmax": lambda: with_scores(lambda g: g.op("ArgMax", "logits", axis=-1, keepdims=0, out="best"), [LOGITS, BEST]), "scores_argmax_first": lambda: with_scores(lambda g: g.op("ArgMax", "logits", axis=-1, keepdims=0, out="best"), [BEST, LOGITS]),
    "scores_top": lambda: with_scores(lambda g: g.op("TopK", g.op("Softmax", "logits", axis=-1), g.ints(2), out=["top", "at"], axis=-1), [LOGITS, ("top", T.FLOAT), ("at", T.INT64)]),
    "scores_all": lambda: with_scores(lambda g: g.op("ArgMax", g.op("Softmax", "logits", axis=-1, out="probs"), axis=-1, keepdims=0, out="best"), [("probs", T.FLOAT), BEST]),
    "fp16_scores": lambda: with_scores(lambda g: g.op("Cast", "logits", to=T.FLOAT16, out="halves"), [("halves", T.FLOAT16)]), "scores_double": lambda: with_scores(lambda g: g.op("Cast", "logits", to=T.DOUBLE, out="doubles"), [("doubles", T.DOUBLE)]),
    "scores_flat": lambda: with_scores(lambda g: g.op("Reshape", "logits", g.ints(-1), out="flat"), [("flat", T.FLOAT)]), "scores_identity": lambda: with_scores(lambda g: g.op("Identity", g.op("Identity", "logits"), out="same"), [("same", T.FLOAT)]),
    "scores_softmax_flat": lambda: with_scores(lambda g: g.op("Reshape", g.op("Softmax", "logits", axis=-1), g.ints(-1), out="flat"), [("flat", T.FLOAT)]), "scores_softmax_identity": lambda: with_scores(lambda g: g.op("Identity", g.op("Softmax", "logits", axis=-1), out="probs"), [("probs", T.FLOAT)]),
    "fp16_scores_softmax": lambda: with_scores(lambda g: g.op("Cast", g.op("Softmax", "logits", axis=-1), to=T.FLOAT16, out="halves"), [("halves", T.FLOAT16)]),
    "scores_labels": lambda: with_scores(lambda g: g.op("LabelEncoder", g.op("ArgMax", "logits", axis=-1, keepdims=0), domain="ai.onnx.ml", keys_int64s=[0, 1, 2, 3], values_strings=["a", "b", "c", "d"], out="label"), [LOGITS, ("label", T.STRING)], domains=[("ai.onnx.ml", 3)]),
    "scores_zipmap": lambda: with_scores(lambda g: g.op("ZipMap", g.op("Softmax", "logits", axis=-1), domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3], out="maps"),
                                         [LOGITS, helper.make_value_info("maps", helper.make_sequence_type_proto(helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, None))))], domains=[("ai.onnx.ml", 3)]),
    "scores_many": lambda: with_scores(lambda g: (g.op("LabelEncoder", g.op("ArgMax", "logits", axis=-1, keepdims=0), domain="ai.onnx.ml", keys_int64s=[0, 1, 2, 3], values_strings=["a", "b", "c", "d"], out="label"), g.op("SequenceConstruct", "logits", "logits", out="list")),
                                       [("label", T.STRING), LOGITS, helper.make_tensor_sequence_value_info("list", T.FLOAT, None)], domains=[("ai.onnx.ml", 3)]),
    "scores_sequence": lambda: with_scores(lambda g: g.op("SequenceConstruct", "logits", "logits", out="list"), [LOGITS, helper.make_tensor_sequence_value_info("list", T.FLOAT, None)]),
})


HEAD = D // H


# ------------------------------------------------------------------ a decoder's cache
def uncached():
    g = Graph(17)
    x = g.tokens("input_ids")
    for w in STACK:
        x = g.block(x, w)
    g.scores(x)
    return g.model([("input_ids", T.INT64, ["batch", N])])


def cached():
    """past keys and values, none yet, and an If between a first and a later step, as merged decoders have it"""
    g = Graph(17)
    x = g.op("Add", g.op("Gather", g.const(ENDS["words"]), "input_ids"), ENDS["places"])
    pasts = []
    for k, w in enumerate(STACK):
        pasts += [f"past_key_values.{k}.key", f"past_key_values.{k}.value"]
        q, keys, values = [g.heads(t) for t in g.thirds(g.op("Add", g.op("MatMul", g.norm(x, w["g1"], w["b1"]), w["qkv"]), w["qkv_b"]))]
        sides = []
        for tag, join in (("later", True), ("first", False)):
            b = Graph(17, f"{tag}{k}_")
            outs = [b.op("Concat", p, t, axis=2) if join else b.op("Identity", t) for p, t in zip(pasts[-2:], (keys, values))]
            sides.append(helper.make_graph(b.nodes, tag, [], [helper.make_tensor_value_info(o, T.FLOAT, None) for o in outs], b.init))
        keys, values = g.op("If", "use_cache_branch", out=[g.name(), g.name()], then_branch=sides[0], else_branch=sides[1])
        p = g.op("Softmax", g.op("Div", g.op("MatMul", q, g.op("Transpose", keys, perm=[0, 1, 3, 2])), np.float32(HEAD ** 0.5)), axis=3)
        y = g.op("Reshape", g.op("Transpose", g.op("MatMul", p, values), perm=[0, 2, 1, 3]), g.ints(0, -1, D))
        x = g.op("Add", x, g.op("Add", g.op("MatMul", y, w["o"]), w["o_b"]))
        h = g.op("Relu", g.op("Add", g.op("MatMul", g.norm(x, w["g2"], w["b2"]), w["up"]), w["up_b"]))
        x = g.op("Add", x, g.op("Add", g.op("MatMul", h, w["down"]), w["down_b"]))
    g.scores(x)
    return g.model([("input_ids", T.INT64, ["batch", N]), ("use_cache_branch", T.BOOL, [1])] + [(p, T.FLOAT, ["batch", H, "past", HEAD]) for p in pasts])


FORMS["cached"] = {"uncached17": uncached, "cached17": cached}


# ------------------------------------------------------------------ rotary positions
ANGLES = np.arange(N)[:, None] / 50 ** (np.arange(HEAD // 2) / (HEAD // 2))
COS, SIN = np.cos(ANGLES).astype(np.float32), np.sin(ANGLES).astype(np.float32)


def rotated(g, x, how, pairs):
    """x [batch, heads, tokens, features]; pairs: neighbours, else half the features apart"""
    if how == "onnx":
        return g.op("RotaryEmbedding", x, COS[None], SIN[None], interleaved=int(pairs))
    if how == "microsoft":
        return g.op("RotaryEmbedding", x, np.arange(N, dtype=np.int64)[None], COS, SIN, domain="com.microsoft", interleaved=int(pairs))
    split = [g.name(), g.name()]
    if pairs:
        x5 = g.op("Reshape", x, g.ints(0, 0, N, HEAD // 2, 2))
        g.op("Split", x5, g.ints(1, 1), out=split, axis=4)
        a, b = [g.axes("Squeeze", t, [4]) for t in split]
    else:
        a, b = g.op("Split", x, g.ints(HEAD // 2, HEAD // 2), out=split, axis=3)

    def joined(u, v):
        if not pairs:
            return g.op("Concat", u, v, axis=3)
        return g.op("Reshape", g.op("Concat", g.axes("Unsqueeze", u, [4]), g.axes("Unsqueeze", v, [4]), axis=4), g.ints(0, 0, N, HEAD))
    if how == "turn":  # one sum over all features
        wide = (lambda t: np.repeat(t, 2, -1)) if pairs else lambda t: np.concatenate([t, t], -1)
        return g.op("Add", g.op("Mul", x, wide(COS)), g.op("Mul", joined(g.op("Neg", b), a), wide(SIN)))
    return joined(g.op("Sub", g.op("Mul", a, COS), g.op("Mul", b, SIN)), g.op("Add", g.op("Mul", a, SIN), g.op("Mul", b, COS)))


def rotary(how, pairs, opset=17):
    g = Graph(opset)
    x = g.op("Gather", g.const(ENDS["words"]), "ids")
    causal = np.where(np.tril(np.ones((N, N), bool)), 0, -1e9).astype(np.float32)[None, None]
    for w in STACK:
        y = g.norm(x, w["g1"], w["b1"])
        q, k, v = [g.heads(t) for t in g.thirds(g.op("Add", g.op("MatMul", y, w["qkv"]), w["qkv_b"]))]
        q, k = rotated(g, q, how, pairs), rotated(g, k, how, pairs)
        s = g.op("Add", g.op("Div", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), np.float32(HEAD ** 0.5)), causal)
        y = g.op("Reshape", g.op("Transpose", g.op("MatMul", g.op("Softmax", s, axis=3), v), perm=[0, 2, 1, 3]), g.ints(0, -1, D))
        x = g.op("Add", x, g.op("Add", g.op("MatMul", y, w["o"]), w["o_b"]))
        h = g.op("Relu", g.op("Add", g.op("MatMul", g.norm(x, w["g2"], w["b2"]), w["up"]), w["up_b"]))
        x = g.op("Add", x, g.op("Add", g.op("MatMul", h, w["down"]), w["down_b"]))
    x = g.axes("Squeeze", g.take(x, 1, N - 1, N), [1])
    g.op("Gemm", x, ENDS["head"], ENDS["head_b"], out="logits")
    return g.model([("ids", T.INT64, [1, N])], domains=[("com.microsoft", 1)])


for layout, pairs in (("rotary", False), ("rotary_pairs", True)):
    FORMS[layout] = {how: lambda how=how, pairs=pairs: rotary(how, pairs) for how in ("turn", "microsoft")}
    FORMS[layout].update({"onnx23": lambda pairs=pairs: rotary("onnx", pairs, 23)})
# two sums share relevance out otherwise than one does: a family of its own
FORMS["rotary_two_sums"] = {f"halves{o}": lambda o=o: rotary("halves", False, o) for o in (17, 13, 18)}


# ------------------------------------------------------------------ files
def arrays():
    g = np.random.default_rng(5)
    ids = g.integers(1, VOCAB, (1, N))
    mask = np.array([[1] * (N - 2) + [0] * 2])
    ids[0, N - 2:] = 0
    x = g.integers(0, 256, (1, 3, SIZE, SIZE)).astype(np.uint8)
    image = ((x.astype(np.float32) / np.float32(255)) - MEAN) / STD
    half = image.astype(np.float16)
    twice = image.repeat(2, 2).repeat(2, 3)
    framed = np.pad(image, ((0, 0), (0, 0), (4, 4), (4, 4)), constant_values=1.5)
    pasts = {f"past_key_values.{k}.{t}": np.zeros((1, H, 0, HEAD), np.float32) for k in range(LAYERS) for t in ("key", "value")}
    return {"ids": ids, "mask": mask, "input_ids": ids, "use_cache_branch": np.zeros(1, bool), **pasts, "ids32": ids.astype(np.int32), "ids_float": ids.astype(np.float32), "ids_flat": ids[0], "mask_flat": mask[0], "mask_bool": mask.astype(bool), "mask_float": mask.astype(np.float32), "ids_tokens_first": ids.T.copy(),
            "image": image, "raw": x.astype(np.float32), "bytes": x, "bytes_last": x.transpose(0, 2, 3, 1).copy(), "half": half, "last": image.transpose(0, 2, 3, 1).copy(), "bgr": image[:, ::-1].copy(),
            "twice": twice, "twice_bytes": x.repeat(2, 2).repeat(2, 3).transpose(0, 2, 3, 1).copy(), "framed": framed, "one": image[0], "one_bytes": x[0].transpose(1, 2, 0).copy()}


TYPES = {"tensor(double)": np.float64, "tensor(int32)": np.int32, "tensor(int64)": np.int64}  # one array, in the type that the form asks for


def feeds_of(session, values):
    given = {}
    for i in session.get_inputs():
        v = values[i.name]
        given[i.name] = v.astype(TYPES[i.type]) if i.type in TYPES else v
    return given


def make_family(out, family):
    folder, notes, values = f"{out}/graphs_{family}", {}, arrays()
    os.makedirs(folder, exist_ok=True)
    for name, make in FORMS[family].items():
        path = f"{folder}/{name}.onnx"
        try:
            onnx.save(make(), path)
            s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
            given = feeds_of(s, values)
            for k in given:
                np.save(f"{folder}/input.{k}.npy", values[k])
            got = dict(zip([o.name for o in s.get_outputs()], s.run(None, given)))
            np.savez(path[:-5] + ".npz", **{k: v for k, v in got.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiub"})
            notes[name] = "ok"
        except Exception as e:  # whatever onnxruntime does not take
            notes[name] = f"{type(e).__name__}: {str(e).strip()[:200]}"
            print(family, name, notes[name], flush=True)
            if os.path.exists(path):
                os.remove(path)
    json.dump({"family": "graphs_" + family, "text": family != "picture", "inputs": list(values), "outputs": ["logits"], "target": None, "output": None, "explain": True,
               "base": next(iter(FORMS[family])), "notes": notes}, open(folder + "/family.json", "w"), indent=1)
    print(family, sum(v == "ok" for v in notes.values()), "of", len(notes), "files", flush=True)


# case: family, forms, inputs that are stored
REGRESSION = {"rotary_fused": ("rotary", ["turn", "microsoft"], ["ids"]), "rotary_pairs_fused": ("rotary_pairs", ["turn", "onnx23"], ["ids"]),
              "bytes": ("picture", ["bytes_last", "bytes_last_32"], ["bytes_last"]), "beside_scores": ("picture", ["scores_many"], ["image"]), "empty_cache": ("cached", ["uncached17", "cached17"], ["input_ids"])}


def make_regression(tool, out, only):
    for case, (family, forms, inputs) in REGRESSION.items():
        if only and case not in only:
            continue
        folder, values = f"{out}/{case}", arrays()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for k in inputs:
            np.save(f"{folder}/input.{k}.npy", values[k])
        for f in forms:
            onnx.save(FORMS[family][f](), f"{folder}/{f}.onnx")
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([tool, f"{folder}/{forms[0]}.onnx", *[f"{k}={folder}/input.{k}.npy" for k in inputs], "--target", "0,1", "--npy", tmp], check=True, stdout=subprocess.DEVNULL)
            for p in glob.glob(tmp + "/tokens.*.npy") + glob.glob(tmp + "/block.*.npy"):
                shutil.copy(p, folder)


def main():
    if sys.argv[1] == "--regression":
        return make_regression(sys.argv[2], sys.argv[3], sys.argv[4:])
    for family in FORMS:
        if family in sys.argv[2:] or not sys.argv[2:]:
            make_family(sys.argv[1], family)


if __name__ == "__main__":
    main()
