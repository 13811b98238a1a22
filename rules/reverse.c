#include "rules/reverse.h"

#include <string.h>

#include "graph/reach.h"
#include "rules/elementwise.h"
#include "runtime/profile.h"

typedef struct track { /* gradient or relevance */
    bool on;
    tiba_tensor *tensors;   /* by value id; data = NULL where not wanted */
    unsigned char *written; /* by value id: this run has put something there */
} track;

struct tb_reverse {
    const tb_graph *graph;
    const tb_regions *regions;
    const tb_value *target;
    tb_arena *arena;
    tb_ruleset ruleset;
    unsigned char *wanted; /* by value id: between the target and a watched value */
    unsigned char *watched;
    int *complete; /* by value id: the step after which nothing more arrives, -1: at the start */
    const tb_node **steps; /* last first */
    int n_steps;
    track gradient, relevance;
    tb_block block;
};

/* -------------------------------------------------------------------- planning */

static void find_wanted(tb_reverse *r, unsigned char *above) {
    const tb_graph *graph = r->graph;
    tb_mark_ancestors(graph, r->target, above);
    memcpy(r->wanted, r->watched, (size_t)graph->n_values);
    tb_mark_descendants(graph, NULL, r->wanted);
    for (int i = 0; i < graph->n_values; i++) r->wanted[i] &= above[i];
    r->wanted[r->target->id] = 1;
}

/* The region whose exit is this value, NULL if there is none. */
static const tb_region *region_to(const tb_reverse *r, const tb_value *value) {
    if (!r->regions || !value->producer) return NULL;
    int index = r->regions->of_node[value->producer->id];
    if (index < 0) return NULL;
    const tb_region *region = &r->regions->list[index];
    return region->exit == value ? region : NULL;
}

static bool in_region(const tb_reverse *r, const tb_node *node) {
    return r->regions && r->regions->of_node[node->id] >= 0;
}

static bool takes_part(const tb_reverse *r, const tb_node *node) {
    bool out = false, in = false;
    for (int i = 0; i < node->n_out; i++) out |= node->out[i] && r->wanted[node->out[i]->id];
    for (int i = 0; i < node->n_in; i++) in |= node->in[i] && r->wanted[node->in[i]->id];
    return out && in;
}

static void extend(tb_interval *it, int step) {
    if (step < it->birth) it->birth = step;
    if (step > it->death) it->death = step;
}

static tiba_status plan(tb_reverse *r, bool dry, tb_budget *budget, tiba_error *error) {
    int n = r->graph->n_values;
    tb_interval *intervals = TB_NEW(r->arena, tb_interval, 2 * n);
    void **buffers = TB_NEW(r->arena, void *, 2 * n);
    r->steps = TB_NEW(r->arena, const tb_node *, r->graph->n_nodes);
    if (!intervals || !buffers || !r->steps) return tb_out_of_memory(error);
    for (const tb_node *node = r->graph->last; node; node = node->prev)
        if (takes_part(r, node)) r->steps[r->n_steps++] = node;
    if (dry) return TIBA_OK;
    for (int i = 0; i < n; i++) {
        tb_interval it = {.birth = r->n_steps + 1, .death = -1};
        if (r->wanted[i] && r->graph->values[i]) it.size = tb_tensor_bytes(&r->graph->values[i]->t);
        if (i == r->target->id) extend(&it, -1);
        r->complete[i] = -1;
        intervals[i] = intervals[n + i] = it;
    }
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *out = node->out[i];
            if (!out) continue;
            extend(&intervals[out->id], s);
            extend(&intervals[n + out->id], s);
            const tb_region *region = region_to(r, out);
            if (region) extend(&intervals[n + region->entry->id], s);
            if (region && r->complete[region->entry->id] < s) r->complete[region->entry->id] = s;
        }
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i]) {
                r->complete[node->in[i]->id] = s;
                extend(&intervals[node->in[i]->id], s);
                if (!in_region(r, node)) extend(&intervals[n + node->in[i]->id], s);
            }
    }
    track *tracks[2] = {&r->gradient, &r->relevance};
    for (int i = 0; i < n; i++) /* both tracks of a watched value are shown together */
        if (r->watched[i] && r->complete[i] >= 0) {
            extend(&intervals[i], r->complete[i]);
            extend(&intervals[n + i], r->complete[i]);
        }
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < n; i++)
            if (!tracks[k]->on || intervals[k * n + i].death < 0 ||
                intervals[k * n + i].birth > r->n_steps)
                intervals[k * n + i].size = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < n; i++)
            if (intervals[k * n + i].size && intervals[k * n + i].birth < 0)
                intervals[k * n + i].birth = 0;
    size_t total;
    TB_TRY(tb_plan(&total, 2 * n, intervals, error));
    TB_TRY(tb_block_create(&r->block, buffers, total, 2 * n, intervals, budget, error));
    for (int k = 0; k < 2; k++) {
        tracks[k]->tensors = TB_NEW(r->arena, tiba_tensor, n);
        tracks[k]->written = TB_NEW(r->arena, unsigned char, n);
        if (!tracks[k]->tensors || !tracks[k]->written) return tb_out_of_memory(error);
        for (int i = 0; i < n; i++) {
            if (r->graph->values[i]) tracks[k]->tensors[i] = r->graph->values[i]->t;
            tracks[k]->tensors[i].data = buffers[k * n + i];
        }
    }
    return TIBA_OK;
}

