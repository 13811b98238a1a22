/*
 * clock.h: seconds for measuring how long something took. The clock never goes back; its zero means
 * nothing.
 */
#ifndef TB_BASE_CLOCK_H
#define TB_BASE_CLOCK_H

#include <time.h>

static inline double tb_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
