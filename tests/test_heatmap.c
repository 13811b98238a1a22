/* Heat maps: upsampling, the way back onto the picture, colours, captions, the panel as a file. */
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "io/panel.h"
#include "io/picture_write.h"
#include "io/text.h"

static tb_arena *arena;

static void test_upsample(void) {
    /* the values of torch's interpolate(mode="bilinear", align_corners=False) */
    static const float grid[] = {0, 1, 2, 3};
    static const float want[16] = {0,    0.25f, 0.75f, 1,    0.5f, 0.75f, 1.25f, 1.5f,
                                   1.5f, 1.75f, 2.25f, 2.5f, 2,    2.25f, 2.75f, 3};
    float out[16], row[6], one[4], same[4];
    tb_heatmap_upsample(out, 4, 4, grid, 2, 2);
    for (int i = 0; i < 16; i++) CHECK_NEAR(out[i], want[i], 1e-6);
    tb_heatmap_upsample(row, 1, 6, grid, 1, 4);
    static const float want_row[6] = {0, 0.5f, 7.0f / 6, 11.0f / 6, 2.5f, 3};
    for (int i = 0; i < 6; i++) CHECK_NEAR(row[i], want_row[i], 1e-6);
    tb_heatmap_upsample(one, 2, 2, grid + 3, 1, 1);
    for (int i = 0; i < 4; i++) CHECK(one[i] == 3);
    tb_heatmap_upsample(same, 2, 2, grid, 2, 2);
    CHECK(memcmp(same, grid, sizeof same) == 0);
}

static void test_on_picture(void) {
    /* 8 x 4 shown as it is; the input is the middle 4 x 4 */
    tb_geometry g = {8, 4, 8, 4, 2, 0, 4, 4};
    float map[16], out[64];
    for (int i = 0; i < 16; i++) map[i] = (float)i;
    tb_heatmap_on_picture(out, 4, 8, map, &g);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 8; x++) {
            bool inside = x >= 2 && x < 6;
            float v = out[y * 8 + x];
            CHECK_CASE(inside ? v == map[y * 4 + x - 2] : v != v, "(%d, %d): %g", x, y, (double)v);
        }
    /* a crop larger than the picture: the input's border is not on the picture */
    tb_geometry padded = {2, 2, 2, 2, -1, -1, 4, 4};
    tb_heatmap_on_picture(out, 2, 2, map, &padded);
    CHECK(out[0] == 5 && out[1] == 6 && out[2] == 9 && out[3] == 10);
    /* a picture of 100 x 60 shown at a tenth, resized to 20 x 12, of which 12 x 12 are seen */
    tb_geometry scaled = {100, 60, 20, 12, 4, 0, 12, 12};
    float ramp[144];
    for (int i = 0; i < 144; i++) ramp[i] = (float)(i % 12) + 0.5f;
    tb_heatmap_on_picture(out, 6, 10, ramp, &scaled);
    for (int x = 0; x < 10; x++) {
        float u = ((float)x + 0.5f) * 2 - 4, v = out[3 * 10 + x];
        CHECK_CASE(u < 0 || u >= 12 ? v != v : fabsf(v - u) < 1e-5f, "%d: %g", x, (double)v);
    }
}

static void test_range_and_colors(void) {
    static const float values[] = {NAN, 2, -1, INFINITY, 5};
    float low, high;
    uint8_t c[3], before = 0;
    tb_heatmap_range(&low, &high, values, 5);
    CHECK(low == -1 && high == 5);
    tb_heatmap_range(&low, &high, values, 1);
    CHECK(low == 0 && high == 0);
    for (int m = 0; m < TB_COLORMAPS; m++) {
        tb_colormap back;
        CHECK(tb_colormap_from_name(&back, tb_colormap_name((tb_colormap)m)) && (int)back == m);
        tb_colormap_at(c, (tb_colormap)m, NAN);
        tb_colormap_at(c, (tb_colormap)m, 7);
        tb_colormap_at(c, (tb_colormap)m, -7);
    }
    CHECK(!tb_colormap_from_name(&(tb_colormap){0}, "rainbow"));
    for (int i = 0; i <= 255; i++) {
        tb_colormap_at(c, TB_COLORMAP_GRAY, (float)i / 255);
        CHECK(c[0] == i && c[1] == i && c[2] == i);
        tb_colormap_at(c, TB_COLORMAP_VIRIDIS, (float)i / 255);
        CHECK(c[1] >= before); /* viridis' green never falls */
        before = c[1];
    }
    tb_colormap_at(c, TB_COLORMAP_VIRIDIS, 1);
    CHECK(c[0] == 0xfd && c[1] == 0xe7 && c[2] == 0x25);
}

static void test_overlay(void) {
    uint8_t rgb[12] = {200, 200, 200, 200, 200, 200, 200, 200, 200, 0, 0, 0};
    static const float map[4] = {0, 1, NAN, 1};
    tb_picture p = {.width = 4, .height = 1, .rgb = rgb};
    tb_heatmap_overlay(&p, map, 0, 1, TB_COLORMAP_GRAY, 1.0f);
    CHECK(rgb[0] == 80);                                         /* 0.6 of black over 200 */
    CHECK(rgb[3] == 255 && rgb[9] == 255);                       /* white, whatever was there */
    CHECK(rgb[6] == 70 && rgb[7] == rgb[6] && rgb[8] == rgb[6]); /* dimmed */
    tb_heatmap_overlay(&p, map, 1, 1, TB_COLORMAP_TURBO, 0.0f);  /* no range, no opacity */
    CHECK(rgb[0] == 80 && rgb[3] == 255);
}

