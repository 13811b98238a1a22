/*
 * test_onnx.c: what sound model files become: values, constants, sub-graphs, functions, external
 * data. Models are written by hand (onnx_make.h); the shared ones are opened where they are there.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "onnx/onnx.h"
#include "onnx_make.h"
#include "support.h"

static tiba_error error;

static tb_source *open_model(const msg *model) {
    tb_source *source;
    error = (tiba_error){0};
    tiba_status status = tb_onnx_open_memory(&source, model->bytes, model->n, NULL, &error);
    CHECK_CASE(status == TIBA_OK, "%s", error.message);
    return source;
}

static const tb_value *value_named(const tb_graph *graph, const char *name) {
    for (int i = 0; i < graph->n_values; i++)
        if (strcmp(graph->values[i]->name, name) == 0) return graph->values[i];
    return NULL;
}

/* Operators in order, as "Add Mul". */
static const char *ops_of(const tb_graph *graph) {
    static char text[512];
    text[0] = '\0';
    for (const tb_node *node = graph->first; node; node = node->next) {
        strncat(text, node->op_type, 64);
        if (node->next) strcat(text, " ");
    }
    return text;
}

static void test_structure(void) {
    float two[2] = {1, 2};
    msg g = {0};
    put_text(&g, GRAPH_NAME, "main");
    put_msg(&g, GRAPH_NODE, make_node("Clip", "x - w", "y"));
    put_msg(&g, GRAPH_NODE, make_node("Split", "y", "- z"));
    put_msg(&g, GRAPH_INITIALIZER, make_raw("w", 1, "2", two, sizeof two));
    put_msg(&g, GRAPH_INPUT, make_value("x", 10, "batch 3 ?"));
    put_msg(&g, GRAPH_INPUT, make_value("w", 1, "2"));
    put_msg(&g, GRAPH_INPUT, make_value("free", 7, NULL));
    put_msg(&g, GRAPH_OUTPUT, make_value("z", 11, "batch"));
    put_msg(&g, GRAPH_OUTPUT, make_value("w", 1, NULL));
    msg model = make_model(g, 17);
    put_msg(&model, MODEL_OPSET, make_opset("com.microsoft", 1));
    tb_source *s = open_model(&model);
    if (!s) return;
    CHECK_STRING(s->producer, "maker 1.0");
    CHECK(s->ir_version == 8 && s->n_opsets == 2 && s->opsets[0].version == 17);
    CHECK(s->n_parameters == 2 && s->parameter_bytes == 8);
    CHECK_STRING(s->graph->name, "main");
    CHECK_STRING(ops_of(s->graph), "Clip Split");
    CHECK(s->graph->n_inputs == 2 && s->graph->n_outputs == 2 && s->graph->n_nodes == 2);
    const tb_value *x = s->graph->inputs[0];
    CHECK(x->t.dtype == TIBA_FLOAT16 && x->t.rank == 3 && x->t.dims[0] == -1);
    CHECK(x->t.dims[1] == 3 && x->t.dims[2] == -1 && x->input == 0 && x->n_uses == 1);
    CHECK_STRING(x->dim_names[0], "batch");
    CHECK_STRING(x->dim_names[2], "");
    CHECK(s->graph->inputs[1]->t.rank == -1 && !s->graph->inputs[1]->dim_names);
    const tb_node *clip = s->graph->first, *split = clip->next;
    CHECK(clip->n_in == 3 && !clip->in[1] && clip->in[2]->t.data && clip->opset == 17);
    CHECK_STRING(clip->name, "n_y");
    CHECK(split->n_out == 2 && !split->out[0] && split->out[1] == s->graph->outputs[0]);
    CHECK(s->graph->outputs[0]->t.dtype == TIBA_FLOAT64 && s->graph->outputs[1]->t.data);
    tb_onnx_close(s);
    free(model.bytes);
}

