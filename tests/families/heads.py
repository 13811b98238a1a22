"""What people put on top of a text encoder: sentence embeddings, rerankers, late interaction, taggers, parsers, span and label
scores, recurrent and convolutional heads; and what they put beside its weights (adapters, prefixes). One row per head in HEADS:
how to build it for an attention implementation, its inputs, and what else families.py's rows say. The encoder is Hugging Face's."""
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers as tf

D, N, VOCAB = 32, 16, 60
BERT = dict(vocab_size=VOCAB, hidden_size=D, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40)


def bert(attention="eager", **kw):
    return tf.BertModel(tf.BertConfig(**{**BERT, **kw}, attn_implementation=attention))


def ids(n=N, seed=7, rows=1):
    return torch.randint(5, VOCAB, (rows, n), generator=torch.Generator().manual_seed(seed))


def text(pad=3, n=N):
    def make():
        m = torch.ones(1, n, dtype=torch.int64)
        m[:, n - pad:] = 0
        return {"input_ids": ids(n), "attention_mask": m}
    return make


def pair():
    """two texts of different lengths"""
    return {"ids_a": ids(10, 7), "mask_a": torch.ones(1, 10, dtype=torch.int64), "ids_b": ids(14, 8), "mask_b": torch.tensor([[1] * 11 + [0] * 3])}


class On(nn.Module):
    """a head on the encoder's tokens: score(tokens, mask, layers) is what subclasses and functions give"""
    def __init__(self, score, modules=(), attention="eager", parameters=None, **kw):
        super().__init__()
        self.model, self.score = bert(attention, **kw), score
        self.parts = nn.ModuleList(modules)
        self.learned = nn.ParameterList(parameters or [])

    def forward(self, input_ids, attention_mask):
        r = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return self.score(self, r.last_hidden_state, attention_mask, r.hidden_states)


class Sentence(nn.Module):
    """modules of sentence-transformers behind each other"""
    def __init__(self, attention, *modules):
        super().__init__()
        import sentence_transformers.models as st
        self.model = bert(attention)
        self.rest = nn.ModuleList(m(st) for m in modules)

    def forward(self, input_ids, attention_mask):
        x = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        features = {"token_embeddings": x[0], "attention_mask": attention_mask, "cls_token_embeddings": x[0][:, 0], "all_layer_embeddings": list(x.hidden_states),
                    "sentence_lengths": attention_mask.sum(1)}
        for m in self.rest:
            features = m(features)
        return features["sentence_embedding"]


def pooling(mode):
    return lambda st: st.Pooling(D, pooling_mode=mode)


class Pair(nn.Module):
    """one encoder, two texts"""
    def __init__(self, score, modules=(), attention="eager"):
        super().__init__()
        self.model, self.score, self.parts = bert(attention), score, nn.ModuleList(modules)

    def forward(self, ids_a, mask_a, ids_b, mask_b):
        a = self.model(input_ids=ids_a, attention_mask=mask_a)[0]
        b = self.model(input_ids=ids_b, attention_mask=mask_b)[0]
        return self.score(self, a, mask_a, b, mask_b)


def mean(x, m):
    m = m.unsqueeze(-1).float()
    return (x * m).sum(1) / m.sum(1).clamp(min=1e-9)


def late_interaction(self, a, ma, b, mb):
    """ColBERT: every query token's best document token"""
    a, b = F.normalize(self.parts[0](a), dim=-1) * ma.unsqueeze(-1), F.normalize(self.parts[0](b), dim=-1)
    s = (a @ b.transpose(1, 2)).masked_fill(mb.unsqueeze(1) == 0, -1e4)
    return s.max(-1).values.sum(-1, keepdim=True)


def siamese(self, a, ma, b, mb):
    u, v = mean(a, ma), mean(b, mb)
    return self.parts[0](torch.cat([u, v, (u - v).abs(), u * v], -1))


def similarity(self, a, ma, b, mb):
    return F.cosine_similarity(mean(a, ma), mean(b, mb)).unsqueeze(-1)


def cross_attended(self, a, ma, b, mb):
    """ESIM: each text reads the other"""
    s = a @ b.transpose(1, 2) / D ** 0.5
    c = torch.softmax(s.masked_fill(mb.unsqueeze(1) == 0, -1e4), -1) @ b
    return self.parts[0](mean(torch.cat([a, c, a - c, a * c], -1), ma))


