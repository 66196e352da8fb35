/* plain.cu - a product of any shape, stride and alignment, for what cuBLASLt is not given: tiles of 16 x 16 in shared memory.
 *
 * 2*M*N*K FLOPs out of M*K*N/16 + N*K*M/16 numbers read: the small products of match and heads, and odd widths.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"

#define TILE 16u

struct plain {
    float *c;
    const float *x, *y; /* element (m,k) of a at x[m*am + k*ak], (k,n) of b at y[k*bk + n*bn] */
    size_t ldc, am, ak, bk, bn, M, N, K, across; /* across: tiles in a row of c */
    double beta;
    size_t bf16;
};

DEVICE float plain_operand(float x, size_t bf16)
{
    return bf16 ? bf16_value(bf16_round(x)) : x;
}

/* A thread a number of c. */
KERNEL_TOGETHER(k_plain, struct plain)
{
    SHARED float left[TILE][TILE + 1], right[TILE][TILE + 1];
    const unsigned row = threadIdx.x / TILE, col = threadIdx.x % TILE;
    const size_t m = blockIdx.x / a.across * TILE + row, n = blockIdx.x % a.across * TILE + col;
    double sum = 0.0;
    for (size_t k = 0; k < a.K; k += TILE) {
        left[row][col] = m < a.M && k + col < a.K ? plain_operand(a.x[m * a.am + (k + col) * a.ak], a.bf16) : 0.0f;
        right[row][col] = n < a.N && k + row < a.K ? plain_operand(a.y[(k + row) * a.bk + n * a.bn], a.bf16) : 0.0f;
        BLOCK_WAIT();
        for (unsigned i = 0; i < TILE; i++) sum += (double)left[row][i] * (double)right[i][col];
        BLOCK_WAIT();
    }
    if (m >= a.M || n >= a.N) return;
    if (a.beta != 0.0) sum += a.beta * (double)a.c[m * a.ldc + n];
    a.c[m * a.ldc + n] = (float)sum;
}

void cuda_plain_product(struct cuda *c, const struct cuda_product *p)
{
    const size_t across = launch_blocks(p->N, TILE), down = launch_blocks(p->M, TILE);
    const bool tn = p->form == CUDA_TN, nt = p->form == CUDA_NT;
    const struct plain a = {(float *)p->c, (const float *)p->a, (const float *)p->b, p->ldc,
                            tn ? 1 : p->lda, tn ? p->lda : 1, nt ? 1 : p->ldb, nt ? p->ldb : 1,
                            p->M, p->N, p->K, across, (double)p->beta, p->bf16};
    if (across * down > 0) LAUNCH(c, k_plain, across * down, TILE * TILE, &a);
}
