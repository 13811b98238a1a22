#!/usr/bin/env python3
"""Runs tiba-onnx on the files of make_families.py and its siblings and tells how well they agree. Needs numpy and onnx.

    check_families.py TIBA_ONNX [TITLE=]FILES... [FAMILY...] [--plain] [--why] [--known SAVED] [--jobs N] [--save FILE] [--markdown FILE]
    check_families.py SAVED... --markdown FILE

Every file holds the same weights as the others of its family, so all must give the same explanation. Two numbers per
file: the outputs' largest error against onnxruntime with that very file, and the token relevance's largest deviation from
the family's reference file, relative to the largest magnitude among the tokens that are not read out (rounded files: 1 − cosine).

--why looks for the reason of what is outside the limits (why.py, needs torch): does an independent float64 computation give
the same explanation for that very file, and how far does rounding of the weights alone move the explanation? That takes long: --known
SAVED (repeatable) takes the reasons of an earlier run for files whose numbers are what they were. --plain leaves rounded files out.
"""
import concurrent.futures, glob, json, os, re, shutil, subprocess, sys, tempfile
import numpy as np
import onnx

ROUGH = {"fp16": (2e-2, 0.02), "int8": (5e-2, 0.1), "qdq": (5e-2, 0.1), "int4": (5e-2, 1.0), "approx": (1e-4, 0.02)}  # output error, 1 - cosine


def rough_of(variant):
    """The limits of a rounded or approximated file, by how the rewriting tool's name begins; None for the others."""
    last = variant.split("-")[-1]
    return next((limits for kind, limits in ROUGH.items() if last.startswith(kind) or kind == "approx" and kind in last), None)


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


def feeds_of(folder, model, family):
    """The input files that the model still has: exporters drop unused inputs."""
    names = {i.name for i in onnx.load(model, load_external_data=False).graph.input}
    return {k: f"{folder}/input.{k}.npy" for k in family["inputs"] if k in names}


def target_of(folder, variant, family):
    want = np.load(f"{folder}/{variant}.npz")
    output = family["output"] or next(k for k in want.files if want[k].dtype.kind == "f")
    if output not in want.files:
        return family["target"] or "0,1"
    target = (family["target"] or ",".join(["0"] * (want[output].ndim - 1) + ["1"])).split(",")
    return ",".join(str(min(int(i), n - 1)) for i, n in zip(target, want[output].shape))  # a pruned head computes the last token alone


def output_of(folder, variant, family):
    """The output that is explained: tools may rename it, then the first. None: the program's own choice."""
    names = np.load(f"{folder}/{variant}.npz").files
    return family["output"] if family["output"] in (None, *names) else names[0]


def explain(tool, model, feeds, target, output):
    """{outputs, tokens, readout: {name: array}, error: message}"""
    out = tempfile.mkdtemp()
    result = {"outputs": {}, "tokens": {}, "readout": {}, "error": None}
    try:
        r = subprocess.run([tool, model, *[f"{k}={v}" for k, v in feeds.items()], *(["--output", output] if output else []), "--target", target,
                            "--threads", "1", "--npy", out], capture_output=True, text=True, timeout=180, errors="replace")
        if r.returncode:
            message = (r.stderr.strip().splitlines() or [""])[-1]
            result["error"] = f"rc {r.returncode}: " + message.replace("tiba-onnx: ", "")
    except subprocess.TimeoutExpired:
        result["error"] = "more than three minutes"
    for p in glob.glob(f"{out}/*.npy"):
        kind, name = os.path.basename(p)[:-4].split(".", 1)
        kind = "outputs" if kind == "output" else kind
        if kind in result:
            result[kind][name] = np.load(p).astype(np.float64)
    shutil.rmtree(out, ignore_errors=True)
    return result


def run(tool, folder, variant, family):
    """explain() with `forward`, the largest error of the outputs against onnxruntime's"""
    model = f"{folder}/{variant}.onnx"
    want = np.load(f"{folder}/{variant}.npz")
    result = explain(tool, model, feeds_of(folder, model, family), target_of(folder, variant, family), output_of(folder, variant, family))
    errors = []
    for k in want.files:
        name = k.replace("/", "_")
        if name in result["outputs"]:
            errors.append(relative(result["outputs"][name], want[k]))
        elif not result["error"]:
            result["error"] = f"output {k} was not written"
    result["forward"] = max(errors, default=float("nan"))
    return result


