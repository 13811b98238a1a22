#!/usr/bin/env python3
"""Measures explanations of picture-text scores on labelled pictures: how often the map of a garment's
word lies on that garment, and how often a wrong word speaks against the score.

    measure_pairs.py TIBA_ONNX MODEL FOLDER    FOLDER holds truth.json and its pictures (64 px)
"""
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

tool, model, folder = sys.argv[1:4]
SIZE = 64  # pixels; boxes are [left, top, right, bottom]


def explain(picture, *arguments):
    out = subprocess.run([tool, model, os.path.join(folder, picture), *arguments, "--json", "-", "--threads", "1"],
                         capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def share(grid, box, signed):
    """Mean value inside the box, and whether the maximum lies in it."""
    rows, columns, values = grid["rows"], grid["columns"], grid["values"]
    inside, best = [], None
    for y in range(rows):
        for x in range(columns):
            px, py = (x + 0.5) * SIZE / columns, (y + 0.5) * SIZE / rows
            here = box[0] <= px < box[2] and box[1] <= py < box[3]
            if here:
                inside.append(values[y][x])
            if best is None or values[y][x] > best[0]:
                best = (values[y][x], here)
    return sum(inside) / max(1, len(inside)), best[1]


def words_of(text):
    return {m.start(): m.group() for m in re.finditer(r"[\w-]+", text)}


def value_of(text, start, end):
    return sum(w["value"] for w in text["words"] if start <= w["start"] < end)


def measure(item):
    counts = {}

    def count(name, holds):
        a, b = counts.get(name, (0, 0))
        counts[name] = (a + bool(holds), b + 1)

    a, b = item["objects"]
    for method, flags in (("paper", []), ("signed", ["--signed"])):
        scored = explain(item["picture"], "--text", item["text"], "--text", item["wrong_text"], *flags)
        if method == "paper":
            count("the right caption scores higher", scored["explanations"][0]["target"]["label"] == item["text"])
        table = explain(item["picture"], "--text", item["text"], "--table", *flags)
        for own, other in ((a, b), (b, a)):
            phrase = explain(item["picture"], "--text", f"a {own['color']} {own['name']}", *flags)
            grid = phrase["explanations"][0]["towers"][0]["grid"]
            x, top = share(grid, own["box"], flags)
            y, _ = share(grid, other["box"], flags)
            count(f"{method}: phrase alone, own garment above the other", x > y)
            count(f"{method}: phrase alone, maximum on the own garment", top)
            if a["name"] != b["name"]:
                word = own["name"]
                at = item["text"].index(" " + word) + 1
                rows = [r for r in table["table"] if at <= r["start"] < at + len(word)]
                row = max(rows, key=lambda r: r["end"] - r["start"])
                x, top = share(row, own["box"], flags)
                y, _ = share(row, other["box"], flags)
                count(f"{method}: word in the caption, own garment above the other", x > y)
                count(f"{method}: word in the caption, maximum on the own garment", top)
        at = item["wrong_text"].index(item["wrong_word"])
        place = (at, at + len(item["wrong_word"]))
        wrong = explain(item["picture"], "--text", item["wrong_text"], *flags)["explanations"][0]["text"]
        right = explain(item["picture"], "--text", item["text"], *flags)["explanations"][0]["text"]
        color = item["text"].split()[1]
        count(f"{method}: the wrong word speaks against the score", value_of(wrong, *place) < 0)
        count(f"{method}: the right word speaks against the score", value_of(right, at, at + len(color)) < 0)
        drop = explain(item["picture"], "--text", item["wrong_text"], "--table")["table"] if not flags else []
        for row in drop:
            if row["start"] == at:
                count("table: leaving the wrong word out raises the score", row["share"] < 0)
        gap = explain(item["picture"], "--text", item["text"], "--contrast", item["wrong_text"], *flags)
        grid = gap["explanations"][0]["towers"][0]["grid"]
        changed = a if item["wrong_text"].split()[1] == item["wrong_word"] else b
        same = b if changed is a else a
        x, top = share(grid, changed["box"], flags)
        y, _ = share(grid, same["box"], flags)
        count(f"{method}: contrast of the captions, the differing garment above the other", x > y)
    return counts


with open(os.path.join(folder, "truth.json")) as f:
    items = json.load(f)
total = {}
with ThreadPoolExecutor(os.cpu_count()) as pool:
    for counts in pool.map(measure, items):
        for name, (a, b) in counts.items():
            x, y = total.get(name, (0, 0))
            total[name] = (x + a, y + b)
for name, (a, b) in sorted(total.items()):
    print(f"{100 * a / b:5.1f} %  {a:3d} of {b:3d}  {name}")
