#include "onnx/wire.h"

#include <stdio.h>
#include <string.h>

#include "onnx.pb-c.h"

enum {
    MAX_DEPTH = 100,        /* messages in messages: protobuf's own customary limit */
    MAX_MESSAGES = 1 << 24, /* bounds the time and the memory of unpacking */
    LENGTH_BYTES = 5        /* a message's length is written this wide, filled in afterwards */
};

typedef struct scan {
    const unsigned char *data;
    tb_budget *budget;
    unsigned char *out;
    size_t used, capacity;
    int messages;
    tiba_error *error;
} scan;

typedef struct field_key {
    const ProtobufCMessageDescriptor *message;
    unsigned number;
} field_key;

/* Fields that nobody reads. */
static const field_key dropped[] = {
    {&onnx__model_proto__descriptor, 6},  /* doc_string */
    {&onnx__model_proto__descriptor, 14}, /* metadata_props */
    {&onnx__model_proto__descriptor, 20}, /* training_info */
    {&onnx__graph_proto__descriptor, 10}, /* doc_string */
    {&onnx__graph_proto__descriptor, 13}, /* value_info: shapes are computed */
    {&onnx__graph_proto__descriptor, 14}, /* quantization_annotation */
    {&onnx__node_proto__descriptor, 6},   /* doc_string */
    {&onnx__attribute_proto__descriptor, 13} /* doc_string */,
    {&onnx__value_info_proto__descriptor, 3} /* doc_string */,
    {&onnx__tensor_proto__descriptor, 12} /* doc_string */,
    {&onnx__function_proto__descriptor, 8} /* doc_string */,
};

/* Fields newer than the distribution's onnx.proto that are read from the unknown ones. */
static const struct {
    field_key key;
    const ProtobufCMessageDescriptor *message; /* NULL: a string */
} newer[] = {
    {{&onnx__function_proto__descriptor, 11}, &onnx__attribute_proto__descriptor}, /* defaults */
    {{&onnx__function_proto__descriptor, 13}, NULL},                               /* overload */
    {{&onnx__node_proto__descriptor, 8}, NULL},                                    /* overload */
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

bool tb_wire_varint(uint64_t *out, const unsigned char *data, size_t *position, size_t end) {
    uint64_t value = 0;
    size_t p = *position;
    for (unsigned shift = 0; shift < 70 && p < end; shift += 7) {
        unsigned char byte = data[p++];
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte & 0x80) continue;
        *out = value;
        *position = p;
        return true;
    }
    return false;
}

static bool emit(scan *s, const void *bytes, size_t size) {
    size_t need;
    if (!tb_size_add(&need, s->used, size)) return false;
    if (need > s->capacity) {
        size_t capacity = s->capacity ? s->capacity : 4096;
        while (capacity < need)
            if (!tb_size_mul(&capacity, capacity, 2)) return false;
        unsigned char *larger = tb_realloc(s->budget, s->out, capacity);
        if (!larger) return false;
        s->out = larger;
        s->capacity = capacity;
    }
    if (size) memcpy(s->out + s->used, bytes, size);
    s->used = need;
    return true;
}

static bool emit_varint(scan *s, uint64_t value) {
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
        n++;
    } while (value);
    return emit(s, bytes, n);
}

