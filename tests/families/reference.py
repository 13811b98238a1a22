#!/usr/bin/env python3
"""An independent float64 computation of every attention's E_b from an ONNX file, by the definition in docs/method.md, with
torch's autograd for gradients. It shares no code with the program.

    reference.py TIBA_ONNX MODEL INPUT=FILE.npy ... --target I,J [--output NAME]
    reference.py TIBA_ONNX FILES VARIANT [FAMILY...]

prints the largest deviation of the program's blocks, readout and token relevance (raw and normalized). FILES are those of
make_families.py. Made for files of torch's exporters: it knows the
operators that those write and takes everything that does not depend on an activation from onnxruntime.
"""
import glob, json, os, subprocess, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from rewritten import (INTEGERS, attention_spelled_out, attr, branches_chosen, in_order, integers_spelled_out, optimised, recurrent_spelled_out, sums_spelled_out,
                       weighed_as_products, widened)

ort.set_default_logger_severity(4)
F64 = torch.float64
EPS = 1e-9


def guarded(a, b):
    shifted = b + EPS
    q = a / torch.where(shifted == 0, torch.full_like(shifted, EPS), shifted)
    return torch.where(b == 0, torch.zeros_like(q), q)


def alike(a, b):
    """but for rounding, which is small against the numbers, those of masks aside"""
    size = a.abs()[a.abs() < 1e4].max() if bool((a.abs() < 1e4).any()) else 0.0
    return bool(((a == b) | ((a - b).abs() <= 1e-6 * size)).all())


def settled(z, size):
    """sums whose terms, `size` without their signs, cancel exactly: whole numbers times their scales"""
    return torch.where(z.abs() <= 1e-14 * size, torch.zeros_like(z), z)


MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Concat", "Split", "Slice", "Gather", "Identity"}


