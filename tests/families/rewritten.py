"""An ONNX file before reference.py computes it: half precision widened, fused operators and those of integers spelled out, nodes in
order, and a graph of integers as onnxruntime's optimiser leaves it."""
import tempfile
import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper


def attr(node, name, default=None):
    for a in node.attribute:
        if a.name == name:
            return onnx.helper.get_attribute_value(a)
    return default


GELU = np.array([2 ** 0.5, 0.5 ** 0.5, (2 / np.pi) ** 0.5, 0.044715], np.float32)


def widened(model):
    """The same numbers in float32: half precision is what rounded them, computing in it is not part of the file's meaning.
    The constants of GELU mean that function however they are rounded, as in the program."""
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT

    def wide(t):
        if t.data_type == half:
            v = numpy_helper.to_array(t).astype(np.float32)
            known = GELU[GELU.astype(np.float16) == v] if v.size == 1 else []
            v = np.full_like(v, known[0]) if len(known) else v
            t.CopyFrom(numpy_helper.from_array(v, t.name))

    def visit(g):
        for t in g.initializer:
            wide(t)
        for v in [*g.input, *g.output]:
            if v.type.tensor_type.elem_type == half:
                v.type.tensor_type.elem_type = single
        del g.value_info[:]
        for n in g.node:
            for a in n.attribute:
                if n.op_type == "Cast" and a.name == "to" and a.i == half:
                    a.i = single
                if a.type == onnx.AttributeProto.TENSOR:
                    wide(a.t)
                elif a.type == onnx.AttributeProto.GRAPH:
                    visit(a.g)
    visit(model.graph)
    return model


def attention_spelled_out(model):
    """Attention of opset 23 in its plain form: [batch, heads, tokens, features], at most a mask added."""
    nodes, make = [], onnx.helper.make_node
    for k, n in enumerate(model.graph.node):
        if n.op_type != "Attention" or n.domain not in ("", "ai.onnx"):
            nodes.append(n)
            continue
        if attr(n, "is_causal", 0) or attr(n, "softcap", 0.0) or attr(n, "q_num_heads") or len(n.input) > 4 or not attr(n, "scale"):
            raise NotImplementedError("Attention of another form")
        name = [f"attention.{k}.{i}" for i in range(5)]
        model.graph.initializer.append(numpy_helper.from_array(np.array(attr(n, "scale"), np.float32), name[0]))
        nodes += [make("Mul", [n.input[0], name[0]], [name[1]]), make("Transpose", [n.input[1]], [name[2]], perm=[0, 1, 3, 2]),
                  make("MatMul", [name[1], name[2]], [name[3]])]
        if len(n.input) > 3 and n.input[3]:
            nodes.append(make("Add", [name[3], n.input[3]], [name[3] + "m"]))
        nodes += [make("Softmax", [nodes[-1].output[0]], [name[4]], axis=-1), make("MatMul", [name[4], n.input[2]], [n.output[0]])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def branches_chosen(model, feeds):
    """Every If as the branch that these inputs take."""
    g = model.graph
    while any(n.op_type == "If" for n in g.node):
        k, node = next((k, n) for k, n in enumerate(g.node) if n.op_type == "If")
        probe = onnx.ModelProto.FromString(model.SerializeToString())
        del probe.graph.output[:]
        probe.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.BOOL, None))
        session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
        needed = {i.name for i in session.get_inputs()}
        taken, = session.run(None, {n: v for n, v in feeds.items() if n in needed})
        branch = attr(node, "then_branch" if taken.item() else "else_branch")
        ends = [onnx.helper.make_node("Identity", [inner.name], [outer]) for inner, outer in zip(branch.output, node.output)]
        nodes = [*g.node[:k], *branch.node, *ends, *g.node[k + 1:]]
        g.initializer.extend(branch.initializer)
        del g.node[:]
        g.node.extend(nodes)
    return model


