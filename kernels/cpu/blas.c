/* blas.c - OpenBLAS behind blas.h.
 *
 * One thread inside the library: parallelism is one worker of ours per core.  It packs both operands at each call, so
 * kern_ops.pack has nothing to do here.
 */
#include "kernels/cpu/blas.h"
#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void kern_blas_open(char *about, size_t cap)
{
    char version[32] = "?";
    openblas_set_num_threads(1);
    (void)sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    (void)snprintf(about, cap, "OpenBLAS %s %s", version, openblas_get_corename());
}

/* beta*c alone: what is left of a product over nothing. */
static void scale(float *c, size_t ldc, size_t M, size_t N, float beta)
{
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) c[m * ldc + n] = beta == 0.0f ? 0.0f : beta * c[m * ldc + n];
}

void kern_blas_gemm(bool ta, bool tb, size_t M, size_t N, size_t K, const float *a, size_t lda, const float *b,
                    size_t ldb, float beta, float *c, size_t ldc)
{
    if (M == 0 || N == 0) return;
    if (K == 0) {
        scale(c, ldc, M, N, beta);
        return;
    }
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)M, (blasint)N,
                (blasint)K, 1.0f, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}
