/*
 * eval_plot.c: the results of an evaluation as a picture: a panel of curves where a metric is a
 * series of points, and a panel with a row for every method, its value and its interval, for every
 * metric that the text shows.
 */
#include <math.h>
#include <string.h>

#include "io/text.h"
#include "tools/drawing.h"
#include "tools/eval.h"

enum { WIDE = 600, HIGH = 340, MARGIN = 20, COLUMNS = 2, MOST_TICKS = 6 };
/* Of a panel: where the axes are. */
enum { LEFT = 60, TOP = 74, RIGHT = 410, BOTTOM = 290, NAMES = 150 };

static const uint8_t ink[3] = {28, 30, 34}, soft[3] = {98, 102, 110}, faint[3] = {222, 224, 228};
/* In the order of tiba_method; the first one stands out, chance stays back. */
static const uint8_t colors[][3] = {
    {213, 62, 0},  {0, 114, 178},  {86, 180, 233}, {0, 158, 115}, {204, 121, 167}, {136, 34, 85},
    {230, 159, 0}, {153, 153, 51}, {51, 34, 136},  {17, 119, 51}, {170, 68, 153},  {120, 120, 120}};

typedef struct panel {
    tb_drawing *d;
    const tb_eval *eval;
    float x, y;            /* its corner */
    float left;            /* of the axes, from the corner */
    double from[2], to[2]; /* what the axes show, x and y */
} panel;

typedef struct plan {
    int n, capacity;
    struct {
        int metric;
        bool curve;
    } * panels;
} plan;

/* -------------------------------------------------------------------- axes */

static const uint8_t *color_of(const tb_eval *eval, int m) {
    return colors[(size_t)eval->methods[m] % (sizeof colors / sizeof *colors)];
}

static float width_of(const tb_eval *eval, int m) {
    return eval->methods[m] == TIBA_METHOD_TIBA ? 3.0f : 1.5f;
}

/* A distance between ticks of 1, 2 or 5 times a power of ten. */
static double tick_step(double from, double to) {
    double step = pow(10.0, floor(log10((to - from) / MOST_TICKS)));
    static const double factors[] = {1, 2, 5, 10};
    for (int i = 0; i < 4; i++)
        if ((to - from) / (factors[i] * step) <= MOST_TICKS) return factors[i] * step;
    return 10 * step;
}

/* Makes the range end at ticks. */
static void widen(double *from, double *to) {
    if (!(*to > *from)) *to = *from + 1, *from -= 1;
    double step = tick_step(*from, *to);
    *from = step * floor(*from / step + 1e-9);
    *to = step * ceil(*to / step - 1e-9);
}

static float at_x(const panel *p, double x) {
    return p->x + p->left + (RIGHT - p->left) * (float)((x - p->from[0]) / (p->to[0] - p->from[0]));
}

static float at_y(const panel *p, double y) {
    return p->y + BOTTOM - (BOTTOM - TOP) * (float)((y - p->from[1]) / (p->to[1] - p->from[1]));
}

static void put_x_axis(const panel *p, const char *label) {
    char text[32];
    double step = tick_step(p->from[0], p->to[0]);
    for (double x = p->from[0]; x <= p->to[0] + 0.01 * step; x += step) {
        tb_drawing_line(p->d, at_x(p, x), p->y + TOP, at_x(p, x), p->y + BOTTOM, 1.0f, faint);
        snprintf(text, sizeof text, "%.6g", fabs(x) < 0.01 * step ? 0.0 : x);
        tb_drawing_text(p->d, at_x(p, x), p->y + BOTTOM + 18, TB_ANCHOR_MIDDLE, 9, false, soft,
                        text);
    }
    tb_drawing_line(p->d, p->x + p->left, p->y + BOTTOM, p->x + RIGHT, p->y + BOTTOM, 1.0f, soft);
    if (label)
        tb_drawing_text(p->d, p->x + 0.5f * (p->left + RIGHT), p->y + BOTTOM + 38, TB_ANCHOR_MIDDLE,
                        9, false, soft, label);
}

static void put_y_axis(const panel *p) {
    char text[32];
    double step = tick_step(p->from[1], p->to[1]);
    for (double y = p->from[1]; y <= p->to[1] + 0.01 * step; y += step) {
        tb_drawing_line(p->d, p->x + p->left, at_y(p, y), p->x + RIGHT, at_y(p, y), 1.0f, faint);
        snprintf(text, sizeof text, "%.6g", fabs(y) < 0.01 * step ? 0.0 : y);
        tb_drawing_text(p->d, p->x + p->left - 8, at_y(p, y) + 4, TB_ANCHOR_END, 9, false, soft,
                        text);
    }
    tb_drawing_line(p->d, p->x + p->left, p->y + TOP, p->x + p->left, p->y + BOTTOM, 1.0f, soft);
}

