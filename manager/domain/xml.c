/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XML trees on libxml2. */
#include "xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

#define CONTEXT_MAX 80 /* characters of a faulty line that are shown */

/* ---- parsing ---- */

/* What the parser's callbacks find out: the first fault counts. */
struct parse {
    const char *what;
    GError *error;
};

/* The line in which the parser stands, and a mark below its place in it. */
static char *fault_context(const xmlParserCtxt *context)
{
    const xmlParserInput *input = context->input;

    if (!input || !input->base || !input->cur || !*input->base)
        return g_strdup("\n^");
    const char *base = (const char *)input->base, *at = (const char *)input->cur;
    while (at > base && (*at == '\n' || *at == '\r'))
        at--;
    const char *start = at;
    while (start > base && at - start < CONTEXT_MAX && start[-1] != '\n' && start[-1] != '\r')
        start--;
    const char *end = at;
    while (*end && *end != '\n' && *end != '\r' && end - start < CONTEXT_MAX)
        end++;
    at = MIN((const char *)input->cur, end);
    g_autofree char *line = g_strndup(start, (size_t)(end - start));
    g_autofree char *valid = g_utf8_make_valid(line, -1);
    g_autofree char *mark = g_strnfill((size_t)(at - start), '-');
    return g_strdup_printf("\n%s\n%s^", valid, mark);
}

static void on_error(void *data, xmlErrorPtr fault)
{
    xmlParserCtxt *context = data;
    struct parse *p = context->_private;

    if (p->error || fault->level < XML_ERR_ERROR)
        return;
    g_autofree char *message = g_strchomp(g_utf8_make_valid(fault->message, -1));
    g_autofree char *where = fault_context(context);
    manager_error_set(&p->error, MANAGER_ERROR_XML_DETAIL, "(%s):%d: %s%s", p->what, fault->line,
                      message, where);
}

/* A document type could define entities. */
static void on_document_type(void *data, const xmlChar *name, const xmlChar *external,
                             const xmlChar *system)
{
    xmlParserCtxt *context = data;
    struct parse *p = context->_private;

    (void)name, (void)external, (void)system;
    if (!p->error)
        manager_error_set(&p->error, MANAGER_ERROR_XML_DETAIL,
                          "(%s):%d: a document type declaration is not allowed here", p->what,
                          context->input ? context->input->line : 1);
    xmlStopParser(context);
}

static void remove_comments(xmlNode *node)
{
    for (xmlNode *child = node->children, *next; child; child = next) {
        next = child->next;
        if (child->type == XML_ELEMENT_NODE) {
            if (strcmp((const char *)child->name, "metadata"))
                remove_comments(child);
        } else if (child->type != XML_TEXT_NODE) {
            xml_remove(child);
        }
    }
}

xmlDoc *xml_parse(const char *text, const char *what, GError **error)
{
    struct parse p = {what, NULL};
    size_t length = strlen(text);

    if (length > XML_SIZE_MAX) {
        manager_error_set(error, MANAGER_ERROR_XML_DETAIL,
                          "(%s): the document is longer than %u bytes", what, XML_SIZE_MAX);
        return NULL;
    }
    xmlParserCtxt *context = xmlNewParserCtxt();
    if (!context)
        g_error("out of memory"); /* as GLib itself does */
    context->_private = &p;
    context->sax->initialized = XML_SAX2_MAGIC;
    context->sax->serror = on_error;
    context->sax->internalSubset = on_document_type;
    xmlDoc *doc = xmlCtxtReadMemory(context, text, (int)length, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOCDATA);
    xmlFreeParserCtxt(context);
    if (!p.error && (!doc || !xmlDocGetRootElement(doc)))
        manager_error_set(&p.error, MANAGER_ERROR_XML_DETAIL, "(%s):1: Document is empty", what);
    if (p.error) {
        xmlFreeDoc(doc);
        g_propagate_error(error, p.error);
        return NULL;
    }
    remove_comments(xmlDocGetRootElement(doc));
    return doc;
}

/* ---- writing ---- */

/* What C is written as, or NULL: as it is.  Of what is no blank in text, an attribute's reader
 * makes one, unless it is written as a number. */
static const char *escape(char c, bool attribute)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&apos;";
    case '\r':
        return "&#13;";
    case '\n':
        return attribute ? "&#10;" : NULL;
    case '\t':
        return attribute ? "&#9;" : NULL;
    default:
        return NULL;
    }
}

static void append_escaped(GString *out, const xmlChar *text, bool attribute)
{
    for (const char *c = (const char *)text; c && *c; c++) {
        const char *code = escape(*c, attribute);

        if (code)
            g_string_append(out, code);
        else
            g_string_append_c(out, *c);
    }
}

static void append_name(GString *out, const xmlNs *ns, const xmlChar *name)
{
    if (ns && ns->prefix)
        g_string_append_printf(out, "%s:", ns->prefix);
    g_string_append(out, (const char *)name);
}

static void append_tag(GString *out, const xmlNode *node)
{
    g_string_append_c(out, '<');
    append_name(out, node->ns, node->name);
    for (const xmlNs *ns = node->nsDef; ns; ns = ns->next) {
        g_string_append_printf(out, ns->prefix ? " xmlns:%s='" : " xmlns%s='",
                               ns->prefix ? (const char *)ns->prefix : "");
        append_escaped(out, ns->href, true);
        g_string_append_c(out, '\'');
    }
    for (const xmlAttr *a = node->properties; a; a = a->next) {
        xmlChar *value = xmlNodeListGetString(node->doc, a->children, 1);

        g_string_append_c(out, ' ');
        append_name(out, a->ns, a->name);
        g_string_append(out, "='");
        append_escaped(out, value, true);
        g_string_append_c(out, '\'');
        xmlFree(value);
    }
}

