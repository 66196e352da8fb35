/* ranks_link.c - see ranks_link.h. */
#include "trainer/ranks_link.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { NAP_MS = 20, WAITING = 64, BUFFER = 1 << 20 };

struct place {
    struct sockaddr_storage at;
    socklen_t n;
};

static int64_t now_us(void)
{
    struct clock *c = clock_system();
    return c->mono_us(c);
}

/* The path of a Unix socket; NULL: it is host and port. */
static const char *path_of(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) return address + 5;
    return address[0] == '/' ? address : NULL;
}

static enum status unix_place(struct place *p, const char *path, struct err *e)
{
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    if (path[0] == 0 || strlen(path) >= sizeof u.sun_path)
        return ERR_SET(e, STATUS_INVALID, "train.ranks_address: the path '%s' has %zu bytes, a socket's has 1 to %zu",
                       path, strlen(path), sizeof u.sun_path - 1);
    memcpy(u.sun_path, path, strlen(path));
    memcpy(&p->at, &u, sizeof u);
    p->n = sizeof u;
    return STATUS_OK;
}

static enum status find_place(struct place *p, const char *address, struct err *e)
{
    char host[300];
    const char *path = path_of(address), *colon = strrchr(address, ':');
    struct addrinfo *found = NULL, want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    memset(p, 0, sizeof *p);
    if (path != NULL) return unix_place(p, path, e);
    if (colon == NULL || colon == address || colon[1] == 0 || (size_t)(colon - address) >= sizeof host)
        return ERR_SET(e, STATUS_INVALID, "train.ranks_address: '%s' is neither host:port nor the path of a socket",
                       address);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    const int code = getaddrinfo(host, colon + 1, &want, &found);
    if (code != 0 || found == NULL)
        return ERR_SET(e, STATUS_INVALID, "train.ranks_address: '%s': %s", address, gai_strerror(code));
    memcpy(&p->at, found->ai_addr, found->ai_addrlen);
    p->n = found->ai_addrlen;
    freeaddrinfo(found);
    return STATUS_OK;
}

static int new_socket(int family)
{
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, room = BUFFER;
    if (fd < 0) return fd;
    if (family != AF_UNIX) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (family == AF_UNIX) { /* TCP sizes its own */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    return fd;
}

void ranks_hang_up(int *fd)
{
    if (*fd >= 0) {
        (void)shutdown(*fd, SHUT_RDWR);
        (void)close(*fd);
    }
    *fd = -1;
}

void ranks_cut(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
}

/* --- meeting ------------------------------------------------------------------------------------------------------- */

/* A socket file that is left of a process that is gone; connecting to a plain file is refused, too. */
static void remove_left_over(const struct place *p, const char *path)
{
    struct stat s;
    if (lstat(path, &s) != 0 || !S_ISSOCK(s.st_mode)) return;
    int fd = new_socket(AF_UNIX);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&p->at, p->n) != 0 && errno == ECONNREFUSED) (void)unlink(path);
    ranks_hang_up(&fd);
}

enum status ranks_listen(int *fd, const char *address, struct err *e)
{
    struct place p;
    const int on = 1;
    const char *path = path_of(address);
    *fd = -1;
    TRY(find_place(&p, address, e));
    if (path != NULL) remove_left_over(&p, path);
    *fd = new_socket(p.at.ss_family);
    if (path == NULL && *fd >= 0) (void)setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (*fd >= 0 && bind(*fd, (const struct sockaddr *)&p.at, p.n) == 0 && listen(*fd, WAITING) == 0) return STATUS_OK;
    const int number = errno;
    ranks_hang_up(fd);
    if (number == EADDRINUSE)
        return ERR_SET(
            e, STATUS_CONFLICT,
            "rank 0 cannot listen on %s: another process does, or a file is there; give this training its own "
            "train.ranks_address",
            address);
    return ERR_SET(e, STATUS_IO, "rank 0 cannot listen on %s: %s", address, strerror(number));
}

void ranks_unlisten(int fd, const char *address)
{
    const char *path = path_of(address);
    if (fd < 0) return;
    (void)close(fd);
    if (path != NULL) (void)unlink(path);
}

static enum status wait_ready(int fd, short events, short *seen, int64_t timeout_ms, struct err *e)
{
    struct pollfd p = {.fd = fd, .events = events};
    const int64_t until_us = now_us() + timeout_ms * 1000;
    for (;;) {
        const int64_t left_ms = (until_us - now_us()) / 1000;
        const int n = poll(&p, 1, left_ms > 0 ? (left_ms < 60000 ? (int)left_ms : 60000) : 0);
        *seen = p.revents;
        if (n > 0) return STATUS_OK;
        if (n < 0 && errno != EINTR) return ERR_SET(e, STATUS_IO, "%s", strerror(errno));
        if (now_us() >= until_us) return ERR_SET(e, STATUS_AGAIN, "nothing moved for %lld ms", (long long)timeout_ms);
    }
}

