/*
 * tok_added.c: added tokens: found in the raw text, or in the normalised text, before anything
 * else cuts it; leftmost first, longest of those.
 */
#include <string.h>

#include "io/tok_core.h"

void tb_added_tokens_destroy(tb_added_tokens *added) {
    tb_trie_destroy(&added->by_content);
    tb_trie_destroy(&added->raw);
    tb_trie_destroy(&added->cooked);
}

static uint32_t walk(const tb_trie *trie, tb_text text) {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size; i++) {
        node = tb_trie_step(trie, node, (unsigned char)text.data[i]);
        if (!node) return TB_NO_ID;
    }
    return tb_trie_value(trie, node);
}

const tb_added_token *tb_added_tokens_find(const tb_added_tokens *added, tb_text content) {
    uint32_t index = walk(&added->by_content, content);
    return index == TB_NO_ID ? NULL : &added->items[index];
}

uint32_t tb_tokenizer_id(const tb_tokenizer *tokenizer, tb_text token) {
    const tb_added_token *added = tb_added_tokens_find(&tokenizer->added, token);
    return added ? added->id : tb_vocab_find(&tokenizer->model.vocab, token.data, token.size);
}

static bool same_flags(const tb_added_token *a, const tb_added_token *b) {
    return a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           a->normalized == b->normalized && a->special == b->special;
}

/* The id of a token that neither the vocabulary nor the added tokens have. */
static uint32_t next_id(const tb_tokenizer *tokenizer) {
    uint32_t size = (uint32_t)tokenizer->model.vocab.count;
    const tb_added_tokens *added = &tokenizer->added;
    return added->count > 0 && added->largest >= size ? added->largest + 1 : size;
}

static tiba_status append(tb_tokenizer *tokenizer, const tb_added_token *token, tiba_error *error) {
    tb_added_tokens *added = &tokenizer->added;
    if (added->count == added->capacity) {
        size_t larger = added->capacity ? added->capacity * 2 : 32;
        tb_added_token *items = TB_NEW(tokenizer->arena, tb_added_token, larger);
        if (!items) return tb_out_of_memory(error);
        if (added->count) memcpy(items, added->items, added->count * sizeof *items);
        added->items = items;
        added->capacity = larger;
    }
    tb_added_token copy = *token;
    copy.content.data =
        tb_arena_strndup(tokenizer->arena, token->content.data, token->content.size);
    if (!copy.content.data) return tb_out_of_memory(error);
    uint32_t known =
        tb_vocab_find(&tokenizer->model.vocab, token->content.data, token->content.size);
    copy.id = known != TB_NO_ID ? known : next_id(tokenizer);
    copy.listed_special = copy.raw = copy.cooked = false;
    added->by_content.budget = tb_arena_budget(tokenizer->arena);
    TB_TRY(tb_trie_add(&added->by_content, copy.content.data, copy.content.size,
                       (uint32_t)added->count, false, error));
    if (added->count == 0 || copy.id > added->largest) added->largest = copy.id;
    if (copy.content.size > added->longest) added->longest = copy.content.size;
    added->items[added->count++] = copy;
    return TIBA_OK;
}

tiba_status tb_added_tokens_add(tb_tokenizer *tokenizer, const tb_added_token *token,
                                tiba_error *error) {
    tb_added_tokens *added = &tokenizer->added;
    if (token->content.size == 0) return TIBA_OK;
    if (token->content.size > TB_TOK_MAX_ADDED_BYTES)
        return tb_fail(error, TIBA_ERROR_INPUT, "added token \"%.32s…\": %zu bytes, more than %d",
                       token->content.data, token->content.size, TB_TOK_MAX_ADDED_BYTES);
    uint32_t index = walk(&added->by_content, token->content);
    bool fresh = index == TB_NO_ID;
    if (fresh) {
        TB_TRY(append(tokenizer, token, error));
        index = (uint32_t)added->count - 1;
    }
    tb_added_token *item = &added->items[index];
    bool newly_special = token->special && !item->listed_special;
    if (newly_special) item->listed_special = true;
    /* How it is looked for is settled when it is first listed, what it swallows may change. */
    if (newly_special || (!item->listed_special && (fresh || !same_flags(item, token)))) {
        item->raw |= !token->normalized;
        item->cooked |= token->normalized;
    }
    item->single_word = token->single_word;
    item->lstrip = token->lstrip;
    item->rstrip = token->rstrip;
    item->normalized = token->normalized;
    item->special = token->special;
    return TIBA_OK;
}

