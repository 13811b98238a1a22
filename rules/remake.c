#include "rules/remake.h"

#include <limits.h>
#include <string.h>

#include "runtime/profile.h"

/* Costs are counted in touched elements for each element of the value. */
enum {
    MOST_COST = 8,
    MOST_SUMS = 8,     /* on the way from what is kept: the residual sums wait for each other */
    LEAST_BYTES = 4096 /* smaller values are kept */
};

/* What a kept value would save is weighed against this; < 0: it is never made again. */
static int64_t cost_of(const tb_node *node) {
    switch (node->op->class) {
    case TB_CLASS_MOVE:
    case TB_CLASS_BINARY:
        return 1;
    case TB_CLASS_QUANT:
    case TB_CLASS_NORM:
        return 3;
    case TB_CLASS_UNARY:
        return 4;
    default: /* sixteen products of a sum take as long as one element's moves */
        if (!tb_is(node, TB_OP_MatMul) || !node->in[0]->active || !node->in[1]->active) return -1;
        return 1 + node->in[0]->t.dims[node->in[0]->t.rank - 1] / 16;
    }
}

static bool is_sum(const tb_node *node) {
    int actives = 0;
    for (int i = 0; i < node->n_in; i++) actives += node->in[i] && node->in[i]->active;
    return node->op->class == TB_CLASS_BINARY && actives > 1;
}

/* ---- which ---- */

/* What is known of a value's root while the graph is walked. */
typedef struct known {
    unsigned char read, kept; /* by a pass; whatever it costs */
    int64_t cost;             /* to make it from what is there; < 0: not possible */
    int sums;                 /* on that way */
} known;

typedef struct finding {
    const tb_remake *remake;
    known *list; /* by value id of the root */
} finding;

static known *known_of(const finding *f, const tb_value *value) {
    return &f->list[f->remake->root[value->id]];
}

/* Decides on a node's outputs; its inputs are decided. */
static bool decide(const finding *f, const tb_node *node) {
    int64_t cost = cost_of(node), size = 0, reached = 0;
    int sums = is_sum(node);
    bool fits = cost >= 0;
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i] || node->in[i]->t.data) continue;
        const known *in = known_of(f, node->in[i]);
        fits &= in->cost >= 0;
        reached += in->cost;
        if (in->sums > sums - is_sum(node)) sums = in->sums + is_sum(node);
    }
    for (int i = 0; i < node->n_out; i++) {
        const tb_value *out = node->out[i];
        if (!out) continue;
        const known *at = known_of(f, out);
        fits &= !at->kept && out->t.dtype == TIBA_FLOAT32 && f->remake->root[out->id] == out->id;
        size += tb_tensor_count(&out->t);
    }
    fits &= sums <= MOST_SUMS && size * (int64_t)sizeof(float) >= LEAST_BYTES;
    int64_t whole = cost * size + reached;
    bool again = fits && whole <= MOST_COST * size;
    for (int i = 0; i < node->n_out; i++) {
        if (!node->out[i]) continue;
        known *at = known_of(f, node->out[i]);
        if (f->remake->root[node->out[i]->id] != node->out[i]->id) continue;
        /* what a pass reads is there in any case: who is made of it does not pay for it */
        at->cost = at->read || at->kept ? 0 : again ? whole : -1;
        at->sums = again ? sums : 0;
    }
    return again;
}

tiba_status tb_remake_find(tb_remake **out, const tb_graph *graph, const unsigned char *reads,
                           unsigned char *kept, tb_arena *arena, tiba_error *error) {
    tb_remake *r = TB_NEW(arena, tb_remake, 1);
    finding f = {r, TB_NEW(arena, known, graph->n_values)};
    if (!r || !f.list) return tb_out_of_memory(error);
    *r = (tb_remake){.graph = graph,
                     .root = TB_NEW(arena, int, graph->n_values),
                     .node = TB_NEW(arena, unsigned char, graph->next_node_id)};
    if (!r->root || !r->node) return tb_out_of_memory(error);
    tb_alias_roots(r->root, graph);
    for (int i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (!value) continue;
        f.list[r->root[i]].read |= reads[i] != 0;
        f.list[r->root[i]].kept |= kept[i] || value->is_output;
    }
    for (const tb_node *node = graph->first; node; node = node->next)
        r->node[node->id] = decide(&f, node);
    for (const tb_node *node = graph->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *value = node->out[i];
            if (!value) continue;
            const tb_node *maker = graph->values[r->root[value->id]]->producer;
            if (reads[value->id] && (!maker || !r->node[maker->id])) kept[value->id] = 1;
        }
    *out = r;
    return TIBA_OK;
}

