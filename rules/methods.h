/*
 * methods.h: the methods of explanation as a table (method.def), and the formulas that only the
 * other methods have. TiBA is one row of it.
 */
#ifndef TB_RULES_METHODS_H
#define TB_RULES_METHODS_H

#include "rules/rollout.h"
#include "rules/rule.h"

/** What a block E [queries, keys] is made of, per head: its mean over heads follows. */
typedef enum tb_combine {
    TB_COMBINE_NONE,
    TB_COMBINE_GRADIENT_RELEVANCE, /**< max(0, ∇P ⊙ R_P) */
    TB_COMBINE_GRADIENT_ATTENTION, /**< max(0, ∇P ⊙ P) */
    TB_COMBINE_RELEVANCE,          /**< max(0, R_P) */
    TB_COMBINE_ATTENTION,          /**< P */
    TB_COMBINE_GRADCAM,            /**< w_h P_h; max(0, …) after the mean */
    TB_COMBINE_GRADIENT_INPUT      /**< no block: input ⊙ gradient */
} tb_combine;

/** How the result is read. */
typedef enum tb_reads {
    TB_READS_ROLLOUT, /**< wᵀ·Π(I + E_b) */
    TB_READS_LAST,    /**< wᵀ·E of the last attention */
    TB_READS_INPUT,   /**< what arrives at the pixels, or where a text's tokens begin */
    TB_READS_NOTHING  /**< random numbers */
} tb_reads;

typedef struct tb_method {
    const char *name, *alias, *summary;
    tb_ruleset ruleset;
    tb_combine combine;
    tb_reads reads;
    bool normalized; /**< rows of a rollout, by default; else as images and texts differ */
} tb_method;

/** The row of a method; NULL if `method` is out of range. */
const tb_method *tb_method_at(int method);
/** Does the result depend on the target? Not where it is made of attention alone. */
bool tb_method_per_class(const tb_method *method);
/** Is P itself part of a block? */
bool tb_method_reads_attention(const tb_method *method);
/** What a reverse pass to the blocks or the input has to carry: TB_REVERSE_…, 0: nothing. */
int tb_method_carries(const tb_method *method);

typedef struct tb_gradcam {
    const double *read; /**< [groups, queries] weights of the rows */
    int64_t groups, heads, queries, keys;
    const int *group_of; /**< as in tb_attention; NULL: one group */
    int64_t first, last; /**< the keys that count: from `first` to before `last` */
    bool transposed;     /**< P is [rows, keys, queries] */
} tb_gradcam;
/** GradCAM's E [groups, queries, keys] = max(0, mean over heads of w_h P_h) from P and ∇P [groups x
 *  heads, queries, keys]; w_h is the mean of ∇P_h over the keys that count and over the rows by
 *  their weights, of all groups together. Source: the paper's baseline code. */
void tb_block_gradcam(float *e, const float *p, const float *gradient, const tb_gradcam *how);

/** A picture's size among the dimensions of an input [samples, channels, height, width] (or with
 *  channels last, or without channels). */
typedef struct tb_pixel_axes {
    int64_t rows, columns, channels;
    int64_t row, column, channel; /**< strides within a sample */
} tb_pixel_axes;
/** False if the shape is no picture's. */
bool tb_pixel_axes_of(tb_pixel_axes *out, const tiba_tensor *input);
/** Σ over channels of a ⊙ b (b may be NULL: a) of one sample, [rows, columns]. */
void tb_pixel_sums(float *map, const tb_pixel_axes *axes, const float *a, const float *b);
/** n numbers in [0, 1) that follow from `seed`. */
void tb_random_numbers(double *out, int64_t n, uint64_t seed);
/** A seed from bytes (FNV-1a). */
uint64_t tb_seed_of(const void *data, size_t size);

#endif
