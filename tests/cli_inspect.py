#!/usr/bin/env python3
"""`tiba-onnx inspect`: what it says of the example models and of graphs made for it, for people and for programs.

    cli_inspect.py TOOL SOURCE_FOLDER
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from checks import check, close
from onnx_wire import INT64, Graph
from schema import errors

tool, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
examples = os.path.join(source, "examples")
schema = json.load(open(os.path.join(source, "docs", "inspection.schema.json")))


def run(*arguments, status=0):
    r = subprocess.run([tool, "inspect", *arguments], capture_output=True, text=True, timeout=60)
    check(r.returncode == status, arguments, r.returncode, r.stderr)
    return r


def about(*arguments, status=0):
    out = json.loads(run(*arguments, "--json", status=status).stdout)
    wrong = errors(out, schema)
    check(not wrong, arguments, wrong[:5])
    return out


def summary(tower):
    return [tower[k] for k in ("input", "is_image", "tokens", "prefix_tokens", "rows", "columns", "pooling")]


def test_examples():
    vit = about(os.path.join(examples, "fashion-vit"))
    check(vit["producer"].startswith("pytorch ") and vit["opsets"] == [{"domain": "", "version": 17}], vit["opsets"])
    check(vit["parameters"] == 399274 and vit["parameter_bytes"] == 4 * 399274, "parameters")
    check(vit["inputs"] == [{"name": "pixel_values", "dtype": "float32", "shape": ["batch", 3, 64, 64],
                             "bound_shape": [1, 3, 64, 64]}] and vit["inputs_made_up"], vit["inputs"])
    check(vit["outputs"][0]["bound_shape"] == [1, 10] and not vit["unsupported"], vit["outputs"])
    tower = vit["towers"][0]
    check(summary(tower) == ["pixel_values", True, 65, 1, 8, 8, "token"], tower)
    check(tower["target_reads"] == "the first token" and not tower["tokens_move"], tower["target_reads"])
    check([b["heads"] for b in tower["blocks"]] == [4] * 4, tower["blocks"])
    check(tower["blocks"][2] == {"nodes": "/blocks/blocks.2/attn/MatMul_1", "heads": 4, "queries": 65, "keys": 65,
                                 "groups": 1}, tower["blocks"][2])
    check(vit["nodes"] > vit["bound_nodes"] > 50, vit["nodes"], vit["bound_nodes"])
    check({"kind": "raised", "name": "gelu-erf", "count": 4} in vit["rewrites"], vit["rewrites"])
    clip = about(os.path.join(examples, "garment-clip"))
    check({t["input"] for t in clip["towers"]} == {"pixel_values", "input_ids"}, "two towers")
    text = run(os.path.join(examples, "movie-sentiment")).stdout
    for line in (r"^input     input_ids +int64 \[batch, sequence\], made up as \[1, 16\]$", r"^tower     input_ids: 16 tokens, ",
                 r"^pooling   token: the target reads the first token$", r"^opsets    ai.onnx 17$", r"^raised    linear x \d+$"):
        check(re.search(line, text, re.M), line, text)


def test_reading():
    """What moves tokens and keeps them all, beside other numbers, takes none of them."""
    columns = about(os.path.join(source, "tests", "data", "families", "columns", "ts17.onnx"))
    check(columns["towers"][0]["target_reads"] == "all tokens through further layers", columns["towers"])
    with tempfile.TemporaryDirectory() as folder:  # a maximum that is taken from scores in front of their softmax is none that is read
        path = os.path.join(folder, "scores.onnx")
        graph = Graph()
        graph.input("x", [1, 4, 8])
        graph.attention("x", "tokens", 8, 4)
        graph.weight("query", [1, 2, 8])
        graph.node("Transpose", ["tokens"], "turned", perm=[0, 2, 1])
        graph.node("MatMul", ["query", "turned"], "scores")
        graph.node("ReduceMax", ["scores"], "most", axes=[-1], keepdims=1)
        graph.node("Sub", ["scores", "most"], "less")
        graph.node("Softmax", ["less"], "weights", axis=-1)
        graph.node("MatMul", ["weights", "tokens"], "y")
        graph.output("y")
        graph.save(path)
        check(about(path)["towers"][0]["target_reads"] == "an attention of 2 other queries over all tokens", about(path)["towers"])


def test_rewrites():
    """Every node that was rewritten is there with its name, however many they are and long."""
    vit = os.path.join(examples, "fashion-vit")
    lines = run(vit, "--explain-graph").stdout.splitlines()
    gelu = [line for line in lines if line.startswith("raised gelu-erf: ")]
    check(len(gelu) == 4 and all(f"/blocks/blocks.{i}/mlp/act/Erf" in gelu[i] for i in range(4)), gelu)
    listed = about(vit, "--explain-graph")["rewrites"]
    check([f"{r['kind']} {r['name']}: {r['nodes']}" for r in listed] == lines, "the same for programs")
    with tempfile.TemporaryDirectory() as folder:
        path, long = os.path.join(folder, "norm.onnx"), "n" * 180
        graph = Graph()
        graph.input("x", [1, 4, 8])
        graph.weight("two", [1])
        graph.node("ReduceMean", ["x"], f"{long}mean", axes=[-1], keepdims=1)
        graph.node("Sub", ["x", f"{long}mean"], f"{long}d")
        graph.node("Mul", [f"{long}d", f"{long}d"], f"{long}square")
        graph.node("ReduceMean", [f"{long}square"], f"{long}variance", axes=[-1], keepdims=1)
        graph.constant("epsilon", 1e-5)
        graph.node("Add", [f"{long}variance", "epsilon"], f"{long}sum")
        graph.node("Sqrt", [f"{long}sum"], f"{long}root")
        graph.node("Div", [f"{long}d", f"{long}root"], "normal")
        graph.node("Gelu", ["normal"], "gelu", domain="com.microsoft")
        graph.attention("gelu", "y", 8, 4)
        graph.output("y")
        graph.save(path)
        lines = run(path, "--explain-graph").stdout.splitlines()
        norm = [line for line in lines if line.startswith("raised layer-norm: ")]
        names = [f"node_{long}{end}" for end in ("mean", "d", "square", "variance", "sum", "root")] + ["node_normal"]
        check(len(norm) == 1 and norm[0].split(": ")[1].split(",") == names, norm)
        check("lowered Gelu: node_gelu" in lines, lines)
        check(f"upgraded ReduceMean: node_{long}mean" in lines, lines)


def test_unsupported():
    """All operators and nodes in the way are named at once, with what the file says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "odd.onnx")
        graph = Graph()
        graph.input("x", ["batch", "tokens", 8])
        graph.node("Frobnicate", ["x"], "a", domain="org.example")
        graph.ints("odd", [-1, 5, 7])
        graph.node("Reshape", ["x", "odd"], "where")
        graph.node("Det", ["x"], "det")
        graph.node("Frobnicate", ["a"], "b", domain="org.example")
        graph.node("Mul", ["b", "det"], "c")
        graph.node("ReduceSum", ["where"], "count")
        graph.node("Relu", ["x"], "fine")
        graph.node("Sum", ["c", "count", "fine"], "y")
        graph.output("y")
        graph.save(path)
        out = about(path, status=1)
        check(out["unsupported"] == [
            {"domain": "org.example", "operator": "Frobnicate", "count": 2, "nodes": ["node_a", "node_b"]},
            {"domain": "", "operator": "Det", "count": 1, "nodes": ["node_det"]}], out["unsupported"])
        check([(r["node"], r["operator"]) for r in out["refused"]] == [("node_where", "Reshape")], out["refused"])
        check("node 'node_where' (Reshape): " in out["refused"][0]["reason"], out["refused"])
        check(out["inputs"][0]["shape"] == ["batch", "tokens", 8] and "node_a" in out["refusal"], out)
        r = run(path, status=1)
        check("unsupported org.example.Frobnicate x 2: node_a, node_b\n" in r.stdout, r.stdout)
        check("refused   node 'node_where' (Reshape)" in r.stdout and "opsets    ai.onnx 17" in r.stdout, r.stdout)
        check(r.stderr.count("\n") == 1 and "made-up inputs" in r.stderr, r.stderr)
        graph = Graph()  # what no output needs is listed and in no one's way
        graph.input("x", [1, 4, 8])
        graph.node("Frobnicate", ["x"], "unused", domain="org.example")
        graph.attention("x", "y", 8, 4)
        graph.output("y")
        graph.save(path)
        out = about(path)
        check(out["unsupported"][0]["count"] == 1 and "refused" not in out, out)
        check(out["towers"][0]["pooling"] == "none", out["towers"])
        check("unsupported org.example.Frobnicate x 1, which no output needs" in run(path).stdout, "said")


