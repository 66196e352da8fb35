/* event.c - copying, packing and taking apart of events.  Their JSON form is in event_json.c. */
#include "schemas/event.h"
#include <math.h>
#include <string.h>

#define EVENT_FORMAT 1

const struct event_attr *event_attr(const struct event_attr *attrs, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_is(attrs[i].name, name)) return &attrs[i];
    return NULL;
}

bool event_has_control(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) return true;
        if (p[i] == 0xc2 && i + 1 < s.n && p[i + 1] < 0xa0) return true;
    }
    return false;
}

/* The strings of an event in packing order; what is packed, copied and taken apart walks the same list. */
#define EVENT_STRINGS(X)                                                                                               \
    X(type_name) X(id) X(source) X(user) X(item) X(session) X(order) X(request) X(version) X(variant)

/* ---- copying ---- */

static bool copy_str(struct str *out, struct str s, struct arena *a)
{
    *out = (struct str){NULL, 0};
    if (s.p == NULL) return true;
    *out = arena_str(a, s);
    return out->p != NULL;
}

static bool copy_attrs(struct event_attr **out, const struct event_attr *attrs, uint32_t n, struct arena *a)
{
    *out = NULL;
    if (n == 0) return true;
    struct event_attr *to = arena_alloc(a, n, sizeof *to);
    if (to == NULL) return false;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = attrs[i];
        to[i].list = NULL;
        if (!copy_str(&to[i].name, attrs[i].name, a) || !copy_str(&to[i].text, attrs[i].text, a)) return false;
        if (attrs[i].n_list == 0) continue;
        to[i].list = arena_alloc(a, attrs[i].n_list, sizeof *to[i].list);
        if (to[i].list == NULL) return false;
        for (uint32_t j = 0; j < attrs[i].n_list; j++)
            if (!copy_str(&to[i].list[j], attrs[i].list[j], a)) return false;
    }
    *out = to;
    return true;
}

static bool copy_items(struct event *out, const struct event *e, struct arena *a)
{
    out->items = NULL;
    out->propensity = NULL;
    if (e->items == NULL) return true;
    out->items = arena_alloc(a, e->n_items, sizeof *out->items);
    if (out->items == NULL) return false;
    for (uint32_t i = 0; i < e->n_items; i++) {
        out->items[i].n_attrs = e->items[i].n_attrs;
        if (!copy_str(&out->items[i].item, e->items[i].item, a)) return false;
        if (!copy_attrs(&out->items[i].attrs, e->items[i].attrs, e->items[i].n_attrs, a)) return false;
    }
    if (e->propensity == NULL) return true;
    out->propensity = arena_alloc(a, e->n_items, sizeof *out->propensity);
    if (out->propensity == NULL) return false;
    if (e->n_items > 0) memcpy(out->propensity, e->propensity, e->n_items * sizeof *out->propensity);
    return true;
}

struct str event_subject(struct str user, struct str session, char room[EVENT_ID_MAX])
{
    static const char prefix[] = "session:";
    const size_t head = sizeof prefix - 1;
    if (str_has(user) || !str_has(session) || session.n > EVENT_ID_MAX - head) return user;
    memcpy(room, prefix, head);
    memcpy(room + head, session.p, session.n);
    return (struct str){room, head + session.n};
}

enum status event_copy(struct event *out, const struct event *e, struct arena *a)
{
    *out = *e;
#define X(field)                                                                                                       \
    if (!copy_str(&out->field, e->field, a)) return STATUS_OOM;
    EVENT_STRINGS(X)
#undef X
    if (!copy_items(out, e, a) || !copy_attrs(&out->attrs, e->attrs, e->n_attrs, a) ||
        !copy_attrs(&out->context, e->context, e->n_context, a))
        return STATUS_OOM;
    return STATUS_OK;
}

/* ---- packing ---- */

static void put_attrs(struct buf *b, const struct event_attr *attrs, uint32_t n)
{
    buf_varint(b, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_str(b, attrs[i].name);
        buf_u8(b, (uint8_t)attrs[i].kind);
        buf_str(b, attrs[i].text);
        buf_f64(b, attrs[i].number);
        buf_varint(b, attrs[i].n_list);
        for (uint32_t j = 0; j < attrs[i].n_list; j++) buf_str(b, attrs[i].list[j]);
    }
}

void event_encode(struct buf *b, const struct event *e)
{
    buf_u8(b, EVENT_FORMAT);
    buf_u8(b, (uint8_t)e->kind);
    buf_u8(b, e->type);
    buf_u8(b, (uint8_t)(e->deleted | (e->items != NULL) << 1 | (e->propensity != NULL) << 2 | e->joined << 3));
    buf_i64(b, e->time_ms);
    buf_varint(b, e->at.topic);
    buf_varint(b, e->at.partition);
    buf_varint(b, e->at.offset);
#define X(field) buf_str(b, e->field);
    EVENT_STRINGS(X)
#undef X
    buf_f64(b, e->value);
    buf_f64(b, e->quantity);
    buf_f64(b, e->price);
    put_attrs(b, e->attrs, e->n_attrs);
    put_attrs(b, e->context, e->n_context);
    if (e->items == NULL) return;
    buf_varint(b, e->n_items);
    for (uint32_t i = 0; i < e->n_items; i++) {
        buf_str(b, e->items[i].item);
        put_attrs(b, e->items[i].attrs, e->items[i].n_attrs);
        if (e->propensity != NULL) buf_f64(b, e->propensity[i]);
    }
}

