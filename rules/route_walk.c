/*
 * route_walk.c: carries weights back along a route that route.c has planned, step by step.
 */
#include <string.h>

#include "rules/region_walk.h"
#include "rules/route_steps.h"
#include "rules/rule.h"

/* What some attentions are asked for by a step of several operands. The weight itself, which is on
 * the stream, is no such question: NULL. */
typedef struct channel {
    const tb_node *node;
    uint64_t *members; /* a set of places in route->members */
    struct channel *next;
} channel;

/* What a value holds in one channel. */
typedef struct share {
    const channel *of;
    float *mass;
    struct share *next;
} share;

typedef struct walk {
    const tb_route *r;
    const tb_program *program;
    tb_budget *budget;
    tb_exec *exec;
    share **shares; /* by value id, NULL: none (yet) */
    channel *channels;
    const channel *channel; /* of the step at hand */
    const tb_route_load *load;
    double *reach; /* where what reaches the queries of member `reached` goes */
    int reached;   /* -1: nobody asks */
} walk;

/* What the value holds in the channel at hand, NULL: nothing. */
static float *held(const walk *w, const tb_value *value) {
    for (share *s = value ? w->shares[value->id] : NULL; s; s = s->next)
        if (s->of == w->channel) return s->mass;
    return NULL;
}

/* The same with room made for it; NULL: out of memory. */
static float *mass_of(walk *w, const tb_value *value) {
    float *found = held(w, value);
    if (found) return found;
    share *s = tb_calloc(w->budget, 1, sizeof *s);
    if (!s) return NULL;
    s->of = w->channel;
    s->next = w->shares[value->id];
    w->shares[value->id] = s;
    s->mass = tb_calloc(w->budget, (size_t)tb_tensor_count(&value->t), sizeof(float));
    return s->mass;
}

static void drop(walk *w, const tb_value *value) {
    for (share *s = w->shares[value->id], *next; s; s = next) {
        next = s->next;
        tb_free(s->mass);
        tb_free(s);
    }
    w->shares[value->id] = NULL;
}

/* Adds `factor` × m (in the shape of `like`) to the value's mass, summed over what was broadcast.
 */
static tiba_status give(walk *w, const tb_value *value, const tiba_tensor *m, float factor,
                        tiba_error *error) {
    if (!value || !value->active || !w->r->between[value->id]) return TIBA_OK;
    /* what a branch was asked for ends where the branch begins */
    if (w->channel && w->r->splits[w->channel->node->id]->base == value) return TIBA_OK;
    float *to = mass_of(w, value);
    tiba_tensor sum = value->t;
    sum.data = tb_scratch(w->exec, (size_t)tb_tensor_count(&sum), sizeof(float));
    if (!to || !sum.data) return tb_out_of_memory(error);
    tb_sum_to_shape(&sum, m);
    int64_t count = tb_tensor_count(&sum);
    for (int64_t i = 0; i < count; i++) to[i] += factor * ((float *)sum.data)[i];
    return TIBA_OK;
}

/* Around an attention: V's tokens get Eᵀ times what the product's rows hold, spread evenly over
 * heads and features. */
