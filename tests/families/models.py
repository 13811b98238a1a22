"""Hand-written transformers in the spellings that people use: packed projections, einsum, baddbmm, patches by Reshape,
unfold or NHWC, talking heads, gated attention, pooling by a learned query, torch's own layers."""
import os
import torch
import torch.nn as nn
import torch.nn.functional as F

TINY = bool(os.environ.get("TINY"))  # for the files that go into tests/data
D, H, N, VOCAB, WIDE, PATCH = (8, 2, 6, 12, 12, 4) if TINY else (32, 4, 16, 60, 48, 8)


class MeanPooled(nn.Module):
    """sentence-transformers: mean of the unmasked tokens, normalised or not"""
    def __init__(self, model, normalize=False):
        super().__init__()
        self.model, self.normalize = model, normalize

    def forward(self, **kw):
        x = self.model(**kw)[0]
        m = kw["attention_mask"].unsqueeze(-1).expand(x.size()).float()
        e = (x * m).sum(1) / m.sum(1).clamp(min=1e-9)
        return (x, F.normalize(e, p=2, dim=1)) if self.normalize else (e,)


class Pooled(nn.Module):
    """a bare backbone with a linear head on its class token, its mean ("rows": of tokens without a batch), both, or its feature map's mean"""
    def __init__(self, model, pool="cls"):
        super().__init__()
        self.model, self.pool, c = model, pool, model.config
        d = getattr(c, "hidden_size", getattr(c, "d_model", None))
        d = getattr(c, "output_channels", d) if pool == "grid" else d
        self.head = nn.Linear(2 * d if pool == "cls_mean" else d, 5)

    def forward(self, *args, **kw):
        x = self.model(*args, **kw)[0]
        p = self.pool
        x = x[:, 0] if p == "cls" else x.mean(0, keepdim=True) if p == "rows" else x.mean(1) if p == "mean" else x.mean((2, 3)) if p == "grid" else torch.cat([x[:, 0], x[:, 1:].mean(1)], -1)
        return self.head(x)


class Named(nn.Module):
    """a model whose result is read by name, whatever class it has"""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, **kw):
        return dict(self.model(**kw).items())


class Logits(nn.Module):
    """an image classifier of any library, by its scores alone"""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        r = self.model(image)
        return getattr(r, "logits", r)


class QFormer(nn.Module):
    """BLIP-2: learned queries read the picture's tokens"""
    def __init__(self, vision, qformer):
        super().__init__()
        self.vision, self.qformer, self.head = vision, qformer, nn.Linear(D, 5)
        self.queries = nn.Parameter(torch.randn(1, 6, D))

    def forward(self, pixel_values):
        x = self.vision(pixel_values=pixel_values)[0]
        q = self.qformer(query_embeds=self.queries.expand(x.shape[0], -1, -1), encoder_hidden_states=x)[0]
        return self.head(q[:, 0])


class Captioner(nn.Module):
    """an image encoder and a text decoder with cross-attention"""
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, pixel_values, input_ids):
        return self.decoder(input_ids=input_ids, encoder_hidden_states=self.encoder(pixel_values=pixel_values)[0])[0]


class Flava(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.head = model, nn.Linear(D, 5)

    def forward(self, **kw):
        return self.head(self.model(**kw).multimodal_output[0][:, 0])


class MgpStr(nn.Module):
    """three heads, each an attention of learned queries (A³ modules)"""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return tuple(self.model(pixel_values).logits)


def timm_block(name):
    import timm.models.vision_transformer as v
    return getattr(v, name)


def timm_class(name):
    """of one of timm's files, as file:Class"""
    import importlib
    return getattr(importlib.import_module("timm.models." + name.split(":")[0]), name.split(":")[1])


def timm_builder(arch, kw):
    def build(attention):
        import timm
        import timm.layers
        timm.layers.set_fused_attn(attention == "sdpa")
        if ":" in arch:
            return timm_class(arch)(**kw)
        return timm.create_model(arch, pretrained=False, **kw)
    return build


def torchvision_vit():
    from torchvision.models import VisionTransformer
    return VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=5)


def torchvision_builder(name):
    """small versions of torchvision's hierarchical models"""
    import functools
    import torchvision.models as tv
    from torchvision.models import swin_transformer as sw
    small = dict(patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=5)
    return {"swin_t": lambda a: tv.SwinTransformer(**small),
            "swin_v2_t": lambda a: tv.SwinTransformer(**small, block=sw.SwinTransformerBlockV2, downsample_layer=sw.PatchMergingV2),
            "maxvit_t": lambda a: tv.MaxVit(input_size=(64, 64), stem_channels=8, block_channels=[8, 16], block_layers=[1, 1], head_dim=8, stochastic_depth_prob=0.0, partition_size=4, num_classes=5,
                                            norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01))}[name]


