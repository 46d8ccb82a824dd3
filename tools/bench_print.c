/*
 * SPDX-License-Identifier: Apache-2.0
 * Three printers behind one table. JSON is streamed, so that a run which is cut off loses only its
 * end; strings go through jansson for their escapes.
 */
#include "tools/bench_print.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const placement_names[2] = {"out_of_place", "in_place"};

/* ---- nccl-tests' table ---- */

static void begin_nccl(FILE *stream, const struct weft_bench_header *h)
{
    fprintf(stream, "# weft %s %s\n", h->version, h->collective);
    fprintf(stream, "# ranks %d minBytes %zu maxBytes %zu step: ", h->num_ranks, h->min_bytes,
            h->max_bytes);
    if (h->step_factor > 1)
        fprintf(stream, "%lld(factor)", (long long)h->step_factor);
    else
        fprintf(stream, "%zu(bytes)", h->step_bytes);
    fprintf(stream, " warmup iters: %d iters: %d validation: %d\n#\n", h->warmup_iterations,
            h->iterations, h->check_iterations);
    for (int rank = 0; rank < h->num_ranks; rank++)
        fprintf(stream, "#  Rank %3d %s\n", rank, h->rank_lines[rank]);
    fprintf(stream,
            "#\n"
            "# %46s  %-31s  %-31s\n"
            "# %10s %12s %8s %6s %6s  %7s  %6s  %6s  %6s  %7s  %6s  %6s  %6s\n"
            "# %10s %12s %8s %6s %6s  %7s  %6s  %6s  %6s  %7s  %6s  %6s  %6s\n",
            "", "         out-of-place", "           in-place", "size", "count", "type", "redop",
            "root", "time", "algbw", "busbw", "#wrong", "time", "algbw", "busbw", "#wrong", "(B)",
            "(elements)", "", "", "", "(us)", "(GB/s)", "(GB/s)", "", "(us)", "(GB/s)", "(GB/s)",
            "");
}

static void print_timing_nccl(FILE *stream, const struct weft_bench_timing *t)
{
    if (!t->was_run) {
        fprintf(stream, "  %7s  %6s  %6s  %6s", "N/A", "N/A", "N/A", "N/A");
        return;
    }
    int digits = t->mean_us >= 10000 ? 0 : t->mean_us >= 100 ? 1 : 2;
    fprintf(stream, "  %7.*f  %6.2f  %6.2f", digits, t->mean_us, t->algorithm_gbps, t->bus_gbps);
    if (t->was_checked)
        fprintf(stream, "  %6g", (double)t->wrong);
    else
        fprintf(stream, "  %6s", "N/A");
}

static void row_nccl(FILE *stream, const struct weft_bench_row *row, bool is_first)
{
    (void)is_first;
    fprintf(stream, "%12zu %12zu %8s %6s %6d", row->bytes, row->count, row->type, row->op,
            row->root);
    for (int i = 0; i < 2; i++)
        print_timing_nccl(stream, &row->timings[i]);
    fprintf(stream, "\n#  ");
    for (int i = 0; i < 2; i++)
        if (row->timings[i].was_run)
            fprintf(stream, " %s p50 %.2f p99 %.2f us;", placement_names[i], row->timings[i].p50_us,
                    row->timings[i].p99_us);
    fprintf(stream, " buffers: %s; plan: %s over %s\n", row->buffers,
            row->plan ? row->plan : "not known", row->transport);
    for (int i = 0; i < 2; i++)
        if (row->timings[i].free_us > 0)
            fprintf(stream, "#   %s reproducible takes %.2f of the time of free (%.2f us, %s)\n",
                    placement_names[i], row->timings[i].mean_us / row->timings[i].free_us,
                    row->timings[i].free_us, row->free_plan);
    fflush(stream);
}

static void end_nccl(FILE *stream, const struct weft_bench_end *end)
{
    for (int i = 0; i < end->num_nics; i++) {
        const struct weft_nic_counts *nic = &end->nics[i];
        fprintf(stream, "# NIC %s of rank 0's host:", nic->name);
        if (nic->has_bytes)
            fprintf(stream, " sent %.6g MB, received %.6g MB;", (double)nic->sent_bytes / 1e6,
                    (double)nic->received_bytes / 1e6);
        if (nic->has_packets)
            fprintf(stream, " %llu and %llu packets;", (unsigned long long)nic->sent_packets,
                    (unsigned long long)nic->received_packets);
        if (nic->has_retransmits)
            fprintf(stream, " %llu retransmissions\n", (unsigned long long)nic->retransmits);
        else
            fputs(" retransmissions not told\n", stream);
    }
    fprintf(stream, "# Out of bounds values : %llu %s\n", (unsigned long long)end->wrong,
            end->wrong ? "FAILED" : "OK");
    fprintf(stream, "# Avg bus bandwidth    : %g\n#\n", end->average_bus_gbps);
}

/* ---- JSON ---- */

static void print_json_string(FILE *stream, const char *text)
{
    json_t *string = text ? json_string(text) : json_null(); // NULL when it is no UTF-8
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    fputs(quoted ? quoted : "null", stream);
    free(quoted);
    json_decref(string);
}

