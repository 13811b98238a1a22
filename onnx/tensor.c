/*
 * tensor.c: TensorProto and its relatives -> tiba_tensor.
 *
 * However a tensor is stored (raw, external, typed fields) it is first brought to raw bytes, which
 * are then borrowed, copied or converted.
 */
#include <string.h>

#include "onnx/convert.h"

enum {
    MAX_DENSE = 1 << 28
}; /* elements: a few bytes of a file may spell a sparse tensor this large */

/* A tensor's bytes as raw data. */
typedef struct raw_bytes {
    const unsigned char *data;
    size_t size;
    int stride;  /* bits from one element to the next */
    bool stays;  /* lives as long as the source */
    bool mapped; /* a file's pages */
} raw_bytes;

static tiba_status fail(tb_reader *r, const Onnx__TensorProto *proto, const char *what) {
    return tb_fail(r->error, TIBA_ERROR_INPUT, "tensor '%.100s': %s", tb_text(proto->name), what);
}

/* Bytes that `count` elements take. */
static bool raw_size(size_t *out, size_t count, int bits) {
    size_t whole;
    if (!tb_size_mul(&whole, count / 8, (size_t)bits)) return false;
    return tb_size_add(out, whole, (count % 8 * (size_t)bits + 7) / 8);
}

static tiba_status read_shape(tb_reader *r, const Onnx__TensorProto *proto, tiba_tensor *out,
                              size_t *count) {
    int64_t elements;
    if (proto->n_dims > TIBA_MAX_RANK)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "tensor '%.100s': %zu dimensions, at most %d",
                       tb_text(proto->name), proto->n_dims, TIBA_MAX_RANK);
    out->rank = (int)proto->n_dims;
    for (int i = 0; i < out->rank; i++) out->dims[i] = proto->dims[i];
    if (!tb_count(&elements, out->rank, out->dims))
        return fail(r, proto, "its shape is negative or too large");
    *count = (size_t)elements;
    return TIBA_OK;
}

/* The values of a typed field as raw bytes. */
static tiba_status pack_typed(tb_reader *r, const Onnx__TensorProto *proto, size_t count, int bits,
                              raw_bytes *raw) {
    tiba_dtype exact = tb_onnx_type_of(proto->data_type)->exact;
    size_t n, element = (size_t)(bits + 7) / 8, need = count;
    const void *values;
    bool wide = false; /* the field's elements are wider than the type's */
    if (exact == TIBA_FLOAT32 && bits == 32) {
        n = proto->n_float_data;
        values = proto->float_data;
    } else if (exact == TIBA_FLOAT64) {
        n = proto->n_double_data;
        values = proto->double_data;
    } else if (exact == TIBA_INT64) {
        n = proto->n_int64_data;
        values = proto->int64_data;
    } else if (exact == TIBA_UINT64 || exact == TIBA_UINT32) {
        n = proto->n_uint64_data;
        values = proto->uint64_data;
        wide = exact == TIBA_UINT32;
    } else {
        n = proto->n_int32_data;
        values = proto->int32_data;
        wide = exact != TIBA_INT32;
        /* Two- and four-bit codes are packed to a byte, six-bit ones are not. */
        raw->stride = bits == 6 ? 8 : bits;
        if (!raw_size(&need, count, raw->stride)) need = SIZE_MAX;
        need /= element;
    }
    if (n != need)
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "tensor '%.100s': %zu elements of data, its shape needs %zu",
                       tb_text(proto->name), n, need);
    raw->data = values;
    raw->size = n * element;
    if (!wide || n == 0) return TIBA_OK;
    unsigned char *packed = tb_arena_alloc(r->scratch, n, element);
    if (!packed) return tb_out_of_memory(r->error);
    size_t step = exact == TIBA_UINT32 ? sizeof(uint64_t) : sizeof(int32_t);
    for (size_t i = 0; i < n; i++)
        memcpy(packed + i * element, (const char *)values + i * step, element);
    raw->data = packed;
    return TIBA_OK;
}

