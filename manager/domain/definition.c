/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML into a definition: what stands outside <devices>. */
#include "definition-private.h"

#include "definition-units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CPUS_MAX 255

/* The order that libvirt writes. */
static const char *const domain_order[] = {
    "name",      "uuid",    "genid",         "title",       "description", "metadata",
    "maxMemory", "memory",  "currentMemory", "blkiotune",   "memtune",     "memoryBacking",
    "vcpu",      "vcpus",   "iothreads",     "iothreadids", "cputune",     "numatune",
    "resource",  "sysinfo", "bootloader",    "os",          "idmap",       "features",
    "cpu",       "clock",   "on_poweroff",   "on_reboot",   "on_crash",    "on_lockfailure",
    "pm",        "perf",    "devices",       "seclabel",    NULL};
static const char *const os_order[] = {"type",     "firmware", "loader", "nvram", "kernel",
                                       "initrd",   "cmdline",  "dtb",    "root",  "boot",
                                       "bootmenu", "smbios",   "bios",   NULL};

/* What the manager understands, of what may stand in <domain>, or what needs no effect. */
static const char *const understood[] = {
    "name",      "uuid",     "title", "description", "metadata", "memory", "currentMemory",
    "vcpu",      "resource", "os",    "features",    "cpu",      "clock",  "on_poweroff",
    "on_reboot", "on_crash", "pm",    "devices",     NULL};

/* ---- UUIDs ---- */

bool uuid_parse(const char *text, uint8_t uuid[DOMAIN_UUID_SIZE])
{
    unsigned digits = 0;

    for (; *text; text++) {
        int value = g_ascii_xdigit_value(*text);

        if (*text == '-' || g_ascii_isspace(*text))
            continue;
        if (value < 0 || digits == 2 * DOMAIN_UUID_SIZE)
            return false;
        uuid[digits / 2] = (uint8_t)(digits % 2 ? uuid[digits / 2] | value : value << 4);
        digits++;
    }
    return digits == 2 * DOMAIN_UUID_SIZE;
}

void uuid_format(const uint8_t uuid[DOMAIN_UUID_SIZE], char text[37])
{
    static const char hex[] = "0123456789abcdef";
    char *out = text;

    for (unsigned i = 0; i < DOMAIN_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[uuid[i] >> 4];
        *out++ = hex[uuid[i] & 15];
    }
    *out = 0;
}

/* A random one, version 4 (RFC 4122, section 4.4). */
static void uuid_make(uint8_t uuid[DOMAIN_UUID_SIZE])
{
    if (getrandom(uuid, DOMAIN_UUID_SIZE, 0) != DOMAIN_UUID_SIZE)
        g_error("getrandom: %s", g_strerror(errno));
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* ---- pieces ---- */

static int find_string(const char *const *values, const char *value)
{
    for (int i = 0; values[i]; i++)
        if (!strcmp(values[i], value))
            return i;
    return -1;
}

int definition_choice(xmlNode *node, const char *attribute, const char *const *values,
                      const char *initial, GError **error)
{
    g_autofree char *value = xml_attribute(node, attribute);

    if (!value && initial) {
        xml_set_attribute(node, attribute, initial);
        value = g_strdup(initial);
    }
    if (!value) {
        manager_error_set(error, MANAGER_ERROR_XML,
                          "Missing required attribute '%s' in element '%s'", attribute, node->name);
        return -1;
    }
    int found = find_string(values, value);
    if (found < 0)
        manager_error_set(error, MANAGER_ERROR_XML,
                          "Invalid value for attribute '%s' in element '%s': '%s'.", attribute,
                          node->name, value);
    return found;
}

void definition_ignore(struct definition *d, const char *prefix, const xmlNode *node)
{
    g_ptr_array_add(d->ignored, g_strdup_printf("%s%s", prefix, node->name));
}

static bool take_name(struct definition *d, const xmlNode *root, GError **error)
{
    d->name = xml_text(xml_child(root, "name"));
    if (!d->name || !*d->name)
        manager_error_set(error, MANAGER_ERROR_NO_NAME, "missing name information");
    else if (strchr(d->name, '/'))
        manager_error_set(error, MANAGER_ERROR_XML, "name %s cannot contain '/'", d->name);
    else if (strpbrk(d->name, "\n\r"))
        manager_error_set(error, MANAGER_ERROR_XML_DETAIL, "invalid char in name: \n");
    else if (!strcmp(d->name, ".") || !strcmp(d->name, ".."))
        manager_error_set(error, MANAGER_ERROR_XML, "name cannot be '%s'", d->name);
    else
        return true;
    return false;
}

static bool take_uuid(struct definition *d, xmlNode *root, GError **error)
{
    g_autofree char *text = xml_text(xml_child(root, "uuid"));

    if (!text) {
        uuid_make(d->uuid);
    } else if (!uuid_parse(text, d->uuid)) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "malformed uuid element");
        return false;
    }
    uuid_format(d->uuid, d->uuid_text);
    xml_set_text(xml_make_child(root, "uuid"), d->uuid_text);
    return true;
}