# ------------------------------------------------------------------ attentions in many spellings
class Attention(nn.Module):
    """kind says how the same thing is written"""
    def __init__(self, kind, d=D, heads=H):
        super().__init__()
        self.kind, self.h, self.e = kind, heads, d // heads
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mix = nn.Linear(heads, heads, bias=False)
        self.premix = nn.Linear(heads, heads)
        self.gate = nn.Linear(d, d)
        self.gain = nn.Parameter(torch.ones(d // heads)) if kind == "normalised_heads" else None

    def split(self, x):
        b, n, d = x.shape
        k, h, e = self.kind, self.h, self.e
        if k == "normalised_heads":  # and rotated but for a class token: ViT-5, Qwen3
            q, kk, v = [t.reshape(b, n, h, e).transpose(1, 2) for t in self.qkv(x).chunk(3, -1)]
            q, kk = [F.normalize(t, dim=-1) * e ** 0.5 * self.gain for t in (q, kk)]
            return q, kk, v
        if k == "bias_by_head":  # Keras: the bias has the shape of the split features
            y = F.linear(x, self.qkv.weight).reshape(b, n, 3, h, e) + self.qkv.bias.view(3, h, e)
            return y.permute(2, 0, 3, 1, 4).unbind(0)
        if k == "bias_turned":  # the same where the heads stand already
            y = F.linear(x, self.qkv.weight).reshape(b, n, 3, h, e, 1).squeeze(-1).permute(2, 0, 3, 1, 4)
            return (y + self.qkv.bias.view(3, 1, h, 1, e)).unbind(0)
        y = self.qkv(x)
        if k == "packed_head_major":  # [h, 3, e]: GPT-NeoX, BLOOM
            y = y.reshape(b, n, h, 3, e)
            return [y[..., i, :].transpose(1, 2) for i in range(3)]
        if k == "packed_e_last":  # [h, e, 3]
            y = y.reshape(b, n, h, e, 3).permute(4, 0, 2, 1, 3)
            return y[0], y[1], y[2]
        if k == "packed_unbind":
            return y.reshape(b, n, 3, h, e).permute(2, 0, 3, 1, 4).unbind(0)
        return [t.reshape(b, n, h, e).transpose(1, 2) for t in y.chunk(3, -1)]

    def forward(self, x):
        b, n, d = x.shape
        k, h, e = self.kind, self.h, self.e
        s = e ** -0.5
        if k == "seq_first":  # fairseq: tokens × (batch heads) × e
            q, kk, v = [t.transpose(0, 1).contiguous().view(n, b * h, e).transpose(0, 1) for t in self.qkv(x).chunk(3, -1)]
            p = torch.bmm(q * s, kk.transpose(1, 2)).softmax(-1)
            return self.out(torch.bmm(p, v).transpose(0, 1).contiguous().view(n, b, d).transpose(0, 1))
        q, kk, v = self.split(x)
        if k == "einsum":
            p = torch.einsum("bhid,bhjd->bhij", q, kk).mul(s).softmax(-1)
            o = torch.einsum("bhij,bhjd->bhid", p, v)
        elif k == "einsum_bnhd":
            q, kk, v = [t.transpose(1, 2) for t in (q, kk, v)]
            p = torch.einsum("bqhd,bkhd->bhqk", q * s, kk).softmax(-1)
            return self.out(torch.einsum("bhqk,bkhd->bqhd", p, v).reshape(b, n, d))
        elif k == "einsum_keys_first":  # softmax over the first of two token axes
            p = torch.einsum("bhjd,bhid->bhji", kk, q * s).softmax(2)
            o = torch.einsum("bhji,bhjd->bhid", p, v)
        elif k == "baddbmm":
            q, kk, v = [t.reshape(b * h, n, e) for t in (q, kk, v)]
            bias = torch.zeros(b * h, n, n)
            p = torch.baddbmm(bias, q, kk.transpose(1, 2), beta=1.0, alpha=s).softmax(-1)
            o = torch.bmm(p, v).view(b, h, n, e)
        elif k == "sdpa":
            o = F.scaled_dot_product_attention(q, kk, v)
        elif k == "sdpa_causal":
            o = F.scaled_dot_product_attention(q, kk, v, is_causal=True)
        elif k == "transposed":  # Vᵀ Pᵀ
            p = (q @ kk.transpose(-2, -1) * s).softmax(-1)
            o = (v.transpose(-2, -1) @ p.transpose(-2, -1)).transpose(-2, -1)
        elif k == "talking_turned":  # an optimiser makes a Gemm of the mixing, which wants one row for each query and key
            a = self.premix((q @ kk.transpose(-2, -1) * s).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(-1)
            o = F.linear(a.permute(0, 2, 3, 1), self.mix.weight, self.premix.bias).permute(0, 3, 1, 2) @ v
        elif k == "talking":
            a = self.premix((q @ kk.transpose(-2, -1) * s).permute(0, 2, 3, 1)).softmax(-2)
            o = self.mix(a).permute(0, 3, 1, 2) @ v
        elif k == "differential":  # of two softmaxes over the same keys
            first, other = [(x @ y.transpose(-2, -1) * s).softmax(-1) for x, y in zip(q.chunk(2, -1), kk.chunk(2, -1))]
            o = (first - 0.4 * other) @ v
        elif k == "conv_talking":
            a = (q @ kk.transpose(-2, -1) * s)
            a = F.conv2d(a, self.premix.weight[:, :, None, None]).softmax(-1)
            o = F.conv2d(a, self.mix.weight[:, :, None, None]) @ v
        elif k in ("rotate_patches", "normalised_heads"):  # DINOv3, EVA: class token and two registers have no place
            t = torch.arange(n - 3)[:, None] * torch.exp(-torch.arange(e // 2) * 0.5)
            turn = lambda x: torch.cat([x[..., :e // 2] * t.cos() - x[..., e // 2:] * t.sin(), x[..., e // 2:] * t.cos() + x[..., :e // 2] * t.sin()], -1)
            q, kk = [torch.cat([x[:, :, :3], turn(x[:, :, 3:])], 2) for x in (q, kk)]
            o = (q @ kk.transpose(-2, -1) * s).softmax(-1) @ v
        elif k == "cosine":
            a = F.normalize(q, dim=-1) @ F.normalize(kk, dim=-1).transpose(-2, -1) * 5.0
            o = a.softmax(-1) @ v
        elif k == "softmax_by_hand":
            a = q @ kk.transpose(-2, -1) * s
            a = torch.exp(a - a.amax(-1, keepdim=True))
            o = (a / a.sum(-1, keepdim=True)) @ v
        elif k == "divide_after":  # flash-like: normalise after the product
            a = torch.exp(q @ kk.transpose(-2, -1) * s)
            o = (a @ v) / a.sum(-1, keepdim=True)
        elif k == "softmax_plus_one":
            a = torch.cat([q @ kk.transpose(-2, -1) * s, torch.zeros(b, h, n, 1)], -1).softmax(-1)[..., :-1]
            o = a @ v
        elif k == "masked_after":
            a = (q @ kk.transpose(-2, -1) * s).softmax(-1) * torch.tril(torch.ones(n, n))
            o = (a / a.sum(-1, keepdim=True)) @ v
        elif k == "topk":
            a = q @ kk.transpose(-2, -1) * s
            t = a.topk(6, dim=-1)[0][..., -1:]
            o = a.masked_fill(a < t, float("-inf")).softmax(-1) @ v
        elif k == "written":  # into memory, part by part (DeepSeek)
            keys = torch.zeros_like(kk)
            keys[..., e // 2:] = kk[..., e // 2:]
            keys[..., :e // 2] = kk[..., :e // 2]
            o = (q @ keys.transpose(-2, -1) * s).softmax(-1) @ v
        elif k == "gated":
            o = (q @ kk.transpose(-2, -1) * s).softmax(-1) @ v
            return self.out(o.transpose(1, 2).reshape(b, n, d) * torch.sigmoid(self.gate(x)))
        elif k == "heads_loop":
            o = torch.stack([(q[:, i] @ kk[:, i].transpose(-2, -1) * s).softmax(-1) @ v[:, i] for i in range(h)], 1)
        else:
            o = (q @ kk.transpose(-2, -1) / e ** 0.5).softmax(-1) @ v
        return self.out(o.transpose(1, 2).reshape(b, n, d))


class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class HandNorm(nn.Module):
    """LayerNorm as the original BERT code wrote it"""
    def __init__(self, d):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))

    def forward(self, x):
        u = x.mean(-1, keepdim=True)
        s = (x - u).pow(2).mean(-1, keepdim=True)
        return self.weight * ((x - u) / torch.sqrt(s + 1e-12)) + self.bias


class GRN(nn.Module):
    def forward(self, x):
        g = x.norm(dim=1, keepdim=True)
        return x + x * (g / (g.mean(-1, keepdim=True) + 1e-6)) * 0.3


class Mlp(nn.Module):
    def __init__(self, kind, d=D):
        super().__init__()
        self.kind = kind
        wide = 2 if kind in ("swiglu", "geglu") else 1
        self.a, self.b = nn.Linear(d, WIDE * wide), nn.Linear(WIDE, d)

    def forward(self, x):
        x = self.a(x)
        k = self.kind
        if k == "swiglu":
            a, b = x.chunk(2, -1)
            x = F.silu(a) * b
        elif k == "geglu":
            a, b = x.chunk(2, -1)
            x = a * F.gelu(b)
        elif k == "quick":
            x = x * torch.sigmoid(1.702 * x)
        elif k == "relu2":
            x = F.relu(x) ** 2
        elif k == "hand_tanh":
            x = 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x ** 3)))
        elif k == "hand_erf":
            x = x * 0.5 * (1.0 + torch.erf(x / 2 ** 0.5))
        elif k == "mish":
            x = F.mish(x)
        elif k == "hardswish":
            x = F.hardswish(x)
        elif k == "elu1":
            x = F.elu(x) + 1
        elif k == "parabola":
            x = 0.5 * F.relu(x) ** 2 - 0.2 * F.relu(-x) - 0.3 * x
        elif k == "parabola_pieces":  # as xIELU, with a part that both pieces share
            t = 0.3 * x
            x = torch.where(x > 0, 0.5 * x ** 2 - t, 0.2 * x - t)
        else:
            x = F.gelu(x)
        return self.b(x)


class Block(nn.Module):
    def __init__(self, attention="plain", mlp="gelu", norm=nn.LayerNorm, order="pre"):
        super().__init__()
        self.attn, self.mlp, self.n1, self.n2, self.order = Attention(attention), Mlp(mlp), norm(D), norm(D), order
        self.scale = nn.Parameter(torch.ones(D))
        self.attn2 = Attention(attention) if order == "two_attentions" else None

    def forward(self, x):
        if self.order == "post":
            x = self.n1(x + self.attn(x))
            return self.n2(x + self.mlp(x))
        if self.order == "parallel":
            y = self.n1(x)
            return x + self.attn(y) + self.mlp(y)
        if self.order == "two_attentions":
            y = self.n1(x)
            x = x + (self.attn(y) + self.attn2(y))
            return x + self.mlp(self.n2(x))
        if self.order == "sandwich":
            x = x + self.n1(self.attn(x))
            return x + self.n2(self.mlp(x))
        if self.order == "scaled":
            x = x + self.scale * self.attn(self.n1(x))
            return x + 0.5 * self.mlp(self.n2(x))
        if self.order == "deepnorm":
            x = self.n1(x * 1.7 + self.attn(x))
            return self.n2(x * 1.7 + self.mlp(x))
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))


class TextModel(nn.Module):
    def __init__(self, pool="mean", depth=2, position="learned", **kw):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, D)
        self.pos = nn.Parameter(torch.randn(1, N + 4, D))
        self.blocks = nn.ModuleList([Block(**kw) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 5)
        self.pool, self.position = pool, position
        self.query, self.score = nn.Parameter(torch.randn(1, 1, D)), nn.Linear(D, 1)
        self.cls = nn.Parameter(torch.randn(1, 1, D))

    def forward(self, ids):
        x = self.embed(ids)
        b, n, d = x.shape
        if self.position == "sin":
            t = torch.arange(n)[:, None] * torch.exp(torch.arange(0, d, 2) * -0.3)
            x = x * d ** 0.5 + torch.stack([t.sin(), t.cos()], -1).reshape(1, n, d)
        elif self.position == "onehot":
            x = F.one_hot(ids, VOCAB).float() @ self.embed.weight + self.pos[:, :n]
        else:
            x = x + self.pos[:, :n]
        if self.pool == "cls":
            x = torch.cat([self.cls.expand(b, -1, -1), x], 1)
        for blk in self.blocks:
            x = blk(x)
        x = self.norm(x)
        p = self.pool
        if p in ("cls", "first"):
            x = x[:, 0]
        elif p == "last":
            x = x[:, -1]
        elif p == "max":
            x = x.max(1)[0]
        elif p == "sum":
            x = x.sum(1)
        elif p == "query":
            x = ((self.query @ x.transpose(1, 2) / D ** 0.5).softmax(-1) @ x)[:, 0]
        elif p == "score":
            x = (self.score(x).softmax(1) * x).sum(1)
        elif p == "score_matmul":
            x = (self.score(x).softmax(1).transpose(1, 2) @ x).squeeze(1)
        elif p == "score_vector":
            x = ((x @ self.query[0, 0]).softmax(1).unsqueeze(1) @ x).squeeze(1)
        elif p == "avgpool":
            x = F.adaptive_avg_pool1d(x.transpose(1, 2), 1).flatten(1)
        elif p == "flatten":
            return x.reshape(b, n * d)[:, :N * D] @ torch.cat([self.head.weight.t() * (1 + 0.1 * i) for i in range(N)], 0)
        elif p == "first_mean":
            x = x[:, 0] + x.mean(1)
        elif p == "first_last":
            x = torch.cat([x[:, 0], x[:, -1]], -1) @ torch.cat([self.head.weight.t()] * 2, 0)
            return x
        elif p == "layers":
            x = x.mean(1)
        else:
            x = x.mean(1)
        return self.head(x)


class Lagged(nn.Module):
    """a series with its own past as features and others beside it (Informer)"""
    def __init__(self):
        super().__init__()
        self.proj, self.norm, self.head = nn.Linear(4, D), nn.LayerNorm(D), nn.Linear(D, 5)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def forward(self, values, features):
        later = features[:, 2:]
        x = self.proj(torch.cat([torch.stack([values[:, 2:], values[:, 1:-1]], -1), later], -1))
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x)[:, -1])


class LayerMix(TextModel):
    """reads a weighted mean of all layers, as ELMo and many speech models"""
    def forward(self, ids):
        x = self.embed(ids) + self.pos[:, :ids.shape[1]]
        all = []
        for blk in self.blocks:
            x = blk(x)
            all.append(x)
        w = self.cls[0, 0, :len(all)].softmax(0)
        x = (torch.stack(all) * w[:, None, None, None]).sum(0)
        return self.head(self.norm(x).mean(1))


class Chunks(TextModel):
    """attention within overlapping chunks of 4 tokens, then from chunk to chunk, put together again by sums (dual-path models)"""
    def __init__(self, places_first=False):
        super().__init__(depth=1)
        self.across, self.places_first = Block(), places_first

    def forward(self, ids):
        x = F.pad(self.embed(ids), (0, 0, 2, 2))
        b, n, d = x.shape[0], x.shape[1] // 2 - 1, x.shape[2]
        x = torch.cat([x[:, :-2].reshape(b, n // 2, 4, d), x[:, 2:].reshape(b, n // 2, 4, d)], 2).reshape(b * n, 4, d)
        if self.places_first:
            x = x.transpose(0, 1)
            x = self.blocks[0](x.transpose(0, 1)).transpose(0, 1)
            x = self.across(x).transpose(0, 1)
        else:
            x = self.blocks[0](x)
            x = self.across(x.transpose(0, 1)).transpose(0, 1)
        x = x.reshape(b, n // 2, 8, d)
        x = x[:, :, :4].reshape(b, 2 * n, d)[:, 2:] + x[:, :, 4:].reshape(b, 2 * n, d)[:, :-2]
        return self.head(self.norm(x)[:, 1])


class SeriesPatches(TextModel):
    """pieces of a series of numbers, with a learned token behind them"""
    def __init__(self):
        super().__init__()
        self.patch = nn.Linear(3, D)

    def forward(self, series):
        x = self.patch(series.reshape(series.shape[0], -1, 3))
        x = torch.cat([x, self.cls.expand(x.shape[0], -1, -1)], 1)
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x)[:, -1])


class LastAgain(TextModel):
    """the last token, taken by a list of places, stands behind the others once more"""
    def forward(self, series):
        x = F.pad(series, (0, D - series.shape[2])) + self.pos[:, :series.shape[1]]
        x = torch.cat([x, x[:, [-1]]], 1)
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x)[:, -1])


class FloatIds(TextModel):
    """ids that come as numbers, in a column that is cut out"""
    def forward(self, values):
        x = self.embed(values[:, :, 0].long()) + self.pos[:, :values.shape[1]]
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x).mean(1))


