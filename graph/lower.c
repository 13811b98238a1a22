/*
 * The table of lower.def.
 */
#include "graph/lower.h"

#include <string.h>

static const tb_lower_row rows[] = {
#define LOWER(function, domain, name) {domain, name, tb_lower_##function},
#include "graph/lower.def"
#undef LOWER
};

const tb_lower_row *tb_lower_rows(int *count) {
    *count = (int)(sizeof rows / sizeof *rows);
    return rows;
}

const tb_lower_row *tb_find_lower(const char *domain, const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].name[0] == name[0] && strcmp(rows[i].name, name) == 0 &&
            strcmp(rows[i].domain, domain) == 0)
            return &rows[i];
    return NULL;
}
