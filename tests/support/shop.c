/* shop.c - see shop.h. */
#include "tests/support/shop.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct str copy(struct shop *s, const char *text)
{
    const struct str c = arena_str(&s->arena, str_from(text));
    assert_true(text == NULL || c.p != NULL);
    return c;
}

void shop_open(struct shop *s, const char *vocab, const char *const *options, struct store *store)
{
    struct err e = {0};
    char folder[200];
    *s = (struct shop){.store = store, .offset = 1};
    arena_init(&s->arena, 0);
    assert_ok(conf_new(&s->conf, &e), &e);
    for (; options != NULL && *options != NULL; options++) assert_ok(conf_set_option(s->conf, *options, &e), &e);
    (void)snprintf(folder, sizeof folder, "tests/fixtures/%s", vocab ? vocab : "");
    if (vocab != NULL) assert_ok(token_open(&s->vocab, files_source(folder), &e), &e);
    assert_ok(describe_open(&s->templates, s->conf, &e), &e);
    assert_ok(feat_new(&s->feat, s->conf, s->vocab, s->templates, &e), &e);
    assert_ok(world_new(&s->world, s->conf, s->feat, store, &e), &e);
    assert_ok(slate_new(&s->slate, &e), &e);
}

void shop_close(struct shop *s)
{
    slate_free(s->slate);
    world_free(s->world);
    feat_free(s->feat);
    describe_close(s->templates);
    token_free(s->vocab);
    conf_free(s->conf);
    arena_fini(&s->arena);
}

void shop_load(struct shop *s)
{
    struct err e = {0};
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, s->store, false, &e), &e);
    assert_ok(world_load(s->world, t, &e), &e);
    store_abort(t);
}

void shop_save(struct shop *s)
{
    struct err e = {0};
    struct store_txn *t = NULL;
    enum status st;
    do {
        st = store_begin(&t, s->store, true, &e);
        if (st == STATUS_OK) {
            st = world_save(s->world, t, &e);
            if (st == STATUS_OK)
                st = store_commit(t, &e);
            else
                store_abort(t);
        }
    } while (st == STATUS_AGAIN);
    assert_ok(st, &e);
    world_saved(s->world);
}

struct event shop_behaviour(struct shop *s, uint8_t type, const char *user, const char *item, int64_t time_ms)
{
    struct event ev = {.kind = EVENT_BEHAVIOUR,
                       .type = type,
                       .type_name = str_from(s->conf->types[type].name),
                       .time_ms = time_ms,
                       .at = {.offset = s->offset++},
                       .user = copy(s, user),
                       .item = copy(s, item),
                       .value = NAN,
                       .quantity = NAN,
                       .price = NAN};
    ev.attrs = arena_alloc(&s->arena, EVENT_ATTRS_MAX, sizeof *ev.attrs);
    assert_non_null(ev.attrs);
    return ev;
}

void shop_text(struct shop *s, struct event *ev, const char *name, const char *text)
{
    ev->attrs[ev->n_attrs++] =
        (struct event_attr){.name = copy(s, name), .kind = EVENT_ATTR_TEXT, .text = copy(s, text), .number = NAN};
}

void shop_number(struct shop *s, struct event *ev, const char *name, double x)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%g", x);
    ev->attrs[ev->n_attrs++] =
        (struct event_attr){.name = copy(s, name), .kind = EVENT_ATTR_NUMBER, .text = copy(s, text), .number = x};
    if (strcmp(name, "price") == 0) ev->price = x;
}

/* The parts of a comma-separated text, as strings in the arena. */
static struct str *split(struct shop *s, const char *text, uint32_t *n)
{
    struct str *parts = arena_alloc(&s->arena, strlen(text) + 1, sizeof *parts);
    assert_non_null(parts);
    const struct str all = copy(s, text);
    *n = 0;
    for (size_t from = 0, at = 0; at <= all.n; at++) {
        if (at < all.n && all.p[at] != ',') continue;
        if (at > from) parts[(*n)++] = (struct str){all.p + from, at - from};
        from = at + 1;
    }
    return parts;
}

