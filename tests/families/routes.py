#!/usr/bin/env python3
"""The rollout through windowed models against index arithmetic: the shares of tokens are carried back by Swin's own way of
putting them into windows, not by the graph. Method `rollout` is used, whose blocks (attention itself) are large.

    routes.py TIBA_ONNX FILES [VARIANT...]

FILES are those of make_families.py; the models are those with 8 x 8 patches, two blocks in windows of 4 x 4 (the second one
shifted by 2), a merge of 2 x 2 and two blocks of one window (MaskFormer's Swin shifts that as well).
"""
import json, os, subprocess, sys, tempfile
import numpy as np
from reference import Reference

FAMILIES = {"swin": 0, "swinv2": 0, "donut_swin": 0, "maskformer_swin": 2, "timm_swin": 0, "timm_swinv2": 0}  # shift of the last block


def attentions(ref):
    """[windows, queries, keys] of every attention, mean over heads"""
    found = []
    for n in ref.graph.node:
        for i in n.input if n.op_type == "MatMul" and all(i in ref.active for i in n.input) and n.output[0] in ref.x else ():
            if ref.from_softmax(i):
                p = ref.x[i].detach().mean(-3)
                found.append(p.reshape(-1, *p.shape[-2:]).numpy())
    return found


def windows(side, shift):
    """which tokens each window of 4 x 4 holds"""
    grid = np.roll(np.arange(side * side).reshape(side, side), (-shift, -shift), (0, 1))
    return grid.reshape(side // 4, 4, side // 4, 4).transpose(0, 2, 1, 3).reshape(-1, 16)


def step(r, p, index):
    """r + Pᵀ r within each window"""
    out = r.copy()
    for window, tokens in zip(p, index):
        out[tokens] += window.T @ r[tokens]
    return out


def carried_back(p, w, last):
    r = step(step(w, p[3], windows(4, last)), p[2], windows(4, 0))
    r = np.repeat(np.repeat(r.reshape(4, 4), 2, 0), 2, 1).ravel() / 4  # each of the four merged tokens gets a quarter
    return step(step(r, p[1], windows(8, 2)), p[0], windows(8, 0))


def check(tool, folder, variant):
    family = json.load(open(folder + "/family.json"))
    name, model = family["inputs"][0], f"{folder}/{variant}.onnx"
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([tool, model, f"{name}={folder}/input.{name}.npy", "--target", "0,1", "--output", family["output"], "--method", "rollout",
                        "--rollout", "raw", "--npy", out], check=True, stdout=subprocess.DEVNULL)
        got, w = np.load(f"{out}/tokens.{name}.npy"), np.load(f"{out}/readout.{name}.npy").astype(np.float64)
    ref = Reference(model, {name: np.load(f"{folder}/input.{name}.npy")}, family["output"], [0, 1])
    want = carried_back(attentions(ref), w, FAMILIES[os.path.basename(folder)])
    return np.abs(got - want).max() / np.abs(want).max()


def main():
    tool, root, variants = sys.argv[1], sys.argv[2], sys.argv[3:] or ["ts17", "dyn18"]
    bad = files = 0
    for family in FAMILIES:
        for variant in variants:
            if os.path.exists(f"{root}/{family}/{variant}.onnx"):
                error = check(tool, f"{root}/{family}", variant)
                files, bad = files + 1, bad + (not error <= 1e-5)
                print(f"{family} {variant}: {error:.0e}", flush=True)
    print(f"{files} files, {bad} differ")
    return 1 if bad or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
