/* ref_update.c - optimiser steps, sparse rows, and sums over a whole block. */
#include "kernels/ref/ref.h"
#include <math.h>
#include <stdint.h>

void kern_ref_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                             const float *val, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) {
        double s = z[i];
        for (uint32_t j = off[i]; j < off[i + 1]; j++) s += (double)w[idx[j]] * val[j];
        z[i] = (float)s;
    }
}

/* Duchi, Hazan and Singer 2011; the caller starts acc at 1, which bounds the first steps. */
static void adagrad_one(float *w, float *acc, float g, float lr)
{
    const float a = *acc + g * g;
    *acc = a;
    *w -= lr * g / sqrtf(a);
}

/* In eight running sums, so that it is a vector loop. */
static float squares_of(const float *g, size_t C)
{
    float s[8] = {0}, rest = 0;
    size_t c = 0;
    for (; c + 8 <= C; c += 8)
        for (size_t i = 0; i < 8; i++) s[i] += g[c + i] * g[c + i];
    for (; c < C; c++) rest += g[c] * g[c];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + rest;
}

static void adagrad_row(float *w, float *acc, const float *g, float lr, size_t C)
{
    const float a = *acc + squares_of(g, C), root = sqrtf(a);
    *acc = a;
    for (size_t c = 0; c < C; c++) w[c] -= lr * g[c] / root;
}

void kern_ref_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr,
                             size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        const size_t row = idx[n];
        if (C == 1)
            adagrad_one(w + row, acc + row, g[n], lr);
        else
            adagrad_row(w + row * C, acc + row, g + n * C, lr, C);
    }
}

void kern_ref_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                           const struct kern_adamw *o)
{
    kern_ref_adamw(k, (float *)(uintptr_t)w->w, m, v, g, w->out * w->in, o);
}

void kern_ref_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) adagrad_one(w + i, acc + i, g[i], lr);
}

void kern_ref_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o)
{
    (void)k;
    const double b1 = o->beta1, b2 = o->beta2;
    const double c1 = 1.0 - pow(b1, (double)o->t), c2 = 1.0 - pow(b2, (double)o->t);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)g[i] * o->grad_scale;
        const double m1 = b1 * m[i] + (1.0 - b1) * d, v1 = b2 * v[i] + (1.0 - b2) * d * d;
        m[i] = (float)m1;
        v[i] = (float)v1;
        w[i] = (float)(w[i] - o->lr * (m1 / c1 / (sqrt(v1 / c2) + o->eps) + (double)o->weight_decay * w[i]));
    }
}

void kern_ref_pull(struct kern *k, float *w, const float *to, float share, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) w[i] -= share * (w[i] - to[i]);
}

void kern_ref_sum_squares(struct kern *k, float *out, const float *x, size_t n)
{
    (void)k;
    double s = out[0];
    for (size_t i = 0; i < n; i++) s += (double)x[i] * x[i];
    out[0] = (float)s;
}

void kern_ref_all_finite(struct kern *k, float *out, const float *x, size_t n)
{
    (void)k;
    float good = 1.0f;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) good = 0.0f;
    out[0] = good;
}
