/*
 * eval_reviews.c: texts whose words people marked: [{"text", "label", "evidence": [[from, to], …]}]
 * with places in code points, or ERASER's layout: docs/ID or docs.jsonl, and test.jsonl (or val,
 * train) with annotations of tokens, which are what blanks separate.
 */
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "tools/eval.h"

/* ERASER's documents: a file each, or all in one as {"docid", "document"} a line. NULL: neither. */
static const char *documents(const tb_eval *eval, bool one_file) {
    const char *path = tb_path_join(eval->arena, eval->data, one_file ? "docs.jsonl" : "docs");
    return path && (one_file ? tb_is_file(path) : tb_is_folder(path)) ? path : NULL;
}

static bool is_eraser(const tb_eval *eval) {
    return documents(eval, false) || documents(eval, true);
}

bool tb_eval_is_text(const tb_eval *eval) {
    size_t n = strlen(eval->data);
    return is_eraser(eval) || (n > 5 && strcmp(eval->data + n - 5, ".json") == 0);
}

static tiba_status read_review(tb_review *to, tb_eval *eval, int number, const tb_json *item,
                               tiba_error *error) {
    to->name = tb_arena_format(eval->arena, "text %d", number);
    if (!to->name) return tb_out_of_memory(error);
    TB_TRY(tb_json_string(&to->text, item, "text", error));
    TB_TRY(tb_json_integer(&to->label, item, "label", 0, INT32_MAX, error));
    tb_json list = tb_json_get(item, "evidence"), span = {0};
    TB_TRY(tb_json_need_array(&list, error));
    int64_t length = 0;
    for (const char *c = to->text; *c; c++) length += ((unsigned char)*c & 0xC0) != 0x80;
    to->evidence = TB_NEW(eval->arena, tb_offsets, tb_json_count(&list) + 1);
    if (!to->evidence) return tb_out_of_memory(error);
    while (tb_json_next(&span, &list)) {
        int64_t ends[2] = {0};
        int n = 0;
        tb_json end = {0};
        while (tb_json_next(&end, &span) && n < 2)
            TB_TRY(tb_json_as_integer(&ends[n++], &end, 0, INT32_MAX, error));
        if (n != 2) return tb_json_fail(error, &span, "no pair of places");
        if (ends[0] >= ends[1] || ends[1] > length)
            return tb_json_fail(error, &span, "no part of the text, which has %lld code points",
                                (long long)length);
        to->evidence[to->n_evidence++] = (tb_offsets){(uint32_t)ends[0], (uint32_t)ends[1]};
    }
    return TIBA_OK;
}

