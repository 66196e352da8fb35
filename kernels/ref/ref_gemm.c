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

void kern_ref_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                     enum kern_act act, size_t N)
{
    const size_t I = w->in, O = w->out;
    for (size_t n = 0; n < N; n++)
        for (size_t o = 0; o < O; o++) {
            double s = b != NULL ? (double)b[o] : 0.0;
            for (size_t i = 0; i < I; i++) s += (double)x[n * I + i] * w->w[o * I + i];
            y[n * O + o] = (float)s;
        }
    if (pre != NULL) kern_ref_copy(k, pre, y, N * O);
    if (act != KERN_ACT_NONE) kern_ref_act(k, y, y, act, N * O);
}

void kern_ref_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    kern_ref_gemm_nn(k, dx, w->in, dy, w->out, w->w, w->in, N, w->in, w->out, 1.0f);
}

void kern_ref_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                        size_t I)
{
    kern_ref_gemm_tn(k, dw, I, dy, O, x, I, O, I, N, 1.0f);
    if (db == NULL) return;
    for (size_t o = 0; o < O; o++) {
        double s = db[o];
        for (size_t n = 0; n < N; n++) s += dy[n * O + o];
        db[o] = (float)s;
    }
}
