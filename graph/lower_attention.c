/*
 * Lowering of ai.onnx Attention (23 and later) and RotaryEmbedding, and of onnxruntime's attention
 * operators with separate or packed q, k, v. The core is in emit_attention.c.
 */
#include "graph/lower_attention.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* past ‖ new along the tokens. */
static tb_value *with_past(tb_call *c, tb_value *past, tb_value *x) {
    bool empty = !past || (past->t.rank == 4 && past->t.dims[2] == 0);
    return empty ? x : tb_emit_concat(c, past, x, 2);
}

/* ---- ai.onnx -------------------------------------------------------------------------------- */

/* [batch, tokens, heads · size] or [batch, heads, tokens, size] to the latter. */
static tb_value *in_heads(tb_call *c, int i, const char *heads) {
    tb_value *x = tb_call_in(c, i);
    if (c->status != TIBA_OK) return NULL;
    if (x && x->t.rank == 3) return tb_emit_split_heads(c, x, tb_attr_int(c->node, heads, 0));
    if (x && x->t.rank == 4) return x;
    return tb_call_fail(c, "input %d must have 3 or 4 dimensions", i);
}

/* attn_mask may end before the keys do: what it leaves out is blocked. */
static tb_value *as_long_as(tb_call *c, tb_value *mask, int64_t keys) {
    if (c->status != TIBA_OK || mask->t.rank < 1) return mask;
    int last = mask->t.rank - 1;
    int64_t length = mask->t.dims[last], pads[2 * TIBA_MAX_RANK] = {0};
    if (length >= keys || length == 1) return mask;
    pads[2 * last + 1] = keys - length;
    tb_value *fill = mask->t.dtype == TIBA_FLOAT32
                         ? tb_emit_scalar(c, -INFINITY)
                         : tb_emit_cast(c, tb_emit_scalar(c, 0), mask->t.dtype);
    return tb_emit3(c, TB_OP_Pad, mask, tb_emit_ints(c, 2 * mask->t.rank, pads), fill);
}

static void onnx_masks(tb_call *c, tb_attention *a, int64_t past) {
    if (c->status != TIBA_OK) return;
    tb_value *mask = tb_call_in(c, 3), *valid = tb_call_in(c, 6);
    tb_window w = {.batch = a->q->t.dims[0],
                   .queries = a->q->t.dims[2],
                   .keys = a->k->t.dims[2],
                   .left = tb_attr_int(c->node, "left_window_size", -1),
                   .right = tb_attr_int(c->node, "right_window_size", -1),
                   .blocked = -INFINITY};
    if (tb_attr_int(c->node, "is_causal", 0)) w.right = 0;
    int64_t *offset = TB_NEW(c->b->graph->arena, int64_t, w.batch);
    if (!offset) {
        c->status = tb_out_of_memory(c->error);
        return;
    }
    if (valid) w.end = tb_call_ints(c, valid, w.batch, "nonpad_kv_seqlen");
    for (int64_t b = 0; b < w.batch && c->status == TIBA_OK; b++)
        offset[b] = w.end && past == 0 ? w.end[b] - w.queries : past;
    if (past || w.end) w.offset = offset;
    a->masks[0] = tb_emit_window(c, &w);
    if (!mask || c->status != TIBA_OK) return;
    mask = as_long_as(c, mask, w.keys);
    if (c->status != TIBA_OK) return;
    if (mask->t.dtype == TIBA_FLOAT32)
        a->masks[1] = mask;
    else if (mask->t.dtype != TIBA_BOOL)
        tb_call_fail(c, "attn_mask is %s, expected bool or float", tb_dtype_name(mask->t.dtype));
    else if (mask->t.data)
        a->masks[1] = tb_emit_blocked(c, mask, -INFINITY);
    else
        a->allowed = mask;
}

