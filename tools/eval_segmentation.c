/*
 * eval_segmentation.c: does the map of a class lie on its object? Every labelled object of every
 * picture is an item. Maps are upsampled bilinearly, scaled to 0 … 1 and cut at their mean, as the
 * paper's authors do. A map that is constant, or has NaN in it, scales to NaN, which counts as 0:
 * it says neither object nor background.
 */
#include <math.h>
#include <string.h>

#include "io/heatmap.h"
#include "tools/eval.h"

enum {
    ACCURACY,
    IOU,
    PRECISION,
    BEST_ACCURACY,
    BEST_IOU,
    OTSU_ACCURACY,
    OTSU_IOU,
    POINTING,
    OWN,
    SHARE,
    N_METRICS,
    BINS = 256,
    CUTS = 64
};
#define METRIC(is_form, is_shown, is_name, is_summary)                                             \
    { .name = is_name, .summary = is_summary, .form = TB_EVAL_##is_form, .shown = is_shown }
static const tb_eval_metric metrics[N_METRICS] = {
    [ACCURACY] =
        METRIC(MEAN, true, "pixel accuracy", "share of pixels on the right side of the cut, in %"),
    [IOU] = METRIC(MEAN2, true, "mean IoU", "of object and background, over all pixels, in %"),
    [PRECISION] =
        METRIC(MEAN, true, "mAP", "average precision of object and background scores, in %"),
    [BEST_ACCURACY] = METRIC(MEAN, false, "pixel accuracy at the best cut",
                             "cut where each picture's IoU is best, in %"),
    [BEST_IOU] = METRIC(MEAN2, false, "mean IoU at the best cut",
                        "cut where each picture's IoU is best, in %"),
    [OTSU_ACCURACY] = METRIC(MEAN, false, "pixel accuracy by Otsu", "cut by Otsu's method, in %"),
    [OTSU_IOU] = METRIC(MEAN2, false, "mean IoU by Otsu", "cut by Otsu's method, in %"),
    [POINTING] = METRIC(MEAN, true, "pointing game", "the map's maximum lies on the object, in %"),
    [OWN] = METRIC(MEAN, true, "own object",
                   "mean relevance is higher on the class's object than on the others, in %"),
    [SHARE] = METRIC(MEAN, true, "own share",
                     "of the mean relevance on the class's object and on the others, in %")};

typedef struct region {
    int64_t n;
    bool *inside; /* [n] of the class's object */
    bool *other;  /* [n] of the picture's other objects */
    bool others;  /* there are some */
} region;

static tiba_status read_mask(bool *out, tb_arena *arena, const char *path, int width, int height,
                             tiba_error *error) {
    tb_picture mask;
    TB_TRY(tb_picture_read(&mask, arena, path, 0, error));
    if (mask.width != width || mask.height != height)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s: the mask has %d x %d pixels, the picture %d x %d", path, mask.width,
                       mask.height, width, height);
    for (int64_t i = 0; i < (int64_t)width * height; i++) out[i] |= mask.rgb[3 * i] >= 128;
    return TIBA_OK;
}

static tiba_status read_region(region *out, tb_arena *arena, const tb_scene *scene, int object,
                               const tb_picture *picture, tiba_error *error) {
    out->n = (int64_t)picture->width * picture->height;
    out->inside = TB_NEW(arena, bool, out->n);
    out->other = TB_NEW(arena, bool, out->n);
    if (!out->inside || !out->other) return tb_out_of_memory(error);
    for (int k = 0; k < scene->n; k++) {
        if (!scene->masks[k]) continue;
        TB_TRY(read_mask(k == object ? out->inside : out->other, arena, scene->masks[k],
                         picture->width, picture->height, error));
        out->others |= k != object;
    }
    return TIBA_OK;
}

/* Intersections and unions of object and background for a cut (above it is object). */
static tb_eval_cell iou(const double *x, const region *r, double cut, double *right) {
    double inter[2] = {0}, all[2] = {0};
    for (int64_t i = 0; i < r->n; i++) {
        bool said = x[i] > cut, is = r->inside[i];
        inter[is] += said == is;
        all[0] += !said || !is;
        all[1] += said || is;
    }
    *right = (inter[0] + inter[1]) / (double)r->n;
    return (tb_eval_cell){{100 * inter[0], 100 * inter[1]}, {all[0], all[1]}};
}