static void test_order(void) {
    msg g = {0}, branch = {0}, attr = make_attr("then_branch", 5);
    put_msg(&branch, GRAPH_NODE, make_node("Neg", "late", "inner"));
    put_msg(&branch, GRAPH_OUTPUT, make_value("inner", 1, NULL));
    put_msg(&branch, GRAPH_OUTPUT, make_value("late", 1, NULL));
    put_msg(&attr, 6, branch);
    msg node = make_node("If", "x", "y");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&g, GRAPH_NODE, node); /* its branch reads what the next but one makes */
    put_msg(&g, GRAPH_NODE, make_node("Add", "y middle", "out"));
    put_msg(&g, GRAPH_NODE, make_node("Exp", "middle", "late"));
    put_msg(&g, GRAPH_NODE, make_node("Sqrt", "x", "middle"));
    put_msg(&g, GRAPH_INPUT, make_value("x", 1, ""));
    put_msg(&g, GRAPH_OUTPUT, make_value("out", 1, NULL));
    msg model = make_model(g, 17);
    tb_source *s = open_model(&model);
    if (!s) return;
    CHECK_STRING(ops_of(s->graph), "Sqrt Exp If Add");
    const tb_graph *then = s->graph->first->next->next->attrs[0].graph;
    CHECK(then->parent == s->graph && then->n_outputs == 2);
    CHECK(then->first->in[0] == value_named(s->graph, "late"));
    CHECK_STRING(ops_of(then), "Neg Identity"); /* an outer value as output gets a node */
    CHECK(then->outputs[0]->id >= s->graph->n_values && then->outputs[0]->id < s->n_values);
    tb_onnx_close(s);
    free(model.bytes);
}

static void test_constants(void) {
    msg g = {0}, ints = make_attr("value_ints", 7), number = make_attr("value_float", 1);
    put_int(&ints, 8, 4), put_int(&ints, 8, -5);
    put_float(&number, 2, 2.5f);
    msg node = make_node("Constant", "", "a");
    put_msg(&node, NODE_ATTRIBUTE, ints);
    put_msg(&g, GRAPH_NODE, node);
    node = make_node("Constant", "", "b");
    put_msg(&node, NODE_ATTRIBUTE, number);
    put_text(&node, NODE_DOMAIN, "ai.onnx");
    put_msg(&g, GRAPH_NODE, node);
    msg tensor = make_attr("value", 4);
    put_msg(&tensor, 5, make_raw("", 9, "3", "\0\1\7", 3));
    node = make_node("Constant", "", "c");
    put_msg(&node, NODE_ATTRIBUTE, tensor);
    put_msg(&g, GRAPH_NODE, node);
    msg text = make_attr("value_string", 3);
    put_text(&text, 4, "word");
    node = make_node("Constant", "", "d");
    put_msg(&node, NODE_ATTRIBUTE, text);
    put_msg(&g, GRAPH_NODE, node);
    /* A sparse initializer [2, 3] with one element, its place given by two indices. */
    int64_t place[2] = {1, 2};
    float seven = 7;
    msg sparse = {0};
    put_msg(&sparse, 1, make_raw("e", 1, "1", &seven, sizeof seven));
    put_msg(&sparse, 2, make_raw("", 7, "1 2", place, sizeof place));
    put_int(&sparse, 3, 2), put_int(&sparse, 3, 3);
    put_msg(&g, GRAPH_SPARSE, sparse);
    put_msg(&g, GRAPH_NODE, make_node("Concat", "a b c d e", "y"));
    put_msg(&g, GRAPH_OUTPUT, make_value("y", 1, NULL));
    msg model = make_model(g, 17);
    tb_source *s = open_model(&model);
    if (!s) return;
    CHECK_STRING(ops_of(s->graph), "Concat");
    tb_value **in = s->graph->first->in;
    CHECK(in[0]->t.dtype == TIBA_INT64 && in[0]->t.rank == 1 && in[0]->t.dims[0] == 2);
    CHECK(tb_get_i64(&in[0]->t, 1) == -5);
    CHECK(in[1]->t.dtype == TIBA_FLOAT32 && in[1]->t.rank == 0);
    CHECK_NEAR(tb_get_f64(&in[1]->t, 0), 2.5, 0);
    CHECK(in[2]->t.dtype == TIBA_BOOL && tb_get_i64(&in[2]->t, 2) == 1);
    CHECK(in[3]->t.dtype == TIBA_STRING && in[3]->t.rank == 0 && !in[3]->t.data);
    CHECK(in[4]->t.rank == 2 && in[4]->t.dims[1] == 3);
    CHECK_NEAR(tb_get_f64(&in[4]->t, 5), 7, 0);
    CHECK_NEAR(tb_get_f64(&in[4]->t, 4), 0, 0);
    tb_onnx_close(s);
    free(model.bytes);
}

