/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Boot protocols and ACPI tables: what stands in guest memory and registers, and hostile images. */
#include "machine-fixture.h"
#include "machine/boot/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#define CODE_SIZE 4096

static const uint8_t halt[] = {0xf4};

static struct fixture *start(void)
{
    struct fixture *f = fixture_new(halt, sizeof halt);

    fixture_start(f);
    return f;
}

/* The guest's memory at GPA as an integer. */
static uint64_t peek(struct fixture *f, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    g_assert_true(ram_read(f->machine, gpa, &value, size));
    return value;
}

static const char *peek_text(struct fixture *f, uint64_t gpa)
{
    const char *p = ram_pointer(f->machine, gpa, 4096, false);

    g_assert_nonnull(p);
    g_assert_nonnull(memchr(p, 0, 4096));
    return p;
}

/* Makes DATA the --kernel. */
static void set_kernel(struct fixture *f, const void *data, size_t length)
{
    g_free(f->config.kernel);
    f->config.kernel = fixture_file(f, "image", data, length);
}

static void set_initrd(struct fixture *f, const char *name, const char *text)
{
    g_free(f->config.initrd);
    f->config.initrd = fixture_file(f, name, text, strlen(text));
}

static void set_append(struct fixture *f, const char *text)
{
    g_free(f->config.append);
    f->config.append = g_strdup(text);
}

static void load(struct fixture *f, struct boot_entry *entry)
{
    GError *error = NULL;

    memset(entry, 0, sizeof *entry);
    boot_load(f->machine, entry, &error);
    g_assert_no_error(error);
}

static void expect_failure(struct fixture *f, const char *part)
{
    struct boot_entry entry = {0};
    GError *error = NULL;

    g_assert_false(boot_load(f->machine, &entry, &error));
    g_assert_nonnull(error);
    g_assert_null(strchr(error->message, '\n'));
    if (!strstr(error->message, part))
        g_error("the message lacks `%s`: %s", part, error->message);
    g_clear_error(&error);
}

/* ---- images ---- */

#define SETUP_SECTORS 4
#define PREFERRED     0x200000

/* A bzImage: header, and a payload of a pattern. */
static GByteArray *make_bzimage(void)
{
    GByteArray *b = g_byte_array_new();
    struct setup_header h = {
        .setup_sects = SETUP_SECTORS,
        .syssize = CODE_SIZE / 16,
        .boot_flag = 0xaa55,
        .header = 0x53726448,
        .version = 0x020f,
        .loadflags = 1,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x200000,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64,
        .cmdline_size = 255,
        .pref_address = PREFERRED,
        .init_size = 0x10000,
    };

    g_byte_array_set_size(b, (SETUP_SECTORS + 1) * 512 + CODE_SIZE);
    memset(b->data, 0, b->len);
    memcpy(b->data + 0x1f1, &h, sizeof h);
    for (unsigned i = 0; i < CODE_SIZE; i++)
        b->data[(SETUP_SECTORS + 1) * 512 + i] = (uint8_t)(i * 3);
    return b;
}

struct pvh_image {
    Elf64_Ehdr header;
    Elf64_Phdr load, note;
    struct {
        Elf64_Nhdr head;
        char name[4];
        uint32_t entry;
    } other, pvh;
    uint8_t code[64];
};

