/*
 * drawing.h: lines and texts on a white ground, as a PNG or an SVG file. Coordinates are pixels
 * from the upper left corner.
 */
#ifndef TB_TOOLS_DRAWING_H
#define TB_TOOLS_DRAWING_H

#include <stdio.h>

#include "io/picture.h"

typedef enum tb_anchor { TB_ANCHOR_START, TB_ANCHOR_MIDDLE, TB_ANCHOR_END } tb_anchor;

typedef struct tb_drawing {
    tb_arena *arena;
    bool vectors; /**< SVG */
    int width, height;
    FILE *file; /**< of an SVG */
    char *text;
    size_t size;
    tb_picture canvas; /**< of a PNG */
} tb_drawing;

/** Whether a file's name ends in .svg or .png; else an error. */
tiba_status tb_drawing_named(const char *path, tiba_error *error);
/** By the end of `path`: .svg or .png. */
tiba_status tb_drawing_start(tb_drawing *out, tb_arena *arena, const char *path, int width,
                             int height, tiba_error *error);
/** A line with round ends; a dot where both are the same. */
void tb_drawing_line(tb_drawing *drawing, float x0, float y0, float x1, float y1, float width,
                     const uint8_t color[3]);
/** On the baseline y; `size` is the height of a capital. */
void tb_drawing_text(tb_drawing *drawing, float x, float y, tb_anchor anchor, float size, bool bold,
                     const uint8_t color[3], const char *text);
/** The file's bytes, from the arena. Also ends the drawing where something has failed (`out` NULL).
 */
tiba_status tb_drawing_end(uint8_t **out, size_t *size, tb_drawing *drawing, tiba_error *error);

#endif
