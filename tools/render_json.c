/*
 * render_json.c: the report for programs, as docs/explanation.schema.json describes it. Numbers are
 * written so that they read back as the same float32 or float64.
 */
#include <math.h>
#include <string.h>

#include "io/json.h"
#include "io/json_write.h"
#include "tools/render.h"
#include "tools/trust.h"

enum { FORMAT_VERSION = 1, MOST_SCORES = 10 };

/* Names from files may be no UTF-8; what is none becomes '?'. */
static void put_text(tb_json_writer *w, const char *key, const char *text, size_t size) {
    size_t bad;
    if (tb_utf8_valid(text, size, &bad)) {
        tb_json_write_text(w, key, text, size);
        return;
    }
    tb_json_writer clean = {0};
    while (size > 0 && !tb_utf8_valid(text, size, &bad)) {
        tb_json_write_raw(&clean, text, bad);
        tb_json_write_raw(&clean, "?", 1);
        text += bad + 1;
        size -= bad + 1;
    }
    tb_json_write_raw(&clean, text, size);
    if (clean.failed) w->failed = true;
    tb_json_write_text(w, key, clean.failed ? "" : clean.data, clean.failed ? 0 : clean.size);
    tb_json_writer_free(&clean);
}

static void put(tb_json_writer *w, const char *key, const char *text) {
    put_text(w, key, text, strlen(text));
}

static void put_floats(tb_json_writer *w, const char *key, const float *x, int64_t n) {
    tb_json_open(w, key, '[');
    for (int64_t i = 0; i < n; i++) tb_json_write_number(w, NULL, (double)x[i]);
    tb_json_close(w, ']');
}

static void put_range(tb_json_writer *w, double low, double high) {
    tb_json_open(w, "range", '[');
    tb_json_write_number(w, NULL, low);
    tb_json_write_number(w, NULL, high);
    tb_json_close(w, ']');
}