def splade(self, x, m, layers):
    s = self.parts[0](F.gelu(x))
    return (torch.log1p(F.relu(s)) * m.unsqueeze(-1)).max(1).values


def splade_sum(self, x, m, layers):
    return (torch.log1p(F.relu(self.parts[0](x))) * m.unsqueeze(-1)).sum(1)


def weighted_layers(self, x, m, layers):
    """ELMo: a softmax over layers"""
    w = torch.softmax(self.learned[0], 0)
    y = self.learned[1] * sum(w[i] * h for i, h in enumerate(layers))
    return self.parts[0](mean(y, m))


def stacked_layers(self, x, m, layers):
    w = torch.softmax(self.learned[0], 0).view(-1, 1, 1, 1)
    return self.parts[0]((torch.stack(layers, 0) * w).sum(0)[:, 0])


def last_layers(self, x, m, layers):
    return self.parts[0](torch.cat(layers[-3:], -1)[:, 0])


def layer_attention(self, x, m, layers):
    """attention over the layers' class tokens"""
    h = torch.stack([v[:, 0] for v in layers[1:]], 1)
    return self.parts[0](torch.softmax(h @ self.learned[0], -1).unsqueeze(1).matmul(h).squeeze(1))


def recurrent(self, x, m, layers):
    return self.parts[1](self.parts[0](x)[0])


def recurrent_last(self, x, m, layers):
    y, h = self.parts[0](x)
    h = h[0] if isinstance(h, tuple) else h
    return self.parts[1](torch.cat([h[-2], h[-1]], -1))


def recurrent_max(self, x, m, layers):
    return self.parts[1](self.parts[0](x)[0].max(1).values)


def convolutions(self, x, m, layers):
    x = x.transpose(1, 2)
    return self.parts[-1](torch.cat([F.relu(c(x)).max(-1).values for c in self.parts[:-1]], -1))


def convolution_pool(self, x, m, layers):
    x = F.max_pool1d(F.relu(self.parts[0](x.transpose(1, 2))), 2)
    return self.parts[1](x.mean(-1))


def convolution_2d(self, x, m, layers):
    x = x.unsqueeze(1)
    return self.parts[-1](torch.cat([F.max_pool1d(F.relu(c(x)).squeeze(3), N - k + 1).squeeze(2) for c, k in zip(self.parts[:-1], (2, 3))], 1))


def biaffine(self, x, m, layers):
    """Dozat and Manning: arcs"""
    d, h = F.elu(self.parts[0](x)), F.elu(self.parts[1](x))
    h1 = torch.cat([h, torch.ones_like(h[..., :1])], -1)
    return torch.einsum("bxi,ij,byj->bxy", d, self.learned[0], h1)


def biaffine_labels(self, x, m, layers):
    d, h = F.elu(self.parts[0](x)), F.elu(self.parts[1](x))
    return torch.einsum("bxi,oij,byj->bxyo", d, self.learned[0], h)


def spans(self, x, m, layers):
    """start and end of every span up to three tokens, and its width"""
    starts = torch.arange(N).repeat_interleave(3).clamp(max=N - 1)
    ends = (torch.arange(N).repeat_interleave(3) + torch.arange(3).repeat(N)).clamp(max=N - 1)
    widths = self.learned[0][torch.arange(3).repeat(N)].unsqueeze(0).expand(x.shape[0], -1, -1)
    return self.parts[0](torch.cat([x[:, starts], x[:, ends], widths], -1))


def span_labels(self, x, m, layers):
    """GLiNER: spans against labels that stand in the text itself"""
    labels, words = self.parts[0](x[:, 1:4]), x[:, 5:]
    n = words.shape[1]
    a, b = self.parts[1](words).unsqueeze(2).expand(-1, -1, 3, -1), torch.stack([F.pad(self.parts[2](words), (0, 0, 0, k))[:, k:k + n] for k in range(3)], 2)
    s = self.parts[3](F.relu(torch.cat([a, b], -1)))
    return torch.einsum("blkd,bcd->blkc", s, labels)


