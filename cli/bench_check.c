/* bench_check.c - two steps of learning against the reference backend, tensor by tensor, before steps are timed.
 *
 * Each step is held against ref in two halves, so that neither hides behind the other's rounding: gradients of the same slates
 * and parameters; then the optimiser, without warm-up, from the same gradients.  The first step is clipped; the second is not, and
 * sees what the first left in moments and packed matrices.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "kernels/kern.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 2, SLATES = 2 };
/* Of a tensor's norm: gradients with operands in f32 and in bf16; the optimiser's arithmetic, which is f32. */
static const double exact = 1e-4, rounded = 2e-2, stepped = 1e-4;
#define NOISE 1e-2     /* of what a tensor of its size has on average in its group: where sums cancel, rounding is left */
#define ULP 1.2e-7     /* of a weight: an update's last bits are lost in it */
#define CLIPPED 0.5    /* train.clip_norm over the first step's norm */
#define UNCLIPPED 1024 /* times as many examples in the second step: their mean is short, and matrices may owe products */
#define BETA_LEFT 0.1  /* 1 - OPTIM_BETA1: of a gradient in a first moment that was 0 */

struct side {
    struct model_run *run;
    struct param_set *params;
    struct optim *optim;
};
struct check {
    struct cmd_bench *b;
    const struct param_table *t;
    struct conf conf; /* read only: nothing of it is freed */
    struct model *model;
    struct side fast, ref;
    size_t n;            /* slates of a step */
    size_t dense;        /* gradients that are no rows' */
    float *grads, *want; /* (dense) */
    float *before;       /* parameters before the step */
    double clip_norm;
};

/* The tensor that is furthest off, in what it may be off. */
struct worst {
    double times, off, size;
    const char *name;
};

static double squares(const float *x, size_t n)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += (double)x[i] * (double)x[i];
    return s;
}

static double distance(const float *x, const float *y, size_t n)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sqrt(s);
}

/* What is no number is further off than all that are. */
static void look(struct worst *w, const char *name, double off, double size, double may)
{
    const double times = off == 0.0 ? 0.0 : off / may;
    if (times <= w->times) return;
    *w = (struct worst){isnan(times) ? INFINITY : times, off, size, name};
}

static enum status judge(const struct worst *w, const char *what, double tolerance, struct err *e)
{
    if (w->times <= 1.0) return STATUS_OK;
    return ERR_SET(
        e, STATUS_CORRUPT,
        "the %s of %s differs from ref by %g in a norm of %g, %.3g times what rounding may do (%g of the norm)", what,
        w->name, w->off, w->size, w->times, tolerance);
}

/* --- gradients ---------------------------------------------------------------------------------------------------- */

static double group_mean(const struct check *c, enum param_group g)
{
    const size_t at = c->t->group_first[g], n = c->t->group_first[g + 1] - at;
    return n > 0 ? squares(c->want + at, n) / (double)n : 0.0;
}

static enum status near_dense(const struct check *c, double tolerance, struct err *e)
{
    struct worst w = {0};
    for (size_t i = 0; i < c->t->n; i++) {
        const struct param *p = &c->t->params[i];
        if (p->group != PARAM_ADAMW && p->group != PARAM_ADAGRAD) continue;
        const double size = sqrt(squares(c->want + p->offset, p->n));
        const double noise = NOISE * sqrt(group_mean(c, p->group) * (double)p->n);
        look(&w, p->name, distance(c->grads + p->offset, c->want + p->offset, p->n), size, tolerance * (size + noise));
    }
    return judge(&w, "gradient", tolerance, e);
}

/* x += sign * the rows' gradients, at their places in the tensor. */
static void spread(float *x, const struct model_rows *r, size_t width, float sign)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < width; j++) x[r->rows[i] * width + j] += sign * r->grads[i * width + j];
}

/* Rows come in order of first touch, which is not the same on both sides. */
static enum status near_rows(struct check *c, const struct model_grads *got, const struct model_grads *want,
                             double tolerance, struct err *e)
{
    struct worst w = {0};
    for (size_t i = 0; i < want->n_sparse; i++) {
        const struct param *p = param_sparse(c->t, i);
        float *x = c->before + p->offset; /* free until the step */
        memset(x, 0, p->n * sizeof *x);
        spread(x, &want->sparse[i], param_width(p), 1.0f);
        const double size = sqrt(squares(x, p->n));
        spread(x, &got->sparse[i], param_width(p), -1.0f);
        look(&w, p->name, sqrt(squares(x, p->n)), size, tolerance * size);
    }
    return judge(&w, "rows' gradient", tolerance, e);
}

