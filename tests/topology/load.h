/*
 * SPDX-License-Identifier: Apache-2.0
 * Where the graphs of tests come from and go to: a source's name, a real file (the test is skipped
 * where that is not here), a text of an importer's form; an exporter's text.
 */
#ifndef WEFT_TESTS_TOPOLOGY_LOAD_H
#define WEFT_TESTS_TOPOLOGY_LOAD_H

#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topology/forms.h"
#include "topology/load.h"

#ifndef WEFT_SHARED_DATA // the build says where it is
#define WEFT_SHARED_DATA "../shared"
#endif

static inline struct weft_topology *load(const char *source)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load(source, &t, &error) != WEFT_OK)
        fail_msg("%s: %s", source, error.text);
    return t;
}

/* The path of a real file such as "rccl/topo_4p2h.xml"; skips the test where it is not here, or
 * this build cannot read its form. */
static inline const char *real_path(const char *file, char *path, size_t size)
{
    snprintf(path, size, "%s/topodata/%s", WEFT_SHARED_DATA, file);
    if (access(path, R_OK) != 0 || (strstr(file, ".xml") && !weft_importer_find("hwloc-xml"))) {
        print_message("no %s here, or nothing that reads it: skipped\n", path);
        skip();
    }
    return path;
}

static inline struct weft_topology *load_real(const char *file)
{
    char path[512];
    return load(real_path(file, path, sizeof path));
}

static inline struct weft_topology *imported(const struct weft_importer *importer, const char *text)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    assert_true(importer->matches(text));
    if (weft_topology_import(importer, text, strlen(text), "input", &t, &error) != WEFT_OK)
        fail_msg("%s\nin\n%s", error.text, text);
    return t;
}

/* The text is refused with its line (below 0: any) and a sentence that holds `why`. */
static inline void assert_refused(const struct weft_importer *importer, const char *text, int line,
                                  const char *why)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char place[32] = "input:";
    if (line >= 0)
        snprintf(place, sizeof place, "input:%d: ", line);
    weft_status status = weft_topology_import(importer, text, strlen(text), "input", &t, &error);
    assert_null(t);
    if (status != WEFT_INVALID_FORMAT || strncmp(error.text, place, strlen(place)) != 0 ||
        !strstr(error.text, why))
        fail_msg("%.300s\ngives %s, \"%s\", not \"%s\" and \"%s\"", text, weft_status_name(status),
                 error.text, place, why);
}

/* In fresh memory; the caller frees it. */
static inline char *exported(const struct weft_exporter *exporter, const struct weft_topology *t)
{
    char *text = NULL;
    size_t bytes;
    struct weft_error error = {0};
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    if (weft_topology_export(exporter, t, stream, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(fclose(stream), 0);
    return text;
}

#endif
