"""Models of packages beside transformers, timm and torchvision that people export: one row each, small and randomly initialised, as
in families.py. Every package is imported by its own builder, since they do not all fit into one Python environment."""
import types
import torch
import torch.nn as nn
from families import Family

N = 16
FAMILIES = []


def add(name, build, inputs, **kw):
    FAMILIES.append(Family(name, lambda attention: build(), inputs, **{"outputs": ("output",), "attentions": ("eager",), "positional": True, **kw}))


class Call(nn.Module):
    """run(model, *inputs) in the place of the model's own forward"""
    def __init__(self, model, run):
        super().__init__()
        self.model, self.run = model, run

    def forward(self, *inputs):
        return self.run(self.model, *inputs)


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def floats(**shapes):
    """{name: shape}, normally distributed"""
    def make():
        g = seeded()
        return {k: torch.randn(*shape, generator=g) for k, shape in shapes.items()}
    return make


def ids(n=N, vocab=60, low=5, name="input_ids"):
    return lambda: {name: torch.randint(low, vocab, (1, n), generator=seeded())}


def together(*makers):
    return lambda: {k: v for m in makers for k, v in m().items()}


def fixed(**values):
    return lambda: {k: torch.as_tensor(v) for k, v in values.items()}


def image(size=32, channels=3, name="pixel_values"):
    return floats(**{name: (1, channels, size, size)})


def add_image(name, build, inputs=image(), **kw):
    add(name, build, inputs, **{"text": False, **kw})


# ------------------------------------------------------------------ segmentation and detection
def sam(size=64, patch=8):
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    grid = size // patch
    return Sam(ImageEncoderViT(img_size=size, patch_size=patch, embed_dim=32, depth=3, num_heads=4, out_chans=32, use_rel_pos=True, window_size=3, global_attn_indexes=(1, 2)),
               PromptEncoder(embed_dim=32, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=8),
               MaskDecoder(num_multimask_outputs=3, transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=48, num_heads=4), transformer_dim=32, iou_head_depth=2, iou_head_hidden_dim=32))


def sam_onnx(**kw):
    from segment_anything.utils.onnx import SamOnnxModel
    return SamOnnxModel(sam(), **kw)


def prompts(labels, mask=False):
    points = torch.rand(1, len(labels), 2, generator=seeded(3)) * 60
    return together(floats(image_embeddings=(1, 32, 8, 8)), fixed(point_coords=points, point_labels=torch.tensor([labels], dtype=torch.float32)),
                    floats(mask_input=(1, 1, 32, 32)), fixed(has_mask_input=torch.tensor([float(mask)]), orig_im_size=torch.tensor([60.0, 48.0])))


SAM_OUT = dict(outputs=("masks", "iou_predictions", "low_res_masks"), text=False)
add_image("sam_encoder", lambda: sam().image_encoder, image(64), target="0,3,2,2")
add("sam_points", lambda: sam_onnx(return_single_mask=False), prompts([1, 0, -1]), target="0,1", output=1, **SAM_OUT)
add("sam_mask_pixel", lambda: sam_onnx(return_single_mask=False), prompts([1, -1]), target="0,1,20,20", **SAM_OUT)
add("sam_boxes", lambda: sam_onnx(return_single_mask=True), prompts([2, 3], True), target="0,0,9,9", **SAM_OUT)


def diffuser(name, **kw):
    def build():
        import diffusers
        return getattr(diffusers, name)(**kw)
    return build


LATENT = floats(sample=(1, 4, 8, 8))
STEP = fixed(timestep=torch.tensor([7]))
UNET = dict(sample_size=8, block_out_channels=(16, 32), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=24, attention_head_dim=8, norm_num_groups=4)
add_image("diffusers_unet", lambda: Call(diffuser("UNet2DConditionModel", **UNET)(), lambda m, x, t, e: m(x, t, e, return_dict=False)[0]),
          together(LATENT, STEP, floats(encoder_hidden_states=(1, 6, 24))), target="0,1,3,4")
add_image("diffusers_unet_plain", lambda: Call(diffuser("UNet2DModel", sample_size=16, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
          down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))(), lambda m, x, t: m(x, t, return_dict=False)[0]), together(image(16, name="sample"), STEP), target="0,1,3,4")