static double quality(const tb_eval_cell *c) {
    double sum = 0;
    for (int p = 0; p < 2; p++) sum += c->den[p] > 0 ? c->num[p] / c->den[p] : 0;
    return sum;
}

/* The cut between two of BINS classes that makes the variance between both sides largest. */
static double otsu(const double *x, int64_t n) {
    double count[BINS] = {0}, total = 0, below = 0, sum = 0, most = -1, cut = 0;
    for (int64_t i = 0; i < n; i++) count[(int)(x[i] * (BINS - 1))]++;
    for (int b = 0; b < BINS; b++) total += b * count[b];
    for (int b = 0; b < BINS - 1; b++) {
        below += count[b];
        sum += b * count[b];
        double above = (double)n - below;
        if (below == 0 || above == 0) continue;
        double gap = sum / below - (total - sum) / above, between = below * above * gap * gap;
        if (between > most) most = between, cut = (b + 0.999999) / (BINS - 1);
    }
    return cut;
}

static tiba_status precision(double *out, tb_arena *arena, const double *x, bool says,
                             const region *r, tiba_error *error) {
    double *scores = TB_NEW(arena, double, 2 * r->n);
    bool *labels = TB_NEW(arena, bool, 2 * r->n);
    if (!scores || !labels) return tb_out_of_memory(error);
    for (int64_t i = 0; i < r->n; i++) {
        scores[i] = says ? 1 - x[i] : 0, labels[i] = !r->inside[i];
        scores[r->n + i] = x[i], labels[r->n + i] = r->inside[i];
    }
    double area;
    return tb_eval_precision(out, &area, scores, labels, 2 * r->n, error);
}

static void compare_objects(const tb_eval *eval, const tb_eval_item *item, int m, const double *x,
                            bool says, const region *r) {
    double own = 0, n_own = 0, other = 0, n_other = 0;
    int64_t best = 0;
    for (int64_t i = 0; i < r->n; i++) {
        if (x[i] > x[best]) best = i;
        if (r->inside[i]) own += x[i], n_own++;
        if (r->other[i] && !r->inside[i]) other += x[i], n_other++;
    }
    tb_eval_set(eval, item, m, POINTING, says && r->inside[best] ? 100 : 0);
    if (n_own == 0 || n_other == 0) return;
    tb_eval_set(eval, item, m, OWN, own / n_own > other / n_other ? 100 : 0);
    /* of means, so that the objects' sizes do not count */
    double all = own / n_own + other / n_other;
    tb_eval_set(eval, item, m, SHARE, all > 0 ? 100 * own / n_own / all : 50);
}

static tiba_status measure(tb_eval *eval, const tb_eval_item *item, int m, tb_arena *arena,
                           const float *map, const region *r, tiba_error *error) {
    double *x = TB_NEW(arena, double, r->n), low = INFINITY, high = -INFINITY, mean = 0, right, ap;
    if (!x) return tb_out_of_memory(error);
    bool says = true;
    for (int64_t i = 0; i < r->n; i++) {
        says &= !isnan(map[i]);
        low = fmin(low, (double)map[i]), high = fmax(high, (double)map[i]);
    }
    says &= high > low;
    for (int64_t i = 0; i < r->n; i++) {
        x[i] = says ? ((double)map[i] - low) / (high - low) : 0.0;
        mean += x[i] / (double)r->n;
    }
    *tb_eval_at(eval, item, m, IOU) = iou(x, r, mean, &right);
    tb_eval_set(eval, item, m, ACCURACY, 100 * right);
    TB_TRY(precision(&ap, arena, x, says, r, error));
    tb_eval_set(eval, item, m, PRECISION, 100 * ap);
    tb_eval_cell *best = tb_eval_at(eval, item, m, BEST_IOU);
    for (int cut = 0; cut < CUTS; cut++) {
        tb_eval_cell at = iou(x, r, (double)cut / CUTS, &right);
        if (cut > 0 && quality(&at) <= quality(best)) continue;
        *best = at;
        tb_eval_set(eval, item, m, BEST_ACCURACY, 100 * right);
    }
    *tb_eval_at(eval, item, m, OTSU_IOU) = iou(x, r, otsu(x, r->n), &right);
    tb_eval_set(eval, item, m, OTSU_ACCURACY, 100 * right);
    compare_objects(eval, item, m, x, says, r);
    return TIBA_OK;
}

