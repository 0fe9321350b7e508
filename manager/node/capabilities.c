/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host and its guests can be, as XML. */
#include "manager/node/node-private.h"

#include <libxml/xmlwriter.h>
#include <string.h>

#define ARCHITECTURE "x86_64"

/* A writer of XML into memory.  Writing there fails only without memory, when GLib ends the program
 * elsewhere, too: so results are not looked at one by one. */
struct document {
    xmlBuffer *buffer;
    xmlTextWriter *writer;
};

static void begin(struct document *d)
{
    d->buffer = xmlBufferCreate();
    d->writer = d->buffer ? xmlNewTextWriterMemory(d->buffer, 0) : NULL;
    if (!d->writer)
        g_error("no memory for an XML document");
    xmlTextWriterSetQuoteChar(d->writer, '\'');
    xmlTextWriterSetIndent(d->writer, 1);
    xmlTextWriterSetIndentString(d->writer, BAD_CAST "  ");
}

static char *end(struct document *d)
{
    xmlTextWriterEndDocument(d->writer);
    xmlFreeTextWriter(d->writer);
    char *text = g_strdup((const char *)xmlBufferContent(d->buffer));
    xmlBufferFree(d->buffer);
    return text;
}

static void open_element(struct document *d, const char *name)
{
    xmlTextWriterStartElement(d->writer, BAD_CAST name);
}

static void close_element(struct document *d)
{
    xmlTextWriterEndElement(d->writer);
}

static void attribute(struct document *d, const char *name, const char *value)
{
    xmlTextWriterWriteAttribute(d->writer, BAD_CAST name, BAD_CAST value);
}

static void attribute_number(struct document *d, const char *name, uint64_t value)
{
    xmlTextWriterWriteFormatAttribute(d->writer, BAD_CAST name, "%llu", (unsigned long long)value);
}

static void text(struct document *d, const char *name, const char *value)
{
    xmlTextWriterWriteElement(d->writer, BAD_CAST name, BAD_CAST value);
}

/* An element without content; its attributes are written by the caller before close_element. */
static void flag(struct document *d, const char *name, const char *key, const char *value)
{
    open_element(d, name);
    attribute(d, key, value);
    close_element(d);
}

static void host_cpu(struct document *d, const struct node *n)
{
    g_autofree char *cpuinfo = NULL;
    struct node_info info;

    g_file_get_contents("/proc/cpuinfo", &cpuinfo, NULL, NULL);
    bool amd = cpuinfo && (strstr(cpuinfo, "AuthenticAMD") || strstr(cpuinfo, "HygonGenuine"));
    bool avx2 = cpuinfo && strstr(cpuinfo, " avx2");
    node_info(n, &info);
    open_element(d, "cpu");
    text(d, "arch", ARCHITECTURE);
    text(d, "model", avx2 ? "trapeze-v1" : "trapeze-v0");
    text(d, "vendor", amd ? "AMD" : "Intel");
    open_element(d, "topology");
    attribute_number(d, "sockets", info.sockets);
    attribute_number(d, "dies", 1);
    attribute_number(d, "cores", info.cores);
    attribute_number(d, "threads", info.threads);
    close_element(d);
    open_element(d, "pages");
    attribute(d, "unit", "KiB");
    attribute_number(d, "size", 4);
    close_element(d);
    close_element(d);
}

static void host_topology(struct document *d, const struct node *n)
{
    g_autoptr(GArray) cpus = node_cpus();
    struct node_info info;

    node_info(n, &info);
    open_element(d, "topology");
    open_element(d, "cells");
    attribute_number(d, "num", 1);
    open_element(d, "cell");
    attribute_number(d, "id", 0);
    open_element(d, "memory");
    attribute(d, "unit", "KiB");
    xmlTextWriterWriteFormatString(d->writer, "%llu", (unsigned long long)info.memory);
    close_element(d);
    open_element(d, "cpus");
    attribute_number(d, "num", cpus->len);
    for (unsigned i = 0; i < cpus->len; i++) {
        const struct node_cpu *c = &g_array_index(cpus, struct node_cpu, i);
        open_element(d, "cpu");
        attribute_number(d, "id", (unsigned)c->id);
        attribute_number(d, "socket_id", (unsigned)c->socket);
        attribute_number(d, "die_id", 0);
        attribute_number(d, "core_id", (unsigned)c->core);
        attribute_number(d, "siblings", (unsigned)c->id);
        close_element(d);
    }
    close_element(d);
    close_element(d);
    close_element(d);
    close_element(d);
}

