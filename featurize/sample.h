/* sample.h - negatives for orders: which active items might as well have been taken.
 *
 * A mixture over the rows of the catalogue: uniform over active items with join.negatives_uniform_frac, the rest by
 * (takes per active day)^0.75.  Active: announced or taken within the last join.negatives_days UTC days of event time.
 * Two Fenwick trees over blocks of 64 rows (how many are active, fixed-point weights) make each draw O(log rows), in memory
 * that stays in the cache.  What the trees hold follows from the item records and the day alone, so a resumed run draws the
 * same numbers.  Weights move when an item is taken and, for all, when the event day changes: a pass over the arrays here.
 */
#ifndef FEATURIZE_SAMPLE_H
#define FEATURIZE_SAMPLE_H
#include "base/rand.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample_row { /* what a weight follows from, beside the day */
    double takes;
    int32_t first_day, last_day; /* UTC days of the record's times; last_day INT32_MIN: deleted */
};
struct sample {
    double uniform_frac;
    int64_t days, day;       /* window; the event day that weights are as of */
    int64_t max_age;         /* days since its first one after which an item is no candidate; 0: never */
    int64_t from_day;        /* an item first seen earlier is none either */
    size_t n, cap;           /* rows */
    uint8_t *active;         /* (cap) */
    uint8_t *excluded;       /* (cap) */
    uint32_t *weights;       /* (cap) 0 unless active */
    struct sample_row *rows; /* (cap) */
    size_t n_blocks;         /* a power of two */
    uint64_t *ones, *sums;   /* (n_blocks + 1) Fenwick trees, from 1 */
    uint64_t n_active, total;
    uint32_t *excluded_rows; /* those set in excluded */
    size_t n_excluded, cap_excluded;
    uint64_t n_excluded_active;
    double excluded_mass;
};
void sample_init(struct sample *s, const struct conf *c);
void sample_fini(struct sample *s);

/* Sets the day that activity and weights are as of; true when it moved forward, and all rows were weighed anew. */
bool sample_move(struct sample *s, int64_t time_ms);
/* Activity and weight of an item's row, from its record and its takes so far.  OOM. */
enum status sample_set(struct sample *s, const struct record_item *i, double takes, struct err *e) MUST_CHECK;
/* Is an item first seen then young enough for join.max_item_age_days and join.items_from_ms, as of the day? */
bool sample_young(const struct sample *s, int64_t first_ms);
uint32_t sample_weight(const struct sample *s, uint32_t row); /* 0 unless active */

/* Rows that must not be drawn now (unknown rows are ignored); sample_allow_all ends it.  OOM. */
enum status sample_exclude(struct sample *s, uint32_t row, struct err *e) MUST_CHECK;
void sample_allow_all(struct sample *s);
/* Draws up to `want` distinct rows that are active and not excluded; fewer when there are no more (or, on a catalogue of
 * very uneven weights, after 50 tries each).  rows (want) written; returns how many. */
size_t sample_draw(struct sample *s, struct rand *r, size_t want, uint32_t *rows);
/* Probability of a row in one draw under the exclusions in force, as if it were not excluded itself; at least
 * 1/(number of active items).  1 when nothing is active. */
double sample_q(const struct sample *s, uint32_t row);
#endif
