/*
 * Lowering of ai.onnx Attention (23 and later) and RotaryEmbedding, and of onnxruntime's attention
 * operators with separate or packed q, k, v. The core is in emit_attention.c.
 */
#include "graph/lower_attention.h"

#include <float.h>
#include <math.h>
#include <string.h>

tb_value *tb_emit_past(tb_call *c, tb_value *past, tb_value *x) {
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
    a.k = tb_emit_past(c, past, a.k);
    a.v = tb_emit_past(c, tb_call_in(c, 5), a.v);
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

/* x in heads, whatever its form; `dim` of each is rotated. com.microsoft's RotaryEmbedding has
 * an attribute `scale` that onnxruntime does not read: what runs there is not scaled. */
static void rotate(tb_call *c, tb_value *cos, tb_value *sin, int64_t heads, int64_t dim) {
    tb_value *x = tb_call_in(c, 0);
    if (c->status != TIBA_OK) return;
    bool flat = x->t.rank == 3;
    tb_value *split = flat ? tb_emit_split_heads(c, x, heads) : x;
    if (c->status != TIBA_OK) return;
    tb_value *y = tb_emit_rotary(c, split, cos, sin, dim > 0 ? dim : split->t.dims[3],
                                 tb_attr_int(c->node, "interleaved", 0) != 0);
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

tb_value *tb_emit_positions(tb_call *c, int64_t batch, const int64_t *first, int64_t tokens) {
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
        ids = tb_emit_positions(c, 1, first, tokens);
    }
    int64_t dim = tb_attr_int(c->node, "rotary_embedding_dim", 0), full = 2 * cos->t.dims[1],
            heads = tb_attr_int(c->node, "num_heads", 0);
    if (x->t.rank == 3 && heads == 0 && full > 0) heads = x->t.dims[2] / full;
    rotate(c, tb_emit_rotary_rows(c, cos, ids), tb_emit_rotary_rows(c, sin, ids), heads,
           dim > 0 ? dim : full);
}

/* q cos + q_rot sin and the same of k, with the sines and cosines of emb [batch, tokens, size]. */
void tb_lower_GemmaRotaryEmbedding(tb_call *c) {
    for (int i = 0; i < 5; i++)
        if (!tb_call_needs_rank(c, i, i ? 4 : 3)) return;
    const int64_t *d = c->in[0]->t.dims;
    tb_value *angle = tb_emit_reshape(c, c->in[0], 4, (int64_t[]){d[0], 1, d[1], d[2]}),
             *sin = tb_emit1(c, TB_OP_Sin, angle), *cos = tb_emit1(c, TB_OP_Cos, angle);
    for (int i = 0; i < 2 && i < c->n_out; i++)
        c->out[i] = tb_emit2(c, TB_OP_Add, tb_emit2(c, TB_OP_Mul, c->in[2 * i + 1], cos),
                             tb_emit2(c, TB_OP_Mul, c->in[2 * i + 2], sin));
}

/* Which of the three positions (time, row, column) turns feature j: in three sections one behind
 * the other, or in turns as long as a section lasts. */
static int64_t turned_by(const int64_t *sections, bool in_turns, int64_t j) {
    if (!in_turns) return j < sections[0] ? 0 : j < sections[0] + sections[1] ? 1 : 2;
    return j % 3 && j < 3 * sections[j % 3] ? j % 3 : 0;
}

/* Rows of a cache [positions, half] for positions [3, batch, tokens], a third of them each. */
static tb_value *sectioned_rows(tb_call *c, tb_value *cache, tb_value *positions,
                                const int64_t *sections) {
    tb_value *all = NULL, *which, *at[3];
    bool in_turns = tb_attr_int(c->node, "mrope_layout", 0) == 1;
    tb_emit_split(c, positions, 0, 3, (int64_t[]){1, 1, 1}, at);
    if (c->status != TIBA_OK) return NULL;
    int64_t half = cache->t.dims[1], rows[] = {at[0]->t.dims[1], at[0]->t.dims[2]};
    for (int i = 0; i < 3; i++) {
        tb_value *one = tb_emit_rotary_rows(c, cache, tb_emit_reshape(c, at[i], 2, rows));
        all = all ? tb_emit_concat(c, all, one, 3) : one;
    }
    tiba_tensor *t = tb_emit_tensor(c, &which, TIBA_INT64, 1, &half);
    for (int64_t j = 0; t && j < half; j++)
        tb_set_i64(t, j, turned_by(sections, in_turns, j) * half + j);
    return tb_emit(c, TB_OP_Gather, 2, (tb_value *[]){all, which}, 1, &TB_INT_ATTR("axis", 3));
}

/* input, position_ids [3, batch, tokens], caches */
void tb_lower_MRotaryEmbedding(tb_call *c) {
    tb_value *x = tb_call_in(c, 0);
    int64_t n, dim = tb_attr_int(c->node, "rotary_embedding_dim", 0),
               heads = tb_attr_int(c->node, "num_heads", 0);
    const int64_t *sections = tb_attr_ints(c->node, "mrope_section", &n);
    if (!x || x->t.rank < 3 || x->t.rank > 4 || !tb_call_needs_rank(c, 1, 3) ||
        !tb_call_needs_rank(c, 2, 2) || !tb_call_needs_rank(c, 3, 2) || !sections || n != 3 ||
        c->in[1]->t.dims[0] != 3 || !c->in[1]->t.data) {
        tb_call_fail(c, "needs an input of 3 or 4 dimensions, known positions [3, batch, tokens], "
                        "caches and three sections");
        return;
    }
    int64_t half = c->in[2]->t.dims[1];
    if (sections[0] < 0 || sections[1] < 0 || sections[0] > half || sections[1] > half) {
        tb_call_fail(c, "its sections do not fit caches of %lld", (long long)half);
        return;
    }
    if (x->t.rank == 3 && heads == 0 && half > 0) heads = x->t.dims[2] / (2 * half);
    rotate(c, sectioned_rows(c, c->in[2], c->in[1], sections),
           sectioned_rows(c, c->in[3], c->in[1], sections), heads, dim > 0 ? dim : 2 * half);
    c->out[0] = tb_emit_scale(c, c->out[0], (double)tb_attr_float(c->node, "scale", 1.0f));
}

/* ---- com.microsoft: masks ------------------------------------------------------------------- */

void tb_call_mask(tb_call *c, tb_attention *a, int mask_input, bool causal, int64_t past) {
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

/* What is in use of a past [2, batch, heads, tokens, size]: all of it, or as the input for its
 * length says where past and present share a buffer; what follows the new tokens is `*rest`. */
static tb_value *past_in_use(tb_call *c, const tb_packed_inputs *inputs, int64_t tokens,
                             tb_value **rest) {
    tb_value *past = inputs->past > 0 ? tb_call_in(c, inputs->past) : NULL;
    bool shared = tb_attr_int(c->node, "past_present_share_buffer", 0) != 0;
    *rest = NULL;
    if (!past || !tb_call_needs_rank(c, inputs->past, 5)) {
        if (shared) tb_call_fail(c, "past_present_share_buffer without a past is not supported");
        return NULL;
    }
    if (past->t.dims[0] != 2) return tb_call_fail(c, "its past must be [2, …]");
    if (!shared) return past->t.dims[3] ? past : NULL;
    if (inputs->length <= 0) return tb_call_fail(c, "past_present_share_buffer is not supported");
    const int64_t *used = tb_call_ints(c, tb_call_in(c, inputs->length), 1, "past_sequence_length");
    int64_t room = past->t.dims[3];
    if (!used) return NULL;
    if (*used < 0 || *used > room - tokens)
        return tb_call_fail(c, "past_sequence_length %lld does not fit a buffer of %lld",
                            (long long)*used, (long long)room);
    if (*used + tokens < room) *rest = tb_emit_slice(c, past, 3, *used + tokens, room);
    return *used ? tb_emit_slice(c, past, 3, 0, *used) : NULL;
}

void tb_lower_packed_attention(tb_call *c, tb_value *packed, tb_packed_inputs inputs) {
    if (c->status != TIBA_OK) return;
    if (packed->t.rank != 3 || tb_attr_int(c->node, "do_rotary", 0)) {
        tb_call_fail(c, "its input must have 3 dimensions, and do_rotary is not supported");
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
    tb_value *rest, *state = past_in_use(c, &inputs, packed->t.dims[1], &rest), *kv[2];
    int64_t length = 0;
    if (state && c->status == TIBA_OK) {
        const int64_t *d = state->t.dims;
        length = d[3];
        tb_emit_split(c, state, 0, 2, (int64_t[]){1, 1}, kv);
        for (int i = 0; i < 2; i++)
            kv[i] = tb_emit_reshape(c, kv[i], 4, (int64_t[]){d[1], d[2], d[3], d[4]});
        a.k = tb_emit_past(c, kv[0], a.k);
        a.v = tb_emit_past(c, kv[1], a.v);
    }
    tb_call_mask(c, &a, inputs.mask, tb_attr_int(c->node, "unidirectional", 0) != 0, length);
    if (inputs.bias > 0) a.masks[2] = tb_call_in(c, inputs.bias);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (!tb_call_wants(c, 1) || c->status != TIBA_OK) return;
    const int64_t *d = a.k->t.dims;
    if (a.v->t.dims[3] != d[3]) {
        tb_call_fail(c, "its present keys and values have different sizes");
        return;
    }
    int64_t one[] = {1, d[0], d[1], d[2], d[3]};
    c->out[1] =
        tb_emit_concat(c, tb_emit_reshape(c, a.k, 5, one), tb_emit_reshape(c, a.v, 5, one), 0);
    if (rest) c->out[1] = tb_emit_concat(c, c->out[1], rest, 3);
}

void tb_lower_MsAttention(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 2)) return;
    tb_value *packed = tb_emit2(c, TB_OP_MatMul, c->in[0], c->in[1]);
    packed = tb_emit_add_optional(c, packed, tb_call_in(c, 2));
    tb_lower_packed_attention(c, packed,
                              (tb_packed_inputs){.mask = 3, .past = 4, .bias = 5, .length = 6});
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
    a.k = tb_emit_past(c, tb_call_in(c, 6), a.k);
    a.v = tb_emit_past(c, tb_call_in(c, 7), a.v);
    tb_call_mask(c, &a, 4, tb_attr_int(c->node, "unidirectional", 0) != 0, past);
    a.masks[2] = tb_call_in(c, 5);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out > 1) c->out[1] = a.k;
    if (c->n_out > 2) c->out[2] = a.v;
    if (c->n_out > 3) c->out[3] = a.masked;
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
