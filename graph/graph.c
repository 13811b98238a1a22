#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/op.h"

tb_graph *tb_graph_create(tb_arena *arena) {
    tb_graph *graph = TB_NEW(arena, tb_graph, 1);
    if (!graph) return NULL;
    graph->arena = arena;
    graph->name = "";
    return graph;
}

/* Doubles an arena array; the old one stays behind in the arena. */
static void *grown(tb_arena *arena, const void *old, int count, int *capacity, size_t size) {
    int next = *capacity ? *capacity * 2 : 4;
    void *array = tb_arena_alloc(arena, (size_t)next, size);
    if (!array) return NULL;
    if (count) memcpy(array, old, (size_t)count * size);
    *capacity = next;
    return array;
}

tb_value *tb_graph_value(tb_graph *graph, const char *name) {
    if (graph->n_values == graph->cap_values) {
        int capacity = graph->cap_values ? graph->cap_values : 32;
        tb_value **values =
            grown(graph->arena, graph->values, graph->n_values, &capacity, sizeof *values);
        if (!values) return NULL;
        graph->values = values;
        graph->cap_values = capacity;
    }
    tb_value *value = TB_NEW(graph->arena, tb_value, 1);
    if (!value) return NULL;
    value->id = graph->ids ? (*graph->ids)++ : graph->n_values;
    value->name = name;
    value->t.rank = -1;
    value->input = -1;
    value->ids_of = -1;
    graph->values[graph->n_values++] = value;
    return value;
}

static void link_before(tb_graph *graph, tb_node *node, tb_node *before) {
    node->next = before;
    node->prev = before ? before->prev : graph->last;
    if (node->prev)
        node->prev->next = node;
    else
        graph->first = node;
    if (before)
        before->prev = node;
    else
        graph->last = node;
}

static void unlink_node(tb_graph *graph, tb_node *node) {
    if (node->prev)
        node->prev->next = node->next;
    else
        graph->first = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else
        graph->last = node->prev;
    node->prev = node->next = NULL;
}

tb_node *tb_graph_node(tb_graph *graph, const char *domain, const char *op_type, int n_in,
                       int n_out) {
    tb_node *node = TB_NEW(graph->arena, tb_node, 1);
    if (!node) return NULL;
    node->in = TB_NEW(graph->arena, tb_value *, n_in);
    node->out = TB_NEW(graph->arena, tb_value *, n_out);
    if (!node->in || !node->out) return NULL;
    node->id = graph->next_node_id++;
    node->name = "";
    node->domain = domain;
    node->op_type = op_type;
    node->origin = "";
    node->n_in = n_in;
    node->n_out = n_out;
    link_before(graph, node, NULL);
    graph->n_nodes++;
    return node;
}

void tb_node_move(tb_graph *graph, tb_node *node, tb_node *before) {
    if (node == before) return;
    unlink_node(graph, node);
    link_before(graph, node, before);
}

static void remove_use(tb_value *value, const tb_node *node, int index) {
    for (int i = 0; i < value->n_uses; i++)
        if (value->uses[i].node == node && value->uses[i].index == index) {
            value->uses[i] = value->uses[--value->n_uses];
            return;
        }
}

bool tb_node_set_input(tb_graph *graph, tb_node *node, int index, tb_value *value) {
    if (value && value->n_uses == value->cap_uses) {
        tb_use *uses =
            grown(graph->arena, value->uses, value->n_uses, &value->cap_uses, sizeof *uses);
        if (!uses) return false;
        value->uses = uses;
    }
    if (node->in[index]) remove_use(node->in[index], node, index);
    node->in[index] = value;
    if (value) value->uses[value->n_uses++] = (tb_use){node, index};
    return true;
}

void tb_node_set_output(tb_node *node, int index, tb_value *value) {
    node->out[index] = value;
    if (!value) return;
    value->producer = node;
    value->index = index;
}

bool tb_replace_uses(tb_graph *graph, tb_value *old, tb_value *value) {
    if (old == value) return true;
    while (old->n_uses > 0) {
        tb_use use = old->uses[old->n_uses - 1];
        if (!tb_node_set_input(graph, use.node, use.index, value)) return false;
    }
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == old) {
            graph->outputs[i] = value;
            value->is_output = true;
        }
    old->is_output = false;
    return true;
}

void tb_node_remove(tb_graph *graph, tb_node *node) {
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i]) {
            remove_use(node->in[i], node, i);
            node->in[i] = NULL;
        }
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i]) {
            if (!graph->ids) graph->values[node->out[i]->id] = NULL;
            node->out[i]->producer = NULL;
        }
    unlink_node(graph, node);
    graph->n_nodes--;
}

int tb_graph_sweep(tb_graph *graph) {
    int removed = 0;
    for (tb_node *node = graph->last, *prev; node; node = prev) {
        prev = node->prev;
        bool read = false;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && (node->out[i]->n_uses > 0 || node->out[i]->is_output)) read = true;
        if (read) continue;
        tb_node_remove(graph, node);
        removed++;
    }
    return removed;
}

bool tb_scalar_constant(const tb_value *value, double *out) {
    if (!value || !value->t.data || tb_tensor_count(&value->t) != 1) return false;
    *out = tb_get_f64(&value->t, 0);
    return true;
}

const tb_attr *tb_find_attr(const tb_node *node, const char *name) {
    for (int i = 0; i < node->n_attrs; i++)
        if (strcmp(node->attrs[i].name, name) == 0) return &node->attrs[i];
    return NULL;
}

int64_t tb_attr_int(const tb_node *node, const char *name, int64_t fallback) {
    const tb_attr *attr = tb_find_attr(node, name);
    return attr && attr->kind == TB_ATTR_INT ? attr->i : fallback;
}

float tb_attr_float(const tb_node *node, const char *name, float fallback) {
    const tb_attr *attr = tb_find_attr(node, name);
    return attr && attr->kind == TB_ATTR_FLOAT ? attr->f : fallback;
}

const char *tb_attr_string(const tb_node *node, const char *name, const char *fallback) {
    const tb_attr *attr = tb_find_attr(node, name);
    return attr && attr->kind == TB_ATTR_STRING ? attr->s : fallback;
}

const int64_t *tb_attr_ints(const tb_node *node, const char *name, int64_t *count) {
    const tb_attr *attr = tb_find_attr(node, name);
    bool found = attr && attr->kind == TB_ATTR_INTS;
    *count = found ? attr->count : 0;
    return found ? attr->ints : NULL;
}

tiba_status tb_node_fail(tiba_error *error, tiba_status code, const tb_node *node,
                         const char *format, ...) {
    if (!error) return code;
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    /* A node without a name is found by what it computes. */
    const char *name = node->name[0]                     ? node->name
                       : node->origin[0]                 ? node->origin
                       : node->n_out > 0 && node->out[0] ? node->out[0]->name
                                                         : "";
    tb_fail(error, code, "node '%.100s' (%s%s%s): %s", name, node->domain,
            node->domain[0] ? "." : "", node->op_type, message);
    snprintf(error->node, sizeof error->node, "%s", name);
    return code;
}
