/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading XML over libxml2, hostile input assumed: no network, no external or internal entities (a
 * DOCTYPE that declares any is refused), libxml2's own limits of depth and size, numbers with a
 * range, errors with file and line.
 */
#ifndef WEFT_TOPOLOGY_XML_H
#define WEFT_TOPOLOGY_XML_H

#include <libxml/tree.h>
#include <stdint.h>

#include "base/error.h"

/* Errors: INVALID_FORMAT "name:LINE: reason", OUT_OF_MEMORY. Free with xmlFreeDoc. */
weft_status weft_xml_parse(const char *text, size_t bytes, const char *name, xmlDoc **document,
                           struct weft_error *error);
/* Whether the first element of an XML text is <name ...>; prolog, comments and DOCTYPE are passed.
 */
bool weft_xml_has_root(const char *text, const char *name);
/* Whether `text` declares an entity in its DOCTYPE, so that no reader should expand it. */
bool weft_xml_declares_entities(const char *text);

/* INVALID_FORMAT "name:LINE: <element>: reason". */
weft_status weft_xml_refuse(const xmlNode *element, const char *name, struct weft_error *error,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The element of a list of siblings itself or the next one; NULL: none. */
const xmlNode *weft_xml_element(const xmlNode *node);
bool weft_xml_is(const xmlNode *element, const char *name);
/* The value of an attribute, borrowed from the document; NULL: it has none. */
const char *weft_xml_text(const xmlNode *element, const char *key);
/* An integer, decimal or 0x...; *value is unchanged when the attribute is absent. */
weft_status weft_xml_integer(const xmlNode *element, const char *key, int64_t low, int64_t high,
                             const char *name, int64_t *value, struct weft_error *error);

#endif
