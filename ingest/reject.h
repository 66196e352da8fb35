/* reject.h - why a message was refused, how refusals are counted, and where the refused bytes go (dead letters).
 *
 * One X-macro list gives every reason its code, its name in reports and metrics, and a text.  A reject never stops the
 * stream.  The sink keeps the message untouched: JSON lines in a file, cut back to the checkpointed length at start so
 * that a line is there exactly once, or a Kafka topic with Kafka Connect's header names, read back at start to the same end.
 */
#ifndef INGEST_REJECT_H
#define INGEST_REJECT_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include "schemas/report.h"
#include <stdbool.h>
#include <stdint.h>

#define REJECT_LIST(X)                                                                                                 \
    X(NONE, "none", "nothing wrong")                                                                                   \
    X(TOO_LONG, "too_long", "longer than ingest.max_bytes")                                                            \
    X(BAD_JSON, "bad_json", "not one JSON value (RFC 8259)")                                                           \
    X(BAD_UTF8, "bad_utf8", "bytes that are not UTF-8")                                                                \
    X(DUPLICATE_KEY, "duplicate_key", "an object names a key twice")                                                   \
    X(NOT_OBJECT, "not_object", "JSON, but not an object")                                                             \
    X(TOO_DEEP, "too_deep", "nested deeper than an event can be")                                                      \
    X(TOO_MANY_VALUES, "too_many_values", "more values than an event can have, by the memory they take")               \
    X(MISSING_TYPE, "missing_type", "no event type")                                                                   \
    X(BAD_TYPE, "bad_type", "the event type is not a text")                                                            \
    X(UNKNOWN_TYPE, "unknown_type", "an event type that the configuration does not declare")                           \
    X(MISSING_TIME, "missing_time", "no time")                                                                         \
    X(BAD_TIME, "bad_time", "a time that can't be read")                                                               \
    X(TIME_SECONDS, "time_seconds", "a time that can only be seconds; milliseconds are expected")                      \
    X(TIME_RANGE, "time_range", "a time before 1970 or after 9999")                                                    \
    X(TIME_JUMP, "time_jump", "a time further ahead than ingest.max_jump_ms, and no later event agreed")               \
    X(MISSING_ITEM, "missing_item", "no item")                                                                         \
    X(MISSING_USER, "missing_user", "no user")                                                                         \
    X(MISSING_ITEMS, "missing_items", "an impression without items")                                                   \
    X(MISSING_VALUE, "missing_value", "a rating without a value")                                                      \
    X(BAD_ITEMS, "bad_items", "items that are not a list of texts or objects with an item")                            \
    X(TOO_MANY_ITEMS, "too_many_items", "more items than an impression may show")                                      \
    X(DUPLICATE_ITEM, "duplicate_item", "an impression shows an item twice")                                           \
    X(ID_NOT_TEXT, "id_not_text", "an id that is not a text")                                                          \
    X(ID_EMPTY, "id_empty", "an empty id")                                                                             \
    X(ID_TOO_LONG, "id_too_long", "an id of more than 256 bytes")                                                      \
    X(ID_CONTROL, "id_control", "an id with control characters")                                                       \
    X(BAD_NUMBER, "bad_number", "not a finite number")                                                                 \
    X(BAD_BOOL, "bad_bool", "neither true nor false")                                                                  \
    X(BAD_ATTRIBUTE, "bad_attribute", "an attribute that is no text, number, boolean or list of them")                 \
    X(TEXT_TOO_LONG, "text_too_long", "an attribute's text of more than 4096 bytes")                                   \
    X(TOO_MANY_ATTRIBUTES, "too_many_attributes", "more than 64 attributes")                                           \
    X(LIST_TOO_LONG, "list_too_long", "a list attribute of more than 64 values")                                       \
    X(BAD_CONTEXT, "bad_context", "a context that is not an object")                                                   \
    X(BAD_PROPENSITY, "bad_propensity", "propensities that are not one number in (0, 1] per item")                     \
    X(UNEXPECTED_FIELD, "unexpected_field", "a field that this event type can't have")                                 \
    X(BAD_FIELDS, "bad_fields", "fields that are not a list of {name, value}")                                         \
    X(CSV_QUOTE, "csv_quote", "quotes that RFC 4180 does not allow, or that never end")                                \
    X(CSV_COLUMNS, "csv_columns", "another number of columns than the header")                                         \
    X(SKIPPED, "skipped", "left out by a rule of the map")                                                             \
    X(CATALOGUE_FULL, "catalogue_full", "a new item beyond catalogue.items")                                           \
    X(ANOMALY, "anomaly", "from a source in quarantine")

