#include "rules/reverse.h"

#include <string.h>

#include "graph/reach.h"
#include "rules/elementwise.h"
#include "rules/region_walk.h"
#include "runtime/profile.h"

typedef struct track {      /* gradient or relevance */
    tiba_tensor *tensors;   /* by value id; data = NULL where not wanted */
    unsigned char *written; /* by value id: this run has put something there */
} track;

enum { GRADIENT, RELEVANCE, TRACKS };
enum { FREE_BYTES = 16 << 20 }; /* further lanes may always take that much */

/* What one target's pass carries. Those of several targets take each step together. */
typedef struct lane {
    track tracks[TRACKS];
    tb_block block;
} lane;

struct tb_reverse {
    const tb_graph *graph;
    const tb_regions *regions;
    const tb_value *target;
    tb_arena *arena;
    tb_budget *budget;
    tb_ruleset ruleset;
    unsigned char *wanted; /* by value id: between the target and a watched value */
    unsigned char *watched;
    int *complete; /* by value id: the step after which nothing more arrives, -1: at the start */
    const tb_node **steps; /* last first */
    int n_steps;
    bool on[TRACKS];
    size_t bytes;           /* of a lane's block, laid out by: */
    tb_interval *intervals; /* by track and value id */
    int *home;              /* likewise: whose interval holds it, itself or a later value's */
    unsigned char *over;    /* likewise: it is written over what stood there */
    lane lanes[TB_REVERSE_MOST];
    int n_lanes; /* that have memory */
    const tb_remake *remake;
    tb_remaking *remaking;
    tb_shared shared;
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

static bool receives(const tb_reverse *r, const tb_node *node, int i) {
    return node->in[i] && node->in[i]->active && r->wanted[node->in[i]->id];
}

static int receivers(const tb_reverse *r, const tb_node *node) {
    int n = 0;
    for (int i = 0; i < node->n_in; i++) n += receives(r, node, i);
    return n;
}

static bool as_large(const tb_node *node, int i) {
    return node->in[i]->t.dtype == TIBA_FLOAT32 &&
           tb_tensor_count(&node->in[i]->t) == tb_tensor_count(&node->out[0]->t);
}

/* Does the operand receive what has arrived at the node's output as it is? `rule`: of relevance,
 * NULL: it is the gradient. */
static bool passes_on(const tb_node *node, int i, const tb_rule *rule) {
    const tb_op_def *def = node->op->def;
    if (def->alias) return i == 0;
    if (!rule) return def->straight & TB_NEEDS_IN(i < 15 ? i : 15);
    int actives = 0;
    for (int k = 0; k < node->n_in; k++) actives += node->in[k] && node->in[k]->active;
    return actives == 1 && rule->passes;
}

/* Does nothing else arrive at the operand than this step's share, and is its memory still its own?
 */
static bool may_move(const tb_reverse *r, const tb_node *node, int i, int which,
                     const int *arrivals) {
    const int n = r->graph->n_values;
    if (!receives(r, node, i) || !as_large(node, i)) return false;
    const int to = which * n + node->in[i]->id, from = r->home[which * n + node->out[0]->id];
    return arrivals[to] == 1 && r->intervals[to].size > 0 &&
           r->intervals[from].size == r->intervals[to].size;
}

static void move_in(tb_reverse *r, int to, int from) {
    r->home[to] = from;
    extend(&r->intervals[from], r->intervals[to].birth);
    extend(&r->intervals[from], r->intervals[to].death);
    r->intervals[to].size = 0;
}

/* Where the step's shares can stay in its output's memory. forked[i]: several values have read
 * interval i at a time, so that none may write over it. */
static void share_step(tb_reverse *r, const tb_node *node, int which, const int *arrivals,
                       unsigned char *forked) {
    const int n = r->graph->n_values;
    const int from = r->home[which * n + node->out[0]->id];
    if (which == RELEVANCE && in_region(r, node)) return;
    const tb_rule *rule = which == RELEVANCE ? tb_find_rule(node) : NULL;
    int moved = 0;
    for (int i = 0; i < node->n_in; i++) {
        if (!may_move(r, node, i, which, arrivals) || !passes_on(node, i, rule)) continue;
        move_in(r, which * n + node->in[i]->id, from);
        moved++;
    }
    if (moved > 1) forked[from] = 1;
    const bool over = rule ? rule->over : node->op->def->back_over && receivers(r, node) == 1;
    if (moved || forked[from] || node->n_out != 1 || !over) return;
    for (int i = 0; i < node->n_in; i++) {
        if (!may_move(r, node, i, which, arrivals)) continue;
        move_in(r, which * n + node->in[i]->id, from);
        r->over[which * n + node->in[i]->id] = 1;
        return;
    }
}

/* What is passed on as it is, to a value that nothing else arrives at, stays where it is; and what
 * can be written over what it is made of is. */
static tiba_status share_memory(tb_reverse *r, tiba_error *error) {
    const int n = r->graph->n_values;
    int *arrivals = TB_NEW(r->arena, int, TRACKS *n);
    unsigned char *forked = TB_NEW(r->arena, unsigned char, TRACKS *n);
    r->home = TB_NEW(r->arena, int, TRACKS *n);
    r->over = TB_NEW(r->arena, unsigned char, TRACKS *n);
    if (!arrivals || !forked || !r->home || !r->over) return tb_out_of_memory(error);
    for (int i = 0; i < TRACKS * n; i++) r->home[i] = i;
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        for (int i = 0; i < node->n_in; i++) {
            if (!node->in[i]) continue;
            arrivals[node->in[i]->id]++;
            if (!in_region(r, node)) arrivals[n + node->in[i]->id]++;
        }
        for (int i = 0; i < node->n_out; i++) {
            const tb_region *region = node->out[i] ? region_to(r, node->out[i]) : NULL;
            if (region) arrivals[n + region->entry->id]++;
        }
    }
    for (int s = 0; s < r->n_steps; s++)
        for (int k = 0; k < TRACKS; k++)
            if (r->on[k] && r->steps[s]->n_out > 0 && r->steps[s]->out[0])
                share_step(r, r->steps[s], k, arrivals, forked);
    return TIBA_OK;
}

