/*
 * pictures.h: where the picture tests find their cases: the copies in tests/data/img, and the
 * whole set, if it lies beside the project (or where TIBA_SHARED says).
 */
#ifndef TB_TESTS_PICTURES_H
#define TB_TESTS_PICTURES_H

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

/** The i-th folder with pictures/, configs/ and cases.json; NULL after the last one. */
static inline const char *picture_root(int i) {
    static char shared[1024];
    if (i == 0) return TEST_DATA "/img";
    if (i > 1) return NULL;
    const char *from = getenv("TIBA_SHARED");
    snprintf(shared, sizeof shared, "%s/io/img", from ? from : TEST_DATA "/../../../shared");
    return tb_is_folder(shared) ? shared : NULL;
}

#endif
