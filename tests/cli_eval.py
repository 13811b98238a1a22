#!/usr/bin/env python3
"""Tests `compare` and `eval` on the demo models.

    cli_eval.py TOOL EXAMPLES

Makes small data of every layout: pictures with masks, texts with marked words, ERASER's folders; works
out some of the numbers again in numpy from what the program writes elsewhere.
"""
import html
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
import zlib

import numpy as np

from checks import check, close
from schema import errors


def run(tool, *arguments, status=0):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    check(status in (None, done.returncode), f"{' '.join(map(str, arguments))}: status {done.returncode}: {done.stderr}")
    return done


SCHEMA = json.loads((pathlib.Path(__file__).parents[1] / "docs/evaluation.schema.json").read_text())


def numbers(path):
    """eval's JSON, which is as its schema says."""
    found = json.loads(path.read_text())
    wrong = errors(found, SCHEMA)
    check(wrong == [], f"{path.name}: {wrong[:3]}")
    for m in found["methods"]:
        for name, metric in m["metrics"].items():
            for part in ("all", "correct_only"):
                x = metric[part]
                check(x["value"] is None or x["low"] <= x["value"] <= x["high"] or abs(x["value"] - x["low"]) < 1e-9,
                      f"{m['method']}, {name}, {part}: {x}")
    return found


def write_png(path, array):
    """A grey picture or, of three axes, a colour one."""
    kind = 2 if array.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(np.uint8))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8, kind, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_pictures(folder):
    rng = np.random.default_rng(3)
    truth = []
    for i in range(3):
        picture = rng.integers(0, 90, (64, 64, 3))
        masks = {}
        for k, (top, left) in enumerate(((8, 4 + 8 * i), (40, 36))):
            picture[top:top + 16, left:left + 16] = rng.integers(120, 255, 3)
            mask = np.zeros((64, 64))
            mask[top:top + 16, left:left + 16] = 255
            write_png(folder / f"{i}.{k}.png", mask)
            masks[str(2 * k + i)] = f"{i}.{k}.png"
        write_png(folder / f"{i}.png", picture)
        truth.append({"picture": f"{i}.png", "classes": [int(k) for k in masks], "masks": masks})
    (folder / "truth.json").write_text(json.dumps(truth))
    return truth


CARRIES_RELEVANCE = {"tiba", "lrp", "partial-lrp", "full-tiba-lrp", "last-tiba-lrp", "lrp-rollout"}


def test_compare(tool, examples, folder):
    vit, picture = examples / "fashion-vit", folder / "0.png"
    said = run(tool, "compare", vit, picture, "--check", "--json", folder / "c.json", "-o", folder / "c.png", "--html", folder / "c.html").stdout
    found, draws = json.loads((folder / "c.json").read_text()), set()
    schema = json.loads((pathlib.Path(__file__).parents[1] / "docs/explanation.schema.json").read_text())
    check(errors(found, schema["$defs"]["comparison"], schema) == [], f"compare's JSON: {errors(found, schema['$defs']['comparison'], schema)}")
    names = [m["method"] for m in found["methods"]]
    check(names[0] == "tiba" and "random" in names and len(names) == 12, f"compare has {names}")
    for m in found["methods"]:
        check("refused" not in m and m["seconds"] > 0, f"compare: {m['method']} has no result")
        carries = m["method"] in CARRIES_RELEVANCE
        tower = m["towers"][0]
        check((tower["conservation"]["residual"] is not None) == carries, f"{m['method']}: {tower['conservation']}")
        check(("carries no relevance" in m["trust"]) == (not carries) and "no NaN" in m["trust"], f"{m['method']}: {m['trust']}")
        check(tower["check"]["draws"] == 20, f"{m['method']} has no check")
        draws.add((tower["check"]["random_mean"], tower["check"]["random_least"]))
        values = m["towers"][0]["relevance"]
        check(all(np.isfinite(values)), f"compare: {m['method']} is not finite")
        run(tool, vit, picture, "--method", m["method"], "--target", found["target"][-1], "--npy", folder / "one")
        alone = np.load(folder / "one/tokens.pixel_values.npy")
        check(np.array_equal(alone, np.array(values, np.float32)), f"compare: {m['method']} differs from it alone")
    check(len(draws) == 1, f"methods are checked against the same draws: {draws}")
    check(all(f"{m['method']:18} {m['trust']}" in said for m in found["methods"]), f"compare has no trust lines: {said}")
    check(said.count("check: the score is") == 1 and "without random 13 of 64 patches" in said, f"compare has no check: {said}")
    for m in found["methods"]:
        one = m["towers"][0]["check"]
        verdict = one["text"].split("at least): ")[1]
        check(re.search(rf"{re.escape(m['method'])} +{one['after']:.4g}  {re.escape(verdict)}\n", said), f"{m['method']} has no check: {said}")
    check((folder / "c.png").read_bytes()[:4] == b"\x89PNG", "compare wrote no panel")
    page = html.unescape((folder / "c.html").read_text())
    check(f"<h1>Why <q>{found['label']}</q>" in page, "the page does not say what is explained")
    for m in found["methods"]:
        section = page.split(f"<h2>{m['method']}</h2>")[-1].split("</section>")[0]
        check(section != page, f"the page does not name {m['method']}")
        check(m["trust"] in section and m["towers"][0]["check"]["text"] in section, f"the page does not say how far to trust {m['method']}")
        low, high = map(float, re.findall(r"<span>(.*?)</span>", section.split('<p class="scale main"')[-1])[:2])
        below = min(m["towers"][0]["relevance"]) < 0
        check((low == -high) == below, f"{m['method']}: colours from {low} to {high}, values below 0: {below}")
    bad = run(tool, "compare", vit, picture, "--method", "tibba", status=2)
    check("tiba" in bad.stderr, "no nearest method is named")


