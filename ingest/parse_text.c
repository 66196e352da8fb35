/* parse_text.c - the checks that do not depend on where a text came from. */
#include "ingest/parse_text.h"
#include "base/hash.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_TABLE 2048          /* > 2 * EVENT_ITEMS_MAX, a power of two */

bool parse_id(struct parse_context *x, const char *field, struct str s, struct str *out)
{
    if (s.n == 0) return reject_set(x->reject, REJECT_ID_EMPTY, "%s is empty; leave it out or give it a value", field);
    if (s.n > EVENT_ID_MAX)
        return reject_set(x->reject, REJECT_ID_TOO_LONG, "%s has %zu bytes; at most %d are allowed", field, s.n,
                          EVENT_ID_MAX);
    if (event_has_control(s)) return reject_set(x->reject, REJECT_ID_CONTROL, "%s has a control character", field);
    *out = arena_str(x->arena, s);
    x->oom = x->oom || out->p == NULL;
    return out->p != NULL;
}

bool parse_text(struct parse_context *x, struct str name, struct str s, struct str *out)
{
    if (s.n > EVENT_TEXT_MAX)
        return reject_set(x->reject, REJECT_TEXT_TOO_LONG,
                          "attribute " STR_FMT " has %zu bytes; at most %d are allowed", STR_ARG(name), s.n,
                          EVENT_TEXT_MAX);
    *out = arena_str(x->arena, s);
    x->oom = x->oom || out->p == NULL;
    return out->p != NULL;
}

bool parse_time_ms(struct parse_context *x, const char *field, int64_t ms)
{
    if (ms >= 0 && ms < EVENT_SECONDS_BELOW)
        return reject_set(x->reject, REJECT_TIME_SECONDS,
                          "%s %lld can only be seconds; give milliseconds since 1970 or RFC 3339", field,
                          (long long)ms);
    if (ms < 0 || ms > PARSE_TIME_MAX)
        return reject_set(x->reject, REJECT_TIME_RANGE,
                          "%s %lld is outside 1970 to 9999 in milliseconds (are these micro- or nanoseconds?)", field,
                          (long long)ms);
    return true;
}

bool parse_digits(struct str s, int64_t *out)
{
    size_t i = s.n > 0 && s.p[0] == '-';
    const bool negative = i == 1;
    int64_t v = 0;
    if (s.n == i || s.n - i > 18) return false;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *out = negative ? -v : v;
    return true;
}

double parse_unsigned_zero(double v)
{
    return v == 0 ? 0 : v;
}

bool parse_decimal(struct str s, double *out)
{
    char text[64];
    char *end = NULL;
    if (s.n == 0 || s.n >= sizeof text) return false;
    for (size_t i = 0; i < s.n; i++)
        if (strchr("+-.0123456789eE", s.p[i]) == NULL || s.p[i] == 0) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *out = parse_unsigned_zero(strtod(text, &end));
    return end == text + s.n && isfinite(*out);
}

struct str parse_number_text(struct arena *a, double v)
{
    char text[40];
    int n = 0;
    if (fabs(v) < 9007199254740992.0 && floor(v) == v) {
        n = snprintf(text, sizeof text, "%lld", (long long)v);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            n = snprintf(text, sizeof text, "%.*g", digits, v);
            if (strtod(text, NULL) == v) break;
        }
    }
    return arena_str(a, (struct str){text, n > 0 ? (size_t)n : 0});
}

static bool items_distinct_small(const struct event *ev, uint32_t *twice)
{
    for (uint32_t i = 1; i < ev->n_items; i++)
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(ev->items[i].item, ev->items[k].item)) {
                *twice = i;
                return false;
            }
    return true;
}

static bool items_distinct_large(const struct event *ev, uint32_t *twice)
{
    uint16_t table[ITEM_TABLE] = {0};
    for (uint32_t i = 0; i < ev->n_items; i++) {
        size_t at = (size_t)hash_str(ev->items[i].item) & (ITEM_TABLE - 1);
        for (; table[at] != 0; at = (at + 1) & (ITEM_TABLE - 1))
            if (str_eq(ev->items[table[at] - 1].item, ev->items[i].item)) {
                *twice = i;
                return false;
            }
        table[at] = (uint16_t)(i + 1);
    }
    return true;
}

