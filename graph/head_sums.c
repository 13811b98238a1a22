/* head_sums.c: Linear layers of heads that are added up are one Linear of the heads side by side.
 */
#include "graph/heads.h"
#include "graph/send.h"

enum { MOST_TERMS = 256 };

/* The terms of a sum. */
typedef struct sum {
    tb_value *terms[MOST_TERMS];
    int n;
} sum;

static bool is_sum(const tb_node *node) {
    return tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Sum);
}

/* Is it a part of a larger sum, which will be looked at instead? */
static bool is_term(const tb_node *node) {
    const tb_value *out = node->out[0];
    return out->n_uses == 1 && !out->is_output && is_sum(out->uses[0].node) &&
           tb_same_shape(&out->t, &out->uses[0].node->out[0]->t);
}

/* False: there are too many. */
static bool collect(sum *s, const tb_node *node) {
    for (int i = 0; i < node->n_in; i++) {
        tb_value *in = node->in[i];
        const tb_node *by = in->producer;
        if (by && is_sum(by) && is_term(by) && tb_same_shape(&in->t, &node->out[0]->t)) {
            if (!collect(s, by)) return false;
        } else if (s->n == MOST_TERMS) {
            return false;
        } else {
            s->terms[s->n++] = in;
        }
    }
    return true;
}

/* The Softmax that a product's operand is a part of, NULL: none. */
static const tb_node *softmax_behind(const tb_node *node) {
    while (node && !tb_is(node, TB_OP_Softmax)) {
        const int at = tb_only_active(node);
        const bool passes = node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_UNARY ||
                            node->op->class == TB_CLASS_BINARY;
        node = passes && at >= 0 ? node->in[at]->producer : NULL;
    }
    return node;
}

/* The Softmax whose heads, or some of them, the value is the result of, by moves of a product. */
static const tb_node *softmax_of(const tb_value *value) {
    const tb_node *node = value->producer;
    while (node && node->op->class == TB_CLASS_MOVE) node = node->in[0]->producer;
    if (!tb_is(node, TB_OP_MatMul) || !node->in[0]->active || !node->in[1]->active) return NULL;
    const tb_node *left = softmax_behind(node->in[0]->producer);
    return left ? left : softmax_behind(node->in[1]->producer);
}

/* A Linear that only the sum reads, of heads of a Softmax. */
static const tb_node *linear_of_heads(const tb_value *term) {
    const tb_node *node = term->producer;
    if (!tb_is(node, TB_OP_Linear) || term->n_uses != 1 || term->is_output) return NULL;
    if (node->n_in > 2 && node->in[2] && node->in[2]->active) return NULL;
    return softmax_of(node->in[0]) ? node : NULL;
}

/* Attentions of their own that are added up are not heads of one, though they read one value. */
static bool are_alike(const tb_node *a, const tb_node *b) {
    return tb_attr_int(a, "trans_w", 0) == tb_attr_int(b, "trans_w", 0) &&
           a->in[0]->t.rank == b->in[0]->t.rank && tb_same_shape(&a->out[0]->t, &b->out[0]->t) &&
           softmax_of(a->in[0]) == softmax_of(b->in[0]);
}

/* One Linear of `heads`, side by side, in the place of those of the terms that `is` marks. */
static tiba_status merge(tb_value **out, tb_builder *b, const sum *s, const bool *is,
                         tb_value *heads, tiba_error *error) {
    tb_value *weights[MOST_TERMS], *in[3] = {heads, NULL, NULL};
    int n = 0;
    int64_t trans_w = 0;
    for (int i = 0; i < s->n; i++) {
        if (!is[i]) continue;
        const tb_node *linear = s->terms[i]->producer;
        trans_w = tb_attr_int(linear, "trans_w", 0);
        weights[n++] = linear->in[1];
        tb_value *bias = linear->n_in > 2 ? linear->in[2] : NULL;
        if (bias && in[2])
            TB_TRY(tb_build1(b, &in[2], TB_OP_Add, 2, (tb_value *[]){in[2], bias}, 0, NULL, error));
        else if (bias)
            in[2] = bias;
    }
    TB_TRY(tb_build1(b, &in[1], TB_OP_Concat, n, weights, 1, &TB_INT_ATTR("axis", trans_w), error));
    return tb_build1(b, out, TB_OP_Linear, in[2] ? 3 : 2, in, 1, &TB_INT_ATTR("trans_w", trans_w),
                     error);
}

static tiba_status visit(tb_graph *graph, tb_exec *exec, tb_node *node, tiba_error *error) {
    sum s = {.n = 0};
    bool is[MOST_TERMS] = {false}, are;
    const tb_node *first = NULL;
    tb_value *heads[MOST_TERMS], *made;
    int n = 0;
    if (!collect(&s, node)) return TIBA_OK;
    for (int i = 0; i < s.n; i++) {
        const tb_node *linear = linear_of_heads(s.terms[i]);
        if (!linear || (first && !are_alike(linear, first))) continue;
        first = linear;
        is[i] = true;
        heads[n++] = first->in[0];
    }
    if (n < 2) return TIBA_OK;
    tb_builder b = {
        .graph = graph, .exec = exec, .origin = node->origin, .before = node, .from = node};
    const int64_t axis = first->in[0]->t.rank - 1;
    TB_TRY(tb_build1(&b, &made, TB_OP_Concat, n, heads, 1, &TB_INT_ATTR("axis", axis), error));
    TB_TRY(tb_are_heads(&are, made->producer, exec, error));
    if (!are) return TIBA_OK;
    TB_TRY(merge(&made, &b, &s, is, made, error));
    for (int i = 0; i < s.n; i++)
        if (!is[i])
            TB_TRY(tb_build1(&b, &made, TB_OP_Add, 2, (tb_value *[]){s.terms[i], made}, 0, NULL,
                             error));
    made->name = node->out[0]->name;
    return tb_replace_uses(graph, node->out[0], made) ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_join_head_sums(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    for (tb_node *node = graph->first; node; node = node->next)
        if (is_sum(node) && node->out[0]->active && !is_term(node))
            TB_TRY(visit(graph, exec, node, error));
    tb_graph_sweep(graph); /* what nothing reads any more would look like a reader */
    return TIBA_OK;
}
