/*
 * Every pattern of the raising tables: graphs made from its term compute the same before and after
 * and are rewritten by it; graphs that miss it by one detail keep their numbers, and what is read
 * from outside is never inside a match.
 */
#include "tests/check.h"
#include "tests/pattern_maker.h"

enum { GRAPHS = 150, MUTATED_GRAPHS = 12, MOST_GRAPHS = 20000 };

static uint64_t seed_of(int table, int row, int k) {
    return 0x9e3779b97f4a7c15U * (uint64_t)(1 + k + 4096 * (row + 64 * table));
}

/* The largest difference of any output over the largest magnitude; -1 if shapes differ. */
static double difference(const tb_graph *a, const tb_graph *b) {
    double worst = 0;
    if (a->n_outputs != b->n_outputs) return -1;
    for (int i = 0; i < a->n_outputs; i++) {
        const tiba_tensor *s = &a->outputs[i]->t, *t = &b->outputs[i]->t;
        if (!tb_same_shape(s, t)) return -1;
        double size = 1e-6, off = 0;
        for (int64_t k = 0; k < tb_tensor_count(s); k++) {
            double u = tb_get_f64(s, k), v = tb_get_f64(t, k);
            if (isnan(u) && isnan(v)) continue;
            if (u == v) continue;
            size = fmax(size, fabs(u));
            off = fmax(off, isnan(v - u) ? INFINITY : fabs(v - u));
        }
        worst = fmax(worst, off / size);
    }
    return worst;
}

static bool logged(const tb_rewrite_log *log, const char *pattern) {
    for (int i = 0; i < log->count; i++)
        if (strcmp(log->entries[i].pattern, pattern) == 0) return true;
    return false;
}

static bool run(maker *m) {
    return interpret_run(m->b.graph, m->arena, &m->exec, m->b.graph->n_inputs, m->feeds,
                         &m->error) == TIBA_OK;
}

static bool is_topological(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next)
        for (int i = 0; i < node->n_in; i++) {
            const tb_node *from = node->in[i] ? node->in[i]->producer : NULL;
            const tb_node *at = from ? from->next : node;
            while (at && at != node) at = at->next;
            if (at != node) return false;
        }
    return true;
}

/* Is the mutated value inside a match of the pattern under test? */
static bool swallows(const maker *m) {
    tb_match match;
    for (tb_node *node = m->b.graph->first; node; node = node->next) {
        if (!tb_pattern_match(m->pattern, node, &match)) continue;
        for (int i = 0; i < match.n_nodes; i++)
            if (match.nodes[i] != node && match.nodes[i] == m->mutated->producer) return true;
    }
    return false;
}

/* Is the gate's function there? (x · sigmoid(x)) · u is one without the pattern for the gate. */
static bool is_raised(const maker *m, const tb_rewrite_log *log) {
    if (logged(log, m->pattern->name)) return true;
    return strcmp(m->pattern->name, "swish-gate") == 0 && logged(log, "swish") &&
           m->b.graph->n_nodes == 2;
}

/* The operators of the graph, for the message of a failed check. */
static void print_graph(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        fprintf(stderr, "    v%d = %s(", node->out[0]->id, node->op_type);
        for (int i = 0; i < node->n_in; i++)
            fprintf(stderr, "%s%s%d", i ? ", " : "", node->in[i]->producer ? "v" : "c",
                    node->in[i]->id);
        fprintf(stderr, ")\n");
    }
}

/* Makes the graph twice and rewrites one of them. */
static void try_graph(const tb_pattern *pattern, uint64_t seed, mutation_kind mutation, int target,
                      maker_coverage *coverage, bool *made) {
    maker plain, raised;
    tb_rewrite_log log = {0};
    *made = maker_make(&plain, pattern, seed, mutation, target, coverage);
    if (!*made) return;
    if (coverage) coverage->replay = true;
    bool again = maker_make(&raised, pattern, seed, mutation, target, coverage);
    if (coverage) coverage->replay = false;
    if (!again) {
        CHECK_CASE(false, "%s: the same seed makes no second graph", pattern->name);
        maker_end(&plain);
        return;
    }
    if (raised.mutated)
        CHECK_CASE(!swallows(&raised), "%s: seed %llu, inner value %d is read from outside",
                   pattern->name, (unsigned long long)seed, target);
    tiba_status status = tb_raise(raised.b.graph, &raised.exec, &log, -1, &raised.error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", pattern->name, raised.error.message);
    CHECK_CASE(is_topological(raised.b.graph), "%s: order", pattern->name);
    CHECK_CASE(run(&plain), "%s: %s", pattern->name, plain.error.message);
    CHECK_CASE(run(&raised), "%s: %s", pattern->name, raised.error.message);
    double off = difference(plain.b.graph, raised.b.graph);
    CHECK_CASE(off >= 0 && off <= 1e-4, "%s: seed %llu, mutation %d at %d: results differ by %g",
               pattern->name, (unsigned long long)seed, (int)mutation, target, off);
    if (mutation == NO_MUTATION) {
        CHECK_CASE(is_raised(&raised, &log), "%s: not applied, seed %llu", pattern->name,
                   (unsigned long long)seed);
        if (!is_raised(&raised, &log)) {
            print_graph(plain.b.graph);
            for (int i = 0; i < log.count; i++) fprintf(stderr, "    %s\n", log.entries[i].pattern);
        }
    }
    maker_end(&plain);
    maker_end(&raised);
}

static bool is_covered(const maker_coverage *coverage) {
    for (int i = 0; i < coverage->count; i++)
        for (int k = 0; k < TB_TERM_MAX_IN && coverage->terms[i]->in[k]; k++)
            if (coverage->taken[i][k] == 0) return false;
    return true;
}

static void test_pattern(const tb_pattern *pattern, int table, int row) {
    static maker_coverage coverage;
    coverage = (maker_coverage){0};
    bool made;
    for (int k = 0; k < GRAPHS || (!is_covered(&coverage) && k < MOST_GRAPHS); k++) {
        try_graph(pattern, seed_of(table, row, k), NO_MUTATION, 0, &coverage, &made);
        CHECK_CASE(made, "%s: no graph", pattern->name);
    }
    CHECK_CASE(is_covered(&coverage), "%s: an alternative was never made", pattern->name);
    for (int kind = NO_MUTATION + 1; kind < MUTATION_KINDS; kind++)
        for (int k = 0; k < MUTATED_GRAPHS; k++) {
            made = true;
            /* A mutation can make shapes that do not fit; the next place may be good again. */
            for (int target = 0, misses = 0; misses < 3; target++) {
                try_graph(pattern, seed_of(table, row, k), (mutation_kind)kind, target, NULL,
                          &made);
                misses += !made;
            }
        }
}

int main(int argc, char **argv) {
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < tb_raise_tables[t]->count; i++) {
            const tb_pattern *pattern = &tb_raise_tables[t]->patterns[i];
            if (argc > 1 && strcmp(argv[1], pattern->name) != 0) continue;
            /* Operands that are not all of x's shape: test_raise.c. */
            if (!pattern->build && !maker_needs_shapes(pattern->term)) test_pattern(pattern, t, i);
        }
    TEST_END();
}
