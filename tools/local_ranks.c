/*
 * SPDX-License-Identifier: Apache-2.0
 * One poll loop over a signalfd, the meeting point and the ranks' output. A rank's end is seen with
 * WNOWAIT first: while its leader is a zombie the process group's number cannot be taken by anyone
 * else, so what it left behind can be killed safely.
 */
#include "tools/local_ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/command.h"
#include "tools/line_labels.h"
#include "transport/bootstrap.h"

static const int64_t kill_after_ns = 2000000000;

enum stage { RUNNING, GRACE, TERMINATED, KILLED };

struct rank_process {
    pid_t pid; // 0: not started or reaped
    struct weft_line_label *out, *err;
};

struct launch {
    const struct weft_local_ranks *options;
    struct rank_process *processes; // (num_ranks)
    int num_alive;
    int signals; // signalfd
    sigset_t old_mask;
    struct weft_meeting *meeting;
    char id[2 * WEFT_UNIQUE_ID_BYTES + 1];
    bool owns_children; // it had none before
    enum stage stage;
    int64_t stage_ends_ns;
    int first_failure;     // exit code, 0: none yet
    int interrupted_by;    // signal that was forwarded, 0: none
    struct pollfd *polled; // (2 + 2 * num_ranks)
};

/* ---- starting ---- */

static void set_number(const char *name, int value, bool replaces)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, replaces);
}

// The rank-th core this process may run on becomes the rank's own, where there is one for each: two
// ranks that spin on one core wait for each other's time slice. Best effort, like every binding.
static void bind_to_core(const struct weft_local_ranks *options, int rank)
{
    cpu_set_t allowed, own;
    if (options->float_on_cores || sched_getaffinity(0, sizeof allowed, &allowed) != 0 ||
        CPU_COUNT(&allowed) < options->num_ranks)
        return;
    CPU_ZERO(&own);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &allowed) && rank-- == 0)
            CPU_SET(core, &own);
    sched_setaffinity(0, sizeof own, &own);
}

// OpenBLAS starts as many threads as there are cores when it is loaded, and they look for work for
// a while before they sleep: with several ranks, on cores that others need.
static void share_cores(const struct weft_local_ranks *options)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    int each = CPU_COUNT(&allowed) / options->num_ranks;
    set_number("OPENBLAS_NUM_THREADS", each > 1 ? each : 1, false);
}

