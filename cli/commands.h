/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands.  Each gets the words after its name and returns the process's exit status. */
#ifndef TRAPEZE_COMMANDS_H
#define TRAPEZE_COMMANDS_H

int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_with_kvm(int argc, char **argv);
/* Of the manager's domains: domain-commands.c, domain-show.c, console.c. */
int command_list(int argc, char **argv);
int command_info(int argc, char **argv);
int command_define(int argc, char **argv);
int command_undefine(int argc, char **argv);
int command_start(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_console(int argc, char **argv);
int command_help(int argc, char **argv);
int command_version(int argc, char **argv);

/* Where libtrapeze-kvm.so is, or NULL; g_free. */
char *with_kvm_library(void);

#endif
