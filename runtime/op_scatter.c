/*
 * ScatterElements and ScatterND: a copy of the data in which the updates are put, added, multiplied
 * in, or win where they are larger or smaller.
 *
 * With put, max and min each output element has one winner: the last update put there, or the first
 * of the largest; the gradient goes to the winner alone.
 */
#include <inttypes.h>
#include <string.h>

#include "runtime/move.h"
#include "runtime/places.h"

typedef enum reduction { PUT, ADD, MUL, MAX, MIN, REDUCTIONS } reduction;

static const char *const reduction_names[REDUCTIONS] = {"none", "add", "mul", "max", "min"};

static reduction reduction_of(const tb_node *node) {
    const char *name = tb_attr_string(node, "reduction", "none");
    int i = 0;
    while (i < REDUCTIONS && strcmp(name, reduction_names[i]) != 0) i++;
    return (reduction)i;
}

static tiba_status scatter_shape(tb_node *node, const tb_lookup *lookup, bool fits,
                                 tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t,
                      *updates = &node->in[2]->t;
    if (!fits || updates->dtype != data->dtype) {
        char a[100], b[100], c[100];
        return tb_node_fail(
            error, TIBA_ERROR_INPUT, node, "indices %s and %s updates %s do not fit %s data %s",
            tb_shape_text(a, sizeof a, indices->rank, indices->dims), tb_dtype_name(updates->dtype),
            tb_shape_text(b, sizeof b, updates->rank, updates->dims), tb_dtype_name(data->dtype),
            tb_shape_text(c, sizeof c, data->rank, data->dims));
    }
    if (reduction_of(node) == REDUCTIONS)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "reduction '%.40s' is not supported",
                            tb_attr_string(node, "reduction", "none"));
    if (indices->data) TB_TRY(lookup->check(node, data, indices, error));
    return tb_set_out(node, 0, data->dtype, data->rank, data->dims, error);
}

/* What an update does to a number; integers too (beyond 2^53 only put and add are exact). */
static double reduced(reduction how, double old, double update) {
    switch (how) {
    case MUL:
        return old * update;
    case MAX:
        return update > old || update != update ? update : old;
    case MIN:
        return update < old || update != update ? update : old;
    default:
        return update;
    }
}

static void combine(reduction how, tiba_tensor *out, int64_t at, const tiba_tensor *updates,
                    int64_t from) {
    bool exact = how == ADD && !tb_dtype_is_float(out->dtype);
    if (exact) {
        uint64_t sum = (uint64_t)tb_get_i64(out, at) + (uint64_t)tb_get_i64(updates, from);
        tb_set_i64(out, at, (int64_t)sum);
    } else if (how == ADD) {
        tb_set_f64(out, at, tb_get_f64(out, at) + tb_get_f64(updates, from));
    } else {
        tb_set_f64(out, at, reduced(how, tb_get_f64(out, at), tb_get_f64(updates, from)));
    }
}

static tiba_status scatter_forward(const tb_lookup *lookup, const tb_node *node,
                                   const tiba_tensor *const *in, tiba_tensor *out,
                                   tiba_error *error) {
    if (!node->in[1]->t.data) TB_TRY(lookup->check(node, in[0], in[1], error));
    reduction how = reduction_of(node);
    tb_places p = lookup->places(node, in[0], in[1]);
    int64_t offsets[TB_PLACES_BATCH], size = (int64_t)tb_dtype_size(out->dtype);
    memcpy(out->data, in[0]->data, tb_tensor_bytes(out));
    for (int64_t first = 0; first < p.blocks; first += TB_PLACES_BATCH) {
        int64_t n = p.blocks - first < TB_PLACES_BATCH ? p.blocks - first : TB_PLACES_BATCH;
        p.offsets(&p, first, n, offsets);
        for (int64_t i = 0; i < n; i++) {
            int64_t from = (first + i) * p.length;
            if (how == PUT)
                memcpy((char *)out->data + offsets[i] * size,
                       (const char *)in[2]->data + from * size, (size_t)(p.length * size));
            else
                for (int64_t k = 0; k < p.length; k++)
                    combine(how, out, offsets[i] + k, in[2], from + k);
        }
    }
    return TIBA_OK;
}

