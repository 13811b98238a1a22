/*
 * Resize (operator set 19): inputs X, roi, scales, sizes. Interpolation is separable: per axis
 * every output index is a weighted sum of `taps` input indices, and the vjp is the transpose of
 * that. Positions and weights follow the operator's definition; nearest is one tap of weight 1.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "runtime/move.h"

enum { GRAIN = 1 << 14, MAX_TAPS = 1 << 24 };

typedef enum mode { NEAREST, LINEAR, CUBIC, MODES } mode;
typedef enum coordinates {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_HALF_PIXEL_FOR_NN,
    TF_CROP_AND_RESIZE,
    COORDINATES
} coordinates;
typedef enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL, ROUNDINGS } rounding;
typedef enum policy { STRETCH, NOT_LARGER, NOT_SMALLER, POLICIES } policy;

static const char *const mode_names[MODES] = {"nearest", "linear", "cubic"};
static const char *const coordinate_names[COORDINATES] = {
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
    "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
static const char *const rounding_names[ROUNDINGS] = {"round_prefer_floor", "round_prefer_ceil",
                                                      "floor", "ceil"};
static const char *const policy_names[POLICIES] = {"stretch", "not_larger", "not_smaller"};

typedef struct settings {
    mode mode;
    coordinates coordinates;
    rounding rounding;
    policy policy;
    bool antialias, exclude_outside;
    double cubic_a;
    float extrapolation;
    int64_t out[TIBA_MAX_RANK];
    double scale[TIBA_MAX_RANK], begin[TIBA_MAX_RANK], end[TIBA_MAX_RANK]; /* crop, in [0, 1] */
} settings;

static tiba_status read_choice(int *out, const tb_node *node, const char *attr,
                               const char *const *names, int count, tiba_error *error) {
    const char *name = tb_attr_string(node, attr, names[0]);
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name, names[*out]) == 0) return TIBA_OK;
    return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s '%.40s' is not supported", attr, name);
}

/* The optional input i, NULL if it is left out or empty; fails unless it is constant and has
 * `count` elements. */
static tiba_status read_list(const tiba_tensor **out, const tb_node *node, int i, int count,
                             const char *what, tiba_error *error) {
    const tb_value *value = tb_node_in(node, i);
    *out = NULL;
    if (!value || tb_tensor_count(&value->t) == 0) return TIBA_OK;
    if (!value->t.data)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its %s ('%.60s') depend on the values of a float input", what,
                            value->name);
    if (tb_tensor_count(&value->t) != count)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%" PRId64 " %s for %d axes",
                            tb_tensor_count(&value->t), what, count);
    *out = &value->t;
    return TIBA_OK;
}

static tiba_status read_attributes(settings *s, const tb_node *node, tiba_error *error) {
    int choice;
    TB_TRY(read_choice(&choice, node, "mode", mode_names, MODES, error));
    s->mode = (mode)choice;
    TB_TRY(read_choice(&choice, node, "coordinate_transformation_mode", coordinate_names,
                       COORDINATES, error));
    s->coordinates = (coordinates)choice;
    TB_TRY(read_choice(&choice, node, "nearest_mode", rounding_names, ROUNDINGS, error));
    s->rounding = (rounding)choice;
    TB_TRY(read_choice(&choice, node, "keep_aspect_ratio_policy", policy_names, POLICIES, error));
    s->policy = (policy)choice;
    s->antialias = tb_attr_int(node, "antialias", 0) != 0;
    s->exclude_outside = tb_attr_int(node, "exclude_outside", 0) != 0;
    s->cubic_a = (double)tb_attr_float(node, "cubic_coeff_a", -0.75f);
    s->extrapolation = tb_attr_float(node, "extrapolation_value", 0);
    return TIBA_OK;
}

