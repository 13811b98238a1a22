#define _GNU_SOURCE
#include "tools/terminal.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

tb_color_depth tb_terminal_colors(void) {
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM"), *depth = getenv("COLORTERM");
    if (!isatty(STDOUT_FILENO) || (off && *off) || !term || strcmp(term, "dumb") == 0)
        return TB_COLOR_NONE;
    bool all = depth && (strcmp(depth, "truecolor") == 0 || strcmp(depth, "24bit") == 0);
    return all || strstr(term, "direct") ? TB_COLOR_TRUE : TB_COLOR_256;
}

/* A colour as the eye sees it (Oklab: distances are differences). */
static void perceive(double lab[3], const uint8_t c[3]) {
    static const double to_cone[3][3] = {{0.4122214708, 0.5363325363, 0.0514459929},
                                         {0.2119034982, 0.6806995451, 0.1073969566},
                                         {0.0883024619, 0.2817188376, 0.6299787005}};
    static const double to_lab[3][3] = {{0.2104542553, 0.7936177850, -0.0040720468},
                                        {1.9779984951, -2.4285922050, 0.4505937099},
                                        {0.0259040371, 0.7827717662, -0.8086757660}};
    double light[3], cone[3];
    for (int i = 0; i < 3; i++) {
        double v = c[i] / 255.0;
        light[i] = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
    }
    for (int i = 0; i < 3; i++)
        cone[i] =
            cbrt(to_cone[i][0] * light[0] + to_cone[i][1] * light[1] + to_cone[i][2] * light[2]);
    for (int i = 0; i < 3; i++)
        lab[i] = to_lab[i][0] * cone[0] + to_lab[i][1] * cone[1] + to_lab[i][2] * cone[2];
}

enum { CUBE = 16, GREYS = 232, COLORS = 256 };

/* The terminal's colours 16 to 255: a cube of 6 x 6 x 6 and 24 greys. */
static void color_256(uint8_t c[3], int index) {
    static const uint8_t steps[6] = {0, 95, 135, 175, 215, 255};
    int place = index - CUBE, digits[3] = {place / 36, place / 6 % 6, place % 6};
    for (int i = 0; i < 3; i++)
        c[i] = index < GREYS ? steps[digits[i]] : (uint8_t)(8 + 10 * (index - GREYS));
}

/* The one of them that looks most alike. */
static int nearest_256(const uint8_t c[3]) {
    static double known[COLORS][3];
    static bool ready;
    for (int i = CUBE; i < COLORS && !ready; i++) {
        uint8_t entry[3];
        color_256(entry, i);
        perceive(known[i], entry);
    }
    ready = true;
    double own[3], least = INFINITY;
    int best = CUBE;
    perceive(own, c);
    for (int i = CUBE; i < COLORS; i++) {
        double l = own[0] - known[i][0], a = own[1] - known[i][1], b = own[2] - known[i][2];
        double distance = l * l + a * a + b * b;
        if (distance < least) least = distance, best = i;
    }
    return best;
}

void tb_terminal_color(tb_color_depth depth, const uint8_t c[3], bool ground) {
    if (depth == TB_COLOR_TRUE)
        printf("\033[%d;2;%d;%d;%dm", ground ? 48 : 38, c[0], c[1], c[2]);
    else if (depth == TB_COLOR_256)
        printf("\033[%d;5;%dm", ground ? 48 : 38, nearest_256(c));
}

void tb_terminal_reset(tb_color_depth depth) {
    if (depth != TB_COLOR_NONE) printf("\033[0m");
}

void tb_print_safe(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = c < 0x20 || c == 0x7f ||
                       (c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0);
        if (c == 0xc2 && control) i++;
        putchar(control ? ' ' : c);
    }
}

int tb_terminal_width(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
    return 80;
}