static tiba_status step_attention(walk *w, const tb_node *node, int index, const float *m,
                                  tiba_error *error) {
    if (w->channel && !tb_set_has(w->channel->members, w->r->same[index])) return TIBA_OK;
    const float *e = w->load->blocks[index];
    const tb_attention *a = tb_route_member(w->r, index);
    const tiba_tensor *o = &node->out[0]->t;
    int64_t rows = a->groups * a->heads, nq = a->queries, nk = a->keys;
    int64_t features = tb_tensor_count(o) / (rows * nq);
    tiba_tensor v = *o; /* V's share with o's leading axes */
    v.dims[v.rank - (a->transposed ? 1 : 2)] = nk;
    float *full = tb_scratch(w->exec, (size_t)(rows * nk * features), sizeof(float));
    double *held = tb_scratch(w->exec, (size_t)(a->groups * nq), sizeof(double));
    double *handed = tb_scratch(w->exec, (size_t)(a->groups * nk), sizeof(double));
    if (!full || !held || !handed) return tb_out_of_memory(error);
    memset(held, 0, (size_t)(a->groups * nq) * sizeof *held);
    memset(handed, 0, (size_t)(a->groups * nk) * sizeof *handed);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t q = 0; q < nq; q++)
            for (int64_t f = 0; f < features; f++)
                held[a->group_of[row] * nq + q] +=
                    (double)m[a->transposed ? (row * features + f) * nq + q
                                            : (row * nq + q) * features + f];
    for (int64_t i = 0; i < a->groups * nq && index == w->reached; i++) w->reach[i] += held[i];
    if (!e) return TIBA_OK;
    for (int64_t g = 0; g < a->groups; g++)
        for (int64_t q = 0; q < nq; q++) {
            if (held[g * nq + q] == 0.0) continue;
            for (int64_t k = 0; k < nk; k++)
                handed[g * nk + k] += held[g * nq + q] * (double)e[(g * nq + q) * nk + k];
        }
    double even = 1.0 / (double)(a->heads * features);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < nk; k++)
            for (int64_t f = 0; f < features; f++)
                full[a->transposed ? (row * features + f) * nk + k
                                   : (row * nk + k) * features + f] =
                    (float)(handed[a->group_of[row] * nk + k] * even);
    v.data = full;
    w->channel = NULL; /* whoever asked */
    return give(w, a->v, &v, 1.0f, error);
}

/* The adjoint of a copy. */
static tiba_status step_move(walk *w, const tb_node *node, tiba_error *error) {
    const tb_op_def *def = node->op->def;
    if (!def->vjp)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no rollout through it: %s",
                            def->no_vjp);
    size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    const tiba_tensor **in = tb_scratch(w->exec, n_in, sizeof *in);
    const tiba_tensor **out = tb_scratch(w->exec, n_out, sizeof *out);
    const tiba_tensor **back = tb_scratch(w->exec, n_out, sizeof *back);
    tiba_tensor **din = tb_scratch(w->exec, n_in, sizeof *din);
    tiba_tensor *memory = tb_scratch(w->exec, n_in + n_out, sizeof *memory);
    if (!in || !out || !back || !din || !memory) return tb_out_of_memory(error);
    for (size_t i = 0; i < n_in; i++) {
        const tb_value *value = node->in[i];
        in[i] = value ? w->program->values[value->id] : NULL;
        din[i] = NULL;
        if (!value || !value->active || !w->r->between[value->id]) continue;
        memory[i] = value->t;
        memory[i].data = tb_scratch(w->exec, (size_t)tb_tensor_count(&value->t), sizeof(float));
        if (!memory[i].data) return tb_out_of_memory(error);
        din[i] = &memory[i];
    }
    for (size_t i = 0; i < n_out; i++) {
        const tb_value *value = node->out[i];
        out[i] = value ? w->program->values[value->id] : NULL;
        back[i] = NULL;
        if (!held(w, value)) continue;
        memory[n_in + i] = value->t;
        memory[n_in + i].data = held(w, value);
        back[i] = &memory[n_in + i];
    }
    TB_TRY(def->vjp(w->exec, node, in, out, back, din, error));
    for (size_t i = 0; i < n_in; i++)
        if (din[i]) TB_TRY(give(w, node->in[i], din[i], 1.0f, error));
    return TIBA_OK;
}

/* -------------------------------------------------------------------- steps of several operands */

/* The channel of a question to these of the members, NULL: out of memory. */
static const channel *channel_of(walk *w, const tb_node *node, const uint64_t *members) {
    const size_t size = ((size_t)w->r->n_attentions + 63) / 64 * sizeof *members;
    for (channel *c = w->channels; c; c = c->next)
        if (c->node == node && memcmp(c->members, members, size) == 0) return c;
    channel *c = tb_calloc(w->budget, 1, sizeof *c + size);
    if (!c) return NULL;
    *c = (channel){node, (uint64_t *)(c + 1), w->channels};
    memcpy(c->members, members, size);
    return w->channels = c;
}

