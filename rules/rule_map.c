/*
 * The z⁺-rule over sign-matched products for every map that is linear in x (MatMul, Gemm, Conv with
 * constant weights; rule_linear.c has the fast form for tiba.Linear):
 *
 *     Z = x⁺W⁺ + x⁻W⁻ (no bias),  S = R ⊘ Z,  R_x = x⁺ ⊙ (S W⁺ᵀ) + x⁻ ⊙ (S W⁻ᵀ)
 *
 * With |x| and |W| this is Z = (xW + |x||W|) / 2 and R_x = (x ⊙ (S Wᵀ) + |x| ⊙ (S |W|ᵀ)) / 2: three
 * products instead of four, one of which the forward pass has done already.
 * Ruleset lrp divides the two products separately:
 *
 *     R_x = x⁺ ⊙ ((R ⊘ x⁺W⁺) W⁺ᵀ) + x⁻ ⊙ ((R ⊘ x⁻W⁻) W⁻ᵀ).
 */
#include <math.h>
#include <string.h>

#include "rules/rule.h"

typedef enum part { PART_ALL, PART_ABS, PART_PLUS, PART_MINUS } part;

static float take(part which, float v) {
    switch (which) {
    case PART_ABS:
        return fabsf(v);
    case PART_PLUS:
        return v > 0.0f ? v : 0.0f;
    case PART_MINUS:
        return v < 0.0f ? v : 0.0f;
    default:
        return v;
    }
}

/* A copy of `t` reduced to one part of its values; the tensor itself for PART_ALL. */
static tiba_status part_of(tiba_tensor *out, const tb_step *s, const tiba_tensor *t, part which,
                           tiba_error *error) {
    *out = *t;
    if (which == PART_ALL) return TIBA_OK;
    int64_t count = tb_tensor_count(t);
    out->data = tb_scratch(s->exec, (size_t)count, sizeof(float));
    if (!out->data) return tb_out_of_memory(error);
    const float *from = t->data;
    float *to = out->data;
    for (int64_t i = 0; i < count; i++) to[i] = take(which, from[i]);
    return TIBA_OK;
}

/* Which operand is the activation. */
static int activation(const tb_step *s) {
    return s->node->in[0]->active ? 0 : 1;
}

/* y = the node's map of parts of x and W, without bias. */
static tiba_status map(const tb_step *s, const tiba_tensor *x, const tiba_tensor *w, tiba_tensor *y,
                       tiba_error *error) {
    int at = activation(s);
    const tiba_tensor *in[3] = {NULL, NULL, NULL};
    in[at] = x;
    in[1 - at] = w;
    tiba_tensor *out[1] = {y};
    return s->node->op->def->forward(s->exec, s->node, in, out, error);
}

/* dx = the adjoint of that map. */
static tiba_status adjoint(const tb_step *s, const tiba_tensor *w, const tiba_tensor *dy,
                           tiba_tensor *dx, tiba_error *error) {
    int at = activation(s);
    const tiba_tensor *in[3] = {NULL, NULL, NULL};
    in[at] = s->in[at];
    in[1 - at] = w;
    tiba_tensor *din[3] = {NULL, NULL, NULL};
    din[at] = dx;
    const tiba_tensor *dout[1] = {dy};
    return s->node->op->def->vjp(s->exec, s->node, in, s->out, dout, din, error);
}

/* Adds part(x) ⊙ adjoint(S; part(W)) · factor to r_in. */
static tiba_status back(const tb_step *s, part xs, part ws, const tiba_tensor *ratio, float factor,
                        tiba_tensor *temporary, tiba_error *error) {
    int at = activation(s);
    tiba_tensor w;
    TB_TRY(part_of(&w, s, s->in[1 - at], ws, error));
    TB_TRY(adjoint(s, &w, ratio, temporary, error));
    const float *x = s->in[at]->data, *t = temporary->data;
    float *r = s->r_in[at]->data;
    int64_t count = tb_tensor_count(s->in[at]);
    for (int64_t i = 0; i < count; i++) r[i] += factor * take(xs, x[i]) * t[i];
    return TIBA_OK;
}

static tiba_status divide(const tb_step *s, tiba_tensor *z, tiba_error *error) {
    (void)error;
    const float *r = s->r_out[0]->data;
    float *zs = z->data;
    int64_t count = tb_tensor_count(z);
    for (int64_t i = 0; i < count; i++) zs[i] = tb_guarded(r[i], zs[i]);
    return TIBA_OK;
}

static tiba_status new_like(tiba_tensor *out, const tb_step *s, const tiba_tensor *like,
                            tiba_error *error) {
    *out = *like;
    out->data = tb_scratch(s->exec, (size_t)tb_tensor_count(like), sizeof(float));
    return out->data ? TIBA_OK : tb_out_of_memory(error);
}

