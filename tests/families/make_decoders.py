#!/usr/bin/env python3
"""Small random decoders as the tools for text generation write them, with their caches: onnxruntime-genai's model builder and
optimum's exporters; the same folder layout as make_families.py, so each is compared with the plain export of the same weights.

    make_decoders.py OUT genai|optimum [FAMILY...]

A developer's tool: besides what make_families.py needs, it imports the exporter that is named; optimum's of today wants transformers 4.
"""
import os, shutil, sys, tempfile
import numpy as np
import onnx
import torch
import make_families as make
import families
from families import hf

IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
D = dict(vocab_size=80, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, max_position_embeddings=64, head_dim=16, **IDS)
WITHOUT_HEAD_DIM = families.without(D, "head_dim")
ROWS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", D), "mistral": ("MistralForCausalLM", "MistralConfig", {**D, "sliding_window": 6}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", WITHOUT_HEAD_DIM), "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", D),
    "phi": ("PhiForCausalLM", "PhiConfig", {**WITHOUT_HEAD_DIM, "num_key_value_heads": 4, "partial_rotary_factor": 0.5}), "phi3": ("Phi3ForCausalLM", "Phi3Config", {**WITHOUT_HEAD_DIM, "original_max_position_embeddings": 64}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", D), "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**D, "query_pre_attn_scalar": 16, "sliding_window": 6}),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", {**D, "query_pre_attn_scalar": 16, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}),
    "granite": ("GraniteForCausalLM", "GraniteConfig", {**WITHOUT_HEAD_DIM, "residual_multiplier": 0.5, "embedding_multiplier": 2.0, "logits_scaling": 3.0, "attention_multiplier": 0.3}),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", WITHOUT_HEAD_DIM), "nemotron": ("NemotronForCausalLM", "NemotronConfig", {**D, "partial_rotary_factor": 0.5}),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Config", {**WITHOUT_HEAD_DIM, "no_rope_layers": [1, 0]}), "ernie4_5": ("Ernie4_5ForCausalLM", "Ernie4_5Config", D),
    "gpt_oss": ("GptOssForCausalLM", "GptOssConfig", {**D, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", dict(vocab_size=80, n_embd=64, n_layer=2, n_head=4, n_positions=64, **IDS)),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", families.without(WITHOUT_HEAD_DIM, "num_key_value_heads")), "opt": ("OPTForCausalLM", "OPTConfig", dict(vocab_size=80, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=96, max_position_embeddings=64, word_embed_proj_dim=64, **IDS)),
    "bloom": ("BloomForCausalLM", "BloomConfig", dict(vocab_size=80, hidden_size=64, n_layer=2, n_head=4, **IDS)), "falcon": ("FalconForCausalLM", "FalconConfig", dict(vocab_size=80, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, **IDS)),
    "mpt": ("MptForCausalLM", "MptConfig", dict(vocab_size=80, d_model=64, n_layers=2, n_heads=4, max_seq_len=64)), "gptj": ("GPTJForCausalLM", "GPTJConfig", dict(vocab_size=80, n_embd=64, n_layer=2, n_head=4, n_positions=64, rotary_dim=8, **IDS)),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", dict(vocab_size=80, n_embd=64, n_layer=2, n_head=4, n_positions=64, **IDS)), "stablelm": ("StableLmForCausalLM", "StableLmConfig", {**WITHOUT_HEAD_DIM, "partial_rotary_factor": 0.5}),
    "t5": ("T5ForConditionalGeneration", "T5Config", dict(vocab_size=80, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4, decoder_start_token_id=0)),
    "bart": ("BartForConditionalGeneration", "BartConfig", dict(vocab_size=80, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=64, decoder_start_token_id=2, **IDS)),
}
SEQ2SEQ = ("t5", "bart")


# ------------------------------------------------------------------ onnxruntime-genai
def genai(path, model, precision, provider, **options):
    from onnxruntime_genai.models import builder
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp + "/hf")
        words = {w: k for k, w in enumerate(["<pad>", "<s>", "</s>"] + [f"w{k}" for k in range(77)])}
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="<pad>")), pad_token="<pad>", bos_token="<s>", eos_token="</s>").save_pretrained(tmp + "/hf")
        words = [f"{k}={v}" for k, v in options.items()]
        with make.quiet():
            parsed = builder.parse_extra_options("m", tmp + "/hf", tmp + "/out", precision, provider, tmp + "/cache", words)
            builder.create_model("m", tmp + "/hf", tmp + "/out", precision, provider, tmp + "/cache", **parsed)
        onnx.save(onnx.load(tmp + "/out/model.onnx"), path)


GENAI = {"genai": ("fp32", "cpu", {}), "fp16_genai": ("fp16", "cuda", {}), "fp16_genai_dml": ("fp16", "dml", {}), "int4_genai": ("int4", "cpu", {}),
         "int4_genai_16": ("int4", "cpu", dict(block_size=16)), "int4_genai_asym": ("int4", "cpu", dict(is_symmetric="false")), "int4_genai_level4": ("int4", "cpu", dict(accuracy_level=4)),
         "int4_genai_qdq": ("int4", "cpu", dict(use_qdq="1")), "int4_genai_kquant": ("int4", "cpu", dict(algo_config="k_quant_mixed")), "int4_genai_rtn": ("int4", "cpu", dict(algo_config="rtn_last")),
         "int4_genai_gather": ("int4", "cpu", dict(op_types_to_quantize="MatMul/Gather")), "int8_genai": ("int8", "cpu", {}), "int4_genai_cuda": ("int4", "cuda", {}), "int4_genai_webgpu": ("int4", "webgpu", {}),
         "genai_pruned": ("fp32", "cpu", dict(prune_lm_head="1")), "genai_shared": ("fp32", "cpu", dict(shared_embeddings="1")), "genai_hidden": ("fp32", "cpu", dict(include_hidden_states="1"))}


