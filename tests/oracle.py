#!/usr/bin/env python3
"""Compares explanations with those of the paper authors' own code, layer by layer.

    oracle.py TOOL DUMP_REVERSE ROOT

ROOT/CASE holds models of the same weights, expected.npz (the authors' code in float64; the keys are
explained in tests/data/oracle/README.md) and meta.json, whose `f32_vs_f64` says how far the authors'
own float32 results are from it. Ours may be four times as far. Exit status 77 (skipped) if there is
no ROOT.
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
# Steps whose relevance at their output (in0) or for an input (out0, out1) is all that one value of
# any export receives. The others only rearrange, are one of several shares of a value, or belong to
# values that exporters cut differently.
TRACED = re.compile(r"(mlp\.fc[12]|attn\.proj|attn\.softmax|norm[12]?|head|output\.dense|pooler\.dense|classifier)__in0$"
                    r"|(mlp\.fc[12]|attn\.proj|norm[12]|output\.dense|classifier)__out0$"
                    r"|blocks\.\d+\.add[12]__(in0|out1)$|output\.add__(in0|out0)$"
                    r"|(clone[12]|layer\.\d+\.clone)__out0$|matmul2__out0$")
# The authors say nothing of their float32 error at these; it is that of the neighbouring results,
# with some room.
TRACE_ROOM = 2


def distance(got, want):
    if got.shape != want.shape:
        return float("inf")
    return float(np.max(np.abs(got.astype(np.float64) - want)) / max(np.max(np.abs(want)), 1e-30))


def batchless(array):
    return array.reshape(array.shape[1:]) if array.ndim and array.shape[0] == 1 else array


class Model:
    """One model file with one of the case's inputs and classes."""

    def __init__(self, tools, path, expected, limits, picture, x, c):
        self.tool, self.dump = tools
        self.path, self.expected, self.limits = path, expected, limits
        self.picture, self.x, self.c = picture, x, c
        self.failures, self.checks, self.worst = [], 0, {}

    def check(self, kind, label, got, want, limit):
        off = distance(got, want)
        self.checks += 1
        self.worst[kind] = max(self.worst.get(kind, 0), off / limit)
        if not off <= FACTOR * limit:
            self.failures.append(f"{self.path.parent.name}/{self.path.name}: {label} off by {off:.1e}, "
                                 f"the authors' float32 by {limit:.1e}")

    def inputs(self, folder):
        if self.picture:
            arrays = {"x": self.expected[f"x{self.x}"].astype(np.float32)}
        else:
            names = ("input_ids", "attention_mask", "token_type_ids")
            arrays = {name: self.expected[f"{name}_x{self.x}"] for name in names}
        words = []
        for name, array in arrays.items():
            np.save(f"{folder}/{name}.npy", array)
            words.append(f"{name}={folder}/{name}.npy")
        return words

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            self.failures.append(f"{self.path}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def check_command_line(self, folder, inputs):
        """Token relevance, with and without the first layers, and E_b."""
        for key in [k for k in self.expected.files if re.fullmatch(rf"tiba(_s\d+)?_x{self.x}_c{self.c}", k)]:
            prefix = key.rsplit("_x", 1)[0]
            options = ["--start-layer", prefix[6:]] if "_s" in prefix else []
            self.run([self.tool, str(self.path), *inputs, "--target", str(self.c), "--npy", folder, *options])
            found = list(pathlib.Path(folder).glob("tokens.*.npy"))
            if not found:
                return
            # The authors leave out (pictures) or overwrite (texts) the class token's entry.
            want = self.expected[key] if self.picture else self.expected[key][1:]
            # The whole rollout's error is a better measure than the luck of a shorter one.
            limit = max(self.limits[prefix], self.limits["tiba"])
            self.check(prefix, key, np.load(found[0])[1:], want, limit)
        for b in range(64):
            key = f"fused_x{self.x}_c{self.c}_b{b}"
            if key in self.expected.files:
                found = list(pathlib.Path(folder).glob(f"block.{b}.*.npy"))
                self.check("fused", key, np.load(found[0]), self.expected[key], self.limits["fused"])

    def check_reverse(self, folder, inputs):
        """Gradient and relevance of P, relevance between the layers and at every step."""
        lines = self.run([self.dump, str(self.path), folder, str(self.c), *inputs]).splitlines()
        ps = {int(l.split()[1]): int(l.split()[2]) for l in lines if l.startswith("attention ")}
        ids = [int(l.split()[0]) for l in lines if not l.startswith("attention ")]

        def load(what, i):
            path = pathlib.Path(f"{folder}/{what}.{i}.npy")
            return batchless(np.load(path)) if path.exists() else None

        for b, p in ps.items():
            for what, prefix in (("gradient", "grad"), ("relevance", "cam")):
                key = f"{prefix}_x{self.x}_c{self.c}_b{b}"
                if key in self.expected.files:
                    self.check(prefix, key, load(what, p), self.expected[key], self.limits[prefix])
        values = [(load("value", i), load("relevance", i)) for i in ids]
        values = [(v, r) for v, r in values if r is not None]
        for b in range(64):
            hidden, key = f"hid_x{self.x}_b{b}", f"rel_x{self.x}_c{self.c}_b{b}"
            if key not in self.expected.files or hidden not in self.expected.files:
                continue
            same = [r for v, r in values if distance(v, self.expected[hidden]) < 1e-4]
            best = min(same, key=lambda r: distance(r, self.expected[key]), default=np.zeros(0))
            self.check("rel", key, best, self.expected[key], self.limits["rel"])
        for key in [k for k in self.expected.files if k.startswith(f"trace_x{self.x}_c{self.c}__")]:
            if not TRACED.search(key):
                continue
            want = batchless(self.expected[key])
            if "matmul2" in key:  # halved by the caller
                want = want / 2
            same = [r.reshape(want.shape) for v, r in values if r.size == want.size]
            best = min(same, key=lambda r: distance(r, want), default=np.zeros(0))
            self.check("trace", key, best, want, TRACE_ROOM * max(self.limits[k] for k in ("rel", "cam", "fused")))

    def measure(self):
        with tempfile.TemporaryDirectory() as folder:
            inputs = self.inputs(folder)
            self.check_command_line(folder, inputs)
            if f"grad_x{self.x}_c{self.c}_b0" in self.expected.files:
                self.check_reverse(folder, inputs)
        return self


def models(tools, folder):
    expected = np.load(folder / "expected.npz")
    limits = json.loads((folder / "meta.json").read_text())["f32_vs_f64"]
    pairs = sorted({m.groups() for m in (re.fullmatch(r"tiba_x(\d+)_c(\d+)", k) for k in expected.files) if m})
    for path in sorted(folder.glob("*.onnx")):
        for x, c in pairs:
            # an archive reads from one file handle: one for each thread
            yield lambda p=path, x=x, c=c: Model(tools, p, np.load(folder / "expected.npz"), limits,
                                                 "x0" in expected.files, int(x), int(c)).measure()


def main(tool, dump, root):
    root = pathlib.Path(root)
    if not root.exists() and "TIBA_SHARED" in os.environ:
        root = pathlib.Path(os.environ["TIBA_SHARED"]) / root.name
    folders = sorted(path.parent for path in root.glob("*/expected.npz"))
    if not folders:
        print(f"{root}: not there, skipped")
        return 77
    jobs = [job for folder in folders for job in models((tool, dump), folder)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda job: job(), jobs))
    failures = [line for model in done for line in model.failures]
    for line in failures:
        print(line)
    for kind in sorted({kind for model in done for kind in model.worst}):
        worst = max(model.worst.get(kind, 0) for model in done)
        print(f"{kind}: at worst {worst:.2f} times the authors' float32 error")
    print(f"{len(jobs)} runs, {sum(model.checks for model in done)} checks, {len(failures)} failed")
    return failures != []


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
