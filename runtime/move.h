/*
 * move.h: operators whose forward is one strided walk from the first input to the first output.
 * They describe the walk; forward and vjp are the same for all of them.
 */
#ifndef TB_RUNTIME_MOVE_H
#define TB_RUNTIME_MOVE_H

#include "runtime/shapes.h"
#include "runtime/strided.h"

typedef struct tb_move {
    tb_walk walk;
    int64_t to, from; /**< offsets of the walk's first element */
} tb_move;

/** Copies by the move; elements of `out` outside of the walk stay as they are. */
void tb_move_forward(tb_exec *exec, const tb_move *move, const tiba_tensor *in, tiba_tensor *out);
/** Exact adjoint: din = 0 where nothing was read, sums where an element was read repeatedly. */
void tb_move_vjp(tb_exec *exec, const tb_move *move, const tiba_tensor *dout, tiba_tensor *din);
/** Every element to 0. */
void tb_zero(tiba_tensor *tensor);

/** Defines forward and vjp of an op from `describe(node, in, out)`, which returns the tb_move. */
#define TB_MOVE_KERNELS(describe)                                                                  \
    static tiba_status describe##_forward(tb_exec *exec, const tb_node *node,                      \
                                          const tiba_tensor *const *in, tiba_tensor *const *out,   \
                                          tiba_error *error) {                                     \
        (void)error;                                                                               \
        tb_move move = describe(node, in[0], out[0]);                                              \
        tb_move_forward(exec, &move, in[0], out[0]);                                               \
        return TIBA_OK;                                                                            \
    }                                                                                              \
    static tiba_status describe##_vjp(tb_exec *exec, const tb_node *node,                          \
                                      const tiba_tensor *const *in, const tiba_tensor *const *out, \
                                      const tiba_tensor *const *dout, tiba_tensor *const *din,     \
                                      tiba_error *error) {                                         \
        (void)error;                                                                               \
        if (!din[0]) return TIBA_OK;                                                               \
        if (!dout[0]) {                                                                            \
            tb_zero(din[0]);                                                                       \
            return TIBA_OK;                                                                        \
        }                                                                                          \
        tb_move move = describe(node, in[0], out[0]);                                              \
        tb_move_vjp(exec, &move, dout[0], din[0]);                                                 \
        return TIBA_OK;                                                                            \
    }

#endif
