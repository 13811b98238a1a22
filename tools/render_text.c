/*
 * render_text.c: the report on a terminal: scores with bars, words on coloured ground, a thumbnail
 * of the map in half blocks; plain text where there are no colours.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/unicode.h"
#include "tools/render.h"
#include "tools/terminal.h"
#include "tools/trust.h"

enum { MOST_SCORES = 5, BAR_WIDTH = 24, PLAIN_WORDS = 60, MOST_LISTED = 12 };

/* Narrow terminals leave room for what stands beside a bar. */
static int bar_width(void) {
    int width = tb_terminal_width();
    return width < 72 ? width / 3 : BAR_WIDTH;
}

/* A bar of eighths; # in plain text. */
static void print_bar(double part, int width, tb_color_depth depth) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double cells = (part > 0.0 ? part < 1.0 ? part : 1.0 : 0.0) * width;
    int whole = (int)cells, rest = (int)((cells - whole) * 8.0), used = whole;
    for (int i = 0; i < whole; i++) fputs(depth ? "█" : "#", stdout);
    if (depth && rest && whole < width) fputs(eighths[rest], stdout), used++;
    for (; used < width; used++) putchar(depth ? ' ' : '.');
}

enum { SCALE_CELLS = 12 };

typedef struct scale {
    uint8_t cell[SCALE_CELLS][3];
} scale;

/* Where a cell of a scale stands in 0 to 1, or -1 to 1. */
static double scale_at(int i, bool has_sign) {
    double t = (double)i / (SCALE_CELLS - 1);
    return has_sign ? 2.0 * t - 1.0 : t;
}

static void print_scale(const scale *colors, double low, double high, tb_color_depth depth) {
    printf("  scale: ");
    for (int i = 0; i < SCALE_CELLS; i++) {
        tb_terminal_color(depth, colors->cell[i], true);
        putchar(' ');
    }
    tb_terminal_reset(depth);
    printf(" %.3g to %.3g\n", low, high);
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
                  bar_width(), depth);
        const char *label = tb_report_label(r, k);
        printf("  ");
        tb_print_safe(label, strlen(label));
        printf("%s\n", is_explained(r, s, k) ? "  (explained)" : "");
    }
}

/* -------------------------------------------------------------------- words */

static bool is_dark(const uint8_t c[3]) {
    return 299 * c[0] + 587 * c[1] + 114 * c[2] < 140000;
}

/* Values next to nothing get no ground: white patches would be the brightest thing on a dark
 * terminal. */
static bool has_ground(double t) {
    return fabs(t) >= 0.05;
}

/* Of a place on the words' scale: blue over white to red, or white to a red that black letters can
 * be read on. */
static void word_color(uint8_t c[3], double t, bool has_sign) {
    tb_colormap_at(c, TB_COLORMAP_DIVERGING, (float)(0.5 + (has_sign ? 0.5 : 0.4) * t));
}

static void print_colored(const tb_words *w, bool has_sign, tb_color_depth depth) {
    static const uint8_t black[3] = {0, 0, 0}, white[3] = {255, 255, 255};
    size_t at = 0, end = strlen(w->text);
    int width = tb_terminal_width(), column = 2;
    printf("  ");
    for (int i = 0; i < w->n_words; i++) {
        const tb_word *word = &w->words[i];
        size_t gap = word->at_utf8.start > at ? word->at_utf8.start - at : 0;
        int cells = tb_text_cells(word->text.data, word->text.size);
        int before = tb_text_cells(w->text + at, gap);
        bool blank = gap && strspn(w->text + at, " \t\r\n") >= gap;
        if (blank && column + before + cells > width) {
            printf("\n  ");
            column = 2;
        } else {
            tb_print_safe(w->text + at, gap);
            column += before;
        }
        double t = tb_words_scaled(w, word->value, has_sign);
        uint8_t c[3];
        word_color(c, t, has_sign);
        if (has_ground(t)) {
            tb_terminal_color(depth, c, true);
            tb_terminal_color(depth, is_dark(c) ? white : black, false);
        }
        tb_print_safe(word->text.data, word->text.size);
        tb_terminal_reset(depth);
        column += cells;
        if (word->at_utf8.end > at) at = word->at_utf8.end;
    }
    if (end > at) tb_print_safe(w->text + at, end - at);
    double most = fmax(fabs(w->low), fabs(w->high));
    printf("\n");
    scale colors;
    for (int i = 0; i < SCALE_CELLS; i++)
        word_color(colors.cell[i], scale_at(i, has_sign), has_sign);
    print_scale(&colors, has_sign ? -most : w->low, has_sign ? most : w->high, depth);
}

