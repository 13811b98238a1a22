#include "tools/outputs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

tiba_status tb_outputs_add(tb_outputs *outputs, const char *path, const void *data, size_t size,
                           tiba_error *error) {
    for (const tb_output *o = outputs->first; o; o = o->next)
        if (strcmp(o->path, path) == 0)
            return tb_fail(error, TIBA_ERROR_USAGE, "%s: two outputs of that name",
                           strcmp(path, "-") == 0 ? "standard output" : path);
    tb_output *output = TB_NEW(outputs->arena, tb_output, 1);
    if (!output) return tb_out_of_memory(error);
    *output = (tb_output){.path = path, .data = data, .size = size};
    if (outputs->last)
        outputs->last->next = output;
    else
        outputs->first = output;
    outputs->last = output;
    return TIBA_OK;
}

static tiba_status print_all(const tb_output *output, tiba_error *error) {
    fwrite(output->data, 1, output->size, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout)) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_RESOURCE, "standard output: cannot write");
}

tiba_status tb_outputs_commit(tb_outputs *outputs, tiba_error *error) {
    bool made = false;
    if (outputs->folder && mkdir(outputs->folder, 0777) == 0)
        made = true;
    else if (outputs->folder && errno != EEXIST)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot create: %s", outputs->folder,
                       strerror(errno));
    tiba_status status = TIBA_OK;
    for (tb_output *o = outputs->first; o && status == TIBA_OK; o = o->next)
        if (strcmp(o->path, "-") != 0)
            status = tb_file_stage(&o->temporary, outputs->arena, o->path, o->data, o->size, error);
    /* Standard output first: once a file has been renamed nothing should fail any more. */
    for (tb_output *o = outputs->first; o && status == TIBA_OK; o = o->next)
        if (strcmp(o->path, "-") == 0) status = print_all(o, error);
    for (tb_output *o = outputs->first; o; o = o->next) {
        if (status == TIBA_OK)
            status = tb_file_publish(o->temporary, o->path, error);
        else
            tb_file_discard(o->temporary);
    }
    if (status != TIBA_OK && made) rmdir(outputs->folder);
    return status;
}
