/*
 * SPDX-License-Identifier: Apache-2.0
 * Detection of launchers over a table of environments, and meetings of real processes by address
 * and by file. WEFT_MEET_PROGRAM is the program of meet_program.c.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/patience.h"
#include "transport/launcher.h"
#include "transport/meeting.h"

#define HEX32 "0000000000000000000000000000000000000000000000000000000000000000"

static const char *const variables[] = {
    "WEFT_RANK",
    "WEFT_NUM_RANKS",
    "WEFT_ID",
    "WEFT_SECRET",
    "WEFT_BOOTSTRAP_PORT",
    "RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMIX_NAMESPACE",
    "OMPI_MCA_ess_base_jobid",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_ID",
    "SLURM_JOB_ID",
    "SLURM_NNODES",
    "SLURM_STEP_NUM_NODES",
    "SLURM_STEP_NODELIST",
    "SLURM_JOB_NODELIST",
    "SLURM_NODELIST",
};

static void set_environment(const char *settings)
{
    char copy[2048], *rest = copy;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    snprintf(copy, sizeof copy, "%s", settings);
    for (char *item; (item = strsep(&rest, " "));) {
        char *equals = strchr(item, '=');
        if (!equals)
            continue;
        *equals = '\0';
        setenv(item, equals + 1, 1);
    }
}

static weft_status detect(const char *settings, struct weft_launcher_info *info,
                          struct weft_error *error)
{
    struct weft_config config;
    set_environment(settings);
    WEFT_TRY(weft_config_load(&config, error));
    weft_log_set_level(WEFT_LOG_ERROR);
    weft_status status = weft_launcher_detect(info, &config, error);
    weft_config_free(&config);
    return status;
}

#define OMPI  "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 "
#define TORCH "RANK=1 WORLD_SIZE=3 MASTER_ADDR=node7 MASTER_PORT=29500 "
#define SLURM "SLURM_PROCID=0 SLURM_NTASKS=6 SLURM_JOB_ID=812 SLURM_STEP_ID=0 "

static void test_detects(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        const char *source;
        int rank;
        int num_ranks;
        enum weft_launcher_meeting meeting;
        bool serves;
        bool weak;
        const char *where; // host or file
        int port;
    } rows[] = {
        {"", "none", 0, 1, WEFT_LAUNCHER_ALONE, false, false, "", 0},
        {"MASTER_ADDR=a MASTER_PORT=1", "none", 0, 1, WEFT_LAUNCHER_ALONE, false, false, "", 0},
        {TORCH, "torchrun", 1, 3, WEFT_LAUNCHER_ADDRESS, false, true, "node7", 29501},
        {TORCH "WEFT_SECRET=s", "torchrun", 1, 3, WEFT_LAUNCHER_ADDRESS, false, false, "node7",
         29501},
        {TORCH "WEFT_BOOTSTRAP_PORT=77", "torchrun", 1, 3, WEFT_LAUNCHER_ADDRESS, false, true,
         "node7", 77},
        {"RANK=0 WORLD_SIZE=3 MASTER_ADDR=::1 MASTER_PORT=65535", "torchrun", 0, 3,
         WEFT_LAUNCHER_ADDRESS, true, true, "::1", 65534},
        {"RANK=0 WORLD_SIZE=1 MASTER_ADDR=x MASTER_PORT=5", "torchrun", 0, 1, WEFT_LAUNCHER_ALONE,
         false, true, "x", 6},
        // The first in the table counts.
        {TORCH OMPI SLURM, "torchrun", 1, 3, WEFT_LAUNCHER_ADDRESS, false, true, "node7", 29501},
        {OMPI SLURM "OMPI_COMM_WORLD_LOCAL_SIZE=4 PMIX_NAMESPACE=prterun-h-12@1", "Open MPI", 2, 4,
         WEFT_LAUNCHER_FILE, false, false, "ompi-prterun-h-12_1", 0},
        {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2 "
         "OMPI_MCA_ess_base_jobid=../../etc",
         "Open MPI", 0, 2, WEFT_LAUNCHER_FILE, true, false, "ompi-.._.._etc", 0},
        {SLURM "SLURM_NNODES=1", "Slurm", 0, 6, WEFT_LAUNCHER_FILE, true, false, "slurm-812.0", 0},
        {SLURM "SLURM_NNODES=3 SLURM_STEP_NUM_NODES=1 SLURM_STEP_NUM_TASKS=2", "Slurm", 0, 2,
         WEFT_LAUNCHER_FILE, true, false, "slurm-812.0", 0},
        {SLURM "SLURM_NNODES=2 SLURM_JOB_NODELIST=n[03-07,9],x", "Slurm", 0, 6,
         WEFT_LAUNCHER_ADDRESS, true, true, "n03", -1},
        {SLURM "SLURM_NNODES=2 SLURM_JOB_NODELIST=a,b WEFT_BOOTSTRAP_PORT=9 WEFT_SECRET=q", "Slurm",
         0, 6, WEFT_LAUNCHER_ADDRESS, true, false, "a", 9},
        // A batch script is no step.
        {"SLURM_PROCID=0 SLURM_NTASKS=6 SLURM_JOB_ID=812", "none", 0, 1, WEFT_LAUNCHER_ALONE, false,
         false, "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weft_launcher_info info;
        struct weft_error error = {0};
        if (detect(rows[i].settings, &info, &error) != WEFT_OK)
            fail_msg("%s: %s", rows[i].settings, error.text);
        assert_string_equal(info.source, rows[i].source);
        assert_int_equal(info.rank, rows[i].rank);
        assert_int_equal(info.num_ranks, rows[i].num_ranks);
        assert_int_equal(info.meeting, rows[i].meeting);
        assert_int_equal(info.serves, rows[i].serves);
        assert_int_equal(info.is_secret_weak, rows[i].weak);
        assert_string_equal(info.file[0] ? info.file : info.host, rows[i].where);
        if (rows[i].port >= 0)
            assert_int_equal(info.port, rows[i].port);
        else
            assert_in_range(info.port, 20000, 31999);
    }
}

static void test_detects_weft(void **state)
{
    (void)state;
    struct weft_id_contents contents = {.endpoint = {4, 80, {127, 0, 0, 1}}};
    struct weft_launcher_info info;
    struct weft_error error = {0};
    weft_unique_id id;
    char hex[2 * WEFT_UNIQUE_ID_BYTES + 1], settings[600];
    weft_id_pack(&contents, &id);
    weft_unique_id_to_hex(&id, hex);
    snprintf(settings, sizeof settings, TORCH "WEFT_RANK=0 WEFT_NUM_RANKS=2 WEFT_ID=%s", hex);
    assert_int_equal(detect(settings, &info, &error), WEFT_OK);
    assert_string_equal(info.source, "weft");
    assert_int_equal(info.meeting, WEFT_LAUNCHER_ID);
    assert_false(info.serves);
    assert_memory_equal(&info.id, &id, sizeof id);
    snprintf(settings, sizeof settings, "WEFT_RANK=2 WEFT_NUM_RANKS=2 WEFT_ID=%s", hex);
    assert_int_equal(detect(settings, &info, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "WEFT_RANK"));
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        const char *names; // that the sentence must contain
    } rows[] = {
        {"WEFT_RANK=0", "WEFT_ID"},
        {"WEFT_RANK=0 WEFT_NUM_RANKS=2", "WEFT_ID"},
        {"WEFT_ID=" HEX32, "WEFT_RANK"},
        {"WEFT_RANK=0 WEFT_NUM_RANKS=2 WEFT_ID=zz", "WEFT_ID"},
        {"WEFT_RANK=0 WEFT_ID=zz", "WEFT_NUM_RANKS"},
        {"WEFT_RANK=-3 WEFT_NUM_RANKS=2 WEFT_ID=zz", "WEFT_RANK"},
        {"RANK=0", "WORLD_SIZE"},
        {"WORLD_SIZE=2", "RANK"},
        {"RANK=0 WORLD_SIZE=2", "MASTER_ADDR"},
        {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x", "MASTER_PORT"},
        {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=65536", "MASTER_PORT"},
        {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=8a", "MASTER_PORT"},
        {"RANK=2 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=1", "RANK: 2 is not below WORLD_SIZE (2)"},
        {"RANK=-1 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=1", "RANK"},
        {"RANK=x WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=1", "RANK"},
        {"RANK=0 WORLD_SIZE=0 MASTER_ADDR=x MASTER_PORT=1", "WORLD_SIZE"},
        {"RANK=0 WORLD_SIZE=99999999999 MASTER_ADDR=x MASTER_PORT=1", "WORLD_SIZE"},
        {TORCH "WEFT_BOOTSTRAP_PORT=70000", "WEFT_BOOTSTRAP_PORT"},
        {"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE"},
        {OMPI, "OMPI_COMM_WORLD_LOCAL_SIZE"},
        {OMPI "OMPI_COMM_WORLD_LOCAL_SIZE=4", "PMIX_NAMESPACE"},
        {OMPI "OMPI_COMM_WORLD_LOCAL_SIZE=5 PMIX_NAMESPACE=a", "OMPI_COMM_WORLD_LOCAL_SIZE"},
        {OMPI "OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=a", "several hosts"},
        {"SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_JOB_ID=1", "SLURM_NTASKS"},
        {SLURM, "SLURM_NNODES"},
        {SLURM "SLURM_NNODES=2", "SLURM_JOB_NODELIST"},
        {SLURM "SLURM_NNODES=2 SLURM_NODELIST=n[", "SLURM_NODELIST"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weft_launcher_info info = {.rank = 4711};
        struct weft_error error = {0};
        weft_status status = detect(rows[i].settings, &info, &error);
        if (status != WEFT_INVALID_ARGUMENT && status != WEFT_UNSUPPORTED)
            fail_msg("'%s' gives %s", rows[i].settings, weft_status_name(status));
        if (!strstr(error.text, rows[i].names))
            fail_msg("'%s' gives '%s'", rows[i].settings, error.text);
        assert_int_equal(info.rank, 4711);
    }
}

static void test_secrets(void **state)
{
    (void)state;
    struct weft_launcher_info a, b;
    struct weft_error error = {0};
    assert_int_equal(detect(TORCH "TORCHELASTIC_RUN_ID=r TORCHELASTIC_RESTART_COUNT=0", &a, &error),
                     WEFT_OK);
    assert_int_equal(detect(TORCH "TORCHELASTIC_RUN_ID=r TORCHELASTIC_RESTART_COUNT=1", &b, &error),
                     WEFT_OK);
    assert_memory_not_equal(a.secret, b.secret, 32); // a restarted job meets among itself
    assert_int_equal(detect(TORCH "WEFT_SECRET=r", &a, &error), WEFT_OK);
    assert_memory_not_equal(a.secret, b.secret, 32);
    weft_secret_from_text("r", b.secret);
    assert_memory_equal(a.secret, b.secret, 32);
}

static void test_node_lists(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a", "a"},
        {"a,b", "a"},
        {"n[03-07,9],x", "n03"},
        {"n[3]", "n3"},
        {"n[1,5]-ib,m", "n1-ib"},
        {"", NULL},
        {"[", NULL},
        {"n[x]", NULL},
        {"n[1", NULL},
        {"]", NULL},
        {"a[1]b[2]", NULL},
        {",a", NULL},
        {"[1-2]", "1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[16] = "unchanged";
        struct weft_error error = {0};
        weft_status status = weft_slurm_first_host(rows[i][0], host, sizeof host, &error);
        assert_int_equal(status, rows[i][1] ? WEFT_OK : WEFT_INVALID_ARGUMENT);
        assert_string_equal(host, rows[i][1] ? rows[i][1] : "unchanged");
    }
    char host[4];
    assert_int_equal(weft_slurm_first_host("abcd", host, sizeof host, NULL), WEFT_INVALID_ARGUMENT);
}

/* ---- real processes ---- */

