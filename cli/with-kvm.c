/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze with-kvm`: runs a program with libtrapeze-kvm.so preloaded, so that its /dev/kvm is
 * ours. */
#include "commands.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIBRARY        "libtrapeze-kvm.so"
#define LOADER         "ld-linux-x86-64.so.2"
#define SCRIPT_NESTING 4 /* as Linux */

char *with_kvm_library(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *beside = folder ? g_build_filename(folder, LIBRARY, NULL) : NULL;
    if (beside && access(beside, R_OK) == 0)
        return g_steal_pointer(&beside);
    g_autofree char *installed = g_build_filename(TRAPEZE_LIBDIR, LIBRARY, NULL);
    return access(installed, R_OK) == 0 ? g_steal_pointer(&installed) : NULL;
}

static bool refuse(const char *path, const char *why)
{
    fprintf(stderr, "trapeze: with-kvm: %s %s\n", path, why);
    return false;
}

/* A process that gains rights by its program's file is not given libraries by others. */
static bool check_rights(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return refuse(path, g_strerror(errno));
    if ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
        (st.st_mode & S_ISGID && st.st_gid != getegid()) ||
        (geteuid() && getxattr(path, "security.capability", NULL, 0) > 0))
        return refuse(path, "gains rights when it starts (setuid, setgid or file capabilities), so "
                            "the loader ignores LD_PRELOAD; run it as the user it would become");
    return true;
}

/* Reads exactly SIZE bytes at OFFSET. */
static bool read_at(int fd, void *to, size_t size, uint64_t offset)
{
    return offset <= INT64_MAX && pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* The program interpreter that the ELF file asks for, or NULL; g_free. */
static char *elf_loader(int fd, const Elf64_Ehdr *header)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr p;
        if (!read_at(fd, &p, sizeof(p), header->e_phoff + (uint64_t)i * header->e_phentsize))
            return NULL;
        if (p.p_type != PT_INTERP || !p.p_filesz || p.p_filesz > PATH_MAX)
            continue;
        char *loader = g_malloc0(p.p_filesz + 1);
        if (read_at(fd, loader, p.p_filesz, p.p_offset))
            return loader;
        g_free(loader);
        return NULL;
    }
    return NULL;
}

static bool check_elf(const char *path, int fd)
{
    Elf64_Ehdr header;
    if (!read_at(fd, &header, sizeof(header), 0) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_machine != EM_X86_64)
        return refuse(path, "is not a 64-bit x86 program; only those can be served");
    g_autofree char *loader = elf_loader(fd, &header);
    if (!loader)
        return refuse(path, "is statically linked, so no library can be put before the system's; "
                            "use a dynamically linked build of it");
    if (!g_str_has_suffix(loader, "/" LOADER))
        return refuse(path, "does not use the GNU C library, which " LIBRARY
                            " is built for; use a build of it that does");
    return true;
}

/* The interpreter that the script's first line names, or NULL; g_free. */
static char *script_interpreter(int fd)
{
    char line[256] = "";
    ssize_t n = pread(fd, line, sizeof(line) - 1, 2);
    if (n <= 0)
        return NULL;
    line[strcspn(line, "\n")] = '\0';
    char *word = line + strspn(line, " \t");
    word[strcspn(word, " \t")] = '\0';
    return *word ? g_strdup(word) : NULL;
}

/* Whether the program at PATH can be served; if not, it was said why. */
static bool check_program(const char *path, int nesting)
{
    char magic[4] = "";
    if (!check_rights(path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true; /* executable but not readable: exec will tell */
    bool ok = true;
    if (read_at(fd, magic, sizeof(magic), 0)) {
        if (!memcmp(magic, ELFMAG, SELFMAG))
            ok = check_elf(path, fd);
        else if (!memcmp(magic, "#!", 2) && nesting) {
            g_autofree char *interpreter = script_interpreter(fd);
            ok = !interpreter || check_program(interpreter, nesting - 1);
        }
    }
    close(fd);
    return ok;
}

/* Puts LIBRARY first in LD_PRELOAD. */
static void preload(const char *library)
{
    const char *others = g_getenv("LD_PRELOAD");
    g_autofree char *value =
        others && *others ? g_strdup_printf("%s:%s", library, others) : g_strdup(library);
    g_setenv("LD_PRELOAD", value, TRUE);
}

/* The library would only log that it does not know the word. */
static bool check_translator(void)
{
    static const char *const words[] = {"", "on", "off", "check", NULL};
    const char *value = g_getenv("TRAPEZE_TRANSLATOR");
    if (!value || g_strv_contains(words, value))
        return true;
    fprintf(stderr,
            "trapeze: with-kvm: TRAPEZE_TRANSLATOR in the environment: `%s`: give on, off or "
            "check\n",
            value);
    return false;
}

static void print_help(void)
{
    printf(
        "Usage: trapeze with-kvm [--] COMMAND [ARGUMENT]...\n\n"
        "Runs COMMAND with a /dev/kvm that is Trapeze's own, in software: for QEMU, kvmtool and\n"
        "other programs that use KVM, on hosts that have none.  What COMMAND starts is served,\n"
        "too, unless it is statically linked.  TRAPEZE_KVM_LOG=1 in the environment shows the\n"
        "requests that fail, TRAPEZE_KVM_LOG=2 all of them, on standard error.  "
        "TRAPEZE_TRANSLATOR=off\n"
        "has code interpreted instead of translated; check does both, for VMs with one vCPU, and\n"
        "prints the first difference.\n\n"
        "  trapeze with-kvm -- qemu-system-x86_64 -accel kvm ...\n");
}

int command_with_kvm(int argc, char **argv)
{
    if (argc && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
        print_help();
        return 0;
    }
    if (argc && !strcmp(argv[0], "--")) {
        argc--;
        argv++;
    }
    if (!argc) {
        fprintf(stderr, "trapeze: with-kvm: give a command: trapeze with-kvm -- COMMAND...\n");
        return 1;
    }
    g_autofree char *library = with_kvm_library();
    if (!library) {
        fprintf(stderr,
                "trapeze: with-kvm: there is no " LIBRARY
                " beside this program or in %s; install Trapeze whole, or run it where it was "
                "built\n",
                TRAPEZE_LIBDIR);
        return 1;
    }
    if (!check_translator())
        return 1;
    if (strpbrk(library, " :")) {
        refuse(library, "has a space or a colon in its path, which LD_PRELOAD cannot carry; "
                        "move it");
        return 1;
    }
    g_autofree char *program = g_find_program_in_path(argv[0]);
    if (!program) {
        refuse(argv[0], "is no program here or in PATH");
        return 1;
    }
    if (!check_program(program, SCRIPT_NESTING))
        return 1;
    preload(library);
    execv(program, argv);
    refuse(program, g_strerror(errno));
    return 1;
}
