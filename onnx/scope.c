/*
 * scope.c: names and order. A scope knows which value a name stands for; asking for a name of an
 * enclosing graph goes outwards and leaves a note there that the node at work needs it, so that
 * what a sub-graph reads counts when the nodes are put in order.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx/reader.h"

tiba_status tb_fail_at(tb_reader *r, const Onnx__NodeProto *node, const char *format, ...) {
    char message[sizeof r->error->message];
    if (!r->error) return TIBA_ERROR_INPUT;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const char *name = tb_text(node->name), *domain = tb_domain(node->domain);
    /* A node without a name is found by what it computes. */
    if (!*name && node->n_output > 0) name = tb_text(node->output[0]);
    tb_fail(r->error, TIBA_ERROR_INPUT, "node '%.100s' (%.60s%s%.60s): %s", name, domain,
            *domain ? "." : "", tb_text(node->op_type), message);
    snprintf(r->error->node, sizeof r->error->node, "%s", name);
    return TIBA_ERROR_INPUT;
}

/* One more item in a growing list of the scratch arena. */
static void *room_for(tb_reader *r, void *list, int count, int *capacity, size_t size) {
    if (count < *capacity) return list;
    int larger = *capacity ? *capacity * 2 : 16;
    if (larger < 0) return NULL;
    void *copy = tb_arena_alloc(r->scratch, (size_t)larger, size);
    if (!copy) return NULL;
    if (count) memcpy(copy, list, (size_t)count * size);
    *capacity = larger;
    return copy;
}

tiba_status tb_scope_define(tb_reader *r, tb_scope *scope, const char *name, tb_value *value,
                            int position, const Onnx__NodeProto *node) {
    if (tb_names_find(&scope->names, name) >= 0) {
        if (node) return tb_fail_at(r, node, "defines '%.100s', which is defined already", name);
        return tb_fail(r->error, TIBA_ERROR_INPUT, "value '%.100s' is defined twice", name);
    }
    scope->entries =
        room_for(r, scope->entries, scope->n_entries, &scope->cap_entries, sizeof *scope->entries);
    if (!scope->entries || !tb_names_add(&scope->names, name, scope->n_entries))
        return tb_out_of_memory(r->error);
    scope->entries[scope->n_entries++] = (struct tb_entry){value, position};
    return TIBA_OK;
}

tiba_status tb_scope_find(tb_reader *r, tb_scope *scope, const char *name,
                          const struct tb_entry **out) {
    *out = NULL;
    for (; scope; scope = scope->outer) {
        int index = tb_names_find(&scope->names, name);
        if (index < 0) continue;
        *out = &scope->entries[index];
        int from = (*out)->position;
        if (from < 0) return TIBA_OK;
        if (from >= scope->current) scope->unsorted = true;
        scope->edges =
            room_for(r, scope->edges, scope->n_edges, &scope->cap_edges, sizeof *scope->edges);
        if (!scope->edges) return tb_out_of_memory(r->error);
        scope->edges[scope->n_edges++] = (struct tb_edge){from, scope->current};
        return TIBA_OK;
    }
    return TIBA_OK;
}

/* Bytes of a name that go into a made-up one: names of calls in calls must not grow without end. */
static int clipped(const char *name) {
    enum { MOST = 200 };
    size_t n = strlen(name);
    if (n <= MOST) return (int)n;
    for (n = MOST; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80;) n--;
    return (int)n;
}

char *tb_made_up_name(tb_reader *r, const tb_invocation *call, const char *name) {
    if (!call) return tb_keep(r, name);
    return tb_arena_format(r->arena, "%.*s/%.*s", clipped(call->prefix), call->prefix,
                           clipped(name), name);
}

tb_value *tb_new_value(tb_reader *r, const tb_scope *scope, const char *name) {
    const tb_invocation *call = scope->call;
    int output = call && call->body == scope ? tb_names_find(&call->function->outputs, name) : -1;
    if (output >= 0 && output < call->n_out && call->out[output]) return call->out[output];
    const char *own = tb_made_up_name(r, call, name);
    while (own && call && tb_names_find(&r->names, own) >= 0)
        own = tb_arena_format(r->arena, "%.*s/%.*s#%d", clipped(call->prefix), call->prefix,
                              clipped(name), name, ++r->made_up);
    if (!own) return NULL;
    if (tb_names_find(&r->names, own) < 0 && !tb_names_add(&r->names, own, 0)) return NULL;
    return tb_graph_value(scope->graph, own);
}

/* The sort's state: what each position needs, and how far it is. */
typedef struct sort {
    int n;
    int *first; /* [n + 1] into needs */
    int *needs;
    int *next;  /* [n] how many of its needs are looked at; -1: not begun */
    int *stack; /* [n] */
    int *order; /* [n] */
} sort;

static bool sort_init(tb_reader *r, sort *s, const tb_scope *scope, int n) {
    s->n = n;
    s->first = TB_NEW(r->scratch, int, n + 1);
    s->needs = TB_NEW(r->scratch, int, scope->n_edges);
    s->next = TB_NEW(r->scratch, int, n);
    s->stack = TB_NEW(r->scratch, int, n);
    s->order = TB_NEW(r->scratch, int, n);
    if (!s->first || !s->needs || !s->next || !s->stack || !s->order) return false;
    for (int i = 0; i < scope->n_edges; i++) s->first[scope->edges[i].to + 1]++;
    for (int i = 0; i < n; i++) s->first[i + 1] += s->first[i];
    for (int i = 0; i < scope->n_edges; i++) {
        int to = scope->edges[i].to;
        s->needs[s->first[to] + s->next[to]++] = scope->edges[i].from;
    }
    for (int i = 0; i < n; i++) s->next[i] = -1;
    return true;
}

tiba_status tb_scope_sort(tb_reader *r, const tb_scope *scope, int n, Onnx__NodeProto **nodes,
                          const int **order) {
    sort s;
    int done = 0;
    if (!sort_init(r, &s, scope, n)) return tb_out_of_memory(r->error);
    for (int root = 0; root < n; root++) {
        if (s.next[root] >= 0) continue;
        int depth = 0;
        s.stack[depth++] = root;
        s.next[root] = 0;
        while (depth > 0) {
            int at = s.stack[depth - 1], total = s.first[at + 1] - s.first[at];
            if (s.next[at] == total) {
                s.order[done++] = at;
                s.next[at] = total + 1; /* finished */
                depth--;
                continue;
            }
            int need = s.needs[s.first[at] + s.next[at]++];
            if (s.next[need] < 0) {
                s.next[need] = 0;
                s.stack[depth++] = need;
            } else if (s.next[need] <= s.first[need + 1] - s.first[need]) {
                return tb_fail_at(r, nodes[at], "reads what needs its own output: a cycle");
            }
        }
    }
    *order = s.order;
    return TIBA_OK;
}
