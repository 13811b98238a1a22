#!/usr/bin/env python3
"""The rows of older.py in TensorFlow, with the weights of the same row in PyTorch, by tf2onnx; the same folder layout as make_families.py.

    make_hf_tf.py OUT TAG [FAMILY...]      TAG: what this environment's files are called; EXPORTS="9 13 17 saved lite …"

A developer's tool: it needs tensorflow 2 with Keras 2, transformers 4, tf2onnx, torch, onnx and onnxruntime of one age.
"""
import inspect, os, subprocess, sys, tempfile, warnings
warnings.filterwarnings("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import logging
logging.disable(logging.WARNING)
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import transformers
from transformers.modeling_tf_pytorch_utils import load_pytorch_model_in_tf2_model
import make_older
import older


def named(model, row, inputs):
    """a function of the inputs in their order that gives the row's outputs by name, without training"""
    names = list(inputs)

    def f(*args):
        given = dict(zip(names, args))
        r = model(**given) if "input_ids" not in given and len(given) > 1 else model(given)
        return {k: getattr(r, k) for k in row.outputs}
    return f


def specs(inputs, static):
    kinds = {np.dtype(np.int64): tf.int32, np.dtype(np.float32): tf.float32}
    free = ("input_ids", "attention_mask", "token_type_ids")
    return [tf.TensorSpec(v.shape if static else (None, *((None,) if k in free and v.ndim == 2 else v.shape[1:2]), *v.shape[2:]), kinds[v.dtype], name=k) for k, v in inputs.items()]


def function_file(model, row, inputs, opset, static):
    def make(path):
        spec = specs(inputs, static)
        m, _ = tf2onnx.convert.from_function(tf.function(named(model, row, inputs), input_signature=spec), input_signature=spec, opset=opset)
        onnx.save(m, path)
    return make


def keras_file(model, row, inputs, opset):
    """a functional model around the class, as people wrap it for training"""
    def make(path):
        fixed = {k: tf.keras.Input(v.shape[1:], dtype=s.dtype, name=k) for (k, v), s in zip(inputs.items(), specs(inputs, True))}
        r = model(fixed)
        wrapped = tf.keras.Model(list(fixed.values()), {k: getattr(r, k) for k in row.outputs})
        spec = [tf.TensorSpec((None, *v.shape[1:]), x.dtype, name=k) for (k, v), x in zip(inputs.items(), fixed.values())]
        m, _ = tf2onnx.convert.from_keras(wrapped, input_signature=spec, opset=opset)
        onnx.save(m, path)
    return make


def tool(words):
    r = subprocess.run([sys.executable, "-m", "tf2onnx.convert", *words], capture_output=True, text=True)
    if r.returncode:
        raise ValueError((r.stderr.strip().splitlines() or [""])[-1])


def renamed(path, inputs, outputs):
    """signatures put a prefix and a suffix to the names: the file's own are kept, but for what the family's tools give and ask"""
    m = onnx.load(path)
    names = {}
    for v in m.graph.input:
        names[v.name] = next((k for k in inputs if v.name in (k, f"serving_default_{k}:0", k + ":0")), v.name)
    for v, k in zip(m.graph.output, outputs):
        names[v.name] = k
    for v in [*m.graph.input, *m.graph.output]:
        v.name = names[v.name]
    for n in m.graph.node:
        n.input[:] = [names.get(i, i) for i in n.input]
        n.output[:] = [names.get(i, i) for i in n.output]
    onnx.save(m, path)


def saved_file(model, row, inputs, opset):
    def make(path):
        with tempfile.TemporaryDirectory() as tmp:
            f = tf.function(named(model, row, inputs), input_signature=specs(inputs, False))
            holder = tf.Module()
            holder.model, holder.f = model, f
            tf.saved_model.save(holder, tmp, signatures=f.get_concrete_function())
            tool(["--saved-model", tmp, "--output", path, "--opset", str(opset)])
    return make


def lite_file(model, row, inputs, opset):
    def make(path):
        with tempfile.TemporaryDirectory() as tmp:
            f = tf.function(named(model, row, inputs), input_signature=specs(inputs, True)).get_concrete_function()
            data = tf.lite.TFLiteConverter.from_concrete_functions([f], model).convert()
            open(tmp + "/m.tflite", "wb").write(data)
            tool(["--tflite", tmp + "/m.tflite", "--output", path, "--opset", str(opset)])
        order = [o["name"] for o in tf.lite.Interpreter(model_content=data).get_output_details()]
        renamed(path, inputs, sorted(row.outputs) if len(order) == len(row.outputs) else row.outputs)
    return make


KINDS = {"static": lambda *a: function_file(*a, 13, True), "keras": lambda *a: keras_file(*a, 13), "saved": lambda *a: saved_file(*a, 13), "lite": lambda *a: lite_file(*a, 13)}


def first_bert(onehot):
    """BERT as its first code wrote it, for sessions: frozen to a graph of constants. (graph, inputs, outputs)"""
    tf1, g = tf.compat.v1, np.random.default_rng(3)
    D, H, N, VOCAB, PLACES = 32, 4, older.N, 60, 20

    def weight(*shape, scale=None):
        v = g.standard_normal(shape)
        return tf1.constant((v * scale if scale else 0.1 * v if len(shape) == 1 else v * 1.1 / np.sqrt(shape[0])).astype(np.float32))

    def norm(x):
        mean, variance = tf1.nn.moments(x, [-1], keep_dims=True)
        return tf1.nn.batch_normalization(x, mean, variance, weight(D), 1 + weight(D), 1e-12)

    def dense(x, size):
        return tf1.nn.bias_add(tf1.matmul(x, weight(x.shape[-1], size)), weight(size))

    def gelu(x):
        return x * (0.5 * (1.0 + tf1.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf1.pow(x, 3)))))
    graph = tf1.Graph()
    with graph.as_default():
        ids, mask, segments = [tf1.placeholder(tf.int32, (None, N), name=n) for n in ("input_ids", "input_mask", "segment_ids")]
        batch, table = tf1.shape(ids)[0], weight(VOCAB, D, scale=0.3)
        flat = tf1.reshape(ids, [-1])
        x = tf1.matmul(tf1.one_hot(flat, depth=VOCAB), table) if onehot else tf1.gather(table, flat)
        x = tf1.reshape(x, [batch, N, D])
        x += tf1.reshape(tf1.matmul(tf1.one_hot(tf1.reshape(segments, [-1]), depth=2), weight(2, D, scale=0.3)), [batch, N, D])
        x = norm(x + tf1.reshape(tf1.slice(weight(PLACES, D, scale=0.3), [0, 0], [N, -1]), [1, N, D]))
        seen = tf1.ones([batch, N, 1]) * tf1.cast(tf1.reshape(mask, [batch, 1, N]), tf.float32)
        hidden = (1.0 - tf1.expand_dims(seen, [1])) * -10000.0
        x = tf1.reshape(x, [-1, D])
        for _ in range(2):
            q, k, v = [tf1.transpose(tf1.reshape(dense(x, D), [batch, N, H, D // H]), [0, 2, 1, 3]) for _ in range(3)]
            p = tf1.nn.softmax(tf1.multiply(tf1.matmul(q, k, transpose_b=True), 1.0 / np.sqrt(D / H)) + hidden)
            c = tf1.reshape(tf1.transpose(tf1.matmul(p, v), [0, 2, 1, 3]), [batch * N, D])
            x = norm(dense(c, D) + x)
            x = norm(dense(gelu(dense(x, 48)), D) + x)
        x = tf1.reshape(x, [batch, N, D])
        pooled = tf1.tanh(dense(tf1.squeeze(x[:, 0:1, :], axis=1), D))
        logits = tf1.nn.bias_add(tf1.matmul(pooled, weight(3, D, scale=0.2), transpose_b=True), weight(3))
        tf1.nn.softmax(logits, name="probabilities")
        tf1.identity(logits, name="logits")
    return graph


def frozen_families(out, tag, only):
    for name, onehot in {"tf1_bert": False, "tf1_bert_onehot": True}.items():
        if only and name not in only:
            continue
        inputs = dict(zip(("input_ids:0", "input_mask:0", "segment_ids:0"), older.text(True, pad=3)().values()))
        row = older.Row(name, name, {}, lambda: inputs, outputs=("logits:0",))
        folder, _, notes = older.start(out, row)
        graph = first_bert(onehot)
        for opset in (8, 9, 10, 11, 12, 13):
            def make(path):
                m, _ = tf2onnx.convert.from_graph_def(graph.as_graph_def(), input_names=list(inputs), output_names=["logits:0", "probabilities:0"], opset=opset)
                onnx.save(m, path)
            older.attempt(notes, folder, f"{tag}_{opset}", inputs, make)
        older.describe(row, folder, notes)


def main():
    out, tag, only = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    kinds = os.environ.get("EXPORTS", "9 13 17 static keras saved lite").split()
    frozen_families(out, tag, only)
    for row in older.ROWS:
        if (only and row.name not in only) or not hasattr(transformers, "TF" + row.model):
            continue
        tf.keras.backend.clear_session()
        folder, inputs, notes = older.start(out, row)
        try:
            torch_model = make_older.weights_of(make_older.build(row), folder)
            model = getattr(transformers, "TF" + row.model)(older.config_of(transformers, row))
            feeds = {k: tf.constant(v.astype(np.int32) if v.dtype == np.int64 else v) for k, v in inputs.items()}
            load_pytorch_model_in_tf2_model(model, torch_model, tf_inputs=feeds, allow_missing_keys=True)
        except Exception as e:
            notes[tag] = f"{type(e).__name__}: {(str(e).strip().splitlines() or [''])[0][:200]}"
            older.describe(row, folder, notes)
            continue
        for kind in os.environ.get("TORCH", "12 14").split():
            older.attempt(notes, folder, f"torch_{kind}", inputs, lambda p: make_older.export(torch_model, row, inputs, make_older.EXPORTS[kind], p))
        for kind in kinds:
            make = KINDS[kind](model, row, inputs) if kind in KINDS else function_file(model, row, inputs, int(kind), False)
            older.attempt(notes, folder, f"{tag}_{kind}", inputs, make)
        first = next((f"{tag}_{k}" for k in kinds if notes[f"{tag}_{k}"] == "ok"), None)
        for name in os.environ.get("REWRITES", "ortext").split() if first else ():
            older.attempt(notes, folder, f"{first}-{name}", inputs, lambda p: make_older.REWRITES[name](f"{folder}/{first}.onnx", p, row, inputs))
        older.describe(row, folder, notes)


if __name__ == "__main__":
    main()
