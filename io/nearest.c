#include "io/nearest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 63 };

/* Levenshtein distance of the first 63 characters of `a` and of [b, b + size), case aside. */
static int distance(const char *a, const char *b, size_t size) {
    int row[LONGEST + 1], n = (int)(size < LONGEST ? size : LONGEST);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; i <= LONGEST && a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int differs = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            int replace = diagonal + differs, best = row[j] + 1;
            diagonal = row[j];
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = replace < best ? replace : best;
        }
    }
    return row[n];
}

/* To the nearest of a name's synonyms: "tabby, tabby cat". */
static int distance_to_any(const char *text, const char *names) {
    int least = distance(text, names, strlen(names));
    for (const char *end; (end = strchr(names, ',')) || *names; names = end + 1 + (end[1] == ' ')) {
        int d = distance(text, names, end ? (size_t)(end - names) : strlen(names));
        if (d < least) least = d;
        if (!end) break;
    }
    return least;
}

long tb_nearest_within(const char *text, long count, const char *const *names, int most) {
    long best = -1;
    int least = most + 1;
    for (long i = 0; i < count; i++) {
        int d = names[i] ? distance_to_any(text, names[i]) : least;
        if (d < least) least = d, best = i;
    }
    return best;
}

long tb_nearest_index(const char *text, long count, const char *const *names) {
    /* dashes of an option are no sign of likeness */
    int letters = (int)strnlen(text + strspn(text, "-"), LONGEST);
    return tb_nearest_within(text, count, names, letters / 2);
}

const char *tb_nearest(const char *text, int count, const char *const *names) {
    long i = tb_nearest_index(text, count, names);
    return i < 0 ? NULL : names[i];
}

void tb_list_names(char *out, size_t capacity, long count, const char *const *names) {
    static const char more[] = ", …";
    size_t used = 0;
    *out = '\0';
    for (long i = 0; i < count; i++) {
        size_t n = strlen(names[i]) + 4;
        if (used + n + sizeof more > capacity) {
            snprintf(out + used, capacity - used, "%s", used ? more : "…");
            return;
        }
        used += (size_t)snprintf(out + used, capacity - used, "%s'%s'", used ? ", " : "", names[i]);
    }
}
