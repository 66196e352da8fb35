/* world_items.c - items as the world keeps them: sentences, flags by row, what the sampler is told. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "world: out of memory for an item; lower catalogue.items");
}

enum status world_items_room(struct world *w, struct err *e)
{
    const size_t need = w->items.n_rows;
    if (need <= w->cap_items) return STATUS_OK;
    size_t cap = w->cap_items ? w->cap_items : 64;
    while (cap < need) cap *= 2;
    uint8_t *flags = mem_realloc(w->item_flags, cap, sizeof *flags);
    if (flags == NULL) return oom(e);
    w->item_flags = flags;
    uint32_t *bytes = mem_realloc(w->item_bytes, cap, sizeof *bytes);
    if (bytes == NULL) return oom(e);
    w->item_bytes = bytes;
    uint32_t *stamps = mem_realloc(w->item_stamps, cap, sizeof *stamps);
    if (stamps == NULL) return oom(e);
    w->item_stamps = stamps;
    for (size_t i = w->cap_items; i < cap; i++) {
        flags[i] = 0;
        bytes[i] = stamps[i] = 0;
    }
    w->cap_items = cap;
    return STATUS_OK;
}

static enum status put_row(struct world_rows *l, uint32_t row, struct err *e)
{
    if (mem_grow((void **)&l->rows, &l->cap, l->n + 1, sizeof *l->rows) != 0) return oom(e);
    l->rows[l->n++] = row;
    return STATUS_OK;
}

enum status world_item_mark(struct world *w, struct record_item *i, unsigned flags, struct err *e)
{
    uint8_t *has = &w->item_flags[i->row];
    if ((flags & WORLD_ITEM_DIRTY) && !(*has & WORLD_ITEM_DIRTY)) {
        TRY(put_row(&w->dirty_items, i->row, e));
        *has |= WORLD_ITEM_DIRTY;
        w->counts.dirty_bytes += w->item_bytes[i->row];
    }
    if ((flags & WORLD_ITEM_CHANGED) && !(*has & WORLD_ITEM_CHANGED)) {
        TRY(put_row(&w->changed_items, i->row, e));
        *has |= WORLD_ITEM_CHANGED;
    }
    return STATUS_OK;
}

enum status world_item_touch(struct world *w, struct record_item *i, struct err *e)
{
    const uint32_t bytes = (uint32_t)catalogue_bytes(i), before = w->item_bytes[i->row];
    w->counts.bytes += (size_t)bytes - before;
    w->all_item_bytes += (size_t)bytes - before;
    if (w->item_flags[i->row] & WORLD_ITEM_DIRTY) w->counts.dirty_bytes += (size_t)bytes - before;
    w->item_bytes[i->row] = bytes;
    return world_item_mark(w, i, WORLD_ITEM_DIRTY | WORLD_ITEM_CHANGED, e);
}

enum status world_item_get(struct world *w, struct str id, int64_t time_ms, struct record_item **out, struct err *e)
{
    *out = catalogue_find(&w->items, id);
    if (*out != NULL) return STATUS_OK;
    if (w->items.n_rows >= w->items.limit || w->all_item_bytes >= w->max_item_bytes) {
        w->counts.refused_items++;
        return STATUS_OK;
    }
    TRY(catalogue_add(&w->items, id, time_ms, out, e));
    TRY(world_items_room(w, e));
    w->counts.items++;
    return world_item_sentence(w, *out, e);
}

enum status world_item_sentence(struct world *w, struct record_item *i, struct err *e)
{
    const int32_t *ids;
    uint32_t n;
    TRY(feat_item_sentence(w->feat, i->attrs, i->n_attrs, &ids, &n, e));
    int32_t *copy = NULL;
    if (n > 0) {
        copy = mem_calloc(n, sizeof *copy);
        if (copy == NULL) return oom(e);
        memcpy(copy, ids, n * sizeof *copy);
    }
    mem_free(i->ids);
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
    for (size_t i = 0; i < w->items.n_rows; i++)
        TRY(sample_set(&w->sample, w->items.rows[i], world_item_takes(w, w->items.rows[i]), e));
    return STATUS_OK;
}

enum status world_advance(struct world *w, int64_t time_ms, struct err *e)
{
    if (time_ms <= w->now_ms) return STATUS_OK;
    w->now_ms = time_ms;
    return sample_move(&w->sample, time_ms) ? world_resample(w, e) : STATUS_OK;
}
