/*
 * SPDX-License-Identifier: Apache-2.0
 * File forms of a topology: what reads each (importers) and what writes it (exporters). A new form
 * is one file that ends with its row and one line in the table of forms.c.
 */
#ifndef WEFT_TOPOLOGY_FORMS_H
#define WEFT_TOPOLOGY_FORMS_H

#include <stdio.h>

#include "topology/graph.h"

struct weft_importer {
    const char *name;        // for --from; lower case, no blanks
    const char *description; // "NCCL topology XML (NCCL_TOPO_FILE)"
    /* Whether `text` (ended by NUL, no NUL before) starts like this form. Cheap; reads only what it
     * needs. The first importer of the table that says yes reads the file. */
    bool (*matches)(const char *text);
    /* Fills *topology, which is empty. `name` is what error sentences call the text. The caller
     * then runs weft_topology_check and sorts, and throws the graph away on failure. Input is
     * hostile. Errors: INVALID_FORMAT as "name:LINE: reason", UNSUPPORTED, OUT_OF_MEMORY. */
    weft_status (*read)(const char *text, size_t bytes, const char *name,
                        struct weft_topology *topology, struct weft_error *error);
};

struct weft_exporter {
    const char *name; // for --to
    const char *description;
    /* Writes a graph in canonical order. Errors: UNSUPPORTED (this form cannot say what is there,
     * with the reason), OUT_OF_MEMORY. Failures of the stream are the caller's to notice. */
    weft_status (*write)(const struct weft_topology *topology, FILE *stream,
                         struct weft_error *error);
};

/* Ended by NULL. */
extern const struct weft_importer *const weft_importers[];
extern const struct weft_exporter *const weft_exporters[];

const struct weft_importer *weft_importer_find(const char *name);
const struct weft_exporter *weft_exporter_find(const char *name);
/* "json, nccl-xml, ..." of all importers or exporters, for error sentences and help. */
void weft_importer_names(char *text, size_t size);
void weft_exporter_names(char *text, size_t size);

/* Runs one importer on text in memory: read, check, sort. Errors: as `read`. */
weft_status weft_topology_import(const struct weft_importer *importer, const char *text,
                                 size_t bytes, const char *name, struct weft_topology **topology,
                                 struct weft_error *error);
/* Runs one exporter on any graph and checks the stream. Errors: as `write`, SYSTEM. */
weft_status weft_topology_export(const struct weft_exporter *exporter,
                                 const struct weft_topology *topology, FILE *stream,
                                 struct weft_error *error);

extern const struct weft_importer weft_importer_json;
extern const struct weft_importer weft_importer_hwloc_xml;
extern const struct weft_importer weft_importer_nccl_xml;
extern const struct weft_importer weft_importer_nvidia_smi;
extern const struct weft_importer weft_importer_ibnetdiscover;
extern const struct weft_importer weft_importer_ibsim;
extern const struct weft_importer weft_importer_ibutils;

extern const struct weft_exporter weft_exporter_json;
extern const struct weft_exporter weft_exporter_nccl_xml;
extern const struct weft_importer weft_importer_edges;
extern const struct weft_importer weft_importer_slurm;

extern const struct weft_exporter weft_exporter_json;
extern const struct weft_exporter weft_exporter_edges;
extern const struct weft_exporter weft_exporter_slurm_tree;
extern const struct weft_exporter weft_exporter_slurm_block;
extern const struct weft_exporter weft_exporter_svg;
extern const struct weft_exporter weft_exporter_html;
extern const struct weft_exporter weft_exporter_dot;

#endif
