/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that goes away, or changes its rights, under another processor that uses it. */
#include "strain.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* What the changer does in turn; between GOING and GONE, and between COMING and THERE, anything may
 * be seen. */
enum { THERE, GOING, GONE, COMING, PHASES };

static struct {
    uint8_t *at;
    unsigned rounds;
    _Atomic unsigned state; /* PHASES a round */
    _Atomic bool end;
    void (*go)(void);
    void (*come)(uint32_t round);
} change;

static __thread sigjmp_buf escape;
static __thread volatile bool guarded;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    uint8_t *at = info->si_addr;
    if (!guarded || at < change.at || at >= change.at + PAGE)
        FAIL("signal %d at %p", signal, (void *)at);
    guarded = false;
    siglongjmp(escape, 1);
}

static void *changer(void *unused)
{
    (void)unused;
    for (unsigned round = 0; round < change.rounds; round++) {
        unsigned state = round * PHASES;
        for (unsigned n = 0; n < round % 5; n++)
            sched_yield();
        atomic_store(&change.state, state + GOING);
        change.go();
        atomic_store(&change.state, state + GONE);
        for (unsigned n = 0; n < 3 + round % 7; n++)
            sched_yield();
        atomic_store(&change.state, state + COMING);
        change.come(round + 1);
        atomic_store(&change.state, state + PHASES + THERE);
    }
    atomic_store(&change.end, true);
    return NULL;
}

/* Uses the page by USE, over and over, which returns false when what it found (there, of ROUND) is
 * wrong, or (gone) when it should have failed but did not. */
static void use_it(unsigned rounds, void (*go)(void), void (*come)(uint32_t),
                   bool (*use)(bool there, uint32_t round))
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, segv, bus;
    change.rounds = rounds;
    change.state = 0;
    change.end = false;
    change.go = go;
    change.come = come;
    come(0);
    CHECK(sigaction(SIGSEGV, &action, &segv) == 0 && sigaction(SIGBUS, &action, &bus) == 0);
    pthread_t thread = beside(changer, NULL);
    while (!atomic_load(&change.end)) {
        unsigned before = atomic_load(&change.state);
        bool there = before % PHASES == THERE;
        volatile bool faulted = true;
        volatile bool right = false;
        if (!sigsetjmp(escape, 1)) {
            guarded = true;
            right = use(there, before / PHASES);
            guarded = false;
            faulted = false;
        }
        if (atomic_load(&change.state) != before || (before % PHASES) % 2)
            continue;
        if (there ? faulted || !right : !faulted && !right)
            FAIL("round %u: %s, but %s", before / PHASES, there ? "there" : "gone",
                 faulted ? "it faulted" : "something else was found");
    }
    pthread_join(thread, NULL);
    CHECK(sigaction(SIGSEGV, &segv, NULL) == 0 && sigaction(SIGBUS, &bus, NULL) == 0);
    munmap(change.at, PAGE);
}

/* ---------------------------------------------------------------- the ways to go and to come */

static void go_none(void)
{
    CHECK(mmap(change.at, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          change.at);
}

static void come_data(uint32_t round)
{
    CHECK(mmap(change.at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == change.at);
    *(volatile uint32_t *)(change.at + 8) = round;
}

static bool use_data(bool there, uint32_t round)
{
    for (unsigned n = 0; n < 20; n++) {
        if (*(volatile uint32_t *)(change.at + 8) != round)
            return false;
    }
    return there;
}

uint64_t unmap_data(unsigned rounds)
{
    change.at = pages(PAGE, PROT_NONE);
    use_it(rounds, go_none, come_data, use_data);
    return rounds;
}

static void come_code(uint32_t round)
{
    CHECK(mmap(change.at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == change.at);
    write_function(change.at + 16, round);
    CHECK(mprotect(change.at, PAGE, PROT_READ | PROT_EXEC) == 0);
}

static bool use_code(bool there, uint32_t round)
{
    for (unsigned n = 0; n < 20; n++) {
        if (call(change.at + 16) != round)
            return false;
    }
    return there;
}

uint64_t unmap_code(unsigned rounds)
{
    change.at = pages(PAGE, PROT_NONE);
    use_it(rounds, go_none, come_code, use_code);
    return rounds;
}

static void go_readonly(void)
{
    CHECK(mprotect(change.at, PAGE, PROT_READ) == 0);
}

static void come_writable(uint32_t round)
{
    (void)round;
    CHECK(mprotect(change.at, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static bool use_writing(bool there, uint32_t round)
{
    for (uint32_t n = 0; n < 20; n++) {
        *(volatile uint32_t *)(change.at + 128) = round + n;
        if (*(volatile uint32_t *)(change.at + 128) != round + n)
            return false;
    }
    return there;
}

uint64_t protect_data(unsigned rounds)
{
    change.at = pages(PAGE, PROT_READ | PROT_WRITE);
    use_it(rounds, go_readonly, come_writable, use_writing);
    return rounds;
}

/* Gone here means that the page reads as zeros. */
static void go_discard(void)
{
    CHECK(madvise(change.at, PAGE, MADV_DONTNEED) == 0);
}

static void come_filled(uint32_t round)
{
    *(volatile uint32_t *)(change.at + 64) = round + 1;
}

static bool use_filled(bool there, uint32_t round)
{
    for (unsigned n = 0; n < 20; n++) {
        if (*(volatile uint32_t *)(change.at + 64) != (there ? round + 1 : 0))
            return false;
    }
    return true;
}

uint64_t discard_data(unsigned rounds)
{
    change.at = pages(PAGE, PROT_READ | PROT_WRITE);
    use_it(rounds, go_discard, come_filled, use_filled);
    return rounds;
}
