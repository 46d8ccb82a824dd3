/*
 * SPDX-License-Identifier: Apache-2.0
 * See nccl_topology.h. NCCL searches channel by channel with its own constants for links. Here the
 * outcome is computed from four figures of the slowest node: NVLinks of a GPU, its PCIe link, NICs
 * and their speed. Approximated: rings are taken to exist wherever the GPUs' links have room for
 * them; a mesh without NVSwitch counts as if it had one; trees get the channels of rings; NVLinks
 * to a CPU are not followed; NICs are spread evenly over the GPUs; the plain tree is never taken.
 * As in NCCL, all nodes run at the speed of the slowest, and nothing measured counts.
 */
#include "collectives/planner/nccl_topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/gpu_islands.h"
#include "topology/route.h"

enum { MOST_CHANNELS = 32 };

/* Of one node, then of the slowest. */
struct node_facts {
    int gpus; // with ranks
    int nvlinks;
    double pci; // GB/s of the narrowest GPU
    int nics;
    double nic; // GB/s of the slowest NIC
    int first_island;
    bool is_split;   // its GPUs are of several islands, or none
    bool is_far_nic; // some NIC is not below a PCIe switch with GPUs
    int package;
    bool is_two_packages;
};

struct survey {
    const struct weft_topology *topology;
    int num_ranks;
    int *places;
    int *island;        // of a node of the graph; -1: none
    int *group;         // of a node of the graph (host or island): NCCL's node; -1: none
    int *group_of_host; // the same for what contains a NIC
    int *nvlinks;       // of a GPU
    double *pci;        // GB/s of a GPU's or NIC's PCIe link as NCCL counts; 0: unknown
    double *net;        // GB/s of a NIC's cables
    bool *has_gpus;     // a PCIe switch above a GPU
    struct node_facts *facts;
    int num_groups;
    int num_islands;
};

/* ---- facts of the graph ---- */

static int host_of(const struct weft_topology *t, int node)
{
    int host = weft_topology_ancestor(t, node, WEFT_NODE_HOST);
    return host < 0 ? node : host;
}

static bool has(const char *text, const char *word)
{
    return text && strstr(text, word);
}

static int capability_of(const struct weft_topology *t, int gpu)
{
    static const struct {
        const char *word; // longer names first: "A100" holds "A10"
        int capability;
    } models[] = {{"GB200", 100}, {"GB300", 103}, {"B200", 100}, {"B300", 103}, {"B100", 100},
                  {"H100", 90},   {"H200", 90},   {"H800", 90},  {"H20", 90},   {"GH200", 90},
                  {"A100", 80},   {"A800", 80},   {"A30", 80},   {"L40", 89},   {"L4", 89},
                  {"A10", 86},    {"A40", 86},    {"A6000", 86}, {"V100", 70},  {"T4", 75},
                  {"P100", 60}};
    const char *model = weft_topology_text(t, gpu, "model");
    const char *sm = weft_topology_text(t, gpu, "nccl.gpu.sm");
    int stated = sm ? atoi(sm) : 0;
    if (stated >= 30 && stated < 1000)
        return stated;
    for (size_t i = 0; model && i < sizeof models / sizeof models[0]; i++)
        if (strstr(model, models[i].word))
            return models[i].capability;
    return 0;
}

/* GB/s of one NVLink by generation. */
static double nvlink_of(int capability)
{
    return capability >= 100  ? 40.1
           : capability >= 90 ? 20.6
           : capability == 86 ? 12
           : capability >= 70 ? 20
                              : 18;
}

/* NCCL counts 12 GB/s for 16 lanes of PCIe 3, which carry 15.754; newer ones in proportion.
 * (By 15.75, so that what 32 GT/s carry reaches the step of 48 GB/s.) */
static double pci_as_counted(const struct weft_link *link)
{
    // idle devices slow their links down, and NCCL asks for the most
    int64_t nominal = link->bandwidth.nominal.value > 0 ? link->bandwidth.nominal.value
                                                        : link->bandwidth.current.value;
    return nominal > 0 ? (double)nominal * 12 / 15.75e9 : 0;
}

