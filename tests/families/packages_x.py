"""Rows for packages.py: x_transformers, whose settings are what papers propose for attention, norms, positions and residuals; one
setting a row, causal language models and bidirectional classifiers."""
import torch
from packages import Call, N, add, add_image, fixed, floats, ids, together

SIZE = dict(dim=32, depth=3, heads=4, attn_dim_head=8, ff_mult=2)


def lm(tag, causal=True, wrapper=None, target="0,15,9", inputs=None, run=None, **kw):
    def build():
        import x_transformers as x
        layers = (x.Decoder if causal else x.Encoder)(**{**SIZE, "verbose": False, **kw})
        m = x.TransformerWrapper(**{"num_tokens": 60, "max_seq_len": N, "attn_layers": layers, **(wrapper or {})})
        return Call(m, run) if run else m
    add("xt_" + tag, build, inputs or ids(), target=target)


def both(tag, **kw):
    lm(tag, **kw)
    lm(tag + "_both", False, **{"target": "0,9,9", **kw})


both("plain")
for name in ("use_scalenorm", "use_rmsnorm", "use_simple_rmsnorm", "use_dynamic_tanh", "use_derf", "alibi_pos_bias", "rel_pos_bias", "dynamic_pos_bias", "rotary_pos_emb", "polar_pos_emb", "residual_attn", "macaron", "gate_residual",
             "orthog_residual", "scale_residual", "sandwich_norm", "pre_and_post_norm", "softclamp_output", "use_layerscale", "weight_tie_layers", "reinject_input", "add_value_residual", "attn_talking", "attn_head_scale",
             "attn_qk_norm", "attn_qk_rmsnorm", "attn_value_rmsnorm", "attn_l2_distance", "attn_sigmoid", "attn_selective", "attn_cog_signed", "attn_one_kv_head", "attn_add_zero_kv", "attn_head_learned_sink", "attn_gate_values",
             "attn_swiglu_values", "attn_output_gate", "attn_gate_value_heads", "attn_use_rel_proj_pos_bias", "attn_softclamp_logits", "attn_laser", "attn_inverted_attention", "attn_onnxable", "attn_hard", "attn_on_attn", "ff_glu",
             "ff_swish", "ff_relu_squared", "ff_solu", "ff_post_act_ln", "ff_no_bias", "only_attn", "integrate_layers", "mv_split_residual", "attn_orthog_projected_values", "attn_data_dependent_alibi", "attn_use_cope"):
    settings = {"attn_talking": {"attn_pre_talking_heads": True, "attn_post_talking_heads": True}}.get(name, {name: True})
    causal_only = name in ("attn_selective", "attn_data_dependent_alibi", "attn_use_cope")
    (lm if causal_only else both)(name.removeprefix("use_"), **settings)
lm("post_norm", pre_norm=False)
lm("xpos", rotary_pos_emb=True, rotary_xpos=True)
lm("shift", shift_tokens=1)
lm("sandwich_order", sandwich_coef=2, depth=4)
lm("streams", num_residual_streams=2)
lm("sparse_topk", attn_sparse_topk=4)
lm("kv_heads", attn_kv_heads=2)
lm("mem_kv", attn_num_mem_kv=3)
lm("past", attn_max_attend_past=5)
lm("latent", attn_use_latent_kv=True, attn_dim_latent_kv=12, attn_use_latent_q=True, attn_dim_latent_q=12)
lm("rotate_some", rotary_pos_emb=True, rotate_num_heads=2)
lm("unet", False, unet_skips=True, depth=4, target="0,9,9")
lm("glu_swish", ff_glu=True, ff_swish=True)
lm("memory_tokens", wrapper=dict(num_memory_tokens=3))
lm("memory_between", wrapper=dict(num_memory_tokens=2, memory_tokens_interspersed_every=4))
lm("l2_embed", wrapper=dict(l2norm_embed=True, post_emb_norm=True))
lm("mixture_of_softmax", wrapper=dict(mixture_of_softmax=True))
lm("recycling", wrapper=dict(recycling=True), run=lambda m, x: m(x, recycle_steps=2))
for name, kw in (("average", dict(average_pool_embed=True)), ("cls", dict(use_cls_token=True)), ("pool", dict(attn_pool=True, num_pooled_tokens=1, squeeze_out_last_dim=False))):
    lm("embed_" + name, False, wrapper=dict(logits_dim=5, **kw), target="0,3" if name != "pool" else "0,0,3")
lm("masked", False, target="0,9,9", inputs=together(ids(), fixed(mask=torch.tensor([[True] * 13 + [False] * 3]))), run=lambda m, x, k: m(x, mask=k))


def seq2seq(tag, run=None, **kw):
    def build():
        import x_transformers as x
        m = x.XTransformer(**{"dim": 32, "enc_num_tokens": 60, "enc_depth": 2, "enc_heads": 4, "enc_max_seq_len": N, "enc_attn_dim_head": 8, "dec_num_tokens": 60, "dec_depth": 2, "dec_heads": 4, "dec_max_seq_len": N,
                              "dec_attn_dim_head": 8, **kw})
        return Call(m, lambda m, a, b: m.decoder.net(b, context=m.encoder(a, return_embeddings=True)))
    add("xt_" + tag, build, together(ids(name="source"), ids(9, name="target")), target="0,8,9")


seq2seq("seq2seq")
seq2seq("seq2seq_rel", enc_rel_pos_bias=True, dec_rel_pos_bias=True)
seq2seq("seq2seq_cross_residual", dec_cross_residual_attn=True)


def vit(tag, wrapper=None, **kw):
    def build():
        import x_transformers as x
        return x.ViTransformerWrapper(**{"image_size": 32, "patch_size": 8, "num_classes": 5, "attn_layers": x.Encoder(**{**SIZE, "verbose": False, **kw}), **(wrapper or {})})
    add_image("xt_vit_" + tag, build, target="0,3")


vit("plain")
vit("registers", wrapper=dict(num_register_tokens=3), use_rmsnorm=True, ff_glu=True)


def continuous(tag, causal=True, **kw):
    def build():
        import x_transformers as x
        return x.ContinuousTransformerWrapper(dim_in=6, dim_out=4, max_seq_len=N, attn_layers=(x.Decoder if causal else x.Encoder)(**SIZE, verbose=False), **kw)
    add("xt_" + tag, build, floats(series=(1, N, 6)), target="0,15,2", text=False)


continuous("continuous")
continuous("continuous_both", False)
