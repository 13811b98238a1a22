/*
 * op_norm.c: normalisation by mean and variance: LayerNormalization, RMSNormalization,
 * InstanceNormalization, GroupNormalization, MeanVarianceNormalization and BatchNormalization
 * (inference). All but the last bring x into rows of n elements and share one pair of row kernels:
 *
 *     y = (x - mean) inv · scale + bias        inv = 1 / sqrt(var + epsilon)
 *
 * with mean = 0, var = mean square for RMSNormalization. Sums are in double.
 */
#include <math.h>
#include <string.h>

#include "runtime/kernel.h"
#include "runtime/lanes.h"

enum { GRAIN = 16384 };

typedef struct norm {
    int rank; /* x as the affine parameters see it */
    int64_t dims[TIBA_MAX_RANK];
    int affine_axis; /* scale and bias are the same for all indices of the axes before it */
    int64_t rows, n;
    bool center;
    double epsilon;
    const tiba_tensor *param[2]; /* scale and bias, NULL where left out */
    tiba_tensor view[2];         /* they again, with a shape that broadcasts to dims */
    const float *affine[2];      /* they expanded to `period` rows of n elements, or NULL */
    int64_t period;
} norm;

/* ---- rows ---- */

typedef struct moments {
    double mean, inv;
} moments;

TB_CLONES static void row_moments(moments *out, const float *x, int64_t n, bool center,
                                  double epsilon) {
    double mean = center ? tb_row_sum(x, n) / (double)n : 0;
    double variance = tb_row_product(x, mean, x, mean, n) / (double)n;
    *out = (moments){mean, 1 / sqrt(variance + epsilon)};
}

TB_CLONES static void row_forward(float *restrict y, const float *restrict x, int64_t n, float mean,
                                  float inv, const float *restrict scale,
                                  const float *restrict bias) {
    if (scale && bias)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * inv * scale[i] + bias[i];
    else if (scale)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * inv * scale[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * inv;
}

/* dx = inv (g - a - x̂ c), g = dy · scale, x̂ = (x - mean) inv, a = mean of g (0 if not centred),
 * c = mean of g x̂. */
TB_CLONES static void row_vjp(float *restrict dx, const float *restrict x, const float *restrict dy,
                              const float *restrict scale, int64_t n, float mean, float inv,
                              double a, double c, bool center) {
    if (scale)
        for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * scale[i];
    else
        for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
    if (center) a += tb_row_sum(dx, n) / (double)n;
    c += tb_row_product(dx, 0, x, (double)mean, n) * (double)inv / (double)n;
    float af = (float)a, cf = (float)c;
    for (int64_t i = 0; i < n; i++) dx[i] = inv * (dx[i] - af - (x[i] - mean) * inv * cf);
}

/* ---- all rows ---- */

typedef struct run {
    const norm *p;
    const float *x, *dy;
    float *y, *mean, *inv;              /* forward; mean and inv may be NULL */
    float *dx, *x_hat;                  /* vjp; either may be NULL */
    const float *d_mean, *d_inv;        /* gradients of mean and inv, or NULL */
    const int64_t *row_at, *element_at; /* where rows and their elements are, or NULL: dense */
    float *gathered;                    /* 3 n floats for every worker then */
} run;

static void one_row(const run *r, int64_t row, float *y, const float *x, const float *dy) {
    const norm *p = r->p;
    moments m;
    row_moments(&m, x, p->n, p->center, p->epsilon);
    float mean = (float)m.mean, inv = (float)m.inv;
    int64_t at = row % p->period * p->n;
    const float *scale = p->affine[0] ? p->affine[0] + at : NULL;
    if (!dy) {
        row_forward(y, x, p->n, mean, inv, scale, p->affine[1] ? p->affine[1] + at : NULL);
        if (r->mean) r->mean[row] = mean;
        if (r->inv) r->inv[row] = inv;
        return;
    }
    if (y) {
        double n = (double)p->n;
        double a = r->d_mean ? -(double)r->d_mean[row] / (n * m.inv) : 0;
        double c = r->d_inv ? (double)r->d_inv[row] * m.inv / n : 0;
        row_vjp(y, x, dy, scale, p->n, mean, inv, a, c, p->center);
    }
    if (r->x_hat) row_forward(r->x_hat + row * p->n, x, p->n, mean, inv, dy, NULL);
}

static void some_rows(void *context, int64_t first, int64_t last, int worker) {
    const run *r = context;
    int64_t n = r->p->n;
    float *out = r->dy ? r->dx : r->y;
    for (int64_t row = first; row < last; row++) {
        if (!r->element_at) {
            one_row(r, row, out ? out + row * n : NULL, r->x + row * n,
                    r->dy ? r->dy + row * n : NULL);
            continue;
        }
        float *y = r->gathered + worker * 3 * n, *x = y + n, *dy = x + n;
        int64_t start = r->row_at[row];
        for (int64_t i = 0; i < n; i++) x[i] = r->x[start + r->element_at[i]];
        for (int64_t i = 0; r->dy && i < n; i++) dy[i] = r->dy[start + r->element_at[i]];
        one_row(r, row, y, x, r->dy ? dy : NULL);
        for (int64_t i = 0; i < n; i++) out[start + r->element_at[i]] = y[i];
    }
}

static void run_norm(tb_exec *exec, run *r) {
    if (r->p->n > 0) tb_parallel_ranges(exec, r->p->rows, GRAIN / r->p->n, some_rows, r);
}

/* ---- scale and bias ---- */

/* Sees parameter `which` as a tensor of `rank` axes `dims` that broadcasts to p->dims. */
static tiba_status norm_param(norm *p, const tb_node *node, int index, int which, int rank,
                              const int64_t *dims, tiba_error *error) {
    if (index >= node->n_in || !node->in[index]) return TIBA_OK;
    TB_TRY(tb_need_float(node, index, error));
    tiba_tensor *view = &p->view[which];
    *view = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = rank};
    memcpy(view->dims, dims, (size_t)rank * sizeof *dims);
    p->param[which] = &node->in[index]->t;
    if (tb_tensor_count(view) != tb_tensor_count(p->param[which]) ||
        !tb_broadcasts_to(view, p->rank, p->dims))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d does not fit the shape of x",
                            index);
    int extra = rank - (p->rank - p->affine_axis);
    for (int i = 0; i < extra; i++)
        if (dims[i] != 1) p->affine_axis = 0;
    return TIBA_OK;
}