tiba_status tb_reverse_create(tb_reverse **out, const tb_graph *graph, const tb_regions *regions,
                              const tb_value *target, int n_watch, const tb_value *const *watch,
                              int what, tb_ruleset ruleset, tb_budget *budget, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget);
    tb_reverse *r = arena ? TB_NEW(arena, tb_reverse, 1) : NULL;
    if (!r) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    *r = (tb_reverse){
        .graph = graph, .regions = regions, .target = target, .arena = arena, .ruleset = ruleset};
    r->gradient.on = what & TB_REVERSE_GRADIENT;
    r->relevance.on = what & TB_REVERSE_RELEVANCE;
    r->wanted = TB_NEW(arena, unsigned char, graph->n_values);
    r->watched = TB_NEW(arena, unsigned char, graph->n_values);
    r->complete = TB_NEW(arena, int, graph->n_values);
    unsigned char *above = TB_NEW(arena, unsigned char, graph->n_values);
    tiba_status status =
        r->wanted && r->watched && r->complete && above ? TIBA_OK : tb_out_of_memory(error);
    if (status == TIBA_OK) {
        for (int i = 0; i < n_watch; i++) r->watched[watch[i]->id] = 1;
        find_wanted(r, above);
        status = plan(r, what & TB_REVERSE_DRY, budget, error);
    }
    if (status != TIBA_OK) {
        tb_reverse_destroy(r);
        return status;
    }
    *out = r;
    return TIBA_OK;
}

void tb_reverse_destroy(tb_reverse *reverse) {
    if (!reverse) return;
    tb_block_destroy(&reverse->block);
    tb_arena_destroy(reverse->arena);
}

void tb_reverse_keep(const tb_reverse *r, unsigned char *keep) {
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        unsigned needs = r->gradient.on ? node->op->def->needs : 0;
        if (r->relevance.on && !in_region(r, node)) {
            const tb_rule *rule = tb_find_rule(node);
            needs |= rule->needs | (rule->uses_vjp ? node->op->def->needs : 0);
        }
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] && (needs & TB_NEEDS_IN(i < 15 ? i : 15))) keep[node->in[i]->id] = 1;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && (needs & TB_NEEDS_OUT(i < 15 ? i : 15))) keep[node->out[i]->id] = 1;
    }
    keep[r->target->id] = 1;
}

/* -------------------------------------------------------------------- running */

typedef struct operands { /* arrays of a node's operands, in scratch memory */
    const tiba_tensor **in, **out;
    const tiba_tensor **from[2]; /* of the outputs: gradient, relevance */
    tiba_tensor **to[2];         /* of the inputs */
    tiba_tensor *temporaries;    /* where a share waits to be added */
} operands;

