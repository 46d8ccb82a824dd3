/*
 * SPDX-License-Identifier: Apache-2.0
 * Where topology and planner meet: the prices of a set of ranks on this machine.
 */
#include "collectives/comm/internal.h"
#include "collectives/planner/costs.h"

weft_status weft_costs_of_machine(struct weft_context *context, int num_ranks,
                                  struct weft_costs *costs, struct weft_error *error)
{
    *costs = weft_costs_assumed(num_ranks, context->num_cores);
    return weft_costs_check(costs, error);
}
