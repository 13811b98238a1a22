"""Writes small ONNX files byte by byte, without the onnx package (it need not be there).

    graph = Graph()
    graph.input("x", [1, 4, 8])
    graph.weight("w", [8, 8])
    graph.node("MatMul", ["x", "w"], "y")
    graph.output("y")
    graph.save("model.onnx")
"""
import struct

FLOAT, INT64 = 1, 7


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor_type(dtype, dims):
    """TypeProto; a dimension is a number or a name."""
    shape = b"".join(block(1, number(1, d) if isinstance(d, int) else block(2, d)) for d in dims)
    return block(1, number(1, dtype) + block(2, shape))


def attribute(name, value):
    head = block(1, name)
    if isinstance(value, int):
        return head + number(3, value) + number(20, 2)
    if isinstance(value, bytes):
        return head + block(5, value) + number(20, 4)
    if isinstance(value, str):
        return head + block(4, value) + number(20, 3)
    if isinstance(value, float):
        return head + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, Graph):
        return head + block(6, value.body()) + number(20, 5)
    if isinstance(value, Reference):
        return head + block(21, value.name) + number(20, value.type)
    if value and all(isinstance(v, float) for v in value):
        return head + b"".join(varint(7 << 3 | 5) + struct.pack("<f", v) for v in value) + number(20, 6)
    if value and all(isinstance(v, str) for v in value):
        return head + b"".join(block(9, v) for v in value) + number(20, 8)
    return head + b"".join(number(8, v) for v in value) + number(20, 7)


def tensor(name, dims, dtype, fields):
    """TensorProto; also an attribute's value."""
    return b"".join(number(1, d) for d in dims) + number(2, dtype) + block(8, name) + fields


class Reference:
    """The value that a function's attribute `name` has; `type` as AttributeProto counts them."""
    def __init__(self, name, type):
        self.name, self.type = name, type


class Graph:
    """A model's graph or a subgraph: the value of an attribute."""
    def __init__(self):
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.sparse, self.functions, self.domains = [], [], set()
        self.state = 12345

    def random(self):
        self.state = (self.state * 1103515245 + 12345) % (1 << 31)
        return self.state / (1 << 30) - 1.0

    def input(self, name, dims, dtype=FLOAT):
        self.inputs.append(block(1, name) + block(2, tensor_type(dtype, dims)))

    def output(self, name, dtype=FLOAT):
        self.outputs.append(block(1, name) + block(2, block(1, number(1, dtype))))

    def tensor(self, name, dims, dtype, fields):
        self.initializers.append(tensor(name, dims, dtype, fields))

    def weight(self, name, dims):
        count = 1
        for d in dims:
            count *= d
        self.tensor(name, dims, FLOAT, block(9, struct.pack(f"<{count}f", *(self.random() for _ in range(count)))))

    def external_weight(self, name, dims, location):
        entry = block(13, block(1, "location") + block(2, location))
        self.tensor(name, dims, FLOAT, entry + number(14, 1))

    def constant(self, name, value):
        """A float."""
        self.tensor(name, [], FLOAT, block(9, struct.pack("<f", value)))

    def ints(self, name, values):
        self.tensor(name, [len(values)], INT64, block(9, struct.pack(f"<{len(values)}q", *values)))

    def node(self, op, inputs, output, domain="", **attributes):
        """`output`: a name or a list of them."""
        outputs = [output] if isinstance(output, str) else output
        body = b"".join(block(1, i) for i in inputs) + b"".join(block(2, o) for o in outputs) + block(3, "node_" + outputs[0]) + block(4, op)
        body += b"".join(block(5, attribute(k, v)) for k, v in attributes.items())
        self.nodes.append(body + (block(7, domain) if domain else b""))
        self.domains |= {domain} if domain else set()

    def attention(self, x, out, features, tokens):
        """A residual block of single-head self-attention."""
        for part in "qkv":
            self.weight(f"{out}_w{part}", [features, features])
            self.node("MatMul", [x, f"{out}_w{part}"], f"{out}_{part}")
        self.node("Transpose", [f"{out}_k"], f"{out}_kt", perm=[0, 2, 1])
        self.node("MatMul", [f"{out}_q", f"{out}_kt"], f"{out}_scores")
        self.node("Softmax", [f"{out}_scores"], f"{out}_p", axis=-1)
        self.node("MatMul", [f"{out}_p", f"{out}_v"], f"{out}_o")
        self.node("Add", [x, f"{out}_o"], out)

    def function(self, name, domain, inputs, outputs, body, attributes=(), opset=17):
        """A function of the model, whose nodes are those of the graph `body`."""
        self.domains.add(domain)
        imports = b"".join(block(9, d) for d in self._imports(opset))
        self.functions.append(block(1, name) + b"".join(block(4, i) for i in inputs) + b"".join(block(5, o) for o in outputs) +
                              b"".join(block(6, a) for a in attributes) + b"".join(block(7, n) for n in body.nodes) + imports + block(10, domain))

    def _imports(self, opset):
        return [number(2, opset)] + [block(1, d) + number(2, 1) for d in sorted(self.domains)]

    def body(self):
        fields = b"".join(block(1, n) for n in self.nodes) + block(2, "made") + b"".join(block(5, t) for t in self.initializers)
        return fields + b"".join(block(11, v) for v in self.inputs) + b"".join(block(12, v) for v in self.outputs) + b"".join(block(15, t) for t in self.sparse)

    def save(self, path, opset=17, ir=8):
        with open(path, "wb") as file:
            file.write(number(1, ir) + block(2, "tests") + block(7, self.body()) + b"".join(block(8, i) for i in self._imports(opset)) +
                       b"".join(block(25, f) for f in self.functions))
