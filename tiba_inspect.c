/*
 * tiba_inspect.c: what the public interface says of models, operators and bound graphs.
 */
#include <stdio.h>
#include <string.h>

#include "graph/dump.h"
#include "graph/lower.h"
#include "rules/reading.h"
#include "tiba_internal.h"

/* -------------------------------------------------------------------- operators */

enum { MOST_UNSUPPORTED = 1 << 16 /* nodes that are listed */ };

/* Nodes of operators that binding would refuse, in order of appearance. */
typedef struct missing {
    tb_arena *arena;
    const tb_node **nodes;
    int n, capacity;
} missing;

static bool is_supported(const tb_node *node) {
    return tb_op_known(node->domain, node->op_type) || tb_bind_resolves(node);
}

static bool collect_missing(missing *m, const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        for (int i = 0; i < node->n_attrs; i++)
            if (node->attrs[i].kind == TB_ATTR_GRAPH && !collect_missing(m, node->attrs[i].graph))
                return false;
        if (is_supported(node)) continue;
        if (m->n == m->capacity) {
            int capacity = 2 * m->capacity + 16;
            const tb_node **nodes = TB_NEW(m->arena, const tb_node *, capacity);
            if (!nodes || m->n >= MOST_UNSUPPORTED) return nodes != NULL;
            if (m->n) memcpy(nodes, m->nodes, (size_t)m->n * sizeof *nodes);
            m->nodes = nodes;
            m->capacity = capacity;
        }
        m->nodes[m->n++] = node;
    }
    return true;
}

static bool same_operator(const tb_node *a, const tb_node *b) {
    return strcmp(a->op_type, b->op_type) == 0 && strcmp(a->domain, b->domain) == 0;
}

/* Groups the nodes by operator. */
static bool find_unsupported(tiba_model *model) {
    tb_arena *arena = model->source->arena;
    missing m = {.arena = arena};
    if (!collect_missing(&m, model->source->graph)) return false;
    model->unsupported = TB_NEW(arena, tiba_unsupported, m.n + 1);
    bool good = model->unsupported != NULL;
    for (int i = 0; good && i < m.n; i++) {
        if (!m.nodes[i]) continue;
        const tb_node *first = m.nodes[i];
        const char **names = TB_NEW(arena, const char *, m.n - i);
        int count = 0;
        for (int k = i; (good = names != NULL) && k < m.n; k++) {
            if (!m.nodes[k] || !same_operator(m.nodes[k], first)) continue;
            names[count++] = tb_node_title(m.nodes[k]);
            m.nodes[k] = NULL;
        }
        if (good)
            model->unsupported[model->n_unsupported++] =
                (tiba_unsupported){first->domain, first->op_type, count, names};
    }
    return good;
}

int tiba_model_unsupported(tiba_unsupported *out, const tiba_model *model, int index) {
    tiba_model *cache = (tiba_model *)(uintptr_t)model; /* found once, on the first call */
    if (!cache->unsupported && !find_unsupported(cache)) return 0;
    if (index < 0 || index >= cache->n_unsupported) return 0;
    *out = cache->unsupported[index];
    return 1;
}

tiba_status tiba_model_obstacles(const tiba_obstacle **out, int *count, tiba_model *model,
                                 int n_feeds, const tiba_feed *feeds, tiba_error *error) {
    tb_arena *arena = model->source->arena;
    const tb_obstacle *found;
    *out = NULL;
    *count = 0;
    int n;
    tb_feed *list = TB_NEW(arena, tb_feed, n_feeds);
    if (!list) return tb_out_of_memory(error);
    for (int i = 0; i < n_feeds; i++) list[i] = (tb_feed){feeds[i].name, feeds[i].tensor};
    TB_TRY(tb_bind_obstacles(&found, &n, arena, model->source, n_feeds, list, &model->exec, error));
    tiba_obstacle *all = TB_NEW(arena, tiba_obstacle, n);
    if (!all) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++)
        if (is_supported(found[i].node))
            all[(*count)++] = (tiba_obstacle){tb_node_title(found[i].node), found[i].node->op_type,
                                              found[i].why->message};
    *out = all;
    return TIBA_OK;
}

int tiba_operator_at(tiba_operator *out, int index) {
    if (index < 0) return 0;
    if (index < TB_OP_COUNT) {
        const tb_op *op = &tb_ops[index];
        *out = (tiba_operator){op->domain, op->name, "op", op->def->vjp ? "yes" : op->def->no_vjp};
        return 1;
    }
    int count;
    const tb_lower_row *rows = tb_lower_rows(&count), *row = rows + (index - TB_OP_COUNT);
    if (index - TB_OP_COUNT >= count) return 0;
    *out = (tiba_operator){row->domain, row->name, "lowered", "yes"};
    return 1;
}

/* -------------------------------------------------------------------- runs */

