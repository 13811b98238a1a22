#!/usr/bin/env python3
"""The command line's failures: exit status, one line that says what and where, no output left.

    cli_errors.py TOOL EXAMPLES
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import check, close  # noqa: E402
from onnx_wire import FLOAT, INT64, Graph, block  # noqa: E402

tool, examples = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()


def classifier():
    """x [batch, 5, 8] through two attentions to y [batch, 3]."""
    g = Graph()
    g.input("x", ["batch", 5, 8])
    g.attention("x", "a", 8, 5)
    g.attention("a", "b", 8, 5)
    g.node("ReduceMean", ["b"], "pooled", axes=[1], keepdims=0)
    g.weight("head", [8, 3])
    g.node("MatMul", ["pooled", "head"], "y")
    g.output("y")
    return g


def make_models(folder):
    classifier().save(folder / "good.onnx")

    g = classifier()
    g.node("NoSuchOp", ["y"], "z")
    g.output("z")
    g.save(folder / "unknown_op.onnx")

    g = classifier()  # a label in words beside the scores
    g.node("LabelEncoder", ["y"], "names", domain="ai.onnx.ml")
    g.output("names", 8)
    g.save(folder / "labels.onnx")

    g = Graph()
    g.input("x", [1, 5, 8])
    g.weight("w", [8, 3])
    g.node("MatMul", ["x", "w"], "h")
    g.node("ReduceMean", ["h"], "y", axes=[1], keepdims=0)
    g.output("y")
    g.save(folder / "no_attention.onnx")

    g = Graph()  # keys and values that come from no input: nothing to explain
    g.input("x", [1, 5, 8])
    g.weight("k", [1, 8, 4])
    g.weight("v", [1, 4, 8])
    g.node("ReduceMean", ["x"], "q", axes=[1], keepdims=1)
    g.node("MatMul", ["q", "k"], "scores")
    g.node("Softmax", ["scores"], "p", axis=-1)
    g.node("MatMul", ["p", "v"], "y")
    g.output("y")
    g.save(folder / "no_tower.onnx")

    g = Graph()
    g.input("ids", [1, 5], INT64)
    g.weight("table", [10, 8])
    g.node("Gather", ["table", "ids"], "x")
    g.attention("x", "a", 8, 5)
    g.node("ReduceMean", ["a"], "pooled", axes=[1], keepdims=0)
    g.output("pooled")
    g.save(folder / "ids.onnx")

    g = classifier()  # sizes that are no numbers
    for name, value in (("bins", float("nan")), ("length", 1e30), ("rate", 16000), ("least", 0), ("most", 8000)):
        g.tensor(name, [], FLOAT, block(9, struct.pack("<f", value)))
    g.node("MelWeightMatrix", ["bins", "length", "rate", "least", "most"], "mel")
    g.output("mel")
    g.save(folder / "mel.onnx")

    g = classifier()
    g.ints("last", [2**63 - 1])
    g.ints("total", [5])
    g.node("GroupQueryAttention", ["b", "b", "b", "", "", "last", "total"], "z", "com.microsoft", num_heads=2,
           kv_num_heads=2)
    g.output("z")
    g.save(folder / "lengths.onnx")

    for name, location in (("external_missing", "weights.bin"), ("external_outside", "../weights.bin"),
                           ("external_absolute", "/etc/hostname")):
        g = classifier()
        g.external_weight("far", [8, 8], location)
        g.node("MatMul", ["b", "far"], "z")
        g.output("z")
        g.save(folder / f"{name}.onnx")

    good = (folder / "good.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(good[:len(good) // 2])
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "text.onnx").write_text("this is no model\n")
    (folder / "folder.onnx").mkdir()
    (folder / "bare").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "model_fp16.onnx").write_bytes(good)


def make_inputs(folder):
    x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(1, 5, 8)
    arrays = {"x": x, "ints": x.astype(np.int64), "flat": x[0], "wide": np.zeros((1, 5, 9), np.float32),
              "ids": np.arange(5).reshape(1, 5), "large_ids": np.arange(5).reshape(1, 5) + 7,
              "text": np.array(["a"]), "empty_batch": x[:0]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    whole = (folder / "x.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-7])
    (folder / "empty.npy").write_bytes(b"")
    picture = next((examples / "fashion-vit" / "pictures").glob("4-*.png")).read_bytes()
    (folder / "good.png").write_bytes(picture)
    (folder / "cut.png").write_bytes(picture[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture\n")
    (folder / "folder.png").mkdir()


VIT, CLIP, BERT = (str(examples / name) for name in ("fashion-vit", "garment-clip", "movie-sentiment"))
GOOD = ["good.onnx", "x=x.npy"]

# What is wrong, the arguments, the exit status, what the line must say.
ROWS = [
    # models
    ("missing model", ["nothing.onnx", "x=x.npy"], 1, ["nothing.onnx"]),
    ("empty model", ["empty.onnx", "x=x.npy"], 1, ["empty.onnx"]),
    ("truncated model", ["truncated.onnx", "x=x.npy"], 1, ["truncated.onnx"]),
    ("text as a model", ["text.onnx", "x=x.npy"], 1, ["text.onnx"]),
    ("folder without a model", ["bare", "x=x.npy"], 1, ["bare", "model.onnx"]),
    ("folder with another model", ["other", "x=x.npy"], 1, ["model.onnx", "model_fp16.onnx"]),
    ("misspelt command", ["explian", "good.onnx", "x=x.npy"], 1, ["explian", "explain"]),
    ("folder named like a model", ["folder.onnx", "x=x.npy"], 1, ["folder.onnx"]),
    ("unknown operator", ["unknown_op.onnx", "x=x.npy", "--output", "z"], 1, ["NoSuchOp", "node_z"]),
    ("no attention", ["no_attention.onnx", "x=x.npy"], 1, ["attention"]),
    ("attention without a tower", ["no_tower.onnx", "x=x.npy"], 1, ["attention"]),
    ("sizes of mel weights", ["mel.onnx", "x=x.npy", "--output", "mel"], 1, ["node_mel", "sizes"]),
    ("more keys than there are", ["lengths.onnx", "x=x.npy", "--output", "z"], 1, ["node_z", "seqlens_k", str(2**63 - 1)]),
    ("external data missing", ["external_missing.onnx", "x=x.npy"], 1, ["weights.bin"]),
    ("external data outside", ["external_outside.onnx", "x=x.npy"], 1, ["weights.bin"]),
    ("external data by an absolute path", ["external_absolute.onnx", "x=x.npy"], 1, ["hostname"]),
    # inputs
    ("wrong type", ["good.onnx", "x=ints.npy"], 1, ["'x'", "float32", "int64"]),
    ("text array", ["good.onnx", "x=text.npy"], 1, ["text.npy"]),
    ("wrong rank", ["good.onnx", "x=flat.npy"], 1, ["'x'", "[5, 8]"]),
    ("wrong dimension", ["good.onnx", "x=wide.npy"], 1, ["'x'", "9", "8"]),
    ("float ids", ["ids.onnx", "ids=x.npy"], 1, ["'ids'"]),
    ("id beyond the table", ["ids.onnx", "ids=large_ids.npy"], 1, ["10", "node_x"]),
    ("empty batch", ["good.onnx", "x=empty_batch.npy"], 1, []),
    ("missing array", ["good.onnx", "x=nothing.npy"], 1, ["nothing.npy"]),
    ("cut array", ["good.onnx", "x=cut.npy"], 1, ["cut.npy"]),
    ("empty array file", ["good.onnx", "x=empty.npy"], 1, ["empty.npy"]),
    ("unknown input", ["good.onnx", "pixels=x.npy"], 2, ["pixels", "'x'"]),
    ("no text for a pair", [CLIP, "good.png"], 2, ["'input_ids'", "--text"]),
    ("no picture for a pair", [CLIP, "--text", "a boot"], 2, ["'pixel_values'", "picture"]),
    ("no tokenizer", ["ids.onnx", "a text"], 1, ["tokenizer.json", "--tokenizer"]),
    ("text beyond the length", [CLIP, "good.png", "--text", "a boot " * 30], 1, ["--truncate"]),
    ("input without a name", ["good.onnx", "x.npy"], 2, ["x.npy"]),
    ("input twice", ["good.onnx", "x=x.npy", "x=x.npy"], 2, ["'x'", "twice"]),
    ("no input", ["good.onnx"], 2, ["input"]),
    ("no model", [], 2, ["model"]),
    ("picture for a model without pictures", ["good.onnx", "good.png"], 2, ["good.png"]),
    # pictures
    ("missing picture", [VIT, "nothing.png"], 1, ["nothing.png: no such file or folder\n"]),
    ("misspelt picture", [VIT, "goood.png"], 1, ["goood.png", "did you mean good.png?"]),
    ("misspelt model", ["goof.onnx", "x=x.npy"], 1, ["did you mean good.onnx?"]),
    ("misspelt folder", [VIT[:-1] + "s", "good.png"], 1, ["did you mean fashion-vit?"]),
    ("missing text", [BERT, "nothing.txt"], 1, ["nothing.txt"]),
    ("missing list", ["batch", VIT, "goood.png", "-O", "out"], 1, ["did you mean good.png?"]),
    ("input before the model", ["good.png", VIT], 2, ["good.png", "the model comes first"]),
    ("folder as an input", [VIT, "bare"], 2, ["bare", "batch"]),
    ("small letter", ["batch", VIT, "bare", "-o", "out"], 2, ["did you mean -O?"]),
    ("a picture's option for a text", [BERT, "good", "--size", "64"], 2, ["--size", "picture"]),
    ("a text's option for a picture", [VIT, "good.png", "--truncate"], 2, ["--truncate", "text"]),
    ("a page called like a picture", [VIT, "good.png", "--html", "page.png"], 2, ["page.html"]),
    ("cut picture", [VIT, "cut.png"], 1, ["cut.png"]),
    ("empty picture", [VIT, "empty.png"], 1, ["empty.png"]),
    ("text as a picture", [VIT, "text.png"], 1, ["text.png"]),
    ("folder as a picture", [VIT, "folder.png"], 1, ["folder.png"]),
    # targets
    ("class out of range", [*GOOD, "--class", "3"], 2, ["3", "classes"]),
    ("negative class", [*GOOD, "--class", "-1"], 2, ["-1"]),
    ("label of a model without labels", [*GOOD, "--class", "cat"], 2, ["cat"]),
    ("misspelt label", [VIT, "good.png", "--class", "trousr"], 2, ["trousr", "'trousers'"]),
    ("label like no other", [VIT, "good.png", "--class", "zzzzz"], 2, ["zzzzz", "'dress'", "'sandal'"]),
    ("part of several labels", [VIT, "good.png", "--class", "t"], 2, ["'t-shirt'", "'ankle boot'"]),
    ("unknown label", [VIT, "good.png", "--class", "trouser leg"], 2, ["trouser leg", "trouser"]),
    ("target out of range", [*GOOD, "--target", "0,3"], 2, ["3", "'y'"]),
    ("negative target", [*GOOD, "--target", "-2"], 2, ["-2"]),
    ("target of too high a rank", [*GOOD, "--target", "0,1,2"], 2, ["'y'", "[1, 3]"]),
    ("target that is no number", [*GOOD, "--target", "0,x"], 2, ["0,x"]),
    ("target that ends in a comma", [*GOOD, "--target", "0,"], 2, ["0,"]),
    ("target beyond 64 bits", [*GOOD, "--target", "99999999999999999999"], 2, ["99999999999999999999"]),
    ("unknown output", [*GOOD, "--output", "z"], 2, ["'z'", "'y'"]),
    ("output of strings", ["labels.onnx", *GOOD[1:], "--output", "names"], 2, ["'names'", "strings"]),
    ("start layer out of range", [*GOOD, "--start-layer", "2"], 2, ["2", "attentions"]),
    # options
    ("unknown option", [*GOOD, "--colour", "red"], 2, ["--colour"]),
    ("unknown option, near a known one", [*GOOD, "--taget", "0"], 2, ["--taget", "--target"]),
    ("option without its value", [*GOOD, "--target"], 2, ["--target"]),
    ("option that is no number", [*GOOD, "--threads", "many"], 2, ["--threads", "many"]),
    ("negative threads", [*GOOD, "--threads", "-1"], 2, ["--threads"]),
    ("far too many threads", [*GOOD, "--threads", "9999999"], 3, []),
    ("none of the most likely", [*GOOD, "--top", "0"], 2, ["--top", "0"]),
    ("unlike any option", [*GOOD, "--xyzzy"], 2, ["--xyzzy", "--help"]),
    ("wrong size", [VIT, "good.png", "--size", "abc"], 2, ["--size", "abc", "HEIGHT"]),
    ("wrong rollout", [*GOOD, "--rollout", "round"], 2, ["round", "raw"]),
    ("target and class", [*GOOD, "--target", "0", "--class", "1"], 2, ["--target", "--class"]),
    ("class and top", [*GOOD, "--class", "1", "--top", "2"], 2, ["--class", "--top"]),
    ("picture of what is none", [*GOOD, "-o", "out.png"], 2, ["-o"]),
    ("wrong colours", [VIT, "good.png", "--colormap", "pink", "-o", "out.png"], 2, ["pink"]),
    # outputs
    ("output into a missing folder", [VIT, "good.png", "-o", "none/out.png"], 3, ["none/out.png"]),
    ("JSON into a missing folder", [*GOOD, "--json", "none/out.json"], 3, ["none/out.json"]),
    ("arrays into a missing folder", [*GOOD, "--npy", "none/out"], 3, ["none/out"]),
    ("arrays into a file", [*GOOD, "--npy", "x.npy"], 3, ["x.npy"]),
    ("output onto a folder", [VIT, "good.png", "-o", "folder.png"], 3, ["folder.png"]),
    ("full device", [*GOOD, "--json", "/dev/full"], 3, ["/dev/full"]),
    ("one good output, one bad", [*GOOD, "--json", "good.json", "--npy", "none/out"], 3, ["none/out"]),
    ("good arrays, bad JSON", [*GOOD, "--npy", "arrays", "--json", "none/out.json"], 3, ["none/out.json"]),
]


def files_below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def run(folder, arguments, **options):
    return subprocess.run([tool, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, **options)


def check_failure(folder, what, arguments, status, needles):
    before = files_below(folder)
    r = run(folder, arguments)
    check(r.returncode == status, f"{what}: status {r.returncode}, expected {status}: {r.stderr.strip()}")
    lines = r.stderr.splitlines()
    check(len(lines) == 1 and r.stderr.endswith("\n"), f"{what}: {len(lines)} lines of error: {r.stderr}")
    for needle in needles:
        check(needle in r.stderr, f"{what}: '{needle}' is not in: {r.stderr.strip()}")
    check(r.stdout == "", f"{what}: printed {r.stdout[:80]!r}")
    after = files_below(folder)
    check(before == after, f"{what}: left {sorted(set(after) ^ set(before)) or 'a changed file'}")


def check_old_outputs(folder):
    """A failed run does not touch what an earlier one wrote."""
    (folder / "out.json").write_text("old\n")
    (folder / "old").mkdir()
    (folder / "old" / "tokens.x.npy").write_text("old\n")
    for arguments in ([*GOOD, "--json", "out.json", "--class", "3"], ["truncated.onnx", "x=x.npy", "--json", "out.json"],
                      [*GOOD, "--json", "out.json", "--npy", "none/out"], [*GOOD, "--npy", "old", "--json", "none/o"]):
        r = run(folder, arguments)
        check(r.returncode != 0, arguments)
        check((folder / "out.json").read_text() == "old\n", "damaged", arguments)
        check((folder / "old" / "tokens.x.npy").read_text() == "old\n", "damaged", arguments)
    check(run(folder, [*GOOD, "--json", "out.json", "--npy", "old"]).returncode == 0, "replacing them")
    check(np.load(folder / "old" / "tokens.x.npy").shape == (5,), "replaced")


def check_read_only(folder):
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    if os.access(locked, os.W_OK):  # the superuser may write anywhere
        return
    check_failure(folder, "read-only folder", [*GOOD, "--json", "locked/out.json"], 3, ["locked/out.json"])
    unreadable = folder / "secret.onnx"
    unreadable.write_bytes((folder / "good.onnx").read_bytes())
    unreadable.chmod(0)
    check_failure(folder, "unreadable model", ["secret.onnx", "x=x.npy"], 1, ["secret.onnx"])


def check_standard_output(folder):
    r = run(folder, [*GOOD, "--json", "-"])
    check(r.returncode == 0 and r.stdout.startswith("{") and r.stderr == "", "JSON on standard output", r.stderr)
    with open("/dev/full", "w") as full:
        r = subprocess.run([tool, *GOOD, "--json", "-"], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
        check(r.returncode == 3 and r.stderr.count("\n") == 1, "full standard output", r.returncode, r.stderr)
        r = subprocess.run([tool, *GOOD], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
        check(r.returncode == 3 and r.stderr.count("\n") == 1, "full standard output", r.returncode, r.stderr)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    make_models(folder)
    make_inputs(folder)
    r = run(folder, [*GOOD, "--json", "-"])
    check(r.returncode == 0, "the sound model", r.stderr)
    for row in ROWS:
        check_failure(folder, *row)
    check_old_outputs(folder)
    check_read_only(folder)
    check_standard_output(folder)
close()
