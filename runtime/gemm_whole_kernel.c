#include "runtime/gemm_whole_kernel.h"

#include <math.h>
#include <stddef.h>

#include "runtime/clones.h"

/* ---- any machine ---- */

enum { PLAIN_ROWS = 4, PLAIN_COLS = 16 };

static int32_t low(tb_whole_pair x) {
    return (int16_t)(x & 0xffff);
}

static int32_t high(tb_whole_pair x) {
    return (int16_t)(x >> 16);
}

static void plain_tile(int64_t rows, int64_t pairs, const tb_whole_pair *a, const tb_whole_pair *b,
                       bool add, int32_t *sums) {
    for (int64_t i = 0; i < rows; i++) {
        int32_t sum[PLAIN_COLS] = {0};
        for (int64_t p = 0; p < pairs; p++) {
            int32_t x = low(a[i * TB_WHOLE_STRIDE_A + p]), y = high(a[i * TB_WHOLE_STRIDE_A + p]);
            for (int j = 0; j < PLAIN_COLS; j++)
                sum[j] += x * low(b[p * PLAIN_COLS + j]) + y * high(b[p * PLAIN_COLS + j]);
        }
        for (int j = 0; j < PLAIN_COLS; j++)
            sums[i * PLAIN_COLS + j] = sum[j] + (add ? sums[i * PLAIN_COLS + j] : 0);
    }
}

/* x in units of `unit`, a whole number; *all is cleared where it is none. */
static TB_INLINE int32_t whole(float x, float unit, bool *all) {
    float near = rintf(x * (1.0f / unit));
    near = near > -TB_WHOLE_MOST ? near : -TB_WHOLE_MOST; /* a NaN too */
    near = near < TB_WHOLE_MOST ? near : TB_WHOLE_MOST;
    *all &= near * unit == x;
    return (int32_t)near;
}

static TB_INLINE tb_whole_pair pair(int32_t first, int32_t second) {
    return ((tb_whole_pair)first & 0xffff) | (tb_whole_pair)second << 16;
}

static bool plain_steps(const float *x, float unit, int64_t k, tb_whole_pair *out) {
    bool all = true;
    for (int64_t p = 0; p < k; p += 2) {
        int32_t first = whole(x[p], unit, &all);
        out[p / 2] = pair(first, p + 1 < k ? whole(x[p + 1], unit, &all) : 0);
    }
    return all;
}

/* Columns from `col` on; y is NULL behind the last row. */
static TB_INLINE bool plain_rows(const float *x, const float *y, const float *units, int64_t col,
                                 int64_t cols, int64_t width, tb_whole_pair *out) {
    bool all = true;
    for (int64_t j = col; j < cols; j++) {
        int32_t first = whole(x[j], units[j], &all);
        out[j] = pair(first, y ? whole(y[j], units[j], &all) : 0);
    }
    for (int64_t j = cols; j < width; j++) out[j] = 0;
    return all;
}

static bool plain_columns(const float *b, int64_t ld, const float *units, int64_t k, int64_t cols,
                          int64_t width, tb_whole_pair *out) {
    bool all = true;
    for (int64_t p = 0; p < k; p += 2, out += width)
        all &=
            plain_rows(b + p * ld, p + 1 < k ? b + (p + 1) * ld : NULL, units, 0, cols, width, out);
    return all;
}

static const tb_whole_set plain = {"plain",    PLAIN_ROWS,  PLAIN_COLS,
                                   plain_tile, plain_steps, plain_columns};

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define VNNI   __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define AVX2   __attribute__((target("avx2")))

#define DOT_VNNI(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#define DOT_512(sum, a, b)  _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#define DOT_256(sum, a, b)  _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))

#define LOAD_512(at)     _mm512_loadu_si512((const void *)(at))
#define STORE_512(at, x) _mm512_storeu_si512((void *)(at), x)
#define LOAD_256(at)     _mm256_loadu_si256((const __m256i *)(at))
#define STORE_256(at, x) _mm256_storeu_si256((__m256i *)(at), x)

/* One tile of `rows` × 2 vectors; called with a constant for rows, so that sums live in registers.
 */
#define TILE(name, TARGET, VECTOR, WIDTH, MOST, ZERO, LOAD, STORE, SPLAT, DOT, ADD)                \
    TARGET static TB_INLINE void name(const int rows, int64_t pairs, const tb_whole_pair *a,       \
                                      const tb_whole_pair *b, bool add, int32_t *sums) {           \
        VECTOR sum[MOST][2];                                                                       \
        TB_UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = ZERO();                   \
        for (int64_t p = 0; p < pairs; p++, b += 2 * WIDTH, a++) {                                 \
            VECTOR b0 = LOAD(b), b1 = LOAD(b + WIDTH);                                             \
            TB_UNROLL for (int i = 0; i < rows; i++) {                                             \
                VECTOR ai = SPLAT((int32_t)a[i * TB_WHOLE_STRIDE_A]);                              \
                sum[i][0] = DOT(sum[i][0], ai, b0);                                                \
                sum[i][1] = DOT(sum[i][1], ai, b1);                                                \
            }                                                                                      \
        }                                                                                          \
        TB_UNROLL for (int i = 0; i < rows; i++, sums += 2 * WIDTH) {                              \
            STORE(sums, add ? ADD(LOAD(sums), sum[i][0]) : sum[i][0]);                             \
            STORE(sums + WIDTH, add ? ADD(LOAD(sums + WIDTH), sum[i][1]) : sum[i][1]);             \
        }                                                                                          \
    }

