/* world.c - making a world, and what lets events in: items, users, compounds, settled slates. */
#include "featurize/world.h"
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"
#include <math.h>

static void take_conf(struct world *w, const struct conf *c)
{
    w->n_types = c->n_types;
    memcpy(w->types, c->types, sizeof w->types);
    w->seed = (uint64_t)c->join_seed;
    w->organic = c->join_organic;
    w->negatives = (uint32_t)c->join_negatives;
    w->max_positives = (uint32_t)c->join_max_positives;
    w->basket = c->join_basket;
    w->users.limit = (size_t)c->history_users;
    w->users.max_bytes = (size_t)c->history_max_bytes;
    w->erased.most = world_erased_most(c);
    w->max_item_bytes = (size_t)c->catalogue_max_bytes;
    w->cooccur = cooccur_of(c);
    catalogue_init(&w->items, (size_t)c->catalogue_items);
    sample_init(&w->sample, c);
}

enum status world_new(struct world **out, const struct conf *c, struct feat *f, struct store *store, struct err *e)
{
    *out = NULL;
    struct world *w = mem_calloc(1, sizeof *w);
    if (w == NULL) return ERR_SET(e, STATUS_OOM, "world: out of memory");
    w->feat = f;
    w->store = store;
    w->templates = feat_templates(f);
    w->now_ms = INT64_MIN;
    w->all_shown.type = RECORD_ALL_SHOWN;
    w->all_taken.type = RECORD_ALL_TAKEN;
    take_conf(w, c);
    enum status st = counter_init(&w->decay, c, e);
    w->rate_window = counter_nearest(&w->decay, COUNTER_RATE_HOURS);
    if (st == STATUS_OK)
        st = group_new(&w->groups, (size_t)c->counter_groups, w->decay.halvings_per_ms[w->rate_window], e);
    if (st == STATUS_OK)
        *out = w;
    else
        world_free(w);
    return st;
}

void world_use_pool(struct world *w, struct pool *p)
{
    w->pool = p;
    feat_use_pool(w->feat, p);
}

void world_free(struct world *w)
{
    if (w == NULL) return;
    world_users_fini(w);
    world_erased_fini(w);
    catalogue_fini(&w->items);
    sample_fini(&w->sample);
    group_free(w->groups);
    mem_free(w->stand_ins);
    mem_free(w->candidates);
    mem_free(w->drawn);
    mem_free(w->ahead);
    mem_free(w->lists);
    mem_free(w->worths);
    arena_fini(&w->scratch);
    mem_free(w->dirty_items.rows);
    mem_free(w->changed_items.rows);
    buf_fini(&w->buf);
    mem_free(w);
}

/* ---- catalogue and user events ---- */

enum status world_item(struct world *w, const struct event *ev, struct err *e)
{
    struct record_item *i = catalogue_find(&w->items, ev->item);
    TRY(world_advance(w, ev->time_ms, e));
    if (ev->deleted) {
        if (i == NULL) return STATUS_OK;
        TRY(catalogue_edit(&w->items, i, e));
        i->deleted = true;
    } else {
        TRY(world_item_get(w, ev->item, ev->time_ms, &i, e));
        if (i == NULL) return STATUS_OK; /* the catalogue is full */
        i->deleted = false;
        i->announced = true;
        if (i->last_ms < ev->time_ms) i->last_ms = ev->time_ms;
        TRY(world_item_attrs(w, i, false, ev->attrs, ev->n_attrs, e));
        world_rates_remember(w, i);
    }
    TRY(sample_set(&w->sample, i, world_item_takes(w, i), e));
    return world_item_touch(w, i, e);
}

static enum status delete_user(struct world *w, const struct event *ev, struct err *e)
{
    struct world_user *u;
    TRY(world_user_find(w, ev->user, &u, e));
    if (u != NULL) {
        world_user_drop(w, u);
        w->counts.users--;
    }
    return world_erase(w, ev->user, ev->time_ms, e);
}

enum status world_user(struct world *w, const struct event *ev, struct err *e)
{
    struct world_user *u;
    bool changed;
    if (ev->deleted) return delete_user(w, ev, e);
    struct record_user *r = &w->users.open;
    TRY(world_user_get(w, ev->user, ev->time_ms + 1, &u, e)); /* at the time of a deletion, but it comes after it */
    if (u == NULL) return STATUS_OK;
    for (uint32_t i = 0; i < ev->n_attrs; i++)
        TRY(catalogue_set_attr(r->scratch, &r->attrs, &r->n_attrs, &ev->attrs[i], &changed, e));
    if (r->first_ms == 0) r->first_ms = ev->time_ms;
    return world_user_touch(w, u, e);
}

