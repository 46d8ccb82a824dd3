/*
 * SPDX-License-Identifier: Apache-2.0
 * Prints what packing takes and gives: each known machine, and presets with all their PCIe
 * switches, at their optimum. Arguments name some of them, or any other preset or synthetic
 * topology. Not a test: nothing here can fail but the proof of the forest.
 */
#include <stdio.h>
#include <time.h>

#include "tests/topology/machines.h"
#include "topology/optimum.h"
#include "topology/synthetic.h"

static const char *const presets[] = {"dgx-h100:4", "superpod-h100:4", "dgx-h100:16",
                                      "superpod-h100:16"};
enum { NUM_PRESETS = sizeof presets / sizeof *presets };

static double processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Of all that a forest is, to compare forests of two builds by. */
static unsigned sum_of(const struct weft_forest *forest)
{
    unsigned sum = 2166136261U;
    for (int t = 0; t < forest->num_trees; t++) {
        const struct weft_forest_tree *tree = &forest->trees[t];
        sum = (sum ^ (unsigned)tree->weight) * 16777619U;
        for (int e = 0; e < forest->num_terminals - 1; e++) {
            const struct weft_forest_edge *edge = &forest->edges[tree->first_edge + e];
            sum = (sum ^ (unsigned)edge->from) * 16777619U;
            sum = (sum ^ (unsigned)edge->to) * 16777619U;
            for (int h = 0; h < edge->num_hops; h++)
                sum = (sum ^ (unsigned)forest->hops[edge->first_hop + h]) * 16777619U;
        }
    }
    return sum;
}

static bool measure(const char *name, const struct weft_network *net, struct weft_fraction u,
                    int64_t k)
{
    int64_t *capacity = calloc((size_t)net->num_arcs, sizeof *capacity);
    int64_t *weight = calloc((size_t)net->num_terminals, sizeof *weight);
    for (int a = 0; a < net->num_arcs; a++)
        capacity[a] = (int64_t)((__int128)net->arcs[a].capacity * u.numerator / u.denominator);
    for (int v = 0; v < net->num_terminals; v++)
        weight[v] = k;
    struct weft_forest_request request = {capacity, weight};
    struct weft_forest *forest = NULL;
    struct weft_error error = {0};
    double before = processor_ms();
    weft_status status = weft_forest_pack(net, &request, &forest, &error);
    double after = processor_ms();
    if (status == WEFT_OK)
        status = weft_forest_check(net, &request, forest, &error);
    if (status == WEFT_OK)
        printf("%-18s %5d %8d %4lld %7lld %6d %5d %9.2f  %08x\n", name, net->num_terminals,
               net->num_vertices, (long long)k, (long long)forest->total_weight, forest->num_trees,
               forest->depth, after - before, sum_of(forest));
    else
        printf("%s: %s\n", name, error.text);
    weft_forest_destroy(&forest);
    free(capacity);
    free(weight);
    return status == WEFT_OK;
}

static bool measure_preset(const char *name)
{
    struct weft_topology *topology = NULL;
    struct weft_network *net = NULL;
    struct weft_network_options options = {0};
    struct weft_optimum optimum = {0};
    struct weft_error error = {0};
    weft_status status = weft_topology_from_synthetic(name, &topology, &error);
    if (status == WEFT_OK)
        status = weft_network_create(topology, &options, &net, &error);
    if (status == WEFT_OK)
        status = weft_optimum_all_gather(net, false, &optimum, &error);
    bool is_good = status == WEFT_OK;
    if (is_good)
        is_good = measure(name, net, optimum.u, optimum.k);
    else
        printf("%s: %s\n", name, error.text);
    weft_optimum_free(&optimum);
    weft_network_destroy(&net);
    weft_topology_destroy(&topology);
    return is_good;
}

static bool measure_one(const char *name)
{
    for (int i = 0; i < NUM_MACHINES; i++) {
        if (strcmp(name, machines[i].name) != 0)
            continue;
        struct weft_network *net = machine_network(i);
        struct weft_fraction u = {machines[i].numerator, machines[i].denominator};
        bool is_good = measure(name, net, u, machines[i].k);
        machine_network_free(net);
        return is_good;
    }
    return measure_preset(name);
}

int main(int argc, char **argv)
{
    bool is_good = true;
    printf("%-18s %5s %8s %4s %7s %6s %5s %9s  %s\n", "machine", "ranks", "vertices", "k", "trees",
           "kinds", "depth", "ms", "sum");
    for (int i = 1; i < argc; i++)
        is_good = measure_one(argv[i]) && is_good;
    for (int i = 0; i < NUM_MACHINES && argc == 1; i++)
        is_good = measure_one(machines[i].name) && is_good;
    for (int i = 0; i < NUM_PRESETS && argc == 1; i++)
        is_good = measure_one(presets[i]) && is_good;
    return is_good ? 0 : 1;
}
