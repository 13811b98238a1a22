/*
 * narrow_operators.h: how operators read the rows of their operands, for graph/narrow.c.
 */
#ifndef TB_GRAPH_NARROW_OPERATORS_H
#define TB_GRAPH_NARROW_OPERATORS_H

#include "graph/op.h"

enum { TB_ROWS_WHOLE = -1, TB_ROWS_MIXED = -2 };

/** An operator whose output's rows along one dimension are made of the same rows of its operands,
 *  each by itself. */
typedef struct tb_row_wise {
    /** The dimension of operand `i` that holds dimension `dim` of the output; TB_ROWS_WHOLE: the
     *  operand is read as a whole by every row; TB_ROWS_MIXED: rows are not made each by itself. */
    int (*operand)(const tb_node *node, int i, int dim);
    bool reshapes; /**< its second input is the output's shape */
} tb_row_wise;

/** NULL: no operator that is known to be one. */
const tb_row_wise *tb_find_row_wise(const tb_node *node);

/** An operator that takes rows of its first input by constant indices. */
typedef struct tb_selection {
    /** Calls `row` for each row that output `out` takes along *dim; false if it is no selection.
     *  `row` may be NULL. */
    bool (*find)(const tb_node *node, int out, int *dim, void (*row)(void *context, int64_t row),
                 void *context);
    /** The input that holds the indices along that dimension, whose coordinates are to be put in
     *  terms of the rows that are left; 0: the output is those rows as they are, in order. */
    int indices;
    /** Is element i of the indices one along `dim`? NULL: all are. */
    bool (*along)(const tb_node *node, int64_t i, int dim);
} tb_selection;

/** NULL: none. */
const tb_selection *tb_find_selection(const tb_node *node);

#endif