static tiba_status norm_affine(tb_exec *exec, norm *p, const tiba_tensor *const *in,
                               tiba_error *error) {
    const int64_t *dims = p->dims + p->affine_axis;
    int rank = p->rank - p->affine_axis;
    int64_t count = tb_product(dims, 0, rank);
    p->period = p->n > 0 && count > 0 ? count / p->n : 1;
    for (int i = 0; i < 2; i++) {
        if (!p->param[i] || !in[1 + i]->data) continue; /* a vjp sees no bias */
        tiba_tensor view = p->view[i];
        view.data = in[1 + i]->data;
        if (tb_tensor_count(&view) == count) {
            p->affine[i] = view.data;
            continue;
        }
        int extra = view.rank > rank ? view.rank - rank : 0; /* leading ones */
        view.rank -= extra;
        memmove(view.dims, view.dims + extra, (size_t)view.rank * sizeof *view.dims);
        float *wide = tb_scratch(exec, (size_t)count, sizeof *wide);
        if (!wide) return tb_out_of_memory(error);
        tb_expand_floats(wide, rank, dims, &view);
        p->affine[i] = wide;
    }
    return TIBA_OK;
}

/* ---- what the ops differ in ---- */

typedef tiba_status plan_fn(norm *p, const tb_node *node, tiba_error *error);

