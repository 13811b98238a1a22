"""The families that make_families.py exports: one row each, small and randomly initialised.

A row says how to build the model for an attention implementation ("eager", "sdpa"), its inputs, the outputs that are
exported and which of them is explained. Hand-written models are in models/.
"""
import dataclasses, importlib, inspect
import torch
import transformers as tf
import heads
import models

N = 16  # tokens


@dataclasses.dataclass
class Family:
    name: str
    build: object                 # attention implementation -> module
    inputs: object                # () -> {name: tensor}
    outputs: tuple = ("logits",)
    attentions: tuple = ("eager", "sdpa")
    text: bool = True
    positional: bool = False      # inputs are given by position
    target: str = None
    output: int = 0               # which output is explained
    explain: bool = True
    ort_type: str = None          # of onnxruntime.transformers.optimizer
    ort_level: int = 0
    heads: int = 4
    width: int = 32
    skip: tuple = ()


FAMILIES = []


def add(name, build, inputs, **kw):
    FAMILIES.append(Family(name, build, inputs, **kw))


def hf(model, config, **kw):
    """A builder for a Hugging Face class."""
    def build(attention):
        c = (getattr(tf, config) if isinstance(config, str) else config)(**kw)
        c._attn_implementation = attention
        for sub in ("text_config", "vision_config", "encoder", "decoder"):
            s = getattr(c, sub, None)
            if s is not None and hasattr(s, "to_dict"):
                s._attn_implementation = attention
        if hasattr(c, "_experts_implementation"):
            c._experts_implementation = "batched_mm"  # torch's default has no ONNX form
        if hasattr(c, "use_cache"):
            c.use_cache = False
        return getattr(tf, model)(c) if isinstance(model, str) else model(c)
    return build


def ids(n=N, vocab=60, low=5):
    g = torch.Generator().manual_seed(7)
    return torch.randint(low, vocab, (1, n), generator=g)


def text(types=False, mask=True, n=N, pad=0):
    def make():
        x = ids(n)
        d = {"input_ids": x}
        if mask:
            m = torch.ones(1, n, dtype=torch.int64)
            if pad:
                m[:, n - pad:] = 0
            d["attention_mask"] = m
        if types:
            t = torch.zeros(1, n, dtype=torch.int64)
            t[:, n // 2:] = 1
            d["token_type_ids"] = t
        return d
    return make


def image(size=32, name="pixel_values", channels=3):
    return lambda: {name: torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(7))}


def boxes():
    """corners of the words on a page"""
    return torch.randint(0, 60, (1, N, 4), generator=torch.Generator().manual_seed(3)).sort(-1)[0]


def without(d, *names):
    return {k: v for k, v in d.items() if k not in names}


ENC = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
           max_position_embeddings=40, num_labels=3)

# ------------------------------------------------------------------ text encoders
add("bert", hf("BertForSequenceClassification", "BertConfig", **ENC), text(True), ort_type="bert")
add("bert_pad", hf("BertForSequenceClassification", "BertConfig", **ENC), text(True, pad=5), ort_type="bert")
add("bert_qa", hf("BertForQuestionAnswering", "BertConfig", **{**ENC, "num_labels": 2}), text(True), outputs=("start_logits", "end_logits"), ort_type="bert", output=1)
add("bert_ner", hf("BertForTokenClassification", "BertConfig", **ENC), text(True), ort_type="bert", target="0,4,1")
add("bert_mlm", hf("BertForMaskedLM", "BertConfig", **ENC), text(True), ort_type="bert", target="0,4,9")
add("bert_dropoutless_mean", lambda a: models.MeanPooled(hf("BertModel", "BertConfig", **ENC)(a)), text(), outputs=("sentence_embedding",), ort_type="bert")
add("sbert_norm", lambda a: models.MeanPooled(hf("MPNetModel", "MPNetConfig", **ENC)(a), True), text(pad=3), outputs=("token_embeddings", "sentence_embedding"), output=1, target="0,3")
add("roberta", hf("RobertaForSequenceClassification", "RobertaConfig", **ENC), text(), ort_type="bert")
add("xlmr", hf("XLMRobertaForSequenceClassification", "XLMRobertaConfig", **ENC), text(pad=4), ort_type="bert")
add("distilbert", hf("DistilBertForSequenceClassification", "DistilBertConfig", vocab_size=60, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=40, num_labels=3), text(), ort_type="bert")
add("albert", hf("AlbertForSequenceClassification", "AlbertConfig", embedding_size=16, **ENC), text(True), ort_type="bert")
add("electra", hf("ElectraForSequenceClassification", "ElectraConfig", embedding_size=16, **ENC), text(True), ort_type="bert")
add("mpnet", hf("MPNetForSequenceClassification", "MPNetConfig", **ENC), text())
add("deberta", hf("DebertaForSequenceClassification", "DebertaConfig", relative_attention=True, pos_att_type=["c2p", "p2c"], type_vocab_size=0, **ENC), text(), attentions=("eager",))
add("deberta_v2", hf("DebertaV2ForSequenceClassification", "DebertaV2Config", relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["c2p", "p2c"], type_vocab_size=0, **ENC), text(), attentions=("eager",))
add("modernbert", hf("ModernBertForSequenceClassification", "ModernBertConfig", global_attn_every_n_layers=2, local_attention=8, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, classifier_pooling="mean", reference_compile=False, **ENC), text())
add("modernbert_cls", hf("ModernBertForSequenceClassification", "ModernBertConfig", global_attn_every_n_layers=2, local_attention=8, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, classifier_pooling="cls", reference_compile=False, **ENC), text())
add("nomic", hf("NomicBertForSequenceClassification", "NomicBertConfig", **ENC), text())
add("ernie", hf("ErnieForSequenceClassification", "ErnieConfig", **ENC), text(True))
add("roformer", hf("RoFormerForSequenceClassification", "RoFormerConfig", embedding_size=32, **ENC), text(True), attentions=("eager",))
add("megatron_bert", hf("MegatronBertForSequenceClassification", "MegatronBertConfig", **ENC), text(True), attentions=("eager",))
add("convbert", hf("ConvBertForSequenceClassification", "ConvBertConfig", embedding_size=32, conv_kernel_size=3, head_ratio=2, **ENC), text(True), attentions=("eager",))
add("squeezebert", hf("SqueezeBertForSequenceClassification", "SqueezeBertConfig", embedding_size=32, **ENC), text(True), attentions=("eager",))
add("mobilebert", hf("MobileBertForSequenceClassification", "MobileBertConfig", embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16, **ENC), text(True))
add("xlnet", hf("XLNetForSequenceClassification", "XLNetConfig", vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=48, num_labels=3), text(), attentions=("eager",))
add("flaubert", hf("FlaubertForSequenceClassification", "FlaubertConfig", vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=40, num_labels=3), text(), attentions=("eager",))
add("fnet_none", hf("FNetForSequenceClassification", "FNetConfig", **ENC), text(mask=False), attentions=("eager",), explain=False)
add("funnel", hf("FunnelForSequenceClassification", "FunnelConfig", vocab_size=60, block_sizes=[1, 1], num_decoder_layers=1, d_model=32, n_head=4, d_head=8, d_inner=48, num_labels=3), text(), attentions=("eager",))
add("layoutlm", hf("LayoutLMForSequenceClassification", "LayoutLMConfig", max_2d_position_embeddings=64, **ENC), lambda: {**text()(), "bbox": boxes()}, attentions=("eager",))
add("esm", hf("EsmForSequenceClassification", "EsmConfig", position_embedding_type="rotary", pad_token_id=0, mask_token_id=4, **ENC), text())
add("rembert_like_eurobert", hf("EuroBertForSequenceClassification", "EuroBertConfig", num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, mask_token_id=3, **ENC), text())

add("rembert", hf("RemBertForSequenceClassification", "RemBertConfig", input_embedding_size=16, output_embedding_size=16, **ENC), text(True), attentions=("eager",))
add("ibert", hf("IBertForSequenceClassification", "IBertConfig", quant_mode=False, **ENC), text(), attentions=("eager",))
add("nystromformer_plain", hf("NystromformerForSequenceClassification", "NystromformerConfig", num_landmarks=N, segment_means_seq_len=N, conv_kernel_size=3, **ENC), text(True), attentions=("eager",))
add("longformer", hf("LongformerForSequenceClassification", "LongformerConfig", attention_window=4, pad_token_id=0, **ENC), text(), attentions=("eager",))
add("big_bird_full", hf("BigBirdForSequenceClassification", "BigBirdConfig", attention_type="original_full", **ENC), text(True), attentions=("eager",))
add("luke", hf(lambda c: models.Pooled(tf.LukeModel(c)), "LukeConfig", entity_vocab_size=10, entity_emb_size=16, use_entity_aware_attention=False, **ENC), text(), outputs=("output",), attentions=("eager",))
add("canine", hf("CanineForSequenceClassification", "CanineConfig", local_transformer_stride=8, downsampling_rate=4, upsampling_kernel_size=4, num_hash_buckets=16, **{k: v for k, v in ENC.items() if k != "vocab_size"}), text(True), attentions=("eager",))
add("mra", hf("MraForSequenceClassification", "MraConfig", **ENC), text(), attentions=("eager",), explain=False)
add("yoso", hf("YosoForSequenceClassification", "YosoConfig", use_expectation=True, **ENC), text(), attentions=("eager",), explain=False)
add("xlm", hf("XLMForSequenceClassification", "XLMConfig", vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=40, num_labels=3), text(), attentions=("eager",))
add("xlmr_xl", hf("XLMRobertaXLForSequenceClassification", "XLMRobertaXLConfig", **ENC), text())
add("roberta_prenorm", hf("RobertaPreLayerNormForSequenceClassification", "RobertaPreLayerNormConfig", **ENC), text())
add("camembert_ner", hf("CamembertForTokenClassification", "CamembertConfig", **ENC), text(), target="0,4,1")
add("roc_bert", hf("RoCBertForSequenceClassification", "RoCBertConfig", pronunciation_vocab_size=60, shape_vocab_size=60, pronunciation_embed_dim=8, shape_embed_dim=8, **ENC), text(True))
add("splinter", hf("SplinterForQuestionAnswering", "SplinterConfig", question_token_id=9, **ENC), text(True), outputs=("start_logits", "end_logits"), attentions=("eager",))
add("lilt", hf("LiltForSequenceClassification", "LiltConfig", channel_shrink_ratio=2, max_2d_position_embeddings=64, **{**ENC, "hidden_size": 48}), lambda: {**text()(), "bbox": boxes()}, attentions=("eager",))
add("markuplm", hf("MarkupLMForSequenceClassification", "MarkupLMConfig", max_depth=3, xpath_unit_hidden_size=8, max_xpath_tag_unit_embeddings=20, max_xpath_subs_unit_embeddings=20, tag_pad_id=19, subs_pad_id=19, **ENC), text(True), attentions=("eager",))
add("tapas", hf("TapasForSequenceClassification", "TapasConfig", type_vocab_sizes=[3, 4, 4, 2, 4, 4, 4], max_position_embeddings=40, **{k: v for k, v in ENC.items() if k != "max_position_embeddings"}), lambda: {**text()(), "token_type_ids": torch.randint(0, 2, (1, N, 7), generator=torch.Generator().manual_seed(3))}, attentions=("eager",))
add("bert_choice", hf("BertForMultipleChoice", "BertConfig", **ENC), lambda: {k: torch.cat([v, v.flip(1)]).view(1, 2, N) for k, v in text(True)().items()}, attentions=("eager",))
add("bert_regression", hf("BertForSequenceClassification", "BertConfig", **{**ENC, "num_labels": 1}), text(True), target="0,0")
add("bert_next", hf("BertForNextSentencePrediction", "BertConfig", **ENC), text(True))
add("bert_pretraining", hf("BertForPreTraining", "BertConfig", **ENC), text(True), outputs=("prediction_logits", "seq_relationship_logits"), output=1)
add("bert_batch", hf("BertForSequenceClassification", "BertConfig", **ENC), lambda: {k: torch.cat([v, v.flip(1), v.roll(3, 1)]) for k, v in text(True)().items()}, target="1,1")
add("bert_hidden", hf("BertModel", "BertConfig", **ENC), text(True), outputs=("last_hidden_state", "pooler_output"), output=1)
add("dpr", hf("DPRQuestionEncoder", "DPRConfig", **ENC), text(True), outputs=("pooler_output",), target="0,3")
add("xmod", hf("XmodForSequenceClassification", "XmodConfig", languages=["en"], default_language="en", **ENC), text(), attentions=("eager",))
add("gte", hf("GteForSequenceClassification", "GteConfig", **ENC), text())
add("jina3", hf("JinaEmbeddingsV3Model", "JinaEmbeddingsV3Config", **ENC), text(), outputs=("last_hidden_state", "pooler_output"), target="0,0,3")
add("embedding_gemma2", hf("EmbeddingGemma2Model", "EmbeddingGemma2Config", text_config=dict(head_dim=8, num_key_value_heads=2, hidden_size_per_layer_input=8, vocab_size_per_layer_input=60, embedding_dim=32, layer_types=["sliding_attention", "full_attention", "full_attention"], per_layer_config={}, sliding_window=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, **ENC)), text(), outputs=("last_hidden_state",), target="0,0,3")
add("modernbert_ner", hf("ModernBertForTokenClassification", "ModernBertConfig", global_attn_every_n_layers=2, local_attention=8, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, reference_compile=False, **ENC), text(), target="0,4,1")
add("esmc", hf("EsmcForMaskedLM", "EsmcConfig", **ENC), text(), target="0,4,9")

