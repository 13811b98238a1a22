/*
 * panel.c: lays the panel out and draws it. All sizes are pixels of the panel; pictures are shown
 * at a size where captions fit under and over them: large ones reduced, small ones enlarged by a
 * whole factor.
 */
#include "io/panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/text.h"

enum {
    LARGEST_EDGE = 512,
    SMALLEST_EDGE = 320,
    NARROWEST = 256, /* a column, so that captions can be read */
    NARROWEST_SCALE = 140,
    MARGIN = 24,
    GAP = 24,
    CAPTION_LINE = 22, /* of the captions above a picture */
    DETAIL_LINE = 18,
    CAPTION_GAP = 8, /* below them */
    MOST_CAPTION_LINES = 3,
    MOST_DETAIL_LINES = 2,
    SCALE = 44, /* the colours' scale below it */
    BAR = 12,
    MOST_COLUMNS = 4,
    MANY_MAPS = 24 /* from here on twice as many columns */
};

static const tb_text_style caption_style = {14.0f, true, {28, 30, 34}};
static const tb_text_style detail_style = {11.0f, false, {98, 102, 110}};

typedef struct layout {
    int picture_width, picture_height; /* as shown */
    int column, row;                   /* size of a cell without gaps */
    int columns, rows;
    int caption, detail; /* most lines of any cell */
    int captions;        /* height of both together */
} layout;

/* How many lines a text takes, at most `most`. */
static int count_lines(const char *text, int room, int most, const tb_text_style *style) {
    int lines = 0;
    while (text && *text && lines < most) {
        text += tb_text_fit(text, (float)room, style);
        while (*text == ' ') text++;
        lines++;
    }
    return lines;
}

/* Draws a text over up to `most` lines, the last one cut where it does not fit. */
static void draw_lines(tb_picture *canvas, int x, int y, int room, int height, int most,
                       const char *text, const tb_text_style *style) {
    for (int line = 1; text && *text && line <= most; line++, y += height) {
        char part[256];
        size_t n = line < most ? tb_text_fit(text, (float)room, style) : strlen(text);
        snprintf(part, sizeof part, "%.*s", (int)(n < sizeof part ? n : sizeof part - 1), text);
        tb_text_draw(canvas, (float)x, (float)y, (float)room, part, style);
        text += n;
        while (*text == ' ') text++;
    }
}

static layout make_layout(const tb_picture *picture, const char *title, const tb_panel_map *maps,
                          int cells) {
    layout l = {.detail = 1};
    int w = picture->width, h = picture->height, edge = w > h ? w : h;
    if (edge > LARGEST_EDGE) {
        l.picture_width = (int)((int64_t)w * LARGEST_EDGE / edge);
        l.picture_height = (int)((int64_t)h * LARGEST_EDGE / edge);
    } else {
        int factor = (SMALLEST_EDGE + edge - 1) / edge;
        l.picture_width = w * factor;
        l.picture_height = h * factor;
    }
    if (l.picture_width < 1) l.picture_width = 1;
    if (l.picture_height < 1) l.picture_height = 1;
    l.column = l.picture_width > NARROWEST ? l.picture_width : NARROWEST;
    l.caption = count_lines(title, l.column, MOST_CAPTION_LINES, &caption_style);
    for (int i = 0; i < cells - 1; i++) {
        int n = count_lines(maps[i].caption, l.column, MOST_CAPTION_LINES, &caption_style);
        int m = count_lines(maps[i].detail, l.column, MOST_DETAIL_LINES, &detail_style);
        l.caption = n > l.caption ? n : l.caption;
        l.detail = m > l.detail ? m : l.detail;
    }
    l.captions = l.caption * CAPTION_LINE + l.detail * DETAIL_LINE + CAPTION_GAP;
    l.row = l.captions + l.picture_height + SCALE;
    /* as few rows as possible, as even as possible: 3 + 3, not 4 + 2 */
    int most = cells <= MANY_MAPS ? MOST_COLUMNS : 2 * MOST_COLUMNS;
    l.rows = (cells + most - 1) / most;
    l.columns = (cells + l.rows - 1) / l.rows;
    return l;
}

static const char *title_of(const tb_panel_options *options) {
    return options->title ? options->title : "picture";
}

static tiba_status show_at(tb_picture *out, tb_arena *arena, const tb_picture *picture, int width,
                           int height, tiba_error *error) {
    tb_resample_size size = {
        .width = width, .height = height, .window_width = width, .window_height = height};
    bool enlarged = width > picture->width;
    return tb_resample(out, arena, picture, &size, enlarged ? TB_FILTER_NEAREST : TB_FILTER_LANCZOS,
                       false, error);
}