void tb_lower_Attention(tb_call *c) {
    tb_attention a = {.scale = (double)tb_attr_float(c->node, "scale", 0),
                      .softcap = (double)tb_attr_float(c->node, "softcap", 0)};
    a.q = in_heads(c, 0, "q_num_heads");
    a.k = in_heads(c, 1, "kv_num_heads");
    a.v = in_heads(c, 2, "kv_num_heads");
    tb_value *past = tb_call_in(c, 4);
    if (!past != !tb_call_in(c, 5)) tb_call_fail(c, "past_key and past_value go together");
    a.k = with_past(c, past, a.k);
    a.v = with_past(c, tb_call_in(c, 5), a.v);
    onnx_masks(c, &a, past && past->t.rank == 4 ? past->t.dims[2] : 0);
    if (c->n_out > 1) c->out[1] = a.k;
    if (c->n_out > 2) c->out[2] = a.v;
    tb_value *y = tb_emit_attention(c, &a);
    if (c->status != TIBA_OK) return;
    c->out[0] = c->in[0]->t.rank == 3 ? tb_emit_merge_heads(c, y) : y;
    if (c->n_out < 4) return;
    tb_value *const stages[] = {a.raw, a.capped, a.masked, a.p};
    int64_t mode = tb_attr_int(c->node, "qk_matmul_output_mode", 0);
    if (mode < 0 || mode > 3)
        tb_call_fail(c, "qk_matmul_output_mode %lld is not known", (long long)mode);
    else
        c->out[3] = stages[mode];
}

/* ---- rotary --------------------------------------------------------------------------------- */

/* x in heads, whatever its form; `dim` of each is rotated. */
static void rotate(tb_call *c, tb_value *cos, tb_value *sin, int64_t heads, int64_t dim) {
    tb_value *x = tb_call_in(c, 0);
    if (c->status != TIBA_OK) return;
    bool flat = x->t.rank == 3;
    tb_value *split = flat ? tb_emit_split_heads(c, x, heads) : x;
    if (c->status != TIBA_OK) return;
    tb_value *y = tb_emit_rotary(c, split, cos, sin, dim > 0 ? dim : split->t.dims[3],
                                 tb_attr_int(c->node, "interleaved", 0) != 0);
    y = tb_emit_scale(c, y, (double)tb_attr_float(c->node, "scale", 1.0f));
    c->out[0] = flat ? tb_emit_merge_heads(c, y) : y;
}

/* Caches are [positions, half] with position_ids, [batch, tokens, half] without. */
void tb_lower_RotaryEmbedding(tb_call *c) {
    tb_value *cache[] = {tb_call_in(c, 1), tb_call_in(c, 2)};
    if (!tb_call_in(c, 0) || !cache[0] || !cache[1] || c->in[0]->t.rank < 3 ||
        c->in[0]->t.rank > 4) {
        tb_call_fail(c, "needs an input of 3 or 4 dimensions and two caches");
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (tb_call_in(c, 3)) {
            cache[i] = tb_emit_rotary_rows(c, cache[i], c->in[3]);
        } else if (cache[i]->t.rank == 3) {
            const int64_t *d = cache[i]->t.dims;
            cache[i] = tb_emit_reshape(c, cache[i], 4, (int64_t[]){d[0], 1, d[1], d[2]});
        } else {
            tb_call_fail(c, "without position_ids its caches must be [batch, tokens, features]");
        }
    }
    rotate(c, cache[0], cache[1], tb_attr_int(c->node, "num_heads", 0),
           tb_attr_int(c->node, "rotary_embedding_dim", 0));
}

/* Positions first, first + 1, … as [batch or 1, tokens]. */
static tb_value *positions_from(tb_call *c, int64_t batch, const int64_t *first, int64_t tokens) {
    tb_value *value;
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_INT64, 2, (int64_t[]){batch, tokens});
    for (int64_t i = 0; t && i < batch * tokens; i++)
        tb_set_i64(t, i, first[i / tokens] + i % tokens);
    return value;
}

