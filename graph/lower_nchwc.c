/*
 * Lowering of com.microsoft.nchwc.*, which onnxruntime writes for the processor at hand when it
 * saves a graph optimised at its highest level. Its activations hold blocks of channels,
 * [n, channels / block, h, w, block], behind a nominal shape [n, channels, h, w] with channels
 * rounded up to whole blocks. Here they are plain [n, channels, h, w] of that nominal shape: only
 * filters are taken apart. Every other operator that onnxruntime leaves between them works element
 * by element or joins whole blocks, and so means the same on either.
 */
#include <string.h>

#include "graph/lower.h"

/* ---- the size of a block -------------------------------------------------------------------- */

/* What onnxruntime uses on this processor: such a file means something on its like only. */
static int64_t block_here(void) {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("avx512f") ? 16 : 8;
#else
    return 16;
#endif
}

static int64_t rounded_up(int64_t n, int64_t block) {
    return (n + block - 1) / block * block;
}

static bool is_nchwc(const tb_node *node, const char *op) {
    return strcmp(node->domain, "com.microsoft.nchwc") == 0 && strcmp(node->op_type, op) == 0;
}

/* Can the node have been made with blocks of this size? */
static bool fits_block(const tb_node *node, int64_t block) {
    const tb_value *in = node->n_in > 0 ? node->in[0] : NULL;
    if (is_nchwc(node, "Conv") && node->n_in > 1 && node->in[1] && node->in[1]->t.rank == 4) {
        const int64_t *w = node->in[1]->t.dims;
        return w[0] % block == 0 && (w[1] < block || w[1] % block == 0);
    }
    if (is_nchwc(node, "ReorderOutput") && in && in->producer && is_nchwc(in->producer, "Conv")) {
        const tb_node *conv = in->producer;
        if (conv->n_in < 2 || !conv->in[1] || conv->in[1]->t.rank != 4) return true;
        int64_t channels = tb_attr_int(node, "channels", 0);
        return rounded_up(channels, block) == conv->in[1]->t.dims[0];
    }
    return true;
}

/* The graph's nodes tell where channels are no multiple of 16; else this processor does. */
static int64_t block_of(tb_call *c) {
    static const int64_t sizes[] = {8, 16};
    bool fits[2];
    const tb_node *first = c->node;
    while (first->prev) first = first->prev;
    for (int i = 0; i < 2; i++) {
        fits[i] = true;
        for (const tb_node *node = first; node && fits[i]; node = node->next)
            fits[i] = fits_block(node, sizes[i]);
    }
    if (!fits[0] && !fits[1]) {
        tb_call_fail(c, "its filters fit no known block of channels");
        return 0;
    }
    return fits[0] && fits[1] ? block_here() : fits[0] ? 8 : 16;
}

/* ---- in and out ----------------------------------------------------------------------------- */

void tb_lower_NchwcReorderInput(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 4)) return;
    tb_value *x = c->in[0];
    if (tb_attr_int(c->node, "channels_last", 0))
        x = tb_emit_transpose(c, x, 4, (int64_t[]){0, 3, 1, 2});
    int64_t block = block_of(c);
    if (c->status != TIBA_OK) return;
    int64_t missing = rounded_up(x->t.dims[1], block) - x->t.dims[1];
    int64_t pads[8] = {0, 0, 0, 0, 0, missing, 0, 0};
    c->out[0] = missing ? tb_emit2(c, TB_OP_Pad, x, tb_emit_ints(c, 8, pads)) : x;
}

void tb_lower_NchwcReorderOutput(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 4)) return;
    int64_t channels = tb_attr_int(c->node, "channels", 0);
    tb_value *y = c->in[0];
    if (channels <= 0 || channels > y->t.dims[1]) {
        tb_call_fail(c, "%lld channels of %lld", (long long)channels, (long long)y->t.dims[1]);
        return;
    }
    if (channels < y->t.dims[1]) y = tb_emit_slice(c, y, 1, 0, channels);
    if (tb_attr_int(c->node, "channels_last", 0))
        y = tb_emit_transpose(c, y, 4, (int64_t[]){0, 2, 3, 1});
    c->out[0] = y;
}

/* ---- filters -------------------------------------------------------------------------------- */

/* [out / block, in / block, h, w, in in block, out in block], or without blocks of inputs
 * [out / block, in, h, w, out in block], as [out, in, h, w]. */
static tb_value *plain_filters(tb_call *c, tb_value *w, int64_t block) {
    const int64_t *d = w->t.dims;
    bool inputs = d[1] >= block;
    int64_t in_block = inputs ? block : 1;
    int64_t blocked[] = {d[0] / block, d[1] / in_block, d[2], d[3], in_block, block};
    tb_value *y = tb_emit_reshape(c, w, 6, blocked);
    y = tb_emit_transpose(c, y, 6, (int64_t[]){0, 5, 1, 4, 2, 3});
    return tb_emit_reshape(c, y, 4, d);
}

/* X, filters, bias, a summand of the result's shape; then an activation. */
void tb_lower_NchwcConv(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 4) || !tb_call_needs_rank(c, 1, 4)) return;
    int64_t block = block_of(c);
    if (c->status != TIBA_OK) return;
    const int64_t *d = c->in[1]->t.dims;
    if (d[0] % block || (d[1] >= block && d[1] % block)) {
        tb_call_fail(c, "its filters do not fit blocks of %lld channels", (long long)block);
        return;
    }
    c->in[1] = plain_filters(c, c->in[1], block);
    if (c->status == TIBA_OK) tb_lower_FusedConv(c);
}

/* ---- windows -------------------------------------------------------------------------------- */

void tb_lower_NchwcAveragePool(tb_call *c) {
    c->op = &tb_ops[TB_OP_AveragePool];
}

void tb_lower_NchwcGlobalAveragePool(tb_call *c) {
    c->op = &tb_ops[TB_OP_GlobalAveragePool];
}

void tb_lower_NchwcGlobalMaxPool(tb_call *c) {
    c->op = &tb_ops[TB_OP_GlobalMaxPool];
}

void tb_lower_NchwcMaxPool(tb_call *c) {
    c->op = &tb_ops[TB_OP_MaxPool];
}

/* Whole-numbered scales of all four axes. */
void tb_lower_NchwcUpsample(tb_call *c) {
    int64_t count;
    const int64_t *scales = tb_attr_ints(c->node, "scales", &count);
    if (!tb_call_needs_rank(c, 0, 4)) return;
    if (!scales || count != 4) {
        tb_call_fail(c, "needs four scales");
        return;
    }
    tiba_tensor *t = tb_emit_tensor(c, &c->in[2], TIBA_FLOAT32, 1, &count);
    for (int i = 0; t && i < 4; i++) tb_set_f64(t, i, (double)scales[i]);
    c->in[1] = NULL;
    c->n_in = 3;
    tb_call_drop_attr(c, "scales");
    const char *mode = tb_attr_string(c->node, "mode", "nearest");
    if (strcmp(mode, "nearest") == 0) { /* copies whole pixels */
        tb_call_set_attr(c, TB_STRING_ATTR("coordinate_transformation_mode", "asymmetric"));
        tb_call_set_attr(c, TB_STRING_ATTR("nearest_mode", "floor"));
    }
    c->op = &tb_ops[TB_OP_Resize];
}
