#!/usr/bin/env python3
"""Makes tests/data/families: files of a few kB, each of a spelling that was once not understood.

    TINY=1 make_regression.py TIBA_ONNX OUT [CASE...]

A developer's tool, see make_families.py. The stored arrays are the program's own; they are kept only if
reference.py agrees on every attention of one of the files.
"""
import glob, json, os, shutil, subprocess, sys, tempfile
import numpy as np
import onnx
import torch
import make_families as make
import make_tools
import families
import models
import reference
import routes

TEXT = dict(vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, max_position_embeddings=12, num_labels=2)


def ids():
    return torch.tensor([[3, 9, 4, 11, 6, 2]])


def image():
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))


def image_input():
    return {"input": image()}


def image_input_of(name):
    return lambda: {name: image()}


def bert_inputs():
    return {"input_ids": ids(), "attention_mask": torch.ones(1, 6, dtype=torch.int64), "token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1]])}


def rope_like():
    return families.hf("FalconForSequenceClassification", "FalconConfig", vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                       multi_query=True, parallel_attn=True, pad_token_id=0, bos_token_id=1, eos_token_id=2, num_labels=2)


def bart():
    return families.hf("BartForSequenceClassification", "BartConfig", vocab_size=12, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                       decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=12, num_labels=2,
                       pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2)


def masked_ids():
    return {k: v for k, v in bert_inputs().items() if k != "token_type_ids"}


SMALL = {k: v for k, v in TEXT.items() if k != "num_labels"}
LLAMA = dict(vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, intermediate_size=12, max_position_embeddings=12,
             num_labels=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)
TIMM = dict(img_size=16, patch_size=4, embed_dim=8, num_heads=2, num_classes=2)
SIGLIP = dict(text_config=dict(**{**SMALL, "num_hidden_layers": 1}, projection_size=8),
              vision_config=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, image_size=16, patch_size=4))