static void drop_channels(walk *w) {
    for (channel *c = w->channels, *next; c; c = next) {
        next = c->next;
        tb_free(c);
    }
    w->channels = NULL;
}

/* No row of I + E is one attention's alone: rows stay undivided, or the rollout is refused. */
static tiba_status leave_undivided(const walk *w, const tb_node *node, tiba_error *error) {
    if (w->load->undivided) {
        *w->load->undivided = true;
        return TIBA_OK;
    }
    return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                        "the normalized rollout is not defined where several attentions share "
                        "a residual sum: --rollout raw, or another method");
}

/* *divided: the weight over the sums of the rows of I + E, where attentions are asked and something
 * passes by them; else the weight itself. */
static tiba_status normalize(walk *w, const tb_node *node, const tiba_tensor *m,
                             tiba_tensor *divided, tiba_error *error) {
    const tb_split *split = w->r->splits[node->id];
    *divided = *m;
    bool passes = false;
    for (int i = 0; i < node->n_in; i++) passes |= split->goes_on[i];
    if (!w->load->normalized || w->channel || split->n_asked == 0 || (split->alone && !passes))
        return TIBA_OK;
    if (!split->alone) return leave_undivided(w, node, error);
    const size_t count = (size_t)tb_tensor_count(m);
    float *s = tb_calloc(w->budget, count + 1, sizeof *s);
    if (!s) return tb_out_of_memory(error);
    tiba_status status =
        tb_route_row_sums(s, w->r, w->program, w->load->blocks, node, w->budget, w->exec, error);
    float *to = divided->data = tb_scratch(w->exec, count, sizeof *to);
    if (!to && status == TIBA_OK) status = tb_out_of_memory(error);
    /* where a token's weight is on the attentions' features alone, or on others alone */
    if (status == TIBA_OK && split->joins &&
        !(tb_route_own_part(to, node, split->attends, m->data) &&
          tb_route_own_part(to, node, split->goes_on, m->data)))
        status = leave_undivided(w, node, error);
    for (size_t i = 0; i < count && status == TIBA_OK; i++)
        to[i] = ((const float *)m->data)[i] / (1.0f + s[i]);
    tb_free(s);
    return status;
}

/* Hands an operand its part of m, which is of the result's shape. */
static tiba_status hand(walk *w, const tb_node *node, int i, const tiba_tensor *m, float factor,
                        tiba_error *error) {
    const tb_value *value = node->in[i];
    if (factor == 0.0f || !w->r->between[value->id]) return TIBA_OK;
    if (node->op->class != TB_CLASS_MOVE) return give(w, value, m, factor, error);
    tiba_tensor part = value->t;
    const int axis = tb_concat_axis(node);
    const int64_t inner = tb_product(m->dims, axis + 1, m->rank), row = m->dims[axis] * inner,
                  own = part.dims[axis] * inner, outer = tb_product(m->dims, 0, axis);
    int64_t before = 0;
    for (int k = 0; k < i; k++) before += node->in[k]->t.dims[axis] * inner;
    float *to = part.data = tb_scratch(w->exec, (size_t)(outer * own), sizeof *to);
    if (!to) return tb_out_of_memory(error);
    for (int64_t k = 0; k < outer; k++)
        memcpy(to + k * own, (const float *)m->data + k * row + before, (size_t)own * sizeof *to);
    return give(w, value, &part, factor, error);
}

/* The part of m that the operands in `set` are to get. */
static tiba_status part_of(walk *w, const tb_node *node, const unsigned char *set,
                           const tiba_tensor *m, tiba_tensor *part, tiba_error *error) {
    *part = *m;
    if (!w->r->splits[node->id]->joins) return TIBA_OK;
    part->data = tb_scratch(w->exec, (size_t)tb_tensor_count(m), sizeof(float));
    if (!part->data) return tb_out_of_memory(error);
    tb_route_own_part(part->data, node, set, m->data);
    return TIBA_OK;
}

