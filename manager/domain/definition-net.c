/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <interface>. */
#include "definition-private.h"

#include "definition-units.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define RANGE_MAX    1024        /* ports in one <range> */
#define FORWARDS_MAX (64u << 10) /* bytes of a command line */

static const char *const net_order[] = {
    "mac",   "source", "portForward", "target", "filterref", "model", "driver",  "backend",
    "guest", "script", "mtu",         "link",   "boot",      "alias", "address", NULL};

static bool take_mac(struct definition_net *net, xmlNode *node, GError **error)
{
    xmlNode *mac = xml_make_child(node, "mac");
    g_autofree char *given = xml_attribute(mac, "address");
    unsigned b[6];
    int end = 0;

    if (!given) {
        uint8_t random[3];

        if (getrandom(random, sizeof random, 0) != sizeof random)
            g_error("getrandom failed");
        net->mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", random[0], random[1], random[2]);
    } else if (sscanf(given, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
                      &end) != 6 ||
               given[end]) {
        manager_error_set(error, MANAGER_ERROR_XML, "unable to parse mac address '%s'", given);
        return false;
    } else if (b[0] & 1) {
        manager_error_set(error, MANAGER_ERROR_XML,
                          "expected unicast mac address, found multicast '%s'", given);
        return false;
    } else {
        net->mac =
            g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
    }
    xml_set_attribute(mac, "address", net->mac);
    return true;
}

static bool take_port(const xmlNode *range, const char *name, unsigned initial, unsigned *port)
{
    g_autofree char *text = xml_attribute(range, name);

    *port = initial;
    return (!text || units_take_count(text, port)) && *port > 0 && *port < 65536;
}

/* Adds what <range> says to FORWARDS. */
static bool take_range(GString *forwards, const xmlNode *range, const char *protocol,
                       const char *address)
{
    unsigned start, end, to;

    if (!take_port(range, "start", 0, &start) || !take_port(range, "end", start, &end) ||
        !take_port(range, "to", start, &to) || end < start || end - start > RANGE_MAX ||
        to + (end - start) > 65535)
        return false;
    for (unsigned i = 0; i <= end - start; i++)
        g_string_append_printf(forwards, ",forward=%s:%s:%u-:%u", protocol, address, start + i,
                               to + i);
    return true;
}

static bool take_forwards(struct definition_net *net, const xmlNode *node, GError **error)
{
    GString *forwards = g_string_new(NULL);
    bool fits = true;

    for (const xmlNode *f = xml_child(node, "portForward"); f && fits; f = xml_next(f)) {
        g_autofree char *protocol = xml_attribute(f, "proto"),
                        *address = xml_attribute(f, "address");
        struct in_addr parsed;

        fits = protocol && (!strcmp(protocol, "tcp") || !strcmp(protocol, "udp")) &&
               (!address || inet_pton(AF_INET, address, &parsed) == 1);
        for (const xmlNode *r = xml_child(f, "range"); r && fits; r = xml_next(r))
            fits = forwards->len < FORWARDS_MAX &&
                   take_range(forwards, r, protocol, address ? address : "0.0.0.0");
    }
    net->forwards = g_string_free(forwards, FALSE);
    if (!fits)
        manager_error_set(error, MANAGER_ERROR_XML,
                          "<portForward> needs proto='tcp' or 'udp', an IPv4 address if any, and "
                          "<range start='2222' to='22'/> with ports from 1 to 65535, a "
                          "thousand at most");
    return fits;
}

static bool check_source(const xmlNode *node, const char *type, GError **error)
{
    static const char *const with_source[] = {"bridge", "network", "direct", NULL};

    if (!definition_is_one_of(type, with_source) || xml_child(node, "source"))
        return true;
    manager_error_set(error, MANAGER_ERROR_XML, "interface type='%s' requires a 'source' element",
                      type);
    return false;
}

static bool take(struct definition_net *net, xmlNode *node, GError **error)
{
    static const char *const types[] = {
        "user",     "ethernet", "vhostuser", "server", "client", "mcast", "network", "bridge",
        "internal", "direct",   "hostdev",   "udp",    "vdpa",   "null",  "vds",     NULL};
    int type = definition_choice(node, "type", types, NULL, error);

    if (type < 0 || !check_source(node, types[type], error) || !take_mac(net, node, error) ||
        !take_forwards(net, node, error))
        return false;
    xmlNode *model = xml_make_child(node, "model");
    g_autofree char *name = xml_attribute(model, "type");
    if (!name)
        xml_set_attribute(model, "type", "virtio");
    else if (strcmp(name, "virtio"))
        net->fault = "of its <model> only type='virtio' is supported";
    if (type)
        net->fault = "only interfaces of type='user' are supported";
    xml_sort_children(node, net_order);
    return true;
}

bool definition_take_net(struct definition *d, xmlNode *node, GError **error)
{
    struct definition_net *net = g_new0(struct definition_net, 1);

    g_ptr_array_add(d->nets, net);
    return take(net, node, error);
}
