#define _DEFAULT_SOURCE /* madvise: POSIX's own advice is one that glibc ignores */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

tiba_status tb_file_open(tb_file *out, const char *path, tiba_error *error) {
    *out = (tb_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tb_fail(error, TIBA_ERROR_INPUT, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: not a regular file", path);
    }
    out->size = (size_t)info.st_size;
    if (out->size > 0) {
        void *map = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            int reason = errno;
            close(fd);
            *out = (tb_file){0};
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: %s", path, strerror(reason));
        }
        out->map = map;
        out->data = map;
    } else {
        out->data = (const unsigned char *)"";
    }
    close(fd);
    return TIBA_OK;
}

void tb_file_close(tb_file *file) {
    if (file->map) munmap(file->map, file->size);
    *file = (tb_file){0};
}

void tb_file_release(const unsigned char *data, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)data + size) / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED); /* no harm if it fails */
}

static tiba_status write_failed(const char *path, int reason, tiba_error *error) {
    return tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot write: %s", path, strerror(reason));
}

static int write_all(int fd, const char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0 && errno != EINTR) return errno;
        if (n > 0) done += (size_t)n;
    }
    return 0;
}

tiba_status tb_file_stage(char **temporary, tb_arena *arena, const char *path, const void *data,
                          size_t size, tiba_error *error) {
    *temporary = NULL;
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode)) return write_failed(path, EISDIR, error);
    bool direct = exists && !S_ISREG(info.st_mode);
    char *name = tb_arena_format(arena, "%s.XXXXXX", path);
    if (!name) return tb_out_of_memory(error);
    /* /dev/stdout and other non-files are written as they are: they cannot be replaced. */
    int fd = direct ? open(path, O_WRONLY | O_CLOEXEC) : mkstemp(name);
    if (fd < 0) return write_failed(path, errno, error);
    int reason = write_all(fd, data, size);
    if (!direct && !reason) {
        mode_t mask = umask(0);
        umask(mask);
        mode_t mode = exists ? info.st_mode & 07777 : (mode_t)(0666 & ~mask);
        if (fchmod(fd, mode) != 0) reason = errno;
    }
    if (close(fd) != 0 && !reason) reason = errno;
    if (reason) {
        if (!direct) unlink(name);
        return write_failed(path, reason, error);
    }
    if (!direct) *temporary = name;
    return TIBA_OK;
}

tiba_status tb_file_publish(const char *temporary, const char *path, tiba_error *error) {
    if (!temporary || rename(temporary, path) == 0) return TIBA_OK;
    int reason = errno;
    unlink(temporary);
    return write_failed(path, reason, error);
}

void tb_file_discard(const char *temporary) {
    if (temporary) unlink(temporary);
}

tiba_status tb_file_write(const char *path, const void *data, size_t size, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    if (!arena) return tb_out_of_memory(error);
    char *temporary;
    tiba_status status = tb_file_stage(&temporary, arena, path, data, size, error);
    if (status == TIBA_OK) status = tb_file_publish(temporary, path, error);
    tb_arena_destroy(arena);
    return status;
}

char *tb_path_join(tb_arena *arena, const char *folder, const char *name) {
    size_t n = strlen(folder);
    return tb_arena_format(arena, n > 0 && folder[n - 1] == '/' ? "%s%s" : "%s/%s", folder, name);
}

char *tb_path_folder(tb_arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return tb_arena_strdup(arena, ".");
    if (slash == path) return tb_arena_strdup(arena, "/");
    return tb_arena_strndup(arena, path, (size_t)(slash - path));
}

bool tb_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool tb_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}