/* What is asked of the members of a question that the channel at hand asks. */
static tiba_status ask(walk *w, const tb_node *node, const tb_asked *asked, const tiba_tensor *m,
                       tiba_error *error) {
    const size_t words = ((size_t)w->r->n_attentions + 63) / 64;
    const channel *from = w->channel;
    uint64_t *members = tb_scratch(w->exec, words, sizeof *members), any = 0;
    if (!members) return tb_out_of_memory(error);
    for (size_t k = 0; k < words; k++)
        any |= members[k] = asked->members[k] & (from ? from->members[k] : ~UINT64_C(0));
    if (!any) return TIBA_OK;
    w->channel = channel_of(w, node, members);
    if (!w->channel) return tb_out_of_memory(error);
    tiba_status status = TIBA_OK;
    for (int i = 0; i < node->n_in && status == TIBA_OK; i++)
        if (asked->share[i] > 0.0f)
            status = hand(w, node, i, m, asked->share[i] * asked->rest, error);
    w->channel = from;
    return status;
}

static tiba_status step_split(walk *w, const tb_node *node, const tiba_tensor *m,
                              tiba_error *error) {
    const tb_split *split = w->r->splits[node->id];
    tiba_tensor divided, part;
    TB_TRY(normalize(w, node, m, &divided, error));
    for (int whole = 0; whole < 2; whole++) {
        TB_TRY(part_of(w, node, split->goes_on, whole ? m : &divided, &part, error));
        for (int i = 0; i < node->n_in; i++)
            if (split->goes_on[i] && split->divides[i] == !whole)
                TB_TRY(hand(w, node, i, &part, split->stream[i], error));
    }
    if (split->n_asked == 0) return TIBA_OK;
    TB_TRY(part_of(w, node, split->attends, &divided, &part, error));
    for (int k = 0; k < split->n_asked; k++) TB_TRY(ask(w, node, &split->asked[k], &part, error));
    return TIBA_OK;
}

static tiba_status step_region(walk *w, const tb_region *region, tiba_error *error) {
    tiba_tensor m = region->entry->t;
    m.data = held(w, region->exit);
    if (region->turned) {
        tb_walk back = tb_region_walk(region);
        m.data = tb_scratch(w->exec, (size_t)tb_tensor_count(&m), sizeof(float));
        if (!m.data) return tb_out_of_memory(error);
        tb_walk_copy(w->exec, &back, sizeof(float), m.data, held(w, region->exit));
    }
    return give(w, region->entry, &m, 1.0f, error);
}

/* One step of what the node's results hold in the channel at hand. */
static tiba_status take_step(walk *w, const tb_node *node, tiba_error *error) {
    const tb_route *r = w->r;
    int index = r->on.regions->of_node[node->id];
    if (tb_route_ends_at(r, node)) return TIBA_OK;
    if (index >= 0) { /* element-wise functions and normalisations leave tokens alone */
        const tb_region *region = &r->on.regions->list[index];
        return region->exit->producer == node ? step_region(w, region, error) : TIBA_OK;
    }
    int attention = tb_route_member_of(r, node);
    tiba_tensor m = node->out[0] ? node->out[0]->t : (tiba_tensor){0};
    m.data = held(w, node->out[0]);
    if (attention >= 0) return step_attention(w, node, attention, m.data, error);
    if (r->splits[node->id]) return m.data ? step_split(w, node, &m, error) : TIBA_OK;
    if (node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_OTHER)
        return step_move(w, node, error);
    if (!m.data) return TIBA_OK;
    tiba_tensor part;
    const int x = r->carrier[node->id];
    switch (node->op->class) {
    case TB_CLASS_CONTRACT:
    case TB_CLASS_REDUCE:
    case TB_CLASS_POOL:
        TB_TRY(tb_route_merge_down(&part, x, node, &m, w->program, w->exec, error));
        return give(w, node->in[x], &part, 1.0f, error);
    default: /* one operand */
        for (int i = 0; i < node->n_in; i++) TB_TRY(give(w, node->in[i], &m, 1.0f, error));
        return TIBA_OK;
    }
}

