/*
 * The tokenizers against the library's results: small folders and tokenizers of every part in
 * data/tok, and all of the shared folders where they are present; then refusals and limits.
 */
#include "io/tokenizer.h"

#include <stdlib.h>

#include "base/file.h"
#include "check.h"
#include "io/tok_regex.h"
#include "tests/support.h"

static const char *const strategies[] = {"", "longest_first", "only_first", "only_second"};

/* Whether the JSON array `key` of a case is the given numbers, `width` of them an element. */
static bool same_numbers(const tb_json *expected, const char *key, const int64_t *values,
                         size_t count, size_t width) {
    tb_json list = tb_json_get(expected, key);
    size_t n = 0;
    if (tb_json_count(&list) * width != count) return false;
    for (tb_json item = {0}; tb_json_next(&item, &list);) {
        tb_json part = {0};
        for (size_t k = 0; k < width; k++, n++) {
            int64_t number = -1;
            if (width > 1 && !tb_json_next(&part, &item)) return false;
            const tb_json *at = width > 1 ? &part : &item;
            if (!tb_json_absent(at) &&
                tb_json_as_integer(&number, at, 0, INT32_MAX, NULL) != TIBA_OK)
                return false;
            if (number != values[n]) return false;
        }
    }
    return n == count;
}

static bool same_offsets(const tb_json *expected, const char *key, tb_arena *arena,
                         const tb_offsets *offsets, size_t count) {
    tb_json list = tb_json_get(expected, key);
    if (tb_json_absent(&list)) return true;
    int64_t *flat = TB_NEW(arena, int64_t, count * 2);
    for (size_t i = 0; i < count; i++) {
        flat[2 * i] = offsets[i].start;
        flat[2 * i + 1] = offsets[i].end;
    }
    return same_numbers(expected, key, flat, count * 2, 2);
}

static bool same_tokens(const tb_json *expected, tb_arena *arena, const tb_encoding *e) {
    tb_json list = tb_json_get(expected, "tokens");
    size_t n = 0;
    for (tb_json item = {0}; tb_json_next(&item, &list); n++) {
        tb_text text;
        if (n >= e->count || tb_json_as_text(&text, arena, &item, NULL) != TIBA_OK ||
            text.size != e->tokens[n].size || memcmp(text.data, e->tokens[n].data, text.size) != 0)
            return false;
    }
    return n == e->count;
}

/* What differs, NULL if nothing does. */
static const char *difference(const tb_json *c, tb_arena *arena, const tb_encoding *e) {
    int64_t *special = TB_NEW(arena, int64_t, e->count), *words = TB_NEW(arena, int64_t, e->count);
    for (size_t i = 0; i < e->count; i++) {
        special[i] = e->special_tokens[i];
        words[i] = e->word_ids[i];
    }
    if (!same_numbers(c, "ids", e->ids, e->count, 1)) return "ids";
    if (!same_numbers(c, "type_ids", e->type_ids, e->count, 1)) return "type_ids";
    if (!same_numbers(c, "attention_mask", e->attention_mask, e->count, 1)) return "attention_mask";
    if (!same_numbers(c, "word_ids", words, e->count, 1)) return "word_ids";
    if (!same_numbers(c, "special_tokens_mask", special, e->count, 1)) return "special_tokens_mask";
    if (!same_offsets(c, "offsets", arena, e->offsets, e->count)) return "offsets";
    if (!same_offsets(c, "offsets_utf8", arena, e->offsets_utf8, e->count)) return "offsets_utf8";
    return same_tokens(c, arena, e) ? NULL : "tokens";
}

