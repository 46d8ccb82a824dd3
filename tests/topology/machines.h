/*
 * SPDX-License-Identifier: Apache-2.0
 * Networks built by hand: any list of arcs, and machines whose optimum is known (capacities in
 * GB/s as their makers say; U trees per GB/s, k rooted at each terminal).
 */
#ifndef WEFT_TESTS_TOPOLOGY_MACHINES_H
#define WEFT_TESTS_TOPOLOGY_MACHINES_H

#include <stdlib.h>
#include <string.h>

#include "topology/forest.h"

struct draft {
    int num_vertices, num_terminals;
    int64_t *capacity; // (num_vertices, num_vertices)
};

static inline struct draft draft_create(int num_vertices, int num_terminals)
{
    size_t pairs = (size_t)num_vertices * (size_t)num_vertices;
    return (struct draft){num_vertices, num_terminals, calloc(pairs, sizeof(int64_t))};
}

static inline void draft_arc(struct draft *d, int from, int to, int64_t capacity)
{
    d->capacity[from * d->num_vertices + to] += capacity;
}

static inline void draft_link(struct draft *d, int a, int b, int64_t capacity)
{
    draft_arc(d, a, b, capacity);
    draft_arc(d, b, a, capacity);
}

/* Frees the draft. The network is freed by machine_network_free. */
static inline struct weft_network *draft_finish(struct draft *d)
{
    int n = d->num_vertices, count = 0;
    struct weft_network *net = calloc(1, sizeof *net);
    for (int i = 0; i < n * n; i++)
        count += d->capacity[i] > 0;
    net->num_vertices = n;
    net->num_terminals = d->num_terminals;
    net->arcs = calloc((size_t)count + 1, sizeof *net->arcs);
    net->first = calloc((size_t)n + 1, sizeof *net->first);
    for (int u = 0; u < n; u++) {
        net->first[u] = net->num_arcs;
        for (int t = 0; t < n; t++)
            if (d->capacity[u * n + t] > 0)
                net->arcs[net->num_arcs++] = (struct weft_arc){
                    .from = u, .to = t, .capacity = d->capacity[u * n + t], .link = -1};
    }
    net->first[n] = net->num_arcs;
    free(d->capacity);
    return net;
}

static inline void machine_network_free(struct weft_network *net)
{
    free(net->arcs);
    free(net->first);
    free(net);
}

/* Boxes of 8 GPUs behind one NVSwitch; `rails` network switches, NIC i on switch i modulo rails. */
static inline struct weft_network *nvswitch_boxes(int boxes, int64_t nvlink, int64_t nic, int rails)
{
    int n = 8 * boxes;
    struct draft d = draft_create(n + boxes + (boxes > 1 ? rails : 0), n);
    for (int gpu = 0; gpu < n; gpu++) {
        draft_link(&d, gpu, n + gpu / 8, nvlink);
        if (boxes > 1)
            draft_link(&d, gpu, n + boxes + gpu % rails, nic);
    }
    return draft_finish(&d);
}

/* The same with a vertex for each NIC, as a graph has it. */
static inline struct weft_network *nvswitch_boxes_raw(int boxes, int64_t nvlink, int64_t nic)
{
    int n = 8 * boxes;
    struct draft d = draft_create(2 * n + boxes + 1, n);
    for (int gpu = 0; gpu < n; gpu++) {
        draft_link(&d, gpu, n + gpu, nic);
        draft_link(&d, n + gpu, 2 * n + boxes, nic);
        draft_link(&d, gpu, 2 * n + gpu / 8, nvlink);
    }
    return draft_finish(&d);
}

/* Two pods of `boxes` H100 boxes, a switch each, joined by one above. */
static inline struct weft_network *pods(int boxes, int64_t uplink)
{
    int n = 16 * boxes;
    struct draft d = draft_create(n + 2 * boxes + 3, n);
    for (int gpu = 0; gpu < n; gpu++) {
        draft_link(&d, gpu, n + gpu / 8, 450);
        draft_link(&d, gpu, n + 2 * boxes + gpu / (8 * boxes), 50);
    }
    for (int pod = 0; pod < 2; pod++)
        draft_link(&d, n + 2 * boxes + pod, n + 2 * boxes + 2, uplink);
    return draft_finish(&d);
}

/* H100 boxes on 8 rails; one NIC gives less than 50 GB/s. */
static inline struct weft_network *weak_nic_boxes(int boxes, int64_t weak)
{
    int n = 8 * boxes;
    struct draft d = draft_create(n + boxes + 8, n);
    for (int gpu = 0; gpu < n; gpu++) {
        draft_link(&d, gpu, n + gpu / 8, 450);
        draft_link(&d, gpu, n + boxes + gpu % 8, gpu == 37 ? weak : 50);
    }
    return draft_finish(&d);
}

