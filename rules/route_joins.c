/*
 * route_joins.c: features put side by side. Each token's weight stands on the features of several
 * operands; those that get it get it in full.
 */
#include "rules/route_steps.h"
#include "runtime/kernel.h"

int tb_concat_axis(const tb_node *node) {
    const int axis = (int)tb_attr_int(node, "axis", 0);
    return axis < 0 ? axis + node->out[0]->t.rank : axis;
}

bool tb_route_own_part(float *part, const tb_node *node, const unsigned char *set, const float *m) {
    const tiba_tensor *out = &node->out[0]->t;
    const int axis = tb_concat_axis(node);
    const int64_t outer = tb_product(out->dims, 0, axis), n = out->dims[axis],
                  inner = tb_product(out->dims, axis + 1, out->rank);
    bool even = true;
    for (int64_t i = 0; i < outer * inner; i++) {
        const int64_t first = i / inner * n * inner + i % inner;
        double all = 0.0, own = 0.0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t k = 0, at = first; k < node->n_in; k++)
                for (int64_t f = 0; f < node->in[k]->t.dims[axis]; f++, at += inner) {
                    if (pass == 1)
                        part[at] = set[k] && own != 0.0 ? (float)(m[at] * (all / own)) : 0;
                    else if (set[k])
                        own += (double)m[at];
                    if (pass == 0) all += (double)m[at];
                }
        even &= own != 0.0 || all == 0.0;
    }
    return even;
}
