#include "graph/factors.h"

enum { MOST_STEPS = 32 };

static int actives(const tb_node *node) {
    int count = 0;
    for (int i = 0; i < node->n_in; i++) count += node->in[i] && node->in[i]->active;
    return count;
}

/* Is all else that the product takes smaller than the value, so that it is what is multiplied by it
 * (a mask with one number for each token)? */
static bool is_multiplied(const tb_node *node, const tb_value *value) {
    for (int k = 0; k < node->n_in; k++)
        if (node->in[k] != value && node->in[k]->active &&
            tb_tensor_count(&node->in[k]->t) < tb_tensor_count(&value->t))
            return true;
    return false;
}

/* Does everything that reads the value only move it, apply functions of it, or multiply another
 * activation by it? With `mark` set, makes the values on the way inactive. */
static bool only_multiplies(tb_value *value, bool mark, int depth) {
    if (value->is_output || value->n_uses == 0 || depth > MOST_STEPS) return false;
    if (mark) value->active = false;
    for (int i = 0; i < value->n_uses; i++) {
        const tb_node *node = value->uses[i].node;
        int others = actives(node);
        for (int k = 0; k < node->n_in; k++) others -= node->in[k] == value && value->active;
        if (tb_is(node, TB_OP_Mul) && others > 0 && !is_multiplied(node, value)) continue;
        bool alone =
            others == 0 && (node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_UNARY ||
                            node->op->class == TB_CLASS_BINARY);
        if (!alone) return false;
        for (int k = 0; k < node->n_out; k++)
            if (node->out[k] && node->out[k]->active &&
                !only_multiplies(node->out[k], mark, depth + 1))
                return false;
    }
    return true;
}

void tb_mark_factors(tb_graph *graph) {
    for (tb_node *node = graph->first; node; node = node->next) {
        bool look_up = (tb_is(node, TB_OP_Gather) || tb_is(node, TB_OP_GatherND)) &&
                       node->out[0]->active && actives(node) == 0;
        if (look_up && only_multiplies(node->out[0], false, 0))
            only_multiplies(node->out[0], true, 0);
    }
}
