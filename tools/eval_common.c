/*
 * eval_common.c: what the measurements share: orders, average precision, data of pictures.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/heatmap.h"
#include "tools/eval.h"
#include "tools/order.h"

int64_t tb_eval_best(const float *scores, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (scores[i] > scores[best]) best = i;
    return best;
}

double tb_eval_probability(const float *scores, int64_t n, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp((double)scores[i] - (double)scores[k]);
    return 1.0 / sum;
}

tiba_status tb_eval_precision(double *average, double *area, const double *scores,
                              const bool *labels, int64_t n, tiba_error *error) {
    int64_t *order = tb_calloc(NULL, (size_t)n + 1, sizeof *order), positives = 0, hits = 0;
    if (!order) return tb_out_of_memory(error);
    tiba_status status = tb_order(order, scores, n, error);
    for (int64_t i = 0; i < n; i++) positives += labels[i];
    double steps = 0, trapezoids = 0, last = 1; /* precision where nothing is recalled */
    int64_t before = 0;
    for (int64_t i = 0; i < n && status == TIBA_OK; i++) {
        hits += labels[order[i]];
        if (i + 1 < n && scores[order[i + 1]] == scores[order[i]]) continue;
        double precision = (double)hits / (double)(i + 1), recalled = (double)(hits - before);
        steps += recalled * precision;
        trapezoids += recalled * 0.5 * (precision + last);
        last = precision;
        before = hits;
    }
    *average = positives ? steps / (double)positives : NAN;
    *area = positives ? trapezoids / (double)positives : NAN;
    tb_free(order);
    return status;
}

bool tb_eval_among(const float *scores, int64_t n, int64_t k, int places) {
    int better = 0;
    for (int64_t i = 0; i < n; i++) better += scores[i] > scores[k];
    return better < places;
}

/* -------------------------------------------------------------------- pictures */

/* A class, "top" or a number, and the file of its mask, if it has one. */
static tiba_status read_object(tb_scene *to, const tb_eval *eval, const tb_json *class,
                               const tb_json *masks, tiba_error *error) {
    int64_t *out = &to->classes[to->n];
    const char *file, *key = "top";
    if (tb_json_kind_of(class) == TB_JSON_STRING) {
        TB_TRY(tb_json_as_string(&file, class, error));
        if (strcmp(file, key) != 0) return tb_json_fail(error, class, "neither a number nor top");
        *out = TB_CLASS_TOP;
    } else {
        TB_TRY(tb_json_as_integer(out, class, 0, INT32_MAX, error));
        key = tb_arena_format(eval->arena, "%lld", (long long)*out);
        if (!key) return tb_out_of_memory(error);
    }
    const char **mask = &to->masks[to->n++];
    tb_json name = tb_json_get(masks, key);
    if (tb_json_absent(&name)) return TIBA_OK;
    TB_TRY(tb_json_as_string(&file, &name, error));
    *mask = tb_path_join(eval->arena, eval->data, file);
    return *mask ? TIBA_OK : tb_out_of_memory(error);
}

/* Every mask is of one of the classes. */
static tiba_status check_masks(const tb_scene *of, const tb_json *masks, tiba_error *error) {
    tb_json mask = {0};
    while (tb_json_next(&mask, masks)) {
        bool known = false;
        for (int i = 0; i < of->n && !known; i++) {
            char key[24] = "top";
            if (of->classes[i] != TB_CLASS_TOP)
                snprintf(key, sizeof key, "%lld", (long long)of->classes[i]);
            known = strcmp(key, mask.key) == 0;
        }
        if (!known) return tb_json_fail(error, &mask, "a mask of none of the picture's classes");
    }
    return TIBA_OK;
}

static tiba_status read_scene(tb_scene *to, const tb_eval *eval, const tb_json *item,
                              tiba_error *error) {
    TB_TRY(tb_json_string(&to->name, item, "picture", error));
    to->path = tb_path_join(eval->arena, eval->data, to->name);
    if (!to->path) return tb_out_of_memory(error);
    tb_json classes = tb_json_get(item, "classes"), masks = tb_json_get(item, "masks"), at = {0};
    TB_TRY(tb_json_integer_or(&to->label, item, "label", 0, INT32_MAX, TB_NO_LABEL, error));
    TB_TRY(tb_json_need_array(&classes, error));
    if (tb_json_count(&classes) > TB_MOST_OBJECTS)
        return tb_json_fail(error, &classes, "more than %d classes", TB_MOST_OBJECTS);
    while (tb_json_next(&at, &classes)) TB_TRY(read_object(to, eval, &at, &masks, error));
    if (to->n == 0) return tb_json_fail(error, &classes, "no classes");
    return check_masks(to, &masks, error);
}

tiba_status tb_scenes_read(tb_scene **out, int *count, tb_eval *eval, tiba_error *error) {
    tb_json root, item = {0};
    eval->list = tb_path_join(eval->arena, eval->data, "truth.json");
    if (!eval->list) return tb_out_of_memory(error);
    TB_TRY(tb_json_read(&root, eval->arena, eval->list, NULL, error));
    TB_TRY(tb_json_need_array(&root, error));
    *out = TB_NEW(eval->arena, tb_scene, tb_json_count(&root) + 1);
    if (!*out) return tb_out_of_memory(error);
    *count = 0;
    while (tb_json_next(&item, &root) && (eval->limit == 0 || *count < eval->limit))
        TB_TRY(read_scene(&(*out)[(*count)++], eval, &item, error));
    return *count ? TIBA_OK : tb_json_fail(error, &root, "no pictures");
}

tiba_status tb_eval_map(float **out, tb_arena *arena, const tiba_result *result,
                        const tb_sample *sample, tiba_error *error) {
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (!tower->map || strcmp(tower->input, sample->image_input) != 0) continue;
        const tb_geometry *g = &sample->geometry;
        *out = TB_NEW(arena, float, (size_t)g->height *(size_t)g->width);
        if (!*out) return tb_out_of_memory(error);
        tb_heatmap_upsample(*out, g->height, g->width, tower->map, (int)tower->map_rows,
                            (int)tower->map_columns);
        return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no picture tower with a patch grid");
}

/* -------------------------------------------------------------------- texts */

bool tb_eval_pads(const tb_eval *eval) {
    bool masked = false, batches = true;
    for (int i = 0; i < tiba_model_inputs(eval->subject->model); i++) {
        tiba_port port = tiba_model_input(eval->subject->model, i);
        masked |= strcmp(port.name, "attention_mask") == 0;
        batches &= port.rank > 0 && port.dims[0] <= 0;
    }
    return masked && batches;
}
