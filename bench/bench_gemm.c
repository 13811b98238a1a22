/*
 * bench_gemm.c: GFLOP/s of tb_gemm on the shapes of a transformer's layers, beside plain OpenBLAS.
 *
 *     bench_gemm [threads] [repetitions]
 *
 * "warm" repeats one product; "cold" goes through as many weights as a model has, so that they come
 * from memory. The best of the repetitions counts.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/gemm.h"

static const struct shape {
    int64_t m, n, k;
    int trans_b;
    const char *what;
} shapes[] = {
    {197, 768, 768, 0, "ViT-B attention output"},
    {197, 2304, 768, 0, "ViT-B q, k, v"},
    {197, 3072, 768, 0, "ViT-B MLP in"},
    {197, 768, 3072, 0, "ViT-B MLP out"},
    {197, 768, 3072, 1, "its gradient, transposed weight"},
    {197, 3072, 768, 1, "its gradient, transposed weight"},
    {128, 768, 768, 0, "BERT attention output"},
    {128, 3072, 768, 0, "BERT MLP in"},
    {128, 768, 3072, 0, "BERT MLP out"},
    {197, 197, 64, 0, "one head, Q K'"},
    {197, 64, 197, 0, "one head, P V"},
    {1, 1000, 768, 0, "classifier"},
    {1024, 1024, 1024, 0, "large and square"},
};

enum { COLD_FLOATS = 40 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply(tb_exec *exec, const struct shape *s, const float *a, const float *b,
                     float *c) {
    int64_t ldb = s->trans_b ? s->k : s->n;
    if (exec)
        tb_gemm(exec, false, s->trans_b != 0, s->m, s->n, s->k, 1, a, s->k, b, ldb, 0, c, s->n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, s->trans_b ? CblasTrans : CblasNoTrans, (int)s->m,
                    (int)s->n, (int)s->k, 1, a, (int)s->k, b, (int)ldb, 0, c, (int)s->n);
}

static void measure(tb_exec *exec, const struct shape *s, const float *a, const float *b, float *c,
                    int repetitions, double *warm, double *cold) {
    double best = 1e9, work = 2e-9 * (double)(s->m * s->n * s->k);
    for (int r = 0; r < repetitions; r++) {
        double start = now();
        multiply(exec, s, a, b, c);
        double time = now() - start;
        if (time < best) best = time;
    }
    *warm = work / best;
    int64_t copies = COLD_FLOATS / (s->n * s->k);
    best = 1e9;
    for (int r = 0; r < repetitions; r += 5) {
        double start = now();
        for (int64_t i = 0; i < copies; i++) multiply(exec, s, a, b + i * s->n * s->k, c);
        double time = now() - start;
        if (time < best) best = time;
    }
    *cold = work * (double)copies / best;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, repetitions = argc > 2 ? atoi(argv[2]) : 30;
    tb_exec exec = {.pool = tb_pool_create(NULL, threads < 1 ? 1 : threads)};
    float *a = tb_alloc(NULL, sizeof(float) << 22),
          *b = tb_alloc(NULL, sizeof(float) * COLD_FLOATS);
    float *c = tb_alloc(NULL, sizeof(float) << 22);
    if (!exec.pool || !a || !b || !c) return 3;
    for (int64_t i = 0; i < 1 << 22; i++) a[i] = (float)(i * 7 % 1000) / 1000 - 0.5f;
    for (int64_t i = 0; i < COLD_FLOATS; i++) b[i] = (float)(i * 11 % 1000) / 1000 - 0.5f;
    printf("%d threads, GFLOP/s         tiba warm   cold | OpenBLAS warm   cold\n", threads);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        double own[2], blas[2];
        measure(&exec, s, a, b, c, repetitions, &own[0], &own[1]);
        openblas_set_num_threads(threads);
        measure(NULL, s, a, b, c, repetitions, &blas[0], &blas[1]);
        openblas_set_num_threads(1);
        printf("%4lld x %4lld x %4lld%c %16.1f %6.1f | %13.1f %6.1f   %s\n", (long long)s->m,
               (long long)s->n, (long long)s->k, s->trans_b ? '\'' : ' ', own[0], own[1], blas[0],
               blas[1], s->what);
    }
    tb_pool_destroy(exec.pool);
    tb_free(a);
    tb_free(b);
    tb_free(c);
    return 0;
}
