/* source_kafka.c - reads Kafka partitions: messages become records, faults are waited out.
 *
 * Only rd_kafka_consumer_poll is used (the batch calls of librdkafka 2.0 may give messages twice), offsets are set in the
 * assignment, and every offset is judged before its message is given out.  The group is joined by the first read: who only
 * looks (freshet check) takes nothing from a running learner.
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

#define NUMBER_(n) #n
#define NUMBER(macro) NUMBER_(macro)

enum { REFRESH_MS = 300000, POLL_INTERVAL_MS = 300000 };

static void kafka_close(struct source *base)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->rk != NULL) {
        source_kafka_group_close(s);
        if (s->answers != NULL) rd_kafka_queue_destroy(s->answers);
        if (rd_kafka_fatal_error(s->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)rd_kafka_consumer_close(s->rk);
            rd_kafka_destroy(s->rk);
        } else { /* after a fatal error librdkafka refuses to close, and a plain destroy would wait for that for ever */
            rd_kafka_destroy_flags(s->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
    if (s->health.duplicates > 0 || s->health.gaps > 0)
        log_info("kafka", "duplicates_dropped=%llu gaps=%llu", (unsigned long long)s->health.duplicates,
                 (unsigned long long)s->health.gaps);
    preset_free(s->preset);
    for (uint32_t i = 0; i < s->n_topics; i++) mem_free(s->topics[i].name);
    mem_free(s->parts);
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

static struct source_kafka_part *part_of(struct source_kafka *s, const rd_kafka_message_t *m)
{
    return m->rkt != NULL ? source_kafka_part_of(s, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
}

/* p begins anew where it should be: asked of the brokers when its place itself is in doubt. */
static enum status place_again(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    const enum status st = source_kafka_place(s, p, e);
    if (st == STATUS_AGAIN) p->doubtful = true; /* the message that comes next asks again */
    if (st != STATUS_OK && st != STATUS_AGAIN) return st;
    return source_kafka_reposition(s, e);
}

static enum status replaced(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    uint64_t low = 0;
    const enum status st = source_kafka_ends(s, p, &low, e);
    if (st == STATUS_OK)
        TRY(source_kafka_missing(s, p, low,
                                 "the record before it is not the one that was learnt: the topic was made anew", e));
    else
        p->doubtful = true;
    return source_kafka_reposition(s, e);
}

/* A message becomes the batch's next record, unless it is not due. */
static enum status take_message(struct source_kafka *s, const rd_kafka_message_t *m, struct source_batch *b,
                                struct err *e)
{
    struct source_kafka_part *p = part_of(s, m);
    if (p == NULL || m->offset < 0) return STATUS_OK;
    const uint64_t offset = (uint64_t)m->offset;
    switch (source_kafka_judge(s, p, offset, p->verify ? source_kafka_mark(m) : 0)) {
    case SOURCE_KAFKA_DROP: return STATUS_OK;
    case SOURCE_KAFKA_AGAIN: return p->doubtful ? place_again(s, p, e) : source_kafka_reposition(s, e);
    case SOURCE_KAFKA_REPLACED: return replaced(s, p, e);
    case SOURCE_KAFKA_GIVE_OUT: break;
    }
    struct source_record *rec = &b->records[b->n];
    TRY(source_kafka_record(s, m, p, &b->arena, rec, e));
    p->next = offset + 1;
    p->mark = rec->mark;
    p->at_end = p->told_idle = false;
    b->n++;
    source_kafka_answered(s);
    return STATUS_OK;
}

static enum status take_end(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    if (p == NULL || !p->owned) return STATUS_OK;
    if (p->doubtful) return place_again(s, p, e);
    p->verify = false; /* it is gone by compaction */
    if (!p->at_end) p->end_us = s->clock->mono_us(s->clock);
    p->at_end = true;
    source_kafka_answered(s);
    return STATUS_OK;
}

static enum status fatal(struct source_kafka *s, struct err *e)
{
    char why[256] = "";
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(s->rk, why, sizeof why);
    if (code != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) return ERR_SET(e, STATUS_IO, "kafka: %s", why);
    const char *id = source_kafka_get(s->conf, "group.instance.id");
    return ERR_SET(
        e, STATUS_CONFLICT,
        "kafka: another process joined the group as kafka.group.instance.id=%s%s, so this one is fenced and stops; one "
        "learner per model: stop the other, or give it another model.name",
        id != NULL ? id : "freshet-", id != NULL ? "" : s->conf->model_name);
}

/* Its topic is away: whatever answers to the name later is looked at. */
static void topic_gone(struct source_kafka *s, const rd_kafka_message_t *m)
{
    const char *name = m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "";
    for (size_t i = 0; i < s->n_parts; i++)
        if (strcmp(s->topics[s->parts[i].topic].name, name) == 0) s->parts[i].doubtful = true;
}

/* What its own sentence leaves open. */
static const char *hint(rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL)
        return "; another member has another kafka.partition.assignment.strategy: stop it, or set its strategy or "
               "another kafka.group.id";
    return "";
}

/* Faults that pass are logged and waited out; those that don't stop the source. */
static enum status take_fault(struct source_kafka *s, const rd_kafka_message_t *m, struct err *e)
{
    struct source_kafka_part *p = part_of(s, m);
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: return take_end(s, p, e);
    case RD_KAFKA_RESP_ERR__FATAL: return fatal(s, e);
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return p != NULL && p->owned ? place_again(s, p, e) : STATUS_OK;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: topic_gone(s, m); break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        if (!s->joined_once)
            return ERR_SET(e, STATUS_IO,
                           "kafka: this user may not join the group (%s); let it read the group, or set "
                           "ingest.membership=assign",
                           rd_kafka_message_errstr(m));
        break;
    default: break;
    }
    source_kafka_trouble(s, "%s%s%s%s", m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "", m->rkt != NULL ? ": " : "",
                         rd_kafka_message_errstr(m), hint(m->err));
    log_limited(LOG_WARN, "kafka.read", "topic=%s code=%s reason=\"%s%s\"",
                m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "", rd_kafka_err2name(m->err),
                rd_kafka_message_errstr(m), hint(m->err));
    return STATUS_OK;
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

static rd_kafka_message_t *poll_message(struct source_kafka *s, int wait_ms)
{
    rd_kafka_message_t *m = s->spare;
    s->spare = NULL;
    if (m == NULL) m = rd_kafka_consumer_poll(s->rk, 0);
    if (m == NULL) source_kafka_wake(s);
    if (m == NULL && wait_ms > 0) m = rd_kafka_consumer_poll(s->rk, wait_ms);
    if (m != NULL) s->run_messages++, s->run_bytes += m->len + m->key_len;
    return m;
}

static enum status read_messages(struct source_kafka *s, struct source_batch *b, int wait, struct err *e)
{
    while (!source_batch_full(b) && s->change == SOURCE_KAFKA_STEADY && !s->telling) {
        rd_kafka_message_t *m = poll_message(s, b->n > 0 ? 0 : wait);
        if (m == NULL) break;
        const bool end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        const enum status st = m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? take_fault(s, m, e) : take_message(s, m, b, e);
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && !end) wait = 0; /* a fault told once is enough waiting */
        rd_kafka_message_destroy(m);
        TRY(st);
    }
    return STATUS_OK;
}

