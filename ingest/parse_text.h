/* parse_text.h - checks on texts that all presets share: UTF-8, ids, times in milliseconds, canonical numbers, items twice.
 *
 * Numbers get one text form (the shortest that reads back equal), so that a price means the same sentence whether it
 * came as 3.50 in a CSV or as 3.5 in JSON.  Not for other rooms.
 */
#ifndef INGEST_PARSE_TEXT_H
#define INGEST_PARSE_TEXT_H
#include "ingest/parse_json.h"

/* The rules of parse_json_id on bytes known to be UTF-8; copies into the arena. */
bool parse_id(struct parse_context *x, const char *field, struct str s, struct str *out);
/* A text attribute of at most EVENT_TEXT_MAX bytes; copies. */
bool parse_text(struct parse_context *x, struct str name, struct str s, struct str *out);
#define PARSE_TIME_MAX 253402300799999 /* 9999-12-31T23:59:59.999Z */
bool parse_time_ms(struct parse_context *x, const char *field, int64_t ms); /* range checks on milliseconds */
bool parse_digits(struct str s, int64_t *out);           /* optional '-', 1..18 digits, nothing else */
bool parse_decimal(struct str s, double *out);           /* a finite decimal number and nothing else */
double parse_unsigned_zero(double v);                    /* v, and 0 for -0: one number has one text and one value */
struct str parse_number_text(struct arena *a, double v); /* .p NULL: out of memory */
bool parse_items_distinct(struct parse_context *x, const struct event *ev);
/* What each kind of event must have (item, user, items, value), and may not. */
bool parse_complete(struct parse_context *x, const struct event *ev);
/* Sets kind, type and type_name from a type's name; _behaviour: only types of the configuration. */
bool parse_type_behaviour(struct parse_context *x, const struct conf *c, struct str name, struct event *ev);
bool parse_type(struct parse_context *x, const struct conf *c, struct str name, struct event *ev);
#endif
