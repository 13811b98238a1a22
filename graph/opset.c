/*
 * Operator forms of opset 7 and later brought to the newest: one row per operator whose form
 * changed. A row looks at what the node has rather than at its version where the two agree (an
 * `axes` attribute is always the old form), because files are not always true to their version.
 */
#include <string.h>

#include "graph/lower.h"

/* ---- attributes that became inputs ---------------------------------------------------------- */

/* Moves a list attribute to input `index`, unless that input is given. */
static void ints_to_input(tb_call *c, const char *name, int index) {
    int64_t count;
    const int64_t *list = tb_attr_ints(c->node, name, &count);
    tb_call_drop_attr(c, name);
    if (!list || tb_call_in(c, index)) return;
    c->in[index] = tb_emit_ints(c, (int)count, list);
    if (c->n_in <= index) c->n_in = index + 1;
}

static void number_to_input(tb_call *c, const char *name, int index) {
    const tb_attr *attr = tb_find_attr(c->node, name);
    tb_call_drop_attr(c, name);
    if (!attr || attr->kind != TB_ATTR_FLOAT || tb_call_in(c, index)) return;
    c->in[index] = tb_emit_scalar(c, (double)attr->f);
    if (c->n_in <= index) c->n_in = index + 1;
}

static void axes_input(tb_call *c) {
    ints_to_input(c, "axes", 1);
}

static void upgrade_slice(tb_call *c) {
    ints_to_input(c, "starts", 1);
    ints_to_input(c, "ends", 2);
    ints_to_input(c, "axes", 3);
}

static void upgrade_split(tb_call *c) {
    ints_to_input(c, "split", 1);
    if (!tb_call_in(c, 1) && !tb_find_attr(c->node, "num_outputs"))
        tb_call_set_attr(c, TB_INT_ATTR("num_outputs", c->node->n_out));
    /* The count of parts is the count of outputs, read or not. */
    c->n_out = c->node->n_out;
}

static void upgrade_clip(tb_call *c) {
    number_to_input(c, "min", 1);
    number_to_input(c, "max", 2);
    /* Converters write bounds as one-element lists, and as floats for float16 data. */
    for (int i = 1; i < 3 && c->status == TIBA_OK; i++)
        if (tb_call_in(c, i) && c->in[i]->t.dtype != c->in[0]->t.dtype)
            c->in[i] = tb_emit_cast(c, c->in[i], c->in[0]->t.dtype);
}

static void upgrade_pad(tb_call *c) {
    ints_to_input(c, "pads", 1);
    ints_to_input(c, "paddings", 1);
    number_to_input(c, "value", 2);
    if (tb_call_in(c, 0) && tb_call_in(c, 2) && c->in[0]->t.dtype == TIBA_FLOAT32)
        c->in[2] = tb_emit_cast(c, c->in[2], TIBA_FLOAT32);
}

static void upgrade_top_k(tb_call *c) {
    int64_t k = tb_attr_int(c->node, "k", -1);
    tb_call_drop_attr(c, "k");
    if (k < 0 || tb_call_in(c, 1)) return;
    c->in[1] = tb_emit_ints(c, 1, &k);
    c->n_in = 2;
}

/* Before version 20 the axis was an attribute. */
static void upgrade_dft(tb_call *c) {
    int64_t axis = tb_attr_int(c->node, "axis", 1);
    tb_call_drop_attr(c, "axis");
    if (c->node->opset >= 20 || tb_call_in(c, 2)) return;
    c->in[2] = tb_emit_ints(c, 1, &axis);
    c->n_in = 3;
}

/* Nearest of version 10 rounds down along axes that grow and up along those that shrink: if there
 * are both, the latter come first, in a Resize of their own. */