/* An ELF kernel with a PVH note behind another note. */
static void make_pvh(struct pvh_image *p)
{
    *p = (struct pvh_image){
        .header = {.e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = 1,
                   .e_phoff = offsetof(struct pvh_image, load),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .load = {.p_type = PT_LOAD,
                 .p_offset = offsetof(struct pvh_image, code),
                 .p_vaddr = 0xffffffff80200000,
                 .p_paddr = 0x200000,
                 .p_filesz = sizeof p->code,
                 .p_memsz = 0x3000},
        .note = {.p_type = PT_NOTE,
                 .p_offset = offsetof(struct pvh_image, other),
                 .p_filesz = 2 * sizeof p->pvh},
        .other = {{4, 4, 6}, "Xen", 0x1234},
        .pvh = {{4, 4, 18}, "Xen", 0x200010},
    };
    memcpy(p->header.e_ident, ELFMAG "\2\1\1", 7);
    memset(p->code, 0x90, sizeof p->code);
}

struct multiboot_image {
    Elf32_Ehdr header;
    Elf32_Phdr load;
    uint32_t multiboot[3];
    uint8_t code[64];
};

static void make_multiboot(struct multiboot_image *p)
{
    *p = (struct multiboot_image){
        .header = {.e_type = ET_EXEC,
                   .e_machine = EM_386,
                   .e_version = 1,
                   .e_entry = 0xc0400004,
                   .e_phoff = offsetof(struct multiboot_image, load),
                   .e_ehsize = sizeof(Elf32_Ehdr),
                   .e_phentsize = sizeof(Elf32_Phdr),
                   .e_phnum = 1},
        .load = {.p_type = PT_LOAD,
                 .p_offset = offsetof(struct multiboot_image, code),
                 .p_vaddr = 0xc0400000,
                 .p_paddr = 0x400000,
                 .p_filesz = sizeof p->code,
                 .p_memsz = 0x2345},
        .multiboot = {0x1badb002, 3, -(0x1badb002u + 3)},
    };
    memcpy(p->header.e_ident, ELFMAG "\1\1\1", 7);
    memset(p->code, 0x90, sizeof p->code);
}

/* ---- protocols ---- */

static void expect_flat(const struct kvm_segment *s, unsigned type)
{
    g_assert_cmphex(s->base, ==, 0);
    g_assert_cmphex(s->limit, ==, 0xffffffff);
    g_assert_cmphex(s->type, ==, type);
    g_assert_true(s->present && s->s && s->g);
}

static void test_bzimage(void)
{
    struct fixture *f = start();
    GByteArray *image = make_bzimage();
    struct boot_params zero_page;
    struct boot_entry e;

    set_kernel(f, image->data, image->len);
    set_initrd(f, "initrd", "0123456789");
    set_append(f, "console=ttyS0 quiet");
    load(f, &e);

    g_assert_cmphex(e.regs.rip, ==, PREFERRED + 0x200);
    g_assert_cmphex(e.sregs.efer, ==, 0x500);
    g_assert_cmphex(e.sregs.cr0, ==, 0x80000011);
    g_assert_cmphex(e.sregs.cs.selector, ==, 0x10);
    g_assert_cmphex(e.sregs.ds.selector, ==, 0x18);
    g_assert_true(e.sregs.cs.l && !e.sregs.cs.db);
    expect_flat(&e.sregs.ss, 3);
    /* The last 2 MiB page below 4 GiB is mapped to itself. */
    uint64_t pdpt = peek(f, e.sregs.cr3, 8) & ~0xfffull;
    uint64_t directory = peek(f, pdpt + 3 * 8, 8) & ~0xfffull;
    g_assert_cmphex(peek(f, directory + 511 * 8, 8), ==, 0xffe00083);

    g_assert_true(ram_read(f->machine, e.regs.rsi, &zero_page, sizeof zero_page));
    g_assert_cmphex(zero_page.hdr.header, ==, 0x53726448);
    g_assert_cmphex(zero_page.hdr.type_of_loader, ==, 0xff);
    g_assert_cmphex(zero_page.acpi_rsdp_addr, ==, LAYOUT_RSDP);
    g_assert_cmpstr(peek_text(f, zero_page.hdr.cmd_line_ptr), ==, "console=ttyS0 quiet");
    g_assert_cmpuint(zero_page.hdr.ramdisk_size, ==, 10);
    g_assert_cmphex(zero_page.hdr.ramdisk_image, ==, f->config.memory - 4096);
    g_assert_cmpint(
        memcmp(ram_pointer(f->machine, zero_page.hdr.ramdisk_image, 10, false), "0123456789", 10),
        ==, 0);
    g_assert_cmphex(peek(f, PREFERRED + 100, 1), ==, 300 & 0xff);

    uint64_t ram = 0, next = 0;
    for (unsigned i = 0; i < zero_page.e820_entries; i++) {
        struct boot_e820_entry *r = &zero_page.e820_table[i];
        g_assert_cmphex(r->addr, >=, next); /* sorted, apart */
        next = r->addr + r->size;
        ram += r->type == 1 ? r->size : 0;
    }
    g_assert_cmpuint(ram, ==, f->config.memory - 0x100000 + LAYOUT_EBDA);
    g_byte_array_unref(image);
    fixture_free(f);
}

/* The zero page's copy of a field of the header, after a change of the image. */
static void change_header(struct fixture *f, size_t offset, uint64_t value, unsigned size)
{
    GByteArray *image = make_bzimage();

    memcpy(image->data + 0x1f1 + offset, &value, size);
    set_kernel(f, image->data, image->len);
    g_byte_array_unref(image);
}

static void test_bzimage_placing(void)
{
    struct fixture *f = start();
    struct boot_entry e;

    /* A kernel that prefers a place beyond RAM goes as low as its alignment allows. */
    change_header(f, offsetof(struct setup_header, pref_address), 1ull << 30, 8);
    load(f, &e);
    g_assert_cmphex(e.regs.rip, ==, 0x200200);
    change_header(f, offsetof(struct setup_header, init_size), 64 << 20, 4);
    expect_failure(f, "--memory");
    change_header(f, offsetof(struct setup_header, xloadflags), 0, 2);
    expect_failure(f, "no 64-bit entry");
    change_header(f, offsetof(struct setup_header, kernel_alignment), 3, 4);
    expect_failure(f, "alignment");
    change_header(f, offsetof(struct setup_header, syssize), 0x7fffffff, 4);
    expect_failure(f, "truncated");
    change_header(f, offsetof(struct setup_header, cmdline_size), 10, 4);
    set_append(f, "12345678901");
    expect_failure(f, "--append");
    set_append(f, "1234567890");
    load(f, &e);
    char *big = g_malloc0(13 << 20);
    g_free(f->config.initrd);
    f->config.initrd = fixture_file(f, "big", big, 13 << 20);
    load(f, &e);
    g_free(f->config.initrd);
    f->config.initrd = NULL;
    big = g_realloc(big, 15 << 20);
    f->config.initrd = fixture_file(f, "big", big, 15 << 20);
    expect_failure(f, "--initrd");
    g_free(big);
    fixture_free(f);
}

static void test_pvh(void)
{
    struct fixture *f = start();
    struct pvh_image image;
    struct boot_entry e;

    make_pvh(&image);
    set_kernel(f, &image, sizeof image);
    set_initrd(f, "initrd", "abc");
    set_append(f, "hello");
    memset(ram_pointer(f->machine, 0x200000, 0x3000, true), 0xff, 0x3000);
    load(f, &e);
    g_assert_cmphex(e.regs.rip, ==, 0x200010);
    g_assert_cmphex(e.sregs.cr0 & 0x80000001, ==, 1);
    g_assert_cmphex(e.sregs.efer, ==, 0);
    expect_flat(&e.sregs.cs, 11);
    g_assert_cmphex(peek(f, 0x200000, 1), ==, 0x90);
    g_assert_cmphex(peek(f, 0x200000 + 0x2ff8, 8), ==, 0); /* what the file lacks is zero */
    g_assert_cmphex(peek(f, e.regs.rbx, 4), ==, 0x336ec578);
    g_assert_cmpuint(peek(f, e.regs.rbx + 4, 4), ==, 1);
    g_assert_cmpuint(peek(f, e.regs.rbx + 12, 4), ==, 1); /* one module */
    uint64_t module = peek(f, e.regs.rbx + 16, 8);
    g_assert_cmphex(peek(f, peek(f, module, 8), 3), ==, 'a' | 'b' << 8 | 'c' << 16);
    g_assert_cmpuint(peek(f, module + 8, 8), ==, 3);
    g_assert_cmpstr(peek_text(f, peek(f, e.regs.rbx + 24, 8)), ==, "hello");
    g_assert_cmphex(peek(f, e.regs.rbx + 32, 8), ==, LAYOUT_RSDP);
    g_assert_cmpuint(peek(f, e.regs.rbx + 48, 4), >=, 4);

    image.pvh.head.n_type = 17;
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "PVH");
    make_pvh(&image);
    image.load.p_memsz = 1 << 30;
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "--memory");
    make_pvh(&image);
    image.load.p_paddr = 0x1000; /* over the boot information */
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "boot information");
    make_pvh(&image);
    image.header.e_machine = EM_AARCH64;
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "another processor");
    fixture_free(f);
}

