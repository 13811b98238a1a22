/*
 * op_pool.c: AveragePool, MaxPool and their global forms: windows over one to three trailing axes.
 * Every plane (sample and channel) is one item; forward and vjp walk the same windows. Means over
 * small windows are sums by correlate.h, divided.
 */
#include <math.h>
#include <string.h>

#include "runtime/correlate.h"
#include "runtime/kernel.h"
#include "runtime/window.h"

enum { GRAIN = 1 << 14 };

typedef struct pool {
    tb_window w;
    bool max, include_pad, column_major;
    int64_t planes, plane_in, plane_out;
    const float *x, *dy; /* dy: vjp */
    float *result;       /* y or dx */
    int64_t *indices;    /* may be NULL */
    /* means by sums of planes: what divides them by position, quotients of the worker's plane */
    float *divisors, *quotients;
    tb_correlate correlate;
} pool;

/* One window: its elements on the input, by axis, and what a mean divides by. */
typedef struct window_at {
    int64_t start[TB_WINDOW_RANK], first[TB_WINDOW_RANK], last[TB_WINDOW_RANK];
    double divisor;
} window_at;

static window_at window_of(const pool *p, int64_t position) {
    const tb_window *w = &p->w;
    window_at at = {.divisor = 1};
    for (int i = TB_WINDOW_RANK - 1; i >= 0; i--) {
        int64_t index = position % w->out[i];
        position /= w->out[i];
        at.start[i] = index * w->stride[i] - w->begin[i];
        tb_window_clip(w, i, index, &at.first[i], &at.last[i]);
        int64_t counted = at.last[i] - at.first[i];
        if (p->include_pad) { /* padding counts, what ceil_mode adds behind it does not */
            int64_t room = w->in[i] + w->end[i] - at.start[i];
            counted = (room + w->dilation[i] - 1) / w->dilation[i];
            if (counted > w->kernel[i]) counted = w->kernel[i];
        }
        at.divisor *= (double)counted;
    }
    return at;
}

/* Offset in the plane of the line of window elements (z, y, ·), and its element x. */
static int64_t element_of(const tb_window *w, const window_at *at, int64_t z, int64_t y,
                          int64_t x) {
    int64_t in_z = at->start[0] + z * w->dilation[0], in_y = at->start[1] + y * w->dilation[1];
    return (in_z * w->in[1] + in_y) * w->in[2] + at->start[2] + x * w->dilation[2];
}

static double window_sum(const pool *p, const window_at *at, const float *x) {
    double sum = 0;
    for (int64_t k0 = at->first[0]; k0 < at->last[0]; k0++)
        for (int64_t k1 = at->first[1]; k1 < at->last[1]; k1++)
            for (int64_t k2 = at->first[2]; k2 < at->last[2]; k2++)
                sum += (double)x[element_of(&p->w, at, k0, k1, k2)];
    return sum;
}

/* The first greatest element (a NaN wins), -1 if the window lies on padding altogether. */
static int64_t window_argmax(const pool *p, const window_at *at, const float *x) {
    int64_t best = -1;
    for (int64_t k0 = at->first[0]; k0 < at->last[0]; k0++)
        for (int64_t k1 = at->first[1]; k1 < at->last[1]; k1++)
            for (int64_t k2 = at->first[2]; k2 < at->last[2]; k2++) {
                int64_t i = element_of(&p->w, at, k0, k1, k2);
                if (best < 0 || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best]))) best = i;
            }
    return best;
}

static int64_t output_index(const pool *p, int64_t plane, int64_t at) {
    const int64_t *in = p->w.in;
    if (p->column_major && at >= 0) {
        int64_t x = at % in[2], y = at / in[2] % in[1], z = at / in[2] / in[1];
        at = z + (y + x * in[1]) * in[0];
    }
    return plane * p->plane_in + at;
}

static void forward_plane(const pool *p, int64_t plane) {
    const float *x = p->x + plane * p->plane_in;
    for (int64_t o = 0; o < p->plane_out; o++) {
        window_at at = window_of(p, o);
        float *y = &p->result[plane * p->plane_out + o];
        if (!p->max) {
            *y = at.divisor > 0 ? (float)(window_sum(p, &at, x) / at.divisor) : 0;
            continue;
        }
        int64_t best = window_argmax(p, &at, x);
        *y = best < 0 ? -INFINITY : x[best];
        if (p->indices) p->indices[plane * p->plane_out + o] = output_index(p, plane, best);
    }
}