static tiba_status trailing_plan(norm *p, const tb_node *node, bool center, tiba_error *error) {
    TB_TRY(tb_need_float(node, 0, error));
    const tiba_tensor *x = &node->in[0]->t;
    TB_TRY(tb_node_axis(&p->affine_axis, node, tb_attr_int(node, "axis", -1), x->rank, error));
    p->rank = x->rank;
    memcpy(p->dims, x->dims, sizeof p->dims);
    p->rows = tb_product(x->dims, 0, p->affine_axis);
    p->n = tb_product(x->dims, p->affine_axis, x->rank);
    p->center = center;
    p->epsilon = (double)tb_attr_float(node, "epsilon", 1e-5f);
    for (int i = 0; i < 2; i++)
        if (1 + i < node->n_in && node->in[1 + i])
            TB_TRY(norm_param(p, node, 1 + i, i, node->in[1 + i]->t.rank, node->in[1 + i]->t.dims,
                              error));
    return TIBA_OK;
}

static tiba_status layer_plan(norm *p, const tb_node *node, tiba_error *error) {
    return trailing_plan(p, node, true, error);
}

static tiba_status rms_plan(norm *p, const tb_node *node, tiba_error *error) {
    return trailing_plan(p, node, false, error);
}

/* x: [N, C, …], normalised over each of `groups` groups of channels (0: every channel). */
static tiba_status channel_plan(norm *p, const tb_node *node, int64_t groups, tiba_error *error) {
    TB_TRY(tb_need_float(node, 0, error));
    TB_TRY(tb_need_rank(node, 0, 2, error));
    const tiba_tensor *x = &node->in[0]->t;
    int64_t channels = x->dims[1];
    if (groups == 0) groups = channels;
    if (channels && (groups < 1 || channels % groups))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "%lld channels do not divide into %lld groups", (long long)channels,
                            (long long)groups);
    p->rank = 3;
    p->dims[0] = x->dims[0];
    p->dims[1] = channels;
    p->dims[2] = tb_product(x->dims, 2, x->rank);
    p->affine_axis = 1;
    p->rows = p->dims[0] * groups;
    p->n = groups ? channels / groups * p->dims[2] : 0;
    p->center = true;
    p->epsilon = (double)tb_attr_float(node, "epsilon", 1e-5f);
    for (int i = 0; i < 2; i++)
        TB_TRY(norm_param(p, node, 1 + i, i, 2, (int64_t[]){channels, 1}, error));
    return TIBA_OK;
}

static tiba_status instance_plan(norm *p, const tb_node *node, tiba_error *error) {
    return channel_plan(p, node, 0, error);
}

static tiba_status group_plan(norm *p, const tb_node *node, tiba_error *error) {
    int64_t groups = tb_attr_int(node, "num_groups", 0);
    if (groups < 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "num_groups = %lld", (long long)groups);
    return channel_plan(p, node, groups, error);
}

/* ---- shape, forward, vjp, given a plan ---- */

static tiba_status norm_shape(plan_fn *plan, tb_node *node, tiba_error *error) {
    norm p = {0};
    TB_TRY(plan(&p, node, error));
    const tiba_tensor *x = &node->in[0]->t;
    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k]) continue;
        tiba_tensor *y = &node->out[k]->t;
        y->dtype = TIBA_FLOAT32;
        y->rank = x->rank;
        memcpy(y->dims, x->dims, sizeof y->dims);
        if (k == 0) continue;
        int axis; /* mean and inv of LayerNormalization: 1 element for every row */
        TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), x->rank, error));
        for (int i = axis; i < x->rank; i++) y->dims[i] = 1;
    }
    return TIBA_OK;
}

static tiba_status norm_forward(tb_exec *exec, plan_fn *plan, const tb_node *node,
                                const tiba_tensor *const *in, tiba_tensor *const *out,
                                tiba_error *error) {
    norm p = {0};
    TB_TRY(plan(&p, node, error));
    TB_TRY(norm_affine(exec, &p, in, error));
    run r = {.p = &p,
             .x = in[0]->data,
             .y = out[0] ? out[0]->data : tb_scratch(exec, (size_t)tb_tensor_count(in[0]), 4),
             .mean = node->n_out > 1 && out[1] ? out[1]->data : NULL,
             .inv = node->n_out > 2 && out[2] ? out[2]->data : NULL};
    if (!r.y) return tb_out_of_memory(error);
    run_norm(exec, &r);
    return TIBA_OK;
}

