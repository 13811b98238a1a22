/*
 * Every relevance rule against a naive one written from the definitions: float64, explicit sums
 * over explicit Jacobians, no code in common with rules/. A row of `rows` is one operator with
 * random operands; it is tried with several seeds, with both rulesets, with relevance in all
 * samples and in one, and (where the rule computes the gradient on the way) with the gradient.
 */
#include "tests/check.h"

#include "rules/rule.h"
#include "tests/bound.h"

/* -------------------------------------------------------------------- naive arrays */

typedef struct nd {
    int rank;
    int64_t dims[TIBA_MAX_RANK], n;
    double *x;
} nd;

static tb_arena *arena;

static nd nd_like(const tiba_tensor *t) {
    nd a = {.rank = t->rank, .n = tb_tensor_count(t)};
    memcpy(a.dims, t->dims, sizeof a.dims);
    a.x = TB_NEW(arena, double, a.n);
    return a;
}

static nd nd_of(const tiba_tensor *t) {
    nd a = nd_like(t);
    for (int64_t i = 0; i < a.n; i++) a.x[i] = tb_get_f64(t, i);
    return a;
}

/* The element of `a` that broadcasting puts at flat index `i` of a result of shape `to`. */
static int64_t from_index(const nd *a, const nd *to, int64_t i) {
    int64_t at = 0, stride = 1;
    for (int d = to->rank - 1, k = a->rank - 1; k >= 0; d--, k--) {
        if (a->dims[k] > 1) at += i % to->dims[d] * stride;
        stride *= a->dims[k];
        i /= to->dims[d];
    }
    return at;
}

static double ratio(double a, double b) {
    if (b == 0) return 0;
    if (b == -1e-9) return a / 1e-9;
    return a / (b + 1e-9);
}

/* -------------------------------------------------------------------- naive operators */

typedef void naive_fn(const tb_node *node, const nd *in, nd *out);

/* Product of the last two axes; the others broadcast. Rank 2 and above. */
static void naive_matmul(const tb_node *node, const nd *in, nd *out) {
    (void)node;
    const nd *a = &in[0], *b = &in[1];
    int64_t m = out->dims[out->rank - 2], n = out->dims[out->rank - 1], k = a->dims[a->rank - 1];
    nd rows = *out, ra = *a, rb = *b; /* the leading axes as arrays of matrices */
    rows.rank -= 2, ra.rank -= 2, rb.rank -= 2;
    for (int64_t i = 0; i < out->n; i++) {
        int64_t matrix = i / (m * n), row = i / n % m, column = i % n;
        const double *x = a->x + (from_index(&ra, &rows, matrix) * m + row) * k;
        const double *y = b->x + from_index(&rb, &rows, matrix) * k * n + column;
        out->x[i] = 0;
        for (int64_t j = 0; j < k; j++) out->x[i] += x[j] * y[j * n];
    }
}

static void naive_linear(const tb_node *node, const nd *in, nd *out) {
    const nd *x = &in[0], *w = &in[1];
    bool trans = tb_attr_int(node, "trans_w", 0) != 0;
    int64_t k = x->dims[x->rank - 1], n = out->dims[out->rank - 1];
    for (int64_t i = 0; i < out->n; i++) {
        out->x[i] = 0;
        for (int64_t j = 0; j < k; j++)
            out->x[i] += x->x[i / n * k + j] * w->x[trans ? i % n * k + j : j * n + i % n];
    }
}

/* α A B, without C. */
static void naive_gemm(const tb_node *node, const nd *in, nd *out) {
    bool ta = tb_attr_int(node, "transA", 0) != 0, tb = tb_attr_int(node, "transB", 0) != 0;
    double alpha = (double)tb_attr_float(node, "alpha", 1);
    int64_t n = out->dims[1], k = in[0].dims[!ta], m = out->dims[0];
    for (int64_t i = 0; i < out->n; i++) {
        int64_t row = i / n, column = i % n;
        out->x[i] = 0;
        for (int64_t j = 0; j < k; j++)
            out->x[i] += alpha * in[0].x[ta ? j * m + row : row * k + j] *
                         in[1].x[tb ? column * k + j : j * n + column];
    }
}

