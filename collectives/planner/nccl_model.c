/*
 * SPDX-License-Identifier: Apache-2.0
 * See nccl_model.h. A price is made in three steps: why the pair is not possible, its bandwidth,
 * its latency; the size then adds what NCCL corrects by size.
 */
#include "collectives/planner/nccl_model.h"

#include "collectives/planner/nccl_constants.h"

enum { MAX_NODES = 1 << 20, MAX_RANKS = 1 << 20, MAX_CHANNELS = 64 };

struct model {
    const struct weft_nccl_input *in;
    weft_collective collective;
    int generation, scale, ll_generation;
    int num_steps; // of a ring
    double per_node;
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static int log2_floor(uint64_t n)
{
    return 63 - __builtin_clzll(n);
}

static bool is_collnet(int algorithm)
{
    return algorithm == WEFT_NCCL_COLLNET_DIRECT || algorithm == WEFT_NCCL_COLLNET_CHAIN;
}

static bool is_nvls(int algorithm)
{
    return algorithm == WEFT_NCCL_NVLS || algorithm == WEFT_NCCL_NVLS_TREE;
}

static bool is_scatter(weft_collective collective)
{
    return collective == WEFT_ALL_GATHER || collective == WEFT_REDUCE_SCATTER;
}

static const struct weft_nccl_graph *graph_of(const struct weft_nccl_input *in, int algorithm)
{
    return is_nvls(algorithm) ? &in->nvls : algorithm == WEFT_NCCL_TREE ? &in->tree : &in->ring;
}

static const char *refuse_collective(weft_collective collective, int algorithm)
{
    bool is_rooted = collective == WEFT_BROADCAST || collective == WEFT_REDUCE;
    if (is_rooted && algorithm != WEFT_NCCL_RING)
        return "only a ring broadcasts and reduces";
    if (is_scatter(collective) && algorithm != WEFT_NCCL_RING && algorithm != WEFT_NCCL_PAT &&
        algorithm != WEFT_NCCL_NVLS && algorithm != WEFT_NCCL_COLLNET_DIRECT)
        return "not for all-gather and reduce-scatter";
    if (collective == WEFT_ALL_REDUCE && algorithm == WEFT_NCCL_PAT)
        return "not for all-reduce";
    return NULL;
}

static const char *refuse_nvls(const struct model *m, int algorithm)
{
    const struct weft_nccl_input *in = m->in;
    if (!in->allows_nvls)
        return "NVLS is not allowed";
    if (in->min_compute_capability < 90 || !in->has_nvswitch)
        return "NVLS needs an NVSwitch and Hopper or newer";
    if (m->per_node <= 2)
        return "NVLS needs more than two GPUs per node";
    if (in->nvls.channels < 2)
        return "NVLS needs two channels";
    if (algorithm == WEFT_NCCL_NVLS_TREE && in->num_nodes == 1)
        return "one node needs no tree of nodes";
    if (algorithm == WEFT_NCCL_NVLS && in->num_nodes > 1 &&
        (!in->allows_collnet || is_scatter(m->collective)))
        return "between nodes NVLS needs CollNet";
    return NULL;
}

static const char *refuse_collnet(const struct model *m, int algorithm)
{
    if (!m->in->allows_collnet)
        return "CollNet is not allowed";
    if (m->in->num_nodes == 1)
        return "one node has no CollNet";
    if (algorithm == WEFT_NCCL_COLLNET_DIRECT && !m->in->has_nvswitch)
        return "needs an NVSwitch";
    // a plugin that gathers and scatters in the network is not looked for
    return is_scatter(m->collective) ? "needs a network that gathers and scatters" : NULL;
}

static const char *refuse_ll128(const struct weft_nccl_input *in)
{
    int low = in->min_compute_capability;
    if (low < 70 || (low != in->max_compute_capability && low < 90))
        return "LL128 needs equal GPUs from Volta, or any from Hopper";
    if (!in->has_nvlink && in->num_ranks > in->num_nodes)
        return "LL128 needs NVLink between the GPUs of a node";
    if (in->num_nodes > 1 && !in->is_nic_near)
        return "LL128 needs NICs that no CPU parts from the GPUs";
    return NULL;
}

static const char *refuse(const struct model *m, int algorithm, int protocol)
{
    const struct weft_nccl_input *in = m->in;
    const char *reason = refuse_collective(m->collective, algorithm);
    if (reason)
        return reason;
    if (is_nvls(algorithm))
        reason = refuse_nvls(m, algorithm);
    else if (is_collnet(algorithm))
        reason = refuse_collnet(m, algorithm);
    else if (algorithm == WEFT_NCCL_PAT && in->num_nodes != in->num_ranks)
        reason = "PAT is for one GPU per node";
    if (reason)
        return reason;
    if (graph_of(in, algorithm)->channels < 1)
        return "the search found no channel";
    if (protocol != WEFT_NCCL_SIMPLE && algorithm != WEFT_NCCL_TREE && algorithm != WEFT_NCCL_RING)
        return "this algorithm has one protocol, Simple";
    return protocol == WEFT_NCCL_LL128 ? refuse_ll128(in) : NULL;
}

/* Of one channel, before what algorithm and protocol take. */
static double channel_bandwidth(const struct model *m, int algorithm)
{
    const struct weft_nccl_graph *graph = graph_of(m->in, algorithm);
    if (!is_nvls(algorithm))
        return m->in->num_nodes <= 2 || is_collnet(algorithm) ? graph->intra : graph->inter;
    double intra = graph->intra * weft_nccl_nvls_efficiency[m->generation] * (graph->channels - 1) /
                   graph->channels;
    intra *= m->collective == WEFT_ALL_REDUCE ? 2 : (m->per_node - 1) / m->per_node;
    if (m->in->num_nodes == 1) // nothing leaves the node
        return intra;
    bool is_tree = algorithm == WEFT_NCCL_NVLS_TREE;
    double bandwidth = least(intra, graph->inter * (is_tree && m->in->num_nodes == 2 ? 2 : 1));
    return is_tree ? least(bandwidth, weft_nccl_nvls_tree_most[m->generation][m->scale])
                   : bandwidth;
}

static double bus_bandwidth(const struct model *m, int algorithm, int protocol)
{
    int channels = graph_of(m->in, algorithm)->channels;
    double bus = channels * channel_bandwidth(m, algorithm);
    double ll_most = weft_nccl_ll_most[m->ll_generation][m->scale];
    if (algorithm == WEFT_NCCL_RING && protocol == WEFT_NCCL_LL)
        return least(ll_most, bus * .5);
    if (algorithm == WEFT_NCCL_RING && protocol == WEFT_NCCL_LL128)
        return least(bus * .92, channels * weft_nccl_ring_ll128_most[m->generation][m->scale]);
    if (algorithm == WEFT_NCCL_TREE) {
        bus = least(bus * .92, channels * weft_nccl_tree_most[m->generation][m->scale]);
        if (protocol == WEFT_NCCL_LL)
            bus = least(bus / 3.8, ll_most);
        if (protocol == WEFT_NCCL_LL128)
            bus = least(bus * (m->in->num_nodes == 1 ? 7.0 / 9 : 120.0 / 128),
                        channels * weft_nccl_tree_ll128_most[m->generation][m->scale]);
        return m->in->is_tree_plain ? bus * .85 : bus;
    }
    if (algorithm == WEFT_NCCL_COLLNET_DIRECT) {
        double gpus_per_nic = m->per_node / channels;
        bus /= gpus_per_nic - (gpus_per_nic - 1) / 2;
        return m->in->min_compute_capability >= 90 ? bus * .85 : bus;
    }
    return algorithm == WEFT_NCCL_PAT ? bus * .75 : bus;
}

/* Bytes of the vector per time. */
static double vector_bandwidth(const struct model *m, int algorithm, int protocol)
{
    double bus = bus_bandwidth(m, algorithm, protocol);
    if (algorithm != WEFT_NCCL_RING && is_scatter(m->collective))
        return bus;
    if (algorithm == WEFT_NCCL_RING || is_nvls(algorithm))
        return bus * m->in->num_ranks / m->num_steps;
    return bus * .5;
}

static double ring_latency(const struct model *m, int protocol, double intra, double inter)
{
    const struct weft_nccl_input *in = m->in;
    if (m->collective == WEFT_BROADCAST || m->collective == WEFT_REDUCE) {
        enum nccl_wire wire = in->num_nodes > 1 ? NCCL_NET
                              : in->has_nvlink  ? NCCL_NVLINK
                                                : NCCL_PCI;
        if (in->has_same_channels)
            return weft_nccl_hop_us[wire][WEFT_NCCL_RING][protocol];
        int as = protocol == WEFT_NCCL_SIMPLE ? WEFT_NCCL_TREE : WEFT_NCCL_RING;
        return m->num_steps * weft_nccl_hop_us[wire][as][protocol];
    }
    int num_inter = in->num_nodes - 1;
    if (m->collective == WEFT_ALL_REDUCE)
        num_inter *= 2;
    double overhead = in->num_nodes == 1 ? 0 : in->cpu == WEFT_NCCL_CPU_AMD ? 2 : 1;
    if (protocol == WEFT_NCCL_SIMPLE)
        overhead *= 3;
    return (m->num_steps - num_inter) * (intra > overhead ? intra : overhead) + num_inter * inter;
}

static double latency(const struct model *m, int algorithm, int protocol)
{
    const struct weft_nccl_input *in = m->in;
    double base = weft_nccl_base_us[algorithm][protocol];
    double intra = weft_nccl_hop_us[in->has_nvlink ? NCCL_NVLINK : NCCL_PCI][algorithm][protocol];
    // one GPU per node hides none of the network
    int as = in->num_nodes == in->num_ranks ? WEFT_NCCL_TREE : algorithm;
    double inter = weft_nccl_hop_us[NCCL_NET][as][protocol] +
                   in->net_latency_us * (protocol == WEFT_NCCL_SIMPLE ? 2 : 1);
    int others = in->num_ranks / in->num_nodes - 1; // on the same node
    int levels = log2_floor((uint64_t)in->num_nodes);
    switch ((enum weft_nccl_algorithm)algorithm) {
    case WEFT_NCCL_TREE:
        return base + 2 * (others * intra + levels * inter);
    case WEFT_NCCL_RING:
        return base + ring_latency(m, protocol, intra, inter);
    case WEFT_NCCL_COLLNET_DIRECT:
        return base + 2 * ((others > 0 ? intra : 0) + others * .4) + inter;
    case WEFT_NCCL_COLLNET_CHAIN:
        return base + 2 * others * intra + inter;
    case WEFT_NCCL_NVLS:
        return intra + (in->num_nodes > 1 ? inter : 0);
    case WEFT_NCCL_NVLS_TREE:
        return base + intra + 2 * levels * inter;
    case WEFT_NCCL_PAT:
        return base + levels * inter / 3.5 + in->num_ranks * 2.8;
    case WEFT_NCCL_ALGORITHMS:
        break;
    }
    return base;
}

/* What the communicator runs with: the search's channels, twice. */
static int communicator_channels(const struct weft_nccl_input *in, int algorithm)
{
    int channels = graph_of(in, algorithm)->channels;
    return is_nvls(algorithm) || 2 * channels > MAX_CHANNELS ? channels : 2 * channels;
}

static double price(const struct model *m, int algorithm, int protocol, uint64_t bytes,
                    double latency_us, double bandwidth)
{
    const struct weft_nccl_input *in = m->in;
    int power = bytes < 64 ? -1 : log2_floor(bytes / 64);
    if (algorithm == WEFT_NCCL_TREE && power >= 0 && power < NCCL_CORRECTIONS)
        bandwidth *= weft_nccl_tree_correction[protocol][power];
    uint64_t parts = (uint64_t)communicator_channels(in, WEFT_NCCL_RING) * (uint64_t)in->num_ranks;
    if (algorithm == WEFT_NCCL_RING && protocol == WEFT_NCCL_SIMPLE && in->num_nodes > 1 &&
        m->collective == WEFT_ALL_REDUCE && bytes / parts >= 64)
        latency_us *= in->min_compute_capability < 80 ? 1.9 : 1.4;
    return latency_us + (double)bytes / (1000 * bandwidth);
}

/* Small vectors take fewer channels: each thread is to have something to do. */
static int channels_used(const struct weft_nccl_input *in, int algorithm, int protocol,
                         uint64_t bytes)
{
    static const int most_threads[] = {512, 640, 512}, worth[] = {8, 8, 64};
    int channels = communicator_channels(in, algorithm);
    if (is_nvls(algorithm) || is_collnet(algorithm))
        return channels;
    uint64_t threads = (uint64_t)most_threads[protocol];
    if (algorithm == WEFT_NCCL_RING && protocol == WEFT_NCCL_SIMPLE &&
        in->ring.intra * in->ring.channels <= 12)
        threads = 256;
    uint64_t threshold = threads * (uint64_t)worth[protocol];
    if (algorithm == WEFT_NCCL_RING && protocol == WEFT_NCCL_LL)
        threshold *= (uint64_t)in->num_ranks;
    while (channels > 1 && bytes < (uint64_t)channels * threshold)
        channels--;
    return channels;
}

static bool is_sane(const struct weft_nccl_graph *graph)
{
    return graph->channels >= 0 && graph->channels <= MAX_CHANNELS &&
           (graph->channels == 0 || (graph->intra > 0 && graph->inter > 0));
}

static weft_status start(const struct weft_nccl_input *in, weft_collective collective,
                         struct model *m, struct weft_error *error)
{
    if (collective != WEFT_ALL_REDUCE && !is_scatter(collective) && collective != WEFT_BROADCAST &&
        collective != WEFT_REDUCE)
        return weft_fail(error, WEFT_UNSUPPORTED, "NCCL has no price for %s",
                         weft_collective_names[collective]);
    if (in->num_nodes < 1 || in->num_nodes > MAX_NODES || in->num_ranks < 2 ||
        in->num_ranks < in->num_nodes || in->num_ranks > MAX_RANKS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "NCCL's model: %d ranks on %d nodes",
                         in->num_ranks, in->num_nodes);
    if (!is_sane(&in->ring) || !is_sane(&in->tree) || !is_sane(&in->nvls))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "NCCL's model: channels not of 0 to %d, or without bandwidth",
                         MAX_CHANNELS);
    int low = in->min_compute_capability;
    *m = (struct model){
        .in = in,
        .collective = collective,
        .generation = low >= 100  ? NCCL_BLACKWELL
                      : low >= 90 ? NCCL_HOPPER
                      : low >= 80 ? NCCL_AMPERE
                                  : NCCL_VOLTA,
        .scale = in->num_nodes <= 2 ? in->num_nodes - 1 : 2,
        .num_steps = collective == WEFT_ALL_REDUCE ? 2 * (in->num_ranks - 1)
                     : is_scatter(collective)      ? in->num_ranks - 1
                                                   : in->num_ranks,
        .per_node = (double)in->num_ranks / in->num_nodes,
    };
    // between nodes the processor decides how fast LL is
    m->ll_generation = in->num_nodes == 1             ? m->generation
                       : in->cpu == WEFT_NCCL_CPU_AMD ? NCCL_AMPERE
                                                      : NCCL_VOLTA;
    return WEFT_OK;
}

