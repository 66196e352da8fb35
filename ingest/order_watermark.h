/* order_watermark.h - event time: how far the stream has come, and the guard against clocks that run ahead.
 *
 * The watermark is the slowest partition's greatest time; a partition that is idle (at its end, as the source said) does not
 * hold it back; it never goes back.  One event may move its partition at most ingest.max_jump_ms.  One that would move it
 * further is held; when ORDER_WATERMARK_AGREE later events of that partition follow which all lie beyond the jump too and
 * within max_jump_ms of each other, all of them are taken; when an earlier-timed one comes first, the held ones are
 * rejected (TIME_JUMP).  A partition's first event is believed.  Part of the state.  Deterministic.
 */
#ifndef INGEST_ORDER_WATERMARK_H
#define INGEST_ORDER_WATERMARK_H
#include "base/buf.h"
#include "base/status.h"
#include "ingest/source.h"
#include "schemas/conf.h"

#define ORDER_WATERMARK_AGREE 3
#define ORDER_WATERMARK_PARTITIONS 65536 /* more than that is INVALID */

struct order_watermark;
enum status order_watermark_new(struct order_watermark **out, const struct conf *c, struct err *e) MUST_CHECK;
void order_watermark_free(struct order_watermark *w);
/* A partition that will be read: the watermark waits for its first event (or for it to be idle). */
enum status order_watermark_expect(struct order_watermark *w, uint32_t topic, uint32_t partition, struct err *e) MUST_CHECK;
/* Takes an event's time (rec: kind EVENT).  *held false: the event is to be handled now, AFTER what order_watermark_decided
 * gives.  *held true: it was copied and waits; don't handle it. */
enum status order_watermark_push(struct order_watermark *w, const struct source_record *rec, bool *held, struct err *e) MUST_CHECK;
/* The next held event whose fate is known, in order: kind EVENT is to be handled, kind REJECT to be counted and written away.
 * NOT_FOUND when none.  *out lives until the next push.  Call until NOT_FOUND after each push and flush. */
enum status order_watermark_decided(struct order_watermark *w, const struct source_record **out) MUST_CHECK;
/* Nothing more comes: what one partition holds is rejected (drain it, call again until order_watermark_held is 0). */
void order_watermark_flush(struct order_watermark *w);
/* SOURCE_IDLE: the partition stands at its end. */
enum status order_watermark_idle(struct order_watermark *w, uint32_t topic, uint32_t partition, struct err *e) MUST_CHECK;
int64_t order_watermark_ms(const struct order_watermark *w); /* INT64_MIN before it is known */
size_t order_watermark_held(const struct order_watermark *w);
void order_watermark_encode(struct buf *b, const struct order_watermark *w);
enum status order_watermark_decode(struct order_watermark *w, struct buf_reader *r, struct err *e) MUST_CHECK; /* into an empty one */
#endif
