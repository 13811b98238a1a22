/* choice.c: outputs followed back to the scores that they are made of. See choice.h. */
#include "graph/choice.h"

#include <string.h>

enum { BESIDE = -1 /* not an operand: the scores are the operator's second output */ };

/* What operators make of the operand `in`: the same numbers in another form, or a choice. */
static const struct {
    const char *domain, *op;
    int in;
    bool chooses;
} steps[] = {
    {"", "Identity", 0, false},
    {"", "Cast", 0, false},
    {"", "Reshape", 0, false},
    {"", "Flatten", 0, false},
    {"", "Squeeze", 0, false},
    {"", "Unsqueeze", 0, false},
    {"", "Transpose", 0, false},
    {"", "ArgMax", 0, true},
    {"", "TopK", 0, true},
    {"", "NonMaxSuppression", 1, true},
    {"", "Greater", 0, true},
    {"", "GreaterOrEqual", 0, true},
    {"ai.onnx.ml", "ZipMap", 0, true},
    {"ai.onnx.ml", "LabelEncoder", 0, false},
    {"ai.onnx.ml", "ArrayFeatureExtractor", 1, false},
    {"ai.onnx.ml", "LinearClassifier", BESIDE, true},
};

static bool is_ai_onnx(const char *domain) {
    return !domain || !domain[0] || strcmp(domain, "ai.onnx") == 0;
}

/* The scores behind a value and the operator that reads them; NULL: the value is no choice. */
static tb_value *scores_behind(tb_value *value, const char **op) {
    for (int depth = 0; value && value->producer && depth < 32; depth++) {
        const tb_node *node = value->producer;
        size_t i = 0, n = sizeof steps / sizeof *steps;
        for (; i < n; i++) {
            bool domain = steps[i].domain[0] ? strcmp(node->domain, steps[i].domain) == 0
                                             : is_ai_onnx(node->domain);
            if (domain && strcmp(node->op_type, steps[i].op) == 0) break;
        }
        bool beside = i < n && steps[i].in == BESIDE;
        if (i == n || node->n_in <= steps[i].in) return NULL;
        if (beside && (node->n_out < 2 || node->out[0] != value)) return NULL;
        value = beside ? node->out[1] : node->in[steps[i].in];
        if (!steps[i].chooses) continue;
        *op = node->op_type;
        return value && value->producer ? value : NULL;
    }
    return NULL;
}

/* The value's place among the outputs, behind them if it is none. */
static int place_of(const tb_graph *graph, const tb_value *value) {
    int i = 0;
    while (i < graph->n_outputs && graph->outputs[i] != value) i++;
    return i;
}

static void add(tb_source *source, tb_value *output, const char *name) {
    const char *op;
    tb_value *scores = output ? scores_behind(output, &op) : NULL;
    if (!scores) return;
    int at = place_of(source->graph, scores);
    source->choices[source->n_choices++] = (struct tb_choice){at, name, op};
    if (at < source->graph->n_outputs) return;
    scores->is_output = true;
    if (scores->t.dtype == TIBA_UNDEFINED) scores->t.rank = -1; /* nothing is declared */
    source->graph->outputs[source->graph->n_outputs++] = scores;
}

tiba_status tb_add_choices(tb_source *source, tiba_error *error) {
    tb_graph *graph = source->graph;
    int n = graph->n_outputs, room = n + source->n_left_out;
    const char *op;
    for (int i = 0; i < n; i++) {
        tiba_dtype dtype = graph->outputs[i]->t.dtype;
        bool scores = dtype == TIBA_UNDEFINED || tb_dtype_is_float(dtype);
        if (scores && !scores_behind(graph->outputs[i], &op)) return TIBA_OK;
    }
    tb_value **outputs = TB_NEW(source->arena, tb_value *, n + room + 1);
    source->choices = TB_NEW(source->arena, struct tb_choice, room + 1);
    if (!outputs || !source->choices) return tb_out_of_memory(error);
    if (n) memcpy(outputs, graph->outputs, (size_t)n * sizeof *outputs);
    graph->outputs = outputs;
    for (int i = 0; i < n; i++) add(source, outputs[i], outputs[i]->name);
    for (int i = 0; i < source->n_left_out; i++)
        add(source, source->left_out[i].value, source->left_out[i].name);
    return TIBA_OK;
}

int tb_choice_behind(const tb_source *source, const char *name) {
    for (int i = 0; i < source->n_choices; i++)
        if (!name || strcmp(source->choices[i].of, name) == 0) return source->choices[i].output;
    return -1;
}

const char *tb_choice_of(const tb_source *source, int index, const char **op) {
    for (int i = 0; i < source->n_choices; i++) {
        if (source->choices[i].output != index) continue;
        *op = source->choices[i].op;
        return source->choices[i].of;
    }
    return NULL;
}

const char *tb_class_name(const tb_source *source, int64_t index) {
    const tb_attr *names = NULL;
    for (const tb_node *node = source->graph->first; node; node = node->next) {
        if (!node->domain || strcmp(node->domain, "ai.onnx.ml") != 0) continue;
        const tb_attr *own = tb_find_attr(node, "classlabels_strings");
        if (own && own->kind == TB_ATTR_STRINGS && own->count > 0) names = own;
    }
    return names && index >= 0 && index < names->count ? names->strings[index] : NULL;
}
