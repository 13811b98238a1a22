/*
 * Lowering of signal processing: STFT to frames, a window and DFT; windows and mel weights, which
 * are constants.
 */
#include <math.h>
#include <string.h>

#include "graph/lower_attention.h"

/* Signal [batch, length, 1 or 2] or, as onnxruntime takes it as well, [batch, length]; step,
 * window, frame length: frames [batch, frames, bins, 2]. */
void tb_lower_STFT(tb_call *c) {
    tb_value *signal = tb_call_in(c, 0);
    if (signal && signal->t.rank == 2)
        c->in[0] =
            tb_emit_reshape(c, signal, 3, (int64_t[]){signal->t.dims[0], signal->t.dims[1], 1});
    if (!tb_call_needs_rank(c, 0, 3)) return;
    const int64_t *step = tb_call_ints(c, tb_call_in(c, 1), 1, "its step"), *given = NULL;
    tb_value *window = tb_call_in(c, 2);
    int64_t samples = c->in[0]->t.dims[1], length = samples;
    if (tb_call_in(c, 3)) given = tb_call_ints(c, c->in[3], 1, "its frame length");
    if (c->status != TIBA_OK) return;
    if (window) length = tb_tensor_count(&window->t);
    if (given) length = *given;
    if (length < 1 || length > samples || *step < 1 ||
        (window && (window->t.rank != 1 || window->t.dims[0] != length))) {
        tb_call_fail(c, "frames of %lld samples do not fit its window or signal",
                     (long long)length);
        return;
    }
    int64_t frames = (samples - length) / *step + 1;
    tb_value *at;
    tiba_tensor *t = tb_emit_tensor(c, &at, TIBA_INT64, 2, (int64_t[]){frames, length});
    for (int64_t i = 0; t && i < frames * length; i++)
        tb_set_i64(t, i, i / length * *step + i % length);
    tb_value *x =
        tb_emit(c, TB_OP_Gather, 2, (tb_value *[]){c->in[0], at}, 1, &TB_INT_ATTR("axis", 1));
    if (window) {
        window = tb_emit_cast(c, window, TIBA_FLOAT32);
        x = tb_emit2(c, TB_OP_Mul, x, tb_emit_reshape(c, window, 2, (int64_t[]){length, 1}));
    }
    c->out[0] = tb_emit(c, TB_OP_DFT, 1, &x, 1,
                        &TB_INT_ATTR("onesided", tb_attr_int(c->node, "onesided", 1)));
}

/* ---- constants ------------------------------------------------------------------------------ */

/* a - b cos(2πk/n) + d cos(4πk/n), k < size; n is the size, less one if symmetric. */
static void window(tb_call *c, double a, double b, double d) {
    const int64_t *size = tb_call_ints(c, tb_call_in(c, 0), 1, "its size");
    if (!size) return;
    if (*size < 0) {
        tb_call_fail(c, "its size is %lld", (long long)*size);
        return;
    }
    double n = (double)(*size - !tb_attr_int(c->node, "periodic", 1)), pi = acos(-1);
    tiba_tensor *t = tb_emit_tensor(c, &c->out[0], TIBA_FLOAT32, 1, size);
    for (int64_t k = 0; t && k < *size; k++) {
        double turn = n > 0 ? 2 * pi * (double)k / n : 0;
        tb_set_f64(t, k, a - b * cos(turn) + d * cos(2 * turn));
    }
}

void tb_lower_HannWindow(tb_call *c) {
    window(c, 0.5, 0.5, 0);
}

void tb_lower_HammingWindow(tb_call *c) {
    window(c, 25.0 / 46, 21.0 / 46, 0);
}

void tb_lower_BlackmanWindow(tb_call *c) {
    window(c, 0.42, 0.5, 0.08);
}

static double mel(double hertz) {
    return 2595 * log10(1 + hertz / 700);
}

/* Mel bins, DFT length, sample rate, least and greatest frequency: triangles [bins, mel bins]. */
void tb_lower_MelWeightMatrix(tb_call *c) {
    double v[5];
    for (int i = 0; i < 5; i++) {
        const tb_value *in = tb_call_in(c, i);
        if (!in || !in->t.data || tb_tensor_count(&in->t) != 1) {
            tb_call_fail(c, "input %d must be a known number", i);
            return;
        }
        v[i] = tb_get_f64(&in->t, 0);
    }
    if (!(v[0] >= 1 && v[0] < 1e6 && v[1] >= 1 && v[1] < 1e9 && v[2] > 0)) {
        tb_call_fail(c, "its sizes are out of range");
        return;
    }
    int64_t bins = (int64_t)v[1] / 2 + 1, mels = (int64_t)v[0];
    int64_t *edges = TB_NEW(c->b->graph->arena, int64_t, mels + 2);
    if (!edges) {
        c->status = tb_out_of_memory(c->error);
        return;
    }
    double least = mel(v[3]), step = (mel(v[4]) - least) / (double)(mels + 2);
    for (int64_t i = 0; i < mels + 2; i++) {
        double hertz = 700 * (pow(10, (least + (double)i * step) / 2595) - 1);
        double bin = floor((v[1] + 1) * hertz / v[2]);
        edges[i] = bin < 0 ? 0 : bin < (double)bins ? (int64_t)bin : bins - 1;
    }
    tiba_tensor *t = tb_emit_tensor(c, &c->out[0], TIBA_FLOAT32, 2, (int64_t[]){bins, mels});
    for (int64_t m = 0; t && m < mels; m++) {
        int64_t low = edges[m], top = edges[m + 1], high = edges[m + 2];
        if (low == top) tb_set_f64(t, top * mels + m, 1);
        for (int64_t k = low; low != top && k <= top; k++)
            tb_set_f64(t, k * mels + m, (double)(k - low) / (double)(top - low));
        for (int64_t k = top; k < high; k++)
            tb_set_f64(t, k * mels + m, (double)(high - k) / (double)(high - top));
    }
}
