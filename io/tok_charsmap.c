/*
 * tok_charsmap.c: sentencepiece's precompiled character map: a double array (as of the Darts
 * library) of UTF-8 keys, followed by the NUL-terminated replacements that its values point at.
 * It comes from a file, so every step is checked against the array's size.
 */
#include <string.h>

#include "io/tok_parts.h"

struct tb_charsmap {
    const unsigned char *units; /* little-endian, 4 bytes each */
    size_t unit_count;
    const char *replacements; /* valid UTF-8, ends with NUL */
    size_t replacement_size;
};

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes in place of `out` (3/4 of size is enough); false if it is not base64. */
static bool base64_decode(unsigned char *out, size_t *out_size, const char *text, size_t size) {
    uint32_t bits = 0;
    size_t n = 0;
    if (size % 4 != 0) return false;
    size_t padding = size && text[size - 1] == '=' ? 1 + (text[size - 2] == '=') : 0;
    for (size_t i = 0; i < size - padding; i++) {
        int value = base64_value(text[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) out[n++] = (unsigned char)(bits >> (6 - i % 4 * 2));
    }
    *out_size = n;
    return true;
}

static uint32_t read_unit(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

tiba_status tb_charsmap_create(tb_charsmap **out, tb_tok_loader *loader, const tb_json *json) {
    tb_text text = {"", 0};
    size_t size = 0;
    if (!tb_json_absent(json)) TB_TRY(tb_json_as_text(&text, loader->arena, json, loader->error));
    tb_charsmap *map = TB_NEW(loader->arena, tb_charsmap, 1);
    unsigned char *bytes = TB_NEW(loader->arena, unsigned char, text.size / 4 * 3 + 4);
    if (!map || !bytes) return tb_out_of_memory(loader->error);
    *out = map;
    if (text.size == 0) return TIBA_OK; /* an empty map changes nothing */
    if (!base64_decode(bytes, &size, text.data, text.size))
        return tb_json_fail(loader->error, json, "not base64");
    size_t array = size >= 4 ? read_unit(bytes) : SIZE_MAX;
    if (size < 4 || array % 4 != 0 || array > size - 4)
        return tb_json_fail(loader->error, json, "double array beyond the map's %zu bytes", size);
    map->units = bytes + 4;
    map->unit_count = array / 4;
    map->replacements = (const char *)bytes + 4 + array;
    map->replacement_size = size - 4 - array;
    if (!tb_utf8_valid(map->replacements, map->replacement_size, NULL))
        return tb_json_fail(loader->error, json, "replacements are not UTF-8");
    return TIBA_OK; /* a NUL follows: the buffer is zeroed and larger */
}

/* The replacement of the shortest key that `key` starts with. */
static bool look_up(tb_text *out, const tb_charsmap *map, const char *key, size_t size) {
    if (map->unit_count == 0) return false;
    uint32_t unit = read_unit(map->units);
    size_t node = unit >> 10 << ((unit & 1u << 9) >> 6);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)key[i];
        if (byte == 0) return false;
        node ^= byte;
        if (node >= map->unit_count) return false;
        unit = read_unit(map->units + node * 4);
        if ((unit & 0x800000ffu) != byte) return false;
        node ^= (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
        if (node >= map->unit_count) return false;
        if (unit >> 8 & 1) {
            size_t at = read_unit(map->units + node * 4) & 0x7fffffffu;
            if (at >= map->replacement_size) return false;
            out->data = map->replacements + at;
            /* A hostile value may point into the middle of a character. */
            if (((unsigned char)out->data[0] & 0xc0) == 0x80) return false;
            out->size = strlen(out->data);
            return true;
        }
    }
    return false;
}

static tiba_status push_replacement(tb_tok_work *work, tb_text text, size_t old_count) {
    size_t first = work->change_count;
    for (size_t at = 0; at < text.size;)
        TB_TRY(tb_tok_push_change(work, tb_utf8_next(text.data, &at), 0));
    size_t count = work->change_count - first;
    for (size_t i = old_count; i < count; i++) work->changes[first + i].change = 1;
    if (count < old_count && work->change_count > 0)
        work->changes[work->change_count - 1].change -= (int32_t)(old_count - count);
    return TIBA_OK;
}

tiba_status tb_charsmap_apply(const void *charsmap, tb_tok_string *string, tb_tok_work *work) {
    const tb_charsmap *map = charsmap;
    bool modified = false;
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        tb_text text;
        size_t end = tb_grapheme_end(string->text, string->size, at);
        if (end - at < 6 && look_up(&text, map, string->text + at, end - at)) {
            modified = true;
            TB_TRY(push_replacement(work, text, tb_utf8_count(string->text + at, end - at)));
            at = end;
            continue;
        }
        while (at < end) {
            size_t start = at;
            uint32_t c = tb_utf8_next(string->text, &at);
            if (look_up(&text, map, string->text + start, at - start)) {
                modified = true;
                TB_TRY(push_replacement(work, text, 1));
            } else {
                TB_TRY(tb_tok_push_change(work, c, 0));
            }
        }
    }
    return modified ? tb_tok_transform(string, 0, work) : TIBA_OK;
}
