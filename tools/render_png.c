/* render_png.c: the look of maps, and the panel of a report's views as a PNG file. */
#include <math.h>
#include <string.h>

#include "io/panel.h"
#include "io/picture_write.h"
#include "io/text.h"
#include "tools/render.h"

tiba_status tb_look_parse(tb_look *out, const char *colors, double opacity, tiba_error *error) {
    *out = (tb_look){.opacity = (float)opacity};
    if (!(opacity >= 0.0 && opacity <= 1.0))
        return tb_fail(error, TIBA_ERROR_USAGE, "--opacity: %g is not between 0 and 1", opacity);
    out->colors_given = colors != NULL;
    if (!colors || tb_colormap_from_name(&out->colors, colors)) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE,
                   "--colormap: '%s' is none of viridis, magma, turbo, jet, gray, diverging",
                   colors);
}

tb_colormap tb_look_colors(const tb_look *look, bool has_sign) {
    if (look->colors_given) return look->colors;
    return has_sign ? TB_COLORMAP_DIVERGING : TB_COLORMAP_VIRIDIS;
}

bool tb_look_symmetric(const tb_look *look, bool has_sign) {
    return has_sign || tb_look_colors(look, has_sign) == TB_COLORMAP_DIVERGING;
}

void tb_look_range(float *low, float *high, const tb_look *look, bool has_sign) {
    if (!tb_look_symmetric(look, has_sign)) return;
    *high = fmaxf(fabsf(*low), fabsf(*high));
    *low = -*high;
}

/* What stands for a caption in a script that the panel's font does not have: the page and the
 * terminal show it. NULL: out of memory. */
static const char *view_caption(const tb_report *r, const tb_view *v) {
    if (tb_text_drawable(v->label)) return v->label;
    for (int k = 0; r->kind == TB_KIND_PAIRS && k < r->sample->n_texts; k++)
        if (strcmp(v->label, r->sample->texts[k]) == 0)
            return tb_arena_format(r->arena, "text %d", k + 1);
    return tb_arena_format(r->arena, "class %lld",
                           v->target.rank ? (long long)v->target.index[v->target.rank - 1] : 0LL);
}

const char *tb_png_note(const tb_report *r) {
    for (int i = 0; i < r->n_views; i++)
        if (!tb_text_drawable(r->views[i].label))
            return tb_arena_format(
                r->arena,
                "the panel's letters are Latin: it calls '%s' '%s'; terminal and "
                "page show every script",
                r->views[i].label, view_caption(r, &r->views[i]));
    return NULL;
}

static const char *view_detail(const tb_report *r, const tb_view *v) {
    if (!v->method_note || !tb_text_drawable(v->method_note)) return v->detail;
    return tb_arena_format(r->arena, "%s, %s", v->detail, v->method_note);
}

static tb_panel_map map_of(const float *grid, int rows, int columns, const tb_view *view,
                           const tb_look *look) {
    return (tb_panel_map){.grid = grid,
                          .rows = rows,
                          .columns = columns,
                          .colors = tb_look_colors(look, view->has_sign),
                          .symmetric = tb_look_symmetric(look, view->has_sign)};
}

static tiba_status add_rows(tb_panel_map *maps, const tb_report *r, const tb_look *look,
                            tiba_error *error) {
    const tiba_tower *image = r->views[0].image;
    for (int i = 0; i < r->n_rows; i++) {
        const tb_table_row *row = &r->rows[i];
        char *word = tb_arena_strndup(r->arena, row->word->text.data, row->word->text.size);
        const char *caption =
            word && !tb_text_drawable(word) ? tb_arena_format(r->arena, "word %d", i + 1) : word;
        char *detail = tb_arena_format(r->arena, "adds %+.3f to the score", row->share);
        if (!caption || !detail) return tb_out_of_memory(error);
        maps[i] = map_of(row->grid, (int)image->rows, (int)image->columns, &r->views[0], look);
        maps[i].caption = caption;
        maps[i].detail = detail;
    }
    return TIBA_OK;
}

static tb_panel_options panel_options(const tb_report *r, const tb_look *look) {
    const char *slash = strrchr(r->sample->picture_path, '/');
    const char *name = slash ? slash + 1 : r->sample->picture_path;
    return (tb_panel_options){.opacity = look->opacity,
                              .title = tb_text_drawable(name) ? name : NULL};
}

static tiba_status no_grid(const tb_report *r, tiba_error *error) {
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "no picture to write: the tokens of input '%s' form no patch grid",
                   r->sample->image_input ? r->sample->image_input : "");
}

tiba_status tb_render_overlay(uint8_t **out, size_t *size, const tb_report *r, const tb_look *look,
                              tiba_error *error) {
    const tb_view *v = &r->views[0];
    if (!v->image) return no_grid(r, error);
    tb_panel_map map = map_of(v->map, v->map_rows, v->map_columns, v, look);
    tb_panel_options options = panel_options(r, look);
    tb_picture overlay;
    TB_TRY(tb_panel_overlay(&overlay, r->arena, &r->sample->picture, &r->sample->geometry, &map,
                            &options, error));
    return tb_picture_encode_png(out, size, r->arena, &overlay, error);
}

tiba_status tb_render_png(uint8_t **out, size_t *size, const tb_report *r, const tb_look *look,
                          tiba_error *error) {
    int n = r->n_views + r->n_rows;
    if (n > TB_PANEL_MOST_MAPS)
        return tb_fail(error, TIBA_ERROR_USAGE, "-o shows at most %d maps, not %d",
                       TB_PANEL_MOST_MAPS, n);
    tb_panel_map *maps = TB_NEW(r->arena, tb_panel_map, n);
    if (!maps) return tb_out_of_memory(error);
    for (int i = 0; i < r->n_views; i++) {
        const tb_view *v = &r->views[i];
        if (!v->image) return no_grid(r, error);
        const char *caption = view_caption(r, v), *detail = view_detail(r, v);
        if (!caption || !detail) return tb_out_of_memory(error);
        maps[i] = map_of(v->map, v->map_rows, v->map_columns, v, look);
        maps[i].caption = caption;
        maps[i].detail = detail;
    }
    if (r->n_rows) TB_TRY(add_rows(maps + r->n_views, r, look, error));
    tb_panel_options options = panel_options(r, look);
    tb_picture panel;
    TB_TRY(tb_panel_draw(&panel, r->arena, &r->sample->picture, &r->sample->geometry, maps, n,
                         &options, error));
    return tb_picture_encode_png(out, size, r->arena, &panel, error);
}
