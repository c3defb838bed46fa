/* Closed-loop load on one thread: CLIENTS connections are in flight at any
 * time until CONNECTIONS are done. Each one connects, sends "ping\n", and must
 * get exactly that back and then the end of the stream.
 *
 *     load PORT CLIENTS CONNECTIONS [SECONDS]
 *
 * After so many seconds none is begun, so that a slow server ends as well;
 * those that wait then have ten more.
 *
 * Prints one line of JSON. A latency counts from before connect to the end of
 * the stream, of good connections only. `errors` counts all others: refused,
 * reset, wrong reply, unfinished. The first error is explained on stderr.
 * Exit 0 when all connections were tried, 1 when the time ran out. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_MS = 60 * 1000,
    LAST_MS = 10 * 1000, /* for what was begun when the seconds are over */
    SOURCES = 8, /* 127.0.0.1 to 127.0.0.8 */
    MAX_CLIENTS = 1024,
    MAX_CONNECTIONS = 1000 * 1000,
};

static const char PING[] = "ping\n";
enum { PING_LENGTH = sizeof PING - 1 };

struct client {
    int fd; /* -1: nothing left to do */
    bool sent;
    char reply[16];
    size_t length;
    double began;
};

static int port, epoll;
static long wanted, begun, good, errors;
static double *latencies; /* ms */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void count_error(const char *what, const char *why)
{
    if (errors++ == 0)
        fprintf(stderr, "load: %s: %s\n", what, why);
}

/* A connection in progress, or -1 with errno. The source address goes round:
 * connections that end on this side first, or a short range of ephemeral ports,
 * would otherwise use up the ports of one address (they stay in TIME_WAIT). */
static int open_connection(void)
{
    static unsigned source;
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    for (int tries = 0; tries < SOURCES; tries++) {
        struct sockaddr_in from = {
            .sin_family = AF_INET,
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source++ % SOURCES),
        };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        /* The port is chosen at connect, where it only has to be unique for
         * this destination. */
        int on = 1;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0 &&
            (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS))
            return fd;
        int error = errno;
        close(fd);
        errno = error;
        if (error != EADDRNOTAVAIL && error != EADDRINUSE)
            return -1;
    }
    return -1;
}

/* Gives the client its next connection, if any is left to do. */
static void begin(struct client *client)
{
    client->fd = -1;
    while (begun < wanted) {
        begun++;
        client->began = now_ms();
        client->sent = false;
        client->length = 0;
        client->fd = open_connection();
        if (client->fd >= 0) {
            /* Edge-triggered for both directions: one registration for each
             * connection, so that the client costs little beside the server. */
            struct epoll_event event = {
                .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                .data.ptr = client,
            };
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) == 0)
                return;
            close(client->fd);
            client->fd = -1;
        }
        count_error("connect", strerror(errno));
    }
}

static void end_well(struct client *client)
{
    if (client->length == PING_LENGTH && memcmp(client->reply, PING, PING_LENGTH) == 0)
        latencies[good++] = now_ms() - client->began;
    else
        count_error("reply", client->length ? "not what was sent" : "empty");
}

/* Goes on as far as possible. False: the connection is over and counted. */
static bool advance(struct client *client, unsigned events)
{
    if (!client->sent) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return true;
        /* A failed connect shows its error here. */
        if (send(client->fd, PING, PING_LENGTH, MSG_NOSIGNAL) != PING_LENGTH) {
            count_error("send", strerror(errno));
            return false;
        }
        client->sent = true;
    }
    for (;;) {
        /* The buffer is larger than a right reply: one byte too much is seen. */
        size_t room = sizeof client->reply - client->length;
        ssize_t count = recv(client->fd, client->reply + client->length, room, 0);
        if (count < 0 && errno == EAGAIN)
            return true;
        if (count < 0) {
            count_error("receive", strerror(errno));
            return false;
        }
        if (count == 0) {
            end_well(client);
            return false;
        }
        client->length += (size_t)count;
        if (client->length > PING_LENGTH) {
            count_error("reply", "longer than what was sent");
            return false;
        }
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest latency that `share` of all are not above. */
static double quantile(double share)
{
    if (good == 0)
        return 0;
    long index = (long)(share * (double)good + 0.999999) - 1;
    return latencies[index < 0 ? 0 : index];
}

int main(int argc, char **argv)
{
    static struct client clients[MAX_CLIENTS];
    static struct epoll_event events[MAX_CLIENTS];
    bool is_called_right = argc == 4 || argc == 5;
    long count = is_called_right ? atol(argv[2]) : 0;
    double limit = LIMIT_MS, enough = argc == 5 ? atof(argv[4]) * 1e3 : LIMIT_MS;

    if (limit > enough + LAST_MS)
        limit = enough + LAST_MS;
    port = is_called_right ? atoi(argv[1]) : 0;
    wanted = is_called_right ? atol(argv[3]) : 0;
    if (port <= 0 || port > 65535 || count <= 0 || count > MAX_CLIENTS || wanted <= 0 ||
        wanted > MAX_CONNECTIONS) {
        fprintf(stderr, "usage: load PORT CLIENTS CONNECTIONS [SECONDS]\n");
        return 64;
    }
    latencies = calloc((size_t)wanted, sizeof *latencies);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!latencies || epoll < 0) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        return 71;
    }

    double started = now_ms();
    for (long i = 0; i < count; i++)
        begin(&clients[i]);

    /* Every connection that was begun ends in `good` or in `errors`. */
    bool in_time = true;
    while (good + errors < wanted) {
        double left = started + limit - now_ms();
        if (now_ms() - started > enough)
            wanted = begun;
        if (left <= 0) {
            in_time = false;
            break;
        }
        int ready = epoll_wait(epoll, events, MAX_CLIENTS, (int)left + 1);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!advance(client, events[i].events)) {
                close(client->fd);
                begin(client);
            }
        }
    }
    double seconds = (now_ms() - started) / 1e3;
    if (!in_time) {
        count_error("time", "limit reached, the rest is counted as errors");
        errors = wanted - good;
    }

    qsort(latencies, (size_t)good, sizeof *latencies, by_value);
    printf("{\"connections\": %ld, \"seconds\": %.6f, \"conn_per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f, \"errors\": %ld}\n",
           wanted, seconds, (double)good / seconds, quantile(0.50), quantile(0.99), quantile(1.0), errors);
    return in_time ? 0 : 1;
}
