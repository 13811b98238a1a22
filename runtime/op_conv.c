/*
 * op_conv.c: Conv and ConvTranspose on one to three axes, by im2col and tb_gemm; groups of one
 * channel by correlate.h.
 *
 * For one sample and group, with W: [cout, cin · kernel] and col: [cin · kernel, positions] (every
 * row one weight's view of the image), a convolution is y = W col. Its transpose, dx = col2im(Wᵀ
 * dy), is the gradient of Conv and the forward of ConvTranspose. Positions go in blocks, so that
 * scratch memory stays bounded.
 */
#include <string.h>

#include "runtime/correlate.h"
#include "runtime/gemm.h"
#include "runtime/kernel.h"
#include "runtime/window.h"

enum { BLOCK_FLOATS = 1 << 20, LEAST_BLOCK = 64, GRAIN = 1 << 15 };

/* The convolution x [samples, groups · cin, …] → y [samples, groups · cout, …]. */
typedef struct conv {
    tb_window w;
    int64_t samples, groups, cin, cout;
    int64_t kernel, k; /* elements of the window; k = cin · kernel */
    int64_t plane, positions;
    int64_t block, blocks; /* positions done at once */
    bool pointwise;        /* col is x itself */
    const float *x, *weight, *bias, *y;
    float *result;
    float *col;             /* per worker: k · block floats */
    tb_correlate correlate; /* of depthwise ones */
    tb_exec *exec;
} conv;

static tiba_status conv_sizes(conv *c, const tb_node *node, const tiba_tensor *x,
                              const tiba_tensor *weight, bool transposed, tiba_error *error) {
    if (x->rank < 3 || weight->rank != x->rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "x has rank %d, the weight rank %d: both need the same, 3 to 5",
                            x->rank, weight->rank);
    int64_t count, groups = tb_attr_int(node, "group", 1);
    const int64_t *kernel = tb_attr_ints(node, "kernel_shape", &count);
    for (int i = 0; kernel && i < x->rank - 2; i++)
        if (count != x->rank - 2 || kernel[i] != weight->dims[2 + i])
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "kernel_shape is not the weight's");
    int64_t given = weight->dims[0], wanted = transposed ? x->dims[1] : given;
    if (groups < 1 || given % groups || given != wanted ||
        (!transposed && (weight->dims[1] > x->dims[1] || x->dims[1] % groups ||
                         weight->dims[1] != x->dims[1] / groups)))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "%lld channels in %lld groups do not fit the weight",
                            (long long)x->dims[1], (long long)groups);
    *c = (conv){
        .samples = x->dims[0], .groups = groups, .cin = weight->dims[1], .cout = given / groups};
    if (transposed)
        TB_TRY(tb_window_plan_transposed(&c->w, node, x, weight->dims + 2, error));
    else
        TB_TRY(tb_window_plan(&c->w, node, x, weight->dims + 2, error));
    c->kernel = tb_window_kernel(&c->w);
    c->k = c->cin * c->kernel;
    return TIBA_OK;
}

static void conv_finish(conv *c) {
    const tb_window *w = &c->w;
    c->plane = tb_window_in(w);
    c->positions = tb_window_out(w);
    c->pointwise = c->kernel == 1;
    for (int i = 0; i < TB_WINDOW_RANK; i++)
        c->pointwise = c->pointwise && w->stride[i] == 1 && w->begin[i] == 0 && w->end[i] == 0 &&
                       w->in[i] == w->out[i];
    c->block = c->k > 0 ? BLOCK_FLOATS / c->k : LEAST_BLOCK;
    if (c->block < LEAST_BLOCK) c->block = LEAST_BLOCK;
    if (c->block > c->positions || c->pointwise) c->block = c->positions;
    if (c->block < 1) c->block = 1;
    c->blocks = (c->positions + c->block - 1) / c->block;
}

/* ---- im2col and its transpose ---- */

typedef struct unfold {
    const conv *c;
    float *image; /* first channel of the sample's group */
    float *col;
    int64_t first, count; /* positions */
} unfold;

