/*
 * bench_peak.c: what the machine can do at most, for the roofline: GFLOP/s of OpenBLAS's SGEMM on a
 * large square product and GB/s of reading memory, both with the given threads.
 *
 *     bench_peak [threads]
 *
 * Prints one JSON object; the best of several tries counts.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/parallel.h"

enum { SIZE = 1536, FLOATS = 64 << 20, PIECES = 64, TRIES = 12 };

typedef struct reading {
    const float *x;
    float sums[PIECES];
} reading;

static void read_piece(void *context, int64_t piece, int worker) {
    reading *r = context;
    const float *x = r->x + piece * (FLOATS / PIECES);
    float sum[64] = {0};
    (void)worker;
    for (int64_t i = 0; i < FLOATS / PIECES; i += 64)
        for (int k = 0; k < 64; k++) sum[k] += x[i + k];
    for (int k = 1; k < 64; k++) sum[0] += sum[k];
    r->sums[piece] = sum[0];
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    tb_pool *pool = tb_pool_create(NULL, threads < 1 ? 1 : threads);
    size_t size = (size_t)SIZE * SIZE;
    float *x = malloc(FLOATS * sizeof *x), *c = malloc(size * sizeof *c);
    if (!pool || !x || !c) return 3;
    for (int64_t i = 0; i < FLOATS; i++) x[i] = (float)(i % 1000) / 1000.0f - 0.5f;
    double product = 1e9, read = 1e9;
    openblas_set_num_threads(threads);
    for (int i = 0; i < TRIES; i++) {
        double start = tb_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIZE, SIZE, SIZE, 1, x, SIZE,
                    x + size, SIZE, 0, c, SIZE);
        double seconds = tb_seconds() - start;
        if (seconds < product) product = seconds;
    }
    float kept = 0;
    for (int i = 0; i < TRIES; i++) {
        reading r = {.x = x};
        double start = tb_seconds();
        tb_parallel_for(pool, PIECES, read_piece, &r);
        double seconds = tb_seconds() - start;
        if (seconds < read) read = seconds;
        kept += r.sums[0];
    }
    printf("{\"threads\": %d, \"gflops\": %.1f, \"gbytes_per_second\": %.1f, \"checksum\": %g}\n",
           threads, 2e-9 * SIZE * SIZE * SIZE / product, 1e-9 * FLOATS * sizeof(float) / read,
           (double)(kept + c[0]));
    tb_pool_destroy(pool);
    free(x);
    free(c);
    return 0;
}