/* Where raw data is, if there is any: an empty piece counts only for a tensor without elements. */
static tiba_status find_blob(tb_reader *r, const Onnx__TensorProto *proto, tb_blob *blob,
                             bool *found) {
    *found = proto->has_raw_data;
    if (!*found) return TIBA_OK;
    if (proto->raw_data.len != sizeof *blob) return fail(r, proto, "its raw data is broken");
    memcpy(blob, proto->raw_data.data, sizeof *blob);
    bool typed = proto->n_float_data || proto->n_int32_data || proto->n_int64_data ||
                 proto->n_double_data || proto->n_uint64_data;
    if (blob->size == 0 && typed) *found = false;
    int32_t type = proto->data_type;
    if ((blob->field == 4 && type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) ||
        (blob->field == 10 && type != ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE))
        return fail(r, proto, "its data is in another type's field");
    return TIBA_OK;
}

static tiba_status find_bytes(tb_reader *r, const Onnx__TensorProto *proto, size_t count,
                              raw_bytes *raw) {
    int bits = tb_onnx_type_of(proto->data_type)->bits;
    size_t wanted;
    if (!raw_size(&wanted, count, bits)) return fail(r, proto, "its shape is too large");
    *raw = (raw_bytes){.stride = bits, .stays = r->borrow};
    tb_blob blob;
    bool has_blob;
    TB_TRY(find_blob(r, proto, &blob, &has_blob));
    if (proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        TB_TRY(tb_external_bytes(r, proto, wanted, &raw->data, &raw->size));
        raw->mapped = true;
    } else if (has_blob) {
        raw->data = r->data + blob.offset;
        raw->size = (size_t)blob.size;
        raw->mapped = r->mapped;
    } else {
        raw->stays = false;
        return pack_typed(r, proto, count, bits, raw);
    }
    if (raw->size != wanted)
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "tensor '%.100s': %zu bytes of data, its shape needs %zu",
                       tb_text(proto->name), raw->size, wanted);
    return TIBA_OK;
}

static bool bools_are_sound(const unsigned char *data, size_t size) {
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++) all |= data[i];
    return all <= 1;
}

tiba_status tb_read_tensor(tb_reader *r, const Onnx__TensorProto *proto, bool widen,
                           tiba_tensor *out) {
    const tb_onnx_type *type = tb_onnx_type_of(proto->data_type);
    size_t count = 0;
    *out = (tiba_tensor){0};
    if (!type)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "tensor '%.100s': unknown element type %d",
                       tb_text(proto->name), (int)proto->data_type);
    if (type->dtype == TIBA_UNDEFINED)
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "tensor '%.100s': element type %s is not supported", tb_text(proto->name),
                       type->name);
    if (proto->segment) return fail(r, proto, "tensors in segments are not supported");
    TB_TRY(read_shape(r, proto, out, &count));
    out->dtype = widen ? type->dtype : type->exact;
    if (out->dtype == TIBA_STRING) return TIBA_OK;
    raw_bytes raw;
    TB_TRY(find_bytes(r, proto, count, &raw));
    size_t size = tb_dtype_size(out->dtype);
    bool convert = tb_needs_conversion(proto->data_type, widen);
    bool sound = out->dtype != TIBA_BOOL || bools_are_sound(raw.data, raw.size);
    if (!convert && sound && raw.stays && count > 0 && (uintptr_t)raw.data % size == 0) {
        /* Read-only memory: constants are never written to. */
        out->data = (void *)(uintptr_t)raw.data;
        return TIBA_OK;
    }
    out->data = tb_arena_alloc_raw(r->arena, count, size);
    if (!out->data) return tb_out_of_memory(r->error);
    if (count == 0) return TIBA_OK;
    if (convert)
        tb_convert_elements(proto->data_type, out->data, raw.data, count, raw.stride);
    else
        memcpy(out->data, raw.data, raw.size);
    if (raw.mapped) tb_file_release(raw.data, raw.size);
    for (size_t i = 0; !sound && i < count; i++)
        ((unsigned char *)out->data)[i] = ((unsigned char *)out->data)[i] != 0;
    return TIBA_OK;
}

