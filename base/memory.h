/*
 * memory.h: the one budgeted allocator, the arena on top of it, and checked size arithmetic.
 *
 * Every allocation counts against a tb_budget, the ones of protobuf-c, cJSON and stb_image
 * included (the latter two have no context argument: they use the thread's current budget).
 * Ownership is by arena: one per model, one per bound graph, one per run. Under AddressSanitizer
 * an arena makes one malloc per object, so that an overrun is seen.
 */
#ifndef TB_BASE_MEMORY_H
#define TB_BASE_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tb_budget {
    _Atomic size_t used; /**< bytes allocated now */
    _Atomic size_t peak; /**< the most that `used` has been */
    size_t limit;        /**< an allocation that would pass it fails; 0 means no limit */
} tb_budget;

/** 64-byte aligned memory counted in `budget` (NULL: not counted). NULL on failure. */
void *tb_alloc(tb_budget *budget, size_t size);
/** As tb_alloc, zeroed; checks count × size for overflow. */
void *tb_calloc(tb_budget *budget, size_t count, size_t size);
/** Resizes a block of tb_alloc (NULL: allocates). The old block stays valid on failure. */
void *tb_realloc(tb_budget *budget, void *block, size_t size);
/** Gives a block of tb_alloc back; NULL is allowed. */
void tb_free(void *block);

/** Makes `budget` the thread's current one, for libraries whose allocation hooks have no context.
 *  Returns the former one, which the caller puts back with another call. */
tb_budget *tb_budget_enter(tb_budget *budget);
/** Allocation hooks for such libraries. */
void *tb_hook_malloc(size_t size);
void *tb_hook_realloc(void *block, size_t size);
void tb_hook_free(void *block);

typedef struct tb_arena tb_arena;

/** An empty arena; NULL if out of memory. */
tb_arena *tb_arena_create(tb_budget *budget);
/** Frees the arena and everything in it; NULL is allowed. */
void tb_arena_destroy(tb_arena *arena);
/** Zeroed memory for `count` objects of `size` bytes, 64-byte aligned, which lives as long as the
 *  arena. NULL on overflow or if out of memory; never NULL for count × size = 0. */
void *tb_arena_alloc(tb_arena *arena, size_t count, size_t size);
/** As tb_arena_alloc, not zeroed. */
void *tb_arena_alloc_raw(tb_arena *arena, size_t count, size_t size);
/** Gives back an array of so many bytes before the arena goes, if it is a large one of this arena;
 *  else nothing happens. No one may read it any more. */
void tb_arena_release(tb_arena *arena, const void *block, size_t bytes);
/** Copies of text; NULL if out of memory. */
char *tb_arena_strdup(tb_arena *arena, const char *text);
char *tb_arena_strndup(tb_arena *arena, const char *text, size_t length);
char *tb_arena_format(tb_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
tb_budget *tb_arena_budget(const tb_arena *arena);

/** Typed shorthand: TB_NEW(arena, tb_node, 3) is a `tb_node *` to three zeroed nodes, or NULL. */
#define TB_NEW(arena, type, count) ((type *)tb_arena_alloc((arena), (size_t)(count), sizeof(type)))

/** Checked arithmetic: false on overflow, `*out` untouched then. */
bool tb_size_add(size_t *out, size_t a, size_t b);
bool tb_size_mul(size_t *out, size_t a, size_t b);
bool tb_i64_add(int64_t *out, int64_t a, int64_t b);
bool tb_i64_mul(int64_t *out, int64_t a, int64_t b);

#endif
