/*
 * tok_unigram.c: the Unigram model (Kudo 2018): the segmentation whose pieces have the largest sum
 * of scores, by dynamic programming over the ends of pieces. Sums are doubles, left to right, and
 * only a strictly better one replaces another, so ties fall as in the library.
 */
#include <math.h>
#include <string.h>

#include "io/tok_parts.h"

typedef struct unigram {
    double *scores; /* by id */
    double unknown_score;
    uint32_t unknown_id; /* TB_NO_ID: none */
    bool byte_fallback;
    const tb_trie *trie;
} unigram;

/* The best way to reach an offset. */
typedef struct best {
    double score;
    uint32_t from, id; /* from NONE: not reached */
} best;

enum { NONE = UINT32_MAX };

static void offer(best *node, double score, size_t from, uint32_t id) {
    if (node->from == NONE || score > node->score) *node = (best){score, (uint32_t)from, id};
}

static tiba_status no_unknown(tb_tok_work *work) {
    return tb_fail(work->error, TIBA_ERROR_INPUT,
                   "the vocabulary has no piece for a character of the text and no unknown token");
}

static tiba_status find_best(const unigram *u, best *nodes, const tb_tok_string *string,
                             tb_tok_work *work) {
    for (size_t i = 0; i <= string->size; i++) nodes[i] = (best){0, NONE, 0};
    for (size_t at = 0; at < string->size;) {
        size_t next = at, end = at;
        bool single = false;
        uint32_t node = 0;
        tb_utf8_next(string->text, &next);
        while (end < string->size) {
            node = tb_trie_step(u->trie, node, (unsigned char)string->text[end]);
            if (!node) break;
            end++;
            uint32_t id = tb_trie_value(u->trie, node);
            if (id == TB_NO_ID) continue;
            offer(&nodes[end], u->scores[id] + nodes[at].score, at, id);
            single |= end == next;
        }
        if (!single) {
            if (u->unknown_id == TB_NO_ID) return no_unknown(work);
            offer(&nodes[next], u->unknown_score + nodes[at].score, at, u->unknown_id);
        }
        at = next;
    }
    return TIBA_OK;
}

static tiba_status push_span(const unigram *u, const tb_vocab *vocab, const tb_tok_string *string,
                             size_t start, size_t end, tb_tok_work *work) {
    tb_tok_token token = {tb_vocab_find(vocab, string->text + start, end - start), (uint32_t)start,
                          (uint32_t)end, (uint32_t)(end - start), string->text + start};
    if (token.id != TB_NO_ID) return tb_tok_push_token(work, token);
    size_t known = u->byte_fallback ? start : end + 1;
    while (known < end && tb_model_byte_id(vocab, (unsigned char)string->text[known]) != TB_NO_ID)
        known++;
    if (known == end) {
        for (size_t i = start; i < end; i++) {
            token.id = tb_model_byte_id(vocab, (unsigned char)string->text[i]);
            tb_text text = tb_vocab_text(vocab, token.id);
            token.text = text.data;
            token.text_size = (uint32_t)text.size;
            TB_TRY(tb_tok_push_token(work, token));
        }
        return TIBA_OK;
    }
    if (u->unknown_id == TB_NO_ID) return no_unknown(work);
    token.id = u->unknown_id;
    return tb_tok_push_token(work, token);
}

static tiba_status tokenize_unigram(const void *data, const tb_vocab *vocab,
                                    const tb_tok_string *string, tb_tok_work *work) {
    const unigram *u = data;
    best *nodes = tb_tok_scratch(work, ((size_t)string->size + 1) * sizeof *nodes);
    if (!nodes) return tb_out_of_memory(work->error);
    TB_TRY(find_best(u, nodes, string, work));
    /* Turn the way back into a way forward: nodes[start].from becomes the end. */
    uint32_t end = string->size, next_end = NONE, next_id = 0;
    for (;;) {
        best here = nodes[end];
        nodes[end].from = next_end;
        nodes[end].id = next_id;
        if (end == 0) break;
        next_end = end;
        next_id = here.id;
        end = here.from;
    }
    for (uint32_t at = 0; at < string->size;) {
        uint32_t start = at;
        bool unknown = u->unknown_id != TB_NO_ID && nodes[at].id == u->unknown_id;
        at = nodes[at].from;
        while (unknown && at < string->size && nodes[at].id == u->unknown_id) at = nodes[at].from;
        TB_TRY(push_span(u, vocab, string, start, at, work));
    }
    return TIBA_OK;
}

tiba_status tb_unigram_parse(tb_model *model, tb_tok_loader *loader, const tb_json *json) {
    tiba_error *error = loader->error;
    unigram *u = TB_NEW(loader->arena, unigram, 1);
    if (!u) return tb_out_of_memory(error);
    TB_TRY(tb_part_members(json, "unk_id vocab byte_fallback", error));
    TB_TRY(tb_json_bool_or(&u->byte_fallback, json, "byte_fallback", false, error));
    tb_json vocab = tb_json_get(json, "vocab");
    TB_TRY(tb_json_need_array(&vocab, error));
    size_t count = tb_json_count(&vocab);
    int64_t unknown;
    TB_TRY(tb_json_integer_or(&unknown, json, "unk_id", 0, (int64_t)count - 1, -1, error));
    u->unknown_id = unknown < 0 ? TB_NO_ID : (uint32_t)unknown;
    u->scores = TB_NEW(loader->arena, double, count ? count : 1);
    if (!u->scores) return tb_out_of_memory(error);
    TB_TRY(tb_vocab_create(&model->vocab, loader->arena, count, count, error));
    double least = INFINITY;
    model->trie.budget = tb_arena_budget(loader->arena);
    u->trie = &model->trie;
    for (tb_json item = {0}; tb_json_next(&item, &vocab);) {
        tb_text text = {"", 0};
        double score = 0;
        int n = 0;
        TB_TRY(tb_json_need_array(&item, error));
        for (tb_json part = {0}; tb_json_next(&part, &item); n++) {
            if (n == 0) TB_TRY(tb_json_as_text(&text, loader->arena, &part, error));
            if (n == 1) TB_TRY(tb_json_as_number(&score, &part, error));
        }
        if (n != 2) return tb_json_fail(error, &item, "%d members, not [text, score]", n);
        uint32_t id = (uint32_t)item.index;
        u->scores[id] = score;
        if (score < least) least = score;
        TB_TRY(tb_vocab_add(&model->vocab, loader->arena, text, id, error));
        TB_TRY(tb_trie_add(&model->trie, text.data, text.size, id, false, error));
    }
    u->unknown_score = least - 10;
    model->type = "Unigram";
    model->data = u;
    model->tokenize = tokenize_unigram;
    return TIBA_OK;
}
