/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's life and its requests. */
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void vm_free(struct vm *vm)
{
    unsigned count = vm_vcpu_count(vm);
    for (unsigned i = 0; i < count; i++)
        vcpu_free(vm->vcpu[i]);
    if (vm->irqchip)
        irqchip_free(vm->irqchip);
    if (vm->ioeventfds)
        ioeventfd_set_free(vm->ioeventfds);
    if (vm->memory)
        memory_free(vm->memory);
    for (struct coalesced_zone *z = vm->zones; z;) {
        struct coalesced_zone *next = z->next;
        free(z);
        z = next;
    }
    msr_filter_free(vm->msr_filter);
    if (vm->ring)
        munmap(vm->ring, PAGE_BYTES);
    if (vm->run_fd >= 0)
        close(vm->run_fd);
    if (vm->translator.names)
        close(vm->translator.names_file);
    system_release(vm->system);
    pthread_mutex_destroy(&vm->lock);
    pthread_mutex_destroy(&vm->coalesced_lock);
    pthread_mutex_destroy(&vm->clock.lock);
    pthread_mutex_destroy(&vm->tsc_lock);
    pthread_rwlock_destroy(&vm->msr_filter_lock);
    free(vm);
}

struct vm *vm_new(struct system *s)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return NULL;
    vm->references = 1;
    vm->creator = getpid();
    vm->system = s;
    atomic_fetch_add(&s->references, 1);
    pthread_mutex_init(&vm->lock, NULL);
    pthread_mutex_init(&vm->coalesced_lock, NULL);
    pthread_mutex_init(&vm->clock.lock, NULL);
    pthread_mutex_init(&vm->tsc_lock, NULL);
    pthread_rwlock_init(&vm->msr_filter_lock, NULL);
    vm->tsc_khz = s->tsc_khz;
    vm->translator.on = true;
    vm->max_vcpu_id = VM_VCPU_IDS_MAX;
    clock_init(vm);
    vm->run_fd = memfd_create("kvm-vcpu", MFD_CLOEXEC);
    vm->memory = memory_new();
    vm->ioeventfds = ioeventfd_set_new();
    if (vm->run_fd < 0 || ftruncate(vm->run_fd, (1 + 2 * VM_VCPUS_MAX) * PAGE_BYTES) < 0 ||
        !vm->memory || !vm->ioeventfds) {
        int saved = vm->run_fd < 0 ? errno : ENOMEM;
        vm_free(vm);
        errno = saved;
        return NULL;
    }
    return vm;
}

void vm_release(struct vm *vm)
{
    if (atomic_fetch_sub(&vm->references, 1) == 1)
        vm_free(vm);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, uint32_t id)
{
    unsigned count = vm_vcpu_count(vm);
    /* Ids mostly are places. */
    if (id < count && vm->vcpu[id]->id == id)
        return vm->vcpu[id];
    for (unsigned i = 0; i < count; i++)
        if (vm->vcpu[i]->id == id)
            return vm->vcpu[i];
    return NULL;
}

void vm_request_all(struct vm *vm, uint32_t requests)
{
    unsigned count = vm_vcpu_count(vm);
    for (unsigned i = 0; i < count; i++)
        vcpu_request(vm->vcpu[i], requests);
}

void vm_set_irqchip(struct vm *vm, struct irqchip *chip)
{
    irqchip_set_x2apic_api(chip, vm->x2apic_api);
    irqchip_set_disabled_quirks(chip, vm->disabled_quirks);
    atomic_store_explicit(&vm->irqchip, chip, memory_order_release);
}

/* ---------------------------------------------------------------- requests */

static long do_check_extension(struct ioctl_call *c)
{
    return capability_check(c->vm, c->argument);
}