/* ---- behaviours ---- */

/* The first purchase of all turns what the sampler weighs from positive behaviours to purchases. */
static enum status count_purchase(struct world *w, uint8_t type, struct err *e)
{
    if (type != EVENT_PURCHASE) return STATUS_OK;
    return w->purchases++ == 0 ? world_resample(w, e) : STATUS_OK;
}

static enum status count_item(struct world *w, struct record_item *i, const struct event *ev, struct err *e)
{
    struct record_tally *tally;
    TRY(counter_tally(&tally, i->scratch, &i->tallies, &i->n_tallies, ev->type, ev->time_ms, e));
    counter_add(tally, &w->decay, ev->time_ms, 1);
    if (w->types[ev->type].label == CONF_LABEL_POSITIVE) {
        i->positives++;
        if (i->last_ms < ev->time_ms) i->last_ms = ev->time_ms;
    }
    TRY(count_purchase(w, ev->type, e));
    return sample_set(&w->sample, i, world_item_takes(w, i), e);
}

/* An item that no longer fits into the catalogue is told by what its event carries, for this once. */
static enum status take_stranger(struct world *w, struct record_user *u, const struct event *ev, struct err *e)
{
    struct record_item i = {.scratch = &w->scratch};
    if (u == NULL) return STATUS_OK;
    arena_reset(&w->scratch);
    TRY(feat_item_from_attrs(w->feat, &i, ev->item, ev->attrs, ev->n_attrs, ev->time_ms, e));
    return feat_user_take(w->feat, u, &i, ev->item, ev->type, w->types[ev->type].name, ev->price, ev->time_ms, e);
}

/* One line of a compound; an item's later lines in the same one only bring attributes. */
static enum status take_line(struct world *w, struct record_user *u, const struct event *ev, struct err *e)
{
    struct record_item *i;
    TRY(world_item_get(w, ev->item, ev->time_ms, &i, e));
    if (i == NULL) return take_stranger(w, u, ev, e);
    if (w->types[ev->type].label != CONF_LABEL_NEGATIVE) TRY(world_item_attrs(w, i, true, ev->attrs, ev->n_attrs, e));
    world_rates_remember(w, i);
    if (catalogue_of(i)->stamp != w->stamp) {
        catalogue_of(i)->stamp = w->stamp;
        TRY(count_item(w, i, ev, e));
        if (u != NULL)
            TRY(feat_user_take(w->feat, u, i, ev->item, ev->type, w->types[ev->type].name, ev->price, ev->time_ms, e));
    }
    return world_item_touch(w, i, e);
}

enum status world_take(struct world *w, const struct event *lines, uint32_t n, struct err *e)
{
    struct world_user *u = NULL;
    int64_t last_ms = INT64_MIN;
    if (n == 0) return STATUS_OK;
    TRY(world_ahead_room(w, n, e));
    for (uint32_t i = 0; i < n; i++) w->ahead[i] = hash_str(lines[i].item);
    world_ahead(w, lines[0].user, n);
    for (uint32_t i = 0; i < n; i++) {
        TRY(world_advance(w, lines[i].time_ms, e));
        if (lines[i].time_ms > last_ms) last_ms = lines[i].time_ms;
    }
    if (str_has(lines[0].user)) TRY(world_user_get(w, lines[0].user, last_ms, &u, e));
    w->stamp++;
    for (uint32_t i = 0; i < n; i++) {
        if (lines[i].type >= w->n_types)
            return ERR_SET(e, STATUS_INVALID, "world: behaviour type %u, but the config knows %u", lines[i].type,
                           w->n_types);
        const bool theirs = u != NULL && !world_erased_since(w, lines[i].user, lines[i].time_ms);
        if (str_has(lines[i].item)) TRY(take_line(w, theirs ? &w->users.open : NULL, &lines[i], e));
    }
    if (w->cooccur.on && w->types[lines[0].type].label == CONF_LABEL_POSITIVE) TRY(world_order_take(w, lines, n, e));
    return u != NULL ? world_user_touch(w, u, e) : STATUS_OK;
}

/* ---- settled slates ---- */

