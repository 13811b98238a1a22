/*
 * render_html.c: a report as one page that needs nothing from outside: pictures are part of it,
 * maps are small pictures laid over the original by the style, the script only adds comfort.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/json_write.h"
#include "io/picture_write.h"
#include "io/resample.h"
#include "tools/page_assets.h"
#include "tools/render.h"
#include "tools/trust.h"

enum { LARGEST_EDGE = 640, MAP_EDGE = 160, MOST_SCORES = 10 };

typedef struct page {
    tb_json_writer out; /* a growing buffer */
    const tb_report *r;
    const tb_look *look;
    bool has_sign;        /* of the view at hand */
    tb_arena *work;       /* pictures on their way into the page */
    const char *original; /* the picture as a data URI, NULL: none */
    tiba_error *error;
} page;

static void put(page *p, const char *text) {
    tb_json_write_raw(&p->out, text, strlen(text));
}

static void putf(page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void putf(page *p, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    put(p, text);
}

/* Text between tags or in quotes. */
static void put_safe(page *p, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *as = c == '<'                                            ? "&lt;"
                         : c == '>'                                          ? "&gt;"
                         : c == '&'                                          ? "&amp;"
                         : c == '"'                                          ? "&quot;"
                         : c == '\''                                         ? "&#39;"
                         : (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? "\xef\xbf\xbd"
                                                                             : NULL;
        if (as)
            put(p, as);
        else
            tb_json_write_raw(&p->out, text + i, 1);
    }
}

static void put_text(page *p, const char *text) {
    put_safe(p, text, strlen(text));
}

/* -------------------------------------------------------------------- pictures */

static const char *data_uri(tb_arena *arena, const uint8_t *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char head[] = "data:image/png;base64,";
    size_t length = sizeof head - 1, room = length + (size + 2) / 3 * 4 + 1;
    char *out = tb_arena_alloc_raw(arena, room, 1);
    if (!out) return NULL;
    memcpy(out, head, length);
    for (size_t i = 0; i < size; i += 3) {
        unsigned n = (unsigned)data[i] << 16;
        if (i + 1 < size) n |= (unsigned)data[i + 1] << 8;
        if (i + 2 < size) n |= data[i + 2];
        out[length++] = digits[n >> 18];
        out[length++] = digits[n >> 12 & 63];
        out[length++] = i + 1 < size ? digits[n >> 6 & 63] : '=';
        out[length++] = i + 2 < size ? digits[n & 63] : '=';
    }
    out[length] = '\0';
    return out;
}

static tiba_status picture_uri(const char **out, page *p, const tb_picture *picture) {
    uint8_t *png;
    size_t size;
    TB_TRY(tb_picture_encode_png(&png, &size, p->work, picture, p->error));
    *out = data_uri(p->work, png, size);
    return *out ? TIBA_OK : tb_out_of_memory(p->error);
}

static tiba_status embed_original(page *p) {
    const tb_picture *from = &p->r->sample->picture;
    tb_picture shown = *from;
    if (!p->r->sample->picture_path) return TIBA_OK;
    int edge = from->width > from->height ? from->width : from->height;
    if (edge > LARGEST_EDGE) {
        int w = (int)((int64_t)from->width * LARGEST_EDGE / edge);
        int h = (int)((int64_t)from->height * LARGEST_EDGE / edge);
        tb_resample_size size = {.width = w < 1 ? 1 : w, .height = h < 1 ? 1 : h};
        size.window_width = size.width;
        size.window_height = size.height;
        TB_TRY(tb_resample(&shown, p->work, from, &size, TB_FILTER_LANCZOS, false, p->error));
    }
    return picture_uri(&p->original, p, &shown);
}

/* A map as a picture of the model's input, and where it lies on the original. */
static tiba_status put_map(page *p, const float *grid, int rows, int columns, const char *what,
                           const char *layer, bool hidden) {
    const tb_geometry *g = &p->r->sample->geometry;
    int edge = g->width > g->height ? g->width : g->height;
    int w = g->width, h = g->height;
    if (edge > MAP_EDGE) {
        w = (int)((int64_t)w * MAP_EDGE / edge);
        h = (int)((int64_t)h * MAP_EDGE / edge);
    }
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    tb_picture map = {.width = w, .height = h};
    float *values = tb_arena_alloc(p->work, (size_t)w * sizeof *values, (size_t)h);
    map.rgb = tb_arena_alloc(p->work, (size_t)w * 3, (size_t)h);
    if (!values || !map.rgb) return tb_out_of_memory(p->error);
    float low, high;
    tb_heatmap_upsample(values, h, w, grid, rows, columns);
    tb_heatmap_range(&low, &high, grid, (size_t)rows * (size_t)columns);
    tb_look_range(&low, &high, p->look, p->has_sign);
    tb_colormap colors = tb_look_colors(p->look, p->has_sign);
    for (int i = 0; i < w * h; i++)
        tb_colormap_at(map.rgb + 3 * i, colors, high > low ? (values[i] - low) / (high - low) : 0);
    const char *uri;
    TB_TRY(picture_uri(&uri, p, &map));
    double rw = g->resized_width, rh = g->resized_height;
    putf(p,
         "<img class=map data-layer=%s%s style=\"left:%.4f%%;top:%.4f%%;width:%.4f%%;height:"
         "%.4f%%\" alt=\"",
         layer, hidden ? " hidden" : "", 100 * g->left / rw, 100 * g->top / rh, 100 * g->width / rw,
         100 * g->height / rh);
    put_text(p, what);
    put(p, "\" src=\"");
    put(p, uri);
    put(p, "\">");
    return TIBA_OK;
}

static void put_scale(page *p, float low, float high, const char *class, const char *layer,
                      bool hidden) {
    tb_look_range(&low, &high, p->look, p->has_sign);
    putf(p,
         "<p class=\"%s\" data-layer=%s%s><span>%.3g</span><i style=\"background:"
         "linear-gradient(90deg",
         class, layer, hidden ? " hidden" : "", (double)low);
    for (int i = 0; i <= 8; i++) {
        uint8_t c[3];
        tb_colormap_at(c, tb_look_colors(p->look, p->has_sign), (float)i / 8.0f);
        putf(p, ",#%02x%02x%02x", c[0], c[1], c[2]);
    }
    putf(p, ")\"></i><span>%.3g</span></p>\n", (double)high);
}

/* The picture is in the page once, as the ground of every stage. */
static void open_stage(page *p, const char *class) {
    const tb_picture *picture = &p->r->sample->picture;
    bool small = picture->width < 200 && picture->height < 200;
    putf(p, "<div class=\"stage %s%s\" role=img aria-label=\"the picture\">", class,
         small ? " pixels" : "");
}

static void put_original(page *p) {
    const tb_picture *picture = &p->r->sample->picture;
    if (!p->original) return;
    putf(p, ":root{--opacity:%.2f}.stage{aspect-ratio:%d/%d;background-image:url(",
         (double)p->look->opacity, picture->width, picture->height);
    put(p, p->original);
    put(p, ")}\n");
}

/* -------------------------------------------------------------------- layers */

/* w^T E_b: what block b alone adds to the tokens that the target reads. */
static float *layer_tokens(page *p, const tb_view_tower *vt, int block) {
    const tiba_tower *t = vt->tower;
    int64_t n = t->tokens;
    float *out = TB_NEW(p->work, float, n);
    if (!out || t->readout_tokens != n) return NULL;
    const float *w = t->readout + vt->at * n, *e = t->blocks[block] + vt->at * n * n;
    for (int64_t k = 0; k < n; k++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += (double)w[i] * (double)e[i * n + k];
        out[k] = (float)sum;
    }
    return out;
}

static bool has_layers(const tiba_tower *t) {
    return t->blocks && t->readout_tokens == t->tokens;
}

static tiba_status put_layer_choice(page *p, const tb_view_tower *vt, int view) {
    if (!has_layers(vt->tower)) return TIBA_OK;
    putf(p,
         "<fieldset class=control><legend>Layers</legend><label><input type=radio name=layer%d "
         "value=all checked>all, rolled out</label>",
         view);
    for (int b = 0; b < vt->tower->n_blocks; b++)
        putf(p, "<label><input type=radio name=layer%d value=%d>block %d alone</label>", view, b,
             b + 1);
    put(p, "</fieldset>\n");
    return TIBA_OK;
}

/* A small map with its scale; the caption follows. */
static tiba_status put_thumb(page *p, const float *grid, int rows, int columns, const char *what) {
    float low, high;
    tb_heatmap_range(&low, &high, grid, (size_t)rows * (size_t)columns);
    put(p, "<figure>");
    open_stage(p, "thumb");
    TB_TRY(put_map(p, grid, rows, columns, what, "none", false));
    put(p, "</div>");
    put_scale(p, low, high, "scale small", "none", false);
    return TIBA_OK;
}

static tiba_status put_layer_strip(page *p, const tb_view_tower *vt) {
    const tiba_tower *t = vt->tower;
    if (!has_layers(t)) return TIBA_OK;
    put(p, "<h3>Layer by layer</h3>\n<p class=soft>What each block alone adds to the tokens that "
           "the score reads, each on its own scale.</p>\n<div class=layers>\n");
    for (int b = 0; b < t->n_blocks; b++) {
        float *tokens = layer_tokens(p, vt, b);
        if (!tokens) return tb_out_of_memory(p->error);
        TB_TRY(put_thumb(p, tokens + t->prefix, (int)t->rows, (int)t->columns, "one block alone"));
        putf(p, "<figcaption>block %d</figcaption></figure>\n", b + 1);
    }
    put(p, "</div>\n");
    return TIBA_OK;
}

/* -------------------------------------------------------------------- words */

/* A word's ground by its place on the scale: red for, blue against, the page's own ground at 0, so
 * that it can be read on light and dark pages. */
static void put_ground(page *p, double t) {
    putf(p, "rgb(%s/%.2f)", t < 0.0 ? "38 92 190" : "190 38 42", fabs(t));
}

static void put_word_line(page *p, const tb_words *w) {
    size_t at = 0, end = strlen(w->text);
    put(p, "<p class=words dir=auto>");
    for (int i = 0; i < w->n_words; i++) {
        const tb_word *word = &w->words[i];
        double t = tb_words_scaled(w, word->value, p->has_sign);
        if (word->at_utf8.start > at) put_safe(p, w->text + at, word->at_utf8.start - at);
        putf(p, "<span tabindex=0 data-v=\"%.4g\" title=\"%.4g\" style=\"background:", word->value,
             word->value);
        put_ground(p, t);
        put(p, fabs(t) > 0.7 ? ";color:#fff\">" : "\">");
        put_safe(p, word->text.data, word->text.size);
        put(p, "</span>");
        if (word->at_utf8.end > at) at = word->at_utf8.end;
    }
    if (end > at) put_safe(p, w->text + at, end - at);
    put(p, "</p>\n");
}

static void put_word_scale(page *p, const tb_words *w) {
    double most = fmax(fabs(w->low), fabs(w->high));
    double low = p->has_sign ? -most : w->low, high = p->has_sign ? most : w->high;
    putf(p, "<p class=scale><span>%.3g</span><i style=\"background:linear-gradient(90deg", low);
    for (int i = p->has_sign ? -1 : 0; i <= 1; i++) {
        put(p, ",");
        put_ground(p, i);
    }
    putf(p, ")\"></i><span>%.3g</span></p>\n", high);
}

static tiba_status put_words(page *p, const tb_words *w, const char *title) {
    putf(p, "<h3>%s</h3>\n", title);
    put_word_line(p, w);
    put_word_scale(p, w);
    put(p,
        "<details><summary>Words and tokens in numbers</summary>\n<div class=table><table>"
        "<caption>A word's value is the sum of its tokens'. Special tokens belong to no word and "
        "do not scale the colours.</caption><tr><th scope=col>token<th scope=col>word<th "
        "scope=col>from<th scope=col>to<th scope=col>value\n");
    for (int i = 0; i < w->n_tokens; i++) {
        const tb_token_value *t = &w->tokens[i];
        put(p, "<tr><td>");
        put_safe(p, t->text.data, t->text.size);
        put(p, "<td>");
        if (t->word >= 0)
            put_safe(p, w->words[t->word].text.data, w->words[t->word].text.size);
        else
            put(p, t->special ? "(special)" : "");
        putf(p, "<td>%u<td>%u<td>%.6g\n", t->at.start, t->at.end, t->value);
    }
    put(p, "</table></div>\n<div class=table><table><caption>Words</caption><tr><th "
           "scope=col>word<th scope=col>value\n");
    for (int i = 0; i < w->n_words; i++) {
        put(p, "<tr><td>");
        put_safe(p, w->words[i].text.data, w->words[i].text.size);
        putf(p, "<td>%.6g\n", w->words[i].value);
    }
    put(p, "</table></div></details>\n");
    return TIBA_OK;
}

/* The patches of a picture that was given as an array: its grid on coloured ground. */
static void put_patches(page *p, const tb_token_list *list) {
    putf(p,
         "<div class=table><table class=grid style=\"--columns:%lld\"><caption>Patches"
         "</caption><tr><th scope=col>row",
         (long long)list->columns);
    for (int64_t x = 0; x < list->columns; x++) putf(p, "<th scope=col>%lld", (long long)x + 1);
    for (int64_t y = 0; y < list->rows; y++) {
        putf(p, "\n<tr><th scope=row>%lld", (long long)y + 1);
        for (int64_t x = 0; x < list->columns; x++) {
            int64_t token = list->prefix + y * list->columns + x;
            double part = tb_token_list_scaled(list, token);
            put(p, "<td style=\"background:");
            put_ground(p, part);
            putf(p, "%s\">%.3g", fabs(part) > 0.7 ? ";color:#fff" : "", list->tokens[token].value);
        }
    }
    put(p, "</table></div>\n");
}

/* The tokens of an array in their order. */
static void put_list(page *p, const tb_token_list *list) {
    int64_t patches = list->rows * list->columns;
    put(p, "<h3>Tokens of ");
    put_text(p, list->title);
    put(p, "</h3>\n");
    if (patches) put_patches(p, list);
    if (patches == list->n) return;
    put(p, "<div class=table><table>");
    if (list->has_read)
        put(p, "<caption>A token that the score reads itself does not scale the bars: most of its "
               "value is its own.</caption>");
    put(p, "<tr><th scope=col>token<th scope=col>value<th>\n");
    for (int64_t i = 0; i < list->n; i++) {
        const tb_listed_token *token = &list->tokens[i];
        if (i >= list->prefix && i < list->prefix + patches) continue;
        put(p, "<tr><td>");
        put_text(p, token->name);
        putf(p, "<td>%.6g<td>", token->value);
        if (token->read) {
            put(p, "(read)\n");
            continue;
        }
        double part = tb_token_list_scaled(list, i);
        putf(p, "<span class=bar><i style=\"width:%.1f%%;background:", 100.0 * fabs(part));
        put_ground(p, part < 0.0 ? -1.0 : 1.0);
        put(p, "\"></i></span>\n");
    }
    put(p, "</table></div>\n");
}

/* The words layer by layer, where the text tower kept its blocks. */
static tiba_status put_word_layers(page *p, const tb_view *v) {
    const tb_words *w = v->words;
    for (int k = 0; k < v->n_towers; k++) {
        const tb_view_tower *vt = &v->towers[k];
        const tiba_tower *t = vt->tower;
        int64_t prefix = t->prefix > 0 ? t->prefix : 0;
        if (t->rows || !has_layers(t) || t->tokens - prefix < w->n_tokens ||
            !p->r->sample->text_input || strcmp(t->input, p->r->sample->text_input) != 0)
            continue;
        putf(p,
             "<h3>Words layer by layer</h3>\n<div class=table><table class=grid style=\"--columns:"
             "%d\"><caption>What each block alone adds to the word.</caption><tr><th scope=col>"
             "word",
             t->n_blocks + 2);
        double *values = TB_NEW(p->work, double, w->n_words * t->n_blocks);
        if (!values) return tb_out_of_memory(p->error);
        for (int b = 0; b < t->n_blocks; b++) {
            float *tokens = layer_tokens(p, vt, b);
            if (!tokens) return tb_out_of_memory(p->error);
            for (int i = 0; i < w->n_tokens; i++)
                if (w->tokens[i].word >= 0)
                    values[w->tokens[i].word * t->n_blocks + b] += (double)tokens[prefix + i];
            putf(p, "<th scope=col>block %d", b + 1);
        }
        for (int i = 0; i < w->n_words; i++) {
            put(p, "\n<tr><td>");
            put_safe(p, w->words[i].text.data, w->words[i].text.size);
            for (int b = 0; b < t->n_blocks; b++) putf(p, "<td>%.3g", values[i * t->n_blocks + b]);
        }
        put(p, "</table></div>\n");
        return TIBA_OK;
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- parts */

static void put_scores(page *p) {
    const tb_report *r = p->r;
    for (int s = 0; s < r->n_samples; s++) {
        const tb_scores *scores = &r->scores[s];
        int64_t most = r->kind == TB_KIND_PAIRS ? scores->n : MOST_SCORES;
        double high = 0, low = 0;
        for (int64_t i = 0; i < scores->n; i++) {
            high = fmax(high, scores->logit[i]);
            low = fmin(low, scores->logit[i]);
        }
        put(p, "<div class=table><table><caption>Scores");
        if (r->n_samples > 1) putf(p, " of input %d", s + 1);
        put(p,
            "</caption><tr><th scope=col>label<th scope=col>score<th scope=col>probability<th>\n");
        for (int64_t i = 0; i < most && i < scores->n; i++) {
            int64_t k = scores->order[i];
            put(p, "<tr><td>");
            put_text(p, tb_report_label(r, k));
            putf(p, "<td>%.4f<td>", scores->logit[k]);
            double part = high > low ? (scores->logit[k] - low) / (high - low) : 1.0;
            if (scores->probability) part = scores->probability[k];
            if (scores->probability) putf(p, "%.2f %%", 100.0 * part);
            putf(p, "<td><span class=bar><i style=\"width:%.1f%%\"></i></span>\n", 100.0 * part);
        }
        put(p, "</table></div>\n");
    }
}

/* `more`: not opened for printing. */
static void open_numbers(page *p, const char *title, bool more) {
    put(p, more ? "<details class=more><summary>" : "<details><summary>");
    put_text(p, title);
    put(p, "</summary>\n");
}

static void put_grid(page *p, const float *grid, int64_t rows, int64_t columns, const char *title,
                     size_t size) {
    /* when printed, letters become as small as the columns ask for */
    putf(p, "<div class=table><table class=grid style=\"--columns:%lld\"><caption>",
         (long long)columns);
    put_safe(p, title, size);
    put(p, "</caption><tr><th scope=col>row");
    for (int64_t x = 0; x < columns; x++) putf(p, "<th scope=col>%lld", (long long)x + 1);
    for (int64_t y = 0; y < rows; y++) {
        putf(p, "\n<tr><th scope=row>%lld", (long long)y + 1);
        for (int64_t x = 0; x < columns; x++) putf(p, "<td>%.3g", (double)grid[y * columns + x]);
    }
    put(p, "</table></div>\n");
}

/* The view's map, and those of its blocks, as numbers. */
static tiba_status put_grids(page *p, const tb_view *v, const tb_view_tower *vt) {
    static const char all[] = "All blocks, rolled out";
    int64_t rows = v->image->rows, columns = v->image->columns;
    open_numbers(p, "The map in numbers", false);
    put_grid(p, v->grid, rows, columns, all, strlen(all));
    put(p, "</details>\n");
    if (!vt || !has_layers(vt->tower)) return TIBA_OK;
    open_numbers(p, "The layers in numbers", true);
    for (int b = 0; b < vt->tower->n_blocks; b++) {
        float *tokens = layer_tokens(p, vt, b);
        char title[32];
        if (!tokens) return tb_out_of_memory(p->error);
        snprintf(title, sizeof title, "Block %d alone", b + 1);
        put_grid(p, tokens + vt->tower->prefix, rows, columns, title, strlen(title));
    }
    put(p, "</details>\n");
    return TIBA_OK;
}

static tiba_status put_image(page *p, const tb_view *v, int index) {
    const tb_view_tower *vt = NULL;
    for (int t = 0; t < v->n_towers; t++)
        if (v->towers[t].tower == v->image) vt = &v->towers[t];
    int rows = (int)v->image->rows, columns = (int)v->image->columns;
    put(p, "<div class=pair><figure>");
    open_stage(p, "plain");
    put(p, "</div><figcaption>the picture</figcaption></figure>\n<figure>");
    open_stage(p, "main");
    TB_TRY(put_map(p, v->grid, rows, columns, "where the score comes from", "all", false));
    for (int b = 0; vt && has_layers(vt->tower) && b < vt->tower->n_blocks; b++) {
        float *tokens = layer_tokens(p, vt, b);
        char layer[16];
        if (!tokens) return tb_out_of_memory(p->error);
        snprintf(layer, sizeof layer, "%d", b);
        TB_TRY(
            put_map(p, tokens + vt->tower->prefix, rows, columns, "one block alone", layer, true));
    }
    put(p, "</div>\n");
    put_scale(p, v->low, v->high, "scale main", "all", false);
    for (int b = 0; vt && has_layers(vt->tower) && b < vt->tower->n_blocks; b++) {
        float *tokens = layer_tokens(p, vt, b), low, high;
        char layer[16];
        if (!tokens) return tb_out_of_memory(p->error);
        snprintf(layer, sizeof layer, "%d", b);
        tb_heatmap_range(&low, &high, tokens + vt->tower->prefix, (size_t)rows * (size_t)columns);
        put_scale(p, low, high, "scale main", layer, true);
    }
    put(p, "<figcaption>the map, raw values</figcaption></figure></div>\n");
    if (vt) TB_TRY(put_layer_choice(p, vt, index));
    if (vt) TB_TRY(put_layer_strip(p, vt));
    return put_grids(p, v, vt);
}

static void put_trust(page *p, const tb_view *v) {
    put(p, "<p class=soft>Trust: ");
    put_text(p, v->trust ? v->trust : "");
    for (int t = 0; t < v->n_towers; t++) {
        if (!v->towers[t].check) continue;
        put(p, "<br>Check: ");
        put_text(p, v->towers[t].check->text);
    }
    put(p, "</p>\n");
}

static tiba_status put_view(page *p, int index) {
    const tb_view *v = &p->r->views[index];
    p->has_sign = v->has_sign;
    putf(p, "<section class=view data-view=%d><h2>", index);
    put_text(p, v->label);
    put(p, "</h2>\n<p class=soft>");
    put_text(p, v->detail);
    if (v->method_note) put(p, ", "), put_text(p, v->method_note);
    if (p->r->kind == TB_KIND_PAIRS && !isnan(v->probability))
        putf(p, ", %.1f %% of the given texts", 100.0 * v->probability);
    else if (v->target.rank)
        putf(p, "; logit %.6g", v->logit);
    put(p, "</p>\n");
    put_trust(p, v);
    if (v->image && p->original) TB_TRY(put_image(p, v, index));
    if (v->words) TB_TRY(put_words(p, v->words, "Words"));
    if (v->words) TB_TRY(put_word_layers(p, v));
    for (int i = 0; i < v->n_lists; i++) put_list(p, &v->lists[i]);
    if (v->other)
        TB_TRY(put_words(p, v->other,
                         p->r->kind == TB_KIND_PAIRS
                             ? "The other text: what of it speaks against its score"
                             : "Words of the other text"));
    put(p, "</section>\n");
    return TIBA_OK;
}

static tiba_status put_table(page *p) {
    const tb_report *r = p->r;
    const tiba_tower *image = r->n_views ? r->views[0].image : NULL;
    if (r->n_rows == 0 || !image || !p->original) return TIBA_OK;
    p->has_sign = r->views[0].has_sign;
    put(p, "<section><h2>Where each word looks</h2>\n<p class=soft>What the score loses without "
           "the word, and where in the picture.</p>\n<div class=layers>\n");
    for (int i = 0; i < r->n_rows; i++) {
        const tb_table_row *row = &r->rows[i];
        TB_TRY(put_thumb(p, row->grid, (int)image->rows, (int)image->columns, "map of the word"));
        put(p, "<figcaption><bdi><strong>");
        put_safe(p, row->word->text.data, row->word->text.size);
        putf(p, "</strong></bdi> %+.3f</figcaption></figure>\n", row->share);
    }
    put(p, "</div>\n");
    open_numbers(p, "The words in numbers", false);
    put(p, "<div class=table><table><caption>What the score loses without the word</caption><tr>"
           "<th scope=col>word<th scope=col>from<th scope=col>to<th scope=col>adds\n");
    for (int i = 0; i < r->n_rows; i++) {
        const tb_word *word = r->rows[i].word;
        put(p, "<tr><td>");
        put_safe(p, word->text.data, word->text.size);
        putf(p, "<td>%u<td>%u<td>%+.6g\n", word->at.start, word->at.end, r->rows[i].share);
    }
    put(p, "</table></div></details>\n");
    open_numbers(p, "The words' maps in numbers", true);
    for (int i = 0; i < r->n_rows; i++)
        put_grid(p, r->rows[i].grid, image->rows, image->columns, r->rows[i].word->text.data,
                 r->rows[i].word->text.size);
    put(p, "</details></section>\n");
    return TIBA_OK;
}

static void put_fact(page *p, const char *name, const char *value) {
    putf(p, "<tr><th scope=row>%s<td>", name);
    put_text(p, value);
    put(p, "\n");
}

static tiba_status put_model(page *p, tb_subject *s, const char *title) {
    tiba_model_facts facts = tiba_model_about(s->model);
    TB_TRY(tb_subject_digests(s, p->error));
    putf(p, "<div class=\"table left\"><table><caption>%s</caption>\n", title);
    put_fact(p, "file", s->path);
    put_fact(p, "SHA-256", s->digests[0].sha256);
    for (int i = 1; i < s->n_digests; i++) {
        put(p, "<tr><th scope=row>SHA-256 of ");
        put_text(p, s->digests[i].file);
        put(p, "<td>");
        put_text(p, s->digests[i].sha256);
        put(p, "\n");
    }
    put_fact(p, "producer", facts.producer);
    put(p, "<tr><th scope=row>opsets<td>");
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        const char *domain = tiba_model_opset(s->model, i, &version);
        put_text(p, *domain ? domain : "ai.onnx");
        putf(p, " %lld%s", (long long)version, i + 1 < facts.n_opsets ? ", " : "");
    }
    putf(p, "\n<tr><th scope=row>parameters<td>%lld\n</table></div>\n",
         (long long)facts.parameters);
    return TIBA_OK;
}

static void put_arrived(page *p, const tb_view_tower *vt) {
    putf(p, "<tr><th scope=row>relevance at the readout<td>%.6g of 1 (",
         vt->tower->relevance_in[vt->at]);
    put_text(p, vt->tower->input);
    put(p, ")\n");
}

static tiba_status put_facts(page *p) {
    const tb_report *r = p->r;
    const tb_sample *sample = r->sample;
    put(p, "<section><h2>Facts</h2>\n");
    TB_TRY(put_model(p, r->subject, r->subject->partner ? "Picture encoder" : "Model"));
    if (r->subject->partner) TB_TRY(put_model(p, r->subject->partner, "Text encoder"));
    put(p, "<div class=\"table left\"><table><caption>Input and method</caption>\n");
    if (sample->picture_path) put_fact(p, "picture", sample->picture_path);
    if (sample->picture_path)
        putf(p, "<tr><th scope=row>size<td>%d x %d pixels\n", sample->picture.width,
             sample->picture.height);
    for (int i = 0; i < sample->n_texts; i++) put_fact(p, "text", sample->texts[i]);
    put_fact(p, "method", r->method);
    if (r->keeps_sign)
        put_fact(p, "signed", "blocks keep their sign, which is not the paper's method");
    put_fact(p, "rollout", r->rollout);
    for (int i = 0; i < r->n_views; i++)
        for (int t = 0; t < r->views[i].n_towers && r->views[i].carries; t++)
            put_arrived(p, &r->views[i].towers[t]);
    put(p, "<tr><th scope=row>seconds<td>");
    for (int i = 0; i < TB_TIME_RENDER; i++) /* this page is part of the rendering */
        putf(p, "%s%s %.4f", i ? ", " : "", tb_time_names[i], r->times.seconds[i]);
    put(p, "\n");
    putf(p, "<tr><th scope=row>written by<td>tiba-onnx %s\n</table></div>\n", tiba_version());
    for (int i = 0; i < r->n_notes; i++) {
        put(p, "<p class=soft>Note: ");
        put_text(p, r->notes[i]);
        put(p, "</p>\n");
    }
    put(p, "</section>\n");
    return TIBA_OK;
}

static void put_controls(page *p) {
    const tb_report *r = p->r;
    if (r->n_views > 1) {
        put(p, "<fieldset class=control><legend>Explained</legend>");
        for (int i = 0; i < r->n_views; i++) {
            putf(p, "<label><input type=radio name=view value=%d%s>", i, i ? "" : " checked");
            put(p, "<bdi>");
            put_text(p, r->views[i].label);
            put(p, "</bdi></label>");
        }
        put(p, "</fieldset>\n");
    }
    if (p->original)
        putf(p,
             "<fieldset class=control><legend>Map over the picture</legend><label for=opacity>"
             "opacity <output id=opacity-value for=opacity>%.0f %%</output></label><input "
             "id=opacity type=range min=0 max=100 value=%.0f></fieldset>\n",
             100.0 * (double)p->look->opacity, 100.0 * (double)p->look->opacity);
}

static tiba_status put_page(page *p) {
    const tb_report *r = p->r;
    put(p, "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
           "content=\"width=device-width,initial-scale=1\"><meta http-equiv=Content-Security-Policy"
           " content=\"default-src 'none';img-src data:;style-src 'unsafe-inline';script-src "
           "'unsafe-inline'\"><link rel=icon href=\"data:,\"><title>");
    const char *label = r->explained ? r->explained : r->n_views ? r->views[0].label : "";
    put_text(p, label);
    put(p, " - tiba-onnx</title>\n<style>\n");
    put(p, tb_page_style);
    put_original(p);
    put(p, "</style></head>\n<body><header><h1>Why <q>");
    put_text(p, label);
    put(p, "</q>?</h1>\n<p class=soft>Which part of the input speaks for the score");
    put(p, r->n_views && r->views[0].has_sign
               ? " (red), and which against it (blue). Colours reach equally far to both "
                 "sides of 0; the numbers are raw."
               : ". Colours are scaled from the smallest to the largest value; the numbers "
                 "are raw.");
    put(p, "</p></header>\n<main>\n");
    put_scores(p);
    put_controls(p);
    for (int i = 0; i < r->n_views; i++) TB_TRY(put_view(p, i));
    TB_TRY(put_table(p));
    TB_TRY(put_facts(p));
    put(p, "</main>\n<script>\n");
    put(p, tb_page_script);
    put(p, "</script></body></html>\n");
    return TIBA_OK;
}

tiba_status tb_render_html(char **out, size_t *size, const tb_report *r, const tb_look *look,
                           tiba_error *error) {
    page p = {.r = r, .look = look, .work = tb_arena_create(NULL), .error = error};
    if (!p.work) return tb_out_of_memory(error);
    tiba_status status = embed_original(&p);
    if (status == TIBA_OK) status = put_page(&p);
    if (status == TIBA_OK && p.out.failed) status = tb_out_of_memory(error);
    *out = status == TIBA_OK ? tb_arena_strndup(r->arena, p.out.data, p.out.size) : NULL;
    *size = p.out.size;
    tb_json_writer_free(&p.out);
    tb_arena_destroy(p.work);
    return status == TIBA_OK && !*out ? tb_out_of_memory(error) : status;
}
