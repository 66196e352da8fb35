/* score_request.c - jansson's tree taken apart field by field. */
#include "serving/score_request.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/jsonroom.h"
#include "featurize/describe.h"
#include "schemas/conf_live.h"
#include "schemas/jsonload.h"
#include <math.h>
#include <stdio.h>

#define DOCUMENT_BYTES ((size_t)128 << 20)    /* that a body's values may take: 10,000 items of 60 attributes do */
#define TIME_LEAST_MS INT64_C(100000000000)   /* a smaller number can only be seconds */
#define TIME_MOST_MS INT64_C(253402300799999) /* the end of the year 9999 */

struct parsing {
    struct score_request *q;
    const struct conf *c;
    struct err *e;
};

static enum status no_memory(struct parsing *p)
{
    return ERR_SET(p->e, STATUS_OOM, "the request needs more memory than there is");
}

static enum status get_id(struct parsing *p, const char *field, const json_t *v, struct str *out)
{
    if (!json_is_string(v)) return ERR_SET(p->e, STATUS_INVALID, "%s must be a string", field);
    *out = (struct str){json_string_value(v), json_string_length(v)};
    if (out->n == 0) return ERR_SET(p->e, STATUS_INVALID, "%s is empty", field);
    if (out->n > EVENT_ID_MAX)
        return ERR_SET(p->e, STATUS_INVALID, "%s has %zu bytes; at most %d are allowed", field, out->n, EVENT_ID_MAX);
    return event_has_control(*out) ? ERR_SET(p->e, STATUS_INVALID, "%s has a control character", field) : STATUS_OK;
}

static enum status get_time(struct parsing *p, const char *field, const json_t *v, int64_t *out)
{
    if (json_is_string(v)) {
        const struct str s = {json_string_value(v), json_string_length(v)};
        if (!clock_parse_rfc3339(s, out))
            return ERR_SET(p->e, STATUS_INVALID, "%s is not an RFC 3339 date and time with zone", field);
    } else {
        if (json_is_real(v) && fabs(json_real_value(v)) >= 0x1p63)
            return ERR_SET(p->e, STATUS_INVALID, "%s %.17g is outside 1970 to 9999 in milliseconds", field,
                           json_real_value(v));
        if (!json_is_integer(v))
            return ERR_SET(p->e, STATUS_INVALID, "%s must be RFC 3339 text or integer milliseconds since 1970", field);
        *out = json_integer_value(v);
        if (*out >= 0 && *out < TIME_LEAST_MS)
            return ERR_SET(p->e, STATUS_INVALID, "%s %lld can only be seconds; give milliseconds since 1970", field,
                           (long long)*out);
    }
    if (*out < 0 || *out > TIME_MOST_MS)
        return ERR_SET(p->e, STATUS_INVALID, "%s %lld is outside 1970 to 9999 in milliseconds", field, (long long)*out);
    return STATUS_OK;
}

/* --- attributes --------------------------------------------------------------------------------------------------- */

static enum status get_text(struct parsing *p, const char *name, const json_t *v, struct str *out)
{
    if (json_is_string(v)) {
        *out = (struct str){json_string_value(v), json_string_length(v)};
        if (out->n <= EVENT_TEXT_MAX) return STATUS_OK;
        return ERR_SET(p->e, STATUS_INVALID, "%s has %zu bytes; at most %d are allowed", name, out->n, EVENT_TEXT_MAX);
    }
    char text[DESCRIBE_NUMBER_MAX];
    const double x = json_number_value(v);
    if (!isfinite(x)) return ERR_SET(p->e, STATUS_INVALID, "%s is not finite", name);
    *out = arena_str(&p->q->arena, (struct str){text, describe_number(text, x)});
    return out->p ? STATUS_OK : no_memory(p);
}

static enum status get_list(struct parsing *p, const char *name, const json_t *v, struct event_attr *a)
{
    const size_t n = json_array_size(v);
    if (n > EVENT_LIST_MAX)
        return ERR_SET(p->e, STATUS_INVALID, "%s lists %zu values; at most %d are allowed", name, n, EVENT_LIST_MAX);
    a->kind = EVENT_ATTR_LIST;
    a->n_list = (uint32_t)n;
    a->list = arena_alloc(&p->q->arena, n, sizeof *a->list);
    if (a->list == NULL && n > 0) return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(v, i);
        if (!json_is_string(one) && !json_is_number(one))
            return ERR_SET(p->e, STATUS_INVALID, "%s may list strings and numbers only", name);
        TRY(get_text(p, name, one, &a->list[i]));
    }
    return STATUS_OK;
}