/* word[value] in plain text, a bar list for short texts. */
static void print_plain(const tb_words *w, bool has_sign) {
    for (int i = 0; i < w->n_words; i++) {
        const tb_word *word = &w->words[i];
        if (w->n_words > PLAIN_WORDS) {
            printf("%s", i % 8 ? " " : i ? "\n  " : "  ");
            tb_print_safe(word->text.data, word->text.size);
            printf("[%.3g]", word->value);
            continue;
        }
        double part = tb_words_scaled(w, word->value, has_sign);
        printf("  %+12.4e  ", word->value);
        print_bar(fabs(part), bar_width(), TB_COLOR_NONE);
        printf("%s", part < 0.0 ? " - " : "   ");
        tb_print_safe(word->text.data, word->text.size);
        printf("\n");
    }
    if (w->n_words > PLAIN_WORDS) printf("\n");
}

static void print_words(const tb_words *w, bool has_sign, tb_color_depth depth) {
    if (w->n_words == 0) printf("  (no words)\n");
    if (depth)
        print_colored(w, has_sign, depth);
    else
        print_plain(w, has_sign);
    int n = 0;
    for (int i = 0; i < w->n_tokens; i++) {
        if (!w->tokens[i].special) continue;
        printf("%s", n++ ? ", " : "  special tokens, not scaled: ");
        tb_print_safe(w->tokens[i].text.data, w->tokens[i].text.size);
        printf(" %.3g", w->tokens[i].value);
        if (n == 8) break;
    }
    if (n) printf("\n");
}

/* The largest of the tokens of an array; those that the score reads itself stand behind. */
static void print_list(const tb_token_list *list, tb_color_depth depth) {
    int64_t n = 0, others = 0;
    for (int64_t i = 0; i < list->n; i++) others += !list->tokens[i].read;
    printf("  ");
    tb_print_safe(list->title, strlen(list->title));
    printf(": %s%lld of %lld tokens\n", others > MOST_LISTED ? "the largest " : "",
           (long long)(others > MOST_LISTED ? MOST_LISTED : others), (long long)list->n);
    for (int64_t i = 0; i < list->n && n < MOST_LISTED; i++) {
        const tb_listed_token *token = &list->tokens[list->order[i]];
        if (token->read) continue;
        double part = tb_token_list_scaled(list, list->order[i]);
        printf("  %+12.4e  ", token->value);
        print_bar(fabs(part), bar_width(), depth);
        printf("%s", part < 0.0 ? " - " : "   ");
        tb_print_safe(token->name, strlen(token->name));
        printf("\n");
        n++;
    }
    for (int64_t i = 0; i < list->n; i++) {
        if (!list->tokens[i].read) continue;
        printf("  the score reads ");
        tb_print_safe(list->tokens[i].name, strlen(list->tokens[i].name));
        printf(", not scaled: %.3g\n", list->tokens[i].value);
    }
}

/* -------------------------------------------------------------------- maps */

/* One cell: two values above each other, NAN where the model saw nothing of the picture. */
static void print_cell(float above, float below, float low, float high, tb_colormap colors,
                       tb_color_depth depth) {
    bool up = !isnan(above), down = !isnan(below);
    float room = high > low ? high - low : 1.0f;
    uint8_t c[3];
    if (up) {
        tb_colormap_at(c, colors, (above - low) / room);
        tb_terminal_color(depth, c, false);
    }
    if (down) {
        tb_colormap_at(c, colors, (below - low) / room);
        tb_terminal_color(depth, c, up);
    }
    fputs(up ? "▀" : down ? "▄" : " ", stdout);
    tb_terminal_reset(depth);
}

