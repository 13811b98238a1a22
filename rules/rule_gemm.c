/*
 * Gemm, α·A·B + β·C, as the MatMul and the Add that it stands for: a constant C is a bias, an
 * active one gets its share by the Add rule; the product goes on by the rule of two activations or
 * by that of an activation and a constant.
 */
#include "rules/rule.h"

static tiba_status new_scratch(tiba_tensor *t, const tb_step *s, tiba_error *error) {
    t->data = tb_scratch(s->exec, (size_t)tb_tensor_count(t), sizeof(float));
    return t->data ? TIBA_OK : tb_out_of_memory(error);
}

/* Takes C's share out of R: what is left for the product is in `left`. */
static tiba_status share_sum(const tb_step *s, const tiba_tensor *product, tiba_tensor *left,
                             tiba_error *error) {
    TB_TRY(new_scratch(left, s, error));
    tiba_tensor c = *s->in[2];
    TB_TRY(new_scratch(&c, s, error));
    float beta = tb_attr_float(s->node, "beta", 1.0f), *to = c.data;
    const float *from = s->in[2]->data;
    for (int64_t i = tb_tensor_count(&c) - 1; i >= 0; i--) to[i] = beta * from[i];
    tb_step sum = *s;
    sum.in = (const tiba_tensor *[]){product, &c};
    sum.r_in = (tiba_tensor *[]){left, s->r_in[2]};
    return tb_add_rule(&sum, 2, (const float[]){1.0f, 1.0f}, error);
}

static tiba_status gemm(const tb_step *s, tiba_error *error) {
    const tb_node *node = s->node;
    bool active_c = node->n_in > 2 && s->r_in[2];
    bool both = node->in[0]->active && node->in[1]->active;
    const tiba_tensor *in[3] = {s->in[0], s->in[1], NULL};
    tiba_tensor product = *s->out[0], left = product, *r_in[3] = {s->r_in[0], s->r_in[1], NULL};
    const tiba_tensor *r_out[1] = {s->r_out[0]}, *out[1] = {&product};
    if (active_c || both) {
        TB_TRY(new_scratch(&product, s, error));
        TB_TRY(node->op->def->forward(s->exec, node, in, (tiba_tensor *[]){&product}, error));
    }
    if (active_c) {
        TB_TRY(share_sum(s, &product, &left, error));
        r_out[0] = &left;
    }
    if (!r_in[0] && !r_in[1]) return TIBA_OK;
    tb_step step = *s;
    step.in = in, step.out = out, step.r_out = r_out, step.r_in = r_in;
    return both ? tb_rule_matmul.relevance(&step, error) : tb_linear_map_rule(&step, error);
}

const tb_rule tb_rule_gemm = {
    .name = "gemm", .relevance = gemm, .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0), .uses_vjp = true};
