/* source_kafka.c - reads Kafka partitions through one consumer with a manual assignment.
 *
 * Only rd_kafka_consumer_poll is used (the batch calls of librdkafka 2.0 may give messages twice), offsets are set in the
 * assignment, and each partition has a guard against offsets that go back.
 */
#include "base/log.h"
#include "base/mem.h"
#include "ingest/parse_text.h"
#include "ingest/preset.h"
#include "ingest/reject_letter.h"
#include "ingest/source_kafka_conf.h"
#include "ingest/source_kafka_start.h"
#include "ingest/source_ops.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_MAX 64

struct source_kafka {
    struct source base;
    const struct conf *conf;
    struct clock *clock;
    rd_kafka_t *rk;
    struct preset *preset;
    struct source_kafka_start start;
    uint64_t repeated; /* messages that the guard dropped */
    struct buf headers;
};

static void kafka_close(struct source *base)
{
    struct source_kafka *s = (struct source_kafka *)base;
    if (s->rk != NULL) {
        (void)rd_kafka_consumer_close(s->rk);
        rd_kafka_destroy(s->rk);
    }
    if (s->repeated > 0) log_info("kafka", "repeated_messages_dropped=%llu", (unsigned long long)s->repeated);
    preset_free(s->preset);
    source_kafka_start_fini(&s->start);
    buf_fini(&s->headers);
    mem_free(s);
}

static uint64_t kafka_bytes(const struct source *base)
{
    (void)base;
    return 0;
}

static size_t kafka_partitions(const struct source *base, struct source_offset *out, size_t cap)
{
    const struct source_kafka_start *s = &((const struct source_kafka *)base)->start;
    for (size_t i = 0; i < s->n_parts && i < cap; i++)
        out[i] = (struct source_offset){
            .topic = s->parts[i].topic, .partition = s->parts[i].partition, .next = s->parts[i].start};
    return s->n_parts;
}

static void kafka_commit(struct source *base, const struct source_offset *offsets, size_t n)
{
    struct source_kafka *s = (struct source_kafka *)base;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    if (list == NULL) return;
    for (size_t i = 0; i < n; i++)
        if (offsets[i].topic < s->start.n_topics)
            rd_kafka_topic_partition_list_add(list, s->start.topics[offsets[i].topic], (int32_t)offsets[i].partition)
                ->offset = (int64_t)offsets[i].next;
    const rd_kafka_resp_err_t rc = list->cnt > 0 ? rd_kafka_commit(s->rk, list, 1) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) log_limited(LOG_WARN, "kafka.commit", "reason=\"%s\"", rd_kafka_err2str(rc));
    rd_kafka_topic_partition_list_destroy(list);
}

/* Lag monitors only read what is committed; nothing of ours does. */
static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t rc, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)rk;
    (void)list;
    (void)opaque;
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR && rc != RD_KAFKA_RESP_ERR__NO_OFFSET)
        log_limited(LOG_WARN, "kafka.commit", "reason=\"%s\"", rd_kafka_err2str(rc));
}

static struct source_kafka_part *part_of(struct source_kafka *s, const rd_kafka_message_t *m)
{
    const char *name = m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "";
    for (size_t i = 0; i < s->start.n_parts; i++) {
        struct source_kafka_part *p = &s->start.parts[i];
        if (p->partition == (uint32_t)m->partition && strcmp(s->start.topics[p->topic], name) == 0) return p;
    }
    return NULL;
}

/* A name that came before, or that is not UTF-8, can't be a member of a JSON object. */
static bool header_usable(rd_kafka_headers_t *headers, size_t index, const char *name)
{
    const char *earlier;
    const void *value;
    size_t n;
    for (size_t i = 0; i < index; i++)
        if (rd_kafka_header_get_all(headers, i, &earlier, &value, &n) == 0 && strcmp(earlier, name) == 0) return false;
    return parse_utf8_valid(str_from(name));
}

