/*
 * names.h: a table from names to numbers, for the names of a file: values of a graph, functions.
 * The hash is keyed by where things are in memory, so a file cannot be made to collide; nothing
 * depends on the order of entries. Names are borrowed, the memory is the arena's.
 */
#ifndef TB_ONNX_NAMES_H
#define TB_ONNX_NAMES_H

#include "base/memory.h"

typedef struct tb_names {
    tb_arena *arena;
    struct tb_name_slot *slots;
    size_t count, capacity;
} tb_names;

/** The number of `name`, or -1. */
int tb_names_find(const tb_names *names, const char *name);
/** Adds `name`, which must not be in the table; false if out of memory. */
bool tb_names_add(tb_names *names, const char *name, int number);

#endif
