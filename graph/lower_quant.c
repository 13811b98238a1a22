/*
 * Lowering of quantised operators. Quantised activations are float32 arrays of integers (op.h), so
 * integer products are products of what is left after the zero point (with a constant weight they
 * run in integers, runtime/gemm_whole.h), and everything between two quantisations is ordinary
 * float arithmetic.
 */
#include <math.h>
#include <string.h>

#include "graph/lower_attention.h"
#include "graph/quant_groups.h"

/* ---- pieces --------------------------------------------------------------------------------- */

static tb_value *as_float(tb_call *c, tb_value *x) {
    return x ? tb_emit_cast(c, x, TIBA_FLOAT32) : NULL;
}

/* A parameter that is one number, or one per element of x's axis: shaped to broadcast there. */
static tb_value *along(tb_call *c, tb_value *parameter, const tb_value *x, int64_t axis) {
    if (c->status != TIBA_OK || !parameter || parameter->t.rank != 1) return parameter;
    if (parameter->t.dims[0] == 1) return tb_emit_reshape(c, parameter, 0, NULL);
    int64_t dims[TIBA_MAX_RANK];
    if (axis < 0) axis += x->t.rank;
    for (int i = 0; i < x->t.rank; i++) dims[i] = i == axis ? parameter->t.dims[0] : 1;
    return tb_emit_reshape(c, parameter, x->t.rank, dims);
}

/* Are these whole numbers in units of 1 that were rounded with this zero point? */
static bool rounded_to_ones(const tb_value *x, const tb_value *zero) {
    double scale, mine, other;
    const tb_node *from = x->producer;
    return tb_is(from, TB_OP_QuantizeLinear) && from->n_in > 2 &&
           tb_scalar_constant(from->in[1], &scale) && scale == 1 &&
           tb_scalar_constant(from->in[2], &mine) && tb_scalar_constant(zero, &other) &&
           mine == other;
}

/* x - zero point, in float. */
static tb_value *centred(tb_call *c, tb_value *x, tb_value *zero, int64_t axis) {
    if (c->status != TIBA_OK) return NULL;
    if (!x) return tb_call_fail(c, "an operand is missing");
    x = as_float(c, x);
    if (!zero) return x;
    double value;
    if (tb_scalar_constant(zero, &value) && value == 0) return x;
    if (rounded_to_ones(x, zero)) return tb_emit_fake_quantize(c, x->producer);
    return tb_emit2(c, TB_OP_Sub, x, along(c, as_float(c, zero), x, axis));
}

/* (x - zero point) · scale. */
static tb_value *real(tb_call *c, int x, int scale, int zero, int64_t axis) {
    tb_value *y = centred(c, tb_call_in(c, x), tb_call_in(c, zero), axis);
    if (c->status != TIBA_OK) return NULL;
    if (!tb_call_in(c, scale)) return tb_call_fail(c, "its scale (input %d) is missing", scale);
    return tb_emit2(c, TB_OP_Mul, y, along(c, c->in[scale], y, axis));
}

/* x rounded to integers with `scale` and input `zero` of the call, as its kernel rounds. */
static tb_value *round_to(tb_call *c, tb_value *x, tb_value *scale, int zero) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *in[] = {x, scale, tb_call_in(c, zero)};
    const char *kernel = c->node->op_type;
    bool zero_first = strncmp(kernel, "QLinear", 7) == 0 && tb_kernel_adds_zero_first(kernel + 7);
    return tb_emit(c, TB_OP_QuantizeLinear, 3, in, zero_first,
                   &TB_INT_ATTR("zero_first", in[2] ? in[2]->t.dtype : TIBA_UINT8));
}

/* The same with input `scale`. */
static tb_value *quantized(tb_call *c, tb_value *x, int scale, int zero) {
    return round_to(c, x, tb_call_in(c, scale), zero);
}

static tb_value *product(tb_call *c, tb_value *a, tb_value *b) {
    return tb_emit2(c, TB_OP_Mul, a, b);
}

/* `unit` in the units of the result: of what is rounded with input `scale`. */
static tb_value *in_units_of(tb_call *c, tb_value *unit, int scale) {
    if (c->status != TIBA_OK) return NULL;
    if (!tb_call_in(c, scale)) return tb_call_fail(c, "its scale (input %d) is missing", scale);
    return tb_emit2(c, TB_OP_Div, unit, c->in[scale]);
}

