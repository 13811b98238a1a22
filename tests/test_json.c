/* io/json: what is read, what is refused, and that refusals name the place. */
#include "io/json.h"

#include <stdlib.h>

#include "check.h"

static tiba_status parse(tb_json *out, tb_arena *arena, const char *text, tiba_error *error) {
    return tb_json_parse(out, arena, "d", text, strlen(text), NULL, error);
}

static void test_values(tb_arena *arena) {
    tiba_error error = {0};
    tb_json root;
    CHECK(parse(&root, arena,
                "\xef\xbb\xbf "
                "{\"a\":{\"b\":[1,2.5,\"x\\u0000y\",true,null]},\"s\":\"\\ud83d\\ude00\"}\n",
                &error) == TIBA_OK);
    tb_json a = tb_json_get(&root, "a"), b = tb_json_get(&a, "b"), missing = tb_json_get(&b, "c");
    CHECK(tb_json_count(&b) == 5 && tb_json_absent(&missing));
    int64_t n = 0;
    double d = 0;
    bool flag = false;
    tb_text text = {0};
    const char *string = NULL;
    for (tb_json item = {0}; tb_json_next(&item, &b);) {
        if (item.index == 0) CHECK(tb_json_as_integer(&n, &item, 0, 9, &error) == TIBA_OK);
        if (item.index == 1) {
            CHECK(tb_json_as_number(&d, &item, &error) == TIBA_OK);
            CHECK(tb_json_as_integer(&n, &item, 0, 9, &error) == TIBA_ERROR_INPUT);
            CHECK_STRING(error.message, "d: a.b[1]: 2.5 is not a whole number");
        }
        if (item.index == 2) {
            CHECK(tb_json_as_text(&text, arena, &item, &error) == TIBA_OK);
            CHECK(tb_json_as_string(&string, &item, &error) == TIBA_ERROR_INPUT);
        }
        if (item.index == 3) CHECK(tb_json_as_bool(&flag, &item, &error) == TIBA_OK);
        if (item.index == 4) CHECK(tb_json_absent(&item));
    }
    CHECK(n == 1 && d == 2.5 && flag && text.size == 3 && memcmp(text.data, "x\0y", 3) == 0);
    CHECK(tb_json_string(&string, &root, "s", &error) == TIBA_OK);
    CHECK_STRING(string, "\xf0\x9f\x98\x80");
    CHECK(tb_json_integer_or(&n, &root, "none", 0, 1, 7, &error) == TIBA_OK && n == 7);
    CHECK(tb_json_string(&string, &a, "b", &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "d: a.b: an array where a string belongs");
    CHECK(tb_json_string(&string, &a, "q", &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "d: a.q: missing");
}

static void test_refusals(tb_arena *arena) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "d: not JSON at byte 0 of 0: truncated?"},
        {"{\"a\":1", "d: not JSON at byte 5 of 6: truncated?"},
        {"{\"a\":\"x", "d: string at byte 5 does not end: truncated?"},
        {"[1] 2", "d: more after the end of the JSON at byte 4"},
        {"{\"a\":1,\"b\":{\"k\":1,\"k\":2}}", "d: b: duplicate key \"k\""},
        {"[01]", "d: not a number at byte 1"},
        {"[1.]", "d: not a number at byte 1"},
        {"[-]", "d: not a number at byte 1"},
        {"[\"\x80\"]", "d: invalid UTF-8 at byte 2"},
        {"[\"\xc0\x80\"]", "d: invalid UTF-8 at byte 2"},
        {"[\"\xed\xa0\x80\"]", "d: invalid UTF-8 at byte 2"},
        {"[\"a\nb\"]", "d: control character in a string at byte 3"},
        {"[\x01]", "d: control character at byte 1"},
        {"[\"\\ud800\"]", NULL},
        {"[1,]", NULL},
        {"{1:2}", NULL},
        {"nul", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiba_error error = {0};
        tb_json root;
        CHECK_CASE(parse(&root, arena, cases[i].text, &error) == TIBA_ERROR_INPUT, "%s",
                   cases[i].text);
        CHECK_CASE(!cases[i].message || strcmp(error.message, cases[i].message) == 0, "%s",
                   error.message);
    }
}

static void test_limits(void) {
    tb_budget budget = {.limit = 1 << 20};
    tb_arena *arena = tb_arena_create(&budget);
    tiba_error error = {0};
    tb_json root;
    enum { N = 400000 };
    char *text = malloc(N);
    memset(text, '[', N);
    CHECK(tb_json_parse(&root, arena, "d", text, N, NULL, &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "d: nested deeper than 64 levels at byte 64");
    text[0] = '[';
    for (int i = 1; i < N - 1; i++) text[i] = i % 2 ? '1' : ',';
    text[N - 1] = ']';
    text[N - 2] = '1';
    text[N - 3] = ',';
    CHECK(tb_json_parse(&root, arena, "d", text, N, NULL, &error) == TIBA_ERROR_RESOURCE);
    tb_json_limits limits = {.values = 1000};
    CHECK(tb_json_parse(&root, arena, "d", text, N, &limits, &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "d: more than 1000 values");
    limits.size = 10;
    CHECK(tb_json_parse(&root, arena, "d", text, N, &limits, &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "d: 400000 bytes of JSON, more than the limit of 10");
    free(text);
    tb_arena_destroy(arena);
    CHECK(budget.used == 0);
}

int main(void) {
    tb_arena *arena = tb_arena_create(NULL);
    test_values(arena);
    test_refusals(arena);
    test_limits();
    tb_arena_destroy(arena);
    TEST_END();
}