static void shrink_nearest(tb_call *c) {
    const tiba_tensor *scales = &c->in[2]->t;
    bool shrinks = false, grows = false;
    if (!scales->data || scales->rank != 1) return;
    for (int64_t i = 0; i < scales->dims[0]; i++) {
        shrinks = shrinks || tb_get_f64(scales, i) < 1;
        grows = grows || tb_get_f64(scales, i) > 1;
    }
    if (!shrinks) return;
    if (!grows) {
        tb_call_set_attr(c, TB_STRING_ATTR("nearest_mode", "ceil"));
        return;
    }
    tb_value *down, *up;
    tiba_tensor *less = tb_emit_tensor(c, &down, TIBA_FLOAT32, 1, scales->dims);
    tiba_tensor *more = tb_emit_tensor(c, &up, TIBA_FLOAT32, 1, scales->dims);
    if (!less || !more) return;
    for (int64_t i = 0; i < scales->dims[0]; i++) {
        double scale = tb_get_f64(scales, i);
        tb_set_f64(less, i, scale < 1 ? scale : 1);
        tb_set_f64(more, i, scale < 1 ? 1 : scale);
    }
    const tb_attr attrs[] = {TB_STRING_ATTR("coordinate_transformation_mode", "asymmetric"),
                             TB_STRING_ATTR("nearest_mode", "ceil")};
    c->in[0] = tb_emit(c, TB_OP_Resize, 3, (tb_value *[]){c->in[0], NULL, down}, 2, attrs);
    c->in[2] = up;
}

static void upgrade_resize(tb_call *c) {
    if (c->node->opset >= 11 || c->n_in != 2) return;
    /* Version 10: input and scales, corners at the origin. */
    c->in[2] = c->in[1];
    c->in[1] = NULL;
    c->n_in = 3;
    tb_call_set_attr(c, TB_STRING_ATTR("coordinate_transformation_mode", "asymmetric"));
    tb_call_set_attr(c, TB_STRING_ATTR("nearest_mode", "floor"));
    if (strcmp(tb_attr_string(c->node, "mode", "nearest"), "nearest") == 0) shrink_nearest(c);
}

/* ---- types and empty parts ------------------------------------------------------------------ */

static void upgrade_binary(tb_call *c) {
    tb_match_types(c, 0);
    if (c->op->kind == TB_OP_Add || c->op->kind == TB_OP_Mul) tb_upgrade_kernel(c, 2);
}

/* 1 or 0 if all elements of a constant are that, -1 if they differ or are not known yet. */
static int only_truth(const tb_value *condition) {
    int64_t count = condition->t.data ? tb_tensor_count(&condition->t) : 0;
    for (int64_t i = 1; i < count; i++)
        if (!tb_get_i64(&condition->t, i) != !tb_get_i64(&condition->t, 0)) return -1;
    return count ? tb_get_i64(&condition->t, 0) != 0 : -1;
}

/* Does broadcasting `t` with the other leave it as it is? */
static bool covers(const tiba_tensor *t, const tiba_tensor *other) {
    if (other->rank > t->rank) return false;
    for (int d = 0; d < other->rank; d++) {
        int64_t n = other->dims[d];
        if (n != 1 && n != t->dims[t->rank - other->rank + d]) return false;
    }
    return true;
}

/* A choice that is always the same (a variance's degrees of freedom, a mask that hides nothing) is
 * none. */
static void upgrade_where(tb_call *c) {
    tb_match_types(c, 1);
    if (c->n_in != 3 || !c->in[0] || !c->in[1] || !c->in[2]) return;
    int truth = only_truth(c->in[0]);
    if (truth < 0) return;
    tb_value *chosen = c->in[truth ? 1 : 2], *other = c->in[truth ? 2 : 1];
    if (!covers(&chosen->t, &other->t))
        chosen = tb_emit_expand(c, chosen, other->t.rank, other->t.dims);
    if (chosen && !covers(&chosen->t, &c->in[0]->t))
        chosen = tb_emit_expand(c, chosen, c->in[0]->t.rank, c->in[0]->t.dims);
    c->out[0] = chosen;
    c->done = true;
}

