/* queue.h - a bounded queue of pointers between threads (mutex and two condition variables).
 *
 * Push blocks while it is full: that is the back-pressure; with a time-out of 0 nothing waits.  Close wakes everyone:
 * later pushes are refused, pops drain what is left and then say END.  Items still inside at free are the caller's to
 * have drained.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

struct queue;
enum status queue_new(struct queue **out, size_t capacity, struct err *e) MUST_CHECK;
void queue_free(struct queue *q);
enum status queue_push(struct queue *q, void *item) MUST_CHECK;                         /* END after close */
enum status queue_push_for(struct queue *q, void *item, int64_t timeout_ms) MUST_CHECK; /* AGAIN when still full */
enum status queue_pop(struct queue *q, void **out) MUST_CHECK;                          /* END when closed and empty */
enum status queue_pop_for(struct queue *q, void **out, int64_t timeout_ms) MUST_CHECK;  /* AGAIN when still empty */
void queue_close(struct queue *q);
size_t queue_length(struct queue *q);
#endif
