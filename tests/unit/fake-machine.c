/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-machine.h"
#include "kvm/trapeze_kvm.h"
#include "machine/chipset/character.h"
#include "machine/core.h"
#include "machine/pci.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

static struct fake_machine *fake_of(struct machine *m)
{
    return container_of(m, struct fake_machine, machine);
}

/* ---- the engine ---- */

static long set_ioeventfd(struct fake_machine *f, const struct kvm_ioeventfd *e)
{
    bool remove = e->flags & KVM_IOEVENTFD_FLAG_DEASSIGN;
    if (f->refuse_ioeventfd)
        return -ENOSPC;
    for (unsigned i = 0; i < FAKE_IOEVENTFDS; i++) {
        if (remove && f->ioeventfds[i].address == e->addr && f->ioeventfds[i].fd == e->fd) {
            f->ioeventfds[i].address = 0;
            return 0;
        }
        if (!remove && !f->ioeventfds[i].address) {
            f->ioeventfds[i].address = e->addr;
            f->ioeventfds[i].fd = e->fd;
            return 0;
        }
    }
    g_assert_not_reached();
}

static long request(struct fake_machine *f, unsigned long request, const void *argument)
{
    switch (request) {
    case KVM_SET_USER_MEMORY_REGION:
        return 0;
    case KVM_IOEVENTFD:
        return set_ioeventfd(f, argument);
    case KVM_IRQ_LINE: {
        const struct kvm_irq_level *line = argument;
        g_assert_cmpuint(line->irq, <, ARRAY_SIZE(f->lines));
        f->lines[line->irq] = line->level;
        return 0;
    }
    case KVM_SIGNAL_MSI: {
        const struct kvm_msi *msi = argument;
        f->msis[f->msi_count % FAKE_MSIS].address = msi->address_lo | (uint64_t)msi->address_hi
                                                                          << 32;
        f->msis[f->msi_count++ % FAKE_MSIS].data = msi->data;
        return 0;
    }
    case TRAPEZE_KVM_MEMORY_WRITTEN:
        f->written += ((const struct trapeze_kvm_memory_written *)argument)->size;
        return 0;
    }
    return -ENOTTY;
}

/* The VM's file is the machine itself. */
long engine_ioctl(struct engine *e, struct engine_file *file, unsigned long number,
                  unsigned long argument)
{
    struct fake_machine *f = (struct fake_machine *)file;
    (void)e;
    g_mutex_lock(&f->lock);
    long result = request(f, number, (const void *)argument);
    g_mutex_unlock(&f->lock);
    return result;
}

/* ---- what the machine's core does beside ---- */

GQuark machine_error_quark(void)
{
    return g_quark_from_static_string("trapeze-machine-error");
}

bool core_error(GError **error, struct machine *m, const char *name, long result)
{
    (void)m;
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_ENGINE, "%s: %ld", name, result);
    return false;
}

void machine_log(struct machine *m, bool warning, const char *format, ...)
{
    struct fake_machine *f = fake_of(m);
    va_list arguments;
    va_start(arguments, format);
    char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (!f->quiet)
        g_test_message("%s%s", warning ? "warning: " : "", text);
    g_mutex_lock(&f->lock);
    f->warnings += warning;
    g_free(f->last_log);
    f->last_log = text;
    g_mutex_unlock(&f->lock);
}

void machine_request_stop(struct machine *m, enum stop_reason reason, int status)
{
    (void)m;
    (void)reason;
    (void)status;
}

uint8_t reset_control_read(struct machine *m)
{
    return fake_of(m)->reset_control;
}

void reset_control_write(struct machine *m, uint8_t value)
{
    fake_of(m)->reset_control = value;
}

void device_init(struct device *d, const struct device_class *class, struct machine *m,
                 const char *id)
{
    d->class = class;
    d->id = g_strdup(id);
    d->machine = m;
    g_mutex_init(&d->lock);
    list_append(&m->devices, &d->link);
}

void irq_set(struct machine *m, unsigned gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};
    engine_ioctl_pointer(m->engine, m->vm, KVM_IRQ_LINE, &line);
}

void irq_msi(struct machine *m, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {.address_lo = address, .address_hi = address >> 32, .data = data};
    engine_ioctl_pointer(m->engine, m->vm, KVM_SIGNAL_MSI, &msi);
}

int ioeventfd_add(struct machine *m, enum space_kind kind, uint64_t address, int eventfd)
{
    struct kvm_ioeventfd e = {.addr = address, .fd = eventfd};
    g_assert_cmpint(kind, ==, SPACE_MMIO);
    return (int)engine_ioctl_pointer(m->engine, m->vm, KVM_IOEVENTFD, &e);
}

