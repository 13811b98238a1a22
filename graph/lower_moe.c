/*
 * Lowering of onnxruntime's mixtures of experts (com.microsoft MoE, QMoE): every expert's layers
 * are written out for all tokens, and a token's result is their sum, weighed by what its router
 * gives the k best ones and 0 elsewhere. Semantics: ContribOperators.md; routing and gates as the
 * kernels have them.
 */
#include <math.h>
#include <string.h>

#include "graph/lower.h"

/* One layer of all experts: [experts, out, in], a bias [experts, out] or NULL. */
typedef struct layer {
    const tb_value *weight, *bias;
    tiba_tensor w; /* as floats */
} layer;

typedef struct mixture {
    tb_call *c;
    int64_t tokens, features, experts;
    layer fc1, fc2, fc3; /* fc3.weight is NULL where there is none */
    tb_value *shares;    /* what the chosen experts count for; NULL: the router's scores say */
} mixture;

/* ---- layers --------------------------------------------------------------------------------- */

/* Row e of a constant [experts, …], borrowed. */
static tb_value *expert(tb_call *c, const tiba_tensor *all, int64_t e) {
    tiba_tensor row = *all;
    row.rank = all->rank - 1;
    memmove(row.dims, all->dims + 1, (size_t)row.rank * sizeof row.dims[0]);
    row.data = (float *)all->data + e * tb_tensor_count(&row);
    tb_value *value = NULL;
    if (c->status == TIBA_OK) c->status = tb_build_borrowed(c->b, &value, &row, c->error);
    return value;
}

static tb_value *apply(const mixture *m, const layer *l, tb_value *x, int64_t e) {
    tb_call *c = m->c;
    tb_value *in[] = {x, expert(c, &l->w, e), l->bias ? expert(c, &l->bias->t, e) : NULL};
    return tb_emit(c, TB_OP_Gemm, l->bias ? 3 : 2, in, 1, &TB_INT_ATTR("transB", 1));
}

static bool layer_fits(const mixture *m, const layer *l, int64_t in) {
    const tiba_tensor *w = &l->w;
    bool fits = w->rank == 3 && w->dims[0] == m->experts && w->dims[2] == in && w->dims[1] > 0;
    if (!l->bias) return fits;
    const tiba_tensor *b = &l->bias->t;
    return fits && b->data && b->dtype == TIBA_FLOAT32 && b->rank == 2 &&
           b->dims[0] == m->experts && b->dims[1] == w->dims[1];
}

/* Number `index` of a run of packed `bits`-bit numbers, lowest bits first. */
static int code(const unsigned char *run, int64_t index, int64_t bits) {
    int64_t per_byte = 8 / bits;
    return run[index / per_byte] >> (index % per_byte * bits) & ((1 << bits) - 1);
}

/* Packed integers of `bits` bits with a scale and a zero point per row, or per block of it. Without
 * zero points zero is in the middle. Zero points of blocks begin at a byte in each row, those of
 * rows in each expert. */
static void unpack(tb_call *c, layer *l, const tb_value *scales, const tb_value *zeros,
                   const char *bits_of, int64_t size) {
    int64_t bits = tb_attr_int(c->node, bits_of, tb_attr_int(c->node, "expert_weight_bits", 4));
    if (bits != 2 && bits != 4 && bits != 8)
        tb_call_fail(c, "weights of %lld bits", (long long)bits);
    if (c->status != TIBA_OK) return;
    const tiba_tensor *q = &l->weight->t;
    int64_t per_byte = 8 / bits, columns;
    if (q->dtype != TIBA_UINT8 || q->rank != 3 || !scales || !scales->t.data ||
        !tb_i64_mul(&columns, q->dims[2], per_byte)) {
        tb_call_fail(c, "its packed weights or their scales are missing or no constants");
        return;
    }
    const tiba_tensor *s = &scales->t;
    int64_t blocks = s->rank == 3 ? s->dims[2] : 1;
    int64_t each = size > 0 ? size : columns;
    if (s->dtype != TIBA_FLOAT32 || s->rank < 2 || s->rank > 3 || s->dims[0] != q->dims[0] ||
        s->dims[1] != q->dims[1] || each <= 0 || (columns - 1) / each + 1 != blocks) {
        tb_call_fail(c, "the scales do not fit its packed weights");
        return;
    }
    int64_t run = s->rank == 3 ? blocks : q->dims[1], runs = s->rank == 3 ? q->dims[1] : 1,
            bytes = (run * bits + 7) / 8;
    if (zeros && (!zeros->t.data || zeros->t.dtype != TIBA_UINT8 ||
                  tb_tensor_count(&zeros->t) != q->dims[0] * runs * bytes)) {
        tb_call_fail(c, "the zero points do not fit its packed weights");
        return;
    }
    if (tb_tensor_create(&l->w, c->b->graph->arena, TIBA_FLOAT32, 3,
                         (int64_t[]){q->dims[0], q->dims[1], columns}, c->error) != TIBA_OK) {
        c->status = TIBA_ERROR_RESOURCE;
        return;
    }
    float *to = l->w.data;
    const unsigned char *from = q->data;
    const float *scale = s->data;
    for (int64_t row = 0; row < q->dims[0] * q->dims[1]; row++)
        for (int64_t k = 0; k < columns; k++) {
            int64_t at = row * blocks + k / each;
            int zero = 1 << (bits - 1);
            if (zeros)
                zero =
                    code((const unsigned char *)zeros->t.data + at / run * bytes, at % run, bits);
            *to++ = (float)(code(from + row * q->dims[2], k, bits) - zero) * scale[at];
        }
}

