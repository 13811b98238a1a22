/* render_npy.c: outputs of the graph and a view's towers as .npy files. */
#include <string.h>

#include "base/npy.h"
#include "tools/render.h"

typedef struct writer {
    tb_outputs *outputs;
    const tb_report *report;
    const char *folder;
} writer;

static tiba_status add_npy(const writer *w, const char *name, const tiba_tensor *tensor,
                           tiba_error *error) {
    /* a graph may call an output a/b */
    char *file = name ? tb_arena_strdup(w->report->arena, name) : NULL;
    if (!file) return tb_out_of_memory(error);
    for (char *c = file; *c; c++)
        if (*c == '/' || *c == '\\') *c = '_';
    const char *path = tb_path_join(w->report->arena, w->folder, file);
    unsigned char *data;
    size_t size;
    if (!path) return tb_out_of_memory(error);
    TB_TRY(tb_npy_encode(&data, &size, w->report->arena, tensor, error));
    return tb_outputs_add(w->outputs, path, data, size, error);
}

/* An array of a tower: a sample axis in front only if there is more than one sample. */
static tiba_status add_array(const writer *w, const char *name, const tiba_tower *tower, int rank,
                             int64_t a, int64_t b, const float *data, tiba_error *error) {
    tiba_tensor t = {.dtype = TIBA_FLOAT32, .data = (void *)(uintptr_t)data};
    if (tower->samples > 1) t.dims[t.rank++] = tower->samples;
    t.dims[t.rank++] = a;
    if (rank == 2) t.dims[t.rank++] = b;
    return add_npy(w, name, &t, error);
}

static tiba_status add_tower(const writer *w, const tiba_tower *tower, const char *suffix,
                             tiba_error *error) {
    tb_arena *a = w->report->arena;
    int64_t n = tower->tokens;
    TB_TRY(add_array(w, tb_arena_format(a, "tokens.%s%s.npy", tower->input, suffix), tower, 1, n, 0,
                     tower->relevance, error));
    TB_TRY(add_array(w, tb_arena_format(a, "readout.%s%s.npy", tower->input, suffix), tower, 1,
                     tower->readout_tokens, 0, tower->readout, error));
    for (int b = 0; tower->blocks && b < tower->n_blocks; b++)
        TB_TRY(add_array(w, tb_arena_format(a, "block.%d.%s%s.npy", b, tower->input, suffix), tower,
                         2, n, n, tower->blocks[b], error));
    if (!tower->map) return TIBA_OK;
    return add_array(w, tb_arena_format(a, "map.%s%s.npy", tower->input, suffix), tower, 2,
                     tower->map_rows, tower->map_columns, tower->map, error);
}

/* The views of one result show the same towers, sample by sample. */
static bool is_one_result(const tb_report *r) {
    for (int v = 1; v < r->n_views; v++)
        if (r->views[v].towers[0].tower != r->views[0].towers[0].tower) return false;
    return r->n_views > 0;
}

/* A graph's outputs. Names that the graph `before` has as well get a number, like towers. */
static tiba_status add_graph(const writer *w, const tiba_model *model, const tiba_run *run,
                             const tiba_model *before, tiba_error *error) {
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_tensor tensor = tiba_run_output(run, i);
        if (tiba_run_blocked(run, i)) continue;
        const char *name = tiba_model_output(model, i).name;
        const char *suffix = before && tb_has_output(before, name) ? ".2" : "";
        name = tb_arena_format(w->report->arena, "output.%s%s.npy", name, suffix);
        TB_TRY(add_npy(w, name, &tensor, error));
    }
    return TIBA_OK;
}

tiba_status tb_render_npy(tb_outputs *outputs, const tb_report *r, const char *folder,
                          tiba_error *error) {
    writer w = {outputs, r, folder};
    outputs->folder = folder;
    const tb_subject *subject = r->subject;
    TB_TRY(add_graph(&w, subject->model, r->run, NULL, error));
    if (r->text_run)
        TB_TRY(add_graph(&w, subject->partner->model, r->text_run, subject->model, error));
    if (!is_one_result(r))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--npy writes one target: give one --class or --target");
    const tb_view *v = &r->views[0];
    for (int t = 0; t < v->n_towers; t++) {
        const tiba_tower *tower = v->towers[t].tower;
        int twins = 0; /* towers of the same input get numbers from the second on */
        for (int k = 0; k < t; k++) twins += strcmp(v->towers[k].tower->input, tower->input) == 0;
        const char *suffix = twins ? tb_arena_format(r->arena, ".%d", twins + 1) : "";
        if (!suffix) return tb_out_of_memory(error);
        TB_TRY(add_tower(&w, tower, suffix, error));
    }
    return TIBA_OK;
}
