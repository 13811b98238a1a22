#!/usr/bin/env python3
"""An independent float64 computation of every attention's E_b from an ONNX file, by the definition in docs/method.md, with
torch's autograd for gradients. It shares no code with the program.

    reference.py TIBA_ONNX MODEL INPUT=FILE.npy ... --target I,J [--output NAME]

prints the largest deviation of the program's blocks and of its rollout. Made for files of torch's exporters: it knows the
operators that those write and takes everything that does not depend on an activation from onnxruntime.
"""
import glob, os, subprocess, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper

ort.set_default_logger_severity(4)
F64 = torch.float64
EPS = 1e-9


def guarded(a, b):
    shifted = b + EPS
    q = a / torch.where(shifted == 0, torch.full_like(shifted, EPS), shifted)
    return torch.where(b == 0, torch.zeros_like(q), q)


def attr(node, name, default=None):
    for a in node.attribute:
        if a.name == name:
            return onnx.helper.get_attribute_value(a)
    return default


class Reference:
    def __init__(self, path, feeds, output, index):
        self.model = onnx.shape_inference.infer_shapes(onnx.load(path))
        g = self.graph = self.model.graph
        self.opset = max(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        self.const = {i.name: numpy_helper.to_array(i) for i in g.initializer}
        self.feeds = feeds
        self.values = self.all_values(path)
        self.active = set()
        for k, v in feeds.items():
            if v.dtype == np.float32 and v.ndim >= 2:
                self.active.add(k)
        ids = {k for k, v in feeds.items() if v.dtype != np.float32}
        for n in g.node:
            lookup = n.op_type == "Gather" and n.input[0] in self.const and self.derives(n.input[1], ids) and \
                np.asarray(self.values[n.output[0]]).dtype == np.float32 and self.const[n.input[0]].ndim == 2
            if lookup or any(i in self.active for i in n.input):
                for o in n.output:
                    if o and np.asarray(self.values[o]).dtype == np.float32:
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

    def derives(self, name, ids, depth=0):
        if name in ids:
            return True
        n = next((n for n in self.graph.node if name in n.output), None)
        return bool(n) and depth < 4 and n.op_type in ("Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity") and self.derives(n.input[0], ids, depth + 1)

    def all_values(self, path):
        m = onnx.load(path)
        have = {o.name for o in m.graph.output}
        for n in m.graph.node:
            for o in n.output:
                if o and o not in have:
                    m.graph.output.append(onnx.ValueInfoProto(name=o))
        o = ort.SessionOptions()
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        s = ort.InferenceSession(m.SerializeToString(), o, providers=["CPUExecutionProvider"])
        names = [x.name for x in s.get_outputs()]
        values = dict(zip(names, s.run(None, {k: v for k, v in self.feeds.items() if k in {i.name for i in s.get_inputs()}})))
        values.update(self.feeds)
        values.update(self.const)
        return values

    def logit(self, output):
        n = self.producer.get(output)
        return n.input[0] if n is not None and n.op_type in ("Softmax", "Sigmoid", "LogSoftmax") else output

    # ---------------------------------------------------------------- regions: element-wise functions and norms written out
    ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Tanh", "Erf", "Sigmoid", "Exp", "Neg", "Abs", "Cast", "Clip", "Max", "Min",
                   "ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "Softplus", "Relu", "HardSigmoid", "Expand", "Elu", "Log", "Identity", "Greater"}

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
                if n is None or n.op_type not in self.ELEMENTWISE:
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
            if found and sum(len([i for i in self.producer[m].input if i in self.active]) > 1 for m in found[1]) > 0:
                self.region_entry[y] = found[0]
                self.inside |= found[1] - {y}

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
                  "Neg": lambda: -x, "Abs": lambda: x.abs(), "Relu": lambda: x.relu(), "Identity": lambda: x, "Cast": lambda: x, "MatMul": lambda: a[0] @ a[1],
                  "Softplus": lambda: torch.nn.functional.softplus(x), "Log": lambda: x.log(), "Elu": lambda: torch.nn.functional.elu(x),
                  "Where": lambda: torch.where(a[0].bool(), a[1], a[2]), "Cos": lambda: x.cos(), "Sin": lambda: x.sin(), "Mish": lambda: torch.nn.functional.mish(x),
                  "HardSwish": lambda: torch.nn.functional.hardswish(x), "Max": lambda: torch.maximum(a[0], a[1]), "Min": lambda: torch.minimum(a[0], a[1]),
                  "HardSigmoid": lambda: (x * attr(n, "alpha", 0.2) + attr(n, "beta", 0.5)).clip(0, 1)}
        if t in simple:
            return [simple[t]()]
        if t == "Clip":
            lo = float(self.values[n.input[1]]) if len(n.input) > 1 and n.input[1] else None
            hi = float(self.values[n.input[2]]) if len(n.input) > 2 and n.input[2] else None
            return [x.clip(lo, hi)]
        if t == "Gemm":
            p = a[0].T if attr(n, "transA", 0) else a[0]
            q = a[1].T if attr(n, "transB", 0) else a[1]
            y = attr(n, "alpha", 1.0) * (p @ q)
            return [y + attr(n, "beta", 1.0) * a[2] if len(a) > 2 and a[2] is not None else y]
        if t in ("Softmax", "LogSoftmax"):
            return [torch.softmax(x, attr(n, "axis", -1 if self.opset >= 13 else 1))]
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
        if t in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare"):
            d, keep = self.ints(n, 1, "axes") or list(range(x.ndim)), bool(attr(n, "keepdims", 1))
            f = {"ReduceMean": lambda: x.mean(d, keepdim=keep), "ReduceSum": lambda: x.sum(d, keepdim=keep), "ReduceMax": lambda: x.amax(d, keepdim=keep),
                 "ReduceL2": lambda: x.pow(2).sum(d, keepdim=keep).sqrt(), "ReduceSumSquare": lambda: x.pow(2).sum(d, keepdim=keep)}
            return [f[t]()]
        if t == "GlobalAveragePool":
            return [x.mean(list(range(2, x.ndim)), keepdim=True)]
        if t == "AveragePool" and all(v.shape == () or True for v in a):
            return [torch.nn.functional.avg_pool1d(x, attr(n, "kernel_shape"), attr(n, "strides"))] if x.ndim == 3 else [torch.nn.functional.avg_pool2d(x, attr(n, "kernel_shape"), attr(n, "strides"))]
        if t == "Conv":
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
                    self.x[o] = v
                    if v.requires_grad and not v.is_leaf:
                        v.retain_grad()
            if self.target in n.output:
                break

    # ---------------------------------------------------------------- relevance
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
        if t == "MatMul":
            a, b = x[n.input[0]], x[n.input[1]]
            s = guarded(r[0], a @ b)
            return {n.input[0]: reduce_to(a * (s @ b.transpose(-1, -2)) / 2, a.shape), n.input[1]: reduce_to(b * (a.transpose(-1, -2) @ s) / 2, b.shape)} if n.input[0] != n.input[1] else {one: r[0]}
        if t == "Conv":
            w = self.const_of(n.input[1])
            part = {1: w.clip(min=0), -1: w.clip(max=0)}
            return {one: self.linear(x[one], r[0], lambda v, s: self.op(n, [v, part[s]])[0])}
        if t in ("Add", "Sub"):
            if len(act) == 1:
                c = self.const_of([i for i in n.input if i not in self.active][0] if n.input[0] != n.input[1] else n.input[0])
                varies = [d for d in range(c.ndim) if c.shape[d] > 1 and not torch.equal(c, c.narrow(d, 0, 1).expand_as(c))]
                if not varies or (len(varies) == 1 and varies[0] == c.ndim - 1):
                    return {one: reduce_to(r[0], x[one].shape)}
            a, b = [x[i] if i in x else self.const_of(i) for i in n.input]
            if t == "Sub":
                b = -b
            s = guarded(r[0], a + b)
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
        if t in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Concat", "Split", "Slice", "Gather", "GatherND", "GatherElements", "Where", "Identity", "ReduceMax"):
            leaves = {i: x[i].clone().requires_grad_() for i in act}
            outs = self.op(n, [leaves[i] if i in leaves else self.const_of(i) for i in n.input])
            total = sum((o * q).sum() for o, q in zip(outs, r) if q is not None)
            return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()))))
        if x[one].shape == r[0].shape:
            return {one: r[0]}
        raise NotImplementedError("relevance of " + t)

    def explain(self):
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
        blocks = []
        for n in self.graph.node:
            if n.op_type == "MatMul" and all(i in self.active for i in n.input) and n.output[0] in self.x:
                for i in n.input:
                    p = self.x[i]
                    if self.from_softmax(i) and p.grad is not None and i in rel:
                        e = (p.grad * rel[i]).clip(min=0)
                        blocks.append(e.reshape(-1, *e.shape[-2:]).mean(0).numpy())
        return blocks

    def from_softmax(self, name, depth=0):
        n = self.producer.get(name)
        if n is None or depth > 6:
            return False
        e = self.region_entry.get(name)
        return n.op_type == "Softmax" or (n.op_type in ("Cast", "Where", "Identity", "Dropout", "Transpose") and any(self.from_softmax(i, depth + 1) for i in n.input if i in self.active))

    @staticmethod
    def send(rel, shares):
        for k, v in shares.items():
            rel[k] = rel[k] + v if k in rel else v


