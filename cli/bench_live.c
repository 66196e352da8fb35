/* bench_live.c - how old what is served is: a shop's events through Kafka, learner, Redis and scorer, as they happen.
 *
 * librdkafka's mock cluster in this process takes the events, by the wall clock; `freshet run` learns them and publishes every
 * second; a scorer is asked all the while.  All cases are one run.  Known truth: the learner has taken every event that was
 * sent and refused none.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench_site.h"
#include "ingest/source_kafka_mock.h"
#include "ingest/source_kafka_producer.h"
#include "schemas/key.h"
#include "serving/publish_manifest.h"
#include "serving/redis.h"
#include "simulate/stream.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL "live"
#define TOPIC "live"
#define LISTS_PER_S 30.0
#define ASK_EVERY_S 0.004
#define SETTLE_S 15.0
enum { VERSIONS_MAX = 200, START_SECONDS = 60, SECONDS = 20, SECONDS_QUICK = 4, WINDOW_MS = 1000 };

enum stage { CONSUMED, PUBLISHED, SWAPPED, SERVED, STAGES };
struct cmd_bench_live {
    enum status status;
    struct err failure;
    double ms[STAGES][VERSIONS_MAX];
    size_t n[STAGES];
};
/* While it runs. */
struct run {
    struct cmd_bench *bench;
    struct cmd_bench_site *site;
    struct cmd_bench_live *live;
    struct source_mock *kafka;
    struct source_producer *producer;
    struct cmd_process learner;
    uint64_t sent;
    int64_t from_ms;            /* wall clock: figures count from here, the answer with the second version */
    atomic_int_fast64_t end_ms; /* the last event */
    atomic_bool over;           /* no more events come */
    uint64_t versions[VERSIONS_MAX];
    int64_t seen_ms[VERSIONS_MAX]; /* first answer made with it */
    size_t n_seen;
};

static int64_t wall_ms(void)
{
    return clock_system()->wall_ms(clock_system());
}

/* ---- what goes in ---- */

/* Each line at its time; END ends the shop. */
static enum status send_line(void *user, int64_t time_ms, struct str text)
{
    struct run *r = user;
    const char *who = memmem(text.p, text.n, "\"user\":\"", 8);
    struct str key = {0};
    if (time_ms > atomic_load(&r->end_ms) || cmd_process_told(NULL) != STATUS_OK) return STATUS_END;
    if (who != NULL) key = (struct str){who + 8, (size_t)((const char *)memchr(who + 8, '"', 20) - who - 8)};
    for (int64_t now = wall_ms(); now < time_ms; now = wall_ms()) cmd_process_nap((double)(time_ms - now) * 1e-3);
    r->sent++;
    return source_producer_send(r->producer, key, (struct str){text.p, text.n - 1}, NULL, 0, NULL);
}

static enum status produce(struct run *r, struct err *e)
{
    struct shop_options o;
    struct stream_truth truth;
    shop_defaults(&o);
    o.users = 200;
    o.items = 400;
    o.new_items = 0.0;
    o.drift = 0.0;
    o.events = 1000000;
    o.lists_per_s = LISTS_PER_S;
    o.delay_ms = 300.0;
    o.window_ms = WINDOW_MS;
    o.start_ms = wall_ms();
    atomic_store(&r->end_ms, o.start_ms + 1000 * START_SECONDS);
    const enum status st = stream_run(&o, false, send_line, r, &truth, e);
    atomic_store(&r->over, true);
    if (st != STATUS_OK && st != STATUS_END)
        return ERR_SET(e, st, "event %llu can't be sent", (unsigned long long)r->sent);
    return source_producer_flush(r->producer, 5000, e);
}

/* ---- what comes out ---- */

static void note_version(struct run *r, const struct buf *reply, size_t body)
{
    const char *at = memmem(reply->p + body, reply->n - body, "\"version\":", 10);
    const uint64_t version = at != NULL ? strtoull(at + 10, NULL, 10) : 0;
    if (version == 0 || (r->n_seen > 0 && r->versions[r->n_seen - 1] == version) || r->n_seen == VERSIONS_MAX) return;
    r->versions[r->n_seen] = version;
    r->seen_ms[r->n_seen++] = wall_ms();
    if (r->n_seen != 2) return;
    r->from_ms = r->seen_ms[1];
    atomic_store(&r->end_ms, r->from_ms + 1000 * (r->bench->quick ? SECONDS_QUICK : SECONDS));
}

