/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the ACPI tables say of the power management block at PORT_PM_BASE. */
#ifndef TRAPEZE_PM_H
#define TRAPEZE_PM_H

#define PM_BLOCK_LENGTH   0x40
#define PM_EVENT_LENGTH   4
#define PM_CONTROL_OFFSET 4
#define PM_CONTROL_LENGTH 2
#define PM_TIMER_OFFSET   8
#define PM_TIMER_LENGTH   4
#define PM_GPE0_OFFSET    0x20
#define PM_GPE0_LENGTH    8 /* four status bytes, four enable bytes */
#define PM_SLEEP_TYPE_S3  1
#define PM_SLEEP_TYPE_S5  5

#endif
