/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory slots and their dirty logs, by the rules of KVM_SET_USER_MEMORY_REGION. */
#include "ioctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_PAGES_MAX     ((1ull << 31) - 1)
#define PHYSICAL_ADDRESSES BIT(52)

static uint32_t memory_flags(const struct vm *vm, uint32_t kvm)
{
    uint32_t flags = kvm & KVM_MEM_READONLY ? MEMORY_READONLY : 0;
    if (kvm & KVM_MEM_LOG_DIRTY_PAGES) {
        flags |= MEMORY_LOG_DIRTY;
        if (vm->manual_dirty_log & KVM_DIRTY_LOG_INITIALLY_SET && !vm->dirty_ring_entries)
            flags |= MEMORY_ALL_DIRTY;
    }
    return flags;
}

static bool region_is_valid(const struct kvm_userspace_memory_region *r)
{
    if (r->flags & ~(__u32)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
        return false;
    /* Bits 31:16 choose an address space; there is one. */
    if (r->slot >= VM_SLOTS_MAX)
        return false;
    if ((r->memory_size | r->guest_phys_addr | r->userspace_addr) % PAGE_BYTES)
        return false;
    if (r->memory_size / PAGE_BYTES > SLOT_PAGES_MAX ||
        !range_inside(r->guest_phys_addr, r->memory_size, PHYSICAL_ADDRESSES))
        return false;
    return range_inside(r->userspace_addr, r->memory_size, 0x7ffffffff000ull);
}

long slots_set_region(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    if (!region_is_valid(r))
        return -EINVAL;
    struct memory_slot old;
    bool exists = memory_get_slot(vm->memory, r->slot, &old);
    struct memory_slot slot = {
        .id = r->slot,
        .flags = memory_flags(vm, r->flags),
        .gpa = r->guest_phys_addr,
        .size = r->memory_size,
        .hva = (uint8_t *)(uintptr_t)r->userspace_addr,
    };
    if (!slot.size) {
        if (!exists)
            return -EINVAL;
        return memory_set_slot(vm->memory, &slot);
    }
    if (exists) {
        /* A slot may move or change its log, but not what it maps. */
        if (slot.hva != old.hva || slot.size != old.size ||
            (slot.flags ^ old.flags) & MEMORY_READONLY)
            return -EINVAL;
        if (slot.gpa == old.gpa && slot.flags == old.flags)
            return 0;
    }
    return memory_set_slot(vm->memory, &slot);
}

/* Finds slot ID for the dirty-log requests, which all refuse alike. */
static long dirty_slot(struct vm *vm, uint32_t id, struct memory_slot *slot)
{
    if (vm->dirty_ring_entries)
        return -ENXIO;
    if (id >= VM_SLOTS_MAX)
        return -EINVAL;
    if (!memory_get_slot(vm->memory, id, slot) || !(slot->flags & MEMORY_LOG_DIRTY))
        return -ENOENT;
    return 0;
}

static size_t bitmap_bytes(uint64_t pages)
{
    return ALIGN_UP(pages, 64) / 8;
}

long slots_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
    struct memory_slot slot;
    long r = dirty_slot(vm, log->slot, &slot);
    if (r < 0)
        return r;
    size_t size = bitmap_bytes(slot.size / PAGE_BYTES);
    if (!user_range_ok((unsigned long)log->dirty_bitmap, size))
        return -EFAULT;
    uint64_t *bitmap = malloc(size);
    if (!bitmap)
        return -ENOMEM;
    bool clear = !(vm->manual_dirty_log & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
    r = memory_get_dirty(vm->memory, log->slot, bitmap, clear);
    if (r == 0)
        r = user_write((unsigned long)log->dirty_bitmap, bitmap, size);
    free(bitmap);
    return r;
}

long slots_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log)
{
    struct memory_slot slot;
    if (log->first_page % 64)
        return -EINVAL;
    long r = dirty_slot(vm, log->slot, &slot);
    if (r < 0)
        return r;
    uint64_t pages = slot.size / PAGE_BYTES;
    if (!range_inside(log->first_page, log->num_pages, pages))
        return -EINVAL;
    if (log->num_pages % 64 && log->first_page + log->num_pages != pages)
        return -EINVAL;
    size_t size = bitmap_bytes(log->num_pages);
    if (!size)
        return 0;
    uint64_t *bitmap = malloc(size);
    if (!bitmap)
        return -ENOMEM;
    r = user_read(bitmap, (unsigned long)log->dirty_bitmap, size);
    if (r == 0)
        r = memory_clear_dirty(vm->memory, log->slot, log->first_page, log->num_pages, bitmap);
    free(bitmap);
    return r;
}
