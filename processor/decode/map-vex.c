/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"
const struct entry opcodes_vex_0f[256] = { [0] = INVALID };
const struct entry opcodes_vex_0f38[256] = { [0] = INVALID };
const struct entry opcodes_vex_0f3a[256] = { [0] = INVALID };
