"""Models of Hugging Face as older releases have them, in PyTorch and in TensorFlow: one row each, with what their makers share.

A row names the class without "TF", so make_older.py and make_hf_tf.py build the same models; nothing here needs a framework.
"""
import dataclasses, glob, json, os
import numpy as np
import onnx
import onnxruntime as ort

ort.set_default_logger_severity(4)
N = 16  # tokens


@dataclasses.dataclass
class Row:
    name: str
    model: str                    # class
    config: dict
    inputs: object                # () -> {name: array}
    outputs: tuple = ("logits",)
    target: str = None
    output: int = 0               # which output is explained
    explain: bool = True
    ort_type: str = None          # of onnxruntime's optimizer
    configs: str = None           # the configuration's class, where the model's name does not begin with it


ROWS = []


def add(name, model, config, inputs, **kw):
    ROWS.append(Row(name, model, config, inputs, **kw))


def ids(n=N, vocab=60, low=5, seed=7):
    return np.random.default_rng(seed).integers(low, vocab, (1, n))


def text(types=False, pad=0, n=N, **more):
    def make():
        mask = np.ones((1, n), np.int64)
        mask[:, n - pad:] = 0
        d = {"input_ids": ids(n), "attention_mask": mask}
        if types:
            d["token_type_ids"] = (np.arange(n) >= n // 2).astype(np.int64)[None]
        return {**d, **{k: v() for k, v in more.items()}}
    return make


def image(size=32, channels=3, name="pixel_values"):
    return lambda: {name: np.random.default_rng(7).standard_normal((1, channels, size, size)).astype(np.float32)}


def sound(n=400):
    return lambda: {"input_values": np.random.default_rng(7).standard_normal((1, n)).astype(np.float32)}


def boxes():
    return np.sort(np.random.default_rng(3).integers(0, 60, (1, N, 4)), -1)


def both():
    return {**image()(), **text()()}


def without(d, *names):
    return {k: v for k, v in d.items() if k not in names}


ENC = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40, num_labels=3, pad_token_id=0)
ROB = {**ENC, "pad_token_id": 1}
G = dict(vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, num_labels=3, use_cache=False)
GPT = dict(n_embd=32, n_layer=2, n_head=4, n_positions=40, n_ctx=40, **G)
ED = dict(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
          max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, use_cache=False)
T5 = dict(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, use_cache=False)
V = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=8, num_labels=5)
AUDIO = dict(vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, conv_dim=[16, 16, 16], conv_stride=[5, 2, 2], conv_kernel=[10, 3, 2],
             num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, num_labels=3, num_feat_extract_layers=3, mask_time_prob=0.0, layerdrop=0.0)
SEQ = "ForSequenceClassification"
S2S = text(decoder_input_ids=lambda: ids(9, low=6, seed=8))

