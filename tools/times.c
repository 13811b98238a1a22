#include "tools/times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const tb_time_names[TB_TIMES] = {
    [TB_TIME_OPEN] = "open",       [TB_TIME_BIND] = "bind",       [TB_TIME_PLAN] = "plan",
    [TB_TIME_INPUT] = "input",     [TB_TIME_FORWARD] = "forward", [TB_TIME_BACKWARD] = "backward",
    [TB_TIME_ROLLOUT] = "rollout", [TB_TIME_RENDER] = "render",
};

static double median(int n, const tb_times *each, int phase) {
    /* the value with as many below as above it; of two, their mean */
    double low = 0, high = 0;
    for (int i = 0; i < n; i++) {
        double x = each[i].seconds[phase];
        int below = 0, same = 0;
        for (int k = 0; k < n; k++) {
            below += each[k].seconds[phase] < x;
            same += each[k].seconds[phase] == x;
        }
        if (below <= (n - 1) / 2 && (n - 1) / 2 < below + same) low = x;
        if (below <= n / 2 && n / 2 < below + same) high = x;
    }
    return 0.5 * (low + high);
}

void tb_times_median(tb_times *out, int n, const tb_times *each) {
    for (int p = 0; p < TB_TIMES; p++) {
        bool once = p == TB_TIME_BIND || p == TB_TIME_PLAN;
        out->seconds[p] = once ? each[0].seconds[p] : median(n, each, p);
    }
}

/* -------------------------------------------------------------------- operators */

static int by_phase_and_time(const void *a, const void *b) {
    const tiba_profile_row *x = a, *y = b;
    int phases = strcmp(y->phase, x->phase); /* forward comes first */
    return phases ? phases : (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void add_row(tiba_profile_row *to, const tiba_profile_row *row) {
    to->calls += row->calls;
    to->seconds += row->seconds;
    to->flop += row->flop;
    to->bytes += row->bytes;
}

static int count_rows(const tiba_model *model) {
    tiba_profile_row row;
    int n = 0;
    while (model && tiba_profile_at(&row, model, n)) n++;
    return n;
}

static void add_rows(tb_profile_report *to, const tiba_model *model) {
    tiba_profile_row row;
    for (int i = 0; model && tiba_profile_at(&row, model, i); i++) {
        int k = 0;
        for (; k < to->n_rows; k++) {
            const tiba_profile_row *old = &to->rows[k];
            if (strcmp(old->phase, row.phase) == 0 && strcmp(old->op, row.op) == 0 &&
                strcmp(old->domain, row.domain) == 0)
                break;
        }
        if (k == to->n_rows)
            to->rows[to->n_rows++] = row;
        else
            add_row(&to->rows[k], &row);
    }
}

tiba_status tb_profile_collect(tb_profile_report *out, tb_arena *arena, const tiba_model *model,
                               const tiba_model *partner, int repeats, tiba_error *error) {
    *out = (tb_profile_report){
        .rows = TB_NEW(arena, tiba_profile_row, count_rows(model) + count_rows(partner) + 1)};
    if (!out->rows) return tb_out_of_memory(error);
    add_rows(out, model);
    add_rows(out, partner);
    for (int i = 0; i < out->n_rows; i++) {
        tiba_profile_row *row = &out->rows[i];
        row->calls /= repeats;
        row->seconds /= repeats;
        row->flop /= repeats;
        row->bytes /= repeats;
    }
    qsort(out->rows, (size_t)out->n_rows, sizeof *out->rows, by_phase_and_time);
    return TIBA_OK;
}

tiba_profile_row tb_profile_total(const tb_profile_report *profile, const char *phase) {
    tiba_profile_row total = {.phase = phase, .domain = "", .op = ""};
    for (int i = 0; i < profile->n_rows; i++)
        if (strcmp(profile->rows[i].phase, phase) == 0) add_row(&total, &profile->rows[i]);
    return total;
}

/* GFLOP, MB and what that is in a second; what there is none of stays empty. */
static void print_work(int gap, const tiba_profile_row *row, double seconds) {
    char columns[4][16] = {"", "", "", ""};
    double per_second = seconds > 0.0 ? 1e-9 / seconds : 0.0;
    if (row->flop > 0.0) {
        snprintf(columns[0], sizeof columns[0], "%.3f", 1e-9 * row->flop);
        snprintf(columns[1], sizeof columns[1], "%.1f", per_second * row->flop);
    }
    if (row->bytes > 0.0) {
        snprintf(columns[2], sizeof columns[2], "%.1f", 1e-6 * row->bytes);
        snprintf(columns[3], sizeof columns[3], "%.1f", per_second * row->bytes);
    }
    char line[64];
    int n = snprintf(line, sizeof line, "%*s %9s %8s %9s %6s", gap, "", columns[0], columns[1],
                     columns[2], columns[3]);
    while (n > 0 && line[n - 1] == ' ') n--;
    fprintf(stderr, "%.*s\n", n, line);
}

static const char work_heading[] = "     GFLOP  GFLOP/s        MB   GB/s";

void tb_profile_print(const tb_profile_report *profile, const tb_times *times, int repeats) {
    fprintf(stderr, "%-35s   seconds       %s\n", "phase", work_heading);
    for (int p = 0; p < TB_TIMES; p++) {
        tiba_profile_row total = tb_profile_total(profile, tb_time_names[p]);
        fprintf(stderr, "%-35s %9.6f", tb_time_names[p], times->seconds[p]);
        print_work(7, &total, times->seconds[p]);
    }
    fprintf(stderr, "\n%-8s %-20s %5s   seconds  share%s\n", "phase", "operator", "calls",
            work_heading);
    for (int i = 0; i < profile->n_rows; i++) {
        const tiba_profile_row *row = &profile->rows[i];
        char name[64];
        double all = tb_profile_total(profile, row->phase).seconds;
        snprintf(name, sizeof name, "%s%s%s", row->domain, *row->domain ? "." : "", row->op);
        fprintf(stderr, "%-8s %-20s %5lld %9.6f %5.1f%%", row->phase, name, (long long)row->calls,
                row->seconds, all > 0.0 ? 100 * row->seconds / all : 0.0);
        print_work(0, row, row->seconds);
    }
    fprintf(stderr,
            "GFLOP: of matrix products. MB: operands read and written, once for each call.\n%s",
            repeats > 1 ? "Phases are medians, operators means of the repetitions.\n" : "");
}
