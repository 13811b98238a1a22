"""Rows for packages.py: electroencephalograms (braindecode), speech (funasr), series (timesfm), local features (kornia), spectra of satellites
(torchgeo), and what sentence-transformers and retrievers put behind a text's encoder."""
import torch
import torch.nn as nn
import transformers as tf
from packages import Call, add, add_image, fixed, floats, ids, image, together
from packages_more import of


def eeg(tag, name, times=400, target="0,1", **kw):
    add("eeg_" + tag, of("braindecode.models", name, n_chans=4, n_outputs=3, n_times=times, sfreq=200, **kw), floats(signal=(1, 4, times)), text=False, target=target)


eeg("atcnet", "ATCNet", 800)
eeg("bendr", "BENDR", encoder_h=32, contextualizer_hidden=48, transformer_layers=2, transformer_heads=4)
eeg("biot", "BIOT", embed_dim=32, num_heads=4, num_layers=2)
eeg("cbramod", "CBraMod", n_layer=2, nhead=8, dim_feedforward=48)
eeg("conformer", "EEGConformer", num_layers=2)
eeg("medformer", "MEDFormer", embed_dim=32, num_heads=4, num_layers=2, dim_feedforward=48, patch_len_list=[20, 40])
eeg("mvpformer", "MVPFormer", segment_len=100, d_model=32, n_layers=2, n_heads=4, n_head_kv=2, d_inner=48, local_window=3)
eeg("msvtnet", "MSVTNet", 800)
eeg("steeg", "STEEGFormer", embed_dim=32, depth=2, num_heads=4)
eeg("tcformer", "TCFormer", 800)


def sanm():
    from funasr.models.sanm.encoder import SANMEncoder, SANMEncoderExport
    return SANMEncoderExport(SANMEncoder(40, output_size=32, attention_heads=4, linear_units=48, num_blocks=3, input_layer="pe", kernel_size=5, sanm_shfit=0, selfattention_layer_type="sanm"),
                             feats_dim=40, onnx=True)


add("funasr_sanm", lambda: Call(sanm(), lambda m, x, n: m(x, n)[0]), together(floats(speech=(1, 20, 40)), fixed(speech_lengths=torch.tensor([20], dtype=torch.int32))), text=False, target="0,9,5")
add("funasr_paraformer_decoder", of("funasr.models.paraformer.decoder", "ParaformerSANMDecoder", lambda m, h, n, y, k: m(h, n, y, k)[0], vocab_size=60, encoder_output_size=32, attention_heads=4,
    linear_units=48, num_blocks=2, att_layer_num=2, kernel_size=5, sanm_shfit=0), together(floats(encoder=(1, 20, 32)), fixed(n=torch.tensor([20])), floats(embeds=(1, 7, 32)),
    fixed(n_embeds=torch.tensor([7]))), text=False, target="0,3,9")
add_image("torchgeo_dofa", of("torchgeo.models.dofa", "DOFA", lambda m, x: m(x, [0.665, 0.56, 0.49, 0.8]), img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=3,
          dynamic_embed_dim=16), image(32, 4), target="0,1")


class Matching(nn.Module):
    """LoFTR's layers and the scores of its matches"""
    def __init__(self, attention):
        super().__init__()
        from kornia.feature.loftr.loftr_module import LocalFeatureTransformer
        self.m = LocalFeatureTransformer({"d_model": 32, "nhead": 4, "layer_names": ["self", "cross"] * 2, "attention": attention})

    def forward(self, a, b):
        a, b = self.m(a, b)
        s = torch.einsum("nlc,nsc->nls", a, b) / 3.2
        return torch.log_softmax(s, 1) + torch.log_softmax(s, 2)


for attention in ("full", "linear"):
    add("kornia_loftr_" + attention, lambda attention=attention: Matching(attention), floats(first=(1, 12, 32), second=(1, 10, 32)), text=False, target="0,3,4")

# ------------------------------------------------------------------ texts for retrieval
MASKED = together(ids(), fixed(attention_mask=torch.tensor([[1] * 13 + [0] * 3])))


def bert(cls="BertModel"):
    c = tf.BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40)
    c._attn_implementation = "eager"
    return getattr(tf, cls)(c)


class Sentence(nn.Module):
    """sentence-transformers' own modules behind an encoder"""
    def __init__(self, *makers):
        super().__init__()
        from sentence_transformers import models
        self.t, self.m = bert(), nn.ModuleList([m(models) for m in makers])

    def forward(self, x, mask):
        f = {"input_ids": x, "attention_mask": mask, "token_embeddings": self.t(input_ids=x, attention_mask=mask)[0]}
        for m in self.m:
            f = m(f)
        return f["sentence_embedding"]


def pooled(**kw):
    return lambda M: M.Pooling(32, **kw)


for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
    add("sentence_" + mode, lambda mode=mode: Sentence(pooled(pooling_mode=mode), lambda M: M.Normalize()), MASKED, target="0,3")
add("sentence_dense", lambda: Sentence(pooled(pooling_mode="mean"), lambda M: M.Dense(32, 16), lambda M: M.Normalize()), MASKED, target="0,3")
add("sentence_cnn", lambda: Sentence(lambda M: M.CNN(32, 8, [1, 3, 5]), lambda M: M.Pooling(24, pooling_mode="mean")), MASKED, target="0,3")


class Retriever(nn.Module):
    """BGE-M3: a vector, weights of words, a vector for each token; SPLADE: weights of all words"""
    def __init__(self, splade=False):
        super().__init__()
        self.splade, self.t = splade, bert("BertForMaskedLM" if splade else "BertModel")
        self.s, self.c = nn.Linear(32, 1), nn.Linear(32, 16)

    def forward(self, x, mask):
        h = self.t(input_ids=x, attention_mask=mask)[0]
        if self.splade:
            return (torch.log1p(torch.relu(h)) * mask.unsqueeze(-1)).max(1).values
        sparse = torch.zeros(1, x.shape[1], 60).scatter(2, x.unsqueeze(-1), torch.relu(self.s(h))).max(1).values
        each = nn.functional.normalize(self.c(h[:, 1:]) * mask[:, 1:, None].float(), dim=-1)
        return nn.functional.normalize(h[:, 0], dim=-1), sparse, each


for k, target in enumerate(("0,3", f"0,{int(ids()()['input_ids'][0, 4])}", "0,4,3")):
    add(f"bge_m3_{('dense', 'sparse', 'tokens')[k]}", lambda: Retriever(), MASKED, outputs=("dense", "sparse", "tokens"), output=k, target=target)
add("splade", lambda: Retriever(True), MASKED, target="0,9")


class LateInteraction(nn.Module):
    """ColBERT's score of a query and a document"""
    def __init__(self):
        super().__init__()
        self.t, self.c = bert(), nn.Linear(32, 16, bias=False)

    def forward(self, query, document):
        q, d = (nn.functional.normalize(self.c(self.t(input_ids=x)[0]), dim=-1) for x in (query, document))
        return torch.einsum("bqd,bkd->bqk", q, d).max(-1).values.sum(-1, keepdim=True)


add("colbert_score", lambda: LateInteraction(), together(ids(8, name="query"), ids(16, name="document")), target="0,0")