/* One tensor as an initializer; its first elements must read as `want`. */
static void check_tensor(const char *what, msg tensor, tiba_dtype dtype, int n,
                         const double *want) {
    msg g = {0};
    put_msg(&g, GRAPH_INITIALIZER, tensor);
    put_msg(&g, GRAPH_OUTPUT, make_value("t", 1, NULL));
    msg model = make_model(g, 17);
    tb_source *s = open_model(&model);
    if (s) {
        const tiba_tensor *t = &s->graph->outputs[0]->t;
        CHECK_CASE(t->dtype == dtype && tb_tensor_count(t) == n, "%s: dtype %d", what, t->dtype);
        for (int i = 0; i < n; i++) {
            double got = tb_get_f64(t, i);
            CHECK_CASE(got == want[i] || (isnan(got) && isnan(want[i])), "%s[%d]: %g, want %g",
                       what, i, got, want[i]);
        }
        tb_onnx_close(s);
    }
    free(model.bytes);
}

/* The same codes as raw data and in the typed field. */
static void check_codes(const char *what, int type, tiba_dtype dtype, int n, const char *dims,
                        size_t bytes, const void *codes, size_t element, const double *want) {
    check_tensor(what, make_raw("t", type, dims, codes, bytes), dtype, n, want);
    msg packed = {0}, tensor = make_tensor("t", type, dims);
    for (size_t i = 0; i < bytes / element; i++) {
        uint32_t code = 0;
        memcpy(&code, (const char *)codes + i * element, element);
        put_varint(&packed, code);
    }
    put_msg(&tensor, TENSOR_INTS, packed);
    check_tensor(what, tensor, dtype, n, want);
}

static void test_dtypes(void) {
    double inf = (double)INFINITY, nan_ = (double)NAN;
    check_codes("float16", 10, TIBA_FLOAT32, 6, "2 3", 12,
                (uint16_t[]){0x3c00, 0xc000, 0x0001, 0x7c00, 0x7e00, 0x8400}, 2,
                (double[]){1, -2, 5.9604644775390625e-08, inf, nan_, -6.103515625e-05});
    check_codes("bfloat16", 16, TIBA_FLOAT32, 2, "2", 4, (uint16_t[]){0x3f80, 0xc040}, 2,
                (double[]){1, -3});
    check_codes("int8", 3, TIBA_INT8, 2, "2", 2, (int8_t[]){-5, 7}, 1, (double[]){-5, 7});
    check_codes("uint8", 2, TIBA_UINT8, 2, "2", 2, (uint8_t[]){250, 7}, 1, (double[]){250, 7});
    check_codes("uint16", 4, TIBA_UINT16, 1, "1", 2, (uint16_t[]){65535}, 2, (double[]){65535});
    check_codes("bool", 9, TIBA_BOOL, 2, "2", 2, (uint8_t[]){1, 0}, 1, (double[]){1, 0});
    check_codes("float8e4m3fn", 17, TIBA_FLOAT32, 4, "4", 4, "\x38\xc0\x7f\x7e", 1,
                (double[]){1, -2, nan_, 448});
    check_codes("float8e4m3fnuz", 18, TIBA_FLOAT32, 3, "3", 3, "\x40\x80\x7f", 1,
                (double[]){1, nan_, 240});
    check_codes("float8e5m2", 19, TIBA_FLOAT32, 4, "4", 4, "\x3c\x7c\x7d\x01", 1,
                (double[]){1, inf, nan_, 1.52587890625e-05});
    check_codes("float8e5m2fnuz", 20, TIBA_FLOAT32, 3, "3", 3, "\x40\x80\x7f", 1,
                (double[]){1, nan_, 57344});
    check_codes("uint4", 21, TIBA_UINT8, 3, "3", 2, "\xf1\x07", 1, (double[]){1, 15, 7});
    check_codes("int4", 22, TIBA_INT8, 3, "3", 2, "\xf1\x07", 1, (double[]){1, -1, 7});
    check_codes("float4e2m1", 23, TIBA_FLOAT32, 4, "4", 2, "\x21\xf7", 1,
                (double[]){0.5, 1, 6, -6});
    check_codes("float8e8m0", 24, TIBA_FLOAT32, 2, "2", 2, "\x7f\x82", 1, (double[]){1, 8});
    check_codes("uint2", 25, TIBA_UINT8, 5, "5", 2, "\xe4\x02", 1, (double[]){0, 1, 2, 3, 2});
    check_codes("int2", 26, TIBA_INT8, 4, "4", 1, "\xe4", 1, (double[]){0, 1, -2, -1});
    /* 6-bit codes 1, 31, 32, 47: bits from the lowest up; one a piece in the typed field. */
    check_tensor("float6e2m3", make_raw("t", 27, "4", "\xc1\x07\xbe", 3), TIBA_FLOAT32, 4,
                 (double[]){0.125, 7.5, -0.0, -1.875});
    double lowest[] = {-1.7976931348623157e308, -(double)INFINITY, 0.5};
    check_tensor("float64", make_raw("t", 11, "3", lowest, sizeof lowest), TIBA_FLOAT32, 3,
                 (double[]){-(double)3.40282346638528859812e38f, -inf, 0.5});
    uint64_t big = UINT64_MAX;
    check_tensor("uint64", make_raw("t", 13, "1", &big, 8), TIBA_UINT64, 1,
                 (double[]){18446744073709551615.0});
    check_tensor("empty", make_tensor("t", 1, "0 5"), TIBA_FLOAT32, 0, NULL);
}

