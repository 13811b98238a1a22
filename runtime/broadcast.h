/*
 * broadcast.h: numpy's broadcasting of two operands, as runs that a plain loop can take.
 *
 *     tb_broadcast plan;
 *     tb_broadcast_plan(&plan, out, a, b);
 *     tb_runs runs = tb_runs_start(&plan, 0, plan.count);
 *     while (tb_runs_next(&runs))
 *         for (int64_t i = 0; i < runs.n; i++)
 *             y[runs.at + i] = a[runs.a + i * plan.step_a] + b[runs.b + i * plan.step_b];
 *
 * Neighbouring axes are merged where both operands allow it, so arrays of the same shape are one
 * run, and an array with a row vector or a column is as many runs as it has rows.
 */
#ifndef TB_RUNTIME_BROADCAST_H
#define TB_RUNTIME_BROADCAST_H

#include "graph/op.h"

/** Elements per item of a parallel loop over elements. */
enum { TB_TILE = 16384 };

static inline int64_t tb_tiles(int64_t count) {
    return (count + TB_TILE - 1) / TB_TILE;
}

typedef struct tb_broadcast {
    int64_t count; /**< elements of the result */
    int rank;      /**< merged axes, innermost first, at least 1 */
    int64_t dims[TIBA_MAX_RANK], stride_a[TIBA_MAX_RANK], stride_b[TIBA_MAX_RANK];
    int step_a, step_b; /**< strides of the innermost axis: 0 or 1 */
} tb_broadcast;

/** `a` and `b` broadcast to the shape of `out` (shapes only; they are known to fit). */
void tb_broadcast_plan(tb_broadcast *plan, const tiba_tensor *out, const tiba_tensor *a,
                       const tiba_tensor *b);

/** The runs that make up result elements [begin, end). */
typedef struct tb_runs {
    const tb_broadcast *plan;
    int64_t at, n, a, b; /**< the run: offset in the result, length, offsets in the operands */
    int64_t end, index[TIBA_MAX_RANK];
} tb_runs;

tb_runs tb_runs_start(const tb_broadcast *plan, int64_t begin, int64_t end);
bool tb_runs_next(tb_runs *runs);

/** Sets out[0] to `dtype` and the shape that all inputs broadcast to. */
tiba_status tb_broadcast_shape(tb_node *node, tiba_dtype dtype, tiba_error *error);

#endif
