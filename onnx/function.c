/*
 * function.c: the model's own functions. A call is replaced by the function's nodes; their values
 * and names get the call's name in front. A function that is one of the operators that binding
 * knows stays a node: the operator is what the function spells out.
 */
#include <string.h>

#include "graph/op.h"
#include "onnx/reader.h"

enum { MAX_CALL_DEPTH = 64, MAX_OPSETS = 1000 };

const char *tb_domain(const char *domain) {
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

tiba_status tb_read_opsets(tb_reader *r, size_t n, Onnx__OperatorSetIdProto **protos, int *n_out,
                           struct tb_opset **out) {
    tb_names seen = {.arena = r->scratch};
    struct tb_opset *list = TB_NEW(r->arena, struct tb_opset, n);
    if (!list) return tb_out_of_memory(r->error);
    if (n > MAX_OPSETS)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "%zu operator sets, at most %d", n, MAX_OPSETS);
    *out = list;
    *n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const char *domain = tb_domain(protos[i]->domain);
        int64_t version = protos[i]->version;
        int known = tb_names_find(&seen, domain);
        if (version < 1 || version > 1000000)
            return tb_fail(r->error, TIBA_ERROR_INPUT, "operator set '%.100s' of version %lld",
                           domain, (long long)version);
        if (known >= 0) {
            if (list[known].version == version) continue;
            return tb_fail(r->error, TIBA_ERROR_INPUT,
                           "operator set '%.100s' in two versions, %lld and %lld", domain,
                           (long long)list[known].version, (long long)version);
        }
        list[*n_out].domain = tb_keep(r, domain);
        list[*n_out].version = version;
        if (!list[*n_out].domain || !tb_names_add(&seen, list[*n_out].domain, *n_out))
            return tb_out_of_memory(r->error);
        ++*n_out;
    }
    return TIBA_OK;
}

static int find_opset(int n, const struct tb_opset *opsets, const char *domain) {
    for (int i = 0; i < n; i++)
        if (strcmp(opsets[i].domain, domain) == 0) return (int)opsets[i].version;
    return 0;
}

int tb_opset_of(const tb_reader *r, const tb_scope *scope, const char *domain) {
    const tb_function *function = scope->call ? scope->call->function : NULL;
    int version = function ? find_opset(function->n_opsets, function->opsets, domain) : 0;
    return version ? version : find_opset(r->source->n_opsets, r->source->opsets, domain);
}

/* Fields that the distribution's onnx.proto does not have are among the unknown ones. */
static const unsigned char *unknown_field(const ProtobufCMessageUnknownField *field, size_t *size) {
    uint64_t length;
    size_t position = 0;
    if (!tb_wire_varint(&length, field->data, &position, field->len)) return NULL;
    *size = field->len - position;
    return field->data + position;
}

static const char *overload_of(tb_reader *r, const ProtobufCMessage *message, uint32_t number) {
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        size_t size;
        const unsigned char *text = field->tag == number ? unknown_field(field, &size) : NULL;
        if (text) return tb_arena_strndup(r->scratch, (const char *)text, size);
    }
    return "";
}

static tiba_status read_defaults(tb_reader *r, tb_function *f) {
    const ProtobufCMessage *message = &f->proto->base;
    f->default_attrs = TB_NEW(r->scratch, Onnx__AttributeProto *, message->n_unknown_fields);
    if (!f->default_attrs) return tb_out_of_memory(r->error);
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        if (message->unknown_fields[i].tag != 11) continue;
        ProtobufCAllocator allocator = tb_proto_allocator(r->scratch);
        size_t size;
        const unsigned char *data = unknown_field(&message->unknown_fields[i], &size);
        Onnx__AttributeProto *a =
            data ? onnx__attribute_proto__unpack(&allocator, size, data) : NULL;
        if (!a) return tb_out_of_memory(r->error);
        if (tb_text(a->ref_attr_name)[0] || tb_names_find(&f->defaults, tb_text(a->name)) >= 0)
            return tb_fail(r->error, TIBA_ERROR_INPUT,
                           "function '%.100s': the default of attribute '%.100s' is a reference or "
                           "stands twice",
                           f->name, tb_text(a->name));
        if (!tb_names_add(&f->defaults, tb_text(a->name), f->n_defaults))
            return tb_out_of_memory(r->error);
        f->default_attrs[f->n_defaults++] = a;
    }
    return TIBA_OK;
}

static char *function_key(tb_reader *r, const char *domain, const char *name,
                          const char *overload) {
    /* Lengths in front: names may hold any character. */
    return tb_arena_format(r->scratch, "%zu %zu %s%s%s", strlen(domain), strlen(name), domain, name,
                           overload);
}

