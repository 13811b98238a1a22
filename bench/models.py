"""Skeleton models for measuring: ViT-B/16 and BERT-base as PyTorch's exporter writes them (opset 17), with
random weights of sane scale in an external file. They say nothing about pictures or words; they cost what the
real ones cost.

    models.py FOLDER        writes FOLDER/{vit_b16,bert_base,tokens}/model.onnx
"""
import os
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and weights as they are added; a name for every value."""

    def __init__(self, seed=0):
        self.nodes, self.weights, self.count = [], [], 0
        self.rng = np.random.default_rng(seed)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind}_{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{self.count}", **attributes))
        self.count += 1
        return names[0] if outputs == 1 else names

    def constant(self, value, dtype=np.int64):
        return self.op("Constant", value=numpy_helper.from_array(np.array(value, dtype)))

    def weight(self, name, shape, scale=None, offset=0.0):
        scale = 1.0 / np.sqrt(shape[-2]) if scale is None else scale
        values = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(scale) + np.float32(offset)
        self.weights.append((name, values))
        return name

    def vector(self, name, size):
        return self.weight(name, [size], 0.1)

    def linear(self, x, name, n_in, n_out):
        y = self.op("MatMul", x, self.weight(name + ".weight", [n_in, n_out]))
        return self.op("Add", self.vector(name + ".bias", n_out), y)

    def norm(self, x, name, size, epsilon):
        return self.op("LayerNormalization", x, self.weight(name + ".weight", [size], 0.1, 1.0),
                       self.vector(name + ".bias", size), axis=-1, epsilon=epsilon)

    def size_of(self, x, axis):
        size = self.op("Gather", self.op("Shape", x), self.constant(axis), axis=0)
        return self.op("Unsqueeze", size, self.constant([0]))

    def gelu(self, x):
        erf = self.op("Erf", self.op("Div", x, self.constant(np.sqrt(2), np.float32)))
        y = self.op("Mul", x, self.op("Add", erf, self.constant(1, np.float32)))
        return self.op("Mul", y, self.constant(0.5, np.float32))

    def mlp(self, x, name, width):
        return self.linear(self.gelu(self.linear(x, name + ".fc1", width, 4 * width)), name + ".fc2", 4 * width, width)

    def head(self, x, name, n_in, n_out):
        return self.op("Gemm", x, self.weight(name + ".weight", [n_out, n_in], 0.03), self.vector(name + ".bias", n_out),
                       alpha=1.0, beta=1.0, transB=1)

    def merge_heads(self, x, width):
        x = self.op("Transpose", x, perm=[0, 2, 1, 3])
        shape = self.op("Concat", self.size_of(x, 0), self.size_of(x, 1), self.constant([width]), axis=0)
        return self.op("Reshape", x, shape)

    def save(self, path, inputs, logits, n_out):
        """Small tensors stay in the file, weights go beside it, aligned to pages as PyTorch does."""
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        initializers, at = [], 0
        with open(os.path.join(folder, "weights.bin.part"), "wb") as f:
            for name, values in self.weights:
                at = -(-at // 4096) * 4096
                f.seek(at)
                f.write(values.tobytes())
                tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", "weights.bin"), ("offset", at), ("length", values.nbytes)):
                    tensor.external_data.add(key=key, value=str(value))
                initializers.append(tensor)
                at += values.nbytes
        os.replace(f.name, f.name.removesuffix(".part"))
        graph = helper.make_graph(self.nodes, "main", inputs,
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", n_out])],
                                  initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tiba-bench")
        model.ir_version = 8
        onnx.save(model, path)


def vit(path, depth=12, width=768, heads=12, size=224, patch=16, classes=1000):
    """Pre-norm blocks, q, k and v from one product, a class token: timm's vit_base_patch16_224."""
    g, tokens = Graph(), (size // patch) ** 2 + 1
    x = g.op("Conv", "pixel_values", g.weight("patch_embed.weight", [width, 3, patch, patch], 1 / np.sqrt(3 * patch**2)),
             g.vector("patch_embed.bias", width), kernel_shape=[patch, patch], strides=[patch, patch], pads=[0] * 4,
             dilations=[1, 1], group=1)
    first = g.op("Slice", g.op("Shape", x), g.constant([0]), g.constant([2]), g.constant([0]))
    x = g.op("Transpose", g.op("Reshape", x, g.op("Concat", first, g.constant([-1]), axis=0)), perm=[0, 2, 1])
    shape = g.op("Concat", g.size_of(x, 0), g.constant([-1]), g.constant([-1]), axis=0)
    ones = g.op("ConstantOfShape", g.op("Shape", shape), value=numpy_helper.from_array(np.array([1], np.int64)))
    shape = g.op("Where", g.op("Equal", shape, g.op("Mul", ones, g.constant(-1))), ones, shape)
    token = g.op("Expand", g.weight("cls_token", [1, 1, width], 0.1), shape)
    x = g.op("Add", g.op("Concat", token, x, axis=1), g.weight("pos_embed", [1, tokens, width], 0.1))
    for i in range(depth):
        name = f"blocks.{i}."
        y = g.norm(x, name + "norm1", width, 1e-6)
        batch, length = g.size_of(y, 0), g.size_of(y, 1)
        qkv = g.linear(y, name + "qkv", width, 3 * width)
        shape = g.op("Concat", batch, length, g.constant([3]), g.constant([heads]), g.constant([width // heads]), axis=0)
        qkv = g.op("Transpose", g.op("Reshape", qkv, shape), perm=[2, 0, 3, 1, 4])
        parts = g.op("Split", qkv, g.constant([1, 1, 1]), outputs=3, axis=0)
        q, k, v = (g.op("Squeeze", part, g.constant([0])) for part in parts)
        q = g.op("Mul", q, g.constant((width // heads) ** -0.5, np.float32))
        p = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        y = g.merge_heads(g.op("MatMul", p, v), width)
        x = g.op("Add", x, g.linear(y, name + "proj", width, width))
        x = g.op("Add", x, g.mlp(g.norm(x, name + "norm2", width, 1e-6), name + "mlp", width))
    x = g.op("Gather", g.norm(x, "norm", width, 1e-6), g.constant(0), axis=1)
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, size, size])
    g.save(path, [pixels], g.head(x, "head", width, classes), classes)


def bert(path, depth=12, width=768, heads=12, words=30522, positions=512, classes=2):
    """Post-norm blocks, a mask made of attention_mask, pooler and classifier: transformers' BERT-base."""
    g = Graph()
    ids = g.op("Constant", value=numpy_helper.from_array(np.arange(positions, dtype=np.int64)[None]))
    ids = g.op("Slice", ids, g.constant([0]), g.size_of("input_ids", 1), g.constant([1]), g.constant([1]))
    x = g.op("Gather", g.weight("word_embeddings", [words, width], 1.0), "input_ids")
    x = g.op("Add", x, g.op("Gather", g.weight("token_type_embeddings", [2, width], 1.0), "token_type_ids"))
    x = g.op("Add", x, g.op("Gather", g.weight("position_embeddings", [positions, width], 1.0), ids))
    x = g.norm(x, "embeddings.norm", width, 1e-12)
    mask = g.op("Unsqueeze", g.op("Unsqueeze", "attention_mask", g.constant([1])), g.constant([2]))
    mask = g.op("Sub", g.constant(1, np.float32), g.op("Cast", mask, to=TensorProto.FLOAT))
    mask = g.op("Mul", mask, g.constant(np.finfo(np.float32).min, np.float32))
    for i in range(depth):
        name = f"layer.{i}."
        batch = g.size_of(x, 0)
        shape = g.op("Concat", batch, g.constant([-1]), g.constant([heads]), g.constant([width // heads]), axis=0)
        q, k, v = (g.op("Reshape", g.linear(x, name + part, width, width), shape) for part in ("q", "k", "v"))
        q, v = (g.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
        s = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 3, 1]))
        s = g.op("Add", g.op("Div", s, g.constant((width // heads) ** 0.5, np.float32)), mask)
        y = g.merge_heads(g.op("MatMul", g.op("Softmax", s, axis=-1), v), width)
        x = g.norm(g.op("Add", g.linear(y, name + "output", width, width), x), name + "norm1", width, 1e-12)
        x = g.norm(g.op("Add", g.mlp(x, name + "mlp", width), x), name + "norm2", width, 1e-12)
    x = g.op("Tanh", g.head(g.op("Gather", x, g.constant(0), axis=1), "pooler", width, width))
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"])
              for n in ("input_ids", "attention_mask", "token_type_ids")]
    g.save(path, inputs, g.head(x, "classifier", width, classes), classes)


def make(folder):
    """Writes what is missing; a model.onnx that is there is complete."""
    makers = {"vit_b16": vit, "bert_base": bert,
              # token counts that BERT-base has no positions for; fewer layers and words, the same width
              "tokens": lambda path: bert(path, depth=4, words=1000, positions=1024)}
    for name, maker in makers.items():
        path = os.path.join(folder, name, "model.onnx")
        if not os.path.exists(path):
            print(f"making {path}", flush=True)
            maker(path)


KINDS = ("int8", "qdq", "float16")  # int8: activations' scales are found while running; qdq: calibrated, every operator


def convert(path, kind, inputs):
    """The model beside `path` in int8 or float16, made by onnxruntime's and Microsoft's tools; `inputs`: an .npz to calibrate with."""
    out = os.path.join(os.path.dirname(path), kind, "model.onnx")
    if os.path.exists(out):
        return out
    print(f"making {out}", flush=True)
    os.makedirs(os.path.dirname(out), exist_ok=True)
    part = out + ".part"
    if kind == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(path, part, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    elif kind == "qdq":
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        feeds = [dict(np.load(inputs))]
        reader = type("Feeds", (), {"get_next": lambda self: feeds.pop() if feeds else None})()
        quantize_static(path, part, reader, quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    else:
        from onnxconverter_common import float16
        warnings.simplefilter("ignore")  # a line for every weight that is rounded up to float16's least number
        model = onnx.load(path)
        masks = {node.name for node in model.graph.node if node.op_type == "Cast"}
        model = float16.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
        for node in model.graph.node:  # the converter leaves casts to float as they are
            for attribute in node.attribute if node.name in masks else []:
                attribute.i = TensorProto.FLOAT16
        onnx.save(model, part)
    os.replace(part, out)
    return out


if __name__ == "__main__":
    make(sys.argv[1])