add_image("diffusers_dit", lambda: Call(diffuser("DiTTransformer2DModel", num_attention_heads=4, attention_head_dim=8, in_channels=4, num_layers=3, sample_size=8, patch_size=2, num_embeds_ada_norm=20, norm_num_groups=4)(),
          lambda m, x, t, c: m(x, t, c, return_dict=False)[0]), together(LATENT, STEP, fixed(class_labels=torch.tensor([3]))), target="0,1,3,4")
add_image("diffusers_sd3", lambda: Call(diffuser("SD3Transformer2DModel", sample_size=8, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=4, joint_attention_dim=24, caption_projection_dim=32, pooled_projection_dim=20, out_channels=4, pos_embed_max_size=8)(),
          lambda m, x, t, e, p: m(x, e, p, t, return_dict=False)[0]), together(floats(hidden_states=(1, 4, 8, 8)), STEP, floats(encoder_hidden_states=(1, 6, 24), pooled_projections=(1, 20))), target="0,1,3,4")
add_image("diffusers_flux", lambda: Call(diffuser("FluxTransformer2DModel", in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=24, pooled_projection_dim=20, axes_dims_rope=(4, 4, 8))(),
          lambda m, x, e, p, t, i, j: m(x, e, p, t, i, j, return_dict=False)[0]), together(floats(hidden_states=(1, 16, 8), encoder_hidden_states=(1, 6, 24), pooled_projections=(1, 20)), fixed(timestep=torch.tensor([0.5]),
          img_ids=torch.stack([torch.zeros(16), torch.arange(16) // 4, torch.arange(16) % 4], 1).float(), txt_ids=torch.zeros(6, 3))), target="0,5,3")
add_image("diffusers_vae_encoder", lambda: Call(diffuser("AutoencoderKL", block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4)(),
          lambda m, x: m.quant_conv(m.encoder(x))), target="0,1,3,4")
add_image("diffusers_vae_decoder", lambda: Call(diffuser("AutoencoderKL", block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4)(),
          lambda m, x: m.decode(x, return_dict=False)[0]), floats(latent=(1, 4, 8, 8)), target="0,1,3,4")

def sam2_encoder():
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    trunk = Hiera(embed_dim=16, num_heads=1, stages=(1, 1, 2, 1), global_att_blocks=(3,), window_pos_embed_bkg_spatial_size=(7, 7), window_spec=(8, 4, 4, 2))
    neck = FpnNeck(position_encoding=PositionEmbeddingSine(num_pos_feats=32), d_model=32, backbone_channel_list=trunk.channel_list, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    return Call(ImageEncoder(trunk=trunk, neck=neck, scalp=1), lambda m, x: m(x)["vision_features"])


def sam2_decoder():
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import TwoWayTransformer
    m = nn.ModuleDict({"prompt": PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8),
                       "decoder": MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=48, num_heads=4), iou_head_depth=2, iou_head_hidden_dim=32,
                                              use_high_res_features=True, pred_obj_scores=True)})

    def run(m, embeddings, fine, finer, points, labels):
        sparse, dense = m["prompt"](points=(points, labels), boxes=None, masks=None)
        masks, iou, *_ = m["decoder"](image_embeddings=embeddings, image_pe=m["prompt"].get_dense_pe(), sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
                                      multimask_output=True, repeat_image=False, high_res_features=[finer, fine])
        return masks, iou
    return Call(m, run)


add_image("sam2_image_encoder", sam2_encoder, image(64), target="0,3,2,2")
add("sam2_mask_decoder", sam2_decoder, together(floats(image_embed=(1, 32, 8, 8), high_res_feats_1=(1, 8, 16, 16), high_res_feats_0=(1, 4, 32, 32)),
    fixed(point_coords=torch.tensor([[[10.0, 20.0], [33.0, 50.0]]]), point_labels=torch.tensor([[1, 0]], dtype=torch.int32))), outputs=("masks", "iou_predictions"), text=False, target="0,1", output=1)


def rfdetr():
    from rfdetr import RFDETRNano
    m = RFDETRNano(pretrain_weights=None, resolution=64, bbox_reparam=False, dec_layers=2, num_queries=12, num_select=12, device="cpu").model.model
    m.export()
    return m


add_image("rfdetr_nano", rfdetr, image(64), outputs=("boxes", "logits"), output=1, target="0,3,5")


def ultra(cls, config, run=lambda m, x: m(x)[0], **change):
    def build():
        import ultralytics.nn.tasks as tasks
        from ultralytics.utils import YAML
        from ultralytics.utils.checks import check_yaml
        c = YAML.load(check_yaml(config))
        c.update(change)
        m = getattr(tasks, cls)(c, ch=3, nc=4, verbose=False)
        m.eval()
        for part in m.modules():
            if hasattr(part, "export"):
                part.export = True
        return Call(m, run)
    return build


add_image("ultralytics_rtdetr", ultra("RTDETRDetectionModel", "rtdetr-resnet50.yaml"), image(64), target="0,3,5", skip=("dyn",))

VOCAB = "abcdefghijklmnopqrstuvwxyz"


def doctr_vit():
    from doctr.models.classification.vit.pytorch import VisionTransformer
    return VisionTransformer(d_model=32, num_layers=3, num_heads=4, ffd_ratio=2, patch_size=(4, 8), input_shape=(3, 32, 64), num_classes=5, include_top=False)


def features(model):
    return Call(model, lambda m, x: {"features": m(x)})


def doctr(name, **kw):
    def build():
        import doctr.models.recognition as r
        common = dict(vocab=VOCAB, exportable=True, input_shape=(3, 32, 64))
        if name == "MASTER":
            m = r.MASTER(features(nn.Conv2d(3, 32, 8, 8)), d_model=32, dff=48, num_heads=4, num_layers=2, max_length=6, dropout=0.0, **common)
        else:
            m = getattr(r, name)(features(doctr_vit()), embedding_units=32, max_length=6, **common, **kw)
        return Call(m, lambda m, x: m(x)["logits"])
    return build


WORD = floats(pixel_values=(1, 3, 32, 64))
add_image("doctr_vit", doctr_vit, WORD, target="0,0,9")
add_image("doctr_vitstr", doctr("ViTSTR"), WORD, target="0,2,9")
add_image("doctr_parseq", doctr("PARSeq", dec_num_heads=4, dec_ff_dim=32, dec_ffd_ratio=1, dropout_prob=0.0), WORD, target="0,2,9")
add_image("doctr_master", doctr("MASTER"), WORD, target="0,2,9")


def viptr():
    from doctr.models.recognition.viptr.pytorch import VIPTR
    from doctr.models.classification.vip.pytorch import VIPNet
    net = VIPNet(in_channels=3, out_dim=32, embed_dims=[16, 24, 32], depths=[1, 2, 2], num_heads=[2, 4, 4], mlp_ratios=[2, 2, 2], split_sizes=[1, 2, 2], sr_ratios=[4, 2, 2], input_shape=(3, 32, 64), include_top=False)
    return Call(VIPTR(features(net), vocab=VOCAB, exportable=True, input_shape=(3, 32, 64)), lambda m, x: m(x)["logits"])


add_image("doctr_viptr", viptr, WORD, target="0,2,9")


def lerobot_act():
    import importlib.util
    import sys
    spec = importlib.util.find_spec("lerobot")
    sys.modules.setdefault("lerobot.policies", types.ModuleType("lerobot.policies")).__path__ = [spec.submodule_search_locations[0] + "/policies"]  # not every policy's imports
    sys.modules.setdefault("lerobot.policies.act", types.ModuleType("lerobot.policies.act")).__path__ = [spec.submodule_search_locations[0] + "/policies/act"]
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACT
    c = ACTConfig(input_features={"observation.state": PolicyFeature(FeatureType.STATE, (6,)), "observation.images.top": PolicyFeature(FeatureType.VISUAL, (3, 64, 64))},
                  output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))}, chunk_size=5, n_action_steps=5, pretrained_backbone_weights=None, dim_model=32, n_heads=4, dim_feedforward=48,
                  n_encoder_layers=3, n_decoder_layers=2, n_vae_encoder_layers=1, latent_dim=8, dropout=0.0, device="cpu")
    return Call(ACT(c), lambda m, state, picture: m({"observation.state": state, "observation.images": [picture]})[0])