add("bert", "Bert" + SEQ, ENC, text(True), ort_type="bert")
add("bert_pad", "Bert" + SEQ, ENC, text(True, pad=5), ort_type="bert")
add("bert_qa", "BertForQuestionAnswering", {**ENC, "num_labels": 2}, text(True), outputs=("start_logits", "end_logits"), output=1, ort_type="bert")
add("bert_ner", "BertForTokenClassification", ENC, text(True), target="0,4,1", ort_type="bert")
add("bert_mlm", "BertForMaskedLM", ENC, text(True), target="0,4,9", ort_type="bert")
add("bert_model", "BertModel", ENC, text(True), outputs=("last_hidden_state", "pooler_output"), output=1, ort_type="bert")
add("bert_next", "BertForNextSentencePrediction", ENC, text(True), ort_type="bert")
add("bert_choice", "BertForMultipleChoice", ENC, lambda: {k: np.stack([v, v[:, ::-1]], 1) for k, v in text(True)().items()})
add("bert_relative", "Bert" + SEQ, {**ENC, "position_embedding_type": "relative_key_query"}, text(True))
add("bert_decoder", "BertLMHeadModel", {**ENC, "is_decoder": True, "use_cache": False}, text(), target="0,15,9")
add("roberta", "Roberta" + SEQ, ROB, text(), ort_type="bert")
add("roberta_pad", "Roberta" + SEQ, ROB, text(pad=4), ort_type="bert")
add("roberta_qa", "RobertaForQuestionAnswering", {**ROB, "num_labels": 2}, text(), outputs=("start_logits", "end_logits"))
add("roberta_prenorm", "RobertaPreLayerNorm" + SEQ, ROB, text())
add("xlmr_ner", "XLMRobertaForTokenClassification", ROB, text(), target="0,4,1", ort_type="bert")
add("camembert_ner", "CamembertForTokenClassification", ROB, text(), target="0,4,1", ort_type="bert")
DISTIL = dict(vocab_size=60, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=40, num_labels=3)
add("distilbert", "DistilBert" + SEQ, DISTIL, text(), ort_type="bert")
add("distilbert_qa", "DistilBertForQuestionAnswering", {**DISTIL, "num_labels": 2}, text(pad=3), outputs=("start_logits", "end_logits"), ort_type="bert")
add("distilbert_sinusoidal", "DistilBertForMaskedLM", {**DISTIL, "sinusoidal_pos_embds": True}, text(), target="0,4,9")
add("albert", "Albert" + SEQ, dict(ENC, embedding_size=16), text(True), ort_type="bert")
add("albert_groups", "AlbertForTokenClassification", dict(ENC, embedding_size=16, num_hidden_groups=3, inner_group_num=2), text(True), target="0,4,1")
add("electra", "Electra" + SEQ, dict(ENC, embedding_size=16), text(True), ort_type="bert")
add("electra_disc", "ElectraForPreTraining", dict(ENC, embedding_size=32), text(True), target="0,4", ort_type="bert")
DEB = {**ENC, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
add("deberta", "Deberta" + SEQ, DEB, text())
add("deberta_content", "Deberta" + SEQ, {**DEB, "relative_attention": False, "pos_att_type": []}, text())
add("deberta_c2p", "DebertaForTokenClassification", {**DEB, "pos_att_type": ["c2p"], "talking_head": False}, text(), target="0,4,1")
add("deberta_v2", "DebertaV2" + SEQ, {**DEB, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}, text())
add("deberta_v2_own", "DebertaV2ForQuestionAnswering", {**DEB, "position_buckets": -1, "share_att_key": False, "num_labels": 2}, text(pad=3), outputs=("start_logits", "end_logits"))
add("deberta_v2_conv", "DebertaV2ForMaskedLM", {**DEB, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3, "conv_act": "gelu"}, text(), target="0,4,9")
add("mpnet", "MPNet" + SEQ, ENC, text())
add("mpnet_model", "MPNetModel", ENC, text(pad=3), outputs=("last_hidden_state", "pooler_output"), output=1)
add("xlnet", "XLNet" + SEQ, dict(vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=48, num_labels=3, use_mems_eval=False), text())
add("xlnet_segments", "XLNetForTokenClassification", dict(vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=48, num_labels=3, use_mems_eval=False), text(True), target="0,4,1")
XLM = dict(vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=40, num_labels=3, pad_index=0, unk_index=1, bos_index=2, eos_index=3)
add("xlm", "XLM" + SEQ, XLM, text())
add("xlm_causal", "XLM" + SEQ, {**XLM, "causal": True, "gelu_activation": False, "sinusoidal_embeddings": True}, text())
add("flaubert", "Flaubert" + SEQ, XLM, text())
add("flaubert_prenorm", "Flaubert" + SEQ, {**XLM, "pre_norm": True}, text())
FUN = dict(vocab_size=60, block_sizes=[2, 1], num_decoder_layers=1, d_model=32, n_head=4, d_head=8, d_inner=48, num_labels=3)
add("funnel", "Funnel" + SEQ, FUN, text())
add("funnel_ner", "FunnelForTokenClassification", {**FUN, "attention_type": "factorized", "pool_q_only": False, "separate_cls": False}, text(True), target="0,4,1")
add("funnel_max", "Funnel" + SEQ, {**FUN, "pooling_type": "max", "truncate_seq": False}, text())
add("convbert", "ConvBert" + SEQ, dict(ENC, embedding_size=16, conv_kernel_size=3, head_ratio=2), text(True))
add("convbert_groups", "ConvBert" + SEQ, dict(ENC, embedding_size=32, conv_kernel_size=5, head_ratio=1, num_groups=2), text(True))
add("mobilebert", "MobileBert" + SEQ, dict(ENC, embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16), text(True))
add("mobilebert_layernorm", "MobileBertForQuestionAnswering", {**ENC, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16, "normalization_type": "layer_norm", "key_query_shared_bottleneck": False, "use_bottleneck_attention": True, "num_labels": 2}, text(True), outputs=("start_logits", "end_logits"))
add("rembert", "RemBert" + SEQ, dict(ENC, input_embedding_size=16, output_embedding_size=16), text(True))
add("roformer", "RoFormer" + SEQ, dict(ENC, embedding_size=32), text(True))
add("roformer_value", "RoFormer" + SEQ, dict(ENC, embedding_size=16, rotary_value=True), text(True, pad=4))
add("esm", "Esm" + SEQ, dict(ENC, position_embedding_type="rotary", mask_token_id=4), text())
add("esm_absolute", "EsmForTokenClassification", dict(ENC, position_embedding_type="absolute", mask_token_id=4, emb_layer_norm_before=True, token_dropout=True), text(), target="0,4,1")
add("longformer", "Longformer" + SEQ, dict(ENC, attention_window=4), text())
add("longformer_qa", "LongformerForTokenClassification", dict(ENC, attention_window=[4, 8, 4]), lambda: {**text()(), "global_attention_mask": (np.arange(N) < 2).astype(np.int64)[None]}, target="0,4,1")
add("layoutlm", "LayoutLM" + SEQ, dict(ENC, max_2d_position_embeddings=64), text(bbox=boxes))
add("layoutlm_ner", "LayoutLMForTokenClassification", dict(ENC, max_2d_position_embeddings=64), text(True, bbox=boxes), target="0,4,1")
add("layoutlmv3", "LayoutLMv3" + SEQ, dict(ENC, max_2d_position_embeddings=64, coordinate_size=4, shape_size=8, input_size=32, patch_size=8, has_relative_attention_bias=True, has_spatial_attention_bias=True, rel_pos_bins=8, max_rel_pos=16, rel_2d_pos_bins=8, max_rel_2d_pos=32),
    lambda: {**text(bbox=boxes)(), **image()()})
add("tapas", "Tapas" + SEQ, {**ENC, "type_vocab_sizes": [3, 4, 4, 2, 4, 4, 4]}, lambda: {**text()(), "token_type_ids": np.random.default_rng(3).integers(0, 2, (1, N, 7))})
add("lxmert", "LxmertForQuestionAnswering", {**without(ENC, "num_hidden_layers", "num_labels"), "l_layers": 2, "r_layers": 1, "x_layers": 2, "visual_feat_dim": 12, "visual_pos_dim": 4, "num_qa_labels": 5},
    lambda: {**text()(), "visual_feats": np.random.default_rng(4).standard_normal((1, 6, 12)).astype(np.float32), "visual_pos": np.random.default_rng(5).random((1, 6, 4)).astype(np.float32)}, outputs=("question_answering_score",))
add("dpr", "DPRQuestionEncoder", ENC, text(True), outputs=("pooler_output",), target="0,3", configs="DPRConfig")
add("megatron", "MegatronBert" + SEQ, ENC, text(True))
add("squeezebert", "SqueezeBert" + SEQ, dict(ENC, embedding_size=32), text(True))
add("ibert", "IBert" + SEQ, dict(ENC, quant_mode=False), text())
add("big_bird", "BigBird" + SEQ, dict(ENC, attention_type="original_full"), text(True))
add("fnet_none", "FNet" + SEQ, ENC, lambda: {"input_ids": ids()}, explain=False)
add("nystromformer", "Nystromformer" + SEQ, dict(ENC, num_landmarks=N, segment_means_seq_len=N, conv_kernel_size=3), text(True))

add("gpt2", "GPT2" + SEQ, GPT, text(), ort_type="gpt2")
add("gpt2_lm", "GPT2LMHeadModel", GPT, text(), target="0,15,8", ort_type="gpt2")
add("gpt2_pad", "GPT2LMHeadModel", GPT, text(pad=4), target="0,11,8")
add("gpt2_double", "GPT2DoubleHeadsModel", {**GPT, "summary_type": "cls_index"}, lambda: {"input_ids": np.stack([ids(), ids(seed=9)], 1), "mc_token_ids": np.array([[15, 12]])}, outputs=("mc_logits",), target="0,1")
add("openai_gpt", "OpenAIGPTLMHeadModel", without(GPT, "pad_token_id", "use_cache"), text(), target="0,15,8")
add("ctrl", "CTRL" + SEQ, {**GPT, "dff": 48}, text())
add("gpt_neo", "GPTNeoForCausalLM", dict(hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4, window_size=4, max_position_embeddings=40, **G), text(), target="0,15,8")
add("gptj", "GPTJForCausalLM", {**GPT, "rotary_dim": 4}, text(), target="0,15,8")
add("opt", "OPTForCausalLM", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=40, **G), text(), target="0,15,8")
add("opt_post", "OPTForCausalLM", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=16, do_layer_norm_before=False, max_position_embeddings=40, **G), text(pad=3), target="0,12,8")
add("xglm", "XGLMForCausalLM", dict(d_model=32, num_layers=2, attention_heads=4, ffn_dim=48, max_position_embeddings=40, **G), text(), target="0,15,8")
add("bloom", "Bloom" + SEQ, dict(hidden_size=32, n_layer=2, n_head=4, **G), text())
add("codegen", "CodeGenForCausalLM", {**GPT, "rotary_dim": 4}, text(), target="0,15,8")
add("transfo_xl", "TransfoXLLMHeadModel", dict(vocab_size=60, cutoffs=[], d_model=32, d_embed=32, n_head=4, d_head=8, d_inner=48, n_layer=2, mem_len=0, div_val=1, eos_token_id=2), lambda: {"input_ids": ids()}, outputs=("prediction_scores",), target="0,14,8", configs="TransfoXLConfig")

