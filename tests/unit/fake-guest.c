/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's process for tests of the manager: it takes `trapeze run`'s arguments and speaks QMP on
 * descriptor 3, and has no guest.  --append says how it behaves, words separated by commas:
 *   die        ends at once with a message
 *   mute       never answers
 *   slow       answers only after a while
 *   crash      ends without a word when it is let go
 *   off        powers off as soon as it is let go
 *   deaf       takes no notice of the power button
 *   stubborn   takes no notice of `quit`
 * The power button powers it off.  SIGUSR1 resets it (or, under --no-reboot, ends it), SIGUSR2
 * powers it off.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define CLIENTS_MAX 8

static const char *behaviour = "";
static bool no_reboot, running, shut_down;
static char pty[64];
static int clients[CLIENTS_MAX], count;

static bool is(const char *word)
{
    return strstr(behaviour, word);
}

static void __attribute__((format(printf, 2, 3))) reply(int fd, const char *format, ...)
{
    va_list arguments;
    char text[1024];

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (send(fd, text, (size_t)length, MSG_NOSIGNAL) < 0)
        perror("send");
}

static void event(const char *name, const char *data)
{
    for (int i = 0; i < count; i++)
        reply(clients[i],
              "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"%s\"%s%s}\r\n",
              name, data ? ", \"data\": " : "", data ? data : "");
}

static void power_off(const char *reason)
{
    char data[64];

    snprintf(data, sizeof data, "{\"guest\": true, \"reason\": \"%s\"}", reason);
    shut_down = true;
    event("SHUTDOWN", data);
    if (running)
        event("STOP", NULL);
    running = false;
}

static void let_go(int fd)
{
    if (shut_down) {
        reply(fd, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"reset it first\"}}\r\n");
        return;
    }
    if (!running)
        event("RESUME", NULL);
    running = true;
    reply(fd, "{\"return\": {}}\r\n");
    if (is("crash"))
        _exit(3);
    if (is("off"))
        power_off("guest-shutdown");
}

static void obey(int fd, const char *line)
{
    bool empty = true;

    if (strstr(line, "\"cont\"")) {
        let_go(fd);
        return;
    }
    if (strstr(line, "\"stop\"")) {
        if (running)
            event("STOP", NULL);
        running = false;
    } else if (strstr(line, "\"system_reset\"")) {
        shut_down = false;
        event("RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
    } else if (strstr(line, "\"system_powerdown\"")) {
        event("POWERDOWN", NULL);
    } else if (strstr(line, "\"quit\"")) {
        if (!is("stubborn"))
            event("SHUTDOWN", "{\"guest\": false, \"reason\": \"host-qmp-quit\"}");
    } else if (strstr(line, "\"query-status\"")) {
        reply(fd, "{\"return\": {\"status\": \"%s\", \"running\": %s}}\r\n",
              shut_down ? "shutdown"
              : running ? "running"
                        : "paused",
              running ? "true" : "false");
        empty = false;
    } else if (strstr(line, "\"query-chardev\"")) {
        reply(fd, "{\"return\": [{\"label\": \"serial0\", \"filename\": \"pty:%s\"}]}\r\n", pty);
        empty = false;
    } else if (strstr(line, "\"query-cpus-fast\"")) {
        reply(fd, "{\"return\": [{\"cpu-index\": 0, \"thread-id\": %d}]}\r\n", (int)getpid());
        empty = false;
    } else if (strstr(line, "\"query-blockstats\"")) {
        reply(fd, "{\"return\": [{\"device\": \"disk0\", \"stats\": {\"rd_bytes\": 512, "
                  "\"rd_operations\": 1, \"wr_bytes\": 1024, \"wr_operations\": 2}}]}\r\n");
        empty = false;
    } else if (!strstr(line, "\"qmp_capabilities\"")) {
        reply(fd,
              "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such command\"}}\r\n");
        empty = false;
    }
    if (empty)
        reply(fd, "{\"return\": {}}\r\n");
    if (strstr(line, "\"quit\"") && !is("stubborn"))
        _exit(0);
    if (strstr(line, "\"system_powerdown\"") && !is("deaf"))
        power_off("guest-shutdown");
}

static void serve(int index)
{
    static char text[CLIENTS_MAX][4096];
    static size_t length[CLIENTS_MAX];
    int fd = clients[index];
    ssize_t n = recv(fd, text[index] + length[index], sizeof text[index] - length[index] - 1, 0);
    char *end;

    if (n <= 0) {
        close(fd);
        clients[index] = -1;
        length[index] = 0;
        return;
    }
    length[index] += (size_t)n;
    text[index][length[index]] = 0;
    while ((end = strchr(text[index], '\n'))) {
        *end = 0;
        obey(fd, text[index]);
        length[index] -= (size_t)(end + 1 - text[index]);
        memmove(text[index], end + 1, length[index] + 1);
    }
}

static void take_client(int listener)
{
    int fd = accept(listener, NULL, NULL);

    if (fd < 0)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (i == count || clients[i] < 0) {
            clients[i] = fd;
            count = i == count ? count + 1 : count;
            break;
        }
    reply(fd, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
}

static void take_signal(int signals)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGUSR2)
        power_off("guest-shutdown");
    else if (no_reboot)
        power_off("guest-reset");
    else
        event("RESET", "{\"guest\": true, \"reason\": \"guest-reset\"}");
}

/* A pseudo-terminal that gives back what is written to it. */
static int open_pty(void)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY);

    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, pty, sizeof pty))
        return -1;
    /* Held open, so that it is no end when a client goes. */
    int slave = open(pty, O_RDWR | O_NOCTTY);
    struct termios modes;

    if (slave < 0 || tcgetattr(slave, &modes) < 0)
        return -1;
    cfmakeraw(&modes);
    return tcsetattr(slave, TCSANOW, &modes) < 0 ? -1 : fd;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--append"))
            behaviour = argv[i + 1];
        if (!strcmp(argv[i], "--no-reboot"))
            no_reboot = true;
    }
    if (is("die")) {
        fprintf(stderr, "trapeze: --kernel: there is no such kernel\n");
        return 1;
    }
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int signals = signalfd(-1, &mask, 0), terminal = open_pty();
    if (is("slow"))
        usleep(300000);
    for (;;) {
        struct pollfd fds[CLIENTS_MAX + 3] = {
            {is("mute") ? -1 : 3, POLLIN, 0}, {signals, POLLIN, 0}, {terminal, POLLIN, 0}};
        char part[256];

        for (int i = 0; i < count; i++)
            fds[i + 3] = (struct pollfd){clients[i], POLLIN, 0};
        if (poll(fds, (nfds_t)count + 3, -1) < 0)
            return 1;
        int served = count;
        for (int i = 0; i < served; i++)
            if (clients[i] >= 0 && fds[i + 3].revents)
                serve(i);
        if (fds[0].revents)
            take_client(3);
        if (fds[1].revents)
            take_signal(signals);
        if (fds[2].revents & POLLIN) {
            ssize_t n = read(terminal, part, sizeof part);

            if (n > 0 && write(terminal, part, (size_t)n) < 0)
                perror("write");
        }
    }
}