/* Parts without elements (an empty past) are left out; a single part needs no Concat. */
static void upgrade_concat(tb_call *c) {
    tb_match_types(c, 0);
    int kept = 0, empty = 0;
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i]) return;
        empty += tb_tensor_count(&c->in[i]->t) == 0;
    }
    int64_t axis = tb_attr_int(c->node, "axis", 1);
    for (int i = 0; i < c->n_in && empty < c->n_in; i++) {
        const tiba_tensor *t = &c->in[i]->t;
        int64_t at = axis < 0 ? axis + t->rank : axis;
        if (at >= 0 && at < t->rank && t->dims[at] == 0) continue;
        c->in[kept++] = c->in[i];
    }
    if (kept == 0) return;
    c->n_in = kept;
    if (kept > 1) return;
    c->out[0] = c->in[0];
    c->done = true;
}

/* ---- other meanings ------------------------------------------------------------------------- */

/* Before version 13 all axes from `axis` on are one; the default was 1. */
static void upgrade_softmax(tb_call *c) {
    if (c->op->kind == TB_OP_Softmax) tb_upgrade_kernel(c, 1);
    if (c->node->opset >= 13 || !tb_call_in(c, 0)) return;
    const tiba_tensor x = c->in[0]->t;
    int64_t axis = tb_attr_int(c->node, "axis", 1);
    if (axis < 0) axis += x.rank;
    if (axis < 0 || axis >= (x.rank > 0 ? x.rank : 1)) {
        tb_call_fail(c, "axis is out of range");
        return;
    }
    int longer = 0; /* axes from `axis` on that count */
    int64_t only = axis, flat[2] = {1, 1};
    for (int i = 0; i < x.rank; i++) {
        flat[i >= axis] *= x.dims[i];
        if (i < axis || x.dims[i] == 1) continue;
        only = i;
        longer++;
    }
    if (longer <= 1) {
        tb_call_set_attr(c, TB_INT_ATTR("axis", only));
        return;
    }
    tb_value *y = tb_emit_reshape(c, c->in[0], 2, flat);
    tb_call_set_attr(c, TB_INT_ATTR("axis", 1));
    y = tb_emit(c, c->op->kind, 1, &y, c->n_attrs, c->attrs);
    c->out[0] = tb_emit_reshape(c, y, x.rank, x.dims);
    c->done = true;
}

/* A mean over all axes from the third on: what tf2onnx writes layer norms of three axes with. */
static void upgrade_global_average_pool(tb_call *c) {
    if (!tb_call_in(c, 0) || c->in[0]->t.rank < 3) return;
    int64_t axes[TIBA_MAX_RANK];
    int n = 0;
    for (int d = 2; d < c->in[0]->t.rank; d++) axes[n++] = d;
    c->op = &tb_ops[TB_OP_ReduceMean];
    c->in[1] = tb_emit_ints(c, n, axes);
    c->n_in = 2;
}

/* spatial = 0 of versions 7 and 8: every element of an example is a channel of its own. */
static void normalize_features(tb_call *c) {
    if (!tb_call_in(c, 0) || c->in[0]->t.rank < 2) return;
    const tiba_tensor x = c->in[0]->t;
    int64_t flat[2] = {x.dims[0], 1};
    for (int i = 1; i < x.rank; i++) flat[1] *= x.dims[i];
    for (int i = 1; i < 5; i++) {
        if (!tb_call_in(c, i) || tb_tensor_count(&c->in[i]->t) != flat[1]) {
            tb_call_fail(c, "input %d does not have an element for each feature", i);
            return;
        }
        c->in[i] = tb_emit_reshape(c, c->in[i], 1, &flat[1]);
    }
    c->in[0] = tb_emit_reshape(c, c->in[0], 2, flat);
    const tb_attr epsilon = TB_FLOAT_ATTR("epsilon", tb_attr_float(c->node, "epsilon", 1e-5f));
    tb_value *y = tb_emit(c, TB_OP_BatchNormalization, 5, c->in, 1, &epsilon);
    c->out[0] = tb_emit_reshape(c, y, x.rank, x.dims);
    c->done = true;
}

