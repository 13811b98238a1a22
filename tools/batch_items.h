/*
 * batch_items.h: what a batch works through: the lines of a list or the files of a folder, each
 * with a name for its results that does not depend on the shard.
 */
#ifndef TB_TOOLS_BATCH_ITEMS_H
#define TB_TOOLS_BATCH_ITEMS_H

#include "base/memory.h"

typedef enum tb_item_state { TB_ITEM_OPEN, TB_ITEM_DONE, TB_ITEM_FAILED } tb_item_state;

typedef struct tb_item {
    const char *text; /**< the line, or the file's path */
    const char *name; /**< of its results: OUTDIR/NAME.json; unique */
    int n_inputs;
    const char **inputs; /**< the line's parts between tabs */
    tb_item_state state;
} tb_item;

typedef struct tb_items {
    int count;
    tb_item *items;
} tb_items;

/** A folder's pictures and .txt files in the order of their names, or a list's lines that are not
 *  empty: pictures or texts, several inputs with tabs between. A picture that is not found is
 * looked for beside the list. */
tiba_status tb_items_read(tb_items *out, tb_arena *arena, const char *path, tiba_error *error);

#endif
