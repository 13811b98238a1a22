/*
 * cmd_ops.c: `tiba-onnx ops`: the operators that are supported, as a table.
 */
#include <stdio.h>
#include <string.h>

#include "tiba.h"
#include "tools/commands.h"

int tb_cmd_ops(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("tiba-onnx ops\n\n"
               "Prints the operators that are supported as a table: what each one is, and\n"
               "whether gradients pass it. docs/operators.md is this table.\n\n"
               "  -h, --help             this text\n");
        return TIBA_OK;
    }
    if (argc > 1) {
        fprintf(stderr, "tiba-onnx: ops takes no arguments, not '%.60s'\n", argv[1]);
        return TIBA_ERROR_USAGE;
    }
    tiba_operator op;
    printf("| operator | kind | gradient |\n|---|---|---|\n");
    for (int i = 0; tiba_operator_at(&op, i); i++)
        printf("| %s%s%s | %s | %s |\n", op.domain, op.domain[0] ? "." : "", op.name, op.kind,
               op.gradient);
    return TIBA_OK;
}
