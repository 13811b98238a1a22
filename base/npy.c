/*
 * npy.c: numpy's .npy format (the numpy.lib.format description): magic, version, header length,
 * a Python dict literal with 'descr', 'fortran_order' and 'shape', then the raw elements.
 *
 * The header is read by a small cursor over that literal; anything it does not know (structured,
 * object and string types, other keys) is refused by name. The element type table serves reading
 * and writing.
 */
#include "base/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* numpy itself writes headers below this unless a structured type is described. */
enum { MAX_HEADER = 64 * 1024 };

static const struct {
    char code[3];
    tiba_dtype dtype;
} element_types[] = {
    {"f4", TIBA_FLOAT32}, {"f8", TIBA_FLOAT64}, {"f2", TIBA_FLOAT16}, {"i8", TIBA_INT64},
    {"i4", TIBA_INT32},   {"i2", TIBA_INT16},   {"i1", TIBA_INT8},    {"u8", TIBA_UINT64},
    {"u4", TIBA_UINT32},  {"u2", TIBA_UINT16},  {"u1", TIBA_UINT8},   {"b1", TIBA_BOOL},
};
enum { ELEMENT_TYPES = sizeof element_types / sizeof element_types[0] };

typedef struct cursor {
    const char *at, *end;
} cursor;

typedef struct header {
    tiba_dtype dtype;
    bool big_endian, fortran;
    int rank;
    int64_t dims[TIBA_MAX_RANK];
} header;

static char peek(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
    return c->at < c->end ? *c->at : '\0';
}

static bool accept(cursor *c, char expected) {
    if (peek(c) != expected) return false;
    c->at++;
    return true;
}

static bool accept_word(cursor *c, const char *word) {
    size_t length = strlen(word);
    peek(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

/* A Python string without escapes; false if there is none or it does not fit. */
static bool read_string(cursor *c, char *text, size_t capacity) {
    char quote = peek(c);
    if (quote != '\'' && quote != '"') return false;
    size_t n = 0;
    for (c->at++; c->at < c->end && *c->at != quote; c->at++) {
        if (*c->at == '\\' || n + 1 >= capacity) return false;
        text[n++] = *c->at;
    }
    text[n] = '\0';
    return accept(c, quote);
}

static tiba_status read_descr(header *out, cursor *c, const char *path, tiba_error *error) {
    char text[64];
    if (!read_string(c, text, sizeof text))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: structured element types are not supported",
                       path);
    const char *code = text;
    char order = *code != '\0' && strchr("<>|=", *code) ? *code++ : '=';
    if (strcmp(code, "?") == 0) code = "b1";
    for (size_t i = 0; i < ELEMENT_TYPES; i++) {
        if (strcmp(code, element_types[i].code) != 0) continue;
        out->dtype = element_types[i].dtype;
        out->big_endian = order == '>';
        return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "%s: element type '%s' is not supported", path, text);
}

static tiba_status read_shape(header *out, cursor *c, const char *path, tiba_error *error) {
    if (!accept(c, '('))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: the shape is not a tuple", path);
    while (!accept(c, ')')) {
        int64_t size = 0;
        char digit = peek(c);
        if (digit < '0' || digit > '9')
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: the shape is not a tuple of sizes", path);
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
            if (!tb_i64_mul(&size, size, 10) || !tb_i64_add(&size, size, *c->at - '0'))
                return tb_fail(error, TIBA_ERROR_INPUT, "%s: a size of the shape is too large",
                               path);
        accept(c, 'L'); /* Python 2 wrote long integers so */
        if (out->rank == TIBA_MAX_RANK)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: more than %d dimensions", path,
                           TIBA_MAX_RANK);
        out->dims[out->rank++] = size;
        if (!accept(c, ',') && peek(c) != ')')
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: the shape is not a tuple of sizes", path);
    }
    return TIBA_OK;
}

