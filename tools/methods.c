#include "tools/methods.h"

#include <stdio.h>
#include <string.h>

#include "io/nearest.h"

int tb_methods_count(void) {
    tiba_method_facts facts;
    int n = 0;
    while (n < TB_MOST_METHODS && tiba_method_at(&facts, n)) n++;
    return n;
}

const char *tb_method_name(int method) {
    tiba_method_facts facts;
    return tiba_method_at(&facts, method) ? facts.name : "";
}

tiba_status tb_method_find(tiba_method *out, const char *name, tiba_error *error) {
    const char *names[TB_MOST_METHODS];
    int n = tb_methods_count();
    *out = TIBA_METHOD_TIBA;
    for (int i = 0; i < n && name; i++) {
        tiba_method_facts facts;
        tiba_method_at(&facts, i);
        names[i] = facts.name;
        bool alias = facts.alias[0] && strcmp(facts.alias, name) == 0;
        if (!alias && strcmp(facts.name, name) != 0) continue;
        *out = (tiba_method)i;
        return TIBA_OK;
    }
    if (!name) return TIBA_OK;
    const char *near = tb_nearest(name, n, names);
    return tb_fail(error, TIBA_ERROR_USAGE, "--method: there is no method '%s'%s%s%s", name,
                   near ? " (did you mean " : "; compare --help lists them", near ? near : "",
                   near ? "?)" : "");
}

tiba_status tb_methods_find(int *count, tiba_method *methods, const tb_texts *names,
                            tiba_error *error) {
    bool on[TB_MOST_METHODS] = {false};
    int n = tb_methods_count();
    *count = 0;
    for (int i = 0; i < names->count; i++) {
        tiba_method method;
        bool all = strcmp(names->items[i], "all") == 0;
        for (int k = 0; k < n && all; k++) on[k] = true;
        if (all) continue;
        TB_TRY(tb_method_find(&method, names->items[i], error));
        on[method] = true;
    }
    for (int i = 0; i < n; i++)
        if (on[i] || names->count == 0) methods[(*count)++] = (tiba_method)i;
    return TIBA_OK;
}

void tb_methods_list(void) {
    tiba_method_facts facts;
    int column = printf("methods:");
    for (int i = 0; tiba_method_at(&facts, i); i++) {
        if (column + (int)strlen(facts.name) > 78) {
            printf("\n ");
            column = 1;
        }
        column += printf(" %s", facts.name);
    }
    printf("\n");
}

void tb_methods_help(void) {
    tiba_method_facts facts;
    printf("methods:\n");
    for (int i = 0; tiba_method_at(&facts, i); i++)
        printf("  %-17s  %s\n", facts.name, facts.summary);
}
