#!/usr/bin/env python3
"""Rewrites a few exported families by every tool and option that people use; the same folder layout as make_families.py.

    make_tools.py OUT [FAMILY...]          ONLY=substring,…: only the tools whose name has one

A developer's tool: besides what make_families.py needs, each row imports what it rewrites with; a tool that is not installed
is noted as such. Names begin with the kind of rewriting: fp16, int8, qdq and int4 are judged as rounded files.
"""
import os, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
import check_families
import make_families as make
import families
import tools_more

FAMILIES = ["vit", "bert_pad", "gpt2_lm", "llama_gqa", "clip", "swin", "bart", "t5_enc"]
L = ort.GraphOptimizationLevel
TOOLS = {}


def tool(name, **kw):
    """f(path in, path out, family, feeds, **kw)"""
    def wrap(f):
        TOOLS[name] = lambda a, b, fam, x: f(a, b, fam, x, **kw)
        return f
    return wrap


def model_tool(name, **kw):
    """f(model, ...) -> model"""
    def wrap(f):
        TOOLS[name] = lambda a, b, fam, x: onnx.save(f(onnx.load(a), **kw), b)
        return f
    return wrap


# ------------------------------------------------------------------ onnxruntime's saved graphs
def saved(a, b, level, entries=(), disabled=()):
    o = ort.SessionOptions()
    o.graph_optimization_level = level
    o.optimized_model_filepath = b
    o.log_severity_level = 4
    for k, v in entries:
        o.add_session_config_entry(k, v)
    ort.InferenceSession(a, o, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled))


for tag, level, kw in [
        ("ortbasic", L.ORT_ENABLE_BASIC, {}), ("ortext", L.ORT_ENABLE_EXTENDED, {}), ("ortall", L.ORT_ENABLE_ALL, {}),
        ("approx_ort", L.ORT_ENABLE_EXTENDED, dict(entries=[("optimization.enable_gelu_approximation", "1")])),
        ("ortnofold", L.ORT_ENABLE_EXTENDED, dict(disabled=["ConstantFolding"])),
        ("ortnoattention", L.ORT_ENABLE_EXTENDED, dict(disabled=["AttentionFusion", "EmbedLayerNormFusion"])),
        ("ortnoskip", L.ORT_ENABLE_EXTENDED, dict(disabled=["SkipLayerNormFusion", "MatMulAddFusion"]))]:
    TOOLS[tag] = lambda a, b, fam, x, level=level, kw=kw: saved(a, b, level, **kw)


# ------------------------------------------------------------------ onnxruntime.transformers.optimizer
def fused(a, b, fam, x, kind=None, level=0, gpu=False, half=False, after=None, **options):
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions
    kind = kind or fam.ort_type
    if not kind:
        raise ValueError("no model type")
    o = FusionOptions(kind)
    for k, v in options.items():
        if k == "mask_format":
            o.set_attention_mask_format if False else o.use_raw_attention_mask(v == "raw")
            o.attention_mask_format = {"raw": AttentionMaskFormat.AttentionMask, "end": AttentionMaskFormat.MaskIndexEnd, "none": AttentionMaskFormat.NoMask}[v]
        else:
            setattr(o, k, v)
    m = optimizer.optimize_model(a, model_type=kind, num_heads=fam.heads, hidden_size=fam.width, opt_level=level, use_gpu=gpu, optimization_options=o)
    if after:
        after(m)
    if half:
        m.convert_float_to_float16(keep_io_types=True)
    m.save_model_to_file(b)


def row(name, **kw):
    TOOLS[name] = lambda a, b, fam, x: fused(a, b, fam, x, **kw)


