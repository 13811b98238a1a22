/*
 * op_suppress.c: NonMaxSuppression (operator set 11): of boxes that overlap only the best one
 * stays.
 *
 * boxes [batch, n, 4], scores [batch, classes, n] → indices [kept, 3]: batch, class, box. How many
 * stay is a question of values, so all inputs are constants by the time that the node is built
 * (graph/settle.h).
 */
#include <math.h>
#include <stdlib.h>

#include "runtime/kernel.h"
#include "runtime/shapes.h"

typedef struct settings {
    int64_t batch, classes, n, most;
    double overlap, least; /* thresholds; least is -inf where every score may stay */
    bool centred;          /* boxes are centre and size, not two corners */
    const tiba_tensor *boxes, *scores;
} settings;

typedef struct box {
    double low[2], high[2], score;
    int64_t index;
} box;

/* The one element of an optional input. */
static tiba_status read_number(double *out, const tb_node *node, int i, double fallback,
                               tiba_error *error) {
    *out = fallback;
    if (i >= node->n_in || !node->in[i]) return TIBA_OK;
    if (tb_tensor_count(&node->in[i]->t) != 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is not a single number", i);
    *out = tb_get_f64(&node->in[i]->t, 0);
    return TIBA_OK;
}

static tiba_status read_settings(settings *s, const tb_node *node, tiba_error *error) {
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && !node->in[i]->t.data)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "its size depends on the values of a float input ('%.60s')",
                                node->in[i]->name);
    double most;
    *s = (settings){.boxes = &node->in[0]->t,
                    .scores = &node->in[1]->t,
                    .centred = tb_attr_int(node, "center_point_box", 0) != 0};
    TB_TRY(read_number(&most, node, 2, 0, error));
    TB_TRY(read_number(&s->overlap, node, 3, 0, error));
    TB_TRY(read_number(&s->least, node, 4, -INFINITY, error));
    const int64_t *b = s->boxes->dims, *c = s->scores->dims;
    if (s->boxes->rank != 3 || s->scores->rank != 3 || b[2] != 4 || b[0] != c[0] || b[1] != c[2])
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "boxes and scores are not [batch, n, 4] and [batch, classes, n]");
    s->batch = b[0];
    s->n = b[1];
    s->classes = c[1];
    s->most = most >= (double)s->n ? s->n : most > 0 ? (int64_t)most : 0;
    return TIBA_OK;
}

static box box_at(const settings *s, int64_t batch, int64_t class, int64_t i) {
    double v[4];
    for (int k = 0; k < 4; k++) v[k] = tb_get_f64(s->boxes, (batch * s->n + i) * 4 + k);
    box out = {.score = tb_get_f64(s->scores, (batch * s->classes + class) * s->n + i), .index = i};
    for (int k = 0; k < 2; k++) {
        double a = s->centred ? v[k] - v[k + 2] / 2 : v[k];
        double b = s->centred ? v[k] + v[k + 2] / 2 : v[k + 2];
        out.low[k] = fmin(a, b); /* the corners may be any two */
        out.high[k] = fmax(a, b);
    }
    return out;
}

/* Best first; of equals the first one. */
static int better(const void *a, const void *b) {
    const box *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static double area(const box *x) {
    return (x->high[0] - x->low[0]) * (x->high[1] - x->low[1]);
}

/* Intersection over union above the threshold? */
static bool overlaps(const settings *s, const box *a, const box *b) {
    double shared = 1;
    for (int k = 0; k < 2; k++)
        shared *= fmax(0, fmin(a->high[k], b->high[k]) - fmax(a->low[k], b->low[k]));
    double both = area(a) + area(b) - shared;
    return area(a) > 0 && area(b) > 0 && both > 0 && shared / both > s->overlap;
}

/* Writes the indices of what stays, if `out` is given; returns how many. `room` is for n boxes. */
static int64_t suppress(const settings *s, box *room, int64_t *out) {
    int64_t total = 0;
    for (int64_t pair = 0; pair < s->batch * s->classes; pair++) {
        int64_t batch = pair / s->classes, class = pair % s->classes, count = 0, kept = 0;
        for (int64_t i = 0; i < s->n; i++) {
            box next = box_at(s, batch, class, i);
            if (next.score > s->least) room[count++] = next; /* NaN never */
        }
        qsort(room, (size_t)count, sizeof *room, better);
        for (int64_t i = 0; i < count && kept < s->most; i++) {
            bool free = true;
            for (int64_t k = 0; k < kept && free; k++) free = !overlaps(s, &room[k], &room[i]);
            if (!free) continue;
            room[kept++] = room[i];
            if (out) {
                out[0] = batch;
                out[1] = class;
                out[2] = room[kept - 1].index;
                out += 3;
            }
        }
        total += kept;
    }
    return total;
}

static tiba_status suppress_shape(tb_node *node, tiba_error *error) {
    settings s;
    TB_TRY(read_settings(&s, node, error));
    box *room = tb_alloc(NULL, (size_t)(s.n ? s.n : 1) * sizeof *room);
    if (!room) return tb_out_of_memory(error);
    int64_t dims[2] = {suppress(&s, room, NULL), 3};
    tb_free(room);
    return tb_set_out(node, 0, TIBA_INT64, 2, dims, error);
}

static tiba_status suppress_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    (void)in;
    settings s;
    TB_TRY(read_settings(&s, node, error));
    box *room = tb_scratch(exec, (size_t)s.n, sizeof *room);
    if (!room) return tb_out_of_memory(error);
    suppress(&s, room, out[0]->data);
    return TIBA_OK;
}

const tb_op_def tb_op_def_NonMaxSuppression = {.shape = suppress_shape,
                                               .forward = suppress_forward,
                                               .no_vjp = "its result is indices",
                                               .sized_by = TB_NEEDS_INS};
