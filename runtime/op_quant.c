/*
 * op_quant.c: QuantizeLinear, DequantizeLinear, both as tiba.FakeQuantize, DynamicQuantizeLinear.
 * Quantised activations are float32 arrays that hold integers. Gradients go straight through
 * rounding and clipping: QuantizeLinear counts as x / scale + zero point. The internal attribute
 * `zero_first` rounds that sum, as onnxruntime's QLinearAdd, QLinearMul and QLinearAveragePool do,
 * where by the definition the quotient is rounded: halves then fall otherwise if the zero point is
 * odd, and what is next to a half becomes one. The attribute's value is the type in which it is
 * done, where 8 bits have the sign or not. The internal attribute `largest` of FakeQuantize says
 * that a scale is given as the largest magnitude that it is for, which becomes that number: x is
 * then multiplied by largest / magnitude, as onnxruntime's MatMulNBits does, so that ties fall
 * alike.
 */
#include <math.h>
#include <string.h>

#include "runtime/clones.h"
#include "runtime/kernel.h"
#include "runtime/lanes.h"

enum { GRAIN = 16384 };

/* What a type holds: integers, or with `bits` of a fraction floats whose least normal exponent is
 * `low`. Numbers as in onnx.TensorProto.DataType; those without a name here are the narrow types,
 * which an output_dtype attribute names. */
static const struct range {
    int type;
    float least, most;
    int bits, low;
} ranges[] = {
    {TIBA_UINT8, 0, 255, 0, 0},
    {TIBA_INT8, -128, 127, 0, 0},
    {TIBA_UINT16, 0, 65535, 0, 0},
    {TIBA_INT16, -32768, 32767, 0, 0},
    {17, -448, 448, 3, -6},      /* float8e4m3fn */
    {18, -240, 240, 3, -7},      /* float8e4m3fnuz */
    {19, -57344, 57344, 2, -14}, /* float8e5m2 */
    {20, -57344, 57344, 2, -15}, /* float8e5m2fnuz */
    {21, 0, 15, 0, 0},           /* uint4 */
    {22, -8, 7, 0, 0},           /* int4 */
    {23, -6, 6, 1, 0},           /* float4e2m1 */
    {25, 0, 3, 0, 0},            /* uint2 */
    {26, -2, 1, 0, 0},           /* int2 */
};

/* x in runs of `length` elements; run r reads scale[offset(r) + step · i]. */
typedef struct quant {
    int64_t runs, length, axis, block, blocks; /* axis, blocks: elements and blocks of the axis */
    enum { PER_TENSOR, PER_AXIS, PER_LAST_AXIS, BLOCKED } kind;
    enum { QUANTIZE, DEQUANTIZE, FAKE } what;
    const float *x, *scale, *zero; /* zero may be NULL: 0 */
    float *y;
    const struct range *to; /* of QuantizeLinear */
    int zero_first;         /* attribute */
    float largest;          /* attribute, 0: none */
} quant;

static int64_t scale_offset(const quant *q, int64_t run) {
    switch (q->kind) {
    case PER_AXIS:
        return run % q->axis;
    case BLOCKED:
        return (run / q->axis * q->blocks + run % q->axis / q->block) * q->length;
    default:
        return 0;
    }
}

static int64_t scale_step(const quant *q) {
    return q->kind == PER_LAST_AXIS || q->kind == BLOCKED;
}

/* To the nearest value with that many bits of a fraction, ties to even. */
static float round_float(float x, int bits, int low) {
    int exponent;
    if (x == 0 || !isfinite(x)) return x;
    frexpf(x, &exponent); /* |x| in [2^(exponent - 1), 2^exponent) */
    float step = ldexpf(1, (exponent - 1 > low ? exponent - 1 : low) - bits);
    return rintf(x / step) * step;
}

static inline float quantize_one(const struct range *to, float x, float before, float after) {
    if (to->bits && x != x) return x;
    float value = to->bits ? round_float(x + after, to->bits, to->low) : rintf(x + before) + after;
    value = value > to->least ? value : to->least; /* a NaN too */
    return value < to->most ? value : to->most;
}

/* What is added before rounding; `zero` less that is added after it. */
static float before_rounding(const quant *q, float zero) {
    if (!q->zero_first || q->to->bits) return 0;
    return zero + (q->zero_first == TIBA_UINT8 ? -q->to->least : 0);
}

/* x to the nearest of the numbers up to q->largest that stand for a block's. */
static float fake_by_largest(const quant *q, float x, float magnitude) {
    const float inverse = magnitude > 0 ? q->largest / magnitude : 0;
    return quantize_one(q->to, x * inverse, 0, 0) * (magnitude / q->largest);
}

