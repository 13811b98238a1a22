/*
 * trust.h: how far an explanation can be trusted: whether relevance was conserved on the way to the
 * towers' readouts, whether numbers broke on the way, and, where it is asked for, whether the
 * target falls more when the most relevant tokens are removed than when as many random ones are.
 */
#ifndef TB_TOOLS_TRUST_H
#define TB_TOOLS_TRUST_H

#include "tools/explain_job.h"

enum { TB_TRUST_DRAWS = 20 };

/** What came of removing tokens of one tower. */
typedef struct tb_check {
    const char *refusal; /**< why they were not removed; NULL: they were */
    const char *what;    /**< "patches" or "tokens" */
    int64_t parts, removed;
    double before, after;             /**< the target with all of them, without the most relevant */
    double random_mean, random_least; /**< of TB_TRUST_DRAWS draws without random ones */
    int lower;                        /**< draws that fell further */
    const char *verdict;              /**< what to think of it; NULL: refused */
    const char *text;                 /**< all of it in words */
} tb_check;

/** Fills the trust lines of the job's report, and makes the checks where its options ask for it. */
tiba_status tb_trust(tb_job *job, tiba_error *error);

#endif