row("fused")
row("fused_mha", use_multi_head_attention=True)
row("fused_raw_mask", mask_format="raw")
row("fused_mask_index", mask_format="end")
row("fused_gpu", gpu=True)
row("fused_gpu_packed", gpu=True, enable_packed_qkv=True, enable_packed_kv=True, use_multi_head_attention=True)
row("fused_noembed", enable_embed_layer_norm=False)
row("fused_noskip", enable_skip_layer_norm=False, enable_bias_gelu=False)
row("fused_noattention", enable_attention=False)
row("fused_noshape", enable_shape_inference=False)
row("approx_fused", enable_gelu_approximation=True)
row("approx_gemm", gpu=True, enable_gemm_fast_gelu=True, enable_gelu_approximation=True)
row("fused_level1", level=1)
row("fused_level2", level=2)
row("fused_level99", level=99)
row("fp16_fused", gpu=True, half=True)
for kind in ("bert", "bert_keras", "bert_tf", "gpt2", "gpt_neox", "phi", "swin", "vit", "clip", "bart", "t5", "tnlr", "conformer", "unet", "vae", "mmdit", "sam2"):
    row("fused_as_" + kind, kind=kind)
    for level in (1, 2, 99):
        row(f"fused_as_{kind}_level{level}", kind=kind, level=level)


@tool("fused_gqa")
def to_gqa(a, b, fam, x):
    from onnxruntime.transformers.convert_generation import replace_mha_with_gqa
    from onnxruntime.transformers import optimizer
    m = optimizer.optimize_model(a, model_type=fam.ort_type or "gpt2", num_heads=fam.heads, hidden_size=fam.width, opt_level=0, use_gpu=True)
    replace_mha_with_gqa(m, "attention_mask", 2)
    m.save_model_to_file(b)


@tool("fused_packing")
def packing(a, b, fam, x):
    """no padding inside: PackedAttention"""
    from onnxruntime.transformers.convert_to_packing_mode import PackingMode
    from onnxruntime.transformers.onnx_model import OnnxModel
    from onnxruntime.transformers import optimizer
    m = optimizer.optimize_model(a, model_type=fam.ort_type or "bert", num_heads=fam.heads, hidden_size=fam.width, opt_level=0, use_gpu=True)
    PackingMode(m).convert(True)
    m.save_model_to_file(b)


# ------------------------------------------------------------------ half precision
def half_ort(a, b, fam, x, **kw):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(a), **kw), b)


def half_common(a, b, fam, x, **kw):
    from onnxconverter_common.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(a), **kw), b)


tool("fp16_ort", keep_io_types=True)(half_ort)
tool("fp16_ort_io", keep_io_types=False)(half_ort)
tool("fp16_ort_block", keep_io_types=True, op_block_list=["LayerNormalization", "Softmax", "ReduceMean", "Gelu", "Erf"])(half_ort)
tool("fp16_ort_force", keep_io_types=True, force_fp16_initializers=True)(half_ort)
tool("fp16_common", keep_io_types=True)(half_common)
tool("fp16_common_io", keep_io_types=False)(half_common)
tool("fp16_common_block", keep_io_types=True, op_block_list=["Softmax", "Pow", "Sqrt", "Div"])(half_common)


@tool("fp16_auto")
def mixed(a, b, fam, x):
    from onnxconverter_common import auto_mixed_precision
    feeds = {k: v.numpy() for k, v in x.items() if k in {i.name for i in onnx.load(a).graph.input}}
    onnx.save(auto_mixed_precision.auto_convert_mixed_precision(onnx.load(a), feeds, rtol=0.02, atol=0.02, keep_io_types=True), b)


# ------------------------------------------------------------------ onnxruntime.quantization
def reader(a, x):
    from onnxruntime.quantization import CalibrationDataReader
    names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.it = iter([{k: v.numpy() for k, v in x.items() if k in names}])

        def get_next(self):
            return next(self.it, None)
    return Reader()


def dynamic(a, b, fam, x, kind="QInt8", fused_first=False, **kw):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    if fused_first:
        fused(a, b, fam, x)
        a = b
    quantize_dynamic(a, b, weight_type=QuantType[kind], **kw)


