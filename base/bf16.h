/* bf16.h - bfloat16, the upper half of a float32: the one rounding of frozen states, operands and published weights.
 *
 * Inline, so that loops over it vectorise.  Thread: any.
 */
#ifndef BASE_BF16_H
#define BASE_BF16_H
#include <stdint.h>
#include <string.h>

/* To nearest, ties to even: adds 0x7fff, and one more when the kept part is odd.  NaN stays NaN (made quiet). */
static inline uint16_t bf16_from(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x0040u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline float bf16_to(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
#endif
