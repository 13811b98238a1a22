/*
 * progress.h: how far a long command is, on standard error: a bar on a terminal, a line now and
 * then elsewhere.
 */
#ifndef TB_TOOLS_PROGRESS_H
#define TB_TOOLS_PROGRESS_H

#include <stdbool.h>

typedef struct tb_progress {
    int all, through;
    bool terminal;
    double started, shown;
} tb_progress;

void tb_progress_start(tb_progress *progress, int all);
/** One more item is through. */
void tb_progress_step(tb_progress *progress);
/** Prints a message above the bar. */
void tb_progress_say(const tb_progress *progress, const char *what, const char *message);
void tb_progress_end(tb_progress *progress);

#endif