# name: (builder, inputs, variants, is the reference able to check it, {outputs, output and target that are explained, other spellings})
CASES = {
    "sink": (models.TEXT["att_softmax_plus_one"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False),
    "renormalised": (models.TEXT["att_masked_after"], lambda: {"tokens": ids()}, ["ts14", "ts17"], False),
    "divided_after": (models.TEXT["att_divide_after"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False),
    "one_hot_rows": (models.TEXT["ids_onehot"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False),
    "fourier": (models.TEXT["fourier"], lambda: {"tokens": ids()}, ["dyn18", "dyn23"], False),
    "recurrent": (models.TEXT["recurrent"], lambda: {"tokens": ids()}, ["ts14", "dyn18"], False),
    "recurrent_plain": (models.TEXT["recurrent_plain"], lambda: {"tokens": ids()}, ["dyn18", "ts17"], True),
    "layer_attention": (models.TEXT["layer_attention"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], True),
    "score_vector": (models.TEXT["pool_score_vector"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], True),
    "parallel": (models.TEXT["order_parallel"], lambda: {"tokens": ids()}, ["ts14", "dyn18"], True),
    "unfold": (models.VISION["patch_unfold"], lambda: {"image": image()}, ["ts17", "dyn18"], False),
    "unfold_slices": (models.VISION["patch_tensor_unfold"], lambda: {"image": image()}, ["ts17", "dyn18"], True),
    "upsampled": (models.VISION["upsampled"], lambda: {"image": image()}, ["ts17", "dyn18"], False, dict(route="upsampled", options=["--method", "rollout", "--rollout", "raw"], also={"shuffled": models.VISION["upsampled_shuffled"]})),  # a transposed convolution
    "to_depth": (models.VISION["patch_reshape"], lambda: {"image": image()}, ["ts17", "ts17-todepth"], False),  # patches by SpaceToDepth
    "chosen_queries": (models.VISION["chosen_queries"], lambda: {"image": image()}, ["ts17", "dyn18", "ts17-wholerows"], False),
    "chosen_in_windows": (models.VISION["chosen_in_windows"], lambda: {"image": image()}, ["ts17", "dyn18"], False, dict(route="chosen_in_windows", options=["--method", "rollout", "--rollout", "raw"])),
    "overlapping_chunks": (models.TEXT["chunks"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="chunks", options=["--method", "rollout", "--rollout", "raw"], also={"places_first": models.TEXT["chunks_places_first"]})),
    "series_patches": (lambda a: models.SeriesPatches(), lambda: {"values": torch.randn(1, 12, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "float_ids": (lambda a: models.FloatIds(), lambda: {"values": ids().float()[..., None]}, ["ts17", "dyn18"], False, dict(outputs=("output",))),
    "two_way": (lambda a: models.TwoWay(), lambda: {"image": torch.randn(1, models.D, 3, 4, generator=torch.Generator().manual_seed(7)), "points": torch.tensor([[[0.3, 0.8], [0.6, 0.1]]])}, ["ts17", "dyn18"], False, dict(outputs=("output",))),
    "last_again": (lambda a: models.LastAgain(), lambda: {"values": torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], False, dict(outputs=("output",))),
    "learned_queries": (models.VISION["cross_pool_self"], lambda: {"image": image()}, ["ts17", "dyn18"], False),
    "segments_first": (families.hf("BertForSequenceClassification", "BertConfig", **TEXT), bert_inputs, ["ts17", "ts17-ortbasic"], True),
    "bias_by_head": (models.TEXT["att_bias_by_head"], lambda: {"tokens": ids()}, ["ts17"], False, dict(outputs=("output",), also={"usual": models.TEXT["att_packed_unbind"], "turned": models.TEXT["att_bias_turned"]})),
    "shifted_ids": (bart(), lambda: {k: v for k, v in bert_inputs().items() if k != "token_type_ids"}, ["ts17"], False),
    "hashed_ids": (lambda a: models.HashedIds(), lambda: {"tokens": ids(), "types": torch.tensor([[0, 0, 0, 1, 1, 1]]), "boxes": torch.tensor([[[9, 30], [3, 8], [22, 31], [6, 7], [0, 39], [5, 6]]])}, ["ts17", "dyn18"], True),
    "rotated_patches": (models.VISION["vision_rotate_patches"], lambda: {"image": image()}, ["ts17", "dyn18"], True),
    "side_by_side": (models.TEXT["order_two_attentions"], lambda: {"tokens": ids()}, ["ts17", "ts17-resorted"], True),
    "turned_norms": (models.VISION["vision_normalised_heads"], lambda: {"image": image()}, ["ts17", "ts17-ortbasic"], True),
    "two_series": (lambda a: models.Lagged(), lambda: {"values": torch.randn(1, 8, generator=torch.Generator().manual_seed(7)), "features": torch.randn(1, 8, 2, generator=torch.Generator().manual_seed(8))}, ["ts17", "ts17-ortbasic"], True, dict(outputs=("output",))),
    "cosine": (lambda a: models.PairCosine(), lambda: {"a": image(), "b": image().flip(3)}, ["ts17", "dyn18"], False, dict(outputs=("output",), target="0")),
    # one mechanism each, or a few that belong together
    "decoder": (families.hf("MistralForSequenceClassification", "MistralConfig", sliding_window=3, **LLAMA), masked_ids, ["ts17", "dyn18"], True),  # causal, sliding window, rotary, grouped queries, RMSNorm, SwiGLU, last token
    "rotary_pairs": (families.hf("GPTJForSequenceClassification", "GPTJConfig", n_embd=8, n_layer=2, n_head=2, n_positions=12, rotary_dim=2, vocab_size=12, num_labels=2, pad_token_id=0, bos_token_id=1, eos_token_id=2), masked_ids, ["ts17", "dyn18"], True),
    "bucketed_bias": (lambda a: models.MeanPooled(families.hf("T5EncoderModel", "T5Config", vocab_size=12, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2, relative_attention_num_buckets=8, feed_forward_proj="gated-gelu")(a)), masked_ids, ["ts17", "dyn18"], True, dict(outputs=("sentence_embedding",), target="0,7")),  # GeGLU, an embedding's place
    "disentangled": (families.hf("DebertaForSequenceClassification", "DebertaConfig", relative_attention=True, pos_att_type=["c2p", "p2c"], type_vocab_size=0, **TEXT), masked_ids, ["ts17", "dyn18"], True),
    "shared_layers": (families.hf("AlbertForSequenceClassification", "AlbertConfig", embedding_size=4, **TEXT), bert_inputs, ["ts17", "dyn18"], True),
    "answer": (families.hf("BertForQuestionAnswering", "BertConfig", **TEXT), bert_inputs, ["ts17", "dyn18"], True, dict(outputs=("start_logits", "end_logits"), output="end_logits", target="0,3")),
    "any_position": (families.hf("BertForMaskedLM", "BertConfig", **SMALL), bert_inputs, ["ts17", "dyn18"], True, dict(target="0,4,9")),
    "read_at_scores": (families.hf("BertForMaskedLM", "BertConfig", **SMALL), bert_inputs, ["ts17", "dyn18"], False, dict(target="0,4,9", options=["--method", "rollout"])),  # the readout is the target itself
    "head_mixing": (models.TEXT["att_talking"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False),
    "head_mixing_gemm": (models.TEXT["att_talking_turned"], lambda: {"tokens": ids()}, ["ts17", "ts17-ortext"], True),
    "two_softmaxes": (models.TEXT["att_differential"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], True),
    "turned_by_an_input": (lambda a: models.Turned(), lambda: {"a": torch.randn(2, 7, models.D, generator=torch.Generator().manual_seed(7)), "values": torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(8))}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "read_in_every_layer": (lambda a: models.Guided(), lambda: {"image": image(), "tokens": ids()}, ["ts17", "dyn18"], False, dict(outputs=("output",))),
    "one_query": (models.TEXT["pool_query"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], False),
    "class_attention": (models.timm_builder("cait_s24_224", dict(depth=1, mlp_ratio=2.0, init_values=0.3, **TIMM)), image_input, ["ts17", "dyn18"], False, dict(outputs=("output",))),  # and layer scale
    "attention_pooling": (models.timm_builder("vit_base_patch16_224", dict(depth=1, mlp_ratio=2.0, global_pool="map", class_token=False, init_values=0.3, **TIMM)), image_input, ["ts17", "dyn18"], False, dict(outputs=("output",))),
    "patch_product": (models.VISION["patch_reshape"], lambda: {"image": image()}, ["ts17", "dyn18"], True),
    "spectrogram": (families.hf("ASTForAudioClassification", "ASTConfig", hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, patch_size=4, frequency_stride=3, time_stride=3, max_length=16, num_mel_bins=10, num_labels=2), lambda: {"input_values": torch.randn(1, 16, 10, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], True),
    "two_towers": (families.hf("SiglipModel", "SiglipConfig", **SIGLIP), lambda: {"input_ids": ids(), "pixel_values": image()}, ["ts17", "dyn18"], False, dict(outputs=("logits_per_image",), target="0,0")),
    "joined": (lambda a: models.Joined(), lambda: {"image": image(), "tokens": ids()}, ["ts17", "dyn18"], True),
    "integers_dynamic": (models.TEXT["pool_first"], lambda: {"tokens": ids()}, ["ts17-int8_dyn_all"], True),  # whole numbers are multiplied: P in steps of a scale
    "integers_static": (models.TEXT["pool_first"], lambda: {"tokens": ids()}, ["ts17-int8_qop"], True),
    "experts": (models.TEXT["experts"], lambda: {"tokens": ids()}, ["ts17", "dyn18"], True, dict(outputs=("output",), also={"picked": models.TEXT["experts_picked"]})),  # sizes follow from activations
    "pieces": (models.TEXT["mlp_parabola"], lambda: {"tokens": ids()}, ["ts17"], True, dict(outputs=("output",), also={"where": models.TEXT["mlp_parabola_pieces"]})),  # a function by Where
    "written": (models.TEXT["att_baddbmm"], lambda: {"tokens": ids()}, ["ts17"], True, dict(outputs=("output",), also={"parts": models.TEXT["att_written"]})),
    "prompted": (lambda a: models.Prompted(), lambda: {"image": image(), "point": torch.tensor([[[[0.3, -0.6]]]])}, ["ts17", "dyn18"], True, dict(outputs=("output",))),  # an input of one token
    "over_features": (lambda a: models.OverFeatures(), lambda: {"image": image()}, ["ts17", "dyn18"], True, dict(outputs=("output",))),  # beside the tokens' attention
    "streams": (lambda a: models.Streams(), lambda: {"tokens": ids()}, ["ts17", "dyn18"], True, dict(outputs=("output",))),  # attentions within each token
    "grouped": (lambda a: models.Grouped(), lambda: {"image": image()}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "read_by_learned": (lambda a: models.CrossPooled(True, depth=0), lambda: {"image": image()}, ["ts17", "dyn18"], False, dict(route="read_by_learned", options=["--method", "rollout", "--rollout", "raw"])),  # no tokens of an input attend to each other
    "read_by_one": (lambda a: models.CrossPooled(False, queries=1, depth=0), lambda: {"image": image()}, ["ts17", "dyn18"], False, dict(route="read_by_learned", options=["--method", "rollout", "--rollout", "raw"])),
    "read_by_several": (lambda a: models.CrossPooled(False, layers=1, pooled=True, depth=0), lambda: {"image": image()}, ["ts17", "dyn18"], False, dict(route="read_by_learned", options=["--method", "rollout", "--rollout", "raw"])),
    "read_by_text": (lambda a: models.Captioned(), lambda: {"image": image(), "tokens": ids()}, ["ts17", "dyn18"], False, dict(route="read_by_learned", options=["--method", "rollout", "--rollout", "raw"])),
    "columns": (lambda a: models.Columns(), lambda: {**{k: torch.tensor([[i]]) for k, i in zip("abc", (3, 9, 4))}, "numbers": torch.tensor([[0.4, -1.2]])}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "read_together": (lambda a: models.Together(), lambda: {"tokens": ids(), "a": torch.tensor([[5, 1, 8, 3]])}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="together", options=["--method", "rollout", "--rollout", "raw"])),
    "read_longer": (lambda a: models.Together(True), lambda: {"tokens": ids(), "a": torch.tensor([[5, 1, 8, 3, 10, 7, 2, 11]])}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="together", options=["--method", "rollout", "--rollout", "raw"])),
    "mask_of_numbers": (lambda a: models.Masked(), lambda: {"tokens": ids(), "mask": torch.tensor([[[1.0]] * 5 + [[0.0]]]).reshape(1, 6, 1)}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "shares": (lambda a: models.Shares(), lambda: {"tokens": ids()}, ["ts17", "dyn18"], False, dict(outputs=("output",))),  # conditions found from sums and statistics
    "parts": (lambda a: models.Parts(), lambda: {"tokens": torch.tensor([[[3, 9, 4, 11], [6, 2, 8, 5], [1, 7, 4, 10]]])}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="parts", options=["--method", "rollout", "--rollout", "raw"])),
    "parts_of_picture": (lambda a: models.PartsOfPicture(), lambda: {"tokens": torch.tensor([[[3, 9, 4, 11], [6, 2, 8, 5], [1, 7, 4, 10]]]), "image": image()}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="parts_of_picture", options=["--method", "rollout", "--rollout", "raw"])),  # which read another input
    "phrases": (lambda a: models.Phrases(), lambda: {"image": image(), "tokens": ids()}, ["ts17", "dyn18"], False, dict(outputs=("output",), target="0,3,1", route="phrases", options=["--method", "rollout", "--rollout", "raw"])),  # a product that keeps tokens apart
    "resampled": (lambda a: models.Resampled(), lambda: {"tokens": ids(), "a": torch.tensor([[5, 1, 8, 3, 7]])}, ["ts17", "dyn18"], True, dict(outputs=("output",))),  # by way of learned queries
    "turns": (lambda a: models.Trajectory(), lambda: {"a": torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(7)), "b": torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(8))}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "row": (lambda a: models.Row(), lambda: {"tokens": torch.tensor([[3, 9, 3, 4]])}, ["ts17", "dyn18"], True, dict(outputs=("output",))),
    "frames": (lambda a: models.Frames(), lambda: {"image": torch.randn(1, 2, 3, 16, 16, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="frames", options=["--method", "rollout", "--rollout", "raw"])),
    "frames_in_turn": (lambda a: models.FramesInTurn(), lambda: {"image": torch.randn(1, 2, 3, 16, 16, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], True, dict(outputs=("output",), target="1,1")),  # tokens of two frames
    "two_sizes": (lambda a: models.TwoSizes(), lambda: {"image": torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(7))}, ["ts17", "dyn18"], False, dict(outputs=("output",), route="two_sizes", options=["--method", "rollout", "--rollout", "raw"])),  # two encoders
    "weighed_places": (lambda a: models.WeighedPlaces(), lambda: {"image": image()}, ["ts17", "dyn18"], True, dict(outputs=("output",))),  # constants that are weighed
    "matched": (lambda a: models.Matched(), lambda: {"image": image(), "tokens": ids()}, ["ts17", "dyn18"], False, dict(outputs=("output",), target="0,0")),  # a tower of windows beside another
    "float_mask": (families.hf("BertForSequenceClassification", "BertConfig", **TEXT), lambda: {"attention_mask": torch.tensor([0.0] * 5 + [-1e4]).expand(1, 1, 6, 6).contiguous(), "input_ids": ids()}, ["ts17", "dyn18"], True),
    "index_tuples": (rope_like(), lambda: {k: v for k, v in bert_inputs().items() if k != "token_type_ids"}, ["ts17", "dyn18"], True),
}


class Dense(torch.nn.Module):
    """a class of every pixel: patches' scores, upsampled"""
    def __init__(self):
        super().__init__()
        from transformers import ViTConfig, ViTModel
        self.model = ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=16, patch_size=4, attn_implementation="eager"), add_pooling_layer=False)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, image):
        x = self.head(self.model(image)[0][:, 1:])
        return torch.nn.functional.interpolate(x.transpose(1, 2).reshape(-1, 3, 4, 4), scale_factor=4, mode="bilinear", align_corners=False)


class Labels(torch.nn.Module):
    """several labels may hold: probabilities one by one"""
    def __init__(self, sigmoid):
        super().__init__()
        self.model, self.sigmoid = models.TEXT["pool_first"]("eager"), sigmoid

    def forward(self, tokens):
        y = self.model(tokens)
        return torch.sigmoid(y) if self.sigmoid else y


def padded(left):
    """four tokens and two of padding"""
    place = slice(2, 6) if left else slice(0, 4)
    given = {"input_ids": torch.zeros(1, 6, dtype=torch.int64), "attention_mask": torch.zeros(1, 6, dtype=torch.int64)}
    given["input_ids"][0, place] = torch.tensor([3, 9, 4, 11])
    given["attention_mask"][0, place] = 1
    return given


def last_token():
    return families.hf("LlamaForSequenceClassification", "LlamaConfig", **LLAMA)


YOLOS = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=[16, 16], patch_size=4, num_detection_tokens=3, num_labels=2)
CASES |= {
    "padded_right": (last_token(), lambda: padded(False), ["ts17", "dyn18"], True),  # the last token that is no padding is read
    "padded_left": (last_token(), lambda: padded(True), ["ts17", "dyn18"], True),
    "pixel_class": (lambda a: Dense(), image_input_of("image"), ["ts17", "dyn18"], True, dict(outputs=("output",), target="0,1,6,9")),
    "patch_class": (lambda a: Dense(), image_input_of("image"), ["ts17"], True, dict(outputs=("output",), target="0,2,0,0")),  # beyond the outermost centres nothing is mixed
    "query_class": (families.hf("YolosForObjectDetection", "YolosConfig", **YOLOS), image_input_of("pixel_values"), ["ts17", "dyn18"], True, dict(outputs=("logits", "pred_boxes"), output="logits", target="0,1,2")),
    "query_box": (families.hf("YolosForObjectDetection", "YolosConfig", **YOLOS), image_input_of("pixel_values"), ["ts17", "dyn18"], True, dict(outputs=("logits", "pred_boxes"), output="pred_boxes", target="0,2,3")),
    "labels": (lambda a: Labels(True), lambda: {"tokens": ids()}, ["ts17", "dyn18"], True, dict(outputs=("output",), also={"scores": lambda a: Labels(False)})),
}


# tokens that move or merge: what is stored is not the program's but routes.py's
SMALL_IMAGE = dict(image_size=32, num_channels=1, num_labels=2)
MAXVIT = dict(img_size=32, in_chans=1, num_classes=2, stem_width=8, embed_dim=(8, 8), depths=(1, 1), transformer_dim_head=4, transformer_partition_ratio=16)


def grey():
    return {"image": torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(7))}


def alone(build):
    """the model called with its picture alone"""
    return lambda attention: models.Logits(build(attention))


ROUTED = {
    "shifted_windows": (alone(families.hf("SwinForImageClassification", "SwinConfig", patch_size=4, embed_dim=4, depths=[2, 2], num_heads=[1, 2], window_size=4, mlp_ratio=1.0, **SMALL_IMAGE)), "swin"),
    "reduced_keys": (alone(families.hf("PvtForImageClassification", "PvtConfig", num_encoder_blocks=2, depths=[1, 1], sequence_reduction_ratios=[2, 1], hidden_sizes=[4, 8], patch_sizes=[4, 2], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[1, 1], **SMALL_IMAGE)), "pvt"),
    "overlapping_merges": (alone(families.hf("SegformerForImageClassification", "SegformerConfig", num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[4, 8], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[1, 1], **SMALL_IMAGE)), "segformer"),
    "pooled_queries": (alone(families.hf("HieraForImageClassification", "HieraConfig", embed_dim=4, patch_size=[7, 7], patch_stride=[4, 4], patch_padding=[3, 3], mlp_ratio=1.0, depths=[1, 1], num_heads=[1, 2], embed_dim_multiplier=2.0, num_query_pool=1, query_stride=[2, 2], masked_unit_size=[2, 2], masked_unit_attention=[True, False], **{**SMALL_IMAGE, "image_size": [32, 32]})), "hiera"),
    "lattices": (alone(models.timm_builder("maxvit_nano_rw_256", dict(block_type=("M", "M"), **MAXVIT))), "timm_maxvit"),
    "pooling_blocks": (alone(models.timm_builder("coatnet_nano_rw_224", dict(block_type=("C", "T", "T"), **{**MAXVIT, "embed_dim": (8, 8, 12), "depths": (1, 1, 1)}))), "timm_coatnet"),
}
CASES |= {name: (build, grey, ["ts17-slim"], False, dict(outputs=("output",), options=["--method", "rollout", "--rollout", "raw"], route=way)) for name, (build, way) in ROUTED.items()}


def resorted(a, b, fam, feeds):
    """Of the nodes that could be next, the one that stood last."""
    m = onnx.load(a)
    waiting, made = list(m.graph.node), {"", *(v.name for v in [*m.graph.input, *m.graph.initializer])}
    del m.graph.node[:]
    while waiting:
        n = next(n for n in reversed(waiting) if made.issuperset(n.input))
        waiting.remove(n)
        m.graph.node.append(n)
        made.update(n.output)
    onnx.save(m, b)


def whole_rows(a, b, fam, feeds):
    """Tokens that GatherElements takes feature by feature, each sample's own, by GatherND: as TensorFlow takes them."""
    m = onnx.load(a)
    m.graph.initializer.extend([onnx.numpy_helper.from_array(np.array([k]), f"rows.{k}") for k in (0, 1, 2)])
    for at, n in reversed(list(enumerate(m.graph.node))):
        if n.op_type == "GatherElements":
            one = onnx.helper.make_node("Slice", [n.input[1], "rows.0", "rows.1", "rows.2"], [n.output[0] + ".rows"])
            m.graph.node.insert(at, one)
            n.op_type, n.input[1] = "GatherND", one.output[0]
            del n.attribute[:]
            n.attribute.append(onnx.helper.make_attribute("batch_dims", 1))
    onnx.save(m, b)


def to_depth(a, b, fam, feeds):
    """Patches that Reshape, Transpose and Reshape cut, by SpaceToDepth: as TensorFlow's extraction of patches is exported."""
    m = onnx.load(a)
    make = onnx.helper.make_node
    m.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 0, -1]), "patches"))
    cut = next(n for n in m.graph.node if n.op_type == "Transpose" and list(n.attribute[0].ints) == [0, 2, 4, 3, 5, 1])
    first, last = next(n for n in m.graph.node if cut.input[0] in n.output), next(n for n in m.graph.node if cut.output[0] in n.input)
    nodes = [make("SpaceToDepth", [first.input[0]], ["deep"], blocksize=models.PATCH), make("Reshape", ["deep", "patches"], ["flat"]), make("Transpose", ["flat"], [last.output[0]], perm=[0, 2, 1])]
    at = list(m.graph.node).index(last)
    m.graph.node.remove(last)
    for n in reversed(nodes):
        m.graph.node.insert(at, n)
    m.graph.node.remove(cut)
    m.graph.node.remove(first)
    onnx.save(m, b)


