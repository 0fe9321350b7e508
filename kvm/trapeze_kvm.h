/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The KVM ABI in user space: kvm/'s one public header.
 *
 * Where a program would open /dev/kvm and use open, ioctl, mmap and close on descriptors, it uses
 * these on a struct tkvm_file.  Requests, structures and results are Linux's (linux/kvm.h; its
 * Documentation/virt/kvm/api.rst).  Results are >= 0 or -errno; nothing is ever printed but through
 * the log sink.  All calls but KVM_RUN may be made from any thread; KVM_RUN of one vCPU by one
 * thread at a time.
 */
#ifndef TRAPEZE_KVM_H
#define TRAPEZE_KVM_H

#include "common/base/log.h"

#include <linux/kvm.h>

/* An open KVM object: the system (/dev/kvm itself), a VM, a vCPU, a device, a statistics file. */
struct tkvm_file;

/* Opens the system object.  SINK may be NULL; it must outlive everything created from the file.
 * Returns NULL when out of memory. */
struct tkvm_file *tkvm_open(const struct log_sink *sink);

/* ioctl.  REQUEST is cut to 32 bits.  For a request that creates an object (KVM_CREATE_VM,
 * KVM_CREATE_VCPU, KVM_CREATE_DEVICE, KVM_GET_STATS_FD) the result is 0 and *created is the new
 * file; CREATED may be NULL for all others. */
long tkvm_ioctl(struct tkvm_file *f, unsigned long request, unsigned long argument,
                struct tkvm_file **created);

/* read of a statistics file at byte OFFSET: how many bytes there were (0: the end), or -EINVAL for
 * other files. */
long tkvm_read(struct tkvm_file *f, void *to, size_t size, uint64_t offset);

/* mmap of LENGTH bytes at byte OFFSET of a vCPU file: struct kvm_run, the PIO page, the coalesced
 * ring page; at KVM_DIRTY_LOG_PAGE_OFFSET the dirty ring.  The memory belongs to the vCPU and is
 * not unmapped by the caller.  Returns NULL and sets errno when nothing is there. */
void *tkvm_mmap(struct tkvm_file *f, size_t length, uint64_t offset);

/* The memory behind one page of a vCPU file's mapping, so that a preload library can map it where a
 * program asked: for the page at byte OFFSET, returns a memfd and sets *position to the page's
 * place in it.  The pages of one mapping need not be neighbours there.  -errno; the descriptor
 * stays ours. */
int tkvm_mmap_fd(struct tkvm_file *f, uint64_t offset, uint64_t *position);

/* The program is about to change what is mapped at [at, at + size) of its addresses; it has.  On
 * Linux the kernel sees for itself, here whoever knows must tell: a VM's slot may lead there, and
 * its vCPUs must not touch it meanwhile.  tkvm_memory_end follows if tkvm_memory_begin said true.
 * Not to be called by a thread in KVM_RUN. */
bool tkvm_memory_begin(struct tkvm_file *vm, const void *at, size_t size);
void tkvm_memory_end(struct tkvm_file *vm);

/* close.  Objects live on while others depend on them (a VM while it has vCPU files). */
void tkvm_close(struct tkvm_file *f);

/* Makes a KVM_RUN that runs or is about to run in another thread return -EINTR soon, as a signal to
 * its thread does on Linux.  For callers that cannot use signals; async-signal-safe. */
void tkvm_kick(struct tkvm_file *vcpu);
/* Takes back kicks that came after the KVM_RUN that they were meant for. */
void tkvm_clear_kick(struct tkvm_file *vcpu);
/* Whether the program asked KVM_RUN to return at once (kvm_run.immediate_exit). */
bool tkvm_immediate_exit(const struct tkvm_file *vcpu);

/* ---- what Linux lacks: behind one capability of our own ---- */

/* KVM_CHECK_EXTENSION of this number answers the version of the extension, now 3; Linux answers 0.
 */
#define KVM_CAP_TRAPEZE 0x545250 /* "TRP" */

/* VM: says that user space wrote guest memory [gpa, gpa + size), so that code decoded from it is
 * dropped and the dirty log is right.  Programs that do not know of it are served all the same:
 * see docs/architecture.md, "Writes from outside". */
struct trapeze_kvm_memory_written {
    __u64 gpa;
    __u64 size;
};
#define TRAPEZE_KVM_MEMORY_WRITTEN _IOW(KVMIO, 0xf0, struct trapeze_kvm_memory_written)

/* VM (version 2): the program will report every write, before it tells the guest of it, so that
 * changed code need not be looked for. */
#define TRAPEZE_KVM_REPORTS_WRITES _IO(KVMIO, 0xf8)

/* vCPU: VM exits counted by architectural reason (processor/vmcs.h's numbers and names). */
struct trapeze_kvm_exit_counts {
    __u32 count; /* in: entries there is room for; out: entries filled */
    __u32 pad;
    struct {
        char name[24];
        __u64 exits;
    } entry[];
};
#define TRAPEZE_KVM_GET_EXIT_COUNTS _IOWR(KVMIO, 0xf1, struct trapeze_kvm_exit_counts)