/* Statistics of the batch at hand are those of an instance where it is one (weights that are
 * standardised by F.batch_norm). Of several samples each would depend on the others. */
static void normalize_instance(tb_call *c) {
    const tiba_tensor *x = &c->in[0]->t;
    if (x->rank < 3 || x->dims[0] != 1 || tb_call_wants(c, 1) || tb_call_wants(c, 2)) {
        tb_call_fail(c, "training_mode is not supported for this");
        return;
    }
    const tb_attr epsilon = TB_FLOAT_ATTR("epsilon", tb_attr_float(c->node, "epsilon", 1e-5f));
    c->out[0] = tb_emit(c, TB_OP_InstanceNormalization, 3, c->in, 1, &epsilon);
    c->done = true;
}

static void upgrade_batch_normalization(tb_call *c) {
    if (tb_attr_int(c->node, "training_mode", 0) && tb_call_in(c, 0)) {
        normalize_instance(c);
        return;
    }
    bool whole = c->node->opset < 9 && !tb_attr_int(c->node, "spatial", 1);
    tb_call_drop_attr(c, "spatial");
    tb_call_drop_attr(c, "momentum");
    if (whole) normalize_features(c);
}

/* Before version 21 scale and bias had one element per group: repeat them per channel. */
static void upgrade_group_normalization(tb_call *c) {
    int64_t groups = tb_attr_int(c->node, "num_groups", 0);
    if (!tb_call_in(c, 0) || c->in[0]->t.rank < 2 || groups <= 0) return;
    int64_t channels = c->in[0]->t.dims[1];
    for (int i = 1; i < 3 && c->node->opset < 21; i++) {
        if (!tb_call_needs_rank(c, i, 1)) return;
        if (c->in[i]->t.dims[0] != groups || channels % groups) {
            tb_call_fail(c, "scale and bias do not fit %lld groups", (long long)groups);
            return;
        }
        tb_value *v = tb_emit_reshape(c, c->in[i], 2, (int64_t[]){groups, 1});
        v = tb_emit_expand(c, v, 2, (int64_t[]){groups, channels / groups});
        c->in[i] = tb_emit_reshape(c, v, 1, &channels);
    }
}

/* A cast of a quantised activation to an integer type changes nothing: it holds integers as it is,
 * and must stay active (see op.h). */
static bool is_quantised(const tb_value *value) {
    for (int steps = 0; value && value->producer && steps < 16; steps++) {
        const tb_node *node = value->producer;
        if (tb_is(node, TB_OP_QuantizeLinear)) return true;
        if (tb_is(node, TB_OP_DynamicQuantizeLinear)) return value->index != 1;
        if (node->op->class != TB_CLASS_MOVE || tb_is(node, TB_OP_Where)) return false;
        value = node->in[0];
    }
    return false;
}

/* One-hot rows of ids made in whole numbers and cast to float: OneHot in float. */
static void cast_rows(tb_call *c) {
    const tiba_tensor rows = c->in[0]->t;
    int64_t depth = rows.dims[rows.rank - 1];
    tb_value *ids = tb_emit_reshape(c, c->in[0]->rows_of, rows.rank - 1, rows.dims);
    tb_value *values;
    tiba_tensor *t = tb_emit_tensor(c, &values, TIBA_FLOAT32, 1, (int64_t[]){2});
    if (!t) return;
    tb_set_f64(t, 1, 1);
    c->out[0] = tb_emit3(c, TB_OP_OneHot, ids, tb_emit_ints(c, 1, &depth), values);
    c->done = true;
}