class LayerAttention(TextModel):
    """reads the first token of every layer by an attention over the layers"""
    def forward(self, ids):
        x = self.embed(ids) + self.pos[:, :ids.shape[1]]
        all = []
        for blk in self.blocks:
            x = blk(x)
            all.append(x[:, 0])
        h = torch.stack(all, 1)
        return self.head(((h @ self.query[0, 0]).softmax(1).unsqueeze(1) @ h).squeeze(1))


class HashedIds(TextModel):
    """CANINE's rows, found by hashing the ids, with LayoutLM's boxes in a larger table"""
    def __init__(self):
        super().__init__()
        self.hashed = nn.ModuleList([nn.Embedding(7, D // 2) for _ in range(2)])
        self.types, self.left = nn.Embedding(7, D), nn.Embedding(40, D)

    def forward(self, ids, types, boxes):
        x = torch.cat([e((ids + 1) * p % 7) for e, p in zip(self.hashed, (31, 43))], -1)
        x = x + self.types(types) + self.left(boxes[:, :, 0])
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x)[:, 0])


class Fourier(TextModel):
    """blocks that mix tokens by a Fourier transform under blocks with attention, as hybrids of FNet"""
    def forward(self, ids):
        x = self.embed(ids) + self.pos[:, :ids.shape[1]]
        x = self.norm(x + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x).mean(1))


