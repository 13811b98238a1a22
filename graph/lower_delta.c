/*
 * Lowering of linear attention and gated delta rules (LinearAttention of operator set 27 and
 * onnxruntime's, GatedDeltaNet, LinearAttentionGate): the recurrence is unrolled, token by token,
 * so that gradients and relevance follow from those of the primitives. Per head, with the state S
 * [size of k, size of v]:
 *
 *     S ← exp(g) S;  S ← S + k ⊗ β (v - Sᵀk);  o = scale · Sᵀq
 *
 * Without decay g is 0, without the delta rule v stands for β (v - Sᵀk). It is no attention in the
 * sense of an explanation: nothing is a weight of one token in another.
 */
#include <math.h>
#include <string.h>

#include "graph/lower_attention.h"

enum { HEADS = 1, TOKENS = 2 }; /* axes of everything below */

typedef struct recurrence {
    bool gated, delta;
    double scale;
    tb_value *q, *k, *v; /* [batch, heads, tokens, size] */
    tb_value *decay;     /* [batch, heads, tokens, size of k or 1] */
    tb_value *beta;      /* [batch, heads, tokens, 1] */
    tb_value *state;     /* [batch, heads of v, size of k, size of v]; NULL: zeros */
} recurrence;

/* ---- the recurrence ------------------------------------------------------------------------- */

static bool read_rule(tb_call *c, recurrence *r) {
    const char *rule = tb_attr_string(c->node, "update_rule", "gated_delta");
    static const char *const names[] = {"linear", "gated", "delta", "gated_delta"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(rule, names[i]) != 0) continue;
        r->gated = i & 1;
        r->delta = i >= 2;
        return true;
    }
    tb_call_fail(c, "update_rule '%.40s' is not known", rule);
    return false;
}

static bool is_sized(const tb_value *x, int64_t batch, int64_t heads, int64_t tokens,
                     int64_t size) {
    const int64_t *d = x ? x->t.dims : NULL;
    return x && x->t.rank == 4 && d[0] == batch && d[HEADS] == heads && d[TOKENS] == tokens &&
           (size < 0 || d[3] == size);
}

/* Do the operands' shapes fit? Heads of q and of v may be a multiple of the others. */
static bool check(tb_call *c, const recurrence *r) {
    if (c->status != TIBA_OK) return false;
    const int64_t *q = r->q->t.dims, *k = r->k->t.dims, *v = r->v->t.dims;
    int64_t batch = q[0], heads = v[HEADS], tokens = q[TOKENS], size = q[3];
    bool heads_fit = q[HEADS] > 0 && k[HEADS] > 0 && heads > 0 && heads % k[HEADS] == 0 &&
                     (q[HEADS] % heads == 0 || heads % q[HEADS] == 0);
    if (!heads_fit || !is_sized(r->k, batch, k[HEADS], tokens, size) ||
        !is_sized(r->v, batch, heads, tokens, -1) || tokens < 1 || size < 1)
        tb_call_fail(c, "query, key and value do not fit each other");
    else if (r->gated && !is_sized(r->decay, batch, heads, tokens, 1) &&
             !is_sized(r->decay, batch, heads, tokens, size))
        tb_call_fail(c, "the decay is missing or does not fit the keys");
    else if (r->delta && !is_sized(r->beta, batch, heads, tokens, 1))
        tb_call_fail(c, "beta is missing or does not fit the keys");
    else if (r->state && !is_sized(r->state, batch, heads, size, v[3]))
        tb_call_fail(c, "the past state does not fit the keys and values");
    return c->status == TIBA_OK;
}

static tb_value *at(tb_call *c, tb_value *x, int64_t token) {
    return tb_emit_slice(c, x, TOKENS, token, token + 1);
}

/* What token t adds to the state: a row beside its key. `state` has decayed already. */
static tb_value *update(tb_call *c, const recurrence *r, tb_value *k, tb_value *state, int64_t t) {
    tb_value *v = at(c, r->v, t);
    if (!r->delta) return v;
    if (state) v = tb_emit2(c, TB_OP_Sub, v, tb_emit2(c, TB_OP_MatMul, k, state));
    return tb_emit2(c, TB_OP_Mul, at(c, r->beta, t), v);
}

