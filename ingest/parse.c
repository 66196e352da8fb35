/* parse.c - native events: one walk over the object's members, known keys to fields, the rest to attributes. */
#include "ingest/parse.h"
#include "base/mem.h"
#include "ingest/parse_json.h"
#include "ingest/parse_text.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct parse {
    const struct conf *conf;
    struct parse_json *json;
};

enum key { /* the members that are not attributes */
           KEY_TYPE,
           KEY_TIME,
           KEY_ID,
           KEY_SOURCE,
           KEY_USER,
           KEY_ITEM,
           KEY_SESSION,
           KEY_ORDER,
           KEY_REQUEST,
           KEY_ITEMS,
           KEY_VERSION,
           KEY_VARIANT,
           KEY_PROPENSITY,
           KEY_VALUE,
           KEY_CONTEXT,
           KEY_DELETED,
           KEY_COUNT
};
static const struct str key_names[KEY_COUNT] = {{"type", 4},        {"time", 4},  {"id", 2},      {"source", 6},
                                                {"user", 4},        {"item", 4},  {"session", 7}, {"order", 5},
                                                {"request", 7},     {"items", 5}, {"version", 7}, {"variant", 7},
                                                {"propensity", 10}, {"value", 5}, {"context", 7}, {"deleted", 7}};

static enum key key_of(struct str s)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (s.n == key_names[i].n && s.p[0] == key_names[i].p[0] && memcmp(s.p, key_names[i].p, s.n) == 0)
            return (enum key)i;
    return KEY_COUNT;
}

bool parse_is_reserved(struct str name)
{
    return name.n > 0 && key_of(name) != KEY_COUNT;
}

static bool is_item_key(struct str key)
{
    return str_is(key, "item") || str_is(key, "propensity");
}

/* What the re-rank reply says of an item that is not the item's own; `score` is looked for among the attributes. */
static bool is_reply_key(struct str key)
{
    return is_item_key(key) || str_is(key, "rank") || str_is(key, "known");
}

enum status parse_new(struct parse **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct parse *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "parser: no memory for its state");
    p->conf = c;
    TRY_OUT(st, parse_json_new(&p->json, e));
    *out = p;
    p = NULL;
out:
    parse_free(p);
    return st;
}

void parse_free(struct parse *p)
{
    if (p == NULL) return;
    parse_json_free(p->json);
    mem_free(p);
}

static bool read_type(struct parse_context *x, const struct conf *c, const json_t *v, struct event *ev)
{
    if (!json_is_string(v)) return reject_set(x->reject, REJECT_BAD_TYPE, "type must be a text, like \"purchase\"");
    return parse_type(x, c, (struct str){json_string_value(v), json_string_length(v)}, ev);
}

/* A version is echoed as it was given: a number in the re-rank reply (1.2e1 is that number too), a text if a proxy made it one. */
static bool read_version(struct parse_context *x, const json_t *v, struct event *ev)
{
    char text[32];
    const double real = json_real_value(v); /* 0 of what is none */
    const bool whole = json_is_real(v) && real >= -0x1p63 && real < 0x1p63 && floor(real) == real;
    if (!json_is_integer(v) && !whole) return parse_json_id(x, "version", v, &ev->version);
    const long long n = whole ? (long long)real : (long long)json_integer_value(v);
    const int length = snprintf(text, sizeof text, "%lld", n);
    return parse_id(x, "version", (struct str){text, (size_t)length}, &ev->version);
}

/* What is left out of the attributes could be one. */
static bool check_unread(struct parse_context *x, const json_t *item, struct str name)
{
    const json_t *v = json_object_get(item, name.p);
    struct event_attr unread;
    bool taken;
    return v == NULL || json_is_boolean(v) || json_is_number(v) || parse_json_attr(x, name, v, &unread, &taken);
}