static void read_link(struct survey *s, const struct weft_link *link)
{
    const struct weft_topology *t = s->topology;
    int ends[] = {link->from, link->to};
    for (int i = 0; i < 2; i++) {
        int node = ends[i], kind = t->nodes[node].kind, other = t->nodes[ends[1 - i]].kind;
        if (kind == WEFT_NODE_GPU && link->kind == WEFT_LINK_NVLINK &&
            (other == WEFT_NODE_GPU || other == WEFT_NODE_NVSWITCH))
            s->nvlinks[node] += link->count > 0 && link->count < 64 ? link->count : 0;
        if (link->kind == WEFT_LINK_PCIE && s->pci[node] == 0)
            s->pci[node] = pci_as_counted(link);
        if (kind == WEFT_NODE_NIC && link->kind == WEFT_LINK_NETWORK)
            s->net[node] += (double)weft_link_bandwidth(link).value / 1e9;
    }
}

/* A domain that spans hosts is one node, else the host is. */
static void find_groups(struct survey *s, int *host_of_island)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < s->num_islands; i++)
        host_of_island[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        int island = s->island[i], host = host_of(t, i);
        if (island >= 0)
            host_of_island[island] = host_of_island[island] == -1     ? host
                                     : host_of_island[island] == host ? host
                                                                      : -2;
    }
    for (int i = 0; i < t->num_nodes; i++)
        s->group[i] = s->group_of_host[i] = -1;
    for (int r = 0; r < s->num_ranks; r++) {
        int gpu = s->places[r], host = host_of(t, gpu), island = s->island[gpu];
        bool is_rack = island >= 0 && host_of_island[island] == -2;
        int *group = is_rack ? &host_of_island[s->num_islands + island] : &s->group_of_host[host];
        if (*group < 0)
            *group = s->num_groups++;
        s->group[gpu] = s->group_of_host[host] = *group;
    }
}

static void read_gpu(struct survey *s, int gpu)
{
    const struct weft_topology *t = s->topology;
    struct node_facts *f = &s->facts[s->group[gpu]];
    int package = weft_topology_ancestor(t, gpu, WEFT_NODE_CPU);
    double pci = s->pci[gpu] > 0 ? s->pci[gpu] : 12;
    if (f->gpus++ == 0) {
        f->nvlinks = s->nvlinks[gpu];
        f->pci = pci;
        f->first_island = s->island[gpu];
        f->package = package;
    }
    f->is_split |= s->island[gpu] < 0 || s->island[gpu] != f->first_island;
    f->is_two_packages |= package != f->package;
    f->nvlinks = s->nvlinks[gpu] < f->nvlinks ? s->nvlinks[gpu] : f->nvlinks;
    f->pci = pci < f->pci ? pci : f->pci;
}

static void read_nic(struct survey *s, int nic)
{
    const struct weft_topology *t = s->topology;
    int group = s->group_of_host[host_of(t, nic)];
    if (group < 0 || s->net[nic] <= 0)
        return;
    struct node_facts *f = &s->facts[group];
    bool is_near = false;
    for (int up = t->nodes[nic].parent; up >= 0; up = t->nodes[up].parent)
        is_near |= s->has_gpus[up];
    double speed = s->pci[nic] > 0 && s->pci[nic] < s->net[nic] ? s->pci[nic] : s->net[nic];
    f->is_far_nic |= !is_near;
    f->nic = f->nics++ == 0 || speed < f->nic ? speed : f->nic;
}

static struct node_facts slowest(const struct survey *s)
{
    struct node_facts all = s->facts[0];
    for (int i = 0; i < s->num_groups; i++) {
        struct node_facts f = s->facts[i];
        if (f.nics == 0) // sockets on an interface of no known speed
            f.nics = 1, f.nic = 1.25, f.is_far_nic = true;
        if (i == 0)
            all = f;
        all.gpus = f.gpus < all.gpus ? f.gpus : all.gpus;
        all.nvlinks = f.nvlinks < all.nvlinks ? f.nvlinks : all.nvlinks;
        all.pci = f.pci < all.pci ? f.pci : all.pci;
        all.nics = f.nics < all.nics ? f.nics : all.nics;
        all.nic = f.nic < all.nic ? f.nic : all.nic;
        all.is_split |= f.is_split;
        all.is_far_nic |= f.is_far_nic;
        all.is_two_packages |= f.is_two_packages;
    }
    return all;
}

/* ---- the search ---- */

static const double steps_intra[] = {40, 30, 20, 18, 15, 12, 10, 9, 7, 6, 5, 4, 3, 0};
static const double steps_inter[] = {48, 30, 28, 24, 20, 18,  15,  12,  10,  9,
                                     7,  6,  5,  4,  3,  2.4, 1.2, .24, .12, 0};
