/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* INT n, INT3, INTO, INT1 and BOUND. */
#include "system.h"

/* Delivers VECTOR as I's own event.  RIP stays at the instruction until delivery has succeeded. */
static const struct insn *software_event(struct processor *p, const struct insn *i, unsigned vector,
                                         uint32_t type)
{
    uint32_t info = INTR_INFO_VALID | type | vector;
    if (type != INTR_TYPE_SOFT_INTERRUPT && p->vmcs.exception_bitmap & BIT(vector)) {
        p->vmcs.exit_interruption_info = info;
        p->vmcs.exit_interruption_error_code = 0;
        vm_exit(p, EXIT_REASON_EXCEPTION_NMI, 0);
    }
    p->rip = current_rip(p, i);
    p->event_info = info;
    p->event_error_code = 0;
    p->event_length = i->length;
    p->in_event = true;
    event_deliver(p, info, 0, i->length);
    p->in_event = false;
    return NULL;
}

const struct insn *system_int_n(struct processor *p, const struct insn *i)
{
    return software_event(p, i, i->imm & 0xff, INTR_TYPE_SOFT_INTERRUPT);
}

const struct insn *system_int1(struct processor *p, const struct insn *i)
{
    return software_event(p, i, VECTOR_DB, INTR_TYPE_PRIV_EXCEPTION);
}

const struct insn *system_int3(struct processor *p, const struct insn *i)
{
    return software_event(p, i, VECTOR_BP, INTR_TYPE_SOFT_EXCEPTION);
}

const struct insn *system_into(struct processor *p, const struct insn *i)
{
    if (!(p->status & FLAG_OF))
        return i + 1;
    return software_event(p, i, VECTOR_OF, INTR_TYPE_SOFT_EXCEPTION);
}

const struct insn *system_bound(struct processor *p, const struct insn *i)
{
    unsigned size = i->opsize, unused = 64 - 8 * size;
    uint64_t lower = mem_read(p, insn_linear(p, i, size, MEM_READ), size);
    uint64_t upper = mem_read(p, insn_linear_at(p, i, size, size, MEM_READ), size);
    int64_t index = (int64_t)(p->gpr[i->reg] << unused);
    if (index < (int64_t)(lower << unused) || index > (int64_t)(upper << unused))
        raise_fault(p, VECTOR_BR, 0);
    return i + 1;
}
