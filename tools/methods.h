/*
 * methods.h: methods of explanation by name, as users write them.
 */
#ifndef TB_TOOLS_METHODS_H
#define TB_TOOLS_METHODS_H

#include "tools/arguments.h"

enum { TB_MOST_METHODS = 32 };

/** How many there are. */
int tb_methods_count(void);
/** Its name; "" if there is none. */
const char *tb_method_name(int method);
/** By name or the paper's code's name; NULL is TiBA. An unknown one is named with the nearest. */
tiba_status tb_method_find(tiba_method *out, const char *name, tiba_error *error);
/** The methods of names that may be "all", in order and without repetition; none given: all. */
tiba_status tb_methods_find(int *count, tiba_method *methods, const tb_texts *names,
                            tiba_error *error);
/** Prints their names in a few lines, for a help that has little room. */
void tb_methods_list(void);
/** Prints them for the help. */
void tb_methods_help(void);

#endif
