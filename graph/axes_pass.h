/*
 * axes_pass.h: the pass over the graph that gives every value its axes (axes_operators.c), for the
 * files that know an operator each.
 */
#ifndef TB_GRAPH_AXES_PASS_H
#define TB_GRAPH_AXES_PASS_H

#include "graph/axes.h"

typedef struct tb_axes_pass {
    const tb_graph *graph;
    tb_axes *axes;
    const tb_node *node;
    tb_value_axes *to; /* of the output at hand */
    bool failed;       /* out of memory */
} tb_axes_pass;

/** Gives dimension `dim` of the output at hand the label, made of these parents ([n_parents]). */
void tb_axes_new(tb_axes_pass *p, const tb_value *out, int dim, tb_label label, const int *parents,
                 const int64_t *offsets);
/** Finds the axes of output `which` of the node from those that its inputs have. False: out of
 *  memory. */
bool tb_axes_label(tb_axes_pass *p, const tb_node *node, int which);
/** An axis that may be counted from the end. */
int64_t tb_axes_wrapped(int64_t axis, int rank);

/** Concat. */
void tb_axes_concat(tb_axes_pass *p, const tb_value *out);
/** The tokens of which each operand of a Concat of single ones takes in one more than those before
 * it (or behind it): the states of a recurrence. -1: there are none. */
int tb_axes_steps(tb_axes_pass *p, int axis);
/** An embedding look-up by indices of `rank` dimensions, which stand from `axis` of `out` on, in a
 *  table of `rows` rows. */
void tb_axes_look_up(tb_axes_pass *p, const tb_value *indices, int rank, int64_t rows,
                     const tb_value *out, int axis);

#endif
