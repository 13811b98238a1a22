/*
 * GridSample (operator sets 16 to 22): X [samples, channels, spatial…] read at the places that grid
 * [samples, places…, axes] names, x first, from -1 to 1. Every place is a sum over taps, `reach`
 * per axis, with the product of their weights. Both gradients follow from the same taps: the one of
 * X is their transpose, that of the grid has one axis' weights differentiated.
 */
#include <math.h>
#include <string.h>

#include "runtime/shapes.h"

enum { MAX_AXES = 3, MAX_REACH = 4, MAX_TAPS = 64, GRAIN = 1 << 14 };

typedef enum mode { LINEAR, NEAREST, CUBIC } mode;
typedef enum padding { ZEROS, BORDER, REFLECTION } padding;

typedef struct sampler {
    mode mode;
    padding padding;
    bool corners; /* -1 and 1 are the middles of the outermost elements, not their outer edges */
    int axes, reach, taps;
    int64_t size[MAX_AXES], stride[MAX_AXES]; /* of X, slowest axis first */
    int64_t samples, channels, plane, places;
    const float *x, *grid, *dy;
    float *y, *dx, *dgrid;
    int64_t *index; /* [samples · places, taps] in the plane, -1: nothing there */
    float *weight;  /* [samples · places, taps] */
} sampler;

/* ---------------------------------------------------------------- one place */

/* Where along an axis the taps of a place stand, their weights, and those differentiated by the
 * grid's number. */
typedef struct line {
    int64_t at[MAX_REACH];
    double weight[MAX_REACH], slope[MAX_REACH];
} line;

/* x mirrored at both ends until it lies between them; *sign: of its slope. */
static double reflect(double x, double low, double high, double *sign) {
    double range = high - low, over = x < low ? low - x : x - high;
    bool below = x < low;
    *sign = 1;
    if (!(range > 0)) {
        *sign = 0;
        return low;
    }
    if (!(over > 0)) return x;
    double turns = floor(over / range), rest = over - turns * range;
    bool mirrored = fmod(turns, 2) == 0;
    *sign = mirrored ? -1 : 1;
    return below == mirrored ? low + rest : high - rest;
}

/* The element that stands for position `at`, -1 if none does. */
static int64_t tap_at(const sampler *s, int axis, double at) {
    double n = (double)s->size[axis], sign;
    if (at >= 0 && at < n) return (int64_t)at;
    if (s->padding == ZEROS || n < 1) return -1;
    if (s->padding == BORDER) return at < 0 ? 0 : s->size[axis] - 1;
    double half = s->corners ? 0 : 0.5, found = reflect(at, -half, n - 1 + half, &sign);
    return found < 0 ? 0 : found > n - 1 ? s->size[axis] - 1 : (int64_t)found;
}

