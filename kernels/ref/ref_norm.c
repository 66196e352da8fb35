/* ref_norm.c - activations and layer normalisation. */
#include "kernels/ref/ref.h"
#include <assert.h>
#include <math.h>

static const double sqrt_half = 0.70710678118654752440;      /* 1/sqrt(2) */
static const double sqrt_2_over_pi = 0.79788456080286535588; /* sqrt(2/pi) */
static const double inv_sqrt_2pi = 0.39894228040143267794;   /* 1/sqrt(2 pi) */
static const double gelu_new_cubic = 0.044715;

/* Hendrycks and Gimpel 2016: x*Phi(x), with the error function or its tanh approximation. */
static double act_value(double x, enum kern_act act)
{
    switch (act) {
    case KERN_ACT_NONE: return x;
    case KERN_ACT_GELU: return 0.5 * x * (1.0 + erf(x * sqrt_half));
    case KERN_ACT_GELU_NEW: return 0.5 * x * (1.0 + tanh(sqrt_2_over_pi * (x + gelu_new_cubic * x * x * x)));
    case KERN_ACT_RELU: return x < 0.0 ? 0.0 : x; /* NaN stays */
    }
    return x;
}

static double act_slope(double x, enum kern_act act)
{
    double t;
    switch (act) {
    case KERN_ACT_NONE: return 1.0;
    case KERN_ACT_GELU: return 0.5 * (1.0 + erf(x * sqrt_half)) + x * inv_sqrt_2pi * exp(-0.5 * x * x);
    case KERN_ACT_GELU_NEW:
        t = tanh(sqrt_2_over_pi * (x + gelu_new_cubic * x * x * x));
        return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * sqrt_2_over_pi * (1.0 + 3.0 * gelu_new_cubic * x * x);
    case KERN_ACT_RELU: return x > 0.0 ? 1.0 : 0.0;
    }
    return 1.0;
}

void kern_ref_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) y[i] = (float)act_value(x[i], act);
}

void kern_ref_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) dx[i] = (float)(dy[i] * act_slope(x[i], act));
}

void kern_ref_layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x,
                        const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C)
{
    (void)k;
    assert(C > 0 && (res == NULL || sum != NULL));
    for (size_t r = 0; r < N; r++) {
        const float *in = x + r * C;
        if (res != NULL) {
            for (size_t c = 0; c < C; c++) sum[r * C + c] = in[c] + res[r * C + c];
            in = sum + r * C;
        }
        double m = 0.0, v = 0.0;
        for (size_t c = 0; c < C; c++) m += in[c];
        m /= (double)C;
        for (size_t c = 0; c < C; c++) v += (in[c] - m) * (in[c] - m);
        const double s = 1.0 / sqrt(v / (double)C + (double)eps);
        for (size_t c = 0; c < C; c++) out[r * C + c] = (float)((in[c] - m) * s * gain[c] + bias[c]);
        mean[r] = (float)m;
        rstd[r] = (float)s;
    }
}

void kern_ref_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout,
                                 const float *x, const float *gain, const float *mean, const float *rstd, size_t N,
                                 size_t C)
{
    (void)k;
    assert(C > 0);
    for (size_t r = 0; r < N; r++) {
        const float *in = x + r * C, *g = dout + r * C;
        const double m = mean[r], s = rstd[r];
        double sum = 0.0, sum_x = 0.0;
        for (size_t c = 0; c < C; c++) {
            const double xhat = (in[c] - m) * s, dn = (double)gain[c] * g[c];
            sum += dn;
            sum_x += dn * xhat;
        }
        for (size_t c = 0; c < C; c++) {
            const double xhat = (in[c] - m) * s, dn = (double)gain[c] * g[c];
            dx[r * C + c] = (float)(dx[r * C + c] + s * (dn - sum / (double)C - xhat * sum_x / (double)C));
        }
    }
    for (size_t c = 0; c < C; c++) {
        double dg = dgain[c], db = dbias[c];
        for (size_t r = 0; r < N; r++) {
            dg += dout[r * C + c] * ((x[r * C + c] - (double)mean[r]) * rstd[r]);
            db += dout[r * C + c];
        }
        dgain[c] = (float)dg;
        dbias[c] = (float)db;
    }
}