/* The axes attribute, or all axes. */
static tiba_status read_resized_axes(int *axes, int *count, const tb_node *node,
                                     tiba_error *error) {
    int rank = node->in[0]->t.rank;
    int64_t n;
    const int64_t *list = tb_attr_ints(node, "axes", &n);
    *count = list ? (int)n : rank;
    if (n > rank) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "it has too many axes");
    for (int i = 0; i < *count; i++) {
        TB_TRY(tb_node_axis(&axes[i], node, list ? list[i] : i, rank, error));
        for (int k = 0; k < i; k++)
            if (axes[k] == axes[i])
                return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %d is named twice",
                                    axes[i]);
    }
    return TIBA_OK;
}

static tiba_status size_from_scale(settings *s, const tb_node *node, int axis, double scale,
                                   tiba_error *error) {
    double n = (double)node->in[0]->t.dims[axis], size;
    if (s->coordinates == TF_CROP_AND_RESIZE) n *= s->end[axis] - s->begin[axis];
    size = floor(n * scale);
    if (!(scale > 0 && size >= 0 && size < 1e12))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "scale %g of axis %d is out of range",
                            scale, axis);
    s->out[axis] = (int64_t)size;
    s->scale[axis] = scale;
    return TIBA_OK;
}

static tiba_status sizes_to_scales(settings *s, const tb_node *node, const tiba_tensor *sizes,
                                   const int *axes, int count, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    double common = 0;
    for (int i = 0; i < count; i++) {
        int64_t n = x->dims[axes[i]], size = tb_get_i64(sizes, i);
        if (n <= 0 || size < 0 || (double)size >= 1e12)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "cannot resize axis %d from %" PRId64 " to %" PRId64, axes[i], n,
                                size);
        double scale = (double)size / (double)n;
        s->out[axes[i]] = size;
        s->scale[axes[i]] = scale;
        if (i == 0 || (s->policy == NOT_LARGER ? scale < common : scale > common)) common = scale;
    }
    if (s->policy == STRETCH) return TIBA_OK;
    for (int i = 0; i < count; i++) {
        s->scale[axes[i]] = common;
        s->out[axes[i]] = (int64_t)floor(common * (double)x->dims[axes[i]] + 0.5);
    }
    return TIBA_OK;
}

static tiba_status read_settings(settings *s, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t, *roi, *scales, *sizes;
    int axes[TIBA_MAX_RANK], count;
    TB_TRY(read_attributes(s, node, error));
    TB_TRY(read_resized_axes(axes, &count, node, error));
    TB_TRY(read_list(&scales, node, 2, count, "scales", error));
    TB_TRY(read_list(&sizes, node, 3, count, "sizes", error));
    if (!scales == !sizes)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "it needs either scales or sizes");
    for (int i = 0; i < x->rank; i++) {
        s->out[i] = x->dims[i];
        s->scale[i] = s->end[i] = 1;
        s->begin[i] = 0;
    }
    if (s->coordinates == TF_CROP_AND_RESIZE) {
        TB_TRY(read_list(&roi, node, 1, 2 * count, "region bounds", error));
        if (!roi) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its roi is left out");
        for (int i = 0; i < count; i++) {
            s->begin[axes[i]] = tb_get_f64(roi, i);
            s->end[axes[i]] = tb_get_f64(roi, count + i);
        }
    }
    if (sizes) return sizes_to_scales(s, node, sizes, axes, count, error);
    for (int i = 0; i < count; i++)
        TB_TRY(size_from_scale(s, node, axes[i], tb_get_f64(scales, i), error));
    return TIBA_OK;
}

static tiba_status resize_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    settings s;
    TB_TRY(read_settings(&s, node, error));
    if (s.mode != NEAREST && x->dtype != TIBA_FLOAT32)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "mode '%s' of %s is not supported",
                            mode_names[s.mode], tb_dtype_name(x->dtype));
    for (int i = 0; i < x->rank; i++)
        if (x->dims[i] == 0 && s.out[i] > 0)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %d has no elements", i);
    return tb_set_out(node, 0, x->dtype, x->rank, s.out, error);
}

/* One axis: output index o is Σ_t weights[o·taps + t] · input index[o·taps + t]. */
typedef struct axis_plan {
    int64_t n, m, taps; /* input size, output size */
    int64_t *index;
    double *weights;
    bool
        *outside; /* output indices that a crop puts outside of the input; NULL if there are none */
} axis_plan;