/* Starts `num` programs, each in `settings` with its rank's variable; the number that fail. */
static int run_ranks(const char *settings, const char *rank_name, int num, int first_delay_us)
{
    pid_t pids[32];
    int failures = 0;
    for (int rank = 0; rank < num; rank++) {
        pids[rank] = fork();
        assert_true(pids[rank] >= 0);
        if (pids[rank] == 0) {
            char number[16];
            set_environment(settings);
            setenv("WEFT_LOG", "error", 1);
            setenv("WEFT_TIMEOUT", "8s", 1);
            snprintf(number, sizeof number, "%d", rank);
            setenv(rank_name, number, 1);
            if (rank == 0)
                usleep((useconds_t)first_delay_us);
            execl(WEFT_MEET_PROGRAM, WEFT_MEET_PROGRAM, (char *)NULL);
            _exit(127);
        }
    }
    for (int rank = 0; rank < num; rank++) {
        int code = 0;
        assert_int_equal(waitpid(pids[rank], &code, 0), pids[rank]);
        failures += code != 0;
    }
    return failures;
}

static int free_port(void)
{
    struct weft_endpoint endpoint;
    int listener;
    assert_int_equal(weft_endpoint_parse("127.0.0.1", 0, &endpoint, NULL), WEFT_OK);
    assert_int_equal(weft_endpoint_listen(&endpoint, &listener, NULL), WEFT_OK);
    close(listener);
    return endpoint.port;
}

