/*
 * render_text.c: the report on a terminal: scores with bars, words on coloured ground, a thumbnail
 * of the map in half blocks; plain text where there are no colours.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/render.h"

enum { MOST_SCORES = 5, BAR_WIDTH = 24, MOST_ROWS = 20, PLAIN_WORDS = 60 };

tb_color_depth tb_terminal_colors(void) {
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM"), *depth = getenv("COLORTERM");
    if (!isatty(STDOUT_FILENO) || (off && *off) || !term || strcmp(term, "dumb") == 0)
        return TB_COLOR_NONE;
    bool all = depth && (strcmp(depth, "truecolor") == 0 || strcmp(depth, "24bit") == 0);
    return all || strstr(term, "direct") ? TB_COLOR_TRUE : TB_COLOR_256;
}

/* The colour cube's or grey ramp's entry next to a colour. */
static int nearest_256(const uint8_t c[3]) {
    static const int steps[6] = {0, 95, 135, 175, 215, 255};
    int cube = 16, error = 0, gray = (c[0] + c[1] + c[2]) / 3;
    for (int i = 0; i < 3; i++) {
        int best = 0;
        for (int s = 1; s < 6; s++)
            if (abs(steps[s] - c[i]) < abs(steps[best] - c[i])) best = s;
        cube = i == 0 ? 16 + 36 * best : i == 1 ? cube + 6 * best : cube + best;
        error += abs(steps[best] - c[i]);
    }
    int ramp = (gray - 8 + 5) / 10, level;
    ramp = ramp < 0 ? 0 : ramp > 23 ? 23 : ramp;
    level = 8 + 10 * ramp;
    int gray_error = abs(level - c[0]) + abs(level - c[1]) + abs(level - c[2]);
    return gray_error < error ? 232 + ramp : cube;
}

static void set_color(tb_color_depth depth, const uint8_t c[3], bool ground) {
    if (depth == TB_COLOR_TRUE)
        printf("\033[%d;2;%d;%d;%dm", ground ? 48 : 38, c[0], c[1], c[2]);
    else if (depth == TB_COLOR_256)
        printf("\033[%d;5;%dm", ground ? 48 : 38, nearest_256(c));
}

static void reset(tb_color_depth depth) {
    if (depth != TB_COLOR_NONE) printf("\033[0m");
}

/* Text without what would steer the terminal. */
static void print_safe(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = c < 0x20 || c == 0x7f ||
                       (c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0);
        if (c == 0xc2 && control) i++;
        putchar(control ? ' ' : c);
    }
}

/* A bar of eighths; # in plain text. */
static void print_bar(double part, tb_color_depth depth) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double cells = (part > 0.0 ? part < 1.0 ? part : 1.0 : 0.0) * BAR_WIDTH;
    int whole = (int)cells, rest = (int)((cells - whole) * 8.0), used = whole;
    for (int i = 0; i < whole; i++) fputs(depth ? "█" : "#", stdout);
    if (depth && rest && whole < BAR_WIDTH) fputs(eighths[rest], stdout), used++;
    for (; used < BAR_WIDTH; used++) putchar(depth ? ' ' : '.');
}

/* -------------------------------------------------------------------- scores */

static bool is_explained(const tb_report *r, const tb_scores *s, int64_t k) {
    for (int v = 0; v < r->n_views; v++) {
        const tiba_target *t = &r->views[v].target;
        if (t->rank == 0) {
            if (strcmp(r->views[v].label, tb_report_label(r, k)) == 0) return true;
            continue;
        }
        tiba_tensor y = tiba_run_output(r->run, t->output);
        int64_t element = 0;
        for (int d = 0; d < t->rank; d++) element = element * y.dims[d] + t->index[d];
        if (element == s->first + k) return true;
    }
    return false;
}

static void print_scores(const tb_report *r, const tb_scores *s, tb_color_depth depth) {
    double low = INFINITY, high = -INFINITY;
    int64_t most = r->kind == TB_KIND_PAIRS ? s->n : MOST_SCORES;
    for (int64_t i = 0; i < s->n; i++) {
        low = fmin(low, s->logit[i]);
        high = fmax(high, s->logit[i]);
    }
    for (int64_t i = 0; i < most && i < s->n; i++) {
        int64_t k = s->order[i];
        bool score = r->kind == TB_KIND_PAIRS || !s->probability;
        if (score)
            printf("%8.3f  ", s->logit[k]);
        else
            printf("%6.1f %%  ", 100.0 * s->probability[k]);
        double floor = fmin(0.0, low);
        print_bar(score ? (s->logit[k] - floor) / (high > floor ? high - floor : 1.0)
                        : s->probability[k],
                  depth);
        const char *label = tb_report_label(r, k);
        printf("  ");
        print_safe(label, strlen(label));
        printf("%s\n", is_explained(r, s, k) ? "  (explained)" : "");
    }
}

