/*
 * Lowering of onnxruntime's fused operators (com.microsoft): products with activations, GELU forms,
 * sums with normalisation, BERT's embedding. Semantics: onnxruntime's ContribOperators.md.
 */
#include <string.h>

#include "graph/lower.h"

/* ---- activations ---------------------------------------------------------------------------- */

static tb_value *gelu(tb_call *c, tb_value *x, const char *approximate) {
    return tb_emit(c, TB_OP_Gelu, 1, &x, 1, &TB_STRING_ATTR("approximate", approximate));
}

void tb_lower_Gelu(tb_call *c) {
    c->out[0] = gelu(c, tb_call_in(c, 0), "none");
}

void tb_lower_BiasGelu(tb_call *c) {
    c->out[0] = gelu(c, tb_emit_add_optional(c, tb_call_in(c, 0), tb_call_in(c, 1)), "none");
}

void tb_lower_FastGelu(tb_call *c) {
    c->out[0] = gelu(c, tb_emit_add_optional(c, tb_call_in(c, 0), tb_call_in(c, 1)), "tanh");
}

void tb_lower_GemmFastGelu(tb_call *c) {
    tb_value *x = tb_emit2(c, TB_OP_MatMul, tb_call_in(c, 0), tb_call_in(c, 1));
    c->out[0] = gelu(c, tb_emit_add_optional(c, x, tb_call_in(c, 2)), "tanh");
}

static tb_value *swish(tb_call *c, tb_value *x, float alpha) {
    return tb_emit(c, TB_OP_Swish, 1, &x, 1, &TB_FLOAT_ATTR("alpha", alpha));
}

void tb_lower_QuickGelu(tb_call *c) {
    c->out[0] = swish(c, tb_call_in(c, 0), tb_attr_float(c->node, "alpha", 1.702f));
}

/* z · sigmoid(z) of z = scale · x; the scale is an input or alpha. */
void tb_lower_ScaledSiLU(tb_call *c) {
    double scale = (double)tb_attr_float(c->node, "alpha", 1.0f);
    if (tb_call_in(c, 1) && !tb_scalar_constant(c->in[1], &scale)) {
        tb_call_fail(c, "its scale is no constant");
        return;
    }
    c->out[0] = swish(c, tb_emit_scale(c, tb_call_in(c, 0), scale), 1.0f);
}

/* x + y · gate, the gate a number for each row: an input, or a sigmoid of its product. */
void tb_lower_GatedAdd(tb_call *c) {
    tb_value *gate = tb_call_in(c, 2), *weight = tb_call_in(c, 3);
    if (weight) gate = tb_emit1(c, TB_OP_Sigmoid, tb_emit2(c, TB_OP_MatMul, gate, weight));
    tb_value *y = tb_emit2(c, TB_OP_Mul, tb_call_in(c, 1), gate);
    c->out[0] = tb_emit2(c, TB_OP_Add, tb_call_in(c, 0), y);
}

/* Gate and up in two inputs or one behind the other, both clamped where `limit` is positive:
 * gate · sigmoid(alpha gate) · (up + beta). */
void tb_lower_MsSwiGLU(tb_call *c) {
    tb_value *part[2] = {tb_call_in(c, 0), tb_call_in(c, 1)};
    double limit = (double)tb_attr_float(c->node, "limit", 0),
           beta = (double)tb_attr_float(c->node, "activation_beta", 0);
    if (!part[0] || part[0]->t.rank < 1) {
        tb_call_fail(c, "its gate is missing");
        return;
    }
    if (!part[1]) {
        int last = part[0]->t.rank - 1;
        int64_t half = part[0]->t.dims[last] / 2;
        tb_emit_split(c, part[0], last, 2, (int64_t[]){half, half}, part);
    }
    if (limit > 0) {
        tb_value *high = tb_emit_scalar(c, limit), *low = tb_emit_scalar(c, -limit);
        part[0] = tb_emit3(c, TB_OP_Clip, part[0], NULL, high);
        part[1] = tb_emit3(c, TB_OP_Clip, part[1], low, high);
    }
    if (beta != 0) part[1] = tb_emit2(c, TB_OP_Add, part[1], tb_emit_scalar(c, beta));
    tb_value *y = swish(c, part[0], tb_attr_float(c->node, "activation_alpha", 1.0f));
    c->out[0] = tb_emit2(c, TB_OP_Mul, y, part[1]);
}

