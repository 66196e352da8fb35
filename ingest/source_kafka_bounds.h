/* source_kafka_bounds.h - first and next offset of a partition, asked one after the other.
 *
 * rd_kafka_query_watermark_offsets (librdkafka 2.0) asks both at once and forgets the error of one when the other's answer
 * comes behind it: the partition then looks empty at one of its ends, which is taken for a truncated or a new topic.
 * Not for other rooms.  Thread: any.
 */
#ifndef INGEST_SOURCE_KAFKA_BOUNDS_H
#define INGEST_SOURCE_KAFKA_BOUNDS_H
#include <stdint.h>

struct rd_kafka_s;
/* rd_kafka_resp_err_t: 0 (both are filled) or why not; waits at most 2 * timeout_ms. */
int source_kafka_bounds(struct rd_kafka_s *rk, const char *topic, uint32_t partition, int timeout_ms, uint64_t *first,
                        uint64_t *next);
#endif
