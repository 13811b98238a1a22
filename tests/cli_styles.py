#!/usr/bin/env python3
"""One transformer in the styles of many exporters, one explanation: norms and activations written out, weights in every place,
functions, loops over layers, optional values, tokens that are cut and joined, what the file ends in. Its attentions: cli_styles_attention.py.

    cli_styles.py TOOL [FOLDER [STYLE...]]     FOLDER: the models are kept there
"""
import json
import os
import subprocess

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, INT64, Graph, Reference, block, number, tensor, tensor_type
from styles import (BIAS, BOOL, CLASSES, D, DOUBLE, EPSILON, FLOATS, HEAD, KINDS, LAYERS, MS, OWN, T, WEIGHTS, Style, by_pow, check_styles, compare,
                    explained, folder, run, square_root, style, tool, written)

# ---- norms ----
def reductions(op, kind, v):
    return op(kind, v, axes=[-1], keepdims=1)


def reciprocal(s, c, r):
    return s.op("Mul", c, s.op("Reciprocal", r))


def times(s, c, r):
    return s.op("Mul", r, c)


style("norm_pow", norm=written(by_pow, square_root))
style("norm_reciprocal", norm=written(lambda s, v, c, m: s.mean(s.op("Mul", c, c)), square_root, reciprocal))
style("norm_one_over", norm=written(by_pow, lambda s, v: s.op("Div", 1.0, s.op("Sqrt", v)), times))
style("norm_moments", norm=written(lambda s, v, c, m: s.op("Sub", s.mean(s.op("Mul", v, v)), s.op("Mul", m, m)), square_root))
style("norm_sum_square", norm=written(lambda s, v, c, m: s.op("Div", reductions(s.op, "ReduceSumSquare", c), float(D)), square_root))
style("norm_l2", norm=written(lambda s, v, c, m: s.op("Div", s.op("Pow", reductions(s.op, "ReduceL2", c), 2.0), float(D)), square_root))
style("norm_power", norm=written(by_pow, lambda s, v: s.op("Pow", v, -0.5), times))
style("norm_exp_log", norm=written(by_pow, lambda s, v: s.op("Exp", s.op("Mul", s.op("Log", v), -0.5)), times))
style("norm_tf", norm=lambda s, v, g, b: (lambda m: (lambda r: s.op("Add", s.op("Mul", v, r), s.op("Sub", s.weight(b), s.op("Mul", m, r))))(
    s.op("Mul", s.op("Reciprocal", s.op("Sqrt", s.op("Add", s.mean(s.op("Mul", s.op("Sub", v, m), s.op("Sub", v, m))), EPSILON))), s.weight(g))))(s.mean(v)))
style("norm_twice_centred", norm=lambda s, v, g, b: s.op("Add", s.op("Mul", s.op("Div", s.op("Sub", v, s.mean(v)), s.op("Sqrt", s.op(
    "Add", s.mean(s.op("Pow", s.op("Sub", v, s.mean(v)), 2.0)), EPSILON))), s.weight(g)), s.weight(b)))
style("norm_means_by_product", mean=lambda s, v: s.op("MatMul", v, np.full((D, 1), 1 / D, np.float32)), norm=written(by_pow, square_root))
style("norm_twice_negated", norm=written(lambda s, v, c, m: s.mean(s.op("Abs", s.op("Mul", c, s.op("Neg", s.op("Neg", c))))), square_root))
style("norm_sums", mean=lambda s, v: s.op("Div", s.op("ReduceSum", v, s.ints(-1), keepdims=1), float(D)), norm=written(by_pow, square_root))
style("norm_unsqueezed", mean=lambda s, v: s.op("Unsqueeze", s.op("ReduceMean", v, axes=[2], keepdims=0), s.ints(2)), norm=written(by_pow, square_root))
style("norm_doubles", norm=lambda s, v, g, b: s.op("Cast", s.op("LayerNormalization", s.op("Cast", v, to=DOUBLE), s.weight(g.astype(np.float64)), s.weight(
    b.astype(np.float64)), epsilon=EPSILON), to=FLOAT))
style("norm_instance", norm=lambda s, v, g, b: s.op("Add", s.op("Mul", s.op("InstanceNormalization", v, np.ones(T, np.float32), np.zeros(
    T, np.float32), epsilon=EPSILON), s.weight(g)), s.weight(b)))
