#include "rules/features.h"

#include "graph/op.h"

enum { MAX_STEPS = 16 };

static bool active(const tb_node *node, int i) {
    return i < node->n_in && node->in[i] && node->in[i]->active;
}

static bool is_convolution(const tb_node *node) {
    return tb_is(node, TB_OP_Conv) || tb_is(node, TB_OP_ConvTranspose);
}

/* Scaled or shifted by a constant. */
static bool is_shift(const tb_node *node) {
    bool shifts = tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Sub) || tb_is(node, TB_OP_Mul) ||
                  tb_is(node, TB_OP_Div);
    return shifts && active(node, 0) != active(node, 1);
}

static const tb_value *active_operand(const tb_node *node) {
    return node->in[active(node, 0) ? 0 : 1];
}

/* --- one axis ----------------------------------------------------------------------------- */

/* The one axis along which an operand of `join` is a statistic of the other: what a normalisation
 * works along. -1: none. */
static int normalised_axis(const tb_node *join) {
    const tiba_tensor *a = &join->in[0]->t, *b = &join->in[1]->t;
    int found = -1;
    for (int d = 0; d < a->rank && a->rank == b->rank; d++) {
        if (a->dims[d] == b->dims[d]) continue;
        if (found >= 0) return -1;
        found = d;
    }
    return found;
}

/* The last, or the channels of what a convolution made, the rows of W x, the axis that was
 * normalised; scaled and shifted, if at all. */
static int feature_axis(const tb_value *x) {
    int rank = x->t.rank;
    const tb_node *from = x->producer;
    for (int steps = 0; from && steps < 8 && x->t.rank == rank; steps++, from = x->producer) {
        if (is_convolution(from)) return 1;
        if (tb_is(from, TB_OP_MatMul) && !active(from, 0) && active(from, 1)) return rank - 2;
        bool joins = tb_is(from, TB_OP_Mul) || tb_is(from, TB_OP_Div);
        if (joins && active(from, 0) && active(from, 1)) {
            int axis = normalised_axis(from);
            return axis >= 0 ? axis : rank - 1;
        }
        if (!is_shift(from) && from->op->class != TB_CLASS_UNARY) break;
        x = active_operand(from);
    }
    return rank - 1;
}

/* --- a product's axes --------------------------------------------------------------------- */

/* The axes of a product's output that its constant operand has. */
static unsigned product_axes(const tb_value *y) {
    const tb_node *product = y->producer;
    if (!product || y->t.rank < 1) return 0;
    if (is_convolution(product)) return active(product, 1) ? 0 : 1u << 1;
    bool one =
        tb_is(product, TB_OP_Linear) || tb_is(product, TB_OP_Gemm) || tb_is(product, TB_OP_MatMul);
    if (!one || active(product, 0) == active(product, 1)) return 0;
    int constant = active(product, 0) ? 1 : 0, rank = y->t.rank;
    const tiba_tensor *w = &product->in[constant]->t;
    if (w->rank < 2) return 0;
    unsigned axes = 1u << (constant == 1 ? rank - 1 : rank - 2);
    for (int d = 0; d < w->rank - 2; d++)
        if (w->dims[d] > 1) axes |= 1u << (rank - w->rank + d);
    return axes;
}

/* Each stretch of neighbouring axes must be a stretch again; 0 if one is not. */
static unsigned reshaped(unsigned axes, const tiba_tensor *x, const tiba_tensor *y) {
    unsigned result = 0;
    int64_t before = 1;
    for (int i = 0; i < x->rank;) {
        int64_t size = x->dims[i];
        int next = i + 1;
        if (axes >> i & 1) {
            for (; next < x->rank && (axes >> next & 1); next++) size *= x->dims[next];
            int64_t at = 1, covered = 1;
            int k = 0;
            while (k < y->rank && at < before) at *= y->dims[k++];
            if (at != before) return 0;
            for (; k < y->rank && covered < size; k++) {
                if (y->dims[k] > 1) result |= 1u << k;
                covered *= y->dims[k];
            }
            if (covered != size) return 0;
        }
        before *= size;
        i = next;
    }
    return result;
}

static unsigned transposed(unsigned axes, const tb_node *node) {
    int64_t n;
    const int64_t *perm = tb_attr_ints(node, "perm", &n);
    unsigned result = 0;
    int rank = node->in[0]->t.rank;
    for (int d = 0; d < rank; d++) {
        int64_t from = perm && d < n ? perm[d] : rank - 1 - d;
        if (axes >> from & 1) result |= 1u << d;
    }
    return result;
}

/* Moves of the whole, casts. */
static const tb_value *moved_from(const tb_node *node) {
    bool moves = node->op->def->alias || tb_is(node, TB_OP_Transpose) || tb_is(node, TB_OP_Cast);
    return moves && active(node, 0) ? node->in[0] : NULL;
}

/* Whatever else reads the product does without what is added here: XLNet's two biases of one query,
 * or those of a part of it, are no bias of the product. */
static unsigned axes_of(const tb_value *x, int steps) {
    if (x->n_uses > 1) return 0;
    unsigned axes = product_axes(x);
    const tb_node *node = x->producer;
    const tb_value *from = axes || !node || steps == MAX_STEPS ? NULL : moved_from(node);
    if (!from) return axes;
    axes = axes_of(from, steps + 1);
    if (tb_is(node, TB_OP_Transpose)) return transposed(axes, node);
    return from->t.rank == x->t.rank && !node->op->def->alias ? axes
                                                              : reshaped(axes, &from->t, &x->t);
}

unsigned tb_feature_axes(const tb_value *x) {
    return x->t.rank < 1 ? 0 : 1u << feature_axis(x) | axes_of(x, 0);
}