# ------------------------------------------------------------------ decoders
G = dict(vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, num_labels=3)
LL = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40, **G)
add("gpt2", hf("GPT2ForSequenceClassification", "GPT2Config", n_embd=32, n_layer=3, n_head=4, n_positions=40, **G), text(), ort_type="gpt2")
add("gpt2_lm", hf("GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=3, n_head=4, n_positions=40, **G), text(), target="0,15,8", ort_type="gpt2")
add("gpt_neox", hf("GPTNeoXForSequenceClassification", "GPTNeoXConfig", rotary_pct=0.5, **LL), text(), ort_type="gpt_neox")
add("gptj", hf("GPTJForSequenceClassification", "GPTJConfig", n_embd=32, n_layer=3, n_head=4, n_positions=40, rotary_dim=4, **G), text())
add("gpt_neo", hf("GPTNeoForSequenceClassification", "GPTNeoConfig", hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4, window_size=4, max_position_embeddings=40, **G), text(), attentions=("eager",))
add("opt", hf("OPTForSequenceClassification", "OPTConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=40, **G), text())
add("llama", hf("LlamaForSequenceClassification", "LlamaConfig", num_key_value_heads=4, **LL), text())
add("llama_gqa", hf("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2, **LL), text(), target="0,15,8")
add("mistral", hf("MistralForSequenceClassification", "MistralConfig", num_key_value_heads=2, sliding_window=5, **LL), text())
add("qwen2", hf("Qwen2ForSequenceClassification", "Qwen2Config", num_key_value_heads=2, **LL), text())
add("qwen3", hf("Qwen3ForSequenceClassification", "Qwen3Config", num_key_value_heads=2, head_dim=8, **LL), text())
add("gemma", hf("GemmaForSequenceClassification", "GemmaConfig", num_key_value_heads=1, head_dim=8, **LL), text())
add("gemma2", hf("Gemma2ForSequenceClassification", "Gemma2Config", num_key_value_heads=2, head_dim=8, sliding_window=4, attn_logit_softcapping=5.0, **LL), text(), attentions=("eager",))
add("phi", hf("PhiForSequenceClassification", "PhiConfig", partial_rotary_factor=0.5, **LL), text(), ort_type="phi")
add("phi3", hf("Phi3ForSequenceClassification", "Phi3Config", num_key_value_heads=2, **LL), text())
add("falcon", hf("FalconForSequenceClassification", "FalconConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, multi_query=True, parallel_attn=True, **G), text())
add("falcon_alibi", hf("FalconForSequenceClassification", "FalconConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, multi_query=False, alibi=True, new_decoder_architecture=False, parallel_attn=False, **G), text())
add("bloom", hf("BloomForSequenceClassification", "BloomConfig", hidden_size=32, n_layer=3, n_head=4, **G), text(), attentions=("eager",))
add("mpt", hf("MptForSequenceClassification", "MptConfig", d_model=32, n_layers=3, n_heads=4, max_seq_len=40, **G), text(), attentions=("eager",))
add("codegen", hf("CodeGenForCausalLM", "CodeGenConfig", n_embd=32, n_layer=2, n_head=4, n_positions=40, rotary_dim=4, **G), text(), attentions=("eager",), target="0,15,8")
add("stablelm", hf("StableLmForSequenceClassification", "StableLmConfig", num_key_value_heads=2, **LL), text())
add("cohere", hf("CohereForCausalLM", "CohereConfig", num_key_value_heads=2, **LL), text(), target="0,15,8")

add("gpt_bigcode", hf("GPTBigCodeForSequenceClassification", "GPTBigCodeConfig", n_embd=32, n_layer=3, n_head=4, n_positions=40, multi_query=True, **G), text())
add("starcoder2", hf("Starcoder2ForSequenceClassification", "Starcoder2Config", num_key_value_heads=2, **LL), text())
add("mixtral", hf("MixtralForSequenceClassification", "MixtralConfig", num_key_value_heads=2, num_local_experts=4, **LL), text())
add("qwen2_moe", hf("Qwen2MoeForSequenceClassification", "Qwen2MoeConfig", num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16, **LL), text())
add("qwen3_moe", hf("Qwen3MoeForSequenceClassification", "Qwen3MoeConfig", num_key_value_heads=2, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, **LL), text())
add("olmo", hf("OlmoForSequenceClassification", "OlmoConfig", clip_qkv=5.0, **LL), text())
add("olmo2", hf("Olmo2ForSequenceClassification", "Olmo2Config", num_key_value_heads=2, **LL), text())
add("granite", hf("GraniteForCausalLM", "GraniteConfig", num_key_value_heads=2, residual_multiplier=0.5, embedding_multiplier=2.0, logits_scaling=3.0, **LL), text(), target="0,15,8")
add("gemma3", hf("Gemma3ForCausalLM", "Gemma3TextConfig", num_key_value_heads=2, head_dim=8, sliding_window=4, layer_types=["sliding_attention", "full_attention", "sliding_attention"], **LL), text(), target="0,15,8")
add("llama4", hf("Llama4ForCausalLM", "Llama4TextConfig", num_key_value_heads=2, head_dim=8, intermediate_size_mlp=48, num_local_experts=2, interleave_moe_layer_step=2, attention_chunk_size=8, **LL), text(), target="0,15,8")
add("deepseek_v2", hf("DeepseekV2ForSequenceClassification", "DeepseekV2Config", q_lora_rank=16, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=16, first_k_dense_replace=1, n_group=1, topk_group=1, **LL), text())
add("deepseek_v3", hf("DeepseekV3ForSequenceClassification", "DeepseekV3Config", q_lora_rank=16, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=16, first_k_dense_replace=1, n_group=2, topk_group=1, num_key_value_heads=4, **LL), text())
add("smollm3", hf("SmolLM3ForSequenceClassification", "SmolLM3Config", num_key_value_heads=2, **LL), text())
add("persimmon", hf("PersimmonForSequenceClassification", "PersimmonConfig", **LL), text())
add("glm", hf("GlmForSequenceClassification", "GlmConfig", num_key_value_heads=2, head_dim=8, **LL), text())
add("glm4", hf("Glm4ForSequenceClassification", "Glm4Config", num_key_value_heads=2, head_dim=8, **LL), text())
add("helium", hf("HeliumForSequenceClassification", "HeliumConfig", num_key_value_heads=2, head_dim=8, **LL), text())
add("nemotron", hf("NemotronForSequenceClassification", "NemotronConfig", num_key_value_heads=2, **LL), text())
add("biogpt", hf("BioGptForSequenceClassification", "BioGptConfig", **LL), text())
add("xglm", hf("XGLMForCausalLM", "XGLMConfig", d_model=32, num_layers=2, attention_heads=4, ffn_dim=48, max_position_embeddings=40, **G), text(), target="0,15,8")
add("cohere2", hf("Cohere2ForCausalLM", "Cohere2Config", num_key_value_heads=2, sliding_window=4, **LL), text(), target="0,15,8")
add("gpt_oss", hf("GptOssForSequenceClassification", "GptOssConfig", num_key_value_heads=2, head_dim=8, sliding_window=4, num_local_experts=4, num_experts_per_tok=2, **LL), text(), attentions=("eager",))
add("exaone4", hf("Exaone4ForSequenceClassification", "Exaone4Config", num_key_value_heads=2, sliding_window=4, sliding_window_pattern=2, **LL), text())
add("ernie4_5", hf("Ernie4_5ForCausalLM", "Ernie4_5Config", num_key_value_heads=2, head_dim=8, **LL), text(), target="0,15,8")
add("diffllama", hf("DiffLlamaForSequenceClassification", "DiffLlamaConfig", num_key_value_heads=2, **LL), text(), attentions=("eager",))
add("phimoe", hf("PhimoeForSequenceClassification", "PhimoeConfig", num_key_value_heads=2, num_local_experts=4, **LL), text())
add("modernbert_decoder", hf("ModernBertDecoderForSequenceClassification", "ModernBertDecoderConfig", global_attn_every_n_layers=2, local_attention=8, cls_token_id=1, sep_token_id=2, **LL), text())
add("ctrl", hf("CTRLForSequenceClassification", "CTRLConfig", n_embd=32, n_layer=2, n_head=4, dff=48, n_positions=40, **G), text(), attentions=("eager",))
add("openai_gpt", hf("OpenAIGPTForSequenceClassification", "OpenAIGPTConfig", n_embd=32, n_layer=3, n_head=4, n_positions=40, **G), text(), attentions=("eager",))
add("imagegpt", hf("ImageGPTForImageClassification", "ImageGPTConfig", n_embd=32, n_layer=2, n_head=4, n_positions=40, **G), text(mask=False), attentions=("eager",))
add("bamba", hf("BambaForCausalLM", "BambaConfig", num_key_value_heads=2, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_n_groups=1, mamba_expand=2, mamba_chunk_size=8, **LL), text(mask=False), attentions=("eager",), target="0,15,8", explain=False)
add("mamba_none", hf("MambaForCausalLM", "MambaConfig", vocab_size=60, hidden_size=32, num_hidden_layers=2, state_size=4, time_step_rank=4), text(mask=False), attentions=("eager",), target="0,15,8", explain=False)
add("rwkv_none", hf("RwkvForCausalLM", "RwkvConfig", vocab_size=60, hidden_size=32, num_hidden_layers=2, context_length=N), text(mask=False), attentions=("eager",), target="0,15,8", explain=False)
add("vaultgemma", hf("VaultGemmaForCausalLM", "VaultGemmaConfig", num_key_value_heads=2, head_dim=8, sliding_window=4, **LL), text(), attentions=("eager",), target="0,15,8")
add("nanochat", hf("NanoChatForCausalLM", "NanoChatConfig", num_key_value_heads=2, **LL), text(), target="0,15,8")
add("seed_oss", hf("SeedOssForSequenceClassification", "SeedOssConfig", num_key_value_heads=2, head_dim=8, **LL), text())
add("doge", hf("DogeForSequenceClassification", "DogeConfig", num_key_value_heads=2, **LL), text(), attentions=("eager",))

# newer ones by rule: whatever sizes their configurations have are made small
SMALL = dict(num_key_value_heads=2, head_dim=8, moe_intermediate_size=16, shared_expert_intermediate_size=16, num_experts=4, num_local_experts=4, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1,
             n_group=1, topk_group=1, sliding_window=4, q_lora_rank=16, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, qk_head_dim=8, v_head_dim=8, first_k_dense_replace=1, moe_num_experts=4, moe_k=2, moe_topk=2,
             ffn_hidden_size=48, expert_ffn_size=16, mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_n_groups=1, mamba_expand=2, mamba_chunk_size=8, mamba_d_ssm=64, mamba_num_heads=8, mamba_head_dim=8,
             ssm_state_size=8, n_groups=1, chunk_size=8, hidden_size_per_layer_input=8, vocab_size_per_layer_input=60, num_nextn_predict_layers=0, num_experts_per_token=2, shared_intermediate_size=16, index_n_heads=2, index_head_dim=8, index_topk=8)


SEEN_SMALL = dict(embed_dim=32, d_model=32, num_layers=2, depth=2, num_heads=4, image_size=32, img_size=32, patch_size=8, out_hidden_size=32, projection_dim=16, temporal_patch_size=1, spatial_merge_size=1, num_channels=3,
                  in_channels=3, fullatt_block_indexes=[1], window_size=16, merge_kernel_size=[1, 1], deepstack_visual_indexes=[0], global_attn_indexes=[1], pretrain_image_size=32, num_mel_bins=16, max_source_positions=20,
                  encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48)


def tiny(name, wrap=None, sizes=(), **kw):
    """A builder for the language model of a Hugging Face model type, or with `wrap` for wrap(its bare model)."""
    from transformers.models.auto import configuration_auto, modeling_auto
    config = configuration_auto.CONFIG_MAPPING[name]
    known = {**getattr(config, "__dataclass_fields__", {}), **inspect.signature(config.__init__).parameters}
    known |= {k: v for k, v in getattr(config, "attribute_map", {}).items() if v in known}
    small = {**dict(sizes), **SMALL, **without(LL, "num_labels"), "num_hidden_layers": 2, **kw}
    named = modeling_auto.MODEL_MAPPING_NAMES if wrap else {**modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, **modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}

    def model(c):
        made = getattr(tf, named[name], None) or getattr(importlib.import_module(config.__module__.replace("configuration", "modeling")), named[name])
        return wrap(made(c)) if wrap else made(c)
    return hf(model, config, **{k: v for k, v in small.items() if k in known})


for name in """afmoe apertus1p5_text aria_text beam blenderbot-small cohere2_moe cwm dory dots1 ernie4_5_moe exaone exaone_moe falcon_h1 flex_olmo flint gemma4_text glm4_moe gpt_neox_japanese granite_swa granitemoe
        granitemoe_swa granitemoeshared hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hyperclovax inkling_text internlm3 iquestcoder jais2 jetmoe kolibri1 laguna lara_mini mellum mimo_v2_flash minimax minimax_m2
        minimax_m3_vl_text ministral ministral3 nemotron_h olmo3 sarvam_moe solar_open ultrabert""".split():
    add(name.replace("-", "_"), tiny(name), text(), attentions=("eager",), target="0,15,8")
LATENT = dict(num_key_value_heads=4)
for name, kw in [*[(n, LATENT) for n in "axk1 axk2 deepseek_v32 glm4_moe_lite glm_moe_dsa minicpm3 sarvam_mla youtu".split()], ("dots3_note_text", LATENT), ("deepseek_v4", {}), ("gemma4_unified_text", {}),
                 ("moshi", {}), ("jamba", dict(attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1, mamba_d_state=4, mamba_dt_rank=4, mamba_d_conv=3, use_mamba_kernels=False)),
                 ("lfm2_moe", dict(layer_types=["conv", "full_attention"], num_dense_layers=1)), ("lfm3", dict(layer_types=["conv", "full_attention"])), ("granitemoehybrid", dict(layer_types=["attention"] * 2)),
                 ("gemma3n_text", dict(num_kv_shared_layers=0, layer_types=["sliding_attention", "full_attention"], laurel_rank=8, altup_num_inputs=2, activation_sparsity_pattern=[0.0, 0.0], intermediate_size=[48, 48])),
                 ("qwen3_next", dict(layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8)), ("olmo_hybrid", dict(layer_types=["linear_attention", "full_attention"])),
                 ("prophetnet", dict(num_encoder_layers=1, num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, ngram=2, num_buckets=8))]:
    add(name, tiny(name, **kw), text(mask=name != "prophetnet"), attentions=("eager",), target="0,15,8")
MROPE = dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]})
for name, kw in [*[(n, {}) for n in "granite_docling_text molmo2_text muse_glimmer_text muse_spark_text openai_privacy_filter qwen3_vl_text qwen3_vl_moe_text tipsv2_text_model".split()], ("neomme", dict(head_dim=16)), ("mistral4", LATENT), ("mistral_large4_text", LATENT),
                 *[(n, MROPE) for n in "qwen2_vl_text qwen2_5_vl_text glm4v_text glm_ocr_text glm_image_text cosmos3_edge_text hunyuan_vl_text".split()]]:
    add(name, tiny(name, lambda m: models.Pooled(m, "mean"), **kw), text(), outputs=("output",), attentions=("eager",))

# ------------------------------------------------------------------ encoder-decoder
S2S = lambda: {**text()(), "decoder_input_ids": ids(9, low=6)}
add("t5_enc", lambda a: models.MeanPooled(hf("T5EncoderModel", "T5Config", vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("t5", hf("T5ForConditionalGeneration", "T5Config", vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, feed_forward_proj="gated-gelu"), S2S, attentions=("eager",), target="0,8,5")
ED = dict(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2)
add("bart", hf("BartForConditionalGeneration", "BartConfig", **ED), S2S, target="0,8,5", ort_type="bart")
add("bart_cls", hf("BartForSequenceClassification", "BartConfig", num_labels=3, **ED), lambda: {"input_ids": torch.cat([ids(15), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 16, dtype=torch.int64)})
add("marian", hf("MarianMTModel", "MarianConfig", **ED), S2S, target="0,8,5")
add("mbart", hf("MBartForConditionalGeneration", "MBartConfig", **ED), S2S, target="0,8,5")

T5 = dict(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)
add("mt5_enc", lambda a: models.MeanPooled(hf("MT5EncoderModel", "MT5Config", **T5)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("umt5_enc", lambda a: models.MeanPooled(hf("UMT5EncoderModel", "UMT5Config", **T5)(a)), text(pad=3), outputs=("sentence_embedding",), attentions=("eager",))
add("longt5_enc", lambda a: models.MeanPooled(hf("LongT5EncoderModel", "LongT5Config", local_radius=3, **T5)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("longt5_tglobal", lambda a: models.MeanPooled(hf("LongT5EncoderModel", "LongT5Config", local_radius=3, global_block_size=4, encoder_attention_type="transient-global", **T5)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("switch_enc", lambda a: models.MeanPooled(hf("SwitchTransformersEncoderModel", "SwitchTransformersConfig", num_experts=2, num_sparse_encoder_layers=1, **T5)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("mt5_cls", hf("MT5ForSequenceClassification", "MT5Config", num_labels=3, eos_token_id=2, pad_token_id=0, **T5), lambda: {"input_ids": torch.cat([ids(15), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 16, dtype=torch.int64)}, attentions=("eager",))
add("pegasus", hf("PegasusForConditionalGeneration", "PegasusConfig", **ED), S2S, target="0,8,5")
add("pegasus_x", hf("PegasusXForConditionalGeneration", "PegasusXConfig", block_size=4, num_global_tokens=2, **ED), S2S, attentions=("eager",), target="0,8,5")
add("m2m100", hf("M2M100ForConditionalGeneration", "M2M100Config", **ED), S2S, target="0,8,5")
add("blenderbot", hf("BlenderbotForConditionalGeneration", "BlenderbotConfig", **ED), S2S, target="0,8,5")
add("plbart_cls", hf("PLBartForSequenceClassification", "PLBartConfig", num_labels=3, **ED), lambda: {"input_ids": torch.cat([ids(15), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 16, dtype=torch.int64)})
add("led", hf("LEDForConditionalGeneration", "LEDConfig", attention_window=4, max_encoder_position_embeddings=40, max_decoder_position_embeddings=40, **without(ED, "max_position_embeddings")), S2S, attentions=("eager",), target="0,8,5")
add("t5gemma_cls", hf("T5GemmaForSequenceClassification", "T5GemmaConfig", encoder={**LL, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}, decoder={**LL, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}, num_labels=3, is_encoder_decoder=False), text(), attentions=("eager",))

# ------------------------------------------------------------------ vision
V = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=8, num_labels=5)
vis = dict(text=False)
add("vit", hf("ViTForImageClassification", "ViTConfig", **V), image(), ort_type="vit", **vis)
add("deit", hf("DeiTForImageClassificationWithTeacher", "DeiTConfig", **V), image(), ort_type="vit", **vis)
add("beit", hf("BeitForImageClassification", "BeitConfig", use_relative_position_bias=True, use_mask_token=False, **V), image(), **vis)
add("beit_shared", hf("BeitForImageClassification", "BeitConfig", use_shared_relative_position_bias=True, use_mean_pooling=False, **V), image(), **vis)
add("data2vec_vision", hf("Data2VecVisionForImageClassification", "Data2VecVisionConfig", use_relative_position_bias=True, use_mask_token=False, **V), image(), **vis)
add("dinov2", hf("Dinov2ForImageClassification", "Dinov2Config", mlp_ratio=2, **{k: v for k, v in V.items() if k != "intermediate_size"}), image(), **vis)
add("dinov2_swiglu", hf("Dinov2ForImageClassification", "Dinov2Config", mlp_ratio=2, use_swiglu_ffn=True, **{k: v for k, v in V.items() if k != "intermediate_size"}), image(40), **vis)
add("dinov2_reg", hf("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", mlp_ratio=2, num_register_tokens=3, **{k: v for k, v in V.items() if k != "intermediate_size"}), image(), **vis)
add("dinov3", hf(lambda c: models.Pooled(tf.DINOv3ViTModel(c)), "DINOv3ViTConfig", num_register_tokens=2, **V), image(), outputs=("output",), **vis)
add("dinov3_gated", hf(lambda c: models.Pooled(tf.DINOv3ViTModel(c), "mean"), "DINOv3ViTConfig", num_register_tokens=2, use_gated_mlp=True, **V), image(), outputs=("output",), **vis)
add("vit_mae", hf("ViTMAEModel", "ViTMAEConfig", mask_ratio=0.0, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16, **V), lambda: {**image()(), "noise": torch.arange(16.)[None]}, outputs=("last_hidden_state",), target="0,0,3", **vis)
add("vit_msn", hf("ViTMSNForImageClassification", "ViTMSNConfig", **V), image(), **vis)
add("ijepa", hf("IJepaForImageClassification", "IJepaConfig", **V), image(), **vis)
add("swin", hf("SwinForImageClassification", "SwinConfig", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5), image(), attentions=("eager",), **vis)
add("swinv2", hf("Swinv2ForImageClassification", "Swinv2Config", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5), image(), attentions=("eager",), **vis)
add("cvt", hf("CvtForImageClassification", "CvtConfig", patch_sizes=[7, 3, 3], patch_stride=[4, 2, 2], patch_padding=[2, 1, 1], embed_dim=[8, 16, 32], num_heads=[1, 2, 4], depth=[1, 1, 2], num_labels=5), image(), attentions=("eager",), **vis)
add("pvt", hf("PvtForImageClassification", "PvtConfig", image_size=32, num_encoder_blocks=2, depths=[2, 2], sequence_reduction_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[4, 2], strides=[4, 2], num_attention_heads=[2, 4], mlp_ratios=[2, 2], num_labels=5), image(), attentions=("eager",), **vis)
add("pvt_v2", hf("PvtV2ForImageClassification", "PvtV2Config", image_size=32, num_encoder_blocks=2, depths=[2, 2], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[2, 4], mlp_ratios=[2, 2], num_labels=5), image(), attentions=("eager",), **vis)
add("segformer", hf("SegformerForImageClassification", "SegformerConfig", num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[2, 4], mlp_ratios=[2, 2], num_labels=5), image(), attentions=("eager",), **vis)
add("levit", hf("LevitForImageClassification", "LevitConfig", image_size=128, hidden_sizes=[16, 24, 32], num_attention_heads=[2, 2, 4], depths=[1, 1, 1], key_dim=[8, 8, 8], num_labels=5), image(128), attentions=("eager",), **vis)
add("siglip", hf("SiglipForImageClassification", "SiglipConfig", vision_config={k: v for k, v in V.items() if k != "num_labels"}, text_config={k: v for k, v in ENC.items() if k != "num_labels"}, num_labels=5), image(), **vis)
add("siglip_vision", lambda a: hf("SiglipVisionModel", "SiglipVisionConfig", **V)(a), image(), outputs=("pooler_output",), target="0,3", **vis)
C = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48)
CLIP = dict(text_config=dict(vocab_size=60, max_position_embeddings=20, eos_token_id=59, bos_token_id=1, pad_token_id=0, **C), vision_config=dict(image_size=32, patch_size=8, **C), projection_dim=24)
add("clip", hf("CLIPModel", "CLIPConfig", **CLIP), lambda: {"input_ids": torch.cat([ids(8, 50), torch.tensor([[59]])], 1), **image()(), "attention_mask": torch.ones(1, 9, dtype=torch.int64)}, outputs=("logits_per_image",), target="0,0")
add("clip_text", hf("CLIPTextModelWithProjection", "CLIPTextConfig", projection_dim=24, **CLIP["text_config"]), lambda: {"input_ids": torch.cat([ids(8, 50), torch.tensor([[59]])], 1)}, outputs=("text_embeds",), ort_type="clip")
add("clip_vision", hf("CLIPVisionModelWithProjection", "CLIPVisionConfig", projection_dim=24, **CLIP["vision_config"]), image(), outputs=("image_embeds",), ort_type="clip", **vis)
add("detr", hf("DetrForObjectDetection", "DetrConfig", use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]), backbone=None, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_labels=5), image(), target="0,2,1", outputs=("logits", "pred_boxes"), **vis)
add("yolos", hf("YolosForObjectDetection", "YolosConfig", **{**V, "image_size": [32, 32]}, num_detection_tokens=4), image(), target="0,1,2", outputs=("logits", "pred_boxes"), **vis)
add("mobilevit", hf("MobileViTForImageClassification", "MobileViTConfig", image_size=64, hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 24], num_attention_heads=2, num_labels=5), image(64), attentions=("eager",), **vis)
add("hiera", hf("HieraForImageClassification", "HieraConfig", embed_dim=16, image_size=[32, 32], patch_size=[7, 7], patch_stride=[4, 4], patch_padding=[3, 3], mlp_ratio=2.0, depths=[1, 1], num_heads=[1, 2], embed_dim_multiplier=2.0, num_query_pool=1, query_stride=[2, 2], masked_unit_size=[2, 2], masked_unit_attention=[True, False], num_labels=5), image(), attentions=("eager",), **vis)

CLIP_IDS = lambda: {"input_ids": torch.cat([ids(8, 50), torch.tensor([[59]])], 1), "attention_mask": torch.ones(1, 9, dtype=torch.int64)}
TWO = lambda: {**CLIP_IDS(), **image()()}
PAIR = lambda: {**text(True)(), **image()()}
add("dinov2_mean", hf(lambda c: models.Pooled(tf.Dinov2Model(c), "cls_mean"), "Dinov2Config", mlp_ratio=2, **without(V, "intermediate_size")), image(), outputs=("output",), **vis)
add("siglip2", hf(lambda c: models.Named(tf.Siglip2VisionModel(c)), "Siglip2VisionConfig", num_patches=16, **without(V, "image_size")), lambda: {"pixel_values": torch.randn(1, 16, 192, generator=torch.Generator().manual_seed(7)), "pixel_attention_mask": torch.ones(1, 16, dtype=torch.int64), "spatial_shapes": torch.tensor([[4, 4]])}, outputs=("pooler_output",), target="0,3", attentions=("eager",), **vis)
add("aimv2", hf(lambda c: models.Named(tf.Aimv2VisionModel(c)), "Aimv2VisionConfig", **V), image(), outputs=("pooler_output",), target="0,3", **vis)
add("aimv2_mean", hf(lambda c: models.Pooled(tf.Aimv2VisionModel(c), "mean"), "Aimv2VisionConfig", use_head=False, **V), image(), outputs=("output",), **vis)
add("mobilevitv2", hf("MobileViTV2ForImageClassification", "MobileViTV2Config", image_size=64, num_labels=5, width_multiplier=0.25, base_attn_unit_dims=[32, 48, 64], n_attn_blocks=[1, 1, 1]), image(64), attentions=("eager",), **vis)
add("swiftformer", hf("SwiftFormerForImageClassification", "SwiftFormerConfig", image_size=64, depths=[1, 1], embed_dims=[16, 24], num_labels=5), image(64), attentions=("eager",), **vis)
add("focalnet_none", hf("FocalNetForImageClassification", "FocalNetConfig", image_size=32, embed_dim=16, depths=[1, 1], focal_levels=[1, 1], focal_windows=[3, 3], num_labels=5), image(), attentions=("eager",), explain=False, **vis)
add("poolformer_none", hf("PoolFormerForImageClassification", "PoolFormerConfig", hidden_sizes=[16, 24], depths=[1, 1], num_encoder_blocks=2, patch_sizes=[7, 3], strides=[4, 2], padding=[2, 1], num_labels=5), image(), attentions=("eager",), explain=False, **vis)
add("dpt", hf("DPTForSemanticSegmentation", "DPTConfig", neck_hidden_sizes=[8, 8, 8, 8], backbone_out_indices=[0, 1, 2, 3], fusion_hidden_size=8, readout_type="project", **{**V, "num_hidden_layers": 4}), image(), target="0,1,3,4", **vis)
add("segformer_seg", hf("SegformerForSemanticSegmentation", "SegformerConfig", num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[2, 4], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=5), image(), attentions=("eager",), target="0,1,3,4", **vis)
add("beit_seg", hf("BeitForSemanticSegmentation", "BeitConfig", use_relative_position_bias=True, use_mask_token=False, out_indices=[1, 2, 3, 4], **{**V, "num_hidden_layers": 4}), image(), target="0,1,3,4", **vis)
SAM = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=8, window_size=4, global_attn_indexes=[1], mlp_dim=48, output_channels=16)
add("sam", hf(lambda c: models.Pooled(tf.SamVisionModel(c), "grid"), "SamVisionConfig", **SAM), image(64), outputs=("output",), **vis)
add("sam_padded", hf(lambda c: models.Pooled(tf.SamVisionModel(c), "grid"), "SamVisionConfig", **{**SAM, "window_size": 3}), image(64), outputs=("output",), **vis)
add("vitdet", hf(lambda c: models.Pooled(tf.VitDetModel(c), "grid"), "VitDetConfig", window_size=4, window_block_indices=[0, 2], use_relative_position_embeddings=True, use_absolute_position_embeddings=True, pretrain_image_size=64, dropout_prob=0.0, **{**without(V, "num_labels", "intermediate_size"), "image_size": 64}), image(64), outputs=("output",), attentions=("eager",), **vis)
add("owlvit", hf("OwlViTModel", "OwlViTConfig", **{**CLIP, "text_config": without(CLIP["text_config"], "eos_token_id", "bos_token_id")}), TWO, outputs=("logits_per_image",), target="0,0")
add("owlvit_detect", hf("OwlViTForObjectDetection", "OwlViTConfig", **{**CLIP, "projection_dim": 32, "text_config": without(CLIP["text_config"], "eos_token_id", "bos_token_id")}), TWO, outputs=("logits", "pred_boxes"), target="0,3,0")
add("clipseg", hf("CLIPSegForImageSegmentation", "CLIPSegConfig", reduce_dim=16, decoder_num_attention_heads=2, decoder_intermediate_size=24, extract_layers=[0, 1, 2], **{**CLIP, "projection_dim": 32}), TWO, outputs=("logits",), target="0,4,5")
add("blip_itm", hf("BlipForImageTextRetrieval", "BlipConfig", text_config=dict(vocab_size=60, max_position_embeddings=20, encoder_hidden_size=32, bos_token_id=1, eos_token_id=2, pad_token_id=0, sep_token_id=3, **C), vision_config=CLIP["vision_config"], image_text_hidden_size=16), TWO, outputs=("itm_score",), attentions=("eager",))
add("blip_vision", hf(lambda c: models.Named(tf.BlipVisionModel(c)), "BlipVisionConfig", **CLIP["vision_config"]), image(), outputs=("pooler_output",), attentions=("eager",), **vis)
add("blip2_qformer", lambda a: models.QFormer(hf("Blip2VisionModel", "Blip2VisionConfig", **CLIP["vision_config"])(a), hf("Blip2QFormerModel", "Blip2QFormerConfig", vocab_size=60, encoder_hidden_size=32, cross_attention_frequency=2, max_position_embeddings=20, **C)(a)), image(), outputs=("output",), attentions=("eager",), **vis)
add("git", hf("GitForCausalLM", "GitConfig", vision_config=CLIP["vision_config"], vocab_size=60, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, **C), TWO, target="0,25,8", attentions=("eager",))
add("vilt", hf("ViltForQuestionAnswering", "ViltConfig", vocab_size=60, max_position_embeddings=20, **V), lambda: {**text(True)(), **image()(), "pixel_mask": torch.ones(1, 32, 32, dtype=torch.int64)}, attentions=("eager",))
add("visual_bert", hf("VisualBertForQuestionAnswering", "VisualBertConfig", visual_embedding_dim=20, **ENC), lambda: {**text(True)(), "visual_embeds": torch.randn(1, 5, 20, generator=torch.Generator().manual_seed(7)), "visual_attention_mask": torch.ones(1, 5, dtype=torch.int64), "visual_token_type_ids": torch.ones(1, 5, dtype=torch.int64)}, attentions=("eager",))
add("lxmert", hf("LxmertForQuestionAnswering", "LxmertConfig", vocab_size=60, hidden_size=32, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40, l_layers=2, x_layers=2, r_layers=1, visual_feat_dim=20, num_qa_labels=5), lambda: {**text(True)(), "visual_feats": torch.randn(1, 7, 20, generator=torch.Generator().manual_seed(7)), "visual_pos": torch.rand(1, 7, 4, generator=torch.Generator().manual_seed(8))}, outputs=("question_answering_score",), attentions=("eager",))
add("flava", hf(lambda c: models.Flava(tf.FlavaModel(c)), "FlavaConfig", image_config=dict(use_mask_token=False, **without(V, "num_labels")), text_config=without(ENC, "num_labels"), multimodal_config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48), hidden_size=32, projection_dim=16), PAIR, outputs=("output",), attentions=("eager",))
add("altclip", hf("AltCLIPModel", "AltCLIPConfig", text_config=dict(vocab_size=60, max_position_embeddings=20, project_dim=24, pad_token_id=1, **C), vision_config=CLIP["vision_config"], projection_dim=24), TWO, outputs=("logits_per_image",), target="0,0", attentions=("eager",))
add("chinese_clip", hf("ChineseCLIPModel", "ChineseCLIPConfig", text_config=dict(vocab_size=60, max_position_embeddings=20, **C), vision_config=CLIP["vision_config"], projection_dim=24), TWO, outputs=("logits_per_image",), target="0,0", attentions=("eager",))
add("align", hf("AlignModel", "AlignConfig", text_config=dict(vocab_size=60, max_position_embeddings=20, **C), vision_config=dict(image_size=32, width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=24, in_channels=[8], out_channels=[8], kernel_sizes=[3], strides=[2], num_block_repeats=[1], expand_ratios=[1], squeeze_expansion_ratio=0.25, depthwise_padding=[]), projection_dim=8), TWO, outputs=("logits_per_image",), target="0,0", attentions=("eager",))
add("groupvit", hf("GroupViTModel", "GroupViTConfig", text_config=dict(vocab_size=60, max_position_embeddings=20, **without(C, "num_hidden_layers"), num_hidden_layers=2), vision_config=dict(hidden_size=32, intermediate_size=48, depths=[1, 1, 1], num_group_tokens=[6, 3, 0], num_output_groups=[6, 3, 0], num_attention_heads=4, image_size=32, patch_size=8), projection_dim=24, projection_intermediate_dim=32), TWO, outputs=("logits_per_image",), target="0,0", attentions=("eager",))
add("layoutlmv3", hf("LayoutLMv3ForSequenceClassification", "LayoutLMv3Config", max_2d_position_embeddings=64, coordinate_size=4, shape_size=8, input_size=32, patch_size=8, has_relative_attention_bias=True, has_spatial_attention_bias=True, rel_pos_bins=8, max_rel_pos=16, rel_2d_pos_bins=8, max_rel_2d_pos=32, **ENC), lambda: {**text()(), "bbox": boxes(), **image()()}, attentions=("eager",))
add("layoutlmv3_text", hf("LayoutLMv3ForTokenClassification", "LayoutLMv3Config", visual_embed=False, max_2d_position_embeddings=64, coordinate_size=4, shape_size=8, has_relative_attention_bias=True, has_spatial_attention_bias=True, rel_pos_bins=8, max_rel_pos=16, rel_2d_pos_bins=8, max_rel_2d_pos=32, **ENC), lambda: {**text()(), "bbox": boxes()}, target="0,4,1", attentions=("eager",))
add("bros", hf("BrosForTokenClassification", "BrosConfig", dim_bbox=8, bbox_scale=60.0, **{**ENC, "hidden_size": 64}), lambda: {**text()(), "bbox": torch.rand(1, N, 8, generator=torch.Generator().manual_seed(3))}, target="0,4,1", attentions=("eager",))
add("donut_swin", hf("DonutSwinForImageClassification", "DonutSwinConfig", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5), image(), attentions=("eager",), **vis)
add("trocr", lambda a: models.Captioner(hf("ViTModel", "ViTConfig", **V)(a), hf("TrOCRForCausalLM", "TrOCRConfig", vocab_size=60, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48, cross_attention_hidden_size=32, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2)(a)), lambda: {**image()(), "input_ids": ids(9)}, outputs=("logits",), target="0,8,5", attentions=("eager",))
add("pix2struct", hf(lambda c: models.Pooled(tf.Pix2StructVisionModel(c), "mean"), "Pix2StructVisionConfig", hidden_size=32, patch_embed_hidden_size=48, d_ff=48, d_kv=8, num_hidden_layers=3, num_attention_heads=4, seq_len=20), lambda: {"flattened_patches": torch.cat([torch.tensor([[[i // 4 + 1.0, i % 4 + 1.0] for i in range(16)]]), torch.randn(1, 16, 48, generator=torch.Generator().manual_seed(7))], -1)}, outputs=("output",), attentions=("eager",), **vis)
add("mlcd", hf(lambda c: models.Pooled(tf.MLCDVisionModel(c)), "MLCDVisionConfig", **CLIP["vision_config"]), image(), outputs=("output",), **vis)
add("vjepa2", hf("VJEPA2ForVideoClassification", "VJEPA2Config", crop_size=32, patch_size=8, frames_per_clip=4, tubelet_size=2, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, pred_hidden_size=16, pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1, num_labels=5), lambda: {"pixel_values_videos": torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(7))}, **vis)
add("mgp_str", hf(lambda c: models.MgpStr(tf.MgpstrForSceneTextRecognition(c)), "MgpstrConfig", image_size=[16, 32], patch_size=4, max_token_length=6, num_character_labels=10, num_bpe_labels=12, num_wordpiece_labels=11, hidden_size=32, num_hidden_layers=2, num_attention_heads=4), lambda: {"pixel_values": torch.randn(1, 3, 16, 32, generator=torch.Generator().manual_seed(7))}, outputs=("char_logits", "bpe_logits", "wp_logits"), target="0,2,3", attentions=("eager",), **vis)
add("bridgetower", hf("BridgeTowerForImageAndTextRetrieval", "BridgeTowerConfig", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, text_config=dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40), vision_config=dict(hidden_size=64, num_hidden_layers=3, patch_size=8, image_size=32)), lambda: {**text()(), **image()(), "pixel_mask": torch.ones(1, 32, 32, dtype=torch.int64)}, attentions=("eager",))
add("perceiver", hf("PerceiverForSequenceClassification", "PerceiverConfig", num_latents=6, d_latents=32, d_model=32, num_blocks=1, num_self_attends_per_block=2, num_self_attention_heads=4, num_cross_attention_heads=4, vocab_size=60, max_position_embeddings=N, num_labels=3), lambda: {"inputs": ids()}, attentions=("eager",))
add("metaclip2_cls", hf("MetaClip2ForImageClassification", "MetaClip2Config", num_labels=5, **CLIP), image(), **vis)
add("deformable_detr", hf("DeformableDetrForObjectDetection", "DeformableDetrConfig", backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage1", "stage2"]), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_feature_levels=2, encoder_n_points=2, decoder_n_points=2, num_labels=5, disable_custom_kernels=True), image(), target="0,2,1", attentions=("eager",), **vis)
add("conditional_detr", hf("ConditionalDetrForObjectDetection", "ConditionalDetrConfig", backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_labels=5), image(), target="0,2,1", outputs=("logits", "pred_boxes"), attentions=("eager",), **vis)
add("vitpose", hf(lambda c: models.Named(tf.VitPoseForPoseEstimation(c)), "VitPoseConfig", backbone_config=tf.VitPoseBackboneConfig(image_size=[32, 32], patch_size=[8, 8], hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, out_features=["stage3"], num_experts=1), use_simple_decoder=True, scale_factor=2), image(), outputs=("heatmaps",), target="0,1,3,4", attentions=("eager",), **vis)
add("depth_anything", hf("DepthAnythingForDepthEstimation", "DepthAnythingConfig", backbone_config=tf.Dinov2Config(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2, out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False), patch_size=8, reassemble_hidden_size=32, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, head_hidden_size=8), image(), outputs=("predicted_depth",), target="0,3,4", attentions=("eager",), **vis)

# the encoders of newer models by rule; those of Qwen's kind take patches of all pictures in one list
for name in "chinese_clip_vision_model granite_docling_vision idefics3_vision qianfan_ocr_vision sam3_vit_model sapiens2 smolvlm_vision tipsv2_vision_model".split():
    add(name, tiny(name, lambda m: models.Pooled(m, "mean"), SEEN_SMALL), image(), outputs=("output",), attentions=("eager",), **vis)
PATCHES = lambda name, *shape: lambda: {name: torch.randn(16, *shape, generator=torch.Generator().manual_seed(7)), "grid_thw": torch.tensor([[1, 4, 4]])}
for name, feeds in [*[(n, PATCHES("hidden_states", 192)) for n in "cohere_compass_vision exaone4_5_vision glm4v_moe_vision glm4v_vision glm5_next_vision glm_ocr_vision qwen2_5_vl_vision qwen3_5_vision qwen3_vl_moe_vision qwen3_vl_vision qwen4_exp_vision".split()],
                    ("glm_image_vision", PATCHES("pixel_values", 192)), ("kimi_k25_vision", PATCHES("pixel_values", 3, 8, 8)),
                    ("video_llama_3_vision", lambda: {**PATCHES("pixel_values", 192)(), "merge_sizes": torch.tensor([1])})]:
    add(name, tiny(name, lambda m: models.Pooled(m, "rows"), SEEN_SMALL), feeds, outputs=("output",), attentions=("eager",), **vis)
add("lfm3_vl_vision", tiny("lfm3_vl_vision", lambda m: models.Pooled(m, "rows"), SEEN_SMALL, num_hidden_layers=3, layer_types=["full_attention", "conv", "full_attention"]), PATCHES("pixel_values", 192), outputs=("output",), attentions=("eager",), **vis)

# ------------------------------------------------------------------ sound, video
for name, shape in [("glmasr_encoder", (16, 40)), ("moss_transcribe_diarize_audio", (16, 40)), ("voxtral_encoder", (16, 40)), ("voxtral_realtime_encoder", (16, 40)), ("lasr_encoder", (40, 16))]:
    add(name, tiny(name, lambda m: models.Pooled(m, "mean"), SEEN_SMALL), lambda shape=shape: {"input_features": torch.randn(1, *shape, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("nemotron_asr_streaming_encoder", tiny("nemotron_asr_streaming_encoder", lambda m: models.Pooled(m, "mean"), {**SEEN_SMALL, "num_mel_bins": 20}, subsampling_conv_channels=8), lambda: {"input_features": torch.randn(1, 48, 20, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("ast", hf("ASTForAudioClassification", "ASTConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, patch_size=8, frequency_stride=6, time_stride=6, max_length=40, num_mel_bins=24, num_labels=5), lambda: {"input_values": torch.randn(1, 40, 24, generator=torch.Generator().manual_seed(7))}, **vis)
W = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, conv_dim=[16, 16], conv_stride=[5, 4], conv_kernel=[10, 4], num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=20, num_labels=4, classifier_proj_size=16, mask_time_prob=0.0, mask_feature_prob=0.0)
wave = lambda: {"input_values": torch.randn(1, 400, generator=torch.Generator().manual_seed(7))}
add("wav2vec2", hf("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", **W), wave, **vis)
add("wav2vec2_ctc", hf("Wav2Vec2ForCTC", "Wav2Vec2Config", do_stable_layer_norm=True, feat_extract_norm="layer", **W), wave, target="0,4,2", **vis)
add("hubert", hf("HubertForSequenceClassification", "HubertConfig", **W), wave, **vis)
add("whisper_enc", hf("WhisperForAudioClassification", "WhisperConfig", d_model=32, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=48, num_mel_bins=16, max_source_positions=20, classifier_proj_size=16, num_labels=4, decoder_layers=1, decoder_attention_heads=4, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1), lambda: {"input_features": torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(7))}, **vis)
add("videomae", hf("VideoMAEForVideoClassification", "VideoMAEConfig", num_frames=4, tubelet_size=2, **V), lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(7))}, **vis)
add("timesformer", hf("TimesformerForVideoClassification", "TimesformerConfig", num_frames=2, **V), lambda: {"pixel_values": torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(7))}, attentions=("eager",), **vis)
add("vivit", hf("VivitForVideoClassification", "VivitConfig", num_frames=4, tubelet_size=[2, 8, 8], **V), lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(7))}, **vis)

add("wavlm", hf("WavLMForSequenceClassification", "WavLMConfig", num_buckets=16, max_bucket_distance=30, **W), wave, attentions=("eager",), **vis)
add("sew", hf("SEWForSequenceClassification", "SEWConfig", squeeze_factor=2, **W), wave, **vis)
add("sew_d", hf("SEWDForSequenceClassification", "SEWDConfig", squeeze_factor=2, position_buckets=8, **W), wave, attentions=("eager",), **vis)
add("unispeech", hf("UniSpeechForSequenceClassification", "UniSpeechConfig", **W), wave, **vis)
add("unispeech_sat", hf("UniSpeechSatForXVector", "UniSpeechSatConfig", tdnn_dim=[16, 16, 24], tdnn_kernel=[3, 3, 1], tdnn_dilation=[1, 2, 1], xvector_output_dim=16, use_weighted_layer_sum=True, **W), wave, **vis)
add("wav2vec2_conformer", hf("Wav2Vec2ConformerForSequenceClassification", "Wav2Vec2ConformerConfig", conv_depthwise_kernel_size=3, position_embeddings_type="relative", max_source_positions=40, **W), wave, attentions=("eager",), **vis)
add("wav2vec2_conformer_rotary", hf("Wav2Vec2ConformerForCTC", "Wav2Vec2ConformerConfig", conv_depthwise_kernel_size=3, position_embeddings_type="rotary", **W), wave, target="0,4,2", attentions=("eager",), **vis)
FRAMES = lambda: {"input_features": torch.randn(1, 24, 20, generator=torch.Generator().manual_seed(7))}
add("wav2vec2_bert", hf("Wav2Vec2BertForSequenceClassification", "Wav2Vec2BertConfig", feature_projection_input_dim=20, conv_depthwise_kernel_size=3, left_max_position_embeddings=6, right_max_position_embeddings=3, **without(W, "conv_dim", "conv_stride", "conv_kernel", "num_feat_extract_layers", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")), FRAMES, attentions=("eager",), **vis)
add("speech_to_text_enc", lambda a: models.Pooled(hf("Speech2TextModel", "Speech2TextConfig", vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, input_feat_per_channel=20, num_conv_layers=2, conv_channels=16, conv_kernel_sizes=(3, 3), max_source_positions=60, pad_token_id=0, bos_token_id=1, eos_token_id=2)(a).encoder, "mean"), lambda: {"input_features": torch.randn(1, 44, 20, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("speecht5_enc", lambda a: models.Pooled(hf("SpeechT5Model", "SpeechT5Config", vocab_size=60, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, encoder_max_relative_position=8, **without(W, "vocab_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "num_labels", "classifier_proj_size"))(a).encoder.wrapped_encoder, "mean"), lambda: {"hidden_states": torch.randn(1, N, 32, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("clap_audio", hf(lambda c: models.Named(tf.ClapAudioModelWithProjection(c)), "ClapAudioConfig", spec_size=32, num_mel_bins=16, window_size=4, patch_size=4, patch_stride=[4, 4], patch_embeds_hidden_size=16, depths=[2, 2], num_attention_heads=[2, 4], hidden_size=32, projection_dim=16, enable_fusion=False), lambda: {"input_features": torch.randn(1, 1, 64, 16, generator=torch.Generator().manual_seed(7))}, outputs=("audio_embeds",), target="0,3", attentions=("eager",), **vis)
add("data2vec_audio", hf("Data2VecAudioForSequenceClassification", "Data2VecAudioConfig", conv_pos_kernel_size=3, **W), wave, **vis)
add("data2vec_text", hf("Data2VecTextForSequenceClassification", "Data2VecTextConfig", **ENC), text())
add("parakeet", hf(lambda c: models.Pooled(tf.ParakeetEncoder(c), "mean"), "ParakeetEncoderConfig", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, conv_kernel_size=3, subsampling_conv_channels=8, num_mel_bins=20, subsampling_factor=4, max_position_embeddings=60), lambda: {"input_features": torch.randn(1, 48, 20, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("moonshine_enc", lambda a: models.Pooled(hf("MoonshineModel", "MoonshineConfig", vocab_size=60, hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=2, decoder_num_hidden_layers=1, encoder_num_attention_heads=4, decoder_num_attention_heads=4)(a).encoder, "mean"), lambda: {"input_values": torch.randn(1, 6000, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
series = lambda n=32, c=3: lambda: {"past_values": torch.randn(1, n, c, generator=torch.Generator().manual_seed(7))}
PT = dict(num_input_channels=3, context_length=32, patch_length=4, patch_stride=4, d_model=32, num_attention_heads=4, num_hidden_layers=2, ffn_dim=48)
add("patchtst", hf("PatchTSTForClassification", "PatchTSTConfig", num_targets=4, use_cls_token=True, scaling=None, **PT), series(), outputs=("prediction_logits",), attentions=("eager",), **vis)
add("patchtst_one", hf("PatchTSTForClassification", "PatchTSTConfig", num_targets=4, use_cls_token=True, scaling="std", **{**PT, "num_input_channels": 1}), series(c=1), outputs=("prediction_logits",), attentions=("eager",), **vis)
add("patchtst_forecast", hf("PatchTSTForPrediction", "PatchTSTConfig", prediction_length=4, scaling="std", **PT), series(), outputs=("prediction_outputs",), target="0,1,2", attentions=("eager",), **vis)
add("patchtsmixer_none", hf("PatchTSMixerForTimeSeriesClassification", "PatchTSMixerConfig", num_input_channels=3, context_length=32, patch_length=4, patch_stride=4, d_model=16, num_layers=2, num_targets=4, scaling=None), series(), outputs=("prediction_outputs",), attentions=("eager",), explain=False, **vis)
add("decision_transformer", hf("DecisionTransformerModel", "DecisionTransformerConfig", state_dim=6, act_dim=3, hidden_size=32, n_layer=2, n_head=4, max_ep_len=40, n_positions=64), lambda: {"states": torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(7)), "actions": torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(8)), "rewards": torch.zeros(1, 5, 1), "returns_to_go": torch.rand(1, 5, 1, generator=torch.Generator().manual_seed(9)), "timesteps": torch.arange(5)[None], "attention_mask": torch.ones(1, 5, dtype=torch.int64)}, outputs=("action_preds",), target="0,4,1", attentions=("eager",), **vis)

# ------------------------------------------------------------------ more of both: hybrids, pyramids with other heads, encoders in encoders
add("bert_generation", hf(lambda c: models.Pooled(tf.BertGenerationEncoder(c)), "BertGenerationConfig", pad_token_id=0, **without(ENC, "num_labels")), text(), outputs=("output",))
add("reformer_local", hf("ReformerForSequenceClassification", "ReformerConfig", vocab_size=60, hidden_size=32, num_attention_heads=4, attention_head_size=8, feed_forward_size=48, attn_layers=["local", "local"], local_attn_chunk_length=4, axial_pos_embds=False, max_position_embeddings=40, is_decoder=False, num_labels=3), text(), attentions=("eager",))
add("olmoe", hf("OlmoeForCausalLM", "OlmoeConfig", num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, **LL), text(), target="0,15,8")
add("bitnet", hf("BitNetForCausalLM", "BitNetConfig", num_key_value_heads=2, **LL), text(), target="0,15,8")
add("lfm2", hf("Lfm2ForCausalLM", "Lfm2Config", num_key_value_heads=2, layer_types=["conv", "full_attention", "full_attention"], **LL), text(), target="0,15,8")
add("arcee", hf("ArceeForSequenceClassification", "ArceeConfig", num_key_value_heads=2, **LL), text())
add("apertus", hf("ApertusForTokenClassification", "ApertusConfig", num_key_value_heads=2, **LL), text(), target="0,15,1", attentions=("eager",))
add("cpmant", hf("CpmAntForCausalLM", "CpmAntConfig", vocab_size=60, hidden_size=32, num_attention_heads=4, dim_head=8, dim_ff=48, num_hidden_layers=2, position_bias_num_buckets=16, position_bias_max_distance=30, prompt_length=4, prompt_types=4, segment_types=4), lambda: {"input_ids": ids()}, target="0,10,8", attentions=("eager",))
add("recurrent_gemma", hf("RecurrentGemmaForCausalLM", "RecurrentGemmaConfig", lru_width=32, attention_window_size=8, conv1d_width=3, block_types=["recurrent", "attention"], **{**LL, "num_hidden_layers": 2}), text(mask=False), target="0,15,8", attentions=("eager",))
add("bigbird_pegasus", hf("BigBirdPegasusForConditionalGeneration", "BigBirdPegasusConfig", attention_type="original_full", **ED), S2S, attentions=("eager",), target="0,8,5")
add("mvp", hf("MvpForSequenceClassification", "MvpConfig", num_labels=3, **ED), lambda: {"input_ids": torch.cat([ids(15), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 16, dtype=torch.int64)}, attentions=("eager",))
add("whisper", hf("WhisperForConditionalGeneration", "WhisperConfig", num_mel_bins=16, max_source_positions=20, max_target_positions=20, **without(ED, "max_position_embeddings")), lambda: {"input_features": torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(7)), "decoder_input_ids": ids(7)}, target="0,6,5", attentions=("eager",), **vis)
add("qwen2_audio_enc", hf(lambda c: models.Pooled(tf.Qwen2AudioEncoder(c), "mean"), "Qwen2AudioEncoderConfig", num_mel_bins=16, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48, d_model=32, max_source_positions=20), lambda: {"input_features": torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), **vis)
add("swin2sr", hf("Swin2SRForImageSuperResolution", "Swin2SRConfig", image_size=16, patch_size=1, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4, upscale=2, upsampler="pixelshuffle"), image(16), outputs=("reconstruction",), target="0,1,9,12", attentions=("eager",), **vis)
add("maskformer_swin", lambda a: models.Pooled(hf(lambda c: tf.MaskFormerSwinModel(c) if hasattr(tf, "MaskFormerSwinModel") else tf.models.maskformer.modeling_maskformer_swin.MaskFormerSwinModel(c), "MaskFormerSwinConfig", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)(a), "mean"), image(), outputs=("output",), attentions=("eager",), **vis)
add("upernet", hf("UperNetForSemanticSegmentation", "UperNetConfig", backbone_config=tf.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, out_features=["stage1", "stage2"]), hidden_size=16, pool_scales=[1, 2], use_auxiliary_head=False, num_labels=5), image(), target="0,1,9,12", attentions=("eager",), **vis)
add("glpn", hf("GLPNForDepthEstimation", "GLPNConfig", num_encoder_blocks=4, depths=[1, 1, 1, 1], sr_ratios=[4, 2, 2, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], mlp_ratios=[2, 2, 2, 2], decoder_hidden_size=8), image(64), outputs=("predicted_depth",), target="0,9,12", attentions=("eager",), **vis)
add("eomt", hf("EomtForUniversalSegmentation", "EomtConfig", num_queries=6, num_blocks=1, num_upscale_blocks=1, num_labels=5, **{**without(V, "num_labels"), "image_size": 32}), image(), outputs=("class_queries_logits",), target="0,2,1", attentions=("eager",), **vis)
add("seggpt_enc", hf(lambda c: models.Named(tf.SegGptModel(c)), "SegGptConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_dim=48, image_size=[64, 32], patch_size=8, merge_index=1, intermediate_hidden_state_indices=[1, 2], pretrain_image_size=32, decoder_hidden_size=8), lambda: {k: torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i, k in enumerate(("pixel_values", "prompt_pixel_values", "prompt_masks"))}, outputs=("last_hidden_state",), target="0,2,1,3", attentions=("eager",), **vis)
add("table_transformer", hf("TableTransformerForObjectDetection", "TableTransformerConfig", use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]), backbone=None, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_labels=5), image(64), outputs=("logits", "pred_boxes"), target="0,2,1", attentions=("eager",), **vis)
add("detr_boxes", hf("DetrForObjectDetection", "DetrConfig", use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]), backbone=None, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_labels=5), image(64), outputs=("logits", "pred_boxes"), output=1, target="0,2,1", attentions=("eager",), **vis)
add("internvl_vision", hf(lambda c: models.Pooled(tf.InternVLVisionModel(c)), "InternVLVisionConfig", **{**without(V, "num_labels"), "image_size": [32, 32], "patch_size": [8, 8]}), image(), outputs=("output",), attentions=("eager",), **vis)
add("pixio", hf(lambda c: models.Pooled(tf.PixioModel(c)), "PixioConfig", n_cls_tokens=2, mlp_ratio=2, **without(V, "num_labels", "intermediate_size")), image(), outputs=("output",), attentions=("eager",), **vis)
add("owlv2", hf("Owlv2Model", "Owlv2Config", **{**CLIP, "text_config": without(CLIP["text_config"], "eos_token_id", "bos_token_id")}), TWO, outputs=("logits_per_image",), target="0,0", attentions=("eager",))
add("time_series", hf("TimeSeriesTransformerModel", "TimeSeriesTransformerConfig", prediction_length=4, context_length=12, lags_sequence=[1, 2], num_time_features=1, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48), lambda: {"past_values": torch.rand(1, 14, generator=torch.Generator().manual_seed(7)), "past_time_features": torch.rand(1, 14, 1, generator=torch.Generator().manual_seed(8)), "past_observed_mask": torch.ones(1, 14), "future_values": torch.rand(1, 4, generator=torch.Generator().manual_seed(9)), "future_time_features": torch.rand(1, 4, 1, generator=torch.Generator().manual_seed(10))}, outputs=("last_hidden_state",), target="0,3,5", attentions=("eager",), **vis)

# ------------------------------------------------------------------ pictures and sounds in front of a language model
def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def among(n, more):
    """two words, n places of a picture or sound (id 9), six words"""
    x = torch.randint(10, 50, (1, 8), generator=torch.Generator().manual_seed(7))
    return lambda: {"input_ids": torch.cat([x[:, :2], torch.full((1, n), 9), x[:, 2:]], 1), "attention_mask": torch.ones(1, n + 8, dtype=torch.int64), **more}


LM = without(LL, "num_labels")
SEEN = dict(image_size=32, patch_size=8, **C)
OPT = lambda: tf.OPTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=40, **without(G, "num_labels"))
QUERIES = dict(encoder_hidden_size=32, vocab_size=60, max_position_embeddings=40, **{**C, "num_hidden_layers": 2})
for name, arch, n, config, more in [
        ("llava", "Llava", 16, lambda: dict(vision_config=tf.CLIPVisionConfig(**SEEN), text_config=tf.LlamaConfig(**LM), image_token_index=9, vision_feature_layer=-1), {}),
        ("vipllava", "VipLlava", 16, lambda: dict(vision_config=tf.CLIPVisionConfig(**SEEN), text_config=tf.LlamaConfig(**LM), image_token_index=9, vision_feature_layers=[-1, -2]), {}),
        ("paligemma", "PaliGemma", 16, lambda: dict(vision_config=tf.SiglipVisionConfig(**SEEN), text_config=tf.GemmaConfig(head_dim=8, num_key_value_heads=1, **LM), image_token_index=9, projection_dim=32, hidden_size=32), {}),
        ("mistral3", "Mistral3", 4, lambda: dict(vision_config=tf.PixtralVisionConfig(head_dim=8, **{**SEEN, "num_hidden_layers": 2}), text_config=tf.MistralConfig(head_dim=8, num_key_value_heads=2, **LM), image_token_index=9, spatial_merge_size=2, vision_feature_layer=-1), {"image_sizes": torch.tensor([[32, 32]])}),
        ("internvl", "InternVL", 4, lambda: dict(vision_config=dict(**{**C, "num_hidden_layers": 2}, image_size=[32, 32], patch_size=[8, 8]), text_config=tf.Qwen2Config(num_key_value_heads=2, **LM), image_token_id=9, downsample_ratio=0.5), {}),
        ("blip2", "Blip2", 4, lambda: dict(vision_config=dict(**SEEN), qformer_config=QUERIES, text_config=OPT(), num_query_tokens=4, image_token_index=9), {}),
        ("instructblip", "InstructBlip", 4, lambda: dict(vision_config=dict(**SEEN), qformer_config=QUERIES, text_config=OPT(), num_query_tokens=4, image_token_index=9), {"qformer_input_ids": ids(6)}),
        ("kosmos2", "Kosmos2", 4, lambda: dict(vision_config=dict(**SEEN), text_config=dict(vocab_size=60, max_position_embeddings=64, embed_dim=32, layers=2, ffn_dim=48, attention_heads=4), latent_query_num=4), {"image_embeds_position_mask": torch.tensor([[0] * 2 + [1] * 4 + [0] * 6])})]:
    add(name, lambda a, arch=arch, config=config: hf(arch + "ForConditionalGeneration", arch + "Config", **config())(a), among(n, {**image()(), **more}), attentions=("eager",), target=f"0,{n + 7},5")
HEARD = dict(num_mel_bins=16, max_source_positions=20)
add("qwen2_audio", lambda a: hf("Qwen2AudioForConditionalGeneration", "Qwen2AudioConfig", audio_config=dict(encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48, d_model=32, **HEARD), text_config=tf.Qwen2Config(num_key_value_heads=2, **LM), audio_token_index=9, audio_token_id=9)(a), among(10, {"input_features": noise(1, 16, 40), "feature_attention_mask": torch.ones(1, 40, dtype=torch.int64)}), attentions=("eager",), target="0,17,5")
add("voxtral", lambda a: hf("VoxtralForConditionalGeneration", "VoxtralConfig", audio_config=dict(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, **HEARD), text_config=tf.LlamaConfig(**LM), audio_token_id=9)(a), among(5, {"input_features": noise(1, 16, 40)}), attentions=("eager",), target="0,12,5")
add("mllama", hf("MllamaForCausalLM", "MllamaTextConfig", cross_attention_layers=[1], rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, num_key_value_heads=2, **LM), lambda: {**text()(), "cross_attention_states": noise(1, 6, 32), "cross_attention_mask": torch.zeros(1, 1, 16, 6), "full_text_row_masked_out_mask": torch.ones(1, 1, 16, 1)}, attentions=("eager",), target="0,15,8")
add("vision_encoder_decoder", lambda a: tf.VisionEncoderDecoderModel(encoder=tf.ViTModel(tf.ViTConfig(attn_implementation=a, **SEEN), add_pooling_layer=False), decoder=tf.BertLMHeadModel(tf.BertConfig(is_decoder=True, add_cross_attention=True, use_cache=False, attn_implementation=a, **without(ENC, "num_labels")))), lambda: {**image()(), "decoder_input_ids": ids(7)}, attentions=("eager",), target="0,6,5")
SPOKEN = lambda: {"input_values": noise(1, 512), "decoder_input_ids": ids(7)}
add("speecht5_asr", hf("SpeechT5ForSpeechToText", "SpeechT5Config", vocab_size=60, hidden_size=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48, conv_dim=[16, 16], conv_stride=[4, 4], conv_kernel=[8, 8], num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2), SPOKEN, attentions=("eager",), target="0,6,5", **vis)
add("moonshine", hf("MoonshineForConditionalGeneration", "MoonshineConfig", vocab_size=60, hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=2, decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4, max_position_embeddings=40, partial_rotary_factor=0.5), lambda: {**SPOKEN(), "input_values": noise(1, 4000)}, target="0,6,5", **vis)
add("speech_to_text", hf("Speech2TextForConditionalGeneration", "Speech2TextConfig", max_source_positions=40, max_target_positions=40, input_feat_per_channel=16, conv_channels=16, num_conv_layers=2, **without(ED, "max_position_embeddings")), lambda: {"input_features": noise(1, 40, 16), "decoder_input_ids": ids(7)}, attentions=("eager",), target="0,6,5", **vis)
add("pop2piano", hf("Pop2PianoForConditionalGeneration", "Pop2PianoConfig", **T5), lambda: {"inputs_embeds": noise(1, 16, 32), "decoder_input_ids": ids(7)}, attentions=("eager",), target="0,6,5", **vis)
add("musicgen_decoder", hf("MusicgenForCausalLM", "MusicgenDecoderConfig", vocab_size=60, max_position_embeddings=40, num_hidden_layers=2, ffn_dim=48, num_attention_heads=4, hidden_size=32, num_codebooks=2, pad_token_id=60, bos_token_id=60), lambda: {"input_ids": torch.cat([ids(9), ids(9).flip(1)]), "encoder_hidden_states": noise(1, 6, 32)}, target="0,8,5", **vis)
add("bark_semantic", hf("BarkSemanticModel", "BarkSemanticConfig", input_vocab_size=60, output_vocab_size=60, num_layers=2, num_heads=4, hidden_size=32, block_size=40), text(), attentions=("eager",), target="0,15,8")
add("lasr_ctc", hf("LasrForCTC", "LasrCTCConfig", vocab_size=60, pad_token_id=0, encoder_config=dict(**{**C, "num_hidden_layers": 2}, num_mel_bins=16, subsampling_conv_channels=8)), lambda: {"input_features": noise(1, 64, 16)}, target="0,3,5", **vis)
add("clap", hf("ClapModel", "ClapConfig", text_config=dict(projection_dim=16, **without(ENC, "num_labels")), audio_config=dict(num_mel_bins=16, spec_size=32, patch_size=4, patch_stride=[4, 4], window_size=4, patch_embeds_hidden_size=16, depths=[2, 2], num_attention_heads=[2, 4], hidden_size=32, projection_dim=16, enable_fusion=False), projection_dim=16), lambda: {**text()(), "input_features": noise(1, 1, 64, 16)}, outputs=("logits_per_audio",), attentions=("eager",), target="0,0")
add("timesfm", hf("TimesFmModel", "TimesFmConfig", patch_length=8, context_length=64, horizon_length=8, freq_size=3, num_hidden_layers=2, hidden_size=32, intermediate_size=48, head_dim=8, num_attention_heads=4, quantiles=[0.1, 0.9]), lambda: {"past_values": noise(1, 64), "past_values_padding": torch.zeros(1, 64), "freq": torch.zeros(1, 1, dtype=torch.int64)}, outputs=("last_hidden_state",), attentions=("eager",), target="0,7,5", **vis)
# ------------------------------------------------------------------ detection, segmentation, matching: features sampled at computed places, queries that are chosen
def resnet(stages, first=1):
    return tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 24][:stages + first - 1], depths=[1] * (stages + first - 1), layer_type="basic", out_features=[f"stage{i}" for i in range(first, stages + first)])


LAYERS = dict(encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_queries=6, num_labels=5)
RT = dict(backbone_config=tf.RTDetrResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic", out_features=["stage2", "stage3", "stage4"]), encoder_hidden_dim=32, encoder_in_channels=[8, 16, 16],
          encoder_ffn_dim=48, encoder_attention_heads=4, d_model=32, num_queries=6, decoder_in_channels=[32] * 3, decoder_ffn_dim=48, decoder_n_points=2, decoder_layers=2, decoder_attention_heads=4, num_denoising=0, num_labels=5)
boxed = dict(outputs=("logits", "pred_boxes"), attentions=("eager",), target="0,2,1", **vis)
add("rt_detr", hf("RTDetrForObjectDetection", "RTDetrConfig", **RT), image(128), **boxed)
add("rt_detr_v2", hf("RTDetrV2ForObjectDetection", "RTDetrV2Config", **RT), image(128), **boxed)
add("d_fine", hf("DFineForObjectDetection", "DFineConfig", **{**RT, "decoder_n_points": [2, 2, 2], "backbone_config": tf.HGNetV2Config(embedding_size=8, stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 8, 16], stage_mid_channels=[8] * 4, stage_out_channels=[8, 8, 16, 16], stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=["stage2", "stage3", "stage4"])}), image(128), **boxed)
add("dab_detr", hf("DabDetrForObjectDetection", "DabDetrConfig", backbone_config=resnet(2), hidden_size=32, **LAYERS), image(64), **boxed)
add("deformable_two_stage", hf("DeformableDetrForObjectDetection", "DeformableDetrConfig", backbone_config=resnet(2), d_model=32, num_feature_levels=2, encoder_n_points=2, decoder_n_points=2, two_stage=True, with_box_refine=True, two_stage_num_proposals=6, **LAYERS), image(64), explain=False, **boxed)
add("lw_detr", hf("LwDetrForObjectDetection", "LwDetrConfig", backbone_config=tf.LwDetrViTConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=64, pretrain_image_size=64, patch_size=8, num_windows=4, window_block_indices=[0, 2], out_features=["stage3"]),
    projector_scale_factors=[1.0], decoder_ffn_dim=48, decoder_n_points=2, decoder_layers=2, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, num_queries=6, group_detr=1, d_model=32, c2f_num_blocks=1, num_labels=5), image(64), **boxed)
add("rf_detr", hf("RfDetrForObjectDetection", "RfDetrConfig", backbone_config=tf.RfDetrDinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=64, patch_size=8, num_windows=2, out_features=["stage2", "stage3"]),
    decoder_ffn_dim=48, decoder_n_points=2, decoder_layers=2, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, num_queries=6, group_detr=1, d_model=32, c2f_num_blocks=1, num_labels=5), image(64), **boxed)
MASKS = dict(outputs=("class_queries_logits", "masks_queries_logits"), attentions=("eager",), target="0,2,1", **vis)
SWIN = tf.SwinConfig(image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4], window_size=2, out_features=["stage1", "stage2", "stage3", "stage4"])
M2F = dict(feature_size=32, mask_feature_size=16, hidden_dim=32, encoder_feedforward_dim=48, encoder_layers=1, decoder_layers=3, num_attention_heads=4, dim_feedforward=48, num_queries=6, num_labels=5)
add("mask2former", hf("Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", backbone_config=resnet(4), **M2F), image(64), **MASKS)
add("mask2former_swin", hf("Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", backbone_config=SWIN, **M2F), image(64), **MASKS)
add("maskformer", hf("MaskFormerForInstanceSegmentation", "MaskFormerConfig", backbone_config=resnet(4), fpn_feature_size=32, mask_feature_size=32, num_labels=5, decoder_config=dict(model_type="detr", d_model=32, **without(LAYERS, "num_labels"))), image(64), **MASKS)
add("maskformer_full", hf("MaskFormerForInstanceSegmentation", "MaskFormerConfig", backbone_config=SWIN, fpn_feature_size=32, mask_feature_size=32, num_labels=5, decoder_config=dict(model_type="detr", d_model=32, **without(LAYERS, "num_labels"))), image(64), **MASKS)
POINTS = lambda size: lambda: {**image(size)(), "input_points": torch.tensor([[[[20.0, 30.0]]]]), "input_labels": torch.ones(1, 1, 1, dtype=torch.int64)}
add("sam_points", hf("SamModel", "SamConfig", vision_config=dict(num_pos_feats=8, **SAM), prompt_encoder_config=dict(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4), mask_decoder_config=dict(hidden_size=16, mlp_dim=24, num_attention_heads=2, iou_head_hidden_dim=16)), POINTS(64), outputs=("iou_scores", "pred_masks"), attentions=("eager",), target="0,0,1", **vis)
add("sam_hq", hf("SamHQModel", "SamHQConfig", vision_config=dict(num_pos_feats=8, **SAM), prompt_encoder_config=dict(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4), mask_decoder_config=dict(hidden_size=16, mlp_dim=24, num_attention_heads=2, iou_head_hidden_dim=16, vit_dim=32)), POINTS(64), outputs=("iou_scores", "pred_masks"), attentions=("eager",), target="0,0,1", **vis)
SAM2 = dict(backbone_config=dict(model_type="sam2_hiera_det_model", hidden_size=8, num_attention_heads=1, image_size=[128, 128], patch_kernel_size=[7, 7], patch_stride=[4, 4], patch_padding=[3, 3], window_positional_embedding_background_size=[2, 2], blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 2, 4, 8],
    window_size_per_stage=[4, 2, 4, 2], global_attention_blocks=[3]), backbone_channel_list=[64, 32, 16, 8], backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]], fpn_hidden_size=16)
add("sam2_vision", hf(lambda c: models.Pooled(tf.Sam2VisionModel(c), "mean"), "Sam2VisionConfig", hidden_size=64, **SAM2), image(128), outputs=("output",), attentions=("eager",), **vis)
add("sam2", hf("Sam2Model", "Sam2Config", vision_config=SAM2, prompt_encoder_config=dict(hidden_size=16, image_size=128, patch_size=16, mask_input_channels=4), mask_decoder_config=dict(hidden_size=16, mlp_dim=24, num_attention_heads=2, iou_head_hidden_dim=16)), POINTS(128), outputs=("iou_scores", "pred_masks"), attentions=("eager",), target="0,0,1", **vis)
add("zoedepth", hf("ZoeDepthForDepthEstimation", "ZoeDepthConfig", backbone_config=tf.BeitConfig(image_size=64, patch_size=8, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48, use_relative_position_bias=True, reshape_hidden_states=False, out_features=["stage1", "stage2", "stage3", "stage4"]), neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
    bottleneck_features=8, num_relative_features=4, num_attractors=[4, 2, 2, 1], bin_embedding_dim=8, bin_configurations=[dict(n_bins=8, min_depth=0.001, max_depth=10.0)]), image(64), outputs=("predicted_depth",), attentions=("eager",), target="0,3,4", **vis)
add("prompt_depth", hf("PromptDepthAnythingForDepthEstimation", "PromptDepthAnythingConfig", backbone_config=tf.Dinov2Config(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2, out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False), patch_size=8, reassemble_hidden_size=32, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, head_hidden_size=8),
    lambda: {**image()(), "prompt_depth": torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))}, outputs=("predicted_depth",), attentions=("eager",), target="0,3,4", **vis)
add("vitmatte", hf("VitMatteForImageMatting", "VitMatteConfig", backbone_config=tf.VitDetConfig(num_channels=4, window_size=4, window_block_indices=[0, 2], use_relative_position_embeddings=True, pretrain_image_size=64, residual_block_indices=[1], out_features=["stage3"], **{**without(V, "num_labels", "intermediate_size"), "image_size": 64, "patch_size": 16}), hidden_size=32, convstream_hidden_sizes=[8, 8, 8], fusion_hidden_sizes=[8, 8, 8, 8]),
    image(64, channels=4), outputs=("alphas",), attentions=("eager",), target="0,0,9,12", **vis)
add("x_clip", hf("XCLIPModel", "XCLIPConfig", text_config=without(CLIP["text_config"], "eos_token_id", "bos_token_id"), vision_config=dict(mit_hidden_size=24, mit_intermediate_size=32, mit_num_hidden_layers=1, mit_num_attention_heads=4, num_frames=2, **CLIP["vision_config"]), projection_dim=24, prompt_num_attention_heads=4),
    lambda: {"input_ids": ids(8, 60), "pixel_values": torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(7)), "attention_mask": torch.ones(1, 8, dtype=torch.int64)}, outputs=("logits_per_video",), target="0,0", attentions=("eager",))
add("kosmos2_vision", lambda a: models.Pooled(tf.models.kosmos2.modeling_kosmos2.Kosmos2VisionModel(tf.models.kosmos2.configuration_kosmos2.Kosmos2VisionConfig(**CLIP["vision_config"], attn_implementation=a))), image(), outputs=("output",), attentions=("eager",), **vis)
add("radio", hf(lambda c: models.Named(tf.RadioModel(c)), "RadioConfig", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2.0, image_size=32, patch_size=8, max_img_size=64, num_cls_tokens=3, num_registers=2, summary_idxs=[0, 1]), image(), outputs=("summary",), target="0,3", attentions=("eager",), **vis)

# ------------------------------------------------------------------ bands and blocks of keys, towers of pictures, suppressed boxes
add("longformer_local", hf(lambda c: models.Pooled(tf.LongformerModel(c, add_pooling_layer=False), "mean"), "LongformerConfig", attention_window=4, pad_token_id=0, **without(ENC, "num_labels")), text(mask=False), outputs=("output",), attentions=("eager",))
add("big_bird_sparse", hf("BigBirdForSequenceClassification", "BigBirdConfig", attention_type="block_sparse", block_size=4, num_random_blocks=1, **{**ENC, "max_position_embeddings": 80}), text(True, n=64), attentions=("eager",))
add("idefics3_vision", hf(lambda c: models.Pooled(tf.Idefics3VisionTransformer(c), "mean"), "Idefics3VisionConfig", **{**C, "num_hidden_layers": 2}, image_size=32, patch_size=8), image(), outputs=("output",), attentions=("eager",), **vis)
add("smolvlm_vision", hf(lambda c: models.Pooled(tf.SmolVLMVisionTransformer(c), "mean"), "SmolVLMVisionConfig", **{**C, "num_hidden_layers": 2}, image_size=32, patch_size=8), image(), outputs=("output",), attentions=("eager",), **vis)
add("gemma3_image", lambda a: hf("Gemma3ForConditionalGeneration", "Gemma3Config", vision_config=tf.SiglipVisionConfig(**SEEN), text_config=tf.Gemma3TextConfig(head_dim=8, num_key_value_heads=2, **LM), image_token_index=9, mm_tokens_per_image=4)(a), among(4, image()()), attentions=("eager",), target="0,11,5")
add("qwen2_vl_vision", lambda a: models.QwenVision(tf.models.qwen2_vl.modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel(tf.models.qwen2_vl.configuration_qwen2_vl.Qwen2VLVisionConfig(depth=2, embed_dim=32, hidden_size=24, num_heads=4, mlp_ratio=2, patch_size=4, spatial_merge_size=2, temporal_patch_size=2, attn_implementation=a))), lambda: {"hidden_states": torch.randn(16, 96, generator=torch.Generator().manual_seed(7))}, outputs=("output",), attentions=("eager",), target="2,3", **vis)
add("florence2_vision", lambda a: models.Pooled(tf.models.florence2.modeling_florence2.Florence2VisionBackbone(tf.models.florence2.configuration_florence2.Florence2VisionConfig(depths=[1, 1], embed_dim=[16, 32], num_heads=[2, 4], num_groups=[2, 4], patch_size=[7, 3], patch_stride=[4, 2], patch_padding=[3, 1], patch_prenorm=[False, True], window_size=4, hidden_size=32)), "grid"), image(name="hidden_states"), outputs=("output",), attentions=("eager",), **vis)
add("yolos_nms", lambda a: models.Suppressed(hf("YolosForObjectDetection", "YolosConfig", num_detection_tokens=6, **{**V, "image_size": [32, 32]})(a)), image(), outputs=("boxes", "scores", "labels", "logits"), attentions=("eager",), output=1, target="0", **vis)

# ------------------------------------------------------------------ timm, torchvision
for name, arch, kw in [
    ("timm_vit", "vit_base_patch16_224", {}), ("timm_gap", "vit_base_patch16_224", dict(global_pool="avg", class_token=False)),
    ("timm_reg", "vit_base_patch16_224", dict(reg_tokens=3, init_values=0.1, qk_norm=True)), ("timm_map", "vit_base_patch16_224", dict(global_pool="map", class_token=False)),
    ("timm_deit_distilled", "deit_base_distilled_patch16_224", {}), ("timm_beit", "beit_base_patch16_224", {}),
    ("timm_eva02", "eva02_base_patch14_224", dict(mlp_ratio=2.0)), ("timm_cait", "cait_s24_224", dict(depth=2)), ("timm_xcit", "xcit_small_12_p16_224", dict(depth=2)),
    ("timm_parallel", "vit_base_patch16_224", dict(block_fn=models.timm_block("ParallelThingsBlock"))), ("timm_parallel_scaling", "vit_base_patch16_224", dict(block_fn=models.timm_block("ParallelScalingBlock"), class_token=False, global_pool="avg")),
    ("timm_respost", "vit_base_patch16_224", dict(block_fn=models.timm_block("ResPostBlock"))),
    ("timm_relpos", "vit_relpos_base_patch16_224", {}), ("timm_deit3", "deit3_base_patch16_224", {}), ("timm_mixer_none", "mixer_b16_224", dict(num_blocks=2))]:
    small = dict(img_size=32, patch_size=8, embed_dim=32, num_classes=5)
    if "depth" not in kw and "mixer" not in arch:
        kw = dict(depth=3, **kw)
    if "mixer" not in arch:
        kw = dict(num_heads=4, **kw)
    add(name, models.timm_builder(arch, {**small, **kw}), image(name="input"), outputs=("output",), positional=True, explain="none" not in name,
        attentions=("eager", "sdpa") if "vit_base" in arch or "deit" in arch or "eva" in arch else ("eager",), **vis)
for name, arch, kw, size in [("timm_swin", "swin_tiny_patch4_window7_224", dict(img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4)), 32),
                             ("timm_twins", "twins_svt_small", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), mlp_ratios=(2, 2), depths=(1, 1), wss=(4, 4), sr_ratios=(2, 1)), 32),
                             ("timm_pit", "pit_ti_224", dict(img_size=32, patch_size=8, stride=4, base_dims=(8, 8), depth=(1, 1), heads=(2, 4)), 32),
                             ("timm_mvit", "mvitv2_tiny", dict(img_size=64, depths=(1, 1), embed_dim=16, num_heads=1), 64)]:
    add(name, models.timm_builder(arch, {**kw, "num_classes": 5}), image(size, name="input"), outputs=("output",), positional=True, attentions=("eager",), skip=("ts11", "dyn23"), **vis)
for name, arch, kw, size in [
        ("timm_beitv2", "beitv2_base_patch16_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_eva", "eva_giant_patch14_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2), 32),
        ("timm_dinov3", "vit_small_patch16_dinov3", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_dinov2", "vit_small_patch14_reg4_dinov2", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_aimv2", "aimv2_large_patch14_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2), 32), ("timm_samvit", "samvit_base_patch16_224", dict(img_size=64, patch_size=8, embed_dim=32, depth=3, num_heads=4, window_size=4, global_attn_indexes=(1,)), 64),
        ("timm_volo", "volo:VOLO", dict(img_size=64, layers=(1, 1), embed_dims=(16, 32), num_heads=(2, 4), mlp_ratio=2.0, downsamples=(True, False), outlook_attention=(True, False)), 64), ("timm_coat", "coat_tiny", dict(img_size=64, embed_dims=(16, 16, 16, 16), serial_depths=(1, 1, 1, 1), parallel_depth=1, num_heads=8), 64),
        ("timm_maxvit", "maxvit_nano_rw_256", dict(img_size=64), 64), ("timm_coatnet", "coatnet_nano_rw_224", dict(img_size=64), 64), ("timm_gcvit", "gcvit_xxtiny", {}, 224),
        ("timm_nest", "nest:Nest", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), depths=(1, 1), num_levels=2), 32), ("timm_crossvit", "crossvit_tiny_240", dict(img_size=240, embed_dim=(16, 32), depth=((1, 2, 0),), num_heads=(2, 4)), 240),
        ("timm_visformer", "visformer_tiny", dict(img_size=64, embed_dim=32, depth=(1, 1, 1), num_heads=2), 64), ("timm_tiny_vit", "tiny_vit_5m_224", dict(embed_dims=(16, 32, 32, 64), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_sizes=(4, 4, 4, 2)), 64),
        ("timm_edgenext_none", "edgenext_xx_small", dict(depths=(1, 1, 1, 1), dims=(16, 24, 32, 48)), 64), ("timm_davit", "davit_tiny", dict(depths=(1, 1), embed_dims=(16, 32), num_heads=(2, 4), window_size=4), 64),
        ("timm_efficientformer", "efficientformer_l1", dict(depths=(1, 1, 1, 2), embed_dims=(16, 16, 24, 32), num_vit=1), 224), ("timm_efficientformerv2", "efficientformerv2_s0", dict(img_size=64, depths=(1, 1, 1, 1), embed_dims=(16, 16, 24, 32), num_vit=1), 64),
        ("timm_mobilevit", "mobilevit_xxs", {}, 64), ("timm_mobilevitv2", "mobilevitv2_050", {}, 64), ("timm_poolformer_none", "metaformer:MetaFormer", dict(depths=(1, 1), dims=(16, 24)), 32),
        ("timm_twins_pcpvt", "twins_pcpvt_small", dict(img_size=32, patch_size=4, embed_dims=(16, 32), num_heads=(2, 4), mlp_ratios=(2, 2), depths=(1, 1), sr_ratios=(2, 1)), 32), ("timm_swinv2", "swinv2_tiny_window8_256", dict(img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4)), 32),
        ("timm_swinv2_cr", "swinv2_cr_tiny_224", dict(img_size=64, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4)), 64), ("timm_convit", "convit_tiny", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4, local_up_to_layer=2), 32),
        ("timm_tnt", "tnt_s_patch16_224", dict(img_size=32, patch_size=8, embed_dim=32, inner_dim=8, depth=2, num_heads_inner=2, num_heads_outer=4, first_stride=4), 32), ("timm_sequencer_none", "sequencer2d_s", dict(img_size=32, layers=(1, 1), patch_sizes=(4, 2), embed_dims=(16, 16), hidden_sizes=(8, 8), mlp_ratios=(2, 2)), 32),
        ("timm_naflex", "naflexvit_base_patch16_gap", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_fastvit", "fastvit_sa12", dict(layers=(1, 1, 1, 1), embed_dims=(32, 32, 64, 64)), 64), ("timm_repvit_none", "repvit_m0_9", {}, 64),
        ("timm_hiera", "hiera_tiny_224", dict(img_size=(64, 64), stages=(1, 1, 1, 1), embed_dim=16, num_heads=1, mask_unit_size=(8, 8)), 64), ("timm_botnet", "botnet26t_256", dict(img_size=64), 64),
        ("timm_halonet", "halonet26t", {}, 256), ("timm_lambda_none", "lambda_resnet26t", {}, 64), ("timm_vit_srelpos", "vit_srelpos_small_patch16_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_vit_rope_mixed", "vit_small_patch16_rope_mixed_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_vit_diff", "vit_dpwee_patch16_reg1_gap_256", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2), 32), ("timm_levit", "levit_128s", dict(img_size=64, embed_dim=(16, 24, 32), key_dim=8, depth=(1, 1, 1), num_heads=(2, 3, 4)), 64), ("timm_pvt_v2", "pvt_v2_b0", dict(depths=(1, 1, 1, 1), embed_dims=(16, 16, 32, 32), num_heads=(1, 2, 2, 4)), 64),
        ("timm_eva02_cls", "eva02_tiny_patch14_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2.0, global_pool="token"), 32), ("timm_siglip2", "vit_base_patch16_siglip_224.v2_webli", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_clip", "vit_base_patch16_clip_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_mambaout_none", "mambaout_femto", dict(depths=(1, 1), dims=(16, 24)), 32), ("timm_caformer", "caformer_s18", {}, 64), ("timm_convnext_none", "convnext:ConvNeXt", dict(depths=(1, 1, 1, 1), dims=(16, 16, 24, 24)), 32)]:
    add(name, models.timm_builder(arch, {**kw, "num_classes": 5}), image(size, name="input"), outputs=("output",), positional=True, attentions=("eager",), skip=("ts11", "dyn23"), explain="none" not in name, **vis)
for name in ("swin_v2_t", "maxvit_t", "swin_t"):
    add("torchvision_" + name, models.torchvision_builder(name), image(64, name="input"), outputs=("output",), positional=True, attentions=("eager",), skip=("ts11", "dyn23"), **vis)
add("torchvision_vit", lambda a: models.torchvision_vit(), image(name="input"), outputs=("output",), positional=True, attentions=("eager",), **vis)

for name, arch, kw, size in [
        ("timm_efficientvit_mit", "efficientvit_b0", dict(widths=(8, 16, 16, 32, 32), depths=(1, 1, 1, 1, 1), head_dim=8), 64), ("timm_efficientvit_msra", "efficientvit_m0", dict(img_size=64, embed_dim=(16, 32, 48), depth=(1, 1, 1), num_heads=(2, 2, 3)), 64),
        ("timm_vitamin", "vitamin_small_224", dict(img_size=64), 64), ("timm_beit3", "beit3_base_patch16_224", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_swiftformer", "swiftformer_xs", dict(layers=(1, 1, 1, 1), embed_dims=(8, 16, 24, 32)), 64), ("timm_iformer", "iformer_t", {}, 64), ("timm_lowformer", "lowformer_b0", {}, 64), ("timm_shvit", "shvit_s1", {}, 64),
        ("timm_hieradet", "sam2_hiera_tiny", dict(stages=(1, 1, 2, 1), embed_dim=16, num_heads=1, global_att_blocks=(3,)), 64), ("timm_mobilenetv4_hybrid", "mobilenetv4_hybrid_medium", {}, 64), ("timm_mobilenetv5", "mobilenetv5_300m", {}, 64), ("timm_efficientvim", "efficientvim_m1", {}, 64),
        ("timm_vit_hybrid", "vit_tiny_r_s16_p8_224", dict(img_size=64, embed_dim=32, depth=3, num_heads=4), 64), ("timm_deepseek_vit", "deepseek_vit_412m", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_qwen3_vit", "qwen3_vit_88m", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_pe_core", "vit_pe_core_tiny_patch16_384", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32), ("timm_pe_spatial", "vit_pe_spatial_tiny_patch16_512", dict(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), 32),
        ("timm_csatv2", "csatv2", {}, 64), ("timm_cpubone", "cpubone_t0", {}, 64), ("timm_eca_resnext", "eca_botnext26ts_256", dict(img_size=64), 64), ("timm_sehalonet", "sehalonet33ts", {}, 256), ("timm_lamhalobotnet", "lamhalobotnet50ts_256", dict(img_size=256), 256),
        ("timm_gcresnet_none", "gcresnet33ts", {}, 64), ("timm_coat_lite", "coat_lite_tiny", dict(img_size=64, embed_dims=(16, 16, 24, 32), serial_depths=(1, 1, 1, 1)), 64), ("timm_swin_s3", "swin_s3_tiny_224", dict(img_size=64, window_size=(4, 4, 4, 2), embed_dim=16, depths=(1, 1, 2, 1), num_heads=(2, 2, 4, 4)), 64),
        ("timm_convformer_none", "convformer_s18", dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), 64), ("timm_maxvit_rmlp", "maxvit_rmlp_pico_rw_256", dict(img_size=64), 64)]:
    add(name, models.timm_builder(arch, {**kw, "num_classes": 5}), image(size, name="input"), outputs=("output",), positional=True, attentions=("eager",), skip=("ts11", "dyn23"), explain="none" not in name, **vis)

# ------------------------------------------------------------------ hand-written
tokens = lambda: {"tokens": ids()}
for name, build in models.TEXT.items():
    add(name, build, tokens, positional=True, attentions=("eager",), outputs=("output",), skip=("ts11", "dyn23"))
add("lagged", lambda a: models.Lagged(), lambda: {"values": torch.randn(1, 18, generator=torch.Generator().manual_seed(7)), "features": torch.randn(1, 18, 2, generator=torch.Generator().manual_seed(8))}, positional=True, attentions=("eager",), outputs=("output",), skip=("ts11", "dyn23"), **vis)
add("matched", lambda a: models.Matched(), lambda: {"image": image()()["pixel_values"], "tokens": ids()}, positional=True, attentions=("eager",), outputs=("output",), target="0,0", skip=("ts11", "dyn23"), **vis)
add("pair_cosine", lambda a: models.PairCosine(), lambda: {"a": image()()["pixel_values"], "b": image()()["pixel_values"].flip(3)}, positional=True, attentions=("eager",), outputs=("output",), target="0", skip=("ts11", "dyn23"), **vis)
for name, build in models.VISION.items():
    add(name, build, image(name="image"), positional=True, attentions=("eager",), outputs=("output",), skip=("ts11", "dyn23"), **vis)

# ------------------------------------------------------------------ heads and adapters
for name, (build, inputs, kw) in heads.HEADS.items():
    add("head_" + name, build, inputs, attentions=("eager",), **kw)
