/*
 * terminal.h: standard output as a terminal: how many colours it has, how wide it is, and text that
 * cannot steer it.
 */
#ifndef TB_TOOLS_TERMINAL_H
#define TB_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How a terminal takes colours. */
typedef enum tb_color_depth { TB_COLOR_NONE, TB_COLOR_256, TB_COLOR_TRUE } tb_color_depth;
/** Of standard output, by NO_COLOR, TERM and COLORTERM; none where it is no terminal. */
tb_color_depth tb_terminal_colors(void);
/** Sets the colour of what follows, or of its ground. */
void tb_terminal_color(tb_color_depth depth, const uint8_t c[3], bool ground);
void tb_terminal_reset(tb_color_depth depth);
/** In cells; 80 where standard output does not say. */
int tb_terminal_width(void);
/** Text from a file or a user without its control characters. */
void tb_print_safe(const char *text, size_t size);

#endif
