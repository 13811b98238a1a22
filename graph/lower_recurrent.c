/*
 * Lowering of RNN, GRU and LSTM: unrolled into products, activations and gates, one step after the
 * other, so that gradients and relevance follow from those of the primitives. What the inputs
 * contribute to all gates of all steps is one product in front.
 */
#include <string.h>

#include "graph/lower_attention.h"

enum { MOST_GATES = 4, MOST_FUNCTIONS = 3 };

typedef struct recurrent {
    tb_call *c;
    int gates;
    int64_t steps, batch, hidden, directions;
    const int64_t *lengths; /* per sample; NULL: all steps */
    /* of the direction at hand */
    tb_value *weights;            /* of the state, transposed: [hidden, gates · hidden] */
    tb_value *bias[2];            /* of input and state, [gates · hidden] each; NULL: none */
    tb_value *peephole;           /* LSTM: [3 · hidden]; NULL: none */
    int first_function;           /* in the list of activations */
    tb_value *state, *cell;       /* [batch, hidden] */
    const char *const *functions; /* by default */
} recurrent;

/* ---- pieces --------------------------------------------------------------------------------- */

/* The activation at `index` of the direction, with its parameters. */
static tb_value *activation(const recurrent *r, int index, tb_value *x) {
    static const struct {
        const char *name;
        tb_op_kind kind;
        bool alpha, beta;
    } rows[] = {{"Relu", TB_OP_Relu, false, false},
                {"Tanh", TB_OP_Tanh, false, false},
                {"Sigmoid", TB_OP_Sigmoid, false, false},
                {"LeakyRelu", TB_OP_LeakyRelu, true, false},
                {"ThresholdedRelu", TB_OP_ThresholdedRelu, true, false},
                {"HardSigmoid", TB_OP_HardSigmoid, true, true},
                {"Elu", TB_OP_Elu, true, false},
                {"Softsign", TB_OP_Softsign, false, false},
                {"Softplus", TB_OP_Softplus, false, false}};
    tb_call *c = r->c;
    const tb_attr *list = tb_find_attr(c->node, "activations"),
                  *alphas = tb_find_attr(c->node, "activation_alpha"),
                  *betas = tb_find_attr(c->node, "activation_beta");
    const char *name = r->functions[index];
    index += r->first_function;
    if (list && list->kind == TB_ATTR_STRINGS && index < list->count) name = list->strings[index];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) != 0) continue;
        tb_attr attrs[2];
        int n = 0;
        bool alpha = alphas && alphas->kind == TB_ATTR_FLOATS && index < alphas->count;
        bool beta = betas && betas->kind == TB_ATTR_FLOATS && index < betas->count;
        if (alpha && rows[i].alpha) attrs[n++] = TB_FLOAT_ATTR("alpha", alphas->floats[index]);
        if (beta && rows[i].beta) attrs[n++] = TB_FLOAT_ATTR("beta", betas->floats[index]);
        return tb_emit(c, rows[i].kind, 1, &x, n, attrs);
    }
    return tb_call_fail(c, "activation '%.40s' is not supported", name);
}

static tb_value *add(const recurrent *r, tb_value *a, tb_value *b) {
    return b ? tb_emit2(r->c, TB_OP_Add, a, b) : a;
}

static tb_value *times(const recurrent *r, tb_value *a, tb_value *b) {
    return tb_emit2(r->c, TB_OP_Mul, a, b);
}

/* Clipped as the attribute says, then the activation. */
static tb_value *gate(const recurrent *r, int function, tb_value *x) {
    float bound = tb_attr_float(r->c->node, "clip", 0);
    if (bound > 0)
        x = tb_emit3(r->c, TB_OP_Clip, x, tb_emit_scalar(r->c, -(double)bound),
                     tb_emit_scalar(r->c, (double)bound));
    return activation(r, function, x);
}

