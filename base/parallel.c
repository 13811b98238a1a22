#include "base/parallel.h"

#include <pthread.h>

struct tb_pool {
    int threads;
    tb_budget *budget;
    pthread_t *workers; /* threads - 1 of them */
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    unsigned long generation; /* counts loops; a worker sleeps until it changes */
    int busy;                 /* workers still in the current loop */
    bool stop;
    _Atomic int64_t next; /* first item that no one has taken */
    int64_t items;
    void (*body)(void *, int64_t, int);
    void *context;
};

typedef struct worker_start {
    tb_pool *pool;
    int worker;
} worker_start;

/* A body that starts a loop of its own runs it alone: one level of threads at a time. */
static _Thread_local bool inside_loop;
static _Thread_local int current_worker;

static void run_items(tb_pool *pool, int worker) {
    inside_loop = true;
    current_worker = worker;
    for (;;) {
        int64_t item = atomic_fetch_add(&pool->next, 1);
        if (item >= pool->items) break;
        pool->body(pool->context, item, worker);
    }
    inside_loop = false;
    current_worker = 0;
}

static void *worker_main(void *argument) {
    worker_start start = *(worker_start *)argument;
    tb_free(argument);
    tb_pool *pool = start.pool;
    unsigned long seen = 0;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->stop && pool->generation == seen)
            pthread_cond_wait(&pool->wake, &pool->mutex);
        if (pool->stop) break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->mutex);
        run_items(pool, start.worker);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

tb_pool *tb_pool_create(tb_budget *budget, int threads) {
    tb_pool *pool = tb_calloc(budget, 1, sizeof *pool);
    if (!pool) return NULL;
    pool->budget = budget;
    pool->threads = 1;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    if (threads > 1) pool->workers = tb_calloc(budget, (size_t)threads - 1, sizeof(pthread_t));
    bool ok = threads <= 1 || pool->workers;
    for (int i = 1; ok && i < threads; i++) {
        worker_start *start = tb_alloc(budget, sizeof *start);
        if (start) *start = (worker_start){pool, i};
        ok = start && pthread_create(&pool->workers[i - 1], NULL, worker_main, start) == 0;
        if (ok)
            pool->threads++;
        else
            tb_free(start);
    }
    if (!ok) {
        tb_pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void tb_pool_destroy(tb_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i - 1], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    tb_free(pool->workers);
    tb_free(pool);
}

int tb_pool_threads(const tb_pool *pool) {
    return pool ? pool->threads : 1;
}

void tb_parallel_for(tb_pool *pool, int64_t items, void (*body)(void *, int64_t, int),
                     void *context) {
    if (!pool || pool->threads == 1 || items <= 1 || inside_loop) {
        for (int64_t i = 0; i < items; i++) body(context, i, current_worker);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->body = body;
    pool->context = context;
    pool->items = items;
    atomic_store(&pool->next, 0);
    pool->busy = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    run_items(pool, 0);
    pthread_mutex_lock(&pool->mutex);
    while (pool->busy > 0) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
