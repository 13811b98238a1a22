/*
 * unshare.h: gives regions (region.h) that share nodes copies of their own.
 *
 * Two norms of one x have the same mean and variance, which exporters and tools that look for
 * common sub-expressions compute once: neither norm is then closed, and relevance would take other
 * ways than where each has its own. So it is where something else reads a statistic, such as a
 * pooling that puts means and deviations side by side.
 */
#ifndef TB_GRAPH_UNSHARE_H
#define TB_GRAPH_UNSHARE_H

#include "graph/op.h"

/** Copies what regions with the same entry share, and statistics (and x with its axes turned, where
 *  they are made of that) that others read. Where these read more, a region stays as it is. Values
 *  stay the same; patterns of norms find what they look for. */
tiba_status tb_unshare_regions(tb_graph *graph, tb_exec *exec, tiba_error *error);

#endif
