/*
 * Lowering of ai.onnx.ml: what scikit-learn's converters put behind an encoder (scaled features, a
 * linear classifier or regression, normalised probabilities).
 */
#include <string.h>

#include "graph/lower.h"

/* ---- pieces --------------------------------------------------------------------------------- */

/* The list of floats of an attribute as a constant [rows, columns] (columns 0: [rows]); NULL where
 * there is none. */
static tb_value *floats(tb_call *c, const char *name, int64_t rows, int64_t columns) {
    const tb_attr *list = tb_find_attr(c->node, name);
    if (c->status != TIBA_OK || !list) return NULL;
    int64_t n = columns ? rows * columns : rows, dims[] = {rows, columns};
    if (list->kind != TB_ATTR_FLOATS || list->count != n)
        return tb_call_fail(c, "attribute %s is no list of %lld floats", name, (long long)n);
    tb_value *value;
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_FLOAT32, columns ? 2 : 1, dims);
    if (t) memcpy(t->data, list->floats, (size_t)n * sizeof *list->floats);
    return value;
}

static int64_t count_of(const tb_call *c, const char *name) {
    const tb_attr *list = tb_find_attr(c->node, name);
    return list ? list->count : 0;
}

/* The input as [samples, features] of floats; a single axis is one sample. */
static tb_value *features(tb_call *c, int i) {
    tb_value *x = tb_call_in(c, i);
    if (!x) return tb_call_fail(c, "input %d is missing", i);
    if (x->t.rank < 1 || x->t.rank > 2)
        return tb_call_fail(c, "input %d has rank %d, expected 1 or 2", i, x->t.rank);
    x = tb_emit_cast(c, x, TIBA_FLOAT32);
    return x && x->t.rank == 1 ? tb_emit_reshape(c, x, 2, (int64_t[]){1, x->t.dims[0]}) : x;
}

/* x · coefficientsᵀ + intercepts, one row of coefficients for each of `rows` scores. */
static tb_value *linear(tb_call *c, tb_value *x, int64_t rows) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *w = floats(c, "coefficients", rows, x->t.dims[1]);
    if (c->status == TIBA_OK && !w) return tb_call_fail(c, "attribute coefficients is missing");
    tb_value *y = tb_emit2(c, TB_OP_MatMul, x, tb_emit_swap(c, w));
    return tb_emit_add_optional(c, y, floats(c, "intercepts", rows, 0));
}

static tb_value *post_transformed(tb_call *c, tb_value *scores) {
    const char *name = tb_attr_string(c->node, "post_transform", "NONE");
    if (strcmp(name, "NONE") == 0) return scores;
    if (strcmp(name, "LOGISTIC") == 0) return tb_emit1(c, TB_OP_Sigmoid, scores);
    if (strcmp(name, "SOFTMAX") == 0) return tb_emit_softmax(c, scores, 1);
    return tb_call_fail(c, "post_transform '%.40s' is not supported", name);
}

/* ---- operators ------------------------------------------------------------------------------ */

/* Two classes with one row of coefficients: the score s of the second one. The first has -s in
 * front of a logistic function and 1 - s without one (as onnxruntime has it). */
static tb_value *both_classes(tb_call *c, tb_value *score) {
    const char *name = tb_attr_string(c->node, "post_transform", "NONE");
    bool logistic = strcmp(name, "LOGISTIC") == 0;
    if (strcmp(name, "PROBIT") == 0)
        return tb_call_fail(c, "post_transform PROBIT is not supported");
    tb_value *first = logistic ? tb_emit1(c, TB_OP_Neg, score)
                               : tb_emit2(c, TB_OP_Sub, tb_emit_scalar(c, 1), score);
    tb_value *both = tb_emit_concat(c, first, score, 1);
    return logistic ? tb_emit1(c, TB_OP_Sigmoid, both) : both;
}

/* The label of the largest score; of one score, whether it is positive. Text labels have no place
 * in a tensor of numbers: the class stands for them. */
static tb_value *label(tb_call *c, tb_value *scores) {
    const tb_attr *list = tb_find_attr(c->node, "classlabels_ints");
    tb_value *labels = NULL, *best;
    if (list && list->kind == TB_ATTR_INTS) labels = tb_emit_ints(c, (int)list->count, list->ints);
    if (c->status != TIBA_OK) return NULL;
    if (scores->t.dims[1] == 1) {
        best = tb_emit2(c, TB_OP_Greater, scores, tb_emit_scalar(c, 0));
        best = tb_emit_reshape(c, tb_emit_cast(c, best, TIBA_INT64), 1, scores->t.dims);
    } else {
        tb_attr attrs[] = {TB_INT_ATTR("axis", 1), TB_INT_ATTR("keepdims", 0)};
        best = tb_emit(c, TB_OP_ArgMax, 1, &scores, 2, attrs);
    }
    return labels ? tb_emit2(c, TB_OP_Gather, labels, best) : best;
}

void tb_lower_LinearClassifier(tb_call *c) {
    int64_t classes = count_of(c, "classlabels_ints") + count_of(c, "classlabels_strings");
    tb_value *x = features(c, 0);
    if (c->status != TIBA_OK) return;
    if (classes < 2) {
        tb_call_fail(c, "has %lld class labels, expected 2 or more", (long long)classes);
        return;
    }
    int64_t width = x->t.dims[1], n = count_of(c, "coefficients");
    bool one = classes == 2 && n == width;
    tb_value *scores = linear(c, x, one ? 1 : classes);
    if (c->status != TIBA_OK) return;
    if (tb_call_wants(c, 0)) c->out[0] = label(c, scores);
    if (tb_call_wants(c, 1))
        c->out[1] = one ? both_classes(c, scores) : post_transformed(c, scores);
}

