/*
 * SPDX-License-Identifier: Apache-2.0
 * The ethernet probe: the interfaces of this process's network namespace, from rtnetlink (names,
 * kinds, who lies on whom), ethtool (rates) and the list of addresses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "topology/ethernet.h"
#include "topology/probe.h"

enum {
    ANSWER_BYTES = 1 << 17, // of one datagram; the kernel sends 32 KiB at most
    WAIT_S = 5,             // for one
};

struct table {
    struct weft_interface *all;
    int count;
};

/* ---- rtnetlink ---- */

static const struct rtattr *find_attribute(const struct rtattr *list, size_t bytes, int type)
{
    for (; RTA_OK(list, bytes); list = RTA_NEXT(list, bytes))
        if ((list->rta_type & NLA_TYPE_MASK) == type)
            return list;
    return NULL;
}

static const struct rtattr *find_inside(const struct rtattr *outer, int type)
{
    return outer ? find_attribute(RTA_DATA(outer), RTA_PAYLOAD(outer), type) : NULL;
}

static void copy_text(const struct rtattr *attribute, char *text, size_t size)
{
    size_t bytes = attribute ? RTA_PAYLOAD(attribute) : 0, used = 0;
    for (const char *from = attribute ? RTA_DATA(attribute) : NULL;
         used < bytes && used < size - 1 && from[used]; used++)
        text[used] = (char)(from[used] < 0x21 || from[used] > 0x7e ? '?' : from[used]);
    text[used] = '\0';
}

/* A number of one or four bytes. */
static int64_t number_of(const struct rtattr *attribute, int64_t fallback)
{
    uint32_t wide;
    if (!attribute)
        return fallback;
    if (RTA_PAYLOAD(attribute) >= sizeof wide) {
        memcpy(&wide, RTA_DATA(attribute), sizeof wide);
        return wide;
    }
    return RTA_PAYLOAD(attribute) >= 1 ? *(const unsigned char *)RTA_DATA(attribute) : fallback;
}

static void read_link(const struct nlmsghdr *message, struct weft_interface *interface)
{
    static const char *const states[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                         "testing", "dormant",    "up"};
    const struct ifinfomsg *header = NLMSG_DATA(message);
    const struct rtattr *list = IFLA_RTA(header);
    size_t bytes = IFLA_PAYLOAD(message);
    const struct rtattr *info = find_attribute(list, bytes, IFLA_LINKINFO);
    const struct rtattr *data = find_inside(info, IFLA_INFO_DATA);
    const struct rtattr *slave = find_inside(info, IFLA_INFO_SLAVE_DATA);
    const struct rtattr *address = find_attribute(list, bytes, IFLA_ADDRESS);
    char slave_kind[WEFT_INTERFACE_NAME_BYTES];
    copy_text(find_attribute(list, bytes, IFLA_IFNAME), interface->name, sizeof interface->name);
    copy_text(find_inside(info, IFLA_INFO_KIND), interface->kind, sizeof interface->kind);
    copy_text(find_inside(info, IFLA_INFO_SLAVE_KIND), slave_kind, sizeof slave_kind);
    interface->index = header->ifi_index;
    interface->is_loopback = header->ifi_flags & IFF_LOOPBACK;
    interface->master = (int)number_of(find_attribute(list, bytes, IFLA_MASTER), 0);
    // a veth's link is its peer, and an index of another namespace means nothing here
    if (strcmp(interface->kind, "veth") != 0 && !find_attribute(list, bytes, IFLA_LINK_NETNSID))
        interface->lower = (int)number_of(find_attribute(list, bytes, IFLA_LINK), 0);
    interface->mtu = number_of(find_attribute(list, bytes, IFLA_MTU), -1);
    int64_t state = number_of(find_attribute(list, bytes, IFLA_OPERSTATE), 0);
    // drivers without carrier detection are "unknown" while they work
    if (state == 0 && header->ifi_flags & IFF_UP && header->ifi_flags & IFF_RUNNING)
        state = 6;
    snprintf(interface->state, sizeof interface->state, "%s",
             state >= 0 && state < 7 ? states[state] : "unknown");
    const unsigned char *mac = address ? RTA_DATA(address) : NULL;
    size_t mac_bytes = address ? RTA_PAYLOAD(address) : 0;
    for (size_t i = 0; i < mac_bytes && i < 20; i++) {
        size_t used = strlen(interface->mac);
        snprintf(interface->mac + used, sizeof interface->mac - used, "%s%02x", i ? ":" : "",
                 mac[i]);
    }
    if (strcmp(interface->kind, "bond") == 0)
        interface->bond_mode = (int)number_of(find_inside(data, IFLA_BOND_MODE), -1);
    if (strcmp(slave_kind, "bond") == 0)
        interface->is_inactive_slave = number_of(find_inside(slave, IFLA_BOND_SLAVE_STATE), 0) != 0;
}

/* Takes what one datagram holds; true: it was the last. */
static bool read_datagram(struct table *table, const char *bytes, size_t count, int *failure)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;
    for (; NLMSG_OK(message, count); message = NLMSG_NEXT(message, count)) {
        if (message->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *answer = NLMSG_DATA(message);
            *failure = message->nlmsg_len >= NLMSG_LENGTH(sizeof *answer) ? -answer->error : EIO;
            return true;
        }
        if (message->nlmsg_type == NLMSG_DONE)
            return true;
        if (message->nlmsg_type != RTM_NEWLINK || table->count == WEFT_MAX_INTERFACES ||
            message->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
            continue;
        struct weft_interface *interface = &table->all[table->count];
        *interface =
            (struct weft_interface){.rate_mbps = -1, .mtu = -1, .duplex = -1, .bond_mode = -1};
        read_link(message, interface);
        table->count += interface->name[0] != '\0';
    }
    return false;
}