/* Rounded to whole numbers. */
static tb_value *rounded(tb_call *c, tb_value *x, int scale, int zero) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *one =
        tb_emit_reshape(c, tb_emit_scalar(c, 1), c->in[scale]->t.rank, c->in[scale]->t.dims);
    return round_to(c, x, one, zero);
}

/* Whole numbers x in units of `unit`, rounded to the result's units: one multiplication, as
 * onnxruntime does, so that ties round alike. */
static tb_value *requantized(tb_call *c, tb_value *x, tb_value *unit, int scale, int zero) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *factor = in_units_of(c, unit, scale);
    if (unit != tb_call_in(c, scale)) x = product(c, x, factor);
    return rounded(c, x, scale, zero);
}

/* A scale per column of a matrix product [.., rows, columns]; [1] and scalars are scalars. */
static tb_value *per_column(tb_call *c, tb_value *scale) {
    if (c->status != TIBA_OK || !scale || tb_tensor_count(&scale->t) != 1) return scale;
    return tb_emit_reshape(c, scale, 0, NULL);
}

/* A scale or zero point per row of A: [rows] as [rows, 1]. */
static tb_value *per_row(tb_call *c, tb_value *parameter) {
    if (c->status != TIBA_OK || !parameter || parameter->t.rank != 1 || parameter->t.dims[0] == 1)
        return per_column(c, parameter);
    return tb_emit_reshape(c, parameter, 2, (int64_t[]){parameter->t.dims[0], 1});
}

/* x with its channels moved from the last axis to the second one, or back (`to_last`). */
static tb_value *channels(tb_call *c, tb_value *x, bool to_last) {
    if (c->status != TIBA_OK || !x || x->t.rank < 3) return x;
    int last = x->t.rank - 1;
    int64_t perm[TIBA_MAX_RANK] = {0};
    for (int i = 1; i <= last; i++) perm[i] = to_last ? i % last + 1 : (i + last - 2) % last + 1;
    return tb_emit_transpose(c, x, x->t.rank, perm);
}

/* ---- matrix products ------------------------------------------------------------------------ */

/* (A - a_zero)·(B - b_zero) from four inputs of the call; A's zero point may be per row. */
static tb_value *integer_matmul(tb_call *c, tb_value *a, tb_value *a_zero, tb_value *b,
                                tb_value *b_zero) {
    return tb_emit2(c, TB_OP_MatMul, centred(c, a, per_row(c, a_zero), -2),
                    centred(c, b, b_zero, -1));
}

void tb_lower_MatMulInteger(tb_call *c) {
    c->out[0] =
        integer_matmul(c, tb_call_in(c, 0), tb_call_in(c, 2), tb_call_in(c, 1), tb_call_in(c, 3));
}

/* (A - a_zero)·(B - b_zero)·unit with a constant B, which takes the unit: the product then knows
 * whole numbers and what they are multiplied by (tb_value.step). NULL where that does not fit. */
static tb_value *scaled_matmul(tb_call *c, tb_value *a, tb_value *a_zero, tb_value *b,
                               tb_value *b_zero, tb_value *unit) {
    if (c->status != TIBA_OK || !b || !b->t.data || !b_zero || !b_zero->t.data) return NULL;
    if (!unit->t.data || unit->t.rank > 1 || b->t.rank < 2) return NULL;
    if (tb_tensor_count(&unit->t) != tb_tensor_count(&b_zero->t)) return NULL;
    tb_value *in[] = {b, unit, b_zero};
    tb_value *w = tb_emit(c, TB_OP_DequantizeLinear, 3, in, 1, &TB_INT_ATTR("axis", -1));
    return tb_emit2(c, TB_OP_MatMul, centred(c, a, per_row(c, a_zero), -2), w);
}

/* a, its scale and zero point, b, its …, the result's … */
void tb_lower_QLinearMatMul(tb_call *c) {
    tb_value *a = tb_call_in(c, 0), *a_zero = tb_call_in(c, 2), *b = tb_call_in(c, 3),
             *b_zero = tb_call_in(c, 5);
    tb_value *unit = product(c, per_row(c, tb_call_in(c, 1)), per_column(c, tb_call_in(c, 4)));
    tb_value *factor = in_units_of(c, unit, 6);
    tb_value *y = scaled_matmul(c, a, a_zero, b, b_zero, factor);
    if (!y && c->status == TIBA_OK) y = product(c, integer_matmul(c, a, a_zero, b, b_zero), factor);
    c->out[0] = rounded(c, y, 6, 7);
}

