#!/usr/bin/env python3
"""Writes tests/data/lower/*.onnx, the cases of test_lower.c (needs numpy, onnx and onnxruntime).

Each file is a one-operator model with its own test data: the graph outputs `feed.NAME` are the
inputs and `want.NAME` what onnxruntime computed for output NAME. With arguments: the later parts to write, by name.
"""
import math
import os
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "lower")
MS = "com.microsoft"
rng = np.random.default_rng(7)
count = 0


def f(*shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def u8(*shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def s8(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def i32(*values):
    return np.array(values, np.int32)


def i64(*values):
    return np.array(values, np.int64)


def f32(value):
    return np.float32(value)


TYPES = {np.dtype(k): v for k, v in [("float32", TensorProto.FLOAT), ("int64", TensorProto.INT64), ("int32", TensorProto.INT32),
                                     ("uint8", TensorProto.UINT8), ("int8", TensorProto.INT8), ("bool", TensorProto.BOOL)]}


def save(name, model, feeds, wanted=None, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """Computes what onnxruntime gives and puts inputs and results into the file. `wanted` overrides."""
    global count
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    outputs = [o.name for o in model.graph.output]
    if wanted is None:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        wanted = session.run(outputs, feeds)
    for kind, items in (("feed", feeds.items()), ("want", zip(outputs, wanted))):
        for key, array in items:
            array = np.asarray(array)
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            model.graph.initializer.append(numpy_helper.from_array(array, f"{kind}.{key}"))
            model.graph.output.append(helper.make_tensor_value_info(f"{kind}.{key}", TYPES[array.dtype], array.shape))
    with open(os.path.join(FOLDER, name + ".onnx"), "wb") as file:
        file.write(model.SerializeToString())
    count += 1


def case(name, op, inputs, outputs=1, domain="", opset=21, fixed=(), wanted=None, unread=(), **attributes):
    """One node. `inputs`: arrays, or None where left out; those whose index is in `fixed` become initializers.
    `wanted`: its results, where onnxruntime's CPU provider has no such kernel; `unread`: outputs that the graph does not have."""
    names, feeds, declared, initializers, nodes = [], {}, [], [], []
    for i, array in enumerate(inputs):
        if array is None:
            names.append("")
            continue
        array = np.asarray(array)
        key = f"x{i}"
        if i in fixed:
            initializers.append(numpy_helper.from_array(array, key))
        else:
            feeds[key] = array
            declared.append(helper.make_tensor_value_info(key, TYPES[array.dtype], array.shape))
        names.append(key)
    names_out = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    nodes.append(helper.make_node(op, names, names_out, name="node", domain=domain, **attributes))
    infos = [helper.make_empty_tensor_value_info(n) for n in names_out if n and n not in unread]
    graph = helper.make_graph(nodes, name, declared, infos, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    save(name, helper.make_model(graph, opset_imports=imports, ir_version=10), feeds, wanted)


def chain(name, nodes, inputs, outputs, fixed=None, opset=21, wanted=None, imports=(), level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """Several nodes: (op, inputs, outputs, domain, attributes)."""
    made = [helper.make_node(op, i, o, domain=d, **a) for op, i, o, d, a in nodes]
    declared = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in inputs.items()]
    init = [numpy_helper.from_array(np.asarray(v), k) for k, v in (fixed or {}).items()]
    graph = helper.make_graph(made, name, declared, [helper.make_empty_tensor_value_info(o) for o in outputs], init)
    ids = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1), *[helper.make_opsetid(k, 1) for k in imports]]
    save(name, helper.make_model(graph, opset_imports=ids, ir_version=10), inputs, wanted, level)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q, k, v):
    """Plain attention of [batch, tokens, heads, size]."""
    q, k, v = (t.transpose(0, 2, 1, 3).astype(np.float64) for t in (q, k, v))
    y = softmax(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])) @ v
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1).astype(np.float32)


def t5_buckets(length, buckets, farthest, both):
    """T5's bucket of every distance key - query."""
    n = np.arange(length)[:, None] - np.arange(length)[None]
    base = np.zeros_like(n)
    if both:
        buckets //= 2
        base = (n < 0) * buckets
        n = np.abs(n)
    n = np.maximum(n, 0)
    exact = buckets // 2
    far = np.log(np.maximum(n, 1) / exact) / np.log(farthest / exact) * (buckets - exact)
    return base + np.where(n < exact, n, np.minimum(exact + far.astype(int), buckets - 1))


def older_forms():
    x = f(2, 3, 4)
    case("softmax_11_axis1", "Softmax", [x], opset=11)
    case("softmax_11_axis2", "Softmax", [x], opset=11, axis=2)
    case("softmax_11_one", "Softmax", [f(2, 5, 1)], opset=11, axis=1)
    case("logsoftmax_9", "LogSoftmax", [x], opset=9, axis=-2)
    case("hardmax_11", "Hardmax", [x], opset=11)
    case("squeeze_11", "Squeeze", [f(2, 1, 3, 1)], opset=11, axes=[1, -1])
    case("unsqueeze_11", "Unsqueeze", [x], opset=11, axes=[0, 3])
    case("split_11", "Split", [f(2, 7)], 2, opset=11, axis=1, split=[3, 4])
    case("split_11_equal", "Split", [f(2, 6)], 3, opset=11, axis=1)
    case("split_13_equal", "Split", [f(2, 6)], 2, opset=13, axis=-1)
    case("split_18_uneven", "Split", [f(2, 7)], 3, opset=18, axis=1, num_outputs=3)
    case("slice_9", "Slice", [x], opset=9, starts=[0, 1], ends=[2, 100], axes=[0, 2])
    case("slice_9_no_axes", "Slice", [x], opset=9, starts=[0, 1], ends=[2, -1])
    case("clip_6", "Clip", [x], opset=10, min=-0.5, max=0.25)
    case("clip_6_max", "Clip", [x], opset=10, max=0.25)
    case("pad_10", "Pad", [x], opset=10, pads=[0, 1, 0, 1, 0, 2], value=1.5)
    case("pad_10_reflect", "Pad", [x], opset=10, pads=[0, 1, 0, 0, 0, 2], mode="reflect")
    case("topk_9", "TopK", [x], 2, opset=9, k=2, axis=1)
    case("topk_10", "TopK", [x, i64(2)], 2, opset=10, fixed=(1,), axis=-1)
    case("reduce_mean_13", "ReduceMean", [x], opset=13, axes=[1], keepdims=0)
    case("reduce_sum_11", "ReduceSum", [x], opset=11, axes=[-1])
    case("reduce_l2_11", "ReduceL2", [x], opset=11, axes=[-1], keepdims=1)
    case("reduce_max_all", "ReduceMax", [x], opset=12, keepdims=0)
    case("dropout_7", "Dropout", [x], opset=10, ratio=0.3)
    case("dropout_12_mask", "Dropout", [x], 2, opset=12)
    case("dropout_13_off", "Dropout", [x, f32(0.3), np.array(False)], opset=13, fixed=(1, 2))
    case("upsample_9_nearest", "Upsample", [f(1, 2, 3, 3), np.array([1, 1, 2, 2], np.float32)], opset=9, fixed=(1,))
    case("upsample_7_linear", "Upsample", [f(1, 2, 3, 4)], opset=7, mode="linear", scales=[1.0, 1.0, 2.0, 2.0])
    case("resize_10_nearest", "Resize", [f(1, 2, 4, 4), np.array([1, 1, 0.5, 2], np.float32)], opset=10, fixed=(1,))
    case("resize_10_linear", "Resize", [f(1, 2, 4, 4), np.array([1, 1, 2, 1.5], np.float32)], opset=10, fixed=(1,), mode="linear")
    case("batch_norm_8", "BatchNormalization", [x, f(3), f(3), f(3), np.abs(f(3))], opset=8, fixed=(1, 2, 3, 4))
    case("cast_like", "CastLike", [f(2, 3), i64(1)], opset=15)
    case("constant_of_shape", "ConstantOfShape", [i64(2, 3)], opset=9,
         value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))
    case("scatter_10", "Scatter", [f(3, 3), np.array([[0, 1, 2]], np.int64), f(1, 3)], opset=10)
    case("flatten_9", "Flatten", [x], opset=9, axis=2)
    case("group_norm_18", "GroupNormalization", [f(2, 4, 3), f(2), f(2)], opset=20, fixed=(1, 2), num_groups=2)


def versions():
    """Forms of single versions that the parts above do not have."""
    image = f(1, 2, 4, 6)
    shrink, both, grow = (np.array([1, 1, *s], np.float32) for s in ((0.5, 0.6), (0.6, 1.5), (1.5, 1.3)))
    half = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}
    pixel = {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    case("resize_10_shrink", "Resize", [image, shrink], opset=10, fixed=(1,))
    case("resize_10_shrink_grow", "Resize", [image, both], opset=10, fixed=(1,))
    case("resize_11_floor", "Resize", [image, np.zeros(0, np.float32), shrink], opset=11, fixed=(1, 2), **half)
    case("resize_11_tf", "Resize", [image, np.zeros(0, np.float32), grow], opset=11, fixed=(1, 2), mode="linear", **pixel)
    case("resize_11_tf_up", "Resize", [image, np.zeros(0, np.float32), grow], opset=11, fixed=(1, 2), nearest_mode="ceil", **pixel)
    case("resize_19_floor", "Resize", [image, None, shrink], opset=19, fixed=(2,), **half)
    whole = [f(3, 4), f(3, 4), f(3, 4), np.abs(f(3, 4))]
    case("batch_norm_7_spatial_0", "BatchNormalization", [f(2, 3, 4), *whole], opset=7, fixed=(1, 2, 3, 4), spatial=0, epsilon=1e-3)
    x = f(2, 3, 4)
    for op in ("Softmax", "LogSoftmax", "Hardmax"):  # the last version with the old meaning, the first with the new
        case(f"{op.lower()}_12", op, [x], opset=12)
        case(f"{op.lower()}_13", op, [x], opset=13)
    case("softmax_12_axis0", "Softmax", [x], opset=12, axis=0)
    case("dft_19", "DFT", [f(1, 6, 3, 1)], opset=19)
    case("dft_20", "DFT", [f(1, 6, 3, 1)], opset=20)
    case("group_norm_21", "GroupNormalization", [f(2, 4, 3), f(4), f(4)], opset=21, fixed=(1, 2), num_groups=2)
    case("reduce_sum_12", "ReduceSum", [x], opset=12, axes=[0, 2], keepdims=0)
    case("reduce_sum_13_noop", "ReduceSum", [x, i64()], opset=13, fixed=(1,), noop_with_empty_axes=1)
    case("reduce_max_17", "ReduceMax", [x], opset=17, axes=[-1])
    case("squeeze_12_all", "Squeeze", [f(2, 1, 3, 1)], opset=12)
    own = np.sin(np.arange(30, dtype=np.float32)).reshape(1, 3, 10)  # weights that are standardised: statistics of the batch at hand
    mean, var = own.mean(2)[0], own.var(2)[0]
    want = [(own - mean[:, None]) / np.sqrt(var[:, None] + 1e-3) * var[:, None] + mean[:, None]]
    case("batch_norm_training", "BatchNormalization", [own, var, mean, mean, var], opset=15, fixed=(1, 2, 3, 4), wanted=want, training_mode=1, epsilon=1e-3)
    case("top_k_11_least", "TopK", [x, i64(2)], 2, opset=11, fixed=(1,), axis=1, largest=0)


def small():
    x = f(2, 3, 4)
    case("affine", "Affine", [x], alpha=2.0, beta=0.5, wanted=[2 * x + np.float32(0.5)])
    case("bit_cast", "BitCast", [np.array([1, -2, 3], np.int32)], opset=26, to=TensorProto.FLOAT,
         wanted=[np.array([1, -2, 3], np.int32).view(np.float32)])
    gate = f(2, 3, 4)
    case("swiglu", "SwiGLU", [x, gate], opset=21, alpha=1.5, wanted=[x / (1 + np.exp(-1.5 * x)) * gate])
    bias, skip = f(4), f(2, 3, 4)
    case("bias_add", "BiasAdd", [x, bias, skip], domain=MS, wanted=[x + bias + skip])
    erf = np.vectorize(math.erf, otypes=[np.float32])
    left, right = (x + bias)[..., :2], (x + bias)[..., 2:]
    case("bias_split_gelu", "BiasSplitGelu", [x, bias], domain=MS, wanted=[left * right * (1 + erf(right / np.sqrt(2))) / 2])
    w, b = f(4, 5), f(5)
    y = x @ w + b
    case("gemm_fast_gelu", "GemmFastGelu", [x, w, b], domain=MS, wanted=[y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))) / 2])
    image, scale, shift = f(1, 3, 3, 4), f(4), f(4)
    groups = image.reshape(1, 9, 2, 2)
    normal = (groups - groups.mean((1, 3), keepdims=True)) / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)
    y = normal.reshape(image.shape) * scale + shift
    case("group_norm", "GroupNorm", [image, scale, shift], domain=MS, activation=1, groups=2, epsilon=1e-5, wanted=[y / (1 + np.exp(-y))])
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    case("layer_norm", "LayerNormalization", [x, scale, shift], domain=MS, axis=-1, epsilon=1e-5, wanted=[normal * scale + shift])
    filters = f(2, 2, 2, 4)
    y = sum(image[:, i:i + 2, j:j + 2] @ filters[:, i, j].T for i in range(2) for j in range(2))
    case("nhwc_conv", "NhwcConv", [image, filters], domain=MS, wanted=[y])
    case("nhwc_fused_conv", "NhwcFusedConv", [image, filters], domain=MS, activation="Relu", wanted=[np.maximum(y, 0)])
    case("ms_range", "Range", [i64(2), i64(7)], domain=MS, fixed=(0, 1), wanted=[np.arange(2, 7)])
    case("ms_gather_nd", "GatherND", [x, i64(1, 2)], domain=MS, fixed=(1,), wanted=[x[1, 2]])
    case("ms_pad", "Pad", [x, i64(0, 1, 0, 1, 0, 2)], domain=MS, fixed=(1,))
    case("ms_trilu", "Trilu", [x], domain=MS, upper=0)
    chain("ms_quantize", [("QuantizeLinear", ["x", "s", "z"], ["q"], MS, {}), ("DequantizeLinear", ["q", "s", "z"], ["y"], MS, {})],
          {"x": x}, ["y"], {"s": f32(0.04), "z": np.uint8(100)})


