/* reject_headers.h - a message's headers as one JSON object, and back, without losing a byte.
 *
 *   {"trace":"abc","retry":["1","2"],"raw":{"base64":"/w=="},"none":null}
 *
 * A name that comes more than once has a list; bytes that are not UTF-8 are in base64; null is a header without a value.
 * What can't be a member of a JSON object (a name that is not UTF-8) is left out, and so is all beyond REJECT_HEADERS_MAX.
 */
#ifndef INGEST_REJECT_HEADERS_H
#define INGEST_REJECT_HEADERS_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define REJECT_HEADERS_MAX 64

struct reject_header {
    struct str name, value; /* value.p NULL: absent */
};
void reject_headers_put(struct buf *b, const struct reject_header *headers, size_t n);
/* Fills at most cap, in the object's order; strings in a, names end with NUL.  INVALID: no such object; OOM. */
enum status reject_headers_get(struct reject_header *out, size_t cap, size_t *n, struct str json, struct arena *a,
                               struct err *e) MUST_CHECK;
#endif
