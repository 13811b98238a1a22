#include "tools/report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t last_axis(const tiba_tensor *y) {
    return y->rank ? y->dims[y->rank - 1] : 1;
}

tiba_status tb_report_classes(tb_report *r, tb_arena *arena, tiba_error *error) {
    tiba_tensor y = tiba_run_output(r->run, tiba_run_explained_output(r->run));
    if (y.rank < 1 || y.rank > 2 || tb_tensor_count(&y) == 0) return TIBA_OK;
    int64_t n = last_axis(&y);
    const float *x = y.data;
    r->probability = TB_NEW(arena, double, n);
    r->order = TB_NEW(arena, int64_t, n);
    if (!r->probability || !r->order) return tb_out_of_memory(error);
    double most = -INFINITY, sum = 0;
    bool done = true; /* the graph ended in Softmax or Sigmoid */
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, (double)x[i]);
        sum += (double)x[i];
        done &= x[i] >= 0.0f && x[i] <= 1.0f;
    }
    done &= fabs(sum - 1.0) < 1e-3;
    sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += r->probability[i] = done ? (double)x[i] : exp((double)x[i] - most);
    for (int64_t i = 0; i < n; i++) {
        r->probability[i] /= sum;
        int64_t k = i; /* insertion: a few thousand classes at most, mostly in order */
        for (; k > 0 && r->probability[r->order[k - 1]] < r->probability[i]; k--)
            r->order[k] = r->order[k - 1];
        r->order[k] = i;
    }
    r->classes = n;
    return TIBA_OK;
}

int64_t tb_report_class(const tb_report *r, int64_t place) {
    return place < r->classes ? r->order[place] : 0;
}

static const tiba_target *target_of(const tb_report *r, int index) {
    return tiba_result_target(r->explained[index].result, 0);
}

static double probability_of(const tb_report *r, const tiba_target *target) {
    bool vector = target->rank >= 1 && target->rank <= 2 && r->classes > 1;
    bool first = target->rank < 2 || target->index[0] == 0;
    return vector && first ? r->probability[target->index[target->rank - 1]] : NAN;
}

void tb_report_caption(const tb_report *r, int index, char *caption, char *detail,
                       size_t capacity) {
    const tiba_target *target = target_of(r, index);
    char text[64];
    int64_t class = target->rank ? target->index[target->rank - 1] : 0;
    const char *label = tb_label(&r->subject->labels, class, text, sizeof text);
    double probability = probability_of(r, target);
    snprintf(caption, capacity, "%s", label);
    if (isnan(probability))
        snprintf(detail, capacity, "value %.4g", (double)target->logit);
    else
        snprintf(detail, capacity, "probability %.1f %%", 100.0 * probability);
}

void tb_report_print(const tb_report *r, const char *png) {
    char text[64];
    for (int64_t i = 0; i < r->classes && i < 5 && r->classes > 1; i++) {
        int64_t class = r->order[i];
        bool explained = false;
        for (int k = 0; k < r->n_explained; k++) {
            const tiba_target *target = target_of(r, k);
            explained |= target->rank && target->index[target->rank - 1] == class;
        }
        printf("%6.1f %%  %s%s\n", 100.0 * r->probability[class],
               tb_label(&r->subject->labels, class, text, sizeof text),
               explained ? "  (explained)" : "");
    }
    if (r->sample->guessed)
        printf("note: no preprocessor_config.json: the picture was scaled to the model's input, "
               "mean and std 0.5\n");
    if (png) printf("wrote %s\n", png);
}

/* -------------------------------------------------------------------- JSON */

static cJSON *floats(const float *x, int64_t n) {
    cJSON *array = cJSON_CreateArray();
    for (int64_t i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateNumber((double)x[i]));
    return array;
}

static void add_tower(cJSON *to, const tiba_tower *tower, int64_t sample) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "input", tower->input);
    cJSON_AddNumberToObject(o, "tokens", (double)tower->tokens);
    cJSON_AddNumberToObject(o, "attentions", tower->n_blocks);
    if (tower->rows) {
        cJSON *grid = cJSON_AddObjectToObject(o, "grid");
        cJSON_AddNumberToObject(grid, "rows", (double)tower->rows);
        cJSON_AddNumberToObject(grid, "columns", (double)tower->columns);
        cJSON_AddNumberToObject(grid, "prefix_tokens", (double)tower->prefix);
    }
    cJSON_AddItemToObject(o, "relevance",
                          floats(tower->relevance + sample * tower->tokens, tower->tokens));
    cJSON_AddItemToObject(
        o, "readout",
        floats(tower->readout + sample * tower->readout_tokens, tower->readout_tokens));
    cJSON_AddNumberToObject(o, "relevance_in", tower->relevance_in);
    cJSON_AddItemToArray(to, o);
}

static void add_explained(cJSON *to, const tb_report *r, int index) {
    const tiba_result *result = r->explained[index].result;
    for (int s = 0; s < tiba_result_targets(result); s++) {
        const tiba_target *target = tiba_result_target(result, s);
        cJSON *o = cJSON_CreateObject(), *t = cJSON_AddObjectToObject(o, "target");
        tiba_port port = tiba_model_output(r->subject->model, target->output);
        cJSON_AddStringToObject(t, "output", port.name);
        cJSON *indices = cJSON_AddArrayToObject(t, "index");
        for (int d = 0; d < target->rank; d++)
            cJSON_AddItemToArray(indices, cJSON_CreateNumber((double)target->index[d]));
        char text[64];
        int64_t class = target->rank ? target->index[target->rank - 1] : 0;
        cJSON_AddStringToObject(t, "label",
                                tb_label(&r->subject->labels, class, text, sizeof text));
        cJSON_AddNumberToObject(t, "logit", (double)target->logit);
        double probability = probability_of(r, target);
        if (!isnan(probability)) cJSON_AddNumberToObject(t, "probability", probability);
        cJSON *towers = cJSON_AddArrayToObject(o, "towers");
        for (int k = 0; k < tiba_result_towers(result); k++)
            add_tower(towers, tiba_result_tower(result, k), s);
        cJSON_AddItemToArray(to, o);
    }
}

tiba_status tb_report_json(char **out, const tb_report *r, tb_arena *arena, tiba_error *error) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "version", 1);
    cJSON_AddStringToObject(root, "generator", "tiba-onnx");
    cJSON_AddStringToObject(root, "model", r->subject->path);
    cJSON_AddStringToObject(root, "method", "tiba");
    cJSON *classes = cJSON_AddArrayToObject(root, "classes");
    for (int64_t i = 0; i < r->classes && i < 10; i++) {
        char text[64];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "index", (double)r->order[i]);
        cJSON_AddStringToObject(o, "label",
                                tb_label(&r->subject->labels, r->order[i], text, sizeof text));
        cJSON_AddNumberToObject(o, "probability", r->probability[r->order[i]]);
        cJSON_AddItemToArray(classes, o);
    }
    cJSON *list = cJSON_AddArrayToObject(root, "explanations");
    for (int i = 0; i < r->n_explained; i++) add_explained(list, r, i);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    *out = text ? tb_arena_format(arena, "%s\n", text) : NULL;
    cJSON_free(text);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}
