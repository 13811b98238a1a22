/*
 * support.h: what tests of graphs and kernels share.
 */
#ifndef TB_TESTS_SUPPORT_H
#define TB_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef TEST_SHARED
/** Path of a file of the shared test data; false if it is not there (the test then does without).
 */
static inline bool test_shared_path(char *path, size_t capacity, const char *name) {
    const char *root = getenv("TIBA_SHARED");
    snprintf(path, capacity, "%s/%s", root ? root : TEST_SHARED, name);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}
#endif

/** A small deterministic generator (xorshift64*), so that a test gives the same numbers anywhere.
 */
static inline double test_uniform(uint64_t *state) {
    uint64_t x = *state ? *state : 88172645463325252ULL;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    return (double)((x * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

#endif
