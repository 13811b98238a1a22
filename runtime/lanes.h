/*
 * lanes.h: sums and maxima of a row for functions marked TB_CLONES (clones.h). A sum runs in 16
 * lanes of double, whatever the width of the machine's vectors, so that it is the same bytes
 * everywhere; vector types say so, where a compiler takes loops over small arrays apart.
 */
#ifndef TB_RUNTIME_LANES_H
#define TB_RUNTIME_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "runtime/clones.h"

enum { TB_LANES = 16 };

typedef float tb_floats_8 __attribute__((vector_size(32)));
typedef float tb_floats_16 __attribute__((vector_size(64)));
typedef int32_t tb_ints_16 __attribute__((vector_size(64)));
typedef double tb_doubles_8 __attribute__((vector_size(64)));

/** A running sum; start from {{0}}. */
typedef struct tb_lane_sum {
    tb_doubles_8 lanes[2];
} tb_lane_sum;

/** x[0 … 15] as doubles. */
static TB_INLINE void tb_load_16(tb_doubles_8 out[2], const float *x) {
    tb_floats_8 low, high;
    memcpy(&low, x, sizeof low);
    memcpy(&high, x + 8, sizeof high);
    out[0] = __builtin_convertvector(low, tb_doubles_8);
    out[1] = __builtin_convertvector(high, tb_doubles_8);
}

static TB_INLINE double tb_lane_total(const tb_lane_sum *sum) {
    const tb_doubles_8 s = sum->lanes[0] + sum->lanes[1];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/** The elements of x[0 … n-1] behind the last whole 16, filled up; returns where they start. Whole
 *  vectors of them are done at once, where a compiler would do single elements. */
static TB_INLINE int64_t tb_tail_16(float tail[TB_LANES], const float *x, int64_t n, float fill) {
    const int64_t start = n & ~(int64_t)(TB_LANES - 1);
    for (int l = 0; l < TB_LANES; l++) tail[l] = fill;
    for (int64_t i = start; i < n; i++) tail[i - start] = x[i];
    return start;
}

static TB_INLINE void tb_lane_add(tb_lane_sum *sum, const float *x) {
    tb_doubles_8 v[2];
    tb_load_16(v, x);
    sum->lanes[0] += v[0];
    sum->lanes[1] += v[1];
}

static TB_INLINE double tb_row_sum(const float *x, int64_t n) {
    tb_lane_sum sum = {{{0}}};
    float tail[TB_LANES];
    const int64_t whole = tb_tail_16(tail, x, n, 0);
    for (int64_t i = 0; i < whole; i += TB_LANES) tb_lane_add(&sum, x + i);
    if (whole < n) tb_lane_add(&sum, tail);
    return tb_lane_total(&sum);
}

static TB_INLINE void tb_lane_add_product(tb_lane_sum *sum, const float *x, double shift_x,
                                          const float *y, double shift_y) {
    tb_doubles_8 v[2], w[2];
    tb_load_16(v, x);
    tb_load_16(w, y);
    sum->lanes[0] += (v[0] - shift_x) * (w[0] - shift_y);
    sum->lanes[1] += (v[1] - shift_x) * (w[1] - shift_y);
}

/** Σ (x - shift_x)(y - shift_y) */
static TB_INLINE double tb_row_product(const float *x, double shift_x, const float *y,
                                       double shift_y, int64_t n) {
    tb_lane_sum sum = {{{0}}};
    const int64_t whole = n & ~(int64_t)(TB_LANES - 1);
    double rest = 0;
    for (int64_t i = 0; i < whole; i += TB_LANES)
        tb_lane_add_product(&sum, x + i, shift_x, y + i, shift_y);
    for (int64_t i = whole; i < n; i++) rest += ((double)x[i] - shift_x) * ((double)y[i] - shift_y);
    return rest + tb_lane_total(&sum);
}

/** most[l] = max(most[l], x[l]) */
static TB_INLINE void tb_lane_max(tb_floats_16 *most, const float *x) {
    tb_floats_16 v;
    memcpy(&v, x, sizeof v);
    const tb_ints_16 stay = *most >= v;
    *most = (tb_floats_16)(((tb_ints_16)*most & stay) | ((tb_ints_16)v & ~stay));
}

/** The greatest element, -inf for an empty row. With NaNs in the row: any. */
static TB_INLINE float tb_row_max(const float *x, int64_t n) {
    float tail[TB_LANES], max = -INFINITY;
    const int64_t whole = tb_tail_16(tail, x, n, -INFINITY);
    tb_floats_16 most;
    memcpy(&most, tail, sizeof most);
    for (int64_t i = 0; i < whole; i += TB_LANES) tb_lane_max(&most, x + i);
    for (int l = 0; l < TB_LANES; l++) max = most[l] > max ? most[l] : max;
    return max;
}

#endif
