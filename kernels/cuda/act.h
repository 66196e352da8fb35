/* act.h - activations and bfloat16 rounding in device code.
 *
 * GELU is the model's: the error function's form; cuBLASLt's epilogue is the tanh form, which here is GELU_NEW.
 */
#ifndef KERNELS_CUDA_ACT_H
#define KERNELS_CUDA_ACT_H
#include "kernels/cuda/cuda.h"

DEVICE float act_value(float x, enum kern_act act)
{
    switch (act) {
    case KERN_ACT_NONE: return x;
    case KERN_ACT_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case KERN_ACT_GELU_NEW: return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case KERN_ACT_RELU: return x < 0.0f ? 0.0f : x; /* NaN stays */
    }
    return x;
}

DEVICE float act_slope(float x, enum kern_act act)
{
    float t;
    switch (act) {
    case KERN_ACT_NONE: return 1.0f;
    case KERN_ACT_GELU: return 0.5f * (1.0f + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    case KERN_ACT_GELU_NEW:
        t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
    case KERN_ACT_RELU: return x > 0.0f ? 1.0f : 0.0f;
    }
    return 1.0f;
}

union act_bits {
    float f;
    uint32_t u;
};

/* To nearest, ties to even; NaN stays NaN (base/bf16.h). */
DEVICE uint16_t bf16_round(float x)
{
    union act_bits b;
    b.f = x;
    if ((b.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((b.u >> 16) | 0x40u);
    return (uint16_t)((b.u + 0x7fffu + (b.u >> 16 & 1u)) >> 16);
}

DEVICE float bf16_value(uint16_t x)
{
    union act_bits b;
    b.u = (uint32_t)x << 16;
    return b.f;
}
#endif
