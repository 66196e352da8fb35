/* score_records.h - users and items as they were last read from Redis, decoded once and shared by all requests.
 *
 * An entry is known by kind and id and stands for certain bytes: the same bytes again are a hit and cost neither decoding
 * nor memory; other bytes replace it.  Entries are immutable and counted, so a reader keeps its own to the end of its
 * request.  Bounded in bytes (an estimate); the least recently used leaves first.  While Redis is away the last known
 * records are still found here.  Thread: any.
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
/* The record that these bytes are.  *out is held until score_records_release.  CORRUPT: they are none (or of another id); OOM. */
enum status score_records_take(struct score_records *r, enum score_kind kind, struct str id, struct str packed,
                               const struct score_record **out, struct err *e) MUST_CHECK;
const struct score_record *score_records_find(struct score_records *r, enum score_kind kind,
                                              struct str id);                           /* held; or NULL */
void score_records_drop(struct score_records *r, enum score_kind kind, struct str id);  /* Redis has it no more */
void score_records_release(struct score_records *r, const struct score_record *record); /* NULL is fine */
void score_records_stats(struct score_records *r, struct score_records_stats *out);
#endif
