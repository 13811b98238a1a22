"""More rows of families.py: model types of transformers 5 that have a mechanism of their own. Sizes of a configuration and of its
parts are made small by rule; a row says what the rule does not."""
import importlib, inspect
import torch
import transformers as tf
import models
from transformers.models.auto import configuration_auto
from families import (CLIP_IDS, ED, ENC, LL, POINTS, RT, S2S, SEEN_SMALL, SMALL, SWIN, TWO, W, add, among, hf, ids, image, noise, text, without)

SIZES = {**SEEN_SMALL, **SMALL, **without(LL, "num_labels"), "num_hidden_layers": 2, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 48}
EAGER = dict(attentions=("eager",))
LAST = dict(target="0,15,8", **EAGER)
POOLED = dict(outputs=("output",), **EAGER)
SEEN_OR_HEARD = dict(text=False, **EAGER)


def shrink(config, **given):
    """A configuration with small sizes, those of its parts included; a dict that is given for a part goes to the part."""
    config = configuration_auto.CONFIG_MAPPING[config] if isinstance(config, str) else config
    known = {**getattr(config, "__dataclass_fields__", {}), **inspect.signature(config.__init__).parameters}
    known |= {k: v for k, v in getattr(config, "attribute_map", {}).items() if v in known}
    sizes = {k: v for k, v in SIZES.items() if k in known}
    for part, kind in getattr(config, "sub_configs", {}).items():
        own = dict(given.pop(part, {}))
        if "model_type" in own:
            kind = configuration_auto.CONFIG_MAPPING[own.pop("model_type")]
        elif kind.__name__ == "AutoConfig":
            kind = type(getattr(config(), part))
        if kind is not type(None) and kind is not config:
            sizes[part] = shrink(kind, **own)
    return config(**{**sizes, **given})


def whole(name, model, wrap=None, **given):
    """A builder for a class of a model type."""
    def build(attention):
        c = shrink(name, **given)
        for part in [c] + [getattr(c, k) for k in getattr(c, "sub_configs", {})]:
            if part is None or isinstance(part, dict):
                continue
            part._attn_implementation = attention
            if hasattr(part, "_experts_implementation"):
                part._experts_implementation = "batched_mm"
            if hasattr(part, "use_cache"):
                part.use_cache = False
        module = importlib.import_module(type(c).__module__.replace("configuration", "modeling"))
        made = getattr(module, model)(c)
        return wrap(made) if wrap else made
    return build


def mean(m):
    return models.Pooled(m, "mean")


def rows(m):
    return models.Pooled(m, "rows")


def heard(*shape, name="input_features"):
    return lambda: {name: noise(1, *shape)}


# ------------------------------------------------------------------ texts: hybrids, shared attention, experts
GATED = dict(layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8)
PARTLY = dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5})
add("qwen3_5", whole("qwen3_5_text", "Qwen3_5ForCausalLM", **GATED, **PARTLY), text(), **LAST)
add("kimi_linear", whole("kimi_linear", "KimiLinearForCausalLM", num_key_value_heads=4, **GATED), text(), **LAST)
add("bailing_hybrid", whole("bailing_hybrid", "BailingHybridForCausalLM", num_key_value_heads=4, layer_types=["linear_attention", "full_attention"], q_lora_rank=None), text(), **LAST)
add("zamba", whole("zamba", "ZambaForCausalLM", attn_layer_period=3, attn_layer_offset=2, use_mamba_kernels=False, mamba_d_state=4, mamba_dt_rank=4, n_mamba_heads=2, num_key_value_heads=4, attention_head_dim=16, num_hidden_layers=6), text(), **LAST)
add("zamba2", whole("zamba2", "Zamba2ForCausalLM", num_hidden_layers=4, layers_block_type=["mamba", "hybrid"] * 2, use_mem_rope=True, mamba_d_state=8, mamba_ngroups=1, n_mamba_heads=8, use_mamba_kernels=False, num_key_value_heads=4, adapter_rank=4), text(), **LAST)
add("dbrx", whole("dbrx", "DbrxForCausalLM", n_heads=4, n_layers=2, max_seq_len=40, attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=1e4), ffn_config=dict(hidden_size=32, ffn_hidden_size=48, moe_num_experts=4, moe_top_k=2)), text(), **LAST)
add("zaya", whole("zaya", "ZayaForCausalLM", num_experts_per_tok=1, router_hidden_size=8), text(), **LAST)
add("inkling2_loop", whole("inkling2_loop_text", "Inkling2LoopForCausalLM"), text(), **LAST)
add("csm_backbone", whole("csm", "CsmBackboneModel", mean), lambda: {"input_ids": torch.stack([ids()] * 32, -1)}, **POOLED)
add("vits_text", lambda a: models.Named(tf.models.vits.modeling_vits.VitsTextEncoder(tf.VitsConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, flow_size=16, window_size=4, attn_implementation=a))),
    lambda: {"input_ids": ids(), "padding_mask": torch.ones(1, 16, 1)}, outputs=("last_hidden_state",), target="0,3,5", **SEEN_OR_HEARD)

