/*
 * Lowering of weights that are stored in blocks of a few bits with a scale each: MatMulNBits,
 * MatMulBnb4, GatherBlockQuantized. They become plain float constants: a weight is then like any
 * other, for the kernels and for the relevance rules.
 */
#include <string.h>

#include "graph/lower.h"

/* The number at `index` in a run of packed `bits`-bit numbers, lowest bits first. */
static float unpacked(const unsigned char *run, int64_t index, int64_t bits) {
    int64_t per_byte = 8 / bits, shift = index % per_byte * bits;
    return (float)(run[index / per_byte] >> shift & ((1 << bits) - 1));
}

static bool is_constant(const tb_value *value, int64_t least) {
    return value && value->t.data && tb_tensor_count(&value->t) >= least;
}

/* ---- MatMulNBits ---------------------------------------------------------------------------- */

typedef struct blocks {
    int64_t rows, columns, bits, size, count; /* size: of a block; count: blocks of a row */
    const unsigned char *packed;
    const tiba_tensor *scales, *zeros;
    const tiba_tensor *groups; /* which block's scale a column has; NULL: its own */
} blocks;

static float zero_point(const blocks *w, int64_t row, int64_t block) {
    if (!w->zeros) return (float)(1 << (w->bits - 1));
    if (w->zeros->dtype != TIBA_UINT8) return (float)tb_get_f64(w->zeros, row * w->count + block);
    int64_t bytes = (w->count * w->bits + 7) / 8;
    return unpacked((const unsigned char *)w->zeros->data + row * bytes, block, w->bits);
}

/* One row per output: [rows, columns] to the transposed float matrix. */
static void dequantize(const blocks *w, float *out) {
    int64_t bytes = w->size * w->bits / 8;
    for (int64_t row = 0; row < w->rows; row++)
        for (int64_t k = 0; k < w->columns; k++) {
            int64_t block = k / w->size, group = w->groups ? tb_get_i64(w->groups, k) : block;
            const unsigned char *run = w->packed + (row * w->count + block) * bytes;
            float scale = (float)tb_get_f64(w->scales, row * w->count + group);
            out[k * w->rows + row] =
                (unpacked(run, k % w->size, w->bits) - zero_point(w, row, group)) * scale;
        }
}

static bool groups_fit(const blocks *w, const tb_value *groups) {
    if (!is_constant(groups, w->columns) || !tb_dtype_is_integer(groups->t.dtype)) return false;
    for (int64_t k = 0; k < w->columns; k++) {
        int64_t group = tb_get_i64(&groups->t, k);
        if (group < 0 || group >= w->count) return false;
    }
    return true;
}

/* Sizes of packed weights from the attributes, checked against what is given: the weight as input
 * `first`, its scales behind it, zero points as input `zero` (-1: none). */
static bool blocks_fit(tb_call *c, blocks *w, int first, int zero) {
    const tb_value *b = tb_call_in(c, first), *scales = tb_call_in(c, first + 1),
                   *zeros = zero < 0 ? NULL : tb_call_in(c, zero);
    bool sizes = w->rows > 0 && w->columns > 0 && w->size >= 16 && (w->size & (w->size - 1)) == 0 &&
                 (w->bits == 2 || w->bits == 4 || w->bits == 8);
    int64_t elements, need;
    if (!sizes) return false;
    w->count = (w->columns - 1) / w->size + 1;
    if (!tb_i64_mul(&elements, w->rows, w->count) ||
        !tb_i64_mul(&need, elements, w->size / 8 * w->bits)) /* size is a multiple of 16 */
        return false;
    if (!is_constant(b, need) || b->t.dtype != TIBA_UINT8 || !is_constant(scales, elements))
        return false;
    if (zeros &&
        !is_constant(zeros, zeros->t.dtype == TIBA_UINT8 ? w->rows * ((w->count * w->bits + 7) / 8)
                                                         : elements))
        return false;
    w->packed = b->t.data;
    w->scales = &scales->t;
    w->zeros = zeros ? &zeros->t : NULL;
    return true;
}

