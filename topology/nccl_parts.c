/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading NCCL's topology XML: the small steps that its readers share; see nccl_xml.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/nccl_xml.h"
#include "topology/xml.h"

enum { MAX_KEPT = 64 }; // child elements that one node keeps

const xmlNode *weft_nccl_child(const xmlNode *element, const char *name)
{
    const xmlNode *child = weft_xml_element(element->children);
    while (child && !weft_xml_is(child, name))
        child = weft_xml_element(child->next);
    return child;
}

weft_status weft_nccl_located(struct weft_nccl_reading *s, const xmlNode *element,
                              weft_status status)
{
    if (status == WEFT_OK || status == WEFT_OUT_OF_MEMORY)
        return status;
    weft_fail_prefix(s->error, "%.200s:%ld", s->name, xmlGetLineNo(element));
    if (s->error)
        s->error->status = WEFT_INVALID_FORMAT;
    return WEFT_INVALID_FORMAT;
}

/* ---- the graph ---- */

weft_status weft_nccl_add_node(struct weft_nccl_reading *s, int kind, int host, const char *word,
                               int parent, int *node)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES], clean[112];
    snprintf(clean, sizeof clean, "%.100s", word);
    weft_make_printable(clean);
    for (char *slash = clean; (slash = strchr(slash, '/'));) // it ends the host's part of a name
        *slash = '-';
    snprintf(name, sizeof name, "%.100s%s%s", host >= 0 ? s->topology->nodes[host].name : "",
             host >= 0 ? "/" : "", clean);
    return weft_topology_add_twin(s->topology, kind, name, parent, node, s->error);
}

weft_status weft_nccl_set_text(struct weft_nccl_reading *s, const xmlNode *element, int node,
                               const char *key, const char *text)
{
    char copy[WEFT_TOPOLOGY_NAME_BYTES];
    if (strlen(text) >= sizeof copy)
        return weft_topology_add_remark(
            s->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, node, s->error,
            "line %ld: <%.40s> has a text of over %zu bytes for %.60s, which is left out",
            xmlGetLineNo(element), (const char *)element->name, sizeof copy - 1, key);
    snprintf(copy, sizeof copy, "%s", text);
    weft_make_printable(copy);
    return weft_nccl_located(
        s, element,
        weft_topology_set_text(s->topology, node, key, copy, WEFT_SOURCE_FILE, s->error));
}

weft_status weft_nccl_set_number(struct weft_nccl_reading *s, const xmlNode *element, int node,
                                 const char *key, int64_t number)
{
    return weft_nccl_located(
        s, element,
        weft_topology_set_number(s->topology, node, key, number, WEFT_SOURCE_FILE, s->error));
}

weft_status weft_nccl_join(struct weft_nccl_reading *s, const xmlNode *element, int kind, int from,
                           int to, int64_t bandwidth)
{
    struct weft_link link = weft_link_make(kind, from, to);
    if (bandwidth >= 0)
        link.bandwidth.nominal = (struct weft_quantity){bandwidth, WEFT_SOURCE_FILE};
    return weft_nccl_located(s, element,
                             weft_topology_add_link(s->topology, &link, NULL, s->error));
}

/* ---- what is read ---- */