/* ---- gates ---------------------------------------------------------------------------------- */

static tb_value *swish(tb_call *c, tb_value *x, float alpha) {
    return tb_emit(c, TB_OP_Swish, 1, &x, 1, &TB_FLOAT_ATTR("alpha", alpha));
}

static tb_value *activate(tb_call *c, tb_value *x, const char *type) {
    if (strcmp(type, "identity") == 0) return x;
    if (strcmp(type, "relu") == 0) return tb_emit1(c, TB_OP_Relu, x);
    if (strcmp(type, "silu") == 0) return swish(c, x, 1.0f);
    if (strcmp(type, "relu2") == 0)
        return tb_emit2(c, TB_OP_Pow, tb_emit1(c, TB_OP_Relu, x), tb_emit_scalar(c, 2));
    if (strcmp(type, "gelu") == 0)
        return tb_emit(c, TB_OP_Gelu, 1, &x, 1, &TB_STRING_ATTR("approximate", "tanh"));
    return tb_call_fail(c, "activation_type '%.40s' is not known", type);
}

/* gate · sigmoid(alpha gate) · (linear + beta), both within the limit, before the activation or
 * after it. geglu: gelu(gate) · linear. */
static tb_value *gated(tb_call *c, tb_value *gate, tb_value *linear) {
    bool after = tb_attr_int(c->node, "swiglu_limit_after_activation", 0) != 0;
    if (strcmp(tb_attr_string(c->node, "activation_type", ""), "geglu") == 0)
        return tb_emit2(c, TB_OP_Mul, activate(c, gate, "gelu"), linear);
    double limit = (double)tb_attr_float(c->node, "swiglu_limit", INFINITY),
           beta = (double)tb_attr_float(c->node, "activation_beta", 0.0f);
    if (isfinite(limit)) {
        tb_value *high = tb_emit_scalar(c, limit), *low = tb_emit_scalar(c, -limit);
        if (!after) gate = tb_emit3(c, TB_OP_Clip, gate, NULL, high);
        linear = tb_emit3(c, TB_OP_Clip, linear, low, high);
    }
    if (beta != 0) linear = tb_emit2(c, TB_OP_Add, linear, tb_emit_scalar(c, beta));
    gate = swish(c, gate, tb_attr_float(c->node, "activation_alpha", 1.0f));
    if (after && isfinite(limit))
        gate = tb_emit3(c, TB_OP_Clip, gate, NULL, tb_emit_scalar(c, limit));
    return tb_emit2(c, TB_OP_Mul, gate, linear);
}

/* Gate and linear part in one layer: in turns (fusion 1) or one after the other (2). */
static tb_value *fused_gate(tb_call *c, tb_value *x, int64_t fusion) {
    if (c->status != TIBA_OK) return NULL;
    int64_t tokens = x->t.dims[0], half = x->t.dims[1] / 2, ones[] = {1, 1},
            halves[] = {half, half};
    if (x->t.dims[1] % 2) return tb_call_fail(c, "a fused gate of odd size");
    tb_value *part[2];
    if (fusion == 2) {
        tb_emit_split(c, x, 1, 2, halves, part);
        return gated(c, part[0], part[1]);
    }
    tb_emit_split(c, tb_emit_reshape(c, x, 3, (int64_t[]){tokens, half, 2}), 2, 2, ones, part);
    for (int i = 0; i < 2; i++) part[i] = tb_emit_reshape(c, part[i], 2, (int64_t[]){tokens, half});
    return gated(c, part[0], part[1]);
}

