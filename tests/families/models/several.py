"""Hand-written models of several inputs."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .sizes import TINY, D, H, VOCAB
from .texts import TextModel
from .pictures import VisionModel


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


class Phrases(nn.Module):
    """scores of each patch of a picture, which attend in windows, for each word of a text that has read them (Grounding DINO)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.enc, self.words, self.cross = VisionModel(pool="mean"), nn.Embedding(VOCAB, D), nn.MultiheadAttention(D, H, batch_first=True)

    def forward(self, image, tokens):
        x = self.enc.embed(image) + self.enc.pos[:, 1:]
        x = x.unflatten(1, (2, 2, 2, 2)).transpose(2, 3).reshape(-1, 4, D)
        for blk in self.enc.blocks:
            x = blk(x)
        x = self.enc.norm(x).reshape(-1, 2, 2, 2, 2, D).transpose(2, 3).reshape(-1, 16, D)
        y = self.words(tokens)
        return x @ (y + self.cross(y, x, x)[0]).transpose(1, 2)


class Resampled(nn.Module):
    """a text reads between its layers what learned queries have read of another, encoded before (Evolla, Flamingo)"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.text, self.other, self.queries = TextModel(depth=2), TextModel(depth=1), nn.Parameter(torch.randn(1, 3, D))
        self.resample, self.cross = [nn.MultiheadAttention(D, H, batch_first=True) for _ in range(2)]

    def forward(self, tokens, a):
        t, o = self.text, self.other
        x = o.norm(o.blocks[0](o.embed(a) + o.pos[:, :a.shape[1]]))
        q = self.queries.expand(x.shape[0], -1, -1)
        q = q + self.resample(q, x, x)[0]
        y = t.blocks[0](t.embed(tokens) + t.pos[:, :tokens.shape[1]])
        y = t.blocks[1](y + self.cross(y, q, q)[0])
        return t.head(t.norm(y)[:, -1])


class PartsOfPicture(nn.Module):
    """a text in parts, each encoded by itself, which read a picture between its layers"""
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(False)
        self.text, self.enc, self.cross = TextModel(depth=2), VisionModel(pool="mean", depth=0), nn.MultiheadAttention(D, H, batch_first=True)

    def forward(self, tokens, image):
        t, p = self.text, (self.enc.embed(image) + self.enc.pos[:, 1:]).expand(tokens.shape[1], -1, -1)
        x = t.embed(tokens.reshape(-1, tokens.shape[-1])) + t.pos[:, :tokens.shape[-1]]
        x = t.blocks[0](x)
        x = t.blocks[1](x + self.cross(x, p, p)[0])
        return t.head(t.norm(x)[:, 0].mean(0, keepdim=True))


class Together(nn.Module):
    """in each layer a text reads itself and another's words, encoded or not, joined behind it, at once (T5Gemma 2)"""
    def __init__(self, encoded=False):
        super().__init__()
        self.own, self.words, self.norm, self.head = nn.Embedding(VOCAB, D), nn.Embedding(VOCAB, D), nn.LayerNorm(D), nn.Linear(D, 5)
        self.layers, self.encoder = nn.ModuleList([nn.Linear(D, 2 * D) for _ in range(2)]), nn.Linear(D, 2 * D) if encoded else None

    def forward(self, tokens, a):
        x, y = self.own(tokens), self.words(a)
        if self.encoder:
            q, v = self.encoder(y).chunk(2, -1)
            y = self.norm(y + (y @ q.transpose(1, 2) * 0.2).softmax(-1) @ v)
        for layer in self.layers:
            q, v = layer(torch.cat([x, y], 1)).chunk(2, -1)
            x = self.norm(x + (x @ q.transpose(1, 2) * 0.2).softmax(-1) @ v)
        return self.head(x.mean(1))


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
