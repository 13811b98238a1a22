/* send.c: numbers sent through moves. See send.h. */
#include "graph/send.h"

tiba_tensor *tb_send_new(tb_arena *arena, const tiba_tensor *like) {
    tiba_tensor *t = TB_NEW(arena, tiba_tensor, 1);
    if (!t || tb_tensor_create(t, arena, TIBA_FLOAT32, like->rank, like->dims, NULL) != TIBA_OK)
        return NULL;
    return t;
}

tiba_tensor *tb_send(tb_exec *exec, tb_arena *arena, const tb_node *node, int at, int to,
                     const tiba_tensor *ids) {
    const tiba_tensor **in = TB_NEW(arena, const tiba_tensor *, node->n_in);
    tiba_tensor **out = TB_NEW(arena, tiba_tensor *, node->n_out);
    if (!in || !out || node->op->class != TB_CLASS_MOVE) return NULL;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *value = node->in[i];
        in[i] = i == at ? ids : value && value->t.data ? &value->t : NULL;
        if (!value || in[i]) continue;
        if (!value->active || !(in[i] = tb_send_new(arena, &value->t))) return NULL;
    }
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] && !(out[i] = tb_send_new(arena, &node->out[i]->t))) return NULL;
    tiba_status status = node->op->def->forward(exec, node, in, out, NULL);
    tb_scratch_reset(exec);
    return status == TIBA_OK ? out[to] : NULL;
}

int64_t tb_send_id(const tiba_tensor *ids, int64_t i) {
    float id = ((const float *)ids->data)[i];
    return id > 0 ? (int64_t)id : 0; /* what pads is no one's */
}

bool tb_send_countable(int64_t n) {
    return n < (1 << 24);
}

int tb_only_active(const tb_node *node) {
    int at = -1;
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i] || !node->in[i]->active) continue;
        if (at >= 0) return -1;
        at = i;
    }
    return at;
}