static void vjp_plane(const pool *p, int64_t plane) {
    float *dx = p->result + plane * p->plane_in;
    memset(dx, 0, (size_t)p->plane_in * sizeof *dx);
    for (int64_t o = 0; o < p->plane_out; o++) {
        window_at at = window_of(p, o);
        float dy = p->dy[plane * p->plane_out + o];
        if (p->max) {
            int64_t best = window_argmax(p, &at, p->x + plane * p->plane_in);
            if (best >= 0) dx[best] += dy;
            continue;
        }
        float share = at.divisor > 0 ? (float)((double)dy / at.divisor) : 0;
        for (int64_t k0 = at.first[0]; k0 < at.last[0]; k0++)
            for (int64_t k1 = at.first[1]; k1 < at.last[1]; k1++)
                for (int64_t k2 = at.first[2]; k2 < at.last[2]; k2++)
                    dx[element_of(&p->w, &at, k0, k1, k2)] += share;
    }
}

static void run_planes(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const pool *p = context;
    for (int64_t plane = first; plane < last; plane++) {
        if (p->dy)
            vjp_plane(p, plane);
        else
            forward_plane(p, plane);
    }
}

/* y = Σ x / divisor, and dx = Σ (dy / divisor). A window on padding alone is 0, as its sum is. */
static void run_means(void *context, int64_t first, int64_t last, int worker) {
    const pool *p = context;
    float *quotients = p->quotients + worker * p->plane_out;
    for (int64_t plane = first; plane < last; plane++) {
        float *y = p->dy ? quotients : p->result + plane * p->plane_out;
        const float *sums = p->dy ? p->dy + plane * p->plane_out : y;
        if (!p->dy)
            tb_correlate_run(&p->correlate, worker, p->x + plane * p->plane_in, NULL, 0, false, y);
        for (int64_t o = 0; o < p->plane_out; o++)
            y[o] = p->divisors[o] > 0 ? sums[o] / p->divisors[o] : 0;
        if (p->dy)
            tb_correlate_run(&p->correlate, worker, y, NULL, 0, false,
                             p->result + plane * p->plane_in);
    }
}

static tiba_status plan_means(tb_exec *exec, pool *p, tiba_error *error) {
    size_t out = (size_t)p->plane_out, workers = (size_t)tb_pool_threads(exec->pool);
    p->divisors = tb_scratch(exec, out, sizeof(float));
    p->quotients = tb_scratch(exec, out * workers, sizeof(float));
    if (!p->divisors || !p->quotients ||
        !tb_correlate_plan(&p->correlate, exec, &p->w, p->dy != NULL))
        return tb_out_of_memory(error);
    for (int64_t o = 0; o < p->plane_out; o++) p->divisors[o] = (float)window_of(p, o).divisor;
    return TIBA_OK;
}

static tiba_status run_pool(tb_exec *exec, pool *p, tiba_error *error) {
    int64_t cost = p->plane_out * tb_window_kernel(&p->w);
    bool means = !p->max && tb_correlate_fits(&p->w);
    if (means) TB_TRY(plan_means(exec, p, error));
    tb_parallel_ranges(exec, p->planes, cost > 0 ? GRAIN / cost : GRAIN,
                       means ? run_means : run_planes, p);
    return TIBA_OK;
}

/* ---- plans ---- */

typedef tiba_status plan_fn(pool *p, const tb_node *node, const tiba_tensor *x, tiba_error *error);

static void pool_finish(pool *p, const tiba_tensor *x) {
    p->planes = x->dims[0] * x->dims[1];
    p->plane_in = tb_window_in(&p->w);
    p->plane_out = tb_window_out(&p->w);
}

static tiba_status window_plan(pool *p, const tb_node *node, const tiba_tensor *x, bool max,
                               tiba_error *error) {
    int64_t count;
    const int64_t *kernel = tb_attr_ints(node, "kernel_shape", &count);
    if (x->rank < 3 || count != x->rank - 2)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "kernel_shape has %lld entries for an input of rank %d",
                            (long long)count, x->rank);
    *p = (pool){.max = max,
                .include_pad = tb_attr_int(node, "count_include_pad", 0) != 0,
                .column_major = tb_attr_int(node, "storage_order", 0) != 0};
    TB_TRY(tb_window_plan(&p->w, node, x, kernel, error));
    pool_finish(p, x);
    return TIBA_OK;
}

static tiba_status average_plan(pool *p, const tb_node *node, const tiba_tensor *x,
                                tiba_error *error) {
    return window_plan(p, node, x, false, error);
}

static tiba_status max_plan(pool *p, const tb_node *node, const tiba_tensor *x, tiba_error *error) {
    return window_plan(p, node, x, true, error);
}

