/*
 * SPDX-License-Identifier: Apache-2.0
 * Runs every kind of fault of the verbs transport with many seeds and prints a table: what must
 * arrive arrives once, what cannot go on says why, in time, and nothing is left behind. It takes
 * down network interfaces, so it does nothing without --faults: only for virtual machines that have
 * HCAs (tools/rdma-vm).
 *
 * Each repeat is a process of its own. Before and after it the kernel's count of RDMA objects is
 * the same, or they leak.
 */
#include "tests/transport/verbs_faults.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rdma_sysfs.h"

enum { NAME_WIDTH = 42, OUTPUT_BYTES = 1 << 16 };

static const int64_t repeat_ns = 320000000000, release_ns = 30000000000;
static const char cgroups[] = "/run/weft-faults";
static const char says[] = "says: ";

static const struct kind {
    const char *name;
    CMUnitTestFunction run;
    int hcas; // it needs
    int most; // repeats of a short run; 0: as many as asked for
} kinds[] = {
    {"port down and up in traffic", fault_port_down, 4, 0},
    {"port down before the ends meet, and up", fault_port_down_meeting, 4, 0},
    {"path silent, and back, without an event", fault_silent, 4, 0},
    {"all ports of one end down", fault_all_of_one, 4, 0},
    {"all ports of both ends down", fault_all_of_both, 4, 0},
    {"2 % of packets lost", fault_loss, 4, 0},
    {"bad key", fault_bad_key, 4, 0},
    {"peer killed in set-up", fault_killed_meeting, 4, 0},
    {"peer killed in transfer", fault_killed_moving, 4, 0},
    {"rank of 3 killed", fault_rank_killed, 4, 0},
    {"no handle of a device (rdma.max)", fault_no_handle, 4, 0},
    {"no object to open (rdma.max)", fault_no_object, 4, 0},
    {"no CQ, QP, MR to connect (rdma.max)", fault_no_object_to_connect, 4, 0},
    {"no MR for messages (rdma.max)", fault_no_object_to_move, 4, 0},
    {"locked memory: not enough to connect", fault_locked_memory, 4, 0},
    {"locked memory: not enough for messages", fault_locked_memory_to_move, 4, 0},
    {"all-reduce of 4: one of two links down", fault_ranks_one_link, 8, 1},
    {"all-reduce of 4: only link of one down", fault_ranks_no_link, 4, 1},
};
enum { NUM_KINDS = sizeof kinds / sizeof *kinds };

/* ---- what the machine has ---- */

static int find_hcas(struct fault_hca hcas[FAULT_HCAS])
{
    struct weft_sysfs files;
    int count = 0;
    if (weft_sysfs_open("/", &files, NULL) != WEFT_OK)
        return 0;
    for (;; count++) {
        struct fault_hca hca;
        snprintf(hca.name, sizeof hca.name, "rxe%d", count);
        if (!weft_rdma_interface(&files, hca.name, hca.interface, sizeof hca.interface))
            break;
        if (count < FAULT_HCAS)
            hcas[count] = hca;
    }
    weft_sysfs_close(&files);
    return count;
}

/* Where a process can be given few RDMA objects. */
static bool mount_cgroups(void)
{
    bool is_mounted = mkdir(cgroups, 0755) == 0 && mount("none", cgroups, "cgroup2", 0, NULL) == 0;
    char path[100];
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", cgroups);
    FILE *file = is_mounted ? fopen(path, "we") : NULL;
    bool is_good = file && fputs("+rdma", file) >= 0;
    if (file && fclose(file) != 0)
        is_good = false;
    if (!is_good)
        fprintf(stderr, "no cgroups with the rdma controller: %s\n", strerror(errno));
    return is_good;
}

/* Whatever a repeat has left of its faults. */
static void mend(const struct fault_hca *hcas)
{
    char command[200];
    for (int i = 0; i < FAULT_HCAS; i++) {
        snprintf(command, sizeof command,
                 "ip link set %s up; ip link set p%d up;"
                 "tc qdisc del dev %s root 2>/dev/null",
                 hcas[i].interface, i, hcas[i].interface);
        if (system(command) < 0)
            perror("ip");
    }
}

void fault_resources(char text[FAULT_RESOURCES_BYTES])
{
    FILE *shown = popen("rdma resource show", "re");
    size_t bytes = shown ? fread(text, 1, FAULT_RESOURCES_BYTES - 1, shown) : 0;
    text[bytes] = '\0';
    if (shown)
        pclose(shown);
}

/* ---- a repeat ---- */

static int run_child(const struct kind *kind, struct fault_seed *given)
{
    const struct CMUnitTest tests[] = {
        {.name = kind->name, .test_func = kind->run, .initial_state = given}};
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}

