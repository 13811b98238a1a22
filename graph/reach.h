/*
 * reach.h: which values lie above or below one another along active values.
 */
#ifndef TB_GRAPH_REACH_H
#define TB_GRAPH_REACH_H

#include "graph/graph.h"

/** Sets marks[id] for `from` and every active value that is computed from a marked one (marks that
 *  are set already count). marks: [graph->n_values]. */
void tb_mark_descendants(const tb_graph *graph, const tb_value *from, unsigned char *marks);
/** Sets marks[id] for `to` and every active value that it depends on. */
void tb_mark_ancestors(const tb_graph *graph, const tb_value *to, unsigned char *marks);

#endif