/* The name, and under it what it is, in at most two lines. */
static void put_title(const panel *p, const char *name, const char *summary) {
    tb_text_style style = {9, false, {0}};
    tb_drawing_text(p->d, p->x, p->y + 20, TB_ANCHOR_START, 12, true, ink, name);
    for (int line = 0; line < 2 && *summary; line++) {
        char text[160];
        size_t n = tb_text_fit(summary, WIDE - 2 * MARGIN, &style);
        if (n >= sizeof text) n = sizeof text - 1;
        memcpy(text, summary, n);
        text[n] = '\0';
        tb_drawing_text(p->d, p->x, p->y + 39 + 16 * (float)line, TB_ANCHOR_START, 9, false, soft,
                        text);
        summary += n;
        while (*summary == ' ') summary++;
    }
}

/* -------------------------------------------------------------------- panels */

/* Every method's name with its colour, to the right of the axes. */
static void put_legend(const panel *p) {
    float y = p->y + TOP + 6;
    for (int m = 0; m < p->eval->n_methods; m++) {
        if (p->eval->refused[m]) continue;
        float x = p->x + RIGHT + 14;
        tb_drawing_line(p->d, x, y - 4, x + 18, y - 4, width_of(p->eval, m), color_of(p->eval, m));
        tb_drawing_text(p->d, x + 28, y, TB_ANCHOR_START, 9, false, ink,
                        tb_method_name((int)p->eval->methods[m]));
        y += 18;
    }
}

static void include(panel *p, int axis, double value) {
    if (isnan(value)) return;
    p->from[axis] = fmin(p->from[axis], value);
    p->to[axis] = fmax(p->to[axis], value);
}

static bool belongs(const tb_eval *eval, int metric, const char *curve) {
    return eval->metrics[metric].curve && strcmp(eval->metrics[metric].curve, curve) == 0;
}

static bool has_whiskers(const tb_eval *eval, int m) {
    return eval->methods[m] == TIBA_METHOD_TIBA || eval->methods[m] == TIBA_METHOD_RANDOM;
}

/* A method's curve, with its intervals if it is TiBA or chance. */
static void put_curve(const panel *p, const char *curve, int m) {
    const tb_eval *eval = p->eval;
    float x = NAN, y = NAN;
    for (int k = 0; k < eval->n_metrics; k++) {
        if (!belongs(eval, k, curve)) continue;
        tb_eval_interval v = tb_eval_summary_at(eval, m, k)->value;
        if (isnan(v.value)) continue;
        float nx = at_x(p, eval->metrics[k].x), ny = at_y(p, v.value);
        if (!isnan(x)) tb_drawing_line(p->d, x, y, nx, ny, width_of(eval, m), color_of(eval, m));
        if (has_whiskers(eval, m) && !isnan(v.low))
            tb_drawing_line(p->d, nx, at_y(p, v.low), nx, at_y(p, v.high), 1.0f, color_of(eval, m));
        x = nx, y = ny;
    }
}

static void put_curves(panel *p, const char *curve) {
    const tb_eval *eval = p->eval;
    const tb_eval_metric *metric = NULL;
    bool alike = true; /* the points' summaries, which then say what y is */
    p->left = LEFT;
    p->from[0] = p->from[1] = INFINITY;
    p->to[0] = p->to[1] = -INFINITY;
    for (int k = 0; k < eval->n_metrics; k++) {
        if (!belongs(eval, k, curve)) continue;
        alike &= !metric || strcmp(metric->summary, eval->metrics[k].summary) == 0;
        metric = &eval->metrics[k];
        include(p, 0, metric->x);
        for (int m = 0; m < eval->n_methods; m++) {
            if (eval->refused[m]) continue;
            tb_eval_interval v = tb_eval_summary_at(eval, m, k)->value;
            include(p, 1, v.value);
            if (has_whiskers(eval, m)) include(p, 1, v.low), include(p, 1, v.high);
        }
    }
    include(p, 0, 0.0);
    widen(&p->from[0], &p->to[0]);
    widen(&p->from[1], &p->to[1]);
    put_title(p, curve, alike ? metric->summary : "");
    put_y_axis(p);
    put_x_axis(p, metric->axis);
    for (int m = eval->n_methods - 1; m >= 0; m--)
        if (!eval->refused[m]) put_curve(p, curve, m);
    put_legend(p);
}

