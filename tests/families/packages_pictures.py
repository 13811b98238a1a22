"""Rows for packages.py: restoration of pictures (spandrel), whose decoders grow tokens again, and small packages with an attention of
their own (axial, agent and halo attention, induced points, points in space, feedback memory, mixtures of experts by softmax)."""
import torch
import torch.nn as nn
from packages import N, add, add_image, floats, ids, image
from packages_more import of

ARCHITECTURES = "spandrel.architectures."


def restored(tag, name, size=16, folder=ARCHITECTURES, **kw):
    add_image("sr_" + tag, of(folder + name, name, **kw), image(size), target="0,1,5,6")


WINDOWED = dict(img_size=16, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4, mlp_ratio=2, upscale=2)
restored("swinir", "SwinIR", upsampler="pixelshuffledirect", **WINDOWED)
restored("swin2sr", "Swin2SR", upsampler="pixelshuffledirect", **WINDOWED)
restored("hat", "HAT", compress_ratio=4, squeeze_factor=4, num_feat=8, **WINDOWED)
restored("drct", "DRCT", gc=8, upsampler="pixelshuffle", **WINDOWED)
restored("omnisr", "OmniSR", num_feat=16, block_num=1, window_size=4, res_num=1, up_scale=2)
restored("scunet", "SCUNet", 64, config=[1] * 7, dim=64, input_resolution=64)
restored("uformer", "Uformer", 128, img_size=128, embed_dim=8, depths=[1] * 9, num_heads=[1] + [2] * 8, win_size=8, mlp_ratio=2)
restored("ipt", "IPT", 12, patch_size=12, patch_dim=3, n_feats=4, num_heads=4, num_layers=2, scale=[2])
restored("fdat", "FDAT", scale=2, embed_dim=16, num_groups=1, depth_per_group=2, num_heads=2, window_size=4, mid_dim=8)
restored("grl", "GRL", img_size=16, embed_dim=16, upscale=2, upsampler="pixelshuffledirect", depths=[2], num_heads_window=[2], num_heads_stripe=[2], window_size=4,
         stripe_size=[4, 4], stripe_groups=[None, None], anchor_window_down_factor=2, mlp_ratio=2)
restored("restormer", "Restormer", folder="spandrel_extra_arches.architectures.", dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 2, 2, 2])


class Around(nn.Module):
    """what a package offers, `depth` times around skip connections, between embedding and mean"""
    def __init__(self, make, depth=2, dim=32):
        super().__init__()
        self.e, self.p, self.h = nn.Embedding(60, dim), nn.Parameter(torch.randn(1, N, dim)), nn.Linear(dim, 3)
        self.layers = nn.ModuleList([make() for _ in range(depth)])
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(depth)])

    def forward(self, x):
        x = self.e(x) + self.p
        for norm, layer in zip(self.norms, self.layers):
            y = layer(norm(x))
            x = x + (y[0] if isinstance(y, tuple) else y)
        return self.h(x.mean(1))


class OnGrid(nn.Module):
    """the same on a grid of patches [batch, features, rows, columns]"""
    def __init__(self, make, depth=2, dim=32):
        super().__init__()
        self.patches, self.h = nn.Conv2d(3, dim, 4, 4), nn.Linear(dim, 3)
        self.layers = nn.ModuleList([make() for _ in range(depth)])

    def forward(self, x):
        x = self.patches(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.h(x.mean((2, 3)))


class Points(nn.Module):
    """a vector of probabilities for each pair of points"""
    def __init__(self, near):
        super().__init__()
        from point_transformer_pytorch import PointTransformerLayer
        self.i, self.h = nn.Linear(3, 32), nn.Linear(32, 3)
        self.layers = nn.ModuleList([PointTransformerLayer(dim=32, pos_mlp_hidden_dim=16, attn_mlp_hidden_mult=2, num_neighbors=near) for _ in range(2)])

    def forward(self, points):
        x = self.i(points)
        for layer in self.layers:
            x = x + layer(x, points)
        return self.h(x.mean(1))


HEADS = dict(dim=32, heads=4, dim_head=8)
for tag, module, name, kw in (("agent", "agent_attention_pytorch", "AgentSelfAttention", dict(num_agent_tokens=4, **HEADS)), ("isab", "isab_pytorch", "ISAB", dict(dim=32, heads=4, num_latents=5)),
                              ("soft_moe", "soft_moe_pytorch", "SoftMoE", dict(dim=32, seq_len=N, num_experts=4)), ("h1d", "h_transformer_1d.h_transformer_1d", "HAttention1D", dict(block_size=4, **HEADS))):
    add("small_" + tag, lambda make=of(module, name, **kw): Around(make), ids(), target="0,1")
for tag, module, name, run, kw in (("feedback", "feedback_transformer_pytorch", "FeedbackTransformer", None, dict(mem_len=8, seq_len=2)), ("tranception", "tranception_pytorch", "Tranception", None, {}),
                                   ("infini", "infini_transformer_pytorch", "InfiniTransformer", lambda m, x: m(x)[0], {}), ("rela", "rela_transformer.rela_transformer", "ReLATransformer", None, dict(max_seq_len=N))):
    add("small_" + tag, of(module, name, run, num_tokens=60, depth=2, **HEADS, **kw), ids(), target="0,15,9")
add_image("small_axial", lambda: OnGrid(of("axial_attention", "AxialAttention", dim=32, heads=4, dim_index=1)), image(16), target="0,1")
add_image("small_halo", lambda: OnGrid(of("halonet_pytorch", "HaloAttention", block_size=2, halo_size=1, **HEADS)), image(16), target="0,1")
add("small_points", lambda: Points(None), floats(points=(1, N, 3)), text=False, target="0,1")
add("small_points_near", lambda: Points(6), floats(points=(1, N, 3)), text=False, target="0,1")
