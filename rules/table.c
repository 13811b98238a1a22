/*
 * The rule table and the conditions its rows name.
 */
#include <math.h>

#include "rules/features.h"
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

/* Two activations of the sum's size, which is what they add up to (quant_kernel.h: not quite). */
static bool whole_terms(const tb_node *node) {
    if (!both_active(node) || tb_find_attr(node, "kernel")) return false;
    const int64_t count = tb_tensor_count(&node->out[0]->t);
    return tb_tensor_count(&node->in[0]->t) == count && tb_tensor_count(&node->in[1]->t) == count &&
           node->in[0]->t.dtype == TIBA_FLOAT32 && node->in[1]->t.dtype == TIBA_FLOAT32;
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

/* What counts as rounding in a constant that was computed (a decoder's first layer, before it has
 * read anything, is the same for all queries): small against its numbers, the large ones of masks
 * aside. */
static double rounding_of(const tiba_tensor *t) {
    const double mask = 1e4, part = 1e-6;
    double largest = 0;
    for (int64_t i = 0; i < tb_tensor_count(t); i++) {
        double size = fabs(tb_get_f64(t, i));
        if (size < mask && size > largest) largest = size;
    }
    return part * largest;
}

/* Does the constant vary along dimension `dim`? One whose elements are not known before the graph
 * runs (an expert's bias, chosen for each token) may. */
static bool varies(const tiba_tensor *t, int dim) {
    int64_t inner = 1, n = t->dims[dim], count = tb_tensor_count(t);
    for (int d = dim + 1; d < t->rank; d++) inner *= t->dims[d];
    if (n <= 1) return false;
    if (!t->data) return true;
    double rounding = rounding_of(t);
    for (int64_t i = 0; i < count; i++) {
        double x = tb_get_f64(t, i), first = tb_get_f64(t, i - i / inner % n * inner);
        if (x != first && !(fabs(x - first) <= rounding)) return true;
    }
    return false;
}

/* A constant that varies along the axes of features only, or not at all. */
static bool bias(const tb_node *node) {
    int x = active(node, 0) ? 0 : 1;
    const tb_value *constant = node->in[1 - x];
    unsigned axes = tb_feature_axes(node->in[x]);
    int ahead = node->in[x]->t.rank - constant->t.rank;
    for (int d = 0; d < constant->t.rank; d++) {
        bool features = d + ahead >= 0 && (axes >> (d + ahead) & 1);
        if (!features && varies(&constant->t, d)) return false;
    }
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
