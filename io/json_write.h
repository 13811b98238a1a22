/*
 * json_write.h: writing JSON into a growing buffer. Commas and quotes are the writer's business:
 *
 *     tb_json_writer w = {0};
 *     tb_json_open(&w, NULL, '{');
 *     tb_json_write_integer(&w, "count", 3);
 *     tb_json_open(&w, "ids", '[');
 *     tb_json_write_integer(&w, NULL, 101);
 *     tb_json_close(&w, ']');
 *     tb_json_close(&w, '}');
 *     if (w.failed) … out of memory …
 *     use w.data[0 … w.size), a NUL behind it; tb_json_writer_free(&w);
 */
#ifndef TB_IO_JSON_WRITE_H
#define TB_IO_JSON_WRITE_H

#include "base/memory.h"

typedef struct tb_json_writer {
    char *data;
    size_t size, capacity;
    bool comma;  /**< the next value needs a comma in front */
    bool failed; /**< out of memory: the data is useless */
} tb_json_writer;

void tb_json_writer_free(tb_json_writer *writer);
/** Starts an object '{' or array '['. `key` is the member's name, NULL in an array. */
void tb_json_open(tb_json_writer *writer, const char *key, char bracket);
void tb_json_close(tb_json_writer *writer, char bracket);
void tb_json_write_integer(tb_json_writer *writer, const char *key, int64_t value);
/** Shortest decimal that reads back as the same double; null if it is not finite. */
void tb_json_write_number(tb_json_writer *writer, const char *key, double value);
void tb_json_write_bool(tb_json_writer *writer, const char *key, bool value);
void tb_json_write_null(tb_json_writer *writer, const char *key);
/** `size` bytes of valid UTF-8, which may hold NUL. */
void tb_json_write_text(tb_json_writer *writer, const char *key, const char *text, size_t size);
/** Bytes as they are, for line ends. */
void tb_json_write_raw(tb_json_writer *writer, const char *bytes, size_t size);

#endif
