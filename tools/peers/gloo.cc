/*
 * SPDX-License-Identifier: Apache-2.0
 * Gloo's side of tools/compare. Ranks meet over files in a folder and talk TCP over an interface.
 * RANK and WORLD_SIZE come from the environment. Where Gloo has several ways to do a collective, a
 * few calls of each, before the timed loop, decide. Arguments: FOLDER INTERFACE, then those of
 * peer.h.
 */
#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <vector>

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/alltoall.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/reduce_scatter.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include "tools/peers/peer.h"

static std::shared_ptr<gloo::rendezvous::Context> context;
static std::function<void()> call; // of the size that is timed

static void barrier()
{
    gloo::BarrierOptions options(context);
    gloo::barrier(options);
}

using Reduce = void (*)(void *, const void *, const void *, size_t);

static double over_ranks(double mine, Reduce reduce)
{
    double result;
    gloo::AllreduceOptions options(context);
    options.setInput(&mine, 1);
    options.setOutput(&result, 1);
    options.setReduceFunction(reduce);
    gloo::allreduce(options);
    return result;
}

static double sum(double mine)
{
    return over_ranks(mine, &gloo::sum<double>);
}

static double max(double mine)
{
    return over_ranks(mine, &gloo::max<double>);
}

template <typename Options> static std::shared_ptr<Options> options_for(const struct peer_case *c)
{
    auto options = std::make_shared<Options>(context);
    options->setInput(c->send, c->send_elements);
    options->setOutput(c->recv, c->recv_elements);
    return options;
}

/* ---- all_reduce: three ways ---- */

static std::function<void()> all_reduce(const struct peer_case *c,
                                        gloo::AllreduceOptions::Algorithm algorithm)
{
    auto options = options_for<gloo::AllreduceOptions>(c);
    options->setReduceFunction(static_cast<Reduce>(&gloo::sum<float>));
    options->setAlgorithm(algorithm);
    return [options] { gloo::allreduce(*options); };
}

static double try_out(const std::function<void()> &way)
{
    double least_us = 1e9;
    for (int i = 0; i < 5; i++) {
        double begin = peer_now_us();
        way();
        least_us = std::min(least_us, peer_now_us() - begin);
    }
    return sum(least_us);
}

static void choose_all_reduce(struct peer_case *c)
{
    float *in_place = c->send;
    memset(c->send, 0, c->send_elements * sizeof *c->send);
    using Halving = gloo::AllreduceHalvingDoubling<float>;
    auto halving = std::make_shared<Halving>(context, std::vector<float *>{in_place},
                                             static_cast<int>(c->count));
    const std::vector<std::function<void()>> ways = {
        all_reduce(c, gloo::detail::AllreduceOptionsImpl::RING),
        all_reduce(c, gloo::detail::AllreduceOptionsImpl::BCUBE),
        [halving] { halving->run(); },
    };
    size_t best = 0;
    double best_us = try_out(ways[0]);
    for (size_t i = 1; i < ways.size(); i++) {
        double took_us = try_out(ways[i]);
        if (took_us < best_us) {
            best = i;
            best_us = took_us;
        }
    }
    call = ways[best];
    if (best == 2)
        c->recv = in_place;
}

/* ---- all collectives ---- */

static void prepare(struct peer_case *c)
{
    switch (c->collective) {
    case PEER_ALL_REDUCE:
        choose_all_reduce(c);
        return;
    case PEER_ALL_GATHER: {
        auto options = options_for<gloo::AllgatherOptions>(c);
        call = [options] { gloo::allgather(*options); };
        return;
    }
    case PEER_REDUCE_SCATTER: { // in place only
        using Scatter = gloo::ReduceScatterHalvingDoubling<float>;
        auto scatter = std::make_shared<Scatter>(
            context, std::vector<float *>{c->send}, static_cast<int>(c->send_elements),
            std::vector<int>(static_cast<size_t>(c->num_ranks), static_cast<int>(c->count)));
        c->recv = c->send;
        call = [scatter] { scatter->run(); };
        return;
    }
    case PEER_BROADCAST: {
        auto options = std::make_shared<gloo::BroadcastOptions>(context);
        options->setOutput(c->recv, c->count);
        options->setRoot(0);
        call = [options] { gloo::broadcast(*options); };
        return;
    }
    case PEER_ALL_TO_ALL: {
        auto options = options_for<gloo::AlltoallOptions>(c);
        call = [options] { gloo::alltoall(*options); };
        return;
    }
    case PEER_NUM_COLLECTIVES:
        return;
    }
}

static void run(const struct peer_case *)
{
    call();
}

int main(int argc, char **argv)
{
    static const struct peer peer = {prepare, run, barrier, sum, max};
    const char *rank_text = getenv("RANK"), *size_text = getenv("WORLD_SIZE");
    if (argc != 9 || !rank_text || !size_text) {
        std::cerr << "RANK and WORLD_SIZE in the environment, 8 arguments\n";
        return 2;
    }
    int rank = atoi(rank_text), num_ranks = atoi(size_text);
    try {
        gloo::transport::tcp::attr attributes;
        attributes.iface = argv[2];
        auto device = gloo::transport::tcp::CreateDevice(attributes);
        gloo::rendezvous::FileStore store(argv[1]);
        context = std::make_shared<gloo::rendezvous::Context>(rank, num_ranks);
        context->connectFullMesh(store, device);
        int code = peer_sweep(&peer, rank, num_ranks, argv + 3);
        if (code == 0)
            barrier(); // nobody leaves while another still waits for it
        call = nullptr;
        return code;
    } catch (const std::exception &problem) {
        std::cerr << "rank " << rank << ": " << problem.what() << "\n";
        return 1;
    }
}
