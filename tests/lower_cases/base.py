"""What the cases of test_lower.c are made with: random arrays, models of one node or a few, and what onnxruntime computes."""
import os

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "lower")
MS = "com.microsoft"
ML = "ai.onnx.ml"
rng = np.random.default_rng(7)
parts = {}
count = 0


def part(function):
    """Registers a part: cases that share one stream of random numbers."""
    parts[function.__name__] = function
    return function


def write(names):
    """Writes the parts of these names, all without any. Returns the number of cases."""
    for name in names or parts:
        rng.bit_generator.state = np.random.default_rng(7).bit_generator.state
        parts[name]()
    return count


def f(*shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def u8(*shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def s8(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def i32(*values):
    return np.array(values, np.int32)


def i64(*values):
    return np.array(values, np.int64)


def f32(value):
    return np.float32(value)


TYPES = {np.dtype(k): v for k, v in [("float32", TensorProto.FLOAT), ("int64", TensorProto.INT64), ("int32", TensorProto.INT32),
                                     ("uint8", TensorProto.UINT8), ("int8", TensorProto.INT8), ("bool", TensorProto.BOOL)]}


def save(name, model, feeds, wanted=None, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """Computes what onnxruntime gives and puts inputs and results into the file. `wanted` overrides."""
    global count
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    outputs = [o.name for o in model.graph.output]
    if wanted is None:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        wanted = session.run(outputs, feeds)
    for kind, items in (("feed", feeds.items()), ("want", zip(outputs, wanted))):
        for key, array in items:
            array = np.asarray(array)
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            model.graph.initializer.append(numpy_helper.from_array(array, f"{kind}.{key}"))
            model.graph.output.append(helper.make_tensor_value_info(f"{kind}.{key}", TYPES[array.dtype], array.shape))
    with open(os.path.join(FOLDER, name + ".onnx"), "wb") as file:
        file.write(model.SerializeToString())
    count += 1


def case(name, op, inputs, outputs=1, domain="", opset=21, fixed=(), wanted=None, unread=(), **attributes):
    """One node. `inputs`: arrays, or None where left out; those whose index is in `fixed` become initializers.
    `wanted`: its results, where onnxruntime's CPU provider has no such kernel; `unread`: outputs that the graph does not have."""
    names, feeds, declared, initializers, nodes = [], {}, [], [], []
    for i, array in enumerate(inputs):
        if array is None:
            names.append("")
            continue
        array = np.asarray(array)
        key = f"x{i}"
        if i in fixed:
            initializers.append(numpy_helper.from_array(array, key))
        else:
            feeds[key] = array
            declared.append(helper.make_tensor_value_info(key, TYPES[array.dtype], array.shape))
        names.append(key)
    names_out = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    nodes.append(helper.make_node(op, names, names_out, name="node", domain=domain, **attributes))
    infos = [helper.make_empty_tensor_value_info(n) for n in names_out if n and n not in unread]
    graph = helper.make_graph(nodes, name, declared, infos, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1), *([helper.make_opsetid(ML, 3)] if domain == ML else [])]
    save(name, helper.make_model(graph, opset_imports=imports, ir_version=10), feeds, wanted)


def chain(name, nodes, inputs, outputs, fixed=None, opset=21, wanted=None, imports=(), level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """Several nodes: (op, inputs, outputs, domain, attributes)."""
    made = [helper.make_node(op, i, o, domain=d, **a) for op, i, o, d, a in nodes]
    declared = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in inputs.items()]
    init = [numpy_helper.from_array(np.asarray(v), k) for k, v in (fixed or {}).items()]
    graph = helper.make_graph(made, name, declared, [helper.make_empty_tensor_value_info(o) for o in outputs], init)
    ids = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1), *[helper.make_opsetid(k, 1) for k in imports]]
    save(name, helper.make_model(graph, opset_imports=ids, ir_version=10), inputs, wanted, level)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q, k, v):
    """Plain attention of [batch, tokens, heads, size]."""
    q, k, v = (t.transpose(0, 2, 1, 3).astype(np.float64) for t in (q, k, v))
    y = softmax(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])) @ v
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1).astype(np.float32)


def t5_buckets(length, buckets, farthest, both):
    """T5's bucket of every distance key - query."""
    n = np.arange(length)[:, None] - np.arange(length)[None]
    base = np.zeros_like(n)
    if both:
        buckets //= 2
        base = (n < 0) * buckets
        n = np.abs(n)
    n = np.maximum(n, 0)
    exact = buckets // 2
    far = np.log(np.maximum(n, 1) / exact) / np.log(farthest / exact) * (buckets - exact)
    return base + np.where(n < exact, n, np.minimum(exact + far.astype(int), buckets - 1))