def reduce_to(v, shape):
    while v.ndim > len(shape):
        v = v.sum(0)
    for d, s in enumerate(shape):
        if s == 1 and v.shape[d] != 1:
            v = v.sum(d, keepdim=True)
    return v.reshape(shape)


def compare(tool, model, feeds, target, output=None):
    """(largest relative deviation of the blocks, of the tokens) or a message"""
    arrays = {k: np.load(v) for k, v in feeds.items()}
    out = output or onnx.load(model).graph.output[0].name
    ref = Reference(model, arrays, out, [int(i) for i in target.split(",")])
    blocks = ref.explain()
    tmp = tempfile.mkdtemp()
    names = {i.name for i in ref.graph.input}
    r = subprocess.run([tool, model, *[f"{k}={v}" for k, v in feeds.items() if k in names], "--target", target, "--output", out, "--npy", tmp], capture_output=True, text=True)
    if r.returncode:
        return r.stderr.strip()
    mine = {}
    for p in glob.glob(tmp + "/block.*.npy"):
        _, k, name = os.path.basename(p)[:-4].split(".", 2)
        mine.setdefault(name, {})[int(k)] = np.load(p)
    result = []
    for name, found in mine.items():
        n = found[0].shape[-1]
        same = [b for b in blocks if b.shape == (n, n)]
        if len(same) != len(found):
            result.append(f"{name}: {len(found)} blocks instead of {len(same)}")
            continue
        errors = [np.abs(found[k] - b).max() / max(np.abs(b).max(), 1e-30) for k, b in enumerate(same)]
        result.append(f"{name}: blocks " + " ".join(f"{e:.0e}" for e in errors))
    return "; ".join(result) or "no blocks"


if __name__ == "__main__":
    args = sys.argv[1:]
    opts = {k: args[args.index(k) + 1] for k in ("--target", "--output") if k in args}
    feeds = dict(a.split("=", 1) for a in args[2:] if "=" in a)
    print(compare(args[0], args[1], feeds, opts["--target"], opts.get("--output")))