/* Elements whose text is theirs alone: an empty one is left out. */
static bool take_title(xmlNode *root, GError **error)
{
    g_autofree char *title = xml_text(xml_child(root, "title"));
    g_autofree char *description = xml_text(xml_child(root, "description"));

    if (title && strchr(title, '\n')) {
        manager_error_set(error, MANAGER_ERROR_XML, "Domain title can't contain newlines");
        return false;
    }
    if (title && !*title)
        xml_remove(xml_child(root, "title"));
    if (description && !*description)
        xml_remove(xml_child(root, "description"));
    return true;
}

static void set_kib(xmlNode *root, const char *name, uint64_t kib)
{
    xmlNode *node = xml_make_child(root, name);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);

    xml_set_attribute(node, "unit", "KiB");
    xml_set_text(node, text);
}

static bool take_memory(struct definition *d, xmlNode *root, GError **error)
{
    if (!units_take_kib(xml_child(root, "memory"), &d->memory, error) ||
        !units_take_kib(xml_child(root, "currentMemory"), &d->current_memory, error))
        return false;
    if (!d->memory) {
        manager_error_set(
            error, MANAGER_ERROR_XML,
            "Memory size must be specified via <memory> or in the <numa> configuration");
        return false;
    }
    if (!d->current_memory || d->current_memory > d->memory)
        d->current_memory = d->memory;
    set_kib(root, "memory", d->memory);
    set_kib(root, "currentMemory", d->current_memory);
    return true;
}

static void write_vcpus(struct definition *d)
{
    xmlNode *node = xml_make_child(xmlDocGetRootElement(d->xml), "vcpu");
    g_autofree char *max = g_strdup_printf("%u", d->vcpus_max);
    g_autofree char *count = g_strdup_printf("%u", d->vcpus);

    if (!xmlHasProp(node, (const xmlChar *)"placement"))
        xml_set_attribute(node, "placement", "static");
    xml_set_text(node, max);
    if (d->vcpus == d->vcpus_max)
        xml_remove_attribute(node, "current");
    else
        xml_set_attribute(node, "current", count);
}

static bool take_vcpus(struct definition *d, xmlNode *root, GError **error)
{
    xmlNode *node = xml_child(root, "vcpu");
    g_autofree char *text = xml_text(node), *current = xml_attribute(node, "current");

    d->vcpus_max = 1;
    if (text && (!units_take_count(text, &d->vcpus_max) || !d->vcpus_max)) {
        manager_error_set(error, MANAGER_ERROR_XML, "maximum vcpus count must be an integer");
        return false;
    }
    d->vcpus = d->vcpus_max;
    if (current && (!units_take_count(current, &d->vcpus) || !d->vcpus)) {
        manager_error_set(error, MANAGER_ERROR_XML, "current vcpus count must be an integer");
        return false;
    }
    if (d->vcpus > d->vcpus_max) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "maximum vCPU count must not be less than current vCPU count");
        return false;
    }
    if (d->vcpus_max > CPUS_MAX) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "Maximum CPUs greater than specified machine type limit %u", CPUS_MAX);
        return false;
    }
    write_vcpus(d);
    return true;
}

/* ---- <os> ---- */

static bool unsupported(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool unsupported(GError **error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED, "%s", text);
    return false;
}