static long do_enable_cap(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = capability_enable_vm(c->vm, c->data);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

/* Called with vm->lock held. */
static long create_vcpu(struct vm *vm, unsigned long id, struct tkvm_file **created)
{
    if (id >= vm->max_vcpu_id || vm_vcpu_count(vm) >= VM_VCPUS_MAX)
        return -EINVAL;
    if (vm_vcpu_by_id(vm, (uint32_t)id))
        return -EEXIST;
    struct vcpu *v = vcpu_new(vm, (unsigned)id);
    if (!v)
        return -errno;
    *created = file_new_vcpu(v);
    if (!*created) {
        vcpu_free(v);
        return -ENOMEM;
    }
    vm->vcpu[v->index] = v;
    atomic_store_explicit(&vm->vcpu_count, v->index + 1, memory_order_release);
    return 0;
}

static long do_create_vcpu(struct ioctl_call *c)
{
    if (!c->created)
        return -EFAULT;
    pthread_mutex_lock(&c->vm->lock);
    long r = create_vcpu(c->vm, c->argument, c->created);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_set_memory_region(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = slots_set_region(c->vm, c->data);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_set_memory_region2(struct ioctl_call *c)
{
    const struct kvm_userspace_memory_region2 *r2 = c->data;
    struct kvm_userspace_memory_region r = {
        .slot = r2->slot,
        .flags = r2->flags,
        .guest_phys_addr = r2->guest_phys_addr,
        .memory_size = r2->memory_size,
        .userspace_addr = r2->userspace_addr,
    };
    c->data = &r;
    return do_set_memory_region(c);
}

static long do_get_dirty_log(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = slots_get_dirty_log(c->vm, c->data);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_clear_dirty_log(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = slots_clear_dirty_log(c->vm, c->data);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_reset_dirty_rings(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = dirty_rings_reset(c->vm);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_get_stats_fd(struct ioctl_call *c)
{
    return file_new_stats(c);
}

/* Where Intel's VMX keeps a TSS for real mode; we need none, and only check the address. */
static long do_set_tss_addr(struct ioctl_call *c)
{
    return c->argument > (unsigned int)(-3 * (int)PAGE_BYTES) ? -EINVAL : 0;
}

static long do_set_identity_map_addr(struct ioctl_call *c)
{
    return vm_vcpu_count(c->vm) ? -EINVAL : 0;
}

/* How many pages shadow page tables may take: there are none.  Linux wants 64 at least. */
static long do_set_nr_mmu_pages(struct ioctl_call *c)
{
    return c->argument < 64 ? -EINVAL : 0;
}

static long do_set_boot_cpu_id(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = 0;
    if (vm_vcpu_count(c->vm))
        r = -EBUSY;
    else if (c->argument > c->vm->max_vcpu_id)
        r = -EINVAL;
    else
        c->vm->boot_cpu_id = (uint32_t)c->argument;
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_get_clock(struct ioctl_call *c)
{
    return clock_get(c->vm, c->data);
}

static long do_set_clock(struct ioctl_call *c)
{
    return clock_set(c->vm, c->data);
}

static long do_get_tsc_khz(struct ioctl_call *c)
{
    return c->vm->tsc_khz;
}

static long do_set_tsc_khz(struct ioctl_call *c)
{
    unsigned long khz = c->argument ? c->argument : c->system->tsc_khz;
    if (khz != (uint32_t)khz || khz >= INT32_MAX)
        return -EINVAL;
    pthread_mutex_lock(&c->vm->lock);
    long r = -EINVAL;
    if (!vm_vcpu_count(c->vm)) {
        c->vm->tsc_khz = (uint32_t)khz;
        r = 0;
    }
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_register_coalesced(struct ioctl_call *c)
{
    return coalesced_register(c->vm, c->data);
}

static long do_unregister_coalesced(struct ioctl_call *c)
{
    return coalesced_unregister(c->vm, c->data);
}

static long do_set_msr_filter(struct ioctl_call *c)
{
    return msr_filter_set(c->vm, c->data);
}

/* ---- interrupt controllers ---- */

static long create_irqchip(struct vm *vm)
{
    if (vm->irqchip)
        return -EEXIST;
    if (vm_vcpu_count(vm))
        return -EINVAL;
    struct irqchip *chip = irqchip_create(&vcpu_services, false, 0);
    if (!chip)
        return -ENOMEM;
    vm_set_irqchip(vm, chip);
    return 0;
}

static long do_create_irqchip(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = create_irqchip(c->vm);
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_create_pit2(struct ioctl_call *c)
{
    pthread_mutex_lock(&c->vm->lock);
    long r = vm_has_pic(c->vm) ? pit_create(c->vm->irqchip, c->data) : -ENOENT;
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

static long do_create_pit(struct ioctl_call *c)
{
    static const struct kvm_pit_config speaker = {.flags = KVM_PIT_SPEAKER_DUMMY};
    pthread_mutex_lock(&c->vm->lock);
    long r = vm_has_pic(c->vm) ? pit_create(c->vm->irqchip, &speaker) : -ENOENT;
    pthread_mutex_unlock(&c->vm->lock);
    return r;
}

/* Requests that need an irqchip: WITHOUT is the answer when there is none. */
#define IRQCHIP_REQUEST(name, without, call)                                                       \
    static long do_##name(struct ioctl_call *c)                                                    \
    {                                                                                              \
        struct irqchip *chip = atomic_load_explicit(&c->vm->irqchip, memory_order_acquire);        \
        return chip ? (call) : (without);                                                          \
    }
IRQCHIP_REQUEST(get_irqchip, -ENXIO, irqchip_get_chip(chip, c->data))
IRQCHIP_REQUEST(set_irqchip, -ENXIO, irqchip_set_chip(chip, c->data))
IRQCHIP_REQUEST(get_pit, -ENXIO, pit_get_legacy(chip, c->data))
IRQCHIP_REQUEST(set_pit, -ENXIO, pit_set_legacy(chip, c->data))
IRQCHIP_REQUEST(get_pit2, -ENXIO, pit_get(chip, c->data))
IRQCHIP_REQUEST(set_pit2, -ENXIO, pit_set(chip, c->data))
IRQCHIP_REQUEST(signal_msi, -EINVAL, irqchip_signal_msi(chip, c->data))
IRQCHIP_REQUEST(irqfd, -EINVAL, irqfd_assign(chip, c->data))
#undef IRQCHIP_REQUEST

static long do_reinject_control(struct ioctl_call *c)
{
    struct irqchip *chip = atomic_load_explicit(&c->vm->irqchip, memory_order_acquire);
    struct kvm_reinject_control control;
    if (user_read(&control, c->argument, sizeof(control)) < 0)
        return -EFAULT;
    return chip ? pit_reinject_control(chip, &control) : -ENXIO;
}

/* GSIs reach no further than a chip has routes for. */
static long drive_line(struct ioctl_call *c, int *status)
{
    struct irqchip *chip = atomic_load_explicit(&c->vm->irqchip, memory_order_acquire);
    const struct kvm_irq_level *line = c->data;
    if (!chip)
        return -ENXIO;
    *status = irqchip_set_line(chip, IRQ_SOURCE_USER, line->irq, line->level != 0);
    return 0;
}

static long do_irq_line(struct ioctl_call *c)
{
    int status;
    return drive_line(c, &status);
}

static long do_irq_line_status(struct ioctl_call *c)
{
    struct kvm_irq_level *line = c->data;
    int status;
    long r = drive_line(c, &status);
    if (r == 0)
        line->status = status;
    return r;
}

static long do_set_gsi_routing(struct ioctl_call *c)
{
    struct kvm_irq_routing header;
    if (user_read(&header, c->argument, sizeof(header)) < 0)
        return -EFAULT;
    struct irqchip *chip = atomic_load_explicit(&c->vm->irqchip, memory_order_acquire);
    if (!chip)
        return -EINVAL;
    if (header.nr > IRQCHIP_MAX_ROUTES || header.flags)
        return -EINVAL;
    size_t size = header.nr * sizeof(struct kvm_irq_routing_entry);
    struct kvm_irq_routing_entry *entries = malloc(size ? size : 1);
    if (!entries)
        return -ENOMEM;
    long r = size ? user_read(entries, c->argument + sizeof(header), size) : 0;
    if (r == 0)
        r = irqchip_set_routing(chip, entries, header.nr, header.flags);
    free(entries);
    return r;
}

static long do_ioeventfd(struct ioctl_call *c)
{
    return ioeventfd_assign(c->vm->ioeventfds, c->data);
}

/* The x86 kernel has no device types but VFIO's. */
static long do_create_device(struct ioctl_call *c)
{
    (void)c;
    return -ENODEV;
}

static long do_memory_written(struct ioctl_call *c)
{
    const struct trapeze_kvm_memory_written *w = c->data;
    if (w->gpa + w->size < w->gpa)
        return -EINVAL;
    memory_written(c->vm->memory, w->gpa, w->size);
    return 0;
}

static long do_reports_writes(struct ioctl_call *c)
{
    memory_writes_reported(c->vm->memory);
    return 0;
}

/* Locks a VM that has no vCPU yet; else -EBUSY. */
static long lock_before_vcpus(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    if (!vm_vcpu_count(vm))
        return 0;
    pthread_mutex_unlock(&vm->lock);
    return -EBUSY;
}

static long do_set_translator(struct ioctl_call *c)
{
    const struct trapeze_kvm_translator *t = c->data;
    struct processor_translator *how = &c->vm->translator;
    if (t->mode > TRAPEZE_KVM_TRANSLATE_CHECK)
        return -EINVAL;
    long r = lock_before_vcpus(c->vm);
    if (r < 0)
        return r;
    how->on = t->mode != TRAPEZE_KVM_INTERPRET;
    how->check = t->mode == TRAPEZE_KVM_TRANSLATE_CHECK;
    how->threshold = t->threshold;
    c->vm->translator_required = true;
    pthread_mutex_unlock(&c->vm->lock);
    return 0;
}

static long do_trace_translation(struct ioctl_call *c)
{
    long r = lock_before_vcpus(c->vm);
    if (r < 0)
        return r;
    c->vm->translator.trace = true;
    c->vm->translator.trace_address = *(const uint64_t *)c->data;
    pthread_mutex_unlock(&c->vm->lock);
    return 0;
}

static long do_count_instructions(struct ioctl_call *c)
{
    long r = lock_before_vcpus(c->vm);
    if (r < 0)
        return r;
    c->vm->translator.count = true;
    pthread_mutex_unlock(&c->vm->lock);
    return 0;
}

static long do_name_translations(struct ioctl_call *c)
{
    struct processor_translator *how = &c->vm->translator;
    if (c->argument > INT_MAX)
        return -EBADF;
    int file = fcntl((int)c->argument, F_DUPFD_CLOEXEC, 3);
    if (file < 0)
        return -errno;
    long r = lock_before_vcpus(c->vm);
    if (r < 0) {
        close(file);
        return r;
    }
    if (how->names)
        close(how->names_file);
    how->names = true;
    how->names_file = file;
    pthread_mutex_unlock(&c->vm->lock);
    return 0;
}

static const struct ioctl_entry vm_requests[] = {
    {KVM_IRQ_LINE, ARG_IN, do_irq_line},
    {KVM_IRQ_LINE_STATUS, ARG_INOUT, do_irq_line_status},
    {KVM_SIGNAL_MSI, ARG_IN, do_signal_msi},
    {TRAPEZE_KVM_MEMORY_WRITTEN, ARG_IN, do_memory_written},
    {TRAPEZE_KVM_REPORTS_WRITES, ARG_VALUE, do_reports_writes},
    {TRAPEZE_KVM_SET_TRANSLATOR, ARG_IN, do_set_translator},
    {TRAPEZE_KVM_TRACE_TRANSLATION, ARG_IN, do_trace_translation},
    {TRAPEZE_KVM_NAME_TRANSLATIONS, ARG_VALUE, do_name_translations},
    {TRAPEZE_KVM_COUNT_INSTRUCTIONS, ARG_VALUE, do_count_instructions},
    {KVM_CHECK_EXTENSION, ARG_VALUE, do_check_extension},
    {KVM_ENABLE_CAP, ARG_IN, do_enable_cap},
    {KVM_CREATE_VCPU, ARG_VALUE, do_create_vcpu},
    {KVM_SET_USER_MEMORY_REGION, ARG_IN, do_set_memory_region},
    {KVM_SET_USER_MEMORY_REGION2, ARG_IN, do_set_memory_region2},
    {KVM_GET_DIRTY_LOG, ARG_IN, do_get_dirty_log},
    {KVM_CLEAR_DIRTY_LOG, ARG_IN, do_clear_dirty_log},
    {KVM_RESET_DIRTY_RINGS, ARG_VALUE, do_reset_dirty_rings},
    {KVM_GET_STATS_FD, ARG_VALUE, do_get_stats_fd},
    {KVM_SET_TSS_ADDR, ARG_VALUE, do_set_tss_addr},
    {KVM_SET_IDENTITY_MAP_ADDR, ARG_IN, do_set_identity_map_addr},
    {KVM_SET_NR_MMU_PAGES, ARG_VALUE, do_set_nr_mmu_pages},
    {KVM_SET_BOOT_CPU_ID, ARG_VALUE, do_set_boot_cpu_id},
    {KVM_GET_CLOCK, ARG_OUT, do_get_clock},
    {KVM_SET_CLOCK, ARG_IN, do_set_clock},
    {KVM_GET_TSC_KHZ, ARG_VALUE, do_get_tsc_khz},
    {KVM_SET_TSC_KHZ, ARG_VALUE, do_set_tsc_khz},
    {KVM_REGISTER_COALESCED_MMIO, ARG_IN, do_register_coalesced},
    {KVM_UNREGISTER_COALESCED_MMIO, ARG_IN, do_unregister_coalesced},
    {KVM_X86_SET_MSR_FILTER, ARG_IN, do_set_msr_filter},
    {KVM_CREATE_IRQCHIP, ARG_VALUE, do_create_irqchip},
    {KVM_GET_IRQCHIP, ARG_INOUT, do_get_irqchip},
    {KVM_SET_IRQCHIP, ARG_IN, do_set_irqchip},
    {KVM_CREATE_PIT, ARG_VALUE, do_create_pit},
    {KVM_CREATE_PIT2, ARG_IN, do_create_pit2},
    {KVM_GET_PIT, ARG_INOUT, do_get_pit},
    {KVM_SET_PIT, ARG_IN, do_set_pit},
    {KVM_GET_PIT2, ARG_OUT, do_get_pit2},
    {KVM_SET_PIT2, ARG_IN, do_set_pit2},
    {KVM_REINJECT_CONTROL, ARG_VALUE, do_reinject_control},
    {KVM_SET_GSI_ROUTING, ARG_VALUE, do_set_gsi_routing},
    {KVM_IRQFD, ARG_IN, do_irqfd},
    {KVM_IOEVENTFD, ARG_IN, do_ioeventfd},
    {KVM_CREATE_DEVICE, ARG_INOUT, do_create_device},
};

long vm_ioctl(struct ioctl_call *c, uint32_t request)
{
    return ioctl_dispatch(vm_requests, ARRAY_SIZE(vm_requests), request, c, -ENOTTY);
}