static enum status ask_on(struct run *r, struct err *e)
{
    int fd = -1;
    size_t at;
    enum status st;
    struct buf body = {0}, request = {0}, reply = {0};
    TRY_OUT(st, cmd_bench_serve_ready(&r->site->other, e));
    TRY_OUT(st, cmd_bench_connect(&fd, r->site->other.port, e));
    buf_printf(
        &body,
        "{\"user\":\"u3\",\"items\":[\"i1\",\"i2\",\"i3\",\"i5\",\"i8\",\"i13\",\"i21\",\"i34\",\"i55\",\"i89\"]}");
    cmd_bench_put_request(&request, "/v1/rerank", &body);
    while (!atomic_load(&r->over) || wall_ms() < atomic_load(&r->end_ms) + WINDOW_MS) {
        TRY_OUT(st, cmd_process_told(e));
        TRY_OUT(st, cmd_bench_ask(fd, &request, &reply, &at, e));
        note_version(r, &reply, at);
        cmd_process_nap(ASK_EVERY_S);
    }
out:
    if (fd >= 0) (void)close(fd);
    buf_fini(&body);
    buf_fini(&request);
    buf_fini(&reply);
    return st;
}

static enum status two_hands(void *user, int i, struct err *e)
{
    return i == 0 ? produce(user, e) : ask_on(user, e);
}

/* ---- what it came to ---- */

static double field(const struct redis_reply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->n; i += 2)
        if (redis_is(&fields->items[i], name)) return strtod(fields->items[i + 1].text.p, NULL);
    return 0.0;
}

/* Every event taken, none refused; the learner's figures come once a second. */
static enum status check_taken(const struct run *r, struct redis *redis, struct err *e)
{
    const struct redis_reply *reply;
    char key[KEY_MAX];
    double taken = 0.0, refused = 0.0;
    (void)key_metrics(key, MODEL);
    for (const double end = cmd_bench_now_s() + SETTLE_S; cmd_bench_now_s() < end; cmd_process_nap(0.1)) {
        TRY(redis_call(redis, e, &reply, REDIS_ARGS(STR("HGETALL"), str_from(key))));
        taken = field(reply, "events_total");
        refused = field(reply, "rejected_total");
        if (taken >= (double)r->sent) break;
    }
    if (taken == (double)r->sent && refused == 0.0) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "%llu events were sent, the learner took %.0f and refused %.0f",
                   (unsigned long long)r->sent, taken, refused);
}

static void add(struct cmd_bench_live *l, enum stage s, double ms)
{
    if (l->n[s] < VERSIONS_MAX) l->ms[s][l->n[s]++] = ms;
}

