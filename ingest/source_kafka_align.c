/* source_kafka_align.c - partitions in step: each has a queue of its own, and of what is at the heads of these queues the
 * record that is earliest in event time comes next.
 *
 * librdkafka's one queue has what the brokers sent in the order in which they sent it, a fetch of one partition behind that
 * of another: a reader that catches up would be hours further in one than in the next.  As in Kafka Streams (KIP-353,
 * KIP-695) a partition that has more, by its last answer, is waited for; one at its end is not.  A partition has come as
 * far as the greatest time it gave out, as for the watermark, and no record of it stands before that: it need not be
 * waited for while others are behind it.  One event that would jump ahead does not move it.
 */
#include "base/mem.h"
#include "ingest/source_kafka.h"
#include "ingest/watermark.h"
#include <librdkafka/rdkafka.h>

/* librdkafka's threads call this, with the lock of a partition's queue held, when something comes into an empty one. */
static void on_filled(rd_kafka_t *rk, void *opaque)
{
    struct source_kafka *s = opaque;
    (void)rk;
    atomic_store(&s->filled, true);
    rd_kafka_queue_yield(s->events); /* who waits there looks at the partitions */
}

static void let_go(struct source_kafka_part *p)
{
    if (p->queue == NULL) return;
    rd_kafka_queue_cb_event_enable(p->queue, NULL, NULL);
    rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
}

/* Forwarding to nowhere is remembered by librdkafka's queue as the application's wish: an assignment leaves it alone.  The
 * queue may be another one than last time, when librdkafka had forgotten the partition. */
enum status source_kafka_split(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    const char *name = s->topics[p->topic].name;
    let_go(p);
    p->queue = rd_kafka_queue_get_partition(s->rk, name, (int32_t)p->partition);
    if (p->queue == NULL)
        return ERR_SET(e, STATUS_OOM, "kafka: no queue for topic %s partition %u", name, p->partition);
    rd_kafka_queue_forward(p->queue, NULL);
    rd_kafka_queue_cb_event_enable(p->queue, on_filled, s);
    p->awaited = p->high > p->next;
    atomic_store(&s->filled, true);
    return STATUS_OK;
}

void source_kafka_drop_head(struct source_kafka *s, struct source_kafka_part *p)
{
    if (p->head != NULL) rd_kafka_message_destroy(p->head);
    p->head = NULL;
    p->awaited = p->awaited || p->high > p->next;
    p->wait_us = 0;
    atomic_store(&s->filled, true);
}

void source_kafka_split_close(struct source_kafka *s)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        source_kafka_drop_head(s, &s->parts[i]);
        let_go(&s->parts[i]);
    }
    if (s->events != NULL) rd_kafka_queue_destroy(s->events); /* on_filled is called no more */
    s->events = NULL;
}

/* How far p has come with an event of this time.  A jump is believed when several in a row tell of it (watermark.h). */
void source_kafka_advance(const struct source_kafka *s, struct source_kafka_part *p, int64_t time_ms)
{
    const bool later = p->time_ms != INT64_MIN && time_ms > p->time_ms;
    const bool jumps = later && time_ms - p->time_ms > s->conf->ingest_max_jump_ms;
    p->jumps = jumps ? p->jumps + 1 : 0;
    if (jumps && p->jumps <= WATERMARK_AGREE) return;
    if (time_ms > p->time_ms) p->time_ms = time_ms;
    p->jumps = 0;
}

/* ---- whose turn it is: a heap ---- */

static bool before(const struct source_kafka_turn *a, const struct source_kafka_turn *b)
{
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms;
    return a->waits != b->waits ? b->waits : a->part < b->part; /* what waits may have later ones only */
}

static void sink(struct source_kafka *s, size_t i)
{
    const struct source_kafka_turn turn = s->turns[i];
    for (size_t child; (child = 2 * i + 1) < s->n_turns; i = child) {
        if (child + 1 < s->n_turns && before(&s->turns[child + 1], &s->turns[child])) child++;
        if (!before(&s->turns[child], &turn)) break;
        s->turns[i] = s->turns[child];
    }
    s->turns[i] = turn;
}

static struct source_kafka_turn turn_of(const struct source_kafka *s, size_t part)
{
    const struct source_kafka_part *p = &s->parts[part];
    return (struct source_kafka_turn){p->time_ms, (uint32_t)part, p->head == NULL};
}

enum status source_kafka_order(struct source_kafka *s, struct err *e)
{
    if (MEM_GROW(s->turns, &s->cap_turns, s->n_parts) != 0)
        return ERR_SET(e, STATUS_OOM, "kafka: no memory for %zu partitions", s->n_parts);
    s->n_turns = 0;
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct source_kafka_part *p = &s->parts[i];
        if (p->owned && !p->leaving && (p->head != NULL || p->awaited)) s->turns[s->n_turns++] = turn_of(s, i);
    }
    for (size_t i = s->n_turns / 2; i-- > 0;) sink(s, i);
    return STATUS_OK;
}

struct source_kafka_part *source_kafka_first(struct source_kafka *s)
{
    return s->n_turns > 0 ? &s->parts[s->turns[0].part] : NULL;
}

void source_kafka_reorder_first(struct source_kafka *s)
{
    const struct source_kafka_part *p = source_kafka_first(s);
    s->turns[0] = p->head != NULL || p->awaited ? turn_of(s, s->turns[0].part) : s->turns[--s->n_turns];
    if (s->n_turns > 0) sink(s, 0);
}
