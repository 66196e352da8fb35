/* part_numeric.c - linear in the numeric features, standardised by running mean and deviation (MODEL.md, `numeric`).
 *
 * What travels with the version are mean and 1/deviation as f32 (group STAT); the exact sums behind them (n, mean, M2
 * in double; Welford 1962, merged as Chan et al. 1979) stay with the learner's run.  A feature never seen gives 0.
 * train.numeric_order=2: the weights are in group STAT too, as the part steps them itself (model/part_newton.h), and their
 * precision travels beside them.
 */
#include "base/mem.h"
#include "model/part.h"
#include "model/part_newton.h"
#include <math.h>
#include <string.h>

#define CLIP 5.0f
#define DEVIATION_MIN 1e-3

struct numeric {
    struct part base;
    size_t n;                   /* F */
    double half_life;           /* examples; 0: nothing is forgotten */
    size_t weight, mean, scale; /* tensors: (1, F), (F), (F) */
    bool second;                /* order */
    double ridge;
    size_t precision; /* tensor (F, F), of second order */
};
struct moments {
    double n;
    double *mean, *m2; /* (F) */
};
struct numeric_run {
    struct part_run base;
    struct op_matrix weight;
    const float *mean, *scale;    /* host */
    struct moments total, recent; /* all applied; since the last apply */
    double *numbers;              /* owns the four arrays */
    struct part_newton *newton;   /* NULL: first order */
    float *x;                     /* (F) scratch of it */
};

static enum status declare(struct numeric *p, const struct conf *c, struct param_table *t, struct err *e)
{
    const uint32_t F = (uint32_t)p->n, shape[2] = {1, F};
    const enum param_group group = p->second ? PARAM_STAT : PARAM_ADAGRAD;
    TRY(param_table_add(t, "numeric.weight", group, 2, shape, (float)c->train_linear_rate, 0, &p->weight, e));
    TRY(param_table_add(t, "numeric.mean", PARAM_STAT, 1, shape + 1, 0, 0, &p->mean, e));
    TRY(param_table_add(t, "numeric.scale", PARAM_STAT, 1, shape + 1, 0, 0, &p->scale, e));
    if (!p->second) return STATUS_OK;
    if (F > PART_NEWTON_MAX)
        return ERR_SET(e, STATUS_INVALID,
                       "part numeric: %u features, and train.numeric_order=2 takes at most %d; name fewer in "
                       "model.features, or set it to 1",
                       F, PART_NEWTON_MAX);
    return param_table_add(t, PART_NUMERIC_PRECISION, PARAM_STAT, 2, (uint32_t[]){F, F}, 0, 0, &p->precision, e);
}

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    if (env->n_numeric == 0)
        return ERR_SET(e, STATUS_INVALID,
                       "part numeric: no features; set model.features or take it out of model.parts");
    struct numeric *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part numeric: %zu bytes", sizeof *p);
    p->base = (struct part){.ops = &part_numeric, .counts = true, .wide = true};
    p->n = env->n_numeric;
    p->half_life = (double)env->conf->train_half_life;
    p->second = env->conf->train_numeric_order == 2;
    p->ridge = env->conf->train_numeric_ridge;
    const enum status st = declare(p, env->conf, t, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        mem_free(p);
    return st;
}

