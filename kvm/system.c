/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system object: /dev/kvm's own requests. */
#include "guest-cpuid.h"
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The MSRs that the processor implements; the others exit to KVM. */
static const uint32_t processor_msrs[] = {
    0x174,      0x175,      0x176,                              /* SYSENTER_CS, _ESP, _EIP */
    0x277,      0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, /* PAT, EFER, STAR, LSTAR, CSTAR */
    0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, /* SFMASK, bases, TSC_AUX */
};

/* The SDM's MSR bitmap (volume 3, 25.6.9): reads of low and high MSRs, then writes. */
static void init_msr_bitmap(uint8_t *bitmap)
{
    memset(bitmap, 0xff, 4096);
    for (size_t i = 0; i < ARRAY_SIZE(processor_msrs); i++) {
        uint32_t index = processor_msrs[i] & 0x1fff;
        uint8_t *reads = bitmap + (processor_msrs[i] >= 0xc0000000 ? 1024 : 0);
        reads[index / 8] &= (uint8_t) ~(1u << index % 8);
        reads[2048 + index / 8] &= (uint8_t) ~(1u << index % 8);
    }
}

struct system *system_new(const struct log_sink *log)
{
    struct system *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->references = 1;
    s->log = log;
    s->tsc_khz = host_tsc_khz();
    init_msr_bitmap(s->msr_bitmap);
    cpuid_init_supported(s);
    return s;
}

void system_release(struct system *s)
{
    if (atomic_fetch_sub(&s->references, 1) == 1)
        free(s);
}

static long do_get_api_version(struct ioctl_call *c)
{
    return c->argument ? -EINVAL : KVM_API_VERSION;
}

static long do_create_vm(struct ioctl_call *c)
{
    if (c->argument) /* the one machine type there is */
        return -EINVAL;
    if (!c->created)
        return -EFAULT;
    struct vm *vm = vm_new(c->system);
    if (!vm)
        return -errno;
    *c->created = file_new_vm(vm);
    if (!*c->created) {
        vm_release(vm);
        return -ENOMEM;
    }
    return 0;
}

static long do_check_extension(struct ioctl_call *c)
{
    return capability_check(NULL, c->argument);
}

static long do_get_mmap_size(struct ioctl_call *c)
{
    return c->argument ? -EINVAL : (long)(3 * PAGE_BYTES);
}

static long do_get_supported_cpuid(struct ioctl_call *c)
{
    return cpuid_get_supported(c->system, c->argument);
}

static long do_get_emulated_cpuid(struct ioctl_call *c)
{
    return cpuid_get_emulated(c->argument);
}

static long do_get_msr_index_list(struct ioctl_call *c)
{
    return msr_index_list(c->argument);
}

static long do_get_msr_feature_list(struct ioctl_call *c)
{
    return msr_feature_list(c->argument);
}

static long do_get_msrs(struct ioctl_call *c)
{
    return msr_get_features(c->argument);
}

static long do_get_mce_cap(struct ioctl_call *c)
{
    *(uint64_t *)c->data = MCE_CAP_SUPPORTED;
    return 0;
}

/* The one attribute: which XSAVE components a guest may be given. */
static long find_attribute(const struct kvm_device_attr *a)
{
    return a->group || a->attr != KVM_X86_XCOMP_GUEST_SUPP ? -ENXIO : 0;
}

static long do_has_device_attr(struct ioctl_call *c)
{
    return find_attribute(c->data);
}

static long do_get_device_attr(struct ioctl_call *c)
{
    const struct kvm_device_attr *a = c->data;
    uint64_t components = processor_has_feature(FEATURE_AVX) ? 7 : 3;
    long r = find_attribute(a);
    return r < 0 ? r : user_write(a->addr, &components, sizeof(components));
}

static const struct ioctl_entry system_requests[] = {
    {KVM_GET_API_VERSION, ARG_VALUE, do_get_api_version},
    {KVM_CREATE_VM, ARG_VALUE, do_create_vm},
    {KVM_CHECK_EXTENSION, ARG_VALUE, do_check_extension},
    {KVM_GET_VCPU_MMAP_SIZE, ARG_VALUE, do_get_mmap_size},
    {KVM_GET_SUPPORTED_CPUID, ARG_VALUE, do_get_supported_cpuid},
    {KVM_GET_EMULATED_CPUID, ARG_VALUE, do_get_emulated_cpuid},
    {KVM_GET_MSR_INDEX_LIST, ARG_VALUE, do_get_msr_index_list},
    {KVM_GET_MSR_FEATURE_INDEX_LIST, ARG_VALUE, do_get_msr_feature_list},
    {KVM_GET_MSRS, ARG_VALUE, do_get_msrs},
    {KVM_X86_GET_MCE_CAP_SUPPORTED, ARG_OUT, do_get_mce_cap},
    {KVM_HAS_DEVICE_ATTR, ARG_IN, do_has_device_attr},
    {KVM_GET_DEVICE_ATTR, ARG_IN, do_get_device_attr},
};

long system_ioctl(struct ioctl_call *c, uint32_t request)
{
    return ioctl_dispatch(system_requests, ARRAY_SIZE(system_requests), request, c, -EINVAL);
}
