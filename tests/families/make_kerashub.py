#!/usr/bin/env python3
"""Small models of keras-hub by Keras 3's own export, whose exporter is the backend's; the same folder layout as make_families.py.

    KERAS_BACKEND=tensorflow make_kerashub.py OUT [FAMILY...]        then with jax and torch into the same folder

A developer's tool: it needs keras-hub and onnxruntime, with tensorflow and tf2onnx, jax and jax2onnx, or torch and onnxscript. The first backend
writes the weights that the others take.
"""
import os, sys, warnings
warnings.filterwarnings("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import keras
import keras_hub
import older

BACKEND = keras.backend.backend()
M = keras_hub.models
N = older.N
EXPORTS = {"tensorflow": [("_13", 13, False), ("_18fixed", 18, True)], "jax": [("", None, True)], "torch": [("_18", 18, True)]}  # tag, opset, fixed sizes
TEXT = dict(vocabulary_size=60, num_layers=2, num_heads=4, hidden_dim=32, intermediate_dim=48)
LONG = dict(TEXT, max_sequence_length=20)
QUERY = dict(vocabulary_size=60, num_layers=2, num_query_heads=4, num_key_value_heads=2, hidden_dim=32, intermediate_dim=48)
SMOL = dict(vocabulary_size=60, hidden_dim=32, intermediate_dim=48, num_layers=2, num_attention_heads=4, num_key_value_heads=2, attention_bias=False, attention_dropout=0.0, rope_layer_enabled_list=[True, False],
            layer_types=["full_attention"] * 2, mlp_bias=False, layer_norm_epsilon=1e-6, max_position_embeddings=40, rope_theta=1e4, partial_rotary_factor=1.0)
SEEN = dict(image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=4, hidden_dim=32)


def task(kind, backbone, **kw):
    """A classifier or language model on a backbone."""
    return lambda: getattr(M, kind)(backbone=getattr(M, backbone[0])(**backbone[1]), **kw)


def pooled(backbone, kw, output=None):
    """A backbone with a mean over its tokens and five classes."""
    def build():
        b = getattr(M, backbone)(**kw)
        x = b.output if output is None else b.output[output]
        x = keras.layers.GlobalAveragePooling1D()(x) if len(x.shape) == 3 else keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(b.input, keras.layers.Dense(5, name="classes")(x))
    return build


def clip_towers():
    text = dict(vocabulary_size=60, embedding_dim=32, hidden_dim=32, num_layers=2, num_heads=4, intermediate_dim=48, intermediate_activation="quick_gelu", max_sequence_length=N)
    vision = dict(patch_size=8, hidden_dim=32, num_layers=2, num_heads=4, intermediate_dim=48, intermediate_activation="quick_gelu", image_shape=(32, 32, 3))
    return M.CLIPBackbone(M.CLIPVisionEncoder(**vision), M.CLIPTextEncoder(**text), 16)


def siglip_towers():
    text = dict(vocabulary_size=60, embedding_dim=32, hidden_dim=32, num_layers=2, num_heads=4, intermediate_dim=48, max_sequence_length=N, projection_dim=32)
    vision = dict(patch_size=8, hidden_dim=32, num_layers=2, num_heads=4, intermediate_dim=48, image_shape=(32, 32, 3))
    return M.SigLIPBackbone(M.SigLIPVisionEncoder(**vision), M.SigLIPTextEncoder(**text))


def mixed_transformer():
    return M.MiTBackbone(layerwise_depths=[1, 1], num_layers=2, layerwise_num_heads=[2, 4], layerwise_sr_ratios=[2, 1], max_drop_path_rate=0.1, layerwise_patch_sizes=[7, 3], layerwise_strides=[4, 2], image_shape=(32, 32, 3), hidden_dims=[16, 32])


def segformer():
    return M.SegFormerImageSegmenter(backbone=M.SegFormerBackbone(image_encoder=mixed_transformer(), projection_filters=16), num_classes=5)


def vit_det():
    b = M.ViTDetBackbone(hidden_size=32, num_layers=2, intermediate_dim=48, num_heads=4, global_attention_layer_indices=[1], image_shape=(64, 64, 3), patch_size=8, num_output_channels=16, window_size=4)
    return keras.Model(b.input, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(b.output)))


