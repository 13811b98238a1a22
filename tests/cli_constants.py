#!/usr/bin/env python3
"""What is constant after binding counts, not how the file spells it: one block of a transformer with its layer norms,
GELU and biases written out, its constants spelled in every way, one explanation.

    cli_constants.py TOOL
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check, close
from onnx_wire import FLOAT, Graph, block, tensor

tool = os.path.abspath(sys.argv[1])
folder = tempfile.TemporaryDirectory()
TOKENS, FEATURES, HIDDEN = 5, 8, 16
TYPES = {"float32": FLOAT, "float64": 11, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int64": 7, "bool": 9}
random = np.random.RandomState(1)


def sixteenths(*shape):
    """Numbers that 8 bits and one scale hold exactly."""
    return (random.randint(-24, 25, shape) / 16).astype(np.float32)


WEIGHTS = {name: sixteenths(*shape) for name, shape in {
    "gamma": (FEATURES,), "beta": (FEATURES,), "wq": (FEATURES, FEATURES), "wk": (FEATURES, FEATURES), "wv": (FEATURES, FEATURES), "bq": (FEATURES,),
    "bv": (FEATURES,), "w1": (FEATURES, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, FEATURES), "b2": (FEATURES,), "head": (FEATURES, 3)}.items()}
x = random.randn(1, TOKENS, FEATURES).astype(np.float32)


def put(graph, name, value):
    value = np.asarray(value)
    graph.tensor(name, value.shape, TYPES[str(value.dtype)], block(9, value.tobytes()))
    return name


# ---- spellings of a constant: each puts `value` into the graph and returns its name ----

def initializer(graph, name, value):
    return put(graph, name, value)


def constant_node(graph, name, value):
    graph.node("Constant", [], name, value=tensor("", value.shape, FLOAT, block(9, value.tobytes())))
    return name


def also_an_input(graph, name, value):
    graph.input(name, list(value.shape))
    return put(graph, name, value)


def doubles(graph, name, value):
    graph.node("Cast", [put(graph, name + "_d", value.astype(np.float64))], name, to=FLOAT)
    return name


def identity(graph, name, value):
    graph.node("Identity", [put(graph, name + "_i", value)], name)
    return name


def dropped_out(graph, name, value):
    graph.node("Dropout", [put(graph, name + "_i", value)], name)
    return name


def flat(graph, name, value):
    graph.ints(name + "_s", value.shape)
    graph.node("Reshape", [put(graph, name + "_f", value.reshape(-1)), name + "_s"], name)
    return name


def transposed(graph, name, value):
    if value.ndim < 2:
        return put(graph, name, value)
    graph.node("Transpose", [put(graph, name + "_t", np.ascontiguousarray(value.T))], name, perm=[1, 0])
    return name


def dequantized(graph, name, value):
    """Its scale has one element: with a scalar the product would round its activations (MatMulNBits)."""
    if value.ndim == 0:
        return put(graph, name, value)
    put(graph, name + "_q", np.round(value * 16).astype(np.int8))
    put(graph, name + "_z", np.zeros(1, np.int8))
    graph.node("DequantizeLinear", [name + "_q", put(graph, name + "_s", np.full(1, 1 / 16, np.float32)), name + "_z"], name)
    return name


def dequantized_columns(graph, name, value):
    """A scale for every column; biases with the axis of the matrices, as neural-compressor writes them (but counted from the end there: see above)."""
    if value.ndim == 0:
        return put(graph, name, value)
    put(graph, name + "_q", np.round(value * 16).astype(np.int8))
    put(graph, name + "_z", np.zeros(value.shape[-1], np.int8))
    graph.node("DequantizeLinear", [name + "_q", put(graph, name + "_s", np.full(value.shape[-1], 1 / 16, np.float32)), name + "_z"], name, axis=1 if value.ndim == 1 else -1)
    return name


def one_element(graph, name, value):
    return put(graph, name, value.reshape(1) if value.ndim == 0 else value)


def filled(graph, name, value):
    if value.ndim:
        return put(graph, name, value)
    graph.ints(name + "_s", [1])
    graph.node("ConstantOfShape", [name + "_s"], name, value=tensor("", [1], FLOAT, block(9, value.tobytes())))
    return name


def expanded(graph, name, value):
    """Biases as rows for every token."""
    if value.ndim != 1:
        return put(graph, name, value)
    graph.ints(name + "_s", [1, TOKENS, value.size])
    graph.node("Expand", [put(graph, name + "_e", value), name + "_s"], name)
    return name


def halves(graph, name, value):
    """Two parts joined."""
    if value.ndim == 0:
        return put(graph, name, value)
    cut = value.shape[0] // 2
    graph.node("Concat", [put(graph, name + "_1", value[:cut]), put(graph, name + "_2", value[cut:])], name, axis=0)
    return name


# ---- the block ----

class Block:
    def __init__(self, spell, otherwise=False):
        """`otherwise`: numbers are subtracted and divided by where they would be added and multiplied, and activations pass through Dropout."""
        self.graph, self.spell, self.otherwise, self.numbers = Graph(), spell, otherwise, 0

    def op(self, kind, *inputs, **attributes):
        self.numbers += 1
        name = f"v{self.numbers}"
        self.graph.node(kind, list(inputs), name, **attributes)
        if self.otherwise and kind in ("MatMul", "Softmax", "Erf"):
            self.graph.node("Dropout", [name], name + "d")
            self.graph.node("Identity", [name + "d"], name + "i")
            return name + "i"
        return name

    def number(self, kind, value, n):
        if self.otherwise:
            kind, n = {"Add": ("Sub", -n), "Mul": ("Div", 1 / n), "Pow": ("Pow", n)}[kind]
        self.numbers += 1
        return self.op(kind, value, self.spell(self.graph, f"n{self.numbers}", np.array(n, np.float32)))

    def weight(self, name):
        if name not in self.names:
            self.names[name] = self.spell(self.graph, name, WEIGHTS[name])
        return self.names[name]

    def norm(self, value):
        centred = self.op("Sub", value, self.op("ReduceMean", value, axes=[-1], keepdims=1))
        square = self.op("Mul", centred, centred) if self.otherwise else self.number("Pow", centred, 2.0)
        root = self.op("Sqrt", self.number("Add", self.op("ReduceMean", square, axes=[-1], keepdims=1), 0.0009765625))
        unit = self.op("Mul", centred, self.op("Reciprocal", root)) if self.otherwise else self.op("Div", centred, root)
        scaled = self.op("Mul", self.weight("gamma"), unit) if self.otherwise else self.op("Mul", unit, self.weight("gamma"))
        return self.op("Add", scaled, self.weight("beta"))

    def attention(self, value):
        q = self.op("Add", self.op("MatMul", value, self.weight("wq")), self.weight("bq"))
        v = self.op("Add", self.weight("bv"), self.op("MatMul", value, self.weight("wv")))
        k = self.op("Transpose", self.op("MatMul", value, self.weight("wk")), perm=[0, 2, 1])
        p = self.op("Softmax", self.number("Mul", self.op("MatMul", q, k), 0.375), axis=-1)
        return self.op("MatMul", p, v)

    def gelu(self, value):
        erf = self.op("Erf", self.number("Mul", value, 0.5 ** 0.5))
        return self.op("Mul", self.number("Mul", value, 0.5), self.number("Add", erf, 1.0))

    def build(self):
        self.names = {}
        self.graph.input("x", [1, TOKENS, FEATURES])
        value = "x"
        for _ in range(2):
            value = self.op("Add", value, self.attention(self.norm(value)))
            inner = self.gelu(self.op("Add", self.op("MatMul", self.norm(value), self.weight("w1")), self.weight("b1")))
            value = self.op("Add", value, self.op("Add", self.op("MatMul", inner, self.weight("w2")), self.weight("b2")))
        self.graph.ints("first", [0])
        self.graph.node("MatMul", [self.op("Gather", self.norm(value), "first", axis=1), self.weight("head")], "y")
        self.graph.output("y")
        return self.graph


def explained(name, spell, otherwise=False, method="tiba"):
    model, out = os.path.join(folder.name, name + ".onnx"), os.path.join(folder.name, name)
    Block(spell, otherwise).build().save(model)
    np.save(os.path.join(folder.name, "x.npy"), x)
    r = subprocess.run([tool, model, f"x={folder.name}/x.npy", "--target", "0,1", "--method", method, "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, name, r.stderr)
    return {file: np.load(os.path.join(out, file)) for file in sorted(os.listdir(out))} if r.returncode == 0 else {}


want = explained("plain", initializer)
check(len(want) == 5, sorted(want))
spellings = (initializer, constant_node, also_an_input, doubles, identity, dropped_out, flat, transposed, dequantized, dequantized_columns, one_element, filled, expanded, halves)
for spell in spellings:
    for otherwise in (False, True):
        name = f"{spell.__name__}_{int(otherwise)}"
        got = explained(name, spell, otherwise)
        check(sorted(got) == sorted(want), name, sorted(got))
        for file in set(got) & set(want):
            same = got[file].shape == want[file].shape and np.abs(got[file] - want[file]).max() <= 2e-5 * np.abs(want[file]).max()
            check(same, name, file, got[file], want[file])

# what is drawn by chance hangs on the input alone, not on how the output was rounded
drawn = explained("drawn", initializer, method="random")
WEIGHTS["head"] = WEIGHTS["head"] + 2.0 ** -10
again = explained("again", initializer, method="random")
check(np.array_equal(drawn["tokens.x.npy"], again["tokens.x.npy"]) and not np.array_equal(drawn["output.y.npy"], again["output.y.npy"]), drawn, again)

# ---- an embedding table of integers, as static quantisation with folded constants leaves it ----

def of_table(kind):
    graph, table = Graph(), np.random.RandomState(2).randint(-24, 25, (9, FEATURES))
    graph.input("ids", [1, TOKENS], TYPES["int64"])
    if kind == "float32":
        graph.node("Gather", [put(graph, "table", (table / 16).astype(np.float32)), "ids"], "words")
    else:
        zero = 100 if kind[0] == "u" else 3
        graph.node("Gather", [put(graph, "table", (table + zero).astype(kind)), "ids"], "rows")
        graph.node("DequantizeLinear", ["rows", put(graph, "step", np.float32(1 / 16)), put(graph, "zero", np.array(zero, kind))], "words")
    graph.attention("words", "mixed", FEATURES, TOKENS)
    graph.ints("first", [0])
    graph.node("Gather", ["mixed", "first"], "cls", axis=1)
    graph.node("MatMul", ["cls", put(graph, "head", WEIGHTS["head"])], "y")
    graph.output("y")
    model, out = os.path.join(folder.name, kind + ".onnx"), os.path.join(folder.name, kind)
    graph.save(model, 21)
    np.save(os.path.join(folder.name, "ids.npy"), np.array([[3, 1, 4, 0, 8]], np.int64))
    r = subprocess.run([tool, model, f"ids={folder.name}/ids.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, kind, r.stderr)
    return np.load(os.path.join(out, "tokens.ids.npy")) if r.returncode == 0 else None


want = of_table("float32")
for kind in ("int8", "uint8", "int16", "uint16"):
    got = of_table(kind)
    check(got is not None and np.abs(got - want).max() <= 1e-6 * np.abs(want).max(), kind, got, want)

# ---- scores between pairs whose scale is no scale: a broken file must not be read past the kernel's table ----

def of_scale(name, step):
    graph, step = Graph(), np.float32(step)
    graph.input("x", [1, TOKENS, FEATURES])
    for part in "qkv":
        graph.node("MatMul", ["x", put(graph, "w" + part, np.random.RandomState(ord(part)).randn(FEATURES, FEATURES).astype(np.float32))], part)
    graph.node("Transpose", ["k"], "kt", perm=[0, 2, 1])
    graph.node("MatMul", ["q", "kt"], "scores")
    rounded = {"scores": put(graph, "step", step), "p": put(graph, "share", np.float32(1 / 255))}
    for value, scale in rounded.items():
        zero = put(graph, "zero_" + value, np.array(128 if value == "scores" else 0, np.uint8))
        graph.node("QuantizeLinear", [value, scale, zero], value + "_integers")
        graph.node("DequantizeLinear", [value + "_integers", scale, zero], value + "_back")
        if value == "scores":
            graph.node("Softmax", ["scores_back"], "p", axis=-1)
    graph.node("MatMul", ["p_back", "v"], "seen")
    graph.node("Add", ["x", "seen"], "mixed")
    graph.node("ReduceMean", ["mixed"], "mean", axes=[1], keepdims=0)
    graph.node("MatMul", ["mean", put(graph, "head", WEIGHTS["head"])], "y")
    graph.output("y")
    model, out = os.path.join(folder.name, name + ".onnx"), os.path.join(folder.name, name)
    graph.save(model, 17)
    np.save(os.path.join(folder.name, "scaled.npy"), np.random.RandomState(3).randn(1, TOKENS, FEATURES).astype(np.float32) / 2)
    r = subprocess.run([tool, model, f"x={folder.name}/scaled.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, name, r.stderr)
    return np.load(os.path.join(out, "output.y.npy")) if r.returncode == 0 else None


want = of_scale("scale", 0.1)
got = of_scale("negative_scale", -0.1)  # the same steps, counted downwards
check(got is not None and np.abs(got - want).max() <= 0.02 * np.abs(want).max(), got, want)
for step in (0.0, float("nan")):
    of_scale(f"scale_{step}", step)

# ---- a weight in one block that is much larger than the weight ----

def of_blocks(size):
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    graph.attention("x", "mixed", FEATURES, TOKENS)
    graph.node("ReduceMean", ["mixed", put(graph, "axes", np.array([1]))], "mean", keepdims=0)
    integers = np.random.RandomState(4).randint(-9, 9, (FEATURES, 3)).astype(np.int8)
    graph.node("DequantizeLinear", [put(graph, "integers", integers), put(graph, "steps", np.full((1, 3), 0.1, np.float32))], "head", axis=0, block_size=size)
    graph.node("MatMul", ["mean", "head"], "y")
    graph.output("y")
    model, out = os.path.join(folder.name, f"blocks_{size}.onnx"), os.path.join(folder.name, f"blocks_{size}")
    graph.save(model, 21)
    r = subprocess.run([tool, model, f"x={folder.name}/scaled.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, size, r.stderr)
    return np.load(os.path.join(out, "output.y.npy")) if r.returncode == 0 else None


want, got = of_blocks(1 << 10), of_blocks(1 << 40)
check(got is not None and np.array_equal(got, want), got, want)

# ---- a weight of another type than what it meets: relevance reads both as floats ----

def of_type(kind):
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    graph.attention("x", "mixed", FEATURES, TOKENS)
    graph.node("MatMul", ["mixed", put(graph, "w", np.random.RandomState(4).randint(-9, 9, (FEATURES, FEATURES)).astype(kind))], "hidden")
    graph.node("ReduceMean", ["hidden", put(graph, "axes", np.array([1]))], "mean", keepdims=0)
    graph.node("MatMul", ["mean", put(graph, "head", WEIGHTS["head"])], "y")
    graph.output("y")
    name = np.dtype(kind).name
    model, out = os.path.join(folder.name, f"type_{name}.onnx"), os.path.join(folder.name, f"type_{name}")
    graph.save(model, 18)
    r = subprocess.run([tool, model, f"x={folder.name}/scaled.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    return np.load(os.path.join(out, "tokens.x.npy")) if r.returncode == 0 else r.stderr


want = of_type(np.float32)
for kind in (np.int64, np.int8):
    got = of_type(kind)
    check(np.array_equal(got, want), kind, got, want)
got = of_type(np.bool_)
check(got.startswith("tiba-onnx: node ") and got.endswith("(MatMul): operands are float32 and bool\n"), got)

# ---- a node that lacks an input: what is asked of the source graph before binding must not read it ----

def of_inputs(operator, given, place=None):
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    constants = [put(graph, "c" + str(i), np.full(shape, 1, kind)) for i, (shape, kind) in enumerate([((), np.float32), ((), np.uint8)])]
    graph.node("QuantizeLinear", (["x"] + constants)[:given if place == 0 else 3], "integers")
    graph.node("DequantizeLinear", (["integers"] + constants)[:given if place == 1 else 3], "back")
    graph.node(operator, ["back", "back"][:given if place is None else 2], "made")
    graph.node("QuantizeLinear", (["made"] + constants)[:given if place == 3 else 3], "made_integers")
    graph.node("DequantizeLinear", ["made_integers"] + constants, "y")
    graph.output("y")
    model = os.path.join(folder.name, "inputs.onnx")
    graph.save(model, 18)
    r = subprocess.run([tool, model, f"x={folder.name}/scaled.npy"], capture_output=True, text=True, timeout=60)
    check(r.returncode in (1, 2) and r.stderr.count("\n") == 1 and r.stderr.startswith("tiba-onnx: "), operator, given, place, r.returncode, r.stderr)


for operator in ("MatMul", "Gemm", "Add", "Where", "Concat"):
    for given in (0, 1):
        of_inputs(operator, given)
        for place in (0, 1, 3):
            of_inputs(operator, given, place)

# ---- two pairs that are run as one: copies between their halves change nothing ----

def of_copies(copies):
    graph = Graph()
    graph.input("x", [1, TOKENS, FEATURES])
    graph.attention("x", "rounded", FEATURES, TOKENS)
    zero = put(graph, "zero", np.array(128, np.uint8))
    for pair, step in (("1", 0.02), ("2", 0.013)):
        units = [put(graph, "step" + pair, np.float32(step)), zero]
        graph.node("QuantizeLinear", ["rounded" if pair == "1" else "back1", *units], "integers" + pair)
        if copies:
            graph.node("Identity", ["integers" + pair], "copy" + pair)
        graph.node("DequantizeLinear", [("copy" if copies else "integers") + pair, *units], "back" + pair)
    graph.node("MatMul", ["back2", put(graph, "w", np.random.RandomState(4).randn(FEATURES, FEATURES).astype(np.float32))], "hidden")
    graph.node("ReduceMean", ["hidden", put(graph, "axes", np.array([1]))], "mean", keepdims=0)
    graph.node("MatMul", ["mean", put(graph, "head", WEIGHTS["head"])], "y")
    graph.output("y")
    model, out = os.path.join(folder.name, f"copies_{copies}.onnx"), os.path.join(folder.name, f"copies_{copies}")
    graph.save(model, 18)
    r = subprocess.run([tool, model, f"x={folder.name}/scaled.npy", "--target", "0,1", "--npy", out], capture_output=True, text=True, timeout=60)
    check(r.returncode == 0, copies, r.stderr)
    return np.load(os.path.join(out, "output.y.npy")) if r.returncode == 0 else None


want, got = of_copies(False), of_copies(True)
check(got is not None and np.array_equal(got, want), got, want)
close()