def answer(self, x, m, layers):
    """the sum of start and end for every span"""
    s, e = self.parts[0](x).split(1, -1)
    return (s + e.transpose(1, 2)).flatten(1)


def endpoints(self, x, m, layers):
    """pointers: global pointer with rotary positions"""
    qk = self.parts[0](x).view(1, N, 2, 3, 8)
    q, k = qk[:, :, 0].transpose(1, 2), qk[:, :, 1].transpose(1, 2)
    t = torch.arange(N).float()[:, None] * torch.tensor([1.0, 0.1, 0.01, 0.001])
    sin, cos = t.sin().repeat_interleave(2, -1), t.cos().repeat_interleave(2, -1)
    turn = lambda v: v * cos + torch.stack([-v[..., 1::2], v[..., ::2]], -1).flatten(-2) * sin
    s = turn(q) @ turn(k).transpose(-1, -2) / 8 ** 0.5
    keep = m[:, None, None].float()
    return s * keep - (1 - keep) * 1e12 - torch.tril(torch.ones(N, N), -1) * 1e12


def crf(self, x, m, layers):
    """the log-likelihood's partition sum of a linear chain, step by step"""
    e = self.parts[0](x)
    a = self.learned[1] + e[:, 0]
    for t in range(1, N):
        b = torch.logsumexp(a.unsqueeze(2) + self.learned[0] + e[:, t].unsqueeze(1), 1)
        a = torch.where(m[:, t].bool().unsqueeze(-1), b, a)
    return a


def emissions(self, x, m, layers):
    return self.parts[0](x).masked_fill(m.unsqueeze(-1) == 0, 0.0)


def label_attention(self, x, m, layers):
    """CAML: every label reads the tokens with its own query"""
    s = (self.learned[0] @ x.transpose(1, 2)).masked_fill(m.unsqueeze(1) == 0, -1e4)
    y = torch.softmax(s, -1) @ x
    return (y * self.learned[1]).sum(-1)


def token_attention(self, x, m, layers):
    w = self.parts[0](x).squeeze(-1).masked_fill(m == 0, float("-inf"))
    return self.parts[1](torch.bmm(torch.softmax(w, -1).unsqueeze(1), x).squeeze(1))


def token_attention_sum(self, x, m, layers):
    w = torch.softmax(self.parts[0](x) + (1 - m.unsqueeze(-1)) * -1e4, 1)
    return self.parts[1]((w * x).sum(1))


def squeeze_excite(self, x, m, layers):
    y = mean(x, m)
    return self.parts[1](y * torch.sigmoid(self.parts[0](y)))


def samples(self, x, m, layers):
    return torch.stack([self.parts[0](F.dropout(x[:, 0], 0.5, self.training)) for _ in range(4)], 0).mean(0)


def two_heads(self, x, m, layers):
    return self.parts[0](mean(x, m)), self.parts[1](x)


def normed_head(self, x, m, layers):
    y = F.gelu(self.parts[0](x[:, 0]))
    return self.parts[2](self.parts[1](y) + x[:, 0])


def highway(self, x, m, layers):
    y = mean(x, m)
    g = torch.sigmoid(self.parts[0](y))
    return self.parts[2](g * F.relu(self.parts[1](y)) + (1 - g) * y)


def prototypes(self, x, m, layers):
    """nearest class mean: minus the squared distance"""
    return -((mean(x, m).unsqueeze(1) - self.learned[0]) ** 2).sum(-1)


def prototypes_cdist(self, x, m, layers):
    return -torch.cdist(mean(x, m), self.learned[0])


def cosine_classes(self, x, m, layers):
    """ArcFace's score at rest"""
    return F.linear(F.normalize(mean(x, m)), F.normalize(self.learned[0])) * 16


def ordinal(self, x, m, layers):
    return self.parts[0](x[:, 0]) + torch.cumsum(F.softplus(self.learned[0]), 0)


def factor(self, x, m, layers):
    """bilinear of class token and mean"""
    return self.parts[0](x[:, 0], mean(x, m))


def entity_markers(self, x, m, layers):
    return self.parts[0](torch.cat([x[:, 2], x[:, 7]], -1))


