/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains without guests, behind manager/domain/domain.h: jobs succeed at once. */
#ifndef TRAPEZE_FAKE_DOMAINS_H
#define TRAPEZE_FAKE_DOMAINS_H

#include "manager/domain/domain.h"

struct domains *fake_domains_new(void);
/* From now on jobs do not end, until fake_domains_finish ends them, the last first. */
void fake_domains_hold(struct domains *all);
void fake_domains_finish(struct domains *all);
/* The guest's end of the console that a client has open, or -1. */
int fake_domain_console(struct domain *d);

#endif