static enum status connect_once(int *fd, const struct place *p, int64_t until_us, struct err *e)
{
    short seen;
    int number = 0;
    socklen_t n = sizeof number;
    *fd = new_socket(p->at.ss_family);
    if (*fd < 0) return ERR_SET(e, STATUS_IO, "%s", strerror(errno));
    if (connect(*fd, (const struct sockaddr *)&p->at, p->n) == 0) return STATUS_OK;
    if (errno != EINPROGRESS) return ERR_SET(e, STATUS_AGAIN, "%s", strerror(errno));
    TRY(wait_ready(*fd, POLLOUT, &seen, (until_us - now_us()) / 1000, e));
    if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &number, &n) != 0) number = errno;
    return number == 0 ? STATUS_OK : ERR_SET(e, STATUS_AGAIN, "%s", strerror(number));
}

enum status ranks_connect(int *fd, const char *address, int64_t until_us, struct err *e)
{
    struct place p;
    *fd = -1;
    TRY(find_place(&p, address, e));
    for (;;) {
        const enum status st = connect_once(fd, &p, until_us, e);
        if (st == STATUS_OK) return STATUS_OK;
        ranks_hang_up(fd);
        if (st != STATUS_AGAIN || now_us() >= until_us) return st;
        (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
    }
}

enum status ranks_accept(int *fd, int listener, int64_t until_us, struct err *e)
{
    const int on = 1;
    short seen;
    *fd = -1;
    for (;;) {
        const int64_t left_ms = (until_us - now_us()) / 1000;
        TRY(wait_ready(listener, POLLIN, &seen, left_ms > 0 ? left_ms : 0, e));
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (*fd >= 0) break;
        if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED)
            return ERR_SET(e, STATUS_IO, "accept: %s", strerror(errno));
    }
    (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on a path, where there is none */
    return STATUS_OK;
}

/* A socket that is closed with bytes unread takes what it sent last with it (RFC 1122, 4.2.2.13). */
void ranks_say_goodbye(int fd, int64_t timeout_ms)
{
    char rest[4096];
    const int64_t until_us = now_us() + timeout_ms * 1000;
    (void)shutdown(fd, SHUT_WR);
    while (now_us() < until_us) {
        size_t moved;
        short seen;
        if (wait_ready(fd, POLLIN, &seen, (until_us - now_us()) / 1000, NULL) != STATUS_OK) break;
        if (ranks_receive_some(fd, rest, sizeof rest, &moved, NULL) != STATUS_OK) break;
    }
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

enum status ranks_wait(int fd, bool write, bool *readable, bool *writable, int64_t timeout_ms, struct err *e)
{
    short seen = 0;
    TRY(wait_ready(fd, (short)(POLLIN | (write ? POLLOUT : 0)), &seen, timeout_ms, e));
    *readable = (seen & (POLLIN | POLLHUP | POLLERR)) != 0; /* the end is read, too */
    *writable = (seen & POLLOUT) != 0;
    return STATUS_OK;
}

static enum status moved_none(struct err *e)
{
    if (errno == EAGAIN || errno == EINTR) return STATUS_OK;
    if (errno == EPIPE || errno == ECONNRESET) return ERR_SET(e, STATUS_END, "the connection was closed");
    return ERR_SET(e, STATUS_IO, "%s", strerror(errno));
}

enum status ranks_send_some(int fd, const void *p, size_t n, size_t *moved, struct err *e)
{
    const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
    *moved = k > 0 ? (size_t)k : 0;
    return k >= 0 ? STATUS_OK : moved_none(e);
}

enum status ranks_receive_some(int fd, void *p, size_t n, size_t *moved, struct err *e)
{
    const ssize_t k = recv(fd, p, n, 0);
    *moved = k > 0 ? (size_t)k : 0;
    if (k == 0 && n > 0) return ERR_SET(e, STATUS_END, "the connection was closed");
    return k >= 0 ? STATUS_OK : moved_none(e);
}

enum status ranks_send(int fd, const void *p, size_t n, int64_t timeout_ms, struct err *e)
{
    short seen;
    for (size_t at = 0, k; at < n; at += k) {
        TRY(ranks_send_some(fd, (const char *)p + at, n - at, &k, e));
        if (k == 0) TRY(wait_ready(fd, POLLOUT, &seen, timeout_ms, e));
    }
    return STATUS_OK;
}

enum status ranks_receive(int fd, void *p, size_t n, int64_t timeout_ms, struct err *e)
{
    short seen;
    for (size_t at = 0, k; at < n; at += k) {
        TRY(ranks_receive_some(fd, (char *)p + at, n - at, &k, e));
        if (k == 0) TRY(wait_ready(fd, POLLIN, &seen, timeout_ms, e));
    }
    return STATUS_OK;
}
