/* tasks.c - see tasks.h. */
#include "model/tasks.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEVEL = 2 };              /* of a row of tasks.level */
#define TASKS_HALF_LIFE 100000.0 /* examples */
#define LEVEL_MAX 10.0
#define PRIOR 1.0 /* precision of a_t at 0 */

enum status model_tasks_declare(struct model_tasks *c, const struct conf *conf, size_t n_numeric, struct param_table *t,
                                struct err *e)
{
    uint8_t types[CONF_TASKS_MAX];
    c->n = conf_tasks(conf, types);
    c->F = n_numeric;
    c->by_utility = conf_utility(conf, c->worth);
    if (c->n == 0) return STATUS_OK;
    for (size_t i = 0; i < c->n; i++) {
        c->chained[i] = conf->types[types[i]].label == CONF_LABEL_POSITIVE;
        (void)snprintf(c->names[i], sizeof c->names[i], "%s", conf->types[types[i]].name);
    }
    const uint32_t weights[2] = {(uint32_t)c->n, (uint32_t)c->F}, trunk[2] = {(uint32_t)c->n, 1},
                   level[2] = {(uint32_t)c->n, LEVEL};
    const float rate = (float)conf->train_linear_rate;
    if (c->F > 0) TRY(param_table_add(t, "tasks.weights", PARAM_ADAGRAD, 2, weights, rate, 0, &c->weights, e));
    TRY(param_table_add(t, "tasks.trunk", PARAM_ADAGRAD, 2, trunk, rate, 0, &c->trunk, e));
    return param_table_add(t, "tasks.level", PARAM_STAT, 2, level, 0, 0, &c->level, e);
}

void model_tasks_init(const struct model_tasks *c, const struct param_table *t, float *w)
{
    const float rare = 0.02f;
    for (size_t i = 0; i < c->n; i++)
        if (!c->chained[i]) w[param_at(t, c->level)->offset + LEVEL * i] = logf(rare / (1.0f - rare));
}

void model_tasks_bind(struct model_tasks_run *r, const struct model_tasks *c, const struct part_params *p,
                      const struct part_run *numeric)
{
    r->c = c;
    r->numeric = numeric;
    if (c->n == 0) return;
    if (c->F > 0) part_matrix_of(&r->weights, p, c->weights, 0, c->n, SIZE_MAX);
    part_matrix_of(&r->trunk, p, c->trunk, 0, c->n, SIZE_MAX);
    r->w = c->F > 0 ? p->host + param_at(p->table, c->weights)->offset : NULL;
    r->of_trunk = p->host + param_at(p->table, c->trunk)->offset;
    r->level = p->host + param_at(p->table, c->level)->offset;
}

/* w_t x (K, tasks) of all candidates. */
static struct tape_value of_features(struct model_tasks_run *t, struct tape *tape, const struct slate *s)
{
    const size_t K = s->n_items, F = t->c->F;
    float *x = tape_host(tape, K * F, sizeof *x);
    if (x == NULL) return (struct tape_value){0};
    for (size_t i = 0; i < K; i++) part_numeric_input(t->numeric, s->numeric + i * s->n_numeric, x + i * F);
    return op_linear(tape, tape_constant(tape, x, K, F), &t->weights, KERN_ACT_NONE);
}

static void labels_of(const struct model_tasks *c, const struct slate *s, float *y)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        for (size_t t = 0; t < c->n; t++) y[i * c->n + t] = (float)(s->items[i].tasks >> t & 1);
}

static bool is_thinned(const struct slate *s)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].log_kq != 0.0f) return true;
    return false;
}

/* A kept negative stands for 1/r. */
static float stands_for(const struct slate_item *it)
{
    return it->label > 0.5f ? 1.0f : expf(-it->log_kq);
}

/* The gradients dh (K, tasks) of reversals. */
static void weigh_reversals(const struct model_tasks *c, struct tape *tape, const struct slate *s, float *dh)
{
    const size_t n = s->n_items * c->n;
    float *by = tape_host(tape, n, sizeof *by);
    if (by == NULL) return;
    for (size_t i = 0; i < s->n_items; i++) {
        const float weight = stands_for(&s->items[i]);
        for (size_t t = 0; t < c->n; t++) by[i * c->n + t] = c->chained[t] ? 1.0f : weight;
    }
    op_scale(tape, dh, by, n);
}