static bool take_os_type(struct definition *d, xmlNode *type, GError **error)
{
    static const char *const others[] = {"xen", "linux", "xenpvh", "exe", "uml", NULL};
    static const char *const arches[] = {"aarch64", "alpha",       "armv6l",  "armv7l",  "i686",
                                         "ia64",    "loongarch64", "m68k",    "mips",    "mips64",
                                         "ppc",     "ppc64",       "ppc64le", "riscv32", "riscv64",
                                         "s390",    "s390x",       NULL};
    g_autofree char *os = xml_text(type), *arch = xml_attribute(type, "arch"),
                    *machine = xml_attribute(type, "machine");

    if (!os || !*os) {
        manager_error_set(error, MANAGER_ERROR_XML, "an os <type> must be specified");
        return false;
    }
    if (find_string(others, os) >= 0)
        return unsupported(error, "Emulator '%s' does not support os type '%s'", d->emulator, os);
    if (strcmp(os, "hvm"))
        return unsupported(error, "unknown OS type '%s'", os);
    if (arch && find_string(arches, arch) >= 0)
        return unsupported(error, "No emulator found for arch '%s'", arch);
    if (arch && strcmp(arch, "x86_64"))
        return unsupported(error, "Unknown architecture %s", arch);
    if (machine && strcmp(machine, DEFINITION_MACHINE))
        return unsupported(error,
                           "Emulator '%s' does not support machine type '%s'; leave it out, or "
                           "give machine='" DEFINITION_MACHINE "'",
                           d->emulator, machine);
    xml_set_attribute(type, "arch", "x86_64");
    xml_set_attribute(type, "machine", DEFINITION_MACHINE);
    return true;
}

static bool take_os(struct definition *d, xmlNode *root, GError **error)
{
    xmlNode *os = xml_child(root, "os");

    if (!take_os_type(d, xml_child(os, "type"), error))
        return false;
    d->kernel = xml_text(xml_child(os, "kernel"));
    d->initrd = xml_text(xml_child(os, "initrd"));
    d->cmdline = xml_text(xml_child(os, "cmdline"));
    if (!xml_child(os, "boot"))
        xml_set_attribute(xml_add_child(os, "boot"), "dev", "hd");
    static const char *const firmware[] = {"loader", "nvram", "firmware", "bootmenu", "bios", NULL};
    for (unsigned i = 0; firmware[i]; i++)
        if (xml_child(os, firmware[i]))
            definition_ignore(d, "os/", xml_child(os, firmware[i]));
    xml_sort_children(os, os_order);
    return true;
}

/* ---- features, clock, life cycle ---- */

static bool take_features(struct definition *d, xmlNode *root, GError **error)
{
    static const char *const known[] = {"acpi",       "apic",         "pae",
                                        "hap",        "hyperv",       "kvm",
                                        "vmport",     "viridian",     "privnet",
                                        "pvspinlock", "capabilities", "pmu",
                                        "gic",        "smm",          "ioapic",
                                        "hpt",        "vmcoreinfo",   "nested-hv",
                                        "htm",        "ccf-assist",   "xen",
                                        "cfpc",       "sbbc",         "ibs",
                                        "msrs",       "tcg",          "async-teardown",
                                        NULL};
    static const char *const effective[] = {"acpi", "apic", "pae", NULL};
    xmlNode *features = xml_child(root, "features");

    for (xmlNode *n = features ? features->children : NULL; n; n = n->next) {
        if (n->type != XML_ELEMENT_NODE)
            continue;
        if (find_string(known, (const char *)n->name) < 0)
            return unsupported(error, "unexpected feature '%s'", n->name);
        if (find_string(effective, (const char *)n->name) < 0)
            definition_ignore(d, "features/", n);
    }
    return true;
}

static bool take_clock(xmlNode *root, GError **error)
{
    static const char *const offsets[] = {"utc",      "localtime", "variable",
                                          "timezone", "absolute",  NULL};
    xmlNode *clock = xml_make_child(root, "clock");
    g_autofree char *offset = xml_attribute(clock, "offset");

    if (!offset)
        xml_set_attribute(clock, "offset", "utc");
    else if (find_string(offsets, offset) < 0)
        return unsupported(error, "unknown clock offset '%s'", offset);
    return true;
}

static bool take_action(xmlNode *root, const char *name, const char *initial,
                        enum definition_action *action, GError **error)
{
    static const char *const values[] = {
        "destroy",          "restart",          "preserve", "rename-restart",
        "coredump-destroy", "coredump-restart", NULL};
    static const enum definition_action actions[] = {ACTION_DESTROY,  ACTION_RESTART,
                                                     ACTION_PRESERVE, ACTION_DESTROY,
                                                     ACTION_DESTROY,  ACTION_RESTART};
    xmlNode *node = xml_make_child(root, name);
    g_autofree char *text = xml_text(node);