tool("int8_dyn")(dynamic)
tool("int8_dyn_u8", kind="QUInt8")(dynamic)
tool("int8_dyn_channel", per_channel=True)(dynamic)
tool("int8_dyn_channel_u8", kind="QUInt8", per_channel=True)(dynamic)
tool("int8_dyn_range", per_channel=True, reduce_range=True)(dynamic)
tool("int8_dyn_const", extra_options={"MatMulConstBOnly": True})(dynamic)
tool("int8_dyn_all", extra_options={"MatMulConstBOnly": False})(dynamic)
tool("int8_dyn_sym", extra_options={"WeightSymmetric": True, "EnableSubgraph": True})(dynamic)
tool("int8_dyn_asym", extra_options={"WeightSymmetric": False})(dynamic)
tool("int8_dyn_fused", fused_first=True)(dynamic)
tool("int8_dyn_gather", op_types_to_quantize=["Gather", "MatMul", "Attention", "EmbedLayerNormalization"], fused_first=True)(dynamic)


def static(a, b, fam, x, fmt="QDQ", pre=False, act="QInt8", weight="QInt8", **kw):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if pre:
        quant_pre_process(a, b + ".pre", skip_symbolic_shape=pre == "plain")
        a = b + ".pre"
    try:
        if "method" in kw:
            kw["calibrate_method"] = CalibrationMethod[kw.pop("method")]
        quantize_static(a, b, reader(a, x), quant_format=QuantFormat[fmt], activation_type=QuantType[act], weight_type=QuantType[weight], **kw)
    finally:
        if os.path.exists(b + ".pre"):
            os.remove(b + ".pre")


tool("qdq")(static)
tool("qdq_channel", per_channel=True)(static)
tool("qdq_pre", pre="symbolic", per_channel=True)(static)
tool("qdq_pre_plain", pre="plain")(static)
tool("qdq_u8", act="QUInt8", weight="QUInt8")(static)
tool("qdq_u8s8", act="QUInt8", per_channel=True, reduce_range=True)(static)
tool("qdq_a16", act="QUInt16", weight="QInt8")(static)
tool("qdq_a16w16", act="QInt16", weight="QInt16")(static)
tool("qdq_w4", act="QUInt8", weight="QInt4")(static)
tool("qdq_w4u", act="QUInt8", weight="QUInt4")(static)
tool("qdq_sym", extra_options={"ActivationSymmetric": True, "WeightSymmetric": True})(static)
tool("qdq_pairs", extra_options={"DedicatedQDQPair": True, "AddQDQPairToWeight": True})(static)
tool("qdq_weight_pairs", extra_options={"AddQDQPairToWeight": True, "OpTypesToExcludeOutputQuantization": ["MatMul", "Add"]})(static)
tool("qdq_qdq_last", extra_options={"ForceQuantizeNoInputCheck": True, "MatMulConstBOnly": True})(static)
tool("qdq_int32bias", extra_options={"QuantizeBias": False})(static)
tool("qdq_contrib", extra_options={"UseQDQContribOps": True})(static)
tool("qdq_entropy", method="Entropy")(static)
tool("qdq_percentile", method="Percentile")(static)
tool("qdq_matmul", op_types_to_quantize=["MatMul", "Gemm", "Conv"], per_channel=True)(static)
tool("qdq_smooth", extra_options={"SmoothQuant": True})(static)
tool("qdq_fp8", act="QFLOAT8E4M3FN", weight="QFLOAT8E4M3FN", method="Distribution")(static)
tool("int8_qop", fmt="QOperator")(static)
tool("int8_qop_channel", fmt="QOperator", per_channel=True)(static)
tool("int8_qop_u8", fmt="QOperator", act="QUInt8", weight="QUInt8")(static)
tool("int8_qop_u8s8", fmt="QOperator", act="QUInt8", weight="QInt8")(static)
tool("int8_qop_pre", fmt="QOperator", pre="symbolic")(static)


def qop_saved(a, b, fam, x, level=L.ORT_ENABLE_EXTENDED, **kw):
    """onnxruntime's own fusion of QDQ into integer operators"""
    static(a, b + ".q", fam, x, **kw)
    saved(b + ".q", b, level)
    os.remove(b + ".q")


