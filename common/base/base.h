/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common/base: what every part may use; libc only.
 *
 * Branch hints, array sizes, alignment, checked ranges, bit helpers.  Nothing here has state.
 */
#ifndef TRAPEZE_BASE_H
#define TRAPEZE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)             __builtin_expect(!!(x), 1)
#define unlikely(x)           __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)         (sizeof(a) / sizeof((a)[0]))
#define BIT(n)                (1ull << (n))
#define ALIGN_DOWN(x, a)      ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)        (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#define PAGE_BITS             12
#define PAGE_BYTES            4096ull
#define PAGE_OFFSET_MASK      (PAGE_BYTES - 1)
#define FORMAT_PRINTF(f, a)   __attribute__((format(printf, f, a)))

/* GUEST_RACES marks functions that do nothing but load, store or copy guest memory.  Processors and
 * devices race there as the guest has them do, so ThreadSanitizer leaves out these accesses alone.
 */
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#ifdef THREAD_SANITIZER
#define GUEST_RACES __attribute__((no_sanitize("thread")))
#else
#define THREAD_SANITIZER 0
#define GUEST_RACES
#endif

/* True when [start, start + length) lies inside [0, limit) without wrapping; length 0 is inside. */
static inline bool range_inside(uint64_t start, uint64_t length, uint64_t limit)
{
    return start <= limit && length <= limit - start;
}

/* True when [a, a + alen) and [b, b + blen) share a byte.  Neither range may wrap. */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return alen && blen && a < b + blen && b < a + alen;
}

#endif
