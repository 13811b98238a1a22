#include "tools/subject.h"

#include <dirent.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "io/nearest.h"
#include "io/sha256.h"
#include "tools/companions.h"
#include "tools/missing.h"

enum { MOST_NAMES = 16 };

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool ends_like_picture(const char *text) {
    return ends_with(text, ".png") || ends_with(text, ".jpg") || ends_with(text, ".jpeg");
}

/* -------------------------------------------------------------------- models */

/* Where exporters put the graph in a folder, most usual first. */
static const char *const model_names[] = {"model.onnx", "onnx/model.onnx"};

/* A folder with an encoder for pictures and one for texts, each in a file of its own. */
static const struct {
    const char *vision, *text;
} pair_names[] = {{"vision_model.onnx", "text_model.onnx"},
                  {"onnx/vision_model.onnx", "onnx/text_model.onnx"}};

static tiba_status open_partner(tb_subject *s, const char *path, const tiba_options *options,
                                tiba_error *error) {
    s->partner = TB_NEW(s->arena, tb_subject, 1);
    if (!s->partner) return tb_out_of_memory(error);
    tb_subject_options how = s->options;
    if (!how.tokenizer) how.tokenizer = s->folder;
    return tb_subject_open(s->partner, path, options, &how, error);
}

/* A .onnx file of another name in folder/`part`, as seen from the folder; NULL if there is none. */
static const char *some_model(tb_arena *arena, const char *folder, const char *part) {
    const char *place = tb_path_join(arena, folder, part);
    DIR *list = place ? opendir(place) : NULL;
    const char *found = NULL;
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (ends_with(entry->d_name, ".onnx") && (!found || strcmp(entry->d_name, found) < 0))
            found = tb_arena_strdup(arena, entry->d_name);
    if (list) closedir(list);
    return found ? tb_arena_format(arena, "%s%s", part, found) : NULL;
}

static tiba_status find_model(tb_subject *s, const char *path, const tiba_options *options,
                              tiba_error *error) {
    if (tb_is_missing(path)) return tb_missing(path, error);
    if (!tb_is_folder(path) && ends_like_picture(path))
        return tb_fail(error, TIBA_ERROR_USAGE, "%s is no model: the model comes first", path);
    if (!tb_is_folder(path)) {
        s->path = tb_arena_strdup(s->arena, path);
        s->folder = tb_companions_folder(s->arena, path);
        return s->path && s->folder ? TIBA_OK : tb_out_of_memory(error);
    }
    s->folder = tb_arena_strdup(s->arena, path);
    if (!s->folder) return tb_out_of_memory(error);
    for (size_t i = 0; i < sizeof model_names / sizeof *model_names; i++) {
        s->path = tb_path_join(s->arena, path, model_names[i]);
        if (!s->path) return tb_out_of_memory(error);
        if (tb_is_file(s->path)) return TIBA_OK;
    }
    for (size_t i = 0; i < sizeof pair_names / sizeof *pair_names; i++) {
        const char *text = tb_path_join(s->arena, path, pair_names[i].text);
        s->path = tb_path_join(s->arena, path, pair_names[i].vision);
        if (!s->path || !text) return tb_out_of_memory(error);
        if (tb_is_file(s->path) && tb_is_file(text)) return open_partner(s, text, options, error);
    }
    const char *other = some_model(s->arena, path, "");
    if (!other) other = some_model(s->arena, path, "onnx/");
    return tb_fail(error, TIBA_ERROR_INPUT, "%s: the folder has no model.onnx%s%s", path,
                   other ? "; give the file itself, for instance " : "", other ? other : "");
}

/* Class names that the file has, where the folder has none. */
static tiba_status add_labels(tb_subject *s, tiba_error *error) {
    int64_t n = 0;
    while (s->labels.count == 0 && tiba_model_class(s->model, n)) n++;
    if (n == 0) return TIBA_OK;
    s->labels.names = TB_NEW(s->arena, const char *, n);
    if (!s->labels.names) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) s->labels.names[i] = tiba_model_class(s->model, i);
    s->labels.count = n;
    return TIBA_OK;
}

static tiba_status open_all(tb_subject *s, const char *path, const tiba_options *options,
                            tiba_error *error) {
    TB_TRY(find_model(s, path, options, error));
    TB_TRY(tiba_model_open(&s->model, s->path, options, error));
    TB_TRY(tb_labels_read(&s->labels, s->arena, s->folder, error));
    return add_labels(s, error);
}