/* Z of both sign-matched products. */
static tiba_status z_plus(const tb_step *s, tiba_tensor *z, tiba_error *error) {
    int at = activation(s);
    tiba_tensor x, w, other;
    TB_TRY(new_like(&other, s, z, error));
    TB_TRY(part_of(&x, s, s->in[at], PART_ABS, error));
    TB_TRY(part_of(&w, s, s->in[1 - at], PART_ABS, error));
    TB_TRY(map(s, &x, &w, z, error));
    TB_TRY(map(s, s->in[at], s->in[1 - at], &other, error));
    float *zs = z->data;
    const float *os = other.data;
    int64_t count = tb_tensor_count(z);
    for (int64_t i = 0; i < count; i++) zs[i] = 0.5f * (zs[i] + os[i]);
    return TIBA_OK;
}

tiba_status tb_linear_map_rule(const tb_step *s, tiba_error *error) {
    int at = activation(s);
    if (!s->r_in[at]) return TIBA_OK;
    tiba_tensor z, temporary;
    TB_TRY(new_like(&z, s, s->r_out[0], error));
    TB_TRY(new_like(&temporary, s, s->in[at], error));
    memset(s->r_in[at]->data, 0, tb_tensor_bytes(s->r_in[at]));
    if (s->ruleset == TB_RULESET_TIBA) {
        TB_TRY(z_plus(s, &z, error));
        TB_TRY(divide(s, &z, error));
        TB_TRY(back(s, PART_ALL, PART_ALL, &z, 0.5f, &temporary, error));
        return back(s, PART_ABS, PART_ABS, &z, 0.5f, &temporary, error);
    }
    for (part sign = PART_PLUS; sign <= PART_MINUS; sign++) {
        tiba_tensor x, w;
        TB_TRY(part_of(&x, s, s->in[at], sign, error));
        TB_TRY(part_of(&w, s, s->in[1 - at], sign, error));
        TB_TRY(map(s, &x, &w, &z, error));
        TB_TRY(divide(s, &z, error));
        TB_TRY(back(s, sign, sign, &z, 1.0f, &temporary, error));
    }
    return TIBA_OK;
}

const tb_rule tb_rule_linear_map = {
    .name = "linear", .relevance = tb_linear_map_rule, .needs = TB_NEEDS_INS};

/*
 * The zᴮ-rule of the convolution that reads the picture; L and H are the sample's least and
 * greatest pixel:
 *
 *     Za = x∗W - L∗W⁺ - H∗W⁻ + 1e-9,  S = R / Za,
 *     R_x = x ⊙ (S∗ᵀW) - L ⊙ (S∗ᵀW⁺) - H ⊙ (S∗ᵀW⁻)
 */
static tiba_status zb(const tb_step *s, tiba_error *error) {
    if (!s->r_in[0]) return TIBA_OK;
    const tiba_tensor *x = s->in[0], *r = s->r_out[0];
    tiba_tensor parts[3] = {*x}, z, other, temporary, w;
    TB_TRY(new_like(&z, s, r, error));
    TB_TRY(new_like(&other, s, r, error));
    TB_TRY(new_like(&temporary, s, x, error));
    TB_TRY(new_like(&parts[1], s, x, error));
    TB_TRY(new_like(&parts[2], s, x, error));
    int64_t samples = x->dims[0], size = tb_tensor_count(x) / (samples ? samples : 1);
    for (int64_t i = 0; i < samples; i++) {
        const float *pixels = (const float *)x->data + i * size;
        float low = INFINITY, high = -INFINITY;
        for (int64_t k = 0; k < size; k++) {
            low = fminf(low, pixels[k]);
            high = fmaxf(high, pixels[k]);
        }
        for (int64_t k = 0; k < size; k++) {
            ((float *)parts[1].data)[i * size + k] = low;
            ((float *)parts[2].data)[i * size + k] = high;
        }
    }
    static const part weights[3] = {PART_ALL, PART_PLUS, PART_MINUS};
    int64_t n = tb_tensor_count(r), m = tb_tensor_count(x);
    float *zs = z.data, *os = other.data, *out = s->r_in[0]->data;
    for (int64_t i = 0; i < n; i++) zs[i] = TB_EPSILON;
    for (int k = 0; k < 3; k++) {
        TB_TRY(part_of(&w, s, s->in[1], weights[k], error));
        TB_TRY(map(s, &parts[k], &w, &other, error));
        for (int64_t i = 0; i < n; i++) zs[i] += k ? -os[i] : os[i];
    }
    const float *rs = r->data;
    for (int64_t i = 0; i < n; i++) zs[i] = rs[i] == 0.0f ? 0.0f : rs[i] / zs[i];
    memset(out, 0, (size_t)m * sizeof *out);
    for (int k = 0; k < 3; k++) {
        TB_TRY(part_of(&w, s, s->in[1], weights[k], error));
        TB_TRY(adjoint(s, &w, &z, &temporary, error));
        const float *xs = parts[k].data, *t = temporary.data;
        for (int64_t i = 0; i < m; i++) out[i] += (k ? -xs[i] : xs[i]) * t[i];
    }
    return TIBA_OK;
}

const tb_rule tb_rule_zb = {.name = "zB", .relevance = zb, .needs = TB_NEEDS_INS};
