/*
 * route_even.c: merges that treat all elements alike. What Pad put beside them is nothing that
 * could be given a share, as the places that a convolution pads by itself.
 *
 * All weights are one, so the features (of a group of channels) that a product sums over count as
 * one: what is computed is as small as if there were one feature.
 */
#include <string.h>

#include "rules/route_steps.h"
#include "runtime/kernel.h"

/* What merges as a node does with all elements alike: a maximum is a mean then, weights are 1. */
typedef struct even {
    const tb_op_def *def;
    int x;                    /* the operand that is merged */
    const tiba_tensor *in[8]; /* in[x] is &ones */
    tiba_tensor ones, weight; /* of that operand's shape, all 1; likewise of the weight's */
    tiba_tensor result;       /* the shape of what comes of them */
    int axis, to; /* of x's and the result's features, folded to one; -1: they are not */
} even;

enum { MAX_MOVES = 8 };

static const tb_op_def *even_op(const tb_node *node) {
    switch (node->op->class) {
    case TB_CLASS_REDUCE:
        return &tb_op_def_ReduceSum;
    case TB_CLASS_POOL:
        return tb_is(node, TB_OP_MaxPool)         ? &tb_op_def_AveragePool
               : tb_is(node, TB_OP_GlobalMaxPool) ? &tb_op_def_GlobalAveragePool
                                                  : node->op->def;
    default:
        return node->op->def;
    }
}

static tiba_status fill_ones(tiba_tensor *t, tb_exec *exec, tiba_error *error) {
    int64_t count = tb_tensor_count(t);
    float *x = t->data = tb_scratch(exec, (size_t)count, sizeof *x);
    if (!x) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) x[i] = 1.0f;
    return TIBA_OK;
}

/* Do moves alone lead from constant padding to `x`? */
static bool is_padded(const tb_value *x) {
    const tb_node *node = x->producer;
    for (int k = 0; k < MAX_MOVES && node; k++, node = node->in[0]->producer) {
        if (tb_is(node, TB_OP_Pad))
            return strcmp(tb_attr_string(node, "mode", "constant"), "constant") == 0;
        if (!node->op->def->alias && !tb_is(node, TB_OP_Transpose)) return false;
    }
    return false;
}

/* 1 for each element of `x`, 0 for padding. */
static tiba_status fill_present(tiba_tensor *t, const tb_value *x, const tb_program *program,
                                tb_exec *exec, tiba_error *error) {
    if (!is_padded(x)) return fill_ones(t, exec, error);
    const tb_node *node = x->producer;
    tiba_tensor from = node->in[0]->t, *out[1] = {t};
    TB_TRY(fill_present(&from, node->in[0], program, exec, error));
    const tiba_tensor *in[8] = {&from};
    for (int i = 1; i < node->n_in && i < 8; i++)
        in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    if (tb_is(node, TB_OP_Pad)) in[2] = NULL;
    t->data = tb_scratch(exec, (size_t)tb_tensor_count(t), sizeof(float));
    return t->data ? node->op->def->forward(exec, node, in, out, error) : tb_out_of_memory(error);
}

/* Folds the features of a product with a constant matrix, and the channels of a convolution, to one
 * (of each group). */
static void fold_shapes(even *e, const tb_node *node) {
    tiba_tensor *x = &e->ones, *w = &e->weight, *y = &e->result;
    const bool transposed = tb_is(node, TB_OP_ConvTranspose);
    e->axis = e->to = -1;
    if (e->x != 0 || x->rank < 2 || w->rank < 2 || is_padded(node->in[0])) return;
    if (tb_is(node, TB_OP_Conv) || transposed) {
        const int64_t groups = tb_attr_int(node, "group", 1);
        e->axis = e->to = 1;
        x->dims[1] = y->dims[1] = w->dims[0] = groups;
        w->dims[1] = 1;
    } else if (tb_is(node, TB_OP_Linear) || tb_is(node, TB_OP_MatMul) ||
               (tb_is(node, TB_OP_Gemm) && tb_attr_int(node, "transA", 0) == 0)) {
        e->axis = x->rank - 1;
        e->to = y->rank - 1;
        x->dims[e->axis] = y->dims[e->to] = w->dims[w->rank - 1] = w->dims[w->rank - 2] = 1;
    }
}

/* Do constants select or average, so that those of 0 say what is no part of it: windows that a
 * transposed convolution puts back, a pooling written as a product? */
static bool selects(const tiba_tensor *w) {
    const int64_t count = tb_tensor_count(w);
    const float *x = w->data;
    float value = 0.0f;
    bool zeros = false;
    if (!x || w->dtype != TIBA_FLOAT32) return false;
    for (int64_t i = 0; i < count; i++) {
        if (x[i] == 0.0f)
            zeros = true;
        else if (value == 0.0f)
            value = x[i];
        else if (x[i] != value)
            return false;
    }
    return zeros && value != 0.0f;
}

/* 1 where the constants are not 0. */
static tiba_status fill_selected(tiba_tensor *weight, const tiba_tensor *w, tb_exec *exec,
                                 tiba_error *error) {
    TB_TRY(fill_ones(weight, exec, error));
    const int64_t count = tb_tensor_count(w);
    for (int64_t i = 0; i < count; i++)
        ((float *)weight->data)[i] = ((const float *)w->data)[i] != 0.0f;
    return TIBA_OK;
}