add("t5", "T5ForConditionalGeneration", T5, S2S, target="0,8,5")
add("t5_gated", "T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, S2S, target="0,8,5")
add("t5_enc", "T5EncoderModel", T5, text(pad=3), outputs=("last_hidden_state",), target="0,3,5")
add("mt5_enc", "MT5EncoderModel", T5, text(), outputs=("last_hidden_state",), target="0,3,5")
add("bart", "BartForConditionalGeneration", ED, S2S, target="0,8,5")
add("bart_cls", "Bart" + SEQ, {**ED, "num_labels": 3}, lambda: {"input_ids": np.concatenate([ids(15), [[2]]], 1), "attention_mask": np.ones((1, 16), np.int64)})
add("mbart", "MBartForConditionalGeneration", ED, S2S, target="0,8,5")
add("marian", "MarianMTModel", ED, S2S, target="0,8,5", configs="MarianConfig")
add("pegasus", "PegasusForConditionalGeneration", ED, S2S, target="0,8,5")
add("blenderbot", "BlenderbotForConditionalGeneration", ED, S2S, target="0,8,5")
add("blenderbot_small", "BlenderbotSmallForConditionalGeneration", ED, S2S, target="0,8,5")
add("led", "LEDForConditionalGeneration", {**without(ED, "max_position_embeddings"), "attention_window": 4, "max_encoder_position_embeddings": 40, "max_decoder_position_embeddings": 40}, S2S, target="0,8,5")

add("vit", "ViTForImageClassification", V, image(), ort_type="vit")
add("vit_model", "ViTModel", V, image(), outputs=("last_hidden_state", "pooler_output"), output=1)
add("deit", "DeiTForImageClassificationWithTeacher", V, image(), ort_type="vit")
add("deit_plain", "DeiTForImageClassification", V, image())
add("beit", "BeitForImageClassification", {**V, "use_relative_position_bias": True, "use_mask_token": False}, image())
add("beit_cls", "BeitForImageClassification", {**V, "use_shared_relative_position_bias": True, "use_mean_pooling": False, "use_mask_token": False}, image())
add("data2vec_vision", "Data2VecVisionForImageClassification", {**V, "use_relative_position_bias": True, "use_mask_token": False}, image())
add("vit_mae", "ViTMAEModel", {**V, "mask_ratio": 0.0, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 16}, lambda: {**image()(), "noise": np.arange(16, dtype=np.float32)[None]}, outputs=("last_hidden_state",), target="0,0,3")
add("vit_msn", "ViTMSNForImageClassification", V, image())
SWIN = dict(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5)
add("swin", "SwinForImageClassification", SWIN, image())
add("swin_model", "SwinModel", {**SWIN, "use_absolute_embeddings": True, "qkv_bias": False}, image(), outputs=("last_hidden_state", "pooler_output"), output=1)
add("swinv2", "Swinv2ForImageClassification", SWIN, image())
SEG = dict(num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[2, 4], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=5, image_size=32)
add("segformer", "SegformerForImageClassification", SEG, image())
add("segformer_pixels", "SegformerForSemanticSegmentation", SEG, image(), target="0,1,3,3")
CVT = dict(patch_sizes=[7, 3], patch_stride=[4, 2], patch_padding=[2, 1], embed_dim=[16, 32], num_heads=[2, 4], depth=[1, 2], mlp_ratio=[2.0, 2.0], attention_drop_rate=[0.0, 0.0], drop_rate=[0.0, 0.0], drop_path_rate=[0.0, 0.0], qkv_bias=[True, True], cls_token=[False, True],
           qkv_projection_method=["dw_bn", "dw_bn"], kernel_qkv=[3, 3], padding_kv=[1, 1], stride_kv=[2, 2], padding_q=[1, 1], stride_q=[1, 1], num_labels=5)
add("cvt", "CvtForImageClassification", CVT, image())
add("mobilevit", "MobileViTForImageClassification", dict(image_size=64, patch_size=2, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32], num_attention_heads=4, num_labels=5), image(64))
add("convnext_none", "ConvNextForImageClassification", dict(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=5), image(), explain=False)
add("levit", "LevitForImageClassification", dict(image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[8, 8, 8], attention_ratio=[2, 2, 2], mlp_ratio=[2, 2, 2], down_ops=[["Subsample", 8, 2, 4, 2, 2], ["Subsample", 8, 3, 4, 2, 2]], num_labels=5), image(64))
add("poolformer_none", "PoolFormerForImageClassification", dict(hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 1, 1], num_labels=5), image(), explain=False)
add("yolos", "YolosForObjectDetection", {**V, "image_size": [32, 32], "num_detection_tokens": 5, "use_mid_position_embeddings": False}, image(), outputs=("logits", "pred_boxes"), target="0,2,1")
add("imagegpt", "ImageGPTForImageClassification", GPT, lambda: {"input_ids": ids()})
add("dpt", "DPTForDepthEstimation", {**V, "backbone_out_indices": [0, 1, 2, 2], "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16, "reassemble_factors": [4, 2, 1, 0.5], "is_hybrid": False}, image(), outputs=("predicted_depth",), target="0,3,3")
add("glpn", "GLPNForDepthEstimation", {**without(SEG, "image_size", "num_encoder_blocks"), "num_encoder_blocks": 4, "depths": [1] * 4, "sr_ratios": [4, 2, 2, 1], "hidden_sizes": [8, 16, 16, 32], "patch_sizes": [7, 3, 3, 3], "strides": [4, 2, 2, 2], "num_attention_heads": [1, 2, 2, 4], "mlp_ratios": [2] * 4}, image(64), outputs=("predicted_depth",), target="0,3,3")

CT = dict(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2)
CV = without(V, "num_labels")
add("clip", "CLIPModel", dict(text_config=CT, vision_config=CV, projection_dim=16), both, outputs=("logits_per_image", "text_embeds", "image_embeds"), target="0,0")
add("clip_text", "CLIPTextModel", CT, text(), outputs=("last_hidden_state", "pooler_output"), output=1, configs="CLIPTextConfig")
add("clip_vision", "CLIPVisionModel", CV, image(), outputs=("last_hidden_state", "pooler_output"), output=1, configs="CLIPVisionConfig")
add("groupvit", "GroupViTModel", dict(text_config=CT, vision_config={**CV, "depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 0], "hidden_size": 32}, projection_dim=16, projection_intermediate_dim=24), both, outputs=("logits_per_image",), target="0,0")
add("blip", "BlipModel", dict(text_config={**CT, "encoder_hidden_size": 32, "is_decoder": False}, vision_config=CV, projection_dim=16), both, outputs=("logits_per_image",), target="0,0")
add("blip_vision", "BlipVisionModel", CV, image(), outputs=("last_hidden_state", "pooler_output"), output=1, configs="BlipVisionConfig")
add("blip_itm", "BlipForImageTextRetrieval", dict(text_config={**CT, "encoder_hidden_size": 32, "is_decoder": False}, vision_config=CV, image_text_hidden_size=16), both, outputs=("itm_score",), target="0,1")
add("blip_caption", "BlipForConditionalGeneration", dict(text_config={**CT, "encoder_hidden_size": 32}, vision_config=CV), both, target="0,15,5")
add("vilt", "ViltForQuestionAnswering", {**ENC, **V}, lambda: {**text(True)(), **image()()})
add("wav2vec2", "Wav2Vec2ForCTC", AUDIO, sound(), target="0,4,5")
add("wav2vec2_stable", "Wav2Vec2ForCTC", {**AUDIO, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}, sound(), target="0,4,5")
add("wav2vec2_cls", "Wav2Vec2" + SEQ, {**AUDIO, "use_weighted_layer_sum": True, "classifier_proj_size": 16}, sound())
add("hubert", "HubertForCTC", AUDIO, sound(), target="0,4,5")
add("wavlm", "WavLMForCTC", {**AUDIO, "num_buckets": 16, "max_bucket_distance": 20}, sound(), target="0,4,5")
WHISPER = dict(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_mel_bins=16, max_source_positions=20, max_target_positions=20,
               pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3, use_cache=False, suppress_tokens=None, begin_suppress_tokens=None)
FRAMES = lambda: {"input_features": np.random.default_rng(7).standard_normal((1, 16, 40)).astype(np.float32), "decoder_input_ids": ids(9, low=6, seed=8)}
add("whisper", "WhisperForConditionalGeneration", WHISPER, FRAMES, target="0,8,5")
add("speech2text", "Speech2TextForConditionalGeneration", {**without(WHISPER, "num_mel_bins"), "input_feat_per_channel": 16, "input_channels": 1, "conv_channels": 32, "conv_kernel_sizes": [3, 3], "num_conv_layers": 2}, lambda: {"input_features": FRAMES()["input_features"].transpose(0, 2, 1), "decoder_input_ids": FRAMES()["decoder_input_ids"]}, target="0,8,5")
DETR = dict(num_queries=5, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_labels=4, use_pretrained_backbone=False, backbone="resnet18")
add("detr", "DetrForObjectDetection", DETR, image(64), outputs=("logits", "pred_boxes"), target="0,2,1")
SAM = dict(vision_config=dict(hidden_size=32, output_channels=16, num_hidden_layers=2, num_attention_heads=4, mlp_dim=48, image_size=32, patch_size=4, window_size=4, global_attn_indexes=[1], num_pos_feats=8),
           prompt_encoder_config=dict(hidden_size=16, image_size=32, patch_size=4, image_embedding_size=8, mask_input_channels=4), mask_decoder_config=dict(hidden_size=16, mlp_dim=24, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16))
add("sam", "SamModel", SAM, lambda: {**image()(), "input_points": np.array([[[[10.0, 12.0]]]], np.float32), "input_labels": np.array([[[1]]])}, outputs=("iou_scores", "pred_masks"), target="0,0,1")




# ------------------------------------------------------------------ what the makers share
def session(path, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL, save=None):
    o = ort.SessionOptions()
    o.graph_optimization_level, o.intra_op_num_threads, o.log_severity_level = level, 1, 4
    if save:
        o.optimized_model_filepath = save
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


LEVEL = ort.GraphOptimizationLevel
KINDS = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(bool)": np.bool_}


def store(folder, variant, inputs):
    """what this environment's onnxruntime computes with the file, as people run it"""
    s = session(f"{folder}/{variant}.onnx", LEVEL.ORT_ENABLE_ALL)
    feeds = {i.name: inputs[i.name].astype(KINDS[i.type]) for i in s.get_inputs() if i.name in inputs}
    np.savez(f"{folder}/{variant}.npz", **dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds))))


def attempt(notes, folder, variant, inputs, make):
    """make(path), then store(); whatever a tool throws is its answer"""
    path = f"{folder}/{variant}.onnx"
    try:
        make(path)
        store(folder, variant, inputs)
        notes[variant] = "ok"
    except Exception as e:
        said = (str(e).strip().splitlines() or [""])[0]
        notes[variant] = f"{type(e).__name__}: {said[:200]}"
        if os.path.exists(path):
            os.remove(path)


def start(out, row):
    """(folder, inputs, notes): files that are there stay, so several environments fill one folder"""
    folder = f"{out}/{row.name}"
    os.makedirs(folder, exist_ok=True)
    inputs = row.inputs()
    for k, v in inputs.items():
        np.save(f"{folder}/input.{k}.npy", v)
    old = f"{folder}/family.json"
    return folder, inputs, json.load(open(old))["notes"] if os.path.exists(old) else {}


def describe(row, folder, notes):
    inputs = [os.path.basename(p)[6:-4] for p in sorted(glob.glob(f"{folder}/input.*.npy"))]
    json.dump({"family": row.name, "text": any(k.startswith(("input_ids", "token_ids")) for k in inputs), "inputs": inputs, "outputs": list(row.outputs), "target": row.target, "output": row.outputs[row.output],
               "explain": row.explain, "base": next((k for k, v in notes.items() if v == "ok"), None), "notes": notes}, open(f"{folder}/family.json", "w"), indent=1)
    print(f"{row.name}: {sum(v == 'ok' for v in notes.values())} of {len(notes)}" + "".join(f"\n    {k}: {v}" for k, v in notes.items() if v != "ok"), flush=True)


def config_of(tf, row):
    """The configuration of a row, by the class' own attribute; options that a release does not know are kept as attributes."""
    made = getattr(tf, row.configs) if row.configs else getattr(tf, row.model).config_class
    c = made(**row.config)
    c._attn_implementation = "eager"
    return c
