#include "graph/weighted_sum.h"

#include <string.h>

#include "graph/attention.h"

/* The only axis that the node sums over, -1: it is no such sum. */
static int sum_axis(const tb_node *node) {
    if (!tb_is(node, TB_OP_ReduceSum) || node->n_in < 2 || !node->in[1] || !node->in[0]->active)
        return -1;
    const tiba_tensor *axes = &node->in[1]->t;
    if (!axes->data || tb_tensor_count(axes) != 1) return -1;
    int64_t axis = tb_get_i64(axes, 0);
    return (int)(axis < 0 ? axis + node->in[0]->t.rank : axis);
}

/* Does Transpose leave the axes of t that are longer than 1 in their order? */
static bool keeps_order(const tb_node *node, const tiba_tensor *t) {
    int64_t n, last = -1;
    const int64_t *perm = tb_attr_ints(node, "perm", &n);
    for (int i = 0; i < t->rank; i++) {
        int64_t d = perm ? perm[i] : t->rank - 1 - i;
        if (t->dims[d] == 1) continue;
        if (d < last) return false;
        last = d;
    }
    return true;
}

/* Does the node cut keys without values (a constant in the sum is one) off a softmax's row? */
static bool cuts_sinks(const tb_node *node) {
    if (!tb_is(node, TB_OP_Slice)) return false;
    const tb_node *softmax = node->in[0]->producer;
    if (!softmax || !tb_is(softmax, TB_OP_Softmax)) return false;
    const tiba_tensor *all = &node->in[0]->t, *kept = &node->out[0]->t;
    int64_t axis = tb_attr_int(softmax, "axis", -1);
    if (axis < 0) axis += all->rank;
    for (int d = 0; d < all->rank; d++)
        if (d != axis && kept->dims[d] != all->dims[d]) return false;
    return true;
}

/* Is the value a softmax over its innermost axis, axes of 1 aside, moved at most? */
static bool is_softmax(const tb_value *value) {
    const tb_node *node = value->producer;
    for (; node && !tb_is(node, TB_OP_Softmax); node = node->in[0]->producer) {
        bool moves = node->op->def->alias ||
                     (tb_is(node, TB_OP_Transpose) && keeps_order(node, &node->in[0]->t));
        if (cuts_sinks(node)) continue;
        if (node->op->class != TB_CLASS_MOVE || !moves) return false;
    }
    if (!node) return false;
    const tiba_tensor *t = &node->out[0]->t;
    int64_t axis = tb_attr_int(node, "axis", -1);
    if (axis < 0) axis += t->rank;
    for (int d = (int)axis + 1; d < t->rank; d++)
        if (t->dims[d] != 1) return false;
    return t->rank > 0 && t->dims[axis] > 1;
}

/* The axis of v's features where w, of the shape [dims], weighs v's tokens along `axis`, all
 * features alike; -1: it does not. */
static int weighed_features(const tb_value *w, const int64_t *dims, const tb_value *v, int axis) {
    int features = -1;
    if (w->t.rank != v->t.rank || !w->active || !v->active) return -1;
    if (w->t.dtype != TIBA_FLOAT32 || v->t.dtype != TIBA_FLOAT32) return -1;
    for (int d = 0; d < v->t.rank; d++) {
        if (dims[d] == v->t.dims[d]) continue;
        if (dims[d] != 1 || features >= 0) return -1;
        features = d;
    }
    return features >= 0 && features != axis && v->t.dims[axis] > 1 && is_softmax(w) ? features
                                                                                     : -1;
}

/* Does the node make copies along axes of 1 only? */
static bool copies(const tb_node *node) {
    if (!tb_is(node, TB_OP_Expand) && !tb_is(node, TB_OP_Tile)) return false;
    const tiba_tensor *from = &node->in[0]->t, *to = &node->out[0]->t;
    bool fits = from->rank == to->rank;
    for (int d = 0; d < from->rank && fits; d++)
        fits = from->dims[d] == 1 || from->dims[d] == to->dims[d];
    return fits;
}

/* w, of which copies for all of v's features may have been made beforehand, and turned: the value
 * that in its flat order has the shape *dims [w's rank]. */
