/*
 * SPDX-License-Identifier: Apache-2.0
 * See even_out.h.
 */
#include "collectives/comm/even_out.h"

#include <sched.h>

#include "base/log.h"

enum { CALLS_BETWEEN = 32, CORES = 64 * WEFT_CORE_WORDS };

static bool is_allowed(const uint64_t *allowed, int core)
{
    return allowed[core / 64] >> core % 64 & 1;
}

int weft_even_out_choose(const int *cores, int num_ranks, int rank,
                         const uint64_t allowed[WEFT_CORE_WORDS])
{
    int counts[CORES] = {0}, num_cores = weft_cores_count(allowed), before = 0;
    int share = num_cores ? (num_ranks + num_cores - 1) / num_cores : num_ranks;
    for (int r = 0; r < num_ranks; r++) {
        if (cores[r] < 0 || cores[r] >= CORES)
            continue;
        bool moves = ++counts[cores[r]] > share;
        if (r == rank && !moves)
            return -1;
        before += r < rank && moves;
    }
    if (cores[rank] < 0 || cores[rank] >= CORES)
        return -1;
    for (int core = 0; core < CORES; core++) {
        int room = is_allowed(allowed, core) ? share - counts[core] : 0;
        if (room > before)
            return core;
        before -= room > 0 ? room : 0;
    }
    return -1;
}

static void move_to(int core)
{
    cpu_set_t before, only;
    if (sched_getaffinity(0, sizeof before, &before) != 0)
        return;
    CPU_ZERO(&only);
    CPU_SET(core, &only);
    if (sched_setaffinity(0, sizeof only, &only) != 0 ||
        sched_setaffinity(0, sizeof before, &before) != 0)
        WEFT_LOG(WEFT_LOG_INFO, "this process could not move to core %d", core);
}

void weft_even_out(struct weft_comm *comm)
{
    int cores[WEFT_FLAT_RANKS_LIMIT];
    weft_area_set_core(comm, sched_getcpu());
    if (comm->sequence % CALLS_BETWEEN || comm->num_ranks != comm->world->num_ranks)
        return;
    for (int rank = 0; rank < comm->num_ranks; rank++)
        cores[rank] = weft_area_core(comm, rank);
    int core = weft_even_out_choose(cores, comm->num_ranks, comm->rank, comm->context->cores);
    if (core >= 0)
        move_to(core);
}

bool weft_waits_for_own_core(const struct weft_comm *comm, enum weft_path path)
{
    int own = weft_area_core(comm, comm->rank);
    for (int rank = 0; rank < comm->num_ranks; rank++)
        if (rank != comm->rank && weft_area_core(comm, rank) == own &&
            !(path == WEFT_PATH_FLAT ? weft_flat_has_come(&comm->flat, rank)
                                     : weft_shared_has_come(&comm->shared, rank)))
            return true;
    return false;
}