style("norm_group", opset=21, norm=lambda s, v, g, b: s.op("Reshape", s.op("GroupNormalization", s.op("Reshape", v, s.ints(T, D, 1)), s.weight(
    g), s.weight(b), epsilon=EPSILON, num_groups=1), s.ints(1, T, D)))
style("norm_batch", norm=lambda s, v, g, b: s.op("Add", s.op("Mul", s.op("Reshape", s.op("BatchNormalization", s.op(
    "Reshape", v, s.ints(1, T, D)), np.ones(T, np.float32), np.zeros(T, np.float32), np.zeros(T, np.float32), np.ones(
    T, np.float32), outs=3, training_mode=1, epsilon=EPSILON)[0], s.ints(1, T, D)), s.weight(g)), s.weight(b)))
style("norm_flat", norm=lambda s, v, g, b: s.op("Reshape", Style.norm(s, s.op("Reshape", v, s.ints(-1, D)), g, b), s.ints(1, T, D)))
style("norm_skip", norm=lambda s, v, g, b: s.op("SkipLayerNormalization", v, np.zeros((1, T, D), np.float32), s.weight(g), s.weight(
    b), domain=MS, epsilon=EPSILON))

# ---- activations ----
style("gelu_op", opset=20, act=lambda s, v: s.op("Gelu", v))
style("gelu_ms", act=lambda s, v: s.op("Gelu", v, domain=MS))
style("gelu_half_first", act=lambda s, v: s.op("Mul", s.op("Mul", 0.5, v), s.op("Add", 1.0, s.op("Erf", s.op("Mul", v, 0.5 ** 0.5)))))
style("gelu_half_inside", act=lambda s, v: s.op("Mul", s.op("Mul", s.op("Add", s.op("Erf", s.op("Div", v, s.op("Sqrt", 2.0))), 1.0), 0.5), v))
style("gelu_half_added", act=lambda s, v: s.op("Mul", v, s.op("Add", s.op("Mul", s.op("Erf", s.op("Mul", v, 0.5 ** 0.5)), 0.5), 0.5)))
style("gelu_minus_erfc", act=lambda s, v: s.op("Mul", s.op("Mul", v, 0.5), s.op("Sub", 1.0, s.op("Erf", s.op("Neg", s.op("Div", v, 2.0 ** 0.5))))))
style("gelu_distributed", act=lambda s, v: s.op("Add", s.op("Mul", v, 0.5), s.op("Mul", s.op("Mul", v, 0.5), s.op("Erf", s.op("Div", v, 2.0 ** 0.5)))))
style("gelu_doubles", act=lambda s, v: s.op("Cast", s.op("Mul", s.op("Mul", s.op("Cast", v, to=DOUBLE), np.float64(0.5)), s.op("Add", s.op("Erf", s.op(
    "Mul", s.op("Cast", v, to=DOUBLE), np.float64(0.5 ** 0.5))), np.float64(1))), to=FLOAT))

# ---- linear layers ----
style("linear_gemm", linear=lambda s, v, w, b: s.op("Gemm", v, s.weight(w), s.weight(b)) if w.shape[1] == CLASSES else s.op("Reshape", s.op(
    "Gemm", s.op("Reshape", v, s.ints(-1, w.shape[0])), s.weight(w), s.weight(b)), s.ints(1, T, w.shape[1])))
style("linear_gemm_halved", linear=lambda s, v, w, b: s.op("Gemm", v, s.weight(w.T), s.weight(b), transB=1) if w.shape[1] == CLASSES else s.op("Reshape", s.op(
    "Gemm", s.op("Reshape", v, s.ints(-1, w.shape[0])), s.weight(w.T / 2), s.weight(b * 2), transB=1, alpha=2.0, beta=0.5), s.ints(1, T, w.shape[1])))
