/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files: RUN_DIR/UUID.state, one a guest from before its process is born until after it has
 * ended.  What they hold is what cannot be asked of the guest: its number, its definition, whether
 * its start was finished, and why it is in the state it is in.
 */
#include "domain-private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".state"

static const char *const phases[] = {"none", "starting", "up", NULL};

static void set_number(xmlNode *node, const char *name, int number)
{
    g_autofree char *text = g_strdup_printf("%d", number);

    xml_set_attribute(node, name, text);
}

static bool get_number(const xmlNode *node, const char *name, int *number)
{
    g_autofree char *text = xml_attribute(node, name);
    gint64 value;

    if (!text || !g_ascii_string_to_signed(text, 10, 0, G_MAXINT, &value, NULL))
        return false;
    *number = (int)value;
    return true;
}

bool state_write(struct domain *d, GError **error)
{
    g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = xmlNewDocNode(doc, NULL, (const xmlChar *)"domstatus", NULL);
    g_autofree char *file = g_strconcat(d->uuid_text, SUFFIX, NULL);

    xmlDocSetRootElement(doc, root);
    xml_set_attribute(root, "phase", phases[d->phase]);
    set_number(root, "id", d->id);
    set_number(root, "state", d->state);
    set_number(root, "reason", d->reason);
    set_number(root, "paused", d->paused_start);
    set_number(root, "reboot", d->reboot_wanted);
    xmlAddChild(root, xmlDocCopyNode(xmlDocGetRootElement(d->live->xml), doc, 1));
    g_autofree char *text = xml_format(root, 0);
    return store_write_file(d->all->run_dir, file, text, false, error);
}

void state_remove(struct domain *d)
{
    g_autofree char *path = g_strconcat(d->all->run_dir, "/", d->uuid_text, SUFFIX, NULL);

    unlink(path);
}

/* ---- reading ---- */

static struct definition *read_definition(struct domains *all, const xmlNode *root, GError **error)
{
    const xmlNode *domain = xml_child(root, "domain");
    g_autofree char *text = domain ? xml_format(domain, 0) : g_strdup("");

    return definition_parse(text, all->trapeze, DEFINITION_LIVE, error);
}

static bool apply(struct domain *d, const xmlNode *root)
{
    g_autofree char *phase = xml_attribute(root, "phase");
    int state, paused, reboot;

    if (!phase || !get_number(root, "id", &d->id) || !get_number(root, "state", &state) ||
        !get_number(root, "reason", &d->reason) || !get_number(root, "paused", &paused) ||
        !get_number(root, "reboot", &reboot) || state > DOMAIN_CRASHED)
        return false;
    d->phase = !strcmp(phase, "up") ? GUEST_UP : GUEST_STARTING;
    d->state = (enum domain_state)state;
    d->paused_start = paused;
    d->reboot_wanted = reboot;
    return true;
}

/* A domain as FILE tells; NULL with ERROR set. */
static struct domain *read_state(struct domains *all, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    struct domain *d = NULL;

    if (!g_file_get_contents(path, &text, NULL, error))
        return NULL;
    g_autoptr(xmlDoc) doc = xml_parse(text, "domain_status", error);
    struct definition *live = doc ? read_definition(all, xmlDocGetRootElement(doc), error) : NULL;
    if (!live)
        return NULL;
    if (domains_check_new(all, live, &d, error)) {
        bool fresh = !d;

        if (fresh)
            d = domains_add(all, live);
        if (apply(d, xmlDocGetRootElement(doc))) {
            d->live = live;
            return d;
        }
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "it lacks something");
        d->id = -1;
        if (fresh)
            domains_remove(d);
    }
    definition_free(live);
    return NULL;
}

static void take_file(struct domains *all, const char *path)
{
    GError *error = NULL;
    struct domain *d = read_state(all, path, &error);

    if (!d) {
        g_warning("the state file %s is left alone: %s", path, error->message);
        g_error_free(error);
        return;
    }
    all->next_id = MAX(all->next_id, d->id + 1);
    guest_adopt(d);
}

void states_read(struct domains *all)
{
    GDir *dir = g_dir_open(all->run_dir, 0, NULL);
    const char *file;

    if (!dir)
        return;
    while ((file = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(all->run_dir, file, NULL);

        if (g_str_has_suffix(file, SUFFIX))
            take_file(all, path);
        else if (g_str_has_suffix(file, SUFFIX ".new"))
            unlink(path);
    }
    g_dir_close(dir);
}
