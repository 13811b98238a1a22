/*
 * text.c: the stroke font and its rasteriser.
 *
 * A glyph is a string of strokes on a grid where the baseline is 0, capitals are 28 high, small
 * letters 20, and descenders reach -8:
 *     Lx y x y …           a polyline (a single point is a dot)
 *     Cx y rx ry from to   an arc of the ellipse around (x, y), angles in degrees,
 * counter-clockwise A pixel's coverage follows from its distance to the nearest stroke.
 */
#include "io/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CAPITAL = 28, SPACING = 7, ARC_STEPS = 20, MOST_SEGMENTS = 96 };

typedef struct glyph {
    int width;
    const char *strokes;
} glyph;

static const glyph glyphs[] = {
    {5, ""},                                                                           /* space */
    {0, "L0 28 0 9L0 0"},                                                              /* ! */
    {6, "L0 28 0 20L6 28 6 20"},                                                       /* " */
    {18, "L4 0 7 28L12 0 15 28L0 9 17 9L1 19 18 19"},                                  /* # */
    {16, "C8 20 8 6 30 270C8 8 8 6 90 -150L8 31 8 -3"},                                /* $ */
    {22, "C5 22 5 6 0 360C17 6 5 6 0 360L18 28 4 0"},                                  /* % */
    {19, "L19 0 4 18C9 22 6 6 220 -50L13 17 4 11C8 7 8 7 120 340L15 4 19 13"},         /* & */
    {0, "L0 28 0 20"},                                                                 /* ' */
    {5, "C10 12 10 19 120 240"},                                                       /* ( */
    {5, "C-5 12 10 19 60 -60"},                                                        /* ) */
    {12, "L6 28 6 16L1 25 11 19L1 19 11 25"},                                          /* * */
    {16, "L0 12 16 12L8 4 8 20"},                                                      /* + */
    {2, "L2 1 0 -6"},                                                                  /* , */
    {10, "L0 11 10 11"},                                                               /* - */
    {0, "L0 0"},                                                                       /* . */
    {11, "L0 -4 11 30"},                                                               /* / */
    {16, "C8 14 8 14 0 360"},                                                          /* 0 */
    {16, "L3 22 9 28 9 0"},                                                            /* 1 */
    {16, "C8 20 8 8 165 -38L14 15 0 0 16 0"},                                          /* 2 */
    {16, "C8 21 7 7 155 -90C8 7 8 7 90 -155"},                                         /* 3 */
    {17, "L13 0 13 28 0 8 17 8"},                                                      /* 4 */
    {16, "L14 28 3 28 2 15C8 9 8 9 138 -148"},                                         /* 5 */
    {16, "C8 9 8 9 0 360C16 9 16 19 180 105"},                                         /* 6 */
    {16, "L0 28 16 28 5 0"},                                                           /* 7 */
    {16, "C8 21 7 7 0 360C8 7 8 7 0 360"},                                             /* 8 */
    {16, "C8 19 8 9 0 360C0 19 16 19 0 -75"},                                          /* 9 */
    {0, "L0 1L0 16"},                                                                  /* : */
    {2, "L2 16L2 1 0 -6"},                                                             /* ; */
    {14, "L14 21 0 12 14 3"},                                                          /* < */
    {16, "L0 16 16 16L0 8 16 8"},                                                      /* = */
    {14, "L0 21 14 12 0 3"},                                                           /* > */
    {14, "C7 21 7 7 165 -45L12 16 7 11 7 8L7 0"},                                      /* ? */
    {26, "C13 11 13 14 305 0C13 11 6 7 0 360L19 18 19 9C23 9 4 5 180 290L25 5 26 11"}, /* @ */
    {20, "L0 0 10 28 20 0L4 10 16 10"},                                                /* A */
    {17, "L0 0 0 28 9 28C9 21 7 7 90 -90L0 14 9 14C9 7 8 7 90 -90L9 0 0 0"},           /* B */
    {19, "C11 14 11 14 48 312"},                                                       /* C */
    {19, "L7 28 0 28 0 0 7 0C7 14 12 14 90 -90"},                                      /* D */
    {14, "L14 28 0 28 0 0 14 0L0 14 12 14"},                                           /* E */
    {14, "L14 28 0 28 0 0L0 14 12 14"},                                                /* F */
    {20, "C11 14 11 14 48 318L13 13 20 13 20 5"},                                      /* G */
    {18, "L0 0 0 28L18 0 18 28L0 14 18 14"},                                           /* H */
    {0, "L0 0 0 28"},                                                                  /* I */
    {12, "L12 28 12 7C6 7 6 7 0 -160"},                                                /* J */
    {17, "L0 0 0 28L16 28 0 11L6 17 17 0"},                                            /* K */
    {13, "L0 28 0 0 13 0"},                                                            /* L */
    {22, "L0 0 0 28 11 7 22 28 22 0"},                                                 /* M */
    {18, "L0 0 0 28 18 0 18 28"},                                                      /* N */
    {22, "C11 14 11 14 0 360"},                                                        /* O */
    {16, "L0 0 0 28 8 28C8 20 8 8 90 -90L8 12 0 12"},                                  /* P */
    {22, "C11 14 11 14 0 360L13 7 21 -2"},                                             /* Q */
    {17, "L0 0 0 28 8 28C8 20 8 8 90 -90L8 12 0 12L8 12 17 0"},                        /* R */
    {16, "C8 21 8 7 28 270C8 7 8 7 90 -152"},                                          /* S */
    {18, "L0 28 18 28L9 28 9 0"},                                                      /* T */
    {18, "L0 28 0 9C9 9 9 9 180 360L18 9 18 28"},                                      /* U */
    {20, "L0 28 10 0 20 28"},                                                          /* V */
    {28, "L0 28 7 0 14 26 21 0 28 28"},                                                /* W */
    {17, "L0 28 17 0L17 28 0 0"},                                                      /* X */
    {18, "L0 28 9 13 18 28L9 13 9 0"},                                                 /* Y */
    {17, "L0 28 17 28 0 0 17 0"},                                                      /* Z */
    {6, "L6 31 0 31 0 -6 6 -6"},                                                       /* [ */
    {11, "L0 30 11 -4"},                                                               /* \ */
    {6, "L0 31 6 31 6 -6 0 -6"},                                                       /* ] */
    {12, "L0 18 6 28 12 18"},                                                          /* ^ */
    {16, "L0 -6 16 -6"},                                                               /* _ */
    {4, "L0 28 4 22"},                                                                 /* ` */
    {13, "C7 13 6 7 0 150L13 13 13 0L13 12 6 12C6 6 6 6 90 270L6 0 9 1 13 5"},         /* a */
    {14, "L0 0 0 28C7 10 7 10 0 360"},                                                 /* b */
    {13, "C8 10 8 10 48 312"},                                                         /* c */
    {14, "L14 0 14 28C7 10 7 10 0 360"},                                               /* d */
    {15, "L0 11 15 11C8 10 8 10 7 315"},                                               /* e */
    {10, "L4 0 4 22C10 22 6 6 180 85L0 19 10 19"},                                     /* f */
    {14, "C7 10 7 10 0 360L14 20 14 -2C7 -2 7 7 0 -150"},                              /* g */
    {14, "L0 0 0 28C7 13 7 7 180 0L14 13 14 0"},                                       /* h */
    {0, "L0 0 0 20L0 28"},                                                             /* i */
    {4, "L4 20 4 -2C-1 -2 5 6 0 -90L4 28"},                                            /* j */
    {13, "L0 0 0 28L12 20 0 8L5 12 13 0"},                                             /* k */
    {4, "L0 28 0 5C5 5 5 5 180 270"},                                                  /* l */
    {24, "L0 0 0 20C6 14 6 6 180 0L12 14 12 0C18 14 6 6 180 0L24 14 24 0"},            /* m */
    {14, "L0 0 0 20C7 13 7 7 180 0L14 13 14 0"},                                       /* n */
    {16, "C8 10 8 10 0 360"},                                                          /* o */
    {14, "L0 20 0 -8C7 10 7 10 0 360"},                                                /* p */
    {14, "L14 20 14 -8C7 10 7 10 0 360"},                                              /* q */
    {9, "L0 0 0 20C8 12 8 8 180 78"},                                                  /* r */
    {12, "C6 15 6 5 32 270C6 5 6 5 90 -148"},                                          /* s */
    {10, "L4 26 4 6C9 6 5 6 180 280L0 19 10 19"},                                      /* t */
    {14, "L0 20 0 7C7 7 7 7 180 360L14 20 14 0"},                                      /* u */
    {14, "L0 20 7 0 14 20"},                                                           /* v */
    {22, "L0 20 5 0 11 18 17 0 22 20"},                                                /* w */
    {13, "L0 20 13 0L13 20 0 0"},                                                      /* x */
    {14, "L0 20 7 0L14 20 5 -6 0 -8"},                                                 /* y */
    {13, "L0 20 13 20 0 0 13 0"},                                                      /* z */
    {8, "C8 26 4 5 90 180L4 26 4 17C0 17 4 5 0 -90C0 7 4 5 90 0L4 7 4 -2C8 -2 4 5 180 270"}, /* { */
    {0, "L0 31 0 -6"},                                                                       /* | */
    {8, "C0 26 4 5 90 0L4 26 4 17C8 17 4 5 180 270C8 7 4 5 90 180L4 7 4 -2C0 -2 4 5 0 -90"}, /* } */
    {16, "C4 11 4 4 180 0C12 11 4 4 180 360"},                                               /* ~ */
    {16, "L0 0 0 28 16 28 16 0 0 0"}, /* a box */
};
enum { BOX = sizeof glyphs / sizeof glyphs[0] - 1 };