def genai_variants(folder, model, inputs, notes):
    for name, (precision, provider, options) in GENAI.items():
        make.attempt(notes, name, folder, inputs, lambda p: genai(p, model, precision, provider, **options))


# ------------------------------------------------------------------ optimum
def optimum_variants(folder, model, inputs, notes, seq2seq):
    from optimum.exporters.onnx import onnx_export_from_model
    task = "text2text-generation" if seq2seq else "text-generation"
    for name, kind, options in [("optimum", task, {}), ("optimum_past", task + "-with-past", {}), ("optimum_split", task + "-with-past", dict(no_post_process=True)),
                                ("optimum_o2", task + "-with-past", dict(optimize="O2")), ("optimum_fixed", task, dict(no_dynamic_axes=True)), ("optimum_slim", task + "-with-past", dict(slim=True))]:
        tmp = tempfile.mkdtemp()
        try:
            with make.quiet():
                model.config.use_cache = "past" in kind
                onnx_export_from_model(model, tmp, task=kind, do_validation=False, device="cpu", **options)
            parts = sorted(p for p in os.listdir(tmp) if p.endswith(".onnx"))
        except Exception as e:  # whatever an exporter throws is its answer
            notes[name], parts = f"{type(e).__name__}: {str(e)[:150]}", []
        for part in parts:
            tag = name if len(parts) == 1 else f"{name}_{part[:-5].replace('_model', '')}"
            if seq2seq and "encoder" in part:
                continue  # an embedding of its own, without logits
            make.attempt(notes, tag, folder, inputs, lambda p: onnx.save(onnx.load(f"{tmp}/{part}"), p))
        shutil.rmtree(tmp)


# ------------------------------------------------------------------ inputs
KINDS = {1: torch.float32, 10: torch.float16, 7: torch.int64, 6: torch.int32, 9: torch.bool}
TOKENS = 12


def text_inputs():
    g = torch.Generator().manual_seed(7)
    return {"input_ids": torch.randint(5, 64, (1, TOKENS), generator=g), "attention_mask": torch.ones(1, TOKENS, dtype=torch.int64)}


class Completed:
    """What a file with a cache wants besides the text: an empty past, positions, which branch. Stored beside the others."""
    def __init__(self, folder, inputs):
        self.folder, self.inputs, self.names = folder, inputs, list(inputs)

    def __call__(self, path):
        given = dict(self.inputs)
        for i in onnx.load(path, load_external_data=False).graph.input:
            if i.name in given:
                continue
            dims = [d.dim_value if d.HasField("dim_value") else None for d in i.type.tensor_type.shape.dim]
            kind = KINDS[i.type.tensor_type.elem_type]
            if i.name.startswith("past_key_values"):
                given[i.name] = torch.zeros([d or {0: 1, 2: 0}.get(k, 16) for k, d in enumerate(dims)], dtype=kind)
            elif i.name == "position_ids":
                given[i.name] = torch.arange(TOKENS)[None]
            elif i.name == "use_cache_branch":
                given[i.name] = torch.zeros(1, dtype=torch.bool)
            elif i.name == "encoder_hidden_states":
                given[i.name] = torch.randn(1, TOKENS, 64, generator=torch.Generator().manual_seed(9))
            elif i.name == "encoder_attention_mask":
                given[i.name] = torch.ones(1, TOKENS, dtype=torch.int64)
            else:
                continue
            if i.name not in self.names:
                self.names.append(i.name)
                v = given[i.name]
                np.save(f"{self.folder}/input.{i.name}.npy", (v.float() if v.is_floating_point() else v).numpy())
        return given


def make_row(name, out, exporter):
    cls, config, kw = ROWS[name]
    folder = f"{out}/{exporter}_{name}"
    os.makedirs(folder, exist_ok=True)
    inputs = text_inputs()
    for k, v in inputs.items():
        np.save(f"{folder}/input.{k}.npy", v.numpy())
    torch.manual_seed(2)
    model = make.randomise(hf(cls, config, **kw)("eager"), 3)
    fam = families.Family(f"{exporter}_{name}", None, None, target=f"0,{TOKENS - 1},8")
    notes, seq2seq, complete = {}, name in SEQ2SEQ, Completed(folder, inputs)
    if not seq2seq:
        make.attempt(notes, "ts17", folder, inputs, lambda p: make.export(fam, model, inputs, "ts17", 17, p))
    if exporter == "genai":
        genai_variants(folder, model, complete, notes)
    else:
        optimum_variants(folder, model, complete, notes, seq2seq)
    base = next((k for k, v in notes.items() if v == "ok"), None)
    make.describe(fam, folder, complete.names, base, notes)
    make.report(fam.name, notes)


def main():
    out, exporter, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    make.only_log()
    for name in ROWS:
        if names and name not in names or exporter == "genai" and name in SEQ2SEQ:
            continue
        try:
            make_row(name, out, exporter)
        except Exception as e:
            print(f"{name}: cannot be built: {type(e).__name__} {str(e)[:200]}", file=make.log, flush=True)


if __name__ == "__main__":
    main()
