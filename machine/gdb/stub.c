/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets and their answers (GDB's manual, appendix E).  Threads are numbered from 1: vCPU 0 is
 * thread
 * 1.  An empty answer says that a packet is not known here; E and a number that it failed.
 */
#include "private.h"

#include <stdio.h>
#include <string.h>

#define ERROR_GENERAL "E01"
#define ERROR_MEMORY  "E0e" /* EFAULT */

/* ---- sending ---- */

void stub_send(struct gdb *g, const void *body, size_t length)
{
    if (g->last)
        g_byte_array_unref(g->last);
    g->last = packet_make(body, length);
    stream_write(g->client, g->last->data, g->last->len);
}

void stub_send_text(struct gdb *g, const char *text)
{
    stub_send(g, text, strlen(text));
}

static void send_ok(struct gdb *g, bool good)
{
    stub_send_text(g, good ? "OK" : ERROR_GENERAL);
}

/* ---- threads ---- */

/* Takes a thread's number off *TEXT: *index is its vCPU, or ALL_VCPUS for -1.  0 is any: the first
 * one.  False when there is no such thread. */
static bool take_thread(struct gdb *g, const char **text, unsigned *index)
{
    uint64_t number;

    if (g_str_has_prefix(*text, "-1")) {
        *text += 2;
        *index = ALL_VCPUS;
        return true;
    }
    if (!packet_number(text, &number) || number > g->machine->cpus)
        return false;
    *index = number ? (unsigned)number - 1 : 0;
    return true;
}

/* H g THREAD, H c THREAD */
static void on_select(struct gdb *g, const char *text)
{
    unsigned index;
    char what = *text ? *text++ : 0;

    if (!take_thread(g, &text, &index) || *text) {
        send_ok(g, false);
        return;
    }
    if (what == 'g')
        g->selected = index == ALL_VCPUS ? 0 : index;
    else if (what == 'c')
        g->resuming = index;
    send_ok(g, what == 'g' || what == 'c');
}

static void on_thread_alive(struct gdb *g, const char *text)
{
    unsigned index;

    send_ok(g, take_thread(g, &text, &index) && index != ALL_VCPUS);
}

static void on_thread_list(struct gdb *g, const char *text)
{
    GString *list = g_string_new("m");

    (void)text;
    for (unsigned i = 0; i < g->machine->cpus; i++)
        g_string_append_printf(list, "%s%x", i ? "," : "", i + 1);
    stub_send_text(g, list->str);
    g_string_free(list, TRUE);
}

static void on_thread_list_end(struct gdb *g, const char *text)
{
    (void)text;
    stub_send_text(g, "l");
}

/* What `info threads` shows of a thread. */
static void on_thread_info(struct gdb *g, const char *text)
{
    GString *hex = g_string_new(NULL);
    struct kvm_mp_state mp = {0};
    unsigned index;

    if (!take_thread(g, &text, &index) || index == ALL_VCPUS) {
        send_ok(g, false);
    } else {
        bool halted = engine_ioctl_pointer(g->machine->engine, g->machine->vcpus[index]->file,
                                           KVM_GET_MP_STATE, &mp) >= 0 &&
                      mp.mp_state != KVM_MP_STATE_RUNNABLE;
        g_autofree char *about = g_strdup_printf("vCPU %u%s", index, halted ? ", halted" : "");
        packet_append_hex(hex, about, strlen(about));
        stub_send_text(g, hex->str);
    }
    g_string_free(hex, TRUE);
}

static void on_current_thread(struct gdb *g, const char *text)
{
    g_autofree char *answer = g_strdup_printf("QC%x", g->selected + 1);

    stub_send_text(g, *text ? "" : answer); /* others begin with the same letters */
}

/* ---- registers ---- */

static void send_text_or_error(struct gdb *g, GString *text, bool good)
{
    stub_send_text(g, good ? text->str : ERROR_GENERAL);
    g_string_free(text, TRUE);
}

static void on_get_registers(struct gdb *g, const char *text)
{
    GString *hex = g_string_new(NULL);

    (void)text;
    send_text_or_error(g, hex, registers_get_all(g, hex));
}

static void on_set_registers(struct gdb *g, const char *text)
{
    send_ok(g, registers_set_all(g, text));
}

static void on_get_register(struct gdb *g, const char *text)
{
    GString *hex = g_string_new(NULL);
    uint64_t number;
    bool good = packet_number(&text, &number) && registers_get(g, number, hex);

    send_text_or_error(g, hex, good);
}

static void on_set_register(struct gdb *g, const char *text)
{
    uint64_t number;

    send_ok(g, packet_number(&text, &number) && packet_skip(&text, '=') &&
                   registers_set(g, number, text));
}

/* ---- memory ---- */

/* Takes ADDRESS,LENGTH; false too when an answer could not hold so much. */
static bool take_range(const char **text, uint64_t *address, uint64_t *length)
{
    return packet_number(text, address) && packet_skip(text, ',') && packet_number(text, length) &&
           *length <= PACKET_MAX / 2;
}

static void on_read_memory(struct gdb *g, const char *text)
{
    g_autofree uint8_t *data = g_malloc(PACKET_MAX / 2);
    GString *hex = g_string_new(NULL);
    uint64_t address, length;

    if (!take_range(&text, &address, &length)) {
        send_ok(g, false);
    } else {
        size_t done = gdb_memory_read(g, address, data, length);
        packet_append_hex(hex, data, done);
        stub_send_text(g, done || !length ? hex->str : ERROR_MEMORY);
    }
    g_string_free(hex, TRUE);
}

/* x: the same in binary, after a `b`. */
static void on_read_binary(struct gdb *g, const char *text)
{
    g_autofree uint8_t *answer = g_malloc(PACKET_MAX / 2 + 1);
    uint64_t address, length;

    if (!take_range(&text, &address, &length)) {
        send_ok(g, false);
        return;
    }
    answer[0] = 'b';
    size_t done = gdb_memory_read(g, address, answer + 1, length);
    if (done || !length)
        stub_send(g, answer, done + 1);
    else
        stub_send_text(g, ERROR_MEMORY);
}

static void on_write_memory(struct gdb *g, const char *text)
{
    g_autofree uint8_t *data = g_malloc(PACKET_MAX / 2);
    uint64_t address, length;
    bool good = take_range(&text, &address, &length) && packet_skip(&text, ':') &&
                strlen(text) == length * 2 && packet_from_hex(text, data, length);

    if (!good)
        send_ok(g, false);
    else
        stub_send_text(g, gdb_memory_write(g, address, data, length) ? "OK" : ERROR_MEMORY);
}

/* X: the same in binary, so its data may hold any byte. */
static void on_write_binary(struct gdb *g, const char *text)
{
    const uint8_t *end = g->reader.body->data + g->reader.body->len;
    uint64_t address, length;

    if (!take_range(&text, &address, &length) || !packet_skip(&text, ':') ||
        (uint64_t)(end - (const uint8_t *)text) != length)
        send_ok(g, false);
    else
        stub_send_text(
            g, gdb_memory_write(g, address, (const uint8_t *)text, length) ? "OK" : ERROR_MEMORY);
}

/* ---- breakpoints ---- */

static void change_breakpoint(struct gdb *g, const char *text, bool insert)
{
    uint64_t type, address, length;

    if (!packet_number(&text, &type) || !packet_skip(&text, ',') ||
        !packet_number(&text, &address) || !packet_skip(&text, ',') ||
        !packet_number(&text, &length)) {
        send_ok(g, false);
    } else if (type > WATCH_ACCESS) {
        stub_send_text(g, "");
    } else {
        bool good = insert ? breakpoint_insert(g, (enum breakpoint_type)type, address, length)
                           : breakpoint_remove(g, (enum breakpoint_type)type, address, length);
        stub_send_text(g, good ? "OK" : ERROR_MEMORY);
    }
}

static void on_insert(struct gdb *g, const char *text)
{
    change_breakpoint(g, text, true);
}

static void on_remove(struct gdb *g, const char *text)
{
    change_breakpoint(g, text, false);
}

/* ---- going on ---- */

static void resume(struct gdb *g, const enum gdb_action *actions)
{
    if (!stops_resume(g, actions))
        send_ok(g, false);
}

/* Applies ACTION to the vCPUs that *TEXT names after a colon, or to all, where none is set yet. */
static bool take_target(struct gdb *g, const char **text, enum gdb_action action,
                        enum gdb_action *actions, bool *taken)
{
    unsigned only = ALL_VCPUS;

    if (packet_skip(text, ':') && !take_thread(g, text, &only))
        return false;
    for (unsigned i = 0; i < g->machine->cpus; i++) {
        if ((only != ALL_VCPUS && only != i) || taken[i])
            continue;
        actions[i] = action;
        taken[i] = true;
    }
    return true;
}

/* vCont;ACTION[:THREAD]...: the first that fits a thread counts. */
static void on_continue_by_thread(struct gdb *g, const char *text)
{
    g_autofree enum gdb_action *actions = g_new0(enum gdb_action, g->machine->cpus);
    g_autofree bool *taken = g_new0(bool, g->machine->cpus);
    bool any = false;

    while (packet_skip(&text, ';')) {
        char what = *text ? *text++ : 0;
        enum gdb_action action = what == 's' || what == 'S'   ? ACTION_STEP
                                 : what == 'c' || what == 'C' ? ACTION_CONTINUE
                                                              : ACTION_NONE;
        uint64_t signal; /* a machine gets none */

        if ((action == ACTION_NONE && what != 't') ||
            ((what == 'S' || what == 'C') && !packet_number(&text, &signal)) ||
            !take_target(g, &text, action, actions, taken)) {
            send_ok(g, false);
            return;
        }
    }
    for (unsigned i = 0; i < g->machine->cpus; i++)
        any |= actions[i] != ACTION_NONE;
    if (*text || !any)
        send_ok(g, false);
    else
        resume(g, actions);
}

static void on_continue_actions(struct gdb *g, const char *text)
{
    (void)text;
    stub_send_text(g, "vCont;c;C;s;S;t");
}

/* c and s with an address to go on at, C and S with a signal before it. */
static void resume_selected(struct gdb *g, const char *text, enum gdb_action action)
{
    g_autofree enum gdb_action *actions = g_new0(enum gdb_action, g->machine->cpus);
    struct machine_vcpu *v =
        g->machine->vcpus[g->resuming == ALL_VCPUS ? g->selected : g->resuming];
    struct kvm_regs regs;
    uint64_t address;

    if (packet_number(&text, &address)) {
        struct engine *e = g->machine->engine;
        if (engine_ioctl_pointer(e, v->file, KVM_GET_REGS, &regs) >= 0) {
            regs.rip = address;
            engine_ioctl_pointer(e, v->file, KVM_SET_REGS, &regs);
        }
    }
    for (unsigned i = 0; i < g->machine->cpus; i++)
        actions[i] = action == ACTION_STEP && i != v->index ? ACTION_NONE : action;
    resume(g, actions);
}

static void on_continue(struct gdb *g, const char *text)
{
    resume_selected(g, text, ACTION_CONTINUE);
}

static void on_step(struct gdb *g, const char *text)
{
    resume_selected(g, text, ACTION_STEP);
}

/* The address after a signal's number. */
static const char *after_signal(const char *text)
{
    uint64_t signal;

    packet_number(&text, &signal);
    packet_skip(&text, ';');
    return text;
}

static void on_continue_signal(struct gdb *g, const char *text)
{
    resume_selected(g, after_signal(text), ACTION_CONTINUE);
}

static void on_step_signal(struct gdb *g, const char *text)
{
    resume_selected(g, after_signal(text), ACTION_STEP);
}

static void on_why(struct gdb *g, const char *text)
{
    (void)text;
    stops_report(g, 5 /* SIGTRAP, by GDB's numbers */);
}

static void on_detach(struct gdb *g, const char *text)
{
    (void)text;
    stops_detach(g, true);
    send_ok(g, true);
}

static void on_kill(struct gdb *g, const char *text)
{
    (void)text;
    if (g->reader.body->data[0] == 'v')
        send_ok(g, true);
    machine_request_stop(g->machine, STOP_QUIT, 0);
}

/* ---- what the two sides can do ---- */

static void on_supported(struct gdb *g, const char *text)
{
    g_autofree char *answer =
        g_strdup_printf("PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;"
                        "swbreak+;hwbreak+;binary-upload+",
                        PACKET_MAX);

    g->tells_software = strstr(text, "swbreak+");
    g->tells_hardware = strstr(text, "hwbreak+");
    stub_send_text(g, answer);
}

/* qXfer:features:read:target.xml:OFFSET,LENGTH */
static void on_description(struct gdb *g, const char *text)
{
    g_autofree char *xml = registers_describe(g);
    uint64_t offset, wanted, length = strlen(xml);
    GString *part = g_string_new(NULL);

    if (!packet_number(&text, &offset) || !packet_skip(&text, ',') ||
        !packet_number(&text, &wanted) || offset > length) {
        send_ok(g, false);
    } else {
        wanted = MIN(MIN(wanted, PACKET_MAX / 2), length - offset);
        g_string_append_c(part, offset + wanted == length ? 'l' : 'm');
        g_string_append_len(part, xml + offset, (gssize)wanted);
        stub_send(g, part->str, part->len);
    }
    g_string_free(part, TRUE);
}

static void on_no_ack(struct gdb *g, const char *text)
{
    (void)text;
    send_ok(g, true);
    g->no_ack = true;
}

static void on_attached(struct gdb *g, const char *text)
{
    (void)text;
    stub_send_text(g, "1"); /* so that quitting detaches, and does not kill */
}

static void on_get_physical(struct gdb *g, const char *text)
{
    (void)text;
    stub_send_text(g, g->physical ? "1" : "0");
}

static void on_set_physical(struct gdb *g, const char *text)
{
    bool good = !strcmp(text, "0") || !strcmp(text, "1");

    if (good)
        g->physical = *text == '1';
    send_ok(g, good);
}

static void on_restart(struct gdb *g, const char *text)
{
    (void)text;
    (void)g; /* R has no answer; a reset is for QMP */
}

/* ---- the table ---- */

/* By how packets begin; the first that fits counts.  Handlers get what follows. */
static const struct command {
    const char *prefix;
    void (*handle)(struct gdb *g, const char *text);
} commands[] = {
    {"qSupported", on_supported},
    {"qXfer:features:read:target.xml:", on_description},
    {"qfThreadInfo", on_thread_list},
    {"qsThreadInfo", on_thread_list_end},
    {"qThreadExtraInfo,", on_thread_info},
    {"qAttached", on_attached},
    {"qqemu.PhyMemMode", on_get_physical},
    {"Qqemu.PhyMemMode:", on_set_physical},
    {"QStartNoAckMode", on_no_ack},
    {"vCont?", on_continue_actions},
    {"vCont", on_continue_by_thread},
    {"vKill", on_kill},
    {"?", on_why},
    {"g", on_get_registers},
    {"G", on_set_registers},
    {"p", on_get_register},
    {"P", on_set_register},
    {"m", on_read_memory},
    {"M", on_write_memory},
    {"x", on_read_binary},
    {"X", on_write_binary},
    {"Z", on_insert},
    {"z", on_remove},
    {"c", on_continue},
    {"s", on_step},
    {"C", on_continue_signal},
    {"S", on_step_signal},
    {"H", on_select},
    {"T", on_thread_alive},
    {"D", on_detach},
    {"k", on_kill},
    {"R", on_restart},
    {"qC", on_current_thread},
};

void stub_packet(struct gdb *g)
{
    const char *text = (const char *)g->reader.body->data;

    stops_hold(g);
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        if (g_str_has_prefix(text, commands[i].prefix)) {
            commands[i].handle(g, text + strlen(commands[i].prefix));
            return;
        }
    stub_send_text(g, "");
}
