#!/usr/bin/env python3
"""Every method on every exported model of a zoo (see zoo.py).

    methods_zoo.py TOOL ROOT

No method is refused, and each gives finite numbers. Methods that do not
depend on the class give the same for each of the case's targets, others do not.
Exit status 77 (skipped) if there is no ROOT.
"""
import json
import subprocess
import sys

import numpy as np

from zoo_cases import measure

ANY_CLASS = ("rollout", "raw-attention", "random")


class Case:
    def __init__(self, tool, root, case):
        self.tool, self.root, self.case = tool, root, case
        self.failures, self.checks = [], 0

    def check(self, good, text):
        self.checks += 1
        if not good:
            self.failures.append(f"{self.case['case']}: {text}")

    def compare(self, target):
        folder = self.root / self.case["case"]
        inputs = [f"{name}={folder}/input.{name}.npy" for name in self.case["inputs"]]
        command = [self.tool, "compare", folder / "model.onnx", *inputs, "--json", "-"]
        done = subprocess.run(command + (["--target", target] if target else []), capture_output=True, text=True, timeout=300)
        self.check(done.returncode == 0 or not target, f"target {target}: status {done.returncode}: {done.stderr.strip()}")
        return {m["method"]: m for m in json.loads(done.stdout)["methods"]} if done.returncode == 0 else {}

    def check_methods(self, target, methods):
        for name, m in methods.items():
            self.check("refused" not in m, f"{name}, target {target}: {m.get('refused')}")
            if "refused" in m:
                continue
            for tower in m["towers"]:
                values = [np.nan if v is None else v for v in tower["relevance"]]
                self.check(np.all(np.isfinite(values)), f"{name}, target {target}: not finite")
                self.check("note" in tower or np.any(values), f"{name}, target {target}: zero, and nothing says so")

    def check_classes(self, first, second):
        for name in first.keys() & second.keys():
            if "refused" in first[name] or "refused" in second[name]:
                continue
            same = all(a["relevance"] == b["relevance"] for a, b in zip(first[name]["towers"], second[name]["towers"]))
            said = not first[name]["per_class"]
            self.check(said == (name in ANY_CLASS), f"{name}: per_class is {not said}")
            if said:
                self.check(same, f"{name} depends on the class")
            elif not any("note" in t for m in (first, second) for t in m[name]["towers"]):
                self.check(not same, f"{name} does not depend on the class")

    def measure(self):
        targets = self.case.get("targets") or [None]
        found = [self.compare(target) for target in targets]
        for target, methods in zip(targets, found):
            self.check_methods(target, methods)
        # of the same sample
        for i in range(1, len(targets)):
            if targets[i].split(",")[:-1] == targets[0].split(",")[:-1] and not self.pairs(found):
                self.check_classes(found[0], found[i])
        return self

    def pairs(self, found):
        """Two towers: another column of the output is another text, and its tower another sample."""
        return any(len(m["towers"]) > 1 for methods in found for m in methods.values() if "towers" in m)


def main(tool, root):
    done = measure(root, "", lambda folder, case: Case(tool, folder, case).measure())
    failures = [line for case in done for line in case.failures]
    for line in failures:
        print(line)
    print(f"{len(done)} models, {sum(case.checks for case in done)} checks, {len(failures)} failed")
    return failures != [] or not done


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
