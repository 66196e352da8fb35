/* calibrate.c - see calibrate.h. */
#include "trainer/calibrate.h"
#include <math.h>

static const double step_size = 0.1;

void calibrate_init(struct calibrate *c)
{
    *c = (struct calibrate){.acc_a = 1.0, .acc_b = 1.0};
}

float calibrate_logit(const struct calibrate *c, float x)
{
    return (float)(c->a * (double)x + c->b);
}

void calibrate_learn(struct calibrate *c, const float *x, const float *y, size_t n)
{
    double ga = 0.0, gb = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double d = 1.0 / (1.0 + exp(-(c->a * (double)x[i] + c->b))) - (double)y[i];
        ga += d * (double)x[i];
        gb += d;
    }
    c->acc_a += ga * ga;
    c->acc_b += gb * gb;
    c->a -= step_size * ga / sqrt(c->acc_a);
    c->b -= step_size * gb / sqrt(c->acc_b);
}
