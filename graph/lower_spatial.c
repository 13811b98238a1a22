/*
 * Lowering of operators on pictures: grids to sample at, windows put back together, crops, and
 * convolutions whose taps move.
 */
#include "graph/lower_attention.h"

enum { MAX_AXES = 3 };

/* An attribute of `count` integers, `preset` where it is left out; NULL after a failure. */
static const int64_t *read_ints(tb_call *c, const char *name, int64_t count,
                                const int64_t *preset) {
    int64_t n;
    const int64_t *values = tb_attr_ints(c->node, name, &n);
    if (!values) return preset;
    bool fits = n == count;
    for (int64_t i = 0; fits && i < n; i++) fits = values[i] >= 0 && values[i] < 1 << 30;
    if (!fits) tb_call_fail(c, "its %s do not fit %lld axes", name, (long long)count);
    return fits ? values : NULL;
}

/* The middle of element i of n on an axis from -1 to 1; with corners, -1 and 1 are middles. */
static double middle(int64_t i, int64_t n, bool corners) {
    if (corners) return n > 1 ? 2 * (double)i / (double)(n - 1) - 1 : 0;
    return (2 * (double)i + 1) / (double)n - 1;
}

/* theta [N, axes, axes + 1], size [N, C, spatial…]: grid [N, spatial…, axes], x first. */
void tb_lower_AffineGrid(tb_call *c) {
    if (!tb_call_needs_rank(c, 0, 3)) return;
    const tiba_tensor *theta = &c->in[0]->t;
    int axes = (int)theta->dims[1];
    if ((axes != 2 && axes != 3) || theta->dims[2] != axes + 1) {
        tb_call_fail(c, "theta is no [N, 2, 3] or [N, 3, 4]");
        return;
    }
    const int64_t *size = tb_call_ints(c, tb_call_in(c, 1), axes + 2, "its size");
    int64_t dims[MAX_AXES + 2] = {theta->dims[0]}, places = 1;
    for (int a = 0; size && a < axes; a++) dims[1 + a] = size[2 + a];
    dims[axes + 1] = axes;
    if (!size) return;
    if (size[0] != theta->dims[0] || !tb_count(&places, axes, size + 2)) {
        tb_call_fail(c, "its size does not fit theta");
        return;
    }
    tb_value *base;
    tiba_tensor *t = tb_emit_tensor(c, &base, TIBA_FLOAT32, 2, (int64_t[]){places, axes + 1});
    bool corners = tb_attr_int(c->node, "align_corners", 0) != 0;
    for (int64_t i = 0; t && i < places; i++) {
        int64_t rest = i;
        for (int a = 0; a < axes; a++) { /* x is the last axis */
            int64_t n = size[axes + 1 - a];
            tb_set_f64(t, i * (axes + 1) + a, middle(rest % n, n, corners));
            rest /= n;
        }
        tb_set_f64(t, i * (axes + 1) + axes, 1);
    }
    tb_value *grid = tb_emit2(c, TB_OP_MatMul, base, tb_emit_swap(c, c->in[0]));
    c->out[0] = tb_emit_reshape(c, grid, axes + 2, dims);
}

/* Columns [N, C · kernel, positions]: every column's window is added to the image. That is a
 * transposed convolution, plane by plane, whose weights are 1 where a column's element stands. */
