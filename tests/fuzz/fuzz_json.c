/* Any text as JSON: it is walked with every getter, and written names and paths stay one line. */
#include <stdlib.h>
#include <string.h>

#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const tb_json *value, tb_arena *arena) {
    tiba_error error = {0};
    tb_text text;
    double number;
    int64_t integer;
    bool flag;
    if (tb_json_as_text(&text, arena, value, &error) == TIBA_OK &&
        !tb_utf8_valid(text.data, text.size, NULL))
        abort();
    if (tb_json_as_number(&number, value, &error) != TIBA_OK && !error.message[0]) abort();
    (void)tb_json_as_integer(&integer, value, -10, 10, &error);
    (void)tb_json_as_bool(&flag, value, &error);
    if (strchr(error.message, '\n')) abort();
    for (tb_json item = {0}; tb_json_next(&item, value);) {
        if (item.key && tb_json_key_text(&text, arena, &item, &error) != TIBA_OK) abort();
        walk(&item, arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tb_budget budget = {.limit = (size_t)64 << 20};
    tb_arena *arena = tb_arena_create(&budget);
    tiba_error error = {0};
    tb_json root;
    tiba_status status = tb_json_parse(&root, arena, "fuzz", data, size, NULL, &error);
    if (status == TIBA_OK)
        walk(&root, arena);
    else if (!error.message[0])
        abort();
    tb_arena_destroy(arena);
    if (budget.used != 0) abort();
    return 0;
}