/* Two spatial axes, without bias. */
static void naive_conv(const tb_node *node, const nd *in, nd *out) {
    const nd *x = &in[0], *w = &in[1];
    int64_t count, group = tb_attr_int(node, "group", 1);
    const int64_t *strides = tb_attr_ints(node, "strides", &count);
    const int64_t *pads = tb_attr_ints(node, "pads", &count);
    int64_t per = w->dims[1], out_per = w->dims[0] / group;
    for (int64_t i = 0; i < out->n; i++) {
        int64_t c = i % out->dims[3], r = i / out->dims[3] % out->dims[2];
        int64_t o = i / (out->dims[3] * out->dims[2]) % out->dims[1];
        int64_t s = i / (out->dims[3] * out->dims[2] * out->dims[1]);
        out->x[i] = 0;
        for (int64_t j = 0; j < per * w->dims[2] * w->dims[3]; j++) {
            int64_t kc = j % w->dims[3], kr = j / w->dims[3] % w->dims[2];
            int64_t channel = j / (w->dims[3] * w->dims[2]) + o / out_per * per;
            int64_t row = r * (strides ? strides[0] : 1) + kr - (pads ? pads[0] : 0);
            int64_t column = c * (strides ? strides[1] : 1) + kc - (pads ? pads[1] : 0);
            if (row < 0 || row >= x->dims[2] || column < 0 || column >= x->dims[3]) continue;
            out->x[i] +=
                w->x[o * per * w->dims[2] * w->dims[3] + j] *
                x->x[((s * x->dims[1] + channel) * x->dims[2] + row) * x->dims[3] + column];
        }
    }
}

static void naive_div(const tb_node *node, const nd *in, nd *out) {
    (void)node;
    for (int64_t i = 0; i < out->n; i++)
        out->x[i] = in[0].x[from_index(&in[0], out, i)] / in[1].x[from_index(&in[1], out, i)];
}

static void naive_mean(const tb_node *node, const nd *in, nd *out) {
    for (int64_t i = 0; i < out->n; i++) {
        out->x[i] = 0;
        for (int k = 0; k < node->n_in; k++) out->x[i] += in[k].x[from_index(&in[k], out, i)];
        out->x[i] /= node->n_in;
    }
}

/* Which elements of x an output of a mean, sum or pooling is made of. */
static bool reduces(const tb_node *node, const nd *x, const nd *out, int64_t o, int64_t i) {
    int64_t count;
    if (tb_is(node, TB_OP_GlobalAveragePool)) return i / (x->n / out->n) == o;
    if (tb_is(node, TB_OP_AveragePool)) {
        const int64_t *size = tb_attr_ints(node, "kernel_shape", &count);
        const int64_t *strides = tb_attr_ints(node, "strides", &count);
        const int64_t *pads = tb_attr_ints(node, "pads", &count);
        int64_t oc = o % out->dims[3], orow = o / out->dims[3] % out->dims[2];
        int64_t ic = i % x->dims[3], irow = i / x->dims[3] % x->dims[2];
        int64_t c = ic - oc * strides[1] + (pads ? pads[1] : 0);
        int64_t r = irow - orow * strides[0] + (pads ? pads[0] : 0);
        bool plane = o / (out->dims[3] * out->dims[2]) == i / (x->dims[3] * x->dims[2]);
        return plane && c >= 0 && c < size[1] && r >= 0 && r < size[0];
    }
    const tb_value *axes = node->n_in > 1 ? node->in[1] : NULL;
    nd kept = *x;
    for (int64_t k = 0; axes && k < tb_tensor_count(&axes->t); k++) {
        int64_t axis = tb_get_i64(&axes->t, k);
        kept.dims[axis < 0 ? axis + x->rank : axis] = 1;
    }
    return from_index(&kept, x, i) == o;
}

static void naive_norm(const tb_node *node, const nd *in, nd *out) {
    for (int64_t o = 0; o < out->n; o++) {
        double sum = 0;
        for (int64_t i = 0; i < in[0].n; i++)
            if (reduces(node, &in[0], out, o, i)) sum += in[0].x[i] * in[0].x[i];
        out->x[o] = sqrt(sum);
    }
}

/* -------------------------------------------------------------------- naive rules */

typedef struct probe {
    const tb_node *node;
    nd in[3], out, r; /* operands, forward result, relevance that arrives */
    nd share[3];      /* what the rule should give */
    tb_ruleset ruleset;
    naive_fn *f;
} probe;

typedef void naive_rule(probe *p);

static nd copy_of(const nd *a) {
    nd c = *a;
    c.x = TB_NEW(arena, double, a->n);
    memcpy(c.x, a->x, (size_t)a->n * sizeof *c.x);
    return c;
}

/* dy[j]/dx[i] of a function linear in operand `at`, other operands `in`. */
static double *jacobian(const probe *p, const nd *in, int at) {
    nd ops[3] = {in[0], in[1], in[2]}, y = copy_of(&p->out);
    ops[at] = copy_of(&in[at]);
    double *j = TB_NEW(arena, double, y.n *in[at].n);
    memset(ops[at].x, 0, (size_t)ops[at].n * sizeof(double));
    for (int64_t i = 0; i < in[at].n; i++) {
        ops[at].x[i] = 1;
        p->f(p->node, ops, &y);
        ops[at].x[i] = 0;
        for (int64_t k = 0; k < y.n; k++) j[k * in[at].n + i] = y.x[k];
    }
    return j;
}