/* -------------------------------------------------------------------- words */

static bool is_dark(const uint8_t c[3]) {
    return 299 * c[0] + 587 * c[1] + 114 * c[2] < 140000;
}

static void word_color(uint8_t c[3], const tb_words *w, double value, const tb_report *r) {
    double t = tb_words_scaled(w, value, r->has_sign);
    if (r->has_sign)
        tb_colormap_at(c, TB_COLORMAP_DIVERGING, (float)(0.5 + 0.5 * t));
    else /* white to red: words stay readable */
        tb_colormap_at(c, TB_COLORMAP_DIVERGING, (float)(0.5 + 0.4 * t));
}

static void print_colored(const tb_words *w, const tb_report *r, tb_color_depth depth) {
    static const uint8_t black[3] = {0, 0, 0}, white[3] = {255, 255, 255};
    size_t at = 0, end = strlen(w->text);
    printf("  ");
    for (int i = 0; i < w->n_words; i++) {
        const tb_word *word = &w->words[i];
        uint8_t c[3];
        if (word->at_utf8.start > at) print_safe(w->text + at, word->at_utf8.start - at);
        word_color(c, w, word->value, r);
        set_color(depth, c, true);
        set_color(depth, is_dark(c) ? white : black, false);
        print_safe(word->text.data, word->text.size);
        reset(depth);
        if (word->at_utf8.end > at) at = word->at_utf8.end;
    }
    if (end > at) print_safe(w->text + at, end - at);
    printf("\n  scale: ");
    for (int i = 0; i < 12; i++) {
        uint8_t c[3];
        double t = i / 11.0;
        double most = fmax(fabs(w->low), fabs(w->high));
        word_color(c, w, r->has_sign ? (2 * t - 1) * most : w->low + t * (w->high - w->low), r);
        set_color(depth, c, true);
        putchar(' ');
    }
    reset(depth);
    double most = fmax(fabs(w->low), fabs(w->high));
    printf(" %.3g to %.3g\n", r->has_sign ? -most : w->low, r->has_sign ? most : w->high);
}

/* word[value] in plain text, a bar list for short texts. */
static void print_plain(const tb_words *w, const tb_report *r) {
    for (int i = 0; i < w->n_words; i++) {
        const tb_word *word = &w->words[i];
        if (w->n_words > PLAIN_WORDS) {
            printf("%s", i % 8 ? " " : i ? "\n  " : "  ");
            print_safe(word->text.data, word->text.size);
            printf("[%.3g]", word->value);
            continue;
        }
        double part = tb_words_scaled(w, word->value, r->has_sign);
        printf("  %+12.4e  ", word->value);
        print_bar(fabs(part), TB_COLOR_NONE);
        printf("%s", part < 0.0 ? " - " : "   ");
        print_safe(word->text.data, word->text.size);
        printf("\n");
    }
    if (w->n_words > PLAIN_WORDS) printf("\n");
}

static void print_words(const tb_words *w, const tb_report *r, tb_color_depth depth) {
    if (w->n_words == 0) printf("  (no words)\n");
    if (depth)
        print_colored(w, r, depth);
    else
        print_plain(w, r);
    int n = 0;
    for (int i = 0; i < w->n_tokens; i++) {
        if (!w->tokens[i].special) continue;
        printf("%s%.*s %.3g",
               n++ ? ", " : "  special tokens, not scaled: ", (int)w->tokens[i].text.size,
               w->tokens[i].text.data, w->tokens[i].value);
        if (n == 8) break;
    }
    if (n) printf("\n");
}

/* -------------------------------------------------------------------- maps */

void tb_look_range(float *low, float *high, const tb_report *report) {
    if (!report->has_sign) return;
    *high = fmaxf(fabsf(*low), fabsf(*high));
    *low = -*high;
}

