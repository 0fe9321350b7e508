/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML: what is filled in, what is kept, what is refused and in which words.  Messages and
 * numbers are those that Debian 12's libvirtd (9.0.0, QEMU driver) gave for the same documents. */
#include "manager/domain/definition.h"

#include <string.h>

#define EMULATOR "/bin/true" /* it is only looked at */

static struct definition *parse(const char *xml)
{
    GError *error = NULL;
    struct definition *d = definition_parse(xml, EMULATOR, 0, &error);

    g_assert_no_error(error);
    g_assert_nonnull(d);
    return d;
}

/* A domain with BODY beside what it needs. */
static char *domain(const char *body)
{
    return g_strdup_printf("<domain type='qemu'><name>t</name><memory>65536</memory>"
                           "<os><type>hvm</type></os>%s</domain>",
                           body);
}

static void check_error(const char *xml, int code, const char *message)
{
    GError *error = NULL;

    g_assert_null(definition_parse(xml, EMULATOR, 0, &error));
    g_assert_nonnull(error);
    g_assert_cmpstr(error->message, ==, message);
    g_assert_cmpint(error->code, ==, code);
    g_error_free(error);
}

/* ---- completing ---- */

static const char small[] = "<domain type='qemu'>\n"
                            "  <name>small</name>\n"
                            "  <memory unit='MiB'>64</memory>\n"
                            "  <uuid>11111111-2222-3333-4444-555555555501</uuid>\n"
                            "  <os><type>hvm</type></os>\n"
                            "</domain>\n";
static const char small_completed[] = "<domain type='qemu'>\n"
                                      "  <name>small</name>\n"
                                      "  <uuid>11111111-2222-3333-4444-555555555501</uuid>\n"
                                      "  <memory unit='KiB'>65536</memory>\n"
                                      "  <currentMemory unit='KiB'>65536</currentMemory>\n"
                                      "  <vcpu placement='static'>1</vcpu>\n"
                                      "  <os>\n"
                                      "    <type arch='x86_64' machine='virt-1'>hvm</type>\n"
                                      "    <boot dev='hd'/>\n"
                                      "  </os>\n"
                                      "  <clock offset='utc'/>\n"
                                      "  <on_poweroff>destroy</on_poweroff>\n"
                                      "  <on_reboot>restart</on_reboot>\n"
                                      "  <on_crash>destroy</on_crash>\n"
                                      "  <devices>\n"
                                      "    <emulator>" EMULATOR "</emulator>\n"
                                      "    <controller type='pci' index='0' model='pcie-root'/>\n"
                                      "  </devices>\n"
                                      "</domain>\n";

static void test_complete(void)
{
    struct definition *d = parse(small);
    g_autofree char *text = definition_format(d, true);

    g_assert_cmpstr(text, ==, small_completed);
    g_assert_cmpstr(d->name, ==, "small");
    g_assert_cmpuint(d->memory, ==, 65536);
    g_assert_cmpuint(d->vcpus, ==, 1);
    g_assert_true(d->software);
    g_assert_cmpint(d->on_reboot, ==, ACTION_RESTART);
    definition_free(d);
}

static const char large[] =
    "<domain type='kvm' id='7'>\n"
    "  <!-- a comment -->\n"
    "  <name>large</name>\n"
    "  <title>A &lt;title&gt;</title>\n"
    "  <metadata><x:y xmlns:x='http://a'>1<x:u/></x:y></metadata>\n"
    "  <memory unit='MiB'>64</memory><currentMemory>1024</currentMemory>\n"
    "  <vcpu current='1'>2</vcpu>\n"
    "  <os><type arch='x86_64'>hvm</type><cmdline>a \"b\" &amp;c</cmdline>"
    "<kernel>/k</kernel><initrd>/i</initrd></os>\n"
    "  <features><acpi/><pae/></features>\n"
    "  <cpu mode='host-passthrough'><feature policy='disable' name='avx2'/></cpu>\n"
    "  <devices>\n"
    "    <disk type='file'><source file='/e.img'/><target dev='vdb'/><readonly/></disk>\n"
    "    <disk type='block' device='disk'><target dev='vda' bus='virtio'/><source "
    "dev='/d'/></disk>\n"
    "    <interface type='user'><mac address='52:54:00:AA:bb:cc'/>"
    "<portForward proto='tcp' address='127.0.0.1'><range start='2222' to='22'/></portForward>"
    "</interface>\n"
    "    <serial type='pty'><source path='/dev/pts/9'/><alias name='serial0'/></serial>\n"
    "    <console type='file'><source path='/log'/><target type='virtio'/></console>\n"
    "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n"
    "    <input type='tablet' bus='usb'/>\n"
    "    <strange one='1'><two>x</two></strange>\n"
    "  </devices>\n"
    "  <odd/>\n"
    "</domain>\n";

