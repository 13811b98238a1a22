#!/usr/bin/env python3
"""`tiba-onnx preprocess`: what it writes, its exit statuses, its one line of error.

    cli_preprocess.py TOOL TESTS/data/img
"""
import ast
import json
import os
import struct
import subprocess
import sys
import tempfile

from checks import check, close
from onnx_wire import FLOAT, Graph

tool, data = sys.argv[1], sys.argv[2]


def run(*arguments):
    r = subprocess.run([tool, "preprocess", *arguments], capture_output=True, text=True, timeout=60)
    return r.returncode, r.stderr


def read_npy(path):
    raw = open(path, "rb").read()
    length = struct.unpack("<H", raw[8:10])[0]
    header = ast.literal_eval(raw[10:10 + length].decode())
    count = 1
    for size in header["shape"]:
        count *= size
    return header, struct.unpack(f"<{count}f", raw[10 + length:])


def patches(path, dims, dtype, *before):
    """A small model of patches behind the nodes that make its picture's [1, 3, 16, 16]."""
    graph = Graph()
    for name, dim in (("kernel", [8, 3, 8, 8]), ("w", [8, 2])):
        graph.weight(name, dim)
    for name, value in (("half", 127.5), ("one", 1.0)):
        graph.constant(name, value)
    graph.ints("0", [0])
    graph.ints("rows", [0, 8, -1])
    graph.input("picture", dims, dtype)
    x = "picture"
    for i, (op, inputs, attributes) in enumerate(before):
        graph.node(op, [x, *inputs], f"x{i}", **attributes)
        x = f"x{i}"
    graph.node("Conv", [x, "kernel"], "grid", strides=[8, 8])
    graph.node("Reshape", ["grid", "rows"], "features")
    graph.node("Transpose", ["features"], "tokens", perm=[0, 2, 1])
    graph.attention("tokens", "a", 8, 4)
    graph.node("ReduceMean", ["a"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", "w"], "y")
    graph.output("y")
    graph.save(path)


with tempfile.TemporaryDirectory() as folder:
    out = os.path.join(folder, "x.npy")
    config, picture = f"{data}/configs/tiny64", f"{data}/pictures/small_37x23.png"
    status, error = run(config, picture, "--npy", out)
    check(status == 0 and error == "", status, error)
    header, values = read_npy(out)
    check(header == {"descr": "<f4", "fortran_order": False, "shape": (1, 3, 64, 64)}, header)

    for options, shape in [(["--size", "32"], (1, 3, 32, 32)),
                           (["--size", "20x30", "--layout", "nhwc"], (1, 20, 30, 3)),
                           (["--crop", "10x12", "--resample", "lanczos"], (1, 3, 10, 12)),
                           (["--horizontal-first"], (1, 3, 64, 64)),
                           (["--mean", "0", "--std", "1"], (1, 3, 64, 64))]:
        status, error = run(config, picture, "--npy", out, *options)
        check(status == 0 and read_npy(out)[0]["shape"] == shape, options, status, error)
    check(0 <= min(read_npy(out)[1]) and max(read_npy(out)[1]) <= 1, "mean 0, std 1")

    empty = os.path.join(folder, "empty")
    os.mkdir(empty)
    status, error = run(empty, picture, "--npy", out, "--size", "16")
    check(status == 0 and "note" in error and error.count("\n") == 1, status, error)

    # pictures of any size: the model has none to give, the option does
    graph, free = Graph(), os.path.join(folder, "free.onnx")
    graph.input("pixels", ["batch", 3, "height", "width"])
    graph.node("GlobalAveragePool", ["pixels"], "mean")
    graph.node("Flatten", ["mean"], "y")
    graph.output("y")
    graph.save(free)
    explain = [tool, free, picture, "--method", "grad-x-input", "--npy", os.path.join(folder, "free")]
    r = subprocess.run(explain, capture_output=True, text=True)
    check(r.returncode == 1 and r.stderr.endswith("no fixed size; --size HxW gives one\n"), r.stderr)
    r = subprocess.run([*explain, "--size", "8x12"], capture_output=True, text=True)
    check(r.returncode == 0, r.stderr)

    # a model whose input is bytes gets the picture's own, and scales them by itself
    bytes_model = f"{data}/../families/bytes/bytes_last.onnx"
    made = os.path.join(folder, "made")
    r = subprocess.run([tool, bytes_model, picture, "--target", "0,1", "--npy", made], capture_output=True, text=True)
    check(r.returncode == 0 and "input, bytes" in r.stdout + r.stderr, r.stderr)
    r = subprocess.run([tool, bytes_model, picture, "--mean", "0"], capture_output=True, text=True)
    check(r.returncode == 2 and r.stderr.strip().endswith("input 'bytes_last' takes bytes, which the model scales by itself"), r.stderr)

    # one picture without an axis of samples, its colours first or last, as floats or bytes
    scaled = ("Cast", [], {"to": 1}), ("Div", ["half"], {}), ("Sub", ["one"], {})
    turned, sample = ("Transpose", [], {"perm": [2, 0, 1]}), ("Unsqueeze", ["0"], {})
    found = []
    for dims, dtype, before in (([1, 3, 16, 16], FLOAT, []), ([3, 16, 16], FLOAT, [sample]), ([16, 16, 3], FLOAT, [turned, sample]),
                                ([16, 16, 3], 2, [*scaled, turned, sample]), ([3, 16, 16], 2, [*scaled, sample])):
        model, numbers = os.path.join(folder, "patches.onnx"), os.path.join(folder, "numbers.json")
        patches(model, dims, dtype, *before)
        r = subprocess.run([tool, model, picture, "--target", "0,1", "--json", numbers], capture_output=True, text=True)
        check(r.returncode == 0, dims, dtype, r.stderr)
        found.append(json.load(open(numbers))["explanations"][0]["towers"][0]["relevance"] if r.returncode == 0 else [])
    check(all(len(f) == 4 and all(abs(a - b) < 1e-5 for a, b in zip(f, found[0])) for f in found), found)

    # a failed run leaves the old file alone and no new one behind
    before = open(out, "rb").read()
    listing = sorted(os.listdir(folder))
    broken = os.path.join(folder, "broken.png")
    open(broken, "wb").write(open(picture, "rb").read()[:700])
    listing = sorted(os.listdir(folder))
    for expected, arguments in [
        (1, [config, broken, "--npy", out]),
        (1, [config, "no/such.png", "--npy", out]),
        (1, [empty, picture, "--npy", out]),
        (1, [config, f"{data}/cases.json", "--npy", out]),
        (2, [config, picture]),
        (2, [config, "--npy", out]),
        (2, [config, picture, picture, "--npy", out]),
        (2, [config, picture, "--npy"]),
        (2, [config, picture, "--npy", out, "--colour", "red"]),
        (2, [config, picture, "--npy", out, "--size", "large"]),
        (3, [config, picture, "--npy", os.path.join(folder, "no", "x.npy")]),
        (3, [config, picture, "--npy", empty]),
    ]:
        status, error = run(*arguments)
        check(status == expected, arguments, status, error)
        check(error.startswith("tiba-onnx: ") and error.count("\n") == 1, arguments, error)
    check(open(out, "rb").read() == before and sorted(os.listdir(folder)) == listing, "files changed")

close()
