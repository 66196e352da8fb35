/* variants_follow.c - lines that do not learn but take the first line's parameters now and then.
 *
 * What daily, hourly or no retraining would give, on the same slates (`freshet worth`).  Periods are counted from the
 * stream's first event, as the figures' warm-up is: what is frozen after N days is there when the first list counts.  A resumed run
 * takes the same parameters at the same slates.
 */
#include "job/variants_private.h"

enum status variants_can_follow(const struct variants *v, size_t i, struct err *e)
{
    const struct line *l = v->lines[i];
    if (l->conf->train_follow_ms == 0 || model_fingerprint(l->model) == model_fingerprint(v->first->model))
        return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "variant.%s: with train.follow_ms it has the base configuration's parameters, so model.* must be as "
                   "there",
                   v->conf->variants[i].name);
}

static bool is_due(struct follower *f, const struct conf *c, int64_t first_ms, int64_t time_ms)
{
    if (f->first_ms == INT64_MIN) f->first_ms = first_ms;
    if (time_ms < f->first_ms || (c->train_follow_times > 0 && f->times >= (uint64_t)c->train_follow_times))
        return false;
    const uint64_t periods = (uint64_t)(time_ms - f->first_ms) / (uint64_t)c->train_follow_ms;
    if (periods <= f->periods) return false;
    f->periods = periods;
    f->times++;
    return true;
}

enum status variants_follow(struct variants *v, const struct slate *s, int64_t first_ms, struct err *e)
{
    bool taken = false;
    const struct gate_line from = line_whole(v->first);
    for (size_t i = 0; i < v->n; i++) {
        struct line *l = v->lines[i];
        if (l->conf->train_follow_ms == 0 || !is_due(&v->followers[i], l->conf, first_ms, s->time_ms)) continue;
        if (v->lead == NULL) TRY(gate_snapshot_new(&v->lead, model_table(v->first->model), e));
        if (!taken) TRY(gate_snapshot_take(v->lead, &from, e));
        taken = true;
        const struct gate_line to = line_whole(l);
        TRY(gate_snapshot_restore(v->lead, &to, e));
        l->counts = v->first->counts;
        l->learn_core_s = v->first->learn_core_s; /* its parameters took that, whoever learnt them */
    }
    return STATUS_OK;
}
