#include "runtime/gemm_kernel.h"

#include <stddef.h>
#include <string.h>

#include "runtime/clones.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum { PREFETCH = 8 }; /* steps ahead in the packed right operand */

#define AVX512 __attribute__((target("avx512f")))
#define AVX2   __attribute__((target("avx2,fma")))

/* One tile of `rows` × 2 (or 1) vectors. Called with constants for rows and vectors only, so that
 * the sums live in registers. The same text for both widths. */
#define TILE(name, TARGET, VECTOR, WIDTH, MOST, ZERO, LOAD, STORE, SPLAT, FMA, MUL, ADD)           \
    TARGET static TB_INLINE void name(const int rows, const int vectors, int64_t k, float alpha,   \
                                      const float *a, const float *b, int64_t row_b, bool add,     \
                                      float *c, int64_t row_c) {                                   \
        VECTOR sum[MOST][2];                                                                       \
        TB_UNROLL for (int i = 0; i < rows; i++) {                                                 \
            sum[i][0] = ZERO();                                                                    \
            sum[i][1] = ZERO();                                                                    \
        }                                                                                          \
        for (int64_t p = 0; p < k; p++, b += row_b, a++) {                                         \
            __builtin_prefetch(b + PREFETCH * row_b);                                              \
            if (vectors > 1) __builtin_prefetch(b + PREFETCH * row_b + WIDTH);                     \
            VECTOR b0 = LOAD(b), b1 = vectors > 1 ? LOAD(b + WIDTH) : b0;                          \
            TB_UNROLL for (int i = 0; i < rows; i++) {                                             \
                VECTOR ai = SPLAT(a[i * TB_GEMM_STRIDE_A]);                                        \
                sum[i][0] = FMA(ai, b0, sum[i][0]);                                                \
                if (vectors > 1) sum[i][1] = FMA(ai, b1, sum[i][1]);                               \
            }                                                                                      \
        }                                                                                          \
        VECTOR scale = SPLAT(alpha);                                                               \
        TB_UNROLL for (int i = 0; i < rows; i++) {                                                 \
            float *ci = c + i * row_c;                                                             \
            sum[i][0] = MUL(sum[i][0], scale);                                                     \
            STORE(ci, add ? ADD(LOAD(ci), sum[i][0]) : sum[i][0]);                                 \
            if (vectors > 1) {                                                                     \
                sum[i][1] = MUL(sum[i][1], scale);                                                 \
                STORE(ci + WIDTH, add ? ADD(LOAD(ci + WIDTH), sum[i][1]) : sum[i][1]);             \
            }                                                                                      \
        }                                                                                          \
    }

TILE(tile_512, AVX512, __m512, 16, 14, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps,
     _mm512_set1_ps, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_add_ps)
TILE(tile_256, AVX2, __m256, 8, 6, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps,
     _mm256_set1_ps, _mm256_fmadd_ps, _mm256_mul_ps, _mm256_add_ps)

typedef void fixed_fn(int64_t k, float alpha, const float *a, const float *b, int64_t row_b,
                      bool add, float *c, int64_t row_c);

#define FIXED(tile, TARGET, rows, vectors)                                                         \
    TARGET static void tile##_##rows##x##vectors(int64_t k, float alpha, const float *a,           \
                                                 const float *b, int64_t row_b, bool add,          \
                                                 float *c, int64_t row_c) {                        \
        tile(rows, vectors, k, alpha, a, b, row_b, add, c, row_c);                                 \
    }
#define FIXED_512(rows) FIXED(tile_512, AVX512, rows, 1) FIXED(tile_512, AVX512, rows, 2)
#define FIXED_256(rows) FIXED(tile_256, AVX2, rows, 1) FIXED(tile_256, AVX2, rows, 2)
/* clang-format off */
FIXED_512(1) FIXED_512(2) FIXED_512(3) FIXED_512(4) FIXED_512(5) FIXED_512(6) FIXED_512(7)
FIXED_512(8) FIXED_512(9) FIXED_512(10) FIXED_512(11) FIXED_512(12) FIXED_512(13) FIXED_512(14)
FIXED_256(1) FIXED_256(2) FIXED_256(3) FIXED_256(4) FIXED_256(5) FIXED_256(6)
/* clang-format on */

