/*
 * test_onnx_hostile.c: model files that are not sound: each is refused with one line that says
 * what and where, whatever is cut off or changed; nothing crashes, hangs or takes memory without
 * end.
 */
#include "check.h"
#include "fuzz/fuzz_onnx.c"
#include "onnx_make.h"
#include "support.h"

/* The bytes must be refused with all of `words` (separated by '|') in the message. */
static void refused(const char *what, msg model, const char *words) {
    tb_budget budget = {.limit = (size_t)256 << 20};
    tb_source *s = NULL;
    tiba_error error = {0};
    tiba_status status = tb_onnx_open_memory(&s, model.bytes, model.n, &budget, &error);
    CHECK_CASE(status == TIBA_ERROR_INPUT, "%s: status %d, %s", what, status, error.message);
    while (*words) {
        char word[64];
        size_t n = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        CHECK_CASE(strstr(error.message, word), "%s: no \"%s\" in: %s", what, word, error.message);
        words += n + (words[n] == '|');
    }
    CHECK_CASE(budget.used == 0, "%s: %zu bytes left", what, budget.used);
    tb_onnx_close(s);
    free(model.bytes);
}

static msg text_of(const char *bytes, size_t n) {
    msg m = {0};
    put_raw(&m, bytes, n);
    return m;
}

/* x -> Relu -> y and whatever else is put into the graph. */
static msg relu_graph(void) {
    msg g = {0};
    put_msg(&g, GRAPH_NODE, make_node("Relu", "x", "y"));
    put_msg(&g, GRAPH_INPUT, make_value("x", 1, "2"));
    put_msg(&g, GRAPH_OUTPUT, make_value("y", 1, "2"));
    return g;
}

static msg with_node(msg node) {
    msg g = relu_graph();
    put_msg(&g, GRAPH_NODE, node);
    return make_model(g, 17);
}

static msg with_tensor(msg tensor) {
    msg g = relu_graph();
    put_msg(&g, GRAPH_INITIALIZER, tensor);
    return make_model(g, 17);
}

static msg with_attr(msg attr) {
    msg node = make_node("Flatten", "y", "z");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    return with_node(node);
}