static int ink(const tb_picture *p) {
    int dark = 0;
    for (int i = 0; i < p->width * p->height; i++) dark += p->rgb[3 * i] < 128;
    return dark;
}

static void test_text(void) {
    tb_text_style style = {.size = 14, .bold = false, .color = {0, 0, 0}};
    tb_picture p = {.width = 200, .height = 40};
    p.rgb = tb_arena_alloc(arena, 200 * 40 * 3, 1);
    char text[2] = "";
    for (int c = ' '; c <= '~'; c++) {
        memset(p.rgb, 255, 200 * 40 * 3);
        text[0] = (char)c;
        tb_text_draw(&p, 20, 25, 0, text, &style);
        CHECK_CASE((c == ' ') == (ink(&p) == 0), "'%c' has %d pixels", c, ink(&p));
        CHECK(ink(&p) < 150 && tb_text_width(text, &style) < 20);
    }
    CHECK(tb_text_width("ii", &style) < tb_text_width("WW", &style));
    CHECK(tb_text_width("\xc3\xa9t\xc3\xa9", &style) == tb_text_width("ete", &style));
    CHECK(tb_text_width("e\xcc\x81", &style) == tb_text_width("e", &style));
    CHECK(tb_text_width("\xef\xac\x81", &style) > 0); /* a ligature */
    /* too long, off the canvas, not UTF-8, empty: nothing worse than nothing drawn */
    const char *const odd[] = {"a very long caption that does not fit into the room it has", "",
                               "\xff\xc3\xe4\xb8", "\xe4\xb8\xad\xe6\x96\x87", "\x01\x7f\n"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        memset(p.rgb, 255, 200 * 40 * 3);
        tb_text_draw(&p, 10, 25, 60, odd[i], &style);
        for (int y = 0; y < 40; y++)
            for (int x = 72; x < 200; x++) CHECK(p.rgb[3 * (200 * y + x)] == 255);
        tb_text_draw(&p, -30, -5, 0, odd[i], &style);
        tb_text_draw(&p, 190, 45, 0, odd[i], &style);
        tb_text_draw(&p, 1e6f, 1e6f, 1, odd[i], &style);
    }
}

/* The panel is a readable PNG of the size that its parts need, for pictures of any shape. */
static void test_panel(void) {
    static const int shapes[][2] = {{64, 64}, {384, 384}, {1, 1}, {1000, 3}, {3, 1500}, {640, 427}};
    static const float grid[6] = {0, 1, 2, 3, 4, NAN};
    char path[64];
    snprintf(path, sizeof path, "test_heatmap.%ld.png", (long)getpid());
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int w = shapes[i][0], h = shapes[i][1];
        tb_picture picture = {.width = w, .height = h}, panel, back, overlay;
        picture.rgb = tb_arena_alloc(arena, 3 * (size_t)w, (size_t)h);
        memset(picture.rgb, 128, 3 * (size_t)w * (size_t)h);
        tb_geometry g = {w, h, 32, 32, 4, 4, 24, 24};
        tb_panel_map maps[TB_PANEL_MOST_MAPS + 1];
        for (int k = 0; k <= TB_PANEL_MOST_MAPS; k++)
            maps[k] = (tb_panel_map){"caption", k % 2 ? "detail" : NULL, grid,      2,
                                     3,         TB_COLORMAP_TURBO,       k % 3 == 0};
        tb_panel_options options = {.opacity = TB_DEFAULT_OPACITY};
        /* a caption's words: twice as many columns as for a few maps */
        if (i == 0) {
            CHECK(tb_panel_draw(&panel, arena, &picture, &g, maps, 77, &options, NULL) == TIBA_OK);
            CHECK(panel.width > 256 * 8);
        }
        for (int count = 1; count <= 5; count += 4) {
            tiba_error e = {0};
            CHECK_CASE(tb_panel_draw(&panel, arena, &picture, &g, maps, count, &options, &e) ==
                           TIBA_OK,
                       "%s", e.message);
            CHECK(panel.width >= 256 * (count < 3 ? count + 1 : 3) && ink(&panel) > 100);
            CHECK(tb_picture_write_png(path, &panel, &e) == TIBA_OK);
            CHECK(tb_picture_read(&back, arena, path, 0, &e) == TIBA_OK);
            CHECK(back.width == panel.width && back.height == panel.height &&
                  memcmp(back.rgb, panel.rgb, 3 * (size_t)back.width * (size_t)back.height) == 0);
        }
        CHECK(tb_panel_overlay(&overlay, arena, &picture, &g, maps, &options, NULL) == TIBA_OK);
        CHECK(overlay.width == (w < 140 ? 140 : w) && overlay.height > h);
        CHECK(tb_panel_draw(&panel, arena, &picture, &g, maps, 0, &options, NULL) ==
              TIBA_ERROR_USAGE);
        CHECK(tb_panel_draw(&panel, arena, &picture, &g, maps, TB_PANEL_MOST_MAPS + 1, &options,
                            NULL) == TIBA_ERROR_USAGE);
        maps[0].rows = 0;
        CHECK(tb_panel_draw(&panel, arena, &picture, &g, maps, 1, &options, NULL) ==
              TIBA_ERROR_USAGE);
        tiba_error e = {0};
        CHECK(tb_picture_write_png("no/such/folder.png", &picture, &e) == TIBA_ERROR_RESOURCE);
    }
    remove(path);
}

int main(void) {
    void (*const tests[])(void) = {test_upsample, test_on_picture, test_range_and_colors,
                                   test_overlay,  test_text,       test_panel};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        arena = tb_arena_create(NULL);
        tests[i]();
        tb_arena_destroy(arena);
    }
    TEST_END();
}
