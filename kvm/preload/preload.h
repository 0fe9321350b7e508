/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libtrapeze-kvm.so: preloaded, it gives an unmodified program a /dev/kvm that is kvm/'s.
 *
 * A KVM descriptor is a real descriptor, an empty memfd, so that numbers, dup, O_CLOEXEC and
 * inheritance are the kernel's; a table says which KVM object it stands for.  The library
 * interposes the C library's functions that open, use and close descriptors, those that look at
 * /dev/kvm and /sys/module/kvm*, and those that install signal handlers.
 *
 * The interposed functions may be called by signal handlers, so the table takes no lock.  A vfork
 * child shares our memory but not the descriptors: what it closes or dups leaves the table alone.
 */
#ifndef TRAPEZE_PRELOAD_H
#define TRAPEZE_PRELOAD_H

#include "kvm/trapeze_kvm.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

/* An interposed function. */
#define EXPORT __attribute__((visibility("default")))

/* The function that NAME would be without us. */
#define NEXT(name)                                                                                 \
    ({                                                                                             \
        static _Atomic(void *) next_slot;                                                          \
        (__typeof__(&name))next_function(&next_slot, #name);                                       \
    })
void *next_function(_Atomic(void *) *slot, const char *name);

/* ---- objects.c: KVM objects and the table of descriptors ---- */

enum object_kind { OBJECT_SYSTEM, OBJECT_VM, OBJECT_VCPU, OBJECT_STATS };

/* What a KVM descriptor stands for: Linux's open file description. */
struct object {
    _Atomic unsigned references; /* descriptors, and calls in progress */
    _Atomic bool used;
    enum object_kind kind;
    struct tkvm_file *file;
    pid_t process; /* that made it */

    /* vCPUs. */
    _Atomic bool masked;       /* KVM_SET_SIGNAL_MASK gave a mask: */
    _Atomic uint64_t mask;     /* signals that are blocked during KVM_RUN, bit 0 is signal 1 */
    _Atomic(pthread_t) runner; /* the thread in KVM_RUN, if it has a mask of its own or can be
                                  cancelled at any time: those that signal or cancel it kick */
    _Atomic bool checked;      /* the first difference of its translator is to be told */
};

/* The object of descriptor FD with a reference for the caller, or NULL. */
struct object *object_of(int fd);
void object_release(struct object *o);
/* Makes a descriptor for FILE, which it takes over also on failure.  The descriptor, or -errno. */
int object_install(enum object_kind kind, struct tkvm_file *file, bool close_on_exec);
/* Makes a descriptor for the system, or -errno. */
int object_open_system(bool close_on_exec);
/* True when descriptor FD stands for something; cheap. */
bool object_known(int fd);
/* Descriptor FD stands for O from now on (NULL: for nothing of ours), with a reference of its own.
 */
void object_assign(int fd, struct object *o);
/* Takes FD out of the table, before it is closed: what it stood for, to be released by the caller,
 * or NULL. */
struct object *object_remove(int fd);
/* A KVM descriptor that came from elsewhere (exec, a socket): -ENOTTY when FD is none; else enters
 * it into the table (the system), or -EIO (another process's VM or vCPU). */
int object_adopt(int fd);
/* Brings the contents of FD up to date before it is read, if it is a statistics file. */
void object_refresh(int fd);
/* Kicks the vCPU that THREAD runs, if it has a runner (below). */
void object_kick_runner(pthread_t thread);

/* Tells every VM that the process's mappings at [at, at + size) are about to change, and (after)
 * that they have.  What the first call returned goes to the second. */
struct changed_vms {
    struct object *vm[16];
    unsigned count;
};
void objects_memory_begin(struct changed_vms *c, const void *at, size_t size);
void objects_memory_end(struct changed_vms *c);

/* ---- signals.c ---- */

/* True when the calling thread is in KVM_RUN: a handler runs in the midst of it. */
bool signals_in_run(void);

/* KVM_RUN, which ends with -EINTR when a signal comes. */
long signals_run(struct object *vcpu, unsigned long request, unsigned long argument);
/* After KVM_RUN, with nothing of ours held: lets the handlers of the signals that came run. */
void signals_resume(void);

/* ---- paths.c: what stands at a path ---- */

enum special_kind { SPECIAL_NONE, SPECIAL_KVM, SPECIAL_PARAMETER, SPECIAL_FOLDER, SPECIAL_ABSENT };
struct special {
    enum special_kind kind;
    const char *text; /* SPECIAL_PARAMETER: the file's contents */
};
struct special special_find(const char *path);
/* Opens it.  A descriptor, or -1 and errno. */
int special_open(const struct special *s, int flags);

/* ---- translator.c: how guests' code runs, by TRAPEZE_TRANSLATOR ---- */

/* VM was just made. */
void translator_choose(struct tkvm_file *vm);
/* True when translator and interpreter are to be compared. */
bool translator_checked(void);
/* After KVM_RUN: tells the first difference, if it is to be told. */
void translator_report(struct object *vcpu);

/* ---- log.c: to stderr, when TRAPEZE_KVM_LOG is set ---- */

/* 0: none; 1: failures and our KVM's own lines; 2: every request. */
int preload_log_level(void);
void preload_log(const char *format, ...) FORMAT_PRINTF(1, 2);
extern const struct log_sink preload_sink;

#endif
