/*
 * op_dft.c: DFT along one axis of [..., 1] (real) or [..., 2] (complex) arrays, in double. Factors
 * of the length are split off one by one (Cooley, Tukey), so that a length costs as many steps as
 * the sum of its prime factors per element. Every form is a linear map of lines; its vjp is the
 * same map with the roles of both sides exchanged and the sign of the exponent turned.
 */
#include <math.h>
#include <string.h>

#include "runtime/shapes.h"

typedef struct complex_number {
    double re, im;
} complex_number;

/* Lines x[n_in] with in_parts floats an element, transformed at length n, to y[n_out]. */
typedef struct dft {
    int64_t outer, inner, n, n_in, n_out;
    int in_parts, out_parts;
    double sign, scale;
    bool mirror_in;  /* the elements behind n_in are the conjugates of those in front */
    bool mirror_out; /* the adjoint of that: they add to those in front */
    const float *x;
    float *y;
    complex_number *turns; /* e^(sign 2πi k/n) */
    complex_number *work;  /* per worker: 3 n */
} dft;

static int64_t smallest_factor(int64_t n) {
    for (int64_t p = 2; p <= n / p; p++)
        if (n % p == 0) return p;
    return n;
}

/* out[0 … n-1] is the transform of in[0], in[stride], …; `every` turns make a turn of this n. */
static void transform(const dft *d, int64_t n, int64_t stride, int64_t every,
                      const complex_number *in, complex_number *out, complex_number *room) {
    if (n == 1) {
        out[0] = in[0];
        return;
    }
    int64_t p = smallest_factor(n), m = n / p;
    for (int64_t r = 0; r < p; r++)
        transform(d, m, stride * p, every * p, in + r * stride, out + r * m, room);
    for (int64_t k = 0; k < m; k++) {
        for (int64_t r = 0; r < p; r++) room[r] = out[r * m + k];
        for (int64_t q = 0; q < p; q++) {
            complex_number sum = {0, 0};
            int64_t step = (k + q * m) % n, at = 0;
            for (int64_t r = 0; r < p; r++) {
                complex_number w = d->turns[at * every];
                sum.re += room[r].re * w.re - room[r].im * w.im;
                sum.im += room[r].re * w.im + room[r].im * w.re;
                at += step;
                if (at >= n) at -= n;
            }
            out[k + q * m] = sum;
        }
    }
}

static void load_line(const dft *d, const float *x, complex_number *line) {
    int64_t given = d->n_in < d->n ? d->n_in : d->n;
    for (int64_t k = 0; k < d->n; k++) {
        const float *at = x + k * d->inner * d->in_parts;
        line[k] = (complex_number){0, 0};
        if (k >= given) continue;
        line[k].re = (double)at[0];
        if (d->in_parts == 2) line[k].im = (double)at[1];
    }
    for (int64_t k = 1; d->mirror_in && k < (d->n + 1) / 2; k++)
        line[d->n - k] = (complex_number){line[k].re, -line[k].im};
    if (!d->mirror_in) return; /* what is its own mirror image is real */
    line[0].im = 0;
    if (d->n % 2 == 0) line[d->n / 2].im = 0;
}

static void store_line(const dft *d, const complex_number *line, float *y) {
    for (int64_t k = 0; k < d->n_out; k++) {
        complex_number value = k < d->n ? line[k] : (complex_number){0, 0};
        bool twice = d->mirror_out && k > 0 && 2 * k < d->n;
        if (d->mirror_out && 2 * k > d->n) value = (complex_number){0, 0};
        double factor = twice ? 2 * d->scale : d->scale;
        float *at = y + k * d->inner * d->out_parts;
        at[0] = (float)(factor * value.re);
        if (d->out_parts == 2) at[1] = (float)(factor * value.im);
    }
}

static void transform_lines(void *context, int64_t first, int64_t last, int worker) {
    const dft *d = context;
    complex_number *line = d->work + 3 * d->n * worker, *result = line + d->n;
    for (int64_t i = first; i < last; i++) {
        int64_t o = i / d->inner, in = i % d->inner;
        load_line(d, d->x + (o * d->n_in * d->inner + in) * d->in_parts, line);
        transform(d, d->n, 1, 1, line, result, result + d->n);
        store_line(d, result, d->y + (o * d->n_out * d->inner + in) * d->out_parts);
    }
}