/* com.microsoft: input, position_ids ([1]: the first one, or [batch, tokens]), caches. */
void tb_lower_MsRotaryEmbedding(tb_call *c) {
    tb_value *x = tb_call_in(c, 0), *ids = tb_call_in(c, 1), *cos = tb_call_in(c, 2),
             *sin = tb_call_in(c, 3);
    if (!x || !ids || !cos || !sin || cos->t.rank != 2 || x->t.rank < 3 || x->t.rank > 4 ||
        tb_attr_int(c->node, "is_packed_batching", 0)) {
        tb_call_fail(c, "needs an input of 3 or 4 dimensions, position_ids and two caches");
        return;
    }
    int64_t tokens = x->t.dims[x->t.rank == 3 ? 1 : 2];
    if (tb_tensor_count(&ids->t) == 1) {
        const int64_t *first = tb_call_ints(c, ids, 1, "position_ids");
        if (!first) return;
        ids = positions_from(c, 1, first, tokens);
    }
    int64_t dim = tb_attr_int(c->node, "rotary_embedding_dim", 0), full = 2 * cos->t.dims[1],
            heads = tb_attr_int(c->node, "num_heads", 0);
    if (x->t.rank == 3 && heads == 0 && full > 0) heads = x->t.dims[2] / full;
    rotate(c, tb_emit_rotary_rows(c, cos, ids), tb_emit_rotary_rows(c, sin, ids), heads,
           dim > 0 ? dim : full);
}

/* ---- com.microsoft: masks ------------------------------------------------------------------- */

/* mask_index or key_padding_mask in all its shapes. */
static void ms_mask(tb_call *c, tb_attention *a, int mask_input, bool causal, int64_t past) {
    if (c->status != TIBA_OK) return;
    tb_value *mask = mask_input >= 0 ? tb_call_in(c, mask_input) : NULL;
    float blocked = tb_attr_float(c->node, "mask_filter_value", -10000.0f);
    int64_t batch = a->q->t.dims[0], queries = a->q->t.dims[2], keys = a->k->t.dims[2];
    int64_t *offset = TB_NEW(c->b->graph->arena, int64_t, batch);
    if (!offset) {
        c->status = tb_out_of_memory(c->error);
        return;
    }
    for (int64_t b = 0; b < batch; b++) offset[b] = past;
    tb_window w = {.batch = batch,
                   .queries = queries,
                   .keys = keys,
                   .left = -1,
                   .right = causal ? 0 : -1,
                   .blocked = blocked};
    if (causal && past) w.offset = offset;
    if (mask && mask->t.rank == 1) {
        int64_t count = mask->t.dims[0];
        if (count != batch && count != 2 * batch && count != 3 * batch + 2) {
            tb_call_fail(c, "a mask of %lld lengths does not fit a batch of %lld", (long long)count,
                         (long long)batch);
            return;
        }
        w.end = tb_call_ints(c, mask, count == 2 * batch ? count : batch, "its mask");
        if (w.end && count == 2 * batch) w.start = w.end + batch;
    }
    a->masks[0] = tb_emit_window(c, &w);
    if (!mask || mask->t.rank == 1) return;
    const int64_t *d = mask->t.dims;
    if (!mask->t.data) {
        tb_call_fail(c, "its mask depends on the values of a float input");
    } else if (mask->t.rank == 2 && d[1] == keys) {
        mask = tb_emit_reshape(c, mask, 4, (int64_t[]){d[0], 1, 1, d[1]});
    } else if (mask->t.rank == 3 && d[2] == keys) {
        mask = tb_emit_reshape(c, mask, 4, (int64_t[]){d[0], 1, d[1], d[2]});
    } else if (mask->t.rank == 4 && d[2] >= past + queries && d[3] >= keys) {
        mask = tb_emit_slice(c, tb_emit_slice(c, mask, 2, past, past + queries), 3, 0, keys);
    } else {
        tb_call_fail(c, "its mask's shape does not fit %lld queries and %lld keys",
                     (long long)queries, (long long)keys);
    }
    if (c->status == TIBA_OK) a->masks[1] = tb_emit_blocked(c, mask, blocked);
}

