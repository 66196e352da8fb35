/* counter.c - decay and look-up of tallies.  Records hold few types, so look-up is a walk. */
#include "featurize/counter.h"
#include <math.h>

#define MS_PER_HOUR 3600000.0

enum status counter_init(struct counter_decay *d, const struct conf *c, struct err *e)
{
    TRY(conf_numbers(c->counter_half_lives_h, d->hours, RECORD_HALF_LIVES, "counter.half_lives_hours", e));
    for (int h = 0; h < RECORD_HALF_LIVES; h++) d->halvings_per_ms[h] = 1.0 / (d->hours[h] * MS_PER_HOUR);
    return STATUS_OK;
}

unsigned counter_nearest(const struct counter_decay *d, double hours)
{
    unsigned best = 0;
    for (unsigned h = 1; h < RECORD_HALF_LIVES; h++)
        if (fabs(log(d->hours[h] / hours)) < fabs(log(d->hours[best] / hours))) best = h;
    return best;
}

double counter_left(const struct counter_decay *d, unsigned h, int64_t passed_ms)
{
    return passed_ms > 0 ? exp2(-(double)passed_ms * d->halvings_per_ms[h]) : 1.0;
}

void counter_add(struct record_tally *t, const struct counter_decay *d, int64_t time_ms, double n)
{
    const int64_t passed = time_ms - t->time_ms;
    for (unsigned h = 0; h < RECORD_HALF_LIVES; h++) {
        if (passed >= 0)
            t->decayed[h] = t->decayed[h] * counter_left(d, h, passed) + n;
        else
            t->decayed[h] += n * counter_left(d, h, -passed);
    }
    if (passed > 0) t->time_ms = time_ms;
    t->total += n;
}

double counter_at(const struct record_tally *t, const struct counter_decay *d, unsigned h, int64_t time_ms)
{
    if (t == NULL) return 0;
    return h == COUNTER_ALL ? t->total : t->decayed[h] * counter_left(d, h, time_ms - t->time_ms);
}

const struct record_tally *counter_find(const struct record_tally *tallies, uint32_t n, uint8_t type)
{
    for (uint32_t i = 0; i < n; i++)
        if (tallies[i].type == type) return &tallies[i];
    return NULL;
}

enum status counter_tally(struct record_tally **out, struct arena *scratch, struct record_tally **tallies, uint32_t *n,
                          uint8_t type, int64_t time_ms, struct err *e)
{
    for (uint32_t i = 0; i < *n; i++) {
        if ((*tallies)[i].type != type) continue;
        *out = &(*tallies)[i];
        return STATUS_OK;
    }
    struct record_tally *grown = record_part_grow(scratch, *tallies, *n, (size_t)*n + 1, sizeof *grown);
    if (grown == NULL) return ERR_SET(e, STATUS_OOM, "counter: out of memory for %u counts", *n + 1);
    grown[*n] = (struct record_tally){.type = type, .time_ms = time_ms};
    *tallies = grown;
    *out = &grown[(*n)++];
    return STATUS_OK;
}

int64_t counter_day(int64_t time_ms)
{
    return time_ms >= 0 ? time_ms / COUNTER_DAY_MS : -((COUNTER_DAY_MS - 1 - time_ms) / COUNTER_DAY_MS);
}