/* Floats in one packed piece, in two, and one by one are the same tensor. */
static void test_float_pieces(void) {
    float values[3] = {1, -2, 0.5};
    double want[3] = {1, -2, 0.5};
    msg tensor = make_tensor("t", 1, "3");
    put_bytes(&tensor, TENSOR_FLOATS, values, sizeof values);
    check_tensor("packed", tensor, TIBA_FLOAT32, 3, want);
    tensor = make_tensor("t", 1, "3");
    put_bytes(&tensor, TENSOR_FLOATS, values, 4);
    put_bytes(&tensor, TENSOR_FLOATS, values + 1, 8);
    check_tensor("two pieces", tensor, TIBA_FLOAT32, 3, want);
    tensor = make_tensor("t", 1, "3");
    for (int i = 0; i < 3; i++) put_float(&tensor, TENSOR_FLOATS, values[i]);
    check_tensor("one by one", tensor, TIBA_FLOAT32, 3, want);
    tensor = make_tensor("t", 1, "3");
    put_bytes(&tensor, TENSOR_FLOATS, values, sizeof values);
    put_bytes(&tensor, TENSOR_RAW, "", 0); /* an empty raw_data beside it means nothing */
    check_tensor("beside empty raw data", tensor, TIBA_FLOAT32, 3, want);
}

/* Every float16 widened as the one-element conversion does it. */
static void test_all_halves(void) {
    static uint16_t codes[65536];
    for (int i = 0; i < 65536; i++) codes[i] = (uint16_t)i;
    msg g = {0};
    put_msg(&g, GRAPH_INITIALIZER, make_raw("t", 10, "65536", codes, sizeof codes));
    put_msg(&g, GRAPH_OUTPUT, make_value("t", 1, NULL));
    msg model = make_model(g, 17);
    tb_source *s = open_model(&model);
    int wrong = 0;
    for (int i = 0; s && i < 65536; i++) {
        float got = ((const float *)s->graph->outputs[0]->t.data)[i];
        float want = tb_half_to_float((uint16_t)i);
        wrong += !(isnan(want) ? isnan(got) : memcmp(&got, &want, sizeof got) == 0);
    }
    CHECK(wrong == 0);
    tb_onnx_close(s);
    free(model.bytes);
}

