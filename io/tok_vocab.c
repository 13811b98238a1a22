/* tok_vocab.c: see tok_vocab.h. */
#include "io/tok_vocab.h"

#include <string.h>

static uint32_t hash_bytes(const char *text, size_t size) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ size;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    for (; i < size; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return (uint32_t)(h >> 32);
}

tiba_status tb_vocab_create(tb_vocab *out, tb_arena *arena, size_t count, size_t ids,
                            tiba_error *error) {
    size_t slots = 16;
    *out = (tb_vocab){0};
    while (slots < count + count / 2 + 1) slots *= 2;
    out->slots = TB_NEW(arena, tb_vocab_slot, slots);
    out->texts = TB_NEW(arena, tb_text, ids ? ids : 1);
    if (!out->slots || !out->texts) return tb_out_of_memory(error);
    for (size_t i = 0; i < slots; i++) out->slots[i].id = TB_NO_ID;
    out->mask = slots - 1;
    out->text_capacity = ids;
    return TIBA_OK;
}

/* The slot of a text, or the empty one where it belongs. */
static tb_vocab_slot *find_slot(const tb_vocab *vocab, const char *text, size_t size,
                                uint32_t hash) {
    size_t i = hash & vocab->mask;
    for (;; i = (i + 1) & vocab->mask) {
        tb_vocab_slot *slot = &vocab->slots[i];
        if (slot->id == TB_NO_ID) return slot;
        if (slot->hash != hash) continue;
        const tb_text *known = &vocab->texts[slot->id];
        if (known->size == size && (size == 0 || memcmp(known->data, text, size) == 0)) return slot;
    }
}

tiba_status tb_vocab_add(tb_vocab *vocab, tb_arena *arena, tb_text text, uint32_t id,
                         tiba_error *error) {
    if (id >= vocab->text_capacity)
        return tb_fail(error, TIBA_ERROR_INPUT, "vocabulary: id %u is beyond its %zu places", id,
                       vocab->text_capacity);
    if (vocab->texts[id].data)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "vocabulary: id %u belongs to \"%.32s\" and \"%.32s\"", id,
                       vocab->texts[id].data, text.data);
    uint32_t hash = hash_bytes(text.data, text.size);
    tb_vocab_slot *slot = find_slot(vocab, text.data, text.size, hash);
    if (slot->id == TB_NO_ID && vocab->count >= vocab->mask - vocab->mask / 8)
        return tb_fail(error, TIBA_ERROR_INPUT, "vocabulary: more entries than announced");
    char *copy = tb_arena_strndup(arena, text.data, text.size);
    if (!copy) return tb_out_of_memory(error);
    vocab->texts[id] = (tb_text){copy, text.size};
    if (slot->id == TB_NO_ID) vocab->count++;
    *slot = (tb_vocab_slot){hash, id};
    if (id + (size_t)1 > vocab->ids) vocab->ids = id + (size_t)1;
    if (text.size > vocab->longest) vocab->longest = text.size;
    return TIBA_OK;
}

uint32_t tb_vocab_find(const tb_vocab *vocab, const char *text, size_t size) {
    if (size > vocab->longest || !vocab->slots) return TB_NO_ID;
    return find_slot(vocab, text, size, hash_bytes(text, size))->id;
}

tb_text tb_vocab_text(const tb_vocab *vocab, uint32_t id) {
    if (id >= vocab->ids || !vocab->texts[id].data) return (tb_text){"", 0};
    return vocab->texts[id];
}

static uint64_t mix(uint64_t key) {
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

void tb_trie_destroy(tb_trie *trie) {
    tb_free(trie->edges);
    tb_free(trie->targets);
    tb_free(trie->values);
    *trie = (tb_trie){0};
}

static tiba_status trie_grow(tb_trie *trie, tiba_error *error) {
    if (trie->node_count + 1 >= trie->node_capacity) {
        size_t larger = trie->node_capacity ? trie->node_capacity * 2 : 256;
        uint32_t *values = tb_realloc(trie->budget, trie->values, larger * sizeof *values);
        if (!values) return tb_out_of_memory(error);
        memset(values + trie->node_capacity, 0, (larger - trie->node_capacity) * sizeof *values);
        trie->values = values;
        trie->node_capacity = larger;
    }
    if (trie->node_count == 0) trie->node_count = 1;
    size_t slots = trie->edges ? trie->mask + 1 : 0;
    if ((trie->count + 1) * 2 <= slots) return TIBA_OK;
    size_t larger = slots ? slots * 2 : 512;
    uint64_t *edges = tb_calloc(trie->budget, larger, sizeof *edges);
    uint32_t *targets = tb_calloc(trie->budget, larger, sizeof *targets);
    if (!edges || !targets) {
        tb_free(edges);
        tb_free(targets);
        return tb_out_of_memory(error);
    }
    for (size_t i = 0; i < slots; i++) {
        if (!trie->edges[i]) continue;
        size_t k = (size_t)mix(trie->edges[i]) & (larger - 1);
        while (edges[k]) k = (k + 1) & (larger - 1);
        edges[k] = trie->edges[i];
        targets[k] = trie->targets[i];
    }
    tb_free(trie->edges);
    tb_free(trie->targets);
    trie->edges = edges;
    trie->targets = targets;
    trie->mask = larger - 1;
    return TIBA_OK;
}

uint32_t tb_trie_step(const tb_trie *trie, uint32_t node, unsigned char byte) {
    if (!trie->edges) return 0;
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    for (size_t i = (size_t)mix(key) & trie->mask; trie->edges[i]; i = (i + 1) & trie->mask)
        if (trie->edges[i] == key) return trie->targets[i];
    return 0;
}

tiba_status tb_trie_add(tb_trie *trie, const char *key, size_t size, uint32_t value, bool keep,
                        tiba_error *error) {
    uint32_t node = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)key[i];
        uint32_t next = tb_trie_step(trie, node, byte);
        if (!next) {
            TB_TRY(trie_grow(trie, error));
            if (trie->node_count >= UINT32_MAX) return tb_out_of_memory(error);
            uint64_t edge = ((uint64_t)node << 8 | byte) + 1;
            size_t k = (size_t)mix(edge) & trie->mask;
            while (trie->edges[k]) k = (k + 1) & trie->mask;
            next = (uint32_t)trie->node_count++;
            trie->edges[k] = edge;
            trie->targets[k] = next;
            trie->count++;
        }
        node = next;
    }
    if (size && (!keep || !trie->values[node])) trie->values[node] = value + 1;
    return TIBA_OK;
}

uint32_t tb_trie_value(const tb_trie *trie, uint32_t node) {
    if (!trie->values || node >= trie->node_count || !trie->values[node]) return TB_NO_ID;
    return trie->values[node] - 1;
}
