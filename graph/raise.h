/*
 * raise.h: makes one operator of what an exporter wrote out as many: Linear, LayerNormalization,
 * RMSNormalization, GELU, SiLU, Softmax and others, in a bound graph.
 *
 * The patterns stand in the tables raise_*.c (see pattern.h); one driver tries them, node by node
 * in execution order, until nothing changes. Attention is not raised: discovery finds it by data
 * flow.
 */
#ifndef TB_GRAPH_RAISE_H
#define TB_GRAPH_RAISE_H

#include "graph/pattern.h"

/** One rewrite: which pattern, the names of the file's nodes that became one, and the value. */
typedef struct tb_rewrite {
    const char *pattern;
    const char *origin; /**< comma-separated, cut with "..." at 16 KB */
    const char *value;  /**< name of the value that is computed in the new way */
} tb_rewrite;

/** In the order of the rewrites; start from `tb_rewrite_log log = {0}`. Memory is the graph's. */
typedef struct tb_rewrite_log {
    tb_rewrite *entries;
    int count, capacity;
} tb_rewrite_log;

/** Rewrites `graph` (bound) by all tables to a fixed point and removes nodes that are not read any
 *  more. Every value that keeps being computed keeps its name, shape and, up to rounding, its
 *  numbers; execution order stays topological. Adds to `log` (may be NULL) and stops after `limit`
 *  rewrites (negative: no limit), which is for finding a wrong one by bisection. */
tiba_status tb_raise(tb_graph *graph, tb_exec *exec, tb_rewrite_log *log, int limit,
                     tiba_error *error);

/** A table of patterns; earlier rows and tables are tried first. */
typedef struct tb_pattern_table {
    const tb_pattern *patterns;
    int count;
} tb_pattern_table;

extern const tb_pattern_table tb_raise_linear, tb_raise_norm, tb_raise_activation, tb_raise_softmax;
/** All of them, in the order in which they are tried. */
extern const tb_pattern_table *const tb_raise_tables[4];

/** A check for replacements that work element by element or keep the shape: the root's value has
 *  the shape of "x". */
bool tb_check_same_shape(const tb_match *match);

#endif