/* x · sigmoid(alpha x) · gate */
void tb_lower_SwiGLU(tb_call *c) {
    tb_value *x = swish(c, tb_call_in(c, 0), tb_attr_float(c->node, "alpha", 1.0f));
    c->out[0] = tb_emit2(c, TB_OP_Mul, x, tb_call_in(c, 1));
}

/* The first half of the features, gated by the GELU of the second. */
void tb_lower_BiasSplitGelu(tb_call *c) {
    tb_value *x = tb_emit2(c, TB_OP_Add, tb_call_in(c, 0), tb_call_in(c, 1)), *half[2];
    if (!x || x->t.rank < 1) return;
    int64_t size = x->t.dims[x->t.rank - 1] / 2;
    tb_emit_split(c, x, x->t.rank - 1, 2, (int64_t[]){size, size}, half);
    c->out[0] = tb_emit2(c, TB_OP_Mul, half[0], gelu(c, half[1], "none"));
}

void tb_lower_BiasAdd(tb_call *c) {
    tb_value *x = tb_emit2(c, TB_OP_Add, tb_call_in(c, 0), tb_call_in(c, 1));
    c->out[0] = tb_emit2(c, TB_OP_Add, x, tb_call_in(c, 2));
}

void tb_lower_BiasSoftmax(tb_call *c) {
    tb_value *x = tb_emit2(c, TB_OP_Add, tb_call_in(c, 0), tb_call_in(c, 1));
    if (!x) return;
    int64_t axis = tb_attr_int(c->node, "axis", 1), count = 1;
    if (axis < 0) axis += x->t.rank;
    for (int64_t i = axis; i < x->t.rank; i++)
        if (i != x->t.rank - 1) count *= x->t.dims[i];
    if (count != 1) {
        tb_call_fail(c, "a softmax over more than the last axis is not supported");
        return;
    }
    c->out[0] = tb_emit_softmax(c, x, -1);
}

/* ---- products ------------------------------------------------------------------------------- */

/* The activation that an attribute names, with its parameters as further attributes. */
static tb_value *activate(tb_call *c, tb_value *x) {
    static const struct {
        const char *name;
        tb_op_kind kind;
    } rows[] = {{"Relu", TB_OP_Relu},
                {"Tanh", TB_OP_Tanh},
                {"Sigmoid", TB_OP_Sigmoid},
                {"LeakyRelu", TB_OP_LeakyRelu},
                {"HardSigmoid", TB_OP_HardSigmoid},
                {"Elu", TB_OP_Elu},
                {"Softplus", TB_OP_Softplus},
                {"Softsign", TB_OP_Softsign},
                {"Selu", TB_OP_Selu},
                {"ThresholdedRelu", TB_OP_ThresholdedRelu},
                {"HardSwish", TB_OP_HardSwish},
                {"Gelu", TB_OP_Gelu},
                {"Erf", TB_OP_Erf}};
    const char *name = tb_attr_string(c->node, "activation", "");
    if (!name[0]) return x;
    const tb_attr *list = tb_find_attr(c->node, "activation_params");
    bool listed = list && list->kind == TB_ATTR_FLOATS;
    const tb_attr *alpha = tb_find_attr(c->node, "activation_alpha"),
                  *beta = tb_find_attr(c->node, "activation_beta"),
                  *gamma = tb_find_attr(c->node, "activation_gamma");
    tb_attr attrs[3];
    int n = 0;
    if (listed && list->count > 0) attrs[n++] = TB_FLOAT_ATTR("alpha", list->floats[0]);
    if (listed && list->count > 1) attrs[n++] = TB_FLOAT_ATTR("beta", list->floats[1]);
    if (!listed && alpha) attrs[n++] = TB_FLOAT_ATTR("alpha", alpha->f);
    if (!listed && beta) attrs[n++] = TB_FLOAT_ATTR("beta", beta->f);
    if (!listed && gamma) attrs[n++] = TB_FLOAT_ATTR("gamma", gamma->f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) return tb_emit(c, rows[i].kind, 1, &x, n, attrs);
    if (strcmp(name, "Clip") == 0) {
        tb_value *least = n > 0 ? tb_emit_scalar(c, (double)attrs[0].f) : NULL;
        return tb_emit3(c, TB_OP_Clip, x, least,
                        n > 1 ? tb_emit_scalar(c, (double)attrs[1].f) : NULL);
    }
    return tb_call_fail(c, "activation '%.40s' is not supported", name);
}

