#define _DEFAULT_SOURCE /* madvise */
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ONE_MALLOC_PER_OBJECT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_MALLOC_PER_OBJECT 1
#endif
#endif
#ifndef ONE_MALLOC_PER_OBJECT
#define ONE_MALLOC_PER_OBJECT 0
#endif

enum { ALIGNMENT = 64, CHUNK = 64 * 1024, HUGE_PAGE = 2 << 20 };

/* In front of every block, one alignment unit wide. */
typedef struct header {
    tb_budget *budget;
    size_t size; /* bytes of the block, without the header */
} header;

bool tb_size_add(size_t *out, size_t a, size_t b) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

bool tb_size_mul(size_t *out, size_t a, size_t b) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

bool tb_i64_add(int64_t *out, int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

bool tb_i64_mul(int64_t *out, int64_t a, int64_t b) {
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

static bool budget_take(tb_budget *budget, size_t size) {
    if (!budget) return true;
    size_t used = atomic_load(&budget->used), next;
    do {
        if (!tb_size_add(&next, used, size) || (budget->limit && next > budget->limit))
            return false;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, next));
    size_t peak = atomic_load(&budget->peak);
    while (next > peak && !atomic_compare_exchange_weak(&budget->peak, &peak, next)) continue;
    return true;
}

static header *header_of(void *block) {
    return (header *)(void *)((char *)block - ALIGNMENT);
}

void *tb_alloc(tb_budget *budget, size_t size) {
    size_t total;
    if (!tb_size_add(&total, size, 2 * ALIGNMENT - 1)) return NULL;
    total -= total % ALIGNMENT;
    if (!budget_take(budget, size)) return NULL;
    /* Large blocks on huge pages: most of the time to first touch one is page faults. */
    bool large = total >= 2 * HUGE_PAGE;
    void *block = NULL; /* unlike aligned_alloc's, the size need not be a multiple */
    if (posix_memalign(&block, large ? HUGE_PAGE : ALIGNMENT, total) != 0) {
        if (budget) atomic_fetch_sub(&budget->used, size);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (large) madvise(block, total - total % HUGE_PAGE, MADV_HUGEPAGE);
#endif
    header *h = block;
    h->budget = budget;
    h->size = size;
    return (char *)block + ALIGNMENT;
}

void *tb_calloc(tb_budget *budget, size_t count, size_t size) {
    size_t bytes;
    if (!tb_size_mul(&bytes, count, size)) return NULL;
    void *block = tb_alloc(budget, bytes);
    if (block) memset(block, 0, bytes);
    return block;
}

void *tb_realloc(tb_budget *budget, void *block, size_t size) {
    if (!block) return tb_alloc(budget, size);
    size_t old = header_of(block)->size;
    void *larger = tb_alloc(budget, size);
    if (!larger) return NULL;
    memcpy(larger, block, old < size ? old : size);
    tb_free(block);
    return larger;
}

void tb_free(void *block) {
    if (!block) return;
    header *h = header_of(block);
    if (h->budget) atomic_fetch_sub(&h->budget->used, h->size);
    free(h);
}

static _Thread_local tb_budget *current_budget;

tb_budget *tb_budget_enter(tb_budget *budget) {
    tb_budget *former = current_budget;
    current_budget = budget;
    return former;
}

void *tb_hook_malloc(size_t size) {
    return tb_alloc(current_budget, size);
}

void *tb_hook_realloc(void *block, size_t size) {
    return tb_realloc(current_budget, block, size);
}

void tb_hook_free(void *block) {
    tb_free(block);
}

/* A chunk's data starts one alignment unit in. */
typedef struct chunk {
    struct chunk *next;
    size_t used, size;
} chunk;

struct tb_arena {
    tb_budget *budget;
    chunk *chunks; /* newest first */
};

tb_arena *tb_arena_create(tb_budget *budget) {
    tb_arena *arena = tb_calloc(budget, 1, sizeof *arena);
    if (arena) arena->budget = budget;
    return arena;
}

void tb_arena_destroy(tb_arena *arena) {
    if (!arena) return;
    for (chunk *c = arena->chunks; c;) {
        chunk *next = c->next;
        tb_free(c);
        c = next;
    }
    tb_free(arena);
}

tb_budget *tb_arena_budget(const tb_arena *arena) {
    return arena->budget;
}

void *tb_arena_alloc(tb_arena *arena, size_t count, size_t size) {
    void *block = tb_arena_alloc_raw(arena, count, size);
    if (block) memset(block, 0, count * size);
    return block;
}

void *tb_arena_alloc_raw(tb_arena *arena, size_t count, size_t size) {
    size_t bytes, whole;
    if (!tb_size_mul(&bytes, count, size)) return NULL;
    if (!tb_size_add(&whole, bytes, 2 * ALIGNMENT)) return NULL;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded == 0) rounded = ALIGNMENT;
    chunk *c = arena->chunks;
    if (ONE_MALLOC_PER_OBJECT || !c || c->size - c->used < rounded) {
        bool own = ONE_MALLOC_PER_OBJECT || rounded > CHUNK / 4;
        /* Under the sanitizer the exact size, so that one byte too many is seen. */
        size_t data = ONE_MALLOC_PER_OBJECT ? bytes : own ? rounded : (size_t)CHUNK;
        chunk *fresh = tb_alloc(arena->budget, ALIGNMENT + data);
        if (!fresh) return NULL;
        fresh->used = 0;
        fresh->size = data;
        if (own && c) { /* keep the open chunk in front */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            arena->chunks = fresh;
        }
        c = fresh;
    }
    void *block = (char *)c + ALIGNMENT + c->used;
    c->used += rounded < c->size - c->used ? rounded : c->size - c->used;
    return block;
}

void tb_arena_release(tb_arena *arena, const void *block, size_t bytes) {
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!ONE_MALLOC_PER_OBJECT && rounded <= CHUNK / 4) return; /* it shares a chunk with others */
    for (chunk **p = &arena->chunks; *p; p = &(*p)->next) {
        chunk *c = *p;
        if ((const char *)c + ALIGNMENT != block) continue;
        *p = c->next;
        tb_free(c);
        return;
    }
}

char *tb_arena_strndup(tb_arena *arena, const char *text, size_t length) {
    size_t bytes;
    if (!tb_size_add(&bytes, length, 1)) return NULL;
    char *copy = tb_arena_alloc(arena, bytes, 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

char *tb_arena_strdup(tb_arena *arena, const char *text) {
    return tb_arena_strndup(arena, text, strlen(text));
}

char *tb_arena_format(tb_arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) return NULL;
    char *text = tb_arena_alloc(arena, (size_t)length + 1, 1);
    if (!text) return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
