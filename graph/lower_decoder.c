/*
 * Lowering of onnxruntime's attentions of a decoder's step: the past in a buffer or a cache, flags
 * as inputs. They are the ordinary ones on rearranged inputs.
 */
#include "graph/lower_attention.h"

/* Keys come from other beams in a beam search only. */
static void refuse_beams(tb_call *c, int width) {
    double beams = 1;
    const tb_value *value = tb_call_in(c, width);
    if (value && (!tb_scalar_constant(value, &beams) || beams != 1))
        tb_call_fail(c, "a beam_width other than 1 is not supported");
}

/* query, key, value, mask, attention_bias, past key and value, their length, beams, bias */
void tb_lower_DecoderMaskedMultiHeadAttention(tb_call *c) {
    tb_value *in[11], *old[2], *rest[2] = {NULL};
    for (int i = 0; i < 11; i++) in[i] = tb_call_in(c, i);
    refuse_beams(c, 8);
    if (!in[0] || in[0]->t.rank != 3 || !in[5] != !in[6]) {
        tb_call_fail(c, "its query must be [batch, 1, features], its pasts go together");
        return;
    }
    if (!in[1]) {
        int64_t size = in[0]->t.dims[2] / 3, sizes[] = {size, size, size};
        tb_emit_split(c, in[0], 2, 3, sizes, in);
    }
    for (int i = 0; i < 2 && c->status == TIBA_OK; i++) {
        old[i] = in[5 + i];
        if (!old[i] || !tb_attr_int(c->node, "past_present_share_buffer", 0)) continue;
        if (!tb_call_needs_rank(c, 5 + i, 4)) return;
        int64_t room = old[i]->t.dims[2], new = in[0]->t.dims[1];
        const int64_t *used = tb_call_ints(c, in[7], 1, "past_sequence_length");
        if (!used) return;
        if (*used < 0 || *used > room - new) {
            tb_call_fail(c, "past_sequence_length %lld does not fit a buffer of %lld",
                         (long long)*used, (long long)room);
            return;
        }
        old[i] = *used ? tb_emit_slice(c, in[5 + i], 2, 0, *used) : NULL;
        if (*used + new < room) rest[i] = tb_emit_slice(c, in[5 + i], 2, *used + new, room);
    }
    if (c->status != TIBA_OK) return;
    tb_value *const ordinary[] = {in[0], in[1], in[2], in[10], in[3], in[4], old[0], old[1]};
    for (int i = 0; i < 8; i++) c->in[i] = ordinary[i];
    c->n_in = 8;
    tb_lower_MultiHeadAttention(c);
    for (int i = 1; i < 3 && i < c->n_out; i++)
        if (rest[i - 1]) c->out[i] = tb_emit_concat(c, c->out[i], rest[i - 1], 2);
}

/* input, weights, bias, mask, past, attention_bias, the past's length, beams */
void tb_lower_DecoderMaskedSelfAttention(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 2)) return;
    refuse_beams(c, 7);
    tb_value *y = tb_emit2(c, TB_OP_MatMul, c->in[0], c->in[1]);
    y = tb_emit_add_optional(c, y, tb_call_in(c, 2));
    tb_lower_packed_attention(c, y,
                              (tb_packed_inputs){.mask = 3, .past = 4, .bias = 5, .length = 6});
}

static bool flag(tb_call *c, int i) {
    double on = 0;
    if (c->status == TIBA_OK && (!tb_call_in(c, i) || !tb_scalar_constant(c->in[i], &on)))
        tb_call_fail(c, "its flag (input %d) is no constant", i);
    return on != 0;
}

/* [tokens, batch, features] or back. */
static tb_value *batch_first(tb_call *c, tb_value *x) {
    return tb_emit_transpose(c, x, 3, (int64_t[]){1, 0, 2});
}

/* -inf where key_padding_mask [batch, keys] is true. */
static tb_value *padding(tb_call *c, const tb_value *flags, int64_t batch, int64_t keys) {
    tb_value *value;
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_FLOAT32, 4, (int64_t[]){batch, 1, 1, keys});
    const int64_t *masked = tb_call_ints(c, flags, batch * keys, "key_padding_mask");
    for (int64_t i = 0; masked && t && i < batch * keys; i++)
        if (masked[i])
            tb_set_f64(t, i, (double)tb_attr_float(c->node, "mask_filter_value", -10000));
    return value;
}

/* query, key [tokens, batch, features], weights of q and of k and v, bias, key_padding_mask, caches
 * of keys and values, flags: keys are of another sequence, use the caches, there are caches, there
 * is a mask. */
void tb_lower_DecoderAttention(tb_call *c) {
    for (int i = 0; i < 5; i++)
        if (!tb_call_needs_rank(c, i, i < 2 ? 3 : i < 4 ? 2 : 1)) return;
    bool fixed = flag(c, 8), cached = flag(c, 9), masked = flag(c, 11);
    cached = flag(c, 10) && cached;
    int64_t heads = tb_attr_int(c->node, "num_heads", 0), size = c->in[0]->t.dims[2];
    tb_value *bias = c->in[4], *kv[2] = {tb_call_in(c, 6), tb_call_in(c, 7)}, *new[2];
    if (cached && (!kv[0] || !kv[1])) tb_call_fail(c, "its caches are missing");
    tb_value *q = tb_emit2(c, TB_OP_MatMul, batch_first(c, c->in[0]), c->in[2]);
    q = tb_emit2(c, TB_OP_Add, q, tb_emit_slice(c, bias, 0, 0, size));
    if (!cached || !fixed) {
        tb_value *y = tb_emit2(c, TB_OP_MatMul, batch_first(c, c->in[fixed]), c->in[3]);
        y = tb_emit2(c, TB_OP_Add, y, tb_emit_slice(c, bias, 0, size, 3 * size));
        tb_emit_split(c, y, 2, 2, (int64_t[]){size, size}, new);
        for (int i = 0; i < 2; i++)
            kv[i] = tb_emit_past(c, cached ? kv[i] : NULL, tb_emit_split_heads(c, new[i], heads));
    }
    tb_attention a = {.q = tb_emit_split_heads(c, q, heads), .k = kv[0], .v = kv[1]};
    if (c->status != TIBA_OK) return;
    if (a.k->t.rank != 4 || a.v->t.rank != 4) {
        tb_call_fail(c, "its caches must be [batch, heads, tokens, size]");
        return;
    }
    if (masked) a.masks[0] = padding(c, tb_call_in(c, 5), a.k->t.dims[0], a.k->t.dims[2]);
    c->out[0] = batch_first(c, tb_emit_merge_heads(c, tb_emit_attention(c, &a)));
    for (int i = 1; i < 3 && i < c->n_out; i++) c->out[i] = kv[i - 1];
}
