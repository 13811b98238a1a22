/*
 * test_gemm.c: tb_gemm and its relatives against a plain triple loop in double: all transpositions,
 * odd sizes, strides wider than the rows, alpha and beta; and the same bytes at 1, 2, 3 and 8
 * threads and without memory to spare. Every set of inner loops that this machine can run is tested
 * by itself, too.
 */
#include <stdlib.h>

#include "runtime/gemm.h"
#include "runtime/gemm_kernel.h"
#include "tests/check.h"
#include "tests/support.h"

static const struct size {
    int64_t m, n, k;
} sizes[] = {
    {1, 1, 1},
    {1, 17, 5},
    {2, 32, 3},
    {5, 1, 300},
    {13, 15, 16},
    {14, 33, 8},
    {15, 31, 7},
    {28, 64, 256},
    {29, 65, 257},
    {7, 100, 513},
    {197, 64, 33},
    {64, 197, 64},
    {253, 97, 20},
    {510, 8, 9},
    {3, 1600, 40},
    {1, 192, 700},
    {2, 200, 70},
    {6, 48, 1},
    {33, 1537, 12},
    {4, 3, 0},
    {12, 96, 511},
    /* large enough for tiles */
    {29, 150, 257},
    {1, 2000, 530},
    {14, 2048, 40},
    {505, 71, 30},
    {131, 97, 83},
    {7, 1000, 150},
    {1025, 16, 65},
};

static void fill(float *x, int64_t count, uint64_t *state) {
    for (int64_t i = 0; i < count; i++) x[i] = (float)(2 * test_uniform(state) - 1);
}

static tb_exec exec_with(int threads) {
    return (tb_exec){.pool = tb_pool_create(NULL, threads)};
}

typedef struct operands {
    int64_t lda, ldb, ldc;
    float *a, *b, *c, *start, *bias;
} operands;

static float *floats(int64_t count) {
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    if (!x) abort();
    return x;
}

/* Rows are 3 elements longer than they need to be; what is behind them must stay as it was. */
static operands make(const struct size *s, bool trans_a, bool trans_b, uint64_t *state) {
    operands o = {
        .lda = (trans_a ? s->m : s->k) + 3, .ldb = (trans_b ? s->k : s->n) + 3, .ldc = s->n + 3};
    int64_t count_a = (trans_a ? s->k : s->m) * o.lda, count_b = (trans_b ? s->n : s->k) * o.ldb;
    o.a = floats(count_a);
    o.b = floats(count_b);
    o.c = floats(s->m * o.ldc);
    o.start = floats(s->m * o.ldc);
    o.bias = floats(s->n);
    fill(o.a, count_a, state);
    fill(o.b, count_b, state);
    fill(o.start, s->m * o.ldc, state);
    fill(o.bias, s->n, state);
    return o;
}

static void drop(operands *o) {
    free(o->a);
    free(o->b);
    free(o->c);
    free(o->start);
    free(o->bias);
}

static double naive(const operands *o, const struct size *s, bool trans_a, bool trans_b, int64_t i,
                    int64_t j) {
    double sum = 0;
    for (int64_t p = 0; p < s->k; p++)
        sum += (double)o->a[trans_a ? p * o->lda + i : i * o->lda + p] *
               (double)o->b[trans_b ? j * o->ldb + p : p * o->ldb + j];
    return sum;
}

/* Largest error of c against alpha A B + beta start + bias; changed elements behind a row count. */
static double error_of(const operands *o, const struct size *s, bool trans_a, bool trans_b,
                       double alpha, double beta, bool bias) {
    double worst = 0;
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < o->ldc; j++) {
            double start = (double)o->start[i * o->ldc + j], want = start;
            if (j < s->n)
                want = alpha * naive(o, s, trans_a, trans_b, i, j) +
                       (beta != 0 ? beta * start : 0) + (bias ? (double)o->bias[j] : 0);
            double error = fabs((double)o->c[i * o->ldc + j] - want);
            if (!(error <= worst)) worst = error;
        }
    return worst;
}

static void check_product(tb_exec *pools, int n_pools, const struct size *s, bool trans_a,
                          bool trans_b, uint64_t *state) {
    static const float scales[][2] = {{1, 0}, {0.5f, 1}, {-2, 0.25f}};
    operands o = make(s, trans_a, trans_b, state);
    size_t bytes = (size_t)(s->m * o.ldc) * sizeof(float);
    float *first = floats(s->m * o.ldc);
    double tolerance = 1e-6 * (double)(s->k + 4);
    for (size_t v = 0; v < sizeof scales / sizeof *scales; v++) {
        float alpha = scales[v][0], beta = scales[v][1];
        for (int p = 0; p < n_pools; p++) {
            memcpy(o.c, o.start, bytes);
            for (int64_t i = 0; beta == 0 && i < s->m; i++) /* must not be read then */
                for (int64_t j = 0; j < s->n; j++) o.c[i * o.ldc + j] = NAN;
            tb_gemm(&pools[p], trans_a, trans_b, s->m, s->n, s->k, alpha, o.a, o.lda, o.b, o.ldb,
                    beta, o.c, o.ldc);
            if (p == 0) memcpy(first, o.c, bytes);
            CHECK_CASE(memcmp(first, o.c, bytes) == 0, "pool %d gives other bytes", p);
        }
        double error = error_of(&o, s, trans_a, trans_b, (double)alpha, (double)beta, false);
        CHECK_CASE(error <= tolerance, "%lldx%lldx%lld %d%d alpha %g beta %g: error %g",
                   (long long)s->m, (long long)s->n, (long long)s->k, trans_a, trans_b,
                   (double)alpha, (double)beta, error);
    }
    if (!trans_a) {
        memcpy(o.c, o.start, bytes);
        tb_gemm_bias(&pools[0], trans_b, s->m, s->n, s->k, o.a, o.lda, o.b, o.ldb, o.bias, o.c,
                     o.ldc);
        CHECK(error_of(&o, s, false, trans_b, 1, 0, true) <= tolerance);
    }
    free(first);
    drop(&o);
}

