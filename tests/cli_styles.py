#!/usr/bin/env python3
"""One transformer in the styles of many exporters, one explanation: orders of axes, packed and folded heads, masks, norms
and activations written out, functions, loops over layers and heads, optional values, weights in every place.

    cli_styles.py TOOL [FOLDER [STYLE...]]     FOLDER: the models are kept there
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, INT64, Graph, Reference, block, number, tensor, tensor_type

tool = os.path.abspath(sys.argv[1])
keep = tempfile.TemporaryDirectory()
folder = sys.argv[2] if len(sys.argv) > 2 else keep.name
MS, OWN = "com.microsoft", "own"
T, D, H, HIDDEN, LAYERS, CLASSES = 5, 8, 2, 12, 2, 3
S = D // H
EPSILON = 2.0 ** -10
BOOL, FLOAT16, DOUBLE = 9, 10, 11
FLOATS = block(4, block(1, block(1, number(1, FLOAT))))  # the type of a sequence of such tensors
KINDS = {"float32": FLOAT, "int64": INT64, "bool": BOOL, "float16": FLOAT16, "float64": DOUBLE, "int32": 6, "int8": 3}
random = np.random.RandomState(7)


def noise(*shape):
    """Sixteenths: small types hold them too."""
    return (np.round(random.randn(*shape) * 6) / 16).astype(np.float32)


def make_layer():
    layer = {"g1": 1 + noise(D) / 2, "b1": noise(D), "g2": 1 + noise(D) / 2, "b2": noise(D)}
    for name in "qkvo":
        layer["w" + name], layer["b" + name] = noise(D, D), noise(D)
    return {**layer, "up": noise(D, HIDDEN), "bup": noise(HIDDEN), "down": noise(HIDDEN, D), "bdown": noise(D)}


WEIGHTS = [make_layer() for _ in range(LAYERS)]
GAMMA, BETA, HEAD, BIAS = 1 + noise(D) / 2, noise(D), noise(D, CLASSES), noise(CLASSES)
MASK = np.array([1, 1, 1, 1, 0], np.float32)
x = random.randn(1, T, D).astype(np.float32)


class Style:
    """The usual spelling. A style replaces methods of it."""
    opset, ir, masked, count = 17, 8, False, 0
    want = "usual"  # the style whose numbers it has; None: it has its own
    attentions, shape = LAYERS, [1, T, D]

    def __init__(self, graph=None):
        self.graph = graph or Graph()

    # ---- writing ----

    def name(self):
        Style.count += 1
        return f"v{Style.count}"

    def const(self, value):
        value = np.asarray(value, order="C")
        name = self.name()
        self.graph.tensor(name, value.shape, KINDS[str(value.dtype)], block(9, value.tobytes()))
        return name

    def weight(self, value):
        """A parameter of the model."""
        return self.const(value)

    def op(self, kind, *inputs, outs=1, domain="", **attributes):
        names = [i if isinstance(i, str) else self.const(np.float32(i) if type(i) is float else i) for i in inputs]
        out = [self.name() for _ in range(outs)]
        self.graph.node(kind, names, out, domain, **attributes)
        return out[0] if outs == 1 else out

    def ints(self, *values):
        return np.array(values, np.int64)

    def inner(self, outputs_of, inputs=(), style=None):
        """A subgraph: its outputs are what `outputs_of` gives, written by a style of the same kind."""
        inside = (style or type(self))(Graph())
        inside.root = getattr(self, "root", self)
        for name, dtype in inputs:
            known = dtype if dtype == FLOATS else tensor_type(dtype, []) if dtype in (INT64, BOOL) else block(1, number(1, dtype))
            inside.graph.inputs.append(block(1, name) + block(2, known))
        for name, dtype in outputs_of(inside):
            inside.graph.outputs.append(block(1, name) + block(2, dtype)) if dtype == FLOATS else inside.graph.output(name, dtype)
        return inside.graph

    # ---- pieces ----

    def mean(self, v):
        return self.op("ReduceMean", v, axes=[-1], keepdims=1)

    def norm(self, v, gamma, beta):
        return self.op("LayerNormalization", v, self.weight(gamma), self.weight(beta), epsilon=EPSILON)

    def linear(self, v, w, b):
        return self.op("Add", self.op("MatMul", v, self.weight(w)), self.weight(b))

    def act(self, v):
        erf = self.op("Erf", self.op("Div", v, 2.0 ** 0.5))
        return self.op("Mul", self.op("Mul", v, self.op("Add", erf, 1.0)), 0.5)

    def add(self, a, b):
        return self.op("Add", a, b)

    def softmax(self, v):
        return self.op("Softmax", v, axis=-1)

    def mask(self, scores):
        return self.op("Add", scores, ((1 - MASK) * -10000).astype(np.float32)) if self.masked else scores

    def heads(self, v):
        return self.op("Transpose", self.op("Reshape", v, self.ints(0, 0, H, S)), perm=[0, 2, 1, 3])

    def merge(self, v):
        return self.op("Reshape", self.op("Transpose", v, perm=[0, 2, 1, 3]), self.ints(0, 0, D))

    def qkv(self, v, w):
        return [self.heads(self.linear(v, w["w" + n], w["b" + n])) for n in "qkv"]

    def scores(self, q, k):
        return self.op("Mul", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), S ** -0.5)

    def attention(self, v, w):
        q, k, value = self.qkv(v, w)
        p = self.softmax(self.mask(self.scores(q, k)))
        return self.merge(self.op("MatMul", p, value))

    def mlp(self, v, w):
        return self.linear(self.act(self.linear(v, w["up"], w["bup"])), w["down"], w["bdown"])

    def layer(self, v, w):
        v = self.add(v, self.linear(self.attention(self.norm(v, w["g1"], w["b1"]), w), w["wo"], w["bo"]))
        return self.add(v, self.mlp(self.norm(v, w["g2"], w["b2"]), w))

    def begin(self, v):
        return v

    def layers(self, v):
        for w in WEIGHTS:
            v = self.layer(v, w)
        return v

    def end(self, v):
        return v

    def first(self, v):
        return self.op("Gather", v, np.int64(0), axis=1)

    def build(self):
        self.graph.input("x", self.shape)
        v = self.end(self.layers(self.begin("x")))
        self.outputs(self.linear(self.first(self.norm(v, GAMMA, BETA)), HEAD, BIAS))
        return self.graph

    def outputs(self, v):
        self.give(v, "y", FLOAT)

    def give(self, v, name, dtype):
        self.graph.node("Identity", [v], name)
        self.graph.output(name, dtype)


STYLES = {}


def style(name, base=Style, **members):
    """`members`: methods and what else the style replaces."""
    STYLES[name] = type(name, (base,), members)
    return STYLES[name]


def reductions(op, kind, v):
    return op(kind, v, axes=[-1], keepdims=1)


# ---- norms ----

def written(variance, root, unit=lambda s, c, r: s.op("Div", c, r), affine=lambda s, n, g, b: s.op("Add", s.op("Mul", n, g), b)):
    def norm(s, v, gamma, beta):
        m = s.mean(v)
        c = s.op("Sub", v, m)
        return affine(s, unit(s, c, root(s, s.op("Add", variance(s, v, c, m), EPSILON))), s.weight(gamma), s.weight(beta))
    return norm


def by_pow(s, v, c, m):
    return s.mean(s.op("Pow", c, 2.0))


def square_root(s, v):
    return s.op("Sqrt", v)


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

# ---- scale, softmax, masks ----
style("scale_query", scores=lambda s, q, k: s.op("MatMul", s.op("Mul", q, S ** -0.5), s.op("Transpose", k, perm=[0, 1, 3, 2])))
style("scale_key", scores=lambda s, q, k: s.op("MatMul", q, s.op("Mul", s.op("Transpose", k, perm=[0, 1, 3, 2]), S ** -0.5)))
style("scale_both", scores=lambda s, q, k: s.op("MatMul", s.op("Mul", q, S ** -0.25), s.op("Mul", s.op("Transpose", k, perm=[0, 1, 3, 2]), S ** -0.25)))
style("scale_root", scores=lambda s, q, k: s.op("Div", s.op("MatMul", q, s.op("Transpose", k, perm=[0, 1, 3, 2])), s.op("Sqrt", s.op("Cast", s.op(
    "Gather", s.op("Shape", q), np.int64(3)), to=FLOAT))))
style("scale_fused", scores=lambda s, q, k: s.op("FusedMatMul", q, k, domain=MS, transB=1, alpha=S ** -0.5))


def softmax_of(axis, shifted=True, inverse=False):
    def softmax(s, v):
        e = s.op("Exp", s.op("Sub", v, s.op("ReduceMax", v, axes=[axis], keepdims=1)) if shifted else v)
        total = s.op("ReduceSum", e, s.ints(axis), keepdims=1)
        return s.op("Mul", e, s.op("Reciprocal", total)) if inverse else s.op("Div", e, total)
    return softmax


style("softmax_exp", softmax=softmax_of(-1))
style("softmax_exp_bare", softmax=softmax_of(-1, shifted=False))
style("softmax_exp_inverse", softmax=softmax_of(3, inverse=True))
style("softmax_log", softmax=lambda s, v: s.op("Exp", s.op("LogSoftmax", v, axis=-1)))
style("softmax_logsumexp", softmax=lambda s, v: s.op("Exp", s.op("Sub", v, s.op("ReduceLogSumExp", v, axes=[-1], keepdims=1))))
style("softmax_flat", opset=11, norm=STYLES["norm_pow"].norm, softmax=lambda s, v: s.op("Reshape", s.op("Softmax", s.op(
    "Reshape", v, s.ints(-1, T)), axis=1), s.ints(1, H, T, T)))
style("softmax_doubles", softmax=lambda s, v: s.op("Cast", s.op("Softmax", s.op("Cast", v, to=DOUBLE), axis=-1), to=FLOAT))
style("softmax_other_axis", softmax=lambda s, v: s.op("Transpose", s.op("Softmax", s.op("Transpose", v, perm=[0, 3, 1, 2]), axis=1), perm=[0, 2, 3, 1]))
style("softmax_keys_first", scores=lambda s, q, k: s.op("Mul", s.op("MatMul", k, s.op("Transpose", q, perm=[0, 1, 3, 2])), S ** -0.5), softmax=lambda s, v: s.op(
    "Transpose", s.op("Softmax", v, axis=2), perm=[0, 1, 3, 2]))
style("softmax_values_first", attention=lambda s, v, w: (lambda q, k, u: s.op("Reshape", s.op("Transpose", s.op("MatMul", s.op(
    "Transpose", u, perm=[0, 1, 3, 2]), s.op("Softmax", s.op("Mul", s.op("MatMul", k, s.op("Transpose", q, perm=[0, 1, 3, 2])), S ** -0.5), axis=-2)), perm=[0, 3, 1, 2]), s.ints(
    0, 0, D)))(*s.qkv(v, w)))
style("divided_after", attention=lambda s, v, w: (lambda q, k, u: (lambda e: s.merge(s.op("Div", s.op("MatMul", e, u), s.op(
    "ReduceSum", e, s.ints(-1), keepdims=1))))(s.op("Exp", s.scores(q, k))))(*s.qkv(v, w)))

MASKED = style("masked", masked=True, want=None)
style("mask_where", MASKED, want="masked", mask=lambda s, v: s.op("Where", MASK.astype(bool), v, -10000.0))
style("mask_where_not", MASKED, want="masked", mask=lambda s, v: s.op("Where", s.op("Equal", MASK[None, None, None], 0.0), -np.float32(np.inf), v))
style("mask_subtracted", MASKED, want="masked", mask=lambda s, v: s.op("Sub", v, s.op("Mul", s.op("Sub", 1.0, MASK[None, None, None]), 10000.0)))
style("mask_mixed", MASKED, want="masked", mask=lambda s, v: s.op("Sub", s.op("Mul", v, MASK), s.op("Mul", s.op("Sub", 1.0, MASK), 1e9)))
style("mask_infinite", MASKED, want="masked", mask=lambda s, v: s.op("Add", v, np.where(MASK > 0, 0, -np.inf).astype(np.float32)))
style("mask_full", MASKED, want="masked", mask=lambda s, v: s.op("Add", s.op("Expand", s.op("Mul", s.op("Cast", s.op("Not", MASK.astype(bool)[None, None, None]), to=FLOAT), -3.4e38), s.op(
    "Shape", v)), v))
style("mask_minimum", MASKED, want="masked", mask=lambda s, v: s.op("Min", v, np.where(MASK > 0, 1e30, -1e4).astype(np.float32)))
style("mask_scattered", MASKED, want="masked", mask=lambda s, v: s.op("ScatterElements", v, np.full((1, H, T, 1), T - 1, np.int64), np.full((1, H, T, 1), -10000, np.float32), axis=3))
style("mask_renormalised", MASKED, want="masked", mask=lambda s, v: v, softmax=lambda s, v: (lambda p: s.op("Div", p, s.op("ReduceSum", p, s.ints(-1), keepdims=1)))(
    s.op("Mul", s.op("Softmax", v, axis=-1), MASK)))

# ---- residual sums ----
style("sum_op", add=lambda s, a, b: s.op("Sum", b, a))
style("sum_negated", add=lambda s, a, b: s.op("Sub", a, s.op("Neg", b)))
style("sum_doubles", add=lambda s, a, b: s.op("Cast", s.op("Add", s.op("Cast", a, to=DOUBLE), s.op("Cast", b, to=DOUBLE)), to=FLOAT))
style("dropped_out", op=lambda s, kind, *inputs, **kw: Style.op(s, "Identity", Style.op(s, "Dropout", Style.op(s, kind, *inputs, **kw))) if kind in (
    "MatMul", "Softmax", "Add") else Style.op(s, kind, *inputs, **kw))


# ---- heads ----
def packed(w):
    return np.concatenate([w["w" + n] for n in "qkv"], 1), np.concatenate([w["b" + n] for n in "qkv"])


def thirds(take):
    def qkv(s, v, w):
        return [s.heads(t) for t in take(s, s.linear(v, *packed(w)))]
    return qkv


def ordered(axes, perm, at):
    """All three reshaped at once, then taken along axis `at`."""
    def qkv(s, v, w):
        weights, bias = packed(w)
        if axes.index(3) == 4:  # [heads, size, 3]
            weights, bias = (t.reshape(*t.shape[:-1], 3, D).swapaxes(-1, -2).reshape(t.shape) for t in (weights, bias))
        elif axes.index(3) == 3:  # [heads, 3, size]
            weights, bias = (t.reshape(*t.shape[:-1], 3, H, S).swapaxes(-2, -3).reshape(t.shape) for t in (weights, bias))
        t = s.op("Reshape", s.linear(v, weights, bias), s.ints(*axes))
        t = s.op("Transpose", t, perm=perm)
        return [s.op("Gather", t, np.int64(i), axis=at) for i in range(3)]
    return qkv


style("packed_split", qkv=thirds(lambda s, t: s.op("Split", t, s.ints(D, D, D), outs=3, axis=2)))
style("packed_split_old", opset=11, norm=STYLES["norm_pow"].norm, qkv=thirds(lambda s, t: s.op("Split", t, outs=3, axis=-1)))
style("packed_slice", qkv=thirds(lambda s, t: [s.op("Slice", t, s.ints(i * D), s.ints((i + 1) * D), s.ints(-1)) for i in range(3)]))
style("packed_gather", qkv=thirds(lambda s, t: [s.op("Gather", t, np.arange(i * D, i * D + D), axis=-1) for i in range(3)]))
style("packed_3hd", qkv=ordered([1, T, 3, H, S], [2, 0, 3, 1, 4], 0))
style("packed_3hd_in_place", qkv=ordered([1, T, 3, H, S], [0, 3, 2, 1, 4], 2))
style("packed_h3d", qkv=ordered([1, T, H, 3, S], [3, 0, 2, 1, 4], 0))
style("packed_hd3", qkv=ordered([1, T, H, S, 3], [4, 0, 2, 1, 3], 0))
style("packed_sequence", qkv=lambda s, v, w: (lambda q: [s.heads(s.op("SequenceAt", q, np.int64(i))) for i in (0, 1, -1)])(s.op(
    "SplitToSequence", s.linear(v, *packed(w)), np.int64(D), axis=2)))
style("heads_folded", heads=lambda s, v: s.op("Reshape", s.op("Transpose", s.op("Reshape", v, s.ints(1, T, H, S)), perm=[0, 2, 1, 3]), s.ints(-1, T, S)), scores=lambda s, q, k: s.op(
    "Mul", s.op("MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5), merge=lambda s, v: s.op("Reshape", s.op("Transpose", s.op("Reshape", v, s.ints(-1, H, T, S)), perm=[
    0, 2, 1, 3]), s.ints(1, T, D)))
style("heads_joined_in_batch", heads=lambda s, v: s.op("Concat", *s.op("Split", v, s.ints(S, S), outs=2, axis=2), axis=0), scores=lambda s, q, k: s.op("Mul", s.op(
    "MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5), merge=lambda s, v: s.op("Concat", *s.op("Split", v, s.ints(1, 1), outs=2, axis=0), axis=2))
style("heads_tokens_first", heads=lambda s, v: s.op("Transpose", s.op("Reshape", v, s.ints(T, H, S)), perm=[1, 0, 2]), scores=lambda s, q, k: s.op("Mul", s.op(
    "MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=[1, 0, 2]), s.ints(1, T, D)))
style("heads_last", heads=lambda s, v: s.op("Reshape", v, s.ints(1, T, H, S)), scores=lambda s, q, k: s.op("Mul", s.op("Einsum", q, k, equation="bqhd,bkhd->bhqk"), S ** -0.5),
      attention=lambda s, v, w: (lambda q, k, u: s.op("Reshape", s.op("Einsum", s.softmax(s.scores(q, k)), u, equation="bhqk,bkhd->bqhd"), s.ints(1, T, D)))(*s.qkv(v, w)))
style("heads_keys_first", heads=lambda s, v: s.op("Reshape", v, s.ints(1, T, H, S)), attention=lambda s, v, w: (lambda q, k, u: s.op("Reshape", s.op("Einsum", s.op("Softmax", s.op(
    "Mul", s.op("Einsum", k, q, equation="bkhd,bqhd->bkqh"), S ** -0.5), axis=1), u, equation="bkqh,bkhd->bqhd"), s.ints(1, T, D)))(*s.qkv(v, w)))


def one_by_one(s, v, w):
    """A head's part of each projection, all heads joined."""
    heads = []
    for h in range(H):
        part = slice(h * S, (h + 1) * S)
        q, k, u = (s.linear(v, w["w" + n][:, part], w["b" + n][part]) for n in "qkv")
        p = s.softmax(s.op("Mul", s.op("MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5))
        heads.append(s.op("MatMul", p, u))
    return s.op("Concat", *heads, axis=-1)


def per_head_projection(s, v, w):
    """Einsum with weights [features, heads, size], as flax has them; the output projection too."""
    q, k, u = (s.op("Add", s.op("Einsum", v, s.weight(w["w" + n].reshape(D, H, S)), equation="btd,dhs->bths"), s.weight(w["b" + n].reshape(H, S))) for n in "qkv")
    p = s.softmax(s.op("Einsum", s.op("Mul", q, S ** -0.5), k, equation="bqhs,bkhs->bhqk"))
    o = s.op("Einsum", p, u, equation="bhqk,bkhs->bqhs")
    return s.op("Add", s.op("Einsum", o, s.weight(w["wo"].reshape(H, S, D)), equation="bqhs,hsd->bqd"), s.weight(w["bo"]))


def without_output(attention):
    """`attention` with the output projection in it."""
    def layer(s, v, w):
        v = s.add(v, attention(s, s.norm(v, w["g1"], w["b1"]), w))
        return s.add(v, s.mlp(s.norm(v, w["g2"], w["b2"]), w))
    return layer


def head_loop(s, v, w):
    """A Loop over heads with the outputs as a scan output."""
    q, k, u = (s.op("Transpose", t, perm=[1, 0, 2, 3]) for t in s.qkv(v, w))

    def body(b):
        own = [b.op("Gather", t, "i", axis=0) for t in (q, k, u)]
        p = b.softmax(b.op("Mul", b.op("MatMul", own[0], b.op("Transpose", own[1], perm=[0, 2, 1])), S ** -0.5))
        return [(b.op("Identity", "going"), BOOL), (b.op("MatMul", p, own[2]), FLOAT)]
    o = s.op("Loop", np.int64(H), np.array(True), body=s.inner(body, [("i", INT64), ("going", BOOL)]))
    return s.op("Reshape", s.op("Transpose", o, perm=[1, 2, 0, 3]), s.ints(1, T, D))


style("heads_one_by_one", attention=one_by_one)
style("heads_flax", layer=without_output(per_head_projection))
style("heads_loop", attention=head_loop)
style("attention_op", opset=23, attention=lambda s, v, w: s.op("Attention", *(s.linear(v, w["w" + n], w["b" + n]) for n in "qkv"), q_num_heads=H, kv_num_heads=H))
style("attention_ms", attention=lambda s, v, w: s.op("MultiHeadAttention", *(s.linear(v, w["w" + n], w["b" + n]) for n in "qkv"), domain=MS, num_heads=H))

# ---- orders of axes ----
swap = [1, 0, 2]
style("tokens_first", begin=lambda s, v: s.op("Transpose", v, perm=swap), end=lambda s, v: s.op("Transpose", v, perm=swap), heads=lambda s, v: s.op("Transpose", s.op(
    "Reshape", v, s.ints(T, 1, H, S)), perm=[1, 2, 0, 3]), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=[2, 0, 1, 3]), s.ints(T, 1, D)))
style("tokens_first_torch", STYLES["tokens_first"], heads=lambda s, v: s.op("Transpose", s.op("Reshape", v, s.ints(T, H, S)), perm=swap), scores=lambda s, q, k: s.op("Mul", s.op(
    "MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=swap), s.ints(T, 1, D)))
style("tokens_alone", begin=lambda s, v: s.op("Squeeze", v, s.ints(0)), end=lambda s, v: s.op("Unsqueeze", v, s.ints(0)), heads=lambda s, v: s.op("Transpose", s.op(
    "Reshape", v, s.ints(T, H, S)), perm=swap), scores=lambda s, q, k: s.op("Mul", s.op("MatMul", q, s.op("Transpose", k, perm=[0, 2, 1])), S ** -0.5), merge=lambda s, v: s.op(
    "Reshape", s.op("Transpose", v, perm=swap), s.ints(T, D)))
style("tokens_flat", begin=lambda s, v: s.op("Reshape", v, s.ints(-1, D)), end=lambda s, v: s.op("Reshape", v, s.ints(1, -1, D)), heads=lambda s, v: s.op("Transpose", s.op(
    "Reshape", v, s.ints(1, T, H, S)), perm=[0, 2, 1, 3]), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=[0, 2, 1, 3]), s.ints(-1, D)))
style("tokens_4d", begin=lambda s, v: s.op("Unsqueeze", v, s.ints(1)), end=lambda s, v: s.op("Squeeze", v, s.ints(1)), heads=lambda s, v: s.op("Transpose", s.op(
    "Reshape", v, s.ints(1, T, H, S)), perm=[0, 2, 1, 3]), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=[0, 2, 1, 3]), s.ints(1, 1, T, D)))