static void test_values(void)
{
    struct definition *d = parse(large);
    const struct definition_disk *first = d->disks->pdata[0], *second = d->disks->pdata[1];
    const struct definition_net *net = d->nets->pdata[0];

    g_assert_false(d->software);
    g_assert_cmpuint(d->current_memory, ==, 1024);
    g_assert_cmpuint(d->vcpus, ==, 1);
    g_assert_cmpuint(d->vcpus_max, ==, 2);
    g_assert_cmpstr(d->kernel, ==, "/k");
    g_assert_cmpstr(d->cmdline, ==, "a \"b\" &c");
    g_assert_cmpstr(d->cpu, ==, "host,-avx2");
    g_assert_cmpstr(first->target, ==, "vda");
    g_assert_cmpstr(first->path, ==, "/d");
    g_assert_false(first->readonly);
    g_assert_true(second->readonly);
    g_assert_cmpstr(net->mac, ==, "52:54:00:aa:bb:cc");
    g_assert_cmpstr(net->forwards, ==, ",forward=tcp:127.0.0.1:2222-:22");
    g_assert_true(d->serial.pty);
    g_assert_cmpstr(d->console.where, ==, "file:/log");
    g_assert_null(d->serial.fault);
    g_assert_null(d->console.fault);
    g_ptr_array_add(d->ignored, NULL);
    g_autofree char *ignored = g_strjoinv(" ", (char **)d->ignored->pdata);
    g_assert_cmpstr(ignored, ==, "devices/input devices/strange odd");
    definition_free(d);
}

/* Defining what was dumped changes nothing. */
static void check_round_trip(const char *xml)
{
    struct definition *first = parse(xml);
    g_autofree char *once = definition_format(first, true);
    struct definition *second = parse(once);
    g_autofree char *twice = definition_format(second, true);

    g_assert_cmpstr(once, ==, twice);
    g_assert_true(definition_equal(first, second));

    /* Nor does what was dumped of the running guest. */
    definition_make_live(first, 12);
    definition_set_pty(first, "serial0", "/dev/pts/3");
    g_autofree char *live = definition_format(first, false);
    struct definition *third = parse(live);
    g_autofree char *again = definition_format(third, true);
    g_assert_cmpstr(again, ==, once);

    /* And a running guest's own is read as it was written. */
    struct definition *fourth = definition_parse(live, EMULATOR, DEFINITION_LIVE, NULL);
    g_autofree char *kept = definition_format(fourth, false);
    g_assert_cmpstr(kept, ==, live);
    definition_free(fourth);
    definition_free(third);
    definition_free(second);
    definition_free(first);
}

static void test_round_trip(void)
{
    g_autofree char *console = domain("<devices><console type='pty'/></devices>");
    g_autofree char *serial = domain("<devices><serial/></devices>");
    g_autofree char *virtio =
        domain("<devices><console type='pty'><target type='virtio'/></console></devices>");
    g_autofree char *odd =
        domain("<description>a\n  b</description><devices>"
               "<x><y>text</y> between <z/></x><a b='1&#10;2&apos;'/></devices>");

    check_round_trip(small);
    check_round_trip(large);
    check_round_trip(console);
    check_round_trip(serial);
    check_round_trip(virtio);
    check_round_trip(odd);

    /* Text that is in no place is dropped. */
    g_autofree char *stray = domain("x<clock>y</clock>z<devices>u</devices>v");
    struct definition *d = parse(stray);
    g_autofree char *text = definition_format(d, true);
    g_assert_nonnull(strstr(text, "  <clock offset='utc'>y</clock>\n  <on_poweroff>"));
    g_assert_nonnull(strstr(text, "  <devices>\n    <emulator>"));
    check_round_trip(stray);
    definition_free(d);
}

