/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "irqchip-fixture.h"
void add_kvm_tests(void)
{
}