/* One scale for all of x, whole numbers. */
TB_CLONES static void quantize_row(float *restrict y, const float *restrict x, int64_t n,
                                   float scale, float before, float after, float least,
                                   float most) {
    for (int64_t i = 0; i < n; i++) {
        float value = rintf(x[i] / scale + before) + after;
        value = value > least ? value : least; /* a NaN too */
        y[i] = value < most ? value : most;
    }
}

/* The numbers that these integers stand for. */
TB_CLONES static void fake_row(float *restrict y, const float *restrict x, int64_t n, float scale,
                               float before, float after, float least, float most) {
    for (int64_t i = 0; i < n; i++) {
        float value = rintf(x[i] / scale + before) + after;
        value = value > least ? value : least; /* a NaN too */
        y[i] = ((value < most ? value : most) - (before + after)) * scale;
    }
}

TB_CLONES static void dequantize_row(float *restrict y, const float *restrict x, int64_t n,
                                     float scale, float zero) {
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - zero) * scale;
}

static void quant_runs(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const quant *q = context;
    int64_t step = scale_step(q);
    for (int64_t run = first; run < last; run++) {
        const float *x = q->x + run * q->length, *scale = q->scale + scale_offset(q, run);
        const float *zero = q->zero ? q->zero + scale_offset(q, run) : NULL;
        float *y = q->y + run * q->length;
        if (q->largest > 0) {
            for (int64_t i = 0; i < q->length; i++)
                y[i] = fake_by_largest(q, x[i], scale[i * step]);
            continue;
        }
        if (step == 0 && q->what == DEQUANTIZE) {
            dequantize_row(y, x, q->length, *scale, zero ? *zero : 0);
            continue;
        }
        if (step == 0 && !q->to->bits) {
            float z = zero ? *zero : 0, before = before_rounding(q, z);
            (q->what == FAKE ? fake_row : quantize_row)(y, x, q->length, *scale, before, z - before,
                                                        q->to->least, q->to->most);
            continue;
        }
        for (int64_t i = 0; i < q->length; i++) {
            float z = zero ? zero[i * step] : 0, value = x[i];
            if (q->what != DEQUANTIZE) {
                float before = before_rounding(q, z);
                value = quantize_one(q->to, value / scale[i * step], before, z - before);
            }
            y[i] = q->what == QUANTIZE ? value : (value - z) * scale[i * step];
        }
    }
}

TB_CLONES static void unscale_row(float *restrict y, const float *restrict x, int64_t n,
                                  float scale) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] / scale;
}

/* dx = dy / scale or dy · scale. */
static void quant_vjp_runs(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const quant *q = context;
    int64_t step = scale_step(q);
    for (int64_t run = first; run < last; run++) {
        const float *dy = q->x + run * q->length, *scale = q->scale + scale_offset(q, run);
        float *dx = q->y + run * q->length;
        if (step == 0) {
            if (q->what == DEQUANTIZE)
                dequantize_row(dx, dy, q->length, *scale, 0);
            else
                unscale_row(dx, dy, q->length, *scale);
            continue;
        }
        for (int64_t i = 0; i < q->length; i++)
            dx[i] = q->what == DEQUANTIZE ? dy[i] * scale[i * step] : dy[i] / scale[i * step];
    }
}

static int64_t row_length(const tiba_tensor *x) {
    return x->rank ? x->dims[x->rank - 1] : 1;
}

/* How scale's shape lies on x's. */
static tiba_status quant_plan(quant *q, const tb_node *node, const tiba_tensor *x,
                              const tiba_tensor *scale, tiba_error *error) {
    *q = (quant){.length = row_length(x)};
    int64_t scales = tb_tensor_count(scale), count = tb_tensor_count(x);
    if (scale->rank <= 1 && scales == 1) {
        q->runs = q->length ? count / q->length : 0;
        return TIBA_OK;
    }
    int axis =
        0; /* a vector has one axis, whatever axis quantisers name for the matrix beside it */
    if (x->rank != 1)
        TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 1), x->rank, error));
    q->axis = x->dims[axis];
    q->length = tb_product(x->dims, axis + 1, x->rank);
    q->runs = q->length ? count / q->length : 0;
    if (scale->rank == 1 && scales == q->axis) {
        q->kind = PER_AXIS;
        if (q->length == 1 && q->axis > 0) {
            q->kind = PER_LAST_AXIS;
            q->length = q->axis;
            q->runs = count / q->length;
        }
        return TIBA_OK;
    }
    q->kind = BLOCKED;
    q->block = tb_attr_int(node, "block_size", 0);
    bool fits = q->block > 0 && scale->rank == x->rank;
    if (fits) q->blocks = q->axis / q->block + (q->axis % q->block != 0);
    for (int i = 0; fits && i < x->rank; i++)
        fits = scale->dims[i] == (i == axis ? q->blocks : x->dims[i]);
    char text_scale[96], text_x[96];
    if (!fits)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "scale %s does not fit %s along axis %d with block_size %lld",
                            tb_shape_text(text_scale, sizeof text_scale, scale->rank, scale->dims),
                            tb_shape_text(text_x, sizeof text_x, x->rank, x->dims), axis,
                            (long long)q->block);
    return TIBA_OK;
}

