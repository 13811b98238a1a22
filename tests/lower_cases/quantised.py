"""Integers and weights of few bits."""
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from lower_cases.base import MS, case, chain, f, f32, i32, i64, part, rng, s8, softmax, u8


@part
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
    # a bias in whole numbers of a scale that is known when the graph runs, as neural-compressor writes it
    q("conv_integer_bias", [("DynamicQuantizeLinear", ["x"], ["xq", "s", "z"], "", {}), ("ConvInteger", ["xq", "w", "z", "wz"], ["i"], "", {"strides": [2, 2]}), ("Mul", ["s", "ws"], ["u"], "", {}),
                            ("Div", ["b", "u"], ["bu"], "", {}), ("Floor", ["bu"], ["bf"], "", {}), ("Cast", ["bf"], ["bi"], "", {"to": 6}), ("Reshape", ["bi", "shape"], ["br"], "", {}),
                            ("Add", ["i", "br"], ["j"], "", {}), ("Cast", ["j"], ["jf"], "", {"to": 1}), ("Mul", ["jf", "u"], ["y"], "", {})],
      {"x": image}, ["y"], {"w": (np.arange(48) * 37 % 251).astype(np.uint8).reshape(4, 3, 2, 2), "wz": np.uint8(127), "ws": scale_b, "b": np.float32([0.7, -1.2, 0.3, 5.1]), "shape": i64(1, -1, 1, 1)})
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
    # whole numbers of one step are often halfway between two of a block's
    most = np.array([[6], [12], [18], [24], [26], [254]])
    grid = np.hstack([np.minimum(most, np.arange(31)), most]).astype(np.float32) * np.float32(0.0173)
    case("matmul_nbits_ties", "MatMulNBits", [grid, (np.arange(n * 32) * 29 % 253).astype(np.uint8).reshape(n, 1, 32), np.full(n, 0.004, np.float32)], domain=MS, fixed=(1, 2),
         K=32, N=n, bits=8, block_size=32, accuracy_level=4)
    case("matmul_nbits_bias", "MatMulNBits", [f(3, k), packed, scales, None, None, f(n)], domain=MS, fixed=(1, 2, 5), K=k, N=n, bits=4, block_size=block)


@part
def quantised_pairs():
    """Operands that were quantised and dequantised again (test_quantized.c)"""
    x, weight = f(2, 3, 16), s8(16, 6)
    scale, columns = f32(0.02), np.abs(f(6)) * np.float32(0.02) + np.float32(1e-3)
    base = {"s": f32(0.03), "z": np.uint8(120), "w": weight, "ws": scale, "wz": np.int8(0)}

    def pair(y="d", q="q", **attributes):
        return [("QuantizeLinear", ["x", "s", "z"], [q], "", attributes), ("DequantizeLinear", [q, "s", "z"], [y], "", attributes)]

    def q(name, nodes, fixed, outputs=("y",), given=x, **more):
        chain("pairs_" + name, nodes, {"x": given}, list(outputs), fixed, **more)

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
      {**base, "s": f32(1e-4), "z": np.int16(0)}, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


@part
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


@part
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


@part
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


@part
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


@part
def whole_products():
    """MatMulNBits with accuracy_level 4: onnxruntime rounds the activations too, block by block."""
    for n, k, size, bits, shape in ((6, 64, 16, 4, (1,)), (6, 64, 32, 4, (2, 3)), (5, 40, 16, 4, (3,)), (6, 64, 16, 8, (3,)), (6, 96, 32, 8, (1,)), (6, 64, 32, 2, (2,)), (6, 64, 16, 2, (2,)), (6, 128, 64, 2, (2,)), (6, 64, 64, 4, (2,)), (130, 64, 16, 4, (2,))):
        blocks = -(-k // size)
        for zeros in (False, True):
            more = [u8(n, (blocks * bits + 7) // 8)] if zeros else []
            case(f"matmul_nbits_whole_{bits}_{k}_{size}_{int(zeros)}", "MatMulNBits", [f(*shape, k), u8(n, blocks, size * bits // 8), np.abs(f(n, blocks, scale=0.1)), *more],
                 domain=MS, fixed=(1, 2, 3), K=k, N=n, bits=bits, block_size=size, accuracy_level=4)


def fixed_point(x, scale, zero, bits, signed, narrow):
    """QONNX's Quant"""
    most = 2.0 ** (bits - 1) - 1 if signed else 2.0 ** bits - 1 - narrow
    least = -most - (not narrow) if signed else 0
    return ((np.clip(np.rint(x.astype(np.float64) / scale + zero), least, most) - zero) * scale).astype(np.float32)


@part
def other_tools():
    """Formats that onnxruntime does not run: QONNX (Brevitas, QKeras, FINN), TensorRT's float8 (ModelOpt)."""
    x, w = f(2, 3, 8), f(8, 6)
    for name, bits, signed, zero in (("", 8, 1, 0), ("_unsigned", 8, 0, 7), ("_4bits", 4, 1, 0)):
        scale, wide = f32(0.05 if bits == 8 else 0.4), np.abs(f(1, 6)) * f32(0.02) + f32(0.01)
        chain("qonnx_quant" + name, [("Quant", ["x", "s", "z", "b"], ["q"], "qonnx.custom_op.general", {"signed": signed, "narrow": 0, "rounding_mode": "ROUND"}),
                                     ("Quant", ["w", "ws", "wz", "wb"], ["v"], "qonnx.custom_op.general", {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}), ("MatMul", ["q", "v"], ["y"], "", {})],
              {"x": x}, ["y"], {"s": scale, "z": f32(zero), "b": f32(bits), "w": w, "ws": wide, "wz": f32(0), "wb": f32(3)}, imports=["qonnx.custom_op.general"],
              wanted=[(fixed_point(x, scale, zero, bits, signed, 0).astype(np.float64) @ fixed_point(w, wide, 0, 3, 1, 1)).astype(np.float32)])
    steps = x.astype(np.float64) / f32(0.01)
    unit = 2.0 ** (np.maximum(np.floor(np.log2(np.abs(steps))), -6) - 3)  # a fraction of three bits, no exponent below -6
    chain("trt_float8", [("TRT_FP8QuantizeLinear", ["x", "s"], ["q"], "trt", {}), ("TRT_FP8DequantizeLinear", ["q", "s"], ["y"], "trt", {})], {"x": x}, ["y"], {"s": f32(0.01)}, imports=["trt"],
          wanted=[(np.clip(np.rint(steps / unit) * unit, -448, 448) * f32(0.01)).astype(np.float32)])