/* Axis 0 moved behind the batch axes, then the last two swapped, as the attributes say. */
static tb_value *operand(tb_call *c, int i, const char *trans_batch, const char *trans) {
    tb_value *x = tb_call_in(c, i);
    if (c->status != TIBA_OK) return NULL;
    if (!x) return tb_call_fail(c, "input %d is missing", i);
    int rank = x->t.rank;
    int64_t perm[TIBA_MAX_RANK];
    for (int k = 0; k < rank; k++) perm[k] = k;
    if (rank > 2 && tb_attr_int(c->node, trans_batch, 0)) {
        for (int k = 0; k < rank - 2; k++) perm[k] = k + 1;
        perm[rank - 2] = 0;
    }
    if (rank > 1 && tb_attr_int(c->node, trans, 0)) {
        int64_t swap = perm[rank - 1];
        perm[rank - 1] = perm[rank - 2];
        perm[rank - 2] = swap;
    }
    return tb_emit_transpose(c, x, rank, perm);
}

/* alpha · A·B with either operand transposed; TransposeMatMul is its old name. */
void tb_lower_FusedMatMul(tb_call *c) {
    tb_value *a = operand(c, 0, "transBatchA", "transA"),
             *b = operand(c, 1, "transBatchB", "transB");
    tb_value *y = tb_emit2(c, TB_OP_MatMul, a, b);
    y = tb_emit_scale(c, y, (double)tb_attr_float(c->node, "alpha", 1.0f));
    c->out[0] = activate(c, y);
}

void tb_lower_FusedGemm(tb_call *c) {
    static const char *const ours[] = {"activation", "activation_alpha", "activation_beta",
                                       "activation_gamma"};
    for (int i = 0; i < 4; i++) tb_call_drop_attr(c, ours[i]);
    c->out[0] = activate(c, tb_emit(c, TB_OP_Gemm, c->n_in, c->in, c->n_attrs, c->attrs));
}

/* Conv, then a summand (input 3), then the activation. */
void tb_lower_FusedConv(tb_call *c) {
    tb_call_drop_attr(c, "activation");
    tb_call_drop_attr(c, "activation_params");
    int n_in = c->n_in < 3 ? c->n_in : 3;
    tb_value *y = tb_emit(c, TB_OP_Conv, n_in, c->in, c->n_attrs, c->attrs);
    c->out[0] = activate(c, tb_emit_add_optional(c, y, tb_call_in(c, 3)));
}

/* Conv of [n, h, w, channels] with filters [out, h, w, in]. */
void tb_lower_NhwcConv(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 4) || !tb_call_needs_rank(c, 1, 4)) return;
    c->in[0] = tb_emit_transpose(c, c->in[0], 4, (int64_t[]){0, 3, 1, 2});
    c->in[1] = tb_emit_transpose(c, c->in[1], 4, (int64_t[]){0, 3, 1, 2});
    tb_value *sum = tb_call_in(c, 3);
    if (sum) c->in[3] = tb_emit_transpose(c, sum, 4, (int64_t[]){0, 3, 1, 2});
    tb_lower_FusedConv(c);
    c->out[0] = tb_emit_transpose(c, c->out[0], 4, (int64_t[]){0, 2, 3, 1});
}

/* ---- normalisations ------------------------------------------------------------------------- */

static tb_value *normalize(tb_call *c, tb_value *x, tb_value *scale, tb_value *bias, bool rms,
                           float epsilon) {
    tb_attr attrs[] = {TB_INT_ATTR("axis", -1), TB_FLOAT_ATTR("epsilon", epsilon)};
    if (!rms)
        return tb_emit(c, TB_OP_LayerNormalization, 3, (tb_value *[]){x, scale, bias}, 2, attrs);
    tb_value *y = tb_emit(c, TB_OP_RMSNormalization, 2, (tb_value *[]){x, scale}, 2, attrs);
    return tb_emit_add_optional(c, y, bias);
}

static void refuse_statistics(tb_call *c) {
    for (int i = 1; i < 3; i++)
        if (tb_call_wants(c, i)) tb_call_fail(c, "its statistics (output %d) are not supported", i);
}