static void begin_json(FILE *stream, const struct weft_bench_header *h)
{
    fprintf(stream, "{\"version\": \"%s\", \"collective\": \"%s\", \"ranks\": [", h->version,
            h->collective);
    for (int rank = 0; rank < h->num_ranks; rank++) {
        fputs(rank ? ", " : "", stream);
        print_json_string(stream, h->rank_lines[rank]);
    }
    fprintf(stream,
            "],\n \"warmup_iterations\": %d, \"iterations\": %d, \"check_iterations\": %d,\n"
            " \"results\": [",
            h->warmup_iterations, h->iterations, h->check_iterations);
}

static void row_json(FILE *stream, const struct weft_bench_row *row, bool is_first)
{
    fprintf(stream,
            "%s\n  {\"bytes\": %zu, \"count\": %zu, \"type\": \"%s\", \"op\": \"%s\", "
            "\"root\": %d, \"buffers\": \"%s\", \"plan\": ",
            is_first ? "" : ",", row->bytes, row->count, row->type, row->op, row->root,
            row->buffers);
    print_json_string(stream, row->plan);
    if (row->predicted_us > 0)
        fprintf(stream, ", \"predicted_us\": %.3f", row->predicted_us);
    fputs(", \"transport\": ", stream);
    print_json_string(stream, row->transport);
    for (int i = 0; i < 2; i++) {
        const struct weft_bench_timing *t = &row->timings[i];
        fprintf(stream, ",\n   \"%s\": ", placement_names[i]);
        if (!t->was_run) {
            fputs("null", stream);
            continue;
        }
        fprintf(stream,
                "{\"time_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f, "
                "\"algbw_gbps\": %.6f, \"busbw_gbps\": %.6f, \"wrong\": ",
                t->mean_us, t->p50_us, t->p99_us, t->algorithm_gbps, t->bus_gbps);
        if (t->was_checked)
            fprintf(stream, "%llu", (unsigned long long)t->wrong);
        else
            fputs("null", stream);
        if (t->free_us > 0)
            fprintf(stream, ", \"free_time_us\": %.3f, \"free_plan\": \"%s\"", t->free_us,
                    row->free_plan);
        fputs("}", stream);
    }
    fputs("}", stream);
    fflush(stream);
}

static void print_json_count(FILE *stream, const char *key, bool is_told, uint64_t count)
{
    if (is_told)
        fprintf(stream, ", \"%s\": %llu", key, (unsigned long long)count);
}

static void end_json(FILE *stream, const struct weft_bench_end *end)
{
    fputs("],\n \"nics\": [", stream);
    for (int i = 0; i < end->num_nics; i++) {
        const struct weft_nic_counts *nic = &end->nics[i];
        fprintf(stream, "%s\n  {\"port\": ", i ? "," : "");
        print_json_string(stream, nic->name);
        print_json_count(stream, "sent_bytes", nic->has_bytes, nic->sent_bytes);
        print_json_count(stream, "received_bytes", nic->has_bytes, nic->received_bytes);
        print_json_count(stream, "sent_packets", nic->has_packets, nic->sent_packets);
        print_json_count(stream, "received_packets", nic->has_packets, nic->received_packets);
        print_json_count(stream, "retransmissions", nic->has_retransmits, nic->retransmits);
        fputs("}", stream);
    }
    fprintf(stream, "],\n \"average_busbw_gbps\": %.6f, \"wrong\": %llu}\n", end->average_bus_gbps,
            (unsigned long long)end->wrong);
}

/* ---- CSV ---- */

static void begin_csv(FILE *stream, const struct weft_bench_header *h)
{
    (void)h;
    fputs("bytes,count,type,op,root,placement,time_us,p50_us,p99_us,algbw_gbps,busbw_gbps,wrong,"
          "buffers\n",
          stream);
}

static void row_csv(FILE *stream, const struct weft_bench_row *row, bool is_first)
{
    (void)is_first;
    for (int i = 0; i < 2; i++) {
        const struct weft_bench_timing *t = &row->timings[i];
        if (!t->was_run)
            continue;
        fprintf(stream, "%zu,%zu,%s,%s,%d,%s,%.3f,%.3f,%.3f,%.6f,%.6f,", row->bytes, row->count,
                row->type, row->op, row->root, placement_names[i], t->mean_us, t->p50_us, t->p99_us,
                t->algorithm_gbps, t->bus_gbps);
        if (t->was_checked)
            fprintf(stream, "%llu", (unsigned long long)t->wrong);
        fprintf(stream, ",%s\n", row->buffers);
    }
    fflush(stream);
}

static void end_csv(FILE *stream, const struct weft_bench_end *end)
{
    (void)stream;
    (void)end;
}

struct named_printer {
    const char *name;
    struct weft_bench_printer printer;
};

static const struct named_printer printers[] = {
    {"nccl", {begin_nccl, row_nccl, end_nccl}},
    {"json", {begin_json, row_json, end_json}},
    {"csv", {begin_csv, row_csv, end_csv}},
};

const struct weft_bench_printer *weft_bench_printer_from_name(const char *name)
{
    for (size_t i = 0; i < sizeof printers / sizeof *printers; i++)
        if (!strcmp(printers[i].name, name))
            return &printers[i].printer;
    return NULL;
}
