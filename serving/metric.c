/* metric.c - a block of atomics; histograms count per bucket and are summed when written. */
#include "serving/metric.h"
#include "base/mem.h"
#include "schemas/event_json.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODES 11
#define BUCKETS 14
static const int codes[CODES] = {200, 202, 400, 401, 404, 405,
                                 413, 429, 500, 501, 503}; /* any other is counted as "other" */
static const double bounds[BUCKETS] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                       0.1,    0.2,   0.5,   1,     2,    5,    10}; /* s */

struct described {
    const char *name, *unit, *text;
    enum metric_kind kind;
};
static const struct described scorer[] = {
#define X(id, name, kind, unit, text) {name, unit, text, METRIC_##kind},
    METRIC_LIST(X)
#undef X
};
static const struct described job[] = {
#define X(name, kind, unit, text) {name, unit, text, METRIC_##kind},
    METRIC_JOB_LIST(X)
#undef X
};
static const char *const routes[METRIC_ROUTES] = {"rerank", "events",  "models", "infer", "metadata",
                                                  "health", "metrics", "page",   "other"};
static const char *const fetches[] = {
#define X(id, label) label,
    METRIC_FETCH_LIST(X)
#undef X
};
static const char *const kinds[] = {"counter", "gauge"};

struct timed {
    atomic_uint_fast64_t buckets[BUCKETS + 1], sum_us, count;
};
struct metric {
    atomic_uint_fast64_t values[METRIC_COUNT]; /* counters as they are, gauges as the bits of a double */
    atomic_uint_fast64_t by_code[METRIC_ROUTES][CODES + 1];
    struct timed timed[METRIC_ROUTES], hand_wait;
    atomic_uint_fast64_t fetch_failures[METRIC_FETCH_COUNT];
    pthread_mutex_t lock; /* of what follows */
    uint64_t n_fresh;
    double fresh[METRIC_FRESHNESS];
};

enum status metric_new(struct metric **out, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "metric: no memory");
    if (pthread_mutex_init(&(*out)->lock, NULL) == 0) return STATUS_OK;
    mem_free(*out);
    *out = NULL;
    return ERR_SET(e, STATUS_OOM, "metric: no lock can be made");
}

void metric_free(struct metric *m)
{
    if (m == NULL) return;
    (void)pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

void metric_add(struct metric *m, enum metric_id id, uint64_t n)
{
    atomic_fetch_add_explicit(&m->values[id], n, memory_order_relaxed);
}

void metric_total(struct metric *m, enum metric_id id, uint64_t n)
{
    atomic_store_explicit(&m->values[id], n, memory_order_relaxed);
}

void metric_set(struct metric *m, enum metric_id id, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&m->values[id], bits, memory_order_relaxed);
}