static tiba_status plan(tb_reverse *r, bool dry, tiba_error *error) {
    int n = r->graph->n_values;
    tb_interval *intervals = r->intervals = TB_NEW(r->arena, tb_interval, TRACKS * n);
    r->steps = TB_NEW(r->arena, const tb_node *, r->graph->n_nodes);
    if (!intervals || !r->steps) return tb_out_of_memory(error);
    for (const tb_node *node = r->graph->last; node; node = node->prev)
        if (takes_part(r, node)) r->steps[r->n_steps++] = node;
    if (dry) return TIBA_OK;
    for (int i = 0; i < n; i++) {
        tb_interval it = {.birth = r->n_steps + 1, .death = -1};
        if (r->wanted[i] && r->graph->values[i]) it.size = tb_tensor_bytes(&r->graph->values[i]->t);
        if (i == r->target->id) extend(&it, r->watched[i] ? 0 : -1);
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
    for (int i = 0; i < n; i++) /* both tracks of a watched value are shown together */
        if (r->watched[i] && r->complete[i] >= 0) {
            extend(&intervals[i], r->complete[i]);
            extend(&intervals[n + i], r->complete[i]);
        }
    for (int k = 0; k < TRACKS; k++)
        for (int i = 0; i < n; i++) {
            tb_interval *it = &intervals[k * n + i];
            if (!r->on[k] || it->death < 0 || it->birth > r->n_steps) it->size = 0;
            if (it->size && it->birth < 0) it->birth = 0;
        }
    TB_TRY(share_memory(r, error));
    return tb_plan(&r->bytes, TRACKS * n, intervals, error);
}

/* What a step reads of its node's operands. */
static unsigned needs_of(const tb_reverse *r, const tb_node *node) {
    unsigned needs = r->on[GRADIENT] ? node->op->def->needs : 0;
    if (r->on[RELEVANCE] && !in_region(r, node)) {
        const tb_rule *rule = tb_find_rule(node);
        needs |= rule->needs | (rule->uses_vjp ? node->op->def->needs : 0);
    }
    return needs;
}

static tiba_status plan_remaking(tb_reverse *r, tiba_error *error) {
    if (!r->remake) return TIBA_OK;
    unsigned *needs = TB_NEW(r->arena, unsigned, r->n_steps);
    if (!needs) return tb_out_of_memory(error);
    for (int s = 0; s < r->n_steps; s++) needs[s] = needs_of(r, r->steps[s]);
    return tb_remaking_create(&r->remaking, r->remake, r->n_steps, r->steps, needs, r->budget,
                              error);
}

static tiba_status get_tracks(tb_reverse *r, lane *to, tiba_error *error) {
    const int n = r->graph->n_values;
    for (int k = 0; k < TRACKS && !to->tracks[k].tensors; k++) {
        to->tracks[k].tensors = TB_NEW(r->arena, tiba_tensor, n);
        to->tracks[k].written = TB_NEW(r->arena, unsigned char, n);
        if (!to->tracks[k].tensors || !to->tracks[k].written) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

/* Where the lane's tensors are: in `buffers`, by track and value id. */
static void place_tracks(const tb_reverse *r, lane *to, void *const *buffers) {
    const int n = r->graph->n_values;
    for (int k = 0; k < TRACKS; k++)
        for (int i = 0; i < n; i++) {
            if (r->graph->values[i]) to->tracks[k].tensors[i] = r->graph->values[i]->t;
            to->tracks[k].tensors[i].data = buffers[r->home[k * n + i]];
        }
}

/* Memory for one lane more: its own, or `given` of r->bytes. */
static tiba_status add_lane(tb_reverse *r, char *given, tiba_error *error) {
    const int count = TRACKS * r->graph->n_values;
    lane *to = &r->lanes[r->n_lanes];
    TB_TRY(get_tracks(r, to, error));
    void **buffers = tb_calloc(r->budget, (size_t)count + 1, sizeof *buffers);
    if (!buffers) return tb_out_of_memory(error);
    tiba_status status = TIBA_OK;
    if (given)
        for (int i = 0; i < count; i++)
            buffers[i] = r->intervals[i].size ? given + r->intervals[i].offset : NULL;
    else
        status =
            tb_block_create(&to->block, buffers, r->bytes, count, r->intervals, r->budget, error);
    if (status == TIBA_OK) place_tracks(r, to, buffers);
    tb_free(buffers);
    if (status == TIBA_OK) r->n_lanes++;
    return status;
}

/* The first lane goes into memory of the program that its pass has done with, if that is enough. */
static tiba_status first_lane(tb_reverse *r, const tb_program *program, tiba_error *error) {
    const bool spare = program->spare && program->spare_bytes >= r->bytes;
    const int before = r->n_lanes;
    if (r->lanes[0].block.memory) return TIBA_OK;
    r->n_lanes = 0;
    tiba_status status = add_lane(r, spare ? program->spare : NULL, error);
    if (before > 0) r->n_lanes = before;
    return status;
}

tiba_status tb_reverse_create(tb_reverse **out, const tb_graph *graph, const tb_regions *regions,
                              const tb_value *target, int n_watch, const tb_value *const *watch,
                              int what, tb_ruleset ruleset, const tb_remake *remake,
                              tb_budget *budget, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget);
    tb_reverse *r = arena ? TB_NEW(arena, tb_reverse, 1) : NULL;
    if (!r) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    *r = (tb_reverse){.graph = graph,
                      .regions = regions,
                      .target = target,
                      .arena = arena,
                      .budget = budget,
                      .remake = remake,
                      .ruleset = ruleset,
                      .on = {what & TB_REVERSE_GRADIENT, what & TB_REVERSE_RELEVANCE},
                      .shared = {.budget = budget}};
    r->wanted = TB_NEW(arena, unsigned char, graph->n_values);
    r->watched = TB_NEW(arena, unsigned char, graph->n_values);
    r->complete = TB_NEW(arena, int, graph->n_values);
    unsigned char *above = TB_NEW(arena, unsigned char, graph->n_values);
    tiba_status status =
        r->wanted && r->watched && r->complete && above ? TIBA_OK : tb_out_of_memory(error);
    if (status == TIBA_OK) {
        for (int i = 0; i < n_watch; i++) r->watched[watch[i]->id] = 1;
        find_wanted(r, above);
        status = plan(r, what & TB_REVERSE_DRY, error);
        if (status == TIBA_OK && !(what & TB_REVERSE_DRY)) status = plan_remaking(r, error);
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
    for (int i = 0; i < reverse->n_lanes; i++) tb_block_destroy(&reverse->lanes[i].block);
    tb_shared_clear(&reverse->shared);
    tb_remaking_destroy(reverse->remaking);
    tb_arena_destroy(reverse->arena);
}

size_t tb_reverse_bytes(const tb_reverse *reverse) {
    return reverse->bytes;
}

void tb_reverse_reads(const tb_reverse *r, unsigned char *reads) {
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        unsigned needs = needs_of(r, node);
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] && (needs & TB_NEEDS_IN(i < 15 ? i : 15))) reads[node->in[i]->id] = 1;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && (needs & TB_NEEDS_OUT(i < 15 ? i : 15)))
                reads[node->out[i]->id] = 1;
    }
    reads[r->target->id] = 1;
}

