/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Port and memory accesses of the guest: to devices in here, else to user space. */
#include "ioctl.h"

#include <string.h>

/* Devices in here, the commonest first.  True: A is complete. */
static bool serve_here(struct vcpu *v, bool pio, struct bus_access *a)
{
    struct vm *vm = v->vm;
    struct irqchip *chip = atomic_load_explicit(&vm->irqchip, memory_order_relaxed);
    if (chip) {
        if (pio ? irqchip_pio(chip, (uint16_t)a->address, a->write, a->size, a->data)
                : irqchip_mmio(chip, v->lapic, a->address, a->write, a->size, a->data)) {
            if (v->lapic && !pio)
                v->processor->cr8 = lapic_get_cr8(v->lapic); /* the guest may have written TPR */
            return true;
        }
    }
    if (!a->write)
        return false;
    return ioeventfd_signal(vm->ioeventfds, pio ? IOEVENTFD_PIO : IOEVENTFD_MMIO, a->address,
                            a->size, a->data) ||
           coalesced_write(vm, pio, a->address, a->size, a->data);
}

/* Elements that go to user space in one exit. */
static unsigned pio_count(const struct bus_access *a)
{
    unsigned room = (unsigned)PAGE_BYTES / a->size;
    return a->more < room ? a->more + 1u : room;
}

static void complete_pio(struct vcpu *v)
{
    struct vmcs *vmcs = &v->processor->vmcs;
    struct bus_access *a = &vmcs->access;
    if (a->write)
        return;
    memcpy(a->data, v->pio_data, a->size);
    vmcs->string_data = v->pio_data + a->size;
    vmcs->string_left = pio_count(a) - 1;
}

static void complete_mmio(struct vcpu *v)
{
    struct bus_access *a = &v->processor->vmcs.access;
    if (!a->write)
        memcpy(a->data, v->run->mmio.data, a->size);
}

static int ask_pio(struct vcpu *v, const struct bus_access *a)
{
    struct kvm_run *run = v->run;
    run->exit_reason = KVM_EXIT_IO;
    run->io.direction = a->write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run->io.size = a->size;
    run->io.port = (uint16_t)a->address;
    run->io.count = pio_count(a);
    run->io.data_offset = PAGE_BYTES;
    if (a->write)
        memcpy(v->pio_data, a->data, a->size);
    v->complete = complete_pio;
    return 0;
}

static int ask_mmio(struct vcpu *v, const struct bus_access *a)
{
    struct kvm_run *run = v->run;
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.phys_addr = a->address;
    run->mmio.len = a->size;
    run->mmio.is_write = a->write;
    memset(run->mmio.data, 0, sizeof(run->mmio.data));
    if (a->write)
        memcpy(run->mmio.data, a->data, a->size);
    v->complete = complete_mmio;
    return 0;
}

int access_exit(struct vcpu *v, bool pio)
{
    struct processor *p = v->processor;
    struct bus_access *a = &p->vmcs.access;
    if (p->vmcs.idt_vectoring_info & INTR_INFO_VALID) {
        /* A stack or descriptor table in device memory: as Linux, we do not follow. */
        vmx_abandon_access(p);
        return exit_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV);
    }
    /* Between the elements of a string, interrupts and kicks get their turn: nothing of the coming
     * element has been done yet. */
    if (a->string && !p->replay.recorded && atomic_load(&v->requests)) {
        vmx_abandon_access(p);
        return 1;
    }
    if (serve_here(v, pio, a))
        return 1;
    return pio ? ask_pio(v, a) : ask_mmio(v, a);
}