static tiba_status get_operands(operands *o, const tb_program *program, const tb_node *node,
                                tb_exec *exec, tiba_error *error) {
    size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    void **room = tb_scratch(exec, 5 * n_in + 5 * n_out + 1, sizeof *room);
    o->temporaries = tb_scratch(exec, 2 * n_in + 1, sizeof *o->temporaries);
    if (!room || !o->temporaries) return tb_out_of_memory(error);
    memset(room, 0, (5 * n_in + 5 * n_out + 1) * sizeof *room);
    o->in = (const tiba_tensor **)room;
    o->out = (const tiba_tensor **)(room + n_in);
    o->to[0] = (tiba_tensor **)(room + n_in + n_out);
    o->to[1] = o->to[0] + n_in;
    o->from[0] = (const tiba_tensor **)(room + 3 * n_in + n_out);
    o->from[1] = o->from[0] + n_out;
    for (int i = 0; i < node->n_in; i++)
        o->in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    for (int i = 0; i < node->n_out; i++)
        o->out[i] = node->out[i] ? program->values[node->out[i]->id] : NULL;
    return TIBA_OK;
}

/* Lets the step write each share where it belongs, or beside it where something is there already.
 * False if no output has anything to send. */
static bool open_track(track *t, operands *o, int k, const tb_node *node, bool *memory_left,
                       tb_exec *exec) {
    bool any = false;
    for (int i = 0; i < node->n_out; i++) {
        const tb_value *out = node->out[i];
        if (!out || !t->tensors[out->id].data || !t->written[out->id]) continue;
        o->from[k][i] = &t->tensors[out->id];
        any = true;
    }
    if (!any) return false;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (!in || !in->active || !t->tensors[in->id].data) continue;
        bool direct = !t->written[in->id];
        for (int j = 0; j < i; j++) direct &= node->in[j] != in;
        if (direct) {
            o->to[k][i] = &t->tensors[in->id];
            continue;
        }
        tiba_tensor *wait = &o->temporaries[k * node->n_in + i];
        *wait = in->t;
        wait->data = tb_scratch(exec, (size_t)tb_tensor_count(&in->t), sizeof(float));
        if (!wait->data) *memory_left = false;
        o->to[k][i] = wait;
    }
    return true;
}

static void add_into(tiba_tensor *to, const tiba_tensor *share, tb_exec *exec) {
    tb_add_to(exec, to->data, share->data, tb_tensor_count(to));
}

static void close_track(track *t, operands *o, int k, const tb_node *node, tb_exec *exec) {
    for (int i = 0; i < node->n_in; i++) {
        tiba_tensor *share = o->to[k][i];
        if (!share) continue;
        tiba_tensor *home = &t->tensors[node->in[i]->id];
        if (share != home) add_into(home, share, exec);
        t->written[node->in[i]->id] = 1;
    }
}

/* Relevance of a region's exit is that of its entry. */
static void relay(tb_reverse *r, const tb_region *region, tb_exec *exec) {
    track *t = &r->relevance;
    int from = region->exit->id, to = region->entry->id;
    if (!t->written[from] || !t->tensors[from].data || !t->tensors[to].data) return;
    if (t->written[to]) {
        add_into(&t->tensors[to], &t->tensors[from], exec);
    } else {
        memcpy(t->tensors[to].data, t->tensors[from].data, tb_tensor_bytes(&t->tensors[to]));
        t->written[to] = 1;
    }
}

/* Adds a step to the profile: it reads what it needs of the forward pass and what arrived at its
 * outputs, and writes its inputs' shares. */
static void count_step(const tb_exec *exec, const tb_stopwatch *watch, const tb_node *node,
                       const operands *o, const tb_rule *rule) {
    unsigned needs = node->op->def->needs | (rule ? rule->needs : 0);
    double read = tb_profile_bytes(node->n_in, o->in, needs & TB_NEEDS_INS) +
                  tb_profile_bytes(node->n_out, o->out, needs >> 16);
    double written = 0;
    for (int k = 0; k < 2; k++) {
        read += tb_profile_bytes(node->n_out, o->from[k], ~0u);
        written += tb_profile_bytes(node->n_in, (const tiba_tensor *const *)o->to[k], ~0u);
    }
    tb_profile_stop(exec, watch, TB_PHASE_BACKWARD, node, read, written);
}

