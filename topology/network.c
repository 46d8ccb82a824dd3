/*
 * SPDX-License-Identifier: Apache-2.0
 * See network.h.
 */
#include "topology/network.h"

#include <stdlib.h>

void weft_network_destroy(struct weft_network **network)
{
    if (!*network)
        return;
    free((*network)->arcs);
    free((*network)->first);
    free((*network)->node);
    free((*network)->num_merged);
    free(*network);
    *network = NULL;
}
