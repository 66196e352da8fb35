/* score_watch.c - the thread that looks for versions every serving.poll_ms, and writes freshness back for the dashboards. */
#include "base/log.h"
#include "schemas/conf_live.h"
#include "schemas/key.h"
#include "serving/score_private.h"
#include <stdio.h>

#define AWAY_POLL_MS 100

/* New figures since the last write: HSET fr:m:metrics freshness_*. */
static void write_freshness(struct score *s)
{
    char key[KEY_MAX], p50[32], p99[32];
    const struct redis_reply *reply;
    struct redis *r = fetch_redis(s->lines[0].fetch);
    const uint64_t n = metric_freshness_count(s->metric);
    if (n == s->freshness_written || !redis_connected(r)) return;
    (void)key_metrics(key, s->conf->model_name);
    (void)snprintf(p50, sizeof p50, "%.0f", metric_get(s->metric, METRIC_FRESHNESS_P50_MS));
    (void)snprintf(p99, sizeof p99, "%.0f", metric_get(s->metric, METRIC_FRESHNESS_P99_MS));
    if (redis_call(r, NULL, &reply,
                   REDIS_ARGS(STR("HSET"), str_from(key), STR("freshness_p50_ms"), str_from(p50),
                              STR("freshness_p99_ms"), str_from(p99))) == STATUS_OK)
        s->freshness_written = n;
    redis_clear(r);
}

/* False when the scorer is closing. */
static bool pause_ms(struct score *s, int64_t ms)
{
    const struct timespec t = clock_until(ms * 1000);
    (void)pthread_mutex_lock(&s->lock);
    if (ms > 0 && !atomic_load(&s->stopping)) (void)pthread_cond_timedwait(&s->stop, &s->lock, &t);
    (void)pthread_mutex_unlock(&s->lock);
    return !atomic_load(&s->stopping);
}

/* Until the next look: none after a version, since another may have come meanwhile; a short one while hands wait for Redis. */
static int64_t next_ms(struct score *s, enum status st)
{
    const int64_t poll_ms = conf_now(&s->conf->serving_poll_ms);
    if (st == STATUS_OK) return 0;
    return atomic_load(&s->away) && poll_ms > AWAY_POLL_MS ? AWAY_POLL_MS : poll_ms;
}

static void *watch(void *arg)
{
    struct score *s = arg;
    struct err e = {0};
    enum status st;
    do {
        st = score_look(s, &e);
        (void)atomic_fetch_add(&s->looks, 1);
        if (st != STATUS_OK && st != STATUS_AGAIN && st != STATUS_NOT_FOUND)
            log_limited(LOG_WARN, "fetch", "%s", e.text);
        write_freshness(s);
        for (size_t i = 0; i < s->n_lines; i++) (void)slot_reap(s->lines[i].slot);
    } while (pause_ms(s, next_ms(s, st)));
    return NULL;
}

enum status score_watch_start(struct score *s, struct err *e)
{
    if (pthread_create(&s->watch, NULL, watch, s) != 0)
        return ERR_SET(e, STATUS_OOM, "scorer: no thread can be started");
    s->watching = true;
    return STATUS_OK;
}

void score_watch_stop(struct score *s)
{
    if (!s->watching) return;
    (void)pthread_mutex_lock(&s->lock);
    atomic_store(&s->stopping, true);
    (void)pthread_cond_broadcast(&s->stop);
    (void)pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->n_lines; i++) fetch_cancel(s->lines[i].fetch);
    (void)pthread_join(s->watch, NULL);
    s->watching = false;
}

uint64_t score_looks(struct score *s)
{
    return atomic_load(&s->looks);
}
