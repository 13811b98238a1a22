/*
 * tokenizer.c: a text through the parts of a tokenizer: added tokens, normaliser, pre-tokenizer,
 * model, truncation, template, padding.
 */
#include "io/tokenizer.h"

#include <string.h>

#include "base/file.h"
#include "io/tok_core.h"

enum { MAX_TEXT = 4 << 20 };

tb_tokenizer *tb_tokenizer_create(tb_budget *budget) {
    tb_arena *arena = tb_arena_create(budget);
    tb_tokenizer *tokenizer = arena ? TB_NEW(arena, tb_tokenizer, 1) : NULL;
    if (!tokenizer) {
        tb_arena_destroy(arena);
        return NULL;
    }
    tokenizer->arena = arena;
    tokenizer->max_length = INT64_MAX;
    return tokenizer;
}

void tb_tokenizer_close(tb_tokenizer *tokenizer) {
    if (!tokenizer) return;
    for (tb_regex_list *entry = tokenizer->regexes; entry; entry = entry->next)
        tb_regex_destroy(entry->regex);
    tb_model_destroy(&tokenizer->model);
    tb_added_tokens_destroy(&tokenizer->added);
    tb_arena_destroy(tokenizer->arena);
}

int64_t tb_tokenizer_max_length(const tb_tokenizer *tokenizer) {
    return tokenizer->max_length;
}

size_t tb_tokenizer_vocab_size(const tb_tokenizer *tokenizer) {
    size_t size = tokenizer->model.vocab.ids;
    if (tokenizer->added.count > 0 && tokenizer->added.largest + (size_t)1 > size)
        size = tokenizer->added.largest + (size_t)1;
    return size;
}

tb_text tb_tokenizer_token(const tb_tokenizer *tokenizer, int64_t id) {
    for (size_t i = 0; i < tokenizer->added.count; i++)
        if ((int64_t)tokenizer->added.items[i].id == id) return tokenizer->added.items[i].content;
    return id >= 0 && id < UINT32_MAX ? tb_vocab_text(&tokenizer->model.vocab, (uint32_t)id)
                                      : (tb_text){"", 0};
}

int64_t tb_tokenizer_pad_id(const tb_tokenizer *tokenizer) {
    return tokenizer->has_pad ? (int64_t)tokenizer->pad_id : -1;
}

/* A token on its way to the encoding; offsets are code points of its text. */
typedef struct entry {
    uint32_t id, type_id;
    int32_t word, sequence;
    bool special, padding;
    tb_text token;
    tb_offsets offsets;
} entry;

/* One text, tokenized. */
typedef struct sequence {
    entry *entries;
    size_t first, count;   /* after truncation: entries[first … first + count) */
    uint32_t *byte_of;     /* byte offset of each code point, and of the end */
    uint32_t *code_points; /* code point of each byte, and of the end */
} sequence;

static tiba_status map_offsets(sequence *out, tb_text text, tb_tok_work *work) {
    size_t count = tb_utf8_count(text.data, text.size);
    out->byte_of = TB_NEW(work->arena, uint32_t, count + 1);
    out->code_points = TB_NEW(work->arena, uint32_t, text.size + 1);
    if (!out->byte_of || !out->code_points) return tb_out_of_memory(work->error);
    uint32_t c = 0;
    for (size_t at = 0; at < text.size; c++) {
        size_t start = at;
        tb_utf8_next(text.data, &at);
        out->byte_of[c] = (uint32_t)start;
        for (size_t i = start; i < at; i++) out->code_points[i] = c;
    }
    out->byte_of[c] = (uint32_t)text.size;
    out->code_points[text.size] = c;
    return TIBA_OK;
}

static tiba_status tokenize_pieces(const tb_tokenizer *t, tb_tok_pieces *pieces, size_t *count,
                                   tb_tok_work *work) {
    *count = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        tb_tok_piece *piece = &pieces->items[i];
        if (!piece->tokenized) {
            work->token_count = 0;
            TB_TRY(t->model.tokenize(t->model.data, &t->model.vocab, &piece->string, work));
            tb_tok_token *tokens = TB_NEW(work->arena, tb_tok_token, work->token_count);
            if (!tokens) return tb_out_of_memory(work->error);
            if (work->token_count) memcpy(tokens, work->tokens, work->token_count * sizeof *tokens);
            piece->tokens = tokens;
            piece->token_count = (uint32_t)work->token_count;
            piece->tokenized = true;
        }
        *count += piece->token_count;
    }
    return TIBA_OK;
}