/* ---- taking apart ---- */

struct taking {
    struct buf_reader *r;
    struct arena *a;
    struct err *e;
};

static enum status corrupt(const struct taking *t, const char *why)
{
    return ERR_SET(t->e, STATUS_CORRUPT, "packed event: %s; the record is damaged", why);
}

static enum status oom(const struct taking *t)
{
    return ERR_SET(t->e, STATUS_OOM, "packed event: out of memory while decoding");
}

static enum status get_str(const struct taking *t, size_t max, struct str *out)
{
    const struct str s = buf_get_str(t->r);
    if (t->r->bad || s.n > max) return corrupt(t, "a string is cut off or too long");
    return copy_str(out, s, t->a) ? STATUS_OK : oom(t);
}

static enum status get_attr(const struct taking *t, struct event_attr *a)
{
    TRY(get_str(t, EVENT_TEXT_MAX, &a->name));
    const uint8_t kind = buf_get_u8(t->r);
    TRY(get_str(t, EVENT_TEXT_MAX, &a->text));
    a->number = buf_get_f64(t->r);
    const size_t n = buf_get_count(t->r, 1);
    if (t->r->bad || kind > EVENT_ATTR_LIST || n > EVENT_LIST_MAX || isinf(a->number) || !str_has(a->name))
        return corrupt(t, "an attribute is cut off or out of range");
    a->kind = (enum event_attr_kind)kind;
    if (n == 0) return STATUS_OK;
    a->list = arena_alloc(t->a, n, sizeof *a->list);
    if (a->list == NULL) return oom(t);
    a->n_list = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_str(t, EVENT_TEXT_MAX, &a->list[i]));
    return STATUS_OK;
}

static enum status get_attrs(const struct taking *t, struct event_attr **attrs, uint32_t *n_attrs)
{
    const size_t n = buf_get_count(t->r, 12);
    if (t->r->bad || n > EVENT_ATTRS_MAX) return corrupt(t, "its attributes are cut off or too many");
    if (n == 0) return STATUS_OK;
    *attrs = arena_alloc(t->a, n, sizeof **attrs);
    if (*attrs == NULL) return oom(t);
    *n_attrs = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_attr(t, &(*attrs)[i]));
    return STATUS_OK;
}

static enum status get_items(const struct taking *t, struct event *out, bool propensity)
{
    const size_t n = buf_get_count(t->r, 2);
    if (t->r->bad || n > EVENT_ITEMS_MAX) return corrupt(t, "its items are cut off or too many");
    out->items = arena_alloc(t->a, n, sizeof *out->items);
    if (propensity) out->propensity = arena_alloc(t->a, n, sizeof *out->propensity);
    if (out->items == NULL || (propensity && out->propensity == NULL)) return oom(t);
    out->n_items = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        TRY(get_str(t, EVENT_ID_MAX, &out->items[i].item));
        TRY(get_attrs(t, &out->items[i].attrs, &out->items[i].n_attrs));
        if (propensity) out->propensity[i] = buf_get_f64(t->r);
        if (t->r->bad || out->items[i].item.p == NULL || (propensity && isinf(out->propensity[i])))
            return corrupt(t, "an item is cut off or out of range");
    }
    return STATUS_OK;
}

static enum status get_head(const struct taking *t, struct event *out, uint8_t *flags)
{
    const uint8_t format = buf_get_u8(t->r), kind = buf_get_u8(t->r);
    out->type = buf_get_u8(t->r);
    *flags = buf_get_u8(t->r);
    out->time_ms = buf_get_i64(t->r);
    const uint64_t topic = buf_get_varint(t->r), partition = buf_get_varint(t->r);
    out->at.offset = buf_get_varint(t->r);
    if (t->r->bad || format != EVENT_FORMAT || kind > EVENT_BEHAVIOUR || out->type >= EVENT_TYPES_MAX || *flags > 15 ||
        (*flags & 6) == 4 || topic > UINT32_MAX || partition > UINT32_MAX)
        return corrupt(t, "its head is cut off or out of range");
    out->kind = (enum event_kind)kind;
    out->deleted = (*flags & 1) != 0;
    out->joined = (*flags & 8) != 0;
    out->at.topic = (uint32_t)topic;
    out->at.partition = (uint32_t)partition;
    return STATUS_OK;
}

enum status event_decode(struct event *out, struct buf_reader *r, struct arena *a, struct err *err)
{
    const struct taking t = {r, a, err};
    uint8_t flags;
    *out = (struct event){0};
    TRY(get_head(&t, out, &flags));
#define X(field) TRY(get_str(&t, EVENT_ID_MAX, &out->field));
    EVENT_STRINGS(X)
#undef X
    out->value = buf_get_f64(r);
    out->quantity = buf_get_f64(r);
    out->price = buf_get_f64(r);
    if (r->bad || isinf(out->value) || isinf(out->quantity) || isinf(out->price))
        return corrupt(&t, "its numbers are cut off or not finite");
    TRY(get_attrs(&t, &out->attrs, &out->n_attrs));
    TRY(get_attrs(&t, &out->context, &out->n_context));
    return (flags & 2) != 0 ? get_items(&t, out, (flags & 4) != 0) : STATUS_OK;
}
