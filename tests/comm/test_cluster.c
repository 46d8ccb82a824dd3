/*
 * SPDX-License-Identifier: Apache-2.0
 * The steps of a cluster's topology between real processes of one host: one probe for all, pieces
 * of all sizes, one rank's failure told by all, and graphs that differ noticed. Several hosts:
 * test_cluster.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "collectives/comm/cluster.h"
#include "collectives/comm/internal.h"
#include "tests/comm/processes.h"
#include "topology/synthetic.h"

static const int64_t timeout_ns = INT64_C(20000000000);

static int gather(struct rank_process *p)
{
    struct weft_topology *t = NULL;
    struct weft_error error;
    if (p->create_status != WEFT_OK || weft_cluster_is_leader(p->comm) != (p->rank == 0))
        return 1;
    // ranks beside the first are not asked: what they name is not read
    const char *source = p->rank == 0 ? "host:1 numa:2 core:4" : "/no/such/file";
    if (weft_cluster_gather(p->comm, source, &t, &error) != WEFT_OK)
        return 2;
    bool is_right = weft_topology_count(t, WEFT_NODE_HOST) == 1 &&
                    weft_topology_count(t, WEFT_NODE_CORE) == 4 &&
                    weft_topology_text(t, 0, "process.host_id") != NULL;
    weft_topology_destroy(&t);
    return is_right ? 0 : 3;
}

static int gather_nothing(struct rank_process *p)
{
    struct weft_topology *t = NULL;
    struct weft_error error;
    weft_status status = weft_cluster_gather(p->comm, "/no/such/file", &t, &error);
    if (status != WEFT_NOT_FOUND || t)
        return 1;
    return strcmp(error.text, "rank 0: /no/such/file: no such file") == 0 ? 0 : 2;
}

/* A driver that takes its time on one host: the others wait longer than for an operation. */
static int gather_late(struct rank_process *p)
{
    struct weft_topology *t = NULL;
    struct weft_error error;
    const struct timespec late = {.tv_sec = 3, .tv_nsec = 500000000};
    if (p->create_status != WEFT_OK)
        return 1;
    p->comm->timeout_ns = INT64_C(2000000000);
    if (p->rank == 0)
        nanosleep(&late, NULL);
    if (weft_cluster_gather(p->comm, "host:1 core:2", &t, &error) != WEFT_OK)
        return 2;
    weft_topology_destroy(&t);
    return 0;
}

static int exchange(struct rank_process *p)
{
    char *all, *own = malloc(100000);
    struct weft_piece *pieces;
    struct weft_error error;
    int bytes = p->rank * 33333 % 100000, wrong = 0; // rank 0 has nothing
    memset(own, 'a' + p->rank, (size_t)bytes);
    if (weft_cluster_exchange(p->comm, own, bytes, &all, &pieces, &error) != WEFT_OK)
        return 1;
    for (int rank = 0; rank < p->num_ranks; rank++) {
        wrong += pieces[rank].bytes != (size_t)(rank * 33333 % 100000);
        for (size_t i = 0; i < pieces[rank].bytes; i++)
            wrong += pieces[rank].data[i] != 'a' + rank;
        wrong += pieces[rank].data[pieces[rank].bytes] != '\0';
    }
    free(all);
    free(pieces);
    free(own);
    return wrong ? 2 : 0;
}

static int exchange_failure(struct rank_process *p)
{
    char *all;
    struct weft_piece *pieces;
    struct weft_error error;
    bool fails = p->rank == 2;
    weft_status status =
        weft_cluster_exchange(p->comm, fails ? "it rained" : "fine",
                              fails ? -(int64_t)WEFT_UNSUPPORTED : 4, &all, &pieces, &error);
    if (status != WEFT_UNSUPPORTED || strcmp(error.text, "rank 2: it rained") != 0)
        return 1;
    // the communicator goes on
    return exchange(p);
}

static int agree(struct rank_process *p)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    const char *source = p->rank == *(int *)p->argument ? "host:1 core:3" : "host:1 core:2";
    if (weft_topology_from_synthetic(source, &t, NULL) != WEFT_OK)
        return 1;
    weft_status status = weft_cluster_agree(p->comm, t, WEFT_OK, &error);
    weft_topology_destroy(&t);
    if (*(int *)p->argument < 0)
        return status == WEFT_OK ? 0 : 2;
    return status == WEFT_MISMATCH && strncmp(error.text, "rank 2 merged", 13) == 0 ? 0 : 3;
}

static void run(int num_ranks, int (*body)(struct rank_process *), void *argument, const char *what)
{
    int codes[PROCESSES_MAX];
    run_ranks(num_ranks, timeout_ns, 60, body, argument, codes);
    assert_all_zero(codes, num_ranks, what);
}

static void test_gather(void **state)
{
    (void)state;
    run(1, gather, NULL, "one rank");
    run(4, gather, NULL, "four ranks");
    run(3, gather_nothing, NULL, "no file");
    run(2, gather_late, NULL, "a slow host");
}

static void test_exchange(void **state)
{
    (void)state;
    run(4, exchange, NULL, "pieces");
    run(4, exchange_failure, NULL, "a failure");
}

static void test_agree(void **state)
{
    (void)state;
    int odd_one = -1;
    run(4, agree, &odd_one, "the same");
    odd_one = 2;
    run(4, agree, &odd_one, "another");
}

int main(void)
{
    setenv("WEFT_CACHE", "none", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
