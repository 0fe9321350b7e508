/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ioctl.h"

#include <errno.h>
#include <string.h>

/* Linux maps nothing below 64 KiB (vm.mmap_min_addr), and user addresses end at 2^47 - 4096. */
#define USER_LOWEST  0x10000ul
#define USER_HIGHEST 0x7ffffffff000ul

bool user_range_ok(unsigned long address, size_t size)
{
    return address >= USER_LOWEST && range_inside(address, size, USER_HIGHEST);
}

int user_read(void *to, unsigned long address, size_t size)
{
    if (!user_range_ok(address, size))
        return -EFAULT;
    memcpy(to, (const void *)address, size);
    return 0;
}

int user_write(unsigned long address, const void *from, size_t size)
{
    if (!user_range_ok(address, size))
        return -EFAULT;
    memcpy((void *)address, from, size);
    return 0;
}

long ioctl_dispatch(const struct ioctl_entry *table, size_t count, uint32_t request,
                    struct ioctl_call *c, long unknown)
{
    const struct ioctl_entry *e = NULL;
    for (size_t i = 0; i < count && !e; i++)
        if (table[i].request == request)
            e = &table[i];
    if (!e)
        return unknown;
    if (e->argument == ARG_VALUE)
        return e->handler(c);

    uint64_t data[IOCTL_BYTES_MAX / sizeof(uint64_t)];
    size_t size = _IOC_SIZE(request);
    if (!user_range_ok(c->argument, size))
        return -EFAULT;
    if (e->argument & ARG_IN)
        memcpy(data, (const void *)c->argument, size);
    else
        memset(data, 0, size); /* padding never shows our stack */
    c->data = data;
    long result = e->handler(c);
    if (result >= 0 && (e->argument & ARG_OUT))
        memcpy((void *)c->argument, data, size);
    return result;
}
