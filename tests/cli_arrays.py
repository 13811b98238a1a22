#!/usr/bin/env python3
"""Inputs given as arrays: there are no words to mark and no picture to lay a map over, so the terminal, the page and the
JSON name tokens by where they come from.

    cli_arrays.py TOOL SOURCE_FOLDER
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from schema import errors

tool, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
families = os.path.join(source, "tests", "data", "families")
schema = json.load(open(os.path.join(source, "docs", "explanation.schema.json")))


def explained(name):
    """What is printed for a family's first file, its JSON and its page."""
    folder = os.path.join(families, name)
    feeds = [os.path.basename(p)[6:-4] + "=" + p for p in sorted(glob.glob(folder + "/input.*.npy"))]
    options = open(folder + "/options.txt").read().split() if os.path.exists(folder + "/options.txt") else ["--target", "0,1"]
    with tempfile.TemporaryDirectory() as out:
        page, numbers = os.path.join(out, "page.html"), os.path.join(out, "numbers.json")
        r = subprocess.run([tool, sorted(glob.glob(folder + "/*.onnx"))[-1], *feeds, *options, "--json", numbers, "--html", page],
                           capture_output=True, text=True, timeout=60)
        check(r.returncode == 0, name, r.stderr)
        found = json.load(open(numbers))
        wrong = errors(found, schema)
        check(not wrong, name, wrong[:5])
        return r.stdout, found["explanations"][0]["towers"], open(page).read()


def listed(text):
    """[(value, name)] of the terminal's list"""
    return [(float(v), name) for v, name in re.findall(r"^ +([+-]\d\S+)  [#.]+ [ -] (.*)$", text, re.M)]


def test_columns():
    """Every column of a table is an input of its own."""
    text, (tower,), page = explained("columns")
    check(tower["origins"] == [{"input": k, "place": 0} for k in "abc"], tower["origins"])
    ids = {"a": 3, "b": 9, "c": 4}
    rows = listed(text)
    check(sorted(name for _, name in rows) == [f"'{k}', id {i}" for k, i in ids.items()], rows)
    sizes = [abs(v) for v, _ in rows]
    check(sizes == sorted(sizes, reverse=True), "the largest first", rows)
    for k, (name, i) in enumerate(ids.items()):
        check(f"<tr><td>&#39;{name}&#39;, id {i}<td>{tower['relevance'][k]:.6g}<td>" in page, name)


def test_joined():
    """A picture's tokens in front of a text's."""
    text, towers, page = explained("joined")
    check([t["input"] for t in towers] == ["image", "tokens"] and towers[0]["origins"] is None, towers)
    origins = towers[1]["origins"]
    check(origins[:16] == [{"input": "image", "place": None}] * 16, origins[:16])
    check(origins[16:] == [{"input": "tokens", "place": k} for k in range(6)], origins[16:])
    check("  tokens: the largest 12 of 22 tokens\n" in text, text)
    check(re.search(r"^  the score reads token 21, place 5 of 'tokens', id 2, not scaled: ", text, re.M), text)
    check(not any("token 21" in name for _, name in listed(text)), "what is read is not in the list")
    check("(read)" in page and "token 3, of &#39;image&#39;" in page, "the page's list")


def test_turns():
    """Two inputs' tokens take turns."""
    _, (tower,), _ = explained("turns")
    check(tower["origins"] == [{"input": k, "place": i} for i in range(5) for k in "ab"], tower["origins"])


def test_patches():
    """A picture given as an array: the patches of its grid."""
    text, (tower,), page = explained("patch_product")
    grid = tower["grid"]
    check(tower["origins"] is None and grid["rows"] * grid["columns"] == 16, grid)
    best = max(range(16), key=lambda k: abs(tower["relevance"][grid["prefix_tokens"] + k]))
    check(listed(text)[0][1] == f"row {best // 4 + 1}, column {best % 4 + 1}", best, text)
    check(page.count("<td style=\"background:rgb(") == 16, "16 patches on coloured ground")


def test_vocabulary():
    """Ids are read by the tokenizer of the model's folder."""
    folder = os.path.join(source, "examples", "movie-sentiment")
    with tempfile.TemporaryDirectory() as out:
        ids = os.path.join(out, "ids.npy")
        np.save(ids, np.array([[2, 480, 3]]))
        r = subprocess.run([tool, folder, "input_ids=" + ids], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0 and "  the score reads token 0, id 2 [CLS], not scaled" in r.stdout, r.stdout, r.stderr)
    check({name for _, name in listed(r.stdout)} == {"token 1, id 480 center", "token 2, id 3 [SEP]"}, r.stdout)


for name, test in sorted(globals().items()):
    if name.startswith("test_"):
        test()
close()
