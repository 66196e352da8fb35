/* model_learn.c - forward with tape, loss, backward: which slates together, and what is told to whom. */
#include "model/model_walk.h"
#include <math.h>
#include <string.h>

/* Where a backend's memory is apart WALK_MOST slates share a tape, as a device wants more rows; and so many candidates then. */
#define LEARN_FAR_ROWS 2048

static void put_squares(void *user, const float *x, size_t n)
{
    (void)n;
    ((struct model_run *)user)->grads.squares = x[0];
}

/* What an optimiser will want to know of the gradients, if these are all that come to them. */
static void ask_gradients(struct model_run *r)
{
    const size_t *first = r->m->table.group_first, n = first[PARAM_STAT] - first[PARAM_ADAGRAD];
    float *squares = tape_zeros(&r->tape, 1);
    if (squares == NULL) return;
    model_settle(r, r->grads.dense, first[PARAM_STAT]);
    r->kern->ops->sum_squares(r->kern, squares, r->grads.dense + first[PARAM_ADAMW],
                              first[PARAM_ADAGRAD] - first[PARAM_ADAMW]);
    tape_ask(&r->tape, squares, 1, put_squares, r);
    tape_ask(&r->tape, r->grads.dense + first[PARAM_ADAGRAD], n, tape_keep, r->grads.adagrad);
}

/* The way back waits for the losses, unless the host would wait for the device then.  One that is not finite has reached the gradients
 * in that case, and they are cleared, which nothing had come to before. */
enum status walk_through(struct model_run *r, struct walk *l, size_t n, bool at_once, double *loss, bool *bad,
                         struct err *e)
{
    const bool tell = at_once && r->steps.to == NULL;
    struct walk_below below;
    TRY(walk_forward(r, l, n, &below, e));
    TRY(walk_losses(r, l, n, e));
    if (!at_once) {
        TRY(tape_settle(&r->tape, e));
        *bad = !walk_totals(r, l, n, loss);
        if (*bad) return STATUS_OK;
    }
    TRY(walk_back(r, l, n, &below, e));
    TRY(walk_bring(r, l, n, true, e));
    if (tell) ask_gradients(r);
    TRY(tape_settle(&r->tape, e));
    if (!at_once) return STATUS_OK;
    *bad = !walk_totals(r, l, n, loss);
    r->grads.told = tell && !*bad;
    if (*bad) model_grads_clear(r);
    return STATUS_OK;
}

/* At most WALK_MOST slates, none of them empty.  *bad: a loss is not finite, and nothing was added. */
static enum status learn_some(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                              double *loss, bool *bad, struct err *e)
{
    struct walk l[WALK_MOST];
    const bool at_once = r->untouched && !r->kern->ops->host_visible && r->sharing.to == NULL,
               steps = r->steps.to != NULL;
    *bad = r->grads.told = r->untouched = false;
    model_tape_reset(r);
    TRY(walk_open(r, slates, n, seed, l, e));
    model_times_begin(r, MODEL_LEARNT, slates, n);
    r->kern->ops->begin(r->kern);
    const enum status st =
        steps ? model_steps_walk(r, l, n, loss, bad, e) : walk_through(r, l, n, at_once, loss, bad, e);
    r->kern->ops->end(r->kern);
    for (size_t i = 0; i < n; i++) part_states_release(&l[i].ps);
    if (st == STATUS_OK && !*bad && !steps) walk_tell(r, l, n);
    return st;
}

static enum status learn_one(struct model_run *r, const struct slate *s, uint64_t seed, double *loss, struct err *e)
{
    bool bad;
    *loss = 0;
    if (s->n_items == 0) return STATUS_OK;
    TRY(learn_some(r, &s, 1, seed, loss, &bad, e));
    if (!bad) return STATUS_OK;
    const double found = *loss;
    *loss = 0;
    return ERR_SET(e, STATUS_CORRUPT, "slate %llu: the loss is %g; it is not learnt from", (unsigned long long)s->id,
                   found);
}

/* The logits that the labels were compared with. */
static const float *compared(struct model_run *r, const struct slate *s, int source, const float *z)
{
    float *seen = tape_host(&r->tape, s->n_items + 1u, sizeof *seen);
    if (seen == NULL || !model_recal_shift(&r->recal, s, source, seen)) return z;
    for (uint32_t i = 0; i < s->n_items; i++) seen[i] += z[i];
    return seen;
}

static void tasks_learnt(struct model_run *r, const struct slate *s, int source, const float *z)
{
    float *logits = tape_host(&r->tape, s->n_items + 1u, sizeof *logits);
    if (logits == NULL) return;
    memcpy(logits, z, s->n_items * sizeof *logits);
    model_recal_logits(&r->recal, s, source, logits, NULL, 0);
    model_tasks_learnt(&r->tasks, s, z, logits);
}

void model_learnt(struct model_run *r, const struct slate *s, const float *z, const float *dz)
{
    const int source = part_bias_source(r->parts[0], s);
    const float *seen = compared(r, s, source, z);
    model_recal_learnt(&r->recal, s, source, z);
    if (r->m->tasks.n > 0) tasks_learnt(r, s, source, z);
    for (size_t p = 0; p < r->m->n_parts; p++) {
        if (!walk_learns(r, p, s)) continue;
        model_part_idle(r, p, false);
        if (r->m->parts[p]->ops->learnt != NULL) r->m->parts[p]->ops->learnt(r->parts[p], s, seen, dz);
    }
}

enum status model_learn(struct model_run *r, const struct slate *s, uint64_t seed, double *loss_sum, struct err *e)
{
    *loss_sum = 0;
    if (!r->learn) return ERR_SET(e, STATUS_INVALID, "model run: made for scoring only");
    return learn_one(r, s, seed, loss_sum, e);
}

/* Slates that are taken together: as many as follow each other without an empty one between, and have their states in use at
 * once. */
static size_t stretch(const struct model_run *r, const struct slate *const *slates, size_t n)
{
    const bool far = !r->kern->ops->host_visible;
    const size_t most = model_steps_even(r, far ? WALK_MOST : WALK_FEW);
    size_t k = 0, rows = 0, sentences = 0, tokens = 0;
    for (; k < n && k < most && slates[k]->n_items > 0; k++) {
        rows += slates[k]->n_items;
        sentences += slates[k]->n_sentences;
        tokens += slates[k]->n_tokens;
        if (far && k > 0 && rows > LEARN_FAR_ROWS) break;
        if (k > 0 && r->states != NULL && !state_fits(r->states, sentences, tokens)) break;
    }
    return k > 0 ? model_steps_even(r, k) : 1;
}

enum status model_learn_many(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                             double *loss_sum, struct err *e)
{
    if (!r->learn) return ERR_SET(e, STATUS_INVALID, "model run: made for scoring only");
    for (size_t at = 0, k; at < n; at += k) {
        bool alone = true;
        k = stretch(r, slates + at, n - at);
        model_share_seek(r, slates, at, at + k == n);
        r->steps.at = at;
        if (k > 1) TRY(learn_some(r, slates + at, k, seed, loss_sum + at, &alone, e));
        for (size_t i = at; i < at + k && alone; i++) {
            model_share_seek(r, slates, i, i + 1 == n);
            r->steps.at = i;
            const enum status st = learn_one(r, slates[i], seed, loss_sum + i, e);
            if (st == STATUS_CORRUPT)
                loss_sum[i] = NAN;
            else if (st != STATUS_OK)
                return st;
        }
    }
    return STATUS_OK;
}
