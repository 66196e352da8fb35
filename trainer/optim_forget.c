/* optim_forget.c - what keeps an endless stream from standing still: schedules of the rate, AdaGrad sums that forget, a start
 * anew when the world has changed.
 *
 * A sum of squares G forgets towards 1, where it began: G <- 1 + keep*(G - 1).  For the sparse rows that is one number for
 * all of them (optim.scale), folded into them before it gets too small to divide by.
 */
#include "trainer/optim_private.h"
#include <math.h>

#define SCALE_MIN (1.0 / 65536)
#define COSINE_FLOOR 0.1  /* of the rate, at the end of a period */
#define RESTART_KEEP 0.01 /* of the sums: steps are up to ten times as long again */

/* inverse_sqrt: as in Vaswani et al. 2017.  cosine_restart: SGDR, Loshchilov and Hutter 2017, with equal periods. */
double optim_schedule_factor(const struct optim *o, const struct optim_clock *c)
{
    const double t = (double)(c->steps - c->since), period = (double)o->period;
    const double warm = t < (double)o->warmup ? t / (double)o->warmup : 1.0;
    switch (o->schedule) {
    case OPTIM_CONSTANT: break;
    case OPTIM_INVERSE_SQRT: return warm * (t > period ? sqrt(period / t) : 1.0);
    case OPTIM_COSINE_RESTART:
        return warm * (COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + cos(M_PI * fmod(t, period) / period)));
    }
    return warm;
}

void optim_rows_unscale(struct optim *o, const struct optim_tensor *t, const struct model_rows *g)
{
    if (o->scale == 1.0) return;
    for (size_t i = 0; i < g->n; i++) {
        float *a = &o->sparse[t->row + g->rows[i]];
        *a = (float)(1.0 + o->scale * ((double)*a - 1.0));
    }
}

void optim_rows_scale(struct optim *o, const struct optim_tensor *t, const struct model_rows *g)
{
    if (o->scale == 1.0) return;
    for (size_t i = 0; i < g->n; i++) {
        float *a = &o->sparse[t->row + g->rows[i]];
        *a = (float)(1.0 + ((double)*a - 1.0) / o->scale);
    }
}

static void fold_scale(struct optim *o)
{
    for (size_t i = 0; i < o->n_tensors && o->sparse != NULL; i++) {
        const struct optim_tensor *t = &o->tensors[i];
        for (size_t row = 0; row < t->n / t->width; row++) {
            float *a = &o->sparse[t->row + row];
            if (*a == 1.0f) continue; /* never touched */
            *a = (float)(1.0 + o->scale * ((double)*a - 1.0));
            optim_mark_dirty(o, t, row);
        }
    }
    o->scale = 1.0;
}

void optim_forget(struct optim *o, double keep)
{
    for (size_t i = 0; i < o->n_adagrad; i++) o->acc[i] = (float)(1.0 + keep * ((double)o->acc[i] - 1.0));
    o->scale *= keep;
    if (o->scale < SCALE_MIN) fold_scale(o);
}

void optim_restart(struct optim *o)
{
    for (size_t i = 0; i < 2; i++) o->clock[i].since = o->clock[i].steps;
    optim_forget(o, RESTART_KEEP);
}
