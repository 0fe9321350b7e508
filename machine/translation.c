/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest code and its translation side by side; the map that `perf report` takes names from. */
#include "translation.h"

#include "core.h"
#include "kvm/trapeze_kvm.h"
#include "vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include <Zydis/Zydis.h>

#define GUEST_COLUMN 46 /* characters that guest code takes at least */

/* perf takes names of addresses in anonymous memory from /tmp/perf-PID.map (perf's documentation,
 * jit-interface.txt).  Others may write to /tmp: an old file is removed, never written to. */
static int open_map(GError **error)
{
    g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)getpid());
    unlink(path);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (file < 0)
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--perf-map: cannot make %s: %s; remove what is there", path, strerror(errno));
    return file;
}

static bool name_translations(struct machine *m, GError **error)
{
    int file = open_map(error);

    if (file < 0)
        return false;
    long result =
        m->engine->ops->ioctl(m->vm, TRAPEZE_KVM_NAME_TRANSLATIONS, (unsigned long)file, NULL);
    close(file);
    return result >= 0 || core_error(error, m, "TRAPEZE_KVM_NAME_TRANSLATIONS", result);
}

bool translation_watch(struct machine *m, GError **error)
{
    const struct machine_config *c = m->config;
    const char *flag = c->trace_translation ? "--trace-translation" : "--perf-map";
    uint64_t address = c->trace_address;

    if (!c->trace_translation && !c->perf_map)
        return true;
    if (c->translator == TRANSLATOR_OFF || !m->engine->extended) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: nothing would be translated; give --engine software --translator on",
                    flag);
        return false;
    }
    if (c->trace_translation) {
        long result =
            engine_ioctl_pointer(m->engine, m->vm, TRAPEZE_KVM_TRACE_TRANSLATION, &address);
        if (result < 0)
            return core_error(error, m, "TRAPEZE_KVM_TRACE_TRANSLATION", result);
    }
    return !c->perf_map || name_translations(m, error);
}

/* ---------------------------------------------------------------- side by side */

static ZydisMachineMode mode_of(unsigned bits)
{
    return bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
           : bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                        : ZYDIS_MACHINE_MODE_LEGACY_16;
}

/* The instruction at CODE, of at most SIZE bytes, which runs at ADDRESS: its text to TEXT, and its
 * length; a byte where there is none. */
static unsigned format(ZydisMachineMode mode, uint64_t address, const uint8_t *code, unsigned size,
                       char *text, size_t room)
{
    ZydisDisassembledInstruction insn;

    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, address, code, size, &insn))) {
        g_snprintf(text, room, "db 0x%02x", *code);
        return 1;
    }
    g_strlcpy(text, insn.text, room);
    return insn.info.length;
}

/* The rows of PART: the guest's instruction beside the first row of host code. */
static void print_part(const struct trapeze_kvm_translation *t,
                       const struct trapeze_kvm_translation_part *part, unsigned end)
{
    char guest[128] = "", insn[112], host[112];

    if (part->kind == 0) {
        g_strlcpy(guest, "(the way in)", sizeof guest);
    } else if (part->insn < MIN(t->guest_bytes, sizeof t->guest)) {
        uint64_t address = t->linear + part->insn;
        format(mode_of(t->bits), address, t->guest + part->insn,
               (unsigned)MIN(t->guest_bytes, sizeof t->guest) - part->insn, insn, sizeof insn);
        g_snprintf(guest, sizeof guest, "%016" PRIx64 "  %s%s", address, insn,
                   part->kind == 2 ? " (onward)" : "");
    }
    if (part->start == end && part->kind == 1)
        fprintf(stderr, "%s\n", guest);
    for (unsigned at = part->start; at < end;) {
        uint64_t runs = at < t->inline_bytes ? t->host + at : t->late_host + (at - t->inline_bytes);
        unsigned length =
            format(ZYDIS_MACHINE_MODE_LONG_64, runs, t->code + at, end - at, host, sizeof host);
        fprintf(stderr, "%-*s | %012" PRIx64 "  %s\n", GUEST_COLUMN, guest, runs, host);
        guest[0] = 0;
        at += length;
    }
}

static void print_translation(unsigned vcpu, const struct trapeze_kvm_translation *t)
{
    unsigned bytes = (unsigned)MIN(t->code_bytes, sizeof t->code);
    unsigned parts = (unsigned)MIN(t->parts, G_N_ELEMENTS(t->part));
    bool late = false;

    fprintf(stderr,
            "translation of 0x%" PRIx64 " on vCPU %u: %u bytes of %u-bit code, %u bytes of host "
            "code at 0x%" PRIx64 "\n",
            (uint64_t)t->linear, vcpu, t->guest_bytes, t->bits, t->code_bytes, (uint64_t)t->host);
    for (unsigned n = 0; n < parts; n++) {
        unsigned end = n + 1 < parts ? t->part[n + 1].start : bytes;
        if (t->part[n].kind == 3 && !late)
            fprintf(stderr, "out of line\n");
        late = t->part[n].kind == 3;
        print_part(t, &t->part[n], MIN(end, bytes));
    }
    if (bytes < t->code_bytes)
        fprintf(stderr, "(the last %u bytes of host code are left out)\n", t->code_bytes - bytes);
}

void machine_print_translation(struct machine *m)
{
    g_autofree struct trapeze_kvm_translation *t = g_new0(struct trapeze_kvm_translation, 1);
    bool found = false;

    for (unsigned i = 0; i < m->cpus; i++) {
        if (engine_ioctl_pointer(m->engine, m->vcpus[i]->file, TRAPEZE_KVM_GET_TRANSLATION, t) < 0)
            continue;
        print_translation(i, t);
        found = true;
    }
    if (!found)
        fprintf(stderr, "--trace-translation: no block that covers 0x%" PRIx64 " was translated\n",
                m->config->trace_address);
}
