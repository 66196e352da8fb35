/* state_table.c - the table of the frozen-state cache, pins, and the order of use; all under its lock. */
#include "base/mem.h"
#include "model/state_cache.h"

#define LEAST_ENTRIES 64
#define MOST_BUCKETS ((size_t)1 << 24)

size_t state_bytes(const struct state_cache *c, size_t n_tokens)
{
    return sizeof(struct state_slot) + (2 + n_tokens) * c->C * sizeof(uint16_t);
}

struct state_slot **state_place(struct state_cache *c, uint64_t hash)
{
    struct state_slot **p = &c->buckets[hash & c->mask];
    while (*p != NULL && (*p)->entry.hash != hash) p = &(*p)->chain;
    return p;
}

void state_take_out(struct state_cache *c, struct state_slot *s)
{
    struct state_slot **p = &c->buckets[s->entry.hash & c->mask];
    while (*p != s) p = &(*p)->chain;
    *p = s->chain;
    c->stats.entries--;
    c->stats.bytes -= s->bytes;
}

static void order_remove(struct state_cache *c, struct state_slot *s)
{
    *(s->newer != NULL ? &s->newer->older : &c->newest) = s->older;
    *(s->older != NULL ? &s->older->newer : &c->oldest) = s->newer;
    s->newer = s->older = NULL;
}

static void order_add(struct state_cache *c, struct state_slot *s)
{
    s->newer = NULL;
    s->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

void state_pin(struct state_cache *c, struct state_slot *s)
{
    if (s->pins++ == 0) order_remove(c, s);
}

/* The oldest ones that nobody uses leave until there is room for so many bytes; false: there are not enough of them. */
static bool make_room(struct state_cache *c, size_t bytes)
{
    while (c->stats.bytes + bytes > c->stats.max_bytes && c->oldest != NULL) {
        struct state_slot *old = c->oldest;
        order_remove(c, old);
        state_take_out(c, old);
        mem_free(old);
        c->stats.evicted++;
    }
    return c->stats.bytes + bytes <= c->stats.max_bytes;
}

void state_unpin(struct state_cache *c, struct state_slot *s)
{
    if (--s->pins > 0) return;
    if (s->phase == STATE_FAILED) {
        mem_free(s); /* left the table when it failed */
        return;
    }
    order_add(c, s);
    (void)make_room(c, 0); /* what was in use at once may have been more than the bound */
}

enum status state_add(struct state_cache *c, uint64_t hash, size_t n_tokens, bool must, struct state_slot **out,
                      struct err *e)
{
    const size_t bytes = state_bytes(c, n_tokens);
    if (!make_room(c, bytes) && !must)
        return ERR_SET(e, STATUS_FULL, "frozen states: %zu bytes are all in use at once; raise kernels.cache_bytes",
                       c->stats.max_bytes);
    struct state_slot *s = mem_aligned(1, bytes);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "frozen states: no memory for an entry of %zu bytes", bytes);
    s->entry = (struct state_entry){.hash = hash, .n_tokens = (uint32_t)n_tokens, .width = (uint32_t)c->C};
    s->entry.pooled = s->numbers;
    s->entry.final = s->numbers + c->C;
    s->entry.tokens = n_tokens > 0 ? s->numbers + 2 * c->C : NULL;
    s->bytes = bytes;
    s->pins = 1;
    s->chain = c->buckets[hash & c->mask];
    c->buckets[hash & c->mask] = s;
    c->stats.entries++;
    c->stats.bytes += bytes;
    *out = s;
    return STATUS_OK;
}

enum status state_make_table(struct state_cache *c, size_t max_bytes, struct err *e)
{
    const size_t least = LEAST_ENTRIES * (state_bytes(c, c->keep_tokens ? encoder_shape(c->m)->max_tokens : 0) + 16);
    size_t n = LEAST_ENTRIES;
    if (max_bytes < least)
        return ERR_SET(e, STATUS_INVALID, "kernels.cache_bytes=%zu is less than %d sentences need (%zu)", max_bytes,
                       LEAST_ENTRIES, least);
    while (n < MOST_BUCKETS && n * state_bytes(c, 0) < max_bytes) n *= 2;
    if (n * sizeof *c->buckets > max_bytes / 16) n /= 2;
    c->buckets = mem_calloc(n, sizeof *c->buckets);
    if (c->buckets == NULL) return ERR_SET(e, STATUS_OOM, "frozen states: no memory for a table of %zu", n);
    c->mask = n - 1;
    c->stats.bytes = n * sizeof *c->buckets;
    c->stats.max_bytes = max_bytes;
    return STATUS_OK;
}

void state_free_slots(struct state_cache *c)
{
    for (size_t i = 0; c->buckets != NULL && i <= c->mask; i++)
        for (struct state_slot *s = c->buckets[i], *next; s != NULL; s = next) {
            next = s->chain;
            mem_free(s->own_ids);
            mem_free(s);
        }
    mem_free(c->buckets);
}
