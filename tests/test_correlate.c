/*
 * test_correlate.c: windows over planes against sums word by word, and the transpose as what makes
 * ⟨y, A x⟩ = ⟨Aᵀ y, x⟩; strides, dilations, paddings, one to three axes, windows that reach beyond
 * the padding (ceil_mode), added to what is there; nothing is written beside the plane.
 */
#include <stdlib.h>

#include "runtime/correlate.h"
#include "tests/check.h"
#include "tests/support.h"

static const struct {
    int64_t in, kernel, stride, dilation, begin, end;
    bool ceil;
} axes[] = {
    {1, 1, 1, 1, 0, 0, false}, {7, 3, 1, 1, 1, 1, false},  {14, 2, 2, 1, 0, 0, false},
    {5, 3, 2, 1, 1, 0, true},  {9, 4, 1, 2, 3, 3, false},  {8, 3, 2, 3, 0, 4, false},
    {3, 1, 2, 1, 0, 0, false}, {70, 5, 1, 1, 2, 2, false}, {2, 3, 4, 1, 4, 5, false},
};
enum { N_AXES = sizeof axes / sizeof *axes, GUARD = 3 };

static bool window_of(tb_window *w, const int which[TB_WINDOW_RANK]) {
    *w = (tb_window){.rank = TB_WINDOW_RANK};
    for (int i = 0; i < TB_WINDOW_RANK; i++) {
        w->in[i] = axes[which[i]].in, w->kernel[i] = axes[which[i]].kernel;
        w->stride[i] = axes[which[i]].stride, w->dilation[i] = axes[which[i]].dilation;
        w->begin[i] = axes[which[i]].begin, w->end[i] = axes[which[i]].end;
        int64_t room = w->in[i] + w->begin[i] + w->end[i] - (w->kernel[i] - 1) * w->dilation[i] - 1;
        w->out[i] = (room + (axes[which[i]].ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
    }
    return tb_correlate_fits(w);
}

/* The input element that a window's tap reads at an output, -1 for padding. */
static int64_t element_of(const tb_window *w, int64_t o, int64_t tap) {
    int64_t index = 0, at_o[TB_WINDOW_RANK], at_tap[TB_WINDOW_RANK];
    for (int i = TB_WINDOW_RANK - 1; i >= 0; i--) {
        at_o[i] = o % w->out[i], o /= w->out[i];
        at_tap[i] = tap % w->kernel[i], tap /= w->kernel[i];
    }
    for (int i = 0; i < TB_WINDOW_RANK; i++) {
        int64_t x = at_o[i] * w->stride[i] + at_tap[i] * w->dilation[i] - w->begin[i];
        if (x < 0 || x >= w->in[i]) return -1;
        index = index * w->in[i] + x;
    }
    return index;
}

static float *random_floats(int64_t n, uint64_t *state) {
    float *x = malloc((size_t)(n + 2 * GUARD) * sizeof *x);
    if (!x) abort();
    for (int64_t i = 0; i < n + 2 * GUARD; i++) x[i] = (float)(2 * test_uniform(state) - 1);
    return x;
}

/* `got`, guards around it, was `before`. */
static void compare(const float *got, const float *before, const double *want, int64_t n,
                    const char *what) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)got[GUARD + i] - want[i]));
    CHECK_CASE(worst < 1e-5, "%s: %g", what, worst);
    bool kept = memcmp(got, before, GUARD * sizeof *got) == 0 &&
                memcmp(got + GUARD + n, before + GUARD + n, GUARD * sizeof *got) == 0;
    CHECK_CASE(kept, "%s: written beside", what);
}

static void try_window(tb_exec *exec, const tb_window *w, uint64_t *state) {
    int64_t n_in = tb_window_in(w), n_out = tb_window_out(w), taps = tb_window_kernel(w);
    float *weight = random_floats(taps, state);
    double *want = calloc((size_t)(n_in + n_out), sizeof *want);
    if (!want) abort();
    for (int way = 0; way < 8; way++) {
        bool transposed = way & 1, add = way & 2, ones = way & 4;
        int64_t n_from = transposed ? n_out : n_in, n_to = transposed ? n_in : n_out;
        float *from = random_floats(n_from, state), *to = random_floats(n_to, state);
        float *before = random_floats(n_to, state);
        memcpy(before, to, (size_t)(n_to + 2 * GUARD) * sizeof *to);
        for (int64_t i = 0; i < n_to; i++) want[i] = 0.25 + (add ? (double)to[GUARD + i] : 0);
        for (int64_t o = 0; o < n_out; o++)
            for (int64_t tap = 0; tap < taps; tap++) {
                int64_t e = element_of(w, o, tap);
                double by = ones ? 1 : (double)weight[tap];
                if (e >= 0) want[transposed ? e : o] += by * (double)from[transposed ? o : e];
            }
        tb_correlate c;
        CHECK(tb_correlate_plan(&c, exec, w, transposed));
        tb_correlate_run(&c, 0, from, ones ? NULL : weight, 0.25f, add, to + GUARD);
        compare(to, before, want, n_to, transposed ? "transposed" : "forward");
        tb_scratch_reset(exec);
        free(from), free(to), free(before);
    }
    free(weight), free(want);
}

int main(void) {
    uint64_t state = 11;
    tb_exec exec = {0};
    int tried = 0;
    for (int which = 0; which < N_AXES * N_AXES * N_AXES; which++) {
        tb_window w;
        int at[TB_WINDOW_RANK] = {which % N_AXES, which / N_AXES % N_AXES, which / N_AXES / N_AXES};
        if (tb_window_kernel(&(tb_window){
                .kernel = {axes[at[0]].kernel, axes[at[1]].kernel, axes[at[2]].kernel}}) > 20 ||
            !window_of(&w, at) || tb_window_in(&w) > 2000)
            continue;
        tried++;
        try_window(&exec, &w, &state);
    }
    CHECK_CASE(tried > 100, "%d", tried);
    tb_window pads = {.rank = 1, .in = {1, 1, 9}, .out = {1, 1, 6}, .kernel = {1, 1, 3}};
    for (int i = 0; i < TB_WINDOW_RANK; i++) pads.stride[i] = pads.dilation[i] = 1;
    pads.begin[2] = -1;
    CHECK(!tb_correlate_fits(&pads));
    pads.begin[2] = 0, pads.out[2] = 7;
    CHECK(tb_correlate_fits(&pads));
    pads.stride[1] = pads.stride[2] = 3;
    CHECK(!tb_correlate_fits(&pads));
    tb_scratch_free(&exec);
    TEST_END();
}