static void test_meets_by_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "localhost", "::1"};
    for (int i = 0; i < 3; i++) {
        char settings[256];
        snprintf(settings, sizeof settings, "WORLD_SIZE=4 MASTER_ADDR=%s MASTER_PORT=%d", hosts[i],
                 free_port() - 1);
        assert_int_equal(run_ranks(settings, "RANK", 4, i * 150000), 0);
    }
}

static void folder_path(char *path, size_t limit, const char *file)
{
    snprintf(path, limit, "/tmp/weft-%u", (unsigned)geteuid());
    assert_true(mkdir(path, 0700) == 0 || access(path, W_OK) == 0);
    snprintf(path, limit, "/tmp/weft-%u/%s", (unsigned)geteuid(), file);
}

static void write_text(const char *path, mode_t mode, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(fchmod(file, mode), 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
}

static void test_meets_by_file(void **state)
{
    (void)state;
    char settings[256], path[160], job[64], name[96], hex[2 * WEFT_UNIQUE_ID_BYTES + 1], text[400];
    snprintf(job, sizeof job, "SLURM_JOB_ID=t%d", (int)getpid());
    snprintf(name, sizeof name, "slurm-t%d.0", (int)getpid());
    snprintf(settings, sizeof settings, "SLURM_NTASKS=5 SLURM_NNODES=1 SLURM_STEP_ID=0 %s", job);
    folder_path(path, sizeof path, name);
    assert_int_equal(run_ranks(settings, "SLURM_PROCID", 5, 0), 0);
    assert_int_not_equal(access(path, F_OK), 0); // removed

    // A dead job's file, with a good id: its process is gone (or another has its number).
    struct weft_id_contents contents = {.endpoint = {4, 9, {127, 0, 0, 1}}};
    weft_unique_id id;
    weft_id_pack(&contents, &id);
    weft_unique_id_to_hex(&id, hex);
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            snprintf(text, sizeof text, "%s 999999999 12345\n", hex);
        else if (i == 1)
            snprintf(text, sizeof text, "%s %d 1\n", hex, (int)getpid());
        else
            snprintf(text, sizeof text, "half a line");
        write_text(path, 0600, text);
        assert_int_equal(run_ranks(settings, "SLURM_PROCID", 5, 100000), 0);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void test_file_of_others(void **state)
{
    (void)state;
    struct weft_launcher_info info = {
        .source = "Slurm", .rank = 1, .num_ranks = 2, .meeting = WEFT_LAUNCHER_FILE};
    struct weft_config config;
    struct weft_error error = {0};
    struct weft_rendezvous *rendezvous = NULL;
    weft_unique_id id;
    char path[160];
    set_environment("");
    assert_int_equal(weft_config_load(&config, &error), WEFT_OK);
    snprintf(info.file, sizeof info.file, "slurm-u%d.0", (int)getpid());
    folder_path(path, sizeof path, info.file);
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            write_text(path, 0644, "anything");
        else if (i == 1)
            assert_int_equal(symlink("/etc/passwd", path), 0);
        int64_t start = weft_clock_ns();
        assert_int_equal(weft_rendezvous_start(&info, &config, weft_deadline_after(200000000),
                                               &rendezvous, &error),
                         WEFT_OK);
        weft_status status;
        while ((status = weft_rendezvous_id(rendezvous, &id, &error)) == WEFT_IN_PROGRESS)
            usleep(1000);
        weft_rendezvous_close(&rendezvous);
        unlink(path);
        assert_int_equal(status, i == 0 ? WEFT_PERMISSION : i == 1 ? WEFT_SYSTEM : WEFT_TIMEOUT);
        assert_non_null(strstr(error.text, info.file));
        assert_true(weft_clock_ns() - start < patience(2000000000));
    }
    weft_config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detects),       cmocka_unit_test(test_detects_weft),
        cmocka_unit_test(test_refuses),       cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_node_lists),    cmocka_unit_test(test_meets_by_address),
        cmocka_unit_test(test_meets_by_file), cmocka_unit_test(test_file_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
