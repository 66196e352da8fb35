/* blas.h - matrix products by OpenBLAS, on one thread.
 *
 * For instruction sets that have no register tiles of ours (gemm.inc).  blas.c is the only file that includes cblas.h.
 */
#ifndef KERNELS_CPU_BLAS_H
#define KERNELS_CPU_BLAS_H
#include <stdbool.h>
#include <stddef.h>

/* Puts the library to one thread (workers are ours) and names it: "OpenBLAS 0.3.21 SkylakeX".  Thread: any. */
void kern_blas_open(char *about, size_t cap);

/* c (M,N) = op(a) op(b) + beta*c, row-major; ta: a is (K,M), tb: b is (N,K).  Sizes may be 0.  Thread: any. */
void kern_blas_gemm(bool ta, bool tb, size_t M, size_t N, size_t K, const float *a, size_t lda, const float *b,
                    size_t ldb, float beta, float *c, size_t ldc);
#endif
