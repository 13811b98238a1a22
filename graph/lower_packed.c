/*
 * Lowering of onnxruntime's packing mode: the tokens of a batch without their padding, one behind
 * the other, and the attentions that read them so. Which tokens are padding is known while binding.
 */
#include "graph/lower_attention.h"

/* Where the tokens of [batch, tokens] stand: offsets[i] is the place of packed token i. */
typedef struct packing {
    int64_t batch, tokens, count;
    const int64_t *offsets;
} packing;

static bool is_run(const packing *p) {
    for (int64_t i = 0; i < p->count; i++)
        if (p->offsets[i] != i) return false;
    return true;
}

/* Reads the offsets from an input [batch, tokens]; the first `count` are those of real tokens. */
static bool read_packing(tb_call *c, packing *p, int input, int64_t count) {
    if (!tb_call_needs_rank(c, input, 2)) return false;
    const int64_t *d = c->in[input]->t.dims;
    int64_t room;
    if (!tb_i64_mul(&room, d[0], d[1]) || count > room) {
        tb_call_fail(c, "its token_offset does not fit %lld tokens", (long long)count);
        return false;
    }
    *p = (packing){.batch = d[0], .tokens = d[1], .count = count};
    p->offsets = tb_call_ints(c, c->in[input], room, "token_offset");
    for (int64_t i = 0; p->offsets && i < count; i++)
        if (p->offsets[i] < 0 || p->offsets[i] >= room) {
            tb_call_fail(c, "token_offset %lld is outside the batch", (long long)p->offsets[i]);
            return false;
        }
    return p->offsets != NULL;
}

/* [batch, tokens, features] to [count, features]. */
static tb_value *pack(tb_call *c, const packing *p, tb_value *x) {
    if (c->status != TIBA_OK) return NULL;
    x = tb_emit_reshape(c, x, 2, (int64_t[]){p->batch * p->tokens, x->t.dims[2]});
    if (!is_run(p)) return tb_emit2(c, TB_OP_Gather, x, tb_emit_ints(c, (int)p->count, p->offsets));
    return p->count == p->batch * p->tokens ? x : tb_emit_slice(c, x, 0, 0, p->count);
}

/* [count, features] to [batch, tokens, features], zeros where there is padding. */
static tb_value *unpack(tb_call *c, const packing *p, tb_value *x) {
    if (c->status != TIBA_OK) return NULL;
    int64_t room = p->batch * p->tokens, whole[] = {p->batch, p->tokens, x->t.dims[1]};
    bool run = is_run(p);
    int64_t pads[] = {0, 0, run ? room - p->count : 1, 0};
    if (pads[2]) x = tb_emit2(c, TB_OP_Pad, x, tb_emit_ints(c, 4, pads));
    if (!run) {
        tb_value *which;
        tiba_tensor *t = tb_emit_tensor(c, &which, TIBA_INT64, 1, &room);
        for (int64_t i = 0; t && i < room; i++) tb_set_i64(t, i, p->count);
        for (int64_t i = 0; t && i < p->count; i++) tb_set_i64(t, p->offsets[i], i);
        x = tb_emit2(c, TB_OP_Gather, x, which);
    }
    return tb_emit_reshape(c, x, 3, whole);
}

/* input, count of each sample's tokens: packed tokens, offsets, counts summed up, the longest. */
void tb_lower_RemovePadding(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3)) return;
    int64_t batch = c->in[0]->t.dims[0], tokens = c->in[0]->t.dims[1], longest = 0, real = 0;
    const int64_t *counts = tb_call_ints(c, tb_call_in(c, 1), batch, "sequence_token_count");
    for (int64_t b = 0; counts && b < batch; b++) {
        if (counts[b] < 0 || counts[b] > tokens) {
            tb_call_fail(c, "a sample of %lld tokens does not fit %lld", (long long)counts[b],
                         (long long)tokens);
            return;
        }
        real += counts[b];
        longest = counts[b] > longest ? counts[b] : longest;
    }
    tb_value *offset, *sums, *most;
    tiba_tensor *o = tb_emit_tensor(c, &offset, TIBA_INT32, 2, (int64_t[]){batch, tokens}),
                *s = tb_emit_tensor(c, &sums, TIBA_INT32, 1, (int64_t[]){batch + 1}),
                *m = tb_emit_tensor(c, &most, TIBA_INT32, 1, (int64_t[]){1});
    if (!counts || !o || !s || !m) return;
    int64_t at = 0, behind = real;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t i = 0; i < tokens; i++)
            tb_set_i64(o, i < counts[b] ? at++ : behind++, b * tokens + i);
        tb_set_i64(s, b + 1, at);
    }
    tb_set_i64(m, 0, longest);
    packing p = {.batch = batch, .tokens = tokens, .count = real};
    p.offsets = tb_call_ints(c, offset, batch * tokens, "token_offset");
    c->out[0] = pack(c, &p, c->in[0]);
    tb_value *const rest[] = {offset, sums, most};
    for (int i = 1; i < c->n_out && i < 4; i++) c->out[i] = rest[i - 1];
}

