/*
 * region_walk.h: how what a region's exit holds goes to the region's entry.
 */
#ifndef TB_RULES_REGION_WALK_H
#define TB_RULES_REGION_WALK_H

#include "graph/region.h"
#include "runtime/shapes.h"
#include "runtime/strided.h"

/** A walk from the exit's elements to the entry's, each to its own. */
static inline tb_walk tb_region_walk(const tb_region *region) {
    const tiba_tensor *entry = &region->entry->t, *exit = &region->exit->t;
    int64_t to[TIBA_MAX_RANK], from[TIBA_MAX_RANK];
    tb_strides(to, entry->rank, entry->dims);
    tb_strides(from, exit->rank, exit->dims);
    tb_walk walk = {0};
    for (int i = 0; i < exit->rank; i++)
        tb_walk_axis(&walk, exit->dims[i], to[region->axis[i]], from[i]);
    return walk;
}

#endif
