/*
 * tok_model.c: the models WordPiece and WordLevel, and the table of all model types. Byte pair
 * encoding and Unigram have files of their own.
 */
#include <stdio.h>
#include <string.h>

#include "io/tok_parts.h"

uint32_t tb_model_byte_id(const tb_vocab *vocab, unsigned char byte) {
    char text[8];
    snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    return tb_vocab_find(vocab, text, 6);
}

tiba_status tb_model_read_vocab(tb_model *model, tb_tok_loader *loader, const tb_json *json) {
    TB_TRY(tb_json_need_object(json, loader->error));
    size_t count = tb_json_count(json);
    /* Gaps between ids happen; an id far beyond the entries is a broken file. */
    size_t ids = count * 2 + 65536;
    TB_TRY(tb_vocab_create(&model->vocab, loader->arena, count, ids, loader->error));
    for (tb_json item = {0}; tb_json_next(&item, json);) {
        int64_t id;
        tb_text text;
        TB_TRY(tb_json_as_integer(&id, &item, 0, (int64_t)ids - 1, loader->error));
        TB_TRY(tb_json_key_text(&text, loader->arena, &item, loader->error));
        tiba_status status =
            tb_vocab_add(&model->vocab, loader->arena, text, (uint32_t)id, loader->error);
        if (status != TIBA_OK) return status;
    }
    return TIBA_OK;
}

/* WordPiece. */

typedef struct word_piece {
    const char *unknown, *prefix;
    size_t prefix_size;
    uint32_t unknown_id;
    size_t max_characters;
} word_piece;

static tiba_status push_unknown(const char *unknown, uint32_t id, const tb_tok_string *string,
                                tb_tok_work *work) {
    if (id == TB_NO_ID)
        return tb_fail(work->error, TIBA_ERROR_INPUT,
                       "the vocabulary has no piece for a word of the text and no unknown token "
                       "\"%.64s\"",
                       unknown);
    tb_tok_token token = {id, 0, string->size, (uint32_t)strlen(unknown), unknown};
    return tb_tok_push_token(work, token);
}

static tiba_status tokenize_word_piece(const void *data, const tb_vocab *vocab,
                                       const tb_tok_string *string, tb_tok_work *work) {
    const word_piece *wp = data;
    size_t first = work->token_count;
    if (tb_utf8_count(string->text, string->size) > wp->max_characters)
        return push_unknown(wp->unknown, wp->unknown_id, string, work);
    char *buffer = tb_tok_scratch(work, wp->prefix_size + vocab->longest + 4);
    if (!buffer) return tb_out_of_memory(work->error);
    memcpy(buffer, wp->prefix, wp->prefix_size);
    for (size_t start = 0; start < string->size;) {
        size_t prefix = start > 0 ? wp->prefix_size : 0, end = string->size;
        uint32_t id = TB_NO_ID;
        if (end - start > vocab->longest) {
            end = start + vocab->longest;
            while (end > start && ((unsigned char)string->text[end] & 0xc0) == 0x80) end--;
        }
        memcpy(buffer + wp->prefix_size, string->text + start, end - start);
        while (end > start) {
            id = tb_vocab_find(vocab, buffer + wp->prefix_size - prefix, prefix + end - start);
            if (id != TB_NO_ID) break;
            tb_utf8_previous(string->text, &end);
        }
        if (id == TB_NO_ID) {
            work->token_count = first;
            return push_unknown(wp->unknown, wp->unknown_id, string, work);
        }
        tb_text text = tb_vocab_text(vocab, id);
        tb_tok_token token = {id, (uint32_t)start, (uint32_t)end, (uint32_t)text.size, text.data};
        TB_TRY(tb_tok_push_token(work, token));
        start = end;
    }
    return TIBA_OK;
}

