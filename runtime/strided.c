/*
 * The walk is brought to a normal form: axes of size 1 dropped, axes ordered so that writes (reads,
 * for sums) go forward, neighbours merged. Then one axis is cut into pieces for the pool; what
 * happens within a piece is a contiguous row, a strided row, a fill, a sum or a band of tiles.
 */
#include "runtime/strided.h"

#include <string.h>

#include "runtime/clones.h"

enum { ITEM = 1 << 14, TILE = 16 }; /* elements of a unit of parallel work; edge of a tile */

typedef struct job job;
typedef void run_fn(const job *job, char *to, const char *from, int64_t n);

struct job {
    tb_walk outer; /* axes [0, parallel) are cut into units, the others run within one in order */
    int parallel;
    int64_t n, n_to, n_from; /* the cut axis; strides in bytes for copies, elements for sums */
    int64_t m, m_to, m_from; /* tiles: the axis along which writes are contiguous */
    int64_t piece, pieces, units, per_item;
    size_t size;
    run_fn *run;
    char *to;
    const char *from;
};

tb_walk tb_walk_reverse(const tb_walk *walk) {
    tb_walk out = *walk;
    memcpy(out.to, walk->from, sizeof out.to);
    memcpy(out.from, walk->to, sizeof out.from);
    return out;
}

static int64_t magnitude(int64_t stride) {
    return stride < 0 ? -stride : stride;
}

/* Stable insertion sort by falling `key` stride, then merges neighbours. False if nothing moves. */
static bool normalise(tb_walk *w, bool by_from) {
    tb_walk s = {0};
    for (int i = 0; i < w->rank; i++) {
        if (w->dims[i] == 0) return false;
        if (w->dims[i] == 1) continue;
        int64_t key = magnitude(by_from ? w->from[i] : w->to[i]);
        int k = s.rank++;
        for (; k > 0 && magnitude(by_from ? s.from[k - 1] : s.to[k - 1]) < key; k--) {
            s.dims[k] = s.dims[k - 1];
            s.to[k] = s.to[k - 1];
            s.from[k] = s.from[k - 1];
        }
        s.dims[k] = w->dims[i];
        s.to[k] = w->to[i];
        s.from[k] = w->from[i];
    }
    w->rank = 0;
    for (int i = 0; i < s.rank; i++) {
        int last = w->rank - 1;
        if (last >= 0 && w->to[last] == s.to[i] * s.dims[i] &&
            w->from[last] == s.from[i] * s.dims[i]) {
            w->dims[last] *= s.dims[i];
            w->to[last] = s.to[i];
            w->from[last] = s.from[i];
        } else {
            tb_walk_axis(w, s.dims[i], s.to[i], s.from[i]);
        }
    }
    if (w->rank == 0) tb_walk_axis(w, 1, 1, 1);
    return true;
}

static void take_axis(tb_walk *w, int axis) {
    w->rank--;
    for (int i = axis; i < w->rank; i++) {
        w->dims[i] = w->dims[i + 1];
        w->to[i] = w->to[i + 1];
        w->from[i] = w->from[i + 1];
    }
}

/* Calls run for the axes that stay within a unit. */
static void run_sequence(const job *j, int axis, char *to, const char *from, int64_t n) {
    if (axis == j->outer.rank) {
        j->run(j, to, from, n);
        return;
    }
    int64_t size = (int64_t)j->size;
    for (int64_t i = 0; i < j->outer.dims[axis]; i++)
        run_sequence(j, axis + 1, to + i * j->outer.to[axis] * size,
                     from + i * j->outer.from[axis] * size, n);
}

static void run_item(void *context, int64_t item, int worker) {
    (void)worker;
    const job *j = context;
    int64_t unit = item * j->per_item, end = unit + j->per_item, size = (int64_t)j->size;
    if (end > j->units) end = j->units;
    int64_t at[TB_WALK_MAX] = {0}, to = 0, from = 0, piece = unit % j->pieces,
            rest = unit / j->pieces;
    for (int i = j->parallel - 1; i >= 0; i--) {
        at[i] = rest % j->outer.dims[i];
        rest /= j->outer.dims[i];
        to += at[i] * j->outer.to[i];
        from += at[i] * j->outer.from[i];
    }
    for (; unit < end; unit++) {
        int64_t start = piece * j->piece, left = j->n - start;
        run_sequence(j, j->parallel, j->to + (to + start * j->n_to) * size,
                     j->from + (from + start * j->n_from) * size,
                     left < j->piece ? left : j->piece);
        if (++piece < j->pieces) continue;
        piece = 0;
        for (int i = j->parallel - 1; i >= 0; i--) {
            to += j->outer.to[i];
            from += j->outer.from[i];
            if (++at[i] < j->outer.dims[i]) break;
            to -= at[i] * j->outer.to[i];
            from -= at[i] * j->outer.from[i];
            at[i] = 0;
        }
    }
}

