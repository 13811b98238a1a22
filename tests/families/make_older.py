#!/usr/bin/env python3
"""Exports the rows of older.py with whatever release of PyTorch and transformers (and timm) the environment has; the same folder layout
as make_families.py. Run with several releases into one folder, the files of a family hold the same weights: the first one writes them there.

    make_older.py OUT TAG [FAMILY...]      TAG: what this environment's files are called; EXPORTS="9 11 11nofold …" of the table below, or module;
                                           REWRITES="ortext int8dyn …": tools of this environment's onnxruntime, over the first of these

A developer's tool: it needs torch, transformers, onnx and onnxruntime of one age, timm for the families timm_*.
"""
import contextlib, importlib, io, inspect, json, os, shutil, subprocess, sys, tempfile, warnings
warnings.filterwarnings("ignore")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import logging
logging.disable(logging.WARNING)
import numpy as np
import onnx
import torch
import transformers as tf
import older

torch.set_num_threads(1)
# options as people gave them
EXPORTS = {"9": dict(opset_version=9), "10": dict(opset_version=10), "11": dict(opset_version=11), "12": dict(opset_version=12), "13": dict(opset_version=13), "14": dict(opset_version=14),
           "16": dict(opset_version=16), "17": dict(opset_version=17), "11nofold": dict(opset_version=11, do_constant_folding=False), "12keep": dict(opset_version=12, keep_initializers_as_inputs=True),
           "12static": dict(opset_version=12, dynamic_axes={}), "15func": dict(opset_version=15, export_modules_as_functions=True),
           "14train": dict(opset_version=14, training=torch.onnx.TrainingMode.PRESERVE), "12aten": dict(opset_version=12, operator_export_type=torch.onnx.OperatorExportTypes.ONNX_ATEN_FALLBACK)}


class Positional(torch.nn.Module):
    """Calls the model by keyword, returns a tuple of the named outputs."""
    def __init__(self, model, names, outputs):
        super().__init__()
        self.m, self.names, self.outputs = model, names, outputs

    def forward(self, *args):
        r = self.m(*args) if self.names is None else self.m(**dict(zip(self.names, args)))
        return (r,) if isinstance(r, torch.Tensor) else tuple(getattr(r, k) for k in self.outputs)


def weights_of(model, folder):
    """Weights large enough that no output is degenerate; those in the folder if another release has written them."""
    path, state = f"{folder}/weights.npz", model.state_dict()
    kept = {k for k, _ in model.named_parameters()} | {k for k in state if "running_" in k}
    if os.path.exists(path):
        stored = np.load(path)
        absent = kept - set(stored.files)
        tied = {k for k in absent if any(state[k].data_ptr() == state[o].data_ptr() for o in stored.files if o in state)}
        if absent - tied:
            raise ValueError(f"other weights than in {path}: {sorted(absent - tied)[:3]}")
        model.load_state_dict({k: torch.from_numpy(stored[k]).view(state[k].shape) for k in kept - tied}, strict=False)
        return model.eval()
    g = np.random.default_rng(3)
    made = {}
    for k in sorted(kept):
        shape, noise = tuple(state[k].shape), g.standard_normal(tuple(state[k].shape))
        if "running_var" in k:
            v = 0.5 + np.abs(noise)
        elif len(shape) >= 2:
            fan = shape[1] if len(shape) == 2 else int(np.prod(shape[1:]))
            v = noise * (0.2 if "mbed" in k or fan < 8 else 1.1 / fan ** 0.5)
        else:
            v = noise * 0.1 if "bias" in k.split(".")[-1] or "running_mean" in k else 1 + noise * 0.1
        made[k] = np.asarray(v, np.float32)
    np.savez(path, **made)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in made.items()}, strict=False)
    return model.eval()


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def export(model, row, inputs, options, path):
    positional = row.name.startswith("timm")
    names = list(inputs)
    axes = {k: {0: "batch", **({1: "tokens"} if k.endswith(("input_ids", "mask", "type_ids")) else {})} for k in names}
    options = {"dynamic_axes": axes, **options}
    if options.get("export_modules_as_functions") and "export_modules_as_functions" not in inspect.signature(torch.onnx.export).parameters:
        raise ValueError("this release exports no functions")
    with torch.no_grad(), quiet():
        torch.onnx.export(Positional(model, None if positional else names, row.outputs).eval(), tuple(torch.from_numpy(v) for v in inputs.values()), path, input_names=names,
                          output_names=list(row.outputs), **options, **({"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}))


FEATURES = {"ForSequenceClassification": "sequence-classification", "ForTokenClassification": "token-classification", "ForQuestionAnswering": "question-answering", "LMHeadModel": "causal-lm",
            "ForCausalLM": "causal-lm", "ForImageClassification": "image-classification", "ForObjectDetection": "object-detection"}


def by_module(model, row, path):
    """python -m transformers.onnx on a saved model, with a tokenizer or image processor for its made-up inputs"""
    feature = next((f for suffix, f in FEATURES.items() if row.model.endswith(suffix)), None)
    if not feature:
        raise ValueError("no feature of transformers.onnx")
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] + [chr(33 + i) for i in range(55)]
        if "image" in feature or "object" in feature:
            tf.ViTFeatureExtractor(size=row.config.get("image_size", 32)).save_pretrained(tmp)
        elif "GPT" in row.model or "Bloom" in row.model:
            for name, text in (("vocab.json", json.dumps({w: i for i, w in enumerate(words)})), ("merges.txt", "#version: 0.2\n"),
                               ("tokenizer_config.json", json.dumps({"tokenizer_class": "GPT2Tokenizer", "unk_token": "<unk>", "pad_token": "<pad>"}))):
                open(f"{tmp}/{name}", "w").write(text)
        else:
            open(tmp + "/vocab.txt", "w").write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words[5:]]))
            open(tmp + "/tokenizer_config.json", "w").write(json.dumps({"tokenizer_class": "BertTokenizer"}))
        r = subprocess.run([sys.executable, "-m", "transformers.onnx", f"--model={tmp}", f"--feature={feature}", "--atol=1e-3", tmp + "/out"], capture_output=True, text=True)
        if not os.path.exists(tmp + "/out/model.onnx"):
            raise ValueError((r.stderr.strip().splitlines() or [""])[-1])
        shutil.copy(tmp + "/out/model.onnx", path)


