/* history.c - events, pairs and counts of a user's record.  Memory is made first, then everything changes at once. */
#include "featurize/history.h"
#include "base/hash.h"
#include <float.h>
#include <math.h>

struct history_limits history_limits(const struct conf *c)
{
    return (struct history_limits){(uint32_t)c->history_events, (uint32_t)c->history_pairs};
}

static size_t find_pair(const struct record_user *u, uint64_t item, uint8_t type)
{
    size_t lo = 0, hi = u->n_pairs;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const struct record_pair *p = &u->pairs[mid];
        if (p->item < item || (p->item == item && p->type < type))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct record_pair *history_pair(const struct record_user *u, uint64_t item, uint8_t type)
{
    const size_t at = find_pair(u, item, type);
    if (at == u->n_pairs || u->pairs[at].item != item || u->pairs[at].type != type) return NULL;
    return &u->pairs[at];
}

const struct record_pair *history_pairs(const struct record_user *u, uint64_t item, uint32_t *n)
{
    const size_t at = find_pair(u, item, 0);
    for (*n = 0; at + *n < u->n_pairs && u->pairs[at + *n].item == item;) ++*n;
    return *n > 0 ? &u->pairs[at] : NULL;
}

uint32_t history_tags(const struct record_event *ev, uint32_t out[HISTORY_TAGS_MAX])
{
    const size_t n = ev->words.n / sizeof *out;
    const uint32_t kept = n < HISTORY_TAGS_MAX ? (uint32_t)n : HISTORY_TAGS_MAX;
    if (kept > 0) memcpy(out, ev->words.p, kept * sizeof *out);
    return kept;
}

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "history: out of memory for a user's event; lower history.events or history.pairs");
}

/* Room for one more, doubling up to limit. */
static void *grown(struct arena *scratch, void *p, uint32_t *cap, uint32_t n, uint32_t limit, size_t size)
{
    if (n < *cap) return p;
    uint32_t want = *cap < 4 ? 4 : *cap * 2;
    if (want > limit) want = limit;
    if (want <= n) want = n + 1;
    void *q = record_part_grow(scratch, p, n, want, size);
    if (q != NULL) *cap = want;
    return q;
}

static enum status make_room(struct record_user *u, struct history_limits l, struct err *e)
{
    if (l.events > 0 && u->n_events < l.events) {
        void *p = grown(u->scratch, u->events, &u->cap_events, u->n_events, l.events, sizeof *u->events);
        if (p == NULL) return oom(e);
        u->events = p;
    }
    if (l.pairs > 0 && u->n_pairs < l.pairs) {
        void *p = grown(u->scratch, u->pairs, &u->cap_pairs, u->n_pairs, l.pairs, sizeof *u->pairs);
        if (p == NULL) return oom(e);
        u->pairs = p;
    }
    return STATUS_OK;
}

/* ---- events ---- */

static void free_event(struct arena *scratch, struct record_event *ev)
{
    record_part_drop(scratch, ev->ids);
    record_part_drop(scratch, (void *)(uintptr_t)ev->words.p);
    *ev = (struct record_event){0};
}

/* Room for n bytes: the leaving event's block when they fit (*old is then NULL), else a new one. */
static void *block_for(struct arena *scratch, void **old, size_t old_bytes, size_t n)
{
    void *block = *old;
    if (block == NULL || n > old_bytes) return record_part(scratch, n, 1);
    *old = NULL;
    return block;
}

