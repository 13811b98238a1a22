#include "graph/raise.h"

#include <string.h>

#include "graph/heads.h"
#include "graph/unshare.h"
#include "graph/weighted_sum.h"

const tb_pattern_table *const tb_raise_tables[4] = {&tb_raise_linear, &tb_raise_norm,
                                                    &tb_raise_activation, &tb_raise_softmax};

enum {
    N_TABLES = sizeof tb_raise_tables / sizeof tb_raise_tables[0],
    MAX_PER_ROOT = 64,   /* patterns that can have the same root operator */
    MAX_PASSES = 16,     /* a fixed point takes two or three */
    MAX_ORIGIN = 1 << 14 /* bytes: all the names of any sound file */
};

/* Which patterns can have an operator as their root. */
typedef struct root_index {
    const tb_pattern *rows[TB_OP_COUNT][MAX_PER_ROOT];
    int counts[TB_OP_COUNT];
    const tb_pattern *row; /* the one being entered */
} root_index;

typedef struct raiser {
    tb_graph *graph;
    tb_exec *exec;
    tb_rewrite_log *log;
    int left; /* rewrites still allowed, negative: any number */
    root_index *index;
    tb_match match;
} raiser;

bool tb_check_same_shape(const tb_match *match) {
    const tb_value *x = tb_match_value(match, "x");
    return x && tb_same_shape(&x->t, &match->root->out[0]->t);
}

static void enter_root(void *context, tb_op_kind op) {
    root_index *index = context;
    int n = index->counts[op];
    if ((n > 0 && index->rows[op][n - 1] == index->row) || n == MAX_PER_ROOT) return;
    index->rows[op][index->counts[op]++] = index->row;
}

static root_index *make_index(tb_budget *budget) {
    root_index *index = tb_calloc(budget, 1, sizeof *index);
    if (!index) return NULL;
    for (int t = 0; t < N_TABLES; t++)
        for (int i = 0; i < tb_raise_tables[t]->count; i++) {
            index->row = &tb_raise_tables[t]->patterns[i];
            tb_pattern_roots(index->row->term, enter_root, index);
        }
    return index;
}

/* --- names -------------------------------------------------------------------------------- */

/* Is `name` one of the comma-separated names in `list`? */
static bool lists(const char *list, const char *name, size_t length) {
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && memcmp(at, name, n) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* Joins the names that the matched nodes stand for, in execution order, each one once. */
static const char *join_origins(tb_arena *arena, const tb_match *match) {
    size_t room = 8, used = 0;
    for (int i = 0; i < match->n_nodes; i++) room += strlen(match->nodes[i]->origin) + 1;
    if (room > MAX_ORIGIN + 8) room = MAX_ORIGIN + 8;
    char *text = TB_NEW(arena, char, room);
    for (int last_id = -1, k = 0; text && k < match->n_nodes; k++) {
        const tb_node *node = NULL; /* ids follow the order in which the file has the nodes */
        for (int i = 0; i < match->n_nodes; i++)
            if (match->nodes[i]->id > last_id && (!node || match->nodes[i]->id < node->id))
                node = match->nodes[i];
        if (!node) break;
        last_id = node->id;
        for (const char *at = node->origin; *at;) {
            size_t n = strcspn(at, ",");
            if (n > 0 && !lists(text, at, n)) {
                if (used + n + 1 > MAX_ORIGIN) {
                    memcpy(text + used, used ? ",..." : "...", used ? 5 : 4);
                    return text;
                }
                if (used) text[used++] = ',';
                memcpy(text + used, at, n);
                used += n;
                text[used] = '\0';
            }
            at += n + (at[n] == ',');
        }
    }
    return text;
}

static bool add_to_log(tb_rewrite_log *log, tb_arena *arena, tb_rewrite entry) {
    if (log->count == log->capacity) {
        int capacity = log->capacity ? log->capacity * 2 : 64;
        tb_rewrite *entries = TB_NEW(arena, tb_rewrite, capacity);
        if (!entries) return false;
        if (log->count) memcpy(entries, log->entries, (size_t)log->count * sizeof *entries);
        log->entries = entries;
        log->capacity = capacity;
    }
    log->entries[log->count++] = entry;
    return true;
}

/* --- rewriting ---------------------------------------------------------------------------- */

static bool is_read(const tb_node *node) {
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] && (node->out[i]->n_uses > 0 || node->out[i]->is_output)) return true;
    return false;
}

/* Removes a node that is not read, and the Casts and Identities that only it reads: they would
 * make their inputs look as if someone else read them. */