ROWS = {  # name: (model, target)
    "bert": (task("BertTextClassifier", ("BertBackbone", LONG), num_classes=3), None), "bert_mlm": (task("BertMaskedLM", ("BertBackbone", LONG)), "0,1,9"),
    "roberta": (task("RobertaTextClassifier", ("RobertaBackbone", LONG), num_classes=3, hidden_dim=32), None), "xlmr": (task("XLMRobertaTextClassifier", ("XLMRobertaBackbone", LONG), num_classes=3, hidden_dim=32), None),
    "albert": (task("AlbertTextClassifier", ("AlbertBackbone", dict(LONG, embedding_dim=16, num_groups=1)), num_classes=3), None), "albert_groups": (task("AlbertTextClassifier", ("AlbertBackbone", dict(LONG, embedding_dim=16, num_groups=2, num_inner_repetitions=2)), num_classes=3), None),
    "distilbert": (task("DistilBertTextClassifier", ("DistilBertBackbone", LONG), num_classes=3, hidden_dim=32), None),
    "deberta_v3": (task("DebertaV3TextClassifier", ("DebertaV3Backbone", dict(LONG, bucket_size=8)), num_classes=3, hidden_dim=32), None), "fnet_none": (task("FNetTextClassifier", ("FNetBackbone", {k: v for k, v in LONG.items() if k != "num_heads"}), num_classes=3), None),
    "electra": (pooled("ElectraBackbone", dict(vocab_size=60, num_layers=2, num_heads=4, hidden_dim=32, embedding_dim=16, intermediate_dim=48, max_sequence_length=20), "sequence_output"), None),
    "esm": (pooled("ESMBackbone", LONG), None), "roformer": (task("RoformerV2TextClassifier", ("RoformerV2Backbone", dict(TEXT, head_size=8)), num_classes=3), None), "xlnet": (pooled("XLNetBackbone", TEXT), None),
    "gpt2": (task("GPT2CausalLM", ("GPT2Backbone", LONG)), "0,15,8"), "gpt_neox": (task("GPTNeoXCausalLM", ("GPTNeoXBackbone", LONG)), "0,15,8"), "opt": (task("OPTCausalLM", ("OPTBackbone", LONG)), "0,15,8"),
    "bloom": (task("BloomCausalLM", ("BloomBackbone", TEXT)), "0,15,8"), "falcon": (task("FalconCausalLM", ("FalconBackbone", dict(vocabulary_size=60, num_layers=2, num_attention_heads=4, hidden_dim=32, intermediate_dim=48))), "0,15,8"),
    "gemma": (task("GemmaCausalLM", ("GemmaBackbone", dict(QUERY, head_dim=8))), "0,15,8"), "gemma2": (task("GemmaCausalLM", ("GemmaBackbone", dict(QUERY, head_dim=8, use_post_ffw_norm=True, use_post_attention_norm=True, attention_logit_soft_cap=5.0, final_logit_soft_cap=5.0, use_sliding_window_attention=True, sliding_window_size=4))), "0,15,8"),
    "gemma3": (task("Gemma3CausalLM", ("Gemma3Backbone", dict(QUERY, image_size=32, head_dim=8, use_sliding_window_attention=True, sliding_window_size=4, use_post_ffw_norm=True, use_post_attention_norm=True)), preprocessor=None), "0,15,8"),
    "llama": (task("LlamaCausalLM", ("LlamaBackbone", QUERY)), "0,15,8"), "llama3": (task("Llama3CausalLM", ("Llama3Backbone", dict(QUERY, tie_word_embeddings=True))), "0,15,8"), "mistral": (task("MistralCausalLM", ("MistralBackbone", dict(QUERY, sliding_window=4))), "0,15,8"),
    "mixtral": (task("MixtralCausalLM", ("MixtralBackbone", dict(QUERY, num_experts=4, sliding_window=4))), "0,15,8"), "phi3": (task("Phi3CausalLM", ("Phi3Backbone", QUERY)), "0,15,8"), "qwen": (task("QwenCausalLM", ("QwenBackbone", QUERY)), "0,15,8"),
    "qwen3": (task("Qwen3CausalLM", ("Qwen3Backbone", dict(QUERY, head_dim=8, sliding_window_size=4))), "0,15,8"), "qwen_moe": (task("QwenMoeCausalLM", ("QwenMoeBackbone", dict(QUERY, moe_intermediate_dim=16, shared_expert_intermediate_dim=16, num_experts=4, top_k=2))), "0,15,8"),
    "qwen3_moe": (task("Qwen3MoeCausalLM", ("Qwen3MoeBackbone", dict(QUERY, moe_intermediate_dim=16, num_experts=4, head_dim=8, top_k=2))), "0,15,8"), "gpt_oss": (task("GptOssCausalLM", ("GptOssBackbone", dict(QUERY, num_experts=4, sliding_window=4, head_dim=8))), "0,15,8"),
    "smollm3": (task("SmolLM3CausalLM", ("SmolLM3Backbone", SMOL)), "0,15,8"), "t5": (pooled("T5Backbone", TEXT, "decoder_sequence_output"), None), "bart": (pooled("BartBackbone", LONG, "decoder_sequence_output"), None), "bart_enc": (pooled("BartBackbone", LONG, "encoder_sequence_output"), None),
    "whisper": (pooled("WhisperBackbone", dict(TEXT, num_mels=16, max_encoder_sequence_length=40, max_decoder_sequence_length=20), "decoder_sequence_output"), None),
    "moonshine": (pooled("MoonshineBackbone", dict(vocabulary_size=60, filter_dim=32, encoder_num_layers=2, decoder_num_layers=2, hidden_dim=32, intermediate_dim=48, encoder_num_heads=4, decoder_num_heads=4), "decoder_sequence_output"), None),
    "vit": (task("ViTImageClassifier", ("ViTBackbone", dict(SEEN, mlp_dim=48)), num_classes=5, preprocessor=None), None), "vit_mean": (task("ViTImageClassifier", ("ViTBackbone", dict(SEEN, mlp_dim=48, use_class_token=False)), num_classes=5, pooling="gap", preprocessor=None), None),
    "deit": (task("DeiTImageClassifier", ("DeiTBackbone", dict(SEEN, intermediate_dim=48)), num_classes=5, preprocessor=None), None), "swin": (task("SwinTransformerImageClassifier", ("SwinTransformerBackbone", dict(image_shape=(32, 32, 3), embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4, patch_size=4)), num_classes=5, preprocessor=None), None),
    "dinov2": (pooled("DINOV2Backbone", dict(SEEN, intermediate_dim=48, position_embedding_shape=(32, 32, 3))), None), "dinov2_reg": (pooled("DINOV2Backbone", dict(SEEN, intermediate_dim=48, position_embedding_shape=(48, 48, 3), num_register_tokens=3, use_swiglu_ffn=True)), None),
    "dinov3": (pooled("DINOV3Backbone", dict(SEEN, intermediate_dim=48)), None), "mit": (lambda: M.MiTImageClassifier(backbone=mixed_transformer(), num_classes=5, preprocessor=None), None), "segformer": (segformer, "0,3,3,1"), "vit_det": (vit_det, None),
    "clip": (clip_towers, "0,0"), "siglip": (siglip_towers, "0,0"),
}
SOUND = {"whisper": (1, 40, 16), "moonshine": (1, 1200, 1)}


