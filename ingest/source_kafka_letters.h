/* source_kafka_letters.h - reads a topic of dead letters from one place to its end, once.
 *
 * Of what lies in the topic that it can't be a letter of ours (headers of Kafka Connect alone are enough) nothing is given
 * out but its place.  No group is joined and nothing is committed.  Not for other rooms but cli.  Thread: one.
 */
#ifndef INGEST_SOURCE_KAFKA_LETTERS_H
#define INGEST_SOURCE_KAFKA_LETTERS_H
#include "ingest/reject_letter.h"

/* letter->raw: the message as it was refused, its own headers, time and place; `stage` without a letter's headers is absent.
 * Strings live until it returns. */
typedef enum status source_letter_fn(void *user, const struct reject_letter *letter, struct err *e);
#define SOURCE_LETTERS_ALL (-1)
/* From offset `from` (or what is left after it) to the end that the partition has when the call begins; SOURCE_LETTERS_ALL:
 * of every partition.  IO: broker, topic or rights, named; what fn returns, when it is not OK.  UNSUPPORTED when built
 * without Kafka. */
enum status source_letters_read(const struct conf *c, const char *topic, int32_t partition, uint64_t from,
                                source_letter_fn *fn, void *user, struct err *e) MUST_CHECK;
#endif