/* Both learn the same slates: all at once, and on ref one after the other.  c->grads and c->want are of them. */
static enum status compare_grads(struct check *c, const struct slate *const *slates, struct err *e)
{
    struct cmd_bench *b = c->b;
    struct kern *k = model_run_kern(c->fast.run);
    const double tolerance = cmd_bench_trained(b) == CMD_BENCH_F32 ? exact : rounded;
    double loss[SLATES], want[SLATES];
    TRY(model_learn_many(c->fast.run, slates, c->n, 1, loss, e));
    for (size_t i = 0; i < c->n; i++) TRY(model_learn(c->ref.run, slates[i], 1, &want[i], e));
    const struct model_grads *got = model_grads(c->fast.run), *ref = model_grads(c->ref.run);
    k->ops->download(k, c->grads, got->dense, c->dense * sizeof *c->grads);
    memcpy(c->want, ref->dense, c->dense * sizeof *c->want);
    for (size_t i = 0; i < c->n; i++)
        if (!(fabs(loss[i] - want[i]) <= tolerance * want[i]))
            return ERR_SET(e, STATUS_CORRUPT, "the loss is %g, ref has %g", loss[i], want[i]);
    TRY(near_dense(c, tolerance, e));
    return near_rows(c, got, ref, tolerance, e);
}

/* --- the optimiser ------------------------------------------------------------------------------------------------ */

static enum status near_updates(const struct check *c, struct err *e)
{
    struct worst w = {0};
    for (size_t i = 0; i < c->t->n; i++) {
        const struct param *p = &c->t->params[i];
        const float *got = c->fast.params->w + p->offset, *want = c->ref.params->w + p->offset;
        if (p->group == PARAM_STAT) continue;
        const double size = distance(want, c->before + p->offset, p->n);
        look(&w, p->name, distance(got, want, p->n), size, stepped * size + ULP * sqrt(squares(want, p->n)));
    }
    return judge(&w, "step", stepped, e);
}

static enum status near_moments(const struct check *c, struct err *e)
{
    struct worst w = {0};
    size_t n;
    const float *got = optim_moments(c->fast.optim, &n), *want = optim_moments(c->ref.optim, &n);
    const size_t adamw = c->t->group_first[PARAM_ADAGRAD];
    for (size_t i = 0; i < c->t->n; i++) {
        const struct param *p = &c->t->params[i];
        if (p->group != PARAM_ADAMW && p->group != PARAM_ADAGRAD) continue;
        const size_t runs = p->group == PARAM_ADAMW ? 2 : 1; /* two moments, or one sum, which lies behind them */
        for (size_t r = 0; r < runs; r++) {
            const size_t at = p->offset + (p->group == PARAM_ADAMW ? r * adamw : adamw);
            const double size = sqrt(squares(want + at, p->n));
            look(&w, p->name, distance(got + at, want + at, p->n), size, stepped * size);
        }
    }
    return judge(&w, "moment", stepped, e);
}

/* The rows that were touched have weights, which near_updates has seen, and sums of squares. */
static enum status near_sums(const struct check *c, struct err *e)
{
    struct worst w = {0};
    for (size_t at = optim_dirty_page(c->ref.optim, 0); at != SIZE_MAX; at = optim_dirty_page(c->ref.optim, at + 1)) {
        struct optim_page got, want;
        optim_page_get(c->fast.optim, c->fast.params, at, &got);
        optim_page_get(c->ref.optim, c->ref.params, at, &want);
        const double size = sqrt(squares(want.acc, OPTIM_PAGE));
        look(&w, "the touched rows", distance(got.acc, want.acc, OPTIM_PAGE), size, stepped * size);
    }
    return judge(&w, "sum of squares", stepped, e);
}

/* After a step from nothing the first moment is a tenth of the gradient that was taken, whose norm is the limit. */
static enum status clipped(const struct check *c, struct err *e)
{
    size_t n;
    const float *m = optim_moments(c->fast.optim, &n);
    const double norm = sqrt(squares(m, c->t->group_first[PARAM_ADAGRAD])) / BETA_LEFT;
    if (c->clip_norm <= 0.0 || optim_steps(c->fast.optim) != 1) return STATUS_OK;
    if (fabs(norm - c->clip_norm) <= stepped * c->clip_norm) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "gradients were clipped to a norm of %g, not to train.clip_norm=%g", norm,
                   c->clip_norm);
}

static enum status open_optimisers(struct check *c, double examples, struct err *e)
{
    c->clip_norm = CLIPPED * sqrt(squares(c->want, c->t->group_first[PARAM_ADAGRAD])) / examples;
    c->conf.train_clip_norm = c->clip_norm;
    c->conf.train_warmup_steps = 0;
    TRY(optim_new(&c->fast.optim, c->t, &c->conf, e));
    return optim_new(&c->ref.optim, model_table(c->model), &c->conf, e);
}