/* A, B, scales of both, zero points of both, bias. */
void tb_lower_MatMulIntegerToFloat(tb_call *c) {
    tb_value *y =
        integer_matmul(c, tb_call_in(c, 0), tb_call_in(c, 4), tb_call_in(c, 1), tb_call_in(c, 5));
    if (c->status != TIBA_OK) return;
    y = product(c, y, product(c, per_row(c, tb_call_in(c, 2)), per_column(c, tb_call_in(c, 3))));
    c->out[0] = tb_emit_add_optional(c, y, tb_call_in(c, 6));
}

/* Float A, quantised while running; B, its scale and zero point, bias. */
void tb_lower_DynamicQuantizeMatMul(tb_call *c) {
    tb_value *a[3] = {NULL};
    if (!tb_call_in(c, 0)) {
        tb_call_fail(c, "input 0 is missing");
        return;
    }
    c->status = tb_build(c->b, a, 3, TB_OP_DynamicQuantizeLinear, 1, c->in, 0, NULL, c->error);
    tb_value *y = integer_matmul(c, a[0], a[2], tb_call_in(c, 1), tb_call_in(c, 3));
    if (c->status != TIBA_OK) return;
    y = product(c, y, product(c, a[1], per_column(c, tb_call_in(c, 2))));
    c->out[0] = tb_emit_add_optional(c, y, tb_call_in(c, 4));
}

/* A, scale, zero point, B, …, C (int32, in units of both scales), the result's scale and zero
 * point; without them the result is float. */
void tb_lower_QGemm(tb_call *c) {
    tb_value *a = centred(c, tb_call_in(c, 0), tb_call_in(c, 2), -2),
             *b = centred(c, tb_call_in(c, 3), tb_call_in(c, 5),
                          tb_attr_int(c->node, "transB", 0) ? 0 : -1);
    if (tb_attr_int(c->node, "transA", 0)) a = tb_emit_swap(c, a);
    if (tb_attr_int(c->node, "transB", 0)) b = tb_emit_swap(c, b);
    tb_value *y = tb_emit2(c, TB_OP_MatMul, a, b);
    if (c->status != TIBA_OK) return;
    y = tb_emit_add_optional(c, y, as_float(c, tb_call_in(c, 6)));
    tb_value *unit = product(c, per_column(c, tb_call_in(c, 1)), per_column(c, tb_call_in(c, 4)));
    unit = tb_emit_scale(c, unit, (double)tb_attr_float(c->node, "alpha", 1.0f));
    c->out[0] = tb_call_in(c, 7) ? requantized(c, y, unit, 7, 8) : product(c, y, unit);
}

/* input, weight, bias, scales of both, mask, zero points of both, past */
void tb_lower_QAttention(tb_call *c) {
    tb_value *y =
        integer_matmul(c, tb_call_in(c, 0), tb_call_in(c, 6), tb_call_in(c, 1), tb_call_in(c, 7));
    if (c->status != TIBA_OK) return;
    y = product(c, y, product(c, per_column(c, tb_call_in(c, 3)), per_column(c, tb_call_in(c, 4))));
    y = tb_emit_add_optional(c, y, tb_call_in(c, 2));
    if (c->status == TIBA_OK && y->t.rank == 3)
        tb_lower_packed_attention(c, y, (tb_packed_inputs){.mask = 5, .past = 8});
}

/* ---- convolutions --------------------------------------------------------------------------- */

/* One filter zero point or scale per output channel, for the filters and for the result. */
static tb_value *convolved(tb_call *c, tb_value *x, tb_value *x_zero, tb_value *w,
                           tb_value *w_zero) {
    tb_value *in[] = {centred(c, x, x_zero, 1), centred(c, w, w_zero, 0)};
    return tb_emit(c, TB_OP_Conv, 2, in, c->n_attrs, c->attrs);
}

void tb_lower_ConvInteger(tb_call *c) {
    c->out[0] =
        convolved(c, tb_call_in(c, 0), tb_call_in(c, 2), tb_call_in(c, 1), tb_call_in(c, 3));
}

