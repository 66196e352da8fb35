/* source_kafka.c - the Kafka source as source.h has it: opened, read, held, closed.
 *
 * The group is joined by the first read: who only looks (freshet check) takes nothing from a running learner.
 */
#include "ingest/source_kafka.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/preset.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REFRESH_MS = 300000, POLL_INTERVAL_MS = 300000 };

static void consumer_close(struct source_kafka *s)
{
    if (s->rk == NULL) return;
    source_kafka_group_close(s);
    if (s->answers != NULL) rd_kafka_queue_destroy(s->answers);
    if (rd_kafka_fatal_error(s->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        source_kafka_settle(s);
        (void)rd_kafka_consumer_close(s->rk);
        rd_kafka_destroy(s->rk);
    } else { /* after a fatal error librdkafka refuses to close, and a plain destroy would wait for that for ever */
        rd_kafka_destroy_flags(s->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    s->rk = NULL;
}

static void kafka_close(struct source *base)
{
    struct source_kafka *s = (struct source_kafka *)base;
    consumer_close(s);
    if (s->health.duplicates > 0 || s->health.gaps > 0)
        log_info("kafka", "duplicates_dropped=%llu gaps=%llu", (unsigned long long)s->health.duplicates,
                 (unsigned long long)s->health.gaps);
    preset_free(s->preset);
    for (uint32_t i = 0; i < s->n_topics; i++) mem_free(s->topics[i].name);
    mem_free(s->parts);
    mem_free(s->turns);
    buf_fini(&s->headers);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static uint64_t kafka_bytes(const struct source *base)
{
    (void)base;
    return 0;
}

static size_t kafka_partitions(const struct source *base, struct source_offset *out, size_t cap)
{
    const struct source_kafka *s = (const struct source_kafka *)base;
    for (size_t i = 0; i < s->n_parts && i < cap; i++)
        out[i] = (struct source_offset){
            .topic = s->parts[i].topic, .partition = s->parts[i].partition, .next = s->parts[i].next};
    return s->n_parts;
}

static void kafka_released(struct source *base, uint64_t barrier)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (barrier > atomic_load(&s->released)) atomic_store(&s->released, barrier); /* one thread releases */
}

/* How long a poll may wait: not past the moment when a partition at its end becomes idle. */
static int wait_for(const struct source_kafka *s, int wait_ms, int64_t now_us)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct source_kafka_part *p = &s->parts[i];
        if (!p->owned || !p->at_end || p->told_idle) continue;
        const int64_t left_ms = s->conf->join_idle_ms - (now_us - p->end_us) / 1000;
        if (left_ms < wait_ms) wait_ms = left_ms > 0 ? (int)left_ms : 0;
    }
    return wait_ms;
}

static void tell_idle(struct source_kafka *s, struct source_batch *b)
{
    const int64_t now_us = s->clock->mono_us(s->clock);
    for (size_t i = 0; i < s->n_parts && b->n < SOURCE_BATCH && b->barrier == 0; i++) {
        struct source_kafka_part *p = &s->parts[i];
        if (!p->owned || p->leaving || !p->at_end || p->told_idle) continue;
        if ((now_us - p->end_us) / 1000 < s->conf->join_idle_ms) continue;
        p->told_idle = true;
        struct source_record *rec = &b->records[b->n++];
        *rec = (struct source_record){.kind = SOURCE_IDLE, .at = {p->topic, p->partition, p->next}};
    }
}

static int64_t lag(struct source_kafka *s)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->n_parts; i++) {
        struct source_kafka_part *p = &s->parts[i];
        int64_t lo = -1, hi = -1;
        if (!p->owned) continue;
        if (rd_kafka_get_watermark_offsets(s->rk, s->topics[p->topic].name, (int32_t)p->partition, &lo, &hi) ==
                RD_KAFKA_RESP_ERR_NO_ERROR &&
            hi >= 0)
            p->high = (uint64_t)hi; /* of the last answer: no request is made */
        if (p->high > p->next) sum += (int64_t)(p->high - p->next);
    }
    return sum;
}