/* A value of the run that carries no gradient. */
static tb_value *detached(tb_value *value) {
    if (value) value->active = false;
    return value;
}

tb_value *tb_emit_rounded_blocks(tb_call *c, tb_value *x, int64_t size) {
    if (c->status != TIBA_OK || x->t.rank < 1 || x->t.rank == TIBA_MAX_RANK) return x;
    int last = x->t.rank - 1;
    int64_t dims[TIBA_MAX_RANK + 1], pads[2 * TIBA_MAX_RANK] = {0}, columns = x->t.dims[last];
    memcpy(dims, x->t.dims, (size_t)last * sizeof *dims);
    if (size > columns && columns > 0) size = columns; /* the one block is not filled up */
    dims[last] = (columns + size - 1) / size;
    dims[last + 1] = size;
    pads[2 * last + 1] = dims[last] * size - columns;
    tb_value *whole = x, *axis = tb_emit_ints(c, 1, (int64_t[]){last + 1});
    if (pads[2 * last + 1])
        whole = tb_emit3(c, TB_OP_Pad, x, tb_emit_ints(c, 2 * last + 2, pads), NULL);
    tb_value *sizes = detached(tb_emit1(c, TB_OP_Abs, tb_emit_reshape(c, whole, last + 2, dims)));
    tb_value *most = detached(tb_emit(c, TB_OP_ReduceMax, 2, (tb_value *[]){sizes, axis}, 1,
                                      &TB_INT_ATTR("keepdims", 0)));
    tb_attr attrs[] = {TB_INT_ATTR("axis", last), TB_INT_ATTR("block_size", size),
                       TB_INT_ATTR("output_dtype", TIBA_INT8), TB_INT_ATTR("largest", 127)};
    return tb_emit(c, TB_OP_FakeQuantize, 2, (tb_value *[]){x, most}, 4, attrs);
}

/* x·Wᵀ. */
static tb_value *multiply(tb_call *c, const blocks *w, tb_value *x, int64_t level) {
    tb_value *weight;
    tiba_tensor *t = tb_emit_tensor(c, &weight, TIBA_FLOAT32, 2, (int64_t[]){w->columns, w->rows});
    if (t) dequantize(w, t->data);
    bool whole = level == 4 && !w->groups &&
                 (w->bits > 2 || w->size >= 32) && /* for others it has no such kernel */
                 (!w->zeros || w->zeros->dtype == TIBA_UINT8);
    if (whole && x) x = tb_emit_rounded_blocks(c, x, w->size);
    return tb_emit2(c, TB_OP_MatMul, x, weight);
}

/* A·Wᵀ (+ bias), W given as [n, blocks, bytes] with a scale and a zero point per block. */
void tb_lower_MatMulNBits(tb_call *c) {
    const tb_node *node = c->node;
    blocks w = {.rows = tb_attr_int(node, "N", 0),
                .columns = tb_attr_int(node, "K", 0),
                .bits = tb_attr_int(node, "bits", 4),
                .size = tb_attr_int(node, "block_size", 0)};
    const tb_value *groups = tb_call_in(c, 4);
    if (tb_attr_int(node, "weight_prepacked", 0)) {
        tb_call_fail(c, "its weight is packed for one kind of processor");
        return;
    }
    /* onnxruntime's processors differ in what they make of it */
    if (groups && (w.bits != 4 || (tb_call_in(c, 3) && c->in[3]->t.dtype == TIBA_UINT8))) {
        tb_call_fail(c, "a group index (input 4) is supported with 4 bits and without packed zero "
                        "points only");
        return;
    }
    if (!blocks_fit(c, &w, 1, 3) || (groups && !groups_fit(&w, groups))) {
        tb_call_fail(c, "its packed weight does not fit its attributes");
        return;
    }
    w.groups = groups ? &groups->t : NULL;
    tb_value *y = multiply(c, &w, tb_call_in(c, 0), tb_attr_int(node, "accuracy_level", 0));
    c->out[0] = tb_emit_add_optional(c, y, tb_call_in(c, 5));
}