static tb_value *hidden(const mixture *m, tb_value *x, int64_t e) {
    tb_call *c = m->c;
    const char *type = tb_attr_string(c->node, "activation_type", "relu");
    int64_t fusion = tb_attr_int(c->node, "swiglu_fusion", 0);
    tb_value *first = apply(m, &m->fc1, x, e);
    tb_value *third = m->fc3.weight ? apply(m, &m->fc3, x, e) : NULL;
    bool geglu = strcmp(type, "geglu") == 0;
    if (!geglu && strcmp(type, "swiglu") != 0) {
        tb_value *y = activate(c, first, type);
        return third ? tb_emit2(c, TB_OP_Mul, y, third) : y;
    }
    if (fusion == 0 && third && !geglu) return gated(c, first, third);
    if ((fusion != 1 && fusion != 2) || third)
        return tb_call_fail(c, "swiglu_fusion %lld does not fit its layers", (long long)fusion);
    return fused_gate(c, first, fusion);
}

/* ---- routing -------------------------------------------------------------------------------- */

/* What every expert counts for every token, [tokens, experts]. `over_best`: the softmax is over the
 * k best only. */
static tb_value *route(const mixture *m, tb_value *router, int64_t k, bool over_best) {
    tb_call *c = m->c;
    tb_value *best[2] = {0}, *levels;
    if (!over_best) router = tb_emit_softmax(c, router, 1);
    tb_value *in[] = {router, tb_emit_ints(c, 1, &k)};
    if (c->status == TIBA_OK)
        c->status =
            tb_build(c->b, best, 2, TB_OP_TopK, 2, in, 1, &TB_INT_ATTR("axis", 1), c->error);
    tb_value *share = over_best && !m->shares ? tb_emit_softmax(c, best[0], 1) : best[0];
    tiba_tensor *t = tb_emit_tensor(c, &levels, TIBA_FLOAT32, 1, (int64_t[]){2});
    if (!t) return NULL;
    tb_set_f64(t, 1, 1);
    tb_value *rows = tb_emit3(c, TB_OP_OneHot, best[1], tb_emit_ints(c, 1, &m->experts), levels);
    share = tb_emit_reshape(c, m->shares ? m->shares : share, 3,
                            (int64_t[]){m->tokens, m->shares ? 1 : k, m->shares ? m->experts : 1});
    tb_value *sum[] = {tb_emit2(c, TB_OP_Mul, rows, share), tb_emit_ints(c, 1, (int64_t[]){1})};
    share = tb_emit(c, TB_OP_ReduceSum, 2, sum, 1, &TB_INT_ATTR("keepdims", 0));
    if (!m->shares || !tb_attr_int(c->node, "normalize_routing_weights", 0)) return share;
    return tb_emit2(c, TB_OP_Div, share,
                    tb_emit2(c, TB_OP_ReduceSum, share, tb_emit_ints(c, 1, (int64_t[]){1})));
}

static void mix(mixture *m, bool over_best) {
    tb_call *c = m->c;
    tb_value *x = tb_call_in(c, 0), *router = tb_call_in(c, 1);
    int64_t k = tb_attr_int(c->node, "k", 1), inner = m->fc2.w.dims[2];
    if (!layer_fits(m, &m->fc1, m->features) || !layer_fits(m, &m->fc2, inner) ||
        (m->fc3.weight && !layer_fits(m, &m->fc3, m->features)) ||
        m->fc2.w.dims[1] != m->features || k < 1 || k > m->experts) {
        tb_call_fail(c, "its experts' weights do not fit each other, the input or k");
        return;
    }
    const tiba_tensor shape = x->t;
    tb_value *flat = tb_emit_reshape(c, x, 2, (int64_t[]){m->tokens, m->features});
    router = tb_emit_reshape(c, router, 2, (int64_t[]){m->tokens, m->experts});
    tb_value *share = route(m, router, k, over_best);
    tb_value **results = TB_NEW(c->b->graph->arena, tb_value *, m->experts);
    if (!results) c->status = tb_out_of_memory(c->error);
    for (int64_t e = 0; c->status == TIBA_OK && e < m->experts; e++) {
        tb_value *y = hidden(m, flat, e);
        if (c->status == TIBA_OK && y->t.dims[1] != inner)
            tb_call_fail(c, "its experts' weights do not fit each other");
        y = tb_emit2(c, TB_OP_Mul, apply(m, &m->fc2, y, e), tb_emit_slice(c, share, 1, e, e + 1));
        results[e] = tb_emit_reshape(c, y, 3, (int64_t[]){1, m->tokens, m->features});
    }
    if (c->status != TIBA_OK) return;
    tb_value *all = tb_emit(c, TB_OP_Concat, (int)m->experts, results, 1, &TB_INT_ATTR("axis", 0));
    tb_value *sum[] = {all, tb_emit_ints(c, 1, (int64_t[]){0})};
    all = tb_emit(c, TB_OP_ReduceSum, 2, sum, 1, &TB_INT_ATTR("keepdims", 0));
    c->out[0] = tb_emit_reshape(c, all, shape.rank, shape.dims);
}

