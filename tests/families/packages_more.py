"""Rows for packages.py: medical volumes (monai), segmentation and detection networks with attention inside (segmentation_models,
ultralytics), image-text towers (open_clip), tables (rtdl), attention of few keys (linformer, performer)."""
import torch
from packages import Call, N, add, add_image, fixed, floats, ids, image, together

VOLUME = floats(volume=(1, 1, 16, 16, 16))
CELLS = dict(text=False, target="0,1")


def of(module, name, run=None, **kw):
    def build():
        import importlib
        m = importlib.import_module(module)
        for part in name.split("."):
            m = getattr(m, part)
        m = m(**kw)
        return Call(m, run) if run else m
    return build


# ------------------------------------------------------------------ monai
MONAI = dict(hidden_size=32, mlp_dim=48, num_heads=4)
add_image("monai_vit3d", of("monai.networks.nets", "ViT", lambda m, x: m(x)[0], in_channels=1, img_size=16, patch_size=8, num_layers=3, classification=True, num_classes=3, **MONAI), VOLUME, target="0,1")
add_image("monai_vit2d", of("monai.networks.nets", "ViT", lambda m, x: m(x)[0], in_channels=3, img_size=32, patch_size=8, num_layers=3, spatial_dims=2, classification=True, num_classes=3, proj_type="perceptron", **MONAI), target="0,1")
add_image("monai_unetr", of("monai.networks.nets", "UNETR", in_channels=3, out_channels=2, img_size=32, feature_size=8, spatial_dims=2, **MONAI), target="0,1,16,16")
add_image("monai_unetr3d", of("monai.networks.nets", "UNETR", in_channels=1, out_channels=2, img_size=32, feature_size=4, **MONAI), floats(volume=(1, 1, 32, 32, 32)), target="0,1,8,8,8")
add_image("monai_swin_unetr", of("monai.networks.nets", "SwinUNETR", in_channels=3, out_channels=2, depths=(2, 2, 1, 1), num_heads=(2, 2, 4, 4), window_size=4, feature_size=12, spatial_dims=2), image(64), target="0,1,16,16")
add_image("monai_swin_unetr2", of("monai.networks.nets", "SwinUNETR", in_channels=3, out_channels=2, depths=(2, 1, 1, 1), num_heads=(2, 2, 4, 4), window_size=4, feature_size=12, spatial_dims=2, use_v2=True), image(64), target="0,1,16,16")
add_image("monai_vitautoenc", of("monai.networks.nets", "ViTAutoEnc", lambda m, x: m(x)[0], in_channels=3, img_size=32, patch_size=16, spatial_dims=2, out_channels=2, num_layers=3, **MONAI), target="0,1,16,16")
add_image("monai_diffusion", of("monai.networks.nets", "DiffusionModelUNet", spatial_dims=2, in_channels=1, out_channels=1, num_res_blocks=(1, 1), channels=(16, 16), attention_levels=(False, True), norm_num_groups=4, num_head_channels=8),
          together(floats(sample=(1, 1, 16, 16)), fixed(timestep=torch.tensor([7]))), target="0,0,4,4")
add("monai_decoder", of("monai.networks.nets", "DecoderOnlyTransformer", num_tokens=60, max_seq_len=N, attn_layers_dim=32, attn_layers_depth=3, attn_layers_heads=4), ids(), target="0,15,9")

# ------------------------------------------------------------------ segmentation and detection
add_image("smp_mit_unet", of("segmentation_models_pytorch", "Unet", encoder_name="mit_b0", encoder_weights=None, classes=2, decoder_channels=(16, 16, 8, 8, 4)), image(64), target="0,1,20,20")
add_image("smp_segformer", of("segmentation_models_pytorch", "Segformer", encoder_name="mit_b0", encoder_weights=None, classes=2, decoder_segmentation_channels=16), image(64), target="0,1,20,20")
add_image("smp_manet", of("segmentation_models_pytorch", "MAnet", encoder_name="resnet18", encoder_weights=None, classes=2, decoder_channels=(16, 16, 8, 8, 4)), image(64), target="0,1,20,20")


def yolo(config, **kw):
    def build():
        from ultralytics.nn import tasks
        m = getattr(tasks, kw.get("kind", "DetectionModel"))(config, ch=3, nc=4, verbose=False).eval()
        for part in m.modules():
            if hasattr(part, "export"):
                part.export, part.format = True, "onnx"
        return Call(m, lambda m, x: m(x)[0] if isinstance(m(x), (tuple, list)) else m(x))
    return build


for v in ("yolo11n", "yolo12n", "yolov10n", "yolo26n"):
    add_image(v, yolo(v + ".yaml"), image(64), target="0,4,9" if v in ("yolo11n", "yolo12n") else "0,0,4")
