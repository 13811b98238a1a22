/*
 * cmd_tokenize.c: `tiba-onnx tokenize FOLDER`: what the tokenizer of a folder makes of a text.
 *
 *     tiba-onnx tokenize FOLDER TEXT [--pair TEXT] [--truncate] [--max-length N] [--json]
 *     tiba-onnx tokenize FOLDER --jsonl
 *
 * The first form prints a table, or one object with --json; a text beyond the model's length is
 * an error unless --truncate. The second reads objects {"text", "pair", "truncate", "strategy",
 * "max_length", "padding"} a line from standard input and answers a line each; there a text is
 * only cut if its line says so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/json_write.h"
#include "io/tokenizer.h"
#include "tools/arguments.h"
#include "tools/commands.h"

enum { MAX_LINE = 64 << 20 };
static const size_t memory_limit = (size_t)2 << 30;

typedef struct options {
    bool help, json, jsonl, truncate;
    int max_length;
    const char *pair;
} options;

static const tb_option table[] = {
    {"--pair", NULL, TB_ARG_TEXT, offsetof(options, pair), "TEXT", "a second text"},
    {"--truncate", NULL, TB_ARG_FLAG, offsetof(options, truncate), NULL,
     "cut what is beyond the length (longest text first)"},
    {"--max-length", NULL, TB_ARG_INT, offsetof(options, max_length), "N",
     "tokens, in the place of the model's length"},
    {"--json", NULL, TB_ARG_FLAG, offsetof(options, json), NULL, "an object, for programs"},
    {"--jsonl", NULL, TB_ARG_FLAG, offsetof(options, jsonl), NULL,
     "requests from standard input, one object a line"},
    {"--help", "-h", TB_ARG_FLAG, offsetof(options, help), NULL, "this help"},
    {0},
};

static int complain(const tiba_error *error) {
    fprintf(stderr, "tiba-onnx: %s\n", error->message);
    return (int)error->code;
}

static void write_offsets(tb_json_writer *w, const char *key, const tb_offsets *offsets,
                          size_t count) {
    tb_json_open(w, key, '[');
    for (size_t i = 0; i < count; i++) {
        tb_json_open(w, NULL, '[');
        tb_json_write_integer(w, NULL, offsets[i].start);
        tb_json_write_integer(w, NULL, offsets[i].end);
        tb_json_close(w, ']');
    }
    tb_json_close(w, ']');
}

static void write_integers(tb_json_writer *w, const char *key, const int64_t *values,
                           size_t count) {
    tb_json_open(w, key, '[');
    for (size_t i = 0; i < count; i++) tb_json_write_integer(w, NULL, values[i]);
    tb_json_close(w, ']');
}

static void write_encoding(tb_json_writer *w, const tb_encoding *e) {
    tb_json_open(w, NULL, '{');
    write_integers(w, "ids", e->ids, e->count);
    write_integers(w, "type_ids", e->type_ids, e->count);
    write_integers(w, "attention_mask", e->attention_mask, e->count);
    tb_json_open(w, "tokens", '[');
    for (size_t i = 0; i < e->count; i++)
        tb_json_write_text(w, NULL, e->tokens[i].data, e->tokens[i].size);
    tb_json_close(w, ']');
    write_offsets(w, "offsets", e->offsets, e->count);
    write_offsets(w, "offsets_utf8", e->offsets_utf8, e->count);
    tb_json_open(w, "word_ids", '[');
    for (size_t i = 0; i < e->count; i++) {
        if (e->word_ids[i] < 0)
            tb_json_write_null(w, NULL);
        else
            tb_json_write_integer(w, NULL, e->word_ids[i]);
    }
    tb_json_close(w, ']');
    tb_json_open(w, "special_tokens_mask", '[');
    for (size_t i = 0; i < e->count; i++) tb_json_write_integer(w, NULL, e->special_tokens[i]);
    tb_json_close(w, ']');
    tb_json_close(w, '}');
    w->comma = false;
    tb_json_write_raw(w, "\n", 1);
}

static int print_json(const tb_encoding *encoding) {
    tb_json_writer w = {0};
    write_encoding(&w, encoding);
    bool good = !w.failed && fwrite(w.data, 1, w.size, stdout) == w.size && fflush(stdout) == 0;
    if (!good)
        fprintf(stderr, "tiba-onnx: standard output: %s\n",
                w.failed ? "out of memory" : strerror(errno));
    tb_json_writer_free(&w);
    return good ? TIBA_OK : TIBA_ERROR_RESOURCE;
}

/* A token with what a terminal must not see replaced. */
static void print_token(tb_text token) {
    putchar('"');
    for (size_t i = 0; i < token.size; i++) {
        unsigned char c = (unsigned char)token.data[i];
        bool control = c < 0x20 || c == 0x7f ||
                       (c == 0xc2 && i + 1 < token.size && (unsigned char)token.data[i + 1] < 0xa0);
        if (control && c == 0xc2) i++;
        putchar(control ? '?' : c);
    }
    putchar('"');
}