/* own.Scale(x; factor = 2): x * factor + x, and own.Twice calls it in a branch of If. */
static msg make_functions_model(void) {
    msg g = {0}, node, attr;
    msg scale = make_function("Scale", "x opt", "y same");
    attr = make_attr("value_float", 1);
    put_text(&attr, ATTRIBUTE_REFERENCE, "factor");
    node = make_node("Constant", "", "f");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&scale, FUNCTION_NODE, make_node("Add", "scaled x opt", "y"));
    put_msg(&scale, FUNCTION_NODE, node); /* out of order */
    node = make_node("Mul", "x f", "scaled");
    attr = make_attr("gone", 2);
    put_text(&attr, ATTRIBUTE_REFERENCE, "not_given");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&scale, FUNCTION_NODE, node);
    put_msg(&scale, FUNCTION_NODE, make_node("Identity", "x", "same"));
    attr = make_attr("factor", 1);
    put_float(&attr, 2, 2.0f);
    put_msg(&scale, FUNCTION_DEFAULT, attr);

    msg twice = make_function("Twice", "a", "b"), branch = {0};
    node = make_call("Scale", "a", "c");
    attr = make_attr("factor", 1);
    put_text(&attr, ATTRIBUTE_REFERENCE, "by");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&branch, GRAPH_NODE, node);
    put_msg(&branch, GRAPH_OUTPUT, make_value("c", 1, NULL));
    attr = make_attr("then_branch", 5);
    put_msg(&attr, 6, branch);
    node = make_node("If", "a", "b");
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&twice, FUNCTION_NODE, node);

    msg pass = make_function("Pass", "a", "a");
    put_msg(&g, GRAPH_NODE, make_call("Scale", "x", "y"));
    node = make_call("Twice", "y", "z");
    attr = make_attr("by", 1);
    put_float(&attr, 2, 3.0f);
    put_msg(&node, NODE_ATTRIBUTE, attr);
    put_msg(&g, GRAPH_NODE, node);
    put_msg(&g, GRAPH_NODE, make_call("Scale", "z", "u"));
    put_msg(&g, GRAPH_NODE, make_call("Pass", "u", "v"));
    put_msg(&g, GRAPH_INPUT, make_value("x", 1, ""));
    put_msg(&g, GRAPH_OUTPUT, make_value("v", 1, NULL));
    msg model = make_model(g, 13);
    put_msg(&model, MODEL_FUNCTION, scale);
    put_msg(&model, MODEL_FUNCTION, twice);
    put_msg(&model, MODEL_FUNCTION, pass);
    return model;
}

static void test_functions(void) {
    msg model = make_functions_model();
    tb_source *s = open_model(&model);
    free(model.bytes);
    if (!s) return;
    CHECK_STRING(ops_of(s->graph), "Mul Add Identity If Mul Add Identity Identity");
    const tb_node *mul = s->graph->first, *add = mul->next, *branch = add->next->next;
    CHECK(mul->opset == 17 && mul->n_attrs == 0);
    CHECK_STRING(mul->name, "n_y/n_scaled");
    CHECK_STRING(mul->out[0]->name, "n_y/scaled");
    CHECK_STRING(add->out[0]->name, "y");
    CHECK_NEAR(tb_get_f64(&mul->in[1]->t, 0), 2, 0);
    CHECK(add->n_in == 3 && !add->in[2] && add->in[1] == s->graph->inputs[0]);
    const tb_node *inner = branch->attrs[0].graph->first;
    CHECK_STRING(inner->op_type, "Mul");
    CHECK_STRING(inner->out[0]->name, "n_z/n_c/scaled");
    CHECK(inner->in[0] == add->out[0]);
    CHECK_NEAR(tb_get_f64(&inner->in[1]->t, 0), 3, 0);
    CHECK(s->graph->last->out[0] == s->graph->outputs[0]);
    CHECK_STRING(s->graph->outputs[0]->name, "v");
    tb_onnx_close(s);
}

