/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands at the paths where programs look for KVM: /dev/kvm and the module parameters. */
#include "preload.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As a Linux 6.12 says it that does what kvm/ does. */
static const struct parameter {
    const char *module, *name, *text;
} parameters[] = {
    {"kvm", "eager_page_split", "Y\n"},
    {"kvm", "enable_pmu", "N\n"},
    {"kvm", "enable_vmware_backdoor", "N\n"},
    {"kvm", "flush_on_reuse", "N\n"},
    {"kvm", "force_emulation_prefix", "0\n"},
    {"kvm", "halt_poll_ns", "0\n"},
    {"kvm", "halt_poll_ns_grow", "2\n"},
    {"kvm", "halt_poll_ns_shrink", "0\n"},
    {"kvm", "ignore_msrs", "N\n"},
    {"kvm", "kvmclock_periodic_sync", "N\n"},
    {"kvm", "lapic_timer_advance", "N\n"},
    {"kvm", "min_timer_period_us", "200\n"},
    {"kvm", "mmio_caching", "Y\n"},
    {"kvm", "nx_huge_pages", "N\n"},
    {"kvm", "report_ignored_msrs", "Y\n"},
    {"kvm", "tdp_mmu", "N\n"},
    {"kvm", "tsc_tolerance_ppm", "250\n"},
    {"kvm", "vector_hashing", "Y\n"},
    {"kvm_intel", "allow_smaller_maxphyaddr", "N\n"},
    {"kvm_intel", "emulate_invalid_guest_state", "Y\n"},
    {"kvm_intel", "enable_apicv", "N\n"},
    {"kvm_intel", "ept", "Y\n"},
    {"kvm_intel", "eptad", "Y\n"},
    {"kvm_intel", "flexpriority", "Y\n"},
    {"kvm_intel", "nested", "N\n"},
    {"kvm_intel", "pml", "N\n"},
    {"kvm_intel", "preemption_timer", "N\n"},
    {"kvm_intel", "unrestricted_guest", "Y\n"},
    {"kvm_intel", "vnmi", "N\n"},
    {"kvm_intel", "vpid", "Y\n"},
    {"kvm_amd", "avic", "N\n"},
    {"kvm_amd", "nested", "0\n"},
    {"kvm_amd", "npt", "Y\n"},
    {"kvm_amd", "nrips", "1\n"},
    {"kvm_amd", "sev", "N\n"},
    {"kvm_amd", "sev_es", "N\n"},
    {"kvm_amd", "sev_snp", "N\n"},
    {"kvm_amd", "vgif", "0\n"},
    {"kvm_amd", "vls", "0\n"},
    {"kvm_amd", "vnmi", "N\n"},
};

/* kvm_intel or kvm_amd, as the host's vendor has it; Hygon's processors use AMD's. */
static const char *vendor_module(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d))
        return "kvm_intel";
    return b == signature_AMD_ebx || b == 0x6f677948 ? "kvm_amd" : "kvm_intel";
}

/* PATH after "MODULE" at its beginning and the end of the name, or NULL. */
static const char *after(const char *path, const char *module)
{
    size_t n = strlen(module);
    return !strncmp(path, module, n) && (!path[n] || path[n] == '/') ? path + n : NULL;
}

static struct special find_in_module(const char *module, const char *rest)
{
    static const char folder[] = "/parameters";
    if (!*rest || !strcmp(rest, "/") || !strcmp(rest, folder) || !strcmp(rest, "/parameters/"))
        return (struct special){.kind = SPECIAL_FOLDER};
    if (!strncmp(rest, folder, strlen(folder)) && rest[strlen(folder)] == '/')
        for (size_t i = 0; i < ARRAY_SIZE(parameters); i++)
            if (!strcmp(parameters[i].module, module) &&
                !strcmp(parameters[i].name, rest + strlen(folder) + 1))
                return (struct special){.kind = SPECIAL_PARAMETER, .text = parameters[i].text};
    return (struct special){.kind = SPECIAL_ABSENT};
}

struct special special_find(const char *path)
{
    static const char modules[] = "/sys/module/";
    static const char *const all[] = {"kvm", "kvm_intel", "kvm_amd"};
    if (!path || path[0] != '/')
        return (struct special){.kind = SPECIAL_NONE};
    if (!strcmp(path, "/dev/kvm"))
        return (struct special){.kind = SPECIAL_KVM};
    if (strncmp(path, modules, strlen(modules)))
        return (struct special){.kind = SPECIAL_NONE};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        const char *rest = after(path + strlen(modules), all[i]);
        if (!rest)
            continue;
        /* The other vendor's module may be there on the host, but not for the program. */
        if (i && strcmp(all[i], vendor_module()))
            return (struct special){.kind = SPECIAL_ABSENT};
        return find_in_module(all[i], rest);
    }
    return (struct special){.kind = SPECIAL_NONE};
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static int open_kvm(int flags)
{
    if (flags & O_DIRECTORY)
        return fail(ENOTDIR);
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return fail(EEXIST);
    int fd = object_open_system(flags & O_CLOEXEC);
    if (preload_log_level())
        preload_log("trapeze-kvm: open of /dev/kvm: %d", fd);
    return fd < 0 ? fail(-fd) : fd;
}

static int open_text(const char *text, int flags)
{
    if ((flags & O_ACCMODE) != O_RDONLY)
        return fail(EACCES);
    int fd = memfd_create("kvm-parameter", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    if (fd < 0)
        return -1;
    if (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        int error = errno;
        NEXT(close)(fd);
        return fail(error);
    }
    return fd;
}

int special_open(const struct special *s, int flags)
{
    switch (s->kind) {
    case SPECIAL_KVM:
        return open_kvm(flags);
    case SPECIAL_PARAMETER:
        return open_text(s->text, flags);
    case SPECIAL_FOLDER:
        return NEXT(open)("/sys/module", flags); /* a folder, if not this one's files */
    default:
        return fail(ENOENT);
    }
}
