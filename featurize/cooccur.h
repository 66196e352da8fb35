/* cooccur.h - which items are taken in the same orders: counted per item, and the two features that follow.
 *
 * With each item's record stand its neighbours, at most cooccur.neighbours: c_ij, the orders with both, and n_j, the neighbour's
 * own orders as of the last one with both; items by the lower half of their hash.  So a scorer, which has the candidate's record
 * alone, computes what the learner does.
 *
 *   s_ij = c_ij / (sqrt(n_i n_j) + 3)     features: log1p(20 mean over the user's events' items j of s_ij), log1p(20 max)
 *
 * The candidate itself among the events counts as 0 (Linden, Smith & York 2003; Sarwar et al. 2001; the 3 shrinks what was
 * seen rarely).  Counts may decay (cooccur.half_life_days).  An order of n items is n lists to merge, O(n (list + n)); orders of
 * more than COOCCUR_ORDER_MAX items say little about their pairs and are passed over.  Which neighbours stay: cooccur.c.
 */
#ifndef FEATURIZE_COOCCUR_H
#define FEATURIZE_COOCCUR_H
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include "schemas/slate.h"

#define COOCCUR_ORDER_MAX 150 /* distinct items */
#define COOCCUR_FEATURES 2

struct cooccur {
    bool on; /* part cooccur is in model.parts */
    uint32_t neighbours;
    double halvings_per_ms; /* 0: no decay */
};
/* An item of an order. */
struct cooccur_member {
    uint64_t hash; /* hash_str of its id */
    uint32_t item; /* its lower half */
    float orders;  /* its own, this one included, as of the order's time */
};
struct cooccur cooccur_of(const struct conf *c);

/* i was in an order at time_ms of several items: its own count.  Returns it as of then, for the others' lists. */
float cooccur_count(struct record_item *i, const struct cooccur *c, int64_t time_ms);
/* i's list once the order's items (n of at most COOCCUR_ORDER_MAX, by item, i among them), each counted before, have gone into it,
 * of which `most` stay: to `list`, with room for i->n_neighbours + n; returns how many.  worths: room for twice as many.  i is
 * only read: those of several items may be made at a time. */
uint32_t cooccur_merge(const struct record_item *i, const struct cooccur *c, const struct cooccur_member *members,
                       uint32_t n, int64_t time_ms, uint32_t most, struct record_neighbour *list, float *worths);
/* out: what the candidate i (NULL: nothing known) has in common with the slate's events, as of its time. */
void cooccur_fill(const struct record_item *i, const struct cooccur *c, const struct slate *s,
                  float out[COOCCUR_FEATURES]);
#endif
