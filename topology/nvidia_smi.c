/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading what `nvidia-smi topo -m` prints: how near every two devices are, as a letter code. The
 * machine is rebuilt from that: the nearer two devices, the lower the PCIe node that they share.
 * Much of it is inference, and each kind of inference is remarked on. The text is made for eyes
 * (terminal codes, columns by tabs or blanks, cut off where the window ended), so every row must be
 * complete.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/lines.h"
#include "topology/nvidia_smi.h"

enum { MAX_LEADING_LINES = 20 };

/* ---- the text ---- */

/* A copy without terminal codes (ESC [ ... letter). */
static char *without_codes(const char *text)
{
    char *copy = malloc(strlen(text) + 1), *to = copy;
    while (copy && *text) {
        if (*text == 0x1b && text[1] == '[') {
            text += 2;
            text += strspn(text, "0123456789;?");
            text += *text && *text != '\n';
        } else {
            *to++ = *text++;
        }
    }
    if (copy)
        *to = '\0';
    return copy;
}

static bool is_gpu_label(struct weft_span word, int64_t *number)
{
    return weft_span_take(&word, "GPU") && weft_span_number(&word, 0, 9999, number) &&
           word.bytes == 0;
}

/* The head of the matrix: devices, then "CPU Affinity" and more. */
static bool is_head(struct weft_span line)
{
    int64_t number;
    struct weft_span first = weft_span_word(&line), word;
    if (!is_gpu_label(first, &number))
        return false;
    do
        word = weft_span_word(&line);
    while (word.bytes && !weft_span_is(word, "CPU") && !weft_span_is(word, "X"));
    return weft_span_is(word, "CPU") && weft_span_is(weft_span_word(&line), "Affinity");
}

/* ---- the matrix ---- */

static weft_status read_cell(struct weft_lines *lines, struct weft_span word,
                             struct weft_smi_cell *cell)
{
    static const struct {
        const char *word;
        enum weft_smi_distance distance;
    } words[] = {{"X", WEFT_SMI_SELF},     {"PSB", WEFT_SMI_PIX}, {"PIX", WEFT_SMI_PIX},
                 {"PXB", WEFT_SMI_PXB},    {"PHB", WEFT_SMI_PHB}, {"NODE", WEFT_SMI_NODE},
                 {"SYS", WEFT_SMI_SYS},    {"SOC", WEFT_SMI_SYS}, {"N/A", WEFT_SMI_UNKNOWN},
                 {"ERR", WEFT_SMI_UNKNOWN}};
    int64_t links;
    struct weft_span rest = word;
    char text[24];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (weft_span_is(word, words[i].word)) {
            *cell = (struct weft_smi_cell){words[i].distance, 0};
            return WEFT_OK;
        }
    if (weft_span_take(&rest, "NV") && weft_span_number(&rest, 1, 1000, &links) &&
        rest.bytes == 0) {
        *cell = (struct weft_smi_cell){WEFT_SMI_NVLINK, (int)links};
        return WEFT_OK;
    }
    return weft_lines_refuse(lines,
                             "\"%s\" is none of X, NV#, PIX, PXB, PHB, NODE, SYS (or the row is "
                             "cut off)",
                             weft_span_copy(word, text, sizeof text));
}

/* "0-23,96-119": how many, and the lowest. False: it is no such list. */
static bool read_list(struct weft_span list, int64_t *count, int64_t *first)
{
    *count = 0;
    *first = INT64_MAX;
    do {
        int64_t low, high;
        if (!weft_span_number(&list, 0, 1000000, &low))
            return false;
        high = low;
        if (weft_span_take(&list, "-") && !weft_span_number(&list, low, 1000000, &high))
            return false;
        *count += high - low + 1;
        *first = low < *first ? low : *first;
    } while (weft_span_take(&list, ","));
    return list.bytes == 0;
}

/* Behind the cells: processors, NUMA domain, NUMA domain of the GPU's own memory. */
static void read_affinity(struct weft_smi *m, struct weft_span rest, struct weft_smi_device *device)
{
    struct weft_span word = weft_span_word(&rest);
    int64_t first;
    weft_span_copy(word, device->affinity, sizeof device->affinity);
    if (!read_list(word, &device->threads, &device->first_thread))
        device->threads = 0;
    word = weft_span_word(&rest);
    if (!m->has_numa || !weft_span_number(&word, 0, 100000, &device->numa) || word.bytes)
        device->numa = -1;
    word = weft_span_word(&rest);
    if (weft_span_number(&word, 0, 100000, &first) && word.bytes == 0)
        device->memory_numa = first;
}

static weft_status read_head(struct weft_smi *m, struct weft_lines *lines)
{
    struct weft_span rest = lines->line, word;
    m->head_line = lines->number;
    for (;;) {
        word = weft_span_word(&rest);
        if (weft_span_is(word, "CPU"))
            break;
        if (m->num_devices == WEFT_SMI_MAX_DEVICES)
            return weft_lines_refuse(lines, "more than %d devices", WEFT_SMI_MAX_DEVICES);
        struct weft_smi_device *device = &m->devices[m->num_devices];
        *device = (struct weft_smi_device){.number = -1, .numa = -1, .memory_numa = -1};
        weft_span_copy(word, device->label, sizeof device->label);
        device->is_gpu = is_gpu_label(word, &device->number);
        for (int i = 0; i < m->num_devices; i++)
            if (strcmp(m->devices[i].label, device->label) == 0)
                return weft_lines_refuse(lines, "two columns are named \"%s\"", device->label);
        m->num_devices++;
    }
    m->has_numa = weft_span_is(weft_span_word(&rest), "Affinity") &&
                  weft_span_is(weft_span_word(&rest), "NUMA");
    return WEFT_OK;
}