def sums_spelled_out(model):
    """SkipLayerNormalization and BiasGelu as the sums and functions that they are, FusedMatMul and FusedGemm as the products"""
    nodes, make = [], onnx.helper.make_node
    for k, n in enumerate(model.graph.node):
        if n.op_type == "FusedMatMul" and not any(attr(n, a, 0) for a in ("transA", "transBatchA", "transBatchB")):
            last = "T" if attr(n, "transB", 0) else "B"
            model.graph.initializer.append(numpy_helper.from_array(np.array(attr(n, "alpha", 1.0), np.float32), f"alpha.{k}"))
            nodes += [make("Einsum", n.input, [f"product.{k}"], equation="...ik,...jk->...ij")] if last == "T" else [make("MatMul", n.input, [f"product.{k}"])]
            nodes.append(make("Mul", [f"product.{k}", f"alpha.{k}"], n.output))
            continue
        if n.op_type == "FusedGemm" and attr(n, "activation") in (b"Tanh", b"Relu"):
            nodes += [make("Gemm", n.input, [f"product.{k}"], **{a.name: attr(n, a.name) for a in n.attribute if a.name in ("alpha", "beta", "transA", "transB")}),
                      make(attr(n, "activation").decode(), [f"product.{k}"], n.output)]
            continue
        if n.op_type not in ("SkipLayerNormalization", "BiasGelu"):
            nodes.append(n)
            continue
        skip = n.op_type == "SkipLayerNormalization"
        total = n.output[3] if len(n.output) > 3 and n.output[3] else f"sum.{k}"
        bias = n.input[4] if len(n.input) > 4 else ""
        nodes += [make("Add", [n.input[0], bias], [f"biased.{k}"])] if bias else []
        nodes.append(make("Add", [f"biased.{k}" if bias else n.input[0], n.input[1]], [total]))
        nodes.append(make("LayerNormalization", [total, *n.input[2:4]], n.output[:1], epsilon=attr(n, "epsilon", 1e-12)) if skip else make("Gelu", [total], n.output, domain="com.microsoft"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def weighed_as_products(model):
    """Values that a softmax over tokens weighs and ReduceSum adds up (Mul, ReduceSum) as MatMul: the definition's P V in whatever spelling"""
    g, make = model.graph, onnx.helper.make_node
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    const = {i.name: numpy_helper.to_array(i) for i in g.initializer}
    const |= {n.output[0]: numpy_helper.to_array(attr(n, "value")) for n in g.node if n.op_type == "Constant" and attr(n, "value") is not None}
    producer = {o: n for n in g.node for o in n.output}

    def softmax(name):
        n = producer.get(name)
        while n is not None and n.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Transpose", "Identity", "Cast"):
            n = producer.get(n.input[0])
        return n is not None and n.op_type == "Softmax"
    nodes = []
    for k, n in enumerate(g.node):
        times = producer.get(n.input[0]) if n.op_type == "ReduceSum" else None
        axes = const.get(n.input[1]) if times is not None and len(n.input) > 1 else times is not None and attr(n, "axes")
        pair = list(times.input) if times is not None and times.op_type == "Mul" and axes is not None and np.size(axes) == 1 else []
        for w, v in (pair, pair[::-1]) if pair else ():
            w = producer[w].input[0] if w in producer and producer[w].op_type == "Expand" else w
            a, b = shapes.get(w, []), shapes.get(v, [])
            axis = int(np.ravel(axes)[0]) % max(len(b), 1)
            features = 2 * len(b) - 3 - axis
            if len(a) < 2 or len(a) != len(b) or axis < len(b) - 2 or a[features] != 1 or b[features] < 2 or a[axis] != b[axis] or not softmax(w):
                continue
            order = [*range(len(b) - 2), len(b) - 1, len(b) - 2]
            g.initializer.append(numpy_helper.from_array(np.array(shapes[n.output[0]], np.int64), f"weighed.{k}.shape"))
            nodes += [make("Transpose", [w], [f"weighed.{k}.p"], perm=order),
                      make("MatMul", [v, f"weighed.{k}.p"] if axis > features else [f"weighed.{k}.p", v], [f"weighed.{k}"]),
                      make("Reshape", [f"weighed.{k}", f"weighed.{k}.shape"], list(n.output))]
            break
        else:
            nodes.append(n)
    del g.node[:]
    g.node.extend(nodes)
    return model


# operator: (plain operator, how many operands of scale and zero point it has, where they begin)
INTEGERS = {"QLinearMatMul": ("MatMul", 2, 0), "QGemm": ("Gemm", 2, 0), "QLinearConv": ("Conv", 2, 0), "QLinearAdd": ("Add", 2, 0), "QLinearMul": ("Mul", 2, 0),
            "QLinearSoftmax": ("Softmax", 1, 0), "QLinearSigmoid": ("Sigmoid", 1, 0), "QLinearGlobalAveragePool": ("GlobalAveragePool", 1, 0),
            "QLinearReduceMean": ("ReduceMean", 1, 0), "QLinearWhere": ("Where", 2, 1), "QLinearConcat": ("Concat", None, 2)}


def integers_spelled_out(model):
    """Operators on integers as the plain ones between DequantizeLinear and QuantizeLinear; their results keep their names."""
    nodes, make = [], onnx.helper.make_node
    const = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for k, n in enumerate(model.graph.node):
        if n.op_type == "MatMulIntegerToFloat":
            given = [*n.input, "", "", ""]
            nodes += [make("DequantizeLinear", [v for v in given[i:6:2] if v], [f"plain.{k}.{i}"], axis=-1) for i in (0, 1)]
            nodes.append(make("MatMul", [f"plain.{k}.0", f"plain.{k}.1"], [f"plain.{k}" if given[6] else n.output[0]]))
            nodes += [make("Add", [f"plain.{k}", given[6]], list(n.output))] if given[6] else []
            continue
        plain, count, first = INTEGERS.get(n.op_type, (None, 0, 0))
        if plain is None:
            nodes.append(n)
            continue
        count = (len(n.input) - 2) // 3 if count is None else count
        ends = 0 if n.op_type == "QLinearConcat" else first + 3 * count + (n.op_type == "QGemm")
        operands = list(n.input[:first]) if ends else []
        for i in range(count):
            x = n.input[first + 3 * i:first + 3 * i + 3]
            per_filter = i == 1 and (n.op_type == "QLinearConv" or attr(n, "transB", 0))
            nodes.append(make("DequantizeLinear", [v for v in x if v], [f"plain.{k}.{i}"], axis=0 if per_filter else -1))
            operands.append(nodes[-1].output[0])
        bias = {"QGemm": 6, "QLinearConv": 8}.get(n.op_type, len(n.input))
        if len(n.input) > bias and n.input[bias]:  # int32, in units of both scales
            unit = const[n.input[1]].astype(np.float32) * const[n.input[4]].astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array((const[n.input[bias]] * unit).astype(np.float32), f"plain.{k}.bias"))
            operands.append(f"plain.{k}.bias")
        last = len(n.input) <= ends or not n.input[ends]  # without a scale the result is a float
        rank = attr(n, "channels_last", 0) and next(len(i.dims) for i in model.graph.initializer if i.name == n.input[3])
        if rank:
            nodes.append(make("Transpose", operands[:1], [f"plain.{k}.first"], perm=[0, rank - 1, *range(1, rank - 1)]))
            operands[0] = nodes[-1].output[0]
        plain_node = make(plain, operands, [f"plain.{k}.channels" if rank else n.output[0] if last else f"plain.{k}"])
        plain_node.attribute.extend(a for a in n.attribute if a.name not in ("opset", "channels_last"))
        nodes.append(plain_node)
        if rank:
            nodes.append(make("Transpose", [f"plain.{k}.channels"], [n.output[0] if last else f"plain.{k}"], perm=[0, *range(2, rank), 1]))
        if not last:
            nodes.append(make("QuantizeLinear", [f"plain.{k}", *n.input[ends:ends + 2]], [n.output[0]]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
USUAL = {"RNN": [b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"], "LSTM": [b"Sigmoid", b"Tanh", b"Tanh"]}


def recurrent_spelled_out(model, value):
    """RNN, GRU and LSTM with their usual activations step by step: the inputs' part of all gates is one product of all steps, the
    state's one a step, each with its bias. `value`: of a name."""
    g, nodes, make = model.graph, [], onnx.helper.make_node
    for k, n in enumerate(g.node):
        if n.op_type not in GATES or n.domain:
            nodes.append(n)
            continue
        given = [*n.input, *[""] * 8]
        steps, batch, _ = value(n.input[0]).shape
        ways = 2 if attr(n, "direction", b"forward") == b"bidirectional" else 1
        other = attr(n, "activations", USUAL[n.op_type] * ways) != USUAL[n.op_type] * ways or attr(n, "clip") or attr(n, "layout") or attr(n, "input_forget")
        if other or given[7] or given[4] and (value(given[4]) != steps).any():
            raise NotImplementedError(n.op_type + " of another form")
        count = [0]

        def name():
            count[0] += 1
            return f"recurrent.{k}.{count[0]}"

        def const(value, kind=np.float32):
            g.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name()))
            return g.initializer[-1].name

        def do(op, *inputs, outs=1, **attributes):
            nodes.append(make(op, [i if isinstance(i, str) else const(i) for i in inputs], [name() for _ in range(outs)], **attributes))
            return nodes[-1].output[0] if outs == 1 else list(nodes[-1].output)

        def part(x, axis, begin, end):
            return do("Slice", x, *[const([v], np.int64) for v in (begin, end, axis)])

        def without(x, axis):
            return do("Squeeze", x, const([axis], np.int64))

        gates, size, ends = GATES[n.op_type], attr(n, "hidden_size"), []
        for d in range(ways):
            back = attr(n, "direction", b"forward") == b"reverse" or d == 1
            own = {i: without(part(given[i], 0, d, d + 1), 0) for i in (1, 2, 3, 5, 6) if given[i]}
            w, u = [do("Transpose", own[i], perm=[1, 0]) for i in (1, 2)]
            bias = [part(own[3], 0, i * gates * size, (i + 1) * gates * size) if 3 in own else None for i in (0, 1)]
            state, cell = [own.get(i) or const(np.zeros((batch, size))) for i in (5, 6)]
            x = do("MatMul", n.input[0], w)
            x = do("Add", x, bias[0]) if bias[0] else x

            def gate(x, i):
                return part(x, -1, i * size, (i + 1) * size)

            def of_state(state, i=None):
                y = do("MatMul", state, u if i is None else gate(u, i))
                return do("Add", y, bias[1] if i is None else gate(bias[1], i)) if bias[1] else y

            states = [None] * steps
            for t in reversed(range(steps)) if back else range(steps):
                now = without(part(x, 0, t, t + 1), 0)
                if n.op_type == "RNN":
                    state = do("Tanh", do("Add", now, of_state(state)))
                elif n.op_type == "LSTM":
                    now = do("Add", now, of_state(state))
                    i, o, f = [do("Sigmoid", gate(now, j)) for j in range(3)]
                    cell = do("Add", do("Mul", f, cell), do("Mul", i, do("Tanh", gate(now, 3))))
                    state = do("Mul", o, do("Tanh", cell))
                else:
                    z, r = [do("Sigmoid", do("Add", gate(now, j), of_state(state, j))) for j in (0, 1)]
                    h = do("Mul", r, of_state(state, 2)) if attr(n, "linear_before_reset", 0) else of_state(do("Mul", r, state), 2)
                    h = do("Tanh", do("Add", gate(now, 2), h))
                    state = do("Add", do("Mul", do("Sub", [1], z), h), do("Mul", z, state))
                states[t] = do("Unsqueeze", state, const([0, 1], np.int64))
            ends.append([do("Concat", *states, axis=0), *[do("Unsqueeze", v, const([0], np.int64)) for v in (state, cell)]])
        for i, y in enumerate(n.output):
            if y:
                parts = [e[i] for e in ends]
                nodes.append(make("Concat", parts, [y], axis=0 if i else 1) if len(parts) > 1 else make("Identity", parts, [y]))
    del g.node[:]
    g.node.extend(nodes)
    return model


def in_order(model):
    """Converters append casts at the end of the file."""
    g = model.graph
    missing = {o for n in g.node for o in n.output if o}
    left, nodes = list(g.node), []
    while left:
        ready = [n for n in left if not any(i in missing for i in used(n))][:1] if any(i in missing for i in used(left[0])) else left[:1]
        if not ready:
            raise ValueError("a cycle")
        left.remove(ready[0])
        nodes.append(ready[0])
        missing.difference_update(ready[0].output)
    del g.node[:]
    g.node.extend(nodes)
    return model


def used(node):
    """names that a node reads, those of its branches included"""
    inner = [i for a in node.attribute if a.type == onnx.AttributeProto.GRAPH for n in a.g.node for i in used(n)]
    return [*node.input, *inner]


NO_FUSIONS = ["GeluFusion", "GeluFusionL1", "GeluFusionL2", "LayerNormFusion", "LayerNormFusionL1", "LayerNormFusionL2", "SkipLayerNormFusion", "BiasGeluFusion", "FastGeluFusion",
              "QuickGeluFusion", "AttentionFusion", "EmbedLayerNormFusion", "MatMulScaleFusion", "MatMulActivationFusion", "BiasSoftmaxFusion", "MatmulTransposeFusion",
              "GemmActivationFusion", "ConvActivationFusion", "SimplifiedLayerNormFusion"]


def optimised(model):
    """As onnxruntime's optimiser leaves a graph of integers. Asking a session for what is inside would change what it does."""
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as tmp:
        o.optimized_model_filepath = tmp + "/m.onnx"
        ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"], disabled_optimizers=NO_FUSIONS)
        return onnx.load(tmp + "/m.onnx")
