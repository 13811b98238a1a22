#!/usr/bin/env python3
"""Compares the other methods with the paper authors' own code.

    methods_oracle.py TOOL ROOT

ROOT is as in oracle.py: expected.npz (the authors' code in float64) and meta.json with the distance of
their float32 results from it, of which ours may be four times as far. What their code only does for
display is left out: the class token's entry that texts overwrite and pictures drop. Where no result of
theirs exists before its min-max (attention-gradcam) or at all (generic), the formula is applied to their
attentions and gradients. Exit status 77 (skipped) if there is no ROOT.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

FACTOR = 4
# key of the authors: our method, start layer
KEYS = {
    "attn_rollout_s0": ("rollout", 0),
    "attn_rollout_s1": ("rollout", 1),
    "last_layer_attn": ("raw-attention", 0),
    "orig_full": ("lrp", 0),
    "orig_last_layer": ("partial-lrp", 0),
    "full": ("full-tiba-lrp", 0),
    "last_layer": ("last-tiba-lrp", 0),
    "rollout_lrp": ("lrp-rollout", 0),
    "rollout_lrp_s1": ("lrp-rollout", 1),
}
ALIASES = {"tiba": "transformer_attribution", "raw-attention": "last_layer_attn", "attention-gradcam": "attn_gradcam",
           "lrp": "full", "partial-lrp": "last_layer"}


class Arrays:
    """expected.npz, and methods.npz where the authors' other methods have a file of their own."""

    def __init__(self, folder):
        self.archives = [np.load(path) for path in (folder / "expected.npz", folder / "methods.npz") if path.exists()]
        self.files = {key for archive in self.archives for key in archive.files}

    def __getitem__(self, key):
        return next(archive[key] for archive in self.archives if key in archive.files)


