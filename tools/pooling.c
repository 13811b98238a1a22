#include "tools/pooling.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "io/json.h"

/* -------------------------------------------------------------------- the folder's word */

static const struct {
    const char *key, *name; /* a switch of its own, or the value of pooling_mode */
} spellings[TB_POOL_MODES] = {
    [TB_POOL_CLS] = {"pooling_mode_cls_token", "cls"},
    [TB_POOL_MAX] = {"pooling_mode_max_tokens", "max"},
    [TB_POOL_MEAN] = {"pooling_mode_mean_tokens", "mean"},
    [TB_POOL_MEAN_SQRT] = {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
    [TB_POOL_WEIGHTED_MEAN] = {"pooling_mode_weightedmean_tokens", "weightedmean"},
    [TB_POOL_LAST] = {"pooling_mode_lasttoken", "lasttoken"},
};

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Modules that are part of the graph, or that the cosine undoes. */
static bool is_harmless(const char *type) {
    return ends_with(type, ".Transformer") || ends_with(type, ".Normalize");
}

/* Where the Pooling module's settings are: modules.json says, else 1_Pooling. */
static tiba_status find_folder(const char **out, tb_arena *arena, const char *folder,
                               tiba_error *error) {
    const char *path = tb_path_join(arena, folder, "modules.json");
    *out = "1_Pooling";
    if (!path) return tb_out_of_memory(error);
    if (!tb_is_file(path)) return TIBA_OK;
    tb_json root, module = {0};
    TB_TRY(tb_json_read(&root, arena, path, NULL, error));
    TB_TRY(tb_json_need_array(&root, error));
    while (tb_json_next(&module, &root)) {
        const char *type, *where;
        TB_TRY(tb_json_string(&type, &module, "type", error));
        TB_TRY(tb_json_string_or(&where, &module, "path", "", error));
        if (ends_with(type, ".Pooling"))
            *out = where;
        else if (!is_harmless(type))
            return tb_json_fail(error, &module,
                                "module %.100s is not part of the graph: export it with the model "
                                "(output sentence_embedding) and give --output sentence_embedding",
                                type);
    }
    return TIBA_OK;
}

static tiba_status read_modes(tb_pooling *out, const tb_json *root, tiba_error *error) {
    const char *name;
    tb_json mode = tb_json_get(root, "pooling_mode");
    if (!tb_json_absent(&mode)) {
        TB_TRY(tb_json_as_string(&name, &mode, error));
        for (int i = 0; i < TB_POOL_MODES; i++)
            if (strcmp(name, spellings[i].name) == 0) out->modes[out->n++] = (tb_pool_mode)i;
        return out->n ? TIBA_OK : tb_json_fail(error, &mode, "unknown pooling '%.60s'", name);
    }
    for (int i = 0; i < TB_POOL_MODES; i++) {
        bool on;
        TB_TRY(tb_json_bool_or(&on, root, spellings[i].key, false, error));
        if (on) out->modes[out->n++] = (tb_pool_mode)i;
    }
    return out->n ? TIBA_OK : tb_json_fail(error, root, "no pooling mode is switched on");
}

tiba_status tb_pooling_read(tb_pooling *out, tb_arena *arena, const char *folder,
                            tiba_error *error) {
    const char *where;
    *out = (tb_pooling){0};
    TB_TRY(find_folder(&where, arena, folder, error));
    const char *path = tb_arena_format(arena, "%s/%s/config.json", folder, where);
    if (!path) return tb_out_of_memory(error);
    if (!tb_is_file(path)) {
        *out = (tb_pooling){.n = 1, .modes = {TB_POOL_MEAN}, .guessed = true};
        return TIBA_OK;
    }
    tb_json root;
    TB_TRY(tb_json_read(&root, arena, path, NULL, error));
    return read_modes(out, &root, error);
}

/* -------------------------------------------------------------------- the vectors */

/* What a token counts for in a weighted sum; the maximum has no weights. */
static double weight_of(tb_pool_mode mode, int64_t t, int64_t n) {
    switch (mode) {
    case TB_POOL_CLS:
        return t == 0 ? 1.0 : 0.0;
    case TB_POOL_LAST:
        return t == n - 1 ? 1.0 : 0.0;
    case TB_POOL_MEAN:
        return 1.0 / (double)n;
    case TB_POOL_MEAN_SQRT:
        return 1.0 / sqrt((double)n);
    case TB_POOL_WEIGHTED_MEAN:
        return 2.0 * (double)(t + 1) / ((double)n * (double)(n + 1));
    default:
        return 0.0;
    }
}

static int64_t winner(const float *x, int64_t count, int64_t size) {
    int64_t best = 0;
    for (int64_t t = 1; t < count; t++)
        if (x[t * size] > x[best * size]) best = t;
    return best;
}

void tb_pool(float *out, const tb_pooling *how, const float *x, int64_t count, int64_t size) {
    for (int m = 0; m < how->n; m++)
        for (int64_t d = 0; d < size; d++) {
            double sum = 0;
            for (int64_t t = 0; t < count; t++)
                sum += weight_of(how->modes[m], t, count) * (double)x[t * size + d];
            if (how->modes[m] == TB_POOL_MAX)
                sum = (double)x[winner(x + d, count, size) * size + d];
            *out++ = (float)sum;
        }
}

/* One element of one mode. The relevance of a sum goes to the terms that agree with it in sign, by
 * size. `x` and the gradients start at the element. */
static void element_back(double *gradient, double *relevance, double g, double r, tb_pool_mode mode,
                         const float *x, int64_t count, int64_t size) {
    if (mode == TB_POOL_MAX) {
        int64_t best = winner(x, count, size);
        gradient[best * size] += g;
        relevance[best * size] += r;
        return;
    }
    double sum = 0, agreeing = 0;
    for (int64_t t = 0; t < count; t++) sum += weight_of(mode, t, count) * (double)x[t * size];
    double sign = sum < 0.0 ? -1.0 : 1.0;
    for (int64_t t = 0; t < count; t++)
        agreeing += fmax(0.0, sign * weight_of(mode, t, count) * (double)x[t * size]);
    for (int64_t t = 0; t < count; t++) {
        double weight = weight_of(mode, t, count), part = sign * weight * (double)x[t * size];
        gradient[t * size] += weight * g;
        if (agreeing > 0.0 && part > 0.0) relevance[t * size] += r * part / agreeing;
    }
}

void tb_pool_back(double *gradient, double *relevance, const double *pooled_gradient,
                  const double *pooled_relevance, const tb_pooling *how, const float *x,
                  int64_t count, int64_t size) {
    for (int m = 0; m < how->n; m++)
        for (int64_t d = 0; d < size; d++)
            element_back(gradient + d, relevance + d, pooled_gradient[m * size + d],
                         pooled_relevance[m * size + d], how->modes[m], x + d, count, size);
}
