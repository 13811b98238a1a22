/*
 * tok_bpe.c: byte pair encoding (Sennrich et al. 2016): a piece starts as characters and the
 * neighbours with the best merge are joined first. A heap over a linked list makes that
 * O(n log n) for a word of n characters.
 */
#include <string.h>

#include "io/tok_parts.h"

/* Merges by pair of ids; new_id TB_NO_ID: an empty slot. */
typedef struct merge {
    uint32_t left, right, rank, new_id;
} merge;

typedef struct bpe {
    tb_text unknown, prefix, suffix;
    uint32_t unknown_id;
    bool has_unknown, fuse_unknown, byte_fallback, ignore_merges;
    merge *merges;
    size_t mask;
    uint32_t merge_count, merge_room;
} bpe;

typedef struct symbol {
    uint32_t id, length; /* bytes of the piece; 0: merged into the one before */
    uint32_t previous, next;
} symbol;

typedef struct candidate {
    uint32_t rank, at, new_id;
} candidate;

enum { NONE = UINT32_MAX };

static merge *find_merge(const bpe *b, uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    for (size_t i = (size_t)(h >> 32) & b->mask;; i = (i + 1) & b->mask) {
        merge *m = &b->merges[i];
        if (m->new_id == TB_NO_ID || (m->left == left && m->right == right)) return m;
    }
}

/* A binary heap of candidates, least rank first, leftmost of equals. */

typedef struct heap {
    candidate *items;
    size_t count;
} heap;

static bool before(candidate a, candidate b) {
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_push(heap *h, candidate item) {
    size_t i = h->count++;
    while (i > 0 && before(item, h->items[(i - 1) / 2])) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = item;
}

static candidate heap_pop(heap *h) {
    candidate top = h->items[0], item = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && before(h->items[child + 1], h->items[child])) child++;
        if (!before(h->items[child], item)) break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
    return top;
}

static void consider(const bpe *b, heap *h, const symbol *symbols, uint32_t left, uint32_t right) {
    if (left == NONE || right == NONE) return;
    const merge *m = find_merge(b, symbols[left].id, symbols[right].id);
    if (m->new_id != TB_NO_ID) heap_push(h, (candidate){m->rank, left, m->new_id});
}

static void merge_all(const bpe *b, symbol *symbols, uint32_t count, candidate *room) {
    heap h = {room, 0};
    for (uint32_t i = 0; i < count; i++) {
        symbols[i].previous = i > 0 ? i - 1 : NONE;
        symbols[i].next = i + 1 < count ? i + 1 : NONE;
    }
    for (uint32_t i = 0; i + 1 < count; i++) consider(b, &h, symbols, i, i + 1);
    while (h.count > 0) {
        candidate top = heap_pop(&h);
        symbol *left = &symbols[top.at];
        if (left->length == 0 || left->next == NONE) continue;
        symbol *right = &symbols[left->next];
        const merge *m = find_merge(b, left->id, right->id);
        if (m->new_id != top.new_id) continue; /* one of the two has changed since */
        left->id = top.new_id;
        left->length += right->length;
        right->length = 0;
        left->next = right->next;
        if (left->next != NONE) symbols[left->next].previous = top.at;
        consider(b, &h, symbols, left->previous, top.at);
        consider(b, &h, symbols, top.at, left->next);
    }
}

/* The symbols of a piece before merging. Unknown characters become the unknown token, bytes, or
 * nothing. As in the library, bytes do not flush an unknown token that waits to be fused. */
typedef struct start {
    symbol *symbols;
    uint32_t count;
    bool waiting;
    uint32_t waiting_length;
} start;

static void add_symbol(start *s, uint32_t id, size_t length) {
    s->symbols[s->count++] = (symbol){.id = id, .length = (uint32_t)length};
}

static void flush_unknown(const bpe *b, start *s) {
    if (s->waiting) add_symbol(s, b->unknown_id, s->waiting_length);
    s->waiting = false;
}

static tiba_status add_character(const bpe *b, const tb_vocab *vocab, start *s, tb_text text,
                                 size_t length, tb_tok_work *work) {
    uint32_t id = tb_vocab_find(vocab, text.data, text.size), bytes[16];
    if (id != TB_NO_ID) {
        flush_unknown(b, s);
        add_symbol(s, id, length);
        return TIBA_OK;
    }
    if (b->byte_fallback && text.size <= 16) {
        size_t n = 0;
        while (n < text.size &&
               (bytes[n] = tb_model_byte_id(vocab, (unsigned char)text.data[n])) != TB_NO_ID)
            n++;
        if (n == text.size) {
            for (size_t i = 0; i < n; i++) add_symbol(s, bytes[i], 1);
            return TIBA_OK;
        }
    }
    if (!b->has_unknown) return TIBA_OK;
    if (b->unknown_id == TB_NO_ID)
        return tb_fail(work->error, TIBA_ERROR_INPUT,
                       "the unknown token \"%.64s\" is not in the vocabulary", b->unknown.data);
    if (s->waiting && b->fuse_unknown) {
        s->waiting_length += (uint32_t)length;
    } else {
        flush_unknown(b, s);
        s->waiting = true;
        s->waiting_length = (uint32_t)length;
    }
    return TIBA_OK;
}