static void patch_length(scan *s, size_t at, size_t length) {
    for (int i = 0; i < LENGTH_BYTES; i++) {
        s->out[at + (size_t)i] =
            (unsigned char)((length & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
        length >>= 7;
    }
}

/* "onnx.GraphProto" -> "GraphProto" */
static const char *message_name(const ProtobufCMessageDescriptor *descriptor) {
    return descriptor->short_name;
}

static bool is_dropped(const ProtobufCMessageDescriptor *message, unsigned number) {
    for (size_t i = 0; i < COUNT(dropped); i++)
        if (dropped[i].number == number && dropped[i].message == message) return true;
    return false;
}

/* "field 'graph'", or its number where the format does not know it. */
static const char *field_label(char *text, size_t capacity,
                               const ProtobufCMessageDescriptor *message, unsigned number) {
    const ProtobufCFieldDescriptor *known =
        protobuf_c_message_descriptor_get_field(message, number);
    if (known)
        snprintf(text, capacity, "field '%s'", known->name);
    else
        snprintf(text, capacity, "field %u", number);
    return text;
}

/* One field as it stands in the file. */
typedef struct field {
    unsigned number, wire;
    size_t start;      /* of the tag */
    size_t value, end; /* payload; of a length-prefixed field what is behind the length */
} field;

static tiba_status cut_off(scan *s, const field *f, const ProtobufCMessageDescriptor *message,
                           size_t end) {
    char label[64];
    return tb_fail(s->error, TIBA_ERROR_INPUT, "truncated at byte %zu: %s of %s is cut off", end,
                   field_label(label, sizeof label, message, f->number), message_name(message));
}

static tiba_status read_field(scan *s, field *f, const ProtobufCMessageDescriptor *message,
                              size_t position, size_t end) {
    uint64_t tag, length;
    char label[64];
    f->start = position;
    if (!tb_wire_varint(&tag, s->data, &position, end))
        return tb_fail(s->error, TIBA_ERROR_INPUT,
                       "truncated at byte %zu: a field of %s is cut off", end,
                       message_name(message));
    f->wire = (unsigned)(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: %s has a field numbered %llu",
                       f->start, message_name(message), (unsigned long long)(tag >> 3));
    f->number = (unsigned)(tag >> 3);
    f->value = position;
    if (f->wire == PROTOBUF_C_WIRE_TYPE_VARINT) {
        uint64_t unused;
        if (!tb_wire_varint(&unused, s->data, &position, end)) return cut_off(s, f, message, end);
        f->end = position;
        return TIBA_OK;
    }
    if (f->wire == PROTOBUF_C_WIRE_TYPE_64BIT) {
        length = 8;
    } else if (f->wire == PROTOBUF_C_WIRE_TYPE_32BIT) {
        length = 4;
    } else if (f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        if (!tb_wire_varint(&length, s->data, &position, end)) return cut_off(s, f, message, end);
        f->value = position;
    } else {
        return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: %s of %s has wire type %u", f->start,
                       field_label(label, sizeof label, message, f->number), message_name(message),
                       f->wire);
    }
    if (length > end - position)
        return tb_fail(s->error, TIBA_ERROR_INPUT,
                       "truncated at byte %zu: %s of %s needs %llu bytes, %zu are left", end,
                       field_label(label, sizeof label, message, f->number), message_name(message),
                       (unsigned long long)length, end - position);
    f->end = position + (size_t)length;
    return TIBA_OK;
}

static tiba_status bad_field(scan *s, const field *f, const ProtobufCMessageDescriptor *message,
                             const char *name, const char *what) {
    return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: field '%s' of %s %s", f->start, name,
                   message_name(message), what);
}

/* Wire type of an element of that type, and whether it may be packed. */
static unsigned wire_of(ProtobufCType type, bool *packable) {
    *packable = true;
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        *packable = false;
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static bool text_is_sound(const unsigned char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        unsigned char c = text[i++];
        if (c == 0) return false;
        if (c < 0x80) continue;
        size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || size - i < more) return false;
        unsigned char next = text[i];
        if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) ||
            (c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f))
            return false;
        for (; more > 0; more--)
            if ((text[i++] & 0xc0) != 0x80) return false;
    }
    return true;
}

static tiba_status check_packed(scan *s, const field *f, const ProtobufCMessageDescriptor *message,
                                const ProtobufCFieldDescriptor *known, unsigned wire) {
    size_t size = f->end - f->value;
    bool sound = wire == PROTOBUF_C_WIRE_TYPE_32BIT   ? size % 4 == 0
                 : wire == PROTOBUF_C_WIRE_TYPE_64BIT ? size % 8 == 0
                                                      : true;
    if (wire == PROTOBUF_C_WIRE_TYPE_VARINT) {
        unsigned run = 0;
        for (size_t i = f->value; i < f->end && run < 10; i++)
            run = s->data[i] & 0x80 ? run + 1 : 0;
        sound = run == 0;
    }
    return sound ? TIBA_OK : bad_field(s, f, message, known->name, "is badly packed");
}

/* Does a field of that number stand in [position, end)? */
static tiba_status look_ahead(scan *s, bool *found, const ProtobufCMessageDescriptor *message,
                              unsigned number, size_t position, size_t end) {
    *found = false;
    while (position < end && !*found) {
        field f;
        TB_TRY(read_field(s, &f, message, position, end));
        *found = f.number == number;
        position = f.end;
    }
    return TIBA_OK;
}

/* Writes a reference to the payload in place of it. */
static bool emit_blob(scan *s, const field *f) {
    tb_blob blob = {f->value, f->end - f->value, f->number};
    return emit_varint(s, 9 << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) &&
           emit_varint(s, sizeof blob) && emit(s, &blob, sizeof blob);
}

static tiba_status scan_message(scan *s, const ProtobufCMessageDescriptor *message, size_t position,
                                size_t end, int depth);

static tiba_status scan_child(scan *s, const field *f, const ProtobufCMessageDescriptor *child,
                              int depth) {
    static const unsigned char room[LENGTH_BYTES];
    size_t at;
    if (!emit_varint(s, f->number << 3 | f->wire)) return tb_out_of_memory(s->error);
    at = s->used;
    if (!emit(s, room, sizeof room)) return tb_out_of_memory(s->error);
    TB_TRY(scan_message(s, child, f->value, f->end, depth + 1));
    size_t length = s->used - at - LENGTH_BYTES;
    if (length > INT32_MAX)
        return tb_fail(s->error, TIBA_ERROR_INPUT,
                       "byte %zu: a %s of more than 2 GiB without its tensors' bytes", f->start,
                       message_name(child));
    patch_length(s, at, length);
    return TIBA_OK;
}

