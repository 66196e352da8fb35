/* policy.h - ordering a list at random and saying how likely it was: Plackett–Luce by Gumbel top-k.
 *
 * Plackett–Luce draws one item after another, each with probability proportional to exp(z/T) among those that are left.
 * Sorting z/T plus independent Gumbel noise draws the whole list at once (Kool et al. 2019).  Shared by who ranks and who
 * learns what ranked.  Thread: any; allocates nothing.
 */
#ifndef MODEL_POLICY_H
#define MODEL_POLICY_H
#include "base/rand.h"
#include <stddef.h>

/* keys (n) to sort by, largest first.  temperature > 0. */
void policy_gumbel(const float *logits, size_t n, double temperature, struct rand *r, double *keys);
/* out (n): of each item of a list in its order, the probability of being next given those before it; logits (n) in that
 * order.  rest: log of the sum of exp(z/T) over items that were not listed (policy_rest), -INFINITY: all were. */
void policy_propensities(const float *logits, size_t n, double rest, double temperature, double *out);
/* log(exp(a) + exp(b)), for sums of exp(z/T) item by item; -INFINITY is the empty one. */
double policy_log_add(double a, double b);
#endif