tiba_status tb_subject_open(tb_subject *out, const char *path, const tiba_options *options,
                            const tb_subject_options *how, tiba_error *error) {
    *out = (tb_subject){.arena = tb_arena_create(NULL)};
    if (!out->arena) return tb_out_of_memory(error);
    if (how) out->options = *how;
    tiba_status status = open_all(out, path, options, error);
    if (status != TIBA_OK) tb_subject_close(out);
    return status;
}

void tb_subject_close(tb_subject *subject) {
    if (subject->partner) tb_subject_close(subject->partner);
    tb_tokenizer_close(subject->tokenizer);
    tiba_model_close(subject->model);
    tb_arena_destroy(subject->arena);
    *subject = (tb_subject){0};
}

static tiba_status add_digest(tb_subject *s, const char *name, const char *path,
                              tiba_error *error) {
    char *hex = TB_NEW(s->arena, char, 65);
    if (!hex) return tb_out_of_memory(error);
    if (!tb_sha256_file(hex, path))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: cannot be read to its end", path);
    s->digests[s->n_digests++] = (tb_digest){name, hex};
    return TIBA_OK;
}

tiba_status tb_subject_digests(tb_subject *s, tiba_error *error) {
    int n = 0;
    if (s->n_digests) return TIBA_OK;
    while (tiba_model_data_file(s->model, n, NULL)) n++;
    s->digests = TB_NEW(s->arena, tb_digest, n + 1);
    if (!s->digests) return tb_out_of_memory(error);
    TB_TRY(add_digest(s, s->path, s->path, error));
    for (int i = 0; i < n; i++) {
        const char *name, *path = tiba_model_data_file(s->model, i, &name);
        TB_TRY(add_digest(s, name, path, error));
    }
    return TIBA_OK;
}

bool tb_has_output(const tiba_model *model, const char *name) {
    for (int i = 0; i < tiba_model_outputs(model); i++)
        if (strcmp(tiba_model_output(model, i).name, name) == 0) return true;
    return false;
}

/* -------------------------------------------------------------------- inputs */

static const tiba_feed *find_feed(const tb_sample *sample, const char *name) {
    for (int i = 0; i < sample->n_feeds; i++)
        if (strcmp(sample->feeds[i].name, name) == 0) return &sample->feeds[i];
    return NULL;
}

static tiba_status add_feed(tb_sample *sample, const char *name, tiba_tensor tensor,
                            tiba_error *error) {
    if (find_feed(sample, name))
        return tb_fail(error, TIBA_ERROR_USAGE, "input '%s' is given twice", name);
    sample->feeds[sample->n_feeds++] = (tiba_feed){name, tensor};
    return TIBA_OK;
}

/* The graph input that NAME=FILE names; -1 if `text` is no such argument. */
static int named_input(const tb_subject *subject, const char *text, const char **file) {
    const char *equals = strchr(text, '=');
    if (!equals) return -1;
    size_t length = (size_t)(equals - text);
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        const char *name = tiba_model_input(subject->model, i).name;
        if (strlen(name) == length && strncmp(name, text, length) == 0) {
            *file = equals + 1;
            return i;
        }
    }
    return -1;
}

static bool is_float(tiba_dtype dtype) {
    return dtype == TIBA_FLOAT32 || dtype == TIBA_FLOAT16 || dtype == TIBA_FLOAT64 ||
           dtype == TIBA_BFLOAT16;
}

/* A decoder's cache of the tokens before: named past…, floats. */
static bool is_cache(const tiba_port *port) {
    return is_float(port->dtype) && port->rank >= 3 && strncmp(port->name, "past", 4) == 0;
}

/* One picture without an axis of samples: three colours in front of or behind two larger sides. */
static bool is_single(const tiba_port *port) {
    if (port->rank != 3) return false;
    const int64_t *dims = port->dims;
    return (dims[0] == 3 && dims[1] > 3 && dims[2] > 3) ||
           (dims[2] == 3 && dims[0] > 3 && dims[1] > 3);
}

/* Whole numbers as a picture has them: bytes, or another type in three colours. */
static bool takes_bytes(const tiba_port *port) {
    bool colours =
        is_single(port) || (port->rank == 4 && (port->dims[1] == 3 || port->dims[3] == 3));
    return port->dtype == TIBA_UINT8 || (tb_dtype_is_integer(port->dtype) && colours);
}