/* Which pixel is nearest is decided in float32, as the scales are: pixel 5 is 3 / 0.6, but
 * not 3 / (double)0.6f. */
static double ratio(const settings *s, double a, double b) {
    return s->mode == NEAREST ? (double)((float)a / (float)b) : a / b;
}

/* Where output index o lies on the input's axis. */
static double position(const settings *s, int axis, int64_t n, int64_t o) {
    double scale = s->scale[axis], x = (double)o, size = (double)n, resized = scale * size;
    double begin = s->begin[axis], range = s->end[axis] - begin, m = (double)s->out[axis];
    switch (s->coordinates) {
    case ALIGN_CORNERS:
        return resized == 1 ? 0 : ratio(s, x * (size - 1), resized - 1);
    case ASYMMETRIC:
        return ratio(s, x, scale);
    case TF_HALF_PIXEL_FOR_NN: /* of operator set 11; what is not resized stays where it is */
        return scale == 1 ? x : ratio(s, x + 0.5, scale);
    case TF_CROP_AND_RESIZE:
        return begin * (size - 1) +
               (m > 1 ? x * range * (size - 1) / (m - 1) : range * (size - 1) / 2);
    case PYTORCH_HALF_PIXEL:
        return m > 1 ? ratio(s, x + 0.5, scale) - 0.5 : 0;
    case HALF_PIXEL_SYMMETRIC:
        return size / 2 * (1 - m / resized) + (x + 0.5) / scale - 0.5;
    default:
        return ratio(s, x + 0.5, scale) - 0.5;
    }
}

static double kernel(const settings *s, double x) {
    double a = s->cubic_a;
    x = fabs(x);
    if (s->mode == LINEAR) return x < 1 ? 1 - x : 0;
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t nearest(rounding how, double x) {
    double low = floor(x), part = x - low;
    bool up = how == PREFER_FLOOR  ? part > 0.5
              : how == PREFER_CEIL ? part >= 0.5
              : how == CEIL        ? part > 0
                                   : false;
    return (int64_t)low + up;
}

static void plan_index(axis_plan *p, const settings *s, int axis, int64_t o) {
    double x = position(s, axis, p->n, o), limit = (double)p->n + (double)p->taps, sum = 0;
    int64_t *index = p->index + o * p->taps;
    double *weights = p->weights + o * p->taps;
    if (p->outside) p->outside[o] = !(x >= 0 && x <= (double)(p->n - 1));
    /* far outside everything is the edge; keeps the conversion below in range */
    x = !(x > -limit) ? -limit : x > limit ? limit : x;
    double stretch = s->antialias && s->scale[axis] < 1 ? s->scale[axis] : 1;
    int64_t first =
        s->mode == NEAREST ? nearest(s->rounding, x) : (int64_t)floor(x) - (p->taps / 2 - 1);
    for (int64_t t = 0; t < p->taps; t++) {
        int64_t i = first + t;
        bool inside = i >= 0 && i < p->n;
        weights[t] = s->mode == NEAREST ? 1 : kernel(s, ((double)i - x) * stretch);
        if (s->exclude_outside && s->mode != NEAREST && !inside) weights[t] = 0;
        sum += weights[t];
        index[t] = i < 0 ? 0 : i >= p->n ? p->n - 1 : i;
    }
    if (sum != 0)
        for (int64_t t = 0; t < p->taps; t++) weights[t] /= sum;
}

static tiba_status plan_axis(axis_plan *p, tb_exec *exec, const settings *s, const tb_node *node,
                             int axis, tiba_error *error) {
    double radius = s->mode == CUBIC ? 2 : 1;
    if (s->antialias && s->scale[axis] < 1) radius = ceil(radius / s->scale[axis]);
    p->n = node->in[0]->t.dims[axis];
    p->m = s->out[axis];
    if (!(radius < MAX_TAPS))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "scale %g of axis %d is out of range",
                            s->scale[axis], axis);
    p->taps = s->mode == NEAREST ? 1 : 2 * (int64_t)radius;
    size_t entries;
    if (!tb_size_mul(&entries, (size_t)p->taps, (size_t)p->m)) return tb_out_of_memory(error);
    p->index = tb_scratch(exec, entries, sizeof *p->index);
    p->weights = tb_scratch(exec, entries, sizeof *p->weights);
    p->outside = NULL;
    if (s->coordinates == TF_CROP_AND_RESIZE)
        p->outside = tb_scratch(exec, (size_t)p->m, sizeof *p->outside);
    if (!p->index || !p->weights || (s->coordinates == TF_CROP_AND_RESIZE && !p->outside))
        return tb_out_of_memory(error);
    for (int64_t o = 0; o < p->m; o++) plan_index(p, s, axis, o);
    return TIBA_OK;
}

