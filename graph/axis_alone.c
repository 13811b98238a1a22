#include "graph/axis_alone.h"

#include <string.h>

#include "graph/axes_pass.h"

bool tb_axis_alone_create(tb_axis_alone *at, const tb_graph *graph, const tb_axes *axes) {
    *at = (tb_axis_alone){.graph = graph};
    at->axes.arena = axes->arena;
    at->axes.n_values = axes->n_values;
    at->axes.values = TB_NEW(axes->arena, tb_value_axes *, axes->n_values);
    return at->axes.values != NULL;
}

bool tb_axis_alone_begin(tb_axis_alone *at, const tb_value *value, int dim) {
    memset(at->axes.values, 0, (size_t)at->axes.n_values * sizeof(tb_value_axes *));
    at->axes.n_labels = 0;
    tb_value_axes *va = TB_NEW(at->axes.arena, tb_value_axes, 1);
    if (!va) return false;
    tb_axes_pass p = {.graph = at->graph, .axes = &at->axes, .node = value->producer, .to = va};
    tb_label label = {.kind = TB_LABEL_OTHER, .node = value->producer, .input = -1};
    tb_axes_new(&p, value, dim, label, NULL, NULL);
    at->axes.values[value->id] = va;
    return !p.failed;
}

bool tb_axis_alone_carry(tb_axis_alone *at, const tb_node *node, int which) {
    tb_axes_pass p = {.graph = at->graph, .axes = &at->axes};
    return tb_axes_label(&p, node, which);
}

bool tb_axis_alone_at(tb_axis_alone *at, const tb_value *value, int dim) {
    if (dim >= 0) return tb_axes_dim(&at->axes, value, dim) == 0;
    for (int d = 0; d < value->t.rank; d++)
        if (tb_axes_dim(&at->axes, value, d) == 0) return true;
    return false;
}