/* x by the packed weight at input `first` (its scales behind it) without zero points. */
static tb_value *multiply_by(tb_call *c, tb_value *x, int first, int64_t rows, int64_t columns,
                             int64_t level) {
    blocks w = {.rows = rows,
                .columns = columns,
                .bits = tb_attr_int(c->node, "bits", 4),
                .size = tb_attr_int(c->node, "block_size", 0)};
    if (!blocks_fit(c, &w, first, -1))
        return tb_call_fail(c, "its packed weight (input %d) does not fit its attributes", first);
    return multiply(c, &w, x, level);
}

/* One of several fused products, with the bias that stands behind its scales. */
static tb_value *fused_product(tb_call *c, tb_value *x, int first, const char *rows) {
    tb_value *y =
        multiply_by(c, x, first, tb_attr_int(c->node, rows, 0), tb_attr_int(c->node, "K", 0),
                    tb_attr_int(c->node, "accuracy_level", 0));
    return tb_emit_add_optional(c, y, tb_call_in(c, first + 2));
}

/* A, skip, norm_scale: the normalised (sum of the first two), which output `sum_at` has. */
static tb_value *normalized_input(tb_call *c, int sum_at) {
    tb_value *x = tb_call_in(c, 0), *skip = tb_call_in(c, 1), *scale = tb_call_in(c, 2);
    if (!x || (skip && !scale)) return tb_call_fail(c, "A, or the scale of its norm, is missing");
    if (skip) x = tb_emit2(c, TB_OP_Add, x, skip);
    if (skip && c->n_out > sum_at) c->out[sum_at] = x;
    if (!scale) return x;
    tb_attr attr = TB_FLOAT_ATTR("epsilon", tb_attr_float(c->node, "epsilon", 1e-5f));
    return tb_emit(c, TB_OP_RMSNormalization, 2, (tb_value *[]){x, scale}, 1, &attr);
}

/* act(x·G) ⊙ x·U. */
void tb_lower_MatMulNBitsMlp(tb_call *c) {
    const char *act = tb_attr_string(c->node, "activation", "");
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) {
        tb_call_fail(c, "activation '%.40s' is not supported", act);
        return;
    }
    tb_value *x = normalized_input(c, 1);
    tb_value *gate = fused_product(c, x, 3, "N"), *up = fused_product(c, x, 6, "N");
    c->out[0] = tb_emit2(c, TB_OP_Mul, tb_emit1(c, TB_OP_Swish, gate), up);
}

void tb_lower_MatMulNBitsQkv(tb_call *c) {
    if (!tb_call_in(c, 2)) tb_call_fail(c, "the scale of its norm (input 2) is missing");
    tb_value *x = normalized_input(c, 3);
    for (int i = 0; i < 3; i++)
        if (i < c->n_out) c->out[i] = fused_product(c, x, 3 + 3 * i, i ? "Nkv" : "Nq");
}

/* x·W + (x·A)·B; an adapter of no elements adds nothing. */
void tb_lower_MatMulNBitsQLoRA(tb_call *c) {
    const tb_value *a = tb_call_in(c, 3), *b = tb_call_in(c, 5);
    int64_t n = tb_attr_int(c->node, "N", 0), k = tb_attr_int(c->node, "K", 0),
            level = tb_attr_int(c->node, "accuracy_level", 0);
    tb_value *x = tb_call_in(c, 0);
    c->out[0] = multiply_by(c, x, 1, n, k, level);
    if (!a || !b || !a->t.data || !b->t.data || a->t.rank < 1) {
        tb_call_fail(c, "its adapter must be given, and constant");
        return;
    }
    if (c->status != TIBA_OK || tb_tensor_count(&a->t) == 0 || tb_tensor_count(&b->t) == 0) return;
    int64_t bits = tb_attr_int(c->node, "lora_bits", 4),
            size = tb_attr_int(c->node, "lora_block_size", 32);
    blocks down = {.rows = a->t.dims[0], .columns = k, .bits = bits, .size = size};
    blocks up = {.rows = n, .columns = a->t.dims[0], .bits = bits, .size = size};
    if (!blocks_fit(c, &down, 3, -1) || !blocks_fit(c, &up, 5, -1)) {
        tb_call_fail(c, "its packed adapter does not fit its attributes");
        return;
    }
    tb_value *low = multiply(c, &down, x, level);
    c->out[0] = tb_emit2(c, TB_OP_Add, c->out[0], multiply(c, &up, low, 0));
}