/* The input that wants a picture: floats or bytes, four axes, else a single picture's three. -1 if
 * there is none. */
static int picture_input(const tb_subject *subject) {
    int single = -1;
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        bool number = (is_float(port.dtype) && !is_cache(&port)) || takes_bytes(&port);
        if (number && (port.rank == 4 || (port.rank < 0 && strstr(port.name, "pixel")))) return i;
        if (number && single < 0 && is_single(&port)) single = i;
    }
    return single;
}

static tiba_status override(tb_preprocess *how, const tb_subject_options *o, tiba_error *error) {
    const struct {
        const char *name, *value;
    } settings[] = {{"size", o->size}, {"crop", o->crop},         {"mean", o->mean},
                    {"std", o->std},   {"resample", o->resample}, {"layout", o->layout}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].value)
            TB_TRY(tb_preprocess_override(how, settings[i].name, settings[i].value, error));
    return TIBA_OK;
}

/* How many samples an input has: those that were given, or as many as the model was exported for.
 */
static int64_t samples_for(tb_sample *sample, const tiba_port *port, int64_t given) {
    if (port->rank < 1 || port->dims[0] <= given) return given;
    sample->given = given;
    return port->dims[0];
}

/* The picture's tensor [1, ...] with as many copies as the input has samples, or without the axis
 * that the input does not have. */
static tiba_status fill_samples(tb_sample *sample, const tiba_port *port, tb_arena *arena,
                                tiba_tensor *pixels, tiba_error *error) {
    size_t size = tb_tensor_bytes(pixels);
    if (port->rank == 3) {
        memmove(pixels->dims, pixels->dims + 1, 3 * sizeof *pixels->dims);
        pixels->rank = 3;
        return TIBA_OK;
    }
    tiba_tensor all = *pixels;
    all.dims[0] = samples_for(sample, port, 1);
    if (all.dims[0] == 1) return TIBA_OK;
    TB_TRY(tb_tensor_create(&all, arena, pixels->dtype, pixels->rank, all.dims, error));
    for (int64_t i = 0; i < all.dims[0]; i++)
        memcpy((char *)all.data + (size_t)i * size, pixels->data, size);
    *pixels = all;
    return TIBA_OK;
}

static tiba_status add_picture(tb_sample *sample, const tb_subject *subject, tb_arena *arena,
                               const char *path, tiba_error *error) {
    int index = picture_input(subject);
    if (index < 0) return tb_fail(error, TIBA_ERROR_USAGE, "%s: the model takes no picture", path);
    tiba_port port = tiba_model_input(subject->model, index);
    const int64_t *dims = port.rank == 4 ? port.dims + 1 : port.dims; /* but that of samples */
    bool channels_last = port.rank >= 3 && dims[2] == 3 && dims[0] != 3;
    int height = port.rank >= 3 ? (int)dims[channels_last ? 0 : 1] : 0;
    int width = port.rank >= 3 ? (int)dims[channels_last ? 1 : 2] : 0;
    tb_preprocess how;
    /* without a configuration, a given size is as good as the model's own */
    int unknown = subject->options.size ? 224 : 0;
    TB_TRY(tb_preprocess_load(&how, arena, subject->folder, height > 0 ? height : unknown,
                              width > 0 ? width : unknown, error));
    how.channels_last = channels_last;
    how.bytes = takes_bytes(&port);
    if (how.bytes && (subject->options.mean || subject->options.std))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s: input '%s' takes bytes, which the model scales by itself",
                       subject->options.mean ? "--mean" : "--std", port.name);
    TB_TRY(override(&how, &subject->options, error));
    TB_TRY(tb_picture_read(&sample->picture, arena, path, 0, error));
    tb_pixels pixels;
    TB_TRY(tb_preprocess_run(&pixels, arena, &how, &sample->picture, error));
    sample->geometry = pixels.geometry;
    memcpy(sample->black, pixels.black, sizeof sample->black);
    sample->image_input = port.name;
    sample->picture_path = path;
    if (how.guessed) sample->guess = how.bytes ? "bytes" : "mean and std 0.5";
    TB_TRY(fill_samples(sample, &port, arena, &pixels.tensor, error));
    return add_feed(sample, port.name, pixels.tensor, error);
}

