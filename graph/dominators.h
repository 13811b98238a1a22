/*
 * dominators.h: which value every way to a value passes through. Only active values and the nodes
 * between them count.
 */
#ifndef TB_GRAPH_DOMINATORS_H
#define TB_GRAPH_DOMINATORS_H

#include "graph/graph.h"

typedef struct tb_dominators {
    int *parent; /**< by value id: immediate dominator's id; -1: none (a source, or inactive) */
    int *depth;  /**< by value id: number of its dominators */
} tb_dominators;

/** The dominator tree of a bound graph; the result belongs to `arena`. `sources`, by value id: only
 *  ways from these count; NULL: ways from every active value that no other active one leads to. */
tiba_status tb_dominators_find(tb_dominators **out, const tb_graph *graph,
                               const unsigned char *sources, tb_arena *arena, tiba_error *error);
/** The nearest value that dominates both (either may dominate the other); -1 if there is none. */
int tb_common_dominator(const tb_dominators *dominators, int a, int b);

#endif