/* -------------------------------------------------------------------- running */

typedef struct operands { /* arrays of a node's operands, in scratch memory */
    const tiba_tensor **in, **out;
    const tiba_tensor **from[2]; /* of the outputs: gradient, relevance */
    tiba_tensor **to[2];         /* of the inputs */
    tiba_tensor *temporaries;    /* where a share waits to be added */
} operands;

static tiba_status get_operands(operands *o, const tb_reverse *r, const tb_program *program,
                                const tb_node *node, tb_exec *exec, tiba_error *error) {
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
        o->in[i] = tb_remaking_value(r->remaking, program, node->in[i]);
    for (int i = 0; i < node->n_out; i++)
        o->out[i] = tb_remaking_value(r->remaking, program, node->out[i]);
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

/* What has arrived at the node's output and is an operand's already (share_memory) is written.
 * False if nothing else is to be. */
static bool hand_on(const tb_reverse *r, track *t, operands *o, int k, const tb_node *node) {
    const tiba_tensor *from = node->n_out > 0 ? o->from[k][0] : NULL;
    bool more = false;
    for (int i = 0; i < node->n_in; i++) {
        if (!o->to[k][i]) continue;
        const int id = node->in[i]->id;
        const bool there = from && o->to[k][i]->data == from->data;
        if (there && !r->over[k * r->graph->n_values + id]) {
            t->written[id] = 1;
            o->to[k][i] = NULL;
        } else {
            more = true;
        }
    }
    return more;
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
static void relay(track *t, const tb_region *region, tb_exec *exec) {
    int from = region->exit->id, to = region->entry->id;
    if (!t->written[from] || !t->tensors[from].data || !t->tensors[to].data) return;
    if (region->turned) {
        if (!t->written[to]) memset(t->tensors[to].data, 0, tb_tensor_bytes(&t->tensors[to]));
        t->written[to] = 1;
        tb_walk walk = tb_region_walk(region);
        tb_walk_add(exec, &walk, t->tensors[to].data, t->tensors[from].data);
    } else if (t->written[to]) {
        add_into(&t->tensors[to], &t->tensors[from], exec);
    } else {
        tb_scaled(exec, t->tensors[to].data, t->tensors[from].data, 1.0f,
                  tb_tensor_count(&t->tensors[to]));
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

static tiba_status take_step(tb_reverse *r, lane *l, tb_shared *shared, const tb_program *program,
                             const tb_node *node, tb_exec *exec, tiba_error *error) {
    operands o;
    tb_stopwatch watch = tb_profile_start(exec);
    TB_TRY(get_operands(&o, r, program, node, exec, error));
    bool memory_left = true;
    track *g = &l->tracks[GRADIENT], *t = &l->tracks[RELEVANCE];
    bool gradient = r->on[GRADIENT] && open_track(g, &o, 0, node, &memory_left, exec);
    bool inside = in_region(r, node);
    bool relevance = r->on[RELEVANCE] && !inside && open_track(t, &o, 1, node, &memory_left, exec);
    if (!memory_left) return tb_out_of_memory(error);
    const tb_rule *rule = relevance ? tb_find_rule(node) : NULL;
    tb_step step = {exec,      node,    r->ruleset, o.in,    o.out,
                    o.from[1], o.to[1], o.from[0],  o.to[0], shared};
    if (gradient && relevance && rule->both) {
        TB_TRY(rule->both(&step, error));
    } else {
        if (gradient && hand_on(r, g, &o, GRADIENT, node)) {
            const tb_op_def *def = node->op->def;
            if (!def->vjp)
                return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no gradient: %s", def->no_vjp);
            TB_TRY(def->vjp(exec, node, o.in, o.out, o.from[0], o.to[0], error));
        }
        if (relevance && hand_on(r, t, &o, RELEVANCE, node)) TB_TRY(rule->relevance(&step, error));
    }
    if (gradient) close_track(g, &o, 0, node, exec);
    if (relevance) close_track(t, &o, 1, node, exec);
    for (int i = 0; r->on[RELEVANCE] && inside && i < node->n_out; i++) {
        const tb_region *region = node->out[i] ? region_to(r, node->out[i]) : NULL;
        if (region) relay(t, region, exec);
    }
    if (exec->profile && (gradient || relevance)) count_step(exec, &watch, node, &o, rule);
    return TIBA_OK;
}

/* What a run tells of: one lane's target. */
typedef struct viewer {
    const tb_reverse *r;
    const lane *l;
    tb_reverse_watch_fn *arrived;
    void *context;
} viewer;

static tiba_status show(const viewer *v, const tb_value *value, tiba_error *error) {
    const float *arrays[TRACKS] = {NULL, NULL};
    for (int k = 0; k < TRACKS; k++) {
        const track *t = &v->l->tracks[k];
        if (v->r->on[k] && t->written[value->id]) arrays[k] = t->tensors[value->id].data;
    }
    return v->arrived(v->context, value, arrays[GRADIENT], arrays[RELEVANCE], error);
}

/* What is complete after step s. */
static tiba_status show_step(const viewer *v, int s, tiba_error *error) {
    const tb_reverse *r = v->r;
    const tb_node *node = r->steps[s];
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        bool again = false; /* an operand that stands twice is shown once */
        for (int j = 0; j < i; j++) again |= node->in[j] == in;
        if (in && !again && r->watched[in->id] && r->complete[in->id] == s)
            TB_TRY(show(v, in, error));
    }
    for (int i = 0; i < node->n_out; i++) {
        const tb_region *region = node->out[i] ? region_to(r, node->out[i]) : NULL;
        if (!region || !r->watched[region->entry->id]) continue;
        bool shown = false;
        for (int k = 0; k < node->n_in; k++) shown |= node->in[k] == region->entry;
        if (!shown && r->complete[region->entry->id] == s) TB_TRY(show(v, region->entry, error));
    }
    return TIBA_OK;
}

static void start_lane(const tb_reverse *r, lane *l, const tb_reverse_start *start) {
    for (int k = 0; k < TRACKS; k++) {
        track *t = &l->tracks[k];
        if (!r->on[k]) continue;
        memset(t->written, 0, (size_t)r->graph->n_values);
        tiba_tensor *at = &t->tensors[r->target->id];
        if (!at->data) continue;
        memset(at->data, 0, tb_tensor_bytes(at));
        for (int i = 0; i < start->n_seeds; i++) {
            const tb_seed *seed = &start->seeds[i];
            ((float *)at->data)[seed->element] += k == GRADIENT ? seed->gradient : seed->relevance;
        }
        t->written[r->target->id] = 1;
    }
}

/* Takes every step for all n targets before it goes on to the next. */
static tiba_status run_together(tb_reverse *r, const tb_program *program, int n,
                                const tb_reverse_start *starts, tb_reverse_watch_fn *arrived,
                                tb_exec *exec, tiba_error *error) {
    for (int i = 0; i < n; i++) {
        viewer v = {r, &r->lanes[i], arrived, starts[i].context};
        start_lane(r, &r->lanes[i], &starts[i]);
        if (r->watched[r->target->id]) TB_TRY(show(&v, r->target, error));
    }
    for (int s = 0; s < r->n_steps; s++) {
        tb_shared_reset(&r->shared);
        TB_TRY(tb_remaking_step(r->remaking, program, s, exec, error));
        for (int i = 0; i < n; i++) {
            lane *l = &r->lanes[i];
            viewer v = {r, l, arrived, starts[i].context};
            tiba_status status =
                take_step(r, l, n > 1 ? &r->shared : NULL, program, r->steps[s], exec, error);
            tb_scratch_reset(exec);
            TB_TRY(status);
            TB_TRY(show_step(&v, s, error));
        }
    }
    return TIBA_OK;
}

tiba_status tb_reverse_run(tb_reverse *r, const tb_program *program, int n,
                           const tb_reverse_start *starts, tb_reverse_watch_fn *arrived,
                           tb_exec *exec, tiba_error *error) {
    TB_TRY(first_lane(r, program, error));
    /* More lanes where they are wanted, as long as they take no more than the forward pass. */
    const size_t most =
        program->block_bytes > FREE_BYTES ? program->block_bytes : (size_t)FREE_BYTES;
    while (r->n_lanes < n && r->n_lanes < TB_REVERSE_MOST && (size_t)r->n_lanes * r->bytes <= most)
        if (add_lane(r, NULL, NULL) != TIBA_OK) break;
    for (int done = 0; done < n; done += r->n_lanes) {
        int some = n - done < r->n_lanes ? n - done : r->n_lanes;
        tiba_status status = run_together(r, program, some, starts + done, arrived, exec, error);
        tb_shared_clear(&r->shared);
        TB_TRY(status);
    }
    return TIBA_OK;
}
