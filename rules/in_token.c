#include "rules/in_token.h"

/* Are the keys one token, as several layers have it? */
static bool weighs_layers(const tb_axes *axes, const tb_attention *a) {
    int key = tb_axes_root(axes, a->key_label);
    const tb_label *join = key >= 0 ? &axes->labels[key] : NULL;
    if (!join || join->kind != TB_LABEL_JOIN || join->n_parents < 2) return false;
    int token = tb_axes_root(axes, join->parents[0]);
    for (int i = 1; i < join->n_parents; i++)
        if (tb_axes_root(axes, join->parents[i]) != token) return false;
    return token >= 0 && axes->labels[token].kind == TB_LABEL_CUT && axes->labels[token].count == 1;
}

/* Does the tower hold all tokens of its input: those of a list of ids, all patches of a picture?
 * Rows of a picture attend within their columns too, which may be an axis that is not known. */
static bool is_whole(const tb_explainer *x, const tb_tower *tower) {
    if (tower->input < 0) return false;
    if (tower->image) return tower->rows > 1 && tower->columns > 1;
    const tiba_tensor *input = &x->graph->inputs[tower->input]->t;
    return (input->rank == 1 || input->rank == 2) && tower->length == input->dims[input->rank - 1];
}

/* Are all tokens of a tower told apart beside the queries and keys, which come from no input? */
static bool has_token_beside(const tb_explainer *x, const tb_attention *a) {
    const tb_analysis *on = x->analysis;
    int64_t inner;
    if (a->tower >= 0 || tb_label_input(on->axes, a->key_label) >= 0 ||
        tb_label_input(on->axes, a->query_label) >= 0)
        return false;
    for (int t = 0; t < on->attentions->n_towers; t++) {
        const tb_tower *tower = &on->attentions->towers[t];
        if (is_whole(x, tower) && tb_axes_carries(on->axes, a->p, tower->label, &inner))
            return true;
    }
    return false;
}

bool tb_is_in_token(const tb_explainer *x, const tb_attention *a) {
    return weighs_layers(x->analysis->axes, a) || has_token_beside(x, a);
}
