/*
 * job_rows.h: the option rows that commands share: what to explain, how, how inputs are
 * made and how maps look. For a struct with the members job (tb_job_options), how
 * (tb_subject_options), colors and opacity; AT(member) is its offset in it. SAY(summary) is the
 * summary to show, or "" where the help only lists the option.
 */
#ifndef TB_TOOLS_JOB_ROWS_H
#define TB_TOOLS_JOB_ROWS_H

#include "tools/arguments.h"

/* How inputs are made, for any command: the member how. */
#define TB_INPUT_ROWS(AT)                                                                          \
    {"--tokenizer", NULL, TB_ARG_TEXT, AT(how.tokenizer), "FILE", ""},                             \
        {"--truncate", NULL, TB_ARG_FLAG, AT(how.truncate), NULL, ""},                             \
        {"--size", NULL, TB_ARG_TEXT, AT(how.size), "N|HxW", ""},                                  \
        {"--crop", NULL, TB_ARG_TEXT, AT(how.crop), "N|HxW|none", ""},                             \
        {"--mean", NULL, TB_ARG_TEXT, AT(how.mean), "M[,M,M]", ""},                                \
        {"--std", NULL, TB_ARG_TEXT, AT(how.std), "S[,S,S]", ""},                                  \
        {"--resample", NULL, TB_ARG_TEXT, AT(how.resample), "FILTER", ""}, {                       \
        "--layout", NULL, TB_ARG_TEXT, AT(how.layout), "LAYOUT", ""                                \
    }

#define TB_JOB_ROWS(AT, SAY)                                                                       \
    {"--class",       "-c",    TB_ARG_TEXTS,                                                       \
     AT(job.classes), "CLASS", SAY("label, index or top; repeatable")},                            \
        {"--top", NULL, TB_ARG_COUNT, AT(job.top), "K", SAY("explain the K most likely classes")}, \
        {"--target",     NULL,       TB_ARG_TEXT,                                                  \
         AT(job.target), "I[,J...]", SAY("explain this scalar of the output")},                    \
        {"--output", NULL, TB_ARG_TEXT, AT(job.output), "NAME", ""},                               \
        {"--text",      NULL,   TB_ARG_TEXTS,                                                      \
         AT(job.texts), "TEXT", SAY("a text to score the picture with; repeatable")},              \
        {"--choose", NULL, TB_ARG_INT, AT(job.choose), "N", ""},                                   \
        {"--contrast",     NULL,   TB_ARG_TEXT,                                                    \
         AT(job.contrast), "TEXT", SAY("explain the lead over this text")},                        \
        {"--table",     NULL, TB_ARG_FLAG,                                                         \
         AT(job.table), NULL, SAY("what each word adds, and where it looks")},                     \
        {"--scale", NULL, TB_ARG_FACTOR, AT(job.scale), "X", ""},                                  \
        {"--signed",        NULL, TB_ARG_FLAG,                                                     \
         AT(job.keep_sign), NULL, SAY("show what speaks against it as well")},                     \
        {"--check",     NULL, TB_ARG_FLAG,                                                         \
         AT(job.check), NULL, SAY("does the score fall without what is relevant?")},               \
        {"--method",     "-m",   TB_ARG_TEXT,                                                      \
         AT(job.method), "NAME", SAY("how (default: tiba); compare --help lists them")},           \
        {"--rollout", NULL, TB_ARG_TEXT, AT(job.rollout), "FORM", ""},                             \
        {"--start-layer", NULL, TB_ARG_INT, AT(job.start_layer), "N", ""}, TB_INPUT_ROWS(AT),      \
        {"--colormap", NULL, TB_ARG_TEXT, AT(colors), "MAP", ""}, {                                \
        "--opacity", NULL, TB_ARG_FLOAT, AT(opacity), "X", ""                                      \
    }

#endif
