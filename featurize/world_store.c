/* world_store.c - the world's records to the store and back, and changed records to whoever passes them on.
 *
 * Under STORE_META "world": counts, the time reached, the totals of settled impressions, and the fingerprint of what
 * sentences were made with (another one: items' sentences are made anew).  The sampler is not stored: it follows from
 * the items and the day.
 */
#include "base/mem.h"
#include "featurize/world_private.h"
#include <math.h>

#define META_FORMAT 1
#define META_KEY STR("world")

static struct str bytes_of(const struct buf *b)
{
    return (struct str){(const char *)b->p, b->n};
}

static void put_tally(struct buf *b, const struct record_tally *t)
{
    buf_i64(b, t->time_ms);
    buf_f64(b, t->total);
    for (int h = 0; h < RECORD_HALF_LIVES; h++) buf_f64(b, t->decayed[h]);
}

static void get_tally(struct buf_reader *r, struct record_tally *t)
{
    t->time_ms = buf_get_i64(r);
    t->total = buf_get_f64(r);
    for (int h = 0; h < RECORD_HALF_LIVES; h++) t->decayed[h] = buf_get_f64(r);
}

/* ---- save ---- */

static enum status save_meta(struct world *w, struct store_txn *t, struct err *e)
{
    struct buf *b = &w->buf;
    buf_clear(b);
    buf_u8(b, META_FORMAT);
    buf_u64(b, feat_fingerprint(w->feat));
    buf_i64(b, w->now_ms);
    buf_i64(b, w->sample.day);
    buf_u64(b, w->counts.users);
    buf_u64(b, w->counts.items);
    buf_u64(b, w->counts.refused_items);
    buf_u64(b, w->purchases);
    put_tally(b, &w->all_shown);
    put_tally(b, &w->all_taken);
    TRY(buf_status(b, e));
    return store_put(t, STORE_META, META_KEY, bytes_of(b), e);
}

static enum status save_user(struct world *w, struct world_user *u, struct store_txn *t, struct err *e)
{
    TRY(world_user_open(w, u, e));
    buf_clear(&w->buf);
    record_user_encode(&w->buf, &w->users.open);
    TRY(buf_status(&w->buf, e));
    return store_put(t, STORE_USER, u->id, bytes_of(&w->buf), e);
}

static enum status save_item(struct world *w, struct record_item *i, struct store_txn *t, struct err *e)
{
    i->sample_weight = sample_weight(&w->sample, i->row);
    buf_clear(&w->buf);
    record_item_encode(&w->buf, i);
    TRY(buf_status(&w->buf, e));
    return store_put(t, STORE_ITEM, i->id, bytes_of(&w->buf), e);
}

enum status world_save(struct world *w, struct store_txn *t, struct err *e)
{
    TRY(world_erased_save(w, t, e));
    for (struct world_user *u = w->users.first[WORLD_DIRTY]; u != NULL; u = u->links[WORLD_DIRTY].next)
        TRY(save_user(w, u, t, e));
    for (size_t i = 0; i < w->dirty_items.n; i++) TRY(save_item(w, w->items.rows[w->dirty_items.rows[i]], t, e));
    TRY(save_meta(w, t, e));
    TRY(group_save(w->groups, t, e));
    w->saving = true;
    return STATUS_OK;
}

void world_saved(struct world *w)
{
    if (!w->saving) return;
    w->saving = false;
    world_erased_saved(w);
    while (w->users.first[WORLD_DIRTY] != NULL) world_user_remove(w, w->users.first[WORLD_DIRTY], WORLD_DIRTY);
    for (size_t i = 0; i < w->dirty_items.n; i++)
        catalogue_of(w->items.rows[w->dirty_items.rows[i]])->flags &= (uint8_t)~WORLD_ITEM_DIRTY;
    w->dirty_items.n = 0;
    group_saved(w->groups);
    w->counts.dirty_bytes = 0;
    world_users_evict(w);
}

/* ---- load ---- */

struct loading {
    struct world *w;
    bool remake; /* sentences were made with other templates or another vocabulary */
};

