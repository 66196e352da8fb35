/* proxy.c - a bad network between two programs: forwards TCP or Unix connections and does to them what it is told.
 *
 *   proxy LISTEN TARGET        each unix:/path or PORT (on 127.0.0.1; LISTEN 0: a free one); prints the port or path
 *
 * Commands on stdin, one a line, each answered with "ok" or "error …"; DIR is up (to the target), down or both:
 *   latency DIR MS JITTER_MS   each read of bytes waits MS plus 0..JITTER_MS (seeded: the same at each run)
 *   bandwidth DIR BYTES        bytes a second; 0 unlimited
 *   slice DIR BYTES            writes of 1..BYTES bytes; 0 whole
 *   limit DIR BYTES            a connection is closed after so many more bytes; 0 none
 *   swallow DIR 0|1            bytes go nowhere: who waits for an answer times out
 *   slow_close DIR MS          an end is passed on so much later
 *   reset                      all connections now, with RST
 *   down | up                  all connections are closed and new ones refused | taken again
 *   clear                      none of the above
 *   counters                   accepted, open, bytes up and down, resets, limits
 * One thread, one poll loop; at most BYTES_HELD of a direction are held, then its sender is not read.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 256
#define CHUNKS 64
#define CHUNK_BYTES 16384
#define BYTES_HELD (CHUNKS * CHUNK_BYTES)

enum { UP, DOWN, DIRS };
struct toxic {
    int64_t latency_us, jitter_us, bandwidth, slice, limit, slow_close_us;
    bool swallow;
};
struct chunk {
    int64_t due_us;
    size_t n, done;
    unsigned char bytes[CHUNK_BYTES];
};
struct lane { /* one direction of a connection: a ring of chunks */
    struct chunk *chunks;
    unsigned first, n;
    bool ended, closed;                /* the sender's end came; it was passed on */
    int64_t ended_us, passed, room_us; /* bytes passed on; when bandwidth allows the next */
};
struct connection {
    int fd[DIRS]; /* fd[UP]: the client's, read for UP; fd[DOWN]: the target's */
    struct lane lane[DIRS];
};
static struct connection connections[CONNECTIONS];
static struct toxic toxics[DIRS];
static struct { /* a place to listen on or to connect to */
    struct sockaddr_storage at;
    socklen_t n;
} target;
static int listener = -1;
static bool is_down;
static uint64_t accepted, resets, limits, bytes[DIRS], seed = 1;

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t draw(uint64_t below) /* xorshift64 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return below > 0 ? seed % below : 0;
}

static int place(const char *text, struct sockaddr_storage *at, socklen_t *n)
{
    memset(at, 0, sizeof *at);
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *u = (struct sockaddr_un *)at;
        u->sun_family = AF_UNIX;
        (void)snprintf(u->sun_path, sizeof u->sun_path, "%s", text + 5);
        *n = sizeof *u;
        return AF_UNIX;
    }
    struct sockaddr_in *i = (struct sockaddr_in *)at;
    i->sin_family = AF_INET;
    i->sin_port = htons((uint16_t)atoi(text));
    i->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *n = sizeof *i;
    return AF_INET;
}

static struct sockaddr_storage here;
static socklen_t n_here;

static bool listen_here(void)
{
    const int on = 1;
    const struct sockaddr_un *u = (const struct sockaddr_un *)&here;
    if (here.ss_family == AF_UNIX) (void)unlink(u->sun_path);
    listener = socket(here.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) return false;
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, n_here) != 0 || listen(listener, 128) != 0) return false;
    return here.ss_family == AF_UNIX || getsockname(listener, (struct sockaddr *)&here, &n_here) == 0;
}

static void drop(struct connection *c, bool reset)
{
    const struct linger hard = {1, 0};
    for (int d = 0; d < DIRS; d++) {
        if (c->fd[d] < 0) continue;
        if (reset) (void)setsockopt(c->fd[d], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        (void)close(c->fd[d]);
        c->fd[d] = -1;
        free(c->lane[d].chunks);
        c->lane[d] = (struct lane){0};
    }
}

static void drop_all(bool reset)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        if (connections[i].fd[UP] < 0) continue;
        if (reset) resets++;
        drop(&connections[i], reset);
    }
}

static void no_delay(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* of a Unix socket: refused, and not needed */
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void take_connection(void)
{
    const int client = accept(listener, NULL, NULL);
    if (client < 0) return;
    int i = 0;
    while (i < CONNECTIONS && connections[i].fd[UP] >= 0) i++;
    const int far = i < CONNECTIONS ? socket(target.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (far < 0 || connect(far, (struct sockaddr *)&target.at, target.n) != 0) { /* loopback: at once, or refused */
        if (far >= 0) (void)close(far);
        (void)close(client);
        return;
    }
    accepted++;
    no_delay(client);
    no_delay(far);
    connections[i].fd[UP] = client;
    connections[i].fd[DOWN] = far;
    for (int d = 0; d < DIRS; d++)
        connections[i].lane[d] = (struct lane){.chunks = malloc(sizeof(struct chunk) * CHUNKS)};
}

/* false: the connection is gone. */
static bool read_lane(struct connection *c, int d, int64_t now)
{
    struct lane *l = &c->lane[d];
    const struct toxic *t = &toxics[d];
    struct chunk *k = &l->chunks[(l->first + l->n) % CHUNKS];
    const ssize_t n = read(c->fd[d], k->bytes, sizeof k->bytes);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
        l->ended = true;
        l->ended_us = now + t->slow_close_us;
        return true;
    }
    if (t->swallow) return true;
    const struct chunk *before = l->n > 0 ? &l->chunks[(l->first + l->n - 1) % CHUNKS] : NULL;
    k->n = (size_t)n;
    k->done = 0;
    k->due_us = now + t->latency_us + (int64_t)draw((uint64_t)t->jitter_us + 1);
    if (before != NULL && before->due_us > k->due_us) k->due_us = before->due_us; /* a stream keeps its order */
    l->n++;
    return true;
}