def channels_norm(s, v, gamma, beta):
    m = s.op("ReduceMean", v, axes=[1], keepdims=1)
    c = s.op("Sub", v, m)
    root = s.op("Sqrt", s.op("Add", s.op("ReduceMean", s.op("Pow", c, 2.0), axes=[1], keepdims=1), EPSILON))
    return s.op("Add", s.op("Mul", s.op("Div", c, root), s.weight(gamma[:, None])), s.weight(beta[:, None]))


CHANNELS = style("channels_first", begin=lambda s, v: s.op("Transpose", v, perm=[0, 2, 1]), end=lambda s, v: v, norm=channels_norm, linear=lambda s, v, w, b: Style.linear(
    s, v, w, b) if w.shape[1] == CLASSES else s.op("Conv", v, s.weight(w.T[:, :, None]), s.weight(b)), heads=lambda s, v: s.op("Transpose", s.op("Reshape", v, s.ints(
    1, H, S, T)), perm=[0, 1, 3, 2]), merge=lambda s, v: s.op("Reshape", s.op("Transpose", v, perm=[0, 1, 3, 2]), s.ints(1, D, T)), first=lambda s, v: s.op("Gather", v, np.int64(0), axis=2))
style("channels_first_product", CHANNELS, heads=lambda s, v: s.op("Reshape", v, s.ints(1, H, S, T)), scores=lambda s, q, k: s.op("Mul", s.op("MatMul", s.op(
    "Transpose", q, perm=[0, 1, 3, 2]), k), S ** -0.5), attention=lambda s, v, w: (lambda q, k, u: s.op("Reshape", s.op("MatMul", u, s.op("Transpose", s.softmax(s.scores(
        q, k)), perm=[0, 1, 3, 2])), s.ints(1, D, T)))(*s.qkv(v, w)))
