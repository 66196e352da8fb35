/* rerank_load.c - asks a scorer for rankings over keep-alive connections and says how long the answers took.
 *
 *   rerank_load PORT ITEMS USERS CANDIDATES IN_FLIGHT SECONDS [fresh]
 *
 * ITEMS and USERS: files with one id a line.  Each request names a user and CANDIDATES items, drawn at random; one client
 * a connection, each asks again when it has its answer.  Checked first: status 200, every item once, ranks 1 … n, scores
 * in order (within those that all parts saw, and within the rest; FRESHET_JOINT_TOP, default 200).  `fresh`: the scorer
 * was just started, so the catalogue is walked once, in random order, each item once; those requests are timed as `cold`
 * and each is checked.  Prints one JSON line; exit 1 when an answer was wrong.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 64, CHECKS = 5, TIMEOUT_S = 30, ID_MAX = 300, HEAD_MAX = 200 };

struct list {
    char **at;
    size_t n;
};
struct times {
    double *ms;
    size_t n, cap;
};
struct client {
    pthread_t thread;
    int fd;
    uint64_t random;
    uint32_t *order; /* the catalogue's indices, shuffled as far as needed */
    char *out, *in;  /* a request with its head; an answer, NUL after it */
    size_t in_cap;
    struct times times;
    size_t failed;
};

static struct list items, users;
static size_t candidates, joint_top = 200;
static int port;
static double end_ms;

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void *room(void *p, size_t bytes)
{
    void *more = realloc(p, bytes);
    if (more == NULL) abort();
    return more;
}