add_image("lerobot_act", lerobot_act, together(floats(state=(1, 6)), image(64, name="picture")), target="0,2,3")

# ------------------------------------------------------------------ speech and sound
WHISPER = dict(n_mels=16, n_audio_ctx=12, n_audio_state=32, n_audio_head=4, n_audio_layer=3, n_vocab=60, n_text_ctx=20, n_text_state=32, n_text_head=4, n_text_layer=2)


def whisper(run):
    def build():
        from whisper.model import ModelDimensions, Whisper
        return Call(Whisper(ModelDimensions(**WHISPER)), run)
    return build


MEL = floats(mel=(1, 16, 24))
add_image("openai_whisper", whisper(lambda m, mel, tokens: m(mel, tokens)), together(MEL, ids(8, name="tokens")), target="0,4,9")
add_image("openai_whisper_encoder", whisper(lambda m, mel: m.encoder(mel)), MEL, target="0,4,9")
add_image("openai_whisper_decoder", whisper(lambda m, tokens, a: m.decoder(tokens, a)), together(ids(8, name="tokens"), floats(audio_features=(1, 12, 32))), target="0,4,9")


def audio(name, run, **kw):
    def build():
        import torchaudio.models
        return Call(getattr(torchaudio.models, name)(**kw), run)
    return build