/* ---- MatMulBnb4 ----------------------------------------------------------------------------- */

/* What bitsandbytes' 4-bit codes mean. */
static const float codes_fp4[16] = {
    0,     0.005208333333f,  0.66666667f,  1,  0.33333333f,  0.5f,  0.16666667f,  0.25f,
    -0.0f, -0.005208333333f, -0.66666667f, -1, -0.33333333f, -0.5f, -0.16666667f, -0.25f};
static const float codes_nf4[16] = {-1.0f,
                                    -0.6961928009986877f,
                                    -0.5250730514526367f,
                                    -0.39491748809814453f,
                                    -0.28444138169288635f,
                                    -0.18477343022823334f,
                                    -0.09105003625154495f,
                                    0.0f,
                                    0.07958029955625534f,
                                    0.16093020141124725f,
                                    0.24611230194568634f,
                                    0.33791524171829224f,
                                    0.44070982933044434f,
                                    0.5626170039176941f,
                                    0.7229568362236023f,
                                    1.0f};

/* A·Wᵀ, or A·W with transB = 0; W [n, k] is flat, two codes to a byte (the first in the high bits)
 * and a largest magnitude to a block. */
void tb_lower_MatMulBnb4(tb_call *c) {
    int64_t n = tb_attr_int(c->node, "N", 0), k = tb_attr_int(c->node, "K", 0),
            size = tb_attr_int(c->node, "block_size", 0),
            type = tb_attr_int(c->node, "quant_type", -1), count;
    bool transposed = tb_attr_int(c->node, "transB", 1) != 0;
    const tb_value *b = tb_call_in(c, 1), *largest = tb_call_in(c, 2);
    if (n <= 0 || k <= 0 || size <= 0 || (type != 0 && type != 1) || !tb_i64_mul(&count, n, k) ||
        !is_constant(b, (count + 1) / 2) || b->t.dtype != TIBA_UINT8 ||
        !is_constant(largest, (count - 1) / size + 1)) {
        tb_call_fail(c, "its packed weight does not fit its attributes");
        return;
    }
    const float *codes = type == 0 ? codes_fp4 : codes_nf4;
    const unsigned char *packed = b->t.data;
    tb_value *weight;
    tiba_tensor *t = tb_emit_tensor(c, &weight, TIBA_FLOAT32, 2,
                                    transposed ? (int64_t[]){k, n} : (int64_t[]){n, k});
    for (int64_t i = 0; t && i < count; i++) {
        int code = i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4;
        float value = codes[code] * (float)tb_get_f64(&largest->t, i / size);
        ((float *)t->data)[transposed ? i % k * n + i / k : i] = value;
    }
    c->out[0] = tb_emit2(c, TB_OP_MatMul, tb_call_in(c, 0), weight);
}

/* ---- GatherBlockQuantized ------------------------------------------------------------------- */

/* A table whose axis `axis` has blocks of `size` elements. */
typedef struct table {
    tiba_tensor shape; /* as float */
    int axis;
    int64_t size, bits; /* bits < 8: packed along the last axis */
    const tiba_tensor *data, *scales, *zeros;
} table;

static double table_element(const tiba_tensor *t, int64_t index, int64_t row, int64_t bits) {
    if (bits >= 8) return tb_get_f64(t, index);
    int64_t bytes = (row * bits + 7) / 8; /* rows begin at whole bytes */
    return (double)unpacked((const unsigned char *)t->data + index / row * bytes, index % row,
                            bits);
}

