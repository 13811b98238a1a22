/*
 * reach.h: which values lie above or below one another along active values, and nodes in an order
 * that does not depend on how the file sorts them.
 */
#ifndef TB_GRAPH_REACH_H
#define TB_GRAPH_REACH_H

#include "graph/graph.h"

/** Sets marks[id] for `from` and every active value that is computed from a marked one (marks that
 *  are set already count). marks: [graph->n_values]. */
void tb_mark_descendants(const tb_graph *graph, const tb_value *from, unsigned char *marks);
/** Sets marks[id] for `to` and every active value that it depends on. */
void tb_mark_ancestors(const tb_graph *graph, const tb_value *to, unsigned char *marks);

/** The *n values that every path from `from`, which a node makes, to `to` passes through, from
 * there up. NULL: out of memory. */
const tb_value **tb_values_passed(int *n, const tb_graph *graph, const tb_value *from,
                                  const tb_value *to, tb_arena *arena);

/** All n_nodes nodes, operands before what reads them: the outputs' in their order, each node's
 * first operand first. It is an order of execution, and the same one however a tool sorted the
 * nodes that stand beside each other. NULL: out of memory. */
tb_node **tb_reading_order(const tb_graph *graph, tb_arena *arena);

#endif
