/* render_png.c: the look of maps, and the panel of a report's views as a PNG file. */
#include <math.h>
#include <string.h>

#include "io/panel.h"
#include "io/picture_write.h"
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

tb_colormap tb_look_colors(const tb_look *look, const tb_report *report) {
    if (look->colors_given) return look->colors;
    return report->has_sign ? TB_COLORMAP_DIVERGING : TB_COLORMAP_VIRIDIS;
}

static tiba_status add_rows(tb_panel_map *maps, const tb_report *r, const tiba_tower *image,
                            tiba_error *error) {
    for (int i = 0; i < r->n_rows; i++) {
        const tb_table_row *row = &r->rows[i];
        char *caption = tb_arena_strndup(r->arena, row->word->text.data, row->word->text.size);
        char *detail = tb_arena_format(r->arena, "adds %+.3f to the score", row->share);
        if (!caption || !detail) return tb_out_of_memory(error);
        maps[i] = (tb_panel_map){caption, detail, row->grid, (int)image->rows, (int)image->columns};
    }
    return TIBA_OK;
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
        if (!v->image)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "no picture to write: the tokens of input '%s' form no patch grid",
                           r->sample->image_input ? r->sample->image_input : "");
        const char *detail = v->detail;
        if (v->method_note) detail = tb_arena_format(r->arena, "%s, %s", v->detail, v->method_note);
        if (!detail) return tb_out_of_memory(error);
        maps[i] = (tb_panel_map){v->label, detail, v->map, v->map_rows, v->map_columns};
    }
    if (r->n_rows) TB_TRY(add_rows(maps + r->n_views, r, r->views[0].image, error));
    const char *slash = strrchr(r->sample->picture_path, '/');
    tb_panel_options options = {.colors = tb_look_colors(look, r),
                                .opacity = look->opacity,
                                .symmetric = r->has_sign,
                                .title = slash ? slash + 1 : r->sample->picture_path};
    tb_picture panel;
    TB_TRY(tb_panel_draw(&panel, r->arena, &r->sample->picture, &r->sample->geometry, maps, n,
                         &options, error));
    return tb_picture_encode_png(out, size, r->arena, &panel, error);
}
