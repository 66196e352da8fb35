/* reduce.h - sums and extremes over a warp or a block, in a fixed order, for every thread of it.
 *
 * Pairs at distance 16, 8, 4, 2, 1 in a warp; then the warps in order.  All threads of the warp or block take part.
 */
#ifndef KERNELS_CUDA_REDUCE_H
#define KERNELS_CUDA_REDUCE_H
#include "kernels/cuda/launch.h"

DEVICE double warp_sum(double v)
{
    for (unsigned mask = WARP / 2; mask > 0; mask /= 2) v += LANE_XOR(v, mask);
    return v;
}

DEVICE float warp_max(float v)
{
    for (unsigned mask = WARP / 2; mask > 0; mask /= 2) v = fmaxf(v, LANE_XOR(v, mask));
    return v;
}

/* Blocks of at most 32 warps; `room` is shared memory of 32 numbers. */
DEVICE double block_sum(double v, double *room)
{
    double sum = 0.0;
    v = warp_sum(v);
    BLOCK_WAIT(); /* an earlier sum may still be read */
    if (LANE == 0) room[threadIdx.x / WARP] = v;
    BLOCK_WAIT();
    for (unsigned w = 0; w < blockDim.x / WARP; w++) sum += room[w];
    return sum;
}

DEVICE double block_max(float v, double *room)
{
    v = warp_max(v);
    BLOCK_WAIT();
    if (LANE == 0) room[threadIdx.x / WARP] = (double)v;
    BLOCK_WAIT();
    double top = room[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++) top = fmax(top, room[w]);
    return top;
}
#endif
