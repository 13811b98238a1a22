"""Hand-written transformers in the spellings that people use: packed projections, einsum, baddbmm, patches by Reshape,
unfold or NHWC, talking heads, gated attention, pooling by a learned query, torch's own layers."""
import torch.nn as nn

from .sizes import TINY, D, H, N, VOCAB, WIDE, PATCH
from .wrapped import (MeanPooled, Pooled, Named, Logits, QFormer, Captioner, Flava, MgpStr, timm_block, timm_class, timm_builder, torchvision_vit,
                      torchvision_builder, QwenVision, Suppressed, dense_band)
from .parts import Attention, RMS, HandNorm, GRN, Mlp, Block
from .texts import (TextModel, Lagged, LayerMix, Chunks, SeriesPatches, LastAgain, FloatIds, LayerAttention, HashedIds, Fourier, Recurrent, Experts,
                    TorchEncoder, TorchSeq2Seq, PackedMHA, Parts, Row, Streams, Masked, Shares)
from .pictures import VisionModel, NHWCInput, Hybrid, ChosenQueries, Frames, Grouped, OverFeatures, CrossPooled, Upsampled, FramesInTurn, TwoSizes, WeighedPlaces
from .several import Joined, Matched, PairCosine, Prompted, Trajectory, Columns, TwoWay, Captioned, Guided, Together, Turned, Phrases, Resampled, PartsOfPicture


def text(**kw):
    return lambda a: TextModel(**kw)


def vision(**kw):
    return lambda a: VisionModel(**kw)


TEXT = {f"att_{k}": text(attention=k) for k in (
    "packed_head_major", "packed_e_last", "packed_unbind", "bias_by_head", "bias_turned", "seq_first", "einsum", "einsum_bnhd", "einsum_keys_first", "baddbmm", "sdpa", "sdpa_causal",
    "transposed", "talking", "talking_turned", "conv_talking", "differential", "cosine", "softmax_by_hand", "divide_after", "softmax_plus_one", "masked_after", "topk", "gated", "heads_loop", "written")}
TEXT |= {f"mlp_{k}": text(mlp=k) for k in ("swiglu", "geglu", "quick", "relu2", "hand_tanh", "hand_erf", "mish", "hardswish", "elu1", "parabola", "parabola_pieces")}
TEXT |= {f"order_{k}": text(order=k) for k in ("post", "parallel", "two_attentions", "sandwich", "scaled", "deepnorm")}
TEXT |= {f"pool_{k}": text(pool=k) for k in ("cls", "first", "last", "max", "sum", "query", "score", "score_matmul", "score_vector", "avgpool", "flatten", "first_mean", "first_last")}
TEXT |= {"norm_rms": text(norm=RMS), "norm_hand": text(norm=HandNorm), "pos_sin": text(position="sin"), "ids_onehot": text(position="onehot"),
         "chunks": lambda a: Chunks(), "chunks_places_first": lambda a: Chunks(True), "layer_mix": lambda a: LayerMix(), "layer_attention": lambda a: LayerAttention(), "experts": lambda a: Experts(False), "experts_picked": lambda a: Experts(True), "fourier": lambda a: Fourier(), "recurrent": lambda a: Recurrent(), "recurrent_plain": lambda a: Recurrent(nn.RNN, "max"), "torch_pre": lambda a: TorchEncoder(True, "gelu"), "torch_post": lambda a: TorchEncoder(False, "relu", "cls"),
         "torch_seq_first": lambda a: TorchEncoder(False, "gelu", batch_first=False), "torch_seq2seq": lambda a: TorchSeq2Seq(), "torch_mha": lambda a: PackedMHA()}
VISION = {f"patch_{k}": vision(patches=k) for k in ("reshape", "reshape_chw", "unfold", "tensor_unfold", "space_to_depth", "nhwc", "stem", "normalised")}
VISION |= {"upsampled": lambda a: Upsampled(), "upsampled_shuffled": lambda a: Upsampled(True), "vision_cls_last": vision(pool="cls_last"), "vision_grid_pool": vision(pool="grid"), "vision_mean": vision(pool="mean"),
           "vision_nchw_attention": lambda a: Hybrid(), "cross_pool": lambda a: CrossPooled(False), "cross_pool_self": lambda a: CrossPooled(True), "chosen_queries": lambda a: ChosenQueries(False), "chosen_in_windows": lambda a: ChosenQueries(True),
           "vision_rotate_patches": vision(attention="rotate_patches", pool="registers"), "vision_normalised_heads": vision(attention="normalised_heads", pool="registers"), "vision_talking": vision(attention="talking"), "vision_post": vision(order="post")}