static enum status get_attr(struct parsing *p, const char *name, const json_t *v, struct event_attr *a)
{
    *a = (struct event_attr){.name = str_from(name)};
    if (a->name.n == 0 || a->name.n > EVENT_ID_MAX)
        return ERR_SET(p->e, STATUS_INVALID, "an attribute's name is empty or too long");
    if (json_is_array(v)) return get_list(p, name, v, a);
    if (json_is_boolean(v)) {
        a->kind = EVENT_ATTR_BOOL;
        a->number = json_is_true(v);
        a->text = json_is_true(v) ? STR("true") : STR("false");
        return STATUS_OK;
    }
    if (!json_is_string(v) && !json_is_number(v)) return ERR_SET(p->e, STATUS_INVALID, "%s may not be an object", name);
    a->kind = json_is_number(v) ? EVENT_ATTR_NUMBER : EVENT_ATTR_TEXT;
    a->number = json_is_number(v) ? json_number_value(v) : 0;
    return get_text(p, name, v, &a->text);
}

static bool among(const char *name, const char *const *list)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(name, *list) == 0) return true;
    return false;
}

/* The members of an object as attributes, those in `but` and nulls left out. */
static enum status get_attrs(struct parsing *p, const char *field, json_t *o, const char *const *but,
                             struct event_attr **out, uint32_t *n)
{
    const char *name;
    json_t *v;
    if (!json_is_object(o)) return ERR_SET(p->e, STATUS_INVALID, "%s must be an object", field);
    const size_t most = json_object_size(o) < EVENT_ATTRS_MAX ? json_object_size(o) : EVENT_ATTRS_MAX;
    *n = 0;
    *out = arena_alloc(&p->q->arena, most, sizeof **out);
    if (*out == NULL && most > 0) return no_memory(p);
    json_object_foreach(o, name, v)
    {
        if (json_is_null(v) || among(name, but)) continue;
        if (*n == most) return ERR_SET(p->e, STATUS_INVALID, "%s has more than %d attributes", field, EVENT_ATTRS_MAX);
        TRY(get_attr(p, name, v, &(*out)[*n]));
        ++*n;
    }
    return STATUS_OK;
}

/* --- candidates and history --------------------------------------------------------------------------------------- */

static const char *const item_names[] = {"item", NULL};
static const char *const past_names[] = {"item", "type", "time", NULL};

static enum status get_item(struct parsing *p, const char *field, json_t *v, struct score_item *out)
{
    if (json_is_string(v)) return get_id(p, field, v, &out->id);
    if (!json_is_object(v)) return ERR_SET(p->e, STATUS_INVALID, "%s must be an id or an object with \"item\"", field);
    TRY(get_id(p, "item", json_object_get(v, "item"), &out->id));
    return get_attrs(p, field, v, item_names, &out->attrs, &out->n_attrs);
}

/* No item may stand in the list twice: an open-addressed table of the ids' hashes. */
static enum status check_twice(struct parsing *p)
{
    const struct score_request *q = p->q;
    const struct arena_mark mark = arena_save(&p->q->arena);
    uint32_t slots = 16;
    while (slots < 2 * q->n_items) slots *= 2;
    uint32_t *table = arena_alloc(&p->q->arena, slots, sizeof *table);
    if (table == NULL) return no_memory(p);
    for (uint32_t i = 0; i < q->n_items; i++) {
        uint32_t at = (uint32_t)hash_str(q->items[i].id) & (slots - 1);
        for (; table[at] != 0; at = (at + 1) & (slots - 1))
            if (str_eq(q->items[table[at] - 1].id, q->items[i].id))
                return ERR_SET(p->e, STATUS_INVALID, "item " STR_FMT " stands in the list twice",
                               STR_ARG(q->items[i].id));
        table[at] = i + 1;
    }
    arena_rewind(&p->q->arena, mark);
    return STATUS_OK;
}

static enum status get_items(struct parsing *p, json_t *v)
{
    struct score_request *q = p->q;
    if (!json_is_array(v)) return ERR_SET(p->e, STATUS_INVALID, "items must be a list of ids or objects");
    const size_t n = json_array_size(v);
    if (n == 0) return ERR_SET(p->e, STATUS_INVALID, "items is empty");
    const int64_t most = conf_now(&p->c->serving_max_items);
    if (n > (size_t)most)
        return ERR_SET(p->e, STATUS_FULL, "items lists %zu candidates; serving.max_items allows %lld", n,
                       (long long)most);
    q->items = arena_alloc(&q->arena, n, sizeof *q->items);
    if (q->items == NULL) return no_memory(p);
    q->n_items = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_item(p, "a candidate", json_array_get(v, i), &q->items[i]));
    return check_twice(p);
}

static enum status get_past(struct parsing *p, json_t *v, struct score_past *out)
{
    if (!json_is_object(v)) return ERR_SET(p->e, STATUS_INVALID, "an event of history must be an object");
    const json_t *type = json_object_get(v, "type"), *time = json_object_get(v, "time");
    if (!json_is_string(type)) return ERR_SET(p->e, STATUS_INVALID, "an event of history needs a type");
    const int i = conf_type_find(p->c, (struct str){json_string_value(type), json_string_length(type)});
    if (i < 0) return ERR_SET(p->e, STATUS_INVALID, "history: '%.60s' is no behaviour type", json_string_value(type));
    out->type = (uint8_t)i;
    TRY(get_id(p, "item", json_object_get(v, "item"), &out->item.id));
    out->time_ms = INT64_MIN;
    if (time != NULL && !json_is_null(time)) TRY(get_time(p, "time", time, &out->time_ms));
    TRY(get_attrs(p, "an event of history", v, past_names, &out->item.attrs, &out->item.n_attrs));
    const struct event_attr *price = event_attr(out->item.attrs, out->item.n_attrs, "price");
    out->price = price != NULL && price->kind == EVENT_ATTR_NUMBER ? price->number : (double)NAN;
    return STATUS_OK;
}

