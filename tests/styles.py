"""One transformer whose pieces may be spelled otherwise: what cli_styles.py and cli_styles_attention.py run.

    cli_styles.py TOOL [FOLDER [STYLE...]]     FOLDER: the models are kept there
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

from checks import check
from onnx_wire import FLOAT, INT64, Graph, block, number, tensor_type

tool = os.path.abspath(sys.argv[1])
keep = tempfile.TemporaryDirectory()
folder = sys.argv[2] if len(sys.argv) > 2 else keep.name
MS, OWN = "com.microsoft", "own"
T, D, H, HIDDEN, LAYERS, CLASSES = 5, 8, 2, 12, 2, 3
S = D // H
EPSILON = 2.0 ** -10
BOOL, FLOAT16, DOUBLE = 9, 10, 11
FLOATS = block(4, block(1, block(1, number(1, FLOAT))))  # the type of a sequence of such tensors
KINDS = {"float32": FLOAT, "int64": INT64, "bool": BOOL, "float16": FLOAT16, "float64": DOUBLE, "int32": 6, "int8": 3}
random = np.random.RandomState(7)


def noise(*shape):
    """Sixteenths: small types hold them too."""
    return (np.round(random.randn(*shape) * 6) / 16).astype(np.float32)


def make_layer():
    layer = {"g1": 1 + noise(D) / 2, "b1": noise(D), "g2": 1 + noise(D) / 2, "b2": noise(D)}
    for name in "qkvo":
        layer["w" + name], layer["b" + name] = noise(D, D), noise(D)
    return {**layer, "up": noise(D, HIDDEN), "bup": noise(HIDDEN), "down": noise(HIDDEN, D), "bdown": noise(D)}


WEIGHTS = [make_layer() for _ in range(LAYERS)]
GAMMA, BETA, HEAD, BIAS = 1 + noise(D) / 2, noise(D), noise(D, CLASSES), noise(CLASSES)
MASK = np.array([1, 1, 1, 1, 0], np.float32)
x = random.randn(1, T, D).astype(np.float32)


class Style:
    """The usual spelling. A style replaces methods of it."""
    opset, ir, masked, count = 17, 8, False, 0
    want = "usual"  # the style whose numbers it has; None: it has its own
    attentions, shape = LAYERS, [1, T, D]

    def __init__(self, graph=None):
        self.graph = graph or Graph()

    # ---- writing ----

    def name(self):
        Style.count += 1
        return f"v{Style.count}"

    def const(self, value):
        value = np.asarray(value, order="C")
        name = self.name()
        self.graph.tensor(name, value.shape, KINDS[str(value.dtype)], block(9, value.tobytes()))
        return name

    def weight(self, value):
        """A parameter of the model."""
        return self.const(value)

    def op(self, kind, *inputs, outs=1, domain="", **attributes):
        names = [i if isinstance(i, str) else self.const(np.float32(i) if type(i) is float else i) for i in inputs]
        out = [self.name() for _ in range(outs)]
        self.graph.node(kind, names, out, domain, **attributes)
        return out[0] if outs == 1 else out

    def ints(self, *values):
        return np.array(values, np.int64)

    def inner(self, outputs_of, inputs=(), style=None):
        """A subgraph: its outputs are what `outputs_of` gives, written by a style of the same kind."""
        inside = (style or type(self))(Graph())
        inside.root = getattr(self, "root", self)
        for name, dtype in inputs:
            known = dtype if dtype == FLOATS else tensor_type(dtype, []) if dtype in (INT64, BOOL) else block(1, number(1, dtype))
            inside.graph.inputs.append(block(1, name) + block(2, known))
        for name, dtype in outputs_of(inside):
            inside.graph.outputs.append(block(1, name) + block(2, dtype)) if dtype == FLOATS else inside.graph.output(name, dtype)
        return inside.graph

    # ---- pieces ----

    def mean(self, v):
        return self.op("ReduceMean", v, axes=[-1], keepdims=1)

    def norm(self, v, gamma, beta):
        return self.op("LayerNormalization", v, self.weight(gamma), self.weight(beta), epsilon=EPSILON)

    def linear(self, v, w, b):
        return self.op("Add", self.op("MatMul", v, self.weight(w)), self.weight(b))

    def act(self, v):
        erf = self.op("Erf", self.op("Div", v, 2.0 ** 0.5))
        return self.op("Mul", self.op("Mul", v, self.op("Add", erf, 1.0)), 0.5)

    def add(self, a, b):
        return self.op("Add", a, b)

    def softmax(self, v):
        return self.op("Softmax", v, axis=-1)

    def mask(self, scores):
        return self.op("Add", scores, ((1 - MASK) * -10000).astype(np.float32)) if self.masked else scores

    def heads(self, v):
        return self.op("Transpose", self.op("Reshape", v, self.ints(0, 0, H, S)), perm=[0, 2, 1, 3])

    def merge(self, v):
        return self.op("Reshape", self.op("Transpose", v, perm=[0, 2, 1, 3]), self.ints(0, 0, D))

    def qkv(self, v, w):
        return [self.heads(self.linear(v, w["w" + n], w["b" + n])) for n in "qkv"]

    def scores(self, q, k):
        return self.op("Mul", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), S ** -0.5)

    def attention(self, v, w):
        q, k, value = self.qkv(v, w)
        p = self.softmax(self.mask(self.scores(q, k)))
        return self.merge(self.op("MatMul", p, value))

    def mlp(self, v, w):
        return self.linear(self.act(self.linear(v, w["up"], w["bup"])), w["down"], w["bdown"])

    def layer(self, v, w):
        v = self.add(v, self.linear(self.attention(self.norm(v, w["g1"], w["b1"]), w), w["wo"], w["bo"]))
        return self.add(v, self.mlp(self.norm(v, w["g2"], w["b2"]), w))

    def begin(self, v):
        return v

    def layers(self, v):
        for w in WEIGHTS:
            v = self.layer(v, w)
        return v

    def end(self, v):
        return v

    def first(self, v):
        return self.op("Gather", v, np.int64(0), axis=1)

    def build(self):
        self.graph.input("x", self.shape)
        v = self.end(self.layers(self.begin("x")))
        self.outputs(self.linear(self.first(self.norm(v, GAMMA, BETA)), HEAD, BIAS))
        return self.graph

    def outputs(self, v):
        self.give(v, "y", FLOAT)

    def give(self, v, name, dtype):
        self.graph.node("Identity", [v], name)
        self.graph.output(name, dtype)


STYLES = {}


def style(name, base=Style, **members):
    """`members`: methods and what else the style replaces."""
    STYLES[name] = type(name, (base,), members)
    return STYLES[name]


def written(variance, root, unit=lambda s, c, r: s.op("Div", c, r), affine=lambda s, n, g, b: s.op("Add", s.op("Mul", n, g), b)):
    def norm(s, v, gamma, beta):
        m = s.mean(v)
        c = s.op("Sub", v, m)
        return affine(s, unit(s, c, root(s, s.op("Add", variance(s, v, c, m), EPSILON))), s.weight(gamma), s.weight(beta))
    return norm


def by_pow(s, v, c, m):
    return s.mean(s.op("Pow", c, 2.0))


def square_root(s, v):
    return s.op("Sqrt", v)


def run(name, cls, *more):
    s = cls()
    model, out = os.path.join(folder, name + ".onnx"), os.path.join(folder, name)
    s.build().save(model, s.opset, s.ir)
    given = "x.npy" if len(s.shape) == 3 else "flat.npy"
    return out, subprocess.run([tool, model, f"x={folder}/{given}", "--target", "0,1", "--npy", out, *more], capture_output=True, text=True, timeout=60)


def explained(name, cls):
    out, r = run(name, cls)
    check(r.returncode == 0, name, r.stderr.strip())
    return {file: np.load(os.path.join(out, file)) for file in sorted(os.listdir(out))} if r.returncode == 0 else {}


def compare(name, got, want):
    if not got:
        return
    check(sorted(got) == sorted(want), name, sorted(got))
    for file in sorted(set(got) & set(want)):
        same = got[file].shape == want[file].shape and np.abs(got[file] - want[file]).max() <= 1e-5 * np.abs(want[file]).max()
        check(same, name, file, got[file].ravel()[:6], want[file].ravel()[:6])


def check_styles():
    """Each style explains as the one whose numbers it has. Returns what the usual one explains."""
    np.save(os.path.join(folder, "x.npy"), x)
    np.save(os.path.join(folder, "flat.npy"), x[0])
    plain = explained("usual", Style)
    found = {"usual": plain}
    for name, cls in STYLES.items():
        if cls.want and len(sys.argv) > 3 and name not in sys.argv[3:]:
            continue
        found[name] = explained(name, cls)
        check(len(found[name]) == 3 + cls.attentions, name, sorted(found[name]))
        if cls.want:
            compare(name, found[name], found[cls.want])
    return plain