style("linear_transposed", weight=lambda s, w: s.op("Transpose", s.const(w.T), perm=[1, 0]) if w.ndim == 2 else s.const(w))
style("linear_bias_first", linear=lambda s, v, w, b: s.op("Add", s.weight(b[None]), s.op("MatMul", v, s.weight(w))))
style("linear_bias_neg", linear=lambda s, v, w, b: s.op("Sub", s.op("MatMul", v, s.weight(w)), s.weight(-b)))
style("linear_bias_row", linear=lambda s, v, w, b: s.op("Add", s.op("MatMul", v, s.weight(w)), s.op("Expand", s.op("Unsqueeze", s.weight(b), s.ints(0)), s.op("Shape", s.op("MatMul", v, s.weight(w))))))
style("linear_batched", linear=lambda s, v, w, b: s.op("Add", s.op("MatMul", v, s.weight(w[None] if w.shape[1] != CLASSES else w)), s.weight(b)))
style("linear_einsum", linear=lambda s, v, w, b: s.op("Add", s.op("Einsum", v, s.weight(w), equation="...d,de->...e"), s.weight(b)))
style("linear_einsum_left", linear=lambda s, v, w, b: s.op("Add", s.op("Einsum", s.weight(w.T), v, equation="ed,...d->...e"), s.weight(b)))
style("linear_on_left", linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] == CLASSES else s.op("Add", s.op("Transpose", s.op(
    "MatMul", s.weight(w.T), s.op("Transpose", v, perm=[0, 2, 1])), perm=[0, 2, 1]), s.weight(b)))
style("linear_conv", linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] == CLASSES else s.op("Transpose", s.op("Conv", s.op(
    "Transpose", v, perm=[0, 2, 1]), s.weight(w.T[:, :, None]), s.weight(b), kernel_shape=[1]), perm=[0, 2, 1]))
style("linear_conv_2d", linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] == CLASSES else s.op("Transpose", s.op("Squeeze", s.op("Conv", s.op(
    "Unsqueeze", s.op("Transpose", v, perm=[0, 2, 1]), s.ints(2)), s.weight(w.T[:, :, None, None]), s.weight(b), kernel_shape=[1, 1]), s.ints(2)), perm=[0, 2, 1]))
style("linear_rows_summed", linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] != CLASSES else s.op("Sum", s.op("MatMul", v, s.weight(w)), s.weight(b)))
style("linear_fused", linear=lambda s, v, w, b: s.op("Add", s.op("FusedMatMul", v, s.weight(w.T), domain=MS, transB=1), s.weight(b)))

# ---- weights ----
style("weights_inputs", ir=3, opset=17, weight=lambda s, w: s.graph.input(n := s.const(w), list(w.shape)) or n)
style("weights_nodes", weight=lambda s, w: s.op("Constant", value=tensor("", w.shape, FLOAT, block(9, np.ascontiguousarray(w).tobytes()))))
style("weights_half", weight=lambda s, w: s.op("Cast", s.const(w.astype(np.float16)), to=FLOAT))
style("weights_doubles", weight=lambda s, w: s.op("Cast", s.const(w.astype(np.float64)), to=FLOAT))
style("weights_bytes", weight=lambda s, w: s.op("DequantizeLinear", s.const(np.round(w * 16).astype(np.int8)), s.const(np.full(1, 1 / 16, np.float32))) if np.abs(w * 16).max() < 127 and (
    w * 16 == np.round(w * 16)).all() else s.const(w))
style("weights_integers", weight=lambda s, w: s.op("Mul", s.op("Cast", s.const(np.round(w * 32).astype(np.int64)), to=FLOAT), 1 / 32))


def sparse(s, w):
    flat = w.ravel()
    at = np.flatnonzero(flat)
    if len(at) == 0:
        return s.const(w)
    name = s.name()
    s.graph.sparse.append(block(1, tensor(name, [len(at)], FLOAT, block(9, flat[at].tobytes()))) + block(2, tensor("", [len(at)], INT64, block(
        9, at.astype(np.int64).tobytes()))) + b"".join(number(3, d) for d in w.shape))
    return name


style("weights_sparse", weight=sparse)
floats_field = lambda w: b"".join(b"\x25" + np.float32(v).tobytes() for v in w)   # unpacked, field 4
style("weights_unpacked", weight=lambda s, w: s.graph.tensor(n := s.name(), w.shape, FLOAT, floats_field(w.ravel())) or n)


