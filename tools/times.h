/*
 * times.h: how long the phases of a report took, and where the time went by kind of operator.
 */
#ifndef TB_TOOLS_TIMES_H
#define TB_TOOLS_TIMES_H

#include "base/memory.h"
#include "tiba.h"

typedef enum tb_phase_time {
    TB_TIME_OPEN, /**< models */
    TB_TIME_BIND,
    TB_TIME_PLAN,
    TB_TIME_INPUT, /**< files to arrays: decoding, preprocessing, tokenizing */
    TB_TIME_FORWARD,
    TB_TIME_BACKWARD, /**< gradient and relevance together */
    TB_TIME_ROLLOUT,
    TB_TIME_RENDER, /**< files other than JSON */
    TB_TIMES
} tb_phase_time;

extern const char *const tb_time_names[TB_TIMES];

typedef struct tb_times {
    double seconds[TB_TIMES];
} tb_times;

/** Medians of `n` >= 1 repetitions; bind and plan are the first one's, the others used them. */
void tb_times_median(tb_times *out, int n, const tb_times *each);

/** What the models' operators did in one repetition, on average: largest first in each phase. */
typedef struct tb_profile_report {
    int n_rows;
    tiba_profile_row *rows;
} tb_profile_report;

/** Adds up the rows of both models (`partner` may be NULL) over the repetitions. */
tiba_status tb_profile_collect(tb_profile_report *out, tb_arena *arena, const tiba_model *model,
                               const tiba_model *partner, int repeats, tiba_error *error);
/** The row of everything in a phase. */
tiba_profile_row tb_profile_total(const tb_profile_report *profile, const char *phase);
/** Prints both tables to standard error. */
void tb_profile_print(const tb_profile_report *profile, const tb_times *times, int repeats);

#endif
