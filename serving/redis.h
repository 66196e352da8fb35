/* redis.h - a connection to Redis as the rest of freshet sees it: append commands, get replies, be told plainly.
 *
 * The only file that includes hiredis.h is redis.c; without the library redis_none.c stands in (UNSUPPORTED).  A
 * connection is made when it is first needed and again after it was lost, not sooner than a jittered back-off allows
 * (50 ms doubling to 2 s).  Errors name the URL.  SIGPIPE is ignored for the whole process.  Thread: one at a time.
 */
#ifndef SERVING_REDIS_H
#define SERVING_REDIS_H
#include "base/clock.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum redis_kind { REDIS_NIL, REDIS_TEXT, REDIS_WORD /* +OK */, REDIS_INTEGER, REDIS_ARRAY, REDIS_FAULT /* -ERR … */ };
struct redis_reply {
    enum redis_kind kind;
    int64_t integer;                 /* INTEGER */
    struct str text;                 /* TEXT, WORD, FAULT; NUL after it */
    const struct redis_reply *items; /* ARRAY (n) */
    size_t n;
};

struct redis;
/* Takes redis.url, redis.password_file and redis.timeout_ms; connects to nothing yet.  clock is borrowed.
 * NOT_FOUND: redis.url is empty; INVALID: malformed; UNSUPPORTED: built without Redis; IO: password file; OOM. */
enum status redis_open(struct redis **out, const struct conf *c, struct clock *clock, struct err *e) MUST_CHECK;
void redis_close(struct redis *r); /* NULL is fine */

/* Connects unless connected.  IO: refused, timed out, or the back-off has not passed (at once, without a try). */
enum status redis_connect(struct redis *r, struct err *e) MUST_CHECK;
bool redis_connected(const struct redis *r);
uint64_t redis_connections(const struct redis *r); /* made so far: a change means a new connection */
int64_t redis_retry_ms(const struct redis *r);     /* until the next try is allowed; 0: now */
const char *redis_name(const struct redis *r);     /* the URL, for messages */
void redis_drop(struct redis *r);                  /* hangs up; the next call connects again, without back-off */

/* Queues one command (connects first if need be); of many some are sent at once.  args are copied.  IO: as redis_connect, or
 * the connection is gone and with it every outstanding reply; OOM. */
enum status redis_append(struct redis *r, struct err *e, const struct str *args, size_t n) MUST_CHECK;
/* The next outstanding reply, in order; sends what is queued first.  *out lives until redis_clear.
 *
 * A fault that the server answers becomes a status, and the connection goes on: AGAIN (loading, busy, failing over: later),
 * FULL (out of memory), INVALID (all else: wrong type, no permission, …).  IO: the connection is gone and with it every
 * outstanding reply.  END: none is outstanding. */
enum status redis_get(struct redis *r, struct err *e, const struct redis_reply **out) MUST_CHECK;
/* Reads and drops what is outstanding and frees all replies: a pipeline ends with it, whatever happened before. */
void redis_clear(struct redis *r);
/* One command, one reply: clear, append, get. */
enum status redis_call(struct redis *r, struct err *e, const struct redis_reply **out, const struct str *args,
                       size_t n) MUST_CHECK;

/* redis_call(r, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))) */
#define REDIS_ARGS(...)                                                                                                \
    (const struct str[]){__VA_ARGS__}, sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str)
bool redis_is(const struct redis_reply *p, const char *word); /* a TEXT or WORD reply equal to word */
#endif
