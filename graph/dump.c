#include "graph/dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FEW_ELEMENTS = 8, FIRST_CAPACITY = 4096, DEEPEST = 16, MOST_NAMES = 6 };

/* Text that grows in an arena; the first failure sticks. */
typedef struct text {
    tb_arena *arena;
    char *data;
    size_t length, capacity;
    bool failed;
} text;

static void add_bytes(text *t, const char *bytes, size_t length) {
    size_t need;
    if (t->failed || !tb_size_add(&need, t->length, length + 1)) {
        t->failed = true;
        return;
    }
    if (need > t->capacity) {
        size_t capacity = t->capacity ? t->capacity : FIRST_CAPACITY;
        while (capacity < need) capacity *= 2;
        char *data = tb_arena_alloc(t->arena, capacity, 1);
        if (!data) {
            t->failed = true;
            return;
        }
        if (t->length) memcpy(data, t->data, t->length);
        t->data = data;
        t->capacity = capacity;
    }
    memcpy(t->data + t->length, bytes, length);
    t->length += length;
    t->data[t->length] = '\0';
}

static void add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(text *t, const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0)
        add_bytes(t, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* A name from the file: control characters and what would end a quoted string are replaced. */
static void add_name_of(text *t, const char *name, size_t length) {
    for (const char *p = name; p < name + length; p++) {
        bool odd = (unsigned char)*p < ' ' || *p == '"' || *p == '\\' || *p == 127;
        add_bytes(t, odd ? "?" : p, 1);
    }
}

static void add_name(text *t, const char *name) {
    add_name_of(t, name, strlen(name));
}

/* ---- values --------------------------------------------------------------------------------- */

static void add_number(text *t, const tiba_tensor *tensor, int64_t i) {
    if (tb_dtype_is_float(tensor->dtype))
        add(t, "%.6g", tb_get_f64(tensor, i));
    else
        add(t, "%lld", (long long)tb_get_i64(tensor, i));
}

static void add_type(text *t, const tb_value *value) {
    add(t, "%s", tb_dtype_name(value->t.dtype));
    if (value->t.rank < 0) {
        add(t, "[?]");
        return;
    }
    add(t, "[");
    for (int i = 0; i < value->t.rank; i++) {
        const char *name = value->dim_names ? value->dim_names[i] : NULL;
        add(t, "%s", i ? ", " : "");
        if (value->t.dims[i] >= 0)
            add(t, "%lld", (long long)value->t.dims[i]);
        else
            add_name(t, name && name[0] ? name : "?");
    }
    add(t, "]");
}

static void add_elements(text *t, const tiba_tensor *tensor) {
    if (!tensor->data || !tb_dtype_size(tensor->dtype)) return;
    int64_t count = tb_tensor_count(tensor);
    if (count > FEW_ELEMENTS) return;
    add(t, " = ");
    if (tensor->rank > 0) add(t, "{");
    for (int64_t i = 0; i < count; i++) {
        add(t, "%s", i ? ", " : "");
        add_number(t, tensor, i);
    }
    if (tensor->rank > 0) add(t, "}");
}

/* A result: %id name: type, with a star where it is active. */
static void add_result(text *t, const tb_value *value) {
    add(t, "%%%d%s ", value->id, value->active ? "*" : "");
    add_name(t, value->name);
    add(t, ": ");
    add_type(t, value);
}

/* An operand: its id; a constant's type and elements as well, since it has no line of its own. */
static void add_operand(text *t, const tb_value *value) {
    if (!value) {
        add(t, "-");
        return;
    }
    add(t, "%%%d", value->id);
    if (!value->t.data || value->input >= 0) return;
    add(t, " ");
    add_type(t, value);
    add_elements(t, &value->t);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void add_attr(text *t, const tb_attr *attr) {
    add_name(t, attr->name);
    add(t, "=");
    switch (attr->kind) {
    case TB_ATTR_INT:
        add(t, "%lld", (long long)attr->i);
        break;
    case TB_ATTR_FLOAT:
        add(t, "%.6g", (double)attr->f);
        break;
    case TB_ATTR_STRING:
        add(t, "\"");
        add_name(t, attr->s);
        add(t, "\"");
        break;
    case TB_ATTR_TENSOR:
        add(t, "%s tensor", tb_dtype_name(attr->tensor->dtype));
        add_elements(t, attr->tensor);
        break;
    case TB_ATTR_GRAPH:
        add(t, "graph");
        break;
    case TB_ATTR_INTS:
    case TB_ATTR_FLOATS:
        add(t, "[");
        for (int64_t i = 0; i < attr->count; i++) {
            add(t, "%s", i ? ", " : "");
            if (attr->kind == TB_ATTR_INTS)
                add(t, "%lld", (long long)attr->ints[i]);
            else
                add(t, "%.6g", (double)attr->floats[i]);
        }
        add(t, "]");
        break;
    case TB_ATTR_STRINGS:
        add(t, "%lld strings", (long long)attr->count);
        break;
    }
}

static void add_indent(text *t, int depth) {
    for (int i = 0; i < depth; i++) add(t, "    ");
}

static void add_graph(text *t, const tb_graph *graph, int depth);

static void add_node(text *t, const tb_node *node, int depth) {
    add_indent(t, depth);
    for (int i = 0; i < node->n_out; i++) {
        add(t, "%s", i ? ", " : "");
        if (node->out[i])
            add_result(t, node->out[i]);
        else
            add(t, "-");
    }
    add(t, " = ");
    if (node->domain[0]) {
        add_name(t, node->domain);
        add(t, ".");
    }
    add_name(t, node->op_type);
    add(t, "(");
    for (int i = 0; i < node->n_in; i++) {
        add(t, "%s", i ? ", " : "");
        add_operand(t, node->in[i]);
    }
    add(t, ")");
    for (int i = 0; i < node->n_attrs; i++) {
        add(t, "%s", i ? ", " : " ");
        add_attr(t, &node->attrs[i]);
    }
    const char *from = node->origin[0] ? node->origin : node->name;
    if (from[0]) {
        add(t, "  # ");
        add_name(t, from);
    }
    add(t, "\n");
    for (int i = 0; i < node->n_attrs && depth < DEEPEST; i++)
        if (node->attrs[i].kind == TB_ATTR_GRAPH) {
            add_indent(t, depth + 1);
            add_name(t, node->attrs[i].name);
            add(t, ":\n");
            add_graph(t, node->attrs[i].graph, depth + 1);
        }
}

static void add_graph(text *t, const tb_graph *graph, int depth) {
    for (int i = 0; i < graph->n_inputs; i++) {
        add_indent(t, depth);
        add(t, "input ");
        add_result(t, graph->inputs[i]);
        add_elements(t, &graph->inputs[i]->t);
        add(t, "\n");
    }
    for (const tb_node *node = graph->first; node; node = node->next) add_node(t, node, depth);
    for (int i = 0; i < graph->n_outputs; i++) {
        if (!graph->outputs[i]) continue;
        add_indent(t, depth);
        add(t, "output ");
        add_result(t, graph->outputs[i]);
        add_elements(t, &graph->outputs[i]->t);
        add(t, "\n");
    }
}

static tiba_status finish(text *t, char **out, tiba_error *error) {
    if (!t->length) add(t, "%s", "");
    if (!t->failed && !t->data && !(t->data = tb_arena_alloc(t->arena, 1, 1))) t->failed = true;
    *out = t->failed ? NULL : t->data;
    return t->failed ? tb_out_of_memory(error) : TIBA_OK;
}

tiba_status tb_dump_text(char **out, tb_arena *arena, const tb_graph *graph, tiba_error *error) {
    text t = {.arena = arena};
    add_graph(&t, graph, 0);
    return finish(&t, out, error);
}

/* ---- graphviz ------------------------------------------------------------------------------- */

static void add_dot_node(text *t, const tb_node *node) {
    add(t, "  n%d [shape=box, label=\"", node->id);
    add_name(t, node->op_type);
    const char *from = node->origin[0] ? node->origin : node->name;
    for (int shown = 0; *from; shown++) { /* a line for each name, or a node is as wide as a page */
        size_t n = shown < MOST_NAMES ? strcspn(from, ",") : strlen(from);
        add(t, "\\n");
        if (shown < MOST_NAMES)
            add_name_of(t, from, n);
        else
            add(t, "...");
        from += n + (from[n] == ',');
    }
    add(t, "\"];\n");
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *value = node->in[i];
        /* Constants would hide the structure: they are in the text form. */
        if (!value || (value->t.data && value->input < 0)) continue;
        if (value->producer)
            add(t, "  n%d -> n%d", value->producer->id, node->id);
        else
            add(t, "  v%d -> n%d", value->id, node->id);
        add(t, " [label=\"");
        add_type(t, value);
        add(t, "\"%s];\n", value->active ? ", style=bold" : "");
    }
}

tiba_status tb_dump_dot(char **out, tb_arena *arena, const tb_graph *graph, tiba_error *error) {
    text t = {.arena = arena};
    add(&t, "digraph \"");
    add_name(&t, graph->name);
    add(&t, "\" {\n");
    for (int i = 0; i < graph->n_inputs; i++) {
        add(&t, "  v%d [shape=ellipse, label=\"", graph->inputs[i]->id);
        add_name(&t, graph->inputs[i]->name);
        add(&t, "\"];\n");
    }
    for (const tb_node *node = graph->first; node; node = node->next) add_dot_node(&t, node);
    for (int i = 0; i < graph->n_outputs; i++) {
        const tb_value *value = graph->outputs[i];
        if (!value) continue;
        add(&t, "  o%d [shape=ellipse, label=\"", i);
        add_name(&t, value->name);
        add(&t, "\"];\n");
        if (value->producer) add(&t, "  n%d -> o%d;\n", value->producer->id, i);
    }
    add(&t, "}\n");
    return finish(&t, out, error);
}