/* A function of an operator's name stays that operator; overloads are told apart. */
static void test_function_choice(void) {
    msg g = {0}, known = {0}, node;
    put_text(&known, 1, "BiasGelu");
    put_text(&known, FUNCTION_DOMAIN, "com.microsoft");
    put_words(&known, FUNCTION_INPUT, "a b");
    put_words(&known, FUNCTION_OUTPUT, "c");
    put_msg(&known, FUNCTION_NODE, make_node("Add", "a b", "c"));
    msg one = make_function("F", "a", "b"), two = make_function("F", "a", "b");
    put_msg(&one, FUNCTION_NODE, make_node("Exp", "a", "b"));
    put_msg(&two, FUNCTION_NODE, make_node("Log", "a", "b"));
    put_text(&two, FUNCTION_OVERLOAD, "second");
    node = make_node("BiasGelu", "x x", "n");
    put_text(&node, NODE_DOMAIN, "com.microsoft");
    put_msg(&g, GRAPH_NODE, node);
    node = make_call("F", "n", "m");
    put_text(&node, NODE_OVERLOAD, "second");
    put_msg(&g, GRAPH_NODE, node);
    put_msg(&g, GRAPH_NODE, make_call("F", "m", "y"));
    put_msg(&g, GRAPH_INPUT, make_value("x", 1, ""));
    put_msg(&g, GRAPH_OUTPUT, make_value("y", 1, NULL));
    msg model = make_model(g, 17);
    put_msg(&model, MODEL_FUNCTION, known);
    put_msg(&model, MODEL_FUNCTION, one);
    put_msg(&model, MODEL_FUNCTION, two);
    tb_source *s = open_model(&model);
    if (s) CHECK_STRING(ops_of(s->graph), "BiasGelu Log Exp");
    tb_onnx_close(s);
    free(model.bytes);
}

/* A folder of its own under the working folder, removed again. */
static char folder[64];

