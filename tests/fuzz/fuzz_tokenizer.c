/*
 * A text with '{' in front is a tokenizer.json, which then encodes a few texts; any other is
 * encoded by tokenizers that are sound.
 */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const sound[] = {
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":"
    "\"BertNormalizer\"},{\"type\":\"NFC\"}]},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"a\":1,\"##a\":2,\"e\":3}}}",
    "{\"added_tokens\":[{\"id\":9,\"content\":\" x\",\"lstrip\":true,\"rstrip\":true,"
    "\"single_word\":true}],\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"}"
    ","
    "\"content\":\" \"},\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"post_processor\":{\"type\":"
    "\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"u\":2},\"unk_token\":"
    "\"u\",\"merges\":[\"a a\"]}}",
    ("{\"pre_tokenizer\":{\"type\":\"Metaspace\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
     "\"vocab\":[[\"u\",0],[\"a\",-1],[\"ab\",-1.5]]}}"),
};

static void encode(const tb_tokenizer *tokenizer, tb_budget *budget, const char *text,
                   size_t size) {
    static const tb_encode_options options[] = {
        {0},
        {.truncation = TB_TRUNCATE_LONGEST_FIRST, .max_length = 8},
        {.pad = true, .max_length = 9}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        tb_arena *arena = tb_arena_create(budget);
        tiba_error error = {0};
        tb_encoding e;
        tb_text pair = {text, i == 1 ? size : 0};
        tiba_status status = tb_tokenizer_encode(&e, tokenizer, arena, (tb_text){text, size}, &pair,
                                                 &options[i], &error);
        if (status != TIBA_OK && !error.message[0]) abort();
        for (size_t k = 0; status == TIBA_OK && k < e.count; k++) {
            bool good = e.ids[k] >= 0 && (size_t)e.ids[k] < tb_tokenizer_vocab_size(tokenizer) &&
                        e.offsets_utf8[k].start <= e.offsets_utf8[k].end &&
                        e.offsets_utf8[k].end <= size &&
                        tb_utf8_valid(e.tokens[k].data, e.tokens[k].size, NULL);
            if (!good) abort();
        }
        tb_arena_destroy(arena);
    }
}

static void run(const char *file, size_t file_size, const char *text, size_t size) {
    tb_budget budget = {.limit = (size_t)256 << 20};
    tb_tokenizer *tokenizer;
    tiba_error error = {0};
    if (tb_tokenizer_parse(&tokenizer, file, file_size, &budget, &error) == TIBA_OK) {
        encode(tokenizer, &budget, text, size);
        tb_tokenizer_close(tokenizer);
    } else if (!error.message[0]) {
        abort();
    }
    if (budget.used != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] =
        "  The caf\xc3\xa9 e\xcc\x81\xcc\xa3 \xef\xbc\xa1\xe2\x91\xa0 can't 12345\r\n"
        "\xe4\xbd\xa0\xe5\xa5\xbd <s> aaab \xf0\x9f\x98\x80\xe2\x80\x8d";
    const char *bytes = (const char *)data;
    if (size > 0 && bytes[0] == '{') {
        run(bytes, size, text, sizeof text - 1);
        return 0;
    }
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++)
        run(sound[i], strlen(sound[i]), bytes, size);
    return 0;
}
