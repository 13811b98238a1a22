#!/usr/bin/env python3
"""What must not change an explanation: another run, the number of threads, the batch around a sample,
the spelling of a target.

    invariants.py TOOL TESTS/data/zoo
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close

tool, zoo = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
cases = {case["case"]: case for case in json.loads((zoo / "cases.json").read_text())}


def explain(case, arrays, *options):
    """All written arrays by name: their bytes and themselves."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        words = []
        for key, array in arrays.items():
            np.save(folder / f"in.{key}.npy", array)
            words.append(f"{key}={folder}/in.{key}.npy")
        out = folder / "out"
        r = subprocess.run([tool, zoo / case / "model.onnx", *words, "--npy", out, *options],
                           capture_output=True, text=True, timeout=120)
        check(r.returncode == 0, case, options, r.stderr)
        return {p.name: (p.read_bytes(), np.load(p)) for p in sorted(out.glob("*.npy"))}


def same_bytes(a, b):
    return a.keys() == b.keys() and all(a[k][0] == b[k][0] for k in a)


def inputs_of(case):
    return {name: np.load(zoo / case / f"input.{name}.npy") for name in cases[case]["inputs"]}


def check_bytes(case):
    arrays = inputs_of(case)
    first = explain(case, arrays, "--threads", "1")
    check(len(first) > 3, case, "few arrays:", sorted(first))
    check(same_bytes(first, explain(case, arrays, "--threads", "1")), case, "two runs differ")
    for threads in ("2", "3", "8"):
        check(same_bytes(first, explain(case, arrays, "--threads", threads)), case, "differs on threads:", threads)
    check(same_bytes(first, explain(case, arrays)), case, "differs on all processors")


def check_targets(case, short, long):
    arrays = inputs_of(case)
    check(same_bytes(explain(case, arrays, "--target", short), explain(case, arrays, "--target", long)),
          case, "targets", short, "and", long, "differ")


def off(got, want):
    return float(np.max(np.abs(got - want)) / max(np.max(np.abs(want)), 1e-30)) if got.shape == want.shape else np.inf


def check_batch(case, target, change):
    """Two samples together and one by one. Sums over rows may be cut differently, so not to the bit."""
    one = inputs_of(case)
    two = {name: change(name, array) for name, array in one.items()}
    both = explain(case, {name: np.concatenate([one[name], two[name]]) for name in one}, "--target", target)
    for s, arrays in enumerate((one, two)):
        alone = explain(case, arrays, "--target", target)
        check(alone.keys() == both.keys(), case, "other arrays", sorted(alone), sorted(both))
        for name, (_, want) in alone.items():
            got = both[name][1][s:s + 1].reshape(want.shape) if both[name][1].size == 2 * want.size else both[name][1]
            distance = off(got, want)
            check(distance <= 1e-3, case, f"sample {s}: {name} off by {distance:.1e}, {got.shape}")
        # and the one sample of a batch by its number
        picked = explain(case, {name: np.concatenate([one[name], two[name]]) for name in one}, "--target", f"{s},{target}")
        for name in (n for n in picked if not n.startswith("output")):
            distance = off(picked[name][1], alone[name][1])
            check(distance <= 1e-3, case, f"target {s},{target}: {name} off by {distance:.1e}")


def changed(name, array):
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array[..., ::-1]) * 0.75
    return np.ascontiguousarray(array[:, ::-1]) if name == "input_ids" else array


for case in ("bert-ts14", "bert_sdpa-dyn18", "vit_hf-ts14", "timm_vit_gap-ts17", "clip-dyn18", "swin_hf-dyn18",
             "vit_hf_sdpa-ts17-int8dyn"):
    check_bytes(case)
check_targets("bert-ts14", "2", "0,2")
check_targets("vit_hf-ts14", "0", "0,0")
check_targets("bert_ner-dyn18", "3,2", "0,3,2")
for case in ("bert-ts14", "vit_hf-ts14", "timm_vit_gap-ts17", "distilbert-ts17"):
    check_batch(case, "2", changed)
close()