static tiba_status add_characters(const bpe *b, const tb_vocab *vocab, start *s, char *buffer,
                                  const tb_tok_string *string, tb_tok_work *work) {
    for (size_t at = 0; at < string->size;) {
        size_t from = at, prefix = 0, suffix = 0;
        tb_utf8_next(string->text, &at);
        if (from > 0) prefix = b->prefix.size;
        if (at == string->size) suffix = b->suffix.size;
        tb_text text = {string->text + from, at - from};
        if (prefix || suffix) {
            if (prefix) memcpy(buffer, b->prefix.data, prefix);
            memcpy(buffer + prefix, string->text + from, at - from);
            if (suffix) memcpy(buffer + prefix + at - from, b->suffix.data, suffix);
            text = (tb_text){buffer, prefix + at - from + suffix};
        }
        TB_TRY(add_character(b, vocab, s, text, at - from, work));
    }
    flush_unknown(b, s);
    return TIBA_OK;
}

static tiba_status tokenize_bpe(const void *data, const tb_vocab *vocab,
                                const tb_tok_string *string, tb_tok_work *work) {
    const bpe *b = data;
    if (b->ignore_merges) {
        uint32_t id = tb_vocab_find(vocab, string->text, string->size);
        if (id != TB_NO_ID) {
            tb_text text = tb_vocab_text(vocab, id);
            return tb_tok_push_token(
                work, (tb_tok_token){id, 0, string->size, (uint32_t)text.size, text.data});
        }
    }
    /* At most one symbol per byte, of the affixes too; every merge adds two candidates. */
    size_t affix = b->prefix.size + b->suffix.size + 8;
    size_t most = string->size + 16 * (size_t)(affix > 8);
    if (b->byte_fallback && b->prefix.size) most = string->size * 16 + 16;
    size_t room, candidates;
    if (!tb_size_mul(&room, most, sizeof(symbol)) ||
        !tb_size_mul(&candidates, most, 3 * sizeof(candidate)) ||
        !tb_size_add(&room, room, candidates) || !tb_size_add(&room, room, affix))
        return tb_out_of_memory(work->error);
    start s = {.symbols = tb_tok_scratch(work, room)};
    if (!s.symbols) return tb_out_of_memory(work->error);
    candidate *heap_room = (candidate *)(void *)(s.symbols + most);
    char *buffer = (char *)(heap_room + 3 * most);
    TB_TRY(add_characters(b, vocab, &s, buffer, string, work));
    merge_all(b, s.symbols, s.count, heap_room);
    uint32_t at = 0;
    for (uint32_t i = 0; i < s.count; i++) {
        if (s.symbols[i].length == 0) continue;
        tb_text text = tb_vocab_text(vocab, s.symbols[i].id);
        uint32_t end = at + s.symbols[i].length;
        TB_TRY(tb_tok_push_token(
            work, (tb_tok_token){s.symbols[i].id, at, end, (uint32_t)text.size, text.data}));
        at = end;
    }
    return TIBA_OK;
}

static tiba_status keep(tb_text *out, tb_tok_loader *loader, const char *text) {
    *out = (tb_text){"", 0};
    if (!text) return TIBA_OK;
    out->size = strlen(text);
    out->data = tb_arena_strdup(loader->arena, text);
    return out->data ? TIBA_OK : tb_out_of_memory(loader->error);
}

tiba_status tb_bpe_create(tb_model *model, tb_tok_loader *loader, const tb_bpe_options *options,
                          size_t merges) {
    bpe *b = TB_NEW(loader->arena, bpe, 1);
    if (!b) return tb_out_of_memory(loader->error);
    size_t slots = 16;
    while (slots < merges + merges / 2 + 1) slots *= 2;
    b->merges = TB_NEW(loader->arena, merge, slots);
    if (!b->merges) return tb_out_of_memory(loader->error);
    for (size_t i = 0; i < slots; i++) b->merges[i].new_id = TB_NO_ID;
    b->mask = slots - 1;
    b->merge_room = (uint32_t)merges;
    TB_TRY(keep(&b->unknown, loader, options->unknown));
    TB_TRY(keep(&b->prefix, loader, options->prefix));
    TB_TRY(keep(&b->suffix, loader, options->suffix));
    b->has_unknown = options->unknown != NULL;
    b->unknown_id = tb_vocab_find(&model->vocab, b->unknown.data, b->unknown.size);
    b->fuse_unknown = options->fuse_unknown;
    b->byte_fallback = options->byte_fallback;
    b->ignore_merges = options->ignore_merges;
    model->type = "BPE";
    model->data = b;
    model->tokenize = tokenize_bpe;
    return TIBA_OK;
}