def average_precision(scores, labels):
    order = np.argsort(-scores, kind="stable")
    s, l = scores[order], labels[order]
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(l)[ends]
    return np.sum(np.diff(np.append(0, hits)) * hits / (ends + 1)) / l.sum()


def upsample(grid, size):
    at = (np.arange(size) + 0.5) * len(grid) / size - 0.5
    low = np.clip(np.floor(at).astype(int), 0, len(grid) - 1)
    high, share = np.minimum(low + 1, len(grid) - 1), np.clip(at - low, 0, 1)
    rows = grid[low] * (1 - share)[:, None] + grid[high] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, high] * share


def test_segmentation(tool, examples, folder, truth):
    vit = examples / "fashion-vit"
    arguments = ("eval", "segmentation", vit, folder, "--draws", 50, "--csv", folder / "s.csv", "--json", folder / "s.json")
    text = run(tool, *arguments).stdout
    check(run(tool, *arguments, "--jobs", 3).stdout == text, "two runs differ")
    lines = [line.split(",") for line in (folder / "s.csv").read_text().splitlines()[1:]]
    values, item = {}, {}
    for name, _, method, metric, value in lines:
        values.setdefault((method, metric), []).append((name, float(value)))
    accuracy, precision, inter, union = [], [], np.zeros(2), np.zeros(2)
    for scene in truth:
        for k, mask in scene["masks"].items():
            run(tool, vit, folder / scene["picture"], "--target", k, "--npy", folder / "m")
            x = upsample(np.load(folder / "m/map.pixel_values.npy").astype(float), 64)
            x = (x - x.min()) / (x.max() - x.min())
            number, index = mask.split(".")[:2]
            inside = np.zeros((64, 64), bool)
            top, left = ((8, 4 + 8 * int(number)), (40, 36))[int(index)]
            inside[top:top + 16, left:left + 16] = True
            said = x > x.mean()
            accuracy.append(100 * (said == inside).mean())
            precision.append(100 * average_precision(np.append(1 - x, x), np.append(~inside, inside)))
            inter += [(~said & ~inside).sum(), (said & inside).sum()]
            union += [(~said | ~inside).sum(), (said | inside).sum()]
    found = {m["method"]: m["metrics"] for m in numbers(folder / "s.json")["methods"]}["tiba"]
    for name, want in (("pixel accuracy", np.mean(accuracy)), ("mAP", np.mean(precision)),
                       ("mean IoU", np.mean(100 * inter / union))):
        got = found[name]["all"]
        check(abs(got["value"] - want) < 0.1, f"{name} is {got['value']}, not {want}")
        check(got["low"] <= got["value"] <= got["high"], f"{name}: no interval")
    check(len(values[("tiba", "pixel accuracy")]) == 6, "not all items are in the CSV")


def test_texts(tool, examples, folder):
    bert = examples / "movie-sentiment"
    reviews = [{"text": "A warm and moving film, truly wonderful.", "label": 1, "evidence": [[2, 6], [11, 17], [30, 39]]},
               {"text": "A dull and boring mess.", "label": 0, "evidence": [[2, 6], [11, 17], [18, 22]]}]
    (folder / "r.json").write_text(json.dumps(reviews))
    run(tool, "eval", "rationale", bert, folder / "r.json", "--draws", 50, "--json", folder / "r1.json")
    found = numbers(folder / "r1.json")["methods"][0]["metrics"]
    check(found["token F1 at 80"]["all"]["value"] > 40, "all words together find the marked ones")
    run(tool, "eval", "perturbation", bert, folder / "r.json", "--draws", 50, "--json", folder / "p.json")
    for m in numbers(folder / "p.json")["methods"]:
        for name, metric in m["metrics"].items():
            if "%" in name or "class" not in name:
                continue
            sign, variant = name.split("; ")
            steps = [m["metrics"][f"{sign}; {variant}; {10 * s} %"]["all"]["value"] / 100 for s in range(1, 10)]
            start = numbers(folder / "p.json")["correct"] / 2
            want = 100 * np.trapezoid([start] + steps, dx=0.1) if hasattr(np, "trapezoid") else 100 * np.trapz([start] + steps, dx=0.1)
            check(abs(metric["all"]["value"] - want) < 1e-6, f"{m['method']}: {name} is {metric['all']['value']}, not {want}")