style("channels_first_left", CHANNELS, linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] == CLASSES else s.op("Add", s.op("MatMul", s.weight(
    w.T), v), s.weight(b[:, None])))


def on_channels(cut=lambda s, t: s.op("Split", t, s.ints(*[S] * H), outs=H, axis=1), linear=None, one=None, join=lambda s, parts: s.op("Concat", *parts, axis=1)):
    """Tokens [1, channels, 1, tokens] for Apple's Neural Engine: projections are 1x1 convolutions, whose channels are cut into heads."""
    def attention(s, v, w):
        q, k, u = (cut(s, s.linear(v, w["w" + n], w["b" + n])) for n in "qkv")
        return join(s, [one(s, *parts) for parts in zip(q, k, u)])
    conv = linear or (lambda s, v, w, b: s.op("Conv", v, s.weight(w.T[:, :, None, None]), s.weight(b)))
    return dict(begin=lambda s, v: s.op("Unsqueeze", s.op("Transpose", v, perm=[0, 2, 1]), s.ints(2)), end=lambda s, v: v, first=lambda s, v: s.op(
        "Gather", s.op("Squeeze", v, s.ints(2)), np.int64(0), axis=2), norm=lambda s, v, g, b: channels_norm(s, v, g[:, None], b[:, None]),
        linear=lambda s, v, w, b: Style.linear(s, v, w, b) if w.shape[1] == CLASSES else conv(s, v, w, b), attention=attention)


