/* http_client.c - a socket, a request written whole, an answer read to its end. */
#include "tests/support/http_client.h"
#include "tests/support/check.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000

int http_client_connect(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* All bytes until the end of the stream or a silence. */
static char *read_all(int fd, int timeout_ms, size_t *n)
{
    size_t cap = 65536;
    char *p = malloc(cap);
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    assert_non_null(p);
    *n = 0;
    while (poll(&pfd, 1, timeout_ms) > 0) {
        const ssize_t got = recv(fd, p + *n, cap - *n - 1, 0);
        if (got <= 0) break;
        *n += (size_t)got;
        if (*n + 1 < cap) continue;
        cap *= 2;
        char *more = realloc(p, cap);
        assert_non_null(more);
        p = more;
    }
    p[*n] = '\0';
    return p;
}

static struct http_client_answer take_apart(char *all, size_t n)
{
    struct http_client_answer a = {0};
    char *end = strstr(all, "\r\n\r\n");
    if (end == NULL || strncmp(all, "HTTP/1.1 ", 9) != 0) {
        a.body = all;
        return a;
    }
    a.status = atoi(all + 9);
    (void)snprintf(a.head, sizeof a.head, "%.*s", (int)(end - all), all);
    a.n = n - (size_t)(end + 4 - all);
    memmove(all, end + 4, a.n + 1);
    a.body = all;
    return a;
}

struct http_client_answer http_client_raw(int port, const char *bytes, size_t n, int timeout_ms)
{
    const int fd = http_client_connect(port);
    size_t got;
    for (size_t at = 0; at < n;) {
        const ssize_t sent = send(fd, bytes + at, n - at, MSG_NOSIGNAL);
        if (sent <= 0) break; /* refused before all was sent */
        at += (size_t)sent;
    }
    char *all = read_all(fd, timeout_ms, &got);
    (void)close(fd);
    return take_apart(all, got);
}

struct http_client_answer http_client_ask(int port, const char *method, const char *path, const char *headers,
                                          const char *body, size_t n)
{
    const size_t cap = n + strlen(headers) + 1024;
    char *text = malloc(cap);
    assert_non_null(text);
    int head =
        snprintf(text, cap, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path, headers);
    if (body != NULL) head += snprintf(text + head, cap - (size_t)head, "Content-Length: %zu\r\n", n);
    head += snprintf(text + head, cap - (size_t)head, "\r\n");
    if (body != NULL) memcpy(text + head, body, n);
    const struct http_client_answer a = http_client_raw(port, text, (size_t)head + (body ? n : 0), WAIT_MS);
    free(text);
    return a;
}

static void send_all(int fd, const char *p, size_t n, int flags)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | flags);
        assert_true(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

const char *http_client_kept(int fd, const char *path, const char *body, size_t n, char *answer, size_t cap)
{
    char head[200];
    const int n_head =
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", path, n);
    size_t got = 0, want = SIZE_MAX;
    send_all(fd, head, (size_t)n_head, MSG_MORE);
    send_all(fd, body, n, 0);
    while (got < want) {
        const ssize_t more = recv(fd, answer + got, cap - 1 - got, 0);
        assert_true(more > 0);
        got += (size_t)more;
        answer[got] = '\0';
        const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "\r\nContent-Length:");
        if (want == SIZE_MAX && end != NULL && length != NULL)
            want = (size_t)(end + 4 - answer) + strtoul(length + 17, NULL, 10);
    }
    assert_int_equal(got, want); /* and nothing after it */
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    assert_null(strcasestr(answer, "Connection: close"));
    return strstr(answer, "\r\n\r\n") + 4;
}

void http_client_free(struct http_client_answer *a)
{
    free(a->body);
    a->body = NULL;
}
