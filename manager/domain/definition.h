/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain's definition: domain XML, checked and completed.  The tree is kept whole, with what is
 * not understood, so that a client finds again what it gave; beside it stand the values that the
 * manager works with.  XML is a client's and hostile; paths, names and numbers in it are checked
 * here once.
 *
 * Completing is what libvirt does when it defines: a UUID and MAC addresses are made, units become
 * KiB, defaults are filled in, devices get their addresses, elements libvirt's order.  So defining
 * what definition_format returned changes nothing.
 *
 * In three steps it is decided what works: definition_parse refuses what no reading could make
 * sense of; what is known and unsupported (a CD-ROM, a bridge) is kept and refused by
 * definition_check_start; what is unknown or without effect here is kept, and named in `ignored`.
 */
#ifndef TRAPEZE_MANAGER_DEFINITION_H
#define TRAPEZE_MANAGER_DEFINITION_H

#include "domain.h"
#include "xml.h"

#define DEFINITION_MACHINE "virt-1"

enum definition_action { ACTION_DESTROY, ACTION_RESTART, ACTION_PRESERVE };

struct definition_disk {
    char *target;      /* vda */
    char *path;        /* of the file or block device; NULL: none */
    const char *fault; /* why it cannot be had, or NULL */
    bool readonly;
};

struct definition_net {
    char *mac;      /* 52:54:00:12:34:56 */
    char *forwards; /* ",forward=..." of `trapeze run --net`, or "" */
    const char *fault;
};

/* The serial port or the virtio console. */
struct definition_console {
    bool present;
    bool pty;
    char *where;       /* of `trapeze run --serial` */
    const char *fault; /* why it cannot be had, or NULL */
};

struct definition {
    xmlDoc *xml;
    char *name;
    uint8_t uuid[DOMAIN_UUID_SIZE];
    char uuid_text[37];
    bool software;           /* type='qemu': the processor in software, else whatever is fastest */
    uint64_t memory;         /* KiB */
    uint64_t current_memory; /* KiB */
    unsigned vcpus_max, vcpus;
    char *kernel, *initrd, *cmdline; /* NULL when not given */
    char *emulator;
    char *cpu; /* of `trapeze run --cpu`; NULL: the default */
    const char *cpu_fault;
    enum definition_action on_poweroff, on_reboot, on_crash;
    GPtrArray *disks; /* struct definition_disk */
    GPtrArray *nets;  /* struct definition_net */
    struct definition_console serial, console;
    GPtrArray *ignored; /* char *: elements without effect, as "devices/foo" */
};

/* virDomainDefineFlags and the like: what definition_parse is to do. */
enum {
    DEFINITION_VALIDATE = 1, /* refuse unknown elements */
    DEFINITION_LIVE = 2,     /* keep id, aliases and ptys: it is a running guest's own */
};

/* Parses XML; EMULATOR is the program that runs guests unless the XML names another.  NULL with
 * ERROR set, in libvirtd's words. */
struct definition *definition_parse(const char *xml, const char *emulator, unsigned flags,
                                    GError **error);
/* A definition of its own, from the tree of D. */
struct definition *definition_copy(const struct definition *d);
void definition_free(struct definition *d);

/* The definition as text; g_free.  INACTIVE leaves out the id. */
char *definition_format(const struct definition *d, bool inactive);
/* Whether two definitions say the same. */
bool definition_equal(const struct definition *a, const struct definition *b);

/* Whether a guest can be made of it; false with ERROR set, which names the element. */
bool definition_check_start(const struct definition *d, GError **error);

/* ---- changes; the tree and the values together ---- */

/* Makes D that of the guest ID: aliases, and the id. */
void definition_make_live(struct definition *d, int id);
/* The back-end of the device with ALIAS (serial0, console0) is the pseudo-terminal PATH. */
void definition_set_pty(struct definition *d, const char *alias, const char *path);
/* Which pseudo-terminal the console NAME (an alias; NULL: the first) has; g_free, NULL with ERROR
 * set. */
char *definition_console_path(const struct definition *d, const char *name, GError **error);

void definition_set_memory(struct definition *d, uint64_t max_kib, uint64_t kib);
void definition_set_vcpus(struct definition *d, unsigned max, unsigned count);

/* As virDomainGetMetadata and virDomainSetMetadata: TYPE 0 description, 1 title, 2 element. */
char *definition_metadata(const struct definition *d, int type, const char *uri, GError **error);
bool definition_set_metadata(struct definition *d, int type, const char *value, const char *key,
                             const char *uri, GError **error);

/* ---- UUIDs ---- */

/* 32 hexadecimal digits with hyphens and blanks between. */
bool uuid_parse(const char *text, uint8_t uuid[DOMAIN_UUID_SIZE]);
void uuid_format(const uint8_t uuid[DOMAIN_UUID_SIZE], char text[37]);

#endif
