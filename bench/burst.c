/* A burst: COUNT connections begun at once, each of which sends a line and must
 * get it back and then the end of the stream.
 *
 *     burst PORT COUNT SECONDS
 *
 * Prints one line of JSON. `retried` counts those whose first SYN had no answer,
 * so that the kernel sent another one a second later, as the kernel itself
 * counts them: a server that is merely slow is no such case. What has not ended
 * after SECONDS is `unfinished`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 10000, EVENTS = 256 };

static const char PING[] = "ping\n";
enum { PING_LENGTH = sizeof PING - 1 };

struct client {
    int fd; /* -1: over */
    bool sent;
    size_t length;
    double began;
};

static struct client clients[MOST];
static double connects[MOST], ends[MOST];
static long connected, good, failed, retried;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void end(struct client *client, const char *fault)
{
    if (fault && failed++ == 0)
        fprintf(stderr, "burst: %s\n", fault);
    if (!fault)
        ends[good++] = now_ms() - client->began;
    close(client->fd);
    client->fd = -1;
}

static void note_connected(struct client *client)
{
    struct tcp_info info;
    socklen_t size = sizeof info;

    connects[connected++] = now_ms() - client->began;
    if (getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_total_retrans > 0)
        retried++;
}

static void advance(struct client *client, unsigned events)
{
    char reply[16];

    if (client->fd < 0)
        return;
    if (!client->sent) {
        int error = 0;
        socklen_t size = sizeof error;
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            end(client, strerror(error));
            return;
        }
        note_connected(client);
        client->sent = true;
        if (send(client->fd, PING, PING_LENGTH, MSG_NOSIGNAL) != PING_LENGTH) {
            end(client, strerror(errno));
            return;
        }
    }
    for (;;) {
        ssize_t count = recv(client->fd, reply, sizeof reply, 0);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0) {
            end(client, strerror(errno));
            return;
        }
        if (count == 0) {
            end(client, client->length == PING_LENGTH ? NULL : "not the right reply");
            return;
        }
        client->length += (size_t)count;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, long count, double share)
{
    if (count == 0)
        return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    long index = (long)(share * (double)count + 0.999999) - 1;
    return values[index < 0 ? 0 : index];
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    static struct epoll_event events[EVENTS];
    long count = argc == 4 ? atol(argv[2]) : 0;
    double limit = argc == 4 ? atof(argv[3]) * 1e3 : 0;
    int port = argc == 4 ? atoi(argv[1]) : 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct rlimit files;

    if (port <= 0 || port > 65535 || count <= 0 || count > MOST || limit <= 0) {
        fprintf(stderr, "usage: burst PORT COUNT SECONDS\n");
        return 64;
    }
    to.sin_port = htons((unsigned short)port);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* All sockets first, so that nothing but connect stands between two of them. */
    for (long i = 0; i < count; i++) {
        clients[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (clients[i].fd < 0) {
            fprintf(stderr, "burst: socket: %s\n", strerror(errno));
            return 71;
        }
    }
    double started = now_ms();
    for (long i = 0; i < count; i++) {
        clients[i].began = now_ms();
        if (connect(clients[i].fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
            end(&clients[i], strerror(errno));
    }
    double begun = now_ms() - started;
    for (long i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &clients[i] };
        if (clients[i].fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) != 0)
            end(&clients[i], strerror(errno));
    }
    while (good + failed < count) {
        double left = started + limit - now_ms();
        if (left <= 0)
            break;
        int ready = epoll_wait(epoll, events, EVENTS, (int)left + 1);
        for (int i = 0; i < ready; i++)
            advance(events[i].data.ptr, events[i].events);
    }
    printf("{\"count\": %ld, \"seconds\": %.6f, \"begun_ms\": %.3f, \"good\": %ld, \"failed\": %ld, "
           "\"unfinished\": %ld, \"retried\": %ld, \"connect_max_ms\": %.3f, \"p50_ms\": %.3f, \"max_ms\": %.3f}\n",
           count, (now_ms() - started) / 1e3, begun, good, failed, count - good - failed, retried,
           quantile(connects, connected, 1.0), quantile(ends, good, 0.5), quantile(ends, good, 1.0));
    return 0;
}