/* A run of positions along the last axis that share the indices of the others. */
typedef struct position_run {
    int64_t length, at_x; /* positions; index of the first along the last axis */
    int64_t line;         /* offset of the image's line in the plane, -1 if it is padding */
} position_run;

static position_run next_run(const conv *c, const int64_t *tap, int64_t position, int64_t end) {
    const tb_window *w = &c->w;
    position_run r = {.at_x = position % w->out[2]};
    int64_t rest = position / w->out[2], y = rest % w->out[1], z = rest / w->out[1];
    r.length = w->out[2] - r.at_x < end - position ? w->out[2] - r.at_x : end - position;
    int64_t in_y = y * w->stride[1] - w->begin[1] + tap[1] * w->dilation[1];
    int64_t in_z = z * w->stride[0] - w->begin[0] + tap[0] * w->dilation[0];
    bool inside = in_y >= 0 && in_y < w->in[1] && in_z >= 0 && in_z < w->in[0];
    r.line = inside ? (in_z * w->in[1] + in_y) * w->in[2] : -1;
    return r;
}

/* Output indices first … last-1 along the last axis, of those in the run, fall on the image. */
static void clip_run(const tb_window *w, const position_run *r, int64_t shift, int64_t *first,
                     int64_t *last) {
    int64_t stride = w->stride[2], end = r->at_x + r->length;
    *first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    *last = w->in[2] > shift ? (w->in[2] - shift + stride - 1) / stride : 0;
    if (*first < r->at_x) *first = r->at_x;
    if (*last > end) *last = end;
    if (*first > end) *first = end;
    if (*last < *first) *last = *first;
}

static void row_tap(const conv *c, int64_t row, int64_t tap[TB_WINDOW_RANK]) {
    const int64_t *kernel = c->w.kernel;
    tap[2] = row % kernel[2];
    tap[1] = row / kernel[2] % kernel[1];
    tap[0] = row / kernel[2] / kernel[1] % kernel[0];
}

static void unfold_rows(void *context, int64_t first_row, int64_t last_row, int worker) {
    (void)worker;
    const unfold *u = context;
    const tb_window *w = &u->c->w;
    for (int64_t row = first_row; row < last_row; row++) {
        int64_t tap[TB_WINDOW_RANK];
        row_tap(u->c, row, tap);
        const float *plane = u->image + row / u->c->kernel * u->c->plane;
        float *out = u->col + row * u->count;
        int64_t shift = tap[2] * w->dilation[2] - w->begin[2], stride = w->stride[2];
        for (int64_t p = u->first, end = p + u->count; p < end;) {
            position_run r = next_run(u->c, tap, p, end);
            int64_t first = r.at_x, last = r.at_x;
            if (r.line >= 0) clip_run(w, &r, shift, &first, &last);
            const float *line = plane + (r.line < 0 ? 0 : r.line);
            int64_t i = r.at_x;
            for (; i < first; i++) *out++ = 0;
            for (; i < last; i++) *out++ = line[i * stride + shift];
            for (; i < r.at_x + r.length; i++) *out++ = 0;
            p += r.length;
        }
    }
}

/* All rows of a channel are one item: they add to the same plane. */
static void fold_channels(void *context, int64_t first_channel, int64_t last_channel, int worker) {
    (void)worker;
    const unfold *u = context;
    const tb_window *w = &u->c->w;
    for (int64_t row = first_channel * u->c->kernel; row < last_channel * u->c->kernel; row++) {
        int64_t tap[TB_WINDOW_RANK];
        row_tap(u->c, row, tap);
        float *plane = u->image + row / u->c->kernel * u->c->plane;
        const float *in = u->col + row * u->count;
        int64_t shift = tap[2] * w->dilation[2] - w->begin[2], stride = w->stride[2];
        for (int64_t p = u->first, end = p + u->count; p < end;) {
            position_run r = next_run(u->c, tap, p, end);
            if (r.line >= 0) {
                int64_t first, last;
                clip_run(w, &r, shift, &first, &last);
                float *line = plane + r.line;
                for (int64_t i = first; i < last; i++) line[i * stride + shift] += in[i - r.at_x];
            }
            in += r.length;
            p += r.length;
        }
    }
}

