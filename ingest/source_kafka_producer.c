/* source_kafka_producer.c - rd_kafka_produceva with delivery reports counted. */
#include "ingest/source_kafka_producer.h"
#include "base/mem.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 100

struct source_producer {
    rd_kafka_t *rk;
    char *topic;
    uint64_t failed;
    char why[200]; /* of the first failure */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct source_producer *p = opaque;
    (void)rk;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (p->failed++ == 0) (void)snprintf(p->why, sizeof p->why, "%s", rd_kafka_err2str(m->err));
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

enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic, struct err *e)
{
    static const struct source_kafka_pair defaults[] = {{"client.id", "freshet"},
                                                        {"request.timeout.ms", "6000"},
                                                        {"message.timeout.ms", "60000"},
                                                        {"partitioner", "murmur2_random"}};
    static const struct source_kafka_pair own[] = {{"enable.idempotence", "true"}};
    enum status st = STATUS_OK;
    rd_kafka_conf_t *conf = NULL;
    char why[256];
    *out = NULL;
    struct source_producer *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "producer: no memory for its state");
    p->topic = mem_strdup(topic);
    if (p->topic == NULL) {
        st = ERR_SET(e, STATUS_OOM, "producer: no memory for its state");
        goto out;
    }
    TRY_OUT(st, source_kafka_conf_new(&conf, c, defaults, sizeof defaults / sizeof *defaults, own, 1, e));
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

/* Takes over headers on success. */
static rd_kafka_resp_err_t produce(struct source_producer *p, struct str key, struct str value,
                                   rd_kafka_headers_t *headers)
{
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = p->topic},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key.p, key.n}}, /* copied, not written */
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value.p, value.n}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers}, /* last: left out when there are none */
    };
    const size_t n = sizeof parts / sizeof *parts;
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, parts, headers != NULL ? n : n - 1);
    const rd_kafka_resp_err_t rc = rd_kafka_error_code(error); /* NULL: no error */
    rd_kafka_error_destroy(error);
    return rc;
}

enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n_headers, struct err *e)
{
    rd_kafka_headers_t *list = n_headers > 0 ? rd_kafka_headers_new(n_headers) : NULL;
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < n_headers && rc == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        rc = rd_kafka_header_add(list, headers[i].name, -1, headers[i].value.p, (ssize_t)headers[i].value.n);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
        while ((rc = produce(p, key, value, list)) == RD_KAFKA_RESP_ERR__QUEUE_FULL && p->failed == 0)
            (void)rd_kafka_poll(p->rk, POLL_MS);
    }
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL) rd_kafka_headers_destroy(list);
    (void)rd_kafka_poll(p->rk, 0);
    if (p->failed > 0) return failure(p, e);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "topic %s: %s", p->topic, rd_kafka_err2str(rc));
}

enum status source_producer_flush(struct source_producer *p, int timeout_ms, struct err *e)
{
    const rd_kafka_resp_err_t rc = rd_kafka_flush(p->rk, timeout_ms);
    if (p->failed > 0) return failure(p, e);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "topic %s: %d messages are still not acknowledged after %d ms", p->topic,
                   rd_kafka_outq_len(p->rk), timeout_ms);
}