/* RMSNorm under its old name; axes from `axis` on. */
void tb_lower_SimplifiedLayerNormalization(tb_call *c) {
    refuse_statistics(c);
    tb_attr attrs[] = {TB_INT_ATTR("axis", tb_attr_int(c->node, "axis", -1)),
                       TB_FLOAT_ATTR("epsilon", tb_attr_float(c->node, "epsilon", 1e-5f))};
    c->out[0] = tb_emit(c, TB_OP_RMSNormalization, 2, c->in, 2, attrs);
    if (tb_call_in(c, 2)) c->out[0] = tb_emit2(c, TB_OP_Add, c->out[0], c->in[2]);
}

void tb_lower_LayerNormalization(tb_call *c) {
    c->op = &tb_ops[TB_OP_LayerNormalization];
}

/* Is this the bare result of a product with a weight? */
static bool is_product(const tb_value *value) {
    for (int steps = 0; value->producer && steps < 8; steps++) {
        const tb_node *node = value->producer;
        if (tb_is(node, TB_OP_MatMul) || tb_is(node, TB_OP_Linear))
            return node->in[0]->active != node->in[1]->active;
        if (node->op->class != TB_CLASS_MOVE && !tb_is(node, TB_OP_Cast)) return false;
        value = node->in[0];
    }
    return false;
}

/* input + skip (+ bias), normalised. The bias belongs to the product whose Add was fused away: the
 * sum's rule sees which operand is how large, so it is put back there. Output 3 is the sum. */
static void skip_normalize(tb_call *c, bool rms) {
    tb_value *input = tb_call_in(c, 0), *skip = tb_call_in(c, 1), *gamma = tb_call_in(c, 2);
    tb_value *beta = rms ? NULL : tb_call_in(c, 3), *bias = tb_call_in(c, rms ? 3 : 4);
    if (!input || !skip || !gamma) {
        tb_call_fail(c, "input, skip and gamma must be given");
        return;
    }
    refuse_statistics(c);
    if (bias && is_product(skip) && !is_product(input))
        skip = tb_emit2(c, TB_OP_Add, skip, bias);
    else
        input = tb_emit_add_optional(c, input, bias);
    tb_value *sum = tb_emit2(c, TB_OP_Add, input, skip);
    c->out[0] = normalize(c, sum, gamma, beta, rms,
                          tb_attr_float(c->node, "epsilon", rms ? 1e-5f : 1e-12f));
    if (c->n_out > 3) c->out[3] = sum;
}

void tb_lower_SkipLayerNormalization(tb_call *c) {
    skip_normalize(c, false);
}

void tb_lower_SkipSimplifiedLayerNormalization(tb_call *c) {
    skip_normalize(c, true);
}

/* x of [n, h, w, c] (channels_last) or [n, c, …], with SiLU if activation = 1. */
static void group_normalize(tb_call *c, tb_value *x) {
    bool last = tb_attr_int(c->node, "channels_last", 1) != 0;
    if (last) x = tb_emit_transpose(c, x, 4, (int64_t[]){0, 3, 1, 2});
    tb_attr attrs[] = {TB_INT_ATTR("num_groups", tb_attr_int(c->node, "groups", 1)),
                       TB_FLOAT_ATTR("epsilon", tb_attr_float(c->node, "epsilon", 1e-5f))};
    tb_value *y = tb_emit(c, TB_OP_GroupNormalization, 3,
                          (tb_value *[]){x, tb_call_in(c, 1), tb_call_in(c, 2)}, 2, attrs);
    if (tb_attr_int(c->node, "activation", 0)) y = swish(c, y, 1.0f);
    c->out[0] = last ? tb_emit_transpose(c, y, 4, (int64_t[]){0, 2, 3, 1}) : y;
}

void tb_lower_GroupNorm(tb_call *c) {
    if (tb_call_needs_rank(c, 0, 4)) group_normalize(c, c->in[0]);
}