static tiba_status read_list(tb_review **out, int *count, tb_eval *eval, tiba_error *error) {
    tb_json root, item = {0};
    eval->list = eval->data;
    TB_TRY(tb_json_read(&root, eval->arena, eval->list, NULL, error));
    TB_TRY(tb_json_need_array(&root, error));
    *out = TB_NEW(eval->arena, tb_review, tb_json_count(&root) + 1);
    if (!*out) return tb_out_of_memory(error);
    while (tb_json_next(&item, &root) && (eval->limit == 0 || *count < eval->limit)) {
        tb_review *to = &(*out)[(*count)++];
        TB_TRY(read_review(to, eval, *count, &item, error));
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- ERASER */

/* The class whose name begins like the annotation's ("POS", "positive"). */
static tiba_status find_label(int64_t *out, const tb_eval *eval, const char *name,
                              tiba_error *error) {
    const tb_labels *labels = &eval->subject->labels;
    for (int64_t i = 0; i < labels->count; i++) {
        if (!labels->names[i]) continue;
        size_t a = strlen(labels->names[i]), b = strlen(name), n = a < b ? a : b;
        if (n > 0 && strncasecmp(labels->names[i], name, n) == 0) {
            *out = i;
            return TIBA_OK;
        }
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no class like '%s'", name);
}

/* A document has a sentence a line, of tokens with blanks between them. */
bool tb_review_blank(char c) {
    return c == ' ' || c == '\n' || c == '\r';
}

/* Code points where the tokens [first, last) of a text begin and end. False if it has not as many.
 */
static bool place_of(tb_offsets *out, const char *text, int64_t first, int64_t last) {
    tb_offsets at = {0, 0};
    uint32_t point = 0;
    int64_t token = -1;
    bool inside = false;
    for (const char *c = text; *c; c++) {
        bool follows = ((unsigned char)*c & 0xC0) == 0x80;
        if (!follows && !tb_review_blank(*c) && !inside && ++token == first) at.start = point;
        if (!follows) inside = !tb_review_blank(*c), point++;
        if (inside && token >= first && token < last) at.end = point;
    }
    *out = at;
    return first < last && last <= token + 1;
}

/* ERASER's files as they are read. */
typedef struct eraser {
    tb_eval *eval;
    const char *path; /* of docs.jsonl; NULL: a file for each document */
    int n, capacity;
    const char **ids, **texts; /* [n] of docs.jsonl */
    const char *query;         /* of the annotations; NULL: of none yet */
} eraser;

typedef tiba_status line_reader(eraser *e, const tb_json *line, tiba_error *error);

/* Each line of a .jsonl file, until `most` (0: all). */
static tiba_status read_lines(eraser *e, const char *path, int most, line_reader *read,
                              tiba_error *error) {
    tb_file file;
    TB_TRY(tb_file_open(&file, path, error));
    const char *at = (const char *)file.data, *end = at + file.size;
    tiba_status status = TIBA_OK;
    for (int line = 1, n = 0; at < end && status == TIBA_OK && (most == 0 || n < most); line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop ? stop : end) - at);
        if (size > 1) {
            tb_json root;
            const char *place = tb_arena_format(e->eval->arena, "%s, line %d", path, line);
            status = place ? tb_json_parse(&root, e->eval->arena, place, at, size, NULL, error)
                           : tb_out_of_memory(error);
            if (status == TIBA_OK) status = read(e, &root, error);
            n++;
        }
        at += size + 1;
    }
    tb_file_close(&file);
    return status;
}

static tiba_status add_document(eraser *e, const tb_json *line, tiba_error *error) {
    if (e->n == e->capacity) {
        int capacity = 2 * e->capacity + 64;
        const char **lists = TB_NEW(e->eval->arena, const char *, 2 * capacity);
        if (!lists) return tb_out_of_memory(error);
        if (e->n) memcpy(lists, e->ids, (size_t)e->n * sizeof *lists);
        if (e->n) memcpy(lists + capacity, e->texts, (size_t)e->n * sizeof *lists);
        e->ids = lists;
        e->texts = lists + capacity;
        e->capacity = capacity;
    }
    TB_TRY(tb_json_string(&e->ids[e->n], line, "docid", error));
    TB_TRY(tb_json_string(&e->texts[e->n], line, "document", error));
    e->n++;
    return TIBA_OK;
}

static tiba_status read_document(const char **out, eraser *e, const char *id, tiba_error *error) {
    tb_eval *eval = e->eval;
    for (int i = 0; i < e->n; i++) {
        *out = e->texts[i];
        if (strcmp(e->ids[i], id) == 0) return TIBA_OK;
    }
    if (e->path)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: there is no document '%s'", e->path, id);
    const char *docs = documents(eval, false);
    const char *path = docs ? tb_path_join(eval->arena, docs, id) : NULL;
    if (!path) return tb_out_of_memory(error);
    if (strstr(id, "..")) return tb_fail(error, TIBA_ERROR_INPUT, "'%s' is no document's name", id);
    tb_file file;
    TB_TRY(tb_file_open(&file, path, error));
    *out = tb_arena_strndup(eval->arena, (const char *)file.data, file.size);
    bool zero = file.size && memchr(file.data, 0, file.size) != NULL;
    tb_file_close(&file);
    if (zero) return tb_fail(error, TIBA_ERROR_INPUT, "%s: no text file: it holds NUL bytes", path);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status add_evidence(tb_review *to, eraser *e, const tb_json *span,
                                const char **document, tiba_error *error) {
    const char *id;
    int64_t first, last;
    TB_TRY(tb_json_string(&id, span, "docid", error));
    TB_TRY(tb_json_integer(&first, span, "start_token", 0, INT32_MAX, error));
    TB_TRY(tb_json_integer(&last, span, "end_token", 0, INT32_MAX, error));
    if (!to->text) {
        *document = id;
        TB_TRY(read_document(&to->text, e, id, error));
    }
    if (strcmp(*document, id) != 0)
        return tb_fail(
            error, TIBA_ERROR_INPUT,
            "annotation '%s' marks words of two documents, '%s' and '%s': an item is one "
            "text",
            to->name, *document, id);
    tb_offsets *list = TB_NEW(e->eval->arena, tb_offsets, to->n_evidence + 1);
    if (!list) return tb_out_of_memory(error);
    if (to->n_evidence) memcpy(list, to->evidence, (size_t)to->n_evidence * sizeof *list);
    to->evidence = list;
    if (place_of(&list[to->n_evidence++], to->text, first, last)) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "annotation '%s': document '%s' has no tokens %lld to %lld", to->name, id,
                   (long long)first, (long long)last);
}

/* Where each annotation has a question of its own, the model must be asked it. Movie Reviews ask
 * one for all. */
static tiba_status check_query(eraser *e, const tb_review *of, const tb_json *line,
                               tiba_error *error) {
    tb_json query = tb_json_get(line, "query");
    const char *text;
    if (tb_json_kind_of(&query) != TB_JSON_STRING) return TIBA_OK;
    TB_TRY(tb_json_as_string(&text, &query, error));
    if (e->query && strcmp(e->query, text) != 0)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "annotation '%s' has another query than those before it: only documents "
                       "are given to the model, no queries",
                       of->name);
    e->query = text;
    return TIBA_OK;
}