int tiba_run_tower(const tiba_run *run, int index, tiba_tower_facts *out) {
    const plan *p = run->plan;
    if (tiba_run_refusal(run) || index < 0 || index >= tb_explainer_towers(p->explainer)) return 0;
    bool moves;
    const tb_tower *tower = tb_explainer_tower(p->explainer, index, &moves);
    const tb_source *source = run->model->source;
    const tb_reading *reading = tb_reading_of(p->explainer, index);
    *out = (tiba_tower_facts){.input = tower->input >= 0 ? source->graph->inputs[tower->input]->name
                                                         : "",
                              .is_image = tower->image,
                              .tokens = tower->tokens,
                              .rows = tower->rows,
                              .columns = tower->columns,
                              .prefix = tower->prefix,
                              .blocks = tower->n_attentions,
                              .moves = moves,
                              .pooling = tb_pooling_name(reading->pooling),
                              .reads = reading->text,
                              .note = tb_explainer_note(p->explainer, index)};
    return 1;
}

int tiba_run_block(const tiba_run *run, int tower, int index, tiba_block_facts *out) {
    const plan *p = run->plan;
    if (tiba_run_refusal(run) || tower < 0 || tower >= tb_explainer_towers(p->explainer)) return 0;
    bool moves;
    const tb_tower *t = tb_explainer_tower(p->explainer, tower, &moves);
    if (index < 0 || index >= t->n_attentions) return 0;
    const tb_attention *a = &p->analysis->attentions->attentions[t->attentions[index]];
    *out = (tiba_block_facts){.node = a->product->origin,
                              .heads = a->heads,
                              .queries = a->queries,
                              .keys = a->keys,
                              .groups = a->groups};
    return 1;
}

static int nodes_of(const tb_graph *graph) {
    int n = 0;
    for (const tb_node *node = graph->first; node; node = node->next, n++)
        for (int i = 0; i < node->n_attrs; i++)
            if (node->attrs[i].kind == TB_ATTR_GRAPH) n += nodes_of(node->attrs[i].graph);
    return n;
}

void tiba_run_nodes(const tiba_run *run, int *file, int *bound) {
    *file = nodes_of(run->model->source->graph);
    *bound = nodes_of(run->plan->bound->graph);
}

int tiba_run_rewrite(const tiba_run *run, int index, tiba_rewrite *out) {
    const plan *p = run->plan;
    int written = p->bound->n_written;
    if (index < 0 || index >= written + p->rewrites.count) return 0;
    if (index < written) {
        const tb_written *w = &p->bound->written[index];
        *out = (tiba_rewrite){w->lowered ? "lowered" : "upgraded", w->node->op_type,
                              tb_node_title(w->node)};
    } else {
        const tb_rewrite *r = &p->rewrites.entries[index - written];
        *out = (tiba_rewrite){"raised", r->pattern, r->origin};
    }
    return 1;
}

const char *tiba_run_refusal(const tiba_run *run) {
    if (!run->plan->explainer) return run->plan->why_not.message;
    const tiba_error *refusal = tb_explainer_refusal(run->plan->explainer);
    return refusal ? refusal->message : NULL;
}

const char *tiba_run_blocked(const tiba_run *run, int index) {
    const tiba_error *why = run->plan->bound->outputs[index].why;
    return why ? why->message : NULL;
}

tiba_status tiba_run_listing(const char **out, tiba_run *run, tiba_listing listing,
                             tiba_error *error) {
    const tb_graph *graph = run->plan->bound->graph;
    char *dump = NULL;
    if (listing == TIBA_LISTING_GRAPH)
        TB_TRY(tb_dump_text(&dump, run->arena, graph, error));
    else if (listing == TIBA_LISTING_DOT)
        TB_TRY(tb_dump_dot(&dump, run->arena, graph, error));
    else
        return tb_fail(error, TIBA_ERROR_USAGE, "no such listing");
    *out = dump;
    return TIBA_OK;
}

/* ------------------------------------------------------------------------------- profile */

tiba_status tiba_model_profile(tiba_model *model, int on, tiba_error *error) {
    tb_free(model->exec.profile);
    model->exec.profile = on ? tb_calloc(&model->budget, 1, sizeof(tb_profile)) : NULL;
    return on && !model->exec.profile ? tb_out_of_memory(error) : TIBA_OK;
}

int tiba_profile_at(tiba_profile_row *out, const tiba_model *model, int index) {
    static const char *const phases[TB_PHASES] = {"forward", "backward"};
    const tb_profile *profile = model->exec.profile;
    for (int i = 0; profile && i < TB_PHASES * TB_OP_COUNT; i++) {
        const tb_profile_row *row = &profile->rows[i / TB_OP_COUNT][i % TB_OP_COUNT];
        if (row->calls == 0 || index-- > 0) continue;
        const tb_op *op = &tb_ops[i % TB_OP_COUNT];
        *out = (tiba_profile_row){.phase = phases[i / TB_OP_COUNT],
                                  .domain = op->domain,
                                  .op = op->name,
                                  .calls = row->calls,
                                  .seconds = row->seconds,
                                  .flop = 2 * row->multiply_adds,
                                  .bytes = row->bytes};
        return 1;
    }
    return 0;
}
