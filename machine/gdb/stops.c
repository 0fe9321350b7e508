/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stopping and going on.
 *
 * A vCPU that meets a breakpoint notes that on its own thread, stays outside, and has the main
 * context stop the machine.  Several may do so at once: the debugger is told of one.  Of the others
 * a breakpoint is forgotten, since its vCPU still stands before the instruction and will meet it
 * again if it is still there; a watchpoint or a step, which have happened, are told when that vCPU
 * is let go.
 */
#include "private.h"

#include <signal.h>

#define VECTOR_DB 1
#define VECTOR_BP 3
#define DR6_BS    (1ull << 14)
#define DR6_BITS  0xe00full /* B0-B3, BD, BS, BT */

static unsigned index_of(const struct gdb *g, const struct gdb_vcpu *v)
{
    return (unsigned)(v - g->vcpus);
}

/* ---- on a vCPU's thread ---- */

static gboolean on_stopped(gpointer data);

/* The guest's own breakpoint or step: it gets the exception. */
static void give_to_guest(struct gdb *g, struct machine_vcpu *v)
{
    struct engine *e = v->machine->engine;
    const struct kvm_debug_exit_arch *exit = &v->run->debug.arch;
    struct kvm_debugregs registers;

    if (exit->exception == VECTOR_BP) {
        breakpoint_apply(g, v->index, KVM_GUESTDBG_INJECT_BP);
        return;
    }
    if (engine_ioctl_pointer(e, v->file, KVM_GET_DEBUGREGS, &registers) >= 0) {
        registers.dr6 |= exit->dr6 & DR6_BITS;
        engine_ioctl_pointer(e, v->file, KVM_SET_DEBUGREGS, &registers);
    }
    breakpoint_apply(g, v->index, KVM_GUESTDBG_INJECT_DB);
}

/* Whether EXIT of V is the debugger's doing. */
static bool is_ours(const struct gdb *g, unsigned index, const struct kvm_debug_exit_arch *exit)
{
    if (exit->exception == VECTOR_BP)
        return breakpoint_at(g, exit->pc);
    return g->vcpus[index].stepping || breakpoint_hit(g, exit->dr6);
}

void gdb_debug_exit(struct gdb *g, struct machine_vcpu *v)
{
    const struct kvm_debug_exit_arch *exit = &v->run->debug.arch;

    if (!is_ours(g, v->index, exit)) {
        give_to_guest(g, v);
        return;
    }
    g->vcpus[v->index].stopped = true;
    g->vcpus[v->index].exit = *exit;
    machine_vcpu_hold(v, true);
    g_mutex_lock(&g->lock);
    if (!g->stopped_source) {
        g->stopped_source = g_idle_source_new();
        g_source_set_priority(g->stopped_source, G_PRIORITY_HIGH);
        g_source_set_callback(g->stopped_source, on_stopped, g, NULL);
        g_source_attach(g->stopped_source, g->machine->context);
    }
    g_mutex_unlock(&g->lock);
}

/* ---- on the main context ---- */

static gboolean on_stopped(gpointer data)
{
    struct gdb *g = data;

    g_mutex_lock(&g->lock);
    g_source_unref(g->stopped_source);
    g->stopped_source = NULL;
    g_mutex_unlock(&g->lock);
    machine_suspend_for_debugger(g->machine); /* the observer reports it */
    return G_SOURCE_REMOVE;
}

/* Whether a vCPU that stopped so will do so again when it goes on. */
static bool stops_again(const struct gdb *g, const struct gdb_vcpu *v)
{
    const struct hardware_breakpoint *h = breakpoint_hit(g, v->exit.dr6);

    return v->exit.exception == VECTOR_BP || (h && h->type == BREAK_HARDWARE);
}