def by_einsum(s, q, k, u):
    """As ml-ane-transformers writes it: keys in the place of channels."""
    scores = s.op("Mul", s.op("Einsum", q, s.op("Transpose", k, perm=[0, 3, 2, 1]), equation="bchq,bkhc->bkhq"), S ** -0.5)
    return s.op("Einsum", s.op("Softmax", scores, axis=1), u, equation="bkhq,bchk->bchq")


def p_right(s, q, k, u):
    scores = s.op("MatMul", s.op("Transpose", k, perm=[0, 2, 3, 1]), s.op("Transpose", q, perm=[0, 2, 1, 3]))
    p = s.op("Softmax", s.op("Mul", scores, S ** -0.5), axis=2)
    return s.op("Transpose", s.op("MatMul", s.op("Transpose", u, perm=[0, 2, 1, 3]), p), perm=[0, 2, 1, 3])


def p_left(s, q, k, u):
    q, k, u = (s.op("Transpose", t, perm=[0, 2, 3, 1]) for t in (q, k, u))
    return s.op("Transpose", s.op("MatMul", s.softmax(s.op("Mul", s.op("MatMul", q, s.op("Transpose", k, perm=[0, 1, 3, 2])), S ** -0.5)), u), perm=[0, 3, 1, 2])


def p_reshaped(s, q, k, u):
    """Without the axis of one row, P transposed behind the softmax."""
    q, k, u = (s.op("Reshape", t, s.ints(S, T)) for t in (q, k, u))
    p = s.softmax(s.op("Mul", s.op("MatMul", s.op("Transpose", q, perm=[1, 0]), k), S ** -0.5))
    return s.op("Reshape", s.op("MatMul", u, s.op("Transpose", p, perm=[1, 0])), s.ints(1, S, 1, T))


