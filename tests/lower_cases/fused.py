"""What onnxruntime's optimisers write: fused activations and norms, gates, channel blocks."""
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from lower_cases.base import MS, case, chain, f, f32, i64, part, rng, s8, softmax


@part
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


@part
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


def in_blocks(w, block):
    """Filters [out, in, h, w] as onnxruntime's nchwc.Conv takes them, in their nominal shape."""
    out, inside, *kernel = w.shape
    deep = block if inside >= block else 1
    w = np.pad(w, [(0, -out % block), (0, -inside % deep), (0, 0), (0, 0)])
    parts = w.reshape(w.shape[0] // block, block, w.shape[1] // deep, deep, *kernel)
    return parts.transpose(0, 2, 4, 5, 3, 1).reshape(w.shape)


@part
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


@part
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
    # learned queries that attend to each other: the softmax is a constant, which is folded word by word where only operators of one input lead to it
    for name, sum_of in (("learned", ["ld", "md"]), ("folded", ["ld"])):
        score = pair("l", "lq", "ld", "xs", "z") + (pair("m", "mq", "md", "xs", "z") if name == "learned" else [])
        score += [("Add" if name == "learned" else "Identity", sum_of, ["a"], "", {})] + pair("a", "aq", "ad", "xs", "z")
        nodes = score + [("Softmax", ["ad"], ["p"], "", {"axis": -1})] + pair("p", "pq", "pd", "s", "z") + [("Add", ["x", "pd"], ["y"], "", {})]
        fixed = {"l": f(4, 9, scale=2.0), "m": f(4, 9), "xs": f32(0.03), "s": f32(1 / 255), "z": np.int8(-128)}
        chain(f"pair_of_{name}", nodes, {"x": f(4, 9)}, ["y"], fixed, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def pair(x, y, scale, zero, **attributes):
    return [("QuantizeLinear", [x, scale, zero], [y + "q"], "", attributes), ("DequantizeLinear", [y + "q", scale, zero], [y], "", attributes)]


@part
def merged_pairs():
    """two pairs with casts between, behind a softmax and behind a constant one: its kernel rounds in the units of both"""
    full, odd = ort.GraphOptimizationLevel.ORT_ENABLE_ALL, np.float32(0.0029498)
    rows = np.where(rng.random((40, 16)) < 0.6, 0, rng.integers(-9, 0, (40, 16))).astype(np.float32)
    rows[:16] = np.where(np.tri(16), 0, -3e38)
    pairs = pair("r", "o", "p", "l") + [("Cast", ["o"], ["t"], "", {"to": 1})] + pair("t", "y", "odd", "l")
    for kind, shift in ((np.int8, -128), (np.uint8, 0)):
        for name, unit in (("", 1.0), ("_vast", 1.3e36)):  # all but equal scores are masked
            fixed = {"s": f32(unit), "z": kind(127 + shift), "p": f32(1 / 255), "odd": odd, "l": kind(shift), "c": f32(1)}
            nodes = pair("x", "a", "s", "z") + [("Softmax", ["a"], ["r"], "", {"axis": -1})] + pairs
            chain(f"merged_softmax{name}_{kind.__name__}", nodes, {"x": rows}, ["y"], fixed, level=full)
        chain(f"merged_folded_{kind.__name__}", pairs + [("Mul", ["w", "y"], ["v"], "", {})], {"w": rows}, ["v"], {**fixed, "r": softmax(rows[1:2] / 3).astype(np.float32)}, level=full)
        chain(f"merged_constant_{kind.__name__}", nodes + [("Mul", ["w", "y"], ["v"], "", {})], {"w": rows}, ["v"], {**fixed, "s": f32(0.3), "x": rows[1:2]}, level=full)
    for kind, middle in ((np.int16, 0), (np.uint16, 32768)):
        chain(f"merged_{kind.__name__}", pairs, {"r": f(40, 16, scale=3.0)}, ["y"], {"p": f32(0.11), "odd": f32(0.07), "l": kind(middle)}, level=full)


@part
def biases():
    """float biases of what is run in integers, rounded to steps of both scales"""
    full = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    fixed = {"s": f32(1), "z": np.int8(3), "one": f32(1), "each": np.array([1, 0.5, 2, 1, 0.25, 1], np.float32), "zero": np.zeros(6, np.int8), "o": f32(0.25), "oz": np.int8(-9),
             "b": np.array([0.6, 0.3, 1.4, -2.7, 0.1, 0], np.float32)}
    for name, op, x, w, scale, axis, attributes in (("gemm", "Gemm", f(3, 8), (8, 6), "each", 1, {}), ("gemm_one", "Gemm", f(3, 8), (8, 6), "one", 1, {}),
                                                    ("gemm_rows", "Gemm", f(3, 8), (6, 8), "each", 0, {"transB": 1}), ("conv", "Conv", f(1, 3, 4, 4), (6, 3, 2, 2), "each", 0, {})):
        product = pair("x", "a", "s", "z") + [("DequantizeLinear", ["w", scale, "zero" if scale == "each" else "wz"], ["c"], "", {"axis": axis}), (op, ["a", "c", "b"], ["r"], "", attributes)]
        more = {**fixed, "w": rng.integers(-3, 4, w).astype(np.int8), "wz": np.int8(0)}
        chain(f"bias_{name}", product + pair("r", "y", "o", "oz"), {"x": x}, ["y"], more, level=full)
        chain(f"bias_{name}_relu", product + [("Relu", ["r"], ["t"], "", {})] + pair("t", "y", "o", "oz"), {"x": x}, ["y"], more, level=full)
        chain(f"bias_{name}_float", product + [("Neg", ["r"], ["y"], "", {})], {"x": x}, ["y"], more, level=full)


@part
def kernels():
    """groups that onnxruntime runs as one integer kernel, at halves and odd zero points: some kernels add the zero point before they round"""
    full = ort.GraphOptimizationLevel.ORT_ENABLE_ALL

    x, y = (np.float32(0.5) * rng.integers(-100, 100, (1, 2, 6, 6)).astype(np.float32) for _ in range(2))
    for kind, shift in ((np.int8, 0), (np.uint8, 128)):
        fixed = {"half": f32(0.5), "one": f32(1), "c": f32(0.5), **{f"z{z}": kind(z + shift) for z in (-7, 0, 9)}}
        for name, op, two, attributes in (("sum", "Add", True, {}), ("product", "Mul", True, {}), ("mean", "AveragePool", False, {"kernel_shape": [2, 2], "strides": [2, 2]}),
                                          ("leaky", "LeakyRelu", False, {"alpha": 0.5}), ("mean_all", "GlobalAveragePool", False, {})):
            start = pair("x", "a", "half", "z9") + (pair("y", "b", "half", "z-7") if two else [])
            nodes = start + [(op, ["a", "b"] if two else ["a"], ["r"], "", attributes)] + pair("r", "o", "one", "z-7")
            chain(f"kernel_{name}_{kind.__name__}", nodes, {"x": x, **({"y": y} if two else {})}, ["o"], fixed, level=full)
        # its operand is read elsewhere, so that signed integers stay what they are; a constant, likewise; behind moves
        more = pair("x", "a", "half", "z9") + [("AveragePool", ["a"], ["r"], "", {"kernel_shape": [2, 2], "strides": [2, 2]})] + pair("r", "p", "one", "z-7")
        chain(f"kernel_read_twice_{kind.__name__}", more + [("Neg", ["a"], ["n"], "", {})], {"x": x}, ["p", "n"], fixed, level=full)
        nodes = pair("x", "a", "half", "z9") + pair("c", "b", "half", "z0") + [("Mul", ["a", "b"], ["r"], "", {})] + pair("r", "o", "one", "z-7")
        chain(f"kernel_constant_{kind.__name__}", nodes, {"x": x}, ["o"], fixed, level=full)
        nodes = pair("x", "a", "half", "z9") + pair("y", "b", "half", "z-7") + [("Transpose", ["a"], ["t"], "", {"perm": [0, 1, 3, 2]}), ("Mul", ["t", "b"], ["r"], "", {}),
                                                                               ("Transpose", ["r"], ["u"], "", {"perm": [0, 2, 3, 1]})] + pair("u", "o", "one", "z-7")
        chain(f"kernel_moved_{kind.__name__}", nodes, {"x": x, "y": y}, ["o"], fixed, level=full)
        # halves of units that are no powers of two, which the arithmetic of the kernels decides; rows of equal scores
        s = np.float32(0.01568628)
        odd = {"half": s / 2, "one": s, **{f"z{z}": kind(z + shift) for z in (-128, -7, 0, 9)}, "p": f32(1 / 255)}
        for name, op in (("sum", "Add"), ("product", "Mul")):
            nodes = pair("x", "a", "one" if op == "Add" else "half", "z9") + pair("y", "b", "half", "z-7") + [(op, ["a", "b"], ["r"], "", {})] + pair("r", "o", "one", "z0")
            chain(f"kernel_odd_{name}_{kind.__name__}", nodes, {"x": s * x, "y": s * y[:, :, :1]}, ["o"], odd, level=full)
        rows = np.where(rng.random((40, 12)) < 0.6, 0, rng.integers(-9, 0, (40, 12))).astype(np.float32) * s
        nodes = pair("x", "a", "half", "z9") + [("Softmax", ["a"], ["r"], "", {"axis": -1})] + pair("r", "o", "p", "z-128")
        chain(f"kernel_odd_softmax_{kind.__name__}", nodes, {"x": rows}, ["o"], odd, level=full)
        first = pair("x", "l", "one", "z9") + pair("y", "m", "half", "z-7") + [("Sub", ["l", "m"], ["d"], "", {})] + pair("d", "a", "one", "z0") + [("Neg", ["m"], ["n"], "", {})] + pair("n", "b", "half", "z0")
        nodes = first + [("Add", ["a", "b"], ["r"], "", {})] + pair("r", "t", "one", "z-128") + [("Add", ["w", "t"], ["o"], "", {})]
        chain(f"kernel_odd_constants_{kind.__name__}", nodes, {"w": x}, ["o"], {**odd, "x": s * x, "y": s * y}, level=full)
    whole = {"zx": np.uint8(137), "zy": np.uint8(121), "half": f32(0.5), "one": f32(1)}
    start = [("QuantizeLinear", ["x", "half", "zx"], ["a"], "", {})]
    for op in ("QLinearAdd", "QLinearMul"):
        chain("halves_" + op.lower(), start + [("QuantizeLinear", ["y", "half", "zy"], ["b"], "", {}), (op, ["a", "half", "zx", "b", "half", "zy", "one", "zy"], ["r"], MS, {}),
                                               ("DequantizeLinear", ["r", "one", "zy"], ["o"], "", {})], {"x": x, "y": y}, ["o"], whole)
    odd = {"zx": np.uint8(137), "zy": np.uint8(121), "zp": np.uint8(0), "half": np.float32(0.01568628) / 2, "one": f32(0.01568628), "p": f32(1 / 255)}
    for name, op, tail, one in (("sum", "QLinearAdd", ["b", "half", "zy"], "one"), ("softmax", "QLinearSoftmax", [], "half")):
        made = [("QuantizeLinear", ["x", one, "zx"], ["a"], "", {}), *([("QuantizeLinear", ["y", "half", "zy"], ["b"], "", {})] if tail else []),
                (op, ["a", one, "zx", *tail, *(["one", "zy"] if tail else ["p", "zp"])], ["r"], MS, {} if tail else {"opset": 13, "axis": -1}),
                ("DequantizeLinear", ["r", *(["one", "zy"] if tail else ["p", "zp"])], ["o"], "", {})]
        chain("halves_odd_" + name, made, {"x": odd["one"] * x, "y": odd["one"] * y} if tail else {"x": rows}, ["o"], odd)
    for op, attributes in (("QLinearAveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("QLinearLeakyRelu", {"alpha": 0.5})):
        chain("halves_" + op.lower(), start + [(op, ["a", "half", "zx", "one", "zy"], ["r"], MS, attributes), ("DequantizeLinear", ["r", "one", "zy"], ["o"], "", {})],
              {"x": x}, ["o"], whole)


@part
def weights():
    """products with a dequantised weight, which onnxruntime runs as MatMulNBits: it rounds the activations in blocks"""
    x, w = f(5, 40), s8(40, 6)
    fixed = {"w": w, "s": f32(0.01), "z": np.int8(3), "ss": np.abs(f(6)) * np.float32(0.01), "zz": s8(6), "sb": np.abs(f(3, 6)) * np.float32(0.01), "zb": s8(3, 6), "b": f(6), "b1": f(1, 6),
             "qs": f32(0.05), "q8": np.uint8(120), "q16": np.uint16(30000), "as": f32(1e-4), "shape": np.array([6, 5])}
    whole, columns, rows = (["w", "s", "z"], {}), (["w", "ss", "zz"], {"axis": 1}), (["w", "sb", "zb"], {"axis": 0, "block_size": 16})
    product, neg = [("MatMul", ["x", "d"], ["p"], "", {})], [("Neg", ["p"], ["y"], "", {})]

    def bytes_of(v, y, s="qs", z="q8"):
        return [("QuantizeLinear", [v, s, z], [y + "q"], "", {}), ("DequantizeLinear", [y + "q", s, z], [y], "", {})]
    wide = bytes_of("x", "a", "as", "q16") + [("MatMul", ["a", "d"], ["p"], "", {})]
    for name, (operands, attributes), nodes in (("whole", whole, product + neg), ("columns", columns, product + neg), ("blocks", rows, product + neg),
                                                ("axis", (["w", "ss", "zz"], {"axis": -1}), product + neg), ("gemm", columns, [("Gemm", ["x", "d", "b"], ["p"], "", {})] + neg),
                                                ("gemm_scaled", columns, [("Gemm", ["x", "d", "b"], ["p"], "", {"alpha": 0.5})] + neg), ("gemm_row", columns, [("Gemm", ["x", "d", "b1"], ["p"], "", {})] + neg),
                                                ("clipped", columns, product + [("Relu", ["p"], ["r"], "", {}), ("Neg", ["r"], ["y"], "", {})]), ("to_bytes", columns, product + bytes_of("p", "y")),
                                                ("moved_to_bytes", columns, product + [("Reshape", ["p", "shape"], ["m"], "", {})] + bytes_of("m", "y")),
                                                ("wide", columns, wide + bytes_of("p", "y", "as", "q16")), ("wide_to_bytes", columns, wide + bytes_of("p", "y")),
                                                ("bytes", columns, bytes_of("x", "a") + [("MatMul", ["a", "d"], ["p"], "", {})] + neg)):
        chain("weight_" + name, [("DequantizeLinear", operands, ["d"], "", attributes)] + nodes, {"x": x}, ["y"], fixed, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    chain("weight_read_twice", [("DequantizeLinear", whole[0], ["d"], "", {})] + product + neg + [("Abs", ["d"], ["e"], "", {}), ("MatMul", ["x", "e"], ["t"], "", {})], {"x": x}, ["y", "t"], fixed,
          level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


@part
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