/* Appends what V stopped for, as a stop reply says it. */
static void describe(const struct gdb *g, const struct gdb_vcpu *v, GString *text)
{
    static const char *const watches[] = {
        [WATCH_WRITE] = "watch", [WATCH_READ] = "rwatch", [WATCH_ACCESS] = "awatch"};
    const struct hardware_breakpoint *h = breakpoint_hit(g, v->exit.dr6);

    if (v->exit.exception == VECTOR_BP)
        g_string_append(text, g->tells_software ? "swbreak:;" : "");
    else if (h && h->type == BREAK_HARDWARE)
        g_string_append(text, g->tells_hardware ? "hwbreak:;" : "");
    else if (h)
        g_string_append_printf(text, "%s:%" G_GINT64_MODIFIER "x;", watches[h->type], h->address);
}

void stops_report(struct gdb *g, unsigned signal)
{
    struct gdb_vcpu *told = NULL;
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < g->machine->cpus; i++) {
        struct gdb_vcpu *v = &g->vcpus[i];

        if (v->stopped && !told)
            told = v;
        else if (v->stopped && stops_again(g, v))
            v->stopped = false;
    }
    if (told)
        g->selected = index_of(g, told);
    g_string_printf(text, "T%02xthread:%02x;", told ? SIGTRAP : signal, g->selected + 1);
    if (told) {
        describe(g, told, text);
        told->stopped = false;
    }
    stub_send_text(g, text->str);
    g_string_free(text, TRUE);
}

/* Takes the vCPUs' own holds back, so that others may let the machine go. */
static void release_vcpus(struct gdb *g)
{
    for (unsigned i = 0; i < g->machine->cpus; i++)
        machine_vcpu_hold(g->machine->vcpus[i], false);
}

void stops_hold(struct gdb *g)
{
    g->running = false;
    machine_suspend_for_debugger(g->machine);
}

/* Lets vCPU I do as ACTION says once the machine goes on. */
static void prepare(struct gdb *g, unsigned i, enum gdb_action action)
{
    g->vcpus[i].stepping = action == ACTION_STEP;
    breakpoint_apply(g, i, 0);
    machine_vcpu_hold(g->machine->vcpus[i], action == ACTION_NONE);
}

bool stops_resume(struct gdb *g, const enum gdb_action *actions)
{
    for (unsigned i = 0; i < g->machine->cpus; i++) {
        struct gdb_vcpu *v = &g->vcpus[i];

        if (v->stopped && stops_again(g, v))
            v->stopped = false;
        if (v->stopped && actions[i] != ACTION_NONE) {
            stops_report(g, SIGTRAP); /* it has stopped already */
            return true;
        }
    }
    for (unsigned i = 0; i < g->machine->cpus; i++)
        prepare(g, i, actions[i]);
    g->running = g->continuing = true;
    bool good = machine_continue(g->machine, NULL);
    g->continuing = false;
    if (!good) {
        g->running = false;
        release_vcpus(g);
    }
    return good;
}

/* Has all vCPUs go on, once the machine does, with the breakpoints that there are. */
static void prepare_all(struct gdb *g)
{
    for (unsigned i = 0; i < g->machine->cpus; i++) {
        g->vcpus[i].stopped = false;
        prepare(g, i, ACTION_CONTINUE);
    }
}

void stops_detach(struct gdb *g, bool go_on)
{
    stops_hold(g);
    breakpoint_remove_all(g);
    prepare_all(g);
    g->continuing = true;
    if (go_on)
        machine_continue(g->machine, NULL);
    g->continuing = false;
}

void stops_on_event(struct machine_observer *o, enum machine_event event, enum stop_reason reason)
{
    struct gdb *g = container_of(o, struct gdb, observer);

    (void)reason;
    if (event == MACHINE_EVENT_STOP) {
        release_vcpus(g);
        if (g->running && g->client) {
            g->running = false;
            stops_report(g, SIGINT);
        }
    } else if (event == MACHINE_EVENT_RESUME && !g->continuing) {
        prepare_all(g); /* somebody else lets it go */
    }
}
