/*
 * test_gemm_panels.c: tb_gemm_panels against plain loops in double: listed rows, magnitudes of
 * either operand, odd sizes, both orders of B; and the same bytes at 1, 2, 3 and 8 threads.
 */
#include <stdlib.h>

#include "runtime/gemm_kernel.h"
#include "runtime/gemm_panels.h"
#include "tests/check.h"
#include "tests/support.h"

enum { ROWS = 37, LISTED = 20, MOST_N = 700, MOST_K = 530, OUT = 2 * ROWS + LISTED, PAD = 3 };

typedef struct result {
    int64_t n;
    float c[OUT * MOST_N];
} result;

static void collect(void *context, int64_t col, int64_t cols, float *c, int64_t ldc) {
    result *r = context;
    for (int64_t i = 0; i < OUT; i++) {
        memcpy(r->c + i * r->n + col, c + i * ldc, (size_t)cols * sizeof *c);
        for (int64_t j = 0; j < cols; j++) c[i * ldc + j] = NAN; /* it may be written to */
    }
}

static float magnitude(bool take, float x) {
    return take && x < 0 ? -x : x;
}

static double worst_error(const result *r, const tb_panel_part *parts, const float *b, int64_t ldb,
                          bool trans_b, int64_t k) {
    double worst = 0;
    for (int64_t row = 0; row < OUT; row++) {
        int which = row < ROWS ? 0 : row < ROWS + LISTED ? 1 : 2;
        const tb_panel_part *p = &parts[which];
        int64_t i = row - (which > 0 ? ROWS : 0) - (which > 1 ? LISTED : 0);
        const float *a = p->a + (p->index ? p->index[i] : i) * p->lda;
        for (int64_t j = 0; j < r->n; j++) {
            double want = 0;
            for (int64_t x = 0; x < k; x++)
                want += (double)magnitude(p->abs_a, a[x]) *
                        (double)magnitude(p->abs_b, b[trans_b ? j * ldb + x : x * ldb + j]);
            double error = fabs((double)r->c[row * r->n + j] - want);
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

static void check_size(tb_exec *pools, int n_pools, int64_t n, int64_t k, bool trans_b) {
    static float a[ROWS * (MOST_K + PAD)], b[(MOST_N + PAD) * (MOST_K + PAD)];
    static result first, r;
    int64_t index[LISTED], lda = k + PAD, ldb = (trans_b ? k : n) + PAD;
    uint64_t state = 7;
    for (int64_t i = 0; i < ROWS * lda; i++) a[i] = (float)(2 * test_uniform(&state) - 1);
    for (int64_t i = 0; i < (trans_b ? n : k) * ldb; i++)
        b[i] = (float)(2 * test_uniform(&state) - 1);
    for (int64_t i = 0; i < LISTED; i++) index[i] = (i * 11 + 5) % ROWS;
    const tb_panel_part parts[3] = {{a, lda, ROWS, NULL, false, true},
                                    {a, lda, LISTED, index, true, true},
                                    {a, lda, ROWS, NULL, false, false}};
    for (int p = 0; p < n_pools; p++) {
        memset(&r, 0xff, sizeof r);
        r.n = n;
        CHECK(tb_gemm_panels(&pools[p], trans_b, n, k, b, ldb, 3, parts, collect, &r));
        tb_scratch_free(&pools[p]);
        if (p == 0) first = r;
        CHECK_CASE(memcmp(&first, &r, sizeof r) == 0, "pool %d gives other bytes", p);
    }
    double error = worst_error(&r, parts, b, ldb, trans_b, k);
    CHECK_CASE(error <= 1e-6 * (double)(k + 4), "%lldx%lld %d: error %g", (long long)n,
               (long long)k, trans_b, error);
}

int main(void) {
    static const int64_t sizes[][2] = {{1, 1},    {31, 7},    {33, 256}, {64, 257},
                                       {192, 20}, {193, 513}, {700, 33}, {200, 530}};
    const tb_gemm_set *sets[TB_GEMM_MOST_SETS];
    tb_exec pools[4];
    static const int threads[4] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) pools[i] = (tb_exec){.pool = tb_pool_create(NULL, threads[i])};
    if (tb_gemm_sets(sets) > 0) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int trans = 0; trans < 2; trans++)
                check_size(pools, 4, sizes[i][0], sizes[i][1], trans);
        tb_budget none = {.limit = 1};
        tb_exec poor = {.budget = &none};
        float one = 1;
        tb_panel_part part = {&one, 1, 1, NULL, false, false};
        CHECK(!tb_gemm_panels(&poor, false, 1, 1, &one, 1, 1, &part, collect, NULL));
    }
    for (int i = 0; i < 4; i++) tb_pool_destroy(pools[i].pool);
    TEST_END();
}