def entity_mean(self, x, m, layers):
    e = torch.zeros(1, N)
    e[:, 3:6] = 1 / 3
    return self.parts[0](torch.cat([x[:, 0], (e.unsqueeze(1) @ x).squeeze(1)], -1))


def words(self, x, m, layers):
    """the first piece of every word"""
    return self.parts[0](x[:, torch.tensor([1, 2, 5, 6, 9])])


def word_means(self, x, m, layers):
    """pieces of a word summed by index_add"""
    at = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5])
    return self.parts[0](torch.zeros(1, 6, D).index_add(1, at, x) / 2.0)


def top_tokens(self, x, m, layers):
    """the k best tokens' mean score"""
    return torch.topk(self.parts[0](x).transpose(1, 2), 4, -1).values.mean(-1)


def noisy_or(self, x, m, layers):
    """multiple instances: any token may be the reason"""
    p = torch.sigmoid(self.parts[0](x)) * m.unsqueeze(-1)
    return 1 - torch.prod(1 - p, 1)


def soft_maximum(self, x, m, layers):
    return torch.logsumexp(self.parts[0](x), 1)


def generalised_mean(self, x, m, layers):
    return self.parts[0]((x.clamp(min=1e-3) ** 3).mean(1) ** (1 / 3))


def moments(self, x, m, layers):
    """statistics pooling: mean and standard deviation"""
    return self.parts[0](torch.cat([x.mean(1), x.std(1)], -1))


def truncated(self, x, m, layers):
    return F.normalize(mean(x, m)[:, :16], dim=-1)


def instruction(self, x, m, layers):
    """INSTRUCTOR: the instruction's tokens are left out"""
    keep = m.clone()
    keep[:, :4] = 0
    return F.normalize(mean(x, keep), dim=-1)


def average_pool(self, x, m, layers):
    """E5"""
    y = x.masked_fill(~m[..., None].bool(), 0.0).sum(1) / m.sum(1)[..., None]
    return F.normalize(y, p=2, dim=1)


def logistic(self, x, m, layers):
    return torch.sigmoid(self.parts[0](x[:, 0])).squeeze(-1)


def difference(self, x, m, layers):
    """yes against no at the last token (a reranker that is a language model)"""
    s = self.parts[0](x[:, -1])
    return torch.log_softmax(torch.stack([s[:, 7], s[:, 9]], -1), -1)[:, :1].exp()


def yes(self, x, m, layers):
    return self.parts[0](x[:, -1])[:, 7:8]


def linear(i, o):
    return nn.Linear(i, o)


HEADS = {}


def head(name, score, modules=lambda: (), parameters=lambda: None, inputs=text(), outputs=("output",), **kw):
    HEADS[name] = (lambda a: On(score, modules(), a, parameters()), inputs, dict(outputs=outputs, **kw))


for mode in ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
    HEADS[f"st_{mode}"] = (lambda a, mode=mode: Sentence(a, pooling(mode)), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_cls_max"] = (lambda a: Sentence(a, lambda st: st.Pooling(D, pooling_mode=("cls", "max"))), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_dense"] = (lambda a: Sentence(a, pooling("mean"), lambda st: st.Dense(D, 12), lambda st: st.Normalize()), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_norm"] = (lambda a: Sentence(a, pooling("mean"), lambda st: st.LayerNorm(D), lambda st: st.Dense(D, 12, activation_function=nn.Identity(), bias=False)), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_layers"] = (lambda a: Sentence(a, lambda st: st.WeightedLayerPooling(D, num_hidden_layers=3, layer_start=1), pooling("mean")), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_cnn"] = (lambda a: Sentence(a, lambda st: st.CNN(D, 8, [1, 3, 5]), lambda st: st.Pooling(24, pooling_mode="max")), text(), dict(outputs=("output",), target="0,3"))
HEADS["st_lstm"] = (lambda a: Sentence(a, lambda st: st.LSTM(D, 8), lambda st: st.Pooling(16, pooling_mode="mean")), text(0), dict(outputs=("output",), target="0,3"))
one = lambda o=3, i=D: lambda: (linear(i, o),)
for name, score, modules in [("colbert", late_interaction, one(12)), ("siamese", siamese, one(3, 4 * D)), ("similarity", similarity, lambda: ()), ("esim", cross_attended, one(3, 4 * D))]:
    HEADS[name] = (lambda a, score=score, modules=modules: Pair(score, modules(), a), pair, dict(outputs=("output",), target="0,0"))
head("splade", splade, one(VOCAB), target="0,9")
head("splade_sum", splade_sum, one(VOCAB), target="0,9")
head("elmo", weighted_layers, one(), lambda: [nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(1))])
head("stacked_layers", stacked_layers, one(), lambda: [nn.Parameter(torch.zeros(4))])
head("last_layers", last_layers, one(3, 3 * D))
head("layer_attention", layer_attention, one(), lambda: [nn.Parameter(torch.randn(D))])
for name, make in [("lstm", lambda: nn.LSTM(D, 8, batch_first=True, bidirectional=True)), ("gru", lambda: nn.GRU(D, 8, batch_first=True, bidirectional=True)),
                   ("lstm_two", lambda: nn.LSTM(D, 8, 2, batch_first=True, bidirectional=True)), ("rnn", lambda: nn.RNN(D, 8, batch_first=True, bidirectional=True))]:
    head(name + "_tagger", recurrent, lambda make=make: (make(), linear(16, 3)), target="0,4,1")
    head(name + "_last", recurrent_last, lambda make=make: (make(), linear(16, 3)))
    head(name + "_max", recurrent_max, lambda make=make: (make(), linear(16, 3)))
