#!/usr/bin/env python3
"""One transformer whose attention is written in the styles of many exporters, one explanation: scale, softmax and masks, packed and
folded heads, orders of axes, channels as tokens.

    cli_styles_attention.py TOOL [FOLDER [STYLE...]]     FOLDER: the models are kept there
"""
import numpy as np

from checks import close
from onnx_wire import FLOAT, INT64
from styles import BOOL, CLASSES, D, DOUBLE, EPSILON, H, LAYERS, MASK, MS, S, STYLES, T, WEIGHTS, Style, by_pow, check_styles, square_root, style, written

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
style("softmax_flat", opset=11, norm=written(by_pow, square_root), softmax=lambda s, v: s.op("Reshape", s.op("Softmax", s.op(
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
style("packed_split_old", opset=11, norm=written(by_pow, square_root), qkv=thirds(lambda s, t: s.op("Split", t, outs=3, axis=-1)))
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

if __name__ == "__main__":
    check_styles()
    close()