double metric_get(const struct metric *m, enum metric_id id)
{
    const uint64_t bits = atomic_load_explicit(&m->values[id], memory_order_relaxed);
    double value;
    if (scorer[id].kind == METRIC_COUNTER) return (double)bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void count_time(struct timed *t, double seconds)
{
    size_t b = 0;
    while (b < BUCKETS && seconds > bounds[b]) b++;
    atomic_fetch_add_explicit(&t->buckets[b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->sum_us, (uint64_t)(seconds > 0 ? seconds * 1e6 : 0), memory_order_relaxed);
    atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
}

void metric_request(struct metric *m, enum metric_route route, int status, double seconds)
{
    size_t c = 0;
    while (c < CODES && codes[c] != status) c++;
    atomic_fetch_add_explicit(&m->by_code[route][c], 1, memory_order_relaxed);
    count_time(&m->timed[route], seconds);
}

void metric_hand_wait(struct metric *m, double seconds)
{
    const double ms = seconds > 0 ? seconds * 1e3 : 0;
    uint64_t bits, most = atomic_load(&m->values[METRIC_HAND_WAIT_MAX_MS]);
    memcpy(&bits, &ms, sizeof bits); /* doubles of 0 and more are ordered as their bits are */
    while (bits > most && !atomic_compare_exchange_weak(&m->values[METRIC_HAND_WAIT_MAX_MS], &most, bits)) {
    }
    count_time(&m->hand_wait, seconds);
}

void metric_fetch_failure(struct metric *m, enum metric_fetch reason)
{
    atomic_fetch_add_explicit(&m->fetch_failures[reason], 1, memory_order_relaxed);
}

const char *metric_fetch_name(enum metric_fetch reason)
{
    return reason < METRIC_FETCH_COUNT ? fetches[reason] : "?";
}

uint64_t metric_requests(const struct metric *m)
{
    uint64_t n = 0;
    for (int r = 0; r < METRIC_ROUTES; r++) n += atomic_load_explicit(&m->timed[r].count, memory_order_relaxed);
    return n;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void metric_freshness(struct metric *m, double ms)
{
    double sorted[METRIC_FRESHNESS];
    (void)pthread_mutex_lock(&m->lock);
    m->fresh[m->n_fresh++ % METRIC_FRESHNESS] = ms;
    const size_t n = m->n_fresh < METRIC_FRESHNESS ? (size_t)m->n_fresh : METRIC_FRESHNESS;
    memcpy(sorted, m->fresh, n * sizeof *sorted);
    (void)pthread_mutex_unlock(&m->lock);
    qsort(sorted, n, sizeof *sorted, ascending);
    metric_set(m, METRIC_FRESHNESS_P50_MS, sorted[(n - 1) / 2]);
    metric_set(m, METRIC_FRESHNESS_P99_MS, sorted[(n * 99 + 99) / 100 - 1]); /* nearest rank */
}

uint64_t metric_freshness_count(const struct metric *m)
{
    struct metric *open = (struct metric *)(uintptr_t)m;
    (void)pthread_mutex_lock(&open->lock);
    const uint64_t n = open->n_fresh;
    (void)pthread_mutex_unlock(&open->lock);
    return n;
}

static void write_head(struct buf *b, const char *name, const char *kind, const char *text)
{
    buf_printf(b, "# HELP freshet_%s %s\n# TYPE freshet_%s %s\n", name, text, name, kind);
}

/* route NULL: no label of its own. */
static void write_times(const struct timed *t, const char *name, const char *route, struct buf *b)
{
    char label[40] = "", more[44] = "";
    uint64_t below = 0;
    if (route != NULL) {
        (void)snprintf(label, sizeof label, "{route=\"%s\"}", route);
        (void)snprintf(more, sizeof more, "route=\"%s\",", route);
    }
    for (int i = 0; i <= BUCKETS; i++) {
        below += atomic_load_explicit(&t->buckets[i], memory_order_relaxed);
        buf_printf(b, "freshet_%s_bucket{%sle=\"", name, more);
        if (i < BUCKETS)
            buf_printf(b, "%g", bounds[i]);
        else
            buf_printf(b, "+Inf");
        buf_printf(b, "\"} %llu\n", (unsigned long long)below);
    }
    buf_printf(b, "freshet_%s_sum%s %.6f\nfreshet_%s_count%s %llu\n", name, label,
               (double)atomic_load_explicit(&t->sum_us, memory_order_relaxed) * 1e-6, name, label,
               (unsigned long long)below);
}

static void write_requests(const struct metric *m, struct buf *b)
{
    write_head(b, "http_requests_total", "counter", "requests answered, by route and status");
    for (int r = 0; r < METRIC_ROUTES; r++)
        for (int c = 0; c <= CODES; c++) {
            const uint64_t n = atomic_load_explicit(&m->by_code[r][c], memory_order_relaxed);
            char code[8] = "other";
            if (c < CODES) (void)snprintf(code, sizeof code, "%d", codes[c]);
            if (n > 0 || (r == METRIC_ROUTE_RERANK && c == 0)) /* one series from the start */
                buf_printf(b, "freshet_http_requests_total{route=\"%s\",code=\"%s\"} %llu\n", routes[r], code,
                           (unsigned long long)n);
        }
    write_head(b, "http_request_seconds", "histogram", "time from a request's last byte to its answer, by route");
    for (int r = 0; r < METRIC_ROUTES; r++)
        if (atomic_load_explicit(&m->timed[r].count, memory_order_relaxed) > 0 || r == METRIC_ROUTE_RERANK)
            write_times(&m->timed[r], "http_request_seconds", routes[r], b);
}

static void write_scorer(const struct metric *m, struct buf *b)
{
    write_head(b, "fetch_failures_total", "counter", "versions that could not be had, by reason");
    for (int i = 0; i < METRIC_FETCH_COUNT; i++)
        buf_printf(b, "freshet_fetch_failures_total{reason=\"%s\"} %llu\n", fetches[i],
                   (unsigned long long)atomic_load_explicit(&m->fetch_failures[i], memory_order_relaxed));
    write_head(b, "hand_wait_seconds", "histogram",
               "time that requests waited for a free pass over the model, swaps included");
    write_times(&m->hand_wait, "hand_wait_seconds", NULL, b);
}

void metric_write_prometheus(const struct metric *m, struct buf *b)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        write_head(b, scorer[i].name, kinds[scorer[i].kind], scorer[i].text);
        buf_printf(b, "freshet_%s ", scorer[i].name);
        event_json_number(b, metric_get(m, (enum metric_id)i));
        buf_printf(b, "\n");
    }
    write_scorer(m, b);
    write_requests(m, b);
}

static void write_row(struct buf *b, const char *name, const char *type, const char *unit, const char *text)
{
    buf_printf(b, "| `%s` | %s | %s | %s |\n", name, type, unit, text);
}

/* Written by publish_lease.c, publish_watch.c, publish_weights.c and the job. */
static void write_info_fields(struct buf *b)
{
    buf_printf(b, "| name | type | unit | meaning |\n|---|---|---|---|\n");
    write_row(b, "state", "text", "",
              "standby, starting, learning, paused: disk full, paused: alarm, paused: rolled back, stopping, or stopped (in order, with "
              "everything uploaded)");
    write_row(b, "variants", "text", "",
              "empty without challengers, else each variant with its share, GAUC and difference to the one in charge");
    write_row(b, "trouble", "text", "", "empty, or one sentence of what keeps it from learning");
    write_row(b, "lease", "text", "",
              "none, held (ours), foreign (another learner's), conflict (another took it from us)");
    write_row(b, "version", "integer", "1", "version in force");
    write_row(b, "sha256", "text", "hex", "of that version's learnt parameters");
    write_row(b, "host", "text", "", "where the learner runs");
    write_row(b, "pid", "integer", "1", "its process");
    write_row(b, "owner", "text", "hex", "its random token, as in the lease");
    write_row(b, "epoch", "integer", "1", "of its lease; grows with every owner");
    write_row(b, "beat", "integer", "1",
              "grows about once a second while it reaches Redis; a smaller one betrays older data");
    write_row(b, "publishing", "text", "version:chunks", "a version that is being uploaded; absent otherwise");
}

/* Written by job_variants.c. */
static void write_variant_fields(struct buf *b)
{
    buf_printf(
        b, "\n## Learner: fields of the Redis hash `fr:m:variant:NAME:metrics`, of each challenger\n\n"
           "`logloss auc gauc ne calibration evaluated_examples version` as above, `freshness_p50_ms freshness_p99_ms` "
           "(0: scorers write the model's alone), and:\n\n"
           "| name | type | unit | meaning |\n|---|---|---|---|\n");
    write_row(b, "learnt_examples_total", "counter", "examples", "examples that the variant has learnt from");
    write_row(b, "in_charge", "gauge", "1", "1 while it answers whom no share names");
    write_row(b, "share", "gauge", "1", "share of the users that it is configured to answer");
    write_row(b, "paired_slates", "counter", "slates", "slates on which it is compared with the one in charge");
    write_row(b, "paired_logloss", "gauge", "1",
              "its log-loss less that of the one in charge, on the same slates; `_lower` and `_upper`: 95 % interval, "
              "clustered by user");
    write_row(b, "paired_gauc", "gauge", "1", "the same of the AUC within a slate; `_lower` and `_upper` likewise");
}

static void write_rows(struct buf *b, const struct described *list, size_t n, const char *prefix)
{
    buf_printf(b, "| name | type | unit | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "| `%s%s` | %s | %s | %s |\n", prefix, list[i].name, kinds[list[i].kind], list[i].unit,
                   list[i].text);
}

void metric_write_document(struct buf *b)
{
    buf_printf(b,
               "# Metrics\n\nMade from the table in `serving/metric.h`; do not edit by hand.\n\n"
               "## Learner: fields of the Redis hash `fr:m:metrics`\n\n"
               "Every field is a number and is there from the first write; one that is undefined is 0 (the count "
               "beside it says so).\n"
               "Each write also appends all of them to the stream `fr:m:metrics:ts` (bounded, for Grafana's XRANGE).\n"
               "Texts are in the hash `fr:m:info`, below.\n\n");
    write_rows(b, job, sizeof job / sizeof *job, "");
    buf_printf(b, "\n## Learner: fields of the Redis hash `fr:m:info`\n\n");
    write_info_fields(b);
    write_variant_fields(b);
    buf_printf(b, "\n## Scorer: `GET /metrics` (Prometheus)\n\n");
    write_rows(b, scorer, sizeof scorer / sizeof *scorer, "freshet_");
    buf_printf(
        b,
        "| `freshet_fetch_failures_total{reason}` | counter | tries | versions that could not be had, by reason |\n"
        "| `freshet_hand_wait_seconds` | histogram | s | time that requests waited for a free pass over the model, "
        "swaps included |\n"
        "| `freshet_http_requests_total{route,code}` | counter | requests | requests answered, by route and status |\n"
        "| `freshet_http_request_seconds{route}` | histogram | s | time from a request's last byte to its answer |\n");
}
