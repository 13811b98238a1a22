/*
 * settle.h: values that must be known while binding and depend on a float input.
 *
 * Some graphs choose sizes by what they compute: an expert's tokens are those that a router sends
 * to it (NonZero of its choice), a branch is taken by a score. Others read ids out of an array that
 * holds numbers too. A bound graph is static, so there the part below such a value is run, with the
 * data that is fed, and the value becomes a constant. That changes no gradient and no relevance:
 * integers and bools carry none, and neither do limits that are floats. The bound graph then serves
 * these feeds alone.
 */
#ifndef TB_GRAPH_SETTLE_H
#define TB_GRAPH_SETTLE_H

#include "graph/bind.h"

typedef struct tb_settler tb_settler;

/** For a graph that is being built, whose inputs are fed by `feeds` (borrowed; float feeds without
 *  data settle nothing). Values computed on the way are kept until tb_settler_destroy. NULL if out
 *  of memory. */
tb_settler *tb_settler_create(tb_graph *graph, int n_feeds, const tb_feed *feeds, tb_exec *exec);
void tb_settler_destroy(tb_settler *settler);

/** Makes an integer or bool value of the graph a constant. *settled: it is one now; false where it
 *  is a float, or where the data of an input below it is not there. */
tiba_status tb_settle(tb_settler *settler, tb_value *value, bool *settled, tiba_error *error);
/** The same for all inputs of a node that is not in the graph yet; *settled: one of them changed.
 *  Floats that its shape follows from (tb_op_def.sized_by) are replaced by constants in this node's
 *  inputs alone: what else reads them still has an activation. */
tiba_status tb_settle_inputs(tb_settler *settler, tb_node *node, bool *settled, tiba_error *error);
/** Has anything been settled so far? */
bool tb_settled_any(const tb_settler *settler);

#endif
