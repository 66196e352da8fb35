/* kernels.h - what the tests of kernels/ share: the backends of this machine, random numbers, and the two comparisons.
 *
 * A test runs its operation on `ref` and on every other backend there is and compares (kernels_close); the gradients of
 * `ref` are compared with central differences of its own forward (kernels_slope).  Buffers live until kernels_reset.
 */
#ifndef TESTS_SUPPORT_KERNELS_H
#define TESTS_SUPPORT_KERNELS_H
#include "kernels/kern.h"

struct kern *kernels_ref(void);         /* made at first use, freed by kernels_close_all */
struct kern *kernels_backend(size_t i); /* the others, from 0; NULL after the last */
/* With FRESHET_KERNELS_PLUGIN in the environment the one other is that plug-in's; where it does not start the program ends as
 * skipped (77), or fails with FRESHET_GPU_MUST.  FRESHET_TF32: with TF32 products, and comparisons to 2e-2 + 2e-3. */
void kernels_close_all(void);

float *kernels_zeros(size_t n);
float *kernels_random(size_t n, uint64_t seed); /* standard normal */
float *kernels_copy(const float *x, size_t n);
int32_t *kernels_ids(size_t n, int32_t below, uint64_t seed);
void kernels_reset(void); /* frees all buffers */

/* Every element within abs + rel*|want|, and as finite as it; fails naming `what` and the first that is off. */
void kernels_close(const char *what, const float *got, const float *want, size_t n, double abs, double rel);

/* Central differences of loss(user) at each of x (n), against grad (n) - start.  Every element; x is left as it was.
 * Tolerance: abs + 2e-3*|slope|, for rounding of float32 outputs over the step and for the step itself. */
void kernels_slope(const char *what, double (*loss)(void *user), void *user, float *x, size_t n, const float *grad,
                   float start, double abs);
double kernels_weigh(const float *x, const float *w, size_t n); /* sum of w*x in double: a loss with gradient w */
/* Three threads, for what must have the same bits shared as alone; pool_free is the caller's. */
struct pool *kernels_pool(void);
#endif
