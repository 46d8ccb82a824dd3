/*
 * SPDX-License-Identifier: Apache-2.0
 * The text form that ibnetdiscover writes and ibsim reads: records of a device and a line for each
 * cabled port. Both importers are this reader; what only one of the two forms has is an option.
 */
#ifndef WEFT_TOPOLOGY_FABRIC_RECORDS_H
#define WEFT_TOPOLOGY_FABRIC_RECORDS_H

#include "topology/graph.h"

/* `is_simulator`: a net file of ibsim. Errors as of an importer's read. */
weft_status weft_fabric_read_records(const char *text, const char *name, bool is_simulator,
                                     struct weft_topology *topology, struct weft_error *error);
/* Whether the first line that is neither empty nor a comment starts a record or is one of the
 * assignments before it, or a comment is ibnetdiscover's. *has_guid: a device goes by its GUID, as
 * ibnetdiscover writes it. */
bool weft_fabric_looks_like_records(const char *text, bool *has_guid);

#endif
