"""Rows for packages.py: the vision transformers that vit_pytorch collects, one small model for each of its files."""
import importlib
from packages import Call, add_image, floats

VIT = dict(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, dim_head=8, mlp_dim=48)
VIDEO = floats(video=(1, 3, 4, 16, 16))
CLIP = dict(image_size=16, image_patch_size=8, frames=4, frame_patch_size=2, num_classes=5, dim=32, depth=3, heads=4, dim_head=8, mlp_dim=48)


def model(file, name, kw, run):
    def build():
        m = getattr(importlib.import_module("vit_pytorch." + file), name)(**kw)
        return Call(m, run) if run else m
    return build


def row(tag, file, name="ViT", inputs=None, run=None, target="0,3", without=(), **kw):
    given = {k: v for k, v in {**VIT, **kw}.items() if k not in without}
    add_image("vitp_" + tag, model(file, name, given, run), *([inputs] if inputs else []), target=target)


def other(tag, file, name, inputs=None, run=None, target="0,3", **kw):
    """a model whose parameters are its own"""
    add_image("vitp_" + tag, model(file, name, kw, run), *([inputs] if inputs else []), target=target)


row("vit", "vit")
row("vit_mean", "vit", pool="mean")
row("simple", "simple_vit", "SimpleViT")
row("deepvit", "deepvit", "DeepViT")
row("cait", "cait", "CaiT", cls_depth=2)
row("parallel", "parallel_vit", num_parallel_branches=2)
row("small", "vit_for_small_dataset")
row("merger", "vit_with_patch_merger", patch_merge_layer=2, patch_merge_num_tokens=6)
row("patch_dropout", "vit_with_patch_dropout")
row("keel", "vit_with_keel_post_ln")
row("decorr", "vit_with_decorr", run=lambda m, x: m(x)[0] if isinstance(m(x), tuple) else m(x))
row("detpool", "vit_detpool", "ViTDetPool")
row("five", "vit_5")
row("pit", "pit", "PiT", patch_size=8, depth=(2, 2))
row("rvt", "rvt", "RvT")
row("rvt_plain", "rvt", "RvT", use_rotary=False, use_ds_conv=False, use_glu=False)
row("jumbo", "jumbo_vit", "JumboViT", num_jumbo_cls=1, jumbo_cls_k=2, jumbo_ff_mult=2)
row("look", "look_vit", "LookViT", highres_patch_size=4, mlp_factor=2, highres_mlp_factor=2, cross_attn_heads=4, cross_attn_dim_head=8, patch_conv_kernel_size=7, without=("mlp_dim",))
row("looped", "looped_vit", "LoopedViT", pre_loop_depth=1, num_looped_blocks=2, post_loop_depth=1, loop_depth=2, without=("depth",))
row("jet", "jet_vit", "JetViT")
row("fft", "simple_vit_with_fft", "SimpleViT", freq_patch_size=8)
row("uvit", "simple_uvit", "SimpleUViT", depth=4)
row("hyper", "simple_vit_with_hyper_connections", "SimpleViT", num_residual_streams=2)
row("qk_norm", "simple_vit_with_qk_norm", "SimpleViT")
row("registers", "simple_vit_with_register_tokens", "SimpleViT")
row("relative", "simple_vit_with_relative_proj_pos_bias", "SimpleViT")
row("gating", "simple_vit_with_sparse_gating", "SimpleViTWithSparseGating")
row("specialized", "simple_vit_with_specialized_cls", "SimpleViT")
row("value_residual", "simple_vit_with_value_residual", "SimpleViT")
row("orthogonal", "simple_vit_orthog_residual_update", "SimpleViT")
row("attn_residual", "simple_vit_attn_residual", "SimpleViTAttnResidual")
row("dca", "attn_residual_with_dca_simple_vit", "SimpleViT")
row("xcit", "xcit", "XCiT", cls_depth=2)
row("vit1d", "vit_1d", inputs=floats(series=(1, 3, 64)), seq_len=64, without=("image_size",))
row("simple1d", "simple_vit_1d", "SimpleViT", inputs=floats(series=(1, 3, 64)), seq_len=64, without=("image_size",))
for tag, file, name in (("vit3d", "vit_3d", "ViT"), ("simple3d", "simple_vit_3d", "SimpleViT")):
    other(tag, file, name, VIDEO, **CLIP)