enum reject_code {
#define X(code, name, text) REJECT_##code,
    REJECT_LIST(X)
#undef X
        REJECT_COUNT
};
struct reject {
    enum reject_code code;
    char text[200]; /* one sentence with field, value and limit; for SKIPPED the rule's reason alone */
};
const char *reject_name(enum reject_code code); /* "bad_json"; "?" out of range */
const char *reject_text(enum reject_code code);
/* Fills r (cut to its size, never inside a UTF-8 character, control characters as '?') and returns false. */
bool reject_set(struct reject *r, enum reject_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Counts per code, and per reason of map rules (the first 24; later ones under "skipped").  Part of the state. */
#define REJECT_REASONS_MAX 24
struct reject_tally {
    uint64_t by_code[REJECT_COUNT];
    struct {
        char name[40];
        uint64_t n;
    } skipped[REJECT_REASONS_MAX];
    uint32_t n_skipped;
};
void reject_tally_add(struct reject_tally *t, const struct reject *r);
uint64_t reject_tally_total(const struct reject_tally *t); /* without what rules skipped */
void reject_tally_report(const struct reject_tally *t,
                         struct report *r); /* rejected and rejects[]; rules as skipped.NAME */
void reject_tally_encode(struct buf *b, const struct reject_tally *t);
enum status reject_tally_decode(struct reject_tally *t, struct buf_reader *r, struct err *e) MUST_CHECK;

/* Dead letters.  Opens what ingest.dead_letters names: a file (created when it is not there), or topic:NAME on the brokers of
 * kafka.*; empty: a sink that writes nothing.  What lies behind the checkpoint's mark is cut off (file) or known again
 * (topic), because its messages are read again.  IO names the file or broker; a file shorter than its mark is CORRUPT.
 * Thread: one. */
struct source_record;
struct reject_sink;
struct reject_sink_start {
    uint64_t mark; /* of the newest checkpoint (reject_sink_sync); 0: none */
    bool keep;     /* a file that no mark knows keeps what is in it (else it begins empty) */
    bool new_file; /* a file is copied and replaced by its copy: who has the old one open writes where nobody looks */
};
enum status reject_sink_open_at(struct reject_sink **out, const struct conf *c, struct reject_sink_start start,
                                struct err *e) MUST_CHECK;
enum status reject_sink_open(struct reject_sink **out, const struct conf *c, uint64_t mark,
                             struct err *e) MUST_CHECK; /* the mark alone */
/* No checkpoint knows this sink yet: one made before the first letter lets a restart tell old letters from its own. */
bool reject_sink_unmarked(const struct reject_sink *s);
/* rec: kind REJECT (or an event refused later: then its `reject` is filled by the caller).  stage: "parse", "watermark", …
 * A file's line is reject_letter.h's.  FULL: the disk is, or the brokers don't acknowledge; the letter is taken all the same
 * and waits in memory for the next write or sync. */
enum status reject_sink_write(struct reject_sink *s, const struct source_record *rec, const char *stage,
                              struct err *e) MUST_CHECK;
/* Makes what was written durable; *mark goes into the checkpoint.  FULL: call again when there is room, or later. */
enum status reject_sink_sync(struct reject_sink *s, uint64_t *mark, struct err *e) MUST_CHECK;
void reject_sink_close(struct reject_sink *s); /* NULL is fine */
#endif