static void run_destroy(struct part_run *run)
{
    struct numeric_run *r = (struct numeric_run *)run;
    if (r == NULL) return;
    part_newton_free(r->newton);
    mem_free(r->numbers);
    mem_free(r->x);
    mem_free(r);
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    *out = NULL;
    enum status st = STATUS_OK;
    const struct numeric *q = (const struct numeric *)p;
    const size_t F = q->n;
    struct numeric_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "part numeric: %zu bytes", sizeof *r);
    r->base.part = p;
    r->numbers = mem_calloc(4 * F, sizeof *r->numbers);
    r->x = mem_calloc(F, sizeof *r->x);
    if (r->numbers == NULL || r->x == NULL) st = ERR_SET(e, STATUS_OOM, "part numeric: sums of %zu features", F);
    if (st == STATUS_OK && q->second) st = part_newton_new(&r->newton, F, q->ridge, e);
    if (st != STATUS_OK) {
        run_destroy(&r->base);
        return st;
    }
    r->total = (struct moments){0, r->numbers, r->numbers + F};
    r->recent = (struct moments){0, r->numbers + 2 * F, r->numbers + 3 * F};
    *out = &r->base;
    return STATUS_OK;
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct numeric_run *r = (struct numeric_run *)run;
    const struct numeric *q = (const struct numeric *)run->part;
    part_matrix_of(&r->weight, p, q->weight, 0, 1, SIZE_MAX);
    r->mean = p->host + param_at(p->table, q->mean)->offset;
    r->scale = p->host + param_at(p->table, q->scale)->offset;
    return STATUS_OK;
}

/* clip((raw - mean) * scale); a number that is not finite counts as the mean */
static float standard(float raw, float mean, float scale)
{
    const float x = (raw - mean) * scale;
    return !isfinite(x) ? 0.0f : x > CLIP ? CLIP : x < -CLIP ? -CLIP : x;
}

void part_numeric_standardise(const float *mean, const float *scale, const float *raw, float *out, size_t F)
{
    for (size_t f = 0; f < F; f++) out[f] = standard(raw[f], mean[f], scale[f]);
}

void part_numeric_input(const struct part_run *numeric, const float *raw, float *x)
{
    const struct numeric_run *r = (const struct numeric_run *)numeric;
    part_numeric_standardise(r->mean, r->scale, raw, x, ((const struct numeric *)numeric->part)->n);
}

double part_numeric_dot(const struct part_run *numeric, const float *raw, const float *w)
{
    const struct numeric_run *r = (const struct numeric_run *)numeric;
    const size_t F = ((const struct numeric *)numeric->part)->n;
    double sum = 0;
    for (size_t f = 0; f < F; f++) sum += (double)standard(raw[f], r->mean[f], r->scale[f]) * (double)w[f];
    return sum;
}

static void standardise(const struct numeric_run *r, const float *raw, float *out, size_t F)
{
    part_numeric_standardise(r->mean, r->scale, raw, out, F);
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct numeric_run *r = (struct numeric_run *)run;
    const size_t F = ((const struct numeric *)r->base.part)->n, K = part_listed(lists, n);
    struct tape *t = lists[0].s->tape;
    float *x = tape_host(t, K * F + 1, sizeof *x), *at = x;
    if (x == NULL) return tape_status(t, e);
    for (size_t l = 0; l < n; l++)
        for (size_t i = 0; i < lists[l].n; i++, at += F)
            standardise(r, lists[l].s->slate->numeric + lists[l].which[i] * F, at, F);
    *z = op_linear(t, tape_constant(t, x, K, F), &r->weight, KERN_ACT_NONE);
    return tape_status(t, e);
}

/* What the loss says of the weights: gradient dz*x, curvature p(1 - p)xx'. */
static void add_curvature(struct numeric_run *r, const struct slate *s, size_t F, const float *z, const float *dz)
{
    for (size_t i = 0; i < s->n_items; i++) {
        const double p = 1.0 / (1.0 + exp(-(double)z[i]));
        standardise(r, s->numeric + i * F, r->x, F);
        part_newton_add(r->newton, r->x, (double)s->items[i].weight * p * (1.0 - p), (double)dz[i]);
    }
}

