/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest-physical memory: the slots that map it to host memory, shared by all processors of a VM.
 *
 * Slots are published as an immutable, sorted table: processors look addresses up without a lock,
 * and a change waits (memory_synchronize) until no processor can still use the old table or a TLB
 * entry made from it.  Everything here may be called from any thread.
 */
#ifndef TRAPEZE_MEMORY_H
#define TRAPEZE_MEMORY_H

#include "common/base/base.h"

struct memory;
struct processor;

#define MEMORY_READONLY  0x1 /* guest writes leave as MMIO writes */
#define MEMORY_LOG_DIRTY 0x2 /* keep a bitmap of pages written */
#define MEMORY_ALL_DIRTY 0x4 /* a log that begins counts every page as written */

struct memory_slot {
    uint32_t id; /* the caller's: KVM's slot number with its address space above bit 16 */
    uint32_t flags;
    uint64_t gpa;  /* page-aligned */
    uint64_t size; /* bytes, a multiple of the page size */
    uint8_t *hva;  /* page-aligned host address of the first byte */
};

/* Returns NULL when out of memory. */
struct memory *memory_new(void);
/* All processors of M must have been freed. */
void memory_free(struct memory *m);

/* Adds the slot, or changes the one of the same id; size 0 deletes it.  Returns 0, -EEXIST when it
 * would overlap another slot's addresses, -EINVAL for a misaligned or wrapping one, -ENOENT when
 * deleting a slot that is not there, -ENOMEM.  On return no processor uses the former mapping. */
int memory_set_slot(struct memory *m, const struct memory_slot *slot);

/* Copies slot ID to *out.  Returns false when there is none. */
bool memory_get_slot(struct memory *m, uint32_t id, struct memory_slot *out);

/* Whole-range copies by guest-physical address, for kvm/ (kvmclock pages, descriptors).  Return 0,
 * or -EFAULT when a byte has no slot (or, writing, a read-only one); nothing is copied then.
 * Writes report themselves (dirty log, decoded code). */
int memory_read(struct memory *m, uint64_t gpa, void *to, uint64_t length);
int memory_write(struct memory *m, uint64_t gpa, const void *from, uint64_t length);

/* Says that someone wrote [gpa, gpa + length) from outside, so that decoded code of these bytes is
 * dropped and the pages count as dirty.  Addresses without a slot are ignored. */
void memory_written(struct memory *m, uint64_t gpa, uint64_t length);

/* Says that from now on memory_written is called for every write from outside, so that changed code
 * need not be looked for. */
void memory_writes_reported(struct memory *m);

/* Host address of GPA, or NULL; *left (may be NULL) is set to the bytes left in its slot.  Valid
 * until the slot changes. */
uint8_t *memory_hva(struct memory *m, uint64_t gpa, uint64_t *left);

/* The dirty log of slot ID: one bit a page, first page in bit 0 of word 0, size / 4096 bits rounded
 * up to 64.  memory_get_dirty copies it to BITMAP and, if CLEAR, empties it in the same step.
 * memory_clear_dirty clears the pages of [first, first + count) whose bits are set in BITMAP (bit 0
 * = FIRST, a multiple of 64).  After either, a later guest write to a cleared page is logged anew.
 * Return 0 or -ENOENT (no such slot, or it keeps no log), -EINVAL for a bad range. */
int memory_get_dirty(struct memory *m, uint32_t id, uint64_t *bitmap, bool clear);
int memory_clear_dirty(struct memory *m, uint32_t id, uint64_t first, uint64_t count,
                       const uint64_t *bitmap);

/* Clears one page of slot ID without waiting for the processors: the caller calls memory_synchronize
 * after the last.  What does not exist is ignored. */
void memory_clear_dirty_page(struct memory *m, uint32_t id, uint64_t page);

/* Makes the host's memory behind the page at GPA present for reading.  0, -ENOENT (no slot), -EFAULT
 * (the host has none there). */
int memory_populate(struct memory *m, uint64_t gpa);

/* The program is about to change what stands at its own addresses [hva, hva + size): unmap it,
 * protect it, map something else there.  When memory_host_begin returns no processor uses a slot's
 * page in that range, nor will before memory_host_end; then pages are asked for anew, and are what
 * they have become.  False: no slot is there, and memory_host_end must not follow.  Not to be called
 * by a thread inside vmx_enter. */
bool memory_host_begin(struct memory *m, const void *hva, size_t size);
void memory_host_end(struct memory *m);

/* How often memory_synchronize asked the processors to drop their TLBs. */
uint64_t memory_synchronizations(struct memory *m);

/* A hook that is told each page when it first becomes dirty in its log (for KVM's dirty ring);
 * called on the writing thread with no lock held.  Set before any processor runs. */
void memory_set_dirty_hook(struct memory *m,
                           void (*hook)(void *opaque, struct processor *by, uint32_t slot,
                                        uint64_t page),
                           void *opaque);

/* Waits until every processor that is inside vmx_enter has passed a point where it dropped the TLB
 * entries of the old slot table.  Called by the functions above where their contract says so. */
void memory_synchronize(struct memory *m);

#endif