void tb_lower_LinearRegressor(tb_call *c) {
    int64_t targets = tb_attr_int(c->node, "targets", 1);
    tb_value *y = linear(c, features(c, 0), targets);
    if (c->status != TIBA_OK) return;
    bool none = strcmp(tb_attr_string(c->node, "post_transform", "NONE"), "NONE") == 0;
    if (targets == 1 && !none) { /* the schema and onnxruntime disagree */
        tb_call_fail(c, "post_transform of a single target is not supported");
        return;
    }
    c->out[0] = post_transformed(c, y);
}

/* (x - offset) · scale */
void tb_lower_Scaler(tb_call *c) {
    int64_t n[] = {count_of(c, "offset"), count_of(c, "scale")};
    tb_value *x = tb_call_in(c, 0);
    if (!x || x->t.rank < 1) {
        tb_call_fail(c, "input 0 is missing or a scalar");
        return;
    }
    for (int i = 0; i < 2; i++)
        if (n[i] > 1 && n[i] != x->t.dims[x->t.rank - 1]) {
            tb_call_fail(c, "attribute %s does not fit the features", i ? "scale" : "offset");
            return;
        }
    x = tb_emit_cast(c, x, TIBA_FLOAT32);
    if (n[0]) x = tb_emit2(c, TB_OP_Sub, x, floats(c, "offset", n[0], 0));
    c->out[0] = n[1] ? tb_emit2(c, TB_OP_Mul, x, floats(c, "scale", n[1], 0)) : x;
}

/* Features divided by their norm; all zero, they stay. */
void tb_lower_Normalizer(tb_call *c) {
    static const struct {
        const char *name;
        tb_op_kind kind;
    } rows[] = {{"MAX", TB_OP_ReduceMax}, {"L1", TB_OP_ReduceL1}, {"L2", TB_OP_ReduceL2}};
    const char *name = tb_attr_string(c->node, "norm", "MAX");
    if (!tb_call_in(c, 0) || c->in[0]->t.rank < 1) {
        tb_call_fail(c, "input 0 is missing or a scalar");
        return;
    }
    tb_value *x = tb_emit_cast(c, c->in[0], TIBA_FLOAT32);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) != 0) continue;
        tb_value *in[] = {x, tb_emit_ints(c, 1, (int64_t[]){-1})};
        tb_value *norm = tb_emit(c, rows[i].kind, 2, in, 1, &TB_INT_ATTR("keepdims", 1));
        tb_value *zero = tb_emit_scalar(c, 0), *one = tb_emit_scalar(c, 1);
        norm = rows[i].kind == TB_OP_ReduceMax
                   ? tb_emit3(c, TB_OP_Where, tb_emit2(c, TB_OP_Equal, norm, zero), one, norm)
                   : tb_emit2(c, TB_OP_Max, norm, tb_emit_scalar(c, 1e-12));
        c->out[0] = tb_emit2(c, TB_OP_Div, x, norm);
        return;
    }
    tb_call_fail(c, "norm '%.40s' is not known", name);
}

/* The features at the indices of input 1, [samples, indices]. */
void tb_lower_ArrayFeatureExtractor(tb_call *c) {
    tb_value *x = tb_call_in(c, 0), *at = tb_call_in(c, 1);
    if (!x || !at || x->t.rank < 1) {
        tb_call_fail(c, "an input is missing or a scalar");
        return;
    }
    if (x->t.rank == 1) x = tb_emit_reshape(c, x, 2, (int64_t[]){1, x->t.dims[0]});
    at = tb_emit_reshape(c, at, 1, (int64_t[]){-1});
    if (c->status != TIBA_OK) return;
    tb_value *in[] = {x, at};
    c->out[0] = tb_emit(c, TB_OP_Gather, 2, in, 1, &TB_INT_ATTR("axis", x->t.rank - 1));
}

/* Inputs side by side, of each the first so many features. */
void tb_lower_FeatureVectorizer(tb_call *c) {
    const tb_attr *list = tb_find_attr(c->node, "inputdimensions");
    tb_value *all = NULL;
    for (int i = 0; i < c->n_in && c->status == TIBA_OK; i++) {
        tb_value *x = features(c, i);
        if (x && list && list->kind == TB_ATTR_INTS && i < list->count) {
            if (list->ints[i] < 1 || list->ints[i] > x->t.dims[1]) {
                tb_call_fail(c, "inputdimensions[%d] does not fit input %d", i, i);
                return;
            }
            if (list->ints[i] < x->t.dims[1]) x = tb_emit_slice(c, x, 1, 0, list->ints[i]);
        }
        all = all ? tb_emit_concat(c, all, x, 1) : x;
    }
    if (!all && c->status == TIBA_OK) tb_call_fail(c, "has no inputs");
    c->out[0] = all;
}

/* 1 where x is above the threshold, else 0. */
void tb_lower_Binarizer(tb_call *c) {
    double threshold = (double)tb_attr_float(c->node, "threshold", 0);
    if (!tb_call_in(c, 0)) {
        tb_call_fail(c, "input 0 is missing");
        return;
    }
    tb_value *x = tb_emit_cast(c, c->in[0], TIBA_FLOAT32);
    x = tb_emit2(c, TB_OP_Greater, x, tb_emit_scalar(c, threshold));
    c->out[0] = tb_emit_cast(c, x, TIBA_FLOAT32);
}