weft_status weft_nccl_read_address(struct weft_nccl_reading *s, const xmlNode *element,
                                   const char *key, char *address)
{
    const char *text = weft_xml_text(element, key);
    if (!text)
        return weft_xml_refuse(element, s->name, s->error, "it has no %s", key);
    size_t bytes = strspn(text, "0123456789abcdefABCDEF:.");
    bool has_domain = strchr(text, ':') != strrchr(text, ':');
    if (text[bytes] || bytes < 4 || bytes > (has_domain ? 16 : 7) || !strchr(text, ':'))
        return weft_xml_refuse(element, s->name, s->error, "%s=\"%.40s\" is no PCI address", key,
                               text);
    snprintf(address, WEFT_NCCL_ADDRESS_BYTES, "%s%s", has_domain ? "" : "0000:", text);
    for (char *at = address; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return WEFT_OK;
}

weft_status weft_nccl_read_class(struct weft_nccl_reading *s, const xmlNode *element,
                                 const char *key, char *pci_class)
{
    const char *text = weft_xml_text(element, key);
    pci_class[0] = '\0';
    if (!text || !text[0])
        return WEFT_OK;
    const char *digits = strncmp(text, "0x", 2) == 0 ? text + 2 : text;
    size_t bytes = strspn(digits, "0123456789abcdefABCDEF");
    if (digits[bytes] || bytes < 1 || bytes > 6)
        return weft_xml_refuse(element, s->name, s->error, "%s=\"%.40s\" is no PCI class", key,
                               text);
    for (size_t i = 0; i <= bytes; i++)
        pci_class[i] = (char)tolower((unsigned char)digits[i]);
    return WEFT_OK;
}

/* ---- what is kept ---- */

weft_status weft_nccl_keep_attributes(struct weft_nccl_reading *s, const char *element, int node,
                                      const xmlNode *from, const char *const *known)
{
    for (const xmlAttr *a = from->properties; a; a = a->next) {
        bool is_known = false;
        for (int i = 0; known[i]; i++)
            is_known |= strcmp(known[i], (const char *)a->name) == 0;
        if (is_known)
            continue;
        char key[WEFT_TOPOLOGY_NAME_BYTES];
        snprintf(key, sizeof key, "nccl.%s.%.200s", element, (const char *)a->name);
        WEFT_TRY(
            weft_nccl_set_text(s, from, node, key, weft_xml_text(from, (const char *)a->name)));
    }
    return WEFT_OK;
}

/* The element as XML again; false: it has children, or is too long. */
static bool element_text(const xmlNode *element, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "<%s", (const char *)element->name);
    for (const xmlAttr *a = element->properties; a && used < size; a = a->next) {
        used += (size_t)snprintf(text + used, size - used, " %s=\"", (const char *)a->name);
        const char *value = weft_xml_text(element, (const char *)a->name);
        for (; *value && used < size; value++) {
            char c = *value < 0x20 || *value > 0x7e ? '?' : *value; // as in other texts
            used +=
                (size_t)snprintf(text + used, size - used, strchr("<>&\"", c) ? "&#%d;" : "%c", c);
        }
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "\"");
    }
    if (used < size)
        used += (size_t)snprintf(text + used, size - used, "/>");
    return used < size && !element->children;
}

weft_status weft_nccl_keep_child(struct weft_nccl_reading *s, const char *element, int node,
                                 const xmlNode *child)
{
    char text[WEFT_TOPOLOGY_NAME_BYTES], key[64];
    if (child->type == XML_ELEMENT_NODE && element_text(child, text, sizeof text))
        for (int i = 0; i < MAX_KEPT; i++) {
            // two digits, so that the order of keys is that of the file
            snprintf(key, sizeof key, "nccl.%.40s/%02d", element, i);
            if (!weft_topology_attribute(s->topology, node, key))
                return weft_nccl_set_text(s, child, node, key, text);
        }
    return weft_topology_add_remark(s->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, node,
                                    s->error,
                                    "line %ld: <%.40s> in <%.40s> is not known and is left out",
                                    xmlGetLineNo(child), (const char *)child->name, element);
}

/* Children of <cpu>, <pci>, <gpu>, <nic> that nobody reads are kept whole. */
weft_status weft_nccl_keep_unknown(struct weft_nccl_reading *s, const xmlNode *above, int node,
                                   const char *const *known)
{
    for (const xmlNode *child = above->children; child; child = child->next) {
        bool is_known = child->type != XML_ELEMENT_NODE;
        if (child->type == XML_TEXT_NODE && !xmlIsBlankNode(child))
            WEFT_TRY(weft_topology_add_remark(
                s->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, node, s->error,
                "line %ld: text between elements is left out", xmlGetLineNo(child)));
        for (int i = 0; known[i] && !is_known; i++)
            is_known = weft_xml_is(child, known[i]);
        if (!is_known)
            WEFT_TRY(weft_nccl_keep_child(s, (const char *)above->name, node, child));
    }
    return WEFT_OK;
}
