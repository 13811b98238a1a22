"""Attention in its forms: fused, grouped, packed, sparse, one step of a decoder."""
import numpy as np
import onnxruntime as ort
from onnx import helper

from lower_cases.base import MS, TYPES, attend, case, chain, f, i32, i64, part, rng, softmax, t5_buckets


@part
def attentions():
    batch, tokens, heads, size = 2, 5, 2, 4
    hidden = heads * size
    x, w, b = f(batch, tokens, 6), f(6, 3 * hidden, scale=0.5), f(3 * hidden)
    lengths, both = i32(3, 5), i32(3, 5, 1, 0)
    raw2 = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    raw3 = (rng.random((batch, tokens, tokens)) < 0.7).astype(np.int32) | np.eye(tokens, dtype=np.int32)[None]

    def a(name, *more, outputs=1, **attributes):
        inputs = [x, w, b, *more]
        case("attention_" + name, "Attention", inputs, outputs, domain=MS, fixed=(1, 2), num_heads=heads, **attributes)

    a("plain")
    a("no_bias_scale", scale=0.3)
    a("causal", unidirectional=1)
    a("lengths", lengths)
    a("start_end", both)
    a("mask2", raw2)
    a("mask2_causal", raw2, unidirectional=1)
    a("mask2_filter", raw2, mask_filter_value=-3.0)
    a("mask3", raw3)
    a("bias", None, None, f(1, heads, tokens, tokens))
    a("mask_bias", raw2, None, f(batch, heads, tokens, tokens))
    a("past", None, f(2, batch, heads, 3, size), outputs=2, unidirectional=1)
    case("attention_sizes", "Attention", [x, f(6, 8 + 8 + 12), f(28)], domain=MS, fixed=(1, 2), num_heads=heads, qkv_hidden_sizes=[8, 8, 12])

    q, k, v = f(batch, tokens, hidden), f(batch, 6, hidden), f(batch, 6, hidden)
    bias = f(3 * hidden)

    def m(name, inputs, outputs=1, **attributes):
        case("mha_" + name, "MultiHeadAttention", inputs, outputs, domain=MS, num_heads=heads, **attributes)

    m("plain", [q, k, v])
    m("bias", [q, k, v, bias])
    m("values", [q, k, f(batch, 6, 2 * 3), None], scale=0.7)
    m("padding_lengths", [q, k, v, bias, i32(4, 6)])
    m("padding2", [q, k, v, bias, np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32)])
    m("attention_bias", [q, k, v, None, None, f(1, heads, tokens, 6)])
    m("attention_bias_one_head", [q, k, v, None, None, f(batch, 1, tokens, 6)])
    kv, qkv = f(batch, 6, heads, 2, size), f(batch, tokens, heads, 3, size)
    m("packed_kv", [q, kv], wanted=[attend(q.reshape(batch, tokens, heads, size), kv[:, :, :, 0], kv[:, :, :, 1])])
    m("packed_qkv", [qkv], wanted=[attend(qkv[:, :, :, 0], qkv[:, :, :, 1], qkv[:, :, :, 2])])
    m("heads_kv", [q, f(batch, heads, 6, size), f(batch, heads, 6, size)])
    m("past", [q, f(batch, tokens, hidden), f(batch, tokens, hidden), None, None, None, f(batch, heads, 3, size), f(batch, heads, 3, size)], 3)
    m("causal", [q, f(batch, tokens, hidden), f(batch, tokens, hidden)], unidirectional=1)

    def g(name, inputs, kv_heads, outputs=1, fixed=(), **attributes):
        case("gqa_" + name, "GroupQueryAttention", inputs, outputs, domain=MS, num_heads=4, kv_num_heads=kv_heads, fixed=fixed, **attributes)

    q4, k2, v2 = f(batch, tokens, 32), f(batch, tokens, 16), f(batch, tokens, 16)
    full, total = i32(tokens - 1, tokens - 1), i32(tokens)
    g("plain", [q4, k2, v2, None, None, full, total], 2)
    g("packed", [f(batch, tokens, 64), None, None, None, None, full, total], 2)
    cos, sin = np.cos(f(16, 8)), np.sin(f(16, 8))
    q16, k16, v16 = f(batch, tokens, 64), f(batch, tokens, 32), f(batch, tokens, 32)
    g("rotary", [q16, k16, v16, None, None, full, total, cos, sin], 2, 3, fixed=(7, 8), do_rotary=1)
    g("rotary_interleaved", [q16, k16, v16, None, None, full, total, cos, sin], 2, fixed=(7, 8), do_rotary=1, rotary_interleaved=1)
    g("window", [q4, k2, v2, None, None, full, total], 2, local_window_size=2)
    g("softcap", [q4, k2, v2, None, None, full, total], 2, softcap=2.0, scale=0.9)
    g("past", [f(1, 1, 32), f(1, 1, 16), f(1, 1, 16), f(1, 2, 3, 8), f(1, 2, 3, 8), i32(3), i32(4)], 2, 3)
    g("past_rotary", [f(1, 1, 64), f(1, 1, 32), f(1, 1, 32), f(1, 2, 3, 16), f(1, 2, 3, 16), i32(3), i32(4), cos, sin], 2, 3, fixed=(7, 8), do_rotary=1)

    q, k, v = f(2, 4, 3, 8), f(2, 2, 5, 8), f(2, 2, 5, 6)
    case("onnx_attention", "Attention", [q, k, v], opset=23, scale=0.4, softcap=3.0)
    case("onnx_attention_mask", "Attention", [q, k, v, rng.random((3, 5)) < 0.7], opset=23)
    case("onnx_attention_float_mask", "Attention", [q, k, v, f(2, 1, 3, 5)], opset=23)
    case("onnx_attention_3d", "Attention", [f(2, 3, 16), f(2, 3, 8), f(2, 3, 8)], opset=23, q_num_heads=4, kv_num_heads=2, is_causal=1)
    case("onnx_attention_past", "Attention", [q, f(2, 2, 3, 8), f(2, 2, 3, 6), None, f(2, 2, 4, 8), f(2, 2, 4, 6)], 3, opset=23)
    case("onnx_rotary", "RotaryEmbedding", [f(2, 3, 5, 8), np.cos(f(9, 4)), np.sin(f(9, 4)), np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], np.int64)],
         opset=23, fixed=(1, 2))
    for both in (0, 1):
        table = f(8, 2)
        case(f"relative_position_bias_{both}", "RelativePositionBias", [table, i64(12), i64(12)], domain=MS, fixed=(1, 2), max_distance=10,
             is_bidirectional=both, wanted=[table[t5_buckets(12, 8, 10, both)].transpose(2, 0, 1)[None]])

    for name, at in (("first", i64(2)), ("rows", np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], np.int64))):
        for pairs in (0, 1):
            case(f"rotary_{name}_{pairs}", "RotaryEmbedding", [f(2, 5, 24), at, np.cos(f(9, 4)), np.sin(f(9, 4))], domain=MS, fixed=(2, 3), interleaved=pairs)
    case("rotary_part", "RotaryEmbedding", [f(2, 5, 24), i64(0), np.cos(f(9, 2)), np.sin(f(9, 2))], domain=MS, fixed=(2, 3), num_heads=3, rotary_embedding_dim=4)
    case("rotary_heads", "RotaryEmbedding", [f(2, 3, 5, 8), i64(1), np.cos(f(9, 4)), np.sin(f(9, 4))], domain=MS, fixed=(2, 3))


