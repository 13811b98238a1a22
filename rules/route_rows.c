/*
 * route_rows.c: the sums of the rows of E where a residual sum stands. A row of E stands where its
 * attention is; the walk down (route_walk.c) spreads a token's weight over rows by moves and merges
 * of the branch. The transpose of that, from the attention up, gives each element of the sum the
 * mean of the rows' sums that its weight would reach.
 */
#include <math.h>
#include <string.h>

#include "graph/reach.h"
#include "rules/region_walk.h"
#include "rules/route_steps.h"
#include "runtime/broadcast.h"

typedef struct climb {
    const tb_route *r;
    const tb_program *program;
    float *const *blocks;
    const uint64_t *members; /* whose rows count, NULL: all */
    tb_budget *budget;
    tb_exec *exec;
    float **at; /* by value id: what would arrive at attentions from one unit on the element */
} climb;

static float *room(climb *c, const tb_value *value) {
    float **to = &c->at[value->id];
    if (!*to) *to = tb_calloc(c->budget, (size_t)tb_tensor_count(&value->t) + 1, sizeof(float));
    return *to;
}

/* Of a member's product: the sum of each query's row. */
static tiba_status start(climb *c, const tb_node *node, int index, tiba_error *error) {
    if (c->members && !tb_set_has(c->members, c->r->same[index])) return TIBA_OK;
    const tb_attention *a = &c->r->on.attentions->attentions[c->r->members[index]];
    const float *e = c->blocks[index];
    float *to = room(c, node->out[0]);
    if (!to) return tb_out_of_memory(error);
    int64_t rows = a->groups * a->heads, nq = a->queries;
    int64_t features = tb_tensor_count(&node->out[0]->t) / (rows * nq);
    for (int64_t row = 0; row < rows && e; row++)
        for (int64_t q = 0; q < nq; q++) {
            double sum = 0.0;
            const float *own = e + (a->group_of[row] * nq + q) * a->keys;
            for (int64_t k = 0; k < a->keys; k++) sum += fabs((double)own[k]);
            for (int64_t f = 0; f < features; f++)
                to[a->transposed ? (row * features + f) * nq + q : (row * nq + q) * features + f] =
                    (float)sum;
        }
    return TIBA_OK;
}

/* to += factor × what the operand holds, broadcast to the result's shape. */
static void add_up(const climb *c, float *to, const tb_value *out, const tb_value *in,
                   float factor) {
    const float *from = c->at[in->id];
    if (!from || factor == 0.0f) return;
    bool same = tb_tensor_count(&in->t) == tb_tensor_count(&out->t);
    tb_broadcast plan;
    tb_broadcast_plan(&plan, &out->t, same ? &out->t : &in->t, &out->t);
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++)
            to[runs.at + i] += factor * from[runs.a + i * plan.step_a];
}

static bool holds_any(const climb *c, const tb_node *node) {
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && c->at[node->in[i]->id]) return true;
    return false;
}

/* A copy copies; what has no value here is 0. */
static tiba_status up_move(climb *c, const tb_node *node, tiba_error *error) {
    if (node->op->class == TB_CLASS_OTHER)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "no rows that could be divided by their sums go through it: "
                            "--rollout raw, or another method");
    size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    const tiba_tensor **in = tb_scratch(c->exec, n_in, sizeof *in);
    tiba_tensor **out = tb_scratch(c->exec, n_out, sizeof *out);
    tiba_tensor *memory = tb_scratch(c->exec, n_in + n_out, sizeof *memory);
    if (!in || !out || !memory) return tb_out_of_memory(error);
    for (size_t i = 0; i < n_in; i++) {
        const tb_value *value = node->in[i];
        in[i] = value ? c->program->values[value->id] : NULL;
        if (!value || (value->t.data && !value->active) || value->t.dtype != TIBA_FLOAT32) continue;
        size_t count = (size_t)tb_tensor_count(&value->t);
        memory[i] = value->t;
        memory[i].data = c->at[value->id];
        if (!memory[i].data) {
            memory[i].data = tb_scratch(c->exec, count, sizeof(float));
            if (!memory[i].data) return tb_out_of_memory(error);
            memset(memory[i].data, 0, count * sizeof(float));
        }
        in[i] = &memory[i];
    }
    for (size_t i = 0; i < n_out; i++) {
        const tb_value *value = node->out[i];
        out[i] = NULL;
        if (!value) continue;
        memory[n_in + i] = value->t;
        memory[n_in + i].data = room(c, value);
        if (!memory[n_in + i].data) return tb_out_of_memory(error);
        out[i] = &memory[n_in + i];
    }
    return node->op->def->forward(c->exec, node, in, out, error);
}