/* A thumbnail of the picture's shape, at most `edge` cells wide and half as many tall. */
static void print_map(const tb_report *r, const tb_view *v, const float *grid, int rows,
                      int columns, int edge, const tb_look *look, tb_color_depth depth) {
    const tb_geometry *g = &r->sample->geometry;
    int room = tb_terminal_width() - 2;
    if (edge > room) edge = room;
    int w = r->sample->picture.width, h = r->sample->picture.height, longest = w > h ? w : h;
    int wide = (int)((int64_t)w * edge / longest), tall = (int)((int64_t)h * edge / longest);
    wide = wide < 1 ? 1 : wide;
    tall = tall < 2 ? 2 : tall + (tall & 1);
    float *input = tb_arena_alloc(r->arena, (size_t)g->height * sizeof *input, (size_t)g->width);
    float *map = tb_arena_alloc(r->arena, (size_t)tall * sizeof *map, (size_t)wide);
    if (!input || !map) return;
    float low, high;
    tb_heatmap_range(&low, &high, grid, (size_t)(rows * columns));
    tb_look_range(&low, &high, look, v->has_sign);
    tb_heatmap_upsample(input, g->height, g->width, grid, rows, columns);
    tb_heatmap_on_picture(map, tall, wide, input, g);
    tb_colormap colors = tb_look_colors(look, v->has_sign);
    for (int y = 0; y < tall; y += 2) {
        printf("  ");
        for (int x = 0; x < wide; x++)
            print_cell(map[y * wide + x], map[(y + 1) * wide + x], low, high, colors, depth);
        printf("\n");
    }
    scale ramp;
    for (int i = 0; i < SCALE_CELLS; i++)
        tb_colormap_at(ramp.cell[i], colors, (float)scale_at(i, false));
    print_scale(&ramp, (double)low, (double)high, depth);
}

/* -------------------------------------------------------------------- the whole */

static void print_view(const tb_report *r, const tb_view *v, const tb_look *look,
                       tb_color_depth depth) {
    bool several = r->n_views > 1;
    if (!v->words && !v->n_lists && !(depth && v->grid) && !several && !v->method_note) return;
    printf("\n");
    tb_print_safe(v->label, strlen(v->label));
    printf(": %s", v->detail);
    if (v->method_note) printf(", "), tb_print_safe(v->method_note, strlen(v->method_note));
    printf("%s\n", v->has_sign ? " (signed)" : "");
    if (v->grid && depth)
        print_map(r, v, v->grid, (int)v->image->rows, (int)v->image->columns, several ? 20 : 32,
                  look, depth);
    else if (v->grid)
        printf("  map of %lld x %lld patches, %.3g to %.3g\n", (long long)v->image->rows,
               (long long)v->image->columns, (double)v->low, (double)v->high);
    if (v->words) print_words(v->words, v->has_sign, depth);
    for (int i = 0; i < v->n_lists; i++) print_list(&v->lists[i], depth);
    if (!v->other) return;
    printf("\n");
    tb_print_safe(v->other->text, strlen(v->other->text));
    printf("%s\n", r->kind == TB_KIND_PAIRS ? ": what of it speaks against its score" : "");
    print_words(v->other, v->has_sign, depth);
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
        tb_print_safe(row->word->text.data, row->word->text.size);
        if (row->high > row->low)
            printf("  most at row %d, column %d\n", best / columns + 1, best % columns + 1);
        else
            printf("  nowhere more than elsewhere\n");
        if (image && depth)
            print_map(r, &r->views[0], row->grid, (int)image->rows, columns, 16, look, depth);
    }
}

void tb_render_text_trust(const char *start, const tb_view *v) {
    if (v->trust) printf("%strust: %s\n", start, v->trust);
    for (int t = 0; t < v->n_towers; t++)
        if (v->towers[t].check) printf("%scheck: %s\n", start, v->towers[t].check->text);
}

void tb_render_text(const tb_report *r, const tb_look *look, tb_color_depth depth,
                    const char *const *files) {
    for (int s = 0; s < r->n_samples; s++) {
        if (r->n_samples > 1 && r->kind != TB_KIND_PAIRS && s < r->sample->n_texts) {
            printf("%s", s ? "\n" : "");
            tb_print_safe(r->sample->texts[s], strlen(r->sample->texts[s]));
            printf("\n");
        }
        print_scores(r, &r->scores[s], depth);
    }
    for (int v = 0; v < r->n_views; v++) {
        print_view(r, &r->views[v], look, depth);
        tb_render_text_trust("", &r->views[v]);
    }
    print_rows(r, look, depth);
    for (int i = 0; i < r->n_notes; i++) {
        printf("note: ");
        tb_print_safe(r->notes[i], strlen(r->notes[i]));
        printf("\n");
    }
    for (int i = 0; files && files[i]; i++) printf("wrote %s\n", files[i]);
}
