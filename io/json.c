/*
 * json.c: see json.h. cJSON keeps strings by their first NUL, so U+0000 travels through it as the
 * overlong pair C0 80, which the UTF-8 check keeps out of every input; tb_json_as_text undoes it.
 */
#include "io/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { DEFAULT_DEPTH = 64 };
static const size_t default_size = (size_t)64 << 20, default_values = (size_t)4 << 20;

bool tb_utf8_valid(const void *text, size_t size, size_t *bad) {
    const unsigned char *p = text;
    size_t i = 0;
    while (i < size) {
        unsigned char c = p[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        bool good = c >= 0xc2 && c <= 0xf4 && n <= size - i;
        for (size_t k = 1; good && k < n; k++) good = (p[i + k] & 0xc0) == 0x80;
        if (good && n > 2) {
            unsigned char d = p[i + 1];
            good = !(c == 0xe0 && d < 0xa0) && !(c == 0xed && d >= 0xa0) &&
                   !(c == 0xf0 && d < 0x90) && !(c == 0xf4 && d >= 0x90);
        }
        if (!good) {
            if (bad) *bad = i;
            return false;
        }
        i += n;
    }
    return true;
}

static bool digit(unsigned char c) {
    return c >= '0' && c <= '9';
}

/* The length of a number in JSON's grammar at text[0 … size), 0 if there is none. */
static size_t number_length(const unsigned char *text, size_t size) {
    size_t i = 0;
    if (i < size && text[i] == '-') i++;
    if (i >= size || !digit(text[i])) return 0;
    if (text[i] == '0')
        i++;
    else
        while (i < size && digit(text[i])) i++;
    if (i < size && text[i] == '.') {
        i++;
        if (i >= size || !digit(text[i])) return 0;
        while (i < size && digit(text[i])) i++;
    }
    if (i < size && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < size && (text[i] == '+' || text[i] == '-')) i++;
        if (i >= size || !digit(text[i])) return 0;
        while (i < size && digit(text[i])) i++;
    }
    if (i < size && (digit(text[i]) || text[i] == '.' || text[i] == '+' || text[i] == '-'))
        return 0;
    return i;
}

/* Steps over a string that starts at text[start] == '"'; the offset behind it, or 0 with an
 * error. Counts the escapes that stand for U+0000. */
static size_t scan_string(const unsigned char *text, size_t size, size_t start, size_t *nulls,
                          const char *name, tiba_error *error) {
    size_t i = start + 1;
    while (i < size && text[i] != '"') {
        if (text[i] < 0x20) {
            tb_fail(error, TIBA_ERROR_INPUT, "%s: control character in a string at byte %zu", name,
                    i);
            return 0;
        }
        if (text[i] == '\\') {
            if (size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0) ++*nulls;
            i++;
        }
        i++;
    }
    if (i >= size) {
        tb_fail(error, TIBA_ERROR_INPUT, "%s: string at byte %zu does not end: truncated?", name,
                start);
        return 0;
    }
    return i + 1;
}

static tiba_status scan(size_t *nulls, const char *name, const unsigned char *text, size_t size,
                        const tb_json_limits *limits, tiba_error *error) {
    size_t bad, values = 1, most = limits && limits->values ? limits->values : default_values;
    int depth = 0, deepest = limits && limits->depth ? limits->depth : DEFAULT_DEPTH;
    size_t longest = limits && limits->size ? limits->size : default_size;
    *nulls = 0;
    if (size > longest)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: %zu bytes of JSON, more than the limit of %zu",
                       name, size, longest);
    if (!tb_utf8_valid(text, size, &bad))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: invalid UTF-8 at byte %zu", name, bad);
    for (size_t i = 0; i < size;) {
        unsigned char c = text[i];
        size_t step = 1;
        if (c == '"') {
            size_t end = scan_string(text, size, i, nulls, name, error);
            if (!end) return TIBA_ERROR_INPUT;
            step = end - i;
        } else if (c == '-' || digit(c)) {
            step = number_length(text + i, size - i);
            if (!step || step > 60)
                return tb_fail(error, TIBA_ERROR_INPUT, "%s: not a number at byte %zu", name, i);
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > deepest)
                return tb_fail(error, TIBA_ERROR_INPUT,
                               "%s: nested deeper than %d levels at byte %zu", name, deepest, i);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',') {
            values++;
        } else if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') {
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: control character at byte %zu", name, i);
        }
        if (values > most)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: more than %zu values", name, most);
        i += step;
    }
    return TIBA_OK;
}

