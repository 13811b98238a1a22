/*
 * nodes.c: NodeProto -> tb_node, in an order in which every value is made before it is read.
 * `Constant` nodes leave a constant behind, calls of the model's own functions their body.
 */
#include <limits.h>
#include <string.h>

#include "onnx/reader.h"

enum { MAX_STEPS = 1 << 21 }; /* nodes after inlining: a small file can spell a very large graph */

tiba_status tb_step(tb_reader *r, size_t cost) {
    if (cost > MAX_STEPS || (r->steps += (int64_t)cost) > MAX_STEPS)
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "the graph is too large: more than %d nodes after inlining", MAX_STEPS);
    return TIBA_OK;
}

static bool is_constant(const Onnx__NodeProto *node) {
    return strcmp(tb_text(node->op_type), "Constant") == 0 && !*tb_domain(node->domain);
}

/* Dense numbers given as an attribute. */
static tiba_status set_list(tb_reader *r, tb_value *value, tiba_dtype dtype, bool list,
                            int64_t count, const void *data) {
    TB_TRY(tb_tensor_create(&value->t, r->arena, dtype, list, &count, r->error));
    if (count) memcpy(value->t.data, data, (size_t)count * tb_dtype_size(dtype));
    return TIBA_OK;
}

static tiba_status read_constant(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node) {
    int n;
    const tb_attr *a;
    if (node->n_output != 1 || !*node->output[0])
        return tb_fail_at(r, node, "has %zu outputs, a constant has one", node->n_output);
    TB_TRY(tb_read_attrs(r, scope, node, &n, &a));
    if (n != 1) return tb_fail_at(r, node, "has %d attributes, a constant has one", n);
    tb_value *value = tb_new_value(r, scope, node->output[0]);
    if (!value) return tb_out_of_memory(r->error);
    TB_TRY(tb_scope_define(r, scope, node->output[0], value, -1, node));
    switch (a->kind) {
    case TB_ATTR_TENSOR:
        value->t = *a->tensor;
        value->file_type = node->attribute[0]->t ? node->attribute[0]->t->data_type : 0;
        tb_count_parameters(r, &value->t, node->attribute[0]->t);
        return TIBA_OK;
    case TB_ATTR_INT:
        return set_list(r, value, TIBA_INT64, false, 1, &a->i);
    case TB_ATTR_INTS:
        return set_list(r, value, TIBA_INT64, true, a->count, a->ints);
    case TB_ATTR_FLOAT:
        return set_list(r, value, TIBA_FLOAT32, false, 1, &a->f);
    case TB_ATTR_FLOATS:
        return set_list(r, value, TIBA_FLOAT32, true, a->count, a->floats);
    case TB_ATTR_STRING:
        value->t = (tiba_tensor){.dtype = TIBA_STRING};
        return TIBA_OK;
    case TB_ATTR_STRINGS:
        value->t = (tiba_tensor){.dtype = TIBA_STRING, .rank = 1, .dims = {a->count}};
        return TIBA_OK;
    default:
        return tb_fail_at(r, node, "attribute '%.80s' is no constant", a->name);
    }
}

static tiba_status declare_outputs(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node,
                                   int position) {
    for (size_t i = 0; i < node->n_output; i++) {
        if (!*node->output[i]) continue;
        tb_value *value = tb_new_value(r, scope, node->output[i]);
        if (!value) return tb_out_of_memory(r->error);
        TB_TRY(tb_scope_define(r, scope, node->output[i], value, position, node));
    }
    return TIBA_OK;
}

static tiba_status find_values(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node,
                               tb_value **in, tb_value **out) {
    const struct tb_entry *entry;
    for (size_t i = 0; i < node->n_input; i++) {
        if (!*node->input[i]) continue;
        TB_TRY(tb_scope_find(r, scope, node->input[i], &entry));
        if (!entry)
            return tb_fail_at(r, node, "reads '%.100s', which nothing defines", node->input[i]);
        in[i] = entry->value;
    }
    for (size_t i = 0; i < node->n_output; i++)
        if (*node->output[i])
            out[i] = scope->entries[tb_names_find(&scope->names, node->output[i])].value;
    return TIBA_OK;
}