static tiba_status collect(sequence *out, const tb_tok_pieces *pieces, size_t count,
                           size_t text_size, int32_t which, tb_tok_work *work) {
    entry *e = out->entries = TB_NEW(work->arena, entry, count);
    if (!e) return tb_out_of_memory(work->error);
    for (size_t i = 0; i < pieces->count; i++) {
        const tb_tok_piece *piece = &pieces->items[i];
        for (uint32_t k = 0; k < piece->token_count; k++, e++) {
            const tb_tok_token *token = &piece->tokens[k];
            tb_span span = tb_tok_source(&piece->string, token->start, token->end);
            if (span.start > text_size) span.start = (uint32_t)text_size;
            if (span.end > text_size) span.end = (uint32_t)text_size;
            if (span.end < span.start) span.end = span.start;
            *e = (entry){.id = token->id, .word = (int32_t)i, .sequence = which};
            e->type_id = which > 0;
            e->token = (tb_text){token->text, token->text_size};
            e->offsets = (tb_offsets){out->code_points[span.start], out->code_points[span.end]};
        }
    }
    out->count = count;
    return TIBA_OK;
}

static tiba_status tokenize(sequence *out, const tb_tokenizer *t, tb_text text, int32_t which,
                            tb_tok_work *work) {
    size_t bad, count = 0;
    *out = (sequence){0};
    if (text.size > MAX_TEXT)
        return tb_fail(work->error, TIBA_ERROR_INPUT,
                       "a text of %zu bytes, more than the limit of %d", text.size, MAX_TEXT);
    if (!tb_utf8_valid(text.data, text.size, &bad))
        return tb_fail(work->error, TIBA_ERROR_INPUT, "the text is not valid UTF-8 at byte %zu",
                       bad);
    TB_TRY(map_offsets(out, text, work));
    tb_tok_pieces pieces = {0};
    tb_tok_piece whole = {0};
    tiba_status status = tb_tok_string_create(&whole.string, text.data, (uint32_t)text.size, work);
    if (status == TIBA_OK) status = tb_tok_push_piece(&pieces, &whole, work);
    if (status == TIBA_OK) status = tb_added_tokens_split(t, &pieces, work);
    if (status == TIBA_OK) status = tb_pre_tokenizer_apply(&t->pre_tokenizer, &pieces, work);
    if (status == TIBA_OK) status = tokenize_pieces(t, &pieces, &count, work);
    if (status == TIBA_OK) status = collect(out, &pieces, count, text.size, which, work);
    tb_free(pieces.items);
    return status;
}

static size_t special_count(const tb_template *template) {
    size_t count = 0;
    for (size_t i = 0; i < template->count; i++) count += template->items[i].kind == TB_ITEM_TOKEN;
    return count;
}

static void shorten(sequence *s, size_t count, bool left) {
    if (count >= s->count) return;
    if (left) s->first += s->count - count;
    s->count = count;
}

/* Both texts share `room`: the shorter is kept whole if it leaves the longer one more than half. */
static void share(sequence *a, sequence *b, size_t room, bool left) {
    size_t n1 = a->count, n2 = b->count;
    bool swapped = n1 > n2;
    if (swapped) {
        size_t n = n1;
        n1 = n2;
        n2 = n;
    }
    n2 = n1 > room ? n1 : (room - n1 > n1 ? room - n1 : n1);
    if (n1 + n2 > room) {
        n1 = room / 2;
        n2 = n1 + room % 2;
    }
    shorten(a, swapped ? n2 : n1, left);
    shorten(b, swapped ? n1 : n2, left);
}

