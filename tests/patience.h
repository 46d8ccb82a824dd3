/*
 * SPDX-License-Identifier: Apache-2.0
 * Limits of time in tests: how long something may take counts where each task has a core. Where
 * more of them want one, it may take as much longer.
 */
#ifndef WEFT_TESTS_PATIENCE_H
#define WEFT_TESTS_PATIENCE_H

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { PATIENCE_MOST = 8 };

/* `limit_ns`, or longer on a machine that is busy now or was in the last minute: up to
 * PATIENCE_MOST times as long. */
static inline int64_t patience(int64_t limit_ns)
{
    double load = 0;
    int running = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    if (file && fscanf(file, "%lf %*f %*f %d", &load, &running) != 2)
        load = 0;
    if (file)
        fclose(file);
    if (load < running)
        load = running;
    double tasks = load / (double)sysconf(_SC_NPROCESSORS_ONLN);
    tasks = tasks < 1 ? 1 : tasks > PATIENCE_MOST ? PATIENCE_MOST : tasks;
    return (int64_t)((double)limit_ns * tasks);
}

#endif
