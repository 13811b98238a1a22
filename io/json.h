/*
 * json.h: reading JSON that may be hostile, on top of cJSON.
 *
 * A document is checked before cJSON sees it (size, depth, number of values, UTF-8, control
 * characters, numbers) and after it (duplicate keys), and lives in an arena: nothing is freed on
 * its own. A tb_json is a cursor: a value and the way to it, which error messages print.
 *
 *     tb_json root, model;
 *     TB_TRY(tb_json_read(&root, arena, path, NULL, error));
 *     model = tb_json_get(&root, "model");
 *     TB_TRY(tb_json_string(&type, &model, "type", error));     // "...: model.type: missing"
 *     for (tb_json item = {0}; tb_json_next(&item, &list);) ...
 */
#ifndef TB_IO_JSON_H
#define TB_IO_JSON_H

#include "base/memory.h"

struct cJSON;

/** A value and where it stands. A cursor keeps a pointer to its parent's cursor, which must stay
 *  alive and in place as long as the child is used. */
typedef struct tb_json {
    const struct cJSON *node;     /**< NULL: there is no such value */
    const struct tb_json *parent; /**< NULL for the root */
    const char *key;              /**< member name, or the document's name for the root */
    int64_t index;                /**< element of an array; -1 if it is not one */
} tb_json;

/** What a document may at most be. 0 means the default. */
typedef struct tb_json_limits {
    size_t size;   /**< bytes; 64 MiB */
    size_t values; /**< values of every kind; 4 million */
    int depth;     /**< nested arrays and objects; 64 */
} tb_json_limits;

/** Text with its length: JSON strings may hold U+0000. Valid UTF-8. A NUL follows it. */
typedef struct tb_text {
    const char *data;
    size_t size;
} tb_text;

typedef enum tb_json_kind {
    TB_JSON_MISSING,
    TB_JSON_NULL,
    TB_JSON_BOOL,
    TB_JSON_NUMBER,
    TB_JSON_STRING,
    TB_JSON_ARRAY,
    TB_JSON_OBJECT
} tb_json_kind;

/** Parses `size` bytes. `name` (file name or the like, copied) starts every message about the
 *  document. The document belongs to the arena. */
tiba_status tb_json_parse(tb_json *out, tb_arena *arena, const char *name, const void *text,
                          size_t size, const tb_json_limits *limits, tiba_error *error);
/** Parses the file `path`, which becomes the document's name. */
tiba_status tb_json_read(tb_json *out, tb_arena *arena, const char *path,
                         const tb_json_limits *limits, tiba_error *error);

/** TIBA_ERROR_INPUT with "name: way.to[3].value: " in front of the message. */
tiba_status tb_json_fail(tiba_error *error, const tb_json *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

tb_json_kind tb_json_kind_of(const tb_json *value);
/** A missing value or null. */
bool tb_json_absent(const tb_json *value);
/** The member `key` (missing if there is none or `object` is no object). */
tb_json tb_json_get(const tb_json *object, const char *key);
/** Steps through an array's elements or an object's members; start from a zeroed cursor. */
bool tb_json_next(tb_json *item, const tb_json *container);
/** Elements or members; 0 for other values. Walks the list. */
size_t tb_json_count(const tb_json *container);

/** Requires an array (object) that is there. */
tiba_status tb_json_need_array(const tb_json *value, tiba_error *error);
tiba_status tb_json_need_object(const tb_json *value, tiba_error *error);

/** The value itself as a C string, which lives as long as the document; one with U+0000 in it is
 *  refused. */
tiba_status tb_json_as_string(const char **out, const tb_json *value, tiba_error *error);
/** The value itself as text that may hold U+0000. */
tiba_status tb_json_as_text(tb_text *out, tb_arena *arena, const tb_json *value, tiba_error *error);
/** The key of an object's member as text. */
tiba_status tb_json_key_text(tb_text *out, tb_arena *arena, const tb_json *member,
                             tiba_error *error);
/** The value itself as a finite number. */
tiba_status tb_json_as_number(double *out, const tb_json *value, tiba_error *error);
/** The value itself as a whole number in [low, high]. */
tiba_status tb_json_as_integer(int64_t *out, const tb_json *value, int64_t low, int64_t high,
                               tiba_error *error);
tiba_status tb_json_as_bool(bool *out, const tb_json *value, tiba_error *error);

/** Members that must be there. */
tiba_status tb_json_string(const char **out, const tb_json *object, const char *key,
                           tiba_error *error);
tiba_status tb_json_integer(int64_t *out, const tb_json *object, const char *key, int64_t low,
                            int64_t high, tiba_error *error);
/** Members that may be missing or null, then the default is given; a wrong kind is an error. */
tiba_status tb_json_string_or(const char **out, const tb_json *object, const char *key,
                              const char *otherwise, tiba_error *error);
tiba_status tb_json_bool_or(bool *out, const tb_json *object, const char *key, bool otherwise,
                            tiba_error *error);
tiba_status tb_json_number_or(double *out, const tb_json *object, const char *key, double otherwise,
                              tiba_error *error);
tiba_status tb_json_integer_or(int64_t *out, const tb_json *object, const char *key, int64_t low,
                               int64_t high, int64_t otherwise, tiba_error *error);

/** True if `size` bytes are valid UTF-8 (no surrogates, no overlong forms). `*bad` (may be NULL)
 *  is the offset of the first byte that is not. */
bool tb_utf8_valid(const void *text, size_t size, size_t *bad);

#endif