/* Layers from inputs weight, weight + step, …; the bias is behind the weight and its scales. */
static bool start(mixture *m, tb_call *c, int step) {
    *m = (mixture){.c = c};
    const tb_value *x = tb_call_in(c, 0), *router = tb_call_in(c, 1);
    if (!x || !router || x->t.rank < 2 || x->t.rank > 3 || router->t.rank < 2 ||
        tb_attr_int(c->node, "use_sparse_mixer", 0)) {
        tb_call_fail(c, "needs tokens of 2 or 3 dimensions, a router's scores and no sparse mixer");
        return false;
    }
    m->features = x->t.dims[x->t.rank - 1];
    m->experts = router->t.dims[router->t.rank - 1];
    m->tokens = m->features > 0 ? tb_tensor_count(&x->t) / m->features : 0;
    layer *layers[] = {&m->fc1, &m->fc2, &m->fc3};
    for (int i = 0; i < 3; i++) {
        layers[i]->weight = tb_call_in(c, 2 + step * i);
        layers[i]->bias = tb_call_in(c, 1 + step * (i + 1));
        if (!layers[i]->weight && i == 2) continue;
        if (!layers[i]->weight || !layers[i]->weight->t.data) {
            tb_call_fail(c, "its experts' weights are no constants");
            return false;
        }
        layers[i]->w = layers[i]->weight->t;
    }
    if (m->tokens < 1 || m->experts < 1 || tb_tensor_count(&router->t) / m->experts != m->tokens) {
        tb_call_fail(c, "the router's scores do not fit its tokens");
        return false;
    }
    return true;
}

void tb_lower_MoE(tb_call *c) {
    mixture m;
    if (!start(&m, c, 2)) return;
    if (m.fc1.w.dtype != TIBA_FLOAT32 || m.fc2.w.dtype != TIBA_FLOAT32 ||
        (m.fc3.weight && m.fc3.w.dtype != TIBA_FLOAT32))
        tb_call_fail(c, "its experts' weights are no floats");
    else
        mix(&m, tb_attr_int(c->node, "normalize_routing_weights", 0) != 0);
}

/* The softmax of its router is over the k best whatever normalize_routing_weights says. */
void tb_lower_QMoE(tb_call *c) {
    mixture m;
    int64_t size = tb_attr_int(c->node, "block_size", 0);
    const char *type = tb_attr_string(c->node, "quant_type", "int");
    if (strcmp(type, "int") != 0) tb_call_fail(c, "quant_type '%.40s' is not supported", type);
    if (tb_attr_int(c->node, "weights_prepacked", -1) == 1)
        tb_call_fail(c, "its weights are packed for one kind of processor");
    tb_call_refuse_inputs(c, 15, c->n_in - 1, "a scale of activations or of all weights");
    if (c->status != TIBA_OK || !start(&m, c, 3)) return;
    m.shares = tb_call_in(c, 14);
    if (m.shares && tb_tensor_count(&m.shares->t) != m.tokens * m.experts)
        tb_call_fail(c, "the router's weights do not fit its tokens");
    unpack(c, &m.fc1, tb_call_in(c, 3), tb_call_in(c, 11), "fc1_expert_weight_bits", size);
    unpack(c, &m.fc2, tb_call_in(c, 6), tb_call_in(c, 12), "fc2_expert_weight_bits", size);
    if (m.fc3.weight)
        unpack(c, &m.fc3, tb_call_in(c, 9), tb_call_in(c, 13), "fc3_expert_weight_bits", size);
    if (c->status == TIBA_OK) mix(&m, true);
}