def constant_attribute(s, w):
    out = s.name()
    head = block(2, out) + block(4, "Constant")
    if w.ndim == 1:
        s.graph.nodes.append(head + block(5, block(1, "value_floats") + b"".join(b"\x3d" + np.float32(v).tobytes() for v in w) + number(20, 6)))
        return out
    return s.op("Reshape", constant_attribute(s, w.ravel()), s.ints(*w.shape))


style("weights_value_floats", weight=constant_attribute)

# ---- residual sums ----
style("sum_op", add=lambda s, a, b: s.op("Sum", b, a))
style("sum_negated", add=lambda s, a, b: s.op("Sub", a, s.op("Neg", b)))
style("sum_doubles", add=lambda s, a, b: s.op("Cast", s.op("Add", s.op("Cast", a, to=DOUBLE), s.op("Cast", b, to=DOUBLE)), to=FLOAT))
style("dropped_out", op=lambda s, kind, *inputs, **kw: Style.op(s, "Identity", Style.op(s, "Dropout", Style.op(s, kind, *inputs, **kw))) if kind in (
    "MatMul", "Softmax", "Add") else Style.op(s, kind, *inputs, **kw))


# ---- structure ----
def function_layer(s, v, w):
    """Layers as calls of a function of the model that calls another one."""
    names = list(w)
    if not hasattr(s, "made"):
        s.made = True
        body = Style(Graph())
        body.weight = lambda n: n
        own = {n: n for n in names}
        inner = Style(Graph())
        e = inner.op("Erf", inner.op("Div", "t", inner.op("Constant", value_float=Reference("root", 1))))
        one, half = (inner.op("Constant", value_float=n) for n in (1.0, 0.5))
        inner.graph.node("Mul", [inner.op("Mul", "t", inner.op("Add", e, one)), half], "u")
        s.graph.function("Gelu", OWN, ["t"], ["u"], inner.graph, ["root"])
        body.const = lambda a: Style.op(body, "Constant", value=tensor("", a.shape, KINDS[str(a.dtype)], block(9, np.ascontiguousarray(a).tobytes())))
        body.act = lambda t: body.op("Gelu", t, domain=OWN, root=2.0 ** 0.5)
        out = body.layer("x", own)
        body.graph.node("Identity", [out], "y")
        s.graph.function("Layer", OWN, ["x", *names], ["y"], body.graph)
    return s.op("Layer", v, *(s.weight(w[n]) for n in names), domain=OWN)


def stacked(s):
    return {n: s.const(np.stack([w[n] for w in WEIGHTS])) for n in WEIGHTS[0]}


def inner_layer(b, v, w):
    b.weight = lambda name: name if isinstance(name, str) else b.const(name)
    return Style.layer(b, v, w)


def scan_layers(s, v):
    """jax.lax.scan over stacked weights."""
    names = list(WEIGHTS[0])
    body = s.inner(lambda b: [(inner_layer(b, "carry", {n: "w_" + n for n in names}), FLOAT)], [("carry", FLOAT)] + [("w_" + n, FLOAT) for n in names], Style)
    return s.op("Scan", v, *stacked(s).values(), body=body, num_scan_inputs=len(names))


def loop_layers(s, v):
    all_of = stacked(s)

    def body(b):
        own = {n: b.op("Gather", a, "i", axis=0) for n, a in all_of.items()}
        return [(b.op("Identity", "going"), BOOL), (inner_layer(b, "carry", own), FLOAT)]
    return s.op("Loop", np.int64(LAYERS), "", v, body=s.inner(body, [("i", INT64), ("going", BOOL), ("carry", FLOAT)], Style))


def loop_sliced(s, v):
    """XLA's while: the condition counts, weights are taken by DynamicSlice."""
    all_of = stacked(s)

    def body(b):
        start = b.op("Reshape", "n", b.ints(1))
        end = b.op("Add", start, b.ints(1))
        own = {n: b.op("Squeeze", b.op("Slice", a, start, end, b.ints(0)), b.ints(0)) for n, a in all_of.items()}
        n = b.op("Add", "n", np.int64(1))
        return [(b.op("Less", n, np.int64(LAYERS)), BOOL), (n, INT64), (inner_layer(b, "carry", own), FLOAT)]
    graph = s.inner(body, [("i", INT64), ("going", BOOL), ("n", INT64), ("carry", FLOAT)], Style)
    return s.op("Loop", "", np.array(True), np.int64(0), v, outs=2, body=graph)[1]