def black_of(vit):
    how = json.loads((vit / "preprocessor_config.json").read_text())
    return -np.array(how["image_mean"]) / np.array(how["image_std"])


def without(x, parts, columns, patch, black):
    x = x.copy()
    for part in parts:
        top, left = part // columns * patch, part % columns * patch
        x[:, :, top:top + patch, left:left + patch] = black[:, None, None]
    return x.astype(np.float32)


def scores_of(tool, vit, x, folder):
    np.save(folder / "x.npy", x)
    run(tool, vit, f"pixel_values={folder}/x.npy", "--npy", folder / "y")
    return np.load(folder / "y/output.logits.npy")[0]


def test_trust(tool, examples, folder):
    """The check's numbers again, by other means; every explanation says whether it is sound."""
    vit, bert, clip = (examples / name for name in ("fashion-vit", "movie-sentiment", "garment-clip"))
    page = folder / "t.html"
    text = run(tool, vit, folder / "0.png", "--check", "-o", folder / "t.png").stdout
    check("trust: relevance is conserved" in text and "no NaN" in text and "check: without the top 13 of 64" in text,
          f"no trust line: {text}")
    run(tool, vit, folder / "0.png", "--check", "--html", page, "--json", folder / "t.json")
    view = json.loads((folder / "t.json").read_text())["explanations"][0]
    tower, grid = view["towers"][0], view["towers"][0]["grid"]
    found = tower["check"]
    check(found["text"] in page.read_text() and view["trust"] in page.read_text(), "the page has no trust line")
    run(tool, "preprocess", vit, folder / "0.png", "--npy", folder / "p.npy")
    x = np.load(folder / "p.npy")
    order = np.argsort(-np.array(grid["values"], np.float32).ravel(), kind="stable")[:found["removed"]]
    columns = grid["columns"]
    y = scores_of(tool, vit, without(x, order, columns, x.shape[3] // columns, black_of(vit)), folder)
    target = view["target"]["index"][-1]
    check(found["removed"] == 13 and abs(y[target] - found["after"]) < 1e-4, f"without the top {found['removed']}: {y[target]}, said {found['after']}")
    check(abs(scores_of(tool, vit, x, folder)[target] - found["before"]) < 1e-4, "the score before")
    check(found["random_least"] <= found["random_mean"] and 0 <= found["draws_lower"] <= found["draws"] == 20, f"{found}")
    # a wrong map is found out: random relevance removes no more than random patches do
    said = json.loads(run(tool, vit, folder / "0.png", "--method", "random", "--check", "--json", "-").stdout)
    check(said["explanations"][0]["towers"][0]["check"]["draws_lower"] > 0, "chance does as well as relevance")
    # the check of a text is by its mask token, and of two towers there are two
    said = run(tool, bert, "A warm and truly wonderful film.", "--check").stdout
    check("check: without the top 1 of 7 tokens" in said, f"a text's check: {said}")
    picture = sorted((clip / "pictures").glob("*.png"))[0]
    texts = ("--text", "a white boot", "--text", "a blue bag", "-o", folder / "t.png")
    said = run(tool, clip, picture, *texts, "--check").stdout
    check(said.count("check: without") == 2 and "conserved" in said, f"two towers: {said}")
    said = run(tool, clip, picture, *texts, "--contrast", "a blue bag", "--check").stdout
    check(said.count("check: without") == 2, f"a difference is checked on both sides: {said}")
    check("trust: relevance is conserved" in said, f"the relevance of both texts adds up: {said}")


def test_course(tool, examples, folder):
    """A run that was stopped goes on, and the number of processes changes nothing."""
    vit, kept = examples / "fashion-vit", folder / "kept"
    command = ("eval", "perturbation", vit, folder, "-m", "tiba", "-m", "random", "--draws", 50, "--csv", "-")
    whole = run(tool, *command, "--jobs", 1).stdout
    check(run(tool, *command, "--jobs", 3).stdout == whole, "three processes say something else")
    check(run(tool, *command, "--resume", kept).stdout == whole, "the first run with a file")
    data = kept.read_bytes()
    for size in (len(data) - 1, len(data) // 2, len(data) // 3, 1):
        kept.write_bytes(data[:size])
        done = run(tool, *command, "--resume", kept, "--jobs", 2, status=None)
        check(done.returncode == (2 if size == 1 else 0), f"cut to {size} bytes: {done.stderr}")
        check(size == 1 or done.stdout == whole, f"gone on with {size} bytes")
    broken = bytearray(data)
    broken[len(data) // 2] ^= 1
    kept.write_bytes(broken)
    check(run(tool, *command, "--resume", kept).stdout == whole, "a damaged record is measured again")
    run(tool, *command[:-4], "--draws", 60, "--resume", kept)
    refused = run(tool, "eval", "perturbation", vit, folder, "-m", "rollout", "--resume", kept, status=2)
    check("other options" in refused.stderr, refused.stderr)


def test_perturbation(tool, examples, folder, truth):
    """The curve of a picture again, pixel by pixel."""
    vit = examples / "fashion-vit"
    run(tool, "eval", "perturbation", vit, folder, "-m", "tiba", "--draws", 50, "--limit", 1, "--json", folder / "p.json")
    metrics = numbers(folder / "p.json")["methods"][0]["metrics"]
    run(tool, "preprocess", vit, folder / "0.png", "--npy", folder / "p.npy")
    x, black = np.load(folder / "p.npy"), black_of(vit)
    size = x.shape[3]
    y = scores_of(tool, vit, x, folder)
    target = max(truth[0]["classes"], key=lambda k: y[k])
    for variant, explained in (("predicted class", int(np.argmax(y))), ("target class", target)):
        run(tool, vit, folder / "0.png", "--target", explained, "--npy", folder / "m")
        order = np.argsort(-upsample(np.load(folder / "m/map.pixel_values.npy").astype(np.float64), size).ravel(), kind="stable")
        for sign, places in (("positive", order), ("negative", order[::-1])):
            right = []
            for step in range(10):
                gone = without(x, places[:int(0.1 * step * size * size + 0.5)], size, 1, black)
                right.append(float(np.argmax(scores_of(tool, vit, gone, folder)) == target))
                got = metrics[f"{sign}; {variant}; {10 * step} %"]["all"]["value"]
                check(got == 100 * right[-1], f"{sign}; {variant}; {10 * step} %: {got}")
            area = 100 * sum(0.1 * 0.5 * (a + b) for a, b in zip(right, right[1:]))
            got = metrics[f"{sign}; {variant}"]["all"]["value"]
            check(abs(got - area) < 1e-9, f"{sign}; {variant}: {got}, not {area}")


def test_dropping(tool, examples, folder):
    """Tokens left out, by the program's own tokens and scores."""
    bert, text = examples / "movie-sentiment", "Every frame is a delight for the eye."
    (folder / "d.json").write_text(json.dumps([{"text": text, "label": 1, "evidence": []}]))
    found = []
    for drop in ([], ["--drop"]):
        run(tool, "eval", "perturbation", bert, folder / "d.json", "-m", "rollout", *drop, "--draws", 50, "--json", folder / "d1.json")
        found.append(numbers(folder / "d1.json")["methods"][0]["metrics"])
    check(found[0] != found[1], "masking and leaving out are the same")
    ids = np.array(json.loads(run(tool, "tokenize", bert, text, "--json").stdout)["ids"], np.int64)
    run(tool, bert, "--target", 1, "--method", "rollout", "--npy", folder / "d", "--", text)
    order = 1 + np.argsort(-np.load(folder / "d/tokens.input_ids.npy")[1:-1].astype(float), kind="stable")
    for sign, places in (("positive", order), ("negative", order[::-1])):
        for step in range(1, 10):
            np.save(folder / "ids.npy", np.delete(ids, places[:int(0.1 * step * len(order) + 0.5)])[None])
            run(tool, bert, f"input_ids={folder}/ids.npy", "--npy", folder / "d")
            right = np.argmax(np.load(folder / "d/output.logits.npy")[0]) == 1
            got = found[1][f"{sign}; target class; {10 * step} %"]["all"]["value"]
            check(got == 100 * right, f"{sign} {step}: {got} without tokens, not {100 * right}")
    for kind, model, data in (("rationale", "movie-sentiment", folder / "d.json"), ("perturbation", "fashion-vit", folder)):
        refused = run(tool, "eval", kind, examples / model, data, "--drop", status=2)
        check("--drop is for" in refused.stderr, refused.stderr)


def curve_area(scores, labels):
    """Area under precision against recall by trapezoids, from recall 0 with precision 1."""
    order = np.argsort(-scores, kind="stable")
    s, l = scores[order], labels[order]
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(l)[ends]
    precision, recall = np.append(1, hits / (ends + 1)), np.append(0, hits / l.sum())
    return np.sum(np.diff(recall) * 0.5 * (precision[1:] + precision[:-1]))


def spans(flags):
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return list(zip(edges[::2], edges[1::2]))


def by_pieces(text):
    """The words, each as relevant as its most relevant piece."""
    return [{**word, "value": max(t["value"] for t in text["tokens"] if t["word"] == i)} for i, word in enumerate(text["words"])]


def test_rationale(tool, examples, folder):
    """ERASER's numbers again from the words' values."""
    bert = examples / "movie-sentiment"
    reviews = [{"text": "A warm and moving film, truly wonderful.", "label": 1, "evidence": [[2, 6], [11, 17], [24, 39]]},
               {"text": "A dull and boring mess without a single warm idea in it.", "label": 0, "evidence": [[2, 6], [11, 22]]},
               {"text": "The plot is thin, but the cast is a wonderful surprise.", "label": 0, "evidence": [[12, 16]]}]
    (folder / "e.json").write_text(json.dumps(reviews))
    run(tool, "eval", "rationale", bert, folder / "e.json", "-m", "tiba", "--draws", 50, "--json", folder / "e1.json")
    found = {k: v["all"]["value"] for k, v in numbers(folder / "e1.json")["methods"][0]["metrics"].items()}

    def explain(text, target=None):
        run(tool, bert, *(["--target", target] if target is not None else []), "--json", folder / "e2.json", "--", text)
        said = json.loads((folder / "e2.json").read_text())
        return by_pieces(said["explanations"][0]["text"]), {s["index"]: s["probability"] for s in said["scores"][0]}

    items = []
    for r in reviews:
        words, p = explain(r["text"], r["label"])
        marked = np.array([any(w["start"] < b and a < w["end"] for a, b in r["evidence"]) for w in words])
        items.append((r, words, p, marked))
    share = sum(m.sum() for *_, m in items) / sum(len(m) for *_, m in items)
    f1, area, precision, recall, comprehensive, sufficient = [], [], [], [], [], []
    for r, words, p, marked in items:
        order = np.argsort(-np.array([w["value"] for w in words]), kind="stable")
        said = np.zeros(len(words), bool)
        said[order[:5]] = True
        f1.append(200 * (said & marked).sum() / (said.sum() + marked.sum()))
        area.append(100 * curve_area(np.array([w["value"] for w in words]), marked))
        said[:] = False
        said[order[:max(1, int(share * len(words) + 0.5))]] = True
        overlap = lambda a, b: (min(a[1], b[1]) - max(a[0], b[0])) / (max(a[1], b[1]) - min(a[0], b[0]))
        hits = lambda one, other: sum(any(overlap(a, b) >= 0.5 for b in spans(other)) for a in spans(one))
        precision.append(hits(said, marked) / len(spans(said)))
        recall.append(hits(marked, said) / len(spans(marked)))
        answer = max(p, key=p.get)
        if answer != r["label"]:
            words, _ = explain(r["text"], answer)
            order = np.argsort(-np.array([w["value"] for w in words]), kind="stable")
        for k in (1, 5, 10, 20, 50):
            chosen = set(order[:int(np.ceil(k * len(words) / 100))].tolist())
            rest = " ".join(w["word"] for i, w in enumerate(words) if i not in chosen)
            alone = " ".join(w["word"] for i, w in enumerate(words) if i in chosen)
            comprehensive.append(p[answer] - explain(rest)[1][answer])
            sufficient.append(p[answer] - explain(alone)[1][answer])
    mean = np.mean(precision), np.mean(recall)
    for name, want, room in (("token F1 at 5", np.mean(f1), 1e-6), ("AUPRC", np.mean(area), 1e-6),
                             ("IOU-F1", 200 * mean[0] * mean[1] / sum(mean), 1e-6),
                             ("comprehensiveness", np.mean(comprehensive), 1e-4), ("sufficiency", np.mean(sufficient), 1e-4)):
        check(abs(found[name] - want) < room, f"{name} is {found[name]}, not {want}")


DOCUMENTS = {  # a sentence a line, of tokens with blanks between them; the tokens that are marked, in groups
    "POS_1.txt": ("POS", "this is n't a dull film .\nit 's a warm , truly wonderful well-made one\n", [[[11, 12]], [[13, 15], [15, 16]]]),
    "NEG_2.txt": ("NEG", "a boring mess , and " + "the cast ca n't save it . " * 40 + "dull to the end", [[[1, 3], [6, 9]], [[285, 289]]]),
    "NEG_3.txt": ("NEG", "the plot is thin , but the cast is a wonderful surprise", [])}


def write_eraser(folder, documents):
    (folder / "docs").mkdir(parents=True)
    lines = []
    for name, (label, text, groups) in documents.items():
        (folder / "docs" / name).write_text(text)
        tokens = text.split()
        evidences = [[{"docid": name, "start_token": a, "end_token": b, "text": " ".join(tokens[a:b])} for a, b in g] for g in groups]
        lines.append(json.dumps({"annotation_id": name, "classification": label, "evidences": evidences}))
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n")


def best_iou(span, others):
    mine = set(range(*span))
    return max((len(mine & set(range(*o))) / len(mine | set(range(*o))) for o in others), default=0)


def test_eraser(tool, examples, folder):
    """The benchmark's own definitions again, over the benchmark's own tokens, those beyond the model's length
    included."""
    bert, eraser = examples / "movie-sentiment", folder / "eraser"
    write_eraser(eraser, DOCUMENTS)
    run(tool, "eval", "rationale", bert, eraser, "-m", "tiba", "--draws", 50, "--json", folder / "e1.json", "--csv", folder / "e.csv")
    found = {k: v["all"]["value"] for k, v in numbers(folder / "e1.json")["methods"][0]["metrics"].items()}
    check("NEG_2.txt,1,tiba" in (folder / "e.csv").read_text(), "items have no annotation's name")
    items = []
    for label, text, groups in DOCUMENTS.values():
        run(tool, bert, "--target", int(label == "POS"), "--truncate", "--json", folder / "e2.json", "--", text)
        starts, at = [], 0
        for token in text.split():
            starts.append(text.index(token, at))
            at = starts[-1] + len(token)
        values, read = np.full(len(starts), -np.inf), 0
        for w in by_pieces(json.loads((folder / "e2.json").read_text())["explanations"][0]["text"]):
            k = np.searchsorted(starts, w["start"], side="right") - 1
            values[k] = max(values[k], w["value"])
            read = k + 1
        check(np.all(np.isfinite(values[:read])), "every word has a piece")
        values[read:] = values[:read].min() - 1
        items.append((values, read, sorted({tuple(s) for g in groups for s in g})))
    check(items[1][1] < 200 < len(items[1][0]), "no document is longer than the model reads")
    marks = [np.array([any(a <= i < b for a, b in truth) for i in range(len(v))]) for v, _, truth in items]
    share = sum(m.sum() for m in marks) / sum(len(m) for m in marks)
    f1 = {k: [] for k in (5, 10, 80)}
    area, precision, recall = [], [], []
    for (values, read, truth), marked in zip(items, marks):
        order = np.argsort(-values[:read], kind="stable")
        for k in f1:
            hits = marked[order[:k]].sum()
            f1[k].append(200 * hits / (min(k, read) + marked.sum()))
        said = np.zeros(len(values), bool)
        said[order[:max(1, int(share * len(values) + 0.5))]] = True
        hits = sum(best_iou(s, truth) >= 0.5 for s in spans(said))
        precision.append(hits / len(spans(said)))
        if truth:
            area.append(100 * curve_area(values, marked))
            recall.append(hits / len(truth))
    mean = np.mean(precision), np.mean(recall)
    check(sum(mean) > 0, "no span is found: the test says nothing")
    want = {f"token F1 at {k}": np.mean(v) for k, v in f1.items()} | {
        "AUPRC": np.mean(area), "IOU-F1": 200 * mean[0] * mean[1] / sum(mean)}
    for name, value in want.items():
        check(abs(found[name] - value) < 1e-6, f"ERASER's {name} is {found[name]}, not {value}")

    # all documents in one file
    lines = [json.dumps({"docid": name, "document": text}) for name, (_, text, _) in DOCUMENTS.items()]
    one = folder / "one-file"
    one.mkdir()
    (one / "docs.jsonl").write_text("\n".join(lines) + "\n")
    (one / "test.jsonl").write_bytes((eraser / "test.jsonl").read_bytes())
    csv = run(tool, "eval", "rationale", bert, one, "-m", "tiba", "--draws", 50, "--csv", "-").stdout
    check(csv == (folder / "e.csv").read_text(), "docs.jsonl says something else than docs/")
    (one / "docs.jsonl").write_text("\n".join(lines[1:]) + "\n")
    gone = run(tool, "eval", "rationale", bert, one, status=1)
    check("docs.jsonl: there is no document 'POS_1.txt'" in gone.stderr, gone.stderr)
    (one / "docs.jsonl").write_text("\n".join(lines) + "\n")
    asked = [json.loads(line) for line in (one / "test.jsonl").read_text().splitlines()]
    for same in (True, False):
        (one / "test.jsonl").write_text("\n".join(json.dumps({**a, "query": "good?" if same else f"is {i} good?"})
                                                  for i, a in enumerate(asked)))
        done = run(tool, "eval", "rationale", bert, one, "-m", "tiba", "--draws", 50, "--csv", "-", status=0 if same else 1)
        check(done.stdout == csv if same else "another query" in done.stderr, f"queries, the same: {same}: {done.stderr}")

    def refused(name, documents, say):
        write_eraser(folder / name, documents)
        done = run(tool, "eval", "rationale", bert, folder / name, status=1)
        check(say in done.stderr and done.stderr.count("\n") == 1, f"{name}: {done.stderr}")
        return folder / name

    refused("beyond", {"a.txt": ("POS", "a warm film", [[[2, 4]]])}, "annotation 'a.txt': document 'a.txt' has no tokens 2 to 4")
    refused("label", {"a.txt": ("MAYBE", "a warm film", [])}, "no class like 'MAYBE'")
    gone = refused("empty", {}, "no texts")
    evidence = [{"docid": d, "start_token": 0, "end_token": 1, "text": "a"} for d in ("a.txt", "b.txt")]
    for name, documents, say in (("docs", ["a.txt", "b.txt"], "two documents, 'a.txt' and 'b.txt'"), ("missing", ["a.txt"], "b.txt")):
        (gone / "docs/a.txt").write_text("a warm film")
        if name == "docs":
            (gone / "docs/b.txt").write_text("a dull film")
        groups = [evidence] if name == "docs" else [evidence[1:]]
        (gone / "test.jsonl").write_text(json.dumps({"annotation_id": "x", "classification": "POS", "evidences": groups}))
        done = run(tool, "eval", "rationale", bert, gone, status=1)
        check(say in done.stderr, f"{name}: {done.stderr}")
        (gone / "docs/b.txt").unlink(missing_ok=True)
    (gone / "test.jsonl").write_text('{"annotation_id": "x"}\n{')
    done = run(tool, "eval", "rationale", bert, gone, status=1)
    check("test.jsonl, line 1" in done.stderr, f"no place is named: {done.stderr}")


def test_plots(tool, examples, folder):
    """A plot has every method and panel; a wrong name is refused before anything is measured or written."""
    for kind, model, data in (("segmentation", "fashion-vit", folder), ("rationale", "movie-sentiment", folder / "r.json")):
        for end in ("svg", "png"):
            run(tool, "eval", kind, examples / model, data, "--draws", 50, "--plot", folder / f"{kind}.{end}", "--csv", "-")
        text = (folder / f"{kind}.svg").read_text()
        tree = xml.etree.ElementTree.fromstring(text)
        words = [e.text for e in tree.iter("{http://www.w3.org/2000/svg}text")]
        panels = {"segmentation": 6, "rationale": 7}[kind]
        for name in ("tiba", "random", "full-tiba-lrp"):
            check(words.count(name) == panels, f"{kind}: {name} is in {words.count(name)} panels of {panels}")
        check("nan" not in text, f"{kind}: the plot has NaN")
        check((folder / f"{kind}.png").read_bytes()[:4] == b"\x89PNG", f"{kind}: no PNG")
    bad = run(tool, "eval", "segmentation", examples / "fashion-vit", folder, "--plot", folder / "p.gif", status=2)
    check(".png or .svg" in bad.stderr and "of 3" not in bad.stderr, bad.stderr)


def test_moving_tokens(tool, examples, folder):
    """Every method works where tokens merge; what can't be done says so."""
    swin = pathlib.Path(__file__).parent / "data/zoo/swin_hf-dyn18"
    model, given = swin / "model.onnx", f"pixel_values={swin}/input.pixel_values.npy"
    run(tool, "compare", model, given, "--target", "0,1", "--json", folder / "w.json", "--html", folder / "w.html")
    methods = {m["method"]: m for m in json.loads((folder / "w.json").read_text())["methods"]}
    for name, m in methods.items():
        check("refused" not in m and any(m["towers"][0]["relevance"]), f"{name} where tokens merge: {m.get('refused')}")
    run(tool, model, given, "--target", "0,1", "--method", "rollout", "--rollout", "raw", "--npy", folder / "w")
    run(tool, model, given, "--target", "0,1", "--method", "lrp", "--start-layer", "1", status=2)
    # rows that sum to 1 keep the sum of the readout's weights
    run(tool, model, given, "--target", "0,1", "--rollout", "normalized", "--npy", folder / "w")
    total = np.load(folder / "w/tokens.pixel_values.npy").sum()
    check(abs(total - 1) < 1e-5, f"tiba, normalized, sums to {total}")
    total = sum(methods["rollout"]["towers"][0]["relevance"])
    check(abs(total - 1) < 1e-5, f"rollout sums to {total}")
    # the last attention is a mean of rows that sum to 1, read with weights of sum 1
    total = sum(methods["raw-attention"]["towers"][0]["relevance"])
    check(abs(total - 1) < 1e-3, f"raw-attention sums to {total}")


def test_refusals(tool, examples, folder):
    vit = examples / "fashion-vit"
    run(tool, "eval", "nothing", vit, folder, status=2)
    run(tool, "eval", "segmentation", vit, status=2)
    run(tool, "eval", "segmentation", vit, folder / "none", status=1)
    run(tool, "eval", "rationale", vit, folder, status=2)
    run(tool, "eval", "segmentation", vit, folder, "--draws", 3, status=2)
    run(tool, "eval", "segmentation", vit, folder, "--truncate", status=2)
    run(tool, "eval", "perturbation", examples / "movie-sentiment", folder / "r.json", "--size", 32, status=2)
    dark = ("eval", "perturbation", vit, folder, "-m", "tiba", "--limit", 1, "--draws", 50, "--json", "-")
    check(run(tool, *dark, "--mean", "0.9", "--std", "0.1").stdout != run(tool, *dark).stdout, "eval's --mean does nothing")
    bert, bad = examples / "movie-sentiment", folder / "bad"
    bad.mkdir()
    write_png(bad / "a.png", np.zeros((64, 64, 3)))
    write_png(bad / "small.png", np.zeros((32, 64)))
    for kind, scene, say in (("segmentation", {"classes": [3], "masks": {"3": "none.png"}}, "none.png"),
                             ("segmentation", {"classes": [3], "masks": {"3": "small.png"}}, "64 x 32 pixels"),
                             ("segmentation", {"classes": [33], "masks": {"33": "a.png"}}, "no class 33"),
                             ("segmentation", {"classes": [3]}, "names no masks"),
                             ("perturbation", {"classes": [3], "masks": {"4": "a.png"}}, "[0].masks.4: a mask of none"),
                             ("perturbation", {"classes": ["bag"]}, "neither a number nor top"),
                             ("perturbation", {"classes": []}, "no classes")):
        (bad / "truth.json").write_text(json.dumps([{"picture": "a.png", **scene}]))
        done = run(tool, "eval", kind, vit, bad, "-m", "tiba", status=1)
        check(say in done.stderr and done.stderr.count("\n") == 1, f"{scene}: {done.stderr}")
    for text, say in (({"label": 7, "evidence": []}, "no class 7"), ({"label": 1, "evidence": [[5, 9]]}, "[0].evidence[0]: no part of the text"),
                      ({"label": 1, "evidence": [[2, 2]]}, "no part of the text"), ({"label": 1}, "evidence")):
        (bad / "r.json").write_text(json.dumps([{"text": "a film", **text}]))
        done = run(tool, "eval", "rationale", bert, bad / "r.json", "-m", "tiba", status=1)
        check(say in done.stderr and done.stderr.count("\n") == 1, f"{text}: {done.stderr}")
    # a map that is the same everywhere says neither object nor background: average precision of ties is chance
    write_png(bad / "b.png", np.full((64, 64), 255) * (np.arange(64) < 8))
    (bad / "c.png").write_bytes((folder / "0.png").read_bytes())
    (bad / "truth.json").write_text(json.dumps([{"picture": "c.png", "classes": [k], "masks": {str(k): "b.png"}} for k in range(10)]))
    run(tool, "eval", "segmentation", vit, bad, "-m", "attention-gradcam", "--csv", folder / "flat.csv", "--draws", 50)
    rows = [line.split(",")[3:] for line in (folder / "flat.csv").read_text().splitlines()]
    flat = [k for k, value in enumerate(value for metric, value in rows[1:] if metric == "mAP") if value == "50"]
    for k in range(10):
        run(tool, vit, bad / "c.png", "--target", k, "--method", "attention-gradcam", "--npy", folder / "flat", "-o", folder / "flat.png")
        constant = np.ptp(np.load(folder / "flat/map.pixel_values.npy")) == 0
        check(constant == (k in flat), f"class {k}: constant {constant}, average precision of chance in {flat}")
    check(flat, "no map is constant: the test says nothing")


def main(tool, examples):
    with tempfile.TemporaryDirectory() as name:
        folder, examples = pathlib.Path(name), pathlib.Path(examples)
        truth = make_pictures(folder)
        test_compare(tool, examples, folder)
        test_segmentation(tool, examples, folder, truth)
        test_perturbation(tool, examples, folder, truth)
        test_dropping(tool, examples, folder)
        test_course(tool, examples, folder)
        test_trust(tool, examples, folder)
        test_rationale(tool, examples, folder)
        test_texts(tool, examples, folder)
        test_eraser(tool, examples, folder)
        test_plots(tool, examples, folder)
        test_moving_tokens(tool, examples, folder)
        test_refusals(tool, examples, folder)
    close()


if __name__ == "__main__":
    main(*sys.argv[1:])
