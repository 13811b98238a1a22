"""The families that make_families.py exports: one row each, small and randomly initialised.

A row says how to build the model for an attention implementation ("eager", "sdpa"), its inputs, the outputs that are
exported and which of them is explained. Hand-written models are in models.py.
"""
import dataclasses
import torch
import transformers as tf
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
        c = getattr(tf, config)(**kw)
        c._attn_implementation = attention
        for sub in ("text_config", "vision_config", "encoder", "decoder"):
            s = getattr(c, sub, None)
            if s is not None and hasattr(s, "to_dict"):
                s._attn_implementation = attention
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
add("layoutlm", hf("LayoutLMForSequenceClassification", "LayoutLMConfig", max_2d_position_embeddings=64, **ENC), lambda: {**text()(), "bbox": torch.randint(0, 60, (1, N, 4), generator=torch.Generator().manual_seed(3)).sort(-1)[0][..., [0, 1, 2, 3]]}, attentions=("eager",))
add("esm", hf("EsmForSequenceClassification", "EsmConfig", position_embedding_type="rotary", pad_token_id=0, mask_token_id=4, **ENC), text())
add("rembert_like_eurobert", hf("EuroBertForSequenceClassification", "EuroBertConfig", num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, mask_token_id=3, **ENC), text())

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

# ------------------------------------------------------------------ encoder-decoder
S2S = lambda: {**text()(), "decoder_input_ids": ids(9, low=6)}
add("t5_enc", lambda a: models.MeanPooled(hf("T5EncoderModel", "T5Config", vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4)(a)), text(), outputs=("sentence_embedding",), attentions=("eager",))
add("t5", hf("T5ForConditionalGeneration", "T5Config", vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, feed_forward_proj="gated-gelu"), S2S, attentions=("eager",), target="0,8,5")
ED = dict(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2)
add("bart", hf("BartForConditionalGeneration", "BartConfig", **ED), S2S, target="0,8,5", ort_type="bart")
add("bart_cls", hf("BartForSequenceClassification", "BartConfig", num_labels=3, **ED), lambda: {"input_ids": torch.cat([ids(15), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 16, dtype=torch.int64)})
add("marian", hf("MarianMTModel", "MarianConfig", **ED), S2S, target="0,8,5")
add("mbart", hf("MBartForConditionalGeneration", "MBartConfig", **ED), S2S, target="0,8,5")

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
add("dinov3", hf("DINOv3ViTForImageClassification", "DINOv3ViTConfig", num_register_tokens=2, **V), image(), **vis)
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

# ------------------------------------------------------------------ sound, video
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
add("torchvision_vit", lambda a: models.torchvision_vit(), image(name="input"), outputs=("output",), positional=True, attentions=("eager",), **vis)

# ------------------------------------------------------------------ hand-written
tokens = lambda: {"tokens": ids()}
for name, build in models.TEXT.items():
    add(name, build, tokens, positional=True, attentions=("eager",), outputs=("output",), skip=("ts11", "dyn23"))
for name, build in models.VISION.items():
    add(name, build, image(name="image"), positional=True, attentions=("eager",), outputs=("output",), skip=("ts11", "dyn23"), **vis)