def loop_listed(s, v, w):
    """Tokens one by one into a sequence that a loop hands on, as torch's repeat_interleave."""
    tokens = s.op("SplitToSequence", v, axis=1, keepdims=1)

    def body(b):
        return [(b.op("Identity", "going"), BOOL), (b.op("SequenceInsert", "list", b.op("SequenceAt", tokens, "i")), FLOATS)]
    listed = s.op("Loop", np.int64(T), "", s.op("SequenceEmpty"), body=s.inner(body, [("i", INT64), ("going", BOOL), ("list", FLOATS)], Style))
    return Style.layer(s, s.op("ConcatFromSequence", listed, axis=1), w)


def branch(s, v, w):
    """If whose branches differ in rank; the one that is taken reads values outside."""
    yes = s.inner(lambda b: [(b.op("Squeeze", Style.layer(b, v, w), b.ints(0)), FLOAT)], (), Style)
    no = s.inner(lambda b: [(b.op("Identity", v), FLOAT)], (), Style)
    rows = s.op("Gather", s.op("Shape", v), np.int64(0))
    return s.op("Reshape", s.op("If", s.op("Equal", rows, np.int64(1)), then_branch=yes, else_branch=no), s.ints(1, T, D))


def optional(s, v, w):
    """A value that may be there; what to do is asked by OptionalHasElement."""
    o = s.op("Optional", v)
    yes = s.inner(lambda b: [(b.op("OptionalGetElement", o), FLOAT)], (), Style)
    no = s.inner(lambda b: [(b.op("ConstantOfShape", b.ints(1, T, D)), FLOAT)], (), Style)
    return Style.layer(s, s.op("If", s.op("OptionalHasElement", o), then_branch=yes, else_branch=no), w)


def listed(s, v):
    """Layers' results in a sequence; the last one is used."""
    seq = s.op("SequenceConstruct", v)
    for w in WEIGHTS:
        seq = s.op("SequenceInsert", seq, s.layer(s.op("SequenceAt", seq, np.int64(-1)), w))
    return s.op("SequenceAt", seq, s.op("Sub", s.op("SequenceLength", seq), np.int64(1)))


style("functions", layer=function_layer)
style("scan_layers", layers=scan_layers)
style("loop_layers", layers=loop_layers)
style("loop_sliced", layers=loop_sliced)
style("loop_listed", layer=loop_listed)
style("if_ranks", layer=branch)
style("optionals", layer=optional)
style("sequence_of_layers", layers=listed)


# ---- tokens cut and put together ----
def apart(sizes, whole):
    """`whole` of each stretch of tokens on its own, joined again."""
    def norm(s, v, gamma, beta):
        parts = s.op("Split", v, s.ints(*sizes), outs=len(sizes), axis=1)
        return s.op("Concat", *(whole(s, p, gamma, beta) for p in parts), axis=1)
    return norm


def cut_by_slices(s, v, gamma, beta):
    first = s.op("Slice", v, s.ints(0), s.ints(1), s.ints(1))
    rest = s.op("Slice", v, s.ints(1), s.ints(2 ** 31), s.ints(1))
    return s.op("Concat", Style.norm(s, first, gamma, beta), Style.norm(s, rest, gamma, beta), axis=1)


def cut_by_gather(s, v, gamma, beta):
    first = s.op("Unsqueeze", s.op("Gather", v, np.int64(0), axis=1), s.ints(1))
    rest = s.op("Gather", v, np.arange(1, T), axis=1)
    return s.op("Concat", Style.norm(s, first, gamma, beta), Style.norm(s, rest, gamma, beta), axis=1)


def token_sequence(s, v, gamma, beta):
    seq = s.op("SplitToSequence", v, axis=1, keepdims=1)
    return s.op("ConcatFromSequence", *[s.op("SequenceConstruct", *(Style.norm(s, s.op("SequenceAt", seq, np.int64(i)), gamma, beta) for i in range(T)))], axis=1)


