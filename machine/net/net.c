/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net.h"
#include "machine/machine.h"

struct net_backend *net_backend_new(struct machine *m, char *const *words,
                                    const struct net_client *client, GError **error)
{
    if (g_strcmp0(words[0], "user") == 0)
        return net_user_new(m, words + 1, client, error);
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--net: no such network: %s; give user or none", words[0] ? words[0] : "");
    return NULL;
}

void net_backend_free(struct net_backend *n)
{
    if (n)
        n->ops->free(n);
}