class Reference:
    def __init__(self, path, feeds, output, index, ties="optimised", single=False):
        """`ties`: integers are onnxruntime's, of the graph as its optimiser leaves it or of the "plain" one, or "exact". A number:
        onnxruntime's in the optimiser's graph, but for those in that many tensors that are within a float32's error of a tie, which fall
        as in float64 (`flipped` of them), and all that onnxruntime makes of these.
        `single`: every value and relevance is rounded to float32, which tells how much of an explanation float32 can hold"""
        self.ties, self.single = ties, single
        model = in_order(widened(onnx.load(path)))
        types = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
        self.feeds = feeds = {k: v.astype(types[k]) if v.dtype.kind in "iub" and k in types else v for k, v in feeds.items()}
        self.original = onnx.shape_inference.infer_shapes(sums_spelled_out(weighed_as_products(attention_spelled_out(branches_chosen(model, feeds)))))
        if ties == "optimised" or isinstance(ties, int):
            self.original = optimised(self.original)
        self.pinned, self.flipped = {}, 0
        spelled = integers_spelled_out(onnx.ModelProto.FromString(self.original.SerializeToString()))
        self.model = onnx.shape_inference.infer_shapes(recurrent_spelled_out(spelled, lambda x: self.values_of(spelled, [x])[x]))
        g = self.graph = self.model.graph
        self.opset = max(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        self.const = {i.name: numpy_helper.to_array(i) for i in g.initializer}
        self.values = self.all_values()
        self.active = set()
        for k, v in feeds.items():
            if v.dtype == np.float32 and v.ndim >= 2:
                self.active.add(k)
        ids = {k for k, v in feeds.items() if v.dtype != np.float32}
        constant, looked_up = {"", *self.const}, set()  # tables, however they are written; rows of tables of integers
        for n in g.node:
            if all(i in constant for i in n.input):
                constant.update(n.output)
            lookup = n.op_type == "Gather" and n.input[0] in constant and self.derives(n.input[1], ids) and self.values[n.input[0]].ndim == 2
            if lookup and np.asarray(self.values[n.output[0]]).dtype.itemsize <= 2:
                looked_up.update(n.output)
            begins = lookup and np.asarray(self.values[n.output[0]]).dtype == np.float32 or n.op_type == "DequantizeLinear" and n.input[0] in looked_up
            if begins or any(i in self.active for i in n.input):
                integers = n.op_type in ("QuantizeLinear", "MatMulInteger", "ConvInteger") or n.op_type in (*MOVES, "Clip") and n.input[0] in self.active
                for o in n.output[:1] if n.op_type == "DynamicQuantizeLinear" else n.output:
                    if o and (np.asarray(self.values[o]).dtype == np.float32 or integers or n.op_type == "DynamicQuantizeLinear"):
                        self.active.add(o)
        self.producer = {o: n for n in g.node for o in n.output if o}
        self.order = {o: k for k, n in enumerate(g.node) for o in n.output if o}
        self.uses = {}
        for n in g.node:
            for i in n.input:
                self.uses.setdefault(i, []).append(n)
        self.target = self.logit(output)
        self.index = index
        self.regions()
        self.run()
        while isinstance(ties, int) and len(self.pinned) < ties and self.settle():
            self.values = self.all_values()
            self.run()

    def settle(self):
        """Pins the first integers that float64 rounds otherwise and float32 may; were there any?"""
        for n in self.graph.node:
            if n.op_type == "QuantizeLinear" and n.input[0] in self.x and n.output[0] not in self.pinned:
                theirs = np.asarray(self.values[n.output[0]])
                scale, zero = [float(np.asarray(self.values[i]).item()) for i in n.input[1:3]] if len(n.input) > 2 else (float(self.values[n.input[1]].item()), 0.0)
                kind, real = np.iinfo(theirs.dtype), self.x[n.input[0]].detach().numpy() / scale
                exact = (np.rint(real) + zero).clip(kind.min, kind.max)
                other = (exact != theirs) & (np.abs(real + zero - theirs) < 0.5 + 1e-4)
                if other.any():
                    self.flipped += int(other.sum())
                    self.pinned[n.output[0]] = np.where(other, exact, theirs).astype(theirs.dtype)
                    return True
        return False

    def off(self, output, scores):
        """how far its outputs are from these"""
        got = self.x.get(output)
        same = got is not None and scores is not None and got.numel() == scores.size
        return float(np.abs(got.detach().numpy().ravel() - scores.ravel()).max() / np.abs(scores).max()) if same else 0.0

    def derives(self, name, ids, depth=0):
        """Is it an input's ids, moved, joined with others or with an offset?"""
        if name in ids:
            return True
        n = next((n for n in self.graph.node if name in n.output), None)
        if not n or depth >= 16 or n.op_type not in ("Cast", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Identity", "Slice", "Gather", "Add", "Sub", "Mul", "Mod", "Where", "Concat", "Expand", "Pad", "ScatterND", "ScatterElements"):
            return False
        given = {"Where": n.input[1:], "Concat": n.input, "ScatterND": n.input[::2], "ScatterElements": n.input[::2]}.get(n.op_type, n.input[:1])
        return any(self.derives(i, ids, depth + 1) for i in given)

    def all_values(self):
        """onnxruntime's value of every name; of what is rounded to integers with its own operators for integers"""
        values = self.values_of(self.model, [o for n in self.graph.node for o in n.output])
        integers = {n.output[0] for n in self.graph.node if n.op_type == "QuantizeLinear"}
        values.update(self.values_of(self.original, [o for n in self.original.graph.node for o in n.output if o in integers]))
        values.update({n.output[0]: self.small_floats(values[n.output[0]], n) for n in self.graph.node if n.op_type == "QuantizeLinear"})
        values = {**values, **self.feeds, **{k: v.astype(np.float32) if np.asarray(v).dtype.kind == "V" else v for k, v in self.const.items()}}
        for n in self.graph.node:  # constants are made of these integers too
            if n.op_type == "DequantizeLinear" and n.input[0] in integers and np.size(values[n.input[1]]) == 1:
                zero = np.asarray(values[n.input[2]]).item() if len(n.input) > 2 and n.input[2] else 0
                steps = np.asarray(values[n.input[0]]).astype(np.float32) - np.float32(zero)
                with np.errstate(over="ignore"):  # masks
                    values[n.output[0]] = steps * np.asarray(values[n.input[1]], np.float32).item()
        return values

    def small_floats(self, v, n):
        """float8, of which onnxruntime hands out the bits"""
        kind = np.asarray(self.const[n.input[2]]).dtype if len(n.input) > 2 and n.input[2] in self.const else v.dtype
        return v.view(kind).astype(np.float32) if kind.kind == "V" else v

    def values_of(self, model, names):
        m = onnx.ModelProto.FromString(model.SerializeToString())
        for n in [n for n in m.graph.node if n.output[0] in self.pinned]:
            m.graph.node.remove(n)
            m.graph.initializer.append(numpy_helper.from_array(self.pinned[n.output[0]], n.output[0]))
        have = {o.name for o in m.graph.output}
        m.graph.output.extend(onnx.ValueInfoProto(name=o) for o in names if o and o not in have)
        o = ort.SessionOptions()
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        s = ort.InferenceSession(m.SerializeToString(), o, providers=["CPUExecutionProvider"])
        return dict(zip([x.name for x in s.get_outputs()], s.run(None, {k: v for k, v in self.feeds.items() if k in {i.name for i in s.get_inputs()}})))

    def logit(self, output):
        n = self.producer.get(output)
        return n.input[0] if n is not None and n.op_type in ("Softmax", "Sigmoid", "LogSoftmax") else output

    # ---------------------------------------------------------------- regions: element-wise functions and norms written out
    ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Tanh", "Erf", "Sigmoid", "Exp", "Neg", "Abs", "Sign", "Cast", "CastLike", "Clip", "Max", "Min",
                   "ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "Softplus", "Relu", "HardSigmoid", "Expand", "Elu", "Where", "Log", "Identity", "Greater",
                   "QuantizeLinear", "DequantizeLinear"}

    def piecewise(self, n):
        """Where by comparisons of an activation with numbers"""
        c = self.producer.get(n.input[0])
        return c is not None and any(i in self.active for i in c.input) and all(i in self.active or np.size(self.values[i]) == 1 for i in c.input)

    def regions(self):
        self.region_entry, self.inside = {}, set()
        for y in sorted((v for v in self.active if v in self.order), key=lambda v: -self.order[v]):
            if y in self.inside:
                continue
            frontier, members, found = {y}, set(), None
            while frontier:
                top = max(frontier, key=lambda v: self.order.get(v, -1))
                if len(frontier) == 1 and top != y and np.shape(self.values[top]) == np.shape(self.values[y]) and len(members) > 1:
                    found = (top, set(members))
                n = self.producer.get(top)
                if n is None or n.op_type not in self.ELEMENTWISE or n.op_type == "Where" and not self.piecewise(n):
                    break
                if n.op_type.startswith("Reduce") and not attr(n, "keepdims", 1):
                    break
                if top != y and any(o not in members for u in self.uses.get(top, []) for o in u.output if o in self.active):
                    break
                if top != y and top == self.target:
                    break
                frontier.remove(top)
                members.add(top)
                frontier |= {i for i in n.input if i in self.active}
            if found and sum(len([i for i in self.producer[m].input if i in self.active]) > 1 for m in found[1]) > 0 and not self.residual(y, *found):
                self.region_entry[y] = found[0]
                self.inside |= found[1] - {y}

    def residual(self, y, entry, members):
        """is the last sum of the region x + f(x), with f(x) no statistic that is broadcast?"""
        n = self.producer[y]
        while len([i for i in n.input if i in self.active]) == 1 and n.input[0] in members:
            n = self.producer[n.input[0]]
        others = [i for i in n.input if i in self.active and i != entry]
        return n.op_type in ("Add", "Sub") and entry in n.input and len(others) == 1 and np.shape(self.values[others[0]]) == np.shape(self.values[entry])

    # ---------------------------------------------------------------- forward
    def const_of(self, name):
        v = np.asarray(self.values[name])
        return torch.from_numpy(v.astype(np.float64)) if v.dtype == np.float32 else torch.from_numpy(np.array(v))

    def arg(self, name):
        return self.x[name] if name in self.active else self.const_of(name)

    def ints(self, n, k, name):
        if len(n.input) > k and n.input[k]:
            return [int(v) for v in np.asarray(self.values[n.input[k]]).ravel()]
        v = attr(n, name)
        return None if v is None else list(v) if isinstance(v, (list, tuple)) else [v]

    def op(self, n, a):
        """outputs of node n for its inputs a (torch tensors)"""
        t, x = n.op_type, a[0] if a else None
        simple = {"Add": lambda: a[0] + a[1], "Sub": lambda: a[0] - a[1], "Mul": lambda: a[0] * a[1], "Div": lambda: a[0] / a[1], "Pow": lambda: a[0] ** a[1],
                  "Sqrt": lambda: x.sqrt(), "Reciprocal": lambda: 1 / x, "Tanh": lambda: x.tanh(), "Erf": lambda: x.erf(), "Sigmoid": lambda: x.sigmoid(), "Exp": lambda: x.exp(),
                  "Neg": lambda: -x, "Abs": lambda: x.abs(), "Sign": lambda: x.sign(), "Relu": lambda: x.relu(), "Identity": lambda: x, "Cast": lambda: x, "CastLike": lambda: x, "MatMul": lambda: a[0] @ a[1],
                  "Softplus": lambda: torch.nn.functional.softplus(x), "Log": lambda: x.log(), "Elu": lambda: torch.nn.functional.elu(x),
                  "Where": lambda: torch.where(a[0].bool(), a[1], a[2]), "Cos": lambda: x.cos(), "Sin": lambda: x.sin(), "Mish": lambda: torch.nn.functional.mish(x),
                  "HardSwish": lambda: torch.nn.functional.hardswish(x), "Max": lambda: torch.maximum(a[0], a[1]), "Min": lambda: torch.minimum(a[0], a[1]),
                  "HardSigmoid": lambda: (x * attr(n, "alpha", 0.2) + attr(n, "beta", 0.5)).clip(0, 1)}
        if t in simple:
            return [simple[t]()]
        if t == "QuantizeLinear":  # what the integers stand for; gradients go straight through
            theirs = np.asarray(self.values[n.output[0]])
            scale, zero = float(self.values[n.input[1]].item()), float(self.values[n.input[2]].item()) if len(n.input) > 2 else 0.0
            y = self.whole(x.detach() / scale, zero, theirs)
            through = torch.where(x.isfinite(), x, torch.zeros_like(x))  # a masked score may be infinite before it is rounded
            return [(y - zero) * scale + (through - through.detach())]
        if t == "DequantizeLinear":
            return [x]
        if t == "DynamicQuantizeLinear":  # whole numbers; its scale and zero point are constants for gradients and relevance
            v = x.detach().numpy().astype(np.float32)
            least, most = min(v.min(), np.float32(0)), max(v.max(), np.float32(0))
            scale = (most - least) / np.float32(255)
            zero = np.clip(np.rint(-least / scale), 0, 255)
            self.values[n.output[1]], self.values[n.output[2]] = scale, np.float32(zero)
            y = self.whole(x.detach() / float(scale), float(zero), np.asarray(self.values[n.output[0]]))
            y = x / float(scale) + (y - x.detach() / float(scale))
            return [y, None, None]
        if t == "MatMulInteger":
            return [self.centred(n, 0, a[0]) @ self.centred(n, 1, a[1])]
        if t == "MatMulNBits":
            bias = self.const_of(n.input[5]) if len(n.input) > 5 and n.input[5] else 0.0
            return [self.in_blocks(n, x) @ self.weight_of_blocks(n) + bias]
        if t == "Clip":
            lo, hi = [torch.from_numpy(np.array(self.values[i], np.float64)) if i else None for i in [*n.input[1:3], "", ""][:2]]
            q = self.producer.get(n.input[0])
            if q and q.op_type == "QuantizeLinear":  # bounds of integers, in what these stand for
                along = [-1 if d == attr(q, "axis", 1) % x.ndim else 1 for d in range(x.ndim)]
                scale, zero = [torch.from_numpy(np.array(self.values[i], np.float64)) for i in q.input[1:3]]
                scale, zero = [v.view(along) if v.numel() > 1 else v.view([]) for v in (scale, zero)]
                lo, hi = [(v - zero) * scale if v is not None else None for v in (lo, hi)]
            x = x if lo is None else torch.where(x < lo, lo, x)  # what is at a bound passes its gradient whole
            return [x if hi is None else torch.where(x > hi, hi, x)]
        if t == "Einsum":
            return [torch.einsum(attr(n, "equation").decode(), *a)]
        if t == "Gemm":
            p = a[0].T if attr(n, "transA", 0) else a[0]
            q = a[1].T if attr(n, "transB", 0) else a[1]
            y = attr(n, "alpha", 1.0) * (p @ q)
            return [y + attr(n, "beta", 1.0) * a[2] if len(a) > 2 and a[2] is not None else y]
        if t in ("Softmax", "LogSoftmax"):
            axis = attr(n, "axis", -1 if self.opset >= 13 else 1)
            return [torch.softmax(x, axis) if t == "Softmax" else torch.log_softmax(x, axis)]
        if t == "LayerNormalization":
            axis = attr(n, "axis", -1) % x.ndim
            b = a[2] if len(a) > 2 else None
            return [torch.nn.functional.layer_norm(x, x.shape[axis:], a[1], b, attr(n, "epsilon", 1e-5))]
        if t == "RMSNormalization":
            return [a[1] * x / (x.pow(2).mean(-1, keepdim=True) + attr(n, "epsilon", 1e-5)).sqrt()]
        if t == "BatchNormalization":
            s = [1, -1] + [1] * (x.ndim - 2)
            return [(x - a[3].view(s)) / (a[4].view(s) + attr(n, "epsilon", 1e-5)).sqrt() * a[1].view(s) + a[2].view(s)]
        if t == "Gelu":
            return [torch.nn.functional.gelu(x, approximate=attr(n, "approximate", b"none").decode())]
        if t == "Swish":
            return [x * torch.sigmoid(attr(n, "alpha", 1.0) * x)]
        if t in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
            return [x.reshape(np.shape(self.values[n.output[0]]))]
        if t == "Expand":
            return [x.expand(np.shape(self.values[n.output[0]]))]
        if t == "Transpose":
            return [x.permute(attr(n, "perm") or list(range(x.ndim))[::-1])]
        if t == "Concat":
            return [torch.cat([v if v.dtype == F64 else v.to(F64) for v in a], attr(n, "axis"))]
        if t == "Split":
            sizes = [np.shape(self.values[o])[attr(n, "axis", 0)] for o in n.output]
            return list(torch.split(x, sizes, attr(n, "axis", 0)))
        if t == "Slice":
            starts, ends = self.ints(n, 1, "starts"), self.ints(n, 2, "ends")
            axes, steps = self.ints(n, 3, "axes") or list(range(len(starts))), self.ints(n, 4, "steps") or [1] * len(starts)
            for s, e, d, k in zip(starts, ends, axes, steps):
                i = torch.arange(x.shape[d])
                x = x.index_select(d, torch.from_numpy(i.numpy()[slice(s, None if k < 0 and e < -x.shape[d] else e, k)].copy()))
            return [x]
        if t == "Gather":
            d, i = attr(n, "axis", 0) % x.ndim, torch.from_numpy(np.array(self.values[n.input[1]]).astype(np.int64))
            y = x.index_select(d, i.reshape(-1) % x.shape[d])
            return [y.reshape(list(x.shape[:d]) + list(i.shape) + list(x.shape[d + 1:]))]
        if t == "GatherND":
            i = np.asarray(self.values[n.input[1]])
            assert attr(n, "batch_dims", 0) == 0
            return [x[tuple(torch.from_numpy(i[..., k].copy()) for k in range(i.shape[-1]))]]
        if t == "GatherElements":
            return [torch.gather(x, attr(n, "axis", 0), torch.from_numpy(np.array(self.values[n.input[1]])).to(torch.int64) % x.shape[attr(n, "axis", 0)])]
        if t == "InstanceNormalization":
            return [torch.nn.functional.instance_norm(x, weight=a[1], bias=a[2], eps=attr(n, "epsilon", 1e-5))]
        if t == "MaxPool":
            k, p = attr(n, "kernel_shape"), attr(n, "pads", [0, 0, 0, 0])
            return [torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, [p[1], p[3], p[0], p[2]], value=-1e30), k, attr(n, "strides"))]
        if t == "Pad":
            assert attr(n, "mode", b"constant") == b"constant"
            pads, axes = self.ints(n, 1, "pads"), self.ints(n, 3, "axes") or list(range(x.ndim))
            value = float(self.values[n.input[2]]) if len(n.input) > 2 and n.input[2] else 0.0
            both = {d % x.ndim: (pads[k], pads[len(axes) + k]) for k, d in enumerate(axes)}
            return [torch.nn.functional.pad(x, [v for d in range(x.ndim - 1, -1, -1) for v in both.get(d, (0, 0))], value=value)]
        if t == "ScatterND":
            i, at = torch.from_numpy(np.array(self.values[n.input[1]])).to(torch.int64), []
            at = tuple(i[..., k] for k in range(i.shape[-1]))
            return [x.clone().index_put(at, a[2], accumulate=attr(n, "reduction", b"none") == b"add")]
        if t == "TopK":
            return [torch.gather(x, attr(n, "axis", -1), torch.from_numpy(np.array(self.values[n.output[1]])).to(torch.int64)), None]
        if t == "ScatterElements":
            d, how = attr(n, "axis", 0) % x.ndim, attr(n, "reduction", b"none")
            i = torch.from_numpy(np.array(self.values[n.input[1]])).to(torch.int64) % x.shape[d]
            x = x.to(F64)
            if how == b"add":
                return [x.scatter_add(d, i, a[2].to(F64))]
            # of several that are put in one place the last one stays there
            last = torch.full(x.shape, -1, dtype=torch.int64).scatter_reduce(d, i, torch.arange(i.shape[d]).reshape([-1 if k == d else 1 for k in range(x.ndim)]).expand(i.shape), "amax")
            if any(i.shape[k] < x.shape[k] for k in range(x.ndim) if k != d):
                raise NotImplementedError("ScatterElements of a part of the other axes")
            return [torch.where(last >= 0, a[2].to(F64).gather(d, last.clip(min=0)), x)]
        if t == "Resize":
            assert x.ndim == 4
            size, how = np.shape(self.values[n.output[0]])[2:], attr(n, "coordinate_transformation_mode", b"half_pixel")
            if attr(n, "mode", b"nearest") == b"nearest":  # whole factors only: every spelling takes the same element
                assert all(a % b == 0 for a, b in zip(size, x.shape[2:]))
                return [torch.nn.functional.interpolate(x, size, mode="nearest")]
            assert attr(n, "mode") == b"linear" and how in (b"half_pixel", b"pytorch_half_pixel", b"align_corners")
            return [torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=how == b"align_corners")]
        if t == "ConvTranspose":
            assert x.ndim == 4
            p = attr(n, "pads", [0] * 4)
            assert p[:2] == p[2:]
            return [torch.nn.functional.conv_transpose2d(x, a[1], a[2] if len(a) > 2 else None, attr(n, "strides", [1, 1]), p[:2], attr(n, "output_padding", [0, 0]), attr(n, "group", 1), attr(n, "dilations", [1, 1]))]
        if t == "PRelu":
            return [torch.where(x < 0, x * a[1], x)]
        if t == "GridSample":
            mode = {b"linear": "bilinear", b"cubic": "bicubic"}.get(attr(n, "mode", b"linear"), attr(n, "mode", b"linear").decode())
            return [torch.nn.functional.grid_sample(a[0], a[1], mode, attr(n, "padding_mode", b"zeros").decode(), bool(attr(n, "align_corners", 0)))]
        if t == "CumSum":
            assert not attr(n, "exclusive", 0) and not attr(n, "reverse", 0)
            return [x.cumsum(int(self.values[n.input[1]]))]
        if t == "Tile":
            return [x.repeat([int(v) for v in self.values[n.input[1]]])]
        if t in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
            d, keep = self.ints(n, 1, "axes") or list(range(x.ndim)), bool(attr(n, "keepdims", 1))
            f = {"ReduceMean": lambda: x.mean(d, keepdim=keep), "ReduceSum": lambda: x.sum(d, keepdim=keep), "ReduceMax": lambda: x.amax(d, keepdim=keep), "ReduceMin": lambda: x.amin(d, keepdim=keep),
                 "ReduceL2": lambda: x.pow(2).sum(d, keepdim=keep).sqrt(), "ReduceSumSquare": lambda: x.pow(2).sum(d, keepdim=keep),
                 "ReduceLogSumExp": lambda: x.logsumexp(d, keepdim=keep)}
            return [f[t]()]
        if t == "GlobalAveragePool":
            return [x.mean(list(range(2, x.ndim)), keepdim=True)]
        if t == "AveragePool" and all(v.shape == () or True for v in a):
            return [torch.nn.functional.avg_pool1d(x, attr(n, "kernel_shape"), attr(n, "strides"))] if x.ndim == 3 else [torch.nn.functional.avg_pool2d(x, attr(n, "kernel_shape"), attr(n, "strides"))]
        if t in ("Conv", "ConvInteger"):
            if t == "ConvInteger":
                a = [self.centred(n, 0, x), self.centred(n, 1, a[1])]
                x = a[0]
            pads, nd = attr(n, "pads", [0] * 2 * (x.ndim - 2)), x.ndim - 2
            y = torch.nn.functional.pad(x, [v for d in range(nd - 1, -1, -1) for v in (pads[d], pads[nd + d])])
            f = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[nd]
            return [f(y, a[1], a[2] if len(a) > 2 else None, attr(n, "strides", [1] * nd), 0, attr(n, "dilations", [1] * nd), attr(n, "group", 1))]
        raise NotImplementedError(t)

    def run(self):
        self.x = {}
        for k in self.active & set(self.feeds):
            self.x[k] = torch.from_numpy(self.feeds[k].astype(np.float64)).requires_grad_()
        for n in self.graph.node:
            if not any(o in self.active for o in n.output):
                continue
            if any(i in self.active for i in n.input):
                out = self.op(n, [self.arg(i) if i else None for i in n.input])
            else:
                out = [self.const_of(n.output[0]).requires_grad_()]
            for o, v in zip(n.output, out):
                if o in self.active:
                    v = v + torch.where(v.float().isfinite(), v.float().to(F64) - v, torch.zeros_like(v)).detach() if self.single else v
                    self.x[o] = v
                    if v.requires_grad and not v.is_leaf:
                        v.retain_grad()
            if self.target in n.output:
                break

    def whole(self, x, zero, theirs):
        """Rounded in float64, or as onnxruntime has it: its float32 may fall otherwise near a tie, and its tables by a step."""
        if theirs.dtype == np.float32:  # float8, whose steps grow with the number
            return torch.from_numpy(theirs.astype(np.float64))
        kind = np.iinfo(theirs.dtype) if theirs.dtype.kind in "iu" else None
        low, high = (kind.min, kind.max) if kind else (theirs.min(), theirs.max())
        y = (torch.round(x) + zero).clip(low, high)
        if self.ties == "exact":
            return y
        theirs = torch.from_numpy(theirs.astype(np.float64))
        return torch.where((y - theirs).abs() <= 2, theirs, y)

    def centred(self, n, k, v):
        """operand k of MatMulInteger or ConvInteger less its zero point"""
        if v.dtype != F64:
            v = v.to(F64)
        if len(n.input) <= 2 + k or not n.input[2 + k]:
            return v
        zero = torch.from_numpy(np.asarray(self.values[n.input[2 + k]]).astype(np.float64))
        return v - (zero.reshape(-1, *[1] * (v.ndim - 1)) if n.op_type == "ConvInteger" and zero.ndim else zero)

    # ---------------------------------------------------------------- relevance
    def in_blocks(self, n, x):
        """MatMulNBits of accuracy_level 4 rounds activations to 127 steps of each block's largest; gradients go straight through."""
        if attr(n, "accuracy_level", 0) != 4:
            return x
        size, k = attr(n, "block_size"), x.shape[-1]
        v = torch.nn.functional.pad(x.detach(), (0, -k % size)).unflatten(-1, (-1, size))
        most = v.abs().amax(-1, keepdim=True)
        steps = torch.where(most > 0, 127 / most, torch.zeros_like(most)).float().double()
        rounded = (v.float() * steps.float()).round().double() * most / 127
        return x + (rounded.flatten(-2)[..., :k] - x.detach())

    def weight_of_blocks(self, n):
        """[K, N] of MatMulNBits"""
        bits, size, k = attr(n, "bits", 4), attr(n, "block_size"), attr(n, "K")
        def spread(packed):  # the lowest bits first
            return (packed[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & (1 << bits) - 1).reshape(*packed.shape[:-1], -1)
        q = spread(np.asarray(self.values[n.input[1]])).astype(np.float64)
        scale = np.asarray(self.values[n.input[2]], np.float64).reshape(q.shape[0], q.shape[1], 1)
        zero = np.float64(1 << bits - 1)
        if len(n.input) > 3 and n.input[3]:
            zero = np.asarray(self.values[n.input[3]])
            if zero.dtype == np.uint8:
                zero = spread(zero.reshape(q.shape[0], -1))[:, :q.shape[1]]
            zero = zero.reshape(scale.shape).astype(np.float64)
        return torch.from_numpy(((q - zero) * scale).reshape(q.shape[0], -1)[:, :k].T.copy())

    def linear(self, x, r, f):
        """x+W+ + x-W- with f(x, sign) the product with the weights' part of that sign"""
        p, m = x.clip(min=0).detach().requires_grad_(), x.clip(max=0).detach().requires_grad_()
        z = f(p, 1) + f(m, -1)
        s = guarded(r, z.detach())
        gp, gm = torch.autograd.grad(z, (p, m), s)
        return x * 0 + p.detach() * gp + m.detach() * gm

    def step(self, n, r):
        """{input: relevance} of node n for the relevance of its outputs"""
        t = n.op_type
        act = [i for i in n.input if i in self.active]
        x = {i: self.x[i].detach() for i in act}
        one = act[0]
        if t in ("MatMul", "Gemm") and len(set(n.input[:2]) & self.active) == 1 and n.input[0] in self.active or t == "MatMul" and len(act) == 1:
            k = 0 if n.input[0] in self.active else 1
            w = self.const_of(n.input[1 - k])
            if t == "Gemm":
                w = w.T if attr(n, "transB", 0) else w
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(x[one], r[0], (lambda v, s: v @ part[s]) if k == 0 else (lambda v, s: part[s] @ v))}
        if t == "MatMulNBits":
            w = self.weight_of_blocks(n)
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(self.in_blocks(n, x[one]), r[0], lambda v, s: v @ part[s])}
        if t == "MatMulInteger":
            a, b = [self.centred(n, k, x[i] if i in x else self.const_of(i)) for k, i in enumerate(n.input[:2])]
            if len(act) == 1:
                part = {1: b.clip(min=0), -1: b.clip(max=0)}
                return {one: self.linear(a, r[0], lambda v, s: v @ part[s])}
            s = guarded(r[0], settled(a @ b, a.abs() @ b.abs()))
            return {n.input[0]: reduce_to(a * (s @ b.transpose(-1, -2)) / 2, a.shape), n.input[1]: reduce_to(b * (a.transpose(-1, -2) @ s) / 2, b.shape)}
        if t == "Einsum" and len(act) == 1:
            k = list(n.input).index(one)
            w = self.const_of(n.input[1 - k])
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(x[one], r[0], lambda v, s: self.op(n, [v, part[s]] if k == 0 else [part[s], v])[0])}
        if t == "Einsum":
            leaves = [x[i].clone().requires_grad_() for i in n.input]
            z = self.op(n, leaves)[0]
            return {i: v.detach() * g / 2 for i, v, g in zip(n.input, leaves, torch.autograd.grad(z, leaves, guarded(r[0], z.detach())))}
        if t == "MatMul":
            a, b = x[n.input[0]], x[n.input[1]]
            s = guarded(r[0], settled(a @ b, a.abs() @ b.abs()))
            return {n.input[0]: reduce_to(a * (s @ b.transpose(-1, -2)) / 2, a.shape), n.input[1]: reduce_to(b * (a.transpose(-1, -2) @ s) / 2, b.shape)} if n.input[0] != n.input[1] else {one: r[0]}
        if t == "Conv":
            w = self.const_of(n.input[1])
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(x[one], r[0], lambda v, s: self.op(n, [v, part[s]])[0])}
        if t == "ConvInteger":  # of whole numbers less their zero points
            v, w = self.centred(n, 0, x[one]), self.centred(n, 1, self.const_of(n.input[1]))
            plain = onnx.helper.make_node("Conv", n.input[:2], n.output)
            plain.attribute.extend(n.attribute)
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(v, r[0], lambda u, s: self.op(plain, [u, part[s]])[0])}
        if t in ("Add", "Sub"):
            if len(act) == 1:
                c = self.const_of([i for i in n.input if i not in self.active][0] if n.input[0] != n.input[1] else n.input[0])
                varies = [d for d in range(c.ndim) if c.shape[d] > 1 and not alike(c, c.narrow(d, 0, 1).expand_as(c))]
                if varies in ([], [c.ndim - 1]) or self.is_of_features(c, one):
                    return {one: reduce_to(r[0], x[one].shape)}
            a, b = [x[i] if i in x else self.const_of(i) for i in n.input]
            if t == "Sub":
                b = -b
            s = guarded(r[0], settled(a + b, a.abs() + b.abs()))
            both = []
            for v in (a, b):
                share = v * s
                share = torch.where(torch.isfinite(v.expand_as(s)), share, torch.zeros_like(share))
                both.append(share)
            sums = [v.sum() for v in both]
            total = r[0].sum()
            for k in (0, 1):
                target = guarded(sums[k].abs(), sums[0].abs() + sums[1].abs()) * total
                both[k] = both[k] * guarded(target, sums[k])
            out = {}
            for i, v in zip(n.input, both):
                if i in self.active:
                    out[i] = out.get(i, 0) + reduce_to(v, x[i].shape)
            return out
        if t == "Mul" and len(act) == 2:
            return {i: sum(reduce_to(r[0] / 2, x[i].shape) for j in act if j == i) for i in set(act)}
        if t == "Div" and len(act) == 2 and x[n.input[1]].shape == r[0].shape and self.producer[n.input[1]].op_type != "Expand":  # no norm: the general rule
            leaves = {i: x[i].clone().requires_grad_() for i in act}
            y = self.op(n, [leaves[i] for i in n.input])[0]
            return {i: x[i] * g for i, g in zip(leaves, torch.autograd.grad(y, list(leaves.values()), guarded(r[0], y.detach())))}
        if t == "Div" and len(act) == 2:
            return {n.input[0]: r[0]} if x[n.input[0]].shape == r[0].shape else {n.input[0]: reduce_to(r[0], x[n.input[0]].shape)}
        if t in ("Mul", "Div"):
            c = self.const_of([i for i in n.input if i not in self.active][0])
            return {one: reduce_to(torch.where(c == 0, torch.zeros_like(r[0]), r[0]) if t == "Mul" else r[0], x[one].shape)}
        if t in ("ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool") and t != "AveragePool":
            v = x[one]
            d = list(range(2, v.ndim)) if t == "GlobalAveragePool" else self.ints(n, 1, "axes") or list(range(v.ndim))
            p = (v * v.sum(d, keepdim=True).sign()).clip(min=0)
            z = p.sum(d, keepdim=True)
            return {one: p * guarded(r[0].reshape(z.shape), z)}
        if t == "AveragePool":  # the same in each window
            above = self.op(n, [x[one]])[0] > 0
            total = 0
            for part, mine in ((x[one].clip(min=0), above), ((-x[one]).clip(min=0), ~above)):
                leaf = part.clone().requires_grad_()
                z = self.op(n, [leaf])[0]
                total = total + part * torch.autograd.grad(z, leaf, torch.where(mine, guarded(r[0], z.detach()), torch.zeros_like(z)))[0]
            return {one: total}
        if t in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Concat", "Split", "Slice", "Gather", "GatherND", "GatherElements", "Where", "Identity", "ReduceMax", "ReduceMin", "MaxPool", "Pad", "ScatterND", "ScatterElements", "TopK", "Tile"):
            leaves = {i: x[i].clone().requires_grad_() for i in act}
            outs = self.op(n, [leaves[i] if i in leaves else self.const_of(i) if i else None for i in n.input])
            total = sum((o * q).sum() for o, q in zip(outs, r) if q is not None and o is not None)
            return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()))))
        if t in ("Resize", "GridSample", "ConvTranspose", "CumSum", "ReduceLogSumExp"):  # the general rule
            leaves = {i: x[i].clone().requires_grad_() for i in act}
            y = self.op(n, [leaves[i] if i in leaves else self.const_of(i) if i else None for i in n.input])[0]
            return {i: x[i] * g for i, g in zip(leaves, torch.autograd.grad(y, list(leaves.values()), guarded(r[0], y.detach())))}
        if x[one].shape == r[0].shape:
            return {one: r[0]}
        raise NotImplementedError("relevance of " + t)

    def features(self, name, depth=0):
        """Numbers in the shape of x[name]: the element of the constant operand's own axes that stands there; None if no product
        with a constant made x and was only moved and shifted since, read nowhere else."""
        n = self.producer.get(name)
        act = [i for i in n.input if i in self.active] if n else []
        if len(act) != 1 or depth > 12 or len(self.uses.get(name, [])) > 1:
            return None
        shape = self.x[name].shape
        if n.op_type in ("MatMul", "Gemm"):
            k = 1 - list(n.input).index(act[0])
            w = self.const_of(n.input[k])
            own = [len(shape) - (1 if k else 2)] + [len(shape) - w.ndim + d for d in range(w.ndim - 2) if w.shape[d] > 1]
        elif n.op_type in ("Conv", "ConvTranspose"):
            own = [1]
        elif n.op_type == "Einsum":
            terms, out = attr(n, "equation").decode().replace(" ", "").split("->")
            own = [d for d, letter in enumerate(out) if letter in terms.split(",")[1 - list(n.input).index(act[0])]]
        elif n.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Flatten", "Cast"):
            moved = self.features(act[0], depth + 1)
            return None if moved is None else self.op(n, [moved, *[self.const_of(i) for i in n.input[1:]]])[list(n.output).index(name)]
        elif n.op_type == "Add" and self.x[act[0]].shape == shape:
            return self.features(act[0], depth + 1)
        else:
            return None
        numbers = torch.zeros(shape, dtype=F64)
        for d in own:
            numbers = numbers * shape[d] + torch.arange(shape[d], dtype=F64).view([-1 if k == d else 1 for k in range(len(shape))])
        return numbers

    def is_of_features(self, c, name):
        """Has a constant one value for each feature?"""
        numbers = self.features(name)
        if numbers is None or c.ndim > numbers.ndim or torch.broadcast_shapes(c.shape, numbers.shape) != numbers.shape:
            return False
        values = {}
        return all(values.setdefault(int(k), float(v)) == float(v) for k, v in zip(numbers.flatten(), c.expand(numbers.shape).flatten()))

    def explain(self, heads=-3):
        """[(product, E_b)], windows summed; `windows` keeps them apart. heads: their axis where an attention has five"""
        y = self.x[self.target][tuple(self.index)]
        y.backward()
        rel = {self.target: torch.zeros_like(self.x[self.target])}
        rel[self.target][tuple(self.index)] = 1
        rel = {k: v.detach() for k, v in rel.items()}
        for n in reversed(self.graph.node):
            r = [rel.get(o) for o in n.output]
            if all(v is None for v in r) or not any(i in self.active for i in n.input):
                continue
            y = next((o for o in n.output if o in self.region_entry), None)
            if y:
                self.send(rel, {self.region_entry[y]: rel[y]})
            elif not any(o in self.inside for o in n.output):
                self.send(rel, self.step(n, [v for v in r]))
        self.rel = rel
        blocks, self.windows = [], []
        for n in self.graph.node:
            if n.op_type in ("MatMul", "Einsum", "MatMulInteger") and all(i in self.active for i in n.input[:2]) and n.output[0] in self.x:
                for k, i in enumerate(n.input[:2]):
                    p = self.x[i]
                    if self.from_softmax(i) and p.grad is not None and i in rel:
                        e = (p.grad * rel[i]).clip(min=0)
                        if n.op_type == "MatMulInteger":  # p in steps of its scale
                            e = e / float(self.values[self.quantiser(i).output[1]])
                        e = e.mT if k == 1 and n.op_type == "MatMul" else e  # Vᵀ·Pᵀ
                        e = e.mean(heads if e.ndim > 4 else -3) if e.ndim > 2 else e
                        self.windows.append(e.reshape(-1, *e.shape[-2:]).numpy())
                        blocks.append((n.output[0], self.windows[-1].sum(0)))
        return blocks

    def tokens_of(self, product):
        """{value: which of the product's queries stands at each element}, of what holds them apart"""
        n = self.producer[product]
        if n.op_type not in ("MatMul", "MatMulInteger"):
            raise NotImplementedError("queries of " + n.op_type)
        axis = 1 if self.from_softmax(n.input[0]) else 2
        shape = self.x[product].shape
        at = {product: torch.arange(shape[-3 + axis], dtype=F64).view(*[1] * (len(shape) - 3 + axis), -1, *[1] * (2 - axis)).expand(shape)}
        for n in self.graph.node[self.order[product] + 1:]:
            known, y = [i for i in n.input if i in at], n.output[0]
            if not known or y not in self.x:
                continue
            shape = self.x[y].shape
            if n.op_type in MOVES:
                if all(i in at for i in n.input if i in self.active):
                    given = [at[i] if i in at else self.const_of(i) if i else None for i in n.input]
                    at.update((o, v) for o, v in zip(n.output, self.op(n, given)) if o in self.x)
                continue
            if n.op_type in ("MatMul", "MatMulInteger", "Gemm"):  # what it sums over is gone
                ends = [at[i].narrow(d, 0, 1) for i, d in zip(n.input[:2], (-1, -2)) if i in at and bool((at[i] == at[i].narrow(d, 0, 1)).all())][:1]
            elif n.op_type.startswith("Reduce"):
                d = self.ints(n, 1, "axes") or list(range(at[known[0]].ndim))
                v = at[known[0]].amax(d, keepdim=bool(attr(n, "keepdims", 1)))
                ends = [v] if bool((v == at[known[0]].amin(d, keepdim=bool(attr(n, "keepdims", 1)))).all()) else []
            elif n.op_type in ("Conv", "ConvTranspose", "Einsum", "MaxPool", "AveragePool", "GlobalAveragePool"):
                ends = []
            else:
                ends = [at[i] for i in known]
            try:
                ends = [v.expand(shape) for v in ends]
            except RuntimeError:
                continue
            if ends and all(bool((v == ends[0]).all()) for v in ends):
                at[y] = ends[0]
        return at

    def readout(self, product, n, shared=False):
        """w at the value nearest the target that every path from `product` passes and that has n tokens; `shared`: others have as
        many"""
        at = self.tokens_of(product) if shared else None
        onward, behind = {product}, {self.target}
        for node in self.graph.node:
            if any(i in onward for i in node.input):
                onward |= {o for o in node.output if o in self.active}
        for node in reversed(self.graph.node):
            if any(o in behind for o in node.output):
                behind |= {i for i in node.input if i in self.active}
        def holds(v):  # an axis of n, or a grid of as many
            shape = self.x[v].shape
            if shared:
                return v in at and at[v].unique().numel() == n
            return n in shape or (len(shape) == 4 and shape[2] * shape[3] == n)
        paths = sorted(onward & behind, key=lambda v: self.order[v])
        reach, best = self.order[product], None  # how far the values seen so far are read
        tokens = {product}  # features may be as many as tokens are: what was made of tokens alone has them
        for v in paths:
            node = self.producer[v]
            if any(i in tokens for i in node.input) and (holds(v) or node.op_type in ("Reshape", "Transpose", "Flatten", "InstanceNormalization")):
                tokens.add(v)
            if reach <= self.order[v] and v in tokens and holds(v) and v in self.rel and v not in self.inside:
                best = v
            readers = [self.order[o] for u in self.uses.get(v, []) for o in u.output if o in behind and o in onward]
            reach = max([reach, *readers])
        r, grad = self.rel[best], self.x[best].grad
        if shared:  # its elements by token
            r, grad = [torch.stack([v[at[best] == k] for k in range(n)]) for v in (r, grad)]
        elif n not in r.shape:
            r, grad = r.flatten(2), grad.flatten(2)
        axis = 0 if shared else list(r.shape).index(n)
        others = [d for d in range(r.ndim) if d != axis]
        w = r.sum(others).clip(min=0)
        if w.sum() <= 0:
            w = (grad.abs().sum(others) > 0).to(F64)
        return best, (w / w.sum()).numpy()

    def quantiser(self, name):
        n = self.producer[name]
        return n if n.op_type == "DynamicQuantizeLinear" else self.quantiser(n.input[0])

    def from_softmax(self, name, depth=0):
        n = self.producer.get(name)
        if n is None or depth > 24:
            return False
        if name in self.region_entry and n.op_type == "Div":  # written out
            top = self.producer.get(n.input[0])
            return top is not None and top.op_type == "Exp"
        if n.op_type in ("MatMul", "Add") and len(set(n.input) & self.active) == 1:  # heads are mixed
            return any(self.from_softmax(i, depth + 1) for i in n.input if i in self.active)
        signs = [i for i in n.input if n.op_type == "Mul" and i in self.producer and self.producer[i].op_type == "Sign"]
        if len(signs) == 1:  # of the scores
            return any(self.from_softmax(i, depth + 1) for i in n.input if i not in signs)
        if n.op_type in ("Add", "Sub", "Mul"):  # with another's
            return all(self.from_softmax(i, depth + 1) for i in n.input if i in self.active) and bool(set(n.input) & self.active)
        return n.op_type == "Softmax" or (n.op_type in ("Reshape", "Cast", "CastLike", "Where", "Identity", "Dropout", "Transpose", "Slice", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear") and any(self.from_softmax(i, depth + 1) for i in n.input if i in self.active))

    def send(self, rel, shares):
        for k, v in shares.items():
            v = rel[k] + v if k in rel else v
            rel[k] = v.float().to(F64) if self.single else v


def reduce_to(v, shape):
    while v.ndim > len(shape):
        v = v.sum(0)
    for d, s in enumerate(shape):
        if s == 1 and v.shape[d] != 1:
            v = v.sum(d, keepdim=True)
    return v.reshape(shape)


def rollout(w, blocks, normalized):
    for e in reversed(blocks):
        a = np.eye(len(e)) + e
        w = w @ (a / a.sum(1, keepdims=True) if normalized else a)
    return w


def relative(got, want, skip=None):
    """largest deviation relative to the largest magnitude among the tokens that are not read out"""
    others = np.ones(want.shape, bool) if skip is None else skip <= 0.5
    return np.abs(got - want)[others].max() / max(np.abs(want[others]).max(), 1e-30)


def run(tool, model, feeds, target, output, rollout):
    """({input: [block]}, {input: tokens}, {input: readout}, {output: values}) or a message"""
    with tempfile.TemporaryDirectory() as tmp:
        r = subprocess.run([tool, model, *feeds, "--target", target, "--output", output, "--rollout", rollout, "--npy", tmp], capture_output=True, text=True)
        if r.returncode:
            return r.stderr.strip()
        found = {"block": {}, "tokens": {}, "readout": {}, "output": {}}
        for p in glob.glob(tmp + "/*.npy"):
            kind, name = os.path.basename(p)[:-4].split(".", 1)
            if kind in ("tokens", "readout", "output"):
                found[kind][name] = np.load(p).astype(np.float64)
            elif kind == "block":
                k, name = name.split(".", 1)
                found[kind].setdefault(name, {})[int(k)] = np.load(p)
    return found["block"], found["tokens"], found["readout"], found["output"]


def roundings(model):
    """(rounded to float32, which integers): the ways in which a file may be computed, the plainest one first. onnxruntime's optimiser
    changes which integers some files hold, and float32 falls otherwise where sums are near a tie; rounding every value to float32
    tells what float32 can hold. Last, some ties fall as in float64."""
    rounds = any(n.op_type in ("QuantizeLinear", *INTEGERS) for n in onnx.load(model).graph.node)
    return [(s, t) for s in (False, True) for t in (("optimised", "plain", "exact") if rounds else ("exact",))] + [(False, k) for k in (1, 2, 3) if rounds]


def compare(tool, model, feeds, target, output=None):
    """[(tower, deviation of the blocks, of the readout, of the tokens raw, normalized, of the scores, what was done to compare, if
    anything)] or a message"""
    arrays = {k: np.load(v) for k, v in feeds.items()}
    names = {i.name for i in onnx.load(model).graph.input}
    words = [f"{k}={v}" for k, v in feeds.items() if k in names]
    out = output or onnx.load(model).graph.output[0].name
    raw = run(tool, model, words, target, out, "raw")
    normalized = run(tool, model, words, target, out, "normalized")
    if isinstance(raw, str):
        return raw
    index = [int(i) for i in target.split(",")]
    if all(len(v) > index[0] > 0 for v in arrays.values()):  # a batch gives what its samples give one by one
        arrays, index = {k: v[index[0]:index[0] + 1] for k, v in arrays.items()}, [0, *index[1:]]
    scores, best = raw[3].get(out.replace("/", "_")), None
    for single, ties in roundings(model):
        try:
            ref = Reference(model, arrays, out, index, ties, single)
            found = deviations(ref, raw, normalized)
        except (NotImplementedError, KeyError, RuntimeError):
            if ties in ("plain", "exact"):
                raise
            continue  # operators that only the optimiser writes
        result = [(*r, ref.off(out, scores), *(["with every value rounded to float32"] if single else [f"with {ref.flipped} near ties rounded its own way"] if ref.flipped else [])) if len(r) > 2 else r for r in found]
        worst = max([v for r in result if len(r) > 2 for v in r[1:6] if v == v], default=0.0)
        if best is None or worst < best[0]:
            best = worst, result
        if worst <= 1e-3 or any(len(r) == 2 for r in result):
            break
    return best[1]


def deviations(ref, raw, normalized):
    """[(tower, deviation of the blocks, of the readout, of the tokens raw, normalized)] of run()'s results"""
    blocks = ref.explain()
    result, last = [], {}
    for tower in raw[0].values():
        n = tower[0].shape[-1]
        ends = [o for o, b in blocks if b.shape == (n, n) and any(relative(e, b) < 1e-2 for e in tower.values())]
        last[n] = max([*ends, *([last[n]] if last.get(n) else [])], key=lambda o: ref.order[o], default=None)
    for name, found in raw[0].items():
        n = found[0].shape[-1]
        same = [(o, b) for o, b in blocks if b.shape == (n, n)]
        if len(same) > len(found):  # other towers of as many tokens, and those that read them: which are these?
            nearest = [min(range(len(same)), key=lambda i: relative(found[k], same[i][1])) for k in sorted(found)]
            same = [same[i] for i in nearest] if nearest == sorted(set(nearest)) else same
        if len(same) != len(found):
            result.append((name, f"{len(found)} blocks instead of {len(same)}"))
            continue
        shared = same[-1][0] != last[n] and len([m for m in raw[0].values() if m[0].shape[-1] == n]) > 1
        value, w = ref.readout(same[-1][0], n, shared)  # an encoder's may be as many as those of the decoder that reads it
        chain = [b for _, b in same]
        if raw[2][name].shape != w.shape:
            result.append((name, f"readout of {raw[2][name].size} tokens instead of {w.size} at {value}"))
            continue
        result.append((name, max(relative(found[k], b) for k, b in enumerate(chain)), np.abs(raw[2][name] - w).max(),
                       relative(raw[1][name], rollout(w, chain, False), w),
                       float("nan") if isinstance(normalized, str) else relative(normalized[1][name], rollout(w, chain, True), w)))
    for name in raw[1].keys() - raw[0].keys():
        result.append((name, "tokens move or merge: not in this reference"))
    return result


def show(result):
    if isinstance(result, str):
        return result
    return "; ".join(f"{r[0]}: {r[1]}" if len(r) == 2 else "{}: blocks {:.0e} readout {:.0e} raw {:.0e} normalized {:.0e}".format(*r) + "".join(f" ({w})" for w in r[6:]) for r in result) or "no tower"


def main():
    args = sys.argv[1:]
    if os.path.isdir(args[1]):  # families of make_families.py
        for path in sorted(glob.glob(args[1] + "/*/family.json")):
            family = json.load(open(path))
            folder, variant = os.path.dirname(path), args[2]
            if (args[3:] and family["family"] not in args[3:]) or family["notes"].get(variant) != "ok" or not family["explain"]:
                continue
            feeds = {k: f"{folder}/input.{k}.npy" for k in family["inputs"]}
            rank = np.load(f"{folder}/{variant}.npz")[family["output"]].ndim
            target = family["target"] or ",".join(["0"] * (rank - 1) + ["1"])
            try:
                print(family["family"], show(compare(args[0], f"{folder}/{variant}.onnx", feeds, target, family["output"])), flush=True)
            except Exception as e:  # what this reference does not know
                print(family["family"], type(e).__name__, str(e)[:200], flush=True)
        return
    opts = {k: args[args.index(k) + 1] for k in ("--target", "--output") if k in args}
    feeds = dict(a.split("=", 1) for a in args[2:] if "=" in a)
    print(show(compare(args[0], args[1], feeds, opts["--target"], opts.get("--output"))))


if __name__ == "__main__":
    main()