/* The same slates again, so that gradients of matrices are multiplied out by the optimiser, as they are in a learner. */
static enum status compare_steps(struct check *c, const struct slate *const *slates, struct err *e)
{
    double loss[SLATES];
    uint64_t examples = 0;
    for (size_t i = 0; i < c->n; i++) examples += slates[i]->n_items;
    if (c->fast.optim == NULL)
        TRY(open_optimisers(c, (double)examples, e));
    else
        examples *= UNCLIPPED;
    model_grads_clear(c->fast.run);
    model_drop_stats(c->fast.run);
    TRY(model_learn_many(c->fast.run, slates, c->n, 1, loss, e));
    struct model_grads *g = model_grads_owed(c->fast.run);
    const struct model_grads same = {.dense = c->grads, .sparse = g->sparse, .n_sparse = g->n_sparse};
    memcpy(c->before, c->ref.params->w, c->ref.params->n * sizeof *c->before);
    TRY(optim_step(c->ref.optim, model_run_kern(c->ref.run), c->ref.params, &same, examples, e));
    TRY(optim_step(c->fast.optim, model_run_kern(c->fast.run), c->fast.params, g, examples, e));
    param_here(c->fast.params);
    if (optim_steps(c->fast.optim) != optim_steps(c->ref.optim) || optim_refused(c->fast.optim) > 0)
        return ERR_SET(e, STATUS_CORRUPT, "the optimiser has refused gradients that are finite");
    TRY(near_moments(c, e));
    TRY(clipped(c, e));
    TRY(near_sums(c, e));
    return near_updates(c, e);
}

/* --- both sides --------------------------------------------------------------------------------------------------- */

/* What a learner does after the optimiser; ref, whose optimiser knew of no matrices, looks at all parameters anew. */
static enum status go_on(struct check *c, struct err *e)
{
    model_apply_stats(c->fast.run, c->fast.params);
    model_apply_stats(c->ref.run, c->ref.params);
    TRY(model_stepped(c->fast.run, c->fast.params, e));
    TRY(model_bind(c->ref.run, c->ref.params, e));
    model_grads_clear(c->fast.run);
    model_grads_clear(c->ref.run);
    return STATUS_OK;
}

static enum status open_side(struct check *c, struct side *s, const struct model *m, struct err *e)
{
    const struct param_set *from = learner_params(c->b->learner);
    TRY(param_set_new(&s->params, model_table(m), e));
    memcpy(s->params->w, from->w, from->n * sizeof *from->w);
    param_touch(s->params);
    TRY(model_run_new(&s->run, m, learner_states(c->b->learner), true, e));
    return model_bind(s->run, s->params, e);
}

static void close_side(struct side *s)
{
    optim_free(s->optim); /* may hold memory of the run's kernels */
    if (s->run != NULL) kern_use_pool(model_run_kern(s->run), NULL);
    model_run_free(s->run);
    param_set_release(s->params);
}

static enum status open_check(struct check *c, struct pool *pool, struct err *e)
{
    const struct model *m = learner_model(c->b->learner);
    c->t = model_table(m);
    c->dense = c->t->group_first[PARAM_STAT];
    c->conf = *c->b->conf;
    (void)snprintf(c->conf.kernels_backend, sizeof c->conf.kernels_backend, "ref");
    c->grads = mem_calloc(c->dense, sizeof *c->grads);
    c->want = mem_calloc(c->dense, sizeof *c->want);
    c->before = mem_calloc(c->t->total, sizeof *c->before);
    if (c->grads == NULL || c->want == NULL || c->before == NULL)
        return ERR_SET(e, STATUS_OOM, "no memory for %zu parameters", c->t->total);
    TRY(model_new(&c->model, &c->conf, c->b->encoder, c->b->slates[0]->n_numeric, e));
    TRY(open_side(c, &c->fast, m, e));
    TRY(open_side(c, &c->ref, c->model, e));
    if (pool != NULL) kern_use_pool(model_run_kern(c->fast.run), pool);
    return STATUS_OK;
}

enum status cmd_bench_check_steps(struct cmd_bench *b, struct pool *pool, struct err *e)
{
    struct check c = {.b = b};
    enum status st = open_check(&c, pool, e);
    for (size_t i = 0; st == STATUS_OK && i < STEPS; i++) {
        c.n = i == 0 && b->n_slates >= SLATES ? SLATES : 1;
        const size_t at = b->n_slates - (i < b->n_slates ? i : 0) - c.n;
        const struct slate *const *slates = (const struct slate *const *)&b->slates[at];
        TRY_OUT(st, compare_grads(&c, slates, e));
        TRY_OUT(st, compare_steps(&c, slates, e));
        TRY_OUT(st, go_on(&c, e));
    }
out:
    close_side(&c.fast);
    close_side(&c.ref);
    model_free(c.model);
    mem_free(c.grads);
    mem_free(c.want);
    mem_free(c.before);
    return st;
}
