/* preset_metarank.c - a document of Metarank read member by member. */
#include "ingest/preset_metarank.h"
#include "base/mem.h"
#include "ingest/parse.h"
#include "ingest/parse_json.h"
#include "ingest/parse_text.h"
#include <math.h>
#include <stdio.h>

struct preset_metarank {
    const struct conf *conf;
    struct parse_json *json;
};

enum status preset_metarank_new(struct preset_metarank **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct preset_metarank *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return ERR_SET(e, STATUS_OOM, "metarank preset: no memory for its state");
    m->conf = c;
    TRY_OUT(st, parse_json_new(&m->json, e));
    *out = m;
    m = NULL;
out:
    preset_metarank_free(m);
    return st;
}

void preset_metarank_free(struct preset_metarank *m)
{
    if (m == NULL) return;
    parse_json_free(m->json);
    mem_free(m);
}

static bool id_of(struct parse_context *x, const json_t *root, const char *name, struct str *out)
{
    const json_t *v = json_object_get(root, name);
    return v == NULL || parse_json_id(x, name, v, out);
}

/* Members of native events, and a price or quantity that is no number: neither can be an attribute of that name. */
static bool is_renamed(struct str name, const json_t *value)
{
    const bool number = str_is(name, "price") || str_is(name, "quantity");
    return parse_is_reserved(name) || (number && !json_is_number(value) && !json_is_null(value));
}

/* One {name, value}; a name that can't be an attribute's gets the prefix field_. */
static bool read_field(struct parse_context *x, const json_t *field, struct event_attr *out, bool *taken)
{
    char renamed[EVENT_ID_MAX];
    const json_t *name = json_object_get(field, "name"), *value = json_object_get(field, "value");
    if (!json_is_string(name) || value == NULL)
        return reject_set(x->reject, REJECT_BAD_FIELDS,
                          "fields holds something that is not {\"name\": text, \"value\": ...}");
    struct str s = {json_string_value(name), json_string_length(name)};
    if (is_renamed(s, value)) {
        const int n = snprintf(renamed, sizeof renamed, "field_" STR_FMT, STR_ARG(s));
        s = (struct str){renamed, (size_t)n};
    }
    return parse_json_attr(x, s, value, out, taken);
}

static bool read_fields(struct parse_context *x, const json_t *v, size_t more, struct event_attr **attrs,
                        uint32_t *n_attrs)
{
    const size_t n = json_array_size(v);
    if (v != NULL && !json_is_null(v) && !json_is_array(v))
        return reject_set(x->reject, REJECT_BAD_FIELDS, "fields must be a list");
    if (n + more > EVENT_ATTRS_MAX)
        return reject_set(x->reject, REJECT_TOO_MANY_ATTRIBUTES, "fields has %zu entries; at most %d are allowed", n,
                          EVENT_ATTRS_MAX);
    if (n + more == 0) return true;
    *attrs = arena_alloc(x->arena, n + more, sizeof **attrs);
    x->oom = x->oom || *attrs == NULL;
    if (*attrs == NULL) return false;
    for (size_t i = 0; i < n; i++) {
        bool taken = false;
        struct event_attr *at = &(*attrs)[*n_attrs];
        if (!read_field(x, json_array_get(v, i), at, &taken)) return false;
        for (uint32_t k = 0; taken && k < *n_attrs; k++)
            if (str_eq((*attrs)[k].name, at->name))
                return reject_set(x->reject, REJECT_BAD_FIELDS, "fields names \"%.80s\" twice", at->name.p);
        *n_attrs += taken;
    }
    return true;
}

static void number_if(const struct event *ev, const char *name, double *out)
{
    const struct event_attr *a = event_attr(ev->attrs, ev->n_attrs, name);
    if (a != NULL && a->kind == EVENT_ATTR_NUMBER) *out = a->number;
}

static bool read_attrs(struct parse_context *x, const json_t *root, struct event *ev)
{
    if (!read_fields(x, json_object_get(root, "fields"), 0, &ev->attrs, &ev->n_attrs)) return false;
    number_if(ev, "price", &ev->price);
    number_if(ev, "quantity", &ev->quantity);
    number_if(ev, "field_value", &ev->value);
    return true;
}

static bool read_shown(struct parse_context *x, const json_t *v, struct event_item *out)
{
    const json_t *id = json_object_get(v, "id"), *relevancy = json_object_get(v, "relevancy");
    if (id == NULL || json_is_null(id))
        return reject_set(x->reject, REJECT_BAD_ITEMS, "items holds something without an id");
    if (!parse_json_id(x, "an item of items", id, &out->item)) return false;
    const size_t more = json_is_number(relevancy);
    if (!read_fields(x, json_object_get(v, "fields"), more, &out->attrs, &out->n_attrs)) return false;
    if (more == 0 || event_attr(out->attrs, out->n_attrs, "relevancy") != NULL) return true;
    bool taken = false;
    if (!parse_json_attr(x, STR("relevancy"), relevancy, &out->attrs[out->n_attrs], &taken)) return false;
    out->n_attrs++;
    return true;
}

