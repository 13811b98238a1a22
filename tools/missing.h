/*
 * missing.h: files that are not there, and which one was probably meant.
 */
#ifndef TB_TOOLS_MISSING_H
#define TB_TOOLS_MISSING_H

#include "tiba.h"

/** Whether there is nothing at all of that name. */
int tb_is_missing(const char *path);
/** The error for it, which names a file beside it that is called almost like it. */
tiba_status tb_missing(const char *path, tiba_error *error);

#endif
