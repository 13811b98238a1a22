#include "tools/workers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/parallel.h"

enum { MOST_WORKERS = 256, IDLE = -1 };

typedef struct crew {
    const tb_workers *of;
    int n, next; /* workers; next of the items */
    int through;
    pid_t pid[MOST_WORKERS];
    int item[MOST_WORKERS];           /* place in the items; IDLE: none */
    struct pollfd ends[MOST_WORKERS]; /* this process' ends of the sockets */
} crew;

int tb_workers_jobs(int asked) {
    int jobs = asked > 0 ? asked : tb_processors();
    return jobs < MOST_WORKERS ? jobs : MOST_WORKERS;
}

/* -------------------------------------------------------------------- sockets */

static bool send_all(int fd, const void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* -------------------------------------------------------------------- in a worker */

/* The result's bytes, from malloc; NULL: out of memory. */
static char *result_of(const tb_workers *of, int item, size_t *size) {
    char *data = NULL;
    FILE *file = open_memstream(&data, size);
    if (!file) return NULL;
    of->work(of->context, item, file);
    if (fclose(file) == 0) return data;
    free(data);
    return NULL;
}

static void serve(const tb_workers *of, int fd) {
    int place;
    while (receive_all(fd, &place, sizeof place)) {
        size_t size;
        char *data = result_of(of, of->items[place], &size);
        if (!data) _exit(TIBA_ERROR_RESOURCE);
        bool sent = send_all(fd, &size, sizeof size) && send_all(fd, data, size);
        free(data);
        if (!sent) break; /* nobody is there any more */
    }
    _exit(0);
}

/* -------------------------------------------------------------------- in the calling process */

static tiba_status start(crew *c, int k, tiba_error *error) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "no socket for a worker: %s", strerror(errno));
    c->item[k] = IDLE;
    fflush(NULL);
    c->pid[k] = fork();
    if (c->pid[k] == 0) {
        /* a worker ends when the calling process does: nobody else may hold its other end */
        for (int i = 0; i < c->n; i++)
            if (c->ends[i].fd >= 0) close(c->ends[i].fd);
        close(pair[0]);
        serve(c->of, pair[1]);
    }
    close(pair[1]);
    c->ends[k] = (struct pollfd){.fd = pair[0], .events = POLLIN};
    if (c->pid[k] > 0) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_RESOURCE, "cannot start a worker: %s", strerror(errno));
}

/* One that died before it could take the item shows at the next poll. */
static void hand_out(crew *c, int k) {
    if (c->next == c->of->count) return;
    c->item[k] = c->next++;
    (void)send_all(c->ends[k].fd, &c->item[k], sizeof c->item[k]);
}

static tiba_status replace(crew *c, int k, tiba_error *error) {
    int how = 0, place = c->item[k];
    char death[80];
    close(c->ends[k].fd);
    c->ends[k].fd = -1;
    waitpid(c->pid[k], &how, 0);
    c->pid[k] = 0;
    if (WIFSIGNALED(how))
        snprintf(death, sizeof death, "the worker process died of signal %d", WTERMSIG(how));
    else
        snprintf(death, sizeof death, "the worker process ran out of memory");
    if (place != IDLE) {
        c->through++;
        TB_TRY(c->of->take(c->of->context, c->of->items[place], NULL, 0, death, error));
    }
    if (c->next == c->of->count) return TIBA_OK;
    TB_TRY(start(c, k, error));
    hand_out(c, k);
    return TIBA_OK;
}

static tiba_status receive(crew *c, int k, tiba_error *error) {
    size_t size;
    char *data = NULL;
    bool whole = receive_all(c->ends[k].fd, &size, sizeof size);
    if (whole) {
        data = malloc(size + 1);
        if (!data) return tb_out_of_memory(error);
        whole = receive_all(c->ends[k].fd, data, size);
    }
    if (!whole) {
        free(data);
        return replace(c, k, error);
    }
    int place = c->item[k];
    c->item[k] = IDLE;
    c->through++;
    hand_out(c, k);
    tiba_status status = c->of->take(c->of->context, c->of->items[place], data, size, NULL, error);
    free(data);
    return status;
}

static tiba_status run_crew(crew *c, tiba_error *error) {
    for (int k = 0; k < c->n; k++) {
        TB_TRY(start(c, k, error));
        hand_out(c, k);
    }
    while (c->through < c->of->count) {
        if (poll(c->ends, (nfds_t)c->n, -1) < 0 && errno != EINTR)
            return tb_fail(error, TIBA_ERROR_RESOURCE, "cannot wait for workers: %s",
                           strerror(errno));
        for (int k = 0; k < c->n; k++) {
            short seen = c->ends[k].revents;
            c->ends[k].revents = 0;
            if (c->ends[k].fd >= 0 && seen) TB_TRY(receive(c, k, error));
        }
    }
    return TIBA_OK;
}

static tiba_status run_alone(const tb_workers *of, tiba_error *error) {
    for (int i = 0; i < of->count; i++) {
        size_t size;
        char *data = result_of(of, of->items[i], &size);
        if (!data) return tb_out_of_memory(error);
        tiba_status status = of->take(of->context, of->items[i], data, size, NULL, error);
        free(data);
        TB_TRY(status);
    }
    return TIBA_OK;
}

tiba_status tb_workers_run(const tb_workers *of, tiba_error *error) {
    if (of->jobs == 1) return run_alone(of, error);
    crew c = {.of = of, .n = of->jobs < of->count ? of->jobs : of->count};
    if (c.n > MOST_WORKERS) c.n = MOST_WORKERS;
    for (int k = 0; k < c.n; k++) c.ends[k].fd = -1;
    tiba_status status = run_crew(&c, error);
    for (int k = 0; k < c.n; k++)
        if (c.ends[k].fd >= 0) close(c.ends[k].fd);
    for (int k = 0; k < c.n; k++)
        if (c.pid[k] > 0) waitpid(c.pid[k], NULL, 0);
    return status;
}
