/*
 * narrow.h: computes only the rows that are read.
 *
 * A class token or a pooled position takes one row of the last block's result, so that the block's
 * MLP, its projection and all of its queries but one are dead work. The pass finds such selections
 * (Gather, Slice, Split, … with constant indices), follows the axis of what they read up through
 * the operators that treat its rows each by itself, as far as nothing else reads the other rows,
 * and builds those operators again on the rows that are read. An attention ends the way by itself:
 * its queries are selected, keys and values have all rows. What is built are ordinary nodes, so the
 * forward pass, memory, gradient and relevance all follow the graph and know nothing of it.
 */
#ifndef TB_GRAPH_NARROW_H
#define TB_GRAPH_NARROW_H

#include "graph/region.h"

/** What holds the rows of a value that is computed no more. */
typedef struct tb_narrow {
    tb_value *value; /**< NULL: the value is computed as it was */
    int dim;         /**< whose coordinates `rows` [n] are, in ascending order */
    int64_t n;
    const int64_t *rows;
} tb_narrow;

typedef struct tb_narrowing {
    int n_values;  /**< of the graph before */
    tb_narrow *of; /**< by value id */
} tb_narrowing;

/** Rewrites a bound graph; *out is NULL if there was nothing to do, else belongs to `arena`. Graph
 *  outputs and values with keep[id] != 0 (keep may be NULL) keep all rows. `regions`, of this
 * graph, stay regions; NULL where no relevance is asked for. Ids of values that are still computed
 * stay, new ones follow. */
tiba_status tb_narrow_rows(const tb_narrowing **out, tb_graph *graph, const tb_regions *regions,
                           const unsigned char *keep, tb_exec *exec, tb_arena *arena,
                           tiba_error *error);
/** What holds a value's rows: itself, or what was built in its place. `narrowing` may be NULL. */
const tb_value *tb_narrow_now(const tb_narrowing *narrowing, const tb_value *value);

/** all [as `whole`] = the rows that there are, `some`, and 0 elsewhere. */
void tb_narrow_expand(float *all, const tiba_tensor *whole, const tb_narrow *narrow,
                      const float *some);

#endif
