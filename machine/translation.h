/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at the engine's translations: --trace-translation and --perf-map. */
#ifndef TRAPEZE_TRANSLATION_H
#define TRAPEZE_TRANSLATION_H

#include "machine.h"

/* Asks the engine for what the configuration wants to see; before the first vCPU is made.  Fails
 * when the engine does not translate, or when perf's map cannot be written. */
bool translation_watch(struct machine *m, GError **error);

#endif
