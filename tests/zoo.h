/*
 * zoo.h: opens the models of the zoo folder (shared/zoo next to the source, or $TIBA_SHARED/zoo),
 * each with its inputs, for tests that go over all of them and skip where there is none.
 */
#ifndef TB_TESTS_ZOO_H
#define TB_TESTS_ZOO_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "graph/bind.h"
#include "onnx/onnx.h"

enum { ZOO_FEEDS = 8 };

typedef struct zoo_model {
    const char *name;
    char folder[1024];
    tb_arena *arena;
    tb_exec exec;
    tb_source *source;
    tb_bound *bound;
    int n_feeds;
    tb_feed feeds[ZOO_FEEDS];
    tiba_error error;
} zoo_model;

static inline tiba_status zoo_bind(zoo_model *m) {
    char path[1280];
    snprintf(path, sizeof path, "%s/model.onnx", m->folder);
    TB_TRY(tb_onnx_open(&m->source, path, NULL, &m->error));
    for (int i = 0; i < m->source->graph->n_inputs && i < ZOO_FEEDS; i++) {
        m->feeds[i].name = m->source->graph->inputs[i]->name;
        snprintf(path, sizeof path, "%s/input.%s.npy", m->folder, m->feeds[i].name);
        TB_TRY(tb_npy_read(&m->feeds[i].tensor, m->arena, path, &m->error));
        m->n_feeds++;
    }
    return tb_bind(&m->bound, m->source, m->n_feeds, m->feeds, &m->exec, &m->error);
}

static inline void zoo_close(zoo_model *m) {
    tb_bound_destroy(m->bound);
    tb_scratch_free(&m->exec);
    if (m->source) tb_onnx_close(m->source);
    tb_arena_destroy(m->arena);
}

/* Calls `visit` for each model whose name contains `part`, bound to its inputs (m->bound is NULL
 * and m->error filled if that failed); returns how many there were. */
static inline int zoo_visit(const char *part, void (*visit)(zoo_model *m)) {
    const char *shared = getenv("TIBA_SHARED");
    char root[512];
    snprintf(root, sizeof root, "%s/zoo", shared ? shared : TEST_DATA "/../../../shared");
    DIR *folder = opendir(root);
    int n = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        zoo_model m = {.name = entry->d_name};
        char path[1280];
        snprintf(m.folder, sizeof m.folder, "%s/%s", root, entry->d_name);
        snprintf(path, sizeof path, "%s/model.onnx", m.folder);
        if (entry->d_name[0] == '.' || !strstr(m.name, part) || !tb_is_file(path)) continue;
        m.arena = tb_arena_create(NULL);
        zoo_bind(&m);
        visit(&m);
        zoo_close(&m);
        n++;
    }
    if (folder) closedir(folder);
    return n;
}

#endif