def slices(s, t):
    return [s.op("Slice", t, s.ints(h * S), s.ints(h * S + S), s.ints(1)) for h in range(H)]


style("on_channels_einsum", **on_channels(one=by_einsum))
style("on_channels_right", **on_channels(one=p_right))
style("on_channels_left", **on_channels(one=p_left))
style("on_channels_reshaped", **on_channels(one=p_reshaped))
style("on_channels_sliced", **on_channels(slices, one=by_einsum))
style("on_channels_bias_apart", **on_channels(slices, lambda s, v, w, b: s.op("Add", s.op("Conv", v, s.weight(w.T[:, :, None, None])), s.weight(b[:, None, None])), p_right))
style("on_channels_product", **on_channels(slices, lambda s, v, w, b: s.op("Unsqueeze", s.op("Add", s.op("MatMul", s.weight(w.T), s.op("Squeeze", v, s.ints(2))), s.weight(
    b[:, None])), s.ints(2)), p_right))
style("on_channels_stacked", **on_channels(one=p_left, join=lambda s, parts: s.op("Reshape", s.op("Concat", *(s.op("Unsqueeze", t, s.ints(1)) for t in parts), axis=1), s.ints(
    1, D, 1, T))))


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


# ---- a layer that mixes its tokens without weights of one in another ----
class Delta(Style):
    """The first layer has a gated delta rule in place of an attention."""
    want, attentions = None, LAYERS - 1

    def attention(self, v, w):
        return self.rule(v, w) if w is WEIGHTS[0] else Style.attention(self, v, w)

    def gates(self, v, w):
        return [self.op("Neg", self.op("Sigmoid", self.op("MatMul", v, w["wo"][:, :H]))), self.op("Sigmoid", self.op("MatMul", v, w["wo"][:, H:2 * H]))]

    def rule(self, v, w):
        q, k, value = (self.linear(v, w["w" + n], w["b" + n]) for n in "qkv")
        decay, beta = self.gates(v, w)
        return self.op("LinearAttention", q, k, value, "", decay, beta, domain=MS, q_num_heads=H, kv_num_heads=H, outs=2)[0]