WAVE = floats(waveforms=(1, 400))
W2V = dict(extractor_mode="layer_norm", extractor_conv_layer_config=[(16, 5, 4), (16, 3, 2), (16, 2, 2)], extractor_conv_bias=True, encoder_embed_dim=32, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=4, encoder_pos_conv_groups=2,
           encoder_num_layers=3, encoder_num_heads=4, encoder_attention_dropout=0.0, encoder_ff_interm_features=48, encoder_ff_interm_dropout=0.0, encoder_dropout=0.0, encoder_layer_norm_first=False, encoder_layer_drop=0.0, aux_num_out=12)
FEATURES = floats(features=(1, 20, 16))
add_image("torchaudio_wav2vec2", audio("wav2vec2_model", lambda m, x: m(x)[0], **W2V), WAVE, target="0,4,9")
add_image("torchaudio_hubert_group", audio("wav2vec2_model", lambda m, x: m(x)[0], **{**W2V, "extractor_mode": "group_norm", "encoder_layer_norm_first": True}), WAVE, target="0,4,9")
add_image("torchaudio_wavlm", audio("wavlm_model", lambda m, x: m(x)[0], **{k: v for k, v in W2V.items()}, encoder_num_buckets=16, encoder_max_distance=40), WAVE, target="0,4,9")
add_image("torchaudio_conformer", audio("Conformer", lambda m, x: m(x, torch.full((1,), x.shape[1]))[0], input_dim=16, num_heads=4, ffn_dim=32, num_layers=3, depthwise_conv_kernel_size=5), FEATURES, target="0,4,9")
add_image("torchaudio_conformer_lengths", audio("Conformer", lambda m, x, n: m(x, n)[0], input_dim=16, num_heads=4, ffn_dim=32, num_layers=3, depthwise_conv_kernel_size=5, use_group_norm=True, convolution_first=True),
          together(FEATURES, fixed(lengths=torch.tensor([20]))), target="0,4,9")
add_image("torchaudio_emformer", audio("Emformer", lambda m, x: m(x, torch.full((1,), x.shape[1]))[0], input_dim=16, num_heads=4, ffn_dim=32, num_layers=3, segment_length=4, left_context_length=4, right_context_length=2), FEATURES, target="0,4,9")
add_image("torchaudio_emformer_memory", audio("Emformer", lambda m, x: m(x, torch.full((1,), x.shape[1]))[0], input_dim=16, num_heads=4, ffn_dim=32, num_layers=3, segment_length=4, left_context_length=4, right_context_length=2, max_memory_size=2), FEATURES, target="0,4,9")


def speechbrain_asr(encoder, positions, attention):
    def build():
        from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
        m = TransformerASR(tgt_vocab=30, input_size=16, d_model=32, nhead=4, num_encoder_layers=3, num_decoder_layers=2, d_ffn=48, encoder_module=encoder, positional_encoding=positions,
                           attention_type=attention, kernel_size=5, csgu_linear_units=24, normalize_before=True, max_length=64, causal=False)
        return Call(m, lambda m, x: m.encode(x))
    return build