def einsums():
    def e(name, equation, *shapes):
        case("einsum_" + name, "Einsum", [f(*s) for s in shapes], opset=12, equation=equation)

    e("matmul", "ij,jk->ik", (2, 3), (3, 4))
    e("linear", "abc,cd->abd", (2, 3, 4), (4, 5))
    e("linear_heads", "abc,cde->abde", (2, 3, 4), (4, 2, 5))
    e("merge_heads", "abcd,cde->abe", (2, 3, 2, 4), (2, 4, 5))
    e("scores", "bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4))
    e("scores_swapped", "aecd,abcd->acbe", (2, 5, 2, 4), (2, 3, 2, 4))
    e("values", "acbe,aecd->abcd", (2, 2, 3, 5), (2, 5, 2, 4))
    e("scores_tokens_first", "ibnd,jbnd->bnij", (3, 2, 2, 4), (5, 2, 2, 4))
    e("ellipsis", "...ij,...jk->...ik", (2, 3, 4, 5), (2, 3, 5, 2))
    e("ellipsis_uneven", "...ij,jk->...ik", (2, 3, 4, 5), (5, 2))
    e("transpose", "abc->cab", (2, 3, 4))
    e("sum", "abc->b", (2, 3, 4))
    e("trace_rows", "bii->bi", (2, 3, 3))
    e("outer", "i,j->ij", (3,), (4,))
    e("dot", "i,i->", (4,), (4,))
    e("hadamard", "ij,ij->ij", (2, 3), (2, 3))
    e("row_sum", "ij,ij->i", (2, 3), (2, 3))
    e("three", "ab,bc,cd->ad", (2, 3), (3, 4), (4, 2))
    e("implicit", "ij,jk", (2, 3), (3, 4))
    e("outer_batch", "bi,bj->bij", (2, 3), (2, 4))
    e("rows_vector", "bhwc,hkc->bhwk", (2, 3, 4, 5), (3, 6, 5))


def fused():
    x = f(2, 3, 8)
    w, b = f(8, 6), f(6)
    case("bias_gelu", "BiasGelu", [x, f(8)], domain=MS)
    case("gelu", "Gelu", [x], domain=MS)
    case("fast_gelu", "FastGelu", [x, f(8)], domain=MS)
    case("fast_gelu_no_bias", "FastGelu", [x], domain=MS)
    case("quick_gelu", "QuickGelu", [x], domain=MS, alpha=1.702)
    scores, bias = f(2, 2, 3, 4), f(2, 1, 1, 4)
    case("bias_softmax", "BiasSoftmax", [scores, bias], domain=MS, axis=3, is_inner_broadcast=0, wanted=[softmax(scores + bias)])
    case("fused_matmul", "FusedMatMul", [x, w], domain=MS, alpha=0.5)
    case("fused_matmul_transposed", "FusedMatMul", [f(2, 8, 3), f(6, 8)], domain=MS, transA=1, transB=1)
    case("fused_matmul_batch_a", "FusedMatMul", [f(3, 2, 8), f(2, 8, 6)], domain=MS, transBatchA=1)
    case("fused_matmul_batch_b", "FusedMatMul", [f(2, 3, 8), f(8, 2, 6)], domain=MS, transBatchB=1)
    case("fused_matmul_batch_b_t", "FusedMatMul", [f(2, 3, 8), f(6, 2, 8)], domain=MS, transBatchB=1, transB=1)
    case("transpose_matmul", "TransposeMatMul", [f(8, 3), f(8, 6)], domain=MS, transA=1, alpha=2.0)
    for activation, more in (("Relu", {}), ("Tanh", {}), ("LeakyRelu", {"activation_alpha": 0.2}), ("Sigmoid", {})):
        case("fused_gemm_" + activation.lower(), "FusedGemm", [f(3, 8), f(6, 8), f(6)], domain=MS, transB=1, activation=activation, **more)
    case("fused_conv", "FusedConv", [f(1, 3, 6, 6), f(4, 3, 2, 2), f(4)], domain=MS, activation="Relu", strides=[2, 2])
    case("fused_conv_sum", "FusedConv", [f(1, 3, 4, 4), f(4, 3, 2, 2), f(4), f(1, 4, 3, 3)], domain=MS, activation="Relu")
    case("fused_conv_clip", "FusedConv", [f(1, 3, 4, 4), f(4, 3, 2, 2), f(4)], domain=MS, activation="Clip", activation_params=[-0.5, 0.5])
    for name, tail in (("", []), ("_bias", [f(8)])):
        case("skip_layer_norm" + name, "SkipLayerNormalization", [x, f(2, 3, 8), f(8), f(8)] + tail, ["y", "", "", "sum"], domain=MS, epsilon=1e-5)
        case("skip_rms_norm" + name, "SkipSimplifiedLayerNormalization", [x, f(2, 3, 8), f(8)] + tail, ["y", "", "", "sum"], domain=MS, epsilon=1e-5)
    case("skip_layer_norm_no_beta", "SkipLayerNormalization", [x, f(2, 3, 8), f(8)], domain=MS)
    case("skip_layer_norm_broadcast", "SkipLayerNormalization", [x, f(1, 3, 8), f(8), f(8)], domain=MS)
    case("simplified_layer_norm", "SimplifiedLayerNormalization", [x, f(8)], axis=-1, epsilon=1e-6)
    ids, seg = np.array([[3, 1, 4, 1], [5, 2, 0, 0]], np.int32), np.array([[0, 0, 1, 1], [1, 0, 0, 0]], np.int32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32)
    tables = [f(7, 8), f(5, 8), f(2, 8), f(8), f(8)]
    case("embed_layer_norm", "EmbedLayerNormalization", [ids, seg, *tables, mask], ["y", "m", "s"], domain=MS, fixed=(2, 3, 4, 5, 6))
    case("embed_layer_norm_positions", "EmbedLayerNormalization", [ids, None, tables[0], tables[1], None, tables[3], tables[4], None,
                                                                   np.array([[3, 2, 1, 0], [0, 1, 1, 2]], np.int32)],
         ["y", "m"], domain=MS, fixed=(2, 3, 5, 6), epsilon=1e-5)


def attentions():
    batch, tokens, heads, size = 2, 5, 2, 4
    hidden = heads * size
    x, w, b = f(batch, tokens, 6), f(6, 3 * hidden, scale=0.5), f(3 * hidden)
    lengths, both = i32(3, 5), i32(3, 5, 1, 0)
    raw2 = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    raw3 = (rng.random((batch, tokens, tokens)) < 0.7).astype(np.int32) | np.eye(tokens, dtype=np.int32)[None]

    def a(name, *more, outputs=1, **attributes):
        inputs = [x, w, b, *more]
        case("attention_" + name, "Attention", inputs, outputs, domain=MS, fixed=(1, 2), num_heads=heads, **attributes)

    a("plain")
    a("no_bias_scale", scale=0.3)
    a("causal", unidirectional=1)
    a("lengths", lengths)
    a("start_end", both)
    a("mask2", raw2)
    a("mask2_causal", raw2, unidirectional=1)
    a("mask2_filter", raw2, mask_filter_value=-3.0)
    a("mask3", raw3)
    a("bias", None, None, f(1, heads, tokens, tokens))
    a("mask_bias", raw2, None, f(batch, heads, tokens, tokens))
    a("past", None, f(2, batch, heads, 3, size), outputs=2, unidirectional=1)
    case("attention_sizes", "Attention", [x, f(6, 8 + 8 + 12), f(28)], domain=MS, fixed=(1, 2), num_heads=heads, qkv_hidden_sizes=[8, 8, 12])

    q, k, v = f(batch, tokens, hidden), f(batch, 6, hidden), f(batch, 6, hidden)
    bias = f(3 * hidden)

    def m(name, inputs, outputs=1, **attributes):
        case("mha_" + name, "MultiHeadAttention", inputs, outputs, domain=MS, num_heads=heads, **attributes)

    m("plain", [q, k, v])
    m("bias", [q, k, v, bias])
    m("values", [q, k, f(batch, 6, 2 * 3), None], scale=0.7)
    m("padding_lengths", [q, k, v, bias, i32(4, 6)])
    m("padding2", [q, k, v, bias, np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32)])
    m("attention_bias", [q, k, v, None, None, f(1, heads, tokens, 6)])
    m("attention_bias_one_head", [q, k, v, None, None, f(batch, 1, tokens, 6)])
    kv, qkv = f(batch, 6, heads, 2, size), f(batch, tokens, heads, 3, size)
    m("packed_kv", [q, kv], wanted=[attend(q.reshape(batch, tokens, heads, size), kv[:, :, :, 0], kv[:, :, :, 1])])
    m("packed_qkv", [qkv], wanted=[attend(qkv[:, :, :, 0], qkv[:, :, :, 1], qkv[:, :, :, 2])])
    m("heads_kv", [q, f(batch, heads, 6, size), f(batch, heads, 6, size)])
    m("past", [q, f(batch, tokens, hidden), f(batch, tokens, hidden), None, None, None, f(batch, heads, 3, size), f(batch, heads, 3, size)], 3)
    m("causal", [q, f(batch, tokens, hidden), f(batch, tokens, hidden)], unidirectional=1)

    def g(name, inputs, kv_heads, outputs=1, fixed=(), **attributes):
        case("gqa_" + name, "GroupQueryAttention", inputs, outputs, domain=MS, num_heads=4, kv_num_heads=kv_heads, fixed=fixed, **attributes)

    q4, k2, v2 = f(batch, tokens, 32), f(batch, tokens, 16), f(batch, tokens, 16)
    full, total = i32(tokens - 1, tokens - 1), i32(tokens)
    g("plain", [q4, k2, v2, None, None, full, total], 2)
    g("packed", [f(batch, tokens, 64), None, None, None, None, full, total], 2)
    cos, sin = np.cos(f(16, 8)), np.sin(f(16, 8))
    q16, k16, v16 = f(batch, tokens, 64), f(batch, tokens, 32), f(batch, tokens, 32)
    g("rotary", [q16, k16, v16, None, None, full, total, cos, sin], 2, 3, fixed=(7, 8), do_rotary=1)
    g("rotary_interleaved", [q16, k16, v16, None, None, full, total, cos, sin], 2, fixed=(7, 8), do_rotary=1, rotary_interleaved=1)
    g("window", [q4, k2, v2, None, None, full, total], 2, local_window_size=2)
    g("softcap", [q4, k2, v2, None, None, full, total], 2, softcap=2.0, scale=0.9)
    g("past", [f(1, 1, 32), f(1, 1, 16), f(1, 1, 16), f(1, 2, 3, 8), f(1, 2, 3, 8), i32(3), i32(4)], 2, 3)
    g("past_rotary", [f(1, 1, 64), f(1, 1, 32), f(1, 1, 32), f(1, 2, 3, 16), f(1, 2, 3, 16), i32(3), i32(4), cos, sin], 2, 3, fixed=(7, 8), do_rotary=1)

    q, k, v = f(2, 4, 3, 8), f(2, 2, 5, 8), f(2, 2, 5, 6)
    case("onnx_attention", "Attention", [q, k, v], opset=23, scale=0.4, softcap=3.0)
    case("onnx_attention_mask", "Attention", [q, k, v, rng.random((3, 5)) < 0.7], opset=23)
    case("onnx_attention_float_mask", "Attention", [q, k, v, f(2, 1, 3, 5)], opset=23)
    case("onnx_attention_3d", "Attention", [f(2, 3, 16), f(2, 3, 8), f(2, 3, 8)], opset=23, q_num_heads=4, kv_num_heads=2, is_causal=1)
    case("onnx_attention_past", "Attention", [q, f(2, 2, 3, 8), f(2, 2, 3, 6), None, f(2, 2, 4, 8), f(2, 2, 4, 6)], 3, opset=23)
    case("onnx_rotary", "RotaryEmbedding", [f(2, 3, 5, 8), np.cos(f(9, 4)), np.sin(f(9, 4)), np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], np.int64)],
         opset=23, fixed=(1, 2))
    for both in (0, 1):
        table = f(8, 2)
        case(f"relative_position_bias_{both}", "RelativePositionBias", [table, i64(12), i64(12)], domain=MS, fixed=(1, 2), max_distance=10,
             is_bidirectional=both, wanted=[table[t5_buckets(12, 8, 10, both)].transpose(2, 0, 1)[None]])

    for name, at in (("first", i64(2)), ("rows", np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], np.int64))):
        for pairs in (0, 1):
            case(f"rotary_{name}_{pairs}", "RotaryEmbedding", [f(2, 5, 24), at, np.cos(f(9, 4)), np.sin(f(9, 4))], domain=MS, fixed=(2, 3), interleaved=pairs)
    case("rotary_part", "RotaryEmbedding", [f(2, 5, 24), i64(0), np.cos(f(9, 2)), np.sin(f(9, 2))], domain=MS, fixed=(2, 3), num_heads=3, rotary_embedding_dim=4)
    case("rotary_heads", "RotaryEmbedding", [f(2, 3, 5, 8), i64(1), np.cos(f(9, 4)), np.sin(f(9, 4))], domain=MS, fixed=(2, 3))


