/* rows.cu - whole rows: look-ups and the way back, means, unit length.  Bound by the bytes of the rows, read and written once. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

#define NORM_LEAST 1e-12 /* shorter rows are divided by this, and have no gradient */

struct rows {
    float *out;
    const float *in;
    const int32_t *idx;
    size_t N, C;
};

KERNEL(k_gather, struct rows)
{
    const size_t n = THREAD / a.C, c = THREAD % a.C;
    if (n < a.N) a.out[THREAD] = a.in[(size_t)a.idx[n] * a.C + c];
}

KERNEL(k_put_rows, struct rows)
{
    const size_t n = THREAD / a.C, c = THREAD % a.C;
    if (n < a.N) a.out[(size_t)a.idx[n] * a.C + c] = a.in[THREAD];
}

void cuda_gather(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C)
{
    const struct rows a = {out, table, idx, N, C};
    if (N * C > 0) LAUNCH(cuda_of(k), k_gather, launch_blocks(N * C, BLOCK), BLOCK, &a);
}

void cuda_put_rows(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C)
{
    const struct rows a = {table, d, idx, N, C};
    if (N * C > 0) LAUNCH(cuda_of(k), k_put_rows, launch_blocks(N * C, BLOCK), BLOCK, &a);
}

/* A block a row of d; the first one of each target adds all of its target's in order, the others end at once. */
KERNEL_TOGETHER(k_scatter_add, struct rows)
{
    SHARED int earlier;
    const size_t n = blockIdx.x;
    const int32_t target = a.idx[n];
    if (threadIdx.x == 0) earlier = 0;
    BLOCK_WAIT();
    for (size_t i = threadIdx.x; i < n; i += blockDim.x)
        if (a.idx[i] == target) earlier = 1; /* all who write write the same */
    BLOCK_WAIT();
    if (earlier) return;
    for (size_t c = threadIdx.x; c < a.C; c += blockDim.x) {
        float sum = a.out[(size_t)target * a.C + c];
        for (size_t i = n; i < a.N; i++)
            if (a.idx[i] == target) sum += a.in[i * a.C + c];
        a.out[(size_t)target * a.C + c] = sum;
    }
}

void cuda_scatter_add(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C)
{
    const struct rows a = {dtable, d, idx, N, C};
    if (N * C > 0) LAUNCH(cuda_of(k), k_scatter_add, N, BLOCK, &a);
}

struct embed {
    float *x;
    const float *word, *position, *type;
    const int32_t *id, *pos, *typ;
    size_t N, C;
};

KERNEL(k_embed, struct embed)
{
    const size_t n = THREAD / a.C, c = THREAD % a.C;
    if (n >= a.N) return;
    a.x[THREAD] = a.word[(size_t)a.id[n] * a.C + c] + a.type[(size_t)a.typ[n] * a.C + c] +
                  a.position[(size_t)a.pos[n] * a.C + c];
}

void cuda_embed(struct kern *k, float *x, const float *word, const float *position, const float *type, const int32_t *id,
                const int32_t *pos, const int32_t *typ, size_t N, size_t C)
{
    const struct embed a = {x, word, position, type, id, pos, typ, N, C};
    if (N * C > 0) LAUNCH(cuda_of(k), k_embed, launch_blocks(N * C, BLOCK), BLOCK, &a);
}

/* A thread a column of a segment. */
KERNEL(k_mean_rows, struct rows)
{
    const size_t s = THREAD / a.C, c = THREAD % a.C;
    if (s >= a.N) return;
    const size_t first = (size_t)a.idx[s], last = (size_t)a.idx[s + 1];
    double sum = 0.0;
    for (size_t r = first; r < last; r++) sum += (double)a.in[r * a.C + c];
    a.out[THREAD] = last > first ? (float)(sum / (double)(last - first)) : 0.0f;
}

void cuda_mean_rows(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C)
{
    const struct rows a = {out, x, off, S, C};
    if (S * C > 0) LAUNCH(cuda_of(k), k_mean_rows, launch_blocks(S * C, BLOCK), BLOCK, &a);
}

struct unit {
    float *out, *norm; /* backward: out is dx */
    const float *x, *dout, *was, *kept;
    double scale;
    size_t N, C;
};

KERNEL_TOGETHER(k_unit_rows, struct unit)
{
    const size_t n = WARP_INDEX;
    if (n >= a.N) return;
    double s = 0.0;
    for (size_t c = LANE; c < a.C; c += WARP) s += (double)a.x[n * a.C + c] * (double)a.x[n * a.C + c];
    const double length = sqrt(warp_sum(s)), f = a.scale / fmax(length, NORM_LEAST);
    for (size_t c = LANE; c < a.C; c += WARP) a.out[n * a.C + c] = (float)((double)a.x[n * a.C + c] * f);
    if (a.norm != NULL && LANE == 0) a.norm[n] = (float)length;
}

void cuda_unit_rows(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C)
{
    const struct unit a = {out, norm, x, NULL, NULL, NULL, (double)scale, N, C};
    if (N > 0) LAUNCH(cuda_of(k), k_unit_rows, launch_blocks(N, WARPS), BLOCK, &a);
}

/* u = out/scale, r = |x|:  dx += (scale/r) (dout - u (u.dout)) */
KERNEL_TOGETHER(k_unit_rows_back, struct unit)
{
    const size_t n = WARP_INDEX;
    if (n >= a.N || (double)a.kept[n] < NORM_LEAST) return;
    const float *dout = a.dout + n * a.C, *was = a.was + n * a.C;
    double along = 0.0;
    for (size_t c = LANE; c < a.C; c += WARP) along += (double)dout[c] * (double)was[c];
    along = warp_sum(along);
    const double f = a.scale / (double)a.kept[n], g = along / (a.scale * (double)a.kept[n]);
    for (size_t c = LANE; c < a.C; c += WARP)
        a.out[n * a.C + c] = (float)((double)a.out[n * a.C + c] + f * (double)dout[c] - g * (double)was[c]);
}

void cuda_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *out, const float *norm, float scale,
                             size_t N, size_t C)
{
    const struct unit a = {dx, NULL, NULL, dout, out, norm, (double)scale, N, C};
    if (N > 0) LAUNCH(cuda_of(k), k_unit_rows_back, launch_blocks(N, WARPS), BLOCK, &a);
}
