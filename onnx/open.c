#include <stdio.h>
#include <string.h>

#include "onnx/reader.h"

/* What a source holds on to beside its arena. */
typedef struct holdings {
    tb_file model;
    tb_open_file *external;
} holdings;

static void *arena_alloc(void *arena, size_t size) {
    return tb_arena_alloc(arena, size, 1);
}

static void arena_free(void *arena, void *block) {
    (void)arena;
    (void)block;
}

ProtobufCAllocator tb_proto_allocator(tb_arena *arena) {
    return (ProtobufCAllocator){arena_alloc, arena_free, arena};
}

/* Checks and unpacks a message; what it consists of is in the scratch arena. */
static tiba_status unpack(tb_reader *r, ProtobufCMessage **out,
                          const ProtobufCMessageDescriptor *descriptor, size_t size) {
    unsigned char *small;
    size_t small_size;
    TB_TRY(tb_wire_scan(&small, &small_size, descriptor, r->data, size, tb_arena_budget(r->scratch),
                        r->error));
    ProtobufCAllocator allocator = tb_proto_allocator(r->scratch);
    *out = protobuf_c_message_unpack(descriptor, &allocator, small_size, small);
    tb_free(small);
    /* The scan lets nothing through that protobuf-c does not take. */
    return *out ? TIBA_OK : tb_out_of_memory(r->error);
}

static tiba_status not_onnx(tb_reader *r, const char *why) {
    return tb_fail(r->error, TIBA_ERROR_INPUT, "not an ONNX file (%s)", why);
}

static bool is_text(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size && i < 256; i++)
        if ((data[i] < ' ' && (data[i] < '\t' || data[i] > '\r')) || data[i] == 0x7f) return false;
    return size > 0;
}

/* What else lies under the name of a model, by how it begins; NULL: nothing that is known. */
static const char *other_format(const uint8_t *data, size_t size) {
    static const struct {
        size_t at;
        const char *text, *what;
    } formats[] = {
        {0, "version https://git-lfs", "a Git LFS pointer, the file itself was not fetched"},
        {4, "ORTM", "onnxruntime's own format: give the .onnx file that it was made of"},
        {4, "TFL3", "a TensorFlow Lite model: tf2onnx converts it"},
        {0, "PK\3\4", "a zip archive, such as a PyTorch or Keras checkpoint: export it to ONNX"},
        {0, "\211HDF", "an HDF5 file, such as a Keras model: export it to ONNX"},
        {0, "GGUF", "a GGUF file: export the model to ONNX"},
        {8, "{\"", "a safetensors file, weights without a graph: export the model to ONNX"},
        {0, "<?xml", "XML, such as an OpenVINO model: export the model to ONNX"},
        {0, "<!DOCTYPE", "a web page"},
        {0, "<html", "a web page"},
        {0, "\037\213", "packed by gzip: unpack it first"},
        {257, "ustar", "a tar archive: unpack it first"},
        {0, "ftrt", "a TensorRT engine: give the .onnx file that it was made of"},
        {0, "\211PNG", "a PNG picture"},
        {0, "\377\330\377", "a JPEG picture"},
        {0, "\200\2}", "a Python pickle, such as a PyTorch checkpoint: export the model to ONNX"},
        {0, "\200\4\225",
         "a Python pickle, such as a PyTorch checkpoint: export the model to ONNX"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t n = strlen(formats[i].text);
        if (size >= formats[i].at + n && memcmp(data + formats[i].at, formats[i].text, n) == 0)
            return formats[i].what;
    }
    return is_text(data, size)
               ? "text; ONNX saved as text or JSON: onnx.load and onnx.save make a .onnx file of it"
               : NULL;
}

/* Something else under the name of a model is told apart from a damaged model. */
static tiba_status unpack_model(tb_reader *r, size_t size, Onnx__ModelProto **out) {
    if (size == 0) return not_onnx(r, "it is empty");
    ProtobufCMessage *message = NULL;
    tiba_status status = unpack(r, &message, &onnx__model_proto__descriptor, size);
    const char *other = other_format(r->data, size);
    if (status == TIBA_ERROR_INPUT && other) return not_onnx(r, other);
    bool first_is_known =
        r->data[0] == 0x08 || r->data[0] == 0x3a || r->data[0] == 0x42 || r->data[0] == 0x12;
    if (status == TIBA_ERROR_INPUT && !first_is_known && r->error) {
        tiba_error inner = *r->error;
        return not_onnx(r, inner.message);
    }
    TB_TRY(status);
    *out = (Onnx__ModelProto *)message;
    if (!(*out)->graph) return not_onnx(r, other ? other : "it has no graph");
    return TIBA_OK;
}

static tiba_status read_model(tb_reader *r, size_t size) {
    tb_source *source = r->source;
    Onnx__ModelProto *model = NULL;
    TB_TRY(unpack_model(r, size, &model));
    const char *producer = tb_text(model->producer_name),
               *version = tb_text(model->producer_version);
    source->producer =
        tb_arena_format(r->arena, "%s%s%s", producer, *producer && *version ? " " : "", version);
    if (!source->producer) return tb_out_of_memory(r->error);
    source->ir_version = model->ir_version;
    TB_TRY(tb_read_opsets(r, model->n_opset_import, model->opset_import, &source->n_opsets,
                          &source->opsets));
    TB_TRY(tb_read_functions(r, model));
    return tb_read_graph(r, model->graph, NULL, NULL, &source->graph);
}

static tiba_status out_of_memory(tb_arena *arena, tb_arena *scratch, tb_file *file,
                                 tiba_error *error) {
    tb_arena_destroy(arena);
    tb_arena_destroy(scratch);
    tb_file_close(file);
    return tb_out_of_memory(error);
}

/* Takes `file` over. `path` may be NULL. */
static tiba_status open_bytes(tb_source **out, tb_file file, const char *path, tb_budget *budget,
                              tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget), *scratch = tb_arena_create(budget);
    if (!arena || !scratch) return out_of_memory(arena, scratch, &file, error);
    tb_source *source = TB_NEW(arena, tb_source, 1);
    holdings *held = TB_NEW(arena, holdings, 1);
    if (!source || !held) return out_of_memory(arena, scratch, &file, error);
    held->model = file;
    source->arena = arena;
    source->files = held;
    source->path = tb_arena_strdup(arena, path ? path : "");
    /* Messages are made from an error that is there. */
    tiba_error own = {0};
    tb_reader r = {.source = source,
                   .arena = arena,
                   .scratch = scratch,
                   .data = file.data,
                   .borrow = true,
                   .mapped = file.map != NULL,
                   .path = path,
                   .names.arena = scratch,
                   .function_index.arena = scratch,
                   .error = error ? error : &own};
    tiba_status status = source->path ? read_model(&r, file.size) : tb_out_of_memory(error);
    held->external = r.files;
    tb_arena_destroy(scratch);
    if (status != TIBA_OK) {
        tb_onnx_close(source);
        return path ? tb_error_prefix(error, status, path) : status;
    }
    *out = source;
    return TIBA_OK;
}

