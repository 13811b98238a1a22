#!/usr/bin/env python3
"""Explains exported models with known answers through the command line.

    zoo.py TOOL ROOT [PART OF A CASE'S NAME]

ROOT/cases.json lists the cases. ROOT/CASE holds model.onnx, input.NAME.npy and output.NAME.npy (the
outputs of another runtime for the same file); ROOT/expected/FAMILY.npz holds token relevances,
read-outs and E_b in float64, computed from the original PyTorch model. Exit status 77 (skipped) if
there is no ROOT.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from zoo_cases import measure

# What was done to the file decides what may be asked of it.
OUTPUT_TOLERANCE = {"fp16": 2e-2, "int8dyn": 2e-2, "int8qdq": 2e-2}
# (Half-precision weights alone, with every step in float32, take the small BERT to a cosine of 0.96.)
LEAST_COSINE = {"fp16": 0.95, "bf16": 0.95}
MEDIAN_COSINE = ("int8dyn", "int8qdq")  # held together by their median
LEAST_MEDIAN = 0.9
# Families whose expected explanation does not follow from the rules: there relevance goes through
# torch.addmm, with which that model spells its linear layers, by the plain gradient R Wᵀ instead of
# the z⁺-rule. families/plain_products.py computes both. Their outputs are compared all the same.
DISPUTED = {"gpt2"}


def distance(got, want):
    """Largest error relative to the largest expected magnitude."""
    if got.shape != want.shape:
        return float("inf")
    return float(np.max(np.abs(got.astype(np.float64) - want)) / max(np.max(np.abs(want)), 1e-30))


def cosine(got, want):
    if got.shape != want.shape:
        return 0.0
    got = got.astype(np.float64)
    return float(np.sum(got * want) / (np.linalg.norm(got) * np.linalg.norm(want) + 1e-30))


def is_image(case, tokens):
    """The picture's tower: the larger one of two."""
    pictures = any("pixel" in name or "input_values" in name for name in case["inputs"])
    return pictures and tokens == max(case["tokens"])


class Case:
    def __init__(self, tool, root, case):
        self.tool, self.root, self.case = tool, root, case
        self.failures, self.cosines, self.checks = [], [], 0

    def check(self, good, text):
        self.checks += 1
        if not good:
            self.failures.append(f"{self.case['case']}: {text}")

    def run(self, target, out):
        folder = self.root / self.case["case"]
        inputs = [f"{name}={folder}/input.{name}.npy" for name in self.case["inputs"]]
        command = [self.tool, str(folder / "model.onnx"), *inputs, "--npy", out]
        if target:
            command += ["--target", target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.check(done.returncode == 0 or not target, f"status {done.returncode}: {done.stderr.strip()}")

    def check_outputs(self, out):
        for name in self.case["outputs"]:
            path = out / f"output.{name}.npy"
            if not path.exists():
                self.check(False, f"output {name} was not written")
                continue
            off = distance(np.load(path), np.load(self.root / self.case["case"] / f"output.{name}.npy"))
            self.check(off <= OUTPUT_TOLERANCE.get(self.case["variant"], 1e-4), f"output {name} off by {off:.1e}")

    def find_tower(self, out, tokens, want):
        """Name and relevance of the tower with that many tokens; of two, the one that fits better."""
        found = {path.name[7:-4]: np.load(path) for path in out.glob("tokens.*.npy")}
        found = {name: array for name, array in found.items() if array.shape == (tokens,)}
        return min(found.items(), key=lambda item: distance(item[1], want), default=(None, None))

    def check_tower(self, out, expected, target, tokens):
        key = target.replace(",", "_")
        form = "raw" if is_image(self.case, tokens) else "rownorm"
        want = expected[f"tiba_{form}_n{tokens}_t{key}"]
        name, got = self.find_tower(out, tokens, want)
        label = f"target {target}, tower of {tokens}"
        if name is None:
            self.check(False, f"{label}: not found")
            return
        # The token that is read out holds the identity's 1, which would hide every error.
        readout = expected[f"readout_n{tokens}_t{key}"]
        others = readout <= 0.5
        variant = self.case["variant"]
        if variant in MEDIAN_COSINE:
            self.cosines.append(cosine(got[others], want[others]))
            return
        if variant in LEAST_COSINE:
            value = cosine(got[others], want[others])
            self.check(value >= LEAST_COSINE[variant], f"{label}: cosine {value:.3f}")
            return
        off = distance(got[others], want[others])
        self.check(off <= self.case["tolerance"]["tokens"], f"{label}: tokens off by {off:.1e}")
        off = distance(np.load(out / f"readout.{name}.npy"), readout)
        self.check(off <= self.case["tolerance"]["blocks"], f"{label}: read-out off by {off:.1e}")
        blocks = [k for k in expected.files if k.startswith(f"fused_n{tokens}_b") and k.endswith(f"_t{key}")]
        self.check(blocks, f"{label}: nothing expected of blocks")
        for k in range(len(blocks)):
            path = out / f"block.{k}.{name}.npy"
            off = distance(np.load(path), expected[f"fused_n{tokens}_b{k}_t{key}"]) if path.exists() else float("inf")
            self.check(off <= self.case["tolerance"]["blocks"], f"{label}: block {k} off by {off:.1e}")

    def measure(self):
        for index, target in enumerate(self.case.get("targets") or [None]):
            with tempfile.TemporaryDirectory() as folder:
                out = pathlib.Path(folder)
                self.run(target, folder)
                if index == 0:
                    self.check_outputs(out)
                if target and self.case["family"] not in DISPUTED:
                    expected = np.load(self.root / self.case["expected"])
                    for tokens in self.case["tokens"]:
                        self.check_tower(out, expected, target, tokens)
        return self


def main(tool, root, part=""):
    done = measure(root, part, lambda folder, case: Case(tool, folder, case).measure())
    failures = [line for case in done for line in case.failures]
    cosines = [value for case in done for value in case.cosines]
    if cosines and np.median(cosines) < LEAST_MEDIAN:
        failures.append(f"8-bit variants: median cosine {np.median(cosines):.3f}")
    for line in failures:
        print(line)
    print(f"{len(done)} models, {sum(case.checks for case in done)} checks, {len(failures)} failed")
    return failures != [] or not done


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