/* The reviews that are being read. */
typedef struct annotations {
    eraser files;
    tb_review *list;
    int n, capacity;
} annotations;

static tiba_status new_review(tb_review **out, annotations *a, tiba_error *error) {
    if (a->n == a->capacity) {
        int capacity = 2 * a->capacity + 64;
        tb_review *list = TB_NEW(a->files.eval->arena, tb_review, capacity);
        if (!list) return tb_out_of_memory(error);
        if (a->n) memcpy(list, a->list, (size_t)a->n * sizeof *list);
        a->list = list;
        a->capacity = capacity;
    }
    *out = &a->list[a->n++];
    return TIBA_OK;
}

static tiba_status read_annotation(eraser *e, const tb_json *line, tiba_error *error) {
    tb_json group = {0};
    tb_review *to = NULL;
    const char *class, *document = NULL;
    TB_TRY(new_review(&to, (annotations *)e, error));
    TB_TRY(tb_json_string(&to->name, line, "annotation_id", error));
    TB_TRY(tb_json_string(&class, line, "classification", error));
    TB_TRY(find_label(&to->label, e->eval, class, error));
    TB_TRY(check_query(e, to, line, error));
    to->blanks = true;
    tb_json evidences = tb_json_get(line, "evidences");
    TB_TRY(tb_json_need_array(&evidences, error));
    while (tb_json_next(&group, &evidences)) {
        tb_json span = {0};
        while (tb_json_next(&span, &group)) TB_TRY(add_evidence(to, e, &span, &document, error));
    }
    return to->text ? TIBA_OK : read_document(&to->text, e, to->name, error); /* nothing marked */
}

static tiba_status read_eraser(tb_review **out, int *count, tb_eval *eval, tiba_error *error) {
    static const char *const names[] = {"test.jsonl", "val.jsonl", "train.jsonl"};
    annotations a = {.files = {.eval = eval, .path = documents(eval, true)}};
    eval->subject->options.truncate = true; /* documents are longer than models */
    if (a.files.path) TB_TRY(read_lines(&a.files, a.files.path, 0, add_document, error));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = tb_path_join(eval->arena, eval->data, names[i]);
        if (!path) return tb_out_of_memory(error);
        if (!tb_is_file(path)) continue;
        eval->list = path;
        TB_TRY(read_lines(&a.files, path, eval->limit, read_annotation, error));
        *out = a.list;
        *count = a.n;
        return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "%s: the folder has no test.jsonl", eval->data);
}

tiba_status tb_reviews_read(tb_review **out, int *count, tb_eval *eval, tiba_error *error) {
    *count = 0;
    if (is_eraser(eval))
        TB_TRY(read_eraser(out, count, eval, error));
    else
        TB_TRY(read_list(out, count, eval, error));
    return *count ? TIBA_OK : tb_fail(error, TIBA_ERROR_INPUT, "%s: no texts", eval->data);
}