/* The results of all tokens, [batch, heads, tokens, size of v]; `state` is set to the last one. */
static tb_value *unroll(tb_call *c, recurrence *r) {
    if (!check(c, r)) return NULL;
    int64_t tokens = r->q->t.dims[TOKENS], heads = r->v->t.dims[HEADS];
    int64_t shared = r->q->t.dims[HEADS] / heads;
    tb_value **out = TB_NEW(c->b->graph->arena, tb_value *, tokens);
    if (!out) {
        c->status = tb_out_of_memory(c->error);
        return NULL;
    }
    r->k = tb_emit_repeat_heads(c, r->k, heads / r->k->t.dims[HEADS]);
    if (shared < 1) r->q = tb_emit_repeat_heads(c, r->q, heads / r->q->t.dims[HEADS]);
    tb_value *q = tb_emit_scale(c, r->q, r->scale);
    tb_value *kept = r->gated ? tb_emit1(c, TB_OP_Exp, tb_emit_swap(c, r->decay)) : NULL;
    for (int64_t t = 0; t < tokens && c->status == TIBA_OK; t++) {
        tb_value *k = at(c, r->k, t), *state = r->state;
        if (state && kept)
            state = tb_emit2(c, TB_OP_Mul, tb_emit_slice(c, kept, 3, t, t + 1), state);
        tb_value *row = update(c, r, k, state, t);
        tb_value *added = tb_emit2(c, TB_OP_MatMul, tb_emit_swap(c, k), row);
        r->state = state ? tb_emit2(c, TB_OP_Add, state, added) : added;
        out[t] = tb_emit2(c, TB_OP_MatMul, at(c, q, t),
                          tb_emit_repeat_heads(c, r->state, shared > 1 ? shared : 1));
    }
    if (c->status != TIBA_OK || tokens == 1) return out[0];
    return tb_emit(c, TB_OP_Concat, (int)tokens, out, 1, &TB_INT_ATTR("axis", TOKENS));
}

/* ---- LinearAttention ------------------------------------------------------------------------ */

/* [batch, tokens, heads · n] as [batch, heads, tokens, n]; NULL where the input is left out. */
static tb_value *in_heads(tb_call *c, int input, int64_t heads) {
    tb_value *x = tb_call_in(c, input);
    if (!x || !tb_call_needs_rank(c, input, 3)) return NULL;
    if (heads < 1 || x->t.dims[2] % heads)
        return tb_call_fail(c, "input %d does not fit %lld heads", input, (long long)heads);
    return tb_emit_split_heads(c, x, heads);
}

/* One rate for all heads counts for each. */
static tb_value *rates(tb_call *c, int input, int64_t heads) {
    tb_value *x = tb_call_in(c, input);
    if (x && x->t.rank == 3 && x->t.dims[2] == 1 && heads > 1)
        return tb_emit_repeat_heads(c, in_heads(c, input, 1), heads);
    return in_heads(c, input, heads);
}

void tb_lower_LinearAttention(tb_call *c) {
    int64_t q_heads = tb_attr_int(c->node, "q_num_heads", 0),
            kv_heads = tb_attr_int(c->node, "kv_num_heads", 0);
    recurrence r = {.state = tb_call_in(c, 3)};
    if (tb_attr_int(c->node, "state_window", 0)) {
        tb_call_fail(c, "states of several tokens (state_window) are not supported");
        return;
    }
    if (!read_rule(c, &r) || !tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 3) ||
        !tb_call_needs_rank(c, 2, 3))
        return;
    r.q = in_heads(c, 0, q_heads);
    r.k = in_heads(c, 1, kv_heads);
    r.v = in_heads(c, 2, kv_heads);
    r.decay = in_heads(c, 4, kv_heads);
    r.beta = rates(c, 5, kv_heads);
    if (c->status != TIBA_OK) return;
    double scale = (double)tb_attr_float(c->node, "scale", 0);
    r.scale = scale != 0 ? scale : 1 / sqrt((double)r.q->t.dims[3]);
    c->out[0] = tb_emit_merge_heads(c, unroll(c, &r));
    if (tb_call_wants(c, 1)) c->out[1] = r.state;
}