/* Ends what is left of a repeat's processes; its exit code, -1: it took too long. */
static int wait_child(pid_t child)
{
    int64_t deadline = weft_deadline_after(repeat_ns);
    int status = 0;
    pid_t got;
    while ((got = waitpid(child, &status, WNOHANG)) == 0 && weft_clock_ns() < deadline)
        usleep(2000);
    kill(-child, SIGKILL);
    if (got == 0)
        waitpid(child, &status, 0);
    return got == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool has_leaked(const char *before, char *after)
{
    int64_t deadline = weft_deadline_after(release_ns);
    for (;;) { // what was killed is taken apart behind its back
        fault_resources(after);
        if (strcmp(before, after) == 0)
            return false;
        if (weft_clock_ns() > deadline)
            return true;
        usleep(20000);
    }
}

struct result {
    int num_passed, num_leaked;
    char says[400];
};

static void keep_what_it_says(struct result *result, const char *output)
{
    const char *at = strstr(output, says);
    if (at)
        snprintf(result->says, sizeof result->says, "%.*s",
                 (int)strcspn(at + sizeof says - 1, "\n"), at + sizeof says - 1);
}

static void repeat(const struct kind *kind, struct fault_seed *given, struct result *result)
{
    static char before[FAULT_RESOURCES_BYTES], after[FAULT_RESOURCES_BYTES], output[OUTPUT_BYTES];
    int file = memfd_create("output", MFD_CLOEXEC);
    fault_resources(before);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        dup2(file, 1);
        dup2(file, 2);
        int code = run_child(kind, given);
        fflush(NULL);
        _exit(code);
    }
    setpgid(child, child);
    int code = wait_child(child);
    ssize_t bytes = pread(file, output, sizeof output - 1, 0);
    output[bytes > 0 ? bytes : 0] = '\0';
    close(file);
    bool leaked = has_leaked(before, after);
    result->num_passed += code == 0;
    result->num_leaked += leaked;
    keep_what_it_says(result, output);
    if (code != 0)
        printf("FAILED %s, seed %llu%s:\n%s\n", kind->name, (unsigned long long)given->seed,
               code < 0 ? ", too long or ended by a signal" : "", output);
    if (leaked)
        printf("LEAKED %s, seed %llu:\n%sbefore:\n%s", kind->name, (unsigned long long)given->seed,
               after, before);
    if (code != 0 || leaked)
        mend(given->hcas);
    char path[100];
    snprintf(path, sizeof path, "%s/%d", cgroups, (int)child);
    rmdir(path);
}

/* ---- all of them ---- */

struct arguments {
    int repeats;
    uint64_t seed;
    const char *kind; // part of a name; NULL: all
};

static bool run_all(const struct arguments *wanted, struct fault_seed *given, int num_hcas)
{
    struct result results[NUM_KINDS] = {0}, all = {0};
    int repeats[NUM_KINDS] = {0}, num_repeats = 0;
    for (int k = 0; k < NUM_KINDS; k++) {
        const struct kind *kind = &kinds[k];
        if (num_hcas < kind->hcas || (wanted->kind && !strstr(kind->name, wanted->kind)))
            continue;
        repeats[k] = kind->most && wanted->repeats < 4 ? kind->most : wanted->repeats;
        int64_t began = weft_clock_ns();
        for (int i = 0; i < repeats[k]; i++) {
            given->seed = wanted->seed + (uint64_t)i;
            given->end = (int)(given->seed % 2);
            repeat(kind, given, &results[k]);
        }
        printf("%-*s %3d of %3d passed, %d leaked, %.1f s\n", NAME_WIDTH, kind->name,
               results[k].num_passed, repeats[k], results[k].num_leaked,
               (double)(weft_clock_ns() - began) / 1e9);
        fflush(stdout);
    }
    printf("\n%-*s %7s %6s %6s  what the user reads (one of them)\n", NAME_WIDTH, "kind", "repeats",
           "passed", "leaked");
    for (int k = 0; k < NUM_KINDS; k++) {
        if (repeats[k])
            printf("%-*s %7d %6d %6d  %s\n", NAME_WIDTH, kinds[k].name, repeats[k],
                   results[k].num_passed, results[k].num_leaked, results[k].says);
        num_repeats += repeats[k];
        all.num_passed += results[k].num_passed;
        all.num_leaked += results[k].num_leaked;
    }
    printf("%-*s %7d %6d %6d\n", NAME_WIDTH, "all", num_repeats, all.num_passed, all.num_leaked);
    return num_repeats > 0 && all.num_passed == num_repeats && all.num_leaked == 0;
}

int main(int num_arguments, char **arguments)
{
    struct fault_hca hcas[FAULT_HCAS];
    struct arguments wanted = {.repeats = 1, .seed = 1};
    struct fault_seed given = {
        .hcas = hcas, .cgroups = cgroups, .weft = WEFT_TOOL, .script = WEFT_VERBS_SCRIPT};
    if (num_arguments < 2 || strcmp(arguments[1], "--faults") != 0) {
        fprintf(stderr, "Usage: weft_verbs_faults --faults [REPEATS [SEED [KIND]]]\n"
                        "Takes network interfaces down: only for a virtual machine "
                        "(tools/rdma-vm -n 8).\n");
        return 2;
    }
    if (num_arguments > 2)
        wanted.repeats = atoi(arguments[2]);
    if (num_arguments > 3)
        wanted.seed = strtoull(arguments[3], NULL, 10);
    if (num_arguments > 4)
        wanted.kind = arguments[4];
    int num_hcas = find_hcas(hcas);
    if (num_hcas < FAULT_HCAS) {
        fprintf(stderr, "%d HCAs rxe0, ... are not enough\n", num_hcas);
        return 1;
    }
    return mount_cgroups() && run_all(&wanted, &given, num_hcas) ? 0 : 1;
}
