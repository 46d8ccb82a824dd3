/*
 * SPDX-License-Identifier: Apache-2.0
 * See fsroot.h. Puts together what reads parts of a copied tree.
 */
#include "topology/fsroot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "topology/ethernet.h"
#include "topology/pcie.h"
#include "topology/probe.h"

bool weft_fsroot_is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static weft_status read_parts(const char *path, const char *sys, struct weft_topology **topology,
                              struct weft_error *error)
{
    WEFT_TRY(weft_probe_hwloc_fsroot(path, topology, error));
    WEFT_TRY(weft_pcie_read_sysfs(*topology, sys, error));
    WEFT_TRY(weft_ethernet_read_sysfs(*topology, sys, error));
    WEFT_TRY(weft_topology_add_probe(*topology, WEFT_FSROOT_FORM, true, "", error));
    WEFT_TRY(weft_topology_check(*topology, error));
    return weft_topology_sort(*topology, error);
}

weft_status weft_fsroot_load(const char *path, struct weft_topology **topology,
                             struct weft_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%.200s: %s", path,
                         strerror(errno));
    char *sys;
    if (asprintf(&sys, "%s/sys", path) < 0)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", path);
    weft_status result;
    struct weft_topology *made = NULL;
    if (!S_ISDIR(status.st_mode) || !weft_fsroot_is_folder(sys))
        result = weft_fail(error, WEFT_INVALID_ARGUMENT,
                           "%.200s: no copied machine: it takes a folder that holds sys/ and proc/",
                           path);
    else
        result = read_parts(path, sys, &made, error);
    free(sys);
    if (result != WEFT_OK) {
        weft_topology_destroy(&made);
        return result;
    }
    *topology = made;
    return WEFT_OK;
}