static enum status load_meta(struct world *w, struct str value, bool *remake, struct err *e)
{
    struct buf_reader r = buf_reader(value.p, value.n);
    const uint8_t format = buf_get_u8(&r);
    *remake = buf_get_u64(&r) != feat_fingerprint(w->feat);
    w->now_ms = buf_get_i64(&r);
    w->sample.day = buf_get_i64(&r);
    w->counts.users = buf_get_u64(&r);
    const uint64_t items = buf_get_u64(&r);
    w->counts.refused_items = buf_get_u64(&r);
    w->purchases = buf_get_u64(&r);
    get_tally(&r, &w->all_shown);
    get_tally(&r, &w->all_taken);
    if (r.bad || format != META_FORMAT || buf_left(&r) != 0 || !isfinite(w->all_shown.total + w->all_taken.total))
        return ERR_SET(e, STATUS_CORRUPT, "world: the stored head is damaged or of format %u, not %d", format,
                       META_FORMAT);
    w->counts.items = items;
    w->users.stored_elsewhere = w->counts.users > 0;
    return STATUS_OK;
}

static enum status load_item(void *user, struct str key, struct str value, struct err *e)
{
    struct loading *l = user;
    struct world *w = l->w;
    struct record_item i = {.scratch = &w->scratch};
    struct buf_reader r = buf_reader(value.p, value.n);
    arena_reset(&w->scratch);
    TRY(record_item_decode(&i, &r, e));
    const uint32_t row = i.row;
    if (!str_eq(i.id, key))
        return ERR_SET(e, STATUS_CORRUPT, "world: item '" STR_FMT "' is stored under another id", STR_ARG(i.id));
    TRY(catalogue_put(&w->items, &i, e));
    struct record_item *in = w->items.rows[row];
    if (l->remake || in->n_ids == 0) {
        TRY(catalogue_edit(&w->items, in, e));
        TRY(world_item_sentence(w, in, e));
    }
    return world_item_close(w, in, e);
}

enum status world_load(struct world *w, struct store_txn *t, struct err *e)
{
    struct str value;
    struct loading l = {.w = w};
    const enum status st = store_get(t, STORE_META, META_KEY, &value, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK; /* a fresh store */
    TRY(st);
    TRY(load_meta(w, value, &l.remake, e));
    TRY(world_erased_load(w, t, e));
    TRY(group_load(w->groups, t, e));
    TRY(store_each(t, STORE_ITEM, load_item, &l, e));
    TRY(catalogue_check(&w->items, e));
    if (w->items.n_rows != w->counts.items)
        return ERR_SET(e, STATUS_CORRUPT, "world: %zu items are stored, %llu were saved", w->items.n_rows,
                       (unsigned long long)w->counts.items);
    return w->items.n_rows > 0 && w->sample.day != INT64_MIN ? world_resample(w, e) : STATUS_OK;
}

/* ---- changed records ---- */

bool world_has_changed(const struct world *w)
{
    return w->users.first[WORLD_CHANGED] != NULL || w->erased.n_untold > 0 ||
           w->changed_items.n > w->changed_items.first;
}

static enum status each_item(struct world *w, enum status (*item)(void *arg, const struct record_item *i), void *arg)
{
    struct world_rows *l = &w->changed_items;
    for (; l->first < l->n; l->first++) {
        const uint32_t row = l->rows[l->first];
        w->items.rows[row]->sample_weight = sample_weight(&w->sample, row);
        const enum status st = item(arg, w->items.rows[row]);
        if (st != STATUS_OK) return st;
        catalogue_of(w->items.rows[row])->flags &= (uint8_t)~WORLD_ITEM_CHANGED;
    }
    l->first = l->n = 0;
    return STATUS_OK;
}

enum status world_each_changed(struct world *w, enum status (*user)(void *arg, const struct record_user *u),
                               enum status (*item)(void *arg, const struct record_item *i), void *arg, struct err *e)
{
    w->consumed = true;
    TRY(each_item(w, item, arg));
    TRY(world_erased_each(w, user, arg));
    for (struct world_user *u = w->users.first[WORLD_CHANGED]; u != NULL; u = w->users.first[WORLD_CHANGED]) {
        TRY(world_user_open(w, u, e));
        TRY(user(arg, &w->users.open));
        world_user_remove(w, u, WORLD_CHANGED);
    }
    return STATUS_OK;
}

void world_mark_all_changed(struct world *w)
{
    for (struct world_user *u = w->users.last[WORLD_RECENT]; u != NULL; u = u->links[WORLD_RECENT].prev)
        world_user_mark(w, u, WORLD_CHANGED);
    world_erased_mark_all(w);
    for (size_t i = 0; i < w->items.n_rows; i++)
        if (world_item_mark(w, w->items.rows[i], WORLD_ITEM_CHANGED, NULL) != STATUS_OK) return;
}
