/*
 * onnx_make.h: writes ONNX messages byte by byte, sound ones and others. A message grows by put_*;
 * putting one into another frees it:
 *
 *     msg g = {0};
 *     put_msg(&g, 1, make_node("Add", "x w", "y"));
 *     msg model = make_model(g, 17);
 *     … tb_onnx_open_memory(&source, model.bytes, model.n, NULL, &error) …
 *     free(model.bytes);
 */
#ifndef TB_TESTS_ONNX_MAKE_H
#define TB_TESTS_ONNX_MAKE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct msg {
    unsigned char *bytes;
    size_t n;
} msg;

static inline void put_raw(msg *m, const void *bytes, size_t n) {
    unsigned char *larger = realloc(m->bytes, m->n + n + 1);
    if (!larger) abort();
    if (n) memcpy(larger + m->n, bytes, n);
    m->bytes = larger;
    m->n += n;
}

static inline void put_varint(msg *m, uint64_t value) {
    do {
        unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        put_raw(m, &byte, 1);
        value >>= 7;
    } while (value);
}

static inline void put_int(msg *m, unsigned field, int64_t value) {
    put_varint(m, field << 3);
    put_varint(m, (uint64_t)value);
}

static inline void put_float(msg *m, unsigned field, float value) {
    put_varint(m, field << 3 | 5);
    put_raw(m, &value, sizeof value);
}

static inline void put_bytes(msg *m, unsigned field, const void *bytes, size_t n) {
    put_varint(m, field << 3 | 2);
    put_varint(m, n);
    put_raw(m, bytes, n);
}

static inline void put_text(msg *m, unsigned field, const char *text) {
    put_bytes(m, field, text, strlen(text));
}

static inline void put_msg(msg *m, unsigned field, msg child) {
    put_bytes(m, field, child.bytes, child.n);
    free(child.bytes);
}

/* Every word of `words` as a field of its own; "-" is the empty name. */
static inline void put_words(msg *m, unsigned field, const char *words) {
    while (*words) {
        size_t n = strcspn(words, " ");
        if (n == 1 && *words == '-')
            put_bytes(m, field, "", 0);
        else
            put_bytes(m, field, words, n);
        words += n + (words[n] == ' ');
    }
}

/* Field numbers that the tests use. */
enum {
    MODEL_IR = 1,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_FUNCTION = 25,
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_SPARSE = 15,
    NODE_NAME = 3,
    NODE_DOMAIN = 7,
    NODE_ATTRIBUTE = 5,
    NODE_OVERLOAD = 8,
    ATTRIBUTE_REFERENCE = 21,
    FUNCTION_INPUT = 4,
    FUNCTION_OUTPUT = 5,
    FUNCTION_NODE = 7,
    FUNCTION_OPSET = 9,
    FUNCTION_DOMAIN = 10,
    FUNCTION_DEFAULT = 11,
    FUNCTION_OVERLOAD = 13,
    TENSOR_DIM = 1,
    TENSOR_TYPE = 2,
    TENSOR_FLOATS = 4,
    TENSOR_INTS = 5,
    TENSOR_INT64S = 7,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14
};

/* A node named like its first output with "n_" in front. */
static inline msg make_node(const char *op, const char *inputs, const char *outputs) {
    msg m = {0};
    char name[64];
    put_words(&m, 1, inputs);
    put_words(&m, 2, outputs);
    snprintf(name, sizeof name, "n_%.*s", (int)strcspn(outputs, " "), outputs);
    put_text(&m, NODE_NAME, name);
    put_text(&m, 4, op);
    return m;
}

/* The start of an attribute of that kind (AttributeType). */
static inline msg make_attr(const char *name, int kind) {
    msg m = {0};
    put_text(&m, 1, name);
    put_int(&m, 20, kind);
    return m;
}

/* A tensor without data: dims of "2 3". */
static inline msg make_tensor(const char *name, int type, const char *dims) {
    msg m = {0};
    while (*dims) {
        char *end;
        put_int(&m, TENSOR_DIM, strtoll(dims, &end, 10));
        dims = end + (*end == ' ');
    }
    put_int(&m, TENSOR_TYPE, type);
    if (*name) put_text(&m, TENSOR_NAME, name);
    return m;
}

static inline msg make_raw(const char *name, int type, const char *dims, const void *data,
                           size_t n) {
    msg m = make_tensor(name, type, dims);
    put_bytes(&m, TENSOR_RAW, data, n);
    return m;
}

/* An input or output: dims are numbers, names, or "?"; NULL for an unknown rank. */
static inline msg make_value(const char *name, int type, const char *dims) {
    msg m = {0}, t = {0}, tensor = {0}, shape = {0};
    put_text(&m, 1, name);
    put_int(&tensor, 1, type);
    while (dims && *dims) {
        msg dim = {0};
        size_t n = strcspn(dims, " ");
        if (*dims >= '0' && *dims <= '9')
            put_int(&dim, 1, strtoll(dims, NULL, 10));
        else if (*dims != '?')
            put_bytes(&dim, 2, dims, n);
        put_msg(&shape, 1, dim);
        dims += n + (dims[n] == ' ');
    }
    if (dims) put_msg(&tensor, 2, shape);
    put_msg(&t, 1, tensor);
    put_msg(&m, 2, t);
    return m;
}

static inline msg make_opset(const char *domain, int64_t version) {
    msg m = {0};
    if (*domain) put_text(&m, 1, domain);
    put_int(&m, 2, version);
    return m;
}

/* A model of format version 8 around a graph; more may be put into it. */
static inline msg make_model(msg graph, int64_t opset) {
    msg m = {0};
    put_int(&m, MODEL_IR, 8);
    put_text(&m, 2, "maker");
    put_text(&m, 3, "1.0");
    put_msg(&m, MODEL_GRAPH, graph);
    put_msg(&m, MODEL_OPSET, make_opset("", opset));
    return m;
}

/* The start of a function of domain "own" with operator set 17. */
static inline msg make_function(const char *name, const char *inputs, const char *outputs) {
    msg m = {0};
    put_text(&m, 1, name);
    put_words(&m, FUNCTION_INPUT, inputs);
    put_words(&m, FUNCTION_OUTPUT, outputs);
    put_text(&m, FUNCTION_DOMAIN, "own");
    put_msg(&m, FUNCTION_OPSET, make_opset("", 17));
    return m;
}

static inline msg make_call(const char *function, const char *inputs, const char *outputs) {
    msg m = make_node(function, inputs, outputs);
    put_text(&m, NODE_DOMAIN, "own");
    return m;
}

#endif
