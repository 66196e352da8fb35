/* dedupe.c - a ring of hashes in order of arrival, and a table that finds them. */
#include "ingest/dedupe.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/order_map.h"
#include <string.h>

#define DEDUPE_FORMAT 1

struct dedupe {
    uint64_t *ring;
    size_t cap, n, next; /* next: where the next hash goes; the oldest when full */
    struct order_map map;
};

enum status dedupe_new(struct dedupe **out, size_t ids, struct err *e)
{
    *out = NULL;
    struct dedupe *d = mem_calloc(1, sizeof *d);
    if (d != NULL) {
        d->cap = ids;
        d->ring = mem_calloc(ids, sizeof *d->ring);
        if (d->ring != NULL && order_map_reserve(&d->map, ids + 1)) {
            *out = d;
            return STATUS_OK;
        }
    }
    dedupe_free(d);
    return ERR_SET(e, STATUS_OOM, "dedupe: no memory for ingest.dedupe_ids=%zu pairs", ids);
}

void dedupe_free(struct dedupe *d)
{
    if (d == NULL) return;
    order_map_fini(&d->map);
    mem_free(d->ring);
    mem_free(d);
}

/* The map was reserved for cap keys and more, so the put can't fail. */
static void remember(struct dedupe *d, uint64_t hash)
{
    if (d->n == d->cap)
        order_map_remove(&d->map, d->ring[d->next]);
    else
        d->n++;
    d->ring[d->next] = hash;
    (void)order_map_put(&d->map, hash, 1);
    d->next = d->next + 1 == d->cap ? 0 : d->next + 1;
}

bool dedupe_seen(struct dedupe *d, struct str source, struct str id)
{
    if (id.p == NULL || d->cap == 0) return false;
    const uint64_t from = source.p != NULL ? hash_str(source) : 0;
    const uint64_t hash = hash_seeded(id.p, id.n, from);
    if (order_map_get(&d->map, hash) != ORDER_MAP_NONE) return true;
    remember(d, hash);
    return false;
}

size_t dedupe_count(const struct dedupe *d)
{
    return d->n;
}

void dedupe_encode(struct buf *b, const struct dedupe *d)
{
    buf_u8(b, DEDUPE_FORMAT);
    buf_varint(b, d->n);
    const size_t oldest = d->n == d->cap ? d->next : 0;
    for (size_t i = 0; i < d->n; i++) buf_u64(b, d->ring[(oldest + i) % d->cap]);
}

enum status dedupe_decode(struct dedupe *d, struct buf_reader *r, struct err *e)
{
    if (buf_get_u8(r) != DEDUPE_FORMAT) r->bad = true;
    const size_t n = buf_get_count(r, 8);
    for (size_t i = 0; i < n && d->cap > 0; i++) remember(d, buf_get_u64(r));
    if (d->cap == 0) (void)buf_get(r, n * 8);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "dedupe: the stored window can't be read") : STATUS_OK;
}