/* What virt-install gives: most of it has no effect here and is kept. */
static const char installed[] =
    "<domain type=\"kvm\">\n"
    "  <name>vm1</name>\n"
    "  <uuid>11111111-2222-3333-4444-555555555509</uuid>\n"
    "  <metadata>\n"
    "    <libosinfo:libosinfo xmlns:libosinfo=\"http://libosinfo.org/xmlns/libvirt/domain/1.0\">\n"
    "      <libosinfo:os id=\"http://debian.org/debian/12\"/>\n"
    "    </libosinfo:libosinfo>\n"
    "  </metadata>\n"
    "  <memory>1048576</memory>\n"
    "  <currentMemory>1048576</currentMemory>\n"
    "  <vcpu>2</vcpu>\n"
    "  <os>\n"
    "    <type arch=\"x86_64\">hvm</type>\n"
    "    <kernel>/boot/vmlinuz</kernel>\n"
    "  </os>\n"
    "  <features>\n"
    "    <acpi/>\n"
    "    <apic/>\n"
    "    <vmport state=\"off\"/>\n"
    "  </features>\n"
    "  <cpu mode=\"host-passthrough\"/>\n"
    "  <clock offset=\"utc\">\n"
    "    <timer name=\"rtc\" tickpolicy=\"catchup\"/>\n"
    "    <timer name=\"hpet\" present=\"no\"/>\n"
    "  </clock>\n"
    "  <pm>\n"
    "    <suspend-to-mem enabled=\"no\"/>\n"
    "  </pm>\n"
    "  <devices>\n"
    "    <disk type=\"file\" device=\"disk\">\n"
    "      <driver name=\"qemu\" type=\"raw\" discard=\"unmap\"/>\n"
    "      <source file=\"/var/lib/vm1.img\"/>\n"
    "      <target dev=\"vda\" bus=\"virtio\"/>\n"
    "    </disk>\n"
    "    <controller type=\"usb\" model=\"qemu-xhci\" ports=\"15\"/>\n"
    "    <controller type=\"pci\" model=\"pcie-root\"/>\n"
    "    <controller type=\"pci\" model=\"pcie-root-port\"/>\n"
    "    <interface type=\"user\">\n"
    "      <mac address=\"52:54:00:f9:f5:72\"/>\n"
    "      <model type=\"virtio\"/>\n"
    "    </interface>\n"
    "    <console type=\"pty\"/>\n"
    "    <channel type=\"unix\">\n"
    "      <source mode=\"bind\"/>\n"
    "      <target type=\"virtio\" name=\"org.qemu.guest_agent.0\"/>\n"
    "    </channel>\n"
    "    <input type=\"tablet\" bus=\"usb\"/>\n"
    "    <graphics type=\"vnc\" port=\"-1\"/>\n"
    "    <video>\n"
    "      <model type=\"virtio\"/>\n"
    "    </video>\n"
    "    <memballoon model=\"virtio\"/>\n"
    "    <rng model=\"virtio\">\n"
    "      <backend model=\"random\">/dev/urandom</backend>\n"
    "    </rng>\n"
    "  </devices>\n"
    "</domain>\n";

static void test_installed(void)
{
    struct definition *d = parse(installed);

    check_round_trip(installed);
    g_ptr_array_add(d->ignored, NULL);
    g_autofree char *ignored = g_strjoinv(" ", (char **)d->ignored->pdata);
    g_assert_cmpstr(ignored, ==,
                    "features/vmport devices/controller devices/controller devices/channel "
                    "devices/input devices/graphics devices/video devices/memballoon");
    g_autofree char *text = definition_format(d, true);
    g_assert_nonnull(strstr(text, "<libosinfo:os id=\"http://debian.org/debian/12\"/>"));
    g_assert_nonnull(strstr(text, "<timer name='rtc' tickpolicy='catchup'/>"));
    definition_free(d);
}