static weft_status read_row(struct weft_smi *m, struct weft_lines *lines, int row)
{
    struct weft_smi_device *device = &m->devices[row];
    struct weft_span rest = lines->line, word = weft_span_word(&rest);
    char text[24];
    if (!weft_span_is(word, device->label))
        return weft_lines_refuse(lines, "expected the row of %s, not \"%s\"", device->label,
                                 weft_span_copy(word, text, sizeof text));
    for (int i = 0; i < m->num_devices; i++) {
        struct weft_smi_cell *cell = &m->cells[row * m->num_devices + i];
        word = weft_span_word(&rest);
        if (word.bytes == 0)
            return weft_lines_refuse(lines, "the row of %s ends after %d of %d cells",
                                     device->label, i, m->num_devices);
        WEFT_TRY(read_cell(lines, word, cell));
        if ((cell->distance == WEFT_SMI_SELF) != (i == row))
            return weft_lines_refuse(lines, "the row of %s has %s", device->label,
                                     i == row ? "no X at its own column"
                                              : "an X at a column of another device");
    }
    read_affinity(m, rest, device);
    return WEFT_OK;
}

/* "NIC0: mlx5_0" */
static bool read_nic_name(struct weft_smi *m, struct weft_span line)
{
    struct weft_span label = weft_span_word(&line), name = weft_span_word(&line);
    if (label.bytes < 2 || label.at[label.bytes - 1] != ':' || name.bytes == 0)
        return false;
    label.bytes--;
    for (int i = 0; i < m->num_devices; i++)
        if (!m->devices[i].is_gpu && weft_span_is(label, m->devices[i].label)) {
            weft_span_copy(name, m->devices[i].name, sizeof m->devices[i].name);
            return true;
        }
    return false;
}

/* The legends; anything else is somebody's other output. */
static weft_status read_rest(struct weft_smi *m, struct weft_lines *lines)
{
    int left_out = 0, first = 0;
    while (weft_lines_next(lines)) {
        struct weft_span line = lines->line, meaning = line;
        weft_span_word(&meaning);
        bool is_meaning = weft_span_is(weft_span_word(&meaning), "=");
        if (line.bytes == 0 || is_meaning || weft_span_is(line, "Legend:") ||
            weft_span_is(line, "NIC Legend:") || read_nic_name(m, line))
            continue;
        first = left_out++ ? first : lines->number;
    }
    if (left_out == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        m->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, -1, lines->error,
        "%d line%s behind the matrix, from line %d on, %s left out", left_out,
        left_out > 1 ? "s" : "", first, left_out > 1 ? "are" : "is");
}

/* Up to the head; the command itself may be among what was copied. */
static weft_status find_head(struct weft_smi *m, struct weft_lines *lines)
{
    int left_out = 0;
    for (;;) {
        if (!weft_lines_next(lines))
            return weft_lines_refuse(lines, "there is no head \"GPU0 ... CPU Affinity\" in it");
        if (is_head(lines->line))
            break;
        left_out += lines->line.bytes > 0 &&
                    !memmem(lines->line.at, lines->line.bytes, "nvidia-smi", strlen("nvidia-smi"));
    }
    if (left_out == 0)
        return WEFT_OK;
    return weft_topology_add_remark(m->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, -1,
                                    lines->error, "%d line%s before the matrix %s left out",
                                    left_out, left_out > 1 ? "s" : "", left_out > 1 ? "are" : "is");
}

static weft_status read_matrix(struct weft_smi *m, struct weft_lines *lines)
{
    WEFT_TRY(find_head(m, lines));
    WEFT_TRY(read_head(m, lines));
    m->cells = calloc((size_t)m->num_devices * (size_t)m->num_devices, sizeof *m->cells);
    if (!m->cells)
        return weft_fail(lines->error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", lines->name);
    for (int row = 0; row < m->num_devices; row++) {
        do {
            if (!weft_lines_next(lines))
                return weft_lines_refuse(lines, "the matrix ends before the row of %s",
                                         m->devices[row].label);
        } while (lines->line.bytes == 0);
        WEFT_TRY(read_row(m, lines, row));
    }
    return read_rest(m, lines);
}

/* ---- the importer ---- */

static weft_status read(const char *text, size_t bytes, const char *name,
                        struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    struct weft_smi *m = calloc(1, sizeof *m);
    char *plain = without_codes(text);
    weft_status status = WEFT_OK;
    if (!m || !plain) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", name);
    } else {
        struct weft_lines lines = weft_lines_start(plain, name, error);
        m->topology = topology;
        m->error = error;
        status = read_matrix(m, &lines);
        lines.number = m->head_line; // what is wrong from here on is wrong with the whole
        if (status == WEFT_OK)
            status = weft_lines_located(&lines, weft_smi_build(m));
    }
    if (m)
        free(m->cells);
    free(m);
    free(plain);
    return status;
}

static bool matches(const char *text)
{
    bool found = false;
    for (int i = 0; i < MAX_LEADING_LINES && *text && !found; i++) {
        char line[4096];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1),
                 text);
        char *plain = without_codes(line);
        if (!plain)
            return false;
        found = is_head(weft_span_trim((struct weft_span){plain, strlen(plain)}));
        free(plain);
        text += length + (text[length] == '\n');
    }
    return found;
}

const struct weft_importer weft_importer_nvidia_smi = {
    .name = "nvidia-smi",
    .description = "what `nvidia-smi topo -m` prints",
    .matches = matches,
    .read = read,
};
