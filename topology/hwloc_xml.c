/*
 * SPDX-License-Identifier: Apache-2.0
 * What is done to XML before hwloc sees it. First a check of our own, because hwloc recurses along
 * the nesting and allocates by numbers of the file. Then XML of hwloc 3 gets the form of hwloc 2.
 * Of what Weft reads, two things differ: the version, and the type of an operating system device,
 * which became a set of bits. The rest (facts after the root object) hwloc 2 skips.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/hwloc_import.h"
#include "topology/xml.h"

enum {
    MAX_DEPTH = 100, // real files: 12; hwloc 2.9 overflows an 8 MiB stack at 10 to 20 thousand
    MAX_ELEMENTS = 2000000, // a thousand per processor of the largest machine
    MAX_OS_INDEX = 1 << 20, // of processors and NUMA domains: hwloc keeps bits up to it
    MAX_MATRIX = 4096,      // objects of a matrix: hwloc allocates their square
    MAX_SET_BYTES = 1 << 16,
};

/* ---- check ---- */

/* Without one, or with -1, hwloc takes 4294967295 and half a gigabyte of bits. */
static weft_status check_index(const xmlNode *element, const char *name, struct weft_error *error)
{
    const char *type = weft_xml_text(element, "type");
    int64_t value = -1;
    if (!type || (strcmp(type, "PU") != 0 && strcmp(type, "NUMANode") != 0))
        return WEFT_OK;
    WEFT_TRY(weft_xml_integer(element, "os_index", 0, MAX_OS_INDEX, name, &value, error));
    if (value < 0)
        return weft_xml_refuse(element, name, error, "a %.20s without os_index", type);
    return WEFT_OK;
}

/* A set as hwloc writes it: groups of 32 bits, "0x" and up to eight digits or nothing, between
 * commas, with "0xf...f" in front for all bits above. hwloc stops the process on others. */
static bool is_set(const char *text)
{
    if (strncmp(text, "0xf...f", 7) == 0) {
        if (!text[7])
            return true;
        if (text[7] != ',')
            return false;
        text += 8;
    } else if (*text == ',') {
        return false; // only the first group is never empty
    }
    for (;;) {
        if (strncmp(text, "0x", 2) == 0) {
            size_t digits = strspn(text + 2, "0123456789abcdefABCDEF");
            if (digits < 1 || digits > 8)
                return false;
            text += 2 + digits;
            if (!*text)
                return true;
        }
        if (*text != ',')
            return false;
        text++;
    }
}

/* Everything that has a place among processors must say which: hwloc follows the sets of a
 * processor or cache without asking whether they are there. */
static weft_status check_sets(const xmlNode *element, const char *name, struct weft_error *error)
{
    static const char *const sets[] = {"cpuset", "complete_cpuset", "nodeset", "complete_nodeset"};
    static const char *const placeless[] = {"Bridge", "PCIDev", "OSDev", "Misc"};
    const char *type = weft_xml_text(element, "type");
    if (!type)
        return weft_xml_refuse(element, name, error, "no type");
    bool has_place = true;
    for (size_t i = 0; i < sizeof placeless / sizeof placeless[0]; i++)
        has_place &= strcmp(type, placeless[i]) != 0;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        const char *set = weft_xml_text(element, sets[i]);
        if (!set != !has_place)
            return weft_xml_refuse(element, name, error, "a %.20s %s %s", type,
                                   set ? "with" : "without", sets[i]);
    }
    for (const xmlAttr *a = element->properties; a; a = a->next) {
        const char *key = (const char *)a->name, *set = weft_xml_text(element, key);
        size_t length = strlen(key);
        if (length < 3 || strcmp(key + length - 3, "set") != 0)
            continue;
        if (strlen(set) > MAX_SET_BYTES || !is_set(set))
            return weft_xml_refuse(element, name, error, "%.40s=\"%.40s\" is no set", key, set);
    }
    return WEFT_OK;
}

