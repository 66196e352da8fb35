/* score_records.h - users and items as they were last read from Redis, decoded once and shared by all requests.
 *
 * An entry is known by kind and id and stands for certain bytes: the same bytes again are a hit and cost neither decoding
 * nor memory; other bytes replace it.  Entries are immutable and counted, so a reader keeps its own to the end of its
 * request.  Bounded in bytes (an estimate); what was not used since the last look at it leaves first.  While Redis is away
 * the last known records are still found here.  A request's records are looked up and let go all at once, under one
 * lock each.  Thread: any.
 */
#ifndef SERVING_SCORE_RECORDS_H
#define SERVING_SCORE_RECORDS_H
#include "base/status.h"
#include "schemas/record.h"
#include <stddef.h>

enum score_kind { SCORE_USER, SCORE_ITEM };
struct score_record {
    enum score_kind kind;
    struct str id;
    union {
        struct record_user user;
        struct record_item item;
    } u;
};
struct score_records;
struct score_records_stats {
    uint64_t hits, decoded;
    size_t entries, bytes;
};
enum status score_records_new(struct score_records **out, size_t max_bytes, struct err *e) MUST_CHECK;
void score_records_free(struct score_records *r); /* nothing may be held; NULL is fine */
struct score_wanted {
    enum score_kind kind;
    struct str id;
    struct str packed; /* as Redis has it; .p NULL: Redis has none */
    const struct score_record **out;
    uint64_t key, bytes_hash; /* of id and packed; set here */
};
/* *out of each wanted: the record as known, held until score_records_release; NULL: not known, or of other bytes than
 * packed.  as_known: packed is not looked at (Redis is away). */
void score_records_find(struct score_records *r, struct score_wanted *w, size_t n, bool as_known);
/* Decodes w->packed into *w->out (held), in place of what was known; after score_records_find.  CORRUPT: it is no record, or
 * another id's; OOM. */
enum status score_records_take(struct score_records *r, const struct score_wanted *w, struct err *e) MUST_CHECK;
void score_records_drop(struct score_records *r, enum score_kind kind, struct str id); /* Redis has it no more */
void score_records_release(struct score_records *r, const struct score_record *const *held, size_t n);
void score_records_stats(struct score_records *r, struct score_records_stats *out);
#endif
