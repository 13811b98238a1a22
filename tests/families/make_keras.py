#!/usr/bin/env python3
"""Small transformers in TensorFlow and Keras, exported by tf2onnx and by Keras 3 itself; the same folder layout as make_families.py.

    make_keras.py OUT [FAMILY...]       OPSETS="9 13 18": tf2onnx's

A developer's tool: it needs tensorflow, tf2onnx and onnxruntime.
"""
import json, os, sys
import numpy as np
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
import tf2onnx
import onnx
import onnxruntime as ort
ort.set_default_logger_severity(4)
K, L = tf.keras, tf.keras.layers
D, H, N, VOCAB = 32, 4, 16, 60


class Positions(L.Layer):
    def build(self, shape):
        self.table = self.add_weight(name="positions", shape=(shape[1], shape[2]))

    def call(self, x):
        return x + self.table


class ClassToken(L.Layer):
    def build(self, shape):
        self.token = self.add_weight(name="token", shape=(1, 1, shape[2]))

    def call(self, x):
        return tf.concat([tf.tile(self.token, [tf.shape(x)[0], 1, 1]), x], 1)


class OneHotSegments(L.Layer):
    """as the first BERT code looked segments up"""
    def build(self, shape):
        self.table = self.add_weight(name="segments", shape=(2, D))

    def call(self, ids):
        return tf.matmul(tf.one_hot(tf.cast(ids, tf.int32), 2), self.table)


class OneHotTokens(L.Layer):
    def build(self, shape):
        self.table = self.add_weight(name="tokens", shape=(VOCAB, D))

    def call(self, ids):
        return tf.matmul(tf.one_hot(tf.cast(ids, tf.int32), VOCAB), self.table)