/* Piece `direction` of a parameter [directions, …] as [a] or [a, b]; NULL where it is left out. */
static tb_value *of_direction(const recurrent *r, int input, int direction, int rank, int64_t a,
                              int64_t b) {
    tb_call *c = r->c;
    tb_value *all = tb_call_in(c, input);
    if (!all || c->status != TIBA_OK) return NULL;
    const int64_t *d = all->t.dims;
    if (all->t.rank != rank + 1 || d[0] != r->directions || d[1] != a || (rank == 2 && d[2] != b))
        return tb_call_fail(c, "input %d has an unexpected shape", input);
    tb_value *one = tb_emit_slice(c, all, 0, direction, direction + 1);
    return tb_emit_reshape(c, one, rank, (int64_t[]){a, b});
}

static void split_gates(const recurrent *r, tb_value *x, int count, tb_value **parts) {
    int64_t sizes[MOST_GATES];
    for (int i = 0; i < count; i++) sizes[i] = r->hidden;
    tb_emit_split(r->c, x, 1, count, sizes, parts);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* x: what the input contributes to all gates, [batch, gates · hidden]. */
typedef void step_fn(recurrent *r, tb_value *x);

/* What the state contributes, its bias with it as the input's has its own: so frameworks compute
 * it, and where they write it out relevance is shared between these two. */
static tb_value *by_state(const recurrent *r, tb_value *weights, tb_value *bias) {
    return add(r, tb_emit2(r->c, TB_OP_MatMul, r->state, weights), bias);
}

static void step_rnn(recurrent *r, tb_value *x) {
    r->state = gate(r, 0, add(r, x, by_state(r, r->weights, r->bias[1])));
}

/* z, r, h: update, reset, candidate. */
static void step_gru(recurrent *r, tb_value *x) {
    tb_call *c = r->c;
    bool inside = tb_attr_int(c->node, "linear_before_reset", 0) != 0;
    tb_value *in[3], *w[3], *b[3] = {NULL};
    split_gates(r, x, 3, in);
    tb_emit_split(c, r->weights, 1, 3, (int64_t[]){r->hidden, r->hidden, r->hidden}, w);
    if (r->bias[1])
        tb_emit_split(c, r->bias[1], 0, 3, (int64_t[]){r->hidden, r->hidden, r->hidden}, b);
    tb_value *gates[2];
    for (int i = 0; i < 2; i++) gates[i] = gate(r, 0, add(r, in[i], by_state(r, w[i], b[i])));
    tb_value *h;
    if (inside)
        h = times(r, gates[1], by_state(r, w[2], b[2]));
    else
        h = add(r, tb_emit2(c, TB_OP_MatMul, times(r, gates[1], r->state), w[2]), b[2]);
    h = gate(r, 1, add(r, in[2], h));
    tb_value *keep = tb_emit2(c, TB_OP_Sub, tb_emit_scalar(c, 1), gates[0]);
    r->state = add(r, times(r, keep, h), times(r, gates[0], r->state));
}

/* i, o, f, c: input, output, forget, cell. */
static void step_lstm(recurrent *r, tb_value *x) {
    tb_call *c = r->c;
    tb_value *parts[4], *p[3] = {NULL};
    x = add(r, x, by_state(r, r->weights, r->bias[1]));
    split_gates(r, x, 4, parts);
    if (r->peephole)
        tb_emit_split(c, r->peephole, 0, 3, (int64_t[]){r->hidden, r->hidden, r->hidden}, p);
    if (r->peephole) parts[0] = add(r, parts[0], times(r, p[0], r->cell));
    if (r->peephole) parts[2] = add(r, parts[2], times(r, p[2], r->cell));
    tb_value *i = gate(r, 0, parts[0]), *f = gate(r, 0, parts[2]), *g = gate(r, 1, parts[3]);
    if (tb_attr_int(c->node, "input_forget", 0))
        f = tb_emit2(c, TB_OP_Sub, tb_emit_scalar(c, 1), i);
    r->cell = add(r, times(r, f, r->cell), times(r, i, g));
    if (r->peephole) parts[1] = add(r, parts[1], times(r, p[1], r->cell));
    r->state = times(r, gate(r, 0, parts[1]), activation(r, 2, r->cell));
}

/* ---- a direction ---------------------------------------------------------------------------- */

/* 1 where sample b is longer than `step`, as [batch, 1]; NULL if all are. */
static tb_value *running(const recurrent *r, int64_t step) {
    bool all = true;
    for (int64_t b = 0; r->lengths && b < r->batch; b++) all = all && step < r->lengths[b];
    if (all || r->c->status != TIBA_OK) return NULL;
    tb_value *mask;
    tiba_tensor *t = tb_emit_tensor(r->c, &mask, TIBA_FLOAT32, 2, (int64_t[]){r->batch, 1});
    for (int64_t b = 0; t && b < r->batch; b++) tb_set_f64(t, b, step < r->lengths[b]);
    return mask;
}

/* `now` where the sample is still running, else what was there before. */
static tb_value *held(const recurrent *r, tb_value *mask, tb_value *now, tb_value *before) {
    if (!mask || !now || r->c->status != TIBA_OK) return now;
    tb_value *on = tb_emit_cast(r->c, mask, TIBA_BOOL);
    return tb_emit3(r->c, TB_OP_Where, on, now, before);
}

/* Inputs X, W, R, B, lengths, initial state, initial cell, peepholes. The result is all states
 * [steps, batch, hidden]. Backward the steps run from the last to the first; a shorter sample's
 * state waits until its own last step. */
static tb_value *run_direction(recurrent *r, step_fn *step, int direction, bool backward) {
    tb_call *c = r->c;
    int64_t width = r->gates * r->hidden, inputs = c->in[0]->t.dims[2];
    tb_value *w = of_direction(r, 1, direction, 2, width, inputs),
             *u = of_direction(r, 2, direction, 2, width, r->hidden),
             *b = of_direction(r, 3, direction, 1, 2 * width, 0), *zero;
    if (c->status != TIBA_OK) return NULL;
    r->bias[0] = r->bias[1] = NULL;
    if (b) tb_emit_split(c, b, 0, 2, (int64_t[]){width, width}, r->bias);
    r->weights = tb_emit_swap(c, u);
    r->peephole = r->gates == 4 ? of_direction(r, 7, direction, 1, 3 * r->hidden, 0) : NULL;
    tb_emit_tensor(c, &zero, TIBA_FLOAT32, 2, (int64_t[]){r->batch, r->hidden});
    r->state = of_direction(r, 5, direction, 2, r->batch, r->hidden);
    r->cell = r->gates == 4 ? of_direction(r, 6, direction, 2, r->batch, r->hidden) : NULL;
    if (!r->state) r->state = zero;
    if (!r->cell) r->cell = zero;
    tb_value *x = add(r, tb_emit2(c, TB_OP_MatMul, c->in[0], tb_emit_swap(c, w)), r->bias[0]);
    tb_value **states = TB_NEW(c->b->graph->arena, tb_value *, r->steps);
    if (!states && c->status == TIBA_OK) c->status = tb_out_of_memory(c->error);
    for (int64_t i = 0; i < r->steps && c->status == TIBA_OK; i++) {
        int64_t t = backward ? r->steps - 1 - i : i;
        tb_value *now = tb_emit_slice(c, x, 0, t, t + 1), *mask = running(r, t);
        tb_value *state = r->state, *cell = r->cell;
        step(r, tb_emit_reshape(c, now, 2, (int64_t[]){r->batch, width}));
        tb_value *shown = mask ? held(r, mask, r->state, zero) : r->state;
        r->state = held(r, mask, r->state, state);
        r->cell = held(r, mask, r->cell, cell);
        states[t] = tb_emit_reshape(c, shown, 3, (int64_t[]){1, r->batch, r->hidden});
    }
    if (c->status != TIBA_OK) return NULL;
    if (r->steps == 1) return states[0];
    return tb_emit(c, TB_OP_Concat, (int)r->steps, states, 1, &TB_INT_ATTR("axis", 0));
}

/* ---- operators ------------------------------------------------------------------------------ */

/* layout = 1: batch in front of steps and directions. */
static void batch_first(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3)) return;
    c->in[0] = tb_emit_transpose(c, c->in[0], 3, (int64_t[]){1, 0, 2});
    for (int i = 5; i < 7; i++)
        if (tb_call_in(c, i)) c->in[i] = tb_emit_transpose(c, c->in[i], 3, (int64_t[]){1, 0, 2});
}

