/* source_kafka_producer.c - rd_kafka_produceva with delivery reports counted. */
#include "ingest/source_kafka_producer.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/source_kafka_bounds.h"
#include "ingest/source_kafka_conf.h"
#include "ingest/source_ops.h"
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 100
#define BOUNDS_MS 10000
#define OVERHEAD_BYTES 131072 /* what key and headers may add to a message's value */

struct source_producer {
    rd_kafka_t *rk;
    char *topic;
    bool letters;
    uint64_t end; /* offset after the newest acknowledged message of partition 0 */
    size_t waiting_bytes;
    size_t most_bytes, most_messages; /* at which librdkafka takes no more */
    uint64_t failed, shortened;
    char why[200]; /* of the first failure */
};

static void failed(struct source_producer *p, rd_kafka_resp_err_t rc)
{
    if (p->failed++ == 0) (void)snprintf(p->why, sizeof p->why, "%s", rd_kafka_err2str(rc));
}

/* Takes over headers on success. */
static rd_kafka_resp_err_t produce(struct source_producer *p, struct str key, struct str value, int64_t time_ms,
                                   rd_kafka_headers_t *headers)
{
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = p->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = p->letters ? 0 : RD_KAFKA_PARTITION_UA},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key.p, key.n}}, /* copied, not written */
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value.p, value.n}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = time_ms},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers}, /* last: left out when there are none */
    };
    const size_t n = sizeof parts / sizeof *parts;
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, parts, headers != NULL ? n : n - 1);
    const rd_kafka_resp_err_t rc = rd_kafka_error_code(error); /* NULL: no error */
    rd_kafka_error_destroy(error);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) p->waiting_bytes += key.n + value.n;
    return rc;
}

/* As produce, but waits while too much is under way.  What finds no room when nothing is under way never will. */
static rd_kafka_resp_err_t produce_waiting(struct source_producer *p, struct str key, struct str value, int64_t time_ms,
                                           rd_kafka_headers_t *headers)
{
    rd_kafka_resp_err_t rc;
    while ((rc = produce(p, key, value, time_ms, headers)) == RD_KAFKA_RESP_ERR__QUEUE_FULL && p->failed == 0) {
        if (rd_kafka_outq_len(p->rk) == 0) return RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        if (source_interrupted()) return rc;
        (void)rd_kafka_poll(p->rk, POLL_MS);
    }
    return rc;
}

typedef rd_kafka_resp_err_t produce_fn(struct source_producer *, struct str, struct str, int64_t, rd_kafka_headers_t *);

/* The letter without its value: where the message is stays known, and the stream goes on. */
static rd_kafka_resp_err_t shorten(struct source_producer *p, produce_fn *put, struct str key, size_t n,
                                   int64_t time_ms, const rd_kafka_headers_t *headers)
{
    char bytes[24];
    rd_kafka_headers_t *more = headers != NULL ? rd_kafka_headers_copy(headers) : rd_kafka_headers_new(1);
    (void)snprintf(bytes, sizeof bytes, "%zu", n);
    rd_kafka_resp_err_t rc = rd_kafka_header_add(more, "freshet.value_bytes", -1, bytes, -1);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) rc = put(p, key, (struct str){NULL, 0}, time_ms, more);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(more);
    if (p->shortened++ == 0)
        log_warn("dead_letters",
                 "topic=%s text=\"a message of %zu bytes is too large for it and goes without its value\"", p->topic,
                 n);
    return rc;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct source_producer *p = opaque;
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_resp_err_t rc = m->err;
    (void)rk;
    p->waiting_bytes -= m->len + m->key_len;
    if (rc == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && p->letters && m->payload != NULL) {
        (void)rd_kafka_message_headers(m, &headers);
        const int64_t time_ms = rd_kafka_message_timestamp(m, NULL);
        rc = shorten(p, produce, (struct str){m->key, m->key_len}, m->len, time_ms > 0 ? time_ms : 0, headers);
    } else if (rc == RD_KAFKA_RESP_ERR_NO_ERROR && m->partition == 0 && m->offset >= 0 &&
               (uint64_t)m->offset >= p->end) {
        p->end = (uint64_t)m->offset + 1;
    }
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) failed(p, rc);
}

static enum status failure(const struct source_producer *p, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "topic %s: %llu messages were not delivered: %s", p->topic,
                   (unsigned long long)p->failed, p->why);
}

static enum status check_topic(struct source_producer *p, const struct conf *c, struct err *e)
{
    const struct rd_kafka_metadata *about = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(p->rk, p->topic, NULL);
    if (topic == NULL) return ERR_SET(e, STATUS_INVALID, "topic \"%s\": not a name that Kafka allows", p->topic);
    rd_kafka_resp_err_t rc = rd_kafka_metadata(p->rk, 0, topic, &about, source_kafka_timeout_ms(c));
    const bool reached = rc == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (reached) rc = about->topic_cnt == 1 ? about->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (about != NULL) rd_kafka_metadata_destroy(about);
    rd_kafka_topic_destroy(topic);
    if (!reached)
        return ERR_SET(e, STATUS_IO, "kafka.bootstrap.servers=%s: no answer within %d ms: %s",
                       source_kafka_get(c, "bootstrap.servers"), source_kafka_timeout_ms(c), rd_kafka_err2str(rc));
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR || rc == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "topic %s: %s; create it first", p->topic, rd_kafka_err2str(rc));
}

