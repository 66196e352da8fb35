/* ref_rows.c - operations on whole rows: look-ups, means, unit length, dropout. */
#include "base/bf16.h"
#include "kernels/ref/ref.h"
#include <math.h>
#include <string.h>

#define NORM_LEAST 1e-12 /* shorter rows are divided by this, and have no gradient */

void kern_ref_gather(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) memcpy(out + n * C, table + (size_t)idx[n] * C, C * sizeof *out);
}

void kern_ref_scatter_add(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        float *row = dtable + (size_t)idx[n] * C;
        for (size_t c = 0; c < C; c++) row[c] += d[n * C + c];
    }
}

void kern_ref_widen(struct kern *k, float *y, const uint16_t *x, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) y[i] = bf16_to(x[i]);
}

void kern_ref_put_rows(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) memcpy(table + (size_t)idx[n] * C, d + n * C, C * sizeof *d);
}

void kern_ref_embed(struct kern *k, float *x, const float *word, const float *position, const float *type,
                    const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        const float *w = word + (size_t)id[n] * C, *p = position + (size_t)pos[n] * C, *t = type + (size_t)typ[n] * C;
        for (size_t c = 0; c < C; c++) x[n * C + c] = w[c] + t[c] + p[c];
    }
}

void kern_ref_mean_rows(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C)
{
    (void)k;
    for (size_t s = 0; s < S; s++)
        for (size_t c = 0; c < C; c++) {
            const size_t first = (size_t)off[s], last = (size_t)off[s + 1];
            double sum = 0.0;
            for (size_t r = first; r < last; r++) sum += x[r * C + c];
            out[s * C + c] = last > first ? (float)(sum / (double)(last - first)) : 0.0f;
        }
}

void kern_ref_unit_rows(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        double s = 0.0;
        for (size_t c = 0; c < C; c++) s += (double)x[n * C + c] * x[n * C + c];
        const double length = sqrt(s), f = scale / fmax(length, NORM_LEAST);
        for (size_t c = 0; c < C; c++) out[n * C + c] = (float)(x[n * C + c] * f);
        if (norm != NULL) norm[n] = (float)length;
    }
}

/* u = out/scale, r = |x|:  dx += (scale/r) (dout - u (u·dout)) */
void kern_ref_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *out, const float *norm,
                                 float scale, size_t N, size_t C)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        if ((double)norm[n] < NORM_LEAST) continue;
        double along = 0.0;
        for (size_t c = 0; c < C; c++) along += (double)dout[n * C + c] * out[n * C + c];
        const double f = (double)scale / norm[n], g = along / ((double)scale * norm[n]);
        for (size_t c = 0; c < C; c++)
            dx[n * C + c] = (float)(dx[n * C + c] + f * dout[n * C + c] - g * out[n * C + c]);
    }
}

void kern_ref_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n)
{
    (void)k;
    const float f = 1.0f / (1.0f - p);
    for (size_t i = 0; i < n; i++) y[i] = keep[i] ? x[i] * f : 0.0f;
}