/* Heads: the same bytes as one product after the other. */
static void check_batch(tb_exec *pools, int n_pools, uint64_t *state) {
    enum { COUNT = 7, M = 37, N = 41, K = 19 };
    float *a = floats(COUNT * M * K), *b = floats(COUNT * K * N);
    float *c = floats(COUNT * M * N), *want = floats(COUNT * M * N);
    fill(a, COUNT * M * K, state);
    fill(b, COUNT * K * N, state);
    tb_gemm_item items[COUNT];
    for (int i = 0; i < COUNT; i++) {
        items[i] = (tb_gemm_item){a + i * M * K, b + i * K * N, c + i * M * N};
        tb_gemm(&pools[0], false, false, M, N, K, 1, items[i].a, K, items[i].b, N, 0,
                want + i * M * N, N);
    }
    for (int p = 0; p < n_pools; p++) {
        memset(c, 0xff, sizeof(float) * COUNT * M * N);
        tb_gemm_batch(&pools[p], COUNT, items, false, false, M, N, K, 1, K, N, 0, N);
        CHECK(memcmp(c, want, sizeof(float) * COUNT * M * N) == 0);
    }
    tb_gemm_batch(&pools[0], 0, NULL, false, false, M, N, K, 1, K, N, 0, N);
    free(a);
    free(b);
    free(c);
    free(want);
}

/* One tile of every size, from packed operands. */
static void check_set(const tb_gemm_set *set, uint64_t *state) {
    enum { K = 21, LD = 40 };
    float *a = floats(TB_GEMM_MOST_ROWS * TB_GEMM_STRIDE_A), *b = floats(LD * LD);
    float *packed = floats(K * TB_GEMM_MOST_COLS), *c = floats(TB_GEMM_MOST_ROWS * LD);
    fill(a, TB_GEMM_MOST_ROWS * TB_GEMM_STRIDE_A, state);
    fill(b, LD * LD, state);
    for (int64_t rows = 1; rows <= set->rows; rows++)
        for (int64_t cols = 1; cols <= set->cols; cols++) {
            bool trans = (rows + cols) % 2, add = rows % 3 == 0;
            for (int64_t i = 0; i < TB_GEMM_MOST_ROWS * LD; i++) c[i] = 1;
            set->pack(trans, K, cols, set->cols, b, LD, packed);
            set->tile(rows, cols, K, 0.5f, a, packed, set->cols, add, c, LD);
            double worst = 0;
            for (int64_t i = 0; i < TB_GEMM_MOST_ROWS; i++)
                for (int64_t j = 0; j < LD; j++) {
                    double want = add || i >= rows || j >= cols;
                    for (int64_t p = 0; i < rows && j < cols && p < K; p++)
                        want += 0.5 * (double)a[i * TB_GEMM_STRIDE_A + p] *
                                (double)b[trans ? j * LD + p : p * LD + j];
                    double error = fabs((double)c[i * LD + j] - want);
                    if (!(error <= worst)) worst = error;
                }
            CHECK_CASE(worst < 1e-5, "tile %lldx%lld of %lldx%lld: error %g", (long long)rows,
                       (long long)cols, (long long)set->rows, (long long)set->cols, worst);
        }
    free(a);
    free(b);
    free(packed);
    free(c);
}

int main(void) {
    uint64_t state = 1;
    tb_budget none = {.limit = 1}; /* no memory for packing */
    tb_exec pools[] = {exec_with(1), exec_with(2), exec_with(3), exec_with(8), {.budget = &none}};
    int n_pools = (int)(sizeof pools / sizeof *pools);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int trans = 0; trans < 4; trans++)
            check_product(pools, n_pools, &sizes[i], trans & 1, trans >> 1, &state);
    check_batch(pools, n_pools, &state);
    const tb_gemm_set *sets[TB_GEMM_MOST_SETS];
    int n_sets = tb_gemm_sets(sets);
    for (int i = 0; i < n_sets; i++) check_set(sets[i], &state);
    for (int i = 0; i < n_pools; i++) tb_pool_destroy(pools[i].pool);
    TEST_END();
}
