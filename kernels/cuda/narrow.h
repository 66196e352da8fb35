/* narrow.h - what frozen layers do in bfloat16 beside their products: attention of sentences, LayerNorm of a sum.
 *
 * For stack.cu, which puts them in order.  Numbers come and go as pairs of 16 bits; sums are float32.
 */
#ifndef KERNELS_CUDA_NARROW_H
#define KERNELS_CUDA_NARROW_H
#include "kernels/cuda/cuda.h"

#define NARROW_ROWS_OF_TILE 16 /* queries that a warp takes at once */
#define NARROW_D_MAX 128       /* columns of a head; a multiple of 8 */
#define NARROW_C_MAX 2048      /* of a row; even */

/* out (N,C) of qkv (N,3C), both bfloat16.  Backend memory: off (n+1) where sentences begin, tile (n+1) how many tiles of
 * NARROW_ROWS_OF_TILE rows stand before each; tiles: in all, or more.  The last sentences may be empty. */
struct narrow_attention {
    uint16_t *out;
    const uint16_t *qkv;
    const int32_t *off, *tile;
    size_t n, tiles, H, C;
    double scale; /* of a score, to the base of 2 */
};
bool narrow_attends(size_t C, size_t H);
void narrow_attention(struct cuda *c, const struct narrow_attention *a);

/* LayerNorm of x + bias + res (N,C): into out, or where `wide` is not NULL there, in float, the first *rows rows. */
struct narrow_norm {
    uint16_t *out;
    float *wide;
    const int32_t *rows;
    const uint16_t *x, *res;
    const float *bias, *gain, *shift;
    double eps;
    size_t N, C;
};
void narrow_norm(struct cuda *c, const struct narrow_norm *a);
#endif