static tiba_status emit_field(scan *s, const field *f) {
    if (f->end - f->value > INT32_MAX)
        return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: a field of more than 2 GiB",
                       f->start);
    if (!emit_varint(s, f->number << 3 | f->wire)) return tb_out_of_memory(s->error);
    if (f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && !emit_varint(s, f->end - f->value))
        return tb_out_of_memory(s->error);
    if (!emit(s, s->data + f->value, f->end - f->value)) return tb_out_of_memory(s->error);
    return TIBA_OK;
}

static tiba_status scan_newer(scan *s, const field *f, const ProtobufCMessageDescriptor *message,
                              int depth) {
    for (size_t i = 0; i < COUNT(newer); i++) {
        if (newer[i].key.message != message || newer[i].key.number != f->number) continue;
        if (f->wire != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return bad_field(s, f, message, "overload' or 'attribute_proto",
                             "has the wrong wire type");
        if (newer[i].message) return scan_child(s, f, newer[i].message, depth);
        if (!text_is_sound(s->data + f->value, f->end - f->value))
            return bad_field(s, f, message, "overload", "is not UTF-8 text");
        return emit_field(s, f);
    }
    return TIBA_OK;
}

/* A tensor's floats in one packed piece are its raw data; in several they are left to protobuf-c,
 * and beside raw data too. */
static tiba_status scan_floats(scan *s, const field *f, const ProtobufCMessageDescriptor *message,
                               bool first, size_t end) {
    bool more = false, raw = false;
    if (first) TB_TRY(look_ahead(s, &more, message, f->number, f->end, end));
    if (first && !more) TB_TRY(look_ahead(s, &raw, message, 9, f->end, end));
    if (!first || more || raw) return emit_field(s, f);
    return emit_blob(s, f) ? TIBA_OK : tb_out_of_memory(s->error);
}

static tiba_status scan_message(scan *s, const ProtobufCMessageDescriptor *message, size_t position,
                                size_t end, int depth) {
    bool tensor = message == &onnx__tensor_proto__descriptor;
    uint64_t seen = 0; /* bit per field number; bit 0: a member of the oneof */
    if (depth > MAX_DEPTH)
        return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: messages nested deeper than %d",
                       position, MAX_DEPTH);
    if (s->messages++ >= MAX_MESSAGES)
        return tb_fail(s->error, TIBA_ERROR_INPUT, "byte %zu: more than %d messages", position,
                       MAX_MESSAGES);
    for (field f; position < end; position = f.end) {
        TB_TRY(read_field(s, &f, message, position, end));
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(message, f.number);
        if (!known) {
            TB_TRY(scan_newer(s, &f, message, depth));
            continue;
        }
        if (is_dropped(message, f.number)) continue;
        bool packable, repeated = known->label == PROTOBUF_C_LABEL_REPEATED;
        unsigned wire = wire_of(known->type, &packable);
        bool packed = repeated && packable && f.wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
                      wire != f.wire;
        if (f.wire != wire && !packed)
            return bad_field(s, &f, message, known->name, "has the wrong wire type");
        unsigned bit = known->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? 0 : f.number & 63;
        bool first = !(seen >> bit & 1);
        seen |= (uint64_t)1 << bit;
        if (!repeated && !first) return bad_field(s, &f, message, known->name, "stands twice");
        if (known->type == PROTOBUF_C_TYPE_STRING &&
            !text_is_sound(s->data + f.value, f.end - f.value))
            return bad_field(s, &f, message, known->name, "is not UTF-8 text");
        if (packed) TB_TRY(check_packed(s, &f, message, known, wire));
        if (known->type == PROTOBUF_C_TYPE_MESSAGE)
            TB_TRY(scan_child(s, &f, known->descriptor, depth));
        else if (tensor && packed && (f.number == 4 || f.number == 10))
            TB_TRY(scan_floats(s, &f, message, first && !(seen >> 9 & 1), end));
        else if (tensor && f.number == 9) {
            if (!emit_blob(s, &f)) return tb_out_of_memory(s->error);
        } else
            TB_TRY(emit_field(s, &f));
    }
    return TIBA_OK;
}

tiba_status tb_wire_scan(unsigned char **out, size_t *out_size,
                         const ProtobufCMessageDescriptor *descriptor, const unsigned char *data,
                         size_t size, tb_budget *budget, tiba_error *error) {
    scan s = {.data = data, .budget = budget, .error = error};
    tiba_status status = scan_message(&s, descriptor, 0, size, 0);
    if (status != TIBA_OK) {
        tb_free(s.out);
        *out = NULL;
        *out_size = 0;
        return status;
    }
    *out = s.out;
    *out_size = s.used;
    return TIBA_OK;
}