/* The same by central differences, for any function. */
static double *differences(const probe *p, int at) {
    nd ops[3] = {p->in[0], p->in[1], p->in[2]}, up = copy_of(&p->out), down = copy_of(&p->out);
    ops[at] = copy_of(&p->in[at]);
    double *j = TB_NEW(arena, double, up.n *ops[at].n), h = 1e-5;
    for (int64_t i = 0; i < ops[at].n; i++) {
        double x = ops[at].x[i];
        ops[at].x[i] = x + h;
        p->f(p->node, ops, &up);
        ops[at].x[i] = x - h;
        p->f(p->node, ops, &down);
        ops[at].x[i] = x;
        for (int64_t k = 0; k < up.n; k++) j[k * ops[at].n + i] = (up.x[k] - down.x[k]) / (2 * h);
    }
    return j;
}

static nd part(const nd *a, int sign) {
    nd c = copy_of(a);
    for (int64_t i = 0; i < c.n; i++)
        if (sign * c.x[i] < 0) c.x[i] = 0;
    return c;
}

static int active_operand(const probe *p) {
    return p->node->in[0]->active ? 0 : 1;
}

/* tiba: Z = x⁺W⁺ + x⁻W⁻, R_x = x⁺ ⊙ (S W⁺ᵀ) + x⁻ ⊙ (S W⁻ᵀ); lrp: the two products apart. */
static void rule_map(probe *p) {
    int at = active_operand(p);
    const nd *x = &p->in[at];
    nd w[2] = {part(&p->in[1 - at], 1), part(&p->in[1 - at], -1)},
       xs[2] = {part(x, 1), part(x, -1)};
    double *j[2], *z[2];
    for (int s = 0; s < 2; s++) {
        nd ops[3] = {*x, *x, *x};
        ops[1 - at] = w[s];
        j[s] = jacobian(p, ops, at);
        z[s] = TB_NEW(arena, double, p->r.n);
        for (int64_t k = 0; k < p->r.n; k++)
            for (int64_t i = 0; i < x->n; i++) z[s][k] += xs[s].x[i] * j[s][k * x->n + i];
    }
    for (int s = 0; s < 2; s++)
        for (int64_t k = 0; k < p->r.n; k++) {
            double divisor = p->ruleset == TB_RULESET_TIBA ? z[0][k] + z[1][k] : z[s][k];
            double ratio_k = ratio(p->r.x[k], divisor);
            for (int64_t i = 0; i < x->n; i++)
                p->share[at].x[i] += xs[s].x[i] * ratio_k * j[s][k * x->n + i];
        }
}

static void rule_zb(probe *p) {
    const nd *x = &p->in[0];
    int64_t size = x->n / x->dims[0];
    nd ops[3] = {*x, p->in[1], *x}, plus[3] = {*x, part(&p->in[1], 1), *x};
    nd minus[3] = {*x, part(&p->in[1], -1), *x};
    double *w = jacobian(p, ops, 0), *wp = jacobian(p, plus, 0), *wm = jacobian(p, minus, 0);
    nd low = copy_of(x), high = copy_of(x);
    for (int64_t i = 0; i < x->n; i++) {
        const double *pixels = x->x + i / size * size;
        low.x[i] = high.x[i] = pixels[0];
        for (int64_t k = 0; k < size; k++) {
            low.x[i] = fmin(low.x[i], pixels[k]);
            high.x[i] = fmax(high.x[i], pixels[k]);
        }
    }
    for (int64_t k = 0; k < p->r.n; k++) {
        double z = 1e-9;
        for (int64_t i = 0; i < x->n; i++) {
            int64_t e = k * x->n + i;
            z += x->x[i] * w[e] - low.x[i] * wp[e] - high.x[i] * wm[e];
        }
        for (int64_t i = 0; i < x->n; i++) {
            int64_t e = k * x->n + i;
            p->share[0].x[i] +=
                p->r.x[k] / z * (x->x[i] * w[e] - low.x[i] * wp[e] - high.x[i] * wm[e]);
        }
    }
}

