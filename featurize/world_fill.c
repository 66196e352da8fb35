/* world_fill.c - slates from what is known before their own event: shown lists, and orders with sampled negatives. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"
#include <math.h>

#define BASKET_LEAST 4 /* distinct items of an order that join.basket splits */

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "world: out of memory for a slate's candidates");
}

static enum status candidates_room(struct world *w, size_t n, struct err *e)
{
    if (MEM_GROW(w->candidates, &w->cap_candidates, n) != 0) return oom(e);
    return STATUS_OK;
}

static enum status fill(struct world *w, struct slate *s, struct str user, uint32_t n, const struct event_attr *context,
                        uint32_t n_context, struct err *e)
{
    struct world_user *u;
    TRY(world_user_find(w, user, &u, e));
    return feat_fill(w->feat, s, u ? &w->users.open : NULL, w->candidates, n, context, n_context, e);
}

/* ---- shown lists ---- */

/* Records built from an impression's fields for items that the catalogue does not know; from `stand_ins[0]` on. */
static enum status stand_in(struct world *w, const struct event_item *shown, int64_t time_ms, struct err *e)
{
    const size_t n = w->n_stand_ins;
    w->stand_ins[n] = (struct record_item){.scratch = &w->scratch};
    TRY(feat_item_from_attrs(w->feat, &w->stand_ins[n], shown->item, shown->attrs, shown->n_attrs, time_ms, e));
    w->n_stand_ins++;
    return STATUS_OK;
}

static enum status shown_candidates(struct world *w, const struct event *ev, struct err *e)
{
    TRY(candidates_room(w, ev->n_items, e));
    if (MEM_GROW(w->stand_ins, &w->cap_stand_ins, ev->n_items) != 0) return oom(e);
    TRY(world_ahead_room(w, ev->n_items, e));
    for (uint32_t k = 0; k < ev->n_items; k++) w->ahead[k] = hash_str(ev->items[k].item);
    world_ahead(w, ev->user, ev->n_items);
    arena_reset(&w->scratch);
    w->n_stand_ins = 0;
    for (uint32_t k = 0; k < ev->n_items; k++) {
        const struct event_item *shown = &ev->items[k];
        struct feat_candidate *c = &w->candidates[k];
        *c = (struct feat_candidate){
            .id = shown->item, .item = world_item_offered(w, shown->item, w->ahead[k]), .label = NAN, .weight = 1};
        if (c->item != NULL || shown->n_attrs == 0) continue;
        TRY(stand_in(w, shown, ev->time_ms, e));
        c->item = &w->stand_ins[w->n_stand_ins - 1];
    }
    return STATUS_OK;
}

enum status world_fill_impression(struct world *w, struct slate *s, const struct event *ev, struct err *e)
{
    TRY(shown_candidates(w, ev, e));
    return fill(w, s, ev->user, ev->n_items, ev->context, ev->n_context, e);
}

/* ---- orders ---- */

struct order {
    struct world *w;
    const struct event *lines;
    uint32_t n_lines, given;        /* the first `given` lines are history already (join.basket) */
    const struct record_user *user; /* NULL: unknown */
    int64_t time_ms;
    uint8_t type;
    uint32_t n_positives, n; /* candidates: positives first */
    struct err *e;
};

static bool taken_that_day(const struct order *o, uint64_t item)
{
    const struct record_pair *p = o->user ? history_pair(o->user, item, o->type) : NULL;
    return p != NULL && counter_day(p->last_ms) == counter_day(o->time_ms);
}

static void add_candidate(struct order *o, const struct record_item *i, float label)
{
    o->w->candidates[o->n++] = (struct feat_candidate){
        .id = i->id,
        .item = i,
        .label = label,
        .weight = (float)o->w->types[o->type].weight,
        .flags = label > 0.5f ? 0 : SLATE_ITEM_SAMPLED,
    };
}

/* Distinct items that no shown list claims, announced before and not taken earlier that day; all of the order's are
 * excluded as negatives. */
static enum status find_positives(struct order *o)
{
    struct world *w = o->w;
    TRY(candidates_room(w, o->n_lines, o->e));
    TRY(world_ahead_room(w, o->n_lines, o->e));
    for (uint32_t l = 0; l < o->n_lines; l++) w->ahead[l] = hash_str(o->lines[l].item);
    world_ahead(w, (struct str){0}, o->n_lines);
    w->stamp++;
    for (uint32_t l = 0; l < o->n_lines; l++) {
        struct record_item *i = world_table_find(&w->items.table, o->lines[l].item, w->ahead[l]);
        if (i == NULL || catalogue_of(i)->stamp == w->stamp) continue;
        catalogue_of(i)->stamp = w->stamp;
        TRY(sample_exclude(&w->sample, i->row, o->e));
        const bool open = l >= o->given && !o->lines[l].joined && !i->deleted;
        if (open && sample_young(&w->sample, i->first_ms) && !taken_that_day(o, i->hash)) add_candidate(o, i, 1);
    }
    return STATUS_OK;
}

/* A seeded choice of join.max_positives of them, in their order (selection sampling, Knuth 3.4.2 S). */
static void choose_positives(struct order *o, struct event_position at)
{
    struct world *w = o->w;
    struct rand r;
    const uint32_t max = w->max_positives;
    if (max == 0 || o->n <= max) return;
    rand_init(&r, (struct rand_key){w->seed, at.topic, at.partition, at.offset, RAND_POSITIVES});
    uint32_t kept = 0;
    for (uint32_t i = 0; kept < max; i++)
        if (rand_below(&r, o->n - i) < max - kept) w->candidates[kept++] = w->candidates[i];
    o->n = kept;
}