/* x, scale, zero point, w, …, the result's …, bias (int32, in units of both scales) */
void tb_lower_QLinearConv(tb_call *c) {
    bool last = tb_attr_int(c->node, "channels_last", 0) != 0;
    tb_call_drop_attr(c, "channels_last");
    tb_value *x = last ? channels(c, tb_call_in(c, 0), false) : tb_call_in(c, 0);
    tb_value *y = convolved(c, x, tb_call_in(c, 2), tb_call_in(c, 3), tb_call_in(c, 5));
    if (c->status != TIBA_OK) return;
    tb_value *bias = tb_call_in(c, 8);
    if (bias) y = tb_emit2(c, TB_OP_Add, y, along(c, as_float(c, bias), y, 1));
    tb_value *unit = along(c, product(c, tb_call_in(c, 1), tb_call_in(c, 4)), y, 1);
    y = requantized(c, y, unit, 6, 7);
    c->out[0] = last ? channels(c, y, true) : y;
}

/* MaxPool of whole numbers [n, .., channels]. */
void tb_lower_NhwcMaxPool(tb_call *c) {
    tb_value *x = channels(c, tb_call_in(c, 0), false);
    c->out[0] = channels(c, tb_emit(c, TB_OP_MaxPool, 1, &x, c->n_attrs, c->attrs), true);
}

/* ---- element by element --------------------------------------------------------------------- */

/* What runtime/quant_kernel.h rounds by, from inputs of the call: the scales of `operands` operands
 * and of the result, each with its zero point behind it. False where they are not known beforehand.
 */
static bool kernel_attr(tb_call *c, tb_attr *attr, int operands, const int *scales) {
    const int64_t count = 2 * (operands + 1);
    double value;
    float *units = TB_NEW(c->b->graph->arena, float, (size_t)count);
    if (!units) c->status = tb_out_of_memory(c->error);
    for (int i = 0; units && i < count; i++) {
        const tb_value *in = tb_call_in(c, scales[i / 2] + i % 2);
        if (!in && i % 2 == 0) return false;
        if (in && !tb_scalar_constant(in, &value)) return false;
        units[i] = in ? (float)value : 0;
    }
    *attr = (tb_attr){.name = "kernel", .kind = TB_ATTR_FLOATS, .count = count, .floats = units};
    return units != NULL;
}

/* The same for operands that are in units of the result. */
static bool sum_attr(tb_call *c, tb_attr *attr) {
    if (c->status != TIBA_OK || !kernel_attr(c, attr, 2, (const int[]){1, 4, 6})) return false;
    float *units = TB_NEW(c->b->graph->arena, float, 6);
    if (!units) {
        c->status = tb_out_of_memory(c->error);
        return false;
    }
    memcpy(units, attr->floats, 6 * sizeof *units);
    for (int i = 0; i < 6; i += 2) units[i] /= attr->floats[4];
    attr->floats = units;
    return true;
}

/* A, scale, zero point, B, …, the result's …: added in units of the result, as onnxruntime does, so
 * that ties round alike. A mask of -3e38 makes that unit so large that scores, of which all are 0
 * then, would be below what a division of relevance takes for 0: they are added as they are. */
void tb_lower_QLinearAdd(tb_call *c) {
    tb_value *y[2], *scale = tb_call_in(c, 6);
    double step;
    bool vast = scale && tb_scalar_constant(scale, &step) && step > 1e6;
    for (int i = 0; i < 2; i++) {
        tb_value *unit = tb_call_in(c, 3 * i + 1);
        y[i] = product(c, centred(c, tb_call_in(c, 3 * i), tb_call_in(c, 3 * i + 2), -1),
                       vast ? unit : tb_emit2(c, TB_OP_Div, unit, scale));
    }
    tb_attr attr;
    bool known = !vast && sum_attr(c, &attr);
    tb_value *sum = tb_emit(c, TB_OP_Add, 2, y, known, &attr);
    c->out[0] = vast ? quantized(c, sum, 6, 7) : requantized(c, sum, scale, 6, 7);
}