static tiba_status plan(even *e, int x, const tb_node *node, const tb_program *program,
                        tb_exec *exec, tiba_error *error) {
    *e = (even){.def = even_op(node), .x = x};
    e->ones = node->in[e->x]->t;
    e->result = node->out[0]->t;
    e->axis = e->to = -1;
    if (node->op->class == TB_CLASS_CONTRACT) {
        const tiba_tensor *w = &node->in[1 - e->x]->t;
        e->weight = *w;
        const bool selected = selects(w);
        if (!selected) fold_shapes(e, node);
        TB_TRY(selected ? fill_selected(&e->weight, w, exec, error)
                        : fill_ones(&e->weight, exec, error));
        e->in[1 - e->x] = &e->weight;
    } else {
        for (int i = 0; i < node->n_in && i < 8; i++)
            e->in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    }
    e->in[e->x] = &e->ones;
    return e->axis >= 0 ? fill_ones(&e->ones, exec, error)
                        : fill_present(&e->ones, node->in[e->x], program, exec, error);
}

static float *room(const tiba_tensor *t, tb_exec *exec) {
    return tb_scratch(exec, (size_t)tb_tensor_count(t), sizeof(float));
}

/* Sums what the features of each group hold: `from` of the shape `all`, `to` that of `folded`. */
static void fold(float *to, const tiba_tensor *folded, const float *from, const tiba_tensor *all,
                 int axis) {
    enum { STRIP = 256 };
    const int64_t inner = tb_product(all->dims, axis + 1, all->rank),
                  each = all->dims[axis] / folded->dims[axis],
                  rows = inner ? tb_tensor_count(folded) / inner : 0;
    for (int64_t r = 0; r < rows; r++, from += each * inner, to += inner)
        for (int64_t at = 0; at < inner; at += STRIP) {
            const int64_t n = inner - at < STRIP ? inner - at : STRIP;
            double sum[STRIP];
            for (int64_t i = 0; i < n; i++) sum[i] = 0.0;
            for (int64_t k = 0; k < each; k++)
                for (int64_t i = 0; i < n; i++) sum[i] += (double)from[k * inner + at + i];
            for (int64_t i = 0; i < n; i++) to[at + i] = (float)sum[i];
        }
}

/* Gives each feature `factor` times what its group holds. */
static void unfold(float *to, const tiba_tensor *all, const float *from, const tiba_tensor *folded,
                   int axis, float factor) {
    const int64_t inner = tb_product(all->dims, axis + 1, all->rank),
                  each = all->dims[axis] / folded->dims[axis],
                  rows = inner ? tb_tensor_count(folded) / inner : 0;
    for (int64_t r = 0; r < rows; r++, from += inner)
        for (int64_t k = 0; k < each; k++)
            for (int64_t i = 0; i < inner; i++) *to++ = factor * from[i];
}

/* How many features of an axis count as one. */
static float folded(const tiba_tensor *all, const tiba_tensor *one, int axis) {
    return one->dims[axis] ? (float)all->dims[axis] / (float)one->dims[axis] : 1.0f;
}

tiba_status tb_route_merge_down(tiba_tensor *part, int x, const tb_node *node, const tiba_tensor *m,
                                const tb_program *program, tb_exec *exec, tiba_error *error) {
    even e;
    TB_TRY(plan(&e, x, node, program, exec, error));
    tiba_tensor size = e.result, own = e.ones, *outs[1] = {&size}, *din[8] = {NULL};
    *part = node->in[e.x]->t;
    const int64_t count = tb_tensor_count(&size);
    const float *mass = m->data;
    float *s = size.data = room(&size, exec), *folds = NULL;
    own.data = room(&own, exec);
    part->data = e.axis < 0 ? own.data : room(part, exec);
    if (e.axis >= 0) mass = folds = room(&size, exec);
    if (!s || !own.data || !part->data || !mass) return tb_out_of_memory(error);
    if (folds) fold(folds, &size, m->data, m, e.to);
    TB_TRY(e.def->forward(exec, node, e.in, outs, error));
    for (int64_t i = 0; i < count; i++) s[i] = s[i] != 0.0f ? mass[i] / s[i] : 0.0f;
    const tiba_tensor *back[1] = {&size}, *of[1] = {&size};
    din[e.x] = &own;
    TB_TRY(e.def->vjp(exec, node, e.in, of, back, din, error));
    if (e.axis >= 0)
        unfold(part->data, part, own.data, &own, e.axis, 1.0f / folded(part, &own, e.axis));
    return TIBA_OK;
}

tiba_status tb_route_merge_up(float *to, int x, const tb_node *node, const float *const *at,
                              const tb_program *program, tb_exec *exec, tiba_error *error) {
    even e;
    TB_TRY(plan(&e, x, node, program, exec, error));
    const tiba_tensor *all = &node->in[e.x]->t;
    const float *from = at[node->in[e.x]->id];
    tiba_tensor size = e.result, sums = e.result, *ones[1] = {&size}, *outs[1] = {&sums};
    const int64_t count = tb_tensor_count(&size);
    size.data = room(&size, exec);
    sums.data = e.axis < 0 ? to : room(&sums, exec);
    if (!size.data || !sums.data) return tb_out_of_memory(error);
    TB_TRY(e.def->forward(exec, node, e.in, ones, error));
    if (e.axis < 0)
        memcpy(e.ones.data, from, (size_t)tb_tensor_count(all) * sizeof *from);
    else
        fold(e.ones.data, &e.ones, from, all, e.axis);
    TB_TRY(e.def->forward(exec, node, e.in, outs, error));
    const float each = e.axis < 0 ? 1.0f : folded(all, &e.ones, e.axis);
    float *mean = sums.data;
    for (int64_t i = 0; i < count; i++) {
        const float n = ((const float *)size.data)[i] * each;
        mean[i] = n != 0.0f ? mean[i] / n : 0.0f;
    }
    if (e.axis >= 0) unfold(to, &node->out[0]->t, mean, &e.result, e.to, 1.0f);
    return TIBA_OK;
}