/* The gradient of parameter `which` from the full-sized one. */
static tiba_status param_vjp(tb_exec *exec, const norm *p, int which, const float *full,
                             tiba_tensor *d, tiba_error *error) {
    tiba_tensor view = p->view[which];
    view.data = d->data;
    return tb_reduce_floats(exec, &view, p->rank, p->dims, full) ? TIBA_OK
                                                                 : tb_out_of_memory(error);
}

static tiba_status norm_vjp(tb_exec *exec, plan_fn *plan, const tb_node *node,
                            const tiba_tensor *const *in, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    norm p = {0};
    TB_TRY(plan(&p, node, error));
    TB_TRY(norm_affine(exec, &p, in, error));
    size_t count = (size_t)tb_tensor_count(in[0]);
    run r = {.p = &p,
             .x = in[0]->data,
             .dy = dout[0] ? dout[0]->data : NULL,
             .dx = din[0] ? din[0]->data : NULL,
             .d_mean = node->n_out > 1 && dout[1] ? dout[1]->data : NULL,
             .d_inv = node->n_out > 2 && dout[2] ? dout[2]->data : NULL};
    if (!r.dy) {
        float *zeros = tb_scratch(exec, count, sizeof *zeros);
        if (!zeros) return tb_out_of_memory(error);
        memset(zeros, 0, count * sizeof *zeros);
        r.dy = zeros;
    }
    bool want_scale = p.param[0] && din[1], want_bias = p.param[1] && din[2];
    if (want_scale) {
        r.x_hat = tb_scratch(exec, count, sizeof(float));
        if (!r.x_hat) return tb_out_of_memory(error);
    }
    if (r.dx || r.x_hat) run_norm(exec, &r);
    if (want_scale) TB_TRY(param_vjp(exec, &p, 0, r.x_hat, din[1], error));
    if (want_bias) TB_TRY(param_vjp(exec, &p, 1, r.dy, din[2], error));
    return TIBA_OK;
}

#define NORM(name, NAME)                                                                           \
    static tiba_status name##_shape(tb_node *node, tiba_error *error) {                            \
        return norm_shape(name##_plan, node, error);                                               \
    }                                                                                              \
    static tiba_status name##_forward(tb_exec *exec, const tb_node *node,                          \
                                      const tiba_tensor *const *in, tiba_tensor *const *out,       \
                                      tiba_error *error) {                                         \
        return norm_forward(exec, name##_plan, node, in, out, error);                              \
    }                                                                                              \
    static tiba_status name##_vjp(tb_exec *exec, const tb_node *node,                              \
                                  const tiba_tensor *const *in, const tiba_tensor *const *out,     \
                                  const tiba_tensor *const *dout, tiba_tensor *const *din,         \
                                  tiba_error *error) {                                             \
        (void)out;                                                                                 \
        return norm_vjp(exec, name##_plan, node, in, dout, din, error);                            \
    }                                                                                              \
    const tb_op_def tb_op_def_##NAME = {.shape = name##_shape,                                     \
                                        .forward = name##_forward,                                 \
                                        .vjp = name##_vjp,                                         \
                                        .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

NORM(layer, LayerNormalization)
NORM(rms, RMSNormalization)
NORM(instance, InstanceNormalization)
NORM(group, GroupNormalization)

/* ---- MeanVarianceNormalization: over any axes, [0, 2, 3] by default ---- */

static tiba_status mvn_shape(tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_float(node, 0, error));
    const tiba_tensor *x = &node->in[0]->t;
    int64_t count;
    const int64_t *axes = tb_attr_ints(node, "axes", &count);
    int axis;
    for (int64_t i = 0; i < count; i++) TB_TRY(tb_node_axis(&axis, node, axes[i], x->rank, error));
    if (!axes) TB_TRY(tb_node_axis(&axis, node, 3, x->rank, error));
    tiba_tensor *y = &node->out[0]->t;
    *y = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = x->rank, .data = y->data};
    memcpy(y->dims, x->dims, sizeof y->dims);
    return TIBA_OK;
}

