/*
 * SPDX-License-Identifier: Apache-2.0
 * Reads net files of ibsim, the simulator of InfiniBand subnets: records as ibnetdiscover prints
 * them, with names in place of GUIDs, and widths and speeds as options.
 */
#include "topology/fabric_records.h"
#include "topology/forms.h"

static bool ibsim_matches(const char *text)
{
    bool has_guid;
    return weft_fabric_looks_like_records(text, &has_guid) && !has_guid;
}

static weft_status ibsim_read(const char *text, size_t bytes, const char *name,
                              struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    return weft_fabric_read_records(text, name, true, topology, error);
}

const struct weft_importer weft_importer_ibsim = {
    .name = "ibsim",
    .description = "net file of ibsim, the InfiniBand simulator",
    .matches = ibsim_matches,
    .read = ibsim_read,
};
