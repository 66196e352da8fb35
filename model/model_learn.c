/* model_learn.c - forward with tape, loss, backward.
 *
 * Large slates: a part that brings many rows is first only computed, in chunks; once the loss has given the logits'
 * gradient, each chunk is computed again on the tape and walked back, so memory does not grow with the slate.
 */
#include "model/model_inside.h"
#include <math.h>

#define LEARN_ROWS 8192 /* rows times layers of one chunk, whose activations and gradients are kept */

struct learning {
    struct part_slate ps;
    uint32_t *all;
    float *labels, *weights;
    struct tape_value z[MODEL_PARTS_MAX + 1]; /* (K,1) each */
    bool late[MODEL_PARTS_MAX + 1];           /* walked back in chunks, after the loss */
};

/* prepare and score of one chunk, with that chunk's random numbers. */
static enum status forward_chunk(struct model_run *r, size_t part, struct learning *l, size_t chunk, size_t at,
                                 size_t k, struct tape_value *z, struct err *e)
{
    l->ps.dropout_chunk = chunk;
    TRY(r->m->parts[part]->ops->prepare(r->parts[part], &l->ps, e));
    return r->m->parts[part]->ops->score(r->parts[part], &l->ps, l->all + at, k, z, e);
}

/* The part's logits as a value that ends the way back. */
static enum status forward_late(struct model_run *r, size_t part, struct learning *l, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    l->z[part] = tape_new(&r->tape, K, 1, false);
    TRY(tape_status(&r->tape, e));
    r->tape.record = false;
    enum status st = STATUS_OK;
    for (size_t at = 0, chunk = 0; at < K && st == STATUS_OK; chunk++) {
        const struct tape_mark mark = tape_save(&r->tape);
        const size_t k = model_chunk(r, part, &l->ps, l->all + at, K - at, LEARN_ROWS);
        struct tape_value z = {0};
        st = forward_chunk(r, part, l, chunk, at, k, &z, e);
        if (st == STATUS_OK) r->kern->ops->copy(r->kern, l->z[part].x + at, z.x, k);
        tape_rewind(&r->tape, mark);
        at += k;
    }
    r->tape.record = true;
    return st;
}

/* The same chunks again, each walked back with its share of dz. */
static enum status backward_late(struct model_run *r, size_t part, struct learning *l, const float *dz, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    for (size_t at = 0, chunk = 0; at < K; chunk++) {
        const struct tape_mark mark = tape_save(&r->tape);
        const size_t k = model_chunk(r, part, &l->ps, l->all + at, K - at, LEARN_ROWS);
        struct tape_value z = {0};
        TRY(forward_chunk(r, part, l, chunk, at, k, &z, e));
        if (z.dx != NULL) r->kern->ops->copy(r->kern, z.dx, dz + at, k);
        tape_backward(&r->tape);
        TRY(tape_status(&r->tape, e));
        tape_rewind(&r->tape, mark);
        at += k;
    }
    return STATUS_OK;
}

static enum status forward(struct model_run *r, struct learning *l, struct tape_value *sum, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    for (size_t p = 0; p < r->m->n_parts; p++) {
        l->late[p] = model_chunk(r, p, &l->ps, l->all, K, LEARN_ROWS) < K;
        if (l->late[p])
            TRY(forward_late(r, p, l, e));
        else
            TRY(forward_chunk(r, p, l, 0, 0, K, &l->z[p], e));
        *sum = p == 0 ? l->z[0] : op_add(&r->tape, *sum, l->z[p]);
    }
    return tape_status(&r->tape, e);
}

static enum status backward(struct model_run *r, struct learning *l, struct tape_value sum, double *loss_sum,
                            struct err *e)
{
    float *loss = tape_zeros(&r->tape, 1), host_loss = NAN;
    op_bce(&r->tape, loss, sum, l->labels, l->weights);
    TRY(tape_status(&r->tape, e));
    r->kern->ops->download(r->kern, &host_loss, loss, sizeof host_loss);
    if (!isfinite(host_loss))
        return ERR_SET(e, STATUS_CORRUPT, "slate %llu: the loss is %g; it is not learnt from",
                       (unsigned long long)l->ps.slate->id, (double)host_loss);
    *loss_sum = host_loss;
    tape_backward(&r->tape);
    for (size_t p = 0; p < r->m->n_parts; p++) {
        if (l->late[p]) TRY(backward_late(r, p, l, sum.dx, e));
    }
    return tape_status(&r->tape, e);
}

static enum status take_labels(struct model_run *r, const struct slate *s, struct learning *l, struct err *e)
{
    l->labels = tape_host(&r->tape, s->n_items + 1u, sizeof *l->labels);
    l->weights = tape_host(&r->tape, s->n_items + 1u, sizeof *l->weights);
    TRY(tape_status(&r->tape, e));
    for (uint32_t i = 0; i < s->n_items; i++) {
        l->labels[i] = s->items[i].label;
        l->weights[i] = s->items[i].weight;
        if (!isfinite(l->labels[i]) || !isfinite(l->weights[i]))
            return ERR_SET(e, STATUS_INVALID, "slate %llu: candidate %u has label %g and weight %g; settle it first",
                           (unsigned long long)s->id, i, (double)l->labels[i], (double)l->weights[i]);
    }
    return STATUS_OK;
}

enum status model_learn(struct model_run *r, const struct slate *s, uint64_t seed, double *loss_sum, struct err *e)
{
    struct learning l = {0};
    struct tape_value sum = {0};
    *loss_sum = 0;
    if (!r->learn) return ERR_SET(e, STATUS_INVALID, "model run: made for scoring only");
    TRY(model_open_slate(r, s, true, &l.ps, &l.all, e));
    TRY(take_labels(r, s, &l, e));
    if (s->n_items == 0) return STATUS_OK;
    l.ps.dropout = r->m->dropout;
    l.ps.dropout_seed = seed;
    r->kern->ops->begin(r->kern);
    enum status st = forward(r, &l, &sum, e);
    if (st == STATUS_OK) st = backward(r, &l, sum, loss_sum, e);
    r->kern->ops->end(r->kern);
    part_states_release(&l.ps);
    if (st != STATUS_OK) return st;
    for (size_t p = 0; p < r->m->n_parts; p++) {
        if (r->m->parts[p]->ops->learnt != NULL) r->m->parts[p]->ops->learnt(r->parts[p], s);
    }
    return STATUS_OK;
}
