/* gradient.h - checks every gradient of a recorded computation against central differences.
 *
 * The computation is a function of some input values to one output value; the scalar that is differentiated is the sum
 * of its elements times fixed weights.  Differences use two step sizes (error O(h^4)) and accumulate in double;
 * gradients start from 7 so that "=" in place of "+=" shows.
 */
#ifndef TESTS_SUPPORT_GRADIENT_H
#define TESTS_SUPPORT_GRADIENT_H
#include "model/tape.h"

#define GRADIENT_INPUTS_MAX 16

struct gradient_input {
    const char *name;
    size_t n, c;
    float spread, centre; /* values: centre + spread * sin(…) */
    bool constant;        /* no gradient is asked for (dx == NULL) */
};
typedef struct tape_value gradient_fn(struct tape *t, const struct tape_value *in, void *user);

/* Fails the running test naming backend, input and element.  tolerance: |difference| <= tolerance * (1 +
 * |gradient|). */
void gradient_check(const char *backend, const struct gradient_input *in, size_t n, gradient_fn *fn, void *user,
                    double step, double tolerance);
/* The same on backends ref and cpu. */
void gradient_check_all(const struct gradient_input *in, size_t n, gradient_fn *fn, void *user, double step,
                        double tolerance);
/* Fixed pseudo-random numbers in [-1, 1]. */
float gradient_number(size_t i);
#endif