static size_t may_write(struct lane *l, const struct toxic *t, const struct chunk *k, int64_t now)
{
    size_t n = k->n - k->done;
    if (k->due_us > now || l->room_us > now) return 0;
    if (t->slice > 0) {
        const size_t part = 1 + (size_t)draw((uint64_t)t->slice);
        if (n > part) n = part;
    }
    if (t->bandwidth > 0 && n > (size_t)(t->bandwidth / 50 + 1)) n = (size_t)(t->bandwidth / 50 + 1); /* 20 ms worth */
    if (t->limit > 0 && l->passed + (int64_t)n > t->limit)
        n = (size_t)(t->limit > l->passed ? t->limit - l->passed : 0);
    return n;
}

/* Writes what is due; false: the connection is to be dropped. */
static bool write_lane(struct connection *c, int d, int64_t now)
{
    struct lane *l = &c->lane[d];
    const struct toxic *t = &toxics[d];
    while (l->n > 0) {
        struct chunk *k = &l->chunks[l->first];
        if (t->limit > 0 && l->passed >= t->limit) {
            limits++;
            return false;
        }
        const size_t want = may_write(l, t, k, now);
        if (want == 0) break;
        const ssize_t n = send(c->fd[1 - d], k->bytes + k->done, want, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        k->done += (size_t)n;
        l->passed += n;
        bytes[d] += (uint64_t)n;
        if (t->bandwidth > 0) l->room_us = (l->room_us > now ? l->room_us : now) + (int64_t)n * 1000000 / t->bandwidth;
        if (k->done < k->n) {
            if (t->slice > 0 && t->bandwidth == 0) continue;
            break;
        }
        l->first = (l->first + 1) % CHUNKS;
        l->n--;
    }
    if (l->ended && l->n == 0 && !l->closed && now >= l->ended_us) {
        (void)shutdown(c->fd[1 - d], SHUT_WR);
        l->closed = true;
    }
    return true;
}

/* When something falls due: milliseconds for poll. */
static int until(const struct connection *c, int64_t now, int wait)
{
    for (int d = 0; d < DIRS; d++) {
        const struct lane *l = &c->lane[d];
        int64_t due = -1;
        if (l->n > 0) due = l->chunks[l->first].due_us > l->room_us ? l->chunks[l->first].due_us : l->room_us;
        if (l->n == 0 && l->ended && !l->closed) due = l->ended_us;
        if (due < 0) continue;
        const int64_t ms = due > now ? (due - now + 999) / 1000 : 1; /* due, but its receiver does not take it */
        if (ms < wait) wait = (int)ms;
    }
    return wait;
}

static bool number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = text != NULL ? strtoll(text, &end, 10) : -1;
    return text != NULL && errno == 0 && end != text && *end == 0 && *out >= 0;
}

static bool set_toxic(struct toxic *t, const char *what, int64_t a, int64_t b)
{
    if (strcmp(what, "latency") == 0) {
        t->latency_us = a * 1000;
        t->jitter_us = b * 1000;
    } else if (strcmp(what, "bandwidth") == 0) {
        t->bandwidth = a;
    } else if (strcmp(what, "slice") == 0) {
        t->slice = a;
    } else if (strcmp(what, "limit") == 0) {
        t->limit = a;
    } else if (strcmp(what, "swallow") == 0) {
        t->swallow = a != 0;
    } else if (strcmp(what, "slow_close") == 0) {
        t->slow_close_us = a * 1000;
    } else {
        return false;
    }
    return true;
}

/* A limit counts from the command on. */
static void count_anew(void)
{
    for (int i = 0; i < CONNECTIONS; i++)
        for (int d = 0; d < DIRS; d++) connections[i].lane[d].passed = 0;
}

static bool command_toxic(const char *what, char **rest)
{
    const char *dir = strtok_r(NULL, " ", rest);
    int64_t a, b = 0;
    if (dir == NULL || !number(strtok_r(NULL, " ", rest), &a)) return false;
    if (strcmp(what, "latency") == 0 && !number(strtok_r(NULL, " ", rest), &b)) return false;
    const bool up = strcmp(dir, "down") != 0, down = strcmp(dir, "up") != 0;
    if (up && down && strcmp(dir, "both") != 0) return false;
    count_anew();
    return (!up || set_toxic(&toxics[UP], what, a, b)) && (!down || set_toxic(&toxics[DOWN], what, a, b));
}

