/*
 * op_matmul.c: MatMul, Gemm and tiba.Linear on top of tb_gemm.
 */
#include <string.h>

#include "runtime/gemm.h"
#include "runtime/gemm_whole.h"
#include "runtime/kernel.h"

/* ---- MatMul: [..., m, k] x [..., k, n] with numpy's rules ---- */

typedef struct matmul {
    int64_t m, n, k;
    int rank;                                                                  /* batch axes */
    int64_t dims[TIBA_MAX_RANK], step_a[TIBA_MAX_RANK], step_b[TIBA_MAX_RANK]; /* in matrices */
    int64_t batch, count_a, count_b; /* products; distinct matrices of either operand */
} matmul;

/* False if the operands do not fit together. */
static bool matmul_plan(matmul *p, const tiba_tensor *a, const tiba_tensor *b) {
    *p = (matmul){.m = a->rank > 1 ? a->dims[a->rank - 2] : 1,
                  .k = a->dims[a->rank - 1],
                  .n = b->rank > 1 ? b->dims[b->rank - 1] : 1};
    if (b->dims[b->rank > 1 ? b->rank - 2 : 0] != p->k) return false;
    int batch_a = a->rank > 2 ? a->rank - 2 : 0, batch_b = b->rank > 2 ? b->rank - 2 : 0;
    p->rank = batch_a > batch_b ? batch_a : batch_b;
    p->batch = p->count_a = p->count_b = 1;
    for (int i = p->rank - 1; i >= 0; i--) {
        int at_a = i - (p->rank - batch_a), at_b = i - (p->rank - batch_b);
        int64_t da = at_a >= 0 ? a->dims[at_a] : 1, db = at_b >= 0 ? b->dims[at_b] : 1;
        if (da != db && da != 1 && db != 1) return false;
        p->dims[i] = da == 1 ? db : da;
        p->step_a[i] = da == 1 ? 0 : p->count_a;
        p->step_b[i] = db == 1 ? 0 : p->count_b;
        p->count_a *= da;
        p->count_b *= db;
        p->batch *= p->dims[i];
    }
    return true;
}

/* Which matrices product `index` reads. */
static void matmul_pair(const matmul *p, int64_t index, int64_t *a, int64_t *b) {
    *a = *b = 0;
    for (int i = p->rank - 1; i >= 0; i--) {
        int64_t at = index % p->dims[i];
        index /= p->dims[i];
        *a += at * p->step_a[i];
        *b += at * p->step_b[i];
    }
}

/* Factors, and what is added to a product: all floats or none (rules read floats as they are). */
static tiba_status need_one_kind(const tb_node *node, tiba_error *error) {
    const tiba_dtype a = node->in[0]->t.dtype;
    for (int i = 1; i < node->n_in; i++) {
        if (!node->in[i]) continue;
        const tiba_dtype b = node->in[i]->t.dtype;
        if ((a == TIBA_FLOAT32) != (b == TIBA_FLOAT32))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "operands are %s and %s",
                                tb_dtype_name(a), tb_dtype_name(b));
    }
    return TIBA_OK;
}

static tiba_status matmul_shape(tb_node *node, tiba_error *error) {
    TB_TRY(need_one_kind(node, error));
    TB_TRY(tb_need_rank(node, 0, 1, error));
    TB_TRY(tb_need_rank(node, 1, 1, error));
    const tiba_tensor *a = &node->in[0]->t, *b = &node->in[1]->t;
    matmul p;
    if (!matmul_plan(&p, a, b)) {
        char text_a[96], text_b[96];
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "shapes %s and %s do not multiply",
                            tb_shape_text(text_a, sizeof text_a, a->rank, a->dims),
                            tb_shape_text(text_b, sizeof text_b, b->rank, b->dims));
    }
    tiba_tensor *y = &node->out[0]->t;
    y->dtype = a->dtype;
    y->rank = 0;
    for (int i = 0; i < p.rank; i++) y->dims[y->rank++] = p.dims[i];
    if (a->rank > 1) y->dims[y->rank++] = p.m;
    if (b->rank > 1) y->dims[y->rank++] = p.n;
    return TIBA_OK;
}