    if (!text || !*text) {
        xml_set_text(node, initial);
        g_free(text);
        text = g_strdup(initial);
    }
    int found = find_string(values, text);
    bool crash = !strcmp(name, "on_crash");
    if (found < 0 || (found > 3 && !crash))
        return unsupported(error, "unknown %s action: %s", name, text);
    if (found == 3)
        return unsupported(error, "this driver doesn't support the 'rename-restart' action for "
                                  "'on_reboot'/'on_poweroff'/'on_crash'");
    if (found == ACTION_PRESERVE && !crash)
        return unsupported(error, "this driver doesn't support the 'preserve' action for "
                                  "'on_reboot'/'on_poweroff'");
    *action = actions[found];
    return true;
}

static bool take_actions(struct definition *d, xmlNode *root, GError **error)
{
    return take_action(root, "on_poweroff", "destroy", &d->on_poweroff, error) &&
           take_action(root, "on_reboot", "restart", &d->on_reboot, error) &&
           take_action(root, "on_crash", "destroy", &d->on_crash, error);
}

/* ---- <cpu> ---- */

static bool is_word(const char *text)
{
    return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_.-")];
}

static void add_cpu_features(struct definition *d, const xmlNode *cpu)
{
    for (const xmlNode *f = xml_child(cpu, "feature"); f; f = xml_next(f)) {
        g_autofree char *name = xml_attribute(f, "name"), *policy = xml_attribute(f, "policy");
        bool off = policy && (!strcmp(policy, "disable") || !strcmp(policy, "forbid"));

        if (!name || !is_word(name)) {
            d->cpu_fault = "a <feature> of <cpu> needs a name of letters and digits";
            return;
        }
        char *longer = g_strdup_printf("%s,%c%s", d->cpu, off ? '-' : '+', name);
        g_free(d->cpu);
        d->cpu = longer;
    }
}

bool definition_take_cpu(struct definition *d, const xmlNode *cpu, GError **error)
{
    static const char *const modes[] = {"custom", "host-model", "host-passthrough", "maximum",
                                        NULL};
    g_autofree char *mode = xml_attribute(cpu, "mode"), *model = xml_text(xml_child(cpu, "model"));

    if (mode && find_string(modes, mode) < 0)
        return unsupported(error, "Invalid mode attribute '%s'", mode);
    if (mode && strcmp(mode, "custom"))
        d->cpu = g_strdup("host");
    else if (!model)
        return true; /* the topology alone */
    else if (g_str_has_prefix(model, "trapeze-") && is_word(model))
        d->cpu = g_strdup(model);
    else
        d->cpu_fault = "the <model> of <cpu> must be trapeze-v0 or trapeze-v1; or give "
                       "<cpu mode='host-passthrough'/>, or no <cpu> at all";
    if (d->cpu)
        add_cpu_features(d, cpu);
    return true;
}

/* ---- the whole ---- */

static bool take_type(struct definition *d, xmlNode *root, GError **error)
{
    static const char *const types[] = {"none", "qemu",      "kqemu", "kvm",    "xen",    "lxc",
                                        "uml",  "openvz",    "test",  "vmware", "hyperv", "vbox",
                                        "phyp", "parallels", "bhyve", "vz",     NULL};
    g_autofree char *value = xml_attribute(root, "type");

    /* Other words than for other attributes: libvirtd's. */
    if (!value) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "missing domain type attribute");
        return false;
    }
    int type = find_string(types, value);
    if (type < 0)
        return unsupported(error, "invalid domain type %s", value);
    if (type != 1 && type != 3)
        return unsupported(error, "Emulator '%s' does not support virt type '%s'", d->emulator,
                           types[type]);
    d->software = type == 1;
    return true;
}

static bool take_emulator(struct definition *d, xmlNode *devices, const char *emulator,
                          unsigned flags, GError **error)
{
    d->emulator = xml_text(xml_child(devices, "emulator"));
    if (!d->emulator || !*d->emulator) {
        g_free(d->emulator);
        d->emulator = g_strdup(emulator);
        xml_set_text(xml_make_child(devices, "emulator"), emulator);
    } else if (!(flags & DEFINITION_LIVE) && access(d->emulator, X_OK) < 0) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM, "Cannot check emulator %s: %s", d->emulator,
                          g_strerror(errno));
        return false;
    }
    return true;
}

