/* event_check.c - see event_check.h. */
#include "tests/fuzz/event_check.h"
#include "base/utf8.h"
#include "ingest/parse_text.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>

static void check_id(struct str s)
{
    if (s.p == NULL) return;
    FUZZ_CHECK(s.n > 0 && s.n <= EVENT_ID_MAX && s.p[s.n] == 0);
    FUZZ_CHECK(utf8_valid(s) && memchr(s.p, 0, s.n) == NULL);
}

static void check_text(struct str s)
{
    FUZZ_CHECK(s.n <= EVENT_TEXT_MAX && utf8_valid(s) && (s.p == NULL || memchr(s.p, 0, s.n) == NULL));
}

static void check_attrs(const struct event_attr *attrs, uint32_t n)
{
    FUZZ_CHECK(n <= EVENT_ATTRS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const struct event_attr *a = &attrs[i];
        FUZZ_CHECK(a->name.p != NULL && a->name.n > 0);
        check_id(a->name);
        check_text(a->text);
        if (a->kind == EVENT_ATTR_NUMBER) FUZZ_CHECK(isfinite(a->number) && a->text.n > 0);
        FUZZ_CHECK(a->n_list <= EVENT_LIST_MAX);
        for (uint32_t k = 0; k < a->n_list; k++) check_text(a->list[k]);
    }
}

static void check_bounds(const struct event *ev)
{
    const struct str ids[] = {ev->id,    ev->source,  ev->user,    ev->item,   ev->session,
                              ev->order, ev->request, ev->version, ev->variant};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) check_id(ids[i]);
    FUZZ_CHECK(ev->time_ms >= 0 && ev->time_ms <= 253402300799999);
    FUZZ_CHECK(ev->type_name.n > 0 && ev->type < EVENT_TYPES_MAX && ev->kind <= EVENT_BEHAVIOUR);
    FUZZ_CHECK(ev->n_items <= EVENT_ITEMS_MAX && (ev->kind == EVENT_IMPRESSION) == (ev->n_items > 0));
    for (uint32_t i = 0; i < ev->n_items; i++) {
        FUZZ_CHECK(ev->items[i].item.p != NULL);
        check_id(ev->items[i].item);
        check_attrs(ev->items[i].attrs, ev->items[i].n_attrs);
        if (ev->propensity != NULL) FUZZ_CHECK(ev->propensity[i] > 0 && ev->propensity[i] <= 1);
    }
    check_attrs(ev->attrs, ev->n_attrs);
    check_attrs(ev->context, ev->n_context);
    FUZZ_CHECK(!isinf(ev->value) && !isinf(ev->price) && !isinf(ev->quantity));
}

static void check_packing(const struct event *ev, const struct buf *packed)
{
    struct arena a = {0};
    struct buf again = {0};
    struct err e = {0};
    struct event back;
    struct buf_reader r = buf_reader(packed->p, packed->n);
    FUZZ_OK(event_decode(&back, &r, &a, &e), &e);
    FUZZ_CHECK(buf_left(&r) == 0 && back.time_ms == ev->time_ms);
    event_encode(&again, &back);
    FUZZ_CHECK(again.n == packed->n && memcmp(again.p, packed->p, again.n) == 0);
    buf_fini(&again);
    arena_fini(&a);
}

/* Reserved names can't be written again: those of other formats were renamed, so all that comes here can be. */
static void check_json(struct parse *native, const struct event *ev, const struct buf *packed)
{
    struct arena a = {0};
    struct buf json = {0}, again = {0};
    struct err e = {0};
    struct reject r = {0};
    struct event back;
    event_write_json(&json, ev);
    const enum status st = parse_event(native, (struct str){(const char *)json.p, json.n}, &a, &back, &r, &e);
    if (st != STATUS_OK) fuzz_fail(__FILE__, __LINE__, "an event written as JSON reads again", r.text);
    event_encode(&again, &back);
    FUZZ_CHECK(again.n == packed->n && memcmp(again.p, packed->p, again.n) == 0);
    buf_fini(&again);
    buf_fini(&json);
    arena_fini(&a);
}

void fuzz_check_event(struct parse *native, const struct event *ev)
{
    struct buf packed = {0};
    check_bounds(ev);
    event_encode(&packed, ev);
    FUZZ_CHECK(!packed.oom);
    check_packing(ev, &packed);
    if (native != NULL) check_json(native, ev, &packed);
    buf_fini(&packed);
}

void fuzz_check_reject(enum status st, const struct reject *r)
{
    FUZZ_CHECK(st == STATUS_INVALID);
    FUZZ_CHECK(r->code > REJECT_NONE && r->code < REJECT_COUNT);
    FUZZ_CHECK(r->text[0] != 0 && memchr(r->text, 0, sizeof r->text) != NULL);
    for (const char *c = r->text; *c; c++) FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    FUZZ_CHECK(utf8_valid(str_from(r->text)));
}
