/* store_frame.h - how a record lies in the store: the frame round every value, and the root record that sums them up.
 *
 * Frame: u8 format, payload, u64 XXH3-64 of both seeded with the hash of the key (table byte included): a value under a
 * wrong key fails as a changed byte does.  The root record, written by every transaction, holds the transaction's number and
 * per table the count of records and the sum of their hashes: what vanished, came twice or is stale does not add up.
 */
#ifndef BASE_STORE_FRAME_H
#define BASE_STORE_FRAME_H
#include "base/status.h"
#include "base/store.h"
#include "base/str.h"

#define STORE_FRAME_BYTES 9 /* u8 format before, u64 hash after the payload */
#define STORE_ROOT_BYTES (8 + 1 + STORE_TABLES * 16 + STORE_FRAME_BYTES)
#define STORE_ROOT_KEY ((struct str){"\0root", 5}) /* table 0: no other record is in it */

/* key: with the table's byte.  p: room for n + STORE_FRAME_BYTES.  Returns the record's hash. */
uint64_t store_frame_put(unsigned char *p, struct str key, struct str payload);
/* Takes the frame off.  CORRUPT, UNSUPPORTED (another format; whole) with a sentence that shows the key. */
enum status store_frame_get(struct str key, struct str framed, struct str *payload, uint64_t *hash,
                            struct err *e) MUST_CHECK;
uint64_t store_frame_hash(struct str framed); /* as it is written at its end; 0 when too short */

void store_root_add(struct store_root *r, struct str key, uint64_t hash);
void store_root_take(struct store_root *r, struct str key, uint64_t hash);
void store_root_put(unsigned char p[STORE_ROOT_BYTES], const struct store_root *r);
enum status store_root_get(struct str framed, struct store_root *r, struct err *e) MUST_CHECK;
#endif