/* Offsets of the indices of those axes that are (not) reduced. */
static int64_t *axis_offsets(tb_exec *exec, const tiba_tensor *x, const bool *reduced, bool which,
                             int64_t *count) {
    *count = 1;
    for (int i = 0; i < x->rank; i++)
        if (reduced[i] == which) *count *= x->dims[i];
    int64_t *at = tb_scratch(exec, (size_t)*count, sizeof *at);
    for (int64_t j = 0; at && j < *count; j++) {
        int64_t rest = j, stride = 1;
        at[j] = 0;
        for (int i = x->rank - 1; i >= 0; stride *= x->dims[i--]) {
            if (reduced[i] != which) continue;
            at[j] += rest % x->dims[i] * stride;
            rest /= x->dims[i];
        }
    }
    return at;
}

/* Forward where dy is NULL, else vjp. The definition adds 1e-9 to the deviation. */
static tiba_status mvn_run(tb_exec *exec, const tb_node *node, const tiba_tensor *x,
                           const tiba_tensor *dy, tiba_tensor *out, tiba_error *error) {
    int64_t count;
    const int64_t *axes = tb_attr_ints(node, "axes", &count);
    bool reduced[TIBA_MAX_RANK] = {false};
    static const int64_t images[] = {0, 2, 3};
    if (!axes) axes = images, count = 3;
    for (int64_t i = 0; i < count; i++) reduced[axes[i] < 0 ? axes[i] + x->rank : axes[i]] = true;
    if (tb_tensor_count(x) == 0) return TIBA_OK;
    norm p = {.center = true, .epsilon = 1e-18, .period = 1};
    run r = {.p = &p, .x = x->data};
    if (dy) {
        r.dy = dy->data;
        r.dx = out->data;
    } else {
        r.y = out->data;
    }
    r.row_at = axis_offsets(exec, x, reduced, false, &p.rows);
    r.element_at = axis_offsets(exec, x, reduced, true, &p.n);
    r.gathered = tb_scratch(exec, (size_t)(3 * p.n * tb_pool_threads(exec->pool)), sizeof(float));
    if (!r.row_at || !r.element_at || !r.gathered) return tb_out_of_memory(error);
    run_norm(exec, &r);
    return TIBA_OK;
}

static tiba_status mvn_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    return mvn_run(exec, node, in[0], NULL, out[0], error);
}

static tiba_status mvn_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                           const tiba_tensor *const *out, const tiba_tensor *const *dout,
                           tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    return din[0] ? mvn_run(exec, node, in[0], dout[0], din[0], error) : TIBA_OK;
}

const tb_op_def tb_op_def_MeanVarianceNormalization = {
    .shape = mvn_shape, .forward = mvn_forward, .vjp = mvn_vjp, .needs = TB_NEEDS_IN(0)};

/* ---- BatchNormalization with fixed statistics: inputs x, scale, bias, mean, var ---- */

static tiba_status batch_shape(tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_rank(node, 0, 1, error));
    const tiba_tensor *x = &node->in[0]->t;
    int64_t channels = x->rank > 1 ? x->dims[1] : 1;
    for (int i = 0; i < 5; i++) {
        TB_TRY(tb_need_float(node, i, error));
        const tiba_tensor *t = &node->in[i]->t;
        if (i > 0 && (t->rank != 1 || t->dims[0] != channels))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "input %d does not have %lld channels", i, (long long)channels);
    }
    if (tb_attr_int(node, "training_mode", 0))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "training_mode = 1 is not supported");
    tiba_tensor *y = &node->out[0]->t;
    *y = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = x->rank, .data = y->data};
    memcpy(y->dims, x->dims, sizeof y->dims);
    return TIBA_OK;
}

typedef struct batch_run {
    const float *x, *scale, *bias, *mean, *var;
    float *y;
    float *gain; /* [channels] scale over deviation */
    int64_t channels, plane;
    double epsilon;
} batch_run;

