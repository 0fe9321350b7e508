/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML as libvirt's clients write and read it: parsing hostile text into a tree, small steps in that
 * tree, and writing it in libvirt's style (single quotes, two spaces a level), because clients and
 * scripts compare what they get.
 */
#ifndef TRAPEZE_MANAGER_XML_H
#define TRAPEZE_MANAGER_XML_H

#include "manager/error.h"

#include <libxml/tree.h>
#include <stdbool.h>

#define XML_SIZE_MAX (1u << 20) /* bytes of a document; libxml2 bounds its depth, by 256 */

/* Parses TEXT, which is called WHAT in messages: "(domain_definition):3: Opening and ending tag
 * mismatch ...", with the line and a mark at the fault, of code MANAGER_ERROR_XML_DETAIL.  Nothing
 * is fetched, document type declarations are refused, comments and blanks between elements are left
 * out.  Freed with xmlFreeDoc. */
xmlDoc *xml_parse(const char *text, const char *what, GError **error);

/* NODE and what is below it as text, its first line indented by LEVEL levels, ending with a line
 * feed.  Children of an element `metadata` are written as they came.  g_free. */
char *xml_format(const xmlNode *node, unsigned level);

/* The first child element NAME without a namespace, or NULL; NODE may be NULL. */
xmlNode *xml_child(const xmlNode *node, const char *name);
/* The next sibling element after NODE that has the same name. */
xmlNode *xml_next(const xmlNode *node);
/* Text of the element or of its attribute NAME; NULL when there is none (or NODE is NULL); g_free.
 */
char *xml_text(const xmlNode *node);
char *xml_attribute(const xmlNode *node, const char *name);
/* Whether attribute NAME of NODE is VALUE. */
bool xml_is(const xmlNode *node, const char *name, const char *value);

/* These replace what was there. */
void xml_set_text(xmlNode *node, const char *text);
void xml_set_attribute(xmlNode *node, const char *name, const char *value);
/* As the element's first attribute. */
void xml_set_first_attribute(xmlNode *node, const char *name, const char *value);
void xml_remove_attribute(xmlNode *node, const char *name);
/* The child NAME of NODE, made when missing. */
xmlNode *xml_make_child(xmlNode *node, const char *name);
xmlNode *xml_add_child(xmlNode *node, const char *name);
/* Removes NODE (NULL is allowed). */
void xml_remove(xmlNode *node);

/* Removes text that stands beside child elements, in NODE and below it: of an XML that has no mixed
 * content it is no part.  `metadata` and elements with a namespace are left alone. */
void xml_drop_text(xmlNode *node);
/* Puts the child elements of NODE in the order of the NULL-terminated ORDER; those that are not in
 * it come last, as they were. */
void xml_sort_children(xmlNode *node, const char *const *order);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

#endif
