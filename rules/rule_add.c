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

#include "rules/elementwise.h"
#include "rules/rule.h"
#include "runtime/kernel.h"

enum { MOST_TERMS = 64 };

/* What scales a share whose sum is `sum`: ((|ΣA| ⊘ (|ΣA| + |ΣB|)) · ΣR) ⊘ ΣA. */
static float rescaling(double sum, double magnitude, double total) {
    return (float)tb_guarded_f64(tb_guarded_f64(fabs(sum), magnitude) * total, sum);
}

/* Two terms of the sum's own shape. z: the sum, NULL: it is what they add up to. */
static tiba_status share_residual(const tb_step *s, const float *sign, const float *z,
                                  tiba_error *error) {
    int64_t n = tb_tensor_count(s->r_out[0]);
    float *share[2] = {NULL, NULL};
    double sums[3];
    for (int i = 0; i < 2; i++)
        if (s->r_in[i]) share[i] = s->r_in[i]->data;
    if (!tb_share_two(s->exec, share, sums, (const float *[]){s->in[0]->data, s->in[1]->data}, sign,
                      s->r_out[0]->data, z, n))
        return tb_out_of_memory(error);
    if (s->ruleset != TB_RULESET_TIBA) return TIBA_OK;
    double magnitude = fabs(sums[0]) + fabs(sums[1]);
    for (int i = 0; i < 2; i++)
        if (share[i])
            tb_scaled(s->exec, share[i], share[i], rescaling(sums[i], magnitude, sums[2]), n);
    return TIBA_OK;
}

enum { SLAB = 1 << 18 }; /* elements of the ratio at a time */

/* How many axes in front all terms and the sum share, so that the rest can be done slab by slab. */
static int leading_axes(const tb_step *s, int n) {
    const tiba_tensor *r = s->r_out[0];
    int lead = 0;
    for (; lead < r->rank; lead++) {
        if (r->dims[lead] == 0 || tb_product(r->dims, lead + 1, r->rank) < SLAB) return lead;
        for (int i = 0; i < n; i++)
            if (s->in[i]->rank != r->rank || s->in[i]->dims[lead] != r->dims[lead]) return lead;
    }
    return lead;
}

static tiba_tensor inner_axes(const tiba_tensor *t, int lead) {
    tiba_tensor inner = *t;
    inner.rank = t->rank - lead;
    for (int d = 0; d < inner.rank; d++) inner.dims[d] = t->dims[d + lead];
    return inner;
}

tiba_status tb_add_rule(const tb_step *s, int n, const float *sign, tiba_error *error) {
    const tiba_tensor *r = s->r_out[0];
    int64_t count = tb_tensor_count(r);
    if (n == 2 && tb_tensor_count(s->in[0]) == count && tb_tensor_count(s->in[1]) == count)
        return share_residual(s, sign, s->out[0]->data, error);
    double sums[MOST_TERMS], magnitude = 0, total = tb_total(r);
    const int lead = leading_axes(s, n);
    const int64_t slabs = tb_product(r->dims, 0, lead);
    tiba_tensor ratio = inner_axes(r, lead);
    ratio.data = tb_scratch(s->exec, (size_t)(count / slabs), sizeof(float));
    if (!ratio.data) return tb_out_of_memory(error);
    tiba_tensor shares[MOST_TERMS];
    for (int i = 0; i < n; i++) {
        const int64_t size = tb_tensor_count(s->in[i]);
        shares[i] = *s->in[i];
        shares[i].data =
            s->r_in[i] ? s->r_in[i]->data : tb_scratch(s->exec, (size_t)size, sizeof(float));
        if (!shares[i].data) return tb_out_of_memory(error);
    }
    for (int64_t k = 0; k < slabs; k++) {
        const int64_t size = count / slabs, at = k * size;
        tb_ratios(s->exec, ratio.data, (float *)r->data + at, (float *)s->out[0]->data + at, size);
        for (int i = 0; i < n; i++) {
            tiba_tensor share = inner_axes(&shares[i], lead);
            share.data = (float *)share.data + k * tb_tensor_count(&share);
            tb_sum_to_shape(&share, &ratio);
        }
    }
    for (int i = 0; i < n; i++) {
        const float *x = s->in[i]->data;
        const int64_t size = tb_tensor_count(s->in[i]);
        tb_times(s->exec, shares[i].data, x, sign[i], size);
        sums[i] = tb_total(&shares[i]);
        magnitude += fabs(sums[i]);
    }
    if (s->ruleset != TB_RULESET_TIBA) return TIBA_OK;
    for (int i = 0; i < n; i++) {
        if (!s->r_in[i]) continue;
        tb_scaled(s->exec, shares[i].data, shares[i].data, rescaling(sums[i], magnitude, total),
                  tb_tensor_count(&shares[i]));
    }
    return TIBA_OK;
}

static float sign_of_second(const tb_node *node) {
    return tb_is(node, TB_OP_Sub) ? -1.0f : 1.0f;
}

static tiba_status add(const tb_step *s, tiba_error *error) {
    return tb_add_rule(s, 2, (float[]){1.0f, sign_of_second(s->node)}, error);
}

const tb_rule tb_rule_add = {
    .name = "add", .relevance = add, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0), .over = true};

static tiba_status residual(const tb_step *s, tiba_error *error) {
    return share_residual(s, (float[]){1.0f, sign_of_second(s->node)}, NULL, error);
}

/* The add rule where both terms have the sum's shape: the sum need not be there. */
const tb_rule tb_rule_residual = {
    .name = "residual", .relevance = residual, .needs = TB_NEEDS_INS, .over = true};

static tiba_status add_many(const tb_step *s, tiba_error *error) {
    if (s->node->n_in > MOST_TERMS)
        return tb_node_fail(error, TIBA_ERROR_INPUT, s->node, "more than %d terms", MOST_TERMS);
    float sign[MOST_TERMS];
    for (int i = 0; i < MOST_TERMS; i++) sign[i] = 1.0f;
    return tb_add_rule(s, s->node->n_in, sign, error);
}

const tb_rule tb_rule_add_many = {
    .name = "add_many", .relevance = add_many, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0)};
