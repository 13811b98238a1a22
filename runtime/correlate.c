/* correlate.c: windows over single planes. See correlate.h. */
#include "runtime/correlate.h"

#include <string.h>

#include "runtime/lanes.h"

enum { MOST_TAPS = 64, MOST_SKIPPED = 4, MOST_FLOATS = 1 << 20, RUN = 4 * TB_LANES };

bool tb_correlate_fits(const tb_window *w) {
    int64_t skipped = 1, floats = 1;
    for (int i = 0; i < TB_WINDOW_RANK; i++) {
        if (w->begin[i] < 0 || w->end[i] < 0 || w->stride[i] > MOST_SKIPPED) return false;
        skipped *= w->stride[i];
        int64_t size =
            w->in[i] + w->begin[i] + w->end[i] + w->stride[i] + w->kernel[i] * w->dilation[i];
        if (size > MOST_FLOATS / floats) return false;
        floats *= size;
    }
    return skipped <= MOST_SKIPPED && tb_window_kernel(w) <= MOST_TAPS && tb_window_in(w) > 0 &&
           tb_window_out(w) > 0;
}

static int64_t frame_floats(const tb_correlate *c) {
    return c->frame[0] * c->frame[1] * c->frame[2] + RUN;
}

/* The frame of the sums is the padded plane's. */
static int64_t worker_floats(const tb_correlate *c) {
    return 2 * frame_floats(c);
}

bool tb_correlate_plan(tb_correlate *c, tb_exec *exec, const tb_window *w, bool transposed) {
    *c = (tb_correlate){.taps = tb_window_kernel(w), .flipped = transposed};
    int64_t last = 0;
    for (int i = 0; i < TB_WINDOW_RANK; i++) {
        int64_t reach = (w->kernel[i] - 1) * w->dilation[i];
        c->from[i] = transposed ? w->out[i] : w->in[i];
        c->to[i] = transposed ? w->in[i] : w->out[i];
        /* ceil_mode has windows that reach beyond the padding */
        int64_t padded = w->in[i] + w->begin[i] + w->end[i];
        int64_t windows = (w->out[i] - 1) * w->stride[i] + reach + 1;
        c->frame[i] = transposed ? w->in[i] + reach : windows > padded ? windows : padded;
        c->at[i] = transposed ? reach - w->begin[i] : w->begin[i];
        c->step[i] = transposed ? w->stride[i] : 1;
        c->skip[i] = transposed ? 1 : w->stride[i];
        last = last * c->frame[i] + (c->to[i] - 1) * c->skip[i];
    }
    c->span = last + 1;
    size_t workers = (size_t)tb_pool_threads(exec->pool);
    c->offsets = tb_scratch(exec, (size_t)c->taps, sizeof *c->offsets);
    c->weights = tb_scratch(exec, (size_t)c->taps * workers, sizeof *c->weights);
    c->frames = tb_scratch(exec, (size_t)worker_floats(c) * workers, sizeof *c->frames);
    if (!c->offsets || !c->weights || !c->frames) return false;
    for (int64_t tap = 0; tap < c->taps; tap++) {
        int64_t x = tap % w->kernel[2], y = tap / w->kernel[2] % w->kernel[1];
        int64_t z = tap / w->kernel[2] / w->kernel[1];
        c->offsets[tap] = (z * w->dilation[0] * c->frame[1] + y * w->dilation[1]) * c->frame[2] +
                          x * w->dilation[2];
    }
    return true;
}

/* The elements first … last-1 along an axis that have a place in the frame. */
static void placed(const tb_correlate *c, int axis, int64_t *first, int64_t *last) {
    int64_t at = c->at[axis], step = c->step[axis], room = c->frame[axis] - at;
    *first = at < 0 ? (-at + step - 1) / step : 0;
    *last = room > 0 ? (room + step - 1) / step : 0;
    if (*last > c->from[axis]) *last = c->from[axis];
    if (*last < *first) *last = *first;
}

static void fill_frame(const tb_correlate *c, float *frame, const float *from) {
    int64_t first[TB_WINDOW_RANK], last[TB_WINDOW_RANK];
    for (int i = 0; i < TB_WINDOW_RANK; i++) placed(c, i, &first[i], &last[i]);
    memset(frame, 0, (size_t)frame_floats(c) * sizeof *frame);
    for (int64_t z = first[0]; z < last[0]; z++)
        for (int64_t y = first[1]; y < last[1]; y++) {
            const float *in = from + (z * c->from[1] + y) * c->from[2];
            int64_t line = (c->at[0] + z * c->step[0]) * c->frame[1] + c->at[1] + y * c->step[1];
            float *out = frame + line * c->frame[2] + c->at[2];
            int64_t n = last[2] - first[2];
            if (c->step[2] == 1 && n > 0)
                memcpy(out + first[2], in + first[2], (size_t)n * sizeof *in);
            else
                for (int64_t x = first[2]; x < last[2]; x++) out[x * c->step[2]] = in[x];
        }
}

/* sums[i] = start + Σ weights[tap] frame[i + offsets[tap]], i < span; whole runs are written. */
TB_CLONES static void sum_taps(float *sums, const float *frame, const int64_t *offsets,
                               const float *weights, int64_t taps, float start, int64_t span) {
    for (int64_t i = 0; i < span; i += RUN) {
        tb_floats_16 s[RUN / TB_LANES];
        for (int k = 0; k < RUN / TB_LANES; k++) s[k] = (tb_floats_16){0} + start;
        for (int64_t tap = 0; tap < taps; tap++) {
            const float *x = frame + i + offsets[tap];
            for (int k = 0; k < RUN / TB_LANES; k++) {
                tb_floats_16 v;
                memcpy(&v, x + k * TB_LANES, sizeof v);
                s[k] += v * weights[tap];
            }
        }
        memcpy(sums + i, s, sizeof s);
    }
}

static void write_out(const tb_correlate *c, const float *sums, bool add, float *to) {
    for (int64_t z = 0; z < c->to[0]; z++)
        for (int64_t y = 0; y < c->to[1]; y++) {
            int64_t line = z * c->skip[0] * c->frame[1] + y * c->skip[1];
            const float *in = sums + line * c->frame[2];
            float *out = to + (z * c->to[1] + y) * c->to[2];
            if (add)
                for (int64_t x = 0; x < c->to[2]; x++) out[x] += in[x * c->skip[2]];
            else if (c->skip[2] == 1)
                memcpy(out, in, (size_t)c->to[2] * sizeof *in);
            else
                for (int64_t x = 0; x < c->to[2]; x++) out[x] = in[x * c->skip[2]];
        }
}

void tb_correlate_run(const tb_correlate *c, int worker, const float *from, const float *weight,
                      float start, bool add, float *to) {
    float *weights = c->weights + worker * c->taps;
    float *frame = c->frames + worker * worker_floats(c), *sums = frame + frame_floats(c);
    for (int64_t tap = 0; tap < c->taps; tap++)
        weights[tap] = weight ? weight[c->flipped ? c->taps - 1 - tap : tap] : 1.f;
    fill_frame(c, frame, from);
    sum_taps(sums, frame, c->offsets, weights, c->taps, start, c->span);
    write_out(c, sums, add, to);
}
