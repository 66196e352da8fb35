/* counter.h - exponentially decayed counts: half-lives of hours to weeks, and all time.
 *
 * A tally is written at event times only: decay to the event's time, then add.  Reading decays without writing, so what
 * is stored does not depend on when or how often it is looked at.  An event older than the tally is added decayed by its
 * age instead; nothing ever grows by going back in time.  Arithmetic in double.
 */
#ifndef FEATURIZE_COUNTER_H
#define FEATURIZE_COUNTER_H
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/record.h"

#define COUNTER_ALL RECORD_HALF_LIVES /* in place of a half-life: the plain total */
#define COUNTER_DAY_MS INT64_C(86400000)
#define COUNTER_RATE_HOURS 2160 /* rates are counted over the half-life nearest to this one */

struct counter_decay {
    double hours[RECORD_HALF_LIVES];
    double halvings_per_ms[RECORD_HALF_LIVES];
};
/* From counter.half_lives_hours.  INVALID: not exactly four numbers > 0. */
enum status counter_init(struct counter_decay *d, const struct conf *c, struct err *e) MUST_CHECK;
unsigned counter_nearest(const struct counter_decay *d, double hours); /* the half-life nearest to this one, by ratio */

void counter_add(struct record_tally *t, const struct counter_decay *d, int64_t time_ms, double n);
/* The count with half-life h (or COUNTER_ALL) as of time_ms; t NULL: 0. */
double counter_at(const struct record_tally *t, const struct counter_decay *d, unsigned h, int64_t time_ms);

/* Share of a count that is left after so many milliseconds; 1 when none have passed. */
double counter_left(const struct counter_decay *d, unsigned h, int64_t passed_ms);

const struct record_tally *counter_find(const struct record_tally *tallies, uint32_t n, uint8_t type); /* or NULL */
/* Finds the tally of a type or appends an empty one as of time_ms, in the record's scratch (NULL: mem_*). OOM. */
enum status counter_tally(struct record_tally **out, struct arena *scratch, struct record_tally **tallies, uint32_t *n,
                          uint8_t type, int64_t time_ms, struct err *e) MUST_CHECK;
int64_t counter_day(int64_t time_ms); /* UTC day since 1970, floored: also before it */
#endif
