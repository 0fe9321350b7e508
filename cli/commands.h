/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands.  Each gets the words after its name and returns the process's exit status. */
#ifndef TRAPEZE_COMMANDS_H
#define TRAPEZE_COMMANDS_H

int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_with_kvm(int argc, char **argv);
int command_help(int argc, char **argv);
int command_version(int argc, char **argv);

/* Prints `trapeze run --help`. */
void run_print_help(void);
/* Prints `trapeze with-kvm --help`. */
void with_kvm_print_help(void);
/* Where libtrapeze-kvm.so is, or NULL; g_free. */
char *with_kvm_library(void);

#endif