class Recurrent(TextModel):
    """reads the tower by an LSTM, or a plain recurrent layer, in both directions, as taggers do"""
    def __init__(self, kind=nn.LSTM, pool="first"):
        super().__init__()
        self.lstm, self.states = kind(D, D // 2, bidirectional=True, batch_first=True), pool

    def forward(self, ids):
        x = self.embed(ids) + self.pos[:, :ids.shape[1]]
        for blk in self.blocks:
            x = blk(x)
        y = self.lstm(self.norm(x))[0]
        return self.head(y[:, 0] if self.states == "first" else y.max(1).values)


class Experts(TextModel):
    """one of several perceptrons for each token, the best by a router: its rows are picked, or all are computed and one is kept"""
    def __init__(self, picked):
        super().__init__()
        self.picked, self.router = picked, nn.Linear(D, 3)
        self.experts = nn.ModuleList([Mlp("gelu") for _ in range(3)])

    def mixed(self, x):
        weight, best = self.router(x).softmax(-1).max(-1, keepdim=True)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            if self.picked:
                at = (best[:, 0] == i).nonzero()[:, 0]
                y = y.index_put((at,), expert(x[at]) * weight[at])
            else:
                y = torch.where(best == i, expert(x) * weight, y)
        return y

    def forward(self, ids):
        x = self.embed(ids) + self.pos[:, :ids.shape[1]]
        for blk in self.blocks:
            x = blk(x)
            x = x + self.mixed(self.norm(x).reshape(-1, D)).reshape(x.shape)
        return self.head(self.norm(x).mean(1))


class Joined(nn.Module):
    """a picture's tokens, encoded on their own, stand in front of a text's (GIT, LLaVA)"""
    def __init__(self):
        super().__init__()
        self.picture, self.text = VisionModel(pool="mean", depth=1), TextModel(depth=1)

    def forward(self, image, tokens):
        x = self.picture.embed(image) + self.picture.pos[:, 1:]
        for blk in self.picture.blocks:
            x = blk(x)
        t = self.text
        x = torch.cat([x, t.embed(tokens) + t.pos[:, :tokens.shape[1]]], 1)
        for blk in t.blocks:
            x = blk(x)
        return t.head(t.norm(x)[:, -1])


class Matched(nn.Module):
    """a picture, whose tokens attend in windows, the second time shifted ones, against a text (CLAP)"""
    def __init__(self):
        super().__init__()
        self.picture, self.text = VisionModel(pool="mean"), TextModel(depth=1)

    def forward(self, image, tokens):
        x = self.picture.embed(image) + self.picture.pos[:, 1:]
        for k, blk in enumerate(self.picture.blocks):
            x = x.reshape(-1, 4, 4, D).roll((-k, -k), (1, 2)).reshape(-1, 2, 2, 2, 2, D).transpose(2, 3).reshape(-1, 4, D)
            x = blk(x).reshape(-1, 2, 2, 2, 2, D).transpose(2, 3).reshape(-1, 4, 4, D).roll((k, k), (1, 2)).reshape(-1, 16, D)
        return self.picture.head(self.picture.norm(x).mean(1)) @ self.text(tokens).T


class PairCosine(nn.Module):
    """two pictures through one encoder, and torch's cosine of their class tokens"""
    def __init__(self):
        super().__init__()
        self.encoder = VisionModel(depth=1 if TINY else 2)

    def encode(self, x):
        e = self.encoder
        x = torch.cat([e.cls.expand(x.shape[0], -1, -1), e.embed(x)], 1) + e.pos
        for blk in e.blocks:
            x = blk(x)
        return e.norm(x)[:, 0]

    def forward(self, a, b):
        return F.cosine_similarity(self.encode(a), self.encode(b))


class TorchEncoder(nn.Module):
    def __init__(self, norm_first, activation, pool="mean", batch_first=True):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        layer = nn.TransformerEncoderLayer(D, H, WIDE, activation=activation, norm_first=norm_first, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.embed, self.head, self.pool, self.bf = nn.Embedding(VOCAB, D), nn.Linear(D, 5), pool, batch_first

    def forward(self, ids):
        x = self.embed(ids)
        x = self.encoder(x) if self.bf else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x.mean(1) if self.pool == "mean" else x[:, 0])


class TorchSeq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.t = nn.Transformer(D, H, 2, 2, WIDE, batch_first=True)
        self.embed, self.head = nn.Embedding(VOCAB, D), nn.Linear(D, 5)

    def forward(self, ids):
        x = self.embed(ids)
        return self.head(self.t(x, x[:, :5])[:, -1])


class PackedMHA(nn.Module):
    """nn.MultiheadAttention with its averaged weights as a second result, unused"""
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, D), nn.Linear(D, 5)
        self.a = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)])
        self.n = nn.ModuleList([nn.LayerNorm(D) for _ in range(2)])

    def forward(self, ids):
        x = self.embed(ids)
        for a, n in zip(self.a, self.n):
            y = n(x)
            x = x + a(y, y, y)[0]
        return self.head(x.mean(1))


