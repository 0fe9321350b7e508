/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guests' monitors tell by themselves, and what is done about it. */
#include "domain-private.h"

#include <string.h>

/* ---- power-off ---- */

static void on_reset_answer(json_t *value, const GError *error, void *data)
{
    struct domain *d = data;

    if (value || d->phase != GUEST_UP)
        return;
    g_warning("domain '%s': it cannot be reset: %s", d->name, error->message);
    guest_kill(d);
}

void guest_powered_off(struct domain *d, bool by_reset)
{
    enum definition_action action = by_reset ? d->live->on_reboot : d->live->on_poweroff;
    bool restart = !d->destroyed && (action == ACTION_RESTART ||
                                     (d->reboot_wanted && d->live->on_reboot == ACTION_RESTART));

    d->shut_down = true;
    if (restart) {
        d->reboot_wanted = false;
        state_write(d, NULL);
        qmp_command(d->qmp, "system_reset", NULL, QMP_TIMEOUT_MS, on_reset_answer, d);
        return; /* on_reset goes on */
    }
    guest_set_state(d, DOMAIN_SHUTDOWN, 1);
    domains_tell(d, EVENT_SHUTDOWN, SHUTDOWN_GUEST);
    guest_quit(d);
}

/* ---- events ---- */

static void on_shutdown(struct domain *d, const json_t *detail)
{
    const char *reason = json_string_value(json_object_get(detail, "reason"));

    if (d->phase != GUEST_UP || d->shut_down)
        return;
    if (json_is_true(json_object_get(detail, "guest"))) {
        guest_powered_off(d, reason && !strcmp(reason, "guest-reset"));
        return;
    }
    /* Its process ends now. */
    d->shut_down = true;
    domains_tell(d, EVENT_SHUTDOWN, SHUTDOWN_HOST);
}

static void on_stop(struct domain *d, const json_t *detail)
{
    (void)detail;
    if (d->phase != GUEST_UP || d->shut_down || d->state != DOMAIN_RUNNING)
        return;
    guest_set_state(d, DOMAIN_PAUSED, PAUSED_USER);
    domains_tell(d, EVENT_SUSPENDED, 0);
}

static void on_resume(struct domain *d, const json_t *detail)
{
    (void)detail;
    if (d->phase != GUEST_UP)
        return;
    d->shut_down = false; /* it was reset after it had powered off */
    if (d->state == DOMAIN_RUNNING)
        return;
    guest_set_state(d, DOMAIN_RUNNING, RUNNING_UNPAUSED);
    domains_tell(d, EVENT_RESUMED, 0);
}

/* A guest that had powered off was reset to go on. */
static void on_reset(struct domain *d, const json_t *detail)
{
    (void)detail;
    if (d->phase == GUEST_UP && d->shut_down && d->state != DOMAIN_SHUTDOWN)
        qmp_command(d->qmp, "cont", NULL, QMP_TIMEOUT_MS, on_reset_answer, d);
}

void guest_event(const char *name, const json_t *detail, void *domain)
{
    static const struct {
        const char *name;
        void (*take)(struct domain *d, const json_t *detail);
    } events[] = {
        {"SHUTDOWN", on_shutdown}, {"RESET", on_reset}, {"STOP", on_stop}, {"RESUME", on_resume}};

    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++)
        if (!strcmp(name, events[i].name))
            events[i].take(domain, detail);
}