add_image("speechbrain_transformer", speechbrain_asr("transformer", "fixed_abs_sine", "regularMHA"), FEATURES, target="0,4,9")
add_image("speechbrain_conformer", speechbrain_asr("conformer", "fixed_abs_sine", "RelPosMHAXL"), FEATURES, target="0,4,9")
add_image("speechbrain_conformer_rope", speechbrain_asr("conformer", "fixed_abs_sine", "RoPEMHA"), FEATURES, target="0,4,9")
add_image("speechbrain_branchformer", speechbrain_asr("branchformer", "fixed_abs_sine", "RelPosMHAXL"), FEATURES, target="0,4,9")


def speechbrain_seq2seq():
    from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
    m = TransformerASR(tgt_vocab=30, input_size=16, d_model=32, nhead=4, num_encoder_layers=2, num_decoder_layers=2, d_ffn=48, positional_encoding="fixed_abs_sine", normalize_before=True, max_length=64)
    m = nn.ModuleDict({"m": m, "head": nn.Linear(32, 30)})
    return Call(m, lambda m, x, y: m["head"](m["m"](x, y)[1]))


add_image("speechbrain_seq2seq", speechbrain_seq2seq, together(FEATURES, ids(6, 30, name="tokens")), target="0,4,9")


def sepformer():
    from speechbrain.lobes.models.dual_path import Dual_Path_Model, SBTransformerBlock, Encoder, Decoder
    block = lambda: SBTransformerBlock(num_layers=2, d_model=16, nhead=4, d_ffn=24, norm_before=True, use_positional_encoding=True)
    masks = Dual_Path_Model(num_spks=2, in_channels=16, out_channels=16, num_layers=1, K=8, intra_model=block(), inter_model=block(), norm="ln", linear_layer_after_inter_intra=False, skip_around_intra=True)
    m = nn.ModuleDict({"encoder": Encoder(kernel_size=8, out_channels=16), "masks": masks})
    return Call(m, lambda m, x: m["masks"](m["encoder"](x)))


add_image("speechbrain_sepformer", sepformer, floats(mix=(1, 160)), target="1,0,3,11")


def espnet(kind, **kw):
    def build():
        import importlib
        module = importlib.import_module(f"espnet2.asr.encoder.{kind}_encoder")
        cls = {"transformer": "TransformerEncoder", "conformer": "ConformerEncoder", "e_branchformer": "EBranchformerEncoder", "branchformer": "BranchformerEncoder"}[kind]
        m = getattr(module, cls)(input_size=16, output_size=32, attention_heads=4, linear_units=48, num_blocks=3, use_flash_attn=False, **kw)
        return Call(m, lambda m, x: m(x, torch.full((1,), x.shape[1]))[0])
    return build


LONG = floats(features=(1, 60, 16))
add_image("espnet_transformer", espnet("transformer"), LONG, target="0,4,9")
add_image("espnet_conformer", espnet("conformer", rel_pos_type="latest", macaron_style=True, cnn_module_kernel=5), LONG, target="0,4,9")
add_image("espnet_conformer_legacy", espnet("conformer", macaron_style=True, cnn_module_kernel=5, selfattention_layer_type="legacy_rel_selfattn", pos_enc_layer_type="legacy_rel_pos", input_layer="linear"), FEATURES, target="0,4,9")
add_image("espnet_e_branchformer", espnet("e_branchformer", cgmlp_linear_units=24, cgmlp_conv_kernel=5, use_ffn=True, macaron_ffn=True, merge_conv_kernel=3), LONG, target="0,4,9")


def passt():
    from hear21passt.models.passt import PaSST
    return Call(PaSST(img_size=(32, 40), patch_size=8, stride=8, embed_dim=32, depth=3, num_heads=4, num_classes=5, distilled=True), lambda m, x: m(x)[0])


add_image("passt", passt, floats(spectrogram=(1, 1, 32, 40)))


def lucid_conformer():
    from conformer import Conformer
    return Conformer(dim=16, depth=3, dim_head=8, heads=4, conv_kernel_size=5)


add_image("lucidrains_conformer", lucid_conformer, FEATURES, target="0,4,9")

# ------------------------------------------------------------------ text and proteins
def esm2():
    import esm
    return Call(esm.ESM2(num_layers=3, embed_dim=32, attention_heads=4), lambda m, x: m(x)["logits"])


