/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A definition that runs, and changes of one. */
#include "definition-private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static xmlNode *devices_of(const struct definition *d)
{
    return xml_child(xmlDocGetRootElement(d->xml), "devices");
}

/* ---- may it start? ---- */

static bool check_file(const char *path, int mode, GError **error)
{
    if (access(path, mode) == 0)
        return true;
    manager_error_set(error, MANAGER_ERROR_SYSTEM, "Cannot access storage file '%s': %s", path,
                      g_strerror(errno));
    return false;
}

static bool refuse(GError **error, const char *element, const char *fault)
{
    manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED, "%s: %s", element, fault);
    return false;
}

static bool check_disks(const struct definition *d, GError **error)
{
    for (guint i = 0; i < d->disks->len; i++) {
        const struct definition_disk *disk = d->disks->pdata[i];
        g_autofree char *element = g_strdup_printf("<disk> '%s'", disk->target);

        if (disk->fault)
            return refuse(error, element, disk->fault);
        if (!check_file(disk->path, disk->readonly ? R_OK : R_OK | W_OK, error))
            return false;
    }
    return true;
}

static bool check_nets(const struct definition *d, GError **error)
{
    for (guint i = 0; i < d->nets->len; i++) {
        const struct definition_net *net = d->nets->pdata[i];
        g_autofree char *element = g_strdup_printf("<interface> '%s'", net->mac);

        if (net->fault)
            return refuse(error, element, net->fault);
    }
    return true;
}

bool definition_check_start(const struct definition *d, GError **error)
{
    if (!d->kernel)
        return refuse(error, "<os>",
                      "there is no firmware to boot a disk with: give the guest's <kernel> and "
                      "<initrd>");
    if (!g_path_is_absolute(d->kernel) || (d->initrd && !g_path_is_absolute(d->initrd)))
        return refuse(error, "<os>", "the paths of <kernel> and <initrd> must be absolute");
    if (d->cpu_fault)
        return refuse(error, "<cpu>", d->cpu_fault);
    if (d->serial.fault)
        return refuse(error, "<serial>", d->serial.fault);
    if (d->console.fault)
        return refuse(error, "<console>", d->console.fault);
    return check_disks(d, error) && check_nets(d, error);
}

/* ---- live ---- */

static void set_alias(xmlNode *node, const char *format, unsigned number)
{
    char name[32];

    if (xml_child(node, "alias"))
        return;
    g_snprintf(name, sizeof name, format, number);
    xmlNode *alias = xml_add_child(node, "alias");
    xmlNode *address = xml_child(node, "address");
    xml_set_attribute(alias, "name", name);
    if (address) {
        xmlUnlinkNode(alias);
        xmlAddPrevSibling(address, alias);
    }
}

static void set_disk_aliases(xmlNode *devices)
{
    for (xmlNode *n = xml_child(devices, "disk"); n; n = xml_next(n)) {
        g_autofree char *target = xml_attribute(xml_child(n, "target"), "dev");

        set_alias(n, "virtio-disk%u", (unsigned)definition_disk_index(target));
    }
}

void definition_make_live(struct definition *d, int id)
{
    static const struct {
        const char *element, *alias;
    } kinds[] = {{"interface", "net%u"},
                 {"serial", "serial%u"},
                 {"rng", "rng%u"},
                 {"memballoon", "balloon%u"}};
    g_autofree char *text = g_strdup_printf("%d", id);
    xmlNode *devices = devices_of(d);
    unsigned number = 0;

    xml_set_attribute(xmlDocGetRootElement(d->xml), "id", text);
    set_disk_aliases(devices);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++, number = 0)
        for (xmlNode *n = xml_child(devices, kinds[i].element); n; n = xml_next(n))
            set_alias(n, kinds[i].alias, number++);
    for (xmlNode *n = xml_child(devices, "console"); n; n = xml_next(n), number++)
        set_alias(n, number == 0 && d->serial.present ? "serial%u" : "console%u", number);
    for (xmlNode *n = xml_child(devices, "controller"); n; n = xml_next(n))
        if (xml_is(n, "model", "pcie-root"))
            set_alias(n, "pcie.%u", 0);
}

static void set_pty(xmlNode *node, const char *path, bool console)
{
    xmlNode *source = xml_child(node, "source");

    if (!source) {
        source = xmlNewDocNode(node->doc, NULL, (const xmlChar *)"source", NULL);
        if (node->children)
            xmlAddPrevSibling(node->children, source);
        else
            xmlAddChild(node, source);
    }
    xml_set_attribute(source, "path", path);
    if (console)
        xml_set_attribute(node, "tty", path);
}

void definition_set_pty(struct definition *d, const char *alias, const char *path)
{
    for (xmlNode *n = devices_of(d)->children; n; n = n->next) {
        bool console = !strcmp((const char *)n->name, "console");

        if ((console || !strcmp((const char *)n->name, "serial")) && xml_is(n, "type", "pty") &&
            xml_is(xml_child(n, "alias"), "name", alias))
            set_pty(n, path, console);
    }
}

char *definition_console_path(const struct definition *d, const char *name, GError **error)
{
    static const char *const kinds[] = {"console", "serial"};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
        for (xmlNode *n = xml_child(devices_of(d), kinds[i]); n; n = xml_next(n)) {
            g_autofree char *alias = xml_attribute(xml_child(n, "alias"), "name");

            if (name && g_strcmp0(alias, name))
                continue;
            char *path = xml_attribute(xml_child(n, "source"), "path");
            if (path && xml_is(n, "type", "pty"))
                return path;
            g_free(path);
            manager_error_set(error, MANAGER_ERROR_INTERNAL,
                              "character device %s is not using a PTY", alias ? alias : "");
            return NULL;
        }
    manager_error_set(error, MANAGER_ERROR_INTERNAL, "cannot find character device %s",
                      name ? name : "(null)");
    return NULL;
}