static tiba_status read_node(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node) {
    const char *domain = tb_domain(node->domain);
    if (!*tb_text(node->op_type)) return tb_fail_at(r, node, "has no operator");
    if (node->n_input > INT_MAX / 2 || node->n_output > INT_MAX / 2)
        return tb_fail_at(r, node, "has too many inputs or outputs");
    TB_TRY(tb_step(r, 1 + (node->n_input + node->n_output + node->n_attribute) / 16));
    tb_value **in = TB_NEW(r->scratch, tb_value *, node->n_input);
    tb_value **out = TB_NEW(r->scratch, tb_value *, node->n_output);
    if (!in || !out) return tb_out_of_memory(r->error);
    TB_TRY(find_values(r, scope, node, in, out));
    int n_attrs;
    const tb_attr *attrs;
    TB_TRY(tb_read_attrs(r, scope, node, &n_attrs, &attrs));
    tb_function *function;
    TB_TRY(tb_find_function(r, node, &function));
    if (function) return tb_inline(r, scope, node, function, in, out, n_attrs, attrs);
    int opset = tb_opset_of(r, scope, domain);
    /* Files of the first two format versions are of operator set 1 and need not say so. */
    if (opset == 0 && !*domain && r->source->ir_version >= 3)
        return tb_fail_at(r, node, "the file names no version of the operator set ai.onnx");
    const char *kept_domain = tb_keep(r, domain), *op_type = tb_keep(r, node->op_type);
    if (!kept_domain || !op_type) return tb_out_of_memory(r->error);
    tb_node *made =
        tb_graph_node(scope->graph, kept_domain, op_type, (int)node->n_input, (int)node->n_output);
    if (!made) return tb_out_of_memory(r->error);
    made->name = *tb_text(node->name) ? tb_made_up_name(r, scope->call, node->name) : "";
    if (!made->name) return tb_out_of_memory(r->error);
    made->opset = opset ? opset : 1;
    made->n_attrs = n_attrs;
    made->attrs = attrs;
    for (int i = 0; i < made->n_in; i++)
        if (!tb_node_set_input(scope->graph, made, i, in[i])) return tb_out_of_memory(r->error);
    for (int i = 0; i < made->n_out; i++) tb_node_set_output(made, i, out[i]);
    return TIBA_OK;
}

/* Nodes that stand for one of the file's: none, one, or a function's. */
typedef struct group {
    tb_node *first;
    int count;
} group;

static tiba_status put_in_order(tb_reader *r, const tb_scope *scope, int n, Onnx__NodeProto **nodes,
                                const group *groups) {
    const int *order;
    TB_TRY(tb_scope_sort(r, scope, n, nodes, &order));
    for (int i = 0; i < n; i++) {
        tb_node *node = groups[order[i]].first;
        for (int k = 0; k < groups[order[i]].count; k++) {
            tb_node *next = node->next;
            tb_node_move(scope->graph, node, NULL);
            node = next;
        }
    }
    return TIBA_OK;
}

tiba_status tb_read_nodes(tb_reader *r, tb_scope *scope, size_t n, Onnx__NodeProto **nodes) {
    tb_graph *graph = scope->graph;
    if (n > INT_MAX / 2) return tb_fail(r->error, TIBA_ERROR_INPUT, "too many nodes");
    group *groups = TB_NEW(r->scratch, group, n);
    if (!groups) return tb_out_of_memory(r->error);
    for (size_t i = 0; i < n; i++)
        if (is_constant(nodes[i]))
            TB_TRY(read_constant(r, scope, nodes[i]));
        else
            TB_TRY(declare_outputs(r, scope, nodes[i], (int)i));
    for (size_t i = 0; i < n; i++) {
        if (is_constant(nodes[i])) continue;
        tb_node *last = graph->last;
        int before = graph->n_nodes;
        scope->current = (int)i;
        TB_TRY(read_node(r, scope, nodes[i]));
        groups[i] = (group){last ? last->next : graph->first, graph->n_nodes - before};
    }
    if (scope->unsorted) TB_TRY(put_in_order(r, scope, (int)n, nodes, groups));
    /* Whatever is asked for later does not change the order. */
    scope->current = INT_MAX;
    return TIBA_OK;
}

tiba_status tb_add_identity(tb_reader *r, tb_scope *scope, tb_value *in, tb_value *out) {
    tb_node *node = tb_graph_node(scope->graph, "", "Identity", 1, 1);
    if (!node || !tb_node_set_input(scope->graph, node, 0, in)) return tb_out_of_memory(r->error);
    tb_node_set_output(node, 0, out);
    int opset = tb_opset_of(r, scope, "");
    node->opset = opset ? opset : 1;
    return TIBA_OK;
}
