/*
 * inspect_inputs.c: inputs for a model of which only the file is there.
 */
#include <string.h>

#include "tools/inspect.h"

enum { MOST_DIMS = 64, LONGEST_TEXT = 400 };

/* What the attempts differ in: the length of open axes, and the id that a text ends in. The long
 * ones are for samples of a sound: a text's masks would be their squares. */
static const struct {
    int64_t length, last_id;
} attempts[] = {{16, 1}, {16, 2},  {16, 0},   {16, 3},   {3, 1},
                {64, 1}, {400, 1}, {4000, 1}, {16000, 1}};

/* Sizes of symbolic dimensions by name: one name is one size, whichever input has it. */
typedef struct sizes {
    const tb_subject *subject;
    int64_t length;
    int n;
    const char *names[MOST_DIMS];
    int64_t values[MOST_DIMS];
} sizes;

static int64_t *find_size(sizes *s, const char *name, size_t n) {
    for (int i = 0; i < s->n; i++)
        if (strlen(s->names[i]) == n && strncmp(s->names[i], name, n) == 0) return &s->values[i];
    return NULL;
}

static bool is_float(tiba_dtype dtype) {
    return tb_dtype_is_float(dtype);
}

/* The side of a picture: as the folder's preprocessing has it, else the usual one. */
static int64_t side(const tb_subject *subject, bool height) {
    tb_preprocess how;
    tiba_error ignored;
    if (tb_preprocess_load(&how, subject->arena, subject->folder, 224, 224, &ignored) != TIBA_OK)
        return 224;
    int64_t size = height ? (how.crop ? how.crop_height : how.height)
                          : (how.crop ? how.crop_width : how.width);
    return size > 0 ? size : 224;
}

/* A dimension that nothing is known of. */
static int64_t usual_size(const sizes *s, const tiba_port *port, int d) {
    bool past = strncmp(port->name, "past", 4) == 0 || strstr(port->dim_names[d], "past");
    if (d == 0) return 1;
    if (is_float(port->dtype) && past && port->rank >= 4) return 0;
    if (port->rank != 4 || !is_float(port->dtype)) return s->length;
    bool last = port->dims[3] > 0 && port->dims[3] <= 4;
    if (d == (last ? 3 : 1)) return 3;
    return side(s->subject, d == (last ? 1 : 2));
}

/* One part of a sum: a number or the name of a size that is known. False if it is neither. */
static bool add_part(sizes *s, const char *part, size_t n, int64_t *sum) {
    const int64_t *known = find_size(s, part, n);
    int64_t value = 0;
    if (!known && (n == 0 || n > 9 || strspn(part, "0123456789") < n)) return false;
    for (size_t i = 0; !known && i < n; i++) value = value * 10 + (part[i] - '0');
    *sum += known ? *known : value;
    return true;
}

/* Sums such as "past_sequence_length + sequence_length" follow from their parts. */
static int64_t size_of(sizes *s, const tiba_port *port, int d) {
    if (port->dims[d] >= 0) return port->dims[d];
    const char *name = port->dim_names[d];
    int64_t sum = 0;
    bool known = name[0] != '\0';
    for (const char *at = name; known && *at;) {
        const char *plus = strstr(at, " + ");
        size_t n = plus ? (size_t)(plus - at) : strlen(at);
        known = add_part(s, at, n, &sum);
        at += n + (plus ? 3 : 0);
    }
    if (known) return sum;
    int64_t size = usual_size(s, port, d);
    if (name[0] && s->n < MOST_DIMS) {
        s->names[s->n] = name;
        s->values[s->n++] = size;
    }
    return size;
}

static tiba_status make_input(tiba_tensor *out, sizes *s, const tiba_port *port, int64_t last_id,
                              tiba_error *error) {
    if (port->rank < 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "input '%s' declares no shape: give %s=FILE.npy",
                       port->name, port->name);
    int64_t dims[TIBA_MAX_RANK];
    for (int d = 0; d < port->rank; d++) dims[d] = size_of(s, port, d);
    tiba_status status =
        tb_tensor_create(out, s->subject->arena, port->dtype, port->rank, dims, error);
    if (status == TIBA_ERROR_RESOURCE) {
        char text[96];
        return tb_fail(error, status, "input '%s' %s, made up: out of memory", port->name,
                       tb_shape_text(text, sizeof text, port->rank, dims));
    }
    TB_TRY(status);
    int64_t count = tb_tensor_count(out), row = port->rank > 0 ? dims[port->rank - 1] : 1;
    bool position = strstr(port->name, "position") != NULL,
         type = strstr(port->name, "type") != NULL, ids = strstr(port->name, "ids") != NULL;
    for (int64_t i = 0; i < count; i++) {
        if (is_float(port->dtype))
            tb_set_f64(out, i, (double)(i * 37 % 101) / 50.0 - 1.0);
        else if (position)
            tb_set_i64(out, i, i % row);
        else
            tb_set_i64(out, i, type ? 0 : ids && i % row == row - 1 ? last_id : 1);
    }
    return TIBA_OK;
}

static bool has_series(const tiba_model *model) {
    for (int i = 0; i < tiba_model_inputs(model); i++) {
        tiba_port port = tiba_model_input(model, i);
        if (!is_float(port.dtype) || port.rank == 4) continue;
        for (int d = 1; d < port.rank; d++)
            if (port.dims[d] < 0) return true;
    }
    return false;
}

bool tb_made_up(tb_sample *out, const tb_subject *subject, int attempt, tiba_status *status,
                tiba_error *error) {
    if (attempt >= (int)(sizeof attempts / sizeof *attempts)) return false;
    if (attempts[attempt].length > LONGEST_TEXT && !has_series(subject->model)) return false;
    sizes s = {.subject = subject, .length = attempts[attempt].length};
    int n = tiba_model_inputs(subject->model);
    *out = (tb_sample){.n_feeds = n, .feeds = TB_NEW(subject->arena, tiba_feed, n)};
    *status = out->feeds ? TIBA_OK : tb_out_of_memory(error);
    /* ids first: what else has their sizes takes them from there */
    for (int floats = 0; floats < 2; floats++)
        for (int i = 0; i < n && *status == TIBA_OK; i++) {
            tiba_port port = tiba_model_input(subject->model, i);
            if (is_float(port.dtype) != (floats == 1)) continue;
            out->feeds[i].name = port.name;
            *status =
                make_input(&out->feeds[i].tensor, &s, &port, attempts[attempt].last_id, error);
        }
    return true;
}

const tiba_tensor *tb_inspection_fed(const tb_inspection *inspection, const char *input) {
    const tb_sample *sample = inspection->sample;
    for (int i = 0; sample && i < sample->n_feeds; i++)
        if (strcmp(sample->feeds[i].name, input) == 0) return &sample->feeds[i].tensor;
    return NULL;
}