static tiba_status not_in_vocabulary(uint32_t rank, const char *text, size_t size,
                                     tiba_error *error) {
    return tb_fail(error, TIBA_ERROR_INPUT, "merge %u: \"%.*s\" is not in the vocabulary", rank,
                   (int)(size < 64 ? size : 64), text);
}

tiba_status tb_bpe_add_merge(tb_model *model, tb_text left, tb_text right, tiba_error *error) {
    bpe *b = model->data;
    char buffer[512], *joined = buffer;
    uint32_t rank = b->merge_count;
    if (rank >= b->merge_room) return tb_fail(error, TIBA_ERROR_INPUT, "too many merges");
    uint32_t l = tb_vocab_find(&model->vocab, left.data, left.size);
    uint32_t r = tb_vocab_find(&model->vocab, right.data, right.size);
    if (l == TB_NO_ID) return not_in_vocabulary(rank, left.data, left.size, error);
    if (r == TB_NO_ID) return not_in_vocabulary(rank, right.data, right.size, error);
    size_t skip = b->prefix.size < right.size ? b->prefix.size : right.size;
    size_t size = left.size + right.size - skip;
    if (size > sizeof buffer) joined = tb_alloc(NULL, size);
    if (!joined) return tb_out_of_memory(error);
    memcpy(joined, left.data, left.size);
    memcpy(joined + left.size, right.data + skip, right.size - skip);
    uint32_t new_id = tb_vocab_find(&model->vocab, joined, size);
    tiba_status status =
        new_id == TB_NO_ID ? not_in_vocabulary(rank, joined, size, error) : TIBA_OK;
    if (joined != buffer) tb_free(joined);
    if (status != TIBA_OK) return status;
    *find_merge(b, l, r) = (merge){l, r, rank, new_id};
    b->merge_count++;
    return TIBA_OK;
}

/* "a b" or ["a", "b"]. */
static tiba_status read_merge(tb_text pair[2], tb_tok_loader *loader, const tb_json *json) {
    if (tb_json_kind_of(json) == TB_JSON_ARRAY) {
        int n = 0;
        for (tb_json item = {0}; tb_json_next(&item, json); n++)
            if (n < 2) TB_TRY(tb_json_as_text(&pair[n], loader->arena, &item, loader->error));
        return n == 2 ? TIBA_OK : tb_json_fail(loader->error, json, "%d texts, not 2", n);
    }
    tb_text text;
    TB_TRY(tb_json_as_text(&text, loader->arena, json, loader->error));
    const char *space = memchr(text.data, ' ', text.size);
    size_t first = space ? (size_t)(space - text.data) : 0;
    if (!space || memchr(space + 1, ' ', text.size - first - 1))
        return tb_json_fail(loader->error, json, "not two texts with a space between");
    pair[0] = (tb_text){text.data, first};
    pair[1] = (tb_text){space + 1, text.size - first - 1};
    return TIBA_OK;
}

tiba_status tb_bpe_parse(tb_model *model, tb_tok_loader *loader, const tb_json *json) {
    tb_bpe_options options;
    double dropout;
    tiba_error *error = loader->error;
    TB_TRY(tb_part_members(json,
                           "dropout unk_token continuing_subword_prefix end_of_word_suffix "
                           "fuse_unk byte_fallback ignore_merges vocab merges",
                           error));
    TB_TRY(tb_json_number_or(&dropout, json, "dropout", 0, error));
    if (dropout != 0) return tb_json_fail(error, json, "dropout %g is not supported", dropout);
    TB_TRY(tb_json_string_or(&options.unknown, json, "unk_token", NULL, error));
    TB_TRY(tb_json_string_or(&options.prefix, json, "continuing_subword_prefix", NULL, error));
    TB_TRY(tb_json_string_or(&options.suffix, json, "end_of_word_suffix", NULL, error));
    TB_TRY(tb_json_bool_or(&options.fuse_unknown, json, "fuse_unk", false, error));
    TB_TRY(tb_json_bool_or(&options.byte_fallback, json, "byte_fallback", false, error));
    TB_TRY(tb_json_bool_or(&options.ignore_merges, json, "ignore_merges", false, error));
    tb_json vocab = tb_json_get(json, "vocab"), merges = tb_json_get(json, "merges");
    TB_TRY(tb_model_read_vocab(model, loader, &vocab));
    TB_TRY(tb_json_need_array(&merges, error));
    TB_TRY(tb_bpe_create(model, loader, &options, tb_json_count(&merges)));
    for (tb_json item = {0}; tb_json_next(&item, &merges);) {
        tb_text pair[2] = {{"", 0}, {"", 0}};
        TB_TRY(read_merge(pair, loader, &item));
        TB_TRY(tb_bpe_add_merge(model, pair[0], pair[1], error));
    }
    return TIBA_OK;
}