void tb_lower_QLinearMul(tb_call *c) {
    tb_value *y = product(c, centred(c, tb_call_in(c, 0), tb_call_in(c, 2), -1),
                          centred(c, tb_call_in(c, 3), tb_call_in(c, 5), -1));
    tb_value *unit = product(c, tb_call_in(c, 1), tb_call_in(c, 4));
    c->out[0] = requantized(c, y, unit, 6, 7);
}

/* X, scale, zero point, the result's …; the attributes named are passed on. */
static void quantized_one(tb_call *c, tb_op_kind kind, const char *const *names) {
    tb_attr attrs[8];
    int n = 0;
    for (; *names; names++) {
        const tb_attr *attr = tb_find_attr(c->node, *names);
        if (attr && n < 8) attrs[n++] = *attr;
    }
    tb_value *x = real(c, 0, 1, 2, -1);
    bool last = tb_attr_int(c->node, "channels_last", 0) != 0;
    if (last) x = channels(c, x, false);
    tb_value *y = tb_emit(c, kind, 1, &x, n, attrs);
    if (last) y = channels(c, y, true);
    c->out[0] = quantized(c, y, 3, 4);
}

void tb_lower_QLinearSigmoid(tb_call *c) {
    quantized_one(c, TB_OP_Sigmoid, (const char *const[]){NULL});
}

void tb_lower_QLinearLeakyRelu(tb_call *c) {
    quantized_one(c, TB_OP_LeakyRelu, (const char *const[]){"alpha", NULL});
}

void tb_lower_QLinearGlobalAveragePool(tb_call *c) {
    quantized_one(c, TB_OP_GlobalAveragePool, (const char *const[]){NULL});
}

void tb_lower_QLinearAveragePool(tb_call *c) {
    quantized_one(c, TB_OP_AveragePool,
                  (const char *const[]){"auto_pad", "ceil_mode", "count_include_pad",
                                        "kernel_shape", "pads", "strides", NULL});
}

/* `opset` names the ai.onnx version whose axis it means: before 13 all from `axis` on. */
void tb_lower_QLinearSoftmax(tb_call *c) {
    tb_value *x = real(c, 0, 1, 2, -1);
    if (c->status != TIBA_OK) return;
    bool newer = tb_attr_int(c->node, "opset", 13) >= 13;
    int64_t axis = tb_attr_int(c->node, "axis", newer ? -1 : 1), rows = 1;
    tiba_tensor shape = x->t;
    if (axis < 0) axis += shape.rank;
    if (!newer && axis >= 0 && axis < shape.rank - 1) {
        for (int i = 0; i < axis; i++) rows *= shape.dims[i];
        x = tb_emit_reshape(c, x, 2, (int64_t[]){rows, -1});
        axis = 1;
    }
    tb_attr attrs[2] = {TB_INT_ATTR("axis", axis)};
    bool known = kernel_attr(c, &attrs[1], 1, (const int[]){1, 3});
    if (tb_call_in(c, 3)) c->in[3] = tb_emit_whole_steps(c, c->in[3]);
    tb_value *y = tb_emit(c, TB_OP_Softmax, 1, &x, 1 + known, attrs);
    c->out[0] = quantized(c, tb_emit_reshape(c, y, shape.rank, shape.dims), 3, 4);
}

void tb_lower_QLinearReduceMean(tb_call *c) {
    int64_t count;
    const int64_t *axes = tb_attr_ints(c->node, "axes", &count);
    tb_value *in[] = {real(c, 0, 1, 2, -1), axes ? tb_emit_ints(c, (int)count, axes) : NULL};
    tb_value *y = tb_emit(c, TB_OP_ReduceMean, 2, in, 1,
                          &TB_INT_ATTR("keepdims", tb_attr_int(c->node, "keepdims", 1)));
    c->out[0] = quantized(c, y, 3, 4);
}

/* The result's scale and zero point, then X, scale, zero point of every part. */
void tb_lower_QLinearConcat(tb_call *c) {
    int count = (c->n_in - 2) / 3;
    if (count < 1 || c->n_in != 2 + 3 * count) {
        tb_call_fail(c, "has %d inputs, expected two and three for each part", c->n_in);
        return;
    }
    tb_value **parts = TB_NEW(c->b->graph->arena, tb_value *, count);
    if (!parts) {
        c->status = tb_out_of_memory(c->error);
        return;
    }
    for (int i = 0; i < count; i++) parts[i] = real(c, 3 * i + 2, 3 * i + 3, 3 * i + 4, -1);
    tb_value *y = tb_emit(c, TB_OP_Concat, count, parts, 1,
                          &TB_INT_ATTR("axis", tb_attr_int(c->node, "axis", 0)));
    c->out[0] = quantized(c, y, 0, 1);
}