def token_stack(s, v, gamma, beta):
    seq = s.op("SplitToSequence", v, axis=1, keepdims=0)
    return s.op("ConcatFromSequence", s.op("SequenceConstruct", *(Style.norm(s, s.op("SequenceAt", seq, np.int64(i)), gamma, beta) for i in range(T))), axis=1, new_axis=1)


def token_loop(s, v, gamma, beta):
    """A Scan over tokens."""
    body = s.inner(lambda b: [(Style.norm(b, "token", gamma, beta), FLOAT)], [("token", FLOAT)], Style)
    return s.op("Scan", v, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])


style("cut_slices", norm=cut_by_slices)
style("cut_gather", norm=cut_by_gather)
style("cut_split", norm=apart([1, T - 1], Style.norm))
style("cut_split_last", norm=apart([T - 1, 1], Style.norm))
style("cut_split_uneven", norm=apart([2, 1, 2], Style.norm))
style("cut_split_each", norm=apart([1] * T, Style.norm))
style("cut_sequence", norm=token_sequence)
style("cut_stack", norm=token_stack)
style("cut_scan", norm=token_loop)
style("cut_stream", begin=lambda s, v: s.op("Concat", *s.op("Split", v, s.ints(1, T - 1), outs=2, axis=1), axis=1))
style("cut_projection", qkv=lambda s, v, w: (lambda a, b: [s.heads(s.op("Concat", s.linear(a, w["w" + n], w["b" + n]), s.linear(b, w["w" + n], w["b" + n]), axis=1)) for n in "qkv"])(
    *s.op("Split", v, s.ints(1, T - 1), outs=2, axis=1)))
style("cut_values", attention=lambda s, v, w: (lambda q, k, u: s.merge(s.op("MatMul", s.softmax(s.scores(q, k)), s.op("Concat", *s.op("Split", u, s.ints(
    1, T - 1), outs=2, axis=2), axis=2))))(*s.qkv(v, w)))
style("cut_updates", norm=lambda s, v, g, b: s.op("ScatterND", n := Style.norm(s, v, g, b), np.array([[[0, 0]]]), s.op("Slice", n, s.ints(0), s.ints(1), s.ints(1))))
style("cut_mlp", mlp=lambda s, v, w: s.op("Concat", *(Style.mlp(s, t, w) for t in s.op("Split", v, s.ints(1, T - 1), outs=2, axis=1)), axis=1))
style("cut_by_function", layer=lambda s, v, w: (lambda a, b: Style.layer(s, s.op("Concat", s.op("Unsqueeze", a, s.ints(1)), b, axis=1), w))(s.op(
    "Gather", v, np.int64(0), axis=1), s.op("Slice", v, s.ints(1), s.ints(T), s.ints(1))))


# ---- the token that is read ----
style("read_slice", first=lambda s, v: s.op("Squeeze", s.op("Slice", v, s.ints(0), s.ints(1), s.ints(1)), s.ints(1)))
style("read_split", first=lambda s, v: s.op("Squeeze", s.op("Split", v, s.ints(1, T - 1), outs=2, axis=1)[0], s.ints(1)))
style("read_behind", first=lambda s, v: s.op("Gather", v, np.int64(-T), axis=1))
style("read_nd", first=lambda s, v: s.op("GatherND", v, np.array([[0, 0]], np.int64)))
style("read_one_hot", first=lambda s, v: s.op("Squeeze", s.op("MatMul", np.eye(T, dtype=np.float32)[:1], v), s.ints(1)))
style("read_summed", first=lambda s, v: s.op("ReduceSum", s.op("Mul", v, np.eye(T, dtype=np.float32)[0][:, None]), s.ints(1), keepdims=0))
style("pooled", want=None, first=lambda s, v: s.op("ReduceMean", v, axes=[1], keepdims=0))
style("pooled_product", want="pooled", first=lambda s, v: s.op("Squeeze", s.op("MatMul", np.full((1, T), 1 / T, np.float32), v), s.ints(1)))
style("pooled_einsum", want="pooled", first=lambda s, v: s.op("Mul", s.op("Einsum", v, equation="btd->bd"), 1 / T))
style("pooled_window", want="pooled", first=lambda s, v: s.op("Squeeze", s.op("AveragePool", s.op("Transpose", v, perm=[0, 2, 1]), kernel_shape=[T]), s.ints(2)))