/* Shares of `n` terms of a sum, given as arrays. */
static void share_sum(const probe *p, int n, const nd *terms, const nd *z, nd *share) {
    double sums[3] = {0}, total = 0, magnitude = 0;
    for (int64_t k = 0; k < p->r.n; k++) total += p->r.x[k];
    for (int t = 0; t < n; t++) {
        for (int64_t k = 0; k < p->r.n; k++) {
            int64_t i = from_index(&terms[t], z, k);
            if (isinf(terms[t].x[i]) || isinf(z->x[k])) continue;
            double give = terms[t].x[i] * ratio(p->r.x[k], z->x[k]);
            share[t].x[i] += give;
            sums[t] += give;
        }
        magnitude += fabs(sums[t]);
    }
    if (p->ruleset == TB_RULESET_LRP) return;
    for (int t = 0; t < n; t++) {
        double factor = ratio(ratio(fabs(sums[t]), magnitude) * total, sums[t]);
        for (int64_t i = 0; i < share[t].n; i++) share[t].x[i] *= factor;
    }
}

static void rule_add(probe *p) {
    nd terms[3];
    for (int t = 0; t < p->node->n_in; t++) terms[t] = copy_of(&p->in[t]);
    if (tb_is(p->node, TB_OP_Sub))
        for (int64_t i = 0; i < terms[1].n; i++) terms[1].x[i] = -terms[1].x[i];
    share_sum(p, p->node->n_in, terms, &p->out, p->share);
}

static void rule_identity(probe *p) {
    int at = active_operand(p);
    for (int64_t k = 0; k < p->r.n; k++)
        p->share[at].x[from_index(&p->in[at], &p->r, k)] += p->r.x[k];
}

static void rule_scale(probe *p) {
    int at = active_operand(p);
    for (int64_t k = 0; k < p->r.n; k++)
        if (p->in[1 - at].x[from_index(&p->in[1 - at], &p->r, k)] != 0)
            p->share[at].x[from_index(&p->in[at], &p->r, k)] += p->r.x[k];
}

static void rule_gate(probe *p) {
    for (int t = 0; t < 2; t++)
        for (int64_t k = 0; k < p->r.n; k++)
            p->share[t].x[from_index(&p->in[t], &p->r, k)] += p->r.x[k] / 2;
}

/* R_A = A ⊙ (S Bᵀ) / 2 with Z the product without bias. */
static void rule_product(probe *p) {
    nd z = copy_of(&p->out);
    p->f(p->node, p->in, &z);
    for (int t = 0; t < 2; t++) {
        double *j = jacobian(p, p->in, t);
        for (int64_t k = 0; k < p->r.n; k++)
            for (int64_t i = 0; i < p->in[t].n; i++)
                p->share[t].x[i] +=
                    p->in[t].x[i] * ratio(p->r.x[k], z.x[k]) * j[k * p->in[t].n + i] / 2;
    }
}

/* α A B + β C as a MatMul and an Add. */
static void rule_gemm_sum(probe *p) {
    nd terms[2] = {copy_of(&p->out), copy_of(&p->in[2])}, share[2];
    p->f(p->node, p->in, &terms[0]);
    double beta = (double)tb_attr_float(p->node, "beta", 1);
    for (int64_t i = 0; i < terms[1].n; i++) terms[1].x[i] *= beta;
    for (int t = 0; t < 2; t++) {
        share[t] = copy_of(&terms[t]);
        memset(share[t].x, 0, (size_t)share[t].n * sizeof(double));
    }
    share_sum(p, 2, terms, &p->out, share);
    memcpy(p->share[2].x, share[1].x, (size_t)share[1].n * sizeof(double));
    p->r = share[0];
    (p->node->in[0]->active && p->node->in[1]->active ? rule_product : rule_map)(p);
}

static void rule_general(probe *p) {
    for (int t = 0; t < p->node->n_in; t++) {
        if (!p->node->in[t]->active) continue;
        double *j = differences(p, t);
        for (int64_t k = 0; k < p->r.n; k++)
            for (int64_t i = 0; i < p->in[t].n; i++)
                p->share[t].x[i] +=
                    p->in[t].x[i] * ratio(p->r.x[k], p->out.x[k]) * j[k * p->in[t].n + i];
    }
}

static void rule_reduce(probe *p) {
    const nd *x = &p->in[0];
    for (int64_t o = 0; o < p->r.n; o++) {
        double sum = 0, agreeing = 0;
        for (int64_t i = 0; i < x->n; i++)
            if (reduces(p->node, x, &p->r, o, i)) sum += x->x[i];
        double sign = sum > 0 ? 1 : sum < 0 ? -1 : 0;
        for (int64_t i = 0; i < x->n; i++)
            if (reduces(p->node, x, &p->r, o, i)) agreeing += fmax(0, x->x[i] * sign);
        for (int64_t i = 0; i < x->n; i++)
            if (reduces(p->node, x, &p->r, o, i))
                p->share[0].x[i] += fmax(0, x->x[i] * sign) * ratio(p->r.x[o], agreeing);
    }
}