/* Forward, or with bias = mean = NULL the gradient of x. */
static void batch_planes(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const batch_run *r = context;
    for (int64_t i = first; i < last; i++) {
        int64_t c = i % r->channels;
        float mean = r->mean ? r->mean[c] : 0, bias = r->bias ? r->bias[c] : 0;
        const float *x = r->x + i * r->plane;
        float *y = r->y + i * r->plane;
        for (int64_t j = 0; j < r->plane; j++) y[j] = (x[j] - mean) * r->gain[c] + bias;
    }
}

TB_CLONES static void batch_row(float *y, const float *x, const float *mean, const float *gain,
                                const float *bias, int64_t n) {
    TB_IVDEP
    for (int64_t c = 0; c < n; c++)
        y[c] = (x[c] - (mean ? mean[c] : 0)) * gain[c] + (bias ? bias[c] : 0);
}

/* The same where channels stand side by side. */
static void batch_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const batch_run *r = context;
    for (int64_t i = first; i < last; i++)
        batch_row(r->y + i * r->channels, r->x + i * r->channels, r->mean, r->gain, r->bias,
                  r->channels);
}

static tiba_status batch_apply(tb_exec *exec, const tiba_tensor *x, batch_run *r,
                               tiba_error *error) {
    r->channels = x->rank > 1 ? x->dims[1] : 1;
    r->plane = tb_product(x->dims, 2, x->rank);
    if (!tb_tensor_count(x)) return TIBA_OK;
    r->gain = tb_scratch(exec, (size_t)r->channels, sizeof(float));
    if (!r->gain) return tb_out_of_memory(error);
    for (int64_t c = 0; c < r->channels; c++)
        r->gain[c] = (float)((double)r->scale[c] / sqrt((double)r->var[c] + r->epsilon));
    if (r->plane == 1)
        tb_parallel_ranges(exec, x->dims[0], GRAIN / r->channels, batch_rows, r);
    else
        tb_parallel_ranges(exec, x->dims[0] * r->channels, GRAIN / r->plane, batch_planes, r);
    return TIBA_OK;
}

static tiba_status batch_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    batch_run r = {.x = in[0]->data,
                   .scale = in[1]->data,
                   .bias = in[2]->data,
                   .mean = in[3]->data,
                   .var = in[4]->data,
                   .y = out[0]->data,
                   .epsilon = (double)tb_attr_float(node, "epsilon", 1e-5f)};
    return batch_apply(exec, in[0], &r, error);
}

static tiba_status batch_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                             const tiba_tensor *const *out, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    double epsilon = (double)tb_attr_float(node, "epsilon", 1e-5f);
    const float *x = in[0]->data, *scale = in[1]->data, *mean = in[3]->data, *var = in[4]->data;
    const float *dy = dout[0]->data;
    batch_run r = {.x = dy, .scale = scale, .var = var, .epsilon = epsilon};
    if (din[0]) {
        r.y = din[0]->data;
        TB_TRY(batch_apply(exec, in[0], &r, error));
    }
    if (!din[1] && !din[2] && !din[3] && !din[4]) return TIBA_OK;
    int64_t channels = in[0]->rank > 1 ? in[0]->dims[1] : 1;
    int64_t plane = tb_product(in[0]->dims, 2, in[0]->rank);
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0, along = 0; /* Σ dy, Σ dy (x - mean) */
        for (int64_t b = 0; b < in[0]->dims[0]; b++)
            for (int64_t j = 0; j < plane; j++) {
                int64_t at = (b * channels + c) * plane + j;
                sum += (double)dy[at];
                along += (double)dy[at] * ((double)x[at] - (double)mean[c]);
            }
        double inv = 1 / sqrt((double)var[c] + epsilon), gain = (double)scale[c] * inv;
        double d[5] = {0, along * inv, sum, -gain * sum, -0.5 * gain * inv * inv * along};
        for (int i = 1; i < 5; i++)
            if (din[i]) ((float *)din[i]->data)[c] = (float)d[i];
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_BatchNormalization = {.shape = batch_shape,
                                                .forward = batch_forward,
                                                .vjp = batch_vjp,
                                                .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1) |
                                                         TB_NEEDS_IN(3) | TB_NEEDS_IN(4)};