/* While a change is pending librdkafka gives nothing but callbacks and faults. */
static enum status serve(struct source_kafka *s, int wait_ms, struct err *e)
{
    if (s->change == SOURCE_KAFKA_STEADY) return STATUS_OK;
    if (s->spare == NULL) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, wait_ms);
        enum status st = STATUS_OK;
        if (m != NULL && m->err != RD_KAFKA_RESP_ERR_NO_ERROR) st = take_fault(s, m, e);
        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            s->spare = m;
            m = NULL;
        }
        if (m != NULL) rd_kafka_message_destroy(m);
        TRY(st);
    }
    return source_kafka_group_serve(s, e);
}

static enum status kafka_next(struct source *base, struct source_batch *b, int wait_ms, struct err *e)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->opening) TRY(source_kafka_join(s, e));
    TRY(source_kafka_unhold(s, e));
    TRY(refresh(s, e));
    source_kafka_hear_policies(s, 0);
    if (source_kafka_group_tell(s, b) && b->barrier == 0) {
        TRY(serve(s, b->n > 0 ? 0 : wait_ms, e));
        TRY(read_messages(s, b, wait_for(s, wait_ms, s->clock->mono_us(s->clock)), e));
        (void)source_kafka_group_tell(s, b);
    }
    tell_idle(s, b);
    b->lag_events = lag(s);
    return b->n > 0 ? STATUS_OK : STATUS_AGAIN;
}

static enum status kafka_hold(struct source *base, int wait_ms, struct err *e)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->opening) TRY(source_kafka_join(s, e));
    TRY(source_kafka_hold(s, e));
    if (s->change != SOURCE_KAFKA_STEADY) return serve(s, wait_ms, e);
    if (s->spare != NULL) { /* came although paused; nothing more can be taken in */
        (void)nanosleep(&(struct timespec){0, wait_ms * 1000000l}, NULL);
        return STATUS_OK;
    }
    rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, wait_ms);
    if (m == NULL) return STATUS_OK;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        s->spare = m;
        return STATUS_OK;
    }
    const enum status st = take_fault(s, m, e);
    rd_kafka_message_destroy(m);
    return st;
}

static int64_t key_ms(const struct conf *c, const char *key, int64_t otherwise)
{
    const char *text = source_kafka_get(c, key);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

static enum status consumer_open(struct source_kafka *s, struct err *e)
{
    char group[128], why[256];
    rd_kafka_conf_t *conf = NULL;
    (void)snprintf(group, sizeof group, "freshet-%.100s", s->conf->model_name);
    const struct source_kafka_pair defaults[] = {
        {"group.id", group},
        {"client.id", "freshet"},
        {"partition.assignment.strategy", "range"},
        {"queued.max.messages.kbytes", NUMBER(SOURCE_KAFKA_QUEUE_KBYTES)},
        {"queued.min.messages", NUMBER(SOURCE_KAFKA_QUEUE_MESSAGES)},
        {"fetch.max.bytes", "4194304"},
        {"max.partition.fetch.bytes", "65536"}, /* partitions take turns by so much: who catches up reads them near each other in time */
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
    return STATUS_OK;
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
    source_kafka_wake_init(s);
    TRY_OUT(st, preset_new(&s->preset, c, e));
    TRY_OUT(st, consumer_open(s, e));
    TRY_OUT(st, source_kafka_topics(s, e));
    TRY_OUT(st, source_kafka_find_parts(s, e));
    TRY_OUT(st, take_offsets(s, offsets, n_offsets, e));
    TRY_OUT(st, place_parts(s, e));
    source_kafka_ask_policies(s);
    *out = &s->base;
    s = NULL;
out:
    if (s != NULL) kafka_close(&s->base);
    return st;
}