/* decay = decay_scale · softplus(a + dt_bias), beta = sigmoid(b) */
void tb_lower_LinearAttentionGate(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 1) ||
        !tb_call_needs_rank(c, 2, 1))
        return;
    tb_value *a = tb_emit_cast(c, c->in[0], TIBA_FLOAT32);
    a = tb_emit1(c, TB_OP_Softplus, tb_emit2(c, TB_OP_Add, a, c->in[1]));
    c->out[0] = tb_emit2(c, TB_OP_Mul, a, c->in[2]);
    if (!tb_call_wants(c, 1)) return;
    if (tb_call_needs_rank(c, 3, 3)) c->out[1] = tb_emit1(c, TB_OP_Sigmoid, c->in[3]);
}

/* ---- GatedDeltaNet -------------------------------------------------------------------------- */

typedef struct packing {
    bool flat;               /* tokens of all samples in a row, no axis of samples */
    int64_t batch, tokens;   /* samples; tokens of each, or of all together where they differ */
    const int64_t *boundary; /* where samples begin, batch + 1; NULL: all have the same length */
} packing;

/* [batch, tokens, …] from [tokens, …] or [batch, tokens, …] with `rank` axes behind the tokens. */
static tb_value *with_samples(tb_call *c, const packing *p, tb_value *x, int rank) {
    if (c->status != TIBA_OK || !x) return NULL;
    int first = p->flat ? 1 : 2;
    if (rank < 1 || rank > 2 || x->t.rank != first + rank)
        return tb_call_fail(c, "operands have differing ranks");
    int64_t dims[4] = {p->boundary ? 1 : p->batch, p->tokens};
    for (int i = 0; i < rank; i++) dims[2 + i] = x->t.dims[first + i];
    return tb_emit_reshape(c, x, 2 + rank, dims);
}

static tb_value *turned(tb_call *c, tb_value *x) {
    return x ? tb_emit_transpose(c, x, 4, (int64_t[]){0, TOKENS, HEADS, 3}) : NULL;
}

static tb_value *normalised(tb_call *c, tb_value *x) {
    tb_value *in[] = {tb_emit2(c, TB_OP_Mul, x, x), tb_emit_ints(c, 1, (int64_t[]){-1})};
    tb_value *squares = tb_emit(c, TB_OP_ReduceSum, 2, in, 1, &TB_INT_ATTR("keepdims", 1));
    squares = tb_emit2(c, TB_OP_Add, squares, tb_emit_scalar(c, 1e-6));
    return tb_emit2(c, TB_OP_Div, x, tb_emit1(c, TB_OP_Sqrt, squares));
}

/* Numbers of heads [n] or of heads and keys [n, size], to go with a gate's [batch, tokens, …]. */
static tb_value *per_head(tb_call *c, tb_value *x, const tb_value *gate) {
    if (c->status != TIBA_OK || !x) return NULL;
    int64_t heads = gate->t.dims[2], size = gate->t.rank == 4 ? gate->t.dims[3] : 1;
    int64_t n = tb_tensor_count(&x->t);
    if (n != heads && n != heads * size)
        return tb_call_fail(c, "a_log or dt_bias does not fit the decay");
    int64_t dims[2] = {heads, n / heads};
    return tb_emit_reshape(c, x, gate->t.rank - 2, dims);
}