add("fair_esm2", esm2, ids(12, 24, 4, "tokens"), target="0,4,9")


def litgpt(**kw):
    def build():
        from litgpt import GPT, Config
        return GPT(Config(block_size=32, n_layer=3, n_embd=32, padded_vocab_size=60, n_head=4, rotary_percentage=1.0, **kw))
    return build


add("litgpt_pythia", litgpt(), ids(), target="0,15,9")
add("litgpt_llama", litgpt(n_query_groups=2, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", bias=False, parallel_residual=False, intermediate_size=48), ids(), target="0,15,9")
add("litgpt_gemma2", litgpt(n_query_groups=2, norm_class_name="RMSNorm", mlp_class_name="GemmaMLP", bias=False, parallel_residual=False, intermediate_size=48, scale_embeddings=True, attention_logit_softcapping=5.0,
                            final_logit_softcapping=3.0, post_attention_norm=True, post_mlp_norm=True, sliding_window_size=6, attention_scores_scalar=8), ids(), target="0,15,9")


GLINER = dict(hidden_size=32, dropout=0.0, max_width=3, num_rnn_layers=1, class_token_index=4, vocab_size=60, subtoken_pooling="first", fine_tune=True, fuse_layers=False, post_fusion_schema="")


def gliner(cls, names, **kw):
    def build():
        import transformers as tf
        from gliner import config as configs
        from gliner.modeling import base
        c = tf.BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40)
        c._attn_implementation = "eager"
        config = getattr(configs, cls + "Config")(**{**GLINER, **kw})
        config.encoder_config = c
        return Call(getattr(base, cls + "Model")(config), lambda m, *a: m(**dict(zip(names, a))).logits)
    return build


def spans(words=6, width=3):
    x = torch.randint(6, 60, (1, N), generator=seeded())
    x[0, 1], x[0, 3] = 4, 4  # the labels' marks
    mask = torch.zeros(1, N, dtype=torch.int64)
    mask[0, 6:6 + words] = torch.arange(1, words + 1)
    idx = torch.tensor([[[i, i + w] for i in range(words) for w in range(width)]])
    return {"input_ids": x, "attention_mask": torch.ones(1, N, dtype=torch.int64), "words_mask": mask, "text_lengths": torch.tensor([[words]]),
            "span_idx": idx, "span_mask": idx[..., 1] < words}


def chosen(make, names):
    return lambda: {k: make()[k] for k in names}


SPAN = ("input_ids", "attention_mask", "words_mask", "text_lengths", "span_idx", "span_mask")
add("gliner_spans", gliner("UniEncoderSpan", SPAN, span_mode="markerV0"), spans, target="0,2,1,0")
add("gliner_tokens", gliner("UniEncoderToken", SPAN[:4], span_mode="token_level"), chosen(spans, SPAN[:4]), target="0,2,1,0")


# ------------------------------------------------------------------ tables, time series
def rtdl():
    from rtdl_revisiting_models import FTTransformer
    return FTTransformer(n_cont_features=5, cat_cardinalities=[4, 7, 3], d_out=3, n_blocks=3, d_block=32, attention_n_heads=4, attention_dropout=0.0, ffn_d_hidden=48, ffn_d_hidden_multiplier=None, ffn_dropout=0.0, residual_dropout=0.0)


add("rtdl_revisiting", rtdl, together(floats(x_cont=(1, 5)), fixed(x_cat=torch.tensor([[2, 5, 1]]))))


def tabnet(mask):
    def build():
        from pytorch_tabnet.tab_network import TabNet
        return Call(TabNet(input_dim=8, output_dim=3, n_d=8, n_a=8, mask_type=mask, group_attention_matrix=torch.eye(8)), lambda m, x: m(x)[0])
    return build


add("tabnet_sparsemax", tabnet("sparsemax"), floats(x=(1, 8)), explain=False)
add("tabnet_entmax", tabnet("entmax"), floats(x=(1, 8)), explain=False)


def neural(name, inputs, run=None, **kw):
    """run(model, series): what goes in as a batch of windows"""
    def build():
        import neuralforecast.models as models
        m = getattr(models, name)(h=4, input_size=24, **kw)
        return Call(m, run or (lambda m, x: m({"insample_y": x, "insample_mask": torch.ones_like(x), "futr_exog": None, "hist_exog": None, "stat_exog": None})))
    add_image("neuralforecast_" + name.lower(), build, inputs, target="0,1,0")


ONE = floats(series=(1, 24, 1))
neural("PatchTST", ONE, encoder_layers=2, n_heads=4, hidden_size=16, linear_hidden_size=32, patch_len=8, stride=4)
neural("iTransformer", floats(series=(1, 24, 5)), n_series=5, hidden_size=16, n_heads=4, e_layers=3, d_ff=32)
neural("VanillaTransformer", ONE, hidden_size=16, n_head=4, encoder_layers=2, decoder_layers=1)
neural("Informer", ONE, hidden_size=16, n_head=4, encoder_layers=2, decoder_layers=1)
neural("Autoformer", ONE, hidden_size=16, n_head=4, encoder_layers=2, decoder_layers=1)
neural("TFT", ONE, hidden_size=16, n_head=4)
neural("TimeXer", floats(series=(1, 24, 5)), n_series=5, hidden_size=16, n_heads=4, e_layers=2, d_ff=32, patch_len=8)
neural("SOFTS", floats(series=(1, 24, 5)), n_series=5, hidden_size=16, d_core=8, e_layers=2, d_ff=32)


def tsai(name, **kw):
    def build():
        import importlib
        return getattr(importlib.import_module("tsai.models." + name), name)(**kw)
    return build


SERIES = floats(series=(1, 3, 24))
add_image("tsai_tst", tsai("TST", c_in=3, c_out=4, seq_len=24, n_layers=3, d_model=32, n_heads=4, d_ff=48), SERIES)
add_image("tsai_tstplus", tsai("TSTPlus", c_in=3, c_out=4, seq_len=24, n_layers=3, d_model=32, n_heads=4, d_ff=48), SERIES)
add_image("tsai_tsit", tsai("TSiTPlus", c_in=3, c_out=4, seq_len=24, d_model=32, depth=3, n_heads=4, verbose=False), SERIES)
add_image("tsai_tsit_token", tsai("TSiTPlus", c_in=3, c_out=4, seq_len=24, d_model=32, depth=3, n_heads=4, use_token=True, lsa=True, verbose=False), SERIES)
add_image("tsai_patchtst", tsai("PatchTST", c_in=3, c_out=3, seq_len=24, pred_dim=4, n_layers=2, n_heads=4, d_model=16, d_ff=32, patch_len=8, stride=4), SERIES, target="0,1,2")
add_image("tsai_transformer", tsai("TransformerModel", c_in=3, c_out=4, d_model=32, n_head=4, d_ffn=48, n_layers=3), SERIES)
add_image("tsai_perceiver", tsai("TSPerceiver", c_in=3, c_out=4, seq_len=24, n_latents=6, d_latent=16, n_layers=2, self_per_cross_attn=1), SERIES)


def autoint(dense):
    """ids come as floats, in one array with numbers if there are any"""
    def build():
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import AutoInt
        columns = [SparseFeat(f"s{i}", 10, embedding_dim=8) for i in range(4)] + [DenseFeat(f"d{i}", 1) for i in range(dense)]
        return AutoInt(columns, columns, att_layer_num=3, att_head_num=2, dnn_hidden_units=(16,))
    return build


add("deepctr_autoint", autoint(0), fixed(features=torch.tensor([[2.0, 5.0, 1.0, 7.0]])), target="0,0")
add("deepctr_autoint_dense", autoint(2), fixed(features=torch.tensor([[2.0, 5.0, 1.0, 7.0, 0.3, -0.8]])), target="0,0")


def recbole():
    def build():
        from recbole.model.layers import TransformerEncoder
        m = nn.ModuleDict({"things": nn.Embedding(60, 32), "places": nn.Embedding(N, 32), "norm": nn.LayerNorm(32), "encoder": TransformerEncoder(3, 4, 32, 48, 0.0, 0.0, "gelu", 1e-12)})

        def run(m, x):  # SASRec's forward and full-sort scores
            x0 = m["norm"](m["things"](x) + m["places"].weight)
            mask = torch.where((x != 0)[:, None, None, :] & torch.ones(N, N, dtype=torch.bool).tril(), 0.0, -10000.0)
            h = m["encoder"](x0, mask, output_all_encoded_layers=True)[-1][:, -1]
            return h @ m["things"].weight.T
        return Call(m, run)
    return build


add("recbole_sasrec", recbole(), ids(), target="0,9")


def moment():
    from momentfm import MOMENTPipeline
    import transformers as tf
    m = MOMENTPipeline({"task_name": "forecasting", "forecast_horizon": 4, "seq_len": 64, "patch_len": 8, "patch_stride_len": 8, "d_model": 32, "transformer_backbone": "google/flan-t5-small", "revin_affine": False,
                        "transformer_type": "encoder_only", "model_kwargs": {"task_name": "forecasting", "forecast_horizon": 4}, "t5_config": tf.T5Config(d_model=32, d_ff=48, d_kv=8, num_heads=4, num_layers=3, vocab_size=60).to_dict(), "randomly_initialize_backbone": True},
                       model_kwargs={"task_name": "forecasting", "forecast_horizon": 4})
    m.init()
    return Call(m, lambda m, x: m(x_enc=x).forecast)


add_image("momentfm", moment, floats(series=(1, 2, 64)), target="0,1,2")


def chronos_bolt():
    import transformers as tf
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    c = tf.T5Config(d_model=32, d_ff=48, d_kv=8, num_heads=4, num_layers=3, num_decoder_layers=2, vocab_size=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, feed_forward_proj="relu", is_encoder_decoder=True, tie_word_embeddings=False)
    c._attn_implementation = "eager"
    c.chronos_config = dict(context_length=32, prediction_length=8, input_patch_size=4, input_patch_stride=4, quantiles=[0.1, 0.5, 0.9], use_reg_token=True)
    c.reg_token_id = 1
    return Call(ChronosBoltModelForForecasting(c), lambda m, x: m(context=x).quantile_preds)


add_image("chronos_bolt", chronos_bolt, floats(context=(1, 32)), target="0,1,3")


def curated():
    from curated_transformers.layers import AttentionMask
    from curated_transformers.models.bert import BERTConfig
    from curated_transformers.models import BERTEncoder
    m = BERTEncoder(BERTConfig(embedding_width=32, hidden_width=32, intermediate_width=48, n_attention_heads=4, n_hidden_layers=3, n_pieces=60, n_positions=40, model_max_length=40, attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0))
    return Call(m, lambda m, x: m(x, AttentionMask(torch.ones_like(x, dtype=torch.bool))).last_hidden_layer_state)


add("curated_bert", curated, ids(), target="0,3,9")


def graph_transformer():
    import torch_geometric.nn as g
    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 0, 3], [1, 2, 3, 4, 5, 0, 0, 1, 2, 3, 4, 5, 3, 0]])
    m = nn.ModuleList([g.TransformerConv(8, 8, heads=2), g.TransformerConv(16, 8, heads=2)])
    return Call(m, lambda m, x: m[1](torch.relu(m[0](x, edges)), edges))


