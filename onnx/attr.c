/*
 * attr.c: AttributeProto -> tb_attr. In the body of a function an attribute may be a reference to
 * one of the caller's: it takes the caller's value, else the function's default, else it is absent.
 */
#include <string.h>

#include "onnx/reader.h"

enum { MAX_ATTRS = 1000 }; /* they are looked up one by one */

#define KIND(name) ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__##name

/* Files of the first format version leave the kind to be seen from what is set. */
static int kind_of(const Onnx__AttributeProto *a) {
    if (a->has_type && a->type != KIND(UNDEFINED)) return (int)a->type;
    return a->has_f       ? KIND(FLOAT)
           : a->has_i     ? KIND(INT)
           : a->has_s     ? KIND(STRING)
           : a->t         ? KIND(TENSOR)
           : a->g         ? KIND(GRAPH)
           : a->n_floats  ? KIND(FLOATS)
           : a->n_ints    ? KIND(INTS)
           : a->n_strings ? KIND(STRINGS)
                          : KIND(UNDEFINED);
}

static tiba_status fail(tb_reader *r, const Onnx__NodeProto *node, const Onnx__AttributeProto *a,
                        const char *what) {
    return tb_fail_at(r, node, "attribute '%.80s' %s", tb_text(a->name), what);
}

static tiba_status read_tensor(tb_reader *r, const Onnx__AttributeProto *a, bool sparse,
                               const tiba_tensor **out) {
    tiba_tensor *tensor = TB_NEW(r->arena, tiba_tensor, 1);
    if (!tensor) return tb_out_of_memory(r->error);
    *out = tensor;
    return sparse ? tb_read_sparse(r, a->sparse_tensor, tensor)
                  : tb_read_tensor(r, a->t, true, tensor);
}

static tiba_status read_strings(tb_reader *r, const Onnx__AttributeProto *a, tb_attr *out) {
    const char **strings = TB_NEW(r->arena, const char *, a->n_strings);
    if (!strings) return tb_out_of_memory(r->error);
    for (size_t i = 0; i < a->n_strings; i++) {
        const ProtobufCBinaryData *s = &a->strings[i];
        strings[i] = tb_arena_strndup(r->arena, s->len ? (const char *)s->data : "", s->len);
        if (!strings[i]) return tb_out_of_memory(r->error);
    }
    out->count = (int64_t)a->n_strings;
    out->strings = strings;
    return TIBA_OK;
}

static void *copied(tb_reader *r, const void *list, size_t count, size_t size) {
    void *copy = tb_arena_alloc(r->arena, count, size);
    if (copy && count) memcpy(copy, list, count * size);
    return copy;
}

static tiba_status read_attr(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node,
                             const Onnx__AttributeProto *a, tb_attr *out) {
    int kind = kind_of(a);
    tiba_status status = TIBA_OK;
    out->name = tb_keep(r, a->name);
    if (!out->name) return tb_out_of_memory(r->error);
    switch (kind) {
    case KIND(FLOAT):
        out->kind = TB_ATTR_FLOAT;
        out->f = a->f;
        return TIBA_OK;
    case KIND(INT):
        out->kind = TB_ATTR_INT;
        out->i = a->i;
        return TIBA_OK;
    case KIND(STRING):
        out->kind = TB_ATTR_STRING;
        out->count = (int64_t)a->s.len;
        out->s = tb_arena_strndup(r->arena, a->s.len ? (const char *)a->s.data : "", a->s.len);
        return out->s ? TIBA_OK : tb_out_of_memory(r->error);
    case KIND(FLOATS):
        out->kind = TB_ATTR_FLOATS;
        out->count = (int64_t)a->n_floats;
        out->floats = copied(r, a->floats, a->n_floats, sizeof *a->floats);
        return out->floats ? TIBA_OK : tb_out_of_memory(r->error);
    case KIND(INTS):
        out->kind = TB_ATTR_INTS;
        out->count = (int64_t)a->n_ints;
        out->ints = copied(r, a->ints, a->n_ints, sizeof *a->ints);
        return out->ints ? TIBA_OK : tb_out_of_memory(r->error);
    case KIND(STRINGS):
        out->kind = TB_ATTR_STRINGS;
        return read_strings(r, a, out);
    case KIND(TENSOR):
    case KIND(SPARSE_TENSOR):
        out->kind = TB_ATTR_TENSOR;
        if (kind == KIND(TENSOR) ? !a->t : !a->sparse_tensor)
            return fail(r, node, a, "has no tensor");
        status = read_tensor(r, a, kind == KIND(SPARSE_TENSOR), &out->tensor);
        break;
    case KIND(GRAPH):
        out->kind = TB_ATTR_GRAPH;
        if (!a->g) return fail(r, node, a, "has no graph");
        return tb_read_graph(r, a->g, scope, scope->call, &out->graph);
    default:
        return fail(r, node, a, "is of a kind that is not supported");
    }
    if (status == TIBA_ERROR_INPUT && r->error) {
        tiba_error inner = *r->error;
        return tb_fail_at(r, node, "attribute '%.80s': %s", tb_text(a->name), inner.message);
    }
    return status;
}

/* What a reference stands for; *found is false where it stands for nothing. */
static tiba_status resolve(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *node,
                           const Onnx__AttributeProto *a, tb_attr *out, bool *found) {
    const tb_invocation *call = scope->call;
    *found = true;
    if (!call) return fail(r, node, a, "is a reference outside of a function");
    for (int i = 0; i < call->n_attrs; i++)
        if (strcmp(call->attrs[i].name, a->ref_attr_name) == 0) {
            *out = call->attrs[i];
            out->name = tb_keep(r, a->name);
            return out->name ? TIBA_OK : tb_out_of_memory(r->error);
        }
    int index = tb_names_find(&call->function->defaults, a->ref_attr_name);
    *found = index >= 0;
    if (!*found) return TIBA_OK;
    Onnx__AttributeProto renamed = *call->function->default_attrs[index];
    renamed.name = a->name;
    return read_attr(r, scope, node, &renamed, out);
}

tiba_status tb_read_attrs(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *proto, int *n_attrs,
                          const tb_attr **attrs) {
    tb_attr *list = TB_NEW(r->arena, tb_attr, proto->n_attribute);
    tb_names seen = {.arena = r->scratch};
    if (!list) return tb_out_of_memory(r->error);
    if (proto->n_attribute > MAX_ATTRS)
        return tb_fail_at(r, proto, "has %zu attributes, at most %d", proto->n_attribute,
                          MAX_ATTRS);
    *attrs = list;
    *n_attrs = 0;
    for (size_t i = 0; i < proto->n_attribute; i++) {
        const Onnx__AttributeProto *a = proto->attribute[i];
        const char *name = tb_text(a->name);
        bool found = true;
        if (!*name) return tb_fail_at(r, proto, "has an attribute without a name");
        if (tb_names_find(&seen, name) >= 0) return fail(r, proto, a, "stands twice");
        if (proto->n_attribute > 1 && !tb_names_add(&seen, name, 0))
            return tb_out_of_memory(r->error);
        if (tb_text(a->ref_attr_name)[0])
            TB_TRY(resolve(r, scope, proto, a, &list[*n_attrs], &found));
        else
            TB_TRY(read_attr(r, scope, proto, a, &list[*n_attrs]));
        if (found) ++*n_attrs;
    }
    return TIBA_OK;
}
