/*
 * parallel.h: one level of threads. A pool of `threads` workers runs the items of a loop.
 *
 * Which item runs on which thread is free, what an item computes is not: callers cut work into
 * items by its size alone, never by the number of threads, so results are the same bytes at any
 * thread count.
 */
#ifndef TB_BASE_PARALLEL_H
#define TB_BASE_PARALLEL_H

#include "base/memory.h"

typedef struct tb_pool tb_pool;

/** How many processors this process may use. */
int tb_processors(void);

/** A pool of `threads` (>= 1) including the caller; NULL if out of memory or threads cannot be
 *  started. */
tb_pool *tb_pool_create(tb_budget *budget, int threads);
void tb_pool_destroy(tb_pool *pool);
int tb_pool_threads(const tb_pool *pool);

/** Calls body(context, item, worker) for item = 0 … items-1, on all workers, and returns when all
 *  are done. 0 <= worker < threads. `pool` may be NULL (runs in the caller). Not reentrant: a body
 *  that calls it again runs its items itself. */
void tb_parallel_for(tb_pool *pool, int64_t items,
                     void (*body)(void *context, int64_t item, int worker), void *context);

#endif
