/*
 * text.h: captions on pictures, in a stroke font of our own: every glyph is a few lines and arcs,
 * drawn with round caps and anti-aliased at any size.
 *
 * Printable ASCII; other characters are taken apart (e-acute is drawn as e), and what remains
 * foreign is drawn as a box.
 */
#ifndef TB_IO_TEXT_H
#define TB_IO_TEXT_H

#include "io/picture.h"

typedef struct tb_text_style {
    float size; /**< height of a capital, in pixels */
    bool bold;
    uint8_t color[3];
} tb_text_style;

/** Whether at least half of the characters are drawn as themselves rather than as a box. */
bool tb_text_drawable(const char *text);
/** Bytes of `text` that fit into `room` pixels, cut at a blank where there is one; at least one
 *  character. */
size_t tb_text_fit(const char *text, float room, const tb_text_style *style);
/** Pixels from the first glyph's left edge to the last one's right edge. */
float tb_text_width(const char *text, const tb_text_style *style);
/** Draws valid or invalid UTF-8 with its left edge at x, standing on the baseline y; what lies
 *  outside the canvas or beyond `room` pixels (0: no limit) is cut, ending in "..". */
void tb_text_draw(tb_picture *canvas, float x, float y, float room, const char *text,
                  const tb_text_style *style);

/** A line with round ends, anti-aliased; a dot where both ends are the same. */
void tb_line_draw(tb_picture *canvas, float x0, float y0, float x1, float y1, float width,
                  const uint8_t color[3]);

#endif
