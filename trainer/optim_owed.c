/* optim_owed.c - how long the gradients are, of which some are still products (struct op_owed) and need not be known.
 *
 * Clipping asks whether their length is beyond train.clip_norm.  |dy^T x| <= |dy| |x|, which takes no product: mostly that is
 * answer enough, and AdamW makes those gradients on its way (kern_ops.adamw_product).  Else they are multiplied out.
 */
#include "model/op.h"
#include "trainer/optim_private.h"
#include <float.h>
#include <math.h>

#define ROUNDED 1.01 /* what rounded operands may be longer: 2^-8 each */

/* The next floats of a group that are at the pace, from *at on: as far as tensors lie one behind the other.  0: no more. */
static size_t next_at_pace(const struct optim *o, const struct model_grads *g, enum param_group group, size_t *at)
{
    const struct param *q = o->t->params, *last = q + o->t->n;
    const size_t end = o->t->group_first[group + 1];
    if (g->pace == MODEL_WHOLE) return end - *at;
    while (q < last && (q->group < group || q->offset + q->n <= *at || !model_at_pace(g, q->slow))) q++;
    if (q == last || q->group != group) return 0;
    if (q->offset > *at) *at = q->offset;
    while (q < last && q->group == group && model_at_pace(g, q->slow)) q++;
    return (q < last && q->group == group ? q->offset : end) - *at;
}

static size_t place_of(const struct model_grads *g, const struct op_matrix *m)
{
    return (size_t)(m->dw - g->dense);
}

/* The first matrix that ends beyond `at` and whose gradient is not what lies there; NULL: none. */
static const struct op_matrix *next_owing(const struct model_grads *g, size_t at)
{
    const struct op_matrix *first = NULL;
    for (size_t i = 0; i < g->n_matrices; i++) {
        const struct op_matrix *m = g->matrices[i];
        if (!m->owed->stale || place_of(g, m) + m->m.out * m->m.in <= at) continue;
        if (first == NULL || m->dw < first->dw) first = m;
    }
    return first;
}

size_t optim_next_run(const struct optim *o, const struct model_grads *g, enum param_group group, size_t *at)
{
    for (size_t n; (n = next_at_pace(o, g, group, at)) > 0;) {
        const struct op_matrix *m = next_owing(g, *at);
        const size_t place = m != NULL ? place_of(g, m) : SIZE_MAX;
        if (place > *at) return place - *at < n ? place - *at : n;
        *at = place + m->m.out * m->m.in;
    }
    return 0;
}

void optim_add_squares(const struct optim *o, struct kern *k, const struct model_grads *g, float *sum)
{
    for (size_t at = o->t->group_first[PARAM_ADAMW], n; (n = optim_next_run(o, g, PARAM_ADAMW, &at)) > 0; at += n)
        k->ops->sum_squares(k, sum, g->dense + at, n);
}

/* At most so long is the gradient of a matrix that is still products. */
static double longest(struct kern *k, const struct op_matrix *m)
{
    double sum = 0.0;
    for (size_t i = 0; i < m->owed->n; i++) {
        const struct kern_product *p = &m->owed->of[i];
        float dy = 0, x = 0;
        k->ops->sum_squares(k, &dy, p->dy, p->N * m->m.out);
        k->ops->sum_squares(k, &x, p->x, p->N * m->m.in);
        sum += sqrt((double)dy * (double)x);
    }
    return sum * ROUNDED;
}

static bool owes(const struct model_grads *g)
{
    for (size_t i = 0; i < g->n_matrices; i++)
        if (g->matrices[i]->owed->n > 0) return true;
    return false;
}

float optim_squares(const struct optim *o, struct kern *k, const struct model_grads *g, uint64_t n_examples)
{
    float known = 0;
    optim_add_squares(o, k, g, &known);
    if (!owes(g)) return known;
    const double limit = o->clip_norm > 0 ? o->clip_norm * (double)n_examples : (double)FLT_MAX;
    double most = known;
    for (size_t i = 0; i < g->n_matrices; i++) most += pow(longest(k, g->matrices[i]), 2);
    if (sqrt(most) <= limit) return known; /* what is not a number is not */
    for (size_t i = 0; i < g->n_matrices; i++)
        if (g->matrices[i]->owed->n > 0) op_settle(k, g->matrices[i]);
    known = 0;
    optim_add_squares(o, k, g, &known);
    return known;
}
