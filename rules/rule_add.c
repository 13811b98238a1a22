/*
 * The Add rule: residuals and position embeddings.
 *
 *     S = R ⊘ (a + b), A = a ⊙ S, B = b ⊙ S                              (both rulesets)
 *     A ← A · (((|ΣA| ⊘ (|ΣA| + |ΣB|)) · ΣR) ⊘ ΣA), B likewise          (tiba only)
 *
 * with sums over the whole sample. Relevance starts at one sample, so what the others hold is zero
 * and the sum over everything is the sample's.
 */
#include <math.h>

#include "rules/rule.h"

enum { MOST_TERMS = 64 };

tiba_status tb_add_rule(const tb_step *s, int n, const float *sign, tiba_error *error) {
    const tiba_tensor *r = s->r_out[0];
    int64_t count = tb_tensor_count(r);
    tiba_tensor ratio = *r;
    ratio.data = tb_scratch(s->exec, (size_t)count, sizeof(float));
    if (!ratio.data) return tb_out_of_memory(error);
    const float *z = s->out[0]->data, *from = r->data;
    float *to = ratio.data;
    for (int64_t i = 0; i < count; i++) to[i] = isinf(z[i]) ? 0.0f : tb_guarded(from[i], z[i]);
    double sums[MOST_TERMS], magnitude = 0, total = tb_total(r);
    tiba_tensor shares[MOST_TERMS];
    for (int i = 0; i < n; i++) {
        const float *x = s->in[i]->data;
        int64_t size = tb_tensor_count(s->in[i]);
        shares[i] = *s->in[i];
        shares[i].data =
            s->r_in[i] ? s->r_in[i]->data : tb_scratch(s->exec, (size_t)size, sizeof(float));
        if (!shares[i].data) return tb_out_of_memory(error);
        tb_sum_to_shape(&shares[i], &ratio);
        float *share = shares[i].data;
        for (int64_t k = 0; k < size; k++)
            share[k] = isinf(x[k]) ? 0.0f : sign[i] * x[k] * share[k];
        sums[i] = tb_total(&shares[i]);
        magnitude += fabs(sums[i]);
    }
    if (s->ruleset != TB_RULESET_TIBA) return TIBA_OK;
    for (int i = 0; i < n; i++) {
        if (!s->r_in[i]) continue;
        double part = tb_guarded_f64(fabs(sums[i]), magnitude) * total;
        float factor = (float)tb_guarded_f64(part, sums[i]);
        float *share = shares[i].data;
        int64_t size = tb_tensor_count(&shares[i]);
        for (int64_t k = 0; k < size; k++) share[k] *= factor;
    }
    return TIBA_OK;
}

static tiba_status add(const tb_step *s, tiba_error *error) {
    const float sign[2] = {1.0f, tb_is(s->node, TB_OP_Sub) ? -1.0f : 1.0f};
    return tb_add_rule(s, 2, sign, error);
}

const tb_rule tb_rule_add = {
    .name = "add", .relevance = add, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0)};

static tiba_status add_many(const tb_step *s, tiba_error *error) {
    if (s->node->n_in > MOST_TERMS)
        return tb_node_fail(error, TIBA_ERROR_INPUT, s->node, "more than %d terms", MOST_TERMS);
    float sign[MOST_TERMS];
    for (int i = 0; i < MOST_TERMS; i++) sign[i] = 1.0f;
    return tb_add_rule(s, s->node->n_in, sign, error);
}

const tb_rule tb_rule_add_many = {
    .name = "add_many", .relevance = add_many, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0)};
