/*
 * axes_labels.h: what axes.c offers to the operators (axes_pass.h) alone: making labels, and
 * carrying the factors of one value to another.
 */
#ifndef TB_GRAPH_AXES_LABELS_H
#define TB_GRAPH_AXES_LABELS_H

#include "graph/axes.h"

/** A new label, or the one that is already there with the same origin. -1: out of memory. */
int tb_axes_intern(tb_axes *axes, tb_label wanted, const int *parents, const int64_t *offsets);
/** Element-wise operators line axes up: from then on they are one. */
void tb_axes_unify(tb_axes *axes, int a, int b);
/** The part of `label` with stride `step` in it and `count` coordinates. -1: out of memory. */
int tb_axes_part(tb_axes *axes, int label, int64_t count, int64_t step);
/** Does the label come from `root` by more than being lined up with it? `depth`: 0. */
bool tb_axes_derives(const tb_axes *axes, int label, int root, int depth);

/** The value's factors, none where nothing is known. */
const tb_value_axes *tb_axes_of(const tb_axes *axes, const tb_value *value);
/** The cut that leaves dimension `dim` of 1 of the value, -1: none, or several. */
int tb_axes_unit(const tb_axes *axes, const tb_value *value, int dim);
/** Inserts in flat order, outermost (largest inner) first. A cut of 1 is a unit. A factor that is
 * there already (from the other operand of an element-wise operator) is unified; one that overlaps
 * another is dropped. */
void tb_axes_add(tb_axes *axes, tb_value_axes *to, tb_factor f);
/** Joins parts of one label that lie next to each other. */
void tb_axes_rejoin(tb_axes *axes, tb_value_axes *va);
/** The stride of a dimension in flat order, in elements. */
int64_t tb_axes_stride(const tiba_tensor *t, int dim);
/** Carries the factors of `in` to `out` by a map of dimensions: in's dimension d is out's map[d],
 *  -1 where it is gone or changed. */
void tb_axes_carry(tb_axes *axes, tb_value_axes *to, const tb_value *in, const tb_value *out,
                   const int *map);

#endif