static bool command(char *line)
{
    char *rest;
    const char *what = strtok_r(line, " ", &rest);
    if (what == NULL) return false;
    if (strcmp(what, "reset") == 0) {
        drop_all(true);
    } else if (strcmp(what, "down") == 0) {
        drop_all(false);
        if (listener >= 0) (void)close(listener);
        listener = -1;
        is_down = true;
    } else if (strcmp(what, "up") == 0) {
        is_down = false;
        return listener >= 0 || listen_here();
    } else if (strcmp(what, "clear") == 0) {
        memset(toxics, 0, sizeof toxics);
    } else if (strcmp(what, "counters") == 0) {
        int open = 0;
        for (int i = 0; i < CONNECTIONS; i++) open += connections[i].fd[UP] >= 0;
        (void)printf("accepted=%llu open=%d bytes_up=%llu bytes_down=%llu resets=%llu limits=%llu ",
                     (unsigned long long)accepted, open, (unsigned long long)bytes[UP], (unsigned long long)bytes[DOWN],
                     (unsigned long long)resets, (unsigned long long)limits);
    } else {
        return command_toxic(what, &rest);
    }
    return true;
}

/* false: stdin ended. */
static bool read_commands(void)
{
    static char held[4096];
    static size_t n;
    const ssize_t got = read(STDIN_FILENO, held + n, sizeof held - 1 - n);
    if (got <= 0) return got < 0 && errno == EINTR;
    n += (size_t)got;
    held[n] = 0;
    for (char *end; (end = strchr(held, '\n')) != NULL;) {
        char line[256];
        *end = 0;
        (void)snprintf(line, sizeof line, "%.255s", held);
        (void)printf("%s\n", command(line) ? "ok" : "error: not a command of proxy.c");
        (void)fflush(stdout);
        n -= (size_t)(end + 1 - held);
        memmove(held, end + 1, n + 1);
    }
    return n < sizeof held - 1;
}

/* What this connection waits for; what it could do was done before. */
static void watch(const struct connection *c, struct pollfd *p)
{
    for (int d = 0; d < DIRS; d++) {
        const struct lane *mine = &c->lane[d], *other = &c->lane[1 - d];
        p[d] = (struct pollfd){.fd = c->fd[d]};
        if (c->fd[d] < 0) continue;
        if (mine->n < CHUNKS && !mine->ended) p[d].events |= POLLIN;
        if (p[d].events == 0 && other->n == 0) p[d].fd = -1; /* nothing is wanted of it: its hang-up must not spin */
    }
}

static void serve(struct connection *c, const struct pollfd *p, int64_t now)
{
    if (c->fd[UP] < 0) return;
    bool alive = true;
    for (int d = 0; d < DIRS && alive; d++) {
        const bool readable = (p[d].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (p[d].events & POLLIN) != 0;
        if (readable) alive = read_lane(c, d, now);
    }
    for (int d = 0; d < DIRS && alive; d++) alive = write_lane(c, d, now);
    if (!alive || (c->lane[UP].closed && c->lane[DOWN].closed)) drop(c, !alive);
}

static void loop(void)
{
    static struct pollfd p[2 + DIRS * CONNECTIONS];
    for (;;) {
        int wait = 1000;
        const int64_t before = now_us();
        p[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        p[1] = (struct pollfd){.fd = is_down ? -1 : listener, .events = POLLIN};
        for (int i = 0; i < CONNECTIONS; i++) {
            watch(&connections[i], &p[2 + DIRS * i]);
            if (connections[i].fd[UP] >= 0) wait = until(&connections[i], before, wait);
        }
        if (poll(p, sizeof p / sizeof *p, wait) < 0 && errno != EINTR) return;
        const int64_t now = now_us();
        for (int i = 0; i < CONNECTIONS; i++) serve(&connections[i], &p[2 + DIRS * i], now);
        if ((p[1].revents & POLLIN) != 0) take_connection();
        if (p[0].revents != 0 && !read_commands()) return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: proxy LISTEN TARGET, each unix:/path or a port of 127.0.0.1\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < CONNECTIONS; i++) connections[i].fd[UP] = connections[i].fd[DOWN] = -1;
    (void)place(argv[1], &here, &n_here);
    (void)place(argv[2], &target.at, &target.n);
    if (!listen_here()) {
        (void)fprintf(stderr, "proxy: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    if (here.ss_family == AF_UNIX)
        (void)printf("%s\n", argv[1] + 5);
    else
        (void)printf("%d\n", ntohs(((struct sockaddr_in *)&here)->sin_port));
    (void)fflush(stdout);
    loop();
    drop_all(false);
    if (here.ss_family == AF_UNIX) (void)unlink(argv[1] + 5);
    return 0;
}
