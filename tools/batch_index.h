/*
 * batch_index.h: OUTDIR/index.jsonl, one line for every item that is through. A line is appended
 * with one write, so the file is sound at any moment; a line that a crash cut short is taken away
 * when the batch goes on.
 */
#ifndef TB_TOOLS_BATCH_INDEX_H
#define TB_TOOLS_BATCH_INDEX_H

#include "tools/batch_items.h"

/** What an item came to. */
typedef struct tb_item_result {
    int item;
    int status; /**< a tiba_status */
    double logit, probability;
    char label[256];
    char message[512];
} tb_item_result;

/** Opens the index for appending and marks the items that it lists (failed ones stay open if
 *  `retry`). `*fd` is to be closed. */
tiba_status tb_index_open(int *fd, tb_items *items, const char *path, const char *folder,
                          bool retry, tiba_error *error);
tiba_status tb_index_add(int fd, const tb_item *item, const tb_item_result *result,
                         tiba_error *error);

#endif