static int print_table(const tb_encoding *e) {
    printf("%6s %8s %5s %6s %13s %13s  token\n", "", "id", "type", "word", "code points", "bytes");
    for (size_t i = 0; i < e->count; i++) {
        printf("%6zu %8lld %5lld ", i, (long long)e->ids[i], (long long)e->type_ids[i]);
        if (e->word_ids[i] < 0)
            printf("%6s ", "-");
        else
            printf("%6d ", (int)e->word_ids[i]);
        printf("%6u-%-6u %6u-%-6u  ", e->offsets[i].start, e->offsets[i].end,
               e->offsets_utf8[i].start, e->offsets_utf8[i].end);
        print_token(e->tokens[i]);
        printf("%s\n", e->special_tokens[i] ? "  special" : "");
    }
    if (fflush(stdout) == 0 && !ferror(stdout)) return TIBA_OK;
    fprintf(stderr, "tiba-onnx: standard output: %s\n", strerror(errno));
    return TIBA_ERROR_RESOURCE;
}

/* One request. */
static tiba_status read_request(tb_text *text, tb_text *pair, tb_encode_options *how,
                                tb_arena *arena, const char *line, size_t size, tiba_error *error) {
    static const char *const strategies[] = {"longest_first", "only_first", "only_second"};
    tb_json root;
    bool truncate;
    const char *strategy, *padding;
    TB_TRY(tb_json_parse(&root, arena, "request", line, size, NULL, error));
    TB_TRY(tb_json_need_object(&root, error));
    tb_json first = tb_json_get(&root, "text"), second = tb_json_get(&root, "pair");
    *how = (tb_encode_options){0};
    *pair = (tb_text){0};
    TB_TRY(tb_json_as_text(text, arena, &first, error));
    if (!tb_json_absent(&second)) TB_TRY(tb_json_as_text(pair, arena, &second, error));
    TB_TRY(tb_json_bool_or(&truncate, &root, "truncate", false, error));
    TB_TRY(tb_json_string_or(&strategy, &root, "strategy", strategies[0], error));
    TB_TRY(tb_json_integer_or(&how->max_length, &root, "max_length", 1, 1 << 22, 0, error));
    TB_TRY(tb_json_string_or(&padding, &root, "padding", NULL, error));
    for (int i = 0; i < 3; i++)
        if (strcmp(strategies[i], strategy) == 0)
            how->truncation = (tb_truncation)(TB_TRUNCATE_LONGEST_FIRST + i);
    if (!how->truncation)
        return tb_json_fail(error, &root, "strategy \"%.32s\" is not supported", strategy);
    if (!truncate) how->truncation = TB_TRUNCATE_NOT;
    how->pad = padding != NULL;
    if (padding && strcmp(padding, "max_length") != 0)
        return tb_json_fail(error, &root, "padding \"%.32s\" is not supported", padding);
    return TIBA_OK;
}

static int answer(const tb_tokenizer *tokenizer, tb_budget *budget, const char *line, size_t size) {
    tiba_error error = {0};
    tb_encoding encoding;
    tb_text text, pair;
    tb_encode_options how;
    tb_arena *arena = tb_arena_create(budget);
    tiba_status status = arena ? read_request(&text, &pair, &how, arena, line, size, &error)
                               : tb_out_of_memory(&error);
    if (status == TIBA_OK)
        status = tb_tokenizer_encode(&encoding, tokenizer, arena, text, &pair, &how, &error);
    int code = status == TIBA_OK ? print_json(&encoding) : complain(&error);
    tb_arena_destroy(arena);
    return code;
}

