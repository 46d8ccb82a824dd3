/*
 * SPDX-License-Identifier: Apache-2.0
 * See load.h.
 */
#include "topology/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "topology/forms.h"
#include "topology/fsroot.h"
#include "topology/measurements.h"
#include "topology/probe.h"
#include "topology/synthetic.h"

enum { FILE_LIMIT_BYTES = 1 << 30 };

/* What a binary file is, by its first bytes, for the refusal. */
static const char *binary_kind(const char *text, size_t bytes)
{
    static const struct {
        const char *mark, *kind;
    } kinds[] = {
        {"BZh", "a bzip2 archive; unpack it and give the folder"},
        {"\x1f\x8b", "a gzip archive; unpack it first"},
        {"\xfd"
         "7zXZ",
         "an xz archive; unpack it first"},
        {"\x7f"
         "ELF",
         "a program"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (bytes >= strlen(kinds[i].mark) &&
            memcmp(text, kinds[i].mark, strlen(kinds[i].mark)) == 0)
            return kinds[i].kind;
    return NULL;
}

static weft_status refuse_unknown(const char *path, struct weft_error *error)
{
    char names[256];
    weft_importer_names(names, sizeof names);
    return weft_fail(error, WEFT_INVALID_FORMAT,
                     "%.200s:1: this starts like no known form of a topology (known: %s; --from "
                     "forces one)",
                     path, names);
}

static weft_status read_text(const char *text, size_t bytes, const char *path,
                             const struct weft_importer *importer, struct weft_topology **topology,
                             struct weft_error *error)
{
    static const char mark[] = "\xef\xbb\xbf"; // which some editors put before UTF-8
    if (strncmp(text, mark, strlen(mark)) == 0) {
        text += strlen(mark);
        bytes -= strlen(mark);
    }
    const char *kind = binary_kind(text, bytes);
    if (kind)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:1: this is %s", path, kind);
    if (strlen(text) != bytes)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "%.200s:1: byte 0 at %zu; this is no text file", path, strlen(text));
    for (int i = 0; !importer && weft_importers[i]; i++)
        if (weft_importers[i]->matches(text))
            importer = weft_importers[i];
    if (!importer)
        return refuse_unknown(path, error);
    return weft_topology_import(importer, text, bytes, path, topology, error);
}

static weft_status load_file(const char *path, const struct weft_importer *importer,
                             struct weft_topology **topology, struct weft_error *error)
{
    char *text;
    size_t bytes;
    WEFT_TRY(weft_file_read(path, FILE_LIMIT_BYTES, &text, &bytes, error));
    weft_status status = read_text(text, bytes, path, importer, topology, error);
    free(text);
    return status;
}

/* Checked and in canonical order, wherever it comes from. */
static weft_status load_any(const char *source, const struct weft_importer *importer,
                            struct weft_topology **topology, struct weft_error *error)
{
    if (!source || !source[0]) {
        WEFT_TRY(weft_topology_create(topology, error));
        WEFT_TRY(weft_topology_probe(topology, error)); // which checks after each probe
        return weft_topology_sort(*topology, error);
    }
    if (!importer && weft_fsroot_is_folder(source))
        return weft_fsroot_load(source, topology, error);
    if (importer || strcmp(source, "-") == 0 || access(source, F_OK) == 0)
        return load_file(source, importer, topology, error);
    // a string with a slash or a dot cannot be synthetic up to its first count: a mistyped path
    if (!strchr(source, ':') && strpbrk(source, "/."))
        return weft_fail(error, WEFT_NOT_FOUND, "%s: no such file", source);
    return weft_topology_from_synthetic(source, topology, error);
}

/* What every door does at its end: *made is given away, or destroyed on failure. */
static weft_status finish(struct weft_topology *made, const char *what, int64_t start_ns,
                          struct weft_topology **topology, struct weft_error *error)
{
    weft_status status = weft_topology_recall(made, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    WEFT_LOG(WEFT_LOG_INFO, "topology of %s: %d nodes, %d links in %.2f ms", what, made->num_nodes,
             made->num_links, (double)(weft_clock_ns() - start_ns) / 1e6);
    *topology = made;
    return WEFT_OK;
}

weft_status weft_topology_load_processors(struct weft_topology **topology, struct weft_error *error)
{
    struct weft_topology *made = NULL;
    int64_t start_ns = weft_clock_ns();
    WEFT_TRY(weft_topology_create(&made, error));
    weft_status status = weft_topology_probe_processors(&made, error);
    if (status == WEFT_OK)
        status = weft_topology_sort(made, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    return finish(made, "this machine's processors", start_ns, topology, error);
}

weft_status weft_topology_load_as(const char *source, const char *form,
                                  struct weft_topology **topology, struct weft_error *error)
{
    struct weft_topology *made = NULL;
    const struct weft_importer *importer = form ? weft_importer_find(form) : NULL;
    bool is_folder = form && strcmp(form, WEFT_FSROOT_FORM) == 0;
    if (form && !importer && !is_folder) {
        char names[256];
        weft_importer_names(names, sizeof names);
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "no form \"%.60s\" (known: %s, %s)", form,
                         names, WEFT_FSROOT_FORM);
    }
    if (form && (!source || !source[0]))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a form is given, but no file");
    int64_t start_ns = weft_clock_ns();
    weft_status status = is_folder ? weft_fsroot_load(source, &made, error)
                                   : load_any(source, importer, &made, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    return finish(made, source && source[0] ? source : "this machine", start_ns, topology, error);
}

weft_status weft_topology_load(const char *source, struct weft_topology **topology,
                               struct weft_error *error)
{
    return weft_topology_load_as(source, NULL, topology, error);
}