tiba_status tb_onnx_open(tb_source **out, const char *path, tb_budget *budget, tiba_error *error) {
    tb_file file;
    *out = NULL;
    TB_TRY(tb_file_open(&file, path, error));
    return open_bytes(out, file, path, budget, error);
}

tiba_status tb_onnx_open_memory(tb_source **out, const void *data, size_t size, tb_budget *budget,
                                tiba_error *error) {
    return open_bytes(out, (tb_file){.data = data, .size = size}, NULL, budget, error);
}

void tb_onnx_close(tb_source *source) {
    if (!source) return;
    holdings *held = source->files;
    tb_close_files(held->external);
    tb_file_close(&held->model);
    tb_arena_destroy(source->arena);
}

const char *tb_onnx_data_file(const tb_source *source, int index, const char **location) {
    const holdings *held = source->files;
    int n = 0;
    for (const tb_open_file *file = held->external; file; file = file->next) n++;
    if (index < 0 || index >= n) return NULL;
    const tb_open_file *file = held->external; /* the latest first */
    for (int i = n - 1; i > index; i--) file = file->next;
    if (location) *location = file->location;
    return file->path;
}

tiba_status tb_onnx_read_tensor(tiba_tensor *out, tb_arena *arena, const char *path,
                                tiba_error *error) {
    tb_file file;
    tiba_error own = {0};
    ProtobufCMessage *message = NULL;
    *out = (tiba_tensor){0};
    TB_TRY(tb_file_open(&file, path, error));
    tb_arena *scratch = tb_arena_create(tb_arena_budget(arena));
    tb_reader r = {.arena = arena,
                   .scratch = scratch,
                   .data = file.data,
                   .mapped = file.map != NULL,
                   .path = path,
                   .error = error ? error : &own};
    tiba_status status = scratch ? unpack(&r, &message, &onnx__tensor_proto__descriptor, file.size)
                                 : tb_out_of_memory(error);
    if (status == TIBA_OK)
        status = tb_read_tensor(&r, (const Onnx__TensorProto *)message, false, out);
    tb_close_files(r.files);
    tb_arena_destroy(scratch);
    tb_file_close(&file);
    return status == TIBA_OK ? TIBA_OK : tb_error_prefix(error, status, path);
}