static bool has_text(const xmlNode *node)
{
    for (const xmlNode *child = node->children; child; child = child->next)
        if (child->type == XML_TEXT_NODE)
            return true;
    return false;
}

static void indent(GString *out, unsigned level)
{
    for (unsigned i = 0; i < level; i++)
        g_string_append(out, "  ");
}

/* What stands below <metadata> belongs to others. */
static void append_foreign(GString *out, const xmlNode *node, unsigned level)
{
    xmlBuffer *buffer = xmlBufferCreate();

    xmlNodeDump(buffer, node->doc, (xmlNode *)node, (int)level, 1);
    g_string_append(out, (const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
}

/* INLINE: within text, where blanks would count. */
static void append_element(GString *out, const xmlNode *node, unsigned level, bool in_line)
{
    bool foreign = !node->ns && !strcmp((const char *)node->name, "metadata");

    if (!in_line)
        indent(out, level);
    append_tag(out, node);
    if (!node->children) {
        g_string_append(out, "/>");
    } else {
        bool text = in_line || has_text(node);

        g_string_append(out, text ? ">" : ">\n");
        for (const xmlNode *child = node->children; child; child = child->next) {
            if (foreign) {
                if (!text)
                    indent(out, level + 1);
                append_foreign(out, child, level + 1);
                if (!text)
                    g_string_append_c(out, '\n');
            } else if (child->type == XML_TEXT_NODE) {
                append_escaped(out, child->content, false);
            } else if (child->type == XML_ELEMENT_NODE) {
                append_element(out, child, level + 1, text);
            }
        }
        if (!text)
            indent(out, level);
        g_string_append(out, "</");
        append_name(out, node->ns, node->name);
        g_string_append_c(out, '>');
    }
    if (!in_line)
        g_string_append_c(out, '\n');
}

char *xml_format(const xmlNode *node, unsigned level)
{
    GString *out = g_string_new(NULL);

    append_element(out, node, level, false);
    return g_string_free(out, FALSE);
}

/* ---- steps in a tree ---- */

static bool is_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns && !strcmp((const char *)node->name, name);
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    for (xmlNode *child = node ? node->children : NULL; child; child = child->next)
        if (is_element(child, name))
            return child;
    return NULL;
}

xmlNode *xml_next(const xmlNode *node)
{
    for (xmlNode *next = node->next; next; next = next->next)
        if (is_element(next, (const char *)node->name))
            return next;
    return NULL;
}

/* VALUE, which is libxml2's, as GLib's. */
static char *take(xmlChar *value)
{
    char *copy = g_strdup((const char *)value);

    xmlFree(value);
    return copy;
}

char *xml_text(const xmlNode *node)
{
    return node ? take(xmlNodeGetContent(node)) : NULL;
}

char *xml_attribute(const xmlNode *node, const char *name)
{
    return node ? take(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

bool xml_is(const xmlNode *node, const char *name, const char *value)
{
    g_autofree char *is = xml_attribute(node, name);

    return !g_strcmp0(is, value);
}

void xml_set_text(xmlNode *node, const char *text)
{
    xmlNode *child = xmlNewDocText(node->doc, (const xmlChar *)text);

    while (node->children)
        xml_remove(node->children);
    xmlAddChild(node, child);
}

void xml_set_attribute(xmlNode *node, const char *name, const char *value)
{
    xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

void xml_set_first_attribute(xmlNode *node, const char *name, const char *value)
{
    xml_remove_attribute(node, name);
    xmlAttr *first = node->properties;
    xmlAttr *a = xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);

    if (!first || !a)
        return;
    a->prev->next = NULL;
    a->prev = NULL;
    a->next = first;
    first->prev = a;
    node->properties = a;
}

void xml_remove_attribute(xmlNode *node, const char *name)
{
    xmlUnsetProp(node, (const xmlChar *)name);
}

xmlNode *xml_add_child(xmlNode *node, const char *name)
{
    return xmlNewChild(node, NULL, (const xmlChar *)name, NULL);
}

xmlNode *xml_make_child(xmlNode *node, const char *name)
{
    xmlNode *child = xml_child(node, name);

    return child ? child : xml_add_child(node, name);
}

void xml_remove(xmlNode *node)
{
    if (!node)
        return;
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

static bool has_elements(const xmlNode *node)
{
    for (const xmlNode *child = node->children; child; child = child->next)
        if (child->type == XML_ELEMENT_NODE)
            return true;
    return false;
}

void xml_drop_text(xmlNode *node)
{
    bool drop = has_elements(node);

    if (node->ns || is_element(node, "metadata"))
        return;
    for (xmlNode *child = node->children, *next; child; child = next) {
        next = child->next;
        if (child->type == XML_ELEMENT_NODE)
            xml_drop_text(child);
        else if (drop)
            xml_remove(child);
    }
}

static unsigned rank(const xmlNode *node, const char *const *order)
{
    unsigned i = 0;

    while (order[i] && !is_element(node, order[i]))
        i++;
    return i;
}

void xml_sort_children(xmlNode *node, const char *const *order)
{
    unsigned ranks = g_strv_length((char **)order) + 1;
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);

    for (unsigned r = 0; r < ranks; r++)
        g_ptr_array_add(lists, g_ptr_array_new());
    for (xmlNode *child = node->children; child; child = child->next)
        g_ptr_array_add(lists->pdata[rank(child, order)], child);
    for (unsigned r = 0; r < ranks; r++) {
        const GPtrArray *list = lists->pdata[r];

        for (guint i = 0; i < list->len; i++) {
            xmlUnlinkNode(list->pdata[i]);
            xmlAddChild(node, list->pdata[i]);
        }
    }
}
