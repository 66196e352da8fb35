/* segment.h - which segment a row belongs to, in device code.
 *
 * Rows of many sentences or slates lie one behind the other; kernels count rows, and find whose they are by their offsets.
 */
#ifndef KERNELS_CUDA_SEGMENT_H
#define KERNELS_CUDA_SEGMENT_H
#include "kernels/cuda/launch.h"

DEVICE size_t segment_of(const int32_t *off, size_t n, size_t row)
{
    size_t low = 0, high = n; /* off[low] <= row < off[high] */
    while (high - low > 1) {
        const size_t mid = (low + high) / 2;
        if ((size_t)off[mid] <= row)
            low = mid;
        else
            high = mid;
    }
    while (low + 1 < n && (size_t)off[low + 1] <= row) low++; /* empty segments */
    return low;
}
#endif
