/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo`: reads a topology from anywhere, writes it as a report, a summary or JSON. Output to
 * a file appears whole or not at all.
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
#include "topology/findings.h"
#include "topology/forms.h"
#include "topology/load.h"
#include "topology/presets.h"
#include "topology/report.h"
#include "topology/summary.h"

struct arguments {
    const char *source; // NULL: WEFT_TOPOLOGY, or this machine
    const char *from;   // form of the source; NULL: recognised
    const char *output; // NULL: standard output
    const char *to;     // form to write; NULL: the report
    bool summary;
    bool verbose;
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

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
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
    case ARGP_KEY_ARG:
        if (arguments->source)
            argp_error(state, "more than one SOURCE (quote a synthetic string: \"host:2 gpu:8\")");
        arguments->source = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"from", 'f', "FORM", 0, "SOURCE is a file of this form (as a rule it is recognised)", 0},
    {"to", 't', "FORM", 0, "Write this form instead of the report", 0},
    {"json", 'j', NULL, 0, "As --to json (it can be edited and given back as SOURCE)", 0},
    {"summary", 's', NULL, 0, "Only what it is and what to know", 0},
    {"verbose", 'v', NULL, 0, "Fold nothing, show every attribute", 0},
    {"output", 'o', "FILE", 0, "Write to FILE", 0},
    {"list-presets", 'p', NULL, 0, "Show which clusters are known by name", 0},
    {0},
};
static const struct argp parser = {
    .options = options,
    .parser = parse_option,
    .args_doc = "[SOURCE]",
    .doc =
        "Show how processors, memory, GPUs, NICs and switches are joined, how fast each link is, "
        "and where every number comes from."
        "\vSOURCE is a file (Weft's JSON or hwloc's XML; - for standard input), a folder that "
        "holds a copied sys/ and proc/ (as hwloc-gather-topology packs them), or a synthetic "
        "string such as \"host:4 nvswitch:1 gpu:8 nic:8@400\": counts are per host, @ gives Gbit/s "
        "for nic and GB/s otherwise; kinds are host cpu numa core pcie gpu nvswitch nic. Or it "
        "names "
        "a well-known cluster, such as superpod-h100:64 (--list-presets). Without "
        "SOURCE the variable WEFT_TOPOLOGY decides; without that, this machine is probed.\n\n"
        "Exit codes: 0 fine, 1 a finding of severity error, 2 bad usage or input, 3 could not "
        "finish.",
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

static weft_status write_topology(const struct weft_topology *topology,
                                  const struct arguments *arguments, FILE *stream,
                                  struct weft_error *error)
{
    if (arguments->to && arguments->summary)
        return weft_topology_summary_json(topology, stream, error);
    if (arguments->to)
        return weft_topology_export(weft_exporter_find(arguments->to), topology, stream, error);
    const struct weft_report_options report = {.verbose = arguments->verbose,
                                               .summary = arguments->summary,
                                               .colour = wants_colour(stream),
                                               .ascii = wants_ascii()};
    return weft_topology_report(topology, &report, stream, error);
}

/* Only plain files may be replaced: never a device, a pipe or a link. */
static bool is_replaceable(const char *path)
{
    struct stat status;
    return lstat(path, &status) != 0 || S_ISREG(status.st_mode);
}

/* Into a file beside the wanted one first, so that a failure leaves the old content. */
static weft_status write_file(const struct weft_topology *topology,
                              const struct arguments *arguments, struct weft_error *error)
{
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
    weft_status status = write_topology(topology, arguments, stream, error);
    if (fclose(stream) != 0 && status == WEFT_OK)
        status = weft_fail(error, WEFT_SYSTEM, "%s: %s", arguments->output, strerror(errno));
    if (status == WEFT_OK && replaces && rename(partial, arguments->output) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "%s: %s", arguments->output, strerror(errno));
    if (status != WEFT_OK && replaces)
        unlink(partial);
    free(partial);
    return status;
}

static weft_status find_errors(const struct weft_topology *topology, bool *found,
                               struct weft_error *error)
{
    struct weft_findings findings;
    WEFT_TRY(weft_topology_findings(topology, &findings, error));
    *found = findings.count > 0 && findings.items[0].severity == WEFT_SEVERITY_ERROR;
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
    if (arguments->summary && arguments->to && strcmp(arguments->to, "json") != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a summary is text or JSON, not %.60s",
                         arguments->to);
    return WEFT_OK;
}

int weft_command_topo(int argc, char **argv)
{
    struct arguments arguments = {0};
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    const char *source = arguments.source;
    if (!source)
        source = weft_config_environment("WEFT_TOPOLOGY");
    struct weft_topology *topology = NULL;
    struct weft_error error = {0};
    bool has_errors = false;
    weft_status status = check_arguments(&arguments, &error);
    if (status == WEFT_OK)
        status = weft_topology_load_as(source, arguments.from, &topology, &error);
    if (status == WEFT_OK)
        status = arguments.output ? write_file(topology, &arguments, &error)
                                  : write_topology(topology, &arguments, stdout, &error);
    if (status == WEFT_OK)
        status = find_errors(topology, &has_errors, &error);
    weft_topology_destroy(&topology);
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], has_errors ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