static bool read_ranking(struct parse_context *x, const json_t *root, struct event *ev)
{
    const json_t *items = json_object_get(root, "items");
    const size_t n = json_array_size(items);
    if (!json_is_array(items))
        return reject_set(x->reject, REJECT_MISSING_ITEMS, "a ranking needs items, a list of {id}");
    if (n > EVENT_ITEMS_MAX)
        return reject_set(x->reject, REJECT_TOO_MANY_ITEMS, "items has %zu entries; at most %d are allowed", n,
                          EVENT_ITEMS_MAX);
    ev->items = arena_alloc(x->arena, n, sizeof *ev->items);
    x->oom = x->oom || ev->items == NULL;
    if (ev->items == NULL) return false;
    for (size_t i = 0; i < n; i++)
        if (!read_shown(x, json_array_get(items, i), &ev->items[i])) return false;
    ev->n_items = (uint32_t)n;
    ev->source = STR("ranking");
    if (!id_of(x, root, "id", &ev->id)) return false;
    ev->request = ev->id;
    return read_fields(x, json_object_get(root, "fields"), 0, &ev->context, &ev->n_context);
}

static bool read_interaction(struct parse_context *x, const struct conf *c, const json_t *root, struct event *ev)
{
    const json_t *type = json_object_get(root, "type");
    if (type == NULL) return reject_set(x->reject, REJECT_MISSING_TYPE, "an interaction needs type, like \"click\"");
    if (!json_is_string(type)) return reject_set(x->reject, REJECT_BAD_TYPE, "type must be a text, like \"click\"");
    if (!parse_type_behaviour(x, c, (struct str){json_string_value(type), json_string_length(type)}, ev)) return false;
    ev->source = STR("interaction");
    return id_of(x, root, "id", &ev->id) && id_of(x, root, "item", &ev->item) &&
           id_of(x, root, "ranking", &ev->request) && read_attrs(x, root, ev);
}

static bool read_kind(struct parse_context *x, const struct conf *c, const json_t *root, struct event *ev)
{
    const json_t *event = json_object_get(root, "event");
    const struct str kind = {json_string_value(event), json_is_string(event) ? json_string_length(event) : 0};
    if (event == NULL)
        return reject_set(x->reject, REJECT_MISSING_TYPE,
                          "the message has no event (item, user, ranking or interaction)");
    if (str_is(kind, "interaction")) return read_interaction(x, c, root, ev);
    if (str_is(kind, "ranking")) return parse_type(x, c, STR("impression"), ev) && read_ranking(x, root, ev);
    if (str_is(kind, "item"))
        return parse_type(x, c, kind, ev) && id_of(x, root, "item", &ev->item) && read_attrs(x, root, ev);
    if (str_is(kind, "user")) return parse_type(x, c, kind, ev) && read_attrs(x, root, ev);
    return reject_set(x->reject, REJECT_BAD_TYPE, "event must be item, user, ranking or interaction");
}

static bool read_root(struct parse_context *x, const struct conf *c, const json_t *root, struct event *ev)
{
    const json_t *time = json_object_get(root, "timestamp");
    if (!read_kind(x, c, root, ev)) return false;
    if (time == NULL || json_is_null(time))
        return reject_set(x->reject, REJECT_MISSING_TIME, "the message has no timestamp");
    if (!parse_json_time(x, "timestamp", time, true, &ev->time_ms)) return false;
    if (!id_of(x, root, "user", &ev->user) || !id_of(x, root, "session", &ev->session)) return false;
    return parse_complete(x, ev);
}

enum status preset_metarank_parse(struct preset_metarank *m, struct str message, struct arena *a, struct event *ev,
                                  struct reject *r, struct err *e)
{
    struct parse_context x = {.arena = a, .reject = r};
    json_t *root = NULL;
    *ev = (struct event){.value = NAN, .quantity = NAN, .price = NAN};
    r->code = REJECT_NONE;
    if (message.n > (size_t)m->conf->ingest_max_bytes) {
        (void)reject_set(r, REJECT_TOO_LONG, "the message has %zu bytes; ingest.max_bytes allows %lld", message.n,
                         (long long)m->conf->ingest_max_bytes);
        return STATUS_INVALID;
    }
    TRY(parse_json_load(m->json, message, &root, r, e));
    if (read_root(&x, m->conf, root, ev)) {
        if (ev->id.p == NULL) ev->source = (struct str){NULL, 0}; /* names a duplicate only together with an id */
        return STATUS_OK;
    }
    if (x.oom) return ERR_SET(e, STATUS_OOM, "metarank preset: no memory for an event of %zu bytes", message.n);
    return STATUS_INVALID;
}
