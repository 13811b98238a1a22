/*
 * tiba_internal.h: what stands behind the opaque types of tiba.h, for tiba.c and tiba_inspect.c.
 */
#ifndef TIBA_INTERNAL_H
#define TIBA_INTERNAL_H

#include "graph/bind.h"
#include "graph/raise.h"
#include "onnx/onnx.h"
#include "rules/explain.h"
#include "runtime/profile.h"

/* Everything that depends on the inputs' shapes and integer data but not on float data. */
typedef struct plan {
    tb_bound *bound;
    tb_analysis *analysis;
    tb_explainer *explainer; /* NULL: `why_not` says why the output cannot be explained */
    tiba_error why_not;
    tb_program *program;
    int output;
    bool only_forward;       /* it keeps nothing for an explanation */
    tb_rewrite_log rewrites; /* memory of the bound graph */
} plan;

struct tiba_model {
    tb_budget budget;
    tb_source *source;
    tb_exec exec;
    plan *spare[2]; /* of runs that have been destroyed, for the next ones: with explanation, and
                       without */
    double open_seconds;
    tiba_unsupported *unsupported; /* of the source's arena, made when first asked for */
    int n_unsupported;
};

struct tiba_run {
    tiba_model *model;
    plan *plan;
    tb_arena *arena; /* copies of the float inputs */
    bool ran;        /* outputs have data */
    tiba_timings timings;
};

#endif
