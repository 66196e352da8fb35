/* feat_rate.c - see feat_rate.h. */
#include "featurize/feat_rate.h"
#include <math.h>

#define PRIOR_SHOWN 20.0 /* of all items together: one taken of twenty until more is known */
#define RATE_MOST 0.999

struct counts {
    double shown, taken;
};

static double at_most(double p)
{
    return p < RATE_MOST ? p : RATE_MOST;
}

static double rate_of_all(struct counts all)
{
    return at_most((all.taken + 1) / (all.shown + PRIOR_SHOWN));
}

static double shrunk(struct counts c, double parent, double kappa)
{
    return at_most((c.taken + kappa * parent) / (c.shown + kappa));
}

static double above(double rate, double all)
{
    return log(rate / (1 - rate)) - log(all / (1 - all));
}

static struct counts tallied(const struct feat_view *v, const struct record_tally *tallies, uint32_t n, int shown,
                             int taken)
{
    const struct counter_decay *d = &v->f->decay;
    const unsigned w = v->f->rate_window;
    return (struct counts){counter_at(counter_find(tallies, n, (uint8_t)shown), d, w, v->s->time_ms),
                           counter_at(counter_find(tallies, n, (uint8_t)taken), d, w, v->s->time_ms)};
}

static struct counts remembered(const struct feat_view *v, enum record_rate_kind kind)
{
    const struct record_rate *r = &v->item->rates[kind];
    const double keep = counter_left(&v->f->decay, v->f->rate_window, v->s->time_ms - r->time_ms);
    return (struct counts){keep * (double)r->shown, keep * (double)r->taken};
}

double feat_rate_item(const struct feat_view *v, double kappa)
{
    const struct counts own = tallied(v, v->item->tallies, v->item->n_tallies, RECORD_SHOWN, RECORD_TAKEN);
    struct counts group = remembered(v, RECORD_RATE_CATEGORY);
    if (!(group.shown > 0)) group = remembered(v, RECORD_RATE_BRAND);
    if (!(own.shown > 0) && !(group.shown > 0)) return 0;
    const double all = rate_of_all(remembered(v, RECORD_RATE_ALL));
    return above(shrunk(own, shrunk(group, all, kappa), kappa), all);
}

double feat_rate_group(const struct feat_view *v, enum record_rate_kind group, double kappa)
{
    const struct counts c = remembered(v, group);
    if (!(c.shown > 0)) return 0;
    const double all = rate_of_all(remembered(v, RECORD_RATE_ALL));
    return above(shrunk(c, all, kappa), all);
}

double feat_rate_user(const struct feat_view *v, double kappa)
{
    const struct record_user *u = v->user;
    const struct counts own = tallied(v, u->tallies, u->n_tallies, RECORD_SHOWN, RECORD_TAKEN);
    if (!(own.shown > 0)) return 0;
    const double all = rate_of_all(tallied(v, u->tallies, u->n_tallies, RECORD_ALL_SHOWN, RECORD_ALL_TAKEN));
    return above(shrunk(own, all, kappa), all);
}