void shop_list(struct shop *s, struct event *ev, const char *name, const char *comma_separated)
{
    struct event_attr a = {.name = copy(s, name), .kind = EVENT_ATTR_LIST, .number = NAN};
    a.list = split(s, comma_separated, &a.n_list);
    ev->attrs[ev->n_attrs++] = a;
}

void shop_announce(struct shop *s, const char *item, const char *title, int64_t time_ms)
{
    struct err e = {0};
    struct event ev = shop_behaviour(s, 0, NULL, item, time_ms);
    ev.kind = EVENT_ITEM;
    if (title != NULL) shop_text(s, &ev, "title", title);
    assert_ok(world_item(s->world, &ev, &e), &e);
}

void shop_take(struct shop *s, uint8_t type, const char *user, const char *item, int64_t time_ms)
{
    struct err e = {0};
    const struct event ev = shop_behaviour(s, type, user, item, time_ms);
    assert_ok(world_take(s->world, &ev, 1, &e), &e);
}

static void begin(struct shop *s, enum slate_source source, const struct event *ev)
{
    slate_reset(s->slate);
    s->slate->id = ev->at.offset;
    s->slate->source = source;
    s->slate->at = ev->at;
    s->slate->time_ms = ev->time_ms;
    s->slate->user = arena_str(s->slate->arena, ev->user);
}

bool shop_order(struct shop *s, const char *user, const char *items, int64_t time_ms)
{
    struct err e = {0};
    uint32_t n;
    const struct str *ids = split(s, items, &n);
    struct event *lines = arena_alloc(&s->arena, n, sizeof *lines);
    assert_true(n > 0 && lines != NULL);
    for (uint32_t i = 0; i < n; i++) {
        lines[i] = shop_behaviour(s, EVENT_PURCHASE, user, NULL, time_ms);
        lines[i].item = ids[i];
    }
    begin(s, SLATE_ORGANIC, &lines[0]);
    const enum status st = world_fill_organic(s->world, s->slate, lines, n, lines[0].at, &e);
    if (st != STATUS_NOT_FOUND) assert_ok(st, &e);
    s->slate->settled_ms = time_ms;
    if (st == STATUS_OK) assert_ok(world_settled(s->world, s->slate, &e), &e);
    assert_ok(world_take(s->world, lines, n, &e), &e);
    return st == STATUS_OK;
}

void shop_show(struct shop *s, const char *user, const char *items, int64_t time_ms)
{
    struct err e = {0};
    uint32_t n;
    struct event ev = shop_behaviour(s, 0, user, NULL, time_ms);
    const struct str *ids = split(s, items, &n);
    ev.kind = EVENT_IMPRESSION;
    ev.items = arena_alloc(&s->arena, n, sizeof *ev.items);
    assert_non_null(ev.items);
    for (uint32_t i = 0; i < n; i++) ev.items[i].item = ids[i];
    ev.n_items = n;
    begin(s, SLATE_IMPRESSION, &ev);
    assert_ok(world_fill_impression(s->world, s->slate, &ev, &e), &e);
}

struct str shop_slate_bytes(struct shop *s)
{
    struct buf b = {0};
    slate_encode(&b, s->slate);
    const struct str kept = arena_str(&s->arena, (struct str){(const char *)b.p, b.n});
    assert_non_null(kept.p);
    buf_fini(&b);
    return kept;
}

int shop_find(const struct shop *s, const char *item)
{
    for (uint32_t k = 0; k < s->slate->n_items; k++)
        if (str_is(s->slate->items[k].id, item)) return (int)k;
    return -1;
}

float shop_feature(const struct shop *s, int k, const char *name)
{
    for (uint32_t i = 0; i < feat_count(s->feat); i++)
        if (strcmp(feat_name(s->feat, i), name) == 0) return s->slate->numeric[(size_t)k * s->slate->n_numeric + i];
    fail_msg("no feature %s", name);
    return NAN;
}