/* Saturation: the type of a constant zero point, else output_dtype, else uint8. */
static tiba_status quant_range(quant *q, const tb_node *node, const tiba_tensor *zero,
                               tiba_error *error) {
    int64_t named = tb_attr_int(node, "output_dtype", 0);
    int64_t type = named ? named : TIBA_UINT8;
    if (zero && tb_dtype_is_integer(zero->dtype) && !named) type = zero->dtype;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].type == type) {
            q->to = &ranges[i];
            return TIBA_OK;
        }
    return tb_node_fail(error, TIBA_ERROR_INPUT, node, "it quantises to element type %lld",
                        (long long)type);
}

static tiba_status quant_shape(tb_node *node, tiba_error *error) {
    bool quantize = !tb_is(node, TB_OP_DequantizeLinear);
    TB_TRY(tb_need_rank(node, 0, 0, error));
    TB_TRY(tb_need_float(node, 1, error));
    const tiba_tensor *x = &node->in[0]->t, *zero = NULL;
    if (node->n_in > 2 && node->in[2]) zero = &node->in[2]->t;
    quant q;
    TB_TRY(quant_plan(&q, node, x, &node->in[1]->t, error));
    if (zero && tb_tensor_count(zero) != tb_tensor_count(&node->in[1]->t))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "zero point and scale differ in shape");
    if (quantize) {
        TB_TRY(tb_need_float(node, 0, error));
        TB_TRY(quant_range(&q, node, zero, error));
    }
    tiba_tensor *y = &node->out[0]->t;
    y->dtype = TIBA_FLOAT32;
    y->rank = x->rank;
    memcpy(y->dims, x->dims, sizeof y->dims);
    return TIBA_OK;
}

static int64_t grain(const quant *q) {
    return q->length > 0 ? GRAIN / q->length : GRAIN;
}

static tiba_status quant_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    const tiba_tensor *zero = node->n_in > 2 ? in[2] : NULL;
    quant q;
    TB_TRY(quant_plan(&q, node, in[0], in[1], error));
    q.what = tb_is(node, TB_OP_DequantizeLinear) ? DEQUANTIZE
             : tb_is(node, TB_OP_FakeQuantize)   ? FAKE
                                                 : QUANTIZE;
    if (q.what != DEQUANTIZE) TB_TRY(quant_range(&q, node, zero, error));
    q.zero_first = (int)tb_attr_int(node, "zero_first", 0);
    q.largest = (float)tb_attr_int(node, "largest", 0);
    q.x = tb_floats(exec, in[0]);
    q.scale = tb_floats(exec, in[1]);
    q.zero = zero ? tb_floats(exec, zero) : NULL;
    q.y = out[0]->data;
    if (!q.x || !q.scale || (zero && !q.zero)) return tb_out_of_memory(error);
    tb_parallel_ranges(exec, q.runs, grain(&q), quant_runs, &q);
    return TIBA_OK;
}

static tiba_status quant_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                             const tiba_tensor *const *out, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    if (din[1] || (node->n_in > 2 && din[2]))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "scale and zero point carry no gradient");
    if (!din[0]) return TIBA_OK;
    quant q;
    TB_TRY(quant_plan(&q, node, in[0], in[1], error));
    if (tb_is(node, TB_OP_DequantizeLinear)) q.what = DEQUANTIZE;
    q.x = dout[0]->data;
    q.scale = tb_floats(exec, in[1]);
    q.y = din[0]->data;
    if (!q.scale) return tb_out_of_memory(error);
    tb_parallel_ranges(exec, q.runs, grain(&q), quant_vjp_runs, &q);
    return TIBA_OK;
}

static tiba_status fake_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)exec;
    (void)in;
    (void)out;
    if (din[1] || (node->n_in > 2 && din[2]))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "scale and zero point carry no gradient");
    if (din[0]) memcpy(din[0]->data, dout[0]->data, tb_tensor_bytes(din[0]));
    return TIBA_OK;
}

const tb_op_def tb_op_def_QuantizeLinear = {
    .shape = quant_shape, .forward = quant_forward, .vjp = quant_vjp, .needs = TB_NEEDS_IN(1)};
const tb_op_def tb_op_def_DequantizeLinear = {
    .shape = quant_shape, .forward = quant_forward, .vjp = quant_vjp, .needs = TB_NEEDS_IN(1)};