weft_status weft_nccl_predict(const struct weft_nccl_input *in, weft_collective collective,
                              uint64_t bytes, struct weft_nccl_prediction *prediction,
                              struct weft_error *error)
{
    struct model m = {0};
    struct weft_nccl_prediction made = {.time_us = -1};
    WEFT_TRY(start(in, collective, &m, error));
    for (int a = 0; a < WEFT_NCCL_ALGORITHMS; a++)
        for (int p = 0; p < WEFT_NCCL_PROTOCOLS; p++) {
            struct weft_nccl_price *entry = &made.prices[a][p];
            *entry = (struct weft_nccl_price){.time_us = -1, .reason = refuse(&m, a, p)};
            if (entry->reason)
                continue;
            entry->bandwidth = vector_bandwidth(&m, a, p);
            entry->latency_us = latency(&m, a, p);
            entry->time_us = price(&m, a, p, bytes, entry->latency_us, entry->bandwidth);
            if (made.time_us >= 0 && made.time_us <= entry->time_us)
                continue;
            made.time_us = entry->time_us;
            made.algorithm = (enum weft_nccl_algorithm)a;
            made.protocol = (enum weft_nccl_protocol)p;
        }
    if (made.time_us < 0)
        return weft_fail(error, WEFT_NOT_FOUND, "NCCL's model: no algorithm is possible");
    made.channels = channels_used(in, made.algorithm, made.protocol, bytes);
    *prediction = made;
    return WEFT_OK;
}

weft_status weft_nccl_crossovers(const struct weft_nccl_input *in, weft_collective collective,
                                 uint64_t first, uint64_t last, struct weft_nccl_crossover *rows,
                                 int *num_rows, struct weft_error *error)
{
    struct weft_nccl_prediction now;
    int count = 0;
    for (uint64_t bytes = first; bytes > 0 && bytes <= last; bytes *= 2) {
        WEFT_TRY(weft_nccl_predict(in, collective, bytes, &now, error));
        if (count > 0 && rows[count - 1].algorithm == now.algorithm &&
            rows[count - 1].protocol == now.protocol)
            continue;
        if (count == WEFT_NCCL_MAX_CROSSOVERS)
            break;
        rows[count++] =
            (struct weft_nccl_crossover){bytes, now.algorithm, now.protocol, now.time_us};
    }
    *num_rows = count;
    return WEFT_OK;
}