/* The mean of the elements that were merged. */
static tiba_status up_merge(climb *c, const tb_node *node, tiba_error *error) {
    const int x = c->r->carrier[node->id];
    if (x < 0 || !c->at[node->in[x]->id]) return TIBA_OK; /* the other operand has none */
    float *to = room(c, node->out[0]);
    if (!to) return tb_out_of_memory(error);
    return tb_route_merge_up(to, x, node, (const float *const *)c->at, c->program, c->exec, error);
}

/* to += factor × features side by side: each token's mean over the operands that have a share, for
 * all features of it; where all have one, each its own. */
static void add_joined(const climb *c, float *to, const tb_node *node, const float *share,
                       float factor) {
    const tiba_tensor *out = &node->out[0]->t;
    const int axis = tb_concat_axis(node);
    const int64_t outer = tb_product(out->dims, 0, axis), n = out->dims[axis],
                  inner = tb_product(out->dims, axis + 1, out->rank);
    int64_t shared = 0;
    for (int i = 0; i < node->n_in; i++)
        if (share[i] > 0.0f) shared += node->in[i]->t.dims[axis];
    for (int64_t i = 0; i < outer * inner && shared; i++) {
        float *row = to + i / inner * n * inner + i % inner, sum = 0.0f;
        for (int k = 0, at = 0; k < node->n_in; k++) {
            const int64_t own = node->in[k]->t.dims[axis];
            const float *from = share[k] > 0.0f ? c->at[node->in[k]->id] : NULL;
            if (from) from += i / inner * own * inner + i % inner;
            for (int64_t f = 0; f < own; f++, at++) {
                const float x = from ? from[f * inner] : 0.0f;
                if (shared == n)
                    row[at * inner] += factor * x;
                else
                    sum += x;
            }
        }
        for (int64_t f = 0; f < n && shared < n; f++)
            row[f * inner] += factor * sum / (float)shared;
    }
}

static void add_operands(const climb *c, float *to, const tb_node *node, const float *share,
                         float factor) {
    if (c->r->splits[node->id]->joins)
        add_joined(c, to, node, share, factor);
    else
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i]) add_up(c, to, node->out[0], node->in[i], factor * share[i]);
}

static tiba_status rows_of(float *s, const climb *of, const tb_node *node, bool within,
                           tiba_error *error);

/* What is asked of operands within the branch ends where these begin. */
static tiba_status up_split(climb *c, const tb_node *node, tiba_error *error) {
    float *to = room(c, node->out[0]);
    if (!to) return tb_out_of_memory(error);
    TB_TRY(rows_of(to, c, node, true, error));
    add_operands(c, to, node, c->r->splits[node->id]->stream, 1.0f);
    return TIBA_OK;
}

static tiba_status up_one(climb *c, const tb_node *node, tiba_error *error) {
    float *to = room(c, node->out[0]);
    if (!to) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && c->r->between[node->in[i]->id])
            add_up(c, to, node->out[0], node->in[i], 1.0f);
    return TIBA_OK;
}

static tiba_status up_region(climb *c, const tb_region *region, tiba_error *error) {
    float *to = room(c, region->exit), *from = c->at[region->entry->id];
    if (!to) return tb_out_of_memory(error);
    if (!from) return TIBA_OK;
    if (!region->turned) {
        memcpy(to, from, (size_t)tb_tensor_count(&region->exit->t) * sizeof *to);
        return TIBA_OK;
    }
    int64_t in[TIBA_MAX_RANK], out[TIBA_MAX_RANK];
    const tiba_tensor *entry = &region->entry->t, *exit = &region->exit->t;
    tb_strides(in, entry->rank, entry->dims);
    tb_strides(out, exit->rank, exit->dims);
    tb_walk walk = {0};
    for (int i = 0; i < exit->rank; i++)
        tb_walk_axis(&walk, exit->dims[i], out[i], in[region->axis[i]]);
    tb_walk_copy(c->exec, &walk, sizeof(float), to, from);
    return TIBA_OK;
}