static bool read_item(struct parse_context *x, const json_t *v, struct event_item *out)
{
    if (json_is_string(v)) return parse_json_id(x, "an item of items", v, &out->item);
    const json_t *id = json_is_object(v) ? json_object_get(v, "item") : NULL;
    if (id == NULL || json_is_null(id))
        return reject_set(x->reject, REJECT_BAD_ITEMS,
                          "items holds something that is neither a text nor an object with item");
    if (!parse_json_id(x, "an item of items", id, &out->item)) return false;
    if (json_object_size(v) == 1) return true;
    const bool reply = json_object_get(v, "known") != NULL; /* an item's own rank stays with it */
    if (reply && (!check_unread(x, v, STR("known")) || !check_unread(x, v, STR("rank")))) return false;
    return parse_json_attrs(x, v, reply ? is_reply_key : is_item_key, &out->attrs, &out->n_attrs);
}

static bool read_items(struct parse_context *x, const json_t *v, struct event *ev)
{
    const size_t n = json_array_size(v);
    if (json_is_null(v)) return true;
    if (!json_is_array(v)) return reject_set(x->reject, REJECT_BAD_ITEMS, "items must be a list");
    if (n > EVENT_ITEMS_MAX)
        return reject_set(x->reject, REJECT_TOO_MANY_ITEMS, "items has %zu entries; at most %d are allowed", n,
                          EVENT_ITEMS_MAX);
    ev->items = arena_alloc(x->arena, n, sizeof *ev->items);
    x->oom = x->oom || ev->items == NULL;
    if (ev->items == NULL) return false;
    for (size_t i = 0; i < n; i++)
        if (!read_item(x, json_array_get(v, i), &ev->items[i])) return false;
    ev->n_items = (uint32_t)n;
    return true;
}

static const json_t *item_propensity(const json_t *items, uint32_t i)
{
    return json_object_get(json_array_get(items, i), "propensity"); /* NULL of a text too */
}

static bool read_share(struct parse_context *x, const json_t *p, uint32_t i, double *out)
{
    *out = json_is_number(p) ? json_number_value(p) : 0;
    if (*out > 0 && *out <= 1) return true;
    if (!json_is_number(p))
        return reject_set(x->reject, REJECT_BAD_PROPENSITY, "propensity of item %u is not a number", i + 1);
    return reject_set(x->reject, REJECT_BAD_PROPENSITY, "propensity of item %u is %g, not above 0 and at most 1", i + 1,
                      *out);
}

/* The event's list, or what each item says as the re-rank reply has it; beside a list that must be right too.  Needs n_items, so
 * it is read after the walk. */
static bool read_propensity(struct parse_context *x, const json_t *list, const json_t *items, struct event *ev)
{
    const bool own = list == NULL || json_is_null(list);
    bool any = !own;
    for (uint32_t i = 0; i < ev->n_items && !any; i++) any = item_propensity(items, i) != NULL;
    if (!any) return true;
    if (!own && (!json_is_array(list) || json_array_size(list) != ev->n_items))
        return reject_set(x->reject, REJECT_BAD_PROPENSITY, "propensity must be a list of one number per item (%u)",
                          ev->n_items);
    ev->propensity = arena_alloc(x->arena, ev->n_items, sizeof *ev->propensity);
    x->oom = x->oom || ev->propensity == NULL;
    if (ev->propensity == NULL) return false;
    for (uint32_t i = 0; i < ev->n_items; i++) {
        const json_t *one = item_propensity(items, i);
        if ((own || one != NULL) && !read_share(x, one, i, &ev->propensity[i])) return false;
        if (!own && !read_share(x, json_array_get(list, i), i, &ev->propensity[i])) return false;
    }
    return true;
}

static bool read_deleted(struct parse_context *x, const json_t *v, struct event *ev)
{
    if (json_is_null(v)) return true;
    if (!json_is_boolean(v)) return reject_set(x->reject, REJECT_BAD_BOOL, "deleted must be true or false");
    ev->deleted = json_is_true(v);
    return true;
}