static void test_multiboot(void)
{
    struct fixture *f = start();
    struct multiboot_image image;
    struct boot_entry e;

    make_multiboot(&image);
    set_kernel(f, &image, sizeof image);
    g_autofree char *one = fixture_file(f, "one", "first", 5);
    g_autofree char *two = fixture_file(f, "two", "second!", 7);
    g_free(f->config.initrd);
    f->config.initrd = g_strdup_printf("%s a=1 b,%s", one, two);
    set_append(f, "x y");
    load(f, &e);
    g_assert_cmphex(e.regs.rax, ==, 0x2badb002);
    g_assert_cmphex(e.regs.rip, ==, 0x400004); /* e_entry is virtual */
    g_assert_cmphex(e.sregs.cr0 & 0x80000001, ==, 1);
    uint64_t info = e.regs.rbx;
    g_assert_cmphex(peek(f, info, 4), ==, 0x24d);
    g_autofree char *cmdline = g_strdup_printf("%s x y", f->config.kernel);
    g_assert_cmpstr(peek_text(f, peek(f, info + 16, 4)), ==, cmdline);
    g_assert_cmpuint(peek(f, info + 4, 4), ==, LAYOUT_EBDA >> 10);
    g_assert_cmpuint(peek(f, info + 8, 4), ==, 15 << 10);

    g_assert_cmpuint(peek(f, info + 20, 4), ==, 2);
    uint64_t modules = peek(f, info + 24, 4);
    g_autofree char *first = g_strdup_printf("%s a=1 b", one);
    g_assert_cmpstr(peek_text(f, peek(f, modules + 8, 4)), ==, first);
    uint64_t second = peek(f, modules + 16, 4);
    g_assert_cmphex(second & 0xfff, ==, 0);
    g_assert_cmphex(second, >=, 0x402345);
    g_assert_cmpuint(peek(f, modules + 20, 4) - second, ==, 7);
    g_assert_cmpint(memcmp(ram_pointer(f->machine, second, 7, false), "second!", 7), ==, 0);

    uint64_t map = peek(f, info + 48, 4), end = map + peek(f, info + 44, 4), ram = 0;
    for (; map < end; map += peek(f, map, 4) + 4)
        ram += peek(f, map + 20, 4) == 1 ? peek(f, map + 12, 8) : 0;
    g_assert_cmpuint(ram, ==, f->config.memory - 0x100000 + LAYOUT_EBDA);

    /* Below the boot information there is room for an image; modules stay where kernels load. */
    image.load.p_paddr = 0x8000;
    image.load.p_memsz = 0x8000;
    set_kernel(f, &image, sizeof image);
    load(f, &e);
    g_assert_cmphex(e.regs.rip, ==, 0x8004);
    g_assert_cmphex(peek(f, peek(f, e.regs.rbx + 24, 4), 4), ==, 0x100000);
    image.load.p_memsz = 0x8001;
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "boot information");
    make_multiboot(&image);

    image.multiboot[1] = 8; /* a requirement nobody knows */
    image.multiboot[2] = -(0x1badb002u + 8);
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "multiboot header");
    g_free(f->config.initrd);
    f->config.initrd = g_strdup("/nowhere at all");
    make_multiboot(&image);
    set_kernel(f, &image, sizeof image);
    expect_failure(f, "--initrd /nowhere:");
    fixture_free(f);
}

