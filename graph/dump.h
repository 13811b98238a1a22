/*
 * dump.h: graphs as text, for people and for diffs. Works on source and bound graphs.
 *
 *     char *text;
 *     TB_TRY(tb_dump_text(&text, arena, graph, error));
 *     fputs(text, stdout);
 */
#ifndef TB_GRAPH_DUMP_H
#define TB_GRAPH_DUMP_H

#include "graph/graph.h"

/** One line for each input, node and output, in execution order; constants with their values where
 *  they are few; active values with a `*`. Sub-graphs are indented under their node. The text
 *  belongs to the arena. */
tiba_status tb_dump_text(char **out, tb_arena *arena, const tb_graph *graph, tiba_error *error);

/** The same graph for graphviz: nodes are boxes, edges carry shapes, active ones are bold. */
tiba_status tb_dump_dot(char **out, tb_arena *arena, const tb_graph *graph, tiba_error *error);

#endif
