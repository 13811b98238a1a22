#!/usr/bin/env python3
"""The same explanation from every file of a family: runs tiba-onnx on tests/data/families and compares the token
relevance and the attentions' blocks with what is stored there, in the words of numpy's format but without numpy.

    regress.py TIBA_ONNX DATA
"""
import array, glob, os, subprocess, sys, tempfile


def floats(path):
    data = open(path, "rb").read()
    start = 10 + int.from_bytes(data[8:10], "little")
    assert b"'<f4'" in data[:start], path
    return array.array("f", data[start:])


def name_of(path):
    return os.path.basename(path).split(".", 1)[1][:-4]


def arrays(folder):
    """{tokens.INPUT, block.K.INPUT: values}"""
    return {os.path.basename(p)[:-4]: floats(p) for kind in ("tokens", "block") for p in glob.glob(f"{folder}/{kind}.*.npy")}


def main():
    tool, root = sys.argv[1:3]
    bad = files = 0
    for folder in sorted(glob.glob(root + "/*/")):
        want = arrays(folder)
        feeds = [f"{name_of(p)}={p}" for p in sorted(glob.glob(folder + "input.*.npy"))]
        asked = ["--target", "0,1"]
        if os.path.exists(folder + "options.txt"):
            asked = open(folder + "options.txt").read().split()
        for model in sorted(glob.glob(folder + "*.onnx")):
            files += 1
            with tempfile.TemporaryDirectory() as out:
                r = subprocess.run([tool, model, *feeds, *asked, "--npy", out], capture_output=True, text=True)
                got = arrays(out)
            problem = r.stderr.strip()
            if not problem and set(got) != set(want):
                problem = f"{sorted(got)} instead of {sorted(want)}"
            for k in want if not problem else ():
                size = sorted(abs(v) for v in want[k])[-2]  # the largest token may be the read-out one's own 1
                if len(got[k]) != len(want[k]) or max(abs(a - b) for a, b in zip(got[k], want[k])) > 1e-3 * size:
                    problem = f"{k}: {list(got[k])} instead of {list(want[k])}"
            if problem:
                bad += 1
                print(f"{model}: {problem}")
    print(f"{files} files, {bad} differ")
    return 1 if bad or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
