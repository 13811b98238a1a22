/*
 * pattern.h: finds sub-graphs by structure and says what stands in their place.
 *
 * A pattern is one row: a term to match (nested compound literals, macros below), a check, and a
 * replacement in the same style. The matcher walks from the root towards the inputs with a list of
 * goals and backtracks over operand orders of commutative operators and over alternatives. Where a
 * term adds or multiplies by a number, subtracting its negative or dividing by its inverse matches
 * as well, and the other way about. It
 * looks through Cast between floats and Identity anywhere, through Expand under broadcast
 * arithmetic, and through Unsqueeze or Reshape that puts reduced axes back. A match is refused when
 * a value inside it is read elsewhere or is a graph output.
 *
 *     static const tb_pattern table[] = {
 *         {"swish", OP(Mul, ANY("x"), OP(Sigmoid, ANY("x"))), .with = MAKE(Swish, GET("x"))},
 *     };
 */
#ifndef TB_GRAPH_PATTERN_H
#define TB_GRAPH_PATTERN_H

#include "graph/build.h"

typedef enum tb_term_kind {
    TB_TERM_ANY,      /**< any value; it stays outside the match */
    TB_TERM_CONSTANT, /**< a constant of any size */
    TB_TERM_NUMBER,   /**< a constant whose elements all equal `number` (see tb_term_near) */
    TB_TERM_SCALAR,   /**< a constant whose elements are all equal, v: the name gets the number
                           `number` · v */
    TB_TERM_COUNT,    /**< a constant equal to the elements that the reductions matched so far sum
                           up */
    TB_TERM_OP,       /**< an operator on the terms in[0 …] */
    TB_TERM_ONE_OF    /**< the first of in[0 …] that leads to a match */
} tb_term_kind;

/** What a constant is for; matching does not look at it, tests make constants by it. */
typedef enum tb_constant_use {
    TB_FOR_NORM,    /**< scale or shift of a normalisation: the shape of the reduced axes */
    TB_FOR_ONES,    /**< a scale that a constant factor is yet to replace */
    TB_FOR_WEIGHT,  /**< weight of a MatMul */
    TB_FOR_MATRIX,  /**< the same without leading axes */
    TB_FOR_ROWS,    /**< in front of a MatMul: takes rows as they are */
    TB_FOR_ROW_SUM, /**< likewise: one row of equal numbers */
    TB_FOR_SUM,     /**< behind a MatMul: one column of equal numbers */
    TB_FOR_BIAS,
    TB_FOR_SINK, /**< positive, one element along the reduced axis */
    TB_FOR_SHAPE /**< of Reshape */
} tb_constant_use;

enum { TB_TERM_MAX_IN = 10, TB_MADE_MAX_IN = 4 };

/** A condition on an attribute, or with `name` its capture as a number. */
typedef struct tb_term_attr {
    const char *attr;
    double value;     /**< what it must be, or its default when captured */
    const char *name; /**< NULL: condition */
    bool is_float;
} tb_term_attr;

typedef struct tb_term {
    tb_term_kind kind;
    tb_op_kind op;
    tb_constant_use use;
    /** A reduction or Softmax: all terms so marked work along the same axes. Of ANY: a value that
     *  has one element along them; its broadcast under arithmetic is looked through. */
    bool axes;
    double number;
    /** What the match calls the value. Where a name comes again, the value must be the same, or
     *  computed in the same way from the same values. */
    const char *name;
    const tb_term_attr *attrs; /**< ends with .attr = NULL */
    const struct tb_term *in[TB_TERM_MAX_IN];
} tb_term;

