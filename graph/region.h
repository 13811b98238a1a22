/*
 * region.h: closed regions of element-wise operators and broadcast-back reductions.
 *
 * A region has one active entry x and one exit y of the same shape, but for the order of its axes;
 * what is between depends on x alone and is read nowhere else. It is then an element-wise function
 * of x or a normalisation of x, in whatever spelling, and relevance passes from y to x unchanged.
 */
#ifndef TB_GRAPH_REGION_H
#define TB_GRAPH_REGION_H

#include "graph/op.h"

typedef struct tb_region {
    tb_value *entry, *exit;
    int axis[TIBA_MAX_RANK]; /**< the exit's axis i is the entry's axis[i] */
    bool turned;             /**< these are not 0, 1, 2 … */
    int n_nodes;
    tb_node **nodes;
} tb_region;

typedef struct tb_regions {
    int n;
    tb_region *list;
    int *of_node; /**< by node id: index of the region that the node is in, -1 if none */
} tb_regions;

/** Is what a node makes of its operands active? Comparisons carry nothing on: reading a value for
 * one keeps no region from being closed. */
bool tb_carries_on(const tb_node *node);
/** Finds the largest such regions, which do not overlap. Each ends in a node that reads x in two or
 *  more ways (one operator alone has its own rule); x + f(x) is no region unless f(x) is a
 * broadcast statistic of x, such as its mean. The result belongs to `arena`. */
tiba_status tb_regions_find(tb_regions **out, const tb_graph *graph, tb_arena *arena,
                            tiba_error *error);
/** As tb_regions_find, but what is between may be read elsewhere, and regions may share nodes;
 *  none has its exit within another one of the same entry. `nodes` begins with the exit's;
 *  `of_node` is the index of one of the regions that a node is in. */
tiba_status tb_regions_find_open(tb_regions **out, const tb_graph *graph, tb_arena *arena,
                                 tiba_error *error);

#endif
