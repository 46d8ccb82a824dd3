/*
 * SPDX-License-Identifier: Apache-2.0
 * Detection of the launcher: one function per launcher, in a table, tried in order.
 */
#include "transport/launcher.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "transport/meeting.h"

static weft_status read_integer(const char *name, int64_t low, int64_t high, int *value,
                                struct weft_error *error)
{
    const char *text = weft_config_environment(name);
    int64_t number;
    struct weft_error why;
    if (!text)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is not set", name);
    if (weft_parse_integer(text, low, high, &number, &why) != WEFT_OK)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %s", name, why.text);
    *value = (int)number;
    return WEFT_OK;
}

/* Reads a rank and a number of ranks that belong together. */
static weft_status read_ranks(const char *source, const char *rank_name, const char *size_name,
                              struct weft_launcher_info *info, struct weft_error *error)
{
    const char *rank = weft_config_environment(rank_name);
    const char *size = weft_config_environment(size_name);
    if (!rank || !size)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is set but %s is not (%s sets both)",
                         rank ? rank_name : size_name, rank ? size_name : rank_name, source);
    info->source = source;
    WEFT_TRY(read_integer(size_name, 1, WEFT_MEETING_LIMIT_RANKS, &info->num_ranks, error));
    WEFT_TRY(read_integer(rank_name, 0, INT32_MAX, &info->rank, error));
    if (info->rank >= info->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %d is not below %s (%d)", rank_name,
                         info->rank, size_name, info->num_ranks);
    info->serves = info->rank == 0 && info->num_ranks > 1;
    return WEFT_OK;
}

/* A secret that all ranks can make: WEFT_SECRET, or one from `names`. */
static void make_secret(struct weft_launcher_info *info, const struct weft_config *config,
                        const char *names)
{
    info->is_secret_weak = !config->secret[0];
    weft_secret_from_text(config->secret[0] ? config->secret : names, info->secret);
    if (info->is_secret_weak && info->serves)
        WEFT_LOG(WEFT_LOG_WARN,
                 "WEFT_SECRET is not set: the secret of the meeting is made from the job's names "
                 "(%s), which other users of these hosts may know",
                 info->source);
}

static weft_status check_port(const char *name, int64_t port, struct weft_error *error)
{
    if (port < 0 || port > 65535)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %lld is not a port (0 to 65535)", name,
                         (long long)port);
    return WEFT_OK;
}

static weft_status set_host(struct weft_launcher_info *info, const char *name, const char *host,
                            struct weft_error *error)
{
    if (strlen(host) >= sizeof info->host)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: the host name is too long", name);
    snprintf(info->host, sizeof info->host, "%s", host);
    return WEFT_OK;
}

/* "source-job", with nothing in it that means something in a path. */
static weft_status set_file(struct weft_launcher_info *info, const char *prefix, const char *job,
                            struct weft_error *error)
{
    int used = snprintf(info->file, sizeof info->file, "%s-%s", prefix, job);
    if (used < 0 || used >= (int)sizeof info->file)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the job's name '%.64s...' is too long",
                         job);
    for (char *c = info->file; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            *c = '_';
    info->meeting = WEFT_LAUNCHER_FILE;
    return WEFT_OK;
}

/* ---- launchers; NOT_FOUND: it is not this one ---- */

static weft_status detect_weft(struct weft_launcher_info *info, const struct weft_config *config,
                               struct weft_error *error)
{
    if (config->rank == -1 && config->num_ranks == -1 && !config->id[0])
        return WEFT_NOT_FOUND;
    if (!config->id[0])
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "WEFT_RANK or WEFT_NUM_RANKS is set but WEFT_ID is not");
    WEFT_TRY(read_ranks("weft", "WEFT_RANK", "WEFT_NUM_RANKS", info, error));
    info->serves = false;
    info->meeting = WEFT_LAUNCHER_ID;
    if (weft_unique_id_from_hex(config->id, &info->id, error) != WEFT_OK)
        return weft_fail_prefix(error, "WEFT_ID");
    return WEFT_OK;
}

static weft_status detect_torchrun(struct weft_launcher_info *info,
                                   const struct weft_config *config, struct weft_error *error)
{
    if (!weft_config_environment("RANK") && !weft_config_environment("WORLD_SIZE"))
        return WEFT_NOT_FOUND;
    WEFT_TRY(read_ranks("torchrun", "RANK", "WORLD_SIZE", info, error));
    const char *host = weft_config_environment("MASTER_ADDR");
    if (!host)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "RANK and WORLD_SIZE are set but MASTER_ADDR is not");
    int port = 0;
    WEFT_TRY(read_integer("MASTER_PORT", 1, 65535, &port, error));
    WEFT_TRY(set_host(info, "MASTER_ADDR", host, error));
    info->meeting = WEFT_LAUNCHER_ADDRESS;
    // The agent listens on the port itself; every rank makes the same choice of another.
    info->port = config->bootstrap_port ? (int)config->bootstrap_port
                 : port < 65535         ? port + 1
                                        : port - 1;
    const char *run = weft_config_environment("TORCHELASTIC_RUN_ID");
    const char *restart = weft_config_environment("TORCHELASTIC_RESTART_COUNT");
    char names[600];
    snprintf(names, sizeof names, "torchrun %.255s %d %.200s %.32s", host, port, run ? run : "",
             restart ? restart : "");
    make_secret(info, config, names);
    return WEFT_OK;
}