static const double hopper_intra[] = {60, 50, 40, 30, 24, 20, 15, 12, 11, 6, 3, 0};
static const double hopper_inter[] = {48, 45, 42, 40, 30,  24,  22,  20,  17.5,
                                      15, 12, 6,  3,  2.4, 1.2, .24, .12, 0};
static const double blackwell_intra[] = {90, 80, 70, 60, 50, 45, 40, 30, 24, 20, 19, 18, 0};
static const double blackwell_inter[] = {96, 48, 45.1, 42, 40,  30,  24,  22,  20, 17.5,
                                         15, 12, 6,    3,  2.4, 1.2, .24, .12, 0};

static const double *steps_of(int capability, bool is_inter)
{
    if (capability >= 100)
        return is_inter ? blackwell_inter : blackwell_intra;
    if (capability >= 90)
        return is_inter ? hopper_inter : hopper_intra;
    return is_inter ? steps_inter : steps_intra;
}

/* Channels of `speed` that fit. */
static int fitting(const struct node_facts *f, double room, bool is_nvlink, int num_nodes,
                   double speed)
{
    int within = room / speed < MOST_CHANNELS ? (int)(room / speed) : MOST_CHANNELS;
    if (num_nodes == 1)
        return within;
    double per_nic = f->nic / speed, outside = f->nics * (double)(int)per_nic;
    int channels = outside < MOST_CHANNELS ? (int)outside : MOST_CHANNELS;
    if (f->gpus == 1)
        return channels * speed > f->pci ? (int)(f->pci / speed) : channels;
    if (!is_nvlink)
        return channels < within ? channels : within;
    // a channel leaves one GPU of the node by its NIC and the others by NVLink
    while (channels > 0 && (channels * (f->gpus - 1) + f->gpus - 1) / f->gpus > within)
        channels--;
    return channels;
}

/* Speeds downwards; a slower one is tried while it is not below .49 of the best so far. */
static struct weft_nccl_graph search(const struct node_facts *f, double room, bool is_nvlink,
                                     int num_nodes, int capability)
{
    const double *steps = steps_of(capability, num_nodes > 1);
    struct weft_nccl_graph best = {0};
    for (int i = 0; steps[i] > 0; i++) {
        if (best.channels > 0 && steps[i] / best.inter <= .49)
            break;
        int channels = fitting(f, room, is_nvlink, num_nodes, steps[i]);
        if (channels * steps[i] > best.channels * best.intra)
            best = (struct weft_nccl_graph){channels, steps[i], steps[i]};
    }
    if (best.channels == 0) // "falling back to simple order"
        return (struct weft_nccl_graph){1, .1, .1};
    // few fast channels become twice as many slower ones
    if (best.intra < 25 || (capability > 80 && best.intra < 50 && best.channels > 4) ||
        2 * best.channels > MOST_CHANNELS)
        return best;
    return (struct weft_nccl_graph){2 * best.channels, best.intra / 2, best.inter / 2};
}

/* A channel per GPU, each through the NVSwitch. */
static struct weft_nccl_graph search_nvls(const struct node_facts *f, double room, int num_nodes,
                                          int capability)
{
    int channels = f->gpus < MOST_CHANNELS ? f->gpus : MOST_CHANNELS;
    struct weft_nccl_graph found = {.channels = channels};
    const double *steps = steps_of(capability, num_nodes > 1);
    for (int i = 0; steps[i] > 0 && found.intra == 0; i++)
        if (channels * steps[i] <= room)
            found.intra = steps[i];
    for (int i = 0; steps[i] > 0 && found.inter == 0; i++)
        if (num_nodes == 1 || channels * steps[i] <= f->nics * f->nic)
            found.inter = steps[i];
    if (found.inter > found.intra)
        found.inter = found.intra;
    return found.intra > 0 && found.inter > 0 ? found : (struct weft_nccl_graph){0};
}

static enum weft_nccl_cpu cpu_of(const struct weft_topology *t, int gpu, bool *is_known)
{
    int package = weft_topology_ancestor(t, gpu, WEFT_NODE_CPU);
    int numa = weft_topology_ancestor(t, gpu, WEFT_NODE_NUMA);
    const char *model = package >= 0 ? weft_topology_text(t, package, "model") : NULL;
    const char *vendor = numa >= 0 ? weft_topology_text(t, numa, "nccl.cpu.vendor") : NULL;
    const char *architecture = weft_topology_text(t, host_of(t, gpu), "architecture");
    *is_known = model || vendor;
    if (has(model, "AMD") || has(vendor, "AMD"))
        return WEFT_NCCL_CPU_AMD;
    if (has(model, "Intel") || has(vendor, "Intel"))
        return WEFT_NCCL_CPU_INTEL;
    bool is_board = has(weft_topology_text(t, gpu, "model"), "GB"); // with a processor of NVIDIA's
    *is_known |= is_board;
    return is_board || *is_known || (architecture && strcmp(architecture, "x86_64") != 0)
               ? WEFT_NCCL_CPU_OTHER
               : WEFT_NCCL_CPU_INTEL;
}

