/*
 * file.h: reading whole files (mapped where possible) and writing them atomically.
 */
#ifndef TB_BASE_FILE_H
#define TB_BASE_FILE_H

#include "base/memory.h"

/** A read-only view of a file's bytes. */
typedef struct tb_file {
    const unsigned char *data;
    size_t size;
    void *map; /**< internal */
} tb_file;

/** Maps `path`. Refuses anything but a regular file. `out` is zeroed on failure. */
tiba_status tb_file_open(tb_file *out, const char *path, tiba_error *error);
void tb_file_close(tb_file *file);
/** Gives the memory of the whole pages among `size` bytes of an open file back: they were copied
 * and need not stand beside the copy. They are read again should someone look at them. */
void tb_file_release(const unsigned char *data, size_t size);

/** Writes `size` bytes to `path` by way of a temporary file beside it and a rename: a reader sees
 *  the old file or the whole new one, and a failed write leaves no trace. */
tiba_status tb_file_write(const char *path, const void *data, size_t size, tiba_error *error);

/** The two halves of tb_file_write, for several files that must appear together: staging writes the
 *  temporary file and gives its name (NULL where `path` is no regular file: then it was written at
 *  once); publishing renames it to `path`; discarding removes it. */
tiba_status tb_file_stage(char **temporary, tb_arena *arena, const char *path, const void *data,
                          size_t size, tiba_error *error);
tiba_status tb_file_publish(const char *temporary, const char *path, tiba_error *error);
void tb_file_discard(const char *temporary);

/** `folder`/`name` in the arena; NULL if out of memory. */
char *tb_path_join(tb_arena *arena, const char *folder, const char *name);
/** The folder part of a path ("." if it has none) in the arena. */
char *tb_path_folder(tb_arena *arena, const char *path);
bool tb_is_folder(const char *path);
bool tb_is_file(const char *path);

#endif