static tiba_status matmul_float(tb_exec *exec, const matmul *p, const float *a, const float *b,
                                float *c, tiba_error *error) {
    int64_t lda = p->k ? p->k : 1, ldb = p->n ? p->n : 1;
    if (p->count_b == 1) {
        tb_gemm(exec, false, false, p->batch * p->m, p->n, p->k, 1, a, lda, b, ldb, 0, c, ldb);
        return TIBA_OK;
    }
    tb_gemm_item *items = tb_scratch(exec, (size_t)p->batch, sizeof *items);
    if (!items) return tb_out_of_memory(error);
    for (int64_t i = 0; i < p->batch; i++) {
        int64_t at_a, at_b;
        matmul_pair(p, i, &at_a, &at_b);
        items[i] =
            (tb_gemm_item){a + at_a * p->m * p->k, b + at_b * p->k * p->n, c + i * p->m * p->n};
    }
    tb_gemm_batch(exec, p->batch, items, false, false, p->m, p->n, p->k, 1, lda, ldb, 0, ldb);
    return TIBA_OK;
}

static tiba_status matmul_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    (void)node;
    matmul p;
    if (!matmul_plan(&p, in[0], in[1]))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "shapes do not multiply");
    const float *a = tb_floats(exec, in[0]), *b = tb_floats(exec, in[1]);
    if (!a || !b) return tb_out_of_memory(error);
    if (out[0]->dtype == TIBA_FLOAT32) return matmul_float(exec, &p, a, b, out[0]->data, error);
    tiba_tensor y = *out[0];
    y.dtype = TIBA_FLOAT32;
    y.data = tb_scratch(exec, (size_t)tb_tensor_count(&y), sizeof(float));
    if (!y.data) return tb_out_of_memory(error);
    TB_TRY(matmul_float(exec, &p, a, b, y.data, error));
    tb_convert(out[0], &y);
    return TIBA_OK;
}

/* d (which = 0: a, 1: b) where batch axes are broadcast: the products that share a matrix are added
 * one after the other; matrices run in parallel. */
static tiba_status matmul_vjp_batch(tb_exec *exec, const matmul *p, int which, const float *other,
                                    const float *dy, float *d, tiba_error *error) {
    int64_t count = which ? p->count_b : p->count_a, rounds = p->batch / count;
    int64_t size = which ? p->k * p->n : p->m * p->k;
    tb_gemm_item *items = tb_scratch(exec, (size_t)p->batch, sizeof *items);
    int64_t *filled = tb_scratch(exec, (size_t)count, sizeof *filled);
    if (!items || !filled) return tb_out_of_memory(error);
    memset(filled, 0, (size_t)count * sizeof *filled);
    for (int64_t i = 0; i < p->batch; i++) {
        int64_t at[2];
        matmul_pair(p, i, &at[0], &at[1]);
        const float *dyi = dy + i * p->m * p->n;
        int64_t mine = at[which];
        tb_gemm_item *item = &items[filled[mine]++ * count + mine];
        *item = which ? (tb_gemm_item){other + at[0] * p->m * p->k, dyi, d + mine * size}
                      : (tb_gemm_item){dyi, other + at[1] * p->k * p->n, d + mine * size};
    }
    int64_t lda = p->k ? p->k : 1, ldb = p->n ? p->n : 1;
    for (int64_t r = 0; r < rounds; r++) {
        float beta = r > 0 ? 1.f : 0.f;
        if (which)
            tb_gemm_batch(exec, count, items + r * count, true, false, p->k, p->n, p->m, 1, lda,
                          ldb, beta, ldb);
        else
            tb_gemm_batch(exec, count, items + r * count, false, true, p->m, p->k, p->n, 1, ldb,
                          ldb, beta, lda);
    }
    return TIBA_OK;
}

