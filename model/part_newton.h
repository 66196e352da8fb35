/* part_newton.h - second-order steps for a linear term: the curvature of its loss, and what the model knows by it.
 *
 *   A <- gamma*A + sum c x x',  w <- w - (A + ridge*I)^-1 sum g x       (MODEL.md, `numeric`)
 *
 * with g = d loss / d logit and c = p(1 - p), times the example's weight: online Newton steps of logistic regression
 * (Bishop 2006, 4.3.3).  A + ridge*I is the Laplace approximation's precision of w, from which exploration draws.
 * Plain loops in double, in a fixed order: n <= 128, and a step is n^3/6 products.  Thread: the owner's.
 */
#ifndef MODEL_PART_NEWTON_H
#define MODEL_PART_NEWTON_H
#include "base/buf.h"
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>

#define PART_NEWTON_MAX 128 /* weights */

struct part_newton;
/* n: 1 to PART_NEWTON_MAX; ridge > 0. */
enum status part_newton_new(struct part_newton **out, size_t n, double ridge, struct err *e) MUST_CHECK;
void part_newton_free(struct part_newton *q); /* NULL is fine */
/* One example: x (n), its curvature (>= 0) and gradient; numbers that are not finite are left out whole. */
void part_newton_add(struct part_newton *q, const float *x, double curvature, double gradient);
/* What was added before this batch counts `keep` of what it did; then w (n) takes the step of what was added since the last
 * one.  false: nothing was added, or the step is not finite (then w stays). */
bool part_newton_step(struct part_newton *q, double keep, float *w);
void part_newton_drop(struct part_newton *q); /* what was added since the last step is forgotten */
void part_newton_precision(const struct part_newton *q, float *out); /* out (n,n) = A + ridge*I, symmetric */
/* Between steps: what is added and not yet stepped is not in it.  decode: CORRUPT, another n or a negative diagonal. */
void part_newton_encode(struct buf *b, const struct part_newton *q);
enum status part_newton_decode(struct part_newton *q, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
