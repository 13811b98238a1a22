#!/usr/bin/env python3
"""Small transformers of frameworks other than PyTorch and TensorFlow, by their own exporters; the same folder layout as make_families.py.

    make_frameworks.py OUT FRAMEWORK [FAMILY...]       FRAMEWORK: jax (jax2onnx), paddle (paddle2onnx), keras (Keras 3's own export)

A developer's tool: it needs the framework with its exporter and onnxruntime. Every file is also saved as onnxruntime optimises it.
"""
import json, os, sys
import numpy as np
import onnx
import onnxruntime as ort

ort.set_default_logger_severity(4)
D, H, N, VOCAB = 32, 4, 16, 60
RANDOM = np.random.default_rng(3)


def noise(name, shape):
    """Weights large enough that no output is degenerate."""
    v = RANDOM.standard_normal(shape)
    if any(k in name for k in ("scale", "gamma")):
        return 1 + 0.1 * v
    if len(shape) == 1 or "bias" in name or "beta" in name:
        return 0.1 * v
    fan = shape[0] if len(shape) == 2 else int(np.prod(shape[:-1])) if len(shape) == 4 else shape[0]
    return v * (0.3 if any(k in name for k in ("mbed", "pos", "tok", "cls")) else 1.1 / np.sqrt(fan))


def feeds_of(names):
    g, feeds = np.random.default_rng(5), {}
    for name in names:
        if name == "image":
            feeds[name] = g.standard_normal((1, 3, 32, 32)).astype(np.float32)
        elif name == "image_nhwc":
            feeds[name] = g.standard_normal((1, 32, 32, 3)).astype(np.float32)
        elif name == "padding_mask":
            feeds[name] = np.array([[1] * 12 + [0] * 4])
        elif name == "segment_ids":
            feeds[name] = np.array([[0] * 8 + [1] * 8])
        else:
            feeds[name] = g.integers(5, VOCAB, (1, N))
    return feeds


def saved(a, b, level):
    o = ort.SessionOptions()
    o.graph_optimization_level = level
    o.optimized_model_filepath = b
    ort.InferenceSession(a, o, providers=["CPUExecutionProvider"])


def slim(a, b):
    import onnxslim
    onnx.save(onnxslim.slim(a), b)


REWRITES = {"ortbasic": lambda a, b: saved(a, b, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC),
            "ortext": lambda a, b: saved(a, b, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED), "slim": slim}