/* The event as the record keeps it. `old` is the one that leaves, whose blocks may be used; it stays whole on OOM. */
static enum status keep_event(struct arena *scratch, struct record_event *out, const struct history_event *ev,
                              struct record_event *old, struct err *e)
{
    void *old_ids = old ? old->ids : NULL, *old_words = old ? (void *)old->words.p : NULL, *words = NULL, *ids = NULL;
    const size_t n_words = ev->n_tags * sizeof *ev->tags, n_ids = ev->n_ids * sizeof *ev->ids;
    if (n_words > 0 && (words = block_for(scratch, &old_words, old ? old->words.n : 0, n_words)) == NULL) return oom(e);
    if (n_ids > 0 && (ids = block_for(scratch, &old_ids, old ? old->n_ids * sizeof *ev->ids : 0, n_ids)) == NULL) {
        if (old == NULL || words != old->words.p) record_part_drop(scratch, words);
        return oom(e);
    }
    *out = (struct record_event){.item = ev->item,
                                 .time_ms = ev->time_ms,
                                 .type = ev->type,
                                 .price = fabs(ev->price) < FLT_MAX ? (float)ev->price : NAN,
                                 .category = ev->category,
                                 .brand = ev->brand,
                                 .n_ids = ev->n_ids};
    if (n_words > 0) out->words = (struct str){memcpy(words, ev->tags, n_words), n_words};
    if (n_ids > 0) {
        out->ids = memcpy(ids, ev->ids, n_ids);
        out->sentence = hash_bytes(ev->ids, n_ids);
    }
    if (old != NULL) {
        old->ids = old_ids;
        old->words = (struct str){old_words, old_words ? old->words.n : 0};
    }
    return STATUS_OK;
}

static enum status put_event(struct record_user *u, const struct history_event *ev, uint32_t limit, struct err *e)
{
    uint32_t at = 0;
    while (at < u->n_events && u->events[at].time_ms > ev->time_ms) at++;
    while (u->n_events > limit) free_event(u->scratch, &u->events[--u->n_events]);
    if (at >= limit) return STATUS_OK; /* older than all that are kept */
    struct record_event kept, *last = u->n_events == limit ? &u->events[limit - 1] : NULL;
    TRY(keep_event(u->scratch, &kept, ev, last, e));
    if (last != NULL) {
        free_event(u->scratch, last);
        u->n_events--;
    }
    memmove(u->events + at + 1, u->events + at, (u->n_events - at) * sizeof *u->events);
    u->events[at] = kept;
    u->n_events++;
    return STATUS_OK;
}

/* ---- pairs ---- */

static void drop_oldest_pair(struct record_user *u)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < u->n_pairs; i++)
        if (u->pairs[i].last_ms < u->pairs[oldest].last_ms) oldest = i;
    u->n_pairs--;
    memmove(u->pairs + oldest, u->pairs + oldest + 1, (u->n_pairs - oldest) * sizeof *u->pairs);
}

static void put_pair(struct record_user *u, const struct history_event *ev, uint32_t limit)
{
    size_t at = find_pair(u, ev->item, ev->type);
    if (at < u->n_pairs && u->pairs[at].item == ev->item && u->pairs[at].type == ev->type) {
        struct record_pair *p = &u->pairs[at];
        if (p->count < UINT32_MAX) p->count++;
        if (p->last_ms < ev->time_ms) p->last_ms = ev->time_ms;
        return;
    }
    if (limit == 0) return;
    while (u->n_pairs >= limit) drop_oldest_pair(u);
    at = find_pair(u, ev->item, ev->type);
    memmove(u->pairs + at + 1, u->pairs + at, (u->n_pairs - at) * sizeof *u->pairs);
    u->pairs[at] = (struct record_pair){.item = ev->item, .last_ms = ev->time_ms, .count = 1, .type = ev->type};
    u->n_pairs++;
}

enum status history_take(struct record_user *u, const struct history_event *ev, const struct counter_decay *decay,
                         struct history_limits limits, struct err *e)
{
    struct record_tally *tally;
    TRY(make_room(u, limits, e));
    TRY(counter_tally(&tally, u->scratch, &u->tallies, &u->n_tallies, ev->type, ev->time_ms, e));
    if (limits.events > 0) TRY(put_event(u, ev, limits.events, e));
    put_pair(u, ev, limits.pairs);
    counter_add(tally, decay, ev->time_ms, 1);
    if (ev->positive && ev->price > 0 && isfinite(ev->price)) {
        u->price_sum += log1p(ev->price);
        u->price_n += 1;
    }
    if (u->first_ms == 0 || ev->time_ms < u->first_ms) u->first_ms = ev->time_ms;
    if (ev->time_ms > u->last_ms) u->last_ms = ev->time_ms;
    return STATUS_OK;
}
