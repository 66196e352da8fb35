/* swap_load.c - clients that ask a scorer without a pause over keep-alive connections, and check every answer.
 *
 *   swap_load PORT TABLE CLIENTS SECONDS [degraded|status]
 *
 * TABLE is swap_publish's.  An answer is right when its status is 200, its sha256 is one of the table, its version has
 * that set's turn, and each item's score is that set's: so it comes from one whole version.  Ends after SECONDS, at
 * SIGTERM, or when the scorer takes no connections any more, which is no failure: an answer that says `close` was the
 * last one.  `degraded`: answers made without Redis are right too, from what the scorer has at hand; `status`: the
 * status alone counts.  Prints one JSON line; exit 1 when any request failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SETS = 4, USERS = 4, ITEMS = 10, CLIENTS_MAX = 256 };
#define TOLERANCE 1e-5
#define TIMEOUT_S 20

struct client {
    pthread_t thread;
    unsigned number;
    int fd;
    bool ends; /* the last answer said close, or nobody listens any more */
    char in[65536];
    double *ms; /* (n) of each request */
    size_t n, cap, failed, versions, degraded;
    long long last_version;
    char why[300]; /* the first failure */
};

static char sha256[SETS][65];
static double scores[SETS][USERS][ITEMS];
static int port;
static bool may_degrade, status_only;
static atomic_bool over;
static double end_ms;

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void stop(int signal)
{
    (void)signal;
    atomic_store(&over, true);
}

static void read_table(const char *path)
{
    char hash[65];
    int s, u, i;
    double score;
    FILE *f = fopen(path, "r");
    int n = 0;
    while (f != NULL && fscanf(f, "%64s %d u%d i%d %lf", hash, &s, &u, &i, &score) == 5) {
        if (s < 0 || s >= SETS || u < 0 || u >= USERS || i < 0 || i >= ITEMS) break;
        memcpy(sha256[s], hash, sizeof hash);
        scores[s][u][i] = score;
        n++;
    }
    if (f != NULL) (void)fclose(f);
    if (n == SETS * USERS * ITEMS) return;
    (void)fprintf(stderr, "swap_load: %s has %d good lines\n", path, n);
    exit(2);
}

static void complain(struct client *c, const char *what, const char *more)
{
    c->failed++;
    if (c->why[0] == '\0') (void)snprintf(c->why, sizeof c->why, "%s: %.200s", what, more);
}

/* --- HTTP --------------------------------------------------------------------------------------------------------- */

static bool dial(struct client *c)
{
    const struct timeval t = {TIMEOUT_S, 0};
    const int one = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (c->fd >= 0) return true;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0) return true;
    c->ends = true; /* refused, or the door was shut in the midst of the handshake: nothing was asked yet */
    if (errno != ECONNREFUSED && errno != ECONNRESET) complain(c, "connect", strerror(errno));
    return false;
}