/* ---- com.microsoft: packed projection ------------------------------------------------------- */

void tb_lower_packed_attention(tb_call *c, tb_value *packed, int mask, int past, int bias) {
    if (c->status != TIBA_OK) return;
    if (tb_attr_int(c->node, "do_rotary", 0) ||
        tb_attr_int(c->node, "past_present_share_buffer", 0)) {
        tb_call_fail(c, "do_rotary and past_present_share_buffer are not supported");
        return;
    }
    int64_t heads = tb_attr_int(c->node, "num_heads", 0), n_sizes, sizes[3];
    const int64_t *given = tb_attr_ints(c->node, "qkv_hidden_sizes", &n_sizes);
    for (int i = 0; i < 3; i++) sizes[i] = n_sizes == 3 ? given[i] : packed->t.dims[2] / 3;
    tb_value *part[3];
    tb_emit_split(c, packed, 2, 3, sizes, part);
    for (int i = 0; i < 3; i++) part[i] = tb_emit_split_heads(c, part[i], heads);
    tb_attention a = {.q = part[0],
                      .k = part[1],
                      .v = part[2],
                      .scale = (double)tb_attr_float(c->node, "scale", 0)};
    tb_value *state = past >= 0 ? tb_call_in(c, past) : NULL, *kv[2];
    int64_t length = 0;
    if (state && c->status == TIBA_OK) {
        if (!tb_call_needs_rank(c, past, 5)) return;
        const int64_t *d = state->t.dims;
        length = d[3];
        tb_emit_split(c, state, 0, 2, (int64_t[]){1, 1}, kv);
        for (int i = 0; i < 2; i++)
            kv[i] = tb_emit_reshape(c, kv[i], 4, (int64_t[]){d[1], d[2], d[3], d[4]});
        a.k = with_past(c, kv[0], a.k);
        a.v = with_past(c, kv[1], a.v);
    }
    ms_mask(c, &a, mask, tb_attr_int(c->node, "unidirectional", 0) != 0, length);
    if (bias >= 0) a.masks[2] = tb_call_in(c, bias);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out < 2 || c->status != TIBA_OK) return;
    const int64_t *d = a.k->t.dims;
    int64_t one[] = {1, d[0], d[1], d[2], d[3]};
    c->out[1] =
        tb_emit_concat(c, tb_emit_reshape(c, a.k, 5, one), tb_emit_reshape(c, a.v, 5, one), 0);
}

void tb_lower_MsAttention(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 2)) return;
    tb_call_refuse_inputs(c, 6, 6, "past_sequence_length");
    tb_value *packed = tb_emit2(c, TB_OP_MatMul, c->in[0], c->in[1]);
    tb_lower_packed_attention(c, tb_emit_add_optional(c, packed, tb_call_in(c, 2)), 3, 4, 5);
}

/* ---- com.microsoft: MultiHeadAttention ------------------------------------------------------ */

/* A part of the packed bias [q ‖ k ‖ v] added to x [batch, tokens, features]; x in heads already
 * is a cached state that has its bias. */
static tb_value *biased_heads(tb_call *c, tb_value *x, int64_t from, int64_t heads) {
    tb_value *bias = tb_call_in(c, 3);
    if (c->status != TIBA_OK || x->t.rank == 4) return x;
    if (x->t.rank != 3) return tb_call_fail(c, "an operand has %d dimensions", x->t.rank);
    if (bias) x = tb_emit2(c, TB_OP_Add, x, tb_emit_slice(c, bias, 0, from, from + x->t.dims[2]));
    return tb_emit_split_heads(c, x, heads);
}

