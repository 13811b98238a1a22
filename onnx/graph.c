/*
 * graph.c: GraphProto -> tb_graph, the model's and the ones on attributes.
 */
#include <limits.h>
#include <string.h>

#include "graph/choice.h"
#include "onnx/reader.h"

char *tb_keep(tb_reader *r, const char *text) {
    return tb_arena_strdup(r->arena, tb_text(text));
}

void tb_count_parameters(tb_reader *r, const tiba_tensor *tensor, const Onnx__TensorProto *proto) {
    /* Single numbers, indices, shapes and masks are no parameters. */
    if (tensor->rank < 1 || tensor->dtype == TIBA_INT64 || tensor->dtype == TIBA_BOOL ||
        tensor->dtype == TIBA_STRING)
        return;
    int64_t count = tb_tensor_count(tensor);
    const tb_onnx_type *type = proto ? tb_onnx_type_of(proto->data_type) : NULL;
    size_t bits = type && type->bits > 0 ? (size_t)type->bits : 8 * tb_dtype_size(tensor->dtype);
    r->source->n_parameters += count;
    r->source->parameter_bytes += count / 8 * (int64_t)bits + (count % 8 * (int64_t)bits + 7) / 8;
}

static tiba_status add_initializer(tb_reader *r, tb_scope *scope, const char *name,
                                   const tiba_tensor *tensor, int file_type) {
    if (!*name) return tb_fail(r->error, TIBA_ERROR_INPUT, "an initializer has no name");
    tb_value *value = tb_new_value(r, scope, name);
    if (!value) return tb_out_of_memory(r->error);
    value->t = *tensor;
    value->file_type = file_type;
    return tb_scope_define(r, scope, name, value, -1, NULL);
}

static tiba_status read_initializers(tb_reader *r, tb_scope *scope, const Onnx__GraphProto *proto) {
    tiba_tensor tensor;
    for (size_t i = 0; i < proto->n_initializer; i++) {
        TB_TRY(tb_read_tensor(r, proto->initializer[i], true, &tensor));
        TB_TRY(add_initializer(r, scope, tb_text(proto->initializer[i]->name), &tensor,
                               proto->initializer[i]->data_type));
        tb_count_parameters(r, &tensor, proto->initializer[i]);
    }
    for (size_t i = 0; i < proto->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *sparse = proto->sparse_initializer[i];
        TB_TRY(tb_read_sparse(r, sparse, &tensor));
        TB_TRY(add_initializer(r, scope, tb_text(sparse->values->name), &tensor, 0));
        tb_count_parameters(r, &tensor, sparse->values);
    }
    return TIBA_OK;
}

static tiba_status read_inputs(tb_reader *r, tb_scope *scope, const Onnx__GraphProto *proto) {
    tb_graph *graph = scope->graph;
    if (proto->n_input > INT_MAX / 2) return tb_fail(r->error, TIBA_ERROR_INPUT, "too many inputs");
    graph->inputs = TB_NEW(r->arena, tb_value *, proto->n_input);
    if (!graph->inputs) return tb_out_of_memory(r->error);
    for (size_t i = 0; i < proto->n_input; i++) {
        const char *name = tb_text(proto->input[i]->name);
        if (!*name) return tb_fail(r->error, TIBA_ERROR_INPUT, "input %zu has no name", i);
        int known = tb_names_find(&scope->names, name);
        /* An input with an initializer is not one that anybody has to give. */
        if (known >= 0 && scope->entries[known].value->input < 0) continue;
        tiba_tensor type;
        const char *const *dim_names;
        TB_TRY(tb_read_type(r, proto->input[i], "input", scope->outer, &type, &dim_names));
        if (!scope->outer && type.dtype == TIBA_UNDEFINED)
            return tb_fail(r->error, TIBA_ERROR_INPUT, "input '%.100s' has no type", name);
        tb_value *value = tb_new_value(r, scope, name);
        if (!value) return tb_out_of_memory(r->error);
        TB_TRY(tb_scope_define(r, scope, name, value, -1, NULL));
        value->t = type;
        value->dim_names = dim_names;
        const Onnx__TypeProto *given = proto->input[i]->type;
        if (type.dtype != TIBA_UNDEFINED && given) value->file_type = given->tensor_type->elem_type;
        value->input = graph->n_inputs;
        graph->inputs[graph->n_inputs++] = value;
    }
    return TIBA_OK;
}

