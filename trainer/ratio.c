/* ratio.c - see ratio.h. */
#include "trainer/ratio.h"
#include <math.h>
#include <string.h>

void ratio_add(struct ratio *r, const double *shares, size_t arm)
{
    uint64_t users = 0;
    for (size_t i = 0; i < CONF_LINES_MAX; i++) users += r->n[i];
    /* what the Dirichlet distribution, as the users before have it, gives this arm */
    const double expects = (RATIO_WEIGHT * shares[arm] + (double)r->n[arm]) / (RATIO_WEIGHT + (double)users);
    r->now = shares[arm] > 0.0 ? r->now + log(expects / shares[arm]) : INFINITY;
    r->most = fmax(r->most, r->now);
    r->n[arm]++;
}

void ratio_from(struct ratio *r, const double *shares, const uint64_t *n)
{
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < CONF_LINES_MAX; i++)
        for (uint64_t k = 0; k < n[i]; k++) ratio_add(r, shares, i);
    r->most = fmax(r->now, 0.0);
}

double ratio_p(const struct ratio *r)
{
    return exp(-r->most);
}