/* [batch, tokens, heads, count, size] to `count` times [batch, tokens, heads · size]. */
static void unpack(tb_call *c, tb_value *x, int count, tb_value **parts) {
    const int64_t *d = x->t.dims, ones[] = {1, 1, 1};
    tb_emit_split(c, x, 3, count, ones, parts);
    for (int i = 0; i < count; i++)
        parts[i] = tb_emit_reshape(c, parts[i], 3, (int64_t[]){d[0], d[1], d[2] * d[4]});
}

void tb_lower_MultiHeadAttention(tb_call *c) {
    tb_value *q = tb_call_in(c, 0), *k = tb_call_in(c, 1), *v = tb_call_in(c, 2), *part[3];
    tb_call_refuse_inputs(c, 8, 9, "a shared past buffer");
    int64_t heads = tb_attr_int(c->node, "num_heads", 0);
    if (q && q->t.rank == 5 && !k && q->t.dims[3] == 3) {
        unpack(c, q, 3, part);
        q = part[0], k = part[1], v = part[2];
    } else if (k && k->t.rank == 5 && !v && k->t.dims[3] == 2) {
        unpack(c, k, 2, part);
        k = part[0], v = part[1];
    }
    if (!q || !k || !v || q->t.rank != 3) {
        tb_call_fail(c, "its query, key and value have unknown shapes");
        return;
    }
    int64_t hidden = q->t.dims[2], past = 0;
    tb_attention a = {.scale = (double)tb_attr_float(c->node, "scale", 0)};
    a.q = biased_heads(c, q, 0, heads);
    a.k = biased_heads(c, k, hidden, heads);
    a.v = biased_heads(c, v, 2 * hidden, heads);
    if (tb_call_in(c, 6) && c->in[6]->t.rank == 4) past = c->in[6]->t.dims[2];
    a.k = with_past(c, tb_call_in(c, 6), a.k);
    a.v = with_past(c, tb_call_in(c, 7), a.v);
    ms_mask(c, &a, 4, tb_attr_int(c->node, "unidirectional", 0) != 0, past);
    a.masks[2] = tb_call_in(c, 5);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out > 1) c->out[1] = a.k;
    if (c->n_out > 2) c->out[2] = a.v;
    if (c->n_out > 3) c->out[3] = a.masked;
}

/* ---- com.microsoft: GroupQueryAttention ----------------------------------------------------- */

/* Per sample: how many keys are seen in all and how many of them are of the past. */
typedef struct lengths {
    const int64_t *past, *total;
    int64_t longest; /* of total */
    bool same;       /* all samples' pasts are equal */
} lengths;

/* seqlens_k is the count of a sample's keys less one. The call is a first prompt if it has as many
 * tokens as keys: then nothing of the past counts, and a shorter sample is padded at its end. */
static bool read_lengths(tb_call *c, int64_t batch, int64_t tokens, int64_t room, lengths *l) {
    const int64_t *last = tb_call_ints(c, tb_call_in(c, 5), batch, "seqlens_k"),
                  *all = tb_call_ints(c, tb_call_in(c, 6), 1, "total_sequence_length");
    int64_t *past = TB_NEW(c->b->graph->arena, int64_t, batch),
            *total = TB_NEW(c->b->graph->arena, int64_t, batch);
    if (!last || !all) return false;
    if (!past || !total) {
        c->status = tb_out_of_memory(c->error);
        return false;
    }
    *l = (lengths){.past = past, .total = total, .longest = tokens, .same = true};
    bool prompt = *all == tokens;
    for (int64_t b = 0; b < batch; b++) {
        bool fits = last[b] >= 0 && last[b] < room + tokens;
        total[b] = fits ? last[b] + 1 : 0;
        past[b] = prompt ? 0 : total[b] - tokens;
        if (!fits || past[b] < 0 || past[b] > room || total[b] > past[b] + tokens) {
            tb_call_fail(c,
                         "seqlens_k = %lld does not fit %lld new tokens and room for %lld past "
                         "ones",
                         (long long)last[b], (long long)tokens, (long long)room);
            return false;
        }
        if (past[b] + tokens > l->longest) l->longest = past[b] + tokens;
        if (past[b] != past[0]) l->same = false;
    }
    return true;
}