/* A copy of the text with every \u0000 written as C0 80. */
static unsigned char *rewrite_nulls(tb_arena *arena, const unsigned char *text, size_t *size) {
    unsigned char *copy = TB_NEW(arena, unsigned char, *size);
    if (!copy) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < *size;) {
        size_t step = text[i] == '\\' && i + 1 < *size ? 2 : 1;
        if (step == 2 && *size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0) {
            copy[n++] = 0xc0;
            copy[n++] = 0x80;
            i += 6;
            continue;
        }
        for (size_t k = 0; k < step; k++) copy[n++] = text[i++];
    }
    *size = n;
    return copy;
}

/* cJSON's hooks have no context and it keeps state of its own, so one document is parsed at a
 * time: the lock guards cJSON and these two. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tb_arena *parse_arena;
static bool parse_out_of_memory;

static void *parse_malloc(size_t size) {
    void *block = tb_arena_alloc(parse_arena, size, 1);
    if (!block) parse_out_of_memory = true;
    return block;
}

static void parse_free(void *block) {
    (void)block; /* the arena frees everything at once */
}

static tiba_status parse_locked(cJSON **out, tb_arena *arena, const char *name,
                                const unsigned char *text, size_t size, tiba_error *error) {
    cJSON_Hooks hooks = {parse_malloc, parse_free};
    const char *end = NULL;
    pthread_mutex_lock(&lock);
    cJSON_InitHooks(&hooks);
    parse_arena = arena;
    parse_out_of_memory = false;
    *out = cJSON_ParseWithLengthOpts((const char *)text, size, &end, 0);
    bool out_of_memory = parse_out_of_memory;
    parse_arena = NULL;
    cJSON_InitHooks(NULL);
    pthread_mutex_unlock(&lock);
    if (out_of_memory) return tb_out_of_memory(error);
    size_t at = end ? (size_t)(end - (const char *)text) : 0;
    if (!*out)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: not JSON at byte %zu of %zu%s", name, at, size,
                       at + 1 >= size ? ": truncated?" : "");
    while (at < size && (text[at] == ' ' || (text[at] >= 9 && text[at] <= 13))) at++;
    if (at < size && text[at] != '\0')
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: more after the end of the JSON at byte %zu",
                       name, at);
    return TIBA_OK;
}

static uint64_t hash_name(const char *name) {
    uint64_t h = 14695981039346656037u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h ^ h >> 29;
}

/* `table` has `slots` (a power of two, more than the members) places, all NULL. */
static bool has_duplicate(const cJSON *object, const char **table, size_t slots,
                          const char **which) {
    for (const cJSON *item = object->child; item; item = item->next) {
        size_t i = (size_t)hash_name(item->string) & (slots - 1);
        for (; table[i]; i = (i + 1) & (slots - 1))
            if (strcmp(table[i], item->string) == 0) {
                *which = item->string;
                return true;
            }
        table[i] = item->string;
    }
    return false;
}

static tiba_status check_keys(const tb_json *at, tb_budget *budget, tiba_error *error) {
    size_t count = 0;
    for (tb_json item = {0}; tb_json_next(&item, at); count++)
        if (item.node->child) TB_TRY(check_keys(&item, budget, error));
    if (!cJSON_IsObject(at->node) || count < 2) return TIBA_OK;
    const char *few[64] = {0}, *which = NULL, **table = few;
    size_t slots = 64;
    while (slots < count * 2) slots *= 2;
    if (slots > 64) table = tb_calloc(budget, slots, sizeof *table);
    if (!table) return tb_out_of_memory(error);
    bool duplicate = has_duplicate(at->node, table, slots, &which);
    if (slots > 64) tb_free(table);
    return duplicate ? tb_json_fail(error, at, "duplicate key \"%.64s\"", which) : TIBA_OK;
}

tiba_status tb_json_parse(tb_json *out, tb_arena *arena, const char *name, const void *text,
                          size_t size, const tb_json_limits *limits, tiba_error *error) {
    const unsigned char *bytes = text;
    size_t nulls;
    cJSON *root;
    *out = (tb_json){.index = -1};
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        bytes += 3;
        size -= 3;
    }
    TB_TRY(scan(&nulls, name, bytes, size, limits, error));
    if (nulls) bytes = rewrite_nulls(arena, bytes, &size);
    if (!bytes) return tb_out_of_memory(error);
    TB_TRY(parse_locked(&root, arena, name, bytes, size, error));
    out->key = tb_arena_strdup(arena, name);
    if (!out->key) return tb_out_of_memory(error);
    out->node = root;
    return check_keys(out, tb_arena_budget(arena), error);
}

