/* model_times.c - what each part costs: one pass in MODEL_TIMED_EVERY is timed part by part. */
#include "base/clock.h"
#include "model/model_inside.h"
#include <math.h>

void model_times_begin(struct model_run *r, int what, const struct slate *const *slates, size_t n)
{
    struct model_times *t = &r->times;
    t->now = t->passes[what]++ % MODEL_TIMED_EVERY == MODEL_TIMED_EVERY / 4; /* the first ones make room */
    for (size_t i = 0; i < n && t->now; i++) t->n[what] += slates[i]->n_items;
}

uint64_t model_times_now(const struct model_run *r)
{
    return r->times.now ? clock_cost_ns() : 0;
}

uint64_t model_times_add(struct model_run *r, int what, size_t part, uint64_t since)
{
    if (!r->times.now) return 0;
    const uint64_t now = clock_cost_ns();
    r->times.ns[what][part] += now - since;
    return now;
}

/* With the optimiser's work on the part's tensors. */
static double learn_ns(const struct model_run *r, size_t part)
{
    const struct model *m = r->m;
    uint64_t ns = r->times.ns[MODEL_LEARNT][part];
    for (size_t i = m->first_tensor[part]; i < m->first_tensor[part + 1]; i++)
        ns += r->times.tensor_ns[param_at(&m->table, i) - m->table.params];
    return (double)ns;
}

void model_costs(const struct model_run *r, struct model_cost *out)
{
    const struct model_times *t = &r->times;
    double sum = 0, cost[MODEL_PARTS_MAX + 1];
    for (size_t p = 0; p < r->m->n_parts; p++) {
        const double score = t->n[MODEL_SCORED] ? (double)t->ns[MODEL_SCORED][p] / (double)t->n[MODEL_SCORED] : NAN;
        const double learn = t->n[MODEL_LEARNT] ? learn_ns(r, p) / (double)t->n[MODEL_LEARNT] : NAN;
        cost[p] = (isnan(score) ? 0 : score) + (isnan(learn) ? 0 : learn);
        sum += cost[p];
        if (p > 0) out[p - 1] = (struct model_cost){.score_us = score * 1e-3, .learn_us = learn * 1e-3};
    }
    for (size_t p = 1; p < r->m->n_parts; p++) out[p - 1].share = sum > 0 ? cost[p] / sum : NAN;
}
