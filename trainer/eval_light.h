/* eval_light.h - a meter that is small enough to have many of: one a window, span of the curve, segment.
 *
 * The figures are eval.h's (same definitions), pooled AUC out of 256 bins over [-8, 8] instead of 4096 over [-16, 16]:
 * logits within 1/16 of each other are ties, half.  Sums are weights, so that the decayed meter is one as well.  What an
 * example adds (its terms) is computed once a slate and shared by all that count it.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_LIGHT_H
#define TRAINER_EVAL_LIGHT_H
#include "base/buf.h"
#include "schemas/report.h"
#include <stdint.h>

#define EVAL_LIGHT_BINS 256
#define EVAL_LIGHT_LOGIT_MAX 8.0

struct eval_light {
    double bins[2][EVAL_LIGHT_BINS]; /* by label */
    double gauc_sum, gauc_slates, logloss_sum, predicted_sum, examples, positives;
};
struct eval_term { /* what one example adds */
    double loss, p;
    uint16_t bin;
    uint8_t label;
};
struct eval_terms {          /* of one slate; arrays are borrowed */
    const float *z, *y;      /* (n) logits and labels */
    struct eval_term *terms; /* (n) */
    size_t n;
    double auc; /* of the whole slate; NaN without both labels */
};
/* Fills t->terms (n, the caller's room) and t->auc from t->z and t->y. */
void eval_terms_fill(struct eval_terms *t);
/* Adds the slate, each example with this weight; mask not NULL: only examples with mask[i], and their own AUC. */
void eval_light_add(struct eval_light *m, const struct eval_terms *t, const uint8_t *mask, double weight);
void eval_light_merge(struct eval_light *into, const struct eval_light *from); /* sums of both */
void eval_light_scale(struct eval_light *m, double factor);
void eval_light_figures(const struct eval_light *m,
                        struct report_figures *out); /* counts rounded; NaN where undefined */
/* Sparse: an empty meter is a few bytes. */
void eval_light_encode(struct buf *b, const struct eval_light *m);
void eval_light_decode(struct eval_light *m, struct buf_reader *r); /* r->bad on damage */

/* NE and the like of sums: the one place where the figures of eval.h are made of what was added up. */
struct eval_sums {
    double gauc_sum, gauc_slates, logloss_sum, predicted_sum, examples, positives, auc;
};
void eval_figures(const struct eval_sums *s, struct report_figures *out);
#endif