const tb_op_def tb_op_def_FakeQuantize = {
    .shape = quant_shape, .forward = quant_forward, .vjp = fake_vjp, .straight = TB_NEEDS_IN(0)};

/* ---- DynamicQuantizeLinear: y, scale, zero point from the range of x, 0 included ---- */

static tiba_status dynamic_shape(tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_float(node, 0, error));
    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k]) continue;
        tiba_tensor *y = &node->out[k]->t;
        y->dtype = TIBA_FLOAT32;
        y->rank = k == 0 ? node->in[0]->t.rank : 0;
        if (k == 0) memcpy(y->dims, node->in[0]->t.dims, sizeof y->dims);
    }
    return TIBA_OK;
}

/* Least and most of x, each GRAIN of elements by itself; 0 is always within, NaNs are passed over.
 */
typedef struct extremes {
    const float *x;
    int64_t count;
    float (*of)[2];
} extremes;

TB_CLONES static void find_extremes(const float *x, int64_t n, float out[2]) {
    tb_floats_16 least = {0}, most = {0};
    float tail[TB_LANES];
    const int64_t full = tb_tail_16(tail, x, n, 0);
    for (int64_t i = 0; i < n; i += TB_LANES) {
        tb_floats_16 v;
        memcpy(&v, i < full ? x + i : tail, sizeof v);
        const tb_ints_16 below = v<least, above = v> most;
        least = (tb_floats_16)(((tb_ints_16)v & below) | ((tb_ints_16)least & ~below));
        most = (tb_floats_16)(((tb_ints_16)v & above) | ((tb_ints_16)most & ~above));
    }
    out[0] = out[1] = 0;
    for (int l = 0; l < TB_LANES; l++) {
        out[0] = least[l] < out[0] ? least[l] : out[0];
        out[1] = most[l] > out[1] ? most[l] : out[1];
    }
}

static void extremes_of_piece(void *context, int64_t piece, int worker) {
    (void)worker;
    const extremes *e = context;
    int64_t at = piece * GRAIN, left = e->count - at;
    find_extremes(e->x + at, left < GRAIN ? left : GRAIN, e->of[piece]);
}

static tiba_status dynamic_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                   tiba_tensor *const *out, tiba_error *error) {
    int64_t count = tb_tensor_count(in[0]), pieces = (count + GRAIN - 1) / GRAIN;
    extremes e = {in[0]->data, count, tb_scratch(exec, (size_t)pieces + 1, sizeof *e.of)};
    if (!e.of) return tb_out_of_memory(error);
    tb_parallel_for(exec->pool, pieces, extremes_of_piece, &e);
    float least = 0, most = 0;
    for (int64_t i = 0; i < pieces; i++) {
        least = e.of[i][0] < least ? e.of[i][0] : least;
        most = e.of[i][1] > most ? e.of[i][1] : most;
    }
    float scale = (most - least) / 255;
    if (!(scale > 0)) scale = 1; /* all zero: any scale will do */
    float zero = rintf(-least / scale);
    zero = zero < 0 ? 0 : zero > 255 ? 255 : zero;
    if (node->n_out > 1 && out[1]) *(float *)out[1]->data = scale;
    if (node->n_out > 2 && out[2]) *(float *)out[2]->data = zero;
    if (!out[0] || count == 0) return TIBA_OK;
    quant q = {.length = row_length(in[0]),
               .x = e.x,
               .y = out[0]->data,
               .scale = &scale,
               .zero = &zero,
               .to = &ranges[0]}; /* uint8 */
    q.runs = count / q.length;
    tb_parallel_ranges(exec, q.runs, grain(&q), quant_runs, &q);
    return TIBA_OK;
}

static tiba_status dynamic_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               const tiba_tensor *const *out, const tiba_tensor *const *dout,
                               tiba_tensor *const *din, tiba_error *error) {
    (void)in;
    if (!din[0]) return TIBA_OK;
    if (!dout[0] || node->n_out < 2 || !out[1])
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "the scale output is not kept");
    quant q = {
        .length = row_length(din[0]), .x = dout[0]->data, .y = din[0]->data, .scale = out[1]->data};
    q.runs = q.length ? tb_tensor_count(din[0]) / q.length : 0;
    tb_parallel_ranges(exec, q.runs, grain(&q), quant_vjp_runs, &q);
    return TIBA_OK;
}

const tb_op_def tb_op_def_DynamicQuantizeLinear = {.shape = dynamic_shape,
                                                   .forward = dynamic_forward,
                                                   .vjp = dynamic_vjp,
                                                   .needs = TB_NEEDS_OUT(1),
                                                   .inactive_outputs = 1u << 1 | 1u << 2};