static tiba_status take_step(tb_reverse *r, const tb_program *program, const tb_node *node,
                             tb_exec *exec, tiba_error *error) {
    operands o;
    tb_stopwatch watch = tb_profile_start(exec);
    TB_TRY(get_operands(&o, program, node, exec, error));
    bool memory_left = true;
    bool gradient = r->gradient.on && open_track(&r->gradient, &o, 0, node, &memory_left, exec);
    bool inside = in_region(r, node);
    bool relevance =
        r->relevance.on && !inside && open_track(&r->relevance, &o, 1, node, &memory_left, exec);
    if (!memory_left) return tb_out_of_memory(error);
    const tb_rule *rule = relevance ? tb_find_rule(node) : NULL;
    tb_step step = {exec, node, r->ruleset, o.in, o.out, o.from[1], o.to[1], o.from[0], o.to[0]};
    if (gradient && relevance && rule->both) {
        TB_TRY(rule->both(&step, error));
    } else {
        if (gradient) {
            const tb_op_def *def = node->op->def;
            if (!def->vjp)
                return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no gradient: %s", def->no_vjp);
            TB_TRY(def->vjp(exec, node, o.in, o.out, o.from[0], o.to[0], error));
        }
        if (relevance) TB_TRY(rule->relevance(&step, error));
    }
    if (gradient) close_track(&r->gradient, &o, 0, node, exec);
    if (relevance) close_track(&r->relevance, &o, 1, node, exec);
    for (int i = 0; r->relevance.on && inside && i < node->n_out; i++) {
        const tb_region *region = node->out[i] ? region_to(r, node->out[i]) : NULL;
        if (region) relay(r, region, exec);
    }
    if (exec->profile && (gradient || relevance)) count_step(exec, &watch, node, &o, rule);
    return TIBA_OK;
}

static tiba_status show(tb_reverse *r, const tb_value *value, tb_reverse_watch_fn *arrived,
                        void *context, tiba_error *error) {
    const track *g = &r->gradient, *t = &r->relevance;
    return arrived(context, value,
                   g->on && g->written[value->id] ? g->tensors[value->id].data : NULL,
                   t->on && t->written[value->id] ? t->tensors[value->id].data : NULL, error);
}

tiba_status tb_reverse_run(tb_reverse *r, const tb_program *program, int n_seeds,
                           const tb_seed *seeds, tb_reverse_watch_fn *arrived, void *context,
                           tb_exec *exec, tiba_error *error) {
    track *tracks[2] = {&r->gradient, &r->relevance};
    for (int k = 0; k < 2; k++) {
        if (!tracks[k]->on) continue;
        memset(tracks[k]->written, 0, (size_t)r->graph->n_values);
        tiba_tensor *start = &tracks[k]->tensors[r->target->id];
        if (!start->data) continue;
        memset(start->data, 0, tb_tensor_bytes(start));
        for (int i = 0; i < n_seeds; i++)
            ((float *)start->data)[seeds[i].element] +=
                k == 0 ? seeds[i].gradient : seeds[i].relevance;
        tracks[k]->written[r->target->id] = 1;
    }
    if (r->watched[r->target->id]) TB_TRY(show(r, r->target, arrived, context, error));
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        tiba_status status = take_step(r, program, node, exec, error);
        tb_scratch_reset(exec);
        TB_TRY(status);
        for (int i = 0; i < node->n_in; i++) {
            const tb_value *in = node->in[i];
            bool again = false; /* an operand that stands twice is shown once */
            for (int j = 0; j < i; j++) again |= node->in[j] == in;
            if (in && !again && r->watched[in->id] && r->complete[in->id] == s)
                TB_TRY(show(r, in, arrived, context, error));
        }
        for (int i = 0; i < node->n_out; i++) {
            const tb_region *region = node->out[i] ? region_to(r, node->out[i]) : NULL;
            if (!region || !r->watched[region->entry->id]) continue;
            bool shown = false;
            for (int k = 0; k < node->n_in; k++) shown |= node->in[k] == region->entry;
            if (!shown && r->complete[region->entry->id] == s)
                TB_TRY(show(r, region->entry, arrived, context, error));
        }
    }
    return TIBA_OK;
}
