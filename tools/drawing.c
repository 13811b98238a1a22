#include "tools/drawing.h"

#include <stdlib.h>
#include <string.h>

#include "io/picture_write.h"
#include "io/text.h"

/* Of usual fonts: the height of a capital in ems. */
static const double capital = 0.72;

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

tiba_status tb_drawing_named(const char *path, tiba_error *error) {
    if (ends_with(path, ".svg") || ends_with(path, ".png")) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE, "%s: a plot's name ends in .png or .svg", path);
}

tiba_status tb_drawing_start(tb_drawing *d, tb_arena *arena, const char *path, int width,
                             int height, tiba_error *error) {
    *d = (tb_drawing){
        .arena = arena, .vectors = ends_with(path, ".svg"), .width = width, .height = height};
    TB_TRY(tb_drawing_named(path, error));
    if (!d->vectors) {
        size_t bytes = 3 * (size_t)width * (size_t)height;
        d->canvas = (tb_picture){.width = width, .height = height};
        d->canvas.rgb = tb_arena_alloc(arena, bytes, 1);
        if (!d->canvas.rgb) return tb_out_of_memory(error);
        memset(d->canvas.rgb, 255, bytes);
        return TIBA_OK;
    }
    d->file = open_memstream(&d->text, &d->size);
    if (!d->file) return tb_out_of_memory(error);
    fprintf(d->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
            "%d\" font-family=\"sans-serif\">\n<rect width=\"100%%\" height=\"100%%\" "
            "fill=\"#fff\"/>\n",
            width, height, width, height);
    return TIBA_OK;
}

void tb_drawing_line(tb_drawing *d, float x0, float y0, float x1, float y1, float width,
                     const uint8_t color[3]) {
    if (!d->vectors) {
        tb_line_draw(&d->canvas, x0, y0, x1, y1, width, color);
        return;
    }
    fprintf(d->file,
            "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#%02x%02x%02x\" stroke-width=\"%.1f\" "
            "stroke-linecap=\"round\"/>\n",
            (double)x0, (double)y0, (double)x1, (double)y1, color[0], color[1], color[2],
            (double)width);
}

void tb_drawing_text(tb_drawing *d, float x, float y, tb_anchor anchor, float size, bool bold,
                     const uint8_t color[3], const char *text) {
    static const char *const anchors[] = {"start", "middle", "end"};
    if (!d->vectors) {
        tb_text_style style = {size, bold, {color[0], color[1], color[2]}};
        float width = tb_text_width(text, &style);
        x -= anchor == TB_ANCHOR_START ? 0.0f : anchor == TB_ANCHOR_END ? width : 0.5f * width;
        tb_text_draw(&d->canvas, x, y, 0.0f, text, &style);
        return;
    }
    fprintf(d->file,
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%.1f\" "
            "fill=\"#%02x%02x%02x\"%s>",
            (double)x, (double)y, anchors[anchor], (double)size / capital, color[0], color[1],
            color[2], bold ? " font-weight=\"bold\"" : "");
    for (const char *c = text; *c; c++) {
        if (*c == '<' || *c == '&')
            fputs(*c == '<' ? "&lt;" : "&amp;", d->file);
        else
            fputc(*c, d->file);
    }
    fputs("</text>\n", d->file);
}

tiba_status tb_drawing_end(uint8_t **out, size_t *size, tb_drawing *d, tiba_error *error) {
    if (!d->vectors)
        return out ? tb_picture_encode_png(out, size, d->arena, &d->canvas, error) : TIBA_OK;
    fputs("</svg>\n", d->file);
    bool good = fclose(d->file) == 0;
    if (out) {
        *out = good ? (uint8_t *)tb_arena_strndup(d->arena, d->text, d->size) : NULL;
        *size = d->size;
    }
    free(d->text);
    return !out || *out ? TIBA_OK : tb_out_of_memory(error);
}
