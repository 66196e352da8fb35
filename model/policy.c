/* policy.c - see policy.h. */
#include "model/policy.h"
#include <math.h>

void policy_gumbel(const float *logits, size_t n, double temperature, struct rand *r, double *keys)
{
    for (size_t i = 0; i < n; i++) {
        const double u = 1.0 - rand_unit(r); /* (0, 1] */
        keys[i] = (double)logits[i] / temperature - log(-log(u) + 1e-300);
    }
}

double policy_log_add(double a, double b)
{
    const double more = a > b ? a : b, less = a > b ? b : a;
    return less == -INFINITY ? more : more + log1p(exp(less - more));
}

void policy_propensities(const float *logits, size_t n, double rest, double temperature, double *out)
{
    double left = rest; /* of those that are left, from the end on */
    for (size_t i = n; i-- > 0;) {
        const double z = (double)logits[i] / temperature;
        left = policy_log_add(left, z);
        out[i] = exp(z - left);
    }
}
