/*
 * removal.h: inputs with parts taken away. A part of a picture is a pixel or a patch, set to 0
 * before normalisation; a part of a text is a token, replaced by the mask token or the
 * unknown one, or left out where the vocabulary has neither.
 */
#ifndef TB_TOOLS_REMOVAL_H
#define TB_TOOLS_REMOVAL_H

#include "tools/subject.h"

typedef struct tb_removal {
    const tb_sample *sample;
    int feed;              /**< the sample's feed that the parts are elements of */
    int64_t row;           /**< along its first axis */
    int64_t n;             /**< parts */
    bool batches;          /**< copies go through the graph together: it was not exported for one */
    bool alone;            /**< the other feeds are there once for all copies */
    const int64_t *tokens; /**< [n] of a text; NULL: a picture */
    int64_t mask, pad;     /**< ids; mask < 0: there is none */
    bool shortens;         /**< a text without tokens may be shorter: it needs no padding */
    int64_t columns, patch_height, patch_width; /**< of a picture: parts in a row, pixels of one */
    int64_t width, channels, step, channel;     /**< pixels in a row; strides */
    float fill[3];
} tb_removal;

/** Parts of the picture in row `row` of input `name`: rows x columns patches, or its pixels if rows
 *  is 0. */
tiba_status tb_removal_picture(tb_removal *out, const tb_subject *subject, const tb_sample *sample,
                               const char *name, int64_t row, int64_t rows, int64_t columns,
                               tiba_error *error);
/** Parts of the sample's text `text`: its tokens but special ones. */
tiba_status tb_removal_text(tb_removal *out, const tb_subject *subject, const tb_sample *sample,
                            int text, bool drop, tb_arena *arena, tiba_error *error);

/** The sample's feeds, `copies` times over along the first axis. */
tiba_status tb_removal_feeds(tiba_feed **out, const tb_removal *removal, int64_t copies,
                             tb_arena *arena, tiba_error *error);
/** Takes a part out of a copy; when all are out, tb_removal_close. */
void tb_removal_apply(const tb_removal *removal, tiba_feed *feeds, int64_t copy, int64_t part);
void tb_removal_close(const tb_removal *removal, tiba_feed *feeds, int64_t copies);

#endif