@part
def grouped_queries():
    """GroupQueryAttention with a past: buffers longer than what is in use, samples of different length, padded prompts."""
    def g(name, batch, tokens, totals, room, prompt=False, more=(), fixed=(), **attributes):
        size = 16 if "do_rotary" in attributes else 8
        total = tokens if prompt else max(totals)
        feeds = {"q": f(batch, tokens, 4 * size), "k": f(batch, tokens, 2 * size), "v": f(batch, tokens, 2 * size),
                 "pk": f(batch, 2, room, size), "pv": f(batch, 2, room, size)}
        constants = {"last": np.array(totals, np.int32) - 1, "total": i32(total), **{f"m{i}": v for i, v in enumerate(more) if v is not None}}
        names = [*feeds, "last", "total", *["" if v is None else f"m{i}" for i, v in enumerate(more)]]
        rows, keys = np.zeros((batch, tokens, 1), np.float32), np.zeros((batch, 1, max(room, total), 1), np.float32)
        for b, n in enumerate(totals):  # what lies behind a sample's end is not defined
            rows[b, :n if prompt else tokens] = 1
            keys[b, :, :n] = 1
        chain("gqa_" + name, [("GroupQueryAttention", names, ["y", "k2", "v2"], MS, {"num_heads": 4, "kv_num_heads": 2, **attributes}),
                              ("Mul", ["y", "rows"], ["out"], "", {}), ("Mul", ["k2", "keys"], ["key"], "", {}), ("Mul", ["v2", "keys"], ["value"], "", {})],
              feeds, ["out", "key", "value"], {**constants, "rows": rows, "keys": keys})

    theta = f(16, 8)
    turn = [np.cos(theta), np.sin(theta)]
    g("buffer", 1, 3, [5], 9)
    g("lengths", 3, 1, [2, 5, 4], 6)
    g("lengths_rotary", 2, 1, [5, 3], 4, more=turn, do_rotary=1, rotary_interleaved=1)
    g("lengths_window", 2, 1, [6, 3], 7, local_window_size=2, softcap=1.5)
    g("padded_prompt", 3, 4, [4, 2, 1], 6, prompt=True, more=turn, do_rotary=1)
    g("chunk", 1, 3, [7], 4, more=[*turn, None, f(1, 4, 3, 7)], do_rotary=1)
    g("smooth", 1, 3, [5], 2, smooth_softmax=1, scale=0.7)
    g("sink", 1, 2, [5], 3, more=[None, None, None, None, f(4)])