void tb_lower_Col2Im(tb_call *c) {
    static const int64_t ones[MAX_AXES] = {1, 1, 1}, none[2 * MAX_AXES] = {0};
    const tb_value *image_in = tb_call_in(c, 1), *kernel_in = tb_call_in(c, 2);
    if (!tb_call_needs_rank(c, 0, 3) || !image_in || !kernel_in) return;
    int64_t axes = tb_tensor_count(&image_in->t);
    if (axes < 1 || axes > MAX_AXES) {
        tb_call_fail(c, "an image of %lld axes is not supported", (long long)axes);
        return;
    }
    const int64_t *image = tb_call_ints(c, image_in, axes, "its image shape");
    const int64_t *kernel = tb_call_ints(c, kernel_in, axes, "its block shape");
    const int64_t *stride = read_ints(c, "strides", axes, ones);
    const int64_t *dilation = read_ints(c, "dilations", axes, ones);
    const int64_t *pads = read_ints(c, "pads", 2 * axes, none);
    if (!image || !kernel || !stride || !dilation || !pads) return;
    const tiba_tensor x = c->in[0]->t;
    int64_t taps = 1, positions = 1, planes;
    int64_t columns[MAX_AXES + 2], weight[MAX_AXES + 2], out[MAX_AXES + 2], more[MAX_AXES];
    bool fits = tb_count(&taps, (int)axes, kernel) && taps > 0 && x.dims[1] % taps == 0;
    for (int a = 0; fits && a < axes; a++) {
        fits = image[a] > 0 && image[a] < 1 << 30 && kernel[a] < 1 << 20 && stride[a] > 0 &&
               dilation[a] > 0 && dilation[a] < 1 << 20;
        int64_t room = image[a] + pads[a] + pads[axes + a] - (kernel[a] - 1) * dilation[a] - 1;
        fits = fits && room >= 0;
        if (!fits) break;
        columns[2 + a] = room / stride[a] + 1;
        more[a] = room % stride[a];
        weight[2 + a] = kernel[a];
        out[2 + a] = image[a];
        fits = tb_count(&positions, 2, (int64_t[]){positions, columns[2 + a]});
    }
    if (!fits || positions != x.dims[2] || taps > 4096) {
        tb_call_fail(c, "its columns do not fit its image and block shape");
        return;
    }
    planes = x.dims[0] * (x.dims[1] / taps);
    columns[0] = planes;
    columns[1] = weight[0] = taps;
    weight[1] = 1;
    out[0] = x.dims[0];
    out[1] = x.dims[1] / taps;
    tb_value *eye;
    tiba_tensor *t = tb_emit_tensor(c, &eye, TIBA_FLOAT32, (int)axes + 2, weight);
    for (int64_t k = 0; t && k < taps; k++) tb_set_f64(t, k * taps + k, 1);
    const tb_attr attrs[] = {
        TB_INTS_ATTR("strides", axes, stride), TB_INTS_ATTR("dilations", axes, dilation),
        TB_INTS_ATTR("pads", 2 * axes, pads), TB_INTS_ATTR("output_padding", axes, more)};
    tb_value *in[] = {tb_emit_reshape(c, c->in[0], (int)axes + 2, columns), eye};
    c->out[0] =
        tb_emit_reshape(c, tb_emit(c, TB_OP_ConvTranspose, 2, in, 4, attrs), (int)axes + 2, out);
}

/* The middle of each named axis, or all of it between zeros. */
void tb_lower_CenterCropPad(tb_call *c) {
    if (!tb_call_in(c, 0)) {
        tb_call_fail(c, "input 0 is missing");
        return;
    }
    const tiba_tensor x = c->in[0]->t;
    int64_t count = x.rank, pads[2 * TIBA_MAX_RANK] = {0};
    const int64_t *axes = tb_attr_ints(c->node, "axes", &count);
    if (!axes) count = x.rank;
    const int64_t *size = tb_call_ints(c, tb_call_in(c, 1), count, "its shape");
    tb_value *y = c->in[0];
    bool grows = false;
    for (int64_t i = 0; size && i < count && c->status == TIBA_OK; i++) {
        int64_t axis = axes ? axes[i] : i;
        if (axis < 0) axis += x.rank;
        if (axis < 0 || axis >= x.rank || size[i] < 0 || size[i] > 1 << 30) {
            tb_call_fail(c, "its axes or shape do not fit its input");
            return;
        }
        int64_t n = x.dims[axis], off = (n - size[i]) / 2, put = (size[i] - n) / 2;
        if (size[i] < n) y = tb_emit_slice(c, y, axis, off, off + size[i]);
        if (size[i] <= n) continue;
        grows = true;
        pads[axis] = put;
        pads[x.rank + axis] = size[i] - n - put;
    }
    if (grows) y = tb_emit2(c, TB_OP_Pad, y, tb_emit_ints(c, 2 * x.rank, pads));
    c->out[0] = y;
}

/* ---- a convolution whose taps are moved by offsets ------------------------------------------- */

/* X [N, C, H, W], W [M, C/groups, kH, kW], offset [N, og · taps · 2, oH, oW] (y before x), bias,
 * mask [N, og · taps, oH, oW]. */
typedef struct deformed {
    int64_t n, channels, groups, offset_groups, taps, places, size[2], out[2], kernel[2];
    const int64_t *stride, *dilation, *pads;
} deformed;

