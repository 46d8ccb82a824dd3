/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --svg`: the plan drawn on the graph.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/format.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/traffic.h"
#include "tools/plan.h"
#include "topology/draw.h"
#include "topology/network.h"

static weft_status add_ranks(const struct weft_choice *choice,
                             const struct weft_algorithm *algorithm, const int *nodes,
                             int64_t bytes, struct weft_traffic *traffic, struct weft_error *error)
{
    for (int rank = 0; rank < choice->key.num_ranks; rank++) {
        struct weft_program *program = NULL;
        WEFT_TRY(algorithm->emit(&choice->key, choice->layout, rank, WEFT_OUT_OF_PLACE, &program,
                                 error));
        weft_status status = weft_traffic_add(traffic, program, nodes, bytes, error);
        weft_program_destroy(&program);
        WEFT_TRY(status);
    }
    return WEFT_OK;
}

weft_status weft_plan_draw(const struct weft_topology *topology, const struct weft_choice *choice,
                           const struct weft_algorithm *algorithm, int64_t bytes, FILE *stream,
                           struct weft_error *error)
{
    const struct weft_key *key = &choice->key;
    char size[32], caption[160];
    if (key->num_ranks > WEFT_DRAWN_RANKS || weft_collective_is_pair(key->collective))
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "a drawing of %s on %d ranks: at most %d, and no "
                         "send or recv",
                         weft_collective_names[key->collective], key->num_ranks, WEFT_DRAWN_RANKS);
    if (!choice->layout->network)
        return weft_fail(error, WEFT_UNSUPPORTED, "the links between the ranks are not known");
    struct weft_traffic *traffic = weft_traffic_create(topology);
    if (!traffic)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a drawing");
    weft_status status =
        add_ranks(choice, algorithm, choice->layout->network->node, bytes, traffic, error);
    weft_format_bytes(bytes, size, sizeof size);
    snprintf(caption, sizeof caption, "%s of %s on %d ranks by %s: how long each link is busy",
             weft_collective_names[key->collective], size, key->num_ranks, algorithm->name);
    if (status == WEFT_OK)
        status = weft_topology_draw_traffic(topology, weft_traffic_bytes(traffic), caption, stream,
                                            error);
    weft_traffic_destroy(&traffic);
    return status;
}
