#define _GNU_SOURCE /* sched_getaffinity */
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>

#include "base/clock.h"

/* Items that one thread begins with, so that it meets what it left in its caches in the loop
 * before; others take from it when they have done their own. */
typedef struct share {
    _Alignas(64) _Atomic int64_t next; /* first item that no one has taken */
    int64_t end;
} share;

struct tb_pool {
    int threads;
    bool watchful; /* a thread that waits looks for a while before it sleeps */
    tb_budget *budget;
    pthread_t *workers; /* threads - 1 of them */
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    _Atomic unsigned long begun, ended; /* count loops: a worker waits for `begun` to change, the
                                           caller for `ended`; written under the mutex */
    _Atomic int busy;                   /* workers still in the current loop */
    bool stop;
    struct share *shares; /* of the loop's items, one for each thread */
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

/* To wake a sleeping thread takes as long as a small loop. A pass is a row of loops with little in
 * between, so who waits stays awake that long; longer waits leave the core to others. */
static const double watch_seconds = 100e-6;

static void pause_briefly(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("yield");
#endif
}

static void watch(const tb_pool *pool, const _Atomic unsigned long *count, unsigned long seen) {
    if (!pool->watchful) return;
    double end = tb_seconds() + watch_seconds;
    do
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(count, memory_order_acquire) != seen) return;
            pause_briefly();
        }
    while (tb_seconds() < end);
}

static void run_items(tb_pool *pool, int worker) {
    inside_loop = true;
    current_worker = worker;
    for (int i = 0; i < pool->threads; i++) {
        share *from = &pool->shares[(worker + i) % pool->threads];
        for (;;) {
            int64_t item = atomic_fetch_add(&from->next, 1);
            if (item >= from->end) break;
            pool->body(pool->context, item, worker);
        }
    }
    inside_loop = false;
    current_worker = 0;
}

static void *worker_main(void *argument) {
    worker_start start = *(worker_start *)argument;
    tb_free(argument);
    tb_pool *pool = start.pool;
    for (unsigned long seen = 0;; seen++) {
        watch(pool, &pool->begun, seen);
        pthread_mutex_lock(&pool->mutex);
        while (pool->begun == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
        bool stop = pool->stop;
        pthread_mutex_unlock(&pool->mutex);
        if (stop) return NULL;
        run_items(pool, start.worker);
        if (atomic_fetch_sub(&pool->busy, 1) > 1) continue;
        pthread_mutex_lock(&pool->mutex);
        pool->ended++;
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
}

int tb_processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n;
}

tb_pool *tb_pool_create(tb_budget *budget, int threads) {
    tb_pool *pool = tb_calloc(budget, 1, sizeof *pool);
    if (!pool) return NULL;
    pool->budget = budget;
    pool->threads = 1;
    pool->watchful = threads <= tb_processors();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    if (threads > 1) {
        pool->workers = tb_calloc(budget, (size_t)threads - 1, sizeof(pthread_t));
        pool->shares = tb_calloc(budget, (size_t)threads, sizeof *pool->shares);
    }
    bool ok = threads <= 1 || (pool->workers && pool->shares);
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
    pool->begun++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i - 1], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    tb_free(pool->workers);
    tb_free(pool->shares);
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
    int64_t even = items / pool->threads, more = items % pool->threads, at = 0;
    for (int i = 0; i < pool->threads; i++) {
        atomic_store(&pool->shares[i].next, at);
        pool->shares[i].end = at += even + (i < more);
    }
    pool->busy = pool->threads - 1;
    unsigned long ended = pool->ended;
    pool->begun++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    run_items(pool, 0);
    watch(pool, &pool->ended, ended);
    pthread_mutex_lock(&pool->mutex);
    while (pool->ended == ended) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
