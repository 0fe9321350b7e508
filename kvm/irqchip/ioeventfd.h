/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioeventfds: guest writes that become eventfd signals without leaving KVM_RUN (KVM_IOEVENTFD).
 *
 * Included through irqchip.h; needs no irqchip.  The set has its own lock, a leaf.
 */
#ifndef TRAPEZE_IOEVENTFD_H
#define TRAPEZE_IOEVENTFD_H

#include "common/base/base.h"

#include <linux/kvm.h>

struct ioeventfd_set;

/* NULL: out of memory. */
struct ioeventfd_set *ioeventfd_set_new(void);
void ioeventfd_set_free(struct ioeventfd_set *s);

/* KVM_IOEVENTFD, also with KVM_IOEVENTFD_FLAG_DEASSIGN.  The descriptor is duplicated.  -EINVAL:
 * flags, length (0, 1, 2, 4, 8; no datamatch with 0), a wrapping range, not an eventfd; -EBADF;
 * -EEXIST: it would match the same writes as another; -ENOENT: nothing to remove; -ENOSPC: more
 * than 8192. */
int ioeventfd_assign(struct ioeventfd_set *s, const struct kvm_ioeventfd *e);

enum ioeventfd_bus { IOEVENTFD_MMIO, IOEVENTFD_PIO };
/* A guest write of SIZE (1 to 8) bytes.  True when it was one's and was signalled: it is complete.
 */
bool ioeventfd_signal(struct ioeventfd_set *s, enum ioeventfd_bus bus, uint64_t address,
                      unsigned size, const uint8_t *data);

#endif