def test_blocked():
    """What one output needs is not in the way of the others."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "blocked.onnx")
        graph = Graph()
        graph.input("x", [1, 4, 8])
        graph.attention("x", "y", 8, 4)
        graph.node("RandomNormalLike", ["y"], "noise")
        graph.node("Add", ["y", "noise"], "noisy")
        graph.node("Frobnicate", ["y"], "odd", domain="org.example")
        for name in ("noisy", "y", "odd"):
            graph.output(name)
        graph.save(path)
        why = "node 'node_noise' (RandomNormalLike): its result is random, another one in every run"
        out = about(path, status=1)
        check(out["refusal"].startswith(f"{why}; output 'noisy' needs it, --output may name one that does not: 'y'"), out["refusal"])
        r = run(path, "--output", "odd", status=1)
        check("Frobnicate): this operator is not supported; output 'odd' needs it" in r.stderr and r.stderr.count("\n") == 1, r.stderr)
        r = run(path, "--output", "y")
        check(f"blocked   output noisy: {why}\n" in r.stdout and "tower     x: 4 tokens" in r.stdout, r.stdout)
        check("Frobnicate x 1, which the output does not need" in r.stdout, r.stdout)
        r = run(path, "--output", "y", "--json")
        ports = json.loads(r.stdout)["outputs"]
        check([p.get("blocked", "").partition(":")[0] for p in ports] == ["node 'node_noise' (RandomNormalLike)", "", "node 'node_odd' (org.example.Frobnicate)"], ports)


def test_made_up():
    """Open sizes get one that fits: pasts are empty, sums follow from their parts, short texts grow."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "open.onnx")
        graph = Graph()
        graph.input("pixels", ["batch", "channels", "height", "width"])
        graph.input("past_key", ["batch", 2, "past_length", 4])
        graph.input("mask", ["batch", "past_length + tokens"], INT64)
        graph.input("ids", ["batch", "tokens"], INT64)
        graph.input("wave", ["batch", "samples"])
        graph.weight("patches", [8, 3, 16, 16])
        graph.weight("filter", [1, 1, 100])
        graph.ints("one", [1])
        graph.node("Conv", ["pixels", "patches"], "grid", strides=[16, 16])
        graph.node("GlobalAveragePool", ["grid"], "mean")
        graph.node("Unsqueeze", ["wave", "one"], "rows")
        graph.node("Conv", ["rows", "filter"], "heard", strides=[50])
        graph.output("mean")
        for name in ("heard", "past_key", "mask", "ids"):
            graph.output(name)
        graph.save(path)
        shapes = {i["name"]: i["bound_shape"] for i in about(path)["inputs"]}
        check(shapes["pixels"] == [1, 3, 224, 224] and shapes["past_key"] == [1, 2, 0, 4], shapes)
        check(shapes["mask"] == shapes["ids"] and shapes["wave"][1] >= 100, shapes)