/* Where a copy came from is read off the values themselves: all operands' elements differ. */
static void rule_route(probe *p) {
    for (int64_t k = 0; k < p->r.n; k++)
        for (int t = 0; t < p->node->n_in; t++)
            for (int64_t i = 0; p->node->in[t]->active && i < p->in[t].n; i++)
                if (p->in[t].x[i] == p->out.x[k]) p->share[t].x[i] += p->r.x[k];
}

/* -------------------------------------------------------------------- cases */

/* An operand: A active, C constant, I constant integers; then its shape (I: its values), then what
 * is special about it: z some zeros, n mostly negative, i some -inf, l varies along the last axis
 * only, s all the same. */
typedef struct row {
    tb_op_kind kind;
    const char *in[3];
    naive_rule *rule;
    naive_fn *f;
    int n_attrs;
    tb_attr attrs[4];
} row;

#define INT(n, v)                                                                                  \
    { .name = n, .kind = TB_ATTR_INT, .i = v }
#define FLOAT(n, v)                                                                                \
    { .name = n, .kind = TB_ATTR_FLOAT, .f = v }
#define LIST(n, c, ...)                                                                            \
    {                                                                                              \
        .name = n, .kind = TB_ATTR_INTS, .count = c, .ints = (const int64_t[]) {                   \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const row rows[] = {
    {TB_OP_Linear, {"A3,4", "C4,5"}, rule_map, naive_linear, 0, {{0}}},
    {TB_OP_Linear, {"A2,3,4", "C4,5", "C5"}, rule_map, naive_linear, 0, {{0}}},
    {TB_OP_Linear, {"A2,3,4z", "C5,4z", "C5"}, rule_map, naive_linear, 1, {INT("trans_w", 1)}},
    {TB_OP_Linear, {"A3,4n", "C4,5", "C5"}, rule_map, naive_linear, 0, {{0}}},
    {TB_OP_Linear, {"A2,6,1", "C1,5", "C5"}, rule_map, naive_linear, 0, {{0}}},
    {TB_OP_Linear, {"A2,6,2z", "C2,40", "C40"}, rule_map, naive_linear, 0, {{0}}},
    {TB_OP_MatMul, {"A2,3,4", "C4,5"}, rule_map, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A2,3,4z", "C2,4,5z"}, rule_map, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"C5,3", "A2,3,4"}, rule_map, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A1,3,4", "C2,4,2"}, rule_map, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A2,2,3,4", "A2,2,4,3"}, rule_product, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A2,4,3,5", "A2,4,5,4"}, rule_product, naive_matmul, 0, {{0}}}, /* heads */
    {TB_OP_MatMul, {"A9,4,2z", "A9,2,7z"}, rule_product, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A2,2,3,4z", "A2,1,4,5"}, rule_product, naive_matmul, 0, {{0}}},
    {TB_OP_MatMul, {"A3,4", "A2,4,5"}, rule_product, naive_matmul, 0, {{0}}},
    {TB_OP_Gemm, {"A3,4", "C4,5", "C5"}, rule_map, naive_gemm, 0, {{0}}},
    {TB_OP_Gemm,
     {"A4,3", "C5,4", "C1,5"},
     rule_map,
     naive_gemm,
     4,
     {INT("transA", 1), INT("transB", 1), FLOAT("alpha", 0.5f), FLOAT("beta", 2)}},
    {TB_OP_Gemm, {"C3,4", "A4,5"}, rule_map, naive_gemm, 1, {FLOAT("alpha", -2)}},
    {TB_OP_Gemm, {"A3,4", "A5,4"}, rule_product, naive_gemm, 1, {INT("transB", 1)}},
    {TB_OP_Gemm, {"A3,4", "A4,5", "C5"}, rule_product, naive_gemm, 1, {FLOAT("alpha", 3)}},
    {TB_OP_Gemm, {"A3,4", "C4,5", "A3,5"}, rule_gemm_sum, naive_gemm, 1, {FLOAT("beta", 0.5f)}},
    {TB_OP_Gemm, {"A3,4", "A4,5", "A5"}, rule_gemm_sum, naive_gemm, 0, {{0}}},
    {TB_OP_Conv,
     {"A2,3,4,6", "C5,3,2,2", "C5"},
     rule_zb,
     naive_conv,
     1,
     {LIST("strides", 2, 2, 2)}},
    {TB_OP_Conv,
     {"A1,1,5,5", "C2,1,3,3"},
     rule_zb,
     naive_conv,
     2,
     {LIST("strides", 2, 2, 1), LIST("pads", 4, 1, 1, 1, 1)}},
    {TB_OP_Add, {"A2,3,4", "A2,3,4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,3,4n", "A2,3,4z"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,3,4", "A3,1"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,600,1", "A2,1,600"}, rule_add, NULL, 0, {{0}}}, /* in two slabs */
    {TB_OP_Add, {"A2,3,4", "C1,3,4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"C2,3,4n", "A3,4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,2,3,3", "C2,1,3,3i"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,3,4", "C4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Add, {"C1,1,4", "A2,3,4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,3,4", "C2,3,4l"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,3,4", "C3,1s"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Add, {"A2,1,4", "C3,4s"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Sub, {"A2,3,4", "A2,3,4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Sub, {"C3,4", "A2,3,4n"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Sub, {"A2,3,4", "C4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Sum, {"A2,3,4", "A2,3,4", "A3,4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Sum, {"A2,3,4", "C3,4", "A4"}, rule_add, NULL, 0, {{0}}},
    {TB_OP_Mul, {"A2,3,4", "A2,3,4"}, rule_gate, NULL, 0, {{0}}},
    {TB_OP_Mul, {"A2,3,4", "A3,1"}, rule_gate, NULL, 0, {{0}}},
    {TB_OP_Mul, {"A2,3,4", "C4"}, rule_scale, NULL, 0, {{0}}},
    {TB_OP_Mul, {"A2,3,4", "C3,1z"}, rule_scale, NULL, 0, {{0}}},
    {TB_OP_Mul, {"C2,3,4z", "A3,4"}, rule_scale, NULL, 0, {{0}}},
    {TB_OP_Div, {"A2,3,4", "C3,1"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Div, {"A3,4", "A3,4"}, rule_general, naive_div, 0, {{0}}},
    {TB_OP_Div, {"C3,4", "A3,4"}, rule_general, naive_div, 0, {{0}}},
    {TB_OP_Mean, {"A3,4", "A3,4"}, rule_general, naive_mean, 0, {{0}}},
    {TB_OP_ReduceL2, {"A2,3,4", "I1"}, rule_general, naive_norm, 0, {{0}}},
    {TB_OP_ReduceMean, {"A2,3,4", "I1"}, rule_reduce, NULL, 1, {INT("keepdims", 0)}},
    {TB_OP_ReduceMean, {"A2,3,4n", "I-1,1"}, rule_reduce, NULL, 0, {{0}}},
    {TB_OP_ReduceSum, {"A2,3,4z", "I0,2"}, rule_reduce, NULL, 1, {INT("keepdims", 0)}},
    {TB_OP_GlobalAveragePool, {"A2,3,4,2"}, rule_reduce, NULL, 0, {{0}}},
    {TB_OP_AveragePool,
     {"A1,2,4,6"},
     rule_reduce,
     NULL,
     2,
     {LIST("kernel_shape", 2, 2, 3), LIST("strides", 2, 2, 3)}},
    {TB_OP_AveragePool,
     {"A1,2,5,5"},
     rule_reduce,
     NULL,
     3,
     {LIST("kernel_shape", 2, 3, 3), LIST("strides", 2, 2, 2), LIST("pads", 4, 1, 1, 1, 1)}},
    {TB_OP_Reshape, {"A2,3,4", "I3,8"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Transpose, {"A2,3,4"}, rule_route, NULL, 1, {LIST("perm", 3, 2, 0, 1)}},
    {TB_OP_Concat, {"A2,3,4", "C2,1,4", "A2,2,4"}, rule_route, NULL, 1, {INT("axis", 1)}},
    {TB_OP_Slice, {"A4,5", "I1,0", "I3,4"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Gather, {"A2,5,3", "I4,0,0"}, rule_route, NULL, 1, {INT("axis", 1)}},
    {TB_OP_Expand, {"A3,1", "I2,3,4"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Tile, {"A2,3", "I2,2"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Pad, {"A2,3", "I1,-1,0,2"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_ReduceMax, {"A2,3,4", "I1"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_ReduceMin, {"A2,3,4", "I0,2"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Max, {"A3,4", "A3,4", "C3,4"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Min, {"A3,4", "A4"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_MaxPool,
     {"A1,2,4,6"},
     rule_route,
     NULL,
     2,
     {LIST("kernel_shape", 2, 2, 3), LIST("strides", 2, 2, 3)}},
    {TB_OP_GlobalMaxPool, {"A2,3,4,2"}, rule_route, NULL, 0, {{0}}},
    {TB_OP_Relu, {"A3,4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Gelu, {"A3,4z"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Softmax, {"A3,4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_LayerNormalization, {"A3,4", "C4", "C4"}, rule_identity, NULL, 0, {{0}}},
    {TB_OP_Pow, {"A3,4", "C"}, rule_identity, NULL, 0, {{0}}},
};

static double special(making *m, const char *flags, int64_t i, const tiba_tensor *t, double x) {
    int64_t last = t->rank ? t->dims[t->rank - 1] : 1;
    (void)m;
    if (strchr(flags, 'z') && i % 3 == 1) return 0;
    if (strchr(flags, 'n')) return x > 0.7 ? x : -fabs(x);
    if (strchr(flags, 'i') && i % 4 == 2) return -INFINITY;
    if (strchr(flags, 'l')) return 0.1 * (double)(i % last) - 0.2;
    if (strchr(flags, 's')) return 0.5;
    return x;
}

static tb_value *make_operand(making *m, const char *text) {
    char shape[64];
    size_t length = strspn(text + 1, "0123456789,-");
    snprintf(shape, sizeof shape, "%.*s", (int)length, text + 1);
    const char *flags = text + 1 + length;
    if (text[0] == 'I') {
        int64_t values[8];
        int n = 0;
        for (char *at = shape; *at; n++) {
            values[n] = strtoll(at, &at, 10);
            at += *at == ',';
        }
        return make_ints(m, n, values);
    }
    tiba_tensor t = make_shape(shape);
    tb_value *value;
    float *data;
    if (text[0] == 'A') {
        value = make_input(m, "x", shape);
        data = m->inputs[value->input];
    } else {
        value = make_random(m, shape);
        data = value->t.data;
    }
    for (int64_t i = 0; i < tb_tensor_count(&t); i++)
        data[i] = (float)special(m, flags, i, &t, (double)data[i]);
    return value;
}

static double largest_error(const tiba_tensor *got, const nd *want) {
    double most = 0, scale = 1e-12;
    for (int64_t i = 0; i < want->n; i++) scale = fmax(scale, fabs(want->x[i]));
    for (int64_t i = 0; i < want->n; i++) {
        double off = fabs(tb_get_f64(got, i) - want->x[i]) / scale;
        if (!(off <= most)) most = off;
    }
    return most;
}

/* Relevance everywhere, or in one sample of two only. */
static nd random_relevance(making *m, const tiba_tensor *t, bool one) {
    nd r = nd_like(t);
    for (int64_t i = 0; i < r.n; i++) {
        bool on = !one || r.rank == 0 || i * 2 / r.n == 1;
        r.x[i] = on ? (double)(float)make_number(m) : 0;
    }
    return r;
}

static tiba_tensor tensor_like(const tiba_tensor *t, const nd *values) {
    tiba_tensor c = *t;
    float *data = TB_NEW(arena, float, tb_tensor_count(t));
    for (int64_t i = 0; i < tb_tensor_count(t); i++) /* NaN: must be overwritten */
        data[i] = values ? (float)values->x[i] : NAN;
    c.data = data;
    return c;
}

static void check_gradient(const probe *p, const char *name, const nd *d, const tiba_tensor *got) {
    int at = active_operand(p);
    double *j = jacobian(p, p->in, at);
    nd want = copy_of(&p->in[at]);
    memset(want.x, 0, (size_t)want.n * sizeof(double));
    for (int64_t k = 0; k < d->n; k++)
        for (int64_t i = 0; i < want.n; i++) want.x[i] += d->x[k] * j[k * want.n + i];
    double off = largest_error(got, &want);
    CHECK_CASE(off < 1e-5, "%s: gradient off by %g", name, off);
}

static void try_row(const row *r, int index, uint64_t seed, tb_ruleset ruleset) {
    making m;
    making_start(&m);
    arena = m.arena;
    m.seed = seed * 1000 + (uint64_t)index + 1;
    tb_value *in[3];
    int n = 0;
    while (n < 3 && r->in[n]) in[n] = make_operand(&m, r->in[n]), n++;
    tb_value *y = make(&m, r->kind, n, in, r->n_attrs, r->attrs);
    make_output(&m, y);
    making_run(&m);
    const tb_node *node = y->producer;
    probe p = {.node = node, .ruleset = ruleset, .f = r->f};
    const tiba_tensor *values[3] = {0}, *out[1] = {m.program->values[y->id]};
    tiba_tensor got[3], grads[3], *r_in[3] = {0}, *d_in[3] = {0};
    for (int i = 0; i < n; i++) {
        values[i] = in[i]->t.data ? &in[i]->t : m.program->values[in[i]->id];
        p.in[i] = nd_of(values[i]);
        p.share[i] = nd_like(values[i]);
        if (!in[i]->active) continue;
        got[i] = tensor_like(values[i], NULL);
        grads[i] = tensor_like(values[i], NULL);
        r_in[i] = &got[i];
        d_in[i] = &grads[i];
    }
    p.out = nd_of(out[0]);
    p.r = random_relevance(&m, out[0], seed % 2);
    nd d = random_relevance(&m, out[0], seed % 3 == 2);
    tiba_tensor r_out = tensor_like(out[0], &p.r), d_out = tensor_like(out[0], &d);
    tb_step step = {.exec = &m.exec,
                    .node = node,
                    .ruleset = ruleset,
                    .in = values,
                    .out = out,
                    .r_out = (const tiba_tensor *[]){&r_out},
                    .r_in = r_in};
    const tb_rule *rule = tb_find_rule(node);
    char name[128];
    snprintf(name, sizeof name, "%s(%s %s) by '%s', ruleset %d, seed %d", node->op->name, r->in[0],
             r->in[1] ? r->in[1] : "", rule->name, (int)ruleset, (int)seed);
    tiba_error error = {0};
    CHECK_CASE(rule->relevance(&step, &error) == TIBA_OK, "%s: %s", name, error.message);
    r->rule(&p);
    for (int i = 0; i < n; i++) {
        if (!r_in[i]) continue;
        double off = largest_error(&got[i], &p.share[i]);
        /* sums of both signs as divisors lose digits */
        bool signed_sum = r->rule == rule_product || r->rule == rule_gemm_sum;
        CHECK_CASE(off < (signed_sum ? 1e-3 : 1e-4), "%s: operand %d off by %g", name, i, off);
    }
    if (rule->both) {
        step.d_out = (const tiba_tensor *[]){&d_out};
        step.d_in = d_in;
        got[0] = tensor_like(values[0], NULL);
        CHECK(rule->both(&step, &error) == TIBA_OK);
        double off = largest_error(&got[0], &p.share[0]);
        CHECK_CASE(off < 1e-4, "%s: together with the gradient off by %g", name, off);
        check_gradient(&p, name, &d, &grads[0]);
    }
    making_end(&m);
}

/* A convolution that does not read the picture: the rule of a linear map. */
static void check_inner_conv(tb_ruleset ruleset) {
    making m;
    making_start(&m);
    arena = m.arena;
    tb_value *x = make1(&m, TB_OP_Tanh, make_input(&m, "x", "2,2,4,4"));
    tb_value *in[] = {x, make_random(&m, "4,1,3,2"), make_random(&m, "4")};
    const tb_attr attrs[] = {INT("group", 2), LIST("pads", 4, 1, 0, 1, 0)};
    tb_value *y = make(&m, TB_OP_Conv, 3, in, 2, attrs);
    make_output(&m, y);
    making_run(&m);
    probe p = {.node = y->producer, .ruleset = ruleset, .f = naive_conv};
    const tiba_tensor *values[3] = {m.program->values[x->id], &in[1]->t, &in[2]->t};
    const tiba_tensor *out[1] = {m.program->values[y->id]};
    for (int i = 0; i < 2; i++) p.in[i] = nd_of(values[i]), p.share[i] = nd_like(values[i]);
    p.out = nd_of(out[0]);
    p.r = random_relevance(&m, out[0], true);
    tiba_tensor r_out = tensor_like(out[0], &p.r), got = tensor_like(values[0], NULL);
    tb_step step = {.exec = &m.exec,
                    .node = y->producer,
                    .ruleset = ruleset,
                    .in = values,
                    .out = out,
                    .r_out = (const tiba_tensor *[]){&r_out},
                    .r_in = (tiba_tensor *[]){&got, NULL, NULL}};
    tiba_error error = {0};
    CHECK(tb_find_rule(y->producer)->relevance(&step, &error) == TIBA_OK);
    rule_map(&p);
    double off = largest_error(&got, &p.share[0]);
    CHECK_CASE(off < 1e-4, "inner convolution off by %g", off);
    making_end(&m);
}

static void check_division(void) {
    CHECK(tb_guarded(3, 0) == 0.0f);
    CHECK_NEAR(tb_guarded(3, 2), 1.5, 1e-6);
    CHECK_NEAR(tb_guarded(3, -2), -1.5, 1e-6);
    CHECK_NEAR(tb_guarded_f64(1, -1e-9), 1e9, 1);
    CHECK_NEAR(tb_guarded_f64(1, -2e-9), -1e9, 1);
    CHECK_NEAR(tb_guarded_f64(1, 1e-9), 0.5e9, 1);
}

int main(void) {
    check_division();
    for (int ruleset = TB_RULESET_TIBA; ruleset <= TB_RULESET_LRP; ruleset++) {
        check_inner_conv((tb_ruleset)ruleset);
        for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++)
            for (uint64_t seed = 0; seed < 6; seed++)
                try_row(&rows[i], i, seed, (tb_ruleset)ruleset);
    }
    TEST_END();
}