/* What is in use of the past, then the new tokens, then zeros up to the longest sample. */
static tb_value *cached(tb_call *c, tb_value *past, tb_value *x, const lengths *l) {
    if (c->status != TIBA_OK) return NULL;
    if (l->same) return l->past[0] ? with_past(c, tb_emit_slice(c, past, 2, 0, l->past[0]), x) : x;
    tb_value *all = NULL;
    int64_t tokens = x->t.dims[2];
    for (int64_t b = 0; b < x->t.dims[0]; b++) {
        tb_value *one = tb_emit_slice(c, x, 0, b, b + 1);
        if (l->past[b]) {
            tb_value *old = tb_emit_slice(c, past, 0, b, b + 1);
            one = tb_emit_concat(c, tb_emit_slice(c, old, 2, 0, l->past[b]), one, 2);
        }
        int64_t pads[8] = {0, 0, 0, 0, 0, 0, l->longest - l->past[b] - tokens, 0};
        if (pads[6]) one = tb_emit2(c, TB_OP_Pad, one, tb_emit_ints(c, 8, pads));
        all = all ? tb_emit_concat(c, all, one, 0) : one;
    }
    return all;
}

/* The keys or values in a buffer of the past's size. */
static tb_value *buffered(tb_call *c, tb_value *x, int64_t room) {
    if (c->status != TIBA_OK || x->t.dims[2] >= room) return x;
    int64_t pads[8] = {0, 0, 0, 0, 0, 0, room - x->t.dims[2], 0};
    return tb_emit2(c, TB_OP_Pad, x, tb_emit_ints(c, 8, pads));
}

/* Query, key and value in heads: from three inputs or from a packed one. */
static void grouped_heads(tb_call *c, tb_value **x) {
    int64_t heads = tb_attr_int(c->node, "num_heads", 0),
            kv_heads = tb_attr_int(c->node, "kv_num_heads", 0);
    if (!tb_call_needs_rank(c, 0, 3)) return;
    for (int i = 0; i < 3; i++) x[i] = tb_call_in(c, i);
    if (!x[1] && heads > 0 && kv_heads > 0) {
        int64_t size = x[0]->t.dims[2] / (heads + 2 * kv_heads);
        tb_emit_split(c, x[0], 2, 3, (int64_t[]){heads * size, kv_heads * size, kv_heads * size},
                      x);
    }
    if (c->status == TIBA_OK && (!x[1] || !x[2])) tb_call_fail(c, "key and value go together");
    for (int i = 0; i < 3; i++)
        x[i] = c->status == TIBA_OK ? tb_emit_split_heads(c, x[i], i ? kv_heads : heads) : NULL;
}

static void grouped_rotary(tb_call *c, tb_value **x, const lengths *l) {
    if (c->status != TIBA_OK || !tb_attr_int(c->node, "do_rotary", 0)) return;
    if (!tb_call_in(c, 7) || !tb_call_in(c, 8)) {
        tb_call_fail(c, "do_rotary needs two caches");
        return;
    }
    int64_t batch = x[0]->t.dims[0], tokens = x[0]->t.dims[2];
    tb_value *at = tb_call_in(c, 9) ? c->in[9] : positions_from(c, batch, l->past, tokens);
    tb_value *cos = tb_emit_rotary_rows(c, c->in[7], at),
             *sin = tb_emit_rotary_rows(c, c->in[8], at);
    bool pairs = tb_attr_int(c->node, "rotary_interleaved", 0) != 0;
    for (int i = 0; i < 2 && c->status == TIBA_OK; i++)
        x[i] = tb_emit_rotary(c, x[i], cos, sin, 2 * c->in[7]->t.dims[1], pairs);
}