static void note_unknown(struct definition *d, const xmlNode *root)
{
    for (const xmlNode *n = root->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE &&
            (n->ns || find_string(understood, (const char *)n->name) < 0))
            definition_ignore(d, "", n);
}

static bool validate(const xmlNode *root, GError **error)
{
    for (const xmlNode *n = root->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !n->ns &&
            find_string(domain_order, (const char *)n->name) < 0) {
            manager_error_set(error, MANAGER_ERROR_XML_SCHEMA,
                              "Element domain has extra content: %s", n->name);
            return false;
        }
    return true;
}

static bool take(struct definition *d, const char *emulator, unsigned flags, GError **error)
{
    xmlNode *root = xmlDocGetRootElement(d->xml);

    if (root->ns || strcmp((const char *)root->name, "domain")) {
        manager_error_set(error, MANAGER_ERROR_XML, "expecting root element of 'domain', not '%s'",
                          root->name);
        return false;
    }
    xml_drop_text(root);
    xmlNode *devices = xml_make_child(root, "devices");
    if ((flags & DEFINITION_VALIDATE && !validate(root, error)) || !take_name(d, root, error) ||
        !take_emulator(d, devices, emulator, flags, error) || !take_type(d, root, error) ||
        !take_uuid(d, root, error) || !take_title(root, error) || !take_os(d, root, error) ||
        !take_memory(d, root, error) || !take_vcpus(d, root, error) ||
        !take_features(d, root, error) || !take_clock(root, error) ||
        !take_actions(d, root, error) || !definition_take_cpu(d, xml_child(root, "cpu"), error) ||
        !definition_take_devices(d, devices, flags, error))
        return false;
    if (!(flags & DEFINITION_LIVE))
        xml_remove_attribute(root, "id");
    note_unknown(d, root);
    xml_drop_text(root); /* of elements that were empty but for it */
    xml_sort_children(root, domain_order);
    return true;
}

static struct definition *from_tree(xmlDoc *xml, const char *emulator, unsigned flags,
                                    GError **error)
{
    struct definition *d = g_new0(struct definition, 1);

    d->xml = xml;
    d->ignored = g_ptr_array_new_with_free_func(g_free);
    if (take(d, emulator, flags, error))
        return d;
    definition_free(d);
    return NULL;
}

struct definition *definition_parse(const char *xml, const char *emulator, unsigned flags,
                                    GError **error)
{
    xmlDoc *doc = xml_parse(xml, "domain_definition", error);

    return doc ? from_tree(doc, emulator, flags, error) : NULL;
}

struct definition *definition_copy(const struct definition *d)
{
    return from_tree(xmlCopyDoc(d->xml, 1), d->emulator, DEFINITION_LIVE, NULL);
}

void definition_free(struct definition *d)
{
    if (!d)
        return;
    definition_clear_devices(d);
    xmlFreeDoc(d->xml);
    g_free(d->name);
    g_free(d->kernel);
    g_free(d->initrd);
    g_free(d->cmdline);
    g_free(d->emulator);
    g_free(d->cpu);
    g_ptr_array_unref(d->ignored);
    g_free(d);
}

char *definition_format(const struct definition *d, bool inactive)
{
    if (!inactive)
        return xml_format(xmlDocGetRootElement(d->xml), 0);
    g_autoptr(xmlDoc) copy = xmlCopyDoc(d->xml, 1);
    xml_remove_attribute(xmlDocGetRootElement(copy), "id");
    return xml_format(xmlDocGetRootElement(copy), 0);
}

bool definition_equal(const struct definition *a, const struct definition *b)
{
    g_autofree char *first = definition_format(a, true), *second = definition_format(b, true);

    return !strcmp(first, second);
}

void definition_set_memory(struct definition *d, uint64_t max_kib, uint64_t kib)
{
    xmlNode *root = xmlDocGetRootElement(d->xml);

    d->memory = max_kib;
    d->current_memory = kib;
    set_kib(root, "memory", max_kib);
    set_kib(root, "currentMemory", kib);
}

void definition_set_vcpus(struct definition *d, unsigned max, unsigned count)
{
    d->vcpus_max = max;
    d->vcpus = count;
    write_vcpus(d);
}
