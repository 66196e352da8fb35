/* parse.h - one native JSON object (DESIGN "Events") to a valid struct event, or a reject that says what is wrong.
 *
 * Strict: RFC 8259, no duplicate keys, nothing after the value, valid UTF-8, every length bounded.  Nothing is guessed:
 * ids are texts, times are RFC 3339 or integer milliseconds.  A parser owns its scratch memory, so that a warm one
 * allocates nothing.  Thread: one per parser.
 */
#ifndef INGEST_PARSE_H
#define INGEST_PARSE_H
#include "base/arena.h"
#include "base/status.h"
#include "ingest/reject.h"
#include "schemas/conf.h"
#include "schemas/event.h"

struct parse;
enum status parse_new(struct parse **out, const struct conf *c, struct err *e) MUST_CHECK; /* c is borrowed */
void parse_free(struct parse *p);
/* OK: ev is valid but for `at` (the caller's), its strings in a.  INVALID: malformed, *r says why (e stays untouched; what
 * was put into a is the caller's to rewind).  OOM. */
enum status parse_event(struct parse *p, struct str text, struct arena *a, struct event *ev, struct reject *r,
                        struct err *e) MUST_CHECK;
/* Is it the name of a member that is a field of struct event, so that no attribute can have it? */
bool parse_is_reserved(struct str name);
#endif
