/* profile.c: see profile.h. */
#include "runtime/profile.h"

#include "base/tensor.h"

void tb_profile_stop(const tb_exec *exec, const tb_stopwatch *watch, tb_phase phase,
                     const tb_node *node, double read, double written) {
    tb_profile *p = exec->profile;
    tb_profile_row *row = &p->rows[phase][node->op->kind];
    /* a look-up reads what it copies, not the whole table */
    if (node->op->class == TB_CLASS_MOVE && read > written) read = written;
    row->calls++;
    row->seconds += tb_seconds() - watch->start;
    row->multiply_adds += (double)(atomic_load(&p->multiply_adds) - watch->multiply_adds);
    row->bytes += read + written;
}

double tb_profile_bytes(int n, const tiba_tensor *const *tensors, unsigned bits) {
    double bytes = 0;
    for (int i = 0; i < n; i++)
        if (tensors[i] && bits >> (i < 15 ? i : 15) & 1)
            bytes += (double)tb_tensor_bytes(tensors[i]);
    return bytes;
}
