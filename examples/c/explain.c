/*
 * explain.c: the library in forty lines: reads an array, runs a model on it and prints the
 * relevance of every token for the most likely class.
 *
 *     cc explain.c $(pkg-config --cflags --libs tiba) -o explain
 *     ./explain model.onnx pixel_values 1,3,64,64 < floats.bin
 */
#include <stdio.h>
#include <stdlib.h>
#include <tiba.h>

int main(int argc, char **argv) {
    tiba_error error = {0};
    tiba_model *model = NULL;
    tiba_run *run = NULL;
    tiba_result *result = NULL;
    if (argc != 4) return fprintf(stderr, "usage: explain MODEL INPUT DIMS < floats\n"), 2;
    tiba_feed feed = {.name = argv[2], .tensor = {.dtype = TIBA_FLOAT32}};
    size_t count = 1;
    for (char *at = argv[3]; *at && feed.tensor.rank < TIBA_MAX_RANK; at += *at == ',') {
        long size = strtol(at, &at, 10);
        feed.tensor.dims[feed.tensor.rank++] = size;
        count *= (size_t)size;
    }
    float *data = malloc(count * sizeof *data);
    if (!data || fread(data, sizeof *data, count, stdin) != count)
        return fprintf(stderr, "explain: expected %zu floats\n", count), 1;
    feed.tensor.data = data;
    tiba_status status = tiba_model_open(&model, argv[1], NULL, &error);
    if (!status) status = tiba_run_create(&run, model, 1, &feed, NULL, &error);
    if (!status) status = tiba_explain(&result, run, NULL, &error);
    if (status) fprintf(stderr, "explain: %s\n", error.message);
    for (int i = 0; !status && i < tiba_result_towers(result); i++) {
        const tiba_tower *tower = tiba_result_tower(result, i);
        for (int64_t t = 0; t < tower->tokens; t++)
            printf("%s %lld %.6g\n", tower->input, (long long)t, (double)tower->relevance[t]);
    }
    tiba_result_destroy(result);
    tiba_run_destroy(run);
    tiba_model_close(model);
    free(data);
    return status;
}
