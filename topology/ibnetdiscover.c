/*
 * SPDX-License-Identifier: Apache-2.0
 * Reads what `ibnetdiscover` prints: a whole InfiniBand subnet as seen from one port. Devices go by
 * their GUIDs there, and comments carry descriptions and rates.
 */
#include "topology/fabric_records.h"
#include "topology/forms.h"

static bool ibnetdiscover_matches(const char *text)
{
    bool has_guid;
    return weft_fabric_looks_like_records(text, &has_guid) && has_guid;
}

static weft_status ibnetdiscover_read(const char *text, size_t bytes, const char *name,
                                      struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    return weft_fabric_read_records(text, name, false, topology, error);
}

const struct weft_importer weft_importer_ibnetdiscover = {
    .name = "ibnetdiscover",
    .description = "what ibnetdiscover prints: an InfiniBand subnet",
    .matches = ibnetdiscover_matches,
    .read = ibnetdiscover_read,
};
