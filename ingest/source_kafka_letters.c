/* source_kafka_letters.c - one consumer, assigned by hand, until each partition's end. */
#include "ingest/source_kafka_letters.h"
#include "base/mem.h"
#include "ingest/source_kafka_bounds.h"
#include "ingest/source_kafka_conf.h"
#include "ingest/source_kafka_headers.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 200
#define QUIET_MS 30000 /* without a message before the end: something is wrong */

struct reader {
    rd_kafka_t *rk;
    const char *topic;
    int timeout_ms;
    struct buf headers;
    source_letter_fn *fn;
    void *user;
};

static enum status open_consumer(struct reader *r, const struct conf *c, struct err *e)
{
    static const struct source_kafka_pair defaults[] = {{"group.id", "freshet-letters"}, {"client.id", "freshet"}};
    static const struct source_kafka_pair own[] = {{"enable.auto.commit", "false"},
                                                   {"enable.auto.offset.store", "false"},
                                                   {"enable.partition.eof", "true"},
                                                   {"auto.offset.reset", "earliest"}};
    rd_kafka_conf_t *conf = NULL;
    char why[256];
    TRY(source_kafka_conf_new(&conf, c, defaults, 2, own, sizeof own / sizeof *own, e));
    r->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (r->rk != NULL) return STATUS_OK;
    rd_kafka_conf_destroy(conf);
    return ERR_SET(e, STATUS_INVALID, "kafka consumer: %s", why);
}

static enum status failed(const struct reader *r, rd_kafka_resp_err_t rc, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "topic %s can't be read: %s", r->topic, rd_kafka_err2str(rc));
}

static enum status count_partitions(struct reader *r, int32_t *n, struct err *e)
{
    const struct rd_kafka_metadata *about = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(r->rk, r->topic, NULL);
    if (topic == NULL) return ERR_SET(e, STATUS_INVALID, "topic \"%s\": not a name that Kafka allows", r->topic);
    rd_kafka_resp_err_t rc = rd_kafka_metadata(r->rk, 0, topic, &about, r->timeout_ms);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
        rc = about->topic_cnt == 1 ? about->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    *n = rc == RD_KAFKA_RESP_ERR_NO_ERROR ? about->topics[0].partition_cnt : 0;
    if (about != NULL) rd_kafka_metadata_destroy(about);
    rd_kafka_topic_destroy(topic);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_OK : failed(r, rc, e);
}

/* Ours are appended: a letter that was refused a second time has two sets, and the last one counts. */
static struct str header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t n;
    if (headers == NULL || rd_kafka_header_get_last(headers, name, &value, &n) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return (struct str){NULL, 0};
    return (struct str){value, n};
}

static uint64_t number(struct str s)
{
    char digits[24] = "";
    if (s.p == NULL || s.n >= sizeof digits) return 0;
    memcpy(digits, s.p, s.n);
    return strtoull(digits, NULL, 10);
}

static enum status take(struct reader *r, const rd_kafka_message_t *m, struct err *e)
{
    rd_kafka_headers_t *headers = NULL;
    struct reject_letter letter = {.raw = {.key = {m->key, m->key_len}, .value = {m->payload, m->len}}};
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        letter.stage = header(headers, "__connect.errors.stage");
        letter.reason = header(headers, "freshet.reason");
        letter.message = header(headers, "__connect.errors.exception.message");
        letter.raw.topic = header(headers, "__connect.errors.topic");
        letter.at.partition = (uint32_t)number(header(headers, "__connect.errors.partition"));
        letter.at.offset = number(header(headers, "__connect.errors.offset"));
        /* the message's own: those before the last set of ours */
        TRY(source_kafka_headers(&r->headers, m, "__connect.errors.topic", &letter.raw.headers, e));
    }
    letter.raw.time_ms = rd_kafka_message_timestamp(m, NULL);
    return r->fn(r->user, &letter, e);
}

static enum status assign(struct reader *r, int32_t partition, int64_t from, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    if (list == NULL) return ERR_SET(e, STATUS_OOM, "topic %s: no memory to read it", r->topic);
    rd_kafka_topic_partition_list_add(list, r->topic, partition)->offset = from;
    const rd_kafka_resp_err_t rc = rd_kafka_assign(r->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_OK : failed(r, rc, e);
}

static enum status read_until(struct reader *r, int32_t partition, int64_t end, struct err *e)
{
    enum status st = STATUS_OK;
    int quiet_ms = 0;
    for (int64_t next = -1; st == STATUS_OK && next < end;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(r->rk, POLL_MS);
        quiet_ms = m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : quiet_ms + POLL_MS;
        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            next = m->offset + 1;
            if (m->offset < end) st = take(r, m, e);
        } else if (m != NULL && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            next = end; /* the last ones may be control records, which are never given out */
        } else if (m != NULL && (m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                                 m->err == RD_KAFKA_RESP_ERR__AUTHENTICATION)) {
            st = failed(r, m->err, e);
        } else if (quiet_ms >= QUIET_MS) {
            st = ERR_SET(e, STATUS_IO, "topic %s partition %d: nothing came for %d s before its end at offset %lld",
                         r->topic, (int)partition, QUIET_MS / 1000, (long long)end);
        }
        if (m != NULL) rd_kafka_message_destroy(m);
    }
    return st;
}

static enum status read_partition(struct reader *r, int32_t partition, uint64_t from, struct err *e)
{
    uint64_t first, next;
    const int rc = source_kafka_bounds(r->rk, r->topic, (uint32_t)partition, r->timeout_ms, &first, &next);
    if (rc != 0) return failed(r, (rd_kafka_resp_err_t)rc, e);
    if (from < first) from = first;
    if (from >= next) return STATUS_OK;
    TRY(assign(r, partition, (int64_t)from, e));
    const enum status st = read_until(r, partition, (int64_t)next, e);
    (void)rd_kafka_assign(r->rk, NULL);
    return st;
}

enum status source_letters_read(const struct conf *c, const char *topic, int32_t partition, uint64_t from,
                                source_letter_fn *fn, void *user, struct err *e)
{
    struct reader r = {.topic = topic, .timeout_ms = source_kafka_timeout_ms(c), .fn = fn, .user = user};
    enum status st;
    int32_t n = 0;
    TRY_OUT(st, open_consumer(&r, c, e));
    (void)rd_kafka_poll_set_consumer(r.rk);
    TRY_OUT(st, count_partitions(&r, &n, e));
    for (int32_t i = 0; i < n && st == STATUS_OK; i++)
        if (partition == SOURCE_LETTERS_ALL || partition == i) st = read_partition(&r, i, from, e);
out:
    if (r.rk != NULL) {
        (void)rd_kafka_consumer_close(r.rk);
        rd_kafka_destroy(r.rk);
    }
    buf_fini(&r.headers);
    return st;
}
