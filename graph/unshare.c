#include "graph/unshare.h"

#include <string.h>

#include "graph/build.h"
#include "graph/region.h"

typedef struct unsharer {
    tb_graph *graph;
    tb_exec *exec;
    const tb_regions *regions;
    bool *usable;    /* by region */
    tb_value **copy; /* by value id: the copy for the region at hand */
    int *position;   /* by node id, of the nodes that were there at the start */
    int *holders;    /* by node id: how many usable regions it is in */
    bool *apart;     /* by node id: is it read outside of the region at hand, or made for that? */
    int n_values, n_nodes;
} unsharer;

static bool has_node(const tb_region *region, const tb_node *node) {
    for (int i = 0; i < region->n_nodes; i++)
        if (region->nodes[i] == node) return true;
    return false;
}

/* Is `node` in a usable region with the same entry, `but` aside, that comes before `end`? */
static bool is_shared(const unsharer *u, const tb_node *node, int but, int end) {
    if (u->holders[node->id] == 0) return false;
    for (int k = 0; k < end; k++)
        if (k != but && u->usable[k] && u->regions->list[k].entry == u->regions->list[but].entry &&
            has_node(&u->regions->list[k], node))
            return true;
    return false;
}

/* Is it a node that neither the region nor another one with the same entry has? */
static bool is_outside(const unsharer *u, int index, const tb_node *by) {
    if (by->id >= u->n_nodes) return true; /* a copy */
    return tb_carries_on(by) && !has_node(&u->regions->list[index], by) &&
           !is_shared(u, by, index, u->regions->n);
}

static bool is_read_outside(const unsharer *u, int index, const tb_value *value) {
    for (int k = 0; k < value->n_uses; k++)
        if (is_outside(u, index, value->uses[k].node)) return true;
    return false;
}

static bool is_statistic(const tb_region *region, const tb_value *value) {
    return tb_tensor_count(&value->t) < tb_tensor_count(&region->entry->t);
}

/* Is everything between that others read read by such regions alone? One number of many, such as a
 * mean, may be read by anyone, and so may x with its axes turned where that is. */
static bool is_read_by_regions(const unsharer *u, int index) {
    const tb_region *region = &u->regions->list[index];
    bool statistics = false, moves = false;
    for (int i = 1; i < region->n_nodes; i++) {
        const tb_value *out = region->nodes[i]->out[0];
        if (out->is_output) return false;
        if (!is_read_outside(u, index, out)) continue;
        bool statistic = is_statistic(region, out);
        if (!statistic && region->nodes[i]->op->class != TB_CLASS_MOVE) return false;
        statistics |= statistic;
        moves |= !statistic;
    }
    return statistics || !moves;
}

static void set_usable(unsharer *u, int index, bool usable) {
    const tb_region *region = &u->regions->list[index];
    u->usable[index] = usable;
    for (int i = 0; i < region->n_nodes; i++) u->holders[region->nodes[i]->id] += usable ? 1 : -1;
}

static void find_usable(unsharer *u) {
    for (int k = 0; k < u->regions->n; k++) set_usable(u, k, true);
    for (bool changed = true; changed;) {
        changed = false;
        for (int k = 0; k < u->regions->n; k++)
            if (u->usable[k] && !is_read_by_regions(u, k)) {
                set_usable(u, k, false);
                changed = true;
            }
    }
}

/* What the region at hand reads in the place of `value`. */
static tb_value *own(const unsharer *u, tb_value *value) {
    tb_value *made = value && value->id < u->n_values ? u->copy[value->id] : NULL;
    return made ? made : value;
}

static tiba_status copy_node(unsharer *u, tb_node *node, tiba_error *error) {
    tb_value **in = TB_NEW(u->graph->arena, tb_value *, node->n_in);
    if (!in) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) in[i] = own(u, node->in[i]);
    tb_builder b = {.graph = u->graph,
                    .exec = u->exec,
                    .origin = node->origin,
                    .before = node->next,
                    .from = node};
    TB_TRY(tb_build1(&b, &u->copy[node->out[0]->id], node->op->kind, node->n_in, in, node->n_attrs,
                     node->attrs, error));
    u->copy[node->out[0]->id]->name = node->out[0]->name;
    return TIBA_OK;
}

