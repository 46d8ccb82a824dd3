/*
 * SPDX-License-Identifier: Apache-2.0
 * See explain.h. Text.
 */
#include "collectives/planner/explain.h"

#include <string.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/explain_format.h"

static const struct weft_candidate *find(const struct weft_choice *choice,
                                         const struct weft_algorithm *algorithm)
{
    for (int i = 0; i < choice->num_usable; i++)
        if (choice->candidates[i].algorithm == algorithm)
            return &choice->candidates[i];
    return &choice->candidates[0];
}

void weft_explain_why(const struct weft_explanation *explanation, char *text, size_t bytes)
{
    const struct weft_choice *choice = &explanation->choice;
    const struct weft_candidate *chosen = find(choice, explanation->chosen);
    const struct weft_candidate *other = &choice->candidates[0];
    if (other == chosen)
        other++;
    char mine[4][32];
    const char *name = chosen->algorithm->name;
    if (choice->num_usable < 2) {
        snprintf(text, bytes, "%s is the only algorithm that can do this.", name);
        return;
    }
    weft_format_latency(chosen->latency_ps, mine[0], sizeof mine[0]);
    weft_format_latency(other->latency_ps, mine[1], sizeof mine[1]);
    weft_format_latency(chosen->estimate_ps - chosen->latency_ps, mine[2], sizeof mine[2]);
    weft_format_latency(other->estimate_ps - other->latency_ps, mine[3], sizeof mine[3]);
    double factor = (double)other->estimate_ps / (double)chosen->estimate_ps;
    char relation[64];
    if (factor >= 1.05)
        snprintf(relation, sizeof relation, "%.2f times as fast as", factor);
    else if (factor <= 1 / 1.05)
        snprintf(relation, sizeof relation, "%.2f times as slow as", 1 / factor);
    else
        snprintf(relation, sizeof relation, "within %.1f%% of",
                 100 * (factor > 1 ? factor - 1 : 1 / factor - 1) + 0.05);
    snprintf(text, bytes,
             "%s %s %s %s: messages and steps take %s against %s, moving and combining bytes "
             "%s against %s.",
             name, explanation->is_forced ? "was forced and is" : "is", relation,
             other->algorithm->name, mine[0], mine[1], mine[2], mine[3]);
}

static void print_head(const struct weft_explanation *explanation, FILE *stream)
{
    const struct weft_key *key = &explanation->choice.key;
    char asked[32], edge[32];
    weft_format_bytes(explanation->bytes, asked, sizeof asked);
    weft_format_bytes(key->size_class < 0 ? 0 : INT64_C(1) << key->size_class, edge, sizeof edge);
    fprintf(stream, "%s of %s on %d rank%s", weft_collective_names[key->collective], asked,
            key->num_ranks, key->num_ranks == 1 ? "" : "s");
    if (weft_collective_is_rooted(key->collective))
        fprintf(stream, ", %s %d",
                key->collective == WEFT_SEND || key->collective == WEFT_RECV ? "peer" : "root",
                key->root);
    fprintf(stream, "%s (size class %d: from %s)\n",
            key->order == WEFT_ORDER_REPRODUCIBLE ? ", reproducible order" : "", key->size_class,
            edge);
}

double weft_explain_share(const struct weft_explanation *explanation,
                          const struct weft_candidate *candidate)
{
    int64_t bytes = weft_key_bytes(&explanation->choice.key);
    if (!explanation->bound.label || bytes == 0)
        return -1;
    return (double)weft_bound_time(&explanation->bound, bytes) / (double)candidate->estimate_ps;
}

static void print_bound(const struct weft_explanation *explanation, FILE *stream)
{
    const struct weft_bound *bound = &explanation->bound;
    char time[32], rate[32], equal[32];
    if (!bound->label) {
        fprintf(stream, "\nBound: none: %s\n", bound->reason ? bound->reason : "not asked for");
        return;
    }
    int64_t bytes = weft_key_bytes(&explanation->choice.key);
    weft_format_latency(weft_bound_time(bound, bytes), time, sizeof time);
    weft_format_bandwidth(weft_curve_bandwidth(bound->ps_per_mib), rate, sizeof rate);
    fprintf(stream, "\nBound: %s (%s of vector at most), %s", time, rate, bound->label);
    if (bound->num_cut)
        fprintf(stream, "; in the way: %s", bound->cut);
    if (bound->equal_ps_per_mib > bound->ps_per_mib) {
        weft_format_bandwidth(weft_curve_bandwidth(bound->equal_ps_per_mib), equal, sizeof equal);
        fprintf(stream, "; with equal shards on all ranks %s", equal);
    }
    fputc('\n', stream);
}