tool("int8_qop_saved", per_channel=True)(qop_saved)
tool("int8_qop_saved_all", level=L.ORT_ENABLE_ALL, act="QUInt8", weight="QUInt8")(qop_saved)
tool("int8_qop_saved_u8s8", level=L.ORT_ENABLE_ALL, act="QUInt8")(qop_saved)
tool("int8_qop_saved_a16", level=L.ORT_ENABLE_ALL, act="QUInt16")(qop_saved)


# ------------------------------------------------------------------ few bits
def nbits(a, b, fam, x, algo=None, fused_first=False, **kw):
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization import matmul_nbits_quantizer as q
    if kw.get("quant_format"):
        kw["quant_format"] = QuantFormat[kw["quant_format"]]
    if algo == "hqq":
        config = q.HQQWeightOnlyQuantConfig(block_size=32, bits=4)
    elif algo == "rtn":
        config = q.RTNWeightOnlyQuantConfig()
    elif algo == "kquant":
        config = q.KQuantWeightOnlyQuantConfig()
    elif algo == "gptq":
        config = q.GPTQWeightOnlyQuantConfig(calibration_data_reader=reader(a, x), block_size=32)
    else:
        config = None
    kw = {"block_size": 32, **kw}
    m = q.MatMulNBitsQuantizer(onnx.load(a), algo_config=config, **kw)
    m.process()
    m.model.save_model_to_file(b)


tool("int4")(nbits)
tool("int4_sym", is_symmetric=True)(nbits)
tool("int4_16", block_size=16)(nbits)
tool("int4_128", block_size=128)(nbits)
tool("int4_level4", accuracy_level=4)(nbits)
tool("int4_qdq", quant_format="QDQ")(nbits)
tool("int4_qdq_sym", quant_format="QDQ", is_symmetric=True)(nbits)
tool("int4_gather", op_types_to_quantize=("MatMul", "Gather"))(nbits)
tool("int4_channel", channel_wised_quantize=True, quant_format="QDQ")(nbits)
tool("int4_hqq", algo="hqq")(nbits)
tool("int4_rtn", algo="rtn")(nbits)
tool("int4_kquant", algo="kquant")(nbits)
tool("int4_gptq", algo="gptq")(nbits)
tool("int4_8bits", bits=8)(nbits)
tool("int4_2bits", bits=2)(nbits)


def bnb4(a, b, fam, x, kind=1, block=64):
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
    m = MatMulBnb4Quantizer(onnx.load(a), kind, block)
    m.process()
    m.model.save_model_to_file(b)


tool("int4_nf4", kind=1)(bnb4)
tool("int4_fp4", kind=0, block=32)(bnb4)


@tool("int4_half")
def q4f16(a, b, fam, x):
    """as transformers.js has them: 4-bit weights, half precision elsewhere"""
    nbits(a, b, fam, x)
    half_ort(b, b, fam, x, keep_io_types=True, disable_shape_infer=True)


# ------------------------------------------------------------------ simplifiers
@model_tool("onnxopt")
def onnxopt(m):
    import onnxoptimizer
    return onnxoptimizer.optimize(m)


@model_tool("onnxopt_all")
def onnxopt_all(m):
    import onnxoptimizer
    return onnxoptimizer.optimize(m, [p for p in onnxoptimizer.get_available_passes() if p not in ("split_init", "split_predict", "rename_input_output", "set_unique_name_for_nodes", "lift_lexical_references", "eliminate_if_with_const_cond")])


@model_tool("onnxopt_rename")
def onnxopt_rename(m):
    import onnxoptimizer
    return onnxoptimizer.optimize(m, ["lift_lexical_references", "set_unique_name_for_nodes", "rename_input_output"])


TOOLS["slim"], TOOLS["sim"], TOOLS["simfix"] = make.rewrite_slim, make.rewrite_sim, make.rewrite_simfix


@tool("slimfix")
def slimfix(a, b, fam, x):
    import onnxslim
    names = {i.name for i in onnx.load(a).graph.input}
    onnx.save(onnxslim.slim(a, input_shapes=[f"{k}:{','.join(map(str, v.shape))}" for k, v in x.items() if k in names]), b)


