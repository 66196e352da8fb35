/* eval_unsampled.c - see eval_unsampled.h. */
#include "trainer/eval_unsampled.h"
#include <math.h>

static uint32_t least(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

/* One positive among `beside` equals, `above` of the others before them all: its mean over the orders of the equals. */
static void add_positive(struct eval_ranked *r, const struct eval_cut *c, uint32_t above, uint32_t beside, uint32_t n)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const uint32_t from = least(above, c->k[i]), to = least((uint64_t)above + beside + 1, c->k[i]);
        const double each = 1.0 / ((double)beside + 1.0);
        r->ndcg[i] += each * (c->discount[to] - c->discount[from]) / c->discount[least(n, c->k[i])];
        r->recall[i] += each * (double)(to - from) / (double)n;
    }
}

static void add_series(struct eval_ranked *r, const struct eval_cut *c, const struct slate *s, size_t above,
                       size_t beside, uint32_t n)
{
    r->slates++;
    for (uint32_t k = 0; k < s->n_items; k++)
        if (s->items[k].label > 0.5f)
            add_positive(r, c, s->ranks[above * s->n_items + k], s->ranks[beside * s->n_items + k], n);
}

void eval_unsampled_add(struct eval_unsampled *u, const struct eval_cut *c, const struct slate *s)
{
    uint32_t n = 0;
    for (uint32_t k = 0; s->ranks != NULL && k < s->n_items; k++) n += s->items[k].label > 0.5f;
    if (n == 0) return;
    add_series(&u->model, c, s, SLATE_ABOVE, SLATE_BESIDE, n);
    add_series(&u->popularity, c, s, SLATE_ABOVE_POPULAR, SLATE_BESIDE_POPULAR, n);
    u->items += (double)s->n_ranked + (double)s->n_items + (double)s->n_unseen;
}

void eval_unsampled_report(const struct eval_unsampled *u, const struct eval_cut *c, struct report_detail *out)
{
    eval_ranked_figures(&u->model, c, &out->unsampled);
    eval_ranked_figures(&u->popularity, c, &out->unsampled_popularity);
    out->unsampled_items = u->model.slates > 0 ? u->items / (double)u->model.slates : NAN;
}
