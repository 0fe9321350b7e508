/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine that is Trapeze's own: kvm/, by function call.  A struct engine_file is a struct
 * tkvm_file under another name. */
#include "engine.h"
#include "kvm/trapeze_kvm.h"
#include "machine.h"

static struct tkvm_file *tkvm(struct engine_file *f)
{
    return (struct tkvm_file *)f;
}

static struct engine_file *software_open(const struct log_sink *sink, GError **error)
{
    struct tkvm_file *f = tkvm_open(sink);

    if (!f)
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_ENGINE,
                    "the software engine: out of memory");
    return (struct engine_file *)f;
}

static long software_ioctl(struct engine_file *f, unsigned long request, unsigned long argument,
                           struct engine_file **created)
{
    struct tkvm_file *file = NULL;
    long result = tkvm_ioctl(tkvm(f), request, argument, &file);

    if (created)
        *created = (struct engine_file *)file;
    else if (file)
        tkvm_close(file);
    return result;
}

static void *software_mmap(struct engine_file *f, size_t length)
{
    return tkvm_mmap(tkvm(f), length, 0);
}

static void software_close(struct engine_file *f)
{
    if (f)
        tkvm_close(tkvm(f));
}

static void software_kick(struct engine_file *vcpu, struct kvm_run *run, pthread_t thread)
{
    (void)run;
    (void)thread;
    tkvm_kick(tkvm(vcpu));
}

const struct engine_ops engine_software = {
    .name = "software",
    .open = software_open,
    .ioctl = software_ioctl,
    .mmap = software_mmap,
    .close = software_close,
    .kick = software_kick,
};