/* Marks what of the region is read outside of it, and what that is made of. */
static bool mark_apart(unsharer *u, int index) {
    const tb_region *region = &u->regions->list[index];
    bool any = false;
    for (int i = 0; i < region->n_nodes; i++) {
        u->apart[region->nodes[i]->id] =
            i > 0 && is_read_outside(u, index, region->nodes[i]->out[0]);
        any |= u->apart[region->nodes[i]->id];
    }
    for (bool changed = any; changed;) {
        changed = false;
        for (int i = 0; i < region->n_nodes; i++)
            for (int k = 0; k < region->nodes[i]->n_in && u->apart[region->nodes[i]->id]; k++) {
                const tb_value *in = region->nodes[i]->in[k];
                const tb_node *by = in && in != region->entry ? in->producer : NULL;
                if (!by || u->apart[by->id] || !has_node(region, by)) continue;
                u->apart[by->id] = changed = true;
            }
    }
    return any;
}

/* The region's node behind position `last` in execution order, NULL: none. */
static tb_node *next_node(const unsharer *u, const tb_region *region, int last) {
    tb_node *next = NULL;
    for (int i = 0; i < region->n_nodes; i++) {
        int at = u->position[region->nodes[i]->id];
        if (at > last && (!next || at < u->position[next->id])) next = region->nodes[i];
    }
    return next;
}

/* Whoever else reads the region's statistics gets copies of them. */
static tiba_status detach(unsharer *u, int index, tiba_error *error) {
    const tb_region *region = &u->regions->list[index];
    memset(u->copy, 0, (size_t)u->n_values * sizeof *u->copy);
    int last = -1;
    for (tb_node *node; (node = next_node(u, region, last)) != NULL;) {
        last = u->position[node->id];
        if (!u->apart[node->id]) continue;
        TB_TRY(copy_node(u, node, error));
        tb_value *out = node->out[0];
        for (int k = out->n_uses - 1; k >= 0; k--) {
            tb_use use = out->uses[k];
            if (!is_outside(u, index, use.node)) continue;
            if (!tb_node_set_input(u->graph, use.node, use.index, own(u, out)))
                return tb_out_of_memory(error);
            k = out->n_uses;
        }
    }
    return TIBA_OK;
}

/* The region's nodes read its own copies of what a region before it has as well. */
static tiba_status unshare(unsharer *u, int index, tiba_error *error) {
    const tb_region *region = &u->regions->list[index];
    memset(u->copy, 0, (size_t)u->n_values * sizeof *u->copy);
    int last = -1;
    for (tb_node *next; (next = next_node(u, region, last)) != NULL;) {
        last = u->position[next->id];
        if (is_shared(u, next, index, index)) {
            TB_TRY(copy_node(u, next, error));
            continue;
        }
        for (int i = 0; i < next->n_in; i++) {
            tb_value *in = own(u, next->in[i]);
            if (in != next->in[i] && !tb_node_set_input(u->graph, next, i, in))
                return tb_out_of_memory(error);
        }
    }
    return TIBA_OK;
}

tiba_status tb_unshare_regions(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    tb_regions *regions;
    TB_TRY(tb_regions_find_open(&regions, graph, graph->arena, error));
    unsharer u = {.graph = graph,
                  .exec = exec,
                  .regions = regions,
                  .n_values = graph->n_values,
                  .n_nodes = graph->next_node_id};
    u.usable = TB_NEW(graph->arena, bool, regions->n + 1);
    u.copy = TB_NEW(graph->arena, tb_value *, u.n_values + 1);
    u.position = TB_NEW(graph->arena, int, graph->next_node_id + 1);
    u.holders = TB_NEW(graph->arena, int, graph->next_node_id + 1);
    u.apart = TB_NEW(graph->arena, bool, graph->next_node_id + 1);
    if (!u.usable || !u.copy || !u.position || !u.holders || !u.apart)
        return tb_out_of_memory(error);
    int at = 0;
    for (const tb_node *node = graph->first; node; node = node->next) u.position[node->id] = at++;
    find_usable(&u);
    for (int k = 0; k < regions->n; k++)
        if (u.usable[k] && mark_apart(&u, k)) TB_TRY(detach(&u, k, error));
    for (int k = 0; k < regions->n; k++) {
        bool shares = false;
        for (int i = 1; u.usable[k] && i < regions->list[k].n_nodes && !shares; i++)
            shares = u.holders[regions->list[k].nodes[i]->id] > 1 &&
                     is_shared(&u, regions->list[k].nodes[i], k, k);
        if (shares) TB_TRY(unshare(&u, k, error));
    }
    return TIBA_OK;
}
