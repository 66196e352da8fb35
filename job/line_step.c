/* line_step.c - the batch is learnt: gradients, one optimiser step or several (train.step_slates), what is counted of it. */
#include "base/clock.h"
#include "base/log.h"
#include "job/line.h"
#include <math.h>

/* What slates [at, at+n) of the batch bring. */
struct tally {
    uint64_t examples;      /* all that was learnt */
    uint64_t fresh, slates; /* learnt for the first time, and whole */
    double loss;            /* sum over examples */
};

static struct tally tally_of(const struct line *l, size_t at, size_t n)
{
    struct tally t = {0};
    for (size_t i = at; i < at + n; i++) {
        const struct slate *s = l->pending[i];
        if (isnan(l->losses[i])) continue;
        t.loss += l->losses[i];
        t.examples += s->n_items;
        if (reservoir_is_replayed(l->reservoir, s) || s->copy == SLATE_ENDED) continue;
        t.slates++;
        t.fresh += s->n_items;
    }
    return t;
}

/* What the slates added to gradients and statistics. */
static void drop(struct line *l)
{
    model_grads_clear(l->run);
    model_drop_stats(l->run);
}

/* true: the loss is beyond all that was usual, and the step is not made. */
static bool is_spike(struct line *l, const struct tally *t)
{
    if (!spike_is(&l->spike, t->loss / (double)t->examples, t->examples, l->conf->guard_loss_spike)) return false;
    log_limited(LOG_WARN, "spike",
                "loss=%.4g usual=%.4g examples=%llu learnt=no skipped=%llu key=guard.loss_spike hint=\"what lasts or "
                "comes again is learnt\"",
                t->loss / (double)t->examples, l->spike.median, (unsigned long long)t->examples,
                (unsigned long long)l->spike.skipped);
    drop(l);
    return true;
}

/* One step of the optimiser with the gradients that are there.  *taken: false: they were not finite. */
static enum status apply(struct line *l, uint64_t examples, bool *taken, struct err *e)
{
    const uint64_t refused = optim_refused(l->optim);
    TRY(optim_step(l->optim, model_run_kern(l->run), l->params, model_grads_owed(l->run), examples, e));
    *taken = optim_refused(l->optim) == refused;
    if (!*taken) {
        drop(l);
        return STATUS_OK;
    }
    model_apply_stats(l->run, l->params);
    TRY(model_stepped(l->run, l->params, e));
    model_grads_clear(l->run);
    return STATUS_OK;
}

struct batch {
    struct line *line;
    uint64_t examples; /* of which steps were made */
};

/* A step of slates [at, at+n) of the batch, which were learnt.  *taken: false: it is not made. */
static enum status step_of(void *user, size_t at, size_t n, bool *taken, struct err *e)
{
    struct batch *b = user;
    struct line *l = b->line;
    const struct tally t = tally_of(l, at, n);
    *taken = t.examples > 0 && !is_spike(l, &t);
    if (*taken) TRY(apply(l, t.examples, taken, e));
    for (size_t i = at; i < at + n && !*taken; i++) l->losses[i] = NAN;
    if (!*taken) return STATUS_OK;
    l->counts.learnt_slates += t.slates;
    l->counts.learnt_examples += t.fresh;
    l->counts.steps++;
    b->examples += t.examples;
    return STATUS_OK;
}

static enum status whole_step(struct batch *b, struct err *e)
{
    bool taken;
    struct line *l = b->line;
    if (l->ranks != NULL)
        TRY(line_ranks_learn(l, e));
    else
        TRY(model_learn_many(l->run, (const struct slate *const *)l->pending, l->n_pending,
                             (uint64_t)l->conf->train_seed, l->losses, e));
    return step_of(b, 0, l->n_pending, &taken, e);
}

/* The quick tensors' steps within the batch, then that of the slow ones. */
static enum status small_steps(struct batch *b, struct err *e)
{
    bool taken;
    struct line *l = b->line;
    const struct model_steps s = {(size_t)l->conf->train_step_slates, step_of, b};
    TRY(model_learn_steps(l->run, (const struct slate *const *)l->pending, l->n_pending, (uint64_t)l->conf->train_seed,
                          l->losses, &s, e));
    if (b->examples > 0) return apply(l, b->examples, &taken, e);
    model_grads_clear(l->run);
    return STATUS_OK;
}

static enum status step(struct line *l, struct err *e)
{
    const uint32_t n = l->n_pending;
    const int64_t size = l->conf->train_step_slates;
    struct batch b = {.line = l};
    TRY(line_teach(l, e));
    TRY(model_bind(l->run, l->params, e));
    TRY(size > 0 && size < l->conf->train_batch_slates ? small_steps(&b, e) : whole_step(&b, e));
    l->n_pending = 0;
    return b.examples > 0 ? line_hold_learnt(l, n, e) : STATUS_OK;
}

enum status line_step(struct line *l, struct err *e)
{
    const double start = clock_cpu_s();
    const uint64_t begun = clock_cost_ns();
    const enum status st = step(l, e);
    l->learn_core_s += clock_cpu_s() - start;
    l->learn_s += 1e-9 * (double)(clock_cost_ns() - begun);
    return st;
}
