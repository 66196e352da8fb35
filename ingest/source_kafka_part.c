/* source_kafka_part.c - the table of partitions. */
#include "base/mem.h"
#include "ingest/source_kafka.h"
#include <librdkafka/rdkafka.h>
#include <string.h>

static int64_t place(uint32_t topic, uint32_t partition, const struct source_kafka_part *p)
{
    return topic != p->topic ? (int64_t)topic - (int64_t)p->topic : (int64_t)partition - (int64_t)p->partition;
}

/* Where it stands, or would. */
static size_t find(const struct source_kafka *s, uint32_t topic, uint32_t partition)
{
    size_t lo = 0, hi = s->n_parts;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (place(topic, partition, &s->parts[mid]) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct source_kafka_part *source_kafka_part_at(struct source_kafka *s, uint32_t topic, uint32_t partition)
{
    const size_t i = find(s, topic, partition);
    return i < s->n_parts && place(topic, partition, &s->parts[i]) == 0 ? &s->parts[i] : NULL;
}

struct source_kafka_part *source_kafka_part_of(struct source_kafka *s, const char *topic, int32_t partition)
{
    if (s->last_part < s->n_parts) { /* messages come in runs */
        struct source_kafka_part *p = &s->parts[s->last_part];
        if (p->partition == (uint32_t)partition && strcmp(s->topics[p->topic].name, topic) == 0) return p;
    }
    for (uint32_t i = 0; i < s->n_topics && partition >= 0; i++) {
        if (strcmp(s->topics[i].name, topic) != 0) continue;
        struct source_kafka_part *p = source_kafka_part_at(s, i, (uint32_t)partition);
        if (p != NULL) s->last_part = (size_t)(p - s->parts);
        return p;
    }
    return NULL;
}

enum status source_kafka_add_part(struct source_kafka *s, uint32_t topic, uint32_t partition,
                                  struct source_kafka_part **out, struct err *e)
{
    const size_t i = find(s, topic, partition);
    enum status st = STATUS_OK;
    *out = source_kafka_part_at(s, topic, partition);
    if (*out != NULL) return STATUS_OK;
    (void)pthread_mutex_lock(&s->lock);
    if (MEM_GROW(s->parts, &s->cap_parts, s->n_parts + 1) != 0) {
        st = ERR_SET(e, STATUS_OOM, "kafka: no memory for %zu partitions", s->n_parts + 1);
    } else {
        memmove(s->parts + i + 1, s->parts + i, (s->n_parts - i) * sizeof *s->parts);
        s->n_parts++;
        s->parts[i] = (struct source_kafka_part){.topic = topic, .partition = partition, .time_ms = INT64_MIN};
        *out = &s->parts[i];
        atomic_store(&s->filled, true); /* turns name partitions by their places */
    }
    (void)pthread_mutex_unlock(&s->lock);
    return st;
}

rd_kafka_topic_partition_list_t *source_kafka_owned(struct source_kafka *s)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_parts);
    for (size_t i = 0; list != NULL && i < s->n_parts; i++) {
        const struct source_kafka_part *p = &s->parts[i];
        if (p->owned)
            rd_kafka_topic_partition_list_add(list, s->topics[p->topic].name, (int32_t)p->partition)->offset =
                (int64_t)(p->verify ? p->next - 1 : p->next);
    }
    return list;
}
