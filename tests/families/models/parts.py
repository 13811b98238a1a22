"""Attentions, norms, MLPs and blocks in the spellings that people use."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .sizes import D, H, WIDE


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
