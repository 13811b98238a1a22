/*
 * render.h: a report as something to look at or to read on: on the terminal, as JSON, a page, a
 * picture or arrays. Each is a file of its own and takes everything from the report.
 */
#ifndef TB_TOOLS_RENDER_H
#define TB_TOOLS_RENDER_H

#include "io/heatmap.h"
#include "io/json_write.h"
#include "tools/outputs.h"
#include "tools/report.h"
#include "tools/terminal.h"

/** How maps are coloured. */
typedef struct tb_look {
    tb_colormap colors;
    bool colors_given; /**< else signed maps get the diverging map, others viridis */
    float opacity;
} tb_look;
/** Checks --colormap (NULL: not given) and --opacity. */
tiba_status tb_look_parse(tb_look *out, const char *colors, double opacity, tiba_error *error);
tb_colormap tb_look_colors(const tb_look *look, bool has_sign);
/** Limits of the colours' scale: symmetric around 0 for signed maps, and for the diverging colours,
 *  whose middle says 0. */
void tb_look_range(float *low, float *high, const tb_look *look, bool has_sign);
bool tb_look_symmetric(const tb_look *look, bool has_sign);

/** To standard output. `files` are written ones to name, NULL-terminated; may be NULL. */
void tb_render_text(const tb_report *report, const tb_look *look, tb_color_depth depth,
                    const char *const *files);
/** JSON by docs/explanation.schema.json, with a line end, from the arena. */
tiba_status tb_render_json(char **out, size_t *size, const tb_report *report, tiba_error *error);
/** A tower's `conservation`, `not_finite` and `check`, as every JSON has them. */
void tb_render_json_trust(tb_json_writer *w, const tb_view *view, const tb_view_tower *tower);
/** The view's trust line, and a line for each check, behind `start`. */
void tb_render_text_trust(const char *start, const tb_view *view);
/** The panel: the original and every view's map (and the table's rows), as PNG. */
tiba_status tb_render_png(uint8_t **out, size_t *size, const tb_report *report, const tb_look *look,
                          tiba_error *error);
/** What a user should know about the panel's captions; NULL: nothing. */
const char *tb_png_note(const tb_report *report);
/** The picture alone under the first view's map, at its own size and with the scale below, as PNG.
 */
tiba_status tb_render_overlay(uint8_t **out, size_t *size, const tb_report *report,
                              const tb_look *look, tiba_error *error);
/** Adds the .npy files of the only view: outputs, tokens, readout, blocks, map. */
tiba_status tb_render_npy(tb_outputs *outputs, const tb_report *report, const char *folder,
                          tiba_error *error);
/** One self-contained page, from the arena. */
tiba_status tb_render_html(char **out, size_t *size, const tb_report *report, const tb_look *look,
                           tiba_error *error);

#endif