head("text_cnn", convolutions, lambda: (*[nn.Conv1d(D, 8, k) for k in (2, 3, 4)], linear(24, 3)))
head("text_cnn_pool", convolution_pool, lambda: (nn.Conv1d(D, 8, 3, padding=1), linear(8, 3)))
head("text_cnn_2d", convolution_2d, lambda: (*[nn.Conv2d(1, 8, (k, D)) for k in (2, 3)], linear(16, 3)))
head("biaffine", biaffine, lambda: (linear(D, 8), linear(D, 8)), lambda: [nn.Parameter(torch.randn(8, 9))], target="0,4,2")
head("biaffine_labels", biaffine_labels, lambda: (linear(D, 8), linear(D, 8)), lambda: [nn.Parameter(torch.randn(3, 8, 8))], target="0,4,2,1")
head("spans", spans, one(3, 2 * D + 4), lambda: [nn.Parameter(torch.randn(3, 4))], target="0,7,1")
head("gliner", span_labels, lambda: (linear(D, 8), linear(D, 8), linear(D, 8), linear(16, 8)), target="0,3,1,1")
head("answer", answer, one(2), target="0,37")
head("global_pointer", endpoints, one(48), target="0,1,3,7")
head("crf_partition", crf, one(3), lambda: [nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(3))])
head("crf_emissions", emissions, one(3), target="0,4,1")
head("caml", label_attention, lambda: (), lambda: [nn.Parameter(torch.randn(5, D)), nn.Parameter(torch.randn(5, D))])
head("token_attention", token_attention, lambda: (nn.Sequential(linear(D, 8), nn.Tanh(), linear(8, 1)), linear(D, 3)))
head("token_attention_sum", token_attention_sum, lambda: (nn.Sequential(linear(D, 8), nn.Tanh(), linear(8, 1)), linear(D, 3)))
head("squeeze_excite", squeeze_excite, lambda: (nn.Sequential(linear(D, 8), nn.ReLU(), linear(8, D)), linear(D, 3)))
head("dropout_samples", samples, one())
head("two_heads", two_heads, lambda: (linear(D, 3), linear(D, 5)), outputs=("sentence", "tokens"), target="0,4,1", output=1)
head("normed_head", normed_head, lambda: (linear(D, D), nn.LayerNorm(D), linear(D, 3)))
head("batch_normed_head", normed_head, lambda: (linear(D, D), nn.BatchNorm1d(D), linear(D, 3)))
head("highway", highway, lambda: (linear(D, D), linear(D, D), linear(D, 3)))
head("prototypes", prototypes, lambda: (), lambda: [nn.Parameter(torch.randn(4, D))])
head("prototypes_cdist", prototypes_cdist, lambda: (), lambda: [nn.Parameter(torch.randn(4, D))])
head("cosine_classes", cosine_classes, lambda: (), lambda: [nn.Parameter(torch.randn(4, D))])
head("ordinal", ordinal, one(1), lambda: [nn.Parameter(torch.randn(4))])
head("bilinear", factor, lambda: (nn.Bilinear(D, D, 3),))
head("entity_markers", entity_markers, one(3, 2 * D))
head("entity_mean", entity_mean, one(3, 2 * D))
head("first_pieces", words, one(), target="0,2,1")
head("word_sums", word_means, one(), target="0,2,1")
head("top_tokens", top_tokens, one())
head("noisy_or", noisy_or, one())
head("soft_maximum", soft_maximum, one())
head("generalised_mean", generalised_mean, one())
head("moments", moments, one(3, 2 * D))
head("matryoshka", truncated, target="0,3")
head("instructor", instruction, target="0,3")
head("e5", average_pool, target="0,3")
head("reranker", logistic, one(1), target="0")
head("yes_no", difference, one(VOCAB), target="0,0")
head("yes_logit", yes, one(VOCAB), target="0,0")