/* Boxes of 16 GPU dies: links of 50 GB/s, four inside a package; a NIC of 16 GB/s each. */
static inline struct weft_network *mi250_boxes(int boxes)
{
    static const struct {
        int a, b, links;
    } wires[] = {{0, 1, 4},   {0, 2, 1},   {0, 4, 2},   {1, 2, 1},  {1, 3, 1},  {1, 5, 1},
                 {2, 3, 4},   {2, 6, 1},   {3, 7, 2},   {4, 5, 4},  {4, 12, 1}, {5, 13, 1},
                 {5, 14, 1},  {6, 7, 4},   {6, 13, 1},  {6, 14, 1}, {7, 15, 1}, {8, 9, 4},
                 {8, 10, 1},  {8, 12, 2},  {9, 10, 1},  {9, 11, 1}, {9, 13, 1}, {10, 11, 4},
                 {10, 14, 1}, {11, 15, 2}, {12, 13, 4}, {14, 15, 4}};
    int n = 16 * boxes;
    struct draft d = draft_create(n + (boxes > 1), n);
    for (int box = 0; box < boxes; box++)
        for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
            draft_link(&d, 16 * box + wires[i].a, 16 * box + wires[i].b,
                       (int64_t)50 * wires[i].links);
    for (int gpu = 0; gpu < n && boxes > 1; gpu++)
        draft_link(&d, gpu, n, 16);
    return draft_finish(&d);
}

/* 8 GPUs, each with six links of 25 GB/s, one or two to a neighbour. */
static inline struct weft_network *dgx_1v(void)
{
    static const struct {
        int a, b, links;
    } wires[] = {{0, 1, 1}, {0, 2, 1}, {0, 3, 2}, {0, 4, 2}, {1, 2, 2}, {1, 3, 1},
                 {1, 5, 2}, {2, 3, 2}, {2, 6, 1}, {3, 7, 1}, {4, 5, 1}, {4, 6, 1},
                 {4, 7, 2}, {5, 6, 2}, {5, 7, 1}, {6, 7, 2}};
    struct draft d = draft_create(8, 8);
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        draft_link(&d, wires[i].a, wires[i].b, (int64_t)25 * wires[i].links);
    return draft_finish(&d);
}

/* A ring of 4 in each dimension, 50 GB/s per link. */
static inline struct weft_network *torus(int dimensions)
{
    int n = 1 << (2 * dimensions);
    struct draft d = draft_create(n, n);
    for (int v = 0; v < n; v++)
        for (int stride = 1; stride < n; stride *= 4)
            draft_link(&d, v, v / stride % 4 == 3 ? v - 3 * stride : v + stride, 50);
    return draft_finish(&d);
}

struct machine {
    const char *name;
    int64_t numerator, denominator; // U
    int64_t k;
    int depth; // no forest made here may be deeper
};
static const struct machine machines[] = {
    {"A100 1x8", 7, 300, 1, 1},      {"A100 2x8", 3, 5, 13, 4},
    {"A100 4x8", 3, 25, 1, 2},       {"MI250 1x16", 7, 50, 3, 9},
    {"MI250 2x16", 15, 2, 83, 21},   {"H100 1x8", 7, 450, 1, 1},
    {"H100 2x8", 3, 50, 2, 3},       {"H100 4x8", 31, 50, 10, 7},
    {"H100 16x8", 3, 10, 1, 2},      {"H100 16x8 rails", 3, 10, 1, 2},
    {"DGX-1V", 7, 25, 6, 5},         {"torus 4x4", 3, 10, 4, 8},
    {"H100 16x8 pods", 3, 10, 1, 2}, {"H100 16x8 weak NIC", 8, 25, 1, 9},
    {"torus 4x4x4", 21, 50, 2, 17},  {"H100 16x8 raw", 3, 10, 1, 2},
};
enum { NUM_MACHINES = sizeof machines / sizeof *machines };

static inline struct weft_network *machine_network(int index)
{
    switch (index) {
    case 0:
        return nvswitch_boxes(1, 300, 25, 2);
    case 1:
        return nvswitch_boxes(2, 300, 25, 2);
    case 2:
        return nvswitch_boxes(4, 300, 25, 2);
    case 3:
        return mi250_boxes(1);
    case 4:
        return mi250_boxes(2);
    case 5:
        return nvswitch_boxes(1, 450, 50, 1);
    case 6:
        return nvswitch_boxes(2, 450, 50, 1);
    case 7:
        return nvswitch_boxes(4, 450, 50, 1);
    case 8:
        return nvswitch_boxes(16, 450, 50, 1);
    case 9:
        return nvswitch_boxes(16, 450, 50, 8);
    case 10:
        return dgx_1v();
    case 11:
        return torus(2);
    case 12:
        return pods(8, 16 * 8 * 50 / 2);
    case 13:
        return weak_nic_boxes(16, 25);
    case 14:
        return torus(3);
    default:
        return nvswitch_boxes_raw(16, 450, 50);
    }
}

#endif