static tiba_status matmul_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    matmul p;
    if (!matmul_plan(&p, in[0], in[1]))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "shapes do not multiply");
    const float *dy = dout[0]->data;
    int64_t lda = p.k ? p.k : 1, ldb = p.n ? p.n : 1;
    for (int which = 0; which < 2; which++) {
        if (!din[which]) continue;
        float *d = din[which]->data;
        const float *other = tb_floats(exec, in[!which]);
        if (!other) return tb_out_of_memory(error);
        if (p.batch == 0)
            memset(d, 0, tb_tensor_bytes(din[which]));
        else if (p.count_b == 1 && which == 0)
            tb_gemm(exec, false, true, p.batch * p.m, p.k, p.n, 1, dy, ldb, other, ldb, 0, d, lda);
        else if (p.count_b == 1)
            tb_gemm(exec, true, false, p.k, p.n, p.batch * p.m, 1, other, lda, dy, ldb, 0, d, ldb);
        else
            TB_TRY(matmul_vjp_batch(exec, &p, which, other, dy, d, error));
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_MatMul = {.shape = matmul_shape,
                                    .forward = matmul_forward,
                                    .vjp = matmul_vjp,
                                    .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

/* ---- Gemm: alpha A' B' + beta C ---- */

typedef struct gemm {
    bool trans_a, trans_b;
    float alpha, beta;
    int64_t m, n, k, lda, ldb;
} gemm;

static gemm gemm_plan(const tb_node *node, const tiba_tensor *a, const tiba_tensor *b) {
    gemm p = {.trans_a = tb_attr_int(node, "transA", 0) != 0,
              .trans_b = tb_attr_int(node, "transB", 0) != 0,
              .alpha = tb_attr_float(node, "alpha", 1),
              .beta = tb_attr_float(node, "beta", 1),
              .lda = a->dims[1] ? a->dims[1] : 1,
              .ldb = b->dims[1] ? b->dims[1] : 1};
    p.m = a->dims[p.trans_a];
    p.k = a->dims[!p.trans_a];
    p.n = b->dims[!p.trans_b];
    return p;
}

static tiba_status gemm_shape(tb_node *node, tiba_error *error) {
    TB_TRY(need_one_kind(node, error));
    for (int i = 0; i < 2; i++) {
        TB_TRY(tb_need_rank(node, i, 2, error));
        if (node->in[i]->t.rank != 2)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d has rank %d, needs 2", i,
                                node->in[i]->t.rank);
    }
    const tiba_tensor *a = &node->in[0]->t, *b = &node->in[1]->t;
    gemm p = gemm_plan(node, a, b);
    if (b->dims[p.trans_b] != p.k)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "inner dimensions %lld and %lld differ",
                            (long long)p.k, (long long)b->dims[p.trans_b]);
    tiba_tensor *y = &node->out[0]->t;
    y->dtype = a->dtype;
    y->rank = 2;
    y->dims[0] = p.m;
    y->dims[1] = p.n;
    if (node->n_in > 2 && node->in[2] && !tb_broadcasts_to(&node->in[2]->t, 2, y->dims))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "input 2 does not broadcast to the result");
    return TIBA_OK;
}

static tiba_status gemm_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    gemm p = gemm_plan(node, in[0], in[1]);
    const float *a = tb_floats(exec, in[0]), *b = tb_floats(exec, in[1]);
    tiba_tensor y = *out[0];
    y.dtype = TIBA_FLOAT32;
    if (out[0]->dtype != TIBA_FLOAT32)
        y.data = tb_scratch(exec, (size_t)tb_tensor_count(&y), sizeof(float));
    if (!a || !b || !y.data) return tb_out_of_memory(error);
    float beta = 0;
    if (node->n_in > 2 && in[2]) {
        tiba_tensor c = *in[2];
        c.data = (void *)(uintptr_t)tb_floats(exec, in[2]);
        if (!c.data) return tb_out_of_memory(error);
        tb_expand_floats(y.data, 2, y.dims, &c);
        beta = p.beta;
    }
    tb_gemm(exec, p.trans_a, p.trans_b, p.m, p.n, p.k, p.alpha, a, p.lda, b, p.ldb, beta, y.data,
            p.n ? p.n : 1);
    if (out[0]->dtype != TIBA_FLOAT32) tb_convert(out[0], &y);
    return TIBA_OK;
}

