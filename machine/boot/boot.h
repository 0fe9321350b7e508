/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Booting without firmware: loads the guest image into RAM, writes the tables that it expects, and
 * says where and in which mode the first vCPU starts.
 *
 * Recognized are bzImage (64-bit boot protocol), ELF kernels with a PVH note, and multiboot 1
 * images. Files are untrusted: every field is checked before it is used.
 */
#ifndef TRAPEZE_BOOT_H
#define TRAPEZE_BOOT_H

#include "machine/machine.h"

/* Registers of the first vCPU: in, as at power-on; out, as the image's protocol wants them. */
struct boot_entry {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
};

/* Loads what M's configuration names; at first start and at every reset.  Returns false with ERROR
 * set, which names the flag and the file. */
bool boot_load(struct machine *m, struct boot_entry *entry, GError **error);

/* What firmware does after S3: ENTRY becomes the guest's waking vector, in real mode.  False when
 * the guest gave none. */
bool boot_wake(struct machine *m, struct boot_entry *entry);

#endif