/* The message's headers as a JSON object; a value that is not text is null. */
static void put_headers(struct source_kafka *s, rd_kafka_headers_t *headers)
{
    const char *name;
    const void *value;
    size_t n;
    buf_clear(&s->headers);
    buf_u8(&s->headers, '{');
    for (size_t i = 0; i < HEADERS_MAX && rd_kafka_header_get_all(headers, i, &name, &value, &n) == 0; i++) {
        const struct str text = {value, n};
        if (!header_usable(headers, i, name)) continue;
        if (s->headers.n > 1) buf_u8(&s->headers, ',');
        reject_put_text(&s->headers, str_from(name));
        buf_u8(&s->headers, ':');
        reject_put_text(&s->headers, parse_utf8_valid(text) ? text : (struct str){NULL, 0});
    }
    buf_u8(&s->headers, '}');
}

static bool keep(struct arena *a, struct str s, struct str *out)
{
    *out = s.p != NULL ? arena_str(a, s) : s;
    return s.p == NULL || out->p != NULL;
}

static enum status keep_raw(struct source_kafka *s, const rd_kafka_message_t *m, uint32_t topic, struct source_batch *b,
                            struct source_record *rec, struct err *e)
{
    rd_kafka_headers_t *headers = NULL;
    struct str text = {NULL, 0};
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        put_headers(s, headers);
        TRY(buf_status(&s->headers, e));
        text = (struct str){(const char *)s->headers.p, s->headers.n};
    }
    rec->raw.topic = str_from(s->start.topics[topic]);
    if (keep(&b->arena, rec->raw.topic, &rec->raw.topic) && keep(&b->arena, text, &rec->raw.headers) &&
        keep(&b->arena, (struct str){m->key, m->key_len}, &rec->raw.key) &&
        keep(&b->arena, (struct str){m->payload, m->len}, &rec->raw.value))
        return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "kafka: no memory to keep a message of %zu bytes", m->len);
}

/* A message becomes the batch's next record, unless its offset was read before. */
static enum status take_message(struct source_kafka *s, const rd_kafka_message_t *m, struct source_batch *b,
                                struct err *e)
{
    struct source_kafka_part *p = part_of(s, m);
    if (p == NULL || m->offset < 0) return STATUS_OK;
    if ((uint64_t)m->offset < p->next) {
        s->repeated++;
        return STATUS_OK;
    }
    struct source_record *rec = &b->records[b->n];
    p->next = (uint64_t)m->offset + 1;
    p->at_end = p->told_idle = false;
    rec->at = (struct event_position){p->topic, p->partition, (uint64_t)m->offset};
    TRY(keep_raw(s, m, p->topic, b, rec, e));
    const struct arena_mark mark = arena_save(&b->arena);
    TRY(preset_parse(s->preset, rec->raw.value, &b->arena, rec, e));
    if (rec->kind != SOURCE_EVENT) {
        arena_rewind(&b->arena, mark);
        rec->event = (struct event){0};
    }
    rec->event.at = rec->at;
    b->n++;
    return STATUS_OK;
}

/* Faults that pass are logged and waited out; those that don't stop the source. */
static enum status take_fault(struct source_kafka *s, const rd_kafka_message_t *m, struct err *e)
{
    char why[256] = "";
    struct source_kafka_part *p = part_of(s, m);
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (p != NULL && !p->at_end) {
            p->at_end = true;
            p->end_us = s->clock->mono_us(s->clock);
        }
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__FATAL:
        (void)rd_kafka_fatal_error(s->rk, why, sizeof why);
        return ERR_SET(e, STATUS_IO, "kafka: %s", why);
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return ERR_SET(e, STATUS_IO, "topic %s partition %d, at offset %llu: %s",
                       m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "?", (int)m->partition,
                       p != NULL ? (unsigned long long)p->next : 0ull, rd_kafka_message_errstr(m));
    default:
        log_limited(LOG_WARN, "kafka.read", "code=%s reason=\"%s\"", rd_kafka_err2name(m->err),
                    rd_kafka_message_errstr(m));
        return STATUS_OK;
    }
}

/* How long a poll may wait: not past the moment when a partition at its end becomes idle. */
static int wait_for(const struct source_kafka *s, int wait_ms, int64_t now_us)
{
    for (size_t i = 0; i < s->start.n_parts; i++) {
        const struct source_kafka_part *p = &s->start.parts[i];
        if (!p->at_end || p->told_idle) continue;
        const int64_t left_ms = s->conf->join_idle_ms - (now_us - p->end_us) / 1000;
        if (left_ms < wait_ms) wait_ms = left_ms > 0 ? (int)left_ms : 0;
    }
    return wait_ms;
}