void ioeventfd_remove(struct machine *m, enum space_kind kind, uint64_t address, int eventfd)
{
    struct kvm_ioeventfd e = {.addr = address, .fd = eventfd, .flags = KVM_IOEVENTFD_FLAG_DEASSIGN};
    g_assert_cmpint(kind, ==, SPACE_MMIO);
    engine_ioctl_pointer(m->engine, m->vm, KVM_IOEVENTFD, &e);
}

/* ---- a character back-end: struct character is the fake machine ---- */

void character_connect(struct character *c, const struct character_client *client)
{
    struct fake_machine *f = (struct fake_machine *)c;
    f->character_client = g_memdup2(client, sizeof(*client));
}

void character_ready(struct character *c)
{
    (void)c;
}

bool character_write(struct character *c, const void *data, size_t length)
{
    struct fake_machine *f = (struct fake_machine *)c;
    g_byte_array_append(f->character, data, length);
    return f->character->len < f->character_limit;
}

/* ---- the tests' side ---- */

struct fake_machine *fake_machine_new(uint64_t memory)
{
    struct fake_machine *f = g_new0(struct fake_machine, 1);
    struct machine *m = &f->machine;
    GError *error = NULL;

    g_mutex_init(&f->lock);
    f->config.memory = memory;
    f->engine.extended = true;
    f->character = g_byte_array_new();
    f->character_limit = UINT_MAX;
    m->config = &f->config;
    m->engine = &f->engine;
    m->vm = (struct engine_file *)f;
    m->context = g_main_context_new();
    m->space = space_new();
    list_init(&m->devices);
    g_assert_true(ram_setup(m, &error));
    m->pci = pci_host_new(m);
    return f;
}

void fake_machine_free(struct fake_machine *f)
{
    struct machine *m = &f->machine;
    while (!list_empty(&m->devices)) {
        struct device *d = container_of(m->devices.prev, struct device, link);
        char *id = d->id;
        list_remove(&d->link);
        d->class->free(d);
        g_free(id);
    }
    g_assert_cmpuint(fake_ioeventfd_count(f), ==, 0);
    ram_free(m);
    space_free(m->space);
    g_main_context_unref(m->context);
    g_byte_array_free(f->character, TRUE);
    g_free((void *)f->character_client);
    g_free(f->last_log);
    g_free(f);
}

unsigned fake_msis(struct fake_machine *f)
{
    g_mutex_lock(&f->lock);
    unsigned count = f->msi_count;
    g_mutex_unlock(&f->lock);
    return count;
}

unsigned fake_msis_of(struct fake_machine *f, uint32_t data)
{
    unsigned count = 0;
    g_mutex_lock(&f->lock);
    for (unsigned i = 0; i < MIN(f->msi_count, FAKE_MSIS); i++)
        count += f->msis[i].data == data;
    g_mutex_unlock(&f->lock);
    return count;
}

bool fake_line(struct fake_machine *f, unsigned gsi)
{
    g_mutex_lock(&f->lock);
    bool level = f->lines[gsi];
    g_mutex_unlock(&f->lock);
    return level;
}

void fake_mmio_write(struct fake_machine *f, uint64_t address, uint64_t value, unsigned size)
{
    int fd = -1;
    g_mutex_lock(&f->lock);
    for (unsigned i = 0; i < FAKE_IOEVENTFDS; i++)
        if (address && f->ioeventfds[i].address == address)
            fd = f->ioeventfds[i].fd;
    g_mutex_unlock(&f->lock);
    if (fd >= 0)
        eventfd_write(fd, 1);
    else
        space_write(&f->machine, SPACE_MMIO, address, value, size);
}

unsigned fake_ioeventfd_count(struct fake_machine *f)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FAKE_IOEVENTFDS; i++)
        count += f->ioeventfds[i].address != 0;
    return count;
}

unsigned fake_warnings(struct fake_machine *f)
{
    g_mutex_lock(&f->lock);
    unsigned count = f->warnings;
    g_mutex_unlock(&f->lock);
    return count;
}

void fake_run_until(struct fake_machine *f, bool (*condition)(void *opaque), void *opaque)
{
    gint64 end = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    while (!condition(opaque)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (!g_main_context_iteration(f->machine.context, FALSE))
            g_usleep(200);
    }
}

void fake_settle(struct fake_machine *f)
{
    while (g_main_context_iteration(f->machine.context, FALSE))
        ;
}

bool fake_transfer_state(struct device *from, struct device *to, GError **error)
{
    g_assert_true(from->class == to->class);
    g_mutex_lock(&to->lock);
    for (unsigned i = 0; i < from->class->field_count; i++) {
        const struct state_field *s = &from->class->fields[i];
        memcpy((char *)to + s->offset, (const char *)from + s->offset, (size_t)s->size * s->count);
    }
    int result = to->class->loaded ? to->class->loaded(to, error) : 0;
    g_mutex_unlock(&to->lock);
    return result == 0;
}