/* Reads a line of any length up to the limit; false at the end. */
static bool read_line(char **line, size_t *size, size_t *capacity, bool *failed) {
    int c;
    *size = 0;
    while ((c = getc(stdin)) != EOF && c != '\n') {
        if (*size + 1 >= *capacity) {
            size_t larger = *capacity ? *capacity * 2 : 4096;
            char *fresh = larger > MAX_LINE ? NULL : tb_realloc(NULL, *line, larger);
            if (!fresh) {
                *failed = true;
                return false;
            }
            *line = fresh;
            *capacity = larger;
        }
        (*line)[(*size)++] = (char)c;
    }
    return c != EOF || *size > 0;
}

static int answer_lines(const tb_tokenizer *tokenizer, tb_budget *budget) {
    char *line = NULL;
    size_t size = 0, capacity = 0;
    bool failed = false;
    int code = TIBA_OK;
    while (code == TIBA_OK && read_line(&line, &size, &capacity, &failed))
        if (size > 0) code = answer(tokenizer, budget, line, size);
    if (failed) {
        fprintf(stderr, "tiba-onnx: a line of more than %zu bytes on standard input\n", capacity);
        code = TIBA_ERROR_INPUT;
    }
    tb_free(line);
    return code;
}

static void print_help(void) {
    puts("tiba-onnx tokenize FOLDER TEXT [options]\n"
         "tiba-onnx tokenize FOLDER --jsonl\n\n"
         "Prints the tokens that the tokenizer in FOLDER (or a tokenizer.json) makes of a\n"
         "text. With --jsonl a line of standard input is {\"text\": …, \"pair\": …,\n"
         "\"truncate\": bool, \"strategy\": \"longest_first|only_first|only_second\",\n"
         "\"max_length\": N, \"padding\": \"max_length\"}; all but the text may be left out.\n");
    tb_arguments_help(table);
}

static tiba_status encode_one(tb_encoding *out, const tb_tokenizer *tokenizer, tb_arena *arena,
                              const options *o, const char *text, tiba_error *error) {
    tb_text pair = {o->pair, o->pair ? strlen(o->pair) : 0};
    tb_encode_options how = {.max_length = o->max_length, .refuse_long = true};
    if (o->truncate) how.truncation = TB_TRUNCATE_LONGEST_FIRST;
    return tb_tokenizer_encode(out, tokenizer, arena, (tb_text){text, strlen(text)}, &pair, &how,
                               error);
}

static int run(tb_arena *arena, tb_budget *budget, int argc, char **argv) {
    options o = {0};
    tb_texts rest = {0};
    tiba_error error = {0};
    tb_tokenizer *tokenizer;
    tb_encoding encoding;
    if (tb_arguments_parse(&o, table, arena, argc, argv, &rest, &error) != TIBA_OK)
        return complain(&error);
    if (o.help) {
        print_help();
        return TIBA_OK;
    }
    if (rest.count != (o.jsonl ? 1 : 2)) {
        tb_fail(&error, TIBA_ERROR_USAGE, "tokenize takes a folder and %s; see --help",
                o.jsonl ? "with --jsonl nothing else" : "a text");
        return complain(&error);
    }
    if (tb_tokenizer_open(&tokenizer, rest.items[0], budget, &error) != TIBA_OK)
        return complain(&error);
    int code;
    if (o.jsonl)
        code = answer_lines(tokenizer, budget);
    else if (encode_one(&encoding, tokenizer, arena, &o, rest.items[1], &error) != TIBA_OK)
        code = complain(&error);
    else
        code = o.json ? print_json(&encoding) : print_table(&encoding);
    tb_tokenizer_close(tokenizer);
    return code;
}

int tb_cmd_tokenize(int argc, char **argv) {
    tb_budget budget = {.limit = memory_limit};
    tb_arena *arena = tb_arena_create(&budget);
    if (!arena) return TIBA_ERROR_RESOURCE;
    int code = run(arena, &budget, argc, argv);
    tb_arena_destroy(arena);
    return code;
}
