#include "rules/norms.h"

enum { MAX_DEPTH = 24, MAX_NORMS = 8 };

typedef struct norms {
    const tb_value *of[MAX_NORMS];
    int n;
} norms;

static bool active(const tb_node *node, int i) {
    return i < node->n_in && node->in[i] && node->in[i]->active;
}

static bool rounds(const tb_node *node) {
    return tb_is(node, TB_OP_FakeQuantize) || tb_is(node, TB_OP_QuantizeLinear) ||
           tb_is(node, TB_OP_DequantizeLinear);
}

static const tb_value *unrounded(const tb_value *value) {
    while (rounds(value->producer) && active(value->producer, 0)) value = value->producer->in[0];
    return value;
}

/* The one active operand of a move, of a copy in another type, of a scaling or of a rounding; NULL
 * if it is no such node. */
static const tb_value *carried(const tb_node *node) {
    bool scales = (tb_is(node, TB_OP_Mul) && active(node, 0) != active(node, 1)) ||
                  (tb_is(node, TB_OP_Div) && active(node, 0) && !active(node, 1));
    bool moves = node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Cast);
    if (!scales && !rounds(node) && !moves) return NULL;
    const tb_value *found = NULL;
    for (int i = 0; i < node->n_in; i++) {
        if (!active(node, i)) continue;
        if (found) return NULL;
        found = node->in[i];
    }
    return found;
}

/* The value whose square this is, NULL if it is none. */
static const tb_value *squared(const tb_value *value) {
    const tb_node *node = unrounded(value)->producer;
    if (tb_is(node, TB_OP_Mul) && unrounded(node->in[0]) == unrounded(node->in[1]))
        return node->in[0];
    bool two = tb_is(node, TB_OP_Pow) && node->in[1]->t.data && active(node, 0) &&
               tb_tensor_count(&node->in[1]->t) == 1 && tb_get_f64(&node->in[1]->t, 0) == 2.0;
    return two ? node->in[0] : NULL;
}

static bool adds_up(const tb_node *node) {
    return tb_is(node, TB_OP_ReduceSum) || tb_is(node, TB_OP_ReduceMean);
}

/* Is the value a product of norms (below a Sqrt: of sums or means of squares), and of which values?
 */
static bool is_norm(norms *found, const tb_value *value, bool below_sqrt, int depth) {
    const tb_node *node = value->producer;
    if (!node || depth > MAX_DEPTH) return false;
    const tb_value *through = carried(node), *of = NULL;
    if (tb_is(node, TB_OP_Sqrt) && !below_sqrt) return is_norm(found, node->in[0], true, depth + 1);
    if (tb_is(node, TB_OP_Clip) && !active(node, 1) && !active(node, 2)) through = node->in[0];
    if ((tb_is(node, TB_OP_Max) || tb_is(node, TB_OP_Add)) && node->n_in == 2 &&
        active(node, 0) != active(node, 1)) /* an epsilon */
        through = node->in[active(node, 0) ? 0 : 1];
    if (through) return is_norm(found, through, below_sqrt, depth + 1);
    if (tb_is(node, TB_OP_Mul) && active(node, 0) && active(node, 1))
        return is_norm(found, node->in[0], below_sqrt, depth + 1) &&
               is_norm(found, node->in[1], below_sqrt, depth + 1);
    if (tb_is(node, TB_OP_ReduceL2) && !below_sqrt) of = node->in[0];
    if (tb_is(node, TB_OP_ReduceSumSquare) && below_sqrt) of = node->in[0];
    if (adds_up(node) && below_sqrt) of = squared(node->in[0]);
    if (!of || !of->active || found->n == MAX_NORMS) return false;
    found->of[found->n++] = of;
    return true;
}

/* The value that moves, scaling and rounding were done to. */
static const tb_value *origin(const tb_value *value) {
    for (const tb_node *node = value->producer; node; node = value->producer) {
        const tb_value *from = carried(node);
        if (!from) break;
        value = from;
    }
    return value;
}

/* Takes the factors of a product, moved, scaled and summed up as they may be, off the list. */
static void take_factors(norms *left, const tb_value *value, int depth) {
    if (depth > MAX_DEPTH) return;
    value = origin(value);
    for (int i = 0; i < left->n; i++)
        if (left->of[i] && origin(left->of[i]) == value) {
            left->of[i] = NULL;
            return;
        }
    const tb_node *node = value->producer;
    bool product = tb_is(node, TB_OP_Mul) || tb_is(node, TB_OP_MatMul);
    for (int i = 0; i < (product ? 2 : adds_up(node) ? 1 : 0); i++)
        if (active(node, i)) take_factors(left, node->in[i], depth + 1);
}

bool tb_divides_by_norms(const tb_node *node) {
    norms found = {.n = 0};
    if (!active(node, 0) || !active(node, 1) || !is_norm(&found, node->in[1], false, 0))
        return false;
    take_factors(&found, node->in[0], 0);
    for (int i = 0; i < found.n; i++)
        if (found.of[i]) return false;
    return true;
}
