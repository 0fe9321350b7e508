/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <serial> and <console>: one serial port, whose twin the first console is, and one virtio console.
 */
#include "definition-private.h"

#include "definition-units.h"

#include <string.h>

static const char *const char_order[] = {"source", "protocol", "target", "log",
                                         "alias",  "address",  NULL};

/* ---- back-ends ---- */

static const char *const types[] = {
    "null", "vc",   "pty",      "dev",       "file", "pipe",         "stdio", "udp",
    "tcp",  "unix", "spicevmc", "spiceport", "nmdm", "qemu-vdagent", "dbus",  NULL};

static bool take_path(struct definition_console *c, const xmlNode *node, const char *prefix,
                      GError **error)
{
    g_autofree char *path = xml_attribute(xml_child(node, "source"), "path");

    if (!path) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL,
                          "Missing source path attribute for char device");
        return false;
    }
    if (!g_path_is_absolute(path))
        c->fault = "the path of its <source> must be absolute";
    c->where = g_strconcat(prefix, path, NULL);
    return true;
}

static bool take_back_end(struct definition_console *c, xmlNode *node, GError **error)
{
    g_autofree char *type = xml_attribute(node, "type");

    if (!type) {
        xml_set_attribute(node, "type", "pty");
        type = g_strdup("pty");
    }
    if (!definition_is_one_of(type, types)) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "unknown type presented to host for character device: %s", type);
        return false;
    }
    if (!strcmp(type, "file"))
        return take_path(c, node, "file:", error);
    if (!strcmp(type, "unix") && xml_is(xml_child(node, "source"), "mode", "bind"))
        return take_path(c, node, "unix:", error);
    c->pty = !strcmp(type, "pty");
    if (c->pty)
        c->where = g_strdup("pty");
    else if (!strcmp(type, "null"))
        c->where = g_strdup("none");
    else
        c->fault = "only type='pty', 'file', 'null', and 'unix' with mode='bind' are supported";
    return true;
}

/* What a running guest's pseudo-terminal added. */
static void forget_pty(xmlNode *node)
{
    xml_remove_attribute(node, "tty");
    if (xml_is(node, "type", "pty") || !xmlHasProp(node, (const xmlChar *)"type"))
        xml_remove(xml_child(node, "source"));
}

/* ---- serial ports ---- */

static void complete_serial(xmlNode *node, unsigned port)
{
    xmlNode *target = xml_make_child(node, "target");
    g_autofree char *number = g_strdup_printf("%u", port);

    if (!xmlHasProp(target, (const xmlChar *)"type"))
        xml_set_first_attribute(target, "type", "isa-serial");
    if (!xmlHasProp(target, (const xmlChar *)"port"))
        xml_set_attribute(target, "port", number);
    if (xml_is(target, "type", "isa-serial") && !xml_child(target, "model"))
        xml_set_attribute(xml_add_child(target, "model"), "name", "isa-serial");
    xml_sort_children(node, char_order);
}

static bool take_serials(struct definition *d, xmlNode *devices, GError **error)
{
    unsigned port = 0;

    for (xmlNode *node = xml_child(devices, "serial"); node; node = xml_next(node), port++) {
        struct definition_console more = {0};

        bool taken = take_back_end(port ? &more : &d->serial, node, error);
        g_free(more.where);
        if (!taken)
            return false;
        complete_serial(node, port);
        if (port)
            d->serial.fault = "there is one serial port at most";
        else if (!xml_is(xml_child(node, "target"), "type", "isa-serial"))
            d->serial.fault = "of its <target> only type='isa-serial' is supported";
    }
    d->serial.present = port > 0;
    return true;
}

/* ---- consoles ---- */

/* Copies the back-end of FROM to TO. */
static void copy_back_end(xmlNode *to, const xmlNode *from)
{
    g_autofree char *type = xml_attribute(from, "type");
    const xmlNode *source = xml_child(from, "source");

    if (type)
        xml_set_first_attribute(to, "type", type);
    xml_remove(xml_child(to, "source"));
    if (source)
        xmlAddChild(to, xmlCopyNode((xmlNode *)source, 1));
}

static bool is_serial_console(const xmlNode *console)
{
    const xmlNode *target = xml_child(console, "target");

    return !target || !xmlHasProp(target, (const xmlChar *)"type") ||
           xml_is(target, "type", "serial");
}

/* The first console is the serial port's twin: whichever there is alone gets the other. */
static void pair_up(xmlNode *devices)
{
    xmlNode *serial = xml_child(devices, "serial"), *console = xml_child(devices, "console");

    if (!serial && console && is_serial_console(console)) {
        serial = xml_add_child(devices, "serial");
        copy_back_end(serial, console);
    }
    if (!serial)
        return;
    if (!console || !is_serial_console(console)) {
        xmlNode *twin = xmlNewDocNode(devices->doc, NULL, (const xmlChar *)"console", NULL);

        if (console)
            xmlAddPrevSibling(console, twin);
        else
            xmlAddChild(devices, twin);
    }
}

static bool complete_console(xmlNode *node, unsigned number, GError **error)
{
    static const char *const targets[] = {"none", "serial", "xen",  "uml",    "virtio",
                                          "lxc",  "openvz", "sclp", "sclplm", NULL};
    xmlNode *target = xml_make_child(node, "target");
    g_autofree char *type = xml_attribute(target, "type");
    g_autofree char *port = g_strdup_printf("%u", number);

    if (type && !definition_is_one_of(type, targets)) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "unknown target type '%s' specified for character device", type);
        return false;
    }
    if (!type)
        xml_set_first_attribute(target, "type", "serial");
    if (!xmlHasProp(target, (const xmlChar *)"port"))
        xml_set_attribute(target, "port", port);
    xml_sort_children(node, char_order);
    return true;
}

static bool take_console(struct definition *d, xmlNode *node, unsigned number, GError **error)
{
    bool twin = is_serial_console(node),
         virtio = xml_is(xml_child(node, "target"), "type", "virtio");

    if (!complete_console(node, number, error))
        return false;
    if (twin && number == 0)
        return true;
    struct definition_console more = {0};
    bool second = d->console.present;
    if (!take_back_end(second ? &more : &d->console, node, error)) {
        g_free(more.where);
        return false;
    }
    g_free(more.where);
    d->console.present = true;
    if (second || !virtio)
        d->console.fault = "beside the serial port's there is one console at most, with "
                           "<target type='virtio'/>";
    return true;
}

bool definition_take_consoles(struct definition *d, xmlNode *devices, unsigned flags,
                              GError **error)
{
    unsigned number = 0;

    if (!(flags & DEFINITION_LIVE)) {
        for (xmlNode *node = xml_child(devices, "serial"); node; node = xml_next(node))
            forget_pty(node);
        for (xmlNode *node = xml_child(devices, "console"); node; node = xml_next(node))
            forget_pty(node);
    }
    pair_up(devices);
    if (!take_serials(d, devices, error))
        return false;
    if (d->serial.present)
        copy_back_end(xml_child(devices, "console"), xml_child(devices, "serial"));
    for (xmlNode *node = xml_child(devices, "console"); node; node = xml_next(node), number++)
        if (!take_console(d, node, number, error))
            return false;
    return true;
}