/* x, gamma, beta, skip [n, c], [n, 1, 1, c] or as x, bias: normalised is the sum, output 1. */
void tb_lower_SkipGroupNorm(tb_call *c) {
    tb_value *skip = tb_call_in(c, 3), *bias = tb_call_in(c, 4);
    if (!tb_call_needs_rank(c, 0, 4)) return;
    bool last = tb_attr_int(c->node, "channels_last", 1) != 0;
    int64_t channels = c->in[0]->t.dims[last ? 3 : 1], all[4] = {1, 1, 1, 1};
    if (!skip || (skip->t.rank != 2 && skip->t.rank != 4)) {
        tb_call_fail(c, "its skip must have 2 or 4 dimensions");
        return;
    }
    all[last ? 3 : 1] = channels;
    if (bias && !last) bias = tb_emit_reshape(c, bias, 4, all);
    all[0] = skip->t.dims[0];
    if (skip->t.rank == 2 || (skip->t.dims[1] == 1 && skip->t.dims[2] == 1))
        skip = tb_emit_reshape(c, skip, 4, all);
    tb_value *sum = tb_emit_add_optional(c, tb_emit2(c, TB_OP_Add, c->in[0], skip), bias);
    group_normalize(c, sum);
    if (c->n_out > 1) c->out[1] = sum;
}

/* Groups of `size` features of x normalised by themselves; x in its own shape again. */
static tb_value *normalize_groups(tb_call *c, tb_value *x, int64_t size, tb_value *scale) {
    if (c->status != TIBA_OK) return NULL;
    int rank = x->t.rank;
    int64_t dims[TIBA_MAX_RANK], last = rank > 0 ? x->t.dims[rank - 1] : 0;
    if (rank < 1 || rank == TIBA_MAX_RANK || size <= 0 || last % size)
        return tb_call_fail(c, "its features cannot be split into groups of %lld", (long long)size);
    memcpy(dims, x->t.dims, sizeof dims);
    dims[rank - 1] = last / size;
    dims[rank] = size;
    tb_value *ones = scale;
    if (!scale || scale->t.rank != 1 || scale->t.dims[0] != size) {
        tiba_tensor *t = tb_emit_tensor(c, &ones, TIBA_FLOAT32, 1, &size);
        for (int64_t i = 0; t && i < size; i++) tb_set_f64(t, i, 1);
    }
    tb_value *y = size == last ? x : tb_emit_reshape(c, x, rank + 1, dims);
    y = normalize(c, y, ones, NULL, true, tb_attr_float(c->node, "epsilon", 1e-5f));
    y = tb_emit_reshape(c, y, rank, x->t.dims);
    if (ones == scale || !scale) return y;
    int64_t count = tb_tensor_count(&scale->t);
    return tb_emit2(c, TB_OP_Mul, y, count == last ? tb_emit_reshape(c, scale, 1, &last) : scale);
}

/* Branches [.., c, h], or [.., c · h] with num_branches; their scale is [c · h], [c, h] or [h]. */
void tb_lower_BranchwiseRMSNorm(tb_call *c) {
    tb_value *x = tb_call_in(c, 0), *scale = tb_call_in(c, 1);
    int64_t branches = tb_attr_int(c->node, "num_branches", 0);
    if (!x || x->t.rank < (branches ? 1 : 2)) {
        tb_call_fail(c, "its input has too few dimensions");
        return;
    }
    const tiba_tensor shape = x->t;
    int last = shape.rank - 1;
    int64_t size = branches > 0 ? shape.dims[last] / branches : shape.dims[last], flat;
    if (branches == 0 && scale && scale->t.rank == 1 && scale->t.dims[0] != size) {
        int64_t pair[] = {shape.dims[last - 1], size};
        if (tb_i64_mul(&flat, pair[0], pair[1]) && scale->t.dims[0] == flat)
            scale = tb_emit_reshape(c, scale, 2, pair);
    }
    c->out[0] = normalize_groups(c, x, size, scale);
}

/* x normalised in groups of scale's size, times the activation of the gate. */
void tb_lower_GatedRMSNorm(tb_call *c) {
    const char *type = tb_attr_string(c->node, "activation", "silu");
    if (!tb_call_needs_rank(c, 1, 1) || !tb_call_in(c, 0) || !tb_call_in(c, 2)) {
        tb_call_fail(c, "an input is missing");
        return;
    }
    bool silu = strcmp(type, "silu") == 0 || strcmp(type, "swish") == 0;
    if (!silu && strcmp(type, "sigmoid") != 0) {
        tb_call_fail(c, "activation '%.40s' is not supported", type);
        return;
    }
    tb_value *y = normalize_groups(c, c->in[0], c->in[1]->t.dims[0], c->in[1]);
    tb_value *gate = silu ? swish(c, c->in[2], 1.0f) : tb_emit1(c, TB_OP_Sigmoid, c->in[2]);
    c->out[0] = tb_emit2(c, TB_OP_Mul, y, gate);
}

