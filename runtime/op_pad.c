/*
 * Pad: inputs data, pads (begins, then ends; negative ones cut off), value, axes. Constant padding
 * is a walk into a filled array; reflect, edge and wrap are look-ups through one index map per
 * axis.
 */
#include <inttypes.h>
#include <string.h>

#include "runtime/move.h"
#include "runtime/places.h"

typedef struct padding {
    int64_t before[TIBA_MAX_RANK], after[TIBA_MAX_RANK];
} padding;

typedef enum pad_mode { CONSTANT, REFLECT, EDGE, WRAP, MODES } pad_mode;

static const char *const mode_names[MODES] = {"constant", "reflect", "edge", "wrap"};

static pad_mode mode_of(const tb_node *node) {
    const char *name = tb_attr_string(node, "mode", "constant");
    int i = 0;
    while (i < MODES && strcmp(name, mode_names[i]) != 0) i++;
    return (pad_mode)i;
}

static tiba_status read_padding(padding *p, const tb_node *node, tiba_error *error) {
    int rank = node->in[0]->t.rank, axes[TIBA_MAX_RANK], n_axes, n_pads;
    int64_t pads[2 * TIBA_MAX_RANK];
    TB_TRY(tb_read_ints(pads, &n_pads, 2 * TIBA_MAX_RANK, node, 1, "pads", error));
    TB_TRY(tb_read_axes(axes, &n_axes, rank, node, 3, error));
    if (n_pads != 2 * n_axes)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%d pads for %d axes", n_pads, n_axes);
    *p = (padding){{0}, {0}};
    for (int i = 0; i < n_axes; i++) {
        p->before[axes[i]] = pads[i];
        p->after[axes[i]] = pads[n_axes + i];
    }
    return TIBA_OK;
}

/* What negative pads leave of an axis: [*low, *high). */
static void kept(const padding *p, int axis, int64_t size, int64_t *low, int64_t *high) {
    *low = p->before[axis] < 0 ? -p->before[axis] : 0;
    *high = p->after[axis] < 0 ? size + p->after[axis] : size;
}

static tiba_status pad_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    const tb_value *value = tb_node_in(node, 2);
    pad_mode mode = mode_of(node);
    padding p;
    TB_TRY(read_padding(&p, node, error));
    if (mode == MODES)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "mode '%.40s' is not supported",
                            tb_attr_string(node, "mode", "constant"));
    if (value && (value->t.dtype != x->dtype || tb_tensor_count(&value->t) != 1))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its value is not one element of its data's type");
    int64_t dims[TIBA_MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        int64_t n = x->dims[i], low, high;
        bool sound = p.before[i] >= -n && p.after[i] >= -n &&
                     tb_i64_add(&dims[i], n, p.before[i]) &&
                     tb_i64_add(&dims[i], dims[i], p.after[i]) && dims[i] >= 0;
        if (sound) {
            kept(&p, i, n, &low, &high);
            sound = mode == CONSTANT || low < high || dims[i] == 0;
        }
        if (!sound)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "pads %" PRId64 " and %" PRId64
                                " do not fit axis %d of size %" PRId64,
                                p.before[i], p.after[i], i, n);
    }
    return tb_set_out(node, 0, x->dtype, x->rank, dims, error);
}

/* Constant mode: the part of the data that stays, and where it goes. */
static tb_move inner_move(const padding *p, const tiba_tensor *in, const tiba_tensor *out) {
    int64_t from[TIBA_MAX_RANK], to[TIBA_MAX_RANK];
    tb_strides(from, in->rank, in->dims);
    tb_strides(to, out->rank, out->dims);
    tb_move move = {0};
    for (int i = 0; i < in->rank; i++) {
        int64_t low, high;
        kept(p, i, in->dims[i], &low, &high);
        tb_walk_axis(&move.walk, high - low, to[i], from[i]);
        move.from += low * from[i];
        move.to += (p->before[i] > 0 ? p->before[i] : 0) * to[i];
    }
    return move;
}

static void fill(tb_exec *exec, tiba_tensor *out, const tiba_tensor *value) {
    if (!value) {
        tb_zero(out);
        return;
    }
    tb_walk walk = {0};
    tb_walk_axis(&walk, tb_tensor_count(out), 1, 0);
    tb_walk_copy(exec, &walk, tb_dtype_size(out->dtype), out->data, value->data);
}

static int64_t remainder_of(int64_t value, int64_t divisor) {
    int64_t r = value % divisor;
    return r < 0 ? r + divisor : r;
}

/* The index in [0, n) that an index beyond it stands for. */
static int64_t mirrored(pad_mode mode, int64_t i, int64_t n) {
    if (mode == EDGE) return i < 0 ? 0 : i >= n ? n - 1 : i;
    if (mode == WRAP) return remainder_of(i, n);
    if (n == 1) return 0;
    i = remainder_of(i, 2 * (n - 1));
    return i < n ? i : 2 * (n - 1) - i;
}

