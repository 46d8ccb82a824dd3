/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo`: reads a topology from anywhere, writes it as a report, a summary or a file form, or
 * holds two against each other. Output to a file appears whole or not at all.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "tools/command.h"
#include "tools/topo.h"
#include "topology/diff.h"
#include "topology/findings.h"
#include "topology/forms.h"
#include "topology/fsroot.h"
#include "topology/load.h"
#include "topology/presets.h"
#include "topology/report.h"
#include "topology/summary.h"

enum option_key { KEY_DIFF = 0x100, KEY_FAIL_ON, KEY_CLUSTER, KEY_MEASURE, KEY_TIME };
enum { FAIL_NEVER = -1, MAX_LISTED = 10 };

struct arguments {
    const char *source; // NULL: WEFT_TOPOLOGY, or this machine
    const char *second; // of --diff
    const char *from;   // form of the source; NULL: recognised
    const char *output; // NULL: standard output
    const char *to;     // form to write; NULL: the report
    bool summary;
    bool verbose;
    bool diff;
    bool cluster;
    struct weft_topo_measuring measuring;
    int fail_on; // the mildest severity that makes the exit code 1, or FAIL_NEVER
};

static void list_presets(void)
{
    for (const struct weft_preset *preset = weft_presets; preset->name; preset++) {
        char source[64];
        snprintf(source, sizeof source, preset->usual ? "%s[:%s]" : "%s:%s", preset->name,
                 preset->counts);
        printf("%-22s %s\n", source, preset->summary);
    }
}

static int severity_from_name(const char *name)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, weft_severity_names[i]) == 0)
            return i;
    return strcmp(name, "never") == 0 ? FAIL_NEVER : -2;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct weft_error error;
    switch (key) {
    case 'j':
        arguments->to = "json";
        return 0;
    case 'f':
        arguments->from = argument;
        return 0;
    case 't':
        arguments->to = argument;
        return 0;
    case 's':
        arguments->summary = true;
        return 0;
    case 'v':
        arguments->verbose = true;
        return 0;
    case 'o':
        arguments->output = argument;
        return 0;
    case 'p':
        list_presets();
        exit(weft_command_finish("weft topo", WEFT_EXIT_OK));
    case KEY_DIFF:
        arguments->diff = true;
        return 0;
    case KEY_FAIL_ON:
        arguments->fail_on = severity_from_name(argument);
        if (arguments->fail_on < FAIL_NEVER)
            argp_error(state, "--fail-on takes error, warning, note or never");
        return 0;
    case KEY_CLUSTER:
        arguments->cluster = true;
        return 0;
    case KEY_MEASURE:
        arguments->measuring.is_wanted = true;
        return 0;
    case KEY_TIME:
        if (weft_topo_parse_time(argument, &arguments->measuring, &error) != WEFT_OK)
            argp_error(state, "--time: %s", error.text);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1 || (state->arg_num == 1 && !arguments->diff))
            argp_error(state, "more than one SOURCE (quote a synthetic string: \"host:2 gpu:8\")");
        *(state->arg_num ? &arguments->second : &arguments->source) = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->diff && state->arg_num != 2)
            argp_error(state, "--diff takes two sources");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"from", 'f', "FORM", 0, "SOURCE is a file of this form (as a rule it is recognised)", 0},
    {"to", 't', "FORM", 0, "Write this form instead of the report", 0},
    {"json", 'j', NULL, 0, "As --to json (it can be edited and given back as SOURCE)", 0},
    {"summary", 's', NULL, 0, "Only what it is and what to know; with --json for scripts", 0},
    {"diff", KEY_DIFF, NULL, 0, "What has changed from one SOURCE to another; exit code 1 if any",
     0},
    {"fail-on", KEY_FAIL_ON, "SEVERITY", 0,
     "Exit code 1 from this severity on: error (without this option), warning, note, never", 0},
    {"verbose", 'v', NULL, 0, "Fold nothing, list all, show every attribute", 0},
    {"output", 'o', "FILE", 0, "Write to FILE", 0},
    {"list-presets", 'p', NULL, 0, "Show which clusters are known by name", 0},
    {"cluster", KEY_CLUSTER, NULL, 0,
     "As one rank of many, under any launcher: all hosts as one graph, shown by rank 0", 0},
    {"measure", KEY_MEASURE, NULL, 0,
     "Time the links of this machine, with --cluster those between hosts; kept in the cache", 0},
    {"time", KEY_TIME, "DURATION", 0, "About how long to measure (default 8s)", 0},
    {0},
};

/* Whatever importers and exporters there are describe themselves. */
static char *describe_forms(int key, const char *text, void *input)
{
    (void)input;
    char *whole = NULL;
    size_t bytes;
    FILE *stream = key == ARGP_KEY_HELP_POST_DOC ? open_memstream(&whole, &bytes) : NULL;
    if (!stream)
        return (char *)(uintptr_t)text;
    fprintf(stream, "%s\n\nForms that are read (--from):\n", text);
    for (int i = 0; weft_importers[i]; i++)
        fprintf(stream, "  %-14s %s\n", weft_importers[i]->name, weft_importers[i]->description);
    fprintf(stream, "  %-14s %s\n", WEFT_FSROOT_FORM, "a folder with a copied sys/ and proc/");
    fputs("\nForms that are written (--to):\n", stream);
    for (int i = 0; weft_exporters[i]; i++)
        fprintf(stream, "  %-14s %s\n", weft_exporters[i]->name, weft_exporters[i]->description);
    fputs("\nExit codes: 0 fine, 1 a finding of severity error (see --fail-on) or a difference, "
          "2 bad usage or input, 3 could not finish.",
          stream);
    return fclose(stream) == 0 ? whole : (char *)(uintptr_t)text;
}

static const struct argp parser = {
    .options = options,
    .parser = parse_option,
    .args_doc = "[SOURCE]\n--diff SOURCE SOURCE",
    .doc =
        "Show how processors, memory, GPUs, NICs and switches are joined, how fast each link is, "
        "what is wrong with it and where every number comes from."
        "\vSOURCE is a file of one of the forms below (- for standard input), recognised by its "
        "content; a folder that holds a copied sys/ and proc/ (as hwloc-gather-topology packs "
        "them); a synthetic string such as \"host:4 nvswitch:1 gpu:8 nic:8@400\": counts are per "
        "host, @ gives Gbit/s for nic and GB/s otherwise, kinds are host cpu numa core pcie gpu "
        "nvswitch nic; or the name of a well-known cluster such as superpod-h100:64 "
        "(--list-presets). Without SOURCE the variable WEFT_TOPOLOGY decides; without that, this "
        "machine is probed.",
    .help_filter = describe_forms,
};

/* Box drawing characters, unless the locale names an encoding without them. */
static bool wants_ascii(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = weft_config_environment(variables[i]);
        if (value)
            return strchr(value, '.') && !strcasestr(value, "utf-8") && !strcasestr(value, "utf8");
    }
    return false;
}

static bool wants_colour(FILE *stream)
{
    const char *terminal = weft_config_environment("TERM");
    return isatty(fileno(stream)) && !weft_config_environment("NO_COLOR") && terminal &&
           strcmp(terminal, "dumb") != 0;
}

/* What is written: a topology, or the difference of two. */
struct content {
    const struct arguments *arguments;
    const struct weft_topology *topology;
    const struct weft_diff *diff; // NULL: the topology
};

static weft_status write_content(const struct content *content, FILE *stream,
                                 struct weft_error *error)
{
    const struct arguments *arguments = content->arguments;
    if (content->diff)
        return arguments->to ? weft_diff_write_json(content->diff, stream, error)
                             : weft_diff_write_text(content->diff, stream, error);
    if (arguments->to && arguments->summary)
        return weft_topology_summary_json(content->topology, stream, error);
    if (arguments->to)
        return weft_topology_export(weft_exporter_find(arguments->to), content->topology, stream,
                                    error);
    const struct weft_report_options report = {.verbose = arguments->verbose,
                                               .summary = arguments->summary,
                                               .colour = wants_colour(stream),
                                               .ascii = wants_ascii()};
    return weft_topology_report(content->topology, &report, stream, error);
}

/* Only plain files may be replaced: never a device, a pipe or a link. */
static bool is_replaceable(const char *path)
{
    struct stat status;
    return lstat(path, &status) != 0 || S_ISREG(status.st_mode);
}

/* Into a file beside the wanted one first, so that a failure leaves the old content. */
static weft_status write_file(const struct content *content, struct weft_error *error)
{
    const struct arguments *arguments = content->arguments;
    char *partial;
    bool replaces = is_replaceable(arguments->output);
    if (asprintf(&partial, "%s%s", arguments->output, replaces ? ".partial" : "") < 0)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory");
    FILE *stream = fopen(partial, "we");
    if (!stream) {
        weft_status failed = weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM,
                                       "%s: %s", arguments->output, strerror(errno));
        free(partial);
        return failed;
    }
    weft_status status = write_content(content, stream, error);
    if (fclose(stream) != 0 && status == WEFT_OK)
        status = weft_fail(error, WEFT_SYSTEM, "%s: %s", arguments->output, strerror(errno));
    if (status == WEFT_OK && replaces && rename(partial, arguments->output) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "%s: %s", arguments->output, strerror(errno));
    if (status != WEFT_OK && replaces)
        unlink(partial);
    free(partial);
    return status;
}

static weft_status write_somewhere(const struct content *content, struct weft_error *error)
{
    return content->arguments->output ? write_file(content, error)
                                      : write_content(content, stdout, error);
}

static weft_status has_failed(const struct weft_topology *topology, int fail_on, bool *failed,
                              struct weft_error *error)
{
    struct weft_findings findings;
    if (fail_on == FAIL_NEVER)
        return WEFT_OK;
    WEFT_TRY(weft_topology_findings(topology, &findings, error));
    *failed =
        findings.count > 0 && (int)findings.items[0].severity <= fail_on; // the worst is first
    weft_findings_free(&findings);
    return WEFT_OK;
}

static weft_status check_arguments(const struct arguments *arguments, struct weft_error *error)
{
    char names[256];
    weft_exporter_names(names, sizeof names);
    if (arguments->to && !weft_exporter_find(arguments->to))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "no form \"%.60s\" (known: %s)",
                         arguments->to, names);
    if ((arguments->summary || arguments->diff) && arguments->to &&
        strcmp(arguments->to, "json") != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a %s is text or JSON, not %.60s",
                         arguments->diff ? "diff" : "summary", arguments->to);
    if (arguments->summary && arguments->diff)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a diff has no summary");
    if (arguments->diff && (arguments->cluster || arguments->measuring.is_wanted))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a diff measures nothing");
    return weft_topo_check_measuring(&arguments->measuring, arguments->cluster, arguments->source,
                                     arguments->from, arguments->output, arguments->to, error);
}

static weft_status load(const struct arguments *arguments, struct weft_topology **topology,
                        struct weft_error *error)
{
    const char *source = arguments->source;
    if (arguments->cluster)
        return weft_topo_load_cluster(&arguments->measuring, arguments->to != NULL, topology,
                                      error);
    if (!source)
        source = weft_config_environment("WEFT_TOPOLOGY");
    return weft_topology_load_as(source, arguments->from, topology, error);
}

static weft_status show_topology(const struct arguments *arguments, bool *failed,
                                 struct weft_error *error)
{
    struct weft_topology *topology = NULL;
    WEFT_TRY(load(arguments, &topology, error));
    if (!topology) // of a cluster: rank 0 shows it
        return WEFT_OK;
    const struct content content = {.arguments = arguments, .topology = topology};
    weft_status status = write_somewhere(&content, error);
    if (status == WEFT_OK)
        status = has_failed(topology, arguments->fail_on, failed, error);
    weft_topology_destroy(&topology);
    return status;
}

static weft_status show_diff(const struct arguments *arguments, bool *failed,
                             struct weft_error *error)
{
    struct weft_topology *before = NULL, *after = NULL;
    struct weft_diff diff = {0};
    weft_status status = weft_topology_load_as(arguments->source, arguments->from, &before, error);
    if (status == WEFT_OK)
        status = weft_topology_load_as(arguments->second, arguments->from, &after, error);
    if (status == WEFT_OK)
        status = weft_topology_diff(before, after, arguments->verbose ? INT32_MAX : MAX_LISTED,
                                    &diff, error);
    const struct content content = {.arguments = arguments, .topology = before, .diff = &diff};
    if (status == WEFT_OK)
        status = write_somewhere(&content, error);
    *failed = diff.total > 0 && arguments->fail_on != FAIL_NEVER;
    weft_diff_free(&diff);
    weft_topology_destroy(&before);
    weft_topology_destroy(&after);
    return status;
}

int weft_command_topo(int argc, char **argv)
{
    struct arguments arguments = {.fail_on = WEFT_SEVERITY_ERROR};
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    struct weft_error error = {0};
    bool failed = false;
    weft_status status = check_arguments(&arguments, &error);
    if (status == WEFT_OK && arguments.measuring.is_wanted && !arguments.cluster)
        return weft_topo_measure(argv[0], &arguments.measuring, arguments.to != NULL);
    if (status == WEFT_OK)
        status = (arguments.diff ? show_diff : show_topology)(&arguments, &failed, &error);
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], failed ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
