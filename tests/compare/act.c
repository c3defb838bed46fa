/* What every server here starts: it does one thing that a program may do, and
 * tells what it finds. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void say(const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t done = write(1, text, left);
        if (done <= 0)
            exit(1);
        text += done;
        left -= (size_t)done;
    }
}

/* Each descriptor and what it is. */
static void descriptors(void) {
    char line[512], path[64], target[256];
    for (int number = 0; number < 1024; number++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", number);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = 0;
        int listens = 0;
        socklen_t size = sizeof listens;
        getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
        snprintf(line, sizeof line, "%d %s\n", number, listens ? "listener" : target);
        say(line);
    }
}

static void state(void) {
    char line[256];
    snprintf(line, sizeof line, "umask %03o\n", (unsigned)umask(0));
    say(line);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < 32; number++) {
        struct sigaction found;
        if (sigaction(number, NULL, &found) == 0 && found.sa_handler == SIG_IGN) {
            snprintf(line, sizeof line, "ignored %s\n", sigabbrev_np(number));
            say(line);
        }
        if (sigismember(&blocked, number)) {
            snprintf(line, sizeof line, "blocked %s\n", sigabbrev_np(number));
            say(line);
        }
    }
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    char buffer[65536];
    ssize_t length;
    if (!strcmp(what, "count")) { /* answers when its input has ended */
        long total = 0;
        while ((length = read(0, buffer, sizeof buffer)) > 0)
            total += length;
        snprintf(buffer, sizeof buffer, "%ld\n", total);
        say(buffer);
    } else if (!strcmp(what, "unread")) { /* ends without a look at its input */
        memset(buffer, 'x', sizeof buffer);
        for (int at = 0; at < 1 << 20; at += (int)length)
            if ((length = write(1, buffer, sizeof buffer)) <= 0)
                return 1;
    } else if (!strcmp(what, "words")) {
        say("out\n");
        if (write(2, "complaint\n", 10) < 0)
            return 1;
    } else if (!strcmp(what, "hold")) { /* says that it is there, until its client goes */
        say("in\n");
        while (read(0, buffer, sizeof buffer) > 0)
            ;
    } else if (!strcmp(what, "leave")) { /* leaves a process with its streams for a while */
        if (fork() == 0) {
            sleep(3);
            return 0;
        }
        say("out\n");
    } else if (!strcmp(what, "line")) {
        if ((length = read(0, buffer, sizeof buffer)) > 0 && write(1, buffer, (size_t)length) < 0)
            return 1;
    } else if (!strcmp(what, "crash")) { /* leaves a byte in a file, by which it is counted */
        int file = open(words[2], O_WRONLY | O_APPEND);
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (file < 0 || write(file, "x", 1) < 0)
            return 1;
        abort();
    } else if (!strcmp(what, "descriptors")) {
        descriptors();
    } else if (!strcmp(what, "state")) {
        state();
    } else if (!strcmp(what, "environment")) {
        for (char **variable = environ; *variable; variable++) {
            say(*variable);
            say("\n");
        }
    } else {
        return 64;
    }
    return 0;
}