/* Keys' cubic with a = -0.75 and its slope. */
static double cubic(double x, double *slope) {
    const double a = -0.75;
    double d = fabs(x), sign = x < 0 ? -1 : 1;
    if (d <= 1) {
        *slope = sign * ((3 * (a + 2) * d - 2 * (a + 3)) * d);
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    }
    if (d >= 2) {
        *slope = 0;
        return 0;
    }
    *slope = sign * ((3 * a * d - 10 * a) * d + 8 * a);
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

static void find_line(line *l, const sampler *s, int axis, double g) {
    double n = (double)s->size[axis], scale = (s->corners ? n - 1 : n) / 2, sign = 1;
    double x = (g + 1) * scale - (s->corners ? 0 : 0.5), half = s->corners ? 0 : 0.5;
    if (!(fabs(x) < 1e9)) x = x > 0 ? 1e9 : -1e9; /* keeps indices in range; NaN is far outside */
    if (s->mode == NEAREST) x = nearbyint(x);
    if (x < -half || x > n - 1 + half) {
        if (s->padding == BORDER && s->mode != CUBIC) { /* a cubic's taps are clamped one by one */
            x = x < 0 ? 0 : n - 1;
            sign = 0;
        } else if (s->padding == REFLECTION) {
            x = reflect(x, -half, n - 1 + half, &sign);
        }
    }
    double first = s->mode == NEAREST ? x : floor(x) - (s->mode == CUBIC ? 1 : 0);
    for (int t = 0; t < s->reach; t++) {
        double away = x - (first + t), slope = 0;
        l->at[t] = tap_at(s, axis, first + t);
        l->weight[t] = s->mode == NEAREST ? 1
                       : s->mode == CUBIC ? cubic(away, &slope)
                                          : 1 - fabs(away);
        if (s->mode == LINEAR) slope = t == 0 ? -1 : 1;
        l->slope[t] = slope * scale * sign;
    }
}

/* The lines of a place, X's slowest axis first: the grid has them in the other order. */
static void find_lines(line *l, const sampler *s, int64_t place) {
    for (int a = 0; a < s->axes; a++)
        find_line(&l[a], s, a, (double)s->grid[place * s->axes + s->axes - 1 - a]);
}

/* Tap t of a place: its index in the plane, -1 if it has no element, and the number of it along
 * each axis. */
static int64_t split_tap(int *along, const line *l, const sampler *s, int t) {
    int64_t index = 0;
    for (int a = s->axes - 1; a >= 0; a--, t /= s->reach) {
        along[a] = t % s->reach;
        int64_t at = l[a].at[along[a]];
        index = at < 0 || index < 0 ? -1 : index + at * s->stride[a];
    }
    return index;
}

/* ---------------------------------------------------------------- all places */

static void plan_places(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const sampler *s = context;
    for (int64_t place = first; place < last; place++) {
        line l[MAX_AXES];
        find_lines(l, s, place);
        for (int t = 0; t < s->taps; t++) {
            int along[MAX_AXES];
            double weight = 1;
            s->index[place * s->taps + t] = split_tap(along, l, s, t);
            for (int a = 0; a < s->axes; a++) weight *= l[a].weight[along[a]];
            s->weight[place * s->taps + t] = (float)weight;
        }
    }
}

/* Planes [samples · channels] of X to those of Y. */
static void sample_planes(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const sampler *s = context;
    for (int64_t p = first; p < last; p++) {
        int64_t start = p / s->channels * s->places * s->taps;
        const int64_t *index = s->index + start;
        const float *x = s->x + p * s->plane, *weight = s->weight + start;
        for (int64_t i = 0; i < s->places; i++) {
            double sum = 0;
            for (int t = 0; t < s->taps; t++, index++, weight++)
                if (*index >= 0) sum += (double)*weight * (double)x[*index];
            s->y[p * s->places + i] = (float)sum;
        }
    }
}

/* The transpose. */
static void spread_planes(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const sampler *s = context;
    for (int64_t p = first; p < last; p++) {
        int64_t start = p / s->channels * s->places * s->taps;
        const int64_t *index = s->index + start;
        const float *weight = s->weight + start;
        float *dx = s->dx + p * s->plane;
        for (int64_t i = 0; i < s->places; i++) {
            float dy = s->dy[p * s->places + i];
            for (int t = 0; t < s->taps; t++, index++, weight++)
                if (*index >= 0) dx[*index] += *weight * dy;
        }
    }
}

/* What moving a place does: Σ over channels and taps. */
static void move_places(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const sampler *s = context;
    for (int64_t place = first; place < last; place++) {
        int64_t sample = place / s->places, i = place % s->places;
        const float *x = s->x + sample * s->channels * s->plane;
        const float *dy = s->dy + sample * s->channels * s->places + i;
        double sums[MAX_AXES] = {0};
        line l[MAX_AXES];
        find_lines(l, s, place);
        for (int t = 0; t < s->taps; t++) {
            int along[MAX_AXES];
            double received = 0;
            int64_t index = split_tap(along, l, s, t);
            if (index < 0) continue;
            for (int64_t c = 0; c < s->channels; c++)
                received += (double)x[c * s->plane + index] * (double)dy[c * s->places];
            for (int a = 0; a < s->axes; a++) {
                double weight = received;
                for (int b = 0; b < s->axes; b++)
                    weight *= a == b ? l[b].slope[along[b]] : l[b].weight[along[b]];
                sums[a] += weight;
            }
        }
        for (int a = 0; a < s->axes; a++)
            s->dgrid[place * s->axes + s->axes - 1 - a] = (float)sums[a];
    }
}

/* ---------------------------------------------------------------- operator */

static tiba_status read_choice(int *out, const tb_node *node, const char *attr, int count,
                               const char *const (*names)[2], tiba_error *error) {
    const char *name = tb_attr_string(node, attr, names[0][0]);
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name, names[*out][0]) == 0 || strcmp(name, names[*out][1]) == 0) return TIBA_OK;
    return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s '%.40s' is not supported", attr, name);
}

