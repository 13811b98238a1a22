#include "base/tensor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned char size;
    char kind; /* f loat, i nteger, b ool */
} dtypes[] = {
    [TIBA_FLOAT32] = {"float32", 4, 'f'}, [TIBA_UINT8] = {"uint8", 1, 'i'},
    [TIBA_INT8] = {"int8", 1, 'i'},       [TIBA_UINT16] = {"uint16", 2, 'i'},
    [TIBA_INT16] = {"int16", 2, 'i'},     [TIBA_INT32] = {"int32", 4, 'i'},
    [TIBA_INT64] = {"int64", 8, 'i'},     [TIBA_STRING] = {"string", 0, 's'},
    [TIBA_BOOL] = {"bool", 1, 'b'},       [TIBA_FLOAT16] = {"float16", 2, 'f'},
    [TIBA_FLOAT64] = {"float64", 8, 'f'}, [TIBA_UINT32] = {"uint32", 4, 'i'},
    [TIBA_UINT64] = {"uint64", 8, 'i'},   [TIBA_BFLOAT16] = {"bfloat16", 2, 'f'},
};

static bool known(tiba_dtype dtype) {
    return (unsigned)dtype < sizeof dtypes / sizeof *dtypes && dtypes[dtype].name;
}

size_t tb_dtype_size(tiba_dtype dtype) {
    return known(dtype) ? dtypes[dtype].size : 0;
}

const char *tb_dtype_name(tiba_dtype dtype) {
    return known(dtype) ? dtypes[dtype].name : "unknown type";
}

bool tb_dtype_is_float(tiba_dtype dtype) {
    return known(dtype) && dtypes[dtype].kind == 'f';
}

bool tb_dtype_is_integer(tiba_dtype dtype) {
    return known(dtype) && dtypes[dtype].kind == 'i';
}

bool tb_count(int64_t *out, int rank, const int64_t *dims) {
    int64_t count = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0) return false;
        if (dims[i] == 0)
            empty = true;
        else if (!tb_i64_mul(&count, count, dims[i]))
            return false;
    }
    /* room for the widest element in a signed byte count */
    if (count > INT64_MAX / 16) return false;
    *out = empty ? 0 : count;
    return true;
}

int64_t tb_tensor_count(const tiba_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->dims[i];
    return count;
}

size_t tb_tensor_bytes(const tiba_tensor *tensor) {
    return (size_t)tb_tensor_count(tensor) * tb_dtype_size(tensor->dtype);
}

bool tb_same_shape(const tiba_tensor *a, const tiba_tensor *b) {
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

tiba_status tb_tensor_create(tiba_tensor *out, tb_arena *arena, tiba_dtype dtype, int rank,
                             const int64_t *dims, tiba_error *error) {
    int64_t count;
    if (rank < 0 || rank > TIBA_MAX_RANK || !tb_count(&count, rank, dims))
        return tb_fail(error, TIBA_ERROR_INPUT, "a tensor's shape is out of range");
    tiba_tensor tensor = {.dtype = dtype, .rank = rank};
    if (rank > 0) memcpy(tensor.dims, dims, (size_t)rank * sizeof *dims);
    tensor.data = tb_arena_alloc(arena, (size_t)count, tb_dtype_size(dtype));
    if (!tensor.data) return tb_out_of_memory(error);
    *out = tensor;
    return TIBA_OK;
}

float tb_half_to_float(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u,
             mantissa = bits & 0x3ffu, word;
    if (exponent == 31) {
        word = sign | 0x7f800000u | mantissa << 13;
    } else if (exponent != 0) {
        word = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        float value = ldexpf((float)mantissa, -24);
        return sign ? -value : value;
    }
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

uint16_t tb_float_to_half(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    uint16_t sign = (uint16_t)(word >> 16 & 0x8000u);
    uint32_t magnitude = word & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* subnormal: units of 2^-24 */
        float scaled = fabsf(value) * 16777216.0f;
        return (uint16_t)(sign | (uint16_t)lrintf(scaled));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000u) >> 13));
}

