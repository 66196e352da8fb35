/* world_rates.c - what items of a category, brand and tag were shown and taken, and what of it an item's record remembers.
 *
 * A scorer has the item's record and nothing of its groups, so the record says how they stood when it was last touched, and features
 * read that on both sides.
 */
#include "featurize/world_private.h"

void world_rates_count(struct world *w, const struct record_item *i, int64_t time_ms, double taken)
{
    uint32_t tags[HISTORY_TAGS_MAX];
    const uint32_t n = catalogue_tags(i, tags);
    if (i->category != 0) group_count(w->groups, group_key(RECORD_RATE_CATEGORY, i->category), time_ms, 1, taken);
    if (i->brand != 0) group_count(w->groups, group_key(RECORD_RATE_BRAND, i->brand), time_ms, 1, taken);
    for (uint32_t t = 0; t < n; t++) group_count(w->groups, group_key(RECORD_RATE_TAGS, tags[t]), time_ms, 1, taken);
}

static struct record_rate rate_of_tags(const struct world *w, const struct record_item *i)
{
    struct record_rate sum = {0};
    uint32_t tags[HISTORY_TAGS_MAX];
    const uint32_t n = catalogue_tags(i, tags);
    for (uint32_t t = 0; t < n; t++)
        sum = group_sum(w->groups, sum, group_rate(w->groups, group_key(RECORD_RATE_TAGS, tags[t])));
    return sum;
}

static struct record_rate rate_named(const struct world *w, enum record_rate_kind kind, uint64_t name)
{
    return name != 0 ? group_rate(w->groups, group_key(kind, name)) : (struct record_rate){0};
}

void world_rates_remember(const struct world *w, struct record_item *i)
{
    if (!(w->all_shown.total > 0)) return; /* nothing was ever shown */
    i->rates[RECORD_RATE_ALL] = (struct record_rate){w->all_shown.time_ms, (float)w->all_shown.decayed[w->rate_window],
                                                     (float)w->all_taken.decayed[w->rate_window]};
    i->rates[RECORD_RATE_CATEGORY] = rate_named(w, RECORD_RATE_CATEGORY, i->category);
    i->rates[RECORD_RATE_BRAND] = rate_named(w, RECORD_RATE_BRAND, i->brand);
    i->rates[RECORD_RATE_TAGS] = rate_of_tags(w, i);
}

/* Totals of a world that begins with records alone: the newest of what items say of all of them, and of their groups.  What several
 * tags add up to can't be told apart again. */
void world_rates_adopt(struct world *w, const struct record_item *i)
{
    const struct record_rate *all = &i->rates[RECORD_RATE_ALL];
    uint32_t tags[HISTORY_TAGS_MAX];
    if (i->category != 0)
        group_put(w->groups, group_key(RECORD_RATE_CATEGORY, i->category), &i->rates[RECORD_RATE_CATEGORY]);
    if (i->brand != 0) group_put(w->groups, group_key(RECORD_RATE_BRAND, i->brand), &i->rates[RECORD_RATE_BRAND]);
    if (catalogue_tags(i, tags) == 1)
        group_put(w->groups, group_key(RECORD_RATE_TAGS, tags[0]), &i->rates[RECORD_RATE_TAGS]);
    if (!(all->shown > 0) || (w->all_shown.total > 0 && all->time_ms <= w->all_shown.time_ms)) return;
    w->all_shown.time_ms = w->all_taken.time_ms = all->time_ms;
    w->all_shown.total = w->all_shown.decayed[w->rate_window] = (double)all->shown; /* nobody reads the other windows */
    w->all_taken.total = w->all_taken.decayed[w->rate_window] = (double)all->taken;
}