static tiba_status put_model(tb_json_writer *w, const char *key, tb_subject *subject,
                             tiba_error *error) {
    tiba_model_facts facts = tiba_model_about(subject->model);
    TB_TRY(tb_subject_digests(subject, error));
    tb_json_open(w, key, '{');
    put(w, "path", subject->path);
    put(w, "sha256", subject->digests[0].sha256);
    tb_json_open(w, "external_data", '[');
    for (int i = 1; i < subject->n_digests; i++) {
        tb_json_open(w, NULL, '{');
        put(w, "location", subject->digests[i].file);
        put(w, "sha256", subject->digests[i].sha256);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    put(w, "producer", facts.producer);
    tb_json_write_integer(w, "ir_version", facts.ir_version);
    tb_json_open(w, "opsets", '[');
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        tb_json_open(w, NULL, '{');
        put(w, "domain", tiba_model_opset(subject->model, i, &version));
        tb_json_write_integer(w, "version", version);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_write_integer(w, "parameters", facts.parameters);
    tb_json_close(w, '}');
    return TIBA_OK;
}

static void put_inputs(tb_json_writer *w, const tb_sample *sample) {
    tb_json_open(w, "inputs", '{');
    if (sample->picture_path) {
        tb_json_open(w, "picture", '{');
        put(w, "path", sample->picture_path);
        put(w, "input", sample->image_input);
        tb_json_write_integer(w, "width", sample->picture.width);
        tb_json_write_integer(w, "height", sample->picture.height);
        tb_json_close(w, '}');
    } else {
        tb_json_write_null(w, "picture");
    }
    tb_json_open(w, "texts", '[');
    for (int i = 0; i < sample->n_texts; i++) put(w, NULL, sample->texts[i]);
    tb_json_close(w, ']');
    tb_json_open(w, "arrays", '[');
    for (int i = 0; i < sample->n_feeds; i++) {
        const tiba_feed *feed = &sample->feeds[i];
        tb_json_open(w, NULL, '{');
        put(w, "name", feed->name);
        tb_json_open(w, "shape", '[');
        for (int d = 0; d < feed->tensor.rank; d++)
            tb_json_write_integer(w, NULL, feed->tensor.dims[d]);
        tb_json_close(w, ']');
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_close(w, '}');
}

static void put_scores(tb_json_writer *w, const tb_report *r) {
    tb_json_open(w, "scores", '[');
    for (int s = 0; s < r->n_samples; s++) {
        const tb_scores *scores = &r->scores[s];
        int64_t most = r->kind == TB_KIND_PAIRS ? scores->n : MOST_SCORES;
        tb_json_open(w, NULL, '[');
        for (int64_t i = 0; i < most && i < scores->n; i++) {
            int64_t k = scores->order[i];
            tb_json_open(w, NULL, '{');
            tb_json_write_integer(w, "index", k);
            put(w, "label", tb_report_label(r, k));
            tb_json_write_number(w, "logit", scores->logit[k]);
            tb_json_write_number(w, "probability",
                                 scores->probability ? scores->probability[k] : NAN);
            tb_json_close(w, '}');
        }
        tb_json_close(w, ']');
    }
    tb_json_close(w, ']');
}

static void put_target(tb_json_writer *w, const tb_report *r, const tb_view *v) {
    tb_json_open(w, "target", '{');
    put(w, "output", tiba_model_output(r->subject->model, v->target.output).name);
    if (v->target.rank || r->kind == TB_KIND_REGRESSION) {
        tb_json_open(w, "index", '[');
        for (int d = 0; d < v->target.rank; d++) tb_json_write_integer(w, NULL, v->target.index[d]);
        tb_json_close(w, ']');
    } else {
        tb_json_write_null(w, "index");
    }
    put(w, "label", v->label);
    tb_json_write_number(w, "logit", v->logit);
    tb_json_write_number(w, "probability", v->probability);
    if (v->other && r->kind == TB_KIND_PAIRS)
        put(w, "contrast", v->other->text);
    else
        tb_json_write_null(w, "contrast");
    tb_json_close(w, '}');
}

static void put_grid(tb_json_writer *w, int64_t rows, int64_t columns, const float *grid) {
    float low, high;
    tb_heatmap_range(&low, &high, grid, (size_t)(rows * columns));
    tb_json_write_integer(w, "rows", rows);
    tb_json_write_integer(w, "columns", columns);
    tb_json_open(w, "values", '[');
    for (int64_t y = 0; y < rows; y++) put_floats(w, NULL, grid + y * columns, columns);
    tb_json_close(w, ']');
    put_range(w, (double)low, (double)high);
}

static void put_check(tb_json_writer *w, const tb_check *c) {
    if (!c) {
        tb_json_write_null(w, "check");
        return;
    }
    tb_json_open(w, "check", '{');
    put(w, "removes", c->what);
    put(w, "text", c->text);
    if (c->refusal) {
        put(w, "refused", c->refusal);
    } else {
        tb_json_write_integer(w, "parts", c->parts);
        tb_json_write_integer(w, "removed", c->removed);
        tb_json_write_number(w, "before", c->before);
        tb_json_write_number(w, "after", c->after);
        tb_json_write_integer(w, "draws", TB_TRUST_DRAWS);
        tb_json_write_number(w, "random_mean", c->random_mean);
        tb_json_write_number(w, "random_least", c->random_least);
        tb_json_write_integer(w, "draws_lower", c->lower);
    }
    tb_json_close(w, '}');
}

void tb_render_json_trust(tb_json_writer *w, const tb_view *v, const tb_view_tower *vt) {
    const tiba_tower *t = vt->tower;
    double in = v->carries ? t->relevance_in[vt->at] : NAN;
    tb_json_open(w, "conservation", '{');
    tb_json_write_number(w, "target", 1.0);
    tb_json_write_number(w, "readout", in);
    tb_json_write_number(w, "residual", 1.0 - in);
    tb_json_close(w, '}');
    tb_json_write_integer(w, "not_finite", t->not_finite[vt->at]);
    put_check(w, vt->check);
}

/* Where each token comes from: null for a class token and the like. */
static void put_origins(tb_json_writer *w, const tiba_tower *t) {
    if (!t->origins) {
        tb_json_write_null(w, "origins");
        return;
    }
    tb_json_open(w, "origins", '[');
    for (int64_t i = 0; i < t->tokens; i++) {
        if (!t->origins[i]) {
            tb_json_write_null(w, NULL);
            continue;
        }
        tb_json_open(w, NULL, '{');
        put(w, "input", t->origins[i]);
        if (t->places[i] >= 0)
            tb_json_write_integer(w, "place", t->places[i]);
        else
            tb_json_write_null(w, "place");
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void put_tower(tb_json_writer *w, const tb_view *v, const tb_view_tower *vt) {
    const tiba_tower *t = vt->tower;
    tb_json_open(w, NULL, '{');
    put(w, "input", t->input);
    tb_json_write_integer(w, "sample", t->sample[vt->at]);
    tb_json_write_integer(w, "tokens", t->tokens);
    tb_json_write_integer(w, "attentions", t->n_blocks);
    put_floats(w, "relevance", t->relevance + vt->at * t->tokens, t->tokens);
    put_floats(w, "readout", t->readout + vt->at * t->readout_tokens, t->readout_tokens);
    put_origins(w, t);
    tb_render_json_trust(w, v, vt);
    if (t->rows) {
        tb_json_open(w, "grid", '{');
        tb_json_write_integer(w, "prefix_tokens", t->prefix);
        put_grid(w, t->rows, t->columns, tb_patch_grid(t, vt->at));
        tb_json_close(w, '}');
    } else {
        tb_json_write_null(w, "grid");
    }
    tb_json_close(w, '}');
}

static void put_place(tb_json_writer *w, tb_offsets at, tb_offsets at_utf8) {
    tb_json_write_integer(w, "start", at.start);
    tb_json_write_integer(w, "end", at.end);
    tb_json_write_integer(w, "start_utf8", at_utf8.start);
    tb_json_write_integer(w, "end_utf8", at_utf8.end);
}

static void put_words(tb_json_writer *w, const char *key, const tb_words *words) {
    if (!words) {
        tb_json_write_null(w, key);
        return;
    }
    tb_json_open(w, key, '{');
    put(w, "text", words->text);
    put_range(w, words->low, words->high);
    tb_json_open(w, "words", '[');
    for (int i = 0; i < words->n_words; i++) {
        const tb_word *word = &words->words[i];
        tb_json_open(w, NULL, '{');
        put_text(w, "word", word->text.data, word->text.size);
        put_place(w, word->at, word->at_utf8);
        tb_json_write_number(w, "value", word->value);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_open(w, "tokens", '[');
    for (int i = 0; i < words->n_tokens; i++) {
        const tb_token_value *t = &words->tokens[i];
        tb_json_open(w, NULL, '{');
        put_text(w, "token", t->text.data, t->text.size);
        tb_json_write_integer(w, "id", t->id);
        put_place(w, t->at, t->at_utf8);
        tb_json_write_bool(w, "special", t->special);
        if (t->word >= 0)
            tb_json_write_integer(w, "word", t->word);
        else
            tb_json_write_null(w, "word");
        tb_json_write_number(w, "value", t->value);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_close(w, '}');
}

static void put_views(tb_json_writer *w, const tb_report *r) {
    tb_json_open(w, "explanations", '[');
    for (int i = 0; i < r->n_views; i++) {
        const tb_view *v = &r->views[i];
        tb_json_open(w, NULL, '{');
        put_target(w, r, v);
        tb_json_open(w, "towers", '[');
        for (int t = 0; t < v->n_towers; t++) put_tower(w, v, &v->towers[t]);
        tb_json_close(w, ']');
        put(w, "trust", v->trust ? v->trust : "");
        put_words(w, "text", v->words);
        put_words(w, "other_text", v->other);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void put_table(tb_json_writer *w, const tb_report *r) {
    tb_json_open(w, "table", '[');
    for (int i = 0; i < r->n_rows; i++) {
        const tb_table_row *row = &r->rows[i];
        const tiba_tower *image = r->views[0].image;
        tb_json_open(w, NULL, '{');
        put_text(w, "word", row->word->text.data, row->word->text.size);
        put_place(w, row->word->at, row->word->at_utf8);
        put(w, "without", row->without);
        tb_json_write_number(w, "share", row->share);
        if (image) put_grid(w, image->rows, image->columns, row->grid);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void put_timings(tb_json_writer *w, const tb_report *r) {
    tb_json_open(w, "timings", '{');
    for (int i = 0; i < TB_TIMES; i++)
        tb_json_write_number(w, tb_time_names[i], r->times.seconds[i]);
    tb_json_write_integer(w, "repeats", r->repeats);
    tb_json_close(w, '}');
}

static void put_work(tb_json_writer *w, const tiba_profile_row *row) {
    tb_json_write_number(w, "seconds", row->seconds);
    tb_json_write_number(w, "gflop", 1e-9 * row->flop);
    tb_json_write_number(w, "bytes", row->bytes);
}

static void put_profile(tb_json_writer *w, const tb_report *r) {
    const tb_profile_report *p = r->profile;
    if (!p) return;
    tb_json_open(w, "profile", '{');
    tb_json_open(w, "phases", '[');
    for (int i = 0; i < TB_TIMES; i++) {
        tiba_profile_row total = tb_profile_total(p, tb_time_names[i]);
        total.seconds = r->times.seconds[i];
        tb_json_open(w, NULL, '{');
        put(w, "phase", tb_time_names[i]);
        put_work(w, &total);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_open(w, "operators", '[');
    for (int i = 0; i < p->n_rows; i++) {
        const tiba_profile_row *row = &p->rows[i];
        tb_json_open(w, NULL, '{');
        put(w, "phase", row->phase);
        put(w, "domain", row->domain);
        put(w, "operator", row->op);
        tb_json_write_integer(w, "calls", row->calls);
        put_work(w, row);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_close(w, '}');
}

static tiba_status write_all(tb_json_writer *w, const tb_report *r, tiba_error *error) {
    tb_json_open(w, NULL, '{');
    tb_json_write_integer(w, "version", FORMAT_VERSION);
    tb_json_open(w, "generator", '{');
    put(w, "name", "tiba-onnx");
    put(w, "version", tiba_version());
    tb_json_close(w, '}');
    TB_TRY(put_model(w, "model", r->subject, error));
    if (r->subject->partner) TB_TRY(put_model(w, "text_model", r->subject->partner, error));
    put_inputs(w, r->sample);
    tb_json_open(w, "method", '{');
    put(w, "name", r->method);
    put(w, "rollout", r->rollout);
    tb_json_write_integer(w, "start_layer", r->start_layer);
    tb_json_write_bool(w, "signed", r->keeps_sign);
    tb_json_close(w, '}');
    put(w, "kind", tb_kind_name(r->kind));
    put_scores(w, r);
    put_views(w, r);
    put_table(w, r);
    put_timings(w, r);
    put_profile(w, r);
    tb_json_open(w, "notes", '[');
    for (int i = 0; i < r->n_notes; i++) put(w, NULL, r->notes[i]);
    tb_json_close(w, ']');
    tb_json_close(w, '}');
    tb_json_write_raw(w, "\n", 1);
    return TIBA_OK;
}

tiba_status tb_render_json(char **out, size_t *size, const tb_report *r, tiba_error *error) {
    tb_json_writer w = {0};
    tiba_status status = write_all(&w, r, error);
    if (status == TIBA_OK && w.failed) status = tb_out_of_memory(error);
    *out = status == TIBA_OK ? tb_arena_strndup(r->arena, w.data, w.size) : NULL;
    *size = w.size;
    tb_json_writer_free(&w);
    return status == TIBA_OK && !*out ? tb_out_of_memory(error) : status;
}
