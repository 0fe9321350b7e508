/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <disk>. */
#include "definition-private.h"

#include <string.h>

#define DISKS_MAX 256

static const char *const disk_order[] = {
    "driver", "auth",    "source",     "backingStore", "geometry",  "blockio", "mirror",
    "target", "iotune",  "readonly",   "shareable",    "transient", "serial",  "wwn",
    "vendor", "product", "encryption", "boot",         "alias",     "address", NULL};

int definition_disk_index(const char *target)
{
    static const char *const prefixes[] = {"fd", "hd", "vd", "sd", "xvd", "ubd", NULL};
    int index = 0;

    for (unsigned i = 0; prefixes[i]; i++)
        if (g_str_has_prefix(target, prefixes[i])) {
            const char *c = target + strlen(prefixes[i]);

            if (!*c)
                return -1;
            for (; g_ascii_islower(*c); c++) {
                index = index * 26 + (*c - 'a') + 1;
                if (index > 26 * 26 * 26)
                    return -1;
            }
            return *c ? -1 : index - 1;
        }
    return -1;
}

/* The bus that a target's name tells. */
static const char *usual_bus(const char *target)
{
    return g_str_has_prefix(target, "vd")    ? "virtio"
           : g_str_has_prefix(target, "hd")  ? "ide"
           : g_str_has_prefix(target, "sd")  ? "sata"
           : g_str_has_prefix(target, "fd")  ? "fdc"
           : g_str_has_prefix(target, "xvd") ? "xen"
                                             : "uml";
}

static bool take_target(struct definition_disk *disk, xmlNode *node, GError **error)
{
    static const char *const buses[] = {"none", "ide", "fdc",  "scsi", "virtio", "xen",
                                        "usb",  "uml", "sata", "sd",   NULL};
    xmlNode *target = xml_child(node, "target");

    disk->target = xml_attribute(target, "dev");
    if (!disk->target || !*disk->target) {
        manager_error_set(error, MANAGER_ERROR_NO_TARGET, "missing target information%s%s",
                          disk->path ? " for device " : "", disk->path ? disk->path : "");
        return false;
    }
    if (definition_disk_index(disk->target) < 0) {
        manager_error_set(error, MANAGER_ERROR_XML,
                          "Unknown disk name '%s' and no address specified", disk->target);
        return false;
    }
    int bus = definition_choice(target, "bus", buses, usual_bus(disk->target), error);
    if (bus < 0)
        return false;
    if (strcmp(buses[bus], "virtio"))
        disk->fault = "of its <target> only bus='virtio' is supported";
    return true;
}

static bool take_driver(struct definition_disk *disk, xmlNode *node, GError **error)
{
    static const char *const formats[] = {"none", "raw",   "dir",  "bochs", "cloop", "dmg",   "iso",
                                          "vpc",  "vdi",   "vhdx", "fat",   "vhd",   "ploop", "cow",
                                          "qcow", "qcow2", "qed",  "vmdk",  NULL};
    xmlNode *driver = xml_make_child(node, "driver");
    g_autofree char *name = xml_attribute(driver, "name"), *type = xml_attribute(driver, "type");

    if (name && strcmp(name, "qemu")) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "unsupported driver name '%s' for disk '%s'", name, disk->target);
        return false;
    }
    if (type && !definition_is_one_of(type, formats)) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "unknown driver format value '%s'", type);
        return false;
    }
    if (!name)
        xml_set_first_attribute(driver, "name", "qemu");
    if (!type)
        xml_set_attribute(driver, "type", "raw");
    else if (strcmp(type, "raw"))
        disk->fault = "of its <driver> only type='raw' is supported";
    return true;
}

static bool take_source(struct definition_disk *disk, xmlNode *node, const char *type)
{
    disk->path = xml_attribute(xml_child(node, "source"), !strcmp(type, "block") ? "dev" : "file");
    if (disk->path && !*disk->path)
        g_clear_pointer(&disk->path, g_free);
    return disk->path;
}

static bool take(struct definition_disk *disk, xmlNode *node, GError **error)
{
    static const char *const types[] = {"file",   "block", "dir",       "network",
                                        "volume", "nvme",  "vhostuser", NULL};
    static const char *const devices[] = {"disk", "cdrom", "floppy", "lun", NULL};
    int type = definition_choice(node, "type", types, "file", error);
    int device = type < 0 ? -1 : definition_choice(node, "device", devices, "disk", error);

    if (device < 0)
        return false;
    bool source = take_source(disk, node, types[type]);
    if (!take_target(disk, node, error))
        return false;
    if (!source && device == 0 && type < 2) {
        manager_error_set(error, MANAGER_ERROR_NO_SOURCE,
                          "missing source information for device %s", disk->target);
        return false;
    }
    if (!take_driver(disk, node, error))
        return false;
    disk->readonly = xml_child(node, "readonly");
    if (type > 1)
        disk->fault = "only disks of type='file' and type='block' are supported";
    if (device)
        disk->fault = "only device='disk' is supported";
    if (disk->path && !disk->fault && !g_path_is_absolute(disk->path))
        disk->fault = "the path of its <source> must be absolute";
    if (disk->path && !disk->fault && g_str_has_suffix(disk->path, ",readonly"))
        disk->fault = "the path of its <source> must not end with ',readonly'";
    xml_sort_children(node, disk_order);
    return true;
}

bool definition_take_disk(struct definition *d, xmlNode *node, GError **error)
{
    struct definition_disk *disk = g_new0(struct definition_disk, 1);

    g_ptr_array_add(d->disks, disk);
    if (d->disks->len > DISKS_MAX) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED, "more than %u disks", DISKS_MAX);
        return false;
    }
    if (!take(disk, node, error))
        return false;
    for (guint i = 0; i + 1 < d->disks->len; i++) {
        const struct definition_disk *other = d->disks->pdata[i];

        if (!strcmp(other->target, disk->target)) {
            manager_error_set(error, MANAGER_ERROR_XML,
                              "target '%s' duplicated for disk sources '%s' and '%s'", disk->target,
                              other->path ? other->path : "", disk->path ? disk->path : "");
            return false;
        }
    }
    return true;
}
