/*
 * SPDX-License-Identifier: Apache-2.0
 * The tables of importers and exporters, and running one. Files are told apart by how their content
 * starts, never by their name, so the order matters: forms with a clear mark come first.
 */
#include "topology/forms.h"

#include <errno.h>
#include <string.h>

// clang-format off: a row a line
const struct weft_importer *const weft_importers[] = {
    &weft_importer_json,
#ifndef WEFT_CORE_ONLY // these need a library that core builds leave out
    &weft_importer_hwloc_xml,
    &weft_importer_nccl_xml,
#endif
    &weft_importer_nvidia_smi,
    &weft_importer_ibnetdiscover,
    &weft_importer_ibsim,
    &weft_importer_ibutils,
    &weft_importer_edges, // "node", "link"
    &weft_importer_slurm, // "SwitchName", "BlockName"
    NULL,
};
// clang-format on

const struct weft_exporter *const weft_exporters[] = {
    &weft_exporter_json,
#ifndef WEFT_CORE_ONLY
    &weft_exporter_nccl_xml,
#endif
    &weft_exporter_edges,
    &weft_exporter_slurm_tree,
    &weft_exporter_slurm_block,
    &weft_exporter_svg,
    &weft_exporter_html,
    &weft_exporter_dot,
    NULL,
};

const struct weft_importer *weft_importer_find(const char *name)
{
    for (int i = 0; weft_importers[i]; i++)
        if (strcmp(weft_importers[i]->name, name) == 0)
            return weft_importers[i];
    return NULL;
}

const struct weft_exporter *weft_exporter_find(const char *name)
{
    for (int i = 0; weft_exporters[i]; i++)
        if (strcmp(weft_exporters[i]->name, name) == 0)
            return weft_exporters[i];
    return NULL;
}

static void append_name(char *text, size_t size, const char *name)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? ", " : "", name);
}

void weft_importer_names(char *text, size_t size)
{
    text[0] = '\0';
    for (int i = 0; weft_importers[i]; i++)
        append_name(text, size, weft_importers[i]->name);
}

void weft_exporter_names(char *text, size_t size)
{
    text[0] = '\0';
    for (int i = 0; weft_exporters[i]; i++)
        append_name(text, size, weft_exporters[i]->name);
}

weft_status weft_topology_import(const struct weft_importer *importer, const char *text,
                                 size_t bytes, const char *name, struct weft_topology **topology,
                                 struct weft_error *error)
{
    struct weft_topology *made = NULL;
    WEFT_TRY(weft_topology_create(&made, error));
    weft_status status = importer->read(text, bytes, name, made, error);
    if (status == WEFT_OK && weft_topology_check(made, error) != WEFT_OK)
        status = weft_fail_prefix(error, "%.200s", name);
    if (status == WEFT_OK)
        status = weft_topology_sort(made, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    *topology = made;
    return WEFT_OK;
}

weft_status weft_topology_export(const struct weft_exporter *exporter,
                                 const struct weft_topology *topology, FILE *stream,
                                 struct weft_error *error)
{
    struct weft_topology *sorted = NULL;
    WEFT_TRY(weft_topology_copy(topology, &sorted, error));
    weft_status status = weft_topology_sort(sorted, error);
    if (status == WEFT_OK)
        status = exporter->write(sorted, stream, error);
    weft_topology_destroy(&sorted);
    WEFT_TRY(status);
    errno = 0;
    if (fflush(stream) != 0 || ferror(stream))
        return weft_fail(error, WEFT_SYSTEM, "writing the topology failed: %s", strerror(errno));
    return WEFT_OK;
}
