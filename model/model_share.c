/* model_share.c - one rank's share of a batch: which gradients are whole while others are still being made, and what parts would
 * have gathered. */
#include "model/model_inside.h"
#include <string.h>

static void tell(struct model_run *r, size_t from, size_t to)
{
    const struct model_share *s = r->sharing.to;
    float *dense = r->grads.dense;
    const size_t total = r->m->table.group_first[PARAM_STAT], end = to < total ? to : total;
    if (from >= end) return;
    model_settle(r, dense + from, end - from);
    s->ready(s->user, dense + from, end - from);
}

/* Tensors [first, end) as param_table_add numbered them, in one group: they lie one after the other. */
static void tell_group(struct model_run *r, size_t first, size_t end, enum param_group group)
{
    size_t from = 0, to = 0;
    for (size_t i = first; i < end; i++) {
        const struct param *q = param_at(&r->m->table, i);
        if (q->group != group) continue;
        if (q->offset != to) {
            tell(r, from, to);
            from = q->offset;
        }
        to = param_end(q);
    }
    tell(r, from, to);
}

/* Beyond the last part: what belongs to none, whose gradients come before all parts'. */
static void tell_part(struct model_run *r, size_t part)
{
    const struct model *m = r->m;
    const size_t first = m->first_tensor[part], end = part < m->n_parts ? m->first_tensor[part + 1] : m->table.n;
    tell_group(r, first, end, PARAM_ADAMW);
    tell_group(r, first, end, PARAM_ADAGRAD);
}

static void ready_down_to(struct model_run *r, size_t part)
{
    while (r->sharing.ready > part) tell_part(r, --r->sharing.ready);
}

void model_share_ready(struct model_run *r, size_t part)
{
    if (r->sharing.to != NULL && r->sharing.last) ready_down_to(r, part);
}

void model_share_seek(struct model_run *r, const struct slate *const *slates, size_t at, bool last)
{
    if (r->sharing.to == NULL) return;
    r->sharing.kept = 0;
    for (size_t i = 0; i < at; i++) r->sharing.kept += slates[i]->n_items;
    r->sharing.last = last;
}

bool model_share_keep(struct model_run *r, const float *z, const float *dz, size_t n)
{
    struct model_sharing *s = &r->sharing;
    if (s->to == NULL) return false;
    memcpy(s->to->z + s->kept, z, n * sizeof *z);
    memcpy(s->to->dz + s->kept, dz, n * sizeof *dz);
    s->kept += n;
    return true;
}

enum status model_learn_share(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                              double *loss_sum, const struct model_share *share, struct err *e)
{
    size_t items = 0;
    for (size_t i = 0; i < n; i++) items += slates[i]->n_items;
    if (items > 0) {
        memset(share->z, 0, items * sizeof *share->z);
        memset(share->dz, 0, items * sizeof *share->dz);
    }
    r->sharing = (struct model_sharing){.to = share, .ready = r->m->n_parts + 1};
    const enum status st = model_learn_many(r, slates, n, seed, loss_sum, e);
    if (st == STATUS_OK) ready_down_to(r, 0);
    r->sharing = (struct model_sharing){0};
    return st;
}