// Between fork and exec. Never returns; a failure travels as errno through `report`.
static void become_rank(const struct launch *launch, int rank, pid_t parent, const int *streams,
                        int report)
{
    int failure = 0;
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        failure = errno;
    else if (getppid() != parent)
        _exit(127); // the parent died before the kernel was asked to watch it
    // A rank in a background group that read from the terminal would be stopped for ever.
    if (!failure && (rank > 0 || isatty(0))) {
        int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (nothing < 0 || dup2(nothing, 0) < 0)
            failure = errno;
    }
    for (int i = 0; i < 2 && !failure; i++)
        if (streams[i] >= 0 && dup2(streams[i], 1 + i) < 0)
            failure = errno;
    if (!failure) {
        set_number("WEFT_RANK", rank, true);
        set_number("WEFT_NUM_RANKS", launch->options->num_ranks, true);
        share_cores(launch->options);
        setenv("WEFT_ID", launch->id, 1);
        bind_to_core(launch->options, rank);
        sigprocmask(SIG_SETMASK, &launch->old_mask, NULL);
        execvp(launch->options->command[0], launch->options->command);
        failure = errno;
    }
    ssize_t ignored = write(report, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

static weft_status open_labels(struct launch *launch, int rank, int *streams,
                               struct weft_error *error)
{
    struct rank_process *process = &launch->processes[rank];
    if (!launch->options->label)
        return WEFT_OK;
    WEFT_TRY(weft_line_label_open(rank, 1, &process->out, &streams[0], error));
    return weft_line_label_open(rank, 2, &process->err, &streams[1], error);
}

static weft_status read_report(int report, const char *command, struct weft_error *error)
{
    int failure = 0;
    ssize_t got;
    do
        got = read(report, &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return WEFT_OK; // closed by a successful exec
    weft_status status = failure == ENOENT || failure == ENOTDIR   ? WEFT_NOT_FOUND
                         : failure == EACCES || failure == ENOEXEC ? WEFT_INVALID_ARGUMENT
                                                                   : WEFT_SYSTEM;
    return weft_fail(error, status, "cannot run '%s': %s", command, strerror(failure));
}

static weft_status start_rank(struct launch *launch, int rank, struct weft_error *error)
{
    int streams[2] = {-1, -1}, report[2] = {-1, -1};
    const char *command = launch->options->command[0];
    weft_status status = open_labels(launch, rank, streams, error);
    if (status == WEFT_OK && pipe2(report, O_CLOEXEC) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "cannot make a pipe: %s", strerror(errno));
    if (status == WEFT_OK) {
        pid_t parent = getpid();
        pid_t pid = fork();
        if (pid == 0)
            become_rank(launch, rank, parent, streams, report[1]);
        if (pid < 0) {
            status =
                weft_fail(error, WEFT_SYSTEM, "cannot start rank %d: %s", rank, strerror(errno));
        } else {
            setpgid(pid, pid); // so that it holds whichever of the two runs first
            launch->processes[rank].pid = pid;
            launch->num_alive++;
            close(report[1]);
            report[1] = -1;
            status = read_report(report[0], command, error);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (streams[i] >= 0)
            close(streams[i]);
        if (report[i] >= 0)
            close(report[i]);
    }
    return status;
}

/* ---- ending ---- */

static void signal_ranks(struct launch *launch, int signal)
{
    for (int rank = 0; rank < launch->options->num_ranks; rank++)
        if (launch->processes[rank].pid)
            kill(-launch->processes[rank].pid, signal);
}

static void enter_stage(struct launch *launch, enum stage stage)
{
    static const int signals[] = {[TERMINATED] = SIGTERM, [KILLED] = SIGKILL};
    if (stage <= launch->stage)
        return;
    launch->stage = stage;
    if (stage == GRACE) {
        launch->stage_ends_ns = weft_deadline_after(launch->options->grace_ns);
        return;
    }
    signal_ranks(launch, signals[stage]);
    if (stage == TERMINATED)
        signal_ranks(launch, SIGCONT); // a stopped process would not see it
    launch->stage_ends_ns = weft_deadline_after(kill_after_ns);
}

static void describe_end(char *text, size_t bytes, int rank, const siginfo_t *end)
{
    if (end->si_code == CLD_EXITED)
        snprintf(text, bytes, "rank %d (pid %d) ended with exit code %d", rank, (int)end->si_pid,
                 end->si_status);
    else
        snprintf(text, bytes, "rank %d (pid %d) was killed by signal %d (%s)", rank,
                 (int)end->si_pid, end->si_status, strsignal(end->si_status));
}

static void rank_ended(struct launch *launch, int rank, const siginfo_t *end)
{
    char text[160];
    describe_end(text, sizeof text, rank, end);
    int code = end->si_code == CLD_EXITED ? end->si_status : 128 + end->si_status;
    kill(-end->si_pid, SIGKILL); // what it started and left behind
    waitpid(end->si_pid, NULL, 0);
    launch->processes[rank].pid = 0;
    launch->num_alive--;
    if (launch->meeting)
        weft_meeting_report_death(launch->meeting, rank, text);
    if (code == 0 || launch->first_failure)
        return;
    launch->first_failure = code;
    fprintf(stderr, "%s: %s\n", launch->options->name, text);
    enter_stage(launch, GRACE);
}

static void reap(struct launch *launch)
{
    for (;;) {
        siginfo_t end = {.si_pid = 0};
        if (waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid == 0)
            return;
        int rank = 0;
        while (rank < launch->options->num_ranks && launch->processes[rank].pid != end.si_pid)
            rank++;
        if (rank < launch->options->num_ranks)
            rank_ended(launch, rank, &end);
        else
            waitpid(end.si_pid, NULL, 0); // an orphan of a rank, given to us as their reaper
    }
}

// Processes that left their rank's group, by setsid say, have become our children when their parent
// died. Our own children all came from ranks, so the list the kernel keeps is theirs.
static void kill_escaped(struct launch *launch)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int turn = 0; launch->owns_children && turn < 100; turn++) {
        FILE *file = fopen(path, "re");
        int pid, found = 0;
        while (file && fscanf(file, "%d", &pid) == 1) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            found++;
        }
        if (file)
            fclose(file);
        if (!found)
            return;
    }
}

/* ---- the loop ---- */

static void take_signals(struct launch *launch)
{
    struct signalfd_siginfo info;
    while (read(launch->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int signal = (int)info.ssi_signo;
        if (signal == SIGCHLD)
            continue; // reap() looks at every turn
        if (launch->interrupted_by) {
            enter_stage(launch, KILLED);
            continue;
        }
        launch->interrupted_by = signal;
        signal_ranks(launch, signal);
        enter_stage(launch, GRACE);
    }
}

static void serve_meeting(struct launch *launch)
{
    if (launch->meeting && weft_meeting_progress(launch->meeting, NULL) != WEFT_IN_PROGRESS)
        weft_meeting_close(&launch->meeting); // its result is the ranks' to report
}

static void next_stage_if_due(struct launch *launch)
{
    if (launch->stage == RUNNING || weft_clock_ns() < launch->stage_ends_ns)
        return;
    if (launch->stage == KILLED) // by now only a process stuck in the kernel is left
        launch->stage_ends_ns = weft_deadline_after(kill_after_ns);
    else
        enter_stage(launch, (enum stage)(launch->stage + 1));
}

static nfds_t fill_polled(struct launch *launch)
{
    nfds_t count = 0;
    launch->polled[count++] = (struct pollfd){.fd = launch->signals, .events = POLLIN};
    if (launch->meeting)
        launch->polled[count++] =
            (struct pollfd){.fd = weft_meeting_descriptor(launch->meeting), .events = POLLIN};
    for (int rank = 0; rank < launch->options->num_ranks; rank++) {
        struct weft_line_label *labels[2] = {launch->processes[rank].out,
                                             launch->processes[rank].err};
        for (int i = 0; i < 2; i++)
            if (labels[i] && weft_line_label_descriptor(labels[i]) >= 0)
                launch->polled[count++] =
                    (struct pollfd){.fd = weft_line_label_descriptor(labels[i]), .events = POLLIN};
    }
    return count;
}

static void pump_labels(struct launch *launch)
{
    for (int rank = 0; rank < launch->options->num_ranks; rank++) {
        weft_line_label_pump(launch->processes[rank].out);
        weft_line_label_pump(launch->processes[rank].err);
    }
}

static void run_until_all_ended(struct launch *launch)
{
    while (launch->num_alive > 0) {
        // At least ten turns a second: the safety net under every descriptor above.
        poll(launch->polled, fill_polled(launch), 100);
        take_signals(launch);
        serve_meeting(launch);
        pump_labels(launch);
        reap(launch);
        next_stage_if_due(launch);
    }
    kill_escaped(launch);
    pump_labels(launch);
}

/* ---- set-up ---- */

static weft_status set_up(struct launch *launch, struct weft_error *error)
{
    size_t num_ranks = (size_t)launch->options->num_ranks;
    launch->processes = calloc(num_ranks, sizeof *launch->processes);
    launch->polled = calloc(2 + 2 * num_ranks, sizeof *launch->polled);
    if (!launch->processes || !launch->polled)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu ranks", num_ranks);
    signal(SIGCHLD, SIG_DFL); // ignored, as some parents leave it, it would hide the ranks' ends
    sigset_t taken;
    sigemptyset(&taken);
    const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 4; i++) {
        struct sigaction action;
        // What nohup or a background shell made us ignore stays ignored, by the ranks too.
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&taken, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &taken, &launch->old_mask);
    launch->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (launch->signals < 0)
        return weft_fail(error, WEFT_SYSTEM, "cannot watch for signals: %s", strerror(errno));
    launch->owns_children = waitid(P_ALL, 0, NULL, WEXITED | WNOHANG | WNOWAIT) != 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    weft_unique_id id;
    WEFT_TRY(weft_meeting_open("127.0.0.1", 0, NULL, &launch->meeting, &id, error));
    weft_unique_id_to_hex(&id, launch->id);
    return WEFT_OK;
}

// The errno of output that was lost, 0 if none was.
static int tear_down(struct launch *launch)
{
    int lost = 0;
    weft_meeting_close(&launch->meeting);
    for (int rank = 0; launch->processes && rank < launch->options->num_ranks; rank++) {
        int out = weft_line_label_close(&launch->processes[rank].out);
        int err = weft_line_label_close(&launch->processes[rank].err);
        lost = lost ? lost : out ? out : err;
    }
    free(launch->processes);
    free(launch->polled);
    if (launch->signals >= 0)
        close(launch->signals);
    sigprocmask(SIG_SETMASK, &launch->old_mask, NULL);
    return lost;
}

weft_status weft_local_ranks_run(const struct weft_local_ranks *ranks, int *exit_code,
                                 struct weft_error *error)
{
    struct launch launch = {.options = ranks, .signals = -1};
    sigprocmask(SIG_SETMASK, NULL, &launch.old_mask);
    fflush(NULL);
    weft_status status = set_up(&launch, error);
    for (int rank = 0; rank < ranks->num_ranks && status == WEFT_OK; rank++)
        status = start_rank(&launch, rank, error);
    if (status != WEFT_OK) {
        launch.first_failure = -1; // the reason is in `error`; the ranks' ends say nothing
        enter_stage(&launch, KILLED);
    }
    run_until_all_ended(&launch);
    int lost = tear_down(&launch);
    if (status != WEFT_OK)
        return status;
    int code = launch.first_failure    ? launch.first_failure
               : launch.interrupted_by ? 128 + launch.interrupted_by
                                       : 0;
    if (code == 0 && lost)
        return weft_fail(error, WEFT_SYSTEM, "cannot write what the ranks print: %s",
                         strerror(lost));
    *exit_code = code;
    return WEFT_OK;
}

int weft_local_ranks_start_self(int num_ranks, int argc, char **argv)
{
    char self[] = "/proc/self/exe", started[] = "--started";
    char *name = strrchr(argv[0], ' ');
    char **command = calloc((size_t)argc + 3, sizeof *command);
    struct weft_error error;
    int exit_code;
    if (!command) {
        weft_fail(&error, WEFT_OUT_OF_MEMORY, "no memory for the command line");
        return weft_command_fail(argv[0], &error);
    }
    command[0] = self;
    command[1] = name ? name + 1 : argv[0];
    command[2] = started;
    memcpy(command + 3, argv + 1, (size_t)(argc - 1) * sizeof *command);
    struct weft_local_ranks ranks = {
        .name = argv[0],
        .num_ranks = num_ranks,
        .command = command,
        .grace_ns = 5000000000,
    };
    weft_status status = weft_local_ranks_run(&ranks, &exit_code, &error);
    free(command);
    return status == WEFT_OK ? exit_code : weft_command_fail(argv[0], &error);
}
