/*
 * SPDX-License-Identifier: Apache-2.0
 * See trace.h. Events are appended as they end; the format tolerates a missing end of file, so the
 * trace of a killed rank is readable too.
 */
#include "collectives/comm/trace.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

struct weft_trace {
    FILE *file;
    bool has_failed;
};

static struct weft_trace *open_trace(struct weft_comm *comm)
{
    struct weft_trace *trace = calloc(1, sizeof *trace);
    char path[PATH_MAX];
    if (!trace)
        return NULL;
    snprintf(path, sizeof path, "%s/weft-%08x-rank%d.json", comm->context->config.trace, comm->id,
             comm->rank);
    if (mkdir(comm->context->config.trace, 0777) != 0 && errno != EEXIST)
        WEFT_LOG(WEFT_LOG_WARN, "WEFT_TRACE: %s: %s", comm->context->config.trace, strerror(errno));
    trace->file = fopen(path, "we");
    if (!trace->file) {
        WEFT_LOG(WEFT_LOG_WARN, "WEFT_TRACE: %s: %s", path, strerror(errno));
        trace->has_failed = true;
        return trace;
    }
    fprintf(
        trace->file,
        "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"rank %d\"}}",
        comm->rank, comm->rank);
    return trace;
}

void weft_trace_add(struct weft_comm *comm, const struct weft_trace_event *event)
{
    if (!*comm->context->config.trace)
        return;
    if (!comm->trace)
        comm->trace = open_trace(comm);
    if (!comm->trace || comm->trace->has_failed)
        return;
    double measured_us = (double)(event->end_ns - event->begin_ns) / 1e3;
    fprintf(comm->trace->file,
            ",\n{\"name\":\"%s\",\"cat\":\"collective\",\"ph\":\"X\",\"pid\":%d,\"tid\":%u,"
            "\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"algorithm\":\"%s\",\"transport\":\"%s\","
            "\"sequence\":%u,\"bytes\":%llu,\"bytes_sent\":%llu,\"measured_us\":%.3f",
            event->collective, comm->rank, comm->id, (double)event->begin_ns / 1e3, measured_us,
            event->algorithm, event->transport, event->sequence, (unsigned long long)event->bytes,
            (unsigned long long)event->bytes_sent, measured_us);
    if (event->predicted_ps != INT64_MAX)
        fprintf(comm->trace->file, ",\"predicted_us\":%.3f", (double)event->predicted_ps / 1e6);
    if (fprintf(comm->trace->file, "}}") < 0)
        comm->trace->has_failed = true;
}

void weft_trace_close(struct weft_trace **trace)
{
    if (!*trace)
        return;
    if ((*trace)->file) {
        if (fprintf((*trace)->file, "\n]\n") < 0 || fclose((*trace)->file) != 0)
            WEFT_LOG(WEFT_LOG_WARN, "WEFT_TRACE: %s", strerror(errno));
    }
    free(*trace);
    *trace = NULL;
}
