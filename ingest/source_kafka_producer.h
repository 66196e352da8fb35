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
#include <stdbool.h>
#include <stdint.h>

struct source_producer;
struct source_producer_header {
    const char *name;
    struct str value; /* .p NULL: absent */
};
/* A broker that does not answer, and a topic that is not there, are IO naming it. */
enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic,
                                 struct err *e) MUST_CHECK;
/* For dead letters: all go to partition 0, in order, and wait for the brokers as long as it takes.  One that the brokers find
 * too large goes without its value, with its size in the header freshet.value_bytes. */
enum status source_producer_open_letters(struct source_producer **out, const struct conf *c, const char *topic,
                                         struct err *e) MUST_CHECK;
/* key absent: any partition.  time_ms: 0 now.  Bytes are copied.  Waits while librdkafka's queue is full.  IO once a delivery
 * has failed, and when source_interrupt ends that wait: then this message was not taken. */
enum status source_producer_send_at(struct source_producer *p, struct str key, struct str value, int64_t time_ms,
                                    const struct source_producer_header *headers, size_t n_headers,
                                    struct err *e) MUST_CHECK;
enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n_headers,
                                 struct err *e) MUST_CHECK;
/* Waits until all is acknowledged; IO with the number of failures and the first reason; after timeout_ms IO, of letters FULL
 * (call again). */
enum status source_producer_flush(struct source_producer *p, int timeout_ms, struct err *e) MUST_CHECK;
/* So much is not acknowledged yet, in bytes or in messages, that the queue should be let run empty (a quarter of what it
 * takes): the next ones might have to wait. */
bool source_producer_filled(const struct source_producer *p);
/* Offset after the newest acknowledged message of partition 0; 0: none yet. */
uint64_t source_producer_end(const struct source_producer *p);
/* First and next offset of partition 0, asked of the broker. */
enum status source_producer_bounds(struct source_producer *p, uint64_t *first, uint64_t *next,
                                   struct err *e) MUST_CHECK;
void source_producer_close(struct source_producer *p); /* without flushing; NULL is fine */
#endif