/* Calls visit(context, element of data, element of updates) for every update in order. */
static void each_update(const tb_places *p, void (*visit)(void *context, int64_t at, int64_t from),
                        void *context) {
    int64_t offsets[TB_PLACES_BATCH];
    for (int64_t first = 0; first < p->blocks; first += TB_PLACES_BATCH) {
        int64_t n = p->blocks - first < TB_PLACES_BATCH ? p->blocks - first : TB_PLACES_BATCH;
        p->offsets(p, first, n, offsets);
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < p->length; k++)
                visit(context, offsets[i] + k, (first + i) * p->length + k);
    }
}

typedef struct grad {
    reduction how;
    const float *data, *updates, *dout;
    float *dupdates;
    int64_t *winner; /* put, max, min: the update that each output element is, -1: the data */
    double *product; /* mul: of the factors of each output element that are not 0 … */
    int64_t *zeros;  /* … and how many are */
} grad;

static void find_winner(void *context, int64_t at, int64_t from) {
    grad *g = context;
    int64_t now = g->winner[at];
    if (g->how != PUT) {
        float old = now < 0 ? g->data[at] : g->updates[now], update = g->updates[from];
        if (g->how == MAX ? !(update > old) : !(update < old)) return;
    }
    g->winner[at] = from;
}

static void give_winner(void *context, int64_t at, int64_t from) {
    grad *g = context;
    g->dupdates[from] = g->winner[at] == from ? g->dout[at] : 0;
}

static tiba_status winner_grad(tb_exec *exec, grad *g, const tb_places *p, int64_t count,
                               tiba_tensor *const *din, tiba_error *error) {
    g->winner = tb_scratch(exec, (size_t)count, sizeof *g->winner);
    if (!g->winner) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) g->winner[i] = -1;
    each_update(p, find_winner, g);
    if (din[0])
        for (int64_t i = 0; i < count; i++)
            ((float *)din[0]->data)[i] = g->winner[i] < 0 ? g->dout[i] : 0;
    if (din[2]) each_update(p, give_winner, g);
    return TIBA_OK;
}

static void count_factor(grad *g, int64_t at, double factor) {
    if (factor == 0)
        g->zeros[at]++;
    else
        g->product[at] *= factor;
}

static void count_update(void *context, int64_t at, int64_t from) {
    grad *g = context;
    count_factor(g, at, (double)g->updates[from]);
}

/* The product of the factors other than this one. */
static float others(const grad *g, int64_t at, double factor) {
    int64_t zeros = g->zeros[at] - (factor == 0);
    return zeros > 0 ? 0 : (float)(g->product[at] / (factor == 0 ? 1 : factor));
}

static void give_others(void *context, int64_t at, int64_t from) {
    grad *g = context;
    g->dupdates[from] = g->dout[at] * others(g, at, (double)g->updates[from]);
}

static tiba_status product_grad(tb_exec *exec, grad *g, const tb_places *p, int64_t count,
                                tiba_tensor *const *din, tiba_error *error) {
    g->product = tb_scratch(exec, (size_t)count, sizeof *g->product);
    g->zeros = tb_scratch(exec, (size_t)count, sizeof *g->zeros);
    if (!g->product || !g->zeros) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) {
        g->product[i] = 1;
        g->zeros[i] = 0;
        count_factor(g, i, (double)g->data[i]);
    }
    each_update(p, count_update, g);
    if (din[0])
        for (int64_t i = 0; i < count; i++)
            ((float *)din[0]->data)[i] = g->dout[i] * others(g, i, (double)g->data[i]);
    if (din[2]) each_update(p, give_others, g);
    return TIBA_OK;
}