static bool read_context(struct parse_context *x, const json_t *v, struct event *ev)
{
    if (json_is_null(v)) return true;
    if (!json_is_object(v)) return reject_set(x->reject, REJECT_BAD_CONTEXT, "context must be an object");
    return parse_json_attrs(x, v, NULL, &ev->context, &ev->n_context);
}

static bool read_member(struct parse_context *x, enum key key, const json_t *v, struct event *ev)
{
    switch (key) {
    case KEY_ID: return parse_json_id(x, "id", v, &ev->id);
    case KEY_SOURCE: return parse_json_id(x, "source", v, &ev->source);
    case KEY_USER: return parse_json_id(x, "user", v, &ev->user);
    case KEY_ITEM: return parse_json_id(x, "item", v, &ev->item);
    case KEY_SESSION: return parse_json_id(x, "session", v, &ev->session);
    case KEY_ORDER: return parse_json_id(x, "order", v, &ev->order);
    case KEY_REQUEST: return parse_json_id(x, "request", v, &ev->request);
    case KEY_VARIANT: return parse_json_id(x, "variant", v, &ev->variant);
    case KEY_VERSION: return read_version(x, v, ev);
    case KEY_ITEMS: return read_items(x, v, ev);
    case KEY_VALUE: return parse_json_number(x, "value", v, &ev->value);
    case KEY_CONTEXT: return read_context(x, v, ev);
    case KEY_DELETED: return read_deleted(x, v, ev);
    default: return true; /* type, time and propensity have their own places */
    }
}

static bool read_members(struct parse_context *x, json_t *root, struct event *ev)
{
    const json_t *propensity = NULL, *items = NULL;
    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        const struct str name = {json_object_iter_key(at), json_object_iter_key_len(at)};
        const enum key key = key_of(name);
        if (key == KEY_PROPENSITY) propensity = json_object_iter_value(at);
        if (key == KEY_ITEMS) items = json_object_iter_value(at);
        if (key != KEY_COUNT && !read_member(x, key, json_object_iter_value(at), ev)) return false;
    }
    return read_propensity(x, propensity, items, ev);
}

static bool read_event(struct parse_context *x, const struct conf *c, json_t *root, struct event *ev)
{
    const json_t *type = json_object_get(root, "type"), *time = json_object_get(root, "time");
    if (type == NULL || json_is_null(type)) return reject_set(x->reject, REJECT_MISSING_TYPE, "the event has no type");
    if (!read_type(x, c, type, ev)) return false;
    if (time == NULL || json_is_null(time)) return reject_set(x->reject, REJECT_MISSING_TIME, "the event has no time");
    if (!parse_json_time(x, "time", time, false, &ev->time_ms)) return false;
    if (!read_members(x, root, ev)) return false;
    if (!parse_json_attrs(x, root, parse_is_reserved, &ev->attrs, &ev->n_attrs)) return false;
    if (!parse_attr_number(x, ev, "price", &ev->price) || !parse_attr_number(x, ev, "quantity", &ev->quantity))
        return false;
    return parse_complete(x, ev);
}

enum status parse_event(struct parse *p, struct str text, struct arena *a, struct event *ev, struct reject *r,
                        struct err *e)
{
    struct parse_context x = {.arena = a, .reject = r};
    json_t *root = NULL;
    *ev = (struct event){.value = NAN, .quantity = NAN, .price = NAN};
    r->code = REJECT_NONE;
    if (text.n > (size_t)p->conf->ingest_max_bytes) {
        (void)reject_set(r, REJECT_TOO_LONG, "the message has %zu bytes; ingest.max_bytes allows %lld", text.n,
                         (long long)p->conf->ingest_max_bytes);
        return STATUS_INVALID;
    }
    TRY(parse_json_load(p->json, text, &root, r, e));
    if (read_event(&x, p->conf, root, ev)) return STATUS_OK;
    if (x.oom) return ERR_SET(e, STATUS_OOM, "parser: no memory for an event of %zu bytes", text.n);
    return STATUS_INVALID;
}
