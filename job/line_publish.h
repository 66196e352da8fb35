/* line_publish.h - a line's parameters to a publisher: which hashed rows changed, and a version of them.
 *
 * Thread: the learner's.  Where there is no publisher (to NULL) nothing is done.
 */
#ifndef JOB_LINE_PUBLISH_H
#define JOB_LINE_PUBLISH_H
#include "job/line.h"
#include "serving/publish.h"

/* Hashed rows that changed since the last checkpoint; to be said before the next one takes them for saved. */
void line_publish_touch(const struct line *l, struct publish *to);
/* Hands p over (the line's own parameters, or others of its model) as the version that v says; number, hash and base are set from p
 * and the model, and the dense piece is as v->rounded says.  Errors of the encoders and of publish_weights. */
enum status line_publish(const struct line *l, struct publish *to, const struct param_set *p, struct publish_version *v,
                         struct err *e) MUST_CHECK;
#endif
