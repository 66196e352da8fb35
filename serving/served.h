/* served.h - reads the log of answers (fr:m:served) back, entry after entry, from a thread of its own.
 *
 * For the learner's figures of what was really served.  A server that is away or does not let us read only means that nothing
 * comes: it is tried again, and what was logged meanwhile is read then, as far as the stream still has it.  Answers of shadows
 * are passed over.  Thread: one beside the reader's own.
 */
#ifndef SERVING_SERVED_H
#define SERVING_SERVED_H
#include "base/clock.h"
#include "schemas/conf_variant.h"

#define SERVED_WAITING 256 /* answers that were read and not taken yet; then the reader waits */
#define SERVED_ITEMS 1000  /* of one answer at most */

struct served_id { /* of an entry in the stream; zeroed: before the first */
    uint64_t ms, seq;
};
struct served_item {
    uint64_t item; /* hash_str of its id */
    float logit;
    uint32_t features; /* slate_features as the scorer made them; 0: not said */
};
struct served_answer {
    struct served_id id;
    uint64_t request, version; /* request: hash_str of its id */
    char variant[CONF_VARIANT_NAME];
    int64_t time_ms; /* that was scored at */
    uint32_t n;
    struct served_item items[]; /* (n) by `item` */
};
/* From a stream's entry, name and value one after the other (n texts).  INVALID: no such entry; NOT_FOUND: a shadow's, or none
 * of the share that is read (eval.served_frac, by the request's hash); OOM.  Free with mem_free. */
enum status served_parse(struct served_answer **out, const struct str *fields, size_t n, double share,
                         struct err *e) MUST_CHECK;
/* NULL: it was not in the answer. */
const struct served_item *served_find(const struct served_answer *a, uint64_t item);
bool served_before(struct served_id a, struct served_id b);

struct served;
/* Starts to read after `from`.  c and clock are borrowed.  OK with *out NULL when redis.url is empty or eval.served_answers 0;
 * every other call takes NULL and does nothing. */
enum status served_open(struct served **out, const struct conf *c, struct clock *clock, struct served_id from,
                        struct err *e) MUST_CHECK;
void served_close(struct served *r);
struct served_answer *served_take(struct served *r); /* the next one, the caller's (mem_free); NULL: none waits */
/* All that was logged when it was opened has been read (and waits to be taken), or the server did not give it. */
bool served_current(const struct served *r);
#endif
