/* paired.h - a challenger against the champion on the same slates: progressive loss and per-slate AUC, paired.
 *
 * Both predicted a slate when it was opened, before either learnt from it.  What is kept is the challenger's less the
 * champion's, summed by clusters of users (trainer/cluster.h), so that the interval is that of the difference and not of two
 * levels that move together.  A slate that one of them had no prediction for is left out.  Thread: the learner's.
 */
#ifndef TRAINER_PAIRED_H
#define TRAINER_PAIRED_H
#include "schemas/report.h"
#include "schemas/slate.h"
#include "trainer/cluster.h"

struct paired {
    struct cluster loss; /* n: examples, y: log-loss of the challenger less the champion's */
    struct cluster auc;  /* n: slates with both labels, y: their AUC likewise */
    uint64_t slates;
};
/* logits (K) of both, when s was opened; labels are s's.  Logits that are NaN: nobody predicted, nothing is counted. */
void paired_slate(struct paired *p, const struct slate *s, const float *champion, const float *challenger);
void paired_report(const struct paired *p, struct report_paired *out);
void paired_encode(struct buf *b, const struct paired *p);
enum status paired_decode(struct paired *p, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