float tb_bfloat_to_float(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

uint16_t tb_float_to_bfloat(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    if ((word & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(word >> 16 | 0x40u);
    return (uint16_t)((word + 0x7fffu + (word >> 16 & 1u)) >> 16);
}

double tb_get_f64(const tiba_tensor *t, int64_t i) {
    switch (t->dtype) {
    case TIBA_FLOAT32:
        return (double)((const float *)t->data)[i];
    case TIBA_FLOAT64:
        return ((const double *)t->data)[i];
    case TIBA_FLOAT16:
        return (double)tb_half_to_float(((const uint16_t *)t->data)[i]);
    case TIBA_BFLOAT16:
        return (double)tb_bfloat_to_float(((const uint16_t *)t->data)[i]);
    case TIBA_UINT64:
        return (double)((const uint64_t *)t->data)[i];
    default:
        return (double)tb_get_i64(t, i);
    }
}

/* Out of int64's range is undefined in C: saturate, NaN is 0. */
static int64_t truncate_f64(double value) {
    if (!(value > -9223372036854775808.0)) return value != value ? 0 : INT64_MIN;
    return value >= 9223372036854775808.0 ? INT64_MAX : (int64_t)value;
}

int64_t tb_get_i64(const tiba_tensor *t, int64_t i) {
    switch (t->dtype) {
    case TIBA_INT64:
        return ((const int64_t *)t->data)[i];
    case TIBA_UINT64:
        return (int64_t)((const uint64_t *)t->data)[i];
    case TIBA_INT32:
        return ((const int32_t *)t->data)[i];
    case TIBA_UINT32:
        return ((const uint32_t *)t->data)[i];
    case TIBA_INT16:
        return ((const int16_t *)t->data)[i];
    case TIBA_UINT16:
        return ((const uint16_t *)t->data)[i];
    case TIBA_INT8:
        return ((const int8_t *)t->data)[i];
    case TIBA_UINT8:
    case TIBA_BOOL:
        return ((const uint8_t *)t->data)[i];
    case TIBA_FLOAT32:
    case TIBA_FLOAT64:
    case TIBA_FLOAT16:
    case TIBA_BFLOAT16:
        return truncate_f64(tb_get_f64(t, i));
    default:
        return 0;
    }
}

void tb_set_i64(tiba_tensor *t, int64_t i, int64_t v) {
    switch (t->dtype) {
    case TIBA_INT64:
        ((int64_t *)t->data)[i] = v;
        break;
    case TIBA_UINT64:
        ((uint64_t *)t->data)[i] = (uint64_t)v;
        break;
    case TIBA_INT32:
        ((int32_t *)t->data)[i] = (int32_t)v;
        break;
    case TIBA_UINT32:
        ((uint32_t *)t->data)[i] = (uint32_t)v;
        break;
    case TIBA_INT16:
        ((int16_t *)t->data)[i] = (int16_t)v;
        break;
    case TIBA_UINT16:
        ((uint16_t *)t->data)[i] = (uint16_t)v;
        break;
    case TIBA_INT8:
        ((int8_t *)t->data)[i] = (int8_t)v;
        break;
    case TIBA_UINT8:
        ((uint8_t *)t->data)[i] = (uint8_t)v;
        break;
    case TIBA_BOOL:
        ((uint8_t *)t->data)[i] = v != 0;
        break;
    default:
        tb_set_f64(t, i, (double)v);
        break;
    }
}

void tb_set_f64(tiba_tensor *t, int64_t i, double v) {
    switch (t->dtype) {
    case TIBA_FLOAT32:
        ((float *)t->data)[i] = (float)v;
        break;
    case TIBA_FLOAT64:
        ((double *)t->data)[i] = v;
        break;
    case TIBA_FLOAT16:
        ((uint16_t *)t->data)[i] = tb_float_to_half((float)v);
        break;
    case TIBA_BFLOAT16:
        ((uint16_t *)t->data)[i] = tb_float_to_bfloat((float)v);
        break;
    case TIBA_BOOL:
        ((uint8_t *)t->data)[i] = v != 0;
        break;
    case TIBA_UINT64:
        ((uint64_t *)t->data)[i] = v >= 9223372036854775808.0 && v < 18446744073709551616.0
                                       ? (uint64_t)v
                                       : (uint64_t)truncate_f64(v);
        break;
    default:
        if (tb_dtype_is_integer(t->dtype)) tb_set_i64(t, i, truncate_f64(v));
        break;
    }
}

void tb_convert(tiba_tensor *out, const tiba_tensor *in) {
    int64_t count = tb_tensor_count(in);
    if (out->dtype == in->dtype) {
        memcpy(out->data, in->data, tb_tensor_bytes(in));
    } else if (tb_dtype_is_float(in->dtype)) {
        for (int64_t i = 0; i < count; i++) tb_set_f64(out, i, tb_get_f64(in, i));
    } else if (in->dtype == TIBA_UINT64 && tb_dtype_is_float(out->dtype)) {
        for (int64_t i = 0; i < count; i++) tb_set_f64(out, i, tb_get_f64(in, i));
    } else {
        for (int64_t i = 0; i < count; i++) tb_set_i64(out, i, tb_get_i64(in, i));
    }
}

char *tb_shape_text(char *text, size_t capacity, int rank, const int64_t *dims) {
    size_t used = (size_t)snprintf(text, capacity, "[");
    for (int i = 0; i < rank && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, i ? ", %lld" : "%lld",
                                 (long long)dims[i]);
    if (used < capacity) snprintf(text + used, capacity - used, "]");
    return text;
}