@part
def packed_tokens():
    """Batches without padding. onnxruntime's CPU provider has no such kernels: the documented formulas."""
    heads, size, lengths, tokens = 2, 4, [1, 4, 2], 4
    batch, hidden = len(lengths), heads * size

    def offsets(lengths):
        real = [b * tokens + i for b, n in enumerate(lengths) for i in range(n)]
        rest = [b * tokens + i for b, n in enumerate(lengths) for i in range(n, tokens)]
        return np.array(real + rest, np.int32).reshape(len(lengths), tokens), np.cumsum([0, *lengths]).astype(np.int32)

    def attended(q, k, v, lengths, bias=0):
        """Rows of real tokens of attention on padded [batch, tokens, heads · size]."""
        rows = []
        q, k, v = (x.reshape(len(lengths), tokens, heads, -1).transpose(0, 2, 1, 3).astype(np.float64) for x in (q, k, v))
        scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3]) + bias
        for b, n in enumerate(lengths):
            y = softmax(scores[b, :, :n, :n]) @ v[b, :, :n]
            rows.append(y.transpose(1, 0, 2).reshape(n, -1))
        return np.concatenate(rows).astype(np.float32)

    def padded(x, lengths):
        whole = np.zeros((len(lengths) * tokens, x.shape[1]), np.float32)
        whole[offsets(lengths)[0].reshape(-1)[:len(x)]] = x
        return whole.reshape(len(lengths), tokens, -1)

    for name, lengths in (("", lengths), ("_one", [3]), ("_full", [4, 4])):
        batch, (token_offset, sums) = len(lengths), offsets(lengths)
        count = sum(lengths)
        x = f(batch, tokens, 6)
        packed_x = x.reshape(-1, 6)[token_offset.reshape(-1)[:count]]
        case("remove_padding" + name, "RemovePadding", [x, np.array(lengths, np.int32)], 4, domain=MS,
             wanted=[packed_x, token_offset, sums, i32(max(lengths))])
        case("restore_padding" + name, "RestorePadding", [packed_x, token_offset], domain=MS, wanted=[padded(packed_x, lengths)])
        w, b, bias = f(6, 2 * hidden + 6), f(2 * hidden + 6), f(batch, heads, tokens, tokens)
        q, k, v = np.split(padded(packed_x @ w + b, lengths), [hidden, 2 * hidden], axis=2)
        case("packed_attention" + name, "PackedAttention", [packed_x, w, b, token_offset, sums, bias], domain=MS, fixed=(1, 2), num_heads=heads,
             qkv_hidden_sizes=[hidden, hidden, 6], wanted=[attended(q, k, v, lengths, bias)])
        q, k, v, b = f(count, hidden), f(count, hidden), f(count, 6), f(2 * hidden + 6)
        parts = [padded(x + y, lengths) for x, y in zip((q, k, v), np.split(b, [hidden, 2 * hidden]))]
        case("packed_mha" + name, "PackedMultiHeadAttention", [q, k, v, b, token_offset, sums], domain=MS, fixed=(3,), num_heads=heads,
             wanted=[attended(*parts, lengths)])
        qkv = f(count, heads, 3, size)
        parts = [padded(qkv[:, :, i].reshape(count, hidden), lengths) for i in range(3)]
        case("packed_mha_qkv" + name, "PackedMultiHeadAttention", [qkv, None, None, None, token_offset, sums, bias], domain=MS, num_heads=heads,
             wanted=[attended(*parts, lengths, bias)])
    x, b, rel, w, wb, eco = f(2, tokens, hidden), f(hidden), f(1, heads, tokens, tokens), f(size, 8), f(8), f(1, heads, 1, 1)
    y = (x + b).reshape(2, tokens, heads, size).transpose(0, 2, 1, 3) @ w + wb
    u, r = np.split(1 / (1 + np.exp(-y.reshape(2, heads, tokens, 2, 4).sum(-1))), 2, axis=3)
    want = (u * (r * eco - 1) + 2) * rel
    case("gated_position_bias", "GatedRelativePositionBias", [x, b, rel, w, wb, eco], domain=MS, fixed=(1, 3, 4, 5), num_heads=heads, wanted=[want])
    token_offset = offsets([3, 4])[0]
    rows = token_offset.reshape(-1)[:7]
    keep = np.zeros(8)
    keep[rows] = 1
    x = x * keep.reshape(2, tokens, 1).astype(np.float32)
    y = (x + b).reshape(2, tokens, heads, size).transpose(0, 2, 1, 3) @ w + wb
    u, r = np.split(1 / (1 + np.exp(-y.reshape(2, heads, tokens, 2, 4).sum(-1))), 2, axis=3)
    case("gated_position_bias_packed", "GatedRelativePositionBias", [x.reshape(8, -1)[rows], b, rel, w, wb, eco, token_offset], domain=MS, fixed=(1, 3, 4, 5),
         num_heads=heads, wanted=[(u * (r * eco - 1) + 2) * rel])


