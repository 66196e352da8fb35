/* quota.h - how many examples one key (a user, an item, a source) has contributed in the window under way.
 *
 * A count-min sketch with conservative update (Cormode and Muthukrishnan 2005; Estan and Varghese 2002): fixed memory however
 * many keys there are, so that nobody can push a flooder out by bringing many others.  It never counts too few, so a cap holds;
 * it may count too many by about e * total / QUOTA_WIDTH.  Windows follow each other on the grid of event time; one key can
 * reach its cap at the end of one and again at the beginning of the next.  Thread: one.
 */
#ifndef TRAINER_QUOTA_H
#define TRAINER_QUOTA_H
#include "base/buf.h"
#include "base/status.h"
#include <stdint.h>

#define QUOTA_ROWS 4
#define QUOTA_WIDTH 16384

struct quota;
enum status quota_new(struct quota **out, struct err *e) MUST_CHECK;
void quota_free(struct quota *q);
void quota_clear(struct quota *q);
uint64_t quota_count(const struct quota *q, uint64_t key); /* an upper bound; key: a hash */
void quota_add(struct quota *q, uint64_t key, uint32_t n);
void quota_encode(struct buf *b, const struct quota *q);                                   /* what is not 0 */
enum status quota_decode(struct quota *q, struct buf_reader *r, struct err *e) MUST_CHECK; /* into an empty one */
#endif