static tiba_status step_up(climb *c, const tb_node *node, tiba_error *error) {
    int region = c->r->on.regions->of_node[node->id], member = tb_route_member_of(c->r, node);
    if (region >= 0) {
        const tb_region *of = &c->r->on.regions->list[region];
        return of->exit->producer == node ? up_region(c, of, error) : TIBA_OK;
    }
    if (member >= 0) return start(c, node, member, error);
    if (!holds_any(c, node)) return TIBA_OK;
    if (c->r->splits[node->id]) return up_split(c, node, error);
    switch (node->op->class) {
    case TB_CLASS_MOVE:
    case TB_CLASS_OTHER:
        return up_move(c, node, error);
    case TB_CLASS_CONTRACT:
    case TB_CLASS_REDUCE:
    case TB_CLASS_POOL:
        return up_merge(c, node, error);
    default:
        return up_one(c, node, error);
    }
}

/* Where the weight of the operands that are asked would come to. */
static void mark_asked(const tb_route *r, const tb_node *node, const tb_asked *asked,
                       unsigned char *reached) {
    int i = 0;
    for (int k = 0; k < node->n_in; k++)
        if (asked->share[k] > 0.0f) reached[node->in[k]->id] = 1;
    while (i < r->n_steps && r->steps[i] != node) i++;
    for (i++; i < r->n_steps; i++) {
        bool on = false;
        for (int k = 0; k < r->steps[i]->n_out; k++)
            on |= r->steps[i]->out[k] && reached[r->steps[i]->out[k]->id];
        if (on) tb_route_mark_step(r, r->steps[i], reached);
    }
}

/* From where all operands come from up to the node. */
static tiba_status climb_to(climb *c, const tb_node *top, const unsigned char *inside,
                            const unsigned char *reached, tiba_error *error) {
    const tb_route *r = c->r;
    for (int i = r->n_steps - 1; i >= 0 && r->steps[i] != top; i--) {
        const tb_node *node = r->steps[i];
        bool on = false;
        for (int k = 0; k < node->n_out; k++)
            on |= node->out[k] && inside[node->out[k]->id] && reached[node->out[k]->id] &&
                  node->out[k] != r->splits[top->id]->base;
        if (!on) continue;
        TB_TRY(step_up(c, node, error));
        tb_scratch_reset(c->exec);
    }
    return TIBA_OK;
}

/* Those of one question, `asked`, of whom also `of` asks. */
static tiba_status rows_asked(float *s, const climb *of, const tb_node *node, const tb_asked *asked,
                              bool within, tiba_error *error) {
    const size_t n = (size_t)of->r->on.graph->n_values,
                 words = ((size_t)of->r->n_attentions + 63) / 64;
    uint64_t *members = tb_calloc(of->budget, words, sizeof *members), any = 0;
    for (size_t k = 0; k < words && members; k++)
        any |= members[k] = asked->members[k] & (of->members ? of->members[k] : ~UINT64_C(0));
    climb c = *of;
    c.members = members;
    c.at = tb_calloc(of->budget, n + 1, sizeof *c.at);
    unsigned char *inside = tb_calloc(of->budget, n + 1, 1);
    unsigned char *reached = tb_calloc(of->budget, n + 1, 1);
    tiba_status status = TIBA_OK;
    if (!members || !c.at || !inside || !reached) {
        status = tb_out_of_memory(error);
    } else if (any) {
        mark_asked(of->r, node, asked, reached);
        tb_mark_descendants(of->r->on.graph, of->r->splits[node->id]->base, inside);
        status = climb_to(&c, node, inside, reached, error);
        add_operands(&c, s, node, asked->share, within ? asked->rest : 1.0f);
    }
    for (size_t i = 0; i < n && c.at; i++) tb_free(c.at[i]);
    tb_free(c.at);
    tb_free(members);
    tb_free(inside);
    tb_free(reached);
    return status;
}

/* s += what the questions of a node ask; `within` a branch that is asked itself, these are for what
 * the operands on the stream do not ask. */
static tiba_status rows_of(float *s, const climb *of, const tb_node *node, bool within,
                           tiba_error *error) {
    const tb_split *split = of->r->splits[node->id];
    for (int k = 0; k < split->n_asked; k++)
        TB_TRY(rows_asked(s, of, node, &split->asked[k], within, error));
    return TIBA_OK;
}

tiba_status tb_route_row_sums(float *s, const tb_route *r, const tb_program *program,
                              float *const *blocks, const tb_node *node, tb_budget *budget,
                              tb_exec *exec, tiba_error *error) {
    climb c = {.r = r, .program = program, .blocks = blocks, .budget = budget, .exec = exec};
    return rows_of(s, &c, node, false, error);
}