# ------------------------------------------------------------------ beside the weights
class Chunks(nn.Module):
    """a long text in pieces, each encoded by itself, then read together"""
    def __init__(self, attention, how):
        super().__init__()
        self.model, self.how, self.head = bert(attention), how, nn.Linear(D, 3)
        self.over = nn.TransformerEncoderLayer(D, 4, 48, batch_first=True) if how == "attention" else None

    def forward(self, input_ids, attention_mask):
        b, c, n = input_ids.shape
        x = self.model(input_ids=input_ids.view(b * c, n), attention_mask=attention_mask.view(b * c, n))[0][:, 0].view(b, c, -1)
        x = self.over(x).mean(1) if self.over else x.max(1).values if self.how == "max" else x.mean(1)
        return self.head(x)


for how in ("max", "mean", "attention"):
    HEADS[f"chunks_{how}"] = (lambda a, how=how: Chunks(a, how), lambda: {"input_ids": ids(12, rows=3).unsqueeze(0), "attention_mask": torch.ones(1, 3, 12, dtype=torch.int64)}, dict(outputs=("output",)))


def adapted(kind, merge=False, **kw):
    """peft around a classifier"""
    def build(attention):
        import peft
        model = tf.BertForSequenceClassification(tf.BertConfig(**BERT, num_labels=3, attn_implementation=attention))
        model = peft.get_peft_model(model, getattr(peft, kind)(**kw))
        return model.merge_and_unload() if merge else model
    return build