/* The first version was there before anybody asked, the second learnt while the others began: not counted. */
static enum status take_versions(const struct run *r, struct redis *redis, struct err *e)
{
    for (size_t i = 2; i < r->n_seen; i++) {
        const struct redis_reply *reply;
        struct publish_manifest m = {0};
        char key[KEY_MAX];
        (void)key_manifest(key, MODEL, r->versions[i]);
        TRY(redis_call(redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
        TRY(publish_manifest_decode(&m, reply->text, MODEL, e));
        if (m.settled_ms > 0) {
            add(r->live, PUBLISHED, (double)(m.published_wall_ms - m.settled_ms));
            add(r->live, SWAPPED, (double)(r->seen_ms[i] - m.published_wall_ms));
            add(r->live, SERVED, (double)(r->seen_ms[i] - m.settled_ms));
        }
        publish_manifest_fini(&m);
    }
    return STATUS_OK;
}

/* Once a second. */
static enum status take_lags(const struct run *r, struct redis *redis, struct err *e)
{
    const struct redis_reply *reply;
    char key[KEY_MAX], from[24], to[24];
    (void)key_metrics_ts(key, MODEL);
    (void)snprintf(from, sizeof from, "%lld", (long long)r->from_ms);
    (void)snprintf(to, sizeof to, "%lld", (long long)atomic_load(&r->end_ms));
    TRY(redis_call(redis, e, &reply, REDIS_ARGS(STR("XRANGE"), str_from(key), str_from(from), str_from(to))));
    for (size_t i = 0; i < reply->n; i++)
        if (reply->items[i].n == 2) add(r->live, CONSUMED, field(&reply->items[i].items[1], "lag_ms"));
    return STATUS_OK;
}

static enum status take_figures(struct run *r, struct err *e)
{
    struct redis *redis = NULL;
    enum status st = cmd_bench_site_redis(r->site, &redis, e);
    if (st == STATUS_OK) st = check_taken(r, redis, e);
    if (st == STATUS_OK) st = take_lags(r, redis, e);
    if (st == STATUS_OK) st = take_versions(r, redis, e);
    redis_close(redis);
    if (st == STATUS_OK && (r->live->n[SERVED] == 0 || r->live->n[CONSUMED] == 0))
        st = ERR_SET(e, STATUS_CORRUPT, "no version was learnt, published and served in time");
    return st;
}

/* ---- the run ---- */

static enum status start_learner(struct run *r, struct err *e)
{
    char servers[200], state[CMD_BENCH_SITE_PATH + 16], url[CMD_BENCH_SITE_PATH + 16], window[40];
    const char *const argv[] = {NULL,
                                "run",
                                "--quiet",
                                "--config",
                                r->site->conf,
                                "-o",
                                "model.name=" MODEL,
                                "-o",
                                servers,
                                "-o",
                                "ingest.topics=" TOPIC,
                                "-o",
                                "ingest.schema=native",
                                "-o",
                                state,
                                "-o",
                                url,
                                "-o",
                                window,
                                "-o",
                                "publish.every_ms=1000",
                                "-o",
                                "publish.keep=60",
                                NULL};
    (void)snprintf(servers, sizeof servers, "kafka.bootstrap.servers=%s", source_mock_servers(r->kafka));
    (void)snprintf(state, sizeof state, "state.dir=%s/live", r->site->dir);
    (void)snprintf(url, sizeof url, "redis.url=%s", r->site->url);
    (void)snprintf(window, sizeof window, "join.window_ms=%d", WINDOW_MS);
    r->learner.name = "freshet run";
    (void)snprintf(r->learner.log, sizeof r->learner.log, "%s/live.log", r->site->dir);
    return cmd_process_start(&r->learner, argv, e);
}

static enum status open_producer(struct run *r, struct err *e)
{
    struct conf *c = NULL;
    enum status st = conf_new(&c, e);
    if (st == STATUS_OK) st = conf_set(c, "kafka.bootstrap.servers", source_mock_servers(r->kafka), e);
    if (st == STATUS_OK) st = conf_set(c, "kafka.linger.ms", "1", e);
    if (st == STATUS_OK) st = source_producer_open(&r->producer, c, TOPIC, e);
    conf_free(c);
    return st;
}

static enum status measure(struct run *r, struct err *e)
{
    static const char *const options[] = {"model.name=" MODEL, NULL};
    TRY(source_mock_open(&r->kafka, TOPIC, 2, e));
    TRY(open_producer(r, e));
    TRY(start_learner(r, e));
    TRY(cmd_bench_serve_start(r->site, &r->site->other, "live-scorer", options, e));
    TRY(cmd_bench_crew(2, two_hands, r, e));
    return take_figures(r, e);
}

static enum status setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    struct run r = {.bench = b};
    (void)c;
    TRY(cmd_bench_site(b, &r.site, e));
    struct cmd_bench_live *l = r.site->live;
    if (l == NULL) {
        l = r.live = r.site->live = mem_calloc(1, sizeof *l);
        if (l == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a live run");
        l->status = measure(&r, &l->failure);
        cmd_process_stop(&r.site->other.process);
        cmd_process_stop(&r.learner);
        source_producer_close(r.producer);
        source_mock_close(r.kafka);
    }
    if (l->status != STATUS_OK && e != NULL) *e = l->failure;
    return l->status;
}

static enum status sample(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                          struct err *e)
{
    const struct cmd_bench_live *l = b->site->live;
    (void)e;
    *n = l->n[c->n] < max ? l->n[c->n] : max;
    memcpy(out, l->ms[c->n], *n * sizeof *out);
    return STATUS_OK;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "fresh.consumed", .what = "how far the learner's event time is behind the wall clock", .kind = CMD_BENCH_SAMPLES,
     .unit = "ms", .n = CONSUMED, .setup = setup, .sample = sample},
    {.name = "fresh.published", .what = "from the event that settled a list to the version with it in Redis",
     .kind = CMD_BENCH_SAMPLES, .unit = "ms", .n = PUBLISHED, .setup = setup, .sample = sample},
    {.name = "fresh.swapped", .what = "from there to the first answer made with it", .kind = CMD_BENCH_SAMPLES,
     .unit = "ms", .n = SWAPPED, .setup = setup, .sample = sample},
    {.name = "fresh.served", .what = "both: from the event to the answer", .kind = CMD_BENCH_SAMPLES,
     .unit = "ms", .n = SERVED, .setup = setup, .sample = sample},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_live = {
    .name = "fresh",
    .title = "30 lists a second through Kafka (mock), learner, Redis, scorer; a version a second",
    CMD_BENCH_CASES(cases),
    .outside = true};
