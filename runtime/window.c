#include "runtime/window.h"

#include <string.h>

/* Attributes come from files: with every number below 2^31 no product here overflows. */
enum { MOST = 0x7fffffff };

static tiba_status read_list(int64_t *out, const tb_node *node, const char *name, int expected,
                             int64_t least, tiba_error *error) {
    int64_t count;
    const int64_t *values = tb_attr_ints(node, name, &count);
    if (!values) return TIBA_OK;
    if (count != expected)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s has %lld entries, needs %d", name,
                            (long long)count, expected);
    for (int i = 0; i < expected; i++) {
        if (values[i] < least || values[i] > MOST)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s[%d] = %lld", name, i,
                                (long long)values[i]);
        out[i] = values[i];
    }
    return TIBA_OK;
}

typedef enum auto_pad { NOTSET, VALID, SAME_UPPER, SAME_LOWER } auto_pad;

/* What both directions share; the arrays that follow are by axis of the node, unshifted. */
typedef struct lists {
    int64_t pads[2 * TB_WINDOW_RANK];
    auto_pad mode;
    int shift; /* axis i of the node is axis shift + i of the window */
} lists;

static tiba_status read_attributes(tb_window *w, lists *l, const tb_node *node,
                                   const tiba_tensor *x, const int64_t *kernel, tiba_error *error) {
    int rank = x->rank - 2;
    if (rank < 1 || rank > TB_WINDOW_RANK)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "%d window axes: 1, 2 and 3 are supported", rank);
    *w = (tb_window){.rank = rank};
    *l = (lists){.shift = TB_WINDOW_RANK - rank};
    for (int i = 0; i < TB_WINDOW_RANK; i++) {
        int from = i - l->shift;
        w->in[i] = w->out[i] = from < 0 ? 1 : x->dims[2 + from];
        w->kernel[i] = from < 0 ? 1 : kernel[from];
        w->stride[i] = w->dilation[i] = 1;
        if (w->kernel[i] < 1 || w->kernel[i] > MOST || w->in[i] > MOST)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "window of %lld on an axis of %lld",
                                (long long)w->kernel[i], (long long)w->in[i]);
    }
    TB_TRY(read_list(w->stride + l->shift, node, "strides", rank, 1, error));
    TB_TRY(read_list(w->dilation + l->shift, node, "dilations", rank, 1, error));
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const char *mode = tb_attr_string(node, "auto_pad", names[NOTSET]);
    for (l->mode = NOTSET; l->mode <= SAME_LOWER; l->mode++)
        if (strcmp(mode, names[l->mode]) == 0) break;
    if (l->mode > SAME_LOWER)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "auto_pad = %s", mode);
    if (l->mode == NOTSET) TB_TRY(read_list(l->pads, node, "pads", 2 * rank, 0, error));
    return TIBA_OK;
}

/* From the first to the last element that a window covers. */
static int64_t extent(const tb_window *w, int axis) {
    return (w->kernel[axis] - 1) * w->dilation[axis] + 1;
}

tiba_status tb_window_plan(tb_window *w, const tb_node *node, const tiba_tensor *x,
                           const int64_t *kernel, tiba_error *error) {
    lists l;
    TB_TRY(read_attributes(w, &l, node, x, kernel, error));
    bool ceil_mode = tb_attr_int(node, "ceil_mode", 0) != 0;
    for (int i = 0; i < w->rank; i++) {
        int axis = l.shift + i;
        int64_t in = w->in[axis], stride = w->stride[axis], covered = extent(w, axis);
        if (l.mode == SAME_UPPER || l.mode == SAME_LOWER) {
            int64_t out = (in + stride - 1) / stride, pad = (out - 1) * stride + covered - in;
            if (pad < 0 || out == 0) pad = 0;
            w->begin[axis] = l.mode == SAME_UPPER ? pad / 2 : pad - pad / 2;
            w->end[axis] = pad - w->begin[axis];
            w->out[axis] = out;
            continue;
        }
        w->begin[axis] = l.pads[i];
        w->end[axis] = l.pads[w->rank + i];
        int64_t room = in + w->begin[axis] + w->end[axis] - covered;
        /* rounding up leaves one window for an axis that is shorter than it */
        if (room < 0 && !(ceil_mode && room > -stride))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "a window of %lld does not fit on an axis of %lld",
                                (long long)covered, (long long)in);
        int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
        /* with ceil_mode a window must still start before the padding behind the input */
        if (ceil_mode && out > 1 && (out - 1) * stride >= in + w->begin[axis]) out--;
        w->out[axis] = out;
    }
    return TIBA_OK;
}

tiba_status tb_window_plan_transposed(tb_window *w, const tb_node *node, const tiba_tensor *x,
                                      const int64_t *kernel, tiba_error *error) {
    lists l;
    TB_TRY(read_attributes(w, &l, node, x, kernel, error));
    int64_t shape[TB_WINDOW_RANK] = {0}, extra[TB_WINDOW_RANK] = {0}, count;
    bool sized = tb_attr_ints(node, "output_shape", &count) != NULL;
    TB_TRY(read_list(shape, node, "output_shape", w->rank, 0, error));
    TB_TRY(read_list(extra, node, "output_padding", w->rank, 0, error));
    for (int i = 0; i < w->rank; i++) {
        int axis = l.shift + i;
        int64_t stride = w->stride[axis], in = w->out[axis];
        int64_t full = in ? stride * (in - 1) + extra[i] + extent(w, axis) : 0, out;
        if (sized || l.mode >= SAME_UPPER) {
            out = sized ? shape[i] : in * stride;
            int64_t pad = full > out ? full - out : 0;
            w->begin[axis] = l.mode == SAME_UPPER ? pad / 2 : pad - pad / 2;
            w->end[axis] = pad - w->begin[axis];
        } else {
            w->begin[axis] = l.pads[i];
            w->end[axis] = l.pads[w->rank + i];
            out = full - w->begin[axis] - w->end[axis];
        }
        if (out < 0 || out > MOST)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "output size %lld on axis %d",
                                (long long)out, 2 + i);
        w->in[axis] = out;
    }
    return TIBA_OK;
}
