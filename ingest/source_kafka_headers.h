/* source_kafka_headers.h - a Kafka message's headers as the JSON object that a record carries (reject_headers.h).
 *
 * Every value and every repeat is kept; a message without headers gives nothing.  Not for other rooms.
 */
#ifndef INGEST_SOURCE_KAFKA_HEADERS_H
#define INGEST_SOURCE_KAFKA_HEADERS_H
#include "base/buf.h"
#include "base/str.h"

struct rd_kafka_message_s;
/* The headers before the last one named `until` (NULL: all), written into b (emptied first); *out points into b, absent when
 * there are none.  OOM. */
enum status source_kafka_headers(struct buf *b, const struct rd_kafka_message_s *m, const char *until, struct str *out,
                                 struct err *e) MUST_CHECK;
#endif