typedef struct segment {
    float x0, y0, x1, y1;
} segment;

static int add_arc(segment *out, int count, const float *n) {
    const float degree = 3.14159265f / 180.0f;
    for (int i = 0; i < ARC_STEPS && count < MOST_SEGMENTS; i++) {
        float end[2][2];
        for (int k = 0; k < 2; k++) {
            float angle = (n[4] + (n[5] - n[4]) * (float)(i + k) / ARC_STEPS) * degree;
            end[k][0] = n[0] + n[2] * cosf(angle);
            end[k][1] = n[1] + n[3] * sinf(angle);
        }
        out[count++] = (segment){end[0][0], end[0][1], end[1][0], end[1][1]};
    }
    return count;
}

/* The glyph's strokes as straight segments, in grid units. */
static int flatten(segment *out, const char *strokes) {
    int count = 0;
    while (*strokes) {
        char kind = *strokes++;
        float n[16];
        int numbers = 0;
        while (*strokes && *strokes != 'L' && *strokes != 'C' && numbers < 16) {
            char *end;
            n[numbers++] = (float)strtol(strokes, &end, 10);
            strokes = end;
        }
        if (kind == 'C') {
            count = add_arc(out, count, n);
            continue;
        }
        if (numbers == 2) n[2] = n[0], n[3] = n[1], numbers = 4;
        for (int i = 0; i + 3 < numbers && count < MOST_SEGMENTS; i += 2)
            out[count++] = (segment){n[i], n[i + 1], n[i + 2], n[i + 3]};
    }
    return count;
}

