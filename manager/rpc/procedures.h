/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The procedures of libvirt's protocol: one table, number to name, arguments, rights and handler.
 * docs/contributing.md says how to add one.
 */
#ifndef TRAPEZE_MANAGER_PROCEDURES_H
#define TRAPEZE_MANAGER_PROCEDURES_H

#include "manager/rpc/client.h"

enum procedure_flags {
    PROCEDURE_CHANGES = 1, /* not for read-only clients */
    PROCEDURE_EARLY = 2,   /* allowed before virConnectOpen */
};

struct procedure {
    const char *name;      /* of libvirt's API: errors name it */
    const char *arguments; /* xdr.h's signature */
    unsigned flags;
    /* One of them, or neither: a function that is not supported.  NOW returns false with ERROR set,
     * or true with the reply written; LATER ends the call itself. */
    bool (*now)(struct call *call, GError **error);
    void (*later)(struct call *call);
};

/* The row, or NULL when no client is known to call that number. */
const struct procedure *procedure_find(uint32_t program, uint32_t number);

/* Handlers, by family: what they answer is libvirt's API reference under the row's name. */
typedef bool procedure_now(struct call *call, GError **error);
typedef void procedure_later(struct call *call);

/* procedures-connect.c: the connection, the node */
procedure_now connect_auth_list, connect_open, connect_close, connect_feature, connect_type,
    connect_version, connect_library_version, connect_hostname, connect_uri, connect_yes,
    connect_close_callback, connect_max_vcpus, connect_capabilities, connect_domain_capabilities,
    node_get_info, node_get_free_memory, node_get_cells_free_memory, node_get_cpu_stats,
    node_get_memory_stats, node_get_cpu_map, node_get_security_model;

/* procedures-list.c: lists and lookups; of what there is none of yet, empty ones */
procedure_now list_all_domains, list_number, list_ids, list_defined_number, list_defined_names,
    lookup_name, lookup_uuid, lookup_id, none_count, none_names, none_listed, no_network_name,
    no_network_uuid, no_pool_name, no_pool_uuid, no_volume_path;

/* procedures-life.c: the life cycle */
procedure_now define, define_flags, undefine, undefine_flags;
procedure_later create_xml, start, start_flags, destroy, destroy_flags, stop, stop_flags, reboot,
    reset, suspend, resume;

/* procedures-config.c: what a domain is, and its configuration */
procedure_now get_xml, get_info, get_state, get_control, get_job_info, get_job_stats, get_os_type,
    get_max_memory, get_max_vcpus, get_vcpus, get_vcpu_pins, get_vcpu_count, get_autostart,
    set_autostart, is_active, is_persistent, is_updated, set_memory, set_memory_flags,
    set_max_memory, set_vcpus, set_vcpus_flags, get_metadata, set_metadata, get_security_label,
    get_messages, has_nothing;

/* procedures-stats.c: what running guests say of themselves */
procedure_later get_all_stats, get_block_stats, get_block_stats_flags, get_block_info,
    get_interface_stats, get_memory_stats;

/* procedures-stream.c: consoles and events */
procedure_now open_console, event_register, event_deregister;

#endif