static enum status make_conf(const struct source_producer *p, rd_kafka_conf_t **out, const struct conf *c,
                             struct err *e)
{
    static const struct source_kafka_pair own[] = {{"enable.idempotence", "true"}};
    char most[24];
    const long long bytes = (long long)c->ingest_max_bytes + OVERHEAD_BYTES;
    (void)snprintf(most, sizeof most, "%lld", bytes > 1000000 ? bytes : 1000000ll);
    /* letters: a batch small enough that only a letter by itself is ever too large */
    const struct source_kafka_pair defaults[] = {{"client.id", "freshet"},
                                                 {"request.timeout.ms", "6000"},
                                                 {"message.max.bytes", most},
                                                 {"partitioner", "murmur2_random"},
                                                 {"message.timeout.ms", p->letters ? "0" : "60000"},
                                                 {"batch.size", p->letters ? "262144" : "1000000"},
                                                 {"queue.buffering.max.kbytes", p->letters ? "131072" : "1048576"}};
    return source_kafka_conf_new(out, c, defaults, sizeof defaults / sizeof *defaults, own, 1, e);
}

static size_t conf_number(const rd_kafka_conf_t *conf, const char *key)
{
    char text[24];
    size_t n = sizeof text;
    const size_t number = rd_kafka_conf_get(conf, key, text, &n) == RD_KAFKA_CONF_OK ? strtoul(text, NULL, 10) : 0;
    return number > 0 ? number : UINT32_MAX; /* 0: no limit */
}

static enum status open_producer(struct source_producer **out, const struct conf *c, const char *topic, bool letters,
                                 struct err *e)
{
    enum status st = STATUS_OK;
    rd_kafka_conf_t *conf = NULL;
    char why[256];
    *out = NULL;
    struct source_producer *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "producer: no memory for its state");
    p->letters = letters;
    p->topic = mem_strdup(topic);
    if (p->topic == NULL) {
        st = ERR_SET(e, STATUS_OOM, "producer: no memory for its state");
        goto out;
    }
    TRY_OUT(st, make_conf(p, &conf, c, e));
    p->most_bytes = conf_number(conf, "queue.buffering.max.kbytes") * 1024;
    p->most_messages = conf_number(conf, "queue.buffering.max.messages");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, p);
    p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (p->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        st = ERR_SET(e, STATUS_INVALID, "kafka producer: %s", why);
        goto out;
    }
    TRY_OUT(st, check_topic(p, c, e));
    *out = p;
    p = NULL;
out:
    source_producer_close(p);
    return st;
}

enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic, struct err *e)
{
    return open_producer(out, c, topic, false, e);
}

enum status source_producer_open_letters(struct source_producer **out, const struct conf *c, const char *topic,
                                         struct err *e)
{
    return open_producer(out, c, topic, true, e);
}

void source_producer_close(struct source_producer *p)
{
    if (p == NULL) return;
    if (p->rk != NULL) {
        (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(p->rk);
    }
    mem_free(p->topic);
    mem_free(p);
}

static rd_kafka_headers_t *headers_of(const struct source_producer_header *headers, size_t n, rd_kafka_resp_err_t *rc)
{
    rd_kafka_headers_t *list = n > 0 ? rd_kafka_headers_new(n) : NULL;
    for (size_t i = 0; i < n && *rc == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        *rc = rd_kafka_header_add(list, headers[i].name, -1, headers[i].value.p, (ssize_t)headers[i].value.n);
    return list;
}

enum status source_producer_send_at(struct source_producer *p, struct str key, struct str value, int64_t time_ms,
                                    const struct source_producer_header *headers, size_t n_headers, struct err *e)
{
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_headers_t *list = headers_of(headers, n_headers, &rc);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rc = produce_waiting(p, key, value, time_ms, list);
        if (rc == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && p->letters && value.p != NULL)
            rc = shorten(p, produce_waiting, key, value.n, time_ms, list);
        else if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
            list = NULL;
    }
    if (list != NULL) rd_kafka_headers_destroy(list);
    (void)rd_kafka_poll(p->rk, 0);
    if (p->failed > 0) return failure(p, e);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "topic %s: %s%s", p->topic, rd_kafka_err2str(rc),
                   rc == RD_KAFKA_RESP_ERR__QUEUE_FULL ? "; told to stop before its brokers took what waits" : "");
}

enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n_headers, struct err *e)
{
    return source_producer_send_at(p, key, value, 0, headers, n_headers, e);
}

enum status source_producer_flush(struct source_producer *p, int timeout_ms, struct err *e)
{
    const rd_kafka_resp_err_t rc = rd_kafka_flush(p->rk, timeout_ms);
    if (p->failed > 0) return failure(p, e);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, p->letters ? STATUS_FULL : STATUS_IO,
                   "topic %s: %d messages are still not acknowledged after %d ms; see whether its brokers are up",
                   p->topic, rd_kafka_outq_len(p->rk), timeout_ms);
}

bool source_producer_filled(const struct source_producer *p)
{
    return p->waiting_bytes >= p->most_bytes / 4 || (size_t)rd_kafka_outq_len(p->rk) >= p->most_messages / 5;
}

uint64_t source_producer_end(const struct source_producer *p)
{
    return p->end;
}

enum status source_producer_bounds(struct source_producer *p, uint64_t *first, uint64_t *next, struct err *e)
{
    const int rc = source_kafka_bounds(p->rk, p->topic, 0, BOUNDS_MS, first, next);
    if (rc == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "topic %s: its end can't be asked: %s", p->topic,
                   rd_kafka_err2str((rd_kafka_resp_err_t)rc));
}
