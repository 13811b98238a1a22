/*
 * strided.h: one copy loop for every operator that moves elements in a regular pattern. A walk
 * visits a grid of `rank` axes; element (i0, i1, …) goes from Σ i·from to Σ i·to. Transpose, Slice,
 * Expand, Tile, Concat, Split and their vjps are each a walk or a few.
 *
 * Axes may come in any order, sizes may be 0, strides may be negative; axes are merged and ordered
 * here so that callers describe what moves and not how to do it fast.
 */
#ifndef TB_RUNTIME_STRIDED_H
#define TB_RUNTIME_STRIDED_H

#include "graph/op.h"

enum { TB_WALK_MAX = 2 * TIBA_MAX_RANK };

typedef struct tb_walk {
    int rank;
    int64_t dims[TB_WALK_MAX];
    int64_t to[TB_WALK_MAX], from[TB_WALK_MAX]; /**< strides in elements */
} tb_walk;

/** Adds an axis. */
static inline void tb_walk_axis(tb_walk *walk, int64_t n, int64_t to, int64_t from) {
    walk->dims[walk->rank] = n;
    walk->to[walk->rank] = to;
    walk->from[walk->rank++] = from;
}

/** to[…] = from[…] for elements of `size` (1, 2, 4, 8) bytes. No two elements of the walk may go to
 *  the same place; from-strides may be 0. */
void tb_walk_copy(tb_exec *exec, const tb_walk *walk, size_t size, void *to, const void *from);

/** to[…] += from[…]. To-strides may be 0: sums over that axis; apart from that no two elements of
 *  the walk may go to the same place. */
void tb_walk_add(tb_exec *exec, const tb_walk *walk, float *to, const float *from);

/** The walk in the opposite direction: its adjoint, with tb_walk_add where from-strides are 0. */
tb_walk tb_walk_reverse(const tb_walk *walk);

#endif
