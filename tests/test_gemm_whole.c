/*
 * test_gemm_whole.c: products of whole numbers against 64-bit integers, for every set of inner
 * loops that this machine can run: all sizes of tiles, odd sizes, strides wider than the rows, the
 * largest numbers over the longest sums, operands in units of 1, of a scale and of one for each
 * column; the same bytes at 1, 2, 3 and 8 threads; and operands that are no such numbers, anywhere,
 * are noticed.
 */
#include <stdlib.h>

#include "runtime/gemm_whole.h"
#include "tests/check.h"
#include "tests/support.h"

static const struct size {
    int64_t m, n, k;
} sizes[] = {
    {1, 1, 1},     {1, 17, 5},    {2, 32, 3},    {5, 1, 300},   {13, 15, 16},   {14, 33, 8},
    {15, 31, 7},   {29, 65, 257}, {7, 100, 513}, {197, 64, 33}, {253, 97, 20},  {3, 700, 40},
    {4, 3, 0},     {12, 96, 511}, {0, 5, 5},     {5, 0, 5},     {505, 71, 30},  {1, 2000, 530},
    {31, 40, 256}, {6, 16, 255},  {8, 48, 15},   {9, 47, 17},   {131, 33, 258},
};

typedef struct operands {
    int64_t lda, ldb, ldc;
    float *a, *b, *c, *bias, *scales;
    tb_whole_units units;
} operands;

enum { PLAIN, SCALED, EACH, KINDS };

static float *floats(int64_t count) {
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    if (!x) abort();
    return x;
}

/* Whole numbers of -least … most; a stretch of the largest. */
static void fill(float *x, int64_t count, double least, double most, uint64_t *state) {
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)floor(test_uniform(state) * (least + most + 1) - least);
    for (int64_t i = 0; i < count / 3; i++) x[i] = (float)(i % 2 ? most : -least);
}

static float unit_of(const operands *o, int64_t j) {
    return o->units.b ? o->units.b[o->units.each ? j : 0] : 1.0f;
}

static float *element_b(const operands *o, bool trans_b, int64_t p, int64_t j) {
    return o->b + (trans_b ? j * o->ldb + p : p * o->ldb + j);
}

/* Whole numbers become multiples of scales. */
static void scale(operands *o, const struct size *s, bool trans_b, bool each, uint64_t *state) {
    for (int64_t j = 0; j < s->n; j++) o->scales[j] = (float)(0.001 + test_uniform(state));
    o->units = (tb_whole_units){(float)(0.01 + test_uniform(state)), o->scales, each};
    for (int64_t i = 0; i < s->m * o->lda; i++) o->a[i] *= o->units.a;
    for (int64_t j = 0; j < s->n; j++)
        for (int64_t p = 0; p < s->k; p++) *element_b(o, trans_b, p, j) *= unit_of(o, j);
}

static operands make(const struct size *s, bool trans_b, int kind, uint64_t *state) {
    operands o = {
        .lda = s->k + 3, .ldb = (trans_b ? s->k : s->n) + 3, .ldc = s->n + 3, .units = {.a = 1}};
    int64_t count_b = (trans_b ? s->n : s->k) * o.ldb;
    o.a = floats(s->m * o.lda);
    o.b = floats(count_b);
    o.c = floats(s->m * o.ldc);
    o.bias = floats(s->n);
    o.scales = floats(s->n);
    fill(o.a, s->m * o.lda, s->m % 2 ? 255 : 0, 255, state);
    fill(o.b, count_b, 128, s->n % 2 ? 255 : 127, state);
    for (int64_t j = 0; j < s->n; j++) o.bias[j] = (float)(2 * test_uniform(state) - 1);
    if (kind != PLAIN && s->n > 0) scale(&o, s, trans_b, kind == EACH, state);
    return o;
}

static void drop(operands *o) {
    free(o->a);
    free(o->b);
    free(o->c);
    free(o->bias);
    free(o->scales);
}

static bool multiply(const tb_whole_set *set, tb_exec *exec, const operands *o,
                     const struct size *s, bool trans_b, bool bias) {
    return tb_gemm_whole_with(set, exec, trans_b, s->m, s->n, s->k, o->a, o->lda, o->b, o->ldb,
                              o->units, bias ? o->bias : NULL, o->c, o->ldc);
}

/* The exact sums, of what is left after the units. */
static float *exact(const operands *o, const struct size *s, bool trans_b) {
    float *want = floats(s->m * s->n);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++) {
            int64_t sum = 0;
            for (int64_t p = 0; p < s->k; p++)
                sum += llrintf(o->a[i * o->lda + p] / o->units.a) *
                       llrintf(*element_b(o, trans_b, p, j) / unit_of(o, j));
            want[i * s->n + j] = (float)sum * (unit_of(o, j) * o->units.a);
        }
    return want;
}

/* Elements that differ from the exact sums, and changed ones behind a row. */
static int64_t wrong(const operands *o, const struct size *s, const float *sums, bool bias) {
    int64_t count = 0;
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < o->ldc; j++) {
            float want = j < s->n ? sums[i * s->n + j] : 7.0f;
            if (j < s->n && bias) want += o->bias[j];
            count += o->c[i * o->ldc + j] != want;
        }
    return count;
}