TILE(vnni, VNNI, __m512i, 16, 14, _mm512_setzero_si512, LOAD_512, STORE_512, _mm512_set1_epi32,
     DOT_VNNI, _mm512_add_epi32)
TILE(wide, AVX512, __m512i, 16, 14, _mm512_setzero_si512, LOAD_512, STORE_512, _mm512_set1_epi32,
     DOT_512, _mm512_add_epi32)
TILE(avx2, AVX2, __m256i, 8, 6, _mm256_setzero_si256, LOAD_256, STORE_256, _mm256_set1_epi32,
     DOT_256, _mm256_add_epi32)

/* A tile of any number of rows. */
#define CASE(tile, rows)                                                                           \
    case rows:                                                                                     \
        tile(rows, pairs, a, b, add, sums);                                                        \
        return;
#define CASES_6(tile)                                                                              \
    CASE(tile, 1) CASE(tile, 2) CASE(tile, 3) CASE(tile, 4) CASE(tile, 5) CASE(tile, 6)
#define CASES_14(tile)                                                                             \
    CASES_6(tile)                                                                                  \
    CASE(tile, 7)                                                                                  \
    CASE(tile, 8)                                                                                  \
    CASE(tile, 9) CASE(tile, 10) CASE(tile, 11) CASE(tile, 12) CASE(tile, 13) CASE(tile, 14)
#define ANY_ROWS(tile, TARGET, CASES)                                                              \
    TARGET static void tile##_tile(int64_t rows, int64_t pairs, const tb_whole_pair *a,            \
                                   const tb_whole_pair *b, bool add, int32_t *sums) {              \
        switch (rows) { CASES(tile) }                                                              \
    }
ANY_ROWS(vnni, VNNI, CASES_14)
ANY_ROWS(wide, AVX512, CASES_14)
ANY_ROWS(avx2, AVX2, CASES_6)

/* ---- packing ---- */

/* x[0 … 7] in units of `unit`, whose inverse is given; bits of *other are set where these are no
 * whole numbers or too large ones. */
AVX2 static TB_INLINE __m256i whole_8(const float *x, __m256 unit, __m256 inverse, __m256 *other) {
    const __m256 v = _mm256_loadu_ps(x), units = _mm256_mul_ps(v, inverse);
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), units);
    const __m256i value = _mm256_cvtps_epi32(units);
    const __m256 far = _mm256_cmp_ps(size, _mm256_set1_ps(TB_WHOLE_MOST + 0.25f), _CMP_NLE_UQ);
    const __m256 again = _mm256_mul_ps(_mm256_cvtepi32_ps(value), unit);
    *other = _mm256_or_ps(*other, _mm256_or_ps(far, _mm256_cmp_ps(v, again, _CMP_NEQ_UQ)));
    return value;
}

AVX2 static bool avx2_steps(const float *x, float unit, int64_t k, tb_whole_pair *out) {
    const __m256 units = _mm256_set1_ps(unit), inverse = _mm256_set1_ps(1.0f / unit);
    __m256 other = _mm256_setzero_ps();
    int64_t p = 0;
    for (; p + 16 <= k; p += 16) {
        const __m256i low_8 = whole_8(x + p, units, inverse, &other);
        const __m256i high_8 = whole_8(x + p + 8, units, inverse, &other);
        const __m256i halves = _mm256_packs_epi32(low_8, high_8); /* 4 of either in turn */
        STORE_256(out + p / 2, _mm256_permute4x64_epi64(halves, 0xd8));
    }
    return _mm256_movemask_ps(other) == 0 && plain_steps(x + p, unit, k - p, out + p / 2);
}

AVX2 static bool avx2_columns(const float *b, int64_t ld, const float *units, int64_t k,
                              int64_t cols, int64_t width, tb_whole_pair *out) {
    static const float none[8];
    __m256 other = _mm256_setzero_ps();
    bool all = true;
    for (int64_t p = 0; p < k; p += 2, out += width) {
        const float *x = b + p * ld, *y = p + 1 < k ? x + ld : NULL;
        int64_t j = 0;
        for (; j + 8 <= cols; j += 8) {
            const __m256 unit = _mm256_loadu_ps(units + j);
            const __m256 inverse = _mm256_div_ps(_mm256_set1_ps(1.0f), unit);
            const __m256i first = whole_8(x + j, unit, inverse, &other);
            const __m256i second = whole_8(y ? y + j : none, unit, inverse, &other);
            STORE_256(out + j, _mm256_blend_epi16(first, _mm256_slli_epi32(second, 16), 0xaa));
        }
        all &= plain_rows(x, y, units, j, cols, width, out);
    }
    return all && _mm256_movemask_ps(other) == 0;
}

static const tb_whole_set set_vnni = {"avx512vnni", 14, 32, vnni_tile, avx2_steps, avx2_columns},
                          set_wide = {"avx512bw", 14, 32, wide_tile, avx2_steps, avx2_columns},
                          set_avx2 = {"avx2", 6, 16, avx2_tile, avx2_steps, avx2_columns};

int tb_whole_sets(const tb_whole_set *out[TB_WHOLE_MOST_SETS]) {
    int count = 0;
    bool wide_words = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (wide_words && __builtin_cpu_supports("avx512vnni")) out[count++] = &set_vnni;
    if (wide_words) out[count++] = &set_wide;
    if (__builtin_cpu_supports("avx2")) out[count++] = &set_avx2;
    out[count++] = &plain;
    return count;
}

#else

int tb_whole_sets(const tb_whole_set *out[TB_WHOLE_MOST_SETS]) {
    out[0] = &plain;
    return 1;
}

#endif