def alike(got, reference):
    """One tower under the reference's name, if files of the family call their inputs differently."""
    if len(got["tokens"]) == len(reference["tokens"]) == 1:
        return {**got, **{kind: dict(zip(reference[kind], got[kind].values())) for kind in ("tokens", "readout")}}
    return got


def deviation(got, reference, rough, limit=None):
    """(the largest of all towers, what is wrong if they do not compare); with a limit, (the towers that are further apart, "")"""
    got, apart = alike(got, reference), set()
    if set(got["tokens"]) != set(reference["tokens"]):
        return float("inf") if limit is None else set(got["tokens"]), "towers " + ",".join(sorted(got["tokens"])) + " instead of " + ",".join(sorted(reference["tokens"]))
    worst = 0.0
    for k, want in reference["tokens"].items():
        mine, want, w = got["tokens"][k].ravel(), want.ravel(), reference["readout"][k].ravel()
        if mine.shape != want.shape:
            return float("inf") if limit is None else set(got["tokens"]), f"{mine.size} tokens instead of {want.size}"
        others = w <= 0.5 * w.max() if w.max() > 0.5 and w.size == want.size else np.ones(want.size, bool)
        if not others.any():
            others[:] = True
        d = 1 - cosine(mine[others], want[others]) if rough else relative(mine[others], want[others])
        worst = max(worst, d)
        apart |= {k} if limit is not None and d > limit else set()
    return worst if limit is None else apart, ""


def same_numbers(a, b):
    """Evidence for one row is evidence for the other: the same file, and the program says what it said."""
    return a["state"] == "differs" and all(a[k] == b[k] or abs(a[k] - b[k]) <= 0.01 * abs(b[k]) for k in ("forward", "tokens"))


def check(tool, folder, plain, why, known, pool):
    family = json.load(open(folder + "/family.json"))
    files = [v for v, note in family["notes"].items() if note == "ok" and not (plain and rough_of(v))]
    results = dict(zip(files, pool.map(lambda v: run(tool, folder, v, family), files)))
    reference = next((v for v in [family["base"], *files] if v and not results.get(v, {"error": 1})["error"]
                      and results[v]["tokens"] and not rough_of(v)), None)
    rows = []
    for v, r in results.items():
        rough = rough_of(v)
        row = {"family": family["family"], "variant": v, "forward": r["forward"], "tokens": float("nan"), "error": r["error"],
               "state": "agrees", "why": ""}
        if r["error"]:
            row["state"] = "refused" if r["error"].startswith("rc 1") else "differs"
        else:
            if reference and r["tokens"]:
                row["tokens"], message = deviation(r, results[reference], rough)
                if not row["tokens"] <= (rough[1] if rough else 1e-3):
                    row["state"], row["error"] = "differs", message or f"token relevance deviates by {row['tokens']:.1e} from {reference}"
            elif family["explain"]:
                row["state"], row["error"] = "differs", "no tokens"
            if not r["forward"] <= (rough[0] if rough else 1e-4):
                row["state"], row["error"] = "differs", f"outputs differ from onnxruntime's by {r['forward']:.1e}"
        rows.append(row)
    for row in rows:
        found = known.get((row["family"], row["variant"]))
        if found and same_numbers(row, found):
            row["state"], row["why"] = found["state"], found["why"]
    if why:
        import why as reasons
        odd = [r for r in rows if r["state"] == "differs" and r["tokens"] == r["tokens"]]
        for row, found in zip(odd, pool.map(lambda r: reasons.find(tool, folder, r, family, reference, results), odd)):
            if found:
                row["state"], row["why"] = found
    return rows


