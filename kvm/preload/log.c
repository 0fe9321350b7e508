/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log, and the functions behind ours. */
#include "preload.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *next_function(_Atomic(void *) *slot, const char *name)
{
    void *f = atomic_load_explicit(slot, memory_order_acquire);
    if (!f) {
        f = dlsym(RTLD_NEXT, name);
        if (!f)
            abort(); /* only functions of the C library that calls us are asked for */
        atomic_store_explicit(slot, f, memory_order_release);
    }
    return f;
}

int preload_log_level(void)
{
    static _Atomic int level; /* 1 more than it is; 0: not looked up */
    int l = atomic_load(&level);
    if (!l) {
        const char *text = getenv("TRAPEZE_KVM_LOG");
        l = 1 + (text && *text ? (*text == '2' ? 2 : 1) : 0);
        atomic_store(&level, l);
    }
    return l - 1;
}

void preload_log(const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof(text) - 1, format, arguments);
    va_end(arguments);
    if (n < 0)
        return;
    if ((size_t)n > sizeof(text) - 2)
        n = sizeof(text) - 2;
    text[n] = '\n';
    if (write(STDERR_FILENO, text, (size_t)n + 1) < 0)
        return; /* nobody to tell */
}

static void sink_line(void *opaque, enum log_level level, const char *text)
{
    (void)opaque;
    (void)level;
    if (preload_log_level())
        preload_log("trapeze-kvm: %s", text);
}

const struct log_sink preload_sink = {.line = sink_line};
