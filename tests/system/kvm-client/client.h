/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that uses /dev/kvm as other people's do, for test_with_kvm.py: `kvm-client CASE`.  Exit
 * status 0: all was as Linux's KVM has it.  It passes on a /dev/kvm of Linux's, too.
 *
 *   main.c         the cases
 *   interrupted.c  those in which KVM_RUN is ended from outside
 *   guest.c        a guest with one vCPU
 */
#ifndef TRAPEZE_TEST_KVM_CLIENT_H
#define TRAPEZE_TEST_KVM_CLIENT_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            int check_errno = errno;                                                               \
            fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", __FILE__, __LINE__, #condition,     \
                    strerror(check_errno));                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_FAILS(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == -1 && errno == (error));                                                   \
    } while (0)

#define GUEST_BYTES 0x10000u
#define CODE        0x1000u
#define COUNTER     0x800u

struct guest {
    int system, vm, vcpu;
    uint8_t *memory;
    struct kvm_run *run;
    int run_bytes;
};

/* Real mode code at CODE, DS 0. */
static const uint8_t code_devices[] = {
    0xb0, 'x',  0xe6, 0x10,            /* mov al,'x'; out 10h,al */
    0xe4, 0x11, 0xa2, 0x00, 0x09,      /* in al,11h; mov [900h],al */
    0xb8, 0x00, 0xf0, 0x8e, 0xc0,      /* mov ax,f000h; mov es,ax */
    0x26, 0xc6, 0x06, 0x00, 0x00, 'y', /* mov byte es:[0],'y' */
    0x26, 0xa1, 0x02, 0x00,            /* mov ax,es:[2] */
    0xa3, 0x02, 0x09,                  /* mov [902h],ax */
    0xf4,                              /* hlt */
};
static const uint8_t code_count[] = {
    0x66, 0xff, 0x06, 0x00, 0x08, /* again: inc dword [800h] */
    0xeb, 0xf9,                   /* jmp again */
};

/* A guest of GUEST_BYTES with a vCPU in real mode, about to run the SIZE bytes of CODE. */
void guest_new(struct guest *g, const uint8_t *code, size_t size);
void guest_free(struct guest *g);
/* How far a guest with code_count has counted. */
uint32_t counter(const struct guest *g);
/* Waits until it has counted on. */
void wait_running(const struct guest *g);
/* KVM_RUN, which returns 0 with exit REASON. */
void run_to(struct guest *g, uint32_t reason);

/* interrupted.c */
void case_signal_thread(void);
void case_cancel(void);
void case_unmapped(void);
void case_signal_process(void);
void case_signal_timer(void);
void case_signal_jump(void);
void case_signal_mask(void);
void case_signal_ignored(void);
void case_immediate_exit(void);

#endif
