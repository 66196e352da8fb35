/* event_json.c - events as native JSON objects, one line each, keys in a fixed order. */
#include "schemas/event_json.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "schemas/event.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_MAX 18 /* a longer integer may overflow the parser that reads it back */

static void put_escape(struct buf *b, unsigned char c)
{
    static const char short_of[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (c == '"' || c == '\\')
        buf_printf(b, "\\%c", c);
    else if (c < sizeof short_of && short_of[c] != 0)
        buf_printf(b, "\\%c", short_of[c]);
    else
        buf_printf(b, "\\u%04x", c);
}

void event_json_string(struct buf *b, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t from = 0;
    buf_u8(b, '"');
    for (size_t i = 0; i < s.n;) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\') { /* most of any text */
            i++;
            continue;
        }
        const bool plain = p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f;
        const size_t n = utf8_length(p + i, s.n - i);
        if (plain && n > 0) {
            i += n;
            continue;
        }
        buf_put(b, p + from, i - from);
        if (n == 0)
            buf_put(b, "\xef\xbf\xbd", 3);
        else
            put_escape(b, p[i]);
        from = ++i;
    }
    if (s.n > from) buf_put(b, p + from, s.n - from);
    buf_u8(b, '"');
}

void event_json_number(struct buf *b, double v)
{
    char text[40];
    if (!isfinite(v)) {
        buf_put(b, "null", 4);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    buf_put(b, text, strlen(text));
}

/* Does text follow the grammar of a JSON number (RFC 8259 section 6)? */
static bool json_number(struct str s)
{
    size_t i = 0;
    const char *p = s.p;
#define DIGITS() (i < s.n && p[i] >= '0' && p[i] <= '9')
    if (i < s.n && p[i] == '-') i++;
    if (!DIGITS()) return false;
    if (p[i] == '0')
        i++;
    else
        while (DIGITS()) i++;
    if (i < s.n && p[i] == '.') {
        i++;
        if (!DIGITS()) return false;
        while (DIGITS()) i++;
    }
    if (i < s.n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < s.n && (p[i] == '+' || p[i] == '-')) i++;
        if (!DIGITS()) return false;
        while (DIGITS()) i++;
    }
#undef DIGITS
    return i == s.n;
}

static void put_name(struct buf *b, const char *name)
{
    if (b->n > 0 && b->p[b->n - 1] != '{') buf_u8(b, ',');
    buf_printf(b, "\"%s\":", name);
}

static void put_field(struct buf *b, const char *name, struct str s)
{
    if (s.p == NULL) return;
    put_name(b, name);
    event_json_string(b, s);
}

static void put_attr(struct buf *b, const struct event_attr *a)
{
    if (b->n > 0 && b->p[b->n - 1] != '{') buf_u8(b, ',');
    event_json_string(b, a->name);
    buf_u8(b, ':');
    switch (a->kind) {
    case EVENT_ATTR_TEXT: event_json_string(b, a->text); return;
    case EVENT_ATTR_BOOL: buf_printf(b, "%s", a->number != 0 ? "true" : "false"); return;
    case EVENT_ATTR_NUMBER:
        /* as it was written, so that nothing is rounded on the way */
        if (a->text.p != NULL && a->text.n <= NUMBER_TEXT_MAX && json_number(a->text))
            buf_put(b, a->text.p, a->text.n);
        else
            event_json_number(b, a->number);
        return;
    case EVENT_ATTR_LIST: break;
    }
    buf_u8(b, '[');
    for (uint32_t i = 0; i < a->n_list; i++) {
        if (i > 0) buf_u8(b, ',');
        event_json_string(b, a->list[i]);
    }
    buf_u8(b, ']');
}

static bool is_field(struct str name)
{
    static const char *const fields[] = {"type",       "time",  "id",      "source", "user",    "item",
                                         "session",    "order", "request", "items",  "version", "variant",
                                         "propensity", "value", "context", "deleted"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (str_is(name, fields[i])) return true;
    return false;
}

static void put_items(struct buf *b, const struct event *e)
{
    put_name(b, "items");
    buf_u8(b, '[');
    for (uint32_t i = 0; i < e->n_items; i++) {
        const struct event_item *it = &e->items[i];
        if (i > 0) buf_u8(b, ',');
        if (it->n_attrs == 0) {
            event_json_string(b, it->item);
            continue;
        }
        buf_u8(b, '{');
        put_field(b, "item", it->item);
        for (uint32_t j = 0; j < it->n_attrs; j++)
            if (!str_is(it->attrs[j].name, "item")) put_attr(b, &it->attrs[j]);
        buf_u8(b, '}');
    }
    buf_u8(b, ']');
}

static struct str type_word(const struct event *e)
{
    switch (e->kind) {
    case EVENT_ITEM: return STR("item");
    case EVENT_USER: return STR("user");
    case EVENT_IMPRESSION: return STR("impression");
    case EVENT_BEHAVIOUR: break;
    }
    return e->type_name;
}

static void put_number(struct buf *b, const char *name, double v)
{
    if (isnan(v)) return;
    put_name(b, name);
    event_json_number(b, v);
}

/* In milliseconds; before 1973 those would read as seconds, so it is RFC 3339 there. */
static void put_time(struct buf *b, int64_t time_ms)
{
    char text[CLOCK_TEXT];
    put_name(b, "time");
    if (time_ms >= EVENT_SECONDS_BELOW) {
        buf_printf(b, "%lld", (long long)time_ms);
        return;
    }
    clock_format(time_ms, text);
    buf_printf(b, "\"%s\"", text);
}

static void put_shown(struct buf *b, const struct event *e)
{
    if (e->items != NULL) put_items(b, e);
    put_field(b, "version", e->version);
    put_field(b, "variant", e->variant);
    if (e->propensity == NULL) return;
    put_name(b, "propensity");
    for (uint32_t i = 0; i < e->n_items; i++) {
        buf_u8(b, i == 0 ? '[' : ',');
        event_json_number(b, e->propensity[i]);
    }
    buf_printf(b, "%s", e->n_items == 0 ? "[]" : "]");
}

static void put_attrs(struct buf *b, const struct event *e)
{
    if (event_attr(e->attrs, e->n_attrs, "price") == NULL) put_number(b, "price", e->price);
    if (event_attr(e->attrs, e->n_attrs, "quantity") == NULL) put_number(b, "quantity", e->quantity);
    for (uint32_t i = 0; i < e->n_attrs; i++)
        if (!is_field(e->attrs[i].name)) put_attr(b, &e->attrs[i]);
}

void event_write_json(struct buf *b, const struct event *e)
{
    buf_u8(b, '{');
    put_field(b, "type", type_word(e));
    put_time(b, e->time_ms);
    put_field(b, "id", e->id);
    put_field(b, "source", e->source);
    put_field(b, "user", e->user);
    put_field(b, "item", e->item);
    put_field(b, "session", e->session);
    put_field(b, "order", e->order);
    put_field(b, "request", e->request);
    put_shown(b, e);
    put_number(b, "value", e->value);
    put_attrs(b, e);
    if (e->n_context > 0) {
        put_name(b, "context");
        buf_u8(b, '{');
        for (uint32_t i = 0; i < e->n_context; i++) put_attr(b, &e->context[i]);
        buf_u8(b, '}');
    }
    if (e->deleted) buf_printf(b, ",\"deleted\":true");
    buf_u8(b, '}');
}
