/* tok_string.c: see tok_string.h. */
#include "io/tok_string.h"

#include <string.h>

void tb_tok_work_free(tb_tok_work *work) {
    tb_free(work->changes);
    tb_free(work->matches);
    tb_free(work->tokens);
    tb_free(work->scratch);
    tb_arena_destroy(work->arena);
    *work = (tb_tok_work){0};
}

void *tb_tok_scratch(tb_tok_work *work, size_t size) {
    if (size > work->scratch_size || !work->scratch) {
        tb_free(work->scratch);
        work->scratch_size = size < 4096 ? 4096 : size;
        work->scratch = tb_alloc(work->budget, work->scratch_size);
    }
    return work->scratch;
}

/* Makes room for one more item of a growing array. */
static tiba_status grow(void *items, size_t count, size_t *capacity, size_t size,
                        tb_tok_work *work) {
    if (count < *capacity) return TIBA_OK;
    size_t larger = *capacity ? *capacity * 2 : 64, bytes;
    void *old, *fresh;
    memcpy(&old, items, sizeof old);
    if (!tb_size_mul(&bytes, larger, size)) return tb_out_of_memory(work->error);
    fresh = tb_realloc(work->budget, old, bytes);
    if (!fresh) return tb_out_of_memory(work->error);
    memcpy(items, &fresh, sizeof fresh);
    *capacity = larger;
    return TIBA_OK;
}

tiba_status tb_tok_push_token(tb_tok_work *work, tb_tok_token token) {
    TB_TRY(grow(&work->tokens, work->token_count, &work->token_capacity, sizeof token, work));
    work->tokens[work->token_count++] = token;
    return TIBA_OK;
}

tiba_status tb_tok_push_match(tb_tok_work *work, size_t start, size_t end, bool hit) {
    TB_TRY(grow(&work->matches, work->match_count, &work->match_capacity, sizeof *work->matches,
                work));
    work->matches[work->match_count++] = (tb_match){(uint32_t)start, (uint32_t)end, hit};
    return TIBA_OK;
}

tiba_status tb_tok_push_change(tb_tok_work *work, uint32_t c, int32_t change) {
    TB_TRY(grow(&work->changes, work->change_count, &work->change_capacity, sizeof *work->changes,
                work));
    work->changes[work->change_count++] = (tb_change){c, change};
    return TIBA_OK;
}

tiba_status tb_tok_push_piece(tb_tok_pieces *pieces, const tb_tok_piece *piece, tb_tok_work *work) {
    TB_TRY(grow(&pieces->items, pieces->count, &pieces->capacity, sizeof *piece, work));
    pieces->items[pieces->count++] = *piece;
    return TIBA_OK;
}

tiba_status tb_tok_string_create(tb_tok_string *out, const char *text, uint32_t size,
                                 tb_tok_work *work) {
    tb_span *align = TB_NEW(work->arena, tb_span, size);
    if (!align) return tb_out_of_memory(work->error);
    for (size_t i = 0; i < size;) {
        size_t end = i;
        tb_utf8_next(text, &end);
        tb_span span = {(uint32_t)i, (uint32_t)end};
        while (i < end) align[i++] = span;
    }
    *out = (tb_tok_string){text, align, size, {0, size}};
    return TIBA_OK;
}

tb_span tb_tok_source(const tb_tok_string *string, size_t start, size_t end) {
    if (start >= end || end > string->size) {
        uint32_t at = string->original.start + (uint32_t)start;
        return (tb_span){at, at};
    }
    return (tb_span){string->align[start].start, string->align[end - 1].end};
}

tb_tok_string tb_tok_slice(const tb_tok_string *string, size_t start, size_t end) {
    return (tb_tok_string){string->text + start, string->align + start, (uint32_t)(end - start),
                           tb_tok_source(string, start, end)};
}

enum { MAX_TEXT = 64 << 20 };

/* A buffer that a changed string is written into. */
typedef struct output {
    char *text;
    tb_span *align;
    size_t size;
} output;

