#include "rules/elementwise.h"

#include <float.h>
#include <math.h>

#include "rules/rule.h"
#include "runtime/clones.h"
#include "runtime/kernel.h"
#include "runtime/lanes.h"

enum { PIECE = 16384, LINE = 256 };

typedef struct job {
    float *out;
    const float *a, *b;
    float factor;
    void (*body)(float *out, const float *a, const float *b, float factor, int64_t n);
} job;

static void run_piece(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const job *j = context;
    j->body(j->out + first, j->a + first, j->b ? j->b + first : NULL, j->factor, last - first);
}

static void run(tb_exec *exec, job j, int64_t n) {
    tb_parallel_ranges(exec, n, PIECE, run_piece, &j);
}

/* a ⊘ b without branches, 0 where b is infinite. */
static TB_INLINE float ratio(float a, float b) {
    const float shifted = b + TB_EPSILON, divisor = shifted == 0.0f ? TB_EPSILON : shifted;
    const float quotient = a / divisor, size = fabsf(b);
    return size == 0.0f || size > FLT_MAX ? 0.0f : quotient;
}

static TB_INLINE float product(float x, float s) {
    const float p = x * s;
    return fabsf(x) > FLT_MAX ? 0.0f : p;
}

TB_CLONES static void ratios(float *out, const float *r, const float *z, float factor, int64_t n) {
    (void)factor;
    TB_IVDEP
    for (int64_t i = 0; i < n; i++) out[i] = ratio(r[i], z[i]);
}

TB_CLONES static void times(float *s, const float *x, const float *same, float factor, int64_t n) {
    (void)same;
    TB_IVDEP
    for (int64_t i = 0; i < n; i++) s[i] = product(x[i], factor * s[i]);
}

TB_CLONES static void add_to(float *a, const float *b, const float *same, float factor, int64_t n) {
    (void)same, (void)factor;
    TB_IVDEP
    for (int64_t i = 0; i < n; i++) a[i] += b[i];
}

TB_CLONES static void scaled(float *a, const float *b, const float *none, float factor, int64_t n) {
    (void)none;
    TB_IVDEP
    for (int64_t i = 0; i < n; i++) a[i] = factor * b[i];
}

void tb_ratios(tb_exec *exec, float *out, const float *r, const float *z, int64_t n) {
    run(exec, (job){out, r, z, 0, ratios}, n);
}

void tb_times(tb_exec *exec, float *s, const float *x, float factor, int64_t n) {
    run(exec, (job){s, x, NULL, factor, times}, n);
}

void tb_add_to(tb_exec *exec, float *a, const float *b, int64_t n) {
    run(exec, (job){a, b, NULL, 0, add_to}, n);
}

void tb_scaled(tb_exec *exec, float *a, const float *b, float factor, int64_t n) {
    run(exec, (job){a, b, NULL, factor, scaled}, n);
}

/* ---- sums ---- */

typedef struct sum_job {
    const float *x[2], *r, *z;
    float *share[2], sign[2];
    double *sums; /* three for each piece */
} sum_job;

/* A line of a share at a time, so that it is summed out of cache. */
TB_CLONES static void share_piece(const sum_job *j, double *sums, int64_t first, int64_t last) {
    float ratio_line[LINE], line[LINE];
    for (int64_t at = first; at < last; at += LINE) {
        const int64_t n = last - at < LINE ? last - at : LINE;
        const float *r = j->r + at, *a = j->x[0] + at, *b = j->x[1] + at, *z = line;
        if (j->z)
            z = j->z + at;
        else
            for (int64_t i = 0; i < n; i++) line[i] = j->sign[0] * a[i] + j->sign[1] * b[i];
        for (int64_t i = 0; i < n; i++) ratio_line[i] = ratio(r[i], z[i]);
        sums[2] += tb_row_sum(r, n);
        for (int t = 0; t < 2; t++) {
            const float *x = j->x[t] + at, sign = j->sign[t];
            for (int64_t i = 0; i < n; i++) line[i] = product(sign * x[i], ratio_line[i]);
            sums[t] += tb_row_sum(line, n);
            if (j->share[t]) memcpy(j->share[t] + at, line, (size_t)n * sizeof *line);
        }
    }
}

static void share_pieces(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const sum_job *j = context;
    double *sums = j->sums + first / PIECE * 3;
    sums[0] = sums[1] = sums[2] = 0;
    share_piece(j, sums, first, last);
}

bool tb_share_two(tb_exec *exec, float *const share[2], double sums[3], const float *const x[2],
                  const float sign[2], const float *r, const float *z, int64_t n) {
    int64_t pieces = (n + PIECE - 1) / PIECE;
    sum_job j = {{x[0], x[1]}, r, z, {share[0], share[1]}, {sign[0], sign[1]}, NULL};
    j.sums = tb_scratch(exec, (size_t)pieces * 3 + 1, sizeof *j.sums);
    if (!j.sums) return false;
    tb_parallel_ranges(exec, n, PIECE, share_pieces, &j);
    sums[0] = sums[1] = sums[2] = 0;
    for (int64_t p = 0; p < pieces; p++)
        for (int t = 0; t < 3; t++) sums[t] += j.sums[p * 3 + t];
    return true;
}