/* Manual assignment: librdkafka does not tell of new partitions. */
static enum status refresh(struct source_kafka *s, struct err *e)
{
    struct err why = {0};
    const int64_t now_us = s->clock->mono_us(s->clock);
    if (s->group || s->refresh_us <= 0 || now_us < s->next_refresh_us || !s->health.up) return STATUS_OK;
    s->next_refresh_us = now_us + s->refresh_us;
    bool found = false;
    const enum status asked = source_kafka_find_parts(s, &why);
    for (size_t i = 0; i < s->n_parts && asked == STATUS_OK; i++) {
        struct source_kafka_part *p = &s->parts[i];
        if (p->owned || source_kafka_place(s, p, &why) != STATUS_OK) continue;
        (void)pthread_mutex_lock(&s->lock);
        p->owned = found = true;
        (void)pthread_mutex_unlock(&s->lock);
        source_kafka_tell(s, p, SOURCE_KAFKA_JOINED);
        log_info("kafka", "topic=%s new_partition=%u", s->topics[p->topic].name, p->partition);
    }
    if (asked != STATUS_OK) log_limited(LOG_WARN, "kafka.refresh", "reason=\"%s\"", why.text);
    return found ? source_kafka_reposition(s, e) : STATUS_OK;
}

/* While a change is pending librdkafka gives nothing but callbacks and faults. */
static enum status pending(struct source_kafka *s, int wait_ms, struct err *e)
{
    if (s->change == SOURCE_KAFKA_STEADY) return STATUS_OK;
    TRY(source_kafka_serve(s, &wait_ms, e));
    return source_kafka_group_serve(s, e);
}

static enum status kafka_next(struct source *base, struct source_batch *b, int wait_ms, struct err *e)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->opening) TRY(source_kafka_join(s, e));
    TRY(refresh(s, e));
    source_kafka_hear_policies(s, 0);
    if (source_kafka_group_tell(s, b) && b->barrier == 0) {
        TRY(pending(s, b->n > 0 ? 0 : wait_ms, e));
        TRY(source_kafka_read(s, b, b->n > 0 ? 0 : wait_for(s, wait_ms, s->clock->mono_us(s->clock)), e));
        (void)source_kafka_group_tell(s, b);
    }
    tell_idle(s, b);
    b->lag_events = lag(s);
    return b->n > 0 ? STATUS_OK : STATUS_AGAIN;
}

/* Queues of librdkafka's fill up to their bounds, and then it fetches no more. */
static enum status kafka_hold(struct source *base, int wait_ms, struct err *e)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->opening) TRY(source_kafka_join(s, e));
    return s->change != SOURCE_KAFKA_STEADY ? pending(s, wait_ms, e) : source_kafka_serve(s, &wait_ms, e);
}

static int64_t key_ms(const struct conf *c, const char *key, int64_t otherwise)
{
    const char *text = source_kafka_get(c, key);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

static enum status consumer_open(struct source_kafka *s, struct err *e)
{
    char group[128], why[256], messages[16], kbytes[16], fetch[16];
    rd_kafka_conf_t *conf = NULL;
    const struct source_kafka_limits l = source_kafka_share(s, s->n_parts);
    (void)snprintf(group, sizeof group, "freshet-%.100s", s->conf->model_name);
    (void)snprintf(messages, sizeof messages, "%u", l.messages);
    (void)snprintf(kbytes, sizeof kbytes, "%u", l.kbytes);
    (void)snprintf(fetch, sizeof fetch, "%u", l.fetch_bytes);
    const struct source_kafka_pair defaults[] = {
        {"group.id", group},
        {"client.id", "freshet"},
        {"partition.assignment.strategy", "range"},
        {"queued.max.messages.kbytes", kbytes},
        {"queued.min.messages", messages},
        {"fetch.max.bytes", "4194304"},
        {"max.partition.fetch.bytes", fetch},
        {"fetch.wait.max.ms", "100"},       /* a new position waits for the last fetch */
        {"statistics.interval.ms", "1000"}, /* says whether brokers answer */
        {"reconnect.backoff.max.ms", "2000"},
        {"socket.timeout.ms", "30000"},
        {"group.instance.id", group}}; /* last: of members only */
    static const struct source_kafka_pair own[] = {{"enable.auto.commit", "false"},
                                                   {"enable.auto.offset.store", "false"},
                                                   {"enable.partition.eof", "true"},
                                                   {"auto.offset.reset", "error"}};
    const size_t n = sizeof defaults / sizeof *defaults - (s->group ? 0 : 1);
    TRY(source_kafka_conf_new(&conf, s->conf, defaults, n, own, sizeof own / sizeof *own, e));
    rd_kafka_conf_set_opaque(conf, s);
    source_kafka_group_conf(conf);
    source_kafka_health_conf(conf);
    s->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (s->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return ERR_SET(e, STATUS_INVALID, "kafka consumer: %s", why);
    }
    (void)rd_kafka_poll_set_consumer(s->rk);
    s->events = rd_kafka_queue_get_consumer(s->rk);
    return STATUS_OK;
}

/* Its limits are each partition's and can't be changed, and how many partitions there are is known when it has asked. */
static enum status share_anew(struct source_kafka *s, struct err *e)
{
    if (s->n_parts <= s->shares) return STATUS_OK;
    consumer_close(s);
    s->closing = false;
    return consumer_open(s, e);
}

static enum status no_such_part(struct source_kafka *s, const struct source_offset *o, struct err *e)
{
    const char *name = o->topic < s->n_topics ? s->topics[o->topic].name : "?";
    if (strcmp(s->conf->ingest_missing, "stop") == 0)
        return ERR_SET(e, STATUS_IO,
                       "topic %s partition %u (topic %u of ingest.topics=%s): the checkpoint goes on at offset %llu, "
                       "but there is no such partition: the topic was made anew, or ingest.topics changed; mend it, or "
                       "set ingest.missing=earliest or latest",
                       name, o->partition, o->topic, s->conf->ingest_topics, (unsigned long long)o->next);
    log_error("kafka.missing", "topic=%s partition=%u checkpoint=%llu reason=\"no such partition\"", name, o->partition,
              (unsigned long long)o->next);
    return STATUS_OK;
}

/* What the checkpoint knows. */
static enum status take_offsets(struct source_kafka *s, const struct source_offset *offsets, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct source_kafka_part *p = source_kafka_part_at(s, offsets[i].topic, offsets[i].partition);
        if (offsets[i].topic < s->n_topics) s->topics[offsets[i].topic].begun = true;
        if (p == NULL) {
            TRY(no_such_part(s, &offsets[i], e));
            continue;
        }
        p->next = offsets[i].next;
        p->mark = offsets[i].mark;
        p->follows = offsets[i].records > 0;
        p->begun = true;
    }
    return STATUS_OK;
}

