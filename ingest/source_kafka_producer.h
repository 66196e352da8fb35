/* source_kafka_producer.h - a small idempotent producer: what `convert --topic` and dead letters to a topic write through.
 *
 * Each message is in the topic once and in order per key, or the flush says how many are not and why.  UNSUPPORTED when
 * built without Kafka.  Thread: one.
 */
#ifndef INGEST_SOURCE_KAFKA_PRODUCER_H
#define INGEST_SOURCE_KAFKA_PRODUCER_H
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"

struct source_producer;
struct source_producer_header {
    const char *name;
    struct str value;
};
/* A broker that does not answer, and a topic that is not there, are IO naming it. */
enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic,
                                 struct err *e) MUST_CHECK;
/* key absent: any partition.  Bytes are copied.  Waits while too much is under way.  IO once a delivery has failed. */
enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n_headers,
                                 struct err *e) MUST_CHECK;
/* Waits until all is acknowledged; IO with the number of failures and the first reason, or after timeout_ms. */
enum status source_producer_flush(struct source_producer *p, int timeout_ms, struct err *e) MUST_CHECK;
void source_producer_close(struct source_producer *p); /* without flushing; NULL is fine */
#endif