# ------------------------------------------------------------------ decoders that read encoders
SAME = lambda: {**text()(), "decoder_input_ids": ids(16, low=6)}
WINDOWED = dict(num_hidden_layers=2, sliding_window=4, layer_types=["sliding_attention", "full_attention"])
add("t5gemma2", whole("t5gemma2", "T5Gemma2ForConditionalGeneration", encoder=dict(text_config=WINDOWED, image_token_index=59), decoder=WINDOWED), S2S, target="0,8,5", **EAGER)
add("nllb_moe", whole("nllb-moe", "NllbMoeForConditionalGeneration", encoder_sparse_step=2, decoder_sparse_step=2, expert_capacity=16), SAME, target="0,8,5", **EAGER)
add("fsmt", hf("FSMTForConditionalGeneration", "FSMTConfig", langs=["en", "de"], src_vocab_size=60, tgt_vocab_size=60, **without(ED, "vocab_size")), SAME, target="0,8,5", **EAGER)
add("dia", whole("dia", "DiaForConditionalGeneration", delay_pattern=[0, 1], decoder_config=dict(num_channels=2, vocab_size=60, cross_num_attention_heads=4, cross_num_key_value_heads=4, cross_head_dim=8, cross_hidden_size=32)),
    lambda: {"input_ids": ids(), "decoder_input_ids": torch.stack([ids(7, low=6)] * 2, -1)}, target="0,0,6,5", **EAGER)
add("evolla", whole("evolla", "EvollaForProteinText2Text", aligner_num_add_layers=1, resampler_depth=1, resampler_dim_head=8, resampler_heads=4, resampler_num_latents=4, aligner_ffn_mult=2),
    among(1, {"protein_input_ids": ids(12, vocab=20), "protein_attention_mask": torch.ones(1, 12, dtype=torch.int64)}), target="0,8,5", **SEEN_OR_HEARD)