static void test_not_models(void) {
    refused("empty", (msg){0}, "not an ONNX file|empty");
    refused("text", text_of("hello world, this is no model", 29), "not an ONNX file (text");
    refused("text form", text_of("ir_version: 8\ngraph {\n", 22),
            "not an ONNX file (text|onnx.load");
    refused("ONNX's own syntax", text_of("<\n   ir_version: 8,\n", 20),
            "not an ONNX file (text|onnx.load");
    refused("png", text_of("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16), "not an ONNX file (a PNG");
    refused("jpeg", text_of("\xff\xd8\xff\xe0\0\20JFIF", 10), "not an ONNX file (a JPEG");
    refused("gzip", text_of("\x1f\x8b\b\0\0\0\0\0", 8), "not an ONNX file (packed by gzip");
    refused("engine", text_of("ftrt\1\0\0\0\1\0", 10), "not an ONNX file (a TensorRT engine");
    refused("pickle", text_of("\x80\4\x95\t\0\0\0\0", 8), "not an ONNX file (a Python pickle");
    refused("zip", text_of("PK\3\4\24\0\0\0\0\0", 10), "not an ONNX file (a zip archive");
    refused("json", text_of("{\"model_type\": \"bert\"}", 22), "not an ONNX file (text");
    refused("lfs", text_of("version https://git-lfs.github.com/spec/v1\n", 43), "Git LFS");
    refused("ort", text_of("\x18\0\0\0ORTM\x14\0", 10), "onnxruntime's own format");
    refused("safetensors", text_of("\x60\0\0\0\0\0\0\0{\"a\":", 13), "a safetensors file");
    refused("no graph", text_of("\x08\x08", 2), "not an ONNX file|no graph");
}

static void test_wire(void) {
    msg m = make_model(relu_graph(), 17);
    put_msg(&m, MODEL_GRAPH, relu_graph());
    refused("two graphs", m, "'graph'|stands twice");
    m = make_model(relu_graph(), 17);
    put_bytes(&m, MODEL_IR, "x", 1);
    refused("wire type", m, "'ir_version'|wire type");
    m = make_model(relu_graph(), 17);
    put_varint(&m, 30 << 3 | 3);
    refused("group", m, "field 30|wire type 3");
    m = make_model(relu_graph(), 17);
    put_varint(&m, 0);
    refused("field 0", m, "numbered 0");
    m = make_model(relu_graph(), 17);
    put_raw(&m, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
    refused("long varint", m, "truncated|'ir_version'");
    m = make_model(relu_graph(), 17);
    put_raw(&m, "\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
    refused("long length", m, "truncated|'graph'|bytes");
    m = make_node("Relu", "x", "z");
    put_bytes(&m, 1, "a\0b", 3);
    refused("zero byte", with_node(m), "'input'|not UTF-8");
    m = make_node("Relu", "x", "z");
    put_bytes(&m, 1, "\xed\xa0\x80", 3);
    refused("surrogate", with_node(m), "'input'|not UTF-8");
    msg deep = {0}, graph = {0};
    for (int i = 0; i < 200; i++) { /* graphs in attributes in graphs */
        msg node = make_node("If", "", "y"), attr = make_attr("then_branch", 5);
        put_msg(&attr, 6, deep);
        put_msg(&node, NODE_ATTRIBUTE, attr);
        deep = (msg){0};
        put_msg(&deep, GRAPH_NODE, node);
    }
    refused("deep graphs", make_model(deep, 17), "nested deeper");
    deep = (msg){0};
    for (int i = 0; i < 5000; i++) { /* sequences of sequences */
        msg sequence = {0}, type = {0};
        put_msg(&sequence, 1, deep);
        put_msg(&type, 4, sequence);
        deep = type;
    }
    msg value = {0};
    put_text(&value, 1, "x");
    put_msg(&value, 2, deep);
    put_msg(&graph, GRAPH_INPUT, value);
    refused("deep types", make_model(graph, 17), "nested deeper");
    m = make_tensor("w", 1, "2");
    put_bytes(&m, TENSOR_FLOATS, "1234567", 7);
    refused("packed", with_tensor(m), "'float_data'|badly packed");
    m = make_tensor("w", 7, "1");
    put_bytes(&m, TENSOR_INT64S, "\x80", 1);
    refused("packed", with_tensor(m), "'int64_data'|badly packed");
}

static void test_names(void) {
    refused("undefined", with_node(make_node("Add", "y nowhere", "z")),
            "node 'n_z' (Add)|'nowhere'");
    refused("defined twice", with_node(make_node("Exp", "x", "y")), "(Exp)|'y'");
    refused("same output twice", with_node(make_node("Split", "x", "a a")), "(Split)|'a'");
    refused("defines an input", with_node(make_node("Exp", "y", "x")), "(Exp)|'x'");
    refused("no operator", with_node(make_node("", "y", "z")), "'n_z'|no operator");
    msg g = relu_graph();
    put_msg(&g, GRAPH_NODE, make_node("Exp", "b", "a"));
    put_msg(&g, GRAPH_NODE, make_node("Log", "a", "b"));
    refused("cycle", make_model(g, 17), "cycle|node 'n_");
    refused("self", with_node(make_node("Exp", "z", "z")), "cycle|(Exp)");
    g = relu_graph();
    put_msg(&g, GRAPH_INPUT, make_value("x", 1, "2"));
    refused("input twice", make_model(g, 17), "'x'|twice");
    g = relu_graph();
    put_msg(&g, GRAPH_OUTPUT, make_value("none", 1, NULL));
    refused("output", make_model(g, 17), "output 'none'");
    float one = 1;
    g = relu_graph();
    put_msg(&g, GRAPH_INITIALIZER, make_raw("w", 1, "1", &one, 4));
    put_msg(&g, GRAPH_INITIALIZER, make_raw("w", 1, "1", &one, 4));
    refused("initializer twice", make_model(g, 17), "'w'|twice");
    g = relu_graph();
    put_msg(&g, GRAPH_INPUT, make_value("s", 14, "2"));
    refused("complex input", make_model(g, 17), "input 's'|complex64");
    msg value = {0}, type = {0};
    put_text(&value, 1, "s");
    put_bytes(&type, 4, "", 0);
    put_msg(&value, 2, type);
    g = relu_graph();
    put_msg(&g, GRAPH_INPUT, value);
    refused("sequence input", make_model(g, 17), "input 's'|sequence");
    g = relu_graph();
    put_msg(&g, GRAPH_INPUT, make_value("r", 1, "1 1 1 1 1 1 1 1 1"));
    refused("rank 9", make_model(g, 17), "input 'r'|9 dimensions");
    refused("opset 0", make_model(relu_graph(), 0), "version 0");
    msg m = make_model(relu_graph(), 17);
    put_msg(&m, MODEL_OPSET, make_opset("ai.onnx", 18));
    refused("two opsets", m, "two versions");
    m = (msg){0};
    put_int(&m, MODEL_IR, 8);
    put_msg(&m, MODEL_GRAPH, relu_graph());
    refused("no opset", m, "(Relu)|no version");
}

static void test_tensors(void) {
    float two[2] = {1, 2};
    refused("short", with_tensor(make_raw("w", 1, "3", two, 8)), "tensor 'w'|8 bytes|12");
    refused("long", with_tensor(make_raw("w", 1, "1", two, 8)), "tensor 'w'|8 bytes|needs 4");
    refused("none", with_tensor(make_tensor("w", 1, "2")), "tensor 'w'|0 elements|2");
    refused("negative", with_tensor(make_raw("w", 1, "-2", two, 8)), "tensor 'w'|shape");
    refused("overflow", with_tensor(make_raw("w", 1, "4611686018427387904 4", two, 8)),
            "tensor 'w'|shape");
    refused("huge", with_tensor(make_raw("w", 1, "4611686018427387904", two, 8)), "tensor 'w'");
    refused("rank 9", with_tensor(make_raw("w", 1, "1 1 1 1 1 1 1 1 2", two, 8)), "9 dimensions");
    refused("complex", with_tensor(make_raw("w", 14, "1", two, 8)), "tensor 'w'|complex64");
    refused("unknown type", with_tensor(make_raw("w", 99, "1", two, 8)), "tensor 'w'|99");
    refused("negative type", with_tensor(make_raw("w", -1, "1", two, 8)), "tensor 'w'|-1");
    refused("no type", with_tensor(make_raw("w", 0, "1", two, 8)), "tensor 'w'|undefined");
    refused("no name", with_tensor(make_raw("", 1, "2", two, 8)), "no name");
    msg t = make_tensor("w", 6, "2");
    put_bytes(&t, TENSOR_FLOATS, two, 8);
    refused("wrong field", with_tensor(t), "tensor 'w'|another type");
    t = make_raw("w", 1, "2", two, 8);
    put_bytes(&t, TENSOR_RAW, two, 8);
    refused("raw data twice", with_tensor(t), "'raw_data'|twice");
    t = make_raw("w", 1, "2", two, 8);
    put_bytes(&t, 3, "", 0);
    refused("segment", with_tensor(t), "tensor 'w'|segment");
    static const struct {
        int64_t place, extent;
        const char *wrong;
    } sparse[] = {{3, 3, "out of range"}, {-1, 3, "out of range"}, {0, 1LL << 40, "too large"}};
    for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++) {
        msg s = {0}, g = relu_graph();
        put_msg(&s, 1, make_raw("w", 1, "1", two, 4));
        put_msg(&s, 2, make_raw("", 7, "1", &sparse[i].place, 8));
        put_int(&s, 3, sparse[i].extent);
        put_msg(&g, GRAPH_SPARSE, s);
        refused("sparse", make_model(g, 17), sparse[i].wrong);
    }
}

static void test_attributes(void) {
    msg node = make_node("Flatten", "y", "z");
    put_msg(&node, NODE_ATTRIBUTE, make_attr("axis", 2));
    put_msg(&node, NODE_ATTRIBUTE, make_attr("axis", 2));
    refused("twice", with_node(node), "(Flatten)|'axis'|twice");
    refused("no name", with_attr(make_attr("", 2)), "(Flatten)|without a name");
    refused("no tensor", with_attr(make_attr("t", 4)), "(Flatten)|'t'|no tensor");
    refused("no graph", with_attr(make_attr("g", 5)), "(Flatten)|'g'|no graph");
    refused("kind", with_attr(make_attr("p", 13)), "(Flatten)|'p'|kind");
    refused("unknown kind", with_attr(make_attr("p", 77)), "(Flatten)|'p'|kind");
    msg attr = make_attr("t", 4);
    put_msg(&attr, 5, make_tensor("", 1, "2"));
    refused("tensor", with_attr(attr), "(Flatten)|'t'|0 elements");
    attr = make_attr("axis", 2);
    put_text(&attr, ATTRIBUTE_REFERENCE, "a");
    refused("reference", with_attr(attr), "(Flatten)|'axis'|outside of a function");
    refused("constant", with_node(make_node("Constant", "", "z")), "(Constant)|0 attributes");
    refused("constant", with_node(make_node("Constant", "", "z v")), "(Constant)|2 outputs");
}

static msg with_function(msg function, msg call) {
    msg m = with_node(call);
    put_msg(&m, MODEL_FUNCTION, function);
    return m;
}

static void test_functions(void) {
    msg f = make_function("F", "a", "b");
    put_msg(&f, FUNCTION_NODE, make_call("F", "a", "b"));
    refused("recursion", with_function(f, make_call("F", "y", "z")), "own.F|calls itself");
    f = make_function("F", "a", "b");
    refused("output", with_function(f, make_call("F", "y", "z")), "own.F|'b'|not defined");
    f = make_function("F", "a", "b");
    put_msg(&f, FUNCTION_NODE, make_node("Add", "a y", "b"));
    refused("reads outside", with_function(f, make_call("F", "y", "z")), "(Add)|'y'");
    f = make_function("F", "a", "b");
    refused("inputs", with_function(f, make_call("F", "y y", "z")), "own.F|1 inputs");
    f = make_function("F", "a a", "b");
    refused("input twice", with_function(f, make_call("F", "y", "z")), "'a'|twice");
    msg m = with_node(make_call("F", "y", "z"));
    put_msg(&m, MODEL_FUNCTION, make_function("F", "a", "b"));
    put_msg(&m, MODEL_FUNCTION, make_function("F", "a", "b"));
    refused("function twice", m, "function 'F'|twice");
    /* Each calls the one before it twice: 2^40 nodes from a few kB, and names that grow. */
    m = with_node(make_call("F39", "y", "z"));
    for (int i = 0; i < 40; i++) {
        char name[16], callee[16];
        snprintf(name, sizeof name, "F%d", i);
        snprintf(callee, sizeof callee, "F%d", i - 1);
        f = make_function(name, "a", "c");
        put_msg(&f, FUNCTION_NODE, i ? make_call(callee, "a", "b") : make_node("Exp", "a", "b"));
        put_msg(&f, FUNCTION_NODE, i ? make_call(callee, "b", "c") : make_node("Exp", "b", "c"));
        put_msg(&m, MODEL_FUNCTION, f);
    }
    tb_source *s = NULL;
    tb_budget budget = {.limit = (size_t)64 << 20};
    tiba_error error = {0};
    CHECK(tb_onnx_open_memory(&s, m.bytes, m.n, &budget, &error) != TIBA_OK && !s);
    CHECK(budget.used == 0 && error.message[0]);
    free(m.bytes);
}

/* Every kind of message in one small model. */
static msg make_everything(void) {
    msg g = relu_graph(), branch = {0}, attr, node, f = make_function("F", "a", "b");
    float two[2] = {1, 2};
    put_msg(&g, GRAPH_INITIALIZER, make_raw("w", 1, "2", two, 8));
    put_msg(&g, GRAPH_INITIALIZER, make_raw("h", 10, "2", two, 4));
    node = make_tensor("i", 7, "2");
    put_bytes(&node, TENSOR_INT64S, "\5\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11);
    put_msg(&g, GRAPH_INITIALIZER, node);
    node = make_tensor("q", 22, "3");
    put_bytes(&node, TENSOR_INTS, "\x21\3", 2);
    put_msg(&g, GRAPH_INITIALIZER, node);
    put_msg(&branch, GRAPH_NODE, make_node("Mul", "y w", "inner"));
    put_msg(&branch, GRAPH_OUTPUT, make_value("inner", 1, "n"));
    attr = make_attr("then_branch", 5);
    put_msg(&attr, 6, branch);
    node = make_node("If", "y", "c");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&g, GRAPH_NODE, node);
    attr = make_attr("alpha", 1);
    put_text(&attr, ATTRIBUTE_REFERENCE, "slope");
    node = make_node("LeakyRelu", "a", "b");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&f, FUNCTION_NODE, node);
    attr = make_attr("slope", 1);
    put_float(&attr, 2, 0.5f);
    put_msg(&f, FUNCTION_DEFAULT, attr);
    put_msg(&g, GRAPH_NODE, make_call("F", "c", "d"));
    attr = make_attr("value_ints", 7);
    put_int(&attr, 8, 1);
    node = make_node("Constant", "", "k");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&g, GRAPH_NODE, node);
    put_msg(&g, GRAPH_NODE, make_node("Reshape", "d k", "e"));
    put_msg(&g, GRAPH_OUTPUT, make_value("e", 1, NULL));
    msg model = make_model(g, 17);
    put_msg(&model, MODEL_FUNCTION, f);
    return model;
}

/* Cut off anywhere, and with bits turned over, in a block of exactly its size. */
static void test_damage(void) {
    msg model = make_everything();
    tb_source *s = NULL;
    tiba_error error = {0};
    CHECK_CASE(tb_onnx_open_memory(&s, model.bytes, model.n, NULL, &error) == TIBA_OK, "%s",
               error.message);
    tb_onnx_close(s);
    int opened = 0;
    for (size_t n = 0; n < model.n; n++) {
        unsigned char *cut = malloc(n + !n);
        if (!cut) abort();
        memcpy(cut, model.bytes, n);
        LLVMFuzzerTestOneInput(cut, n);
        s = NULL;
        opened += tb_onnx_open_memory(&s, cut, n, NULL, &error) == TIBA_OK;
        tb_onnx_close(s);
        free(cut);
    }
    /* The graph comes third; cut between the fields behind it a model may still be whole. */
    CHECK_CASE(opened <= 2, "%d of the cut models opened", opened);
    unsigned char *copy = malloc(model.n);
    if (!copy) abort();
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, model.bytes, model.n);
        for (int i = 0; i <= round % 4; i++) {
            size_t at = (size_t)(test_uniform(&seed) * (double)model.n);
            copy[at] = (unsigned char)(copy[at] ^ 1 << (int)(test_uniform(&seed) * 8));
        }
        LLVMFuzzerTestOneInput(copy, model.n);
    }
    free(copy);
    free(model.bytes);
}

/* Running out of memory at any point is a message too. */
static void test_budget(void) {
    msg model = make_everything();
    int opened = 0;
    for (size_t limit = 64; limit < 400000; limit += limit < 4096 ? 64 : 1777) {
        tb_budget budget = {.limit = limit};
        tb_source *s = NULL;
        tiba_error error = {0};
        tiba_status status = tb_onnx_open_memory(&s, model.bytes, model.n, &budget, &error);
        CHECK_CASE(status == TIBA_OK || status == TIBA_ERROR_RESOURCE, "%zu: %s", limit,
                   error.message);
        opened += status == TIBA_OK;
        tb_onnx_close(s);
        CHECK(budget.used == 0);
    }
    CHECK(opened > 0);
    free(model.bytes);
}

int main(void) {
    test_not_models();
    test_wire();
    test_names();
    test_tensors();
    test_attributes();
    test_functions();
    test_damage();
    test_budget();
    TEST_END();
}