static tiba_status output_create(output *out, size_t size, tb_tok_work *work) {
    if (size > MAX_TEXT)
        return tb_fail(work->error, TIBA_ERROR_INPUT,
                       "the tokenizer makes %zu bytes of the text, more than %d", size, MAX_TEXT);
    *out = (output){TB_NEW(work->arena, char, size), TB_NEW(work->arena, tb_span, size), 0};
    return out->text && out->align ? TIBA_OK : tb_out_of_memory(work->error);
}

static void output_char(output *out, uint32_t c, tb_span span) {
    size_t n = tb_utf8_write(out->text + out->size, c);
    for (size_t i = 0; i < n; i++) out->align[out->size + i] = span;
    out->size += n;
}

static void output_copy(output *out, const tb_tok_string *from, size_t start, size_t end) {
    memcpy(out->text + out->size, from->text + start, end - start);
    memcpy(out->align + out->size, from->align + start, (end - start) * sizeof *from->align);
    out->size += end - start;
}

static void output_done(tb_tok_string *string, const output *out) {
    string->text = out->text;
    string->align = out->align;
    string->size = (uint32_t)out->size;
}

/* The alignment of an inserted character: that of the byte before it. */
static tb_span align_before(const tb_tok_string *string, size_t at) {
    if (at > string->size) at = string->size;
    if (at < 1) return (tb_span){string->original.start, string->original.start};
    return string->align[at - 1];
}

tiba_status tb_tok_transform(tb_tok_string *string, size_t initial, tb_tok_work *work) {
    size_t bytes = 0, from = 0;
    for (size_t i = 0; i < work->change_count; i++) bytes += tb_utf8_length(work->changes[i].c);
    output out = {0};
    TB_TRY(output_create(&out, bytes, work));
    while (initial > 0 && from < string->size) {
        tb_utf8_next(string->text, &from);
        initial--;
    }
    for (size_t i = 0; i < work->change_count; i++) {
        tb_change change = work->changes[i];
        if (change.change > 0) {
            output_char(&out, change.c, align_before(string, from));
            continue;
        }
        output_char(&out, change.c,
                    from < string->size ? string->align[from] : align_before(string, from));
        for (int32_t k = change.change; k <= 0 && from < string->size; k++)
            tb_utf8_next(string->text, &from);
    }
    output_done(string, &out);
    return TIBA_OK;
}

tiba_status tb_tok_filter(tb_tok_string *string, bool (*keep)(uint32_t c), tb_tok_work *work) {
    size_t at = 0;
    while (at < string->size) {
        size_t next = at;
        if (!keep(tb_utf8_next(string->text, &next))) break;
        at = next;
    }
    if (at == string->size) return TIBA_OK;
    output out = {0};
    TB_TRY(output_create(&out, string->size, work));
    output_copy(&out, string, 0, at);
    while (at < string->size) {
        size_t next = at;
        if (keep(tb_utf8_next(string->text, &next))) output_copy(&out, string, at, next);
        at = next;
    }
    output_done(string, &out);
    return TIBA_OK;
}

tiba_status tb_tok_prepend(tb_tok_string *string, const char *prefix, size_t size,
                           tb_tok_work *work) {
    output out = {0};
    if (string->size == 0 || size == 0) return TIBA_OK;
    TB_TRY(output_create(&out, size + string->size, work));
    for (size_t at = 0; at < size;) {
        uint32_t c = tb_utf8_next(prefix, &at);
        output_char(&out, c, string->align[0]);
    }
    output_copy(&out, string, 0, string->size);
    output_done(string, &out);
    return TIBA_OK;
}

tiba_status tb_tok_replace(tb_tok_string *string, const char *content, size_t size,
                           tb_tok_work *work) {
    size_t bytes = 0, hits = 0, added;
    for (size_t i = 0; i < work->match_count; i++) {
        const tb_match *match = &work->matches[i];
        if (match->hit)
            hits++;
        else
            bytes += match->end - match->start;
    }
    if (hits == 0) return TIBA_OK;
    if (!tb_size_mul(&added, hits, size) || !tb_size_add(&bytes, bytes, added))
        return tb_out_of_memory(work->error);
    output out = {0};
    TB_TRY(output_create(&out, bytes, work));
    for (size_t i = 0; i < work->match_count; i++) {
        const tb_match *match = &work->matches[i];
        if (!match->hit) {
            output_copy(&out, string, match->start, match->end);
            continue;
        }
        tb_span span = align_before(string, match->end);
        for (size_t at = 0; at < size;) output_char(&out, tb_utf8_next(content, &at), span);
    }
    output_done(string, &out);
    return TIBA_OK;
}