static bool begin(recurrent *r, bool first) {
    tb_call *c = r->c;
    if (first) batch_first(c);
    if (!tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 3) ||
        !tb_call_needs_rank(c, 2, 3))
        return false;
    r->steps = c->in[0]->t.dims[0];
    r->batch = c->in[0]->t.dims[1];
    r->hidden = c->in[2]->t.dims[2];
    r->directions =
        strcmp(tb_attr_string(c->node, "direction", "forward"), "bidirectional") == 0 ? 2 : 1;
    if (r->steps < 1 || r->hidden < 1) {
        tb_call_fail(c, "has no steps or no state");
        return false;
    }
    if (tb_call_in(c, 4)) r->lengths = tb_call_ints(c, c->in[4], r->batch, "sequence_lens");
    for (int64_t b = 0; r->lengths && b < r->batch; b++)
        if (r->lengths[b] < 0 || r->lengths[b] > r->steps)
            tb_call_fail(c, "a length is %lld of %lld steps", (long long)r->lengths[b],
                         (long long)r->steps);
    return c->status == TIBA_OK;
}

/* Along a new axis; [steps, directions, batch, hidden] and [directions, batch, hidden]. */
static void finish(recurrent *r, tb_value **all, tb_value **last, tb_value **cells, bool first) {
    tb_call *c = r->c;
    tb_value *y[3] = {NULL};
    int64_t wide[] = {r->steps, 1, r->batch, r->hidden}, flat[] = {1, r->batch, r->hidden};
    for (int d = 0; d < r->directions && c->status == TIBA_OK; d++) {
        tb_value *part[] = {tb_emit_reshape(c, all[d], 4, wide),
                            tb_emit_reshape(c, last[d], 3, flat),
                            cells[d] ? tb_emit_reshape(c, cells[d], 3, flat) : NULL};
        for (int i = 0; i < 3 && part[i]; i++)
            y[i] = y[i] ? tb_emit_concat(c, y[i], part[i], i ? 0 : 1) : part[i];
    }
    for (int i = 0; i < 3 && first && y[i]; i++)
        y[i] = i ? tb_emit_transpose(c, y[i], 3, (int64_t[]){1, 0, 2})
                 : tb_emit_transpose(c, y[i], 4, (int64_t[]){2, 0, 1, 3});
    for (int i = 0; i < 3 && i < c->n_out; i++) c->out[i] = y[i];
}