#define PAIR(tile, rows)                                                                           \
    { tile##_##rows##x1, tile##_##rows##x2 }
            static fixed_fn *const tiles_512[][2] = {
                PAIR(tile_512, 1),  PAIR(tile_512, 2),  PAIR(tile_512, 3),  PAIR(tile_512, 4),
                PAIR(tile_512, 5),  PAIR(tile_512, 6),  PAIR(tile_512, 7),  PAIR(tile_512, 8),
                PAIR(tile_512, 9),  PAIR(tile_512, 10), PAIR(tile_512, 11), PAIR(tile_512, 12),
                PAIR(tile_512, 13), PAIR(tile_512, 14)};
static fixed_fn *const tiles_256[][2] = {PAIR(tile_256, 1), PAIR(tile_256, 2), PAIR(tile_256, 3),
                                         PAIR(tile_256, 4), PAIR(tile_256, 5), PAIR(tile_256, 6)};

/* A tile of any size: whole vectors go straight to c, a rest by way of a buffer. */
static void any_tile(fixed_fn *const (*tiles)[2], int64_t vector, int64_t rows, int64_t cols,
                     int64_t k, float alpha, const float *a, const float *b, int64_t row_b,
                     bool add, float *c, int64_t row_c) {
    fixed_fn *tile = tiles[rows - 1][cols > vector];
    if (cols % vector == 0) {
        tile(k, alpha, a, b, row_b, add, c, row_c);
        return;
    }
    float buffer[TB_GEMM_MOST_ROWS * TB_GEMM_MOST_COLS];
    tile(k, alpha, a, b, row_b, false, buffer, 2 * vector);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * row_c + j] = buffer[i * 2 * vector + j] + (add ? c[i * row_c + j] : 0);
}

static void any_tile_512(int64_t rows, int64_t cols, int64_t k, float alpha, const float *a,
                         const float *b, int64_t row_b, bool add, float *c, int64_t row_c) {
    any_tile(tiles_512, 16, rows, cols, k, alpha, a, b, row_b, add, c, row_c);
}

static void any_tile_256(int64_t rows, int64_t cols, int64_t k, float alpha, const float *a,
                         const float *b, int64_t row_b, bool add, float *c, int64_t row_c) {
    any_tile(tiles_256, 8, rows, cols, k, alpha, a, b, row_b, add, c, row_c);
}

/* ---- packing ---- */

/* 8 rows of 8 floats into 8 columns. */
AVX2 static TB_INLINE void transpose_8x8(const float *in, int64_t ld_in, float *out,
                                         int64_t ld_out) {
    __m256 r[8], t[8];
    TB_UNROLL for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(in + i * ld_in);
    TB_UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    TB_UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    TB_UNROLL for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * ld_out, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * ld_out, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* One row of a tile. */
AVX2 static TB_INLINE void pack_row(int64_t cols, int64_t width, const float *b, float *out) {
    int64_t j = 0;
    for (; j + 8 <= cols; j += 8) _mm256_storeu_ps(out + j, _mm256_loadu_ps(b + j));
    for (; j < cols; j++) out[j] = b[j];
    for (; j < width; j++) out[j] = 0;
}

/* One tile whose columns are rows of b. */
AVX2 static TB_INLINE void pack_transposed(int64_t k, int64_t cols, int64_t width, const float *b,
                                           int64_t ld, float *out) {
    int64_t p = 0;
    for (; p + 8 <= k; p += 8) {
        int64_t j = 0;
        for (; j + 8 <= cols; j += 8) transpose_8x8(b + j * ld + p, ld, out + p * width + j, width);
        for (int64_t q = p; q < p + 8; q++)
            for (int64_t i = j; i < width; i++) out[q * width + i] = i < cols ? b[i * ld + q] : 0;
    }
    for (; p < k; p++)
        for (int64_t j = 0; j < width; j++) out[p * width + j] = j < cols ? b[j * ld + p] : 0;
}

AVX2 static void pack(bool trans, int64_t k, int64_t cols, int64_t width, const float *b,
                      int64_t ld, float *out) {
    if (trans) {
        for (int64_t j = 0; j < cols; j += width)
            pack_transposed(k, cols - j < width ? cols - j : width, width, b + j * ld, ld,
                            out + j * k);
        return;
    }
    /* tile by tile where b's rows are long: neighbours in memory are not read together */
    for (int64_t j = 0; j < cols; j += width) {
        const float *from = b + j;
        float *to = out + j * k;
        if (cols - j >= 32 && width == 32)
            for (int64_t p = 0; p < k; p++) pack_row(32, 32, from + p * ld, to + p * 32);
        else if (cols - j >= 16 && width == 16)
            for (int64_t p = 0; p < k; p++) pack_row(16, 16, from + p * ld, to + p * 16);
        else
            for (int64_t p = 0; p < k; p++)
                pack_row(cols - j < width ? cols - j : width, width, from + p * ld, to + p * width);
    }
}

static const tb_gemm_set set_512 = {14, 32, 16, any_tile_512, pack};
static const tb_gemm_set set_256 = {6, 16, 8, any_tile_256, pack};

int tb_gemm_sets(const tb_gemm_set *out[TB_GEMM_MOST_SETS]) {
    int count = 0;
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f")) out[count++] = &set_512;
    if (avx2) out[count++] = &set_256;
    return count;
}

#else

int tb_gemm_sets(const tb_gemm_set *out[TB_GEMM_MOST_SETS]) {
    (void)out;
    return 0;
}

#endif
