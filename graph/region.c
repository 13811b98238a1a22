#include "graph/region.h"

tiba_status tb_regions_find(tb_regions **out, const tb_graph *graph, tb_arena *arena,
                            tiba_error *error) {
    tb_regions *regions = TB_NEW(arena, tb_regions, 1);
    if (!regions) return tb_out_of_memory(error);
    regions->of_node = TB_NEW(arena, int, graph->next_node_id);
    if (!regions->of_node) return tb_out_of_memory(error);
    for (int i = 0; i < graph->next_node_id; i++) regions->of_node[i] = -1;
    *out = regions;
    return TIBA_OK;
}