/* Cuts the job by its size alone and runs it. `whole`: the cut axis may not be cut. */
static void run_job(tb_exec *exec, job *j, bool whole) {
    int64_t rows = 1, sequence = 1, width = j->m > 0 ? j->m : 1;
    for (int i = 0; i < j->parallel; i++) rows *= j->outer.dims[i];
    for (int i = j->parallel; i < j->outer.rank; i++) sequence *= j->outer.dims[i];
    int64_t cost = width * sequence; /* elements per step of the cut axis */
    j->piece = j->n;
    if (!whole && cost * j->n > ITEM) {
        j->piece = ITEM / cost / TILE * TILE;
        if (j->piece < TILE) j->piece = TILE;
        if (j->piece > j->n) j->piece = j->n;
    }
    j->pieces = (j->n + j->piece - 1) / j->piece;
    j->units = rows * j->pieces;
    j->per_item = ITEM / (j->piece * cost);
    if (j->per_item < 1) j->per_item = 1;
    tb_parallel_for(exec->pool, (j->units + j->per_item - 1) / j->per_item, run_item, j);
}

static void copy_row(const job *j, char *to, const char *from, int64_t n) {
    memcpy(to, from, (size_t)n * j->size);
}

static TB_INLINE void copy_strided(size_t size, const job *j, char *to, const char *from,
                                   int64_t n) {
    int64_t step_to = j->n_to * (int64_t)size, step_from = j->n_from * (int64_t)size;
    for (int64_t i = 0; i < n; i++) memcpy(to + i * step_to, from + i * step_from, size);
}

/* Reads are contiguous along the cut axis, writes along the other: small tiles keep both in cache.
 */
static TB_INLINE void copy_tile(size_t size, const job *j, char *to, const char *from, int64_t n,
                                int64_t m) {
    int64_t s = (int64_t)size;
    for (int64_t a = 0; a < n; a++)
        for (int64_t b = 0; b < m; b++)
            memcpy(to + (a * j->n_to + b) * s, from + (a + b * j->m_from) * s, size);
}

typedef uint32_t quad __attribute__((vector_size(16)));

/* Four rows of four 4-byte elements at a time. */
static void copy_tile_of_quads(const job *j, char *to, const char *from, int64_t n, int64_t m) {
    for (int64_t a = 0; a < n; a += 4)
        for (int64_t b = 0; b < m; b += 4) {
            quad row[4], half[4];
            for (int i = 0; i < 4; i++)
                memcpy(&row[i], from + (a + (b + i) * j->m_from) * 4, sizeof row[i]);
            for (int i = 0; i < 2; i++) {
                half[i] = __builtin_shufflevector(row[i], row[i + 2], 0, 4, 1, 5);
                half[i + 2] = __builtin_shufflevector(row[i], row[i + 2], 2, 6, 3, 7);
            }
            for (int i = 0; i < 2; i++) {
                quad even = __builtin_shufflevector(half[2 * i], half[2 * i + 1], 0, 4, 1, 5);
                quad odd = __builtin_shufflevector(half[2 * i], half[2 * i + 1], 2, 6, 3, 7);
                char *place = to + ((a + 2 * i) * j->n_to + b) * 4;
                memcpy(place, &even, sizeof even);
                memcpy(place + j->n_to * 4, &odd, sizeof odd);
            }
        }
}

