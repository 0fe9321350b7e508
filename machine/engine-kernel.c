/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine that is Linux's: /dev/kvm and its descriptors. */
#include "engine.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct engine_file {
    int fd;
    void *map;
    size_t length;
};

static struct engine_file *file_new(int fd)
{
    struct engine_file *f = g_new0(struct engine_file, 1);

    f->fd = fd;
    return f;
}

static void on_kick(int signal)
{
    (void)signal; /* its arrival is all that matters: KVM_RUN returns EINTR */
}

static struct engine_file *kernel_open(const struct log_sink *sink, GError **error)
{
    struct sigaction action = {.sa_handler = on_kick};
    const char *advice = "use --engine software";
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    (void)sink;
    if (fd < 0) {
        if (errno == EACCES)
            advice = "join the group `kvm`, or use --engine software";
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_ENGINE, "/dev/kvm: %s; %s",
                    g_strerror(errno), advice);
        return NULL;
    }
    sigemptyset(&action.sa_mask);
    sigaction(ENGINE_KICK_SIGNAL, &action, NULL);
    return file_new(fd);
}

static bool creates_file(unsigned long request)
{
    return request == KVM_CREATE_VM || request == KVM_CREATE_VCPU || request == KVM_GET_STATS_FD;
}

static long kernel_ioctl(struct engine_file *f, unsigned long request, unsigned long argument,
                         struct engine_file **created)
{
    int result = ioctl(f->fd, request, argument);

    if (result < 0)
        return -errno;
    if (!creates_file(request))
        return result;
    if (!created) {
        close(result);
        return -EINVAL;
    }
    *created = file_new(result);
    return 0;
}

static void *kernel_mmap(struct engine_file *f, size_t length)
{
    void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);

    if (p == MAP_FAILED)
        return NULL;
    f->map = p;
    f->length = length;
    return p;
}

static void kernel_close(struct engine_file *f)
{
    if (!f)
        return;
    if (f->map)
        munmap(f->map, f->length);
    close(f->fd);
    g_free(f);
}

/* immediate_exit serves a thread on its way into KVM_RUN, the signal one that is inside. */
static void kernel_kick(struct engine_file *vcpu, struct kvm_run *run, pthread_t thread)
{
    (void)vcpu;
    __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(thread, ENGINE_KICK_SIGNAL);
}

const struct engine_ops engine_kernel = {
    .name = "kvm",
    .open = kernel_open,
    .ioctl = kernel_ioctl,
    .mmap = kernel_mmap,
    .close = kernel_close,
    .kick = kernel_kick,
};
