/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Translated, interpreted or both, as the environment says. */
#include "preload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The mode that TRAPEZE_TRANSLATOR names, or -1. */
static int mode(void)
{
    static const char *const words[] = {
        [TRAPEZE_KVM_INTERPRET] = "off",
        [TRAPEZE_KVM_TRANSLATE] = "on",
        [TRAPEZE_KVM_TRANSLATE_CHECK] = "check",
    };
    const char *value = getenv("TRAPEZE_TRANSLATOR");
    if (!value || !*value)
        return -1;
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(value, words[i]))
            return (int)i;
    }
    if (preload_log_level())
        preload_log("trapeze-kvm: TRAPEZE_TRANSLATOR: `%s`: give on, off or check", value);
    return -1;
}

void translator_choose(struct tkvm_file *vm)
{
    int wanted = mode();
    if (wanted < 0)
        return;
    struct trapeze_kvm_translator t = {.mode = (uint32_t)wanted};
    tkvm_ioctl(vm, TRAPEZE_KVM_SET_TRANSLATOR, (unsigned long)&t, NULL); /* a new VM takes it */
}

bool translator_checked(void)
{
    return mode() == TRAPEZE_KVM_TRANSLATE_CHECK;
}

void translator_report(struct object *vcpu)
{
    if (!atomic_load_explicit(&vcpu->checked, memory_order_relaxed))
        return;
    struct trapeze_kvm_translator_difference *d = malloc(sizeof(*d));
    if (d &&
        !tkvm_ioctl(vcpu->file, TRAPEZE_KVM_GET_TRANSLATOR_DIFFERENCE, (unsigned long)d, NULL)) {
        atomic_store(&vcpu->checked, false);
        preload_log("trapeze-kvm: vCPU of process %d:", (int)getpid());
        if (write(STDERR_FILENO, d->text, strlen(d->text)) < 0)
            preload_log("trapeze-kvm: (cannot be shown)");
    }
    free(d);
}
