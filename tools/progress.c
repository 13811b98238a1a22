#include "tools/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void tb_progress_start(tb_progress *p, int all) {
    double now = tb_seconds();
    *p = (tb_progress){.all = all, .terminal = isatty(STDERR_FILENO), .started = now, .shown = now};
}

static void show(tb_progress *p, bool last) {
    double now = tb_seconds(), seconds = now - p->started;
    if (!last && now - p->shown < (p->terminal ? 0.1 : 5.0)) return;
    p->shown = now;
    double rate = seconds > 0.0 ? p->through / seconds : 0.0;
    long left = rate > 0.0 ? (long)((p->all - p->through) / rate + 0.5) : 0;
    if (!p->terminal) {
        fprintf(stderr, "%d of %d, %.1f per second, %ld:%02ld left\n", p->through, p->all, rate,
                left / 60, left % 60);
        return;
    }
    char bar[25];
    for (int i = 0; i < 24; i++) bar[i] = i < 24 * p->through / (p->all ? p->all : 1) ? '#' : '.';
    bar[24] = '\0';
    fprintf(stderr, "\r%s %d of %d, %.1f per second, %ld:%02ld left   %s", bar, p->through, p->all,
            rate, left / 60, left % 60, last ? "\n" : "");
    fflush(stderr);
}

void tb_progress_step(tb_progress *p) {
    p->through++;
    show(p, false);
}

void tb_progress_say(const tb_progress *p, const char *what, const char *message) {
    fprintf(stderr, "%s%s: %s\n", p->terminal ? "\r\033[K" : "", what, message);
}

void tb_progress_end(tb_progress *p) {
    show(p, true);
}
