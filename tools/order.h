/*
 * order.h: places of values by size, and random numbers that are the same everywhere.
 */
#ifndef TB_TOOLS_ORDER_H
#define TB_TOOLS_ORDER_H

#include "base/error.h"

/** Places of n values, largest first, ties by place; NaN comes last. */
tiba_status tb_order(int64_t *order, const double *values, int64_t n, tiba_error *error);

/** The next one of a sequence (splitmix64) that starts with any state. */
uint64_t tb_random(uint64_t *state);

#endif