/* `map` laid over `shown`, in place. */
static tiba_status lay_over(tb_picture *shown, float *low, float *high, tb_arena *arena,
                            const tb_geometry *g, const tb_panel_map *map,
                            const tb_panel_options *options, tiba_error *error) {
    float *input = tb_arena_alloc(arena, (size_t)g->height * sizeof *input, (size_t)g->width);
    float *seen = tb_arena_alloc(arena, (size_t)shown->height * sizeof *seen, (size_t)shown->width);
    if (!input || !seen) return tb_out_of_memory(error);
    tb_heatmap_upsample(input, g->height, g->width, map->grid, map->rows, map->columns);
    tb_heatmap_on_picture(seen, shown->height, shown->width, input, g);
    tb_heatmap_range(low, high, map->grid, (size_t)map->rows * (size_t)map->columns);
    if (map->symmetric) {
        *high = fmaxf(fabsf(*low), fabsf(*high));
        *low = -*high;
    }
    tb_heatmap_overlay(shown, seen, *low, *high, map->colors, options->opacity);
    return TIBA_OK;
}

static void paste(tb_picture *canvas, const tb_picture *part, int x, int y) {
    for (int row = 0; row < part->height; row++)
        memcpy(canvas->rgb + 3 * ((size_t)(y + row) * (size_t)canvas->width + (size_t)x),
               part->rgb + 3 * (size_t)row * (size_t)part->width, 3 * (size_t)part->width);
}

/* The bar with its limits below; `times` the size that it has in a panel. */
static void draw_scale(tb_picture *canvas, int x, int y, int width, float times, float low,
                       float high, tb_colormap colors) {
    int bar = (int)(BAR * times);
    tb_text_style style = detail_style;
    style.size *= times;
    for (int i = 0; i < width; i++) {
        uint8_t color[3];
        tb_colormap_at(color, colors, width > 1 ? (float)i / (float)(width - 1) : 0.0f);
        for (int k = 0; k < bar; k++)
            memcpy(canvas->rgb + 3 * ((size_t)(y + k) * (size_t)canvas->width + (size_t)(x + i)),
                   color, 3);
    }
    char text[32];
    float baseline = (float)(y + bar) + 7.0f * times + style.size;
    snprintf(text, sizeof text, "%.3g", (double)low);
    tb_text_draw(canvas, (float)x, baseline, 0.0f, text, &style);
    snprintf(text, sizeof text, "%.3g", (double)high);
    float right = (float)(x + width) - tb_text_width(text, &style);
    tb_text_draw(canvas, right, baseline, 0.0f, text, &style);
}

/* The captions stand right above the picture, whatever the other cells need. */
static void draw_captions(tb_picture *canvas, const layout *l, int x, int y, const char *caption,
                          const char *detail) {
    int n = count_lines(caption, l->column, MOST_CAPTION_LINES, &caption_style);
    int m = count_lines(detail, l->column, MOST_DETAIL_LINES, &detail_style);
    y += (l->caption - n) * CAPTION_LINE + (l->detail - m) * DETAIL_LINE;
    draw_lines(canvas, x, y + 17, l->column, CAPTION_LINE, MOST_CAPTION_LINES, caption,
               &caption_style);
    draw_lines(canvas, x, y + n * CAPTION_LINE + 15, l->column, DETAIL_LINE, MOST_DETAIL_LINES,
               detail, &detail_style);
}

static tiba_status draw(tb_picture *canvas, tb_arena *work, const layout *l,
                        const tb_picture *picture, const tb_geometry *geometry,
                        const tb_panel_map *maps, int count, const tb_panel_options *options,
                        tiba_error *error) {
    tb_picture shown, overlay;
    TB_TRY(show_at(&shown, work, picture, l->picture_width, l->picture_height, error));
    size_t bytes = 3 * (size_t)shown.width * (size_t)shown.height;
    overlay = shown;
    overlay.rgb = tb_arena_alloc(work, bytes, 1);
    if (!overlay.rgb) return tb_out_of_memory(error);
    for (int i = 0; i <= count; i++) {
        int x = MARGIN + i % l->columns * (l->column + GAP);
        int y = MARGIN + i / l->columns * (l->row + GAP);
        int below = y + l->captions + l->picture_height + 10;
        if (i == 0) {
            char size[64];
            snprintf(size, sizeof size, "%d x %d pixels", picture->width, picture->height);
            draw_captions(canvas, l, x, y, title_of(options), size);
            paste(canvas, &shown, x, y + l->captions);
            continue;
        }
        const tb_panel_map *map = &maps[i - 1];
        float low, high;
        memcpy(overlay.rgb, shown.rgb, bytes);
        TB_TRY(lay_over(&overlay, &low, &high, work, geometry, map, options, error));
        draw_captions(canvas, l, x, y, map->caption, map->detail);
        paste(canvas, &overlay, x, y + l->captions);
        draw_scale(canvas, x, below, l->column, 1.0f, low, high, map->colors);
    }
    return TIBA_OK;
}

