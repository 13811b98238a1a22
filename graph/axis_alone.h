/*
 * axis_alone.h: follows one axis that has no label, such as features that a softmax weighs, through
 * what descends from it. The operators carry it as they carry labels (graph/axes.h); the axes of
 * the graph know nothing of it.
 */
#ifndef TB_GRAPH_AXIS_ALONE_H
#define TB_GRAPH_AXIS_ALONE_H

#include "graph/axes.h"

typedef struct tb_axis_alone {
    const tb_graph *graph;
    tb_axes axes; /**< with one label, the axis itself; others are made of it */
} tb_axis_alone;

/** Room for a graph whose axes are known; memory is theirs. False: out of memory. */
bool tb_axis_alone_create(tb_axis_alone *at, const tb_graph *graph, const tb_axes *axes);
/** Begins with dimension `dim` of the value, and forgets what was followed before. False: out of
 *  memory. */
bool tb_axis_alone_begin(tb_axis_alone *at, const tb_value *value, int dim);
/** Carries it on to output `which` of the node. False: out of memory. */
bool tb_axis_alone_carry(tb_axis_alone *at, const tb_node *node, int which);
/** Is dimension `dim` of the value the axis, whole and in order? Any, where dim is -1. */
bool tb_axis_alone_at(tb_axis_alone *at, const tb_value *value, int dim);

#endif