/* ---- title, description, metadata ---- */

enum { METADATA_DESCRIPTION, METADATA_TITLE, METADATA_ELEMENT };

/* The element of METADATA that belongs to URI. */
static xmlNode *find_metadata(const struct definition *d, const char *uri)
{
    xmlNode *metadata = xml_child(xmlDocGetRootElement(d->xml), "metadata");

    for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && n->ns && n->ns->href &&
            !strcmp((const char *)n->ns->href, uri))
            return n;
    return NULL;
}

/* Takes namespace URI from NODE and what is below it. */
static void drop_namespace(xmlNode *node, const char *uri)
{
    if (node->type != XML_ELEMENT_NODE)
        return;
    if (node->ns && node->ns->href && !strcmp((const char *)node->ns->href, uri))
        node->ns = NULL;
    for (xmlNode *child = node->children; child; child = child->next)
        drop_namespace(child, uri);
}

static char *metadata_element(const xmlNode *node, const char *uri)
{
    g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *copy = xmlDocCopyNode((xmlNode *)node, doc, 1);
    xmlBuffer *buffer = xmlBufferCreate();

    xmlDocSetRootElement(doc, copy);
    drop_namespace(copy, uri);
    for (xmlNs **ns = &copy->nsDef; *ns;) {
        xmlNs *this = *ns;

        if (!this->href || strcmp((const char *)this->href, uri)) {
            ns = &this->next;
            continue;
        }
        *ns = this->next;
        this->next = NULL;
        xmlFreeNs(this);
    }
    xmlNodeDump(buffer, doc, copy, 0, 0);
    char *text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

char *definition_metadata(const struct definition *d, int type, const char *uri, GError **error)
{
    const xmlNode *root = xmlDocGetRootElement(d->xml), *node = NULL;
    char *text = NULL;

    if (type == METADATA_DESCRIPTION) {
        text = xml_text(xml_child(root, "description"));
    } else if (type == METADATA_TITLE) {
        text = xml_text(xml_child(root, "title"));
    } else if (type == METADATA_ELEMENT) {
        node = uri ? find_metadata(d, uri) : NULL;
        text = node ? metadata_element(node, uri) : NULL;
    } else {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "unknown metadata type '%d'",
                          type);
        return NULL;
    }
    if (!text)
        manager_error_set(error, MANAGER_ERROR_NO_METADATA,
                          "Requested metadata element is not present");
    return text;
}

/* Puts NODE and what is below it, as far as it has no namespace, into NS. */
static void adopt_namespace(xmlNode *node, xmlNs *ns)
{
    if (node->type != XML_ELEMENT_NODE)
        return;
    if (!node->ns)
        node->ns = ns;
    for (xmlNode *child = node->children; child; child = child->next)
        adopt_namespace(child, ns);
}

static bool set_element(struct definition *d, const char *value, const char *key, const char *uri,
                        GError **error)
{
    xmlNode *root = xmlDocGetRootElement(d->xml);
    g_autoptr(xmlDoc) doc = NULL;

    if (!uri || (value && (!key || xmlValidateNCName((const xmlChar *)key, 0)))) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "metadata needs a namespace: its URI, and a key that can be a prefix");
        return false;
    }
    if (value && !(doc = xml_parse(value, "metadata_xml", error)))
        return false;
    xml_remove(find_metadata(d, uri));
    xmlNode *metadata = xml_child(root, "metadata");
    if (!value) {
        if (metadata && !metadata->children)
            xml_remove(metadata);
        return true;
    }
    if (!metadata) {
        xmlNode *after = xml_child(root, "description");

        after = after ? after : xml_child(root, "title");
        after = after ? after : xml_child(root, "uuid");
        metadata = xmlNewDocNode(d->xml, NULL, (const xmlChar *)"metadata", NULL);
        xmlAddNextSibling(after, metadata);
    }
    xmlNode *copy = xmlDocCopyNode(xmlDocGetRootElement(doc), d->xml, 1);
    xmlNs *ns = xmlNewNs(copy, (const xmlChar *)uri, (const xmlChar *)key);
    if (!ns) {
        xmlFreeNode(copy);
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "the metadata defines the prefix '%s' already", key);
        return false;
    }
    adopt_namespace(copy, ns);
    xmlAddChild(metadata, copy);
    return true;
}

static void set_text(struct definition *d, const char *name, const char *value)
{
    xmlNode *root = xmlDocGetRootElement(d->xml), *node = xml_child(root, name);

    if (!value || !*value) {
        xml_remove(node);
        return;
    }
    if (!node) {
        xmlNode *title = xml_child(root, "title");

        node = xmlNewDocNode(d->xml, NULL, (const xmlChar *)name, NULL);
        xmlAddNextSibling(title ? title : xml_child(root, "uuid"), node);
    }
    xml_set_text(node, value);
}

bool definition_set_metadata(struct definition *d, int type, const char *value, const char *key,
                             const char *uri, GError **error)
{
    if (type == METADATA_DESCRIPTION) {
        set_text(d, "description", value);
        return true;
    }
    if (type == METADATA_TITLE) {
        if (value && strchr(value, '\n')) {
            g_set_error_literal(error, MANAGER_ERROR, MANAGER_ERROR_INVALID_ARGUMENT,
                                "metadata title can't contain newlines");
            return false;
        }
        set_text(d, "title", value);
        return true;
    }
    if (type == METADATA_ELEMENT)
        return set_element(d, value, key, uri, error);
    manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "unknown metadata type '%d'", type);
    return false;
}