void model_tasks_learn(struct model_tasks_run *t, struct tape *tape, const struct slate *s, struct tape_value r,
                       struct tape_value kept, float *loss)
{
    const size_t K = s->n_items;
    if (t->c->n == 0 || s->source != SLATE_IMPRESSION || K == 0) return;
    float *y = tape_host(tape, K * t->c->n, sizeof *y), *level = tape_host(tape, K * t->c->n, sizeof *level);
    if (tape->oom) return;
    for (size_t i = 0; i < K * t->c->n; i++) level[i] = t->level[LEVEL * (i % t->c->n)];
    labels_of(t->c, s, y);
    struct tape_value h = op_linear(tape, r, &t->trunk, KERN_ACT_NONE);
    h = op_add(tape, h, tape_constant(tape, level, K, t->c->n));
    if (t->c->F > 0) h = op_add(tape, h, of_features(t, tape, s));
    if (!tape->oom) op_task_loss(tape, loss, kept, h, y, t->c->chained);
    if (!tape->oom && h.dx != NULL && is_thinned(s)) weigh_reversals(t->c, tape, s, h.dx);
}

/* logit(sigmoid(a)*sigmoid(b)) = -log(exp(-a) + exp(-b) + exp(-a-b)) */
static double product(double a, double b)
{
    const double top = fmax(fmax(-a, -b), -a - b);
    return -(top + log(exp(-a - top) + exp(-b - top) + exp(-a - b - top)));
}

/* h_t of a candidate whose r is raw; the features are standardised as they are read. */
static double head(const struct model_tasks_run *t, size_t task, const struct slate *s, uint32_t item, float raw)
{
    const size_t F = t->c->F;
    const double h = (double)t->level[LEVEL * task] + (double)t->of_trunk[task] * (double)raw;
    if (F == 0) return h;
    return h + part_numeric_dot(t->numeric, s->numeric + (size_t)item * s->n_numeric, t->w + task * F);
}

/* How far one example's P(t) is from its label, and how it moves with h_t.  main: logit of the label that stands before it, if one
 * does. */
static void gather(struct tasks_sums *q, double main, double h, bool chained, bool y, double weight)
{
    const double p = 1.0 / (1.0 + exp(-h)), all = chained ? p / (1.0 + exp(-main)) : p;
    q->n += weight;
    q->gradient += weight * (all - y);
    q->precision += weight * all * (1.0 - p);
}

void model_tasks_learnt(struct model_tasks_run *t, const struct slate *s, const float *raw, const float *logits)
{
    if (s->source != SLATE_IMPRESSION) return;
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct slate_item *it = &s->items[i];
        const double kept = (double)it->log_kq, weight = (double)stands_for(it);
        if (!(it->examples > 0.0f)) continue; /* learnt again */
        for (size_t k = 0; k < t->c->n; k++)
            gather(&t->sums[k], (double)logits[i] - kept, head(t, k, s, i, raw[i]), t->c->chained[k],
                   it->tasks >> k & 1, t->c->chained[k] ? 1.0 : weight);
    }
}

void model_tasks_apply(struct model_tasks_run *t, const struct param_table *table, float *w)
{
    for (size_t k = 0; k < t->c->n; k++) {
        float *level = w + param_at(table, t->c->level)->offset + LEVEL * k;
        const double keep = exp2(-t->sums[k].n / TASKS_HALF_LIFE);
        const double precision = keep * (double)level[1] + t->sums[k].precision;
        const double slope = t->sums[k].gradient + (1 - keep) * PRIOR * (double)level[0];
        level[0] = (float)fmax(-LEVEL_MAX, fmin(LEVEL_MAX, (double)level[0] - slope / (precision + PRIOR)));
        level[1] = (float)precision;
    }
    model_tasks_drop(t);
}

void model_tasks_drop(struct model_tasks_run *t)
{
    memset(t->sums, 0, sizeof t->sums);
}

void model_tasks_logits(const struct model_tasks_run *t, const struct slate *s, const float *raw, const float *logits,
                        float *out)
{
    const size_t K = s->n_items;
    for (size_t k = 0; k < t->c->n; k++) {
        for (uint32_t i = 0; i < K; i++) {
            const double h = head(t, k, s, i, raw[i]);
            out[k * K + i] = (float)(t->c->chained[k] ? product((double)logits[i], h) : h);
        }
    }
}

float model_tasks_utility(const struct model_tasks *c, const float *logits, size_t K, size_t item)
{
    double sum = 0;
    for (size_t t = 0; t < c->n; t++) sum += c->worth[t] / (1.0 + exp(-(double)logits[t * K + item]));
    return (float)sum;
}