void tb_lower_GroupQueryAttention(tb_call *c) {
    tb_value *x[3] = {NULL}, *past = tb_call_in(c, 3);
    lengths l;
    tb_call_refuse_inputs(c, 12, 13, "a quantised past");
    if (!past != !tb_call_in(c, 4)) tb_call_fail(c, "past_key and past_value go together");
    grouped_heads(c, x);
    if (c->status != TIBA_OK || (past && !tb_call_needs_rank(c, 3, 4))) return;
    int64_t batch = x[0]->t.dims[0], tokens = x[0]->t.dims[2], room = past ? past->t.dims[2] : 0,
            window = tb_attr_int(c->node, "local_window_size", -1);
    if (!read_lengths(c, batch, tokens, room, &l)) return;
    grouped_rotary(c, x, &l);
    tb_attention a = {.q = x[0],
                      .k = cached(c, past, x[1], &l),
                      .v = cached(c, tb_call_in(c, 4), x[2], &l),
                      .scale = (double)tb_attr_float(c->node, "scale", 0),
                      .softcap = (double)tb_attr_float(c->node, "softcap", 0),
                      .smooth = tb_attr_int(c->node, "smooth_softmax", 0) > 0,
                      .sink = tb_call_in(c, 11)};
    tb_window w = {.batch = batch,
                   .queries = tokens,
                   .keys = l.longest,
                   .right = 0,
                   .left = window > 0 ? window - 1 : -1,
                   .offset = l.past};
    a.masks[0] = tb_emit_window(c, &w);
    a.masks[1] = tb_call_in(c, 10);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out > 1) c->out[1] = buffered(c, a.k, room);
    if (c->n_out > 2) c->out[2] = buffered(c, a.v, room);
}

/* ---- relative positions --------------------------------------------------------------------- */

/* T5's bucket of the distance key - query. */
static int64_t bucket(int64_t distance, int64_t buckets, int64_t farthest, bool both) {
    int64_t base = 0, n = -distance;
    if (both) {
        buckets /= 2;
        if (n < 0) base = buckets, n = -n;
    } else if (n < 0) {
        n = 0;
    }
    int64_t exact = buckets / 2;
    if (n < exact) return base + n;
    double far = log((double)n / (double)exact) / log((double)farthest / (double)exact);
    int64_t b = exact + (int64_t)((float)far * (float)(buckets - exact));
    return base + (b < buckets - 1 ? b : buckets - 1);
}

/* bias_table [buckets, heads] by distance: [1, heads, queries, keys]. */
void tb_lower_RelativePositionBias(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 2)) return;
    const int64_t *queries = tb_call_ints(c, tb_call_in(c, 1), 1, "query_length"),
                  *keys = tb_call_ints(c, tb_call_in(c, 2), 1, "key_length");
    int64_t farthest = tb_attr_int(c->node, "max_distance", 128), buckets = c->in[0]->t.dims[0];
    bool both = tb_attr_int(c->node, "is_bidirectional", 0) != 0;
    if (c->status != TIBA_OK) return;
    if (*queries < 0 || *keys < 0 || farthest <= 0 || buckets < 4) {
        tb_call_fail(c, "its lengths or its table are out of range");
        return;
    }
    tb_value *which;
    tiba_tensor *t = tb_emit_tensor(c, &which, TIBA_INT64, 2, (int64_t[]){*queries, *keys});
    for (int64_t i = 0, n = *queries * *keys; t && i < n; i++)
        tb_set_i64(t, i, bucket(i % *keys - i / *keys, buckets, farthest, both));
    tb_value *rows = tb_emit2(c, TB_OP_Gather, c->in[0], which);
    rows = tb_emit_transpose(c, rows, 3, (int64_t[]){2, 0, 1});
    c->out[0] = tb_emit_reshape(c, rows, 4, (int64_t[]){1, c->in[0]->t.dims[1], *queries, *keys});
}