bool parse_items_distinct(struct parse_context *x, const struct event *ev)
{
    uint32_t twice = 0;
    const bool ok = ev->n_items <= 32 ? items_distinct_small(ev, &twice) : items_distinct_large(ev, &twice);
    if (ok) return true;
    return reject_set(x->reject, REJECT_DUPLICATE_ITEM, "items shows \"%.100s\" twice (again at place %u)",
                      ev->items[twice].item.p, twice + 1);
}

static bool complete_impression(struct parse_context *x, const struct event *ev)
{
    if (ev->n_items == 0)
        return reject_set(x->reject, REJECT_MISSING_ITEMS, "an impression needs items, the list that was shown");
    if (ev->item.p != NULL) return reject_set(x->reject, REJECT_UNEXPECTED_FIELD, "an impression has items, not item");
    return parse_items_distinct(x, ev);
}

bool parse_complete(struct parse_context *x, const struct event *ev)
{
    const bool list = ev->kind == EVENT_IMPRESSION;
    if (!list && ev->n_items > 0)
        return reject_set(x->reject, REJECT_UNEXPECTED_FIELD, "items belongs to impressions; a %.60s has one item",
                          ev->type_name.p);
    if (ev->deleted && ev->kind != EVENT_ITEM && ev->kind != EVENT_USER)
        return reject_set(x->reject, REJECT_UNEXPECTED_FIELD, "deleted belongs to item and user events, not to %.60s",
                          ev->type_name.p);
    if (ev->propensity != NULL && !list)
        return reject_set(x->reject, REJECT_UNEXPECTED_FIELD, "propensity belongs to impressions, not to %.60s",
                          ev->type_name.p);
    if (list) return complete_impression(x, ev);
    if (ev->kind == EVENT_USER) {
        if (ev->user.p != NULL) return true;
        return reject_set(x->reject, REJECT_MISSING_USER, "a user event needs user");
    }
    if (ev->item.p == NULL)
        return reject_set(x->reject, REJECT_MISSING_ITEM, "a %.60s event needs item", ev->type_name.p);
    if (ev->kind == EVENT_BEHAVIOUR && ev->type == EVENT_RATING && isnan(ev->value))
        return reject_set(x->reject, REJECT_MISSING_VALUE, "a rating needs value, a number");
    return true;
}

bool parse_type_behaviour(struct parse_context *x, const struct conf *c, struct str name, struct event *ev)
{
    const int type = conf_type_find(c, name);
    if (name.n == 0)
        return reject_set(x->reject, REJECT_UNKNOWN_TYPE, "type is empty: an event says what it is, as view");
    if (type < 0)
        return reject_set(x->reject, REJECT_UNKNOWN_TYPE,
                          "type \"" STR_FMT "\" is not declared; say what it means with type." STR_FMT
                          ".label=positive|negative|none",
                          (int)(name.n < 60 ? name.n : 60), name.p, (int)(name.n < 60 ? name.n : 60), name.p);
    ev->kind = EVENT_BEHAVIOUR;
    ev->type = (uint8_t)type;
    ev->type_name = str_from(c->types[type].name);
    return true;
}

bool parse_type(struct parse_context *x, const struct conf *c, struct str name, struct event *ev)
{
    static const struct {
        struct str name;
        enum event_kind kind;
    } kinds[] = {{{"item", 4}, EVENT_ITEM}, {{"user", 4}, EVENT_USER}, {{"impression", 10}, EVENT_IMPRESSION}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_eq(name, kinds[i].name)) continue;
        ev->kind = kinds[i].kind;
        ev->type_name = kinds[i].name;
        return true;
    }
    return parse_type_behaviour(x, c, name, ev);
}
