/*
 * inspect_text.c: what is known of a model, for people.
 */
#include <stdio.h>
#include <string.h>

#include "tools/inspect.h"

enum { SHOWN = 8 /* nodes or obstacles before "… more" */ };

bool tb_first_rewrite(const tiba_run *run, int index, int *count) {
    tiba_rewrite this, other;
    *count = 0;
    if (!tiba_run_rewrite(run, index, &this)) return false;
    for (int i = 0; tiba_run_rewrite(run, i, &other); i++) {
        bool same = strcmp(this.kind, other.kind) == 0 && strcmp(this.name, other.name) == 0;
        if (same && i < index) return false;
        *count += same;
    }
    return true;
}

void tb_inspect_rewrites(const tiba_run *run) {
    tiba_rewrite rewrite;
    for (int i = 0; tiba_run_rewrite(run, i, &rewrite); i++)
        printf("%s %s: %s\n", rewrite.kind, rewrite.name, rewrite.nodes);
}

static void print_shape(int rank, const int64_t *dims, const char *const *names) {
    printf(" [");
    for (int d = 0; d < rank; d++) {
        if (d) printf(", ");
        if (dims[d] >= 0)
            printf("%lld", (long long)dims[d]);
        else
            printf("%s", names && names[d][0] ? names[d] : "?");
    }
    printf(rank < 0 ? "any shape]" : "]");
}

/* As declared, and where that leaves something open as it is in this inspection. */
static void print_port(const char *what, const tiba_port *port, const tiba_tensor *here,
                       const char *how) {
    printf("%-9s %-18s %s", what, port->name, tb_dtype_name(port->dtype));
    print_shape(port->rank, port->dims, port->dim_names);
    bool open = port->rank < 0;
    for (int d = 0; d < port->rank; d++) open = open || port->dims[d] < 0;
    if (here && open) {
        printf(", %s", how);
        print_shape(here->rank, here->dims, NULL);
    }
    printf("\n");
}

static void print_ports(const tb_inspection *x) {
    const tiba_model *model = x->subject->model;
    for (int i = 0; i < tiba_model_inputs(model); i++) {
        tiba_port port = tiba_model_input(model, i);
        const tiba_tensor *here = tb_inspection_fed(x, port.name);
        print_port("input", &port, here, x->made_up ? "made up as" : "given as");
    }
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_port port = tiba_model_output(model, i);
        tiba_tensor here = x->run ? tiba_run_output(x->run, i) : (tiba_tensor){0};
        const char *op, *of = tiba_model_behind(model, i, &op);
        const char *blocked = x->run ? tiba_run_blocked(x->run, i) : NULL;
        print_port(of ? "behind" : "output", &port, x->run && !blocked ? &here : NULL, "here");
        if (blocked) printf("blocked   output %s: %s\n", port.name, blocked);
    }
    const char *name, *kind;
    for (int i = 0; (name = tiba_model_left_out(model, i, &kind)); i++)
        printf("left out  output %s: %s\n", name, kind);
}

static void print_file(const tb_subject *subject) {
    const tiba_model *model = subject->model;
    tiba_model_facts facts = tiba_model_about(model);
    printf("file      %s\nproducer  %s, IR version %lld\nopsets   ", subject->path,
           facts.producer[0] ? facts.producer : "not said", (long long)facts.ir_version);
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        const char *domain = tiba_model_opset(model, i, &version);
        printf(" %s %lld%s", domain[0] ? domain : "ai.onnx", (long long)version,
               i + 1 < facts.n_opsets ? "," : "");
    }
    printf("\nweights   %.2f million parameters, %.1f MB\n", (double)facts.parameters / 1e6,
           (double)facts.parameter_bytes / 1e6);
}

static void print_tower(const tiba_run *run, int index, const tiba_tower_facts *t) {
    printf("tower     %s: %lld tokens", t->input, (long long)t->tokens);
    if (t->rows)
        printf(" = %lld prefix + %lld x %lld patches", (long long)t->prefix, (long long)t->rows,
               (long long)t->columns);
    printf("%s, %d block%s of ", t->moves ? " that move or merge" : "", t->blocks,
           t->blocks == 1 ? "" : "s");
    tiba_block_facts block, first;
    bool alike = true;
    if (!tiba_run_block(run, index, 0, &first)) return;
    for (int i = 0; tiba_run_block(run, index, i, &block); i++)
        alike = alike && block.heads == first.heads;
    for (int i = 0; (i == 0 || !alike) && tiba_run_block(run, index, i, &block); i++)
        printf("%s%lld", i ? ", " : "", (long long)block.heads);
    printf(" heads\npooling   %s: the target reads %s\n", t->pooling, t->reads);
    if (t->note) printf("note      %s\n", t->note);
}

static bool any_blocked(const tb_inspection *x) {
    for (int i = 0; i < tiba_model_outputs(x->subject->model); i++)
        if (tiba_run_blocked(x->run, i)) return true;
    return false;
}

static void print_unsupported(const tb_inspection *x) {
    tiba_unsupported u;
    for (int i = 0; tiba_model_unsupported(&u, x->subject->model, i); i++) {
        printf("unsupported %s%s%s x %d%s: ", u.domain, u.domain[0] ? "." : "", u.op, u.count,
               !x->run          ? ""
               : any_blocked(x) ? ", which the output does not need"
                                : ", which no output needs");
        for (int k = 0; k < u.count && k < SHOWN; k++) printf("%s%s", k ? ", " : "", u.nodes[k]);
        if (u.count > SHOWN) printf(" and %d more", u.count - SHOWN);
        printf("\n");
    }
    for (int i = 0; i < x->n_obstacles && i < SHOWN; i++)
        printf("refused   %s\n", x->obstacles[i].reason);
    if (x->n_obstacles > SHOWN) printf("refused   %d more nodes\n", x->n_obstacles - SHOWN);
}

void tb_inspect_text(const tb_inspection *x) {
    tiba_tower_facts tower;
    tiba_rewrite rewrite;
    int file, bound, count;
    print_file(x->subject);
    print_ports(x);
    if (x->run) {
        tiba_run_nodes(x->run, &file, &bound);
        printf("graph     %d nodes in the file, %d when bound\n", file, bound);
        for (int i = 0; tiba_run_tower(x->run, i, &tower); i++) print_tower(x->run, i, &tower);
        if (tiba_run_refusal(x->run)) printf("cannot be explained: %s\n", tiba_run_refusal(x->run));
        for (int i = 0; tiba_run_rewrite(x->run, i, &rewrite); i++)
            if (tb_first_rewrite(x->run, i, &count))
                printf("%-9s %s x %d\n", rewrite.kind, rewrite.name, count);
    }
    print_unsupported(x);
}