def fused(a, b, row, inputs):
    from onnxruntime.transformers import optimizer
    with quiet():
        optimizer.optimize_model(a, model_type=row.ort_type, num_heads=4, hidden_size=32).save_model_to_file(b)


def fp16(a, b, row, inputs):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(a), keep_io_types=True), b)


def int8dyn(a, b, row, inputs):
    from onnxruntime.quantization import quantize_dynamic
    with quiet():
        quantize_dynamic(a, b)


def static(form):
    def f(a, b, row, inputs):
        from onnxruntime import quantization as q

        class Reader(q.CalibrationDataReader):
            def __init__(self):
                self.it = iter([{k: inputs[k] for k in inputs}])

            def get_next(self):
                return next(self.it, None)
        with quiet():
            q.quantize_static(a, b, Reader(), quant_format=getattr(q.QuantFormat, form), per_channel=True)
    return f


def saved(level):
    return lambda a, b, row, inputs: older.session(a, level, b)


REWRITES = {"ortbasic": saved(older.LEVEL.ORT_ENABLE_BASIC), "ortext": saved(older.LEVEL.ORT_ENABLE_EXTENDED), "ortall": saved(older.LEVEL.ORT_ENABLE_ALL), "ortfused": fused, "fp16": fp16,
            "int8dyn": int8dyn, "qdq": static("QDQ"), "qdqop": static("QOperator")}


def timm_row(name, arch, kw, size=32):
    return older.Row(name, arch, kw, older.image(size, name="input"), outputs=("output",))


T = dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4)
TIMM = [timm_row(*r) for r in [
    ("timm_vit", "vision_transformer:VisionTransformer", T), ("timm_deit_distilled", "deit:VisionTransformerDistilled", T), ("timm_deit_distilled_old", "vision_transformer:VisionTransformer", dict(T, distilled=True)),
    ("timm_vit_representation", "vision_transformer:VisionTransformer", dict(T, representation_size=24)), ("timm_vit_prenorm", "vision_transformer:VisionTransformer", dict(T, pre_norm=True, no_embed_class=True, init_values=0.1, global_pool="avg")),
    ("timm_swin", "swin_transformer:SwinTransformer", dict(img_size=32, patch_size=4, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4), ape=True)),
    ("timm_pit", "pit:PoolingVisionTransformer", dict(img_size=64, patch_size=16, stride=8, base_dims=[8, 8, 8], depth=[1, 1, 1], heads=[2, 4, 4], mlp_ratio=2, distilled=True), 64),
    ("timm_cait", "cait:Cait", dict(T, depth=2)), ("timm_tnt", "tnt:TNT", dict(img_size=32, patch_size=8, embed_dim=32, in_dim=8, depth=2, in_num_head=2, num_heads=4)),
    ("timm_levit", "levit:Levit", dict(img_size=64, embed_dim=(16, 24, 32), key_dim=8, depth=(1, 1, 1), num_heads=(2, 3, 4), down_ops=(("Subsample", 8, 2, 4, 2, 2), ("Subsample", 8, 3, 4, 2, 2), ("",))), 64),
    ("timm_convit", "convit:ConViT", dict(T, local_up_to_layer=2)), ("timm_twins_svt", "twins:Twins", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), mlp_ratios=(2, 2), depths=(2, 2), wss=(4, 2), sr_ratios=(2, 1))),
    ("timm_twins_pcpvt", "twins:Twins", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), mlp_ratios=(2, 2), depths=(1, 1), sr_ratios=(2, 1))),
    ("timm_coat", "coat:CoaT", dict(img_size=64, patch_size=4, embed_dims=(16, 16, 16, 16), serial_depths=(1, 1, 1, 1), parallel_depth=1, num_heads=4, mlp_ratios=(2, 2, 2, 2)), 64),
    ("timm_coat_lite", "coat:CoaT", dict(img_size=64, patch_size=4, embed_dims=(16, 16, 24, 32), serial_depths=(1, 1, 1, 1), num_heads=4, mlp_ratios=(2, 2, 2, 2)), 64),
    ("timm_visformer", "visformer:Visformer", dict(img_size=64, embed_dim=32, init_channels=16, depth=(1, 1, 1), num_heads=2, attn_stage="011", spatial_conv="100", norm_layer=None), 64),
    ("timm_crossvit", "crossvit:CrossViT", dict(img_size=240, embed_dim=(16, 32), depth=((1, 2, 0), (1, 2, 0), (1, 2, 0)), num_heads=(2, 4), mlp_ratio=(2., 2., 1.)), 240),
    ("timm_xcit", "xcit:XCiT", dict(T, depth=2)), ("timm_nest", "nest:Nest", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), depths=(1, 1), num_levels=2)),
    ("timm_beit", "beit:Beit", dict(T, use_rel_pos_bias=True, init_values=0.1)), ("timm_jx_nest", "nest:Nest", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), depths=(2, 1), num_levels=2, pad_type="same")),
    ("timm_mlp_mixer_none", "mlp_mixer:MlpMixer", dict(img_size=32, patch_size=8, embed_dim=32, num_blocks=2)), ("timm_botnet", "botnet26t_256", dict(img_size=64), 64),
    ("timm_swinv2", "swin_transformer_v2:SwinTransformerV2", dict(img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4))),
    ("timm_swinv2_cr", "swin_transformer_v2_cr:SwinTransformerV2Cr", dict(img_size=64, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4)), 64),
    ("timm_volo", "volo:VOLO", dict(img_size=64, layers=(1, 1, 1, 1), embed_dims=(16, 32, 32, 32), num_heads=(2, 4, 4, 4), stem_hidden_dim=8, use_aux_head=False), 64),
    ("timm_pvt_v2", "pvt_v2:PyramidVisionTransformerV2", dict(depths=(1, 1, 1, 1), embed_dims=(16, 16, 32, 32), num_heads=(1, 2, 2, 4)), 64),
    ("timm_vit_relpos", "vision_transformer_relpos:VisionTransformerRelPos", T), ("timm_gcvit", "gcvit_xxtiny", {}, 224), ("timm_maxvit", "maxvit_rmlp_pico_rw_256", dict(img_size=64), 64),
    ("timm_edgenext", "edgenext:EdgeNeXt", dict(depths=(1, 1, 1, 1), dims=(16, 24, 32, 48)), 64), ("timm_mobilevit", "mobilevit_xxs", {}, 64), ("timm_mobilevitv2", "mobilevitv2_050", {}, 64),
    ("timm_efficientformer", "efficientformer_l1", {}, 224), ("timm_eva", "eva:Eva", dict(T, use_rot_pos_emb=True)), ("timm_halonet", "halonet26t", {}, 256)]]


def build(row):
    if not row.name.startswith("timm"):
        return getattr(tf, row.model)(older.config_of(tf, row))
    import timm
    if ":" in row.model:
        module, name = row.model.split(":")
        return getattr(importlib.import_module("timm.models." + module), name)(num_classes=5, **row.config)
    return timm.create_model(row.model, pretrained=False, num_classes=5, **row.config)


def main():
    out, tag, only = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    kinds, rewrites = [os.environ.get(k, d).split() for k, d in (("EXPORTS", "11 13"), ("REWRITES", "ortext"))]
    for row in older.ROWS + TIMM:
        if only and row.name not in only:
            continue
        folder, inputs, notes = older.start(out, row)
        try:
            model = weights_of(build(row), folder)
        except Exception as e:  # a class that this release does not have yet
            notes[tag] = f"{type(e).__name__}: {str(e)[:200]}"
            older.describe(row, folder, notes)
            continue
        for kind in kinds:
            older.attempt(notes, folder, f"{tag}_{kind}", inputs, lambda p: by_module(model, row, p) if kind == "module" else export(model, row, inputs, EXPORTS[kind], p))
        first = next((f"{tag}_{k}" for k in kinds if notes[f"{tag}_{k}"] == "ok"), None)
        for name in rewrites if first else ():
            if name != "ortfused" or row.ort_type:
                older.attempt(notes, folder, f"{first}-{name}", inputs, lambda p: REWRITES[name](f"{folder}/{first}.onnx", p, row, inputs))
        older.describe(row, folder, notes)


if __name__ == "__main__":
    main()
