/* model_steps.c - small steps of the quick parts within a batch of the slow one (train.step_slates).
 *
 * A trained encoder wants many slates a step: few large products, and its many parameters read and written once.  AdaGrad's rows
 * and small layers want many steps, as each goes about its rate however many examples it has seen.  So the slow part sees all slates
 * on a tape at once, with the parameters that the batch began with; the quick parts then learn a few slates after the other, each
 * time beside what the slow part says of them, and are stepped; and the gradients of the logits at which each slate was learnt take the
 * slow part's way back, whose own step comes at the end of the batch.
 */
#include "model/model_walk.h"
#include <math.h>
#include <string.h>

bool model_at_pace(const struct model_grads *g, bool slow)
{
    return g->pace == MODEL_WHOLE || slow == (g->pace == MODEL_SLOW);
}

size_t model_steps_even(const struct model_run *r, size_t n)
{
    const size_t size = r->steps.to != NULL ? r->steps.to->slates : 1;
    return n > size ? n - n % size : n;
}

/* What is between the slow part's logits and its way back, of one slate. */
struct between {
    struct tape_value slow; /* what the slow part says; empty: nothing */
    float *slope;           /* (K), host memory */
    bool taken;             /* a step was made of it */
};

/* The quick parts beside the slow one.  What was on the tape before stays, and nothing else. */
static enum status walk_quick(struct model_run *r, struct walk *l, const struct between *b, size_t n, double *loss,
                              bool *bad, struct err *e)
{
    const struct tape_mark mark = tape_save(&r->tape);
    const struct tape_step *last = r->tape.last;
    for (size_t i = 0; i < n; i++) {
        l[i].sum = b[i].slow;
        l[i].sum.dx = NULL;
    }
    TRY(walk_through(r, l, n, !r->kern->ops->host_visible, loss, bad, e));
    if (!*bad) walk_tell(r, l, n);
    for (size_t i = 0; i < n && !*bad; i++) memcpy(b[i].slope, l[i].slope, l[i].sum.n * sizeof *b[i].slope);
    tape_forget(&r->tape, last);
    model_tape_rewind(r, mark);
    return STATUS_OK;
}

/* Slates `at` of the tape and on: one small step.  One whose loss is not finite is left out, and the others are learnt one by
 * one then. */
static enum status small_step(struct model_run *r, struct walk *l, struct between *b, size_t at, size_t n, double *loss,
                              struct err *e)
{
    bool bad = false, taken = false;
    TRY(walk_quick(r, l + at, b + at, n, loss + at, &bad, e));
    if (bad && n > 1) {
        for (size_t i = at; i < at + n; i++) TRY(small_step(r, l, b, i, 1, loss, e));
        return STATUS_OK;
    }
    if (bad)
        loss[at] = NAN;
    else
        TRY(r->steps.to->step(r->steps.to->user, r->steps.at + at, n, &taken, e));
    for (size_t i = at; i < at + n; i++) b[i].taken = taken;
    return STATUS_OK;
}

/* The slow part's way back, from what the small steps found. */
static enum status back_slow(struct model_run *r, struct walk *l, const struct between *b, size_t n,
                             const struct walk_below *below, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct slate *s = l[i].ps.slate;
        l[i].sum = b[i].slow;
        if (!b[i].taken) memset(b[i].slope, 0, s->n_items * sizeof *b[i].slope);
        for (size_t p = 0; p < r->m->n_parts && b[i].taken; p++)
            if (walk_learns(r, p, s)) model_part_idle(r, p, false);
        if (l[i].sum.n == 0) continue;
        float *slope = tape_upload(&r->tape, b[i].slope, l[i].sum.n * sizeof *b[i].slope);
        if (slope == NULL) return tape_status(&r->tape, e);
        if (l[i].sum.dx != NULL) r->kern->ops->copy(r->kern, l[i].sum.dx, slope, l[i].sum.n);
        l[i].sum.dx = slope;
    }
    TRY(walk_back(r, l, n, below, e));
    return tape_settle(&r->tape, e);
}

static enum status between_of(struct model_run *r, struct walk *l, size_t n, struct between **out, struct err *e)
{
    struct between *b = *out = tape_host(&r->tape, n, sizeof *b);
    for (size_t i = 0; i < n && b != NULL; i++) {
        b[i].slow = l[i].sum;
        b[i].slope = tape_host(&r->tape, l[i].ps.slate->n_items + 1u, sizeof *b[i].slope);
    }
    return tape_status(&r->tape, e);
}

/* What the slow part says of all slates, also on the host: one number that is not finite would reach all gradients. */
static enum status forward_slow(struct model_run *r, struct walk *l, size_t n, struct walk_below *below, bool *bad,
                                struct err *e)
{
    TRY(walk_forward(r, l, n, below, e));
    TRY(walk_bring(r, l, n, false, e));
    TRY(tape_settle(&r->tape, e));
    for (size_t i = 0; i < n; i++) *bad = *bad || param_first_not_finite(l[i].raw, l[i].sum.n) < l[i].sum.n;
    return STATUS_OK;
}

enum status model_steps_walk(struct model_run *r, struct walk *l, size_t n, double *loss, bool *bad, struct err *e)
{
    struct walk_below below;
    struct between *b;
    const size_t size = r->steps.to->slates;
    r->grads.pace = MODEL_SLOW;
    TRY(forward_slow(r, l, n, &below, bad, e));
    if (*bad) {
        for (size_t i = 0; i < n; i++) loss[i] = NAN;
        return STATUS_OK;
    }
    TRY(between_of(r, l, n, &b, e));
    r->grads.pace = MODEL_QUICK;
    for (size_t at = 0; at < n; at += size) TRY(small_step(r, l, b, at, at + size < n ? size : n - at, loss, e));
    r->grads.pace = MODEL_SLOW;
    return back_slow(r, l, b, n, &below, e);
}

enum status model_learn_steps(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                              double *loss_sum, const struct model_steps *steps, struct err *e)
{
    r->steps.to = steps;
    const enum status st = model_learn_many(r, slates, n, seed, loss_sum, e);
    r->steps.to = NULL;
    r->grads.pace = MODEL_SLOW;
    return st;
}