static int64_t grain(int64_t cost) {
    return cost > 0 ? GRAIN / cost + 1 : GRAIN;
}

/* ---- y = W col + bias, one item for every sample, group and block ---- */

static void forward_item(void *context, int64_t item, int worker) {
    const conv *c = context;
    int64_t block = item % c->blocks, image = item / c->blocks, group = image % c->groups;
    int64_t first = block * c->block;
    int64_t count = c->positions - first < c->block ? c->positions - first : c->block;
    const float *x = c->x + image * c->cin * c->plane, *col = x, *weight;
    int64_t ldb = c->plane;
    if (!c->pointwise) {
        float *out = c->col + worker * c->k * c->block;
        unfold u = {c, (float *)(uintptr_t)x, out, first, count};
        tb_parallel_ranges(c->exec, c->k, grain(count), unfold_rows, &u);
        col = out;
        ldb = count;
    }
    float *y = c->result + image * c->cout * c->positions + first;
    for (int64_t i = 0; c->bias && i < c->cout; i++)
        for (int64_t j = 0; j < count; j++) y[i * c->positions + j] = c->bias[group * c->cout + i];
    weight = c->weight + group * c->cout * c->k;
    tb_gemm(c->exec, false, false, c->cout, count, c->k, 1, weight, c->k, col, ldb,
            c->bias ? 1.f : 0.f, y, c->positions);
}

/* ---- x = col2im(Wᵀ y), one item for every sample and group ---- */

static void transpose_item(void *context, int64_t image, int worker) {
    const conv *c = context;
    int64_t group = image % c->groups;
    const float *weight = c->weight + group * c->cout * c->k;
    const float *y = c->y + image * c->cout * c->positions;
    float *x = c->result + image * c->cin * c->plane;
    if (c->pointwise) {
        tb_gemm(c->exec, true, false, c->k, c->positions, c->cout, 1, weight, c->k, y, c->positions,
                0, x, c->plane);
    } else {
        float *col = c->col + worker * c->k * c->block;
        memset(x, 0, (size_t)(c->cin * c->plane) * sizeof *x);
        for (int64_t first = 0; first < c->positions; first += c->block) {
            int64_t count = c->positions - first < c->block ? c->positions - first : c->block;
            tb_gemm(c->exec, true, false, c->k, count, c->cout, 1, weight, c->k, y + first,
                    c->positions, 0, col, count);
            unfold u = {c, x, col, first, count};
            tb_parallel_ranges(c->exec, c->cin, grain(count * c->kernel), fold_channels, &u);
        }
    }
    for (int64_t i = 0; c->bias && i < c->cin; i++)
        for (int64_t j = 0; j < c->plane; j++) x[i * c->plane + j] += c->bias[group * c->cin + i];
}

/* ---- depthwise: groups of one channel of x, windowed plane by plane ---- */

static bool is_depthwise(const conv *c) {
    return c->cin == 1 && c->cout > 0 && !c->pointwise && tb_correlate_fits(&c->w);
}

static void depthwise_forward(void *context, int64_t first, int64_t last, int worker) {
    const conv *c = context;
    for (int64_t image = first; image < last; image++) {
        int64_t group = image % c->groups;
        for (int64_t i = 0; i < c->cout; i++) {
            int64_t channel = group * c->cout + i;
            tb_correlate_run(&c->correlate, worker, c->x + image * c->plane,
                             c->weight + channel * c->kernel, c->bias ? c->bias[channel] : 0, false,
                             c->result + (image * c->cout + i) * c->positions);
        }
    }
}

