/* parse_json.c - documents in scratch memory (schemas/jsonload.h), and the readers of single fields. */
#include "ingest/parse_json.h"
#include "base/clock.h"
#include "base/jsonroom.h"
#include "base/mem.h"
#include "ingest/parse_text.h"
#include "schemas/jsonload.h"
#include <math.h>
#include <string.h>

#define SCRATCH_BLOCK 65536
#define SCRATCH_KEPT 1048576    /* one that grew beyond is given back */
#define WIDE 0x1p63             /* integers from here on are reals (base/jsonwide.h) */
#define DOCUMENT_BYTES 33554432 /* that a message's values may take: 1,000 items of 100 attributes do */

struct parse_json {
    struct arena scratch;
};

enum status parse_json_new(struct parse_json **out, struct err *e)
{
    *out = NULL;
    jsonload_init();
    struct parse_json *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "parser: no memory for its state");
    arena_init(&p->scratch, SCRATCH_BLOCK);
    *out = p;
    return STATUS_OK;
}

void parse_json_free(struct parse_json *p)
{
    if (p == NULL) return;
    arena_fini(&p->scratch);
    mem_free(p);
}

static enum reject_code code_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_invalid_utf8: return REJECT_BAD_UTF8;
    case json_error_duplicate_key: return REJECT_DUPLICATE_KEY;
    case json_error_stack_overflow: return REJECT_TOO_DEEP;
    default: return REJECT_BAD_JSON;
    }
}

enum status parse_json_load(struct parse_json *p, struct str text, json_t **root, struct reject *r, struct err *e)
{
    json_error_t error;
    if (jsonroom_over(text, DOCUMENT_BYTES)) {
        (void)reject_set(r, REJECT_TOO_MANY_VALUES, "its %zu bytes hold more values than an event can have", text.n);
        return STATUS_INVALID;
    }
    if (text.n == 0) {
        (void)reject_set(r, REJECT_BAD_JSON,
                         text.p == NULL ? "the message has no value (a tombstone of a compacted topic)"
                                        : "the message is empty");
        return STATUS_INVALID;
    }
    if (arena_bytes(&p->scratch) > SCRATCH_KEPT) arena_fini(&p->scratch);
    arena_reset(&p->scratch);
    if (jsonload(&p->scratch, text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, root, &error) != STATUS_OK)
        return ERR_SET(e, STATUS_OOM, "parser: no memory to read a message of %zu bytes", text.n);
    if (*root == NULL) {
        (void)reject_set(r, code_of(&error), "at byte %d: %s", error.position, error.text);
        return STATUS_INVALID;
    }
    if (json_is_object(*root)) return STATUS_OK;
    (void)reject_set(r, REJECT_NOT_OBJECT, "the message is JSON but not an object");
    return STATUS_INVALID;
}

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

bool parse_json_id(struct parse_context *x, const char *field, const json_t *v, struct str *out)
{
    if (json_is_null(v)) return true;
    if (json_is_string(v)) return parse_id(x, field, text_of(v), out);
    return reject_set(x->reject, REJECT_ID_NOT_TEXT, "%s must be a text (put it in quotes)", field);
}

bool parse_json_number(struct parse_context *x, const char *field, const json_t *v, double *out)
{
    if (json_is_null(v)) return true;
    if (!json_is_number(v)) return reject_set(x->reject, REJECT_BAD_NUMBER, "%s must be a number", field);
    *out = parse_unsigned_zero(json_number_value(v));
    return isfinite(*out) || reject_set(x->reject, REJECT_BAD_NUMBER, "%s is not finite", field);
}

bool parse_json_time(struct parse_context *x, const char *field, const json_t *v, bool digits, int64_t *out)
{
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return parse_time_ms(x, field, *out);
    }
    if (json_is_real(v) && fabs(json_real_value(v)) >= WIDE)
        return reject_set(x->reject, REJECT_TIME_RANGE, "%s %.17g is outside 1970 to 9999 in milliseconds", field,
                          json_real_value(v));
    if (!json_is_string(v))
        return reject_set(x->reject, REJECT_BAD_TIME, "%s must be RFC 3339 text or integer milliseconds since 1970",
                          field);
    const struct str s = text_of(v);
    if (digits && parse_digits(s, out)) return parse_time_ms(x, field, *out);
    if (!clock_parse_rfc3339(s, out))
        return reject_set(x->reject, REJECT_BAD_TIME,
                          "%s \"%.60s\" is not RFC 3339 with a zone, like 2026-01-02T03:04:05Z", field, s.p);
    if (*out >= 0 && *out <= PARSE_TIME_MAX) return true;
    return reject_set(x->reject, REJECT_TIME_RANGE, "%s \"%.60s\" is %s", field, s.p,
                      *out < 0 ? "before 1970" : "in UTC after the year 9999");
}