tiba_status tb_json_read(tb_json *out, tb_arena *arena, const char *path,
                         const tb_json_limits *limits, tiba_error *error) {
    tb_file file;
    *out = (tb_json){.index = -1};
    TB_TRY(tb_file_open(&file, path, error));
    tiba_status status = tb_json_parse(out, arena, path, file.data, file.size, limits, error);
    tb_file_close(&file);
    return status;
}

/* Writes the way to `at` in front of text[0 … *length); stops where there is no room. */
static void path_text(char *text, size_t capacity, const tb_json *at) {
    const tb_json *chain[DEFAULT_DEPTH];
    int n = 0;
    for (; at && n < DEFAULT_DEPTH; at = at->parent) chain[n++] = at;
    size_t used = 0;
    text[0] = '\0';
    for (int i = n - 1; i >= 0 && used < capacity; i--) {
        const tb_json *step = chain[i];
        bool root = !step->parent, first = step->parent && !step->parent->parent;
        int k = step->index >= 0 ? snprintf(text + used, capacity - used,
                                            first ? ": [%lld]" : "[%lld]", (long long)step->index)
                                 : snprintf(text + used, capacity - used, "%s%.64s",
                                            root    ? ""
                                            : first ? ": "
                                                    : ".",
                                            step->key ? step->key : "");
        if (k > 0) used += (size_t)k;
    }
}

tiba_status tb_json_fail(tiba_error *error, const tb_json *at, const char *format, ...) {
    char way[256], message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    path_text(way, sizeof way, at);
    return tb_fail(error, TIBA_ERROR_INPUT, "%s: %s", way, message);
}

tb_json_kind tb_json_kind_of(const tb_json *value) {
    const cJSON *node = value->node;
    if (!node) return TB_JSON_MISSING;
    if (cJSON_IsBool(node)) return TB_JSON_BOOL;
    if (cJSON_IsNumber(node)) return TB_JSON_NUMBER;
    if (cJSON_IsString(node)) return TB_JSON_STRING;
    if (cJSON_IsArray(node)) return TB_JSON_ARRAY;
    if (cJSON_IsObject(node)) return TB_JSON_OBJECT;
    return TB_JSON_NULL;
}

bool tb_json_absent(const tb_json *value) {
    return tb_json_kind_of(value) <= TB_JSON_NULL;
}

tb_json tb_json_get(const tb_json *object, const char *key) {
    tb_json member = {.parent = object, .key = key, .index = -1};
    if (tb_json_kind_of(object) == TB_JSON_OBJECT)
        member.node = cJSON_GetObjectItemCaseSensitive(object->node, key);
    return member;
}

bool tb_json_next(tb_json *item, const tb_json *container) {
    bool array = cJSON_IsArray(container->node);
    if (!array && !cJSON_IsObject(container->node)) return false;
    if (!item->node) {
        *item = (tb_json){.node = container->node->child, .parent = container};
        item->index = array ? 0 : -1;
    } else {
        item->node = item->node->next;
        if (array) item->index++;
    }
    if (!item->node) return false;
    item->key = array ? NULL : item->node->string;
    return true;
}

size_t tb_json_count(const tb_json *container) {
    size_t count = 0;
    for (tb_json item = {0}; tb_json_next(&item, container);) count++;
    return count;
}

static tiba_status wrong_kind(tiba_error *error, const tb_json *value, const char *wanted) {
    static const char *const names[] = {"missing",  "null",     "a bool",   "a number",
                                        "a string", "an array", "an object"};
    tb_json_kind kind = tb_json_kind_of(value);
    if (kind == TB_JSON_MISSING) return tb_json_fail(error, value, "missing");
    return tb_json_fail(error, value, "%s where %s belongs", names[kind], wanted);
}

tiba_status tb_json_need_array(const tb_json *value, tiba_error *error) {
    if (tb_json_kind_of(value) == TB_JSON_ARRAY) return TIBA_OK;
    return wrong_kind(error, value, "an array");
}

