/* world_orders.c - a compound of several items: each is counted, then each becomes the others' neighbour. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"
#include <stdlib.h>
#include <string.h>

#define TOGETHER 4      /* lists that one worker merges at a time: some ten microseconds */
#define SHARED_LEAST 29 /* to be worth another's waking */

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

/* What the lists of an order's items become, each by itself. */
struct lists {
    struct world *w;
    struct record_item *items[COOCCUR_ORDER_MAX];
    size_t at[COOCCUR_ORDER_MAX]; /* where in w->lists */
    uint32_t most[COOCCUR_ORDER_MAX], made[COOCCUR_ORDER_MAX], n;
    int64_t time_ms;
};

/* Each item's own count first, which its neighbours' lists hold. */
static enum status begin(struct lists *l, struct err *e)
{
    struct world *w = l->w;
    size_t room_for = 0;
    for (uint32_t k = 0; k < l->n; k++) {
        struct record_item *i = world_table_find_hash(&w->items.table, w->members[k].hash);
        w->members[k].orders = cooccur_count(i, &w->cooccur, l->time_ms);
        l->items[k] = i;
        l->most[k] = room(w, i);
        l->at[k] = room_for;
        room_for += i->n_neighbours + l->n;
    }
    if (MEM_GROW(w->lists, &w->cap_lists, room_for) != 0 || MEM_GROW(w->worths, &w->cap_worths, 2 * room_for) != 0)
        return ERR_SET(e, STATUS_OOM, "cooccur: out of memory for %zu neighbours", room_for);
    return STATUS_OK;
}

static void merge_some(void *lists, size_t from, size_t to)
{
    struct lists *l = lists;
    const struct world *w = l->w;
    for (size_t k = from; k < to; k++)
        l->made[k] = cooccur_merge(l->items[k], &w->cooccur, w->members, l->n, l->time_ms, l->most[k],
                                   w->lists + l->at[k], w->worths + 2 * l->at[k]);
}

static enum status make_room(struct world *w, struct record_item *i, uint32_t n, struct err *e)
{
    TRY(catalogue_edit(&w->items, i, e));
    struct record_neighbour *list = record_part(i->scratch, n, sizeof *list);
    if (list == NULL) return ERR_SET(e, STATUS_OOM, "cooccur: out of memory for %u neighbours", n);
    record_part_drop(i->scratch, i->neighbours);
    i->neighbours = list;
    i->n_neighbours = n;
    return STATUS_OK;
}

/* A list that is as long as before, as full ones are, goes where it was. */
static enum status keep(const struct lists *l, uint32_t k, struct err *e)
{
    struct world *w = l->w;
    struct record_item *i = l->items[k];
    const uint32_t n = l->made[k];
    const bool longer = n != i->n_neighbours;
    if (longer) TRY(make_room(w, i, n, e));
    memcpy(i->neighbours, w->lists + l->at[k], n * sizeof *i->neighbours);
    return longer ? world_item_touch(w, i, e) : world_item_mark(w, i, WORLD_ITEM_DIRTY | WORLD_ITEM_CHANGED, e);
}

enum status world_order_take(struct world *w, const struct event *lines, uint32_t n, struct err *e)
{
    struct lists l = {.w = w, .n = find_members(w, lines, n), .time_ms = lines[0].time_ms};
    if (l.n < 2) return STATUS_OK;
    for (uint32_t k = 1; k < n; k++) l.time_ms = lines[k].time_ms > l.time_ms ? lines[k].time_ms : l.time_ms;
    TRY(begin(&l, e));
    pool_run_ranges(w->pool, merge_some, &l, l.n, TOGETHER, SHARED_LEAST);
    for (uint32_t k = 0; k < l.n; k++) TRY(keep(&l, k, e));
    return STATUS_OK;
}
