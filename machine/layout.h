/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fixed addresses of machine `virt-1`: q35-shaped, so that firmware and kernels find what they
 * know. */
#ifndef TRAPEZE_LAYOUT_H
#define TRAPEZE_LAYOUT_H

#define LAYOUT_LOW_RAM_MAX  0x80000000ull /* RAM below 4 GiB ends here at most (2 GiB) */
#define LAYOUT_PCI_HOLE     0xc0000000ull /* 32-bit PCI BARs: to 0xfebfffff */
#define LAYOUT_PCI_HOLE_END 0xfec00000ull
#define LAYOUT_ECAM         0xb0000000ull /* 256 MiB: buses 0-255, as q35 under SeaBIOS */
#define LAYOUT_ECAM_SIZE    0x10000000ull
#define LAYOUT_IOAPIC       0xfec00000ull
#define LAYOUT_HPET         0xfed00000ull
#define LAYOUT_LAPIC        0xfee00000ull
#define LAYOUT_TSS          0xfffbd000ull /* KVM_SET_TSS_ADDR, three pages */
#define LAYOUT_IDENTITY_MAP 0xfffbc000ull
#define LAYOUT_HIGH_RAM     0x100000000ull  /* RAM beyond LAYOUT_LOW_RAM_MAX continues here */
#define LAYOUT_PCI_64       0x8000000000ull /* 64-bit PCI BARs (below MAXPHYADDR), 512 GiB */

#define LAYOUT_EBDA 0x9fc00ull
#define LAYOUT_RSDP 0xf0000ull /* ACPI tables in 0xe0000-0xfffff */

#define PORT_SERIAL0    0x3f8 /* IRQ 4 */
#define PORT_I8042      0x60  /* and 0x64; IRQ 1, 12 */
#define PORT_RTC        0x70  /* and 0x71; IRQ 8 */
#define PORT_PCI_CONFIG 0xcf8
#define PORT_DEBUG_EXIT 0xf4
#define PORT_PM_BASE    0x600 /* PM1a event block +0, control +4, PM timer +8, GPE0 +0x20 */
#define PORT_RESET      0xcf9
#define IRQ_SCI         9

#define PCI_SLOTS 32
/* INTx of device d, pin p (0-3) is GSI 16 + (d + p) % 4... 4 lines at 16-19 as q35's PIRQA-D */
#define PCI_INTX_GSI(device, pin) (16 + ((device) + (pin)) % 4)

#endif
