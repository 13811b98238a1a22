"""Operators of ai.onnx: forms of older versions, small ones, Einsum, control flow, recurrences, signals, pictures."""
import math

import numpy as np
from onnx import TensorProto, helper

from lower_cases.base import MS, case, chain, f, f32, i32, i64, part


@part
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


@part
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


@part
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


@part
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


@part
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


@part
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


@part
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


@part
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


@part
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


@part
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
