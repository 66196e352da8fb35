/* eval_rank.h - how far up a list its positives stand: NDCG@k and recall@k.
 *
 *   NDCG@k   = DCG@k / DCG@k of the ideal order, DCG@k = sum over ranks r <= k of gain_r / log2(r + 1), gain 1 of a
 *              positive, 0 else          (Järvelin and Kekäläinen 2002)
 *   recall@k = positives among the first k / positives
 * Equal scores: the mean over all their orders (McSherry and Najork 2008), so that no figure hangs on the order of the
 * input.  The mean over lists with both labels.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_RANK_H
#define TRAINER_EVAL_RANK_H
#include "schemas/report.h"
#include <stdint.h>

#define EVAL_K_LARGEST REPORT_K_LARGEST

struct eval_cut { /* which k */
    uint32_t k[REPORT_K_MAX], n;
    double discount[EVAL_K_LARGEST + 1]; /* discount[r] = sum of 1/log2(i + 1) for i = 1 … r */
};
void eval_cut_init(struct eval_cut *c, const uint32_t *k, uint32_t n); /* 1 <= k <= EVAL_K_LARGEST, n <= REPORT_K_MAX */

struct eval_place { /* an item of a list */
    float z;
    uint32_t item, tie; /* index in the slate; what places equal ones where one order is needed */
    float y;
};
/* Descending by z, then by tie, then by item.  NaN counts as the lowest.  Allocates nothing. */
void eval_sort(struct eval_place *list, size_t n);

struct eval_ranked {
    double ndcg[REPORT_K_MAX], recall[REPORT_K_MAX];
    uint64_t slates;
};
/* NDCG and recall of one sorted list; false without both labels, then nothing is written. */
bool eval_rank_list(const struct eval_cut *c, const struct eval_place *sorted, size_t n, double ndcg[REPORT_K_MAX],
                    double recall[REPORT_K_MAX]);
void eval_ranked_add(struct eval_ranked *r, const struct eval_cut *c, const struct eval_place *sorted, size_t n);
void eval_ranked_figures(const struct eval_ranked *r, const struct eval_cut *c, struct report_ranked *out);
#endif
