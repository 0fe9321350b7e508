/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Life-cycle events, told to those who subscribed. */
#include "domain-private.h"

struct subscriber {
    unsigned id; /* 0: it has gone */
    domain_event event;
    void *data;
};

unsigned domains_subscribe(struct domains *all, domain_event event, void *data)
{
    struct subscriber *s = g_new0(struct subscriber, 1);

    if (!all->subscribers)
        all->subscribers = g_ptr_array_new_with_free_func(g_free);
    s->id = ++all->next_subscription;
    s->event = event;
    s->data = data;
    g_ptr_array_add(all->subscribers, s);
    return s->id;
}

/* While events are told nobody leaves the list. */
static void sweep(struct domains *all)
{
    if (all->telling)
        return;
    for (guint i = all->subscribers->len; i--;)
        if (!((struct subscriber *)all->subscribers->pdata[i])->id)
            g_ptr_array_remove_index(all->subscribers, i);
}

void domains_unsubscribe(struct domains *all, unsigned id)
{
    if (!all->subscribers)
        return;
    for (guint i = 0; i < all->subscribers->len; i++) {
        struct subscriber *s = all->subscribers->pdata[i];

        if (s->id == id)
            s->id = 0;
    }
    sweep(all);
}

void domains_tell(struct domain *d, int event, int detail)
{
    struct domains *all = d->all;

    if (!all || !all->subscribers)
        return;
    domain_ref(d);
    all->telling++;
    for (guint i = 0; i < all->subscribers->len; i++) {
        struct subscriber *s = all->subscribers->pdata[i];

        if (s->id)
            s->event(d, event, detail, s->data);
    }
    all->telling--;
    sweep(all);
    domain_unref(d);
}

void domains_end_subscriptions(struct domains *all)
{
    g_clear_pointer(&all->subscribers, g_ptr_array_unref);
}
