"""More rows for make_tools.py: tools with a pipeline of their own (Olive, neural-compressor, ModelOpt, Quark, AIMET, NNCF, qonnx) and further settings of
onnxruntime's quantisers and saved graphs. Imported by make_tools.py; what is not installed is noted as such when a row runs."""
import os, shutil, tempfile
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def rows(tool, model_tool, reader, static, saved, nbits, levels):
    """Adds them by make_tools.py's own decorators; returns nothing."""
    def olive(a, b, fam, x, steps):
        """steps: (name of a pass, its settings; a function of the model's path and inputs for what depends on them)"""
        from olive.model import ONNXModelHandler
        from olive.package_config import OlivePackageConfig
        from olive.passes.olive_pass import create_pass_from_dict
        packages = OlivePackageConfig.load_default_config()
        out = tempfile.mkdtemp()
        try:
            model = ONNXModelHandler(a)
            for k, (name, settings) in enumerate(steps):
                settings = settings(a, x) if callable(settings) else settings
                os.makedirs(f"{out}/{k}")
                model = create_pass_from_dict(packages.import_pass_module(name), {"save_as_external_data": False, **settings} if name != "OnnxOpVersionConversion" else settings,
                                              disable_search=True).run(model, f"{out}/{k}/m.onnx")
            onnx.save(onnx.load(model.model_path), b)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def feeds(a, x):
        from olive.data.config import DataComponentConfig, DataConfig
        from olive.data.registry import Registry
        names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}

        class Data:
            def __len__(self):
                return 1

            def __getitem__(self, k):
                return {n: v[0] for n, v in x.items() if n in names}, 0
        Registry.register_dataset("feeds_of_family")(lambda **kw: Data())
        return {"data_config": DataConfig(name="feeds_of_family", load_dataset_config=DataComponentConfig(type="feeds_of_family"), pre_process_data_config=DataComponentConfig(type="skip_pre_process"),
                                          post_process_data_config=DataComponentConfig(type="skip_post_process"))}

    def through(name, *steps):
        tool(name, steps=steps)(olive)

    through("olive_peephole", ("OnnxPeepholeOptimizer", {}))
    for kind in ("bert", "vit", "gpt2", "clip"):
        through(f"olive_optimized_{kind}", ("OrtTransformersOptimization", {"model_type": kind, "opt_level": 0}))
        through(f"olive_optimized_{kind}_ort", ("OrtTransformersOptimization", {"model_type": kind, "only_onnxruntime": True, "opt_level": 2}))
        through(f"fp16_olive_{kind}", ("OrtTransformersOptimization", {"model_type": kind, "use_gpu": True, "float16": True, "opt_level": 0}))
    through("fp16_olive", ("OnnxFloatToFloat16", {"keep_io_types": True}))
    through("fp16_olive_io", ("OnnxFloatToFloat16", {"keep_io_types": False}), ("OnnxIODataTypeConverter", {"source_dtype": 10, "target_dtype": 1}))
    through("fp16_olive_mixed", ("OrtMixedPrecision", {}))
    through("int8_olive_dynamic", ("OnnxDynamicQuantization", {}))
    through("qdq_olive", ("OnnxStaticQuantization", feeds))
    through("qdq_olive_u16", ("OnnxStaticQuantization", lambda a, x: {**feeds(a, x), "precision": "uint8", "activation_type": "uint16"}))
    through("qdq_olive_qnn", ("QNNPreprocess", {"fuse_layernorm": True}), ("OnnxStaticQuantization", lambda a, x: {**feeds(a, x), "activation_type": "uint16", "precision": "uint8", "prepare_qnn_config": True}))
    through("qnn_olive", ("QNNPreprocess", {"fuse_layernorm": True}))
    through("int8_olive_operators", ("OnnxStaticQuantization", lambda a, x: {**feeds(a, x), "quant_format": "QOperator"}))
    through("int4_olive_rtn", ("OnnxBlockWiseRtnQuantization", {"block_size": 16}))
    through("int4_olive_rtn8", ("OnnxBlockWiseRtnQuantization", {"block_size": 32, "bits": 8}))
    through("int4_olive_hqq", ("OnnxHqqQuantization", {"block_size": 32}))
    through("int4_olive_kquant", ("OnnxKQuantQuantization", {"block_size": 32}))
    through("int4_olive_bnb", ("OnnxBnb4Quantization", {"precision": "nf4"}))
    through("int4_olive_qdq", ("OnnxBlockWiseRtnQuantization", {"block_size": 32}), ("MatMulNBitsToQDQ", {}))
    through("int4_olive_qdq_signed", ("OnnxBlockWiseRtnQuantization", {"block_size": 32}), ("MatMulNBitsToQDQ", {"use_int4": True, "add_zero_point": True, "nodes_to_exclude": []}))
    through("int4_olive_qdq_notranspose", ("OnnxBlockWiseRtnQuantization", {"block_size": 32}), ("MatMulNBitsToQDQ", {"use_transpose_op": True}))
    through("olive_script", ("OnnxScriptFusion", {}))
    through("olive_fixed", ("DynamicToFixedShape", lambda a, x: {"input_name": [n for n in x if n in {i.name for i in onnx.load(a).graph.input}],
                                                                 "input_shape": [list(v.shape) for n, v in x.items() if n in {i.name for i in onnx.load(a).graph.input}]}))
    for v in (18, 20, 21, 22, 23):
        through(f"olive_version{v}", ("OnnxOpVersionConversion", {"target_opset": v}))
    plain = lambda name, **kw: ("GraphSurgeries", {"surgeries": [{"surgeon": name, **kw}]})
    for name in ("InferShapes", "RemoveShapes", "RemoveInitializerFromInputs", "DecomposeQuickGelu", "RMSNormToL2Norm", "SimplifiedLayerNormToRMSNorm", "SimplifiedLayerNormToL2Norm",
                 "PowReduceSumPowDiv2LpNorm", "MatMulAddToGemm", "GemmToMatMulAdd", "ReplaceAttentionMaskValue", "TieWordEmbeddings", "ReciprocalMulToDiv", "DeduplicateSubgraphInitializers",
                 "DeduplicateNodes", "MatMulToTransposeConvTranspose", "RemoveIntermediarySqueezeAndUnsqueeze", "StandaloneReduceSum", "Gather", "GatherElements", "Non4DInitializers",
                 "RemoveAllTensorValueShapes", "Non4DReshape", "Non4DExpand", "Non4DTranspose", "Non4DSlice", "Non4DLpNorm", "Flatten", "ReshapeReduceSum", "ReshapeClipReduceSum", "ReduceMax",
                 "Non4DModelInputs", "AttentionMaskToSequenceLengths", "ShareEmbeddingLmHead"):
        through(f"surgery_{name}", plain(name))
    through("approx_surgery_tanh", plain("ReplaceErfWithTanh"))
    through("int8_surgery_embedding", plain("QuantizeEmbeddingInt8"))
    through("surgery_nvidia", *[plain(n) for n in ("RemoveShapes", "MatMulAddToGemm", "DeduplicateNodes", "ReciprocalMulToDiv")])
    through("int4_surgery_gidx", ("OnnxBlockWiseRtnQuantization", {"block_size": 32}), plain("RemoveGidxFromMatMulNBits"))

    # ------------------------------------------------------------------ neural-compressor (onnx_neural_compressor)
    def compressed(a, b, fam, x, algo, **kw):
        from onnx_neural_compressor.quantization import config, matmul_nbits_quantizer as q
        make = {"rtn": q.RTNWeightOnlyQuantConfig, "gptq": q.GPTQWeightOnlyQuantConfig, "awq": q.AWQWeightOnlyQuantConfig}[algo]
        calibrated = {} if algo == "rtn" else {"calibration_data_reader": calibration(a, x)}
        m = q.MatMulNBitsQuantizer(a, algo_config=make(**calibrated), **{"block_size": 32, **kw})
        m.process()
        onnx.save(getattr(m.model, "model", m.model), b)

    def calibration(a, x):
        from onnx_neural_compressor import data_reader
        names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}

        class Reader(data_reader.CalibrationDataReader):
            def __init__(self):
                self.rewind()

            def rewind(self):
                self.it = iter([{k: v.numpy() for k, v in x.items() if k in names}] * 2)

            def get_next(self):
                return next(self.it, None)
        return Reader()

    for algo in ("rtn", "gptq", "awq"):
        tool(f"int4_inc_{algo}", algo=algo)(compressed)
        tool(f"int4_inc_{algo}_sym", algo=algo, is_symmetric=True)(compressed)
        tool(f"int4_inc_{algo}_8bits", algo=algo, n_bits=8)(compressed)
        tool(f"int4_inc_{algo}_16", algo=algo, block_size=16)(compressed)

    def smooth(a, b, fam, x, smoothed=True, fmt="QDQ", **kw):
        from onnx_neural_compressor.quantization import QuantFormat, config, quantize
        quantize(a, b, config.StaticQuantConfig(calibration_data_reader=calibration(a, x), quant_format=QuantFormat[fmt], extra_options={"SmoothQuant": smoothed, "SmoothQuantAlpha": 0.5}, **kw))

    tool("qdq_inc_smooth")(smooth)
    tool("qdq_inc", smoothed=False)(smooth)
    tool("int8_inc_operators", fmt="QOperator", smoothed=False)(smooth)
    tool("int8_inc_smooth", fmt="QOperator")(smooth)
    tool("qdq_inc_channel", smoothed=False, per_channel=True)(smooth)

    @tool("int8_inc_dynamic")
    def inc_dynamic(a, b, fam, x):
        from onnx_neural_compressor.quantization import config, quantize
        quantize(a, b, config.DynamicQuantConfig())

    # ------------------------------------------------------------------ NVIDIA ModelOpt
    def modelopt(a, b, fam, x, mode, **kw):
        from modelopt.onnx.quantization import quantize
        names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}
        quantize(a, quantize_mode=mode, calibration_data={k: v.numpy() for k, v in x.items() if k in names}, calibration_eps=["cpu"], output_path=b, **kw)

    tool("qdq_modelopt_int8", mode="int8")(modelopt)
    tool("qdq_modelopt_int8_entropy", mode="int8", calibration_method="entropy", high_precision_dtype="fp32")(modelopt)
    tool("qdq_modelopt_int8_fp16", mode="int8", high_precision_dtype="fp16")(modelopt)
    tool("qdq_modelopt_fp8", mode="fp8", high_precision_dtype="fp32")(modelopt)
    tool("int4_modelopt", mode="int4", high_precision_dtype="fp32")(modelopt)
    tool("int4_modelopt_rtn", mode="int4", calibration_method="rtn_dq", high_precision_dtype="fp32")(modelopt)
    tool("int4_modelopt_awq", mode="int4", calibration_method="awq_lite", high_precision_dtype="fp32", block_size=32)(modelopt)

    def autocast(a, b, fam, x, kind):
        from modelopt.onnx.autocast import convert_to_f16
        onnx.save(convert_to_f16(onnx.load(a), low_precision_type=kind, keep_io_types=True), b)

    tool("fp16_autocast", kind="fp16")(autocast)
    tool("fp16_autocast_bf16", kind="bf16")(autocast)

    # ------------------------------------------------------------------ AMD Quark, AIMET
    def quark(a, b, fam, x, kind):
        from quark.onnx import ModelQuantizer
        from quark.onnx.quantization.config.config import Config
        from quark.onnx.quantization.config.custom_config import get_default_config
        ModelQuantizer(Config(global_quant_config=get_default_config(kind))).quantize_model(a, b, reader(a, x))

    for kind in ("XINT8", "VINT8", "U8S8_AAWS", "S8S8_AAWS", "U8U8_AAWA", "S16S8_ASWS", "U16S8_AAWS", "INT8_TRANSFORMER_DEFAULT", "INT16_TRANSFORMER_DEFAULT", "INT8_CNN_DEFAULT", "S16S16_MIXED_S8S8"):
        tool(f"qdq_quark_{kind.lower()}", kind=kind)(quark)
    tool("int8_quark_dynamic", kind="UINT8_DYNAMIC_QUANT")(quark)
    tool("int4_quark", kind="MATMUL_NBITS")(quark)

    def aimet(a, b, fam, x, weights, activations):
        import aimet_onnx
        names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}
        sim = aimet_onnx.QuantizationSimModel(onnx.load(a), param_type=getattr(aimet_onnx, weights), activation_type=getattr(aimet_onnx, activations))
        sim.compute_encodings([{k: v.numpy() for k, v in x.items() if k in names}])
        onnx.save(sim.to_onnx_qdq(), b)

    for activations in ("int8", "int16", "float16"):
        tool(f"qdq_aimet_w8_{activations}", weights="int8", activations=activations)(aimet)
        tool(f"qdq_aimet_w16_{activations}", weights="int16", activations=activations)(aimet)
        tool(f"int4_aimet_{activations}", weights="int4", activations=activations)(aimet)

    # ------------------------------------------------------------------ OpenVINO's NNCF
    def nncf(a, b, fam, x, compress=None, calibrated=False, **kw):
        """weights alone by `compress`, a mode of compress_weights, which needs opset 21 for scales that are no vectors"""
        import nncf
        names, m = {i.name for i in onnx.load(a, load_external_data=False).graph.input}, onnx.load(a)
        data = nncf.Dataset([{k: v.numpy() for k, v in x.items() if k in names}] * 2)
        kw = {k: v(nncf) if callable(v) else v for k, v in kw.items()}
        if compress:
            onnx.save(nncf.compress_weights(onnx.version_converter.convert_version(m, 21), mode=nncf.CompressWeightsMode[compress], dataset=data if calibrated else None, **kw), b)
        else:
            onnx.save(nncf.quantize(m, data, subset_size=2, **kw), b)

    tool("qdq_nncf")(nncf)
    tool("qdq_nncf_transformer", model_type=lambda n: n.ModelType.TRANSFORMER)(nncf)
    tool("qdq_nncf_mixed", model_type=lambda n: n.ModelType.TRANSFORMER, preset=lambda n: n.QuantizationPreset.MIXED)(nncf)
    tool("qdq_nncf_slow", fast_bias_correction=False)(nncf)
    for mode in ("INT8_ASYM", "INT8_SYM"):
        tool(f"int8_nncf_{mode[5:].lower()}", compress=mode)(nncf)
    for size in (8, 16, -1):
        for mode in ("INT4_ASYM", "INT4_SYM"):
            tool(f"int4_nncf_{mode[5:].lower()}{'_channel' if size < 0 else size}", compress=mode, group_size=size, ratio=1.0)(nncf)
    tool("int4_nncf_awq", compress="INT4_SYM", group_size=16, ratio=1.0, calibrated=True, awq=True)(nncf)
    tool("int4_nncf_scales", compress="INT4_SYM", group_size=16, ratio=1.0, calibrated=True, scale_estimation=True)(nncf)

    # ------------------------------------------------------------------ qonnx, onnx-tool
    def qonnx(a, b, fam, x, which):
        import importlib
        from qonnx.core.modelwrapper import ModelWrapper
        module, name = which.split(".")
        ModelWrapper(a).transform(getattr(importlib.import_module("qonnx.transformation." + module), name)()).save(b)

    for which in ("general.GiveUniqueNodeNames", "general.ConvertSubToAdd", "general.ConvertDivToMul", "general.SortGraph", "infer_shapes.InferShapes", "gemm_to_matmul.GemmToMatMul",
                  "extract_conv_bias.ExtractBiasFromConv", "batchnorm_to_affine.BatchNormToAffine", "lower_convs_to_matmul.LowerConvsToMatMul", "remove.RemoveIdentityOps"):
        tool("qonnx_" + which.split(".")[1], which=which)(qonnx)

    @tool("onnx_tool")
    def onnx_tool(a, b, fam, x):
        import onnx_tool
        names, m = {i.name for i in onnx.load(a, load_external_data=False).graph.input}, onnx_tool.Model(a)
        m.graph.shape_infer({k: v.numpy() for k, v in x.items() if k in names})
        m.save_model(b)

    # ------------------------------------------------------------------ onnxruntime, further settings
    for act in ("QInt8", "QUInt8", "QInt16", "QUInt16"):
        for weight in ("QInt8", "QUInt8", "QInt16", "QInt4", "QUInt4"):
            tool(f"qdq_{act[1:].lower()}_{weight[1:].lower()}", act=act, weight=weight, extra_options={"UseQDQContribOps": True})(static)
    for method in ("Entropy", "Percentile", "Distribution"):
        tool(f"int8_qop_{method.lower()}", fmt="QOperator", method=method)(static)
        tool(f"qdq_{method.lower()}_channel", method=method, per_channel=True)(static)
    tool("qdq_all_options", per_channel=True, extra_options={"DedicatedQDQPair": True, "AddQDQPairToWeight": True, "ActivationSymmetric": True, "MatMulConstBOnly": True, "QDQKeepRemovableActivations": True})(static)
    tool("qdq_axes", per_channel=True, extra_options={"QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "Conv": 0}})(static)
    tool("qdq_fp8_pairs", act="QFLOAT8E4M3FN", weight="QFLOAT8E4M3FN", method="Distribution", extra_options={"AddQDQPairToWeight": True})(static)
    tool("int8_qop_fp8", fmt="QOperator", act="QFLOAT8E4M3FN", weight="QFLOAT8E4M3FN", method="Distribution")(static)

    def overridden(a, b, fam, x, convert=False):
        """every third weight in 16 bits, one activation in 16 bits and back"""
        from onnxruntime.quantization import QuantType
        m = onnx.load(a)
        weights = [t.name for t in m.graph.initializer if t.data_type == 1 and len(t.dims) == 2]
        given = {w: [{"quant_type": QuantType.QInt16}] for w in weights[::3]}
        if convert:
            outs = [n.output[0] for n in m.graph.node if n.op_type == "MatMul"]
            given = {outs[len(outs) // 2]: [{"quant_type": QuantType.QUInt8, "convert": {"quant_type": QuantType.QUInt16}}]}
        static(a, b, fam, x, act="QUInt8", weight="QInt8", extra_options={"TensorQuantOverrides": given})

    tool("qdq_overrides")(overridden)
    tool("qdq_overrides_convert", convert=True)(overridden)

    def qnn(a, b, fam, x, **kw):
        from onnxruntime.quantization import QuantType, quantize
        from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config, qnn_preprocess_model
        source = b + ".qnn" if qnn_preprocess_model(a, b + ".qnn", fuse_layernorm=True) else a
        quantize(source, b, get_qnn_qdq_config(source, reader(source, x), **{k: QuantType[v] for k, v in kw.items()}))
        if source != a:
            os.remove(source)

    tool("qdq_qnn")(qnn)
    tool("qdq_qnn16", activation_type="QUInt16", weight_type="QUInt8")(qnn)
    for bits in (2, 4, 8):
        for block in (16, 32, 64, 128, 256):
            for symmetric in (False, True):
                tool(f"int4_b{bits}_{block}{'s' if symmetric else ''}", bits=bits, block_size=block, is_symmetric=symmetric)(nbits)
    for level in (1, 2, 3, 4):
        tool(f"int4_accuracy{level}", accuracy_level=level)(nbits)
        tool(f"int4_accuracy{level}_8bits", accuracy_level=level, bits=8)(nbits)
    tool("int4_qdq_8bits", quant_format="QDQ", bits=8)(nbits)
    tool("int4_qdq_2bits", quant_format="QDQ", bits=2)(nbits)
    tool("int4_qdq_gather", quant_format="QDQ", op_types_to_quantize=("MatMul", "Gather"))(nbits)
    tool("int4_axes", quant_axes=(("MatMul", 1), ("Gather", 0)), quant_format="QDQ")(nbits)

    def after(name, first, level, **kw):
        """as onnxruntime saves what another tool wrote"""
        def f(a, b, fam, x):
            first(a, b + ".first", fam, x, **kw)
            saved(b + ".first", b, level)
            os.remove(b + ".first")
        tool(name)(f)

    def entries(name, level, first=None, kw={}, **given):
        """as onnxruntime saves it with configuration entries that optimisers read"""
        given = {("session." + k): v for k, v in given.items()}

        def f(a, b, fam, x):
            source = b + ".first" if first else a
            if first:
                first(a, source, fam, x, **kw)
            saved(source, b, level, [(k, v.replace("@", os.path.basename(b)[:-5])) for k, v in given.items()])
            if first:
                os.remove(source)
        tool(name)(f)

    apart = {"optimized_model_external_initializers_file_name": "@.bin", "optimized_model_external_initializers_min_size_in_bytes": "64"}
    entries("ortapart", levels["basic"], **apart)
    entries("ortprepacked", levels["extended"], save_external_prepacked_constant_initializers="1", **apart)
    entries("qdq_saved_cleaned", levels["all"], static, enable_quant_qdq_cleanup="1")
    entries("qdq_saved_unfused", levels["all"], static, disable_quant_qdq="1")
    entries("qdq_saved_double", levels["extended"], static, disable_double_qdq_remover="1")
    for level in (1, 4):
        entries(f"int4_saved_accuracy{level}", levels["all"], nbits, {"quant_format": "QDQ"}, qdq_matmulnbits_accuracy_level=str(level))

    for tag, level in levels.items():
        after(f"int4_saved_{tag}", nbits, level)
        after(f"int4_qdq_saved_{tag}", nbits, level, quant_format="QDQ")
        after(f"qdq_saved_{tag}", static, level, per_channel=True, act="QUInt8")
        after(f"qdq_saved_a16_{tag}", static, level, act="QUInt16", weight="QInt8")