static void hang_up(struct client *c)
{
    if (c->fd >= 0) (void)close(c->fd);
    c->fd = -1;
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

/* One whole answer into c->in, NUL after it; its body, or NULL. */
static const char *receive(struct client *c)
{
    size_t n = 0, want = 0;
    char *body = NULL;
    while (body == NULL || n < want) {
        const ssize_t got = recv(c->fd, c->in + n, sizeof c->in - 1 - n, 0);
        if (got <= 0) return NULL;
        n += (size_t)got;
        c->in[n] = '\0';
        if (body == NULL && (body = strstr(c->in, "\r\n\r\n")) != NULL) {
            body += 4;
            const char *length = strcasestr(c->in, "\r\nContent-Length:");
            if (length == NULL) return NULL;
            want = (size_t)(body - c->in) + strtoul(length + 17, NULL, 10);
        }
    }
    body[-1] = '\0'; /* the head is a text of its own */
    return body;
}

/* --- one answer --------------------------------------------------------------------------------------------------- */

static bool right(struct client *c, const char *body, unsigned user)
{
    json_t *o = json_loads(body, JSON_REJECT_DUPLICATES, NULL), *m = json_object_get(o, "model"),
           *items = json_object_get(o, "items");
    const char *hash = json_string_value(json_object_get(m, "sha256"));
    const long long version = json_integer_value(json_object_get(m, "version"));
    const int set = (int)(version % SETS);
    const bool degraded = json_object_get(o, "degraded") != NULL;
    bool ok = hash != NULL && version > 0 && strcmp(hash, sha256[set]) == 0 && json_array_size(items) == ITEMS &&
              (may_degrade || !degraded);
    for (size_t i = 0; ok && i < ITEMS; i++) {
        json_t *x = json_array_get(items, i);
        const char *id = json_string_value(json_object_get(x, "item"));
        const int index = id != NULL && id[0] == 'i' ? atoi(id + 1) : -1;
        ok = index >= 0 && index < ITEMS &&
             fabs(json_number_value(json_object_get(x, "score")) - scores[set][user][index]) <= TOLERANCE;
    }
    c->versions += version != c->last_version;
    c->last_version = version;
    c->degraded += degraded;
    json_decref(o);
    return ok || status_only;
}

static void ask(struct client *c, unsigned user)
{
    char body[300], text[600];
    (void)snprintf(
        body, sizeof body,
        "{\"user\":\"u%u\",\"items\":[\"i0\",\"i1\",\"i2\",\"i3\",\"i4\",\"i5\",\"i6\",\"i7\",\"i8\",\"i9\"]}", user);
    const int n = snprintf(text, sizeof text, "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
                           strlen(body), body);
    if (!dial(c)) return;
    const double start = now_ms();
    const char *answer = send_all(c->fd, text, (size_t)n) ? receive(c) : NULL;
    if (answer == NULL) {
        complain(c, "no answer", strerror(errno));
        hang_up(c);
        return;
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 4096;
        c->ms = realloc(c->ms, c->cap * sizeof *c->ms);
        if (c->ms == NULL) abort();
    }
    c->ms[c->n++] = now_ms() - start;
    if (strncmp(c->in, "HTTP/1.1 200 ", 13) != 0)
        complain(c, "status", c->in);
    else if (!right(c, answer, user))
        complain(c, "not one whole version's scores", answer);
    if (strcasestr(c->in, "\r\nConnection: close") != NULL) hang_up(c);
}

static void *client(void *arg)
{
    struct client *c = arg;
    c->fd = -1;
    for (unsigned i = c->number; !c->ends && !atomic_load(&over) && now_ms() < end_ms; i++) ask(c, i % USERS);
    hang_up(c);
    return NULL;
}

/* --- the sum ------------------------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int report(struct client *clients, int n_clients, double seconds)
{
    size_t n = 0, failed = 0, versions = 0, degraded = 0;
    for (int i = 0; i < n_clients; i++) {
        n += clients[i].n;
        failed += clients[i].failed;
        versions += clients[i].versions;
        degraded += clients[i].degraded;
        if (clients[i].why[0] != '\0') (void)fprintf(stderr, "swap_load: %s\n", clients[i].why);
    }
    double *all = malloc((n + 1) * sizeof *all);
    if (all == NULL) abort();
    size_t at = 0;
    for (int i = 0; i < n_clients; i++)
        for (size_t k = 0; k < clients[i].n; k++) all[at++] = clients[i].ms[k];
    qsort(all, n, sizeof *all, ascending);
    (void)printf("{\"requests\":%zu,\"failed\":%zu,\"degraded\":%zu,\"version_changes\":%zu,\"requests_per_s\":%.0f,"
                 "\"p50_ms\":%.3f,"
                 "\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f}\n",
                 n, failed, degraded, versions, (double)n / seconds, n ? all[n / 2] : 0, n ? all[n * 99 / 100] : 0,
                 n ? all[n * 999 / 1000] : 0, n ? all[n - 1] : 0);
    free(all);
    return n > 0 && failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct client clients[CLIENTS_MAX];
    if (argc < 5 || argc > 6 || atoi(argv[3]) < 1 || atoi(argv[3]) > CLIENTS_MAX) {
        (void)fprintf(stderr, "usage: swap_load PORT TABLE CLIENTS SECONDS [degraded|status]\n");
        return 2;
    }
    const int n = atoi(argv[3]);
    port = atoi(argv[1]);
    status_only = argc == 6 && strcmp(argv[5], "status") == 0;
    may_degrade = argc == 6;
    read_table(argv[2]);
    (void)signal(SIGTERM, stop);
    const double start = now_ms();
    end_ms = start + 1e3 * atof(argv[4]);
    for (int i = 0; i < n; i++) {
        clients[i].number = (unsigned)i;
        if (pthread_create(&clients[i].thread, NULL, client, &clients[i]) != 0) return 2;
    }
    for (int i = 0; i < n; i++) (void)pthread_join(clients[i].thread, NULL);
    const int rc = report(clients, n, (now_ms() - start) * 1e-3);
    for (int i = 0; i < n; i++) free(clients[i].ms);
    return rc;
}
