/* world_warm.c - records that come from elsewhere than the store: what a learner without its state folder finds published.
 *
 * They are changed, so the next world_save makes all of them durable; nobody else need be told of them.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"
#include <string.h>

enum status world_put_user(struct world *w, struct record_user *take_u, struct err *e)
{
    struct world_user *u = NULL;
    if (!str_has(take_u->id)) return ERR_SET(e, STATUS_CORRUPT, "world: a user without an id");
    const enum status st = world_user_get(w, take_u->id, &u, e);
    if (st != STATUS_OK) return st;
    record_user_fini(&u->record);
    u->record = *take_u;
    *take_u = (struct record_user){0};
    world_user_touch(w, u);
    world_user_remove(w, u, WORLD_CHANGED);
    return STATUS_OK;
}

/* The newest of what items say about all of them together. */
static void take_totals(struct world *w, const struct record_item *i)
{
    for (uint32_t t = 0; t < i->n_tallies; t++) {
        const struct record_tally *x = &i->tallies[t];
        if (x->type == RECORD_ALL_SHOWN && x->total > w->all_shown.total) w->all_shown = *x;
        if (x->type == RECORD_ALL_TAKEN && x->total > w->all_taken.total) w->all_taken = *x;
        if (x->type == EVENT_PURCHASE) w->purchases += (uint64_t)x->total;
    }
}

enum status world_put_item(struct world *w, struct record_item *take_i, struct err *e)
{
    struct record_item *i = NULL;
    if (!str_has(take_i->id)) return ERR_SET(e, STATUS_CORRUPT, "world: an item without an id");
    const bool known = catalogue_find(&w->items, take_i->id) != NULL;
    TRY(world_item_get(w, take_i->id, take_i->first_ms, &i, e));
    if (i == NULL) return STATUS_OK; /* beyond catalogue.items: counted */
    const struct str id = i->id;
    const uint32_t row = i->row; /* rows are this catalogue's own */
    i->id = (struct str){0};
    record_item_fini(i);
    mem_free((void *)(uintptr_t)take_i->id.p);
    *i = *take_i;
    *take_i = (struct record_item){0};
    i->id = id;
    i->row = row;
    i->hash = hash_str(id);
    if (!known) take_totals(w, i);
    TRY(world_item_sentence(w, i, e));
    return world_item_touch(w, i, e);
}

enum status world_warmed(struct world *w, int64_t time_ms, struct err *e)
{
    w->changed_items.n = 0;
    for (size_t i = 0; i < w->items.n_rows; i++) w->item_flags[i] &= (uint8_t)~WORLD_ITEM_CHANGED;
    if (time_ms == INT64_MIN || w->items.n_rows == 0) return STATUS_OK;
    TRY(world_advance(w, time_ms, e));
    return world_resample(w, e);
}