class VisionModel(nn.Module):
    def __init__(self, patches="conv", pool="cls", attention="plain", depth=2, **kw):
        super().__init__()
        self.patches, self.pool = patches, pool
        p = self.p = PATCH
        self.conv = nn.Conv2d(3, D, p, p)
        self.proj = nn.Linear(3 * p * p, D)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, D, 2, 2))
        self.cls = nn.Parameter(torch.randn(1, 1, D))
        self.pos = nn.Parameter(torch.randn(1, 17, D))
        self.registers = nn.Parameter(torch.randn(1, 2, D)) if pool == "registers" else None
        self.blocks = nn.ModuleList([Block(attention, **kw) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 5)

    def embed(self, x):
        b, c, h, w = x.shape
        p, k = self.p, self.patches
        if k == "reshape":
            return self.proj(x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, (h // p) * (w // p), p * p * c))
        if k == "reshape_chw":
            return self.proj(x.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        if k == "unfold":
            return self.proj(F.unfold(x, p, stride=p).transpose(1, 2))
        if k == "tensor_unfold":
            y = x.unfold(2, p, p).unfold(3, p, p)
            return self.proj(y.permute(0, 2, 3, 1, 4, 5).reshape(b, -1, c * p * p))
        if k == "space_to_depth":
            return self.proj(F.pixel_unshuffle(x, p).flatten(2).transpose(1, 2))
        if k == "nhwc":
            y = x.permute(0, 2, 3, 1)
            return self.conv(((y - 0.5) / 0.5).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(b, -1, D)
        if k == "stem":
            return self.stem(x).flatten(2).transpose(1, 2)
        if k == "normalised":
            mean, std = torch.tensor([0.48, 0.45, 0.4]).view(1, 3, 1, 1), torch.tensor([0.26, 0.27, 0.28]).view(1, 3, 1, 1)
            return self.conv((x / 255.0 - mean) / std).flatten(2).transpose(1, 2)
        return self.conv(x).flatten(2).transpose(1, 2)

    def forward(self, x):
        x = self.embed(x)
        b = x.shape[0]
        if self.pool == "cls":
            x = torch.cat([self.cls.expand(b, -1, -1), x], 1) + self.pos
        elif self.pool == "registers":  # and no positions: those are rotations
            x = torch.cat([self.cls.expand(b, -1, -1), self.registers.expand(b, -1, -1), x], 1)
        elif self.pool == "cls_last":
            x = torch.cat([x, self.cls.expand(b, -1, -1)], 1) + self.pos
        else:
            x = x + self.pos[:, 1:]
        for blk in self.blocks:
            x = blk(x)
        x = self.norm(x)
        if self.pool == "grid":
            x = x.transpose(1, 2).reshape(b, D, 4, 4)
            x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        else:
            x = x[:, 0] if self.pool in ("cls", "registers") else x[:, -1] if self.pool == "cls_last" else x.mean(1)
        return self.head(x)


class NHWCInput(VisionModel):
    """the picture comes channels-last"""
    def forward(self, x):
        return super().forward(x.permute(0, 3, 1, 2))


class Hybrid(VisionModel):
    """attention on an NCHW feature map, 1×1 convolutions as projections"""
    def __init__(self):
        super().__init__(pool="mean", depth=1)
        self.q, self.k, self.v, self.o = [nn.Conv2d(D, D, 1) for _ in range(4)]

    def forward(self, x):
        x = self.conv(x)
        b, c, h, w = x.shape
        for _ in range(2):
            q, k, v = [m(x).reshape(b, H, c // H, h * w) for m in (self.q, self.k, self.v)]
            p = (q.transpose(-2, -1) @ k * 0.3).softmax(-1)
            x = x + self.o((v @ p.transpose(-2, -1)).reshape(b, c, h, w))
        return self.head(x.mean((2, 3)))


class ChosenQueries(nn.Module):
    """RT-DETR: the best tokens become queries, which attend to each other and read the others between their places, where they
    themselves say. With `windows`, the encoder's attentions are in rows."""
    def __init__(self, windows):
        super().__init__()
        self.enc, self.windows = VisionModel(pool="mean", depth=2), windows
        self.score, self.offset, self.weight = nn.Linear(D, 1), nn.Linear(D, 6), nn.Linear(D, 3)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.value, self.head = nn.Linear(D, D), nn.Linear(D, 5)

    def forward(self, x):
        x = self.enc.embed(x) + self.enc.pos[:, 1:]
        b, n, d = x.shape
        for blk in self.enc.blocks:
            x = blk(x.reshape(b * 4, 4, d)).reshape(b, n, d).reshape(b, 4, 4, d).transpose(1, 2).reshape(b, n, d) if self.windows else blk(x)
        best = self.score(x)[..., 0].topk(4, dim=1)[1]
        q = x.gather(1, best[..., None].expand(-1, -1, d))
        for blk in self.blocks:
            q = blk(q)
            places = torch.tanh(self.offset(q)).reshape(b, 4, 3, 2)
            seen = F.grid_sample(self.value(x).transpose(1, 2).reshape(b, d, 4, 4), places, align_corners=False)  # [b, d, queries, places]
            q = q + (seen * self.weight(q).softmax(-1)[:, None]).sum(-1).transpose(1, 2)
        return self.head(q[:, 1])


class Prompted(nn.Module):
    """a picture read by tokens of which one, the only one that it has, is another input's (SAM with one point)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc, self.point = VisionModel(pool="mean", depth=1), nn.Linear(2, D)
        self.queries = nn.Parameter(torch.randn(1, 2, D))
        self.own, self.cross = [nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)]
        self.head = nn.Linear(D, 5)

    def forward(self, image, point):
        x = self.enc.embed(image) + self.enc.pos[:, 1:]
        for b in self.enc.blocks:
            x = b(x)
        q = torch.cat([self.queries.expand(x.shape[0], -1, -1), self.point(point)[:, 0]], 1)
        q = q + self.own(q, q, q)[0]
        q = q + self.cross(q, x, x)[0]
        return self.head(q[:, 0])


class Parts(nn.Module):
    """a long text in parts, encoded one by one, and the mean of their first tokens"""
    def __init__(self):
        super().__init__()
        self.text = TextModel(depth=2)

    def forward(self, tokens):
        t, x = self.text, self.text.embed(tokens.reshape(-1, tokens.shape[-1]))
        x = x + t.pos[:, :x.shape[1]]
        for blk in t.blocks:
            x = blk(x)
        return t.head(t.norm(x)[:, 0].mean(0, keepdim=True))


class Trajectory(nn.Module):
    """states and actions take turns, step by step (Decision Transformer)"""
    def __init__(self):
        super().__init__()
        self.states, self.actions, self.text = nn.Linear(3, D), nn.Linear(2, D), TextModel(depth=2)
        self.head = nn.Linear(D, 5)

    def forward(self, a, b):
        n, t = a.shape[1], self.text
        x = torch.stack([f(v) + t.pos[:, :n] for f, v in ((self.states, a), (self.actions, b))], 2).reshape(-1, 2 * n, D)
        for blk in t.blocks:
            x = blk(x)
        return self.head(t.norm(x)[:, -2])


class Frames(nn.Module):
    """a video's frames, whose class tokens attend to each other between layers and again at the end; patches are read as well (X-CLIP)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc = VisionModel(pool="mean", depth=1)
        self.between, self.last = [nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)]

    def forward(self, image):
        e, x = self.enc, image.flatten(0, 1)
        x = torch.cat([e.cls.expand(x.shape[0], -1, -1), e.embed(x)], 1) + e.pos
        x = e.blocks[0](x)
        c = x[:, :1].transpose(0, 1)
        c = c + self.between(c, c, c)[0]
        x = torch.cat([c.transpose(0, 1), x[:, 1:]], 1)
        c = x[:, 0].unsqueeze(0)
        c = c + self.last(c, c, c)[0]
        return e.head(c.mean(1) * x[:, 1:].mean((0, 1))[None])


class Columns(nn.Module):
    """a table's row: each column of it is an input and a token, and all are read beside numbers (TabTransformer)"""
    def __init__(self):
        super().__init__()
        self.tables, self.text = nn.ModuleList([nn.Embedding(VOCAB, D) for _ in range(3)]), TextModel(depth=2)
        self.numbers, self.head = nn.LayerNorm(2), nn.Linear(3 * D + 2, 5)

    def forward(self, a, b, c, numbers):
        x = torch.cat([t(v) for t, v in zip(self.tables, (a, b, c))], 1) + self.text.pos[:, :3]
        for blk in self.text.blocks:
            x = blk(x)
        return self.head(torch.cat([self.text.norm(x).flatten(1), self.numbers(numbers)], 1))


class TwoWay(nn.Module):
    """prompts read a picture's features, which then read the prompts (SAM's decoder)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.point, self.queries = nn.Linear(2, D), nn.Parameter(torch.randn(1, 2, D))
        self.own, self.read, self.back, self.again = [nn.MultiheadAttention(D, H, batch_first=True) for _ in range(4)]
        self.head = nn.Linear(D, 5)

    def forward(self, features, points):
        x = features.flatten(2).transpose(1, 2)
        q = torch.cat([self.queries.expand(x.shape[0], -1, -1), self.point(points)], 1)
        q = q + self.own(q, q, q)[0]
        q = q + self.read(q, x, x)[0]
        x = x + self.back(x, q, q)[0]
        return self.head((q + self.again(q, x, x)[0])[:, 0])


class Row(nn.Module):
    """the same where one input holds all columns"""
    def __init__(self):
        super().__init__()
        self.tables, self.text = nn.ModuleList([nn.Embedding(VOCAB, D) for _ in range(4)]), TextModel(depth=2)

    def forward(self, tokens):
        t = self.text
        x = torch.stack([f(tokens[:, k]) for k, f in enumerate(self.tables)], 1) + t.pos[:, :4]
        for blk in t.blocks:
            x = blk(x)
        return t.head(t.norm(x).mean(1))


class Captioned(nn.Module):
    """a text reads what a convolutional network made of a picture"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc, self.text = VisionModel(pool="mean", depth=0), TextModel(depth=2)
        self.cross = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)])

    def forward(self, image, tokens):
        x, t = self.enc.embed(image) + self.enc.pos[:, 1:], self.text
        y = t.embed(tokens) + t.pos[:, :tokens.shape[1]]
        for blk, cross in zip(t.blocks, self.cross):
            y = blk(y)
            y = y + cross(y, x, x)[0]
        return t.head(t.norm(y)[:, -1])


class Guided(nn.Module):
    """a picture's tokens attend to each other and read a text in each of many layers, which share their weights; its words only are read"""
    def __init__(self, depth=12):
        super().__init__()
        self.enc, self.words, self.depth = VisionModel(pool="mean", depth=0), nn.Embedding(VOCAB, D), depth
        self.q, self.cross = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, image, tokens):
        x, y = self.enc.embed(image) + self.enc.pos[:, 1:], self.words(tokens)
        for _ in range(self.depth):
            x = x + (self.q(x) @ x.transpose(1, 2) * 0.2).softmax(-1) @ x
            x = self.enc.norm(x + (self.cross(x) @ y.transpose(1, 2) * 0.2).softmax(-1) @ y)
        return self.enc.head(x.mean(1))


class Turned(nn.Module):
    """vectors behind a first token that is joined to them, turned by angles that are an input of their own (Stable Audio)"""
    def __init__(self):
        super().__init__()
        self.up, self.first = nn.Linear(3, D), nn.Parameter(torch.randn(1, 1, D))
        self.q, self.k, self.v, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 5)

    def forward(self, a, values):
        x = torch.cat([self.first, self.up(values)], 1)
        turn = lambda t: t * a[0] + torch.cat([-t[..., D // 2:], t[..., :D // 2]], -1) * a[1]
        for _ in range(2):
            x = x + (turn(self.q(x)) @ turn(self.k(x)).transpose(1, 2) * 0.2).softmax(-1) @ self.v(x)
        return self.head(x[:, 0])


class Grouped(nn.Module):
    """patches are assigned to learned groups, which then attend to each other (GroupViT)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc, self.groups = VisionModel(pool="mean", depth=1), nn.Parameter(torch.randn(1, 3, D))
        self.mix, self.own, self.head = nn.Linear(3, 3), nn.MultiheadAttention(D, H, batch_first=True), nn.Linear(D, 5)

    def forward(self, image):
        x = torch.cat([self.enc.embed(image) + self.enc.pos[:, 1:], self.groups.expand(image.shape[0], -1, -1)], 1)
        for b in self.enc.blocks:
            x = b(x)
        x, g = x[:, :-3], self.mix(x[:, -3:].transpose(1, 2)).transpose(1, 2)
        of = (g @ x.transpose(1, 2)).softmax(-2)
        g = g + of / of.sum(-1, keepdim=True) @ x
        return self.head((g + self.own(g, g, g)[0]).mean(1))


class OverFeatures(VisionModel):
    """features attend to each other (XCA, channel attention) before and after the patches do"""
    def __init__(self):
        super().__init__(pool="mean", depth=1)
        self.qkv, self.norms = nn.ModuleList([nn.Linear(D, 3 * D) for _ in range(2)]), nn.ModuleList([nn.LayerNorm(D) for _ in range(2)])

    def mix(self, x, k):
        q, key, v = self.qkv[k](self.norms[k](x)).reshape(x.shape[0], -1, 3, H, D // H).permute(2, 0, 3, 4, 1)
        return x + ((q @ key.transpose(-2, -1)).softmax(-1) @ v).permute(0, 3, 1, 2).flatten(2)

    def forward(self, image):
        x = self.mix(self.embed(image) + self.pos[:, 1:], 0)
        return self.head(self.norm(self.mix(self.blocks[0](x), 1)).mean(1))


class Streams(TextModel):
    """each token has two streams that it mixes by a softmax of its own (hyper-connections), and weighs what the layers have said"""
    def __init__(self):
        super().__init__()
        self.mix, self.spread = nn.ModuleList([nn.Linear(2 * D, 4) for _ in self.blocks]), nn.Parameter(torch.ones(2, 1))

    def forward(self, tokens):
        x = (self.embed(tokens) + self.pos[:, :tokens.shape[1]]).unsqueeze(2).expand(-1, -1, 2, -1)
        said = [x.mean(2)]
        for block, mix in zip(self.blocks, self.mix):
            weights = mix(x.flatten(2)).unflatten(2, (2, 2)).softmax(-1)
            x = weights @ x + self.spread * block.attn(block.n1(x.mean(2))).unsqueeze(2)
            said.append(x.mean(2))
        said = torch.stack(said, 2)
        x = ((self.query.unsqueeze(1) @ said.transpose(2, 3) / D ** 0.5).softmax(-1) @ said).squeeze(2)
        return self.head(self.norm(x).mean(1))


class CrossPooled(nn.Module):
    """a decoder of learned queries reads the encoder (Perceiver, Q-Former, DETR)"""
    def __init__(self, self_attention, queries=3, **encoder):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc = VisionModel(pool="mean", **encoder)
        self.queries = nn.Parameter(torch.randn(1, queries, D))
        self.cross = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)])
        self.selfs = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)])
        self.self_attention, self.head = self_attention, nn.Linear(D, 5)

    def forward(self, x):
        x = self.enc.embed(x) + self.enc.pos[:, 1:]
        for b in self.enc.blocks:
            x = b(x)
        q = self.queries.expand(x.shape[0], -1, -1)
        for c, s in zip(self.cross, self.selfs):
            if self.self_attention:
                q = q + s(q, q, q)[0]
            q = q + c(q, x, x)[0]
        return self.head(q[:, 0])


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
VISION |= {"vision_cls_last": vision(pool="cls_last"), "vision_grid_pool": vision(pool="grid"), "vision_mean": vision(pool="mean"),
           "vision_nchw_attention": lambda a: Hybrid(), "cross_pool": lambda a: CrossPooled(False), "cross_pool_self": lambda a: CrossPooled(True), "chosen_queries": lambda a: ChosenQueries(False), "chosen_in_windows": lambda a: ChosenQueries(True),
           "vision_rotate_patches": vision(attention="rotate_patches", pool="registers"), "vision_normalised_heads": vision(attention="normalised_heads", pool="registers"), "vision_talking": vision(attention="talking"), "vision_post": vision(order="post")}


class QwenVision(nn.Module):
    """Qwen2-VL's picture encoder for one picture of 4 x 4 patches"""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, hidden_states):
        r = self.model(hidden_states, grid_thw=torch.tensor([[1, 4, 4]]))
        return (r.pooler_output if hasattr(r, "pooler_output") and r.pooler_output is not None else r[0],)


class Suppressed(nn.Module):
    """a detector with torchvision's non-maximum suppression behind it"""
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        import torchvision
        r = self.model(pixel_values=pixel_values)
        scores, labels = r.logits.softmax(-1)[0, :, :-1].max(-1)
        centre, size = r.pred_boxes[0].split(2, -1)
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
        kept = torchvision.ops.batched_nms(boxes, scores, labels, 0.5)
        return boxes[kept], scores[kept], labels[kept], r.logits


# ------------------------------------------------------------------ bands of keys, written densely
def dense_band(model, first_is_global=False):
    """Longformer's and LED's attention over a band of keys with all keys and a mask; the same weights."""
    def forward(self, hidden_states, *_, **__):
        n, heads, size = hidden_states.shape[1], self.num_heads, self.head_dim
        split = lambda x: x.unflatten(-1, (heads, size)).transpose(1, 2)
        q, k, v = (split(f(hidden_states)) for f in (self.query, self.key, self.value))
        at = torch.arange(n)
        seen = (at[:, None] - at[None]).abs() <= self.one_sided_attn_window_size
        if first_is_global:
            seen[:, 0] = True
        p = (q @ k.transpose(-1, -2) / size ** 0.5).masked_fill(~seen, float("-inf")).softmax(-1)
        if not first_is_global:
            return ((p @ v).transpose(1, 2).flatten(2),)
        o = (p[:, :, 1:] @ v).transpose(1, 2).flatten(2)
        q, k, v = (split(f(x)) for f, x in ((self.query_global, hidden_states[:, :1]), (self.key_global, hidden_states), (self.value_global, hidden_states)))
        return (torch.cat([((q @ k.transpose(-1, -2) / size ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2), o], 1),)
    for m in model.modules():
        if hasattr(m, "one_sided_attn_window_size"):
            m.forward = forward.__get__(m)
    return model
