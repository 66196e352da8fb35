/* world_items.c - items as the world keeps them: sentences, flags by row, what the sampler is told. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "world: out of memory for an item; lower catalogue.items");
}

/* A list that was handed out in part gives its head back when it is the larger half. */
static void move_up(struct world_rows *l)
{
    if (l->n < l->cap || l->first <= l->n / 2) return;
    memmove(l->rows, l->rows + l->first, (l->n - l->first) * sizeof *l->rows);
    l->n -= l->first;
    l->first = 0;
}

static enum status put_row(struct world_rows *l, uint32_t row, struct err *e)
{
    move_up(l);
    if (MEM_GROW(l->rows, &l->cap, l->n + 1) != 0) return oom(e);
    l->rows[l->n++] = row;
    return STATUS_OK;
}

enum status world_item_mark(struct world *w, struct record_item *i, unsigned flags, struct err *e)
{
    struct catalogue_item *in = catalogue_of(i);
    if ((flags & WORLD_ITEM_DIRTY) && !(in->flags & WORLD_ITEM_DIRTY)) {
        TRY(put_row(&w->dirty_items, i->row, e));
        in->flags |= WORLD_ITEM_DIRTY;
        w->counts.dirty_bytes += in->counted;
    }
    if ((flags & WORLD_ITEM_CHANGED) && !(in->flags & WORLD_ITEM_CHANGED)) {
        TRY(put_row(&w->changed_items, i->row, e));
        in->flags |= WORLD_ITEM_CHANGED;
    }
    return STATUS_OK;
}

enum status world_item_close(struct world *w, struct record_item *i, struct err *e)
{
    struct catalogue_item *in = catalogue_of(i);
    TRY(catalogue_close(&w->items, e));
    const size_t bytes = catalogue_bytes(i), grown = bytes - in->counted; /* may wrap */
    w->counts.bytes += grown;
    w->all_item_bytes += grown;
    if (in->flags & WORLD_ITEM_DIRTY) w->counts.dirty_bytes += grown;
    in->counted = (uint32_t)bytes;
    return STATUS_OK;
}

enum status world_item_touch(struct world *w, struct record_item *i, struct err *e)
{
    TRY(world_item_close(w, i, e));
    return world_item_mark(w, i, WORLD_ITEM_DIRTY | WORLD_ITEM_CHANGED, e);
}

struct record_item *world_item_offered(const struct world *w, struct str id, uint64_t hash)
{
    struct record_item *i = world_table_find(&w->items.table, id, hash);
    return i != NULL && !i->deleted ? i : NULL;
}

enum status world_item_get(struct world *w, struct str id, int64_t time_ms, struct record_item **out, struct err *e)
{
    *out = catalogue_find(&w->items, id);
    if (*out != NULL) return catalogue_edit(&w->items, *out, e);
    if (w->items.n_rows >= w->items.limit || w->all_item_bytes >= w->max_item_bytes) {
        w->counts.refused_items++;
        return STATUS_OK;
    }
    TRY(catalogue_add(&w->items, id, time_ms, out, e));
    w->counts.items++;
    return world_item_sentence(w, *out, e);
}

enum status world_item_sentence(struct world *w, struct record_item *i, struct err *e)
{
    const int32_t *ids;
    uint32_t n;
    TRY(feat_item_sentence(w->feat, i->attrs, i->n_attrs, &ids, &n, e));
    int32_t *copy = n > 0 ? record_part(i->scratch, n, sizeof *copy) : NULL;
    if (n > 0 && copy == NULL) return oom(e);
    if (n > 0) memcpy(copy, ids, n * sizeof *copy);
    record_part_drop(i->scratch, i->ids);
    i->ids = copy;
    i->n_ids = (uint16_t)n;
    i->sentence = n > 0 ? hash_bytes(copy, n * sizeof *copy) : 0;
    return STATUS_OK;
}

enum status world_item_attrs(struct world *w, struct record_item *i, bool behaviour, const struct event_attr *attrs,
                             uint32_t n, struct err *e)
{
    unsigned changed;
    if (w->all_item_bytes >= w->max_item_bytes) return STATUS_OK;
    TRY(catalogue_set_attrs(i, w->templates, behaviour, attrs, n, &changed, e));
    return changed & CATALOGUE_SENTENCE ? world_item_sentence(w, i, e) : STATUS_OK;
}

/* Purchases where there are any in this shop, else whatever has a positive label. */
double world_item_takes(const struct world *w, const struct record_item *i)
{
    double sum = 0;
    for (uint32_t t = 0; t < i->n_tallies; t++) {
        const uint8_t type = i->tallies[t].type;
        if (type >= w->n_types) continue;
        if (w->purchases > 0 ? type == EVENT_PURCHASE : w->types[type].label == CONF_LABEL_POSITIVE)
            sum += i->tallies[t].total;
    }
    return sum;
}

enum status world_resample(struct world *w, struct err *e)
{
    w->unweighed = false;
    for (size_t i = 0; i < w->items.n_rows; i++)
        TRY(sample_set(&w->sample, w->items.rows[i], world_item_takes(w, w->items.rows[i]), e));
    return STATUS_OK;
}

enum status world_advance(struct world *w, int64_t time_ms, struct err *e)
{
    if (time_ms <= w->now_ms) return STATUS_OK;
    w->now_ms = time_ms;
    return sample_move(&w->sample, time_ms) && w->unweighed ? world_resample(w, e) : STATUS_OK;
}
