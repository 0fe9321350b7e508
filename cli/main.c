/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The `trapeze` command. */
#include "commands.h"

#include "machine/cpu-model.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", command_run, "run a virtual machine on this terminal"},
    {"list", command_list, "list the domains of the manager, trapezed"},
    {"info", command_info, "tell all about one of them"},
    {"define", command_define, "make a domain of an XML file, or change one"},
    {"undefine", command_undefine, "forget a domain"},
    {"start", command_start, "start domains"},
    {"stop", command_stop, "shut domains down, or end them"},
    {"console", command_console, "open a domain's console on this terminal"},
    {"with-kvm", command_with_kvm, "run another program with a /dev/kvm that is ours"},
    {"doctor", command_doctor, "say what this host offers, and what would make guests faster"},
    {"help", command_help, "help [COMMAND|cpu]: this, or more about one subject"},
    {"version", command_version, "print the version"},
};

static void print_help(void)
{
    printf("Trapeze runs virtual machines: with Linux's KVM where the processor has\n"
           "virtualization, and with a processor in software where it has not.\n\n"
           "Usage: trapeze COMMAND [FLAGS]\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-10s%s\n", commands[i].name, commands[i].help);
    printf("\nA first guest:\n"
           "  trapeze run --kernel /vmlinuz --initrd /initrd.img --append console=ttyS0\n"
           "One that runs in the background, looked after by the manager:\n"
           "  trapezed &\n"
           "  trapeze define web.xml; trapeze start web; trapeze console web\n");
}

static void print_cpu_help(void)
{
    g_autofree char *models = cpu_model_list(), *features = cpu_feature_list();
    size_t column = 0;

    printf("--cpu MODEL[,+FEATURE|,-FEATURE]...[,vendor=NAME][,phys-bits=N]\n\n"
           "Models: %s\n"
           "  trapeze-v1  x86-64-v3 with AES and PCLMULQDQ (the default where the host has AVX2)\n"
           "  trapeze-v0  x86-64-v2\n"
           "  host        everything the engine offers; snapshots of it stay on such hosts\n\n"
           "Features:\n ",
           models);
    for (char *word = strtok(features, " "); word; word = strtok(NULL, " ")) {
        if (column + strlen(word) > 76) {
            printf("\n ");
            column = 0;
        }
        column += (size_t)printf(" %s", word);
    }
    printf("\n");
}

/* The help of a command that prints it itself. */
static bool print_command_help(const char *name)
{
    static char flag[] = "--help";
    char *arguments[] = {flag, NULL};

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (!strcmp(commands[i].name, name) && commands[i].run != command_help &&
            commands[i].run != command_version && commands[i].run != command_doctor)
            return commands[i].run(1, arguments) == 0;
    return false;
}

int command_help(int argc, char **argv)
{
    if (argc == 0) {
        print_help();
    } else if (!strcmp(argv[0], "cpu")) {
        print_cpu_help();
    } else if (!strcmp(argv[0], "doctor")) {
        printf(
            "Usage: trapeze doctor\n\nSays what this host offers, and which engine --engine auto "
            "takes.\n");
    } else if (!print_command_help(argv[0])) {
        fprintf(stderr,
                "trapeze: help: there is no subject `%s`; there are the commands, and cpu\n",
                argv[0]);
        return 1;
    }
    return 0;
}

int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("trapeze %s\n", TRAPEZE_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        fprintf(stderr, "trapeze: give a command; `trapeze help` lists them\n");
        return 1;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "trapeze: there is no command `%s`; `trapeze help` lists them\n", name);
    return 1;
}
