/*
 * SPDX-License-Identifier: Apache-2.0
 * See xml.h.
 */
#include "topology/xml.h"

#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTES = 1024 }; // of one element

/* Past blanks, the prolog and comments, at the first '<' of something else; NULL: none. A DOCTYPE
 * is passed too when `past_doctype`. */
static const char *first_markup(const char *text, bool past_doctype)
{
    for (;;) {
        text += strspn(text, " \t\r\n");
        if (*text != '<')
            return NULL;
        const char *end_mark = strncmp(text, "<!--", 4) == 0 ? "-->" : ">";
        bool is_doctype = strncmp(text, "<!DOCTYPE", 9) == 0;
        if ((text[1] != '?' && text[1] != '!') || (is_doctype && !past_doctype))
            return text;
        text = strstr(text, end_mark);
        if (!text)
            return NULL;
        text += strlen(end_mark);
    }
}

bool weft_xml_has_root(const char *text, const char *name)
{
    const char *found = first_markup(text, true);
    size_t length = strlen(name);
    return found && strncmp(found + 1, name, length) == 0 && found[length + 1] &&
           strchr(" \t\r\n>/", found[length + 1]);
}

bool weft_xml_declares_entities(const char *text)
{
    const char *found = first_markup(text, false);
    if (!found || strncmp(found, "<!DOCTYPE", 9) != 0)
        return false;
    // an internal subset starts with '[' before the declaration ends
    return found[strcspn(found, "[>")] == '[';
}

/* Other encodings go through converters that print to standard error on broken input. */
static bool has_known_encoding(const char *text)
{
    static const char *const known[] = {"UTF-8", "utf-8", "US-ASCII", "ISO-8859-1", "iso-8859-1"};
    text += strspn(text, " \t\r\n");
    const char *end = strncmp(text, "<?xml", 5) == 0 ? strstr(text, "?>") : NULL;
    const char *found = end ? strstr(text, "encoding") : NULL;
    if (!found || found > end)
        return (unsigned char)*text < 0x80; // a byte order mark of UTF-16
    found += strcspn(found, "\"'?");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (*found != '?' && strncmp(found + 1, known[i], strlen(known[i])) == 0 &&
            found[strlen(known[i]) + 1] == *found)
            return true;
    return false;
}

/* Past one piece of markup that starts at `text`, whose attributes are counted; NULL: it does not
 * end. */
static const char *skip_markup(const char *text, int *num_attributes)
{
    static const struct {
        const char *start, *end;
    } opaque[] = {{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}};
    *num_attributes = 0;
    for (size_t i = 0; i < sizeof opaque / sizeof opaque[0]; i++)
        if (strncmp(text, opaque[i].start, strlen(opaque[i].start)) == 0)
            return strstr(text + strlen(opaque[i].start), opaque[i].end);
    for (text++;;) {
        text += strcspn(text, "\"'>");
        if (*text == '>' || !*text)
            return *text ? text : NULL;
        ++*num_attributes;
        text = strchr(text + 1, *text); // to the other quote
        if (!text)
            return NULL;
        text++;
    }
}

/* The parser holds each attribute of an element against all before it, so their number is bounded
 * before it looks. */
static bool has_sound_elements(const char *text)
{
    int num_attributes;
    for (text = strchr(text, '<'); text; text = strchr(text, '<')) {
        text = skip_markup(text, &num_attributes);
        if (num_attributes > MAX_ATTRIBUTES)
            return false;
        if (!text)
            return true; // the parser says what is wrong
    }
    return true;
}

weft_status weft_xml_parse(const char *text, size_t bytes, const char *name, xmlDoc **document,
                           struct weft_error *error)
{
    if (bytes > INT_MAX)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s: too long for XML", name);
    if (weft_xml_declares_entities(text))
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "%.200s:1: a DOCTYPE with declarations; entities are not read", name);
    if (!has_known_encoding(text))
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "%.200s:1: neither UTF-8, ASCII nor ISO-8859-1", name);
    if (!has_sound_elements(text))
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:1: an element has over %d attributes",
                         name, MAX_ATTRIBUTES);
    xmlParserCtxt *context = xmlNewParserCtxt();
    if (!context)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", name);
    const int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                        XML_PARSE_NOCDATA | XML_PARSE_COMPACT;
    xmlDoc *parsed = xmlCtxtReadMemory(context, text, (int)bytes, NULL, NULL, options);
    weft_status status = WEFT_OK;
    if (!parsed && context->lastError.code == XML_ERR_NO_MEMORY) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", name);
    } else if (!parsed) {
        const char *why = context->lastError.message ? context->lastError.message : "not XML";
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:%d: %.*s", name,
                           context->lastError.line, (int)strcspn(why, "\n"), why);
    }
    xmlFreeParserCtxt(context);
    if (status == WEFT_OK)
        *document = parsed;
    return status;
}

weft_status weft_xml_refuse(const xmlNode *element, const char *name, struct weft_error *error,
                            const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:%ld: <%.40s>: %s", name,
                     xmlGetLineNo(element), (const char *)element->name, reason);
}

const xmlNode *weft_xml_element(const xmlNode *node)
{
    while (node && node->type != XML_ELEMENT_NODE)
        node = node->next;
    return node;
}

bool weft_xml_is(const xmlNode *element, const char *name)
{
    return strcmp((const char *)element->name, name) == 0;
}

const char *weft_xml_text(const xmlNode *element, const char *key)
{
    for (const xmlAttr *a = element->properties; a; a = a->next)
        if (strcmp((const char *)a->name, key) == 0)
            return a->children && a->children->content ? (const char *)a->children->content : "";
    return NULL;
}

weft_status weft_xml_integer(const xmlNode *element, const char *key, int64_t low, int64_t high,
                             const char *name, int64_t *value, struct weft_error *error)
{
    const char *text = weft_xml_text(element, key);
    if (!text)
        return WEFT_OK;
    bool is_hexadecimal = strncmp(text, "0x", 2) == 0;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, is_hexadecimal ? 16 : 10);
    if (errno || end == text || *end || isspace((unsigned char)*text) || number < low ||
        number > high)
        return weft_xml_refuse(element, name, error,
                               "%.40s=\"%.40s\" is no number from %lld to %lld", key, text,
                               (long long)low, (long long)high);
    *value = number;
    return WEFT_OK;
}