def test_dot():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.dot")
        for model in sorted(os.listdir(examples)):
            if not os.path.exists(os.path.join(examples, model, "model.onnx")):
                continue
            run(os.path.join(examples, model), "--dot", path)
            lines = open(path).read().splitlines()
            for line in lines[1:-1]:
                check(re.fullmatch(r'  [nvo]\d+( -> [no]\d+)?( \[[^"\]]*label="[^"]*"[^"\]]*\])?;', line), line)
            check(lines[0].startswith('digraph "') and lines[0].endswith('" {') and lines[-1] == "}", lines[0])
            dot = shutil.which("dot")
            if dot:
                r = subprocess.run([dot, "-Tplain", path], capture_output=True, text=True, timeout=60)
                boxes = sum(line.startswith("node ") for line in r.stdout.splitlines())
                check(r.returncode == 0 and boxes > 50, "graphviz reads it", r.stderr[:200], boxes)


def test_an_input_too_large_to_make_up():
    graph = Graph()
    graph.input("x", [1 << 40, 8])
    graph.node("Relu", ["x"], "y")
    graph.output("y")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "large.onnx")
        graph.save(path)
        before = os.environ.get("ASAN_OPTIONS", "")
        os.environ["ASAN_OPTIONS"] = (before + ":" if before else "") + "allocator_may_return_null=1"  # which it then tells
        said = run(path, status=3).stderr
        os.environ["ASAN_OPTIONS"] = before
        check(said.endswith("tiba-onnx: input 'x' [1099511627776, 8], made up: out of memory\n"), said)


def test_options():
    vit = os.path.join(examples, "fashion-vit")
    for options in (("--json", "--dot", "-"), ("--json", "--graph"), ("--graph", "--explain-graph"), ("--dot", "-", "--graph")):
        r = run(vit, *options, status=2)
        check("exclude each other" in r.stderr and not r.stdout, options, r.stderr)
    check(" = tiba.Linear(" in run(vit, "--graph").stdout, "the bound graph")
    picture = os.path.join(vit, "pictures", "4-bag-and-ankle-boot.png")
    check(not about(vit, picture)["inputs_made_up"], "a real picture")


for name, test in sorted(globals().items()):
    if name.startswith("test_"):
        test()
close()