for name, kind, kw in [("lora", "LoraConfig", dict(r=4, target_modules=["query", "value", "dense"])), ("dora", "LoraConfig", dict(r=4, use_dora=True, target_modules=["query", "value"])), ("rslora_all", "LoraConfig", dict(r=4, use_rslora=True, target_modules="all-linear", task_type="SEQ_CLS")),
                       ("lora_embedding", "LoraConfig", dict(r=4, target_modules=["word_embeddings", "query"])), ("ia3", "IA3Config", dict(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"])), ("loha", "LoHaConfig", dict(r=4, target_modules=["query", "value"])),
                       ("lokr", "LoKrConfig", dict(r=4, target_modules=["query", "value"])), ("oft", "OFTConfig", dict(r=0, oft_block_size=8, target_modules=["query", "value"])), ("boft", "BOFTConfig", dict(boft_block_size=4, target_modules=["query", "value"])), ("adalora", "AdaLoraConfig", dict(init_r=4, total_step=10, target_modules=["query", "value"])),
                       ("vera", "VeraConfig", dict(r=4, target_modules=["query", "value"])), ("fourierft", "FourierFTConfig", dict(n_frequency=20, target_modules=["query", "value"])), ("hra", "HRAConfig", dict(r=4, target_modules=["query", "value"])), ("vblora", "VBLoRAConfig", dict(r=4, num_vectors=16, vector_length=8, target_modules=["query", "value"])),
                       ("prefix_tuning", "PrefixTuningConfig", dict(task_type="SEQ_CLS", num_virtual_tokens=4)), ("prefix_projection", "PrefixTuningConfig", dict(task_type="SEQ_CLS", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=16)), ("prompt_tuning", "PromptTuningConfig", dict(task_type="SEQ_CLS", num_virtual_tokens=4)),
                       ("p_tuning", "PromptEncoderConfig", dict(task_type="SEQ_CLS", num_virtual_tokens=4, encoder_hidden_size=16)), ("ln_tuning", "LNTuningConfig", dict(task_type="SEQ_CLS")), ("bone", "BoneConfig", dict(r=4, target_modules=["query", "value"])), ("road", "RoadConfig", dict(group_size=8, target_modules=["query", "value"])), ("shira", "ShiraConfig", dict(r=2, target_modules=["query", "value"]))]:
    HEADS["peft_" + name] = (adapted(kind, **kw), text(), dict(outputs=("logits",)))


class Bottleneck(nn.Module):
    def __init__(self, layer, parallel):
        super().__init__()
        self.layer, self.parallel = layer, parallel
        self.down, self.up = nn.Linear(D if not parallel else layer.dense.in_features, 6), nn.Linear(6, D)

    def forward(self, x, residual):
        if self.parallel:
            return self.layer.LayerNorm(self.layer.dense(x) + 0.5 * self.up(F.relu(self.down(x))) + residual)
        h = self.layer.dense(x)
        return self.layer.LayerNorm(h + self.up(F.relu(self.down(h))) + residual)


def with_adapters(parallel):
    def build(attention):
        m = tf.BertForSequenceClassification(tf.BertConfig(**BERT, num_labels=3, attn_implementation=attention))
        for l in m.bert.encoder.layer:
            l.output, l.attention.output = Bottleneck(l.output, parallel), Bottleneck(l.attention.output, parallel)
        return m
    return build


HEADS["houlsby"] = (with_adapters(False), text(), dict(outputs=("logits",)))
HEADS["parallel_adapter"] = (with_adapters(True), text(), dict(outputs=("logits",)))


def of(model, config, **kw):
    def build(attention):
        return getattr(tf, model)(getattr(tf, config)(**{**BERT, **kw}, attn_implementation=attention))
    return build


HEADS["electra_discriminator"] = (of("ElectraForPreTraining", "ElectraConfig", embedding_size=16), text(), dict(outputs=("logits",), target="0,4"))
HEADS["electra_generator"] = (of("ElectraForMaskedLM", "ElectraConfig", embedding_size=16), text(), dict(outputs=("logits",), target="0,4,9"))
HEADS["roberta_choice"] = (of("RobertaForMultipleChoice", "RobertaConfig"), lambda: {"input_ids": ids(12, rows=3).unsqueeze(0), "attention_mask": torch.ones(1, 3, 12, dtype=torch.int64)}, dict(outputs=("logits",)))
HEADS["multi_label"] = (lambda a: Scored(of("BertForSequenceClassification", "BertConfig", num_labels=5)(a), torch.sigmoid), text(), dict(outputs=("output",)))
HEADS["probabilities"] = (lambda a: Scored(of("BertForSequenceClassification", "BertConfig", num_labels=5)(a), lambda v: torch.softmax(v / 1.7, -1)), text(), dict(outputs=("output",)))
HEADS["log_probabilities"] = (lambda a: Scored(of("BertForSequenceClassification", "BertConfig", num_labels=5)(a), lambda v: torch.log_softmax(v, -1)), text(), dict(outputs=("output",)))
HEADS["entailment"] = (lambda a: Scored(of("BertForSequenceClassification", "BertConfig", num_labels=3)(a), lambda v: torch.softmax(v[:, [0, 2]], -1)), text(), dict(outputs=("output",)))
HEADS["ensemble"] = (lambda a: Two(a), text(), dict(outputs=("output",)))


class Scored(nn.Module):
    def __init__(self, model, f):
        super().__init__()
        self.model, self.f = model, f

    def forward(self, **kw):
        return self.f(self.model(**kw).logits)


class Two(nn.Module):
    """two encoders' mean probability"""
    def __init__(self, attention):
        super().__init__()
        self.a, self.b = (of("BertForSequenceClassification", "BertConfig", num_labels=3)(attention) for _ in range(2))

    def forward(self, **kw):
        return (self.a(**kw).logits + self.b(**kw).logits) / 2