static void test_not_an_image(void)
{
    struct fixture *f = start();
    char zeros[8192] = {0};

    set_kernel(f, zeros, sizeof zeros);
    expect_failure(f, "not a kernel image");
    set_kernel(f, zeros, 0);
    expect_failure(f, "empty");
    g_free(f->config.kernel);
    f->config.kernel = g_strdup(f->folder);
    expect_failure(f, "directory");
    g_free(f->config.kernel);
    f->config.kernel = g_strdup("/nowhere/at/all");
    expect_failure(f, "--kernel /nowhere/at/all: No such file");
    g_free(f->config.kernel);
    f->config.kernel = NULL;
    expect_failure(f, "--kernel FILE");
    fixture_free(f);
}

/* Loads DATA, which may be wrong; all that matters is that a failure has its message. */
static void try_image(struct fixture *f, const uint8_t *data, size_t length)
{
    struct boot_entry entry = {0};
    GError *error = NULL;

    set_kernel(f, data, length);
    bool good = boot_load(f->machine, &entry, &error);
    g_assert_true(good == !error);
    g_clear_error(&error);
}

/* Images with a few bytes changed, and images cut off. */
static void damage(struct fixture *f, GRand *random, const void *data, size_t length)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};

    for (unsigned i = 0; i < 300; i++) {
        g_autofree uint8_t *copy = g_memdup2(data, length);
        for (int n = g_rand_int_range(random, 1, 6); n; n--)
            copy[g_rand_int_range(random, 0, (int)MIN(length, 1024))] =
                values[g_rand_int_range(random, 0, G_N_ELEMENTS(values))];
        try_image(f, copy, length);
    }
    for (unsigned i = 0; i < 100; i++)
        try_image(f, data, (size_t)g_rand_int_range(random, 0, (int)length));
}