tiba_status tb_json_need_object(const tb_json *value, tiba_error *error) {
    if (tb_json_kind_of(value) == TB_JSON_OBJECT) return TIBA_OK;
    return wrong_kind(error, value, "an object");
}

tiba_status tb_json_as_string(const char **out, const tb_json *value, tiba_error *error) {
    if (tb_json_kind_of(value) != TB_JSON_STRING) return wrong_kind(error, value, "a string");
    if (strstr(value->node->valuestring, "\xc0\x80"))
        return tb_json_fail(error, value, "U+0000 in a name");
    *out = value->node->valuestring;
    return TIBA_OK;
}

static tiba_status decode_text(tb_text *out, tb_arena *arena, const char *text, tiba_error *error) {
    *out = (tb_text){text, strlen(text)};
    if (!strstr(text, "\xc0\x80")) return TIBA_OK;
    char *copy = tb_arena_strndup(arena, text, out->size);
    if (!copy) return tb_out_of_memory(error);
    size_t n = 0;
    for (size_t i = 0; i < out->size; i++) {
        bool null = (unsigned char)text[i] == 0xc0;
        copy[n++] = null ? '\0' : text[i];
        if (null) i++;
    }
    copy[n] = '\0';
    *out = (tb_text){copy, n};
    return TIBA_OK;
}

tiba_status tb_json_as_text(tb_text *out, tb_arena *arena, const tb_json *value,
                            tiba_error *error) {
    if (tb_json_kind_of(value) != TB_JSON_STRING) return wrong_kind(error, value, "a string");
    return decode_text(out, arena, value->node->valuestring, error);
}

tiba_status tb_json_key_text(tb_text *out, tb_arena *arena, const tb_json *member,
                             tiba_error *error) {
    return decode_text(out, arena, member->key, error);
}

tiba_status tb_json_as_number(double *out, const tb_json *value, tiba_error *error) {
    if (tb_json_kind_of(value) != TB_JSON_NUMBER) return wrong_kind(error, value, "a number");
    if (!isfinite(value->node->valuedouble))
        return tb_json_fail(error, value, "number out of range");
    *out = value->node->valuedouble;
    return TIBA_OK;
}

tiba_status tb_json_as_integer(int64_t *out, const tb_json *value, int64_t low, int64_t high,
                               tiba_error *error) {
    double number = 0;
    TB_TRY(tb_json_as_number(&number, value, error));
    if (number != floor(number))
        return tb_json_fail(error, value, "%g is not a whole number", number);
    if (!(number >= (double)low && number <= (double)high && fabs(number) < 9e15))
        return tb_json_fail(error, value, "%.17g is outside %lld to %lld", number, (long long)low,
                            (long long)high);
    *out = (int64_t)number;
    return TIBA_OK;
}

tiba_status tb_json_as_bool(bool *out, const tb_json *value, tiba_error *error) {
    if (tb_json_kind_of(value) != TB_JSON_BOOL) return wrong_kind(error, value, "a bool");
    *out = cJSON_IsTrue(value->node);
    return TIBA_OK;
}

tiba_status tb_json_string(const char **out, const tb_json *object, const char *key,
                           tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    return tb_json_as_string(out, &value, error);
}

tiba_status tb_json_integer(int64_t *out, const tb_json *object, const char *key, int64_t low,
                            int64_t high, tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    return tb_json_as_integer(out, &value, low, high, error);
}

tiba_status tb_json_string_or(const char **out, const tb_json *object, const char *key,
                              const char *otherwise, tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    *out = otherwise;
    return tb_json_absent(&value) ? TIBA_OK : tb_json_as_string(out, &value, error);
}

tiba_status tb_json_bool_or(bool *out, const tb_json *object, const char *key, bool otherwise,
                            tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    *out = otherwise;
    return tb_json_absent(&value) ? TIBA_OK : tb_json_as_bool(out, &value, error);
}

tiba_status tb_json_number_or(double *out, const tb_json *object, const char *key, double otherwise,
                              tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    *out = otherwise;
    return tb_json_absent(&value) ? TIBA_OK : tb_json_as_number(out, &value, error);
}

tiba_status tb_json_integer_or(int64_t *out, const tb_json *object, const char *key, int64_t low,
                               int64_t high, int64_t otherwise, tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    *out = otherwise;
    return tb_json_absent(&value) ? TIBA_OK : tb_json_as_integer(out, &value, low, high, error);
}
