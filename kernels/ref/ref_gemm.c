/* ref_gemm.c - matrix products: every element is one sum in double, in order of the inner index. */
#include "kernels/ref/ref.h"

/* Element strides: a[m*am + k*ak] b[k*bk + n*bn]; beta = 0 never reads c. */
static void product(float *c, size_t ldc, const float *a, size_t am, size_t ak, const float *b, size_t bk, size_t bn,
                    size_t M, size_t N, size_t K, float beta)
{
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            double s = beta == 0.0f ? 0.0 : (double)beta * c[m * ldc + n];
            for (size_t i = 0; i < K; i++) s += (double)a[m * am + i * ak] * b[i * bk + n * bn];
            c[m * ldc + n] = (float)s;
        }
}

void kern_ref_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    product(c, ldc, a, lda, 1, b, 1, ldb, M, N, K, beta);
}

void kern_ref_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    product(c, ldc, a, lda, 1, b, ldb, 1, M, N, K, beta);
}

void kern_ref_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    product(c, ldc, a, 1, lda, b, ldb, 1, M, N, K, beta);
}