tiba_status tb_read_functions(tb_reader *r, const Onnx__ModelProto *model) {
    r->functions = TB_NEW(r->scratch, tb_function, model->n_functions);
    if (!r->functions) return tb_out_of_memory(r->error);
    for (size_t i = 0; i < model->n_functions; i++) {
        tb_function *f = &r->functions[i];
        f->proto = model->functions[i];
        f->name = tb_text(f->proto->name);
        f->outputs.arena = f->defaults.arena = r->scratch;
        const char *overload = overload_of(r, &f->proto->base, 13);
        if (!overload) return tb_out_of_memory(r->error);
        char *key = function_key(r, tb_domain(f->proto->domain), f->name, overload);
        if (!key) return tb_out_of_memory(r->error);
        if (tb_names_find(&r->function_index, key) >= 0)
            return tb_fail(r->error, TIBA_ERROR_INPUT, "function '%.100s' is defined twice",
                           f->name);
        if (!tb_names_add(&r->function_index, key, (int)i)) return tb_out_of_memory(r->error);
        for (size_t k = 0; k < f->proto->n_output; k++)
            if (tb_names_find(&f->outputs, f->proto->output[k]) < 0 &&
                !tb_names_add(&f->outputs, f->proto->output[k], (int)k))
                return tb_out_of_memory(r->error);
        TB_TRY(read_defaults(r, f));
        TB_TRY(tb_read_opsets(r, f->proto->n_opset_import, f->proto->opset_import, &f->n_opsets,
                              &f->opsets));
    }
    return TIBA_OK;
}

tiba_status tb_find_function(tb_reader *r, const Onnx__NodeProto *node, tb_function **out) {
    const char *domain = tb_domain(node->domain), *name = tb_text(node->op_type);
    *out = NULL;
    if (r->function_index.count == 0 || tb_op_known(domain, name)) return TIBA_OK;
    const char *overload = overload_of(r, &node->base, 8);
    char *key = overload ? function_key(r, domain, name, overload) : NULL;
    if (!key) return tb_out_of_memory(r->error);
    int index = tb_names_find(&r->function_index, key);
    if (index >= 0) *out = &r->functions[index];
    return TIBA_OK;
}

static tiba_status bind_inputs(tb_reader *r, tb_scope *body, const Onnx__NodeProto *node,
                               const Onnx__FunctionProto *proto, tb_value **in) {
    if (node->n_input > proto->n_input || node->n_output > proto->n_output)
        return tb_fail_at(r, node,
                          "calls a function of %zu inputs and %zu outputs with %zu and %zu",
                          proto->n_input, proto->n_output, node->n_input, node->n_output);
    for (size_t i = 0; i < proto->n_input; i++)
        TB_TRY(
            tb_scope_define(r, body, proto->input[i], i < node->n_input ? in[i] : NULL, -1, NULL));
    return TIBA_OK;
}

static tiba_status bind_outputs(tb_reader *r, tb_scope *body, const Onnx__NodeProto *node,
                                const Onnx__FunctionProto *proto, tb_value **out) {
    for (size_t i = 0; i < node->n_output; i++) {
        const struct tb_entry *entry;
        if (!out[i]) continue;
        TB_TRY(tb_scope_find(r, body, proto->output[i], &entry));
        if (!entry || !entry->value)
            return tb_fail_at(r, node, "its function's output '%.100s' is not defined",
                              proto->output[i]);
        /* An input handed through, or one result under two names. */
        if (entry->value != out[i]) TB_TRY(tb_add_identity(r, body, entry->value, out[i]));
    }
    return TIBA_OK;
}

tiba_status tb_inline(tb_reader *r, tb_scope *caller, const Onnx__NodeProto *node,
                      tb_function *function, tb_value **in, tb_value **out, int n_attrs,
                      const tb_attr *attrs) {
    const Onnx__FunctionProto *proto = function->proto;
    if (function->active) return tb_fail_at(r, node, "calls a function that calls itself");
    if (r->depth >= MAX_CALL_DEPTH)
        return tb_fail_at(r, node, "functions call each other more than %d deep", MAX_CALL_DEPTH);
    TB_TRY(tb_step(r, 4 + (proto->n_input + proto->n_output) / 16));
    const char *name = *tb_text(node->name) ? node->name : function->name;
    tb_invocation call = {.function = function,
                          .n_attrs = n_attrs,
                          .attrs = attrs,
                          .n_out = (int)node->n_output,
                          .out = out};
    call.prefix = tb_made_up_name(r, caller->call, name);
    if (!call.prefix) return tb_out_of_memory(r->error);
    tb_scope body = {.graph = caller->graph, .names.arena = r->scratch, .call = &call};
    call.body = &body;
    function->active = true;
    r->depth++;
    TB_TRY(bind_inputs(r, &body, node, proto, in));
    TB_TRY(tb_read_nodes(r, &body, proto->n_node, proto->node));
    TB_TRY(bind_outputs(r, &body, node, proto, out));
    r->depth--;
    function->active = false;
    return TIBA_OK;
}
