/*
 * correlate.h: one plane slid over by one window, y[o] = Σ w[tap] x[stride · o + dilation · tap -
 * begin], and its transpose: depthwise convolutions, means over windows and their gradients.
 *
 * The plane is copied into a frame that holds its padding. There all of a tap's operands lie one
 * behind the other, so that the sum over the taps runs in registers for whole vectors of outputs,
 * across the ends of lines; strides compute what they skip. Elements are summed in float32, tap by
 * tap, the same at any number of threads.
 */
#ifndef TB_RUNTIME_CORRELATE_H
#define TB_RUNTIME_CORRELATE_H

#include "graph/op.h"
#include "runtime/window.h"

/** A window's plan. */
typedef struct tb_correlate {
    int64_t from[TB_WINDOW_RANK], to[TB_WINDOW_RANK]; /**< sizes of what is read and written */
    int64_t frame[TB_WINDOW_RANK];                    /**< sizes of the padded plane */
    int64_t at[TB_WINDOW_RANK], step[TB_WINDOW_RANK]; /**< place of element i: at + step · i */
    int64_t skip[TB_WINDOW_RANK];                     /**< output i is the frame's i · skip */
    int64_t span; /**< of the frame: outputs, skipped ones too */
    int64_t taps;
    int64_t *offsets; /**< [taps] in the frame */
    float *weights;   /**< [workers, taps], in the order of `offsets` */
    float *frames;    /**< [workers, tb_correlate_floats] */
    bool flipped;     /**< the transpose reads the window's elements from the last one on */
} tb_correlate;

/** Is it worth it: few elements in the window, and little computed in vain? */
bool tb_correlate_fits(const tb_window *w);
/** Plans x → y, or y → x if `transposed`, with scratch memory of `exec` for all workers. False: out
 *  of memory. */
bool tb_correlate_plan(tb_correlate *c, tb_exec *exec, const tb_window *w, bool transposed);
/** One plane: to = Σ weight from + start, or that added to `to` if `add`. `weight` [taps]; NULL: 1
 *  each. */
void tb_correlate_run(const tb_correlate *c, int worker, const float *from, const float *weight,
                      float start, bool add, float *to);

#endif
