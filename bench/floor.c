/* The floor: the least that a super-server can do. One thread accepts, starts
 * the program with the connection as its stdin, stdout and stderr, and closes
 * its own copy. It waits for nobody, keeps no record and has no limits, so
 * what it reaches is what the kernel allows on this machine today.
 *
 *     floor PORT PROGRAM [ARGUMENT...]
 *
 * The floor never changes identity. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

static void die(const char *step)
{
    fprintf(stderr, "floor: %s: %s\n", step, strerror(errno));
    exit(1);
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die("SO_REUSEADDR");
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

static void start(char **command, int connection)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);

    for (int stream = 0; stream <= 2 && !error; stream++)
        error = posix_spawn_file_actions_adddup2(&actions, connection, stream);
    if (!error)
        error = posix_spawn(NULL, command[0], &actions, NULL, command, environ);
    if (error) {
        errno = error;
        die("posix_spawn"); /* a floor that failed now and then would be no measure */
    }
    posix_spawn_file_actions_destroy(&actions);
}

int main(int argc, char **argv)
{
    int port = argc >= 3 ? atoi(argv[1]) : 0;
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: floor PORT PROGRAM [ARGUMENT...]\n");
        return 64;
    }

    /* Ended programs vanish by themselves, there is nothing to wait for. */
    struct sigaction ignore = {.sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT};
    if (sigaction(SIGCHLD, &ignore, NULL) < 0)
        die("sigaction");

    int listener = listen_on(port);
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            die("accept4");
        }
        start(argv + 2, connection);
        close(connection);
    }
}
