/*
 * inspect_json.c: what is known of a model, for programs.
 */
#include <string.h>

#include "io/json_write.h"
#include "tools/inspect.h"

static void text(tb_json_writer *w, const char *key, const char *value) {
    tb_json_write_text(w, key, value, strlen(value));
}

static void write_shape(tb_json_writer *w, const char *key, int rank, const int64_t *dims,
                        const char *const *names) {
    if (rank < 0) return;
    tb_json_open(w, key, '[');
    for (int d = 0; d < rank; d++) {
        if (dims[d] >= 0)
            tb_json_write_integer(w, NULL, dims[d]);
        else
            text(w, NULL, names[d]);
    }
    tb_json_close(w, ']');
}

/* `of`: the output that `op` makes of it, NULL: it is one of the file. */
static void write_port(tb_json_writer *w, const tiba_port *port, const tiba_tensor *here,
                       const char *of, const char *op, const char *blocked) {
    tb_json_open(w, NULL, '{');
    text(w, "name", port->name);
    text(w, "dtype", tb_dtype_name(port->dtype));
    write_shape(w, "shape", port->rank, port->dims, port->dim_names);
    if (here) write_shape(w, "bound_shape", here->rank, here->dims, NULL);
    if (of) text(w, "behind", of);
    if (of) text(w, "operator", op);
    if (blocked) text(w, "blocked", blocked);
    tb_json_close(w, '}');
}

static void write_ports(tb_json_writer *w, const tb_inspection *x) {
    const tiba_model *model = x->subject->model;
    if (x->sample) tb_json_write_bool(w, "inputs_made_up", x->made_up);
    tb_json_open(w, "inputs", '[');
    for (int i = 0; i < tiba_model_inputs(model); i++) {
        tiba_port port = tiba_model_input(model, i);
        const tiba_tensor *here = tb_inspection_fed(x, port.name);
        write_port(w, &port, here, NULL, NULL, NULL);
    }
    tb_json_close(w, ']');
    tb_json_open(w, "outputs", '[');
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_port port = tiba_model_output(model, i);
        tiba_tensor here = x->run ? tiba_run_output(x->run, i) : (tiba_tensor){0};
        const char *op = NULL, *of = tiba_model_behind(model, i, &op);
        const char *blocked = x->run ? tiba_run_blocked(x->run, i) : NULL;
        write_port(w, &port, x->run && !blocked ? &here : NULL, of, op, blocked);
    }
    tb_json_close(w, ']');
    const char *name, *kind;
    tb_json_open(w, "left_out", '[');
    for (int i = 0; (name = tiba_model_left_out(model, i, &kind)); i++) {
        tb_json_open(w, NULL, '{');
        tb_json_write_text(w, "name", name, strlen(name));
        tb_json_write_text(w, "kind", kind, strlen(kind));
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void write_file(tb_json_writer *w, const tb_subject *subject) {
    const tiba_model *model = subject->model;
    tiba_model_facts facts = tiba_model_about(model);
    text(w, "file", subject->path);
    text(w, "producer", facts.producer);
    tb_json_write_integer(w, "ir_version", facts.ir_version);
    tb_json_open(w, "opsets", '[');
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        const char *domain = tiba_model_opset(model, i, &version);
        tb_json_open(w, NULL, '{');
        text(w, "domain", domain);
        tb_json_write_integer(w, "version", version);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_write_integer(w, "parameters", facts.parameters);
    tb_json_write_integer(w, "parameter_bytes", facts.parameter_bytes);
}

static void write_towers(tb_json_writer *w, const tiba_run *run) {
    tiba_tower_facts t;
    tiba_block_facts block;
    tb_json_open(w, "towers", '[');
    for (int i = 0; tiba_run_tower(run, i, &t); i++) {
        tb_json_open(w, NULL, '{');
        text(w, "input", t.input);
        tb_json_write_bool(w, "is_image", t.is_image != 0);
        tb_json_write_integer(w, "tokens", t.tokens);
        tb_json_write_integer(w, "prefix_tokens", t.prefix);
        tb_json_write_integer(w, "rows", t.rows);
        tb_json_write_integer(w, "columns", t.columns);
        tb_json_write_bool(w, "tokens_move", t.moves != 0);
        text(w, "pooling", t.pooling);
        text(w, "target_reads", t.reads);
        if (t.note) text(w, "note", t.note);
        tb_json_open(w, "blocks", '[');
        for (int k = 0; tiba_run_block(run, i, k, &block); k++) {
            tb_json_open(w, NULL, '{');
            text(w, "nodes", block.node);
            tb_json_write_integer(w, "heads", block.heads);
            tb_json_write_integer(w, "queries", block.queries);
            tb_json_write_integer(w, "keys", block.keys);
            tb_json_write_integer(w, "groups", block.groups);
            tb_json_close(w, '}');
        }
        tb_json_close(w, ']');
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

/* Counts, or with `nodes` every one of them. */
static void write_rewrites(tb_json_writer *w, const tiba_run *run, bool nodes) {
    tiba_rewrite rewrite;
    int count;
    tb_json_open(w, "rewrites", '[');
    for (int i = 0; tiba_run_rewrite(run, i, &rewrite); i++) {
        if (!nodes && !tb_first_rewrite(run, i, &count)) continue;
        tb_json_open(w, NULL, '{');
        text(w, "kind", rewrite.kind);
        text(w, "name", rewrite.name);
        if (nodes)
            text(w, "nodes", rewrite.nodes);
        else
            tb_json_write_integer(w, "count", count);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void write_unsupported(tb_json_writer *w, const tb_inspection *x) {
    tiba_unsupported u;
    tb_json_open(w, "unsupported", '[');
    for (int i = 0; tiba_model_unsupported(&u, x->subject->model, i); i++) {
        tb_json_open(w, NULL, '{');
        text(w, "domain", u.domain);
        text(w, "operator", u.op);
        tb_json_write_integer(w, "count", u.count);
        tb_json_open(w, "nodes", '[');
        for (int k = 0; k < u.count; k++) text(w, NULL, u.nodes[k]);
        tb_json_close(w, ']');
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    if (x->run) return;
    tb_json_open(w, "refused", '[');
    for (int i = 0; i < x->n_obstacles; i++) {
        tb_json_open(w, NULL, '{');
        text(w, "node", x->obstacles[i].node);
        text(w, "operator", x->obstacles[i].op);
        text(w, "reason", x->obstacles[i].reason);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

void tb_inspect_json(tb_json_writer *w, const tb_inspection *x) {
    write_file(w, x->subject);
    write_ports(w, x);
    write_unsupported(w, x);
    const char *why = x->why;
    if (x->run) {
        int file, bound;
        tiba_run_nodes(x->run, &file, &bound);
        tb_json_write_integer(w, "nodes", file);
        tb_json_write_integer(w, "bound_nodes", bound);
        write_towers(w, x->run);
        write_rewrites(w, x->run, x->nodes);
        why = tiba_run_refusal(x->run);
    }
    if (why) text(w, "refusal", why);
}