@model_tool("surgeon")
def surgeon(m):
    import onnx_graphsurgeon as gs
    g = gs.import_onnx(m)
    g.fold_constants().cleanup().toposort()
    return gs.export_onnx(g)


@tool("spox")
def through_spox(a, b, fam, x):
    """inlined into a model that spox builds"""
    import spox
    m = onnx.load(a)
    shapes = {i.name: i.type.tensor_type for i in m.graph.input}
    given = {k: spox.argument(spox.Tensor(helper.tensor_dtype_to_np_dtype(t.elem_type), tuple(d.dim_value or d.dim_param or None for d in t.shape.dim))) for k, t in shapes.items()}
    onnx.save(spox.build(given, spox.inline(m)(**given)), b)


@model_tool("sanitize")
def sanitize(m):
    from polygraphy.backend.onnx import fold_constants
    return fold_constants(m, partitioning="recursive", fold_shapes=True)


@model_tool("script")
def script(m):
    import onnxscript.optimizer
    return onnxscript.optimizer.optimize(m)


@model_tool("script_rewritten")
def script_rewritten(m):
    import onnxscript.rewriter
    return onnxscript.rewriter.rewrite(m)


@model_tool("script_fused")
def script_fused(m):
    """onnxscript's fusions for onnxruntime: SDPA, MultiHeadAttention, GroupQueryAttention"""
    import onnx_ir as ir
    from onnxscript.rewriter.ort_fusions import optimize_for_ort
    model = ir.from_proto(m)
    r = optimize_for_ort(model)
    return ir.to_proto(r[0] if isinstance(r, tuple) else model)


@model_tool("script_fusion23")
def script_fusion23(m):
    """onnxscript's fusions to the operators of opset 23"""
    import onnx_ir as ir
    from onnxscript import version_converter
    from onnxscript.rewriter import onnx_fusions
    model = ir.from_proto(m)
    version_converter.convert_version(model, 23)
    onnx_fusions.fuse(model)
    return ir.to_proto(model)


@model_tool("ir_passes")
def ir_passes(m):
    import onnx_ir as ir
    from onnx_ir.passes import common
    model = ir.from_proto(m)
    for p in (common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0), common.CommonSubexpressionEliminationPass(), common.DeduplicateInitializersPass(),
              common.IdentityEliminationPass(), common.LiftSubgraphInitializersToMainGraphPass(), common.TopologicalSortPass(), common.ShapeInferencePass()):
        p(model)
    return ir.to_proto(model)


def version(m, to):
    return onnx.version_converter.convert_version(m, to)


def version_script(m, to):
    import onnx_ir as ir
    from onnxscript import version_converter
    model = ir.from_proto(m)
    version_converter.convert_version(model, to, fallback=False)
    return ir.to_proto(model)


for to in range(7, 25):
    model_tool(f"version{to}", to=to)(version)
for to in range(18, 25):
    model_tool(f"version{to}s", to=to)(version_script)


# ------------------------------------------------------------------ the same graph in another file
@model_tool("shapes_inferred")  # quantize_static leaves, and removes, a file -inferred
def inferred(m):
    return onnx.shape_inference.infer_shapes(m, data_prop=True)


@model_tool("symbolic")
def symbolic(m):
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
    return SymbolicShapeInference.infer_shapes(m, auto_merge=True)


@tool("extracted")
def extracted(a, b, fam, x):
    """onnx.utils.extract_model, of everything"""
    m = onnx.load(a)
    onnx.utils.extract_model(a, b, [i.name for i in m.graph.input], [o.name for o in m.graph.output])


@model_tool("sparse")
def sparse(m):
    """matrices as sparse_initializer"""
    dense = []
    for t in m.graph.initializer:
        v = numpy_helper.to_array(t)
        if t.data_type != 1 or v.ndim != 2:
            dense.append(t)
            continue
        at = np.flatnonzero(v).astype(np.int64)
        m.graph.sparse_initializer.append(helper.make_sparse_tensor(numpy_helper.from_array(v.ravel()[at], t.name), numpy_helper.from_array(at, t.name + "_at"), v.shape))
    del m.graph.initializer[:]
    m.graph.initializer.extend(dense)
    return m


