/*
 * The rule table and the conditions its rows name.
 */
#include "rules/norms.h"
#include "rules/rule.h"

static bool active(const tb_node *node, int i) {
    return i < node->n_in && node->in[i] && node->in[i]->active;
}

static bool always(const tb_node *node) {
    (void)node;
    return true;
}

static bool x_active(const tb_node *node) {
    return active(node, 0);
}

static bool x_active_only(const tb_node *node) {
    return active(node, 0) && !active(node, 1);
}

static bool both_active(const tb_node *node) {
    return active(node, 0) && active(node, 1);
}

static bool weights_constant(const tb_node *node) {
    return !active(node, 1) && !active(node, 2);
}

/* A product with a constant that has zeros. */
static bool zero_factor(const tb_node *node) {
    if (both_active(node)) return false;
    const tiba_tensor *c = &node->in[active(node, 0)]->t;
    const float *x = c->data;
    int64_t count = x && c->dtype == TIBA_FLOAT32 ? tb_tensor_count(c) : 0;
    for (int64_t i = 0; i < count; i++)
        if (x[i] == 0) return true;
    return false;
}

/* A picture: a graph input of rank 4 that reached the convolution by moving and scaling only. */
static bool picture_input(const tb_node *node) {
    if (!weights_constant(node)) return false;
    const tb_value *value = node->in[0];
    while (value && value->producer) {
        const tb_node *from = value->producer;
        bool carries = from->op->class == TB_CLASS_MOVE || tb_is(from, TB_OP_Cast) ||
                       (from->op->class == TB_CLASS_BINARY && from->n_in == 2 &&
                        active(from, 0) != active(from, 1));
        if (!carries) return false;
        const tb_value *next = NULL;
        for (int i = 0; i < from->n_in; i++)
            if (active(from, i)) {
                if (next) return false;
                next = from->in[i];
            }
        value = next;
    }
    return value && value->input >= 0 && value->t.rank == 4;
}

/* Does the constant vary along dimension `dim`? */
static bool varies(const tiba_tensor *t, int dim) {
    int64_t inner = 1, n = t->dims[dim], count = tb_tensor_count(t);
    for (int d = dim + 1; d < t->rank; d++) inner *= t->dims[d];
    if (n <= 1) return false;
    for (int64_t i = 0; i < count; i++) {
        int64_t first = i - i / inner % n * inner;
        if (tb_get_f64(t, i) != tb_get_f64(t, first)) return true;
    }
    return false;
}

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

/* The axis that holds the features: the last, or the channels of what a convolution made, the rows
 * of W x, the axis that was normalised; scaled and shifted, if at all. */
static int feature_axis(const tb_value *x) {
    int rank = x->t.rank;
    const tb_node *from = x->producer;
    for (int steps = 0; from && steps < 8 && x->t.rank == rank; steps++, from = x->producer) {
        if (tb_is(from, TB_OP_Conv) || tb_is(from, TB_OP_ConvTranspose)) return 1;
        if (tb_is(from, TB_OP_MatMul) && !active(from, 0) && active(from, 1)) return rank - 2;
        bool joins = tb_is(from, TB_OP_Mul) || tb_is(from, TB_OP_Div);
        if (joins && both_active(from)) {
            int axis = normalised_axis(from);
            return axis >= 0 ? axis : rank - 1;
        }
        bool shifts = joins || tb_is(from, TB_OP_Add) || tb_is(from, TB_OP_Sub);
        if (!shifts && from->op->class != TB_CLASS_UNARY) break;
        if (shifts && both_active(from)) break;
        x = from->in[active(from, 0) ? 0 : 1];
    }
    return rank - 1;
}

/* How many of x's last axes a Reshape made of a product's feature axis: heads and their features.
 */
static int split_features(const tb_value *x) {
    const tb_node *from = x->producer;
    if (!tb_is(from, TB_OP_Reshape) || !from->in[0]->producer) return 0;
    const tb_value *y = from->in[0];
    const tb_node *product = y->producer;
    bool linear = (tb_is(product, TB_OP_MatMul) && !active(product, 1)) ||
                  tb_is(product, TB_OP_Linear) || tb_is(product, TB_OP_Gemm);
    if (!linear || y->t.rank < 1) return 0;
    int64_t features = y->t.dims[y->t.rank - 1], covered = 1;
    for (int k = 1; k <= x->t.rank; k++) {
        covered *= x->t.dims[x->t.rank - k];
        if (covered == features) return k;
        if (covered > features) break;
    }
    return 0;
}

/* A constant that varies along the feature axis only, or not at all. */
static bool bias(const tb_node *node) {
    int x = active(node, 0) ? 0 : 1;
    const tb_value *constant = node->in[1 - x];
    if (!constant->t.data) return tb_tensor_count(&constant->t) == 1;
    int axis = feature_axis(node->in[x]) - node->in[x]->t.rank + constant->t.rank;
    int split = split_features(node->in[x]);
    for (int d = 0; d < constant->t.rank; d++)
        if (d != axis && d < constant->t.rank - split && varies(&constant->t, d)) return false;
    return true;
}

static const struct {
    int kind, class; /* -1: any */
    bool (*condition)(const tb_node *);
    const tb_rule *rule;
} rows[] = {
#define RULE(op, condition, rule)          {TB_OP_##op, -1, condition, &tb_rule_##rule},
#define RULE_CLASS(class, condition, rule) {-1, class, condition, &tb_rule_##rule},
#include "rules/rule.def"
#undef RULE
#undef RULE_CLASS
};

const tb_rule *tb_find_rule(const tb_node *node) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool named = rows[i].kind == (int)node->op->kind || rows[i].class == (int)node->op->class;
        if (named && rows[i].condition(node)) return rows[i].rule;
    }
    return &tb_rule_general;
}
