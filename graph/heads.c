/* heads.c: products of heads that stand side by side become one. See heads.h. */
#include "graph/heads.h"

enum { MOST_STEPS = 24 };

/* Concat's operands as products: MatMul, or Unsqueeze of MatMul along the axis that they are joined
 * along. */
typedef struct side_by_side {
    tb_node *concat;
    int axis;     /* that they are joined along */
    bool stacked; /* an Unsqueeze made it */
    int rank;     /* of a product */
} side_by_side;

static tb_value *only_active(const tb_node *node) {
    tb_value *found = NULL;
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i] || !node->in[i]->active) continue;
        if (found) return NULL;
        found = node->in[i];
    }
    return found;
}

/* The last axis of P is what a Softmax worked along. */
static bool is_attention(const tb_value *p) {
    for (int steps = 0; p && p->producer && steps < MOST_STEPS; steps++) {
        const tb_node *node = p->producer;
        if (tb_is(node, TB_OP_Softmax)) {
            int64_t axis = tb_attr_int(node, "axis", -1);
            return axis == -1 || axis == p->t.rank - 1;
        }
        bool passes = node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
                      node->op->class == TB_CLASS_MOVE;
        p = passes ? only_active(node) : NULL;
    }
    return false;
}

static bool is_linear(const tb_node *node) {
    return tb_is(node, TB_OP_Linear) || tb_is(node, TB_OP_MatMul) || tb_is(node, TB_OP_Gemm);
}

/* What a value comes from by one linear layer; NULL: something else lies on the way. */
static const tb_value *projected_from(const tb_value *v) {
    bool linear = false;
    for (int steps = 0; v->producer && steps < MOST_STEPS; steps++) {
        const tb_node *node = v->producer;
        bool layer = is_linear(node);
        bool passes = layer || node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Cast) ||
                      tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Mul);
        if (linear && !tb_is(node, TB_OP_Identity)) return v;
        linear |= layer;
        v = passes ? only_active(node) : NULL;
        if (!v) return NULL;
    }
    return linear ? v : NULL;
}

/* The product that operand i of the Concat is, NULL: none. */
static tb_node *product_of(const side_by_side *s, int i, bool *stacked) {
    const tb_value *value = s->concat->in[i];
    tb_node *node = value ? value->producer : NULL;
    *stacked = tb_is(node, TB_OP_Unsqueeze);
    if (*stacked) {
        const tb_value *list = node->in[1];
        if (!list->t.data || tb_tensor_count(&list->t) != 1 || value->n_uses != 1) return NULL;
        int64_t axis = tb_get_i64(&list->t, 0);
        if ((axis < 0 ? axis + value->t.rank : axis) != s->axis) return NULL;
        value = node->in[0];
        node = value->producer;
    }
    bool product = tb_is(node, TB_OP_MatMul) && node->in[0]->active && node->in[1]->active;
    if (!product || value->n_uses != 1 || value->is_output) return NULL;
    return node;
}

/* All operands are products of attention with values of one place, in the same shapes. One P that
 * multiplies parts of the values is one head, not several. */
static bool find(side_by_side *s) {
    tb_node *concat = s->concat, *first = NULL;
    const tb_value *from = NULL;
    if (!tb_is(concat, TB_OP_Concat) || concat->n_in < 2 || !concat->out[0]->active) return false;
    int64_t axis = tb_attr_int(concat, "axis", 0);
    s->axis = (int)(axis < 0 ? axis + concat->out[0]->t.rank : axis);
    for (int i = 0; i < concat->n_in; i++) {
        bool stacked;
        tb_node *product = product_of(s, i, &stacked);
        if (!product) return false;
        const tb_value *p = product->in[0], *v = product->in[1], *source = projected_from(v);
        if (i == 0) {
            first = product;
            from = source;
            s->stacked = stacked;
            s->rank = product->out[0]->t.rank;
        }
        bool same = tb_same_shape(&p->t, &first->in[0]->t) &&
                    tb_same_shape(&v->t, &first->in[1]->t) && stacked == s->stacked;
        if (!same || !source || source != from || p->t.rank != s->rank || v->t.rank != s->rank)
            return false;
        if (p->t.dtype != TIBA_FLOAT32 || !is_attention(p)) return false;
        if (i > 0 && p == first->in[0]) return false;
    }
    if (s->rank == TIBA_MAX_RANK) return false;
    if (s->stacked) return true;
    if (s->axis == s->rank - 1) return true;
    return s->axis < s->rank - 2 && first->in[0]->t.dims[s->axis] == first->in[1]->t.dims[s->axis];
}

/* Operand `side` of all products, stacked along a new axis or joined along theirs. */
static tiba_status gather(tb_value **out, tb_builder *b, const side_by_side *s, int side, int axis,
                          bool fresh, tiba_error *error) {
    int n = s->concat->n_in;
    tb_value **list = TB_NEW(b->graph->arena, tb_value *, n);
    if (!list) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++) {
        bool stacked;
        list[i] = product_of(s, i, &stacked)->in[side];
        if (!fresh) continue;
        tb_value *axes;
        TB_TRY(tb_build_ints(b, &axes, 1, (int64_t[]){axis}, error));
        TB_TRY(tb_build1(b, &list[i], TB_OP_Unsqueeze, 2, (tb_value *[]){list[i], axes}, 0, NULL,
                         error));
    }
    return tb_build1(b, out, TB_OP_Concat, n, list, 1, &TB_INT_ATTR("axis", axis), error);
}

static tiba_status join(const side_by_side *s, tb_graph *graph, tb_exec *exec, tiba_error *error) {
    tb_builder b = {.graph = graph,
                    .exec = exec,
                    .origin = s->concat->origin,
                    .before = s->concat,
                    .from = s->concat};
    tb_value *old = s->concat->out[0], *p, *v, *made;
    bool features = !s->stacked && s->axis == s->rank - 1, fresh = s->stacked || features;
    int axis = fresh ? s->rank - 2 : s->axis; /* a new axis of heads in front of the matrices */
    TB_TRY(gather(&p, &b, s, 0, axis, fresh, error));
    TB_TRY(gather(&v, &b, s, 1, axis, fresh, error));
    TB_TRY(tb_build1(&b, &made, TB_OP_MatMul, 2, (tb_value *[]){p, v}, 0, NULL, error));
    int to = features ? axis + 1 : s->axis; /* where the heads belong */
    if (to != axis) {
        int64_t perm[TIBA_MAX_RANK];
        for (int i = 0, from = 0; i <= s->rank; i++) {
            from += from == axis;
            perm[i] = i == to ? axis : from++;
        }
        tb_attr attr = TB_INTS_ATTR("perm", s->rank + 1, perm);
        TB_TRY(tb_build1(&b, &made, TB_OP_Transpose, 1, &made, 1, &attr, error));
    }
    if (features) {
        tb_value *shape;
        TB_TRY(tb_build_ints(&b, &shape, old->t.rank, old->t.dims, error));
        TB_TRY(tb_build1(&b, &made, TB_OP_Reshape, 2, (tb_value *[]){made, shape}, 0, NULL, error));
    }
    made->name = old->name;
    return tb_replace_uses(graph, old, made) ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_join_heads(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    for (tb_node *node = graph->first; node; node = node->next) {
        side_by_side s = {.concat = node};
        if (find(&s)) TB_TRY(join(&s, graph, exec, error));
    }
    return TIBA_OK;
}