/* The tallies of an item or of the open user. */
struct counted {
    struct arena *scratch;
    struct record_tally **tallies;
    uint32_t *n;
};

static enum status count_one(struct world *w, const struct counted *c, uint8_t type, int64_t time_ms, double count,
                             struct err *e)
{
    struct record_tally *t;
    TRY(counter_tally(&t, c->scratch, c->tallies, c->n, type, time_ms, e));
    if (count > 0) counter_add(t, &w->decay, time_ms, count);
    return STATUS_OK;
}

static enum status count_shown(struct world *w, struct counted c, int64_t time_ms, double shown, double taken,
                               struct err *e)
{
    TRY(count_one(w, &c, RECORD_SHOWN, time_ms, shown, e));
    return count_one(w, &c, RECORD_TAKEN, time_ms, taken, e);
}

/* How all items stand now: what a user's rate is shrunk to. */
static enum status remember_all(const struct world *w, struct counted c, int64_t time_ms, struct err *e)
{
    struct record_tally *t;
    TRY(counter_tally(&t, c.scratch, c.tallies, c.n, RECORD_ALL_SHOWN, time_ms, e));
    *t = w->all_shown;
    TRY(counter_tally(&t, c.scratch, c.tallies, c.n, RECORD_ALL_TAKEN, time_ms, e));
    *t = w->all_taken;
    return STATUS_OK;
}

static enum status settle_items(struct world *w, const struct slate *s, int64_t time_ms, double *taken, struct err *e)
{
    *taken = 0;
    TRY(world_ahead_room(w, s->n_items, e));
    for (uint32_t k = 0; k < s->n_items; k++) w->ahead[k] = s->items[k].item;
    world_ahead(w, s->user, s->n_items);
    for (uint32_t k = 0; k < s->n_items; k++) *taken += s->items[k].label > 0.5f;
    counter_add(&w->all_shown, &w->decay, time_ms, s->n_items);
    counter_add(&w->all_taken, &w->decay, time_ms, *taken);
    for (uint32_t k = 0; k < s->n_items; k++) {
        const struct record_item *i = world_table_find(&w->items.table, s->items[k].id, s->items[k].item);
        if (i != NULL) world_rates_count(w, i, time_ms, s->items[k].label > 0.5f);
    }
    for (uint32_t k = 0; k < s->n_items; k++) {
        struct record_item *i = world_table_find(&w->items.table, s->items[k].id, s->items[k].item);
        if (i == NULL) continue;
        TRY(catalogue_edit(&w->items, i, e));
        TRY(count_shown(w, (struct counted){i->scratch, &i->tallies, &i->n_tallies}, time_ms, 1,
                        s->items[k].label > 0.5f, e));
        world_rates_remember(w, i);
        TRY(world_item_touch(w, i, e));
    }
    return STATUS_OK;
}

enum status world_settled(struct world *w, const struct slate *s, struct err *e)
{
    const int64_t time_ms = s->settled_ms != 0 ? s->settled_ms : s->time_ms;
    struct world_user *u = NULL;
    double taken = 0;
    if (s->source == SLATE_IMPRESSION) TRY(settle_items(w, s, time_ms, &taken, e));
    if (!str_has(s->user)) return STATUS_OK;
    TRY(world_user_get(w, s->user, s->time_ms, &u, e));
    if (u == NULL) return STATUS_OK;
    struct record_user *r = &w->users.open;
    if (r->n_slates < UINT32_MAX) r->n_slates++;
    if (r->first_ms == 0) r->first_ms = s->time_ms;
    const struct counted own = {r->scratch, &r->tallies, &r->n_tallies};
    if (s->source == SLATE_IMPRESSION) {
        TRY(count_shown(w, own, time_ms, s->n_items, taken, e));
        TRY(remember_all(w, own, time_ms, e));
    }
    return world_user_touch(w, u, e);
}

/* ---- questions ---- */

const struct record_user *world_find_user(struct world *w, struct str id)
{
    struct world_user *u;
    struct err e;
    return world_user_find(w, id, &u, &e) == STATUS_OK && u != NULL ? &w->users.open : NULL;
}

const struct record_item *world_find_item(struct world *w, struct str id)
{
    struct record_item *i = catalogue_find(&w->items, id);
    if (i != NULL) i->sample_weight = sample_weight(&w->sample, i->row);
    return i;
}

const struct world_counts *world_counts(struct world *w)
{
    w->counts.users_in_memory = w->users.table.n;
    return &w->counts;
}
