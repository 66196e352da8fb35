/* source_kafka_start.h - the Kafka source's partitions, and where each of them begins.
 *
 * Everything that is asked of the brokers once: which partitions there are, their ends, offsets by time.  Later only
 * messages come.  Not for other rooms.
 */
#ifndef INGEST_SOURCE_KAFKA_START_H
#define INGEST_SOURCE_KAFKA_START_H
#include "base/status.h"
#include "ingest/source.h"
#include <stdbool.h>

#define SOURCE_KAFKA_TOPICS 64

struct source_kafka_part {
    uint32_t topic, partition; /* topic: index in ingest.topics */
    uint64_t next;             /* lower offsets were read already */
    uint64_t start, high;      /* high: end of the partition when it was last known */
    bool at_end, told_idle;
    int64_t end_us; /* when the end was reached */
};
struct source_kafka_start {
    char *topics[SOURCE_KAFKA_TOPICS];
    uint32_t n_topics;
    struct source_kafka_part *parts; /* by (topic, partition) */
    size_t n_parts;
};
struct rd_kafka_s;
/* Asks the brokers which partitions there are, and for every one of them an offset: the checkpoint's where it has one (it must
 * still be there), else the earliest if the checkpoint knows others of the topics, else ingest.start.  IO names broker, topic,
 * partition and offsets. */
enum status source_kafka_start(struct source_kafka_start *s, struct rd_kafka_s *rk, const struct conf *c,
                               struct clock *clock, const struct source_offset *offsets, size_t n_offsets,
                               struct err *e) MUST_CHECK;
void source_kafka_start_fini(struct source_kafka_start *s);
#endif
