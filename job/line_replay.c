/* line_replay.c - what a line learns beside the newest slates so as not to forget: old ones again, and what its blessed version
 * says. */
#include "job/line.h"
#include <math.h>

enum status line_replay(struct line *l, struct err *e)
{
    bool drawn;
    TRY(reservoir_draw(l->reservoir, l->pending[l->n_pending], &drawn, e));
    if (drawn) l->n_pending++;
    return STATUS_OK;
}

enum status line_hold_learnt(struct line *l, uint32_t n, struct err *e)
{
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(l->losses[i])) TRY(reservoir_offer(l->reservoir, l->pending[i], l->counts.learnt_slates, e));
    return STATUS_OK;
}

enum status line_teach(struct line *l, struct err *e)
{
    if (l->conf->train_distill <= 0 || l->gate == NULL) return STATUS_OK;
    for (uint32_t i = 0; i < l->n_pending; i++) TRY(line_gate_teach(l, l->pending[i], e));
    return STATUS_OK;
}
