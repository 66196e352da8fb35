/* event_check.h - what must hold of every event and every reject, whichever parser made it.
 *
 * Bounds are event.h's.  An event that is packed, or written as native JSON, reads as the same bits, so that neither a
 * checkpoint nor `convert` changes what is learnt.
 */
#ifndef TESTS_FUZZ_EVENT_CHECK_H
#define TESTS_FUZZ_EVENT_CHECK_H
#include "ingest/parse.h"
#include "ingest/reject.h"
#include "schemas/event.h"

/* Bounds; encode, decode, encode: equal bytes; as JSON and through `native` again: equal bytes (native NULL: not tried). */
void fuzz_check_event(struct parse *native, const struct event *ev);
void fuzz_check_reject(enum status st, const struct reject *r);
#endif