/* The decay in the form that the recurrence takes, [batch, tokens, heads] or with keys' sizes. */
static tb_value *activated_decay(tb_call *c, tb_value *decay) {
    const char *kind = tb_attr_string(c->node, "gate_activation", "none");
    bool softplus = strcmp(kind, "softplus") == 0 || strcmp(kind, "qwen") == 0;
    bool sigmoid = strcmp(kind, "sigmoid") == 0 || strcmp(kind, "kda") == 0;
    if (!decay || strcmp(kind, "none") == 0) return decay;
    if (!softplus && !sigmoid) return tb_call_fail(c, "gate_activation '%.40s' is not known", kind);
    tb_value *bias = per_head(c, tb_call_in(c, 8), decay),
             *log = per_head(c, tb_call_in(c, 7), decay);
    if (c->status == TIBA_OK && !log) return tb_call_fail(c, "a_log is missing");
    tb_value *rate = tb_emit1(c, TB_OP_Exp, log);
    decay = tb_emit_add_optional(c, decay, bias);
    if (softplus) {
        decay = tb_emit2(c, TB_OP_Mul, tb_emit1(c, TB_OP_Softplus, decay), rate);
        return tb_emit1(c, TB_OP_Neg, decay);
    }
    decay = tb_emit1(c, TB_OP_Sigmoid, tb_emit2(c, TB_OP_Mul, decay, rate));
    return tb_emit_scale(c, decay, (double)tb_attr_float(c->node, "gate_lower_bound", -5.0f));
}

/* Query, key and value from input 0 alone; the state says how many heads there are. */
static bool unpack(tb_call *c) {
    tb_value *packed = tb_call_in(c, 0), *state = tb_call_in(c, 6), *parts[3];
    if (tb_call_in(c, 1) || tb_call_in(c, 2)) return true;
    if (!packed || !state || state->t.rank != 4 || packed->t.rank < 2 || packed->t.rank > 3) {
        tb_call_fail(c, "packed operands need an initial state");
        return false;
    }
    int last = packed->t.rank - 1;
    const int64_t *s = state->t.dims;
    int64_t width = packed->t.dims[last], rest = width - s[1] * s[2];
    if (s[3] < 1 || rest < 1 || rest % (2 * s[3])) {
        tb_call_fail(c, "packed operands do not fit the initial state");
        return false;
    }
    int64_t heads = rest / (2 * s[3]), sizes[] = {rest / 2, rest / 2, s[1] * s[2]};
    tb_emit_split(c, packed, last, 3, sizes, parts);
    for (int i = 0; i < 3 && c->status == TIBA_OK; i++) {
        int64_t dims[4] = {packed->t.dims[0], packed->t.dims[1]};
        dims[last] = i < 2 ? heads : s[1];
        dims[last + 1] = i < 2 ? s[3] : s[2];
        c->in[i] = tb_emit_reshape(c, parts[i], last + 2, dims);
    }
    return c->status == TIBA_OK;
}

static bool read_packing(tb_call *c, packing *p) {
    const tb_value *q = tb_call_in(c, 0), *state = tb_call_in(c, 6), *lengths = tb_call_in(c, 3);
    if (!q || (q->t.rank != 3 && q->t.rank != 4) || (lengths && q->t.rank != 3)) {
        tb_call_fail(c, "the query's rank is not supported");
        return false;
    }
    p->flat = q->t.rank == 3;
    p->batch = p->flat ? 1 : q->t.dims[0];
    if (state && state->t.rank == 4) p->batch = state->t.dims[0];
    p->tokens = p->flat ? q->t.dims[0] : q->t.dims[1];
    if (lengths) {
        p->batch = lengths->t.rank == 1 ? lengths->t.dims[0] - 1 : 0;
        if (p->batch < 1) tb_call_fail(c, "cu_seqlens has no samples");
        p->boundary = tb_call_ints(c, lengths, p->batch + 1, "cu_seqlens");
        for (int64_t b = 0; c->status == TIBA_OK && b < p->batch; b++)
            if (p->boundary[0] != 0 || p->boundary[b] >= p->boundary[b + 1] ||
                p->boundary[p->batch] != p->tokens)
                tb_call_fail(c, "cu_seqlens does not fit the tokens");
    } else if (p->flat) {
        if (p->batch < 1 || p->tokens % p->batch) tb_call_fail(c, "tokens do not fit the samples");
        if (c->status == TIBA_OK) p->tokens /= p->batch;
    }
    return c->status == TIBA_OK;
}

static tb_value *of_sample(tb_call *c, const packing *p, tb_value *x, int64_t b) {
    return x ? tb_emit_slice(c, x, TOKENS, p->boundary[b], p->boundary[b + 1]) : NULL;
}

