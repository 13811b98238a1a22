/*
 * workers.h: items worked through by several processes. A worker inherits what the command had open
 * when it was started, takes one item at a time and sends back a result of any size; only the
 * calling process sees results, in whatever order they come. A worker that dies takes its item with
 * it, not the command.
 */
#ifndef TB_TOOLS_WORKERS_H
#define TB_TOOLS_WORKERS_H

#include <stdio.h>

#include "base/error.h"

typedef struct tb_workers {
    int jobs; /**< processes; 1: the calling one */
    int count;
    const int *items; /**< [count] numbers that mean something to the command */
    void *context;
    /** Does an item, in a worker; `result` takes the bytes that describe what came of it. */
    void (*work)(void *context, int item, FILE *result);
    /** Takes a result. Where a worker died, `data` is NULL and `death` says of what. */
    tiba_status (*take)(void *context, int item, const void *data, size_t size, const char *death,
                        tiba_error *error);
} tb_workers;

/** Ends at the first failure of `take`. */
tiba_status tb_workers_run(const tb_workers *workers, tiba_error *error);

/** How many processes: `asked`, or one for each processor that this one may use if that is 0. */
int tb_workers_jobs(int asked);

#endif
