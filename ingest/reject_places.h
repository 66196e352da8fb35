/* reject_places.h - a set of places in a log: topic, partition and offset of messages, each kept as one hash.
 *
 * Dead letters are known again by their place: the sink leaves out what a topic holds already, and a replay of dead letters
 * leaves out what was learnt from them before.  64 bits a place: of a million, two are alike with probability 3e-8.
 * Thread: one.
 */
#ifndef INGEST_REJECT_PLACES_H
#define INGEST_REJECT_PLACES_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define REJECT_PLACES_MAX 16777216 /* 256 MiB; more are FULL */

struct reject_places { /* zeroed is fine */
    uint64_t *slots;   /* 0: free */
    size_t n, n_slots; /* n_slots: a power of two, or 0 */
};
uint64_t reject_place(struct str topic, uint32_t partition, uint64_t offset); /* never 0 */
void reject_places_fini(struct reject_places *s);
bool reject_places_has(const struct reject_places *s, uint64_t place);
/* Once is enough; 0 is ignored.  OOM, or FULL at REJECT_PLACES_MAX. */
enum status reject_places_add(struct reject_places *s, uint64_t place, struct err *e) MUST_CHECK;
void reject_places_encode(struct buf *b, const struct reject_places *s);
enum status reject_places_decode(struct reject_places *s, struct buf_reader *r,
                                 struct err *e) MUST_CHECK; /* into an empty one */
#endif
