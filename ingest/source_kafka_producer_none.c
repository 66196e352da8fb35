/* source_kafka_producer_none.c - stands in for the producer when freshet is built without Kafka: opening says so. */
#include "ingest/source_kafka_producer.h"

static enum status none(struct err *e)
{
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "kafka: this freshet is built without it; configure with FRESHET_WITH_KAFKA=ON");
}

enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic, struct err *e)
{
    (void)c;
    (void)topic;
    *out = NULL;
    return none(e);
}

enum status source_producer_open_letters(struct source_producer **out, const struct conf *c, const char *topic,
                                         struct err *e)
{
    return source_producer_open(out, c, topic, e);
}

/* Nobody holds a producer in such a build. */
enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n_headers, struct err *e)
{
    return source_producer_send_at(p, key, value, 0, headers, n_headers, e);
}

enum status source_producer_send_at(struct source_producer *p, struct str key, struct str value, int64_t time_ms,
                                    const struct source_producer_header *headers, size_t n_headers, struct err *e)
{
    (void)p;
    (void)key;
    (void)value;
    (void)time_ms;
    (void)headers;
    (void)n_headers;
    return none(e);
}

enum status source_producer_flush(struct source_producer *p, int timeout_ms, struct err *e)
{
    (void)p;
    (void)timeout_ms;
    return none(e);
}

bool source_producer_filled(const struct source_producer *p)
{
    (void)p;
    return false;
}

uint64_t source_producer_end(const struct source_producer *p)
{
    (void)p;
    return 0;
}

enum status source_producer_bounds(struct source_producer *p, uint64_t *first, uint64_t *next, struct err *e)
{
    (void)p;
    *first = *next = 0;
    return none(e);
}

void source_producer_close(struct source_producer *p)
{
    (void)p;
}