/* condition, X, scale, zero point, Y, …, the result's … */
void tb_lower_QLinearWhere(tb_call *c) {
    tb_value *y =
        tb_emit3(c, TB_OP_Where, tb_call_in(c, 0), real(c, 1, 2, 3, -1), real(c, 4, 5, 6, -1));
    c->out[0] = quantized(c, y, 7, 8);
}

/* ---- formats of other tools ------------------------------------------------------------------ */

/* QONNX (Brevitas, QKeras, FINN): rounded to `bits` bits and back, in float. Weights are computed
 * at once by the formula; activations have the step of a FakeQuantize. */
void tb_lower_Quant(tb_call *c) {
    tb_value *x = tb_call_in(c, 0), *scale = tb_call_in(c, 1), *zero = tb_call_in(c, 2),
             *width = tb_call_in(c, 3);
    double bits, point = 0;
    if (!x || !scale || !width || !tb_scalar_constant(width, &bits) || !(bits >= 1 && bits <= 32)) {
        tb_call_fail(c, "its bit width (input 3) is no constant from 1 to 32");
        return;
    }
    bool is_signed = tb_attr_int(c->node, "signed", 1) != 0;
    bool narrow = tb_attr_int(c->node, "narrow", 0) != 0;
    const char *mode = tb_attr_string(c->node, "rounding_mode", "ROUND");
    if (strcmp(mode, "ROUND") != 0 && strcmp(mode, "HALF_EVEN") != 0) {
        tb_call_fail(c, "rounding mode '%.20s' is not supported", mode);
        return;
    }
    if (x->t.data) {
        double most = is_signed ? exp2(bits - 1) - 1 : exp2(bits) - 1 - narrow;
        double least = is_signed ? -most - !narrow : 0;
        tb_value *y = tb_emit2(c, TB_OP_Div, x, scale);
        if (zero) y = tb_emit2(c, TB_OP_Add, y, zero);
        y = tb_emit1(c, TB_OP_Round, y);
        y = tb_emit3(c, TB_OP_Clip, y, tb_emit_scalar(c, least), tb_emit_scalar(c, most));
        if (zero) y = tb_emit2(c, TB_OP_Sub, y, zero);
        c->out[0] = tb_emit2(c, TB_OP_Mul, y, scale);
        return;
    }
    static const int types[2][4] = {{26, 22, TIBA_INT8, TIBA_INT16},
                                    {25, 21, TIBA_UINT8, TIBA_UINT16}};
    int which = bits == 2 ? 0 : bits == 4 ? 1 : bits == 8 ? 2 : bits == 16 ? 3 : -1;
    bool one = tb_tensor_count(&scale->t) == 1 && (!zero || tb_scalar_constant(zero, &point));
    if (which < 0 || narrow || !one) {
        tb_call_fail(c, "activations with %g bits%s%s are not supported", bits,
                     narrow ? " without the least number" : "",
                     one ? "" : " and a scale for each channel");
        return;
    }
    tb_value *in[] = {x, tb_emit_reshape(c, scale, 0, NULL),
                      point != 0 ? tb_emit_scalar(c, point) : NULL};
    tb_attr attrs[] = {TB_INT_ATTR("output_dtype", types[!is_signed][which]),
                       TB_INT_ATTR("zero_first", TIBA_INT8)}; /* the sum is rounded */
    c->out[0] = tb_emit(c, TB_OP_FakeQuantize, 3, in, 2, attrs);
}

/* TensorRT's float8, as ModelOpt exports it from PyTorch. */
void tb_lower_TRT_FP8QuantizeLinear(tb_call *c) {
    tb_value *in[] = {tb_call_in(c, 0), tb_call_in(c, 1)};
    if (!in[0] || !in[1]) {
        tb_call_fail(c, "its scale (input 1) is missing");
        return;
    }
    const int float8e4m3fn = 17;
    c->out[0] =
        tb_emit(c, TB_OP_QuantizeLinear, 2, in, 1, &TB_INT_ATTR("output_dtype", float8e4m3fn));
}