# ------------------------------------------------------------------ the table
MARK = {"agrees": "", "own": " ◦", "float32": " ≈", "refused": " –", "differs": " ✗"}
HEAD = """# The same weights, other files

Small randomly initialised models, exported by their frameworks and rewritten by the tools that people use: files of one
family hold the same weights, so every one of them must give the same explanation. Made by `tests/families`: `make_families.py`
(PyTorch: Hugging Face, timm, torchvision, models written by hand, and the heads and adapters of `heads.py`), `make_packages.py`
(PyTorch models of other packages), `make_older.py` (older
releases of PyTorch, transformers, timm and onnxruntime: a column's name begins with the release: pt18 is PyTorch 1.8, now today's), `make_hf_tf.py`
(Hugging Face's classes of TensorFlow by tf2onnx, beside PyTorch's with the same weights), `make_kerashub.py` (keras-hub by Keras' own
export with each backend), `make_keras.py` (tf2onnx and Keras itself), `make_frameworks.py` (JAX, Paddle), `make_decoders.py` (onnxruntime-genai, optimum), `make_graphs.py`
(by hand), `make_tools.py` (rewriting tools), and checked by `check_families.py`, which wrote this page. `tests/data/families` holds files of a few kB of what
was once not understood; those run with the project's tests.

A cell is the largest deviation of the token relevance from the family's first file, relative to the largest magnitude among
the tokens that are not read out. Limits: 1e-3, and 1e-4 for the outputs against onnxruntime's with that very file. For fp16, int8, qdq
and int4, whose weights are rounded, it is 1 − cosine (limits 0.02, 0.1, 0.1, none) and the outputs' limits are 0.02 and 0.05.
An empty cell: the exporter or tool refuses the model, or its file is one that onnxruntime refuses.

| mark | meaning |
|---|---|
| none | within the limits |
| ◦ | outside, by the file's own numbers: `reference.py`, a float64 computation that shares no code with the program, gives the program's explanation for that very file; or onnxruntime itself computes other outputs where half precision is widened to float32, or without its optimiser |
| ≈ | outside, by float32: rounding the weights by one float32 unit moves the explanation by as much |
| – | refused; the message names the reason (below) |
| ✗ | outside, and none of these reasons holds |
"""


def cell(rows, v):
    r = next((r for r in rows if r["variant"] == v), None)
    if r is None:
        return ""
    return ("" if r["tokens"] != r["tokens"] else f"{r['tokens']:.0e}".replace("0e+00", "0")) + MARK[r["state"]]


def natural(variant):
    """exporters first by opset, then the rewriting tools"""
    base, _, rest = variant.partition("-")
    rewritten = rest not in ("", "sdpa")
    return rewritten, rest if rewritten else "", re.sub(r"\d+", lambda m: m[0].zfill(3), base), rest


def column(variant):
    """A rewriting tool's column is the same whatever exporter wrote what it rewrote."""
    rest = variant.split("-", 1)[1] if "-" in variant else ""
    return variant if rest in ("", "sdpa") else rest


