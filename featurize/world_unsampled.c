/* world_unsampled.c - a slate's candidates among all active items: what it would be without a sample. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

/* Stamped ones are no further candidates. */
static void stamp(struct world *w, const struct record_item *i)
{
    if (i != NULL) catalogue_of(i)->stamp = w->stamp;
}

static bool is_active(const struct world *w, const struct record_item *i, int64_t time_ms)
{
    return !i->deleted && catalogue_of(i)->stamp != w->stamp &&
           counter_day(i->last_ms) > counter_day(time_ms) - w->sample.days && sample_young(&w->sample, i->first_ms);
}

/* The slate's own, all of the order's, and what the user took that day, as for sampled negatives. */
static void stamp_taken(struct world *w, const struct slate *s, const struct event *lines, uint32_t n_lines,
                        const struct record_user *u)
{
    w->stamp++;
    for (uint32_t i = 0; i < s->n_items; i++)
        stamp(w, world_table_find(&w->items.table, s->items[i].id, s->items[i].item));
    for (uint32_t l = 0; l < n_lines; l++)
        stamp(w, world_table_find(&w->items.table, lines[l].item, hash_str(lines[l].item)));
    for (uint32_t p = 0; u != NULL && n_lines > 0 && p < u->n_pairs; p++)
        if (u->pairs[p].type == lines[0].type && counter_day(u->pairs[p].last_ms) == counter_day(s->time_ms))
            stamp(w, world_table_find_hash(&w->items.table, u->pairs[p].item));
}

static enum status put_candidate(struct world *w, size_t at, const struct record_item *i, struct str id, struct err *e)
{
    if (MEM_GROW(w->candidates, &w->cap_candidates, at + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "world: %zu candidates of the unsampled check", at + 1);
    w->candidates[at] = (struct feat_candidate){.id = id, .item = i, .weight = 1};
    return STATUS_OK;
}

/* A seeded choice of at_most among the active ones, in order of their rows (reservoir sampling, Vitter 1985, algorithm R, by
 * row numbers).  *n: how many there are. */
static enum status put_active(struct world *w, const struct slate *s, uint32_t at_most, struct rand *r, uint32_t *n,
                              struct err *e)
{
    const uint32_t first = s->n_items;
    *n = 0;
    for (size_t row = 0; row < w->items.n_rows; row++) {
        const struct record_item *i = w->items.rows[row];
        if (i == NULL || !is_active(w, i, s->time_ms)) continue;
        const uint32_t seen = (*n)++;
        const uint64_t place = seen < at_most ? seen : rand_below(r, (uint64_t)seen + 1);
        if (place < at_most) TRY(put_candidate(w, first + (size_t)place, i, i->id, e));
    }
    return STATUS_OK;
}

enum status world_fill_unsampled(struct world *w, struct slate *out, const struct slate *s,
                                 const struct world_unsampled *o, uint32_t *n_active, struct err *e)
{
    struct world_user *u;
    struct rand r;
    TRY(world_user_find(w, s->user, &u, e));
    const struct record_user *user = u != NULL ? &w->users.open : NULL;
    slate_reset(out);
    out->id = s->id;
    out->source = s->source;
    out->at = s->at;
    out->time_ms = s->time_ms;
    out->user = arena_str(out->arena, s->user);
    stamp_taken(w, s, o->lines, o->n_lines, user);
    for (uint32_t i = 0; i < s->n_items; i++)
        TRY(put_candidate(w, i, world_item_offered(w, s->items[i].id, s->items[i].item), s->items[i].id, e));
    rand_init(&r, (struct rand_key){w->seed, s->at.topic, s->at.partition, s->at.offset, RAND_UNSAMPLED});
    TRY(put_active(w, s, o->at_most, &r, n_active, e));
    const uint32_t taken = *n_active < o->at_most ? *n_active : o->at_most;
    return feat_fill(w->feat, out, user, w->candidates, s->n_items + taken, o->context, o->n_context, e);
}