static void remove_node(tb_graph *graph, tb_node *node) {
    tb_value *in[4];
    int n = node->n_in < 4 ? node->n_in : 4;
    if (n) memcpy(in, node->in, (size_t)n * sizeof in[0]);
    tb_node_remove(graph, node);
    for (int i = 0; i < n; i++)
        while (in[i] && in[i]->producer && tb_peel(in[i]) != in[i] && !is_read(in[i]->producer)) {
            tb_node *dead = in[i]->producer;
            in[i] = dead->in[0];
            tb_node_remove(graph, dead);
        }
}

/* Takes the matched nodes out, readers before what they read. */
static void remove_matched(tb_graph *graph, const tb_match *match) {
    for (bool removed = true; removed;) {
        removed = false;
        for (int i = 0; i < match->n_nodes; i++) {
            tb_node *node = match->nodes[i];
            bool gone = node->n_out > 0 && node->out[0] && node->out[0]->producer != node;
            if (gone || is_read(node)) continue;
            remove_node(graph, node);
            removed = true;
        }
    }
}

/* The pattern's replacement in front of the match's root; NULL if it cannot stand for the root.
 * Then the graph is as it was. */
static tiba_status build_replacement(tb_value **made, raiser *r, const tb_pattern *pattern,
                                     const char *origin, tiba_error *error) {
    tb_node *root = r->match.root, *last = root->prev;
    const tb_value *old = root->out[0];
    tb_builder builder = {
        .graph = r->graph, .exec = r->exec, .origin = origin, .before = root, .from = root};
    tiba_error why;
    tiba_status status = tb_pattern_build(made, pattern, &builder, &r->match, &why);
    if (status == TIBA_ERROR_RESOURCE) {
        if (error) *error = why;
        return status;
    }
    bool fits = status == TIBA_OK && *made && tb_same_shape(&(*made)->t, &old->t) &&
                (*made)->t.dtype == old->t.dtype;
    if (fits) return TIBA_OK;
    *made = NULL;
    while (root->prev != last) tb_node_remove(r->graph, root->prev);
    return TIBA_OK;
}

/* Puts the replacement in the place of the match, if it fits there. `*next` is where to go on: the
 * new node, which may be the root of another pattern. */
static tiba_status rewrite(raiser *r, const tb_pattern *pattern, tb_node **next, bool *done,
                           tiba_error *error) {
    tb_match *match = &r->match;
    tb_graph *graph = r->graph;
    tb_value *old = match->root->out[0], *made;
    const char *origin = join_origins(graph->arena, match);
    if (!origin) return tb_out_of_memory(error);
    TB_TRY(build_replacement(&made, r, pattern, origin, error));
    *done = made != NULL;
    if (!made) return TIBA_OK;
    made->name = old->name;
    if (!tb_replace_uses(graph, old, made)) return tb_out_of_memory(error);
    tb_rewrite entry = {pattern->name, origin, old->name};
    if (r->log && !add_to_log(r->log, graph->arena, entry)) return tb_out_of_memory(error);
    if (r->left > 0) r->left--;
    remove_matched(graph, match);
    *next = made->producer ? made->producer : graph->first;
    return TIBA_OK;
}

static tiba_status visit(raiser *r, tb_node *node, tb_node **next, bool *changed,
                         tiba_error *error) {
    *next = node->next;
    const tb_value *out = node->out[0];
    if (!out || out->t.dtype != TIBA_FLOAT32) return TIBA_OK;
    const root_index *index = r->index;
    for (int i = 0; i < index->counts[node->op->kind]; i++) {
        const tb_pattern *pattern = index->rows[node->op->kind][i];
        if (!tb_pattern_match(pattern, node, &r->match)) continue;
        bool done;
        TB_TRY(rewrite(r, pattern, next, &done, error));
        if (!done) continue;
        *changed = true;
        break;
    }
    return TIBA_OK;
}

tiba_status tb_raise(tb_graph *graph, tb_exec *exec, tb_rewrite_log *log, int limit,
                     tiba_error *error) {
    raiser r = {.graph = graph, .exec = exec, .log = log, .left = limit};
    r.index = make_index(exec->budget);
    if (!r.index) return tb_out_of_memory(error);
    tiba_status status = limit == 0 ? TIBA_OK : tb_unshare_regions(graph, exec, error);
    bool changed = true;
    for (int pass = 0; pass < MAX_PASSES && changed && status == TIBA_OK; pass++) {
        changed = false;
        tb_node *next;
        for (tb_node *node = graph->first; node && r.left != 0 && status == TIBA_OK; node = next)
            status = visit(&r, node, &next, &changed, error);
        tb_graph_sweep(graph); /* what nothing reads any more would look like a reader */
    }
    if (status == TIBA_OK && r.left != 0) status = tb_raise_weighted_sums(graph, exec, error);
    if (status == TIBA_OK && r.left != 0) status = tb_join_head_sums(graph, exec, error);
    if (status == TIBA_OK && r.left != 0) status = tb_join_heads(graph, exec, error);
    tb_graph_sweep(graph);
    tb_free(r.index);
    return status;
}