static void build(const struct survey *s, struct weft_nccl_input *in, char *assumed, size_t size)
{
    const struct weft_topology *t = s->topology;
    struct node_facts f = slowest(s);
    bool is_cpu_known, is_gpu_known = true, is_nvlink = f.nvlinks > 0 && !f.is_split;
    int low = 0, high = 0;
    for (int r = 0; r < s->num_ranks; r++) {
        int capability = capability_of(t, s->places[r]);
        is_gpu_known &= capability > 0;
        capability = capability ? capability : is_nvlink ? 90 : 80;
        low = r == 0 || capability < low ? capability : low;
        high = capability > high ? capability : high;
    }
    *in = (struct weft_nccl_input){.num_nodes = s->num_groups,
                                   .num_ranks = s->num_ranks,
                                   .min_compute_capability = low,
                                   .max_compute_capability = high,
                                   .cpu = cpu_of(t, s->places[0], &is_cpu_known),
                                   .has_nvlink = is_nvlink,
                                   .is_nic_near = s->num_groups == 1 || !f.is_far_nic,
                                   .allows_nvls = true,
                                   .has_same_channels = true};
    // a rack's switches may not be in the graph
    in->has_nvswitch = is_nvlink && (weft_topology_count(t, WEFT_NODE_NVSWITCH) > 0 ||
                                     weft_topology_text(t, s->places[0], "nvlink_domain"));
    double between = in->cpu == WEFT_NCCL_CPU_AMD ? 16 : 22; // two packages
    double pci = f.is_two_packages && between < f.pci ? between : f.pci;
    double room = is_nvlink ? f.nvlinks * nvlink_of(low) : pci;
    in->ring = in->tree = search(&f, room, is_nvlink, s->num_groups, low);
    if (in->has_nvswitch && low >= 90)
        in->nvls = search_nvls(&f, room, s->num_groups, low);
    if (size > 0)
        snprintf(assumed, size, "%s%s%s",
                 is_gpu_known ? ""
                 : low >= 90  ? "Hopper"
                              : "Ampere",
                 is_gpu_known || is_cpu_known ? "" : ", ",
                 is_cpu_known                     ? ""
                 : in->cpu == WEFT_NCCL_CPU_INTEL ? "Intel processors"
                                                  : "processors neither Intel's nor AMD's");
}

/* ---- all of it ---- */

static weft_status check_places(const struct survey *s, struct weft_error *error)
{
    const struct weft_topology *t = s->topology;
    for (int r = 0; r < s->num_ranks; r++) {
        int place = s->places[r];
        const char *model = weft_topology_text(t, place, "model");
        const char *pci_id = weft_topology_text(t, place, "pci_id");
        if (t->nodes[place].kind != WEFT_NODE_GPU)
            return weft_fail(error, WEFT_UNSUPPORTED, "NCCL runs on GPUs only");
        if (has(model, "MI") || (pci_id && strncmp(pci_id, "1002:", 5) == 0))
            return weft_fail(error, WEFT_UNSUPPORTED, "NCCL runs on NVIDIA's GPUs only");
    }
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_XGMI)
            return weft_fail(error, WEFT_UNSUPPORTED, "NCCL runs on NVIDIA's GPUs only");
    return WEFT_OK;
}

static weft_status allocate(struct survey *s, struct weft_error *error)
{
    size_t n = (size_t)s->topology->num_nodes;
    s->places = calloc((size_t)s->num_ranks, sizeof *s->places);
    s->island = calloc(n, sizeof *s->island);
    s->group = calloc(n, sizeof *s->group);
    s->group_of_host = calloc(n, sizeof *s->group_of_host);
    s->nvlinks = calloc(n, sizeof *s->nvlinks);
    s->pci = calloc(n, sizeof *s->pci);
    s->net = calloc(n, sizeof *s->net);
    s->has_gpus = calloc(n, sizeof *s->has_gpus);
    s->facts = calloc((size_t)s->num_ranks, sizeof *s->facts);
    if (s->places && s->island && s->group && s->group_of_host && s->nvlinks && s->pci && s->net &&
        s->has_gpus && s->facts)
        return WEFT_OK;
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to look at a topology as NCCL does");
}