static tiba_status read_header(header *out, cursor c, const char *path, tiba_error *error) {
    unsigned seen = 0;
    bool closed = false;
    if (!accept(&c, '{'))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: the header is not a dictionary", path);
    while (!(closed = accept(&c, '}'))) {
        char key[32];
        if (!read_string(&c, key, sizeof key) || !accept(&c, ':')) break;
        if (strcmp(key, "descr") == 0) {
            TB_TRY(read_descr(out, &c, path, error));
            seen |= 1;
        } else if (strcmp(key, "fortran_order") == 0) {
            out->fortran = accept_word(&c, "True");
            if (!out->fortran && !accept_word(&c, "False")) break;
            seen |= 2;
        } else if (strcmp(key, "shape") == 0) {
            out->rank = 0;
            TB_TRY(read_shape(out, &c, path, error));
            seen |= 4;
        } else {
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: unknown header field '%s'", path, key);
        }
        if (!accept(&c, ',') && peek(&c) != '}') break;
    }
    if (!closed || peek(&c) != '\0')
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: the header is malformed", path);
    if (seen != 7)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s: the header lacks descr, fortran_order or shape", path);
    return TIBA_OK;
}

static void copy_element(unsigned char *to, const unsigned char *from, size_t size, bool swap) {
    if (!swap)
        memcpy(to, from, size);
    else
        for (size_t i = 0; i < size; i++) to[i] = from[size - 1 - i];
}

static void copy_elements(tiba_tensor *out, const header *h, const unsigned char *data) {
    const uint16_t probe = 1;
    bool native_big = *(const unsigned char *)&probe == 0;
    size_t size = tb_dtype_size(h->dtype);
    bool swap = size > 1 && h->big_endian != native_big;
    int64_t count = tb_tensor_count(out), index[TIBA_MAX_RANK] = {0}, stride[TIBA_MAX_RANK];
    unsigned char *to = out->data;
    if (!h->fortran && !swap) {
        if (count > 0) memcpy(to, data, (size_t)count * size);
    } else {
        /* strides of the file's order, in elements; the output is walked in C order */
        for (int i = 0, first = h->fortran ? 0 : h->rank - 1; i < h->rank; i++) {
            int axis = h->fortran ? i : h->rank - 1 - i, inner = h->fortran ? axis - 1 : axis + 1;
            stride[axis] = axis == first ? 1 : stride[inner] * h->dims[inner];
        }
        for (int64_t n = 0, from = 0; n < count; n++) {
            copy_element(to + (size_t)n * size, data + (size_t)from * size, size, swap);
            for (int axis = h->rank - 1; axis >= 0; axis--) {
                from += stride[axis];
                if (++index[axis] < h->dims[axis]) break;
                from -= stride[axis] * h->dims[axis];
                index[axis] = 0;
            }
        }
    }
    if (h->dtype == TIBA_BOOL)
        for (int64_t n = 0; n < count; n++) to[n] = to[n] != 0;
}

static tiba_status read_bytes(tiba_tensor *out, tb_arena *arena, const tb_file *file,
                              const char *path, tiba_error *error) {
    const unsigned char *d = file->data;
    if (file->size < 10 || memcmp(d, "\x93NUMPY", 6) != 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: not a .npy file", path);
    if (d[6] < 1 || d[6] > 3)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: .npy version %d.%d is not supported", path,
                       d[6], d[7]);
    size_t start = d[6] == 1 ? 10 : 12, length = (size_t)d[8] | (size_t)d[9] << 8;
    if (d[6] > 1 && file->size >= 12) length |= (size_t)d[10] << 16 | (size_t)d[11] << 24;
    if (length > MAX_HEADER)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: a header of %zu bytes is over the limit of %d",
                       path, length, MAX_HEADER);
    if (file->size < start || file->size - start < length)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: truncated in its header", path);
    header h = {0};
    const char *text = (const char *)d + start;
    TB_TRY(read_header(&h, (cursor){text, text + length}, path, error));

    int64_t count;
    if (!tb_count(&count, h.rank, h.dims))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: the shape is out of range", path);
    size_t there = file->size - start - length;
    if ((size_t)count > there / tb_dtype_size(h.dtype)) {
        char shape[200];
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: truncated: %zu bytes of data for %s%s", path,
                       there, tb_dtype_name(h.dtype),
                       tb_shape_text(shape, sizeof shape, h.rank, h.dims));
    }
    TB_TRY(tb_tensor_create(out, arena, h.dtype, h.rank, h.dims, error));
    copy_elements(out, &h, d + start + length);
    return TIBA_OK;
}