static weft_status detect_open_mpi(struct weft_launcher_info *info,
                                   const struct weft_config *config, struct weft_error *error)
{
    (void)config;
    if (!weft_config_environment("OMPI_COMM_WORLD_RANK") &&
        !weft_config_environment("OMPI_COMM_WORLD_SIZE"))
        return WEFT_NOT_FOUND;
    WEFT_TRY(read_ranks("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", info, error));
    int local = 0;
    WEFT_TRY(read_integer("OMPI_COMM_WORLD_LOCAL_SIZE", 1, info->num_ranks, &local, error));
    if (local != info->num_ranks)
        return weft_fail(
            error, WEFT_UNSUPPORTED,
            "Open MPI on several hosts: OMPI_COMM_WORLD_LOCAL_SIZE is %d of %d ranks; "
            "pass a unique id to weft_comm_create (MPI_Bcast), or use torchrun or Slurm",
            local, info->num_ranks);
    const char *job = weft_config_environment("PMIX_NAMESPACE");
    if (!job)
        job = weft_config_environment("OMPI_MCA_ess_base_jobid");
    if (!job)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "neither PMIX_NAMESPACE nor OMPI_MCA_ess_base_jobid is set");
    return set_file(info, "ompi", job, error);
}

static weft_status detect_slurm_hosts(struct weft_launcher_info *info,
                                      const struct weft_config *config, const char *job,
                                      struct weft_error *error)
{
    static const char *const names[] = {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST",
                                        "SLURM_NODELIST"};
    const char *list = NULL, *name = names[0];
    for (size_t i = 0; i < 3 && !list; i++) {
        name = names[i];
        list = weft_config_environment(name);
    }
    if (!list)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "SLURM_JOB_NODELIST is not set");
    if (weft_slurm_first_host(list, info->host, sizeof info->host, error) != WEFT_OK)
        return weft_fail_prefix(error, "%s", name);
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)job, strlen(job), NULL, 0);
    info->meeting = WEFT_LAUNCHER_ADDRESS;
    info->port = config->bootstrap_port ? (int)config->bootstrap_port
                                        : 20000 + (hash[0] | hash[1] << 8) % 12000;
    char text[700];
    snprintf(text, sizeof text, "slurm %.128s %.500s", job, list);
    make_secret(info, config, text);
    return WEFT_OK;
}

static weft_status detect_slurm(struct weft_launcher_info *info, const struct weft_config *config,
                                struct weft_error *error)
{
    // A batch script has SLURM_PROCID too, but is no step: a program run by it is alone.
    const char *step = weft_config_environment("SLURM_STEP_ID");
    if (!step)
        return WEFT_NOT_FOUND;
    bool has_step_size = weft_config_environment("SLURM_STEP_NUM_TASKS") != NULL;
    WEFT_TRY(read_ranks("Slurm", "SLURM_PROCID",
                        has_step_size ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", info, error));
    bool has_step_hosts = weft_config_environment("SLURM_STEP_NUM_NODES") != NULL;
    int num_hosts = 0;
    WEFT_TRY(read_integer(has_step_hosts ? "SLURM_STEP_NUM_NODES" : "SLURM_NNODES", 1, INT32_MAX,
                          &num_hosts, error));
    const char *job = weft_config_environment("SLURM_JOB_ID");
    if (!job)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "SLURM_STEP_ID is set but SLURM_JOB_ID is not");
    char name[128];
    snprintf(name, sizeof name, "%.60s.%.60s", job, step);
    if (num_hosts == 1)
        return set_file(info, "slurm", name, error);
    return detect_slurm_hosts(info, config, name, error);
}

static weft_status detect_none(struct weft_launcher_info *info, const struct weft_config *config,
                               struct weft_error *error)
{
    (void)config;
    (void)error;
    *info = (struct weft_launcher_info){.source = "none", .num_ranks = 1};
    return WEFT_OK;
}

static weft_status (*const launchers[])(struct weft_launcher_info *info,
                                        const struct weft_config *config,
                                        struct weft_error *error) = {
    detect_weft, detect_torchrun, detect_open_mpi, detect_slurm, detect_none,
};

weft_status weft_launcher_detect(struct weft_launcher_info *info, const struct weft_config *config,
                                 struct weft_error *error)
{
    weft_status status = WEFT_NOT_FOUND;
    struct weft_launcher_info found = {0};
    WEFT_TRY(check_port("WEFT_BOOTSTRAP_PORT", config->bootstrap_port, error));
    for (size_t i = 0; status == WEFT_NOT_FOUND && i < sizeof launchers / sizeof *launchers; i++) {
        found = (struct weft_launcher_info){0};
        status = launchers[i](&found, config, error);
    }
    if (status != WEFT_OK)
        return status;
    if (found.num_ranks == 1)
        found.meeting = WEFT_LAUNCHER_ALONE;
    *info = found;
    sodium_memzero(&found, sizeof found);
    return WEFT_OK;
}

weft_status weft_slurm_first_host(const char *list, char *host, size_t limit,
                                  struct weft_error *error)
{
    // prefix, then perhaps [first-last,...], then suffix, up to a comma outside of brackets
    size_t prefix = strcspn(list, "[,]"), used = prefix;
    const char *first = "", *suffix = "";
    size_t first_length = 0, suffix_length = 0;
    if (list[prefix] == '[') {
        first = list + prefix + 1;
        first_length = strspn(first, "0123456789");
        const char *close = strchr(first, ']');
        if (first_length == 0 || !close || !strchr("-,]", first[first_length]))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.100s' is no node list", list);
        suffix = close + 1;
        suffix_length = strcspn(suffix, ",[]");
        used += first_length + suffix_length;
        if (suffix[suffix_length] && suffix[suffix_length] != ',')
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "'%.100s' has several ranges in one name", list);
    } else if (list[prefix] == ']') {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.100s' is no node list", list);
    }
    if (used == 0 || used >= limit)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.100s' is no node list", list);
    snprintf(host, limit, "%.*s%.*s%.*s", (int)prefix, list, (int)first_length, first,
             (int)suffix_length, suffix);
    return WEFT_OK;
}