/* Does every output index just take the input's? Such axes are skipped. */
static bool is_identity(const axis_plan *p) {
    if (p->n != p->m) return false;
    for (int64_t o = 0; o < p->m; o++)
        for (int64_t t = 0; t < p->taps; t++) {
            double weight = p->weights[o * p->taps + t];
            if (p->index[o * p->taps + t] == o ? weight == 0 : weight != 0) return false;
        }
    return true;
}

/* One axis of an array [outer, n or m, inner]. */
typedef struct pass {
    const axis_plan *plan;
    int64_t inner;
    size_t size;
    char *to;
    const char *from;
} pass;

static void copy_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const pass *p = context;
    int64_t row = p->inner * (int64_t)p->size, m = p->plan->m;
    for (int64_t r = first; r < last; r++)
        memcpy(p->to + r * row, p->from + (r / m * p->plan->n + p->plan->index[r % m]) * row,
               (size_t)row);
}

static void weigh_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const pass *p = context;
    int64_t m = p->plan->m, taps = p->plan->taps, inner = p->inner;
    for (int64_t r = first; r < last; r++) {
        float *to = (float *)(void *)p->to + r * inner;
        const float *from = (const float *)(const void *)p->from + r / m * p->plan->n * inner;
        const int64_t *index = p->plan->index + r % m * taps;
        const double *weights = p->plan->weights + r % m * taps;
        for (int64_t i = 0; i < inner; i++) {
            double sum = 0;
            for (int64_t t = 0; t < taps; t++)
                sum += weights[t] * (double)from[index[t] * inner + i];
            to[i] = (float)sum;
        }
    }
}

/* The transpose: `from` has m rows, `to` n; whole outer slices, as rows meet at one place. */
static void spread_slices(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const pass *p = context;
    int64_t n = p->plan->n, m = p->plan->m, taps = p->plan->taps, inner = p->inner;
    float *to = (float *)(void *)p->to;
    memset(to + first * n * inner, 0, (size_t)((last - first) * n * inner) * sizeof *to);
    for (int64_t r = first * m; r < last * m; r++) {
        const float *from = (const float *)(const void *)p->from + r * inner;
        for (int64_t t = 0; t < taps; t++) {
            double weight = p->plan->weights[r % m * taps + t];
            float *row = to + (r / m * n + p->plan->index[r % m * taps + t]) * inner;
            if (weight == 0) continue;
            for (int64_t i = 0; i < inner; i++) row[i] += (float)(weight * (double)from[i]);
        }
    }
}

/* Sets the elements of `t` (of the output's shape) that a crop puts outside of the input. */
static void set_outside(const axis_plan *plans, tiba_tensor *t, const void *value) {
    int64_t size = (int64_t)tb_dtype_size(t->dtype);
    for (int axis = 0; axis < t->rank; axis++) {
        if (!plans[axis].outside) continue;
        int64_t m = t->dims[axis], outer = tb_product(t->dims, 0, axis),
                inner = tb_product(t->dims, axis + 1, t->rank);
        for (int64_t r = 0; r < outer * m; r++)
            for (int64_t i = 0; plans[axis].outside[r % m] && i < inner; i++)
                memcpy((char *)t->data + (r * inner + i) * size, value, (size_t)size);
    }
}

