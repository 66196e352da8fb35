/* source_kafka_wake.c - how much is fetched ahead; and a fetcher that sleeps although its queue has run empty is woken.
 *
 * librdkafka (before 2.2) looks at a partition's queue when a fetch comes back; one that is full then is looked at again only
 * when the broker's thread has anything to do, a second later at the latest.  A reader that empties it in 30 ms would read
 * a fifth of what it can.  A question to the partitions' leaders is something to do; its answer is of no interest.
 */
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>

enum {
    WAKE_MS = 2000,       /* a request that is not answered by then may cost the connection */
    ALL_MESSAGES = 40000, /* librdkafka has some 400 bytes of its own for each */
    ALL_KBYTES = 16384,
    FETCH_BYTES = 4194304 /* fetch.max.bytes */
};

static uint64_t number(const struct conf *c, const char *key, uint64_t otherwise)
{
    const char *text = source_kafka_get(c, key);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static uint32_t share(uint32_t all, uint32_t shares, uint32_t least)
{
    return all / shares > least ? all / shares : least;
}

struct source_kafka_limits source_kafka_share(struct source_kafka *s, size_t n_parts)
{
    s->shares = n_parts > SOURCE_KAFKA_SHARES ? (uint32_t)n_parts : SOURCE_KAFKA_SHARES;
    const struct source_kafka_limits l = {.messages = share(ALL_MESSAGES, s->shares, 100),
                                          .kbytes = share(ALL_KBYTES, s->shares, 64),
                                          .fetch_bytes = share(FETCH_BYTES, s->shares, 16384)};
    s->full_messages = number(s->conf, "queued.min.messages", l.messages);
    s->full_bytes = number(s->conf, "queued.max.messages.kbytes", l.kbytes) * 1024;
    return l;
}

bool source_kafka_behind(struct source_kafka *s, struct source_kafka_part *p)
{
    int64_t low = -1, high = -1;
    if (rd_kafka_get_watermark_offsets(s->rk, s->topics[p->topic].name, (int32_t)p->partition, &low, &high) ==
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        high >= 0)
        p->high = (uint64_t)high; /* of the last answer: no request is made */
    return p->high > p->next && !p->at_end;
}

void source_kafka_taken(struct source_kafka *s, struct source_kafka_part *p, const rd_kafka_message_t *m)
{
    if (m != NULL) {
        p->was_full = false; /* it has been filled since */
        p->run_messages++;
        p->run_bytes += m->len + m->key_len;
        return;
    }
    p->was_full = p->was_full || p->run_messages >= s->full_messages || p->run_bytes >= s->full_bytes;
    p->run_messages = p->run_bytes = 0;
}

void source_kafka_wake(struct source_kafka *s)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < s->n_parts && s->health.up; i++) {
        struct source_kafka_part *p = &s->parts[i];
        if (!p->was_full || !p->awaited || !p->owned || p->leaving) continue;
        p->was_full = false;
        if (list == NULL) list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, s->topics[p->topic].name, (int32_t)p->partition)->offset =
            RD_KAFKA_OFFSET_END;
    }
    if (list == NULL) return;
    (void)rd_kafka_offsets_for_times(s->rk, list, WAKE_MS);
    rd_kafka_topic_partition_list_destroy(list);
}