def store(out, family, exports, feeds, target="0,1"):
    """exports: {variant: f(path)}"""
    folder, notes = f"{out}/{family}", {}
    os.makedirs(folder, exist_ok=True)
    output, names = None, []
    for variant, make in exports.items():
        for tag, f in [("", make)] + [("-" + k, lambda p, r=r: r(f"{folder}/{variant}.onnx", p)) for k, r in REWRITES.items()]:
            path = f"{folder}/{variant}{tag}.onnx"
            if tag and notes.get(variant) != "ok":
                continue
            try:
                f(path)
                s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
                names = names or [i.name for i in s.get_inputs()]
                types = {i.name: {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": bool}.get(i.type, np.float32) for i in s.get_inputs()}
                given = {k: v.astype(types[k]) for k, v in (zip(names, feeds.values())) if k in types}
                for k, v in given.items():
                    np.save(f"{folder}/input.{k}.npy", v)
                output = output or s.get_outputs()[0].name
                np.savez(path[:-5] + ".npz", **dict(zip([o.name for o in s.get_outputs()], s.run(None, given))))
                notes[variant + tag] = "ok"
            except Exception as e:  # whatever an exporter throws is its answer
                notes[variant + tag] = f"{type(e).__name__}: {str(e).strip()[:200]}"
                if os.path.exists(path):
                    os.remove(path)
    json.dump({"family": family, "text": "image" not in "".join(feeds), "inputs": names, "outputs": [output], "target": target, "output": output,
               "explain": True, "base": next((k for k, v in notes.items() if v == "ok"), None), "notes": notes}, open(folder + "/family.json", "w"), indent=1)
    print(family, notes, flush=True)


# ------------------------------------------------------------------ JAX
def jax_families():
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from jax2onnx import to_onnx

    class Block(nnx.Module):
        def __init__(self, order, mlp, rngs, norm=nnx.LayerNorm):
            self.order, self.mlp = order, mlp
            self.n1, self.n2 = norm(D, rngs=rngs), norm(D, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(H, D, decode=False, rngs=rngs)
            self.a, self.b = nnx.Linear(D, 48, rngs=rngs), nnx.Linear(48, D, rngs=rngs)
            self.gate = nnx.Linear(D, 48, rngs=rngs)

        def feed(self, y):
            if self.mlp == "swiglu":
                return self.b(nnx.silu(self.gate(y)) * self.a(y))
            return self.b({"gelu": nnx.gelu, "gelu_exact": lambda t: nnx.gelu(t, approximate=False), "relu": nnx.relu}[self.mlp](self.a(y)))

        def __call__(self, x, mask=None):
            if self.order == "post":
                x = self.n1(x + self.attention(x, mask=mask))
                return self.n2(x + self.feed(x))
            x = x + self.attention(self.n1(x), mask=mask)
            return x + self.feed(self.n2(x))

    class Own(nnx.Module):
        """written out: einsum or matmul, by jax.nn.dot_product_attention, or rotary"""
        def __init__(self, kind, rngs):
            self.kind = kind
            self.qkv, self.o = nnx.Linear(D, 3 * D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)
            self.n1, self.n2 = nnx.RMSNorm(D, rngs=rngs), nnx.RMSNorm(D, rngs=rngs)
            self.a, self.b = nnx.Linear(D, 48, rngs=rngs), nnx.Linear(48, D, rngs=rngs)

        def attend(self, x, mask):
            b, n = x.shape[:2]
            q, k, v = jnp.split(self.qkv(x), 3, -1)
            q, k, v = [t.reshape(b, n, H, D // H) for t in (q, k, v)]
            if self.kind == "rotary":
                t = jnp.arange(n)[:, None] / 100 ** (jnp.arange(D // H // 2) / (D // H // 2))
                c, s = jnp.cos(t)[None, :, None], jnp.sin(t)[None, :, None]

                def turn(u):
                    u1, u2 = jnp.split(u, 2, -1)
                    return jnp.concatenate([u1 * c - u2 * s, u2 * c + u1 * s], -1)
                q, k = turn(q), turn(k)
            if self.kind == "sdpa":
                o = jax.nn.dot_product_attention(q, k, v)
            elif self.kind == "causal":
                o = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            else:
                p = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(D // H)
                if mask is not None:
                    p = jnp.where(mask, p, -1e9)
                o = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(p, -1), v)
            return self.o(o.reshape(b, n, D))

        def __call__(self, x, mask=None):
            x = x + self.attend(self.n1(x), mask)
            return x + self.b(jax.nn.gelu(self.a(self.n2(x))))

    class Text(nnx.Module):
        def __init__(self, block, pool, masked=False, rngs=None):
            self.pool, self.masked = pool, masked
            self.embed, self.positions = nnx.Embed(VOCAB, D, rngs=rngs), nnx.Embed(N, D, rngs=rngs)
            self.blocks = nnx.List([block(rngs) for _ in range(2)])
            self.norm, self.head = nnx.LayerNorm(D, rngs=rngs), nnx.Linear(D, 5, rngs=rngs)

        def __call__(self, ids, mask=None):
            x = self.embed(ids) + self.positions(jnp.arange(N))[None]
            m = None if mask is None else (mask > 0)[:, None, None, :]
            for b in self.blocks:
                x = b(x, m)
            x = self.norm(x)
            if self.pool == "mean":
                x = x.mean(1)
            elif self.pool == "masked":
                w = mask[..., None].astype(jnp.float32)
                x = (x * w).sum(1) / w.sum(1)
            else:
                x = x[:, 0] if self.pool == "first" else x[:, -1] if self.pool == "last" else x.max(1)
            return self.head(x)

    class Vision(nnx.Module):
        def __init__(self, block, pool, patches, rngs=None):
            self.pool, self.patches = pool, patches
            self.conv = nnx.Conv(3, D, (8, 8), strides=(8, 8), padding="VALID", rngs=rngs)
            self.lin = nnx.Linear(192, D, rngs=rngs)
            self.cls = nnx.Param(jnp.zeros((1, 1, D)))
            self.positions = nnx.Param(jnp.zeros((1, 16 + (pool == "cls"), D)))
            self.blocks = nnx.List([block(rngs) for _ in range(2)])
            self.norm, self.head = nnx.LayerNorm(D, rngs=rngs), nnx.Linear(D, 5, rngs=rngs)
            if pool == "map":
                self.probe, self.pooler = nnx.Param(jnp.zeros((1, 1, D))), nnx.MultiHeadAttention(H, D, decode=False, rngs=rngs)

        def __call__(self, image):
            b = image.shape[0]
            if self.patches == "conv":
                x = self.conv(image).reshape(b, 16, D)
            else:
                x = self.lin(image.reshape(b, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, 16, 192))
            if self.pool == "cls":
                x = jnp.concatenate([jnp.tile(self.cls.value, (b, 1, 1)), x], 1)
            x = x + self.positions.value
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            if self.pool == "map":
                x = self.pooler(jnp.tile(self.probe.value, (b, 1, 1)), x, x)[:, 0]
            else:
                x = x[:, 0] if self.pool == "cls" else x.mean(1)
            return self.head(x)

    def mha(order="pre", mlp="gelu"):
        return lambda r: Block(order, mlp, r)

    rows = {
        "jax_post": (lambda r: Text(mha("post"), "mean", rngs=r), ["token_ids"]), "jax_first": (lambda r: Text(mha("pre", "gelu_exact"), "first", rngs=r), ["token_ids"]),
        "jax_masked": (lambda r: Text(mha(), "masked", rngs=r), ["token_ids", "padding_mask"]), "jax_swiglu": (lambda r: Text(mha("pre", "swiglu"), "max", rngs=r), ["token_ids"]),
        "jax_einsum": (lambda r: Text(lambda q: Own("einsum", q), "mean", rngs=r), ["token_ids"]), "jax_einsum_masked": (lambda r: Text(lambda q: Own("einsum", q), "masked", rngs=r), ["token_ids", "padding_mask"]),
        "jax_rotary": (lambda r: Text(lambda q: Own("rotary", q), "mean", rngs=r), ["token_ids"]), "jax_sdpa": (lambda r: Text(lambda q: Own("sdpa", q), "first", rngs=r), ["token_ids"]),
        "jax_causal": (lambda r: Text(lambda q: Own("causal", q), "last", rngs=r), ["token_ids"]),
        "jax_vit": (lambda r: Vision(mha(), "cls", "conv", rngs=r), ["image_nhwc"]), "jax_vit_mean": (lambda r: Vision(mha("pre", "relu"), "mean", "reshape", rngs=r), ["image_nhwc"]),
        "jax_vit_map": (lambda r: Vision(mha(), "map", "conv", rngs=r), ["image_nhwc"]),
    }

    def exporter(model, feeds, opset, batch, **kw):
        def f(path):
            specs = [jax.ShapeDtypeStruct(v.shape, jnp.float32 if v.dtype == np.float32 else jnp.int32) if batch is None else
                     ((batch,) + v.shape[1:] if v.dtype == np.float32 else jax.ShapeDtypeStruct(v.shape, jnp.int32)) for v in feeds.values()]
            onnx.save(to_onnx(model, specs, opset=opset, **kw), path)
        return f

    for name, (build, inputs) in rows.items():
        def make(out, name=name, build=build, inputs=inputs):
            model = build(nnx.Rngs(0))
            state = nnx.state(model, nnx.Param)
            leaves, tree = jax.tree_util.tree_flatten_with_path(state)
            nnx.update(model, jax.tree_util.tree_unflatten(tree, [jnp.asarray(noise(jax.tree_util.keystr(p), v.shape), jnp.float32) for p, v in leaves]))
            model.eval()
            feeds = feeds_of(inputs)
            exports = {f"jax{o}": exporter(model, feeds, o, None) for o in (18, 21, 23)}
            exports["jax23native"] = exporter(model, feeds, 23, None, normalization_mode="prefer_native")
            exports["jax21plain"] = exporter(model, feeds, 21, None, normalization_mode="force_decomposed")
            if "image_nhwc" in inputs:
                exports["jax21batch"] = exporter(model, feeds, 21, "B")
            store(out, name, exports, feeds)
        yield name, make


# ------------------------------------------------------------------ PaddlePaddle
def paddle_families():
    import paddle
    import paddle.nn as nn
    import paddle.nn.functional as F

    class Attention(nn.Layer):
        def __init__(self, kind):
            super().__init__()
            self.kind, self.qkv, self.o = kind, nn.Linear(D, 3 * D), nn.Linear(D, D)

        def forward(self, x, mask=None):
            if self.kind == "sdpa":
                q, k, v = self.qkv(x).reshape([0, -1, 3, H, D // H]).unbind(2)
                return self.o(F.scaled_dot_product_attention(q, k, v).reshape([0, -1, D]))
            q, k, v = self.qkv(x).reshape([0, -1, 3, H, D // H]).transpose([2, 0, 3, 1, 4]).unbind(0)
            p = paddle.matmul(q * (D // H) ** -0.5, k, transpose_y=True)
            p = F.softmax(p if mask is None else p + mask, axis=-1)
            return self.o(paddle.matmul(p, v).transpose([0, 2, 1, 3]).reshape([0, -1, D]))

    class Block(nn.Layer):
        """as PaddleClas and PaddleNLP write them"""
        def __init__(self, kind):
            super().__init__()
            self.n1, self.n2, self.attention = nn.LayerNorm(D), nn.LayerNorm(D), Attention(kind)
            self.a, self.b = nn.Linear(D, 48), nn.Linear(48, D)

        def forward(self, x, mask=None):
            x = x + self.attention(self.n1(x), mask)
            return x + self.b(F.gelu(self.a(self.n2(x))))

    class Text(nn.Layer):
        def __init__(self, kind, masked=False, segments=False):
            super().__init__()
            self.kind = kind
            self.words, self.positions, self.types = nn.Embedding(VOCAB, D), nn.Embedding(N, D), nn.Embedding(2, D)
            self.norm = nn.LayerNorm(D)
            if kind == "layers":
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, H, 48, dropout=0.0, activation="gelu"), 2)
            else:
                self.blocks = nn.LayerList([Block(kind) for _ in range(2)])
            self.pooler, self.head = nn.Linear(D, D), nn.Linear(D, 5)

        def forward(self, ids, second=None, third=None):
            n = paddle.shape(ids)[1]
            x = self.words(ids) + self.positions(paddle.arange(n).unsqueeze(0).astype("int64"))
            mask = None
            if third is not None:
                x = x + self.types(third)
            if second is not None:
                mask = ((1 - second.astype("float32")) * -1e4).unsqueeze([1, 2])
            x = self.norm(x)
            if self.kind == "layers":
                x = self.encoder(x, mask)
            else:
                for b in self.blocks:
                    x = b(x, mask)
            return self.head(F.tanh(self.pooler(x[:, 0])))

    class Vision(nn.Layer):
        def __init__(self, kind, pool):
            super().__init__()
            self.pool, self.conv = pool, nn.Conv2D(3, D, 8, 8)
            self.cls = self.create_parameter([1, 1, D])
            self.positions = self.create_parameter([1, 16 + (pool == "cls"), D])
            self.blocks = nn.LayerList([Block(kind) for _ in range(2)])
            self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 5)

        def forward(self, image):
            x = self.conv(image).flatten(2).transpose([0, 2, 1])
            if self.pool == "cls":
                x = paddle.concat([self.cls.expand([paddle.shape(image)[0], -1, -1]), x], 1)
            x = x + self.positions
            for b in self.blocks:
                x = b(x)
            x = self.norm(x)
            return F.softmax(self.head(x[:, 0] if self.pool == "cls" else x.mean(1)))

    class Windows(nn.Layer):
        """Swin's windows, with a roll and a learned bias"""
        def __init__(self):
            super().__init__()
            self.conv, self.n = nn.Conv2D(3, D, 4, 4), nn.LayerNorm(D)
            self.qkv, self.o = nn.Linear(D, 3 * D), nn.Linear(D, D)
            self.bias = self.create_parameter([1, H, 16, 16])
            self.merge, self.head = nn.Linear(4 * D, D), nn.Linear(D, 5)

        def attend(self, x, shift):
            y = self.n(x)
            if shift:
                y = paddle.roll(y, shifts=(-2, -2), axis=(1, 2))
            y = y.reshape([1, 2, 4, 2, 4, D]).transpose([0, 1, 3, 2, 4, 5]).reshape([-1, 16, D])
            q, k, v = self.qkv(y).reshape([-1, 16, 3, H, D // H]).transpose([2, 0, 3, 1, 4]).unbind(0)
            p = F.softmax(paddle.matmul(q * (D // H) ** -0.5, k.transpose([0, 1, 3, 2])) + self.bias)
            y = self.o(paddle.matmul(p, v).transpose([0, 2, 1, 3]).reshape([-1, 16, D]))
            y = y.reshape([1, 2, 2, 4, 4, D]).transpose([0, 1, 3, 2, 4, 5]).reshape([1, 8, 8, D])
            if shift:
                y = paddle.roll(y, shifts=(2, 2), axis=(1, 2))
            return x + y

        def forward(self, image):
            x = self.conv(image).transpose([0, 2, 3, 1])
            x = self.attend(self.attend(x, False), True)
            x = paddle.concat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1).reshape([1, 16, 4 * D])
            return self.head(self.merge(x).mean(1))

    rows = {"paddle_text": (lambda: Text("matmul"), ["token_ids"]), "paddle_sdpa": (lambda: Text("sdpa"), ["token_ids"]),
            "paddle_ernie": (lambda: Text("layers"), ["token_ids", "padding_mask", "segment_ids"]), "paddle_masked": (lambda: Text("matmul"), ["token_ids", "padding_mask"]),
            "paddle_layers": (lambda: Text("layers"), ["token_ids"]), "paddle_vit": (lambda: Vision("matmul", "cls"), ["image"]),
            "paddle_vit_mean": (lambda: Vision("matmul", "mean"), ["image"]), "paddle_swin": (Windows, ["image"])}

    def exporter(model, feeds, opset, fixed):
        def f(path):
            specs = [paddle.static.InputSpec(list(v.shape) if fixed else [-1] + list(v.shape[1:]) if v.dtype == np.float32 else [-1, -1], "float32" if v.dtype == np.float32 else "int64", name=k)
                     for k, v in feeds.items()]
            paddle.onnx.export(model, path[:-5], input_spec=specs, opset_version=opset)
        return f

    for name, (build, inputs) in rows.items():
        def make(out, name=name, build=build, inputs=inputs):
            model = build()
            for k, p in model.named_parameters():
                p.set_value(noise("gamma" if p.ndim == 1 and k.endswith("weight") else k, tuple(p.shape)).astype(np.float32))
            model.eval()
            feeds = feeds_of(inputs)
            store(out, name, {"paddle11": exporter(model, feeds, 11, False), "paddle13": exporter(model, feeds, 13, False), "paddle17": exporter(model, feeds, 17, False),
                              "paddle16fixed": exporter(model, feeds, 16, True)}, feeds)
        yield name, make


FRAMEWORKS = {"jax": jax_families, "paddle": paddle_families}


def main():
    out, framework, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    for name, make in FRAMEWORKS[framework]():
        if not only or name in only:
            try:
                make(out)
            except Exception as e:
                print(name, "cannot be built:", type(e).__name__, str(e)[:300], flush=True)


if __name__ == "__main__":
    main()