for variant in ("factorized_encoder", "factorized_self_attention"):
    other("vivit_" + variant, "vivit", "ViViT", VIDEO, variant=variant, use_flash_attn=False, spatial_depth=2, temporal_depth=2, **{k: v for k, v in CLIP.items() if k != "depth"})
other("moss", "vivit_with_moss", "ViViT", VIDEO, use_flash_attn=False, spatial_depth=2, temporal_depth=2, moss_hidden_dim=8, **{k: v for k, v in CLIP.items() if k != "depth"})
other("cct", "cct", "CCT", img_size=32, embedding_dim=32, n_conv_layers=2, kernel_size=3, stride=2, padding=1, num_layers=3, num_heads=4, mlp_ratio=1.5, num_classes=5, positional_embedding="learnable")
other("cct3d", "cct_3d", "CCT", VIDEO, img_size=16, num_frames=4, embedding_dim=32, n_conv_layers=1, frame_kernel_size=3, frame_pooling_kernel_size=1, kernel_size=3, stride=2, padding=1, num_layers=3, num_heads=4,
      mlp_ratio=1.5, num_classes=5, positional_embedding="learnable")
other("cross", "cross_vit", "CrossViT", image_size=32, num_classes=5, sm_dim=24, lg_dim=32, sm_patch_size=8, sm_enc_depth=2, sm_enc_heads=4, sm_enc_mlp_dim=48, sm_enc_dim_head=8, lg_patch_size=16, lg_enc_depth=2, lg_enc_heads=4,
      lg_enc_mlp_dim=48, lg_enc_dim_head=8, cross_attn_depth=1, cross_attn_heads=4, cross_attn_dim_head=8, depth=2)
other("cvt", "cvt", "CvT", num_classes=5, s1_emb_dim=16, s1_heads=2, s2_emb_dim=24, s2_heads=2, s2_depth=1, s3_emb_dim=32, s3_heads=4, s3_depth=2)
other("levit", "levit", "LeViT", floats(pixel_values=(1, 3, 64, 64)), image_size=64, num_classes=5, dim=(16, 24, 32), depth=(1, 1, 1), heads=(2, 3, 4), mlp_mult=2, stages=3, dim_key=8, dim_value=8)
other("maxvit", "max_vit", "MaxViT", num_classes=5, dim=16, depth=(1, 1), dim_head=8, window_size=4, mbconv_expansion_rate=2, dim_conv_stem=8)
other("maxvit_registers", "max_vit_with_registers", "MaxViT", num_classes=5, dim=16, depth=(1, 1), dim_head=8, window_size=4, mbconv_expansion_rate=2, dim_conv_stem=8, num_register_tokens=2)
other("mobilevit", "mobile_vit", "MobileViT", floats(pixel_values=(1, 3, 64, 64)), image_size=(64, 64), dims=[16, 24, 32], channels=[8, 8, 8, 8, 12, 12, 16, 16, 16, 16, 24], num_classes=5, depths=(1, 1, 1), kernel_size=3, patch_size=(2, 2))
other("nest", "nest", "NesT", image_size=32, patch_size=4, num_classes=5, dim=16, heads=2, num_hierarchies=2, block_repeats=(1, 2), mlp_mult=2, dim_head=8)
other("regionvit", "regionvit", "RegionViT", dim=(16, 24, 32, 32), depth=(1, 1, 1, 1), window_size=2, num_classes=5, tokenize_local_3_conv=False, use_peg=True, inputs=floats(pixel_values=(1, 3, 64, 64)))
other("scalable", "scalable_vit", "ScalableViT", num_classes=5, dim=16, depth=(1, 1), heads=(2, 4), ff_expansion_factor=2, reduction_factor=(2, 1), window_size=(4, None), ssa_dim_key=8, ssa_dim_value=8, iwsa_dim_key=8, iwsa_dim_value=8)
other("t2t", "t2t", "T2TViT", image_size=32, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=48, dim_head=8, t2t_layers=((7, 4), (3, 2)))
other("twins", "twins_svt", "TwinsSVT", floats(pixel_values=(1, 3, 64, 64)), num_classes=5, s1_emb_dim=16, s1_local_patch_size=4, s1_global_k=4, s2_emb_dim=16, s2_local_patch_size=4, s2_global_k=4, s3_emb_dim=24, s3_depth=1, s3_local_patch_size=2,
      s3_global_k=2, s4_emb_dim=32, s4_depth=1, s4_local_patch_size=2, s4_global_k=2)