tiba_status tb_added_token_read(tb_added_token *out, tb_arena *arena, const tb_json *json,
                                tiba_error *error) {
    *out = (tb_added_token){0};
    TB_TRY(tb_json_need_object(json, error));
    tb_json content = tb_json_get(json, "content");
    TB_TRY(tb_json_as_text(&out->content, arena, &content, error));
    TB_TRY(tb_json_bool_or(&out->special, json, "special", false, error));
    TB_TRY(tb_json_bool_or(&out->single_word, json, "single_word", false, error));
    TB_TRY(tb_json_bool_or(&out->lstrip, json, "lstrip", false, error));
    TB_TRY(tb_json_bool_or(&out->rstrip, json, "rstrip", false, error));
    return tb_json_bool_or(&out->normalized, json, "normalized", !out->special, error);
}

/* Searching. */

static bool word(uint32_t c) {
    return tb_unicode_has(TB_SET_RUST_WORD, c);
}

static bool space(uint32_t c) {
    return tb_unicode_has(TB_SET_WHITE_SPACE, c);
}

/* The longest token that starts at text[at]; its index and end. */
static uint32_t token_at(const tb_trie *trie, const tb_tok_string *s, size_t at, size_t *end) {
    uint32_t node = 0, found = TB_NO_ID;
    for (size_t i = at; i < s->size; i++) {
        node = tb_trie_step(trie, node, (unsigned char)s->text[i]);
        if (!node) break;
        uint32_t value = tb_trie_value(trie, node);
        if (value == TB_NO_ID) continue;
        found = value;
        *end = i + 1;
    }
    return found;
}

static bool stands_alone(const tb_tok_string *s, size_t start, size_t end) {
    if (start > 0) {
        size_t before = start;
        if (word(tb_utf8_previous(s->text, &before))) return false;
    }
    if (end < s->size && word(tb_utf8_next(s->text, &end))) return false;
    return true;
}

static tiba_status push_text(tb_tok_pieces *out, const tb_tok_string *s, size_t start, size_t end,
                             tb_tok_work *work) {
    tb_tok_piece piece = {.string = tb_tok_slice(s, start, end)};
    return tb_tok_push_piece(out, &piece, work);
}

static tiba_status push_added(tb_tok_pieces *out, const tb_tok_string *s, size_t start, size_t end,
                              uint32_t id, tb_tok_work *work) {
    if (start >= end) return TIBA_OK;
    tb_tok_piece piece = {.string = tb_tok_slice(s, start, end), .tokenized = true};
    tb_tok_token *token = TB_NEW(work->arena, tb_tok_token, 1);
    if (!token) return tb_out_of_memory(work->error);
    *token = (tb_tok_token){id, 0, piece.string.size, piece.string.size, piece.string.text};
    piece.tokens = token;
    piece.token_count = 1;
    return tb_tok_push_piece(out, &piece, work);
}

static tiba_status split(const tb_added_tokens *added, const tb_trie *trie, const tb_tok_string *s,
                         tb_tok_pieces *out, tb_tok_work *work) {
    size_t done = 0;
    for (size_t at = 0; at < s->size;) {
        size_t match_end = at;
        uint32_t index = trie->count ? token_at(trie, s, at, &match_end) : TB_NO_ID;
        if (index == TB_NO_ID) {
            if (!trie->count) break;
            at++;
            continue;
        }
        const tb_added_token *token = &added->items[index];
        size_t start = at, end = match_end;
        at = match_end;
        if (token->single_word && !stands_alone(s, start, end)) continue;
        while (token->lstrip && start > done) {
            size_t before = start;
            if (!space(tb_utf8_previous(s->text, &before)) || before < done) break;
            start = before;
        }
        if (token->lstrip && start < done) start = done; /* swallowed by the one before */
        while (token->rstrip && end < s->size) {
            size_t next = end;
            if (!space(tb_utf8_next(s->text, &next))) break;
            end = next;
        }
        if (done < start) TB_TRY(push_text(out, s, done, start, work));
        TB_TRY(push_added(out, s, start, end, token->id, work));
        done = end;
    }
    return done < s->size ? push_text(out, s, done, s->size, work) : TIBA_OK;
}

