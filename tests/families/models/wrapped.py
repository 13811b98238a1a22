"""Models of libraries with another end or another way to call them."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .sizes import D


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