static tiba_status push_slice(tb_tok_pieces *out, const tb_tok_string *string, size_t start,
                              size_t end, tb_tok_work *work) {
    if (start >= end) return TIBA_OK;
    tb_tok_piece piece = {.string = tb_tok_slice(string, start, end)};
    return tb_tok_push_piece(out, &piece, work);
}

/* Joins neighbours of work->matches as the behaviour says; hits that stay alone are kept. */
static void join_matches(tb_split_behavior behavior, bool invert, tb_tok_work *work) {
    tb_match *m = work->matches;
    size_t n = 0, count = work->match_count;
    bool backward = behavior == TB_SPLIT_MERGED_WITH_NEXT, former = false;
    if (backward) /* the same fold from the right: turn the list round, and back below */
        for (size_t i = 0; i < count / 2; i++) {
            tb_match swap = m[i];
            m[i] = m[count - 1 - i];
            m[count - 1 - i] = swap;
        }
    for (size_t i = 0; i < count; i++) {
        bool hit = m[i].hit != invert;
        bool join = behavior == TB_SPLIT_CONTIGUOUS ? hit == former : hit && !former;
        former = hit;
        if (join && n > 0 && backward)
            m[n - 1].start = m[i].start;
        else if (join && n > 0)
            m[n - 1].end = m[i].end;
        else
            m[n++] = (tb_match){m[i].start, m[i].end, false};
    }
    work->match_count = n;
    if (backward)
        for (size_t i = 0; i < n / 2; i++) {
            tb_match swap = m[i];
            m[i] = m[n - 1 - i];
            m[n - 1 - i] = swap;
        }
}

tiba_status tb_tok_split(tb_tok_pieces *out, const tb_tok_string *string,
                         tb_split_behavior behavior, bool invert, tb_tok_work *work) {
    bool removed = behavior == TB_SPLIT_REMOVED;
    if (!removed && behavior != TB_SPLIT_ISOLATED) join_matches(behavior, invert, work);
    for (size_t i = 0; i < work->match_count; i++) {
        const tb_match *match = &work->matches[i];
        if (removed && match->hit != invert) continue;
        TB_TRY(push_slice(out, string, match->start, match->end, work));
    }
    return TIBA_OK;
}

tiba_status tb_tok_match_class(const tb_tok_string *string, bool (*in)(uint32_t c),
                               tb_tok_work *work) {
    size_t done = 0;
    work->match_count = 0;
    for (size_t at = 0; at < string->size;) {
        size_t start = at;
        if (!in(tb_utf8_next(string->text, &at))) continue;
        if (done < start) TB_TRY(tb_tok_push_match(work, done, start, false));
        TB_TRY(tb_tok_push_match(work, start, at, true));
        done = at;
    }
    return done < string->size ? tb_tok_push_match(work, done, string->size, false) : TIBA_OK;
}

tiba_status tb_tok_match_literal(const tb_tok_string *string, const char *literal, size_t size,
                                 tb_tok_work *work) {
    size_t done = 0;
    work->match_count = 0;
    for (size_t at = 0; size > 0 && at + size <= string->size;) {
        const char *found = memchr(string->text + at, literal[0], string->size - size - at + 1);
        if (!found) break;
        at = (size_t)(found - string->text);
        if (memcmp(found, literal, size) != 0) {
            at++;
            continue;
        }
        if (done < at) TB_TRY(tb_tok_push_match(work, done, at, false));
        TB_TRY(tb_tok_push_match(work, at, at + size, true));
        at += size;
        done = at;
    }
    return done < string->size ? tb_tok_push_match(work, done, string->size, false) : TIBA_OK;
}