static void release(struct survey *s)
{
    free(s->places);
    free(s->island);
    free(s->group);
    free(s->group_of_host);
    free(s->nvlinks);
    free(s->pci);
    free(s->net);
    free(s->has_gpus);
    free(s->facts);
}

static weft_status look(struct survey *s, const int *nodes, struct weft_error *error)
{
    const struct weft_topology *t = s->topology;
    for (int r = 0; nodes && r < s->num_ranks; r++)
        s->places[r] = nodes[r];
    if (s->num_ranks > weft_topology_count(t, WEFT_NODE_GPU) &&
        weft_topology_count(t, WEFT_NODE_GPU) > 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "NCCL takes one rank per GPU, and here are %d",
                         weft_topology_count(t, WEFT_NODE_GPU));
    if (!nodes)
        WEFT_TRY(weft_topology_place(t, s->num_ranks, s->places, error));
    WEFT_TRY(check_places(s, error));
    WEFT_TRY(weft_topology_gpu_islands(t, s->island, &s->num_islands, error));
    // per island: its host, or -2 for several; then the group of one that spans hosts
    size_t entries = 2 * (size_t)s->num_islands + 1;
    int *islands = malloc(entries * sizeof *islands);
    if (!islands)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to look at a topology as NCCL does");
    for (size_t i = 0; i < entries; i++)
        islands[i] = -1;
    find_groups(s, islands);
    free(islands);
    for (int i = 0; i < t->num_links; i++)
        read_link(s, &t->links[i]);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU)
            for (int up = t->nodes[i].parent; up >= 0; up = t->nodes[up].parent)
                s->has_gpus[up] |= t->nodes[up].kind == WEFT_NODE_PCIE_SWITCH;
    for (int r = 0; r < s->num_ranks; r++)
        read_gpu(s, s->places[r]);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_NIC)
            read_nic(s, i);
    return WEFT_OK;
}

weft_status weft_nccl_input_from_nodes(const struct weft_topology *topology, const int *nodes,
                                       int num_ranks, struct weft_nccl_input *input, char *assumed,
                                       size_t size, struct weft_error *error)
{
    struct survey s = {.topology = topology, .num_ranks = num_ranks};
    if (num_ranks < 2)
        return weft_fail(error, WEFT_UNSUPPORTED, "one rank: NCCL only copies");
    weft_status status = allocate(&s, error);
    if (status == WEFT_OK)
        status = look(&s, nodes, error);
    if (status == WEFT_OK)
        build(&s, input, assumed, size);
    release(&s);
    return status;
}

weft_status weft_nccl_input_from_topology(const struct weft_topology *topology, int num_ranks,
                                          struct weft_nccl_input *input, char *assumed, size_t size,
                                          struct weft_error *error)
{
    return weft_nccl_input_from_nodes(topology, NULL, num_ranks, input, assumed, size, error);
}

void weft_nccl_describe(const struct weft_nccl_prediction *prediction, const char *assumed,
                        char *text, size_t size)
{
    snprintf(text, size, "NCCL 2.28 would take %s/%s with %d channel%s and predicts %.*f us%s%s",
             weft_nccl_algorithm_names[prediction->algorithm],
             weft_nccl_protocol_names[prediction->protocol], prediction->channels,
             prediction->channels == 1 ? "" : "s", prediction->time_us < 100 ? 1 : 0,
             prediction->time_us, assumed[0] ? "; assuming " : "", assumed);
}

weft_status weft_nccl_explain(const struct weft_topology *topology, weft_collective collective,
                              int num_ranks, uint64_t bytes,
                              struct weft_nccl_prediction *prediction, char *text, size_t size,
                              struct weft_error *error)
{
    struct weft_nccl_input input;
    struct weft_nccl_prediction made;
    char assumed[WEFT_NCCL_ASSUMED_BYTES];
    WEFT_TRY(
        weft_nccl_input_from_topology(topology, num_ranks, &input, assumed, sizeof assumed, error));
    WEFT_TRY(weft_nccl_predict(&input, collective, bytes, &made, error));
    weft_nccl_describe(&made, assumed, text, size);
    if (prediction)
        *prediction = made;
    return WEFT_OK;
}