static tiba_status truncate(sequence *texts, bool pair, size_t specials, const tb_tokenizer *t,
                            const tb_encode_options *options, int64_t limit, tiba_error *error) {
    if (options->truncation == TB_TRUNCATE_NOT || limit == INT64_MAX) return TIBA_OK;
    if ((uint64_t)limit < specials)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "a length of %lld leaves no room beside %zu special tokens",
                       (long long)limit, specials);
    size_t room = (size_t)limit - specials, total = texts[0].count + (pair ? texts[1].count : 0);
    if (total <= room) return TIBA_OK;
    size_t excess = total - room;
    if (room == 0) {
        shorten(&texts[0], 0, t->truncate_left);
        if (pair) shorten(&texts[1], 0, t->truncate_left);
        return TIBA_OK;
    }
    if (options->truncation == TB_TRUNCATE_LONGEST_FIRST) {
        if (pair)
            share(&texts[0], &texts[1], room, t->truncate_left);
        else
            shorten(&texts[0], room, t->truncate_left);
        return TIBA_OK;
    }
    bool second = options->truncation == TB_TRUNCATE_ONLY_SECOND;
    if (second && !pair)
        return tb_fail(error, TIBA_ERROR_USAGE, "truncation of the second text, but there is one");
    sequence *s = &texts[second];
    if (s->count <= excess)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "the %s text has %zu tokens, too few to cut %zu to reach a length of %lld",
                       second ? "second" : "first", s->count, excess, (long long)limit);
    shorten(s, s->count - excess, t->truncate_left);
    return TIBA_OK;
}

/* White space, and the space of byte-level vocabularies. */
static bool is_blank(uint32_t c) {
    return c == 0x120 || tb_unicode_has(TB_SET_WHITE_SPACE, c);
}

/* Takes white space at either end of a token out of its offsets. A single leading space of the
 * first token is one that was put in front of the text, so nothing is taken. */
static void trim_offsets(sequence *s, bool add_prefix_space) {
    for (size_t i = 0; i < s->count; i++) {
        entry *e = &s->entries[s->first + i];
        uint32_t leading = 0, trailing = 0;
        for (size_t at = 0; at < e->token.size && is_blank(tb_utf8_next(e->token.data, &at));)
            leading++;
        for (size_t at = e->token.size; at > 0 && is_blank(tb_utf8_previous(e->token.data, &at));)
            trailing++;
        bool first = i == 0 || e->offsets.start == 0;
        if (first && add_prefix_space && leading == 1) leading = 0;
        uint32_t length = e->offsets.end - e->offsets.start;
        e->offsets.start += leading < length ? leading : length;
        length = e->offsets.end - e->offsets.start;
        if (e->offsets.end >= trailing) e->offsets.end -= trailing < length ? trailing : length;
    }
}

static tiba_status allocate(tb_encoding *out, tb_arena *arena, size_t count, tiba_error *error) {
    *out = (tb_encoding){
        .count = count,
        .ids = TB_NEW(arena, int64_t, count),
        .type_ids = TB_NEW(arena, int64_t, count),
        .attention_mask = TB_NEW(arena, int64_t, count),
        .word_ids = TB_NEW(arena, int32_t, count),
        .sequence_ids = TB_NEW(arena, int32_t, count),
        .special_tokens = TB_NEW(arena, bool, count),
        .tokens = TB_NEW(arena, tb_text, count),
        .offsets = TB_NEW(arena, tb_offsets, count),
        .offsets_utf8 = TB_NEW(arena, tb_offsets, count),
    };
    bool good = out->ids && out->type_ids && out->attention_mask && out->word_ids &&
                out->sequence_ids && out->special_tokens && out->tokens && out->offsets &&
                out->offsets_utf8;
    return good ? TIBA_OK : tb_out_of_memory(error);
}

/* Writes one token; its text goes to *bytes, which moves on. */
static void put(tb_encoding *out, size_t at, const entry *e, const sequence *texts, char **bytes) {
    out->ids[at] = e->id;
    out->type_ids[at] = e->type_id;
    out->attention_mask[at] = !e->padding;
    out->word_ids[at] = e->word;
    out->sequence_ids[at] = e->sequence;
    out->special_tokens[at] = e->special;
    if (e->token.size) memcpy(*bytes, e->token.data, e->token.size);
    out->tokens[at] = (tb_text){*bytes, e->token.size};
    *bytes += e->token.size + 1;
    if (e->sequence < 0) return;
    const uint32_t *byte_of = texts[e->sequence].byte_of;
    out->offsets[at] = e->offsets;
    out->offsets_utf8[at] = (tb_offsets){byte_of[e->offsets.start], byte_of[e->offsets.end]};
}

static const tb_template plain_single = {(tb_template_item[]){{TB_ITEM_A, 0, 0, {"", 0}}}, 1};
static const tb_template plain_pair = {
    (tb_template_item[]){{TB_ITEM_A, 0, 0, {"", 0}}, {TB_ITEM_B, 1, 0, {"", 0}}}, 2};