static void print_candidates(const struct weft_explanation *explanation, FILE *stream)
{
    const struct weft_choice *choice = &explanation->choice;
    fprintf(stream, "\nCandidates\n    %-12s %11s %9s %8s %8s %11s %11s   %s\n", "algorithm",
            "predicted", "ratio", "of bound", "channels", "latency", "bytes", "how");
    for (int i = 0; i < choice->num_candidates; i++) {
        const struct weft_candidate *candidate = &choice->candidates[i];
        char whole[32], latency[32], rest[32], share[16] = "-", channels[16] = "-";
        const char *mark = candidate->algorithm == explanation->chosen ? ">" : " ";
        if (candidate->reason) {
            fprintf(stream, "  %s %-12s not possible: %s\n", mark, candidate->algorithm->name,
                    candidate->reason);
            continue;
        }
        weft_format_latency(candidate->estimate_ps, whole, sizeof whole);
        weft_format_latency(candidate->latency_ps, latency, sizeof latency);
        weft_format_latency(candidate->estimate_ps - candidate->latency_ps, rest, sizeof rest);
        double of_bound = weft_explain_share(explanation, candidate);
        if (of_bound >= 0)
            snprintf(share, sizeof share, "%.1f%%", 100 * of_bound);
        if (explanation->channels[i] > 0)
            snprintf(channels, sizeof channels, "%d", explanation->channels[i]);
        fprintf(stream, "  %s %-12s %11s %8.2fx %8s %8s %11s %11s   %s\n", mark,
                candidate->algorithm->name, whole,
                (double)candidate->estimate_ps / (double)choice->candidates[0].estimate_ps, share,
                channels, latency, rest, candidate->algorithm->description);
    }
}

static void print_level(const struct weft_explanation *explanation, int number, FILE *stream)
{
    const struct weft_layout *layout = explanation->choice.layout;
    const struct weft_level_costs *costs = &layout->costs.levels[number];
    const struct weft_level_origin *origin = &explanation->origin.levels[number];
    fprintf(stream, "    %s %d %s%s: %s\n", number ? "within" : "in each of",
            layout->levels[number].num_groups, origin->groups,
            number ? ", between those above" : "", origin->route);
    for (int i = 0; i < costs->message.num_lines; i++) {
        char fixed[32], bandwidth[32];
        const struct weft_line *line = &costs->message.lines[i];
        weft_format_latency(line->fixed_ps, fixed, sizeof fixed);
        weft_format_bandwidth(weft_curve_bandwidth(line->ps_per_mib), bandwidth, sizeof bandwidth);
        fprintf(stream, "      a message %14s [%s] + bytes at %s [%s]\n", fixed,
                weft_source_names[origin->latency], bandwidth,
                weft_source_names[origin->bandwidth]);
    }
}

static void print_prices(const struct weft_explanation *explanation, FILE *stream)
{
    struct weft_price_row rows[WEFT_PRICE_ROWS];
    int num_rows = weft_price_rows(&explanation->choice.layout->costs, rows);
    fputs("\nPrices\n", stream);
    for (int l = 0; l < explanation->choice.layout->costs.num_levels; l++)
        print_level(explanation, l, stream);
    for (int i = 0; i < num_rows; i++) {
        char value[32] = "not available";
        if (rows[i].is_time && rows[i].value >= 0)
            weft_format_latency(rows[i].value, value, sizeof value);
        else if (!rows[i].is_time)
            snprintf(value, sizeof value, "%lld", (long long)rows[i].value);
        fprintf(stream, "    %-34s %14s  [%s]\n", rows[i].meaning, value, rows[i].source);
    }
    const struct weft_layout_origin *origin = &explanation->origin;
    const struct weft_node_kind *kind = &weft_node_kinds[origin->place_kind];
    int num_ranks = explanation->choice.key.num_ranks;
    fprintf(stream, "    %d %s on %d %s of %d %s\n", num_ranks, num_ranks == 1 ? "rank" : "ranks",
            origin->num_places, origin->num_places == 1 ? kind->name : kind->plural,
            origin->num_hosts, origin->num_hosts == 1 ? "host" : "hosts");
}

static void print_programs(const struct weft_explanation *explanation, FILE *stream)
{
    fprintf(stream, "\n%s, as proved\n    %6s %7s %7s %9s %7s %12s %12s %12s\n",
            explanation->chosen->name, "rank", "steps", "rounds", "messages", "peers", "sent",
            "received", "scratch");
    for (int i = 0; i < explanation->num_programs; i++) {
        const struct weft_program_facts *facts = &explanation->programs[i];
        char sent[32], received[32], scratch[32];
        weft_format_bytes(facts->bytes_sent, sent, sizeof sent);
        weft_format_bytes(facts->bytes_received, received, sizeof received);
        weft_format_bytes(facts->scratch_bytes, scratch, sizeof scratch);
        fprintf(stream, "    %6d %7u %7u %9u %7u %12s %12s %12s\n", facts->rank, facts->num_steps,
                facts->num_rounds, facts->num_sends, facts->num_peers, sent, received, scratch);
    }
}

void weft_explain_text(const struct weft_explanation *explanation, bool verbose, FILE *stream)
{
    char why[512], predicted[32], share[48] = "";
    const struct weft_candidate *chosen = find(&explanation->choice, explanation->chosen);
    double of_bound = weft_explain_share(explanation, chosen);
    print_head(explanation, stream);
    weft_explain_why(explanation, why, sizeof why);
    weft_format_latency(chosen->estimate_ps, predicted, sizeof predicted);
    if (of_bound >= 0)
        snprintf(share, sizeof share, ", %.1f%% of the bound", 100 * of_bound);
    fprintf(stream, "  %s, predicted %s%s\n  %s\n", explanation->chosen->name, predicted, share,
            why);
    if (verbose) {
        print_candidates(explanation, stream);
        print_bound(explanation, stream);
        if (explanation->nccl[0])
            fprintf(stream, "\n%s%s\n", explanation->nccl_us < 0 ? "NCCL 2.28: " : "",
                    explanation->nccl);
        print_prices(explanation, stream);
    }
    if (explanation->num_programs)
        print_programs(explanation, stream);
}
