/*
 * axes.h: where every axis of every active value comes from.
 *
 * A label is an axis of a model input, of an embedding look-up's indices, of a convolution's output
 * grid, or one made of others: joined by Concat, cut by Slice, split or merged by Reshape. The
 * analysis carries labels through the bound graph, so that tokens are recognised by the way of the
 * data, never by names, sizes or positions:
 *
 *   - the query and key axes of an attention have the same label exactly in self-attention;
 *   - the attentions of one tower share that label;
 *   - a label's parents lead back to the patch grid or to the text input, and tell the prefix
 * tokens.
 *
 * A value's elements are in flat order; an axis of it is a factor (count, inner): element i has the
 * coordinate (i / inner) % count. Reshape leaves factors alone, Transpose moves them.
 */
#ifndef TB_GRAPH_AXES_H
#define TB_GRAPH_AXES_H

#include "graph/op.h"

enum { TB_MAX_FACTORS = 12, TB_MAX_UNITS = 4 };

typedef struct tb_factor {
    int label;
    int64_t count, inner;
} tb_factor;

typedef enum tb_label_kind {
    TB_LABEL_INPUT,  /**< axis `dim` of graph input `input` */
    TB_LABEL_LOOKUP, /**< axis `dim` of the indices of an embedding look-up in graph input `input`
                      */
    TB_LABEL_GRID,   /**< spatial axis `dim` of a convolution's or pooling's output */
    TB_LABEL_JOIN,   /**< Concat: parents[i] starts at offsets[i] */
    TB_LABEL_CUT,    /**< Slice, Split or Gather of parents[0]: starts at offsets[0], see `step` */
    TB_LABEL_MERGE,  /**< parents in order, outermost first, seen as one axis */
    TB_LABEL_PART,   /**< parents[0] split by Reshape; `step` is the part's stride in it */
    TB_LABEL_SPREAD, /**< parents at strides `offsets`, with features between them: of one token
                        several were made. No factor has it: see tb_axes_spread() */
    TB_LABEL_OTHER,  /**< padded, resampled, gathered in any order: an axis of its own */
    TB_LABEL_QUERY   /**< learned queries, from where their softmax reads tokens, at `node`, upwards
                      */
} tb_label_kind;

typedef struct tb_label {
    tb_label_kind kind;
    int64_t count;
    int same_as;         /**< union-find: labels that an element-wise operator lined up */
    const tb_node *node; /**< where it arises; NULL for inputs */
    int input, dim;
    int64_t rows; /**< LOOKUP: of the largest table looked up in; 0 for positions and segments */
    const int64_t *places; /**< LOOKUP at `node`: [count] places along the input's last axis of what
                                is looked up, -1: of none; NULL: not known, or not the same for
                                all samples */
    bool partial;          /**< LOOKUP: by a part of the input only, such as a column of boxes */
    bool vectors; /**< INPUT: the axis of a sequence of vectors, or of numbers that are projected */
    bool projected; /**< INPUT: a Linear or a convolution makes features of its numbers at once */
    int64_t step;
    int n_parents;
    int *parents;     /**< labels, -1 for an operand without one (a constant class token) */
    int64_t *offsets; /**< [n_parents] */
} tb_label;

typedef struct tb_value_axes {
    int n;
    tb_factor factors[TB_MAX_FACTORS]; /**< outermost first */
    /** Single elements that were cut from an axis (a class token) or are all that an input's has
     * (one point): their labels, and where in flat order their own axis is or would be. An axis of
     * 1 that has the same place as another one has its label as well. */
    int n_units;
    tb_factor units[TB_MAX_UNITS];
} tb_value_axes;

typedef struct tb_axes {
    tb_arena *arena;
    tb_label *labels;
    int n_labels, cap_labels;
    tb_value_axes **values; /**< by value id, NULL for values without labels */
    int n_values;
    bool spread; /**< is there a label of that kind? */
} tb_axes;

/** Analyses a bound graph. The result belongs to `arena`. */
tiba_status tb_axes_find(tb_axes **out, const tb_graph *graph, tb_arena *arena, tiba_error *error);
/** The representative of a label. */
int tb_axes_root(const tb_axes *axes, int label);
/** The product in which the label's queries, or those that they are some of, first read tokens;
 *  NULL: they are no learned queries. */
const tb_node *tb_axes_query(const tb_axes *axes, int label);
/** The label that covers dimension `dim` of the value exactly (a MERGE label where it takes
 *  several factors), -1 if there is none; -2 out of memory. */
int tb_axes_dim(tb_axes *axes, const tb_value *value, int dim);

/** The label of two dimensions of the value without one, where the same factors are labelled and
 *  features lie between them (a Linear's features that were moved to places, as PixelShuffle does):
 *  from then on tb_axes_dim() gives it too. -1: none; -2: out of memory. Heads packed into an axis
 *  look the same, so it is asked for only where queries and keys are both such. */
int tb_axes_spread(tb_axes *axes, const tb_value *value, int dim, int other);
/** Is dimension `dim` lined up with tokens that it holds in other places: permuted, rolled or
 * shifted ones were added to them? */
bool tb_axes_moved(tb_axes *axes, const tb_value *value, int dim);
/** The label's tokens, if it is that of a recurrence's states: one for each token, in its place,
 * but made of others too (a cut of all of them). -1: it is another. */
int tb_axes_states_of(const tb_axes *axes, int label);
/** Does dimension `dim` hold the states of a recurrence? */
bool tb_axes_is_recurrent(const tb_axes *axes, const tb_value *value, int dim);
/** The label of several axes, outermost first, seen as one; -2 out of memory. */
int tb_axes_merge(tb_axes *axes, int n, const tb_factor *factors);
/** Is the label marked, or made of a marked one? Of those that were made since there were n labels
 *  (axes that were merged) only the parts can be marked. */
bool tb_axes_made_of(const tb_axes *axes, const unsigned char *marks, int n, int label);
/** Does the value carry the label? If so, *inner is its stride in flat order. MERGE labels count as
 *  carried where their parents lie next to each other in order. */
bool tb_axes_carries(const tb_axes *axes, const tb_value *value, int label, int64_t *inner);

#endif
