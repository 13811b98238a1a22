/*
 * Means and sums: the elements that agree in sign with their sum share its relevance by size,
 *
 *     p = max(0, x · sign(Σx)),   R_x = p ⊙ broadcast(R ⊘ Σp),
 *
 * which stays well-conditioned when the sum is near 0.
 */
#include <string.h>

#include "rules/rule.h"

/* The adjoint of the mean spreads its output over what went into it, so sums and broadcasts are
 * both calls of the operator's own kernels, whatever its axes, windows and paddings are. */
static tiba_status share_by_size(const tb_step *s, tiba_error *error) {
    const tb_op_def *def = s->node->op->def;
    const tiba_tensor *x = s->in[0], *y = s->out[0], *r = s->r_out[0];
    int64_t n = tb_tensor_count(x), m = tb_tensor_count(y);
    tiba_tensor p = *x, sign = *y, spread = *x, total = *y;
    p.data = tb_scratch(s->exec, (size_t)n, sizeof(float));
    spread.data = tb_scratch(s->exec, (size_t)n, sizeof(float));
    sign.data = tb_scratch(s->exec, (size_t)m, sizeof(float));
    total.data = tb_scratch(s->exec, (size_t)m, sizeof(float));
    if (!p.data || !spread.data || !sign.data || !total.data) return tb_out_of_memory(error);
    const float *xs = x->data, *ys = y->data, *rs = r->data;
    float *ps = p.data, *signs = sign.data, *spreads = spread.data, *totals = total.data;
    float *out = s->r_in[0]->data;
    memset(out, 0, (size_t)n * sizeof *out);
    /* Windows may overlap, and an element may agree with one sum and not with another: once for the
     * outputs above zero and once for those below. */
    for (int side = 0; side < 2; side++) {
        float want = side ? -1.0f : 1.0f;
        bool any = false;
        for (int64_t k = 0; k < m; k++) {
            signs[k] = ys[k] * want > 0.0f && rs[k] != 0.0f ? 1.0f : 0.0f;
            any |= signs[k] != 0.0f;
        }
        if (!any) continue;
        for (int64_t i = 0; i < n; i++) ps[i] = xs[i] * want > 0.0f ? xs[i] * want : 0.0f;
        const tiba_tensor *in[8] = {&p};
        for (int i = 1; i < s->node->n_in && i < 8; i++) in[i] = s->in[i];
        tiba_tensor *sums[2] = {&total};
        TB_TRY(def->forward(s->exec, s->node, in, sums, error));
        for (int64_t k = 0; k < m; k++)
            totals[k] = signs[k] != 0.0f ? tb_guarded(rs[k], totals[k]) : 0.0f;
        const tiba_tensor *outs[2] = {&total}, *back[2] = {&total};
        tiba_tensor *spread_in[8] = {&spread};
        TB_TRY(def->vjp(s->exec, s->node, in, outs, back, spread_in, error));
        for (int64_t i = 0; i < n; i++) out[i] += ps[i] * spreads[i];
    }
    return TIBA_OK;
}

const tb_rule tb_rule_reduce = {
    .name = "reduce", .relevance = share_by_size, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0)};
