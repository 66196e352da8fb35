/* score_request.h - a re-rank request: JSON text → checked struct.
 *
 * Strict: duplicate names, unknown fields, wrong types, ids that are too long or hold control characters, numbers out of
 * range are refused, each with a sentence that names the field.  The parsed document, into which strings point, and arrays
 * lie in the request's arena; both live until the next parse or clear.  Thread: one at a time per struct.
 */
#ifndef SERVING_SCORE_REQUEST_H
#define SERVING_SCORE_REQUEST_H
#include "base/arena.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/event.h"
#include <jansson.h>
#include <stdbool.h>

#define SCORE_HISTORY_MAX 1000                /* events of a request's history */
#define SCORE_REQUEST_KEPT ((size_t)8 << 20) /* of memory between requests: ten thousand candidates take a half */

struct score_item { /* a candidate: "id", or {"item":"id", attributes…} */
    struct str id;
    struct event_attr *attrs;
    uint32_t n_attrs;
};
struct score_past { /* one event of the request's own history, oldest first: {"type","item","time"?, attributes…} */
    struct score_item item;
    uint8_t type;    /* index in the config's types */
    int64_t time_ms; /* INT64_MIN: not given */
    double price;    /* NaN: not given */
};
struct score_request {
    struct str request, user, session; /* absent: .p NULL */
    struct score_item *items;
    uint32_t n_items;
    struct score_past *history;
    uint32_t n_history;
    struct event_attr *context, *attributes;
    uint32_t n_context, n_attributes;
    int64_t time_ms; /* INT64_MIN: not given */
    uint32_t limit;  /* items of the reply; n_items when not given */
    bool explain;
    struct arena arena;
};
/* Into a zeroed struct or one that was parsed before.  INVALID: bad; FULL: more items or history than allowed; OOM. */
enum status score_request_parse(struct score_request *q, struct str body, const struct conf *c,
                                struct err *e) MUST_CHECK;
/* The first step of every form of a request: q is empty but for the document, which is q's.  INVALID: no JSON; FULL: the body
 * may hold more values than memory is meant for; OOM. */
enum status score_request_load(struct score_request *q, struct str body, json_t **document, struct err *e) MUST_CHECK;
void score_request_clear(struct score_request *q); /* empty; memory for usual requests is kept */
void score_request_fini(struct score_request *q);
#endif