static tiba_status read_output(tb_reader *r, tb_scope *scope, const Onnx__ValueInfoProto *info,
                               tb_value **out) {
    const char *name = tb_text(info->name);
    const struct tb_entry *entry;
    tiba_tensor type;
    const char *const *unused;
    TB_TRY(tb_read_type(r, info, "output", scope->outer, &type, &unused));
    TB_TRY(tb_scope_find(r, scope, name, &entry));
    if (!entry || !entry->value)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "output '%.100s' is not defined", name);
    *out = entry->value;
    if (tb_names_find(&scope->names, name) < 0) {
        /* A value of an enclosing graph, handed through. */
        *out = tb_new_value(r, scope, name);
        if (!*out) return tb_out_of_memory(r->error);
        TB_TRY(tb_add_identity(r, scope, entry->value, *out));
    }
    (*out)->is_output = true;
    if ((*out)->producer) (*out)->t = type;
    return TIBA_OK;
}

/* Labels, maps and lists of scores beside the scores themselves: outputs of these kinds are noted
 * and left out as long as a tensor of numbers remains or stands behind them. */
static tiba_status leave_out(tb_reader *r, tb_scope *scope, const Onnx__GraphProto *proto) {
    tb_source *source = r->source;
    size_t n = 0;
    for (size_t i = 0; i < proto->n_output; i++) n += tb_no_tensor(proto->output[i]) != NULL;
    if (n == 0) return TIBA_OK;
    source->left_out = TB_NEW(r->arena, struct tb_left_out, n);
    if (!source->left_out) return tb_out_of_memory(r->error);
    for (size_t i = 0; i < proto->n_output; i++) {
        const char *kind = tb_no_tensor(proto->output[i]);
        if (!kind) continue;
        const char *name = tb_keep(r, proto->output[i]->name);
        if (!name) return tb_out_of_memory(r->error);
        const struct tb_entry *entry;
        TB_TRY(tb_scope_find(r, scope, name, &entry));
        source->left_out[source->n_left_out++] =
            (struct tb_left_out){name, kind, entry ? entry->value : NULL};
    }
    return TIBA_OK;
}

tiba_status tb_read_graph(tb_reader *r, const Onnx__GraphProto *proto, tb_scope *outer,
                          tb_invocation *call, tb_graph **out) {
    tb_graph *graph = tb_graph_create(r->arena);
    if (!graph) return tb_out_of_memory(r->error);
    *out = graph;
    graph->ids = &r->source->n_values;
    graph->parent = outer ? outer->graph : NULL;
    graph->name = tb_keep(r, proto->name);
    if (!graph->name) return tb_out_of_memory(r->error);
    tb_scope scope = {.outer = outer, .graph = graph, .names.arena = r->scratch, .call = call};
    TB_TRY(read_initializers(r, &scope, proto));
    TB_TRY(read_inputs(r, &scope, proto));
    TB_TRY(tb_read_nodes(r, &scope, proto->n_node, proto->node));
    if (proto->n_output > INT_MAX / 2)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "too many outputs");
    graph->outputs = TB_NEW(r->arena, tb_value *, proto->n_output);
    if (!graph->outputs) return tb_out_of_memory(r->error);
    if (!outer && !call) TB_TRY(leave_out(r, &scope, proto));
    for (size_t i = 0; i < proto->n_output; i++) {
        if (r->source->n_left_out && !outer && !call && tb_no_tensor(proto->output[i])) continue;
        TB_TRY(read_output(r, &scope, proto->output[i], &graph->outputs[graph->n_outputs]));
        graph->n_outputs++;
    }
    int id = 0;
    for (tb_node *node = graph->first; node; node = node->next) node->id = id++;
    if (outer || call) return TIBA_OK;
    r->source->graph = graph;
    TB_TRY(tb_add_choices(r->source, r->error));
    if (graph->n_outputs == 0 && proto->n_output > 0) /* says what the first one is */
        TB_TRY(read_output(r, &scope, proto->output[0], &graph->outputs[0]));
    return TIBA_OK;
}