class Case:
    def __init__(self, tool, path, x, c, first):
        self.tool, self.path, self.x, self.c, self.first = tool, path, x, c, first
        self.expected = Arrays(path.parent)
        self.limits = json.loads((path.parent / "meta.json").read_text())["f32_vs_f64"]
        self.picture = "x0" in self.expected.files
        self.failures, self.checks, self.worst = [], 0, {}

    def fail(self, text):
        self.failures.append(f"{self.path.parent.name}/{self.path.name} x{self.x} c{self.c}: {text}")

    def run(self, method, c, start=0, scale=1.0):
        with tempfile.TemporaryDirectory() as folder:
            if self.picture:
                arrays = {"x": self.expected[f"x{self.x}"].astype(np.float32) * np.float32(scale)}
            else:
                names = ("input_ids", "attention_mask", "token_type_ids")
                arrays = {name: self.expected[f"{name}_x{self.x}"] for name in names}
            words = []
            for name, array in arrays.items():
                np.save(f"{folder}/{name}.npy", array)
                words.append(f"{name}={folder}/{name}.npy")
            command = [self.tool, str(self.path), *words, "--target", str(c), "--method", method, "--npy", folder,
                       "--json", "-"]
            done = subprocess.run(command + (["--start-layer", str(start)] if start else []),
                                  capture_output=True, text=True, timeout=300)
            if done.returncode:
                self.fail(f"{method}: status {done.returncode}: {done.stderr.strip()}")
                return None
            self.said = json.loads(done.stdout)["notes"]
            return {path.name.split(".")[0]: np.load(path) for path in pathlib.Path(folder).glob("*.npy")
                    if path.name.split(".")[0] in ("tokens", "map", "output")}

    def check(self, label, got, want, limit):
        self.checks += 1
        off = float("inf")
        if got.shape == want.shape and np.all(np.isfinite(got)):
            off = float(np.max(np.abs(got.astype(np.float64) - want)) / max(np.max(np.abs(want)), 1e-30))
        self.worst[label] = max(self.worst.get(label, 0), off / limit)
        if not off <= FACTOR * limit:
            self.fail(f"{label} off by {off:.1e}, the authors' float32 by {limit:.1e}")

    def key(self, prefix):
        for key in (f"{prefix}_x{self.x}_c{self.c}", f"{prefix}_x{self.x}"):
            if key in self.expected.files:
                return key
        return None

    def stored(self):
        for prefix, (method, start) in KEYS.items():
            key = self.key(prefix)
            if not key:
                continue
            result = self.run(method, self.c, start)
            if not result:
                continue
            want = self.expected[key]
            if want.ndim == 2:
                self.check(prefix, result["map"], want, self.limits[prefix])
            else:
                self.check(prefix, result["tokens"][1:], want if self.picture else want[1:], self.limits[prefix])

    def derived(self):
        """attention-gradcam and generic from the authors' attentions and gradients."""
        p, g = [], []
        while {f"grad_x{self.x}_c{self.c}_b{len(p)}", f"attn_x{self.x}_b{len(p)}"} <= self.expected.files:
            g.append(self.expected[f"grad_x{self.x}_c{self.c}_b{len(p)}"])
            p.append(self.expected[f"attn_x{self.x}_b{len(p)}"])
        if not p:
            return
        first = 1 if self.picture else 0  # keys that say what a head is worth
        w = g[-1][:, 0, first:].mean(axis=-1)
        cam = np.maximum((w[:, None] * p[-1][:, 0, :]).mean(axis=0), 0)
        result = self.run("attention-gradcam", self.c)
        if result:
            self.check("gradcam", result["tokens"], cam, self.limits["gradcam"])
        if result and cam.max() == 0:  # theirs is 0 / 0 here
            self.checks += 1
            if not any("zero everywhere" in note for note in self.said):
                self.fail("nothing says that the map is zero everywhere")
        key = self.key("gradcam")
        if result and key and self.picture and np.all(np.isfinite(self.expected[key])):
            m = result["tokens"][1:].astype(np.float64)
            m = (m - m.min()) / (m.max() - m.min())
            self.check("gradcam min-max", m, self.expected[key].reshape(-1), self.limits["gradcam"])
        rolled = np.eye(p[0].shape[-1])
        for a, d in zip(p, g):
            block = np.eye(len(rolled)) + np.maximum(a * d, 0).mean(axis=0)
            if not self.picture:
                block /= block.sum(axis=1, keepdims=True)
            rolled = block @ rolled
        result = self.run("generic", self.c)
        if result:
            self.check("generic", result["tokens"][1:], rolled[0, 1:], self.limits["gradcam"])

    def behaviour(self):
        """What holds without anybody's numbers."""
        classes = len(self.expected[f"logits_x{self.x}"])
        for method in ("rollout", "raw-attention", "random"):
            maps = [self.run(method, c) for c in range(classes)]
            self.checks += 1
            if not all(m and np.array_equal(m["tokens"], maps[0]["tokens"]) for m in maps):
                self.fail(f"{method} is not the same for every class")
        for method, alias in ALIASES.items():
            one, other = self.run(method, self.c), self.run(alias, self.c)
            self.checks += 1
            if not (one and other and np.array_equal(one["tokens"], other["tokens"])):
                self.fail(f"{alias} is not {method}")
        if not self.picture:
            return
        # Σ x ⊙ gradient is the slope of the logit along x
        result, h = self.run("grad-x-input", self.c), 1e-2
        ends = [self.run("grad-x-input", self.c, scale=1 + s * h) for s in (1, -1)]
        self.checks += 1
        if not result or not all(ends):
            return
        slope = (ends[0]["output"][0, self.c] - ends[1]["output"][0, self.c]) / (2 * h)
        size = np.abs(result["map"]).sum()
        if abs(result["map"].sum() - slope) > 5e-3 * size or size == 0:
            self.fail(f"grad-x-input sums to {result['map'].sum()}, the slope is {slope}")

    def measure(self):
        self.stored()
        self.derived()
        if self.first:
            self.behaviour()
        return self


def main(tool, root):
    root = pathlib.Path(root)
    if not root.exists() and "TIBA_SHARED" in os.environ:
        root = pathlib.Path(os.environ["TIBA_SHARED"]) / root.name
    jobs = []
    for folder in sorted(path.parent for path in root.glob("*/expected.npz")):
        names = np.load(folder / "expected.npz").files
        pairs = sorted({m.groups() for m in (re.fullmatch(r"tiba_x(\d+)_c(\d+)", k) for k in names) if m})
        jobs += [(path, int(x), int(c), pairs[0] == (x, c)) for path in sorted(folder.glob("*.onnx"))
                 for x, c in pairs]
    if not jobs:
        print(f"{root}: not there, skipped")
        return 77
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda job: Case(tool, *job).measure(), jobs))
    failures = [line for case in done for line in case.failures]
    for line in failures:
        print(line)
    for kind in sorted({kind for case in done for kind in case.worst}):
        print(f"{kind}: at worst {max(case.worst.get(kind, 0) for case in done):.2f} times the authors' float32 error")
    print(f"{len(jobs)} runs, {sum(case.checks for case in done)} checks, {len(failures)} failed")
    return failures != []


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
