/* source.c - batches, and the one face over the kinds of source. */
#include "ingest/source.h"
#include "base/mem.h"
#include "ingest/source_ops.h"
#include <stdatomic.h>

#define BATCH_BLOCK 262144

static atomic_bool interrupted;

void source_interrupt(void)
{
    atomic_store(&interrupted, true);
}

bool source_interrupted(void)
{
    return atomic_load(&interrupted);
}

enum status source_batch_new(struct source_batch **out, struct err *e)
{
    struct source_batch *b = mem_calloc(1, sizeof *b);
    *out = b;
    if (b == NULL) return ERR_SET(e, STATUS_OOM, "source: no memory for a batch of %d records", SOURCE_BATCH);
    arena_init(&b->arena, BATCH_BLOCK);
    b->lag_events = -1;
    return STATUS_OK;
}

void source_batch_free(struct source_batch *b)
{
    if (b == NULL) return;
    arena_fini(&b->arena);
    mem_free(b);
}

bool source_batch_full(const struct source_batch *b)
{
    return b->n == SOURCE_BATCH || (b->n > 0 && arena_bytes(&b->arena) > SOURCE_BATCH_BYTES);
}

void source_close(struct source *s)
{
    if (s != NULL) s->close(s);
}

enum status source_next(struct source *s, struct source_batch *b, int wait_ms, struct err *e)
{
    if (arena_bytes(&b->arena) > SOURCE_BATCH_BYTES) { /* long messages went through it: the memory is not kept */
        arena_fini(&b->arena);
        arena_init(&b->arena, BATCH_BLOCK);
    }
    arena_reset(&b->arena);
    b->n = 0;
    b->lag_events = -1;
    b->barrier = 0;
    return s->next(s, b, wait_ms, e);
}

enum status source_hold(struct source *s, int wait_ms, struct err *e)
{
    return s->hold != NULL ? s->hold(s, wait_ms, e) : STATUS_OK;
}

void source_commit(struct source *s, const struct source_offset *offsets, size_t n)
{
    s->commit(s, offsets, n);
}

size_t source_partitions(const struct source *s, struct source_offset *out, size_t cap)
{
    return s->partitions(s, out, cap);
}

void source_released(struct source *s, uint64_t barrier)
{
    if (s->released != NULL) s->released(s, barrier);
}

void source_health(struct source *s, struct source_health *out)
{
    *out = (struct source_health){.up = true, .partitions = 1};
    if (s->health != NULL) s->health(s, out);
}

uint64_t source_bytes_read(const struct source *s)
{
    return s->bytes_read(s);
}

uint64_t source_bytes_total(const struct source *s)
{
    return s->bytes_total(s);
}
