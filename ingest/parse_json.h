/* parse_json.h - what the JSON presets share: loading a document into scratch memory, and reading checked fields from it.
 *
 * A document lies in its loader's arena (schemas/jsonload.h), so it costs no heap call and is never freed piece by piece.
 * Readers return false and fill the context's reject, or set its `oom`.  Not for other rooms.
 */
#ifndef INGEST_PARSE_JSON_H
#define INGEST_PARSE_JSON_H
#include "base/arena.h"
#include "base/status.h"
#include "ingest/reject.h"
#include "schemas/event.h"
#include <jansson.h>

struct parse_json;
enum status parse_json_new(struct parse_json **out, struct err *e) MUST_CHECK;
void parse_json_free(struct parse_json *p);
/* *root lives until the next load.  INVALID fills r; OOM fills e. */
enum status parse_json_load(struct parse_json *p, struct str text, json_t **root, struct reject *r,
                            struct err *e) MUST_CHECK;

struct parse_context {
    struct arena *arena; /* takes every string and array of the event */
    struct reject *reject;
    bool oom;
};
/* A text id of at most EVENT_ID_MAX bytes without control characters; JSON null leaves *out absent. */
bool parse_json_id(struct parse_context *x, const char *field, const json_t *v, struct str *out);
bool parse_json_number(struct parse_context *x, const char *field, const json_t *v, double *out);
/* RFC 3339 text or integer milliseconds; digits: a text of digits is milliseconds too. */
bool parse_json_time(struct parse_context *x, const char *field, const json_t *v, bool digits, int64_t *out);
/* One attribute; JSON null gives *taken false. */
bool parse_json_attr(struct parse_context *x, struct str name, const json_t *v, struct event_attr *out, bool *taken);
/* The members of an object but those that `skip` (may be NULL) says yes to; price and quantity and such are ordinary here. */
bool parse_json_attrs(struct parse_context *x, const json_t *object, bool (*skip)(struct str key),
                      struct event_attr **attrs, uint32_t *n_attrs);
/* *field of ev (price, quantity) from the attribute of that name, which must then be a number. */
bool parse_attr_number(struct parse_context *x, const struct event *ev, const char *name, double *field);
#endif