static tiba_status gemm_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    gemm p = gemm_plan(node, in[0], in[1]);
    const float *dy = dout[0]->data;
    int64_t ldc = p.n ? p.n : 1;
    if (din[0]) {
        const float *b = in[1]->data;
        if (p.trans_a)
            tb_gemm(exec, p.trans_b, true, p.k, p.m, p.n, p.alpha, b, p.ldb, dy, ldc, 0,
                    din[0]->data, p.lda);
        else
            tb_gemm(exec, false, !p.trans_b, p.m, p.k, p.n, p.alpha, dy, ldc, b, p.ldb, 0,
                    din[0]->data, p.lda);
    }
    if (din[1]) {
        const float *a = in[0]->data;
        if (p.trans_b)
            tb_gemm(exec, true, p.trans_a, p.n, p.k, p.m, p.alpha, dy, ldc, a, p.lda, 0,
                    din[1]->data, p.ldb);
        else
            tb_gemm(exec, !p.trans_a, false, p.k, p.n, p.m, p.alpha, a, p.lda, dy, ldc, 0,
                    din[1]->data, p.ldb);
    }
    if (node->n_in > 2 && din[2]) {
        if (!tb_reduce_floats(exec, din[2], 2, dout[0]->dims, dy)) return tb_out_of_memory(error);
        float *dc = din[2]->data;
        for (int64_t i = tb_tensor_count(din[2]) - 1; i >= 0; i--) dc[i] *= p.beta;
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Gemm = {.shape = gemm_shape,
                                  .forward = gemm_forward,
                                  .vjp = gemm_vjp,
                                  .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

/* ---- Linear: x W (+ b), W constant ---- */

typedef struct linear {
    bool trans_w;
    int64_t rows, n_in, n_out, ldw;
} linear;

static linear linear_plan(const tb_node *node, const tiba_tensor *x, const tiba_tensor *w) {
    linear p = {.trans_w = tb_attr_int(node, "trans_w", 0) != 0, .ldw = w->dims[1]};
    p.n_in = w->dims[p.trans_w];
    p.n_out = w->dims[!p.trans_w];
    p.rows = tb_product(x->dims, 0, x->rank - 1);
    if (p.ldw == 0) p.ldw = 1;
    return p;
}

static tiba_status linear_shape(tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_rank(node, 0, 1, error));
    TB_TRY(tb_need_rank(node, 1, 2, error));
    TB_TRY(tb_need_float(node, 0, error));
    TB_TRY(tb_need_float(node, 1, error));
    const tiba_tensor *x = &node->in[0]->t, *w = &node->in[1]->t;
    linear p = linear_plan(node, x, w);
    if (w->rank != 2 || x->dims[x->rank - 1] != p.n_in)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%lld features do not fit the weight",
                            (long long)x->dims[x->rank - 1]);
    if (node->n_in > 2 && node->in[2]) {
        TB_TRY(tb_need_float(node, 2, error));
        if (node->in[2]->t.rank != 1 || node->in[2]->t.dims[0] != p.n_out)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "the bias does not fit the weight");
    }
    tiba_tensor *y = &node->out[0]->t;
    *y = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = x->rank, .data = y->data};
    memcpy(y->dims, x->dims, sizeof y->dims);
    y->dims[y->rank - 1] = p.n_out;
    return TIBA_OK;
}

/* What the operands' elements are multiples of, as far as is known (1 where not): x of one number,
 * W of one or of one for each result. */
static tb_whole_units linear_units(tb_exec *exec, const tb_node *node, const linear *p) {
    const tb_value *x = node->in[0], *w = node->in[1];
    tb_whole_units units = {.a = 1};
    const float *a = x->step ? tb_floats(exec, &x->step->t) : NULL;
    if (a && tb_tensor_count(&x->step->t) == 1) units.a = *a;
    int64_t count = w->step ? tb_tensor_count(&w->step->t) : 0;
    units.each = count == p->n_out && w->step_axis == !p->trans_w;
    if (units.each || count == 1) units.b = tb_floats(exec, &w->step->t);
    return units;
}

static tiba_status linear_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    (void)error;
    linear p = linear_plan(node, in[0], in[1]);
    const float *x = in[0]->data, *w = in[1]->data, *bias = NULL;
    int64_t ldx = p.n_in ? p.n_in : 1, ldy = p.n_out ? p.n_out : 1;
    if (node->n_in > 2 && in[2]) bias = in[2]->data;
    const tb_whole_units units = linear_units(exec, node, &p);
    if (!tb_gemm_whole(exec, p.trans_w, p.rows, p.n_out, p.n_in, x, ldx, w, p.ldw, units, bias,
                       out[0]->data, ldy))
        tb_gemm_bias(exec, p.trans_w, p.rows, p.n_out, p.n_in, x, ldx, w, p.ldw, bias, out[0]->data,
                     ldy);
    return TIBA_OK;
}

static tiba_status linear_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    linear p = linear_plan(node, in[0], in[1]);
    int64_t ldx = p.n_in ? p.n_in : 1, ldy = p.n_out ? p.n_out : 1;
    const float *dy = dout[0]->data;
    if (din[0])
        tb_gemm(exec, false, !p.trans_w, p.rows, p.n_in, p.n_out, 1, dy, ldy, in[1]->data, p.ldw, 0,
                din[0]->data, ldx);
    if (din[1]) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "the weight must be a constant");
    if (node->n_in > 2 && din[2] &&
        !tb_reduce_floats(exec, din[2], 2, (int64_t[]){p.rows, p.n_out}, dy))
        return tb_out_of_memory(error);
    return TIBA_OK;
}

/* The weight is a constant, so only the gradient of x (and of an active bias) is ever asked for. */
const tb_op_def tb_op_def_Linear = {
    .shape = linear_shape, .forward = linear_forward, .vjp = linear_vjp, .needs = TB_NEEDS_IN(1)};