static void lower(tb_call *c, int gates, step_fn *step, const char *const *functions, int n) {
    recurrent r = {.c = c, .gates = gates, .functions = functions};
    bool first = tb_attr_int(c->node, "layout", 0) != 0;
    bool reverse = strcmp(tb_attr_string(c->node, "direction", "forward"), "reverse") == 0;
    tb_value *all[2] = {NULL}, *last[2] = {NULL}, *cells[2] = {NULL};
    if (!begin(&r, first)) return;
    for (int d = 0; d < r.directions; d++) {
        r.first_function = d * n;
        all[d] = run_direction(&r, step, d, reverse || d == 1);
        last[d] = r.state;
        cells[d] = gates == 4 ? r.cell : NULL;
    }
    if (c->status == TIBA_OK) finish(&r, all, last, cells, first);
}

void tb_lower_RNN(tb_call *c) {
    static const char *const functions[] = {"Tanh"};
    lower(c, 1, step_rnn, functions, 1);
}

void tb_lower_GRU(tb_call *c) {
    static const char *const functions[] = {"Sigmoid", "Tanh"};
    lower(c, 3, step_gru, functions, 2);
}

void tb_lower_LSTM(tb_call *c) {
    static const char *const functions[MOST_FUNCTIONS] = {"Sigmoid", "Tanh", "Tanh"};
    lower(c, 4, step_lstm, functions, 3);
}
