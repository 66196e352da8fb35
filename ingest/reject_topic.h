/* reject_topic.h - dead letters as messages of a Kafka topic, with Kafka Connect's header names.
 *
 * Key, value, time and headers are the refused message's own; `__connect.errors.*` and `freshet.reason` are appended.  All
 * go to partition 0, in order.  At the start what lies there behind the newest checkpoint is read back: letters that a
 * killed run had sent are known by topic, partition and offset, and not sent again.  Not for other rooms.  Thread: one.
 */
#ifndef INGEST_REJECT_TOPIC_H
#define INGEST_REJECT_TOPIC_H
#include "base/status.h"
#include "schemas/conf.h"
#include <stdbool.h>

struct reject_topic;
struct source_record;
struct reject_topic_start {
    bool known;   /* a checkpoint knows the topic: letters from offset `end` on came after it */
    uint64_t end; /* beyond the topic's end: it was made anew, and is read from its begin */
};
/* A topic that can't be read back is a warning: then letters may be there twice after a crash. */
enum status reject_topic_open(struct reject_topic **out, const struct conf *c, const char *topic,
                              struct reject_topic_start start, struct err *e) MUST_CHECK;
void reject_topic_close(struct reject_topic *t); /* NULL is fine */
/* FULL: much is not acknowledged yet; the letter is taken all the same. */
enum status reject_topic_write(struct reject_topic *t, const struct source_record *rec, const char *stage,
                               struct err *e) MUST_CHECK;
/* All are acknowledged; *end: offset from which on letters are not of what came before this checkpoint.  FULL: not yet; call again. */
enum status reject_topic_sync(struct reject_topic *t, uint64_t *end, struct err *e) MUST_CHECK;
#endif
