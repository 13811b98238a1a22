#!/usr/bin/env python3
"""The rollout through windowed and hierarchical models against index arithmetic: the shares of tokens are carried back by each
model's own way of moving and merging tokens, known from its source, not by the graph. By method `rollout`, whose blocks
(attention itself) are large, or by another one's E_b.

    routes.py TIBA_ONNX FILES [VARIANT...]          METHOD=tiba: the blocks of that method

FILES are those of make_families.py.
"""
import json, os, subprocess, sys, tempfile
import numpy as np
from reference import Reference, roundings


def attentions(ref, heads):
    """[windows, queries, keys] of every attention, mean over the axis of heads"""
    found = []
    for n in ref.graph.node:
        for k, i in enumerate(n.input) if n.op_type in ("MatMul", "Einsum") and all(i in ref.active for i in n.input) and n.output[0] in ref.x else ():
            if ref.from_softmax(i):
                p = ref.x[i].detach().mean(heads if ref.x[i].ndim > 4 else -3)
                p = p.mT if k == 1 and n.op_type == "MatMul" else p  # Vᵀ·Pᵀ
                found.append(p.reshape(-1, *p.shape[-2:]).numpy())
    return found


# ------------------------------------------------------------------ tokens row by row: which ones stand together
def windows(side, size, shift=0):
    """[windows, tokens]: windows of size x size, of the tokens rolled by shift"""
    grid = np.roll(np.arange(side * side).reshape(side, side), (-shift, -shift), (0, 1))
    return grid.reshape(side // size, size, side // size, size).transpose(0, 2, 1, 3).reshape(-1, size * size)


def lattices(side, size):
    """[lattices, tokens]: size x size tokens each, as far apart as there are lattices (MaxViT's grid attention)"""
    step = side // size
    return np.arange(side * side).reshape(size, step, size, step).transpose(1, 3, 0, 2).reshape(-1, size * size)


def spread(r, k):
    """what merges of k x k tokens were given, on the tokens: each has 1 / k²"""
    side = int(len(r) ** 0.5)
    return np.repeat(np.repeat(r.reshape(side, side), k, 0), k, 1).ravel() / k ** 2


def overlapped(r, side, kernel, stride, pad):
    """the same of a convolution whose windows overlap and reach beyond the picture: an element has 1 / how many are there"""
    out, n = np.zeros((side, side)), int(len(r) ** 0.5)
    for y in range(n):
        for x in range(n):
            rows, columns = [slice(max(0, v * stride - pad), v * stride - pad + kernel) for v in (y, x)]
            out[rows, columns] += r[y * n + x] / out[rows, columns].size
    return out.ravel()


def step(r, p, index):
    """r + Pᵀ r within each window"""
    out = r.copy()
    for window, tokens in zip(p, index):
        out[tokens] += window.T @ r[tokens]
    return out


# ------------------------------------------------------------------ one model each: from w at the readout to the first tokens
def swin(last):
    """8 x 8, two blocks in windows of 4 x 4, the second shifted by 2; 2 x 2 merged; two blocks of one window, shifted by `last`"""
    def carry(p, w):
        r = step(step(w, p[3], windows(4, 4, last)), p[2], windows(4, 4))
        return step(step(spread(r, 2), p[1], windows(8, 4, 2)), p[0], windows(8, 4))
    return carry


def pyramid(p, w, down):
    """each attention's keys are tokens merged by a convolution without overlap; `down` carries r to the stage before"""
    r = w
    for k in range(len(p) - 1, -1, -1):
        if len(r) != p[k].shape[1]:
            r = down(r, p[k].shape[1])
        merged = round((p[k].shape[1] / p[k].shape[2]) ** 0.5)
        r = r + spread((p[k].sum(0).T @ r), merged) if merged > 1 else r + p[k][0].T @ r
    return r


def pvt(p, w):
    return pyramid(p, w, lambda r, n: spread(r[-(len(r) // 4 * 4):], 2))  # the class token stands in front of the last stage


def overlapping(p, w):
    return pyramid(p, w, lambda r, n: overlapped(r, int(n ** 0.5), 3, 2, 1))


def twins(p, w):
    return step(spread(step(w, p[1], windows(4, 4)), 2), p[0], windows(8, 4))


def maxvit(p, w):
    """blocks of a convolution beside a skip connection, attention in windows and on lattices of 2 x 2. At the first block of a
    stage neither side is a plain skip connection, one pools and one convolves: half to each"""
    r = w
    for k in range(len(p) - 1, -1, -2):
        side = int((p[k].shape[0] * 4) ** 0.5)
        r = r if len(r) == side * side else (spread(r, 2) + overlapped(r, side, 3, 2, 1)) / 2
        r = step(step(r, p[k], lattices(side, 2)), p[k - 1], windows(side, 2))
    return r


def coatnet(p, w):
    """the first block of a stage pools in front of its attention and on its skip connection"""
    r = w
    for k in range(len(p) - 1, -1, -1):
        r = r + p[k][0].T @ r
        if k == 0 or p[k - 1].shape[1] != len(r):
            r = spread(r, 2)
    return r


def hiera(p, w):
    """tokens stand as [place in 2 x 2, finest first, … , coarse cell]; queries of a new stage are the maxima over the finest"""
    r = w
    for e in reversed(p):
        units, queries, keys = e.shape  # a unit's tokens are all those of one coarse cell, or everything
        pooled = keys // queries
        back = (r / pooled)[None].repeat(pooled, 0).ravel()
        for u in range(units):
            back[u::units] += e[u].T @ r[u::units]
        r = back
    levels = round(np.log2(len(r) / len(w)) / 2)
    side = int(len(r) ** 0.5)
    out = np.zeros((side, side))
    for t, v in enumerate(r):
        rest, cells, places = t, len(r), []
        for _ in range(levels):
            cells //= 4
            places.append(divmod(rest // cells, 2))
            rest %= cells
        at = divmod(rest, int(cells ** 0.5))
        for a, b in reversed(places):
            at = (2 * at[0] + a, 2 * at[1] + b)
        out[at] += v
    return out.ravel()


def chosen(p, w):
    """4 x 4 in rows, then in columns; the queries' attentions follow"""
    turned = lambda r: r.reshape(4, 4).T.ravel()
    rows_of = np.arange(16).reshape(4, 4)
    return step(turned(step(turned(w), p[1], rows_of)), p[0], rows_of)


def read(p, w):
    """learned queries: each attention that reads the tokens hands them Eᵀ r, their own leave r + Eᵀ r"""
    r, tokens = w, 0
    for e in reversed(p):
        if len(e[0]) != len(w):
            continue  # it reads the queries: above the readout
        if e[0].shape[0] == e[0].shape[1]:
            r = r + e[0].T @ r
        else:
            tokens = tokens + e[0].T @ r
    return tokens


def together(p, w):
    """tokens of another input stand behind those that read them, which leave r + Eᵀ r"""
    for e in reversed(p):
        w = w + (e[0].T @ w)[:len(w)] if e.shape[1] == len(w) else w  # others are the other input's own
    return w


def chunks(p, w):
    """chunks of 4 tokens overlap by 2 and are summed up: a token's share is halved among those that hold it"""
    n = p[0].shape[0]
    at = np.arange(n)[:, None] * 2 + np.arange(4) - 2  # two in front and behind are padding
    inside = (at >= 0) & (at < len(w))
    r = np.where(inside, w[at.clip(0, len(w) - 1)], 0) / 2
    r = step(r.ravel(), p[1], np.arange(4 * n).reshape(n, 4).T)
    r = step(r, p[0], np.arange(4 * n).reshape(n, 4)).reshape(n, 4)
    out = np.zeros(len(w))
    np.add.at(out, at[inside], r[inside])
    return out


def frames(p, w):
    """each frame for itself, then the class tokens, which stand first, of all frames"""
    places = np.arange(len(w)).reshape(p[0].shape[:2])
    return step(step(w, p[1], places[:, :1].T), p[0], places)


def each_alone(p, w):
    """pieces of a picture beside each other, whose patches are read, and the class token in front of each is not"""
    places = np.arange(p[0].shape[0] * p[0].shape[1]).reshape(p[0].shape[:2])
    r = np.zeros(places.size)
    r[places[:, 1:]] = w.reshape(len(places), -1)
    return step(r, p[0], places)


def phrases(p, w):
    """windows of 2 x 2 patches; what a text reads of them is not gone through"""
    for e in reversed([e for e in p if e.shape[1] == e.shape[2]]):
        w = step(w, e, windows(4, 2))
    return w


def parts(p, w):
    """parts of a text beside each other, of each the first token is read"""
    places = np.arange(p[0].shape[0] * p[0].shape[1]).reshape(p[0].shape[:2])
    r = np.zeros(places.size)
    r[places[:, 0]] = w
    for e in reversed(p):
        r = step(r, e, places)
    return r


def parts_of_picture(p, w):
    """likewise, where each part also reads another input, between: only its tokens' own attentions are told"""
    return parts([e for e in p if e.shape[1] == e.shape[2]], w)


def over_features(merge):
    """attention in windows of 4 x 4, then one over features, which hands nothing on; twice, merged between"""
    def carry(p, w):
        side = int((p[0].shape[0] * 16) ** 0.5)
        return step(merge(step(w, p[2], windows(side // 2, 4)), side), p[0], windows(side, 4))
    return carry


def class_over_features(p, w):
    """attentions over features in front of those of the class token, which stands first"""
    r = w
    for e in reversed(p[2:]):
        r = r + e[0].T @ r[:1] if e.shape[1] == 1 else r + e[0].T @ r
    return r


def upsampled(p, w):
    """2 x 2 tokens are made one and one 2 x 2 again between two layers"""
    whole = np.arange(16)[None]
    r = step(w, p[1], whole).reshape(2, 2, 2, 2).sum((1, 3)).ravel()
    return step(spread(r, 2), p[0], whole)


# family: (its way, the axis of heads where the attention has five)
FAMILIES = {"swin": (swin(0), -3), "swinv2": (swin(0), -3), "donut_swin": (swin(0), -3), "maskformer_swin": (swin(2), -3), "timm_swin": (swin(0), -3), "timm_swinv2": (swin(0), -3),
            "pvt": (pvt, 1), "timm_pvt_v2": (overlapping, 1), "segformer": (overlapping, 1), "timm_twins": (twins, -3), "timm_maxvit": (maxvit, -3), "timm_coatnet": (coatnet, -3),
            "perceiver": (read, -3), "maskformer": (read, -3), "read_by_learned": (read, -3), "together": (together, -3), "phrases": (phrases, -3), "parts": (parts, -3), "parts_of_picture": (parts_of_picture, -3), "frames": (frames, -3), "two_sizes": (each_alone, -3), "chosen_in_windows": (chosen, -3), "chunks": (chunks, -3), "hiera": (hiera, 1), "timm_hiera": (hiera, 1), "timm_davit": (over_features(lambda r, side: spread(r, 2)), -3),
            "florence2_vision": (over_features(lambda r, side: overlapped(r, side, 3, 2, 1)), -3),
            "upsampled": (upsampled, -3), "timm_xcit": (class_over_features, -3)}


def rows(model, name, feeds, results, family, way, method="rollout", single=False, ties="exact"):
    """the program's tokens and those that follow by `way` from its readout and every block; results: what it wrote"""
    got, w = np.load(f"{results}/tokens.{name}.npy"), np.load(f"{results}/readout.{name}.npy").astype(np.float64)
    carry, heads = FAMILIES[way]
    ref = Reference(model, {k: np.load(v) for k, v in feeds.items()}, family["output"], [int(i) for i in family["target"].split(",")], ties, single)
    if method == "rollout":
        return got, carry(attentions(ref, heads), w)
    ref.explain(heads)
    return got, carry(ref.windows, w)


def check(tool, folder, variant, method="rollout"):
    """(deviation of the program's tokens, were values rounded to float32 for it): of the way to compute the file that is nearest"""
    family = json.load(open(folder + "/family.json"))
    family["target"] = family.get("target") or "0,1"
    name, model = family["inputs"][0], f"{folder}/{variant}.onnx"
    feeds = {name: f"{folder}/input.{name}.npy"}
    best = float("inf"), False
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([tool, model, f"{name}={feeds[name]}", "--target", family["target"], "--output", family["output"], "--method", method,
                        "--rollout", "raw", "--npy", out], check=True, stdout=subprocess.DEVNULL)
        for single, ties in roundings(model):
            try:
                got, want = rows(model, name, feeds, out, family, os.path.basename(folder), method, single, ties)
            except (NotImplementedError, KeyError, RuntimeError):
                if ties != "optimised":
                    raise
                continue  # operators that only the optimiser writes
            best = min(best, (np.abs(got - want).max() / np.abs(want).max(), single))
            if best[0] <= 1e-5:
                break
    return best


def main():
    tool, root, variants = sys.argv[1], sys.argv[2], sys.argv[3:] or ["ts17", "dyn18"]
    bad = files = 0
    for family in FAMILIES:
        for variant in variants:
            if os.path.exists(f"{root}/{family}/{variant}.onnx"):
                error = check(tool, f"{root}/{family}", variant, os.environ.get("METHOD", "rollout"))[0]
                files, bad = files + 1, bad + (not error <= 1e-5)
                print(f"{family} {variant}: {error:.0e}", flush=True)
    print(f"{files} files, {bad} differ")
    return 1 if bad or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
