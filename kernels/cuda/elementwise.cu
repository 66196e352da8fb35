/* elementwise.cu - one number out for one number in; each bound by the bytes that its comment names. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/act.h"

void cuda_zero(struct kern *k, float *x, size_t n)
{
    if (n > 0) cuda_put_zero(cuda_of(k), x, n * sizeof *x);
}

void cuda_copy(struct kern *k, float *y, const float *x, size_t n)
{
    if (n > 0) cuda_put_copy(cuda_of(k), y, x, n * sizeof *y);
}

struct axpy {
    float *y;
    double f;
    const float *x;
    size_t n;
};

/* 12 bytes a number.  y may be x. */
KERNEL(k_axpy, struct axpy)
{
    if (THREAD < a.n) a.y[THREAD] += (float)a.f * a.x[THREAD];
}

void cuda_axpy(struct kern *k, float *y, float f, const float *x, size_t n)
{
    const struct axpy a = {y, (double)f, x, n};
    if (n > 0) LAUNCH(cuda_of(k), k_axpy, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct map {
    float *y;
    const float *x, *dy;
    size_t act, n; /* act: enum kern_act */
};

/* 8 bytes a number. */
KERNEL(k_act, struct map)
{
    if (THREAD < a.n) a.y[THREAD] = act_value(a.x[THREAD], (enum kern_act)a.act);
}

/* 12 bytes a number. */
KERNEL(k_act_backward, struct map)
{
    if (THREAD < a.n) a.y[THREAD] = a.dy[THREAD] * act_slope(a.x[THREAD], (enum kern_act)a.act);
}

void cuda_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n)
{
    const struct map a = {y, x, NULL, (size_t)act, n};
    if (n > 0) LAUNCH(cuda_of(k), k_act, launch_blocks(n, BLOCK), BLOCK, &a);
}

void cuda_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n)
{
    const struct map a = {dx, x, dy, (size_t)act, n};
    if (n > 0) LAUNCH(cuda_of(k), k_act_backward, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct widening {
    float *y;
    const uint16_t *x;
    size_t n;
};

/* 6 bytes a number. */
KERNEL(k_widen, struct widening)
{
    if (THREAD < a.n) a.y[THREAD] = bf16_value(a.x[THREAD]);
}

void cuda_widen(struct kern *k, float *y, const uint16_t *x, size_t n)
{
    const struct widening a = {y, x, n};
    if (n > 0) LAUNCH(cuda_of(k), k_widen, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct drop {
    float *y;
    const float *x;
    const uint8_t *keep;
    double f;
    size_t n;
};

/* 9 bytes a number. */
KERNEL(k_dropout, struct drop)
{
    if (THREAD < a.n) a.y[THREAD] = a.keep[THREAD] ? a.x[THREAD] * (float)a.f : 0.0f;
}

void cuda_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n)
{
    const struct drop a = {y, x, keep, (double)(1.0f / (1.0f - p)), n};
    if (n > 0) LAUNCH(cuda_of(k), k_dropout, launch_blocks(n, BLOCK), BLOCK, &a);
}