class EinsumAttention(L.Layer):
    def build(self, shape):
        for n in "qkv":
            setattr(self, n, self.add_weight(name=n, shape=(D, H, D // H)))
        self.o = self.add_weight(name="o", shape=(H, D // H, D))

    def call(self, x):
        q, k, v = [tf.einsum("btd,dhe->bthe", x, w) for w in (self.q, self.k, self.v)]
        p = tf.nn.softmax(tf.einsum("bthe,bshe->bhts", q, k) * 0.35)
        return tf.einsum("bthe,hed->btd", tf.einsum("bhts,bshe->bthe", p, v), self.o)


class ReshapeAttention(L.Layer):
    def build(self, shape):
        self.qkv, self.o = L.Dense(3 * D), L.Dense(D)
        self.qkv.build(shape)
        self.o.build(shape)

    def call(self, x):
        b, n = tf.shape(x)[0], tf.shape(x)[1]
        q, k, v = [tf.transpose(tf.reshape(t, [b, n, H, D // H]), [0, 2, 1, 3]) for t in tf.split(self.qkv(x), 3, -1)]
        p = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / np.sqrt(D / H))
        return self.o(tf.reshape(tf.transpose(tf.matmul(p, v), [0, 2, 1, 3]), [b, n, D]))


def block(x, kind, order="pre", mask=None):
    def attend(y):
        if kind == "mha":
            return L.MultiHeadAttention(H, D // H)(y, y, attention_mask=mask)
        return (EinsumAttention() if kind == "einsum" else ReshapeAttention())(y)

    def mlp(y):
        return L.Dense(D)(L.Dense(48, activation=(lambda t: tf.nn.gelu(t, approximate=True)) if kind != "einsum" else "relu")(y))
    if order == "post":
        x = L.LayerNormalization(epsilon=1e-6)(x + attend(x))
        return L.LayerNormalization(epsilon=1e-6)(x + mlp(x))
    x = x + attend(L.LayerNormalization(epsilon=1e-6)(x))
    return x + mlp(L.LayerNormalization(epsilon=1e-6)(x))


def text(kind, order, pool, segments=False, onehot=False, masked=False):
    ids = K.Input((N,), dtype="int32", name="token_ids")
    inputs = [ids]
    x = OneHotTokens()(ids) if onehot else L.Embedding(VOCAB, D)(ids)
    if segments:
        seg = K.Input((N,), dtype="int32", name="segment_ids")
        inputs.append(seg)
        x = x + (OneHotSegments()(seg) if segments == "onehot" else L.Embedding(2, D)(seg))
    mask = None
    if masked:
        m = K.Input((N,), dtype="int32", name="padding_mask")
        inputs.append(m)
        mask = L.Reshape((1, N))(m)
    x = Positions()(x)
    for _ in range(2):
        x = block(x, kind, order, mask)
    x = L.LayerNormalization()(x)
    x = L.GlobalAveragePooling1D()(x) if pool == "mean" else x[:, 0] if pool == "first" else L.GlobalMaxPooling1D()(x)
    return K.Model(inputs, L.Dense(5, name="classes")(x))


def vision(kind, pool, patches="conv"):
    image = K.Input((32, 32, 3), name="image")
    if patches == "conv":
        x = L.Reshape((16, D))(L.Conv2D(D, 8, 8)(image))
    else:
        x = L.Dense(D)(L.Reshape((16, 192))(L.Lambda(lambda i: tf.image.extract_patches(i, [1, 8, 8, 1], [1, 8, 8, 1], [1, 1, 1, 1], "VALID"), output_shape=(4, 4, 192))(image)))
    if pool == "cls":
        x = ClassToken()(x)
    x = Positions()(x)
    for _ in range(2):
        x = block(x, kind)
    x = L.LayerNormalization()(x)
    x = x[:, 0] if pool == "cls" else L.GlobalAveragePooling1D()(x) if pool == "mean" else L.Flatten()(x)
    return K.Model(image, L.Dense(5, activation="softmax", name="classes")(x))


MODELS = {
    "keras_mha": lambda: text("mha", "post", "mean"), "keras_mha_pre": lambda: text("mha", "pre", "first"), "keras_einsum": lambda: text("einsum", "pre", "max"),
    "keras_reshape": lambda: text("reshape", "post", "first", segments=True), "keras_onehot_segments": lambda: text("mha", "post", "first", segments="onehot"),
    "keras_onehot_tokens": lambda: text("reshape", "pre", "mean", onehot=True), "keras_masked": lambda: text("mha", "pre", "mean", masked=True),
    "keras_vit": lambda: vision("mha", "cls"), "keras_vit_mean": lambda: vision("reshape", "mean"), "keras_vit_patches": lambda: vision("mha", "flatten", "extract"),
}


def store(path, feeds):
    s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [i.name for i in s.get_inputs()]
    np.savez(path[:-5] + ".npz", **{o.name: v for o, v in zip(s.get_outputs(), s.run(None, {k: feeds[k] for k in names}))})
    return "ok"


def main():
    out = os.path.abspath(sys.argv[1])
    for name, make in MODELS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        K.backend.clear_session()
        K.utils.set_random_seed(1)
        try:
            model = make()
        except Exception as e:
            print(name, "cannot be built:", type(e).__name__, str(e)[:200], flush=True)
            continue
        g = np.random.default_rng(3)
        for w in model.weights:
            shape, n = tuple(w.shape), w.name
            noise = g.standard_normal(shape)
            w.assign(1 + 0.1 * noise if "gamma" in n else 0.1 * noise if len(shape) == 1 or "beta" in n else noise * (0.3 if "mbed" in n or "pos" in n or "tok" in n else 1.1 / np.sqrt(shape[0])))
        folder = f"{out}/{name}"
        os.makedirs(folder, exist_ok=True)
        feeds = {}
        for i in model.inputs:
            n = i.name.split(":")[0]
            if n == "image":
                v = g.standard_normal((1, 32, 32, 3)).astype(np.float32)
            elif n == "segment_ids":
                v = np.array([[0] * 8 + [1] * 8], np.int32)
            elif n == "padding_mask":
                v = np.array([[1] * 12 + [0] * 4], np.int32)
            else:
                v = g.integers(5, VOCAB, (1, N)).astype(np.int32)
            feeds[n] = v
            np.save(f"{folder}/input.{n}.npy", v)
        notes = {}
        for opset in [int(o) for o in os.environ.get("OPSETS", "13 15 18").split()] + ["keras3"]:
            path = f"{folder}/tf{opset}.onnx"
            try:
                if opset == "keras3":
                    path, tag = f"{folder}/keras3.onnx", "keras3"
                    model.export(path, format="onnx", verbose=False)
                    notes[tag] = store(path, feeds)
                    continue
                spec = [tf.TensorSpec((None,) + tuple(i.shape[1:]), i.dtype, name=i.name.split(":")[0]) for i in model.inputs]
                if len(spec) == 1:
                    f = tf.function(lambda a: {"classes": model(a, training=False)}, input_signature=spec)
                else:
                    f = tf.function(lambda *a: {"classes": model(list(a), training=False)}, input_signature=spec)
                m, _ = tf2onnx.convert.from_function(f, input_signature=spec, opset=opset)
                onnx.save(m, path)
                notes[f"tf{opset}"] = store(path, feeds)
            except Exception as e:
                notes["keras3" if opset == "keras3" else f"tf{opset}"] = f"{type(e).__name__}: {str(e)[:150]}"
        for opset in (15,):
            for level, tag in ((ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED, "ortext"),):
                if notes.get(f"tf{opset}") != "ok":
                    continue
                o = ort.SessionOptions()
                o.graph_optimization_level = level
                o.optimized_model_filepath = f"{folder}/tf{opset}-{tag}.onnx"
                ort.InferenceSession(f"{folder}/tf{opset}.onnx", o, providers=["CPUExecutionProvider"])
                np.savez(f"{folder}/tf{opset}-{tag}.npz", **np.load(f"{folder}/tf{opset}.npz"))
                notes[f"tf{opset}-{tag}"] = "ok"
        json.dump({"family": name, "text": "vit" not in name, "inputs": list(feeds), "outputs": ["classes"], "target": "0,1", "output": None,
                   "explain": True, "base": next((k for k, v in notes.items() if v == "ok"), None), "notes": notes}, open(folder + "/family.json", "w"), indent=1)
        print(name, notes, flush=True)


if __name__ == "__main__":
    main()
