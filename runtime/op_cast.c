/*
 * op_cast.c: Cast and Clip.
 *
 * Floats of every width are stored as float32, so a cast between them is the same elements.
 * Float to integer truncates towards zero; what is out of int64's range saturates and the rest
 * wraps to the type, NaN is 0; to bool is "not zero". No gradient passes an integer.
 */
#include <math.h>
#include <string.h>

#include "runtime/broadcast.h"
#include "runtime/elements.h"
#include "runtime/shapes.h"

static tiba_status cast_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    const int64_t to = tb_attr_int(node, "to", TIBA_UNDEFINED);
    const tiba_dtype dtype = to > 0 && to <= TIBA_BFLOAT16 ? (tiba_dtype)to : TIBA_UNDEFINED;
    if (tb_dtype_size(dtype) == 0 || tb_dtype_size(x->dtype) == 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "cannot cast %s to element type %lld",
                            tb_dtype_name(x->dtype), (long long)to);
    return tb_set_out(node, 0, tb_storage_dtype(dtype), x->rank, x->dims, error);
}

typedef struct cast_job {
    const tiba_tensor *x;
    tiba_tensor *y;
    int64_t count;
} cast_job;

static void cast_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const cast_job *j = context;
    const int64_t begin = item * TB_TILE;
    const int64_t end = begin + TB_TILE < j->count ? begin + TB_TILE : j->count;
    if (j->y->dtype == TIBA_FLOAT32) {
        tb_load_f32((float *)j->y->data + begin, j->x, begin, end - begin);
    } else if (j->x->dtype == TIBA_FLOAT32 &&
               (j->y->dtype == TIBA_BOOL || j->y->dtype == TIBA_UINT64)) {
        for (int64_t i = begin; i < end; i++) tb_set_f64(j->y, i, tb_get_f64(j->x, i));
    } else {
        int64_t run[512];
        for (int64_t at = begin; at < end; at += 512) {
            const int64_t n = end - at < 512 ? end - at : 512;
            tb_load_i64(run, j->x, at, n, 1);
            tb_store_i64(j->y, at, n, run);
        }
    }
}

static tiba_status cast_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    (void)node, (void)error;
    cast_job j = {in[0], out[0], tb_tensor_count(in[0])};
    tb_parallel_for(exec->pool, tb_tiles(j.count), cast_tile, &j);
    return TIBA_OK;
}

static tiba_status cast_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)exec, (void)node, (void)error;
    if (!din[0]) return TIBA_OK;
    const bool passes = dout[0] && in[0]->dtype == TIBA_FLOAT32 && out[0]->dtype == TIBA_FLOAT32;
    if (passes)
        memcpy(din[0]->data, dout[0]->data, tb_tensor_bytes(din[0]));
    else
        memset(din[0]->data, 0, tb_tensor_bytes(din[0]));
    return TIBA_OK;
}

const tb_op_def tb_op_def_Cast = {
    .shape = cast_shape, .forward = cast_forward, .vjp = cast_vjp, .alias = true};

static tiba_status clip_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    for (int i = 1; i < node->n_in; i++) {
        if (!node->in[i]) continue;
        const tiba_tensor *bound = &node->in[i]->t;
        if (bound->dtype != x->dtype || tb_tensor_count(bound) != 1)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s must be one %s element",
                                i == 1 ? "min" : "max", tb_dtype_name(x->dtype));
    }
    if (x->dtype != TIBA_FLOAT32 && !tb_dtype_is_integer(x->dtype))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(x->dtype));
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

/* min and max, -inf and inf where left out */
static void float_bounds(float bounds[2], const tb_node *node, const tiba_tensor *const *in) {
    bounds[0] = tb_kernel_in(node, in, 1) ? *(const float *)in[1]->data : -INFINITY;
    bounds[1] = tb_kernel_in(node, in, 2) ? *(const float *)in[2]->data : INFINITY;
}

static tiba_status clip_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)error;
    const int64_t count = tb_tensor_count(in[0]);
    if (in[0]->dtype == TIBA_FLOAT32) {
        float bounds[2];
        float_bounds(bounds, node, in);
        const float low = bounds[0], high = bounds[1], *x = in[0]->data;
        float *y = out[0]->data;
        /* where min > max the result is max; NaN stays */
        for (int64_t i = 0; i < count; i++) {
            const float raised = x[i] < low ? low : x[i];
            y[i] = raised > high ? high : raised;
        }
        return TIBA_OK;
    }
    const tiba_tensor *min = tb_kernel_in(node, in, 1), *max = tb_kernel_in(node, in, 2);
    const bool wide = in[0]->dtype == TIBA_UINT64;
    for (int64_t i = 0; i < count; i++) {
        int64_t value = tb_get_i64(in[0], i);
        if (min) {
            const int64_t low = tb_get_i64(min, 0);
            if (wide ? (uint64_t)value < (uint64_t)low : value < low) value = low;
        }
        if (max) {
            const int64_t high = tb_get_i64(max, 0);
            if (wide ? (uint64_t)value > (uint64_t)high : value > high) value = high;
        }
        tb_set_i64(out[0], i, value);
    }
    return TIBA_OK;
}

/* Inside the bounds the gradient passes to x, outside to the bound that is the result. */
static tiba_status clip_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)exec, (void)out, (void)error;
    float bounds[2];
    float_bounds(bounds, node, in);
    const float low = bounds[0], high = bounds[1], *x = in[0]->data;
    const int64_t count = tb_tensor_count(in[0]);
    const float *dy = dout[0] ? dout[0]->data : NULL;
    double to_low = 0, to_high = 0;
    float *dx = din[0] ? din[0]->data : NULL;
    for (int64_t i = 0; i < count; i++) {
        const float d = dy ? dy[i] : 0.0f;
        const bool above = x[i] > high || low > high, below = !above && x[i] < low;
        if (dx) dx[i] = above || below ? 0.0f : d;
        if (below) to_low += (double)d;
        if (above) to_high += (double)d;
    }
    if (node->n_in > 1 && din[1]) *(float *)din[1]->data = (float)to_low;
    if (node->n_in > 2 && din[2]) *(float *)din[2]->data = (float)to_high;
    return TIBA_OK;
}

const tb_op_def tb_op_def_Clip = {.shape = clip_shape,
                                  .forward = clip_forward,
                                  .vjp = clip_vjp,
                                  .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1) | TB_NEEDS_IN(2)};