static void upgrade_cast(tb_call *c) {
    int64_t to = tb_attr_int(c->node, "to", 0);
    tb_call_drop_attr(c, "saturate");
    if (!tb_call_in(c, 0)) return;
    if (c->in[0]->rows_of && tb_dtype_is_float((tiba_dtype)to)) {
        cast_rows(c);
        return;
    }
    bool same = tb_dtype_is_float((tiba_dtype)to) && c->in[0]->t.dtype == TIBA_FLOAT32;
    if (!same && !(tb_dtype_is_integer((tiba_dtype)to) && is_quantised(c->in[0]))) return;
    c->out[0] = c->in[0];
    c->done = true;
}

/* The value may be stored as any float. */
static void upgrade_constant_of_shape(tb_call *c) {
    const tb_attr *value = tb_find_attr(c->node, "value");
    if (!value || value->kind != TB_ATTR_TENSOR || value->tensor->dtype == TIBA_FLOAT32 ||
        !tb_dtype_is_float(value->tensor->dtype))
        return;
    tb_value *widened;
    tiba_tensor *t =
        tb_emit_tensor(c, &widened, TIBA_FLOAT32, value->tensor->rank, value->tensor->dims);
    if (!t) return;
    tb_convert(t, value->tensor);
    tb_call_set_attr(c, (tb_attr){.name = "value", .kind = TB_ATTR_TENSOR, .tensor = t});
}

/* Which elements are not zero is what counts: of a float that is known only when the graph runs,
 * bools are found out (graph/settle.h). */
static void upgrade_non_zero(tb_call *c) {
    if (!c->in[0]->t.data && tb_dtype_is_float(c->in[0]->t.dtype))
        c->in[0] = tb_emit_cast(c, c->in[0], TIBA_BOOL);
}

void tb_upgrade(tb_call *c) {
    static const struct {
        const char *name;
        tb_rewrite_fn *rewrite;
    } rows[] = {
        {"Add", upgrade_binary},
        {"BatchNormalization", upgrade_batch_normalization},
        {"Cast", upgrade_cast},
        {"Clip", upgrade_clip},
        {"Concat", upgrade_concat},
        {"ConstantOfShape", upgrade_constant_of_shape},
        {"Conv", tb_upgrade_bias},
        {"ConvTranspose", tb_upgrade_bias},
        {"DFT", upgrade_dft},
        {"DequantizeLinear", tb_upgrade_dequantize},
        {"Div", upgrade_binary},
        {"Equal", upgrade_binary},
        {"Gemm", tb_upgrade_product},
        {"GlobalAveragePool", upgrade_global_average_pool},
        {"Greater", upgrade_binary},
        {"GreaterOrEqual", upgrade_binary},
        {"GroupNormalization", upgrade_group_normalization},
        {"Hardmax", upgrade_softmax},
        {"Less", upgrade_binary},
        {"LessOrEqual", upgrade_binary},
        {"LogSoftmax", upgrade_softmax},
        {"MatMul", tb_upgrade_product},
        {"Max", upgrade_binary},
        {"Min", upgrade_binary},
        {"Mul", upgrade_binary},
        {"NonZero", upgrade_non_zero},
        {"Pad", upgrade_pad},
        {"QuantizeLinear", tb_upgrade_quantize},
        {"ReduceL1", axes_input},
        {"ReduceL2", axes_input},
        {"ReduceLogSum", axes_input},
        {"ReduceLogSumExp", axes_input},
        {"ReduceMax", axes_input},
        {"ReduceMean", axes_input},
        {"ReduceMin", axes_input},
        {"ReduceProd", axes_input},
        {"ReduceSum", axes_input},
        {"ReduceSumSquare", axes_input},
        {"Resize", upgrade_resize},
        {"Slice", upgrade_slice},
        {"Softmax", upgrade_softmax},
        {"Split", upgrade_split},
        {"Squeeze", axes_input},
        {"Sub", upgrade_binary},
        {"TopK", upgrade_top_k},
        {"Unsqueeze", axes_input},
        {"Where", upgrade_where},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].name[0] == c->op->name[0] && strcmp(rows[i].name, c->op->name) == 0) {
            rows[i].rewrite(c);
            return;
        }
}
