/* source_kafka_start.c - metadata, watermark offsets and offsets by time, asked once at the start. */
#include "ingest/source_kafka_start.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/parse_text.h"
#include "ingest/source_kafka_conf.h"
#include "ingest/source_ops.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

struct starter {
    struct source_kafka_start *out;
    rd_kafka_t *rk;
    const struct conf *conf;
    int timeout_ms;
    struct err *e;
};

/* Questions are put in slices that double, so that being told to stop ends the wait for a broker within a second or two.
 * True: ask once more, for at most *slice_ms. */
#define FIRST_SLICE_MS 500
static bool ask_again(const struct starter *s, rd_kafka_resp_err_t rc, int *spent_ms, int *slice_ms)
{
    *spent_ms += *slice_ms;
    *slice_ms = 2 * *slice_ms < s->timeout_ms - *spent_ms ? 2 * *slice_ms : s->timeout_ms - *spent_ms;
    if (rc != RD_KAFKA_RESP_ERR__TIMED_OUT && rc != RD_KAFKA_RESP_ERR__TRANSPORT) return false;
    return *slice_ms > 0 && !source_interrupted();
}

static int first_slice_ms(const struct starter *s)
{
    return s->timeout_ms < FIRST_SLICE_MS ? s->timeout_ms : FIRST_SLICE_MS;
}

static enum status no_memory(const struct starter *s)
{
    return ERR_SET(s->e, STATUS_OOM, "kafka: no memory for the partitions of %s", s->conf->ingest_topics);
}

static enum status unreachable(const struct starter *s, rd_kafka_resp_err_t rc)
{
    if (source_interrupted()) return ERR_SET(s->e, STATUS_END, "told to stop before the broker answered");
    return ERR_SET(s->e, STATUS_IO, "kafka.bootstrap.servers=%s: no answer within %d ms: %s",
                   source_kafka_get(s->conf, "bootstrap.servers"), s->timeout_ms, rd_kafka_err2str(rc));
}

/* "a, b,c" into names. */
static enum status read_topics(const struct starter *s)
{
    struct source_kafka_start *o = s->out;
    for (const char *at = s->conf->ingest_topics; *at != 0;) {
        const size_t blank = strspn(at, ", ");
        const size_t n = strcspn(at + blank, ", ");
        if (n > 0 && o->n_topics == SOURCE_KAFKA_TOPICS)
            return ERR_SET(s->e, STATUS_INVALID, "ingest.topics: more than %d topics", SOURCE_KAFKA_TOPICS);
        if (n > 0 && (o->topics[o->n_topics++] = mem_strndup(at + blank, n)) == NULL) return no_memory(s);
        at += blank + n;
    }
    return o->n_topics > 0 ? STATUS_OK
                           : ERR_SET(s->e, STATUS_INVALID, "ingest.topics is empty; name the topics to read");
}

static enum status add_parts(const struct starter *s, uint32_t topic, const rd_kafka_metadata_topic_t *about)
{
    struct source_kafka_start *o = s->out;
    void *parts = mem_realloc(o->parts, o->n_parts + (size_t)about->partition_cnt, sizeof *o->parts);
    if (parts == NULL) return no_memory(s);
    o->parts = parts;
    for (int i = 0; i < about->partition_cnt; i++) { /* Kafka numbers them from 0; the answer may have any order */
        struct source_kafka_part *p = &o->parts[o->n_parts++];
        *p = (struct source_kafka_part){.topic = topic, .partition = (uint32_t)i};
    }
    return STATUS_OK;
}