/* ---- when ---- */

struct tb_remaking {
    const tb_remake *remake;
    tb_budget *budget;
    tb_arena *arena;
    tb_interval *life;    /* by value id: of what is made again */
    int *home;            /* by value id of the root: whose interval its memory is */
    tiba_tensor *tensors; /* by value id; data = NULL: the program's */
    const tb_node **due;  /* by step: the first of the nodes that run in front of it */
    const tb_node **then; /* by node id: the next one of the same step */
    tb_block block;
};

/* The node that makes a value again, NULL if it is there. */
static const tb_node *maker_of(const tb_remake *r, const tb_value *value) {
    if (!value || value->t.data) return NULL;
    const tb_node *node = r->graph->values[r->root[value->id]]->producer;
    return node && r->node[node->id] ? node : NULL;
}

static void extend(tb_remaking *m, const tb_value *value, int s) {
    if (!maker_of(m->remake, value)) return;
    tb_interval *it = &m->life[m->remake->root[value->id]];
    if (it->size == 0) {
        it->size = tb_tensor_bytes(&m->remake->graph->values[m->remake->root[value->id]]->t);
        it->birth = it->death = s;
    }
    if (s < it->birth) it->birth = s;
    if (s > it->death) it->death = s;
}

static void extend_needed(tb_remaking *m, const tb_node *node, unsigned needs, int s) {
    for (int i = 0; i < node->n_in; i++)
        if (needs & TB_NEEDS_IN(i < 15 ? i : 15)) extend(m, node->in[i], s);
    for (int i = 0; i < node->n_out; i++)
        if (needs & TB_NEEDS_OUT(i < 15 ? i : 15)) extend(m, node->out[i], s);
}

/* Every value's first and last step, users before makers, and who runs when. */
static void schedule(tb_remaking *m, int n_steps, const tb_node *const *steps,
                     const unsigned *needs) {
    for (int s = 0; s < n_steps; s++) extend_needed(m, steps[s], needs[s], s);
    for (const tb_node *node = m->remake->graph->last; node; node = node->prev) {
        if (!m->remake->node[node->id]) continue;
        int s = n_steps;
        for (int i = 0; i < node->n_out; i++) {
            const tb_interval *it = node->out[i] ? &m->life[node->out[i]->id] : NULL;
            if (it && it->size && it->birth < s) s = it->birth;
        }
        if (s == n_steps) continue;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && m->life[node->out[i]->id].size) m->life[node->out[i]->id].birth = s;
        for (int i = 0; i < node->n_in; i++) extend(m, node->in[i], s);
        m->then[node->id] = m->due[s];
        m->due[s] = node;
    }
}

/* The same lifetimes in single nodes and steps, so that what is read for the last time by the node
 * that makes another value can be written over. */
static void refine(tb_remaking *m, int n_steps, const tb_node *const *steps,
                   const unsigned *needs) {
    const tb_remake *r = m->remake;
    const int n = r->graph->n_values;
    for (int i = 0; i < n; i++) {
        m->home[i] = i;
        if (m->life[i].size) m->life[i].birth = INT_MAX, m->life[i].death = -1;
    }
    int tick = 0;
    for (int s = 0; s < n_steps; s++, tick++) {
        for (const tb_node *node = m->due[s]; node; node = m->then[node->id], tick++) {
            for (int i = 0; i < node->n_out; i++)
                if (node->out[i] && m->life[node->out[i]->id].size) extend(m, node->out[i], tick);
            for (int i = 0; i < node->n_in; i++) extend(m, node->in[i], tick);
        }
        extend_needed(m, steps[s], needs[s], tick);
    }
    tick = 0;
    for (int s = 0; s < n_steps; s++, tick++)
        for (const tb_node *node = m->due[s]; node; node = m->then[node->id], tick++)
            tb_write_over(node, tick, r->root, m->home, m->life, NULL);
}

