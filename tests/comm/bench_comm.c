/*
 * SPDX-License-Identifier: Apache-2.0
 * What a communicator costs besides time in operations: from the start of the process to the first
 * all-reduce, memory, descriptors. Run it under a launcher; rank 0 prints the worst of all ranks.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "weft/weft.h"

enum { LARGE = 4 << 20 };

static void must(weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return;
    fprintf(stderr, "bench_comm: %s: %s\n", what, weft_status_text(status));
    exit(1);
}

static double descriptors(void)
{
    double count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

// Memory of this process, what is shared counted by its share.
static double kibibytes(void)
{
    char line[200];
    double value = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %lf", &value) == 1)
            break;
    if (file)
        fclose(file);
    return value;
}

// Since this process was started, which is known to a hundredth.
static double seconds_alive(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    struct timespec now;
    FILE *file = fopen("/proc/self/stat", "r");
    size_t bytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[bytes] = '\0';
    const char *at = strrchr(text, ')'); // field 2; the start is field 22
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at)
        ticks = strtoull(at, NULL, 10);
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

int main(void)
{
    enum { ALIVE, CREATED, DUPLICATED, SMALL_USE, LARGE_USE, OPENED, NUM_FIGURES };
    double figures[NUM_FIGURES], worst[NUM_FIGURES];
    weft_context *context;
    weft_comm *comm, *copy;
    float *data = calloc(LARGE, sizeof *data);
    if (!data)
        return 1;
    memset(data, 1, LARGE * sizeof *data); // so that its pages are there
    must(weft_context_create(&context), "context");
    double before = kibibytes();
    must(weft_comm_create_from_environment(context, &comm, NULL), "communicator");
    must(weft_all_reduce(data, data, 2, WEFT_FLOAT32, WEFT_SUM, comm, NULL), "all_reduce");
    figures[ALIVE] = seconds_alive();
    figures[CREATED] = kibibytes() - before;
    before = kibibytes();
    double opened = descriptors();
    must(weft_comm_duplicate(comm, &copy, NULL), "duplicate");
    figures[DUPLICATED] = kibibytes() - before;
    must(weft_all_reduce(data, data, 2, WEFT_FLOAT32, WEFT_SUM, copy, NULL), "all_reduce");
    figures[SMALL_USE] = kibibytes() - before;
    must(weft_all_reduce(data, data, LARGE, WEFT_FLOAT32, WEFT_SUM, copy, NULL), "all_reduce");
    figures[LARGE_USE] = kibibytes() - before;
    figures[OPENED] = descriptors() - opened;
    must(weft_all_reduce(figures, worst, NUM_FIGURES, WEFT_FLOAT64, WEFT_MAX, comm, NULL), "max");
    if (weft_comm_rank(comm) == 0)
        printf("%d ranks, worst of all\n"
               "from the start of the process to the first all-reduce  %8.2f s\n"
               "first communicator, with its connections               %8.0f KiB\n"
               "a duplicate                                            %8.0f KiB\n"
               "  after a small operation                              %8.0f KiB\n"
               "  after one of 16 MiB                                  %8.0f KiB\n"
               "  descriptors it opened                                %8.0f\n",
               weft_comm_num_ranks(comm), worst[ALIVE], worst[CREATED], worst[DUPLICATED],
               worst[SMALL_USE], worst[LARGE_USE], worst[OPENED]);
    weft_comm_destroy(&copy);
    weft_comm_destroy(&comm);
    weft_context_destroy(&context);
    free(data);
    return 0;
}
