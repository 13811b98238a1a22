"""Cuts and extends .onnx files for tests, on the bytes of the protobuf: nothing is needed but Python."""


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A field of bytes, text or an integer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """(number, value, bytes of the whole field) for each field of a message."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n
    while at < len(data):
        start = at
        key = number()
        if key & 7 == 2:
            size = number()
            at += size
            yield key >> 3, data[at - size:at], data[start:at]
        elif key & 7 == 0:
            yield key >> 3, number(), data[start:at]
        else:
            at += 8 if key & 7 == 1 else 4
            yield key >> 3, data[start + 1:at], data[start:at]


def node(kind, inputs, output, axes=None, **integers):
    attributes = [field(1, name) + field(3, value) + field(20, 2) for name, value in integers.items()]
    if axes:
        attributes.append(field(1, "axes") + b"".join(field(8, axis) for axis in axes) + field(20, 7))
    return (b"".join(field(1, i) for i in inputs) + field(2, output) + field(4, kind)
            + b"".join(field(5, a) for a in attributes))


def tensor(name, dtype, dims, raw):
    """dtype 1: float, 7: int64."""
    return b"".join(field(1, d) for d in dims) + field(2, dtype) + field(8, name) + field(9, raw)


def inside(data, path, change):
    """The message with change(value) in the place of every field that the path of numbers leads to."""
    out = b""
    for n, v, whole in fields(data):
        if n == path[0]:
            whole = field(n, change(v) if len(path) == 1 else inside(v, path[1:], change))
        out += whole
    return out


def fixed_samples(data, n):
    """The model whose inputs have n samples, whatever they had."""
    def first(shape):
        dims = [v for k, v, _ in fields(shape) if k == 1]
        return b"".join(field(1, v if i else field(1, n)) for i, v in enumerate(dims))
    return inside(data, (7, 11, 2, 1, 2), first)


def cut(data, output, rank, nodes=(), tensors=(), more=()):
    """The model with one output, float of a rank, what it needs and no more; nodes and tensors are added first.
    `more`: further outputs, (name, rank)."""
    outputs = [(output, rank), *more]
    top = list(fields(data))
    graph = [f for n, v, _ in top if n == 7 for f in fields(v)]
    all_nodes = [v for n, v, _ in graph if n == 1] + list(nodes)
    wanted, kept = {name for name, _ in outputs}, []
    for body in reversed(all_nodes):
        parts = list(fields(body))
        if any(v.decode() in wanted for n, v, _ in parts if n == 2):
            kept.insert(0, body)
            wanted |= {v.decode() for n, v, _ in parts if n == 1}
    name_of = {5: 8, 11: 1, 12: 1}  # where initializers, inputs and outputs have their names
    out = b"".join(field(1, body) for body in kept)
    for n, v, whole in graph:
        name = next((w.decode() for k, w, _ in fields(v) if k == name_of[n]), "") if n in name_of else None
        if n != 1 and n != 12 and (name is None or name in wanted):
            out += whole
    out += b"".join(field(5, t) for t in tensors)
    for name, axes in outputs:
        shape = b"".join(field(1, field(2, f"d{i}")) for i in range(axes))
        out += field(12, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))
    return b"".join(whole for n, _, whole in top if n != 7) + field(7, out)


def producers(data):
    """Output name -> (operator, inputs) of every node."""
    found = {}
    for n, v, _ in fields(data):
        if n != 7:
            continue
        for m, body, _ in fields(v):
            if m == 1:
                parts = list(fields(body))
                kind = next(w.decode() for k, w, _ in parts if k == 4)
                for k, w, _ in parts:
                    if k == 2:
                        found[w.decode()] = (kind, [u.decode() for j, u, _ in parts if j == 1])
    return found
