/*
 * plan.h: where buffers live. Every buffer has a size and a lifetime in steps that are known before
 * anything runs; those that never live at the same time share memory in one block.
 */
#ifndef TB_RUNTIME_PLAN_H
#define TB_RUNTIME_PLAN_H

#include "base/memory.h"

typedef struct tb_interval {
    size_t size;      /**< bytes; 0: no buffer */
    int birth, death; /**< first and last step that touch it, inclusive */
    size_t offset;    /**< result, a multiple of 64 */
} tb_interval;

/** Sets every offset (largest buffers first, each at the lowest place that is free during its life)
 *  and *total, the bytes of the block. */
tiba_status tb_plan(size_t *total, int count, tb_interval *intervals, tiba_error *error);

/** A block laid out by tb_plan. Under AddressSanitizer each buffer is an allocation of its own, so
 *  that an overrun is seen. */
typedef struct tb_block {
    void *memory; /**< internal */
    int count;
} tb_block;

/** Allocates the planned memory; buffers[i] (one per interval) are set. */
tiba_status tb_block_create(tb_block *out, void **buffers, size_t total, int count,
                            const tb_interval *intervals, tb_budget *budget, tiba_error *error);
/** The block's memory from `offset` on, for what is put where no interval lives any more; NULL
 * where buffers are allocations of their own. */
void *tb_block_from(const tb_block *block, size_t offset);
void tb_block_destroy(tb_block *block);

#endif