static tiba_status get_memory(tb_remaking *m, tiba_error *error) {
    const tb_graph *graph = m->remake->graph;
    int n = graph->n_values;
    size_t bytes;
    void **buffers = TB_NEW(m->arena, void *, n);
    m->tensors = TB_NEW(m->arena, tiba_tensor, n);
    if (!buffers || !m->tensors) return tb_out_of_memory(error);
    TB_TRY(tb_plan(&bytes, n, m->life, error));
    TB_TRY(tb_block_create(&m->block, buffers, bytes, n, m->life, m->budget, error));
    for (int i = 0; i < n; i++) {
        if (!graph->values[i]) continue;
        m->tensors[i] = graph->values[i]->t;
        m->tensors[i].data = buffers[m->home[m->remake->root[i]]];
    }
    return TIBA_OK;
}

tiba_status tb_remaking_create(tb_remaking **out, const tb_remake *remake, int n_steps,
                               const tb_node *const *steps, const unsigned *needs,
                               tb_budget *budget, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget);
    tb_remaking *m = arena ? TB_NEW(arena, tb_remaking, 1) : NULL;
    if (!m) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    const tb_graph *graph = remake->graph;
    *m = (tb_remaking){.remake = remake,
                       .budget = budget,
                       .arena = arena,
                       .life = TB_NEW(arena, tb_interval, graph->n_values),
                       .home = TB_NEW(arena, int, graph->n_values),
                       .due = TB_NEW(arena, const tb_node *, n_steps),
                       .then = TB_NEW(arena, const tb_node *, graph->next_node_id)};
    tiba_status status =
        m->life && m->home && m->due && m->then ? TIBA_OK : tb_out_of_memory(error);
    if (status == TIBA_OK) {
        schedule(m, n_steps, steps, needs);
        refine(m, n_steps, steps, needs);
        status = get_memory(m, error);
    }
    if (status != TIBA_OK) {
        tb_remaking_destroy(m);
        return status;
    }
    *out = m;
    return TIBA_OK;
}

void tb_remaking_destroy(tb_remaking *m) {
    if (!m) return;
    tb_block_destroy(&m->block);
    tb_arena_destroy(m->arena);
}

/* ---- making ---- */

const tiba_tensor *tb_remaking_value(const tb_remaking *m, const tb_program *program,
                                     const tb_value *value) {
    if (!value) return NULL;
    return m && m->tensors[value->id].data && !value->t.data ? &m->tensors[value->id]
                                                             : program->values[value->id];
}

static tiba_status run_node(tb_remaking *m, const tb_program *program, const tb_node *node,
                            tb_exec *exec, tiba_error *error) {
    const tiba_tensor **in = tb_scratch(exec, (size_t)node->n_in + 1, sizeof *in);
    tiba_tensor **out = tb_scratch(exec, (size_t)node->n_out + 1, sizeof *out);
    if (!in || !out) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) in[i] = tb_remaking_value(m, program, node->in[i]);
    for (int i = 0; i < node->n_out; i++) {
        tiba_tensor *to = node->out[i] ? &m->tensors[node->out[i]->id] : NULL;
        out[i] = to && to->data ? to : NULL;
    }
    tb_stopwatch watch = tb_profile_start(exec);
    TB_TRY(node->op->def->forward(exec, node, in, out, error));
    if (exec->profile)
        tb_profile_stop(exec, &watch, TB_PHASE_BACKWARD, node,
                        tb_profile_bytes(node->n_in, in, ~0u),
                        tb_profile_bytes(node->n_out, (const tiba_tensor *const *)out, ~0u));
    return TIBA_OK;
}

tiba_status tb_remaking_step(tb_remaking *m, const tb_program *program, int s, tb_exec *exec,
                             tiba_error *error) {
    for (const tb_node *node = m ? m->due[s] : NULL; node; node = m->then[node->id]) {
        tiba_status status = run_node(m, program, node, exec, error);
        tb_scratch_reset(exec);
        TB_TRY(status);
    }
    return TIBA_OK;
}