# ---- another norm, another activation ----
def root_mean(square):
    return lambda s, v, gamma, beta: s.op("Mul", s.op("Div", v, s.op("Sqrt", s.op("Add", square(s, v), EPSILON))), s.weight(gamma))


style("rms", want=None, norm=root_mean(lambda s, v: s.mean(s.op("Pow", v, 2.0))))
style("rms_op", want="rms", norm=lambda s, v, g, b: s.op("SimplifiedLayerNormalization", v, s.weight(g), epsilon=EPSILON, axis=-1))
style("rms_einsum", want="rms", norm=root_mean(lambda s, v: s.op("Div", s.op("Unsqueeze", s.op("Einsum", v, v, equation="btd,btd->bt"), s.ints(2)), float(D))))
style("rms_product", want="rms", norm=root_mean(lambda s, v: s.op("MatMul", s.op("Mul", v, v), np.full((D, 1), 1 / D, np.float32))))
style("rms_log", want="rms", norm=lambda s, v, g, b: s.op("Mul", s.weight(g), s.op("Mul", v, s.op("Exp", s.op("Mul", s.op("Log", s.op(
    "Add", s.mean(s.op("Mul", v, v)), EPSILON)), -0.5)))))
ROOT = float((2 / np.pi) ** 0.5)


def polynomial(s, v):
    return s.op("Mul", ROOT, s.op("Add", v, s.op("Mul", 0.044715, s.op("Pow", v, 3.0))))


style("tanh", want=None, act=lambda s, v: s.op("Mul", s.op("Mul", 0.5, v), s.op("Add", 1.0, s.op("Tanh", polynomial(s, v)))))
style("tanh_product", want="tanh", act=lambda s, v: s.op("Mul", v, s.op("Mul", 0.5, s.op("Add", 1.0, s.op("Tanh", s.op("Mul", s.op("Mul", v, ROOT), s.op(
    "Add", 1.0, s.op("Mul", s.op("Mul", v, v), 0.044715))))))))
style("tanh_sigmoid", want="tanh", act=lambda s, v: s.op("Mul", v, s.op("Sigmoid", s.op("Mul", 2.0, polynomial(s, v)))))
style("tanh_exp", want="tanh", act=lambda s, v: s.op("Mul", v, s.op("Div", 1.0, s.op("Add", 1.0, s.op("Exp", s.op("Neg", s.op("Mul", 2.0, polynomial(s, v))))))))
style("tanh_ms", want="tanh", act=lambda s, v: s.op("FastGelu", v, domain=MS))

style("read_sequence", first=lambda s, v: s.op("SequenceAt", s.op("SplitToSequence", v, axis=1, keepdims=0), np.int64(0)))