static enum status exclude_taken(struct order *o)
{
    struct world *w = o->w;
    for (uint32_t p = 0; o->user != NULL && p < o->user->n_pairs; p++) {
        const struct record_pair *pair = &o->user->pairs[p];
        if (pair->type != o->type || counter_day(pair->last_ms) != counter_day(o->time_ms)) continue;
        const struct record_item *i = world_table_find_hash(&w->items.table, pair->item);
        if (i != NULL) TRY(sample_exclude(&w->sample, i->row, o->e));
    }
    return STATUS_OK;
}

static enum status draw_negatives(struct order *o, struct event_position at)
{
    struct world *w = o->w;
    struct rand r;
    const size_t want = (size_t)o->n_positives * w->negatives;
    if (want == 0) return STATUS_OK;
    TRY(candidates_room(w, o->n + want, o->e));
    if (MEM_GROW(w->drawn, &w->cap_drawn, want) != 0) return oom(o->e);
    rand_init(&r, (struct rand_key){w->seed, at.topic, at.partition, at.offset, RAND_NEGATIVES});
    const size_t n = sample_draw(&w->sample, &r, want, w->drawn);
    catalogue_ahead(&w->items, w->drawn, n);
    for (size_t i = 0; i < n; i++) add_candidate(o, w->items.rows[w->drawn[i]], 0);
    for (uint32_t k = 0; k < o->n; k++) {
        const double q = sample_q(&w->sample, w->candidates[k].item->row);
        w->candidates[k].log_kq = (float)log((double)w->negatives * q);
    }
    return STATUS_OK;
}

/* How many lines bring the first half of the order's distinct items; 0: fewer than BASKET_LEAST of them. */
static enum status half_of(const struct order *o, uint32_t *given)
{
    uint32_t distinct = 0, seen = 0;
    *given = 0;
    TRY(world_ahead_room(o->w, o->n_lines, o->e));
    uint64_t *items = o->w->ahead; /* distinct ones; orders are short */
    for (uint32_t l = 0; l < o->n_lines; l++) {
        items[distinct] = hash_str(o->lines[l].item);
        for (seen = 0; items[seen] != items[distinct];) seen++;
        distinct += seen == distinct;
    }
    if (distinct < BASKET_LEAST) return STATUS_OK;
    for (uint32_t l = 0; *given == 0; l++)
        if (hash_str(o->lines[l].item) == items[distinct / 2]) *given = l;
    return STATUS_OK;
}

/* The first half of a basket goes into the open record of its user, which is thrown away afterwards.  Nothing else counts it
 * before the whole order is taken. */
static enum status give_half(struct order *o)
{
    struct world *w = o->w;
    TRY(half_of(o, &o->given));
    if (o->given == 0) return STATUS_NOT_FOUND;
    if (o->user == NULL) {
        arena_reset(&w->users.scratch);
        w->users.open = (struct record_user){.scratch = &w->users.scratch, .id = o->lines[0].user};
        o->user = &w->users.open;
    }
    w->users.opened = NULL;
    w->stamp++;
    for (uint32_t l = 0; l < o->given; l++) {
        const struct event *ev = &o->lines[l];
        struct record_item *i = world_table_find(&w->items.table, ev->item, hash_str(ev->item));
        if (i != NULL && catalogue_of(i)->stamp == w->stamp) continue;
        if (i != NULL) catalogue_of(i)->stamp = w->stamp;
        TRY(feat_user_take(w->feat, &w->users.open, i, ev->item, ev->type, w->types[ev->type].name, ev->price,
                           ev->time_ms, o->e));
    }
    return STATUS_OK;
}

static enum status choose(struct order *o, struct event_position at)
{
    TRY(find_positives(o));
    choose_positives(o, at);
    o->n_positives = o->n;
    if (o->n == 0) return STATUS_NOT_FOUND;
    TRY(exclude_taken(o));
    TRY(draw_negatives(o, at));
    return o->w->negatives > 0 && o->n == o->n_positives ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status world_fill_organic(struct world *w, struct slate *s, const struct event *lines, uint32_t n,
                               struct event_position at, struct err *e)
{
    struct world_user *u;
    if (!w->organic || n == 0 || !str_has(lines[0].user) || lines[0].type >= w->n_types ||
        w->types[lines[0].type].label != CONF_LABEL_POSITIVE)
        return STATUS_NOT_FOUND;
    TRY(world_advance(w, s->time_ms, e));
    TRY(world_user_find(w, lines[0].user, &u, e));
    struct order o = {.w = w,
                      .lines = lines,
                      .n_lines = n,
                      .user = u ? &w->users.open : NULL,
                      .time_ms = s->time_ms,
                      .type = lines[0].type,
                      .e = e};
    enum status st = w->basket ? give_half(&o) : STATUS_OK;
    if (st == STATUS_OK) st = choose(&o, at);
    sample_allow_all(&w->sample);
    if (st == STATUS_OK) st = feat_fill(w->feat, s, o.user, w->candidates, o.n, NULL, 0, e);
    return st;
}