/* The input that wants token ids: an integer one by its usual name, or the only integer one. */
static int text_input(const tb_subject *subject) {
    int found = -1, integers = 0;
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        if (port.dtype != TIBA_INT64 && port.dtype != TIBA_INT32) continue;
        if (strcmp(port.name, "input_ids") == 0) return i;
        if (port.rank == 2 || port.rank < 0) found = integers++ ? found : i;
    }
    return found;
}

static tiba_status open_tokenizer(tb_subject *subject, tiba_error *error) {
    if (subject->tokenizer) return TIBA_OK;
    const char *from = subject->options.tokenizer ? subject->options.tokenizer : subject->folder;
    tiba_status status = tb_tokenizer_open(&subject->tokenizer, from, NULL, error);
    if (status == TIBA_OK || subject->options.tokenizer) return status;
    const char *path = tb_path_join(subject->arena, from, "tokenizer.json");
    if (!path || tb_is_file(path)) return status;
    tiba_error why = *error;
    return tb_fail(error, status, "%.400s; --tokenizer FILE names one", why.message);
}

tb_text tb_subject_token(tb_subject *subject, const char *input, int64_t id) {
    tiba_error none;
    int ids = text_input(subject);
    if (ids < 0 || strcmp(tiba_model_input(subject->model, ids).name, input) != 0)
        return (tb_text){"", 0};
    if (!subject->no_tokenizer) subject->no_tokenizer = open_tokenizer(subject, &none) != TIBA_OK;
    if (subject->no_tokenizer) return (tb_text){"", 0};
    return tb_tokenizer_token(subject->tokenizer, id);
}

static tiba_status encode_text(tb_sample *sample, tb_subject *subject, tb_arena *arena,
                               const char *text, tiba_error *error) {
    if (text_input(subject) < 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "the model takes no text, but '%.60s' is one",
                       text);
    TB_TRY(open_tokenizer(subject, error));
    tb_encode_options how = {.refuse_long = true};
    if (subject->options.truncate) how.truncation = TB_TRUNCATE_LONGEST_FIRST;
    int k = sample->n_texts;
    TB_TRY(tb_tokenizer_encode(&sample->encodings[k], subject->tokenizer, arena,
                               (tb_text){text, strlen(text)}, NULL, &how, error));
    if (sample->encodings[k].count == 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "the text has no tokens");
    sample->texts[k] = text;
    sample->n_texts++;
    return TIBA_OK;
}

/* A text argument: its own words, or the contents of a .txt file. */
static tiba_status add_text(tb_sample *sample, tb_subject *subject, tb_arena *arena,
                            const char *text, tiba_error *error) {
    if (text_input(subject) < 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "%.60s: no such file, and the model takes no text",
                       text);
    if (ends_with(text, ".txt")) {
        tb_file file;
        TB_TRY(tb_file_open(&file, text, error));
        size_t size = file.size;
        while (size > 0 && (file.data[size - 1] == '\n' || file.data[size - 1] == '\r')) size--;
        char *copy = tb_arena_strndup(arena, (const char *)file.data, size);
        bool zero = memchr(file.data, 0, size) != NULL;
        tb_file_close(&file);
        if (zero)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: no text file: it holds NUL bytes", text);
        if (!copy) return tb_out_of_memory(error);
        text = copy;
    }
    return encode_text(sample, subject, arena, text, error);
}
bool tb_is_picture_name(const char *text) {
    return ends_like_picture(text) || (tb_is_file(text) && !ends_with(text, ".txt"));
}

static tiba_status no_such_input(const tb_subject *subject, const char *text, tiba_error *error) {
    const char *names[MOST_NAMES];
    char list[300];
    int n = tiba_model_inputs(subject->model);
    for (int i = 0; i < n && i < MOST_NAMES; i++)
        names[i] = tiba_model_input(subject->model, i).name;
    tb_list_names(list, sizeof list, n < MOST_NAMES ? n : MOST_NAMES, names);
    return tb_fail(error, TIBA_ERROR_USAGE, "%s: the model has no input of that name, but %s", text,
                   list);
}

/* What a user may give for an input that is missing. */
static tiba_status missing_input(const tb_subject *subject, int index, tiba_error *error) {
    tiba_port port = tiba_model_input(subject->model, index);
    const char *way = index == picture_input(subject) ? "a picture, or "
                      : index == text_input(subject)  ? "a text (--text TEXT), or "
                                                      : "";
    return tb_fail(error, TIBA_ERROR_USAGE, "input '%s' (%s) is missing: give %s%s=FILE.npy",
                   port.name, tb_dtype_name(port.dtype), way, port.name);
}

