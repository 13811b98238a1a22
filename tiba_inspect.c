/*
 * tiba_inspect.c: what the public interface says of models, operators and bound graphs.
 */
#include <stdio.h>
#include <string.h>

#include "graph/dump.h"
#include "graph/lower.h"
#include "tiba_internal.h"

/* -------------------------------------------------------------------- operators */

/* Names of a sub-graph's operators that binding would refuse, each once, in order of appearance. */
typedef struct missing {
    tb_arena *arena;
    const char **names;
    int n, capacity;
} missing;

static void collect_missing(missing *m, const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        for (int i = 0; i < node->n_attrs; i++)
            if (node->attrs[i].kind == TB_ATTR_GRAPH) collect_missing(m, node->attrs[i].graph);
        bool known = tb_op_known(node->domain, node->op_type) || tb_bind_resolves(node);
        const char *name = known ? NULL
                           : node->domain[0]
                               ? tb_arena_format(m->arena, "%s.%s", node->domain, node->op_type)
                               : node->op_type;
        for (int i = 0; name && i < m->n; i++)
            if (strcmp(m->names[i], name) == 0) name = NULL;
        if (name && m->n < m->capacity) m->names[m->n++] = name;
    }
}

const char *tiba_model_unsupported(const tiba_model *model, int index) {
    tb_arena *arena = model->source->arena;
    tiba_model *cache = (tiba_model *)(uintptr_t)model; /* found once, on the first call */
    if (!cache->unsupported) {
        missing m = {.arena = arena, .capacity = 255};
        m.names = TB_NEW(arena, const char *, m.capacity + 1);
        if (!m.names) return NULL;
        collect_missing(&m, model->source->graph);
        cache->unsupported = m.names;
    }
    for (int i = 0; i <= index; i++)
        if (!cache->unsupported[i]) return NULL;
    return cache->unsupported[index];
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

static const char *reading(const char *op) {
    static const struct {
        const char *op, *text;
    } rows[] = {{"", "each token for itself"},
                {"Gather", "one token"},
                {"GatherND", "one token"},
                {"Slice", "one token"},
                {"Split", "one token"},
                {"ReduceMean", "a mean over tokens"},
                {"ReduceSum", "a sum over tokens"},
                {"GlobalAveragePool", "a mean over tokens"},
                {"ReduceMax", "a maximum over tokens"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].op, op) == 0) return rows[i].text;
    return "all tokens through further layers";
}

int tiba_run_tower(const tiba_run *run, int index, tiba_tower_facts *out) {
    const plan *p = run->plan;
    if (!p->explainer || index < 0 || index >= tb_explainer_towers(p->explainer)) return 0;
    bool moves;
    const char *reader;
    const tb_tower *tower = tb_explainer_tower(p->explainer, index, &moves, &reader);
    const tb_attention *last =
        &p->analysis->attentions->attentions[tower->attentions[tower->n_attentions - 1]];
    const tb_source *source = run->model->source;
    *out = (tiba_tower_facts){.input = tower->input >= 0 ? source->graph->inputs[tower->input]->name
                                                         : "",
                              .is_image = tower->image,
                              .tokens = tower->tokens,
                              .rows = tower->rows,
                              .columns = tower->columns,
                              .prefix = tower->prefix,
                              .attentions = tower->n_attentions,
                              .heads = last->heads,
                              .moves = moves,
                              .reads = reading(reader)};
    return 1;
}

const char *tiba_run_refusal(const tiba_run *run) {
    return run->plan->explainer ? NULL : run->plan->why_not.message;
}

/* Text that grows in an arena. */
typedef struct text {
    tb_arena *arena;
    char *data;
    size_t size, capacity;
    bool failed;
} text;

static void put(text *t, const char *words) {
    size_t n = strlen(words);
    if (t->size + n + 1 > t->capacity) {
        size_t capacity = 2 * (t->size + n + 1) + 1024;
        char *data = TB_NEW(t->arena, char, capacity);
        if (!data) {
            t->failed = true;
            return;
        }
        if (t->size) memcpy(data, t->data, t->size);
        t->data = data;
        t->capacity = capacity;
    }
    memcpy(t->data + t->size, words, n + 1);
    t->size += n;
}

static void put_line(text *t, const char *what, const char *kind, const char *names) {
    put(t, what);
    put(t, kind);
    put(t, names);
    put(t, "\n");
}

/* The file's nodes that lowering wrote out: their operators are rows of lower.def. */
static void list_lowered(text *t, const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next)
        if (tb_find_lower(node->domain, node->op_type))
            put_line(t, "lowered ", node->op_type, tb_arena_format(t->arena, ": %s", node->name));
}

static void count_lowered(text *t, const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        if (!tb_find_lower(node->domain, node->op_type)) continue;
        int before = 0, count = 0;
        for (const tb_node *other = graph->first; other; other = other->next) {
            bool same = strcmp(other->op_type, node->op_type) == 0;
            if (other == node) before = count;
            count += same;
        }
        if (before == 0)
            put_line(t, "lowered ", node->op_type, tb_arena_format(t->arena, " x %d", count));
    }
}

static void count_raised(text *t, const tb_rewrite_log *log) {
    for (int i = 0; i < log->count; i++) {
        int before = 0, count = 0;
        for (int k = 0; k < log->count; k++) {
            bool same = strcmp(log->entries[k].pattern, log->entries[i].pattern) == 0;
            if (k < i) before += same;
            count += same;
        }
        if (before == 0)
            put_line(t, "raised ", log->entries[i].pattern,
                     tb_arena_format(t->arena, " x %d", count));
    }
}

tiba_status tiba_run_listing(const char **out, tiba_run *run, tiba_listing listing,
                             tiba_error *error) {
    const plan *p = run->plan;
    char *dump = NULL;
    text t = {.arena = run->arena};
    put(&t, "");
    switch (listing) {
    case TIBA_LISTING_GRAPH:
        TB_TRY(tb_dump_text(&dump, run->arena, p->bound->graph, error));
        break;
    case TIBA_LISTING_DOT:
        TB_TRY(tb_dump_dot(&dump, run->arena, p->bound->graph, error));
        break;
    case TIBA_LISTING_REWRITES:
        list_lowered(&t, run->model->source->graph);
        for (int i = 0; i < p->rewrites.count; i++)
            put_line(&t, "raised ", p->rewrites.entries[i].pattern,
                     tb_arena_format(run->arena, ": %s", p->rewrites.entries[i].origin));
        break;
    case TIBA_LISTING_SUMMARY:
        count_lowered(&t, run->model->source->graph);
        count_raised(&t, &p->rewrites);
        break;
    default:
        return tb_fail(error, TIBA_ERROR_USAGE, "no such listing");
    }
    if (t.failed) return tb_out_of_memory(error);
    *out = dump ? dump : t.data;
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