void tb_lower_RestorePadding(tb_call *c) {
    packing p;
    if (!tb_call_needs_rank(c, 0, 2) || !read_packing(c, &p, 1, c->in[0]->t.dims[0])) return;
    c->out[0] = unpack(c, &p, c->in[0]);
}

/* Each sample's count of tokens from input `sums`, as a mask of lengths. */
static tb_value *token_counts(tb_call *c, const packing *p, int sums) {
    const int64_t *sum =
        tb_call_ints(c, tb_call_in(c, sums), p->batch + 1, "cumulative_sequence_length");
    tb_value *value;
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_INT64, 1, &p->batch);
    for (int64_t b = 0; sum && t && b < p->batch; b++) {
        int64_t count = sum[b + 1] - sum[b];
        if (count < 0 || count > p->tokens || sum[b] < 0)
            return tb_call_fail(c, "its cumulative_sequence_length does not fit %lld tokens",
                                (long long)p->tokens);
        tb_set_i64(t, b, count);
    }
    return value;
}

/* input, weights, bias, offsets, summed counts, attention_bias */
void tb_lower_PackedAttention(tb_call *c) {
    packing p;
    if (!tb_call_needs_rank(c, 0, 2) || !tb_call_needs_rank(c, 1, 2) ||
        !read_packing(c, &p, 3, c->in[0]->t.dims[0]))
        return;
    tb_value *y = tb_emit2(c, TB_OP_MatMul, c->in[0], c->in[1]);
    y = unpack(c, &p, tb_emit_add_optional(c, y, tb_call_in(c, 2)));
    c->in[4] = token_counts(c, &p, 4);
    tb_lower_packed_attention(c, y, (tb_packed_inputs){.mask = 4, .past = -1, .bias = 5});
    c->out[0] = pack(c, &p, c->out[0]);
}

/* query, key and value (or one of all), bias, offsets, summed counts, attention_bias */
void tb_lower_PackedMultiHeadAttention(tb_call *c) {
    packing p;
    tb_value *x[3] = {tb_call_in(c, 0), tb_call_in(c, 1), tb_call_in(c, 2)};
    if (!x[0] || !read_packing(c, &p, 4, x[0]->t.dims[0])) return;
    if (!x[1] && x[0]->t.rank == 4 && x[0]->t.dims[2] == 3) {
        const int64_t *d = x[0]->t.dims, ones[] = {1, 1, 1}, rows[] = {d[0], d[1] * d[3]};
        tb_emit_split(c, x[0], 2, 3, ones, x);
        for (int i = 0; i < 3; i++) x[i] = tb_emit_reshape(c, x[i], 2, rows);
    }
    if (c->status != TIBA_OK) return;
    for (int i = 0; i < 3; i++) {
        if (!x[i] || x[i]->t.rank != 2 || x[i]->t.dims[0] != p.count) {
            tb_call_fail(c, "its query, key and value have unknown shapes");
            return;
        }
        c->in[i] = unpack(c, &p, x[i]);
    }
    tb_value *bias = tb_call_in(c, 6);
    c->in[4] = token_counts(c, &p, 5);
    c->in[5] = bias;
    c->n_in = 6;
    tb_lower_MultiHeadAttention(c);
    c->out[0] = pack(c, &p, c->out[0]);
}

/* rel_pos · (u (r eco_a - 1) + 2), where u and r are sigmoids of sums over the halves of a product
 * with the query. */
void tb_lower_GatedRelativePositionBias(tb_call *c) {
    tb_value *x = tb_call_in(c, 0), *part[2];
    for (int i = 0; i < 6; i++)
        if (!tb_call_in(c, i)) {
            tb_call_fail(c, "input %d is missing", i);
            return;
        }
    if (tb_call_in(c, 6)) {
        packing p;
        if (!tb_call_needs_rank(c, 0, 2) || !read_packing(c, &p, 6, x->t.dims[0])) return;
        x = unpack(c, &p, x);
    }
    x = tb_emit2(c, TB_OP_Add, x, c->in[1]);
    x = tb_emit_split_heads(c, x, tb_attr_int(c->node, "num_heads", 0));
    x = tb_emit2(c, TB_OP_Add, tb_emit2(c, TB_OP_MatMul, x, c->in[3]), c->in[4]);
    if (c->status != TIBA_OK) return;
    const int64_t *d = x->t.dims, halves[] = {d[0], d[1], d[2], 2, d[3] / 2}, ones[] = {1, 1};
    tb_value *in[] = {tb_emit_reshape(c, x, 5, halves), tb_emit_ints(c, 1, (int64_t[]){4})};
    x = tb_emit(c, TB_OP_ReduceSum, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
    tb_emit_split(c, tb_emit1(c, TB_OP_Sigmoid, x), 3, 2, ones, part);
    x = tb_emit2(c, TB_OP_Mul, part[1], c->in[5]);
    x = tb_emit2(c, TB_OP_Mul, part[0], tb_emit2(c, TB_OP_Sub, x, tb_emit_scalar(c, 1)));
    c->out[0] = tb_emit2(c, TB_OP_Mul, tb_emit2(c, TB_OP_Add, x, tb_emit_scalar(c, 2)), c->in[2]);
}