/* Offsets by one map per axis of out; maps[axis] gives offsets in the data. */
static void mapped_offsets(const tb_places *p, int64_t first, int64_t n, int64_t *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = first + i, offset = 0;
        const int64_t *map = p->maps;
        for (int axis = p->rank - 1; axis >= 0; axis--) {
            offset += map[rest % p->dims[axis]];
            rest /= p->dims[axis];
            map += p->dims[axis];
        }
        out[i] = offset;
    }
}

/* Trailing axes without padding make one block; the maps of the others stand last axis first. */
static bool mapped_places(tb_places *places, tb_exec *exec, pad_mode mode, const padding *p,
                          const tiba_tensor *in, const tiba_tensor *out) {
    int rank = in->rank, leading = 0;
    while (rank > 0 && p->before[rank - 1] == 0 && p->after[rank - 1] == 0) rank--;
    *places = (tb_places){.blocks = tb_product(out->dims, 0, rank),
                          .length = tb_product(out->dims, rank, out->rank),
                          .groups = 1,
                          .offsets = mapped_offsets,
                          .rank = rank};
    size_t entries = 0;
    for (int i = 0; i < rank; i++) {
        places->dims[i] = out->dims[i];
        if (p->before[i] == 0 && p->after[i] == 0 && leading == i) {
            places->groups *= out->dims[i];
            leading++;
        }
        if (!tb_size_add(&entries, entries, (size_t)out->dims[i])) return false;
    }
    int64_t *map = tb_scratch(exec, entries, sizeof *map), strides[TIBA_MAX_RANK];
    if (!map) return false;
    places->maps = map;
    tb_strides(strides, in->rank, in->dims);
    for (int axis = rank - 1; axis >= 0; axis--) {
        int64_t low, high;
        kept(p, axis, in->dims[axis], &low, &high);
        for (int64_t i = 0; i < out->dims[axis]; i++) {
            int64_t from = i - (p->before[axis] > 0 ? p->before[axis] : 0);
            *map++ = (low + mirrored(mode, from, high - low)) * strides[axis];
        }
    }
    return true;
}

static tiba_status pad_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    padding p;
    TB_TRY(read_padding(&p, node, error));
    if (mode_of(node) == CONSTANT) {
        tb_move move = inner_move(&p, in[0], out[0]);
        fill(exec, out[0], tb_kernel_in(node, in, 2));
        tb_move_forward(exec, &move, in[0], out[0]);
        return TIBA_OK;
    }
    tb_places places;
    if (!mapped_places(&places, exec, mode_of(node), &p, in[0], out[0]))
        return tb_out_of_memory(error);
    tb_places_gather(exec, &places, tb_dtype_size(out[0]->dtype), out[0]->data, in[0]->data);
    return TIBA_OK;
}

/* The padding value's gradient: the sum over all that is not data. */
static tiba_status value_vjp(tb_exec *exec, const tb_move *move, const tiba_tensor *dout,
                             tiba_tensor *din, tiba_error *error) {
    int64_t count = tb_tensor_count(dout);
    float *copy = tb_scratch(exec, (size_t)count, sizeof *copy), zero = 0;
    if (!copy) return tb_out_of_memory(error);
    memcpy(copy, dout->data, tb_tensor_bytes(dout));
    tb_walk erase = move->walk;
    memset(erase.from, 0, sizeof erase.from);
    tb_walk_copy(exec, &erase, sizeof zero, copy + move->to, &zero);
    *(float *)din->data = (float)tb_sum(copy, count);
    return TIBA_OK;
}

static tiba_status pad_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                           const tiba_tensor *const *out, const tiba_tensor *const *dout,
                           tiba_tensor *const *din, tiba_error *error) {
    tiba_tensor *dvalue = node->n_in > 2 ? din[2] : NULL;
    if (din[0]) tb_zero(din[0]);
    if (dvalue) tb_zero(dvalue);
    if (!dout[0]) return TIBA_OK;
    padding p;
    TB_TRY(read_padding(&p, node, error));
    if (mode_of(node) == CONSTANT) {
        tb_move move = inner_move(&p, in[0], out[0]);
        if (din[0]) tb_move_vjp(exec, &move, dout[0], din[0]);
        return dvalue ? value_vjp(exec, &move, dout[0], dvalue, error) : TIBA_OK;
    }
    tb_places places;
    if (!mapped_places(&places, exec, mode_of(node), &p, in[0], out[0]))
        return tb_out_of_memory(error);
    if (din[0]) tb_places_add(exec, &places, din[0]->data, dout[0]->data);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Pad = {.shape = pad_shape, .forward = pad_forward, .vjp = pad_vjp};