static float distance(const segment *s, float x, float y) {
    float dx = s->x1 - s->x0, dy = s->y1 - s->y0, square = dx * dx + dy * dy;
    float t = square > 0.0f ? ((x - s->x0) * dx + (y - s->y0) * dy) / square : 0.0f;
    t = t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
    return hypotf(x - s->x0 - t * dx, y - s->y0 - t * dy);
}

static float half_stroke(const tb_text_style *style) {
    return style->bold ? 2.3f : 1.55f; /* grid units */
}

/* `color` over a pixel of the canvas, as far as the pixel is covered. */
static void blend(tb_picture *canvas, int x, int y, float coverage, const uint8_t color[3]) {
    if (coverage <= 0.0f) return;
    if (coverage > 1.0f) coverage = 1.0f;
    uint8_t *p = canvas->rgb + 3 * ((size_t)y * (size_t)canvas->width + (size_t)x);
    for (int c = 0; c < 3; c++)
        p[c] = (uint8_t)((float)p[c] + ((float)color[c] - (float)p[c]) * coverage + 0.5f);
}

static void draw_glyph(tb_picture *canvas, const glyph *g, float x, float y,
                       const tb_text_style *style) {
    segment segments[MOST_SEGMENTS];
    int count = flatten(segments, g->strokes);
    float scale = style->size / CAPITAL, half = half_stroke(style), edge = half * scale + 1.0f;
    int left = (int)floorf(x - edge), right = (int)ceilf(x + (float)g->width * scale + edge);
    int top = (int)floorf(y - 32.0f * scale - edge), bottom = (int)ceilf(y + 9.0f * scale + edge);
    if (left < 0) left = 0;
    if (top < 0) top = 0;
    for (int py = top; py < bottom && py < canvas->height; py++) {
        for (int px = left; px < right && px < canvas->width; px++) {
            float gx = ((float)px + 0.5f - x) / scale, gy = (y - (float)py - 0.5f) / scale;
            float nearest = 1e9f;
            for (int i = 0; i < count; i++)
                nearest = fminf(nearest, distance(&segments[i], gx, gy));
            blend(canvas, px, py, (half - nearest) * scale + 0.5f, style->color);
        }
    }
}