/* Everything that could make the drawing go out of bounds. */
static tiba_status check(const tb_geometry *g, const tb_panel_map *maps, int count,
                         tiba_error *error) {
    if (count < 1 || count > TB_PANEL_MOST_MAPS)
        return tb_fail(error, TIBA_ERROR_USAGE, "a panel of %d maps (1 to %d are possible)", count,
                       TB_PANEL_MOST_MAPS);
    bool sound = g->width > 0 && g->height > 0 && g->resized_width > 0 && g->resized_height > 0;
    for (int i = 0; i < count; i++) sound = sound && maps[i].rows > 0 && maps[i].columns > 0;
    return sound ? TIBA_OK : tb_fail(error, TIBA_ERROR_USAGE, "an empty map");
}

tiba_status tb_panel_draw(tb_picture *out, tb_arena *arena, const tb_picture *picture,
                          const tb_geometry *geometry, const tb_panel_map *maps, int count,
                          const tb_panel_options *options, tiba_error *error) {
    TB_TRY(check(geometry, maps, count, error));
    layout l = make_layout(picture, title_of(options), maps, count + 1);
    tb_picture canvas = {.width = 2 * MARGIN + l.columns * (l.column + GAP) - GAP,
                         .height = 2 * MARGIN + l.rows * (l.row + GAP) - GAP};
    size_t bytes = 3 * (size_t)canvas.width * (size_t)canvas.height;
    canvas.rgb = tb_arena_alloc(arena, bytes, 1);
    tb_arena *work = tb_arena_create(tb_arena_budget(arena));
    tiba_status status = TIBA_OK;
    if (canvas.rgb && work) {
        memset(canvas.rgb, 255, bytes);
        status = draw(&canvas, work, &l, picture, geometry, maps, count, options, error);
    } else {
        status = tb_out_of_memory(error);
    }
    tb_arena_destroy(work);
    if (status == TIBA_OK) *out = canvas;
    return status;
}

tiba_status tb_panel_overlay(tb_picture *out, tb_arena *arena, const tb_picture *picture,
                             const tb_geometry *geometry, const tb_panel_map *map,
                             const tb_panel_options *options, tiba_error *error) {
    TB_TRY(check(geometry, map, 1, error));
    /* the scale is as large as the picture makes letters look as large as in a panel */
    int edge = picture->width > picture->height ? picture->width : picture->height;
    float times = edge > LARGEST_EDGE ? (float)edge / LARGEST_EDGE : 1.0f;
    int gap = (int)(10.0f * times), narrowest = NARROWEST_SCALE;
    tb_picture shown = *picture, canvas = {.width = picture->width, .height = picture->height};
    if (canvas.width < narrowest) canvas.width = narrowest;
    canvas.height += (int)(SCALE * times);
    size_t bytes = 3 * (size_t)picture->width * (size_t)picture->height;
    size_t all = 3 * (size_t)canvas.width * (size_t)canvas.height;
    canvas.rgb = tb_arena_alloc(arena, all, 1);
    tb_arena *work = tb_arena_create(tb_arena_budget(arena));
    if (work) shown.rgb = tb_arena_alloc(work, bytes, 1);
    tiba_status status = TIBA_OK;
    float low, high;
    if (canvas.rgb && work && shown.rgb) {
        memcpy(shown.rgb, picture->rgb, bytes);
        memset(canvas.rgb, 255, all);
        status = lay_over(&shown, &low, &high, work, geometry, map, options, error);
    } else {
        status = tb_out_of_memory(error);
    }
    if (status == TIBA_OK) {
        paste(&canvas, &shown, 0, 0);
        draw_scale(&canvas, 0, picture->height + gap, canvas.width, times, low, high, map->colors);
        *out = canvas;
    }
    tb_arena_destroy(work);
    return status;
}