static tiba_status read_sampler(sampler *s, const tb_node *node, tiba_error *error) {
    /* version 16 called them bilinear and bicubic */
    static const char *const modes[][2] = {
        {"linear", "bilinear"}, {"nearest", "nearest"}, {"cubic", "bicubic"}};
    static const char *const paddings[][2] = {
        {"zeros", "zeros"}, {"border", "border"}, {"reflection", "reflection"}};
    const tiba_tensor *x = &node->in[0]->t, *grid = &node->in[1]->t;
    int choice;
    *s = (sampler){.axes = x->rank - 2, .taps = 1};
    TB_TRY(read_choice(&choice, node, "mode", 3, modes, error));
    s->mode = (mode)choice;
    TB_TRY(read_choice(&choice, node, "padding_mode", 3, paddings, error));
    s->padding = (padding)choice;
    s->corners = tb_attr_int(node, "align_corners", 0) != 0;
    if (s->axes < 1 || s->axes > MAX_AXES || grid->rank != x->rank || grid->dims[0] != x->dims[0] ||
        grid->dims[grid->rank - 1] != s->axes) {
        char a[128], b[128];
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a grid %s does not fit x %s",
                            tb_shape_text(b, sizeof b, grid->rank, grid->dims),
                            tb_shape_text(a, sizeof a, x->rank, x->dims));
    }
    s->reach = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : 4;
    for (int a = 0; a < s->axes; a++) {
        s->size[a] = x->dims[2 + a];
        s->stride[a] = tb_product(x->dims, 3 + a, x->rank);
        s->taps *= s->reach;
        if (s->size[a] > 1 << 30)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %d has %lld elements", 2 + a,
                                (long long)s->size[a]);
    }
    s->samples = x->dims[0];
    s->channels = x->dims[1];
    s->plane = tb_product(x->dims, 2, x->rank);
    s->places = tb_product(grid->dims, 1, grid->rank - 1);
    return TIBA_OK;
}

static tiba_status sample_shape(tb_node *node, tiba_error *error) {
    sampler s;
    int64_t dims[TIBA_MAX_RANK];
    TB_TRY(tb_need_float(node, 0, error));
    TB_TRY(tb_need_float(node, 1, error));
    TB_TRY(read_sampler(&s, node, error));
    const tiba_tensor *x = &node->in[0]->t, *grid = &node->in[1]->t;
    for (int i = 0; i < x->rank; i++) dims[i] = i < 2 ? x->dims[i] : grid->dims[i - 1];
    return tb_set_out(node, 0, TIBA_FLOAT32, x->rank, dims, error);
}

/* The taps of all places. */
static tiba_status plan(sampler *s, tb_exec *exec, tiba_error *error) {
    size_t places = (size_t)(s->samples * s->places), entries;
    if (!tb_size_mul(&entries, places, (size_t)s->taps)) return tb_out_of_memory(error);
    s->index = tb_scratch(exec, entries, sizeof *s->index);
    s->weight = tb_scratch(exec, entries, sizeof *s->weight);
    if (!s->index || !s->weight) return tb_out_of_memory(error);
    tb_parallel_ranges(exec, s->samples * s->places, GRAIN / s->taps, plan_places, s);
    return TIBA_OK;
}

/* Places that make a thread worth it, where each costs `one` · taps. */
static int64_t grain(const sampler *s, int64_t one) {
    return GRAIN / (one * s->taps + 1) + 1;
}

static tiba_status sample_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    sampler s;
    TB_TRY(read_sampler(&s, node, error));
    if (tb_tensor_count(out[0]) == 0) return TIBA_OK;
    s.x = in[0]->data;
    s.grid = in[1]->data;
    s.y = out[0]->data;
    TB_TRY(plan(&s, exec, error));
    tb_parallel_ranges(exec, s.samples * s.channels, grain(&s, s.places), sample_planes, &s);
    return TIBA_OK;
}

static tiba_status sample_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    sampler s;
    TB_TRY(read_sampler(&s, node, error));
    for (int i = 0; i < 2; i++)
        if (din[i]) memset(din[i]->data, 0, tb_tensor_bytes(din[i]));
    if (!dout[0] || tb_tensor_count(dout[0]) == 0) return TIBA_OK;
    s.grid = in[1]->data;
    s.dy = dout[0]->data;
    if (din[0]) {
        s.dx = din[0]->data;
        TB_TRY(plan(&s, exec, error));
        tb_parallel_ranges(exec, s.samples * s.channels, grain(&s, s.places), spread_planes, &s);
    }
    if (din[1]) {
        s.x = in[0]->data;
        s.dgrid = din[1]->data;
        tb_parallel_ranges(exec, s.samples * s.places, grain(&s, s.channels), move_places, &s);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_GridSample = {.shape = sample_shape,
                                        .forward = sample_forward,
                                        .vjp = sample_vjp,
                                        .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};