static void test_damaged(void)
{
    struct fixture *f = start();
    uint32_t seed = g_test_rand_int();
    GRand *random = g_rand_new_with_seed(seed);
    GByteArray *bzimage = make_bzimage();
    struct pvh_image pvh;
    struct multiboot_image multiboot;

    g_test_message("seed %u", seed);
    make_pvh(&pvh);
    make_multiboot(&multiboot);
    damage(f, random, &pvh, sizeof pvh);
    damage(f, random, &multiboot, sizeof multiboot);
    damage(f, random, bzimage->data, bzimage->len);
    g_byte_array_unref(bzimage);
    g_rand_free(random);
    fixture_free(f);
}

/* ---- ACPI ---- */

static uint8_t sum(struct fixture *f, uint64_t gpa, uint64_t length)
{
    const uint8_t *p = ram_pointer(f->machine, gpa, length, false);
    uint8_t total = 0;

    g_assert_nonnull(p);
    while (length--)
        total += *p++;
    return total;
}

/* The table with this SIGNATURE, its checksum found good. */
static uint64_t table(struct fixture *f, const char *signature)
{
    uint64_t xsdt = peek(f, LAYOUT_RSDP + 24, 8);

    for (uint64_t at = xsdt + 36; at < xsdt + peek(f, xsdt + 4, 4); at += 8) {
        uint64_t t = peek(f, at, 8);
        g_assert_cmphex(sum(f, t, peek(f, t + 4, 4)), ==, 0);
        if (!memcmp(ram_pointer(f->machine, t, 4, false), signature, 4))
            return t;
    }
    g_error("no table %s", signature);
}

static struct fixture *start_cpus(unsigned cpus)
{
    struct fixture *f = fixture_new(halt, sizeof halt);

    f->config.cpus = cpus;
    fixture_start(f);
    return f;
}

static void test_acpi_tables(void)
{
    struct fixture *f = start_cpus(3);

    g_assert_cmpint(memcmp(ram_pointer(f->machine, LAYOUT_RSDP, 8, false), "RSD PTR ", 8), ==, 0);
    g_assert_cmphex(sum(f, LAYOUT_RSDP, 20), ==, 0);
    g_assert_cmphex(sum(f, LAYOUT_RSDP, 36), ==, 0);
    uint64_t xsdt = peek(f, LAYOUT_RSDP + 24, 8);
    g_assert_cmphex(sum(f, xsdt, peek(f, xsdt + 4, 4)), ==, 0);

    uint64_t fadt = table(f, "FACP");
    g_assert_cmpuint(peek(f, fadt + 4, 4), ==, 276);
    g_assert_cmpuint(peek(f, fadt + 46, 2), ==, 9);             /* SCI_INT */
    g_assert_cmphex(peek(f, fadt + 56, 4), ==, 0x600);          /* PM1a_EVT_BLK */
    g_assert_cmphex(peek(f, fadt + 64, 4), ==, 0x604);          /* PM1a_CNT_BLK */
    g_assert_cmphex(peek(f, fadt + 76, 4), ==, 0x608);          /* PM_TMR_BLK */
    g_assert_cmphex(peek(f, fadt + 112, 4) & 0x510, ==, 0x500); /* reset, 32-bit timer, button */
    g_assert_cmphex(peek(f, fadt + 116 + 4, 8), ==, 0xcf9);     /* RESET_REG */
    g_assert_cmphex(peek(f, fadt + 140, 8), ==, peek(f, fadt + 40, 4)); /* X_DSDT, DSDT */
    g_assert_cmpint(memcmp(ram_pointer(f->machine, peek(f, fadt + 36, 4), 4, false), "FACS", 4), ==,
                    0);
    g_assert_cmphex(peek(f, fadt + 36, 4) & 63, ==, 0);

    uint64_t mcfg = table(f, "MCFG");
    g_assert_cmphex(peek(f, mcfg + 44, 8), ==, LAYOUT_ECAM);
    g_assert_cmphex(peek(f, mcfg + 55, 1), ==, 255);
    fixture_free(f);
}

