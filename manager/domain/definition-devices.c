/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <devices>: in what order, which of them the machine has, and where they stand on its bus. */
#include "definition-private.h"

#include <string.h>

static const char *const devices_order[] = {
    "emulator", "disk",       "controller", "lease",   "filesystem", "interface",   "smartcard",
    "serial",   "parallel",   "console",    "channel", "input",      "tpm",         "graphics",
    "sound",    "audio",      "video",      "hostdev", "redirdev",   "redirfilter", "hub",
    "watchdog", "memballoon", "rng",        "nvram",   "panic",      "shmem",       "memory",
    "iommu",    "vsock",      NULL};

bool definition_is_one_of(const char *value, const char *const *values)
{
    while (*values && strcmp(*values, value))
        values++;
    return *values;
}

/* ---- small devices ---- */

static bool take_controller(struct definition *d, xmlNode *node, GError **error)
{
    static const char *const types[] = {
        "ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci", "xenbus", "isa", NULL};
    int type = definition_choice(node, "type", types, NULL, error);

    if (type < 0)
        return false;
    if (!xml_is(node, "type", "pci") || !xml_is(node, "model", "pcie-root"))
        if (!xml_is(node, "model", "none"))
            definition_ignore(d, "devices/", node);
    return true;
}

static void add_root_bus(xmlNode *devices)
{
    for (xmlNode *n = xml_child(devices, "controller"); n; n = xml_next(n))
        if (xml_is(n, "type", "pci") && xml_is(n, "model", "pcie-root"))
            return;
    xmlNode *root = xml_add_child(devices, "controller");
    xml_set_attribute(root, "type", "pci");
    xml_set_attribute(root, "index", "0");
    xml_set_attribute(root, "model", "pcie-root");
}

static bool take_rng(struct definition *d, xmlNode *node, GError **error)
{
    static const char *const models[] = {"virtio", "virtio-transitional", "virtio-non-transitional",
                                         NULL};
    static const char *const order[] = {"rate", "backend", "driver", "alias", "address", NULL};
    const xmlNode *backend = xml_child(node, "backend");

    if (definition_choice(node, "model", models, NULL, error) < 0)
        return false;
    if (!backend || xml_next(backend)) {
        manager_error_set(error, MANAGER_ERROR_XML, "only one RNG backend is supported");
        return false;
    }
    if (node != xml_child(node->parent, "rng"))
        definition_ignore(d, "devices/", node);
    xml_sort_children(node, order);
    return true;
}

static bool take_balloon(struct definition *d, xmlNode *node, GError **error)
{
    static const char *const models[] = {
        "virtio", "xen", "none", "virtio-transitional", "virtio-non-transitional", NULL};
    int model = definition_choice(node, "model", models, NULL, error);

    if (model < 0)
        return false;
    if (strcmp(models[model], "none"))
        definition_ignore(d, "devices/", node);
    return true;
}

/* ---- the pass over all ---- */

static bool take_device(struct definition *d, xmlNode *node, GError **error)
{
    static const struct {
        const char *name;
        bool (*take)(struct definition *d, xmlNode *node, GError **error);
    } kinds[] = {{"disk", definition_take_disk},
                 {"interface", definition_take_net},
                 {"controller", take_controller},
                 {"rng", take_rng},
                 {"memballoon", take_balloon}};
    static const char *const elsewhere[] = {"emulator", "serial", "console", NULL};

    if (!node->ns) {
        for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
            if (!strcmp((const char *)node->name, kinds[i].name))
                return kinds[i].take(d, node, error);
        if (definition_is_one_of((const char *)node->name, elsewhere))
            return true;
    }
    definition_ignore(d, "devices/", node);
    return true;
}

/* Aliases are a running guest's, but for those that users gave. */
static void forget_aliases(xmlNode *devices)
{
    for (xmlNode *n = devices->children; n; n = n->next) {
        xmlNode *alias = xml_child(n, "alias");
        g_autofree char *name = xml_attribute(alias, "name");

        if (alias && (!name || !g_str_has_prefix(name, "ua-")))
            xml_remove(alias);
    }
}

static int compare_disks(gconstpointer a, gconstpointer b)
{
    g_autofree char *first = xml_attribute(xml_child(*(xmlNode *const *)a, "target"), "dev");
    g_autofree char *second = xml_attribute(xml_child(*(xmlNode *const *)b, "target"), "dev");
    size_t lengths[] = {first ? strlen(first) : 0, second ? strlen(second) : 0};

    if (lengths[0] != lengths[1])
        return lengths[0] < lengths[1] ? -1 : 1;
    return g_strcmp0(first, second);
}

/* The guest finds its disks in the order of their targets. */
static void sort_disks(xmlNode *devices)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new();

    for (xmlNode *n = xml_child(devices, "disk"); n; n = xml_next(n))
        g_ptr_array_add(disks, n);
    g_ptr_array_sort(disks, compare_disks);
    for (guint i = 0; i < disks->len; i++) {
        xmlUnlinkNode(disks->pdata[i]);
        xmlAddChild(devices, disks->pdata[i]);
    }
}

static void set_address(xmlNode *node, unsigned slot)
{
    char text[8];

    xml_remove(xml_child(node, "address"));
    xmlNode *address = xml_add_child(node, "address");
    g_snprintf(text, sizeof text, "0x%02x", slot);
    xml_set_attribute(address, "type", "pci");
    xml_set_attribute(address, "domain", "0x0000");
    xml_set_attribute(address, "bus", "0x00");
    xml_set_attribute(address, "slot", text);
    xml_set_attribute(address, "function", "0x0");
}

/* The machine plugs its devices into the first free slots, in this order (machine/machine.c). */
static void assign_addresses(xmlNode *devices)
{
    unsigned slot = 1;

    for (xmlNode *n = xml_child(devices, "disk"); n; n = xml_next(n))
        if (xml_is(xml_child(n, "target"), "bus", "virtio"))
            set_address(n, slot++);
    for (xmlNode *n = xml_child(devices, "interface"); n; n = xml_next(n))
        set_address(n, slot++);
    if (xml_child(devices, "rng"))
        set_address(xml_child(devices, "rng"), slot);
    slot++; /* the machine has one in any case */
    for (xmlNode *n = xml_child(devices, "console"); n; n = xml_next(n))
        if (xml_is(xml_child(n, "target"), "type", "virtio"))
            set_address(n, slot++);
}

static void free_disk(gpointer data)
{
    struct definition_disk *disk = data;

    g_free(disk->target);
    g_free(disk->path);
    g_free(disk);
}

static void free_net(gpointer data)
{
    struct definition_net *net = data;

    g_free(net->mac);
    g_free(net->forwards);
    g_free(net);
}

void definition_clear_devices(struct definition *d)
{
    g_clear_pointer(&d->disks, g_ptr_array_unref);
    g_clear_pointer(&d->nets, g_ptr_array_unref);
    g_free(d->serial.where);
    g_free(d->console.where);
}

bool definition_take_devices(struct definition *d, xmlNode *devices, unsigned flags, GError **error)
{
    d->disks = g_ptr_array_new_with_free_func(free_disk);
    d->nets = g_ptr_array_new_with_free_func(free_net);
    if (!(flags & DEFINITION_LIVE))
        forget_aliases(devices);
    sort_disks(devices);
    for (xmlNode *n = devices->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !take_device(d, n, error))
            return false;
    if (!definition_take_consoles(d, devices, flags, error))
        return false;
    add_root_bus(devices);
    assign_addresses(devices);
    xml_sort_children(devices, devices_order);
    return true;
}