static enum status find_parts(const struct starter *s, uint32_t topic)
{
    const char *name = s->out->topics[topic];
    const struct rd_kafka_metadata *about = NULL;
    enum status st = STATUS_OK;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(s->rk, name, NULL);
    if (rkt == NULL) return ERR_SET(s->e, STATUS_INVALID, "ingest.topics: \"%s\" is no name that Kafka allows", name);
    int spent_ms = 0, slice_ms = first_slice_ms(s);
    rd_kafka_resp_err_t rc;
    do rc = rd_kafka_metadata(s->rk, 0, rkt, &about, slice_ms);
    while (ask_again(s, rc, &spent_ms, &slice_ms));
    rd_kafka_topic_destroy(rkt);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) return unreachable(s, rc);
    if (about->topic_cnt != 1 || about->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR ||
        about->topics[0].partition_cnt == 0)
        st = ERR_SET(s->e, STATUS_IO, "topic %s at %s: %s; create it, or mend ingest.topics", name,
                     source_kafka_get(s->conf, "bootstrap.servers"),
                     rd_kafka_err2str(about->topic_cnt == 1 && about->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR
                                          ? about->topics[0].err
                                          : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
    else
        st = add_parts(s, topic, &about->topics[0]);
    rd_kafka_metadata_destroy(about);
    return st;
}

/* What ingest.start means: a logical end, or a time in ms. */
enum begin { BEGIN_EARLIEST, BEGIN_LATEST, BEGIN_TIME };

static enum status read_begin(const struct starter *s, struct clock *clock, enum begin *begin, int64_t *ms)
{
    const char *text = s->conf->ingest_start;
    *begin = strcmp(text, "latest") == 0 ? BEGIN_LATEST : BEGIN_EARLIEST;
    if (*begin == BEGIN_LATEST || strcmp(text, "earliest") == 0 || strcmp(text, "checkpoint") == 0) return STATUS_OK;
    *begin = BEGIN_TIME;
    if (strncmp(text, "ts=", 3) == 0) {
        if (parse_digits(str_from(text + 3), ms) || clock_parse_rfc3339(str_from(text + 3), ms)) return STATUS_OK;
        return ERR_SET(s->e, STATUS_INVALID, "ingest.start=%s: not RFC 3339 with a zone, and not milliseconds", text);
    }
    if (strncmp(text, "last=", 5) == 0) {
        TRY(conf_duration_ms(text + 5, ms, s->e));
        *ms = clock->wall_ms(clock) - *ms;
        return STATUS_OK;
    }
    return ERR_SET(s->e, STATUS_INVALID, "ingest.start=%s: give checkpoint, earliest, latest, ts=TIME or last=DURATION",
                   text);
}

/* The partition's first and next offset. */
static enum status query_ends(const struct starter *s, struct source_kafka_part *p, uint64_t *low)
{
    int64_t lo = 0, hi = 0;
    const char *name = s->out->topics[p->topic];
    const rd_kafka_resp_err_t rc =
        rd_kafka_query_watermark_offsets(s->rk, name, (int32_t)p->partition, &lo, &hi, s->timeout_ms);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_SET(s->e, STATUS_IO, "topic %s partition %u: its offsets can't be had: %s", name, p->partition,
                       rd_kafka_err2str(rc));
    *low = lo > 0 ? (uint64_t)lo : 0;
    p->high = hi > 0 ? (uint64_t)hi : 0;
    return STATUS_OK;
}

/* The first offset at or after ms; the end when there is none. */
static enum status query_time(const struct starter *s, struct source_kafka_part *p, int64_t ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    if (list == NULL) return no_memory(s);
    rd_kafka_topic_partition_list_add(list, s->out->topics[p->topic], (int32_t)p->partition)->offset = ms > 0 ? ms : 0;
    rd_kafka_resp_err_t rc = rd_kafka_offsets_for_times(s->rk, list, s->timeout_ms);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) rc = list->elems[0].err;
    p->start = list->elems[0].offset >= 0 ? (uint64_t)list->elems[0].offset : p->high;
    rd_kafka_topic_partition_list_destroy(list);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(s->e, STATUS_IO, "topic %s partition %u: no offset by time: %s", s->out->topics[p->topic],
                   p->partition, rd_kafka_err2str(rc));
}

static enum status check_checkpoint(const struct starter *s, const struct source_kafka_part *p, uint64_t low)
{
    if (p->start >= low && p->start <= p->high) return STATUS_OK;
    return ERR_SET(s->e, STATUS_IO,
                   "topic %s partition %u: the checkpoint goes on at offset %llu, but the topic has %llu to %llu: "
                   "events were %s; take a "
                   "new state.dir, or restore the topic",
                   s->out->topics[p->topic], p->partition, (unsigned long long)p->start, (unsigned long long)low,
                   (unsigned long long)p->high,
                   p->start < low ? "deleted before they were read" : "lost, or the topic is another one");
}

static enum status set_start(const struct starter *s, struct source_kafka_part *p, const struct source_offset *offsets,
                             size_t n_offsets, enum begin begin, int64_t ms)
{
    uint64_t low = 0;
    TRY(query_ends(s, p, &low));
    p->start = low;
    if (n_offsets == 0 && begin == BEGIN_LATEST) p->start = p->high;
    if (n_offsets == 0 && begin == BEGIN_TIME) TRY(query_time(s, p, ms));
    for (size_t i = 0; i < n_offsets; i++) {
        if (offsets[i].topic != p->topic || offsets[i].partition != p->partition) continue;
        p->start = offsets[i].next;
        TRY(check_checkpoint(s, p, low));
    }
    p->next = p->start;
    return STATUS_OK;
}

enum status source_kafka_start(struct source_kafka_start *o, struct rd_kafka_s *rk, const struct conf *c,
                               struct clock *clock, const struct source_offset *offsets, size_t n_offsets,
                               struct err *e)
{
    const struct starter s = {.out = o, .rk = rk, .conf = c, .timeout_ms = source_kafka_timeout_ms(c), .e = e};
    enum begin begin = BEGIN_EARLIEST;
    int64_t ms = 0;
    TRY(read_begin(&s, clock, &begin, &ms));
    TRY(read_topics(&s));
    for (uint32_t i = 0; i < o->n_topics; i++) TRY(find_parts(&s, i));
    for (size_t i = 0; i < n_offsets; i++) {
        bool there = false;
        for (size_t k = 0; k < o->n_parts; k++)
            there = there || (o->parts[k].topic == offsets[i].topic && o->parts[k].partition == offsets[i].partition);
        if (!there)
            return ERR_SET(
                e, STATUS_IO,
                "the checkpoint has offsets for partition %u of topic %u in ingest.topics=%s, which is not there",
                offsets[i].partition, offsets[i].topic, c->ingest_topics);
    }
    for (size_t i = 0; i < o->n_parts; i++) TRY(set_start(&s, &o->parts[i], offsets, n_offsets, begin, ms));
    return STATUS_OK;
}

void source_kafka_start_fini(struct source_kafka_start *o)
{
    for (uint32_t i = 0; i < o->n_topics; i++) mem_free(o->topics[i]);
    mem_free(o->parts);
    *o = (struct source_kafka_start){0};
}