/* The next character's glyph; accents and other marks have none (NULL). */
static const glyph *next_glyph(const char **text) {
    utf8proc_int32_t code, parts[16];
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)*text,
                                             (utf8proc_ssize_t)strnlen(*text, 4), &code);
    *text += used > 0 ? used : 1;
    if (used <= 0) return &glyphs[BOX];
    if (code >= 0x2010 && code <= 0x2015) code = '-';
    if (code > '~' || code < ' ') {
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(
            code, parts, 16, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundary);
        if (n >= 1 && n <= 16) code = parts[0];
        utf8proc_category_t category = utf8proc_category(code);
        if (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_CF) return NULL;
    }
    return code >= ' ' && code <= '~' ? &glyphs[code - ' '] : &glyphs[BOX];
}

/* The width of the text's beginning that fits into `room`, and where it ends. */
static float measure(const char **end, const char *text, float room, const tb_text_style *style) {
    float scale = style->size / CAPITAL, x = 2.0f * half_stroke(style) * scale, width = 0.0f;
    for (*end = text; **end;) {
        const char *after = *end;
        const glyph *g = next_glyph(&after);
        float right = x + (g ? (float)g->width * scale : 0.0f);
        if (room > 0.0f && right > room) break;
        *end = after;
        if (!g) continue;
        width = right;
        x = right + SPACING * scale;
    }
    return width;
}

float tb_text_width(const char *text, const tb_text_style *style) {
    const char *end;
    return measure(&end, text, 0.0f, style);
}

bool tb_text_drawable(const char *text) {
    int drawn = 0, boxes = 0;
    while (*text) {
        const glyph *g = next_glyph(&text);
        boxes += g == &glyphs[BOX];
        drawn += g && g != &glyphs[BOX];
    }
    return drawn >= boxes;
}

size_t tb_text_fit(const char *text, float room, const tb_text_style *style) {
    const char *end, *blank;
    measure(&end, text, room, style);
    if (*end == '\0') return strlen(text);
    for (blank = end; blank > text && *blank != ' ';) blank--;
    if (blank > text) return (size_t)(blank - text);
    if (end == text) next_glyph(&end);
    return (size_t)(end - text);
}

void tb_text_draw(tb_picture *canvas, float x, float y, float room, const char *text,
                  const tb_text_style *style) {
    static const char dots[] = "..";
    float scale = style->size / CAPITAL;
    const char *end;
    measure(&end, text, room, style);
    bool cut = *end != '\0';
    if (cut) {
        float left = room - tb_text_width(dots, style) - SPACING * scale;
        if (left <= 0.0f) return;
        measure(&end, text, left, style);
    }
    x += half_stroke(style) * scale;
    for (const char *at = text; at < end;) {
        const glyph *g = next_glyph(&at);
        if (!g) continue;
        draw_glyph(canvas, g, x, y, style);
        x += (float)(g->width + SPACING) * scale;
    }
    if (cut) tb_text_draw(canvas, x - half_stroke(style) * scale, y, 0.0f, dots, style);
}

void tb_line_draw(tb_picture *canvas, float x0, float y0, float x1, float y1, float width,
                  const uint8_t color[3]) {
    segment line = {x0, y0, x1, y1};
    float edge = 0.5f * width + 1.0f;
    int left = (int)floorf(fminf(x0, x1) - edge), right = (int)ceilf(fmaxf(x0, x1) + edge);
    int top = (int)floorf(fminf(y0, y1) - edge), bottom = (int)ceilf(fmaxf(y0, y1) + edge);
    if (left < 0) left = 0;
    if (top < 0) top = 0;
    for (int y = top; y < bottom && y < canvas->height; y++)
        for (int x = left; x < right && x < canvas->width; x++)
            blend(canvas, x, y,
                  0.5f * width + 0.5f - distance(&line, (float)x + 0.5f, (float)y + 0.5f), color);
}
