/*
 * error.h: errors are values. A function that can fail returns tiba_status, puts its outputs
 * first and a `tiba_error *` last; the caller owns the error, which may be NULL.
 *
 *     TB_TRY(tb_thing_open(&thing, path, error));
 *     return tb_fail(error, TIBA_ERROR_INPUT, "%s: truncated after %zu bytes", path, size);
 */
#ifndef TB_BASE_ERROR_H
#define TB_BASE_ERROR_H

#include "tiba.h"

#define TB_TRY(call)                                                                               \
    do {                                                                                           \
        tiba_status tb_try_status = (call);                                                        \
        if (tb_try_status != TIBA_OK) return tb_try_status;                                        \
    } while (0)

/** Fills `error` (if not NULL) with the formatted line, control characters replaced by '?' and
 *  the end cut at a character boundary, and returns `code`. Overwrites an earlier error. */
tiba_status tb_fail(tiba_error *error, tiba_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** TIBA_ERROR_RESOURCE with the message "out of memory". */
tiba_status tb_out_of_memory(tiba_error *error);

/** Puts "`prefix`: " in front of an error's message: adds the file or field that a lower layer
 *  did not know. Returns the error's code (`code` if error is NULL). */
tiba_status tb_error_prefix(tiba_error *error, tiba_status code, const char *prefix);

#endif