tiba_status tb_added_tokens_split(const tb_tokenizer *tokenizer, tb_tok_pieces *pieces,
                                  tb_tok_work *work) {
    tb_tok_pieces raw = {0}, out = {0};
    tb_tok_string text = pieces->items[0].string;
    tiba_status status = split(&tokenizer->added, &tokenizer->added.raw, &text, &raw, work);
    for (size_t i = 0; i < raw.count && status == TIBA_OK; i++) {
        tb_tok_piece *piece = &raw.items[i];
        if (piece->tokenized) {
            status = tb_tok_push_piece(&out, piece, work);
            continue;
        }
        status = tb_normalizer_apply(&tokenizer->normalizer, &piece->string, work);
        if (status == TIBA_OK && piece->string.size > 0)
            status = split(&tokenizer->added, &tokenizer->added.cooked, &piece->string, &out, work);
    }
    tb_free(raw.items);
    tb_free(pieces->items);
    *pieces = out;
    return status;
}

/* The content of a token as the normaliser leaves it. */
static tiba_status normalize_content(tb_text *out, const tb_tokenizer *tokenizer, tb_text content,
                                     tiba_error *error) {
    tb_tok_work work = {.budget = tb_arena_budget(tokenizer->arena), .error = error};
    work.arena = tb_arena_create(work.budget);
    if (!work.arena) return tb_out_of_memory(error);
    tb_tok_string string;
    tiba_status status = tb_tok_string_create(&string, content.data, (uint32_t)content.size, &work);
    if (status == TIBA_OK) status = tb_normalizer_apply(&tokenizer->normalizer, &string, &work);
    if (status == TIBA_OK) {
        out->size = string.size;
        out->data = tb_arena_strndup(tokenizer->arena, string.size ? string.text : "", string.size);
        if (!out->data) status = tb_out_of_memory(error);
    }
    tb_tok_work_free(&work);
    return status;
}

static tiba_status add_patterns(tb_tokenizer *tokenizer, bool special, tiba_error *error) {
    tb_added_tokens *added = &tokenizer->added;
    added->raw.budget = added->cooked.budget = tb_arena_budget(tokenizer->arena);
    for (size_t i = 0; i < added->count; i++) {
        const tb_added_token *item = &added->items[i];
        if (item->listed_special != special) continue;
        if (item->raw)
            TB_TRY(tb_trie_add(&added->raw, item->content.data, item->content.size, (uint32_t)i,
                               true, error));
        if (!item->cooked) continue;
        tb_text text = item->content;
        if (tokenizer->normalizer.count)
            TB_TRY(normalize_content(&text, tokenizer, item->content, error));
        if (text.size == 0)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "added token \"%.64s\": nothing is left of it by the normalizer",
                           item->content.data);
        TB_TRY(tb_trie_add(&added->cooked, text.data, text.size, (uint32_t)i, true, error));
    }
    return TIBA_OK;
}

static tiba_status check_template(const tb_tokenizer *tokenizer, const tb_template *template,
                                  tiba_error *error) {
    size_t size = tb_tokenizer_vocab_size(tokenizer);
    for (size_t i = 0; i < template->count; i++) {
        const tb_template_item *item = &template->items[i];
        if (item->kind == TB_ITEM_TOKEN && item->token_id >= size)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "post_processor: \"%.64s\" has id %u, beyond the vocabulary of %zu",
                           item->token.data, item->token_id, size);
    }
    return TIBA_OK;
}

tiba_status tb_added_tokens_prepare(tb_tokenizer *tokenizer, tiba_error *error) {
    TB_TRY(add_patterns(tokenizer, true, error));
    return add_patterns(tokenizer, false, error);
}

tiba_status tb_tokenizer_check(const tb_tokenizer *tokenizer, tiba_error *error) {
    TB_TRY(check_template(tokenizer, &tokenizer->post.single, error));
    return check_template(tokenizer, &tokenizer->post.pair, error);
}