tiba_status tb_npy_read(tiba_tensor *out, tb_arena *arena, const char *path, tiba_error *error) {
    tb_file file;
    TB_TRY(tb_file_open(&file, path, error));
    tiba_status status = read_bytes(out, arena, &file, path, error);
    tb_file_close(&file);
    return status;
}

/* The 64-byte aligned prefix of the file; its length, or 0 if the dtype has no .npy form. */
static size_t write_header(char prefix[256], tiba_dtype dtype, const tiba_tensor *tensor) {
    const uint16_t probe = 1;
    char order = tb_dtype_size(dtype) == 1 ? '|' : *(const unsigned char *)&probe == 1 ? '<' : '>';
    const char *code = NULL;
    for (size_t i = 0; i < ELEMENT_TYPES; i++)
        if (element_types[i].dtype == dtype) code = element_types[i].code;
    if (!code) return 0;
    char *text = prefix + 10;
    size_t room = 246;
    int n =
        snprintf(text, room, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order, code);
    for (int i = 0; i < tensor->rank; i++)
        n +=
            snprintf(text + n, room - (size_t)n, i ? ", %lld" : "%lld", (long long)tensor->dims[i]);
    n += snprintf(text + n, room - (size_t)n, tensor->rank == 1 ? ",), }" : "), }");
    size_t length = (size_t)n;
    while ((10 + length + 1) % 64 != 0) text[length++] = ' ';
    text[length++] = '\n';
    memcpy(prefix, "\x93NUMPY\x01\x00", 8);
    prefix[8] = (char)(length & 255);
    prefix[9] = (char)(length >> 8);
    return 10 + length;
}

tiba_status tb_npy_encode(unsigned char **out, size_t *size, tb_arena *arena,
                          const tiba_tensor *tensor, tiba_error *error) {
    tiba_dtype dtype = tensor->dtype == TIBA_BFLOAT16 ? TIBA_FLOAT32 : tensor->dtype;
    char prefix[320];
    size_t start = write_header(prefix, dtype, tensor);
    if (start == 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "a %s array cannot be written as .npy",
                       tb_dtype_name(dtype));
    size_t bytes, total;
    if (!tb_size_mul(&bytes, (size_t)tb_tensor_count(tensor), tb_dtype_size(dtype)) ||
        !tb_size_add(&total, bytes, start))
        return tb_out_of_memory(error);
    unsigned char *file = tb_arena_alloc(arena, total, 1);
    if (!file) return tb_out_of_memory(error);
    memcpy(file, prefix, start);
    if (dtype == tensor->dtype) {
        if (bytes > 0) memcpy(file + start, tensor->data, bytes);
    } else {
        /* the prefix is a multiple of 64 bytes, so the elements are aligned */
        tiba_tensor wide = *tensor;
        wide.dtype = dtype;
        wide.data = file + start;
        tb_convert(&wide, tensor);
    }
    *out = file;
    *size = total;
    return TIBA_OK;
}

tiba_status tb_npy_write(const char *path, const tiba_tensor *tensor, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    if (!arena) return tb_out_of_memory(error);
    unsigned char *file;
    size_t size;
    tiba_status status = tb_npy_encode(&file, &size, arena, tensor, error);
    if (status == TIBA_OK)
        status = tb_file_write(path, file, size, error);
    else
        tb_error_prefix(error, status, path);
    tb_arena_destroy(arena);
    return status;
}
