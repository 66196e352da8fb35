/* world_warm.c - records that come from elsewhere than the store: what a learner without its state folder finds published.
 *
 * They are changed, so the next world_save makes all of them durable; nobody else need be told of them.
 */
#include "base/hash.h"
#include "featurize/world_private.h"
#include <string.h>

enum status world_put_user(struct world *w, struct record_user *take_u, struct err *e)
{
    struct world_user *u = NULL;
    if (!str_has(take_u->id)) return ERR_SET(e, STATUS_CORRUPT, "world: a user without an id");
    if (record_user_is_empty(take_u)) {
        record_user_fini(take_u);
        return STATUS_OK;
    }
    TRY(world_user_get(w, take_u->id, INT64_MAX, &u, e));
    TRY(world_user_take(w, u, take_u, e));
    record_user_fini(take_u);
    world_user_remove(w, u, WORLD_CHANGED);
    return STATUS_OK;
}

static void take_totals(struct world *w, const struct record_item *i)
{
    for (uint32_t t = 0; t < i->n_tallies; t++)
        if (i->tallies[t].type == EVENT_PURCHASE) w->purchases += (uint64_t)i->tallies[t].total;
}

enum status world_put_item(struct world *w, struct record_item *take_i, struct err *e)
{
    struct record_item *i = NULL;
    if (!str_has(take_i->id)) return ERR_SET(e, STATUS_CORRUPT, "world: an item without an id");
    const bool known = catalogue_find(&w->items, take_i->id) != NULL;
    TRY(world_item_get(w, take_i->id, take_i->first_ms, &i, e));
    if (i == NULL) return STATUS_OK; /* beyond catalogue.items: counted */
    take_i->row = i->row;            /* rows are this catalogue's own */
    TRY(catalogue_replace(&w->items, i, take_i, e));
    i->hash = hash_str(i->id);
    w->unweighed = true;
    if (!known) take_totals(w, i);
    world_rates_adopt(w, i);
    TRY(world_item_sentence(w, i, e));
    return world_item_touch(w, i, e);
}

enum status world_warmed(struct world *w, int64_t time_ms, struct err *e)
{
    w->changed_items.first = w->changed_items.n = 0;
    for (size_t i = 0; i < w->items.n_rows; i++) catalogue_of(w->items.rows[i])->flags &= (uint8_t)~WORLD_ITEM_CHANGED;
    if (time_ms == INT64_MIN || w->items.n_rows == 0) return STATUS_OK;
    TRY(world_advance(w, time_ms, e));
    return world_resample(w, e);
}
