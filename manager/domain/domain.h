/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains: what the manager knows of its guests, and what it does with them.  This header is all
 * that manager/rpc/ and later callers (the HTTP API) may use of manager/domain/.
 *
 * A domain is persistent (it has a definition on disk), active (a guest process runs), or both.  A
 * guest is a process `trapeze run` of its own, driven by QMP on a Unix socket in the run directory;
 * it outlives the manager, which finds it again in domains_open.  The manager never parses guest
 * data, the guest's process never parses XML.
 *
 * Threads: everything runs on the main loop's thread; nothing here blocks on a guest.  Operations
 * that talk to a guest are jobs: a domain does one at a time, in the order they were asked for, and
 * calls back when it is done or has failed.  A callback comes from the main loop, never from inside
 * the call that asked.  A domain lives as long as somebody holds a reference, though its guest may
 * be gone and its definition, too: then operations fail with MANAGER_ERROR_NO_DOMAIN.
 *
 * Numbers that clients see (states, reasons, events, flags) are libvirt's, from its API reference;
 * strings are UTF-8; memory is in KiB, as in libvirt's API; times are nanoseconds.
 */
#ifndef TRAPEZE_MANAGER_DOMAIN_H
#define TRAPEZE_MANAGER_DOMAIN_H

#include "manager/error.h"

#include <stdbool.h>
#include <stdint.h>

#define DOMAIN_UUID_SIZE 16
#define DOMAIN_NAME_MAX  255 /* bytes of a name: it is part of file names */

struct domains; /* all domains of one manager */
struct domain;  /* one; reference counted */

/* Where one manager keeps its files; the folders are made when missing. */
struct domains_config {
    const char *config_dir; /* NAME.xml, one a persistent domain; autostart/NAME.xml links */
    const char *run_dir;    /* sockets, and the state of active domains */
    const char *log_dir;    /* NAME.log: what each guest's process printed */
    const char *trapeze; /* the program guests are run with, unless their <emulator> says other */
    unsigned start_ms;   /* how long a guest's process may take to answer at its start; 0: 30 s */
};

/* virDomainState */
enum domain_state {
    DOMAIN_NOSTATE,
    DOMAIN_RUNNING,
    DOMAIN_BLOCKED,
    DOMAIN_PAUSED,
    DOMAIN_SHUTDOWN,
    DOMAIN_SHUTOFF,
    DOMAIN_CRASHED,
};

/* There is one manager of a run_dir at a time: an error names the other's process.
 * Reads all definitions and finds the guests that still run, in their true state; a file that does
 * not parse is warned of, left as it is, and its name is kept from being overwritten.  Starting
 * what is marked for autostart is a call of its own (once a boot). */
struct domains *domains_open(const struct domains_config *config, GError **error);
void domains_autostart(struct domains *all);
/* Lets go of everything; guests run on. */
void domains_close(struct domains *all);

/* Lookups: a new reference, or NULL with ERROR set (MANAGER_ERROR_NO_DOMAIN in libvirtd's words).
 */
struct domain *domains_by_name(struct domains *all, const char *name, GError **error);
struct domain *domains_by_uuid(struct domains *all, const uint8_t uuid[DOMAIN_UUID_SIZE],
                               GError **error);
struct domain *domains_by_id(struct domains *all, int id, GError **error);
struct domain *domain_ref(struct domain *d);
void domain_unref(struct domain *d);

/* All domains that FLAGS (virConnectListAllDomainsFlags; 0: all) pick, by name; an array of struct
 * domain * that holds references. */
GPtrArray *domains_list(struct domains *all, unsigned flags);

/* What names a domain on the wire. */
const char *domain_name(const struct domain *d);
const uint8_t *domain_uuid(const struct domain *d);
int domain_id(const struct domain *d); /* -1 when inactive */

/* Ends of jobs: ERROR is NULL on success, else the callee's for the time of the call. */
typedef void (*domain_done)(struct domain *d, const GError *error, void *data);

/* Definition.  XML is a client's; errors name the element and, where it does not parse, the line.
 * FLAGS: VIR_DOMAIN_DEFINE_VALIDATE.  Redefining keeps the guest that runs as it is. */
struct domain *domains_define(struct domains *all, const char *xml, unsigned flags, GError **error);
/* Creates and starts a transient domain.  FLAGS: VIR_DOMAIN_START_*.  DONE gets the new domain, or
 * NULL with an error. */
void domains_create(struct domains *all, const char *xml, unsigned flags, domain_done done,
                    void *data);
bool domain_undefine(struct domain *d, unsigned flags, GError **error);