static bool table_fits(table *w) {
    const tiba_tensor *scales = w->scales;
    int last = w->data->rank - 1;
    w->shape = *w->data;
    w->shape.dtype = TIBA_FLOAT32;
    w->shape.data = NULL;
    if (last < 0 || w->axis < 0 || w->axis > last || scales->rank != w->data->rank) return false;
    if (w->bits < 8 && !tb_i64_mul(&w->shape.dims[last], w->shape.dims[last], 8 / w->bits))
        return false;
    if (w->size == 0) w->size = w->shape.dims[w->axis];
    for (int i = 0; i <= last; i++) {
        int64_t n = w->shape.dims[i];
        int64_t want = i == w->axis ? (w->size > 0 ? (n + w->size - 1) / w->size : -1) : n;
        if (scales->dims[i] != want && (i == w->axis || scales->dims[i] != 1)) return false;
    }
    int64_t row = scales->dims[last], need = tb_tensor_count(scales);
    if (w->bits < 8 && row > 0) need = need / row * ((row * w->bits + 7) / 8);
    return !w->zeros || tb_tensor_count(w->zeros) >= need;
}

static void read_table(const table *w, bool unsigned_codes, float *out) {
    int last = w->shape.rank - 1;
    int64_t count = tb_tensor_count(&w->shape), row = w->shape.dims[last],
            scale_row = w->scales->dims[last];
    double middle = unsigned_codes ? (double)(1 << (w->bits - 1)) : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0, step = 1, left = i;
        for (int d = last; d >= 0; d--) {
            int64_t index = left % w->shape.dims[d];
            left /= w->shape.dims[d];
            if (d == w->axis) index /= w->size;
            if (w->scales->dims[d] != 1) at += index * step;
            step *= w->scales->dims[d];
        }
        double zero = w->zeros ? table_element(w->zeros, at, scale_row, w->bits) : middle;
        out[i] =
            (float)((table_element(w->data, i, row, w->bits) - zero) * tb_get_f64(w->scales, at));
    }
}

/* Table, indices, scales, zero points: an embedding table in blocks. */
void tb_lower_GatherBlockQuantized(tb_call *c) {
    const tb_value *data = tb_call_in(c, 0), *scales = tb_call_in(c, 2), *zeros = tb_call_in(c, 3);
    if (!is_constant(data, 1) || !tb_call_in(c, 1) || !is_constant(scales, 1) ||
        (zeros && !zeros->t.data)) {
        tb_call_fail(c, "its table must be a constant");
        return;
    }
    /* uint4 and its like are widened when read */
    bool bytes = tb_call_file_type(c, 0) == TIBA_UINT8;
    int64_t axis = tb_attr_int(c->node, "quantize_axis", 1),
            gather = tb_attr_int(c->node, "gather_axis", 0);
    table w = {.axis = (int)(axis < 0 ? axis + data->t.rank : axis),
               .size = tb_attr_int(c->node, "block_size", 128),
               .bits = bytes ? tb_attr_int(c->node, "bits", 4) : 8,
               .data = &data->t,
               .scales = &scales->t,
               .zeros = zeros ? &zeros->t : NULL};
    bool bits = w.bits == 2 || w.bits == 4 || w.bits == 8;
    if (!bits || w.size < 0 || !table_fits(&w)) {
        tb_call_fail(c, "its scales do not fit its table");
        return;
    }
    tb_value *plain;
    tiba_tensor *t = tb_emit_tensor(c, &plain, TIBA_FLOAT32, w.shape.rank, w.shape.dims);
    if (!t) return;
    read_table(&w, bytes, t->data);
    c->out[0] = tb_emit(c, TB_OP_Gather, 2, (tb_value *[]){plain, c->in[1]}, 1,
                        &TB_INT_ATTR("axis", gather));
}
