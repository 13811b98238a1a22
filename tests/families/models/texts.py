"""Hand-written models of tokens."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .sizes import D, H, N, VOCAB, WIDE
from .parts import Mlp, Block


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


class Masked(nn.Module):
    """tokens that a mask of floats, one for each, is multiplied by before and between the layers (VITS)"""
    def __init__(self):
        super().__init__()
        self.text = TextModel(depth=2, order="post")

    def forward(self, tokens, mask):
        t, x = self.text, self.text.embed(tokens) * mask
        for blk in t.blocks:
            x = blk(x) * mask
        return t.head(t.norm(x).mean(1))


class Shares(nn.Module):
    """features raised above 0 and divided by their sum, which is cleaned of what is no number (CHMv2)"""
    def __init__(self):
        super().__init__()
        self.text, self.up, self.head = TextModel(depth=1, pool="mean"), nn.Linear(D, WIDE), nn.Linear(WIDE, 5)

    def forward(self, tokens):
        t, x = self.text, self.text.embed(tokens)
        for blk in t.blocks:
            x = blk(x)
        x = torch.relu(self.up(t.norm(x).mean(1)))
        x = x + (-x.min(1, keepdim=True)[0]).clamp(min=0) + 0.1
        return self.head(x / torch.nan_to_num(x.sum(1, keepdim=True), nan=1.0).clamp(min=1e-4))


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