@model_tool("fp16_bfloat")
def bfloat(m):
    """matrices as bfloat16 with a Cast behind each"""
    for t in list(m.graph.initializer):
        v = numpy_helper.to_array(t)
        if t.data_type == 1 and v.ndim > 1:
            half = (v.view(np.uint32) + 0x8000 >> 16).astype(np.uint16)
            name = t.name
            t.CopyFrom(helper.make_tensor(name + "_bf16", TensorProto.BFLOAT16, v.shape, half.tobytes(), raw=True))
            m.graph.node.insert(0, helper.make_node("Cast", [name + "_bf16"], [name], to=1))
    return m


@model_tool("unicode")
def strange_names(m):
    """names with quotes, slashes, spaces and letters of other alphabets"""
    keep = {v.name for v in [*m.graph.input, *m.graph.output]}
    if any(a.type == onnx.AttributeProto.GRAPH for n in m.graph.node for a in n.attribute) or m.functions:
        raise ValueError("sub-graphs")
    new = {v: f"名 / ünï {k} \"<&>'" for k, v in enumerate(dict.fromkeys(v for v in [*[t.name for t in m.graph.initializer], *[o for n in m.graph.node for o in n.output]] if v and v not in keep))}
    for t in m.graph.initializer:
        t.name = new[t.name]
    for k, n in enumerate(m.graph.node):
        n.name = "" if k % 2 else f"узел {k}"
        n.input[:], n.output[:] = [[new.get(v, v) for v in names] for names in (n.input, n.output)]
    del m.graph.value_info[:]
    return m


def external(a, b, fam, x, **kw):
    folder, tag = os.path.dirname(b), os.path.basename(b)[:-5]
    onnx.save_model(onnx.load(a), b, save_as_external_data=True, size_threshold=0, **({"location": tag + ".data"} if kw.get("all_tensors_to_one_file") else {}), **kw)


tool("external_one", all_tensors_to_one_file=True)(external)
tool("external_attribute", all_tensors_to_one_file=True, convert_attribute=True)(external)


@model_tool("prefixed")
def prefixed(m):
    return onnx.compose.add_prefix(m, "net/", rename_inputs=False, rename_outputs=False)


@model_tool("initializers_first")
def initializers_first(m):
    """IR 3: every initializer is an input"""
    for t in m.graph.initializer:
        m.graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, t.dims))
    m.ir_version = 3
    return m


def ir_version(m, to):
    m.ir_version = to
    return m


for to in (4, 7, 8, 9, 10, 11, 12, 13):
    model_tool(f"ir{to}", to=to)(ir_version)


@model_tool("typed_fields")
def typed_fields(m):
    """data in float_data, int64_data … instead of raw_data"""
    for t in list(m.graph.initializer) + [a.t for n in m.graph.node for a in n.attribute if a.type == onnx.AttributeProto.TENSOR]:
        v = numpy_helper.to_array(t)
        t.CopyFrom(helper.make_tensor(t.name, t.data_type, t.dims, v.flatten().tolist()))
    return m


@model_tool("constant_nodes")
def constant_nodes(m):
    """initializers as Constant nodes"""
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in m.graph.initializer]
    rest = list(m.graph.node)
    del m.graph.initializer[:], m.graph.node[:]
    m.graph.node.extend(nodes + rest)
    return m


@model_tool("anonymous")
def anonymous(m):
    """no node names, values numbered, no value types"""
    keep = {v.name for v in list(m.graph.input) + list(m.graph.output)}
    names = {}

    def new(n):
        return n if n in keep or not n else names.setdefault(n, str(len(names)))
    if any(a.type == onnx.AttributeProto.GRAPH for n in m.graph.node for a in n.attribute) or m.functions:
        raise ValueError("sub-graphs")
    for n in m.graph.node:
        n.name = ""
        n.input[:] = [new(i) for i in n.input]
        n.output[:] = [new(i) for i in n.output]
    for t in m.graph.initializer:
        t.name = new(t.name)
    del m.graph.value_info[:]
    m.graph.name = ""
    m.producer_name = ""
    return m


