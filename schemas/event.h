/* event.h - one behaviour event, parsed and valid, as every room after ingest sees it.
 *
 * Strings and arrays point into the event's arena and live until it is reset.  Nothing here reads JSON; see
 * ingest/parse.h.  Field meanings: DESIGN "Events".
 */
#ifndef SCHEMAS_EVENT_H
#define SCHEMAS_EVENT_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define EVENT_ID_MAX 256      /* bytes of user, item, session, order, request, id, source */
#define EVENT_TEXT_MAX 4096   /* bytes of one attribute's text; longer is a reject */
#define EVENT_ITEMS_MAX 1000  /* items of one impression */
#define EVENT_ATTRS_MAX 64    /* attributes of one event or item */
#define EVENT_LIST_MAX 64     /* values of one list attribute */
#define EVENT_SECONDS_BELOW INT64_C(100000000000) /* 1973-03-03 in ms, 5138-11-16 in s: a smaller time can only be seconds */

enum event_kind { EVENT_ITEM, EVENT_USER, EVENT_IMPRESSION, EVENT_BEHAVIOUR };

/* Behaviour types: index in conf's type table.  The built-in ones come first and in this order. */
enum event_type {
    EVENT_VIEW, EVENT_CLICK, EVENT_CART, EVENT_UNCART, EVENT_LIKE, EVENT_DISLIKE, EVENT_RATING, EVENT_PURCHASE,
    EVENT_REFUND, EVENT_TYPES_BUILTIN,
    EVENT_TYPES_MAX = 32
};

/* Where an event came from: names its random numbers and makes "exactly once" checkable. */
struct event_position {
    uint32_t topic;     /* index in ingest.topics; 0 for files */
    uint32_t partition; /* 0 for files */
    uint64_t offset;    /* Kafka offset; in files the ordinal of the data record after merging, rejected ones counted */
};

enum event_attr_kind { EVENT_ATTR_TEXT, EVENT_ATTR_NUMBER, EVENT_ATTR_BOOL, EVENT_ATTR_LIST };
struct event_attr {
    struct str name;
    enum event_attr_kind kind;
    struct str text;         /* TEXT; for NUMBER the text as written */
    double number;           /* NUMBER; BOOL 0 or 1 */
    struct str *list;        /* LIST of texts */
    uint32_t n_list;
};
struct event_item {
    struct str item;
    struct event_attr *attrs; /* per-item fields of an impression or inline item; often none */
    uint32_t n_attrs;
};
struct event {
    enum event_kind kind;
    uint8_t type;            /* enum event_type or the user's own; behaviours only */
    struct str type_name;
    int64_t time_ms;
    struct event_position at;
    struct str id, source, user, item, session, order, request;
    struct event_item *items; /* impression: shown order */
    uint32_t n_items;
    struct str version, variant; /* echoed from the re-rank reply */
    double *propensity;          /* n_items, or NULL */
    struct event_attr *attrs, *context;
    uint32_t n_attrs, n_context;
    double value;            /* NaN: absent */
    double quantity, price;  /* NaN: absent; also among attrs */
    bool deleted;
    bool joined; /* set by the learner: when it came it marked an open slate (ingest/join.h) */
};

/* The attribute of that name, or NULL. */
const struct event_attr *event_attr(const struct event_attr *attrs, uint32_t n, const char *name);
/* C0, DEL and C1 (U+0080 to U+009F, in UTF-8 c2 80 to c2 9f): no id may have them. */
bool event_has_control(struct str s);
/* Whose history it is: the user's, else the session's (as "session:<id>", written into room), else nobody's.  A session id that
 * leaves no room for that counts as none. */
struct str event_subject(struct str user, struct str session, char room[EVENT_ID_MAX]);
/* Deep copy into another arena (an event that must outlive its batch).  OOM leaves *out undefined. */
enum status event_copy(struct event *out, const struct event *e, struct arena *a) MUST_CHECK;
/* Packs and unpacks (events waiting in order assembly are part of the state).  Unpacked strings are copied into a. */
void event_encode(struct buf *b, const struct event *e);
enum status event_decode(struct event *out, struct buf_reader *r, struct arena *a, struct err *err) MUST_CHECK;
/* Writes e as one native JSON object without newline (what `convert` prints and Kafka carries). */
void event_write_json(struct buf *b, const struct event *e);
#endif