REWRITES = {**make_tools.TOOLS, **make.REWRITES, "resorted": resorted, "wholerows": whole_rows, "todepth": to_depth}


def shrink(path):
    m = onnx.load(path)
    m.doc_string = ""
    del m.metadata_props[:]
    for g in [m.graph, *m.functions]:
        for n in g.node:
            n.doc_string = ""
            del n.metadata_props[:]
        del g.value_info[:]
    if not m.functions and not any(a.g.node for n in m.graph.node for a in n.attribute):  # exporters' names are most of a small file
        outside = {v.name for v in [*m.graph.input, *m.graph.output]}
        short = {}
        for name in [t.name for t in m.graph.initializer] + [o for n in m.graph.node for o in n.output]:
            short[name] = name if name in outside or not name else f"v{len(short)}"
        for t in m.graph.initializer:
            t.name = short[t.name]
        for k, n in enumerate(m.graph.node):
            n.name = f"n{k}"
            for names in (n.input, n.output):
                names[:] = [short.get(i, i) for i in names]
    onnx.save(m, path)


def main():
    tool, out = sys.argv[1:3]
    for name, (build, inputs, variants, checked, *more) in CASES.items():
        if sys.argv[3:] and name not in sys.argv[3:]:
            continue
        folder = f"{out}/{name}"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        torch.manual_seed(2)
        model = make.randomise(build("eager"), 5)
        feeds = inputs()
        own = list(feeds)[0] in ("tokens", "image", "input", "values", "a")
        asked = {"outputs": ("output",) if own else ("logits",), "target": "0,1", **(more[0] if more else {})}
        asked.setdefault("output", asked["outputs"][0])
        fam = families.Family(name, None, None, outputs=asked["outputs"], positional=own, text=False)
        options = ["--output", asked["output"], "--target", asked["target"], *asked.get("options", [])]
        if more:
            open(f"{folder}/options.txt", "w").write(" ".join(options) + "\n")
        for k, v in feeds.items():
            np.save(f"{folder}/input.{k}.npy", v.numpy())
        for other, same in asked.get("also", {}).items():
            torch.manual_seed(2)
            make.export(fam, make.randomise(same("eager"), 5), feeds, "ts17", 17, f"{folder}/{other}.onnx", True)
            shrink(f"{folder}/{other}.onnx")
        for v in variants:
            base, _, rewrite = v.partition("-")
            path = f"{folder}/{v}.onnx"
            if rewrite:
                with tempfile.TemporaryDirectory() as tmp:
                    make.export(fam, model, feeds, base, dict(make.EXPORTS)[base], f"{tmp}/{base}.onnx", True)
                    REWRITES[rewrite](f"{tmp}/{base}.onnx", path, fam, feeds)
            else:
                make.export(fam, model, feeds, base, dict(make.EXPORTS)[base], path, True)
            shrink(path)
        paths = {k: f"{folder}/input.{k}.npy" for k in feeds}
        if checked:
            print(name, reference.show(reference.compare(tool, f"{folder}/{variants[0]}.onnx", paths, asked["target"], asked["output"])))
        tmp = tempfile.mkdtemp()
        r = subprocess.run([tool, f"{folder}/{variants[0]}.onnx", *[f"{k}={p}" for k, p in paths.items()], *options, "--npy", tmp], capture_output=True, text=True)
        if r.returncode:
            raise SystemExit(name + ": " + r.stderr)
        for p in glob.glob(tmp + "/tokens.*.npy") + glob.glob(tmp + "/block.*.npy"):
            shutil.copy(p, folder)
        if "route" in asked:
            got, want = routes.rows(f"{folder}/{variants[0]}.onnx", list(feeds)[0], paths, tmp, asked, asked["route"])
            print(name, "deviation %.0e" % (np.abs(got - want).max() / np.abs(want).max()))
            np.save(f"{folder}/tokens.{list(feeds)[0]}.npy", want.astype(np.float32))
        print(name, sum(os.path.getsize(p) for p in glob.glob(folder + "/*")), "bytes")


if __name__ == "__main__":
    main()