static enum status get_history(struct parsing *p, json_t *v)
{
    struct score_request *q = p->q;
    if (!json_is_array(v)) return ERR_SET(p->e, STATUS_INVALID, "history must be a list of events, oldest first");
    const size_t n = json_array_size(v);
    if (n > SCORE_HISTORY_MAX)
        return ERR_SET(p->e, STATUS_FULL, "history lists %zu events; at most %d are allowed", n, SCORE_HISTORY_MAX);
    q->history = arena_alloc(&q->arena, n, sizeof *q->history);
    if (q->history == NULL && n > 0) return no_memory(p);
    q->n_history = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_past(p, json_array_get(v, i), &q->history[i]));
    return STATUS_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static enum status get_limit(struct parsing *p, json_t *v)
{
    const json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 1) return ERR_SET(p->e, STATUS_INVALID, "limit must be an integer of 1 or more");
    p->q->limit = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return STATUS_OK;
}

static enum status get_field(struct parsing *p, const char *name, json_t *v)
{
    struct score_request *q = p->q;
    if (strcmp(name, "items") == 0) return get_items(p, v);
    if (json_is_null(v)) return STATUS_OK;
    if (strcmp(name, "user") == 0) return get_id(p, name, v, &q->user);
    if (strcmp(name, "request") == 0) return get_id(p, name, v, &q->request);
    if (strcmp(name, "session") == 0) return get_id(p, name, v, &q->session);
    if (strcmp(name, "history") == 0) return get_history(p, v);
    if (strcmp(name, "context") == 0) return get_attrs(p, name, v, NULL, &q->context, &q->n_context);
    if (strcmp(name, "attributes") == 0) return get_attrs(p, name, v, NULL, &q->attributes, &q->n_attributes);
    if (strcmp(name, "time") == 0) return get_time(p, name, v, &q->time_ms);
    if (strcmp(name, "limit") == 0) return get_limit(p, v);
    if (strcmp(name, "explain") != 0)
        return ERR_SET(p->e, STATUS_INVALID,
                       "unknown field '%.60s'; there are: request user items history session context attributes time "
                       "limit explain",
                       name);
    if (!json_is_boolean(v)) return ERR_SET(p->e, STATUS_INVALID, "explain must be true or false");
    q->explain = json_is_true(v);
    return STATUS_OK;
}

/* Who is not known by a user's id is known by the session's, as the learner has it. */
static enum status take_session(struct parsing *p)
{
    char room[EVENT_ID_MAX];
    const struct str subject = event_subject(p->q->user, p->q->session, room);
    if (subject.p != room) return STATUS_OK;
    p->q->user = arena_str(&p->q->arena, subject);
    return p->q->user.p != NULL ? STATUS_OK : no_memory(p);
}

void score_request_clear(struct score_request *q)
{
    const struct arena arena = q->arena;
    *q = (struct score_request){.arena = arena, .time_ms = INT64_MIN};
    if (arena_bytes(&q->arena) > SCORE_REQUEST_KEPT) arena_fini(&q->arena);
    arena_reset(&q->arena);
}

enum status score_request_load(struct score_request *q, struct str body, json_t **document, struct err *e)
{
    json_error_t why;
    *document = NULL;
    score_request_clear(q);
    if (jsonroom_over(body, DOCUMENT_BYTES))
        return ERR_SET(e, STATUS_FULL, "the body's %zu bytes hold more values than a request may; send it in parts",
                       body.n);
    if (jsonload(&q->arena, body, JSON_REJECT_DUPLICATES, document, &why) != STATUS_OK)
        return ERR_SET(e, STATUS_OOM, "the request needs more memory than there is");
    if (*document != NULL) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "the body is not JSON: %.120s (byte %d)", why.text, why.position);
}

enum status score_request_parse(struct score_request *q, struct str body, const struct conf *c, struct err *e)
{
    struct parsing p = {q, c, e};
    const char *name;
    json_t *o, *v;
    TRY(score_request_load(q, body, &o, e));
    if (!json_is_object(o)) return ERR_SET(e, STATUS_INVALID, "the body must be a JSON object");
    json_object_foreach(o, name, v) TRY(get_field(&p, name, v));
    if (q->items == NULL) return ERR_SET(e, STATUS_INVALID, "items is missing");
    TRY(take_session(&p));
    if (q->limit == 0 || q->limit > q->n_items) q->limit = q->n_items;
    return STATUS_OK;
}

void score_request_fini(struct score_request *q)
{
    arena_fini(&q->arena);
    *q = (struct score_request){.time_ms = INT64_MIN};
}
