#!/usr/bin/env python3
"""The reasons of check_families.py --why on files whose state is known: a reference that is wrong, or one that agrees with everything,
shows here. Needs torch, onnx and onnxruntime.

    check_reasons.py TIBA_ONNX
"""
import concurrent.futures, json, os, stat, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_families as check  # noqa: E402
import reference  # noqa: E402

T, D, CLASSES = 5, 8, 3
random = np.random.default_rng(7)
WEIGHTS = {name: random.standard_normal(shape).astype(np.float32) / 2 for name, shape in
           {"table": (12, D), "q": (D, D), "k": (D, D), "v": (D, D), "o": (D, D), "head": (D, CLASSES), "gate": (D, D), "w": (1, 4 * D, D), "r": (1, 4 * D, D), "b": (1, 8 * D)}.items()}
WEIGHTS["head"] = np.abs(WEIGHTS["head"])  # many features count
WEIGHTS["back"] = -WEIGHTS["gate"] * (1 + 1e-6 * random.standard_normal((D, D))).astype(np.float32)
NUDGED = {**WEIGHTS, "back": np.nextafter(WEIGHTS["back"], np.float32(9))}
TOKENS = np.array([[3, 9, 4, 11, 6]])


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.used = weights, [], {}

    def const(self, name, value=None):
        self.used[name] = numpy_helper.from_array(np.asarray(self.weights[name] if value is None else value), name)
        return name

    def op(self, kind, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"n{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]


def small(weights, turned=False, cancels=False, recurrent=False, name="small"):
    """One attention and the first token. turned: other operators, the same numbers. cancels: h · (1 + hA - hB), B nearly A, of which
    float32 leaves some digits. recurrent: an LSTM, and the greatest of its states."""
    g = Graph(weights)

    def product(x, name):
        return g.op("MatMul", x, g.op("Transpose", g.const(name, weights[name].T), perm=[1, 0]) if turned else g.const(name))
    x = g.op("Gather", g.const("table"), "tokens")
    q, k, v = (product(x, name) for name in "qkv")
    scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 1])), g.const("scale", np.float32(D ** -0.5)))
    h = g.op("Add", x, product(g.op("MatMul", g.op("Softmax", scores, axis=-1), v), "o"))
    if cancels:
        h = g.op("Mul", h, g.op("Add", g.op("Add", product(h, "gate"), product(h, "back")), g.const("one", np.float32(1))))
    if recurrent:
        g.nodes.append(helper.make_node("LSTM", [g.op("Transpose", h, perm=[1, 0, 2]), *[g.const(w) for w in "wrb"]], ["states", "", ""], hidden_size=D))
        h = g.op("ReduceMax", g.op("Squeeze", "states", g.const("direction", np.array([1]))), axes=[0], keepdims=0)
    else:
        h = g.op("Gather", h, g.const("first", np.array(0)), axis=1)
    g.nodes.append(helper.make_node("MatMul", [h, g.const("head")], ["logits"]))
    graph = helper.make_graph(g.nodes, name, [helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, T])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])], list(g.used.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def moved(names, by=0.02):
    return {k: (v * (1 + by * random.standard_normal(v.shape))).astype(np.float32) if k in names else v for k, v in WEIGHTS.items()}


# family: {variant: (model, state)}; the first variant is the base
FAMILIES = {
    "plain": {"base": (small(WEIGHTS), "agrees"), "turned": (small(WEIGHTS, turned=True), "agrees"), "other": (small(moved("qkvo")), "own"), "wrong": (small(WEIGHTS, name="wrong"), "differs"), "off": (small(WEIGHTS, name="off"), "differs")},
    "recurrent": {"base": (small(WEIGHTS, recurrent=True), "agrees"), "other": (small(moved(["q", "v", "w", "r"]), recurrent=True), "own"), "wrong": (small(WEIGHTS, recurrent=True, name="wrong"), "differs")},
    "cancels": {"base": (small(WEIGHTS, cancels=True), "agrees"), "nudged": (small(NUDGED, cancels=True), "float32")},
}
# a program that is wrong for graphs called wrong (relevance) and off (outputs)
WRONG = """#!{python}
import glob, subprocess, sys
import numpy as np, onnx
r = subprocess.run([{tool!r}, *sys.argv[1:]])
kind = {{"wrong": "tokens", "off": "output"}}.get(onnx.load(sys.argv[1]).graph.name)
for path in glob.glob(sys.argv[sys.argv.index("--npy") + 1] + f"/{{kind}}.*"):
    v = np.load(path)
    np.save(path, (v + np.float32(5e-4 if kind == "output" else 0.01) * np.abs(v).max()).astype(v.dtype))
sys.exit(r.returncode)
"""
# files of the project's tests that the reference must agree with, in every tower
KNOWN = {"shifted_ids": "ts17", "integers_static": "ts17-int8_qop", "experts": "ts17"}


def write(folder, family):
    os.makedirs(folder)
    np.save(folder + "/input.tokens.npy", TOKENS)
    for variant, (model, _) in FAMILIES[family].items():
        onnx.save(model, f"{folder}/{variant}.onnx")
        np.savez(f"{folder}/{variant}.npz", logits=ort.InferenceSession(model.SerializeToString()).run(None, {"tokens": TOKENS})[0])
    json.dump({"family": family, "inputs": ["tokens"], "target": None, "output": "logits", "explain": True, "base": "base", "notes": {v: "ok" for v in FAMILIES[family]}}, open(folder + "/family.json", "w"))


def main():
    tool, bad = os.path.abspath(sys.argv[1]), 0
    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(1) as pool:
        wrong = tmp + "/tool"
        with open(wrong, "w") as file:
            file.write(WRONG.format(python=sys.executable, tool=tool))
        os.chmod(wrong, stat.S_IRWXU)
        for family, variants in FAMILIES.items():
            write(f"{tmp}/{family}", family)
            for row in check.check(wrong, f"{tmp}/{family}", False, True, {}, pool):
                want = variants[row["variant"]][1]
                bad += row["state"] != want
                print("ok  " if row["state"] == want else "BAD ", family, row["variant"], row["state"], "" if row["state"] == want else f"instead of {want}", row["why"] or row["error"])
    data = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "families")
    for family, variant in KNOWN.items():
        path = f"{data}/{family}/{variant}.onnx"
        model = onnx.load(path)
        feeds = {i.name: f"{data}/{family}/input.{i.name}.npy" for i in model.graph.input}
        shape = ort.InferenceSession(path).get_outputs()[0].shape
        found = reference.compare(tool, path, feeds, ",".join(["0"] * (len(shape) - 1) + ["1"]))
        good = not isinstance(found, str) and all(len(r) > 2 and max(r[2:6]) <= 1e-3 for r in found)
        bad += not good
        print("ok  " if good else "BAD ", family, variant, reference.show(found))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