SPEECH = dict(speech_encoder_layers=2, speech_encoder_attention_heads=4, speech_encoder_intermediate_size=48, feature_projection_input_dim=16, adaptor_kernel_size=4, adaptor_stride=4, conv_depthwise_kernel_size=3, num_conv_pos_embeddings=4, max_source_positions=40)
SPOKEN = lambda: {"input_features": noise(1, 24, 16), "decoder_input_ids": ids(7)}
add("seamless", whole("seamless_m4t", "SeamlessM4TForSpeechToText", **SPEECH), SPOKEN, target="0,6,5", **SEEN_OR_HEARD)
add("seamless_v2", whole("seamless_m4t_v2", "SeamlessM4Tv2ForSpeechToText", left_max_position_embeddings=6, right_max_position_embeddings=3, speech_encoder_chunk_size=10, **SPEECH), SPOKEN, target="0,6,5", **SEEN_OR_HEARD)
add("moonshine_streaming", whole("moonshine_streaming", "MoonshineStreamingForConditionalGeneration", num_key_value_heads=4, encoder_config=dict(num_key_value_heads=4)), lambda: {"input_values": noise(1, 1600), "decoder_input_ids": ids(7)}, target="0,6,5", **SEEN_OR_HEARD)
add("canary", whole("canary", "CanaryForConditionalGeneration", encoder_config=dict(subsampling_conv_channels=8, num_mel_bins=16, conv_kernel_size=3)), lambda: {"input_features": noise(1, 48, 16), "decoder_input_ids": ids(7)}, target="0,6,5", **SEEN_OR_HEARD)
add("informer", hf("InformerModel", "InformerConfig", attention_type="full", distil=False, prediction_length=4, context_length=12, lags_sequence=[1, 2], num_time_features=1, encoder_layers=2, decoder_layers=1, **without(ED, "vocab_size", "encoder_layers", "decoder_layers", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")),
    lambda: {"past_values": noise(1, 14), "past_time_features": noise(1, 14, 1), "past_observed_mask": torch.ones(1, 14), "future_values": noise(1, 4), "future_time_features": noise(1, 4, 1)}, outputs=("last_hidden_state",), target="0,1,3", **SEEN_OR_HEARD)

# ------------------------------------------------------------------ sounds, series
add("granite_speech", whole("granite_speech_encoder", "GraniteSpeechCTCEncoder", mean, input_dim=16, hidden_dim=32, dim_head=8, num_layers=2, context_size=12, output_dim=20, feedforward_mult=2), heard(40, 16, name="hidden_states"), **{**POOLED, **SEEN_OR_HEARD})
add("phi4_audio", whole("phi4_multimodal_audio", "Phi4MultimodalAudioModel", rows, input_size=16, nemo_conv_channels=8, ext_pw_out_channel=32, depthwise_separable_out_channel=32, bias_max_distance=20, bias_symmetric=False, kernel_size=3),
    lambda: {"hidden_states": noise(1, 48, 16), "mask": torch.ones(1, 48, dtype=torch.bool)}, **{**POOLED, **SEEN_OR_HEARD})
add("nemotron3_diarization", whole("nemotron3_diarization", "Nemotron3DiarizationForAudioFrameClassification", audio_config=dict(subsampling_conv_channels=8, num_key_value_heads=4), head_config=dict(audio_hidden_size=32, num_key_value_heads=4)), heard(48, 16), target="0,3,1", **SEEN_OR_HEARD)
add("omniasr_ctc", whole("omniasr_ctc", "OmniASRForCTC", pad_token_id=0, audio_config={k: W[k] for k in ("conv_dim", "conv_stride", "conv_kernel", "num_feat_extract_layers", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")}), heard(1, 400, name="input_values"), target="0,3,5", **SEEN_OR_HEARD)
add("timesfm2_5", whole("timesfm2_5", "TimesFm2_5Model", patch_length=8, context_length=64, horizon_length=8, output_quantile_len=8), lambda: {"past_values": noise(1, 64), "past_values_padding": torch.zeros(1, 64)}, outputs=("last_hidden_state",), target="0,7,5", **SEEN_OR_HEARD)

# ------------------------------------------------------------------ pictures, videos
SEEN_POOLED = {**POOLED, **SEEN_OR_HEARD}
FRAMES = lambda: {"pixel_values_videos": noise(1, 2, 3, 32, 32)}
add("llama4_vision", whole("llama4_vision_model", "Llama4VisionModel", mean, vision_output_dim=32, projector_input_dim=32, projector_output_dim=32, pixel_shuffle_ratio=0.5, intermediate_size=128), image(), **SEEN_POOLED)
add("mllama_vision", whole("mllama_vision_model", "MllamaVisionModel", models.Named, attention_heads=4, num_global_layers=1, max_num_tiles=2, intermediate_layers_indices=[0, 1], supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]], vision_output_dim=96),
    lambda: {"pixel_values": noise(1, 1, 2, 3, 32, 32), "aspect_ratio_ids": torch.tensor([[2]]), "aspect_ratio_mask": torch.ones(1, 1, 2, dtype=torch.int64)}, outputs=("last_hidden_state",), target="0,0,0,0,3", **SEEN_OR_HEARD)
add("gemma4_vision", whole("gemma4_vision", "Gemma4VisionModel", rows, position_embedding_size=16, pooling_kernel_size=2), lambda: {"pixel_values": noise(1, 16, 192), "pixel_position_ids": torch.tensor([[[i % 4, i // 4] for i in range(16)]])}, **SEEN_POOLED)
add("groupvit_vision", whole("groupvit_vision_model", "GroupViTVisionModel", mean), image(), **SEEN_POOLED)
add("pp_ocrv6_rec", whole("pp_ocrv6_small_rec", "PPOCRV6SmallRecForTextRecognition"), lambda: {"pixel_values": noise(1, 3, 48, 96)}, outputs=("last_hidden_state",), target="0,3,5", **SEEN_OR_HEARD)
add("videoprism", whole("videoprism_vision_model", "VideoPrismForVideoClassification", num_labels=5, num_frames=2, tubelet_size=[1, 8, 8], num_spatial_layers=2, num_temporal_layers=2, num_auxiliary_layers=1), FRAMES, **SEEN_OR_HEARD)
add("videomt", whole("videomt", "VideomtForUniversalSegmentation", num_queries=6, num_blocks=1, num_upscale_blocks=1, num_labels=5, num_hidden_layers=3, num_frames=2), FRAMES, outputs=("class_queries_logits",), target="1,2,1", **SEEN_OR_HEARD)
TINY_DINO = dict(model_type="dinov2", image_size=16, patch_size=4)
add("depth_pro", whole("depth_pro", "DepthProForDepthEstimation", patch_size=16, patch_embeddings_size=4, scaled_images_ratios=[0.5, 1.0], scaled_images_overlap_ratios=[0.0, 0.2], scaled_images_feature_dims=[8, 8], intermediate_hook_ids=[1, 0], intermediate_feature_dims=[8, 8],
    fusion_hidden_size=8, use_fov_model=False, image_model_config=TINY_DINO, patch_model_config=TINY_DINO, fov_model_config=TINY_DINO), image(), outputs=("predicted_depth",), target="0,3,4", **SEEN_OR_HEARD)
add("oneformer", hf("OneFormerForUniversalSegmentation", "OneFormerConfig", backbone_config=SWIN, num_queries=6, task_seq_len=8, text_encoder_width=32, text_encoder_context_length=8, text_encoder_num_layers=1, text_encoder_vocab_size=60, text_encoder_n_ctx=2, conv_dim=32, mask_dim=32,
    hidden_dim=32, encoder_feedforward_dim=48, encoder_layers=1, decoder_layers=3, num_attention_heads=4, dim_feedforward=48, query_dec_layers=1, num_labels=5), lambda: {**image(64)(), "task_inputs": ids(8)}, outputs=("class_queries_logits", "masks_queries_logits"), target="0,2,1", **SEEN_OR_HEARD)
NECK = dict(backbone_config=dict(image_size=64, window_size=4, global_attn_indexes=[1], pretrain_image_size=64), fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]])
DETR = dict(hidden_size=32, num_attention_heads=4, intermediate_size=48)
add("sam3", whole("sam3", "Sam3Model", vision_config=NECK, detr_encoder_config=dict(num_layers=1, **DETR), detr_decoder_config=dict(num_layers=2, num_queries=6, **DETR), geometry_encoder_config=dict(num_layers=1, **DETR), mask_decoder_config=dict(hidden_size=32, num_attention_heads=4)),
    lambda: {**image(64)(), **CLIP_IDS()}, outputs=("pred_logits", "pred_boxes"), target="0,2", **SEEN_OR_HEARD)
add("sam3_tracker", whole("sam3_tracker", "Sam3TrackerModel", vision_config=NECK, prompt_encoder_config=dict(hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4), mask_decoder_config=dict(hidden_size=32, mlp_dim=24, num_attention_heads=4, iou_head_hidden_dim=16)),
    POINTS(64), outputs=("iou_scores", "pred_masks"), target="0,0,1", **SEEN_OR_HEARD)
add("deimv2", hf("Deimv2ForObjectDetection", "Deimv2Config", **{**RT, "decoder_n_points": [2, 2, 2], "backbone_config": tf.HGNetV2Config(embedding_size=8, stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 8, 16], stage_mid_channels=[8] * 4, stage_out_channels=[8, 8, 16, 16],
    stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=["stage2", "stage3", "stage4"])}), image(128), outputs=("logits", "pred_boxes"), target="0,2,1", **SEEN_OR_HEARD)


def grounding(name, model, config):
    """Its masks between the phrases of a text need a running maximum, which the exporters have no form of: they are as for one phrase."""
    def build(attention):
        module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
        module.generate_masks_with_special_tokens_and_transfer_map = lambda *a, **k: (torch.ones(1, 10, 10, dtype=torch.bool), torch.arange(10)[None])
        return hf(model, config, backbone_config=tf.SwinConfig(image_size=64, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=2, out_features=["stage1", "stage2"]), text_config=tf.BertConfig(**{**without(ENC, "num_labels"), "num_hidden_layers": 2}), num_queries=6, d_model=32,
                  encoder_layers=2, encoder_ffn_dim=48, encoder_attention_heads=4, decoder_layers=2, decoder_ffn_dim=48, decoder_attention_heads=4, num_feature_levels=2, encoder_n_points=2, decoder_n_points=2, max_text_len=16)(attention)
    return build


for name, model in [("grounding_dino", "GroundingDino"), ("mm_grounding_dino", "MMGroundingDino")]:
    add(name, grounding(name, model + "ForObjectDetection", model + "Config"), lambda: {**image(64)(), "input_ids": torch.cat([torch.tensor([[1]]), ids(8, 50), torch.tensor([[2]])], 1), "attention_mask": torch.ones(1, 10, dtype=torch.int64)}, outputs=("logits", "pred_boxes"), target="0,2,3", **SEEN_OR_HEARD)

# ------------------------------------------------------------------ pictures and texts
add("tvp", hf("TvpForVideoGrounding", "TvpConfig", backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 32], depths=[1, 1], layer_type="basic", out_features=["stage2"]), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=60, max_position_embeddings=40,
    max_grid_col_position_embeddings=10, max_grid_row_position_embeddings=10, num_frames=2, visual_prompter_apply="remove", visual_prompt_size=4, max_img_size=32, type_vocab_size=2), lambda: {**text()(), "pixel_values": noise(1, 2, 3, 32, 32)}, target="0,0", **SEEN_OR_HEARD)
add("tipsv2", whole("tipsv2", "Tipsv2Model"), TWO, outputs=("logits_per_image",), target="0,0", **EAGER)
add("deepseek_vl_hybrid", whole("deepseek_vl_hybrid", "DeepseekVLHybridForConditionalGeneration", image_token_id=9, high_res_vision_config=dict(image_size=64, window_size=4, mlp_dim=48, output_channels=16)), among(16, {**image()(), "high_res_pixel_values": noise(1, 3, 64, 64)}), target="0,23,5", **SEEN_OR_HEARD)
add("fuyu", whole("fuyu", "FuyuForCausalLM", image_token_id=9, patch_size=8), lambda: {**among(4, {})(), "image_patches": noise(1, 4, 192)}, target="0,11,5", **SEEN_OR_HEARD)
add("gemma4", whole("gemma4", "Gemma4ForConditionalGeneration", image_token_id=9, vision_config=dict(position_embedding_size=16, pooling_kernel_size=2, default_output_length=4)), among(4, {"pixel_values": noise(1, 16, 192), "image_position_ids": torch.tensor([[[i % 4, i // 4] for i in range(16)]])}), target="0,11,5", **SEEN_OR_HEARD)
add("lfm2_vl", whole("lfm2_vl", "Lfm2VlForConditionalGeneration", image_token_id=9, downsample_factor=2, vision_config=dict(num_patches=16), text_config=dict(layer_types=["conv", "full_attention"])),
    among(4, {"pixel_values": noise(1, 16, 192), "pixel_attention_mask": torch.ones(1, 16, dtype=torch.int64), "spatial_shapes": torch.tensor([[4, 4]])}), target="0,11,5", **SEEN_OR_HEARD)
add("colpali", whole("colpali", "ColPaliForRetrieval", embedding_dim=8, vlm_config=dict(image_token_index=9, image_token_id=9, vision_config=dict(projection_dim=32), projection_dim=32)), among(16, image()()), outputs=("embeddings",), target="0,20,5", **SEEN_OR_HEARD)
add("instructblipvideo", whole("instructblipvideo", "InstructBlipVideoForConditionalGeneration", num_query_tokens=4, image_token_index=9, video_token_index=9, video_token_id=9, qformer_config=dict(cross_attention_frequency=2, encoder_hidden_size=32)), among(8, {"pixel_values": noise(1, 2, 3, 32, 32), "qformer_input_ids": ids(6)}), target="0,15,5", **SEEN_OR_HEARD)