static void print_map(const tb_report *r, const float *grid, int rows, int columns, float low,
                      float high, const tb_look *look, tb_color_depth depth) {
    int wide = columns < 16 ? 2 * columns : columns, tall = columns < 16 ? 2 * rows : rows;
    if (wide > 56) tall = tall * 56 / wide, wide = 56;
    if (tall > 2 * MOST_ROWS) wide = wide * 2 * MOST_ROWS / tall, tall = 2 * MOST_ROWS;
    tall = tall < 2 ? 2 : tall + (tall & 1);
    if (wide < 1) wide = 1;
    tb_look_range(&low, &high, r);
    tb_colormap colors = tb_look_colors(look, r);
    float map[2 * MOST_ROWS * 56 + 56];
    tb_heatmap_upsample(map, tall, wide, grid, rows, columns);
    for (int y = 0; y < tall; y += 2) {
        printf("  ");
        for (int x = 0; x < wide; x++) {
            for (int half = 0; half < 2; half++) {
                uint8_t c[3];
                float v = map[(y + half) * wide + x];
                tb_colormap_at(c, colors, high > low ? (v - low) / (high - low) : 0.0f);
                set_color(depth, c, half == 1);
            }
            fputs("▀", stdout);
        }
        reset(depth);
        printf("\n");
    }
    printf("  scale: ");
    for (int i = 0; i < 12; i++) {
        uint8_t c[3];
        tb_colormap_at(c, colors, (float)i / 11.0f);
        set_color(depth, c, true);
        putchar(' ');
    }
    reset(depth);
    printf(" %.3g to %.3g\n", (double)low, (double)high);
}

/* -------------------------------------------------------------------- the whole */

static void print_view(const tb_report *r, const tb_view *v, const tb_look *look,
                       tb_color_depth depth) {
    bool several = r->n_views > 1;
    if (!v->words && !(depth && v->grid) && !several && !v->method_note) return;
    printf("\n");
    print_safe(v->label, strlen(v->label));
    printf(": %s", v->detail);
    if (v->method_note) printf(", "), print_safe(v->method_note, strlen(v->method_note));
    printf("%s\n", r->has_sign ? " (signed)" : "");
    if (v->grid && depth)
        print_map(r, v->grid, (int)v->image->rows, (int)v->image->columns, v->low, v->high, look,
                  depth);
    else if (v->grid)
        printf("  map of %lld x %lld patches, %.3g to %.3g\n", (long long)v->image->rows,
               (long long)v->image->columns, (double)v->low, (double)v->high);
    if (v->words) print_words(v->words, r, depth);
    if (!v->other) return;
    printf("\nand ");
    print_safe(v->other->text, strlen(v->other->text));
    printf("\n");
    print_words(v->other, r, depth);
}

static void print_rows(const tb_report *r, const tb_look *look, tb_color_depth depth) {
    if (r->n_rows == 0) return;
    printf("\nwhat each word adds to the score, and where\n");
    for (int i = 0; i < r->n_rows; i++) {
        const tb_table_row *row = &r->rows[i];
        const tiba_tower *image = r->views[0].image;
        int best = 0, columns = image ? (int)image->columns : 1;
        for (int k = 1; image && k < (int)image->rows * columns; k++)
            if (row->grid[k] > row->grid[best]) best = k;
        printf("%+9.3f  ", row->share);
        print_safe(row->word->text.data, row->word->text.size);
        printf("  most at row %d, column %d\n", best / columns + 1, best % columns + 1);
        if (image && depth)
            print_map(r, row->grid, (int)image->rows, columns, row->low, row->high, look, depth);
    }
}

void tb_render_text(const tb_report *r, const tb_look *look, tb_color_depth depth,
                    const char *const *files) {
    for (int s = 0; s < r->n_samples; s++) {
        if (r->n_samples > 1 && r->kind != TB_KIND_PAIRS && s < r->sample->n_texts) {
            printf("%s", s ? "\n" : "");
            print_safe(r->sample->texts[s], strlen(r->sample->texts[s]));
            printf("\n");
        }
        print_scores(r, &r->scores[s], depth);
    }
    for (int v = 0; v < r->n_views; v++) print_view(r, &r->views[v], look, depth);
    print_rows(r, look, depth);
    for (int i = 0; i < r->n_notes; i++) printf("note: %s\n", r->notes[i]);
    for (int i = 0; files && files[i]; i++) printf("wrote %s\n", files[i]);
}
