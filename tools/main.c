/*
 * main.c: picks the command. Without a command's name the arguments are those of `explain`.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "io/nearest.h"
#include "tiba.h"
#include "tools/commands.h"
#include "tools/missing.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *summary;
} commands[] = {
    {"explain", tb_cmd_explain, "MODEL INPUT...", "what speaks for the scores (default)"},
    {"compare", tb_cmd_compare, "MODEL INPUT...", "all methods side by side"},
    {"eval", tb_cmd_eval, "KIND MODEL DATA", "how well the methods explain a model"},
    {"batch", tb_cmd_batch, "MODEL LIST|FOLDER -O OUTDIR", "many inputs, on all processors"},
    {"inspect", tb_cmd_inspect, "MODEL [INPUT...]", "what the model is and how it is read"},
    {"preprocess", tb_cmd_preprocess, "FOLDER PICTURE -o FILE", "the tensor made of a picture"},
    {"tokenize", tb_cmd_tokenize, "FOLDER TEXT", "a text's tokens, ids and places"},
    {"ops", tb_cmd_ops, "", "the operators that are supported"},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void) {
    printf("tiba-onnx %s: explains exported ONNX transformers\n\n"
           "  tiba-onnx MODEL INPUT... [options]\n"
           "  tiba-onnx COMMAND ...     (tiba-onnx COMMAND --help says more)\n\n"
           "commands:\n",
           tiba_version());
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-10s  %-27s  %s\n", commands[i].name, commands[i].arguments,
               commands[i].summary);
    printf("\n--version prints the version; man tiba-onnx explains every option.\n"
           "exit status: 0 done; 1 the model or an input cannot be explained or read;\n"
           "             2 wrong usage; 3 out of memory or output not writable\n");
}

/* A misspelt command is no model either. */
static int no_model(const char *name) {
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    const char *near = tb_nearest(name, N_COMMANDS, names);
    tiba_error error;
    tiba_status status =
        near ? tb_fail(&error, TIBA_ERROR_INPUT,
                       "%s: no such file or folder; did you mean the command %s?", name, near)
             : tb_missing(name, &error);
    fprintf(stderr, "tiba-onnx: %s\n", error.message);
    return (int)status;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "tiba-onnx: no model given; try tiba-onnx --help\n");
        return TIBA_ERROR_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tiba-onnx %s\n", tiba_version());
        return 0;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    if (argv[1][0] != '-' && tb_is_missing(argv[1])) return no_model(argv[1]);
    return tb_cmd_explain(argc, argv);
}

int main(int argc, char **argv) {
    int status = run(argc, argv);
    /* what was printed may be lost no less than a file */
    if (status == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "tiba-onnx: standard output: cannot write\n");
        return TIBA_ERROR_RESOURCE;
    }
    return status;
}
