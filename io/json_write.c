/* json_write.c: see json_write.h. */
#include "io/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tb_json_writer_free(tb_json_writer *writer) {
    tb_free(writer->data);
    *writer = (tb_json_writer){0};
}

void tb_json_write_raw(tb_json_writer *w, const char *bytes, size_t size) {
    size_t need;
    if (w->failed) return;
    if (!tb_size_add(&need, w->size, size) || !tb_size_add(&need, need, 1)) {
        w->failed = true;
        return;
    }
    if (need > w->capacity) {
        size_t larger = need < 4096 ? 4096 : need + need / 2;
        char *data = tb_realloc(NULL, w->data, larger);
        if (!data) {
            w->failed = true;
            return;
        }
        w->data = data;
        w->capacity = larger;
    }
    memcpy(w->data + w->size, bytes, size);
    w->size += size;
    w->data[w->size] = '\0';
}

/* Control characters and line separators are escaped, so that a document is one line for every
 * reader; other characters stay as they are. */
static void write_quoted(tb_json_writer *w, const char *text, size_t size) {
    size_t done = 0;
    tb_json_write_raw(w, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        const unsigned char *p = (const unsigned char *)text + i;
        size_t rest = size - i, used = 1;
        unsigned c = p[0];
        if (c == 0xc2 && rest > 1 && p[1] < 0xa0) {
            c = p[1];
            used = 2;
        } else if (c == 0xe2 && rest > 2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
            c = 0x2028u + (p[2] & 1u);
            used = 3;
        } else if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            continue;
        }
        char escape[8];
        int n = c == '"' || c == '\\' ? snprintf(escape, sizeof escape, "\\%c", (int)c)
                                      : snprintf(escape, sizeof escape, "\\u%04x", c);
        tb_json_write_raw(w, text + done, i - done);
        tb_json_write_raw(w, escape, (size_t)n);
        i += used - 1;
        done = i + 1;
    }
    tb_json_write_raw(w, text + done, size - done);
    tb_json_write_raw(w, "\"", 1);
}

/* What stands in front of every value. */
static void begin(tb_json_writer *w, const char *key) {
    if (w->comma) tb_json_write_raw(w, ",", 1);
    w->comma = true;
    if (!key) return;
    write_quoted(w, key, strlen(key));
    tb_json_write_raw(w, ":", 1);
}

void tb_json_open(tb_json_writer *writer, const char *key, char bracket) {
    begin(writer, key);
    tb_json_write_raw(writer, &bracket, 1);
    writer->comma = false;
}

void tb_json_close(tb_json_writer *writer, char bracket) {
    tb_json_write_raw(writer, &bracket, 1);
    writer->comma = true;
}

void tb_json_write_integer(tb_json_writer *writer, const char *key, int64_t value) {
    char text[32];
    begin(writer, key);
    tb_json_write_raw(writer, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)value));
}

void tb_json_write_number(tb_json_writer *writer, const char *key, double value) {
    char text[40];
    if (!isfinite(value)) {
        tb_json_write_null(writer, key);
        return;
    }
    int n = 0;
    for (int digits = 6; digits <= 17; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    begin(writer, key);
    tb_json_write_raw(writer, text, (size_t)n);
}

void tb_json_write_bool(tb_json_writer *writer, const char *key, bool value) {
    begin(writer, key);
    tb_json_write_raw(writer, value ? "true" : "false", value ? 4 : 5);
}

void tb_json_write_null(tb_json_writer *writer, const char *key) {
    begin(writer, key);
    tb_json_write_raw(writer, "null", 4);
}

void tb_json_write_text(tb_json_writer *writer, const char *key, const char *text, size_t size) {
    begin(writer, key);
    write_quoted(writer, text, size);
}
