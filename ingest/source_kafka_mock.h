/* source_kafka_mock.h - a Kafka cluster of one broker inside this process: librdkafka's mock, for measuring without a real one.
 *
 * It keeps the newest 5 MiB of a partition in memory, on loopback, for as long as it is open.  Thread: one; others may
 * produce to it and consume from it.
 */
#ifndef INGEST_SOURCE_KAFKA_MOCK_H
#define INGEST_SOURCE_KAFKA_MOCK_H
#include "base/status.h"

struct source_mock;
/* With one topic of so many partitions.  UNSUPPORTED when built without Kafka; IO. */
enum status source_mock_open(struct source_mock **out, const char *topic, int partitions, struct err *e) MUST_CHECK;
const char *source_mock_servers(const struct source_mock *m); /* its kafka.bootstrap.servers */
void source_mock_close(struct source_mock *m);                /* NULL is fine */
#endif
