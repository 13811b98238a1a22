/*
 * nearest.h: which of some names was probably meant by a misspelt one.
 */
#ifndef TB_IO_NEAREST_H
#define TB_IO_NEAREST_H

#include <stddef.h>

/** The index of the name nearest to `text` by edits, case aside, NULL entries left out, with at
 * most `most` of them; -1 if none is. */
long tb_nearest_within(const char *text, long count, const char *const *names, int most);
/** The index of the name nearest to `text` by edits, case aside, NULL entries left out; -1 if none
 *  is near: more than half of the text would have to change. */
long tb_nearest_index(const char *text, long count, const char *const *names);
/** The name itself, NULL if none is near. */
const char *tb_nearest(const char *text, int count, const char *const *names);

/** Writes the names as 'a', 'b', … into `out`, as many as fit, "…" for the rest. */
void tb_list_names(char *out, size_t capacity, long count, const char *const *names);

#endif
