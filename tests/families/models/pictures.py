"""Hand-written models of pictures."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .sizes import TINY, D, H, PATCH
from .parts import Block


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


class FramesInTurn(nn.Module):
    """a video's frames, each encoded alone, then read one after the other by queries that the frame before hands on (VidEoMT)"""
    def __init__(self):
        super().__init__()
        self.enc = VisionModel(pool="mean", depth=1 if TINY else 2)
        self.queries, self.hand_on, self.head = nn.Parameter(torch.randn(1, 2, D)), nn.Linear(D, D), nn.Linear(D, 5)

    def forward(self, image):
        e, x, q, scores = self.enc, image.flatten(0, 1), self.queries, []
        x = e.embed(x) + e.pos[:, 1:]
        for b in e.blocks[:-1]:
            x = b(x)
        for k in range(image.shape[1]):
            y = e.blocks[-1](torch.cat([q, x[k:k + 1]], 1))
            q = self.hand_on(y[:, :2]) + self.queries
            scores.append(self.head(e.norm(y[:, :2]).mean(1)))
        return torch.cat(scores)


class TwoSizes(nn.Module):
    """a picture in pieces, each encoded alone, and as a whole at a smaller size, by another encoder (Depth Pro)"""
    def __init__(self):
        super().__init__()
        self.pieces, self.whole = VisionModel(pool="mean", depth=1), VisionModel(pool="mean", depth=1)
        self.head = nn.Linear(2 * D, 5)

    def encode(self, e, x):
        x = torch.cat([e.cls.expand(x.shape[0], -1, -1), e.embed(x)], 1) + e.pos
        for b in e.blocks:
            x = b(x)
        return e.norm(x)

    def forward(self, image):
        parts = image.unflatten(3, (2, -1)).unflatten(2, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        parts = self.encode(self.pieces, parts)[:, 1:].mean((0, 1))[None]
        whole = self.encode(self.whole, F.avg_pool2d(image, 2))[:, 1:].mean(1)
        return self.head(torch.cat([parts, torch.tanh(whole)], -1))


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


class WeighedPlaces(nn.Module):
    """learned queries that know where in the picture they look (they weigh the patches' places), then read it and each other (OneFormer)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc, self.queries, self.places = VisionModel(pool="mean"), nn.Parameter(torch.randn(1, 3, D)), nn.Parameter(torch.randn(1, H, 16, D // H))
        self.own, self.cross, self.head = nn.MultiheadAttention(D, H, batch_first=True), nn.MultiheadAttention(D, H, batch_first=True), nn.Linear(D, 5)

    def forward(self, image):
        x = self.enc.embed(image) + self.enc.pos[:, 1:]
        for b in self.enc.blocks:
            x = b(x)
        heads = [t.unflatten(-1, (H, -1)).transpose(1, 2) for t in (self.queries, x)]
        q = self.queries + ((heads[0] @ heads[1].transpose(2, 3)).softmax(-1) @ self.places).transpose(1, 2).flatten(2)
        q = q + self.cross(q, x, x)[0]
        return self.head((q + self.own(q, q, q)[0])[:, 0])


class CrossPooled(nn.Module):
    """a decoder of learned queries reads the encoder (Perceiver, Q-Former, DETR)"""
    def __init__(self, self_attention, queries=3, layers=2, pooled=False, **encoder):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc = VisionModel(pool="mean", **encoder)
        self.queries = nn.Parameter(torch.randn(1, queries, D))
        self.cross = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(layers)])
        self.selfs = nn.ModuleList([nn.MultiheadAttention(D, H, batch_first=True) for _ in range(layers)])
        self.self_attention, self.pooled, self.head = self_attention, pooled, nn.Linear(D, 5)

    def forward(self, x):
        x = self.enc.embed(x) + self.enc.pos[:, 1:]
        for b in self.enc.blocks:
            x = b(x)
        q = self.queries.expand(x.shape[0], -1, -1)
        for c, s in zip(self.cross, self.selfs):
            if self.self_attention:
                q = q + s(q, q, q)[0]
            q = q + c(q, x, x)[0]
        return self.head(q.mean(1) if self.pooled else q[:, 0])


class Upsampled(VisionModel):
    """four tokens are made one and one four again, by a transposed convolution or by features that are moved to places, between two layers of attention"""
    def __init__(self, shuffled=False):
        super().__init__(pool="mean")
        self.shuffled = shuffled
        self.down = nn.Conv2d(D, D, 2, 2)
        self.up = nn.ConvTranspose2d(D, D, 2, 2, bias=False)

    def forward(self, x):
        x = self.blocks[0](self.embed(x) + self.pos[:, 1:]).transpose(1, 2).reshape(1, D, 4, 4)
        x = self.down(x)
        if self.shuffled:
            x = F.pixel_shuffle(F.conv2d(x, self.up.weight.permute(1, 2, 3, 0).reshape(4 * D, D, 1, 1)), 2)
        else:
            x = self.up(x)
        x = self.blocks[1](x.flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(1))