static weft_status check_element(const xmlNode *element, const char *name, struct weft_error *error)
{
    int64_t value;
    // hwloc wants what describes an object before what it contains, and leaks where that is not so
    const xmlNode *before = element->prev;
    while (before && before->type != XML_ELEMENT_NODE)
        before = before->prev;
    if (before && weft_xml_is(before, "object") && !weft_xml_is(element, "object") &&
        weft_xml_is(element->parent, "object"))
        return weft_xml_refuse(element, name, error, "this cannot come after an <object>");
    if (weft_xml_is(element, "object")) {
        WEFT_TRY(check_index(element, name, error));
        WEFT_TRY(check_sets(element, name, error));
    }
    return weft_xml_integer(element, "nbobjs", 0, MAX_MATRIX, name, &value, error);
}

weft_status weft_hwloc_check_xml(const char *text, size_t bytes, const char *name,
                                 struct weft_error *error)
{
    xmlDoc *document = NULL;
    WEFT_TRY(weft_xml_parse(text, bytes, name, &document, error));
    const xmlNode *top = weft_xml_element(document->children), *at = top;
    int depth = 1, elements = 0, domains = 0;
    weft_status status = WEFT_OK;
    // document order without recursion
    while (at && status == WEFT_OK) {
        status = check_element(at, name, error);
        if (status == WEFT_OK && ++elements > MAX_ELEMENTS)
            status = weft_xml_refuse(at, name, error, "more than %d elements", MAX_ELEMENTS);
        const char *type = weft_xml_is(at, "object") ? weft_xml_text(at, "type") : NULL;
        domains += type && strcmp(type, "NUMANode") == 0;
        const xmlNode *next = weft_xml_element(at->children);
        if (next && ++depth > MAX_DEPTH && status == WEFT_OK)
            status = weft_xml_refuse(next, name, error, "nested deeper than %d levels", MAX_DEPTH);
        while (!next && at != top) {
            next = weft_xml_element(at->next);
            if (!next) {
                at = at->parent;
                depth--;
            }
        }
        at = next;
    }
    // hwloc prints about this one
    if (status == WEFT_OK && domains == 0)
        status = weft_xml_refuse(top, name, error, "no object of type NUMANode");
    xmlFreeDoc(document);
    return status;
}

/* ---- hwloc 3 as hwloc 2 ---- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* hwloc 3's bits, the most telling first, to hwloc 2's number. */
static char old_osdev_type(unsigned bits)
{
    static const struct {
        unsigned bit;
        char old;
    } types[] = {
        {8, '5'},  // co-processor
        {4, '1'},  // GPU
        {32, '3'}, // OpenFabrics
        {16, '2'}, // network
        {64, '4'}, // DMA
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (bits & types[i].bit)
            return types[i].old;
    return '0'; // block
}

weft_status weft_hwloc_downgrade_xml(const char *text, size_t bytes, const char *name, char **older,
                                     size_t *older_bytes, struct weft_error *error)
{
    static const char version[] = "<topology version=\"";
    static const char osdev[] = "osdev_type=\"";
    const char *found = strstr(text, version);
    if (!found || HWLOC_API_VERSION >= 0x30000)
        return WEFT_OK;
    long major = strtol(found + strlen(version), NULL, 10);
    if (major <= 2)
        return WEFT_OK;
    if (major > 3)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: XML of hwloc %ld; Weft knows up to 3", name,
                         major);
    char *out = malloc(bytes + 1);
    if (!out)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", name);
    size_t used = 0; // never more than was read: every replacement is as long or shorter
    for (const char *at = text; *at;) {
        if (at == found) {
            memcpy(out + used, version, strlen(version));
            used += strlen(version);
            out[used++] = '2';
            at += strlen(version) + 1;
        } else if (starts_with(at, osdev)) {
            char *end;
            unsigned long bits = strtoul(at + strlen(osdev), &end, 10);
            memcpy(out + used, osdev, strlen(osdev));
            used += strlen(osdev);
            if (end != at + strlen(osdev))
                out[used++] = old_osdev_type((unsigned)bits);
            at = end;
        } else {
            out[used++] = *at++;
        }
    }
    out[used] = '\0';
    *older = out;
    *older_bytes = used;
    return WEFT_OK;
}
