/*
 * eval_reviews.c: texts whose words people marked: [{"text", "label", "evidence": [[from, to], …]}]
 * with places in code points, or ERASER's layout: docs/ID and test.jsonl (or val, train) with
 * annotations of tokens, which are what blanks separate.
 */
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "tools/eval.h"

static bool is_eraser(const tb_eval *eval) {
    const char *docs = tb_path_join(eval->arena, eval->data, "docs");
    return docs && tb_is_folder(docs);
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

static tiba_status read_document(const char **out, tb_eval *eval, const char *id,
                                 tiba_error *error) {
    const char *docs = tb_path_join(eval->arena, eval->data, "docs");
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

static tiba_status add_evidence(tb_review *to, tb_eval *eval, const tb_json *span,
                                const char **document, tiba_error *error) {
    const char *id;
    int64_t first, last;
    TB_TRY(tb_json_string(&id, span, "docid", error));
    TB_TRY(tb_json_integer(&first, span, "start_token", 0, INT32_MAX, error));
    TB_TRY(tb_json_integer(&last, span, "end_token", 0, INT32_MAX, error));
    if (!to->text) {
        *document = id;
        TB_TRY(read_document(&to->text, eval, id, error));
    }
    if (strcmp(*document, id) != 0)
        return tb_fail(
            error, TIBA_ERROR_INPUT,
            "annotation '%s' marks words of two documents, '%s' and '%s': an item is one "
            "text",
            to->name, *document, id);
    tb_offsets *list = TB_NEW(eval->arena, tb_offsets, to->n_evidence + 1);
    if (!list) return tb_out_of_memory(error);
    if (to->n_evidence) memcpy(list, to->evidence, (size_t)to->n_evidence * sizeof *list);
    to->evidence = list;
    if (place_of(&list[to->n_evidence++], to->text, first, last)) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "annotation '%s': document '%s' has no tokens %lld to %lld", to->name, id,
                   (long long)first, (long long)last);
}

static tiba_status read_annotation(tb_review *to, tb_eval *eval, int number, const char *line,
                                   size_t size, tiba_error *error) {
    tb_json root, group = {0};
    const char *place = tb_arena_format(eval->arena, "%s, line %d", eval->list, number);
    if (!place) return tb_out_of_memory(error);
    const char *class, *document = NULL;
    TB_TRY(tb_json_parse(&root, eval->arena, place, line, size, NULL, error));
    TB_TRY(tb_json_string(&to->name, &root, "annotation_id", error));
    TB_TRY(tb_json_string(&class, &root, "classification", error));
    TB_TRY(find_label(&to->label, eval, class, error));
    to->blanks = true;
    tb_json evidences = tb_json_get(&root, "evidences");
    TB_TRY(tb_json_need_array(&evidences, error));
    while (tb_json_next(&group, &evidences)) {
        tb_json span = {0};
        while (tb_json_next(&span, &group)) TB_TRY(add_evidence(to, eval, &span, &document, error));
    }
    return to->text ? TIBA_OK
                    : read_document(&to->text, eval, to->name, error); /* nothing marked */
}

static tiba_status read_lines(tb_review **out, int *count, tb_eval *eval, const tb_file *file,
                              tiba_error *error) {
    const char *at = (const char *)file->data, *end = at + file->size;
    size_t lines = 1;
    for (const char *c = at; c < end; c++) lines += *c == '\n';
    *out = TB_NEW(eval->arena, tb_review, lines);
    if (!*out) return tb_out_of_memory(error);
    for (int line = 1; at < end && (eval->limit == 0 || *count < eval->limit); line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop ? stop : end) - at);
        if (size > 1) TB_TRY(read_annotation(&(*out)[(*count)++], eval, line, at, size, error));
        at += size + 1;
    }
    return TIBA_OK;
}

static tiba_status read_eraser(tb_review **out, int *count, tb_eval *eval, tiba_error *error) {
    static const char *const names[] = {"test.jsonl", "val.jsonl", "train.jsonl"};
    eval->subject->options.truncate = true; /* documents are longer than models */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = tb_path_join(eval->arena, eval->data, names[i]);
        if (!path) return tb_out_of_memory(error);
        if (!tb_is_file(path)) continue;
        eval->list = path;
        tb_file file;
        TB_TRY(tb_file_open(&file, path, error));
        tiba_status status = read_lines(out, count, eval, &file, error);
        tb_file_close(&file);
        return status;
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
