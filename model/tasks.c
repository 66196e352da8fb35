/* tasks.c - see tasks.h. */
#include "model/tasks.h"
#include <math.h>
#include <stdio.h>

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
    const uint32_t weights[2] = {(uint32_t)c->n, (uint32_t)(1 + c->F)}, trunk[2] = {(uint32_t)c->n, 1};
    const float rate = (float)conf->train_linear_rate;
    TRY(param_table_add(t, "tasks.weights", PARAM_ADAGRAD, 2, weights, rate, 0, &c->weights, e));
    return param_table_add(t, "tasks.trunk", PARAM_ADAGRAD, 2, trunk, rate, 0, &c->trunk, e);
}

void model_tasks_init(const struct model_tasks *c, const struct param_table *t, float *w)
{
    const float rare = 0.02f;
    for (size_t i = 0; i < c->n; i++)
        if (!c->chained[i]) w[param_at(t, c->weights)->offset + i * (1 + c->F)] = logf(rare / (1.0f - rare));
}

void model_tasks_bind(struct model_tasks_run *r, const struct model_tasks *c, const struct part_params *p,
                      const struct part_run *numeric)
{
    r->c = c;
    r->numeric = numeric;
    if (c->n == 0) return;
    part_matrix_of(&r->weights, p, c->weights, 0, c->n, SIZE_MAX);
    part_matrix_of(&r->trunk, p, c->trunk, 0, c->n, SIZE_MAX);
    r->w = p->host + param_at(p->table, c->weights)->offset;
    r->of_trunk = p->host + param_at(p->table, c->trunk)->offset;
}

/* x (1 + F) of a candidate. */
static void inputs(const struct model_tasks_run *t, const struct slate *s, uint32_t item, float *x)
{
    x[0] = 1.0f;
    if (t->c->F > 0) part_numeric_input(t->numeric, s->numeric + (size_t)item * s->n_numeric, x + 1);
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

/* The gradients dh (K, tasks) of reversals: a kept negative stands for 1/r. */
static void weigh_reversals(const struct model_tasks *c, struct tape *tape, const struct slate *s, float *dh)
{
    const size_t n = s->n_items * c->n;
    float *g = tape_host(tape, n, sizeof *g);
    if (g == NULL) return;
    tape->kern->ops->download(tape->kern, g, dh, n * sizeof *g);
    for (size_t i = 0; i < s->n_items; i++) {
        const float weight = s->items[i].label > 0.5f ? 1.0f : expf(-s->items[i].log_kq);
        for (size_t t = 0; t < c->n; t++) g[i * c->n + t] *= c->chained[t] ? 1.0f : weight;
    }
    tape->kern->ops->upload(tape->kern, dh, g, n * sizeof *g);
}

void model_tasks_learn(struct model_tasks_run *t, struct tape *tape, const struct slate *s, struct tape_value r,
                       struct tape_value kept, float *loss)
{
    const size_t K = s->n_items, width = 1 + t->c->F;
    if (t->c->n == 0 || s->source != SLATE_IMPRESSION || K == 0) return;
    float *x = tape_host(tape, K * width, sizeof *x), *y = tape_host(tape, K * t->c->n, sizeof *y);
    if (tape->oom) return;
    for (uint32_t i = 0; i < K; i++) inputs(t, s, i, x + i * width);
    labels_of(t->c, s, y);
    const struct tape_value own = op_linear(tape, tape_constant(tape, x, K, width), &t->weights, KERN_ACT_NONE);
    const struct tape_value h = op_add(tape, own, op_linear(tape, r, &t->trunk, KERN_ACT_NONE));
    if (!tape->oom) op_task_loss(tape, loss, kept, h, y, t->c->chained);
    if (!tape->oom && h.dx != NULL && is_thinned(s)) weigh_reversals(t->c, tape, s, h.dx);
}

/* logit(sigmoid(a)*sigmoid(b)) = -log(exp(-a) + exp(-b) + exp(-a-b)) */
static double product(double a, double b)
{
    const double top = fmax(fmax(-a, -b), -a - b);
    return -(top + log(exp(-a - top) + exp(-b - top) + exp(-a - b - top)));
}

/* b_t + w_t x; the features are standardised as they are read. */
static double head(const struct model_tasks_run *t, size_t task, const float *raw_features)
{
    const float *w = t->w + task * (1 + t->c->F);
    double h = (double)w[0];
    if (t->c->F > 0) h += part_numeric_dot(t->numeric, raw_features, w + 1);
    return h;
}

void model_tasks_logits(const struct model_tasks_run *t, const struct slate *s, const float *raw, const float *logits,
                        float *out)
{
    const size_t K = s->n_items;
    for (size_t k = 0; k < t->c->n; k++) {
        for (uint32_t i = 0; i < K; i++) {
            const double h =
                head(t, k, s->numeric + (size_t)i * s->n_numeric) + (double)t->of_trunk[k] * (double)raw[i];
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