static tiba_status add_input(tb_sample *sample, tb_subject *subject, tb_arena *arena,
                             const char *text, tiba_error *error) {
    const char *file;
    int index = named_input(subject, text, &file);
    if (index >= 0) {
        tiba_tensor tensor;
        TB_TRY(tb_npy_read(&tensor, arena, file, error));
        return add_feed(sample, tiba_model_input(subject->model, index).name, tensor, error);
    }
    if (ends_with(text, ".npy") && strchr(text, '=')) return no_such_input(subject, text, error);
    if (ends_with(text, ".npy"))
        return tb_fail(error, TIBA_ERROR_USAGE, "%s: say which input it is for: NAME=%s", text,
                       text);
    bool picture = tb_is_picture_name(text);
    if (tb_is_folder(text) && !picture)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s is a folder: tiba-onnx batch explains the files of one", text);
    if ((picture || ends_with(text, ".txt")) && tb_is_missing(text)) return tb_missing(text, error);
    return picture ? add_picture(sample, subject, arena, text, error)
                   : add_text(sample, subject, arena, text, error);
}

/* What goes into an input that belongs to the ids, token by token. */
typedef int64_t text_row(const tb_encoding *e, size_t i, int64_t pad);

static int64_t row_ids(const tb_encoding *e, size_t i, int64_t pad) {
    return i < e->count ? e->ids[i] : pad;
}
static int64_t row_mask(const tb_encoding *e, size_t i, int64_t pad) {
    (void)pad;
    return i < e->count ? e->attention_mask[i] : 0;
}
static int64_t row_types(const tb_encoding *e, size_t i, int64_t pad) {
    (void)pad;
    return i < e->count ? e->type_ids[i] : 0;
}

static tiba_status feed_texts(tb_sample *sample, const tb_subject *subject, tb_arena *arena,
                              const tiba_port *port, text_row *row, tiba_error *error) {
    int64_t length = 0, pad = tb_tokenizer_pad_id(subject->tokenizer);
    for (int k = 0; k < sample->n_texts; k++)
        if ((int64_t)sample->encodings[k].count > length)
            length = (int64_t)sample->encodings[k].count;
    /* a model exported with a fixed length is given that length */
    int64_t fixed = port->rank == 2 ? port->dims[1] : -1;
    if (fixed >= 0 && length > fixed)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "the text has %lld tokens, the model takes %lld: shorten it or give "
                       "--truncate with a tokenizer of that length",
                       (long long)length, (long long)fixed);
    if (fixed > 0) length = fixed;
    int64_t dims[2] = {samples_for(sample, port, sample->n_texts), length};
    sample->text_rows = dims[0];
    tiba_tensor tensor;
    TB_TRY(tb_tensor_create(&tensor, arena, port->dtype, 2, dims, error));
    for (int64_t i = 0; i < dims[0] * length; i++) {
        int64_t k = i / length < sample->n_texts ? i / length : sample->n_texts - 1;
        tb_set_i64(&tensor, i, row(&sample->encodings[k], (size_t)(i % length), pad < 0 ? 0 : pad));
    }
    return add_feed(sample, port->name, tensor, error);
}

static tiba_status fill_texts(tb_sample *sample, const tb_subject *subject, tb_arena *arena,
                              tiba_error *error) {
    if (sample->n_texts == 0) return TIBA_OK;
    tiba_port ids = tiba_model_input(subject->model, text_input(subject));
    sample->text_input = ids.name;
    TB_TRY(feed_texts(sample, subject, arena, &ids, row_ids, error));
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        text_row *row = strcmp(port.name, "attention_mask") == 0   ? row_mask
                        : strcmp(port.name, "token_type_ids") == 0 ? row_types
                                                                   : NULL;
        if (row && !find_feed(sample, port.name))
            TB_TRY(feed_texts(sample, subject, arena, &port, row, error));
    }
    return TIBA_OK;
}

/* Inputs that follow from input_ids: what each element is, by its place in the row. */
static const struct {
    const char *name;
    int64_t first, step;
} followers[] = {{"attention_mask", 1, 0}, {"token_type_ids", 0, 0}, {"position_ids", 0, 1}};