static void depthwise_transpose(void *context, int64_t first, int64_t last, int worker) {
    const conv *c = context;
    for (int64_t image = first; image < last; image++) {
        int64_t group = image % c->groups;
        float start = c->bias ? c->bias[group] : 0;
        for (int64_t i = 0; i < c->cout; i++, start = 0)
            tb_correlate_run(&c->correlate, worker, c->y + (image * c->cout + i) * c->positions,
                             c->weight + (group * c->cout + i) * c->kernel, start, i > 0,
                             c->result + image * c->plane);
    }
}

static tiba_status run_depthwise(tb_exec *exec, conv *c, bool transposed, tiba_error *error) {
    if (!tb_correlate_plan(&c->correlate, exec, &c->w, transposed)) return tb_out_of_memory(error);
    tb_parallel_ranges(exec, c->samples * c->groups, grain(c->cout * c->kernel * c->positions),
                       transposed ? depthwise_transpose : depthwise_forward, c);
    return TIBA_OK;
}

/* ---- dW = Σ over samples of y colᵀ, one item for every group ---- */

static void weight_item(void *context, int64_t group, int worker) {
    const conv *c = context;
    float beta = 0, *col = c->col + worker * c->k * c->block;
    for (int64_t sample = 0; sample < c->samples; sample++) {
        int64_t image = sample * c->groups + group;
        float *x = (float *)(uintptr_t)c->x + image * c->cin * c->plane;
        const float *y = c->y + image * c->cout * c->positions;
        for (int64_t first = 0; first < c->positions; first += c->block, beta = 1) {
            int64_t count = c->positions - first < c->block ? c->positions - first : c->block;
            unfold u = {c, x, col, first, count};
            tb_parallel_ranges(c->exec, c->k, grain(count), unfold_rows, &u);
            tb_gemm(c->exec, false, true, c->cout, c->k, count, 1, y + first, c->positions, col,
                    count, beta, c->result + group * c->cout * c->k, c->k);
        }
    }
}

typedef void item_fn(void *context, int64_t item, int worker);

static tiba_status conv_run(tb_exec *exec, conv *c, item_fn *item, int64_t items, bool needs_col,
                            tiba_error *error) {
    c->exec = exec;
    if (needs_col) {
        size_t size;
        if (!tb_size_mul(&size, (size_t)(c->k * c->block), (size_t)tb_pool_threads(exec->pool)))
            return tb_out_of_memory(error);
        c->col = tb_scratch(exec, size, sizeof(float));
        if (!c->col) return tb_out_of_memory(error);
    }
    tb_parallel_for(exec->pool, items, item, c);
    return TIBA_OK;
}

/* y = conv(x) + bias, x = transpose(y) + bias, dW from x and y: the six kernels are these three. */
static tiba_status run_forward(tb_exec *exec, conv c, const float *x, const float *weight,
                               const float *bias, float *y, tiba_error *error) {
    conv_finish(&c);
    c.x = x, c.weight = weight, c.bias = bias, c.result = y;
    if (is_depthwise(&c)) return run_depthwise(exec, &c, false, error);
    return conv_run(exec, &c, forward_item, c.samples * c.groups * c.blocks, !c.pointwise, error);
}

static tiba_status run_transpose(tb_exec *exec, conv c, const float *y, const float *weight,
                                 const float *bias, float *x, tiba_error *error) {
    conv_finish(&c);
    c.y = y, c.weight = weight, c.bias = bias, c.result = x;
    if (is_depthwise(&c)) return run_depthwise(exec, &c, true, error);
    return conv_run(exec, &c, transpose_item, c.samples * c.groups, !c.pointwise, error);
}

static tiba_status run_weight(tb_exec *exec, conv c, const float *x, const float *y,
                              tiba_tensor *dw, tiba_error *error) {
    conv_finish(&c);
    c.x = x, c.y = y, c.result = dw->data;
    memset(dw->data, 0, tb_tensor_bytes(dw));
    return conv_run(exec, &c, weight_item, c.groups, true, error);
}