static const char *in_folder(const char *name) {
    static char path[4][160];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static msg make_external(const char *location, const char *offset, const char *length) {
    msg g = {0}, tensor = make_tensor("w", 1, "2 2");
    const char *pairs[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    for (int i = 0; i < 3; i++)
        if (pairs[i][1]) {
            msg entry = {0};
            put_text(&entry, 1, pairs[i][0]);
            put_text(&entry, 2, pairs[i][1]);
            put_msg(&tensor, TENSOR_EXTERNAL, entry);
        }
    put_int(&tensor, TENSOR_LOCATION, 1);
    put_msg(&g, GRAPH_INITIALIZER, tensor);
    put_msg(&g, GRAPH_OUTPUT, make_value("w", 1, NULL));
    return make_model(g, 17);
}

static void test_external(void) {
    static const struct {
        const char *location, *offset, *length, *wrong; /* wrong: in the message; NULL: opens */
    } cases[] = {
        {"w.bin", "8", "16", NULL},
        {"w.bin", "8", NULL, NULL},
        {"./sub/../w.bin", "8", "16", "'..'"},
        {"sub/w.bin", "8", "16", NULL}, /* a link that stays inside */
        {"w.bin", NULL, "16", NULL},
        {"w.bin", "9", "16", NULL}, /* not aligned: copied */
        {"w.bin", "16", "16", "the file has 28"},
        {"w.bin", "8", "12", "12 bytes of data"},
        {"w.bin", "-8", "16", "not a number"},
        {"w.bin", "18446744073709551608", "16", "needs 16 bytes"},
        {"none.bin", "0", "16", "none.bin"},
        {"../outside.bin", "0", "16", "'..'"},
        {"/etc/passwd", "0", "16", "absolute"},
        {"leak.bin", "0", "16", "leaves the model's folder"},
        {"sub", "0", "16", "regular file"},
        {"", "0", "16", "no location"},
    };
    float data[7] = {0, 0, 1, 2, 3, 4, 5};
    snprintf(folder, sizeof folder, "onnx_test.%ld", (long)getpid());
    CHECK(mkdir(folder, 0700) == 0 && mkdir(in_folder("sub"), 0700) == 0);
    CHECK(tb_file_write(in_folder("w.bin"), data, sizeof data, &error) == TIBA_OK);
    CHECK(symlink("../w.bin", in_folder("sub/w.bin")) == 0);
    CHECK(symlink("/etc/passwd", in_folder("leak.bin")) == 0);
    const char *path = in_folder("m.onnx");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg model = make_external(cases[i].location, cases[i].offset, cases[i].length);
        tb_source *s = NULL;
        error = (tiba_error){0};
        CHECK(tb_file_write(path, model.bytes, model.n, &error) == TIBA_OK);
        tiba_status status = tb_onnx_open(&s, path, NULL, &error);
        if (cases[i].wrong) {
            CHECK_CASE(status == TIBA_ERROR_INPUT && strstr(error.message, cases[i].wrong) &&
                           strstr(error.message, "tensor 'w'") && strstr(error.message, "m.onnx"),
                       "case %zu: %s", i, error.message);
        } else {
            CHECK_CASE(status == TIBA_OK, "case %zu: %s", i, error.message);
            if (s && cases[i].offset && *cases[i].offset == '8')
                CHECK_NEAR(tb_get_f64(&s->graph->outputs[0]->t, 3), 4, 0);
        }
        tb_onnx_close(s);
        if (i == 0) { /* bytes without a file have no folder */
            CHECK(tb_onnx_open_memory(&s, model.bytes, model.n, NULL, &error) != TIBA_OK);
            /* A model that is a link finds its data where it really lies. */
            CHECK(symlink("../m.onnx", in_folder("sub/m.onnx")) == 0);
            status = tb_onnx_open(&s, in_folder("sub/m.onnx"), NULL, &error);
            CHECK_CASE(status == TIBA_OK, "%s", error.message);
            tb_onnx_close(s);
        }
        free(model.bytes);
    }
    static const char *const made[] = {"sub/m.onnx", "sub/w.bin", "leak.bin", "w.bin", "m.onnx"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) CHECK(unlink(in_folder(made[i])) == 0);
    CHECK(rmdir(in_folder("sub")) == 0 && rmdir(folder) == 0);
}

static void test_read_tensor(void) {
    msg tensor = make_raw("t", 10, "2", (uint16_t[]){0x3c00, 0xc000}, 4);
    snprintf(folder, sizeof folder, ".");
    char name[64];
    snprintf(name, sizeof name, "onnx_tensor.%ld.pb", (long)getpid());
    CHECK(tb_file_write(name, tensor.bytes, tensor.n, &error) == TIBA_OK);
    tb_arena *arena = tb_arena_create(NULL);
    tiba_tensor t;
    CHECK(tb_onnx_read_tensor(&t, arena, name, &error) == TIBA_OK);
    CHECK(t.dtype == TIBA_FLOAT16 && t.rank == 1 && t.dims[0] == 2);
    CHECK_NEAR(tb_get_f64(&t, 1), -2, 0);
    tb_arena_destroy(arena);
    CHECK(unlink(name) == 0);
    free(tensor.bytes);
}

/* A few models of the shared data: counts of nodes (constants left out), inputs, outputs. */
static void test_shared(void) {
    static const struct {
        const char *path;
        int nodes, inputs, outputs;
    } models[] = {
#include "data/onnx/shared_models.inc"
    };
    int opened = 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[512];
        if (!test_shared_path(path, sizeof path, models[i].path)) continue;
        tb_source *s = NULL;
        error = (tiba_error){0};
        CHECK_CASE(tb_onnx_open(&s, path, NULL, &error) == TIBA_OK, "%s", error.message);
        if (!s) continue;
        opened++;
        CHECK_CASE(s->graph->n_nodes == models[i].nodes && s->graph->n_inputs == models[i].inputs &&
                       s->graph->n_outputs == models[i].outputs,
                   "%s: %d nodes, %d inputs, %d outputs", path, s->graph->n_nodes,
                   s->graph->n_inputs, s->graph->n_outputs);
        tb_onnx_close(s);
    }
    printf("%d shared models opened\n", opened);
}

int main(void) {
    test_structure();
    test_order();
    test_constants();
    test_dtypes();
    test_float_pieces();
    test_all_halves();
    test_functions();
    test_function_choice();
    test_external();
    test_read_tensor();
    test_shared();
    TEST_END();
}