/* The whole plane is one window. */
static tiba_status global_plan(pool *p, const tb_node *node, const tiba_tensor *x, bool max,
                               tiba_error *error) {
    if (x->rank < 2)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input has rank %d, needs 2 or more",
                            x->rank);
    *p = (pool){.max = max, .w = {.rank = 1}};
    for (int i = 0; i < TB_WINDOW_RANK; i++)
        p->w.in[i] = p->w.out[i] = p->w.kernel[i] = p->w.stride[i] = p->w.dilation[i] = 1;
    p->w.in[2] = p->w.kernel[2] = tb_product(x->dims, 2, x->rank);
    pool_finish(p, x);
    return TIBA_OK;
}

static tiba_status global_average_plan(pool *p, const tb_node *node, const tiba_tensor *x,
                                       tiba_error *error) {
    return global_plan(p, node, x, false, error);
}

static tiba_status global_max_plan(pool *p, const tb_node *node, const tiba_tensor *x,
                                   tiba_error *error) {
    return global_plan(p, node, x, true, error);
}

/* ---- shape, forward, vjp, given a plan ---- */

static tiba_status pool_shape(plan_fn *plan, bool global, tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_rank(node, 0, 2, error));
    const tiba_tensor *x = &node->in[0]->t;
    pool p;
    TB_TRY(plan(&p, node, x, error));
    if (!p.max) TB_TRY(tb_need_float(node, 0, error));
    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k]) continue;
        tiba_tensor *y = &node->out[k]->t;
        y->dtype = k == 0 ? x->dtype : TIBA_INT64;
        y->rank = x->rank;
        memcpy(y->dims, x->dims, sizeof y->dims);
        for (int i = 2; i < x->rank; i++)
            y->dims[i] = global ? 1 : p.w.out[TB_WINDOW_RANK - x->rank + i];
    }
    return TIBA_OK;
}

static tiba_status pool_forward(tb_exec *exec, plan_fn *plan, const tb_node *node,
                                const tiba_tensor *const *in, tiba_tensor *const *out,
                                tiba_error *error) {
    pool p;
    TB_TRY(plan(&p, node, in[0], error));
    p.x = tb_floats(exec, in[0]);
    p.indices = node->n_out > 1 && out[1] ? out[1]->data : NULL;
    bool direct = out[0] && out[0]->dtype == TIBA_FLOAT32;
    tiba_tensor y = {.dtype = TIBA_FLOAT32};
    if (direct) y = *out[0];
    if (!direct) y.data = tb_scratch(exec, (size_t)(p.planes * p.plane_out), sizeof(float));
    if (!p.x || !y.data) return tb_out_of_memory(error);
    p.result = y.data;
    TB_TRY(run_pool(exec, &p, error));
    if (out[0] && !direct) {
        y.rank = out[0]->rank;
        memcpy(y.dims, out[0]->dims, sizeof y.dims);
        tb_convert(out[0], &y);
    }
    return TIBA_OK;
}

static tiba_status pool_vjp(tb_exec *exec, plan_fn *plan, const tb_node *node,
                            const tiba_tensor *const *in, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    if (!din[0]) return TIBA_OK;
    pool p;
    TB_TRY(plan(&p, node, in[0], error));
    p.x = in[0]->data;
    p.dy = dout[0]->data;
    p.result = din[0]->data;
    return run_pool(exec, &p, error);
}

#define POOL(name, NAME, global, reads, inactive)                                                  \
    static tiba_status name##_shape(tb_node *node, tiba_error *error) {                            \
        return pool_shape(name##_plan, global, node, error);                                       \
    }                                                                                              \
    static tiba_status name##_forward(tb_exec *exec, const tb_node *node,                          \
                                      const tiba_tensor *const *in, tiba_tensor *const *out,       \
                                      tiba_error *error) {                                         \
        return pool_forward(exec, name##_plan, node, in, out, error);                              \
    }                                                                                              \
    static tiba_status name##_vjp(tb_exec *exec, const tb_node *node,                              \
                                  const tiba_tensor *const *in, const tiba_tensor *const *out,     \
                                  const tiba_tensor *const *dout, tiba_tensor *const *din,         \
                                  tiba_error *error) {                                             \
        (void)out;                                                                                 \
        return pool_vjp(exec, name##_plan, node, in, dout, din, error);                            \
    }                                                                                              \
    const tb_op_def tb_op_def_##NAME = {.shape = name##_shape,                                     \
                                        .forward = name##_forward,                                 \
                                        .vjp = name##_vjp,                                         \
                                        .needs = reads,                                            \
                                        .inactive_outputs = inactive};

POOL(average, AveragePool, false, 0, 0)
POOL(max, MaxPool, false, TB_NEEDS_IN(0), 1u << 1)
POOL(global_average, GlobalAveragePool, true, 0, 0)
POOL(global_max, GlobalMaxPool, true, TB_NEEDS_IN(0), 0)
