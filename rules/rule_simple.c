/*
 * Rules that pass relevance on unchanged, scaled or routed, and the general rule.
 */
#include <string.h>

#include "rules/elementwise.h"
#include "rules/rule.h"

double tb_total(const tiba_tensor *t) {
    const float *x = t->data;
    int64_t count = tb_tensor_count(t);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i];
    return sum;
}

void tb_sum_to_shape(tiba_tensor *out, const tiba_tensor *full) {
    const float *x = full->data;
    float *y = out->data;
    int64_t count = tb_tensor_count(full), small = tb_tensor_count(out);
    if (count == small) {
        memcpy(y, x, (size_t)count * sizeof *y);
        return;
    }
    memset(y, 0, (size_t)small * sizeof *y);
    if (count == 0) return;
    /* out's stride for each dimension of full, 0 where it was broadcast */
    int64_t stride[TIBA_MAX_RANK] = {0}, at = 1, index[TIBA_MAX_RANK] = {0};
    int shift = full->rank - out->rank;
    for (int d = out->rank - 1; d >= 0; d--) {
        stride[d + shift] = out->dims[d] == 1 ? 0 : at;
        at *= out->dims[d];
    }
    int last = full->rank - 1;
    int64_t n = full->dims[last], rows = count / n, step = stride[last];
    for (int64_t r = 0; r < rows; r++) {
        int64_t base = 0;
        for (int d = 0; d < last; d++) base += index[d] * stride[d];
        const float *row = x + r * n;
        if (step) {
            for (int64_t i = 0; i < n; i++) y[base + i * step] += row[i];
        } else {
            double sum = 0;
            for (int64_t i = 0; i < n; i++) sum += (double)row[i];
            y[base] += (float)sum;
        }
        for (int d = last - 1; d >= 0 && ++index[d] == full->dims[d]; d--) index[d] = 0;
    }
}

static tiba_status identity(const tb_step *s, tiba_error *error) {
    (void)error;
    int64_t count = tb_tensor_count(s->r_out[0]);
    for (int i = 0; i < s->node->n_in; i++) {
        if (!s->r_in[i]) continue;
        if (tb_tensor_count(s->r_in[i]) == count)
            tb_scaled(s->exec, s->r_in[i]->data, s->r_out[0]->data, 1.0f, count); /* in parallel */
        else
            tb_sum_to_shape(s->r_in[i], s->r_out[0]);
    }
    return TIBA_OK;
}

const tb_rule tb_rule_identity = {.name = "identity", .relevance = identity, .passes = true};

/* x · c with zeros in c: identity, but nothing there. */
static tiba_status scale(const tb_step *s, tiba_error *error) {
    int x = s->r_in[0] ? 0 : 1;
    const tiba_tensor *c = s->in[1 - x], *r = s->r_out[0];
    tiba_tensor masked = *r;
    masked.data = tb_scratch(s->exec, (size_t)tb_tensor_count(r), sizeof(float));
    if (!masked.data) return tb_out_of_memory(error);
    float *to = masked.data;
    const float *from = r->data, *cs = c->data;
    int64_t total = tb_tensor_count(r);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, at = 0, stride = 1;
        for (int d = r->rank - 1, k = c->rank - 1; k >= 0; d--, k--) {
            int64_t coordinate = rest % r->dims[d];
            rest /= r->dims[d];
            if (c->dims[k] > 1) at += coordinate * stride;
            stride *= c->dims[k];
        }
        to[i] = cs[at] == 0.0f ? 0.0f : from[i];
    }
    tb_sum_to_shape(s->r_in[x], &masked);
    return TIBA_OK;
}

const tb_rule tb_rule_scale = {.name = "scale", .relevance = scale};

/* x·y / (|x| |y|): the norms only take lengths away. */
static tiba_status numerator(const tb_step *s, tiba_error *error) {
    (void)error;
    if (s->r_in[0]) tb_sum_to_shape(s->r_in[0], s->r_out[0]);
    if (s->r_in[1]) memset(s->r_in[1]->data, 0, tb_tensor_bytes(s->r_in[1]));
    return TIBA_OK;
}

const tb_rule tb_rule_numerator = {.name = "numerator", .relevance = numerator};

static tiba_status gate(const tb_step *s, tiba_error *error) {
    (void)error;
    for (int i = 0; i < 2; i++) {
        if (!s->r_in[i]) continue;
        tb_sum_to_shape(s->r_in[i], s->r_out[0]);
        float *r = s->r_in[i]->data;
        tb_scaled(s->exec, r, r, 0.5f, tb_tensor_count(s->r_in[i]));
    }
    return TIBA_OK;
}

const tb_rule tb_rule_gate = {.name = "gate", .relevance = gate};

/* The adjoint of a copy brings relevance back to where the value came from. */
static tiba_status route(const tb_step *s, tiba_error *error) {
    const tb_op_def *def = s->node->op->def;
    if (!def->vjp)
        return tb_node_fail(error, TIBA_ERROR_INPUT, s->node, "no relevance rule: %s", def->no_vjp);
    return def->vjp(s->exec, s->node, s->in, s->out, s->r_out, s->r_in, error);
}

const tb_rule tb_rule_route = {.name = "route", .relevance = route, .uses_vjp = true};

tiba_status tb_z_rule(const tb_step *s, float share, tiba_error *error) {
    const tb_node *node = s->node;
    const tb_op_def *def = node->op->def;
    if (!def->vjp)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no relevance rule: %s", def->no_vjp);
    const tiba_tensor *r = s->r_out[0];
    if (!r) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no relevance rule for this output");
    tiba_tensor ratio = *r;
    int64_t count = tb_tensor_count(r);
    ratio.data = tb_scratch(s->exec, (size_t)count, sizeof(float));
    if (!ratio.data) return tb_out_of_memory(error);
    tb_ratios(s->exec, ratio.data, r->data, s->out[0]->data, count);
    const tiba_tensor *ratios[64] = {&ratio};
    if (node->n_out > 64)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "too many outputs for a relevance rule");
    TB_TRY(def->vjp(s->exec, node, s->in, s->out, ratios, s->r_in, error));
    for (int i = 0; i < node->n_in; i++) {
        if (!s->r_in[i]) continue;
        tb_times(s->exec, s->r_in[i]->data, s->in[i]->data, share, tb_tensor_count(s->r_in[i]));
    }
    return TIBA_OK;
}

static tiba_status general(const tb_step *s, tiba_error *error) {
    return tb_z_rule(s, 1.0f, error);
}

const tb_rule tb_rule_general = {.name = "general",
                                 .relevance = general,
                                 .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0),
                                 .uses_vjp = true};
