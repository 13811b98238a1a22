/*
 * panel.h: the picture that a user gets: the original and one or more heat maps side by side, each
 * with a caption, and under each map the colours' scale with its raw limits.
 */
#ifndef TB_IO_PANEL_H
#define TB_IO_PANEL_H

#include "io/heatmap.h"

typedef struct tb_panel_map {
    const char *caption; /**< the class, UTF-8; long ones take several lines */
    const char *detail;  /**< a second, smaller line (probability, method); may be NULL */
    const float *grid;   /**< raw patch relevance [rows, columns] */
    int rows, columns;
    tb_colormap colors;
    bool symmetric; /**< the scale reaches as far below 0 as above */
} tb_panel_map;

typedef struct tb_panel_options {
    float opacity;     /**< of the map over the picture, 0 … 1 */
    const char *title; /**< caption of the original; NULL: "picture" */
} tb_panel_options;

/** The most maps that a panel shows. */
enum { TB_PANEL_MOST_MAPS = 100 };

/** `geometry` is that of the input which the maps explain, `picture` the upright original. The
 *  panel belongs to the arena. */
tiba_status tb_panel_draw(tb_picture *out, tb_arena *arena, const tb_picture *picture,
                          const tb_geometry *geometry, const tb_panel_map *maps, int count,
                          const tb_panel_options *options, tiba_error *error);

/** The picture at its own size with the map laid over it, and the colours' scale below. */
tiba_status tb_panel_overlay(tb_picture *out, tb_arena *arena, const tb_picture *picture,
                             const tb_geometry *geometry, const tb_panel_map *map,
                             const tb_panel_options *options, tiba_error *error);

#endif