/* A list's value as text: numbers in their canonical form, booleans as words. */
static bool list_text(struct parse_context *x, struct str name, const json_t *v, struct str *out)
{
    if (json_is_string(v)) return parse_text(x, name, text_of(v), out);
    if (json_is_boolean(v)) {
        *out = json_is_true(v) ? STR("true") : STR("false");
        return true;
    }
    if (!json_is_number(v))
        return reject_set(x->reject, REJECT_BAD_ATTRIBUTE,
                          "attribute " STR_FMT ": a list may hold texts, numbers and booleans only", STR_ARG(name));
    *out = parse_number_text(x->arena, json_number_value(v));
    x->oom = x->oom || out->p == NULL;
    return out->p != NULL;
}

static bool list_attr(struct parse_context *x, const json_t *v, struct event_attr *out)
{
    const size_t n = json_array_size(v);
    if (n > EVENT_LIST_MAX)
        return reject_set(x->reject, REJECT_LIST_TOO_LONG,
                          "attribute " STR_FMT " has %zu values; at most %d are allowed", STR_ARG(out->name), n,
                          EVENT_LIST_MAX);
    out->kind = EVENT_ATTR_LIST;
    out->list = arena_alloc(x->arena, n, sizeof *out->list);
    x->oom = x->oom || out->list == NULL;
    if (out->list == NULL) return false;
    for (size_t i = 0; i < n; i++)
        if (!list_text(x, out->name, json_array_get(v, i), &out->list[i])) return false;
    out->n_list = (uint32_t)n;
    return true;
}

static bool number_attr(struct parse_context *x, const json_t *v, struct event_attr *out)
{
    out->kind = EVENT_ATTR_NUMBER;
    out->number = parse_unsigned_zero(json_number_value(v));
    out->text = parse_number_text(x->arena, out->number);
    x->oom = x->oom || out->text.p == NULL;
    return out->text.p != NULL;
}

bool parse_json_attr(struct parse_context *x, struct str name, const json_t *v, struct event_attr *out, bool *taken)
{
    struct str unread;
    *taken = !json_is_null(v);
    if (!*taken) return (name.n > 0 && name.n <= EVENT_ID_MAX) || parse_id(x, "an attribute's name", name, &unread);
    *out = (struct event_attr){.kind = EVENT_ATTR_TEXT};
    if (!parse_id(x, "an attribute's name", name, &out->name)) return false;
    if (json_is_string(v)) return parse_text(x, name, text_of(v), &out->text);
    if (json_is_number(v)) return number_attr(x, v, out);
    if (json_is_array(v)) return list_attr(x, v, out);
    if (!json_is_boolean(v))
        return reject_set(x->reject, REJECT_BAD_ATTRIBUTE,
                          "attribute %.80s is an object; give a text, a number, a boolean or a list of them",
                          out->name.p);
    out->kind = EVENT_ATTR_BOOL;
    out->number = json_is_true(v) ? 1 : 0;
    return true;
}

bool parse_json_attrs(struct parse_context *x, const json_t *object, bool (*skip)(struct str key),
                      struct event_attr **attrs, uint32_t *n_attrs)
{
    json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators are not const; nothing is written */
    uint32_t n = 0;
    *n_attrs = 0;
    const size_t most = json_object_size(o) < EVENT_ATTRS_MAX ? json_object_size(o) : EVENT_ATTRS_MAX;
    *attrs = arena_alloc(x->arena, most, sizeof **attrs);
    x->oom = x->oom || *attrs == NULL;
    if (*attrs == NULL) return false;
    for (void *at = json_object_iter(o); at != NULL; at = json_object_iter_next(o, at)) {
        const struct str key = {json_object_iter_key(at), json_object_iter_key_len(at)};
        bool taken = false;
        if (skip != NULL && skip(key)) continue;
        if (n == EVENT_ATTRS_MAX && !json_is_null(json_object_iter_value(at)))
            return reject_set(x->reject, REJECT_TOO_MANY_ATTRIBUTES, "more than %d attributes", EVENT_ATTRS_MAX);
        if (!parse_json_attr(x, key, json_object_iter_value(at), &(*attrs)[n], &taken)) return false;
        n += taken;
    }
    *n_attrs = n;
    return true;
}

bool parse_attr_number(struct parse_context *x, const struct event *ev, const char *name, double *field)
{
    const struct event_attr *a = event_attr(ev->attrs, ev->n_attrs, name);
    if (a == NULL) return true;
    if (a->kind != EVENT_ATTR_NUMBER) return reject_set(x->reject, REJECT_BAD_NUMBER, "%s must be a number", name);
    *field = a->number;
    return true;
}