def table(f, heads, rows):
    f.write("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads) + "\n")
    for r in rows:
        f.write("| " + " | ".join(str(c) for c in r) + " |\n")


def counts(rows):
    return [len(rows)] + [sum(r["state"] == s for r in rows) or "" for s in MARK]


def by_family(f, families):
    """one table per set of exporters"""
    seen = sorted({r["variant"] for rows in families.values() for r in rows}, key=natural)
    plain = [v for v in seen if column(v) == v]
    tools = list(dict.fromkeys(column(v) for v in seen if column(v) != v))
    lines = []
    for name, rows in families.items():
        found = {}
        for r in rows:
            found.setdefault(column(r["variant"]), []).append(r)
        def worst(c):
            order = list(MARK)
            return cell([max(found[c], key=lambda r: (order.index(r["state"]), r["tokens"] if r["tokens"] == r["tokens"] else 0))],
                        max(found[c], key=lambda r: (order.index(r["state"]), r["tokens"] if r["tokens"] == r["tokens"] else 0))["variant"]) if c in found else ""
        lines.append([name, *[worst(c) for c in plain + tools]])
    table(f, ["family", *plain, *tools], lines)


def by_tool(f, families):
    """few families, many tools"""
    seen = sorted({r["variant"] for rows in families.values() for r in rows}, key=natural)
    columns = list(dict.fromkeys(v.split("-", 1)[1] if "-" in v else v for v in seen))
    lines = []
    for c in columns:
        line = [c]
        for rows in families.values():
            mine = [r for r in rows if r["variant"] == c or r["variant"].split("-", 1)[1:] == [c]]
            line.append(" / ".join(cell([r], r["variant"]) for r in sorted(mine, key=lambda r: natural(r["variant"].split("-")[0]))))
        lines.append(line)
    table(f, ["tool", *families], lines)


def write_markdown(path, sections):
    every = [r for families in sections.values() for rows in families.values() for r in rows]
    with open(path, "w") as f:
        f.write(HEAD)
        f.write(f"\n## Summary\n\n{sum(len(f) for f in sections.values())} families, {len(every)} files.\n")
        heads = ["", "files", "agree", "◦", "≈", "–", "✗"]
        table(f, heads, [[title, *counts([r for rows in families.values() for r in rows])] for title, families in sections.items()] + [["all", *counts(every)]])
        for title, families in sections.items():
            groups = {}
            for rows in families.values():
                for r in rows:
                    groups.setdefault(column(r["variant"]), []).append(r)
            if len(groups) < 40:
                f.write(f"\n{title}, by exporter and tool:\n")
                table(f, heads, [[c, *counts(groups[c])] for c in sorted(groups, key=lambda c: natural(c) if c in [r["variant"] for r in groups[c]] else (True, c, "", ""))])
        for title, families in sections.items():
            f.write(f"\n## {title}\n")
            wide = len({r["variant"] for rows in families.values() for r in rows}) > 60
            (by_tool if wide else by_family)(f, families)
        f.write("\n## Reasons\n")
        for state, head in (("refused", "Refused"), ("differs", "Outside the limits, without a reason found"), ("float32", "By float32"), ("own", "By the file's own numbers")):
            f.write(f"\n{head}:\n\n")
            reasons = {}
            for families in sections.values():
                for name, rows in families.items():
                    for r in rows:
                        if r["state"] == state:
                            reasons.setdefault((name, re.sub(r"node '[^']*' ", "", r["error"])[:150] if state == "refused" else re.sub(r"\(?[0-9.]+e[-+][0-9]+\)?", "#", r["why"]) if state == "own" else r["why"] or r["error"]), []).append(r["variant"])
            for (name, message), variants in reasons.items():
                f.write(f"- {name} ({', '.join(variants) if len(variants) < 8 else f'{len(variants)} files'}): {message}\n")
            if not reasons:
                f.write("none.\n")
        f.write(REMARKS)


REMARKS = """
## Remarks

- Families are not all exported by every exporter and tool: the first hundred of PyTorch were by torch's older exporter at opsets 14
  and 17 and by its newer one at 18 and 23, the others at 17, and by the newer one where the older one refuses the model.
- optimum's bart and t5 decoders: the encoder's states are an input, whose cross-attentions share residual sums: rows are not
  divided there, which a note says.
- Models of other packages: tabnet's masks are sparsemax and entmax, which are written without a softmax; pyg_transformer_conv sums
  up exponentials over the edges of a graph; neuralforecast_autoformer weighs delays and neuralforecast_softs pools, so no softmax
  is multiplied by values; neuralforecast_informer draws the keys that it reads at random.
- Not made: tflite2onnx (could not be installed beside what it needs); SmoothQuant, AWQ and GPTQ, which want wider models than these
  or fail by themselves; models that onnxruntime-genai does not know or whose heads are too narrow for it (phi, nemotron, gemma3);
  ernie4_5 by optimum. Olive, neural-compressor, ModelOpt, NNCF, qonnx and options of torch's exporter have makers (`tools_more.py`,
  `make_exports.py`) and no rows here.
- Half precision: the program computes in float32, so a float16 file explains what the float file explains once its numbers are
  rounded; where this was asked, the arrays are equal to the last bit. That random models' explanations move with such a rounding
  is the method's: the Add rule and the guarded division amplify.
- qdq and int8: the outputs are onnxruntime's integers. `reference.py` takes the same integers, of the graph as onnxruntime's
  optimiser leaves it or as it is, or rounds by itself: near a tie float32 may fall either way, and one integer that does moves the
  explanation. Where sums cancel, what float32 leaves of them counts: then it is asked with every value rounded to float32.
- QLinearAdd whose scales are whole multiples of each other (swin `int8_qop_saved_all`): onnxruntime's fused multiply-add rounds
  some ties otherwise; one integer moves that file's outputs by 7e-3.
- qdq of masked models (decoders, padding): the tools quantise scores and mask together. A mask of −3.4e38 makes the step so large that
  every score becomes 0 and attention uniform: the file's own outputs are far from the float file's.
- Where tokens move or merge, `routes.py` carries shares back by each model's own index arithmetic: swinv2, pvt, timm_pvt_v2,
  segformer, timm_twins, timm_coatnet, hiera, timm_hiera agree to 4e-7 of the largest, timm_maxvit to 4e-6; TiBA's own blocks in
  pvt, timm_pvt_v2, segformer and timm_twins to 3e-6.
- `reference.py` and encoders that a decoder or another tower reads: bart, bart_cls, t5, detr, blip_itm, clip, lxmert agree to 3e-5 in every
  tower, boxes of detr_boxes to 3e-3.
- genai_mistral, genai_olmo, genai_smollm3: onnxruntime-genai's builder leaves out Mistral's window, gives OLMo RMS norms and
  computes another SmolLM3, as onnxruntime's outputs say; half precision and integers explain as its own float file to 1e-3.
- optimum_t5 `decoder_with_past`: keys of the encoder are inputs there, so there is no encoder to explain.
- beit_shared `dyn23-sdpa`: the exporter adds 1 to the whole bias; Softmax does not see it, the Add rule does.
- att_divide_after `qdq`: rounding stands between the product with the values and the division by the sum of exponentials, so no
  softmax is multiplied by values.
- granitemoe_swa `qdq`: four of 1024 integers of a softmax are onnxruntime's with that value as an output, not without; deformable_detr
  `qdq`: integers near ties, more than `reference.py` settles.
- timm_edgenext attends over channels alone; models with `_none` in their
  name, mra, yoso and focalnet have no softmax that is multiplied by values.
- timm_botnet `slim`: the tool changes the model's outputs.
- Older releases: a family's files hold the same weights whatever release wrote them; detr and xglm of transformers 4.38 compute otherwise
  than those of 4.25, TensorFlow's bert_relative knows no relative positions, keras-hub's qwen3 has other scores with PyTorch than with
  TensorFlow: onnxruntime's outputs say so. PyTorch 1.13's `export_modules_as_functions` gave no file that onnxruntime loads.
- TensorFlow: where tf2onnx leaves constants of a function out as inputs without a value, the functional Keras model alone has a file;
  DeBERTa and models with grouped or depthwise convolutions have none that onnxruntime loads (at these sizes and releases).
- onnxruntime 1.14 computes `pt113_13-qdqop` of bart and gpt2_lm otherwise than today's, whose outputs are the program's to the last bit.
"""


def joined(paths):
    sections = {}
    for p in paths:
        for title, families in json.load(open(p)).items():
            sections.setdefault(title, {}).update(families)
    return {t: dict(sorted((name, rows) for name, rows in f.items() if rows)) for t, f in sections.items()}


def main():
    args, options, known = [], {"--markdown": None, "--jobs": "2", "--save": None}, {}
    words = iter(sys.argv[1:])
    flags = set()
    for a in words:
        if a in options:
            options[a] = next(words)
        elif a == "--known":
            known |= {(r["family"], r["variant"]): r for families in joined([next(words)]).values() for rows in families.values() for r in rows if r["why"]}
        elif a.startswith("--"):
            flags.add(a)
        else:
            args.append(a)
    if options["--markdown"] and all(a.endswith(".json") for a in args):
        write_markdown(options["--markdown"], joined(args))
        return
    tool = args[0]
    roots = [a.rpartition("=") for a in args[1:] if os.path.isdir(a.rpartition("=")[2])]
    only = [a for a in args[1:] if not os.path.isdir(a.rpartition("=")[2])]
    sections = {}
    with concurrent.futures.ThreadPoolExecutor(int(options["--jobs"])) as pool:
        for title, _, root in roots:
            families = sections.setdefault(title or os.path.basename(root.rstrip("/")), {})
            for path in sorted(glob.glob(root + "/*/family.json")):
                name = path.split("/")[-2]
                if only and name not in only:
                    continue
                rows = families[name] = check(tool, os.path.dirname(path), "--plain" in flags, "--why" in flags, known, pool)
                worst = max([r["tokens"] for r in rows if r["state"] == "agrees" and r["tokens"] == r["tokens"] and not rough_of(r["variant"])], default=float("nan"))
                print(f"{name:24s} {sum(r['state'] == 'agrees' for r in rows):2d} of {len(rows):2d}  worst {worst:.0e}", flush=True)
                groups = {}
                for r in rows:
                    if r["state"] != "agrees":
                        groups.setdefault((r["state"], (r["error"] or "")[:170], r["why"]), []).append(r["variant"])
                for (state, message, reason), variants in groups.items():
                    print(f"    {state}: {' '.join(variants)}\n        {message}" + (f"\n        {reason}" if reason else ""), flush=True)
    every = [r for families in sections.values() for rows in families.values() for r in rows]
    print(f"{len(every)} files: " + ", ".join(f"{sum(r['state'] == s for r in every)} {s}" for s in MARK))
    if options["--save"]:
        json.dump(sections, open(options["--save"], "w"))
    if options["--markdown"]:
        write_markdown(options["--markdown"], sections)


if __name__ == "__main__":
    main()