tiba_status tb_read_sparse(tb_reader *r, const Onnx__SparseTensorProto *proto, tiba_tensor *out) {
    tiba_tensor values, indices;
    if (!proto->values || !proto->indices)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "a sparse tensor without values or indices");
    const Onnx__TensorProto *named = proto->values;
    TB_TRY(tb_read_tensor(r, proto->values, true, &values));
    TB_TRY(tb_read_tensor(r, proto->indices, true, &indices));
    if (proto->n_dims > TIBA_MAX_RANK || proto->n_dims == 0)
        return fail(r, named, "a sparse tensor of that many dimensions is not supported");
    int rank = (int)proto->n_dims;
    int64_t elements, n = values.rank == 1 ? values.dims[0] : -1;
    bool flat = indices.rank == 1;
    if (!tb_count(&elements, rank, proto->dims) || elements > MAX_DENSE)
        return fail(r, named, "its shape is negative or too large");
    if (n < 0 || !values.data || indices.dtype != TIBA_INT64 || indices.rank < 1 ||
        indices.rank > 2 || indices.dims[0] != n || (!flat && indices.dims[1] != rank))
        return fail(r, named, "a sparse tensor whose values and indices do not fit");
    TB_TRY(tb_tensor_create(out, r->arena, values.dtype, rank, proto->dims, r->error));
    size_t size = tb_dtype_size(values.dtype);
    int64_t total = tb_tensor_count(out);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int d = 0; d < (flat ? 1 : rank); d++) {
            int64_t extent = flat ? total : out->dims[d];
            int64_t index = ((const int64_t *)indices.data)[flat ? i : i * rank + d];
            if (index < 0 || index >= extent) return fail(r, named, "a sparse index out of range");
            at = (flat ? 0 : at * extent) + index;
        }
        memcpy((char *)out->data + (size_t)at * size, (char *)values.data + (size_t)i * size, size);
    }
    return TIBA_OK;
}

static const char *kind_of(const Onnx__TypeProto *type) {
    switch (type->value_case) {
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        return "a sequence";
    case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
        return "a map";
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        return "an optional";
    case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
        return "a sparse tensor";
    default:
        return "of no type";
    }
}

const char *tb_no_tensor(const Onnx__ValueInfoProto *info) {
    const Onnx__TypeProto *type = info->type;
    if (!type || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) return NULL;
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return kind_of(type);
    bool strings = type->tensor_type->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
    return strings ? "a tensor of strings" : NULL;
}

tiba_status tb_read_type(tb_reader *r, const Onnx__ValueInfoProto *info, const char *what,
                         bool lists, tiba_tensor *out, const char *const **dim_names) {
    const char *name = tb_text(info->name);
    const Onnx__TypeProto *type = info->type;
    *out = (tiba_tensor){.rank = -1};
    *dim_names = NULL;
    if (!type) return TIBA_OK;
    if (type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) return TIBA_OK;
    bool list = type->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE ||
                type->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
    if (lists && list) return TIBA_OK;
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "%s '%.100s' is %s, only tensors are supported",
                       what, name, kind_of(type));
    const Onnx__TypeProto__Tensor *tensor = type->tensor_type;
    const tb_onnx_type *element = tb_onnx_type_of(tensor->elem_type);
    if (!element || (element->dtype == TIBA_UNDEFINED && tensor->elem_type != 0))
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "%s '%.100s': element type %s (%d) is not supported", what, name,
                       element ? element->name : "unknown", (int)tensor->elem_type);
    out->dtype = element->exact;
    const Onnx__TensorShapeProto *shape = tensor->shape;
    if (!shape) return TIBA_OK;
    if (shape->n_dim > TIBA_MAX_RANK)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "%s '%.100s': %zu dimensions, at most %d", what,
                       name, shape->n_dim, TIBA_MAX_RANK);
    out->rank = (int)shape->n_dim;
    const char **names = TB_NEW(r->arena, const char *, shape->n_dim);
    if (!names) return tb_out_of_memory(r->error);
    for (int i = 0; i < out->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = shape->dim[i];
        bool fixed = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        bool symbol = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        out->dims[i] = fixed && dim->dim_value >= 0 ? dim->dim_value : -1;
        names[i] = tb_keep(r, symbol ? dim->dim_param : "");
        if (!names[i]) return tb_out_of_memory(r->error);
    }
    *dim_names = names;
    return TIBA_OK;
}