add_image("yolo11n_cls", yolo("yolo11n-cls.yaml", kind="ClassificationModel"), image(64), target="0,1")
add_image("yolo12n_cls", yolo("yolo12n-cls.yaml", kind="ClassificationModel"), image(64), target="0,1")
add_image("kornia_tiny_vit", of("kornia.models.tiny_vit", "TinyViT", img_size=64, num_classes=5, embed_dims=(16, 24, 32, 32), depths=(1, 1, 1, 1), num_heads=(2, 2, 4, 4), window_sizes=(4, 4, 4, 2)), image(64))
add_image("kornia_vit", of("kornia.models.vit", "VisionTransformer", image_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4), target="0,0,3")
add_image("kornia_mobilevit", of("kornia.models.vit_mobile", "MobileViT", mode="xxs", patch_size=(2, 2)), image(256), target="0,3,2,2")

# ------------------------------------------------------------------ open_clip
VISION = dict(image_size=32, patch_size=8, width=32, layers=3, head_width=8, mlp_ratio=1.5)
TEXT = dict(context_length=N, vocab_size=60, width=32, heads=4, layers=3, mlp_ratio=1.5)


def clip(vision=None, text=None, name="CLIP", **kw):
    def build():
        import open_clip
        from open_clip import coca_model, model
        if name == "CoCa":
            m = coca_model.CoCa(embed_dim=24, multimodal_cfg=coca_model.MultimodalCfg(**TEXT), text_cfg=model.CLIPTextCfg(**{**TEXT, "embed_cls": True, "output_tokens": True, **(text or {})}),
                                vision_cfg=model.CLIPVisionCfg(**{**VISION, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True, **(vision or {})}))
            return Call(m, lambda m, i, t: m.encode_image(i) @ m.encode_text(t).T)
        m = getattr(model, name)(embed_dim=24, vision_cfg=model.CLIPVisionCfg(**{**VISION, **(vision or {})}), text_cfg=model.CLIPTextCfg(**{**TEXT, **(text or {})}), **kw)
        return Call(m, lambda m, i, t: m.get_logits(i, t)[0])
    return build


CAPTION = ids(name="text", low=5, vocab=59)
for tag, kw in (("plain", {}), ("quick", dict(quick_gelu=True)), ("avg", dict(vision=dict(pool_type="avg"))), ("map", dict(vision=dict(attentional_pool=True, attn_pooler_queries=1, attn_pooler_heads=4))), ("ls", dict(vision=dict(ls_init_value=0.1), text=dict(ls_init_value=0.1))),
                ("siglip", dict(vision=dict(pool_type="avg", final_ln_after_pool=True), text=dict(no_causal_mask=True, proj_bias=True, pool_type="last"))), ("bias", dict(init_logit_bias=-10.0)), ("resnet", dict(vision=dict(image_size=64, layers=(1, 1, 1, 1), width=16, patch_size=None))),
                ("dual", dict(name="CustomTextCLIP"))):
    add("openclip_" + tag, clip(**kw), together(image(64 if tag == "resnet" else 32), CAPTION), text=False, target="0,0")
add("openclip_coca", clip(name="CoCa"), together(image(), CAPTION), text=False, target="0,0")

# ------------------------------------------------------------------ tables
COLUMNS = together(fixed(categories=torch.tensor([[1, 0, 3, 2]])), floats(numbers=(1, 5)))


def rtdl(kind="make_baseline", **kw):
    return of("rtdl", "FTTransformer." + kind, lambda m, c, x: m(x, c), n_num_features=5, cat_cardinalities=[3, 2, 5, 4], d_token=32, n_blocks=3, attention_dropout=0.0, ffn_d_hidden=48, ffn_dropout=0.0, residual_dropout=0.0, d_out=3, **kw)


add("rtdl_ft", rtdl(), COLUMNS, **CELLS)
add("rtdl_ft_last", rtdl(last_layer_query_idx=[-1]), COLUMNS, **CELLS)
add("rtdl_ft_compressed", rtdl(kv_compression_ratio=0.5, kv_compression_sharing="headwise"), COLUMNS, **CELLS)

# ------------------------------------------------------------------ few keys
add("linformer_lm", of("linformer", "LinformerLM", num_tokens=60, dim=32, seq_len=N, depth=3, k=6, heads=4), ids(), target="0,9,9")
add("linformer_shared", of("linformer", "LinformerLM", num_tokens=60, dim=32, seq_len=N, depth=3, k=6, heads=4, one_kv_head=True, share_kv=True), ids(), target="0,9,9")
add("performer_local", of("performer_pytorch", "PerformerLM", num_tokens=60, max_seq_len=N, dim=32, depth=2, heads=4, dim_head=8, local_attn_heads=4, local_window_size=4, no_projection=True), ids(), target="0,9,9")
add("performer_none", of("performer_pytorch", "PerformerLM", num_tokens=60, max_seq_len=N, dim=32, depth=2, heads=4, dim_head=8), ids(), target="0,9,9")