def in_place(node, feeds, shared):
    """onnxruntime's results of one node whose outputs `shared` lie where the named inputs do."""
    declared = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in feeds.items()]
    graph = helper.make_graph([node], "one", declared, [helper.make_empty_tensor_value_info(o) for o in node.output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = {k: ort.OrtValue.ortvalue_from_numpy(v.copy()) for k, v in feeds.items()}
    binding = session.io_binding()
    for k, v in values.items():
        binding.bind_ortvalue_input(k, v)
    for name in node.output:
        if name in shared:
            binding.bind_ortvalue_output(name, values[shared[name]])
        else:
            binding.bind_output(name)
    session.run_with_iobinding(binding)
    return {k: v.numpy().copy() for k, v in zip(node.output, binding.get_outputs())}


@part
def decoder_steps():
    batch, heads, size, room, used = 2, 2, 4, 7, 3
    hidden, total = heads * size, used + 1
    q, k, v, bias = f(batch, 1, hidden), f(batch, 1, hidden), f(batch, 1, hidden), f(3 * hidden)
    pk, pv, mask = f(batch, heads, room, size), f(batch, heads, room, size), np.array([[1, 1, 1, 1], [0, 1, 1, 1]], np.int32)
    pk[:, :, used:], pv[:, :, used:] = 0, 0

    def d(name, inputs, outputs=3, **attributes):
        case("decoder_masked_" + name, "DecoderMaskedMultiHeadAttention", inputs, outputs, domain=MS, num_heads=heads, **attributes)

    d("self", [q, k, v, mask, None, pk, pv, i32(used), None, None, bias], past_present_share_buffer=1)
    d("self_first", [q, k, v, None, None, pk, pv, i32(0)], past_present_share_buffer=1, scale=0.3)
    d("self_bias", [q, k, v, None, f(1, heads, 1, total), pk, pv, i32(used), i32(1)], past_present_share_buffer=1)
    d("cross", [q, f(batch, heads, 5, size), f(batch, heads, 5, size), np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32), None, None, None, None, None, None, bias], 1)
    k5, v5 = f(batch, heads, 5, size), f(batch, heads, 5, size)  # onnxruntime infers another type for its scores
    y, scores = attend(q.reshape(batch, 1, heads, size), *(x.transpose(0, 2, 1, 3) for x in (k5, v5))), q.reshape(batch, heads, 1, size) @ k5.swapaxes(2, 3) / 2
    d("cross_qk", [q, k5, v5], ["y", "", "", "qk"], output_qk=1, wanted=[y, scores])
    one = np.concatenate([q, k, v], axis=2)
    keys, values = (np.concatenate([p[:, :, :used], x.reshape(batch, heads, 1, size)], axis=2) for p, x in ((pk, k), (pv, v)))
    y = attend(q.reshape(batch, 1, heads, size), keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3))
    d("packed", [one, None, None, None, None, pk[:, :, :used], pv[:, :, :used]], wanted=[y, keys, values])

    case("attention_sizes_present", "Attention", [f(2, 3, 6), f(6, 8 + 8 + 12), f(28)], ["y", "present"], domain=MS, fixed=(1, 2), num_heads=2,
         qkv_hidden_sizes=[8, 8, 12], unread=("present",))
    x, w, b = f(batch, 1, 6), f(6, 3 * hidden), f(3 * hidden)
    past = np.stack([pk, pv])
    q, k, v = np.split(x @ w + b, 3, axis=2)
    keys, values = (np.concatenate([p[:, :, :used], x.reshape(batch, heads, 1, size)], axis=2) for p, x in ((pk, k), (pv, v)))
    y = attend(q.reshape(batch, 1, heads, size), keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3))
    present = past.copy()
    present[:, :, :, :total] = keys, values
    for op, name in (("DecoderMaskedSelfAttention", "decoder_masked_projected"), ("Attention", "attention_shared_past")):
        more = {"unidirectional": 1} if op == "Attention" else {}
        case(name, op, [x, w, b, None, past, None, i32(used)], 2, domain=MS, fixed=(1, 2), num_heads=heads, past_present_share_buffer=1,
             wanted=[y, present], **more)
        case(name + "_apart", op, [x, w, b, None, past[:, :, :, :used]], 2, domain=MS, fixed=(1, 2), num_heads=heads,
             wanted=[y, present[:, :, :, :total]], **more)

    tokens, keys = 3, 5
    query, key = f(tokens, batch, hidden), f(keys, batch, hidden)
    qw, kvw, b = f(hidden, hidden, scale=0.5), f(hidden, 2 * hidden, scale=0.5), f(3 * hidden)
    masked = np.array([[0] * keys, [0, 0, 0, 1, 1]], bool)
    caches = [f(batch, heads, keys, size) for _ in range(2)]

    def in_heads(x):
        return x.reshape(len(x), batch, heads, size).transpose(1, 2, 0, 3)

    for name, static, past, state, mask in (("self", 0, 0, 1, None), ("cross", 1, 0, 0, masked), ("self_past", 0, 1, 1, None), ("cross_past", 1, 1, 1, masked),
                                            ("state_only", 0, 0, 1, None)):
        queries = in_heads(query @ qw + b[:hidden])
        k, v = (in_heads(x) for x in np.split((key if static else query) @ kvw + b[hidden:], 2, axis=2))
        if past and state:
            k, v = caches if static else (np.concatenate([c, x], axis=2) for c, x in zip(caches, (k, v)))
        scores = queries @ k.swapaxes(2, 3) / 2.0
        if mask is not None:
            scores = scores + np.where(mask[:, None, None], -10000.0, 0)
        y = (softmax(scores) @ v).transpose(2, 0, 1, 3).reshape(tokens, batch, hidden)
        flags = [np.array(bool(i)) for i in (static, past, state, mask is not None)]
        given = caches if past else [None, None]
        case("decoder_attention_" + name, "DecoderAttention", [query, key, qw, kvw, b, mask, *given, *flags], 3, domain=MS,
             fixed=(2, 3, 4, 5, 8, 9, 10, 11), num_heads=heads, wanted=[y, k, v])