static void run_case(const tb_tokenizer *tokenizer, const tb_json *c, const char *name,
                     size_t number, tb_budget *budget) {
    tb_arena *arena = tb_arena_create(budget);
    tiba_error error = {0};
    tb_encoding encoding;
    tb_encode_options options = {0};
    tb_text text = {0}, pair = {0};
    tb_json first = tb_json_get(c, "text"), second = tb_json_get(c, "pair");
    bool truncate = false;
    const char *strategy = NULL, *padding = NULL;
    tiba_status status = tb_json_as_text(&text, arena, &first, &error);
    if (status == TIBA_OK && !tb_json_absent(&second))
        status = tb_json_as_text(&pair, arena, &second, &error);
    if (status == TIBA_OK) status = tb_json_bool_or(&truncate, c, "truncate", false, &error);
    if (status == TIBA_OK)
        status = tb_json_string_or(&strategy, c, "strategy", strategies[1], &error);
    if (status == TIBA_OK) status = tb_json_string_or(&padding, c, "padding", NULL, &error);
    if (status == TIBA_OK)
        status = tb_json_integer_or(&options.max_length, c, "max_length", 1, 100000, 0, &error);
    for (int i = 1; i < 4 && truncate && status == TIBA_OK; i++)
        if (strcmp(strategies[i], strategy) == 0) options.truncation = (tb_truncation)i;
    options.pad = padding != NULL;
    if (status == TIBA_OK)
        status = tb_tokenizer_encode(&encoding, tokenizer, arena, text, &pair, &options, &error);
    CHECK_CASE(status == TIBA_OK, "%s case %zu: %s", name, number, error.message);
    const char *what = status == TIBA_OK ? difference(c, arena, &encoding) : NULL;
    CHECK_CASE(!what, "%s case %zu: %s", name, number, what ? what : "");
    tb_arena_destroy(arena);
}

static void run_folder(const char *folder) {
    tb_budget budget = {0};
    tiba_error error = {0};
    tb_tokenizer *tokenizer = NULL;
    tb_json root;
    char path[2048];
    tb_arena *arena = tb_arena_create(&budget);
    snprintf(path, sizeof path, "%s/cases.json", folder);
    tiba_status status = tb_tokenizer_open(&tokenizer, folder, &budget, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", folder, error.message);
    if (status == TIBA_OK) {
        status = tb_json_read(&root, arena, path, NULL, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", folder, error.message);
    }
    size_t number = 0;
    if (status == TIBA_OK)
        for (tb_json item = {0}; tb_json_next(&item, &root); number++)
            run_case(tokenizer, &item, folder, number, &budget);
    CHECK_CASE(number > 10, "%s: %zu cases", folder, number);
    tb_tokenizer_close(tokenizer);
    tb_arena_destroy(arena);
    CHECK(budget.used == 0);
}

static void test_shared(void) {
    static const char *const names[] = {"albert",
                                        "bert_cased",
                                        "bert_chinese",
                                        "bert_uncased",
                                        "bert_vocab_only",
                                        "clip",
                                        "deberta_v3",
                                        "distilbert",
                                        "gpt2",
                                        "electra_added_tokens",
                                        "llama3",
                                        "llama2_bytefallback",
                                        "modernbert",
                                        "mpnet",
                                        "roberta",
                                        "xlm_roberta",
                                        "roberta_merges_only",
                                        "t5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64], path[2048];
        snprintf(name, sizeof name, "io/tok/%s/cases.json", names[i]);
        if (!test_shared_path(path, sizeof path, name)) continue;
        *strrchr(path, '/') = '\0';
        run_folder(path);
    }
}

/* Lines of {"tokenizer": …, "cases": […]}: one of every part. */
static void test_parts(void) {
    tb_file file;
    tiba_error error = {0};
    size_t number = 0;
    CHECK(tb_file_open(&file, TEST_DATA "/tok/parts.jsonl", &error) == TIBA_OK);
    const char *text = (const char *)file.data, *end = text + file.size;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *body = strstr(text, "\"tokenizer\":"), *cases = strstr(text, ",\"cases\":[");
        if (!stop) stop = end;
        char name[32];
        snprintf(name, sizeof name, "parts line %zu", ++number);
        CHECK(body && cases && cases < stop);
        if (!body || !cases || cases >= stop) break;
        tb_budget budget = {0};
        tb_tokenizer *tokenizer = NULL;
        tb_arena *arena = tb_arena_create(&budget);
        tb_json root;
        body += strlen("\"tokenizer\":");
        tiba_status status =
            tb_tokenizer_parse(&tokenizer, body, (size_t)(cases - body), &budget, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", name, error.message);
        if (status == TIBA_OK)
            status = tb_json_parse(&root, arena, name, text, (size_t)(stop - text), NULL, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", name, error.message);
        if (status == TIBA_OK) {
            tb_json list = tb_json_get(&root, "cases");
            size_t n = 0;
            for (tb_json item = {0}; tb_json_next(&item, &list); n++)
                run_case(tokenizer, &item, name, n, &budget);
        }
        tb_tokenizer_close(tokenizer);
        tb_arena_destroy(arena);
        CHECK(budget.used == 0);
        text = stop + 1;
    }
    CHECK(number > 50);
    tb_file_close(&file);
}

#define MODEL "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1}}"

/* Files that are refused, and what the line says. */
static void test_refusals(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "tokenizer.json: an array where an object belongs"},
        {"{}", "tokenizer.json: model: missing"},
        {"{\"model\":{\"type\":\"Markov\"}}",
         "tokenizer.json: model: model \"Markov\" is not supported"},
        {"{\"normalizer\":{\"type\":\"Reverse\"}," MODEL "}",
         "tokenizer.json: normalizer: normalizer \"Reverse\" is not supported"},
        {"{\"normalizer\":{\"type\":\"NFC\",\"more\":1}," MODEL "}",
         "tokenizer.json: normalizer.more: not supported"},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
         "\"UnicodeScripts\"}]}," MODEL "}",
         "tokenizer.json: pre_tokenizer.pretokenizers[0]: pre-tokenizer \"UnicodeScripts\" is not "
         "supported"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
         "\"Isolated\"}," MODEL "}",
         "pattern: regular expression \"(\": missing closing parenthesis"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":"
         "\"Kept\"}," MODEL "}",
         "tokenizer.json: pre_tokenizer: behavior \"Kept\" is not supported"},
        {"{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"c\",7],\"sep\":[\"s\",1]}"
         "," MODEL "}",
         "post_processor: \"c\" has id 7, beyond the vocabulary of 2"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":0}}}",
         "vocabulary: id 0 belongs to \"a\" and \"b\""},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":4000000000}}}",
         "tokenizer.json: model.vocab.a: 4000000000 is outside 0 to 65537"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1}}}",
         "tokenizer.json: model.vocab.a: -1 is outside 0 to 65537"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"a\":1}}}",
         "tokenizer.json: model.vocab: duplicate key \"a\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
         "merge 0: \"b\" is not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}",
         "merge 0: \"aa\" is not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
         "tokenizer.json: model.merges[0]: not two texts with a space between"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.5,\"vocab\":{},\"merges\":[]}}",
         "tokenizer.json: model: dropout 0.5 is not supported"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}",
         "tokenizer.json: model.unk_id: 1 is outside 0 to 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}",
         "tokenizer.json: model.vocab[0][1]: a string where a number belongs"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}," MODEL
         "}",
         "tokenizer.json: normalizer.precompiled_charsmap: double array beyond the map's 4 bytes"},
        {"{\"added_tokens\":[{\"id\":99999999,\"content\":\"x\"}]," MODEL "}",
         "tokenizer.json: added_tokens[0]: id 99999999 is far beyond the vocabulary of 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_budget budget = {.limit = 64 << 20};
        tiba_error error = {0};
        tb_tokenizer *tokenizer = NULL;
        CHECK_CASE(tb_tokenizer_parse(&tokenizer, cases[i].text, strlen(cases[i].text), &budget,
                                      &error) == TIBA_ERROR_INPUT,
                   "%s", cases[i].text);
        CHECK_STRING(error.message, cases[i].message);
        tb_tokenizer_close(tokenizer);
        CHECK(budget.used == 0);
    }
}