/* A class of the picture and where it is. */
typedef struct object {
    tb_eval_item item; /* its cells are the evaluation's */
    int64_t class;
    region at;
} object;

/* All classes of the picture by one method, which share its passes. */
static tiba_status explain_objects(tb_eval *eval, int m, const tb_sample *sample, tiba_run *run,
                                   int n, const object *objects, tb_arena *arena,
                                   tiba_error *error) {
    const tb_picture *picture = &sample->picture;
    tiba_result *results[TB_MOST_OBJECTS];
    int64_t classes[TB_MOST_OBJECTS];
    for (int k = 0; k < n; k++) classes[k] = objects[k].class;
    TB_TRY(tb_eval_explain(results, eval, m, run, n, classes, error));
    tiba_status status = TIBA_OK;
    for (int k = 0; k < n; k++) {
        float *on = TB_NEW(arena, float, objects[k].at.n), *map;
        if (!on && status == TIBA_OK) status = tb_out_of_memory(error);
        if (results[k] && status == TIBA_OK)
            status = tb_eval_map(&map, arena, results[k], sample, error);
        if (results[k] && status == TIBA_OK) {
            tb_heatmap_on_picture(on, picture->height, picture->width, map, &sample->geometry);
            status = measure(eval, &objects[k].item, m, arena, on, &objects[k].at, error);
        }
        tiba_result_destroy(results[k]);
    }
    return status;
}

static tiba_status run_scene(tb_eval *eval, const tb_scene *scene, tb_arena *arena, tiba_run **run,
                             tiba_error *error) {
    tb_sample sample;
    int64_t n;
    TB_TRY(tb_eval_sample(&sample, eval, arena, scene->path, error));
    TB_TRY(tb_eval_forward(run, eval, &sample, arena, error));
    const float *scores = tb_eval_scores(eval, *run, 0, &n);
    object objects[TB_MOST_OBJECTS];
    int count = 0;
    for (int k = 0; k < scene->n; k++) {
        if (!scene->masks[k]) continue;
        int64_t best = tb_eval_best(scores, n), class = scene->classes[k];
        bool top = class == TB_CLASS_TOP;
        if (top) class = best;
        if (class >= n)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: the model has no class %lld", scene->name,
                           (long long)class);
        bool correct = top ? scene->label == best : tb_eval_among(scores, n, class, scene->n);
        object *to = &objects[count++];
        tb_eval_item *item;
        *to = (object){.class = class};
        TB_TRY(read_region(&to->at, arena, scene, k, &sample.picture, error));
        TB_TRY(tb_eval_add(&item, eval, scene->name, correct, error));
        to->item = *item;
    }
    for (int m = 0; m < eval->n_methods && count > 0; m++)
        TB_TRY(explain_objects(eval, m, &sample, *run, count, objects, arena, error));
    return TIBA_OK;
}

static tiba_status measure_scene(tb_eval *eval, int unit, tiba_error *error) {
    const tb_scene *scenes = eval->state;
    tb_arena *arena = tb_arena_create(NULL);
    tiba_run *run = NULL;
    if (!arena) return tb_out_of_memory(error);
    tiba_status status = run_scene(eval, &scenes[unit], arena, &run, error);
    tiba_run_destroy(run);
    tb_arena_destroy(arena);
    return status;
}

static tiba_status open_data(tb_eval *eval, tiba_error *error) {
    tb_scene *scenes;
    bool masks = false;
    eval->metrics = metrics;
    eval->n_metrics = N_METRICS;
    TB_TRY(tb_scenes_read(&scenes, &eval->n_units, eval, error));
    eval->state = scenes;
    for (int i = 0; i < eval->n_units; i++)
        for (int k = 0; k < scenes[i].n; k++) masks |= scenes[i].masks[k] != NULL;
    if (masks) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_INPUT, "%s names no masks", eval->list);
}

const tb_eval_kind tb_eval_segmentation = {"segmentation", "maps against the masks of objects",
                                           open_data, measure_scene};