static void guest(struct document *d, const struct node *n)
{
    open_element(d, "guest");
    text(d, "os_type", "hvm");
    open_element(d, "arch");
    attribute(d, "name", ARCHITECTURE);
    text(d, "wordsize", "64");
    text(d, "emulator", n->emulator);
    open_element(d, "machine");
    attribute_number(d, "maxCpus", NODE_VCPUS_MAX);
    xmlTextWriterWriteString(d->writer, BAD_CAST "virt-1");
    close_element(d);
    flag(d, "domain", "type", "qemu");
    if (n->has_kvm)
        flag(d, "domain", "type", "kvm");
    close_element(d);
    open_element(d, "features");
    open_element(d, "acpi");
    attribute(d, "default", "on");
    attribute(d, "toggle", "no");
    close_element(d);
    open_element(d, "apic");
    attribute(d, "default", "on");
    attribute(d, "toggle", "no");
    close_element(d);
    close_element(d);
    close_element(d);
}

char *node_capabilities(const struct node *n)
{
    struct document d;

    begin(&d);
    open_element(&d, "capabilities");
    open_element(&d, "host");
    text(&d, "uuid", n->uuid);
    host_cpu(&d, n);
    host_topology(&d, n);
    open_element(&d, "secmodel");
    text(&d, "model", "none");
    text(&d, "doi", "0");
    close_element(&d);
    close_element(&d);
    guest(&d, n);
    close_element(&d);
    return end(&d);
}

static void enumeration(struct document *d, const char *name, const char *const *values)
{
    open_element(d, "enum");
    attribute(d, "name", name);
    for (; *values; values++)
        text(d, "value", *values);
    close_element(d);
}

/* A device that guests can have: VALUES of its attribute NAME. */
static void device(struct document *d, const char *element, const char *name,
                   const char *const *values)
{
    open_element(d, element);
    attribute(d, "supported", "yes");
    enumeration(d, name, values);
    close_element(d);
}

static bool wrong(GError **error, const char *what, const char *value)
{
    manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "%s: %s", what, value);
    return false;
}

static bool check(const struct node *n, const char *arch, const char *type, GError **error)
{
    if (arch && strcmp(arch, ARCHITECTURE))
        return wrong(error, "unknown architecture", arch);
    if (!type || !strcmp(type, "qemu") || (!strcmp(type, "kvm") && n->has_kvm))
        return true;
    if (strcmp(type, "kvm"))
        return wrong(error, "unknown virttype", type);
    manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                      "KVM is not supported on this host: /dev/kvm does not answer");
    return false;
}

char *node_domain_capabilities(const struct node *n, const char *emulator, const char *arch,
                               const char *machine, const char *type, GError **error)
{
    static const char *const disks[] = {"disk", NULL}, *const buses[] = {"virtio", NULL},
                             *const none[] = {NULL};
    struct document d;

    if (!check(n, arch, type, error))
        return NULL;
    begin(&d);
    open_element(&d, "domainCapabilities");
    text(&d, "path", emulator ? emulator : n->emulator);
    text(&d, "domain", type ? type : n->has_kvm ? "kvm" : "qemu");
    text(&d, "machine", machine ? machine : "virt-1");
    text(&d, "arch", ARCHITECTURE);
    open_element(&d, "vcpu");
    attribute_number(&d, "max", NODE_VCPUS_MAX);
    close_element(&d);
    open_element(&d, "os");
    attribute(&d, "supported", "yes");
    enumeration(&d, "firmware", none);
    flag(&d, "loader", "supported", "no");
    close_element(&d);
    open_element(&d, "cpu");
    open_element(&d, "mode");
    attribute(&d, "name", "host-passthrough");
    attribute(&d, "supported", "yes");
    close_element(&d);
    close_element(&d);
    open_element(&d, "devices");
    open_element(&d, "disk");
    attribute(&d, "supported", "yes");
    enumeration(&d, "diskDevice", disks);
    enumeration(&d, "bus", buses);
    close_element(&d);
    flag(&d, "graphics", "supported", "no");
    flag(&d, "video", "supported", "no");
    flag(&d, "hostdev", "supported", "no");
    device(&d, "rng", "model", buses);
    close_element(&d);
    open_element(&d, "features");
    flag(&d, "gic", "supported", "no");
    flag(&d, "vmcoreinfo", "supported", "no");
    flag(&d, "genid", "supported", "no");
    flag(&d, "sev", "supported", "no");
    close_element(&d);
    close_element(&d);
    return end(&d);
}