static bool read_deformed(deformed *d, tb_call *c) {
    static const int64_t ones[2] = {1, 1}, none[4] = {0};
    for (int i = 0; i < 3; i++)
        if (!tb_call_needs_rank(c, i, 4)) return false;
    const int64_t *x = c->in[0]->t.dims, *w = c->in[1]->t.dims, *offset = c->in[2]->t.dims;
    const tb_value *mask = tb_call_in(c, 4), *bias = tb_call_in(c, 3);
    *d = (deformed){.n = x[0],
                    .channels = x[1],
                    .groups = tb_attr_int(c->node, "group", 1),
                    .offset_groups = tb_attr_int(c->node, "offset_group", 1),
                    .taps = w[2] * w[3],
                    .places = offset[2] * offset[3],
                    .stride = read_ints(c, "strides", 2, ones),
                    .dilation = read_ints(c, "dilations", 2, ones),
                    .pads = read_ints(c, "pads", 4, none)};
    if (!d->stride || !d->dilation || !d->pads) return false;
    bool fits = d->groups > 0 && d->offset_groups > 0 && d->taps > 0 &&
                x[1] % d->offset_groups == 0 && x[1] % d->groups == 0 && w[0] % d->groups == 0 &&
                w[1] == x[1] / d->groups && offset[0] == x[0] &&
                offset[1] / 2 / d->taps == d->offset_groups && offset[1] % (2 * d->taps) == 0;
    if (mask)
        fits = fits && mask->t.rank == 4 && mask->t.dims[0] == x[0] &&
               2 * mask->t.dims[1] == offset[1] && mask->t.dims[2] == offset[2] &&
               mask->t.dims[3] == offset[3];
    if (bias) fits = fits && bias->t.rank == 1 && bias->t.dims[0] == w[0];
    for (int a = 0; a < 2 && fits; a++) {
        d->size[a] = x[2 + a];
        d->kernel[a] = w[2 + a];
        d->out[a] = offset[2 + a];
        int64_t room = x[2 + a] + d->pads[a] + d->pads[2 + a] - 1;
        fits = d->stride[a] > 0 && room / d->dilation[a] >= w[2 + a] - 1 && x[2 + a] > 0 &&
               (room - d->dilation[a] * (w[2 + a] - 1)) / d->stride[a] + 1 == offset[2 + a];
    }
    if (!fits) tb_call_fail(c, "its weight, offsets or mask do not fit its input");
    return fits;
}

/* Where the taps stand: [N · og, taps, places, 2], x first, from -1 to 1. */
static tb_value *moved_taps(tb_call *c, const deformed *d) {
    tb_value *base, *step;
    tb_value *offset = tb_emit_reshape(c, c->in[2], 4,
                                       (int64_t[]){d->n * d->offset_groups, d->taps, 2, d->places});
    offset = tb_emit_transpose(c, offset, 4, (int64_t[]){0, 1, 3, 2});
    offset =
        tb_emit_concat(c, tb_emit_slice(c, offset, 3, 1, 2), tb_emit_slice(c, offset, 3, 0, 1), 3);
    tiba_tensor *t =
        tb_emit_tensor(c, &base, TIBA_FLOAT32, 4, (int64_t[]){1, d->taps, d->places, 2});
    for (int64_t i = 0; t && i < d->taps * d->places * 2; i++) {
        int axis = i % 2 == 0; /* x is axis 1 */
        int64_t tap = i / 2 / d->places, place = i / 2 % d->places;
        int64_t k = axis ? tap % d->kernel[1] : tap / d->kernel[1];
        int64_t o = axis ? place % d->out[1] : place / d->out[1];
        int64_t at = o * d->stride[axis] - d->pads[axis] + k * d->dilation[axis];
        tb_set_f64(t, i, middle(at, d->size[axis], false));
    }
    tiba_tensor *s = tb_emit_tensor(c, &step, TIBA_FLOAT32, 1, (int64_t[]){2});
    for (int i = 0; s && i < 2; i++) tb_set_f64(s, i, 2 / (double)d->size[1 - i]);
    return tb_emit2(c, TB_OP_Add, tb_emit2(c, TB_OP_Mul, offset, step), base);
}

void tb_lower_DeformConv(tb_call *c) {
    deformed d;
    if (!read_deformed(&d, c)) return;
    const tiba_tensor w = c->in[1]->t;
    int64_t pictures = d.n * d.offset_groups, depth = w.dims[1] * d.taps;
    tb_value *x = tb_emit_reshape(
        c, c->in[0], 4, (int64_t[]){pictures, d.channels / d.offset_groups, d.size[0], d.size[1]});
    x = tb_emit2(c, TB_OP_GridSample, x, moved_taps(c, &d));
    if (tb_call_in(c, 4))
        x = tb_emit2(c, TB_OP_Mul, x,
                     tb_emit_reshape(c, c->in[4], 4, (int64_t[]){pictures, 1, d.taps, d.places}));
    x = tb_emit_reshape(c, x, 4, (int64_t[]){d.n, d.groups, depth, d.places});
    tb_value *weight =
        tb_emit_reshape(c, c->in[1], 3, (int64_t[]){d.groups, w.dims[0] / d.groups, depth});
    tb_value *y = tb_emit_reshape(c, tb_emit2(c, TB_OP_MatMul, weight, x), 4,
                                  (int64_t[]){d.n, w.dims[0], d.out[0], d.out[1]});
    if (tb_call_in(c, 3))
        y = tb_emit2(c, TB_OP_Add, y,
                     tb_emit_reshape(c, c->in[3], 3, (int64_t[]){w.dims[0], 1, 1}));
    c->out[0] = y;
}
