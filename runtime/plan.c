#include "runtime/plan.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ONE_MALLOC_PER_BUFFER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_MALLOC_PER_BUFFER 1
#endif
#endif
#ifndef ONE_MALLOC_PER_BUFFER
#define ONE_MALLOC_PER_BUFFER 0
#endif

enum { ALIGNMENT = 64 };

static int larger_first(const void *a, const void *b) {
    const tb_interval *x = *(const tb_interval *const *)a, *y = *(const tb_interval *const *)b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x < y ? -1 : x > y; /* array order: the plan is the same every time */
}

tiba_status tb_plan(size_t *total, int count, tb_interval *intervals, tiba_error *error) {
    tb_interval **order = tb_calloc(NULL, (size_t)count + 1, sizeof *order);
    tb_interval **placed = tb_calloc(NULL, (size_t)count + 1, sizeof *placed); /* by offset */
    if (!order || !placed) {
        tb_free(order);
        tb_free(placed);
        return tb_out_of_memory(error);
    }
    for (int i = 0; i < count; i++) order[i] = &intervals[i];
    qsort(order, (size_t)count, sizeof *order, larger_first);
    int n = 0;
    *total = 0;
    for (int i = 0; i < count; i++) {
        tb_interval *it = order[i];
        it->offset = 0;
        if (it->size == 0) continue;
        size_t rounded = (it->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, at = 0;
        for (int k = 0; k < n; k++) {
            const tb_interval *other = placed[k];
            if (other->death < it->birth || it->death < other->birth) continue;
            if (at + rounded <= other->offset) break;
            size_t end = other->offset + (other->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            if (end > at) at = end;
        }
        it->offset = at;
        if (at + rounded > *total) *total = at + rounded;
        int k = n++;
        for (; k > 0 && placed[k - 1]->offset > at; k--) placed[k] = placed[k - 1];
        placed[k] = it;
    }
    tb_free(order);
    tb_free(placed);
    return TIBA_OK;
}

tiba_status tb_block_create(tb_block *out, void **buffers, size_t total, int count,
                            const tb_interval *intervals, tb_budget *budget, tiba_error *error) {
    *out = (tb_block){.count = count};
    if (!ONE_MALLOC_PER_BUFFER) {
        out->memory = tb_alloc(budget, total);
        if (!out->memory) return tb_out_of_memory(error);
        for (int i = 0; i < count; i++)
            buffers[i] = intervals[i].size ? (char *)out->memory + intervals[i].offset : NULL;
        return TIBA_OK;
    }
    void **list = tb_calloc(budget, (size_t)count + 1, sizeof *list);
    if (!list) return tb_out_of_memory(error);
    out->memory = list;
    for (int i = 0; i < count; i++) {
        buffers[i] = list[i] = intervals[i].size ? tb_alloc(budget, intervals[i].size) : NULL;
        if (intervals[i].size && !list[i]) {
            tb_block_destroy(out);
            return tb_out_of_memory(error);
        }
    }
    return TIBA_OK;
}

void *tb_block_from(const tb_block *block, size_t offset) {
    return ONE_MALLOC_PER_BUFFER ? NULL : (char *)block->memory + offset;
}

void tb_block_destroy(tb_block *block) {
    if (ONE_MALLOC_PER_BUFFER && block->memory)
        for (int i = 0; i < block->count; i++) tb_free(((void **)block->memory)[i]);
    tb_free(block->memory);
    *block = (tb_block){0};
}
