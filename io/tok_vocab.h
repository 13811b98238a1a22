/*
 * tok_vocab.h: a vocabulary: bytes to id by a hash table, id to bytes by an array; and a trie of
 * byte strings for prefix searches.
 */
#ifndef TB_IO_TOK_VOCAB_H
#define TB_IO_TOK_VOCAB_H

#include "io/json.h"

enum { TB_NO_ID = UINT32_MAX };

typedef struct tb_vocab_slot {
    uint32_t hash, id; /* id TB_NO_ID: empty */
} tb_vocab_slot;

typedef struct tb_vocab {
    tb_vocab_slot *slots;
    size_t mask;    /**< slots - 1 */
    size_t count;   /**< entries */
    size_t ids;     /**< the largest id + 1 */
    size_t longest; /**< bytes of the longest entry */
    tb_text *texts; /**< by id; data is NULL where an id is not used */
    size_t text_capacity;
} tb_vocab;

/** An empty vocabulary with room for `count` entries, whose ids must be below `ids`. */
tiba_status tb_vocab_create(tb_vocab *out, tb_arena *arena, size_t count, size_t ids,
                            tiba_error *error);
/** Adds an entry (its bytes are copied). A text that is there already gets the new id; more
 *  entries or a larger id than announced are errors. */
tiba_status tb_vocab_add(tb_vocab *vocab, tb_arena *arena, tb_text text, uint32_t id,
                         tiba_error *error);
/** The id of a text, or TB_NO_ID. */
uint32_t tb_vocab_find(const tb_vocab *vocab, const char *text, size_t size);
/** The text of an id; "" if there is none. */
tb_text tb_vocab_text(const tb_vocab *vocab, uint32_t id);

/** Trie: nodes are numbers, 0 is the root; edges are kept in a hash table. */
typedef struct tb_trie {
    uint64_t *edges; /* parent << 8 | byte, + 1; 0: empty */
    uint32_t *targets;
    uint32_t *values; /* by node: value + 1; 0: none */
    size_t mask, count, node_count, node_capacity;
    tb_budget *budget;
} tb_trie;

void tb_trie_destroy(tb_trie *trie);
/** Adds a key; one that is there already keeps its value if `keep`. */
tiba_status tb_trie_add(tb_trie *trie, const char *key, size_t size, uint32_t value, bool keep,
                        tiba_error *error);
/** The child of a node by a byte, 0 if there is none. */
uint32_t tb_trie_step(const tb_trie *trie, uint32_t node, unsigned char byte);
/** The value of a node, or TB_NO_ID. */
uint32_t tb_trie_value(const tb_trie *trie, uint32_t node);

#endif