@part
def sparse_keys():
    """SparseAttention and LongformerAttention; the latter by its documented formula."""
    starts = np.array([[0, 1, 3, 5], [0, 1, 2, 5]], np.int32)
    columns = np.array([[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]], np.int32)

    def s(name, tokens, totals, room, more=(), fixed=(), layouts=2, **attributes):
        batch = len(totals)
        feeds = {"q": f(batch, tokens, 64), "k": f(batch, tokens, 32), "v": f(batch, tokens, 32), "pk": f(batch, 2, room, 16), "pv": f(batch, 2, room, 16)}
        constants = {"starts": starts[:layouts], "columns": columns[:layouts], "total": i32(max(totals)), "each": np.array(totals, np.int32),
                     **{f"m{i}": v for i, v in enumerate(more)}}
        rows, keys = np.zeros((batch, tokens, 1), np.float32), np.zeros((batch, 1, room, 1), np.float32)
        for b, n in enumerate(totals):
            rows[b, :n if max(totals) == tokens else tokens] = 1
            keys[b, :, :n] = 1
        attributes = {"num_heads": 4, "kv_num_heads": 2, "sparse_block_size": 16, **attributes}
        node = helper.make_node("SparseAttention", [*feeds, *constants], ["y", "k2", "v2"], domain=MS, **attributes)
        each = []  # one by one: of samples of different length onnxruntime computes the longest only
        for b, total in enumerate(totals):
            n = total if max(totals) == tokens else tokens
            one = {"q": feeds["q"][b:b + 1, :n], "k": feeds["k"][b:b + 1, :n], "v": feeds["v"][b:b + 1, :n], "pk": feeds["pk"][b:b + 1], "pv": feeds["pv"][b:b + 1]}
            y = in_place(node, {**one, **constants, "total": i32(total), "each": i32(total)}, {"k2": "pk", "v2": "pv"})
            y["y"] = np.pad(y["y"], ((0, 0), (0, tokens - n), (0, 0)))
            each.append(y)
        wanted = [np.concatenate([y[k] for y in each]) * by for k, by in (("y", rows), ("k2", keys), ("v2", keys))]
        chain("sparse_attention_" + name, [("SparseAttention", [*feeds, *constants], ["y", "k2", "v2"], MS, attributes),
                                           ("Mul", ["y", "rows"], ["out"], "", {}), ("Mul", ["k2", "keys"], ["key"], "", {}), ("Mul", ["v2", "keys"], ["value"], "", {})],
              feeds, ["out", "key", "value"], {**constants, "rows": rows, "keys": keys}, wanted=wanted)

    theta = f(48, 8)
    s("prompt", 36, [36], 48)
    s("prompt_padded", 36, [36, 20], 48, layouts=1, scale=0.2)
    s("step", 1, [40, 33], 48)
    s("rotary", 1, [40], 48, more=[np.cos(theta), np.sin(theta)], do_rotary=1)

    batch, tokens, heads, window = 2, 8, 2, 2
    hidden = 8
    x, w, b, gw, gb = f(batch, tokens, hidden), f(hidden, 24, scale=0.5), f(24), f(hidden, 24, scale=0.5), f(24)
    mask = np.zeros((batch, tokens), np.float32)
    mask[1, 6:] = -10000
    for name, where in (("", [[0], [0, 3]]), ("_local", [[], []])):
        flags = np.zeros((batch, tokens), np.int32)
        for i, at in enumerate(where):
            flags[i, at] = 1
        near = np.abs(np.arange(tokens)[:, None] - np.arange(tokens)) <= window
        results = []
        for weight, bias, seen in ((w, b, near[None] | (flags[:, None] > 0)), (gw, gb, np.ones((batch, tokens, tokens), bool))):
            q, k, v = (t.reshape(batch, tokens, heads, 4).transpose(0, 2, 1, 3) for t in np.split(x @ weight + bias, 3, axis=2))
            scores = q @ k.swapaxes(2, 3) / 2.0 + mask[:, None, None] + np.where(seen[:, None], 0, -np.inf)
            results.append((softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, hidden))
        case("longformer" + name, "LongformerAttention", [x, w, b, mask, gw, gb, flags], domain=MS, fixed=(1, 2, 3, 4, 5), num_heads=heads, window=window,
             wanted=[np.where(flags[..., None] > 0, results[1], results[0])])
