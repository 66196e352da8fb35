/* norm.cu - layer normalisation and sums over rows: a warp a row, sums in double.
 *
 * Forward: 8 bytes a number and, with a residual, 16; backward 16 for dx (x and dout come twice, from cache) and 8 more for gain
 * and bias.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

#define CHUNK 128 /* rows of one partial sum of a column */

struct norm {
    float *out, *mean, *rstd, *sum;
    const float *x, *res, *gain, *bias;
    double eps;
    size_t N, C;
};

KERNEL_TOGETHER(k_layernorm, struct norm)
{
    const size_t r = WARP_INDEX;
    if (r >= a.N) return;
    const float *x = a.x + r * a.C, *in = x;
    if (a.res != NULL) {
        float *sum = a.sum + r * a.C;
        for (size_t c = LANE; c < a.C; c += WARP) sum[c] = x[c] + a.res[r * a.C + c];
        in = sum; /* every lane reads what it wrote itself */
    }
    double m = 0.0, v = 0.0;
    for (size_t c = LANE; c < a.C; c += WARP) m += (double)in[c];
    m = warp_sum(m) / (double)a.C;
    for (size_t c = LANE; c < a.C; c += WARP) v += ((double)in[c] - m) * ((double)in[c] - m);
    const double s = 1.0 / sqrt(warp_sum(v) / (double)a.C + a.eps);
    for (size_t c = LANE; c < a.C; c += WARP)
        a.out[r * a.C + c] = (float)(((double)in[c] - m) * s * (double)a.gain[c] + (double)a.bias[c]);
    if (LANE > 0) return;
    a.mean[r] = (float)m;
    a.rstd[r] = (float)s;
}

void cuda_layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x, const float *res,
                    const float *gain, const float *bias, float eps, size_t N, size_t C)
{
    const struct norm a = {out, mean, rstd, sum, x, res, gain, bias, (double)eps, N, C};
    if (N > 0) LAUNCH(cuda_of(k), k_layernorm, launch_blocks(N, WARPS), BLOCK, &a);
}

struct norm_back {
    float *dx;
    const float *dout, *x, *gain, *mean, *rstd;
    size_t N, C;
};

KERNEL_TOGETHER(k_layernorm_dx, struct norm_back)
{
    const size_t r = WARP_INDEX;
    if (r >= a.N) return;
    const float *x = a.x + r * a.C, *g = a.dout + r * a.C;
    const double m = (double)a.mean[r], s = (double)a.rstd[r];
    double sum = 0.0, sum_x = 0.0;
    for (size_t c = LANE; c < a.C; c += WARP) {
        const double dn = (double)a.gain[c] * (double)g[c];
        sum += dn;
        sum_x += dn * ((double)x[c] - m) * s;
    }
    sum = warp_sum(sum) / (double)a.C;
    sum_x = warp_sum(sum_x) / (double)a.C;
    for (size_t c = LANE; c < a.C; c += WARP) {
        const double xhat = ((double)x[c] - m) * s, dn = (double)a.gain[c] * (double)g[c];
        a.dx[r * a.C + c] = (float)((double)a.dx[r * a.C + c] + s * (dn - sum - xhat * sum_x));
    }
}

void cuda_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout, const float *x,
                             const float *gain, const float *mean, const float *rstd, size_t N, size_t C)
{
    const struct norm_back a = {dx, dout, x, gain, mean, rstd, N, C};
    if (N == 0) return;
    LAUNCH(cuda_of(k), k_layernorm_dx, launch_blocks(N, WARPS), BLOCK, &a);
    cuda_column_sums(cuda_of(k), dgain, dout, x, mean, rstd, N, C);
    cuda_column_sums(cuda_of(k), dbias, dout, NULL, NULL, NULL, N, C);
}

struct columns {
    double *parts; /* (chunks, C) */
    float *out;
    const float *d, *x, *mean, *rstd;
    size_t N, C, chunks;
};

/* A thread a column and chunk of rows. */
KERNEL(k_column_parts, struct columns)
{
    const size_t c = THREAD % a.C, chunk = THREAD / a.C;
    if (chunk >= a.chunks) return;
    const size_t last = (chunk + 1) * CHUNK < a.N ? (chunk + 1) * CHUNK : a.N;
    double sum = 0.0;
    for (size_t r = chunk * CHUNK; r < last; r++) {
        const double d = (double)a.d[r * a.C + c];
        sum += a.x != NULL ? d * (((double)a.x[r * a.C + c] - (double)a.mean[r]) * (double)a.rstd[r]) : d;
    }
    a.parts[chunk * a.C + c] = sum;
}

KERNEL(k_column_sums, struct columns)
{
    if (THREAD >= a.C) return;
    double sum = (double)a.out[THREAD];
    for (size_t i = 0; i < a.chunks; i++) sum += a.parts[i * a.C + THREAD];
    a.out[THREAD] = (float)sum;
}

void cuda_column_sums(struct cuda *c, float *out, const float *d, const float *x, const float *mean, const float *rstd,
                      size_t N, size_t C)
{
    const size_t chunks = launch_blocks(N, CHUNK);
    if (N == 0 || C == 0) return;
    double *parts = (double *)cuda_scratch(c, chunks * C * sizeof *parts);
    if (parts == NULL) return;
    const struct columns a = {parts, out, d, x, mean, rstd, N, C, chunks};
    LAUNCH(c, k_column_parts, launch_blocks(chunks * C, BLOCK), BLOCK, &a);
    LAUNCH(c, k_column_sums, launch_blocks(C, BLOCK), BLOCK, &a);
}
