/* stream.h - the shop as one log in time order, and what the best predictor reaches on it.
 *
 * Items are announced when they arrive, lists are shown, clicks and purchases come after their delays.  The best reachable
 * AUC is progressive: the filter scores each list when it is shown and learns it when its window has ended.
 */
#ifndef SIMULATE_STREAM_H
#define SIMULATE_STREAM_H
#include "simulate/shop.h"

struct stream_truth {
    uint64_t lines, lists, shown, clicks, purchases; /* written: what comes after the last line is not counted */
    double best_auc, best_gauc;                      /* NaN when not asked for */
    double best_auc_last_quarter;                    /* of the lists in the last quarter of the lines */
    double oracle_auc;                               /* with the hidden truth itself: what no learner can reach */
};
/* Writes lines through `line` (whole lines, newline included) until o->events are out; a non-OK return stops. */
enum status stream_run(const struct shop_options *o, bool best,
                       enum status (*line)(void *user, int64_t time_ms, struct str text), void *user,
                       struct stream_truth *truth, struct err *e) MUST_CHECK;
void stream_write_truth(struct buf *b, const struct shop_options *o, const struct stream_truth *t); /* JSON */
#endif