static tiba_status assemble(tb_encoding *out, const tb_tokenizer *t, tb_arena *arena,
                            const tb_template *template, const sequence *texts, size_t pad_to,
                            tiba_error *error) {
    size_t count = 0, at = 0, room = 0;
    for (size_t i = 0; i < template->count; i++) {
        const tb_template_item *item = &template->items[i];
        const sequence *s = &texts[item->kind == TB_ITEM_B];
        count += item->kind == TB_ITEM_TOKEN ? 1 : s->count;
        if (item->kind == TB_ITEM_TOKEN)
            room += item->token.size + 1;
        else
            for (size_t k = 0; k < s->count; k++) room += s->entries[s->first + k].token.size + 1;
    }
    size_t padding = pad_to > count ? pad_to - count : 0;
    entry pad = {t->pad_id, 0, -1, -1, true, true, t->pad_token, {0, 0}};
    TB_TRY(allocate(out, arena, count + padding, error));
    char *bytes = TB_NEW(arena, char, room + padding * (t->pad_token.size + 1));
    if (!bytes) return tb_out_of_memory(error);
    if (t->pad_left)
        for (size_t k = 0; k < padding; k++) put(out, at++, &pad, texts, &bytes);
    for (size_t i = 0; i < template->count; i++) {
        const tb_template_item *item = &template->items[i];
        if (item->kind == TB_ITEM_TOKEN) {
            entry e = {item->token_id, item->type_id, -1, -1, true, false, item->token, {0, 0}};
            put(out, at++, &e, texts, &bytes);
            continue;
        }
        const sequence *s = &texts[item->kind == TB_ITEM_B];
        for (size_t k = 0; k < s->count; k++) {
            entry e = s->entries[s->first + k];
            e.type_id = item->type_id;
            put(out, at++, &e, texts, &bytes);
        }
    }
    if (!t->pad_left)
        for (size_t k = 0; k < padding; k++) put(out, at++, &pad, texts, &bytes);
    return TIBA_OK;
}

static tiba_status encode(tb_encoding *out, const tb_tokenizer *t, tb_arena *arena, tb_text text,
                          const tb_text *pair, const tb_encode_options *options,
                          tb_tok_work *work) {
    sequence texts[2] = {{0}, {0}};
    bool two = pair && pair->size > 0;
    const tb_template *template = t->post.has_template ? (two ? &t->post.pair : &t->post.single)
                                                       : (two ? &plain_pair : &plain_single);
    size_t specials = special_count(template);
    int64_t limit = options->max_length > 0 ? options->max_length : t->max_length;
    TB_TRY(tokenize(&texts[0], t, text, 0, work));
    if (two) TB_TRY(tokenize(&texts[1], t, *pair, 1, work));
    TB_TRY(truncate(texts, two, specials, t, options, limit, work->error));
    size_t total = texts[0].count + texts[1].count + specials, pad_to = 0;
    if (options->refuse_long && limit != INT64_MAX && total > (uint64_t)limit)
        return tb_fail(work->error, TIBA_ERROR_INPUT,
                       "the text gives %zu tokens, %zu more than the limit of %lld: shorten it or "
                       "give --truncate",
                       total, total - (size_t)limit, (long long)limit);
    if (options->pad) {
        if (!t->has_pad)
            return tb_fail(work->error, TIBA_ERROR_INPUT, "the tokenizer has no padding token");
        if (limit > MAX_TEXT) return tb_fail(work->error, TIBA_ERROR_USAGE, "no length to pad to");
        pad_to = (size_t)limit;
    }
    if (t->post.trim_offsets)
        for (int i = 0; i < 2; i++) trim_offsets(&texts[i], t->post.add_prefix_space);
    return assemble(out, t, arena, template, texts, pad_to, work->error);
}

tiba_status tb_tokenizer_encode(tb_encoding *out, const tb_tokenizer *tokenizer, tb_arena *arena,
                                tb_text text, const tb_text *pair, const tb_encode_options *options,
                                tiba_error *error) {
    static const tb_encode_options nothing = {0};
    tb_tok_work work = {.budget = tb_arena_budget(arena), .error = error};
    *out = (tb_encoding){0};
    work.arena = tb_arena_create(work.budget);
    if (!work.arena) return tb_out_of_memory(error);
    tiba_status status =
        encode(out, tokenizer, arena, text, pair, options ? options : &nothing, &work);
    tb_tok_work_free(&work);
    if (status != TIBA_OK) *out = (tb_encoding){0};
    return status;
}
