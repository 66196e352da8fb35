/* source_kafka_health.c - whether a broker answers, and what the last trouble was.
 *
 * librdkafka tells when all brokers are down, but not when one is back: its statistics, once a second, name the state of
 * each connection.
 */
#include "base/log.h"
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_up(struct source_kafka *s, bool up)
{
    (void)pthread_mutex_lock(&s->lock);
    const bool was = s->health.up;
    const int64_t now_us = s->clock->mono_us(s->clock);
    const int64_t down_ms = (now_us - s->down_us) / 1000;
    s->health.up = up;
    if (was && !up) s->down_us = now_us;
    if (!was && up) s->health.text[0] = 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (was && !up && !s->opening) log_warn("kafka", "state=down");
    if (!was && up && !s->opening) log_info("kafka", "state=up down_ms=%lld", (long long)down_ms);
}

void source_kafka_trouble(struct source_kafka *s, const char *fmt, ...)
{
    va_list args;
    (void)pthread_mutex_lock(&s->lock);
    va_start(args, fmt);
    (void)vsnprintf(s->health.text, sizeof s->health.text, fmt, args);
    va_end(args);
    (void)pthread_mutex_unlock(&s->lock);
}

void source_kafka_answered(struct source_kafka *s)
{
    if (!s->health.up || s->health.text[0] != 0) { /* written by this thread alone */
        set_up(s, true);
        (void)pthread_mutex_lock(&s->lock);
        s->health.text[0] = 0;
        (void)pthread_mutex_unlock(&s->lock);
    }
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct source_kafka *s = opaque;
    (void)rk;
    log_limited(LOG_WARN, "kafka.error", "code=%s reason=\"%s\"", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (s->health.text[0] == 0) source_kafka_trouble(s, "%s", reason); /* the cause came before */
        set_up(s, false);
        return;
    }
    source_kafka_trouble(s, "%s", reason);
}

/* librdkafka's threads call this.  A connection that the other side just closes is told here alone. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct source_kafka *s = rd_kafka_opaque(rk);
    const char *from = text[0] == '[' ? strstr(text, "]: ") : NULL; /* after the thread's name */
    source_kafka_log(rk, level, facility, text);
    if (strcmp(facility, "FAIL") != 0 || s == NULL) return;
    (void)pthread_mutex_lock(&s->lock);
    (void)snprintf(s->last_fail, sizeof s->last_fail, "%s", from != NULL ? from + 3 : text);
    (void)pthread_mutex_unlock(&s->lock);
}

/* Only a broker's state is written in capitals. */
static int on_statistics(rd_kafka_t *rk, char *json, size_t n, void *opaque)
{
    (void)rk;
    set_up(opaque, memmem(json, n, "\"state\":\"UP\"", 12) != NULL);
    return 0; /* librdkafka frees the text */
}

void source_kafka_health_conf(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    rd_kafka_conf_set_log_cb(conf, on_log);
}

const char *source_kafka_why(struct source_kafka *s)
{
    if (s->opening) { /* nothing is assigned: only callbacks and errors can come */
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, 0);
        if (m != NULL && m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            source_kafka_trouble(s, "%s", rd_kafka_message_errstr(m));
        if (m != NULL) rd_kafka_message_destroy(m);
    }
    (void)pthread_mutex_lock(&s->lock);
    if (s->health.text[0] == 0) (void)snprintf(s->health.text, sizeof s->health.text, "%s", s->last_fail);
    (void)pthread_mutex_unlock(&s->lock);
    return s->health.text;
}

void source_kafka_health(struct source *base, struct source_health *out)
{
    struct source_kafka *s = (struct source_kafka *)base;
    (void)pthread_mutex_lock(&s->lock);
    *out = s->health;
    out->down_ms = s->health.up ? 0 : (s->clock->mono_us(s->clock) - s->down_us) / 1000;
    out->partitions = 0;
    for (size_t i = 0; i < s->n_parts; i++) out->partitions += s->parts[i].owned;
    (void)pthread_mutex_unlock(&s->lock);
}