static tiba_status run(dft *d, tb_exec *exec, tiba_error *error) {
    int threads = exec->pool ? tb_pool_threads(exec->pool) : 1;
    size_t n = (size_t)d->n, size = sizeof(complex_number);
    d->turns = tb_scratch(exec, n, size);
    d->work = tb_scratch(exec, 3 * n * (size_t)threads, size);
    if (!d->turns || !d->work) return tb_out_of_memory(error);
    for (int64_t k = 0; k < d->n; k++) {
        double angle = d->sign * 2 * acos(-1) * (double)k / (double)d->n;
        d->turns[k] = (complex_number){cos(angle), sin(angle)};
    }
    tb_parallel_ranges(exec, d->outer * d->inner, 1 + 4096 / d->n, transform_lines, d);
    return TIBA_OK;
}

/* ---------------------------------------------------------------- operator */

static tiba_status optional_int(int64_t *value, const tb_node *node, int i, const char *what,
                                tiba_error *error) {
    int count;
    if (i >= node->n_in || !node->in[i]) return TIBA_OK;
    TB_TRY(tb_read_ints(value, &count, 1, node, i, what, error));
    return count == 1 ? TIBA_OK
                      : tb_node_fail(error, TIBA_ERROR_INPUT, node, "its %s is no number", what);
}

/* Inputs: array, length, axis. */
static tiba_status plan(dft *d, int *axis, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    TB_TRY(tb_need_float(node, 0, error));
    TB_TRY(tb_need_rank(node, 0, 2, error));
    bool inverse = tb_attr_int(node, "inverse", 0) != 0;
    bool onesided = tb_attr_int(node, "onesided", 0) != 0;
    int64_t at = -2, length = 0;
    TB_TRY(optional_int(&at, node, 2, "axis", error));
    TB_TRY(tb_node_axis(axis, node, at, x->rank, error));
    *d = (dft){.outer = tb_product(x->dims, 0, *axis),
               .inner = tb_product(x->dims, *axis + 1, x->rank - 1),
               .n_in = x->dims[*axis],
               .in_parts = (int)x->dims[x->rank - 1],
               .out_parts = 2,
               .sign = inverse ? 1 : -1};
    if (*axis == x->rank - 1 || (d->in_parts != 1 && d->in_parts != 2))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its last axis must hold 1 or 2 parts and is not transformed");
    length = inverse && onesided ? 2 * (d->n_in - 1) : d->n_in;
    TB_TRY(optional_int(&length, node, 1, "length", error));
    if (length < 1 || length > INT64_MAX / 64)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its length is %lld", (long long)length);
    d->n = d->n_out = length;
    d->scale = inverse ? 1 / (double)length : 1;
    if (onesided && inverse) { /* half of a spectrum to real numbers */
        d->mirror_in = true;
        d->out_parts = 1;
    } else if (onesided) {
        d->n_out = length / 2 + 1;
    }
    return TIBA_OK;
}

static tiba_status DFT_shape(tb_node *node, tiba_error *error) {
    dft d;
    int axis;
    TB_TRY(plan(&d, &axis, node, error));
    int64_t dims[TIBA_MAX_RANK];
    const tiba_tensor *x = &node->in[0]->t;
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = d.n_out;
    dims[x->rank - 1] = d.out_parts;
    return tb_set_out(node, 0, TIBA_FLOAT32, x->rank, dims, error);
}

static tiba_status DFT_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    dft d;
    int axis;
    TB_TRY(plan(&d, &axis, node, error));
    d.x = in[0]->data;
    d.y = out[0]->data;
    return run(&d, exec, error);
}

static tiba_status DFT_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                           const tiba_tensor *const *out, const tiba_tensor *const *dout,
                           tiba_tensor *const *din, tiba_error *error) {
    (void)in, (void)out;
    if (!din[0]) return TIBA_OK;
    if (!dout[0]) {
        memset(din[0]->data, 0, tb_tensor_bytes(din[0]));
        return TIBA_OK;
    }
    dft d;
    int axis;
    TB_TRY(plan(&d, &axis, node, error));
    dft back = {.outer = d.outer,
                .inner = d.inner,
                .n = d.n,
                .n_in = d.n_out,
                .n_out = d.n_in,
                .in_parts = d.out_parts,
                .out_parts = d.in_parts,
                .sign = -d.sign,
                .scale = d.scale,
                .mirror_out = d.mirror_in,
                .x = dout[0]->data,
                .y = din[0]->data};
    return run(&back, exec, error);
}

const tb_op_def tb_op_def_DFT = {.shape = DFT_shape, .forward = DFT_forward, .vjp = DFT_vjp};