static void check_product(int n_sets, const tb_whole_set *const *sets, tb_exec *pools, int n_pools,
                          const struct size *s, bool trans_b, int kind, uint64_t *state) {
    operands o = make(s, trans_b, kind, state);
    float *want = exact(&o, s, trans_b);
    for (int set = 0; set < n_sets; set++)
        for (int p = 0; p < n_pools; p++) {
            bool bias = p % 2;
            for (int64_t i = 0; i < s->m * o.ldc; i++) o.c[i] = 7;
            CHECK(multiply(sets[set], &pools[p], &o, s, trans_b, bias));
            CHECK_CASE(wrong(&o, s, want, bias) == 0,
                       "%s: %lldx%lldx%lld trans %d units %d pool %d", sets[set]->name,
                       (long long)s->m, (long long)s->n, (long long)s->k, trans_b, kind, p);
        }
    free(want);
    drop(&o);
}

/* The largest numbers over the longest sum; one step more may not fit. */
static void check_longest(const tb_whole_set *set, tb_exec *exec) {
    enum { K = 33025 };
    const struct size s = {2, 3, K};
    operands o = {.lda = K + 1, .ldb = 3, .ldc = 3, .units = {.a = 1}};
    o.a = floats(2 * (K + 1));
    o.b = floats(3 * (K + 1));
    o.c = floats(6);
    o.bias = o.scales = NULL;
    for (int64_t i = 0; i < 2 * (K + 1); i++) o.a[i] = i <= K ? 255 : -255;
    for (int64_t i = 0; i < 3 * (K + 1); i++) o.b[i] = i % 3 == 0 ? 255 : i % 3 == 1 ? -128 : -255;
    CHECK(multiply(set, exec, &o, &s, false, false));
    float *want = exact(&o, &s, false);
    CHECK_CASE(wrong(&o, &s, want, false) == 0, "%s", set->name);
    free(want);
    CHECK(!multiply(set, exec, &o, &(struct size){2, 3, K + 1}, false, false));
    drop(&o);
}

/* One element of either operand that is not whole, or too large. */
static void check_others(const tb_whole_set *set, tb_exec *exec, bool trans_b, int kind,
                         uint64_t *state) {
    const float others[] = {0.5f, -254.999f, 256, -256, 1e30f, NAN, -INFINITY, 1e-30f};
    const struct size s = {5, 43, 275};
    operands o = make(&s, trans_b, kind, state);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        for (int try = 0; try < 6; try++) {
            int64_t p = try < 2 ? s.k - 1 - try:
                (int64_t)(test_uniform(state) * (double)s.k);
            int64_t j = try % 2 ? s.n - 1 : (int64_t)(test_uniform(state) * (double)s.n);
            float *at = try < 3 ? &o.a[try * o.lda + p] : element_b(&o, trans_b, p, j), was = *at;
            *at = others[i] * (try < 3 ? o.units.a : unit_of(&o, j));
            CHECK_CASE(!multiply(set, exec, &o, &s, trans_b, false), "%s: %g at %lld, %lld",
                       set->name, (double)others[i], (long long)p, (long long)j);
            *at = was;
        }
    o.a[0] = -0.0f;
    CHECK(multiply(set, exec, &o, &s, trans_b, false));
    drop(&o);
}

int main(void) {
    uint64_t state = 1;
    const int threads[] = {1, 2, 3, 8};
    tb_exec pools[4];
    for (int i = 0; i < 4; i++) pools[i] = (tb_exec){.pool = tb_pool_create(NULL, threads[i])};
    const tb_whole_set *sets[TB_WHOLE_MOST_SETS];
    int n_sets = tb_whole_sets(sets);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int trans = 0; trans < 2; trans++)
            for (int kind = 0; kind < KINDS; kind++)
                check_product(n_sets, sets, pools, 4, &sizes[i], trans, kind, &state);
    for (int set = 0; set < n_sets; set++) {
        check_longest(sets[set], &pools[1]);
        for (int trans = 0; trans < 2; trans++)
            for (int kind = 0; kind < KINDS; kind++)
                check_others(sets[set], &pools[1], trans, kind, &state);
    }
    /* no memory for packing; first elements that are not whole */
    tb_budget none = {.limit = 1};
    tb_exec poor = {.budget = &none};
    const tb_whole_units ones = {.a = 1};
    float a[2] = {1, 2}, b[2] = {3, 4}, c = 0;
    CHECK(!tb_gemm_whole(&poor, false, 1, 1, 2, a, 2, b, 1, ones, NULL, &c, 1));
    CHECK(tb_gemm_whole(&pools[0], false, 1, 1, 2, a, 2, b, 1, ones, NULL, &c, 1) && c == 11);
    for (size_t i = 0; i < 4; i++) {
        a[0] = (float[]){NAN, INFINITY, 0.25f, 300}[i];
        CHECK(!tb_gemm_whole(&pools[0], false, 1, 1, 2, a, 2, b, 1, ones, NULL, &c, 1));
    }
    for (int i = 0; i < 4; i++) tb_pool_destroy(pools[i].pool);
    TEST_END();
}