static tiba_status fill_followers(tb_sample *sample, const tb_subject *subject, tb_arena *arena,
                                  tiba_error *error) {
    const tiba_feed *ids = find_feed(sample, "input_ids");
    if (!ids || ids->tensor.rank < 1) return TIBA_OK;
    for (size_t f = 0; f < sizeof followers / sizeof *followers; f++)
        for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
            tiba_port port = tiba_model_input(subject->model, i);
            if (strcmp(port.name, followers[f].name) != 0 || find_feed(sample, port.name)) continue;
            tiba_tensor tensor;
            TB_TRY(tb_tensor_create(&tensor, arena, port.dtype, ids->tensor.rank, ids->tensor.dims,
                                    error));
            int64_t count = tb_tensor_count(&tensor), row = tensor.dims[tensor.rank - 1];
            for (int64_t k = 0; k < count; k++)
                tb_set_i64(&tensor, k, followers[f].first + followers[f].step * (k % row));
            TB_TRY(add_feed(sample, port.name, tensor, error));
        }
    return TIBA_OK;
}

/* A decoder starts with an empty cache: no token on the one axis, beside the samples', that the
 * file leaves open. Merged decoders are told so (use_cache_branch). */
static tiba_status fill_caches(tb_sample *sample, const tb_subject *subject, tb_arena *arena,
                               tiba_error *error) {
    const tiba_feed *ids = find_feed(sample, "input_ids");
    if (!ids || ids->tensor.rank < 1) return TIBA_OK;
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        bool branch = port.dtype == TIBA_BOOL && strcmp(port.name, "use_cache_branch") == 0;
        if (find_feed(sample, port.name) || !(branch || is_cache(&port))) continue;
        int open = 0;
        for (int d = 0; d < port.rank; d++)
            if (port.dims[d] < 0) port.dims[d] = d == 0 ? ids->tensor.dims[0] : 0, open += d > 0;
        if (!branch && open != 1) continue;
        tiba_tensor tensor;
        TB_TRY(tb_tensor_create(&tensor, arena, port.dtype, port.rank, port.dims, error));
        memset(tensor.data, 0, tb_tensor_bytes(&tensor));
        TB_TRY(add_feed(sample, port.name, tensor, error));
    }
    return TIBA_OK;
}

tiba_status tb_subject_sample(tb_sample *out, tb_subject *subject, tb_arena *arena, int count,
                              const char *const *inputs, tiba_error *error) {
    return tb_subject_sample_texts(out, subject, arena, count, inputs, 0, NULL, error);
}

tiba_status tb_subject_sample_texts(tb_sample *out, tb_subject *subject, tb_arena *arena, int count,
                                    const char *const *inputs, int n_texts,
                                    const char *const *texts, tiba_error *error) {
    *out = (tb_sample){0};
    int n = tiba_model_inputs(subject->model);
    out->feeds = TB_NEW(arena, tiba_feed, n + count);
    out->texts = TB_NEW(arena, const char *, count + n_texts);
    out->encodings = TB_NEW(arena, tb_encoding, count + n_texts);
    if (!out->feeds || !out->texts || !out->encodings) return tb_out_of_memory(error);
    for (int i = 0; i < count; i++) TB_TRY(add_input(out, subject, arena, inputs[i], error));
    for (int i = 0; i < n_texts; i++) TB_TRY(encode_text(out, subject, arena, texts[i], error));
    TB_TRY(fill_texts(out, subject, arena, error));
    TB_TRY(fill_followers(out, subject, arena, error));
    TB_TRY(fill_caches(out, subject, arena, error));
    for (int i = 0; i < n; i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        if (find_feed(out, port.name)) continue;
        return missing_input(subject, i, error);
    }
    return TIBA_OK;
}

tiba_status tb_subject_check(const tb_subject *subject, bool pictures, bool texts,
                             tiba_error *error) {
    const tb_subject_options *how = &subject->options;
    const char *of_pictures = how->size       ? "--size"
                              : how->crop     ? "--crop"
                              : how->mean     ? "--mean"
                              : how->std      ? "--std"
                              : how->resample ? "--resample"
                              : how->layout   ? "--layout"
                                              : NULL;
    const char *of_texts = how->tokenizer ? "--tokenizer" : how->truncate ? "--truncate" : NULL;
    if (of_pictures && !pictures)
        return tb_fail(error, TIBA_ERROR_USAGE, "%s is for picture files: none is given",
                       of_pictures);
    if (of_texts && !texts)
        return tb_fail(error, TIBA_ERROR_USAGE, "%s is for texts: none is given", of_texts);
    return TIBA_OK;
}
