/*
 * fuzz_onnx.c: any bytes as a model: it opens or fails with a message, and what has opened is
 * sound: ids in range, nodes in order, constants readable. Built as a libFuzzer program with
 * -DTIBA_FUZZ=ON; test_onnx_hostile.c runs it over made-up and damaged models.
 */
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition) {
    if (!condition) abort();
}

static void check_value(const tb_source *source, const tb_value *value, unsigned *sum) {
    must(value->id >= 0 && value->id < source->n_values);
    *sum += (unsigned)strlen(value->name);
    if (!value->t.data) return;
    size_t bytes = tb_tensor_bytes(&value->t);
    size_t element = tb_dtype_size(value->t.dtype);
    must(element > 0 && (uintptr_t)value->t.data % element == 0);
    if (bytes > 0)
        *sum += ((const unsigned char *)value->t.data)[0] +
                ((const unsigned char *)value->t.data)[bytes - 1];
}

/* `made` marks the values that nodes have made so far. */
static void check_graph(const tb_source *source, const tb_graph *graph, char *made, unsigned *sum) {
    int nodes = 0;
    for (int i = 0; i < graph->n_values; i++)
        if (graph->values[i]) check_value(source, graph->values[i], sum);
    for (const tb_node *node = graph->first; node; node = node->next, nodes++) {
        must(node->opset > 0);
        for (int i = 0; i < node->n_in; i++)
            must(!node->in[i] || !node->in[i]->producer || made[node->in[i]->id]);
        for (int i = 0; i < node->n_attrs; i++) {
            const tb_attr *attr = &node->attrs[i];
            *sum += (unsigned)strlen(attr->name);
            if (attr->kind == TB_ATTR_GRAPH) check_graph(source, attr->graph, made, sum);
            if (attr->kind == TB_ATTR_STRING) must(attr->s[attr->count] == '\0');
        }
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i]) {
                must(node->out[i]->producer == node && node->out[i]->index == i);
                made[node->out[i]->id] = 1;
            }
    }
    must(nodes == graph->n_nodes);
    for (int i = 0; i < graph->n_inputs; i++)
        must(graph->inputs[i]->input == i && !graph->inputs[i]->t.data);
    for (int i = 0; i < graph->n_outputs; i++) {
        const tb_value *out = graph->outputs[i];
        must(out->is_output && (!out->producer || made[out->id]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tb_budget budget = {.limit = (size_t)64 << 20};
    tb_source *source = NULL;
    tiba_error error = {0};
    unsigned sum = 0;
    if (tb_onnx_open_memory(&source, data, size, &budget, &error) == TIBA_OK) {
        char *made = calloc((size_t)source->n_values + 1, 1);
        must(made != NULL);
        check_graph(source, source->graph, made, &sum);
        free(made);
        tb_onnx_close(source);
    } else {
        must(!source && error.message[0]);
    }
    must(budget.used == 0);
    return (int)(sum & 0);
}