/* Steps of all channels that the node's results hold something in. */
static tiba_status take_steps(walk *w, const tb_node *node, tiba_error *error) {
    for (int i = 0; i < node->n_out; i++)
        for (share *s = node->out[i] ? w->shares[node->out[i]->id] : NULL; s; s = s->next) {
            bool done = false; /* with an earlier output */
            w->channel = s->of;
            for (int k = 0; k < i && !done; k++) done = held(w, node->out[k]) != NULL;
            if (done) continue;
            tiba_status status = take_step(w, node, error);
            tb_scratch_reset(w->exec);
            TB_TRY(status);
        }
    return TIBA_OK;
}

static tiba_status walk_back(walk *w, tiba_error *error) {
    for (int s = 0; s < w->r->n_steps; s++) {
        const tb_node *node = w->r->steps[s];
        TB_TRY(take_steps(w, node, error));
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && node->out[i] != w->r->source.value) drop(w, node->out[i]);
    }
    return TIBA_OK;
}

/* Carries the load back; tokens [source.tokens] NULL: nobody asks for them. */
static tiba_status run(walk *at, double *tokens, tiba_error *error) {
    const tb_route *r = at->r;
    const tb_token_axes *from = &r->readout, *to = &r->source;
    at->channel = NULL;
    float *start = mass_of(at, from->value);
    if (!start) return tb_out_of_memory(error);
    int64_t count = tb_tensor_count(&from->value->t);
    double even = (double)(from->tokens * from->batch) / (double)count;
    for (int64_t i = 0; i < count; i++)
        if (i / from->batch_inner % from->batch == at->load->sample)
            start[i] = (float)(at->load->w[tb_token_of(from, i)] * even);
    TB_TRY(walk_back(at, error));
    if (!tokens) return TIBA_OK;
    for (int64_t t = 0; t < to->tokens; t++) tokens[t] = 0.0;
    at->channel = NULL;
    const float *end = held(at, to->value);
    count = tb_tensor_count(&to->value->t);
    for (int64_t i = 0; end && i < count; i++) tokens[tb_token_of(to, i)] += (double)end[i];
    return TIBA_OK;
}

static tiba_status run_walk(walk *at, double *tokens, tiba_error *error) {
    int n = at->r->on.graph->n_values;
    at->shares = tb_calloc(at->budget, (size_t)n + 1, sizeof *at->shares);
    tiba_status status = at->shares ? run(at, tokens, error) : tb_out_of_memory(error);
    for (int i = 0; i < n && at->shares; i++)
        if (at->r->on.graph->values[i]) drop(at, at->r->on.graph->values[i]);
    tb_free(at->shares);
    drop_channels(at);
    return status;
}

tiba_status tb_route_run(const tb_route *r, const tb_program *program, const tb_route_load *load,
                         double *tokens, tb_budget *budget, tb_exec *exec, tiba_error *error) {
    walk at = {
        .r = r, .program = program, .budget = budget, .exec = exec, .load = load, .reached = -1};
    return run_walk(&at, tokens, error);
}

tiba_status tb_route_reach(const tb_route *r, const tb_program *program, const tb_route_load *load,
                           int index, double *held, tb_budget *budget, tb_exec *exec,
                           tiba_error *error) {
    const tb_attention *a = tb_route_member(r, index);
    walk at = {.r = r,
               .program = program,
               .budget = budget,
               .exec = exec,
               .load = load,
               .reach = held,
               .reached = index};
    memset(held, 0, (size_t)(a->groups * a->queries) * sizeof *held);
    return run_walk(&at, NULL, error);
}