tiba_status tb_word_piece_create(tb_model *model, tb_tok_loader *loader, const char *unknown,
                                 const char *prefix, int64_t max_characters) {
    word_piece *wp = TB_NEW(loader->arena, word_piece, 1);
    if (!wp) return tb_out_of_memory(loader->error);
    wp->unknown = tb_arena_strdup(loader->arena, unknown);
    wp->prefix = tb_arena_strdup(loader->arena, prefix);
    if (!wp->unknown || !wp->prefix) return tb_out_of_memory(loader->error);
    wp->prefix_size = strlen(prefix);
    wp->unknown_id = tb_vocab_find(&model->vocab, unknown, strlen(unknown));
    wp->max_characters = (size_t)max_characters;
    model->type = "WordPiece";
    model->data = wp;
    model->tokenize = tokenize_word_piece;
    return TIBA_OK;
}

static tiba_status parse_word_piece(tb_model *model, tb_tok_loader *loader, const tb_json *json) {
    const char *unknown, *prefix;
    int64_t characters;
    TB_TRY(tb_part_members(
        json, "unk_token continuing_subword_prefix max_input_chars_per_word vocab", loader->error));
    TB_TRY(tb_json_string_or(&unknown, json, "unk_token", "[UNK]", loader->error));
    TB_TRY(tb_json_string_or(&prefix, json, "continuing_subword_prefix", "##", loader->error));
    TB_TRY(tb_json_integer_or(&characters, json, "max_input_chars_per_word", 0, INT64_MAX, 100,
                              loader->error));
    tb_json vocab = tb_json_get(json, "vocab");
    TB_TRY(tb_model_read_vocab(model, loader, &vocab));
    return tb_word_piece_create(model, loader, unknown, prefix, characters);
}

/* WordLevel: a piece is a word of the vocabulary or unknown. */

static tiba_status tokenize_word_level(const void *data, const tb_vocab *vocab,
                                       const tb_tok_string *string, tb_tok_work *work) {
    const word_piece *wl = data;
    uint32_t id = tb_vocab_find(vocab, string->text, string->size);
    if (id == TB_NO_ID) return push_unknown(wl->unknown, wl->unknown_id, string, work);
    tb_text text = tb_vocab_text(vocab, id);
    return tb_tok_push_token(work,
                             (tb_tok_token){id, 0, string->size, (uint32_t)text.size, text.data});
}

static tiba_status parse_word_level(tb_model *model, tb_tok_loader *loader, const tb_json *json) {
    const char *unknown;
    TB_TRY(tb_part_members(json, "unk_token vocab", loader->error));
    TB_TRY(tb_json_string_or(&unknown, json, "unk_token", "<unk>", loader->error));
    tb_json vocab = tb_json_get(json, "vocab");
    TB_TRY(tb_model_read_vocab(model, loader, &vocab));
    TB_TRY(tb_word_piece_create(model, loader, unknown, "", 0));
    model->type = "WordLevel";
    model->tokenize = tokenize_word_level;
    return TIBA_OK;
}

static const struct model_type {
    const char *name;
    tiba_status (*parse)(tb_model *model, tb_tok_loader *loader, const tb_json *json);
} types[] = {
    {"BPE", tb_bpe_parse},
    {"Unigram", tb_unigram_parse},
    {"WordLevel", parse_word_level},
    {"WordPiece", parse_word_piece},
};

/* Old files do not name the type: the members tell. */
static const char *guess_type(const tb_json *json) {
    tb_json merges = tb_json_get(json, "merges"), vocab = tb_json_get(json, "vocab");
    tb_json characters = tb_json_get(json, "max_input_chars_per_word");
    if (!tb_json_absent(&merges)) return "BPE";
    if (tb_json_kind_of(&vocab) == TB_JSON_ARRAY) return "Unigram";
    return tb_json_absent(&characters) ? "WordLevel" : "WordPiece";
}

tiba_status tb_model_parse(tb_model *out, tb_tok_loader *loader, const tb_json *json) {
    const char *type;
    TB_TRY(tb_json_need_object(json, loader->error));
    TB_TRY(tb_json_string_or(&type, json, "type", guess_type(json), loader->error));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0) {
            out->type = types[i].name;
            return types[i].parse(out, loader, json);
        }
    return tb_json_fail(loader->error, json, "model \"%.64s\" is not supported", type);
}

void tb_model_destroy(tb_model *model) {
    tb_trie_destroy(&model->trie);
}
