#!/usr/bin/env python3
"""Runs tiba-onnx on the files of make_families.py and tells how well they agree. Needs numpy alone.

    check_families.py TIBA_ONNX FILES [--plain] [--markdown FILE] [FAMILY...]

Every file holds the same weights as the others of its family, so all must give the same explanation. Two numbers per
file: the outputs' largest error against onnxruntime with that very file, and the token relevance's largest deviation from
the family's reference file, relative to the largest magnitude among the tokens that are not read out (half precision: 1 − cosine).
"""
import glob, json, os, shutil, subprocess, sys, tempfile
import numpy as np

ROUGH = {"fp16": (2e-2, 0.02), "int8": (5e-2, 0.1), "qdq": (5e-2, 0.1), "int4": (5e-2, 1.0), "approx": (1e-4, 0.02)}  # output error, 1 - cosine


def rough_of(variant):
    """The limits of a rounded or approximated file, by how the rewriting tool's name begins; None for the others."""
    last = variant.split("-")[-1]
    return next((limits for kind, limits in ROUGH.items() if last.startswith(kind)), None)


def relative(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if a.shape != b.shape:
        return float("inf")
    finite = np.isfinite(b)
    if not np.array_equal(finite, np.isfinite(a)):
        return float("inf")
    return float(np.abs(a - b)[finite].max(initial=0) / max(np.abs(b[finite]).max(initial=0), 1e-30))


def cosine(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30)) if a.shape == b.shape else 0.0


def run(tool, folder, variant, family):
    """{outputs: {name: error}, tokens: {input: array}, error: message}"""
    model = f"{folder}/{variant}.onnx"
    want = np.load(f"{folder}/{variant}.npz")
    out = tempfile.mkdtemp()
    feeds = [f"{k}={folder}/input.{k}.npy" for k in family["inputs"] if used(model, k)]
    rank = want[family["output"]].ndim if family["output"] in want.files else 2
    target = family["target"] or ",".join(["0"] * (rank - 1) + ["1"])
    result = {"outputs": {}, "tokens": {}, "readout": {}, "error": None}
    try:
        r = subprocess.run([tool, model, *feeds, "--output", family["output"], "--target", target, "--npy", out],
                           capture_output=True, text=True, timeout=60, errors="replace")
        code, message = r.returncode, (r.stderr.strip().splitlines() or [""])[-1]
        if code and not family["explain"]:
            pass
        if code:
            result["error"] = f"rc {code}: " + message.replace("tiba-onnx: ", "")
    except subprocess.TimeoutExpired:
        result["error"] = "more than a minute"
    for k in want.files:
        p = f"{out}/output.{k.replace('/', '_')}.npy"
        if os.path.exists(p):
            result["outputs"][k] = relative(np.load(p), want[k])
        elif not result["error"]:
            result["error"] = f"output {k} was not written"
    for kind in ("tokens", "readout"):
        for p in glob.glob(f"{out}/{kind}.*.npy"):
            result[kind][os.path.basename(p)[len(kind) + 1:-4]] = np.load(p).ravel().astype(np.float64)
    shutil.rmtree(out, ignore_errors=True)
    return result


def used(model, name, cache={}):
    """Does the file still have that input? Exporters drop unused ones."""
    data = cache.get(model) or cache.setdefault(model, open(model, "rb").read())
    return b"\x0a" + bytes([len(name)]) + name.encode() in data


def deviation(got, reference, rough):
    if set(got["tokens"]) != set(reference["tokens"]):
        return float("inf"), "towers " + ",".join(sorted(got["tokens"])) + " instead of " + ",".join(sorted(reference["tokens"]))
    worst = 0.0
    for k, want in reference["tokens"].items():
        mine, w = got["tokens"][k], reference["readout"][k]
        if mine.shape != want.shape:
            return float("inf"), f"{mine.size} tokens instead of {want.size}"
        others = w <= 0.5 * w.max() if w.max() > 0.5 and w.size == want.size else np.ones(want.size, bool)
        if not others.any():
            others[:] = True
        d = 1 - cosine(mine[others], want[others]) if rough else relative(mine[others], want[others])
        worst = max(worst, d)
    return worst, ""


def check(tool, folder, plain=False):
    family = json.load(open(folder + "/family.json"))
    files = [v for v, note in family["notes"].items() if note == "ok" and not (plain and rough_of(v))]
    results = {v: run(tool, folder, v, family) for v in files}
    reference = next((v for v in [family["base"], *files] if v and not results.get(v, {"error": 1})["error"]
                      and results[v]["tokens"] and not rough_of(v)), None)
    rows = []
    for v, r in results.items():
        rough = rough_of(v)
        forward = max(r["outputs"].values(), default=float("nan"))
        row = {"family": family["family"], "variant": v, "forward": forward, "tokens": float("nan"), "error": r["error"], "ok": False}
        if not r["error"]:
            row["ok"] = forward <= (rough[0] if rough else 1e-4)
            if not row["ok"]:
                row["error"] = f"outputs differ from onnxruntime's by {forward:.1e}"
            if family["explain"]:
                if r["tokens"] and reference:
                    row["tokens"], why = deviation(r, results[reference], rough)
                    if not row["tokens"] <= (rough[1] if rough else 1e-3):
                        row["ok"] = False
                        row["error"] = row["error"] or why or f"token relevance deviates by {row['tokens']:.1e} from {reference}"
                else:
                    row["ok"], row["error"] = False, row["error"] or "no tokens"
        rows.append(row)
    return family, rows