@model_tool("functions")
def functions(m):
    """every three nodes a function of its own domain, and functions of these: nested"""
    return pack(pack(m, 3, "inner"), 4, "outer")


def pack(m, size, domain):
    if any(a.type == onnx.AttributeProto.GRAPH for n in m.graph.node for a in n.attribute):
        raise ValueError("sub-graphs")
    outputs, nodes = {o.name for o in m.graph.output}, list(m.graph.node)
    groups = [nodes[i:i + size] for i in range(0, len(nodes), size)]
    readers = {}
    for g, group in enumerate(groups):
        for n in group:
            for i in n.input:
                readers.setdefault(i, set()).add(g)
    del m.graph.node[:]
    for g, group in enumerate(groups):
        made = [o for n in group for o in n.output if o]
        ins = list(dict.fromkeys(i for n in group for i in n.input if i and i not in made))
        outs = [o for o in made if o in outputs or readers.get(o, set()) - {g}]
        f = helper.make_function(domain, f"part{g}", ins, outs, group, list(m.opset_import))
        m.functions.append(f)
        m.graph.node.append(helper.make_node(f"part{g}", ins, outs, domain=domain, name=f"{domain}{g}"))
    m.opset_import.append(helper.make_opsetid(domain, 1))
    for f in m.functions:
        if domain != "inner" and f.domain == domain:
            f.opset_import.append(helper.make_opsetid("inner", 1)) if "inner" not in {o.domain for o in f.opset_import} else None
    m.ir_version = max(m.ir_version, 8)
    return m


@model_tool("inlined")
def inlined(m):
    return onnx.inliner.inline_local_functions(m)


@model_tool("in_if")
def in_if(m):
    """the whole model in the branch of an If, as merged decoders are"""
    g = m.graph
    names = {o.name: o.name + "_in" for o in g.output}
    for n in g.node:
        n.input[:], n.output[:] = [names.get(i, i) for i in n.input], [names.get(i, i) for i in n.output]
    body = helper.make_graph(list(g.node), "body", [], [helper.make_tensor_value_info(names[o.name], o.type.tensor_type.elem_type, None) for o in g.output], list(g.initializer))
    other = helper.make_graph([helper.make_node("Constant", [], [o.name + "_none"], value=helper.make_tensor("", 1, [1], [0.0])) for o in g.output], "other", [],
                              [helper.make_tensor_value_info(o.name + "_none", 1, None) for o in g.output])
    outs = [o.name for o in g.output]
    cond = helper.make_node("Constant", [], ["cond"], value=helper.make_tensor("", 9, [1], [True]))
    nodes = [cond, helper.make_node("If", ["cond"], outs, then_branch=body, else_branch=other)]
    out = [helper.make_tensor_value_info(o, 1, None) for o in outs]
    n = onnx.helper.make_model(helper.make_graph(nodes, "g", list(g.input), out), opset_imports=list(m.opset_import), ir_version=m.ir_version, functions=list(m.functions))
    return n


@model_tool("with_unused")
def with_unused(m):
    """nodes and initializers that no output needs, one of them of an unknown operator's domain"""
    x = m.graph.input[0].name
    m.graph.node.insert(0, helper.make_node("Shape", [x], ["unused_shape"]))
    m.graph.node.append(helper.make_node("NonZero", [x], ["unused_places"]))
    m.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused_weight"))
    return m


@model_tool("twice")
def twice(m):
    """an output under a second name"""
    o = m.graph.output[0]
    m.graph.node.append(helper.make_node("Identity", [o.name], ["again"]))
    m.graph.output.append(helper.make_tensor_value_info("again", 1, None))
    return m


