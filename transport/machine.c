/*
 * SPDX-License-Identifier: Apache-2.0
 * Identity of the machine, from /proc.
 */
#include "transport/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static weft_status read_boot_id(unsigned char *boot_id, struct weft_error *error)
{
    static const char digits[] = "0123456789abcdef";
    char text[64] = "";
    int descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? -1 : read(descriptor, text, sizeof text - 1);
    if (descriptor >= 0)
        close(descriptor);
    int num_digits = 0;
    for (ssize_t i = 0; i < got && num_digits < 32; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            continue;
        unsigned char *byte = &boot_id[num_digits++ / 2];
        *byte = (unsigned char)(*byte << 4 | (digit - digits));
    }
    if (num_digits != 32)
        return weft_fail(error, WEFT_UNSUPPORTED, "this machine has no boot id in /proc");
    return WEFT_OK;
}

weft_status weft_machine_identify(struct weft_machine *machine, struct weft_error *error)
{
    struct weft_machine found = {0};
    struct stat network;
    WEFT_TRY(read_boot_id(found.boot_id, error));
    if (stat("/proc/self/ns/net", &network) != 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "/proc/self/ns/net: %s", strerror(errno));
    found.network_device = network.st_dev;
    found.network_inode = network.st_ino;
    *machine = found;
    return WEFT_OK;
}

bool weft_machine_same_boot(const struct weft_machine *a, const struct weft_machine *b)
{
    return memcmp(a->boot_id, b->boot_id, sizeof a->boot_id) == 0;
}

bool weft_machine_same_network(const struct weft_machine *a, const struct weft_machine *b)
{
    return weft_machine_same_boot(a, b) && a->network_device == b->network_device &&
           a->network_inode == b->network_inode;
}
