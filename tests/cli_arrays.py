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
from onnx_wire import FLOAT, INT64, Graph
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


def test_shifted():
    """What a decoder reads of the encoder's ids is a tower of its own, whose tokens say which ids they are."""
    text, towers, page = explained("shifted_ids")
    check([t["input"] for t in towers] == ["input_ids"] * 2 and towers[0]["origins"] == [{"input": "input_ids", "place": k} for k in range(6)], towers)
    check(towers[1]["origins"] == [None] + [{"input": "input_ids", "place": k} for k in range(5)], towers[1]["origins"])
    check("input_ids (tower 2): " in text and "Tokens of input_ids (tower 2)<" in page, text)
    folder = os.path.join(families, "shifted_ids")
    with tempfile.TemporaryDirectory() as out:  # methods that go to the input reach each tower's own look-up
        numbers = os.path.join(out, "numbers.json")
        r = subprocess.run([tool, folder + "/ts17.onnx", *(f"{k}={folder}/input.{k}.npy" for k in ("input_ids", "attention_mask")), "--method", "lrp", "--json", numbers],
                           capture_output=True, text=True, timeout=60)
        check(r.returncode == 0, r.stderr)
        found = json.load(open(numbers))["explanations"][0]["towers"] if r.returncode == 0 else []
        check(len(found) == 2 and all(np.count_nonzero(t["relevance"]) == 6 for t in found), found)
    check(any(name.startswith("token 4, place 3 of 'input_ids', id 11") for _, name in listed(text)), text)


def test_words_in_other_places():
    """The words of a text are marked by their own tokens, also where the model puts one of its own in front."""
    folder = os.path.join(source, "examples", "movie-sentiment")
    with tempfile.TemporaryDirectory() as out:
        graph = Graph()
        graph.input("input_ids", [1, "n"], INT64)
        graph.weight("table", [4000, 8])
        for i, k in enumerate((0, -1, 1)):
            graph.ints(f"k{i}", [k])
        graph.ints("five", [5])
        graph.node("Unsqueeze", ["five", "k0"], "first")
        graph.node("Slice", ["input_ids", "k0", "k1", "k2"], "ids")
        graph.node("Concat", ["first", "ids"], "shifted", axis=1)
        graph.node("Gather", ["table", "shifted"], "x")
        graph.attention("x", "a", 8, 0)
        graph.node("ReduceMean", ["a"], "mean", axes=[1], keepdims=0)
        graph.weight("w", [8, 2])
        graph.node("MatMul", ["mean", "w"], "y")
        graph.output("y")
        model, numbers = os.path.join(out, "model.onnx"), os.path.join(out, "numbers.json")
        graph.save(model)
        r = subprocess.run([tool, model, "a good film", "--tokenizer", os.path.join(folder, "tokenizer.json"), "--json", numbers], capture_output=True, text=True, timeout=60)
        check(r.returncode == 0, r.stderr)
        view = json.load(open(numbers))["explanations"][0] if r.returncode == 0 else None
    if view:
        values = view["towers"][0]["relevance"]
        check(np.allclose([t["value"] for t in view["text"]["tokens"]], values[1:] + [0]), view["text"], values)