static tb_value *before_copies(tb_value *w, int64_t *dims) {
    const tb_node *node = w->producer, *turn = NULL;
    for (int d = 0; d < w->t.rank; d++) dims[d] = w->t.dims[d];
    if (node && tb_is(node, TB_OP_Transpose)) turn = node, node = node->in[0]->producer;
    if (!node || !copies(node) || (turn && !keeps_order(turn, &node->in[0]->t))) return w;
    int64_t n;
    const int64_t *perm = turn ? tb_attr_ints(turn, "perm", &n) : NULL;
    for (int d = 0; d < w->t.rank; d++)
        dims[d] = node->in[0]->t.dims[!turn ? d : perm ? perm[d] : w->t.rank - 1 - d];
    return node->in[0];
}

/* P [..., 1, tokens] times V [..., tokens, features], and the features back in their place. */
static tiba_status rewrite(tb_graph *graph, tb_exec *exec, tb_node *sum, tb_value *w, tb_value *v,
                           int axis, int features, tiba_error *error) {
    tb_builder b = {
        .graph = graph, .exec = exec, .origin = sum->origin, .before = sum, .from = sum};
    int rank = v->t.rank;
    tb_value *old = sum->out[0], *made;
    TB_TRY(tb_build_move_axis(&b, &v, features, rank - 1, error));
    TB_TRY(tb_build_move_axis(&b, &v, axis - (features < axis), rank - 2, error));
    int64_t dims[TIBA_MAX_RANK];
    memcpy(dims, v->t.dims, sizeof dims);
    dims[rank - 2] = 1;
    dims[rank - 1] = v->t.dims[rank - 2];
    TB_TRY(tb_build_reshape(&b, &w, rank, dims, error));
    TB_TRY(tb_build1(&b, &made, TB_OP_MatMul, 2, (tb_value *[]){w, v}, 0, NULL, error));
    dims[rank - 2] = v->t.dims[rank - 1];
    TB_TRY(tb_build_reshape(&b, &made, rank - 1, dims, error));
    TB_TRY(tb_build_move_axis(&b, &made, rank - 2, features - (axis < features), error));
    TB_TRY(tb_build_reshape(&b, &made, old->t.rank, old->t.dims, error));
    made->name = old->name;
    return tb_replace_uses(graph, old, made) ? TIBA_OK : tb_out_of_memory(error);
}

/* Are they tokens of an input, or what was made of some? Samples at computed places (deformable
 * attention) are not: their axis is another. */
static tiba_status are_tokens(bool *tokens, tb_axes **axes, const tb_graph *graph,
                              const tb_value *v, int axis, tiba_error *error) {
    if (!*axes) TB_TRY(tb_axes_find(axes, graph, graph->arena, error));
    const int label = tb_axes_dim(*axes, v, axis);
    if (label == -2) return tb_out_of_memory(error);
    *tokens = label >= 0 && (*axes)->labels[tb_axes_root(*axes, label)].kind != TB_LABEL_OTHER &&
              tb_label_input(*axes, label) >= 0;
    return TIBA_OK;
}

tiba_status tb_raise_weighted_sums(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    tb_axes *axes = NULL; /* of the graph as it is */
    tb_node *next;
    for (tb_node *node = graph->first; node; node = next) {
        next = node->next;
        int axis = sum_axis(node);
        const tb_node *product = axis < 0 ? NULL : node->in[0]->producer;
        if (!product || !tb_is(product, TB_OP_Mul)) continue;
        for (int side = 0; side < 2; side++) {
            int64_t dims[TIBA_MAX_RANK];
            tb_value *w = before_copies(product->in[side], dims), *v = product->in[1 - side];
            int features = weighed_features(w, dims, v, axis);
            bool tokens = false;
            if (features >= 0) TB_TRY(are_tokens(&tokens, &axes, graph, v, axis, error));
            if (!tokens) continue;
            TB_TRY(rewrite(graph, exec, node, w, v, axis, features, error));
            axes = NULL;
            break;
        }
    }
    return TIBA_OK;
}
