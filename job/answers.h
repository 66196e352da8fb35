/* answers.h - answers of the log that wait for the lists that show them, by request.
 *
 * The newest ones, bounded in number and bytes; whoever is oldest gives way.  An answer stays when a list used it, since a
 * request's answer may be shown in several lists.  Thread: the learner's.
 */
#ifndef JOB_ANSWERS_H
#define JOB_ANSWERS_H
#include "serving/served.h"

#define ANSWERS_BYTES 2048 /* of one on average: a hundred items and its place in the tables */

struct answers;
enum status answers_new(struct answers **out, size_t capacity, struct err *e) MUST_CHECK; /* > 0 */
void answers_free(struct answers *a);
/* Takes take_x over, on failure too; the newest of a request counts.  again: it was taken before, in an earlier process. */
enum status answers_put(struct answers *a, struct served_answer *take_x, bool again, struct err *e) MUST_CHECK;
/* NULL: none; until the next put. */
const struct served_answer *answers_find(const struct answers *a, uint64_t request);
void answers_use(struct answers *a, uint64_t request);     /* a list that shows it opens */
void answers_settled(struct answers *a, uint64_t request); /* … settles; it may have opened in an earlier process */
uint64_t answers_unmatched(const struct answers *a);       /* gave way without a list, those that came again left out */
/* After this entry all stand in the stream that wait for a list, or whose list is open: where a later process begins to read.
 * newest: where we are. */
struct served_id answers_from(const struct answers *a, struct served_id newest);
#endif