static void tell_idle(struct source_kafka *s, struct source_batch *b)
{
    const int64_t now_us = s->clock->mono_us(s->clock);
    for (size_t i = 0; i < s->start.n_parts && b->n < SOURCE_BATCH; i++) {
        struct source_kafka_part *p = &s->start.parts[i];
        if (!p->at_end || p->told_idle || (now_us - p->end_us) / 1000 < s->conf->join_idle_ms) continue;
        p->told_idle = true;
        struct source_record *rec = &b->records[b->n++];
        *rec = (struct source_record){.kind = SOURCE_IDLE, .at = {p->topic, p->partition, p->next}};
    }
}

static int64_t lag(struct source_kafka *s)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->start.n_parts; i++) {
        struct source_kafka_part *p = &s->start.parts[i];
        int64_t lo = -1, hi = -1;
        if (rd_kafka_get_watermark_offsets(s->rk, s->start.topics[p->topic], (int32_t)p->partition, &lo, &hi) ==
                RD_KAFKA_RESP_ERR_NO_ERROR &&
            hi >= 0)
            p->high = (uint64_t)hi; /* of the last answer: no request is made */
        if (p->high > p->next) sum += (int64_t)(p->high - p->next);
    }
    return sum;
}

static enum status kafka_next(struct source *base, struct source_batch *b, int wait_ms, struct err *e)
{
    struct source_kafka *s = (struct source_kafka *)base;
    int wait = wait_for(s, wait_ms, s->clock->mono_us(s->clock));
    while (b->n < SOURCE_BATCH) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, b->n > 0 ? 0 : wait);
        if (m == NULL) break;
        const bool end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        const enum status st = m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? take_fault(s, m, e) : take_message(s, m, b, e);
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && !end) wait = 0; /* a fault told once is enough waiting */
        rd_kafka_message_destroy(m);
        TRY(st);
    }
    tell_idle(s, b);
    b->lag_events = lag(s);
    return b->n > 0 ? STATUS_OK : STATUS_AGAIN;
}

static enum status assign(struct source_kafka *s, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->start.n_parts);
    if (list == NULL) return ERR_SET(e, STATUS_OOM, "kafka: no memory for %zu partitions", s->start.n_parts);
    for (size_t i = 0; i < s->start.n_parts; i++)
        rd_kafka_topic_partition_list_add(list, s->start.topics[s->start.parts[i].topic],
                                          (int32_t)s->start.parts[i].partition)
            ->offset = (int64_t)s->start.parts[i].start;
    const rd_kafka_resp_err_t rc = rd_kafka_assign(s->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "kafka: the partitions can't be assigned: %s", rd_kafka_err2str(rc));
}

static enum status consumer_open(struct source_kafka *s, struct err *e)
{
    char group[128], why[256];
    rd_kafka_conf_t *conf = NULL;
    (void)snprintf(group, sizeof group, "freshet-%.100s", s->conf->model_name);
    const struct source_kafka_pair defaults[] = {{"group.id", group}, {"client.id", "freshet"}};
    static const struct source_kafka_pair own[] = {{"enable.auto.commit", "false"},
                                                   {"enable.auto.offset.store", "false"},
                                                   {"enable.partition.eof", "true"},
                                                   {"auto.offset.reset", "error"}};
    TRY(source_kafka_conf_new(&conf, s->conf, defaults, 2, own, sizeof own / sizeof *own, e));
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    s->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (s->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return ERR_SET(e, STATUS_INVALID, "kafka consumer: %s", why);
    }
    (void)rd_kafka_poll_set_consumer(s->rk);
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
                              .commit = kafka_commit,
                              .bytes_read = kafka_bytes,
                              .bytes_total = kafka_bytes,
                              .partitions = kafka_partitions};
    s->conf = c;
    s->clock = clock;
    TRY_OUT(st, preset_new(&s->preset, c, e));
    TRY_OUT(st, consumer_open(s, e));
    TRY_OUT(st, source_kafka_start(&s->start, s->rk, c, clock, offsets, n_offsets, e));
    TRY_OUT(st, assign(s, e));
    *out = &s->base;
    s = NULL;
out:
    if (s != NULL) kafka_close(&s->base);
    return st;
}