/* Partitions that nothing is known of begin by ingest.start; all others are looked at when they are ours. */
static enum status place_parts(struct source_kafka *s, struct err *e)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        if (s->parts[i].begun && s->group) continue;
        const enum status st = source_kafka_place(s, &s->parts[i], e);
        if (st == STATUS_AGAIN) return e != NULL ? e->code = STATUS_IO : STATUS_IO;
        TRY(st);
    }
    for (uint32_t i = 0; i < s->n_topics; i++) s->topics[i].begun = true;
    return STATUS_OK;
}

enum status source_open_kafka(struct source **out, const struct conf *c, struct clock *clock,
                              const struct source_offset *offsets, size_t n_offsets, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    if (strcmp(c->ingest_schema, "csv") == 0)
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "ingest.schema=csv: a topic has no header row; produce the log with `freshet convert --topic` "
                       "and read it as native");
    struct source_kafka *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "kafka: no memory for the source");
    s->base = (struct source){.close = kafka_close,
                              .next = kafka_next,
                              .hold = kafka_hold,
                              .commit = source_kafka_commit,
                              .bytes_read = kafka_bytes,
                              .bytes_total = kafka_bytes,
                              .partitions = kafka_partitions,
                              .released = kafka_released,
                              .health = source_kafka_health};
    s->conf = c;
    s->clock = clock;
    s->group = strcmp(c->ingest_membership, "group") == 0;
    s->opening = s->health.up = true;
    s->timeout_ms = source_kafka_timeout_ms(c);
    s->give_ms = key_ms(c, "max.poll.interval.ms", POLL_INTERVAL_MS) / 2;
    s->refresh_us = key_ms(c, "topic.metadata.refresh.interval.ms", REFRESH_MS) * 1000;
    s->next_refresh_us = clock->mono_us(clock) + s->refresh_us;
    (void)pthread_mutex_init(&s->lock, NULL);
    TRY_OUT(st, preset_new(&s->preset, c, e));
    TRY_OUT(st, consumer_open(s, e));
    TRY_OUT(st, source_kafka_topics(s, e));
    TRY_OUT(st, source_kafka_find_parts(s, e));
    TRY_OUT(st, share_anew(s, e));
    TRY_OUT(st, take_offsets(s, offsets, n_offsets, e));
    TRY_OUT(st, place_parts(s, e));
    source_kafka_ask_policies(s);
    *out = &s->base;
    s = NULL;
out:
    if (s != NULL) kafka_close(&s->base);
    return st;
}
