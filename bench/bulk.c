/* Bulk: a program that writes, reads or does both, and the client of each.
 *
 *   bulk source BYTES          writes so many to its output
 *   bulk sink                  reads its input to the end, then says how many
 *   bulk both BYTES            both at once
 *   bulk pages BYTES           writes so many, which costs it nothing
 *   bulk wait                  writes back a byte, then waits for the end
 *   bulk get PORT BYTES        connects and reads so many
 *   bulk put PORT BYTES        connects, writes so many, ends, reads the count
 *   bulk swap PORT BYTES       connects, does both at once
 *
 * Clients print the seconds that it took. All talk to loopback only, and end
 * after a minute whatever happens. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 << 10, ROOM = 256 << 10 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void give(int fd, uint64_t bytes)
{
    static char piece[PIECE];

    memset(piece, 'x', sizeof piece);
    while (bytes > 0) {
        ssize_t n = write(fd, piece, bytes < PIECE ? bytes : PIECE);
        if (n <= 0)
            fail("write");
        bytes -= (uint64_t)n;
    }
}

/* The same pages again and again: nothing is copied into the pipe. */
static void give_pages(int fd, uint64_t bytes)
{
    static char piece[PIECE] __attribute__((aligned(4096)));

    while (bytes > 0) {
        struct iovec part = { piece, bytes < PIECE ? bytes : PIECE };
        ssize_t n = vmsplice(fd, &part, 1, 0);
        if (n <= 0)
            fail("vmsplice");
        bytes -= (uint64_t)n;
    }
}

/* Reads to the end, or so many. */
static uint64_t take(int fd, uint64_t most)
{
    static _Thread_local char room[ROOM];
    uint64_t taken = 0;
    ssize_t n;

    while (taken < most && (n = read(fd, room, ROOM)) > 0)
        taken += (uint64_t)n;
    return taken;
}

struct job {
    int fd;
    uint64_t bytes;
};

static void *give_beside(void *argument)
{
    struct job *job = argument;

    give(job->fd, job->bytes);
    return NULL;
}

static int connected(const char *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    return fd;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void expect(uint64_t taken, uint64_t wanted)
{
    if (taken != wanted) {
        fprintf(stderr, "%llu bytes of %llu\n", (unsigned long long)taken, (unsigned long long)wanted);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    uint64_t bytes = argc > 2 ? strtoull(argv[argc - 1], NULL, 10) : 0;

    signal(SIGPIPE, SIG_DFL);
    alarm(60);
    if (strcmp(mode, "source") == 0) {
        give(1, bytes);
        return 0;
    }
    if (strcmp(mode, "pages") == 0) {
        give_pages(1, bytes);
        return 0;
    }
    if (strcmp(mode, "wait") == 0) {
        char byte;
        alarm(300);
        return read(0, &byte, 1) != 1 || write(1, &byte, 1) != 1 || read(0, &byte, 1) != 0;
    }
    if (strcmp(mode, "sink") == 0) {
        char text[32];
        int length = snprintf(text, sizeof text, "%llu\n", (unsigned long long)take(0, UINT64_MAX));
        return write(1, text, (size_t)length) != length;
    }
    if (strcmp(mode, "both") == 0) {
        struct job job = { 1, bytes };
        pthread_t thread;
        if (pthread_create(&thread, NULL, give_beside, &job) != 0)
            fail("thread");
        expect(take(0, bytes), bytes);
        pthread_join(thread, NULL);
        return 0;
    }
    if (argc != 4)
        return 2;
    double began = now();
    int fd = connected(argv[2]);
    if (strcmp(mode, "get") == 0) {
        expect(take(fd, bytes), bytes);
    } else if (strcmp(mode, "put") == 0) {
        char text[32] = "";
        give(fd, bytes);
        shutdown(fd, SHUT_WR);
        ssize_t n = read(fd, text, sizeof text - 1);
        if (n < 0)
            fail("read");
        if (n == 0) {
            /* No error, so errno has no words for it. */
            fputs("the connection ended early\n", stderr);
            exit(1);
        }
        expect(strtoull(text, NULL, 10), bytes);
    } else if (strcmp(mode, "swap") == 0) {
        struct job job = { fd, bytes };
        pthread_t thread;
        if (pthread_create(&thread, NULL, give_beside, &job) != 0)
            fail("thread");
        expect(take(fd, bytes), bytes);
        pthread_join(thread, NULL);
    } else {
        return 2;
    }
    printf("%.6f\n", now() - began);
    return 0;
}
