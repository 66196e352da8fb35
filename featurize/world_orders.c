/* world_orders.c - a compound of several items: each is counted, then each becomes the others' neighbour. */
#include "base/hash.h"
#include "featurize/world_private.h"
#include <stdlib.h>

static int by_item(const void *a, const void *b)
{
    const struct cooccur_member *x = a, *y = b;
    return x->item != y->item ? (x->item < y->item ? -1 : 1) : (x->hash > y->hash) - (x->hash < y->hash);
}

/* Of items whose lower halves are equal the first stays. */
static uint32_t without_twins(struct cooccur_member *m, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t k = 0; k < n; k++)
        if (kept == 0 || m[kept - 1].item != m[k].item) m[kept++] = m[k];
    return kept;
}

/* Its distinct items that are in the catalogue, by item; 0 when there are more than are counted. */
static uint32_t find_members(struct world *w, const struct event *lines, uint32_t n)
{
    uint32_t found = 0;
    w->stamp++;
    for (uint32_t l = 0; l < n; l++) {
        const struct record_item *i = str_has(lines[l].item) ? catalogue_find(&w->items, lines[l].item) : NULL;
        if (i == NULL || catalogue_of(i)->stamp == w->stamp) continue;
        if (found == COOCCUR_ORDER_MAX) return 0;
        catalogue_of(i)->stamp = w->stamp;
        w->members[found++] = (struct cooccur_member){.hash = i->hash, .item = (uint32_t)i->hash};
    }
    if (found > 1) qsort(w->members, found, sizeof *w->members, by_item);
    return without_twins(w->members, found);
}

/* Where the catalogue may take no more memory, lists stay as long as they are. */
static uint32_t room(const struct world *w, const struct record_item *i)
{
    return w->all_item_bytes >= w->max_item_bytes ? i->n_neighbours : w->cooccur.neighbours;
}

enum status world_order_take(struct world *w, const struct event *lines, uint32_t n, struct err *e)
{
    const uint32_t found = find_members(w, lines, n);
    int64_t time_ms = lines[0].time_ms;
    if (found < 2) return STATUS_OK;
    for (uint32_t l = 1; l < n; l++) time_ms = lines[l].time_ms > time_ms ? lines[l].time_ms : time_ms;
    for (uint32_t k = 0; k < found; k++) {
        struct record_item *i = world_table_find_hash(&w->items.table, w->members[k].hash);
        w->members[k].orders = cooccur_count(i, &w->cooccur, time_ms);
    }
    for (uint32_t k = 0; k < found; k++) {
        struct record_item *i = world_table_find_hash(&w->items.table, w->members[k].hash);
        TRY(catalogue_edit(&w->items, i, e));
        TRY(cooccur_take(i, &w->cooccur, w->members, found, time_ms, room(w, i), e));
        TRY(world_item_touch(w, i, e));
    }
    return STATUS_OK;
}