/* A row for each method. */
static void put_rows(panel *p, int k) {
    const tb_eval *eval = p->eval;
    int rows = 0;
    p->left = NAMES;
    p->from[0] = INFINITY, p->to[0] = -INFINITY;
    for (int m = 0; m < eval->n_methods; m++) {
        if (eval->refused[m]) continue;
        tb_eval_interval v = tb_eval_summary_at(eval, m, k)->value;
        include(p, 0, v.value), include(p, 0, v.low), include(p, 0, v.high);
        rows++;
    }
    widen(&p->from[0], &p->to[0]);
    put_title(p, eval->metrics[k].name, eval->metrics[k].summary);
    put_x_axis(p, NULL);
    float step = (float)(BOTTOM - TOP) / (float)(rows ? rows : 1), y = p->y + TOP + 0.5f * step;
    for (int m = 0; m < eval->n_methods; m++) {
        if (eval->refused[m]) continue;
        tb_eval_interval v = tb_eval_summary_at(eval, m, k)->value;
        char text[64];
        tb_drawing_text(p->d, p->x + NAMES - 12, y + 4, TB_ANCHOR_END, 9,
                        eval->methods[m] == TIBA_METHOD_TIBA, ink,
                        tb_method_name((int)eval->methods[m]));
        if (!isnan(v.low))
            tb_drawing_line(p->d, at_x(p, v.low), y, at_x(p, v.high), y, 1.5f, color_of(eval, m));
        if (!isnan(v.value)) {
            tb_drawing_line(p->d, at_x(p, v.value), y, at_x(p, v.value), y, 7.0f,
                            color_of(eval, m));
            snprintf(text, sizeof text, eval->metrics[k].fraction ? "%.3f" : "%.2f", v.value);
            tb_drawing_text(p->d, p->x + RIGHT + 14, y + 4, TB_ANCHOR_START, 9, false, ink, text);
        }
        y += step;
    }
}

/* -------------------------------------------------------------------- the plan */

static void add_panel(plan *to, int metric, bool curve) {
    to->panels[to->n].metric = metric;
    to->panels[to->n++].curve = curve;
}

/* Whether a curve has its panel already. */
static bool planned(const plan *of, const tb_eval *eval, const char *curve) {
    for (int i = 0; i < of->n; i++)
        if (of->panels[i].curve && belongs(eval, of->panels[i].metric, curve)) return true;
    return false;
}

static tiba_status make_plan(plan *out, const tb_eval *eval, tiba_error *error) {
    *out = (plan){0};
    out->panels = tb_arena_alloc(eval->arena, (size_t)eval->n_metrics + 1, 2 * sizeof *out->panels);
    if (!out->panels) return tb_out_of_memory(error);
    for (int k = 0; k < eval->n_metrics; k++) {
        const tb_eval_metric *metric = &eval->metrics[k];
        if (!metric->shown) continue;
        if (metric->curve) { /* a point of one */
            if (!planned(out, eval, metric->curve)) add_panel(out, k, true);
            continue;
        }
        for (int j = 0; j < eval->n_metrics; j++)
            if (belongs(eval, j, metric->name) && !planned(out, eval, metric->name))
                add_panel(out, j, true);
        add_panel(out, k, false);
    }
    return TIBA_OK;
}

tiba_status tb_eval_plot(uint8_t **out, size_t *size, const tb_eval *eval, const char *path,
                         tiba_error *error) {
    plan all;
    tb_drawing d;
    TB_TRY(make_plan(&all, eval, error));
    int rows = (all.n + COLUMNS - 1) / COLUMNS;
    TB_TRY(tb_drawing_start(&d, eval->arena, path, COLUMNS * WIDE + MARGIN, rows * HIGH + MARGIN,
                            error));
    for (int i = 0; i < all.n; i++) {
        panel p = {.d = &d,
                   .eval = eval,
                   .x = (float)(MARGIN + i % COLUMNS * WIDE),
                   .y = (float)(MARGIN / 2 + i / COLUMNS * HIGH)};
        if (all.panels[i].curve)
            put_curves(&p, eval->metrics[all.panels[i].metric].curve);
        else
            put_rows(&p, all.panels[i].metric);
    }
    return tb_drawing_end(out, size, &d, error);
}
