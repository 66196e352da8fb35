/* narrow_norm.cu - LayerNorm of a product's rows with their bias and residual, in bfloat16: a warp a row, kept in registers.
 *
 * 6 bytes a number, or 8 where the result is float.  Sums are float32, the variance of what the mean leaves.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/narrow.h"
#include "kernels/cuda/reduce.h"

typedef uint32_t MAY_ALIAS bf16_pair;

DEVICE float row_sum(float v)
{
    for (unsigned mask = WARP / 2; mask > 0; mask /= 2) v += LANE_XOR(v, mask);
    return v;
}

/* pairs: of numbers that a thread has at most, known when this is compiled. */
DEVICE void norm_row(const struct narrow_norm *a, const unsigned pairs)
{
    const size_t r = WARP_INDEX, n = a->C / 2;
    if (r >= a->N || (a->wide != NULL && r >= (size_t)*a->rows)) return;
    const bf16_pair *x = (const bf16_pair *)(const void *)(a->x + r * a->C), *res = (const bf16_pair *)(const void *)(a->res + r * a->C);
    float v[NARROW_C_MAX / WARP], sum = 0.0f, squares = 0.0f;
    UNROLL
    for (unsigned i = 0; i < pairs; i++) {
        const size_t p = i * WARP + LANE;
        if (p >= n) continue;
        const uint32_t left = x[p], right = res[p];
        v[2 * i] = bf16_value((uint16_t)left) + a->bias[2 * p] + bf16_value((uint16_t)right);
        v[2 * i + 1] = bf16_value((uint16_t)(left >> 16)) + a->bias[2 * p + 1] + bf16_value((uint16_t)(right >> 16));
        sum += v[2 * i] + v[2 * i + 1];
    }
    const float mean = row_sum(sum) / (float)a->C;
    UNROLL
    for (unsigned i = 0; i < pairs; i++) {
        if (i * WARP + LANE >= n) continue;
        v[2 * i] -= mean;
        v[2 * i + 1] -= mean;
        squares += v[2 * i] * v[2 * i] + v[2 * i + 1] * v[2 * i + 1];
    }
    const float f = 1.0f / sqrtf(row_sum(squares) / (float)a->C + (float)a->eps);
    UNROLL
    for (unsigned i = 0; i < pairs; i++) {
        const size_t p = i * WARP + LANE;
        if (p >= n) continue;
        const float low = v[2 * i] * f * a->gain[2 * p] + a->shift[2 * p];
        const float high = v[2 * i + 1] * f * a->gain[2 * p + 1] + a->shift[2 * p + 1];
        const uint32_t pair = (uint32_t)bf16_round(low) | (uint32_t)bf16_round(high) << 16;
        if (a->wide == NULL) {
            ((bf16_pair *)(void *)(a->out + r * a->C))[p] = pair;
            continue;
        }
        a->wide[r * a->C + 2 * p] = bf16_value((uint16_t)pair); /* as the next layer would have it */
        a->wide[r * a->C + 2 * p + 1] = bf16_value((uint16_t)(pair >> 16));
    }
}

#define NORM(pairs)                                                                                                    \
    KERNEL_TOGETHER(k_norm_##pairs, struct narrow_norm)                                                                \
    {                                                                                                                  \
        norm_row(&a, pairs);                                                                                           \
    }
NORM(2)
NORM(6)
NORM(12)
NORM(16)
NORM(32)

void narrow_norm(struct cuda *c, const struct narrow_norm *a)
{
    const size_t blocks = launch_blocks(a->N, WARPS), pairs = launch_blocks(a->C / 2, WARP);
    if (pairs <= 2)
        LAUNCH(c, k_norm_2, blocks, BLOCK, a);
    else if (pairs <= 6) /* MiniLM */
        LAUNCH(c, k_norm_6, blocks, BLOCK, a);
    else if (pairs <= 12) /* BERT */
        LAUNCH(c, k_norm_12, blocks, BLOCK, a);
    else if (pairs <= 16)
        LAUNCH(c, k_norm_16, blocks, BLOCK, a);
    else
        LAUNCH(c, k_norm_32, blocks, BLOCK, a);
}
