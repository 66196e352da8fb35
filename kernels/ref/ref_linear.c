/* ref_linear.c - linear layers by the definition of each precision (kern.h, enum kern_precision). */
#include "base/bf16.h"
#include "kernels/ref/ref.h"
#include <math.h>

/* A row as its precision sees it: value i is round(x[i] * up) * down, or rounded to bfloat16, or as it is. */
struct row {
    const float *x;
    size_t step; /* from value to value */
    enum kern_precision prec;
    float up, down; /* INT8 */
};

static struct row row_of(const float *x, size_t n, size_t step, enum kern_precision prec)
{
    struct row r = {x, step, prec, 0.0f, 0.0f};
    float most = 0.0f;
    if (prec != KERN_INT8) return r;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i * step]));
    if (most > 0.0f) r.up = 127.0f / most;
    r.down = most / 127.0f;
    return r;
}

static double value(const struct row *r, size_t i)
{
    const float x = r->x[i * r->step];
    if (r->prec == KERN_INT8) return (double)nearbyintf(x * r->up);
    return r->prec == KERN_BF16 ? (double)bf16_to(bf16_from(x)) : (double)x;
}

static double dot_f32(const float *a, const float *b, size_t n, double start)
{
    double s = start;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

/* start + a.b; integers are exact in double, and are scaled as one float32 product. */
static double dot(const struct row *a, const struct row *b, size_t n, double start)
{
    if (a->prec == KERN_F32 && a->step == 1 && b->step == 1) return dot_f32(a->x, b->x, n, start);
    double s = a->prec == KERN_INT8 ? 0.0 : start;
    for (size_t i = 0; i < n; i++) s += value(a, i) * value(b, i);
    return a->prec == KERN_INT8 ? (double)((float)s * (b->down * a->down)) + start : s;
}

void kern_ref_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                     enum kern_act act, size_t N)
{
    const size_t I = w->in, O = w->out;
    for (size_t o = 0; o < O; o++) {
        const struct row weights = row_of(w->w + o * I, I, 1, w->prec);
        for (size_t n = 0; n < N; n++) {
            const struct row in = row_of(x + n * I, I, 1, w->prec);
            y[n * O + o] = (float)dot(&in, &weights, I, b != NULL ? (double)b[o] : 0.0);
        }
    }
    if (pre != NULL) kern_ref_copy(k, pre, y, N * O);
    if (act != KERN_ACT_NONE) kern_ref_act(k, y, y, act, N * O);
}

void kern_ref_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    (void)k;
    for (size_t n = 0; n < N; n++) {
        const struct row out = row_of(dy + n * w->out, w->out, 1, w->prec);
        for (size_t i = 0; i < w->in; i++) {
            const struct row column = row_of(w->w + i, w->out, w->in, w->prec);
            dx[n * w->in + i] = (float)dot(&out, &column, w->out, dx[n * w->in + i]);
        }
    }
}

void kern_ref_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                        size_t I, enum kern_precision prec, bool add)
{
    (void)k;
    for (size_t o = 0; o < O; o++) {
        const struct row out = row_of(dy + o, N, O, prec);
        for (size_t i = 0; i < I && dw != NULL; i++) {
            const struct row in = row_of(x + i, N, I, prec);
            dw[o * I + i] = (float)dot(&out, &in, N, add ? (double)dw[o * I + i] : 0.0);
        }
        double s = db != NULL ? db[o] : 0.0;
        for (size_t n = 0; n < N && db != NULL; n++) s += dy[n * O + o];
        if (db != NULL) db[o] = (float)s;
    }
}
