/* order.h - order assembly: behaviours of one order (else of equal user, time and type) become one compound event.
 *
 * A compound stays open until another order of that user begins or the watermark has passed its last line by more than
 * join.order_gap_ms (for orders with an id) or at all (without one).  Lines without a user are compounds of one.  Part of
 * the state: packed into the checkpoint.  Deterministic: closing order is by (last line's time, order of first line).
 */
#ifndef INGEST_ORDER_H
#define INGEST_ORDER_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/event.h"

struct order;                  /* the assembler */
struct order_compound {        /* valid until the next call on the assembler */
    const struct event *lines; /* n >= 1, in order of arrival; same user, same type */
    uint32_t n;
    int64_t time_ms;          /* of the last line */
    struct event_position at; /* of the first line: names the slate's random numbers */
};
enum status order_new(struct order **out, const struct conf *c, struct err *e) MUST_CHECK;
void order_free(struct order *o);
/* Takes a behaviour (copied).  Compounds that it closes become ready. */
enum status order_push(struct order *o, const struct event *ev, struct err *e) MUST_CHECK;
/* Closes what the watermark says is complete. */
enum status order_advance(struct order *o, int64_t watermark_ms, struct err *e) MUST_CHECK;
enum status order_flush(struct order *o, struct err *e) MUST_CHECK; /* closes everything */
/* Next ready compound, in closing order; NOT_FOUND when none. */
enum status order_ready(struct order *o, struct order_compound *out) MUST_CHECK;
size_t order_open(const struct order *o); /* compounds still open */
/* What open compounds may take, a quarter of join.max_bytes; beyond it the ones that are due first close early. */
size_t order_max_bytes(const struct conf *c);
size_t order_keep_bytes(
    const struct conf *c); /* what closed ones may leave to the next: 16 MiB, and no more than that */
void order_encode(struct buf *b, const struct order *o);
enum status order_decode(struct order *o, struct buf_reader *r, struct err *e) MUST_CHECK; /* into an empty one */
#endif