static const char live_devices[] =
    "  <devices>\n"
    "    <emulator>" EMULATOR "</emulator>\n"
    "    <disk type='file' device='disk'>\n"
    "      <driver name='qemu' type='raw'/>\n"
    "      <source file='/d'/>\n"
    "      <target dev='vdb' bus='virtio'/>\n"
    "      <alias name='virtio-disk1'/>\n"
    "      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>\n"
    "    </disk>\n"
    "    <controller type='pci' index='0' model='pcie-root'>\n"
    "      <alias name='pcie.0'/>\n"
    "    </controller>\n"
    "    <serial type='pty'>\n"
    "      <source path='/dev/pts/3'/>\n"
    "      <target type='isa-serial' port='0'>\n"
    "        <model name='isa-serial'/>\n"
    "      </target>\n"
    "      <alias name='serial0'/>\n"
    "    </serial>\n"
    "    <console type='pty' tty='/dev/pts/3'>\n"
    "      <source path='/dev/pts/3'/>\n"
    "      <target type='serial' port='0'/>\n"
    "      <alias name='serial0'/>\n"
    "    </console>\n"
    "  </devices>\n";

static void test_live(void)
{
    g_autofree char *xml = domain("<devices><serial type='pty'/><disk type='file'>"
                                  "<source file='/d'/><target dev='vdb'/></disk></devices>");
    struct definition *d = parse(xml);

    definition_make_live(d, 3);
    definition_set_pty(d, "serial0", "/dev/pts/3");
    g_autofree char *text = definition_format(d, false);
    g_assert_true(g_str_has_prefix(text, "<domain type='qemu' id='3'>\n"));
    g_assert_nonnull(strstr(text, live_devices));
    g_autofree char *path = definition_console_path(d, NULL, NULL);
    g_assert_cmpstr(path, ==, "/dev/pts/3");
    GError *error = NULL;
    g_assert_null(definition_console_path(d, "console7", &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_INTERNAL);
    g_error_free(error);
    definition_free(d);
}

/* ---- refusing ---- */

static void test_ill_formed(void)
{
    check_error("<domain type='qemu'>\n<name>x</nam>\n</domain>", 35,
                "(domain_definition):2: Opening and ending tag mismatch: name line 2 and nam\n"
                "<name>x</nam>\n"
                "-------------^");
    check_error("<domain>", 35,
                "(domain_definition):1: Premature end of data in tag domain line 1\n"
                "<domain>\n"
                "--------^");
    check_error("garbage", 35,
                "(domain_definition):1: Start tag expected, '<' not found\n"
                "garbage\n"
                "^");
    check_error("<?xml version='1.0'?>\n"
                "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain>&e;</domain>",
                35, "(domain_definition):2: a document type declaration is not allowed here");
}

static void test_deep(void)
{
    GString *xml = g_string_new(NULL);
    GError *error = NULL;

    for (unsigned i = 0; i < 10000; i++)
        g_string_append(xml, "<a>");
    g_assert_null(definition_parse(xml->str, EMULATOR, 0, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_XML_DETAIL);
    g_clear_error(&error);
    g_string_set_size(xml, 0);
    while (xml->len <= XML_SIZE_MAX)
        g_string_append(xml, "<a/>");
    g_assert_null(definition_parse(xml->str, EMULATOR, 0, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_XML_DETAIL);
    g_error_free(error);
    g_string_free(xml, TRUE);
}

static void test_domain_errors(void)
{
    static const struct {
        const char *xml;
        int code;
        const char *message;
    } rows[] = {
        {"<network/>", 27, "XML error: expecting root element of 'domain', not 'network'"},
        {"<domain type='qemu'/>", 21, "missing name information"},
        {"<domain type='qemu'><name/></domain>", 21, "missing name information"},
        {"<domain type='qemu'><name>x</name></domain>", 27,
         "XML error: an os <type> must be specified"},
        {"<domain type='qemu'><name>x</name><os><type>hvm</type></os></domain>", 27,
         "XML error: Memory size must be specified via <memory> or in the <numa> configuration"},
        {"<domain type='qemu'><name>a/b</name></domain>", 27,
         "XML error: name a/b cannot contain '/'"},
        {"<domain type='qemu'><name>x</name><uuid>foo</uuid></domain>", 1,
         "internal error: malformed uuid element"},
        {"<domain type='qemu'><name>x</name><os><type>foo</type></os></domain>", 67,
         "unsupported configuration: unknown OS type 'foo'"},
        {"<domain type='qemu'><name>x</name><os><type arch='aarch64'>hvm</type></os></domain>", 67,
         "unsupported configuration: No emulator found for arch 'aarch64'"},
        {"<domain type='qemu'><name>x</name><os><type arch='vax'>hvm</type></os></domain>", 67,
         "unsupported configuration: Unknown architecture vax"},
        {"<domain type='xen'><name>x</name></domain>", 67,
         "unsupported configuration: Emulator '" EMULATOR "' does not support virt type 'xen'"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
        check_error(rows[i].xml, rows[i].code, rows[i].message);
}

static void test_memory_errors(void)
{
    static const struct {
        const char *memory;
        int code;
        const char *message;
    } rows[] = {
        {"<memory>abc</memory>", 27,
         "XML error: Invalid value 'abc' for element or attribute './memory[1]'"},
        {"<memory>-4</memory>", 27,
         "XML error: Invalid value '-4' for element or attribute './memory[1]'"},
        {"<memory unit='foo'>12</memory>", 8, "invalid argument: unknown suffix 'foo'"},
        {"<memory unit='EiB'>999999999</memory>", 82,
         "numerical overflow: value too large: 999999999EiB"},
        {"<memory>0</memory>", 27,
         "XML error: Memory size must be specified via <memory> or in the <numa> configuration"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain type='qemu'><name>x</name><os><type>hvm</type></os>%s</domain>",
            rows[i].memory);

        check_error(xml, rows[i].code, rows[i].message);
    }
}

static void test_element_errors(void)
{
    static const struct {
        const char *body;
        int code;
        const char *message;
    } rows[] = {
        {"<vcpu>x</vcpu>", 27, "XML error: maximum vcpus count must be an integer"},
        {"<vcpu>-1</vcpu>", 27, "XML error: maximum vcpus count must be an integer"},
        {"<vcpu>300</vcpu>", 67,
         "unsupported configuration: Maximum CPUs greater than specified machine type limit 255"},
        {"<vcpu current='3'>2</vcpu>", 67,
         "unsupported configuration: maximum vCPU count must not be less than current vCPU count"},
        {"<currentMemory>x</currentMemory>", 27,
         "XML error: Invalid value 'x' for element or attribute './currentMemory[1]'"},
        {"<on_reboot>foo</on_reboot>", 67,
         "unsupported configuration: unknown on_reboot action: foo"},
        {"<clock offset='foo'/>", 67, "unsupported configuration: unknown clock offset 'foo'"},
        {"<features><foo/></features>", 67, "unsupported configuration: unexpected feature 'foo'"},
        {"<cpu mode='foo'/>", 67, "unsupported configuration: Invalid mode attribute 'foo'"},
        {"<title>a\nb</title>", 27, "XML error: Domain title can't contain newlines"},
        {"<devices><disk type='file'><source file='/x'/></disk></devices>", 20,
         "missing target information for device /x"},
        {"<devices><disk type='file'><target dev='vda'/></disk></devices>", 19,
         "missing source information for device vda"},
        {"<devices><disk type='foo'/></devices>", 27,
         "XML error: Invalid value for attribute 'type' in element 'disk': 'foo'."},
        {"<devices><disk type='file' device='foo'/></devices>", 27,
         "XML error: Invalid value for attribute 'device' in element 'disk': 'foo'."},
        {"<devices><disk type='file'><source file='/x'/><target dev='vda' bus='foo'/></disk>"
         "</devices>",
         27, "XML error: Invalid value for attribute 'bus' in element 'target': 'foo'."},
        {"<devices><disk type='file'><source file='/x'/><target dev='zda'/></disk></devices>", 27,
         "XML error: Unknown disk name 'zda' and no address specified"},
        {"<devices><disk type='file'><source file='/x'/><target dev='vda'/></disk>"
         "<disk type='file'><source file='/x'/><target dev='vda'/></disk></devices>",
         27, "XML error: target 'vda' duplicated for disk sources '/x' and '/x'"},
        {"<devices><disk type='file'><driver name='qemu' type='foo'/><source file='/x'/>"
         "<target dev='vda'/></disk></devices>",
         67, "unsupported configuration: unknown driver format value 'foo'"},
        {"<devices><disk type='file'><driver name='foo' type='raw'/><source file='/x'/>"
         "<target dev='vda'/></disk></devices>",
         67, "unsupported configuration: unsupported driver name 'foo' for disk 'vda'"},
        {"<devices><interface type='foo'/></devices>", 27,
         "XML error: Invalid value for attribute 'type' in element 'interface': 'foo'."},
        {"<devices><interface type='bridge'/></devices>", 27,
         "XML error: interface type='bridge' requires a 'source' element"},
        {"<devices><interface type='user'><mac address='foo'/></interface></devices>", 27,
         "XML error: unable to parse mac address 'foo'"},
        {"<devices><interface type='user'><mac address='01:00:00:00:00:00'/></interface></devices>",
         27, "XML error: expected unicast mac address, found multicast '01:00:00:00:00:00'"},
        {"<devices><serial type='foo'/></devices>", 67,
         "unsupported configuration: unknown type presented to host for character device: foo"},
        {"<devices><serial type='file'/></devices>", 1,
         "internal error: Missing source path attribute for char device"},
        {"<devices><console type='pty'><target type='foo'/></console></devices>", 67,
         "unsupported configuration: unknown target type 'foo' specified for character device"},
        {"<devices><rng model='virtio'/></devices>", 27,
         "XML error: only one RNG backend is supported"},
        {"<devices><memballoon model='foo'/></devices>", 27,
         "XML error: Invalid value for attribute 'model' in element 'memballoon': 'foo'."},
        {"<devices><controller type='foo'/></devices>", 27,
         "XML error: Invalid value for attribute 'type' in element 'controller': 'foo'."},
        {"<devices><emulator>/nonexistent</emulator></devices>", 38,
         "Cannot check emulator /nonexistent: No such file or directory"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = domain(rows[i].body);

        check_error(xml, rows[i].code, rows[i].message);
    }
}

/* What is understood and cannot be had is refused when the guest is to start. */
static void check_start_error(const char *devices, const char *message)
{
    g_autofree char *xml =
        g_strdup_printf("<domain type='kvm'><name>x</name><memory>65536</memory><os>"
                        "<type>hvm</type><kernel>/k</kernel></os><devices>%s</devices></domain>",
                        devices);
    struct definition *d = parse(xml);
    GError *error = NULL;

    g_assert_false(definition_check_start(d, &error));
    g_assert_cmpstr(error->message, ==, message);
    g_error_free(error);
    definition_free(d);
}

static void test_start_errors(void)
{
    check_start_error("<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>",
                      "unsupported configuration: <disk> 'hda': only device='disk' is supported");
    check_start_error("<disk type='file'><source file='/x'/><target dev='sda'/></disk>",
                      "unsupported configuration: <disk> 'sda': of its <target> only bus='virtio' "
                      "is supported");
    check_start_error("<disk type='file'><source file='/nonex'/><target dev='vda'/></disk>",
                      "Cannot access storage file '/nonex': No such file or directory");
    check_start_error("<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
                      "<source bridge='br0'/></interface>",
                      "unsupported configuration: <interface> '52:54:00:00:00:01': only interfaces "
                      "of type='user' are supported");
    check_start_error("<serial type='pty'/><serial type='pty'/>",
                      "unsupported configuration: <serial>: there is one serial port at most");
    check_start_error("<serial type='stdio'/>",
                      "unsupported configuration: <serial>: only type='pty', 'file', 'null', and "
                      "'unix' with mode='bind' are supported");
}

static void test_validate(void)
{
    g_autofree char *xml = domain("<foo/>");
    GError *error = NULL;

    g_assert_null(definition_parse(xml, EMULATOR, DEFINITION_VALIDATE, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_XML_SCHEMA);
    g_error_free(error);
}

/* ---- metadata ---- */

static void test_metadata(void)
{
    struct definition *d = parse(small);
    GError *error = NULL;

    g_assert_null(definition_metadata(d, 1, NULL, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_NO_METADATA);
    g_clear_error(&error);
    g_assert_true(definition_set_metadata(d, 1, "a title", NULL, NULL, NULL));
    g_assert_true(definition_set_metadata(d, 2, "<y>1</y>", "x", "http://a", NULL));
    g_assert_true(definition_set_metadata(d, 2, "<y z='2'>1<u/></y>", "x", "http://b", NULL));
    g_autofree char *first = definition_metadata(d, 2, "http://a", NULL);
    g_autofree char *second = definition_metadata(d, 2, "http://b", NULL);
    g_assert_cmpstr(first, ==, "<y>1</y>");
    g_assert_cmpstr(second, ==, "<y z=\"2\">1<u/></y>");
    g_autofree char *text = definition_format(d, true);
    g_assert_nonnull(strstr(text, "  <title>a title</title>\n"
                                  "  <metadata>\n"
                                  "    <x:y xmlns:x=\"http://a\">1</x:y>\n"
                                  "    <x:y xmlns:x=\"http://b\" z=\"2\">1<x:u/></x:y>\n"
                                  "  </metadata>\n"));
    check_round_trip(text);
    g_assert_false(definition_set_metadata(d, 2, "<y>", "x", "http://b", &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_XML_DETAIL);
    g_clear_error(&error);
    g_assert_false(definition_set_metadata(d, 1, "a\nb", NULL, NULL, &error));
    g_assert_cmpstr(error->message, ==, "metadata title can't contain newlines");
    g_clear_error(&error);
    g_assert_true(definition_set_metadata(d, 2, NULL, NULL, "http://a", NULL));
    g_assert_true(definition_set_metadata(d, 2, NULL, NULL, "http://b", NULL));
    g_assert_true(definition_set_metadata(d, 1, NULL, NULL, NULL, NULL));
    g_autofree char *bare = definition_format(d, true);
    g_assert_cmpstr(bare, ==, small_completed);
    definition_free(d);
}

static void test_units(void)
{
    static const struct {
        const char *text;
        uint64_t kib;
    } rows[] = {
        {"<memory unit='b'>1025</memory>", 2},      {"<memory unit='KB'>1024</memory>", 1000},
        {"<memory unit='k'>5</memory>", 5},         {"<memory unit='M'>5</memory>", 5120},
        {"<memory unit='gib'>1</memory>", 1 << 20}, {"<memory> 7 </memory>", 7}};

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain type='qemu'><name>x</name><os><type>hvm</type></os>%s</domain>", rows[i].text);
        struct definition *d = parse(xml);

        g_assert_cmpuint(d->memory, ==, rows[i].kib);
        definition_free(d);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/definition/complete", test_complete);
    g_test_add_func("/definition/values", test_values);
    g_test_add_func("/definition/round-trip", test_round_trip);
    g_test_add_func("/definition/installed", test_installed);
    g_test_add_func("/definition/live", test_live);
    g_test_add_func("/definition/ill-formed", test_ill_formed);
    g_test_add_func("/definition/deep", test_deep);
    g_test_add_func("/definition/domain-errors", test_domain_errors);
    g_test_add_func("/definition/memory-errors", test_memory_errors);
    g_test_add_func("/definition/element-errors", test_element_errors);
    g_test_add_func("/definition/start-errors", test_start_errors);
    g_test_add_func("/definition/validate", test_validate);
    g_test_add_func("/definition/metadata", test_metadata);
    g_test_add_func("/definition/units", test_units);
    return g_test_run();
}