static TB_INLINE void copy_tiles(size_t size, const job *j, char *to, const char *from, int64_t n) {
    int64_t s = (int64_t)size;
    for (int64_t a = 0; a < n; a += TILE)
        for (int64_t b = 0; b < j->m; b += TILE) {
            int64_t rows = n - a < TILE ? n - a : TILE, columns = j->m - b < TILE ? j->m - b : TILE;
            char *place = to + (a * j->n_to + b) * s;
            const char *source = from + (a + b * j->m_from) * s;
            int64_t whole_rows = size == 4 ? rows / 4 * 4 : 0,
                    whole_columns = size == 4 ? columns / 4 * 4 : 0;
            copy_tile_of_quads(j, place, source, whole_rows, whole_columns);
            if (whole_columns < columns)
                copy_tile(size, j, place + whole_columns * s,
                          source + whole_columns * j->m_from * s, whole_rows,
                          columns - whole_columns);
            copy_tile(size, j, place + whole_rows * j->n_to * s, source + whole_rows * s,
                      rows - whole_rows, columns);
        }
}

#define FOR_SIZE(bytes)                                                                            \
    static void strided_##bytes(const job *j, char *to, const char *from, int64_t n) {             \
        copy_strided(bytes, j, to, from, n);                                                       \
    }                                                                                              \
    static void tiles_##bytes(const job *j, char *to, const char *from, int64_t n) {               \
        copy_tiles(bytes, j, to, from, n);                                                         \
    }
FOR_SIZE(1)
FOR_SIZE(2)
FOR_SIZE(4)
FOR_SIZE(8)

static run_fn *const strided_runs[9] = {
    [1] = strided_1, [2] = strided_2, [4] = strided_4, [8] = strided_8};
static run_fn *const tiles_runs[9] = {[1] = tiles_1, [2] = tiles_2, [4] = tiles_4, [8] = tiles_8};

void tb_walk_copy(tb_exec *exec, const tb_walk *walk, size_t size, void *to, const void *from) {
    job j = {.outer = *walk, .size = size, .to = to, .from = from};
    if (!normalise(&j.outer, false)) return;
    int last = j.outer.rank - 1, across = -1;
    if (j.outer.to[last] == 1 && j.outer.from[last] != 1)
        for (int i = 0; i < last; i++)
            if (j.outer.from[i] == 1) across = i;
    if (across >= 0) {
        j.m = j.outer.dims[last];
        j.m_to = 1;
        j.m_from = j.outer.from[last];
        take_axis(&j.outer, last);
        j.run = tiles_runs[size];
    } else {
        across = last;
        bool row = j.outer.to[last] == 1 && j.outer.from[last] == 1;
        j.run = row ? copy_row : strided_runs[size];
    }
    j.n = j.outer.dims[across];
    j.n_to = j.outer.to[across];
    j.n_from = j.outer.from[across];
    take_axis(&j.outer, across);
    j.parallel = j.outer.rank;
    run_job(exec, &j, false);
}

static void add_row(const job *j, char *to_, const char *from_, int64_t n) {
    float *to = (float *)(void *)to_;
    const float *from = (const float *)(const void *)from_;
    if (j->n_to == 1 && j->n_from == 1)
        for (int64_t i = 0; i < n; i++) to[i] += from[i];
    else
        for (int64_t i = 0; i < n; i++) to[i * j->n_to] += from[i * j->n_from];
}

static void sum_row(const job *j, char *to_, const char *from_, int64_t n) {
    float *to = (float *)(void *)to_;
    const float *from = (const float *)(const void *)from_;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)from[i * j->n_from];
    *to = (float)((double)*to + sum);
}

void tb_walk_add(tb_exec *exec, const tb_walk *walk, float *to, const float *from) {
    job j = {.outer = *walk, .size = sizeof(float)};
    if (!normalise(&j.outer, true)) return;
    j.to = (char *)to;
    j.from = (const char *)from;
    int last = j.outer.rank - 1;
    j.n = j.outer.dims[last];
    j.n_to = j.outer.to[last];
    j.n_from = j.outer.from[last];
    take_axis(&j.outer, last);
    bool sum = j.n_to == 0;
    j.run = sum ? sum_row : add_row;
    /* Axes that are summed over go behind those whose units write to places of their own. */
    tb_walk sorted = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < last; i++)
            if ((j.outer.to[i] == 0) == (pass == 1))
                tb_walk_axis(&sorted, j.outer.dims[i], j.outer.to[i], j.outer.from[i]);
        if (pass == 0) j.parallel = sorted.rank;
    }
    j.outer = sorted;
    run_job(exec, &j, sum);
}