# ---- what the file ends in, with what is said of it ----
def zip_map(s, v):
    s.give(s.op("ArgMax", v, axis=1, keepdims=0), "label", INT64)
    s.graph.node("ZipMap", [s.op("Softmax", v, axis=-1)], "maps", domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    entry = block(5, number(1, INT64) + block(2, tensor_type(FLOAT, [])))
    s.graph.outputs.append(block(1, "maps") + block(2, block(4, block(1, entry))))


def top_two(s, v):
    values, places = s.op("TopK", s.op("Softmax", v, axis=-1), s.ints(2), outs=2)
    s.give(values, "scores", FLOAT)
    s.give(places, "classes", INT64)


def linear_classifier(labels, **attributes):
    """As scikit-learn's converter ends, in place of the head: labels, and probabilities as a map of them."""
    def outputs(s, v):
        s.graph.node("LinearClassifier", [v], ["label", "scores"], domain="ai.onnx.ml", post_transform="SOFTMAX", intercepts=[float(b) for b in BIAS],
                     coefficients=[float(w) for w in HEAD.T.ravel()], **attributes)
        s.op("ZipMap", s.op("Normalizer", "scores", domain="ai.onnx.ml", norm="L1"), domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
        s.graph.outputs.append(block(1, "label") + block(2, tensor_type(labels, [1])))
    return {"outputs": outputs, "linear": lambda s, v, w, b: v if w is HEAD else Style.linear(s, v, w, b)}


ENDS = {
    "probabilities": (lambda s, v: s.give(s.op("Softmax", v, axis=-1), "y", FLOAT), None),
    "log_probabilities": (lambda s, v: s.give(s.op("LogSoftmax", v, axis=-1), "y", FLOAT), None),
    "sigmoids": (lambda s, v: s.give(s.op("Sigmoid", v), "y", FLOAT), None),
    "arg_max": (lambda s, v: s.give(s.op("ArgMax", v, axis=1, keepdims=0), "y", INT64), "ArgMax makes output 'y'"),
    "arg_max_of_probabilities": (lambda s, v: s.give(s.op("Cast", s.op("ArgMax", s.op("Softmax", v, axis=-1), axis=-1), to=6), "y", 6), "ArgMax makes output 'y'"),
    "top_k": (top_two, "TopK makes output 'scores'"),
    "threshold": (lambda s, v: s.give(s.op("Greater", v, 0.5), "y", BOOL), "Greater makes output 'y'"),
    "zip_map": (zip_map, "ArgMax makes output 'label'"),
    "linear_classifier": (linear_classifier(INT64, classlabels_ints=[4, 0, 9]), "LinearClassifier makes output 'label'"),
    "linear_classifier_of_texts": (linear_classifier(8, classlabels_strings=["a", "b", "c"]), "LinearClassifier makes output 'label'"),
    "scores_beside": (lambda s, v: (s.give(s.op("ArgMax", v, axis=-1), "y", INT64), s.give(v, "scores", FLOAT)), None),
}


# ---- tokens that the layers have in other places than the input ----
def rolled(by):
    return lambda s, v: s.op("Concat", s.op("Slice", v, s.ints(by), s.ints(T), s.ints(1)), s.op("Slice", v, s.ints(0), s.ints(by), s.ints(1)), axis=1)


def gathered(order):
    return lambda s, v: s.op("Gather", v, s.ints(*order), axis=1)


MOVED = {name: {"begin": rolled(by), "end": rolled(T - by)} for name, by in (("rolled_1", 1), ("rolled_4", 4), ("rolled_2", 2))}
ORDER = [3, 1, 0, 4, 2]
MOVED["gathered"] = {"begin": gathered(ORDER), "end": gathered(np.argsort(ORDER))}
MOVED["gathered_flat"] = {  # the input has no axis of samples
    "begin": lambda s, v: s.op("Unsqueeze", s.op("Gather", v, s.ints(*ORDER), axis=0), s.ints(0)), "end": gathered(np.argsort(ORDER)), "shape": [T, D]}


if __name__ == "__main__":
    plain = check_styles()
    for name, (outputs, said) in ENDS.items():
        out, r = run(name, type(name, (Style,), outputs if isinstance(outputs, dict) else {"outputs": outputs}))
        check(r.returncode == 0 and (said in r.stdout if said else "of which" not in r.stdout), name, r.stderr, r.stdout)
        got = {file: np.load(os.path.join(out, file)) for file in plain if not file.startswith("output") and r.returncode == 0}
        compare(name, got, {file: plain[file] for file in got})
        check((" b " in r.stdout) == (name == "linear_classifier_of_texts"), name, r.stdout)
    facts = json.loads(subprocess.run([tool, "inspect", f"{folder}/arg_max.onnx", "--json"], capture_output=True, text=True, timeout=60).stdout)
    check([(o.get("behind"), o.get("operator")) for o in facts["outputs"]] == [(None, None), ("y", "ArgMax")], facts)
    named = type("named", (Style,), {"outputs": top_two})
    for output, says in (("classes", True), ("scores", False)):  # scores are what they are where they are asked for
        r = run("named", named, "--output", output)[1]
        check(r.returncode == 0 and ("of which TopK" in r.stdout) == says, output, r.stderr, r.stdout)
    r = run("named", type("ends", (Style,), {"outputs": lambda s, v: s.give(s.op("Shape", v), "y", INT64)}))[1]
    check(r.returncode == 1 and "no float output" in r.stderr, r.stderr)
    for name, members in MOVED.items():
        got = explained(name, type(name, (Style,), members))
        read = [file for file in plain if not file.startswith("block")]  # blocks are in the layers' order
        compare(name, {file: got.get(file, np.zeros(0)) for file in read}, {file: plain[file] for file in read})
    close()