static void learnt(struct part_run *run, const struct slate *s, const float *z, const float *dz)
{
    struct numeric_run *r = (struct numeric_run *)run;
    struct moments *m = &r->recent;
    const size_t F = ((const struct numeric *)run->part)->n;
    if (r->newton != NULL) add_curvature(r, s, F, z, dz);
    for (size_t i = 0; i < s->n_items; i++) {
        const float *x = s->numeric + i * F;
        if (!(s->items[i].examples > 0.0f)) continue; /* learnt again: it was counted then */
        m->n += 1;
        for (size_t f = 0; f < F; f++) {
            const double d = (isfinite(x[f]) ? (double)x[f] : m->mean[f]) - m->mean[f];
            m->mean[f] += d / m->n;
            m->m2[f] += d * d * (m->n - 1) / m->n;
        }
    }
}

static void forget(struct moments *m, size_t F, double keep)
{
    m->n *= keep;
    for (size_t f = 0; f < F; f++) m->m2[f] *= keep;
}

static void apply(struct part_run *run, const struct param_table *t, float *w)
{
    struct numeric_run *r = (struct numeric_run *)run;
    const struct numeric *q = (const struct numeric *)run->part;
    struct moments *a = &r->total, *b = &r->recent;
    if (a->n + b->n == 0) return;
    float *mean = w + param_at(t, q->mean)->offset, *scale = w + param_at(t, q->scale)->offset;
    const double keep = q->half_life > 0 ? exp2(-b->n / q->half_life) : 1.0;
    if (keep < 1) forget(a, q->n, keep);
    if (r->newton != NULL && part_newton_step(r->newton, keep, w + param_at(t, q->weight)->offset))
        part_newton_precision(r->newton, w + param_at(t, q->precision)->offset);
    const double n = a->n + b->n;
    for (size_t f = 0; f < q->n; f++) {
        const double d = b->mean[f] - a->mean[f];
        a->mean[f] += d * b->n / n;
        a->m2[f] += b->m2[f] + d * d * a->n * b->n / n;
        mean[f] = (float)a->mean[f];
        scale[f] = (float)(1.0 / fmax(sqrt(a->m2[f] / n), DEVIATION_MIN));
    }
    a->n = n;
    b->n = 0;
    memset(b->mean, 0, 2 * q->n * sizeof *b->mean);
}

static void drop(struct part_run *run)
{
    struct numeric_run *r = (struct numeric_run *)run;
    r->recent.n = 0;
    memset(r->recent.mean, 0, 2 * ((const struct numeric *)run->part)->n * sizeof *r->recent.mean);
    if (r->newton != NULL) part_newton_drop(r->newton);
}

static void encode(struct buf *b, const struct part_run *run)
{
    const struct numeric_run *r = (const struct numeric_run *)run;
    const size_t F = ((const struct numeric *)run->part)->n;
    buf_varint(b, F);
    buf_f64(b, r->total.n);
    buf_f64(b, r->recent.n);
    for (size_t i = 0; i < 4 * F; i++) buf_f64(b, r->numbers[i]);
    if (r->newton != NULL) part_newton_encode(b, r->newton);
}

static enum status decode(struct part_run *run, struct buf_reader *rd, struct err *e)
{
    struct numeric_run *r = (struct numeric_run *)run;
    const size_t F = ((const struct numeric *)run->part)->n, n = buf_get_count(rd, 4 * sizeof(double));
    if (rd->bad || n != F)
        return ERR_SET(e, STATUS_CORRUPT, "state of part numeric: %zu features, the model has %zu", n, F);
    r->total.n = buf_get_f64(rd);
    r->recent.n = buf_get_f64(rd);
    for (size_t i = 0; i < 4 * F; i++) r->numbers[i] = buf_get_f64(rd);
    if (rd->bad) return ERR_SET(e, STATUS_CORRUPT, "state of part numeric: cut short");
    return r->newton != NULL ? part_newton_decode(r->newton, rd, e) : STATUS_OK;
}

const struct part_ops part_numeric = {"numeric", create, NULL, NULL,           run_create, run_destroy, bind,
                                      NULL,      NULL,   NULL, score_together, learnt,     apply,       drop,
                                      encode,    decode, NULL};