/* The axes to pass over, those that are not left as they are. */
static tiba_status make_plans(axis_plan *plans, int *axes, int *count, tb_exec *exec,
                              const settings *s, const tb_node *node, tiba_error *error) {
    *count = 0;
    for (int i = 0; i < node->in[0]->t.rank; i++) {
        TB_TRY(plan_axis(&plans[i], exec, s, node, i, error));
        if (!is_identity(&plans[i])) axes[(*count)++] = i;
    }
    return TIBA_OK;
}

static tiba_status resize_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    settings s;
    axis_plan plans[TIBA_MAX_RANK];
    int axes[TIBA_MAX_RANK], count;
    tiba_tensor now = *in[0];
    TB_TRY(read_settings(&s, node, error));
    if (tb_tensor_count(out[0]) == 0) return TIBA_OK;
    TB_TRY(make_plans(plans, axes, &count, exec, &s, node, error));
    size_t size = tb_dtype_size(now.dtype);
    if (count == 0) memcpy(out[0]->data, now.data, tb_tensor_bytes(&now));
    for (int k = 0; k < count; k++) {
        tiba_tensor next = now;
        next.dims[axes[k]] = s.out[axes[k]];
        int64_t total;
        if (!tb_count(&total, next.rank, next.dims)) return tb_out_of_memory(error);
        next.data = k == count - 1 ? out[0]->data : tb_scratch(exec, (size_t)total, size);
        if (!next.data) return tb_out_of_memory(error);
        pass p = {&plans[axes[k]], tb_product(now.dims, axes[k] + 1, now.rank), size, next.data,
                  now.data};
        int64_t cost = p.inner * p.plan->taps;
        tb_parallel_ranges(exec, tb_product(next.dims, 0, axes[k] + 1), GRAIN / cost,
                           s.mode == NEAREST ? copy_rows : weigh_rows, &p);
        now = next;
    }
    tiba_tensor value = {.dtype = TIBA_FLOAT32, .data = &s.extrapolation};
    int64_t bits = 0;
    tiba_tensor stored = {.dtype = now.dtype, .data = &bits};
    tb_convert(&stored, &value);
    set_outside(plans, out[0], &bits);
    return TIBA_OK;
}

static tiba_status resize_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)in, (void)out;
    if (!din[0]) return TIBA_OK;
    tb_zero(din[0]);
    if (!dout[0] || tb_tensor_count(dout[0]) == 0) return TIBA_OK;
    settings s;
    axis_plan plans[TIBA_MAX_RANK];
    int axes[TIBA_MAX_RANK], count;
    TB_TRY(read_settings(&s, node, error));
    TB_TRY(make_plans(plans, axes, &count, exec, &s, node, error));
    tiba_tensor now = *dout[0];
    if (s.coordinates == TF_CROP_AND_RESIZE) {
        float zero = 0;
        now.data = tb_scratch(exec, (size_t)tb_tensor_count(&now), sizeof(float));
        if (!now.data) return tb_out_of_memory(error);
        memcpy(now.data, dout[0]->data, tb_tensor_bytes(&now));
        set_outside(plans, &now, &zero);
    }
    if (count == 0) memcpy(din[0]->data, now.data, tb_tensor_bytes(&now));
    for (int k = count - 1; k >= 0; k--) {
        tiba_tensor next = now;
        next.dims[axes[k]] = din[0]->dims[axes[k]];
        next.data =
            k == 0 ? din[0]->data : tb_scratch(exec, (size_t)tb_tensor_count(&next), sizeof(float));
        if (!next.data) return tb_out_of_memory(error);
        pass p = {&plans[axes[k]], tb_product(now.dims, axes[k] + 1, now.rank), sizeof(float),
                  next.data, now.data};
        int64_t cost = p.inner * p.plan->taps * p.plan->m;
        tb_parallel_ranges(exec, tb_product(now.dims, 0, axes[k]), GRAIN / cost, spread_slices, &p);
        now = next;
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Resize = {.shape = resize_shape,
                                    .forward = resize_forward,
                                    .vjp = resize_vjp,
                                    .sized_by = TB_NEEDS_IN(1) | TB_NEEDS_IN(2)};