/* Jobs of the life cycle. */
void domain_start(struct domain *d, unsigned flags, domain_done done, void *data);
void domain_shutdown(struct domain *d, unsigned flags, domain_done done, void *data);
void domain_reboot(struct domain *d, unsigned flags, domain_done done, void *data);
void domain_reset(struct domain *d, domain_done done, void *data);
void domain_destroy(struct domain *d, unsigned flags, domain_done done, void *data);
void domain_suspend(struct domain *d, domain_done done, void *data);
void domain_resume(struct domain *d, domain_done done, void *data);

/* What is known without asking the guest. */
struct domain_info {
    enum domain_state state;
    int reason;                  /* of virDomain*Reason for that state */
    uint64_t max_memory, memory; /* KiB */
    unsigned vcpus;
    uint64_t cpu_time; /* ns, of the guest's process; 0 when inactive */
};
void domain_info(struct domain *d, struct domain_info *info);
bool domain_is_active(const struct domain *d);
bool domain_is_persistent(const struct domain *d);
bool domain_is_updated(const struct domain *d); /* the definition differs from what runs */
const char *domain_os_type(const struct domain *d);
bool domain_autostart(const struct domain *d);
bool domain_set_autostart(struct domain *d, bool on, GError **error);
const char *domain_host_name(const struct domain *d);

/* The domain as XML: live with aliases and addresses when active, else (or with
 * VIR_DOMAIN_XML_INACTIVE) its definition.  Freed with g_free. */
char *domain_xml(struct domain *d, unsigned flags, GError **error);

/* <title>, <description> and <metadata>: TYPE and FLAGS as virDomainGetMetadata's. */
char *domain_metadata(struct domain *d, int type, const char *uri, unsigned flags, GError **error);
bool domain_set_metadata(struct domain *d, int type, const char *value, const char *key,
                         const char *uri, unsigned flags, GError **error);

/* Changes of the definition (VIR_DOMAIN_AFFECT_CONFIG); of a running guest not offered yet:
 * MANAGER_ERROR_OPERATION_INVALID or _NO_SUPPORT as libvirtd's. */
bool domain_set_memory(struct domain *d, uint64_t kib, unsigned flags, GError **error);
bool domain_set_vcpus(struct domain *d, unsigned vcpus, unsigned flags, GError **error);
/* virDomainGetVcpusFlags; -1 with ERROR set. */
int domain_vcpus(struct domain *d, unsigned flags, GError **error);

/* One vCPU of a running guest. */
struct domain_vcpu {
    unsigned number;
    int state;         /* virVcpuState */
    uint64_t cpu_time; /* ns */
    int cpu;           /* the host's, that it ran on last */
    int thread;        /* its thread's id */
};
/* Of all vCPUs, an array of struct domain_vcpu; of an inactive domain
 * MANAGER_ERROR_OPERATION_INVALID. */
GArray *domain_vcpu_list(struct domain *d, GError **error);

/* Statistics that need the guest's answer: block and network counters by device. */
struct domain_disk_stats {
    char target[32]; /* vda */
    char *path;
    uint64_t read_requests, read_bytes, read_ns, write_requests, write_bytes, write_ns;
    uint64_t flush_requests, flush_ns;
    uint64_t allocation, capacity, physical; /* bytes */
};
struct domain_net_stats {
    char name[32]; /* on the host; empty: it has none there, and nothing is counted */
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
    uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
struct domain_stats {
    struct domain_info info;
    uint64_t user_time, system_time; /* ns, of the guest's process */
    uint64_t rss;                    /* KiB */
    GArray *vcpus;                   /* struct domain_vcpu; empty when inactive */
    GArray *disks;                   /* struct domain_disk_stats */
    GArray *nets;                    /* struct domain_net_stats */
};
/* STATS is the callee's for the time of the call, NULL with ERROR set.  A guest that does not
 * answer in time gives what the manager knows by itself. */
typedef void (*domain_stats_done)(struct domain *d, const struct domain_stats *stats,
                                  const GError *error, void *data);
void domain_stats(struct domain *d, domain_stats_done done, void *data);

/* Opens the console or serial device NAME (NULL: the first) of a running guest: a descriptor to be
 * read and written, the caller's.  One client at a time, unless FLAGS has VIR_DOMAIN_CONSOLE_FORCE,
 * which ends the one before (its descriptor reads as ended); domain_console_closed when done. */
int domain_console_open(struct domain *d, const char *name, unsigned flags, GError **error);
void domain_console_closed(struct domain *d, int fd);

/* Life-cycle events: virDomainEventType and its detail, in the order they happened.  A callback may
 * unsubscribe itself or others. */
typedef void (*domain_event)(struct domain *d, int event, int detail, void *data);
unsigned domains_subscribe(struct domains *all, domain_event event, void *data);
void domains_unsubscribe(struct domains *all, unsigned id);

#endif
