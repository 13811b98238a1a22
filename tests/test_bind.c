/*
 * Binding whole files: every model of the zoo (tests/data, and the shared one where it is there)
 * bound to its inputs and run by interpret.h must give the outputs that stand beside it. With
 * arguments: folders to try instead (or, with -t, to time).
 */
#include <dirent.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "base/npy.h"
#include "check.h"
#include "interpret.h"
#include "onnx/onnx.h"

enum { MOST_FEEDS = 16 };

typedef struct model_case {
    tb_arena *arena;
    tb_source *source;
    int n_feeds;
    tb_feed feeds[MOST_FEEDS];
} model_case;

static const char *zoo_folder(char *path, size_t capacity) {
    const char *shared = getenv("TIBA_SHARED");
    snprintf(path, capacity, "%s/zoo", shared ? shared : TEST_DATA "/../../../shared");
    return path;
}

/* How far outputs may be off, relative to the largest: by what was done to the file. */
static double tolerance(const char *folder) {
    if (strstr(folder, "-fp16") || strstr(folder, "-int8")) return 2e-2;
    return 1e-4;
}

static tiba_status open_case(model_case *m, const char *folder, tiba_error *error) {
    char path[1024];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    TB_TRY(tb_onnx_open(&m->source, path, NULL, error));
    for (int i = 0; i < m->source->graph->n_inputs && i < MOST_FEEDS; i++) {
        m->feeds[i].name = m->source->graph->inputs[i]->name;
        snprintf(path, sizeof path, "%s/input.%s.npy", folder, m->feeds[i].name);
        TB_TRY(tb_npy_read(&m->feeds[i].tensor, m->arena, path, error));
        m->n_feeds++;
    }
    return TIBA_OK;
}

static double largest_error(const tiba_tensor *got, const tiba_tensor *want) {
    double error = 0, largest = 1e-30;
    if (!tb_same_shape(got, want)) return INFINITY;
    for (int64_t i = 0, n = tb_tensor_count(want); i < n; i++) {
        double g = tb_get_f64(got, i), w = tb_get_f64(want, i);
        if (g == w) continue;
        if (!(fabs(g - w) <= error)) error = fabs(g - w);
        largest = fmax(largest, fabs(w));
    }
    return error / largest;
}

static void check_model(const char *folder) {
    tiba_error error = {0};
    tb_exec exec = {0};
    model_case m = {.arena = tb_arena_create(NULL)};
    tb_bound *bound = NULL;
    tiba_status status = open_case(&m, folder, &error);
    if (status == TIBA_OK) status = tb_bind(&bound, m.source, m.n_feeds, m.feeds, &exec, &error);
    if (status == TIBA_OK) CHECK_CASE(tb_bound_fits(bound, m.n_feeds, m.feeds), "%s", folder);
    if (status == TIBA_OK)
        status = interpret_run(bound->graph, m.arena, &exec, m.n_feeds, m.feeds, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", folder, error.message);
    for (int i = 0; status == TIBA_OK && i < bound->graph->n_outputs; i++) {
        const tb_value *output = bound->graph->outputs[i];
        char path[1024];
        tiba_tensor want;
        snprintf(path, sizeof path, "%s/output.%s.npy", folder, output->name);
        if (!tb_is_file(path)) continue;
        CHECK(tb_npy_read(&want, m.arena, path, &error) == TIBA_OK);
        double off = largest_error(&output->t, &want);
        CHECK_CASE(off <= tolerance(folder), "%s: %s is off by %g", folder, output->name, off);
    }
    tb_bound_destroy(bound);
    tb_scratch_free(&exec);
    if (m.source) tb_onnx_close(m.source);
    tb_arena_destroy(m.arena);
}

static void time_model(const char *folder) {
    tiba_error error = {0};
    tb_exec exec = {0};
    model_case m = {.arena = tb_arena_create(NULL)};
    double best = INFINITY;
    int nodes = 0;
    CHECK_CASE(open_case(&m, folder, &error) == TIBA_OK, "%s", error.message);
    for (int i = 0; i < 20; i++) {
        struct timespec start, end;
        tb_bound *bound = NULL;
        clock_gettime(CLOCK_MONOTONIC, &start);
        CHECK_CASE(tb_bind(&bound, m.source, m.n_feeds, m.feeds, &exec, &error) == TIBA_OK, "%s",
                   error.message);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ms = (double)(end.tv_sec - start.tv_sec) * 1e3 +
                    (double)(end.tv_nsec - start.tv_nsec) * 1e-6;
        best = fmin(best, ms);
        if (bound) nodes = bound->graph->n_nodes;
        tb_bound_destroy(bound);
    }
    printf("%s: %d nodes bound to %d in %.2f ms\n", folder, m.source->graph->n_nodes, nodes, best);
    tb_scratch_free(&exec);
    tb_onnx_close(m.source);
    tb_arena_destroy(m.arena);
}

static void check_zoo(const char *folder) {
    char path[1024];
    DIR *zoo = opendir(folder);
    if (!zoo) {
        printf("no zoo at %s: skipped\n", folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir(zoo));) {
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, entry->d_name);
        if (entry->d_name[0] == '.' || !tb_is_file(path)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        check_model(path);
    }
    closedir(zoo);
}

int main(int argc, char **argv) {
    bool timing = argc > 1 && strcmp(argv[1], "-t") == 0;
    for (int i = timing ? 2 : 1; i < argc; i++) (timing ? time_model : check_model)(argv[i]);
    if (argc == 1) {
        char folder[512];
        check_zoo(TEST_DATA "/zoo");
        check_zoo(zoo_folder(folder, sizeof folder));
    }
    TEST_END();
}
