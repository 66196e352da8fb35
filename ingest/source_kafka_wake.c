/* source_kafka_wake.c - a fetcher that sleeps although its queue has run empty is woken.
 *
 * librdkafka (before 2.2) looks at its queue when a fetch comes back; a queue that is full then is looked at again only
 * when the broker's thread has anything to do, a second later at the latest.  A reader that empties it in 30 ms would read
 * a fifth of what it can.  A question to the partitions' leaders is something to do; its answer is of no interest.
 */
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>

enum { WAKE_MS = 2000 }; /* a request that is not answered by then may cost the connection */

static uint64_t number(const struct conf *c, const char *key, uint64_t otherwise)
{
    const char *text = source_kafka_get(c, key);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

void source_kafka_wake_init(struct source_kafka *s)
{
    s->full_messages = number(s->conf, "queued.min.messages", SOURCE_KAFKA_QUEUE_MESSAGES);
    s->full_bytes = number(s->conf, "queued.max.messages.kbytes", SOURCE_KAFKA_QUEUE_KBYTES) * 1024;
}

/* Messages that the last answer told of and that have not come. */
static bool behind(struct source_kafka *s, const struct source_kafka_part *p)
{
    int64_t low = -1, high = -1;
    return p->owned && !p->leaving && !p->at_end &&
           rd_kafka_get_watermark_offsets(s->rk, s->topics[p->topic].name, (int32_t)p->partition, &low, &high) ==
               RD_KAFKA_RESP_ERR_NO_ERROR &&
           high > (int64_t)p->next;
}

static rd_kafka_topic_partition_list_t *list_behind(struct source_kafka *s)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (size_t i = 0; list != NULL && i < s->n_parts; i++) {
        const struct source_kafka_part *p = &s->parts[i];
        if (behind(s, p))
            rd_kafka_topic_partition_list_add(list, s->topics[p->topic].name, (int32_t)p->partition)->offset =
                RD_KAFKA_OFFSET_END;
    }
    return list;
}

void source_kafka_wake(struct source_kafka *s)
{
    const bool was_full = s->run_messages >= s->full_messages || s->run_bytes >= s->full_bytes;
    s->run_messages = s->run_bytes = 0;
    if (!was_full || !s->health.up) return;
    rd_kafka_topic_partition_list_t *list = list_behind(s);
    if (list == NULL) return;
    if (list->cnt > 0) (void)rd_kafka_offsets_for_times(s->rk, list, WAKE_MS);
    rd_kafka_topic_partition_list_destroy(list);
}