/* db: the sum over samples and positions. */
static void bias_gradient(tiba_tensor *db, const tiba_tensor *dy) {
    int64_t channels = dy->dims[1], plane = tb_product(dy->dims, 2, dy->rank);
    float *out = db->data;
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0;
        for (int64_t s = 0; s < dy->dims[0]; s++)
            sum += tb_sum((const float *)dy->data + (s * channels + c) * plane, plane);
        out[c] = (float)sum;
    }
}

/* ---- the operators ---- */

static tiba_status any_shape(tb_node *node, bool transposed, tiba_error *error) {
    for (int i = 0; i < 2; i++) TB_TRY(tb_need_float(node, i, error));
    const tiba_tensor *x = &node->in[0]->t, *weight = &node->in[1]->t;
    conv c;
    TB_TRY(conv_sizes(&c, node, x, weight, transposed, error));
    tiba_tensor *y = &node->out[0]->t;
    y->dtype = TIBA_FLOAT32;
    y->rank = x->rank;
    y->dims[0] = x->dims[0];
    if (transposed && !tb_i64_mul(&y->dims[1], c.cin, c.groups))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "too many channels");
    if (!transposed) y->dims[1] = weight->dims[0];
    for (int i = 0; i < c.w.rank; i++) {
        int axis = TB_WINDOW_RANK - c.w.rank + i;
        y->dims[2 + i] = transposed ? c.w.in[axis] : c.w.out[axis];
    }
    if (node->n_in > 2 && node->in[2]) {
        TB_TRY(tb_need_float(node, 2, error));
        if (node->in[2]->t.rank != 1 || node->in[2]->t.dims[0] != y->dims[1])
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "the bias does not fit the weight");
    }
    return TIBA_OK;
}

static const float *bias_of(const tb_node *node, const tiba_tensor *const *in) {
    return node->n_in > 2 && in[2] ? in[2]->data : NULL;
}

static tiba_status conv_shape(tb_node *node, tiba_error *error) {
    return any_shape(node, false, error);
}

static tiba_status conv_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    conv c;
    TB_TRY(conv_sizes(&c, node, in[0], in[1], false, error));
    return run_forward(exec, c, in[0]->data, in[1]->data, bias_of(node, in), out[0]->data, error);
}

static tiba_status conv_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    conv c;
    TB_TRY(conv_sizes(&c, node, in[0], in[1], false, error));
    const float *dy = dout[0]->data;
    if (din[0]) TB_TRY(run_transpose(exec, c, dy, in[1]->data, NULL, din[0]->data, error));
    if (din[1]) TB_TRY(run_weight(exec, c, in[0]->data, dy, din[1], error));
    if (node->n_in > 2 && din[2]) bias_gradient(din[2], dout[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Conv = {.shape = conv_shape,
                                  .forward = conv_forward,
                                  .vjp = conv_vjp,
                                  .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

static tiba_status transposed_shape(tb_node *node, tiba_error *error) {
    return any_shape(node, true, error);
}

static tiba_status transposed_forward(tb_exec *exec, const tb_node *node,
                                      const tiba_tensor *const *in, tiba_tensor *const *out,
                                      tiba_error *error) {
    conv c;
    TB_TRY(conv_sizes(&c, node, in[0], in[1], true, error));
    return run_transpose(exec, c, in[0]->data, in[1]->data, bias_of(node, in), out[0]->data, error);
}

static tiba_status transposed_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  const tiba_tensor *const *out, const tiba_tensor *const *dout,
                                  tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    conv c;
    TB_TRY(conv_sizes(&c, node, in[0], in[1], true, error));
    const float *dy = dout[0]->data;
    if (din[0]) TB_TRY(run_forward(exec, c, dy, in[1]->data, NULL, din[0]->data, error));
    if (din[1]) TB_TRY(run_weight(exec, c, dy, in[0]->data, din[1], error));
    if (node->n_in > 2 && din[2]) bias_gradient(din[2], dout[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_ConvTranspose = {.shape = transposed_shape,
                                           .forward = transposed_forward,
                                           .vjp = transposed_vjp,
                                           .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};