def cell(rows, v):
    r = next((r for r in rows if r["variant"] == v), None)
    if r is None:
        return ""
    mark = "" if r["ok"] else " ✗"
    return ("–" if r["tokens"] != r["tokens"] else f"{r['tokens']:.0e}") + mark


def main():
    args = sys.argv[1:]
    markdown = None
    if "--markdown" in args:
        i = args.index("--markdown")
        markdown = args[i + 1]
        del args[i:i + 2]
    plain = "--plain" in args  # without half precision and quantisation
    args = [a for a in args if a != "--plain"]
    tool, root, only = args[0], args[1], args[2:]
    table, failures, good, total = [], [], 0, 0
    for path in sorted(glob.glob(root + "/*/family.json")):
        name = path.split("/")[-2]
        if only and name not in only:
            continue
        family, rows = check(tool, os.path.dirname(path), plain)
        ok = sum(r["ok"] for r in rows)
        good, total = good + ok, total + len(rows)
        table.append((name, rows))
        worst = max([r["tokens"] for r in rows if r["ok"] and r["tokens"] == r["tokens"] and not rough_of(r["variant"])], default=float("nan"))
        print(f"{name:24s} {ok:2d} of {len(rows):2d}  worst {worst:.0e}", flush=True)
        groups = {}
        for r in rows:
            if not r["ok"]:
                groups.setdefault(r["error"][:170], []).append(r["variant"])
        for message, variants in groups.items():
            failures.append((name, variants, message))
            print(f"    {' '.join(variants)}\n        {message}", flush=True)
    print(f"{good} of {total} files")
    if markdown:
        write_markdown(markdown, table, failures, good, total)


REMARKS = """
## Why

- roberta, nomic: float32. The Add rule and the guarded division amplify rounding; reference.py in float32 deviates from itself in
  float64 by as much (7e-3, 3e-3), and with other random weights (SEED=11) these families agree to 8e-6.
- pvt `ortext`: with SEED=11 it agrees to 3e-4. Taken for the same amplification, but reference.py does not cover routed towers.
- beit_shared `dyn23-sdpa`: the exporter adds 1 to the whole bias. Softmax does not see it, the Add rule does; by the rules the file
  has another explanation, and reference.py gives the same one for it.
- att_divide_after divides by the sum of exponentials after the product with the values, so no softmax is multiplied by values.
- timm_xcit attends over channels, not tokens. fnet has no attention at all.
- ids_onehot makes integer one-hot rows of the ids and casts them: not recognised as an embedding look-up.
- fp16, int8dyn, qdq: rounded weights and activations under the same amplification; the limits here (0.02 and 0.1) are for single
  files; the medians are 3e-6, 4e-2 and 8e-3.
"""


def write_markdown(path, table, failures, good, total):
    columns = []
    for _, rows in table:
        for r in rows:
            if r["variant"] not in columns:
                columns.append(r["variant"])
    plain = [c for c in columns if "-" not in c or c.endswith("-sdpa")]
    tools = sorted({c.split("-", 1)[1] for c in columns if c not in plain and not c.startswith("dyn18-")}) + ["dyn18-" + c.split("-", 1)[1] for c in columns if c.startswith("dyn18-") and c not in plain]
    tools = list(dict.fromkeys(t for t in tools if t not in ("dyn18-ortext", "dyn18-slim")))
    with open(path, "w") as f:
        f.write("# The same weights, other files\n\nMade by `tests/families/make_families.py` and `check_families.py`: small randomly initialised models, exported and rewritten\n"
                "by the tools people use (column heads: exporter and opset, or the tool that rewrote the opset 17 file). A cell is the largest\n"
                "deviation of the token relevance from the family's reference file, relative to the largest magnitude among the tokens that\n"
                "are not read out; for fp16, int8dyn and qdq it is 1 − cosine. ✗: outputs or relevance are outside the tolerance (1e-4, 1e-3)\n"
                "or there is no explanation (–); the list below says why. Empty: the exporter or tool refuses the model.\n\n"
                f"{good} of {total} files agree.\n\n")
        f.write("| family | " + " | ".join(plain + tools) + " |\n|" + "---|" * (1 + len(plain) + len(tools)) + "\n")
        for name, rows in table:
            def tool(t):
                names = [r["variant"] for r in rows if r["variant"].endswith("-" + t) and not r["variant"].startswith("dyn18-")] or \
                        [r["variant"] for r in rows if r["variant"] == "dyn18-" + t]
                return cell(rows, names[0]) if names else ""
            f.write(f"| {name} | " + " | ".join([cell(rows, c) for c in plain] + [tool(t) for t in tools]) + " |\n")
        if failures:
            f.write("\n## What fails\n\n")
            for name, variants, message in failures:
                f.write(f"- {name} ({', '.join(variants)}): {message}\n")
            f.write(REMARKS)


if __name__ == "__main__":
    main()