@model_tool("preprocessed")
def preprocessed(m):
    """onnx.compose.merge_models with a model that scales the picture"""
    i = next((i for i in m.graph.input if i.type.tensor_type.elem_type == 1), None)
    if i is None:
        raise ValueError("no picture")
    pre = helper.make_model(helper.make_graph([helper.make_node("Sub", ["raw", "mean"], ["c"]), helper.make_node("Div", ["c", "std"], ["scaled"])], "pre",
                            [helper.make_tensor_value_info("raw", 1, ["b", 3, None, None])], [helper.make_tensor_value_info("scaled", 1, ["b", 3, None, None])],
                            [numpy_helper.from_array(np.zeros((3, 1, 1), np.float32), "mean"), numpy_helper.from_array(np.ones((3, 1, 1), np.float32), "std")]),
                            opset_imports=[o for o in m.opset_import if not o.domain], ir_version=m.ir_version)
    n = onnx.compose.merge_models(pre, m, [("scaled", i.name)], prefix1="pre_", prefix2="net_") if False else onnx.compose.merge_models(pre, m, [("scaled", i.name)])
    for node in n.graph.node:
        node.input[:] = [i.name if v == "raw" else v for v in node.input]
    for v in n.graph.input:
        if v.name == "raw":
            v.name = i.name
    for node in n.graph.node:  # the merged value needs another name than the input
        if node.op_type == "Div" and node.output[0] == "scaled":
            pass
    return n


tools_more.rows(tool, model_tool, reader, static, saved, nbits, {"basic": L.ORT_ENABLE_BASIC, "extended": L.ORT_ENABLE_EXTENDED, "all": L.ORT_ENABLE_ALL})


def leave_out_other_models(folder, base, variant, notes):
    """A tool that was told a wrong kind of model may write another one: not the same weights, nothing to compare."""
    if notes.get(variant) != "ok" or check_families.rough_of(variant):
        return
    want, got = np.load(f"{folder}/{base}.npz"), np.load(f"{folder}/{variant}.npz")
    off = max((check_families.relative(got[k], want[k]) for k in want.files if k in got.files), default=0.0)  # an output may have another name
    if off > 1e-3:
        notes[variant] = f"onnxruntime computes other outputs with it than with the file it was made of ({off:.0e})"
        os.remove(f"{folder}/{variant}.onnx")


def make_all(fam, out):
    folder = f"{out}/{fam.name}"
    os.makedirs(folder, exist_ok=True)
    notes, only = {}, os.environ.get("ONLY", "")
    make.ONLY.clear()  # exporters' names there, tools' names here
    torch.manual_seed(1)
    inputs = fam.inputs()
    for k, v in inputs.items():
        np.save(f"{folder}/input.{k}.npy", v.numpy())
    torch.manual_seed(2)
    model = make.randomise(fam.build(fam.attentions[0]), 3 + int(os.environ.get("SEED", 0)))
    for kind, opset in (("ts17", 17), ("dyn18", 18)):
        if kind not in fam.skip:
            make.attempt(notes, kind, folder, inputs, lambda p: make.export(fam, model, inputs, kind, opset, p))
    for kind in [k for k in ("ts17", "dyn18") if notes.get(k) == "ok"]:
        for name, f in TOOLS.items():
            if any(o in name for o in only.split(",")):
                make.attempt(notes, f"{kind}-{name}", folder, inputs, lambda p: f(f"{folder}/{kind}.onnx", p, fam, inputs))
                leave_out_other_models(folder, kind, f"{kind}-{name}", notes)
    make.describe(fam, folder, inputs, next((k for k in ("ts17", "dyn18") if notes.get(k) == "ok"), None), notes)
    return notes


def main():
    make.only_log()
    out, names = os.path.abspath(sys.argv[1]), sys.argv[2:] or FAMILIES
    scratch = tempfile.TemporaryDirectory()  # some tools write where they stand
    os.chdir(scratch.name)
    for fam in families.FAMILIES:
        if fam.name in names:
            make.report(fam.name, make_all(fam, out))


if __name__ == "__main__":
    main()