def test_ids_among_numbers():
    """One array holds columns of ids beside numbers: explained as the same model whose ids are an input of their own."""
    found = []
    with tempfile.TemporaryDirectory() as out:
        for inputs in ({"row": np.array([[3, 9, 4, 0.3, -0.8]], "f4")}, {"row": np.array([[3, 9, 4]]), "numbers": np.array([[0.3, -0.8]], "f4")}):
            graph = Graph()
            for name, value in inputs.items():
                graph.input(name, list(value.shape), INT64 if value.dtype == np.int64 else FLOAT)
                np.save(os.path.join(out, name), value)
            for i in range(6):
                graph.ints(str(i), [i])
            for i in range(3):
                graph.weight(f"table{i}", [10, 8])
                graph.node("Slice", ["row", str(i), str(i + 1), "1"], f"column{i}")
                graph.node("Cast", [f"column{i}"], f"id{i}", to=7)
                graph.node("Gather", [f"table{i}", f"id{i}"], f"row{i}")
            if len(inputs) == 1:
                graph.node("Slice", ["row", "3", "5", "1"], "numbers")
            graph.node("Concat", ["row0", "row1", "row2"], "x", axis=1)
            graph.attention("x", "a", 8, 3)
            graph.attention("a", "b", 8, 3)
            graph.node("Flatten", ["b"], "flat")
            graph.node("Concat", ["flat", "numbers"], "all", axis=1)
            graph.weight("w", [26, 3])
            graph.node("MatMul", ["all", "w"], "y")
            graph.output("y")
            model, numbers = os.path.join(out, "model.onnx"), os.path.join(out, "numbers.json")
            graph.save(model)
            for method in ("tiba", "lrp"):
                r = subprocess.run([tool, model, *(f"{n}={out}/{n}.npy" for n in inputs), "--target", "0,1", "--method", method, "--json", numbers], capture_output=True, text=True, timeout=60)
                check(r.returncode == 0, inputs, method, r.stderr)
                towers = json.load(open(numbers))["explanations"][0]["towers"] if r.returncode == 0 else []
                found.append([t["relevance"] for t in towers if t["input"] == "row"])
    check(all(len(f) == 1 and len(f[0]) == 3 and np.any(f[0]) for f in found), found)
    check(np.allclose(found[:2], found[2:], rtol=1e-5), found)


def test_numbers_beside_ids_are_tokens():
    """Columns that are looked up and columns that are numbers, all of them tokens: explained as with an input for each kind."""
    found = []
    with tempfile.TemporaryDirectory() as out:
        for inputs in ({"row": np.array([[3, 9, 4, 0.3, -0.8]], "f4")}, {"row": np.array([[3, 9, 4]]), "numbers": np.array([[0.3, -0.8]], "f4")}):
            graph = Graph()
            for name, value in inputs.items():
                graph.input(name, list(value.shape), INT64 if value.dtype == np.int64 else FLOAT)
                np.save(os.path.join(out, name), value)
            graph.ints("first", [0, 1, 2])
            graph.ints("last", [3, 4])
            graph.ints("2", [2])
            if len(inputs) == 1:
                graph.node("Gather", ["row", "first"], "some", axis=1)
                graph.node("Cast", ["some"], "ids", to=7)
                graph.node("Gather", ["row", "last"], "numbers", axis=1)
            graph.weight("table", [10, 8])
            graph.node("Gather", ["table", "row" if len(inputs) == 2 else "ids"], "looked_up")
            graph.node("Unsqueeze", ["numbers", "2"], "column")
            graph.weight("directions", [1, 2, 8])
            graph.node("Mul", ["column", "directions"], "scaled")
            graph.node("Concat", ["looked_up", "scaled"], "x", axis=1)
            graph.attention("x", "a", 8, 5)
            graph.attention("a", "b", 8, 5)
            graph.node("Flatten", ["b"], "flat")
            graph.weight("w", [40, 3])
            graph.node("MatMul", ["flat", "w"], "y")
            graph.output("y")
            model, numbers = os.path.join(out, "model.onnx"), os.path.join(out, "numbers.json")
            graph.save(model)
            r = subprocess.run([tool, model, *(f"{n}={out}/{n}.npy" for n in inputs), "--target", "0,1", "--json", numbers], capture_output=True, text=True, timeout=60)
            check(r.returncode == 0, inputs, r.stderr)
            found.append(json.load(open(numbers))["explanations"][0]["towers"] if r.returncode == 0 else [])
    check(all(len(towers) == 1 and len(towers[0]["relevance"]) == 5 for towers in found), found)
    check(found[0] and np.allclose(found[0][0]["relevance"], found[1][0]["relevance"], rtol=1e-5), found)


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