static tiba_status scatter_vjp(tb_exec *exec, const tb_lookup *lookup, const tb_node *node,
                               const tiba_tensor *const *in, const tiba_tensor *dout,
                               tiba_tensor *const *din, tiba_error *error) {
    if (!dout) {
        if (din[0]) tb_zero(din[0]);
        if (din[2]) tb_zero(din[2]);
        return TIBA_OK;
    }
    tb_places p = lookup->places(node, in[0], in[1]);
    int64_t count = tb_tensor_count(dout);
    grad g = {.how = reduction_of(node),
              .data = in[0]->data,
              .updates = in[2]->data,
              .dout = dout->data,
              .dupdates = din[2] ? din[2]->data : NULL};
    if (g.how == MUL) return product_grad(exec, &g, &p, count, din, error);
    if (g.how != ADD) return winner_grad(exec, &g, &p, count, din, error);
    if (din[0]) memcpy(din[0]->data, dout->data, tb_tensor_bytes(dout));
    if (din[2]) tb_places_gather(exec, &p, sizeof(float), din[2]->data, dout->data);
    return TIBA_OK;
}

/* ScatterElements: the indices have the updates' shape. */

static tiba_status elements_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t;
    int axis;
    TB_TRY(tb_need_indices(node, error));
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), data->rank, error));
    bool fits = tb_elements_fit(data, indices, axis) && tb_same_shape(indices, &node->in[2]->t);
    return scatter_shape(node, &tb_lookup_elements, fits, error);
}

static tiba_status elements_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    (void)exec;
    return scatter_forward(&tb_lookup_elements, node, in, out[0], error);
}

static tiba_status elements_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,
                                tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    return scatter_vjp(exec, &tb_lookup_elements, node, in, dout[0], din, error);
}

const tb_op_def tb_op_def_ScatterElements = {.shape = elements_shape,
                                             .forward = elements_forward,
                                             .vjp = elements_vjp,
                                             .needs =
                                                 TB_NEEDS_IN(0) | TB_NEEDS_IN(1) | TB_NEEDS_IN(2)};

/* ScatterND: indices[…, depth] are tuples; updates[…] has one block of data for each. */

static tb_places nd_places(const tb_node *node, const tiba_tensor *data,
                           const tiba_tensor *indices) {
    (void)node;
    return tb_places_nd(data, indices, 0);
}

static tiba_status nd_check(const tb_node *node, const tiba_tensor *data,
                            const tiba_tensor *indices, tiba_error *error) {
    return tb_check_indices(node, indices, (int)indices->dims[indices->rank - 1], data->dims,
                            error);
}

static const tb_lookup nd_lookup = {nd_places, nd_check};

static tiba_status nd_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t,
                      *updates = &node->in[2]->t;
    TB_TRY(tb_need_indices(node, error));
    TB_TRY(tb_need_rank(node, 1, 1, error));
    int tuples = indices->rank - 1;
    int64_t depth = indices->dims[tuples];
    bool fits =
        depth >= 1 && depth <= data->rank && updates->rank == tuples + data->rank - (int)depth;
    for (int i = 0; fits && i < updates->rank; i++)
        fits = updates->dims[i] ==
               (i < tuples ? indices->dims[i] : data->dims[i - tuples + (int)depth]);
    return scatter_shape(node, &nd_lookup, fits, error);
}

static tiba_status nd_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              tiba_tensor *const *out, tiba_error *error) {
    (void)exec;
    return scatter_forward(&nd_lookup, node, in, out[0], error);
}

static tiba_status nd_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                          const tiba_tensor *const *out, const tiba_tensor *const *dout,
                          tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    return scatter_vjp(exec, &nd_lookup, node, in, dout[0], din, error);
}

const tb_op_def tb_op_def_ScatterND = {.shape = nd_shape,
                                       .forward = nd_forward,
                                       .vjp = nd_vjp,
                                       .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1) | TB_NEEDS_IN(2)};
