/*
 * SPDX-License-Identifier: Apache-2.0
 * Prints what packing each known machine takes and gives. Not a test: nothing here can fail but
 * the proof of the forest.
 */
#include <stdio.h>
#include <time.h>

#include "tests/topology/machines.h"

static double processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

int main(int argc, char **argv)
{
    printf("%-18s %5s %3s %7s %6s %5s %9s\n", "machine", "ranks", "k", "trees", "kinds", "depth",
           "ms");
    for (int i = 0; i < NUM_MACHINES; i++) {
        if (argc > 1 && strcmp(argv[1], machines[i].name) != 0)
            continue;
        struct weft_network *net = machine_network(i);
        int64_t *capacity = calloc((size_t)net->num_arcs, sizeof *capacity);
        int64_t *weight = calloc((size_t)net->num_terminals, sizeof *weight);
        for (int a = 0; a < net->num_arcs; a++)
            capacity[a] = net->arcs[a].capacity * machines[i].numerator / machines[i].denominator;
        for (int v = 0; v < net->num_terminals; v++)
            weight[v] = machines[i].k;
        struct weft_forest_request request = {capacity, weight};
        struct weft_forest *forest = NULL;
        struct weft_error error = {0};
        double before = processor_ms();
        weft_status status = weft_forest_pack(net, &request, &forest, &error);
        double after = processor_ms();
        if (status == WEFT_OK)
            status = weft_forest_check(net, &request, forest, &error);
        if (status != WEFT_OK) {
            printf("%s: %s\n", machines[i].name, error.text);
            return 1;
        }
        printf("%-18s %5d %3lld %7lld %6d %5d %9.2f\n", machines[i].name, net->num_terminals,
               (long long)machines[i].k, (long long)forest->total_weight, forest->num_trees,
               forest->depth, after - before);
        weft_forest_destroy(&forest);
        free(capacity);
        free(weight);
        machine_network_free(net);
    }
    return 0;
}