add("pyg_transformer_conv", graph_transformer, floats(x=(6, 8)), target="2,3", text=False)


def gps():
    import torch_geometric.nn as g
    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 0, 1, 2, 3, 4, 5]])
    m = nn.ModuleList([g.GPSConv(16, g.GCNConv(16, 16), heads=4) for _ in range(3)])

    def run(m, x):
        for layer in m:
            x = layer(x, edges)
        return x.mean(0, keepdim=True)
    return Call(m, run)


add("pyg_gps", gps, floats(x=(6, 16)), target="0,3", text=False)


def perceiver_lucid():
    def build():
        import perceiver_pytorch as pp
        return pp.Perceiver(num_freq_bands=3, depth=2, max_freq=8.0, input_channels=3, input_axis=2, num_latents=8, latent_dim=32, cross_heads=1, latent_heads=4, cross_dim_head=8, latent_dim_head=8, num_classes=5)
    return build


add_image("perceiver_lucid", perceiver_lucid(), floats(pixels=(1, 8, 8, 3)))


def local(**kw):
    def build():
        from local_attention import LocalTransformer
        return LocalTransformer(num_tokens=60, dim=32, depth=3, max_seq_len=N, heads=4, dim_head=8, local_attn_window_size=4, num_residual_streams=1, **kw)
    return build


add("local_attention", local(), ids(), target="0,15,9")
add("local_attention_both", local(causal=False), ids(), target="0,9,9")