def feed(family, name, shape, dtype):
    g = np.random.default_rng(sum(map(ord, name)))
    if "image" in name or "feature" in name or dtype.startswith("float"):
        return g.standard_normal(SOUND.get(family, (1, 32, 32, 3)) if None in shape[1:] else (1, *shape[1:])).astype(np.float32)
    n = shape[1] or (9 if "decoder" in name else N)
    if "mask_positions" in name:
        return np.arange(4)[None] + 2
    if "mask" in name:
        return (np.arange(n) < n - (0 if "decoder" in name or "images" in name or family == "clip" else 3))[None]
    if "segment" in name:
        return (np.arange(n) >= n // 2).astype(np.int64)[None]
    return g.integers(5, 60, (1, n))


def set_weights(model, folder):
    path = f"{folder}/weights.npz"
    if os.path.exists(path):
        stored = np.load(path)
        model.set_weights([stored[str(i)] for i in range(len(stored.files))])
        return
    g, made = np.random.default_rng(3), []
    for w in model.weights:
        shape, name, noise = tuple(w.shape), w.path, g.standard_normal(tuple(w.shape))
        if not str(w.dtype).startswith("float") or "seed" in name:
            made.append(np.asarray(keras.ops.convert_to_numpy(w)))
        elif "moving_variance" in name:
            made.append(0.5 + np.abs(noise))
        elif any(k in name for k in ("gamma", "scale", "ln_")) and len(shape) == 1:
            made.append(1 + 0.1 * noise)
        elif len(shape) <= 1 or "bias" in name.split("/")[-1]:
            made.append(0.1 * noise)
        else:
            made.append(noise * (0.3 if "mbed" in name else 1.1 / np.sqrt(int(np.prod(shape[:-1])) if len(shape) != 3 else shape[0] if shape[0] >= shape[1] else shape[1])))
    np.savez(path, **{str(i): v for i, v in enumerate(made)})
    model.set_weights(made)


def export(model, structure, feeds, opset, fixed):
    def make(path):
        def spec(x):
            v = feeds[x.name]
            return keras.InputSpec(shape=v.shape if fixed else (None, *((None,) if x.shape[1] is None else v.shape[1:2]), *v.shape[2:]), dtype=x.dtype, name=x.name)
        model.export(path, format="onnx", verbose=False, input_signature=[keras.tree.map_structure(spec, structure)], opset_version=opset)
    return make


def main():
    out, only = os.path.abspath(sys.argv[1]), sys.argv[2:]
    for name, (build, target) in ROWS.items():
        if only and name not in only:
            continue
        keras.utils.clear_session()
        row = older.Row("hub_" + name, name, {}, dict, outputs=(None,), target=target, explain=not name.endswith("_none"))
        folder, _, notes = older.start(out, row)
        try:
            model = build()
            inputs = keras.tree.flatten(model.input)
            feeds = {x.name: feed(name, x.name, tuple(x.shape), x.dtype) for x in inputs}
            for k, v in feeds.items():
                np.save(f"{folder}/input.{k}.npy", v.astype(np.int64) if v.dtype == bool else v)
            structure = keras.tree.map_structure(lambda x: x, model.input)
            model(keras.tree.map_structure(lambda x: keras.ops.convert_to_tensor(feeds[x.name].astype(x.dtype)), structure))
            set_weights(model, folder)
        except Exception as e:
            notes[BACKEND] = f"{type(e).__name__}: {(str(e).strip().splitlines() or [''])[0][:200]}"
            older.describe(row, folder, notes)
            continue
        for tag, opset, fixed in EXPORTS[BACKEND]:
            older.attempt(notes, folder, BACKEND + tag, feeds, export(model, structure, feeds, opset, fixed))
        older.describe(row, folder, notes)


if __name__ == "__main__":
    main()
