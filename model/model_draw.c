/* model_draw.c - weights of the linear part drawn from what is known of them: Thompson sampling (Chapelle and Li 2011). */
#include "base/mem.h"
#include "model/model_inside.h"
#include "model/part_newton.h"
#include <math.h>

static const float *tensor(const struct model *m, const struct param_set *p, const char *name)
{
    const struct param *q = param_find(&m->table, name);
    return q != NULL ? p->w + q->offset : NULL;
}

/* The lower triangle L of a = LL', in place; false: a is not positive definite. */
static bool factorise(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= i; k++) {
            double sum = a[i * n + k];
            for (size_t q = 0; q < k; q++) sum -= a[i * n + q] * a[k * n + q];
            if (i == k && !(sum > 0.0)) return false;
            a[i * n + k] = i == k ? sqrt(sum) : sum / a[k * n + k];
        }
    }
    return true;
}

/* u of deviation A^-1: L'u = e, e standard normal. */
static bool draw_weights(const float *precision, size_t n, struct rand *r, double *a, double *u)
{
    for (size_t i = 0; i < n * n; i++) a[i] = (double)precision[i];
    if (!factorise(a, n)) return false;
    for (size_t i = 0; i < n; i++) u[i] = rand_normal(r);
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) u[i] -= a[k * n + i] * u[k];
        u[i] /= a[i * n + i];
    }
    return true;
}

enum status model_draw(const struct model *m, const struct param_set *p, const struct slate *s, struct rand *r,
                       double *out, struct err *e)
{
    size_t F;
    double u[PART_NEWTON_MAX];
    float x[PART_NEWTON_MAX];
    const float *precision = model_precision(m, p, &F), *mean = tensor(m, p, "numeric.mean"),
                *scale = tensor(m, p, "numeric.scale");
    if (precision == NULL || F > PART_NEWTON_MAX || s->n_numeric != F)
        return ERR_SET(e, STATUS_INVALID,
                       "the model has no precision of its linear part: train.numeric_order is not 2");
    double *a = mem_calloc(F * F, sizeof *a);
    if (a == NULL) return ERR_SET(e, STATUS_OOM, "draw of %zu weights", F);
    const bool ok = draw_weights(precision, F, r, a, u);
    mem_free(a);
    if (!ok) return ERR_SET(e, STATUS_CORRUPT, "the precision of part numeric is not positive definite");
    for (uint32_t i = 0; i < s->n_items; i++) {
        part_numeric_standardise(mean, scale, s->numeric + (size_t)i * F, x, F);
        out[i] = 0.0;
        for (size_t f = 0; f < F; f++) out[i] += u[f] * (double)x[f];
    }
    return STATUS_OK;
}