static struct list read_list(const char *path)
{
    struct list l = {0};
    size_t cap = 0, n_line = 0;
    char *line = NULL;
    FILE *f = fopen(path, "r");
    for (ssize_t n; f != NULL && (n = getline(&line, &n_line, f)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        if (n >= ID_MAX || strpbrk(line, "\"\\") != NULL) continue;
        if (l.n == cap) l.at = room(l.at, (cap = cap ? 2 * cap : 1024) * sizeof *l.at);
        l.at[l.n] = strdup(line);
        if (l.at[l.n++] == NULL) abort();
    }
    free(line);
    if (f != NULL) (void)fclose(f);
    if (l.n > 0) return l;
    (void)fprintf(stderr, "rerank_load: %s has no ids\n", path);
    exit(2);
}

/* xorshift64* (Vigna 2016) */
static size_t below(struct client *c, size_t n)
{
    c->random ^= c->random >> 12;
    c->random ^= c->random << 25;
    c->random ^= c->random >> 27;
    return (size_t)((c->random * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* order[at …] becomes n items drawn from those not before `at`. */
static void draw(struct client *c, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        const size_t k = i + below(c, items.n - i);
        const uint32_t swap = c->order[i];
        c->order[i] = c->order[k];
        c->order[k] = swap;
    }
}

static void add_time(struct times *t, double ms)
{
    if (t->n == t->cap) t->ms = room(t->ms, (t->cap = t->cap ? 2 * t->cap : 4096) * sizeof *t->ms);
    t->ms[t->n++] = ms;
}

/* --- HTTP --------------------------------------------------------------------------------------------------------- */

static bool dial(struct client *c)
{
    const struct timeval t = {TIMEOUT_S, 0};
    const int one = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0;
}

/* The request for order[at …at+n), head and body in one piece; returns its start. */
static const char *write_request(struct client *c, size_t at, size_t n, size_t *bytes)
{
    char *body = c->out + HEAD_MAX, *p = body, head[HEAD_MAX];
    p += sprintf(p, "{\"user\":\"%s\",\"items\":[", users.at[below(c, users.n)]);
    for (size_t i = 0; i < n; i++) p += sprintf(p, "%s\"%s\"", i ? "," : "", items.at[c->order[at + i]]);
    p += sprintf(p, "]}");
    const int n_head = snprintf(head, sizeof head, "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                                (size_t)(p - body));
    *bytes = (size_t)(p - body) + (size_t)n_head;
    memcpy(body - n_head, head, (size_t)n_head);
    return body - n_head;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* One whole answer; its body, or NULL. */
static const char *receive(struct client *c)
{
    size_t n = 0, want = 0, head = 0;
    while (head == 0 || n < want) {
        if (n + 65536 > c->in_cap) c->in = room(c->in, c->in_cap += 65536 + c->in_cap / 2);
        const ssize_t got = recv(c->fd, c->in + n, c->in_cap - n - 1, 0);
        if (got <= 0) return NULL;
        n += (size_t)got;
        c->in[n] = '\0';
        const char *end = head == 0 ? strstr(c->in, "\r\n\r\n") : NULL;
        if (end == NULL) continue;
        const char *length = strcasestr(c->in, "\r\nContent-Length:");
        if (length == NULL) return NULL;
        head = (size_t)(end - c->in) + 4;
        want = head + strtoul(length + 17, NULL, 10);
    }
    return c->in + head;
}

/* --- one answer --------------------------------------------------------------------------------------------------- */

static bool right(struct client *c, const char *body, size_t at, size_t n)
{
    json_t *o = json_loads(body, JSON_REJECT_DUPLICATES, NULL), *list = json_object_get(o, "items"),
           *seen = json_object();
    bool ok = json_array_size(list) == n && json_object_get(o, "degraded") == NULL;
    double last = 2;
    for (size_t i = 0; ok && i < n; i++) {
        json_t *x = json_array_get(list, i);
        const char *id = json_string_value(json_object_get(x, "item"));
        const double score = json_number_value(json_object_get(x, "score"));
        if (i == joint_top) last = 2;
        ok = id != NULL && (size_t)json_integer_value(json_object_get(x, "rank")) == i + 1 && score > 0 && score < 1 &&
             score <= last && json_object_set(seen, id, json_true()) == 0;
        last = score;
    }
    for (size_t i = 0; ok && i < n; i++) ok = json_object_get(seen, items.at[c->order[at + i]]) != NULL;
    json_decref(seen);
    json_decref(o);
    return ok;
}

/* Asks for order[at …at+n); returns its milliseconds. */
static double ask(struct client *c, size_t at, size_t n, bool checks)
{
    size_t bytes;
    const char *text = write_request(c, at, n, &bytes);
    const double start = now_ms();
    const char *body = send_all(c->fd, text, bytes) ? receive(c) : NULL;
    const double ms = now_ms() - start;
    if (body == NULL || strncmp(c->in, "HTTP/1.1 200 ", 13) != 0 || (checks && !right(c, body, at, n))) {
        if (c->failed++ == 0)
            (void)fprintf(stderr, "rerank_load: %s: %.300s\n", body ? "a wrong answer" : "no answer",
                          body ? c->in : "");
    }
    return ms;
}

static void *run(void *arg)
{
    struct client *c = arg;
    while (now_ms() < end_ms && c->failed == 0) {
        draw(c, 0, candidates);
        add_time(&c->times, ask(c, 0, candidates, false));
    }
    return NULL;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say(const char *name, struct times *t)
{
    qsort(t->ms, t->n, sizeof *t->ms, ascending);
    (void)printf("\"%s\":{\"requests\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f}", name,
                 t->n, t->ms[t->n / 2], t->ms[t->n * 99 / 100], t->ms[t->n * 999 / 1000], t->ms[t->n - 1]);
}

static void start_client(struct client *c, unsigned number)
{
    c->random = UINT64_C(0x9e3779b97f4a7c15) * (number + 1);
    c->order = room(NULL, items.n * sizeof *c->order);
    c->out = room(NULL, HEAD_MAX + (candidates + 2) * (ID_MAX + 3));
    for (size_t i = 0; i < items.n; i++) c->order[i] = (uint32_t)i;
    if (dial(c)) return;
    (void)fprintf(stderr, "rerank_load: port %d takes no connection\n", port);
    exit(1);
}

/* Every item of the catalogue once, each request checked; what is left of it at the end is asked for too. */
static void walk(struct client *c, struct times *cold)
{
    draw(c, 0, items.n);
    for (size_t at = 0; at < items.n && c->failed == 0; at += candidates) {
        const size_t n = items.n - at < candidates ? items.n - at : candidates;
        const double ms = ask(c, at, n, true);
        if (n == candidates) add_time(cold, ms);
    }
}

int main(int argc, char **argv)
{
    static struct client clients[CLIENTS_MAX];
    struct times all = {0}, cold = {0};
    size_t failed = 0, n = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
    const bool fresh = argc == 8 && strcmp(argv[7], "fresh") == 0;
    if (argc < 7 || argc > 8 || n < 1 || n > CLIENTS_MAX || (argc == 8 && !fresh)) {
        (void)fprintf(stderr, "usage: rerank_load PORT ITEMS USERS CANDIDATES IN_FLIGHT SECONDS [fresh]\n");
        return 2;
    }
    port = atoi(argv[1]);
    items = read_list(argv[2]);
    users = read_list(argv[3]);
    candidates = strtoul(argv[4], NULL, 10);
    if (getenv("FRESHET_JOINT_TOP") != NULL) joint_top = strtoul(getenv("FRESHET_JOINT_TOP"), NULL, 10);
    if (candidates < 1 || candidates > items.n) {
        (void)fprintf(stderr, "rerank_load: %zu candidates of %zu items\n", candidates, items.n);
        return 2;
    }
    for (size_t i = 0; i < n; i++) start_client(&clients[i], (unsigned)i);
    if (fresh) walk(&clients[0], &cold);
    for (size_t i = 0; i < CHECKS && clients[0].failed == 0; i++) {
        draw(&clients[0], 0, candidates);
        (void)ask(&clients[0], 0, candidates, true);
    }
    const double start = now_ms();
    end_ms = start + 1e3 * atof(argv[6]);
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0) return 2;
    for (size_t i = 0; i < n; i++) (void)pthread_join(clients[i].thread, NULL);
    const double seconds = (now_ms() - start) * 1e-3;
    for (size_t i = 0; i < n; i++) {
        failed += clients[i].failed;
        for (size_t k = 0; k < clients[i].times.n; k++) add_time(&all, clients[i].times.ms[k]);
    }
    if (all.n == 0) failed++, add_time(&all, 0);
    (void)printf("{\"candidates\":%zu,\"in_flight\":%zu,\"failed\":%zu,\"requests_per_s\":%.1f,", candidates, n, failed,
                 (double)all.n / seconds);
    if (cold.n > 0) say("cold", &cold), (void)printf(",");
    say("warm", &all);
    (void)printf("}\n");
    return failed == 0 ? 0 : 1;
}
