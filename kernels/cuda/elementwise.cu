/* elementwise.cu - one number out for one number in; each bound by the bytes that its comment names. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/act.h"

void cuda_zero(struct kern *k, float *x, size_t n)
{
    if (n > 0) cuda_check(cuda_of(k), cudaMemsetAsync(x, 0, n * sizeof *x, cuda_of(k)->stream), "zero");
}

void cuda_copy(struct kern *k, float *y, const float *x, size_t n)
{
    if (n > 0)
        cuda_check(cuda_of(k), cudaMemcpyAsync(y, x, n * sizeof *y, cudaMemcpyDeviceToDevice, cuda_of(k)->stream), "copy");
}

struct axpy {
    float *y;
    float f;
    const float *x;
    size_t n;
};

/* 12 bytes a number.  y may be x. */
KERNEL(k_axpy, struct axpy)
{
    if (THREAD < a.n) a.y[THREAD] += a.f * a.x[THREAD];
}

void cuda_axpy(struct kern *k, float *y, float f, const float *x, size_t n)
{
    const struct axpy a = {y, f, x, n};
    if (n > 0) LAUNCH(cuda_of(k), k_axpy, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct map {
    float *y;
    const float *x, *dy;
    enum kern_act act;
    size_t n;
};

/* 8 bytes a number. */
KERNEL(k_act, struct map)
{
    if (THREAD < a.n) a.y[THREAD] = act_value(a.x[THREAD], a.act);
}

/* 12 bytes a number. */
KERNEL(k_act_backward, struct map)
{
    if (THREAD < a.n) a.y[THREAD] = a.dy[THREAD] * act_slope(a.x[THREAD], a.act);
}

void cuda_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n)
{
    const struct map a = {y, x, NULL, act, n};
    if (n > 0) LAUNCH(cuda_of(k), k_act, launch_blocks(n, BLOCK), BLOCK, &a);
}

void cuda_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n)
{
    const struct map a = {dx, x, dy, act, n};
    if (n > 0) LAUNCH(cuda_of(k), k_act_backward, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct drop {
    float *y;
    const float *x;
    const uint8_t *keep;
    float f;
    size_t n;
};

/* 9 bytes a number. */
KERNEL(k_dropout, struct drop)
{
    if (THREAD < a.n) a.y[THREAD] = a.keep[THREAD] ? a.x[THREAD] * a.f : 0.0f;
}

void cuda_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n)
{
    const struct drop a = {y, x, keep, 1.0f / (1.0f - p), n};
    if (n > 0) LAUNCH(cuda_of(k), k_dropout, launch_blocks(n, BLOCK), BLOCK, &a);
}