static void test_madt(void)
{
    for (unsigned cpus = 1; cpus <= 255; cpus += 127) {
        struct fixture *f = start_cpus(cpus);
        uint64_t madt = table(f, "APIC"), end = madt + peek(f, madt + 4, 4);
        unsigned count = 0, overrides = 0, ioapics = 0;

        g_assert_cmphex(peek(f, madt + 36, 4), ==, LAYOUT_LAPIC);
        for (uint64_t at = madt + 44; at < end; at += peek(f, at + 1, 1)) {
            g_assert_cmpuint(peek(f, at + 1, 1), >=, 2);
            if (peek(f, at, 1) == 0) {
                g_assert_cmpuint(peek(f, at + 3, 1), ==, count++);
                g_assert_cmpuint(peek(f, at + 4, 4), ==, 1);
            } else if (peek(f, at, 1) == 1) {
                g_assert_cmphex(peek(f, at + 4, 4), ==, LAYOUT_IOAPIC);
                ioapics++;
            } else if (peek(f, at, 1) == 2) {
                bool timer = peek(f, at + 3, 1) == 0;
                g_assert_cmpuint(peek(f, at + 4, 4), ==, timer ? 2 : 9);
                g_assert_cmphex(peek(f, at + 8, 2), ==, timer ? 0 : 0xd);
                overrides++;
            }
        }
        g_assert_cmpuint(count, ==, cpus);
        g_assert_cmpuint(ioapics, ==, 1);
        g_assert_cmpuint(overrides, ==, 2);
        fixture_free(f);
    }
}

static void spawn(const char *folder, const char *const *command)
{
    g_autofree char *out = NULL, *complaints = NULL;
    GError *error = NULL;
    int status;

    g_spawn_sync(folder, (char **)command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &complaints,
                 &status, &error);
    g_assert_no_error(error);
    if (!g_spawn_check_wait_status(status, NULL))
        g_error("%s: %s%s", command[0], out, complaints);
}

/* Intel's compiler reads the DSDT back: it decodes, says what was meant, and compiles again to the
 * same bytes. */
static void test_dsdt(void)
{
    static const char *const needed[] = {
        "Device (PCI0)",        "EisaId (\"PNP0A08\")", "_PRT",          "EisaId (\"PNP0501\")",
        "EisaId (\"PNP0303\")", "Name (\\_S5",          "Device (C001)", "EisaId (\"PNP0B00\")",
        "0x00000000C0000000",   "0x0000008000000000",
    };
    static const char *const decode[] = {"iasl", "-d", "dsdt.aml", NULL};
    static const char *const encode[] = {"iasl", "-oa", "-p", "again", "dsdt.dsl", NULL};
    g_autofree char *iasl = g_find_program_in_path("iasl"), *text = NULL, *again = NULL;
    size_t again_length;

    if (!iasl) {
        g_test_skip("iasl is not installed");
        return;
    }
    struct fixture *f = start_cpus(2);
    uint64_t dsdt = peek(f, table(f, "FACP") + 140, 8), length = peek(f, dsdt + 4, 4);
    const uint8_t *aml = ram_pointer(f->machine, dsdt, length, false);
    g_assert_cmphex(sum(f, dsdt, length), ==, 0);
    g_free(fixture_file(f, "dsdt.aml", aml, length));
    spawn(f->folder, decode);
    g_autofree char *path = g_build_filename(f->folder, "dsdt.dsl", NULL);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++)
        if (!strstr(text, needed[i]) && !g_str_has_prefix(needed[i], "0x0000"))
            g_error("the DSDT lacks %s", needed[i]);
    spawn(f->folder, encode);
    g_autofree char *second = g_build_filename(f->folder, "again.aml", NULL);
    g_assert_true(g_file_get_contents(second, &again, &again_length, NULL));
    g_assert_cmpuint(again_length, ==, length);
    g_assert_cmpmem(again + 36, again_length - 36, aml + 36, length - 36);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/boot/bzimage/registers", test_bzimage);
    g_test_add_func("/boot/bzimage/placing", test_bzimage_placing);
    g_test_add_func("/boot/pvh", test_pvh);
    g_test_add_func("/boot/multiboot", test_multiboot);
    g_test_add_func("/boot/not-an-image", test_not_an_image);
    g_test_add_func("/boot/damaged", test_damaged);
    g_test_add_func("/acpi/tables", test_acpi_tables);
    g_test_add_func("/acpi/madt", test_madt);
    g_test_add_func("/acpi/dsdt", test_dsdt);
    return g_test_run();
}