/* vCPU: instructions retired so far; of those that ran translated only what was counted: see
 * TRAPEZE_KVM_COUNT_INSTRUCTIONS. */
#define TRAPEZE_KVM_GET_INSTRUCTIONS _IOR(KVMIO, 0xf2, __u64)

/* VM (version 2): how its vCPUs run code; before the first of them is created, else -EBUSY.
 * -EINVAL for an unknown mode.  Without this call code is translated (since version 3), or
 * interpreted where memory is short or the host forbids executable memory; where a translator was
 * asked for, KVM_CREATE_VCPU fails then (-ENOMEM). */
enum {
    TRAPEZE_KVM_INTERPRET,
    TRAPEZE_KVM_TRANSLATE,
    /* Every run of a translation is compared with the interpreter: slow, for one vCPU. */
    TRAPEZE_KVM_TRANSLATE_CHECK,
};
struct trapeze_kvm_translator {
    __u32 mode;
    __u32 threshold; /* a block is translated at this lookup; 0: the default */
};
#define TRAPEZE_KVM_SET_TRANSLATOR _IOW(KVMIO, 0xf3, struct trapeze_kvm_translator)

/* vCPU (version 3): what its translator did; all 0 when it has none. */
struct trapeze_kvm_translator_counts {
    __u64 blocks;                /* translated so far */
    __u64 bytes;                 /* of host code, now */
    __u64 capacity;              /* of them, at most */
    __u64 emptied;               /* times the cache was emptied */
    __u64 entries;               /* from the run loop into translated code */
    __u64 links;                 /* jumps made direct */
    __u64 slow;                  /* memory accesses that missed the inline TLB check */
    __u64 handlers;              /* instructions run by their handler from translated code */
    __u64 compared, differences; /* TRAPEZE_KVM_TRANSLATE_CHECK */
};
#define TRAPEZE_KVM_GET_TRANSLATOR_COUNTS _IOR(KVMIO, 0xf4, struct trapeze_kvm_translator_counts)

/* vCPU (version 2): the first difference that TRAPEZE_KVM_TRANSLATE_CHECK found, as text; -ENOENT
 * when there is none. */
struct trapeze_kvm_translator_difference {
    char text[8192]; /* ends with 0 */
};
#define TRAPEZE_KVM_GET_TRANSLATOR_DIFFERENCE                                                      \
    _IOR(KVMIO, 0xf5, struct trapeze_kvm_translator_difference)

/* vCPU (version 3): memory accesses that missed the translator's inline TLB check, by kind; the
 * instructions that its translations left to handlers, by operation; entries that are not 0. */
#define TRAPEZE_KVM_GET_MISS_COUNTS    _IOWR(KVMIO, 0xf6, struct trapeze_kvm_exit_counts)
#define TRAPEZE_KVM_GET_HANDLER_COUNTS _IOWR(KVMIO, 0xf7, struct trapeze_kvm_exit_counts)

/* VM (version 3): new vCPUs keep the last translation of the block that covers the linear address
 * *argument, for TRAPEZE_KVM_GET_TRANSLATION. */
#define TRAPEZE_KVM_TRACE_TRANSLATION _IOW(KVMIO, 0xf9, __u64)

/* VM (version 3): new vCPUs write the addresses of their translations, as lines of perf's
 * /tmp/perf-PID.map, to the file whose descriptor is the argument (which may be closed afterwards).
 * -EBADF when it is none. */
#define TRAPEZE_KVM_NAME_TRANSLATIONS _IO(KVMIO, 0xfa)

/* VM (version 3): new vCPUs count the instructions that their translations retire, for
 * TRAPEZE_KVM_GET_INSTRUCTIONS and the statistic of that name; it costs some speed. */
#define TRAPEZE_KVM_COUNT_INSTRUCTIONS _IO(KVMIO, 0xfc)

/* vCPU (version 3): guest code and what was made of it; -ENOENT when no block at the address was
 * translated. */
struct trapeze_kvm_translation_part {
    __u16 start; /* offset in code; it reaches to the next part's */
    __u16 insn;  /* offset in guest of the instruction that it belongs to */
    __u16 kind;  /* 0 the way in, 1 an instruction, 2 behind the last one, 3 out of line */
};
struct trapeze_kvm_translation {
    __u64 linear; /* of the first instruction, when it was translated */
    __u64 host;   /* where code runs */
    __u64 late_host;
    __u32 bits; /* how the guest code is decoded: 64, 32, 16 */
    __u32 parts;
    __u32 guest_bytes, code_bytes; /* whole lengths; what does not fit below is left out */
    __u32 inline_bytes;            /* of code; the rest, out of line, runs at late_host */
    __u32 reserved;
    __u8 guest[768];
    __u8 code[12288];
    struct trapeze_kvm_translation_part part[320];
};
#define TRAPEZE_KVM_GET_TRANSLATION _IOR(KVMIO, 0xfb, struct trapeze_kvm_translation)

#endif
