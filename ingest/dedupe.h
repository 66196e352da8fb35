/* dedupe.h - drops events whose (source, id) was seen before, within a bounded window (CloudEvents' rule for duplicates).
 *
 * The newest ingest.dedupe_ids pairs are remembered as 64-bit hashes: a false duplicate has odds of window / 2^64 per event.
 * A repeat does not renew its pair.  Part of the state.  Deterministic.
 */
#ifndef INGEST_DEDUPE_H
#define INGEST_DEDUPE_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>

struct dedupe;
/* Remembers `ids` pairs; 0: none, nothing is ever a duplicate.  Takes its memory at once (24 to 48 bytes a pair). */
enum status dedupe_new(struct dedupe **out, size_t ids, struct err *e) MUST_CHECK;
void dedupe_free(struct dedupe *d);
/* Was it seen?  Remembers it if not.  An event without an id (absent) is never a duplicate.  Allocates nothing. */
bool dedupe_seen(struct dedupe *d, struct str source, struct str id);
size_t dedupe_count(const struct dedupe *d);
void dedupe_encode(struct buf *b, const struct dedupe *d);
/* Into an empty one.  A window smaller than what was stored keeps the newest. */
enum status dedupe_decode(struct dedupe *d, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