/* Decay and rate as the recurrence takes them. */
static void read_gates(tb_call *c, const packing *p, recurrence *r) {
    tb_value *decay = tb_call_in(c, 4), *beta = tb_call_in(c, 5);
    int64_t last = 3;
    if (decay) decay = with_samples(c, p, decay, decay->t.rank - (p->flat ? 1 : 2));
    decay = activated_decay(c, decay);
    if (decay && decay->t.rank == 3)
        decay = tb_emit2(c, TB_OP_Unsqueeze, decay, tb_emit_ints(c, 1, &last));
    beta = with_samples(c, p, beta, 1);
    if (beta) beta = tb_emit2(c, TB_OP_Unsqueeze, beta, tb_emit_ints(c, 1, &last));
    const char *rate = tb_attr_string(c->node, "beta_activation", "none");
    if (beta && strcmp(rate, "sigmoid") == 0)
        beta = tb_emit1(c, TB_OP_Sigmoid, beta);
    else if (strcmp(rate, "none") != 0)
        tb_call_fail(c, "beta_activation '%.40s' is not known", rate);
    r->decay = turned(c, decay);
    r->beta = turned(c, beta);
}

static void read_operands(tb_call *c, const packing *p, recurrence *r) {
    tb_value *parts[3];
    for (int i = 0; i < 3; i++) {
        parts[i] = turned(c, with_samples(c, p, tb_call_in(c, i), 2));
        if (c->status == TIBA_OK && !parts[i]) tb_call_fail(c, "input %d is missing", i);
        if (i < 2 && tb_attr_int(c->node, "qk_l2_norm", 0)) parts[i] = normalised(c, parts[i]);
    }
    if (c->status != TIBA_OK) return;
    r->q = parts[0], r->k = parts[1], r->v = parts[2];
    r->state = tb_call_in(c, 6) ? tb_emit_swap(c, c->in[6]) : NULL;
    double scale = (double)tb_attr_float(c->node, "scale", 0);
    r->scale = scale != 0 ? scale : 1 / sqrt((double)r->q->t.dims[3]);
}

/* Samples of differing lengths one by one; r->state becomes the last states of all. */
static tb_value *unroll_each(tb_call *c, const packing *p, recurrence *r) {
    tb_value *out = NULL, *last = NULL;
    for (int64_t b = 0; b < p->batch && c->status == TIBA_OK; b++) {
        recurrence one = *r;
        one.q = of_sample(c, p, r->q, b);
        one.k = of_sample(c, p, r->k, b);
        one.v = of_sample(c, p, r->v, b);
        one.decay = of_sample(c, p, r->decay, b);
        one.beta = of_sample(c, p, r->beta, b);
        one.state = r->state ? tb_emit_slice(c, r->state, 0, b, b + 1) : NULL;
        tb_value *y = unroll(c, &one);
        out = out ? tb_emit_concat(c, out, y, TOKENS) : y;
        last = last ? tb_emit_concat(c, last, one.state, 0) : one.state;
    }
    r->state = last;
    return out;
}

void tb_lower_GatedDeltaNet(tb_call *c) {
    recurrence r = {0};
    packing p = {0};
    if (tb_attr_int(c->node, "state_update_capacity", 0) || tb_call_wants(c, 2)) {
        tb_call_fail(c, "compact state updates are not supported");
        return;
    }
    if (!read_rule(c, &r) || !unpack(c) || !read_packing(c, &p)) return;
    read_operands(c, &p, &r);
    read_gates(c, &p, &r);
    tb_value *out = turned(c, p.boundary ? unroll_each(c, &p, &r) : unroll(c, &r));
    if (c->status != TIBA_OK) return;
    const int64_t *d = out->t.dims;
    c->out[0] = p.flat ? tb_emit_reshape(c, out, 3, (int64_t[]){d[0] * d[1], d[2], d[3]}) : out;
    if (tb_call_wants(c, 1)) c->out[1] = tb_emit_swap(c, r.state);
}
