/*
 * window.h: the geometry of windows that slide over one to three trailing axes, as Conv,
 * ConvTranspose and the pools share it: attributes → sizes, checked.
 */
#ifndef TB_RUNTIME_WINDOW_H
#define TB_RUNTIME_WINDOW_H

#include "graph/op.h"

enum { TB_WINDOW_RANK = 3 };

/** All arrays have three entries; missing axes stand in front with size 1, stride 1, no padding. */
typedef struct tb_window {
    int rank; /**< 1, 2 or 3 */
    int64_t in[TB_WINDOW_RANK], out[TB_WINDOW_RANK], kernel[TB_WINDOW_RANK];
    int64_t stride[TB_WINDOW_RANK], dilation[TB_WINDOW_RANK];
    int64_t begin[TB_WINDOW_RANK], end[TB_WINDOW_RANK]; /**< padding */
} tb_window;

/** Windows of size kernel[x->rank - 2] over x [N, C, …], from strides, dilations, pads, auto_pad
 *  and ceil_mode of `node`. Fails naming the attribute. */
tiba_status tb_window_plan(tb_window *w, const tb_node *node, const tiba_tensor *x,
                           const int64_t *kernel, tiba_error *error);
/** The windows of ConvTranspose: those of the convolution whose result has x's shape, so that
 *  w->out is x's and w->in is the result's; also reads output_shape and output_padding. */
tiba_status tb_window_plan_transposed(tb_window *w, const tb_node *node, const tiba_tensor *x,
                                      const int64_t *kernel, tiba_error *error);

/** Positions of the window (kernel elements) along `axis` at output index `at` that fall on the
 *  input: first … last-1. */
static inline void tb_window_clip(const tb_window *w, int axis, int64_t at, int64_t *first,
                                  int64_t *last) {
    int64_t start = at * w->stride[axis] - w->begin[axis], step = w->dilation[axis];
    int64_t room = w->in[axis] - start; /* from the first position to the end of the input */
    int64_t end = room > 0 ? (room + step - 1) / step : 0;
    *first = start < 0 ? (-start + step - 1) / step : 0;
    *last = end < w->kernel[axis] ? end : w->kernel[axis];
    if (*last < *first) *last = *first;
}

static inline int64_t tb_window_in(const tb_window *w) {
    return w->in[0] * w->in[1] * w->in[2];
}
static inline int64_t tb_window_out(const tb_window *w) {
    return w->out[0] * w->out[1] * w->out[2];
}
static inline int64_t tb_window_kernel(const tb_window *w) {
    return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

#endif