class DeltaUnrolled(Delta):
    """One token after the other."""
    want = "delta_rule"

    def rule(self, v, w):
        q, k, value = self.qkv(v, w)
        decay, beta = (self.op("Unsqueeze", self.op("Transpose", g, perm=[0, 2, 1]), self.ints(3)) for g in self.gates(v, w))
        state, rows = None, []
        for t in range(T):
            q_t, k_t, v_t, g_t, b_t = (self.op("Slice", a, self.ints(t), self.ints(t + 1), self.ints(2)) for a in (q, k, value, decay, beta))
            if state:
                state = self.op("Mul", state, self.op("Exp", g_t))
                v_t = self.op("Sub", v_t, self.op("MatMul", k_t, state))
            added = self.op("MatMul", self.op("Transpose", k_t, perm=[0, 1, 3, 2]), self.op("Mul", v_t, b_t))
            state = self.op("Add", state, added) if state else added
            rows.append(self.op("Mul", self.op("MatMul", q_t, state), S ** -0.5))
        return self.merge(self.op("Concat", *rows, axis=2))


STYLES.update(delta_rule=Delta, delta_rule_unrolled=DeltaUnrolled)


# ---- probabilities that multiply the halves of the values one by one (differential attention) ----
class Halves(Style):
    want, attentions = None, 2 * LAYERS

    def attention(self, v, w):
        q, k, value = self.qkv(v, w)
        p = self.softmax(self.mask(self.scores(q, k)))
        halves = self.op("Split", value, self.ints(S // 2, S // 2), axis=3, outs=2)
        return self.merge(self.halves(*[self.op("MatMul", p, half) for half in halves]))

    def halves(self, a, b):
        return self.op("Concat", a, b, axis=3)


class HalvesTurned(Halves):
    """Joined behind the transposition."""
    want = "halves"

    def merge(self, v):
        return self.op("Reshape", v, self.ints(0, 0, D))

    def halves(self, a, b):
        return self.op("Concat", *[self.op("Transpose", o, perm=[0, 2, 1, 3]) for o in (a, b)], axis=3)


STYLES.update(halves=Halves, halves_turned=HalvesTurned)


# ---- windows of tokens are no heads ----
class Windows(Style):
    """Pairs of tokens one after the other, stacked; the last token is its value."""
    want, attentions = None, T // 2 * LAYERS

    def attention(self, v, w):
        q, k, value = (self.linear(v, w["w" + n], w["b" + n]) for n in "qkv")
        pairs = []
        for i in range(0, T - 1, 2):
            own = [self.op("Slice", t, self.ints(i), self.ints(i + 2), self.ints(1)) for t in (q, k, value)]
            p = self.softmax(self.op("Mul", self.op("MatMul", own[0], self.op("Transpose", own[1], perm=[0, 2, 1])), S ** -0.5))
            pairs.append(self.op("Unsqueeze", self.op("MatMul", p, own[2]), self.ints(1)))
        last = self.op("Slice", value, self.ints(T - 1), self.ints(T), self.ints(1))
        return self.op("Concat", self.op("Reshape", self.op("Concat", *pairs, axis=1), self.ints(1, T - 1, D)), last, axis=1)


STYLES.update(windows=Windows)


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
def run(name, cls, *more):
    s = cls()
    model, out = os.path.join(folder, name + ".onnx"), os.path.join(folder, name)
    s.build().save(model, s.opset, s.ir)
    given = "x.npy" if len(s.shape) == 3 else "flat.npy"
    return out, subprocess.run([tool, model, f"x={folder}/{given}", "--target", "0,1", "--npy", out, *more], capture_output=True, text=True, timeout=60)


def explained(name, cls):
    out, r = run(name, cls)
    check(r.returncode == 0, name, r.stderr.strip())
    return {file: np.load(os.path.join(out, file)) for file in sorted(os.listdir(out))} if r.returncode == 0 else {}


def compare(name, got, want):
    if not got:
        return
    check(sorted(got) == sorted(want), name, sorted(got))
    for file in sorted(set(got) & set(want)):
        same = got[file].shape == want[file].shape and np.abs(got[file] - want[file]).max() <= 1e-5 * np.abs(want[file]).max()
        check(same, name, file, got[file].ravel()[:6], want[file].ravel()[:6])


if __name__ == "__main__":
    np.save(os.path.join(folder, "x.npy"), x)
    np.save(os.path.join(folder, "flat.npy"), x[0])
    plain = explained("usual", Style)
    found = {"usual": plain}
    for name, cls in STYLES.items():
        if cls.want and len(sys.argv) > 3 and name not in sys.argv[3:]:
            continue
        found[name] = explained(name, cls)
        check(len(found[name]) == 3 + cls.attentions, name, sorted(found[name]))
        if cls.want:
            compare(name, found[name], found[cls.want])
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