def quantised():
    a, bm, zero = u8(2, 3, 8), s8(8, 6), np.uint8(120)
    x = f(2, 3, 8)
    scale_b, columns = f32(0.02), np.abs(f(6)) * np.float32(0.02)

    def q(name, nodes, inputs, outputs, fixed):
        chain(name, nodes, inputs, outputs, fixed)

    quantise = ("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "", {})
    base = {"xs": f32(0.03), "xz": zero, "w": bm, "ws": scale_b, "wz": np.int8(3)}
    more = {"ys": f32(0.05), "yz": np.uint8(118)}
    dequantise = ("DequantizeLinear", ["yq", "ys", "yz"], ["y"], "", {})

    q("matmul_integer", [("DynamicQuantizeLinear", ["x"], ["xq", "s", "z"], "", {}), ("MatMulInteger", ["xq", "w", "z", "wz"], ["i"], "", {}),
                         ("Cast", ["i"], ["y"], "", {"to": 1})], {"x": x}, ["y"], {"w": bm, "wz": np.int8(3)})
    q("matmul_integer_columns", [("DynamicQuantizeLinear", ["x"], ["xq", "s", "z"], "", {}), ("MatMulInteger", ["xq", "w", "z", "wz"], ["i"], "", {}),
                                 ("Cast", ["i"], ["y"], "", {"to": 1})], {"x": x}, ["y"], {"w": u8(8, 6), "wz": u8(6)})
    q("qlinear_matmul", [quantise, ("QLinearMatMul", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["yq"], "", {}), dequantise],
      {"x": x}, ["y"], {**base, **more})
    q("qlinear_matmul_columns", [quantise, ("QLinearMatMul", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["yq"], "", {}), dequantise],
      {"x": x}, ["y"], {**base, **more, "ws": columns, "wz": np.zeros(6, np.int8)})
    q("dynamic_quantize_matmul", [("DynamicQuantizeMatMul", ["x", "w", "ws", "wz", "b"], ["y"], MS, {})], {"x": x}, ["y"],
      {"w": bm, "ws": columns, "wz": np.zeros(6, np.int8), "b": f(6)})
    q("matmul_integer_to_float", [quantise, ("MatMulIntegerToFloat", ["xq", "w", "xs", "ws", "xz", "wz", "b"], ["y"], MS, {})],
      {"x": x}, ["y"], {**base, "b": f(6)})
    q("qgemm", [("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "", {}),
                ("QGemm", ["xq", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], ["yq"], MS, {"transB": 1}), dequantise],
      {"x": f(3, 8)}, ["y"], {**base, **more, "w": s8(6, 8), "b": rng.integers(-900, 900, 6).astype(np.int32)})
    q("qgemm_float", [("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "", {}), ("QGemm", ["xq", "xs", "xz", "w", "ws", "wz"], ["y"], MS, {})],
      {"x": f(3, 8)}, ["y"], base)
    image = f(1, 3, 6, 6)
    q("conv_integer", [("DynamicQuantizeLinear", ["x"], ["xq", "s", "z"], "", {}), ("ConvInteger", ["xq", "w", "z", "wz"], ["i"], "", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
                       ("Cast", ["i"], ["y"], "", {"to": 1})], {"x": image}, ["y"], {"w": u8(4, 3, 2, 2), "wz": np.uint8(127)})
    q("qlinear_conv", [quantise, ("QLinearConv", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["yq"], "", {"strides": [2, 2]}), dequantise],
      {"x": image}, ["y"], {**base, **more, "w": s8(4, 3, 2, 2), "ws": np.abs(f(4)) * np.float32(0.01), "wz": np.zeros(4, np.int8),
                            "b": rng.integers(-900, 900, 4).astype(np.int32)})
    two = [("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "", {}), ("QuantizeLinear", ["b", "bs", "bz"], ["bq"], "", {})]
    params = {"xs": f32(0.03), "xz": zero, "bs": f32(0.02), "bz": np.uint8(130), **more}
    for op in ("QLinearAdd", "QLinearMul"):
        q(op.lower(), two + [(op, ["xq", "xs", "xz", "bq", "bs", "bz", "ys", "yz"], ["yq"], MS, {}), dequantise],
          {"x": x, "b": f(1, 1, 8)}, ["y"], params)
    q("qlinearconcat", two + [("QLinearConcat", ["ys", "yz", "xq", "xs", "xz", "bq", "bs", "bz"], ["yq"], MS, {"axis": 2}), dequantise],
      {"x": x, "b": f(2, 3, 2)}, ["y"], params)
    one = {"xs": f32(0.03), "xz": zero, "ys": f32(1 / 256), "yz": np.uint8(0)}
    q("qlinearsigmoid", [quantise, ("QLinearSigmoid", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {}), dequantise], {"x": x}, ["y"], one)
    q("qlinearsoftmax", [quantise, ("QLinearSoftmax", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {"axis": -1, "opset": 13}), dequantise],
      {"x": x}, ["y"], one)
    q("qlinearleakyrelu", [quantise, ("QLinearLeakyRelu", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {"alpha": 0.1}), dequantise],
      {"x": x}, ["y"], {**one, **more})
    q("qlinearglobalaveragepool", [quantise, ("QLinearGlobalAveragePool", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {}), dequantise],
      {"x": image}, ["y"], {**one, **more})
    q("qlinearaveragepool", [quantise, ("QLinearAveragePool", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {"kernel_shape": [2, 2], "strides": [2, 2]}), dequantise],
      {"x": image}, ["y"], {**one, **more})
    q("qlinearwhere", two + [("QLinearWhere", ["c", "xq", "xs", "xz", "bq", "bs", "bz", "ys", "yz"], ["yq"], MS, {}), dequantise],
      {"x": x, "b": f(1, 1, 8)}, ["y"], {**params, "c": rng.random((3, 1)) < 0.5})
    xq = np.clip(np.rint(x / np.float32(0.03)) + 120, 0, 255)
    mean = ((xq - 120) * np.float32(0.03)).mean(-1, keepdims=True)
    chain("qlinearreducemean", [quantise, ("QLinearReduceMean", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {"axes": [-1]}), dequantise],
          {"x": x}, ["y"], {**one, **more}, wanted=[((np.clip(np.rint(mean / 0.05) + 118, 0, 255) - 118) * 0.05).astype(np.float32)])
    ids, seg = np.array([[3, 1, 4, 1], [5, 2, 0, 0]], np.int32), np.array([[0, 0, 1, 1], [1, 0, 0, 0]], np.int32)
    tables = [u8(7, 8), u8(5, 8), u8(2, 8), u8(8), u8(8)]
    case("qembed_layer_norm", "QEmbedLayerNormalization", [ids, seg, *tables, np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32), *[f32(0.02)] * 5, *[np.uint8(120)] * 5],
         2, domain=MS, fixed=range(2, 18), epsilon=1e-5)
    q("qattention", [quantise, ("QAttention", ["xq", "w", "b", "xs", "ws", "m", "xz", "wz"], ["y"], MS, {"num_heads": 2})],
      {"x": f(2, 4, 8)}, ["y"], {**base, "w": s8(8, 24), "b": f(24), "m": i32(3, 4)})

    n, k, block = 6, 40, 16
    blocks = (k + block - 1) // block
    packed, scales = u8(n, blocks, block // 2), np.abs(f(n * blocks, scale=0.1))
    case("matmul_nbits", "MatMulNBits", [f(2, 3, k), packed, scales], domain=MS, fixed=(1, 2), K=k, N=n, bits=4, block_size=block)
    case("matmul_nbits_zero", "MatMulNBits", [f(2, 3, k), packed, scales, u8(n * ((blocks + 1) // 2))], domain=MS, fixed=(1, 2, 3), K=k, N=n, bits=4, block_size=block)
    case("matmul_nbits_bias", "MatMulNBits", [f(3, k), packed, scales, None, None, f(n)], domain=MS, fixed=(1, 2, 5), K=k, N=n, bits=4, block_size=block)


def control():
    x = f(3, 4)
    out = helper.make_empty_tensor_value_info
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "then", [], [out("t")])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["t"])], "else", [], [out("t")])
    for truth in (False, True):
        fixed = {"n": i64(3 if truth else 4)}
        chain(f"if_{truth}".lower(), [("Shape", ["x"], ["s"], "", {}), ("Gather", ["s", "zero"], ["d"], "", {}), ("Equal", ["d", "n"], ["c"], "", {}),
                                      ("If", ["c"], ["y"], "", {"then_branch": then, "else_branch": other})], {"x": x}, ["y"], {**fixed, "zero": i64(0)})
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "x"], ["next"]), helper.make_node("Identity", ["c"], ["c2"]),
         helper.make_node("Gather", ["x", "i"], ["row"], axis=0), helper.make_node("Mul", ["row", "two"], ["scan"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("state", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info("c2", TensorProto.BOOL, []), helper.make_tensor_value_info("next", TensorProto.FLOAT, [3, 4]),
         helper.make_tensor_value_info("scan", TensorProto.FLOAT, [4])])
    chain("loop", [("Loop", ["trips", "", "x"], ["y", "rows"], "", {"body": body})], {"x": x}, ["y", "rows"], {"trips": np.int64(3), "two": f32(2)})
    scan = helper.make_graph(
        [helper.make_node("Add", ["sum", "row"], ["sum2"]), helper.make_node("Mul", ["row", "sum2"], ["each"])], "scan",
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4]), helper.make_tensor_value_info("row", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("sum2", TensorProto.FLOAT, [4]), helper.make_tensor_value_info("each", TensorProto.FLOAT, [4])])
    for backward in (0, 1):
        chain(f"scan_{backward}", [("Scan", ["start", "x"], ["sum_all", "each_all"], "", {"body": scan, "num_scan_inputs": 1, "scan_input_directions": [backward],
                                                                             "scan_output_directions": [backward]})],
              {"x": x}, ["sum_all", "each_all"], {"start": f(4)})
    chain("sequence", [("SplitToSequence", ["x"], ["s"], "", {"axis": 0, "keepdims": 0}), ("SequenceAt", ["s", "one"], ["a"], "", {}),
                       ("SequenceConstruct", ["a", "a"], ["p"], "", {}), ("SequenceInsert", ["p", "b", "one"], ["r"], "", {}),
                       ("SequenceLength", ["r"], ["n"], "", {}), ("ConcatFromSequence", ["r"], ["y"], "", {"axis": 0, "new_axis": 1})],
          {"x": x, "b": f(4)}, ["y", "n"], {"one": np.int64(1)})
    chain("split_sequence_sizes", [("SplitToSequence", ["x", "sizes"], ["s"], "", {"axis": 1}), ("SequenceAt", ["s", "last"], ["y"], "", {})],
          {"x": x}, ["y"], {"sizes": i64(1, 3), "last": np.int64(-1)})


def in_blocks(w, block):
    """Filters [out, in, h, w] as onnxruntime's nchwc.Conv takes them, in their nominal shape."""
    out, inside, *kernel = w.shape
    deep = block if inside >= block else 1
    w = np.pad(w, [(0, -out % block), (0, -inside % deep), (0, 0), (0, 0)])
    parts = w.reshape(w.shape[0] // block, block, w.shape[1] // deep, deep, *kernel)
    return parts.transpose(0, 2, 4, 5, 3, 1).reshape(w.shape)


def channel_blocks():
    """com.microsoft.nchwc with blocks of 8 and 16; 24 and 20 channels tell which."""
    domain = "com.microsoft.nchwc"
    x, w = f(1, 3, 8, 8), [f(24, 3, 2, 2), f(24, 1, 2, 2, scale=0.5), f(20, 24, 1, 1, scale=0.3), f(20, 20, 1, 1, scale=0.3)]
    b = [f(24), f(24), f(20), f(20)]
    plain = [("Conv", ["x", "w0", "b0"], ["c0"], "", {"strides": [2, 2]}), ("Relu", ["c0"], ["r"], "", {}),
             ("Conv", ["r", "w1", "b1"], ["c1"], "", {"group": 24, "pads": [1, 1, 0, 0]}), ("Conv", ["c1", "w2", "b2"], ["c2"], "", {}),
             ("MaxPool", ["c2"], ["p"], "", {"kernel_shape": [2, 2], "strides": [2, 2]}),
             ("Conv", ["p", "w3", "b3"], ["c3"], "", {}), ("Add", ["c3", "p"], ["c"], "", {}), ("Tanh", ["c"], ["t"], "", {}),
             ("Resize", ["t", "", "up"], ["u"], "", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
             ("AveragePool", ["u"], ["a"], "", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
             ("GlobalAveragePool", ["a"], ["g"], "", {}), ("GlobalMaxPool", ["a"], ["m"], "", {})]
    fixed = {f"{k}{i}": v for k, list_ in (("w", w), ("b", b)) for i, v in enumerate(list_)}
    graph = helper.make_graph([helper.make_node(o, i, k, **a) for o, i, k, _, a in plain], "plain",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)], [helper.make_empty_tensor_value_info(k) for k in ("a", "g", "m", "c2")],
                              [numpy_helper.from_array(v, k) for k, v in {**fixed, "up": np.array([1, 1, 2, 2], np.float32)}.items()])
    session = ort.InferenceSession(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())
    a, g, m, c2 = session.run(None, {"x": x})
    for block in (8, 16):
        filters = {f"w{i}": in_blocks(v, block) for i, v in enumerate(w)} | {f"b{i}": np.pad(v, (0, -len(v) % block)) for i, v in enumerate(b)}
        groups = filters["w1"].shape[0]
        nodes = [("Conv", ["x", "w0", "b0"], ["r"], {"strides": [2, 2], "activation": "Relu"}),
                 ("Conv", ["r", "w1", "b1"], ["c1"], {"group": groups, "pads": [1, 1, 0, 0]}), ("Conv", ["c1", "w2", "b2"], ["c2"], {}),
                 ("ReorderOutput", ["c2"], ["out"], {"channels": 20}), ("ReorderInput", ["out"], ["back"], {}),
                 ("MaxPool", ["back"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
                 ("Conv", ["p", "w3", "b3", "p"], ["t"], {"activation": "Tanh"}), ("Upsample", ["t"], ["u"], {"scales": [1, 1, 2, 2], "mode": "nearest"}),
                 ("AveragePool", ["u"], ["a"], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}), ("GlobalAveragePool", ["a"], ["g"], {}), ("GlobalMaxPool", ["a"], ["m"], {}),
                 ("ReorderOutput", ["a"], ["ya"], {"channels": 20, "channels_last": 1}), ("ReorderOutput", ["g"], ["yg"], {"channels": 20}),
                 ("ReorderOutput", ["m"], ["ym"], {"channels": 20})]
        chain(f"nchwc_{block}", [(o, i, k, domain, at) for o, i, k, at in nodes], {"x": x}, ["ya", "yg", "ym", "out"], filters,
              wanted=[a.transpose(0, 2, 3, 1), g, m, c2], imports=(domain,))


def grouped_queries():
    """GroupQueryAttention with a past: buffers longer than what is in use, samples of different length, padded prompts."""
    def g(name, batch, tokens, totals, room, prompt=False, more=(), fixed=(), **attributes):
        size = 16 if "do_rotary" in attributes else 8
        total = tokens if prompt else max(totals)
        feeds = {"q": f(batch, tokens, 4 * size), "k": f(batch, tokens, 2 * size), "v": f(batch, tokens, 2 * size),
                 "pk": f(batch, 2, room, size), "pv": f(batch, 2, room, size)}
        constants = {"last": np.array(totals, np.int32) - 1, "total": i32(total), **{f"m{i}": v for i, v in enumerate(more) if v is not None}}
        names = [*feeds, "last", "total", *["" if v is None else f"m{i}" for i, v in enumerate(more)]]
        rows, keys = np.zeros((batch, tokens, 1), np.float32), np.zeros((batch, 1, max(room, total), 1), np.float32)
        for b, n in enumerate(totals):  # what lies behind a sample's end is not defined
            rows[b, :n if prompt else tokens] = 1
            keys[b, :, :n] = 1
        chain("gqa_" + name, [("GroupQueryAttention", names, ["y", "k2", "v2"], MS, {"num_heads": 4, "kv_num_heads": 2, **attributes}),
                              ("Mul", ["y", "rows"], ["out"], "", {}), ("Mul", ["k2", "keys"], ["key"], "", {}), ("Mul", ["v2", "keys"], ["value"], "", {})],
              feeds, ["out", "key", "value"], {**constants, "rows": rows, "keys": keys})

    theta = f(16, 8)
    turn = [np.cos(theta), np.sin(theta)]
    g("buffer", 1, 3, [5], 9)
    g("lengths", 3, 1, [2, 5, 4], 6)
    g("lengths_rotary", 2, 1, [5, 3], 4, more=turn, do_rotary=1, rotary_interleaved=1)
    g("lengths_window", 2, 1, [6, 3], 7, local_window_size=2, softcap=1.5)
    g("padded_prompt", 3, 4, [4, 2, 1], 6, prompt=True, more=turn, do_rotary=1)
    g("chunk", 1, 3, [7], 4, more=[*turn, None, f(1, 4, 3, 7)], do_rotary=1)
    g("smooth", 1, 3, [5], 2, smooth_softmax=1, scale=0.7)
    g("sink", 1, 2, [5], 3, more=[None, None, None, None, f(4)])


def narrow_types():
    """QuantizeLinear to types that are widened when read: the zero point's type is the range."""
    x = (f(3, 20) * np.exp2(rng.integers(-9, 7, (3, 20)))).astype(np.float32)
    for name in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4", "INT2"):
        kind = getattr(TensorProto, name)
        zero = helper.make_tensor("z", kind, [], [0 if "FLOAT" in name or name == "INT2" else 3])
        for spelling in ("zero", "attribute"):
            more = {"output_dtype": kind} if spelling == "attribute" else {}
            nodes = [("Constant", [], ["z"], "", {"value": zero})] if spelling == "zero" else []
            nodes += [("QuantizeLinear", ["x", "s", "z"][:len(nodes) + 2], ["q"], "", more), ("DequantizeLinear", ["q", "s"], ["y"], "", {})]
            chain(f"quantize_{name}_{spelling}".lower(), nodes, {"x": x}, ["y"], {"s": f32(0.11)}, opset=25 if name == "INT2" else 21)


def integers_last():
    """What onnxruntime's highest level makes of static quantisation: channels last. And softmax as it was before version 13."""
    image, one = f(2, 3, 6, 6), {"xs": f32(0.03), "xz": np.uint8(120), "ys": f32(0.05), "yz": np.uint8(118)}
    quantise, dequantise = ("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "", {}), ("DequantizeLinear", ["yq", "ys", "yz"], ["y"], "", {})
    filters = {"w": s8(4, 3, 2, 2), "ws": np.abs(f(4)) * np.float32(0.01), "wz": np.zeros(4, np.int8), "b": rng.integers(-900, 900, 4).astype(np.int32)}
    chain("qlinear_conv_last", [quantise, ("QLinearConv", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["yq"], MS, {"strides": [2, 1], "channels_last": 1}), dequantise],
          {"x": image.transpose(0, 2, 3, 1).copy()}, ["y"], {**one, **filters})
    chain("nhwc_max_pool", [quantise, ("NhwcMaxPool", ["xq"], ["yq"], MS, {"kernel_shape": [2, 3], "strides": [2, 1]}), ("DequantizeLinear", ["yq", "xs", "xz"], ["y"], "", {})],
          {"x": image.transpose(0, 2, 3, 1).copy()}, ["y"], one)
    one |= {"ys": f32(1 / 256), "yz": np.uint8(0)}
    chain("qlinearsoftmax_axes", [quantise, ("QLinearSoftmax", ["xq", "xs", "xz", "ys", "yz"], ["yq"], MS, {"axis": 1, "opset": 11}), dequantise], {"x": f(2, 3, 4)}, ["y"], one)


def packed(codes, bits):
    """Numbers of a few bits in bytes, lowest bits first, rows at whole bytes."""
    each = 8 // bits
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % each)]).astype(np.int64)
    codes = codes.reshape(*codes.shape[:-1], -1, each)
    return sum(codes[..., i] << bits * i for i in range(each)).astype(np.uint8)


def weights_in_blocks():
    n, k, size = 5, 40, 16
    blocks = -(-k // size)
    for bits in (2, 4, 8):
        w, scales = u8(n, blocks, size * bits // 8), np.abs(f(n, blocks, scale=0.1))
        case(f"matmul_nbits_{bits}", "MatMulNBits", [f(3, k), w, scales, u8(n, (blocks * bits + 7) // 8)], domain=MS, fixed=(1, 2, 3), K=k, N=n, bits=bits, block_size=size)
    groups = rng.integers(0, blocks, k).astype(np.int32)
    case("matmul_nbits_groups", "MatMulNBits", [f(3, k), u8(n, blocks, size // 2), np.abs(f(n, blocks)), f(n, blocks), groups], domain=MS, fixed=(1, 2, 3, 4), K=k, N=n,
         bits=4, block_size=size)
    for kind in (0, 1):
        case(f"matmul_bnb4_{kind}", "MatMulBnb4", [f(2, 3, 11), u8((n * 11 + 1) // 2), np.abs(f(-(-n * 11 // size)))], domain=MS, fixed=(1, 2), K=11, N=n,
             block_size=size, quant_type=kind)
    ids = np.array([[3, 0, 4], [2, 2, 1]], np.int64)
    for bits in (2, 4, 8):
        codes, zeros = rng.integers(0, 2**bits, (5, 48)), rng.integers(0, 2**bits, (5, 3))
        for more in ([], [packed(zeros, bits)]):
            case(f"gather_blocks_{bits}{'_zeros' if more else ''}", "GatherBlockQuantized", [packed(codes, bits), ids, np.abs(f(5, 3)), *more], domain=MS, fixed=(0, 2, 3),
                 bits=bits, block_size=16, gather_axis=0, quantize_axis=1)
    for name, low in (("INT4", -8), ("UINT4", 0)):
        table = helper.make_tensor("t", getattr(TensorProto, name), [20, 6], rng.integers(low, low + 16, 120).tolist())
        chain("gather_blocks_" + name.lower(), [("Constant", [], ["t"], "", {"value": table}),
                                                ("GatherBlockQuantized", ["t", "ids", "s"], ["y"], MS, {"block_size": 16, "gather_axis": 1, "quantize_axis": 0})],
              {"ids": ids}, ["y"], {"s": np.abs(f(2, 6))})
    for bits in (4, 8):  # the weight of the scores serves as table: words · blocks · bytes
        weight = u8(5, 3, 16 * bits // 8)
        chain(f"gather_blocks_shared_{bits}", [("Reshape", ["w", "shape"], ["t"], "", {}), ("GatherBlockQuantized", ["t", "ids", "s"], ["y"], MS, {"bits": bits, "block_size": 16, "gather_axis": 0, "quantize_axis": 1})],
              {"ids": ids}, ["y"], {"w": weight, "shape": i64(5, -1), "s": np.abs(f(5, 3))})


def experts():
    """Mixtures of experts. onnxruntime's CPU kernels have no third layer and no gate that is not interleaved."""
    n, d, h = 4, 8, 6
    x, scores = f(2, 3, d), f(6, n)

    def moe(name, gate=1, tokens=x, **attributes):
        case("moe_" + name, "MoE", [tokens, scores, f(n, gate * h, d), f(n, gate * h), f(n, d, h), f(n, d)], domain=MS, fixed=(2, 3, 4, 5), **attributes)

    moe("relu")
    moe("silu", activation_type="silu", k=2)
    moe("gelu", activation_type="gelu", k=3, normalize_routing_weights=1)
    moe("identity", activation_type="identity", k=2, normalize_routing_weights=1, tokens=f(6, d))
    gated = {"activation_type": "swiglu", "k": 2, "normalize_routing_weights": 1, "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0}
    moe("swiglu", gate=2, **gated)
    moe("swiglu_limit", gate=2, swiglu_limit=0.7, **gated)

    def by_definition(name, gate, first, second, third=None, **attributes):
        """The documented formula, where there is no kernel to ask."""
        tokens, silu = f(6, d), lambda z: z / (1 + np.exp(-z))
        chosen = np.argsort(-scores, axis=1)[:, :2]
        share = np.take_along_axis(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), chosen, 1)
        want = np.zeros((6, d))
        for i in range(6):
            for e, weight in zip(chosen[i], share[i]):
                z = first[e].astype(np.float64) @ tokens[i]
                left, right = (z[:h], z[h:]) if third is None else (z, third[e] @ tokens[i])
                want[i] += weight * (second[e] @ (silu(left) * right))
        case("moe_" + name, "MoE", [tokens, scores, first, None, second, None, *([] if third is None else [third])], domain=MS, fixed=(2, 4, 6), k=2,
             wanted=[want], **attributes)

    by_definition("swiglu_halves", 2, f(n, 2 * h, d), f(n, d, h), activation_type="swiglu", swiglu_fusion=2)
    by_definition("swiglu_apart", 1, f(n, h, d), f(n, d, h), f(n, h, d), activation_type="swiglu")
    by_definition("silu_third", 1, f(n, h, d), f(n, d, h), f(n, h, d), activation_type="silu")
    d, h = 32, 16
    x = f(2, 3, d)
    for bits, block in ((4, 0), (4, 16), (8, 0)):  # with 8 bits in blocks onnxruntime rounds the activations as well
        for gate in (1, 2):
            first, second = rng.integers(0, 2**bits, (n, gate * h, d)), rng.integers(0, 2**bits, (n, d, h))
            blocks = lambda *shape, size: 0.02 + np.abs(f(*shape, *([size // block] if block else []), scale=0.02))
            more = {**gated, "swiglu_limit": 7.0} if gate == 2 else {"activation_type": "silu", "k": 2}
            case(f"qmoe_{bits}_{block}_{gate}", "QMoE", [x, scores, packed(first, bits), blocks(n, gate * h, size=d), f(n, gate * h), packed(second, bits),
                 blocks(n, d, size=h), f(n, d)], domain=MS, fixed=(2, 3, 4, 5, 6, 7), expert_weight_bits=bits, **({"block_size": block} if block else {}), **more)


def whole_products():
    """MatMulNBits with accuracy_level 4: onnxruntime rounds the activations too, block by block."""
    for n, k, size, bits, shape in ((6, 64, 16, 4, (1,)), (6, 64, 32, 4, (2, 3)), (5, 40, 16, 4, (3,)), (6, 64, 16, 8, (3,)), (6, 96, 32, 8, (1,)), (6, 64, 32, 2, (2,)), (6, 64, 16, 2, (2,)), (6, 128, 64, 2, (2,)), (6, 64, 64, 4, (2,)), (130, 64, 16, 4, (2,))):
        blocks = -(-k // size)
        for zeros in (False, True):
            more = [u8(n, (blocks * bits + 7) // 8)] if zeros else []
            case(f"matmul_nbits_whole_{bits}_{k}_{size}_{int(zeros)}", "MatMulNBits", [f(*shape, k), u8(n, blocks, size * bits // 8), np.abs(f(n, blocks, scale=0.1)), *more],
                 domain=MS, fixed=(1, 2, 3), K=k, N=n, bits=bits, block_size=size, accuracy_level=4)


def recurrent():
    steps, batch, width, hidden = 4, 3, 5, 2
    x, lengths = f(steps, batch, width), i32(4, 2, 3)

    def r(name, op, both=False, given=(), outputs=2, initial=True, **attributes):
        gates, d = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], 2 if both else 1
        weights = [f(d, gates * hidden, width), f(d, gates * hidden, hidden), f(d, 2 * gates * hidden)]
        states = [f(d, batch, hidden) for _ in range(2 if op == "LSTM" else 1)] if initial else []
        peephole = [f(d, 3 * hidden)] if "peephole" in name else []
        case("recurrent_" + name, op, [x, *weights, lengths if "lengths" in name else None, *states, *peephole], outputs, opset=14,
             fixed=(1, 2, 3, 4, 7), hidden_size=hidden, **({"direction": "bidirectional"} if both else {}), **attributes)

    r("rnn_clip", "RNN", clip=0.5)
    r("rnn_lengths_both", "RNN", both=True, activations=["Relu", "Softsign"])
    r("gru_both", "GRU", both=True)
    r("gru_reset_lengths", "GRU", linear_before_reset=1)
    r("gru_reverse", "GRU", direction="reverse", initial=False)
    r("lstm_lengths_both", "LSTM", both=True, outputs=3)
    r("lstm_peephole", "LSTM", outputs=3, input_forget=1)
    r("lstm_reverse_lengths", "LSTM", outputs=3, direction="reverse", activations=["HardSigmoid", "Tanh", "Elu"], activation_alpha=[0.3, 0.7, 0.7], activation_beta=[0.4])


def signals():
    x = f(2, 20, 1)
    case("stft", "STFT", [x, np.int64(3), f(8)], opset=17, fixed=(1, 2))
    case("stft_whole", "STFT", [x, np.int64(4), None, np.int64(6)], opset=17, fixed=(1, 3), onesided=0)
    case("dft_17", "DFT", [f(2, 6, 5, 1)], opset=17, axis=2)
    case("dft_17_first", "DFT", [f(2, 6, 5, 2), np.int64(4)], opset=17, fixed=(1,), inverse=1)
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        for periodic in (0, 1):
            case(f"{op}_{periodic}".lower(), op, [np.int64(9)], opset=17, periodic=periodic)
    case("mel", "MelWeightMatrix", [np.int64(4), np.int64(32), np.int64(8000), f32(20), f32(3500)], opset=17, fixed=(3, 4))
    case("stft_flat", "STFT", [f(2, 20), np.int64(3), f(8)], opset=17, fixed=(1, 2))


def optimised():
    """what onnxruntime's optimiser makes of chains that it does not run word by word"""
    def pair(x, q, y, s, z):
        return [("QuantizeLinear", [x, s, z], [q], "", {}), ("DequantizeLinear", [q, s, z], [y], "", {})]
    for name, a, b, kind in (("int8", (1 / 255, -128), (0.0023, -128), np.int8), ("uint8", (1 / 255, 0), (0.0031, 0), np.uint8), ("shifted", (0.02, 100), (0.016, 140), np.uint8)):
        start, end = [], "x"
        if name != "shifted":
            start, end = pair("x", "xq", "xd", "xs", "xz") + [("Softmax", ["xd"], ["p"], "", {"axis": -1})], "p"
        nodes = start + pair(end, "q1", "d1", "s1", "z1") + [("Cast", ["d1"], ["c"], "", {"to": 1})] + pair("c", "q2", "y", "s2", "z2")
        fixed = {"xs": f32(0.03), "xz": kind(0), "s1": f32(a[0]), "z1": kind(a[1]), "s2": f32(b[0]), "z2": kind(b[1])}
        chain(f"two_pairs_{name}", nodes, {"x": f(4, 9, scale=2.0)}, ["y"], fixed, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    chain("skip_layer_norm_unread", [("SkipLayerNormalization", ["x", "s", "g"], ["y", "mean", "deviation", "sum"], MS, {}), ("Add", ["y", "sum"], ["z"], "", {})],
          {"x": f(2, 3, 8)}, ["z"], {"s": f(2, 3, 8), "g": f(8)})


def quantised_pairs():
    """Operands that were quantised and dequantised again (test_quantized.c)"""
    x, weight = f(2, 3, 16), s8(16, 6)
    scale, columns = f32(0.02), np.abs(f(6)) * np.float32(0.02) + np.float32(1e-3)
    base = {"s": f32(0.03), "z": np.uint8(120), "w": weight, "ws": scale, "wz": np.int8(0)}

    def pair(y="d", q="q", **attributes):
        return [("QuantizeLinear", ["x", "s", "z"], [q], "", attributes), ("DequantizeLinear", [q, "s", "z"], [y], "", attributes)]

    def q(name, nodes, fixed, outputs=("y",), given=x):
        chain("pairs_" + name, nodes, {"x": given}, list(outputs), fixed)

    w = ("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "", {})
    product = ("MatMul", ["d", "wd"], ["y"], "", {})
    q("matmul", pair() + [w, product], base)
    q("columns", pair() + [("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "", {"axis": 1}), product], {**base, "ws": columns, "wz": np.zeros(6, np.int8)})
    bias = ("DequantizeLinear", ["b", "bs"], ["bd"], "", {})
    gemm = {**base, "w": s8(6, 16), "ws": columns, "wz": np.zeros(6, np.int8), "b": rng.integers(-900, 900, 6).astype(np.int32), "bs": f32(6e-4)}
    by_row = ("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "", {"axis": 0})
    q("gemm", pair() + [by_row, bias, ("Gemm", ["d", "wd", "bd"], ["y"], "", {"transB": 1})], gemm, given=f(5, 16))
    q("turned", pair() + [by_row, ("Transpose", ["wd"], ["wt"], "", {"perm": [1, 0]}), ("MatMul", ["d", "wt"], ["m"], "", {}), bias, ("Add", ["m", "bd"], ["y"], "", {})], gemm)
    q("readers", pair() + [("DequantizeLinear", ["q", "s", "z"], ["d2"], "", {}), w, product, ("Mul", ["d2", "d"], ["y2"], "", {})], base, ("y", "y2"))
    q("moved", [("QuantizeLinear", ["x", "s", "z"], ["q"], "", {}), ("Reshape", ["q", "shape"], ["r"], "", {}), ("DequantizeLinear", ["r", "s", "z"], ["d"], "", {}), w, product],
      {**base, "shape": np.array([3, 2, 16])})
    q("halves", [("QuantizeLinear", ["x", "s", "z"], ["q"], "", {}), ("DequantizeLinear", ["q", "t", "z"], ["d"], "", {}), w, product], {**base, "t": f32(0.04)})
    q("wide", [("QuantizeLinear", ["x", "s", "z"], ["q"], MS, {}), ("DequantizeLinear", ["q", "s", "z"], ["d"], MS, {}), w, product],
      {**base, "s": f32(1e-4), "z": np.int16(0)})


def packed_tokens():
    """Batches without padding. onnxruntime's CPU provider has no such kernels: the documented formulas."""
    heads, size, lengths, tokens = 2, 4, [1, 4, 2], 4
    batch, hidden = len(lengths), heads * size

    def offsets(lengths):
        real = [b * tokens + i for b, n in enumerate(lengths) for i in range(n)]
        rest = [b * tokens + i for b, n in enumerate(lengths) for i in range(n, tokens)]
        return np.array(real + rest, np.int32).reshape(len(lengths), tokens), np.cumsum([0, *lengths]).astype(np.int32)

    def attended(q, k, v, lengths, bias=0):
        """Rows of real tokens of attention on padded [batch, tokens, heads · size]."""
        rows = []
        q, k, v = (x.reshape(len(lengths), tokens, heads, -1).transpose(0, 2, 1, 3).astype(np.float64) for x in (q, k, v))
        scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3]) + bias
        for b, n in enumerate(lengths):
            y = softmax(scores[b, :, :n, :n]) @ v[b, :, :n]
            rows.append(y.transpose(1, 0, 2).reshape(n, -1))
        return np.concatenate(rows).astype(np.float32)

    def padded(x, lengths):
        whole = np.zeros((len(lengths) * tokens, x.shape[1]), np.float32)
        whole[offsets(lengths)[0].reshape(-1)[:len(x)]] = x
        return whole.reshape(len(lengths), tokens, -1)

    for name, lengths in (("", lengths), ("_one", [3]), ("_full", [4, 4])):
        batch, (token_offset, sums) = len(lengths), offsets(lengths)
        count = sum(lengths)
        x = f(batch, tokens, 6)
        packed_x = x.reshape(-1, 6)[token_offset.reshape(-1)[:count]]
        case("remove_padding" + name, "RemovePadding", [x, np.array(lengths, np.int32)], 4, domain=MS,
             wanted=[packed_x, token_offset, sums, i32(max(lengths))])
        case("restore_padding" + name, "RestorePadding", [packed_x, token_offset], domain=MS, wanted=[padded(packed_x, lengths)])
        w, b, bias = f(6, 2 * hidden + 6), f(2 * hidden + 6), f(batch, heads, tokens, tokens)
        q, k, v = np.split(padded(packed_x @ w + b, lengths), [hidden, 2 * hidden], axis=2)
        case("packed_attention" + name, "PackedAttention", [packed_x, w, b, token_offset, sums, bias], domain=MS, fixed=(1, 2), num_heads=heads,
             qkv_hidden_sizes=[hidden, hidden, 6], wanted=[attended(q, k, v, lengths, bias)])
        q, k, v, b = f(count, hidden), f(count, hidden), f(count, 6), f(2 * hidden + 6)
        parts = [padded(x + y, lengths) for x, y in zip((q, k, v), np.split(b, [hidden, 2 * hidden]))]
        case("packed_mha" + name, "PackedMultiHeadAttention", [q, k, v, b, token_offset, sums], domain=MS, fixed=(3,), num_heads=heads,
             wanted=[attended(*parts, lengths)])
        qkv = f(count, heads, 3, size)
        parts = [padded(qkv[:, :, i].reshape(count, hidden), lengths) for i in range(3)]
        case("packed_mha_qkv" + name, "PackedMultiHeadAttention", [qkv, None, None, None, token_offset, sums, bias], domain=MS, num_heads=heads,
             wanted=[attended(*parts, lengths, bias)])
    x, b, rel, w, wb, eco = f(2, tokens, hidden), f(hidden), f(1, heads, tokens, tokens), f(size, 8), f(8), f(1, heads, 1, 1)
    y = (x + b).reshape(2, tokens, heads, size).transpose(0, 2, 1, 3) @ w + wb
    u, r = np.split(1 / (1 + np.exp(-y.reshape(2, heads, tokens, 2, 4).sum(-1))), 2, axis=3)
    want = (u * (r * eco - 1) + 2) * rel
    case("gated_position_bias", "GatedRelativePositionBias", [x, b, rel, w, wb, eco], domain=MS, fixed=(1, 3, 4, 5), num_heads=heads, wanted=[want])
    token_offset = offsets([3, 4])[0]
    rows = token_offset.reshape(-1)[:7]
    keep = np.zeros(8)
    keep[rows] = 1
    x = x * keep.reshape(2, tokens, 1).astype(np.float32)
    y = (x + b).reshape(2, tokens, heads, size).transpose(0, 2, 1, 3) @ w + wb
    u, r = np.split(1 / (1 + np.exp(-y.reshape(2, heads, tokens, 2, 4).sum(-1))), 2, axis=3)
    case("gated_position_bias_packed", "GatedRelativePositionBias", [x.reshape(8, -1)[rows], b, rel, w, wb, eco, token_offset], domain=MS, fixed=(1, 3, 4, 5),
         num_heads=heads, wanted=[(u * (r * eco - 1) + 2) * rel])


def decoder_steps():
    batch, heads, size, room, used = 2, 2, 4, 7, 3
    hidden, total = heads * size, used + 1
    q, k, v, bias = f(batch, 1, hidden), f(batch, 1, hidden), f(batch, 1, hidden), f(3 * hidden)
    pk, pv, mask = f(batch, heads, room, size), f(batch, heads, room, size), np.array([[1, 1, 1, 1], [0, 1, 1, 1]], np.int32)
    pk[:, :, used:], pv[:, :, used:] = 0, 0

    def d(name, inputs, outputs=3, **attributes):
        case("decoder_masked_" + name, "DecoderMaskedMultiHeadAttention", inputs, outputs, domain=MS, num_heads=heads, **attributes)

    d("self", [q, k, v, mask, None, pk, pv, i32(used), None, None, bias], past_present_share_buffer=1)
    d("self_first", [q, k, v, None, None, pk, pv, i32(0)], past_present_share_buffer=1, scale=0.3)
    d("self_bias", [q, k, v, None, f(1, heads, 1, total), pk, pv, i32(used), i32(1)], past_present_share_buffer=1)
    d("cross", [q, f(batch, heads, 5, size), f(batch, heads, 5, size), np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32), None, None, None, None, None, None, bias], 1)
    k5, v5 = f(batch, heads, 5, size), f(batch, heads, 5, size)  # onnxruntime infers another type for its scores
    y, scores = attend(q.reshape(batch, 1, heads, size), *(x.transpose(0, 2, 1, 3) for x in (k5, v5))), q.reshape(batch, heads, 1, size) @ k5.swapaxes(2, 3) / 2
    d("cross_qk", [q, k5, v5], ["y", "", "", "qk"], output_qk=1, wanted=[y, scores])
    one = np.concatenate([q, k, v], axis=2)
    keys, values = (np.concatenate([p[:, :, :used], x.reshape(batch, heads, 1, size)], axis=2) for p, x in ((pk, k), (pv, v)))
    y = attend(q.reshape(batch, 1, heads, size), keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3))
    d("packed", [one, None, None, None, None, pk[:, :, :used], pv[:, :, :used]], wanted=[y, keys, values])

    case("attention_sizes_present", "Attention", [f(2, 3, 6), f(6, 8 + 8 + 12), f(28)], ["y", "present"], domain=MS, fixed=(1, 2), num_heads=2,
         qkv_hidden_sizes=[8, 8, 12], unread=("present",))
    x, w, b = f(batch, 1, 6), f(6, 3 * hidden), f(3 * hidden)
    past = np.stack([pk, pv])
    q, k, v = np.split(x @ w + b, 3, axis=2)
    keys, values = (np.concatenate([p[:, :, :used], x.reshape(batch, heads, 1, size)], axis=2) for p, x in ((pk, k), (pv, v)))
    y = attend(q.reshape(batch, 1, heads, size), keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3))
    present = past.copy()
    present[:, :, :, :total] = keys, values
    for op, name in (("DecoderMaskedSelfAttention", "decoder_masked_projected"), ("Attention", "attention_shared_past")):
        more = {"unidirectional": 1} if op == "Attention" else {}
        case(name, op, [x, w, b, None, past, None, i32(used)], 2, domain=MS, fixed=(1, 2), num_heads=heads, past_present_share_buffer=1,
             wanted=[y, present], **more)
        case(name + "_apart", op, [x, w, b, None, past[:, :, :, :used]], 2, domain=MS, fixed=(1, 2), num_heads=heads,
             wanted=[y, present[:, :, :, :total]], **more)

    tokens, keys = 3, 5
    query, key = f(tokens, batch, hidden), f(keys, batch, hidden)
    qw, kvw, b = f(hidden, hidden, scale=0.5), f(hidden, 2 * hidden, scale=0.5), f(3 * hidden)
    masked = np.array([[0] * keys, [0, 0, 0, 1, 1]], bool)
    caches = [f(batch, heads, keys, size) for _ in range(2)]

    def in_heads(x):
        return x.reshape(len(x), batch, heads, size).transpose(1, 2, 0, 3)

    for name, static, past, state, mask in (("self", 0, 0, 1, None), ("cross", 1, 0, 0, masked), ("self_past", 0, 1, 1, None), ("cross_past", 1, 1, 1, masked),
                                            ("state_only", 0, 0, 1, None)):
        queries = in_heads(query @ qw + b[:hidden])
        k, v = (in_heads(x) for x in np.split((key if static else query) @ kvw + b[hidden:], 2, axis=2))
        if past and state:
            k, v = caches if static else (np.concatenate([c, x], axis=2) for c, x in zip(caches, (k, v)))
        scores = queries @ k.swapaxes(2, 3) / 2.0
        if mask is not None:
            scores = scores + np.where(mask[:, None, None], -10000.0, 0)
        y = (softmax(scores) @ v).transpose(2, 0, 1, 3).reshape(tokens, batch, hidden)
        flags = [np.array(bool(i)) for i in (static, past, state, mask is not None)]
        given = caches if past else [None, None]
        case("decoder_attention_" + name, "DecoderAttention", [query, key, qw, kvw, b, mask, *given, *flags], 3, domain=MS,
             fixed=(2, 3, 4, 5, 8, 9, 10, 11), num_heads=heads, wanted=[y, k, v])


def rotaries():
    emb, q, qr, k, kr = f(2, 3, 4), f(2, 2, 3, 4), f(2, 2, 3, 4), f(2, 2, 3, 4), f(2, 2, 3, 4)
    sin, cos = np.sin(emb)[:, None], np.cos(emb)[:, None]
    case("gemma_rotary", "GemmaRotaryEmbedding", [emb, q, qr, k, kr], 2, domain=MS, wanted=[q * cos + qr * sin, k * cos + kr * sin])
    theta = f(9, 6)
    at = rng.integers(0, 9, (3, 2, 4)).astype(np.int64)
    for layout, sections in ((0, [1, 3, 2]), (1, [2, 2, 2]), (1, [4, 1, 1])):
        for pairs in (0, 1):
            case(f"mrotary_{layout}_{sections[0]}_{pairs}", "MRotaryEmbedding", [f(2, 4, 24), at, np.cos(theta), np.sin(theta)], domain=MS, fixed=(2, 3),
                 mrope_section=sections, mrope_layout=layout, interleaved=pairs, num_heads=2)
    case("rotary_scale", "RotaryEmbedding", [f(2, 3, 5, 8), i64(1), np.cos(f(9, 4)), np.sin(f(9, 4))], domain=MS, fixed=(2, 3), scale=1.5)
    case("mrotary_scale", "MRotaryEmbedding", [f(2, 4, 24), at, np.cos(theta), np.sin(theta)], domain=MS, fixed=(2, 3), mrope_section=[1, 3, 2], num_heads=2, scale=1.5)
    case("mrotary_part", "MRotaryEmbedding", [f(2, 3, 4, 16), at, np.cos(theta), np.sin(theta)], domain=MS, fixed=(2, 3), mrope_section=[1, 3, 2],
         rotary_embedding_dim=12, num_heads=3)


def in_place(node, feeds, shared):
    """onnxruntime's results of one node whose outputs `shared` lie where the named inputs do."""
    declared = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in feeds.items()]
    graph = helper.make_graph([node], "one", declared, [helper.make_empty_tensor_value_info(o) for o in node.output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = {k: ort.OrtValue.ortvalue_from_numpy(v.copy()) for k, v in feeds.items()}
    binding = session.io_binding()
    for k, v in values.items():
        binding.bind_ortvalue_input(k, v)
    for name in node.output:
        if name in shared:
            binding.bind_ortvalue_output(name, values[shared[name]])
        else:
            binding.bind_output(name)
    session.run_with_iobinding(binding)
    return {k: v.numpy().copy() for k, v in zip(node.output, binding.get_outputs())}


def sparse_keys():
    """SparseAttention and LongformerAttention; the latter by its documented formula."""
    starts = np.array([[0, 1, 3, 5], [0, 1, 2, 5]], np.int32)
    columns = np.array([[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]], np.int32)

    def s(name, tokens, totals, room, more=(), fixed=(), layouts=2, **attributes):
        batch = len(totals)
        feeds = {"q": f(batch, tokens, 64), "k": f(batch, tokens, 32), "v": f(batch, tokens, 32), "pk": f(batch, 2, room, 16), "pv": f(batch, 2, room, 16)}
        constants = {"starts": starts[:layouts], "columns": columns[:layouts], "total": i32(max(totals)), "each": np.array(totals, np.int32),
                     **{f"m{i}": v for i, v in enumerate(more)}}
        rows, keys = np.zeros((batch, tokens, 1), np.float32), np.zeros((batch, 1, room, 1), np.float32)
        for b, n in enumerate(totals):
            rows[b, :n if max(totals) == tokens else tokens] = 1
            keys[b, :, :n] = 1
        attributes = {"num_heads": 4, "kv_num_heads": 2, "sparse_block_size": 16, **attributes}
        node = helper.make_node("SparseAttention", [*feeds, *constants], ["y", "k2", "v2"], domain=MS, **attributes)
        each = []  # one by one: of samples of different length onnxruntime computes the longest only
        for b, total in enumerate(totals):
            n = total if max(totals) == tokens else tokens
            one = {"q": feeds["q"][b:b + 1, :n], "k": feeds["k"][b:b + 1, :n], "v": feeds["v"][b:b + 1, :n], "pk": feeds["pk"][b:b + 1], "pv": feeds["pv"][b:b + 1]}
            y = in_place(node, {**one, **constants, "total": i32(total), "each": i32(total)}, {"k2": "pk", "v2": "pv"})
            y["y"] = np.pad(y["y"], ((0, 0), (0, tokens - n), (0, 0)))
            each.append(y)
        wanted = [np.concatenate([y[k] for y in each]) * by for k, by in (("y", rows), ("k2", keys), ("v2", keys))]
        chain("sparse_attention_" + name, [("SparseAttention", [*feeds, *constants], ["y", "k2", "v2"], MS, attributes),
                                           ("Mul", ["y", "rows"], ["out"], "", {}), ("Mul", ["k2", "keys"], ["key"], "", {}), ("Mul", ["v2", "keys"], ["value"], "", {})],
              feeds, ["out", "key", "value"], {**constants, "rows": rows, "keys": keys}, wanted=wanted)

    theta = f(48, 8)
    s("prompt", 36, [36], 48)
    s("prompt_padded", 36, [36, 20], 48, layouts=1, scale=0.2)
    s("step", 1, [40, 33], 48)
    s("rotary", 1, [40], 48, more=[np.cos(theta), np.sin(theta)], do_rotary=1)

    batch, tokens, heads, window = 2, 8, 2, 2
    hidden = 8
    x, w, b, gw, gb = f(batch, tokens, hidden), f(hidden, 24, scale=0.5), f(24), f(hidden, 24, scale=0.5), f(24)
    mask = np.zeros((batch, tokens), np.float32)
    mask[1, 6:] = -10000
    for name, where in (("", [[0], [0, 3]]), ("_local", [[], []])):
        flags = np.zeros((batch, tokens), np.int32)
        for i, at in enumerate(where):
            flags[i, at] = 1
        near = np.abs(np.arange(tokens)[:, None] - np.arange(tokens)) <= window
        results = []
        for weight, bias, seen in ((w, b, near[None] | (flags[:, None] > 0)), (gw, gb, np.ones((batch, tokens, tokens), bool))):
            q, k, v = (t.reshape(batch, tokens, heads, 4).transpose(0, 2, 1, 3) for t in np.split(x @ weight + bias, 3, axis=2))
            scores = q @ k.swapaxes(2, 3) / 2.0 + mask[:, None, None] + np.where(seen[:, None], 0, -np.inf)
            results.append((softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, hidden))
        case("longformer" + name, "LongformerAttention", [x, w, b, mask, gw, gb, flags], domain=MS, fixed=(1, 2, 3, 4, 5), num_heads=heads, window=window,
             wanted=[np.where(flags[..., None] > 0, results[1], results[0])])


def caches():
    """TensorScatter, by its pseudocode."""
    for name, at, tokens, more in (("none", None, 3, {}), ("same", [2, 2], 3, {}), ("each", [0, 3], 2, {}), ("full", [0, 0], 5, {}),
                                   ("circular", [4, 4], 3, {"mode": "circular"}), ("circular_each", [8, 1], 3, {"mode": "circular"}), ("axis", [1, 1], 2, {"axis": 1})):
        axis = more.get("axis", 2)
        shape = [2, 5, 3, 4] if axis == 1 else [2, 3, 5, 4]
        cache, update = f(*shape), f(*[tokens if i == axis else n for i, n in enumerate(shape)])
        want = cache.copy()
        for b in range(2):
            for i in range(tokens):
                to = ((at[b] if at else 0) + i) % 5
                want[(b, *[slice(None)] * (axis - 1), to)] = update[(b, *[slice(None)] * (axis - 1), i)]
        case("tensor_scatter_" + name, "TensorScatter", [cache, update, None if at is None else i64(*at)], opset=24, wanted=[want], **more)


def gates():
    x, image, shift, scale = f(2, 3, 8), f(2, 3, 2, 4), f(4), f(4)

    def group_norm(x, groups, last=True):
        y = x if last else x.transpose(0, 2, 3, 1)
        y = y.reshape(len(x), -1, groups, y.shape[3] // groups)
        y = (y - y.mean((1, 3), keepdims=True)) / np.sqrt(y.var((1, 3), keepdims=True) + 1e-5)
        if last:
            return y.reshape(x.shape) * scale + shift
        return (y.reshape(len(x), *x.shape[2:], x.shape[1]) * scale + shift).transpose(0, 3, 1, 2)

    for name, skip in (("", f(2, 3, 2, 4)), ("_two", f(2, 4)), ("_ones", f(2, 1, 1, 4))):
        bias = f(4) if name != "_ones" else None
        total = image + (skip.reshape(2, 1, 1, 4) if skip.ndim == 2 else skip) + (0 if bias is None else bias)
        y = group_norm(total, 2)
        case("skip_group_norm" + name, "SkipGroupNorm", [image, scale, shift, skip, bias], 2, domain=MS, fixed=(1, 2, 4), groups=2, activation=1, wanted=[y / (1 + np.exp(-y)), total])
    skip, bias, first = f(2, 4), f(4), image.transpose(0, 3, 1, 2).copy()
    total = first + skip[:, :, None, None] + bias[:, None, None]
    case("skip_group_norm_first", "SkipGroupNorm", [first, scale, shift, skip, bias], 2, domain=MS, fixed=(1, 2, 4), groups=2, activation=0, channels_last=0,
         wanted=[group_norm(total, 2, False), total])
    case("scaled_silu", "ScaledSiLU", [x], domain=MS, alpha=0.7)
    case("scaled_silu_input", "ScaledSiLU", [x, f32(1.3)], domain=MS, fixed=(1,))
    case("gated_add", "GatedAdd", [x, f(2, 3, 8), f(2, 3, 1)], domain=MS)
    y, gate, weight = f(2, 3, 8), f(2, 3, 5), f(5, 1)
    case("gated_add_projected", "GatedAdd", [x, y, gate, weight], domain=MS, fixed=(3,), wanted=[x + y / (1 + np.exp(-gate @ weight))])
    for name, activation in (("silu", "silu"), ("sigmoid", "sigmoid")):
        case("gated_rms_norm_" + name, "GatedRMSNorm", [x, f(4), f(2, 3, 8)], domain=MS, fixed=(1,), activation=activation)
    case("gated_rms_norm_whole", "GatedRMSNorm", [x, f(8), f(2, 3, 8)], domain=MS, fixed=(1,), epsilon=1e-3)
    for name, given, norm, more in (("grouped", x, f(8), {}), ("pairs", x, f(3, 8), {}), ("flat_pairs", x, f(24), {}), ("plain", x, None, {}),
                                    ("flat", x, f(8), {"num_branches": 2}), ("flat_each", x, f(4), {"num_branches": 2}), ("flat_matrix", x, f(2, 4), {"num_branches": 2})):
        case("branch_rms_norm_" + name, "BranchwiseRMSNorm", [given, norm], domain=MS, fixed=(1,), **more)

    def swiglu(gate, up, alpha=1.0, beta=0.0, limit=0.0):
        if limit > 0:
            gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
        return gate / (1 + np.exp(-alpha * gate)) * (up + beta)

    case("fused_gemm_selu", "FusedGemm", [f(3, 8), f(6, 8), f(1, 6)], domain=MS, transB=1, activation="Selu", activation_alpha=0.3, activation_gamma=1.1)
    up = f(2, 3, 8)
    case("ms_swiglu", "SwiGLU", [x, up], domain=MS, wanted=[swiglu(x, up)])
    case("ms_swiglu_limit", "SwiGLU", [x], domain=MS, limit=0.7, activation_alpha=1.702, activation_beta=1.0, wanted=[swiglu(x[..., :4], x[..., 4:], 1.702, 1.0, 0.7)])


def expert_parts():
    """QMoE with zero points, weights of the router, bits of their own; gates after the limit."""
    n, d, h = 4, 32, 16
    x, scores = f(2, 3, d), f(6, n)
    silu = {"activation_type": "silu", "k": 2}
    for bits in (2, 4, 8):
        for block in (0, 16):
            if bits == 8 and block:
                continue  # there onnxruntime rounds the activations as well
            first, second = rng.integers(0, 2**bits, (n, h, d)), rng.integers(0, 2**bits, (n, d, h))
            sizes = lambda rows, columns: (n, rows, columns // block) if block else (n, rows)
            zeros = [packed(rng.integers(0, 2**bits, sizes(*s)), bits) for s in ((h, d), (d, h))]
            scale = lambda *s: 0.02 + np.abs(f(*sizes(*s), scale=0.02))
            case(f"qmoe_zeros_{bits}_{block}", "QMoE", [x, scores, packed(first, bits), scale(h, d), f(n, h), packed(second, bits), scale(d, h), f(n, d), None, None, None, *zeros],
                 domain=MS, fixed=(2, 3, 4, 5, 6, 7, 11, 12), expert_weight_bits=bits, **({"block_size": block} if block else {}), **silu)
    first, second = rng.integers(0, 16, (n, h, d)), rng.integers(0, 16, (n, d, h))
    given = [packed(first, 4), 0.02 + np.abs(f(n, h, scale=0.02)), f(n, h), packed(second, 4), 0.02 + np.abs(f(n, d, scale=0.02)), f(n, d)]
    for normal in (0, 1):
        case(f"qmoe_router_{normal}", "QMoE", [x, scores, *given, None, None, None, None, None, None, np.abs(f(6, n))], domain=MS, fixed=(2, 3, 4, 5, 6, 7),
             expert_weight_bits=4, normalize_routing_weights=normal, **silu)


def causal_convolutions():
    x, w, b, past = f(2, 6, 5), f(6, 1, 3), f(6), f(2, 6, 2)
    op = "CausalConvWithState"
    case("causal_conv", op, [x, w, b, past], 2, domain=MS, activation="silu")
    case("causal_conv_first", op, [x, w], 2, domain=MS)
    case("causal_conv_dilated", op, [x, w, b], 2, domain=MS, dilation=2, activation="swish")
    case("causal_conv_features_last", op, [x.transpose(0, 2, 1), w, None, past.transpose(0, 2, 1)], 2, domain=MS, channels_last=1)
    whole = np.concatenate([past, x], axis=2)
    y = sum(whole[:, :, k:k + 5] * w[:, 0, k, None] for k in range(3)) + b[:, None]
    case("causal_conv_27", op, [x, w, b, past], 2, opset=27, wanted=[y, whole[:, :, -2:]])


def fused_blocks():
    """Products with weights in blocks that share their activations: onnxruntime's CPU provider has none of these kernels."""
    k, block = 40, 32
    blocks = (k + block - 1) // block

    def weight(n, k=k):
        count = (k + block - 1) // block
        codes, scales = u8(n, count, block // 2), np.abs(f(n, count, scale=0.1))
        numbers = np.stack([codes & 15, codes >> 4], axis=-1).reshape(n, count, block).astype(np.float32) - 8
        return codes, scales, (numbers * scales[:, :, None]).reshape(n, -1)[:, :k].T

    def normal(v, scale):
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + np.float32(1e-5)) * scale

    x, skip, scale = f(2, 3, k), f(2, 3, k), 1 + f(k, scale=0.1)
    more = dict(domain=MS, bits=4, block_size=block, K=k)
    (g, gs, gate), (u, us, up), bias = weight(6), weight(6), f(6)
    mlp = lambda v: (lambda a: a / (1 + np.exp(-a)) * (v @ up))(v @ gate + bias)
    case("matmul_nbits_mlp", "MatMulNBitsMlp", [x, None, None, g, gs, bias, u, us], wanted=[mlp(x)], fixed=(3, 4, 5, 6, 7), N=6, activation="silu", **more)
    case("matmul_nbits_mlp_skip", "MatMulNBitsMlp", [x, skip, scale, g, gs, bias, u, us], 2, wanted=[mlp(normal(x + skip, scale)), x + skip], fixed=(2, 3, 4, 5, 6, 7), N=6,
         activation="silu", **more)
    parts = [weight(n) for n in (6, 4, 4)]
    given = [a for (codes, scales, _), b in zip(parts, (bias, None, f(4))) for a in (codes, scales, b)]
    heads = [normal(x, scale) @ w + (0 if b is None else b) for (_, _, w), b in zip(parts, given[2::3])]
    case("matmul_nbits_qkv", "MatMulNBitsQkv", [x, None, scale, *given], 3, wanted=heads, fixed=range(2, 12), Nq=6, Nkv=4, **more)
    (a, as_, down), (b, bs, wide) = weight(5), weight(6, 5)
    lora = dict(fixed=range(1, 7), N=6, lora_bits=4, lora_block_size=block, **more)
    case("matmul_nbits_lora", "MatMulNBitsQLoRA", [x, g, gs, a, as_, b, bs], wanted=[x @ gate + x @ down @ wide], **lora)
    case("matmul_nbits_lora_none", "MatMulNBitsQLoRA", [x, g, gs, a, as_, b[:, :0], bs], wanted=[x @ gate], **lora)


def pictures():
    """grids, windows put back together, crops, moved taps"""
    for corners in (0, 1):
        case(f"affine_grid_2d_{corners}", "AffineGrid", [f(2, 2, 3), i64(2, 3, 4, 5)], opset=20, fixed=(1,), align_corners=corners)
        case(f"affine_grid_3d_{corners}", "AffineGrid", [f(1, 3, 4), i64(1, 3, 2, 3, 4)], opset=20, fixed=(1,), align_corners=corners)
    case("ms_grid_sample", "GridSample", [f(2, 3, 4, 5), f(2, 2, 3, 2)], domain=MS, align_corners=1, padding_mode="border", mode="bilinear")
    case("grid_sample_16", "GridSample", [f(1, 2, 5, 4), f(1, 2, 3, 2)], opset=16, padding_mode="reflection", mode="bicubic")
    case("col2im", "Col2Im", [f(1, 8, 6), i64(5, 4), i64(2, 2)], opset=18, fixed=(1, 2), strides=[2, 1])
    case("col2im_padded", "Col2Im", [f(2, 18, 15), i64(5, 6), i64(3, 3)], opset=18, fixed=(1, 2), pads=[1, 0, 1, 1], strides=[2, 1], dilations=[1, 1])
    case("col2im_dilated", "Col2Im", [f(1, 4, 20), i64(6, 6), i64(2, 2)], opset=18, fixed=(1, 2), dilations=[2, 1])
    case("col2im_1d", "Col2Im", [f(1, 6, 3), i64(7), i64(3)], opset=18, fixed=(1, 2), strides=[2])
    x = f(3, 5, 4)
    case("center_crop_pad", "CenterCropPad", [x, i64(6, 2, 4)], opset=18, fixed=(1,))
    case("center_crop_pad_axes", "CenterCropPad", [x, i64(2, 7)], opset=18, fixed=(1,), axes=[-3, 2])
    offsets = f(2, 2 * 2 * 6, 3, 2)
    case("deform_conv", "DeformConv", [f(2, 4, 5, 4), f(6, 2, 2, 3), offsets, f(6), np.abs(f(2, 2 * 6, 3, 2))], opset=19, fixed=(1, 3), group=2, offset_group=2,
         pads=[1, 0, 0, 1], strides=[2, 2], dilations=[1, 1])
    case("deform_conv_dilated", "DeformConv", [f(1, 2, 5, 6), f(3, 2, 2, 2), f(1, 8, 3, 5)], opset=19, fixed=(1,), dilations=[2, 1])


def main():
    global rng
    os.makedirs(FOLDER, exist_ok=True)
    later = (caches, causal_convolutions, channel_blocks, decoder_steps, expert_parts, experts, fused_blocks, gates, grouped_queries, integers_last, narrow_types, optimised,
             packed_tokens, quantised_pairs, rotaries, sparse_keys,
             weights_in_blocks, whole_products, recurrent, signals, versions, pictures)
    for part in () if sys.argv[1:] else (older_forms, small, einsums, fused, attentions, quantised, control):
        part()
    for part in later:
        if not sys.argv[1:] or part.__name__ in sys.argv[1:]:
            rng = np.random.default_rng(7)
            part()
    print(count, "cases in", FOLDER)


if __name__ == "__main__":
    main()