/* clang-format off */
#define OP_INIT(id, ...)      {.kind = TB_TERM_OP, .op = TB_OP_##id, .in = {__VA_ARGS__}}
#define ONE_OF_INIT(...)      {.kind = TB_TERM_ONE_OF, .in = {__VA_ARGS__}}
/** The same with a name for the value. */
#define OP_AS_INIT(n, id, ...) {.kind = TB_TERM_OP, .name = (n), .op = TB_OP_##id, .in = {__VA_ARGS__}}
#define ONE_OF_AS_INIT(n, ...) {.kind = TB_TERM_ONE_OF, .name = (n), .in = {__VA_ARGS__}}
#define ALONG_INIT(id, ...) \
    {.kind = TB_TERM_OP, .op = TB_OP_##id, .axes = true, .in = {__VA_ARGS__}}
#define OP(id, ...)           (&(const tb_term)OP_INIT(id, __VA_ARGS__))
#define OP_AS(n, id, ...)     (&(const tb_term)OP_AS_INIT(n, id, __VA_ARGS__))
#define ONE_OF(...)           (&(const tb_term)ONE_OF_INIT(__VA_ARGS__))
/** An operator along the pattern's axes. */
#define ALONG(id, ...)        (&(const tb_term)ALONG_INIT(id, __VA_ARGS__))
#define ANY(n)                (&(const tb_term){.kind = TB_TERM_ANY, .name = (n)})
#define ROWS(n)               (&(const tb_term){.kind = TB_TERM_ANY, .name = (n), .axes = true})
#define CONSTANT(n, for)      (&(const tb_term){.kind = TB_TERM_CONSTANT, .name = (n), .use = (for)})
#define NUMBER(v)             (&(const tb_term){.kind = TB_TERM_NUMBER, .number = (v)})
#define SCALAR(n)             (&(const tb_term){.kind = TB_TERM_SCALAR, .name = (n), .number = 1})
#define SCALAR_TIMES(n, f)    (&(const tb_term){.kind = TB_TERM_SCALAR, .name = (n), .number = (f)})
#define COUNT                 (&(const tb_term){.kind = TB_TERM_COUNT})
/* clang-format on */

/** What a name stands for. */
typedef struct tb_binding {
    const char *name;
    tb_value *value; /**< NULL for a number that came from an attribute */
    double number;   /**< of SCALAR and captured attributes */
    bool inside;     /**< computed by a matched node */
} tb_binding;

enum { TB_MATCH_MAX_NAMES = 16, TB_MATCH_MAX_NODES = 48 };

typedef struct tb_match {
    tb_node *root;
    tb_binding bindings[TB_MATCH_MAX_NAMES];
    int n_bindings;
    tb_node *nodes[TB_MATCH_MAX_NODES]; /**< what the replacement stands for, root included */
    int n_nodes;
    unsigned axes;  /**< bit i: axis i; 0: no term with axes matched yet */
    int axes_rank;  /**< rank of what is reduced */
    int64_t count;  /**< elements along the axes */
    int64_t effort; /**< goals tried, for the bound on the search */
} tb_match;

/** The replacement: a matched value, or an operator on replacements. */
typedef struct tb_made_attr {
    const char *attr;
    enum { TB_ATTR_IS_INT, TB_ATTR_IS_FLOAT, TB_ATTR_IS_STRING, TB_ATTR_IS_FIRST_AXIS } kind;
    double value;     /**< of a number; the fall-back where `from` is not bound */
    const char *from; /**< name of the number to take */
    const char *text;
} tb_made_attr;

typedef struct tb_made {
    const char *name; /**< the matched value of that name (left out when not bound), or */
    tb_op_kind op;    /**< … an operator */
    const struct tb_made *in[TB_MADE_MAX_IN];
    tb_made_attr attrs[3]; /**< ends with .attr = NULL */
} tb_made;

/* clang-format off */
#define GET(n)       (&(const tb_made){.name = (n)})
#define MAKE(id, ...) (&(const tb_made){.op = TB_OP_##id, .in = {__VA_ARGS__}})
/** Attributes in parentheses first: MAKE_WITH((AXIS_ATTR("axis")), Softmax, GET("x")). */
#define MAKE_WITH(list, id, ...) \
    (&(const tb_made){.op = TB_OP_##id, .in = {__VA_ARGS__}, .attrs = {TB_UNPACK list}})
#define TB_UNPACK(...)         __VA_ARGS__
#define NUMBER_ATTR(a, n, fallback) \
    {.attr = (a), .kind = TB_ATTR_IS_FLOAT, .from = (n), .value = (fallback)}
#define INT_ATTR_FROM(a, n)    {.attr = (a), .kind = TB_ATTR_IS_INT, .from = (n)}
#define INT_ATTR(a, v)         {.attr = (a), .kind = TB_ATTR_IS_INT, .value = (v)}
#define TEXT_ATTR(a, t)        {.attr = (a), .kind = TB_ATTR_IS_STRING, .text = (t)}
#define AXIS_ATTR(a)           {.attr = (a), .kind = TB_ATTR_IS_FIRST_AXIS}
/* clang-format on */

typedef struct tb_pattern {
    const char *name; /**< what the log says */
    const tb_term *term;
    const tb_made *with;
    /** Further conditions, NULL if none. A refusal lets the search go on. */
    bool (*check)(const tb_match *match);
    /** Makes constants that `with` names and binds them (tb_match_bind). NULL if none. */
    tiba_status (*prepare)(tb_builder *builder, tb_match *match, tiba_error *error);
    /** Builds the replacement where `with` is NULL. */
    tiba_status (*build)(tb_value **out, tb_builder *builder, tb_match *match, tiba_error *error);
    /** Tests: reductions may go along any axes, not the last ones only. */
    bool any_axis;
    /** Tests: reductions go along the last axis; "values" is what it is contracted with. */
    bool last_axis;
} tb_pattern;

/** Does the pattern match with `root` as its last node? Fills `match`. */
bool tb_pattern_match(const tb_pattern *pattern, tb_node *root, tb_match *match);
/** Calls `visit` for each op that can be the pattern's root (an op may come more than once). */
void tb_pattern_roots(const tb_term *term, void (*visit)(void *context, tb_op_kind op),
                      void *context);
/** Builds the replacement in front of the root. Where that fails, what was built until then stays.
 */
tiba_status tb_pattern_build(tb_value **out, const tb_pattern *pattern, tb_builder *builder,
                             tb_match *match, tiba_error *error);

/** The value or number of that name; NULL, or `fallback`, if it is not bound. */
tb_value *tb_match_value(const tb_match *match, const char *name);
double tb_match_number(const tb_match *match, const char *name, double fallback);
/** Adds or replaces a name. */
void tb_match_bind(tb_match *match, const char *name, tb_value *value);

/** Is v the number n, as a float of 16 bits may have it: relative error up to 2e-3, or 1e-6 where
 *  bfloat16 has n exactly? */
bool tb_term_near(double v, double n);
/** The number that all elements of a float or integer constant are; false if they differ. */
bool tb_uniform_constant(const tb_value *value, double *out);
/** A bias: a float constant whose elements vary along the last axis only, by its values (so an
 *  expanded one is a bias as well). Its row of `*n` elements (1 for a scalar) starts at the data.
 */
bool tb_row_constant(const tb_value *value, int64_t *n);
/** Looks through Identity and Cast from float to float. */
tb_value *tb_peel(tb_value *value);

#endif