/* ---- BERT's embedding ----------------------------------------------------------------------- */

static tb_value *look_up(tb_call *c, tb_value *table, tb_value *ids) {
    return tb_emit2(c, TB_OP_Gather, table, ids);
}

/* How many ones each row of the mask has, as int32; zeros without a mask. */
static tb_value *mask_index(tb_call *c, tb_value *mask, int64_t batch) {
    tb_value *count;
    tiba_tensor *t = tb_emit_tensor(c, &count, TIBA_INT32, 1, &batch);
    if (!t || !mask) return count;
    if (!mask->t.data || mask->t.rank != 2 || mask->t.dims[0] != batch)
        return tb_call_fail(c, "its mask must be [batch, tokens] and not depend on a float input");
    for (int64_t b = 0; b < batch; b++) {
        int64_t ones = 0;
        for (int64_t s = 0; s < mask->t.dims[1]; s++)
            ones += tb_get_i64(&mask->t, b * mask->t.dims[1] + s) == 1;
        tb_set_i64(t, b, ones);
    }
    return count;
}

/* Inputs of the float and the quantised form, in one order. */
typedef struct embedding {
    tb_value *ids, *segment_ids, *words, *positions, *segments, *gamma, *beta, *mask, *position_ids;
} embedding;

static void embed(tb_call *c, const embedding *e) {
    if (c->status != TIBA_OK) return;
    if (!e->ids || e->ids->t.rank != 2 || !e->words || !e->positions) {
        tb_call_fail(c, "input_ids must be [batch, tokens], and the tables given");
        return;
    }
    tb_value *sum = look_up(c, e->words, e->ids);
    if (e->segments && e->segment_ids)
        sum = tb_emit2(c, TB_OP_Add, sum, look_up(c, e->segments, e->segment_ids));
    tb_value *at = e->position_ids ? look_up(c, e->positions, e->position_ids)
                                   : tb_emit_slice(c, e->positions, 0, 0, e->ids->t.dims[1]);
    sum = tb_emit2(c, TB_OP_Add, sum, at);
    c->out[0] =
        normalize(c, sum, e->gamma, e->beta, false, tb_attr_float(c->node, "epsilon", 1e-12f));
    if (c->n_out > 1) c->out[1] = mask_index(c, e->mask, e->ids->t.dims[0]);
    if (c->n_out > 2) c->out[2] = sum;
}

void tb_lower_EmbedLayerNormalization(tb_call *c) {
    embedding e = {tb_call_in(c, 0), tb_call_in(c, 1), tb_call_in(c, 2),
                   tb_call_in(c, 3), tb_call_in(c, 4), tb_call_in(c, 5),
                   tb_call_in(c, 6), tb_call_in(c, 7), tb_call_in(c, 8)};
    embed(c, &e);
}

static tb_value *dequantized(tb_call *c, int x, int scale, int zero) {
    if (!tb_call_in(c, x)) return NULL;
    return tb_emit3(c, TB_OP_DequantizeLinear, c->in[x], tb_call_in(c, scale), tb_call_in(c, zero));
}

/* Tables, gamma and beta are quantised: inputs 2 … 6, scales 8 … 12, zero points 13 … 17. */
void tb_lower_QEmbedLayerNormalization(tb_call *c) {
    embedding e = {.ids = tb_call_in(c, 0), .segment_ids = tb_call_in(c, 1)};
    e.words = dequantized(c, 2, 8, 13);
    e.positions = dequantized(c, 3, 9, 14);
    e.segments = dequantized(c, 4, 10, 15);
    e.gamma = dequantized(c, 5, 11, 16);
    e.beta = dequantized(c, 6, 12, 17);
    e.mask = tb_call_in(c, 7);
    embed(c, &e);
}

/* ---- same as in ai.onnx --------------------------------------------------------------------- */

/* com.microsoft's copy of an ai.onnx operator. */
void tb_lower_Same(tb_call *c) {
    c->op = tb_find_op("", c->node->op_type);
    if (!c->op) tb_call_fail(c, "this operator is not supported");
}

/* Range with an optional step. */
void tb_lower_Range(tb_call *c) {
    if (c->n_in == 2 && c->in[0]) {
        c->in[2] = tb_emit_cast(c, tb_emit_scalar(c, 1), c->in[0]->t.dtype);
        c->n_in = 3;
    }
    c->op = &tb_ops[TB_OP_Range];
}