static weft_status list_links(struct table *table, struct weft_error *error)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg body;
    } request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.body),
                            .nlmsg_type = RTM_GETLINK,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                 .body = {.ifi_family = AF_UNSPEC}};
    const struct timeval wait = {.tv_sec = WAIT_S};
    char *buffer = malloc(ANSWER_BYTES);
    int failure = 0, link = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (!buffer || link < 0 || setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
        send(link, &request, request.header.nlmsg_len, 0) < 0)
        failure = buffer ? errno : ENOMEM;
    // each datagram brings interfaces, so their number bounds the loop
    for (int i = 0; failure == 0 && i < 2 * WEFT_MAX_INTERFACES; i++) {
        ssize_t got = recv(link, buffer, ANSWER_BYTES, MSG_TRUNC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || got > ANSWER_BYTES)
            failure = got < 0 ? errno : EMSGSIZE;
        else if (read_datagram(table, buffer, (size_t)got, &failure))
            break;
    }
    if (link >= 0)
        close(link);
    free(buffer);
    if (failure)
        return weft_fail(error, failure == ENOMEM ? WEFT_OUT_OF_MEMORY : WEFT_SYSTEM,
                         "the kernel does not list its network interfaces: %s", strerror(failure));
    return WEFT_OK;
}

/* ---- rates and addresses ---- */

static void read_rate(int any_socket, struct weft_interface *interface)
{
    struct ethtool_cmd command = {.cmd = ETHTOOL_GSET};
    struct ifreq request = {.ifr_data = (void *)&command};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface->name);
    if (ioctl(any_socket, SIOCETHTOOL, &request) != 0)
        return;
    // ethtool_cmd_speed of the system's header shifts into the sign bit
    uint32_t speed = (uint32_t)command.speed_hi << 16 | command.speed;
    interface->rate_mbps = speed == 0 || speed >= INT32_MAX ? -1 : (int64_t)speed;
    interface->duplex = command.duplex == DUPLEX_FULL ? 1 : command.duplex == DUPLEX_HALF ? 0 : -1;
}

static int prefix_bits(const unsigned char *mask, size_t bytes)
{
    int bits = 0;
    for (size_t i = 0; i < bytes; i++)
        bits += __builtin_popcount(mask[i]);
    return bits;
}

static void add_address(struct weft_interface *interface, const struct ifaddrs *address)
{
    bool is_6 = address->ifa_addr->sa_family == AF_INET6;
    const void *bytes =
        is_6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)address->ifa_addr)
                   ->sin6_addr
             : (const void *)&((const struct sockaddr_in *)(const void *)address->ifa_addr)
                   ->sin_addr;
    const unsigned char *first = bytes;
    if (is_6 ? first[0] == 0xfe && (first[1] & 0xc0) == 0x80 : first[0] == 169 && first[1] == 254)
        return; // link-local
    size_t offset =
        is_6 ? offsetof(struct sockaddr_in6, sin6_addr) : offsetof(struct sockaddr_in, sin_addr);
    int bits = is_6 ? 128 : 32;
    if (address->ifa_netmask)
        bits = prefix_bits((const unsigned char *)address->ifa_netmask + offset, is_6 ? 16 : 4);
    char text[INET6_ADDRSTRLEN];
    char *all = is_6 ? interface->ipv6 : interface->ipv4;
    size_t used = strlen(all);
    if (!inet_ntop(is_6 ? AF_INET6 : AF_INET, bytes, text, sizeof text) ||
        used + strlen(text) + 6 > WEFT_INTERFACE_ADDRESSES_BYTES)
        return;
    snprintf(all + used, WEFT_INTERFACE_ADDRESSES_BYTES - used, "%s%s/%d", used ? " " : "", text,
             bits);
}

static void read_addresses(struct table *table)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
        if (!at->ifa_addr ||
            (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
            continue;
        for (int i = 0; i < table->count; i++)
            if (strcmp(table->all[i].name, at->ifa_name) == 0)
                add_address(&table->all[i], at);
    }
    freeifaddrs(list);
}

/* ---- probe ---- */

static bool ethernet_available(const char **reason)
{
    (void)reason;
    return true;
}

static weft_status ethernet_discover(struct weft_topology *topology, struct weft_error *error)
{
    struct table table = {.all = malloc(WEFT_MAX_INTERFACES * sizeof *table.all)};
    if (!table.all)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "ethernet: no memory");
    weft_status status = list_links(&table, error);
    if (status == WEFT_OK) {
        int any_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        for (int i = 0; any_socket >= 0 && i < table.count; i++)
            read_rate(any_socket, &table.all[i]);
        if (any_socket >= 0)
            close(any_socket);
        read_addresses(&table);
        status = weft_ethernet_add(topology, table.all, table.count, WEFT_SOURCE_SYSFS, error);
    }
    free(table.all);
    return status;
}

const struct weft_probe weft_probe_ethernet = {
    .name = "ethernet",
    .phase = WEFT_PROBE_PHASE_DEVICES,
    .available = ethernet_available,
    .discover = ethernet_discover,
};