static void test_patterns(void) {
    static const struct {
        const char *pattern, *message; /* NULL: accepted */
    } cases[] = {
        {"a(?:b|c)*[^d]\\x41\\u00e9", NULL},
        {"\\s+(?!\\S)", NULL},
        {"[a&&b]", "regular expression: class intersection \"[a\" at byte 0 is not supported"},
        {"[a[b]]", "regular expression: nested class \"[a\" at byte 0 is not supported"},
        {"\\p{Klingon}",
         "regular expression: property \"\\p{Klingon}\" at byte 0 is not supported"},
        {"\\R", "regular expression: escape \"\\R\" at byte 0 is not supported"},
        {"(?i:\\p{Lu})",
         "regular expression: case-insensitive property \"\\p{Lu}\" at byte 4 is not supported"},
        {"a{2}+", "regular expression: repeated interval \"+\" at byte 4 is not supported"},
        {"(?P<n>a)", "regular expression: group \"(?\" at byte 0 is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiba_error error = {0};
        tb_regex *regex = NULL;
        tiba_status status =
            tb_regex_create(&regex, NULL, cases[i].pattern, strlen(cases[i].pattern), &error);
        CHECK_CASE((status == TIBA_OK) == !cases[i].message, "%s", error.message);
        if (cases[i].message) CHECK_STRING(error.message, cases[i].message);
        tb_regex_destroy(regex);
    }
}

/* Texts that are refused, and words so long that anything quadratic would be felt. */
static void test_texts(void) {
    tb_budget budget = {.limit = (size_t)1 << 30};
    tiba_error error = {0};
    tb_tokenizer *bert = NULL, *roberta = NULL;
    tb_encoding encoding;
    enum { BIG = 10 << 20, LONG = 1 << 18 };
    char *word = malloc(BIG);
    memset(word, 'a', BIG);
    CHECK(tb_tokenizer_open(&bert, TEST_DATA "/tok/bert_vocab_only", &budget, &error) == TIBA_OK);
    CHECK(tb_tokenizer_open(&roberta, TEST_DATA "/tok/roberta_merges_only", &budget, &error) ==
          TIBA_OK);
    tb_arena *arena = tb_arena_create(&budget);
    CHECK(tb_tokenizer_encode(&encoding, bert, arena, (tb_text){word, BIG}, NULL, NULL, &error) ==
          TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "a text of 10485760 bytes, more than the limit of 4194304");
    CHECK(tb_tokenizer_encode(&encoding, bert, arena, (tb_text){word, LONG}, NULL, NULL, &error) ==
              TIBA_OK &&
          encoding.count == 3);
    CHECK(tb_tokenizer_encode(&encoding, roberta, arena, (tb_text){word, LONG}, NULL, NULL,
                              &error) == TIBA_OK &&
          encoding.count > 1000);
    tb_encode_options options = {.refuse_long = true};
    CHECK(tb_tokenizer_encode(&encoding, roberta, arena, (tb_text){"a b c d", 7}, NULL, &options,
                              &error) == TIBA_OK);
    options.max_length = 4;
    CHECK(tb_tokenizer_encode(&encoding, roberta, arena, (tb_text){"a b c d", 7}, NULL, &options,
                              &error) == TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "the text gives 6 tokens, 2 more than the limit of 4: shorten it "
                                "or give --truncate");
    options.truncation = TB_TRUNCATE_LONGEST_FIRST;
    CHECK(tb_tokenizer_encode(&encoding, roberta, arena, (tb_text){"a b c d", 7}, NULL, &options,
                              &error) == TIBA_OK &&
          encoding.count == 4);
    options.max_length = 1;
    CHECK(tb_tokenizer_encode(&encoding, roberta, arena, (tb_text){"a", 1}, NULL, &options,
                              &error) == TIBA_ERROR_USAGE);
    CHECK(tb_tokenizer_encode(&encoding, bert, arena, (tb_text){"a\xff", 2}, NULL, NULL, &error) ==
          TIBA_ERROR_INPUT);
    CHECK_STRING(error.message, "the text is not valid UTF-8 at byte 1");
    CHECK(tb_tokenizer_max_length(bert) == 64 && tb_tokenizer_vocab_size(bert) == 3000 &&
          tb_tokenizer_pad_id(bert) == 0);
    tb_arena_destroy(arena);
    tb_tokenizer_close(bert);
    tb_tokenizer_close(roberta);
    CHECK(budget.used == 0);
    CHECK(tb_tokenizer_open(&bert, TEST_DATA "/nowhere", &budget, &error) == TIBA_ERROR_INPUT);
    free(word);
}

/* A memory limit ends every reading and encoding with an error, wherever it strikes. */
static void test_memory(void) {
    for (size_t limit = 1000; limit < 20000000; limit += limit / 3) {
        tb_budget budget = {.limit = limit};
        tiba_error error = {0};
        tb_tokenizer *tokenizer = NULL;
        tb_encoding encoding;
        tiba_status status =
            tb_tokenizer_open(&tokenizer, TEST_DATA "/tok/electra_added_tokens", &budget, &error);
        tb_arena *arena = tb_arena_create(&budget);
        if (status == TIBA_OK && arena)
            status = tb_tokenizer_encode(&encoding, tokenizer, arena, (tb_text){"a good film", 11},
                                         NULL, NULL, &error);
        CHECK(status == TIBA_OK || status == TIBA_ERROR_RESOURCE);
        tb_arena_destroy(arena);
        tb_tokenizer_close(tokenizer);
        CHECK(budget.used == 0);
    }
}

int main(void) {
    run_folder(TEST_DATA "/tok/bert_vocab_only");
    run_folder(TEST_DATA "/tok/roberta_merges_only");
    run_folder(TEST_DATA "/tok/electra_added_tokens");
    test_parts();
    test_shared();
    test_refusals();
    test_patterns();
    test_texts();
    test_memory();
    TEST_END();
}
