/*
 * Lowering of onnxruntime's LongformerAttention. A token sees its neighbours and the global tokens;
 * a global token sees all, by projections of its own. Both are written as attentions over all keys
 * with what is not seen masked.
 */
#include <math.h>

#include "graph/lower_attention.h"

/* softmax(q kᵀ + mask) v of input projected by `weight` and `bias` (inputs of the call). */
static tb_value *attend(tb_call *c, int weight, int bias, tb_value *mask) {
    int64_t heads = tb_attr_int(c->node, "num_heads", 0);
    tb_value *y = tb_emit2(c, TB_OP_MatMul, c->in[0], c->in[weight]), *part[3];
    y = tb_emit_add_optional(c, y, c->in[bias]);
    if (c->status != TIBA_OK) return NULL;
    int64_t size = y->t.dims[2] / 3;
    tb_emit_split(c, y, 2, 3, (int64_t[]){size, size, size}, part);
    for (int i = 0; i < 3; i++) part[i] = tb_emit_split_heads(c, part[i], heads);
    tb_attention a = {.q = part[0], .k = part[1], .v = part[2], .masks = {mask}};
    return tb_emit_merge_heads(c, tb_emit_attention(c, &a));
}

/* input, weight and bias, mask (negative: no token), weight and bias of global tokens, which they
 * are */
void tb_lower_LongformerAttention(tb_call *c) {
    for (int i = 0; i < 7; i++)
        if (!tb_call_needs_rank(c, i, i == 0 ? 3 : i == 2 || i == 5 ? 1 : 2)) return;
    int64_t batch = c->in[0]->t.dims[0], tokens = c->in[0]->t.dims[1], count = batch * tokens,
            window = tb_attr_int(c->node, "window", 0), globals = 0;
    const tb_value *mask = c->in[3];
    const int64_t *is_global = tb_call_ints(c, c->in[6], count, "its global tokens");
    if (!is_global) return;
    if (!mask->t.data || tb_tensor_count(&mask->t) != count || window <= 0) {
        tb_call_fail(c, "its mask must be [batch, tokens] and known, its window positive");
        return;
    }
    tb_value *near, *all, *rows;
    int64_t wide[] = {batch, 1, tokens, tokens}, flat[] = {batch, 1, 1, tokens},
            tall[] = {batch, tokens, 1};
    tiba_tensor *n = tb_emit_tensor(c, &near, TIBA_FLOAT32, 4, wide),
                *a = tb_emit_tensor(c, &all, TIBA_FLOAT32, 4, flat),
                *r = tb_emit_tensor(c, &rows, TIBA_BOOL, 3, tall);
    if (!n || !a || !r) return;
    float *seen = n->data;
    for (int64_t k = 0; k < count; k++) {
        tb_set_f64(a, k, tb_get_f64(&mask->t, k));
        tb_set_i64(r, k, is_global[k] > 0);
        globals += is_global[k] > 0;
    }
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < tokens; i++)
            for (int64_t j = 0; j < tokens; j++) {
                int64_t key = b * tokens + j;
                bool inside = (j - i <= window && i - j <= window) || is_global[key] > 0;
                *seen++ = inside ? (float)tb_get_f64(&mask->t, key) : -INFINITY;
            }
    tb_value *y = attend(c, 1, 2, near);
    c->out[0] = globals == 0 ? y : tb_emit3(c, TB_OP_Where, rows, attend(c, 4, 5, all), y);
}
