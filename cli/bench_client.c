/* bench_client.c - see process.h: one connection to a scorer, one request at a time. */
#include "cli/process.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)64 << 20)
#define PIECE ((size_t)64 << 10)
#define TIMEOUT_S 30

enum status cmd_bench_connect(int *fd, int port, struct err *e)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = TIMEOUT_S};
    const int on = 1;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&to, sizeof to) == 0) {
        (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        return STATUS_OK;
    }
    const int why = errno;
    if (*fd >= 0) (void)close(*fd);
    *fd = -1;
    return ERR_SET(e, STATUS_IO, "port %d: %s", port, strerror(why));
}

void cmd_bench_put_request(struct buf *b, const char *path, const struct buf *body)
{
    if (body == NULL) {
        buf_printf(b, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
        return;
    }
    buf_printf(b,
               "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               path, body->n);
    buf_put(b, body->p, body->n);
}

static enum status send_all(int fd, const struct buf *b, struct err *e)
{
    for (size_t at = 0; at < b->n;) {
        const ssize_t n = send(fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ERR_SET(e, STATUS_IO, "a request can't be sent: %s", strerror(errno));
        at += (size_t)n;
    }
    return STATUS_OK;
}

/* Bytes of the whole answer once its head is there; 0: not yet. */
static size_t whole_answer(const struct buf *reply, size_t *body)
{
    const char *head = (const char *)reply->p, *end = memmem(head, reply->n, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    *body = (size_t)(end + 4 - head);
    for (const char *line = head; line < end; line = (const char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1)
        if (strncasecmp(line, "content-length:", 15) == 0) return *body + strtoul(line + 15, NULL, 10);
    return *body;
}

static enum status check_answer(const struct buf *reply, size_t body, struct err *e)
{
    if (memcmp(reply->p, "HTTP/1.1 200 ", 13) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "the scorer answered %.*s", (int)(reply->n - body < 300 ? reply->n - body : 300),
                   (const char *)reply->p + body);
}

enum status cmd_bench_ask(int fd, const struct buf *request, struct buf *reply, size_t *body, struct err *e)
{
    size_t want = 0;
    TRY(buf_status(request, e));
    TRY(send_all(fd, request, e));
    buf_clear(reply);
    while (want == 0 || reply->n < want) {
        unsigned char *room = buf_room(reply, PIECE);
        if (room == NULL) return ERR_SET(e, STATUS_OOM, "no memory for an answer");
        const ssize_t n = recv(fd, room, PIECE, 0);
        reply->n -= PIECE - (size_t)(n > 0 ? n : 0);
        if (n < 0 && errno == EINTR) continue; /* told to stop: once this answer is there */
        if (n <= 0) return ERR_SET(e, STATUS_IO, "the scorer hung up: %s", n == 0 ? "end" : strerror(errno));
        if (want == 0) want = whole_answer(reply, body);
        if (want > ANSWER_MAX) return ERR_SET(e, STATUS_IO, "an answer of %zu bytes", want);
    }
    return check_answer(reply, *body, e);
}
