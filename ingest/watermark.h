/* watermark.h - event time: how far the stream has come, and the guard against clocks that run ahead.
 *
 * The watermark is the slowest partition's greatest time.  A partition that is idle (at its end, as the source said) does
 * not hold it back; one that left (read by another member, or not yet again after a restart) neither holds it back nor
 * moves it.  It never goes back.  One event may move its partition at most ingest.max_jump_ms.  One that would move it
 * further is held; when WATERMARK_AGREE later events of that partition follow which all lie beyond the jump too and
 * within max_jump_ms of each other, all of them are taken; when an earlier-timed one comes first, the held ones are
 * rejected (TIME_JUMP).  A partition's first event is believed.  Part of the state.  Deterministic.
 */
#ifndef INGEST_WATERMARK_H
#define INGEST_WATERMARK_H
#include "base/buf.h"
#include "base/status.h"
#include "ingest/source.h"
#include "schemas/conf.h"

#define WATERMARK_AGREE 3
#define WATERMARK_PARTITIONS 65536 /* more than that is INVALID */

struct watermark;
enum status watermark_new(struct watermark **out, const struct conf *c, struct err *e) MUST_CHECK;
void watermark_free(struct watermark *w);
/* A partition that is read from now on: the watermark waits for its next event (or for it to be idle). */
enum status watermark_expect(struct watermark *w, struct event_position at, struct err *e) MUST_CHECK;
/* Takes an event's time (rec: kind EVENT).  *held false: the event is to be handled now, AFTER what watermark_decided
 * gives.  *held true: it was copied and waits; don't handle it. */
enum status watermark_take(struct watermark *w, const struct source_record *rec, bool *held, struct err *e) MUST_CHECK;
/* The next held event whose fate is known, in order: kind EVENT is to be handled, kind REJECT to be counted and written away.
 * NOT_FOUND when none.  *out lives until the next push.  Call until NOT_FOUND after each push and flush. */
enum status watermark_decided(struct watermark *w, const struct source_record **out) MUST_CHECK;
/* Nothing more comes: what one partition holds is rejected (drain it, call again until watermark_held is 0). */
void watermark_flush(struct watermark *w);
/* SOURCE_IDLE: the partition stands at its end. */
enum status watermark_idle(struct watermark *w, struct event_position at, struct err *e) MUST_CHECK;
/* SOURCE_LEFT: the partition is no longer read.  What it holds waits for its return (watermark_expect). */
enum status watermark_leave(struct watermark *w, struct event_position at, struct err *e) MUST_CHECK;
/* A restart: nothing is read until watermark_expect says so.  The watermark stays where it is. */
void watermark_leave_all(struct watermark *w);
int64_t watermark_ms(const struct watermark *w); /* INT64_MIN before it is known */
size_t watermark_held(const struct watermark *w);
void watermark_encode(struct buf *b, const struct watermark *w);
enum status watermark_decode(struct watermark *w, struct buf_reader *r,
                             struct err *e) MUST_CHECK; /* into an empty one */
#endif
