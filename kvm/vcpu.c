/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's life, and what other threads ask of it. */
#include "vcpu.h"
#include "guest-cpuid.h"
#include "msr.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Pause-loop exiting: PAUSEs at most so many ticks of the TSC apart are one loop, which exits after
 * so many PAUSEs (some tens of microseconds). */
#define PAUSE_LOOP_GAP    4096
#define PAUSE_LOOP_WINDOW 512

bool vcpu_is_bsp(const struct vcpu *v)
{
    return v->id == v->vm->boot_cpu_id;
}

/* 0 or -ENOMEM.  Whoever did not ask for a translator can do without. */
static int set_translator(struct vcpu *v)
{
    int r = processor_set_translator(v->processor, &v->vm->translator);
    if (r == 0 || v->vm->translator_required)
        return r;
    log_line(v->vm->system->log, LOG_LEVEL_WARNING,
             "vCPU %u: no executable memory for translations (memory is short, or the host forbids "
             "it): its code is interpreted, several times slower",
             v->id);
    return 0;
}

struct vcpu *vcpu_new(struct vm *vm, unsigned id)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->vm = vm;
    v->id = id;
    v->index = vm_vcpu_count(vm);
    v->external_vector = v->eoi_vector = -1;
    pthread_mutex_init(&v->mutex, NULL);
    v->processor = processor_new(vm->memory);
    int r = v->processor ? set_translator(v) : -ENOMEM;
    if (r == 0)
        r = dirty_ring_new(v);
    if (r < 0) {
        vcpu_free(v);
        errno = -r;
        return NULL;
    }
    v->mp_state = KVM_MP_STATE_RUNNABLE;
    if (vm->irqchip) {
        v->lapic = lapic_new(vm->irqchip, v, id, vcpu_is_bsp(v));
        if (!v->lapic) {
            int saved = errno;
            vcpu_free(v);
            errno = saved;
            return NULL;
        }
        if (!vcpu_is_bsp(v))
            v->mp_state = KVM_MP_STATE_UNINITIALIZED;
    }
    /* A vCPU that waits for a lock in a PAUSE loop lets others run: they may hold the lock and have
     * no core. */
    if (!(vm->disabled_exits & KVM_X86_DISABLE_EXITS_PAUSE))
        v->processor->vmcs.cpu_based_controls2 |= CPU2_PAUSE_LOOP_EXITING;
    v->processor->vmcs.ple_gap = PAUSE_LOOP_GAP;
    v->processor->vmcs.ple_window = PAUSE_LOOP_WINDOW;
    tsc_init(v);
    msr_reset(v);
    cpuid_apply(v);
    return v;
}

void vcpu_free(struct vcpu *v)
{
    if (v->lapic)
        lapic_free(v->lapic);
    if (v->processor)
        processor_free(v->processor);
    if (v->run)
        munmap(v->run, 3 * PAGE_BYTES);
    dirty_ring_free(v);
    free(v->cpuid);
    free(v->mce_banks);
    pthread_mutex_destroy(&v->mutex);
    free(v);
}

int vcpu_map_run(struct vcpu *v)
{
    struct vm *vm = v->vm;
    if (v->run)
        return 0;
    if (!vm->ring) {
        void *ring = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->run_fd, 0);
        if (ring == MAP_FAILED)
            return -errno;
        vm->ring = ring;
    }
    /* Two pages of its own, then the ring that all share, next to each other. */
    off_t own = (off_t)((1 + 2 * v->index) * PAGE_BYTES);
    uint8_t *at = mmap(NULL, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->run_fd, own);
    if (at == MAP_FAILED)
        return -errno;
    if (mmap(at + 2 * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             vm->run_fd, 0) == MAP_FAILED) {
        int error = -errno;
        munmap(at, 3 * PAGE_BYTES);
        return error;
    }
    v->pio_data = at + PAGE_BYTES;
    v->run = (struct kvm_run *)at;
    return 0;
}

/* ---------------------------------------------------------------- requests */

void vcpu_request(struct vcpu *v, uint32_t requests)
{
    atomic_fetch_or(&v->requests, requests);
    processor_kick(v->processor);
    if (atomic_load(&v->blocked))
        syscall(SYS_futex, &v->requests, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void service_kick(void *vcpu)
{
    vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

void vcpu_send_nmi(struct vcpu *v)
{
    atomic_fetch_add(&v->nmis_sent, 1);
    vcpu_request(v, VCPU_REQUEST_NMI);
}

static void service_nmi(void *vcpu)
{
    vcpu_send_nmi(vcpu);
}

/* System management mode is not offered, so its interrupt goes nowhere. */
static void service_smi(void *vcpu)
{
    (void)vcpu;
}

static void service_init(void *vcpu)
{
    vcpu_request(vcpu, VCPU_REQUEST_INIT);
}

static void service_sipi(void *vcpu, uint8_t vector)
{
    struct vcpu *v = vcpu;
    atomic_store(&v->sipi_vector, vector);
    vcpu_request(v, VCPU_REQUEST_SIPI);
}

static uint64_t service_tsc(void *vcpu)
{
    return vcpu_tsc(vcpu);
}

static uint32_t service_tsc_khz(void *vcpu)
{
    struct vcpu *v = vcpu;
    return v->tsc_khz;
}

static void service_report_eoi(void *vcpu, uint8_t vector)
{
    struct vcpu *v = vcpu;
    v->eoi_vector = vector;
}

const struct irqchip_services vcpu_services = {
    .kick = service_kick,
    .nmi = service_nmi,
    .smi = service_smi,
    .init = service_init,
    .sipi = service_sipi,
    .tsc = service_tsc,
    .tsc_khz = service_tsc_khz,
    .report_eoi = service_report_eoi,
};

/* ---------------------------------------------------------------- INIT and SIPI */

static void take_init(struct vcpu *v)
{
    v->exception = (struct vcpu_exception){0};
    v->nmi_pending = 0;
    v->nmi_injected = v->interrupt_injected = v->unhalted = false;
    v->complete = NULL;
    v->msr.pv_eoi = 0;
    vmx_abandon_access(v->processor);
    processor_reset(v->processor, true);
    if (v->lapic)
        lapic_reset(v->lapic, true);
    processor_state_changed(v->processor);
    v->mp_state = vcpu_is_bsp(v) ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
}

/* SDM volume 3, 9.4.4: start at VV000h in real mode. */
static void take_sipi(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint32_t vector = atomic_load(&v->sipi_vector) & 0xff;
    if (v->mp_state != KVM_MP_STATE_INIT_RECEIVED)
        return;
    p->segment[SEG_CS].selector = (uint16_t)(vector << 8);
    p->segment[SEG_CS].base = vector << 12;
    p->rip = 0;
    processor_state_changed(p);
    v->mp_state = KVM_MP_STATE_RUNNABLE;
}

void vcpu_accept_signals(struct vcpu *v)
{
    uint32_t r = atomic_fetch_and(&v->requests, ~(VCPU_REQUEST_INIT | VCPU_REQUEST_SIPI));
    if (r & VCPU_REQUEST_INIT)
        take_init(v);
    if (r & VCPU_REQUEST_SIPI)
        take_sipi(v);
}
