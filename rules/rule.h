/*
 * rule.h: relevance rules: what a step's inputs receive of its output's relevance.
 *
 * The rule table (rule.def) maps an operator (or class of operators) and a condition on its
 * operands to a rule; the first match wins, and what has no match falls to the general rule
 * x ⊙ vjp(R ⊘ f(x)). There are two rulesets: `tiba`, and `lrp` for the paper's LRP baselines.
 * Source: Chefer, Gur, Wolf, CVPR 2021, section 3, and the authors' code (NUMERICS in
 * docs/method.md).
 */
#ifndef TB_RULES_RULE_H
#define TB_RULES_RULE_H

#include "graph/op.h"

typedef enum tb_ruleset { TB_RULESET_TIBA, TB_RULESET_LRP } tb_ruleset;

/** What the targets that take a step together share: |x||W| of a Linear, for its divisors Z, which
 *  depend on the activations alone. */
typedef struct tb_shared {
    tb_budget *budget;
    float *z;             /**< [rows, cols], NULL: not opened in this step */
    unsigned char *known; /**< by row: z holds it */
    void *memory;         /**< internal */
    size_t bytes;
} tb_shared;

/** Room for this step's z, with no row known where this is the step's first call. False where there
 *  is no memory or `shared` is NULL. */
bool tb_shared_open(tb_shared *shared, int64_t rows, int64_t cols);
/** The next step begins. */
void tb_shared_reset(tb_shared *shared);
/** Gives the memory back. */
void tb_shared_clear(tb_shared *shared);

/** One step. Values without data are ones that the rule said it does not need. */
typedef struct tb_step {
    tb_exec *exec;
    const tb_node *node;
    tb_ruleset ruleset;
    const tiba_tensor *const *in;
    const tiba_tensor *const *out;
    const tiba_tensor *const *r_out; /**< relevance of the outputs, NULL where zero */
    tiba_tensor *const *r_in;        /**< overwritten with the inputs' shares; NULL: not wanted */
    const tiba_tensor *const *d_out; /**< gradient of the outputs, NULL where zero or not wanted */
    tiba_tensor *const *d_in;        /**< as r_in, for rules that compute the gradient as well */
    tb_shared *shared;               /**< with the other targets of the pass; NULL: it has one */
} tb_step;

typedef tiba_status tb_rule_fn(const tb_step *step, tiba_error *error);

typedef struct tb_rule {
    const char *name;
    tb_rule_fn *relevance;
    /** Computes r_in and d_in together because that shares work (one product with both sets of
     *  rows); NULL where there is nothing to share. */
    tb_rule_fn *both;
    unsigned needs; /**< which values it reads: TB_NEEDS_IN(i) | TB_NEEDS_OUT(i) */
    bool uses_vjp; /**< it calls the operator's vjp on these values: what that needs comes on top */
    /** An operand of the output's size receives the output's relevance as it is, so that both may
     *  be the same memory. */
    bool passes;
    /** The relevance of one operand of the output's size may be written over the output's. */
    bool over;
} tb_rule;

/** The rule for a node of a bound graph. Never NULL. */
const tb_rule *tb_find_rule(const tb_node *node);

#define TB_EPSILON 1e-9f
/** The authors' guarded division a ⊘ b: 0 where b = 0, a / 1e-9 where b = -1e-9, else a / (b +
 * 1e-9). */
static inline float tb_guarded(float a, float b) {
    float shifted = b + TB_EPSILON;
    return b == 0.0f ? 0.0f : shifted == 0.0f ? a / TB_EPSILON : a / shifted;
}
static inline double tb_guarded_f64(double a, double b) {
    double shifted = b + 1e-9;
    return b == 0.0 ? 0.0 : shifted == 0.0 ? a / 1e-9 : a / shifted;
}

#define RULE(op_or_class, condition, rule) extern const tb_rule tb_rule_##rule;
#define RULE_CLASS                         RULE
#include "rules/rule.def"
#undef RULE
#undef RULE_CLASS
extern const tb_rule tb_rule_general;

/* Shared by the rules. */

/** The z⁺-rule by the operator's own kernels, for any map that is linear in its one active operand:
 *  both rulesets, every operator; rule_linear.c is the fast form. */
tiba_status tb_linear_map_rule(const tb_step *step, tiba_error *error);
/** R_x = share · x ⊙ vjp(R ⊘ f(x)) by the operator's own kernels. */
tiba_status tb_z_rule(const tb_step *step, float share, tiba_error *error);
/** The Add rule for the sum of the n operands `sign[i] · in[i]`; those of constants (r_in[i] =
 * NULL) are worked out and dropped. */
tiba_status tb_add_rule(const tb_step *step, int n, const float *sign, tiba_error *error);
/** out[i] = Σ of the elements of `full` that broadcasting copied in's element i to; both float32.
 */
void tb_sum_to_shape(tiba_tensor *out, const tiba_tensor *full);
/** Sum of all elements in float64. */
double tb_total(const tiba_tensor *t);

#endif
